"""Fashion-MNIST: small photos of clothes, shoes and bags, from torchvision's or Debian's files."""

import gzip
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torchvision import datasets
from torchvision.datasets.utils import verify_str_arg

from ..files import missing, resolve
from ..files import root as default_root
from ..photos.archives import Download, fetch
from .base import ArrayDataset

DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # the folder of Debian's package dataset-fashion-mnist
PARTS = ("train", "t10k")  # the original parts; both hold all ten classes, so they are merged
SIZES = (26_421_880, 29_515, 4_422_102, 5_148)
MOST = 50_000_000  # bytes that a file may hold unpacked; the largest holds 47,040,016


class FashionMNIST(ArrayDataset):
    """70,000 photos of ten kinds of clothes, shoes and bags: the first five classes are ``train``, the others ``test``.

    Both original parts are merged and split anew by class number, as is usual for retrieval: ``train`` is T-shirt/top,
    Trouser, Pullover, Dress and Coat; ``test`` is Sandal, Shirt, Sneaker, Bag and Ankle boot. So ``test`` has three
    kinds of shoes that are near to each other and to nothing in ``train``, and one garment (Shirt) that resembles
    what was trained on. The 28x28 grey images are padded with black to 32x32 and repeated to RGB.

    Parameters
    ----------
    root : path, optional
        Folder to look in: for the four files themselves or for torchvision's ``FashionMNIST/raw`` (``.gz`` or
        unpacked). Next come :func:`sstutils.datasets.root` and the folder of Debian's package
        ``dataset-fashion-mnist``.
    split : {"train", "test"}
    transform, target_transform : callable, optional
        Applied to the PIL image and to the target.
    download : bool
        Fetch the files (31 MB) into ``root/FashionMNIST/raw`` if they are nowhere.
    images : int, optional
        Keep only the first so many images of each class; all 7,000 by default, which take 108 MB a split.

    Raises
    ------
    FileNotFoundError
        If the files are nowhere.
    OSError
        If a file is truncated or corrupt.

    References
    ----------
    H. Xiao, K. Rasul and R. Vollgraf (2017). Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms. arXiv:1708.07747.
    """

    licence = "MIT"
    source = "https://github.com/zalandoresearch/fashion-mnist"
    downloads = tuple(
        Download(name, size, md5, tuple(mirror + name for mirror in datasets.FashionMNIST.mirrors))
        for (name, md5), size in zip(datasets.FashionMNIST.resources, SIZES, strict=True)
    )
    by_hand = (
        "Install Debian's package dataset-fashion-mnist, or place the four files (train-images-idx3-ubyte.gz, ...) "
        "in {root}/FashionMNIST/raw."
    )

    def __init__(
        self,
        root: str | os.PathLike | None = None,
        split: str = "test",
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
        *,
        images: int | None = None,
    ) -> None:
        first = 0 if verify_str_arg(split, "split", self.splits) == "train" else 5
        if images is not None and images < 1:
            raise ValueError(f"images is the number to keep of each class: at least 1, got {images}")
        if download and not self.find(root):
            for file in self.downloads:
                fetch(file, resolve(root) / "FashionMNIST" / "raw")
        files = self.find(root)
        if not files:
            raise missing(
                "Fashion-MNIST",
                _places(root),
                f"Pass download=True (31 MB) or do it by hand: {self.by_hand.format(root=resolve(root))}",
            )
        train_images, train_labels, test_images, test_labels = files
        labels = np.concatenate([_read(train_labels, 1), _read(test_labels, 1)])
        grey = np.concatenate([_read(train_images, 3), _read(test_images, 3)])
        if grey.shape != (len(labels), 28, 28):
            raise OSError(
                f"{files[0].parent} holds {len(labels)} labels but images of shape {grey.shape}: replace its files"
            )
        chosen = np.concatenate([np.flatnonzero(labels == first + i)[:images] for i in range(5)])
        chosen.sort()  # back to file order
        grey = np.pad(grey[chosen], ((0, 0), (2, 2), (2, 2)))
        super().__init__(
            np.repeat(grey[..., None], 3, axis=-1),
            labels[chosen].astype(np.int64) - first,
            datasets.FashionMNIST.classes[first : first + 5],
            root=files[0].parent,
            transform=transform,
            target_transform=target_transform,
        )
        self.split = split

    @classmethod
    def find(cls, root: str | os.PathLike | None = None) -> list[Path]:
        """Return the four files, in the order of ``downloads``, of the first folder that has all; none: empty."""
        for folder in _places(root):
            files = []
            for download in cls.downloads:
                packed = folder / download.name
                files += [path for path in (packed, packed.with_suffix("")) if path.is_file()][:1]
            if len(files) == len(cls.downloads):
                return files
        return []

    @classmethod
    def count(cls, root: str | os.PathLike | None = None) -> dict[str, tuple[int, int]]:
        """Return the number of classes and of images of each split; reads the labels only."""
        labels = np.concatenate([_read(path, 1) for path in cls.find(root)[1::2]])
        return {"train": (5, int((labels < 5).sum())), "test": (5, int((labels >= 5).sum()))}


def _places(root: str | os.PathLike | None) -> list[Path]:
    """Return the folders to look in, in order."""
    places = [folder for base in (resolve(root), default_root()) for folder in (base, base / "FashionMNIST" / "raw")]
    return list(dict.fromkeys([*places, DEBIAN]))


def _read(path: Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of bytes, packed by gzip or not, and check that it is whole."""
    again = "delete it and fetch it again"
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = file.read(MOST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise OSError(f"{path} cannot be read ({error}): {again}") from error
    if len(content) > MOST:
        raise OSError(f"{path} holds more than {MOST:,} bytes: {again}")
    # The header: two zeros, 8 for unsigned bytes, the number of dimensions, then each as a big-endian 32-bit number.
    start = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < start:
        raise OSError(f"{path} is no IDX file of {'images' if dimensions == 3 else 'labels'}: {again}")
    shape = [int(size) for size in np.frombuffer(content[4:start], ">u4")]
    found, promised = len(content) - start, math.prod(shape)
    if found != promised:
        raise OSError(f"{path} is truncated: {found:,} bytes of data, its header promises {promised:,}; {again}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
