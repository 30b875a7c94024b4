"""The look of all figures: colours, marks, fonts; and a figure that keeps its style and its alternative text.

Nothing here, or in the plot functions, touches ``pyplot`` or the caller's ``rcParams``.
"""

from __future__ import annotations

import base64
import functools
import inspect
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
import matplotlib.figure
import matplotlib.style
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..checks import one_of
from .inputs import clean

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
# What differs between the styles: fonts (both ship with matplotlib) and colours that carry a meaning. The first two of
# the cycle, "C0" and "C1", mark what is correct and incorrect; the colour map is the one of gradients.
STYLES: dict[str, dict[str, Any]] = {
    "default": {
        "font.family": ["DejaVu Sans"],
        "mathtext.fontset": "dejavusans",
        "image.cmap": "RdBu_r",
        "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    },
    "paper": {
        "font.family": ["STIXGeneral", "DejaVu Sans"],
        "mathtext.fontset": "stix",
        "image.cmap": "RdYlGn_r",
        "axes.prop_cycle": matplotlib.cycler(color=["#00A000", "#E00000", *COLOURS[2:]]),
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
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "image.composite_image": False,  # keep pictures apart in SVG
    "svg.fonttype": "path",  # looks the same wherever it is opened
    "svg.hashsalt": "sstutils",  # the same bytes on every run
}


@contextmanager
def style(name: str = "default") -> Iterator[None]:
    """Draw in one of the package's own styles, whatever the caller's ``rcParams`` are.

    Parameters
    ----------
    name : {"default", "paper"}
        "default" has colours that colour-blind readers can distinguish; "paper" has those of Nguyen and
        De Baets (2020).

    Raises
    ------
    ValueError
        If there is no such style.
    """
    with matplotlib.style.context(["default", _RC, STYLES[one_of("style", name, list(STYLES))]]):
        yield


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Give a plot function the keyword `style`: it draws within that style, which the figure keeps."""

    @functools.wraps(draw)
    def within(*args: Any, style: str = "default", **kwargs: Any) -> Figure:
        with _within(style):
            figure = draw(*args, **kwargs)
        figure.style = style
        if lost := list(dict.fromkeys(figure.unreadable)):
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            figure.notes.append(f"{len(lost)} images could not be read and are left grey: {'; '.join(lost[:3])}{more}.")
            warnings.warn(figure.notes[-1].rstrip("."), stacklevel=2)
        return figure

    signature = inspect.signature(draw)
    keyword = inspect.Parameter("style", inspect.Parameter.KEYWORD_ONLY, default="default", annotation="str")
    within.__signature__ = signature.replace(parameters=[*signature.parameters.values(), keyword])
    within.__doc__ = f"{draw.__doc__.rstrip()}\n\n    The keyword `style` is the name of a :func:`style`.\n    "
    return within


_within = style  # within a plot function of that keyword


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that keeps its style and its alternative text.

    Attributes
    ----------
    alt : str
        Alternative text: what the picture shows, in words, for readers who cannot see it. It is kept on one line.
    style : str
        The style it was drawn in, and is saved in.
    notes : list of str
        What befell while it was drawn, sentences that go to the end of the alternative text.
    unreadable : list of str
        What was said of each image that could not be read.
    """

    style: str = "default"
    _alt: str = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.notes: list[str] = []
        self.unreadable: list[str] = []

    @property
    def alt(self) -> str:
        """What the picture shows, in words, and what befell while it was drawn."""
        return clean(" ".join([self._alt, *self.notes]))

    @alt.setter
    def alt(self, text: str) -> None:
        self._alt = text

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
        words = f"<title>{escape(clean(title))}</title>\n <desc>{escape(self.alt)}</desc>"
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


def look(number: int) -> dict[str, Any]:
    """Return colour and marker of the number-th of many groups: 64 combinations before one comes again."""
    return {"color": COLOURS[number % 8], "marker": MARKERS[(number + number // 8) % 8]}


def line_look(number: int) -> dict[str, Any]:
    """Return colour, marker and line style of one of several lines."""
    return look(number) | {"linestyle": LINES[number % len(LINES)]}
