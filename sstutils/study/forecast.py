"""Forecasts: how long a training will take on this machine."""

import time
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch

from .. import distributed
from ..datasets import load
from ..datasets.base import ArrayDataset
from ..datasets.subsets import innermost
from ..embedding import embed
from ..recipes import Recipe, recipe_for, view
from ..runs import plan
from ..training import fit

_FEW = 32  # images that speed is measured on


def forecast(data: str, recipe: str = "default", *, where: str | None = None, **options: Any) -> str:
    """Say how long training on a part of photographs will take, and how long on all of them.

    Parameters are those of :func:`sstutils.run`; if there are several processes, all of them call it. The string is
    empty unless a run is on a part because there is no GPU.
    """
    values = {entry.name: options[entry.name] for entry in fields(Recipe) if entry.name in options}
    chosen, part = plan(data, recipe, "auto", where, **values)
    if options.get("part", "auto") != "auto" or options.get("resume") or not part:
        return ""
    fetch = {"download": True} if options.get("download") else {}
    dataset = distributed.rank_zero_first(lambda: load(data, "train", **part, **fetch))
    speed, whole, count = measure_speed(chosen, where), recipe_for(data, recipe, **values), len(innermost(dataset))
    return (
        f"no GPU found: training on a part, {chosen.epochs} epochs in batches of {chosen.batch_size}, about "
        f"{format_duration(duration(chosen, len(dataset), *speed))}. All {count:,} images and {whole.epochs} epochs "
        f"(--part all) would take about {format_duration(duration(whole, count, *speed))} on this machine "
        f"({speed[0] * 1e3:.0f} ms per image measured)"
    )


def measure_speed(recipe: Recipe, where: str | torch.device | None = None) -> tuple[float, float]:
    """Measure what an image costs on this machine, on a few steps of noise.

    Parameters
    ----------
    recipe : Recipe
    where : device, optional

    Returns
    -------
    training, embedding : float
        Seconds for each image of a step, and of an embedding without one, by all processes together. Reading from
        files is not included.
    """
    side, processes = recipe.resize or recipe.size, distributed.world()[1]
    count = _FEW * processes  # a batch for each
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    noise = ArrayDataset(pixels, np.arange(count) % 4, [str(number) for number in range(4)])
    short = {"loss": "sst", "sampler": "shuffled", "batch_size": _FEW, "neighborhoods": processes, "holdout": 0.0}
    step = fit(noise, replace(recipe, **short, epochs=3, weights=None), progress=False, where=where)
    times = [time.perf_counter()]
    for _ in range(2):
        embed(step.model, noise, **view(recipe))
        times.append(time.perf_counter())
    # The least of each: the first times load code, and all but the least wait for what else the machine does.
    training, embedding = min(row["seconds"] for row in step.history), min(np.diff(times).tolist())
    return training / count, embedding / count / processes  # each process embedded all of it


def duration(recipe: Recipe, images: int, training: float, embedding: float) -> float:
    """Compute the seconds that a recipe takes on so many images, from seconds per image that were measured."""
    refreshes = recipe.epochs * (1 - recipe.warmup) / recipe.refresh if recipe.sampler == "local" else 0
    return images * (recipe.epochs * training + refreshes * embedding)


def format_duration(seconds: float) -> str:
    """Format a duration for readers.

    Examples
    --------
    >>> format_duration(0.25), format_duration(50), format_duration(400), format_duration(20_000)
    ('0.2 seconds', '50 seconds', '7 minutes', '6 hours')
    """
    for name, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.{int(name == 'days' and seconds < 10 * size)}f} {name}"
    return f"{seconds:.{int(seconds < 10)}f} seconds"
