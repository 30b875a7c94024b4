"""Data sets that are fetched or placed by hand; those of the paper are lists of photographs beside their files."""

import os
from abc import abstractmethod
from pathlib import Path

from ..datasets.source import Source
from ..files import cause, not_found, resolve
from .archives import Download, fetch, remove_leftovers, unpack


class Fetched(Source):
    """A data set whose files are fetched into a folder below the root, or placed there by hand."""

    name = ""  # in messages
    below = ""  # the folder

    @classmethod
    @abstractmethod
    def files(cls, root: Path, split: str) -> list[Path]:
        """List the files or folders that a split is read from; none unless all are there."""

    @classmethod
    def places(cls, root: Path) -> list[Path]:
        """List the folders that are looked in."""
        return [root / cls.below]

    @classmethod
    def needs(cls, split: str) -> tuple[Download, ...]:
        """List what must be fetched for a split."""
        return cls.downloads

    @classmethod
    def find(cls, root: str | os.PathLike | None = None) -> list[Path]:
        """List the files or folders of all splits."""
        return list(dict.fromkeys(path for split in cls.splits for path in cls.files(resolve(root), split)))

    @classmethod
    def locate(cls, root: Path, split: str, download: bool) -> list[Path]:
        """List the files or folders of a split, after fetching them if told to; FileNotFoundError if there are none."""
        if download and not cls.files(root, split):
            for file in cls.needs(split):
                fetch(file, root / cls.below)
        if not (found := cls.files(root, split)):
            what = f"{cls.name} ({', '.join(file.name for file in cls.needs(split))})"
            size = sum(file.size or 0 for file in cls.needs(split)) / 1e6
            size = f"{size / 1e3:.1f} GB" if size > 1e3 else f"{size:.0f} MB"
            remedy = f"Pass download=True (or --download; {size}), or do it by hand: {cls.by_hand.format(root=root)}"
            raise not_found(what, cls.places(root), remedy)
        return found


class Photos(Fetched):
    """A data set of photographs, and the lists of them that come with it.

    A subclass says which archives unpack to its folder (``archives``), by which file this is known (``mark``), and how
    to read its lists (``listing``). An unpacked folder is used as it is; an archive in `root`, placed by hand or
    fetched, is unpacked next to itself, once.
    """

    in_files = True
    licence = "non-commercial research and teaching"
    archives: dict[str, str] = {}  # noqa: RUF012 - file -> the folder it unpacks to, "" if it is no archive
    mark = ""  # a file by which this folder is known
    most = 0  # bytes that an archive may unpack to

    @classmethod
    def folders(cls, root: Path) -> list[Path]:
        """List the folders that may hold the data set, best first."""
        top = next(iter(cls.archives.values()))
        return [place for place in places_of(root, top) if (place / cls.mark).is_file()]

    @staticmethod
    @abstractmethod
    def listing(folder: Path, split: str) -> tuple[list[tuple[str, int]], dict[int, str]]:
        """Read (path below the folder, class id) of each image of a split, and the names of classes by their ids."""

    @classmethod
    def files(cls, root: Path, split: str) -> list[Path]:
        """List the folder, or else the archives that it would be unpacked from."""
        archives = [root / file for file in cls.archives]
        return cls.folders(root)[:1] or (archives if all(file.exists() for file in archives) else [])

    @classmethod
    def count(cls, root: str | os.PathLike | None = None) -> dict[str, tuple[int, int]]:
        """Count the classes and the images of each split; reads the lists only, and unpacks nothing."""
        contents = {
            split: cls.check(folder, split) for folder in cls.folders(resolve(root))[:1] for split in cls.splits
        }
        return {split: (len(classes), len(paths)) for split, (paths, _, classes) in contents.items()}

    @classmethod
    def read(cls, root: str | os.PathLike | None, split: str, download: bool) -> tuple:
        """List the photographs of a split; unpack the archives if all are there, fetch them if told to."""
        root = resolve(root)
        cls.locate(root, split, download)
        if not cls.folders(root):
            for file, top in cls.archives.items():
                if not (root / top).exists():
                    unpack(root / file, root, top, cls.most)
        remove_leftovers(root, cls.downloads)
        folder = next(iter(cls.folders(root)), root)
        return *cls.check(folder, split), str(folder)

    @classmethod
    def check(cls, folder: Path, split: str) -> tuple[list[str], list[int], list[str]]:
        """Read the lists, and compare them with the protocol and with the files; OSError if they do not agree.

        Returns the path of each image below the folder, the number of its class (from 0 in the order of the ids), and
        the names of the classes.
        """
        remedy = "unpack the archive again"
        try:
            rows, names = cls.listing(folder, split)
            number = {label: i for i, label in enumerate(sorted({label for _, label in rows}))}
            classes = [names[label] for label in number]
        except Exception as error:  # scipy and csv raise many kinds
            raise OSError(f"{cls.name}: the lists in {folder} cannot be read ({cause(error)}): {remedy}") from error
        expected = cls.counts[split]
        if (len(classes), len(rows)) != expected:
            raise OSError(
                f"{cls.name}: {folder} lists {len(rows):,} {split} images of {len(classes):,} classes, "
                f"expected {expected[1]:,} of {expected[0]:,}: {remedy}"
            )
        # Some programs unpack a folder into one of the same name.
        tops = {path.partition("/")[0] for path, _ in rows}
        twice = {top for top in tops if os.path.isdir(os.path.join(folder, top, top))}
        paths = [f"{top}/{path}" if (top := path.partition("/")[0]) in twice else path for path, _ in rows]
        if gone := [path for path in paths if not _is_below(folder, path)]:
            raise OSError(
                f"{cls.name}: {len(gone):,} of {len(rows):,} {split} images are not in {folder}, such as {gone[0]}: "
                f"{remedy}"
            )
        return paths, [number[label] for _, label in rows], classes


def places_of(root: Path, name: str) -> list[Path]:
    """List where the content of a folder of an archive may be: in it, in one of its name inside it, or without it."""
    return [root / name, root / name / name, root]


def read_lines(file: Path) -> list[str]:
    """Read the lines of a list that are not empty; editors may have put a byte-order mark before the first."""
    return [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _is_below(folder: Path, path: str) -> bool:
    """Tell whether a path from a list is that of a file below the folder."""
    return not os.path.isabs(path) and ".." not in path.split("/") and os.path.isfile(os.path.join(folder, path))
