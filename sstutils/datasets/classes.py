"""The data sets that need no download: letters, digits, and a folder of one's own pictures."""

from .base import ArrayDataset, FileDataset
from .digits import DigitsSource
from .folder import FolderSource
from .glyphs import GlyphsSource


class Glyphs(GlyphsSource, ArrayDataset):
    """Letters in 16 faces, random colours, sizes and slants: the embedded data set.

    The classes of the whole set are drawn from :func:`sstutils.datasets.glyphs.letters` by `seed`; the first half of
    them is ``train``, the second ``test``. A picture depends on its letter, `images`, `difficulty` and `seed` only.
    See :class:`sstutils.datasets.source.Source` for `root` (where drawn pictures are cached) and the other parameters.

    Parameters
    ----------
    classes : int
        Number of classes of both splits together, an even number from 4 to some 260; 200 by default.
    images : int
        Images per class, at least 2; 48 by default.
    difficulty : float
        Scale of the variation in angle, slant, size, place, colours and noise, from 0 (black on white, upright) to 3;
        1 by default.
    seed : int
        0 by default.
    """


class Digits(DigitsSource, ArrayDataset):
    """Handwritten digits of 43 people, white on black, 32x32: 0-4 are ``train``, 5-9 ``test``.

    See :class:`sstutils.datasets.source.Source` for parameters; the images come with scikit-learn.

    References
    ----------
    E. Alpaydin and C. Kaynak (1998). Optical Recognition of Handwritten Digits. UCI Machine Learning Repository.
    """


class Folder(FolderSource, FileDataset):
    """The pictures of a folder, whose subfolders are the classes; the first half of the classes is ``train``.

    ``root/class/picture.jpg`` (or .png, .webp, ...); pictures may lie deeper in the folder of a class. Classes are
    sorted by name; of an odd number, ``train`` has one more; split ``all`` has them all. Hidden files and folders are
    skipped. Pictures keep their own size: the transform must bring them to one size before they can form a batch.
    See :class:`sstutils.datasets.source.Source` for parameters, :class:`sstutils.datasets.base.FileDataset` for
    attributes.

    Raises
    ------
    FileNotFoundError
        If the folder is missing, has no class folders or one without pictures.
    ValueError
        If there are too few classes to split, or the subfolders are parts (train, test) instead of classes.
    """
