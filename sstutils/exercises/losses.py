"""Exercises on the two losses and their geometry."""

import numpy as np

from .base import exercise


def triplet_loss(a, p, n, margin):
    """Return the triplet loss of one triplet."""
    d_ap = ((a - p) ** 2).sum()
    d_an = ((a - n) ** 2).sum()
    return max(0, d_ap + margin - d_an)


def hinge_radius(a, p, margin):
    """Return the radius around the anchor inside of which a negative is pushed."""
    return np.sqrt(((a - p) ** 2).sum() + margin)


def active_share(d_ap, d_an, margin):
    """Return the share of triplets that have a loss above zero."""
    return np.mean(d_ap + margin - d_an > 0)


def sst_logit(a, p, n):
    """Return z, the argument of the SST loss."""
    d_ap = ((a - p) ** 2).sum()
    d_an = ((a - n) ** 2).sum()
    d_pn = ((p - n) ** 2).sum()
    return d_ap - (d_an + d_pn) / 2


def sst_loss(z):
    """Return log(1 + exp(z)) without overflow."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def zero_sphere(a, p):
    """Return the centre and the radius of the sphere of all negatives with z = 0."""
    centre = (a + p) / 2
    radius = np.sqrt(3) / 2 * np.sqrt(((a - p) ** 2).sum())
    return centre, radius


exercise(triplet_loss, task="")
exercise(hinge_radius, task="")
exercise(active_share, task="")
exercise(sst_logit, task="")
exercise(sst_loss, task="")
exercise(zero_sphere, task="")
