"""Every speed claim, measured beside its peers in one run: ``python -m benchmarks``."""

from importlib import import_module

MODULES = ("bench_losses", "bench_sampling", "bench_evaluation")


def main() -> None:
    print("| what | ours | peer | ratio | target | |\n|---|---|---|---|---|---|")
    for module in MODULES:
        for row in import_module(f"benchmarks.{module}").rows():
            print(row)


if __name__ == "__main__":
    main()
