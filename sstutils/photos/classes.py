"""The data sets that are fetched or placed by hand; each is a source of files and the kind of data set made of it."""

from ..datasets.base import ArrayDataset, FileDataset
from .cars196 import Cars196Source
from .cub200 import CUB200Source
from .fashion import FashionMNISTSource
from .omniglot import OmniglotSource
from .sop import StanfordOnlineProductsSource


class FashionMNIST(FashionMNISTSource, ArrayDataset):
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


class Omniglot(OmniglotSource, ArrayDataset):
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


class CUB200(CUB200Source, FileDataset):
    """Caltech-UCSD Birds 200: the first 100 kinds are ``train`` (5,864 images), the others ``test`` (5,924).

    See :class:`sstutils.datasets.source.Source` for parameters, :class:`sstutils.datasets.base.FileDataset` for
    attributes. The data are for non-commercial research and teaching.

    References
    ----------
    C. Wah, S. Branson, P. Welinder, P. Perona and S. Belongie (2011). The Caltech-UCSD Birds-200-2011 dataset.
    California Institute of Technology, CNS-TR-2011-001.
    """


class Cars196(Cars196Source, FileDataset):
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


class StanfordOnlineProducts(StanfordOnlineProductsSource, FileDataset):
    """Products: 11,318 of them are ``train`` (59,551 images), 11,316 others ``test`` (60,502), as their authors split.

    A class is one product; its name tells the kind of product, too. See :class:`sstutils.datasets.source.Source` for
    parameters, :class:`sstutils.datasets.base.FileDataset` for attributes. The data are for non-commercial research and
    teaching.

    References
    ----------
    H. Oh Song, Y. Xiang, S. Jegelka and S. Savarese (2016). Deep metric learning via lifted structured feature
    embedding. CVPR.
    """
