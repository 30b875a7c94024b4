"""k-means against scikit-learn and plain loops; the samplers against the definition, item by item."""

import math
from collections import Counter
from threading import Barrier, Thread, get_ident

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch.utils.data import DataLoader, TensorDataset

from sstutils import sampling
from sstutils.clustering import kmeans, map_blocks
from sstutils.evaluation import recall_at_k
from sstutils.losses import nearest_positives, squared_distances
from sstutils.sampling import ClassBalancedSampler, LocalSampler, ShuffledSampler


def blobs(sizes, dim=8, spread=0.1, seed=0, dtype=torch.float32):
    """Groups of points far apart; which group each is of."""
    random = torch.Generator().manual_seed(seed)
    group = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    centres = 10 * torch.randn(len(sizes), dim, generator=random, dtype=dtype)
    return centres[group] + spread * torch.randn(len(group), dim, generator=random, dtype=dtype), group


def cloud(count, dim=8, seed=0, dtype=torch.float32):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=dtype)


integer_points = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


# k-means


def lloyd(x, centres, iterations):
    """k-means as it is defined."""
    for _ in range(iterations):
        nearest = np.array([((point - centres) ** 2).sum(1).argmin() for point in x])
        centres = np.array([x[nearest == c].mean(0) for c in range(len(centres))])
    return centres, np.array([((point - centres) ** 2).sum(1).argmin() for point in x])


@pytest.mark.parametrize("iterations", [0, 1, 2, 4, 9])
@pytest.mark.parametrize(("count", "k", "init"), [(200, 5, "random"), (200, 70, "k-means++"), (400, 150, "k-means++")])
def test_kmeans_is_lloyds_algorithm(count, k, init, iterations):
    x = cloud(count, 4, dtype=torch.float64)
    seeds, _, _ = kmeans(x, k, init=init, iterations=0)
    centres, assignment, inertia = kmeans(x, k, init=init, iterations=iterations)
    wanted, nearest = lloyd(x.numpy(), seeds.numpy(), iterations)
    np.testing.assert_allclose(centres.numpy(), wanted, atol=1e-12)
    np.testing.assert_array_equal(assignment.numpy(), nearest)
    assert inertia == pytest.approx(np.sum((x.numpy() - wanted[nearest]) ** 2), rel=1e-12)


@pytest.mark.parametrize("k", [3, 40, 200])
def test_kmeans_ends_where_scikit_learn_does(k):
    x = cloud(1500, 16)
    seeds, _, _ = kmeans(x, k, iterations=0)
    _, assignment, inertia = kmeans(x, k, iterations=500)
    peer = KMeans(k, init=seeds.numpy(), n_init=1, max_iter=500, tol=0).fit(x.numpy())
    assert inertia == pytest.approx(peer.inertia_, rel=1e-5)
    assert (assignment.numpy() == peer.labels_).mean() > 0.99


@pytest.mark.parametrize("init", ["random", "k-means++"])
@pytest.mark.parametrize("k", [8, 100])
def test_inertia_is_close_to_scikit_learns(k, init):
    x = cloud(2000, 16)
    peer = KMeans(k, n_init=1, random_state=0).fit(x.numpy()).inertia_
    assert kmeans(x, k, iterations=100, init=init)[2] < 1.03 * peer


def test_seeds_are_spread():
    x, _ = blobs([50] * 40)
    spread, random = ([kmeans(x, 40, init=init, seed=s)[2] for s in range(5)] for init in ("k-means++", "random"))
    assert max(spread) < min(random)


@pytest.mark.parametrize("init", ["random", "k-means++"])
def test_same_seed_same_clusters(init):
    x = cloud(500)
    state = torch.get_rng_state()
    once, again, other = (kmeans(x, 20, init=init, seed=seed, iterations=3) for seed in (1, 1, 2))
    assert torch.equal(once[0], again[0])
    assert torch.equal(once[1], again[1])
    assert once[2] == again[2]
    assert not torch.equal(once[1], other[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_restarts_keep_the_best():
    x = cloud(500)
    inertia = [kmeans(x, 20, restarts=restarts, init="random")[2] for restarts in (1, 4, 12)]
    assert inertia[0] >= inertia[1] >= inertia[2]
    assert inertia[0] > inertia[2]


@settings(max_examples=150, deadline=None)
@given(integer_points, st.data())
def test_every_point_is_with_its_nearest_centre_and_no_cluster_is_empty(points, data):
    x = torch.tensor(points, dtype=torch.float32)
    k = data.draw(st.integers(1, len(x)))
    init = data.draw(st.sampled_from(["random", "k-means++"]))
    centres, assignment, inertia = kmeans(x, k, init=init, iterations=data.draw(st.sampled_from([0, 1, 20])))
    assert len(assignment.unique()) >= min(k, len(x.unique(dim=0)))
    d2 = (x.double()[:, None] - centres.double()).square().sum(2)
    own = d2.gather(1, assignment[:, None])[:, 0]
    assert (own <= d2.min(1).values + 1e-5).all()
    assert inertia == pytest.approx(own.sum().item(), abs=1e-4)


def test_far_from_the_origin_and_in_half_precision():
    x, group = blobs([30, 40, 50], spread=0.01)
    _, assignment, inertia = kmeans(x, 3)
    _, moved, same = kmeans(x + 1000, 3)
    assert torch.equal(assignment, moved)
    assert same == pytest.approx(inertia, rel=0.05)  # float32 holds four digits after the point there
    assert len(group.unique()) == len((group * 3 + assignment).unique()) == 3
    centres, half, _ = kmeans(x.half(), 3)
    assert centres.dtype == torch.float32
    assert torch.equal(half, assignment)


@pytest.mark.parametrize("scale", [2.0**-80, 1e-24, 1e17])
def test_the_scale_of_the_points_does_not_matter(scale):
    x, _ = blobs([30, 40, 50])
    centres, assignment, inertia = kmeans(x, 3, seed=1)
    scaled = kmeans(x * scale, 3, seed=1)
    assert torch.equal(scaled[1], assignment)
    torch.testing.assert_close(scaled[0], centres * scale, rtol=1e-4, atol=0)
    assert scaled[2] == pytest.approx(inertia * scale**2, rel=1e-4)


def test_clusters_do_not_depend_on_low_precision_products():
    x = cloud(300, 32)
    wanted = kmeans(x, 10)
    before = torch.backends.mkldnn.matmul.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found = kmeans(x, 10)
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
    assert torch.equal(wanted[0], found[0])


@pytest.mark.parametrize(
    ("x", "options", "says"),
    [
        (torch.zeros(5), {"k": 1}, r"x must be .* of shape \(N, D\), got .* of shape \(5,\)"),
        (torch.zeros(5, 2), {"k": 6}, "k must be between 1 and 5, got 6"),
        (torch.zeros(5, 2), {"k": 0}, "k must be between 1 and 5, got 0"),
        (torch.zeros(5, 2), {"k": 2, "init": "best"}, "best"),
        (torch.zeros(5, 2), {"k": 2, "restarts": 0}, "restarts"),
        (torch.zeros(5, 2), {"k": 2, "iterations": -1}, "iterations"),
    ],
)
def test_kmeans_says_what_is_wrong(x, options, says):
    with pytest.raises(ValueError, match=says):
        kmeans(x, **options)


# Local sampling


@pytest.fixture
def clusters(monkeypatch):
    """What k-means found in each refresh."""
    found = []

    def spy(*args, **options):
        found.append(kmeans(*args, **options))
        return found[-1]

    monkeypatch.setattr(sampling, "kmeans", spy)
    return found


def holds_triplet(labels):
    sizes = Counter(labels)
    return len(sizes) > 1 and max(sizes.values()) > 1


def naive_pairs(x, labels, k):
    """Each item of a class with two members and one non-member, with its nearest same-class others."""
    pairs = set()
    for a in range(len(x)):
        peers = [p for p in range(len(x)) if p != a and labels[p] == labels[a]]
        if len(peers) + 1 < len(x):
            pairs |= {(a, p) for p in sorted(peers, key=lambda p: ((x[a] - x[p]) ** 2).sum())[:k]}
    return pairs


@pytest.mark.parametrize("batch_size", [7, 20, 50, 1000])
def test_batches_are_the_neighborhoods(clusters, batch_size):
    x = cloud(500)
    labels = torch.randint(40, (500,), generator=torch.Generator().manual_seed(1)).tolist()
    sampler = LocalSampler(labels, batch_size).refresh(x)
    centres, assignment, _ = clusters[0]
    assert len(centres) == max(1, 500 // batch_size)
    assert len(sampler) == len(sampler.batches) == len(list(sampler))
    left, places = list(sampler), []
    for cluster in range(len(centres)):
        members = (assignment == cluster).nonzero()[:, 0].tolist()
        batch = next((batch for batch in left if set(batch) <= set(members)), None)
        if batch is None:  # left out: in it, or in a random part of it, there is no triplet
            assert len(members) > batch_size or not holds_triplet([labels[i] for i in members])
            continue
        places.append(left.index(batch))
        assert len(set(batch)) == len(batch) == min(len(members), batch_size)
        assert holds_triplet([labels[i] for i in batch])
    assert places == list(range(len(left)))  # in the order of the clusters, and no other batch


@pytest.mark.parametrize("k", [1, 3, 50])
def test_pairs_are_the_nearest_positives_in_the_batch(k):
    x = cloud(300, dtype=torch.float64)
    labels = torch.randint(25, (300,), generator=torch.Generator().manual_seed(1)).tolist()
    sampler = LocalSampler(labels, 40, k).refresh(x)
    assert len(sampler.pairs) == len(sampler)
    for batch, (anchor, positive) in zip(sampler, sampler.pairs, strict=True):
        found = list(zip(anchor.tolist(), positive.tolist(), strict=True))
        assert len(found) == len(set(found))
        assert set(found) == naive_pairs(x[batch], [labels[i] for i in batch], k)


def test_the_number_of_triplets():
    labels = torch.arange(10).repeat_interleave(20)
    sampler = LocalSampler(labels, 200, 5).refresh(cloud(200))
    (anchor, _), batch = sampler.pairs[0], sampler.batches[0]
    assert sum(int((labels[batch] != labels[batch][a]).sum()) for a in anchor) == 180_000


def test_what_teaches_nothing_is_left_out():
    x, group = blobs([20, 20, 20, 20])
    labels = torch.arange(80)  # singletons
    labels[group == 1] = 100  # one class
    labels[group == 2] = 101 + torch.arange(20) % 2  # two classes
    labels[group == 3] = torch.tensor([200, 200, *range(201, 219)])  # one pair among singletons
    sampler = LocalSampler(labels, 20, iterations=100)
    while len(sampler.refresh(x)) != 2:  # k-means can start in a wrong place
        assert sampler.epoch < 50
    assert sorted(map(sorted, sampler)) == [list(range(40, 60)), list(range(60, 80))]
    pairs = dict(zip(map(min, sampler), sampler.pairs, strict=True))
    assert sorted(zip(*(part.tolist() for part in pairs[60]), strict=True)) == [(0, 1), (1, 0)]


def test_no_neighborhood_has_a_triplet():
    sampler = LocalSampler(range(30), 10).refresh(cloud(30))
    assert len(sampler) == 0
    assert list(sampler) == sampler.pairs == []


def test_duplicates_are_ordinary_points():
    sampler = LocalSampler([0, 0, 1, 1], 4, 1).refresh(torch.zeros(4, 3))
    anchor, positive = sampler.pairs[0]
    assert sorted(zip(anchor.tolist(), positive.tolist(), strict=True)) == [(0, 1), (1, 0), (2, 3), (3, 2)]


def test_each_refresh_draws_afresh_and_a_run_can_be_taken_up():
    x, labels = cloud(400), [i % 8 for i in range(400)]

    def epochs(sampler, count):
        result = []
        for _ in range(count):
            pairs = sampler.refresh(x).pairs
            result.append((list(sampler), [tuple(map(torch.Tensor.tolist, pair)) for pair in pairs]))
            assert list(sampler) == result[-1][0]
        return result

    for options in ({}, {"shuffle": True}, {"balanced": True}):
        sampler = LocalSampler(labels, 30, seed=3, **options)
        stream = epochs(sampler, 2)
        state = sampler.state_dict()
        stream += epochs(sampler, 2)
        assert stream == epochs(LocalSampler(labels, 30, seed=3, **options), 4)
        assert len({str(epoch) for epoch in stream}) == 4
        other = LocalSampler(labels, 30, seed=9, **options).refresh(x)
        other.load_state_dict(state)
        assert list(other) == stream[1][0]  # the neighborhoods go with the state
        assert epochs(other, 2) == stream[2:]
        assert epochs(LocalSampler(labels, 30, seed=4, **options), 1) != stream[:1]


def test_shuffle_visits_the_same_clusters_in_another_order(clusters):
    x, labels = cloud(400), [i % 8 for i in range(400)]
    plain = LocalSampler(labels, 20).refresh(x)
    shuffled = LocalSampler(labels, 20, shuffle=True).refresh(x)
    order = [[int(assignment[batch[0]]) for batch in sampler] for sampler, (_, assignment, _) in
             zip((plain, shuffled), clusters, strict=True)]  # fmt: skip
    assert order[0] == sorted(order[0])
    assert order[1] != order[0]
    assert sorted(order[1]) == order[0]
    for batch, (anchor, positive) in zip(shuffled, shuffled.pairs, strict=True):
        assert all(labels[batch[a]] == labels[batch[p]] for a, p in zip(anchor, positive, strict=True))


def test_positives_can_be_left_to_the_loss():
    x, labels = cloud(100), [i % 4 for i in range(100)]
    fixed, fresh = (LocalSampler(labels, 20, positives=positives).refresh(x) for positives in ("epoch", "batch"))
    assert fresh.pairs is None
    assert list(fresh) == list(fixed)


@settings(max_examples=80, deadline=None)
@given(st.integers(3, 60), st.integers(3, 20), st.integers(0, 5), st.booleans())
def test_balanced_batches_are_a_stable_matching_of_all_items(count, batch_size, seed, on_a_grid):
    x = cloud(count, 2, seed)
    x = x.round() if on_a_grid else x
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "kmeans", lambda *a, **o: found.append(kmeans(*a, **o)) or found[-1])
        sampler = LocalSampler([i % 3 for i in range(count)], batch_size, balanced=True).refresh(x)
    assert sorted(i for batch in sampler for i in batch) == list(range(count))
    sizes = [len(batch) for batch in sampler]
    assert len(sizes) == math.ceil(count / batch_size)
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size
    # no item and centre would both rather have each other than what they have
    distance = torch.cdist(x.double(), found[0][0].double())
    for own, batch in enumerate(sampler):
        for item in batch:
            for other, members in enumerate(sampler):
                prefers = distance[item, other] < distance[item, own] - 1e-5
                preferred = distance[item, other] < distance[members, other].max() - 1e-5
                assert not (prefers and preferred)


@pytest.mark.parametrize("kind", [LocalSampler, ClassBalancedSampler, ShuffledSampler])
@pytest.mark.parametrize("seed", [2**32, 1_795_000_000_000_000_000, 2**64 - 1])  # of a clock, in nanoseconds
def test_seeds_beyond_32_bits(kind, seed):
    x, labels = cloud(60), [i % 4 for i in range(60)]
    once, again, other = (list(kind(labels, 20, seed=s).refresh(x)) for s in (seed, np.uint64(seed), seed - 2**31))
    assert once == again != other
    kmeans(x, 3, seed=seed)


@pytest.mark.parametrize("balanced", [False, True])
def test_the_scale_of_embeddings_does_not_matter(balanced):
    x, labels = cloud(200), [i % 4 for i in range(200)]
    wanted = LocalSampler(labels, 30, balanced=balanced).refresh(x)
    for scale in (2.0**-83, 2.0**-60, 2.0**57):  # 1e-25, squares that vanish; 1e17
        found = LocalSampler(labels, 30, balanced=balanced).refresh(x * scale)
        assert list(found) == list(wanted)
        assert [[i.tolist() for i in pair] for pair in found.pairs] == [[i.tolist() for i in p] for p in wanted.pairs]


@pytest.mark.parametrize("balanced", [False, True])
def test_a_collapsed_embedding_still_makes_batches(balanced):
    labels = [i % 4 for i in range(100)]
    sampler = LocalSampler(labels, 30, balanced=balanced).refresh(torch.full((100, 5), 0.1))
    assert all(holds_triplet([labels[i] for i in batch]) for batch in sampler)
    assert sum(map(len, sampler)) == (100 if balanced else 30)


def test_embeddings_of_any_kind():
    x, labels = cloud(60), [i % 2 for i in range(60)]
    wanted = list(LocalSampler(labels, 20).refresh(x))
    for other in (x.double(), x.clone().requires_grad_(), x.numpy()):
        assert list(LocalSampler(np.array(labels), 20).refresh(other)) == wanted


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: list(LocalSampler([0, 1, 0])), "refresh"),
        (lambda: len(LocalSampler([0, 1, 0])), "refresh"),
        (
            lambda: LocalSampler([0, 1, 0]).refresh(torch.zeros(4, 2)),
            "labels must be 4 integers, .* got 3",
        ),
        (lambda: LocalSampler([0, 1, 0]).refresh(torch.full((3, 2), math.inf)), "finite"),
        (lambda: LocalSampler([0, 1, 0]).refresh(torch.zeros(3)), "embeddings must be"),
        (lambda: LocalSampler([0.5, 1.0]), "labels must be integers"),
        (lambda: LocalSampler([]), "labels"),
        (lambda: LocalSampler([0, 1, 0], 2), "batch_size must be at least 3"),
        (lambda: LocalSampler([0, 1, 0], k=0), "k must"),
        (lambda: LocalSampler([0, 1, 0], positives="always"), "always"),
        (lambda: LocalSampler([0, 1, 0], seed=-1), "seed"),
        (lambda: LocalSampler([0, 1, 0], seed=2**64), "seed must be between 0 and"),
        (lambda: LocalSampler([0, 1, 0], 20.0), "batch_size must be an integer, got 20.0"),
        (lambda: LocalSampler([0, 1, 0], True), "batch_size must be an integer, got True"),
        (lambda: LocalSampler([0, 1, 0], shuffle="false"), "shuffle must be True or False, got 'false'"),
        (lambda: LocalSampler([0, 1, 0], balanced=1), "balanced must be True or False, got 1"),
        (lambda: ClassBalancedSampler([0, 1] * 50, "20"), "batch_size must be an integer, got '20'"),
        (lambda: ClassBalancedSampler([0, 1] * 50, 20, 5.0), "per_class must be an integer, got 5.0"),
        (lambda: ShuffledSampler([0, 1], seed=1.5), "seed must be an integer, got 1.5"),
        (lambda: kmeans(torch.zeros(5, 2), 2, seed=-1), "seed must be between 0 and"),
        (lambda: kmeans(torch.zeros(5, 2), 2.0), "k must be an integer, got 2.0"),
        (lambda: ClassBalancedSampler([0, 1] * 50, 20, 5), "are 2: batch_size may be 10 at most"),
        (lambda: ClassBalancedSampler([0, 1] * 50, 9, 5), "multiple"),
        (lambda: ClassBalancedSampler([0, 1] * 50, 5, 5), "two classes"),
        (lambda: ClassBalancedSampler([0, 1] * 50, 4, 1), "per_class"),
        (lambda: ShuffledSampler([0, 1], 0), "batch_size"),
    ],
)
def test_samplers_say_what_is_wrong(make, says):
    with pytest.raises(ValueError, match=says):
        make()


# Baselines, and what all samplers share


def test_class_balanced_batches():
    labels = torch.tensor([7] * 50 + [3] * 30 + [5] * 20 + [9] * 12 + [1] * 3 + [2])
    sampler = ClassBalancedSampler(labels, 20, 5)
    assert len(sampler) == 116 // 20
    seen = Counter()
    for _ in range(20):
        epoch = list(sampler)
        assert len(epoch) == len(sampler)
        for batch in epoch:
            sizes = Counter(labels[batch].tolist())
            assert sorted(sizes.values()) == [5] * 4
            for c in sizes:
                times = Counter(i for i in batch if labels[i] == c)
                size = int((labels == c).sum())
                assert len(times) == min(size, 5)  # all of a small class, and some of it again
                assert max(times.values()) - min(times.values()) <= 1
            seen.update(batch)
    assert len(seen) == len(labels)


def test_shuffled_batches():
    sampler = ShuffledSampler(range(50), 8)
    first, second = list(sampler), list(sampler)
    for epoch in (first, second):
        assert [len(batch) for batch in epoch] == [8] * 6
        assert len({i for batch in epoch for i in batch}) == 48
    assert first != second
    assert sorted(next(iter(ShuffledSampler([0, 0, 1], 8)))) == [0, 1, 2]
    assert len(ShuffledSampler([0, 0, 1], 8)) == 1


@pytest.mark.parametrize("kind", [ClassBalancedSampler, ShuffledSampler])
def test_baselines_can_be_taken_up(kind):
    labels = [i % 20 for i in range(100)]
    sampler = kind(labels, 10, seed=5)
    assert sampler.pairs is None
    stream = [list(sampler.refresh(None)) for _ in range(2)]
    state = sampler.state_dict()
    stream += [list(sampler) for _ in range(2)]
    again = kind(labels, 10, seed=5)
    assert [list(again) for _ in range(4)] == stream
    other = kind(labels, 10)
    assert list(other) != stream[0]
    other.load_state_dict(state)
    assert [list(other) for _ in range(2)] == stream[2:]
    assert len({str(epoch) for epoch in stream}) == 4


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [LocalSampler, ClassBalancedSampler, ShuffledSampler])
def test_in_a_data_loader(kind, workers):
    x, labels = cloud(200), [i % 40 for i in range(200)]
    sampler = kind(labels, 50)
    loader = DataLoader(
        TensorDataset(torch.arange(200)),
        batch_sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    twin = kind(labels, 50)
    seen = []
    for _ in range(2):
        sampler.refresh(x)
        twin.refresh(x)
        assert len(loader) == len(sampler)
        seen.append([batch.tolist() for (batch,) in loader])
        assert seen[-1] == list(twin)
    assert seen[0] != seen[1]


# Threads


def test_blocks_are_computed_by_one_thread_each_and_come_in_order(two_threads):
    seen, meet = set(), Barrier(2, timeout=20)

    def compute(block):
        seen.add((get_ident(), torch.get_num_threads()))
        if block < 2:
            meet.wait()  # the first two at once, or it is broken
        return block

    assert list(map_blocks(compute, range(7), torch.device("cpu"))) == list(range(7))
    assert len(seen) == 2 and {threads for _, threads in seen} == {1}
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError):
        list(map_blocks(lambda block: 1 // block, range(7), torch.device("cpu")))
    later = []
    thread = Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [torch.get_num_threads(), *later] == [2, 2]


def test_pairs_and_recall_do_not_depend_on_threads(two_threads):
    x, labels = cloud(2500), torch.arange(2500) % 40
    sampler, recall = LocalSampler(labels, 100).refresh(x), recall_at_k(x, labels, (1, 10))
    torch.set_num_threads(1)
    assert recall_at_k(x, labels, (1, 10)) == recall
    for batch, pairs in zip(sampler.batches, sampler.pairs, strict=True):
        expected = nearest_positives(squared_distances(x[batch]), labels[batch])
        assert all(map(torch.equal, pairs, expected))
