"""The embedding of a whole data set: from images to the matrix that samplers and measures work on."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2.functional import center_crop
from tqdm.auto import tqdm

from .backbones import evaluation_mode
from .checks import whole_number
from .datasets.base import ArrayDataset
from .datasets.reading import batches, iterate
from .datasets.subsets import Readable, Relabelled, count_items, image_of, innermost, labelled, unreadable
from .models import device as check_device

_PIXELS = 8_000_000  # that are embedded at once


@torch.no_grad()
def embed(
    model: nn.Module,
    dataset: Dataset,
    *,
    size: int | None = None,
    crop: int | None = None,
    batch_size: int | None = None,
    workers: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> Tensor:
    """Embed a whole data set in evaluation mode, in its order, without augmentation.

    Afterwards every part of the model is again in the mode, training or evaluation, that it was in.

    Parameters
    ----------
    model : nn.Module
    dataset : Dataset
        Of (image, label) pairs. If it has a transform of its own, or gives tensors, and `size` is None, the images are
        taken as it gives them, which must be as tensors; otherwise as they are before any transform, as RGB.
    size : int, optional
        Side of the square that images are scaled to; None leaves them as they are.
    crop : int, optional
        Side of the central part of that square which is embedded; by default all of it.
    batch_size : int, optional
        Images embedded at once; by default 500, and fewer of large ones (122 of 256 x 256), which take much memory.
    workers : int
        Processes that read images from files.
    device : device, optional
        Where to compute, and where the model stays; by default, where it is.
    progress : bool

    Returns
    -------
    (N, d) float32 tensor on the CPU
    """
    count = count_items(dataset)
    if not count:
        raise ValueError("there is nothing to embed: the data set is empty")
    whole_number("workers", workers, 0)
    for name, value, most in (("size", size, None), ("crop", crop, size), ("batch_size", batch_size, None)):
        value is None or whole_number(name, value, 1, most)
    if batch_size is None:
        batch_size = min(500, max(1, _PIXELS // (size or 1) ** 2))
    if device is not None:
        model.to(check_device(device))
    where = next(model.parameters(), torch.empty(0)).device
    chunks = [range(i, min(i + batch_size, count)) for i in range(0, count, batch_size)]
    if size is None and _gives_tensors(dataset):
        steps = iterate(DataLoader(dataset, batch_sampler=chunks, num_workers=workers))
    else:
        steps = batches(dataset, chunks, size, workers)
    parts = []
    with evaluation_mode(model):
        for images, *_ in tqdm(steps, total=len(chunks), desc="embed", unit="batch", leave=False, disable=not progress):
            images = images.to(where, non_blocking=True)
            cut = crop and images.ndim == 4  # and no features
            parts.append(model(center_crop(images, [crop, crop]) if cut else images).float().cpu())
    return torch.cat(parts)


def _gives_tensors(dataset: Dataset) -> bool:
    """Tell whether a data set has a transform of its own, or none to be set but items that are tensors."""
    inner = innermost(dataset)
    if getattr(inner, "transform", ()) is None:
        return False
    image = image_of(dataset[0])
    if hasattr(inner, "transform") and not isinstance(image, Tensor):
        raise ValueError(f"the data set's transform must give tensors, got {type(image).__name__}; or give a size")
    return isinstance(image, Tensor)


def embed_readable(model: nn.Module, dataset: Dataset, **options: Any) -> tuple[Tensor, Dataset]:
    """Embed a data set, and leave out the images that cannot be read: each is named in a warning, and all are counted.

    Parameters are those of :func:`embed`. Returns the embeddings, and the data set without these images.
    """
    if isinstance(innermost(dataset), ArrayDataset):
        return embed(model, dataset, **options), dataset
    dataset = labelled(dataset)
    files = Readable(dataset, leave_out=True)
    embeddings, bad = embed(model, files, **options), unreadable(files)
    if not bad.any():
        return embeddings, dataset
    warnings.warn(f"{bad.sum()} of {len(dataset)} images cannot be read, and are left out", stacklevel=2)
    kept = np.flatnonzero(~bad)
    return embeddings[kept], Relabelled(dataset, kept.tolist(), np.asarray(dataset.targets)[kept], dataset.classes)
