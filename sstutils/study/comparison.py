"""The comparison that decides the paper's claims as far as small data can: tuned equally, paired by seed.

First each method gets the same number of trials, judged by Recall@1 on *held-out training classes*. Then every method,
with the setting that was best for it, trains with every sampler over the same seeds, and each run is evaluated once on
the test classes. Last, what the differences depend on: the number of classes, the size of a batch, and when local
sampling begins.

    python -m sstutils.study.comparison omniglot --jobs 2
"""

import argparse
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from markupsafe import Markup

from ..datasets import load
from ..datasets.subsets import part_of
from ..evaluation import recall_at_k
from ..figures import plots
from ..figures.plots import interval
from ..recipes import Recipe
from . import Row, device_names, study_path, train_cells
from .forecast import format_duration
from .saved import read_rows
from .tables import render, spread, table, write_report

# What a method is, and the values of its own number that are tried, with each learning rate.
METHODS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "SST": ({"loss": "sst"}, [{"scale": x} for x in (0.1, 0.2, 0.3, 0.5)]),
    "triplet": ({"loss": "triplet"}, [{"margin": x} for x in (0.05, 0.1, 0.2, 0.5)]),
    "triplet, semi-hard": (
        {"loss": "triplet", "miner": "TripletMarginMiner(type_of_triplets='semihard')"},
        [{"margin": x} for x in (0.05, 0.1, 0.2, 0.5)],
    ),
    "contrastive": ({"loss": "contrastive"}, [{"margin": x} for x in (0.25, 0.5, 1.0, 2.0)]),
    "multi-similarity": (
        {"normalize": True},
        [{"loss": f"MultiSimilarityLoss(alpha=2, beta={x}, base=0.5)"} for x in (10, 20, 40, 60)],
    ),
    # A class that is turned as a whole, differently in each batch, has no one place for a proxy.
    "proxy anchor": (
        {"loss": "ProxyAnchorLoss", "normalize": True, "turn": False},
        [{"proxy_lr": x} for x in (1.0, 3.0, 10.0, 30.0)],
    ),
}
RATES = (1e-3, 3e-3, 1e-2)
SAMPLERS: dict[str, dict[str, Any]] = {
    "class-balanced": {"sampler": "balanced"},
    "local after 50%": {"sampler": "local", "warmup": 0.5},
    "local from the start": {"sampler": "local", "warmup": 0.0},
    "shuffled": {"sampler": "shuffled"},
}
BASE = ("triplet", "class-balanced")
FEW, PAIR = ("SST", "triplet"), ("local after 50%", "class-balanced")  # the paper's two losses, and its claim
VARIED = FEW[:1]  # whose gain by local batches is measured in other circumstances, too
# Of a trial, images and epochs; of a run, epochs, and whether the last is evaluated: where few classes are held out,
# every image is soon found, and which epoch is best cannot be told.
BUDGETS: dict[str, dict[str, Any]] = {
    "omniglot": {
        "part": 4000, "trial": 6, "epochs": 4, "last": False, "classes": (50, 200), "sizes": (100, 400), "k": (1, 20),
    },
    "glyphs": {"part": 2400, "trial": 6, "epochs": 24, "last": True, "classes": (), "sizes": (), "k": ()},
}  # fmt: skip
DIFFERENCES = {
    "losses": "difference in Recall@1",
    "samplers": "gain in Recall@1 over class-balanced batches",
    "circumstances": "gain in Recall@1 over class-balanced batches",
}
HELD_OUT = 0.1  # of the training classes, drawn with the seed


def method_of(row: Row) -> str:
    """Name the method of a row."""
    loss, miner = row["recipe"]["loss"].partition("(")[0], row["recipe"].get("miner")
    for name, (fixed, tried) in METHODS.items():
        if loss == (fixed | tried[0])["loss"].partition("(")[0] and miner == fixed.get("miner"):
            return name
    raise ValueError(f"no method of the comparison has the loss {row['recipe']['loss']}")


def sampler_of(row: Row) -> str:
    """Name the batches of a row."""
    if row["sampler"] != "local":
        return {"balanced": "class-balanced"}.get(row["sampler"], row["sampler"])
    return f"local after {row['recipe']['warmup']:.0%}" if row["recipe"]["warmup"] else "local from the start"


# What is run


def trials(data: str) -> dict[str, list[Recipe]]:
    """List the recipes that are tried for each method, on class-balanced batches."""
    common = {"sampler": "balanced", "turn": True, "epochs": BUDGETS[data]["trial"], "holdout": 0.2}
    return {
        method: [Recipe(**{**common, **fixed, **own, "lr": lr}) for lr, own in product(RATES, tried)]
        for method, (fixed, tried) in METHODS.items()
    }


def choose(data: str, rows: Iterable[Row]) -> dict[str, Recipe]:
    """Choose the trial of each method that is best by Recall@1 on held-out training classes, the first of equals."""
    found = {Recipe(**row["recipe"]): row.get("held-out recall@1", -1.0) for row in rows}
    return {method: max(tried, key=found.__getitem__) for method, tried in trials(data).items()}


def cells(data: str, chosen: Mapping[str, Recipe], seeds: int) -> list[list[Recipe]]:
    """List the runs on all classes, those that decide most first."""
    budget, losses = BUDGETS[data], [method for method in METHODS if method not in FEW]
    pair, others = ([SAMPLERS[name] for name in SAMPLERS if (name in PAIR) == of] for of in (True, False))
    settings = (
        (FEW, pair + others),
        (losses, pair),
        (VARIED, [{"sampler": "local", "warmup": start} for start in (0.25, 0.75)]),
        (VARIED, [sampler | {"batch_size": size} for size in budget["sizes"] for sampler in pair]),
        (VARIED, [SAMPLERS[PAIR[0]] | {"k": k} for k in budget["k"]]),
        (losses, others),
    )
    common = {"holdout": HELD_OUT, "epochs": budget["epochs"]}
    return [
        [
            replace(chosen[method], **common, **own, seed=seed)
            for seed, method, own in product(range(seeds), some, kinds)
        ]
        for some, kinds in settings
    ]


def cells_of_few_classes(data: str, chosen: Mapping[str, Recipe], seed: int, share: float) -> list[Recipe]:
    """List the runs of a seed on a share of the classes: as many steps as on all of them.

    The last epoch is evaluated, and no class held out.
    """
    common = {"holdout": 0.0, "epochs": round(BUDGETS[data]["epochs"] / share), "seed": seed}
    return [replace(chosen[method], **common, **SAMPLERS[sampler]) for method, sampler in product(VARIED, PAIR)]


def compare(
    data: str, out: str | PathLike = "output", *, seeds: int = 5, jobs: int = 1, download: bool = False
) -> None:
    """Make the comparison, and write its report; called again, it continues.

    Parameters
    ----------
    data : {"omniglot", "glyphs"}
    out : path
        Folder: runs go to ``OUT/studies``, figures to ``OUT/figures``.
    seeds : int
        Of the runs; a trial has one.
    jobs : int
        Runs at once, each a process with one thread.
    download : bool
    """
    training, test = (load(data, split, download=download) for split in ("train", "test"))
    how = {"jobs": jobs, "where": "cpu"}
    part = part_of(training, BUDGETS[data]["part"])
    tried = [recipe for recipes in trials(data).values() for recipe in recipes]
    chosen = choose(data, train_cells(study_path(data, out, f"{data}_trials"), part, None, tried, **how))
    for number, some in enumerate(cells(data, chosen, seeds)):
        last = BUDGETS[data]["last"]
        train_cells(study_path(data, out), training, test, some, overlap=not number, last=last, **how)
        report(data, out)
    for count, seed in product(BUDGETS[data]["classes"], range(seeds)):
        share = count / len(training.classes)
        few, some = (
            part_of(training, round(share * len(training)), seed),
            cells_of_few_classes(data, chosen, seed, share),
        )
        train_cells(study_path(data, out), few, test, some, options={"classes": count}, **how)
    report(data, out)


# What came out


def tidy(rows: Iterable[Row], classes: int) -> pd.DataFrame:
    """Return the runs as a table, a line each; `classes` is the number of all training classes."""
    kept = ("batch_size", "epochs", "seed", "recall@1", "map@r", "r_precision", "nmi", "items", "steps", "processor")
    return pd.DataFrame(
        {
            "method": method_of(row),
            "batches": sampler_of(row),
            "classes": row["options"].get("classes", classes),
            "k": row["recipe"]["k"],
            **{name: row.get(name) for name in kept},
        }
        for row in rows
    )


def recalls(runs: pd.DataFrame, **setting: Any) -> pd.Series:
    """Return Recall@1 by seed of the runs of a setting, such as ``method="SST", batches="shuffled"``.

    What is not set is as in most runs: all classes, the usual size and k. Differences of two such series are paired.
    """
    usual = {"classes": runs["classes"].max()} | {name: runs[name].mode()[0] for name in ("batch_size", "k")}
    setting = usual | setting
    chosen = (runs[list(setting)] == pd.Series(setting)).all(axis=1)
    return runs[chosen].set_index("seed")["recall@1"].dropna()


def claims(runs: pd.DataFrame) -> dict[str, dict[tuple[str, str], pd.Series]]:
    """Return the differences in Recall@1, by seed, that the paper's claims are about.

    "losses" is SST less triplet with each kind of batches, "samplers" what local batches gain over class-balanced ones
    with each method, "circumstances" this gain by the number of classes, the size of a batch, k, and the start.
    """

    def gain(**setting: Any) -> pd.Series:
        other = {name: value for name, value in setting.items() if name != "k"}  # fewer positives than the usual k
        other = recalls(runs, **other | {"batches": "class-balanced"})
        return (recalls(runs, **{"batches": PAIR[0], **setting}) - other).dropna()

    starts = sorted(name for name in runs["batches"].unique() if name.startswith("local"))
    varied: list[tuple[str, dict[str, Any]]] = []
    for form, column in (("{:,} classes", "classes"), ("B = {}", "batch_size"), ("k = {}", "k")):
        values = sorted(runs[column].unique().tolist())
        varied += [(form.format(value), {column: value}) for value in values if len(values) > 1]
    varied += [(name, {"batches": name}) for name in starts[-1:] + starts[:-1] if len(starts) > 2]
    found = {
        "losses": {
            ("SST less triplet", batches): recalls(runs, method="SST", batches=batches).sub(
                recalls(runs, method="triplet", batches=batches)
            )
            for batches in SAMPLERS
        },
        "samplers": {(local, m): gain(method=m, batches=local) for m, local in product(METHODS, list(SAMPLERS)[1:3])},
        "circumstances": {(method, name): gain(method=method, **some) for name, some in varied for method in VARIED},
    }
    return {name: {key: gap.dropna() for key, gap in gaps.items() if gap.notna().any()} for name, gaps in found.items()}


def recall_at(row: Row, key: str, budget: float) -> float:
    """Return Recall@1 of held-out classes when so many steps, or CPU seconds, were spent; between epochs linearly."""
    spent = np.cumsum([entry[key] for entry in row["history"]])
    return float(np.interp(budget, spent, [entry["recall@1"] for entry in row["history"]]))


def report(data: str, out: str | PathLike = "output") -> list[Path]:
    """Write the report of a comparison from the runs that are there.

    Returns ``OUT/studies/DATA.md``, ``OUT/studies/DATA.csv``, a line for each run, and the figures,
    ``OUT/figures/DATA_*`` as PNG and SVG.
    """
    path = study_path(data, out)
    if not (rows := read_rows(path)):
        raise ValueError(f"{path} holds no runs to report; compare trains them")
    trained, test = load(data, "train"), load(data, "test")
    runs = tidy(rows, len(trained.classes))
    tried = read_rows(study_path(data, out, f"{data}_trials"))
    pixels = recall_at_k(torch.from_numpy(test.data[..., 0]).float().flatten(1), test.targets, (1,))[1]
    text = render("comparison.md.j2", data=data, pixels=pixels, **_facts(data, rows, runs, tried, trained))
    return write_report(path, {".md": text, ".csv": runs.to_csv(index=False)}, draw(rows, runs), data)


def usual(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Return the runs on all classes with the usual size, k and start that did not diverge, by method and batches."""
    ((size, k), _), *_ = Counter((row["batch_size"], row["recipe"]["k"]) for row in rows).most_common(1)
    found: dict[tuple[str, str], list[Row]] = {(method, name): [] for method in METHODS for name in SAMPLERS}
    for row in rows:
        key = method_of(row), sampler_of(row)
        as_usual = not row["options"] and (row["batch_size"], row["recipe"]["k"]) == (size, k)
        if key in found and as_usual and "diverged" not in row:
            found[key].append(row)
    return {key: runs for key, runs in found.items() if runs}


def draw(rows: Sequence[Row], runs: pd.DataFrame) -> dict[str, plots.Figure]:
    """Draw the figures of a comparison."""
    groups = usual(rows)
    measured = {key: [row["recall@1"] for row in some] for key, some in groups.items()}
    figures = {
        "comparison": plots.comparison(measured, measure="Recall@1 of the test classes"),
        "curves": plots.progress({key: [row["history"] for row in some] for key, some in groups.items()}),
    }
    figures |= {
        name: plots.comparison(gaps, measure=f"{DIFFERENCES[name]}, by seed")
        for name, all_gaps in claims(runs).items()
        if (gaps := {key: gap for key, gap in all_gaps.items() if len(gap) > 2 or runs["seed"].nunique() < 3})
    }
    at = np.linspace(0, 1, 21)  # shares of the items, from the region with the least overlap on
    overlaps = {}
    for (method, batches), some in groups.items():
        for when in ("halfway", "end") if batches == "class-balanced" else ("end",):
            found = [row["overlap"][when] for row in some if method == "SST" and when in row.get("overlap", {})]
            if found:
                overlaps[f"{batches}, {when}"] = np.mean([_by_region(one, at) for one in found], axis=0)
    if overlaps:
        labels = {"x_label": "share of the items, by region", "y_label": "other classes among 10 neighbors"}
        figures["overlap"] = plots.curves(at, overlaps, **labels)
    return figures


def _by_region(regions: Sequence[tuple[int, float]], at: np.ndarray) -> np.ndarray:
    """Return the overlap at some shares of the items, regions in the order of their overlap."""
    sizes, shares = np.array(regions).T
    return np.interp(at, (sizes.cumsum() - sizes / 2) / sizes.sum(), shares)


def _facts(data: str, rows: Sequence[Row], runs: pd.DataFrame, tried: Sequence[Row], trained: Any) -> dict[str, Any]:
    """Return what the report says."""
    groups, budget = usual(rows), BUDGETS[data]
    base = recalls(runs, method=BASE[0], batches=BASE[1])
    every = [row for some in groups.values() for row in some]
    least = {key: min(row[key] for row in every) for key in ("steps", "processor")}
    lines = []
    for (method, batches), some in groups.items():
        gap = (recalls(runs, method=method, batches=batches) - base).dropna()
        columns = [spread([row[name] for row in some]) for name in ("recall@1", "map@r")]
        columns.insert(1, "" if (method, batches) == BASE else spread(gap, "+.3f"))
        columns += [spread([recall_at(row, key, least[key]) for row in some]) for key in least]
        lines.append([method, batches, *columns, spread([row["processor"] for row in some], ".0f"), len(some)])
    titles = ["method", "batches", "Recall@1", f"against {', '.join(BASE)}", "MAP@R"]
    titles += [f"at {least['steps']:,} steps", f"at {least['processor']:.0f} CPU seconds", "CPU seconds", "seeds"]
    best = choose(data, tried)
    found = {Recipe(**row["recipe"]): row.get("held-out recall@1") for row in tried}
    found_claims, seeds = claims(runs), runs["seed"].nunique()
    return {
        "budget": budget,
        "classes": len(trained.classes),
        "images": len(trained),
        "seeds": seeds,
        "held_out": HELD_OUT,
        "diverged": [row for row in (*rows, *tried) if "diverged" in row],
        "runs": len(rows),
        "planned": sum(map(len, cells(data, best, seeds))) + len(VARIED) * len(PAIR) * seeds * len(budget["classes"]),
        "trials": [_trial_table(method, recipes, found, best[method]) for method, recipes in trials(data).items()],
        "results": table(titles, lines, text=2),
        "claims": {name: _gap_table(gaps) for name, gaps in found_claims.items()},
        "comparisons": sum(map(len, found_claims.values())),
        "edges": [method for method, recipe in best.items() if _at_an_edge(method, recipe)],
        "spent": format_duration(sum(row.get("processor", 0) for row in (*rows, *tried))),
        "devices": device_names(rows),
        "versions": rows[0]["versions"],
    }


def _at_an_edge(method: str, best: Recipe) -> bool:
    """Tell whether the best trial of a method has the first or the last of the values that were tried."""
    tried = METHODS[method][1]
    name = next(iter(tried[0]))
    values = [own[name] for own in tried]
    return best.lr in (RATES[0], RATES[-1]) or getattr(best, name) in (values[0], values[-1])


def _trial_table(method: str, recipes: Sequence[Recipe], found: Mapping[Recipe, float | None], best: Recipe) -> Any:
    """Return the trials of a method as a table: learning rates by its own number."""
    name = next(iter(METHODS[method][1][0]))
    tried = list(dict.fromkeys(getattr(recipe, name) for recipe in recipes))
    cell = {(getattr(recipe, name), recipe.lr): found.get(recipe) for recipe in recipes}
    mark = (getattr(best, name), best.lr)

    def shown(key: tuple) -> str:
        value = "diverged" if cell[key] is None else f"{cell[key]:.3f}"
        return Markup(f"**{value}**") if key == mark else value

    lines = [[value, *(shown((value, lr)) for lr in RATES)] for value in tried]
    return table([f"{method}: {name}", *(f"lr {lr:g}" for lr in RATES)], lines)


def _gap_table(gaps: Mapping[tuple[str, str], Any]) -> Any:
    """Return paired differences as a table, and whether their interval excludes zero."""
    lines = []
    for (what, where), gap in gaps.items():
        mean, half = interval(gap)
        sure = "" if not half < abs(mean) else "above zero" if mean > 0 else "below zero"
        lines.append([what, where, spread(gap, "+.3f"), sure, len(gap)])
    return table(["", "", "difference in Recall@1", "95 % interval", "seeds"], lines, text=2)


def main() -> None:
    """Make a comparison from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=list(BUDGETS))
    parser.add_argument("--out", type=Path, default=Path("output"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--download", action="store_true")
    compare(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
