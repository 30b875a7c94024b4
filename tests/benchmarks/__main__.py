"""Every speed claim, measured against its peers in one run, and written to ``output/benchmarks.md``.

``python -m tests.benchmarks``; with names (``losses disturbed``) only those are measured and printed, and nothing is
written. It fails if a target is missed. ``python -m tests.benchmarks gpu`` measures on a GPU.
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


def start() -> dict:
    """Return the machine as it is before anything is measured: some benchmarks change the number of threads."""
    return hardware() | {"load": load_average()}


def write(path: Path, title: str, about: tuple[str, str], machine: dict, lines: Sequence[str]) -> None:
    """Write tables, how they came about and what they were measured on."""
    of = versions()
    about = (
        f"Written by `{about[0]}` on {date.today().isoformat()}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['threads']} threads of torch, {machine.get('gpu', 'no GPU')}; load average "
        f"{machine['load']} at the start, {load_average()} at the end; Python {of['python']}, "
        f"torch {of['torch']}. {about[1]}"
    )
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join([f"# {title}", "", about, "", *lines, ""]), encoding="utf-8")
    print(path)


def on_gpu(small: bool) -> None:
    """Measure on a GPU, and write ``output/benchmarks-gpu.md``; a trial at a small size has a file of its own."""
    from tests.benchmarks import bench_gpu

    before, lines = start(), []
    for line in bench_gpu.lines(small):
        print(line, flush=True)
        lines.append(line)
    about = "python -m tests.benchmarks gpu" + " --small" * small, bench_gpu.ABOUT
    path = OUT.parent / "cache" / "benchmarks-gpu.md" if small else OUT.with_name("benchmarks-gpu.md")
    path.parent.mkdir(exist_ok=True)
    write(path, "Benchmarks on a GPU", about, before, lines)


def main(names: Sequence[str] = ()) -> int:
    if names and names[0] == "gpu":
        on_gpu(small="--small" in names)
        return 0
    if unknown := set(names) - set(NAMES):
        raise SystemExit(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    before, missed = start(), 0
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
        about = "make bench", "Each claim is measured against its peers in one process, in turns; medians."
        write(OUT, "Benchmarks", about, before, lines)
    return min(missed, 1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
