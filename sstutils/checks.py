"""The one door for what users pass: embeddings, labels, item numbers and counts, checked and converted.

Losses, samplers, k-means, evaluation and data sets all check here, so that one mistake gets one message, wherever it
enters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor


def whole_number(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Check a count: an integer of at least `least` and, if given, at most `most`."""
    if not isinstance(value, Integral):
        raise ValueError(f"{name} must be an integer, got {value!r}")
    if most is not None and not least <= value <= most:
        raise ValueError(f"{name} must be between {least} and {most}, got {value}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def one_of(name: str, value: Any, choices: Sequence[str]) -> str:
    """Check that an option is one of its choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def class_labels(labels: Any, count: int | None = None, name: str = "labels") -> Tensor:
    """Convert class labels to an int64 tensor of shape (N,).

    Parameters
    ----------
    labels : sequence, array, pandas column or tensor of N integers
        A tensor stays on its device.
    count : int, optional
        The N that they must have; by default any from 1.
    name : str
        What the message calls them, such as the "targets" of a data set.

    Raises
    ------
    ValueError
        If they are not one-dimensional, not integers (but strings, floats, None), none at all, or not `count`.
    """
    wanted = f"{name} must be {'' if count is None else f'{count} '}integers, one for each item"
    labels = _integers(labels, wanted)
    if len(labels) != (count if count is not None else len(labels) or 1):
        raise ValueError(f"{wanted}, got {len(labels)}")
    return labels


def item_numbers(indices: Any, count: int, name: str = "indices") -> Tensor:
    """Convert numbers of items, each from 0 to ``count - 1``, to an int64 tensor of shape (Q,); masks are refused."""
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
            array = np.asarray(values)
        except ValueError:
            raise ValueError(f"{wanted}, got sequences of unequal lengths") from None
        # An array of objects may still hold integers: a nullable column of pandas, a list of tensors.
        odd = [] if array.dtype.kind in "iub" else [value for value in array.flat if not isinstance(value, Integral)]
        if odd:
            raise ValueError(f"{wanted}, got {type(odd[0]).__name__.strip('_')} {str(odd[0])[:40]!r}")
        values = torch.from_numpy(array if array.dtype == bool else array.astype(np.int64))
    elif not values.numel():  # empty tensors are float by default
        values = values.long()
    if values.is_floating_point() or values.is_complex() or (not masks and values.dtype in (torch.bool, torch.uint8)):
        raise ValueError(f"{wanted}, got {values.dtype}")
    if values.ndim != 1:
        raise ValueError(f"{wanted}, got shape {tuple(values.shape)}")
    return values.detach().long()


def float_matrix(x: Any, name: str = "embeddings") -> Tensor:
    """Check that `x` is a floating-point tensor of shape (N, D); it keeps its gradient."""
    if not isinstance(x, Tensor) or x.ndim != 2 or not x.is_floating_point():
        found = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"{name} must be a floating-point tensor of shape (N, D), got {found}")
    return x


def finite_matrix(x: Any, name: str = "embeddings") -> Tensor:
    """Convert points to a finite tensor of float32 or float64 and shape (N, D), without gradient, on its device.

    Raises
    ------
    ValueError
        If it has another shape, no row, no column, or a row whose squared norm is not finite.
    """
    x = torch.as_tensor(x).detach()
    if x.device.type == "mps":  # has no float64
        x = x.cpu()
    x = float_matrix(x if x.dtype == torch.float64 else x.float(), name)
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
    raise ValueError(f"{name}: squared distances overflow {dtype}, as numbers go up to {float(x.abs().max()):.3g}")


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
