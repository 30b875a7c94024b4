"""t-SNE at the size of Stanford Online Products.

``python -m tests.benchmarks tsne``, a quarter of an hour or less."""

import json
import subprocess
import sys

from tests.benchmarks.bench_sampling import row

TEST = (60_502, 11_316)
MOST = {"fft": 600, "barnes-hut": 1200}  # seconds
LIMIT = 2.0  # GB beside the embeddings
NEAR, SAMPLE = 10, 2000

# A layout in a process of its own, so that its peak of memory can be told.
RUN = """
import json, sys, time
import numpy as np
from tests.benchmarks.bench_sampling import memory, products
from tests.benchmarks.bench_tsne import *
from sstutils.figures.plots import tsne_layout
x, labels = products(*TEST)
before = memory("VmRSS")
started = time.perf_counter()
layout = tsne_layout(x, method=sys.argv[1], progress=sys.stderr.isatty())
seconds = time.perf_counter() - started
found = {"seconds": seconds, "memory_gb": (memory("VmHWM") - before) / 1e9}
print(json.dumps(found | {"kept": kept(x.numpy(), layout)}))
"""


def kept(x, layout) -> float:
    """Return which share of their nearest items some items have among as many nearest on the map."""
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    sample = np.random.default_rng(0).choice(len(x), SAMPLE, replace=False)
    near = [
        NearestNeighbors(n_neighbors=NEAR + 1).fit(points).kneighbors(points[sample], return_distance=False)[:, 1:]
        for points in (x, layout)
    ]
    return float(np.mean([len(np.intersect1d(one, other)) / NEAR for one, other in zip(*near, strict=True)]))


def rows() -> list[dict]:
    """Measure."""
    rows = []
    for method, most in MOST.items():
        done = subprocess.run([sys.executable, "-c", RUN, method], stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout)
        result = row(f"t-SNE, {method}, {TEST[0]:,} x 512", found["seconds"], most=most)
        result |= found | {"ok": result["ok"] and found["memory_gb"] < LIMIT}
        result["target"] += (
            f", < {LIMIT:.0f} GB ({found['memory_gb']:.2f}); {found['kept']:.0%} of {NEAR} neighbors kept"
        )
        rows.append(result)
    return rows
