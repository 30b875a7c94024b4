"""The paper's networks and sizes on a GPU: ``python -m tests.benchmarks gpu``, less than nine minutes.

Training at B = 200 beside its bare step (see ``bench_training``), in both precisions and compiled, and evaluation at
the size of Stanford Online Products. It needs torch and what this package needs, but neither data nor weights.
``--small`` tries all of it at a small size, without a GPU too; its numbers mean nothing.
"""

import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from sstutils.evaluation import map_at_r, recall_at_k
from sstutils.models import device
from sstutils.recipes import PAPER, Recipe
from tests.benchmarks.bench_evaluation import KS, TEST
from tests.benchmarks.bench_sampling import products, seconds
from tests.benchmarks.bench_training import compare, photographs

NETWORKS = ("bn_inception", "resnet50")
WAYS = (("float32", False), ("bfloat16", False), ("bfloat16", True), ("float32", True))  # precision, compiled
LIMIT = 330  # seconds after which no other network is measured: compiling one may take two minutes
SMALL_NETWORKS = ("bn_inception", "resnet18")  # a compiler of C++ takes long over ResNet-50
SMALL = {"resize": 72, "size": 64, "batch_size": 20}
ABOUT = (
    "Pictures are noise of 256 x 256 in memory, in batches of 200 cut to 224 x 224; weights are random. The second of "
    "two epochs counts. Finding neighborhoods anew means to embed all 5,864 pictures and to cluster them. Memory is "
    "the peak of PyTorch's tensors."
)
TRAINING = (
    "| network | precision | compiled | images / s, `sst train` | bare step | share, target >= 85 % "
    "| of it finding neighborhoods | memory |",
    "|---|---|---|---|---|---|---|---|",
)
EVALUATION = ("| embeddings | measure | seconds | memory beside them |", "|---|---|---|---|")


def peak(where: torch.device) -> str:
    """Return the peak of memory that tensors have taken since it was last asked for."""
    if where.type != "cuda":
        return "not measured"
    most = torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return f"{most / 1e9:.1f} GB"


def training(where: torch.device, small: bool) -> Iterator[str]:
    """Measure training, and yield rows."""
    # Whole batches: noise has no neighborhoods to speak of.
    recipe = Recipe(**{**PAPER, "weights": None, "sampler": "balanced", **(SMALL if small else {})})
    data, started = photographs(recipe, 120 if small else 5_864), time.perf_counter()
    for precision, compiled in WAYS:
        for backbone in SMALL_NETWORKS[compiled:] if small else NETWORKS:
            name = f"| {backbone} | {precision} | {'yes' if compiled else 'no'} |"
            if time.perf_counter() - started > LIMIT:
                yield f"{name} {' | '.join(['left out: no time'] + [''] * 4)} |"
                continue
            peak(where)
            chosen = replace(recipe, backbone=backbone, precision=precision, compile=compiled)
            ours, bare, epoch, search = compare(chosen, data, where, 2 if small else 60)
            share = search / (search + epoch)
            speeds = f"{1000 / ours:,.0f} | {1000 / bare:,.0f} | {bare / ours:.0%}"
            yield f"{name} {speeds} | {share:.0%} | {peak(where)} |"


def evaluation(where: torch.device, small: bool) -> Iterator[str]:
    """Measure evaluation, and yield rows."""
    x, y = products(*((1_200, 200) if small else TEST))
    x = x.to(where)
    size = f"{len(x):,} x {x.shape[1]}"
    measures = {
        f"Recall@{{{','.join(map(str, KS))}}}": lambda: recall_at_k(x, y, KS),
        "MAP@R and R-precision": lambda: map_at_r(x, y),
    }
    for name, run in measures.items():
        run()  # the first one loads code
        peak(where)
        before = torch.cuda.memory_allocated() if where.type == "cuda" else 0
        took = seconds(run, 3)
        most = f"{(torch.cuda.max_memory_allocated() - before) / 1e9:.1f} GB" if before else "not measured"
        yield f"| {size} | {name} | {took:.2f} | {most} |"


def lines(small: bool = False) -> Iterator[str]:
    """Measure, and yield the lines of both tables; without a GPU only if they are `small`."""
    where = device()
    if where.type != "cuda" and not small:
        raise SystemExit("gpu: no GPU was found, a CUDA device is needed; --small tries the command without one")
    if small:
        yield from ("A trial at a small size: these numbers mean nothing.", "")
    yield from TRAINING
    yield from training(where, small)
    yield from ("", *EVALUATION)
    yield from evaluation(where, small)
