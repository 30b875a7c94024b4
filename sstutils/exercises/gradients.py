"""Exercises on gradients by hand, and how to check them."""

import numpy as np

from .base import exercise


def triplet_gradient(a, p, n, margin):
    """Return the gradients of the triplet loss with respect to a, p and n."""
    active = ((a - p) ** 2).sum() + margin > ((a - n) ** 2).sum()
    return active * 2 * (n - p), active * 2 * (p - a), active * 2 * (a - n)


def sst_gradient(a, p, n):
    """Return the gradients of the SST loss with respect to a, p and n."""
    z = ((a - p) ** 2).sum() - (((a - n) ** 2).sum() + ((p - n) ** 2).sum()) / 2
    s = 1 / (1 + np.exp(-z))
    return s * (a - 2 * p + n), s * (p - 2 * a + n), s * (a + p - 2 * n)


def central_difference(f, x, h):
    """Return the gradient of f at x by central differences of step h."""
    steps = h * np.eye(len(x))
    return np.array([(f(x + step) - f(x - step)) / (2 * h) for step in steps])


exercise(triplet_gradient, task="")
exercise(sst_gradient, task="")
exercise(central_difference, task="")
