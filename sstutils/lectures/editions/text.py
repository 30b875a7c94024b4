"""Markdown as HTML for a page that fetches nothing: formulas as MathML, pictures in the page, code in colour."""

from __future__ import annotations

import base64
import mimetypes
import re
from html import escape
from pathlib import Path
from typing import Any

import mistune
from math_core import LatexError, LatexToMathML
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

_TEX = LatexToMathML(fancy_error=False)
_MATH = re.compile(
    r"(?P<code>^ {0,3}(?P<fence>```+|~~~+).*?(?:^ {0,3}(?P=fence)|\Z)|(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`))"
    r"|\\(?P<dollar>\$)"
    r"|\$\$(?P<display>.+?)\$\$"
    r"|(?P<align>\\begin\{(?P<name>align\*?|aligned|equation\*?)\}.+?\\end\{(?P=name)\})"
    r"|\$(?=\S)(?P<inline>(?:[^$\\]|\\.)+?)(?<=\S)\$(?!\d)",
    re.DOTALL | re.MULTILINE,
)
_LINES = r'(?:<span class="line">(?:(?!</?span).)*</span>)+'
_ALONE = re.compile(rf'<p><span class="display">({_LINES})</span></p>', re.DOTALL)  # is no paragraph
_PLACE = re.compile("\ue000(\\d+)\ue001([.,;:?!)]*)")  # of a formula, and the marks after it
_QUAD = re.compile(r"\\q?quad(?![A-Za-z])")
_RELATION = re.compile(r"(?:=|<|>|\\(?:leq?|geq?|approx|notin|in|sim|to)(?![A-Za-z]))\s*")

LONG = 16, 34
"""A formula of more signs, in a line or displayed, may be broken at its relations, as TeX does it."""


class EditionError(ValueError):
    """A notebook of which no edition can be made; the message is one sentence that says where and what to do."""


# ---------------------------------------------------------------------------------------------------------------------
# Formulas
# ---------------------------------------------------------------------------------------------------------------------
def mathml(tex: str, display: bool = False) -> str:
    r"""Convert a TeX formula to MathML, which needs no script, and which screen readers speak.

    Parameters
    ----------
    tex : str
        What stands between the dollar signs.
    display : bool
        Whether it stands on a line of its own.

    Returns
    -------
    str
        One element ``math``, or several between which a line may be broken.

    Raises
    ------
    EditionError
        If the formula cannot be parsed.

    Examples
    --------
    >>> mathml("x")
    '<math><mi>x</mi></math>'
    """
    parts = [tex]
    if len(re.sub(r"\\[A-Za-z]+", "x", re.sub(r"[{}\s]", "", tex))) > LONG[display]:
        # A relation begins a line of a display and ends one of the text; the empty group keeps the space around it.
        parts = _split(tex, _RELATION, "\0{}\\g<0>" if display else "\\g<0>{}\0")
    return "<wbr>".join(_convert(part, display, tex) for part in parts)


def _convert(tex: str, display: bool, whole: str) -> str:
    try:
        made = _TEX.convert_with_local_state(tex, displaystyle=display)
    except LatexError as error:
        reason = str(error).partition(": ")[2].rstrip(".")
        raise EditionError(f"formula ${' '.join(whole.split())}$: {reason}") from None
    # As fonts have them: a line above that stretches, and primes that are raised already.
    made = made.replace('<mo stretchy="true">\u0332</mo></mover>', '<mo stretchy="true">\u203e</mo></mover>')
    return re.sub(
        r"<msup>(<mi>[^<]*</mi>)<mo>([′″‴])</mo></msup>", r'<mrow>\1<mo lspace="0" rspace="0">\2</mo></mrow>', made
    )


def _split(tex: str, pattern: re.Pattern, template: str = "\0") -> list[str]:
    """Split a formula where `template` puts a zero byte for a match that stands in no brackets and no environment."""

    def cut(match: re.Match) -> str:
        before = tex[: match.start()]
        inside = sum(before.count(sign) for sign in "([{") != sum(before.count(sign) for sign in ")]}")
        inside = inside or before.count(r"\begin") != before.count(r"\end")
        return match[0] if inside else match.expand(template)

    return [part for part in pattern.sub(cut, tex).split("\0") if part.strip()]


def _keep_together(formula: str, mark: str) -> str:
    """Let no line begin with the punctuation mark after a formula of the text."""
    if not mark or not formula.startswith("<math"):
        return formula + mark
    head, sep, last = formula.rpartition("<wbr>")
    return f'{head}{sep}<span class="whole">{last}{mark}</span>'


def _formula(match: re.Match) -> str:
    if match["dollar"]:
        return "$"
    if match["inline"]:
        return mathml(match["inline"])
    tex = re.sub(r"\\(begin|end)\{equation\*?\}", "", match["display"] or match["align"])
    # Formulas side by side may stand below each other on a narrow page.
    lines = "".join(f'<span class="line">{mathml(part, display=True)}</span>' for part in _split(tex, _QUAD))
    return f'<span class="display">{lines}</span>'


# ---------------------------------------------------------------------------------------------------------------------
# Code
# ---------------------------------------------------------------------------------------------------------------------
def coloured(code: str) -> str:
    """Convert Python code to HTML, with classes for the style sheet to colour."""
    code = re.sub(r"\n{3,}", "\n\n", code)
    inner = highlight(code, PythonLexer(stripnl=True), HtmlFormatter(nowrap=True))
    return f'<pre class="code"><code>{inner.rstrip()}</code></pre>\n'


# ---------------------------------------------------------------------------------------------------------------------
# Markdown
# ---------------------------------------------------------------------------------------------------------------------
class _Html(mistune.HTMLRenderer):
    """Adds to mistune's HTML: names of headings, pictures within the page, links to pages, coloured code."""

    def __init__(self, text: Text) -> None:
        super().__init__(escape=False)
        self.source = text

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        name = self.source.name_heading(text, level)
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if not text:
            raise EditionError(f"the picture {url} has no alternative text")
        return f'<img src="{self.source.embedded(url)}" alt="{escape(mistune.safe_entity(text))}">'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if not re.match(r"[a-z]+:|#", url):
            url = re.sub(r"\.ipynb(?=#|$)", ".html", url).removeprefix("../site/")  # which the page lies in
        return super().link(text, url, title)

    def block_code(self, code: str, info: str | None = None) -> str:
        return coloured(code) if info == "python" else f'<pre class="plain">{escape(code)}</pre>\n'


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

    def markdown(self, text: str) -> str:
        """Convert Markdown to HTML, formulas to MathML."""
        formulas: list[str] = []

        def keep(match: re.Match) -> str:
            if match["code"]:
                return match[0]
            formulas.append(_formula(match))
            return f"\ue000{len(formulas) - 1}\ue001"  # private characters, which Markdown leaves alone

        text = _MATH.sub(keep, text)
        made = mistune.create_markdown(renderer=_Html(self), plugins=["table", "strikethrough"])(text)

        def put(match: re.Match) -> str:
            return _keep_together(formulas[int(match[1])], match[2])

        self.headings = [(level, name, _PLACE.sub(put, title)) for level, name, title in self.headings]
        made = _ALONE.sub(r'<div class="display">\1</div>', _PLACE.sub(put, made))
        return made.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")

    def inline(self, text: str) -> str:
        """Convert a line of Markdown to HTML, without the paragraph around it."""
        return re.sub(r"^<p>|</p>\s*$", "", self.markdown(text)).strip()

    def name_heading(self, title: str, level: int) -> str:
        """Enter a heading in the contents, and return its name."""
        words = re.sub(r"<[^>]+>|&\w+;|\ue000\d+\ue001", "", title).lower()
        name = re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "part"
        taken = {other for _, other, _ in self.headings}
        name = next(free for free in (name, *(f"{name}-{i}" for i in range(2, 99))) if free not in taken)
        self.headings.append((level, name, title))
        return name

    def embedded(self, url: str) -> str:
        """Return the address of a picture in Markdown with the picture in it."""
        if url.startswith("data:"):
            return url
        file = self.path.parent / url
        if re.match(r"[a-z]+:", url) or not file.is_file():
            raise EditionError(f"the picture {url} is not a file in the folder of the notebook")
        kind = mimetypes.guess_type(file.name)[0]
        return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
