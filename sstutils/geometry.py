"""The geometry of one triplet: value and closed-form gradient of the losses, in numpy.

Notation: anchor ``a``, positive ``p``, negative ``n``; ``d2(x, y) = |x - y|^2``. They are arrays (or plain lists of
numbers) of shape (..., d): a point is the last axis, and the leading ones broadcast, so that one call answers for one
triplet or for a grid, and returns values of shape (...). The batch versions, on torch tensors, are in
:mod:`sstutils.losses`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import one_of, real_array, real_number, whole_number

Three = tuple[NDArray, NDArray, NDArray]


def sst_logit(a: ArrayLike, p: ArrayLike, n: ArrayLike) -> NDArray:
    """Return the argument of the SST loss, z = d2(a, p) - (d2(a, n) + d2(p, n)) / 2.

    With the midpoint c = (a + p) / 2 it reads z = 3/4 d2(a, p) - d2(n, c): see :func:`sphere`.
    """
    a, p, n = _points(a, p, n)
    return _d2(a, p) - (_d2(a, n) + _d2(p, n)) / 2


def sst(a: ArrayLike, p: ArrayLike, n: ArrayLike) -> tuple[NDArray, Three]:
    """Compute the stochastic symmetric triplet loss, log(1 + exp(z)) with z of :func:`sst_logit`, and its gradient.

    With s = 1 / (1 + exp(-z)), the three gradients (they add up to zero) are::

        s (a - 2p + n),    s (p - 2a + n),    s (a + p - 2n) = -2 s (n - c)

    so a step of descent moves the negative straight away from the midpoint c = (a + p) / 2.

    Returns
    -------
    value : ndarray, shape (...)
    gradients : tuple of three ndarrays, shape (..., d)
        With respect to a, p and n.

    References
    ----------
    Nguyen and De Baets (2020), "Improved deep embedding learning based on stochastic symmetric triplet loss and
    local sampling", Neurocomputing 402, 209-219.
    """
    a, p, n = _points(a, p, n)
    z = sst_logit(a, p, n)
    # log-sum-exp on both sides: neither the value nor the sigmoid overflows, whatever the size of z
    s = np.exp(-np.logaddexp(0, -z))[..., None]
    return np.logaddexp(0, z), (s * (a - 2 * p + n), s * (p - 2 * a + n), s * (a + p - 2 * n))


def triplet(a: ArrayLike, p: ArrayLike, n: ArrayLike, margin: float = 1.0) -> tuple[NDArray, Three]:
    """Compute the triplet loss, max(0, d2(a, p) + margin - d2(a, n)), and its gradient.

    Where the loss is above zero the three gradients are 2(n - p), 2(p - a) and 2(a - n); elsewhere they vanish. The
    `margin` is in units of squared distance; what is returned is that of :func:`sst`.
    """
    a, p, n = _points(a, p, n)
    z = _d2(a, p) + real_number("margin", margin) - _d2(a, n)
    active = (z > 0)[..., None]
    return np.maximum(z, 0), (active * 2 * (n - p), active * 2 * (p - a), active * 2 * (a - n))


def sphere(a: ArrayLike, p: ArrayLike) -> tuple[NDArray, NDArray]:
    """Return the sphere z = 0 of the SST loss, inside which a negative costs more than log 2: its centre and radius.

    They are the midpoint (a + p) / 2, (..., d), and sqrt(3) / 2 |a - p|, (...), the height of an equilateral triangle
    over the side from a to p.
    """
    a, p = _points(a, p)
    return (a + p) / 2, np.sqrt(0.75 * _d2(a, p))


# The gradient fields of Nguyen and De Baets (2020), figure 2: embeddings are single numbers, and a triplet is told by
# its differences u = a - p, v = p - n, w = n - a. They add up to zero, so they fill a ternary plot.


class TernaryField(NamedTuple):
    """Negative gradients of a loss over the ternary plot; N points, barycentric b + r + l = 1."""

    b: NDArray  #: (N,) bottom axis, u = -2 + 6 b
    r: NDArray  #: (N,) right axis, v = -2 + 6 r
    l: NDArray  #: (N,) left axis, w = -2 + 6 l  # noqa: E741
    panels: NDArray  #: (3, N) with respect to the anchor, the positive, the negative


def ternary_coordinates(resolution: int) -> Three:
    """Return the barycentric coordinates b, r, l of a regular triangular grid with 1 step or more along a side.

    All are at least 0, with b + r + l = 1; edges and vertices are included.
    """
    whole_number("resolution", resolution)
    b, r = np.nonzero(np.tri(resolution + 1)[::-1])  # all whole numbers with b + r <= resolution
    return b / resolution, r / resolution, (resolution - b - r) / resolution


def ternary_field(loss: str = "sst", resolution: int = 100, margin: float = 1.0) -> TernaryField:
    """Tell where a triplet of numbers is driven: negative gradients over u + v + w = 0, each from -2 to 4.

    The arguments are those of :func:`scalar_field` and :func:`ternary_coordinates`.
    """
    b, r, l = ternary_coordinates(resolution)  # noqa: E741
    return TernaryField(b, r, l, scalar_field(loss, -2 + 6 * b, -2 + 6 * r, margin))


def scalar_field(loss: str, u: ArrayLike, v: ArrayLike, margin: float = 1.0) -> NDArray:
    """Return the negative gradients of a loss at scalar embeddings with a - p = u and p - n = v (hence n - a = -u - v).

    The loss is "sst" or "triplet", of which only the latter has a `margin`. The result, (3, ...), is with respect to
    the anchor, the positive and the negative.
    """
    u, v = np.broadcast_arrays(real_array(u, "u"), real_array(v, "v"))
    a, p, n = u[..., None], np.zeros_like(u)[..., None], -v[..., None]
    _, gradients = sst(a, p, n) if one_of("loss", loss, ("sst", "triplet")) == "sst" else triplet(a, p, n, margin)
    return -np.stack(gradients)[..., 0]


def _d2(x: NDArray, y: NDArray) -> NDArray:
    return ((x - y) ** 2).sum(-1)


def _points(*points: ArrayLike) -> list[NDArray]:
    """Return the points as float64 arrays of one common shape (..., d)."""
    points = [np.atleast_1d(real_array(x, "points")) for x in points]
    if len({x.shape[-1] for x in points}) > 1:
        shapes = ", ".join(str(x.shape) for x in points)
        raise ValueError(f"points of different dimensions: got shapes {shapes}, need one common last axis")
    return list(np.broadcast_arrays(*points))
