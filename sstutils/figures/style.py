"""The look of all figures: colours, marks, fonts; and a figure that keeps its style and its alternative text.

Nothing here, or in the plot functions, touches ``pyplot`` or the caller's ``rcParams``.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
import matplotlib.figure
import matplotlib.style
from PIL import Image
from PIL.PngImagePlugin import PngInfo

# M. Okabe and K. Ito, "Color universal design", 2008: distinguishable with any common colour vision.
OKABE_ITO = {
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
    "yellow": "#F0E442",
}
COLOURS = list(OKABE_ITO.values())
MARKERS = "osD^vPX*"
LINES = ("-", "--", ":", "-.")
GREY = "#767676"  # text: contrast 4.5 on white
PALE = "#C8C8C8"
# What differs between the styles: fonts (both ship with matplotlib) and the colours that carry a meaning.
STYLES: dict[str, dict[str, Any]] = {
    "default": {
        "rc": {"font.family": ["DejaVu Sans"], "mathtext.fontset": "dejavusans"},
        "diverging": "RdBu_r",
        "correct": OKABE_ITO["blue"],
        "incorrect": OKABE_ITO["vermilion"],
    },
    "paper": {
        "rc": {"font.family": ["STIXGeneral", "DejaVu Sans"], "mathtext.fontset": "stix"},
        "diverging": "RdYlGn_r",
        "correct": "#00A000",
        "incorrect": "#E00000",
    },
}
_RC = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.4,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "image.composite_image": False,  # keep pictures apart in SVG
    "svg.fonttype": "path",  # looks the same wherever it is opened
    "svg.hashsalt": "sstutils",  # the same bytes on every run
}


@contextmanager
def style(name: str = "default") -> Iterator[dict[str, Any]]:
    """Draw in one of the package's own styles, whatever the caller's ``rcParams`` are.

    Parameters
    ----------
    name : {"default", "paper"}
        "default" has colours that colour-blind readers can distinguish; "paper" has those of Nguyen and
        De Baets (2020).

    Yields
    ------
    dict
        The entry of :data:`STYLES`.

    Raises
    ------
    ValueError
        If there is no such style.
    """
    if name not in STYLES:
        raise ValueError(f"style must be one of {', '.join(map(repr, STYLES))}, got {name!r}")
    with matplotlib.style.context(["default", {**_RC, **STYLES[name]["rc"]}]):
        yield STYLES[name]


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Run a plot function within its style and note the style on the figure."""

    @functools.wraps(draw)
    def within(*args: Any, style: str = "default", **kwargs: Any) -> Figure:
        with _within(style):
            figure = draw(*args, style=style, **kwargs)
        figure.style = style
        return figure

    return within


_within = style  # the plot functions have a parameter of that name


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that keeps its style and its alternative text.

    Attributes
    ----------
    alt : str
        Alternative text: what the picture shows, in words, for readers who cannot see it.
    style : str
        The style it was drawn in, and is saved in.
    """

    alt: str = ""
    style: str = "default"

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Save the figure in its own style; arguments as for matplotlib."""
        with style(self.style):  # fonts are looked up only now
            super().savefig(*args, **kwargs)

    def png(self, dpi: int = 200) -> bytes:
        """Return the figure as a PNG file without transparency; its description is the alternative text."""
        raw, lean = io.BytesIO(), io.BytesIO()
        self.savefig(raw, format="png", dpi=dpi)
        text = PngInfo()
        text.add_itxt("Description", self.alt)
        Image.open(raw).convert("RGB").save(lean, format="png", pnginfo=text, dpi=(dpi, dpi))
        return lean.getvalue()

    def svg(self, title: str = "") -> str:
        """Return the figure as an SVG file whose title and description screen readers find."""
        raw = io.StringIO()
        # 200: dots an inch of what is kept as pixels.
        self.savefig(raw, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
        head, _, rest = raw.getvalue().partition("<svg ")
        attributes, _, body = rest.partition(">")
        words = f"<title>{escape(title)}</title>\n <desc>{escape(self.alt)}</desc>"
        return f'{head}<svg role="img" {attributes}>\n {words}{body}'

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        return in_notebook(self.png(144), self.alt, 144)


def in_notebook(png: bytes, alt: str, dpi: float) -> tuple[dict[str, str], dict[str, dict]]:
    """Return the MIME bundle of a picture with alternative text: its data and its metadata.

    As HTML, for JupyterLab and nbconvert, which both ignore the text in the metadata of a plain PNG; and as plain PNG,
    for what cannot show HTML, such as a notebook printed through LaTeX.
    """
    with Image.open(io.BytesIO(png)) as image:
        width, height = (round(dots * 96 / dpi) for dots in image.size)
    base = base64.b64encode(png).decode("ascii")
    tag = f'<img src="data:image/png;base64,{base}" width="{width}" height="{height}" alt="{escape(alt)}">'
    data = {"text/html": tag, "image/png": base, "text/plain": f"Figure: {alt}"}
    return data, {"image/png": {"alt": alt, "width": width, "height": height}}


def line_look(number: int) -> dict[str, Any]:
    """Return colour, marker and line style of one of several lines."""
    return look(number) | {"linestyle": LINES[number % len(LINES)]}


def look(number: int) -> dict[str, Any]:
    """Colour and marker of the number-th of many groups: 64 combinations before one comes again."""
    return {"color": COLOURS[number % 8], "marker": MARKERS[(number + number // 8) % 8]}
