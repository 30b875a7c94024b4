"""Exercises on distances and neighbors."""

import numpy as np

from .base import exercise


def squared_distances(x):
    """Return the (N, N) matrix of the squared Euclidean distances between the rows of x."""
    difference = x[:, None] - x[None, :]
    return (difference**2).sum(-1)


exercise(
    squared_distances,
    task="Return the matrix of the squared Euclidean distances between all rows of x, (N, d), without a loop.",
)


def nearest_other(d2, i):
    """Return the index of the item nearest to item i, other than i itself."""
    row = d2[i].copy()
    row[i] = np.inf
    return np.argmin(row)


exercise(
    nearest_other,
    task="To do.",
)
