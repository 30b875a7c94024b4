"""Slides: a reveal.js deck for each notebook, by the tags of its cells, in a single file that opens from disk.

The tag ``slide`` begins a slide, and so does a heading; ``fragment`` appears on a click; ``skip`` is not shown. What
the metadata ``lecturer`` say, minutes and a note, goes into the speaker's notes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from .lecture import Cell, EditionError, Lecture
from .pages import templates, write


@dataclass
class Slide:
    """Cells that are seen together."""

    cells: list[Cell] = field(default_factory=list)
    began: int = 0  # minutes before it

    @property
    def minutes(self) -> int:
        """Minutes that its cells take."""
        return sum(cell.lecturer.get("minutes", 0) for cell in self.cells)


def slides_of(lecture: Lecture) -> list[Slide]:
    """Return the slides of a lecture, without that of the title."""
    found: list[Slide] = []
    minutes = 0
    for cell in lecture.cells:
        if "skip" in cell.tags or cell.node is lecture.notebook.cells[0]:
            continue
        begins = "slide" in cell.tags or (cell.kind == "text" and re.match(r"#{2,3} ", cell.node.source))
        if not found and not begins and not cell.shown:  # imports
            continue
        if begins or not found:
            found.append(Slide(began=minutes))
        found[-1].cells.append(cell)
        minutes += cell.lecturer.get("minutes", 0)
    if not found:
        raise EditionError(f"{lecture.path.name}: all cells have the tag skip, so there is no slide")
    return found


def notes(lecture: Lecture, slide: Slide) -> str:
    """Return the speaker's notes of a slide: when, how long, and what to say or to expect."""
    parts = []
    if slide.minutes:
        whole = f" of {lecture.minutes}" if lecture.minutes else ""
        parts.append(f"<p><strong>{slide.minutes} min</strong>, to minute {slide.began + slide.minutes}{whole}</p>")
    for cell in slide.cells:
        if note := cell.lecturer.get("note"):
            parts.append(lecture.markdown(note))
        if cell.kind == "exercise":
            parts.append(f"<p><strong>Solution</strong></p><pre>{escape(cell.exercise.source)}</pre>")
    return "".join(parts)


def slides(series: Sequence[Lecture], out: Path, tell: Callable[[str], None] = print) -> None:
    """Write a deck for each lecture of a series.

    Parameters
    ----------
    series : sequence of Lecture
    out : path
        Folder.
    tell : callable
        Gets a line for each deck.
    """
    template = templates().get_template("slides.html.j2")
    for lecture in series:
        deck = slides_of(lecture)
        write(
            template.render(lecture=lecture, slides=deck, notes=lambda slide, of=lecture: notes(of, slide)),
            out / f"{lecture.name}.html",
        )
        tell(f"slides/{lecture.name}.html, {len(deck) + 1} slides")
