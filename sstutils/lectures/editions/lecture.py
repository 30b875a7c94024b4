"""A notebook as a lecture: its title, minutes and cells, and the HTML of what is in them.

All editions for the browser are made of these pieces. What a page could not show well is an error here: a cell that was
not run, a figure without alternative text, a widget without its state, an exercise or a formula that is not known.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from .text import EditionError, Text, coloured

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
CLAIM = "claim"
"""The tag of cells that hold the numbers in the text against those in the notebook; no edition shows them."""

ASKS = re.compile(
    r"\*\*(?:(?:(?!\*\*).)+\?|(?:Guess|Predict|Look|Find|Watch|Count|Commit|Draw|Before)\b(?:(?!\*\*).)*)\*\*",
    re.DOTALL,
)
"""What a text asks its reader to answer before reading on stands in bold."""

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass
class Cell:
    """A cell of a lecture, or the part of a text that answers the question before it, in HTML.

    Attributes
    ----------
    kind : str
        "text", "code" or "exercise".
    html : str
        The text; of code, the source, or nothing if it is hidden in the notebook.
    shown : list of str
        The outputs.
    answers : bool
        Whether the text, or the outputs, answer a question: the reader should think first.
    """

    node: NotebookNode
    kind: str
    html: str
    shown: list[str] = field(default_factory=list)
    exercise: Any = None
    answers: bool = False

    @property
    def tags(self) -> set[str]:
        """Tags of the cell: slide, fragment, skip, exercise, widget."""
        return set(self.node.metadata.get("tags", ()))

    @property
    def alive(self) -> bool:
        """Whether it shows a widget."""
        return any('class="sst-place"' in html for html in self.shown)

    @property
    def drawn(self) -> bool:
        """Whether it shows a widget or a picture."""
        return self.alive or any("<img" in html for html in self.shown)

    @property
    def lines(self) -> int:
        """Lines of the source."""
        return len(self.node.source.strip().splitlines())

    @property
    def lecturer(self) -> Mapping[str, Any]:
        """What only the lecturer sees: minutes, note."""
        return self.node.metadata.get("lecturer", {})


class Lecture(Text):
    """One notebook, read and checked.

    Parameters
    ----------
    path : path
        An executed notebook, ``NN-name.ipynb``.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self.notebook = nbformat.read(self.path, as_version=4)
        except Exception as error:
            raise EditionError(f"{self.path.name} is not a valid notebook: {error}") from None
        self.states = self.notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
        self.alive: set[str] = set()
        first = self.notebook.cells[0].source if self.notebook.cells else ""
        heading, _, rest = first.partition("\n")
        if not (title := re.match(r"# (?:(\d\d) - )?(.+)", heading)):
            raise EditionError(f"{self.path.name}: its first cell must begin with a title, such as '# 03 - A name'")
        self.number, self.title = title[1] or "", title[2].strip()
        minutes = re.search(r"(\d+) min\b", rest)
        self.minutes = int(minutes[1]) if minutes else None
        with _say_where(self._where(0)):
            # the facts of the first paragraph stand between bars; a bar may also be in a formula or in code
            facts, _, self._rest = rest.strip().partition("\n\n")
            pieces = re.split(r"\s\|\s", " ".join(facts.split()))
            self.goal = self.inline(pieces[0])
            self.facts = [self.inline(piece) for piece in pieces[1:]]

    @property
    def name(self) -> str:
        """Name of the file, without its ending."""
        return self.path.stem

    def _where(self, index: int) -> str:
        return f"{self.path.name}, cell {index + 1}"

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells but the title and the claims, in HTML."""
        made, asked = [], False
        for index, node in enumerate(self.notebook.cells):
            with _say_where(self._where(index)):
                source = self._rest if index == 0 else node.source
                if not source.strip() or CLAIM in node.metadata.get("tags", ()):
                    continue
                if node.cell_type == "code":
                    cell = self._code(node)
                    cell.answers = asked and not cell.alive and bool(cell.shown) and cell.kind == "code"
                    made.append(cell)
                    continue
                whole = "fragment" in node.metadata.get("tags", ())
                answer, rest = split_answer(source, whole) if asked else ("", source)
                for part, answers in ((answer, True), (rest, False)):
                    if part.strip():
                        made.append(Cell(node, "text", self.markdown(part), answers=answers))
                asked = bool(ASKS.search(rest))
        return made

    def _code(self, node: NotebookNode) -> Cell:
        if node.execution_count is None:
            raise EditionError("it was not run; run the notebook first (`make notebooks`)")
        name, html = node.metadata.get("exercise"), coloured(node.source)
        if node.metadata.get("jupyter", {}).get("source_hidden"):
            html = ""
        if name is None and "exercise" in node.metadata.get("tags", ()):
            raise EditionError("it is tagged as an exercise, but its metadata does not name one")
        shown = [*filter(None, map(self._output, node.outputs))]
        if name is None:
            return Cell(node, "code", html, shown)
        html = re.sub(r'<span class="[a-z]+">____</span>', '<span class="blank">____</span>', html)
        return Cell(node, "exercise", html, shown, exercise(name))

    def _output(self, output: NotebookNode) -> str:
        """Return an output in the richest form that lives without a kernel."""
        if output.output_type == "error":
            raise EditionError(f"it ended with an error, {output.ename}: {output.evalue}")
        if output.output_type == "stream":
            return _plain(output.text)
        data = output.data
        if VIEW in data:
            return self._widget(data[VIEW]["model_id"], output)
        if "text/html" in data:
            return _check_html(data["text/html"])
        for kind in ("image/svg+xml", "image/png", "image/jpeg"):
            if kind in data:
                return _picture(kind, data[kind], output.metadata.get(kind, {}))
        for kind in ("text/markdown", "text/latex"):
            if kind in data:
                return self.markdown(data[kind])
        return _plain(data.get("text/plain", ""))

    def _widget(self, model: str, output: NotebookNode) -> str:
        if model not in self.states:
            raise EditionError("it shows a widget whose state was not saved; run the notebook again (`make notebooks`)")
        if "_esm" in self.states[model]["state"]:
            self.alive.add(model)
            words = output.data.get("text/plain", "")
            still = f"<noscript><p>{escape(words)}</p></noscript>" if words.startswith("Figure: ") else ""
            return place(model) + still
        # sliders of ipywidgets need a kernel; what they showed last is kept
        stills = [self._output(nbformat.from_dict(one)) for one in self._inside(model)]
        if not stills:
            kind = self.states[model].get("model_name", "widget")
            raise EditionError(f"it shows a {kind}, which needs a kernel; use a widget of sstutils.lectures.widgets")
        return "".join(stills)

    def _inside(self, model: str) -> Iterator[dict]:
        state = self.states.get(model, {}).get("state", {})
        yield from state.get("outputs", ())
        for child in state.get("children", ()):
            yield from self._inside(child.removeprefix("IPY_MODEL_"))

    @property
    def widgets(self) -> str:
        """The HTML at the end of a page that brings the widgets of its cells to life."""
        return live({model: self.states[model] for model in self.states if model in self.alive})


def place(model: str) -> str:
    """Return the HTML element in which the host draws a widget."""
    return f'<div class="sst-place" data-widget="{escape(model)}"></div>'


def live(states: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the HTML at the end of a page that brings widgets to life: styles, states, scripts and host.

    `states` are as a notebook keeps them (``metadata.widgets``), by model id; those of anywidgets are used.
    """
    scripts, styles, models = {}, {}, {}
    for key, model in states.items():
        state = dict(model["state"])
        if "_esm" not in state:
            continue
        esm, css = state.pop("_esm"), state.pop("_css", "")
        name = hashlib.sha256(esm.encode()).hexdigest()[:12]
        scripts[name], styles[css] = esm, None  # each once, however many widgets share it
        kept = {trait: value for trait, value in state.items() if not trait.startswith("_")}
        models[key] = {"script": name, "state": kept, "buffers": model.get("buffers", [])}
    if not models:
        return ""
    # "<" would let a text end the script element
    data = json.dumps({"models": models, "scripts": scripts}, ensure_ascii=False).replace("<", "\\u003c")
    return (
        f'<style>{"".join(styles)}</style>\n<script type="application/json" id="sst-widgets">{data}</script>\n'
        f"<script>{(Path(__file__).parent / 'host.js').read_text(encoding='utf-8')}</script>\n"
    )


def split_answer(text: str, whole: bool = False) -> tuple[str, str]:
    """Split a text after a question into the answer and the rest.

    The answer is the first paragraph, with `whole` all of them, but ends before a heading, an exercise or a question.
    """
    paragraphs = text.strip().split("\n\n")
    ends = [i for i, part in enumerate(paragraphs) if re.match(r"#|---|\*\*Exercise", part) or ASKS.search(part)]
    end = min([len(paragraphs) if whole else 1, *ends])
    return "\n\n".join(paragraphs[:end]), "\n\n".join(paragraphs[end:])


@contextmanager
def _say_where(where: str) -> Iterator[None]:
    """Say where an error happened."""
    try:
        yield
    except EditionError as error:
        raise EditionError(f"{where}: {error}") from None


def exercise(name: str) -> Any:
    """Return an exercise by name."""
    from sstutils.lectures import exercises

    try:
        return getattr(exercises, name)
    except AttributeError as error:
        raise EditionError(f"{error}") from None


def _plain(text: str) -> str:
    return f'<pre class="plain">{escape(_ANSI.sub("", text)).rstrip()}</pre>'


def _check_html(html: str) -> str:
    """Return the HTML of an output, if all its pictures have alternative text and nothing is fetched."""
    for tag in re.findall(r"<img\b[^>]*>", html):
        if not re.search(r"""\balt=(["'])\s*[^"'\s]""", tag):
            raise EditionError("it shows a figure without alternative text")
    if re.search(r"""<[^>]+\b(?:src|srcset|data)=["']?(?!data:)[^"'\s>]""", re.sub(r"data:[^\"']+", "data:", html)):
        raise EditionError("its output loads something from elsewhere")
    return f'<div class="scroll">{html}</div>' if "<table" in html else html


def _picture(kind: str, data: str, about: Mapping[str, Any]) -> str:
    alt = about.get("alt", "").strip()
    if not alt:
        raise EditionError("it shows a figure without alternative text")
    base = base64.b64encode(data.encode()).decode() if kind.endswith("xml") else "".join(data.split())
    size = "".join(f' {side}="{about[side]}"' for side in ("width", "height") if side in about)
    return f'<img src="data:{kind};base64,{base}"{size} alt="{escape(alt)}">'


def lectures(folder: Path) -> list[Lecture]:
    """Return the lectures of a folder, in order."""
    paths = sorted(path for path in Path(folder).glob("*.ipynb") if not path.name.startswith("."))
    if not paths:
        raise EditionError(f"no notebooks in {folder}")
    return [Lecture(path) for path in paths]
