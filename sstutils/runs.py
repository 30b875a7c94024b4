"""Whole runs by the name of a data set: what ``sst train`` and ``sst evaluate`` do.

On a machine without a GPU a run on photographs takes a part of the data.
"""

import os
from dataclasses import replace
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from . import distributed
from .checkpoints import checkpoint_path, differing, load_checkpoint, load_model
from .checks import whole_number
from .datasets import load
from .embedding import embed_readable
from .models import device
from .recipes import MODERN, Recipe, recipe_for, view
from .training import Step, fit

PART = 600  # images of a part, of training and of the test
# What a recipe for photographs becomes on a part, so that it has several neighborhoods and ends within reason.
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
    data, download
        As for ``sstutils.load``.
    recipe, **values
        As for :func:`sstutils.recipes.recipe_for`.
    out : path, optional
        The checkpoint; ``output/checkpoints/DATA.pt`` by default.
    resume, where, strict, progress
        As for :func:`sstutils.fit`. A run is resumed with the recipe and the part of its checkpoint.
    part : int or {"auto", "all"}
        About how many images, in whole classes drawn at random; "auto" is a part (see :data:`PART`) where a network for
        photographs would be trained without a GPU. On a part of photographs the recipe has the values of
        :data:`ON_A_PART`, unless others are given.
    cache : bool
        Resize photographs once, into one file from which later epochs read fast; not for a part.
    workers : int, optional
        Processes that read image files; by default as many as there are cores, up to 12, where a GPU trains.

    Returns
    -------
    Step
        The last one, as of :func:`sstutils.fit`, whose errors it raises too.
    """
    rank, processes = distributed.world()
    progress = progress and rank == 0
    how = {"strict": strict, "workers": default_workers(workers, where), "progress": progress}
    out, lines = Path(out or checkpoint_path(data)), []
    if resume:
        chosen, options = _plan_to_resume(out, data, recipe, part, values)
    else:
        suited, why = _photos("head").suit_pictures(data, recipe, where, values)
        lines += [why] if why else []
        chosen, options = plan(data, suited, part, where, **values)
        if processes > 1 and "neighborhoods" not in values:
            chosen = replace(chosen, neighborhoods=processes)
            lines.append(f"{processes} processes: a step is the mean of {processes} neighborhoods")
    fetch = {"download": True} if download else {}
    dataset = distributed.rank_zero_first(lambda: load(data, "train", **options, **fetch))
    if not resume and chosen.holdout and len(dataset.classes) < 4 and "holdout" not in values:
        chosen = replace(chosen, holdout=0.0)
        lines.append("fewer than 4 classes to train on: none are held out, and the last epoch is kept")
    lines.append(f"{len(dataset):,} images of {len(dataset.classes):,} classes; checkpoint after each epoch: {out}")
    if recipe == "modern" and not resume:
        reasons = [(name, *reason) for name, reason in MODERN.items() if getattr(chosen, name) == reason[0]]
        lines += [f"  {name} = {value}: {why}" for name, value, why in reasons]
    if progress:
        print(*lines, sep="\n", flush=True)
    if cache and not options:
        dataset = _photos("cache").cache_photos(dataset, chosen, **how)
    about = {"name": data, "options": options}
    train = _photos("head").fit_head if chosen.head == "only" else fit
    return train(dataset, chosen, out=out, resume=resume, data=about, where=where, **how)


def _photos(name: str) -> ModuleType:
    """Return a module of photographs, by its name: the method needs no room."""
    return import_module(f".photos.{name}", __package__)


def plan(
    data: str, recipe: str = "default", part: int | str = "auto", where: str | None = None, **values: Any
) -> tuple[Recipe, dict[str, int]]:
    """Return what :func:`run`, whose parameters these are, trains with: the recipe, and options of the data set."""
    chosen = recipe_for(data, _photos("head").suit_pictures(data, recipe, where, values)[0], **values)
    if part == "auto":
        part = PART if chosen.resize and device(where).type == "cpu" else "all"
    if part == "all":
        return chosen, {}
    try:
        part = whole_number("part", int(part) if isinstance(part, str) else part, 1, 10**9)
    except ValueError:
        raise ValueError(f"part must be a number of images, auto or all; got {part!r}") from None
    return replace(chosen, **(ON_A_PART | values if chosen.resize else {})), {"part": part}


def embed_checkpoint(
    checkpoint: str | PathLike,
    split: str = "test",
    *,
    data: str | None = None,
    where: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> tuple[Tensor, Dataset, dict[str, Any]]:
    """Embed a data set by the network of a checkpoint; a ValueError if the data have changed since.

    Parameters
    ----------
    checkpoint : path
    split : {"test", "train"}
    data : str, optional
        A data set other than the checkpoint's own (or its own, whatever has changed in it).
    where, workers, progress
        As for :func:`run`.

    Returns
    -------
    embeddings : (N, d) float32 tensor
        On the device, to be evaluated there.
    dataset : Dataset
    content : dict
        Of the checkpoint.
    """
    model, content = load_model(checkpoint, where)
    name, options = content["data"]["name"], {} if data else content["data"]["options"]
    if not data and load(name, "train", **options).fingerprint != content["data"]["fingerprint"]:
        raise ValueError(
            f"{name} has changed since {checkpoint} was trained, and classes may have moved between "
            f"train and test; train again, or use --data {name} to continue anyway"
        )
    dataset = load(data or name, split, **options)
    seen = view(Recipe(**content["recipe"]))
    how = {"workers": default_workers(workers, where), "progress": progress}
    embeddings, dataset = embed_readable(model, dataset, **seen, **how)
    return embeddings.to(device(where)), dataset, content


def _plan_to_resume(
    out: Path, data: str, recipe: str, part: int | str, values: dict[str, Any]
) -> tuple[Recipe, dict[str, int]]:
    """Return recipe and options of a checkpoint to resume; ValueError if others are asked for."""
    saved = load_checkpoint(out)
    own, options = saved["recipe"], saved["data"]["options"]
    if part != "auto" and options != plan(data, part=part)[1]:
        raise ValueError(
            f"{out} was trained on {options.get('part', 'all')} images (asked for: {part}); omit the part to continue "
            "with these, or choose another file"
        )
    kept = {name: own[name] for name in (*ON_A_PART, "neighborhoods")}
    if recipe != "default" and (others := differing(saved, recipe_for(data, recipe, **{**values, **kept}))):
        raise ValueError(
            f"{out} was trained with {', '.join(others)}; omit the recipe to continue with that, or choose another file"
        )
    return Recipe(**{**own, **values}), options


def default_workers(workers: int | None, where: str | None) -> int:
    """Return `workers`, or if it is None a good number of processes to read files: none where the CPU trains."""
    if workers is not None:
        return whole_number("workers", workers, 0, 256)
    if device(where).type == "cpu":
        return 0
    return min(12, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
