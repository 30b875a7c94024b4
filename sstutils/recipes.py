"""Recipes: how a network is trained, and what a recipe is made of: network, loss, sampler.

``Recipe()`` suits small pictures on a laptop; :data:`PAPER` is the published code's for photographs, :data:`MODERN`
what today's practice changes in it, each item with its reason.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from math import cos, pi
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from .losses import ContrastiveLoss, SSTLoss, TripletLoss
from .models import EmbeddingNet
from .sampling import ClassBalancedSampler, LocalSampler, ShuffledSampler

__all__ = [
    "MODERN", "PAPER", "Recipe", "make_loss", "make_model", "make_optimizer", "make_sampler", "make_scheduler",
    "recipe_for", "view",
]  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; each value is also an option of ``sst train``.

    The values are found for pictures of 32 x 32 on a laptop; :data:`PAPER` and :data:`MODERN` are for photographs.
    """

    loss: str = field(
        default="sst", metadata={"help": "sst, triplet, contrastive, or a name of pytorch-metric-learning"}
    )
    margin: float | None = field(default=None, metadata={"help": "of triplet (0.2) or contrastive (0.5)"})
    proxy_lr: float = field(
        default=1.0, metadata={"help": "factor on the learning rate of proxies, of losses that have them"}
    )
    k: int = field(default=5, metadata={"help": "nearest positives of an anchor"})
    sampler: str = field(default="local", metadata={"help": "local, balanced or shuffled"})
    batch_size: int = field(default=200, metadata={"help": "B, the size of a neighborhood"})
    per_class: int = field(default=5, metadata={"help": "images per class in a class-balanced batch"})
    warmup: float = field(default=0.5, metadata={"help": "share of the epochs, class-balanced, before local sampling"})
    refresh: int = field(default=1, metadata={"help": "epochs between searches for new neighborhoods"})
    neighborhoods: int = field(default=1, metadata={"help": "batches averaged in one optimiser step"})
    positives: str = field(default="epoch", metadata={"help": "when they are chosen: once per epoch, or in each batch"})
    backbone: str = field(default="small", metadata={"help": "small, or a torchvision network such as resnet50"})
    weights: str | None = field(default=None, metadata={"help": "of the backbone: DEFAULT, a file, or none"})
    dim: int = field(default=512, metadata={"help": "length of an embedding"})
    normalize: bool = field(default=False, metadata={"help": "scale embeddings to unit length"})
    head: str = field(default="trained", metadata={"help": "trained, or frozen as in the paper's code"})
    scale: float = field(default=0.1, metadata={"help": "factor on embeddings, in place of a temperature"})
    size: int = field(default=32, metadata={"help": "side of the square input in pixels"})
    resize: int = field(
        default=0, metadata={"help": "side that images are resized to before cropping to size; 0: no crop"}
    )
    flip: bool = field(default=False, metadata={"help": "mirror half of the images"})
    augment: float = field(default=1.0, metadata={"help": "strength of augmentation; 0 is none"})
    turn: bool = field(default=False, metadata={"help": "rotate and mirror whole classes, for 8 times as many"})
    epochs: int = field(default=30, metadata={"help": "passes over the training set"})
    lr: float = field(default=3e-3, metadata={"help": "learning rate of Adam"})
    head_lr: float = field(default=1.0, metadata={"help": "factor on the learning rate of the linear layer"})
    weight_decay: float = field(default=1e-4, metadata={"help": "of Adam"})
    schedule: str = field(default="cosine", metadata={"help": "of the learning rate: cosine, plateau or constant"})
    patience: int = field(default=15, metadata={"help": "epochs without a better loss before a plateau run stops"})
    holdout: float = field(default=0.0, metadata={"help": "share of training classes held out to choose the epoch"})
    batch_norm: str = field(default="trained", metadata={"help": "its statistics: trained, or frozen"})
    precision: str = field(default="auto", metadata={"help": "of convolutions: auto, float32 or bfloat16"})
    compile: bool = field(default=False, metadata={"help": "compile the backbone: slow at first, then faster"})
    seed: int = field(default=0, metadata={"help": "of everything random"})

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            # Losses of others are looked up when one is made: a network can be used where their package is not.
            if getattr(self, name) not in choices and not (name == "loss" and self.loss.endswith("Loss")):
                raise ValueError(f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}")
        for name, least in _LEAST.items():
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)!r}")
        if not self.lr > 0:
            raise ValueError(f"lr must be positive, got {self.lr}")
        if self.resize and self.resize < self.size:
            raise ValueError(f"resize must be 0 or at least size, {self.size}; got {self.resize}")
        for name in ("holdout", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")


_CHOICES = {
    "loss": ("sst", "triplet", "contrastive"),
    "sampler": ("local", "balanced", "shuffled"),
    "positives": ("epoch", "batch"),
    "head": ("trained", "frozen"),
    "schedule": ("cosine", "plateau", "constant"),
    "precision": ("auto", "float32", "bfloat16"),
    "batch_norm": ("trained", "frozen"),
}
_LEAST = {
    "k": 1, "batch_size": 2, "per_class": 2, "dim": 1, "size": 8, "augment": 0, "epochs": 1,
    "head_lr": 0, "proxy_lr": 0, "weight_decay": 0, "patience": 1, "refresh": 1, "neighborhoods": 1, "seed": 0,
}  # fmt: skip


# As the paper's published code trains on its three data sets of photographs: Adam, the learning rate halved when the
# training loss stands still, early stopping, embeddings as they are. (Its head was frozen, by a slip: head="frozen".)
PAPER: dict[str, Any] = {
    "backbone": "bn_inception", "weights": "DEFAULT", "resize": 256, "size": 224, "flip": True, "augment": 0.0,
    "warmup": 0.0, "scale": 1.0, "epochs": 150, "lr": 1e-4, "head_lr": 10.0, "schedule": "plateau",
    "precision": "float32",
}  # fmt: skip

# What today's practice changes in it: the value, and why.
MODERN: dict[str, tuple[Any, str]] = {
    "backbone": ("resnet50", "better ImageNet features at a similar cost, maintained by torchvision"),
    "weights": ("IMAGENET1K_V2", "the better of this network's two sets of weights"),
    "precision": ("auto", "bfloat16 convolutions take half the time and memory on hardware that supports them"),
    "augment": (0.5, "small rotations, scalings and shifts: less overfitting on 60 images per class"),
    "batch_norm": ("frozen", "a neighborhood is not a random sample: its statistics do not estimate those of others"),
    "positives": ("batch", "the current nearest positives; those found at the start of the epoch grow stale"),
    "refresh": (2, "embedding the training set costs a forward pass of it, and neighborhoods change slowly"),
    "warmup": (0.1, "the neighborhoods of an untrained head are arbitrary"),
    "schedule": ("cosine", "a budget known in advance, and no waiting for a noisy loss to level off"),
    "epochs": (60, "enough with that schedule"),
    "holdout": (0.1, "the epoch is chosen on training classes held out: never on the test, never by the training loss"),
}  # fmt: skip

# Letters and characters may be turned as whole classes. A data set of few images wants smaller neighborhoods.
_SUITED: dict[str, dict[str, Any]] = {
    "glyphs": {"turn": True, "epochs": 36},
    "omniglot": {"turn": True},
    "digits": {"batch_size": 100},
    "cub200": PAPER,
    "cars196": PAPER,
    "sop": PAPER,
}


def recipe_for(data: str, recipe: str = "default", **values: Any) -> Recipe:
    """Return the recipe for a data set: a set of values that suits its pictures, and `values` over it.

    Parameters
    ----------
    data : str
        Name of the data set.
    recipe : {"default", "paper", "modern"}
        "paper" is :data:`PAPER`, "modern" has :data:`MODERN` over it; the default is the paper's for its own three data
        sets, and small for all others.
    **values
        Fields of :class:`Recipe`.

    Raises
    ------
    ValueError
        If there is no such recipe or value.
    """
    presets = {
        "default": _SUITED.get(data.partition(":")[0].lower(), {}),
        "paper": PAPER,
        "modern": PAPER | {name: value for name, (value, _) in MODERN.items()},
    }
    if recipe not in presets:
        raise ValueError(f"recipe must be one of {', '.join(presets)}; got {recipe!r}")
    names = [entry.name for entry in fields(Recipe)]
    for name in values:
        if name not in names:
            close = get_close_matches(name, names, n=1)
            raise ValueError(
                f"unknown field {name!r} of a recipe; "
                + (f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(names)}")
            )
    return Recipe(**{**presets[recipe], **values})


def make_loss(recipe: Recipe, classes: int = 0) -> nn.Module:
    """Return the loss of a recipe.

    Parameters
    ----------
    recipe : Recipe
        Its `loss` is one of this package's or the name of a class in ``pytorch_metric_learning.losses``. Those of
        proxies (such as "ProxyAnchorLoss") have weights of their own, to be trained with the network's. The margin is
        passed on to losses that have one, if the recipe has one.
    classes : int
        Number of training classes, for proxies.

    Raises
    ------
    ValueError
        If there is no such loss, or it needs more than a recipe holds.
    """
    margin = {} if recipe.margin is None else {"margin": recipe.margin}
    if recipe.loss == "sst":
        return SSTLoss(k=recipe.k)
    if recipe.loss == "triplet":
        return TripletLoss(k=recipe.k, **margin)
    if recipe.loss == "contrastive":
        return ContrastiveLoss(**margin)
    try:
        from pytorch_metric_learning import losses
    except ImportError:
        raise ValueError(
            f"the loss {recipe.loss} needs pytorch-metric-learning, which is not installed; "
            "run pip install pytorch-metric-learning, or choose sst, triplet or contrastive"
        ) from None
    if not hasattr(losses, recipe.loss):
        names = [name for name in dir(losses) if name.endswith("Loss")]
        close = get_close_matches(recipe.loss, names, n=1)
        raise ValueError(
            f"unknown loss {recipe.loss!r}; "
            + (f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(names)}")
        )
    cls = getattr(losses, recipe.loss)
    known = {"num_classes": classes, "embedding_size": recipe.dim, **margin}
    try:
        return cls(**{name: value for name, value in known.items() if name in inspect.signature(cls).parameters})
    except TypeError as error:
        raise ValueError(f"the loss {recipe.loss} needs more than a recipe holds ({error}); choose another") from None


def make_model(recipe: Recipe) -> EmbeddingNet:
    """Return the untrained network of a recipe."""
    names = ("backbone", "dim", "normalize", "head", "weights", "scale", "precision")
    return EmbeddingNet(**{name: getattr(recipe, name) for name in names})


def make_sampler(recipe: Recipe, labels: list[int]) -> LocalSampler | ClassBalancedSampler | ShuffledSampler:
    """Return the sampler of a recipe."""
    if recipe.sampler == "local":
        # Losses of others choose their pairs themselves.
        positives = recipe.positives if recipe.loss in _CHOICES["loss"] else "batch"
        return LocalSampler(labels, recipe.batch_size, recipe.k, positives=positives, seed=recipe.seed)
    if recipe.sampler == "balanced":
        return balanced_sampler(recipe, labels)
    return ShuffledSampler(labels, recipe.batch_size, seed=recipe.seed)


def balanced_sampler(recipe: Recipe, labels: list[int]) -> ClassBalancedSampler:
    """Return class-balanced batches near the recipe's size, of all classes where there are few."""
    most = min(recipe.batch_size, len(labels))
    classes = max(2, min(len(set(labels)), most // recipe.per_class))
    return ClassBalancedSampler(labels, most // classes * classes, most // classes, seed=recipe.seed)


def make_optimizer(recipe: Recipe, model: EmbeddingNet, loss: nn.Module) -> torch.optim.Adam:
    """Make the optimiser: Adam, with learning rates of their own for the head and for proxies of the loss."""
    factors = (model.backbone, 1.0), (model.head, recipe.head_lr), (loss, recipe.proxy_lr)
    groups = [
        {"params": [weights for weights in part.parameters() if weights.requires_grad], "lr": recipe.lr * factor}
        for part, factor in factors
    ]
    return torch.optim.Adam([group for group in groups if group["params"]], weight_decay=recipe.weight_decay)


def make_scheduler(recipe: Recipe, optimizer: torch.optim.Optimizer) -> LRScheduler:
    """Make the schedule of the learning rate; all but "plateau" count epochs, and fractions of them.

    "plateau" is the paper's: halved after the 6th epoch in a row without a better training loss. "cosine" rises over
    the first 5 % of a run, then follows half a cosine down to 1 %.
    """
    if recipe.schedule == "plateau":
        return ReduceLROnPlateau(optimizer, factor=0.5, patience=5, threshold=0, eps=0)

    def factor(epochs: float) -> float:
        done = epochs / recipe.epochs
        return min(1.0, 0.05 + done / 0.05) * max(0.01, (1 + cos(pi * done)) / 2)

    return LambdaLR(optimizer, factor if recipe.schedule == "cosine" else lambda epochs: 1.0)


def view(recipe: Recipe) -> dict[str, Any]:
    """Return how pictures are seen in evaluation, scaled and cut, as options of :func:`sstutils.embed`."""
    return {"size": recipe.resize or recipe.size, "crop": recipe.size if recipe.resize else None}
