"""Exercises on honest numbers: intervals, splits and clusterings."""

import math

import numpy as np

from .base import exercise


def confidence_interval(values):
    """Return the ends of the 95 % confidence interval of the mean, by Student's t."""
    from scipy import stats

    count = len(values)
    error = np.std(values, ddof=1) / math.sqrt(count)
    half = stats.t.ppf(0.975, count - 1) * error
    return np.mean(values) - half, np.mean(values) + half


def paired_interval(a, b):
    """Return the ends of the 95 % confidence interval of the mean of a - b, seed by seed."""
    from scipy import stats

    difference = np.asarray(a) - np.asarray(b)
    count = len(difference)
    half = stats.t.ppf(0.975, count - 1) * difference.std(ddof=1) / math.sqrt(count)
    return difference.mean() - half, difference.mean() + half


def class_disjoint(train_labels, test_labels):
    """Tell whether no class is in both parts."""
    return set(train_labels).isdisjoint(test_labels)


def nmi(a, b):
    """Return the normalised mutual information of two labelings, 2 I / (H(a) + H(b))."""
    joint = np.array([[np.mean((a == x) & (b == y)) for y in np.unique(b)] for x in np.unique(a)])
    p, q = joint.sum(axis=1), joint.sum(axis=0)
    where = joint > 0
    information = (joint[where] * np.log(joint[where] / np.outer(p, q)[where])).sum()
    return 2 * information / (-(p * np.log(p)).sum() - (q * np.log(q)).sum())


exercise(confidence_interval, task="")
exercise(paired_interval, task="")
exercise(class_disjoint, task="")
exercise(nmi, task="")
