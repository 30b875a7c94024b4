"""The comparison that the paper makes, on the embedded data: loss x sampler x seeds, under equal budgets.

Every run takes the same number of epochs from the same start with the same schedule; only loss and sampler differ, and,
for the SST loss, the size of the batches. Small batches make more steps of an epoch: so some sizes run once more with
as many steps as batches of 200, in fewer or more epochs.
(Local sampling leaves out what exceeds a neighborhood, so it sees fewer items; its first half is class-balanced.)
Recall@1 is that of the last epoch on the test classes: nothing is chosen by it. Runs are kept as they finish, so that
an interrupted comparison goes on where it stopped.

    python benchmarks/compare.py [--seeds 3] [--epochs 10] [--out output]
"""

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
from scipy.stats import t
from tqdm import tqdm

from sstutils import embed, evaluate, fit, load, plots, recipe_for
from sstutils.datasets.base import aside

LOSSES, SAMPLERS = ("sst", "triplet", "contrastive"), ("local", "balanced", "shuffled")
SIZES = (50, 100, 200, 400)
# Loss, sampler, size of a batch, and the factor on the epochs.
GRID = [
    *product(LOSSES, SAMPLERS, (200,), (1,)),
    *(row for row in product(("sst",), SAMPLERS, SIZES, (1,)) if row[2] != 200),
    *(("sst", sampler, size, size / 200) for sampler in ("local", "balanced") for size in (100, 400)),
]


def interval(values: list[float], level: float = 0.95) -> tuple[float, float]:
    """Return the mean and half the width of its confidence interval (Student's t)."""
    spread = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(np.mean(values)), float(t.ppf((1 + level) / 2, len(values) - 1) * spread)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="glyphs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("output"))
    options = parser.parse_args()
    path = options.out / f"{options.data}_comparison.json"
    done = json.loads(path.read_text()) if path.exists() else []
    train, test = load(options.data, "train"), load(options.data, "test")

    def key(loss: str, sampler: str, size: int, times: float) -> dict:
        about = {"epochs": round(options.epochs * times), "data": test.fingerprint}
        return {"loss": loss, "sampler": sampler, "batch_size": size, **about}

    for seed, row in tqdm(list(product(range(options.seeds), GRID)), unit="run"):
        wanted = key(*row) | {"seed": seed}
        if any(wanted.items() <= run.items() for run in done):
            continue
        recipe = recipe_for(
            options.data, **{name: wanted[name] for name in ("loss", "sampler", "batch_size", "epochs", "seed")}
        )
        try:
            step = fit(train, recipe, progress=False)
            measured = evaluate(embed(step.model, test), test.targets)
            measured |= {name: sum(row[name] for row in step.history) for name in ("seconds", "items")}
        except FloatingPointError as error:
            measured = {"recall@1": 0.0, "diverged": str(error)}
        done.append(wanted | measured)
        with aside(path) as temporary:
            temporary.write_text(json.dumps(done, indent=1) + "\n")

    results = {row: [run for run in done if key(*row).items() <= run.items()] for row in GRID}
    print("| loss | batches | B | epochs | Recall@1 | MAP@R | seconds |\n|---|---|---|---|---|---|---|")
    for (loss, sampler, size, _), runs in results.items():
        cells = (interval([run.get(name, 0.0) for run in runs]) for name in ("recall@1", "map@r"))
        numbers = " | ".join(f"{mean:.3f} ± {half:.3f}" for mean, half in cells)
        seconds = np.median([run.get("seconds", 0) for run in runs])
        print(f"| {loss} | {sampler} | {size} | {runs[0]['epochs']} | {numbers} | {seconds:.0f} |")
    recalls = {row: [run["recall@1"] for run in runs] for row, runs in results.items()}
    figures = {
        "comparison": plots.comparison({row[:2]: recalls[row] for row in GRID if row[2] == 200}),
        "sizes": plots.comparison(
            {
                (f"B = {row[2]}", row[1]): recalls[row]
                for row in sorted(GRID, key=lambda row: row[2])
                if row[0] == "sst" and row[3] == 1
            }
        ),
    }
    for name, figure in figures.items():
        for kind in ("png", "svg"):
            with aside(options.out / "figures" / f"{options.data}_{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind)


if __name__ == "__main__":
    main()
