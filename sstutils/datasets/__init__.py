"""Data sets for retrieval: torchvision's conventions, and the classes of ``train`` and ``test`` are disjoint.

``load("glyphs")`` loads one by name, ``NAMES`` lists them, ``info("glyphs")`` tells where it is and what it holds.

A data set is one module, named as in ``NAMES``, with a subclass of :class:`~sstutils.datasets.source.Source`: where its
files come from, how they are found, counted and read, without torch. Joined with ``ArrayDataset`` or ``FileDataset``
(``base.py``) it is the class that users see.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from inspect import signature
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from .source import Source

# Name (also the module's) -> (class, what it is in one line).
NAMES: dict[str, tuple[str, str]] = {
    "glyphs": ("Glyphs", "letters drawn from matplotlib's fonts, 32x32; nothing to download"),
    "digits": ("Digits", "1,797 handwritten digits that come with scikit-learn, 32x32"),
    "fashion": ("FashionMNIST", "70,000 small photos of clothes, shoes and bags, 32x32"),
    "omniglot": ("Omniglot", "32,460 handwritten characters of 50 alphabets, 32x32"),
    "cub200": ("CUB200", "11,788 photos of 200 kinds of birds"),
    "cars196": ("Cars196", "16,185 photos of 196 models of cars"),
    "sop": ("StanfordOnlineProducts", "120,053 photos of 22,634 products"),
    "folder": ("Folder", "your own pictures: folder:PATH, where PATH holds class/image.jpg"),
}

_OWN = ("glyphs", "digits", "folder")  # the others, which are fetched, stand in sstutils.photos
_CLASSES = {cls: short for short, (cls, _) in NAMES.items()}
_HOME = dict.fromkeys(("ClassSubset", "split_classes", "tensors", "with_transform"), "datasets.subsets")
_HOME |= {"ArrayDataset": "datasets.base", "batches": "datasets.reading", "root": "files"}

__all__ = ["NAMES", "info", "load", *sorted({*_HOME, *_CLASSES})]


def __getattr__(name: str) -> Any:  # lazily: importing this package loads neither torch nor torchvision
    if name in _HOME:
        return getattr(import_module(f"sstutils.{_HOME[name]}"), name)
    if name in _CLASSES:
        return _dataset_class(_CLASSES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _source(short: str) -> type[Source]:
    """Import what is known of a data set without torch."""
    module = import_module(f"sstutils.{'datasets' if short in _OWN else 'photos'}.{short}")
    return getattr(module, NAMES[short][0])


@cache
def _dataset_class(short: str) -> type[Dataset]:
    """Make the class of a data set: its source, and images in memory or in files."""
    from .base import ArrayDataset, FileDataset

    source = _source(short)
    images = FileDataset if source.in_files else ArrayDataset
    return type(source.__name__, (source, images), {"__doc__": source.__doc__, "__module__": __name__})


def load(name: str, split: str = "test", *, part: int | None = None, **options: Any) -> Dataset:
    """Load a data set by its name.

    Parameters
    ----------
    name : str
        One of ``NAMES``; a folder of one's own pictures is ``"folder:PATH"``.
    split : str
        ``"train"`` or ``"test"``: the classes are disjoint. A folder also has ``"all"``.
    part : int, optional
        Load whole classes, chosen at random but always the same, that hold about so many images together: to try out
        on a laptop what takes a GPU. See :func:`sstutils.datasets.subsets.part_of`.
    **options
        Passed to the class: ``root``, ``transform``, ``target_transform``, ``download`` and its own ones.

    Returns
    -------
    VisionDataset or ClassSubset (of a part)
        With attributes ``targets``, ``classes`` and ``fingerprint``.

    Raises
    ------
    ValueError
        If there is no data set of this name, or an option is out of its range.
    OSError
        If its files are not on this machine (the message says where to get them), or cannot be read or downloaded.

    Examples
    --------
    >>> load("digits", "train").classes
    ['0', '1', '2', '3', '4']
    """
    from .subsets import part_of

    short, found = _parse(name)
    known = {*signature(_source(short).read).parameters, "transform", "target_transform"} - found.keys()
    if others := options.keys() - known:
        raise ValueError(f"{name} has no option {' or '.join(sorted(others))}")
    dataset = _dataset_class(short)(split=split, **found, **options)
    return dataset if part is None else part_of(dataset, part)


def info(name: str, root: str | PathLike | None = None) -> dict[str, Any]:
    """Describe a data set: what it is, where it is on this machine and what it holds; nothing is fetched.

    This loads no torch and no images, so that it takes a fraction of a second.

    Parameters
    ----------
    name : str
        As for :func:`load`; ValueError if there is no such data set.
    root : path, optional
        Where to look, if not in :func:`root`.

    Returns
    -------
    dict
        ``name``, ``description``, ``licence``, ``source``: str;
        ``present``: bool, whether it can be loaded (in part, if ``splits`` lacks one) without a download;
        ``where``: list of str, the files and folders that it is read from or cached in; ``bytes``: int, their size;
        ``splits``: dict of split to ``{"classes": int, "images": int}``, empty unless present;
        ``download``: list of ``{"file": str, "bytes": int or None, "urls": list of str}``, what can be fetched;
        ``by_hand``: str, how to place the files without it;
        ``problem``: str, what is wrong with the files, empty if nothing is.
    """
    from ..files import one_line, resolve

    short, found = _parse(name)
    source, root = _source(short), found.get("root", root)
    places, counts, problem = [], {}, ""
    try:
        places = source.find(root)
        if present := bool(places) or not source.downloads:
            counts = source.count(root)
    except (OSError, ValueError) as error:
        present, problem = False, one_line(error)
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place]) if file.is_file()]
    return {
        "name": name,
        "description": NAMES[short][1],
        "licence": source.licence,
        "source": source.source,
        "present": present,
        "where": [str(place) for place in places],
        "bytes": sum(file.stat().st_size for file in files),
        "splits": {split: {"classes": c, "images": n} for split, (c, n) in counts.items()},
        "download": [{"file": f.name, "bytes": f.size, "urls": list(f.urls)} for f in source.downloads],
        "by_hand": source.by_hand.format(root=resolve(root)),
        "problem": problem,
    }


def _parse(name: str) -> tuple[str, dict[str, str]]:
    """Split a name into the one in ``NAMES`` and the options that it carries; suggest one where there is none."""
    if not isinstance(name, str):
        raise ValueError(f"the name of a data set must be a string, such as 'glyphs', got {type(name).__name__}")
    short, colon, path = name.partition(":")
    short = short.lower()
    if short in NAMES and (not colon or short == "folder"):
        return short, {"root": path} if path else {}
    if name and os.path.isdir(os.path.expanduser(name)):
        hint = f"did you mean 'folder:{name}'?"
    elif close := get_close_matches(short, NAMES, n=1):
        hint = f"did you mean {close[0]!r}?"
    else:
        hint = f"there are {', '.join(NAMES)}:PATH"
    raise ValueError(f"no data set is called {name!r}: {hint}")
