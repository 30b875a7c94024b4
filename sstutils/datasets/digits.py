"""Handwritten digits, from scikit-learn: real, tiny, always there."""

import os
from collections.abc import Callable

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets.utils import verify_str_arg

from .base import ArrayDataset

SIDE = 32  # pixels


class Digits(ArrayDataset):
    """Handwritten digits of 43 people, white on black: 0-4 are ``train``, 5-9 ``test``.

    scikit-learn's 1,797 images of 8x8 pixels and 17 grey levels, enlarged to 32x32 RGB (bicubic).

    Parameters
    ----------
    root, download
        Not used: the images come with scikit-learn.
    split : {"train", "test"}
    transform, target_transform : callable, optional
        Applied to the PIL image and to the target.

    References
    ----------
    E. Alpaydin and C. Kaynak (1998). Optical Recognition of Handwritten Digits. UCI Machine Learning Repository.
    """

    licence = "CC BY 4.0"
    source = "scikit-learn (UCI: https://archive.ics.uci.edu/dataset/80)"

    def __init__(
        self,
        root: str | os.PathLike | None = None,
        split: str = "test",
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        first = 0 if verify_str_arg(split, "split", self.splits) == "train" else 5
        digits = load_digits()
        chosen = (digits.target >= first) & (digits.target < first + 5)
        grey = (digits.images[chosen] * (255 / 16)).round().astype(np.uint8)
        data = [np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in grey]
        super().__init__(
            np.repeat(np.stack(data)[..., None], 3, axis=-1),
            digits.target[chosen] - first,
            [str(first + i) for i in range(5)],
            transform=transform,
            target_transform=target_transform,
        )
        self.split = split

    @classmethod
    def find(cls, root: str | os.PathLike | None = None) -> list:
        """Return an empty list: there is no file of its own."""
        return []
