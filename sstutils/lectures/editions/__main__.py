"""The command of the editions: ``python -m sstutils.lectures.editions [site|slides|student|lecturer|all]``."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from . import EDITIONS, make
from .text import EditionError


def main(argv: Sequence[str] | None = None) -> int:
    """Make editions; return the exit status: 0, or 2 where a notebook does not allow it."""
    parser = argparse.ArgumentParser("python -m sstutils.lectures.editions", description="Make editions of notebooks.")
    parser.add_argument("which", nargs="*", default=["all"], metavar="EDITION", help=f"{', '.join(EDITIONS)} or all")
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"), metavar="DIR", help="default: notebooks")
    parser.add_argument("--out", type=Path, default=Path("site"), metavar="DIR", help="default: site")
    parser.add_argument("--address", default="", metavar="URL", help="of the repository on GitHub, for links to Colab")
    options = parser.parse_args(argv)
    try:
        tell = partial(print, " ", flush=True)
        make(options.which, options.notebooks, options.out, tell, options.address)
    except (EditionError, OSError) as error:
        print(f"editions: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"open {options.out / 'index.html'}" if (options.out / "index.html").is_file() else f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
