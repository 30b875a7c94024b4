"""Slides: a reveal.js deck for each notebook, by the tags of its cells, in a single file that opens from disk.

The tag ``slide`` begins a slide, and so does a heading; ``fragment`` appears on a click; ``skip`` is not shown. The
minutes and the note in the metadata ``lecturer`` go into the speaker's notes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import escape
from itertools import accumulate
from pathlib import Path

from .lecture import Cell, EditionError, Lecture
from .pages import templates


def slides_of(lecture: Lecture) -> list[list[Cell]]:
    """Return the cells of each slide of a lecture; the title and each widget have a slide of their own."""
    found: list[list[Cell]] = []
    for cell in lecture.cells:
        if "skip" in cell.tags or cell.node is lecture.notebook.cells[0]:
            continue
        begins = "slide" in cell.tags or (cell.kind == "text" and re.match(r"#{2,3} ", cell.node.source))
        if found and found[-1][-1].node is cell.node:  # the second part of a text
            begins = False
        elif cell.alive or (found and found[-1][-1].alive):
            begins = True
        if not found and not begins and not cell.shown:  # imports
            continue
        if begins or not found:
            found.append([])
        found[-1].append(cell)
    if not found:
        raise EditionError(f"{lecture.path.name}: every cell has the tag skip, so there is no slide to show")
    return found


def notes(lecture: Lecture, slides: Sequence[Sequence[Cell]]) -> list[str]:
    """Return the speaker's notes of each slide: how long it takes, until which minute, and what to say or to expect."""
    slides = [[*{cell.node.id: cell for cell in slide}.values()] for slide in slides]  # texts in two parts, once
    minutes = [sum(cell.lecturer.get("minutes", 0) for cell in slide) for slide in slides]
    made = []
    for slide, takes, until in zip(slides, minutes, accumulate(minutes)):
        whole = f" of {lecture.minutes}" if lecture.minutes else ""
        parts = [f"<p><strong>{takes} min</strong>, until minute {until}{whole}</p>"] if takes else []
        for cell in slide:
            if note := cell.lecturer.get("note"):
                parts.append(lecture.markdown(note))
            if cell.kind == "exercise":
                parts.append(f"<p><strong>Solution</strong></p><pre>{escape(cell.exercise.source)}</pre>")
        made.append("".join(parts))
    return made


def slides(series: Sequence[Lecture], out: Path, tell: Callable[[str], None] = print) -> None:
    """Write a deck for each lecture of a series into the folder `out`; `tell` gets a line for each."""
    template = templates().get_template("slides.html.j2")
    for lecture in series:
        deck = slides_of(lecture)
        page = template.render(lecture=lecture, slides=zip(deck, notes(lecture, deck)))
        (out / f"{lecture.name}.html").write_text(page, encoding="utf-8")
        tell(f"slides/{lecture.name}.html, {len(deck) + 1} slides")
