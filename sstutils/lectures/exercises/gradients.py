"""Exercises on gradients by hand, and how to check them."""

import numpy as np

from .base import exercise, near
from .cases import d2, logit, sigmoid, triples, turn, vectors


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


def _slopes(loss, points):
    """Return the gradients of a loss with respect to each of the points, by central differences."""
    return [
        central_difference(lambda x, i=i: loss(*points[:i], x, *points[i + 1 :]), point, 1e-4)
        for i, point in enumerate(points)
    ]


def _changed(gradient, change):
    """Return a function that gives the three gradients after a change of the (3, d) array of them."""
    return lambda *case: change(np.array(gradient(*case)))


def _active(a, p, n, m):
    return d2(a, p) + m > d2(a, n)


def _triplet(a, p, n, m):
    return max(0, d2(a, p) + m - d2(a, n))


exercise(
    triplet_gradient,
    task=(
        "Return the three gradients of the triplet loss max(0, d2(a, p) + margin - d2(a, n)), "
        "with respect to a, to p and to n, in this order."
    ),
    hints=(
        "The gradient of d2(x, y) with respect to x is 2 (x - y), and with respect to y it is 2 (y - x).",
        "Where the loss is zero it stays zero when a point moves a little, so all three gradients are zero vectors.",
        "The anchor appears in both distances: add its two gradients, and see what cancels.",
    ),
    praise="they add up to zero, vanish for satisfied triplets, and agree with finite differences.",
    cases=lambda rng: [(*triple, margin) for triple in triples(rng, 0.8) for margin in (0.3, 1.5)],
    small=[
        (*vectors((0, 0), (2, 0), (1, 0)), 1.0),
        (*vectors((0, 0), (1, 0), (0, 1.2)), 1.0),
        (*vectors((0, 0), (1, 0), (0, 3)), 1.0),
    ],
    properties={
        "The three gradients should add up to zero, because moving all points together changes nothing. "
        "Yours do not.": lambda f, a, p, n, m: near(sum(f(a, p, n, m)), 0),
        "With the negative far away the loss is zero, and stays so: "
        "all gradients should vanish. Yours do not.": lambda f, a, p, n, m: near(f(a, p, a + 100, m), 0),
        "Moving all points by a step should not change the gradients, but it changes yours.": lambda f, a, p, n, m: (
            near(f(a + 3, p + 3, n + 3, m), f(a, p, n, m))
        ),
        "Your gradients differ from finite differences of the loss. "
        "Move one coordinate of one point a little, and see how much the loss "
        "changes.": lambda f, a, p, n, m: near(f(a, p, n, m), _slopes(lambda *x: _triplet(*x, m), (a, p, n)), 1e-3),
    },
    mistakes={
        "Your gradients point downhill. These are the steps that descent takes, as drawn in figure 2; "
        "in which direction does a gradient point?": _changed(triplet_gradient, lambda g: -g),
        "Your gradients are half as long as they should be. What is the derivative of a square?": _changed(
            triplet_gradient, lambda g: g / 2
        ),
        "Your gradients are the same whether the triplet is satisfied or not. "
        "The formula inside max is right; how steep "
        "is max(0, ...) where its argument is negative?": lambda a, p, n, m: (2 * (n - p), 2 * (p - a), 2 * (a - n)),
        "Your gradients stop too early: as soon as the negative is farther than the positive. "
        "What else must be fulfilled before the loss is zero?": lambda a, p, n, m: triplet_gradient(a, p, n, 0),
        "Your gradient of the anchor knows only the positive. Look for a in the loss: in how many terms "
        "does it appear?": lambda a, p, n, m: (_active(a, p, n, m) * 2 * (a - p), *triplet_gradient(a, p, n, m)[1:]),
        "Your second and third gradient have changed places. Which point is pulled, and which one is pushed? "
        "Return them in the order a, p, n.": _changed(triplet_gradient, lambda g: g[[0, 2, 1]]),
        "You return one gradient. It is the one of the anchor; "
        "the loss can also be made smaller by moving p and n.": _changed(triplet_gradient, lambda g: g[0]),
        "Your gradients are active exactly where the loss is zero. "
        "The comparison is the wrong way round: is the loss positive for a near or for a "
        "far negative?": lambda a, p, n, m: (~_active(a, p, n, m)) * np.array([2 * (n - p), 2 * (p - a), 2 * (a - n)]),
        "Your gradients are multiplied by the loss itself. "
        "That is the chain rule for the squared loss; what is the slope of max(0, t) "
        "for positive t?": lambda a, p, n, m: tuple(_triplet(a, p, n, m) * g for g in triplet_gradient(a, p, n, m)),
        "Your gradient of the negative has the wrong sign. "
        "The distance to the negative is subtracted in the loss, and n is the second of its points: "
        "count both signs.": _changed(triplet_gradient, lambda g: g * np.array([[1], [1], [-1]])),
    },
)


def _directions(a, p, n):
    return np.array([a - 2 * p + n, p - 2 * a + n, a + p - 2 * n])


def _weighted(weight):
    """Return a function that gives the gradients of z, times a weight that depends on z."""
    return lambda a, p, n: weight(logit(a, p, n)) * _directions(a, p, n)


exercise(
    sst_gradient,
    task=(
        "Return the three gradients of the SST loss log(1 + exp(z)), with z = d2(a, p) - (d2(a, n) + d2(p, n)) / 2, "
        "with respect to a, to p and to n, in this order."
    ),
    hints=(
        "By the chain rule each gradient is the slope of log(1 + exp(z)) times the gradient of z.",
        "The slope of log(1 + exp(z)) is the sigmoid, s = 1 / (1 + exp(-z)).",
        "For a, the gradient of z is 2 (a - p) - (a - n). Simplify; then p and n in the same way.",
    ),
    praise="they add up to zero, swap with a and p, and drive the negative straight away from the midpoint.",
    cases=lambda rng: triples(rng, 0.6),
    small=[tuple(vectors((0, 0), (2, 0), (1, 1))), tuple(vectors((0, 0), (1, 0), (0, 2)))],
    properties={
        "The three gradients should add up to zero, because moving all points together changes nothing. "
        "Yours leave something over.": lambda f, a, p, n: near(sum(f(a, p, n)), 0),
        "Swapping anchor and positive should swap their gradients and leave that of the negative alone; "
        "not so with yours.": lambda f, a, p, n: near(f(a, p, n)[[1, 0, 2]], f(p, a, n)),
        "Turning the space should turn the gradients along, but yours change.": lambda f, a, p, n: near(
            f(*turn(a, p, n)), turn(*f(a, p, n))
        ),
        "If all three points coincide nothing tells them where to go: the gradients should be zero. "
        "Yours are not.": lambda f, a, p, n: near(f(a, a, a), 0),
        "Your gradients differ from finite differences of the SST loss. "
        "Move one coordinate of one point a little, and see how much log(1 + exp(z)) changes.": lambda f, a, p, n: near(
            f(a, p, n), _slopes(lambda *x: np.logaddexp(0, logit(*x)), (a, p, n)), 1e-3
        ),
    },
    mistakes={
        "Your gradients point downhill. These are the steps that descent takes, as drawn in figure 2; "
        "is the gradient the direction of the steepest rise or fall?": _weighted(lambda z: -sigmoid(z)),
        "You return the gradients of z. They have the right directions; but how much does the loss change when z does? "
        "The chain rule has one more factor.": _directions,
        "Your gradients are twice as long as they should be. Each squared distance brings a factor 2, "
        "but two of the three are halved in z: collect the terms once more.": _weighted(lambda z: 2 * sigmoid(z)),
        "Your gradients are large for good triplets and small for bad ones: the sigmoid has the wrong sign inside. "
        "Should s be near 1 for a large or for a small z?": _weighted(lambda z: sigmoid(-z)),
        "Your directions are those of the triplet loss, weighted by the sigmoid. "
        "In SST the negative has a distance to the positive, too: "
        "which terms does that add?": lambda a, p, n: 2 * sigmoid(logit(a, p, n)) * np.array([n - p, p - a, a - n]),
        "Your gradient of the negative is half as long as it should be. Both halves of the mean contain n: "
        "do you have the pull of a and that of p?": _changed(sst_gradient, lambda g: g * np.array([[1], [1], [0.5]])),
        "The gradients of anchor and positive have changed places. The two look alike, so this is hard to see: "
        "which one contains 2p?": _changed(sst_gradient, lambda g: g[[1, 0, 2]]),
        "You return one gradient, that of the anchor. "
        "The positive and the negative move as well: three are asked for.": _changed(sst_gradient, lambda g: g[0]),
        "In your z the half is missing, so the weight s is too small. The directions are right: "
        "how is z defined?": lambda a, p, n: sigmoid(d2(a, p) - d2(a, n) - d2(p, n)) * _directions(a, p, n),
        "You weigh the gradients by the loss instead of its slope. For z far below zero the two nearly agree; "
        "what is the derivative of log(1 + exp(z))?": _weighted(lambda z: np.logaddexp(0, z)),
        "Your weight is s (1 - s). That is the slope of the sigmoid, one derivative too far: "
        "whose slope is the sigmoid itself?": _weighted(lambda z: sigmoid(z) * sigmoid(-z)),
    },
)


def _line(x):
    """Return x_1 + 2 x_2 + 3 x_3 + ... + 1."""
    return (np.arange(1, len(x) + 1) * x).sum() + 1


def _square(x):
    """Return x_1^2 + 2 x_2^2 + 3 x_3^2 + ... ."""
    return (np.arange(1, len(x) + 1) * x**2).sum()


def _wave(x):
    """Return sin x_1 + sin x_2 + ... + x_1 x_last."""
    return np.sin(x).sum() + x[0] * x[-1]


def _steps(x, h):
    return h * np.eye(len(x))


exercise(
    central_difference,
    task=(
        "f takes a vector and returns a number. Return the gradient of f at x, one number for each coordinate, by "
        "central differences: compare f a step h ahead with f a step h behind."
    ),
    hints=(
        "Move one coordinate at a time, and leave the others where they are.",
        "`h * np.eye(len(x))` has the steps as its rows: the i-th moves coordinate i by h.",
        "How far apart are the two points where f is computed? Divide the difference of f by that.",
    ),
    praise="exact for parabolas: now you have a witness against every gradient that you derive by hand.",
    cases=lambda rng: [(f, rng.normal(size=size), 0.01) for f in (_line, _square, _wave) for size in (3, 2, 4)],
    small=[(_square, np.array([1.0, 2]), 0.1), (_wave, np.array([0.0, 1]), 0.1)],
    properties={
        "A constant function has the gradient zero; yours is not.": lambda f, g, x, h: near(f(lambda x: 3.0, x, h), 0),
        "Three times the function has three times the gradient; yours does not.": lambda f, g, x, h: near(
            f(lambda x: 3 * g(x), x, h), 3 * f(g, x, h)
        ),
        "The gradient of x_1 + 2 x_2 + 3 x_3 + ... is (1, 2, 3, ...); you get a different one.": lambda f, g, x, h: (
            near(f(_line, x, h), np.arange(1, len(x) + 1))
        ),
        "On a parabola, central differences are exact for any step; yours are not.": lambda f, g, x, h: near(
            f(_square, x, 0.5), 2 * np.arange(1, len(x) + 1) * x
        ),
    },
    mistakes={
        "You compare f a step ahead with f at x itself: a forward difference. "
        "It is the textbook definition of a derivative, but errs by a multiple of h. "
        "What makes a difference central?": lambda f, x, h: [(f(x + step) - f(x)) / h for step in _steps(x, h)],
        "You compare f at x with f a step behind: a backward difference. "
        "Its error is as large as that of a forward one, with the other sign. "
        "What if x were in the middle?": lambda f, x, h: [(f(x) - f(x - step)) / h for step in _steps(x, h)],
        "Your gradient is twice as large as it should be. "
        "You divide by h, but how far is it from x - h to x + h?": lambda f, x, h: 2 * central_difference(f, x, h),
        "Your gradient has the wrong sign. Ahead less behind, or behind less ahead: "
        "which one is positive where f rises?": lambda f, x, h: -central_difference(f, x, h),
        "You return the differences of f without dividing them. A slope is a rise over what?": lambda f, x, h: (
            2 * h * central_difference(f, x, h)
        ),
        "You move all coordinates at once and get one number: the slope along the diagonal. "
        "The gradient asks about each coordinate alone.": lambda f, x, h: (f(x + h) - f(x - h)) / (2 * h),
        "You multiply by h where you mean to divide: `/ 2 * h` is read from left to right. "
        "Where do brackets belong?": lambda f, x, h: h**2 * central_difference(f, x, h),
        "You compute second differences, which tell how f bends. "
        "f(x) itself is not needed here: what is the slope between the "
        "two outer points?": lambda f, x, h: [(f(x + step) - 2 * f(x) + f(x - step)) / h**2 for step in _steps(x, h)],
        "Your gradient is half as large as it should be. You step by h / 2 to each side and divide by 2 h: "
        "do the two fit together?": lambda f, x, h: central_difference(f, x, h / 2) / 2,
        "You return the length of the gradient. It tells how steep f is, but not in which direction. "
        "One number for each coordinate is asked for.": lambda f, x, h: np.linalg.norm(central_difference(f, x, h)),
    },
)
