"""Handwritten digits, from scikit-learn: real, tiny, always there."""

import os

import numpy as np
from PIL import Image

from .source import Source

SIDE = 32  # pixels


class Digits(Source):
    """Handwritten digits of 43 people, white on black, 32x32: 0-4 are ``train``, 5-9 ``test``.

    See :class:`sstutils.datasets.source.Source` for parameters; the images come with scikit-learn.

    References
    ----------
    E. Alpaydin and C. Kaynak (1998). Optical Recognition of Handwritten Digits. UCI Machine Learning Repository.
    """

    licence = "CC BY 4.0"
    source = "scikit-learn (UCI: https://archive.ics.uci.edu/dataset/80)"
    counts = {"train": (5, 901), "test": (5, 896)}  # noqa: RUF012

    @classmethod
    def read(cls, root: str | os.PathLike | None, split: str, download: bool) -> tuple:
        """Enlarge scikit-learn's images from 8x8 pixels and 17 grey levels to 32x32 RGB (bicubic)."""
        from sklearn.datasets import load_digits

        digits, first = load_digits(), 0 if split == "train" else 5
        chosen = (digits.target >= first) & (digits.target < first + 5)
        grey = (digits.images[chosen] * (255 / 16)).round().astype(np.uint8)
        data = [np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in grey]
        classes = [str(first + i) for i in range(5)]
        return np.repeat(np.stack(data)[..., None], 3, axis=-1), digits.target[chosen] - first, classes, None
