"""The door for what users pass: what is taken, what is refused, and in which words."""

import numpy as np
import pytest
import torch

from sstutils import checks
from sstutils.checks import class_labels, finite_matrix, full_precision, item_numbers, one_of, whole_number
from sstutils.clustering import kmeans
from sstutils.evaluation import evaluate, map_at_r, nmi, r_precision, recall_at_k, top_k
from sstutils.losses import contrastive_loss, nearest_positives, squared_distances, sst_loss, triplet_loss
from sstutils.sampling import LocalSampler


class Column:
    """A column of a table: one asks for a row by its name, and names may have gaps."""

    def __getitem__(self, name):
        return {10: 3, 11: 1, 17: 3}[name]

    def __len__(self):
        return 3

    def __array__(self, dtype=None, copy=None):
        return np.array([3, 1, 3])


TAKEN = {
    "list": [3, 1, 3],
    "tuple of numpy numbers": tuple(np.array([3, 1, 3], dtype=np.uint8)),
    "array": np.array([3, 1, 3], dtype=np.int16),
    "tensor": torch.tensor([3, 1, 3], dtype=torch.int32),
    "list of tensors": [torch.tensor(3), torch.tensor(1), torch.tensor(3)],
    "nullable column": np.array([3, 1, 3], dtype=object),
    "filtered column": Column(),
}
REFUSED = {
    "strings": (["cat", "dog"], "str 'cat'"),
    "None": ([0, None, 1], "NoneType 'None'"),
    "floats": ([0.0, 1.0], "float64 '0.0'"),
    "float tensor": (torch.zeros(2), "torch.float32"),
    "complex tensor": (torch.zeros(2, dtype=torch.complex64), "torch.complex64"),
    "sparse tensor": (torch.zeros(2).long().to_sparse(), r"torch.int64 \(torch.sparse_coo, cpu\)"),
    "tensor without data": (torch.zeros(2).long().to("meta"), r"torch.int64 \(torch.strided, meta\)"),
    "nested": ([[1], [2]], r"shape \(2, 1\)"),
    "ragged": ([[1], [2, 3]], "sequences of unequal lengths"),
    "number": (7, r"shape \(\)"),
}


@pytest.mark.parametrize("values", TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("check", [class_labels, lambda values: item_numbers(values, 4)])
def test_integers_of_any_kind_become_int64(check, values):
    found = check(values)
    assert found.dtype == torch.int64
    assert found.tolist() == [3, 1, 3]


@pytest.mark.parametrize(("values", "found"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_sequence_of_integers_is_named(values, found):
    with pytest.raises(ValueError, match=f"^targets must be integers, one for each item, got {found}$"):
        class_labels(values, name="targets")
    with pytest.raises(ValueError, match=f"^images must be a one-dimensional sequence of integers, got {found}$"):
        item_numbers(values, 4, name="images")


def test_number_of_labels():
    assert class_labels([], 0).tolist() == []
    assert class_labels(torch.tensor([]), 0).dtype == torch.int64
    for labels, count, says in ([], None, "integers, .* got 0"), ([0], 2, "2 integers, .* got 1"):
        with pytest.raises(ValueError, match=says):
            class_labels(labels, count)


def test_item_numbers_are_no_masks_and_in_range():
    assert item_numbers([], 0).tolist() == []
    for mask in ([True, False], np.array([True, False]), torch.tensor([True, False]), torch.ones(2, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"sequence of integers, got (torch.)?(bool|uint8)"):
            item_numbers(mask, 2)
    for wrong in (-1, 2):
        with pytest.raises(ValueError, match=f"indices must be between 0 and 1, got {wrong}$"):
            item_numbers([0, wrong, 1], 2)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([True, 2], "bool 'True'"),
        ([np.True_, 2], "bool 'True'"),
        (np.array([2**63], dtype=np.uint64), "9223372036854775808"),
        ([2**70], "1180591620717411303424"),
        (np.array([1], dtype="timedelta64[s]"), "timedelta64 '1 seconds'"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "datetime64 '2020-01-01'"),
        ({1, 2}, "set"),
        ("12", "str '12'"),
    ],
)
def test_item_numbers_are_not_guessed(values, found):
    with pytest.raises(ValueError, match=rf"^queries must be a one-dimensional sequence of integers.* got {found}"):
        item_numbers(values, 4, "queries")


def test_counts():
    for three in (3, np.int64(3), np.uint8(3), torch.tensor(3), np.array(3)):
        assert whole_number("k", three, 1, 3) == 3
        assert type(whole_number("k", three)) is int
    for value in (2.0, "2", True, np.True_, None, [3, 4], torch.tensor(True), torch.tensor(3.0), np.array([3, 4])):
        with pytest.raises(ValueError, match=r"^k must be an integer, got ") as error:
            whole_number("k", value)
        assert str(error.value).endswith(f" {value!r}")
    with pytest.raises(ValueError, match=r"^k must be at least 1, got 0$"):
        whole_number("k", 0)
    with pytest.raises(ValueError, match=r"^k must be between 1 and 3, got 4$"):
        whole_number("k", 4, 1, 3)
    with pytest.raises(ValueError, match=r"^init must be one of 'a', 'b', got 'c'$"):
        one_of("init", "c", ("a", "b"))


def test_numbers_and_switches():
    for half in (0.5, np.float32(0.5), torch.tensor(0.5), np.array(0.5)):
        assert checks.real_number("margin", half) == 0.5
    for value in ("0.5", None, True, float("nan"), float("inf"), 1j, torch.ones(2)):
        with pytest.raises(ValueError, match=r"^margin must be a finite number, got"):
            checks.real_number("margin", value)
    assert checks.true_or_false("flip", np.True_) is True
    assert checks.true_or_false("flip", torch.tensor(False)) is False
    for value in ("false", 0, 1, None):
        with pytest.raises(ValueError, match=r"^flip must be True or False, got"):
            checks.true_or_false("flip", value)


def read_only(x):
    x.setflags(write=False)
    return x


POINTS = np.random.default_rng(0).integers(-9, 9, (12, 3)).astype(np.float64)  # exact in every dtype below
KINDS = {
    "needs a gradient": torch.tensor(POINTS, dtype=torch.float32, requires_grad=True),
    "depends on a parameter": torch.nn.Parameter(torch.tensor(POINTS)) * 1,
    "bfloat16": torch.tensor(POINTS, dtype=torch.bfloat16),
    "float16": torch.tensor(POINTS, dtype=torch.float16),
    "float16 with a gradient": torch.tensor(POINTS, dtype=torch.float16, requires_grad=True),
    "int64": torch.tensor(POINTS, dtype=torch.int64),
    "transposed": torch.tensor(POINTS.T.copy()).T,
    "every second column": torch.tensor(POINTS).repeat_interleave(2, 1)[:, ::2],
    "expanded": torch.tensor(POINTS)[:, :, None].expand(-1, -1, 2)[..., 1],
    "sparse": torch.tensor(POINTS).to_sparse(),
    "made in inference mode": torch.inference_mode()(lambda: torch.tensor(POINTS) * 1)(),
    "array": POINTS.copy(),
    "read-only array": read_only(POINTS.copy()),
    "reversed array": POINTS[::-1].copy()[::-1],
    "Fortran order": np.asfortranarray(POINTS),
    "big-endian": POINTS.astype(">f4"),
    "half array": POINTS.astype(np.float16),
    "long double": POINTS.astype(np.longdouble),
    "uint16 array": (POINTS + 9).astype(np.uint16),
    "list of lists": POINTS.tolist(),
    "list of tensors": list(torch.tensor(POINTS)),
    "list of arrays": list(POINTS),
}
CLASSES = [0, 1, 2] * 4
TAKERS = {
    "evaluate": lambda x: evaluate(x, CLASSES, (1, 2)),
    "recall_at_k": lambda x: recall_at_k(x, CLASSES, (1, 2)),
    "map_at_r": lambda x: map_at_r(x, CLASSES),
    "r_precision": lambda x: r_precision(x, CLASSES),
    "nmi": lambda x: nmi(x, CLASSES),
    "top_k": lambda x: [part.tolist() for part in top_k(x, 3)],
    "kmeans": lambda x: kmeans(x, 3)[1].tolist(),
    "LocalSampler": lambda x: torch.cat(LocalSampler(CLASSES, 4).refresh(x).batches).tolist(),
    "squared_distances": lambda x: squared_distances(x).tolist(),
    "nearest_positives": lambda x: [i.tolist() for i in nearest_positives(squared_distances(x), CLASSES)],
    "sst_loss": lambda x: sst_loss(x, CLASSES).item(),
    "triplet_loss": lambda x: triplet_loss(x, CLASSES).item(),
    "contrastive_loss": lambda x: contrastive_loss(x, CLASSES).item(),
}


@pytest.mark.parametrize("taker", TAKERS.values(), ids=TAKERS)
def test_whatever_takes_embeddings_takes_them_of_any_kind(taker, recwarn):
    wanted = taker(torch.tensor(POINTS, dtype=torch.float32))
    for name, x in KINDS.items():
        found = taker(x)
        assert np.allclose(*(np.ravel(list(r.values()) if isinstance(r, dict) else r) for r in (found, wanted))), name
    assert not recwarn.list


@pytest.mark.parametrize("taker", TAKERS.values(), ids=TAKERS)
@pytest.mark.parametrize(
    ("x", "found"),
    [
        (["cat", "dog"], r"\['cat', 'dog'\]"),
        ([[1.0], [1.0, 2.0]], r"\[\[1.0\], \[1.0, 2.0\]\]"),
        ([torch.ones(1), torch.ones(2)], r"\[tensor"),
        (np.array([["a", "b"]]), r"array\("),
        (np.array([[1, None]]), r"array\("),
        (None, "None"),
        (7, r"torch.int64 of shape \(\)"),
        (torch.ones(3), r"torch.float32 of shape \(3,\)"),
        (torch.ones(2, 2, dtype=torch.complex64), "torch.complex64"),
    ],
)
def test_what_is_no_matrix_is_named_on_one_line(taker, x, found):
    wanted = rf"^(embeddings|x) must be a matrix of real numbers of shape \(N, D\), got {found}"
    with pytest.raises(ValueError, match=wanted) as error:
        taker(x)
    assert "\n" not in str(error.value)


def test_finite_matrix():
    for x in (torch.ones(2, 3, requires_grad=True), np.ones((2, 3)), [[1, 1, 1], [1, 1, 1]], torch.ones(2, 3).half()):
        found = finite_matrix(x)
        assert found.dtype == (torch.float64 if isinstance(x, np.ndarray) else torch.float32)
        assert not found.requires_grad
        assert found.tolist() == [[1, 1, 1]] * 2
    for x, says in (
        (torch.zeros(5), r"x must be .* got torch.float32 of shape \(5,\)"),
        (torch.zeros(0, 2), "x must have at least one row"),
        (torch.tensor([[0.0], [torch.nan]]), "x: 1 of 2 rows are not finite .* the first is row 1"),
        (torch.tensor([[0.0], [1e30]]), r"x: squared distances overflow torch.float32, as numbers go up to 1e\+30"),
    ):
        with pytest.raises(ValueError, match=says):
            finite_matrix(x, "x")


def test_full_precision_gives_back_what_was_set():
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        with torch.autocast("cpu", torch.bfloat16):
            with pytest.raises(KeyError), full_precision():
                assert matmul.fp32_precision == "ieee"
                assert not torch.is_autocast_enabled("cpu")
                raise KeyError
            assert torch.is_autocast_enabled("cpu")
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


def test_tensors_without_numbers_and_masked_labels_are_refused():
    with pytest.raises(ValueError, match="embeddings must be a matrix of real numbers"):
        finite_matrix(torch.empty(4, 2, device="meta"))
    with pytest.raises(ValueError, match=r"labels must be 3 integers.*masked"):
        class_labels(np.ma.masked_array([0, 0, 1], [False, False, True]), 3)
