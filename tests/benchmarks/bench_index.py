"""A search in 100,000 pictures, beside faiss; and a head trained on the features of photographs.

``python -m tests.benchmarks index``, some minutes.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.bench_sampling import row

COUNT, DIM, K = 100_000, 512, 10
MOST, LIMIT = 0.5, 1.0  # seconds a query, GB
PHOTOS, WITHIN = 5_000, 120  # seconds

# In a process of its own, so that its peak of memory can be told: import, load, search.
SEARCH = """
import json, statistics, sys, time
import torch
from sstutils.index import Index, nearest
from tests.benchmarks.bench_sampling import memory
index = Index.load(sys.argv[1])
times = []
for seed in range(7):
    query = torch.randn(1, index.embeddings.shape[1], generator=torch.Generator().manual_seed(seed))
    started = time.perf_counter()
    nearest(index.embeddings, query, 10)
    times.append(time.perf_counter() - started)
print(json.dumps({"seconds": statistics.median(times), "memory_gb": memory("VmHWM") / 1e9}))
"""


def rows() -> list[dict]:
    """Measure."""
    return [search(), head()]


def search() -> dict:
    import faiss
    import numpy as np
    import torch

    from sstutils.index import Index

    x = torch.randn(COUNT, DIM, generator=torch.Generator().manual_seed(0))
    peer, query = faiss.IndexFlatL2(DIM), np.random.default_rng(0).normal(size=(1, DIM)).astype(np.float32)
    peer.add(x.numpy())
    times = []
    for _ in range(7):
        started = time.perf_counter()
        peer.search(query, K)
        times.append(time.perf_counter() - started)
    names = [f"{number}.jpg" for number in range(COUNT)]
    stamps = np.zeros((COUNT, 2), dtype=np.int64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pictures.index")
        Index(embeddings=x, names=names, labels=names, stamps=stamps, network="").save(path)
        del x, peer
        command = [sys.executable, "-c", SEARCH, str(path)]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    result = row(f"search in {COUNT:,} x {DIM}", found["seconds"], "faiss", sorted(times)[3], most=MOST)
    result["ok"] &= found["memory_gb"] < LIMIT
    result["target"] += f", < {LIMIT:.0f} GB with torch ({found['memory_gb']:.2f})"
    return result


def head() -> dict:
    """Train a head on photographs: features of some files, scaled to all, and the training itself."""
    import numpy as np
    from PIL import Image

    import sstutils as sst
    from sstutils.photos.head import Features

    recipe, few, rng = sst.recipe_for("photographs", "features", weights=None), 200, np.random.default_rng(0)
    model = sst.EmbeddingNet(recipe.backbone, head="only", scale=recipe.scale)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(few):
            place = Path(folder, f"{number % 20}")
            place.mkdir(exist_ok=True)
            noise = Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8))
            noise.resize((500, 400)).save(place / f"{number}.jpg")
        data = sst.load(f"folder:{folder}", "all")
        started = time.perf_counter()
        sst.embed(model, data, size=recipe.size)
        seconds = (time.perf_counter() - started) / few * PHOTOS
    targets = np.arange(PHOTOS) % 100
    width = model.head.in_features
    noise = rng.normal(size=(100, width))[targets] + rng.normal(size=(PHOTOS, width))
    features = Features((noise / width**0.5).astype(np.float16), targets, list(map(str, range(100))), "")
    started = time.perf_counter()
    sst.fit(features, recipe, model=model, progress=False)
    seconds += time.perf_counter() - started
    return row(f"features and head of {PHOTOS:,} photographs, {recipe.backbone}", seconds, most=WITHIN)
