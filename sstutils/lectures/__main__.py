"""The command that makes the recordings of the notebooks: ``python -m sstutils.lectures [NAME ...]``."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import recording
from .widgets import neighborhoods, playground_data, tsne

# Each file and the function that makes it at a path; those of widgets stand with the widgets.
MAKERS = {
    "glyphs.pt": recording.make_glyphs,
    "replay.npz": recording.make_replay,
    "stages.npz": neighborhoods.make_recording,
    "tsne.npz": tsne.make_recording,
    "playground.npz": playground_data.make,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make recordings, all or some by name."""
    parser = argparse.ArgumentParser("python -m sstutils.lectures", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MAKERS)}; all by default")
    parser.add_argument("--out", type=Path, default=recording.FOLDER, help="folder; that of the package by default")
    options = parser.parse_args(arguments)
    chosen = {Path(name).stem for name in options.names or MAKERS}
    if unknown := chosen - {Path(file).stem for file in MAKERS}:
        parser.error(f"unknown recording {', '.join(sorted(unknown))}; choose from {', '.join(MAKERS)}")
    for file in (file for file in MAKERS if Path(file).stem in chosen):
        path, started = options.out / file, time.perf_counter()
        print(f"{path} ...", file=sys.stderr, flush=True)
        MAKERS[file](path)
        seconds = time.perf_counter() - started
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB in {seconds:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
