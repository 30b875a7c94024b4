"""A folder of one's own pictures: ``class/image.jpg``."""

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS, is_image_file
from torchvision.datasets.utils import verify_str_arg

from ..files import files_digest, missing
from .base import KS, open_image

_PARTS = {"train", "test", "val", "valid", "validation"}  # folders of these names are parts, not classes


class Folder(ImageFolder):
    """The pictures of a folder, whose subfolders are the classes; the first half of the classes is ``train``.

    Classes are sorted by name; of an odd number, ``train`` has one more. Pictures may lie deeper in a class's folder.
    Hidden files and folders are skipped. Each picture is read when asked for, as upright RGB of its own size: the
    transform must bring them to one size before they can form a batch.

    Parameters
    ----------
    root : path
        The folder: ``root/class/picture.jpg`` (or .png, .webp, ... in upper or lower case).
    split : {"train", "test", "all"}
    transform, target_transform : callable, optional
        Applied to the PIL image and to the target.
    download
        Not used: there is nothing to fetch.

    Attributes
    ----------
    samples : list of (str, int)
        Path and target of each picture.
    targets : list of int
    classes : list of str
    fingerprint : str
        12 hexadecimal digits of the pictures' names, sizes in bytes and targets.

    Raises
    ------
    FileNotFoundError
        If the folder is missing, has no class folders or one without pictures.
    ValueError
        If there are too few classes to split, or the subfolders are parts (train, test) instead of classes.
    OSError
        On access, if a picture cannot be read.
    """

    splits = ("train", "test", "all")
    licence = "your own"
    source = "your own pictures"
    downloads = ()
    ks: tuple[int, ...] = KS
    by_hand = "Make a folder for each class, put its pictures there, and give the folder of these as folder:PATH."

    def __init__(
        self,
        root: str | os.PathLike | None = None,
        split: str = "test",
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        self.split = verify_str_arg(split, "split", self.splits)
        super().__init__(
            self._check(root),
            transform=transform,
            target_transform=target_transform,
            loader=open_image,
            is_valid_file=_is_picture,
            allow_empty=True,
        )
        empty = sorted(set(range(len(self.classes))) - set(self.targets))
        if empty:
            raise missing(
                f"pictures ({', '.join(extension[1:] for extension in IMG_EXTENSIONS)})",
                [Path(self.root) / self.classes[number] for number in empty[:3]] + ["..."] * (len(empty) > 3),
                "Add some or remove the folder.",
            )

    @staticmethod
    def _check(root: str | os.PathLike | None) -> str:
        if root is None:
            raise ValueError("a folder data set needs a path: folder:PATH, where PATH holds class/image.jpg")
        path = Path(root).expanduser()
        if not path.is_dir():
            reason = "is a file, not a folder" if path.exists() else "does not exist"
            raise FileNotFoundError(f"{path} {reason}: give a folder that holds class/image.jpg")
        return str(path)

    def find_classes(self, directory: str | os.PathLike) -> tuple[list[str], dict[str, int]]:
        """Return the classes of the split and their numbers; torchvision calls it."""
        names = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
        names = [name for name in names if not name.startswith((".", "__"))]
        if not names:
            raise missing("class folders", [directory], "Put each class's pictures in a folder of its own there.")
        if _PARTS.issuperset(name.lower() for name in names):
            raise ValueError(f"{directory} holds {' and '.join(names)}, not classes: give {Path(directory) / names[0]}")
        if self.split != "all":
            if len(names) < 2:
                raise ValueError(
                    f"{directory} holds one class only ({names[0]}): train and test need at least one each; "
                    "add a class folder or load split='all'"
                )
            middle = (len(names) + 1) // 2
            names = names[:middle] if self.split == "train" else names[middle:]
        return names, {name: number for number, name in enumerate(names)}

    def extra_repr(self) -> str:
        """Return what ``repr`` adds; torchvision calls it."""
        return f"Number of classes: {len(self.classes)}\nSplit: {self.split}"

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of the pictures' names, sizes in bytes and targets."""
        return files_digest(self.root, self.samples)

    @classmethod
    def find(cls, root: str | os.PathLike | None = None) -> list[Path]:
        """Return the folder, if it is there."""
        return [Path(cls._check(root))]

    @classmethod
    def count(cls, root: str | os.PathLike | None = None) -> dict[str, tuple[int, int]]:
        """Return the number of classes and of images of each split."""
        parts = {split: cls(root, split) for split in cls.splits}
        return {split: (len(part.classes), len(part)) for split, part in parts.items()}


def _is_picture(path: str) -> bool:
    return is_image_file(path) and not os.path.basename(path).startswith(".")
