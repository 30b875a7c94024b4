"""Whole runs by the name of a data set: what ``sst train`` and ``sst evaluate`` do.

On a machine without a GPU a run on photographs takes a part of the data, and says how long the whole would take.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from . import distributed
from .checkpoints import checkpoint_path, differing, load_checkpoint, load_model
from .datasets import load
from .datasets.base import ArrayDataset, Readable, innermost
from .evaluation import embed
from .models import device
from .photos.resized import resized
from .recipes import MODERN, Recipe, recipe_for, view
from .training import Step, duration, fit, measure_speed

__all__ = ["ON_A_PART", "PART", "cache_photos", "default_workers", "embed_checkpoint", "format_duration", "plan", "run"]

PART = 600  # images of a part, of training and of the test
# What a recipe for photographs becomes on a part, so that it has several neighborhoods, and an end in sight.
ON_A_PART: dict[str, Any] = {"batch_size": 50, "epochs": 10}


def run(
    data: str,
    recipe: str = "default",
    *,
    out: str | PathLike | None = None,
    resume: bool = False,
    part: int | str = "auto",
    cache: bool = True,
    download: bool = False,
    where: str | None = None,
    workers: int | None = None,
    strict: bool = False,
    progress: bool = True,
    **values: Any,
) -> Step:
    """Train on a data set by its name, into a checkpoint.

    Parameters
    ----------
    data : str
        As for ``sstutils.load``.
    recipe : {"default", "paper", "modern"}
        See :func:`sstutils.recipes.recipe_for`.
    out : path, optional
        The checkpoint; ``output/checkpoints/DATA.pt`` by default.
    resume : bool
        Go on from it, with its recipe and its part of the data; others that are asked for are refused.
    part : int or {"auto", "all"}
        About how many images, in whole classes drawn at random; "auto" is a part (see :data:`PART`) where a network for
        photographs would be trained without a GPU. On a part of photographs the recipe has the values of
        :data:`ON_A_PART`, unless others are given.
    cache : bool
        Scale photographs once, into a file of their pixels, from which later epochs read fast; not for a part.
    download : bool
        Fetch the data if they are not there.
    where : str, optional
        Device.
    workers : int, optional
        Processes that read pictures from files; as many as there are cores, up to 12, where a GPU trains.
    strict : bool
        Stop at an image that cannot be read.
    progress : bool
        Show what is done.
    **values
        Fields of the recipe.

    Returns
    -------
    Step
        The last one, as of :func:`sstutils.fit`.

    Raises
    ------
    ValueError
        If something is unknown, does not fit the checkpoint, or the checkpoint is not there to go on from.
    FileNotFoundError, OSError
        If the data are not there, or cannot be read or written.
    """
    say = partial(print, flush=True) if progress and distributed.world()[0] == 0 else _silent
    out = Path(out or checkpoint_path(data))
    small = False
    if resume:
        saved = load_checkpoint(out)
        chosen = replace(Recipe(**saved["recipe"]), **values)
        options = saved["data"]["options"]
        _check_asked(out, saved, data, recipe, part, values)
    else:
        chosen, options = plan(data, recipe, part, where, **values)
        small = part == "auto" and "part" in options
    if (processes := distributed.world()[1]) > 1 and not resume and "neighborhoods" not in values:
        chosen = replace(chosen, neighborhoods=processes)
        say(f"{processes} processes: a step is the mean of {processes} neighborhoods")
    dataset = distributed.rank_zero_first(
        lambda: load(data, "train", **options, **({"download": True} if download else {}))
    )
    say(f"{len(dataset):,} images of {len(dataset.classes):,} classes; checkpoint after each epoch: {out}")
    if recipe == "modern" and not resume:
        for name, (value, why) in MODERN.items():
            if getattr(chosen, name) == value:
                say(f"  {name} = {value}: {why}")
    if small:
        paces = measure_speed(chosen, where)
        whole = recipe_for(data, recipe, **values)
        count = len(innermost(dataset))
        say(
            f"there is no GPU: this is a part, {chosen.epochs} epochs in batches of {chosen.batch_size}, "
            f"some {format_duration(duration(chosen, len(dataset), *paces))}. The whole, {count:,} images and "
            f"{whole.epochs} epochs, "
            f"would take some {format_duration(duration(whole, count, *paces))} on this machine "
            f"({paces[0] * 1e3:.0f} ms an image were measured): --part all"
        )
    workers = default_workers(workers, where)
    if cache and not options:
        dataset = cache_photos(dataset, chosen, strict=strict, workers=workers, progress=progress)
    return fit(
        dataset,
        chosen,
        progress=progress,
        out=out,
        resume=resume,
        data={"name": data, "options": options},
        where=where,
        workers=workers,
        strict=strict,
    )


def cache_photos(
    dataset: Dataset, recipe: Recipe, *, strict: bool = False, workers: int = 0, progress: bool = True
) -> Dataset:
    """Return photographs scaled once to what a recipe reads of them; other data sets as they are.

    See :func:`sstutils.photos.resized.resized`. With `strict`, an image that cannot be read is an error.
    """
    if not recipe.resize or isinstance(innermost(dataset), ArrayDataset):
        return dataset
    files = dataset if strict else Readable(dataset)
    shown = progress and distributed.world()[0] == 0
    return distributed.rank_zero_first(lambda: resized(files, recipe.resize, workers=workers, progress=shown))


def plan(
    data: str, recipe: str = "default", part: int | str = "auto", where: str | None = None, **values: Any
) -> tuple[Recipe, dict[str, int]]:
    """Return what :func:`run`, whose parameters these are, trains by and on: the recipe, options of the data set."""
    chosen = recipe_for(data, recipe, **values)
    if part == "auto":
        part = PART if chosen.resize and device(where).type == "cpu" else "all"
    if part == "all":
        return chosen, {}
    return replace(chosen, **(ON_A_PART | values if chosen.resize else {})), {"part": _number(part)}


def embed_checkpoint(
    checkpoint: str | PathLike,
    split: str = "test",
    *,
    data: str | None = None,
    where: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> tuple[Tensor, Dataset, dict[str, Any]]:
    """Embed a data set by the network of a checkpoint.

    Parameters
    ----------
    checkpoint : path
    split : {"test", "train"}
    data : str, optional
        Another data set than the network's own (or its own, whatever has changed in it).
    where, workers, progress
        As for :func:`run`.

    Returns
    -------
    embeddings : (N, d) float32 tensor
        On the device, to be evaluated there.
    dataset : Dataset
    content : dict
        Of the checkpoint.

    Raises
    ------
    ValueError
        If the data have changed since.
    """
    model, content = load_model(checkpoint, where)
    about = content["data"]
    options = {} if data else about["options"]
    if not data and load(about["name"], "train", **options).fingerprint != about["fingerprint"]:
        raise ValueError(
            f"{about['name']} has changed since {checkpoint} was trained, and classes may have moved between "
            f"train and test: train again, or say --data {about['name']} to go on all the same"
        )
    dataset = load(data or about["name"], split, **options)
    seen = view(Recipe(**content["recipe"]))
    embeddings = embed(model, dataset, **seen, workers=default_workers(workers, where), progress=progress)
    return embeddings.to(device(where)), dataset, content


def format_duration(seconds: float) -> str:
    """Return a duration as one says it.

    Examples
    --------
    >>> format_duration(50), format_duration(400), format_duration(20_000), format_duration(300_000)
    ('50 seconds', '7 minutes', '6 hours', '3.5 days')
    """
    for name, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            amount = seconds / size
            return f"{amount:.1f} {name}" if name == "days" and amount < 10 else f"{amount:,.0f} {name}"
    return f"{seconds:.0f} seconds"


def _silent(*_: Any) -> None:
    """Print nothing."""


def _check_asked(
    out: Path, saved: dict[str, Any], data: str, recipe: str, part: int | str, values: dict[str, Any]
) -> None:
    """Raise ValueError if a recipe or a part is asked for by name which a checkpoint to go on from does not have."""
    options = saved["data"]["options"]
    if part != "auto" and options != ({} if part == "all" else {"part": _number(part)}):
        raise ValueError(
            f"{out} was trained on {options.get('part', 'all')} images (asked for: {part}): leave out the part to go "
            "on with these, or choose another file"
        )
    own = Recipe(**saved["recipe"])
    kept = {name: getattr(own, name) for name in (*ON_A_PART, "neighborhoods")}
    if recipe != "default" and (others := differing(saved, recipe_for(data, recipe, **{**values, **kept}))):
        raise ValueError(
            f"{out} was trained with {', '.join(others)}: leave out the recipe to go on with that, or choose another "
            "file"
        )


def _number(part: int | str) -> int:
    try:
        return int(part)
    except ValueError:
        raise ValueError(f"part is a number of images, auto or all; got {part!r}") from None


def default_workers(asked: int | None, where: str | None) -> int:
    """Return how many processes read files, unless it is said: none where the network itself needs the cores."""
    if asked is not None:
        return asked
    if device(where).type == "cpu":
        return 0
    return min(12, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
