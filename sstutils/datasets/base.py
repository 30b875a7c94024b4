"""Data sets with torchvision's conventions: images held in memory, or in files that are read when asked for."""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets.vision import VisionDataset

from ..files import digest, files_digest
from .images import open_image


class LabelledImages(VisionDataset):
    """What both kinds share: targets, names of the classes, and how an item passes through its transforms."""

    def __init__(
        self,
        targets: Sequence[int],
        classes: Sequence[str],
        root: str | os.PathLike | None,
        transform: Callable | None,
        target_transform: Callable | None,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.targets: list[int] = np.asarray(targets, dtype=np.int64).tolist()
        self.classes: list[str] = [str(name) for name in classes]

    def open(self, index: int) -> Image.Image:
        """Open one image, before any transform."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple:
        """Open one item: (PIL image, target), both through their transforms."""
        image, target = self.open(index), self.targets[index]
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def extra_repr(self) -> str:
        """Describe the classes and the split; torchvision adds it to ``repr``."""
        return f"Number of classes: {len(self.classes)}\nSplit: {getattr(self, 'split', 'all')}"


class ArrayDataset(LabelledImages):
    """Labelled images held in memory.

    Parameters
    ----------
    data : uint8 array of shape (N, H, W, 3)
        RGB images.
    targets : sequence of N int
        Class of each image: numbers from 0, each class at least once.
    classes : sequence of str
        Name of each class.
    root : path, optional
        Where the files are; shown by ``repr`` only.
    transform, target_transform : callable, optional
        Applied to the PIL image and to the target.

    Attributes
    ----------
    data : uint8 array of shape (N, H, W, 3)
    targets : list of int
    classes : list of str
    fingerprint : str
        12 hexadecimal digits of the images and targets.

    Raises
    ------
    ValueError
        If shapes, dtype or targets do not fit together.
    """

    def __init__(
        self,
        data: np.ndarray,
        targets: Sequence[int],
        classes: Sequence[str],
        root: str | os.PathLike | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
    ) -> None:
        data, targets = np.asarray(data), np.asarray(targets, dtype=np.int64)
        if data.dtype != np.uint8 or data.ndim != 4 or data.shape[-1] != 3:
            raise ValueError(f"data must be uint8 of shape (N, H, W, 3), got {data.dtype} of shape {data.shape}")
        if targets.shape != (len(data),):
            raise ValueError(f"targets must be one number for each of the {len(data)} images, got {targets.shape}")
        if not np.array_equal(np.unique(targets), np.arange(len(classes))):
            raise ValueError(f"targets must use each class number from 0 to {len(classes) - 1} at least once")
        super().__init__(targets, classes, root, transform, target_transform)
        self.data = data

    def open(self, index: int) -> Image.Image:
        """Wrap one image as PIL's, before any transform."""
        return Image.fromarray(self.data[index])

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of the images and targets."""
        return digest(self.data, np.asarray(self.targets, dtype=np.int64))


class FileDataset(LabelledImages):
    """Labelled images in files, read when asked for, as upright RGB of their own size.

    Parameters
    ----------
    paths : sequence of str
        Of the images, relative to `root`.
    targets, classes, transform, target_transform
        As for :class:`ArrayDataset`.
    root : path
        The folder.

    Attributes
    ----------
    samples : list of (str, int)
        Path and target of each image.
    targets : list of int
    classes : list of str
    fingerprint : str
        12 hexadecimal digits of the images' names, sizes in bytes and targets.

    Raises
    ------
    OSError
        On access, if an image cannot be read.
    """

    def __init__(
        self,
        paths: Sequence[str],
        targets: Sequence[int],
        classes: Sequence[str],
        root: str | os.PathLike,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
    ) -> None:
        super().__init__(targets, classes, root, transform, target_transform)
        self.samples = [(str(Path(root, path)), target) for path, target in zip(paths, self.targets, strict=True)]

    def open(self, index: int) -> Image.Image:
        """Read one image, before any transform."""
        return open_image(self.samples[index][0])

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of the images' names, sizes in bytes and targets."""
        return files_digest(self.root, self.samples)
