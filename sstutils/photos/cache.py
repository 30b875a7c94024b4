"""Photographs scaled once, to just what training reads of them: one file of bytes, mapped into memory."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torchvision
from PIL import features
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm.auto import tqdm

from .. import distributed
from ..checks import whole_number
from ..datasets.base import ArrayDataset
from ..datasets.reading import iterate, resize_to_square
from ..datasets.source import KS
from ..datasets.subsets import Readable, innermost, labelled, unreadable
from ..files import atomic_write, cause, digest, exclusive, resolve
from ..recipes import Recipe

_FORMAT = "2"  # to be raised when other bytes come of the same files
_DAY = 86_400  # seconds
_LONG = 1 << 30  # bytes whose reading takes so long that a bar is shown


def cache_resized(
    dataset: Dataset,
    side: int = 256,
    root: str | os.PathLike | None = None,
    *,
    workers: int = 0,
    progress: bool = True,
) -> Resized:
    """Resize the images of a data set to squares, once; from then on they are read from one file.

    The squares are those that :func:`sstutils.datasets.batches` makes of the images, bit for bit: a run gives the same
    numbers with this cache as without it. The file takes ``3 * side**2`` bytes an image (256: 2.3 GB for 11,788 birds,
    11.7 GB for the 59,551 products that are trained on). It is named after the data set, its split and its
    fingerprint, and after the versions of the libraries that decode and scale: when one of these changes, another file
    is made, and the one before it is removed. Each time that it is opened, all of it is read and compared with its
    checksums; a damaged file costs a one-line warning and is made again.

    An image that cannot be read is an error. In a :class:`sstutils.datasets.subsets.Readable` data set its stand-in is
    kept instead, and whoever opens the file again learns of it in the same way: such images are tried again, which
    names and counts them once more. If one was repaired, the file is made again.

    Parameters
    ----------
    dataset : Dataset
        With a fingerprint (ValueError without one); also a subset.
    side : int
        Of the squares, in pixels.
    root : path, optional
        Folder of the file; :func:`sstutils.datasets.root` by default.
    workers : int
        Processes that read and scale while the file is made.
    progress : bool
        Tell the size, and show a bar while the file is made, and while one of more than 1 GB is checked.

    Raises
    ------
    OSError
        If an image cannot be read, or there is no room for the file; no half of it is left.
    """
    whole_number("side", side)
    dataset = labelled(dataset)
    inner = innermost(dataset)
    if not dataset.fingerprint:
        raise ValueError(f"{type(inner).__name__} has no fingerprint, which the file is named after")
    kind = f"{type(inner).__name__.lower()}-{getattr(inner, 'split', 'all')}-{side}"
    if len(dataset) < len(inner):  # other classes are another part, not the same one changed
        kind += f"-part{digest(*dataset.classes)}"
    jpeg, webp = features.version("jpg") or "", features.version("webp") or ""
    key = digest(_FORMAT, dataset.fingerprint, PIL.__version__, jpeg, webp, torchvision.__version__)
    path = resolve(root) / f"{kind}-{key}.npy"
    scaled, shape = resize_to_square(dataset, side), (len(dataset), side, side, 3)
    found = _load(path, shape, progress)
    if found is None or _try_again(scaled, found[1]):
        try:
            with exclusive(path, wait=True):  # of several processes one makes the file, the others wait for it
                found = _load(path, shape, progress, warn=True)
                if found is None or _try_again(scaled, found[1]):
                    _make(path, scaled, shape, workers, progress)
                    _remove_stale(path, kind)
                    found = _load(path, shape, progress, warn=True)
        except OSError as error:
            if error.errno is None:  # told already
                raise
            raise OSError(
                f"cannot write {path} ({error.strerror}): make room, take another folder (SSTUTILS_DATA), or go on "
                "without it (--no-cache)"
            ) from error
    if found is None:
        raise OSError(f"{path} does not hold what was just written: check the disk, or take another folder")
    return Resized(path, *found, dataset)


def _load(
    path: Path, shape: tuple[int, ...], progress: bool, warn: bool = False
) -> tuple[np.ndarray, np.ndarray] | None:
    """Map the images into memory, and tell which are stand-ins; None if the file is missing or damaged."""
    if not path.exists():
        return None
    try:
        data, checks, stand_ins, _ = _parts(path)
        if (data.shape, data.dtype) != (shape, np.uint8) or stand_ins.shape != shape[:1]:
            raise ValueError(f"{data.dtype} of shape {data.shape} where uint8 of {shape} was expected")
        bar = tqdm(data, f"check {path.name}", unit="image", disable=not progress or data.nbytes < _LONG)
        for number, (image, check) in enumerate(zip(bar, checks[:-1], strict=True)):
            if zlib.crc32(image) != check:
                raise ValueError(f"image {number} does not have its checksum")
        if zlib.crc32(stand_ins) != checks[-1]:
            raise ValueError("what is known of unreadable images does not have its checksum")
    except Exception as error:  # numpy raises some ten kinds
        if warn:
            warnings.warn(f"cache {path} is corrupt ({cause(error)}); making it again", stacklevel=3)
        return None
    return data, stand_ins


def _parts(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read what stands in the file: images, their checksums, which are stand-ins, and the folder they come from."""
    # Mapped to be read only: a private map of more bytes than the machine has memory is refused on Linux.
    data = np.load(path, mmap_mode="r")
    with open(path, "rb") as file:
        file.seek(data.offset + data.nbytes)
        return np.asarray(data), np.load(file), np.load(file), np.load(file)


def _try_again(dataset: Dataset, stand_ins: np.ndarray) -> bool:
    """Try those images again that have stand-ins, and return whether one can be read; if they may not, raise."""
    for item in np.flatnonzero(stand_ins):
        dataset[int(item)]  # names and counts it, or raises
    return not unreadable(dataset)[stand_ins].all()


def _make(path: Path, dataset: Dataset, shape: tuple[int, ...], workers: int, progress: bool) -> None:
    """Write the file: the images as numpy would save them, then three small arrays."""
    path.unlink(missing_ok=True)  # a damaged one only takes room
    need, free = math.prod(shape), shutil.disk_usage(path.parent).free
    if need > free:
        raise OSError(
            f"the resized images need {need / 1e9:.2f} GB, {path.parent} has {free / 1e9:.2f} GB free: make room, take "
            "another folder (SSTUTILS_DATA), or go on without them (--no-cache)"
        )
    if progress:
        print(f"{path.name}: {need / 1e6:,.0f} MB in {path.parent}", file=sys.stderr)
    files, checks = DataLoader(dataset, batch_size=None, num_workers=workers), []
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        what = f"scale to {shape[1]}x{shape[2]}"
        for image, _ in tqdm(iterate(files), what, shape[0], unit="image", disable=not progress):
            content = np.ascontiguousarray(image)
            file.write(content)
            checks.append(zlib.crc32(content))
        stand_ins = unreadable(dataset)
        np.save(file, np.array([*checks, zlib.crc32(stand_ins)], np.uint32))
        np.save(file, stand_ins)
        np.save(file, np.array(str(Path(getattr(innermost(dataset), "root", None) or "").resolve())))


def _remove_stale(path: Path, kind: str) -> None:
    """Remove what was made of the same files before they changed, or by an older version, and what is half-made."""
    source = _parts(path)[-1]
    for old in sorted({*path.parent.glob(f"{kind}-{'?' * 12}.np[yz]"), *path.parent.glob(f".{kind}-*.part")} - {path}):
        with suppress(Exception):  # what is not read or removed may stay
            older = old.suffix == ".npz" or old.with_suffix(".npz").exists()  # had its checksums in a second file
            half = old.suffix == ".part" and time.time() - old.stat().st_mtime > _DAY  # nobody writes to it any more
            if older or half or (old.suffix == ".npy" and _parts(old)[-1] == source):
                old.unlink()


class Resized(ArrayDataset):
    """The images of :func:`cache_resized`, mapped from their file; the rest is that of the data set they are made of.

    It can be used wherever an :class:`ArrayDataset` can. Its images are read from the disk when they are asked for, and
    stay in the memory that nothing else needs. Nothing can be written to them. ``path`` is the file, which
    ``numpy.load`` reads; ``unreadable``, an (N,) bool array, marks those for which others of their classes stand.
    """

    def __init__(self, path: Path, data: np.ndarray, unreadable: np.ndarray, dataset: Dataset) -> None:
        inner = innermost(dataset)
        target_transform = None if isinstance(dataset, Subset) else inner.target_transform  # subsets bypass it
        super().__init__(data, dataset.targets, dataset.classes, path.parent, inner.transform, target_transform)
        self.path, self.unreadable, self.fingerprint = path, unreadable, dataset.fingerprint
        self.split, self.ks = getattr(inner, "split", "all"), getattr(inner, "ks", KS)

    def __getstate__(self) -> dict[str, Any]:  # a worker process maps the file for itself
        return self.__dict__ | {"data": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state | {"data": np.asarray(np.load(state["path"], mmap_mode="r"))}


def cache_photos(
    dataset: Dataset, recipe: Recipe, *, strict: bool = False, workers: int = 0, progress: bool = True
) -> Dataset:
    """Return photographs resized once to what a recipe reads of them; other data sets as they are.

    See :func:`sstutils.photos.cache.cache_resized`. With `strict`, an image that cannot be read is an error.
    """
    if not recipe.resize or isinstance(innermost(dataset), ArrayDataset):
        return dataset
    files = dataset if strict else Readable(dataset)
    return distributed.rank_zero_first(lambda: cache_resized(files, recipe.resize, workers=workers, progress=progress))
