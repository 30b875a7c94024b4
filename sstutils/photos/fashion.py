"""Fashion-MNIST: small photos of clothes, shoes and bags, from torchvision's or Debian's files."""

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from ..files import resolve
from ..files import root as default_root
from .archives import Download, remove_leftovers
from .lists import Fetched

DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # the folder of Debian's package dataset-fashion-mnist
MOST = 50_000_000  # bytes that a file may hold unpacked; the largest holds 47,040,016
_MIRRORS = (
    "https://fashion-mnist.s3.eu-central-1.amazonaws.com",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",  # torchvision's
)
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


class FashionMNIST(Fetched):
    """70,000 photos of ten kinds of clothes, shoes and bags: the first five classes are ``train``, the others ``test``.

    Both original parts are merged and split by class number, as is usual for retrieval: ``train`` is T-shirt/top,
    Trouser, Pullover, Dress and Coat; ``test`` is Sandal, Shirt, Sneaker, Bag and Ankle boot. So ``test`` has three
    kinds of shoes that are near to each other and to nothing in ``train``, and one garment (Shirt) that resembles
    what was trained on. The 28x28 grey images are padded with black to 32x32 and repeated to RGB.

    `root` is searched for the four files themselves or for torchvision's ``FashionMNIST/raw`` (``.gz`` or unpacked).
    Next come :func:`sstutils.datasets.root` and the folder of Debian's package ``dataset-fashion-mnist``; 31 MB are
    fetched. See :class:`sstutils.datasets.source.Source` for the other parameters.

    Parameters
    ----------
    images : int, optional
        Keep only the first so many images of each class; all 7,000 by default, which take 108 MB a split.

    References
    ----------
    H. Xiao, K. Rasul and R. Vollgraf (2017). Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms. arXiv:1708.07747.
    """

    # torchvision's own reader is not used: it takes no packed files and no other folder, and checks nothing.
    name = "Fashion-MNIST"
    below = "FashionMNIST/raw"
    licence = "MIT"
    source = "https://github.com/zalandoresearch/fashion-mnist"
    downloads = tuple(
        Download(name, size, md5, (f"{_MIRRORS[0]}/{name}", f"{_MIRRORS[1]}/{name}"))
        for name, size, md5 in (
            ("train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            ("train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
            ("t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
            ("t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
        )
    )
    by_hand = (
        "Install Debian's package dataset-fashion-mnist, or place the four files (train-images-idx3-ubyte.gz, ...) "
        "in {root}/FashionMNIST/raw."
    )

    @classmethod
    def places(cls, root: Path) -> list[Path]:
        """List the folders to look in, in order."""
        folders = [folder for base in (root, default_root()) for folder in (base, base / cls.below)]
        return list(dict.fromkeys([*folders, DEBIAN]))

    @classmethod
    def files(cls, root: Path, split: str) -> list[Path]:
        """List the four files, in the order of ``downloads``, of the first folder that has all; packed or not."""
        for folder in cls.places(root):
            both = [(folder / file.name, folder / file.name.removesuffix(".gz")) for file in cls.downloads]
            files = [next((path for path in pair if path.is_file()), None) for pair in both]
            if None not in files:
                return files
        return []

    @classmethod
    def count(cls, root: str | os.PathLike | None = None) -> dict[str, tuple[int, int]]:
        """Count the classes and the images of each split; reads the labels only."""
        labels = np.concatenate([read_idx(path, 1) for path in cls.find(root)[1::2]])
        return {"train": (5, int((labels < 5).sum())), "test": (5, int((labels >= 5).sum()))}

    @classmethod
    def read(cls, root: str | os.PathLike | None, split: str, download: bool, *, images: int | None = None) -> tuple:
        """Merge both original parts, take the classes of the split, and pad the images to 32x32 RGB."""
        from ..checks import whole_number  # it loads torch

        if images is not None:
            whole_number("images", images)
        files = cls.locate(resolve(root), split, download)
        remove_leftovers(resolve(root) / cls.below, cls.downloads)
        grey = np.concatenate([read_idx(path, 3) for path in files[0::2]])
        labels = np.concatenate([read_idx(path, 1) for path in files[1::2]])
        if grey.shape != (len(labels), 28, 28):
            raise OSError(
                f"{files[0].parent} holds {len(labels)} labels but images of shape {grey.shape}: replace its files"
            )
        first = 0 if split == "train" else 5
        chosen = np.concatenate([np.flatnonzero(labels == first + i)[:images] for i in range(5)])
        chosen.sort()  # back to file order
        data = np.repeat(np.pad(grey[chosen], ((0, 0), (2, 2), (2, 2)))[..., None], 3, axis=-1)
        return data, labels[chosen].astype(np.int64) - first, CLASSES[first : first + 5], files[0].parent


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of bytes, packed by gzip or not; OSError if it is damaged or not one of the data set."""
    again = "replace it with an intact copy"
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
        raise OSError(f"{path} is not an IDX file of {'images' if dimensions == 3 else 'labels'}: {again}")
    shape = [int(size) for size in np.frombuffer(content[4:start], ">u4")]
    found, promised = len(content) - start, math.prod(shape)
    if found != promised:
        raise OSError(f"{path} is truncated: {found:,} bytes of data, its header promises {promised:,}; {again}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
