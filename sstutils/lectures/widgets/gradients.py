"""The gradient explorer: three points to drag, and what the triplet loss and the SST loss do with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import traitlets
from matplotlib.patches import Circle
from numpy.typing import ArrayLike, NDArray

from ... import geometry
from ...figures import plots
from .base import Drawn, script

__all__ = ["STARTS", "GradientExplorer", "ternary_point"]

REACH = (4.0, 3.0)  # of the plane that is drawn, to each side of (0, 0)
MOST_MARGIN = 4.0
SCALE = 1 / 4  # an arrow is this much of the negative gradient
LONGEST = 2.0  # of an arrow, in the units of the plane

#: Named positions of anchor, positive and negative.
STARTS: dict[str, tuple[tuple[float, float], ...]] = {
    "violated": ((-1.0, -0.4), (0.9, 0.2), (-0.1, 1.0)),
    "satisfied": ((-0.6, 0.0), (0.6, 0.0), (-0.2, 1.7)),
    "negative between a and p": ((1.5, 0.0), (-1.5, 0.0), (0.4, 0.0)),
    "negative behind the positive": ((-1.0, 0.0), (1.0, 0.0), (1.6, 0.0)),
    "collapse": ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
}
_ROLES = ("anchor", "positive", "negative")


def ternary_point(a: ArrayLike, p: ArrayLike, n: ArrayLike) -> tuple[NDArray, bool]:
    """Return where a triplet lies in the triangles of figure 2: the first coordinates of its points, as numbers.

    Parameters
    ----------
    a, p, n : array_like, shape (2,)
        Anchor, positive and negative.

    Returns
    -------
    (u, v, w) : ndarray, shape (3,)
        a - p, p - n and n - a, moved to the nearest point of the triangle: each at least -2, the sum 0.
    exact : bool
        Whether the triplet is on one horizontal line and inside of the triangle, so that nothing was lost.
    """
    a, p, n = (np.asarray(x, dtype=float) for x in (a, p, n))
    uvw = np.array([a[0] - p[0], p[0] - n[0], n[0] - a[0]])
    # The nearest point of a simplex: lower all by the same amount and cut at zero, so that the sum is right.
    share = np.sort(uvw + 2)[::-1]
    excess = (np.cumsum(share) - 6) / np.arange(1, 4)
    lower = excess[np.flatnonzero(share > excess)[-1]]
    inside = bool((uvw >= -2 - 1e-9).all())
    return (uvw if inside else np.maximum(uvw + 2 - lower, 0) - 2), inside and a[1] == p[1] == n[1]


def _flatness(a: NDArray, p: NDArray, n: NDArray) -> float:
    """Return 1 for points on a line, down to 0 for a clear triangle: arrows on a line are drawn beside each other."""
    (ux, uy), (vx, vy) = p - a, n - a
    most = max(((p - a) ** 2).sum(), ((n - a) ** 2).sum(), ((n - p) ** 2).sum())
    return max(0.0, 1 - abs(ux * vy - uy * vx) / (0.15 * most)) if most else 1.0


class _Point(traitlets.TraitType):
    """Two finite numbers within the plane, kept as a list."""

    def validate(self, obj: Any, value: Any) -> list[float]:
        try:
            point = [float(x) for x in value]
        except (TypeError, ValueError):
            point = []
        if len(point) != 2 or not all(map(math.isfinite, point)):
            raise traitlets.TraitError(f"{self.name} is a point, two finite numbers (x, y): got {value!r}")
        if any(abs(x) > reach for x, reach in zip(point, REACH, strict=True)):
            raise traitlets.TraitError(
                f"{self.name} must lie in the plane that is drawn, x from -4 to 4 and y from -3 to 3: got {value!r}"
            )
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
    triplet_loss, sst_loss, z : float
        The values of the losses and the argument of the SST loss; read-only.

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
    triplet_loss = traitlets.Float(read_only=True).tag(sync=True)
    sst_loss = traitlets.Float(read_only=True).tag(sync=True)
    z = traitlets.Float(read_only=True).tag(sync=True)
    starts = traitlets.Dict(STARTS, read_only=True).tag(sync=True)
    home = traitlets.Dict(read_only=True).tag(sync=True)  # what "Reset" comes back to

    def __init__(self, start: str = "violated", **kwargs: Any) -> None:
        if start not in STARTS:
            raise ValueError(f"start must be one of {', '.join(map(repr, STARTS))}, got {start!r}")
        points = dict(zip(_ROLES, STARTS[start], strict=True))
        super().__init__(**{"title": "Gradient explorer"} | points | kwargs)
        self.set_trait("home", {name: getattr(self, name) for name in (*_ROLES, "margin")})
        self._evaluate()

    @traitlets.validate("margin")
    def _check_margin(self, proposal: Any) -> float:
        if not 0 <= proposal.value <= MOST_MARGIN:
            raise traitlets.TraitError(f"margin must be a number from 0 to {MOST_MARGIN:g}, got {proposal.value!r}")
        return proposal.value

    @traitlets.observe(*_ROLES, "margin")
    def _evaluate(self, change: Any = None) -> None:
        points = self.anchor, self.positive, self.negative
        self.set_trait("triplet_loss", float(geometry.triplet(*points, self.margin)[0]))
        self.set_trait("sst_loss", float(geometry.sst(*points)[0]))
        self.set_trait("z", float(geometry.sst_logit(*points)))

    def picture(self) -> plots.Figure:
        """Draw the two planes with matplotlib."""
        points = a, p, n = [np.array(getattr(self, role)) for role in _ROLES]
        blue, vermilion = plots.OKABE_ITO["blue"], plots.OKABE_ITO["vermilion"]
        marks = (("a", "o", "#1b1d21"), ("p", "s", blue), ("n", "^", vermilion))
        aside = 0.24 * _flatness(a, p, n)
        told = []
        with plots.style():
            figure = plots.Figure(figsize=(7.2, 3.0))
            for column, (name, (loss, gradients)) in enumerate(
                {"triplet": geometry.triplet(a, p, n, self.margin), "SST": geometry.sst(a, p, n)}.items()
            ):
                axes = figure.add_axes((0.035 + 0.49 * column, 0.07, 0.465, 0.83))
                if name == "triplet":
                    radius = math.sqrt(float(((a - p) ** 2).sum()) + self.margin)
                    axes.add_patch(Circle(a, radius, facecolor=vermilion, alpha=0.16))
                    axes.add_patch(Circle(a, radius, fill=False, edgecolor=vermilion, linewidth=1))
                    axes.set_title(f"Triplet loss (margin {self.margin:.2g}): {loss:.2f}")
                else:
                    centre, radius = geometry.sphere(a, p)
                    ticks = [np.linspace(-reach, reach, 161) for reach in REACH]
                    place = np.stack(np.meshgrid(*ticks), axis=-1)
                    weight = 1 / (1 + np.exp(np.minimum(((place - centre) ** 2).sum(-1) - radius**2, 50)))
                    shade = np.empty((*weight.shape, 4))
                    shade[..., :3] = [int(vermilion[i : i + 2], 16) / 255 for i in (1, 3, 5)]
                    shade[..., 3] = 0.3 * weight
                    axes.imshow(shade, extent=(-REACH[0], REACH[0], -REACH[1], REACH[1]), origin="lower")
                    axes.add_patch(Circle(centre, radius, fill=False, linestyle="--", linewidth=1))
                    axes.plot(*centre, "+", color="#1b1d21")
                    axes.set_title(f"SST loss: {loss:.2f}   (z = {self.z:.2f})".replace("-", "−"))
                for point, gradient, (letter, marker, colour) in zip(points, gradients, marks, strict=True):
                    axes.plot(
                        *point,
                        marker,
                        color=colour,
                        markersize=15 if letter == "n" else 12,
                        markeredgecolor="white",
                        zorder=4,
                    )
                    axes.annotate(
                        letter,
                        point,
                        (0, -4 if letter == "n" else -2.5),
                        textcoords="offset points",
                        color="white",
                        ha="center",
                        fontsize=7 if letter == "n" else 8,
                        weight="bold",
                        zorder=5,
                    )
                    length = float(np.linalg.norm(gradient))
                    told.append(f"{letter} {length:.2f}")
                    if length > 0:
                        way = -gradient / length
                        step = min(SCALE * length, LONGEST) * way
                        foot = point + 0.25 * way + (letter != "n") * aside * np.array([-way[1], way[0]])
                        plots.draw_arrow(axes, foot, foot + step, colour, width=1.8, head=9, zorder=3)
                axes.set(xlim=(-REACH[0], REACH[0]), ylim=(-REACH[1], REACH[1]), aspect="equal")
                axes.set(xticks=range(-4, 5, 2), yticks=range(-2, 3, 2))
        figure.alt = (
            f"Two planes with the same anchor a at ({a[0]:.2f}, {a[1]:.2f}), positive p at ({p[0]:.2f}, {p[1]:.2f}) "
            f"and negative n at ({n[0]:.2f}, {n[1]:.2f}); arrows are negative gradients. Left, the triplet loss "
            f"with margin {self.margin:.2g} is {self.triplet_loss:.2f}, the gradients have lengths "
            f"{', '.join(told[:3])}, and a disc around a shows where a negative is pushed. Right, the SST loss is "
            f"{self.sst_loss:.2f} (z = {self.z:.2f}), lengths {', '.join(told[3:])}, with the circle z = 0 around the "
            f"midpoint of a and p, and a shade that fades across it."
        )
        return figure
