"""Studies: losses by samplers by seeds under equal budgets, the epoch chosen on held-out training classes only.

``study`` trains every cell and saves each run as it finishes; ``report`` writes the table and the figures.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from multiprocessing import active_children, get_context, parent_process
from os import PathLike
from pathlib import Path
from threading import RLock, Thread
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ..checkpoints import hardware, versions
from ..checks import whole_number
from ..clustering import kmeans
from ..datasets import info, load
from ..datasets.subsets import protocol_ks, split_classes
from ..embedding import embed, embed_readable
from ..evaluation import check_measurable, evaluate, top_k
from ..files import check_output, digest, exclusive, one_line
from ..photos.cache import cache_photos
from ..recipes import Recipe, make_loss, recipe_for, view
from ..runs import ON_A_PART, default_workers
from ..runs import plan as plan_run
from ..training import train
from .forecast import format_duration
from .saved import differences, read_rows, unique_name, weights_digest, write_rows
from .tables import NAMES, render, spread, write_report
from .tables import table as markdown_table

if TYPE_CHECKING:
    from ..figures import plots

LOSSES, SAMPLERS = ("sst", "triplet", "contrastive"), ("local", "balanced", "shuffled")
# Replace a recipe's own values: a budget that many runs can afford, and classes to choose the epoch by.
DEFAULTS: dict[str, Any] = {"epochs": 10, "holdout": 0.2}
BASELINE = ("triplet", "balanced")
Row = Mapping[str, Any]


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
    jobs: int = 1,
    progress: bool = True,
    **values: Any,
) -> list[dict[str, Any]]:
    """Train every loss with every sampler, size and seed, and evaluate each chosen epoch once on the test classes.

    All runs train for the same number of epochs from the same initial weights with the same schedule. (Local sampling
    leaves out what exceeds a neighborhood and so sees fewer items, which each row counts.) Runs of one seed hold out
    the same classes. Losses that see embeddings at unit length (those of pytorch-metric-learning) train a network
    with unit embeddings, so that retrieval uses the same distance; those with proxies see no class turned.
    ``normalize`` and ``turn`` override this.

    Parameters
    ----------
    data : str
        As for ``sstutils.load``.
    losses : sequence of str
        sst, triplet, contrastive, or names of pytorch-metric-learning.
    samplers : sequence of str
        local, balanced, shuffled.
    sizes : sequence of int, optional
        Batch sizes; by default that of the recipe.
    seeds : int
        Number of seeds: 0, 1, ...
    recipe, part, cache, download, where, workers
        As for :func:`sstutils.run`.
    images : int, optional
        Images per class, for data sets that have this choice (glyphs, fashion).
    out : path
        Folder. Each finished run is saved to ``OUT/studies/NAME.json``; called again, the study continues: runs with
        the same recipe on the same data are not repeated.
    name : str, optional
        Name of that file; by default that of the data set.
    jobs : int
        Runs at once, each a process with one thread. (A script that uses several must guard its own work by
        ``if __name__ == "__main__":``, as always with processes.)
    progress : bool
        Show the number of finished runs and the time left.
    **values
        Fields of the recipe; ``epochs`` defaults to 10 and ``holdout`` to 0.2. With ``holdout=0`` the last epoch is
        evaluated.

    Returns
    -------
    list of dict
        A row for each run, ordered by seed, loss, sampler and size: loss, sampler, batch_size, seed, epochs, data (a
        fingerprint), options (part and images), epoch (the chosen one), recall@k, map@r, r_precision, nmi (of the test
        classes); seconds, processor (CPU seconds) and items of training without validation; history, recipe, device,
        versions. A run that diverged has "diverged", the reason, in place of measures.

    Raises
    ------
    ValueError
        If a loss, a sampler or a value is unknown or does not fit; raised before anything is trained.
    OSError
        If the data cannot be read, the file cannot be written, or another study is writing it.
    """
    whole_number("jobs", jobs, 1, 256)
    path = study_path(data, out, name)
    chosen, options = plan_run(data, recipe, part, where, **values)
    if options and chosen.resize:
        values = ON_A_PART | values
    plan = cells(data, losses=losses, samplers=samplers, sizes=sizes, seeds=seeds, recipe=recipe, **values)
    options |= {} if images is None else {"images": whole_number("images", images, 1, 10_000)}
    training, test = (load(data, split, download=download, **options) for split in ("train", "test"))
    if "holdout" not in values and len(training.classes) < 4:  # too few to hold any out: the last epoch is evaluated
        plan = [replace(cell, holdout=0.0) for cell in plan]
    check_measurable(test.targets)
    if plan[0].holdout:  # fails now if the share leaves too few classes
        try:
            check_measurable(split_classes(training, plan[0].holdout)[1].targets)
        except ValueError as error:
            raise ValueError(f"{error}; with --holdout 0 the last epoch is evaluated, not one chosen by them") from None
    kinds, read = ("comparison.png", "comparison.svg", "curves.png", "curves.svg"), info(data)["where"]
    for file in (path, path.with_suffix(".md"), *(Path(out) / "figures" / f"{path.stem}_{kind}" for kind in kinds)):
        check_output(file, *read)
    workers = default_workers(workers, where)
    if cache:  # a part, too: every run reads it
        training = cache_photos(training, chosen, workers=workers, progress=progress)
    how = {"where": where, "workers": workers, "jobs": jobs, "progress": progress}
    return train_cells(path, training, test, plan, options=options, **how)


def train_cells(
    path: Path,
    training: Dataset,
    test: Dataset | None,
    plan: Sequence[Recipe],
    *,
    options: Mapping[str, Any] | None = None,
    overlap: bool = False,
    last: bool = False,
    where: str | None = None,
    workers: int = 0,
    jobs: int = 1,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Train the runs of a plan that the file `path` does not hold yet, and save each as it ends; return all rows.

    Without a `test` data set nothing is evaluated: rows have the best Recall@1 of the held-out classes alone. With
    `overlap` they also have the :func:`local_overlap` of the training classes halfway and at the end. With `last` the
    last epoch is evaluated, whatever the held-out classes say. Other parameters are those of :func:`study`; `options`
    are kept in the rows.
    """
    begun = filter(None, map(weights_digest, plan[:1]))  # the same file of all
    fingerprint = digest(training.fingerprint, test.fingerprint if test else "", *begun)
    train = partial(_train_cell, training, test, overlap=overlap, last=last, where=where, workers=workers)
    with exclusive(path):
        done = read_rows(path)
        rows = [next((row for row in done if not differences(row, cell, fingerprint)), None) for cell in plan]
        with tqdm(total=len(plan), initial=sum(map(bool, rows)), desc="runs", unit="run", disable=not progress) as bar:
            missing = {number: cell for number, cell in enumerate(plan) if not rows[number]}
            for number, row in _train_each(train, missing, jobs):
                rows[number] = {"data": fingerprint, "options": options or {}, **row}
                done.append(rows[number])
                write_rows(path, done)
                bar.set_postfix_str(f"{row['loss']}, {row['sampler']}, B = {row['batch_size']}, seed {row['seed']}")
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

    Each loss is tried on a small batch of noise: one that is unknown, or needs more than embeddings and labels, raises
    ValueError before anything is trained.
    """
    for one, many in (("loss", "losses"), ("sampler", "samplers"), ("seed", "seeds")):
        if one in values:
            raise ValueError(f"a study varies the {one}; use {many} instead of {one}={values[one]!r}")
    whole_number("seeds", seeds, 1, 1000)
    for what, chosen in (("losses", losses), ("samplers", samplers), ("sizes", sizes)):
        if chosen is not None and (not chosen or len(set(chosen)) < len(chosen)):
            raise ValueError(f"{what} must be distinct and at least one; got {', '.join(map(str, chosen)) or 'none'}")
    common = recipe_for(data, recipe, **{**DEFAULTS, **values})
    suited: dict[str, dict[str, bool]] = {}  # to the loss
    for loss in losses:
        made = _try_loss(replace(common, loss=loss))
        own = {"normalize": bool(getattr(getattr(made, "distance", None), "normalize_embeddings", common.normalize))}
        if list(made.parameters()):  # a class that is turned, differently in each batch, has no one place for a proxy
            own |= {"turn": False, "warmup_turn": False}
        suited[loss] = {name: values.get(name, value) for name, value in own.items()}
    return [
        replace(common, loss=loss, sampler=sampler, batch_size=size, seed=seed, **suited[loss])
        for seed, loss, sampler, size in product(range(seeds), losses, samplers, sizes or (common.batch_size,))
    ]


def _try_loss(recipe: Recipe) -> torch.nn.Module:
    """Return the loss of a recipe, tried on a batch of four."""
    loss = make_loss(recipe, 2)
    noise = torch.randn(4, recipe.dim, generator=torch.Generator().manual_seed(0))
    try:
        loss(noise, torch.tensor([0, 0, 1, 1])).item()
    except Exception as error:  # losses of others raise what they like
        raise ValueError(
            f"the loss {recipe.loss} cannot be computed from embeddings and labels ({one_line(error)}); choose another"
        ) from None
    return loss


def _train_each(train: Any, cells: dict[int, Recipe], jobs: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Train runs; yield the number and the row of each as it ends. Several at once are processes of one thread each."""
    if jobs == 1:
        yield from ((number, train(cell)) for number, cell in cells.items())
        return
    others = active_children()
    with ProcessPoolExecutor(jobs, get_context("spawn"), _start_job, (train,)) as pool:
        # Ctrl-C waits until the others are started; they inherit that they do not get it.
        if posix := hasattr(signal, "pthread_sigmask"):
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            futures = {pool.submit(_train_in_job, cell): number for number, cell in cells.items()}
            if posix:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield from ((futures[future], future.result()) for future in as_completed(futures))
        except BaseException:  # Ctrl-C, or an error in one of them: nobody waits for the rest
            for child in set(active_children()) - set(others):
                child.terminate()
            raise


def _start_job(train: Any) -> None:
    """Prepare a process for its runs: one thread, and it ends with the process that started it."""
    global _train_in_this_job
    _train_in_this_job = train
    tqdm.set_lock(RLock())  # its own would be a semaphore that outlives a process that is stopped
    torch.set_num_threads(1)
    Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()


def _train_in_job(recipe: Recipe) -> dict[str, Any]:
    return _train_in_this_job(recipe)


def _train_cell(
    training: Dataset, test: Dataset | None, recipe: Recipe, overlap: bool, last: bool, where: str | None, workers: int
) -> dict[str, Any]:
    """Train one run and evaluate its chosen epoch; return its row."""
    row: dict[str, Any] = {key: getattr(recipe, key) for key in ("loss", "sampler", "batch_size", "seed", "epochs")}
    about = {"recipe": asdict(recipe), "device": hardware(where), "versions": versions()}
    own = split_classes(training, recipe.holdout, recipe.seed)[0] if overlap and recipe.holdout else training
    overlaps, spent = {}, 0.0
    try:
        for step in train(training, recipe, where=where, workers=workers):
            if last and step.batch == step.batches - 1:
                weights = deepcopy(step.model.state_dict())
            if overlap and step.batch == step.batches - 1 and step.epoch + 1 == recipe.epochs // 2:
                started = time.process_time()
                overlaps["halfway"] = local_overlap(embed(step.model, own, **view(recipe)), own.targets)
                spent = time.process_time() - started
    except FloatingPointError as error:
        return {**row, "diverged": str(error), **about}
    if spent:
        step.history[recipe.epochs // 2 - 1]["processor"] -= spent
    if last:
        step.model.load_state_dict(weights)
    # As in training: the first of the best.
    choose = recipe.holdout and not last
    best = max(step.history, key=lambda entry: entry["recall@1"]) if choose else step.history[-1]
    row["epoch"] = best["epoch"]
    if test is None:
        row["held-out recall@1"] = best["recall@1"]
    else:
        embeddings, test = embed_readable(step.model, test, **view(recipe), workers=workers)
        row |= evaluate(embeddings, test.targets, protocol_ks(test))
    if overlap:
        overlaps["end"] = local_overlap(embed(step.model, own, **view(recipe)), own.targets)
        row["overlap"] = overlaps
    row["seconds"] = sum(entry["seconds"] - entry.get("validation", 0.0) for entry in step.history)
    row |= {key: sum(entry[key] for entry in step.history) for key in ("processor", "items", "steps")}
    row["history"] = [
        {key: value if isinstance(value, int) else float(f"{value:.6g}") for key, value in entry.items()}
        for entry in step.history
    ]
    return {**row, **about}


def local_overlap(
    embeddings: Tensor, labels: Sequence[int] | Tensor, *, size: int = 200, k: int = 10
) -> list[tuple[int, float]]:
    """Measure by how much classes overlap in each region of the embedding.

    The regions are the N // `size` clusters that k-means finds. Each is returned as the number of its items and the
    share of other classes among the `k` nearest neighbors of one, the mean over these items; the least overlap first.
    """
    foreign = torch.as_tensor(labels)
    foreign = (foreign[top_k(embeddings, k)[1]] != foreign[:, None]).double().mean(1)
    _, cluster, _ = kmeans(embeddings, max(1, len(embeddings) // size), seed=0)
    sizes = torch.bincount(cluster)
    shares = torch.bincount(cluster, weights=foreign) / sizes
    return [(int(sizes[i]), round(float(shares[i]), 4)) for i in shares.argsort() if sizes[i]]


def study_path(data: str, out: str | PathLike = "output", name: str | None = None) -> Path:
    """Return the file that holds the runs of a study: OUT/studies/NAME.json, by default named after the data set."""
    if name is not None and not re.fullmatch(r"\w[\w .+-]{0,99}", name):
        raise ValueError(f"name becomes a file name: use letters, digits, - and _, at most 100; got {name[:100]!r}")
    return Path(out) / "studies" / f"{name or unique_name(data)}.json"


# ---------------------------------------------------------------------------------------------------------------------
# Table and figures
# ---------------------------------------------------------------------------------------------------------------------
def by_setting(rows: Iterable[Row]) -> dict[tuple[str, str, int], list[Row]]:
    """Return the runs by loss, sampler and size."""
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["loss"], row["sampler"], row["batch_size"]), []).append(row)
    return groups


def table(rows: Sequence[Row]) -> str:
    """Return the runs of a study as a Markdown table: means over seeds, with 95 % confidence intervals.

    "against ..." is the difference in Recall@1 to the baseline's run with the same seed (the same initial weights and
    held-out classes), its mean and interval. The baseline is triplet loss with class-balanced batches, or the first
    setting of a study without it. Runs that diverged have no measures; they are counted.

    Parameters
    ----------
    rows : list of dict
        As :func:`study` returns them.

    Returns
    -------
    str
    """
    groups = by_setting(rows)
    many = len({size for *_, size in groups}) > 1
    base = next((key for key in groups if key[:2] == BASELINE), next(iter(groups)))
    against = {row["seed"]: row["recall@1"] for row in groups[base] if "diverged" not in row}
    clock, seconds = _clock(rows)
    lines = []
    for key, runs in groups.items():
        whole = [run for run in runs if "diverged" not in run]
        gaps = [run["recall@1"] - against[run["seed"]] for run in whole if run["seed"] in against]
        diverged = len(runs) - len(whole)
        forms = {"recall@1": ".3f", "map@r": ".3f", "epoch": ".1f", "items": ",.0f", clock: ".1f"}
        recall, *others = (spread([run[name] for run in whole], form) for name, form in forms.items())
        gap = "" if key == base else spread(gaps, "+.3f")
        count = f"{len(whole)}" + (f" of {len(runs)}, {diverged} diverged" if diverged else "")
        lines.append([*_names(key), *([str(key[2])] if many else []), recall, gap, *others, count])
    titles = ["loss", "batches", *(["B"] if many else []), "Recall@1", f"against {', '.join(_names(base))}", "MAP@R"]
    return markdown_table([*titles, "chosen epoch", "items", seconds, "seeds"], lines, text=2)


def _names(key: Sequence[Any]) -> list[str]:
    """Return loss and sampler of a setting as they are written."""
    return [NAMES.get(name, name) for name in key[:2]]


def _short(loss: str) -> str:
    """Return the name of a loss in a figure."""
    return NAMES.get(loss, loss.removesuffix("Loss") or loss)


def device_names(rows: Iterable[Row]) -> list[str]:
    """Name the GPUs or processors that runs were made on, each once."""
    names = (row["device"].get("gpu") or row["device"]["processor"] or "an unnamed processor" for row in rows)
    return list(dict.fromkeys(names))


def _clock(rows: Iterable[Row]) -> tuple[str, str]:
    """Return the field of seconds that runs are compared by, and its title.

    CPU seconds, where no GPU trains, do not depend on what else the machine does.
    """
    return ("seconds", "seconds") if any("gpu" in row["device"] for row in rows) else ("processor", "CPU seconds")


def report(
    rows: Sequence[Row], data: str = "glyphs", *, out: str | PathLike = "output", name: str | None = None
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
        ``OUT/studies/NAME.md``; ``OUT/figures/NAME_comparison`` as PNG and SVG, Recall@1 of the test classes; and, if
        classes were held out, ``NAME_curves``, their Recall@1 by epochs and seconds.

    Raises
    ------
    ValueError
        If there are no rows.
    OSError
        If a file cannot be written.
    """
    if not rows:
        raise ValueError("a study without runs has nothing to report")
    path = study_path(data, out, name)
    text = render("study.md.j2", name=path.stem, data=data, rows=rows, table=table(rows), **_facts(rows, data))
    return write_report(path, {".md": text}, _figures(rows), f"Study of {path.stem}")


def _figures(rows: Sequence[Row]) -> dict[str, plots.Figure]:
    """Draw the figures of the runs that did not diverge."""
    from ..figures import plots

    groups = by_setting(row for row in rows if "diverged" not in row)
    if not groups:
        return {}
    size = len({row["batch_size"] for row in rows}) > 1
    labels = {key: (_short(key[0]) + f", B = {key[2]}" * size, _names(key)[1]) for key in groups}
    recalls = {labels[key]: [run["recall@1"] for run in runs] for key, runs in groups.items()}
    figures = {"comparison": plots.comparison(recalls, measure="Recall@1 of the test classes")}
    if all("recall@1" in run["history"][0] for runs in groups.values() for run in runs):
        clock, seconds = _clock(rows)
        histories = {labels[key]: [_training_time(run["history"]) for run in runs] for key, runs in groups.items()}
        clocks = {"epoch": "epochs", "steps": "steps", clock: f"{seconds} of training"}
        figures["curves"] = plots.progress(histories, clocks=clocks)
    return figures


def _training_time(history: Sequence[Row]) -> list[dict[str, float]]:
    """Return a history whose seconds are those of training, without validation."""
    return [{**row, "seconds": row["seconds"] - row.get("validation", 0.0)} for row in history]


def _facts(rows: Sequence[Row], data: str) -> dict[str, Any]:
    """Return what the report says of how a study was made."""
    recipe = asdict(Recipe(**rows[0]["recipe"]))
    of_a_cell = ("loss", "sampler", "batch_size", "seed", "normalize", "turn", "epochs", "holdout")
    usual = asdict(recipe_for(data))
    unit = {row["loss"]: row["recipe"]["normalize"] for row in rows}
    return {
        "recipe": recipe,
        "changed": {name: recipe[name] for name in usual if name not in of_a_cell and recipe[name] != usual[name]},
        "options": rows[0].get("options", {}),
        "seeds": len({row["seed"] for row in rows}),
        "comparisons": len(by_setting(rows)) - 1,
        "sizes": sorted({row["batch_size"] for row in rows}),
        "warmup": recipe["warmup"] and any(row["sampler"] == "local" for row in rows),
        "clock": _clock(rows)[1],
        "devices": device_names(rows),
        "threads": sorted({row["device"]["threads"] for row in rows}),
        "spent": format_duration(sum(row.get("seconds", 0) for row in rows)),
        "still": [row["loss"] for row in rows if usual["turn"] and not row["recipe"]["turn"] and not row["seed"]],
        "unit": [_short(loss) for loss, one in unit.items() if one] if not all(unit.values()) else [],
    }
