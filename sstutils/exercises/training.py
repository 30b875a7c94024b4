"""Exercises on a step of training and what drives it."""

import numpy as np

from .base import exercise


def mean_loss(z):
    """Return the triplet loss of a batch, max(0, z) averaged over all its triplets."""
    return np.maximum(z, 0).mean()


def share_that_matters(z, at):
    """Return the share of triplets whose weight, sigmoid(z), is above a threshold."""
    return np.mean(1 / (1 + np.exp(-z)) > at)


def sgd_step(x, gradient, lr):
    """Return x after a step of gradient descent."""
    return x - lr * gradient


exercise(mean_loss, task="")
exercise(share_that_matters, task="")
exercise(sgd_step, task="")
