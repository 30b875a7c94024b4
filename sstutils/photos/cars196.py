"""CARS196: photographs of 196 models of cars, in the layouts that are still to be found."""

import csv
from pathlib import Path

from scipy.io import loadmat

from .archives import Download
from .base import Listing, Photos

_ORIGINAL = "http://ai.stanford.edu/~jkrause/car196"


class Cars196(Photos):
    """Stanford Cars: the first 98 models are ``train`` (8,054 images), the others ``test`` (8,131).

    See :class:`sstutils.photos.base.Photos` for parameters and attributes. The original site is gone, so that
    three layouts are read: the original one (``car_ims/`` with ``cars_annos.mat``), torchvision's
    (``stanford_cars/cars_train``, ``cars_test`` and ``devkit``) and class folders
    (``car_data/car_data/train/MODEL/*.jpg``). Whatever part an image came from, its model decides the split.

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
        """Return the folders that hold one of the layouts."""
        original = [root] if (root / "car_ims").is_dir() and (root / "cars_annos.mat").is_file() else []
        torchvision = [f for f in (root / "stanford_cars", root) if (f / "devkit" / "cars_train_annos.mat").is_file()]
        nested = (root / "car_data" / "car_data", root / "car_data", root)
        by_class = [f for f in nested if (f / "train").is_dir() and any(f.glob("train/*/*.jpg"))]
        return original + torchvision + by_class

    @staticmethod
    def listing(folder: Path, split: str) -> Listing:
        """Read the lists of whichever layout it is; class ids up to 98 are ``train``."""
        if (folder / "cars_annos.mat").is_file():
            rows, names = _original(folder)
        elif (folder / "devkit").is_dir():
            rows, names = _torchvision(folder)
        else:
            rows, names = _class_folders(folder)
        first, last = (1, 98) if split == "train" else (99, 196)
        chosen = [(path, label) for path, label in rows if first <= label <= last]
        number = {label: i for i, label in enumerate(sorted({label for _, label in chosen}))}
        return Listing(
            [path for path, _ in chosen], [number[label] for _, label in chosen], [names[label - 1] for label in number]
        )


# Annotations may come from anyone. Numbers, text and records are all that scipy's loadmat makes of a file: the format
# has no code, and nothing is unpickled. What it cannot read, it tells by an error, which `Photos` puts on one line.
Rows = tuple[list[tuple[str, int]], list[str]]  # path and class id from 1 of each image; the names of all classes


def _original(folder: Path) -> Rows:
    content = loadmat(folder / "cars_annos.mat", squeeze_me=True)
    rows = [(str(row["relative_im_path"]), int(row["class"])) for row in content["annotations"]]
    return rows, [str(name) for name in content["class_names"]]


def _torchvision(folder: Path) -> Rows:
    tested = folder / "cars_test_annos_withlabels.mat"  # torchvision's place; some copies have it in devkit
    files = {
        "cars_train": folder / "devkit" / "cars_train_annos.mat",
        "cars_test": tested if tested.is_file() else folder / "devkit" / tested.name,
    }
    rows = [
        (f"{part}/{row['fname']}", int(row["class"]))
        for part, file in files.items()
        for row in loadmat(file, squeeze_me=True)["annotations"]
    ]
    names = loadmat(folder / "devkit" / "cars_meta.mat", squeeze_me=True)["class_names"]
    return rows, [str(name) for name in names]


def _class_folders(folder: Path) -> Rows:
    """Read ``train/MODEL/*.jpg`` and ``test/MODEL/*.jpg``; ``names.csv`` gives the order, else the alphabet does."""
    listed = [place / "names.csv" for place in (folder, folder.parent) if (place / "names.csv").is_file()]
    if listed:
        with open(listed[0], newline="", encoding="utf-8") as file:
            names = [row[0] for row in csv.reader(file) if row]
    else:
        names = sorted({path.name for part in ("train", "test") for path in (folder / part).iterdir() if path.is_dir()})
    number = {name.replace("/", "-"): label for label, name in enumerate(names, 1)}
    rows = [
        (path.relative_to(folder).as_posix(), number[path.parent.name])
        for part in ("train", "test")
        for path in sorted((folder / part).glob("*/*.jpg"))
    ]
    return rows, names
