"""CARS196: photographs of 196 models of cars, in the layouts that are still to be found."""

import csv
from collections.abc import Iterator
from pathlib import Path

from ..datasets.source import list_pictures
from .archives import Download
from .lists import Photos, places_of, read_lines
from .mat import read_mat

_ORIGINAL = "http://ai.stanford.edu/~jkrause/car196"


class Cars196(Photos):
    """Stanford Cars: the first 98 models are ``train`` (8,054 images), the others ``test`` (8,131).

    The original site is gone, so that three layouts are read: the original one (``car_ims/`` with ``cars_annos.mat``),
    torchvision's (``stanford_cars/cars_train``, ``cars_test`` and ``devkit``) and class folders
    (``car_data/car_data/train/MODEL/*.jpg``). Whatever part an image came from, its model decides the split.
    See :class:`sstutils.datasets.source.Source` for parameters, :class:`sstutils.datasets.base.FileDataset` for
    attributes. The data are for non-commercial research and teaching.

    References
    ----------
    J. Krause, M. Stark, J. Deng and L. Fei-Fei (2013). 3D object representations for fine-grained categorization. ICCV
    workshop on 3D representation and recognition.
    """

    name = "CARS196"
    source = "J. Krause et al. (2013); the original site is gone"
    downloads = (
        Download("car_ims.tgz", 1_960_000_000, "d5c8f0aa497503f355e17dc7886c3f14", (f"{_ORIGINAL}/car_ims.tgz",)),
        Download("cars_annos.mat", None, "b407c6086d669747186bd1d764ff9dbc", (f"{_ORIGINAL}/cars_annos.mat",)),
    )
    by_hand = (
        "Place car_ims.tgz and cars_annos.mat in {root}; or torchvision's StanfordCars as {root}/stanford_cars; or the "
        "class folders as {root}/car_data."
    )
    archives = {"car_ims.tgz": "car_ims", "cars_annos.mat": ""}  # noqa: RUF012
    most = 6_000_000_000
    counts = {"train": (98, 8_054), "test": (98, 8_131)}  # noqa: RUF012

    @staticmethod
    def folders(root: Path) -> list[Path]:
        """List the folders that hold one of the layouts."""
        original = [root] if (root / "car_ims").is_dir() and (root / "cars_annos.mat").is_file() else []
        torchvision = [place for place in places_of(root, "stanford_cars") if list(_devkit(place))]
        by_class = [place for place in places_of(root, "car_data") if any(place.glob("train/**/*.jpg"))]
        return original + torchvision + by_class

    @staticmethod
    def listing(folder: Path, split: str) -> tuple[list[tuple[str, int]], dict[int, str]]:
        """Read the lists of whichever layout it is; class ids up to 98 are ``train``."""
        if (folder / "cars_annos.mat").is_file():
            content = read_mat(folder / "cars_annos.mat")
            rows, names = content["images"], content["classes"]
        elif list(_devkit(folder)):
            rows, names = _read_torchvision(folder)
        else:
            rows, names = _read_class_folders(folder)
        kept = [(path, label) for path, label in rows if (label <= 98) == (split == "train")]
        return kept, dict(enumerate(names, 1))


def _devkit(folder: Path) -> Iterator[Path]:
    """Find the folder of torchvision's lists."""
    return (
        place.parent for place in (*folder.glob("devkit/cars_meta.mat"), *folder.glob("devkit/devkit/cars_meta.mat"))
    )


def _read_torchvision(folder: Path) -> tuple[list[tuple[str, int]], list[str]]:
    """Read (path, class id from 1) of each image, and the names of all classes, of torchvision's layout."""
    devkit, tested = next(_devkit(folder)), "cars_test_annos_withlabels.mat"
    # The second is beside the devkit where torchvision fetched it; some copies have it inside.
    files = {
        "cars_train": devkit / "cars_train_annos.mat",
        "cars_test": folder / tested if (folder / tested).is_file() else devkit / tested,
    }
    rows = [(f"{part}/{name}", label) for part, file in files.items() for name, label in read_mat(file)["images"]]
    return rows, read_mat(devkit / "cars_meta.mat")["classes"]


def _read_class_folders(folder: Path) -> tuple[list[tuple[str, int]], list[str]]:
    """Read ``train/MODEL/*.jpg`` and ``test/MODEL/*.jpg``; ``names.csv`` gives the order, else the alphabet does."""
    paths = [f"{part}/{path}" for part in ("train", "test") for path in list_pictures(folder / part)]
    listed = [place / "names.csv" for place in (folder, folder.parent) if (place / "names.csv").is_file()]
    if listed:
        names = [row[0] for row in csv.reader(read_lines(listed[0]))]
    else:
        names = sorted({path.split("/")[-2] for path in paths})
    number = {name.replace("/", "-"): label for label, name in enumerate(names, 1)}
    return [(path, number[path.split("/")[-2]]) for path in paths], names
