"""CUB-200-2011: photographs of 200 kinds of birds."""

from pathlib import Path

from .archives import Download
from .lists import Photos, read_lines


class CUB200(Photos):
    """Caltech-UCSD Birds 200: the first 100 kinds are ``train`` (5,864 images), the others ``test`` (5,924).

    See :class:`sstutils.datasets.source.Source` for parameters, :class:`sstutils.datasets.base.FileDataset` for
    attributes. The data are for non-commercial research and teaching.

    References
    ----------
    C. Wah, S. Branson, P. Welinder, P. Perona and S. Belongie (2011). The Caltech-UCSD Birds-200-2011 dataset.
    California Institute of Technology, CNS-TR-2011-001.
    """

    name = "CUB-200-2011"
    source = "https://data.caltech.edu/records/65de6-vp158"
    downloads = (
        Download(
            "CUB_200_2011.tgz",
            1_150_000_000,
            "97eceeb196236b17998738112f37df78",
            (f"{source}/files/CUB_200_2011.tgz",),
        ),
    )
    by_hand = "Place CUB_200_2011.tgz in {root}, or the folder CUB_200_2011 that it unpacks to."
    archives = {"CUB_200_2011.tgz": "CUB_200_2011"}  # noqa: RUF012
    mark = "image_class_labels.txt"
    most = 4_000_000_000
    counts = {"train": (100, 5_864), "test": (100, 5_924)}  # noqa: RUF012

    @staticmethod
    def listing(folder: Path, split: str) -> tuple[list[tuple[str, int]], dict[int, str]]:
        """Read ``images.txt``, ``image_class_labels.txt`` and ``classes.txt``: class ids up to 100 are ``train``."""
        images, labels, names = (
            dict(line.split(maxsplit=1) for line in read_lines(folder / file))
            for file in ("images.txt", "image_class_labels.txt", "classes.txt")
        )
        rows = [(f"images/{images[image]}", int(label)) for image, label in labels.items()]
        kept = [(path, label) for path, label in rows if (label <= 100) == (split == "train")]
        return kept, {int(label): name.partition(".")[2].replace("_", " ") for label, name in names.items()}
