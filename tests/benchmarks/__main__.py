"""Every speed claim, measured against its peers in one run, and written to ``output/benchmarks.md``.

``python -m tests.benchmarks``; with names (``losses disturbed``) only those are measured and printed, and nothing is
written. It fails if a target is missed.
"""

import os
import sys
from collections.abc import Sequence
from datetime import date
from importlib import import_module
from pathlib import Path

from sstutils.checkpoints import hardware, versions
from sstutils.files import atomic_write

NAMES = ("losses", "sampling", "evaluation", "loader", "training", "tsne", "index", "playground", "disturbed")
OUT = Path(__file__).parents[2] / "output" / "benchmarks.md"


def format_seconds(value: float | None) -> str:
    return "" if value is None else f"{value * 1e3:.2f} ms" if value < 1 else f"{value:.1f} s"


def load_average() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def main(names: Sequence[str] = ()) -> int:
    if unknown := set(names) - set(NAMES):
        raise SystemExit(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    before, missed = load_average(), 0
    lines = ["| what | ours | peer | | ratio | target | |", "|---|---|---|---|---|---|---|"]
    print("\n".join(lines))
    for name in names or NAMES:
        for row in import_module(f"tests.benchmarks.bench_{name}").rows():
            ratio = f"{row['ratio']:,.2f} x" if row["ratio"] else ""
            cells = (
                row["name"],
                format_seconds(row["ours_s"]),
                row["peer"],
                format_seconds(row["peer_s"]),
                ratio,
                row["target"],
            )
            lines.append(f"| {' | '.join(cells)} | {'reached' if row['ok'] else 'MISSED'} |")
            print(lines[-1], flush=True)
            missed += not row["ok"]
    if not names:
        machine, of = hardware(), versions()
        gpu = machine.get("gpu", "no GPU")
        about = (
            f"Written by `make bench` on {date.today().isoformat()}: {machine['processor']}, {machine['cores']} cores, "
            f"{machine['threads']} threads of torch, {gpu}; load average {before} at the start, {load_average()} at "
            f"the end; Python {of['python']}, torch {of['torch']}. Each claim is measured against its peers in one "
            "process, in turns; medians."
        )
        with atomic_write(OUT) as temporary:
            temporary.write_text("\n".join(["# Benchmarks", "", about, "", *lines, ""]), encoding="utf-8")
        print(OUT)
    return min(missed, 1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
