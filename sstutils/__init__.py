"""Deep metric learning with local sampling and the stochastic symmetric triplet (SST) loss.

The method is that of B. Nguyen and B. De Baets, Neurocomputing 402, 209-219, 2020.

Data flows one way: data set -> model -> embedding -> sampler -> loss -> training -> evaluation. Each of these words is
a module of this folder; figures, photographs, studies and lectures have a folder each. What they offer can be imported
from here, and is loaded when it is first used.
"""

import os
import warnings
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Threads of torch (libgomp) spin while they wait for each other: beside another busy program they wait for one that
# does not run, and everything takes five times as long. libgomp reads this once, when torch is loaded.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = "0"

# Module -> what of it can be imported from here; other modules are imported as a whole.
_MODULES = {
    "checkpoints": "load_checkpoint load_model",
    "clustering": "kmeans",
    "datasets": (
        "CUB200 Cars196 ClassSubset Digits FashionMNIST Folder Glyphs Omniglot StanfordOnlineProducts "
        "batches info load split_classes tensors with_transform"
    ),
    "embedding": "embed",
    "evaluation": "evaluate map_at_r nmi r_precision recall_at_k top_k",
    "index": "Index",
    "lectures.exercises": "____",
    "losses": (
        "ContrastiveLoss SSTLoss TripletLoss contrastive_loss nearest_positives squared_distances sst_loss triplet_loss"
    ),
    "models": "EmbeddingNet device",
    "recipes": "Recipe recipe_for",
    "runs": "run",
    "sampling": "ClassBalancedSampler LocalSampler ShuffledSampler",
    "training": "fit train",
}
_WHOLE = (
    "augmentation checks distributed figures figures.plots files geometry lectures.editions lectures.recording "
    "lectures.widgets study study.paper"
)
_SHORT = {module.rpartition(".")[2]: module for module in [*_MODULES, *_WHOLE.split()]}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}
_RENAMED = {"parallel": "distributed"}  # until the next release

__all__ = sorted([*_SHORT, *_HOME])


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        warnings.warn(f"sstutils.{name} is now sstutils.{_RENAMED[name]}", FutureWarning, stacklevel=2)
        name = _RENAMED[name]
    if name in _SHORT:
        return import_module(f".{_SHORT[name]}", __name__)
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
