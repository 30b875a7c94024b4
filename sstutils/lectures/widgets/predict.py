"""Predict, then reveal: the reader commits to an answer before the truth is drawn over it."""

from __future__ import annotations

import base64
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from ...figures import plots
from .base import ROLE_LOOKS, Drawn, finite_point, plain, script, within

__all__ = ["Predict", "angle", "seal"]


def angle(u: ArrayLike, v: ArrayLike) -> float:
    """Return the angle between two vectors (x, y), neither of them zero, in degrees from 0 to 180."""
    (a, b), (c, d) = u, v
    return abs(math.degrees(math.atan2(a * d - b * c, a * c + b * d)))


def seal(**told: Any) -> str:
    """Encode what a question reveals, so that the source of a cell does not tell it: `sealed` of :class:`Predict`.

    Examples
    --------
    >>> Predict("How many?", ["one", "two"], sealed=seal(answer=1, because="Count them.")).because
    'Count them.'
    """
    return base64.b64encode(json.dumps(told, ensure_ascii=False).encode()).decode()


def _unseal(sealed: str) -> dict[str, Any]:
    try:
        told = json.loads(base64.b64decode(sealed, validate=True)) if sealed else {}
        return told | {"feedback": {int(key): text for key, text in told.get("feedback", {}).items()}} if told else told
    except (ValueError, AttributeError):
        raise ValueError(f"sealed must be what `sst.widgets.seal` returned, got {sealed[:40]!r}") from None


class Predict(Drawn):
    """Ask a question with a few options; the reader commits to one before the right one is shown.

    The page shows plain text. :meth:`arrow` makes the other form of question: drag an arrow.

    Parameters
    ----------
    question : str
    options : sequence of str
        At least two.
    answer : int
        The right one, counted from 0.
    because : str
        Why; appears after the commitment.
    feedback : mapping of int to str, optional
        What to say to a reader who chose that option, before `because`.
    sealed : str, optional
        Answer, because and feedback as :func:`seal` encodes them, in a place where the reader sees the source.

    Attributes
    ----------
    chosen : int, list of 2 floats or None
        The option that is chosen, or the arrow that was dragged.
    committed : bool
        Whether the reader has committed, and sees the truth.

    Raises
    ------
    ValueError
        If there are fewer than two options, or the answer or a feedback is not one of them.

    Examples
    --------
    >>> ask = Predict("How many triplets pull?", ["all", "the active ones"], answer=1, because="The others are zero.")
    >>> ask.chosen = 0
    >>> ask.correct
    False
    """

    _esm = script("predict")
    options = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    answer = traitlets.Int(None, allow_none=True, read_only=True).tag(sync=True)
    feedback = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)  # one an option, or ""
    because = traitlets.Unicode(read_only=True).tag(sync=True)
    points = traitlets.Dict(read_only=True).tag(sync=True)
    at = traitlets.Unicode(read_only=True).tag(sync=True)
    truth = traitlets.List(traitlets.Float(), read_only=True).tag(sync=True)
    tolerance = traitlets.Float(20.0, read_only=True).tag(sync=True)
    chosen = traitlets.Any(None, allow_none=True).tag(sync=True)
    committed = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        question: str,
        options: Sequence[str],
        *,
        answer: int | None = None,
        because: str = "",
        feedback: Mapping[int, str] | None = None,
        sealed: str = "",
    ) -> None:
        if isinstance(options, str):
            raise ValueError(f"options must be a list of texts, got {options!r}")
        told = {"answer": answer, "because": because, "feedback": feedback or {}} | _unseal(sealed)
        because = told["because"]
        options, answer, feedback = plain((list(options), told["answer"], told["feedback"]))
        if len(options) < 2:
            raise ValueError(f"a question needs at least 2 options, got {len(options)}")
        for name, number in [("answer", answer), *(("feedback", key) for key in feedback)]:
            _option(name, number, options)
        told = [feedback.get(i, "") for i in range(len(options))]
        super().__init__(title=question)
        self.fill(because=because, options=options, answer=answer, feedback=told)

    @classmethod
    def arrow(
        cls,
        question: str,
        points: Mapping[str, Sequence[float]],
        *,
        at: str,
        truth: Sequence[float],
        because: str = "",
        tolerance: float = 20.0,
        sealed: str = "",
    ) -> Predict:
        """Ask for an arrow, which the reader drags from a point; only its direction is judged.

        Parameters
        ----------
        question : str
        points : mapping of str to (x, y)
            What is drawn; a, p and n get the marks of anchor, positive and negative.
        at : str
            The point where the arrow begins.
        truth : (dx, dy)
            The true arrow.
        because : str
            Why; appears after the commitment.
        tolerance : float
            Degrees up to which an arrow is right.
        sealed : str, optional
            As for a question with options: `because`.

        Raises
        ------
        ValueError
            If a point is not two finite numbers, the arrow begins nowhere, or the truth has no length.
        """
        because = _unseal(sealed).get("because", because)
        places = {name: finite_point(f"point {name!r}", point, ValueError) for name, point in points.items()}
        truth, tolerance = finite_point("truth", truth, ValueError), plain(tolerance)
        if at not in places:
            raise ValueError(f"at must be one of the points {', '.join(map(repr, places))}, got {at!r}")
        if not math.hypot(*truth) > 0:
            raise ValueError("truth must have a length, got (0, 0); ask with options instead")
        within("tolerance", tolerance, 0, 180, ValueError)
        self = cls.__new__(cls)
        Drawn.__init__(self, title=question)
        self.fill(because=because, points=places, at=at, truth=truth, tolerance=tolerance)
        return self

    @traitlets.validate("chosen")
    def _check_chosen(self, proposal: Any) -> Any:
        if proposal.value is None:
            return None
        if self.at:
            return finite_point("chosen", proposal.value)
        return _option("chosen", proposal.value, self.options, traitlets.TraitError)

    @property
    def correct(self) -> bool | None:
        """Whether what is chosen is right; None if nothing is chosen."""
        if self.chosen is None:
            return None
        if not self.at:
            return self.chosen == self.answer
        return math.hypot(*self.chosen) > 0 and angle(self.chosen, self.truth) <= self.tolerance

    @property
    def window(self) -> tuple[float, float, float]:
        """Centre (x, y) and half the width of what is drawn; where the truth points does not matter."""
        x, y = np.array(list(self.points.values())).T
        centre = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
        reach = max(x.max() - centre[0], y.max() - centre[1])
        from_centre = math.hypot(self.points[self.at][0] - centre[0], self.points[self.at][1] - centre[1])
        return (*centre, 1.15 * max(reach, from_centre + math.hypot(*self.truth)) + 0.1)

    def _picture(self) -> plots.Figure:
        """Draw the question, without its answer."""
        lines = textwrap.wrap(self.title, 72)
        for text in self.options:
            lines += textwrap.wrap(text, 66, initial_indent="   \N{WHITE CIRCLE} ", subsequent_indent=" " * 7)
        plane = 2.8 if self.at else 0
        height = 0.2 * len(lines) + 0.25 + plane
        figure = plots.Figure(figsize=(5.6, height))
        figure.text(0.02, 1 - 0.1 / height, "\n".join(lines), va="top", fontsize=9, linespacing=1.5)
        figure.alt = f"Question: {self.title} "
        if self.at:
            self._draw_plane(figure.add_axes((0.02, 0.02, 0.96, plane / height)))
            places = ", ".join(f"{name} at ({x:.2g}, {y:.2g})" for name, (x, y) in self.points.items())
            figure.alt += f"A plane with {places}; the arrow to draw starts at {self.at}."
        else:
            figure.alt += f"Options: {'; '.join(f'({i + 1}) {text}' for i, text in enumerate(self.options))}."
        return figure

    def _draw_plane(self, axes: Any) -> None:
        for name, point in self.points.items():
            look = ROLE_LOOKS.get(name, ROLE_LOOKS["a"])
            axes.plot(*point, look["marker"], color=look["color"], markersize=9)
            axes.annotate(name, point, (7, 5), textcoords="offset points", fontsize=9)
        axes.plot(*self.points[self.at], "o", markersize=20, fillstyle="none", color="#767676", linestyle="none")
        x, y, half = self.window
        axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal", xticks=[], yticks=[])
        axes.spines[:].set_visible(False)


def _option(name: str, number: Any, options: Sequence[str], error: type[Exception] = ValueError) -> int:
    """Return the number of an option, or raise the error."""
    if type(number) is not int or not 0 <= number < len(options):
        raise error(f"{name} must be the number of an option, 0 to {len(options) - 1}; got {number!r}")
    return number
