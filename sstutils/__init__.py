"""Deep metric learning with local sampling and the stochastic symmetric triplet (SST) loss.

The method is that of B. Nguyen and B. De Baets, Neurocomputing 402, 209-219, 2020.

Data flows one way: data set -> model -> embedding -> sampler -> loss -> training -> evaluation -> figures. Each of
these words is a module; what it offers can be imported from here, and is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "checkpoints": "load_checkpoint load_model",
    "augmentation": "",
    "datasets": (
        "CUB200 Cars196 ClassSubset Digits FashionMNIST Folder Glyphs Omniglot StanfordOnlineProducts "
        "batches info load split_classes tensors with_transform"
    ),
    "editions": "",
    "evaluation": "embed evaluate map_at_r nmi recall_at_k top_k",
    "exercises": "",
    "figures": "",
    "geometry": "",
    "losses": (
        "ContrastiveLoss SSTLoss TripletLoss contrastive_loss nearest_positives squared_distances sst_loss triplet_loss"
    ),
    "models": "EmbeddingNet device",
    "paper": "",
    "parallel": "",
    "plots": "",
    "runs": "run",
    "sampling": "ClassBalancedSampler LocalSampler ShuffledSampler kmeans",
    "recipes": "Recipe recipe_for",
    "recording": "",
    "study": "",
    "training": "fit train",
    "widgets": "",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted([*_MODULES, *_HOME])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
