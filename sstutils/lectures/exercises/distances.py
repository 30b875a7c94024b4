"""Exercises on distances and neighbors."""

import numpy as np

from .base import exercise, near
from .cases import all_d2, line, others


def squared_distances(x):
    """Return the (N, N) matrix of the squared Euclidean distances between the rows of x."""
    difference = x[:, None] - x[None, :]
    return (difference**2).sum(-1)


def _norms(x):
    return (x**2).sum(1)


exercise(
    squared_distances,
    task=(
        "The rows of x are N points. Return the (N, N) matrix of the squared Euclidean distances between all of them, "
        "without a loop."
    ),
    hints=(
        "Broadcasting makes all differences at once: `x[:, None] - x[None, :]` has the shape (N, N, d).",
        "Square them, and sum over the axis of the coordinates, which is the last one.",
        "Another way is |x - y|^2 = |x|^2 + |y|^2 - 2 x.y, with `x @ x.T` for all products.",
    ),
    praise="symmetric, zero on the diagonal, and unchanged when all points move together.",
    cases=lambda rng: [(rng.normal(size=shape),) for shape in ((5, 3), (4, 2), (6, 4), (3, 5))],
    small=[(np.array([[0.0, 0], [3, 4]]),), (np.array([[0.0, 0, 1], [2, 0, 1], [0, 1, 1]]),)],
    properties={
        "No squared distance is negative, but some of yours are.": lambda f, x: (f(x) > -1e-4).all(),
        "From a to b is as far as from b to a, so the matrix should be symmetric; yours is not.": lambda f, x: near(
            f(x), f(x).T
        ),
        "Each point is at distance zero from itself: the diagonal should be zero, and yours is not.": lambda f, x: near(
            np.diag(f(x)), 0
        ),
        "Moving all points by the same step should not change their distances, but it changes yours.": lambda f, x: (
            near(f(x + 2), f(x), 1e-3)
        ),
        "Points twice as far apart have 4 times the squared distance; not so with yours.": lambda f, x: near(
            f(2 * x), 4 * f(x)
        ),
        "The points (0, 0) and (3, 4) are 5 apart, so their squared distance is 25. "
        "You get a different number.": lambda f, x: near(f(np.array([[0.0, 0], [3, 4]])), [[0, 25], [25, 0]]),
    },
    mistakes={
        "You return plain distances. The root is what makes them look like lengths; "
        "but which of the two did the task name?": lambda x: np.sqrt(all_d2(x)),
        "You return all differences, squared but not summed: one number for each pair and coordinate. "
        "Over which axis should they be summed?": lambda x: (x[:, None] - x) ** 2,
        "You sum over the points instead of the coordinates. With three axes that is easily confused: "
        "print the shape before you sum, and say what each axis counts.": lambda x: ((x[:, None] - x) ** 2).sum(1),
        "You take the mean over the coordinates. The order of the neighbors is the same, "
        "but what does Pythagoras do with the squares: average them?": lambda x: all_d2(x) / x.shape[1],
        "You add absolute differences: the distances that a taxi drives. What makes them Euclidean?": lambda x: np.abs(
            x[:, None] - x
        ).sum(-1),
        "You return the products of all rows. "
        "They are one ingredient of the distances: is the product of a point with itself zero?": lambda x: x @ x.T,
        "In |x|^2 + |y|^2 - 2 x.y you have lost the 2: the diagonal shows it. "
        "What is (x - y)^2, multiplied out?": lambda x: _norms(x)[:, None] + _norms(x) - x @ x.T,
        "You add the products instead of subtracting them, which is |x + y|^2. What is the diagonal then?": lambda x: (
            _norms(x)[:, None] + _norms(x) + 2 * x @ x.T
        ),
        "You compare the columns of x. Each row is a point: which shape should the result have?": lambda x: all_d2(x.T),
        "You sum the differences before you square them, so that they can cancel: (1, -1) would have no length. "
        "What comes first?": lambda x: (x[:, None] - x).sum(-1) ** 2,
        "You fill only the part above the diagonal. Each pair is computed once, "
        "which is thrifty, but what is the distance from b to a?": lambda x: np.triu(all_d2(x)),
    },
)


def nearest_other(d2, i):
    """Return the index of the item nearest to item i, other than i itself."""
    row = d2[i].copy()
    row[i] = np.inf
    return np.argmin(row)


def _twins(rng):
    """Return a case where item 4 has a duplicate that comes before it."""
    x = rng.normal(size=(9, 2))
    x[4] = x[1]
    return all_d2(x), 4


exercise(
    nearest_other,
    task=(
        "d2 is the (N, N) matrix of squared distances. Return the index of the item that is nearest to item i, "
        "other than i itself (even if another item has exactly the same place)."
    ),
    hints=(
        "Row i of the matrix has all distances from item i. `np.argmin` gives the index of the smallest number.",
        "The smallest of them is the item itself, at distance zero. How can it be kept from winning?",
        "Take a copy of the row, and set its entry i to infinity, `np.inf`.",
    ),
    praise="the item itself never wins, not even against an exact duplicate.",
    cases=lambda rng: [(all_d2(rng.normal(size=(12, 2))), i) for i in (0, 3, 5, 8, 9, 11)] + [_twins(rng)],
    small=[(line(0, 1, 3, 7), 2), (line(0, 1, 3, 7), 0), (line(0, 2, 2, 5), 2)],
    properties={
        "An item is not its own neighbor, but yours is.": lambda f, d2, i: f(d2, i) != i,
        "The item that you find is not the nearest: another one has a smaller distance.": lambda f, d2, i: (
            np.delete(d2[i], i).min() == d2[i, int(f(d2, i))]
        ),
        "The order of the neighbors is the same for plain distances, but your answer changes.": lambda f, d2, i: (
            f(np.sqrt(d2), i) == f(d2, i)
        ),
    },
    mistakes={
        "You count the item as its own neighbor. "
        "It is always the nearest one, at distance zero. How can it be kept out of the search?": lambda d2, i: i,
        "You return the item that is farthest away. "
        "For similarities the largest is best; is that so for distances?": lambda d2, i: d2[i].argmax(),
        "You take item i out of the row, which moves all later items up by one place. "
        "What does an index in the shorter row mean in the full one?": lambda d2, i: np.delete(d2[i], i).argmin(),
        "You return the distance of the nearest item. The item itself is asked for: "
        "where in the row does that number stand?": lambda d2, i: np.delete(d2[i], i).min(),
        "You take place 2 of the sorted row, which is the second nearest other item. "
        "Indices start at 0: who has place 0, and who place 1?": lambda d2, i: d2[i].argsort(kind="stable")[2],
        "You take place 1 of the sorted row, trusting that item i has place 0. That is nearly always so: but what "
        "if another item has exactly the same place, and comes first?": lambda d2, i: d2[i].argsort(kind="stable")[1],
        "You leave out all items at distance zero. That removes i, "
        "but what else can be at distance zero?": lambda d2, i: np.where(d2[i] > 0, d2[i], np.inf).argmin(),
        "You return all items in the order of their distance. "
        "The list is right; which one of them is asked for?": lambda d2, i: d2[i].argsort(kind="stable"),
        "You return the nearest neighbor of every item. "
        "What is asked for is that of one of them: where does i come in?": lambda d2, i: others(d2).argmin(1),
        "You search the whole matrix for its smallest distance, and its place counts through all rows. "
        "In which row are the distances of item i?": lambda d2, i: others(d2).argmin(),
    },
)
