"""Exercises on neighborhoods and the triplets in them."""

from collections import Counter

import numpy as np

from .base import exercise
from .cases import batch, line, vectors


def nearest_positives(d2, labels, k):
    """Return all pairs (anchor, positive) of an item and its k nearest others of its class."""
    pairs = []
    for i in range(len(labels)):
        others = [j for j in range(len(labels)) if labels[j] == labels[i] and j != i]
        others.sort(key=lambda j: d2[i, j])
        pairs += [(i, j) for j in others[:k]]
    return pairs


def _sorted_pairs(result, *case):
    """Return pairs in ascending order, because the order of the answer is free."""
    if len(result) and np.shape(result)[1:] != (2,):
        raise ValueError
    return sorted(map(tuple, result))


def _choose(choose):
    """Return a function that pairs each item i with the items ``choose(i, order, d2, labels, k)``."""

    def pairs(d2, labels, k):
        return [
            (i, int(j))
            for i in range(len(labels))
            for j in choose(i, [j for j in d2[i].argsort(kind="stable") if j != i], labels, k)
        ]

    return pairs


def _of_class(i, order, labels):
    return [j for j in order if labels[j] == labels[i]]


exercise(
    nearest_positives,
    task=(
        "d2 is the matrix of squared distances of a batch, labels the class of each item. Return a list of all pairs "
        "(anchor, positive), as indices: each item with its k nearest others of its class, or all of them if there are "
        "fewer. The order of the list is free."
    ),
    hints=(
        "For each item i, first list the others of its class: same label, and not i itself.",
        "Sort that list by the distance from i: `others.sort(key=lambda j: d2[i, j])`.",
        "Keep `others[:k]`; a slice takes what is there if there are fewer than k.",
    ),
    praise="the nearest of its class, and never the item itself. An item alone in its class makes no pair.",
    cases=lambda rng: [(*batch(rng, (1, 2, 3, 5, 6)), k) for k in (1, 2, 3, 4, 9)],
    view=_sorted_pairs,
    small=[(line(0, 1, 3, 4), np.array([0, 0, 0, 1]), 1), (line(0, 1, 3, 4), np.array([0, 1, 0, 0]), 2)],
    properties={
        "An item is its own positive in your list.": lambda f, d2, y, k: all(i != j for i, j in f(d2, y, k)),
        "Some of your pairs are of two classes. What makes a positive?": lambda f, d2, y, k: all(
            y[int(i)] == y[int(j)] for i, j in f(d2, y, k)
        ),
        "A pair appears twice in your list.": lambda f, d2, y, k: (
            len({(i, j) for i, j in f(d2, y, k)}) == len(f(d2, y, k))
        ),
        "An anchor should have k positives, or all others of its class if there are fewer; "
        "some of yours have a different number.": lambda f, d2, y, k: (
            Counter(int(i) for i, _ in f(d2, y, k))
            == Counter({i: min(k, (y == c).sum() - 1) for i, c in enumerate(y) if (y == c).sum() > 1})
        ),
        "With a very large k all pairs within the classes should be there; "
        "some of yours are missing.": lambda f, d2, y, k: (
            _sorted_pairs(f(d2, y, 99)) == sorted(nearest_positives(d2, y, 99))
        ),
        "For k = 1 each anchor should be with the nearest other item of its class; "
        "some of yours are not.": lambda f, d2, y, k: all(
            d2[int(i), int(j)] == np.sort(d2[int(i), y == y[int(i)]])[1] for i, j in f(d2, y, 1)
        ),
    },
    mistakes={
        "Each item is its own first positive. "
        "It is the nearest one of its class, at distance zero; what can it learn from "
        "itself?": lambda d2, y, k: [(i, int(j)) for i in range(len(y)) for j in _of_class(i, d2[i].argsort(), y)[:k]],
        "You drop the item itself after cutting the list at k, so that one positive is lost. "
        "What comes first: leaving out, or cutting?": _choose(lambda i, order, y, k: _of_class(i, order, y)[: k - 1]),
        "You take the nearest items of any class. Some of them are negatives: where do the labels come in?": _choose(
            lambda i, order, y, k: order[:k]
        ),
        "You take the k nearest of all, and of these the ones of the class. "
        "In a crowd of negatives nothing is left; should the "
        "class be asked for before or after?": _choose(lambda i, order, y, k: [j for j in order[:k] if y[j] == y[i]]),
        "You take the farthest positives. They are the hard ones, and some methods do so; local sampling keeps the "
        "neighborhood: which end of the sorted list?": _choose(lambda i, order, y, k: _of_class(i, order, y)[::-1][:k]),
        "You keep only pairs with the anchor before the positive. "
        "Each unordered pair then counts once, but does each item "
        "get its turn as an anchor?": _choose(lambda i, order, y, k: [j for j in _of_class(i, order, y)[:k] if j > i]),
        "You take all others of the class. They are all positives, "
        "but how many of them does the task ask for?": _choose(lambda i, order, y, k: _of_class(i, order, y)),
        "You take k + 1 positives. Room for the item itself is needed only while it is still in the list.": _choose(
            lambda i, order, y, k: _of_class(i, order, y)[: k + 1]
        ),
        "You pair each item with its nearest negatives. Should the two labels be equal or different?": _choose(
            lambda i, order, y, k: [j for j in order if y[j] != y[i]][:k]
        ),
        "You take the first k of the class by their index. They are as good as drawn at random: "
        "where do the distances come in?": _choose(lambda i, order, y, k: sorted(_of_class(i, order, y))[:k]),
        "Your pairs are the wrong way round: (positive, anchor). Being near is not mutual, so it matters "
        "which of the two has chosen the other.": lambda d2, y, k: [(j, i) for i, j in nearest_positives(d2, y, k)],
    },
)


def count_triplets(labels, k):
    """Return how many triplets a batch has with k nearest positives and all negatives."""
    _, counts = np.unique(labels, return_counts=True)
    return sum(n * min(k, n - 1) * (len(labels) - n) for n in counts)


def _total(term):
    """Return a function of (labels, k) that adds ``term(n, k, B)`` over the class sizes n of a batch of B."""
    return lambda labels, k: sum(term(n, k, len(labels)) for n in np.unique(labels, return_counts=True)[1])


exercise(
    count_triplets,
    task=(
        "Each item of a batch is an anchor; it has its k nearest others of its class as positives (all of them if "
        "there are fewer), and all items of other classes as negatives. From the labels and k, return the number of "
        "triplets."
    ),
    hints=(
        "`np.unique(labels, return_counts=True)` gives the size n of each class.",
        "For one anchor of a class of n items: how many positives, and how many negatives?",
        "min(k, n - 1) positives, times B - n negatives, times n anchors; then the sum over the classes.",
    ),
    praise="180,000 for 200 items in 10 classes with k = 5, and none if all items are of one class.",
    cases=lambda rng: [
        (batch(rng, sizes)[1], k) for sizes in ((1, 2, 4, 7), (3, 3, 9), (1, 1, 6, 8, 2)) for k in (1, 3, 5)
    ],
    small=[(np.array([1, 1, 2]), 1), (np.array([1, 1, 1, 2, 2]), 2)],
    properties={
        "A number of triplets is not negative, but yours is.": lambda f, y, k: f(y, k) >= 0,
        "If all items are of one class there are no negatives, and no triplets; you count some.": lambda f, y, k: (
            f(np.zeros(6, dtype=int), k) == 0
        ),
        "If each item has a class of its own there are no positives, and no triplets; "
        "you count some.": lambda f, y, k: f(np.arange(6), k) == 0,
        "With labels 1, 1, 2 and k = 1 there are two triplets: (0, 1, 2) and (1, 0, 2). "
        "You count a different number.": lambda f, y, k: f(np.array([1, 1, 2]), 1) == 2,
        "A batch of 10 classes of 20 with k = 5 has 200 anchors, 5 positives each, 180 negatives each: 180,000. "
        "You count a different number.": lambda f, y, k: f(np.repeat(np.arange(10), 20), 5) == 180_000,
        "With k as large as the classes there are no more positives to take, so a still larger k changes nothing; "
        "not so with yours.": lambda f, y, k: f(y, 50) == f(y, 60),
        "The order of the items should not matter, but it does to yours.": lambda f, y, k: f(y[::-1], k) == f(y, k),
    },
    mistakes={
        "You count k positives for every anchor, even where the class has fewer. "
        "How many others does a class of three have?": _total(lambda n, k, B: n * k * (B - n)),
        "You let an item be its own positive in small classes. A class of n has how many others?": _total(
            lambda n, k, B: n * min(k, n) * (B - n)
        ),
        "You count all others of the class as positives. How many of them does k let through?": _total(
            lambda n, k, B: n * (n - 1) * (B - n)
        ),
        "You count the whole batch as negatives, the own class included. Who of the batch is no negative?": _total(
            lambda n, k, B: n * min(k, n - 1) * B
        ),
        "You count each pair of anchor and positive once, not in both directions. "
        "Is (a, p, n) the same triplet as (p, a, n)?": _total(lambda n, k, B: n * min(k, n - 1) * (B - n) / 2),
        "You count pairs of anchor and positive, without the negatives. What is the third of a triplet?": _total(
            lambda n, k, B: n * min(k, n - 1)
        ),
        "You count one anchor for each class. Each item of a class gets its turn: how many is that?": _total(
            lambda n, k, B: min(k, n - 1) * (B - n)
        ),
        "You count one negative for each other class. Each *item* of another class is a negative.": lambda y, k: (
            _total(lambda n, k, B: n * min(k, n - 1))(y, k) * (len(np.unique(y)) - 1)
        ),
        "You count all ordered choices of three items of the batch. Most of them are no triplets: "
        "which classes must the three have?": lambda y, k: len(y) * (len(y) - 1) * (len(y) - 2),
        "You count pairs of anchor and negative, without the positives. "
        "How many positives go with each of them?": _total(lambda n, k, B: n * (B - n)),
    },
)


def neighborhoods(assignment, B, rng):
    """Return one batch of at most B items for each cluster, as a list of arrays of indices."""
    batches = []
    for cluster in np.unique(assignment):
        members = np.flatnonzero(assignment == cluster)
        if len(members) > B:
            members = rng.choice(members, B, replace=False)
        batches.append(members)
    return batches


def _lists(result):
    """Return batches as lists of whole numbers."""
    return [[int(i) for i in np.ravel(part)] for part in result]


def _traits(result, assignment, B, rng):
    """Return what is not left to chance about batches: two right answers differ in their random choice."""
    batches = _lists(result)
    inside = all(0 <= i < len(assignment) for part in batches for i in part)
    clusters = [{int(assignment[i]) for i in part} for part in batches] if inside else []
    # by cluster, because the order of the batches is free
    sizes = Counter()
    for part, of in zip(batches, clusters):
        sizes[min(of, default=-1)] += len(part)
    return [
        max((np.ndim(part) for part in result), default=1),
        len(batches),
        max(map(len, batches), default=0),
        sum(map(len, batches)),
        inside,
        all(len(of) == 1 for of in clusters),
        any(len(set(part)) < len(part) for part in batches),
        *(
            all(
                sorted(part) == list(np.flatnonzero(assignment == min(of, default=-1))[end])
                for part, of in zip(batches, clusters)
            )
            for end in (slice(B), slice(-B, None))
        ),
        *(sizes[c] for c in np.unique(assignment)),
    ]


def _by_cluster(pick):
    """Return a function that makes of the members of each cluster the batches ``pick(members, B, rng)``."""

    def batches(assignment, B, rng):
        return [part for c in np.unique(assignment) for part in pick(np.flatnonzero(assignment == c), B, rng)]

    return batches


def _by_number(count):
    """Return a function that makes batches of the clusters 0, 1, ... up to ``count(assignment)``."""
    return lambda c, B, rng: [_some(np.flatnonzero(c == i), B, rng) for i in range(count(c))]


def _some(members, B, rng):
    return rng.choice(members, min(B, len(members)), replace=False)


def _assignments(rng):
    return [(rng.permutation(np.repeat([0, 2, 5, 6], sizes)), B, np.random.default_rng(int(rng.integers(1000))))
            for sizes, B in (((60, 9, 70, 12), 30), ((65, 58, 4, 20), 25), ((5, 61, 64, 20), 20))]  # fmt: skip


def _sorted_batches(f, assignment, B, seed):
    return sorted(map(sorted, _lists(f(assignment, B, np.random.default_rng(seed)))))


exercise(
    neighborhoods,
    task=(
        "assignment has the number of the cluster of each item. Return a list of batches, one for each cluster, as "
        "arrays of the indices of its items. From a cluster of more than B items take B of them at random, without "
        "replacement, with the random generator rng."
    ),
    hints=(
        "`np.flatnonzero(assignment == c)` gives the indices of the items of cluster c.",
        "`np.unique(assignment)` lists the clusters; their numbers may have gaps.",
        "`rng.choice(members, B, replace=False)` draws B different members. Small clusters stay as they are.",
    ),
    praise="each batch stays within its cluster, none is larger than B, and the same seed gives the same batches.",
    cases=_assignments,
    view=_traits,
    unique=False,
    small=[
        (np.repeat([0, 2], sizes), B, np.random.default_rng(1)) for sizes, B in (((2, 1), 2), ((3, 1), 2), ((7, 2), 6))
    ],
    properties={
        "There should be one batch for each cluster; you have a different number of batches.": lambda f, c, B, rng: (
            len(f(c, B, rng)) == len(np.unique(c))
        ),
        "A batch holds the numbers of items, from 0 to the number of items less 1; yours hold other "
        "numbers.": lambda f, c, B, rng: all(0 <= i < len(c) and i == int(i) for part in f(c, B, rng) for i in part),
        "A neighborhood stays within its cluster, but one of your batches has items of several.": lambda f, c, B, rng: (
            all(len({int(c[i]) for i in part}) == 1 for part in _lists(f(c, B, rng)))
        ),
        "No item should be in a batch twice, but one is in yours.": lambda f, c, B, rng: all(
            len(set(part)) == len(part) for part in _lists(f(c, B, rng))
        ),
        "A batch should have B items, or all items of its cluster if there are fewer; "
        "some of yours do not.": lambda f, c, B, rng: (
            sorted(map(len, f(c, B, rng))) == sorted(min(B, n) for n in np.unique(c, return_counts=True)[1])
        ),
        "From a large cluster the B items should be drawn at random, but yours "
        "are the same for every seed.": lambda f, c, B, rng: (
            len({str(_sorted_batches(f, c, B, seed)) for seed in range(4)}) > 1
        ),
        "The same seed of rng should give the same batches, but yours differ. "
        "Where else does chance come from?": lambda f, c, B, rng: (
            _sorted_batches(f, c, B, 1) == _sorted_batches(f, c, B, 1)
        ),
        "Each member of a large cluster should have its chance, "
        "but some never appear in your batches.": lambda f, c, B, rng: (
            len({i for seed in range(40) for part in _sorted_batches(f, c, B, seed) for i in part}) == len(c)
        ),
    },
    mistakes={
        "`np.where` gives a tuple, and the array that you want is its first part: "
        "`np.where(...)[0]`, or `np.flatnonzero(...)`.": lambda c, B, rng: [np.where(c == i) for i in np.unique(c)],
        "You count through the numbers of the clusters, and stop before the last: `range(n)` ends at n - 1. "
        "Some numbers have no items, too: which function lists those that occur?": _by_number(lambda c: c.max()),
        "You make an empty batch for each number that no cluster has. "
        "Which function lists only the numbers that occur?": _by_number(lambda c: c.max() + 1),
        "You count from 0 to the number of clusters, as if they were numbered without a gap. "
        "Which function lists the numbers that occur?": _by_number(lambda c: len(np.unique(c))),
        "You take the first B members of a large cluster. The others would never be trained on: "
        "how does each get its chance?": _by_cluster(lambda members, B, rng: [members[:B]]),
        "You draw with replacement, so an item can be in a batch twice, at distance zero from itself. "
        "It is the default of `rng.choice`; which argument "
        "changes it?": _by_cluster(lambda members, B, rng: [rng.choice(members, B) if len(members) > B else members]),
        "You return whole clusters, whatever B is. The matrix of distances of a large one would not fit: "
        "where is the limit?": _by_cluster(lambda members, B, rng: [members]),
        "You leave out clusters of fewer than B items. They are smaller batches, but good ones: what should "
        "happen to them?": _by_cluster(lambda members, B, rng: [_some(members, B, rng)] if len(members) >= B else []),
        "You cut large clusters into several batches, so that nobody is left out. "
        "That is an option worth trying; here there is one batch for "
        "each cluster.": _by_cluster(lambda members, B, rng: [members[i : i + B] for i in range(0, len(members), B)]),
        "Your batches mix the clusters: the sizes are right, but the items come from everywhere. "
        "What makes a batch a *neighborhood*?": lambda c, B, rng: [
            rng.choice(len(c), min(B, n), replace=False) for n in np.unique(c, return_counts=True)[1]
        ],
        "You return the numbers of the clusters, not of the items. "
        "`assignment[...]` looks up a cluster; which function gives the places where a condition "
        "holds?": lambda c, B, rng: [np.full(min(B, (c == cluster).sum()), cluster) for cluster in np.unique(c)],
        "You fill small clusters up to B by taking items twice. Equal sizes are handy, "
        "but a pair of an item with itself teaches nothing: may a batch be smaller?": _by_cluster(
            lambda members, B, rng: [
                _some(members, B, rng) if len(members) >= B else np.resize(rng.permutation(members), B)
            ]
        ),
        "You take the last B members of a large cluster. Always the same ones: what is rng for?": _by_cluster(
            lambda members, B, rng: [members[-B:]]
        ),
        "You return a single batch. One epoch visits every cluster: how many batches is that?": lambda c, B, rng: [
            _some(np.flatnonzero(c == np.unique(c)[0]), B, rng)
        ],
    },
)


def local_sampler(x, centres, B, rounds, rng):
    """Return the batches of an epoch: clusters of k-means that starts from some centres, at most B items of each."""
    for _ in range(rounds):
        cluster = ((x[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        taken = [cluster == c for c in range(len(centres))]
        centres = np.array([x[own].mean(axis=0) if own.any() else old for own, old in zip(taken, centres)])
    cluster = ((x[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    members = [np.flatnonzero(cluster == c) for c in np.unique(cluster)]
    return [rng.choice(own, B, replace=False) if len(own) > B else own for own in members]


def _lloyd(x, centres, rounds, distance=np.square, middle=np.mean):
    """Return the cluster of each item after some rounds of k-means."""
    for turn in range(rounds + 1):
        cluster = distance(x[:, None] - centres).sum(2).argmin(1)
        if turn < rounds:
            centres = [middle(x[cluster == c], axis=0) if c in cluster else m for c, m in enumerate(centres)]
    return cluster


def _after(clusters, batches=neighborhoods):
    """Return a function that makes batches of the clusters ``clusters(x, centres, rounds)``."""
    return lambda x, centres, B, rounds, rng: batches(clusters(x, centres, rounds), B, rng)


def _blobs(rng):
    """Return cases whose k-means has not come to rest after the rounds that are asked for, nor one before."""
    cases = []
    while len(cases) < 4:
        x = np.concatenate([rng.normal(rng.normal(scale=2, size=2), 1, size=(n, 2)) for n in (45, 12, 30, 25)])
        x, rounds = rng.permutation(x), 2 + len(cases)
        centres = x[rng.choice(len(x), 5, replace=False)]
        seen = [str(_lloyd(x, centres, turn)) for turn in range(rounds + 2)]
        sizes = np.bincount(_lloyd(x, centres, rounds), minlength=5)
        if len(set(seen)) == len(seen) and sizes.max() > 22 > 8 > sizes.min() > 0:
            cases.append((x, centres, 22, rounds, np.random.default_rng(len(cases))))
    return cases


exercise(
    local_sampler,
    task=(
        "Write the local sampler. x, (N, d), are embeddings, centres the first centres of k-means. In each of some "
        "rounds, assign each item to its nearest centre and move each centre to the mean of its items (one without "
        "items stays). Assign once more, and return a batch for each cluster that has items: their indices, or B of "
        "them at random, without replacement, if there are more."
    ),
    hints=(
        "`((x[:, None] - centres) ** 2).sum(2)` has the squared distance of each item from each centre; `argmin(1)` is "
        "the nearest.",
        "A round is: assign, then move all the centres at once. After the last round assign once more.",
        "The batches are those of the exercise `neighborhoods`: `np.flatnonzero`, and `rng.choice` with replace=False.",
    ),
    praise="embed, cluster, cut: this is an epoch of local sampling, as the package takes it.",
    cases=_blobs,
    view=lambda result, x, centres, B, rounds, rng: _traits(result, _lloyd(x, centres, rounds), B, rng),
    unique=False,
    small=[
        (*vectors(x, centres), B, rounds, np.random.default_rng(1))
        for x, centres, B, rounds in (
            (((0,), (1,), (9,)), ((0,), (1,), (9,)), 3, 0),
            (((0,), (1,), (5,)), ((0,), (1,)), 2, 1),
            (((0,), (1,), (5,)), ((0,), (1,)), 2, 0),
            (((0,), (1,), (2,), (9,)), ((0,), (9,)), 2, 1),
            (((0,), (0,), (5.5,), (10,)), ((2,), (10,)), 3, 1),
            (((0, 0), (2, 2), (2, 5)), ((0, 0), (2, 5)), 3, 0),
            (((0,), (1,), (2,), (3,), (4,), (9,)), ((0,), (9,)), 3, 0),
        )
    ],
    properties={
        "Without any round, the items of a batch are those nearest to one of the centres that are given; "
        "yours are not.": lambda f, x, m, B, r, rng: all(
            len({_lloyd(x, m, 0)[i] for i in part}) == 1 for part in _lists(f(x, m, len(x), 0, rng))
        ),
        "There should be a batch for each cluster that has items; you "
        "have a different number.": lambda f, x, m, B, r, rng: (
            len(f(x, m, B, r, rng)) == len(np.unique(_lloyd(x, m, r)))
        ),
        "Your batches are not those of the clusters after that many rounds: each assigns the items, "
        "and then moves the centres; at the end the items are assigned once more.": lambda f, x, m, B, r, rng: all(
            len({_lloyd(x, m, r)[i] for i in part}) == 1 for part in _lists(f(x, m, B, r, rng))
        ),
        "A batch has at most B items, "
        "none of them twice, and all of a cluster that has no more.": lambda f, x, m, B, r, rng: (
            sorted(len(set(part)) for part in _lists(f(x, m, B, r, rng)))
            == sorted(map(len, f(x, m, B, r, rng)))
            == sorted(min(B, n) for n in np.bincount(_lloyd(x, m, r)) if n)
        ),
        "From a large cluster the B items should be drawn by rng: "
        "other items with another seed, the same with the same.": lambda f, x, m, B, r, rng: (
            len({str(_lists(f(x, m, B, r, np.random.default_rng(seed % 4)))) for seed in range(8)}) == 4
        ),
    },
    mistakes={
        "You never move the centres. They are some items to begin with; "
        "where do they belong once the items are assigned?": _after(lambda x, m, r: _lloyd(x, m, 0)),
        "You leave out the last assignment: your clusters are those of the centres before they moved. "
        "What has to be done after the last round?": _after(lambda x, m, r: _lloyd(x, m, max(r - 1, 0))),
        "You do one round too many. How often do the centres move?": _after(lambda x, m, r: _lloyd(x, m, r + 1)),
        "You assign each item to the farthest centre. Which of `argmin` and `argmax` is it?": _after(
            lambda x, m, r: _lloyd(x, m, r, distance=lambda d: -(d**2))
        ),
        "You add up the steps along the axes, and not their squares. "
        "k-means takes Euclidean distances: what is squared?": _after(lambda x, m, r: _lloyd(x, m, r, distance=np.abs)),
        "You move the centres to the median of their items. That is a method, too (k-medians); "
        "what does the *means* in k-means say?": _after(lambda x, m, r: _lloyd(x, m, r, middle=np.median)),
        "You cluster only the first coordinate. Over which axis do the squares add up?": _after(
            lambda x, m, r: _lloyd(x[:, :1], np.asarray(m)[:, :1], r)
        ),
        "You take the first B members of a large cluster. What is rng for?": _after(
            _lloyd, _by_cluster(lambda members, B, rng: [members[:B]])
        ),
        "You return whole clusters, whatever B is. What happens to a cluster that is too large?": _after(
            _lloyd, _by_cluster(lambda members, B, rng: [members])
        ),
        "You leave out clusters of fewer than B items. They are smaller batches, but good ones.": _after(
            _lloyd, _by_cluster(lambda m, B, rng: [_some(m, B, rng)] if len(m) >= B else [])
        ),
        "You draw with replacement, so that an item can be in a batch twice. Which argument of `rng.choice` "
        "changes it?": _after(_lloyd, _by_cluster(lambda m, B, rng: [rng.choice(m, B) if len(m) > B else m])),
    },
)
