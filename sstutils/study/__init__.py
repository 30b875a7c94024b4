"""Studies: losses by samplers by seeds under equal budgets, the epoch chosen on held-out training classes only.

``study`` trains every cell and keeps each run as it finishes; ``report`` writes the table and the figures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from ..checkpoints import hardware, versions
from ..datasets import load
from ..datasets.base import split_classes
from ..evaluation import embed, evaluate
from ..figures import plots
from ..files import atomic_write, digest, exclusive, file_name
from ..recipes import Recipe, make_loss, recipe_for, view
from ..runs import ON_A_PART, cache_photos, default_workers, format_duration
from ..runs import plan as plan_run
from ..training import fit

__all__ = ["cells", "report", "study", "study_path", "table"]

LOSSES, SAMPLERS = ("sst", "triplet", "contrastive"), ("local", "balanced", "shuffled")
# What a study has in place of a recipe's own values: a budget that many runs can afford, and classes to choose by.
DEFAULTS: dict[str, Any] = {"epochs": 10, "holdout": 0.2}
BASELINE = ("triplet", "balanced")
_NAMES = {"sst": "SST", "balanced": "class-balanced"}


def study(
    data: str = "glyphs",
    *,
    losses: Sequence[str] = LOSSES,
    samplers: Sequence[str] = SAMPLERS,
    sizes: Sequence[int] | None = None,
    seeds: int = 3,
    recipe: str = "default",
    part: int | str = "auto",
    images: int | None = None,
    cache: bool = True,
    download: bool = False,
    out: str | PathLike = "output",
    name: str | None = None,
    where: str | None = None,
    workers: int | None = None,
    progress: bool = True,
    **values: Any,
) -> list[dict[str, Any]]:
    """Train every loss with every sampler, size and seed, and evaluate each chosen epoch once on the test classes.

    All runs take the same number of epochs from the same start with the same schedule. (Local sampling leaves out what
    exceeds a neighborhood, so it sees fewer items: rows tell how many.) With one seed, runs hold out the same classes.
    Losses that see embeddings at unit length (those of pytorch-metric-learning) train a network that gives them so,
    for retrieval goes by the same distance then; ``normalize`` overrides it.

    Parameters
    ----------
    data : str
        As for ``sstutils.load``.
    losses : sequence of str
        sst, triplet, contrastive, or names of pytorch-metric-learning.
    samplers : sequence of str
        local, balanced, shuffled.
    sizes : sequence of int, optional
        Sizes of a batch; the recipe's one by default.
    seeds : int
        How many; they are 0, 1, ...
    recipe : {"default", "paper", "modern"}
    part : int or {"auto", "all"}
        About how many images to take, of training and of the test, in whole classes; "auto" as for
        :func:`sstutils.run`.
    images : int, optional
        Images a class, of data sets that let one choose (glyphs, fashion).
    cache : bool
        Scale photographs once, into a file of their pixels, from which all runs read fast.
    download : bool
        Fetch the data if they are not there.
    out : path
        Folder. Runs are kept in ``OUT/studies/NAME.json`` as they finish, so that an interrupted study goes on where it
        stopped: what has the same recipe and the same data is not trained again.
    name : str, optional
        Of that file; the data set's by default.
    where, workers
        Device, and processes that read files.
    progress : bool
        Show runs done and the time left.
    **values
        Fields of the recipe; ``epochs`` is 10 and ``holdout`` 0.2 by default. With ``holdout=0`` nothing is chosen: the
        last epoch is evaluated.

    Returns
    -------
    list of dict
        A row for each run, in the order of seeds, losses, samplers and sizes: loss, sampler, batch_size, seed, epochs,
        data (a fingerprint), options (part and images), epoch (the chosen one), recall@k, map@r, r_precision, nmi (of
        the test classes); of training without validation: seconds, processor (seconds that this process computed) and
        items; history, recipe, device, versions. A run that diverged has no measures but "diverged": why.

    Raises
    ------
    ValueError
        If a loss, a sampler or a value is unknown or does not fit, before anything is trained.
    OSError
        If the data cannot be read, the file cannot be written, or another study is writing it.
    """
    from tqdm.auto import tqdm

    chosen, options = plan_run(data, recipe, part, where, **values)
    if options and chosen.resize:
        values = ON_A_PART | values
    plan = cells(data, losses=losses, samplers=samplers, sizes=sizes, seeds=seeds, recipe=recipe, **values)
    options |= {} if images is None else {"images": images}
    try:
        training, test = (load(data, split, download=download, **options) for split in ("train", "test"))
    except TypeError as error:
        raise ValueError(f"{data} does not let one choose {' and '.join(options)} ({error})") from None
    if plan[0].holdout:  # a share that leaves too few classes is told before anything is trained
        split_classes(training, plan[0].holdout)
    fingerprint = digest(training.fingerprint, test.fingerprint)
    workers = default_workers(workers, where)
    if cache:  # a part, too: every run reads it
        training = cache_photos(training, chosen, workers=workers, progress=progress)
    path = study_path(data, out, name)
    with exclusive(path):
        done = _read(path)
        rows = [_found(done, cell, fingerprint) for cell in plan]
        with tqdm(total=len(plan), initial=sum(map(bool, rows)), desc="runs", unit="run", disable=not progress) as bar:
            for number, cell in enumerate(plan):
                if rows[number]:
                    continue
                bar.set_postfix_str(f"{cell.loss}, {cell.sampler}, B = {cell.batch_size}, seed {cell.seed}")
                row = {"data": fingerprint, "options": options, **_trained(training, test, cell, where, workers)}
                rows[number] = row
                done.append(row)
                _write(path, done)
                bar.update()
    return rows


def cells(
    data: str,
    *,
    losses: Sequence[str] = LOSSES,
    samplers: Sequence[str] = SAMPLERS,
    sizes: Sequence[int] | None = None,
    seeds: int = 3,
    recipe: str = "default",
    **values: Any,
) -> list[Recipe]:
    """Return the recipe of each run of a study; parameters as for :func:`study`.

    Each loss is made and tried on a small batch of noise, so that one that is unknown, or that wants more than
    embeddings and labels, is told of before anything is trained.
    """
    for one, many in (("loss", "losses"), ("sampler", "samplers"), ("seed", "seeds")):
        if one in values:
            raise ValueError(f"a study has {many}, not one {one}: got {one}={values[one]!r}")
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    for what, chosen in (("losses", losses), ("samplers", samplers), ("sizes", sizes)):
        if chosen is not None and (not chosen or len(set(chosen)) < len(chosen)):
            raise ValueError(f"{what} must be some, each once: got {', '.join(map(str, chosen)) or 'none'}")
    common = recipe_for(data, recipe, **{**DEFAULTS, **values})
    looks = {}  # whether the network gives embeddings of unit length, by loss
    for loss in losses:
        module = _tried(replace(common, loss=loss))
        unit = getattr(getattr(module, "distance", None), "normalize_embeddings", common.normalize)
        looks[loss] = values.get("normalize", bool(unit))
    return [
        replace(common, loss=loss, sampler=sampler, batch_size=size, seed=seed, normalize=looks[loss])
        for seed, loss, sampler, size in product(range(seeds), losses, samplers, sizes or (common.batch_size,))
    ]


def _tried(recipe: Recipe) -> torch.nn.Module:
    """Return the loss of a recipe, after a batch of four."""
    loss = make_loss(recipe, 2)
    noise = torch.randn(4, recipe.dim, generator=torch.Generator().manual_seed(0))
    try:
        loss(noise, torch.tensor([0, 0, 1, 1])).item()
    except Exception as error:  # what others raise is theirs to choose
        reason = " ".join(str(error).split())
        raise ValueError(
            f"the loss {recipe.loss} cannot take a batch of embeddings and labels ({reason}): choose another"
        ) from None
    return loss


def _trained(training: Any, test: Any, recipe: Recipe, where: str | None, workers: int) -> dict[str, Any]:
    """Train one run and evaluate its chosen epoch; return its row."""
    keys = ("loss", "sampler", "batch_size", "seed", "epochs")
    row = {key: getattr(recipe, key) for key in keys}
    about = {"recipe": asdict(recipe), "device": hardware(where), "versions": versions()}
    try:
        step = fit(training, recipe, progress=False, where=where, workers=workers)
    except FloatingPointError as error:
        return {**row, "diverged": str(error), **about}
    history = step.history
    # The rule of training: the first of the best.
    best = max(history, key=lambda entry: entry["recall@1"]) if recipe.holdout else history[-1]
    measured = evaluate(embed(step.model, test, **view(recipe), workers=workers), test.targets)
    return {
        **row,
        "epoch": best["epoch"],
        **measured,
        "seconds": sum(entry["seconds"] - entry.get("validation", 0.0) for entry in history),
        "processor": sum(entry["processor"] for entry in history),
        "items": sum(entry["items"] for entry in history),
        "history": [
            {key: value if isinstance(value, int) else float(f"{value:.6g}") for key, value in entry.items()}
            for entry in history
        ],
        **about,
    }


# ---------------------------------------------------------------------------------------------------------------------
# Runs that are kept
# ---------------------------------------------------------------------------------------------------------------------
def study_path(data: str, out: str | PathLike = "output", name: str | None = None) -> Path:
    """Return where the runs of a study are kept: OUT/studies/NAME.json."""
    return Path(out) / "studies" / f"{name or file_name(data)}.json"


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the runs that are kept."""
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
            raise ValueError("no list of runs")
    except ValueError as error:
        raise ValueError(f"{path} holds no study ({error}): move it away, or choose another --out") from None
    return rows


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write runs, a line each."""
    with atomic_write(path) as temporary:
        temporary.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")


def _found(rows: Iterable[Mapping[str, Any]], recipe: Recipe, fingerprint: str) -> dict[str, Any] | None:
    """Return the run of a recipe on these data, if it is among those kept."""
    for row in rows:
        try:
            if row["data"] == fingerprint and Recipe(**row["recipe"]) == recipe:
                return dict(row)
        except (KeyError, TypeError, ValueError):  # of another version
            continue
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Table and figures
# ---------------------------------------------------------------------------------------------------------------------
def grouped(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, int], list[Mapping[str, Any]]]:
    """Return the runs by loss, sampler and size."""
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["loss"], row["sampler"], row["batch_size"]), []).append(row)
    return groups


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the runs of a study as a table in Markdown: means over seeds, with 95 % confidence intervals.

    "against ..." is the difference in Recall@1 to the run of the baseline with the same seed (so with the same start
    and the same classes held out), its mean and interval: triplet loss with class-balanced batches, or the first
    setting where a study has no such. Runs that diverged have no measures; they are counted.

    Parameters
    ----------
    rows : list of dict
        As :func:`study` returns them.

    Returns
    -------
    str
        Lines that begin and end with "|".
    """
    groups = grouped(rows)
    many = len({size for *_, size in groups}) > 1
    base = next((key for key in groups if key[:2] == BASELINE), next(iter(groups)))
    against = {row["seed"]: row["recall@1"] for row in groups[base] if "diverged" not in row}
    clock, seconds = _clock(rows)
    titles = ["loss", "batches", *(["B"] if many else []), "Recall@1", f"against {_title(base)}", "MAP@R"]
    titles += ["chosen epoch", "items", seconds, "seeds"]
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for key, runs in groups.items():
        whole = [run for run in runs if "diverged" not in run]
        gaps = [run["recall@1"] - against[run["seed"]] for run in whole if run["seed"] in against]
        values = {name: [run[name] for run in whole] for name in ("recall@1", "map@r", "epoch", "items", clock)}
        diverged = len(runs) - len(whole)
        columns = [
            _NAMES.get(key[0], key[0]),
            _NAMES.get(key[1], key[1]),
            *([str(key[2])] if many else []),
            _spread(values["recall@1"]),
            "" if key == base else _spread(gaps, "+.3f"),
            _spread(values["map@r"]),
            _spread(values["epoch"], ".1f"),
            _spread(values["items"], ",.0f"),
            _spread(values[clock], ".1f"),
            f"{len(whole)}" + (f" of {len(runs)}, {diverged} diverged" if diverged else ""),
        ]
        lines.append("| " + " | ".join(columns) + " |")
    return "\n".join(lines)


def _clock(rows: Iterable[Mapping[str, Any]]) -> tuple[str, str]:
    """Return by which seconds runs are compared, and what they are: those of the processor, where no GPU trains.

    They do not depend on what else the machine does.
    """
    return ("seconds", "seconds") if any("gpu" in row["device"] for row in rows) else ("processor", "processor seconds")


def _timed(history: Iterable[Mapping[str, float]], clock: str) -> list[dict[str, float]]:
    """Return held-out Recall@1 and seconds of training of each epoch."""
    wait = "validation" if clock == "seconds" else ""
    return [{"recall@1": row["recall@1"], "seconds": row[clock] - row.get(wait, 0.0)} for row in history]


def _title(key: tuple) -> str:
    return f"{_NAMES.get(key[0], key[0])}, {_NAMES.get(key[1], key[1])}"


def _spread(values: Sequence[float], form: str = ".3f") -> str:
    """Return a mean and its interval in words: the mean alone of one value, a dash of none."""
    if not values:
        return "–"
    mean, half = plots.interval(values)
    return f"{mean:{form}}" + (f" ± {half:{form.lstrip('+')}}" if math.isfinite(half) and half > 0 else "")


def report(
    rows: Sequence[Mapping[str, Any]], data: str = "glyphs", *, out: str | PathLike = "output", name: str | None = None
) -> list[Path]:
    """Write the table and the figures of a study.

    Parameters
    ----------
    rows : list of dict
        As :func:`study` returns them.
    data, out, name
        As for :func:`study`.

    Returns
    -------
    list of Path
        ``OUT/studies/NAME.md``, and ``OUT/figures/NAME_comparison`` and ``NAME_curves`` as PNG and SVG: Recall@1 of the
        test classes; and that of the held-out classes against epochs and seconds, if classes were held out.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    if not rows:
        raise ValueError("a study without runs has nothing to report")
    stem = name or file_name(data)
    groups = grouped(rows)
    many = len({size for *_, size in groups}) > 1
    whole = {
        (_short(loss) + f", B = {size}" * many, _NAMES.get(sampler, sampler)): runs
        for (loss, sampler, size), all_runs in groups.items()
        if (runs := [run for run in all_runs if "diverged" not in run])
    }
    figures = {}
    if whole:
        recalls = {key: [run["recall@1"] for run in runs] for key, runs in whole.items()}
        figures["comparison"] = plots.comparison(recalls, measure="Recall@1 of the test classes")
        if all("recall@1" in run["history"][0] for runs in whole.values() for run in runs):
            clock, seconds = _clock(rows)
            histories = {key: [_timed(run["history"], clock) for run in runs] for key, runs in whole.items()}
            figures["curves"] = plots.progress(histories, clock=f"{seconds} of training")
    path = study_path(data, out, name).with_suffix(".md")
    contents = {path: (f"# Study: {stem}\n\n{_told(rows, data)}\n\n{table(rows)}\n").encode()}
    for kind, figure in figures.items():
        drawn = Path(out) / "figures" / f"{stem}_{kind}.png"
        contents[drawn] = figure.png()
        contents[drawn.with_suffix(".svg")] = figure.svg(title=f"Study of {stem}: {kind}").encode()
    for target, content in contents.items():
        with atomic_write(target) as temporary:
            temporary.write_bytes(content)
    return list(contents)


def _short(loss: str) -> str:
    """Return the name of a loss in a figure."""
    return _NAMES.get(loss, loss.removesuffix("Loss") or loss)


def _told(rows: Sequence[Mapping[str, Any]], data: str) -> str:
    """Return how a study was made, in sentences, from its rows."""
    recipe = Recipe(**rows[0]["recipe"])
    names = (row["device"].get("gpu") or row["device"]["processor"] or "a processor without a name" for row in rows)
    devices = list(dict.fromkeys(names))
    threads = sorted({row["device"]["threads"] for row in rows})
    seeds, sizes = len({row["seed"] for row in rows}), sorted({row["batch_size"] for row in rows})
    words = {"part": "about {} images", "images": "{} images a class"}
    cut = "".join(f", {words[key].format(value)}" for key, value in rows[0].get("options", {}).items())
    chosen = (
        f"{recipe.holdout:.0%} of the training classes (at least two), drawn by the seed, were held out. Their "
        "Recall@1 after each epoch chose the epoch, which was evaluated once on the test classes."
        if recipe.holdout
        else "Nothing was chosen: the last epoch was evaluated on the test classes."
    )
    clock, _ = _clock(rows)
    spent = sum(row.get("seconds", 0) for row in rows)
    clocked = "those that the processor computed" if clock == "processor" else "those of the clock"
    normal = {key: value for key, value in asdict(recipe_for(data)).items() if key not in _OF_A_CELL}
    other = {key: asdict(recipe)[key] for key, value in normal.items() if asdict(recipe)[key] != value}
    balanced = (
        f" (the first {recipe.warmup:.0%} of the epochs are class-balanced: if one of them is chosen, the two are one)"
        if recipe.warmup and any(row["sampler"] == "local" for row in rows)
        else ""
    )
    paragraphs = [
        f"{len(rows)} runs on {data}{cut}: every loss with every sampler, {seeds} seeds, {recipe.epochs} epochs each, "
        f"batches of {' or '.join(map(str, sizes))}, the same start and schedule. {chosen}",
        "± is the 95 % confidence interval of the mean over the seeds (Student's t). A seed sets the first weights, "
        'the order, the augmentation and the classes held out; "against" is the mean of the differences by seed. Of '
        "twenty such intervals one leaves out zero by accident.",
        f"Local sampling{balanced} leaves out what exceeds a neighborhood: with equal epochs it sees fewer items. "
        f"Seconds are {clocked}, of training and sampling without validation, on {' and '.join(devices)} "
        f"(threads of torch: {' or '.join(map(str, threads))}); by the clock all runs took {format_duration(spent)}.",
    ]
    if other:
        paragraphs.append("The recipe of the data set, but " + ", ".join(f"{k} = {v}" for k, v in other.items()) + ".")
    if any(row["recipe"]["normalize"] for row in rows) and not all(row["recipe"]["normalize"] for row in rows):
        unit = dict.fromkeys(_short(row["loss"]) for row in rows if row["recipe"]["normalize"])
        paragraphs.append(f"Embeddings have unit length with {' and '.join(unit)}, as these losses see them.")
    for row in rows:
        if "diverged" in row:
            paragraphs.append(f"{_title((row['loss'], row['sampler']))}, seed {row['seed']}: {row['diverged']}.")
    return "\n\n".join(paragraphs)


_OF_A_CELL = ("loss", "sampler", "batch_size", "seed", "normalize", "epochs", "holdout")
