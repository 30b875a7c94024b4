"""Mini-batches: neighborhoods of the embedding space (the paper's local sampling) and the two usual baselines.

All three samplers are batch samplers for ``torch.utils.data.DataLoader(dataset, batch_sampler=sampler)`` and share one
protocol: ``refresh(embeddings)`` before an epoch, ``pairs``, ``state_dict`` and ``load_state_dict``. They take the
classes of the N items of the data set as `labels`, and a `seed`, at least 0, of which their random numbers follow, with
the number of epochs before. Values out of range raise a ValueError.
"""

import math
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, RandomSampler, Sampler

from . import checks
from .checks import Labels, full_precision
from .clustering import kmeans, map_blocks, rescale
from .losses import nearest_positives, squared_distances


class _Epochs(Sampler[list[int]]):
    """What the samplers share: each epoch has random numbers of its own, so that a run can be taken up at any epoch."""

    pairs: list[tuple[Tensor, Tensor]] | None = None
    _least = 1  # size of a batch

    def __init__(self, labels: Labels, batch_size: int = 200, *, seed: int = 0) -> None:
        self.labels = checks.class_labels(labels).cpu()
        self.batch_size = checks.whole_number("batch_size", batch_size, self._least)
        self.seed = checks.seed_number(seed)
        self.epoch = 0

    # Called by __iter__ of the baselines, which are generators: DataLoader can make more iterators than it starts.
    def _next_epoch(self) -> torch.Generator:
        state = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)[0]
        self.epoch += 1
        return torch.Generator().manual_seed(int(state >> np.uint64(1)))

    def refresh(self, embeddings: Tensor | None = None) -> Self:
        """Do nothing, and return the sampler: its batches do not depend on embeddings. See `LocalSampler.refresh`."""
        return self

    def state_dict(self) -> dict[str, int]:
        """Return the seed and the number of epochs begun: all that the random numbers to come depend on."""
        return {"seed": self.seed, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue with the next epoch of the sampler that gave this `state_dict`."""
        self.seed, self.epoch = (checks.whole_number(name, state[name], 0) for name in ("seed", "epoch"))

    def __len__(self) -> int:
        return max(1, len(self.labels) // self.batch_size)


class LocalSampler(_Epochs):
    """Batches of items that lie close together: the local sampling of Nguyen and De Baets (2020).

    Each `refresh` runs k-means with ``K = max(1, N // batch_size)`` clusters on the embeddings of the whole training
    set. Each cluster is one batch, a *neighborhood*, in the order of the clusters; of a cluster with more than
    `batch_size` members a random `batch_size` of them. A batch without a triplet (of one class only, or with no class
    twice) is left out.

    Parameters
    ----------
    labels : sequence of N int
    batch_size : int
        Largest size of a batch, B; at least 3, the size of a triplet.
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
        Largest number of k-means iterations.
    seed : int

    Attributes
    ----------
    batches : list of LongTensor, or None
        Data set indices of each neighborhood; None before the first `refresh`. Can be empty: where each cluster is a
        class of its own, there is nothing left to pull or push.
    pairs : list of (LongTensor, LongTensor), or None
        Anchors and positives of each batch, as positions within it: `indices_tuple` of the losses.
    epoch : int
        Number of refreshes so far.

    Examples
    --------
    >>> sampler = LocalSampler(dataset.targets, batch_size=200)  # doctest: +SKIP
    >>> loader = DataLoader(dataset, batch_sampler=sampler)  # doctest: +SKIP
    >>> for epoch in range(150):  # doctest: +SKIP
    ...     sampler.refresh(embed(model, dataset))
    ...     for pairs, (images, labels) in zip(sampler.pairs, loader):
    ...         loss = sst_loss(model(images), labels, pairs)
    """

    _least = 3

    def __init__(
        self,
        labels: Labels,
        batch_size: int = 200,
        k: int = 5,
        *,
        shuffle: bool = False,
        balanced: bool = False,
        positives: str = "epoch",
        iterations: int = 20,
        seed: int = 0,
    ) -> None:
        super().__init__(labels, batch_size, seed=seed)
        self.k = checks.whole_number("k", k)
        self.shuffle = checks.true_or_false("shuffle", shuffle)
        self.balanced = checks.true_or_false("balanced", balanced)
        self.positives = checks.one_of("positives", positives, ("epoch", "batch"))
        self.iterations = checks.whole_number("iterations", iterations)
        self.batches: list[Tensor] | None = None

    @full_precision()
    def refresh(self, embeddings: Tensor) -> Self:
        """Find new neighborhoods, and return the sampler.

        The (N, d) embeddings are finite, and in the order of the whole data set; the work is done on their device.
        """
        x = checks.finite_matrix(embeddings)
        labels = checks.class_labels(self.labels, len(x))
        random = self._next_epoch()
        count = math.ceil(len(x) / self.batch_size) if self.balanced else max(1, len(x) // self.batch_size)
        # Many more classes than clusters: seeds spread by k-means++ end no better than random ones, for five times the
        # cost of an iteration.
        seed = int(torch.randint(2**62, (), generator=random))
        centres, cluster, _ = kmeans(x, count, iterations=self.iterations, seed=seed, init="random")
        if self.balanced:
            cluster = _match(x, centres, cluster)
        cluster = cluster.cpu()
        sizes = torch.bincount(cluster, minlength=count)
        batches = []
        for batch in torch.argsort(cluster, stable=True).split(sizes.tolist()):
            if len(batch) > self.batch_size:
                batch = batch[torch.randperm(len(batch), generator=random)[: self.batch_size]].sort().values
            classes = len(labels[batch].unique())
            if self.balanced or 1 < classes < len(batch):
                batches.append(batch)
        if self.shuffle:
            batches = [batches[i] for i in torch.randperm(len(batches), generator=random)]

        def find_pairs(batch: Tensor) -> tuple[Tensor, Tensor]:
            d2 = squared_distances(rescale(x[batch.to(x.device)])[0])
            anchor, positive = nearest_positives(d2, labels[batch], self.k)
            return anchor.cpu(), positive.cpu()

        pairs = list(map_blocks(find_pairs, batches, x.device)) if self.positives == "epoch" else None
        self.batches, self.pairs = batches, pairs
        return self

    def _require_batches(self) -> list[Tensor]:
        if self.batches is None:
            raise ValueError("the local sampler has no neighborhoods yet: call refresh(embeddings) before each epoch")
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter([batch.tolist() for batch in self._require_batches()])

    def __len__(self) -> int:
        return len(self._require_batches())

    def state_dict(self) -> dict[str, Any]:
        """Return the seed, the number of refreshes, and the neighborhoods with their pairs."""
        return {**super().state_dict(), "batches": self.batches, "pairs": self.pairs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue as the sampler that gave this `state_dict`: with its neighborhoods, or after a `refresh`."""
        super().load_state_dict(state)
        batches, pairs = state.get("batches"), state.get("pairs")
        if batches is not None:
            batches = [checks.item_numbers(batch, len(self.labels), "batches") for batch in batches]
        if pairs is not None:
            pairs = [checks.index_tuple(pair, batch) for pair, batch in zip(pairs, batches, strict=True)]
        self.batches, self.pairs = batches, pairs


def _match(x: Tensor, centres: Tensor, cluster: Tensor) -> Tensor:
    """Match N items stably with K centres that have N // K or N // K + 1 places; the centre of each item.

    Deferred acceptance (Gale and Shapley, 1962), all items at once: each free item asks the nearest centre that may
    still take it, each centre keeps the nearest of those that asked it so far. The centres of the largest clusters have
    the extra place.
    """
    n, k = len(x), len(centres)
    mean = centres.mean(0)  # distances come from products, whose rounding error grows with the norm: centre first
    points, scale = rescale(x - mean)
    distance = torch.cdist(points, (centres - mean) / scale)
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
    """Batches of some classes drawn at random, with `per_class` items, at least 2, from each.

    A class with fewer items than that gives all of them, and some of them again (with augmentation, another view). The
    size of every batch is a multiple of `per_class`, for two classes or more and no more than there are.
    """

    def __init__(self, labels: Labels, batch_size: int = 200, per_class: int = 5, *, seed: int = 0) -> None:
        super().__init__(labels, batch_size, seed=seed)
        self.per_class = checks.whole_number("per_class", per_class, 2)
        batch_size, per_class = self.batch_size, self.per_class
        if batch_size % per_class or batch_size < 2 * per_class:
            raise ValueError(
                f"batch_size must be a multiple of per_class, for two classes or more; got {batch_size} and {per_class}"
            )
        sizes = self.labels.unique(return_counts=True)[1]
        self._members = torch.argsort(self.labels, stable=True).split(sizes.tolist())
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


class ShuffledSampler(_Epochs):
    """Batches of the shuffled data set, without regard to classes: of the `labels` only the number matters.

    Each epoch leaves out the last, incomplete batch; a data set smaller than `batch_size` is one batch.
    """

    def __iter__(self) -> Iterator[list[int]]:
        items = RandomSampler(self.labels, generator=self._next_epoch())
        yield from BatchSampler(items, self.batch_size, drop_last=len(items) >= self.batch_size)
