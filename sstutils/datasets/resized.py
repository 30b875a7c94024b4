"""Photographs made small once: packed as JPEG into one file, so that later epochs read fast."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets.vision import VisionDataset
from tqdm.auto import tqdm

from .base import aside, resolve, transformed, with_transform


def resized(
    dataset: VisionDataset,
    root: str | os.PathLike | None = None,
    *,
    side: int = 256,
    quality: int = 95,
    workers: int = 0,
    progress: bool = True,
) -> Resized:
    """Return a data set with its images scaled so that the shorter side is `side`; made once, then read from one file.

    The file is named after the data set's fingerprint: when a source image or label changes, another one is made.

    Parameters
    ----------
    dataset : VisionDataset
        With ``targets``, ``classes`` and ``fingerprint``. Its transforms are kept.
    root : path, optional
        Folder of the file; :func:`sstutils.datasets.root` by default.
    side : int
        Of the shorter side, in pixels. Smaller images stay as they are.
    quality : int
        Of the JPEG compression.
    workers : int
        Processes that read, scale and compress.
    progress : bool
        Show a bar while the file is made.

    Returns
    -------
    Resized

    Raises
    ------
    OSError
        If an image cannot be read, or the file not be written; no half of it is left.
    """
    name = (
        f"{type(dataset).__name__.lower()}-{getattr(dataset, 'split', 'all')}-{side}-q{quality}-{dataset.fingerprint}"
    )
    path = resolve(root) / f"{name}.jpegs"
    index = path.with_suffix(".npz")
    if not (path.exists() and index.exists()):
        plain = with_transform(dataset, _Encode(side, quality))
        encoded = DataLoader(plain, batch_size=None, num_workers=workers)
        sizes, checks = [], []
        with aside(path) as temporary, open(temporary, "wb") as file:
            bar = tqdm(encoded, desc=f"scale to {side}", unit="image", disable=not progress)
            for content, _ in bar:
                file.write(content)
                sizes.append(len(content))
                checks.append(zlib.crc32(content))
        with aside(index) as temporary, open(temporary, "wb") as file:
            starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
            np.savez(file, starts=starts, checks=np.array(checks, dtype=np.uint32))
    return Resized(path, dataset)


class _Encode:
    """Scale a picture and compress it: PIL image to the bytes of a JPEG file."""

    def __init__(self, side: int, quality: int) -> None:
        self.side, self.quality = side, quality

    def __call__(self, image: Image.Image) -> bytes:
        factor = self.side / min(image.size)
        if factor < 1:
            image = image.resize([max(1, round(length * factor)) for length in image.size], Image.Resampling.BILINEAR)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=self.quality, subsampling=0)
        return file.getvalue()


class Resized(VisionDataset):
    """Images from the file of :func:`resized`; everything else is that of the data set it was made from.

    Raises
    ------
    OSError
        If the file is damaged: on opening if it was cut, on access if bytes changed.
    """

    def __init__(self, path: str | os.PathLike, dataset: VisionDataset) -> None:
        super().__init__(str(Path(path).parent), transform=dataset.transform, target_transform=dataset.target_transform)
        self.path = Path(path)
        self.targets, self.classes, self.fingerprint = dataset.targets, dataset.classes, dataset.fingerprint
        try:
            with np.load(self.path.with_suffix(".npz"), allow_pickle=False) as index:
                self.starts, self.checks = index["starts"], index["checks"]
            whole = len(self.starts) == len(self.targets) + 1 and self.path.stat().st_size == self.starts[-1]
        except Exception:  # numpy, zipfile and zlib raise some ten kinds
            whole = False
        if not whole:
            raise self._damaged()
        self._bytes: np.ndarray | None = None

    def _damaged(self) -> OSError:
        return OSError(f"{self.path} is damaged: delete it, and it is made anew")

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple:
        """Return (PIL image, target) of one item, both through their transforms."""
        if self._bytes is None:  # opened where it is read: each worker process maps it for itself
            self._bytes = np.memmap(self.path, np.uint8, "r")
        content = self._bytes[self.starts[index] : self.starts[index + 1]].tobytes()
        if zlib.crc32(content) != self.checks[index]:
            raise self._damaged()
        image, target = Image.open(io.BytesIO(content)).convert("RGB"), self.targets[index]
        return transformed(self, image, target)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_bytes": None}
