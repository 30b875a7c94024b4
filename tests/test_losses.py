"""The losses against loops over triplets, the numpy twins, pytorch-metric-learning, and the laws that they obey."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import losses as peers
from pytorch_metric_learning import miners, reducers
from pytorch_metric_learning.distances import LpDistance
from torch.autograd import forward_ad

from sstutils import geometry
from sstutils import losses as module
from sstutils.losses import (
    ContrastiveLoss,
    SSTLoss,
    TripletLoss,
    contrastive_loss,
    nearest_positives,
    squared_distances,
    sst_loss,
    triplet_loss,
)

MARGIN = 0.7
LABELS = {
    "balanced": [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2],
    "uneven, fewer than k positives": [3, 1, 1, 2, 1, 1, 1, 2, 1, 1, 2, 1],
    "single members": [5, 0, 0, 7, 0, 8, 1, 1],
    "two": [0, 0, 9],
    "any integers": [-4, 10**12, -4, 10**12, 10**12, 0],
}
NO_TRIPLET = {"one class": [1, 1, 1, 1], "singletons only": [0, 1, 2, 3], "one item": [0], "no item": []}


def batch(labels, dimension=3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(labels), dimension, generator=generator, dtype=torch.float64)
    return x.to(dtype).requires_grad_(), torch.tensor(labels, dtype=torch.long)


def value_and_gradient(loss, x, *args, **kwargs):
    x = x.detach().clone().requires_grad_()
    value = loss(x, *args, **kwargs)
    value.backward()
    return value.detach(), x.grad


# The oracles: loops, one triplet or pair at a time, with torch's own gradients in float64


def d2(x, i, j):
    return ((x[i] - x[j]) ** 2).sum()


def sst_of(x, a, p, n):
    return torch.logaddexp(d2(x, a, p) - (d2(x, a, n) + d2(x, p, n)) / 2, torch.zeros((), dtype=x.dtype))


def triplet_of(x, a, p, n):
    return (d2(x, a, p) + MARGIN - d2(x, a, n)).clamp_min(0)


def pairs_of(x, labels, k):
    pairs = []
    for a in range(len(labels)):
        others = [p for p in range(len(labels)) if p != a and labels[p] == labels[a]]
        others.sort(key=lambda p: d2(x, a, p).item())
        pairs += [(a, p) for p in others[:k]]
    return pairs


def triplets_of(pairs, labels):
    return [(a, p, n) for a, p in pairs for n in range(len(labels)) if labels[n] != labels[a]]


def mean_over(loss_of):
    def loss(x, triplets):
        return sum(loss_of(x, *triplet) for triplet in triplets) / len(triplets)

    return loss


def contrastive_of(x, positives, negatives, margin=MARGIN):
    pull = sum(d2(x, i, j) for i, j in positives)
    return (pull + sum((margin - d2(x, i, j)).clamp_min(0) for i, j in negatives)) / len(x)


def close(result, expected, **tolerance):
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(one, other, **(tolerance or {"rtol": 0, "atol": 1e-10}))


def triplet(x, labels, indices_tuple=None, k=5):
    return triplet_loss(x, labels, indices_tuple, MARGIN, k)


def contrastive(x, labels, indices_tuple=None, k=None):
    return contrastive_loss(x, labels, indices_tuple, MARGIN, k)


TRIPLET_LOSSES = [(sst_loss, sst_of), (triplet, triplet_of)]
ALL_LOSSES = [sst_loss, triplet, contrastive]


@pytest.mark.parametrize(("loss", "loss_of"), TRIPLET_LOSSES)
@pytest.mark.parametrize("k", [1, 2, 5, None])
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_equals_a_loop_over_triplets(loss, loss_of, k, labels):
    x, y = batch(labels)
    triplets = triplets_of(pairs_of(x, labels, k), labels)
    close(value_and_gradient(loss, x, y, k=k), value_and_gradient(mean_over(loss_of), x, triplets))


@pytest.mark.parametrize("k", [1, 2, None])
@pytest.mark.parametrize("labels", [*LABELS.values(), [1, 1, 1, 1], [0, 1, 2, 3]])
def test_contrastive_equals_a_loop_over_pairs(k, labels):
    x, y = batch(labels)
    negatives = [(i, j) for i in range(len(y)) for j in range(len(y)) if labels[i] != labels[j]]
    expected = value_and_gradient(contrastive_of, x, pairs_of(x, labels, k), negatives)
    close(value_and_gradient(contrastive, x, y, k=k), expected)


@pytest.mark.parametrize("count", [1, 60])
@pytest.mark.parametrize(("loss", "loss_of"), TRIPLET_LOSSES)
def test_listed_triplets_count_as_listed(loss, loss_of, count):
    x, _ = batch(range(6))
    triplets = np.random.default_rng(count).integers(0, 6, (count, 3))  # any triplets, whatever the labels, repeats too
    expected = value_and_gradient(mean_over(loss_of), x, triplets)
    close(value_and_gradient(loss, x, None, tuple(torch.tensor(triplets).T)), expected)


def test_a_triplet_listed_twice_counts_twice():
    x, y = batch([0, 0, 1, 1])
    once, other = (sst_loss(x, y, tuple(torch.tensor(t))) for t in ([[0], [1], [2]], [[2], [3], [0]]))
    both = sst_loss(x, y, tuple(torch.tensor([[0, 0, 2], [1, 1, 3], [2, 2, 0]])))
    torch.testing.assert_close(both, (2 * once + other) / 3)


@pytest.mark.parametrize(("loss", "loss_of"), TRIPLET_LOSSES)
def test_given_pairs_meet_all_negatives(loss, loss_of):
    labels = LABELS["uneven, fewer than k positives"]
    x, y = batch(labels)
    pairs = [(1, 2), (2, 1), (1, 2), (4, 11), (7, 3)]  # mutual, repeated, one way
    expected = value_and_gradient(mean_over(loss_of), x, triplets_of(pairs, labels))
    close(value_and_gradient(loss, x, y, tuple(torch.tensor(pairs).T)), expected)


@pytest.mark.parametrize(("loss", "loss_of"), TRIPLET_LOSSES)
def test_pairs_of_pairs_meet_at_their_anchor(loss, loss_of):
    x, _ = batch(range(6))
    positives, negatives = [(0, 1), (3, 2), (0, 2), (5, 4), (0, 1)], [(3, 5), (0, 3), (0, 4), (4, 0), (3, 5)]
    triplets = [(a, p, n) for a, p in positives for b, n in negatives if a == b]
    indices = (*torch.tensor(positives).T, *torch.tensor(negatives).T)
    close(value_and_gradient(loss, x, None, indices), value_and_gradient(mean_over(loss_of), x, triplets))


def test_contrastive_reads_tuples_as_pairs():
    labels = [0, 0, 0, 1, 1]
    x, y = batch(labels)
    a, p, n = [0, 0, 2], [1, 2, 1], [3, 4, 3]
    positives, negatives = list(zip(a, p)), list(zip(a, n))
    expected = value_and_gradient(contrastive_of, x, positives, negatives, margin=9)
    triplets = tuple(map(torch.tensor, (a, p, n)))
    close(value_and_gradient(contrastive_loss, x, None, triplets, margin=9), expected)
    pairs = (torch.tensor(a), torch.tensor(p), torch.tensor(a), torch.tensor(n))
    close(value_and_gradient(contrastive_loss, x, None, pairs, margin=9), expected)
    every_negative = [(i, j) for i in range(5) for j in range(5) if labels[i] != labels[j]]
    expected = value_and_gradient(contrastive_of, x, positives, every_negative, margin=9)
    close(value_and_gradient(contrastive_loss, x, y, pairs[:2], margin=9), expected)


def test_one_triplet_equals_the_numpy_twins():
    x, y = batch([0, 0, 1])
    for loss, twin in ((sst_loss, geometry.sst), (triplet, lambda *points: geometry.triplet(*points, margin=MARGIN))):
        value, gradients = twin(*x.detach().numpy())
        expected = torch.tensor(value), torch.from_numpy(np.stack(gradients))
        close(value_and_gradient(loss, x, y, tuple(torch.tensor([[0], [1], [2]]))), expected)


@pytest.mark.parametrize("loss", ALL_LOSSES)
@pytest.mark.parametrize("k", [2, None])
def test_gradcheck(loss, k):
    x, y = batch(LABELS["single members"])
    assert torch.autograd.gradcheck(lambda x: loss(x, y, k=k), x)


@pytest.mark.parametrize("loss", ALL_LOSSES)
@pytest.mark.parametrize("form", ["nearest", "pairs", "triplets", "pairs of pairs"])
def test_second_derivatives(loss, form):
    x, y = batch(LABELS["single members"])
    a, p = nearest_positives(squared_distances(x.detach()), y, k=2)
    pair, n = (y[a][:, None] != y).nonzero().unbind(1)
    indices = {"nearest": None, "pairs": (a, p), "triplets": (a[pair], p[pair], n), "pairs of pairs": (a, p, a, a - 1)}
    assert torch.autograd.gradgradcheck(lambda x: loss(x, y, indices[form]), x)


@pytest.mark.parametrize("loss", ALL_LOSSES)
@pytest.mark.parametrize("collapsed", [False, True])
def test_derivatives_by_the_transforms_of_torch(loss, collapsed):
    x, y = batch(LABELS["single members"])
    x = x.detach() * (not collapsed)
    direction = torch.arange(x.numel(), dtype=x.dtype).view_as(x)
    slope = torch.autograd.functional.jacobian(lambda x: loss(x, y), x)
    hessian = torch.autograd.functional.hessian(lambda x: loss(x, y), x)
    torch.testing.assert_close(torch.func.grad(loss)(x, y), slope)
    torch.testing.assert_close(torch.func.jacrev(loss)(x, y), slope)
    torch.testing.assert_close(torch.func.jvp(lambda x: loss(x, y), (x,), (direction,))[1], (slope * direction).sum())
    torch.testing.assert_close(torch.func.hessian(loss)(x, y), hessian)
    with forward_ad.dual_level():
        value = loss(forward_ad.make_dual(x, direction), y)
        torch.testing.assert_close(forward_ad.unpack_dual(value).tangent, (slope * direction).sum())


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_what_happens_to_the_labels_later_changes_no_second_derivative(loss):
    x, y = batch(LABELS["single members"])
    (expected,) = torch.autograd.grad(loss(x, y), x)
    later = y.clone()
    value = loss(x, later)
    later[:] = later.flip(0)  # a loader that uses its memory again
    torch.testing.assert_close(torch.autograd.grad(value, x, create_graph=True)[0], expected)


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_a_gradient_penalty_through_a_network(loss):
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(9, 5, generator=generator), torch.arange(9) % 3
    weight = torch.randn(5, 4, generator=generator).requires_grad_()

    def penalised(loss_of, weight):
        x = images @ weight
        value = loss_of(x)
        (slope,) = torch.autograd.grad(value, x, create_graph=True)
        return torch.autograd.grad(value + 10 * slope.square().sum(), weight)[0]

    def plain(x):  # the same loss in torch's own operations
        same = labels[:, None] == labels
        d2 = (x[:, None] - x).square().sum(2)
        if loss is contrastive:
            return torch.where(same, d2, (MARGIN - d2).relu()).sum() / len(x)
        z = [
            d2[i, j] - ((d2[i, n] + d2[j, n]) / 2 if loss is sst_loss else d2[i, n] - MARGIN)
            for i, j in same.nonzero().tolist()
            for n in (~same[i]).nonzero()[:, 0]
            if i != j
        ]
        z = torch.stack(z)
        return (F.softplus(z) if loss is sst_loss else z.relu()).mean()

    expected = penalised(plain, weight)
    torch.testing.assert_close(penalised(lambda x: loss(x, labels, k=None), weight), expected, rtol=1e-4, atol=1e-4)


def test_the_second_derivative_of_a_collapsed_batch():
    x = torch.zeros(4, 2, dtype=torch.float64).requires_grad_()
    # sst: of one triplet it is sigmoid(0) times the Hessian of z
    hessian = torch.autograd.functional.hessian(lambda x: sst_loss(x, None, tuple(I + i for i in range(3))), x)
    a, p, n = (hessian[i, 0, :3, 0] for i in range(3))
    torch.testing.assert_close(
        torch.stack([a, p, n]), torch.tensor([[1.0, -2, 1], [-2, 1, 1], [1, 1, -2]]).double() / 2
    )


def test_blocks_change_nothing(monkeypatch):
    x, y = batch([i % 4 for i in range(40)])
    whole = [value_and_gradient(loss, x, y) for loss in ALL_LOSSES]
    monkeypatch.setattr(module, "_BLOCK", 70)  # two rows
    for loss, expected in zip(ALL_LOSSES, whole):
        close(value_and_gradient(loss, x, y), expected)


# Batches at the edge


@pytest.mark.parametrize("loss", [sst_loss, triplet])
@pytest.mark.parametrize("labels", NO_TRIPLET.values(), ids=NO_TRIPLET)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_no_triplet_is_an_exact_zero_that_back_propagates(loss, labels, dtype):
    x, y = batch(labels, dtype=dtype)
    value, gradient = value_and_gradient(loss, x, y)
    assert value.item() == 0
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient, torch.zeros_like(x), rtol=0, atol=0)


@pytest.mark.parametrize("length", [2, 3, 4])
@pytest.mark.parametrize("loss", [sst_loss, triplet])
@pytest.mark.parametrize("empty", [torch.tensor([]), torch.tensor([], dtype=torch.long)], ids=["float", "long"])
def test_empty_tuples_are_batches_without_triplets(length, loss, empty):
    x, y = batch([0, 0, 1, 1])
    value, gradient = value_and_gradient(loss, x, y, (empty,) * length)
    assert value.item() == 0
    assert not gradient.any()


def test_positive_pairs_without_negative_pairs_form_no_triplet():
    x, y = batch([0, 0, 1])
    some, none = torch.tensor([0]), torch.tensor([], dtype=torch.long)
    assert sst_loss(x, y, (some, some + 1, none, none)).item() == 0
    assert sst_loss(x, y, (some, some + 1, some + 1, some + 2)).item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_collapse_costs_log_2_and_pushes_nowhere(dtype):
    x = torch.full((12, 4), 3.7, dtype=dtype)
    y = torch.tensor(LABELS["balanced"])
    value, gradient = value_and_gradient(sst_loss, x, y)
    torch.testing.assert_close(value, torch.tensor(math.log(2), dtype=dtype))
    assert gradient.abs().max() < torch.finfo(dtype).eps
    value, gradient = value_and_gradient(triplet, x, y)
    torch.testing.assert_close(value, torch.tensor(MARGIN, dtype=dtype))
    assert gradient.abs().max() < torch.finfo(dtype).eps


def test_duplicates_are_ordinary_points():
    labels = [0, 0, 0, 1, 1, 1]
    x, y = batch(labels)
    x = x.detach()[[0, 0, 2, 2, 4, 4]]  # the same point twice within a class, across classes, within a class
    for loss, loss_of in TRIPLET_LOSSES:
        expected = value_and_gradient(mean_over(loss_of), x, triplets_of(pairs_of(x, labels, None), labels))
        close(value_and_gradient(loss, x, y, k=None), expected)
    anchor, positive = nearest_positives(squared_distances(x), y, k=1)
    assert (anchor != positive).all()
    assert positive[0] == 1
    assert positive[1] == 0


@pytest.mark.parametrize("size", [1e6, -1e6])
def test_huge_logits_in_float32(size):
    far = math.sqrt(abs(size))
    # z = size for the triplet (0, 1, 2); on a line, so that the other triplets are as extreme
    points = [0.0, far, far / 2] if size > 0 else [0.0, 0.0, far]
    x = torch.tensor(points)[:, None]
    assert geometry.sst_logit(*x.double().numpy()) == pytest.approx(size * (0.75 if size > 0 else 1))
    indices = tuple(torch.tensor([[0], [1], [2]]))
    value, gradient = value_and_gradient(sst_loss, x, None, indices)
    expected, slopes = value_and_gradient(mean_over(sst_of), x.double(), [(0, 1, 2)])
    close((value, gradient), (expected.float(), slopes.float()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_far_from_the_origin(loss):
    x, y = batch([0, 0, 0, 1, 1, 1], dtype=torch.float32)
    near = value_and_gradient(loss, x, y)
    close(value_and_gradient(loss, x.detach() + 1000, y), near, rtol=2e-3, atol=2e-3)


# Laws

SEEDS = st.integers(0, 10**6)
SIZES = st.lists(st.integers(1, 5), min_size=2, max_size=4)


def drawn(sizes, seed, dimension=4):
    return batch([label for label, size in enumerate(sizes) for _ in range(size)], dimension, seed)


@settings(deadline=None, max_examples=30)
@given(SIZES, SEEDS, st.sampled_from(ALL_LOSSES))
def test_gradients_add_up_to_zero(sizes, seed, loss):
    _, gradient = value_and_gradient(loss, *drawn(sizes, seed))
    torch.testing.assert_close(gradient.sum(0), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(SIZES, SEEDS, st.sampled_from(ALL_LOSSES))
def test_motions_carry_the_gradient_along(sizes, seed, loss):
    x, y = drawn(sizes, seed)
    turn = torch.linalg.qr(drawn([2, 2], seed + 1)[0].detach())[0]
    value, gradient = value_and_gradient(loss, x, y)
    close(value_and_gradient(loss, x.detach() @ turn + 5, y), (value, gradient @ turn))


@settings(deadline=None, max_examples=30)
@given(SIZES, SEEDS, st.sampled_from(ALL_LOSSES))
def test_the_order_of_the_batch_does_not_matter(sizes, seed, loss):
    x, y = drawn(sizes, seed)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    value, gradient = value_and_gradient(loss, x, y)
    close(value_and_gradient(loss, x.detach()[order], y[order]), (value, gradient[order]))


@settings(deadline=None, max_examples=30)
@given(SIZES, SEEDS)
def test_sst_treats_anchor_and_positive_alike(sizes, seed):
    x, y = drawn(sizes, seed)
    a, p = nearest_positives(squared_distances(x.detach()), y, k=2)
    close(value_and_gradient(sst_loss, x, y, (a, p)), value_and_gradient(sst_loss, x, y, (p, a)))


def test_triplet_does_not_treat_them_alike():
    x = torch.tensor([[0.0], [1.0], [1.5]])
    one, other = (triplet(x, None, tuple(torch.tensor(t)[:, None])) for t in ([0, 1, 2], [1, 0, 2]))
    assert one == 0
    assert other == pytest.approx(1 + MARGIN - 0.25)


@settings(deadline=None, max_examples=30)
@given(SIZES, SEEDS, st.sampled_from([sst_loss, triplet]), st.sampled_from([1, 2, 5, None]))
def test_the_forms_of_indices_tuple_agree(sizes, seed, loss, k):
    x, y = drawn(sizes, seed)
    expected = value_and_gradient(loss, x, y, k=k)
    a, p = nearest_positives(squared_distances(x.detach()), y, k)
    close(value_and_gradient(loss, x, y, (a, p)), expected)
    pair, n = (y[a][:, None] != y).nonzero().unbind(1)
    close(value_and_gradient(loss, x, y, (a[pair], p[pair], n)), expected)
    close(value_and_gradient(loss, x, y, (a, p, *(y[:, None] != y).nonzero().unbind(1))), expected)


# Distances and positives


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (7, 1), (20, 64), (5, 0)])
def test_squared_distances(shape):
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    result = squared_distances(x)
    torch.testing.assert_close(result, torch.cdist(x, x) ** 2, rtol=0, atol=1e-10)
    assert (result >= 0).all()
    assert not result.diagonal().any()
    assert squared_distances(x.half()).dtype == squared_distances(x.bfloat16()).dtype == torch.float32


def test_rounding_makes_no_distance_negative():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 64, generator=generator) + 1e-4 * torch.randn(50, 64, generator=generator)
    x = torch.cat([x, -x])  # two tight clouds, far apart: their inner distances are lost in rounding
    norms, gram = x.square().sum(1), x @ x.T
    assert (norms[:, None] + norms - 2 * gram).min() < 0
    assert squared_distances(x).min() == 0


def test_squared_distances_differentiate():
    x, _ = batch(range(5))
    assert torch.autograd.gradcheck(lambda x: squared_distances(x), x)


@pytest.mark.parametrize("k", [1, 2, 3, 100, None])
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_nearest_positives(k, labels):
    x, y = batch(labels)
    anchor, positive = nearest_positives(1e9 * squared_distances(x.detach()), y, k)
    assert anchor.dtype == positive.dtype == torch.long
    assert set(zip(anchor.tolist(), positive.tolist())) == set(pairs_of(x, labels, k))
    assert len(anchor) == len(pairs_of(x, labels, k))
    assert anchor.tolist() == sorted(anchor.tolist())


@pytest.mark.parametrize("labels", NO_TRIPLET.values(), ids=NO_TRIPLET)
def test_no_pairs_where_no_triplets(labels):
    x, y = batch(labels)
    anchor, positive = nearest_positives(squared_distances(x), y)
    assert len(anchor) == len(positive) == 0


# Types and devices


@pytest.mark.parametrize("loss", ALL_LOSSES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)],
)
def test_dtypes(loss, dtype, tolerance):
    x, y = batch([i % 5 for i in range(25)], 8, dtype=dtype)
    value, gradient = value_and_gradient(loss, x, y)
    expected, slopes = value_and_gradient(loss, x.double(), y)
    assert value.dtype == (dtype if dtype == torch.float64 else torch.float32)
    assert gradient.dtype == dtype
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)  # halves are lifted before any arithmetic
    torch.testing.assert_close(gradient.double(), slopes, rtol=tolerance, atol=tolerance * slopes.abs().max().item())


def test_float16_distances_beyond_its_range():
    x = torch.tensor([[0.0], [1.0], [600.0]], dtype=torch.float16)  # 600^2 > 65504
    value, gradient = value_and_gradient(contrastive_loss, x, torch.tensor([0, 0, 0]))
    assert value == pytest.approx(2 * (1 + 600**2 + 599**2) / 3, rel=1e-5)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_autocast_does_not_round_distances(loss):
    x, y = batch([i % 5 for i in range(25)], 8, dtype=torch.float32)
    expected = value_and_gradient(loss, x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(value_and_gradient(loss, x, y), expected)  # backward too


def test_upstream_gradient_and_layout():
    x, y = batch(LABELS["balanced"])
    _, gradient = value_and_gradient(sst_loss, x, y)
    tripled = value_and_gradient(lambda x: 3 * sst_loss(x, y), x)[1]
    torch.testing.assert_close(tripled, 3 * gradient)
    columns = x.detach().T.contiguous().T.requires_grad_()
    assert not columns.is_contiguous()
    sst_loss(columns, y).backward()
    torch.testing.assert_close(columns.grad, gradient)
    assert not sst_loss(x.detach(), y).requires_grad


def test_arguments_stay_as_they_are():
    x, y = batch([0, 0, 1, 1], dtype=torch.float32)
    indices = tuple(torch.tensor([[0, 2], [1, 3], [2, 0]]))
    before = x.detach().clone(), y.clone(), *(i.clone() for i in indices)
    for loss in ALL_LOSSES:
        for given_indices in (None, indices[:2], indices):
            loss(x, y, given_indices)
    for one, other in zip((x.detach(), y, *indices), before, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "labels", [[0, 0, 1, 1], np.array([0, 0, 1, 1]), torch.tensor([0, 0, 1, 1], dtype=torch.uint8)]
)
def test_labels_of_any_integer_kind(labels):
    x, y = batch([0, 0, 1, 1])
    assert sst_loss(x, labels) == sst_loss(x, y)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_gpu_equals_cpu_and_labels_may_stay_behind(loss):
    x, y = batch([i % 5 for i in range(25)], 8)
    value, gradient = value_and_gradient(loss, x.detach().cuda(), y)
    close((value.cpu(), gradient.cpu()), value_and_gradient(loss, x, y))


# pytorch-metric-learning

EUCLID = LpDistance(normalize_embeddings=False, p=2, power=2)
MINERS = {
    "triplet margin": miners.TripletMarginMiner(margin=1.0, distance=EUCLID, type_of_triplets="all"),
    "batch hard": miners.BatchHardMiner(distance=EUCLID),
    "multi similarity": miners.MultiSimilarityMiner(epsilon=0.5, distance=EUCLID),
}


@pytest.mark.parametrize("miner", [None, *MINERS.values()], ids=["none", *MINERS])
def test_triplet_equals_pytorch_metric_learning(miner):
    peer = peers.TripletMarginLoss(MARGIN, distance=EUCLID, reducer=reducers.MeanReducer())
    x, y = batch([i % 6 for i in range(30)])
    mined = miner(x.detach(), y) if miner else None
    assert miner is None or len(mined[0]) > 0
    close(value_and_gradient(triplet, x, y, mined, k=None), value_and_gradient(peer, x, y, mined))


@pytest.mark.parametrize("miner", MINERS.values(), ids=MINERS)
def test_sst_takes_what_miners_return(miner):
    x, y = batch([i % 6 for i in range(30)])
    mined = miner(x.detach(), y)
    if len(mined) == 3:
        triplets = torch.stack(mined, 1).tolist()
    else:
        a1, p, a2, n = (i.tolist() for i in mined)
        triplets = [(a, b, c) for a, b in zip(a1, p) for d, c in zip(a2, n) if a == d]
    assert triplets
    close(value_and_gradient(sst_loss, x, y, mined), value_and_gradient(mean_over(sst_of), x, triplets))


@pytest.mark.parametrize("miner", [None, *MINERS.values()], ids=["none", *MINERS])
def test_contrastive_equals_pytorch_metric_learning(miner):
    peer = peers.ContrastiveLoss(0, MARGIN, distance=EUCLID, reducer=reducers.SumReducer())
    x, y = batch([i % 6 for i in range(30)])
    mined = miner(x.detach(), y) if miner else None
    expected = value_and_gradient(lambda x: peer(x, y, mined) / len(x), x)
    close(value_and_gradient(contrastive, x, y, mined), expected)


# Modules


@pytest.mark.parametrize(
    ("loss", "function", "shown"),
    [
        (SSTLoss(k=2), lambda *args: sst_loss(*args, k=2), "SSTLoss(k=2)"),
        (TripletLoss(0.3, k=1), lambda *args: triplet_loss(*args, margin=0.3, k=1), "TripletLoss(margin=0.3, k=1)"),
        (ContrastiveLoss(4), lambda *args: contrastive_loss(*args, margin=4), "ContrastiveLoss(margin=4, k=None)"),
    ],
)
def test_modules(loss, function, shown):
    x, y = batch(LABELS["balanced"])
    assert loss(x, y) == function(x, y)
    indices = tuple(torch.tensor([[0, 1], [2, 3]]))
    assert loss(x, y, indices) == function(x, y, indices)
    assert loss(x, y, indices_tuple=indices) != loss(x, y)
    assert repr(loss) == shown


def test_defaults():
    assert (SSTLoss().k, TripletLoss().margin, TripletLoss().k) == (5, 0.2, 5)
    assert (ContrastiveLoss().margin, ContrastiveLoss().k) == (0.5, None)
    x, y = batch([0] * 9 + [1] * 9)
    for loss, function in ((SSTLoss(), sst_loss), (TripletLoss(), triplet_loss), (ContrastiveLoss(), contrastive_loss)):
        assert loss(x, y) == function(x, y)
    assert sst_loss(x, y) == sst_loss(x, y, k=5) != sst_loss(x, y, k=4)


# What bad input gets

X, Y = torch.zeros(4, 2), torch.tensor([0, 0, 1, 1])
I = torch.tensor([0])  # noqa: E741


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_collapsed_and_tiny_batches(loss):
    labels = torch.tensor([0, 0, 1, 1])
    for scale in (0, 1e-25):
        x = (scale * torch.randn(4, 3)).requires_grad_()
        value, gradient = value_and_gradient(loss, x, labels)
        expected, slopes = value_and_gradient(loss, x.double(), labels)
        close((value, gradient), (expected.float(), slopes.float()), rtol=1e-4, atol=0)


@pytest.mark.parametrize("loss", ALL_LOSSES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite(loss, bad):
    x = torch.randn(7, 3)
    x[2, 0] = x[5, 1] = x[5, 2] = bad
    with pytest.raises(ValueError, match="embeddings: 2 of 7 rows are not finite"):
        loss(x, torch.tensor([0, 0, 1, 1, 2, 2, 2]))


def test_overflow():
    with pytest.raises(ValueError, match=r"squared distances overflow torch.float32, as numbers go up to 1e\+25"):
        sst_loss(torch.tensor([[1e25], [0.0], [0.0]]), torch.tensor([0, 0, 1]))


@pytest.mark.parametrize("loss", ALL_LOSSES)
@pytest.mark.parametrize(
    ("x", "y", "indices", "message"),
    [
        (X[0], Y, None, r"embeddings must be a matrix of real numbers of shape \(N, D\), got .* of shape \(2,"),
        (["cat"] * 4, Y, None, r"embeddings must be a matrix of real numbers .* got \['cat'"),
        (X, Y[:3], None, "labels must be 4 integers, one for each item, got 3"),
        (X, Y.float(), None, "labels must be 4 integers.* got torch.float32"),
        (X, None, None, "labels are None"),
        (X, None, (I, I + 1), "labels are None"),
        (X, Y, (I,), "must hold .* got 1"),
        (X, Y, (I,) * 5, "must hold .* got 5"),
        (X, Y, I, "must hold .* got Tensor"),
        (X, Y, (I, I + 1, I + 4), "must be between 0 and 3, got 4"),
        (X, Y, (I, I + 1, I - 1), "must be between 0 and 3, got -1"),
        (X, Y, (I, I + 1, torch.tensor([2, 3])), r"equal lengths, got \[1, 1, 2\]"),
        (X, Y, (I, I, torch.tensor([2, 3]), I), r"equal lengths, got \[1, 1, 2, 1\]"),
        (X, Y, (I[None], I[None]), r"one-dimensional .* got shape \(1, 1\)"),
        (X, Y, (I.float(), I.float()), "tensors of integers, got torch.float32"),
        (X, Y, (Y == 0, Y == 0), "tensors of integers, got torch.bool"),
        (X, Y, (I, I + 2), r"1 of 1 pairs \(a, p\) do not join two items of one class"),
        (X, Y, (Y, Y), "4 of 4 pairs"),
    ],
)
def test_bad_arguments(loss, x, y, indices, message):
    with pytest.raises(ValueError, match=message) as error:
        loss(x, y, indices)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("margin", ["0.2", math.nan, None])
@pytest.mark.parametrize("loss", [triplet_loss, contrastive_loss])
def test_bad_margin(loss, margin):
    with pytest.raises(ValueError, match=rf"^margin must be a finite number, got '?{str(margin).strip()}'?$"):
        loss(X, Y, margin=margin)


@pytest.mark.parametrize("k", [0, 2.5, True])
@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_bad_k(loss, k):
    with pytest.raises(ValueError, match=rf"k must be (an integer|at least 1), got {k}"):
        loss(X, Y, k=k)
    with pytest.raises(ValueError, match=rf"k must be .* got {k}"):
        nearest_positives(squared_distances(X), Y, k)


def test_bad_distances():
    with pytest.raises(ValueError, match=r"square matrix of distances, got shape \(4, 2\)"):
        nearest_positives(X, Y)
    with pytest.raises(ValueError, match="labels must be 4 integers"):
        nearest_positives(squared_distances(X), Y[:3])
    with pytest.raises(ValueError, match="embeddings must be"):
        squared_distances(X[0])
    with pytest.raises(ValueError, match="1 of 2 rows are not finite"):
        squared_distances(torch.tensor([[math.nan], [0.0]]))
