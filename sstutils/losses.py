"""Losses over a batch of embeddings: stochastic symmetric triplet (SST), triplet and contrastive.

All three depend on the embeddings only through the matrix D of their squared distances. So each is written as a
function of D that returns its value and its derivative dl/dD, a (B, B) matrix; the chain rule to the embeddings, one
matrix product, is the same for all (:class:`_OfDistances`). No (anchor, positive, negative) array of vectors is made.

A loss is called as ``loss(embeddings, labels, indices_tuple=None)``, the convention of pytorch-metric-learning, so
that its miners plug in. ``indices_tuple`` says which triplets count:

===================  ===================================================================================
``None``             each item with its ``k`` nearest positives, and all negatives of the batch
``(a, p)``           these pairs, and all negatives of the batch
``(a, p, n)``        exactly these triplets; one that is listed twice counts twice
``(a1, p, a2, n)``   positive pairs and negative pairs: all triplets that they form with ``a1 == a2``
===================  ===================================================================================

Notation: anchor a, positive p, negative n, ``d2(x, y) = |x - y|^2``. Values are means over all triplets, those of
zero loss included. The case of one triplet, in numpy, is :mod:`sstutils.geometry`. Arguments of a wrong shape or type,
indices out of range and embeddings that are not finite raise a ValueError.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

from . import checks
from .checks import full_precision

Link = Callable[[Tensor], tuple[Tensor, Tensor]]  # from the logits z of triplets to their losses and slopes dl/dz
_BLOCK = 2**19  # numbers in a block of (pair, negative): 2 MB in float32, which stays in the cache


# Distances and the choice of positives


def squared_distances(x: Tensor) -> Tensor:
    """Compute the squared Euclidean distances between all rows of `x`, (B, D).

    The result, (B, B), is at least 0 and has a zero diagonal; float64 for float64, else float32.
    """
    with full_precision():
        return _centred_distances(checks.float_matrix(x))[1]


def _centred_distances(x: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract their mean from the rows; return them and their squared distances."""
    # The Gram matrix cancels badly far from the origin; and float16 holds no squared distance above 65504.
    centred = x if x.dtype == torch.float64 else x.float()
    centred = centred - centred.mean(0)
    gram = centred @ centred.T
    norms = gram.diagonal()  # taken from here, so that the distance of an item to itself is exactly zero
    d2 = (norms[:, None] + norms).sub(gram, alpha=2)
    with torch.no_grad():  # what rounding made negative becomes zero; its derivatives stay those of a distance
        d2.clamp_min_(0)
    # Cheap and safe: no distance exceeds 4 times the sum, and the mean has spread what is not finite to every row.
    if not math.isfinite(4 * norms.detach().sum()):
        checks.raise_not_finite(x)
    return centred, d2


def nearest_positives(d2: Tensor, labels: Tensor, k: int | None = 5) -> tuple[Tensor, Tensor]:
    """Pair each item with the `k` nearest others of its class (Nguyen and De Baets, 2020), or all if `k` is ``None``.

    Distances `d2`, (B, B), may be in any monotone measure; `labels` are B integers.

    Returned are anchors, ascending, and positives: positions within the batch, two int64 tensors of shape (P,). Items
    without a positive are no anchors, and if all items are of one class there are no pairs, for want of negatives.
    """
    d2 = checks.float_matrix(d2, "d2").detach()
    if d2.shape[0] != d2.shape[1]:
        raise ValueError(f"d2 must be a square matrix of distances, got shape {tuple(d2.shape)}")
    labels = checks.class_labels(labels, len(d2)).to(d2.device)
    k is None or checks.whole_number("k", k)
    same = labels[:, None] == labels
    anchor, positive = _nearest(d2, same, k)
    return (anchor[:0], positive[:0]) if same.all() else (anchor, positive)


def _nearest(d2: Tensor, same: Tensor, k: int | None) -> tuple[Tensor, Tensor]:
    others = torch.where(same, d2, math.inf).fill_diagonal_(math.inf)
    if k is None:
        return (others < math.inf).nonzero().unbind(1)
    distance, positive = others.topk(min(k, max(len(d2) - 1, 0)), largest=False, sorted=False)
    found = distance < math.inf
    return found.nonzero()[:, 0], positive[found]


# The three losses


def sst_loss(
    embeddings: Tensor, labels: Tensor | None, indices_tuple: Sequence[Tensor] | None = None, k: int | None = 5
) -> Tensor:
    """Compute the stochastic symmetric triplet loss, the mean over triplets of log(1 + exp(z)).

    Here z = d2(a, p) - (d2(a, n) + d2(p, n)) / 2. There is no margin, and anchor and positive are treated alike
    (Nguyen and De Baets, 2020).

    Parameters
    ----------
    embeddings : Tensor, shape (B, D), floating point
        Not normalised: their scale is what the loss has in place of a temperature.
    labels : Tensor, shape (B,), integers
        May be ``None`` if triplets or pairs of pairs are given.
    indices_tuple : tuple of Tensors, optional
        Which triplets count, as said at the head of this module.
    k : int, optional
        Without an `indices_tuple`: positives of an anchor, ``None`` for all.

    Returns
    -------
    Tensor
        A number; float64 for float64, else float32. A batch without triplets gives 0, with a zero gradient.
    """
    return _triplet_mean(embeddings, labels, indices_tuple, k, _logistic, symmetric=True)


def triplet_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: Sequence[Tensor] | None = None,
    margin: float = 0.2,
    k: int | None = 5,
) -> Tensor:
    """Compute the triplet loss, the mean over triplets of max(0, d2(a, p) + margin - d2(a, n)).

    Parameters and results are those of :func:`sst_loss`; `margin` is in units of squared distance.
    """
    margin = checks.real_number("margin", margin)
    return _triplet_mean(embeddings, labels, indices_tuple, k, lambda z: _hinge(z + margin), symmetric=False)


def contrastive_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: Sequence[Tensor] | None = None,
    margin: float = 0.5,
    k: int | None = None,
) -> Tensor:
    """Compute the contrastive loss, a sum over the ordered pairs of a batch, per item.

    The loss is 1/B sum_i [ sum_p d2(i, p) + sum_n max(0, margin - d2(i, n)) ], over all positives p and negatives n of
    item i. Parameters and results are those of :func:`sst_loss`; `margin` is in units of squared distance. Triplets in
    `indices_tuple` are read as the pairs (a, p) and (a, n). By default all items of the same class are positives.
    """
    embeddings, labels, indices = _convert(embeddings, labels, indices_tuple, k)
    margin = checks.real_number("margin", margin)

    def objective(d2: Tensor) -> tuple[Tensor, Tensor]:
        same = None if labels is None else labels[:, None] == labels
        a1, p, *rest = indices or _nearest(d2, same, k)
        a2, n = (a1, *rest)[-2:] if rest else (~same).nonzero().unbind(1)
        near, far = (_sums(d2, i, j, d2.new_full(i.shape, 1 / max(len(d2), 1))) for i, j in ((a1, p), (a2, n)))
        short, active = _hinge(margin - d2)
        return (near * d2 + far * short).sum(), near - far * active

    return _of_distances(embeddings, objective)


class _Loss(nn.Module):
    """A loss function as a module, whose fields are the options of the function."""

    def __post_init__(self) -> None:
        super().__init__()

    def forward(self, embeddings: Tensor, labels: Tensor | None, indices_tuple: Any = None) -> Tensor:
        """Compute the loss function of the same name."""
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        return self.function(embeddings, labels, indices_tuple, **options)


@dataclass(eq=False)
class SSTLoss(_Loss):
    """The stochastic symmetric triplet loss, :func:`sst_loss`, as a module."""

    k: int | None = 5
    function = staticmethod(sst_loss)


@dataclass(eq=False)
class TripletLoss(_Loss):
    """The triplet loss, :func:`triplet_loss`, as a module."""

    margin: float = 0.2
    k: int | None = 5
    function = staticmethod(triplet_loss)


@dataclass(eq=False)
class ContrastiveLoss(_Loss):
    """The contrastive loss, :func:`contrastive_loss`, as a module."""

    margin: float = 0.5
    k: int | None = None
    function = staticmethod(contrastive_loss)


# From distances to embeddings


class _OfDistances(torch.autograd.Function):
    """A function of the squared distances D, which returns its value and its derivative dl/dD, and the chain rule."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, objective: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        with full_precision():
            x, d2 = _centred_distances(embeddings)
            value, slope = objective(d2)
            # With S = dl/dD + (dl/dD)', the gradient at x_i is 2 sum_j S_ij (x_i - x_j). As a product it is -2 P x,
            # where P is S less its row sums on the diagonal.
            pull = slope + slope.T
            pull.diagonal().sub_(pull.sum(1))
        ctx.save_for_backward(embeddings, x, pull)
        ctx.objective = objective
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        embeddings, x, pull = ctx.saved_tensors
        with full_precision():
            if not torch.is_grad_enabled():
                return (-2 * grad * pull) @ x, None  # autograd casts it to the type of the embeddings
            # Somebody will differentiate the gradient (create_graph=True): torch records how it is computed.
            value, _ = ctx.objective(_centred_distances(embeddings)[1])
            return *torch.autograd.grad(value, embeddings, grad, create_graph=True), None


def _of_distances(embeddings: Tensor, objective: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Compute a function of D; where torch transforms functions (torch.func, forward mode), as plain operations."""
    if unpack_dual(embeddings).tangent is None and not torch._C._are_functorch_transforms_active():  # as torch asks
        return _OfDistances.apply(embeddings, objective)
    with full_precision():
        return objective(_centred_distances(embeddings)[1])[0]


def _sums(d2: Tensor, i: Tensor, j: Tensor, values: Tensor) -> Tensor:
    """Add up the values listed for each (i, j), in a matrix like `d2`."""
    return torch.zeros_like(d2).view(-1).index_add_(0, i * len(d2) + j, values).view_as(d2)


# Means over triplets


def _logistic(z: Tensor) -> tuple[Tensor, Tensor]:
    if z.requires_grad or unpack_dual(z).tangent is not None:
        # As plain as it can be, for second derivatives; beyond the threshold it is exactly z.
        return F.softplus(z, threshold=50), z.detach().sigmoid()
    # log(1 + exp(z)) = max(0, z) - log(sigmoid(|z|)): safe for all z, and up to six times faster than log1p.
    value = z.clamp_min(0).sub_(z.abs().sigmoid_().log_())
    return value, z.sigmoid_()  # overwrites z: fresh memory costs as much as the arithmetic


def _hinge(z: Tensor) -> tuple[Tensor, Tensor]:
    return z.relu(), (z > 0).to(z.dtype)


def _triplet_mean(
    embeddings: Tensor, labels: Tensor | None, indices_tuple: Any, k: int | None, link: Link, symmetric: bool
) -> Tensor:
    """Take the mean of `link` over z = d2(a, p) - d2(a, n); `symmetric` takes the mean of d2(a, n) and d2(p, n)."""
    embeddings, labels, indices = _convert(embeddings, labels, indices_tuple, k)

    def objective(d2: Tensor) -> tuple[Tensor, Tensor]:
        if len(indices) <= 2:
            same = labels[:, None] == labels
            return _over_negatives(d2, same, *(indices or _nearest(d2, same, k)), link, symmetric)
        a, p, n = indices if len(indices) == 3 else _join_pairs(*indices, size=len(d2))
        ends = (a, p) if symmetric else (a,)
        value, slope = link(d2[a, p] - sum(d2[end, n] for end in ends) / len(ends))
        slope /= max(len(a), 1)
        far = sum(_sums(d2, end, n, slope) for end in ends) / len(ends)
        return value.sum() / max(len(a), 1), _sums(d2, a, p, slope) - far

    return _of_distances(embeddings, objective)


def _over_negatives(
    d2: Tensor, same: Tensor, a: Tensor, p: Tensor, link: Link, symmetric: bool
) -> tuple[Tensor, Tensor]:
    """Take the mean over the triplets of each pair (a, p) with all items that are not of its class."""
    size, weight = len(d2), torch.ones_like(a)
    if symmetric:  # (a, p) and (p, a) are one pair of weight 2: a third to a half of the work less
        pair, weight = torch.unique(torch.minimum(a, p) * size + torch.maximum(a, p), return_counts=True)
        a, p = pair // size, pair % size
    weight = weight / (weight * (size - same.sum(1))[a]).sum().clamp_min(1).to(d2.dtype)
    # Items of the same class are infinitely far: there z is -inf, and losses and slopes vanish without a mask.
    ends = 2 if symmetric else 1
    nearness = torch.where(same, -math.inf, d2 / -ends)
    value, total = d2.new_zeros(()), torch.zeros_like(d2)
    rows = _BLOCK // (size + 1) + 1
    for a_, p_, weight_ in zip(a.split(rows), p.split(rows), weight.split(rows), strict=True):
        z = nearness.index_select(0, a_).add_(d2[a_, p_][:, None])
        if symmetric:
            z += nearness.index_select(0, p_)
        losses, slopes = link(z)
        slopes *= weight_[:, None]
        value += weight_ @ losses.sum(1)
        total.index_put_((a_, p_), slopes.sum(1), accumulate=True)
        for end in (a_, p_)[:ends]:
            total.index_add_(0, end, slopes, alpha=-1 / ends)
    return value, total


def _join_pairs(a1: Tensor, p: Tensor, a2: Tensor, n: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Join positive pairs (a1, p) and negative pairs (a2, n) with a1 == a2 to triplets (a, p, n)."""
    n = n[a2.argsort()]  # the negatives of an anchor now stand together,
    many = torch.bincount(a2, minlength=size)  # so many of them,
    first = many.cumsum(0) - many  # from here on
    repeats = many[a1]
    pair = torch.arange(len(a1), device=a1.device).repeat_interleave(repeats)
    nth = torch.arange(len(pair), device=a1.device) - (repeats.cumsum(0) - repeats)[pair]
    return a1[pair], p[pair], n[first[a1[pair]] + nth]


def _convert(
    embeddings: Tensor, labels: Tensor | None, indices_tuple: Any, k: int | None
) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
    """Convert embeddings, and labels and indices to tensors on their device; no indices are an empty tuple."""
    embeddings = checks.float_matrix(embeddings)
    k is None or checks.whole_number("k", k)
    indices = () if indices_tuple is None else checks.index_tuple(indices_tuple, embeddings)
    if labels is not None:
        labels = checks.class_labels(labels, len(embeddings)).to(embeddings.device, copy=True)
    elif len(indices) <= 2:
        raise ValueError("labels are None: they may be left out only if indices_tuple holds 3 or 4 tensors")
    if len(indices) == 2:
        a, p = indices
        bad = (labels[a] != labels[p]) | (a == p)
        if bad.any():
            raise ValueError(
                f"indices_tuple: {int(bad.sum())} of {len(a)} pairs (a, p) do not join two items of one class"
            )
    return embeddings, labels, indices
