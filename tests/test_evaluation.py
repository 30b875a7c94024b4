"""Retrieval measures against scikit-learn, pytorch-metric-learning and brute force in float64, and their laws."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import NearestNeighbors
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

from sstutils import evaluation
from sstutils.clustering import kmeans
from sstutils.datasets.base import ArrayDataset
from sstutils.embedding import embed
from sstutils.evaluation import evaluate, map_at_r, nmi, r_precision, recall_at_k, top_k


def classes(sizes, dim=6, noise=1.0, seed=0, dtype=torch.float32):
    """Overlapping classes of these sizes, in random order."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=random)]
    centres = torch.randn(len(sizes), dim, generator=random, dtype=dtype)
    return centres[labels] + noise * torch.randn(len(labels), dim, generator=random, dtype=dtype), labels


def ranking(x):
    """Squared distances in float64 by differences, and all other items of each from near to far."""
    x = np.asarray(x, dtype=np.float64)
    d2 = np.stack([((row - x) ** 2).sum(1) for row in x])
    np.fill_diagonal(d2, np.inf)
    return d2, d2.argsort(1, kind="stable")[:, :-1]


def naive(x, labels, ks, order=None):
    """Recall@K, MAP@R and R-precision as they are defined, one query at a time."""
    labels = np.asarray(labels)
    order = ranking(x)[1] if order is None else order
    recall, average, precision = {k: [] for k in ks}, [], []
    for query, near in enumerate(order):
        hit = labels[near] == labels[query]
        r = hit.sum()
        if not r:
            continue
        for k in ks:
            recall[k].append(hit[:k].any())
        precision.append(hit[:r].mean())
        average.append((hit.cumsum() / np.arange(1, len(hit) + 1))[:r][hit[:r]].sum() / r)
    return {**{k: np.mean(hits) for k, hits in recall.items()}, "map_at_r": np.mean(average),
            "r_precision": np.mean(precision)}  # fmt: skip


def measured(x, labels, ks):
    return {**recall_at_k(x, labels, ks), "map_at_r": map_at_r(x, labels), "r_precision": r_precision(x, labels)}


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for name in wanted:
        assert found[name] == pytest.approx(wanted[name], abs=1e-12), name


SIZES = {
    "as in Products": [5] * 60 + [2] * 40 + [12] * 5,
    "singletons": [1] * 150 + [2] * 20 + [30],
    "two classes": [200, 150],
    "long tail": [math.ceil(150 / i) for i in range(1, 60)],
}
KS = (1, 2, 4, 8, 100)


# Retrieval


@pytest.mark.parametrize("noise", [0.2, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_measures_are_exact(sizes, dtype, noise):
    x, labels = classes(sizes, noise=noise, dtype=dtype)
    assert_same(measured(x, labels, KS), naive(x, labels, KS))


@pytest.mark.parametrize("sizes", [[5] * 200 + [1] * 400 + [40] * 17, [1100, 1000], [3] * 700])
def test_measures_are_exact_over_many_blocks(sizes, two_threads):
    x, labels = classes(sizes, dim=16, noise=0.5)
    assert len(x) > 2 * 1024
    assert_same(measured(x, labels, KS), naive(x, labels, KS))


def test_recall_agrees_with_scikit_learn():
    x, labels = classes([10] * 60, noise=0.8)
    near = NearestNeighbors(n_neighbors=9, algorithm="brute").fit(x).kneighbors(x, return_distance=False)
    hit = labels[torch.from_numpy(near[:, 1:])] == labels[:, None]
    assert recall_at_k(x, labels) == {k: pytest.approx(hit[:, :k].any(1).float().mean().item()) for k in (1, 2, 4, 8)}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_measures_agree_with_pytorch_metric_learning(sizes):
    x, labels = classes(sizes, noise=0.5)
    peer = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"),
        k="max_bin_count",
        knn_func=CustomKNN(LpDistance(normalize_embeddings=False), batch_size=128),
        device=torch.device("cpu"),
    ).get_accuracy(x, labels)
    found = measured(x, labels, (1,))
    assert found[1] == pytest.approx(peer["precision_at_1"])
    assert found["map_at_r"] == pytest.approx(peer["mean_average_precision_at_r"])
    assert found["r_precision"] == pytest.approx(peer["r_precision"])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 40), st.integers(2, 12), st.integers(1, 6))
def test_laws(seed, count, kinds, dim):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(count, dim, generator=random, dtype=torch.float64)
    labels = torch.randint(kinds, (count,), generator=random)
    labels[:3] = torch.tensor([0, 0, 1])
    ks = [k for k in (1, 2, 5, count - 1) if k < count]
    found = measured(x, labels, ks)
    values = [found[k] for k in ks]
    assert values == sorted(values)  # grows with K, to 1 at the end
    assert values[-1] == 1
    assert 0 <= found["map_at_r"] <= found["r_precision"] <= 1
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=random, dtype=torch.float64)).Q
    order = torch.randperm(count, generator=random)
    for other, names in ((x @ rotation, labels), (x + 5, labels), (1e-3 * x, 10 - labels), (x[order], labels[order])):
        assert_same(measured(other, names, ks), pytest.approx(found, abs=1e-12).expected)


@pytest.mark.parametrize("seed", range(3))
def test_perfect_embeddings_score_one(seed):
    x, labels = classes([2, 3, 10, 1, 40], noise=1e-3, seed=seed)
    assert_same(measured(x, labels, (1, 2, 50)), {1: 1, 2: 1, 50: 1, "map_at_r": 1, "r_precision": 1})


# Where rounding and ties matter


def in_random_order(x, labels, ks):
    """Mean over all orders in which items at the same distance may be ranked."""
    d2, _ = ranking(x)
    results = []
    for order in itertools.permutations(range(len(x))):
        order = np.array(order)
        near = np.stack([order[row[order].argsort(kind="stable")][:-1] for row in d2])
        results.append(naive(x, labels, ks, near))
    return {name: np.mean([result[name] for result in results]) for name in results[0]}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=3, max_size=5), st.sampled_from([1, 0.1, 7]))
def test_ties_count_as_in_random_order(items, scale):
    x = torch.tensor([[float(place), 1.0] for place, _ in items]) * scale
    labels = [label for _, label in items]
    assume(1 < len(set(labels)) < len(labels))
    ks = range(1, len(items))
    assert_same(measured(x, labels, ks), in_random_order(x, labels, ks))


def test_collapsed_embeddings_score_like_chance():
    labels = torch.arange(20).repeat_interleave(5)
    for x in (torch.zeros(100, 8), torch.full((100, 8), 0.1), torch.full((100, 8), 1e-30)):
        found = measured(x, labels, (1, 2, 96))
        assert found[1] == pytest.approx(4 / 99)
        assert found[2] == pytest.approx(1 - 95 / 99 * 94 / 98)
        assert found[96] == pytest.approx(1)
        assert found["r_precision"] == pytest.approx(4 / 99)
        assert found["map_at_r"] < 4 / 99


def test_duplicates_of_another_class_are_as_near_as_the_duplicate_sought():
    x, _ = classes([1] * 50, dim=32)
    x = x.repeat_interleave(3, 0)  # each point three times: twice in its class, once in the next
    labels = torch.arange(50).repeat_interleave(3)
    labels[2::3] = (labels[2::3] + 1) % 50
    expected = {1: (100 * 0.5 + 50 * 0) / 150, 2: 100 / 150}
    assert recall_at_k(x, labels, (1, 2)) == pytest.approx(expected)


@pytest.mark.parametrize("spread", [1e-3, 1e-5])
def test_structure_below_the_rounding_error_of_products(spread, monkeypatch):
    ranked_again = []
    original = evaluation._double_rows

    def spy(x, queries):
        ranked_again.append(len(queries))
        return original(x, queries)

    monkeypatch.setattr(evaluation, "_double_rows", spy)
    x, labels = classes([6] * 40, dim=8, noise=0.4)
    x = spread * x + torch.eye(8)[torch.arange(240) % 2]  # two tight clumps, far apart
    assert_same(measured(x, labels, KS), naive(x, labels, KS))
    assert max(ranked_again) > 0


def test_few_queries_are_ranked_again(monkeypatch):
    ranked_again = []
    original = evaluation._double_rows
    monkeypatch.setattr(
        evaluation, "_double_rows", lambda x, queries: ranked_again.append(len(queries)) or original(x, queries)
    )
    x, labels = classes([5] * 300, dim=64, noise=1.5)
    measured(x, labels, (1, 10, 100, 1000))
    assert sum(ranked_again) < 0.02 * len(x)


@pytest.mark.parametrize("shift", [100.0, 1e5])
def test_far_from_the_origin(shift):
    x, labels = classes([6] * 40)
    x = x + shift
    assert_same(measured(x, labels, KS), naive(x, labels, KS))


@pytest.mark.parametrize("scale", [1e-22, 1e18])
def test_very_small_and_very_large_embeddings(scale):
    x, labels = classes([6] * 40)
    assert_same(measured(x * scale, labels, KS), naive(x * scale, labels, KS))


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [(1e-25, torch.float32), (1e-42, torch.float32), (1e-170, torch.float64), (1e-300, torch.float64)],
)
def test_squares_that_vanish_change_nothing(scale, dtype):
    x = classes([6] * 40, dtype=torch.float64, noise=0.3)[0].mul(64).round()  # exact at any scale
    labels = classes([6] * 40)[1]
    small = x.to(dtype) * 2.0 ** round(math.log2(scale))
    assert_same(measured(small, labels, KS), measured(x, labels, KS))
    assert nmi(small, labels) == nmi(x, labels)
    assert torch.equal(top_k(small, 5)[1], top_k(x, 5)[1])
    assert top_k(small, 5)[0].min() > 0


def test_squares_that_overflow_are_named():
    x, labels = classes([6] * 40)
    for scale in (1e19, 1e30):
        with pytest.raises(ValueError, match=r"^embeddings: squared distances overflow torch.float32, .* up to"):
            evaluate(x * scale, labels)
    assert_same(measured(x.double() * 1e30, labels, KS), measured(x.double(), labels, KS))


def test_one_k_is_a_sequence_of_one():
    x, labels = classes([6] * 40)
    wanted = recall_at_k(x, labels, (3,))
    for ks in (3, np.int64(3), torch.tensor(3), np.array([3]), torch.tensor([3]), {3}, range(3, 4)):
        found = recall_at_k(x, labels, ks)
        assert found == wanted
        assert all(type(k) is int for k in found)


def test_input_of_any_kind():
    x, labels = classes([6] * 40)
    wanted = measured(x, labels, KS)
    assert_same(measured(x.numpy(), labels.tolist(), KS), wanted)
    assert_same(measured(x.clone().requires_grad_(), labels.numpy(), KS), wanted)
    half = x.half()
    assert_same(measured(half, labels, KS), naive(half, labels, KS))
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(measured(x, labels, KS), wanted)


@pytest.mark.parametrize("measure", [recall_at_k, map_at_r, r_precision, nmi, evaluate])
@pytest.mark.parametrize(
    ("x", "labels", "says"),
    [
        (torch.zeros(20, 2), [0] * 20, "one class"),
        (torch.zeros(20, 2), [0, 1] * 9, "labels must be 20 integers, one for each item, got 18"),
        (torch.zeros(20), [0, 1] * 10, "embeddings must be"),
        (torch.full((20, 2), math.nan), [0, 1] * 10, "finite"),
        (torch.zeros(20, 2), [0.5] * 20, "labels must be 20 integers, .* got float64"),
    ],
)
def test_measures_say_what_is_wrong(measure, x, labels, says):
    with pytest.raises(ValueError, match=says):
        measure(x, labels)


def test_recall_says_what_is_wrong():
    x = torch.arange(10.0)[:, None]
    for k in (0, 10, -1):
        with pytest.raises(ValueError, match=rf"ks must be between 1 and 9, got {k}"):
            recall_at_k(x, [0, 1] * 5, (1, k))
    for ks, found in (((), "none"), ([1.0], "1.0"), ("1,2", "'1,2'"), ((True,), "True"), (None, "None")):
        for measure in (recall_at_k, evaluate):
            with pytest.raises(ValueError, match=f"^ks must (be an integer|hold at least one integer), got {found}$"):
                measure(x, [0, 1] * 5, ks)
    for measure in (recall_at_k, map_at_r, r_precision):
        with pytest.raises(ValueError, match="class of its own"):
            measure(x, range(10))


# Neighbors


@pytest.mark.parametrize("k", [1, 4, 300, 1999])
def test_top_k_agrees_with_scikit_learn(k):
    x, _ = classes([2000], dim=8)
    queries = torch.randperm(2000, generator=torch.Generator().manual_seed(0))[:500]
    peer = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x.double())
    far, near = peer.kneighbors(x[queries].double())
    distances, indices = top_k(x, k, queries=queries)
    np.testing.assert_allclose(distances, far[:, 1:], rtol=1e-5)
    np.testing.assert_array_equal(indices, near[:, 1:])


def test_top_k_of_all_items():
    x, _ = classes([700], dim=8)
    distances, indices = top_k(x, 5)
    np.testing.assert_array_equal(indices, ranking(x)[1][:, :5])
    assert distances.dtype == x.dtype
    some = top_k(x, 5, queries=[3, 3, 0])
    assert torch.equal(some[0], distances[[3, 3, 0]])
    assert torch.equal(some[1], indices[[3, 3, 0]])
    assert top_k(x, 5, queries=[])[1].shape == (0, 5)


def test_top_k_of_duplicates():
    x = torch.tensor([[0.1, 5.0], [7.3, 1.0], [0.1, 5.0], [0.1, 5.0]]).repeat(1, 50)
    distances, indices = top_k(x, 2)
    assert indices.tolist() == [[2, 3], [0, 2], [0, 3], [0, 2]]
    assert distances[[0, 2, 3]].eq(0).all()


def test_top_k_says_what_is_wrong():
    x = torch.zeros(5, 2)
    for k in (0, 5):
        with pytest.raises(ValueError, match="k must be between 1 and 4"):
            top_k(x, k)
    for queries in ([5], [-1], [[1]], [0.5], [True], [True, 2], np.ones(5, bool), torch.ones(5, dtype=torch.uint8), 2):
        with pytest.raises(ValueError, match=r"queries must be (between 0 and 4|a one-dim)"):
            top_k(x, 2, queries=queries)


# NMI, and all measures together


def test_nmi_is_that_of_the_kmeans_clusters():
    x, labels = classes([20] * 15, noise=0.5)
    _, cluster, _ = kmeans(x, 15, iterations=100, restarts=3, seed=4)
    assert nmi(x, labels, restarts=3, seed=4) == pytest.approx(normalized_mutual_info_score(labels, cluster))
    assert nmi(x, labels) == nmi(x, labels)


def test_nmi_of_good_and_bad_embeddings():
    x, labels = classes([20] * 15, noise=1e-3)
    assert nmi(x, labels) == pytest.approx(1)
    assert nmi(torch.randn(2000, 4, generator=torch.Generator().manual_seed(0)), [0, 1] * 1000) < 0.01


def test_nmi_sees_clusters_of_any_scale():
    x, labels = classes([20] * 15, noise=1e-3)
    assert nmi(x * 1e-24, labels) == pytest.approx(1)
    assert recall_at_k(x * 1e-24, labels, (1,)) == {1: 1}


def test_nmi_takes_as_many_starts_as_are_affordable(monkeypatch):
    starts = []

    def spy(x, k, *, restarts, **options):
        starts.append(restarts)
        return None, torch.arange(len(x)) % k, 0.0

    monkeypatch.setattr(evaluation, "kmeans", spy)
    for count, kinds in ((60_502, 11_316), (5_924, 100), (100_000, 300)):
        nmi(torch.zeros(count, 1), torch.arange(count) % kinds)
    assert starts == [1, 10, 3]


def test_evaluate_is_all_measures():
    x, labels = classes([20] * 15, noise=0.5)
    found = evaluate(x, labels, (1, 5), seed=2)
    recall = recall_at_k(x, labels, (1, 5))
    assert found == {
        "recall@1": recall[1],
        "recall@5": recall[5],
        "map@r": map_at_r(x, labels),
        "r_precision": r_precision(x, labels),
        "nmi": nmi(x, labels, seed=2),
    }
    assert all(type(value) is float for value in found.values())


# Embedding


class Net(nn.Module):
    """A network that shows the mode it is in: dropout and batch norm."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)

    def forward(self, images):
        return self.drop(self.norm(images.float())).mean((2, 3))


def pictures(count=23, transform=None):
    data = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return ArrayDataset(data, [i % 2 for i in range(count)], ["a", "b"], transform=transform)


@pytest.mark.parametrize("batch_size", [4, 23, 500])
def test_embed_takes_all_images_in_order_in_evaluation_mode(batch_size):
    dataset, model = pictures(), Net()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.norm.eval()  # a frozen part of a network in training
    found = embed(model, dataset, batch_size=batch_size)
    assert (model.training, model.norm.training, model.drop.training) == (True, False, True)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert found.dtype == torch.float32
    assert not found.requires_grad
    model.eval()
    images = torch.from_numpy(dataset.data).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, model(images).detach())
    assert torch.equal(embed(model, Subset(dataset, [4, 2])), found[[4, 2]])
    assert torch.equal(embed(model, dataset, progress=True, device="cpu", batch_size=batch_size), found)


def test_embed_scales_images_and_uses_transforms():
    seen = []

    class Look(nn.Module):
        def forward(self, images):
            seen.append((images.shape[1:], images.dtype))
            return images.double().mean((2, 3))

    def to_tensor(image):
        return torch.ones(3, 4, 4)

    embed(Look(), pictures(), size=8)
    embed(Look(), pictures(transform=to_tensor), size=8)  # before any transform
    assert set(seen) == {((3, 8, 8), torch.uint8)}
    found = embed(Look(), pictures(transform=to_tensor), workers=2)
    assert seen[-1] == ((3, 4, 4), torch.float32)
    assert torch.equal(found, torch.ones(23, 3))
    images = torch.rand(7, 3, 2, 2)
    assert torch.allclose(embed(Look(), TensorDataset(images, torch.zeros(7))), images.mean((2, 3)))


def test_embed_restores_the_mode_after_an_error():
    class Broken(Net):
        def forward(self, images):
            raise RuntimeError("no")

    model = Broken()
    with pytest.raises(RuntimeError, match="no"):
        embed(model, pictures())
    assert model.training
    assert model.drop.training


def test_embed_says_that_there_is_nothing_to_embed():
    class Nothing(Dataset):
        def __len__(self):
            return 0

    with pytest.raises(ValueError, match="empty"):
        embed(Net(), Nothing())


@pytest.mark.parametrize("name", ["size", "crop", "batch_size", "workers"])
def test_embed_takes_whole_numbers(name):
    for value in (20.0, "20", -1, True):
        with pytest.raises(ValueError, match=rf"^{name} must be (an integer|at least [01]), got '?{value}'?$"):
            embed(Net(), pictures(), **{name: value})
