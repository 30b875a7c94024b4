"""Recordings: what is kept of a run so that it can be watched again anywhere, without training.

``record`` yields frames while a network trains; ``save`` and ``load`` keep any recording as one small ``.npz``.
``python -m sstutils.recording`` (``make recordings``) makes all that the notebooks show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["load", "pack", "save", "unpack"]

FORMAT = 1  # of recordings


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------
def pack(values: Any) -> tuple[np.ndarray, float]:
    """Return `values` as int16 and the scale to multiply them with; the error is below half a scale.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a recording keeps finite numbers only, found NaN or infinity")
    scale = float(np.abs(values).max(initial=0)) / 32767 or 1.0
    return np.rint(values / scale).astype("<i2"), scale


def unpack(values: np.ndarray, scale: float) -> np.ndarray:
    """Return the float32 values of :func:`pack`."""
    return np.asarray(values, dtype=np.float32) * np.float32(scale)


def save(path: str | PathLike, kind: str, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write a recording: all of it, or nothing.

    Parameters
    ----------
    path : path
        An ``.npz`` file.
    kind : str
        What :func:`load` is to ask for, such as "replay".
    arrays : mapping of str to array
    about : mapping
        Everything else, as JSON can hold it: names, scales, recipes.
    """
    from .datasets.base import aside

    head = json.dumps({"sstutils": FORMAT, "kind": kind, **about}, ensure_ascii=False, allow_nan=False)
    with aside(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, about=np.array(head), **arrays)


def load(path: str | PathLike, kind: str) -> dict[str, Any]:
    """Read a recording; nothing in it is executed.

    Parameters
    ----------
    path : path
    kind : str
        As it was saved.

    Returns
    -------
    dict
        The arrays by name, and ``about`` (dict).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a whole recording of this kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no recording at {path}: `make recordings` makes it")
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}  # reading to the end checks each array's CRC
        about = json.loads(str(arrays.pop("about")))
        if about["sstutils"] != FORMAT:
            raise ValueError("another format")
    except Exception as error:  # numpy, zipfile, zlib and json raise some ten kinds on damaged files
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise ValueError(
            f"{path} is not a whole recording of sstutils ({reason}): `make recordings` makes it"
        ) from None
    if about["kind"] != kind:
        raise ValueError(f"{path} is a recording of {about['kind']!r}, not of {kind!r}: choose another file")
    return {**arrays, "about": about}


# ---------------------------------------------------------------------------------------------------------------------
# All recordings of the notebooks
# ---------------------------------------------------------------------------------------------------------------------
# File and its maker, a function of the path to write. The makers of widgets stand beside them.
MAKERS = {
    "glyphs.pt": ".recording:make_glyphs",
    "replay.npz": ".recording:make_replay",
    "stages.npz": ".widgets.neighborhoods:make_recording",
    "tsne.npz": ".widgets.tsne:make_recording",
}
