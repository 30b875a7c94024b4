"""What every data set shares: where files live, caches, images held in memory, class-disjoint subsets."""

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets.vision import StandardTransform, VisionDataset
from torchvision.transforms import v2

from ..files import digest, one_line, resolve
from ..photos.archives import Download

MOST_PIXELS = 100_000_000  # of an image; what promises more is a mistake or an attack
# What files of these endings hold. PIL would try all that it knows, and run Ghostscript on one that is PostScript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
KS = (1, 2, 4, 8)  # K of Recall@K where a data set's own protocol has no others
_LARGE = 1 << 22  # bytes of a batch from which on a thread of its own is worth the handing over


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------
# ---------------------------------------------------------------------------------------------------------------------
# Images
# ---------------------------------------------------------------------------------------------------------------------
def rgb(image: Image.Image) -> Image.Image:
    """Return a PIL image of any mode as RGB, upright.

    The orientation that a camera noted (EXIF) is applied, transparency is laid on white, 16-bit grey is scaled to 8.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # PIL's own conversion clips at 255: nearly all white
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def decode_image(file: str | os.PathLike | BinaryIO) -> Image.Image:
    """Decode an image, from a path or an open file, to upright RGB.

    The header is looked at first: not a pixel is unpacked of an image that promises more than ``MOST_PIXELS``.

    Raises
    ------
    Exception
        If it is damaged, too large or no image; PIL raises some ten kinds.
    """
    Image.init()  # of the formats; PIL does it by itself only where none are named
    with warnings.catch_warnings():  # of large images, about which the next lines decide
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(file, formats=FORMATS)
    with image:
        if math.prod(image.size) > MOST_PIXELS:
            width, height = image.size
            raise ValueError(f"it promises {width:,} x {height:,} pixels, at most {MOST_PIXELS:,} are read")
        return rgb(image)


def open_image(path: str | os.PathLike) -> Image.Image:
    """Read an image file as an upright RGB image.

    Raises
    ------
    OSError
        If the file is missing, truncated, no image, or of more than 100 megapixels: one line that names it.
    """
    try:
        return decode_image(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"image {path} is gone: restore it or load the data set again") from None
    except MemoryError:  # it says something of the machine, not of the image
        raise
    except Exception as error:  # PIL raises some ten kinds
        raise OSError(f"image {path} cannot be read ({one_line(error)}): repair or remove it") from error


def transformed(dataset: VisionDataset, image: Image.Image, target: int) -> tuple:
    """Return an item through the transforms of its data set."""
    if dataset.transform is not None:
        image = dataset.transform(image)
    if dataset.target_transform is not None:
        target = dataset.target_transform(target)
    return image, target


class ArrayDataset(VisionDataset):
    """Labelled images held in memory, with torchvision's conventions.

    Subclasses make the arrays of their split and hand them to this constructor.

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

    # What `info` tells about a data set; subclasses fill in.
    splits: tuple[str, ...] = ("train", "test")
    licence = ""
    source = ""  # an address, or the package that it comes with
    downloads: tuple[Download, ...] = ()  # what download=True fetches; none: nothing to fetch, always present
    by_hand = ""  # one sentence: which files to place where; {root} stands for the data folder
    ks: tuple[int, ...] = KS

    def __init__(
        self,
        data: np.ndarray,
        targets: Sequence[int],
        classes: Sequence[str],
        root: str | os.PathLike | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        data = np.asarray(data)
        if data.dtype != np.uint8 or data.ndim != 4 or data.shape[-1] != 3:
            raise ValueError(f"data must be uint8 of shape (N, H, W, 3), got {data.dtype} of shape {data.shape}")
        targets = np.asarray(targets, dtype=np.int64)
        if targets.shape != (len(data),):
            raise ValueError(f"targets must be one number for each of the {len(data)} images, got {targets.shape}")
        if not np.array_equal(np.unique(targets), np.arange(len(classes))):
            raise ValueError(f"targets must use each class number from 0 to {len(classes) - 1} at least once")
        self.data = data
        self.targets: list[int] = targets.tolist()
        self.classes: list[str] = [str(name) for name in classes]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple:
        """Return (PIL image, target) of one item, both through their transforms."""
        image, target = Image.fromarray(self.data[index]), self.targets[index]
        return transformed(self, image, target)

    def extra_repr(self) -> str:
        """Return what ``repr`` adds; torchvision calls it."""
        height, width = self.data.shape[1:3]
        return f"Number of classes: {len(self.classes)}\nImages: {height}x{width} RGB"

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of the images and targets."""
        return digest(self.data, np.asarray(self.targets, dtype=np.int64))

    @classmethod
    def find(cls, root: str | os.PathLike | None = None) -> list[Path]:
        """Return the files on this machine that the data set is read from (or cached in); none: an empty list."""
        return sorted(resolve(root).glob(f"{cls.__name__.lower()}*.npz"))

    @classmethod
    def count(cls, root: str | os.PathLike | None = None) -> dict[str, tuple[int, int]]:
        """Return the number of classes and of images of each split; here by loading it."""
        counts = {}
        for split in cls.splits:
            dataset = cls(root, split)
            counts[split] = len(dataset.classes), len(dataset)
        return counts


# ---------------------------------------------------------------------------------------------------------------------
# Parts of data sets
# ---------------------------------------------------------------------------------------------------------------------
class ClassSubset(Subset):
    """All items of some classes of a data set, renumbered from 0 in the order of the original numbers.

    Parameters
    ----------
    dataset : Dataset
        With attributes ``targets`` and ``classes``.
    keep : sequence of int
        Numbers of the classes to keep.

    Attributes
    ----------
    targets : list of int
        What items carry; a ``target_transform`` of `dataset` is bypassed.
    classes : list of str
    fingerprint : str
    """

    def __init__(self, dataset: Dataset, keep: Sequence[int]) -> None:
        keep = sorted(int(number) for number in keep)
        new_number = {old: new for new, old in enumerate(keep)}
        indices = [index for index, target in enumerate(dataset.targets) if target in new_number]
        super().__init__(dataset, indices)
        self.targets = [new_number[dataset.targets[index]] for index in indices]
        self.classes = [dataset.classes[number] for number in keep]

    def __getitem__(self, index: int) -> tuple:
        return self.dataset[self.indices[index]][0], self.targets[index]

    def __getitems__(self, indices: list[int]) -> list[tuple]:  # what DataLoader calls; Subset's knows no renumbering
        return [self[index] for index in indices]

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of the data set's fingerprint and the items chosen."""
        return digest(self.dataset.fingerprint, np.asarray(self.indices, dtype=np.int64))


class Readable(Subset):
    """The same data set, in which another image of its class stands for each image that cannot be read.

    So batches keep their size and their labels. Each such image is named in a warning when it is first met.

    Parameters
    ----------
    dataset : Dataset
        With ``targets``, ``classes`` and ``fingerprint``, which are kept.

    Attributes
    ----------
    unreadable : (N,) bool tensor
        The images that could not be read so far, by any process.

    Raises
    ------
    OSError
        On access, if no image of a class can be read.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset, range(len(dataset)))
        self.targets, self.classes = dataset.targets, dataset.classes
        self.fingerprint = getattr(dataset, "fingerprint", "")
        self.unreadable = torch.zeros(len(dataset), dtype=torch.bool).share_memory_()

    def __getitem__(self, index: int) -> tuple:
        target = self.targets[index]
        if not self.unreadable[index]:
            try:
                return self.dataset[index][0], target
            except OSError as error:
                self.unreadable[index] = True
                warnings.warn(f"{error}; another image of its class is taken", stacklevel=2)
        others = np.flatnonzero((np.asarray(self.targets) == target) & ~self.unreadable.numpy())
        if not len(others):
            raise OSError(f"no image of class {self.classes[target]!r} can be read: restore the files or the archive")
        return self[int(others[others.searchsorted(index) % len(others)])]  # the next one

    def __getitems__(self, indices: list[int]) -> list[tuple]:
        return [self[index] for index in indices]


def split_classes(dataset: Dataset, holdout: float = 0.1, seed: int = 0) -> tuple[ClassSubset, ClassSubset]:
    """Split a data set in two whose classes are disjoint, to choose a model on classes that it was not trained on.

    Parameters
    ----------
    dataset : Dataset
        With attributes ``targets`` and ``classes``.
    holdout : float
        Fraction of the classes held out; at least two classes are (retrieval among one is always right).
    seed : int
        Draws the classes.

    Returns
    -------
    train, validation : ClassSubset

    Raises
    ------
    ValueError
        If `holdout` is not between 0 and 1 or a side would have fewer than two classes.
    """
    if not 0 < holdout < 1:
        raise ValueError(f"holdout must lie between 0 and 1, got {holdout}")
    count = len(dataset.classes)
    held = max(2, round(holdout * count))
    if count - held < 2:
        raise ValueError(f"cannot hold out {held} of {count} classes: at least two must stay on either side")
    order = np.random.default_rng(seed).permutation(count)
    return ClassSubset(dataset, order[held:]), ClassSubset(dataset, order[:held])


def part_of(dataset: Dataset, images: int, seed: int = 0) -> Dataset:
    """Return a part of a data set to try things out on: whole classes, drawn at random until they hold enough images.

    Parameters
    ----------
    dataset : Dataset
        With attributes ``targets`` and ``classes``.
    images : int
        The number that the part shall hold at least; it holds more by less than its last class. Four classes it has in
        any case (or all, of fewer).
    seed : int
        Draws the classes; the classes for fewer images are among those for more.

    Returns
    -------
    ClassSubset
        Or the data set itself, if it holds no more than so many images.

    Raises
    ------
    ValueError
        If `images` is below 1.
    """
    if images < 1:
        raise ValueError(f"part is the number of images to load: at least 1, got {images}")
    if len(dataset) <= images:
        return dataset
    sizes = np.bincount(dataset.targets, minlength=len(dataset.classes))
    order = np.random.default_rng(seed).permutation(len(sizes))
    count = 1 + int(sizes[order].cumsum().searchsorted(images))
    return ClassSubset(dataset, order[: max(count, 4)])


def innermost(dataset: Dataset) -> Dataset:
    """Return the data set from which subsets (of subsets) were taken."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


def protocol_ks(dataset: Dataset) -> tuple[int, ...]:
    """Return the K at which the literature reports Recall@K on a data set; of a small part, those that make sense.

    Examples
    --------
    >>> from sstutils import load
    >>> protocol_ks(load("digits"))
    (1, 2, 4, 8)
    """
    return tuple(k for k in getattr(innermost(dataset), "ks", KS) if k < len(dataset))


def unreadable(dataset: Dataset) -> np.ndarray:
    """Return which items of a data set were found unreadable so far: (N,) bool, all False if nobody looked.

    :class:`Readable` looks, wherever in a chain of subsets it is; a file of resized images keeps what was found.
    """
    chosen = np.arange(len(dataset))
    while isinstance(dataset, Subset):
        if isinstance(dataset, Readable):
            return dataset.unreadable.numpy()[chosen]
        chosen = np.asarray(dataset.indices, dtype=np.int64)[chosen]
        dataset = dataset.dataset
    return np.asarray(getattr(dataset, "unreadable", np.zeros(len(dataset), dtype=bool)))[chosen]


def with_transform(dataset: Dataset, transform: Callable | None) -> Dataset:
    """Return the same data set (or subset) seen through another transform; the images are shared, not copied."""
    dataset = copy(dataset)
    if isinstance(dataset, Subset):
        dataset.dataset = with_transform(dataset.dataset, transform)
    else:
        dataset.transform = transform
        dataset.transforms = StandardTransform(transform, dataset.target_transform)  # for its repr
    return dataset


def _held(dataset: Dataset) -> tuple[np.ndarray, slice | np.ndarray, np.ndarray]:
    """Return the array of a data set held in memory, the rows of it that are the items, and the items' labels."""
    chosen, labels = slice(None), None
    while True:
        if labels is None and hasattr(dataset, "targets"):  # torch's plain Subset has none
            labels = np.asarray(dataset.targets, dtype=np.int64)[chosen]
        if not isinstance(dataset, Subset):
            break
        chosen = np.asarray(dataset.indices, dtype=np.int64)[chosen]
        dataset = dataset.dataset
    if not isinstance(dataset, ArrayDataset):
        raise TypeError(f"{type(dataset).__name__} does not hold its images in memory: iterate over a DataLoader")
    return dataset.data, chosen, labels


def tensors(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images and labels of a data set held in memory, before any transform.

    Parameters
    ----------
    dataset : ArrayDataset, or a subset of one
        For an ArrayDataset the images are a view of its array (not to be written to); a subset's are a copy.

    Returns
    -------
    images : uint8 tensor of shape (N, 3, H, W)
        In channels-last memory order.
    labels : int64 tensor of shape (N,)

    Raises
    ------
    TypeError
        If the images are in files.
    """
    data, chosen, labels = _held(dataset)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # a memory map
        images = torch.from_numpy(data[chosen])
    return images.permute(0, 3, 1, 2), torch.from_numpy(labels)


def squared(dataset: Dataset, size: int | None) -> Dataset:
    """Return a data set of uint8 arrays (H, W, 3): its images, scaled to squares of a side (None: as they are)."""
    steps = [] if size is None else [v2.Resize((size, size), antialias=True)]
    return with_transform(dataset, v2.Compose([*steps, np.array]))


def loaded(files: DataLoader) -> Iterator:
    """Iterate over a DataLoader; an error of reading is one line, whether a worker had it or this process."""
    try:
        yield from files
    except OSError as error:
        if "DataLoader worker" not in str(error):
            raise
        # With the traceback of the worker comes, in its last line, the kind of error and what it says.
        raise OSError(str(error).strip().splitlines()[-1].partition(": ")[2]) from error


def batches(
    dataset: Dataset, batch_sampler: Iterable[Sequence[int]], size: int | None = None, workers: int = 0
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Read a data set batch by batch, as small as it can be moved: uint8.

    The next batch is made ready while one is used: of large images in memory by a thread, of files by the workers.

    Parameters
    ----------
    dataset : Dataset
        Images in memory are copied from there; others are read, and scaled to squares, by torch's DataLoader.
    batch_sampler : iterable of sequences of int
        The items of each batch; read to its end before the first batch.
    size : int, optional
        Side of the square images in pixels; None leaves them as they are (then all must have one size).
    workers : int
        Processes that read files.

    Yields
    ------
    images : uint8 tensor of shape (B, 3, size, size)
        In channels-last memory order, wherever they come from: layers choose their sums, and round, by that.
    labels : int64 tensor of shape (B,)
    """
    order = list(batch_sampler)
    pin = torch.cuda.is_available()  # from pinned memory, copies to a GPU do not wait
    try:
        data, chosen, labels = _held(dataset)
    except TypeError:
        data = None
    if data is None or (size is not None and data.shape[1:3] != (size, size)):
        files = DataLoader(squared(dataset, size), batch_sampler=order, num_workers=workers, pin_memory=pin)
        for images, labels in loaded(files):
            yield images.permute(0, 3, 1, 2), labels
        return
    rows = np.arange(len(data))[chosen]

    def gather(batch: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        batch = np.asarray(batch, dtype=np.int64)
        found = torch.from_numpy(labels[batch])
        if pin:
            found = found.pin_memory()
            images = torch.empty((len(batch), *data.shape[1:]), dtype=torch.uint8, pin_memory=True)
            # No row is out of range here: told to clip, numpy copies straight to the place.
            data.take(rows[batch], axis=0, out=images.numpy(), mode="clip")
        else:
            images = torch.from_numpy(data.take(rows[batch], axis=0))  # numpy's own memory comes in huge pages
        return images.permute(0, 3, 1, 2), found

    if max(map(len, order), default=0) * math.prod(data.shape[1:]) < _LARGE:
        yield from map(gather, order)
    else:
        yield from _ahead(gather, order)


def _ahead(make: Callable, items: Iterable) -> Iterator:
    """Yield ``make(item)`` of each item; a thread makes the next one while the present one is used."""
    with ThreadPoolExecutor(1) as thread:
        following = None
        for item in items:
            present, following = following, thread.submit(make, item)
            if present:
                yield present.result()
        if following:
            yield following.result()
