"""CARS196: photographs of 196 models of cars, in the layouts that are still to be found."""

import csv
from pathlib import Path

from ..datasets.source import Download, list_pictures
from .lists import Photos

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
        torchvision = [f for f in (root / "stanford_cars", root) if (f / "devkit" / "cars_train_annos.mat").is_file()]
        nested = (root / "car_data" / "car_data", root / "car_data", root)
        by_class = [f for f in nested if (f / "train").is_dir() and any(f.glob("train/*/*.jpg"))]
        return original + torchvision + by_class

    @staticmethod
    def listing(folder: Path, split: str) -> tuple[list[tuple[str, int]], dict[int, str]]:
        """Read the lists of whichever layout it is; class ids up to 98 are ``train``."""
        if (folder / "cars_annos.mat").is_file():
            content = _load(folder / "cars_annos.mat")
            rows = [(str(row["relative_im_path"]), int(row["class"])) for row in content["annotations"]]
            names = content["class_names"]
        elif (folder / "devkit").is_dir():
            rows, names = _read_torchvision(folder)
        else:
            rows, names = _read_class_folders(folder)
        kept = [(path, label) for path, label in rows if (label <= 98) == (split == "train")]
        return kept, {label: str(name) for label, name in enumerate(names, 1)}


def _load(file: Path) -> dict:
    """Read annotations: numbers, text and records are all that scipy makes of a file, and nothing is unpickled."""
    from scipy.io import loadmat

    return loadmat(file, squeeze_me=True)


def _read_torchvision(folder: Path) -> tuple[list[tuple[str, int]], list[str]]:
    """Read (path, class id from 1) of each image, and the names of all classes, of torchvision's layout."""
    tested = folder / "cars_test_annos_withlabels.mat"  # torchvision's place; some copies have it in devkit
    files = {
        "cars_train": folder / "devkit" / "cars_train_annos.mat",
        "cars_test": tested if tested.is_file() else folder / "devkit" / tested.name,
    }
    rows = [
        (f"{part}/{row['fname']}", int(row["class"]))
        for part, file in files.items()
        for row in _load(file)["annotations"]
    ]
    return rows, _load(folder / "devkit" / "cars_meta.mat")["class_names"]


def _read_class_folders(folder: Path) -> tuple[list[tuple[str, int]], list[str]]:
    """Read ``train/MODEL/*.jpg`` and ``test/MODEL/*.jpg``; ``names.csv`` gives the order, else the alphabet does."""
    paths = [f"{part}/{path}" for part in ("train", "test") for path in list_pictures(folder / part)]
    listed = [place / "names.csv" for place in (folder, folder.parent) if (place / "names.csv").is_file()]
    if listed:
        with open(listed[0], newline="", encoding="utf-8") as file:
            names = [row[0] for row in csv.reader(file) if row]
    else:
        names = sorted({path.split("/")[1] for path in paths})
    number = {name.replace("/", "-"): label for label, name in enumerate(names, 1)}
    return [(path, number[path.split("/")[1]]) for path in paths], names
