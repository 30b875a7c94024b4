"""The gradient explorer: three points to drag, and what the triplet loss and the SST loss do with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle
from numpy.typing import NDArray

from ... import geometry
from ...figures import plots
from .base import ROLE_LOOKS, Drawn, finite_point, one_of, script, within

__all__ = ["STARTS", "GradientExplorer"]

REACH = (4, 3)  # of the plane that is drawn, to each side of (0, 0)
MOST_MARGIN = 4
SCALE = 1 / 4  # an arrow is this much of the negative gradient
LONGEST = 2.0  # of an arrow, in the units of the plane
RATE, STEPS = 0.02, 300  # of the descent once the points are let go

#: Named positions of anchor, positive and negative.
STARTS: dict[str, tuple[tuple[float, float], ...]] = {
    "violated": ((-1.0, -0.4), (0.9, 0.2), (-0.1, 1.0)),
    "satisfied": ((-0.6, 0.0), (0.6, 0.0), (-0.2, 1.7)),
    "negative between a and p": ((1.5, 0.0), (-1.5, 0.0), (0.4, 0.0)),
    "negative behind the positive": ((-1.0, 0.0), (1.0, 0.0), (1.6, 0.0)),
    "collapse": ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
}
_ROLES = ("anchor", "positive", "negative")
_VERMILION = plots.OKABE_ITO["vermilion"]


def _flatness(a: NDArray, p: NDArray, n: NDArray) -> float:
    """Return 1 for points on a line, down to 0 for a clear triangle: arrows on a line are drawn beside each other."""
    (ux, uy), (vx, vy) = p - a, n - a
    most = max(((p - a) ** 2).sum(), ((n - a) ** 2).sum(), ((n - p) ** 2).sum())
    return max(0.0, 1 - abs(ux * vy - uy * vx) / (0.15 * most)) if most else 1.0


class _Point(traitlets.TraitType):
    """Two finite numbers within the plane, kept as a list."""

    def validate(self, obj: Any, value: Any) -> list[float]:
        point = finite_point(self.name, value)
        for axis, x, reach in zip("xy", point, REACH, strict=True):
            within(f"{axis} of {self.name}", x, -reach, reach)
        return point


class GradientExplorer(Drawn):
    """Drag anchor, positive and negative; see the forces of the triplet loss and of the SST loss side by side.

    Both panels show the same three points. An arrow is a quarter of the negative gradient with respect to its point.
    Below, the triangles of figure 2 show the forces for embeddings that are single numbers; their marker is the
    triplet of the first coordinates, and moves the points when it is dragged.

    Parameters
    ----------
    start : str
        A name of :data:`STARTS`; "Reset" comes back to it.
    **kwargs
        Values of the attributes below.

    Attributes
    ----------
    anchor, positive, negative : list of 2 floats
        The points: x from -4 to 4, y from -3 to 3.
    margin : float
        Of the triplet loss, from 0 to 4.
    panels : bool
        Whether the triangles are shown.
    steps : int
        How many steps, 0 to 300, the points have followed their forces since they were let go; see :meth:`descend`.
    triplet_loss, sst_loss, z : float
        The values of the losses and the argument of the SST loss before the points are let go; read-only.

    Raises
    ------
    ValueError
        If there is no such start.
    traitlets.TraitError
        If a point is not two finite numbers in the plane, or the margin is out of its range.

    Examples
    --------
    >>> explorer = GradientExplorer("negative behind the positive")
    >>> explorer.triplet_loss, round(explorer.sst_loss, 2)
    (0.0, 0.94)
    """

    _esm = script("gradients")
    anchor = _Point([-1.0, -0.4]).tag(sync=True)
    positive = _Point([0.9, 0.2]).tag(sync=True)
    negative = _Point([-0.1, 1.0]).tag(sync=True)
    margin = traitlets.Float(1.0).tag(sync=True)
    panels = traitlets.Bool(True).tag(sync=True)
    steps = traitlets.Int(0).tag(sync=True)
    triplet_loss = traitlets.Float(read_only=True).tag(sync=True)
    sst_loss = traitlets.Float(read_only=True).tag(sync=True)
    z = traitlets.Float(read_only=True).tag(sync=True)
    starts = traitlets.Dict(STARTS, read_only=True).tag(sync=True)
    home = traitlets.Dict(read_only=True).tag(sync=True)  # what "Reset" comes back to

    def __init__(self, start: str = "violated", **kwargs: Any) -> None:
        points = dict(zip(_ROLES, STARTS[one_of("start", start, list(STARTS), ValueError)], strict=True))
        super().__init__(**{"title": "Gradient explorer"} | points | kwargs)
        self.fill(home={name: getattr(self, name) for name in (*_ROLES, "margin")})
        self._evaluate()

    @traitlets.validate("margin")
    def _check_margin(self, proposal: Any) -> float:
        return within("margin", proposal.value, 0, MOST_MARGIN)

    @traitlets.validate("steps")
    def _check_steps(self, proposal: Any) -> int:
        return within("steps", proposal.value, 0, STEPS)

    @traitlets.observe(*_ROLES, "margin")
    def _evaluate(self, change: Any = None) -> None:
        points = self.anchor, self.positive, self.negative
        triplet, sst = geometry.triplet(*points, self.margin)[0], geometry.sst(*points)[0]
        self.fill(triplet_loss=triplet, sst_loss=sst, z=geometry.sst_logit(*points))

    def descend(self, loss: str) -> np.ndarray:
        """Let the points follow the negative gradients of a loss.

        Parameters
        ----------
        loss : {"triplet", "sst"}

        Returns
        -------
        (steps + 1, 3, 2) array
            Anchor, positive and negative from their start on, after each of `steps` steps of gradient descent with
            learning rate 0.02.
        """
        way = [np.array([self.anchor, self.positive, self.negative])]
        for _ in range(self.steps):
            way.append(way[-1] - RATE * np.stack(self._loss(loss, way[-1])[1]))
        return np.stack(way)

    def _loss(self, loss: str, points: NDArray) -> tuple[NDArray, Sequence[NDArray]]:
        return geometry.sst(*points) if loss == "sst" else geometry.triplet(*points, self.margin)

    def _picture(self) -> plots.Figure:
        """Draw the two planes with matplotlib."""
        figure = plots.Figure(figsize=(7.2, 3.0))
        told = []
        for column, (loss, name) in enumerate({"triplet": "Triplet loss", "sst": "SST loss"}.items()):
            axes = figure.add_axes((0.035 + 0.49 * column, 0.07, 0.465, 0.83))
            way = self.descend(loss)
            a, p, n = way[-1]
            value, slopes = self._loss(loss, way[-1])
            if loss == "sst":
                _draw_sphere(axes, a, p)
                title = f"{name}: {value:.2f}   (z = {geometry.sst_logit(a, p, n):.2f})".replace("-", "−")
            else:
                radius = math.sqrt(float(((a - p) ** 2).sum()) + self.margin)
                axes.add_patch(Circle(a, radius, facecolor=_VERMILION, alpha=0.16))
                axes.add_patch(Circle(a, radius, fill=False, edgecolor=_VERMILION, linewidth=1))
                title = f"{name} (margin {self.margin:.2g}): {value:.2f}"
            for letter, trail in zip("apn", way.swapaxes(0, 1), strict=True):
                axes.plot(*trail.T, ":", color=ROLE_LOOKS[letter]["color"])
            _draw_points(axes, (a, p, n), slopes)
            axes.set(xlim=(-REACH[0], REACH[0]), ylim=(-REACH[1], REACH[1]), aspect="equal", title=title)
            axes.set(xticks=range(-4, 5, 2), yticks=range(-2, 3, 2))
            places = ", ".join(f"{x} ({at[0]:.2f}, {at[1]:.2f})" for x, at in zip("apn", way[-1], strict=True))
            lengths = ", ".join(f"{x} {np.linalg.norm(g):.2f}" for x, g in zip("apn", slopes, strict=True))
            told.append(f"{title}; points {places}; lengths of the gradients {lengths}")
        after = f", {self.steps} steps of descent after a common start" if self.steps else ""
        figure.alt = (
            f"Two planes with an anchor a, a positive p and a negative n{after}; arrows are negative gradients. Left: "
            f"{told[0]}; a disc around a is where a negative is pushed. Right: {told[1]}; the circle z = 0 is around "
            "the midpoint of a and p, and a shade fades across it."
        )
        return figure


def _draw_sphere(axes: Any, a: NDArray, p: NDArray) -> None:
    """Draw the sphere z = 0 and shade the plane by the weight that a negative has there."""
    centre, radius = geometry.sphere(a, p)
    place = np.stack(np.meshgrid(*[np.linspace(-reach, reach, 161) for reach in REACH]), axis=-1)
    weight = 1 / (1 + np.exp(np.minimum(((place - centre) ** 2).sum(-1) - radius**2, 50)))
    shade = np.empty((*weight.shape, 4))
    shade[..., :3], shade[..., 3] = to_rgb(_VERMILION), 0.3 * weight
    axes.imshow(shade, extent=(-REACH[0], REACH[0], -REACH[1], REACH[1]), origin="lower")
    axes.add_patch(Circle(centre, radius, fill=False, linestyle="--", linewidth=1))
    axes.plot(*centre, "+", color="#1b1d21")


def _draw_points(axes: Any, points: Sequence[NDArray], gradients: Sequence[NDArray]) -> None:
    """Draw anchor, positive and negative, and arrows of a quarter of their negative gradients."""
    aside = 0.24 * _flatness(*points)
    for letter, point, gradient in zip("apn", points, gradients, strict=True):
        # A letter must be smaller, and sit lower, to fit into the triangle of the negative.
        size, low, font = (15, -4, 7) if letter == "n" else (12, -2.5, 8)
        axes.plot(*point, **ROLE_LOOKS[letter], markersize=size, markeredgecolor="white", zorder=4)
        text = {"textcoords": "offset points", "color": "white", "ha": "center", "weight": "bold", "zorder": 5}
        axes.annotate(letter, point, (0, low), fontsize=font, **text)
        length = float(np.linalg.norm(gradient))
        if length > 0:
            way = -gradient / length
            foot = point + 0.25 * way + (letter != "n") * aside * np.array([-way[1], way[0]])
            tip = foot + min(SCALE * length, LONGEST) * way
            plots.draw_arrow(axes, foot, tip, ROLE_LOOKS[letter]["color"], width=1.8, head=9, zorder=3)
