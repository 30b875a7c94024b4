"""What every data set shares: where files live, caches, images held in memory, class-disjoint subsets."""

import hashlib
import os
import re
import secrets
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets.vision import StandardTransform, VisionDataset
from torchvision.transforms import v2

from .archives import Download, brief


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------
def root() -> Path:
    """Return the folder where data sets and caches live when none is given.

    It is ``$SSTUTILS_DATA`` if set, otherwise ``sstutils`` in the user's cache folder: ``$XDG_CACHE_HOME``,
    ``%LOCALAPPDATA%`` on Windows, ``~/Library/Caches`` on macOS, ``~/.cache`` elsewhere. Nothing is created.
    """
    if chosen := os.environ.get("SSTUTILS_DATA"):
        return Path(chosen).expanduser()
    if Path(cache := os.environ.get("XDG_CACHE_HOME", "")).is_absolute():  # the standard says: ignore relative ones
        return Path(cache) / "sstutils"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "sstutils"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sstutils"
    return Path.home() / ".cache" / "sstutils"


def resolve(folder: str | os.PathLike | None) -> Path:
    """Return `folder` as a path with ``~`` expanded, or :func:`root` for None."""
    return root() if folder is None else Path(folder).expanduser()


def file_name(data: str) -> str:
    """Return what a data set is called in file names: a folder of pictures goes by its own name.

    Examples
    --------
    >>> file_name("Glyphs"), file_name("folder:photos/my birds")
    ('glyphs', 'my-birds')
    """
    short, _, path = data.partition(":")
    name = Path(path).expanduser().resolve().name if path else short.lower()
    return re.sub(r"\W+", "-", name).strip("-") or short


@contextmanager
def aside(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it becomes `path` only if the block ends without an error.

    Readers therefore see the old file or the whole new one, never a half. Missing folders are created.

    Examples
    --------
    >>> with aside("figures/idea.png") as temporary:  # doctest: +SKIP
    ...     figure.savefig(temporary, format="png")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def cached_arrays(
    path: str | os.PathLike,
    make: Callable[[], dict[str, np.ndarray]],
    keys: Sequence[str] = ("data", "targets", "classes"),
) -> dict[str, np.ndarray]:
    """Return the arrays of the cache file `path`; where it is missing or corrupt, make them and write it.

    The caller puts everything that the arrays depend on (parameters, versions) into the file's name. A corrupt cache
    and a cache that cannot be written (full disk, read-only folder) cost a one-line warning each, never the result.

    Parameters
    ----------
    path : path
        The cache, an ``.npz`` file.
    make : callable
        Returns the arrays by name; called without arguments, only if needed.
    keys : sequence of str
        Names that the cache must hold.

    Returns
    -------
    dict of str to numpy array
    """
    path = Path(path)
    if path.exists():
        try:
            # Opened here, because np.load leaves a file that it cannot read open; Windows then refuses to replace it.
            with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                return {key: file[key] for key in keys}  # reading to the end checks each array's CRC
        except Exception as error:  # numpy, zipfile and zlib raise some ten kinds
            warnings.warn(f"cache {path} is corrupt ({brief(error)}); making it again", stacklevel=2)
    arrays = make()
    try:
        with aside(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        warnings.warn(
            f"cannot write the cache {path} ({brief(error)}); going on without it. "
            "Set SSTUTILS_DATA to a writable folder with room to keep it.",
            stacklevel=2,
        )
    return arrays


def missing(what: str, looked: Sequence[str | os.PathLike], remedy: str) -> FileNotFoundError:
    """Return the one-line error of a data set that is not there: what, where it was looked for, what to do."""
    return FileNotFoundError(f"{what} not found in {', '.join(str(place) for place in looked)}. {remedy}")


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


def open_image(path: str | os.PathLike) -> Image.Image:
    """Read an image file as an upright RGB image.

    Raises
    ------
    OSError
        If the file is missing, truncated or no image: one line that names it.
    """
    try:
        with Image.open(path) as image:
            return rgb(image)
    except FileNotFoundError:
        raise FileNotFoundError(f"image {path} is gone: restore it or load the data set again") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise OSError(f"image {path} cannot be read ({brief(error)}): repair or remove it") from error


def digest(*parts: str | bytes | np.ndarray) -> str:
    """Return 12 hexadecimal digits that identify the parts; arrays count with dtype, shape and bytes."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype.str}{part.shape}".encode())
            total.update(np.ascontiguousarray(part).data)
        else:
            part = part.encode() if isinstance(part, str) else part
            total.update(f"{len(part)}:".encode() + part)
    return total.hexdigest()[:12]


def files_digest(root: str | os.PathLike, samples: Sequence[tuple[str, int]]) -> str:
    """Return 12 hexadecimal digits of the names below `root`, the sizes in bytes and the targets of files."""
    lines = (f"{Path(path).relative_to(root).as_posix()} {os.path.getsize(path)}" for path, _ in samples)
    return digest("\n".join(lines), np.array([target for _, target in samples], dtype=np.int64))


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


def with_transform(dataset: Dataset, transform: Callable | None) -> Dataset:
    """Return the same data set (or subset) seen through another transform; the images are shared, not copied."""
    dataset = copy(dataset)
    if isinstance(dataset, Subset):
        dataset.dataset = with_transform(dataset.dataset, transform)
    else:
        dataset.transform = transform
        dataset.transforms = StandardTransform(transform, dataset.target_transform)  # for its repr
    return dataset


def tensors(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images and labels of a data set held in memory, before any transform.

    Parameters
    ----------
    dataset : ArrayDataset, or a subset of one
        For an ArrayDataset the images are a view of its array; a subset's are a copy.

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
    chosen, labels = slice(None), None
    while True:
        if labels is None and hasattr(dataset, "targets"):  # torch's plain Subset has none
            labels = torch.as_tensor(np.asarray(dataset.targets, dtype=np.int64)[chosen])
        if not isinstance(dataset, Subset):
            break
        chosen = np.asarray(dataset.indices, dtype=np.int64)[chosen]
        dataset = dataset.dataset
    if not isinstance(dataset, ArrayDataset):
        raise TypeError(f"{type(dataset).__name__} does not hold its images in memory: iterate over a DataLoader")
    return torch.from_numpy(dataset.data[chosen]).permute(0, 3, 1, 2), labels


def batches(
    dataset: Dataset, batch_sampler: Iterable[Sequence[int]], size: int | None = None, workers: int = 0
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Read a data set batch by batch, as small as it can be moved: uint8.

    Parameters
    ----------
    dataset : Dataset
        Images in memory are indexed at once; others are read, and scaled to squares, by torch's DataLoader.
    batch_sampler : iterable of sequences of int
        The items of each batch.
    size : int, optional
        Side of the square images in pixels; None leaves them as they are (then all must have one size).
    workers : int
        Processes that read files.

    Yields
    ------
    images : uint8 tensor of shape (B, 3, size, size)
    labels : int64 tensor of shape (B,)
    """
    try:
        images, labels = tensors(dataset)
    except TypeError:
        images = None
    if images is not None and size in (None, *images.shape[-2:]):
        for batch in batch_sampler:
            chosen = torch.as_tensor(batch)
            yield images[chosen], labels[chosen]
        return
    steps = [] if size is None else [v2.Resize((size, size), antialias=True)]
    seen = with_transform(dataset, v2.Compose([*steps, v2.PILToTensor()]))
    # From pinned memory, copies to a GPU do not wait.
    pin = torch.cuda.is_available()
    yield from DataLoader(seen, batch_sampler=list(batch_sampler), num_workers=workers, pin_memory=pin)
