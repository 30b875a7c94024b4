"""Parts of data sets, and data sets of one's own: labels, whole classes, stand-ins for images, other transforms."""

import warnings
from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset
from torchvision.datasets.vision import StandardTransform

from ..checks import class_labels, item_numbers, real_number, seed_number, whole_number
from ..files import digest
from .base import ArrayDataset, LabelledImages
from .source import KS


def unwrap(dataset: Dataset, stop: Callable[[Dataset], bool] = lambda _: False) -> tuple[Dataset, slice | np.ndarray]:
    """Follow subsets (of subsets) inwards, to the data set they were taken from or to the first for which `stop` holds.

    Returns that, and which of its items are those of `dataset`, in their order.
    """
    rows = slice(None)
    while isinstance(dataset, Subset) and not stop(dataset):
        rows = item_numbers(dataset.indices, len(dataset.dataset), "indices of the subset").numpy()[rows]
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

    None for a data set in files. Nothing is copied. The labels are those of the outermost data set that has some.
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
        In channels-last memory order; TypeError if they are in files.
    labels : int64 tensor of shape (N,)
    """
    if (found := arrays(dataset)) is None:
        name = type(innermost(dataset)).__name__
        raise TypeError(f"{name} does not hold its images in memory: iterate over a DataLoader")
    data, rows, labels = found
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # a memory map
        images = torch.from_numpy(data[rows])
    return images.permute(0, 3, 1, 2), torch.from_numpy(labels)


def image_of(item: object) -> object:
    """Take the image of an item of a data set; ValueError if that is no tuple or list that begins with it."""
    if not isinstance(item, (tuple, list)) or not item:
        raise ValueError(f"items of a data set must be (image, label), got {type(item).__name__}")
    return item[0]


def count_items(dataset: Dataset) -> int:
    """Count the items of a data set; ValueError if it has no length."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        name = type(dataset).__name__
        raise ValueError(f"{name} has no length: a data set must have one, and items that can be taken in any order")
    return len(dataset)


class Relabelled(Subset):
    """A subset whose items carry its own targets; a ``target_transform`` of the data set is bypassed.

    The classes that occur among `targets` are renumbered from 0; `classes` names them before, where they have names.
    It has the attributes of :class:`sstutils.datasets.base.LabelledImages`.
    """

    def __init__(
        self, dataset: Dataset, indices: Sequence[int], targets: Sequence[int], classes: Sequence[str]
    ) -> None:
        super().__init__(dataset, indices)
        numbers, targets = np.unique(np.asarray(targets, dtype=np.int64), return_inverse=True)
        self.targets: list[int] = targets.tolist()
        self.classes = [str(classes[n]) if 0 <= n < len(classes) else str(n) for n in numbers.tolist()]

    def __getitem__(self, index: int) -> tuple:
        return image_of(self.dataset[self.indices[index]]), self.targets[index]

    def __getitems__(self, indices: list[int]) -> list[tuple]:  # what DataLoader calls; Subset's knows no own targets
        return [self[index] for index in indices]

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of the data set's fingerprint and the items chosen; "" if it has none."""
        return _fingerprint(Subset(self.dataset, self.indices))


def _fingerprint(dataset: Dataset) -> str:
    """Hash a data set and what was chosen of it; "" if one within has no fingerprint."""
    if isinstance(dataset, ConcatDataset):
        parts = [_fingerprint(part) for part in dataset.datasets]
        return digest(*parts) if all(parts) else ""
    if isinstance(dataset, Subset) and not hasattr(dataset, "fingerprint"):
        inner = _fingerprint(dataset.dataset)
        return inner and digest(inner, np.asarray(dataset.indices, dtype=np.int64))
    return getattr(dataset, "fingerprint", "")


def labelled(dataset: Dataset) -> Dataset:
    """Give a data set of one's own what training and evaluation need: targets, classes and a fingerprint.

    The targets are those of the data set (``targets`` or ``labels``), or of the one that torch's ``Subset``,
    ``ConcatDataset`` or ``TensorDataset`` holds. Where data sets are concatenated, classes of one name are one class.
    A data set of this package is returned itself. ValueError if there are no targets, or not one integer for each item.
    """
    if isinstance(dataset, (LabelledImages, Relabelled)):
        return dataset
    targets, classes = _labels(dataset)
    return Relabelled(dataset, range(len(targets)), targets, classes)


def _labels(dataset: Dataset) -> tuple[np.ndarray, Sequence[str]]:
    """Find the class of each item, and the names of classes as far as there are any."""
    name, found = type(dataset).__name__, getattr(dataset, "targets", getattr(dataset, "labels", None))
    count = count_items(dataset)
    if isinstance(dataset, TensorDataset):
        found = dataset.tensors[-1]
    if found is not None:
        classes = getattr(dataset, "classes", ())
        classes = classes.tolist() if hasattr(classes, "tolist") else classes  # of pandas: by position, not by index
        named = isinstance(classes, (list, tuple))
        return class_labels(found, count, f"targets of {name}").cpu().numpy(), classes if named else ()
    if isinstance(dataset, Subset):
        targets, classes = _labels(dataset.dataset)
        return targets[item_numbers(dataset.indices, len(targets), "indices of the subset").numpy()], classes
    if isinstance(dataset, ConcatDataset):
        parts = [Relabelled(part, range(len(part)), *_labels(part)) for part in dataset.datasets]
        numbers = {name: i for i, name in enumerate(dict.fromkeys(name for part in parts for name in part.classes))}
        return np.array([numbers[part.classes[t]] for part in parts for t in part.targets]), list(numbers)
    raise ValueError(f"{name} has no targets: give it an attribute `targets`, the class of each item as an integer")


class ClassSubset(Relabelled):
    """All items of some classes of a data set, renumbered from 0 in the order of the original numbers.

    Parameters
    ----------
    dataset : Dataset
        Anything that :func:`labelled` takes.
    keep : sequence of int
        Numbers of the classes to keep; ValueError if there is no class of such a number.
    """

    def __init__(self, dataset: Dataset, keep: Sequence[int]) -> None:
        dataset = labelled(dataset)
        keep = item_numbers(keep, len(dataset.classes), "keep").numpy()
        targets = np.asarray(dataset.targets)
        indices = np.flatnonzero(np.isin(targets, keep)).tolist()
        super().__init__(dataset, indices, targets[indices], dataset.classes)


class Readable(Relabelled):
    """The same data set, in which another image stands for each image that cannot be read.

    So batches keep their size. It is the next one of its class, or any if what is read for it will be left out. Each
    such image is named in a warning when it is first met, and marked in ``unreadable``, a bool tensor of shape (N,)
    that worker processes share. If none is left that could stand for it, OSError.
    """

    def __init__(self, dataset: Dataset, leave_out: bool = False) -> None:
        dataset = labelled(dataset)
        super().__init__(dataset, range(len(dataset)), dataset.targets, dataset.classes)
        self.fingerprint, self.leave_out = dataset.fingerprint, leave_out
        self.unreadable = torch.zeros(len(dataset), dtype=torch.bool).share_memory_()

    def __getitem__(self, index: int) -> tuple:
        if not self.unreadable[index]:
            try:
                return super().__getitem__(index)
            except OSError as error:
                self.unreadable[index] = True
                what = "it is left out" if self.leave_out else "another image of its class replaces it"
                warnings.warn(f"{error}; {what}", stacklevel=2)
        target = self.targets[index]
        alike = self.leave_out | (np.asarray(self.targets) == target)
        others = np.flatnonzero(alike & ~self.unreadable.numpy())
        if not len(others):
            which = "image" if self.leave_out else f"image of class {self.classes[target]!r}"
            raise OSError(f"no {which} can be read: restore the files or the archive")
        return self[int(others[others.searchsorted(index) % len(others)])]  # the next one


def split_classes(dataset: Dataset, holdout: float = 0.1, seed: int = 0) -> tuple[ClassSubset, ClassSubset]:
    """Split a data set in two whose classes are disjoint, to choose a model on classes that it was not trained on.

    Parameters
    ----------
    dataset : Dataset
        Anything that :func:`labelled` takes.
    holdout : float
        Fraction of the classes held out; at least two classes are (retrieval among one is always right). ValueError if
        it is not between 0 and 1, or leaves fewer than two.
    seed : int
        Draws the classes.

    Returns
    -------
    train, validation : ClassSubset
    """
    if not 0 < real_number("holdout", holdout) < 1:
        raise ValueError(f"holdout must lie between 0 and 1, got {holdout}")
    dataset = labelled(dataset)
    count = len(dataset.classes)
    held = max(2, round(holdout * count))
    if count - held < 2:
        raise ValueError(f"cannot hold out {held} of {count} classes: at least two must stay on either side")
    order = np.random.default_rng(seed_number(seed)).permutation(count)
    return ClassSubset(dataset, order[held:]), ClassSubset(dataset, order[:held])


def part_of(dataset: Dataset, images: int, seed: int = 0) -> Dataset:
    """Take whole classes, drawn at random by `seed`, until they hold at least so many images: to try things out on.

    There are always four classes (or all, if the data set has fewer); at most one too many is taken. The classes for
    fewer images are among those for more. A data set of no more images is returned itself. ValueError if `images` is
    below 1.
    """
    whole_number("part", images)
    dataset = labelled(dataset)
    if len(dataset) <= images:
        return dataset
    sizes = np.bincount(dataset.targets, minlength=len(dataset.classes))
    order = np.random.default_rng(seed_number(seed)).permutation(len(sizes))
    count = 1 + int(sizes[order].cumsum().searchsorted(images))
    return ClassSubset(dataset, order[: max(count, 4)])


def protocol_ks(dataset: Dataset) -> tuple[int, ...]:
    """List the K at which the literature reports Recall@K on a data set; of a small part, those that make sense."""
    return tuple(k for k in getattr(innermost(dataset), "ks", KS) if k < len(dataset))


class Transformed(Dataset):
    """A data set without a ``transform`` of its own, whose images are seen through one."""

    def __init__(self, dataset: Dataset, transform: Callable | None) -> None:
        self.dataset, self.transform = dataset, transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple:
        item = self.dataset[index]
        image = image_of(item)
        return image if self.transform is None else self.transform(image), *item[1:]


def with_transform(dataset: Dataset, transform: Callable | None) -> Dataset:
    """Copy a data set (or subset), to be seen through another transform; the images are shared, not copied."""
    dataset = copy(dataset)
    if hasattr(dataset, "transform"):
        dataset.transform = transform
        if hasattr(dataset, "transforms"):  # torchvision's: for its repr, and some read through it
            dataset.transforms = StandardTransform(transform, dataset.target_transform)
    elif isinstance(dataset, Subset):
        dataset.indices = item_numbers(dataset.indices, count_items(dataset.dataset), "indices of the subset").tolist()
        dataset.dataset = with_transform(dataset.dataset, transform)
    elif isinstance(dataset, ConcatDataset):
        dataset.datasets = [with_transform(part, transform) for part in dataset.datasets]
    else:
        return Transformed(dataset, transform)
    return dataset
