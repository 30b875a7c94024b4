"""A folder of one's own pictures: ``class/image.jpg``."""

import os
from pathlib import Path

from ..files import PICTURES, not_found, resolve
from .source import Source, is_litter, list_pictures

_PARTS = {"train", "test", "val", "valid", "validation"}  # folders of these names are parts, not classes


class Folder(Source):
    """The pictures of a folder, whose subfolders are the classes; the first half of the classes is ``train``.

    ``root/class/picture.jpg`` (or .png, .webp, ...); pictures may lie deeper in the folder of a class. Classes are
    sorted by name; of an odd number, ``train`` has one more; split ``all`` has them all. Hidden files and folders are
    skipped. Pictures keep their own size: the transform must bring them to one size before they can form a batch.
    See :class:`sstutils.datasets.source.Source` for parameters.
    """

    splits = ("train", "test", "all")
    in_files = True
    licence = "your own"
    source = "your own pictures"
    by_hand = "Make a folder for each class, put its pictures there, and give the folder of these as folder:PATH."

    @classmethod
    def find(cls, root: str | os.PathLike | None = None) -> list[Path]:
        """Check the folder; FileNotFoundError if it is not there, ValueError if none is given."""
        if root is None:
            raise ValueError("a folder data set needs a path: folder:PATH, where PATH holds class/image.jpg")
        path = resolve(root)
        if not path.is_dir():
            reason = "is a file, not a folder" if path.exists() else "does not exist"
            raise FileNotFoundError(f"{path} {reason}: give a folder that holds class/image.jpg")
        return [path]

    @classmethod
    def read(cls, root: str | os.PathLike | None, split: str, download: bool) -> tuple:
        """List the pictures of the classes of a split; classes are sorted by name."""
        (folder,) = cls.find(root)
        pictures: dict[str, list[str]] = {}
        for path in list_pictures(folder):
            name, _, inside = path.partition("/")
            if inside:
                pictures.setdefault(name, []).append(path)
        # A link to a folder that is listed already has no pictures of its own, and is no class.
        folders = [name for name in os.listdir(folder) if os.path.isdir(folder / name) and not is_litter(name)]
        names = sorted(name for name in folders if name in pictures or not os.path.islink(folder / name))
        if not names:
            raise not_found("class folders", [folder], "Put each class's pictures in a folder of its own there.")
        if _PARTS.issuperset(name.lower() for name in names):
            raise ValueError(f"{folder} holds {' and '.join(names)}, not classes: give {folder / names[0]}")
        if split != "all" and len(names) < 2:
            remedy = "train and test need at least one each; add a class folder or load split='all'"
            raise ValueError(f"{folder} holds one class only ({names[0]}): {remedy}")
        middle = (len(names) + 1) // 2
        classes = {"train": names[:middle], "test": names[middle:], "all": names}[split]
        if empty := [folder / name for name in names if name not in pictures]:
            what = f"pictures ({', '.join(ending[1:] for ending in PICTURES)})"
            places = [*empty[:3], *["..."] * (len(empty) > 3)]
            raise not_found(what, places, "Add or convert some, or move the folder elsewhere.")
        targets = [number for number, name in enumerate(classes) for _ in pictures[name]]
        return [path for name in classes for path in pictures[name]], targets, classes, str(folder)
