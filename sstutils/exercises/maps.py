"""Exercises on maps of an embedding."""

import numpy as np

from .base import exercise


def perplexity(p):
    """Return 2 to the entropy, in bits, of a distribution."""
    p = p[p > 0]
    return 2 ** -(p * np.log2(p)).sum()


def neighbor_recall(d2, layout_d2, k):
    """Return the share of the k nearest others that are among the k nearest others on the map."""
    shares = []
    for i in range(len(d2)):
        before = [j for j in np.argsort(d2[i]) if j != i][:k]
        after = [j for j in np.argsort(layout_d2[i]) if j != i][:k]
        shares.append(len(set(before) & set(after)) / k)
    return np.mean(shares)


def nearest_image(layout, centre):
    """Return the index of the point of the map that is nearest to the centre of a cell."""
    return ((layout - centre) ** 2).sum(axis=1).argmin()


exercise(perplexity, task="")
exercise(neighbor_recall, task="")
exercise(nearest_image, task="")
