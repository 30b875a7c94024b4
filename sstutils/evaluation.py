"""How good is an embedding: Recall@K, MAP@R, R-precision, NMI, and the nearest neighbors themselves.

All measures take an (N, d) matrix of embeddings and N integer labels, and go by Euclidean distance. The N x N distances
are never held all at once, but made block by block, on the device of the embeddings.

Each item is a query in turn, and the others are ranked by their distance to it. A class of one item gives no query
(there is nothing to find), but its item is ranked for the others. Results are exact: products in float32 decide where
their rounding error cannot matter, and the few queries where it could are ranked again in float64. Items at the *same*
distance count as ranked in random order, by the expected value: an embedding that has collapsed to a point scores like
chance.

Embeddings that are no finite matrix, labels that do not fit them or leave nothing to find, and a K or a query out of
range raise a ValueError.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .checks import Labels, class_labels, finite_matrix, full_precision, item_numbers, whole_number, whole_numbers
from .clustering import kmeans, map_blocks, rescale

# Scores: s_ij = -|x_i - x_j|^2 / 2 stands for a distance, greater is nearer, and many are one matrix product.


def _factors(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows (x, 1, -|x|^2 / 2) and (x, -|x|^2 / 2, 1), of x centred, whose products are scores."""
    x = x - x.mean(0)
    minus_half = -torch.linalg.vector_norm(x, dim=1, keepdim=True).square() / 2
    one = torch.ones_like(minus_half)
    return torch.cat([x, one, minus_half], 1), torch.cat([x, minus_half, one], 1)


def _slack(minus_half: Tensor, score: Tensor, dim: int) -> Tensor:
    """Return how far apart two scores of a row must be to be sure which is greater; `minus_half` is -|x|^2 / 2.

    A sum of d products has a rounding error of about sqrt(d) u |x| |y| (Higham and Mary, 2019), u the unit roundoff; an
    item y with this score has |y|^2 / 2 <= |x|^2 - 2 score.
    """
    return (2 * math.sqrt(dim) + 8) * torch.finfo(score.dtype).eps * (-3 * minus_half - 2 * score)


def _score_rows(x: Tensor, queries: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield some of the queries, their -|x|^2 / 2, and their scores with all items; with itself an item has -inf."""
    left, right = _factors(x)
    rows = max(1, (2**24 if x.device.type == "cpu" else 2**27) // len(x))
    buffer = x.new_empty(min(rows, len(queries)), len(x))
    for chunk in queries.split(rows):
        scores = torch.mm(left[chunk], right.T, out=buffer[: len(chunk)])
        yield chunk, left[chunk, -1:], scores.scatter_(1, chunk[:, None], -math.inf)


def _double_rows(x: Tensor, queries: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield some of the queries, their scores with all items in float64, and the slack of each score."""
    mean = x.mean(0).double()
    for chunk in queries.split(max(1, 2**22 // len(x))):
        left = x[chunk].double() - mean
        minus_half = -left.square().sum(1, keepdim=True) / 2
        scores = left.new_empty(len(chunk), len(x))
        for part, out in zip(x.split(4096), scores.split(4096, dim=1), strict=True):
            right = part.double() - mean
            torch.sub(left @ right.T + minus_half, right.square().sum(1) / 2, out=out)
        slack = _slack(minus_half, scores, x.shape[1])
        yield chunk, scores.scatter_(1, chunk[:, None], -math.inf), slack


def check_measurable(labels: Labels) -> None:
    """Raise ValueError unless something can be found among items of these classes, and missed."""
    sizes = class_labels(labels).unique(return_counts=True)[1]
    if len(sizes) < 2:
        raise ValueError("all items are of one class, so that any ranking is right; add items of another class")
    if sizes.max() < 2:
        raise ValueError(f"each of the {len(labels)} items has a class of its own; add items to these classes")


def _by_class(embeddings: Tensor, labels: Labels) -> tuple[Tensor, Tensor, Tensor]:
    """Return embeddings by class, small classes first, and rescaled; ascending classes; other items of the class."""
    x = finite_matrix(embeddings)
    labels = class_labels(labels, len(x)).cpu()
    check_measurable(labels)
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    by_size = sizes.argsort(stable=True)
    classes = by_size.argsort()[classes]
    order = classes.argsort(stable=True)
    x, _ = rescale(x[order.to(x.device)])
    return x, classes[order].to(x.device), sizes[by_size][classes[order]].to(x.device) - 1


# Measures


@full_precision()
def recall_at_k(embeddings: Tensor, labels: Labels, ks: Sequence[int] = (1, 2, 4, 8)) -> dict[int, float]:
    """Recall@K: the share of queries with an item of their class among their K nearest other items, K from 1 to N - 1.

    There is one if fewer than K items lie closer than the nearest item of the class. So no list of neighbors is made:
    items are counted, in one half of the symmetric matrix of distances, for the rows and the columns of each block.
    Returned is a dict of each K in `ks` to Recall@K.
    """
    x, y, peers = _by_class(embeddings, labels)
    ks = whole_numbers("ks", ks, 1, len(x) - 1)
    closer, perhaps = _count_closer(x, y)
    queries = (peers > 0).nonzero()[:, 0]
    undecided = torch.stack([(closer < k) != (perhaps < k) for k in ks]).any(0)
    hits = {k: float((closer[queries] < k)[~undecided[queries]].sum()) for k in ks}
    for chunk, scores, slack in _double_rows(x, queries[undecided[queries]]):
        same = y[chunk, None] == y
        best = scores.masked_fill(~same, -math.inf).max(1, keepdim=True)
        margin = slack.gather(1, best.indices)
        ahead = scores > best.values + margin
        level = (scores >= best.values - margin) & ~ahead
        items, wrong, before = (mask.sum(1).double() for mask in (level, level & ~same, ahead))
        for k in ks:  # the chance that those drawn from the level items are all wrong, as a ratio of binomials
            drawn = (k - before).clamp(min=0).minimum(items)
            logs = torch.lgamma(torch.stack([wrong, items - drawn, wrong - drawn, items]) + 1)  # of factorials
            hits[k] += float((1 - (logs[0] + logs[1] - logs[2] - logs[3]).exp()).sum())
    return {k: hits[k] / len(queries) for k in ks}


def _count_closer(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Count for each item the others that are surely, and that are perhaps, closer than its nearest peer."""
    left, right = _factors(x)
    size = min(len(x), 1024 if x.device.type == "cpu" else 8192)
    starts = range(0, len(x), size)

    def find_best(first: int) -> Tensor:
        rows, best = slice(first, first + size), x.new_full((), -math.inf)
        for start in range(int((y < y[first]).sum()), int((y <= y[rows][-1]).sum()), size):  # where their classes are
            columns = slice(start, start + size)
            scores = (left[rows] @ right[columns].T).masked_fill_(y[rows, None] != y[columns], -math.inf)
            scores.diagonal(first - start).fill_(-math.inf)  # an item is no peer of its own
            best = torch.maximum(best, scores.amax(1))
        return best

    best = torch.cat(list(map_blocks(find_best, starts, x.device)))
    best[best == -math.inf] = 0  # items without peers
    slack = _slack(left[:, -1], best, left.shape[1])
    # Less a number that matters only beside zero, where scores of equal items are.
    limits = torch.stack([best + slack, best - slack - torch.finfo(best.dtype).tiny])

    def count(first: int) -> Tensor:
        rows, counts = slice(first, first + size), x.new_zeros(2, len(x))
        flags = x.new_empty(2, size, size)  # floats: summing them is several times faster than summing booleans
        for start in range(first, len(x), size):
            columns = slice(start, start + size)
            scores = left[rows] @ right[columns].T
            if y[start] <= y[rows][-1]:
                scores.masked_fill_(y[rows, None] == y[columns], -math.inf)
            out = flags[:, : scores.shape[0], : scores.shape[1]]
            counts[:, rows] += torch.gt(scores, limits[:, rows, None], out=out).sum(2)
            if start > first:
                counts[:, columns] += torch.gt(scores, limits[:, None, columns], out=out).sum(1)
        return counts

    return sum(map_blocks(count, starts, x.device)).unbind()


def map_at_r(embeddings: Tensor, labels: Labels) -> float:
    """MAP@R, from 0 to 1 (Musgrave et al., A Metric Learning Reality Check, 2020); at most :func:`r_precision`.

    With R other items of a query's class: the mean, over ranks r = 1..R, of the precision of the first r items where
    the r-th is of the class, else 0; and the mean of that over the queries.
    """
    return _precisions(embeddings, labels)[0]


def r_precision(embeddings: Tensor, labels: Labels) -> float:
    """R-precision: the share of a query's class among its R nearest items, R being the size of the class less one."""
    return _precisions(embeddings, labels)[1]


@full_precision()
def _precisions(embeddings: Tensor, labels: Labels) -> tuple[float, float]:
    """Measure MAP@R and R-precision in one pass over the ranked items."""
    x, y, peers = _by_class(embeddings, labels)
    queries = (peers > 0).nonzero()[:, 0]
    average = precision = 0.0
    undecided = []
    for chunk, minus_half, scores in _score_rows(x, queries):
        r = peers[chunk, None]
        near = scores.topk(int(r.max()) + 1)
        hit = y[near.indices] == y[chunk, None]
        rank = torch.arange(1, hit.shape[1] + 1, device=y.device)
        # the order matters between a hit and a miss, and at the end of the list
        close = near.values[:, :-1] - near.values[:, 1:] <= _slack(minus_half, near.values[:, 1:], x.shape[1])
        unsure = (close & ((hit[:, :-1] != hit[:, 1:]) & (rank[:-1] < r) | (rank[:-1] == r))).any(1)
        undecided.append(chunk[unsure])
        counts = (hit & (rank <= r) & ~unsure[:, None]).double() / r
        average += float((counts * hit.cumsum(1) / rank).sum())
        precision += float(counts.sum())
    for chunk, scores, slack in _double_rows(x, torch.cat(undecided)):
        r = peers[chunk, None]
        scores, order = scores.sort(1, descending=True)
        hits = (y[order] == y[chunk, None]).double()
        # Expected values over all orders of each run of equal items; it has `length` items, `right` of them hits, and
        # follows on `before` hits.
        rank = torch.arange(len(x), device=y.device)
        begins = torch.ones_like(hits, dtype=torch.bool)
        begins[:, 1:] = scores[:, :-1] - scores[:, 1:] > slack.gather(1, order)[:, 1:]
        run = begins.cumsum(1) - 1
        length, right = (
            torch.zeros_like(hits).scatter_add_(1, run, values).gather(1, run)
            for values in (torch.ones_like(hits), hits)
        )
        start = rank.where(begins, 0).cummax(1).values
        before = (hits.cumsum(1) - hits).gather(1, start)
        counts = right / length * (rank < r) / r
        earlier = before + (rank - start) * (right - 1) / (length - 1).clamp(min=1)
        average += float((counts * (earlier + 1) / (rank + 1)).sum())
        precision += float(counts.sum())
    return average / len(queries), precision / len(queries)


def nmi(embeddings: Tensor, labels: Labels, *, restarts: int | None = None, seed: int = 0) -> float:
    """Normalised mutual information, 2 I / (H + H') from 0 to 1, of the C classes and as many clusters by `kmeans`.

    Of the `restarts` the one of the lowest inertia counts. By default there are 10, but only as many as keep
    restarts * N * C at 10^8: one for the 11,316 classes of Stanford Online Products.
    """
    from sklearn.metrics import normalized_mutual_info_score

    x = finite_matrix(embeddings)
    labels = class_labels(labels, len(x)).cpu()
    check_measurable(labels)
    classes = len(labels.unique())
    if restarts is None:
        restarts = max(1, min(10, 10**8 // (len(x) * classes)))
    _, cluster, _ = kmeans(x, classes, iterations=100, restarts=restarts, seed=seed)
    return float(normalized_mutual_info_score(labels.numpy(), cluster.cpu().numpy()))


@full_precision()
def top_k(embeddings: Tensor, k: int, *, queries: Sequence[int] | Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Find the k nearest other items, k from 1 to N - 1, of each of the `queries`, Q item numbers; by default of all.

    Returned are two (Q, k) tensors on the CPU: Euclidean distances in ascending order, exactly 0 for a duplicate, and
    int64 numbers of the items; of items at one distance the first comes first.
    """
    x, scale = rescale(finite_matrix(embeddings))
    k = whole_number("k", k, 1, len(x) - 1)
    queries = item_numbers(range(len(x)) if queries is None else queries, len(x), "queries").to(x.device)
    distances, indices = [torch.empty(0, k, dtype=x.dtype)], [torch.empty(0, k, dtype=torch.long)]
    for chunk, _, scores in _score_rows(x, queries):
        # some more than k, because products order close calls at random; the differences of the points decide
        near = scores.topk(min(k + 8, len(x) - 1)).indices.sort(1).values
        rows = max(1, 2**23 // (near.shape[1] * x.shape[1]))
        for query, items in zip(chunk.split(rows), near.split(rows), strict=True):
            d2 = (x[items].double() - x[query, None].double()).square_().sum(2)
            d2, order = d2.sort(dim=1, stable=True)
            distances.append((d2[:, :k].sqrt() * scale).to(x.dtype).cpu())
            indices.append(items.gather(1, order[:, :k]).cpu())
    return torch.cat(distances), torch.cat(indices)


def evaluate(
    embeddings: Tensor, labels: Labels, ks: Sequence[int] = (1, 2, 4, 8), *, restarts: int | None = None, seed: int = 0
) -> dict[str, float]:
    """Measure an embedding by all of `recall_at_k`, `map_at_r`, `r_precision` and `nmi`, whose parameters these are.

    Returned is a dict of str to float: "recall@1" and so on, "map@r", "r_precision", "nmi".
    """
    measures = {f"recall@{k}": value for k, value in recall_at_k(embeddings, labels, ks).items()}
    measures["map@r"], measures["r_precision"] = _precisions(embeddings, labels)
    return measures | {"nmi": nmi(embeddings, labels, restarts=restarts, seed=seed)}
