"""Exercises on retrieval and its measures."""

import numpy as np

from .base import exercise, near
from .cases import all_d2, apart, batch, line, mixed, others


def _hits(d2, labels):
    """Return whether each other item, from the nearest to the farthest, is of the class of the query; (N, N - 1)."""
    return labels[others(d2).argsort(1)[:, :-1]] == labels[:, None]


def _same_when_shuffled(f, d2, labels, *more):
    order = np.random.default_rng(0).permutation(len(labels))
    return near(f(d2[np.ix_(order, order)], labels[order], *more), f(d2, labels, *more))


def _mixed(labels):
    return mixed(labels), labels


def _by_chance(f, d2, labels, *more):
    """Return the mean over shuffled labels, and the expected value for one random neighbor."""
    rng = np.random.default_rng(0)
    counts = np.unique(labels, return_counts=True)[1]
    return np.mean([f(d2, rng.permutation(labels), *more) for _ in range(60)]), chance_recall(counts)


def chance_recall(counts):
    """Return the expected Recall@1 if the nearest other item were drawn at random."""
    counts = np.asarray(counts)
    total = counts.sum()
    return (counts * (counts - 1)).sum() / (total * (total - 1))


exercise(
    chance_recall,
    task=(
        "counts has the number of items of each class. Return the Recall@1 to expect if each item got any one of the "
        "other items as its nearest, all equally likely."
    ),
    hints=(
        "Take one item of a class with n items: how many others are there, and how many of them are of its class?",
        "Its chance is (n - 1) / (N - 1), with N items in all.",
        "There are n items with this chance, so average over all items, not over the classes.",
    ),
    praise="this is the floor: a Recall@1 says something only above it.",
    cases=lambda rng: [(rng.integers(2, 12, size=size) + np.arange(size),) for size in (2, 3, 5, 8, 10, 4)],
    small=[(np.array([3, 1]),), (np.array([2, 2]),)],
    properties={
        "A recall is a number from 0 to 1, and yours is not.": lambda f, c: 0 <= f(c) <= 1,
        "If all items are of one class every neighbor is right: 1. You get a different number.": lambda f, c: near(
            f(c[:1]), 1
        ),
        "If each item has a class of its own no neighbor can be right: 0. You get a different number.": lambda f, c: (
            near(f(np.ones(5, dtype=int)), 0)
        ),
        "With two classes of 2 items, one of the 3 others is right: 1/3. You get a different number.": lambda f, c: (
            near(f(np.array([2, 2])), 1 / 3)
        ),
        "With classes of 3 and 1 items, the three have chance 2/3 each and the one has none: "
        "1/2 on average over the items. You get a different number.": lambda f, c: near(f(np.array([3, 1])), 1 / 2),
        "The order of the classes should not matter, but it does to yours.": lambda f, c: near(f(c[::-1]), f(c)),
        "Calling two classes one should raise the chance; not so with yours.": lambda f, c: (
            f([c[0] + c[1], *c[2:]]) > f(c)
        ),
    },
    mistakes={
        "You let each item draw itself as well. Two random draws agree with the sum of squared shares; "
        "but is an item among its own neighbors?": lambda c: (c**2).sum() / c.sum() ** 2,
        "You average over the classes. Each class has its own chance, and that part is right; but "
        "Recall@1 is a mean over items: which classes have more of them?": lambda c: np.mean((c - 1) / (c.sum() - 1)),
        "You return one divided by the number of classes. That is the chance of guessing a class; "
        "here a neighbor is drawn among items, and large classes have more of them.": lambda c: 1 / len(c),
        "You leave the item out of its class, but not out of the whole: "
        "it has n - 1 right neighbors, out of how many others?": lambda c: (c * (c - 1)).sum() / c.sum() ** 2,
        "You leave the item out of the whole, but not out of its class: with one class your chance is above 1. "
        "How many *others* of its class are there?": lambda c: (c * c).sum() / (c.sum() * (c.sum() - 1)),
        "You return the chance of a wrong neighbor. What does recall count, hits or misses?": lambda c: (
            1 - chance_recall(c)
        ),
        "You return how many items are expected to hit. A recall is a share: of how many?": lambda c: (
            chance_recall(c) * c.sum()
        ),
        "You count each pair of items once, and divide by pairs counted twice, so half is missing. "
        "Does a pair (a, b) also serve b as the query?": lambda c: chance_recall(c) / 2,
        "You return the share of the largest class: the score of one who always guesses that class. "
        "Here the neighbor is drawn at random for each item.": lambda c: c.max() / c.sum(),
        "You return the chance of each class. They are right, and one number is asked for: "
        "how much does each class weigh in it?": lambda c: (c - 1) / (c.sum() - 1),
    },
)


def recall_at_1(d2, labels):
    """Return the share of items whose nearest other item is of their class."""
    d2 = d2.copy()
    np.fill_diagonal(d2, np.inf)
    return np.mean(labels[d2.argmin(axis=1)] == labels)


_RANGE = "A recall is a number from 0 to 1, and yours is not."
_PERFECT = (
    "With all classes far apart from each other, every item should be a hit and the recall 1; "
    "you get a different number."
)
_SHUFFLED = "The same items in another order have the same recall, but yours changes."
_MONOTONE = (
    "Only the order of the distances matters for who is nearest: plain distances should give the same recall as "
    "squared ones. Not so with yours."
)

exercise(
    recall_at_1,
    task=(
        "d2 is the (N, N) matrix of squared distances, labels the class of each item. Return Recall@1: the share of "
        "items whose nearest other item is of their class."
    ),
    hints=(
        "Each item is nearest to itself. Work on a copy of d2, with infinity on the diagonal (`np.fill_diagonal`).",
        "`argmin(axis=1)` gives the nearest other item of each row; look up its label.",
        "Compare with the labels of the rows. The mean of True and False is the share of True.",
    ),
    praise="1 where classes are apart, 0 where they are mixed, and chance where labels are shuffled.",
    cases=lambda rng: [*(batch(rng) for _ in range(4)), _mixed(batch(rng)[1])],
    small=[(line(0, 1, 3), np.array([0, 0, 1])), (line(0, 1, 3, 4), np.array([0, 1, 0, 1]))],
    properties={
        _RANGE: lambda f, d2, y: 0 <= f(d2, y) <= 1,
        _PERFECT: lambda f, d2, y: near(f(apart(y), y), 1),
        "If every item of another class is nearer than any of the own class, the recall is 0; "
        "you get a different number.": lambda f, d2, y: near(f(mixed(y), y), 0),
        _SHUFFLED: lambda f, d2, y: _same_when_shuffled(f, d2, y),
        _MONOTONE: lambda f, d2, y: near(f(np.sqrt(d2), y), f(d2, y)),
        "Other names for the classes should not change the recall, but they change yours.": lambda f, d2, y: near(
            f(d2, 1000 - 3 * y), f(d2, y)
        ),
        "If the four items of one class all hit, and the two of another all miss, the recall is 4/6; "
        "you get a different number.": lambda f, d2, y: near(
            f(all_d2(np.array([[0, 1, 2.1, 3.3, 50, -46]]).T), np.array([1, 1, 1, 1, 2, 2])), 4 / 6
        ),
        "With shuffled labels the recall should be that of chance, on average; yours is not.": lambda f, d2, y: (
            np.isclose(*_by_chance(f, d2, y), atol=0.06)
        ),
    },
    mistakes={
        "Your recall is always 1, because each item finds itself, at distance zero. "
        "It looks like a triumph; who must not be among the neighbors?": lambda d2, y: 1.0,
        "You take the farthest item. For similarities one looks for the largest; "
        "what does a small distance mean?": lambda d2, y: np.mean(y[d2.argmax(1)] == y),
        "You return the number of hits. A recall is a share: of how many queries?": lambda d2, y: _hits(d2, y)[
            :, 0
        ].sum(),
        "You return the share of misses, the error rate. What does Recall@1 count?": lambda d2, y: (
            1 - _hits(d2, y)[:, 0].mean()
        ),
        "You average within the classes first, so that small classes weigh as much as large ones. "
        "That is a fair measure, too, but in Recall@1 "
        "each item has one vote.": lambda d2, y: np.mean([_hits(d2, y)[y == c, 0].mean() for c in np.unique(y)]),
        "You return hit or miss for each item. What makes one number of them?": lambda d2, y: _hits(d2, y)[:, 0],
        "You ask whether there is any hit at all. Recall@1 is a share: "
        "what turns True and False for each item into one?": lambda d2, y: _hits(d2, y)[:, 0].any(),
        "You look at the second nearest other item. If item i itself has infinity on the diagonal, "
        "at which place of the sorted row is the nearest?": lambda d2, y: _hits(d2, y)[:, 1].mean(),
        "You compare the index of the nearest item with a label. Both are whole numbers, so Python does not mind; "
        "where is the class of that item written?": lambda d2, y: np.mean(others(d2).argmin(1) == y),
        "You return the chance level: the labels count, but not the distances. Who is the nearest?": lambda d2, y: (
            chance_recall(np.unique(y, return_counts=True)[1])
        ),
        "You ask whether the item is the nearest one of its neighbor in turn, too. "
        "Being near is not mutual: whose nearest item is asked for?": lambda d2, y: np.mean(
            _hits(d2, y)[:, 0] & (others(d2).argmin(1)[others(d2).argmin(1)] == np.arange(len(y)))
        ),
    },
)


def recall_at_k(d2, labels, k):
    """Return the share of items with an item of their class among their k nearest others."""
    d2 = d2.copy()
    np.fill_diagonal(d2, np.inf)
    nearest = d2.argsort(axis=1)[:, :k]
    return (labels[nearest] == labels[:, None]).any(axis=1).mean()


exercise(
    recall_at_k,
    task=(
        "d2 is the (N, N) matrix of squared distances, labels the class of each item. Return Recall@K: the share of "
        "items with at least one item of their class among their k nearest others."
    ),
    hints=(
        "Keep each item from finding itself: on a copy of d2, write infinity on the diagonal.",
        "`argsort(axis=1)[:, :k]` has the k nearest items of each row.",
        "One hit among the k is enough: `any(axis=1)`. Then take the mean over the items.",
    ),
    praise="it never falls when K grows, and reaches 1 when K takes in everything.",
    cases=lambda rng: [*((*batch(rng), k) for k in (1, 2, 3, 5)), (*_mixed(batch(rng)[1]), 2)],
    small=[
        (line(0, 1, 3), np.array([0, 0, 1]), 1),
        (line(0, 1, 3, 4), np.array([0, 1, 0, 0]), 1),
        (line(0, 1, 3, 4), np.array([0, 1, 0, 1]), 2),
    ],
    properties={
        _RANGE: lambda f, d2, y, k: 0 <= f(d2, y, k) <= 1,
        _PERFECT: lambda f, d2, y, k: near(f(apart(y), y, k), 1),
        "If all items of other classes are nearer than the own class, there is no hit among "
        "few neighbors and the recall is 0; you get a different number.": lambda f, d2, y, k: near(
            f(mixed(y), y, k), 0
        ),
        "Among all other items there is one of the same class, so for the largest k the recall is 1; "
        "not so with yours.": lambda f, d2, y, k: near(f(d2, y, len(y) - 1), 1),
        "More neighbors can only add hits, so the recall never falls when k grows; yours does.": lambda f, d2, y, k: (
            all(np.diff([f(d2, y, k) for k in range(1, 9)]) >= -1e-9)
        ),
        _SHUFFLED: lambda f, d2, y, k: _same_when_shuffled(f, d2, y, k),
        _MONOTONE: lambda f, d2, y, k: near(f(np.sqrt(d2), y, k), f(d2, y, k)),
        "With shuffled labels, Recall@1 should be that of chance, on average; yours is not.": lambda f, d2, y, k: (
            np.isclose(*_by_chance(f, d2, y, 1), atol=0.06)
        ),
    },
    mistakes={
        "Each item is among its own neighbors, so every one is a hit and your recall is always 1. "
        "Who has to be kept out?": lambda d2, y, k: 1.0,
        "You return the share of hits among all k neighbors, which is called precision. "
        "Recall@K asks for less: how many hits make an item count?": lambda d2, y, k: _hits(d2, y)[:, :k].mean(),
        "You ask for all k neighbors to be of the class. With larger k that gets harder; "
        "should Recall@K fall or rise with K?": lambda d2, y, k: _hits(d2, y)[:, :k].all(1).mean(),
        "You look only at neighbor number k. What about those that are nearer?": lambda d2, y, k: _hits(d2, y)[
            :, k - 1
        ].mean(),
        "You look at k - 1 neighbors. When the item itself is dropped from the first k of a sorted row, "
        "one place is lost: how far must you read?": lambda d2, y, k: _hits(d2, y)[:, : k - 1].any(1).mean(),
        "You look at k + 1 neighbors. One more makes sense to leave room for the item itself; "
        "but is it still in your list?": lambda d2, y, k: _hits(d2, y)[:, : k + 1].any(1).mean(),
        "You take the k farthest items. In which order does `argsort` sort, "
        "and where are the small distances?": lambda d2, y, k: _hits(d2, y)[:, ::-1][:, :k].any(1).mean(),
        "You return how many of its class an item finds, out of all that there are. "
        "Elsewhere that is called recall; in metric learning Recall@K "
        "asks only whether there is one.": lambda d2, y, k: (_hits(d2, y)[:, :k].sum(1) / _hits(d2, y).sum(1)).mean(),
        "You return the number of items with a hit. Share of how many?": lambda d2, y, k: (
            _hits(d2, y)[:, :k].any(1).sum()
        ),
        "You return hit or miss for each item. One number is asked for.": lambda d2, y, k: _hits(d2, y)[:, :k].any(1),
        "Your `any` asks one question about all items together: has any of them a hit at that rank? It should ask each "
        "item about its own k neighbors: which axis counts those?": lambda d2, y, k: _hits(d2, y)[:, :k].any(0).mean(),
        "You return Recall@1 whatever k is. How many neighbors may an item look at?": lambda d2, y, k: _hits(d2, y)[
            :, 0
        ].mean(),
    },
)


def precision_at_r(d2, labels, i):
    """Return the average precision at R of item i; MAP@R is its mean over all items."""
    order = np.argsort(d2[i])
    order = order[order != i]
    r = (labels == labels[i]).sum() - 1
    hits = labels[order[:r]] == labels[i]
    precisions = hits.cumsum() / np.arange(1, r + 1)
    return (hits * precisions).sum() / r


def _average(hits, r, first=1):
    """Return the sum over hits of the share of hits so far, divided by r; ranks begin with `first`."""
    return (hits * hits.cumsum() / np.arange(first, len(hits) + first)).sum() / r


def _of_row(measure):
    """Return a function of (d2, labels, i) from one of the hits of query i by rank, and R."""
    return lambda d2, labels, i: measure(_hits(d2, labels)[i], (labels == labels[i]).sum() - 1)


def _line(hits):
    """Return (d2, labels, 0) of items on a line, for which query 0 has these hits by rank."""
    return line(*range(len(hits) + 1)), np.array([1, *hits]), 0


def _queries(rng):
    """Return cases (d2, labels, i) with a hit and a miss among the first R, R at least 2."""
    cases = []
    while len(cases) < 12:
        d2, labels = batch(rng)
        for i in rng.permutation(len(labels))[:6]:
            if _of_row(lambda hits, r: 0 < hits[:r].sum() < r)(d2, labels, i):
                cases.append((d2, labels, int(i)))
    return cases[:12]


exercise(
    precision_at_r,
    task=(
        "Item i has R others of its class. Return its average precision at R: go through the R nearest other items; "
        "at each hit take the share of hits so far; add these up and divide by R."
    ),
    hints=(
        "Sort the row of i, and take i itself out of the list. Keep the first R items.",
        "`hits.cumsum()` counts the hits so far; divided by the ranks 1, 2, ..., R it is the precision so far.",
        "Only ranks with a hit contribute: multiply by `hits` before you sum, then divide by R.",
    ),
    praise="1 for a perfect ranking, and early hits are worth more than late ones. Its mean over all items is MAP@R.",
    cases=_queries,
    small=[_line([1, 0, 1]), _line([0, 1, 1]), _line([1, 1, 0])],
    properties={
        "This measure runs from 0 to 1, and yours does not.": lambda f, d2, y, i: 0 <= f(d2, y, i) <= 1,
        "If the R nearest others are all of the class, the value should be 1; yours is not.": lambda f, d2, y, i: near(
            f(apart(y), y, i), 1
        ),
        "Without a hit among the R nearest others the value should be 0; yours is not.": lambda f, d2, y, i: near(
            f(*_line([0, 0, 0, 1, 1])), 0
        ),
        "With R = 3 and the list hit, miss, hit, the shares at the hits are 1 and 2/3, so the value "
        "is (1 + 2/3) / 3 = 5/9. You get a different number.": lambda f, d2, y, i: near(
            f(*_line([1, 0, 1, 0, 1])), 5 / 9
        ),
        "An early hit should be worth more than a late one; not so with yours.": lambda f, d2, y, i: (
            f(*_line([1, 0, 0, 1])) > f(*_line([0, 1, 0, 1])) > 0
        ),
        "What comes after rank R should not matter, but it does to yours.": lambda f, d2, y, i: near(
            f(*_line([1, 0, 0, 1])), f(*_line([1, 0, 1]))
        ),
    },
    mistakes={
        "The item itself leads your list, a hit for free at rank 1. Take it out before you count.": _of_row(
            lambda hits, r: _average(np.r_[True, hits][:r], r)
        ),
        "You return the share of hits among the R nearest, called R-precision. It does not care about their order: "
        "should an early hit be worth more than a late one?": _of_row(lambda hits, r: hits[:r].mean()),
        "Your R counts the item itself, so you read one rank too far and divide by one too many. "
        "How many *others* of its class are there?": _of_row(lambda hits, r: _average(hits[: r + 1], r + 1)),
        "You divide by the number of hits that you found. One hit at rank 1 then looks like a perfect list; "
        "how many could have been found?": _of_row(lambda hits, r: _average(hits[:r], hits[:r].sum())),
        "You add the share of hits at every rank, also at misses. The average is natural, but "
        "which ranks does the task name?": _of_row(lambda hits, r: (hits[:r].cumsum() / np.arange(1, r + 1)).mean()),
        "You go through the whole list, which is the ordinary average precision. Where does the @R cut it?": _of_row(
            lambda hits, r: _average(hits, r)
        ),
        "You return one divided by the rank of the first hit. What about the second hit, and the third?": _of_row(
            lambda hits, r: 1 / (1 + hits.argmax())
        ),
        "You return the sum without the division by R. With more items in the class it would grow beyond 1.": _of_row(
            lambda hits, r: _average(hits[:r], 1)
        ),
        "You begin at the far end of the list. In which order does `argsort` sort?": _of_row(
            lambda hits, r: _average(hits[::-1][:r], r)
        ),
        "Your ranks are one too large: the first item has rank 2. A hit there would have a share of one half; "
        "what should it have?": _of_row(lambda hits, r: _average(hits[:r], r, first=2)),
    },
)


def nearest_positive_rank(d2, labels, i):
    """Return the rank, from 1, of the nearest item of the class of i among all others."""
    order = np.argsort(d2[i])
    order = order[order != i]
    hits = labels[order] == labels[i]
    return 1 + np.argmax(hits)


exercise(
    nearest_positive_rank,
    task=(
        "Sort all other items by their distance from item i. Return the rank of the first one that is of the class of "
        "i: 1 if it is the very nearest."
    ),
    hints=(
        "Sort the row of i, and take i itself out of the list.",
        "Look up the labels along the list, and compare them with that of i.",
        "`np.argmax` of True and False gives the place of the first True. Places count from 0, ranks from 1.",
    ),
    praise="a query is a hit for Recall@K exactly if this rank is at most K.",
    cases=_queries,
    small=[_line([0, 1, 1]), _line([1, 0]), _line([0, 0, 1])],
    properties={
        "A rank is a whole number from 1 to the number of other items, and yours is not.": lambda f, d2, y, i: (
            1 <= f(d2, y, i) < len(y) and f(d2, y, i) == int(f(d2, y, i))
        ),
        "With the classes far apart the nearest other item is of the class: rank 1. "
        "You get a different rank.": lambda f, d2, y, i: f(apart(y), y, i) == 1,
        "With two items of other classes before the first of the class, its rank is 3. "
        "You get a different rank.": lambda f, d2, y, i: f(*_line([0, 0, 1, 1])) == 3,
        "The same items in another order give the same rank, but yours changes.": lambda f, d2, y, i: (
            f(d2[::-1, ::-1], y[::-1], len(y) - 1 - i) == f(d2, y, i)
        ),
        "The distances themselves do not matter, only their order; yours depends on more.": lambda f, d2, y, i: (
            f(np.sqrt(d2), y, i) == f(d2, y, i)
        ),
    },
    mistakes={
        "You find the item itself, which is always the nearest one of its class: your rank is always 1. "
        "Who may be in the list?": lambda d2, y, i: 1,
        "Your rank counts from 0. Arrays do; but what is the rank of the very nearest?": lambda d2, y, i: (
            nearest_positive_rank(d2, y, i) - 1
        ),
        "You return which item it is. What is asked for is how many "
        "places down the sorted list it stands.": lambda d2, y, i: np.where(y == y[i], others(d2)[i], np.inf).argmin(),
        "You return the distance of the nearest item of the class. "
        "How many items are nearer than that?": lambda d2, y, i: others(d2)[i][y == y[i]].min(),
        "Your rank is one too large: the item itself still stands before all others in your list.": lambda d2, y, i: (
            nearest_positive_rank(d2, y, i) + 1
        ),
        "You return the rank of the last item of the class. `argmax` finds the first True: "
        "from which end did you look?": _of_row(lambda hits, r: np.flatnonzero(hits)[-1] + 1),
        "You return the rank of the first item of another class. Should the labels be equal or different?": _of_row(
            lambda hits, r: 1 + (~hits).argmax()
        ),
        "You return one divided by the rank, as in the mean reciprocal rank. "
        "What is the rank itself?": lambda d2, y, i: 1 / nearest_positive_rank(d2, y, i),
        "You count from the farthest item. In which order does `argsort` sort?": _of_row(
            lambda hits, r: 1 + hits[::-1].argmax()
        ),
        "You return how many of the R nearest items are of the class. That measures how many were found, "
        "not how soon the first.": _of_row(lambda hits, r: hits[:r].sum()),
    },
)


def search(queries, pictures, k):
    """Return the places of the k pictures nearest to each query, the nearest first."""
    d2 = ((queries[:, None] - pictures) ** 2).sum(axis=2)
    return np.argsort(d2, axis=1)[:, :k]


exercise(
    search,
    task=(
        "queries and pictures hold embeddings, one in each row. For each query return the row numbers of the k "
        "pictures nearest to it, the nearest first: an array with one row for each query and k columns."
    ),
    hints=(
        "Compute the squared distance of each query from each picture: a matrix with a row for each query.",
        "`queries[:, None] - pictures` has all differences; square them, and sum over the last axis.",
        "`argsort(axis=1)` sorts each row and gives places; the first k columns are the nearest.",
    ),
    praise="this is exact search; an index does the same, in blocks that fit into memory.",
    cases=lambda rng: [
        (rng.normal(size=(q, d)), rng.normal(size=(n, d)) + 0.3, k)
        for q, n, d, k in ((3, 8, 2, 3), (5, 6, 3, 1), (1, 9, 4, 5), (7, 12, 1, 4), (4, 5, 2, 5))
    ],
    small=[(np.array([[0.0]]), np.array([[2.0], [1.0]]), 1), (np.array([[0.0], [3.0]]), np.array([[2.0], [0.5]]), 2)],
    properties={
        "There should be a row for each query, and k columns; yours has a different shape.": lambda f, q, x, k: (
            np.shape(f(q, x, k)) == (len(q), k)
        ),
        "A picture that is itself the query is at distance 0, and comes first; "
        "with yours it does not.": lambda f, q, x, k: list(f(x, x, 1)[:, 0]) == list(range(len(x))),
        "No picture should be found twice for one query, but one is in yours.": lambda f, q, x, k: all(
            len(set(row)) == k for row in f(q, x, k).tolist()
        ),
        "The k nearest begin with the k - 1 nearest; yours do not.": lambda f, q, x, k: (
            k == 1 or (f(q, x, k)[:, :-1] == f(q, x, k - 1)).all()
        ),
        "If everything moves by the same vector, the same pictures should be found; "
        "yours finds others.": lambda f, q, x, k: (f(q + 5, x + 5, k) == f(q, x, k)).all(),
    },
    mistakes={
        "You return the farthest pictures. In which order does `argsort` sort?": lambda q, x, k: all_d2(q, x).argsort(
            1
        )[:, ::-1][:, :k],
        "You return the distances. Which pictures are they the distances of?": lambda q, x, k: np.sort(all_d2(q, x))[
            :, :k
        ],
        "You leave the nearest picture out, as one does where every item is also a query. "
        "Is a query here one of the pictures?": lambda q, x, k: all_d2(q, x).argsort(1)[:, 1 : k + 1],
        "Your pictures are found, but not in order: the nearest should come first.": lambda q, x, k: np.sort(
            search(q, x, k), 1
        ),
        "You return all pictures, sorted. How many are asked for?": lambda q, x, k: all_d2(q, x).argsort(1),
        "You compare by the scalar product. It is large for long vectors, too; what is small for near "
        "ones?": lambda q, x, k: (-q @ x.T).argsort(1)[:, :k],
        "Your differences are not squared, so that those to the left count as negative: "
        "what makes up a distance?": lambda q, x, k: (x[None] - q[:, None]).sum(-1).argsort(1)[:, :k],
        "You sort the queries for each picture. Along which axis does a query's list lie?": lambda q, x, k: (
            all_d2(q, x).argsort(0)[:k].T
        ),
    },
)
