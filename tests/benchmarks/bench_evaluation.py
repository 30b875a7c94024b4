"""Evaluation at the size of Stanford Online Products.

``python -m tests.benchmarks evaluation``, three minutes."""

import json
import subprocess
import sys

from sstutils.evaluation import map_at_r, nmi, recall_at_k
from sstutils.models import device
from tests.benchmarks.bench_sampling import FAISS_SEARCH, products, row, seconds, seconds_alone

TEST = (60_502, 11_316)
KS = (1, 10, 100, 1000)
LIMIT = 2.0  # GB beside the embeddings


def extra_memory(run: str) -> float:
    """Return the peak of memory, in GB, that a statement about x and y takes beside them, in a process of its own."""
    code = f"""
import json
from tests.benchmarks.bench_evaluation import *
from tests.benchmarks.bench_sampling import memory
x, y = products(*TEST)
before = memory("VmRSS")
{run}
print(json.dumps((memory("VmHWM") - before) / 1e9))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def rows() -> list[dict]:
    """Measure."""
    x, y = products(*TEST)
    here = x.to(device())
    size = f"{len(x):,} x {x.shape[1]}, {here.device.type}"
    found = {}
    ours = seconds(lambda: found.update(recall_at_k(here, y, KS)))
    theirs = seconds_alone(FAISS_SEARCH.format(x=f"products(*{TEST})[0]", k=max(KS) + 1), "faiss", repeats=1)
    memory = extra_memory("recall_at_k(x, y, KS)")
    recall = row(f"Recall@{{1,10,100,1000}}, {size}", ours, "faiss IndexFlatL2, k = 1,001", theirs, least=2)
    recall |= {"memory_gb": memory, "recall": found, "ok": recall["ok"] and memory < LIMIT}
    recall["target"] += f", < {LIMIT:.0f} GB ({memory:.2f})"
    return [
        recall,
        row(f"MAP@R and R-precision, {size}", seconds(lambda: map_at_r(here, y)), most=180),
        row(f"NMI, {TEST[1]:,} clusters, {here.device.type}", seconds(lambda: nmi(here, y)), most=180),
    ]
