"""Predict, then reveal: the reader commits to an answer before the truth is drawn over it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from ...figures import plots
from .base import Drawn, script

__all__ = ["Predict", "angle"]


def angle(u: ArrayLike, v: ArrayLike) -> float:
    """Return the angle between two vectors of the plane in degrees, from 0 to 180.

    Parameters
    ----------
    u, v : array_like, shape (2,)
        Neither is zero.

    Returns
    -------
    float
    """
    (a, b), (c, d) = u, v
    return abs(math.degrees(math.atan2(a * d - b * c, a * c + b * d)))


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
        answer: int,
        because: str = "",
        feedback: Mapping[int, str] | None = None,
    ) -> None:
        if isinstance(options, str):
            raise ValueError(f"options must be a list of texts, got {options!r}")
        options, feedback = list(options), dict(feedback or {})
        if len(options) < 2:
            raise ValueError(f"a question needs at least 2 options, got {len(options)}")
        for name, number in [("answer", answer), *(("feedback", key) for key in feedback)]:
            if not _is_option(number, len(options)):
                raise ValueError(f"{name} must be the number of an option, 0 to {len(options) - 1}, got {number!r}")
        self._fill(
            question,
            because,
            options=options,
            answer=answer,
            feedback=[feedback.get(i, "") for i in range(len(options))],
        )

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

        Returns
        -------
        Predict

        Raises
        ------
        ValueError
            If a point is not two finite numbers, the arrow begins nowhere, or the truth has no length.
        """
        places = {name: _vector(f"point {name!r}", point) for name, point in points.items()}
        truth = _vector("truth", truth)
        if at not in places:
            raise ValueError(f"at must be one of the points {', '.join(map(repr, places))}, got {at!r}")
        if not math.hypot(*truth) > 0:
            raise ValueError("the true arrow has no length, so no direction: ask with options instead")
        if not 0 <= tolerance <= 180:
            raise ValueError(f"tolerance is an angle of 0 to 180 degrees, got {tolerance!r}")
        self = cls.__new__(cls)
        self._fill(question, because, points=places, at=at, truth=truth, tolerance=float(tolerance))
        return self

    def _fill(self, question: str, because: str, **values: Any) -> None:
        super().__init__(title=question)
        for name, value in {"because": because, **values}.items():
            self.set_trait(name, value)

    @traitlets.validate("chosen")
    def _check_chosen(self, proposal: Any) -> Any:
        value = proposal.value
        if value is None:
            return None
        try:
            if self.at:
                return _vector("chosen", value)
            if _is_option(value, len(self.options)):
                return int(value)
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None
        raise traitlets.TraitError(
            f"chosen must be the number of an option, 0 to {len(self.options) - 1}, got {value!r}"
        )

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

    def picture(self) -> plots.Figure:
        """Draw the question, without its answer."""
        question = textwrap.wrap(self.title, 72)
        with plots.style():
            if not self.at:
                rows = [textwrap.wrap(text, 66) or [""] for text in self.options]
                height = 0.22 * (len(question) + sum(map(len, rows))) + 0.35
                figure = plots.Figure(figsize=(5.6, height))
                y = height - 0.2
                for i, line in enumerate([*question, *(line for row in rows for line in row)]):
                    figure.text(0.02 if i < len(question) else 0.07, y / height, line, va="center", fontsize=9)
                    y -= 0.22
                y = height - 0.2 - 0.22 * len(question)
                for row in rows:
                    figure.text(0.035, y / height, "○", va="center", fontsize=9)
                    y -= 0.22 * len(row)
                listed = "; ".join(f"({i + 1}) {text}" for i, text in enumerate(self.options))
                figure.alt = f"Question: {self.title} Options: {listed}."
                return figure
            height = 3.0 + 0.2 * len(question)
            figure = plots.Figure(figsize=(5.6, height))
            figure.text(0.02, 1 - 0.1 / height, "\n".join(question), va="top", fontsize=9)
            axes = figure.add_axes((0.02, 0.02, 0.96, 2.8 / height))
            x, y, half = self.window
            looks = {
                "a": ("o", "#1b1d21"),
                "p": ("s", plots.OKABE_ITO["blue"]),
                "n": ("^", plots.OKABE_ITO["vermilion"]),
            }
            for name, point in self.points.items():
                marker, colour = looks.get(name, ("o", "#1b1d21"))
                axes.plot(*point, marker, color=colour, markersize=9)
                axes.annotate(name, point, (7, 5), textcoords="offset points", fontsize=9)
            axes.plot(*self.points[self.at], "o", markersize=20, fillstyle="none", color="#767676", linestyle="none")
            axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal", xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        listed = ", ".join(f"{name} at ({px:.2g}, {py:.2g})" for name, (px, py) in self.points.items())
        figure.alt = f"Question: {self.title} A plane with {listed}; the arrow to draw begins at {self.at}."
        return figure


def _is_option(number: Any, count: int) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and 0 <= number < count


def _vector(name: str, value: Any) -> list[float]:
    try:
        vector = [float(x) for x in value]
    except (TypeError, ValueError):
        vector = []
    if len(vector) != 2 or not all(map(math.isfinite, vector)):
        raise ValueError(f"{name} must be two finite numbers (x, y), got {value!r}")
    return vector
