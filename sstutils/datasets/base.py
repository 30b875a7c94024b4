"""Data sets with torchvision's conventions: images held in memory, or in files that are read when asked for."""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision.datasets.vision import VisionDataset

from ..checks import class_labels
from ..files import digest, files_digest
from .images import open_image


class LabelledImages(VisionDataset):
    """What both kinds share: attributes ``targets``, ``classes`` and ``fingerprint``; :meth:`open` makes a PIL image.

    Parameters
    ----------
    images : sequence
        As many as `targets`.
    targets : sequence of N int
        Class of each image; ValueError if they are not one integer each.
    classes : sequence of str
        Name of each class.
    root : path, optional
        Where the files are.
    transform, target_transform : callable, optional
        Applied to the PIL image and to the target.
    """

    def __init__(
        self,
        images: Sequence,
        targets: Sequence[int],
        classes: Sequence[str],
        root: str | os.PathLike | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.targets: list[int] = class_labels(targets, len(images), "targets").tolist()
        self.classes: list[str] = [str(name) for name in classes]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Open one item: (PIL image, target), both through their transforms."""
        image, target = self.open(index), self.targets[index]
        image = image if self.transform is None else self.transform(image)
        return image, target if self.target_transform is None else self.target_transform(target)

    def extra_repr(self) -> str:
        """Describe the classes and the split; torchvision adds it to ``repr``."""
        return f"Number of classes: {len(self.classes)}\nSplit: {getattr(self, 'split', 'all')}"


class ArrayDataset(LabelledImages):
    """Labelled images held in memory: ``data``, a uint8 array of shape (N, H, W, 3), is the first parameter.

    The other parameters and attributes are those of :class:`LabelledImages`. The targets are numbers from 0, each class
    at least once. ValueError if shapes, dtype or targets do not fit together.
    """

    def __init__(self, data: np.ndarray, targets: Sequence[int], classes: Sequence[str], *args: Any, **options: Any):
        self.data = data = np.asarray(data)
        if data.dtype != np.uint8 or data.ndim != 4 or data.shape[-1] != 3:
            raise ValueError(f"data must be uint8 of shape (N, H, W, 3), got {data.dtype} of shape {data.shape}")
        super().__init__(data, targets, classes, *args, **options)
        if not np.array_equal(np.unique(self.targets), np.arange(len(classes))):
            raise ValueError(f"targets must use each class number from 0 to {len(classes) - 1} at least once")

    def open(self, index: int) -> Image.Image:
        """Wrap one image as PIL's, before any transform."""
        return Image.fromarray(self.data[index])

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of the images and targets."""
        return digest(self.data, np.asarray(self.targets, dtype=np.int64))


class FileDataset(LabelledImages):
    """Labelled images in files, read when asked for, as upright RGB of their own size.

    The first parameter, `paths`, gives them relative to `root`; the others are those of :class:`LabelledImages`.

    ``samples`` lists the path and the target of each. On access, OSError if an image cannot be read.
    """

    def __init__(self, paths: Sequence[str], targets: Sequence[int], classes: Sequence[str], root: str, **options: Any):
        super().__init__(paths, targets, classes, root, **options)
        self.samples = [(str(Path(root, path)), target) for path, target in zip(paths, self.targets, strict=True)]

    def open(self, index: int) -> Image.Image:
        """Read one image, before any transform."""
        return open_image(self.samples[index][0])

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of the images' names, sizes in bytes and targets; of one's own, of contents, too."""
        return files_digest(self.root, self.samples, contents=not getattr(self, "counts", None))
