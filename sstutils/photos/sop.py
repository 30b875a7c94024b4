"""Stanford Online Products: photographs of 22,634 products from an online market."""

from pathlib import Path

from .archives import Download
from .lists import Photos, read_lines


class StanfordOnlineProducts(Photos):
    """Products: 11,318 of them are ``train`` (59,551 images), 11,316 others ``test`` (60,502), as their authors split.

    A class is one product; its name tells the kind of product, too. See :class:`sstutils.datasets.source.Source` for
    parameters, :class:`sstutils.datasets.base.FileDataset` for attributes. The data are for non-commercial research and
    teaching.

    References
    ----------
    H. Oh Song, Y. Xiang, S. Jegelka and S. Savarese (2016). Deep metric learning via lifted structured feature
    embedding. CVPR.
    """

    name = "Stanford Online Products"
    source = "https://cvgl.stanford.edu/projects/lifted_struct"
    downloads = (
        Download(
            "Stanford_Online_Products.zip",
            3_100_000_000,
            "7f73d41a2f44250d4779881525aea32e",
            (
                "http://ftp.cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip",
                "ftp://cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip",
            ),
        ),
    )
    by_hand = "Place Stanford_Online_Products.zip in {root}, or the folder Stanford_Online_Products that it unpacks to."
    archives = {"Stanford_Online_Products.zip": "Stanford_Online_Products"}  # noqa: RUF012
    mark = "Ebay_test.txt"
    most = 8_000_000_000
    counts = {"train": (11_318, 59_551), "test": (11_316, 60_502)}  # noqa: RUF012
    ks = (1, 10, 100, 1000)

    @staticmethod
    def listing(folder: Path, split: str) -> tuple[list[tuple[str, int]], dict[int, str]]:
        """Read ``Ebay_train.txt`` or ``Ebay_test.txt``: image id, class id, super class id and path in each line."""
        lines = read_lines(folder / f"Ebay_{split}.txt")
        if lines[0].split() != ["image_id", "class_id", "super_class_id", "path"]:
            raise ValueError(f"Ebay_{split}.txt begins with {lines[0]!r}")
        rows = [(path, int(label)) for _, label, _, path in (line.split(maxsplit=3) for line in lines[1:])]
        return rows, {label: f"{path.partition('_final/')[0].replace('_', ' ')} {label}" for path, label in rows}
