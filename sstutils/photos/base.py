"""What the three data sets of the paper share: photographs in files, an archive, and splits of known size."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from torchvision.datasets.utils import verify_str_arg
from torchvision.datasets.vision import VisionDataset

from ..datasets.base import KS, open_image, transformed
from ..files import files_digest, missing, one_line, resolve
from .archives import Download, fetch, unpack


class Listing(NamedTuple):
    """What a split holds: paths of images below the folder, their class numbers from 0, the names of the classes."""

    paths: list[str]
    targets: list[int]
    classes: list[str]


class Photos(VisionDataset):
    """Photographs in files, read when they are asked for, as upright RGB of their own size.

    A subclass tells where its folder may lie (``folders``), which archives unpack to it (``archives``) and how to read
    its lists (``listing``). An unpacked folder is used as it is; an archive in `root`, placed by hand or fetched, is
    unpacked beside itself, once.

    Parameters
    ----------
    root : path, optional
        Folder with the archive or with what it unpacks to; :func:`sstutils.datasets.root` by default.
    split : {"train", "test"}
        The classes are disjoint.
    transform, target_transform : callable, optional
        Applied to the PIL image and to the target.
    download : bool
        Fetch the archive into `root` if nothing is there. The data are for non-commercial research and teaching.

    Attributes
    ----------
    samples : list of (str, int)
        Path and target of each image, in the order of the data set's own lists.
    targets : list of int
    classes : list of str
    fingerprint : str
        12 hexadecimal digits of the images' names, sizes in bytes and targets.

    Raises
    ------
    FileNotFoundError
        If the files are not there.
    OSError
        If they are damaged, or are not as many as the paper's protocol says; on access, if an image cannot be read.
    """

    splits = ("train", "test")
    licence = "non-commercial research and teaching"
    source = ""
    downloads: tuple[Download, ...] = ()
    by_hand = ""
    name = ""  # in messages
    archives: dict[str, str] = {}  # noqa: RUF012 - file -> the folder it unpacks to, "" if it is no archive
    most = 0  # bytes that an archive may unpack to
    counts: dict[str, tuple[int, int]] = {}  # noqa: RUF012 - split -> classes, images
    ks: tuple[int, ...] = KS  # at which the literature reports Recall@K

    def __init__(
        self,
        root: str | os.PathLike | None = None,
        split: str = "test",
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        self.split = verify_str_arg(split, "split", self.splits)
        root = resolve(root)
        folder = self._folder(root) or self._unpacked(root)
        if folder is None and download:
            for file in self.downloads:
                fetch(file, root)
            folder = self._folder(root) or self._unpacked(root)
        if folder is None:
            size = sum(file.size or 0 for file in self.downloads) / 1e9
            by_hand = self.by_hand.format(root=root)
            remedy = f"Pass download=True (or --download; {size:.1f} GB), or do it by hand: {by_hand}"
            raise missing(self.name, [root], remedy)
        super().__init__(folder, transform=transform, target_transform=target_transform)
        paths, self.targets, self.classes = self._checked(folder, split)
        self.samples = [(str(folder / path), target) for path, target in zip(paths, self.targets, strict=True)]

    @staticmethod
    @abstractmethod
    def folders(root: Path) -> list[Path]:
        """Return the folders that may hold the data set, best first."""

    @staticmethod
    @abstractmethod
    def listing(folder: Path, split: str) -> Listing:
        """Read the lists of a folder; KeyError, ValueError or OSError if they are not what they should be."""

    @classmethod
    def _folder(cls, root: Path) -> Path | None:
        return next(iter(cls.folders(root)), None)

    @classmethod
    def _unpacked(cls, root: Path) -> Path | None:
        """Unpack the archives, if all are there."""
        if not all((root / file).exists() for file in cls.archives):
            return None
        for file, top in cls.archives.items():
            if not (root / top).exists():
                unpack(root / file, root, top, cls.most)
        return cls._folder(root)

    @classmethod
    def _checked(cls, folder: Path, split: str) -> Listing:
        """Read the lists, and compare them with the protocol and with the files."""
        try:
            listing = cls.listing(folder, split)
        except Exception as error:  # scipy and csv raise many kinds
            message = f"{cls.name}: the lists in {folder} cannot be read ({one_line(error)}): unpack the archive again"
            raise OSError(message) from error
        found, expected = (len(listing.classes), len(listing.paths)), cls.counts[split]
        if found != expected:
            raise OSError(
                f"{cls.name}: {folder} lists {found[1]:,} {split} images of {found[0]:,} classes, "
                f"expected {expected[1]:,} of {expected[0]:,}: unpack the archive again"
            )
        gone = _gone(folder, listing.paths)
        if gone:
            raise OSError(
                f"{cls.name}: {len(gone):,} of {found[1]:,} {split} images are not in {folder}, such as {gone[0]}: "
                "unpack the archive again"
            )
        return listing

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple:
        """Return (PIL image, target) of one item, both through their transforms."""
        path, target = self.samples[index]
        image = open_image(path)
        return transformed(self, image, target)

    def extra_repr(self) -> str:
        """Return what ``repr`` adds; torchvision calls it."""
        return f"Number of classes: {len(self.classes)}\nSplit: {self.split}"

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of the images' names, sizes in bytes and targets."""
        return files_digest(self.root, self.samples)

    @classmethod
    def find(cls, root: str | os.PathLike | None = None) -> list[Path]:
        """Return the folder, or else the files that it would be unpacked from; none: an empty list."""
        root = resolve(root)
        if (folder := cls._folder(root)) is not None:
            return [folder]
        files = [root / file for file in cls.archives]
        return files if all(file.exists() for file in files) else []

    @classmethod
    def count(cls, root: str | os.PathLike | None = None) -> dict[str, tuple[int, int]]:
        """Return the number of classes and of images of each split; reads the lists only, and unpacks nothing."""
        folder = cls._folder(resolve(root))
        if folder is None:
            return {}
        listings = {split: cls._checked(folder, split) for split in cls.splits}
        return {split: (len(listing.classes), len(listing.paths)) for split, listing in listings.items()}


def _gone(folder: Path, paths: list[str]) -> list[str]:
    """Return those paths that are no files below the folder; each folder is looked through once."""
    names: dict[str, set[str]] = {}
    gone = []
    for path in paths:
        place, name = os.path.split(path)
        if place not in names:
            names[place] = set()
            if not os.path.isabs(place) and ".." not in Path(place).parts:
                with suppress(OSError, ValueError), os.scandir(folder / place) as entries:  # ValueError: a null byte
                    names[place] = {entry.name for entry in entries if entry.is_file()}
        if name not in names[place]:
            gone.append(path)
    return gone
