"""Train in child processes that are killed at random moments and resumed, until all of the kills are used up.

    python tests/killed.py FOLDER KILLS SEED

FOLDER/whole.pt is of a run that was left alone, FOLDER/0.pt, 1.pt, ... of those that were not. Prints how many epochs
each kill left behind, as JSON. Children are forked from a process that has loaded everything, so that a kill costs
milliseconds and not an import of torch.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from sstutils import Glyphs, Recipe, load_checkpoint, train
from sstutils.checkpoints import unfinished

RECIPE = Recipe(epochs=6, warmup=0.3, batch_size=48, dim=16, size=16, precision="float32", refresh=2, holdout=0.25)


def start(folder: Path, out: Path) -> int:
    """Train, or go on, in a child; its process number."""
    child = os.fork()
    if child:
        return child
    try:
        data = Glyphs(folder, "train", classes=12, images=12)
        for _ in train(data, RECIPE, out=out, resume=out.exists(), where="cpu"):
            pass
    finally:
        os._exit(sys.exc_info()[0] is not None)


def main(folder: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)  # a forked child has no threads
    draw, left, run = random.Random(seed), [], 0
    Glyphs(folder, "train", classes=12, images=12)  # drawn once, kept in a cache
    began = time.perf_counter()
    assert os.waitpid(start(folder, folder / "whole.pt"), 0)[1] == 0
    whole = time.perf_counter() - began
    while True:
        out = folder / f"{run}.pt"
        child = start(folder, out)
        if len(left) < kills:
            time.sleep(draw.uniform(0, whole / 2))
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or status == 0, f"a child failed after {len(left)} kills"
        content = load_checkpoint(out) if out.exists() else None  # a whole one, or none
        if os.WIFSIGNALED(status):
            left.append(len(content["history"]) if content else 0)
        if content and not unfinished(content):
            run += 1
            if len(left) >= kills:
                break
    print(json.dumps(left))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
