"""Training, clustering and measuring while another process uses a core: ``python -m tests.benchmarks disturbed``.

Threads of torch that spin while they wait for each other wait for one that is not running as soon as another program
computes. The package keeps them from spinning (see ``sstutils/__init__.py``). The peers here are the same work with
libgomp's default, which is in force where torch is imported first, the same work on one thread, and faiss.
"""

import subprocess
import sys
from contextlib import contextmanager

from tests.benchmarks.bench_sampling import FAISS_KMEANS, FAISS_SEARCH, row, seconds_alone

# Each prints the median seconds of some runs; the first one warms up.
WORK = {
    "short training on Glyphs": (
        "train = sst.load('glyphs', 'train', part=600)\n"
        "run = lambda: sst.fit(train, sst.Recipe(epochs=2, batch_size=100, turn=True), progress=False)"
    ),
    "k-means, 20,000 x 512, K = 100": "x = torch.randn(20_000, 512)\nrun = lambda: sst.kmeans(x, 100, iterations=10)",
    "sampler refresh, 20,000 x 512, B = 200": (
        "x = torch.randn(20_000, 512)\nsampler = sst.LocalSampler(torch.arange(20_000) % 1_000)\n"
        "run = lambda: sampler.refresh(x)"
    ),
    "Recall@{1,10,100,1000}, 12,000 x 512": (
        "x, y = torch.randn(12_000, 512), torch.arange(12_000) % 2_000\n"
        "run = lambda: sst.recall_at_k(x, y, (1, 10, 100, 1000))"
    ),
}
# What faiss does instead, and how many times as long it takes at least.
_POINTS = "torch.randn(20_000, 512)"
FAISS = {
    "k-means, 20,000 x 512, K = 100": (FAISS_KMEANS.format(x=_POINTS, clusters=100, rounds=10), 0.67),
    "sampler refresh, 20,000 x 512, B = 200": (FAISS_KMEANS.format(x=_POINTS, clusters=100, rounds=20), 0.67),
    "Recall@{1,10,100,1000}, 12,000 x 512": (FAISS_SEARCH.format(x="torch.randn(12_000, 512)", k=1001), 2),
}


@contextmanager
def busy():
    """Keep one core busy."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def rows():
    peer = "libgomp's default"
    for name, work in WORK.items():
        yield row(f"{name}, quiet", seconds_alone(work), peer, seconds_alone(work, "torch"), least=0.67)
        with busy():
            ours = seconds_alone(work)
            yield row(f"{name}, with a busy process", ours, peer, seconds_alone(work, "torch"), least=0.9)
            yield row(f"{name}, with a busy process", ours, "on one thread", seconds_alone(work, threads=1), least=0.9)
            if name in FAISS:
                theirs, least = FAISS[name]
                yield row(f"{name}, with a busy process", ours, "faiss", seconds_alone(theirs, "faiss"), least=least)
