"""The comparison that the paper makes, on the embedded data: loss x sampler x seeds, under equal budgets.

Every run takes the same number of epochs from the same start with the same schedule; only loss and sampler differ.
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
    for seed, loss, sampler in tqdm(list(product(range(options.seeds), LOSSES, SAMPLERS)), unit="run"):
        key = {"loss": loss, "sampler": sampler, "seed": seed, "epochs": options.epochs, "data": test.fingerprint}
        if any(key.items() <= run.items() for run in done):
            continue
        recipe = recipe_for(options.data, loss=loss, sampler=sampler, seed=seed, epochs=options.epochs)
        try:
            step = fit(train, recipe, progress=False)
            measured = evaluate(embed(step.model, test), test.targets)
            measured |= {key: sum(row[key] for row in step.history) for key in ("seconds", "items")}
        except FloatingPointError as error:
            measured = {"recall@1": 0.0, "diverged": str(error)}
        done.append(key | measured)
        with aside(path) as temporary:
            temporary.write_text(json.dumps(done, indent=1) + "\n")

    results = {
        (loss, sampler): [
            run
            for run in done
            if {"loss": loss, "sampler": sampler, "epochs": options.epochs, "data": test.fingerprint}.items()
            <= run.items()
        ]
        for loss, sampler in product(LOSSES, SAMPLERS)
    }
    print("| loss | batches | Recall@1 | MAP@R | seconds |\n|---|---|---|---|---|")
    for (loss, sampler), runs in results.items():
        cells = (interval([run.get(name, 0.0) for run in runs]) for name in ("recall@1", "map@r"))
        numbers = " | ".join(f"{mean:.3f} ± {half:.3f}" for mean, half in cells)
        print(f"| {loss} | {sampler} | {numbers} | {np.median([run.get('seconds', 0) for run in runs]):.0f} |")
    figure = plots.comparison({key: [run["recall@1"] for run in runs] for key, runs in results.items()})
    for kind in ("png", "svg"):
        with aside(options.out / "figures" / f"{options.data}_comparison.{kind}") as temporary:
            figure.savefig(temporary, format=kind)


if __name__ == "__main__":
    main()
