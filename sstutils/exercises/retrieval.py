"""Exercises on retrieval and its measures."""

import numpy as np

from .base import exercise


def chance_recall(counts):
    """Return the expected Recall@1 if the nearest other item were drawn at random."""
    counts = np.asarray(counts)
    total = counts.sum()
    return (counts * (counts - 1)).sum() / (total * (total - 1))


def recall_at_1(d2, labels):
    """Return the share of items whose nearest other item is of their class."""
    d2 = d2.copy()
    np.fill_diagonal(d2, np.inf)
    return np.mean(labels[d2.argmin(axis=1)] == labels)


def recall_at_k(d2, labels, k):
    """Return the share of items with an item of their class among their k nearest others."""
    d2 = d2.copy()
    np.fill_diagonal(d2, np.inf)
    nearest = d2.argsort(axis=1)[:, :k]
    return (labels[nearest] == labels[:, None]).any(axis=1).mean()


def precision_at_r(d2, labels, i):
    """Return the average precision at R of item i, the share of MAP@R that is its own."""
    others = np.delete(np.argsort(d2[i]), np.argsort(d2[i]) == i)
    r = (labels == labels[i]).sum() - 1
    hits = labels[others[:r]] == labels[i]
    return (hits * hits.cumsum() / np.arange(1, r + 1)).sum() / r


def nearest_positive_rank(d2, labels, i):
    """Return the rank, from 1, of the nearest item of the class of i among all others."""
    others = np.arange(len(labels)) != i
    same = labels == labels[i]
    nearest = d2[i, others & same].min()
    return 1 + (d2[i, others] < nearest).sum()


exercise(chance_recall, task="")
exercise(recall_at_1, task="")
exercise(recall_at_k, task="")
exercise(precision_at_r, task="")
exercise(nearest_positive_rank, task="")
