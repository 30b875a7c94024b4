"""Reading a data set batch by batch, the next batch while the present one is used."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import to_pil_image

from ..checks import item_numbers
from .base import LabelledImages
from .images import scale_grey, to_rgb
from .subsets import Transformed, arrays, innermost, with_transform


def resize_to_square(dataset: Dataset, size: int | None) -> Dataset:
    """Make a data set of uint8 arrays (H, W, 3): its images, scaled to squares of a side (None: as they are)."""
    steps = [] if size is None else [v2.Resize((size, size), antialias=True)]
    transform = v2.Compose([as_picture, *steps, np.array])
    inner = innermost(dataset)
    dataset = with_transform(dataset, transform)
    # One's own may have an attribute `transform` and not use it; a second time changes nothing.
    return dataset if isinstance(inner, LabelledImages) else Transformed(dataset, transform)


def as_picture(image: Any) -> Image.Image:
    """Make an RGB image of what a data set gives: PIL's, an array (H, W) or (H, W, C), or a tensor (C, H, W)."""
    if isinstance(image, Image.Image):
        return image if image.mode == "RGB" else to_rgb(image)
    try:
        pixels = image
        if isinstance(image, torch.Tensor):  # NumPy has no bfloat16
            pixels = (image.float() if image.is_floating_point() else image).detach().cpu().movedim(0, -1)
        pixels = np.asarray(pixels)
        return to_rgb(to_pil_image(pixels if pixels.dtype == np.uint8 else scale_grey(pixels)))
    except (TypeError, ValueError):
        found = f"{image.dtype} of shape {tuple(image.shape)}" if hasattr(image, "shape") else type(image).__name__
        wanted = "an image must be PIL's, an array (H, W, 3) or a tensor (3, H, W), from 0 to 255 or from 0 to 1"
        raise ValueError(f"{wanted} (not normalized), got {found}") from None


def iterate(files: DataLoader) -> Iterator:
    """Iterate over a DataLoader; an error of reading is one line, whether a worker had it or this process."""
    try:
        yield from files
    except OSError as error:
        if "DataLoader worker" not in str(error):
            raise
        error.__traceback__ = None  # it holds the workers in a circle, and ended late they take 5 seconds each
        # With the traceback of the worker comes, in its last line, the kind of error and what it says.
        raise OSError(str(error).strip().splitlines()[-1].partition(": ")[2]) from None
    except RuntimeError as error:
        if "equal size" not in str(error):
            raise
        raise ValueError("images of different sizes make no batch: give the size to scale them to") from None


def batches(
    dataset: Dataset, batch_sampler: Iterable[Sequence[int]], size: int | None = None, workers: int = 0
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Read a data set batch by batch, as small as it can be moved: uint8 images, or features of them as they are.

    The next batch is made ready while one is used: of images in memory by a thread, of files by the workers.

    Parameters
    ----------
    dataset : Dataset
        Images in memory are copied from there; others are read, and scaled to squares, by torch's DataLoader.
    batch_sampler : iterable of sequences of int
        The items of each batch; read to its end before the first batch.
    size : int, optional
        Side of the square images in pixels; None leaves them as they are (then all must have one size).
    workers : int
        Processes that read files.

    Yields
    ------
    images : uint8 tensor of shape (B, 3, size, size)
        In channels-last memory order, wherever they come from: layers choose their sums, and round, by that.
    labels : int64 tensor of shape (B,)
    """
    order = [item_numbers(batch, len(dataset), "batch_sampler").tolist() for batch in batch_sampler]
    pin = torch.cuda.is_available()  # from pinned memory, copies to a GPU do not wait
    held = arrays(dataset)
    if held is None or (size is not None and held[0].ndim == 4 and held[0].shape[1:3] != (size, size)):
        files = DataLoader(resize_to_square(dataset, size), batch_sampler=order, num_workers=workers, pin_memory=pin)
        for images, *labels in iterate(files):
            yield images.permute(0, 3, 1, 2), *labels[:1]
        return
    data, rows, labels = held
    rows = np.arange(len(data))[rows]

    def gather(batch: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        batch = np.asarray(batch, dtype=np.int64)
        images, found = torch.from_numpy(data.take(rows[batch], axis=0)), torch.from_numpy(labels[batch])
        if pin:
            images, found = images.pin_memory(), found.pin_memory()
        return images.permute(0, 3, 1, 2) if images.ndim == 4 else images, found

    with ThreadPoolExecutor(1) as thread:
        made = (thread.submit(gather, batch) for batch in order)
        for batch, _ in pairwise(chain(made, [None])):  # asks for the one after it before this one is used
            yield batch.result()
