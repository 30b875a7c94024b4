"""What all widgets share: state in traits, drawing in the page, a still picture for readers without JavaScript.

A widget is a Python class with traits and a file of plain JavaScript of the same name, which draws them. The script
needs no build step and no network. It reads and writes the traits through anywidget's ``model``, with a kernel or, in
an exported page, without one. What both Python and the page must compute, such as the batches of the neighborhood
explorer, has a twin in the other language; tests compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from ...figures import plots

_FOLDER = Path(__file__).parent
_WORD = 0xFFFFFFFF
_HUES = [plots.OKABE_ITO[name] for name in ("blue", "vermilion", "green", "purple", "orange", "sky", "black")]

#: Colour and marker of anchor, positive and negative.
ROLE_LOOKS = {
    "a": {"color": "#1b1d21", "marker": "o"},
    "p": {"color": plots.OKABE_ITO["blue"], "marker": "s"},
    "n": {"color": plots.OKABE_ITO["vermilion"], "marker": "^"},
}


def script(*names: str) -> str:
    """Return the JavaScript module of a widget: what all share, then its own file (or files)."""
    return "\n".join((_FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in ("common", *names))


def stylesheet() -> str:
    """Return the style sheet of all widgets."""
    return (_FOLDER / "widgets.css").read_text(encoding="utf-8")


def plain(value: Any) -> Any:
    """Turn numbers, arrays and tensors into Python's own numbers and lists, also within lists, tuples and dicts."""
    if isinstance(value, Mapping):
        return {plain(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return (list if isinstance(value, list) else tuple)(map(plain, value))
    return value.tolist() if hasattr(value, "tolist") and not isinstance(value, memoryview) else value


class Drawn(anywidget.AnyWidget):
    """A widget that is drawn in the page; in a place without JavaScript, its :meth:`picture` stands for it.

    Its traits take numbers of numpy and torch as they take Python's.

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

    def __setattr__(self, name: str, value: Any) -> None:
        is_trait = isinstance(getattr(type(self), name, None), traitlets.TraitType)
        super().__setattr__(name, plain(value) if is_trait else value)

    def set_trait(self, name: str, value: Any) -> None:  # noqa: D102
        super().set_trait(name, plain(value))

    def fill(self, **values: Any) -> None:
        """Set traits, read-only ones too."""
        for name, value in values.items():
            self.set_trait(name, value)

    def picture(self) -> plots.Figure:
        """Draw the present state without JavaScript: the same numbers, by the Python twin."""
        with plots.style():
            return self._picture()

    def _picture(self) -> plots.Figure:
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict]:
        widget = super()._repr_mimebundle_(**kwargs)
        data, metadata = widget if isinstance(widget, tuple) else (widget, {})
        figure = self.picture()
        still, about = plots.in_notebook(figure.png(96), figure.alt, 96)
        return still | data | {"text/plain": still["text/plain"]}, about | metadata


def draw_classes(axes: Any, points: np.ndarray, labels: np.ndarray) -> None:
    """Draw a map (N, 2) without axes; classes have the colour and marker of ``looks`` in ``common.js``, 56 differ."""
    for number in np.unique(labels):
        looks = {"color": _HUES[number % 7], "marker": plots.MARKERS[(number % 7 + number // 7) % 8]}
        axes.scatter(*points[labels == number].T, s=7, linewidths=0, **looks)
    axes.set(aspect="equal", adjustable="datalim", xticks=[], yticks=[])


def one_of(name: str, value: Any, choices: Sequence[Any], error: type[Exception] = traitlets.TraitError) -> Any:
    """Return the value if it is among the choices; otherwise raise the error."""
    if value not in choices:
        listed = ", ".join(f"{x:g}" if isinstance(x, float) else str(x) for x in choices)
        raise error(f"{name} must be one of {listed}; got {value!r}")
    return value


def within(name: str, value: float, low: float, high: float, error: type[Exception] = traitlets.TraitError) -> float:
    """Return the number if it lies between two others, or is one of them; otherwise raise the error."""
    if not low <= value <= high:  # NaN is not
        raise error(f"{name} must be between {low} and {high}; got {value!r}")
    return value


def finite_point(name: str, value: Any, error: type[Exception] = traitlets.TraitError) -> list[float]:
    """Return two finite numbers as a list; otherwise raise the error."""
    try:
        point = [float(x) for x in plain(value)]
    except (TypeError, ValueError):
        point = []
    if len(point) != 2 or not all(map(math.isfinite, point)):
        raise error(f"{name} must be two finite numbers (x, y); got {value!r}")
    return point


def matrices(embeddings: Mapping[str, Any], labels: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return embeddings by name as float64 matrices, and the labels of their rows as integers; or raise ValueError."""
    from ...checks import class_labels, finite_matrix  # torch takes long to load, and most widgets need none

    found = {str(name): finite_matrix(x, str(name)).double().numpy(force=True) for name, x in embeddings.items()}
    for x in found.values():
        labels = class_labels(labels, len(x))
    return found, np.asarray(labels)


def comparable(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the labels that occur, the place of each item's label among them, and how often each occurs.

    ValueError if no two items are of different classes, or no two of one.
    """
    present, places, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(present) < 2:
        raise ValueError("all images are of one class; there must be at least two classes to compare")
    if sizes.max() < 2:
        raise ValueError("each class has one image only; there must be a class with at least two to compare")
    return present, places, sizes


def random(seed: int) -> Iterator[float]:
    """Yield the numbers of ``random(seed)`` in ``common.js``: mulberry32, uniform in [0, 1)."""
    state = seed & _WORD
    while True:
        state = t = (state + 0x6D2B79F5) & _WORD
        t = (t ^ (t >> 15)) * (t | 1) & _WORD
        t ^= (t + ((t ^ (t >> 7)) * (t | 61) & _WORD)) & _WORD
        yield (t ^ (t >> 14)) / 2**32
