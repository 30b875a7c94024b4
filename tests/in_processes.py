"""``sst train digits`` in the processes that torchrun started, and then several recipes in the same ones.

    torchrun --nproc-per-node 2 tests/in_processes.py FOLDER

A start costs more than all that is trained. FOLDER/default.pt is of the command, FOLDER/out.json tells the rest.
"""

import json
import sys
from pathlib import Path

from torch.utils.data import Dataset, Subset

from sstutils import Recipe, cli, distributed, fit, load, runs
from sstutils.study.forecast import measure_speed

SMALL = {"dim": 16, "batch_size": 20, "precision": "float32", "seed": 3}
RECIPES = {
    # 9 class-balanced batches first: the last step has one neighborhood for two processes
    "local": {"neighborhoods": 2, "holdout": 0.4, "refresh": 2, "warmup": 0.25, "schedule": "constant", "epochs": 2},
    # Four gradients are added up in another order, and Adam makes the rounding of tiny ones as large as a step.
    "accumulated": {"neighborhoods": 4, "sampler": "balanced", "epochs": 1, "lr": 1e-4},
    "dropout": {"backbone": "mobilenet_v3_small", "sampler": "balanced", "epochs": 1, "neighborhoods": 2},
    "proxies": {"loss": "ProxyAnchorLoss", "sampler": "balanced", "epochs": 1, "neighborhoods": 2, "head": "frozen"},
}


def data() -> Dataset:
    """Every third digit."""
    whole = load("digits", "train")
    return Subset(whole, range(0, len(whole), 3))


def run(name: str, out: Path | None = None) -> list[dict]:
    """Return the history of a recipe."""
    values = RECIPES[name]
    return fit(data(), Recipe(**SMALL | values), out=out, where="cpu", progress=False).history


def train_recipes(folder: Path) -> None:
    histories = {name: run(name, folder / f"{name}.pt") for name in RECIPES}
    speed = measure_speed(Recipe(size=16, dim=8), "cpu")
    try:
        fit(data(), Recipe(neighborhoods=3), where="cpu", progress=False)
        refused = ""
    except ValueError as error:
        refused = str(error)
    if distributed.world()[0] == 0:
        (folder / "out.json").write_text(json.dumps([histories, speed, refused]))


def main(folder: Path) -> int:
    train = runs.run

    def more(*args, **options):
        """Train what the command trains, and the recipes, in the processes that it has joined."""
        step = train(*args, **options)
        train_recipes(folder)
        return step

    runs.run = more
    small = ["--epochs", "1", "--dim", "16", "--size", "16", "--part", "300", "--device", "cpu"]
    return cli.main(["train", "digits", *small, "--out", str(folder / "default.pt")])


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
