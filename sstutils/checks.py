"""The one door for what users pass: embeddings, labels, item numbers, counts and switches, checked and converted.

One mistake gets one message wherever it enters: a ValueError of one line that names the argument.
"""

import math
import operator
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

Labels = Sequence[int] | Tensor  # what users may pass; arrays and columns of pandas, too


def whole_number(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Check a count, an integer from `least` to `most` (None: without end); numpy's and torch's are converted."""
    try:
        number = operator.index(None if _is_bool(value) else value)
    except (TypeError, ValueError):  # torch's has several errors of its own
        raise ValueError(f"{name} must be an integer, got {_show(value)}") from None
    if most is not None and not least <= number <= most:
        raise ValueError(f"{name} must be between {least} and {most}, got {_show(number)}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {_show(number)}")
    return number


def whole_numbers(name: str, values: Any, least: int = 1, most: int | None = None) -> list[int]:
    """Check a sequence of counts, at least one; a single number is a sequence of one."""
    one = isinstance(values, str) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0
    values = [values] if one else list(values)
    if not values:
        raise ValueError(f"{name} must hold at least one integer, got none")
    return [whole_number(name, value, least, most) for value in values]


def seed_number(seed: Any) -> int:
    """Check a seed: what torch's generators take, among them the nanoseconds of a clock."""
    return whole_number("seed", seed, 0, 2**64 - 1)


def real_number(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """Check a finite number from `least` to `most`; numpy's and torch's are converted."""
    value = value.item() if isinstance(value, (Tensor, np.ndarray)) and value.ndim == 0 else value
    try:
        number = float(value) if isinstance(value, Real) and not _is_bool(value) else math.nan
    except OverflowError:  # of an integer
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number, got {_show(value)}")
    if not least <= number <= most:
        raise ValueError(f"{name} must be between {least:g} and {most:g}, got {number:g}")
    return number


def true_or_false(name: str, value: Any) -> bool:
    """Check a switch: words such as "false" are refused, as they would count as true."""
    if not _is_bool(value):
        raise ValueError(f"{name} must be True or False, got {_show(value)}")
    return bool(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_)) or getattr(value, "dtype", None) in (torch.bool, bool)


def _show(value: Any) -> str:
    """Show a wrong value on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]}..."


def one_of(name: str, value: Any, choices: Sequence[str]) -> str:
    """Check that an option is one of its choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def class_labels(labels: Any, count: int | None = None, name: str = "labels") -> Tensor:
    """Convert class labels, integers in a sequence, array, pandas column or tensor, to an int64 tensor of shape (N,).

    There must be `count` of them, by default any number from 1. A tensor stays on its device.
    """
    wanted = f"{name} must be {'' if count is None else f'{count} '}integers, one for each item"
    labels = _integers(labels, wanted)
    if len(labels) != (count if count is not None else len(labels) or 1):
        raise ValueError(f"{wanted}, got {len(labels)}")
    return labels


def item_numbers(indices: Any, count: int, name: str = "indices") -> Tensor:
    """Convert numbers of items, each from 0 to ``count - 1``, to an int64 tensor of shape (Q,).

    Refused are masks, floats, negative numbers, and numbers of no item: they would answer for other items than meant.
    """
    indices = _integers(indices, f"{name} must be a one-dimensional sequence of integers", masks=False)
    if len(indices):
        low, high = (int(end) for end in indices.aminmax())
        if low < 0 or high >= count:
            raise ValueError(f"{name} must be between 0 and {count - 1}, got {low if low < 0 else high}")
    return indices


def index_tuple(indices_tuple: Any, like: Tensor) -> tuple[Tensor, ...]:
    """Convert the `indices_tuple` of a loss to two, three or four int64 tensors that index the rows of `like`."""
    if not isinstance(indices_tuple, (tuple, list)) or len(indices_tuple) not in (2, 3, 4):
        found = len(indices_tuple) if isinstance(indices_tuple, (tuple, list)) else type(indices_tuple).__name__
        raise ValueError(f"indices_tuple must hold (a, p), (a, p, n) or (a1, p, a2, n), got {found}")
    wanted = "indices_tuple must hold one-dimensional tensors of integers"
    indices = tuple(_integers(part, wanted, masks=False).to(like.device) for part in indices_tuple)
    lengths = [len(part) for part in indices]
    if any(len(set(part)) > 1 for part in ((lengths[:2], lengths[2:]) if len(indices) == 4 else (lengths,))):
        raise ValueError(f"indices_tuple must hold tensors of equal lengths, got {lengths}")
    item_numbers(torch.cat(indices), len(like), "indices_tuple")  # all at once: each look at a GPU makes it wait
    return indices


def _integers(values: Any, wanted: str, masks: bool = True) -> Tensor:
    """Convert to an int64 tensor of one dimension, or raise an error that begins with what is wanted."""
    if not isinstance(values, Tensor):
        try:
            array = np.asarray(values.astype(object).filled("masked") if np.ma.isMaskedArray(values) else values)
        except ValueError:
            raise ValueError(f"{wanted}, got sequences of unequal lengths") from None
        kind = array.dtype.kind
        # An array of objects may still hold integers: a nullable column of pandas, a list of tensors.
        odd = [] if kind in "iub" else [value for value in array.flat if kind != "O" or not isinstance(value, Integral)]
        if not masks and kind != "b" and isinstance(values, (list, tuple)):  # True among integers became 1
            odd += [value for value in values if _is_bool(value)]
        if odd:
            raise ValueError(f"{wanted}, got {type(odd[0]).__name__.strip('_')} {str(odd[0])[:40]!r}")
        if kind in "uO" and array.size and not -(2**63) <= array.min() <= array.max() < 2**63:
            raise ValueError(f"{wanted} of 64 bits, got {array.max()}")
        values = torch.from_numpy(array if kind == "b" else array.astype(np.int64))
    elif not values.numel():  # empty tensors are float by default
        values = values.long()
    if not masks and values.dtype in (torch.bool, torch.uint8):
        raise ValueError(f"{wanted}, got {values.dtype}; of a mask, pass the positions at which it is True")
    odd = f" ({values.layout}, {values.device})" * (values.layout != torch.strided or values.is_meta)
    if values.is_floating_point() or values.is_complex() or odd:
        raise ValueError(f"{wanted}, got {values.dtype}{odd}")
    if values.ndim != 1:
        raise ValueError(f"{wanted}, got shape {tuple(values.shape)}")
    return values.detach().long()


def float_matrix(x: Any, name: str = "embeddings") -> Tensor:
    """Convert real numbers to a floating-point tensor of shape (N, D); a tensor keeps its device and its gradient.

    Taken are tensors and arrays of any layout, read-only ones too (nothing here writes to them), and lists of rows.
    """
    wanted = f"{name} must be a matrix of real numbers of shape (N, D)"
    try:
        if isinstance(x, (list, tuple)):
            of_rows = bool(x) and isinstance(x[0], (Tensor, np.ndarray))
            x = torch.stack([torch.as_tensor(row) for row in x]) if of_rows else torch.as_tensor(x)
        elif not isinstance(x, Tensor):
            array = np.asarray(x)
            kind = "<f8" if array.dtype.kind == "f" and array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The given NumPy array is not writable")
                x = torch.from_numpy(np.asarray(array, dtype=kind, order="C"))
    except (TypeError, ValueError, RuntimeError):  # strings, None, rows of unequal lengths
        raise ValueError(f"{wanted}, got {_show(x)}") from None
    if x.is_quantized or x.is_nested or x.is_meta:
        raise ValueError(f"{wanted}, got a quantized or nested tensor, or one without data")
    x = x if x.layout == torch.strided else x.to_dense()
    if x.ndim != 2 or x.is_complex():
        raise ValueError(f"{wanted}, got {x.dtype} of shape {tuple(x.shape)}")
    return x if x.is_floating_point() else x.float()


def real_array(x: Any, name: str) -> np.ndarray:
    """Convert real numbers of any shape to a float64 array; squares of what it holds are finite."""
    try:
        array = np.asarray(x.detach().double().cpu() if isinstance(x, Tensor) else x, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be real numbers, got {_show(x)}") from None
    if not (np.abs(array) < 1e150).all():
        raise ValueError(f"{name} must be finite numbers below 1e150, got {np.abs(array).max():.3g}")
    return array


def finite_matrix(x: Any, name: str = "embeddings") -> Tensor:
    """Convert points as `float_matrix` does, to float32 or float64 without gradient; squared norms must be finite."""
    x = float_matrix(x, name).detach()
    if x.device.type == "mps":  # has no float64
        x = x.cpu()
    x = x if x.dtype == torch.float64 else x.float()
    if 0 in x.shape:
        raise ValueError(f"{name} must have at least one row and one column, got shape {tuple(x.shape)}")
    if not torch.linalg.vector_norm(x, dim=1).square().isfinite().all():  # without a temporary of the size of x
        raise_not_finite(x, name)
    return x


def raise_not_finite(x: Tensor, name: str = "embeddings") -> NoReturn:
    """Say why the squared distances of the rows are not finite."""
    bad = (~x.isfinite().all(1)).nonzero()[:, 0]
    if len(bad):
        raise ValueError(
            f"{name}: {len(bad)} of {len(x)} rows are not finite (NaN or inf), the first is row {int(bad[0])}; "
            "is the learning rate too high?"
        )
    dtype = torch.promote_types(x.dtype, torch.float32)
    most = float(x.abs().max())
    raise ValueError(f"{name}: squared distances overflow {dtype}, as numbers go up to {most:.3g}; scale them down")


@contextmanager
def full_precision() -> Iterator[None]:
    """Multiply float32 matrices as float32, whatever a training script has chosen (autocast, TF32).

    Distances are small differences of large products: rounded to half precision, they are noise.
    """
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        kind = torch.accelerator.current_accelerator() or torch.device("cpu")
        with torch.autocast("cpu", enabled=False), torch.autocast(kind.type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
