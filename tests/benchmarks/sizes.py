"""The runs that lecture 09 reads: loss x sampler, and sizes of a batch with equal epochs and with equal steps.

Nothing is chosen: the last epoch is evaluated on the test classes. Small batches make more steps of an epoch: so some
sizes run once more with as many steps as batches of 200, in fewer or more epochs. Runs are kept in OUT/studies as they
finish; OUT/DATA_comparison.json is written when all are there.

    python -m tests.benchmarks.sizes [--seeds 3] [--epochs 10] [--out output]
"""

import argparse
import json
from pathlib import Path

from sstutils.figures import plots
from sstutils.files import atomic_write
from sstutils.study import by_setting, study

# What is studied beside sizes of 200: SST with other sizes, and with the factors on the epochs that make steps equal.
SIZES, EQUAL = (50, 100, 400), {100: 0.5, 400: 2}


def flat(row: dict) -> dict:
    """Return what lecture 09 reads of a run; Recall@1 of one that diverged is 0."""
    beside = ("epoch", "steps", "processor", "history", "recipe", "device", "versions", "options")
    row = {key: value for key, value in row.items() if key not in beside}
    return {"recall@1": 0.0, **row} if "diverged" in row else row


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="glyphs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("output"))
    options = parser.parse_args(arguments)
    common = {"seeds": options.seeds, "out": options.out, "name": f"{options.data}_sizes", "holdout": 0.0}
    rows = study(options.data, sizes=(200,), epochs=options.epochs, **common)
    rows += study(options.data, losses=("sst",), sizes=SIZES, epochs=options.epochs, **common)
    whole = by_setting(row for row in map(flat, rows) if row["loss"] == "sst")
    for size, factor in EQUAL.items():
        equal = {"sizes": (size,), "epochs": round(options.epochs * factor)}
        rows += study(options.data, losses=("sst",), samplers=("local", "balanced"), **equal, **common)
    with atomic_write(options.out / f"{options.data}_comparison.json") as temporary:
        temporary.write_text(json.dumps([flat(row) for row in rows], indent=1) + "\n")
    figure = plots.comparison(
        {
            (f"B = {size}", sampler): [row["recall@1"] for row in runs]
            for (_, sampler, size), runs in sorted(whole.items(), key=lambda item: item[0][2])
        }
    )
    for kind, content in (("png", figure.png()), ("svg", figure.svg("Sizes of a batch").encode())):
        with atomic_write(options.out / "figures" / f"{options.data}_sizes.{kind}") as temporary:
            temporary.write_bytes(content)


if __name__ == "__main__":
    main()
