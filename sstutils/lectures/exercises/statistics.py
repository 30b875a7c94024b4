"""Exercises on honest numbers: intervals, splits and clusterings."""

import math
from itertools import product

import numpy as np

from .base import exercise, near


def confidence_interval(values):
    """Return the ends of the 95 % confidence interval of the mean, by Student's t."""
    from scipy import stats

    count = len(values)
    error = np.std(values, ddof=1) / math.sqrt(count)
    half = stats.t.ppf(0.975, count - 1) * error
    return np.mean(values) - half, np.mean(values) + half


def _t(quantile, freedom):
    from scipy import stats  # slow to import, and needed only when an answer is checked

    return stats.t.ppf(quantile, freedom)


def _around(half):
    """Return a function of values, or of the pairs of a and b, that gives the ends of the interval mean +- half."""
    return lambda a, b=0: ((a - b).mean() - half(a - b), (a - b).mean() + half(a - b))


def _error(x, ddof=1):
    return np.std(x, ddof=ddof) / math.sqrt(len(x))


exercise(
    confidence_interval,
    task=(
        "values are the results of independent runs with different seeds. Return (low, high), the ends of the 95 % "
        "confidence interval of their mean, by Student's t distribution."
    ),
    hints=(
        "The interval is the mean, plus and minus a multiple of the standard error of the mean.",
        "The standard error is the sample standard deviation (`ddof=1`) over the root of the number of runs.",
        "The multiple is the 97.5 % quantile of Student's t with n - 1 degrees of freedom: `stats.t.ppf(0.975, n - 1)` "
        "from scipy.",
    ),
    praise="with few seeds the interval is honestly wide: for two runs, the multiple is 12.7.",
    cases=lambda rng: [(rng.normal(60, 2, size=size),) for size in (3, 4, 5, 8, 12)],
    small=[(np.array([-1.0, 1]),), (np.array([1.0, 2, 3]),)],
    properties={
        "low should be below high; yours is not.": lambda f, x: f(x)[0] < f(x)[1],
        "The mean should be in the middle of the interval; not so with yours.": lambda f, x: near(
            f(x).mean(), x.mean()
        ),
        "Adding 10 to all results should move the interval by 10; not so with yours.": lambda f, x: near(
            f(x + 10), f(x) + 10
        ),
        "Results in other units (all times 3) should have an interval in those units; "
        "not so with yours.": lambda f, x: near(f(3 * x), 3 * f(x)),
        "For the two values -1 and 1 the standard error is 1, "
        "and Student's t has the quantile 12.7 for one degree of freedom: the interval is (-12.7, 12.7). You get "
        "a different one.": lambda f, x: near(
            f(np.array([-1.0, 1])), np.array([-1, 1]) * math.tan(0.475 * math.pi), 1e-3
        ),
        "Four times as many runs should make the interval less than half as wide; not so with yours.": lambda f, x: (
            np.diff(f(np.tile(x, 4))) < np.diff(f(x)) / 2
        ),
    },
    mistakes={
        "You use 1.96, the quantile of the normal distribution. It is right if the spread is known; from a few "
        "runs the spread is a guess, too. Which distribution allows for that?": _around(lambda x: 1.959964 * _error(x)),
        "You divide by n in the standard deviation, which is the default of numpy. "
        "The mean was fitted to the same values, so their spread looks too small: "
        "which `ddof` makes up for it?": _around(lambda x: _t(0.975, len(x) - 1) * _error(x, 0)),
        "You use 1.96, and numpy's default of dividing by n. Both make the interval too narrow when runs are few: "
        "think about the quantile and about `ddof`.": _around(lambda x: 1.959964 * _error(x, 0)),
        "Your interval says where single runs fall, not their mean: it does not shrink with more runs. What "
        "is the standard error of a mean of n values?": _around(lambda x: _t(0.975, len(x) - 1) * np.std(x, ddof=1)),
        "You divide by n instead of its root. Variances of a mean shrink with n; "
        "what about standard deviations?": _around(lambda x: _t(0.975, len(x) - 1) * np.std(x, ddof=1) / len(x)),
        "Yours is a 90 % interval: 5 % are left out at each end. "
        "How many should be, so that 95 % remain inside?": _around(lambda x: _t(0.95, len(x) - 1) * _error(x)),
        "You return the mean and half the width. Many papers print it so; "
        "which two numbers does the task ask for?": lambda x: (x.mean(), _t(0.975, len(x) - 1) * _error(x)),
        "You return the upper end first. In which order does the task name them?": lambda x: confidence_interval(x)[
            ::-1
        ],
        "You return the quantiles of the values. They tell of single runs, and three runs have no 2.5 "
        "% quantile worth the name; the interval of the *mean* is asked for.": lambda x: np.percentile(x, [2.5, 97.5]),
        "You return the smallest and the largest value. More runs can only make that wider; "
        "what should more runs do to what is known of the mean?": lambda x: (x.min(), x.max()),
        "You use n degrees of freedom. One of them was spent on the mean: how many are left?": _around(
            lambda x: _t(0.975, len(x)) * _error(x)
        ),
        "You return plus and minus one standard error. That bar is common in figures, "
        "but it covers the mean in about two of three cases, not in 95 of 100.": _around(_error),
        "You use twice the standard error, a rule of thumb for large samples. For three "
        "runs the multiple is more than twice as large: where does it come from?": _around(lambda x: 2 * _error(x)),
    },
)


def paired_interval(a, b):
    """Return the ends of the 95 % confidence interval of the mean of a - b, seed by seed."""
    from scipy import stats

    difference = np.asarray(a) - np.asarray(b)
    count = len(difference)
    half = stats.t.ppf(0.975, count - 1) * difference.std(ddof=1) / math.sqrt(count)
    return difference.mean() - half, difference.mean() + half


def _pairs(rng):
    cases = []
    for size in (3, 4, 5, 8, 10):
        seed = rng.normal(60, 3, size=size)
        cases.append((seed + rng.normal(1, 1, size=size), seed + rng.normal(0, 1, size=size)))
    return cases


def _unpaired(a, b):
    half = _t(0.975, 2 * len(a) - 2) * math.hypot(_error(a), _error(b))
    return a.mean() - b.mean() - half, a.mean() - b.mean() + half


exercise(
    paired_interval,
    task=(
        "a and b are the results of two methods, run with the same seeds: a[i] and b[i] belong together. Return "
        "(low, high), the ends of the 95 % confidence interval (Student's t) of the mean difference a - b."
    ),
    hints=(
        "What a lucky seed adds to both methods cancels in the difference of the two.",
        "Take the differences a - b, seed by seed, and treat them as the values of one sample.",
        "Then it is the interval of a mean: `ddof=1`, the root of n, and the 97.5 % quantile of t with n - 1 degrees "
        "of freedom.",
    ),
    praise="what the seeds have in common cancels; if zero is outside, the difference is more than luck.",
    cases=_pairs,
    small=[(np.array([3.0, 5]), np.array([1.0, 4])), (np.array([3.0, 1, 5]), np.array([1.0, 2, 4]))],
    properties={
        "low should be below high; yours is not.": lambda f, a, b: f(a, b)[0] < f(a, b)[1],
        "The mean of a - b should be in the middle of the interval; not so with yours.": lambda f, a, b: near(
            f(a, b).mean(), (a - b).mean()
        ),
        "A lucky seed that adds the same to both methods should change nothing, "
        "but it changes your interval.": lambda f, a, b: near(
            f(a + 5 * np.sin(np.arange(len(a))), b + 5 * np.sin(np.arange(len(a)))), f(a, b)
        ),
        "Swapping the methods should mirror the interval at zero; not so with yours.": lambda f, a, b: near(
            f(b, a), -f(a, b)[::-1]
        ),
        "For the differences -1 and 1 the interval is (-12.7, 12.7), by Student's t with one degree of freedom. "
        "You get a different one.": lambda f, a, b: near(
            f(np.array([4.0, 9]), np.array([5.0, 8])), np.array([-1, 1]) * math.tan(0.475 * math.pi), 1e-3
        ),
        "If a is better by exactly 2 with every seed, there is no doubt left: the interval is (2, 2). "
        "Not so with yours.": lambda f, a, b: near(f(b + 2, b), 2),
        "Four times as many seeds should make the interval less than half as wide; "
        "not so with yours.": lambda f, a, b: np.diff(f(np.tile(a, 4), np.tile(b, 4))) < np.diff(f(a, b)) / 2,
    },
    mistakes={
        "You treat the two methods as independent samples. Their common luck with a seed then counts as noise, "
        "and the interval is far too wide: what do equal seeds make possible?": _unpaired,
        "Your difference is the wrong way round, b - a. Who is better if the interval is above zero?": lambda a, b: (
            paired_interval(b, a)
        ),
        "You use 1.96, the quantile of the normal distribution. It is for a known spread; "
        "here the spread is estimated from a few seeds.": _around(lambda x: 1.959964 * _error(x)),
        "You divide by n in the standard deviation, which is the default of numpy. Which "
        "`ddof` belongs to a sample?": _around(lambda x: _t(0.975, len(x) - 1) * _error(x, 0)),
        "You use 1.96 and the default of numpy, which divides by n: with few seeds both are too confident.": _around(
            lambda x: 1.959964 * _error(x, 0)
        ),
        "Your interval is where the difference of one seed falls; it does not shrink with more seeds. What is the "
        "standard error of a mean?": _around(lambda x: _t(0.975, len(x) - 1) * np.std(x, ddof=1)),
        "You subtract the intervals of the two methods, end from end. "
        "The uncertainty of a difference is not the difference of the uncertainties: "
        "what is the sample here?": lambda a, b: np.subtract(confidence_interval(a), confidence_interval(b)),
        "You drop the sign of the differences. A method that is sometimes better and sometimes worse "
        "would always seem to win; what should such differences do?": lambda a, b: confidence_interval(np.abs(a - b)),
        "You sort both lists before you subtract, so that the best meets the best. "
        "Which pairs belong together?": lambda a, b: confidence_interval(np.sort(a) - np.sort(b)),
        "You divide the differences by b, which makes them relative. That can be of interest, "
        "but the difference itself is asked for.": lambda a, b: confidence_interval((a - b) / b),
        "You use n degrees of freedom. One was spent on the mean difference: how many are left?": _around(
            lambda x: _t(0.975, len(x)) * _error(x)
        ),
        "Yours is a 90 % interval: 5 % are left out at each end. How many should be?": _around(
            lambda x: _t(0.95, len(x) - 1) * _error(x)
        ),
    },
)


def class_disjoint(train_labels, test_labels):
    """Tell whether no class is in both parts."""
    return set(train_labels).isdisjoint(test_labels)


def _splits(rng):
    """Return pairs of label arrays: half of them disjoint, and with classes in ranges that overlap or do not."""
    cases = [
        ([1, 1, 2], [3, 4]),
        ([3, 4], [1, 1, 2]),
        ([1, 3, 5], [2, 4]),
        ([1, 2, 3], [9, 3]),
        ([1, 2], [2, 1]),
        ([1, 2], [1, 2]),
        ([1, 2, 3], [4, 5, 6]),
        ([5, 6, 7, 8], [8, 9]),
        ([2, 2, 4], [4]),
        ([4], [1, 2, 3]),
    ]
    for _ in range(12):
        classes = rng.permutation(12)
        shared = rng.integers(2)
        cases.append((rng.choice(classes[:5], 8), np.append(rng.choice(classes[5:], 6), classes[:1] * 1)[: 6 + shared]))
    return [(np.array(train), np.array(test)) for train, test in cases]


exercise(
    class_disjoint,
    task=(
        "train_labels and test_labels are the classes of the items of the two parts of a data set. Return True if no "
        "class is in both parts, else False."
    ),
    hints=(
        "Many items have the same class, so think of the set of classes of each part.",
        "`set(x) & set(y)` has what is in both. When is the split clean?",
        "A set also has the method `isdisjoint`.",
    ),
    praise="the test asks about classes that the network has never seen: that is what makes it a test of the metric.",
    cases=_splits,
    small=[
        tuple(map(np.array, case)) for case in (([1, 2], [3]), ([1, 2], [2, 3]), ([3, 4], [1, 2]), ([1, 2], [1, 2]))
    ],
    properties={
        "The answer should be True or False; yours is neither.": lambda f, x, y: f(x, y) in (0, 1),
        "A part shares all its classes with itself, so the answer is False.": lambda f, x, y: f(x, x) == 0,
        "The parts have no class in common here, but you say they have.": lambda f, x, y: f(x, y + 1000) == 1,
        "One item of a training class in the test part should be enough for False; you overlook it.": lambda f, x, y: (
            all(f(x, np.append(y + 1000, c)) == 0 for c in x)
        ),
        "It should not matter which part comes first, but to your function it does.": lambda f, x, y: (
            f(x, y) == f(y, x)
        ),
        "The order of the items should not matter, but to your function it does.": lambda f, x, y: (
            f(x[::-1], y) == f(x, y) == f(x, y[::-1])
        ),
    },
    mistakes={
        "You return True if there *is* a common class. "
        "The question is easily turned around: which answer is the good news?": lambda x, y: bool(set(x) & set(y)),
        "You compare the parts item by item, first with first. Items are in no common order: "
        "could the same class stand at different places?": lambda x, y: not any(s == t for s, t in zip(x, y)),
        "You ask whether the two sets of classes differ. They can differ and still share a class.": lambda x, y: (
            set(x) != set(y)
        ),
        "You ask whether the test part has some new class. One new class does not make the others new.": lambda x, y: (
            not set(y) <= set(x)
        ),
        "You ask whether all training classes come before all test classes. "
        "That is so in some data sets; but 1, 3 and 2, 4 are disjoint as well.": lambda x, y: x.max() < y.min(),
        "You look at the first test item only. The others may have known classes.": lambda x, y: y[0] not in x,
        "You look at the first training item only. What about the classes of the others?": lambda x, y: x[0] not in y,
        "You return the number of common classes. "
        "The task asks a question: for which number is the answer yes?": lambda x, y: len(set(x) & set(y)),
        "You compare how many classes there are in each part. "
        "Equal or not, the numbers do not tell which classes they are.": lambda x, y: len(set(x)) != len(set(y)),
        "You always say True. The split of a data set should be disjoint; check whether it is.": lambda x, y: True,
    },
)


def nmi(a, b):
    """Return the normalised mutual information of two labelings, 2 I / (H(a) + H(b))."""
    joint = np.array([[np.mean((a == x) & (b == y)) for y in np.unique(b)] for x in np.unique(a)])
    p, q = joint.sum(axis=1), joint.sum(axis=0)
    where = joint > 0
    information = (joint[where] * np.log(joint[where] / np.outer(p, q)[where])).sum()
    return 2 * information / (-(p * np.log(p)).sum() - (q * np.log(q)).sum())


def _entropy(*labels):
    """Return the entropy of labels, in nats; of several labelings, that of their combinations."""
    p = np.unique(np.stack(labels), axis=1, return_counts=True)[1] / len(labels[0])
    return -(p * np.log(p)).sum()


def _information(a, b):
    return _entropy(a) + _entropy(b) - _entropy(a, b)


def _labelings(rng):
    cases = []
    for classes, clusters, noise in ((3, 4, 0.2), (4, 2, 0.3), (5, 6, 0.4), (3, 3, 0.1), (6, 3, 0.5)):
        a = rng.choice(classes, 60, p=rng.dirichlet(np.full(classes, 3.0)))
        a[:classes] = np.arange(classes)
        b = np.where(rng.random(60) < noise, rng.integers(0, clusters, 60), a % clusters)
        b[:clusters] = np.arange(clusters)
        cases.append((a, b))
    return cases


exercise(
    nmi,
    task=(
        "a and b are two labelings of the same items: their classes, and the clusters that were found. Return the "
        "normalised mutual information, 2 I(a, b) / (H(a) + H(b))."
    ),
    hints=(
        "The entropy is H(a) = -sum of p log(p), over the shares p of the classes.",
        "I compares the share r of each pair (class, cluster) with the product of its two shares: the sum of "
        "r log(r / (p q)), over the pairs that occur.",
        "Equally good: I = H(a) + H(b) - H(a, b), with the entropy of the pairs.",
    ),
    praise="1 for the same grouping under any names, 0 for two that know nothing of each other.",
    cases=_labelings,
    small=[(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])), (np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))],
    properties={
        "The measure runs from 0 to 1, and yours does not.": lambda f, a, b: -1e-6 <= f(a, b) <= 1 + 1e-6,
        "A labeling tells everything of itself: 1. You get a different number.": lambda f, a, b: near(f(a, a), 1),
        "Of two labelings that are independent, neither tells anything of the other: 0. You "
        "get a different number.": lambda f, a, b: near(
            f(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 0, 1, 2])), 0
        ),
        "Other names for the clusters should not matter, but they do to yours.": lambda f, a, b: near(
            f(a, 90 - 7 * b), f(a, b)
        ),
        "It should not matter which labeling comes first, but it does to yours.": lambda f, a, b: near(
            f(a, b), f(b, a)
        ),
        "For classes 0, 1, 2, 3 in clusters 0, 0, 1, 1 one bit is shared, of entropies of two bits and one: 2/3. "
        "You get a different number.": lambda f, a, b: near(f(np.arange(4), np.array([0, 0, 1, 1])), 2 / 3),
    },
    mistakes={
        "You return the mutual information without dividing it. "
        "It can be any size; what would it be at best, for these two labelings?": _information,
        "You divide by the sum of the two entropies, so that even equal labelings reach only one half. "
        "Where has the 2 gone?": lambda a, b: _information(a, b) / (_entropy(a) + _entropy(b)),
        "You divide by the geometric mean of the entropies. That is another usual form of NMI; "
        "which mean does the task name?": lambda a, b: _information(a, b) / math.sqrt(_entropy(a) * _entropy(b)),
        "You divide by the larger entropy. That, too, is at most 1, but "
        "which mean of the two does the task name?": lambda a, b: _information(a, b) / max(_entropy(a), _entropy(b)),
        "You divide by the smaller entropy, so that a clustering of many small pieces looks perfect. "
        "Which mean does the task name?": lambda a, b: _information(a, b) / min(_entropy(a), _entropy(b)),
        "You divide by the entropy of a only. Swapping the labelings would change the result: "
        "whose entropy is missing?": lambda a, b: _information(a, b) / _entropy(a),
        "You mix two logarithms: bits above, natural below. "
        "Any base will do, if it is the same everywhere.": lambda a, b: nmi(a, b) / math.log(2),
        "You return the share of items for which the two labels are the same number. The "
        "names of clusters mean nothing: what if they were numbered the other way round?": lambda a, b: np.mean(a == b),
        "Your result has the wrong sign. "
        "Each entropy has a minus in front of its sum: how many did you write?": lambda a, b: -nmi(a, b),
        "You return the purity: each cluster votes for its largest class. "
        "Many tiny clusters are pure for free, which is why NMI divides by the entropies.": lambda a, b: (
            sum(np.unique(a[b == c], return_counts=True)[1].max() for c in np.unique(b)) / len(a)
        ),
        "You put the joint entropy where the mutual information belongs. It grows when the labelings have *less* "
        "in common: what is H(a) + H(b) - H(a, b)?": lambda a, b: 2 * _entropy(a, b) / (_entropy(a) + _entropy(b)),
        "You return what is lost: 1 less the measure. What should two equal labelings have, 0 or 1?": lambda a, b: (
            1 - nmi(a, b)
        ),
    },
)


def sign_flip_p(a, b):
    """Return the p-value of a paired comparison: the share of sign flips with a mean at least as far from zero."""
    difference = np.asarray(a) - np.asarray(b)
    count = len(difference)
    signs = 1 - 2 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)  # (2^n, n), all of them
    means = np.abs((signs * difference).mean(axis=1))
    return np.mean(means >= abs(difference.mean()) - 1e-12)


def _share(count):
    """Return a function of (a, b) that gives the mean of ``count(flipped means, observed mean)``."""

    def share(a, b):
        signs = np.array(list(product((1, -1), repeat=len(a))))
        return np.mean(count((signs * (a - b)).mean(axis=1), (a - b).mean()))

    return share


def _by_t(a, b):
    from scipy import stats

    return stats.ttest_rel(a, b).pvalue


def _few_pairs(rng):
    """Return cases (a, b) for which some differences are below zero and some above."""
    cases = []
    while len(cases) < 6:
        a, b = rng.normal(60, 3, size=(2, 4 + len(cases)))
        a = b + rng.normal(1, 1.5, size=len(b))
        if 0 < (a < b).sum() < (a > b).sum() and 0.05 < sign_flip_p(a, b) < 0.9:
            cases.append((a, b))
    return cases


exercise(
    sign_flip_p,
    task=(
        "a and b are the results of two methods with the same seeds. If the methods did not differ, each difference "
        "a[i] - b[i] could as well have the other sign. Flip the signs in all 2^n ways, and return the share of them "
        "whose mean difference is at least as far from zero as the one that was observed."
    ),
    hints=(
        "For n = 3 the 8 rows of signs are +++, ++-, ... Two ways to get them: `itertools.product((1, -1), repeat=n)`, "
        "or the bits of the numbers from 0 to 2^n - 1.",
        "Multiply the differences by each row, take the mean, and then its absolute value.",
        "Count with >=: the observed signs are one of the 2^n ways. Rounding can make equal numbers differ by a hair.",
    ),
    praise="no bell curve is assumed. With three seeds it is never below 1/4: so few runs cannot prove much.",
    cases=_few_pairs,
    small=[(np.array([3.0, 5]), np.array([1.0, 4])), (np.array([3.0, 1, 5]), np.array([1.0, 2, 2]))],
    properties={
        "A p-value is above 0 and at most 1; yours is not.": lambda f, a, b: 0 < f(a, b) <= 1,
        "If all differences are zero nothing can be farther away: 1. You get a different number.": lambda f, a, b: near(
            f(a, a), 1
        ),
        "If all n differences are equal, only two of the 2^n ways are as far from zero. "
        "You get a different share.": lambda f, a, b: near(f(b + 2, b), 2 / 2 ** len(b)),
        "Swapping the methods should not change the result, but it changes yours.": lambda f, a, b: near(
            f(b, a), f(a, b)
        ),
        "What a seed adds to both methods should not matter, but it does to yours.": lambda f, a, b: near(
            f(a + np.arange(len(a)), b + np.arange(len(a))), f(a, b)
        ),
        "The differences 2, -1, 3 have the mean 4/3, and 4 of the 8 ways are at least as far from zero: 1/2. "
        "You get a different share.": lambda f, a, b: near(f(np.array([3.0, 1, 5]), np.array([1.0, 2, 2])), 0.5),
        "All results times 3 give the same share; not so with yours.": lambda f, a, b: near(f(3 * a, 3 * b), f(a, b)),
    },
    mistakes={
        "You count only the ways that are as far above zero. The question was whether the methods differ, "
        "in whichever direction.": _share(lambda means, seen: means >= seen - 1e-12),
        "You count with >, so that the observed signs themselves are left out. They are one of the 2^n ways.": _share(
            lambda means, seen: abs(means) > abs(seen) + 1e-12
        ),
        "You count the ways that are closer to zero. Which ones speak against luck?": _share(
            lambda means, seen: abs(means) <= abs(seen) + 1e-12
        ),
        "You return how many ways there are. Share of how many?": lambda a, b: sign_flip_p(a, b) * 2 ** len(a),
        "You return 1 less the share. A small p-value speaks for a difference.": lambda a, b: 1 - sign_flip_p(a, b),
        "You use Student's t, which assumes a bell curve. "
        "Here no more is assumed than that signs could be flipped.": _by_t,
        "You count the signs alone, not how large the differences are: with the sign test a tiny one weighs as much as "
        "a huge one.": lambda a, b: _share(lambda means, seen: abs(means) >= abs(seen) - 1e-12)(np.sign(a - b), 0 * b),
        "You drop the signs of the differences before you begin, so that the observed mean is the largest possible. "
        "Flip those that "
        "were observed.": lambda a, b: _share(lambda means, seen: abs(means) >= seen - 1e-12)(np.abs(a - b), 0 * b),
    },
)
