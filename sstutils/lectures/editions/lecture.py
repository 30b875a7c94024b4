"""A notebook as a lecture: its title, minutes and cells, and the HTML of what is in them.

All editions for the browser are made of these pieces. What a page could not show well is an error here: a cell that was
not run, a figure without alternative text, a widget without its state, an exercise or a formula that is not known.
"""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import Any

import mistune
import nbformat
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from .live import live, place
from .mathematics import TexError, mathml

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_MATH = re.compile(
    r"(?P<code>^ {0,3}(?P<fence>```+|~~~+).*?(?:^ {0,3}(?P=fence)|\Z)|(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`))"
    r"|\\(?P<dollar>\$)"
    r"|\$\$(?P<display>.+?)\$\$"
    r"|(?P<align>\\begin\{(?P<name>align\*?|aligned|equation\*?)\}.+?\\end\{(?P=name)\})"
    r"|\$(?=\S)(?P<inline>(?:[^$\\]|\\.)+?)(?<=\S)\$(?!\d)",
    re.DOTALL | re.MULTILINE,
)
_ALONE = re.compile(r'<p><span class="display">((?:(?!</?span).)*)</span></p>', re.DOTALL)  # is no paragraph
_BREAK = re.compile(r"\\q?quad(?![A-Za-z])")


class EditionError(ValueError):
    """A notebook of which no edition can be made; the message is one sentence that says where and what to do."""


# ---------------------------------------------------------------------------------------------------------------------
# Text
# ---------------------------------------------------------------------------------------------------------------------
def _top_level(tex: str, pattern: re.Pattern) -> list[str]:
    """Split a formula where `pattern` matches outside of braces and environments."""
    parts, start = [], 0
    for match in pattern.finditer(tex):
        before = tex[: match.start()]
        inside = before.count("{") - before.count("}") or before.count(r"\begin") - before.count(r"\end")
        inside = inside or before.count(r"\left") - before.count(r"\right")
        if not inside:
            parts.append(tex[start : match.start()])
            start = match.end()
    return [part for part in [*parts, tex[start:]] if part.strip()]


def _formula(match: re.Match) -> str:
    if match["dollar"]:
        return "$"
    if match["inline"]:
        return mathml(match["inline"])
    if match["align"]:
        tex = re.sub(r"\\(begin|end)\{equation\*?\}", "", match["align"])
        return f'<span class="display">{mathml(tex, display=True)}</span>'
    # formulas side by side may stand below each other on a narrow page
    parts = [mathml(part, display=True) for part in _top_level(match["display"], _BREAK)]
    return f'<span class="display">{"".join(parts)}</span>'


class _Html(mistune.HTMLRenderer):
    """Adds to mistune's HTML: names of headings, pictures within the page, links to pages, coloured code."""

    def __init__(self, lecture: Text, shift: int = 0) -> None:
        super().__init__(escape=False)
        self.lecture, self.shift = lecture, shift

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        name = self.lecture.name_heading(text, level)
        level = min(6, level + self.shift)
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if not text:
            raise EditionError(f"the picture {url} has no alternative text")
        return f'<img src="{self.lecture.embedded(url)}" alt="{escape(mistune.safe_entity(text))}">'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if not re.match(r"[a-z]+:|#", url):
            url = re.sub(r"\.ipynb(?=#|$)", ".html", url)
        return super().link(text, url, title)

    def block_code(self, code: str, info: str | None = None) -> str:
        return coloured(code) if info == "python" else f'<pre class="plain">{escape(code)}</pre>\n'


def with_blanks(html: str) -> str:
    """Mark the blanks of an exercise, which the eye should find first."""
    return re.sub(r'<span class="[a-z]+">____</span>', '<span class="blank">____</span>', html)


def coloured(code: str) -> str:
    """Return Python code as HTML, with classes for the style sheet to colour."""
    code = re.sub(r"\n{3,}", "\n\n", code)
    inner = highlight(code, PythonLexer(stripnl=True), HtmlFormatter(nowrap=True))
    return f'<pre class="code"><code>{inner.rstrip()}</code></pre>\n'


# ---------------------------------------------------------------------------------------------------------------------
# The lecture
# ---------------------------------------------------------------------------------------------------------------------
@dataclass
class Cell:
    """A cell of a lecture, in HTML.

    Attributes
    ----------
    kind : str
        "text", "code" or "exercise".
    html : str
        The text; of code, the source.
    shown : list of str
        The outputs.
    """

    node: NotebookNode
    kind: str
    html: str
    shown: list[str] = field(default_factory=list)
    exercise: Any = None
    task: str = ""
    hints: list[str] = field(default_factory=list)

    @property
    def tags(self) -> set[str]:
        """Tags of the cell: slide, fragment, skip, exercise, widget."""
        return set(self.node.metadata.get("tags", ()))

    @property
    def alive(self) -> bool:
        """Whether it shows a widget. Its code may tell the answer to its question, so it is folded."""
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
    def solution(self) -> str:
        """The model answer of an exercise."""
        return coloured(self.exercise.source)

    @property
    def lecturer(self) -> Mapping[str, Any]:
        """What only the lecturer sees: minutes, note."""
        return self.node.metadata.get("lecturer", {})


class Text:
    """Markdown that becomes a page: its headings have names, its pictures are within it.

    Parameters
    ----------
    path : path
        The file that it is of; pictures are found from there.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.headings: list[tuple[int, str, str]] = []  # level, name, HTML

    def markdown(self, text: str, shift: int = 0) -> str:
        """Return Markdown as HTML, formulas as MathML; headings become `shift` levels lower."""
        formulas: list[str] = []

        def keep(match: re.Match) -> str:
            if match["code"]:
                return match[0]
            formulas.append(_formula(match))
            return f"\ue000{len(formulas) - 1}\ue001"  # private characters, which Markdown leaves alone

        text = _MATH.sub(keep, text)
        made = mistune.create_markdown(renderer=_Html(self, shift), plugins=["table", "strikethrough"])(text)
        put = partial(re.sub, "\ue000(\\d+)\ue001", lambda match: formulas[int(match[1])])
        self.headings = [(level, name, put(title)) for level, name, title in self.headings]
        made = _ALONE.sub(r'<div class="display">\1</div>', put(made))
        return made.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")

    def inline(self, text: str) -> str:
        """Return a line of Markdown as HTML, without the paragraph around it."""
        return re.sub(r"^<p>|</p>\s*$", "", self.markdown(text)).strip()

    def name_heading(self, title: str, level: int) -> str:
        """Enter a heading in the contents, and return its name."""
        words = re.sub(r"<[^>]+>|&\w+;|\ue000\d+\ue001", "", title).lower()
        name = taken = re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "part"
        count = 1
        while taken in {other for _, other, _ in self.headings}:
            count += 1
            taken = f"{name}-{count}"
        self.headings.append((level, taken, title))
        return taken

    def embedded(self, url: str) -> str:
        """Return the address of a picture in Markdown with the picture in it."""
        if url.startswith("data:"):
            return url
        file = self.path.parent / url
        if re.match(r"[a-z]+:", url) or not file.is_file():
            raise EditionError(f"the picture {url} is not a file beside the notebook")
        kind = mimetypes.guess_type(file.name)[0]
        return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


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
            raise EditionError(f"{self.path.name} cannot be read as a notebook: {error}") from None
        self.states = self.notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
        self.alive: set[str] = set()
        first = self.notebook.cells[0].source if self.notebook.cells else ""
        heading, _, rest = first.partition("\n")
        if not (title := re.match(r"# (?:(\d\d) - )?(.+)", heading)):
            raise EditionError(f"{self.path.name}: its first cell must begin with a title, such as '# 03 - A name'")
        self.number, self.title = title[1] or "", title[2].strip()
        minutes = re.search(r"(\d+) min\b", rest)
        self.minutes = int(minutes[1]) if minutes else None
        with self._at(0):
            # the facts of the first paragraph stand between bars; a bar may also be in a formula or in code
            facts, _, self._rest = rest.strip().partition("\n\n")
            pieces = re.split(r"\s\|\s", " ".join(facts.split()))
            self.goal = self.inline(pieces[0])
            self.facts = [self.inline(piece) for piece in pieces[1:]]

    @property
    def name(self) -> str:
        """Name of the file, without its ending."""
        return self.path.stem

    def _at(self, index: int) -> _Where:
        return _Where(f"{self.path.name}, cell {index + 1}")

    # -- cells --------------------------------------------------------------------------------------------------------
    @cached_property
    def cells(self) -> list[Cell]:
        """All cells but the title, in HTML."""
        return list(self._cells())

    def _cells(self) -> Iterator[Cell]:
        for index, node in enumerate(self.notebook.cells):
            with self._at(index):
                if node.cell_type == "markdown":
                    source = self._rest if index == 0 else node.source
                    if source.strip():
                        yield Cell(node, "text", self.markdown(source))
                elif node.cell_type == "code" and node.source.strip():
                    if node.execution_count is None:
                        raise EditionError("it was not run: run the notebook (`make notebooks`) first")
                    yield self._code(node)

    def _code(self, node: NotebookNode) -> Cell:
        source = re.sub(r"^# NBVAL_\w+\n", "", node.source, flags=re.MULTILINE)
        name = node.metadata.get("exercise")
        if name is None and "exercise" in node.metadata.get("tags", ()):
            raise EditionError("it has the tag exercise, but its metadata do not name the exercise")
        shown = [html for output in node.outputs if (html := self._output(output))]
        if name is None:
            return Cell(node, "code", coloured(source), shown)
        task = exercise(name)
        hints = [self.markdown(hint) for hint in task.hints]
        return Cell(node, "exercise", with_blanks(coloured(source)), shown, task, self.markdown(task.task), hints)

    def _output(self, output: NotebookNode) -> str:
        """Return an output in the richest form that lives without a kernel."""
        if output.output_type == "error":
            raise EditionError(f"it ended with an error, {output.ename}: {output.evalue}")
        if output.output_type == "stream":
            return f'<pre class="plain">{escape(_ANSI.sub("", output.text)).rstrip()}</pre>'
        data = output.data
        if VIEW in data:
            return self._widget(data[VIEW]["model_id"], output)
        if "text/html" in data:
            return _checked(data["text/html"])
        for kind in ("image/svg+xml", "image/png", "image/jpeg"):
            if kind in data:
                return _picture(kind, data[kind], output.metadata.get(kind, {}))
        if "text/markdown" in data:
            return self.markdown(data["text/markdown"])
        if "text/latex" in data:
            return self.markdown(data["text/latex"])
        return f'<pre class="plain">{escape(_ANSI.sub("", data.get("text/plain", ""))).rstrip()}</pre>'

    def _widget(self, model: str, output: NotebookNode) -> str:
        if model not in self.states:
            raise EditionError("it shows a widget whose state was not saved: run the notebook again (`make notebooks`)")
        if "_esm" in self.states[model]["state"]:
            self.alive.add(model)
            words = output.data.get("text/plain", "")
            still = f"<noscript><p>{escape(words)}</p></noscript>" if words.startswith("Figure: ") else ""
            return place(model) + still
        # sliders of ipywidgets need a kernel; what they showed last is kept
        stills = [self._output(nbformat.from_dict(one)) for one in self._inside(model)]
        if not stills:
            kind = self.states[model].get("model_name", "widget")
            raise EditionError(f"it shows a {kind}, which needs a kernel: use a widget of sstutils.lectures.widgets")
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


class _Where:
    """Says in which cell an error happened."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, EditionError | TexError) and not str(error).startswith(self.where):
            raise EditionError(f"{self.where}: {error}") from None


def exercise(name: str) -> Any:
    """Return an exercise by name."""
    from sstutils.lectures import exercises

    try:
        return getattr(exercises, name)
    except AttributeError as error:
        raise EditionError(f"{error}") from None


def _checked(html: str) -> str:
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
        raise EditionError(f"there is no notebook in {folder}")
    return [Lecture(path) for path in paths]
