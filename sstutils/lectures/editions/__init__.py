"""Editions of the notebooks: a site, slides, and notebooks for students and for lecturers.

One command (``python -m sstutils.lectures.editions``) derives them all from the executed notebooks, so none can drift.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

EDITIONS = ("site", "slides", "student", "lecturer")

__all__ = ["EDITIONS", "make"]


def make(
    which: Sequence[str] = ("all",),
    notebooks: str | Path = "notebooks",
    out: str | Path = "site",
    tell: Callable[[str], None] = print,
    address: str = "",
) -> None:
    """Make editions of a folder of notebooks; existing ones that were not asked for are kept.

    They are built in a temporary folder and moved into place at the end: after an error the old ones are as they were.

    Parameters
    ----------
    which : sequence of str
        Some of `EDITIONS`, or "all".
    notebooks, out : path
        Folders. `out` can be published as it is: the lecturer's notebooks, with the solutions, go to ``OUT-lecturer``.
    tell : callable
        Called with one line for each file that was built.
    address : str
        Of the repository on GitHub, whose branch `pages` holds `out`: pages and students' notebooks then open in Colab.

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
    colab = copies.colab(address)
    out = Path(out)
    folders = {"slides": out / "slides", "student": out / "student", "lecturer": out.with_name(f"{out.name}-lecturer")}
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        new = Path(scratch)
        for name in set(wanted) & set(folders):
            (new / name).mkdir()
        if "slides" in wanted:
            slides.slides(series, new / "slides", tell)
        if "student" in wanted:
            copies.write(partial(copies.student, colab=colab, address=address), series, new / "student", tell)
        if "lecturer" in wanted:
            copies.write(copies.lecturer, series, new / "lecturer", tell)
        if "site" in wanted:
            built = new / "slides" if "slides" in wanted else out / "slides"
            pages.site(series, new, tell, slides={path.stem for path in built.glob("*.html")}, colab=colab)
        out.mkdir(exist_ok=True)
        for old in out.glob("*.html") if "site" in wanted else ():
            old.unlink()  # a page whose notebook is gone goes, too
        for item in new.iterdir():
            target = folders.get(item.name, out / item.name)
            if target.is_dir():
                shutil.rmtree(target)
            item.replace(target)
