"""What several exercises share: random cases, and the formulas that properties and mistakes are made of."""

import numpy as np


def d2(x, y):
    """Return the squared Euclidean distance of two points."""
    return ((x - y) ** 2).sum()


def logit(a, p, n):
    """Return z of the SST loss."""
    return d2(a, p) - (d2(a, n) + d2(p, n)) / 2


def sigmoid(z):
    """Return the slope of the SST loss."""
    return 1 / (1 + np.exp(-z))


def vectors(*points):
    """Return points as float arrays."""
    return [np.array(point, dtype=float) for point in points]


def line(*x):
    """Return the matrix of squared distances of points on a line."""
    return all_d2(np.array(x, dtype=float)[:, None])


def triples(rng, scale=1.0):
    """Return triplets (a, p, n) of points in 1, 2, 3 and 5 dimensions."""
    return [tuple(rng.normal(scale=scale, size=(3, dimension))) for dimension in (2, 3, 5, 1) for _ in range(3)]


def turn(*points):
    """Return points after a rotation or reflection: each coordinate takes the place of the next, the first negated."""
    return [np.roll(x * np.where(np.arange(len(x)) == 0, -1, 1), 1) for x in points]


def all_d2(x, y=None):
    """Return the matrix of squared distances between the rows of x, or of each row of x from each of y."""
    return ((x[:, None] - (x if y is None else y)) ** 2).sum(-1)


def others(d2):
    """Return squared distances with infinity on the diagonal, so that no item finds itself."""
    return np.where(np.eye(len(d2), dtype=bool), np.inf, d2)


def batch(rng, sizes=(2, 3, 5, 6, 8)):
    """Return (d2, labels) of classes that overlap, of the given sizes, in random order."""
    labels = rng.permutation(np.repeat(rng.permutation(len(sizes)) + 3, sizes))
    centres = rng.normal(scale=1.2, size=(len(sizes) + 3, 3))
    return all_d2(centres[labels] + rng.normal(size=(len(labels), 3))), labels


def apart(labels):
    """Return squared distances of a perfect embedding: those within a class are small, and no two are equal."""
    rng = np.random.default_rng(0)
    return all_d2(100.0 * labels[:, None] + rng.normal(size=(len(labels), 3)))


def mixed(labels):
    """Return distances for which all items of other classes are nearer than any of the own class."""
    accidents = np.random.default_rng(0).random((len(labels),) * 2)
    d2 = np.triu(np.where(labels[:, None] == labels, 10.0, 1.0) + accidents, 1)
    return d2 + d2.T
