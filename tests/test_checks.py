"""The door for what users pass: what is taken, what is refused, and in which words."""

import numpy as np
import pytest
import torch

from sstutils.checks import class_labels, finite_matrix, full_precision, item_numbers, one_of, whole_number


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


def test_counts():
    assert whole_number("k", np.int64(3), 1, 3) == 3
    for value, says in ((2.0, "an integer, got 2.0"), ("2", "an integer, got '2'"), (0, "at least 1, got 0")):
        with pytest.raises(ValueError, match=f"^k must be {says}$"):
            whole_number("k", value)
    with pytest.raises(ValueError, match=r"^k must be between 1 and 3, got 4$"):
        whole_number("k", 4, 1, 3)
    with pytest.raises(ValueError, match=r"^init must be one of 'a', 'b', got 'c'$"):
        one_of("init", "c", ("a", "b"))


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
