"""The exercises: model answers against oracles, known mistakes and their messages, whatever students type.

What an exercise holds (its texts, properties, mistakes) is tested for each one; what the engine does with whatever is
handed in is the same for all, and is tested on a few of different forms.
"""

import functools
import inspect
import math
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.manifold import trustworthiness
from sklearn.metrics import normalized_mutual_info_score

import sstutils as sst
from sstutils import geometry
from sstutils.lectures.exercises import EXERCISES, ____
from sstutils.lectures.exercises.base import Blank, Exercise, Outcome, same

NAMES = sorted(EXERCISES)
every = pytest.mark.parametrize("exercise", [EXERCISES[name] for name in NAMES], ids=NAMES)
# A number, an array, a tuple of parts, a result with several right forms, and one that is true or false.
SOME = ["sst_loss", "squared_distances", "zero_sphere", "neighborhoods", "class_disjoint"]
some = pytest.mark.parametrize("exercise", [EXERCISES[name] for name in SOME], ids=SOME)


def cases(exercise, seed=0):
    return list(exercise.cases(np.random.default_rng(seed)))


# ---------------------------------------------------------------------------------------------------------------------
# The content
# ---------------------------------------------------------------------------------------------------------------------
def test_all_exercises_are_attributes():
    assert len(EXERCISES) >= 35
    for name in NAMES:
        assert getattr(sst.exercises, name) is EXERCISES[name]
        assert name in dir(sst.exercises)


@every
def test_parts_are_complete(exercise):
    assert exercise.task.endswith(".")
    assert 2 <= len(exercise.hints) <= 3
    assert exercise.praise.endswith(".")
    assert exercise.properties
    assert len(exercise.mistakes) >= 8
    parts = [*exercise.properties, *exercise.mistakes]
    assert len(set(parts)) == len(parts)
    for text in [exercise.task, exercise.praise, *exercise.hints, *parts]:
        assert text.count("`") % 2 == 0
        assert text[-1] in ".?!"
        assert "  " not in text


@every
def test_model_answer_is_correct(exercise):
    for seed in range(2):
        outcome = exercise.check(exercise.model, seed)
        assert (outcome.status, outcome.message, bool(outcome)) == ("correct", exercise.praise, True)


@every
def test_each_mistake_gets_its_message_on_a_case_that_fits_in_a_few_lines(exercise):
    given = cases(exercise)
    right = [exercise._ask(exercise.model, case) for case in given]
    for message, mistake in exercise.mistakes.items():
        outcome = exercise.check(mistake)
        assert outcome == Outcome("wrong", message)
        if all(map(same, [exercise._ask(mistake, case) for case in given], right)):
            continue  # right numbers, out of torch: there is nothing to show
        example = outcome.example
        assert {"your result", "right one"} <= set(re.findall("your result|right one", example)), message
        assert all(name in example for name in inspect.signature(exercise.model).parameters)
        assert example.count("\n") <= 20 and max(map(len, example.splitlines())) <= 150, example
    assert exercise.check(exercise.model).example == ""
    small = [exercise._result(exercise.model, case) for case in exercise.small]
    assert len(small) == len(exercise.small) and (small or exercise.name == "own_loss")  # tensors come late


def test_a_case_shows_what_is_given_what_comes_out_and_what_is_right():
    outcome = sst.exercises.mean_loss.check(lambda z: z.mean())
    assert repr(outcome).endswith("\n\nz             = [-2, 1, 4]\nyour result   = 1\nthe right one = 1.667")
    assert "= 1.667</pre>" in outcome._repr_html_()

    def sst_loss(z):
        z -= 1
        return z

    assert "z afterwards  = [-2, -1, 0]" in sst.exercises.sst_loss.check(sst_loss).example
    by_error = sst.exercises.mean_loss.check(lambda z: 1 / 0)
    assert "z             = [-2, 1, 4]\nyour result   = ZeroDivisionError: division by zero" in by_error.example
    assert "f             = x_1^2 + 2 x_2^2" in sst.exercises.central_difference.check(lambda f, x, h: x).example
    assert sst.exercises.mean_loss.check(3).example == ""


@pytest.mark.slow
@every
def test_each_mistake_gets_its_message_whatever_the_seed(exercise):
    # no mistake is right by chance, and no two mistakes are taken for each other
    assert all(exercise.check(exercise.model, seed).status == "correct" for seed in range(2, 6))
    for message, mistake in exercise.mistakes.items():
        for seed in range(1, 6):
            assert exercise.check(mistake, seed) == Outcome("wrong", message)


@every
def test_properties_alone_reject_every_mistake(exercise):
    # in words: the comparison with the model answer, at last, is a net that catches none of them
    given = cases(exercise)
    for message, mistake in exercise.mistakes.items():
        results = [exercise._result(mistake, case) for case in given]
        failure, _ = exercise._failure(mistake, given, results)
        assert failure is not None
        assert not failure.startswith("Your answer has the properties"), message


@every
def test_each_failed_property_can_be_told(exercise):
    """Where no mistake is recognised, the message is that of a property or one about the form."""

    def answer(*args):
        result = exercise.model(*args)
        if exercise.name in ("neighborhoods", "nearest_positives", "local_sampler"):
            return result[1:]
        if exercise.name == "own_loss":
            return -result
        if exercise.name == "class_disjoint":
            return 7
        if exercise.name == "zero_sphere":
            return 1.37 * result[0], 1
        return 1.37 * np.asarray(result, dtype=float) + 0.11

    outcome = exercise.check(answer)
    assert outcome.status == "wrong"
    assert outcome.message in exercise.properties


@every
def test_source_runs_alone(exercise):
    namespace = {"np": np, "math": math}
    exec(exercise.source, namespace)
    assert exercise.source.startswith(f"def {exercise.signature}:")
    assert exercise.check(namespace[exercise.name])
    assert exercise.source in repr(exercise.solution())


# ---------------------------------------------------------------------------------------------------------------------
# Model answers against oracles
# ---------------------------------------------------------------------------------------------------------------------
def points(d2):
    """Return points with these squared distances (classical scaling)."""
    centre = np.eye(len(d2)) - 1 / len(d2)
    values, vectors = np.linalg.eigh(-centre @ d2 @ centre / 2)
    return torch.tensor(vectors * np.sqrt(values.clip(0)))


ORACLES = {
    "triplet_loss": lambda *args: geometry.triplet(*args)[0],
    "sst_logit": geometry.sst_logit,
    "sst_loss": lambda z: np.logaddexp(0, z),
    "zero_sphere": geometry.sphere,
    "triplet_gradient": lambda *args: geometry.triplet(*args)[1],
    "sst_gradient": lambda *args: geometry.sst(*args)[1],
}


@pytest.mark.parametrize("name", ORACLES)
def test_geometry_is_the_oracle(name):
    for case in [case for seed in range(5) for case in cases(EXERCISES[name], seed)]:
        mine, theirs = EXERCISES[name].model(*case), ORACLES[name](*case)
        for x, y in zip(mine, theirs, strict=True) if isinstance(mine, tuple) else [(mine, theirs)]:
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


def test_hinge_radius_is_where_the_triplet_loss_ends():
    for a, p, margin in cases(sst.exercises.hinge_radius):
        direction = np.eye(len(a))[0]
        radius = sst.exercises.hinge_radius.model(a, p, margin)
        assert geometry.triplet(a, p, a + 1.0001 * radius * direction, margin)[0] == 0
        assert geometry.triplet(a, p, a + 0.9999 * radius * direction, margin)[0] > 0


@pytest.mark.parametrize("seed", range(3))
def test_recall_agrees_with_evaluation(seed):
    for d2, labels, k in cases(sst.exercises.recall_at_k, seed):
        theirs = sst.recall_at_k(points(d2), labels, [1, k])
        assert sst.exercises.recall_at_k.model(d2, labels, k) == pytest.approx(theirs[k])
        assert sst.exercises.recall_at_1.model(d2, labels) == pytest.approx(theirs[1])
        ranks = [sst.exercises.nearest_positive_rank.model(d2, labels, i) for i in range(len(labels))]
        assert np.mean(np.array(ranks) <= k) == pytest.approx(theirs[k])


@pytest.mark.parametrize("seed", range(3))
def test_precision_at_r_averages_to_map_at_r(seed):
    for d2, labels in cases(sst.exercises.recall_at_1, seed):
        mine = np.mean([sst.exercises.precision_at_r.model(d2, labels, i) for i in range(len(labels))])
        assert mine == pytest.approx(sst.map_at_r(points(d2), labels))


def test_chance_is_what_random_neighbors_give():
    rng = np.random.default_rng(0)
    counts = np.array([2, 3, 7])
    labels = np.repeat(np.arange(3), counts)
    found = [sst.exercises.recall_at_1.model(rng.random((12, 12)), labels) for _ in range(3000)]
    assert sst.exercises.chance_recall.model(counts) == pytest.approx(np.mean(found), abs=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_pairs_and_counts_agree_with_losses(seed):
    for d2, labels, k in cases(sst.exercises.nearest_positives, seed):
        anchor, positive = sst.nearest_positives(torch.tensor(d2), torch.tensor(labels), k)
        assert set(zip(anchor.tolist(), positive.tolist())) == set(sst.exercises.nearest_positives.model(d2, labels, k))
        triplets = sum((labels != labels[i]).sum() for i in anchor.tolist())
        assert sst.exercises.count_triplets.model(labels, k) == triplets


def test_squared_distances_agree_with_losses():
    for (x,) in cases(sst.exercises.squared_distances):
        theirs = sst.squared_distances(torch.tensor(x))
        np.testing.assert_allclose(sst.exercises.squared_distances.model(x), theirs, atol=1e-12)


def test_statistics_agree_with_scipy_and_scikit_learn():
    for (x,) in cases(sst.exercises.confidence_interval):
        theirs = stats.t.interval(0.95, len(x) - 1, loc=x.mean(), scale=stats.sem(x))
        np.testing.assert_allclose(sst.exercises.confidence_interval.model(x), theirs)
    for a, b in cases(sst.exercises.paired_interval):
        theirs = stats.ttest_rel(a, b).confidence_interval(0.95)
        np.testing.assert_allclose(sst.exercises.paired_interval.model(a, b), theirs)
    for (p,) in cases(sst.exercises.perplexity):
        assert sst.exercises.perplexity.model(p) == pytest.approx(math.exp(stats.entropy(p)))
    for a, b in cases(sst.exercises.nmi):
        assert sst.exercises.nmi.model(a, b) == pytest.approx(normalized_mutual_info_score(a, b))


@pytest.mark.parametrize("seed", range(3))
def test_long_exercises_agree_with_the_package_and_with_others(seed):
    for d2, labels, k in cases(sst.exercises.sst_batch_loss, seed):
        theirs = sst.sst_loss(points(d2), torch.tensor(labels), k=k)
        assert sst.exercises.sst_batch_loss.model(d2, labels, k) == pytest.approx(float(theirs))
    for d2, layout_d2, k in cases(sst.exercises.trustworthiness, seed):
        theirs = trustworthiness(d2, points(layout_d2), n_neighbors=k, metric="precomputed")
        assert sst.exercises.trustworthiness.model(d2, layout_d2, k) == pytest.approx(theirs)
    for a, b in cases(sst.exercises.sign_flip_p, seed):
        theirs = stats.permutation_test([a - b], np.mean, permutation_type="samples", n_resamples=2 ** len(a)).pvalue
        assert sst.exercises.sign_flip_p.model(a, b) == pytest.approx(theirs)
    for x, centres, B, rounds, rng in cases(sst.exercises.local_sampler, seed):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            moved = KMeans(len(centres), init=centres, n_init=1, max_iter=rounds, tol=0, algorithm="lloyd").fit(x)
        found = sst.exercises.local_sampler.model(x, centres, B, rounds, rng)
        assert sorted(map(len, found)) == sorted(np.minimum(np.bincount(moved.labels_), B))
        assert all(len(set(moved.labels_[batch])) == 1 for batch in found)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=30), st.integers(1, 6))
def test_triplets_are_counted_as_they_are_listed(labels, k):
    labels = np.array(labels)
    pairs = sst.exercises.nearest_positives.model(np.random.default_rng(0).random((len(labels),) * 2), labels, k)
    assert sst.exercises.count_triplets.model(labels, k) == sum((labels != labels[i]).sum() for i, _ in pairs)


# ---------------------------------------------------------------------------------------------------------------------
# Right answers of any form
# ---------------------------------------------------------------------------------------------------------------------
def to_lists(result):
    if isinstance(result, list | tuple):
        return [to_lists(item) for item in result]
    return result.tolist() if hasattr(result, "tolist") else result


def to_float32(result):
    if isinstance(result, list | tuple):
        return tuple(to_float32(item) for item in result)
    return np.asarray(result).astype(np.float32)


def to_torch(result):
    if isinstance(result, list | tuple):
        return tuple(to_torch(item) for item in result)
    return torch.tensor(np.asarray(result)).float().requires_grad_()


@some
@pytest.mark.parametrize("form", [to_lists, to_float32, to_torch])
def test_form_of_the_numbers_is_free(exercise, form):
    outcome = exercise.check(lambda *args: form(exercise.model(*args)))
    assert outcome.status == "correct", outcome


def _loop_distances(x):
    return [[sum((s - t) ** 2 for s, t in zip(y, z)) for z in x] for y in x]


def _branches(z):
    flat = [v + math.log(1 + math.exp(-v)) if v > 0 else math.log(1 + math.exp(v)) for v in np.ravel(z)]
    return np.reshape(flat, z.shape)


def _torch_gradient(a, p, n):
    points = [torch.tensor(x, requires_grad=True) for x in (a, p, n)]
    a, p, n = points
    z = (a - p).square().sum() - ((a - n).square().sum() + (p - n).square().sum()) / 2
    return torch.autograd.grad(torch.nn.functional.softplus(z), points)


def _pairs_by_matrix(d2, labels, k):
    others = np.where((labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool), d2, np.inf)
    order = others.argsort(1)[:, :k]
    return {(i, int(j)) for i in range(len(labels)) for j in order[i] if others[i, j] < np.inf}


def _shuffled_batches(assignment, B, rng):
    order = rng.permutation(len(assignment))
    return tuple([i for i in order if assignment[i] == c][:B] for c in reversed(np.unique(assignment)))


RIGHT = {
    "squared_distances": [
        _loop_distances,
        lambda x: (x**2).sum(1)[:, None] + (x**2).sum(1) - 2 * x @ x.T,
        lambda x: torch.cdist(torch.tensor(x), torch.tensor(x)) ** 2,
        lambda x: ((x[None] - x[:, None]).astype(np.float32) ** 2).sum(2),
    ],
    "nearest_other": [lambda d2, i: min((j for j in range(len(d2)) if j != i), key=lambda j: d2[i][j])],
    "sst_loss": [
        lambda z: np.logaddexp(0, z),
        lambda z: torch.nn.functional.softplus(torch.tensor(z)),
        _branches,
        lambda z: np.where(z > 30, z, np.log(1 + np.exp(np.minimum(z, 30)))),
    ],
    "sst_logit": [
        lambda a, p, n: 0.75 * ((a - p) ** 2).sum() - ((n - (a + p) / 2) ** 2).sum(),
        lambda a, p, n: (
            np.linalg.norm(a - p) ** 2 - 0.5 * np.linalg.norm(a - n) ** 2 - 0.5 * np.linalg.norm(p - n) ** 2
        ),
        lambda a, p, n: (a - p) @ (a - p) - ((a - n) @ (a - n) + (n - p) @ (n - p)) / 2,
        lambda x, y, z: sum((s - t) ** 2 - ((s - u) ** 2 + (t - u) ** 2) / 2 for s, t, u in zip(x, y, z)),
    ],
    "triplet_loss": [lambda a, p, n, margin=1: np.maximum((a - p) @ (a - p) - (a - n) @ (a - n) + margin, 0)],
    "sst_gradient": [_torch_gradient],
    "central_difference": [lambda f, x, h: [(f(x + h / 2 * e) - f(x - h / 2 * e)) / h for e in np.eye(len(x))]],
    "nearest_positives": [_pairs_by_matrix, lambda d2, y, k: np.array(sorted(_pairs_by_matrix(d2, y, k)))[::-1]],
    "neighborhoods": [
        _shuffled_batches,
        lambda c, B, rng: [rng.permutation(np.flatnonzero(c == i))[:B] for i in set(c.tolist())],
    ],
    "mean_loss": [lambda z: sum(max(0, v) for v in z) / len(z), lambda z: z[z > 0].sum() / z.size],
    "recall_at_k": [lambda d2, y, k: np.mean([y[i] in y[np.argsort(d2[i])[1 : k + 1]] for i in range(len(y))])],
    "nearest_positive_rank": [
        lambda d2, y, i: 1 + np.sum(d2[i] < d2[i][(y == y[i]) & (np.arange(len(y)) != i)].min()) - 1
    ],
    "perplexity": [
        lambda p: np.prod([v**-v for v in p if v]),
        lambda p: np.exp(-sum(v * math.log(v) for v in p if v > 0)),
        lambda p: 2 ** -(p * np.log2(p + 1e-15)).sum(),
    ],
    "confidence_interval": [lambda x: stats.t.interval(0.95, len(x) - 1, loc=np.mean(x), scale=stats.sem(x))],
    "class_disjoint": [lambda x, y: not set(x) & set(y), lambda x, y: len(np.intersect1d(x, y)) == 0],
    "nmi": [normalized_mutual_info_score],
    "count_triplets": [lambda y, k: sum(min(k, (y == c).sum() - 1) * (y != c).sum() for c in y)],
    "sgd_step": [lambda x, gradient, lr: np.add(x, -lr * gradient), lambda x, g, lr: x.copy().__isub__(lr * g)],
}


@pytest.mark.parametrize("name", RIGHT)
def test_other_right_answers_pass(name):
    for answer in RIGHT[name]:
        outcome = EXERCISES[name].check(answer)
        assert outcome.status == "correct", outcome


# ---------------------------------------------------------------------------------------------------------------------
# Whatever students type
# ---------------------------------------------------------------------------------------------------------------------
def with_parameters(exercise, body):
    """Return a function of the exercise's parameters with this body, as a student writes it."""
    namespace = {"np": np, "____": ____}
    exec(f"def {exercise.signature}:\n    {body}", namespace)
    return namespace[exercise.name]


@some
@pytest.mark.parametrize(
    "body",
    [
        "return ____",
        "return ____ + 1",
        "return [____, 2]",
        "x = ____ * 2; return np.sqrt(x).sum()",
        "return float(____)",
        "return [y for y in ____]",
        "x = 0 if ____ else 1; return x",
        "return np.zeros(____)",
        "return (lambda: ____)()",
        "return 1 / 0 + ____",
        "...; return ...",
        "raise NotImplementedError",
    ],
)
def test_blank_is_not_attempted(exercise, body):
    outcome = exercise.check(with_parameters(exercise, body))
    assert outcome.status == "not attempted"
    assert "____" in outcome.message
    assert not outcome


@pytest.mark.parametrize("value", [____, ____ + 1, [____], np.array([____, 1]), {"x": ____}, ...])
def test_blank_value_is_not_attempted(value):
    assert sst.exercises.sst_loss.check(value).status == "not attempted"
    assert sst.exercises.sst_loss.check(lambda z: value).status == "not attempted"
    assert sst.exercises.sst_loss.check(lambda z, w=____: z).status == "not attempted"


def test_blank_stays_a_blank():
    made = [____ + 1, 1 - ____, -____, ____[0], ____.sum(), ____(3), np.exp(____), np.sum(____), np.ones(2) * ____]
    assert all(isinstance(item, Blank) for item in [*made, ____ == 1, ____ < 2, 2**____, ____ @ np.ones(2)])
    assert repr(____) == "____"
    assert isinstance(hash(____), int)
    assert not hasattr(____, "_repr_html_")


BAD = {
    "return None": "returned nothing",
    "pass": "returned nothing",
    "return 'half'": "returned text",
    "return ['a', 'b']": "returned text",
    "return {'x': 1}": "returned a dictionary",
    "yield 1": "iterator",
    "return (x for x in [1, 2])": "iterator",
    "return np.sum": "parentheses are missing",
    "return {1, 'a'}": "returned text",
    "return {1, None}": "nothing (`None`) instead of a number",
    "return 10**400": "not made of plain numbers",
    "return object()": "not made of plain numbers",
    "return 1j": "not made of plain numbers",
    "return 1 / 0": "ZeroDivisionError",
    "return no_such_name": "check its spelling",
    "return [1][2]": "the last index is one less",
    "raise SystemExit": "SystemExit",
    "raise ValueError": "stopped with `ValueError`",
    "return np.ones(3) @ np.ones(4)": "stopped with",
    "import re; re.compile('(')": "stopped with",
}


@some
@pytest.mark.parametrize("body", BAD)
def test_bad_results_get_a_sentence(exercise, body):
    outcome = exercise.check(with_parameters(exercise, body))
    assert outcome.status == "wrong"
    assert BAD[body] in outcome.message
    assert "Traceback" not in repr(outcome)


def loops(count):
    """Return a student's neighborhoods: a loop over the numbers of clusters, but not over those that occur."""

    def neighborhoods(assignment, B, rng):
        batches = []
        for c in range(count(assignment)):
            members = np.flatnonzero(assignment == c)
            batches.append(rng.choice(members, B, replace=False) if len(members) > B else members)
        return batches

    return neighborhoods


def where_is_a_tuple(assignment, B, rng):
    batches = []
    for c in np.unique(assignment):
        members = np.where(assignment == c)
        batches.append(rng.choice(members, B, replace=False) if len(members) > B else members)
    return batches


def among(axis):
    """Return a student's Recall@K with `any` along an axis."""

    def recall_at_k(d2, labels, k):
        nearest = np.argsort(d2 + np.diag(np.full(len(d2), np.inf)), axis=1)[:, :k]
        return np.mean((labels[nearest] == labels[:, None]).any(axis=axis))

    return recall_at_k


OFTEN = {
    "any, axis 0": ("recall_at_k", among(0), "asks one question about all items"),
    "any of all": ("recall_at_k", among(None), "asks one question about all items"),
    "range(max)": ("neighborhoods", loops(lambda c: c.max()), "`range(n)` ends at n - 1"),
    "range(max + 1)": ("neighborhoods", loops(lambda c: c.max() + 1), "empty batch for each number"),
    "range(count)": ("neighborhoods", loops(lambda c: len(np.unique(c))), "numbered without a gap"),
    "np.where": ("neighborhoods", where_is_a_tuple, "`np.where(...)[0]`"),
    "choice(np.where)": (
        "neighborhoods",
        lambda c, B, rng: [rng.choice(np.where(c == i), B, replace=False) for i in np.unique(c)],
        "as `np.where(...)` gives",
    ),
    "torch's function": ("sst_loss", lambda z: torch.nn.functional.softplus(z), "torch takes tensors"),
    "torch's distances": ("squared_distances", lambda x: torch.cdist(x, x) ** 2, "torch takes tensors"),
    "torch's stack": ("sgd_step", lambda x, g, lr: torch.stack([x, g])[0], "torch takes tensors"),
    "torch's method": ("mean_loss", lambda z: z.clamp(min=0).mean(), "other methods than tensors"),
    "max of an array": ("mean_loss", lambda z: max(0, z), "`np.maximum`"),
    "if of an array": ("sst_loss", lambda z: z if z > 0 else 0, "`np.where`"),
    "math of an array": ("sst_loss", lambda z: math.log(1 + math.exp(z)), "`np.exp`"),
    "shapes": ("squared_distances", lambda x: x - x.sum(0)[:, None], "Print the shapes"),
}


@pytest.mark.parametrize("name", OFTEN)
def test_what_students_do_often_is_told(name):
    exercise, answer, says = OFTEN[name]
    outcome = EXERCISES[exercise].check(answer)
    assert outcome.status == "wrong" and says in outcome.message, outcome
    assert "your result" in outcome.example


@some
@pytest.mark.parametrize(
    "body",
    [
        "return np.nan",
        "return np.zeros((2, 3, 4))",
        "return []",
        "return np.inf",
        "return 1, [2, 3]",
        "return [(np.inf, 0)]",
    ],
)
def test_odd_numbers_get_a_sentence(exercise, body):
    outcome = exercise.check(with_parameters(exercise, body))
    assert outcome.status == "wrong"
    assert outcome.message


def test_shape_and_nan_are_told():
    check = sst.exercises.sst_logit.check
    assert (
        "array of shape (1,), and the task asks for a single number"
        in check(lambda a, p, n: [sst.exercises.sst_logit.model(a, p, n)]).message
    )
    assert "`nan` or `inf`" in check(lambda a, p, n: np.nan).message
    assert "`nan` or `inf`" in check(lambda a, p, n: np.inf).message
    message = sst.exercises.sst_gradient.check(lambda a, p, n: (a, p)).message
    assert "array of shape (2, 2), and the task asks for an array of shape (3, 2)" in message


@some
@pytest.mark.parametrize("value", [3, None, "f", [1], np.ones(2), int, EXERCISES["nmi"]], ids=str)
def test_no_function_gets_a_sentence(exercise, value):
    outcome = exercise.check(value)
    assert outcome.status == "wrong"
    assert f"`check({exercise.name})`" in outcome.message
    if value is None or isinstance(value, int):
        assert f"was given {'a `NoneType`' if value is None else 'an `int`'}, and" in outcome.message


@some
def test_number_of_inputs(exercise):
    few, many = exercise.check(lambda: 1), exercise.check(lambda a, b, c, d, e, f, g: 1)
    assert "takes no inputs" in few.message
    assert "takes 7 inputs (`a`, `b`" in many.message
    assert exercise.signature in few.message
    count = len(inspect.signature(exercise.model).parameters)
    assert f"called with {count} input{'s' if count > 1 else ''} (`" in few.message
    # names are free, and so are defaults, stars, and what cannot be inspected
    assert exercise.check(lambda *args: exercise.model(*args))
    assert exercise.check(functools.partial(lambda extra, *args: exercise.model(*args), 0))
    assert exercise.check(functools.wraps(exercise.model)(lambda *args: exercise.model(*args)))


@every
def test_changed_input_is_noticed(exercise):
    arrays = [i for i, value in enumerate(cases(exercise)[0]) if isinstance(value, np.ndarray | torch.Tensor)]
    for i in arrays:
        name = list(inspect.signature(exercise.model).parameters)[i]

        def answer(*args, i=i):
            result = exercise.model(*args)
            args[i][...] = args[i] + 1
            return result

        outcome = exercise.check(answer)
        assert outcome.status == "wrong"
        assert f"changes `{name}`" in outcome.message
    assert arrays


@pytest.mark.parametrize("change", [lambda x: x.append(1), lambda x: x.pop(), lambda x: x.__setitem__(0, 7)])
def test_a_changed_list_is_noticed(change):
    task = Exercise(lambda x: sum(x), "Add.", cases=lambda rng: [([3, 4],)])
    assert task.check(lambda x: sum(x))
    assert "changes `x`" in task.check(lambda x: (sum(x), change(x))[0]).message


def test_without_properties_the_value_decides():
    def double(x):
        return 2 * x

    task = Exercise(double, "Double it.", cases=lambda rng: [(1.0,), (2.0,)])
    assert task.check(lambda x: x + x)
    assert task.check(lambda x: 2.0).message.startswith("Your answer has the properties")


def test_results_of_other_lengths_differ():
    assert not same([np.zeros(2), np.zeros(3)], [np.zeros(2)])
    assert same([np.zeros(2), np.zeros(3)], [np.zeros(2), np.zeros(3)])


def test_no_pairs_are_no_pairs_in_whatever_form():
    def pairs(n):
        return np.ones((n, 2))

    task = Exercise(pairs, "Make pairs.", cases=lambda rng: [(0,), (3,)])
    assert task.check(lambda n: [(1, 1)] * n)


def test_a_case_that_only_a_property_tries_is_shown():
    small = {"cases": lambda rng: [(1,)], "properties": {"It is wrong at ten.": lambda ask, n: ask(10) == 11}}
    outcome = Exercise(lambda n: n + 1, "Add one.", **small).check(lambda n: n + 1 if n < 10 else 0)
    assert outcome == Outcome("wrong", "It is wrong at ten.")
    assert outcome.example == "n             = 10\nyour result   = 0\nthe right one = 11"


def test_where_several_results_are_right_that_of_the_model_answer_is_one_of_them():
    larger = {"properties": {"It is not larger.": lambda ask, n: ask(n) > n}, "unique": False}
    task = Exercise(lambda n: n + 1, "Name a larger number.", cases=lambda rng: [(1,), (5,)], **larger)
    assert task.check(lambda n: n + 2)
    assert "\na right one = 2" in task.check(lambda n: n).example.replace("  ", " ")


def test_a_blank_within_a_decorated_function_is_seen():
    def sst_loss(z):
        return z if z is None else ____

    assert EXERCISES["sst_loss"].check(functools.wraps(sst_loss)(lambda z: z)).status == "not attempted"


def test_a_blank_of_the_function_around_it_is_seen():
    def around(____):
        return lambda z: z if z is None or len(z) < 10**6 else ____

    assert EXERCISES["sst_loss"].check(around(____)).status == "not attempted"


def test_async_is_told():
    async def sst_loss(z):
        return z

    assert "`async`" in sst.exercises.sst_loss.check(sst_loss).message


def test_interrupt_interrupts():
    def answer(z):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sst.exercises.sst_loss.check(answer)


def test_endless_recursion_is_told():
    def answer(z):
        return answer(z)

    assert "calls itself" in sst.exercises.sst_loss.check(answer).message


def test_error_with_an_address_or_a_long_text_is_the_same_each_time():
    def answer(z):
        raise ValueError(f"{object()} `tick` " + 300 * "x")

    message = sst.exercises.sst_loss.check(answer).message
    assert "0x" not in message
    assert len(message) < 300


def test_answer_that_prints_and_warns_is_quiet(capsys, recwarn):
    def sst_loss(z):
        print(z)
        np.log(-1 - np.abs(z))
        return np.logaddexp(0, z)

    assert sst.exercises.sst_loss.check(sst_loss)
    assert capsys.readouterr().out == ""
    assert not recwarn.list


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=3)
        | st.just(____)
        | st.binary(max_size=2),
        lambda part: (
            st.lists(part, max_size=3) | st.tuples(part, part) | st.dictionaries(st.text(max_size=2), part, max_size=2)
        ),
        max_leaves=6,
    ),
    st.sampled_from(NAMES),
)
def test_anything_returned_gets_an_outcome(value, name):
    outcome = EXERCISES[name].check(lambda *args: value)
    assert outcome.status in ("wrong", "not attempted")
    assert outcome.message


# ---------------------------------------------------------------------------------------------------------------------
# What is shown
# ---------------------------------------------------------------------------------------------------------------------
@some
def test_hints_come_one_by_one(exercise, monkeypatch):
    monkeypatch.setattr(exercise, "_given", 0)
    for i, hint in enumerate(exercise.hints, 1):
        assert repr(exercise.hint()) == f"○ hint {i} of {len(exercise.hints)}: {hint}"
    for _ in range(2):
        assert repr(exercise.hint()).startswith("○ no more hints:")
    assert f"sst.exercises.{exercise.name}.solution()" in exercise.hint().message


def test_outcome_is_text_and_html():
    outcome = Outcome("wrong", "a < b & `x < 1` or <script>", "if a < b:\n    pass")
    assert repr(outcome) == "✗ wrong: a < b & `x < 1` or <script>\n\nif a < b:\n    pass"
    page = outcome._repr_html_()
    assert "a &lt; b &amp; <code>x &lt; 1</code> or &lt;script&gt;" in page
    assert "if a &lt; b:\n    pass</pre>" in page
    assert "color:inherit" in page
    assert repr(Outcome("correct", "yes.")) == "✓ correct: yes."


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("status", ["correct", "wrong", "not attempted"])
def test_badge_can_be_read(status):
    page = Outcome(status, "x")._repr_html_()
    badge = luminance(page.split("background:#")[1].join(["#", ""])[:7])
    assert 1.05 / (badge + 0.05) >= 4.5  # white text on it
    for paper in ("#ffffff", "#16181d", "#111111"):  # the border on light and dark paper
        high, low = sorted([badge, luminance(paper)], reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 2.9


@every
def test_exercise_says_what_it_is(exercise):
    assert repr(exercise) == f"exercise {exercise.signature}: {exercise.task}"


def test_wrong_name_gets_the_close_one():
    with pytest.raises(AttributeError, match="no exercise 'sst_logits'; did you mean 'sst_logit'"):
        _ = sst.exercises.sst_logits
    with pytest.raises(AttributeError, match="there are squared_distances"):
        _ = sst.exercises.zzzzzz


def test_import_needs_no_torch():
    heavy = "('torch', 'scipy', 'sklearn')"
    code = f"import sstutils.lectures.exercises, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
