"""Editions of the notebooks: a site, slides, and notebooks for students and for lecturers.

One command (``python -m sstutils.lectures.editions``) derives them all from the executed notebooks, so none can drift.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

EDITIONS = ("site", "slides", "student", "lecturer")

__all__ = ["EDITIONS", "make"]


def make(
    which: Sequence[str] = ("all",),
    notebooks: str | Path = "notebooks",
    out: str | Path = "site",
    tell: Callable[[str], None] = print,
) -> None:
    """Make editions of a folder of notebooks; existing ones in `out` that were not asked for are kept.

    They are built in a temporary folder and moved into place at the end: after an error the old ones are as they were.

    Parameters
    ----------
    which : sequence of str
        Some of `EDITIONS`, or "all".
    notebooks, out : path
        Folders.
    tell : callable
        Called with one line for each file that was built.

    Raises
    ------
    EditionError
        If an edition cannot be made from a notebook; names the cell and what to do.
    """
    from . import lecture, pages, slides
    from . import notebooks as copies

    if unknown := [name for name in which if name not in (*EDITIONS, "all")]:
        raise lecture.EditionError(f"unknown edition {unknown[0]!r}; choose from {', '.join(EDITIONS)}, all")
    wanted = EDITIONS if "all" in which else which
    series = lecture.lectures(Path(notebooks))
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        new = Path(scratch)
        if "slides" in wanted:
            slides.slides(series, new / "slides", tell)
        for name in ("student", "lecturer"):
            if name in wanted:
                copies.write(name, series, new / name, tell)
        if "site" in wanted:
            built = new / "slides" if "slides" in wanted else out / "slides"
            pages.site(series, new, tell, slides={path.stem for path in built.glob("*.html")})
        _replace(new, out, pages="site" in wanted)


def _replace(new: Path, out: Path, pages: bool) -> None:
    """Put what was built in the place of what was there."""
    out.mkdir(exist_ok=True)
    if pages:  # a page whose notebook is gone goes, too
        for old in out.glob("*.html"):
            if not (new / old.name).exists():
                old.unlink()
    for item in sorted(new.iterdir()):
        target = out / item.name
        if item.is_dir() and target.exists():
            shutil.rmtree(target)
        item.replace(target)
