"""Every speed claim, measured beside its peers in one run.

``python -m tests.benchmarks``. It fails if a target is missed."""

from importlib import import_module

MODULES = (
    "bench_losses",
    "bench_sampling",
    "bench_evaluation",
    "bench_loader",
    "bench_training",
    "bench_tsne",
)


def seconds(value: float | None) -> str:
    return "" if value is None else f"{value * 1e3:.2f} ms" if value < 1 else f"{value:.1f} s"


def main() -> int:
    missed = 0
    print("| what | ours | peer | | ratio | target | |\n|---|---|---|---|---|---|---|")
    for module in MODULES:
        for row in import_module(f"tests.benchmarks.{module}").rows():
            ratio = f"{row['ratio']:,.2f} x" if row["ratio"] else ""
            cells = (row["name"], seconds(row["ours_s"]), row["peer"], seconds(row["peer_s"]), ratio, row["target"])
            print("|", " | ".join(cells), "|", "reached" if row["ok"] else "MISSED", "|", flush=True)
            missed += not row["ok"]
    return min(missed, 1)


if __name__ == "__main__":
    raise SystemExit(main())
