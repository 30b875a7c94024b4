"""The data of the playground: rings and spirals, small grey pictures of digits and of letters."""

from __future__ import annotations

import zlib
from functools import cache
from os import PathLike
from typing import Any

import numpy as np

from ...datasets import glyphs
from .. import recording

#: Letters to train on, with near twins among them (A and À, n and ñ), and letters that are never trained on.
LETTERS = {"train": "ABDEGHKLMNQRSTUXYZabdegkmnptyÀÇØåçèñśşţū", "unseen": "CJOPVWfjruÑÒÙæΔΞΣΨЖЫ"}
DIGITS = {"train": "0123456", "unseen": "789"}
IMAGES = {"letters": 20, "digits": 90}  # of each class
SIDE = {"letters": 16, "digits": 8}


def grey_letters(letters: str, images: int, seed: int = 0) -> np.ndarray:
    """Draw letters small and grey: ink 15, paper 0; (letters * images, 16, 16) uint8."""
    pictures = np.concatenate([glyphs.draw(letter, images, 0.5, seed) for letter in letters]).astype(np.float32)
    light = (pictures @ np.array([0.299, 0.587, 0.114], np.float32)).reshape(-1, 16, 2, 16, 2).mean(axis=(2, 4))
    paper, ink = np.median(light, axis=(1, 2), keepdims=True), light.min(axis=(1, 2), keepdims=True)
    # What differs from paper by less than a tenth is noise: exactly 0 is quick to compute with, and small to store.
    shade = (paper - light) / np.maximum(paper - ink, 1)
    return np.rint(15 * np.clip(shade / 0.9 - 0.1, 0, 1)).astype(np.uint8)


def grey_digits(digits: str, images: int) -> np.ndarray:
    """Take the first images of some digits from scikit-learn's; (digits * images, 8, 8) uint8, at most 15."""
    from sklearn.datasets import load_digits

    data = load_digits()
    chosen = [np.flatnonzero(data.target == int(digit))[:images] for digit in digits]
    return np.minimum(data.images[np.concatenate(chosen)], 15).astype(np.uint8)


def pack(pictures: np.ndarray) -> bytes:
    """Pack pictures of 16 shades, two pixels a byte, the first in the upper half, deflated."""
    flat = pictures.reshape(-1, 2)
    return zlib.compress((flat[:, 0] << 4 | flat[:, 1]).tobytes(), 9)


def unpack(packed: bytes, side: int) -> np.ndarray:
    """Undo :func:`pack`: (N, side, side) uint8."""
    both = np.frombuffer(zlib.decompress(packed), np.uint8)
    return np.stack([both >> 4, both & 15], axis=1).reshape(-1, side, side)


def make(path: str | PathLike = recording.FOLDER / "playground.npz") -> None:
    """Draw the pictures, those to train on first, and record them."""
    arrays = {
        "letters": grey_letters(LETTERS["train"] + LETTERS["unseen"], IMAGES["letters"]),
        "digits": grey_digits(DIGITS["train"] + DIGITS["unseen"], IMAGES["digits"]),
    }
    packed = {name: np.frombuffer(pack(array), np.uint8) for name, array in arrays.items()}
    recording.save(path, "playground", packed, {"side": SIDE, "images": IMAGES})


@cache
def packed() -> dict[str, bytes]:
    """Return the packed pictures by the name of their data set."""
    content = recording.load(recording.FOLDER / "playground.npz", "playground")
    return {name: content[name].tobytes() for name in SIDE}


def about(name: str) -> dict[str, Any]:
    """Return what the page must know of packed pictures: their side, how many of a class, and the classes."""
    return {"side": SIDE[name], "images": IMAGES[name], **(LETTERS if name == "letters" else DIGITS)}


def training_set(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs to train on, (N, d) float32, and their labels."""
    if name == "rings":
        return rings()
    count = len(about(name)["train"])
    images = unpack(packed()[name], SIDE[name])[: count * IMAGES[name]]
    return images.reshape(len(images), -1).astype(np.float32) / 15, np.repeat(np.arange(count), IMAGES[name])


def rings(each: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw three rings and three arms of a spiral in the plane, as ``rings`` in ``engine.js``, with other accidents."""
    rng = np.random.default_rng(seed)
    labels, t = np.repeat(np.arange(6), each), rng.uniform(size=6 * each)
    spiral = labels >= 3
    angle = np.where(spiral, 2 * np.pi * (labels - 3) / 3 + 3.6 * t, 2 * np.pi * t)
    radius = np.where(spiral, 0.15 + 0.9 * t, 0.3 + 0.35 * labels)
    x = np.stack([np.where(spiral, 1.2, -1.2) + radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return (x + 0.035 * rng.normal(size=x.shape)).astype(np.float32), labels
