"""Local sampling at the size of Stanford Online Products.

``python -m tests.benchmarks sampling``, three minutes."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from sstutils.clustering import kmeans
from sstutils.models import device
from sstutils.sampling import LocalSampler

TRAIN = (59_551, 11_318)
K, ITERATIONS = 297, 20
# What faiss does instead, for `seconds_alone`: `x` is an expression.
FAISS_KMEANS = """
from tests.benchmarks.bench_sampling import products
x = {x}.numpy()
def run():
    clusters = faiss.Kmeans(x.shape[1], {clusters}, niter={rounds}, max_points_per_centroid=len(x))  # no subsampling
    clusters.train(x)
    clusters.assign(x)
"""
FAISS_SEARCH = """
from tests.benchmarks.bench_sampling import products
x = {x}.numpy()
def run():
    index = faiss.IndexFlatL2(x.shape[1])
    index.add(x)
    index.search(x, {k})
"""


def seconds(run: Callable[[], Any], repeats: int = 1) -> float:
    """Return the median time of some runs."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def memory(kind: str) -> int:
    """Return the bytes that this process has in memory now, "VmRSS", or had at most, "VmHWM" (Linux only).

    The peak that ``getrusage`` tells includes what the parent process had when it started this one.
    """
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(kind))


TIMED = """
import {first}
import statistics, time, torch, sstutils as sst
if {threads}: torch.set_num_threads({threads})
{work}
run()
times = []
for _ in range({repeats}):
    started = time.perf_counter(); run(); times.append(time.perf_counter() - started)
print(statistics.median(times))
"""


def seconds_alone(work: str, first: str = "sstutils", *, threads: int = 0, repeats: int = 3) -> float:
    """Run some work in a process of its own, in which `first` is imported first; return the median of its seconds.

    Threads spin as the library that is imported first has it: peers keep their own default.
    """
    changed = ("GOMP_SPINCOUNT", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    plain = {key: value for key, value in os.environ.items() if key not in changed}
    command = [sys.executable, "-c", TIMED.format(first=first, threads=threads, work=work, repeats=repeats)]
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def products(items: int, classes: int, dim: int = 512) -> tuple[torch.Tensor, torch.Tensor]:
    """Return embeddings of overlapping classes in twelve groups, with a decaying spectrum as trained ones have."""
    random = torch.Generator().manual_seed(0)
    scale = torch.arange(1, dim + 1) ** -0.5
    groups = 0.5 * torch.randn(12, dim, generator=random)
    centres = 0.8 * torch.randn(classes, dim, generator=random)
    centres += groups[torch.randint(12, (classes,), generator=random)]
    more = torch.randint(classes, (items - 2 * classes,), generator=random)
    labels = torch.cat([torch.arange(2 * classes) % classes, more])
    x = torch.randn(items, dim, generator=random)
    for rows in torch.arange(items).split(4096):  # in parts, so that the peak of memory is x itself
        x[rows] = (x[rows] + centres[labels[rows]]) * scale / scale.norm()
    return x, labels


def row(name: str, ours: float, peer: str = "", theirs: float | None = None, least: float = 0, most: float = 0) -> dict:
    """Return a row of the table: `least` is the ratio theirs / ours to reach, `most` the seconds to keep under."""
    ratio = theirs / ours if theirs else None
    return {
        "name": name,
        "ours_s": ours,
        "peer": peer,
        "peer_s": theirs,
        "ratio": ratio,
        "target": f">= {least:.2f} x" if least else f"< {most:g} s",
        "ok": ratio >= least if least else ours < most,
    }


def rows() -> list[dict]:
    """Measure."""
    from sklearn.cluster import KMeans

    x, labels = products(*TRAIN)
    sampler = LocalSampler(labels, 200, iterations=ITERATIONS)
    balanced = LocalSampler(labels, 200, iterations=ITERATIONS, balanced=True)
    points, here = x.numpy(), x.to(device())  # peers compute on the CPU

    peer = FAISS_KMEANS.format(x=f"products(*{TRAIN})[0]", clusters=K, rounds=ITERATIONS)
    ours, theirs = ([], [], []), []
    for _ in range(3):  # in turn, so that what else runs on the machine meets all alike
        theirs.append(seconds_alone(peer, "faiss", repeats=1))
        for times, run in zip(
            ours,
            (
                lambda: kmeans(here, K, iterations=ITERATIONS, init="random"),
                lambda: sampler.refresh(here),
                lambda: balanced.refresh(here),
            ),
            strict=True,
        ):
            times.append(seconds(run))
    theirs, clustering, refresh, matching = map(statistics.median, (theirs, *ours))
    scikit = seconds(lambda: KMeans(n_clusters=K, n_init=1, random_state=0).fit(points))
    size = f"{len(x):,} x {x.shape[1]}, {here.device.type}"
    return [
        row(f"k-means, {size}, K = {K}", clustering, "faiss, same iterations", theirs, least=1 / 1.5),
        row("local sampler, a whole refresh", refresh, "faiss, k-means only", theirs, least=1 / 1.5),
        row("local sampler, a whole refresh", refresh, "scikit-learn KMeans", scikit, least=10),
        row("local sampler, balanced", matching, "faiss, k-means only", theirs, least=1 / 1.5),
    ]
