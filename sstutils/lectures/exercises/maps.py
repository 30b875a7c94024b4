"""Exercises on maps of an embedding."""

import math

import numpy as np

from .base import exercise, near
from .cases import all_d2, line, others


def perplexity(p):
    """Return 2 to the entropy, in bits, of a distribution."""
    p = p[p > 0]
    return 2 ** -(p * np.log2(p)).sum()


def _bits(p):
    return math.log2(perplexity(p))


def _distributions(rng):
    cases = []
    for size in (4, 7, 10, 13):
        p = rng.dirichlet(np.ones(size))
        # zeros in the middle: 0 log 0 counts as 0
        cases += [(p,), (np.insert(p, [1, 3], 0.0),)]
    return cases


exercise(
    perplexity,
    task=(
        "p is a distribution: an array of probabilities that add up to 1, some of which may be 0. Return its "
        "perplexity, 2 to the power of its entropy in bits."
    ),
    hints=(
        "The entropy in bits is minus the sum of p log2(p).",
        "An impossible outcome adds nothing to the entropy, but log2(0) is infinite: leave out the zeros first.",
        "Raise 2 to the entropy. For four equally likely outcomes the entropy is 2 bits, and the perplexity 4.",
    ),
    praise="the number of neighbors that count: m for m equally likely ones, 1 for a certain one.",
    cases=_distributions,
    small=[(np.array([0.5, 0.25, 0.25]),), (np.array([0.5, 0, 0.5]),)],
    properties={
        "Of m equally likely outcomes the perplexity is m; you get a different number.": lambda f, p: near(
            [f(np.full(m, 1 / m)) for m in (2, 4, 7)], [2, 4, 7]
        ),
        "For 1/2, 1/4, 1/4 the entropy is 1.5 bits, and the perplexity 2 to the power 1.5, about 2.83. "
        "You get a different number.": lambda f, p: near(f(np.array([0.5, 0.25, 0.25])), 2**1.5),
        "If one outcome is certain the perplexity is 1; you get a different number.": lambda f, p: near(
            f(np.array([0.0, 1, 0])), 1
        ),
        "The perplexity is from 1 to the number of outcomes; yours is not.": lambda f, p: 1 <= f(p) <= len(p),
        "The order of the outcomes should not matter, but it does to yours.": lambda f, p: near(f(p[::-1]), f(p)),
        "One more impossible outcome should change nothing, but it changes yours.": lambda f, p: near(
            f(np.append(p, 0.0)), f(p)
        ),
        "For two independent draws the perplexities should multiply: the outcomes are then all pairs. "
        "Yours do not.": lambda f, p: near(f(np.outer(p, [0.3, 0.7]).ravel()), f(p) * f(np.array([0.3, 0.7]))),
    },
    mistakes={
        "You mix two logarithms: the entropy with the natural one, and then 2 to its power. "
        "Which base belongs to which logarithm?": lambda p: 2 ** (_bits(p) * math.log(2)),
        "You mix two bases: the entropy in bits, and then e to its power. Which number undoes log2?": lambda p: (
            math.exp(_bits(p))
        ),
        "The sign of the entropy is lost, so your perplexity is below 1. "
        "The logarithm of a probability is negative: what makes the entropy positive?": lambda p: 1 / perplexity(p),
        "You return the entropy, in bits. "
        "It is the number of yes-no questions; how many outcomes can that many questions tell apart?": _bits,
        "You get `nan` where a probability is 0: 0 times minus infinity is not a number for the computer. "
        "What does an outcome that never happens add to the entropy?": lambda p: 2 ** -(p * np.log2(p)).sum(),
        "You return how many outcomes are possible at all. That is the perplexity if they are equally likely; "
        "what if one takes nearly all?": lambda p: np.count_nonzero(p),
        "You return 1 over the sum of squares. It, "
        "too, is an effective number of outcomes (Simpson's), but where is the entropy?": lambda p: 1 / (p**2).sum(),
        "You average over the outcomes instead of adding up. The weights in an entropy are the p themselves: "
        "do they not add up to 1 already?": lambda p: 2 ** (_bits(p) / np.count_nonzero(p)),
        "You return 1 over the largest probability. "
        "That asks only for the most likely outcome; the entropy asks all of them.": lambda p: 1 / p.max(),
        "You use the logarithm to base 10. How many bits is one decimal digit?": lambda p: (
            2 ** (_bits(p) * math.log10(2))
        ),
    },
)


def neighbor_recall(d2, layout_d2, k):
    """Return the share of the k nearest others that are among the k nearest others on the map."""
    shares = []
    for i in range(len(d2)):
        before = [j for j in np.argsort(d2[i]) if j != i][:k]
        after = [j for j in np.argsort(layout_d2[i]) if j != i][:k]
        shares.append(len(set(before) & set(after)) / k)
    return np.mean(shares)


def _overlap(d2, layout_d2, k):
    """Return for each item how many of its k nearest others are among those on the map."""
    before, after = (others(x).argsort(1)[:, :k] for x in (d2, layout_d2))
    return (before[:, :, None] == after[:, None, :]).any(2).sum(1)


def _rearrange(d2, seed):
    order = np.random.default_rng(seed).permutation(len(d2))
    return d2[np.ix_(order, order)]


def _maps(rng):
    cases = []
    for k in (1, 2, 3, 4, 6):
        x = rng.normal(size=(20, 4))
        cases.append((all_d2(x), all_d2(x[:, :2] + 0.2 * rng.normal(size=(20, 2))), k))
    return cases


_PARTED = np.array([[0, 1, 10, 11.5], [0, 10, 1.5, 11]])[..., None]

exercise(
    neighbor_recall,
    task=(
        "d2 and layout_d2 are the matrices of squared distances of the same items, in the embedding and on the map. "
        "Return the share of the k nearest others in the embedding that are among the k nearest others on the map, "
        "averaged over all items."
    ),
    hints=(
        "For each item find the set of its k nearest others twice: by d2, and by layout_d2. The item itself is in "
        "neither.",
        "`set(x) & set(y)` has what is in both.",
        "Divide the size of the intersection by k, and average over the items.",
    ),
    praise="1 for a faithful map, and k / (N - 1) for one that is drawn at random.",
    cases=_maps,
    small=[(line(0, 1, 3, 7), line(0, 7, 3, 1), 1), (line(0, 1, 3, 7), line(0, 7, 3, 1), 2)],
    properties={
        "A share is from 0 to 1, and yours is not.": lambda f, x, y, k: 0 <= f(x, y, k) <= 1,
        "A map with all distances as they were keeps every neighbor: 1. "
        "You get a different number.": lambda f, x, y, k: near(f(x, x, k), 1),
        "With k as large as the number of other items nobody can be lost: 1. "
        "You get a different number.": lambda f, x, y, k: near(f(x, y, len(x) - 1), 1),
        "If on the map each of four items has moved beside another partner, no nearest neighbor is kept: 0 for k = 1. "
        "You get a different number.": lambda f, x, y, k: near(f(all_d2(_PARTED[0]), all_d2(_PARTED[1]), 1), 0),
        "Only who is near should count, not how far: plain distances should give the same. "
        "Not so with yours.": lambda f, x, y, k: near(f(np.sqrt(x), np.sqrt(y), k), f(x, y, k)),
        "Both sets have k members, so embedding and map can change places; not so with yours.": lambda f, x, y, k: near(
            f(x, y, k), f(y, x, k)
        ),
        "For a map with the items "
        "at random places the share should be about k / (N - 1); yours is not.": lambda f, x, y, k: np.isclose(
            np.mean([f(x, _rearrange(y, seed), k) for seed in range(20)]), k / (len(x) - 1), atol=0.05
        ),
    },
    mistakes={
        "You count each item as its own neighbor, kept by every map. A hit for free: "
        "who has to be left out?": lambda x, y, k: (1 + _overlap(x, y, k - 1)).mean() / k,
        "You ask for the same neighbor at the same rank. A map that only swaps the first two would lose both: "
        "does the order within the k matter?": lambda x, y, k: np.mean(
            others(x).argsort(1)[:, :k] == others(y).argsort(1)[:, :k]
        ),
        "You divide by the size of the union. That is the Jaccard index, lower as soon as one is lost; "
        "out of how many could neighbors be kept?": lambda x, y, k: np.mean(
            _overlap(x, y, k) / (2 * k - _overlap(x, y, k))
        ),
        "You return how many neighbors are kept. A share can be compared between different k: "
        "share of how many?": lambda x, y, k: _overlap(x, y, k).mean(),
        "You ask whether at least one neighbor is kept, in the manner of Recall@K. "
        "Here each neighbor counts.": lambda x, y, k: (_overlap(x, y, k) > 0).mean(),
        "You ask whether all k are kept. One lost neighbor then spoils the other k - 1: "
        "how much should it cost?": lambda x, y, k: (_overlap(x, y, k) == k).mean(),
        "You compare the k farthest items. In which order does `argsort` sort?": lambda x, y, k: (
            _overlap(-x, -y, k).mean() / k
        ),
        "You return one share for each item. They make a good picture; "
        "what makes one number of them?": lambda x, y, k: _overlap(x, y, k) / k,
        "You drop the item itself after cutting at k, so only k - 1 neighbors are compared, and divided by k. "
        "Even a perfect map does not reach 1: "
        "what comes first?": lambda x, y, k: _overlap(x, y, k - 1).mean() / k,
        "You return the share that is lost. It is the same knowledge, "
        "but should a faithful map have 0 or 1?": lambda x, y, k: 1 - neighbor_recall(x, y, k),
        "You look at the nearest neighbor only, whatever k is. "
        "How many neighbors does the task ask about?": lambda x, y, k: neighbor_recall(x, y, 1),
    },
)


def nearest_image(layout, centre):
    """Return the index of the point of the map that is nearest to the centre of a cell."""
    return ((layout - centre) ** 2).sum(axis=1).argmin()


_TURN = np.array([[0.6, 0.8], [-0.8, 0.6]])

exercise(
    nearest_image,
    task=(
        "layout, (N, 2), has the places of N images on the map, centre the middle of one cell of a grid. Return the "
        "index of the image that is nearest to the centre, in a straight line."
    ),
    hints=(
        "`layout - centre` subtracts the centre from each row.",
        "Square, and sum over the two coordinates: one number for each image.",
        "`argmin` gives the index of the smallest.",
    ),
    praise="one image for each cell, and thumbnails no longer cover each other.",
    cases=lambda rng: [
        *((rng.normal(size=(15, 2)), rng.normal(size=2)) for _ in range(12)),
        (np.array([[2.0, 0], [0.75, 0.75], [1.2, 0]]), np.zeros(2)),
        (np.array([[2.0, 0], [0.8, 0.8], [0, 1.0]]), np.zeros(2)),
    ],
    small=[
        (np.array([[0.0, 0], [2, 0], [3, 3]]), np.array([2.0, 1])),
        (np.array([[3.0, 0], [2, 2], [0, 1]]), np.array([0.0, 0])),
    ],
    properties={
        "The answer should be the index of an image, a whole number from 0 to N - 1; yours is not.": lambda f, x, c: (
            0 <= f(x, c) < len(x) and f(x, c) == int(f(x, c))
        ),
        "An image exactly in the centre is the nearest, but you get a different one.": lambda f, x, c: all(
            f(x, x[i]) == i for i in range(len(x))
        ),
        "Moving the map and the centre by the same step should not change the answer, "
        "but it changes yours.": lambda f, x, c: f(x + 5, c + 5) == f(x, c),
        "Turning the map around the centre should not change the answer, but it changes yours.": lambda f, x, c: (
            f((x - c) @ _TURN, 0 * c) == f(x, c)
        ),
    },
    mistakes={
        "You return the image that is farthest from the centre. Is the nearest "
        "one at the largest or at the smallest distance?": lambda x, c: all_d2(np.vstack([x, c]))[-1, :-1].argmax(),
        "You return the distance of the nearest image. Which image has it?": lambda x, c: math.sqrt(
            ((x - c) ** 2).sum(1).min()
        ),
        "You return the squared distance of the nearest image. "
        "`min` gives the smallest number; which function gives its place?": lambda x, c: ((x - c) ** 2).sum(1).min(),
        "You add the steps along the two axes, as one walks in a city of square blocks. In a straight "
        "line another image may be nearer: what would Pythagoras do?": lambda x, c: np.abs(x - c).sum(1).argmin(),
        "You count only the larger of the two steps. In a straight line both count.": lambda x, c: (
            np.abs(x - c).max(1).argmin()
        ),
        "You look at the first coordinate only. An image may be right above the centre, and far away.": lambda x, c: (
            np.abs(x - c)[:, 0].argmin()
        ),
        "You return the place of the image. The place is right; at which row of layout does it stand?": lambda x, c: x[
            ((x - c) ** 2).sum(1).argmin()
        ],
        "You find the image nearest to the origin of the map. What about the centre of the cell?": lambda x, c: (
            (x**2).sum(1).argmin()
        ),
        "You sum over the images, and so compare the two axes. "
        "Which axis of the array counts the coordinates?": lambda x, c: ((x - c) ** 2).sum(0).argmin(),
        "You add the differences without squaring them: far to the left then looks very near. "
        "What makes them positive?": lambda x, c: (x - c).sum(1).argmin(),
        "You count from 1. What is the index of the first row of an array?": lambda x, c: (
            ((x - c) ** 2).sum(1).argmin() + 1
        ),
    },
)


def trustworthiness(d2, layout_d2, k):
    """Return how far the neighbors on a map can be trusted, from 0 to 1."""
    n = len(d2)
    apart = np.diag(np.full(n, np.inf))
    ranks = np.argsort(np.argsort(d2 + apart, axis=1), axis=1) + 1  # (N, N): 1 for the nearest other
    on_map = np.argsort(layout_d2 + apart, axis=1)[:, :k]
    too_far = np.maximum(np.take_along_axis(ranks, on_map, axis=1) - k, 0)
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * too_far.sum()


def _too_far(ranks, k):
    return np.maximum(ranks - k, 0)


def _ranks(d2, layout_d2, k):
    """Return the true ranks of the k nearest on the map, (N, k)."""
    return np.take_along_axis(others(d2).argsort(1).argsort(1) + 1, others(layout_d2).argsort(1)[:, :k], axis=1)


def _trust(penalty):
    """Return a function of (d2, layout_d2, k) that subtracts the scaled sum of ``penalty(ranks, k)`` from 1."""
    return lambda x, y, k: 1 - 2 * penalty(_ranks(x, y, k), k).sum() / (len(x) * k * (2 * len(x) - 3 * k - 1))


exercise(
    trustworthiness,
    task=(
        "A map misleads where it puts side by side what is far apart. Return its trustworthiness: for each item, each "
        "of its k nearest on the map (by layout_d2) costs r - k, where r is its rank among the others in the embedding "
        "(by d2; the nearest has rank 1), and nothing if r <= k. Subtract the sum of all costs, times "
        "2 / (N k (2 N - 3 k - 1)), from 1."
    ),
    hints=(
        "`np.argsort` twice gives ranks: `np.argsort(np.argsort(row))` is 0 for the smallest.",
        "Infinity on both diagonals keeps an item from being its own neighbor.",
        "`np.take_along_axis(ranks, on_map, axis=1)` looks up the ranks of the k nearest on the map; then "
        "`np.maximum(... - k, 0)`.",
    ),
    praise="1 for a map whose neighbors are all true ones, and about one half for a map at random.",
    cases=_maps,
    small=[(line(0, 1, 3, 7, 12), line(*places), 1) for places in ((0, 7, 3, 1, 12), (0, 1, 9, 3, 8))],
    properties={
        "It runs from 0 to 1, and yours does not.": lambda f, x, y, k: -1e-9 <= f(x, y, k) <= 1 + 1e-9,
        "A map with all distances as they were deserves full trust: 1. "
        "You get a different number.": lambda f, x, y, k: near(f(x, x, k), 1),
        "Only the order of distances should count: plain ones should give the same. "
        "Not so with yours.": lambda f, x, y, k: near(f(np.sqrt(x), np.sqrt(y), k), f(x, y, k)),
        "For points 0, 1, 3, 7, 12 on a map at 0, 7, 3, 1, 12 and k = 1 the true ranks of the nearest on the map are "
        "3, 3, 2, 4 and 3, which cost 2 + 2 + 1 + 3 + 2 = 10: the result is 1 - 2 * 10 / 30 = 1/3. You "
        "get a different number.": lambda f, x, y, k: near(f(line(0, 1, 3, 7, 12), line(0, 7, 3, 1, 12), 1), 1 / 3),
        "A neighbor on the map that is truly far should cost more than one that is nearly a neighbor; "
        "not so with yours.": lambda f, x, y, k: near(f(x, y, k), trustworthiness(x, y, k)),
    },
    mistakes={
        "You have swapped map and embedding. That measures which true neighbors the map has lost (continuity); "
        "here the map's neighbors are on trial.": lambda x, y, k: trustworthiness(y, x, k),
        "You return the penalty, not what is left of the trust: a faithful map should have 1.": lambda x, y, k: (
            1 - trustworthiness(x, y, k)
        ),
        "Your ranks begin with 0. The nearest other has rank 1.": _trust(lambda r, k: _too_far(r - 1, k)),
        "Your ranks begin with 2: the item itself still leads the list.": _trust(lambda r, k: _too_far(r + 1, k)),
        "Each intruder costs its rank, from which k is to be subtracted.": _trust(lambda r, k: np.where(r > k, r, 0)),
        "Each intruder costs 1, however far it is. The worse ones should cost more: how much?": _trust(
            lambda r, k: (r > k).astype(int)
        ),
        "True neighbors get a bonus, because r - k is negative for them. What should they cost?": _trust(
            lambda r, k: r - k
        ),
        "The factor 2 is lost.": _trust(lambda r, k: _too_far(r, k) / 2),
        "You return the share of neighbors that are true ones. "
        "That is the neighbor recall; here intruders cost by their rank.": neighbor_recall,
        "You return the mean cost of a neighbor. What turns it into a number from 0 to 1?": lambda x, y, k: _too_far(
            _ranks(x, y, k), k
        ).mean(),
    },
)
