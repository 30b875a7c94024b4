"""Omniglot: characters of 50 alphabets, each drawn by 20 people."""

import os
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from ..datasets.images import decode_image
from ..datasets.source import is_litter, list_pictures
from ..files import cached_arrays, cause, digest, resolve
from .archives import Download, open_zip, remove_leftovers
from .lists import Fetched

SIDE = 32  # pixels
PARTS = {"train": "images_background", "test": "images_evaluation"}


class Omniglot(Fetched):
    """Handwritten characters, black on white: the background alphabets are ``train``, the evaluation ones ``test``.

    964 characters of 30 alphabets (19,280 images) and 659 of 20 other ones (13,180), each drawn by 20 people. The
    105x105 drawings are reduced to 32x32 RGB (antialiased), once: the result is cached in `root`.

    `root` is searched for ``omniglot-py/images_background.zip`` and ``images_evaluation.zip``, or the folders that
    these unpack to. See :class:`sstutils.datasets.source.Source` for parameters.

    References
    ----------
    B. M. Lake, R. Salakhutdinov and J. B. Tenenbaum (2015). Human-level concept learning through probabilistic program
    induction. Science 350(6266), 1332-1338.
    """

    # torchvision's own reader is not used: it takes archives of one checksum only (not those that were packed again),
    # unpacks them to 32,460 files, and numbers the classes in the order in which the disk lists them.
    name = "Omniglot"
    below = "omniglot-py"
    licence = "MIT"
    source = "https://github.com/brendenlake/omniglot"
    downloads = tuple(
        Download(name, size, md5, (f"https://raw.githubusercontent.com/brendenlake/omniglot/master/python/{name}",))
        for name, size, md5 in (
            ("images_background.zip", 9_464_212, "68d2efa1b9178cc56df9314c21c6e718"),
            ("images_evaluation.zip", 6_462_886, "6b91aef0f799c5bb55b94e3f2daec811"),
        )
    )
    by_hand = "Place images_background.zip and images_evaluation.zip in {root}/omniglot-py."

    @classmethod
    def files(cls, root: Path, split: str) -> list[Path]:
        """List the archive of a split, or the folder that it unpacks to."""
        places = (root / cls.below / f"{PARTS[split]}.zip", root / cls.below / PARTS[split])
        return [path for path in places if path.exists()][:1]

    @classmethod
    def needs(cls, split: str) -> tuple[Download, ...]:
        """List the archive of a split."""
        return (cls.downloads[cls.splits.index(split)],)

    @classmethod
    def find(cls, root: str | os.PathLike | None = None) -> list[Path]:
        """List the archives or folders that are there, and the caches made of them."""
        return super().find(root) + sorted(resolve(root).glob("omniglot*.npz"))

    @classmethod
    def count(cls, root: str | os.PathLike | None = None) -> dict[str, tuple[int, int]]:
        """Count the classes and the images of each split that is there; reads the names only."""
        listed = {split: _drawings(place) for split in cls.splits for place in cls.files(resolve(root), split)}
        return {split: (len({_character(name) for name in names}), len(names)) for split, names in listed.items()}

    @classmethod
    def read(cls, root: str | os.PathLike | None, split: str, download: bool) -> tuple:
        """Read the drawings of a split, reduced from 105x105 to 32x32 (antialiased), or take them from the cache."""
        root = resolve(root)
        (place,) = cls.locate(root, split, download)
        remove_leftovers(root / cls.below, cls.needs(split))
        drawings = _drawings(place)
        # Named after the drawings: other files get another cache.
        key = digest("\n".join(f"{name} {stamp}" for name, (_, stamp) in drawings.items()))
        cache = cached_arrays(root / f"omniglot-{split}-{key}.npz", lambda: _read(place, drawings))
        return cache["data"], cache["targets"], cache["classes"], root


def _drawings(place: Path) -> dict[str, tuple[str, int]]:
    """List the drawings in their order: ``alphabet/character/file.png`` -> path within the place; checksum, or size."""
    if place.is_dir():
        found = [(path, (place / path).stat().st_size) for path in list_pictures(place)]
    else:
        with open_zip(place) as archive:
            found = [(entry.filename, entry.CRC) for entry in archive.infolist()]
        found = [(path, check) for path, check in found if place.stem in path.split("/")[:-3]]
    drawings = {
        "/".join(path.split("/")[-3:]): (path, stamp)
        for path, stamp in sorted(found)
        if path.count("/") >= 2 and path.endswith(".png") and not any(map(is_litter, path.split("/")))
    }
    if not drawings:
        raise OSError(f"{place} holds no drawings (alphabet/character/*.png): replace it with an intact copy")
    return drawings


def _character(name: str) -> str:
    """Cut a drawing's name to ``alphabet/character``."""
    return name.rpartition("/")[0]


def _read(place: Path, drawings: dict[str, tuple[str, int]]) -> dict[str, np.ndarray]:
    """Read all drawings, reduced to 32x32."""
    classes = sorted({_character(name) for name in drawings})
    number = {name: i for i, name in enumerate(classes)}
    data = np.empty((len(drawings), SIDE, SIDE, 3), np.uint8)
    folder = place if place.is_dir() else zipfile.Path(open_zip(place))
    for i, (path, _) in enumerate(drawings.values()):
        try:
            with (folder / path).open("rb") as file:
                image = decode_image(file).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        except Exception as error:  # PIL and zipfile raise many kinds
            message = f"{place}: {path} cannot be read ({cause(error)}): replace {place} with an intact copy"
            raise OSError(message) from error
        data[i] = np.asarray(image)[..., None]
    targets = np.array([number[_character(name)] for name in drawings], dtype=np.int64)
    return {"data": data, "targets": targets, "classes": np.array(classes)}
