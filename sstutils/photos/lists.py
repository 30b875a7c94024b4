"""What the three data sets of the paper share: an archive, lists of photographs in files, and splits of known size."""

from __future__ import annotations

import os
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..datasets.source import Source
from ..files import not_found, one_line, resolve
from .archives import fetch, unpack


class Listing(NamedTuple):
    """What a split holds: paths of images below the folder, their class numbers from 0, the names of the classes."""

    paths: list[str]
    targets: list[int]
    classes: list[str]


def number_classes(rows: list[tuple[str, int]], names: dict[int, str]) -> Listing:
    """Give the classes of (path, class id) numbers from 0, in the order of their ids."""
    number = {label: i for i, label in enumerate(sorted({label for _, label in rows}))}
    classes = [names[label] for label in number]
    return Listing([path for path, _ in rows], [number[label] for _, label in rows], classes)


class PhotoSource(Source):
    """Facts and lists of a data set of photographs.

    A subclass says where its folder may lie (``folders``), which archives unpack to it (``archives``) and how to read
    its lists (``listing``). An unpacked folder is used as it is; an archive in `root`, placed by hand or fetched, is
    unpacked next to itself, once.
    """

    licence = "non-commercial research and teaching"
    name = ""  # in messages
    archives: dict[str, str] = {}  # noqa: RUF012 - file -> the folder it unpacks to, "" if it is no archive
    most = 0  # bytes that an archive may unpack to

    @staticmethod
    @abstractmethod
    def folders(root: Path) -> list[Path]:
        """List the folders that may hold the data set, best first."""

    @staticmethod
    @abstractmethod
    def listing(folder: Path, split: str) -> Listing:
        """Read the lists of a folder; KeyError, ValueError or OSError if they are not what they should be."""

    @classmethod
    def find(cls, root: str | os.PathLike | None = None) -> list[Path]:
        """List the folder, or else the files that it would be unpacked from."""
        root = resolve(root)
        files = [root / file for file in cls.archives]
        return cls.folders(root)[:1] or (files if all(file.exists() for file in files) else [])

    @classmethod
    def count(cls, root: str | os.PathLike | None = None) -> dict[str, tuple[int, int]]:
        """Count the classes and the images of each split; reads the lists only, and unpacks nothing."""
        listings = {s: cls.check(folder, s) for folder in cls.folders(resolve(root))[:1] for s in cls.splits}
        return {split: (len(listing.classes), len(listing.paths)) for split, listing in listings.items()}

    @classmethod
    def read(cls, root: str | os.PathLike | None, split: str, download: bool) -> tuple:
        """List the photographs of a split; unpack the archives if all are there, fetch them if told to."""
        root = resolve(root)
        if download and not cls.find(root):
            for file in cls.downloads:
                fetch(file, root)
        if not cls.find(root):
            size = sum(file.size or 0 for file in cls.downloads) / 1e9
            by_hand = cls.by_hand.format(root=root)
            remedy = f"Pass download=True (or --download; {size:.1f} GB), or do it by hand: {by_hand}"
            raise not_found(cls.name, [root], remedy)
        if not cls.folders(root):
            for file, top in cls.archives.items():
                if not (root / top).exists():
                    unpack(root / file, root, top, cls.most)
        folder = next(iter(cls.folders(root)), root)
        return *cls.check(folder, split), str(folder)

    @classmethod
    def check(cls, folder: Path, split: str) -> Listing:
        """Read the lists, and compare them with the protocol and with the files.

        Raises
        ------
        OSError
            If the lists cannot be read, are not as long as the protocol says, or name files that are not there.
        """
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
        if gone := missing_files(folder, listing.paths):
            raise OSError(
                f"{cls.name}: {len(gone):,} of {found[1]:,} {split} images are not in {folder}, such as {gone[0]}: "
                "unpack the archive again"
            )
        return listing


def missing_files(folder: Path, paths: list[str]) -> list[str]:
    """List those paths that are no files below the folder; each folder is looked through once."""
    names: dict[str, set[str]] = {}
    for place in {os.path.dirname(path) for path in paths}:
        names[place] = set()
        if not os.path.isabs(place) and ".." not in Path(place).parts:
            with suppress(OSError, ValueError), os.scandir(folder / place) as entries:  # ValueError: a null byte
                names[place] = {entry.name for entry in entries if entry.is_file()}
    return [path for path in paths if os.path.basename(path) not in names[os.path.dirname(path)]]
