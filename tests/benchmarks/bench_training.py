"""Training beside its bare step on tensors that are there: ``python -m tests.benchmarks training``, some minutes.

The bare step is what cannot be saved: forward, loss, backward, update, on one batch that stays where it is. Ours reads
uint8 pictures, crops and mirrors them, and finds the neighborhoods. On a GPU it is the paper's network and size of
batches, on a CPU a small network and small pictures.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sstutils import LocalSampler, embed, fit, load_checkpoint, sst_loss
from sstutils.datasets.base import ArrayDataset
from sstutils.models import device
from sstutils.recipes import PAPER, Recipe, make_model, view
from tests.benchmarks.bench_sampling import row

ROUNDS = 3
SMALL = {"backbone": "resnet18", "resize": 72, "size": 64, "batch_size": 64}


def photographs(recipe: Recipe, images: int) -> ArrayDataset:
    """Return noise of the size that the recipe reads, in classes of ten."""
    shape = images, recipe.resize, recipe.resize, 3
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return ArrayDataset(pixels, np.arange(images) // 10, [str(number) for number in range(images // 10)])


def bare(recipe: Recipe, where: torch.device, steps: int) -> float:
    """Return the images a second of steps on one batch that stays on the device."""
    model = make_model(recipe).to(where).train()
    if recipe.compile:
        model.backbone.compile()
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.lr)
    images = torch.rand(recipe.batch_size, 3, recipe.size, recipe.size, device=where)
    labels = torch.arange(recipe.batch_size, device=where) // 10

    def step() -> None:
        optimizer.zero_grad()
        sst_loss(model(images), labels).backward()
        optimizer.step()

    wait = torch.cuda.synchronize if where.type == "cuda" else lambda: None
    for _ in range(3):
        step()
    wait()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return steps * recipe.batch_size / (time.perf_counter() - started)


def compare(recipe: Recipe, data: ArrayDataset, where: torch.device, steps: int) -> tuple[float, float, float, float]:
    """Train for two epochs, take bare steps, and find neighborhoods.

    Returned are the seconds of 1,000 images in training and in bare steps, of an epoch, and of the neighborhoods.
    """
    step = fit(data, replace(recipe, epochs=2), where=where, progress=False)
    last = step.history[-1]
    theirs = 1000 / bare(recipe, where, steps)
    sampler = LocalSampler(data.targets, recipe.batch_size, recipe.k)
    for _ in range(2):  # the first time compiles the network for evaluation, if it is to be compiled
        started = time.perf_counter()
        sampler.refresh(embed(step.model, data, **view(recipe)).to(where))
    return 1000 * last["seconds"] / last["items"], theirs, last["seconds"], time.perf_counter() - started


def processes() -> dict:
    """Return the row of the scaling: items a second of an epoch on one core, and on two with a process each."""
    values = {"epochs": 2, "warmup": 0, "batch-size": 100, "neighborhoods": 2, "precision": "float32", "device": "cpu"}
    options = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    launchers = {1: [], 2: ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]}
    each = {}
    with tempfile.TemporaryDirectory() as folder:
        for count, launcher in launchers.items():
            out = str(Path(folder) / f"{count}.pt")
            command = [sys.executable, *launcher, "-m", "sstutils", "train", "glyphs", *options, "--out", out]
            subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
            each[count] = statistics.median(
                entry["seconds"] / entry["items"] for entry in load_checkpoint(out)["history"]
            )
    return row("1,000 images, 2 processes, a core each", 1000 * each[2], "1 process on 1 core", 1000 * each[1], 1.5)


def rows() -> list[dict]:
    """Measure."""
    where = device()
    gpu = where.type == "cuda"
    recipe = Recipe(**{**PAPER, "weights": None, "precision": "auto", **({} if gpu else SMALL)})
    recipe = replace(recipe, sampler="balanced")  # whole batches; noise has no neighborhoods to speak of
    data = photographs(recipe, 5_864 if gpu else 960)
    # In turn, so that what else the machine does meets both alike.
    ours, theirs, epochs, searches = zip(
        *(compare(recipe, data, where, 60 if gpu else 12) for _ in range(ROUNDS)), strict=True
    )
    shares = [[search / (search + n * epoch) for epoch, search in zip(epochs, searches, strict=True)] for n in (1, 2)]
    pictures = f"{recipe.backbone}, {recipe.size} x {recipe.size}, B = {recipe.batch_size}, {where.type}"
    each, least = statistics.median(ours), statistics.median(theirs)
    return [
        row(f"1,000 images in training, {pictures}", each, "the bare step, resident tensors", least, least=0.85),
        share("time to refresh neighborhoods each epoch", statistics.median(shares[0])),
        share("time to find them every second epoch", statistics.median(shares[1])),
        processes(),
    ]


def share(name: str, value: float, most: float = 0.2) -> dict:
    """Return a row whose value is a share, told in its target."""
    return {"name": name, "ours_s": None, "peer": "", "peer_s": None, "ratio": None} | {
        "target": f"< {most:.0%} ({value:.1%})",
        "ok": value < most,
    }
