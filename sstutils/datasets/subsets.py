"""Parts of data sets: whole classes, one image standing in for another, other transforms."""

import warnings
from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property

import numpy as np
import torch
from torch.utils.data import Dataset, Subset
from torchvision.datasets.vision import StandardTransform

from ..files import digest
from .base import ArrayDataset
from .source import KS


def unwrap(dataset: Dataset, stop: Callable[[Dataset], bool] = lambda _: False) -> tuple[Dataset, slice | np.ndarray]:
    """Follow subsets (of subsets) inwards, to the data set they were taken from or to the first for which `stop` holds.

    Returns
    -------
    inner : Dataset
    rows : slice or (N,) int64 array
        Which of its items are those of `dataset`, in their order.
    """
    rows = slice(None)
    while isinstance(dataset, Subset) and not stop(dataset):
        rows = np.asarray(dataset.indices, dtype=np.int64)[rows]
        dataset = dataset.dataset
    return dataset, rows


def innermost(dataset: Dataset) -> Dataset:
    """Find the data set from which subsets (of subsets) were taken."""
    return unwrap(dataset)[0]


def unreadable(dataset: Dataset) -> np.ndarray:
    """Mark the items of a data set found unreadable so far: (N,) bool, all False if nobody looked.

    :class:`Readable` looks, wherever in a chain of subsets it is; a file of resized images keeps what was found.
    """
    inner, rows = unwrap(dataset, lambda one: isinstance(one, Readable))
    return np.asarray(getattr(inner, "unreadable", np.zeros(len(inner), dtype=bool)))[rows]


def arrays(dataset: Dataset) -> tuple[np.ndarray, slice | np.ndarray, np.ndarray] | None:
    """Find the array of a data set held in memory, the rows of it that are the items, and the items' labels.

    None for a data set in files. Nothing is copied. The labels are those of the outermost data set that has some
    (torch's plain Subset has none).
    """
    inner, rows = unwrap(dataset)
    if not isinstance(inner, ArrayDataset):
        return None
    labelled, chosen = unwrap(dataset, lambda one: hasattr(one, "targets"))
    return inner.data, rows, np.asarray(labelled.targets, dtype=np.int64)[chosen]


def tensors(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Take the images and labels of a data set held in memory, before any transform.

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
    if (found := arrays(dataset)) is None:
        name = type(innermost(dataset)).__name__
        raise TypeError(f"{name} does not hold its images in memory: iterate over a DataLoader")
    data, rows, labels = found
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # a memory map
        images = torch.from_numpy(data[rows])
    return images.permute(0, 3, 1, 2), torch.from_numpy(labels)


class Relabelled(Subset):
    """A subset whose items carry its own ``targets``; a ``target_transform`` of the data set is bypassed."""

    targets: list[int]
    classes: list[str]

    def __getitem__(self, index: int) -> tuple:
        return self.dataset[self.indices[index]][0], self.targets[index]

    def __getitems__(self, indices: list[int]) -> list[tuple]:  # what DataLoader calls; Subset's knows no own targets
        return [self[index] for index in indices]

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of the data set's fingerprint and the items chosen."""
        return digest(self.dataset.fingerprint, np.asarray(self.indices, dtype=np.int64))


class ClassSubset(Relabelled):
    """All items of some classes of a data set, renumbered from 0 in the order of the original numbers.

    Parameters
    ----------
    dataset : Dataset
        With attributes ``targets``, ``classes`` and ``fingerprint``; the subset has them too.
    keep : sequence of int
        Numbers of the classes to keep.
    """

    def __init__(self, dataset: Dataset, keep: Sequence[int]) -> None:
        keep, targets = np.unique(np.asarray(keep, dtype=np.int64)), np.asarray(dataset.targets)
        super().__init__(dataset, np.flatnonzero(np.isin(targets, keep)).tolist())
        self.targets = keep.searchsorted(targets[self.indices]).tolist()
        self.classes = [dataset.classes[number] for number in keep]


class Readable(Relabelled):
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
        if not self.unreadable[index]:
            try:
                return super().__getitem__(index)
            except OSError as error:
                self.unreadable[index] = True
                warnings.warn(f"{error}; another image of its class is taken", stacklevel=2)
        target = self.targets[index]
        others = np.flatnonzero((np.asarray(self.targets) == target) & ~self.unreadable.numpy())
        if not len(others):
            raise OSError(f"no image of class {self.classes[target]!r} can be read: restore the files or the archive")
        return self[int(others[others.searchsorted(index) % len(others)])]  # the next one


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
    """Take whole classes, drawn at random by `seed`, until they hold at least so many images: to try things out on.

    There are always four classes (or all, if the data set has fewer); at most one too many is taken. The classes for
    fewer images are among those for more. A data set of no more images is returned itself. ValueError if `images` is
    below 1.
    """
    if images < 1:
        raise ValueError(f"part is the number of images to load: at least 1, got {images}")
    if len(dataset) <= images:
        return dataset
    sizes = np.bincount(dataset.targets, minlength=len(dataset.classes))
    order = np.random.default_rng(seed).permutation(len(sizes))
    count = 1 + int(sizes[order].cumsum().searchsorted(images))
    return ClassSubset(dataset, order[: max(count, 4)])


def protocol_ks(dataset: Dataset) -> tuple[int, ...]:
    """List the K at which the literature reports Recall@K on a data set; of a small part, those that make sense.

    Examples
    --------
    >>> from sstutils import load
    >>> protocol_ks(load("digits"))
    (1, 2, 4, 8)
    """
    return tuple(k for k in getattr(innermost(dataset), "ks", KS) if k < len(dataset))


def with_transform(dataset: Dataset, transform: Callable | None) -> Dataset:
    """Copy a data set (or subset), to be seen through another transform; the images are shared, not copied."""
    dataset = copy(dataset)
    if isinstance(dataset, Subset):
        dataset.dataset = with_transform(dataset.dataset, transform)
    else:
        dataset.transform = transform
        dataset.transforms = StandardTransform(transform, dataset.target_transform)  # for its repr
    return dataset
