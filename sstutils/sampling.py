"""Mini-batches: neighborhoods of the embedding space (the paper's local sampling) and the two usual baselines.

All three samplers are batch samplers for ``torch.utils.data.DataLoader(dataset, batch_sampler=sampler)`` and share one
protocol: ``refresh(embeddings)`` before an epoch, ``pairs``, ``state_dict`` and ``load_state_dict``. `kmeans` does the
clustering, here and for the NMI in `sstutils.evaluation`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import BatchSampler, RandomSampler, Sampler

from .losses import nearest_positives, squared_distances

__all__ = ["ClassBalancedSampler", "LocalSampler", "ShuffledSampler", "kmeans"]


# ---------------------------------------------------------------------------------------------------------------------
# Checked input
# ---------------------------------------------------------------------------------------------------------------------
def matrix(x: Tensor, name: str = "embeddings") -> Tensor:
    """Return `x` as a finite (N, d) tensor of float32 or float64, on its device (the CPU in place of MPS).

    Raises
    ------
    ValueError
        That says what is wrong with it.
    """
    x = torch.as_tensor(x).detach()
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{name} must be a matrix with a row for each item; got shape {tuple(x.shape)}")
    if x.device.type == "mps":  # has no float64
        x = x.cpu()
    if x.dtype != torch.float64:
        x = x.float()
    bad = (~torch.isfinite(_row_squares(x))).nonzero()[:, 0]
    if len(bad):
        raise ValueError(
            f"{name} must be finite; {len(bad)} of {len(x)} rows are not or overflow, the first is {bad[0]}"
        )
    return x


def class_labels(labels: Sequence[int] | Tensor, count: int | None = None) -> Tensor:
    """Return `labels` as a LongTensor (N,) on the CPU; `count` is the N that they must have.

    Raises
    ------
    ValueError
        That says what is wrong with them.
    """
    labels = torch.as_tensor(labels).detach().cpu()
    if labels.ndim != 1 or not len(labels) or labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels must be a list of whole numbers; got shape {tuple(labels.shape)} of {labels.dtype}")
    if count is not None and len(labels) != count:
        raise ValueError(f"got {len(labels)} labels for {count} embeddings; there must be one for each, in one order")
    return labels.long()


def _at_least(least: int, name: str, value: int) -> int:
    if value < least:
        raise ValueError(f"{name} must be at least {least}; got {value}")
    return value


@contextmanager
def full_precision() -> Iterator[None]:
    """Multiply float32 matrices as float32, whatever a training script has chosen (autocast, TF32)."""
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False), torch.no_grad():
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


# ---------------------------------------------------------------------------------------------------------------------
# Clustering
# ---------------------------------------------------------------------------------------------------------------------
@full_precision()
def kmeans(
    x: Tensor,
    k: int,
    *,
    iterations: int = 20,
    restarts: int = 1,
    seed: int = 0,
    init: str = "k-means++",
) -> tuple[Tensor, Tensor, float]:
    """Lloyd's k-means by matrix products, on the device of `x`.

    Stops after `iterations` rounds of assignment and update, or as soon as no point changes its cluster. A cluster that
    falls empty takes the point that is farthest from its centre.

    Parameters
    ----------
    x : (N, d) tensor
        Points. float64 is computed in float64, everything else in float32.
    k : int
        Number of clusters, 1 <= k <= N.
    iterations : int
        Greatest number of updates of the centres; 0 returns the seeds.
    restarts : int
        Independent starts; the one of the lowest inertia is returned.
    seed : int
        On one device, the same seed gives the same result.
    init : "k-means++" or "random"
        "k-means++" draws the seeds by their squared distance to the seeds before them (Arthur and Vassilvitskii, 2007),
        ``max(1, k // 64)`` at a time: exactly so for k < 128, in about 64 rounds for any greater k. "random" takes k
        points at random, which costs nothing and is good enough where k is small beside the number of natural groups.

    Returns
    -------
    centres : (k, d) tensor
    assignment : (N,) LongTensor
        The nearest centre of each point. No cluster is empty, unless x has fewer than k distinct points.
    inertia : float
        Sum of the squared distances of the points to their centres.

    Raises
    ------
    ValueError
        For x that is not a finite matrix, k outside 1..N, or an unknown `init`.
    """
    x = matrix(x, "x")
    if not 1 <= k <= len(x):
        raise ValueError(f"k-means needs 1 <= k <= {len(x)}, the number of points; got k = {k}")
    if init not in ("k-means++", "random"):
        raise ValueError(f"init must be 'k-means++' or 'random'; got {init!r}")
    _at_least(0, "iterations", iterations)
    _at_least(1, "restarts", restarts)
    mean = x.mean(0)  # distances come from products, whose rounding error grows with the norm: centre first
    x = x - mean
    square = _row_squares(x)
    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that the seeds do not depend on the device

    best = None
    for _ in range(restarts):
        if init == "random":
            centres = x[torch.randperm(len(x), generator=generator)[:k].to(x.device)]
        else:
            centres = x[_spread_seeds(x, square, k, generator)]
        assignment, d2 = _fill_empty(x, square, centres, *_nearest(x, square, centres))
        for _ in range(iterations):
            before, old = assignment, centres
            centres = _cluster_means(x, before, k)
            moved = (centres != old).any(1)
            assignment, d2 = _fill_empty(x, square, centres, *_reassign(x, square, centres, moved, before, d2))
            if torch.equal(assignment, before):
                break
        inertia = _distances(x, centres, assignment).sum(dtype=torch.float64).item()
        if best is None or inertia < best[2]:
            best = centres + mean, assignment, inertia
    return best


def _row_squares(x: Tensor) -> Tensor:
    """Squared norms of the rows, without a temporary of the size of x."""
    return torch.linalg.vector_norm(x, dim=1).square()


def _nearest(x: Tensor, square: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the nearest centre of each point, and the squared distance to it."""
    # argmin |x - c|^2 = argmin |c|^2 / 2 - x.c : one product, whose blocks (a few MB) are reduced while in cache
    half = _row_squares(centres) / 2
    rows = min(len(x), 1024 if x.device.type == "cpu" else max(1024, 2**27 // len(centres)))
    score = x.new_empty(rows, len(centres))
    lowest, index = x.new_empty(len(x)), torch.empty(len(x), dtype=torch.long, device=x.device)
    for i in range(0, len(x), rows):
        part = x[i : i + rows]
        out = torch.addmm(half, part, centres.T, alpha=-1, out=score[: len(part)])
        torch.min(out, 1, out=(lowest[i : i + rows], index[i : i + rows]))
    return index, lowest.mul_(2).add_(square).clamp_(min=0)


def _distances(x: Tensor, centres: Tensor, assignment: Tensor) -> Tensor:
    """Squared distance of each point to its centre, from the difference: exactly zero for a point on its centre."""
    parts = zip(x.split(4096), assignment.split(4096), strict=True)
    return torch.cat([(part - centres[near]).square_().sum(1) for part, near in parts])


def _cluster_means(x: Tensor, assignment: Tensor, k: int) -> Tensor:
    """Mean of the points of each cluster: a sum over sorted segments, so that it is deterministic on a GPU too."""
    sizes = torch.bincount(assignment, minlength=k)
    order = torch.argsort(assignment, stable=True)
    return F.embedding_bag(order, x, sizes.cumsum(0) - sizes, mode="mean")


def _reassign(
    x: Tensor, square: Tensor, centres: Tensor, moved: Tensor, assignment: Tensor, d2: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what `_nearest` does, from an earlier result `(assignment, d2)` and the centres that `moved` since then.

    No centre that stayed is nearer to a point than its own was. So a point need be compared only with the centres that
    moved, unless its own did and none of them is as near now. With many small clusters most centres soon rest: twenty
    rounds with 11,316 clusters then cost as much as three.
    """
    if 2 * moved.sum() > len(centres):
        return _nearest(x, square, centres)
    rest, moving = (~moved).nonzero()[:, 0], moved.nonzero()[:, 0]
    if not len(moving):
        return assignment, d2
    near, closest = _nearest(x, square, centres[moving])
    near = moving[near]
    own_moved = moved[assignment]
    stay = ~own_moved & (d2 <= closest)
    near, closest = torch.where(stay, assignment, near), torch.where(stay, d2, closest)
    lost = (own_moved & (d2 < closest)).nonzero()[:, 0]
    if len(lost):
        other, distance = _nearest(x[lost], square[lost], centres[rest])
        better = distance < closest[lost]
        near[lost[better]], closest[lost[better]] = rest[other[better]], distance[better]
    return near, closest


def _fill_empty(x: Tensor, square: Tensor, centres: Tensor, assignment: Tensor, d2: Tensor) -> tuple[Tensor, Tensor]:
    """Move centres without points (in place) to the points farthest from theirs; return the assignment and d2 then."""
    # Each round puts at least one centre on a point that had none, so that the loop ends.
    while True:
        empty = (torch.bincount(assignment, minlength=len(centres)) == 0).nonzero()[:, 0]
        if not len(empty):
            return assignment, d2
        d2 = _distances(x, centres, assignment)
        far = torch.topk(d2, len(empty)).indices
        far = far[d2[far] > 0]
        if not len(far):
            return assignment, d2
        filled = empty[: len(far)]
        centres[filled] = x[far]
        near, closer = _nearest(x, square, x[far])
        near[far], closer[far] = torch.arange(len(far), device=x.device), 0
        better = closer < d2
        better[far] = True
        assignment = torch.where(better, filled[near], assignment)
        d2 = torch.where(better, closer, d2)


def _spread_seeds(x: Tensor, square: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Return the indices of k seeds by k-means++, drawn max(1, k // 64) at a time."""
    seeds = torch.randint(len(x), (1,), generator=generator)
    d2 = None
    new = seeds
    while len(seeds) < k:
        closer = _nearest(x, square, x[new.to(x.device)])[1].cpu().double()
        d2 = closer if d2 is None else torch.minimum(d2, closer)
        d2[new] = 0
        draw = min(max(1, k // 64), k - len(seeds))
        mass = d2.cumsum(0)
        if mass[-1] > 0:
            where = torch.rand(draw, generator=generator, dtype=torch.float64) * mass[-1]
            new = torch.searchsorted(mass, where, right=True).clamp_(max=len(x) - 1).unique()
        else:  # fewer distinct points than clusters: any others will do
            left = torch.ones(len(x), dtype=torch.bool)
            left[seeds] = False
            left = left.nonzero()[:, 0]
            new = left[torch.randperm(len(left), generator=generator)[:draw]]
        seeds = torch.cat([seeds, new])
    return seeds.to(x.device)


# ---------------------------------------------------------------------------------------------------------------------
# Samplers
# ---------------------------------------------------------------------------------------------------------------------
class _Epochs(Sampler[list[int]]):
    """What the samplers share: each epoch has random numbers of its own, so that a run can be taken up at any epoch."""

    pairs: list[tuple[Tensor, Tensor]] | None = None

    def __init__(self, labels: Sequence[int] | Tensor, batch_size: int, seed: int) -> None:
        self.labels = class_labels(labels)
        self.batch_size = batch_size
        self.seed = _at_least(0, "seed", seed)
        self.epoch = 0

    # Called by __iter__ of the baselines, which are generators: DataLoader can make more iterators than it starts.
    def _next_epoch(self) -> torch.Generator:
        state = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)[0]
        self.epoch += 1
        return torch.Generator().manual_seed(int(state >> np.uint64(1)))

    def refresh(self, embeddings: Tensor | None = None, labels: Sequence[int] | Tensor | None = None) -> _Epochs:
        """Do nothing, and return the sampler: its batches do not depend on embeddings. See `LocalSampler.refresh`."""
        return self

    def state_dict(self) -> dict[str, int]:
        """Return the seed and the number of epochs begun: all that the random numbers to come depend on."""
        return {"seed": self.seed, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on with the epoch that comes next for the sampler whose `state_dict` this is."""
        self.seed, self.epoch = state["seed"], state["epoch"]


class LocalSampler(_Epochs):
    """Batches of items that lie close together: the local sampling of Nguyen and De Baets (2020).

    Each `refresh` runs k-means with ``K = max(1, N // batch_size)`` clusters on the embeddings of the whole training
    set. Each cluster is one batch, a *neighborhood*, in the order of the clusters; of a cluster with more than
    `batch_size` members a random `batch_size` of them. A batch without a triplet (of one class only, or with no class
    twice) is left out.

    Parameters
    ----------
    labels : sequence of N int
        Class of each item of the data set.
    batch_size : int
        Greatest size of a batch, B; at least 3, the size of a triplet.
    k : int
        Positives of an anchor.
    shuffle : bool
        Visit the neighborhoods in random order.
    balanced : bool
        Lose no item: K = ceil(N / B) clusters of N // K or N // K + 1 items, every item in exactly one (a batch without
        a triplet stays, too). Items and centres are matched stably: no item is closer to some other centre than to its
        own and also closer to it than an item there. Takes an (N, K) float32 matrix.
    positives : {"epoch", "batch"}
        "epoch": the k nearest positives of each anchor are chosen from the refreshed embeddings and fixed for the
        epoch, as in the paper; `pairs` holds them. "batch": `pairs` is None, and the loss chooses afresh in each batch.
    iterations : int
        Greatest number of k-means iterations.
    seed : int
        At least 0. Batches follow from the seed, the number of refreshes before, and the embeddings.

    Attributes
    ----------
    batches : list of LongTensor, or None
        Data set indices of each neighborhood; None before the first `refresh`. Can be empty: where each cluster is a
        class of its own, there is nothing left to pull or push.
    pairs : list of (LongTensor, LongTensor), or None
        Anchors and positives of each batch, as positions within it: `indices_tuple` of the losses.
    epoch : int
        Number of refreshes so far.

    Raises
    ------
    ValueError
        For values out of range; on iteration before the first `refresh`.

    Examples
    --------
    >>> sampler = LocalSampler(dataset.targets, batch_size=200)  # doctest: +SKIP
    >>> loader = DataLoader(dataset, batch_sampler=sampler)  # doctest: +SKIP
    >>> for epoch in range(150):  # doctest: +SKIP
    ...     sampler.refresh(embed(model, dataset))
    ...     for pairs, (images, labels) in zip(sampler.pairs, loader):
    ...         loss = sst_loss(model(images), labels, pairs)
    """

    def __init__(
        self,
        labels: Sequence[int] | Tensor,
        batch_size: int = 200,
        k: int = 5,
        *,
        shuffle: bool = False,
        balanced: bool = False,
        positives: str = "epoch",
        iterations: int = 20,
        seed: int = 0,
    ) -> None:
        if positives not in ("epoch", "batch"):
            raise ValueError(f"positives must be 'epoch' or 'batch'; got {positives!r}")
        super().__init__(labels, _at_least(3, "batch_size", batch_size), seed)
        self.k = _at_least(1, "k", k)
        self.shuffle = shuffle
        self.balanced = balanced
        self.positives = positives
        self.iterations = _at_least(1, "iterations", iterations)
        self.batches: list[Tensor] | None = None

    @full_precision()
    def refresh(self, embeddings: Tensor, labels: Sequence[int] | Tensor | None = None) -> LocalSampler:
        """Find new neighborhoods.

        Parameters
        ----------
        embeddings : (N, d) tensor
            Of the whole data set, in its order. The work is done on their device.
        labels : sequence of N int, optional
            Other labels than those given before, from now on.

        Returns
        -------
        LocalSampler
            Itself.

        Raises
        ------
        ValueError
            For embeddings that are no finite matrix or not as many as the labels.
        """
        x = matrix(embeddings)
        labels = class_labels(self.labels if labels is None else labels, len(x))
        random = self._next_epoch()
        count = math.ceil(len(x) / self.batch_size) if self.balanced else max(1, len(x) // self.batch_size)
        # Many more classes than clusters: seeds spread by k-means++ end no better than random ones, for five times the
        # cost of an iteration.
        seed = int(torch.randint(2**62, (), generator=random))
        centres, cluster, _ = kmeans(x, count, iterations=self.iterations, seed=seed, init="random")
        if self.balanced:
            cluster = _match(x, centres, cluster)
        cluster = cluster.cpu()
        members = torch.argsort(cluster, stable=True).split(torch.bincount(cluster, minlength=count).tolist())
        batches = []
        for batch in members:
            if len(batch) > self.batch_size:
                batch = batch[torch.randperm(len(batch), generator=random)[: self.batch_size]].sort().values
            classes = len(labels[batch].unique())
            if self.balanced or 1 < classes < len(batch):
                batches.append(batch)
        if self.shuffle:
            batches = [batches[i] for i in torch.randperm(len(batches), generator=random)]
        self.labels, self.batches = labels, batches
        self.pairs = [self._nearest_pairs(x, batch) for batch in batches] if self.positives == "epoch" else None
        return self

    def _nearest_pairs(self, x: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        d2 = squared_distances(x[batch.to(x.device)])
        anchor, positive = nearest_positives(d2, self.labels[batch].to(x.device), self.k)
        return anchor.cpu(), positive.cpu()

    def _refreshed(self) -> list[Tensor]:
        if self.batches is None:
            raise ValueError("the local sampler has no neighborhoods yet: call refresh(embeddings) before each epoch")
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter([batch.tolist() for batch in self._refreshed()])

    def __len__(self) -> int:
        return len(self._refreshed())

    def state_dict(self) -> dict[str, Any]:
        """Return the seed, the number of refreshes, and the neighborhoods with their pairs."""
        return {**super().state_dict(), "batches": self.batches, "pairs": self.pairs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the sampler was whose `state_dict` this is: with its neighborhoods, or after a `refresh`."""
        super().load_state_dict(state)
        self.batches, self.pairs = state.get("batches"), state.get("pairs")


def _match(x: Tensor, centres: Tensor, cluster: Tensor) -> Tensor:
    """Match N items stably with K centres that have N // K or N // K + 1 places; the centre of each item.

    Deferred acceptance (Gale and Shapley, 1962), all items at once: each free item asks the nearest centre that may
    still take it, each centre keeps the nearest of those that asked it so far. The centres of the largest clusters have
    the extra place.
    """
    n, k = len(x), len(centres)
    mean = centres.mean(0)  # distances come from products, whose rounding error grows with the norm: centre first
    distance = torch.cdist(x - mean, centres - mean)
    places = torch.full((k,), n // k, device=x.device)
    places[torch.bincount(cluster, minlength=k).argsort(descending=True, stable=True)[: n % k]] += 1

    farthest = x.new_full((k,), math.inf)  # item that a full centre keeps: it takes only nearer ones
    match = torch.empty_like(cluster)
    free = torch.arange(n, device=x.device)
    while len(free):
        wish = distance[free]
        match[free] = wish.masked_fill_(wish >= farthest, math.inf).argmin(1)
        kept = distance.gather(1, match[:, None])[:, 0]
        order = torch.argsort(kept, stable=True)
        order = order[torch.argsort(match[order], stable=True)]  # by centre, then by distance
        asked = torch.bincount(match, minlength=k)
        first = asked.cumsum(0) - asked
        rank = torch.arange(n, device=x.device) - first[match[order]]
        free = order[rank >= places[match[order]]]
        full = (asked >= places).nonzero()[:, 0]
        farthest[full] = kept[order[first[full] + places[full] - 1]]
    return match


class ClassBalancedSampler(_Epochs):
    """Batches of some classes drawn at random, the same number of items from each.

    A class with fewer items than that gives all of them, and some of them again (with augmentation, another view).

    Parameters
    ----------
    labels : sequence of N int
        Class of each item of the data set.
    batch_size : int
        Size of every batch, a multiple of `per_class`.
    per_class : int
        Items of each class, at least 2.
    seed : int
        At least 0. Each iteration over the sampler draws anew, from the seed and the number of iterations before.

    Raises
    ------
    ValueError
        If `batch_size` is no multiple of `per_class`, or takes fewer than 2 or more classes than there are.
    """

    def __init__(
        self, labels: Sequence[int] | Tensor, batch_size: int = 200, per_class: int = 5, *, seed: int = 0
    ) -> None:
        super().__init__(labels, batch_size, seed)
        self.per_class = _at_least(2, "per_class", per_class)
        if batch_size % per_class or batch_size < 2 * per_class:
            raise ValueError(
                f"batch_size must be a multiple of per_class, for two classes or more; got {batch_size} and {per_class}"
            )
        self._members = torch.argsort(self.labels, stable=True).split(
            self.labels.unique(return_counts=True)[1].tolist()
        )
        if batch_size > per_class * len(self._members):
            raise ValueError(
                f"a batch of {batch_size} takes {batch_size // per_class} classes with {per_class} items each, but "
                f"there are {len(self._members)}: batch_size may be {per_class * len(self._members)} at most"
            )

    def __iter__(self) -> Iterator[list[int]]:
        random = self._next_epoch()

        def some(items: Tensor, size: int) -> Tensor:
            """Draw `size` items; each comes before any comes again."""
            rounds = math.ceil(size / len(items))
            return torch.cat([items[torch.randperm(len(items), generator=random)] for _ in range(rounds)])[:size]

        classes = torch.arange(len(self._members))
        for _ in range(len(self)):
            chosen = some(classes, self.batch_size // self.per_class)
            yield torch.cat([some(self._members[c], self.per_class) for c in chosen]).tolist()

    def __len__(self) -> int:
        return max(1, len(self.labels) // self.batch_size)


class ShuffledSampler(_Epochs):
    """Batches of the shuffled data set, without regard to classes. Each epoch leaves out the last, incomplete batch.

    Parameters
    ----------
    labels : sequence of N int
        Class of each item of the data set; only their number matters.
    batch_size : int
        Size of every batch; a smaller data set is one batch.
    seed : int
        At least 0. Each iteration over the sampler draws anew, from the seed and the number of iterations before.
    """

    def __init__(self, labels: Sequence[int] | Tensor, batch_size: int = 200, *, seed: int = 0) -> None:
        super().__init__(labels, _at_least(1, "batch_size", batch_size), seed)

    def __iter__(self) -> Iterator[list[int]]:
        items = RandomSampler(self.labels, generator=self._next_epoch())
        yield from BatchSampler(items, self.batch_size, drop_last=len(items) >= self.batch_size)

    def __len__(self) -> int:
        return max(1, len(self.labels) // self.batch_size)
