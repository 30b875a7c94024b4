"""Notebooks for students and for lecturers, made from one source.

They differ from it in nothing but this: the student's has no outputs, which would answer the questions before them, no
claims and no notes; the lecturer's has the model answers in place of the blanks, and below a cell a note with its
minutes, the answer and misconceptions.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from .lecture import CLAIM, EditionError, Lecture, exercise

Edition = Callable[..., NotebookNode]

_INSTALL = """# On Colab this installs the lectures; elsewhere it does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet git+{address}"""

NOTE = "lecturer-note"
"""The tag of the notes in the lecturer's edition."""


def colab(address: str) -> str:
    """Return where Colab opens the students' notebooks from, if a repository is on GitHub and has a branch `pages`."""
    if not address:
        return ""
    if not (found := re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", address)):
        raise EditionError(f"Colab opens notebooks from https://github.com/OWNER/NAME, got the address {address}")
    return f"https://colab.research.google.com/github/{found[1]}/blob/pages/student"


def student(notebook: NotebookNode, name: str = "", colab: str = "", address: str = "") -> NotebookNode:
    """Copy a notebook for students: exercises open, no notes for the lecturer, outputs cleared, but not the tasks.

    With the addresses for :func:`colab` and of the repository, it begins with a badge and installs itself there.
    """
    made = copy.deepcopy(notebook)
    made.metadata.pop("widgets", None)
    made.cells = [cell for cell in made.cells if CLAIM not in cell.metadata.get("tags", ())]
    for cell in made.cells:
        cell.source = cell.source.replace("](../site/", "](../")  # they lie within it
        cell.metadata.pop("lecturer", None)
        if cell.cell_type == "code" and "exercise" not in cell.metadata:
            cell.outputs, cell.execution_count = [], None
    if colab:
        badge = f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}/{name})"
        made.cells.insert(1, new_markdown_cell(badge, id="colab-badge"))
        made.cells.insert(2, new_code_cell(_INSTALL.format(address=address), id="colab-install"))
    return made


def lecturer(notebook: NotebookNode, name: str = "") -> NotebookNode:
    """Copy a notebook for lecturers: exercises solved, minutes and notes in sight."""
    made = copy.deepcopy(notebook)
    cells = []
    for cell in made.cells:
        name = cell.metadata.get("exercise")
        if name is not None:
            cell.source = solve(cell.source, name)
            cell.outputs, cell.execution_count = [], None
        cells.append(cell)
        if about := cell.metadata.get("lecturer"):
            cells.append(_note(cell, about))
    made.cells = cells
    return made


def solve(source: str, name: str) -> str:
    """Return the source of an exercise cell with the model answer; its last line, which checks, stays.

    Raises
    ------
    EditionError
        If the cell does not define the function of that name, or does not end with a check.
    """
    lines = source.rstrip().splitlines()
    start = next((i for i, line in enumerate(lines) if re.match(rf"(def {name}\(|{name} = )", line)), None)
    if start is None or f"{name}.check({name})" not in lines[-1]:
        raise EditionError(
            f"the cell of the exercise {name} must define it and end with sst.exercises.{name}.check({name})"
        )
    task = exercise(name)
    return "\n".join([*lines[:start], *_imports(task.model), task.source, "", "", lines[-1]])


def _imports(model: Callable[..., Any]) -> list[str]:
    """Return the imports that a model answer needs; numpy as np is there in every notebook with exercises."""
    used = [name for name in model.__code__.co_names if isinstance(model.__globals__.get(name), ModuleType)]
    return [f"import {name}" for name in used if name != "np"]


def _note(cell: NotebookNode, about: NotebookNode) -> NotebookNode:
    minutes = about.get("minutes")
    head = f"**For the lecturer, {minutes} min.**" if minutes else "**For the lecturer.**"
    text = re.sub(r"\n(?=.)", "\n> ", f"{head} {about.get('note', '')}".strip())
    # the id follows from that of the cell, so that the same source gives the same file
    return new_markdown_cell(f"> {text}", id=f"{cell.id[:59]}-note", metadata={"tags": [NOTE]})


def write(edition: Edition, series: Sequence[Lecture], out: Path, tell: Callable[[str], None] = print) -> None:
    """Write an edition, `student` or `lecturer`, of each notebook of a series into a folder of that name."""
    for lecture in series:
        try:
            made = edition(lecture.notebook, name=lecture.path.name)
        except EditionError as error:
            raise EditionError(f"{lecture.path.name}: {error}") from None
        nbformat.write(made, out / lecture.path.name)
        tell(f"{out.name}/{lecture.path.name}")
