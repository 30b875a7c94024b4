"""k-means by matrix products, on the device of the points: for the neighborhoods of local sampling, and for NMI."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import finite_matrix, full_precision, one_of, seed_number, whole_number


@full_precision()
def kmeans(
    x: Tensor, k: int, *, iterations: int = 20, restarts: int = 1, seed: int = 0, init: str = "k-means++"
) -> tuple[Tensor, Tensor, float]:
    """Cluster points by Lloyd's k-means, on their device.

    Stops after `iterations` updates of the centres (0 returns the seeds), or as soon as no point changes its cluster. A
    cluster that falls empty takes the point that is farthest from its centre.

    Parameters
    ----------
    x : (N, d) tensor
        Finite points. float64 is computed in float64, everything else in float32.
    k : int, from 1 to N
    iterations : int
    restarts : int
        Independent starts; the one of the lowest inertia is returned.
    seed : int
        On one device, the same seed gives the same result.
    init : {"k-means++", "random"}
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
    """
    x = finite_matrix(x, "x")
    whole_number("k", k, 1, len(x))
    whole_number("iterations", iterations, 0)
    whole_number("restarts", restarts)
    one_of("init", init, ("k-means++", "random"))
    x, scale = rescale(x)
    mean = x.mean(0)
    x -= mean  # distances come from products, whose rounding error grows with the norm
    square = _row_squares(x)
    # On the CPU, so that the seeds do not depend on the device.
    generator = torch.Generator().manual_seed(seed_number(seed))

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
            best = centres, assignment, inertia
    centres, assignment, inertia = best
    return (centres + mean) * scale, assignment, inertia * scale**2


def rescale(x: Tensor) -> tuple[Tensor, float]:
    """Divide points by a power of two, so that the largest number is about 1; return a copy, and the power.

    Squares of very small numbers vanish, and those of very large ones overflow. A power of two rounds nothing.
    """
    largest = torch.stack(x.aminmax()).abs().max().clamp(min=torch.finfo(x.dtype).tiny)
    scale = 2.0 ** float(largest.log2().round())
    return x / scale, scale


def map_blocks(compute: Callable[[Any], Any], blocks: Sequence, where: torch.device) -> Iterator:
    """Yield ``compute(block)`` for each block, in order; on a CPU, as many threads as torch has take one block each.

    Threads that share each operation wait after it for the slowest, and one of them is slow beside a busy process; here
    a free one takes the next block. `compute` may write only to its own tensors; ``no_grad`` and autocast end at it.
    """
    threads = torch.get_num_threads()
    if where.type != "cpu" or threads == 1 or len(blocks) < 2:
        yield from map(compute, blocks)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(compute, blocks)
    finally:
        torch.set_num_threads(threads)  # what the workers set is also the default of later threads


def _row_squares(x: Tensor) -> Tensor:
    """Return the squared norms of the rows, without a temporary of the size of x."""
    return torch.linalg.vector_norm(x, dim=1).square()


def _nearest(x: Tensor, square: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Find the nearest centre of each point, and the squared distance to it."""
    # argmin |x - c|^2 = argmin |c|^2 / 2 - x.c : one product, whose blocks (4 MB, or more) are reduced while in cache.
    half = _row_squares(centres) / 2
    rows = min(len(x), max(1024, (2**20 if x.device.type == "cpu" else 2**27) // len(centres)))
    score = x.new_empty(rows, len(centres))
    lowest, index = x.new_empty(len(x)), torch.empty(len(x), dtype=torch.long, device=x.device)
    for i in range(0, len(x), rows):
        part = x[i : i + rows]
        out = torch.addmm(half, part, centres.T, alpha=-1, out=score[: len(part)])
        torch.min(out, 1, out=(lowest[i : i + rows], index[i : i + rows]))
    return index, lowest.mul_(2).add_(square).clamp_(min=0)


def _distances(x: Tensor, centres: Tensor, assignment: Tensor) -> Tensor:
    """Measure each point's squared distance to its centre, by the difference: exactly zero for a point on it."""
    parts = zip(x.split(4096), assignment.split(4096), strict=True)
    return torch.cat([(part - centres[near]).square_().sum(1) for part, near in parts])


def _cluster_means(x: Tensor, assignment: Tensor, k: int) -> Tensor:
    """Average the points of each cluster, by sums over sorted segments: deterministic on a GPU, too."""
    sizes = torch.bincount(assignment, minlength=k)
    order = torch.argsort(assignment, stable=True)
    return F.embedding_bag(order, x, sizes.cumsum(0) - sizes, mode="mean")


def _reassign(
    x: Tensor, square: Tensor, centres: Tensor, moved: Tensor, assignment: Tensor, d2: Tensor
) -> tuple[Tensor, Tensor]:
    """Find what `_nearest` does, from an earlier result `(assignment, d2)` and the centres that `moved` since then.

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
        moved = torch.zeros(len(centres), dtype=torch.bool, device=x.device).index_fill_(0, filled, True)
        assignment, d2 = _reassign(x, square, centres, moved, assignment, d2)
        assignment[far], d2[far] = filled, 0  # whatever rounding says


def _spread_seeds(x: Tensor, square: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Draw k seeds by k-means++, max(1, k // 64) at a time; return their indices."""
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
