"""A head on features that are computed once: photographs without a GPU.

The backbone stays as its weights (of ImageNet, say) are. The head starts as the projection on the principal components
of its features, which keeps their distances, and is trained on them as any network is on images.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from ..checkpoints import load_checkpoint, write
from ..datasets.base import ArrayDataset, LabelledImages
from ..datasets.images import opened
from ..datasets.source import list_pictures
from ..datasets.subsets import Readable, innermost, split_classes, unreadable
from ..embedding import embed
from ..evaluation import recall_at_k
from ..files import cached_arrays, digest, resolve
from ..models import EmbeddingNet, device
from ..recipes import Recipe, make_model, view
from ..training import Step, fit

_SPREAD = 2.0  # mean squared distance of two embeddings at the start, as of unit vectors
_FEW = 16  # images that speed is measured on


class Features(ArrayDataset):
    """What a backbone makes of images, as a data set: ``data`` is a float16 array of shape (N, F)."""

    def __init__(self, data: np.ndarray, targets: Sequence[int], classes: Sequence[str], fingerprint: str) -> None:
        self.data = data
        LabelledImages.__init__(self, data, targets, classes)
        self.fingerprint = fingerprint  # of the images


class _Backbone(nn.Module):
    """The part of a network that the head sees."""

    def __init__(self, network: EmbeddingNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.features(images)


def compute_features(
    dataset: Dataset, network: EmbeddingNet, recipe: Recipe, *, progress: bool = False, **options: Any
) -> Features:
    """Compute what the backbone makes of each image, once; the cache folder keeps it.

    Parameters
    ----------
    dataset : Dataset
        With ``targets``, ``classes`` and ``fingerprint``, by which the cache is known, besides weights and size.
    network : EmbeddingNet
    recipe : Recipe
        Says how images are scaled.
    progress : bool
        Say how long it will take, and show a bar.
    **options
        As for :func:`sstutils.embed`.

    Returns
    -------
    Features

    Raises
    ------
    ValueError
        If the features of all images are the same, as those of weights that were never trained may be.
    """
    seen, backbone = view(recipe), _Backbone(network)
    weights = (value.cpu().numpy() for value in network.backbone.state_dict().values())
    name = digest(*weights, str(seen), recipe.precision)
    path = resolve(None) / "features" / f"{dataset.fingerprint}-{name}.npz"

    def make() -> dict[str, np.ndarray]:
        if progress and len(dataset) > 10 * _FEW:
            started = time.perf_counter()
            embed(backbone, Subset(dataset, range(_FEW)), **seen, **options)
            seconds = (time.perf_counter() - started) / _FEW * len(dataset)
            print(f"features of {len(dataset):,} images, once: about {max(1, round(seconds))} seconds", flush=True)
        found = embed(backbone, dataset, **seen, progress=progress, **options)
        return {"features": found.clamp(-6e4, 6e4).half().numpy(), "unreadable": unreadable(dataset)}

    held = cached_arrays(path, make, ("features", "unreadable"))
    if not np.ptp(held["features"], axis=0).any():
        raise ValueError(
            f"backbone {network.name} gives the same features for all {len(dataset)} images; check its weights"
        )
    if isinstance(dataset, Readable):
        dataset.unreadable |= torch.from_numpy(held["unreadable"])
    return Features(held["features"], dataset.targets, dataset.classes, dataset.fingerprint)


def principal_head(features: np.ndarray, dim: int) -> Tensor:
    """Project on the principal components of features: of all linear heads the one that best keeps their distances.

    Parameters
    ----------
    features : (N, F) array
    dim : int

    Returns
    -------
    (dim, F) float32 tensor
        Such that the mean squared distance of two embeddings is 2. Rows beyond the F-th are zero.
    """
    x = torch.from_numpy(features).double()
    x = x - x.mean(0)
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))  # in ascending order
    kept = vectors.T.flip(0)[:dim].float()
    spread = 2 * values.flip(0)[:dim].clamp(min=0).sum()
    weight = torch.zeros(dim, x.shape[1])
    weight[: len(kept)] = kept * (_SPREAD / spread.clamp(min=1e-12)).sqrt().float()
    return weight


def fit_head(
    dataset: Dataset,
    recipe: Recipe,
    *,
    out: str | PathLike | None = None,
    where: str | torch.device | None = None,
    workers: int = 0,
    strict: bool = False,
    progress: bool = True,
    **options: Any,
) -> Step:
    """Train the head of a network on features of its backbone.

    Parameters and result are those of :func:`sstutils.fit`. With held-out classes, the trained head is kept only if
    their Recall@1 is higher than with the untrained one; the first row of the history holds that, as "untrained".
    """
    files = strict or isinstance(innermost(dataset), ArrayDataset)
    items = dataset if files else Readable(dataset)
    torch.manual_seed(recipe.seed)
    model = make_model(recipe).to(device(where))
    features = compute_features(items, model, recipe, workers=workers, progress=progress)
    training, held_out = split_classes(features, recipe.holdout, recipe.seed) if recipe.holdout else (features, None)
    rows = training.indices if held_out else slice(None)
    linear = model.head if recipe.layers == 1 else model.head.linear
    with torch.no_grad():
        linear.weight.copy_(principal_head(features.data[rows], recipe.dim) / recipe.scale)
    start = deepcopy(model.state_dict())
    before = recall_at_k(embed(model, held_out), held_out.targets, (1,))[1] if held_out else -1.0
    step = fit(features, recipe, out=out, where=where, progress=progress, model=model, **options)
    if held_out:
        step.history[0]["untrained"] = before
        after = max(row["recall@1"] for row in step.history)
        if after <= before:
            model.load_state_dict(start)
            if progress:
                print(
                    f"training did not help: Recall@1 of held-out classes is {before:.3f} with the untrained head, and "
                    f"at most {after:.3f} with a trained one; the untrained head is kept"
                )
        if out is not None:
            write(load_checkpoint(out) | {"model": model.state_dict(), "history": step.history}, out)
    return step


def compare_with_untrained(
    dataset: Dataset, embeddings: Tensor, recipe: Recipe, where: str | torch.device | None = None, workers: int = 0
) -> dict[str, float]:
    """Measure Recall@1 of embeddings, of the untrained backbone's features and of raw grey pixels (32 x 32).

    Parameters
    ----------
    dataset : Dataset
        Of the embeddings.
    embeddings : (N, d) tensor
    recipe : Recipe
        Of the network that made them.

    Returns
    -------
    dict of str to float
        "trained", "untrained features", "raw pixels".
    """
    torch.manual_seed(recipe.seed)
    features = compute_features(dataset, make_model(recipe).to(device(where)), recipe, workers=workers)
    pixels = embed(_Grey(), dataset, size=32, workers=workers)
    measured = {"trained": embeddings, "untrained features": torch.from_numpy(features.data), "raw pixels": pixels}
    return {name: recall_at_k(found, dataset.targets, (1,))[1] for name, found in measured.items()}


class _Grey(nn.Module):
    """Images as the vectors of their grey levels."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float().mean(1).flatten(1) / 255


def suit_pictures(data: str, recipe: str, where: str | None, values: dict[str, Any]) -> tuple[str, str]:
    """Choose the recipe for a folder of one's own by the size of its pictures, unless one is asked for.

    It is "small" for a median side of at most 64 pixels; for photographs "modern" on a GPU, else "features". Returned
    are its name and the reason in one line, which is empty if nothing was chosen.
    """
    kind, _, folder = data.partition(":")
    if recipe != "default" or kind.lower() != "folder" or "backbone" in values:
        return recipe, ""
    if not (sides := picture_sides(resolve(folder))):
        return recipe, ""
    side = int(np.median(sides))
    if side <= 64:
        return "small", f"small pictures (median side {side} pixels): a small network, from scratch"
    if device(where).type != "cpu":
        return "modern", f"photographs (median side {side} pixels) and a GPU: the whole network is trained (modern)"
    return "features", (
        f"photographs (median side {side} pixels) and no GPU: a head is trained on features of an ImageNet network; "
        "--recipe small, paper or modern trains a whole network"
    )


def picture_sides(folder: str | os.PathLike) -> list[int]:
    """List the longer side, in pixels, of some 50 pictures below a folder, spread over it; only headers are read."""
    paths, sides = [os.path.join(folder, path) for path in list_pictures(folder)], []
    for path in filter(os.path.isfile, paths[:: max(1, len(paths) // 50)]):  # no pipe, which would be waited for
        with suppress(Exception), opened(path) as image:
            sides.append(max(image.size))
    return sides
