"""Omniglot: characters of 50 alphabets, each drawn by 20 people."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision import datasets
from torchvision.datasets.utils import verify_str_arg

from ..files import cached_arrays, digest, missing, one_line, resolve
from ..photos.archives import Download, fetch
from .base import ArrayDataset, decode_image

SIDE = 32  # pixels
PARTS = {"train": "images_background", "test": "images_evaluation"}
SIZES = {"train": 9_464_212, "test": 6_462_886}


class Omniglot(ArrayDataset):
    """Handwritten characters, black on white: the background alphabets are ``train``, the evaluation ones ``test``.

    964 characters of 30 alphabets (19,280 images) and 659 of 20 other ones (13,180), each drawn by 20 people. The
    105x105 drawings are reduced to 32x32 RGB (antialiased), once: the result is cached in `root`.

    Parameters
    ----------
    root : path, optional
        Folder with torchvision's ``omniglot-py/images_background.zip`` and ``images_evaluation.zip``, or the folders
        that these unpack to; :func:`sstutils.datasets.root` by default.
    split : {"train", "test"}
    transform, target_transform : callable, optional
        Applied to the PIL image and to the target.
    download : bool
        Fetch the archive of the split (9 or 6 MB) into ``root/omniglot-py`` if it is not there.

    Raises
    ------
    FileNotFoundError
        If the files are not there.
    OSError
        If they cannot be read.

    References
    ----------
    B. M. Lake, R. Salakhutdinov and J. B. Tenenbaum (2015). Human-level concept learning through probabilistic program
    induction. Science 350(6266), 1332-1338.
    """

    licence = "MIT"
    source = "https://github.com/brendenlake/omniglot"
    downloads = tuple(
        Download(
            f"{part}.zip",
            SIZES[split],
            datasets.Omniglot.zips_md5[part],
            (f"{datasets.Omniglot.download_url_prefix}/{part}.zip",),
        )
        for split, part in PARTS.items()
    )
    by_hand = "Place images_background.zip and images_evaluation.zip in {root}/omniglot-py."

    def __init__(
        self,
        root: str | os.PathLike | None = None,
        split: str = "test",
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        verify_str_arg(split, "split", self.splits)
        root = resolve(root)
        folder = root / "omniglot-py"
        if download and _place(root, split) is None:
            fetch(self.downloads[self.splits.index(split)], folder)
        place = _place(root, split)
        if place is None:
            size = round(SIZES[split] / 1e6)
            raise missing(
                f"Omniglot's {split} part ({PARTS[split]}.zip)",
                [folder],
                f"Pass download=True ({size} MB) or do it by hand: {self.by_hand.format(root=root)}",
            )
        drawings = _drawings(place)
        # Named after the drawings: other files get another cache.
        key = digest("\n".join(f"{name} {stamp}" for name, stamp in drawings))
        cache = cached_arrays(root / f"omniglot-{split}-{key}.npz", lambda: _read(place, drawings))
        super().__init__(
            cache["data"],
            cache["targets"],
            cache["classes"].tolist(),
            root=root,
            transform=transform,
            target_transform=target_transform,
        )
        self.split = split

    @classmethod
    def find(cls, root: str | os.PathLike | None = None) -> list[Path]:
        """Return the archives or folders that are there, and the caches made of them."""
        places = [_place(resolve(root), split) for split in cls.splits]
        return [place for place in places if place is not None] + super().find(root)

    @classmethod
    def count(cls, root: str | os.PathLike | None = None) -> dict[str, tuple[int, int]]:
        """Return the number of classes and of images of each split that is there; reads the names only."""
        counts = {}
        for split in cls.splits:
            if (place := _place(resolve(root), split)) is not None:
                drawings = _drawings(place)
                counts[split] = len({_character(name) for name, _ in drawings}), len(drawings)
        return counts


def _place(root: Path, split: str) -> Path | None:
    """Return the archive of a split, or the folder that it unpacks to; None if neither is there."""
    for path in (root / "omniglot-py" / f"{PARTS[split]}.zip", root / "omniglot-py" / PARTS[split]):
        if path.exists():
            return path
    return None


def _drawings(place: Path) -> list[tuple[str, int]]:
    """Return the name (``alphabet/character/file.png``) and checksum, or in a folder size, of each drawing, sorted."""
    try:
        if place.is_dir():
            names = [(path.relative_to(place).as_posix(), path.stat().st_size) for path in place.glob("*/*/*.png")]
        else:
            with zipfile.ZipFile(place) as archive:
                inside = [entry for entry in archive.infolist() if entry.filename.endswith(".png")]
            names = [(entry.filename.split("/", 1)[1], entry.CRC) for entry in inside]
    except (OSError, zipfile.BadZipFile, IndexError) as error:
        raise OSError(f"{place} cannot be read ({error}): delete it and fetch it again") from error
    if not names:
        raise OSError(f"{place} holds no drawings (alphabet/character/*.png): delete it and fetch it again")
    return sorted(names)


def _character(name: str) -> str:
    """Return ``alphabet/character`` of a drawing's name."""
    return name.rpartition("/")[0]


def _read(place: Path, drawings: list[tuple[str, int]]) -> dict[str, np.ndarray]:
    """Read all drawings, reduced to 32x32."""
    classes = sorted({_character(name) for name, _ in drawings})
    number = {name: i for i, name in enumerate(classes)}
    data = np.empty((len(drawings), SIDE, SIDE, 3), np.uint8)
    archive = None if place.is_dir() else zipfile.ZipFile(place)
    for i, (name, _) in enumerate(drawings):
        try:
            with archive.open(f"{place.stem}/{name}") if archive else open(place / name, "rb") as file:
                image = decode_image(file).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        except Exception as error:  # PIL and zipfile raise many kinds
            message = f"{place}: {name} cannot be read ({one_line(error)}): delete {place} and fetch it again"
            raise OSError(message) from error
        data[i] = np.asarray(image)[..., None]
    if archive:
        archive.close()
    targets = np.array([number[_character(name)] for name, _ in drawings], dtype=np.int64)
    return {"data": data, "targets": targets, "classes": np.array(classes)}
