"""Exercises on neighborhoods and the triplets in them."""

import numpy as np

from .base import exercise


def nearest_positives(d2, labels, k):
    """Return all pairs (anchor, positive) of an item and its k nearest others of its class."""
    pairs = []
    for i in range(len(labels)):
        others = [j for j in range(len(labels)) if labels[j] == labels[i] and j != i]
        others.sort(key=lambda j: d2[i, j])
        pairs += [(i, j) for j in others[:k]]
    return pairs


def count_triplets(labels, k):
    """Return how many triplets a batch has with k nearest positives and all negatives."""
    _, counts = np.unique(labels, return_counts=True)
    return sum(n * min(k, n - 1) * (len(labels) - n) for n in counts)


def neighborhoods(assignment, B, rng):
    """Return one batch of at most B items for each cluster, as a list of arrays of indices."""
    batches = []
    for cluster in np.unique(assignment):
        members = np.flatnonzero(assignment == cluster)
        if len(members) > B:
            members = rng.choice(members, B, replace=False)
        batches.append(members)
    return batches


exercise(nearest_positives, task="")
exercise(count_triplets, task="")
exercise(neighborhoods, task="")
