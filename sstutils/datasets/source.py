"""What is known of a data set before torch is loaded: where it comes from, its files, how many images they hold."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..files import PICTURES, one_line

KS = (1, 2, 4, 8)  # K of Recall@K where a data set's own protocol has no others
_LITTER = {"__macosx", "__pycache__", "@eadir", "$recycle.bin", "#recycle", "lost+found", "thumbs.db"}
_LITTER |= {"system volume information"}


class Source:
    """Facts and files of a data set, and the constructor of its class.

    Parameters
    ----------
    root : path, optional
        Folder to look in; :func:`sstutils.datasets.root` by default.
    split : str
        One of ``splits``: the classes are disjoint.
    transform, target_transform : callable, optional
        Applied to the PIL image and to the target.
    download : bool
        Fetch the files into `root` if they are nowhere.
    **options
        Those of the data set.

    Raises
    ------
    ValueError, OSError
        As :func:`sstutils.datasets.load`.
    """

    splits: tuple[str, ...] = ("train", "test")
    in_files = False  # whether images are read when asked for, or held in memory
    licence = ""
    source = ""  # an address, or the package that it comes with
    downloads: tuple = ()  # of photos.archives.Download: what can be fetched; none: always present
    by_hand = ""  # one sentence: which files to place where; {root} stands for the data folder
    counts: dict[str, tuple[int, int]] = {}  # noqa: RUF012 - split -> classes, images, as published
    ks: tuple[int, ...] = KS  # at which the literature reports Recall@K

    def __init__(
        self,
        root: str | os.PathLike | None = None,
        split: str = "test",
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
        **options: Any,
    ) -> None:
        if split not in self.splits:
            raise ValueError(f"split must be {' or '.join(map(repr, self.splits))}, got {split!r}")
        content = self.read(root, split, download, **options)
        super().__init__(*content, transform=transform, target_transform=target_transform)
        self.split = split

    @classmethod
    def find(cls, root: str | os.PathLike | None = None) -> list[Path]:
        """List the files and folders on this machine that the data set is read from or cached in."""
        return []

    @classmethod
    def count(cls, root: str | os.PathLike | None = None) -> dict[str, tuple[int, int]]:
        """Count the classes and the images of each split that is there; as published, or in its files."""
        if cls.counts:
            return dict(cls.counts)
        parts = {split: cls.read(root, split, False) for split in cls.splits}
        return {split: (len(classes), len(images)) for split, (images, _, classes, _) in parts.items()}

    @classmethod
    def read(cls, root: str | os.PathLike | None, split: str, download: bool, **options: Any) -> tuple:
        """Read a split: images (an array or paths), targets, names of the classes, and the folder they come from."""
        raise NotImplementedError


def is_litter(name: str) -> bool:
    """Recognize files and folders that are hidden, or that systems and editors leave behind: never data."""
    return name.startswith(".") or name.lower() in _LITTER


def list_pictures(folder: str | os.PathLike) -> list[str]:
    """List the pictures below a folder at any depth, as paths relative to it with ``/``.

    Sorted by folder, then by name. Links to folders are followed, each once; folders that cannot be read are warned of.
    """

    def skip(error: OSError) -> None:
        if os.path.exists(error.filename):
            warnings.warn(f"{one_line(error)}; the pictures in this folder are left out", stacklevel=3)

    found, seen, starts = [], set(), [os.fspath(folder)]
    for start in starts:  # links to folders are added to them
        for place, folders, names in os.walk(start, onerror=skip):
            if (same := os.stat(place)[1:3]) in seen:  # inode and device
                folders.clear()
                continue
            seen.add(same)
            folders[:] = sorted(name for name in folders if not is_litter(name))
            starts += [link for name in folders if os.path.islink(link := os.path.join(place, name))]
            below = os.path.relpath(place, folder).replace(os.sep, "/").removeprefix(".")
            found += [(below, name) for name in names if name.lower().endswith(PICTURES) and not is_litter(name)]
    return [f"{below}/{name}".lstrip("/") for below, name in sorted(found)]
