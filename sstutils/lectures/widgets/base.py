"""What all widgets share: state in traits, drawing in the page, a still picture for readers without JavaScript.

A widget is a Python class with traits and a file of plain JavaScript of the same name, which draws them. The script
needs no build step and no network. It reads and writes the traits through anywidget's ``model``, with a kernel or, in
an exported page, without one. Whatever a script computes, a Python function of the same module computes too: the twin,
against which tests hold the script.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ...figures import plots

_FOLDER = Path(__file__).parent
_WORD = 0xFFFFFFFF


def script(name: str) -> str:
    """Return the JavaScript module of a widget: what all share, then its own file."""
    return "\n".join((_FOLDER / file).read_text(encoding="utf-8") for file in ("common.js", f"{name}.js"))


def stylesheet() -> str:
    """Return the style sheet of all widgets."""
    return (_FOLDER / "widgets.css").read_text(encoding="utf-8")


class Drawn(anywidget.AnyWidget):
    """A widget that is drawn in the page; in a place without JavaScript, its :meth:`picture` stands for it.

    Attributes
    ----------
    title : str
        The heading, and the name that screen readers say.
    said : str
        The last sentence that was said to screen readers: what moved, and what it did.
    """

    _css = stylesheet()
    title = traitlets.Unicode("").tag(sync=True)
    said = traitlets.Unicode("").tag(sync=True)

    def picture(self) -> plots.Figure:
        """Draw the present state without JavaScript: the same numbers, by the Python twin."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict]:
        widget = super()._repr_mimebundle_(**kwargs)
        data, metadata = widget if isinstance(widget, tuple) else (widget, {})
        figure = self.picture()
        still, about = plots.in_notebook(figure.png(96), figure.alt, 96)
        return still | data | {"text/plain": still["text/plain"]}, about | metadata


def random(seed: int) -> Iterator[float]:
    """Yield the numbers of ``random(seed)`` in ``common.js``: mulberry32, uniform in [0, 1)."""
    state = seed & _WORD
    while True:
        state = t = (state + 0x6D2B79F5) & _WORD
        t = (t ^ (t >> 15)) * (t | 1) & _WORD
        t ^= (t + ((t ^ (t >> 7)) * (t | 61) & _WORD)) & _WORD
        yield (t ^ (t >> 14)) / 2**32
