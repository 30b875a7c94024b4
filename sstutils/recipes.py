"""Recipes: how a network is trained, and what a recipe is made of: network, loss, sampler.

``Recipe()`` suits small pictures on a laptop; :data:`PAPER` is the published code's for photographs, :data:`MODERN`
what today's practice changes in it, each item with its reason.
"""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from importlib import import_module
from math import cos, pi
from os import PathLike, fspath
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from .checks import real_number, true_or_false, whole_number
from .losses import ContrastiveLoss, SSTLoss, TripletLoss
from .models import HEADS, EmbeddingNet
from .sampling import ClassBalancedSampler, LocalSampler, ShuffledSampler

LOSSES = ("sst", "triplet", "contrastive")  # of this package


def _value(default: Any, about: str, least: Any = None, most: Any = None, *, choices: tuple[str, ...] = ()) -> Any:
    """Declare a field: its default, the help of its option, and the values that it may have."""
    return field(default=default, metadata={"help": about, "least": least, "most": most, "choices": choices})


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; each value is also an option of ``sst train``.

    The values are found for pictures of 32 x 32 on a laptop; :data:`PAPER` and :data:`MODERN` are for photographs.
    NumPy's numbers become Python's, and a path of weights a string.

    Raises
    ------
    ValueError
        If a value is of another type than its field, not among its choices or out of its range.
    """

    loss: str = _value("sst", "sst, triplet, contrastive, or a name of pytorch-metric-learning", choices=LOSSES)
    miner: str | None = _value(None, "pytorch-metric-learning's miner of triplets, such as BatchHardMiner")
    margin: float | None = _value(None, "of the triplet (0.2) or contrastive (0.5) loss", -1e6, 1e6)
    proxy_lr: float = _value(1.0, "factor on the learning rate of proxies, if the loss has any", 0, 1e6)
    k: int = _value(5, "nearest positives per anchor", 1, 10**6)
    sampler: str = _value("local", "batches: local, balanced or shuffled", choices=("local", "balanced", "shuffled"))
    batch_size: int = _value(200, "B, the size of a neighborhood", 2, 10**6)
    per_class: int = _value(5, "images per class in a class-balanced batch", 2, 10**6)
    warmup: float = _value(0.5, "share of the epochs with class-balanced batches, before local sampling", 0, 0.999)
    refresh: int = _value(1, "epochs between searches for new neighborhoods", 1, 10**6)
    neighborhoods: int = _value(1, "batches averaged in one optimiser step", 1, 10**4)
    positives: str = _value("epoch", "when they are chosen: per epoch, or in each batch", choices=("epoch", "batch"))
    backbone: str = _value("small", "small, or a torchvision network such as resnet50")
    weights: str | None = _value(None, "initial weights of the backbone: DEFAULT, a file, or none")
    dim: int = _value(512, "length of an embedding", 1, 2**16)
    normalize: bool = _value(False, "scale embeddings to unit length")
    head: str = _value("trained", "trained; frozen, as in the paper's code; only: train nothing else", choices=HEADS)
    layers: int = _value(1, "layers of the head", 1, 2)
    scale: float = _value(0.1, "factor on embeddings, in place of a temperature", 1e-6, 1e6)
    size: int = _value(32, "side of the square input in pixels", 8, 4096)
    warmup_size: int = _value(0, "side of the input during warmup, to save time; 0: size", 0, 4096)
    resize: int = _value(0, "side that images are resized to before cropping to size; 0: no crop", 0, 4096)
    flip: bool = _value(False, "mirror half of the images")
    augment: float = _value(1.0, "strength of augmentation; 0 is none", 0, 10)
    turn: bool = _value(False, "rotate and mirror whole classes, for 8 times as many")
    warmup_turn: bool = _value(False, "rotate and mirror whole classes during warmup only")
    epochs: int = _value(30, "passes over the training set", 1, 10**6)
    lr: float = _value(3e-3, "learning rate of Adam", 1e-12, 1e3)
    head_lr: float = _value(1.0, "factor on the learning rate of the linear layer", 0, 1e6)
    weight_decay: float = _value(1e-4, "weight decay of Adam", 0, 1e3)
    schedule: str = _value(
        "cosine", "learning rate schedule: cosine, plateau or constant", choices=("cosine", "plateau", "constant")
    )
    patience: int = _value(15, "epochs without a better loss before a plateau run stops", 1, 10**6)
    holdout: float = _value(0.0, "share of training classes held out to choose the epoch", 0, 0.999)
    batch_norm: str = _value("trained", "batch normalisation: trained or frozen", choices=("trained", "frozen"))
    precision: str = _value("auto", "auto, float32 or bfloat16 convolutions", choices=("auto", "float32", "bfloat16"))
    compile: bool = _value(False, "compile the backbone: slow at first, then faster")
    seed: int = _value(0, "seed of everything random", 0, 2**64 - 1)

    def __post_init__(self) -> None:
        for entry in fields(self):
            object.__setattr__(self, entry.name, _convert(entry, getattr(self, entry.name)))
        if 0 < self.resize < self.size:
            raise ValueError(f"resize must be 0 or at least size, {self.size}; got {self.resize}")


def check_recipe(recipe: Recipe | None) -> Recipe:
    """Return a recipe, the default one for None; ValueError if it is something else."""
    if not isinstance(recipe, (Recipe, NoneType)):
        raise ValueError(f"recipe must be a Recipe, as recipe_for makes one, got {type(recipe).__name__}")
    return recipe or Recipe()


def _convert(entry: Field, value: Any) -> Any:
    """Return a value as its field has it, by the annotation, or raise a ValueError that names the field."""
    name, (kind, _, optional) = entry.name, entry.type.partition(" | ")
    least, most, choices = (entry.metadata[key] for key in ("least", "most", "choices"))
    if value is None and optional:
        return None
    if kind == "bool":
        return true_or_false(name, value)
    if kind == "int":
        return whole_number(name, value, least, most)
    if kind == "float":
        return real_number(name, value, least, most)
    text = fspath(value) if isinstance(value, PathLike) else value
    if not isinstance(text, str) or len(text) > 1000:
        raise ValueError(f"{name} must be a string of at most 1,000 characters, got {type(value).__name__}")
    # Losses of others are looked up when one is made: a network can be used where their package is not.
    if choices and text not in choices and not (name == "loss" and re.match(r"\w+Loss($|\()", text)):
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {text!r:.60}")
    return text


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

# Photographs without a GPU: what ImageNet's backbone makes of them is computed once, and the head is trained on it.
FEATURES: dict[str, Any] = {
    "backbone": "mobilenet_v3_large", "weights": "DEFAULT", "head": "only", "size": 224, "augment": 0.0, "scale": 1.0,
    "lr": 1e-3, "batch_size": 100, "warmup": 0.3, "holdout": 0.2,
}  # fmt: skip

# Letters and characters may be turned as whole classes: to be fast on an old laptop, glyphs are so, and smaller, only
# until neighborhoods are formed. A data set of few images wants smaller neighborhoods.
_SUITED: dict[str, dict[str, Any]] = {
    "glyphs": {"batch_size": 100, "epochs": 28, "warmup": 0.6, "warmup_size": 24, "warmup_turn": True, "refresh": 2},
    "omniglot": {"turn": True},
    "digits": {"batch_size": 100},
    **dict.fromkeys(("cub200", "cars196", "sop"), PAPER),
}


def recipe_for(data: str, recipe: str = "default", **values: Any) -> Recipe:
    """Return the recipe for a data set, by its name: a set of values that suits its pictures, and `values` over it.

    "paper" is :data:`PAPER`, "modern" has :data:`MODERN` over it, "features" is :data:`FEATURES`; the default is the
    paper's for its own three data sets, and "small" for all others. An unknown recipe or value is a ValueError.
    """
    presets = {
        "default": _SUITED.get(data.partition(":")[0].lower(), {}),
        "small": {},
        "features": FEATURES,
        "paper": PAPER,
        "modern": PAPER | {name: value for name, (value, _) in MODERN.items()},
    }
    if recipe not in presets:
        raise ValueError(f"recipe must be one of {', '.join(presets)}; got {recipe!r}")
    names = [entry.name for entry in fields(Recipe)]
    for name in values.keys() - set(names):
        raise ValueError(f"unknown field {name!r} of a recipe; {_suggest(name, names)}")
    return Recipe(**{**presets[recipe], **values})


def _suggest(name: str, names: list[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(names)}"


def make_loss(recipe: Recipe, classes: int = 0) -> nn.Module:
    """Return the loss of a recipe: one of this package's or a class of ``pytorch_metric_learning.losses``.

    The latter may have arguments, as in "MultiSimilarityLoss(beta=10)"; it has the margin of the recipe if it takes
    one. Those of proxies (such as "ProxyAnchorLoss") have weights of their own, one row for each of the training
    `classes`, to be trained with the network's. A miner replaces the triplets of the sampler by those it chooses in
    each batch. A loss or a miner that is unknown, or needs more than a recipe holds, is a ValueError.
    """
    margin = {} if recipe.margin is None else {"margin": recipe.margin}
    own = SSTLoss(recipe.k), TripletLoss(k=recipe.k, **margin), ContrastiveLoss(**margin)
    loss = dict(zip(LOSSES, own, strict=True)).get(recipe.loss) or _of_pml(
        "loss", recipe.loss, num_classes=classes, embedding_size=recipe.dim, **margin
    )
    if recipe.miner is None:
        return loss
    from pytorch_metric_learning.distances import LpDistance

    squared = LpDistance(normalize_embeddings=recipe.normalize, power=2)
    return _Mined(_of_pml("miner", recipe.miner, distance=squared, **margin), loss)


class _Mined(nn.Module):
    """A loss of the triplets that a miner chooses in each batch."""

    def __init__(self, miner: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.miner, self.loss = miner, loss

    def forward(self, embeddings: Tensor, labels: Tensor, indices_tuple: Any = None) -> Tensor:
        return self.loss(embeddings, labels, self.miner(embeddings.detach(), labels))


def _of_pml(what: str, call: str, **known: Any) -> nn.Module:
    """Make a loss or a miner of pytorch-metric-learning by its name, with arguments or without, and what is known."""
    try:
        package = import_module("pytorch_metric_learning." + {"loss": "losses", "miner": "miners"}[what])
    except ImportError:
        raise ValueError(
            f"the {what} {call} needs pytorch-metric-learning, which is not installed; "
            "run pip install pytorch-metric-learning, or choose sst, triplet or contrastive"
        ) from None
    name, arguments = call.partition("(")[::2]
    if not hasattr(package, name):
        names = [name for name in dir(package) if name.endswith(what.capitalize())]
        raise ValueError(f"unknown {what} {name!r}; {_suggest(name, names)}")
    try:
        words = ast.parse(f"f({arguments or ')'}", mode="eval").body.keywords
        asked = {word.arg: ast.literal_eval(word.value) for word in words}
    except (SyntaxError, ValueError, AttributeError):
        raise ValueError(
            f"{what} must be a name, or one with numbers such as {name}(margin=0.1); got {call!r}"
        ) from None
    cls = getattr(package, name)
    fitting = {name: value for name, value in known.items() if name in inspect.signature(cls).parameters}
    try:
        return cls(**fitting | asked)
    except TypeError as error:
        raise ValueError(f"the {what} {call} needs more than a recipe holds ({error}); choose another") from None


def make_model(recipe: Recipe) -> EmbeddingNet:
    """Return the untrained network of a recipe."""
    names = ("backbone", "dim", "normalize", "head", "layers", "weights", "scale", "precision")
    return EmbeddingNet(**{name: getattr(recipe, name) for name in names})


def make_sampler(recipe: Recipe, labels: list[int]) -> LocalSampler | ClassBalancedSampler | ShuffledSampler:
    """Return the sampler of a recipe."""
    if recipe.sampler == "local":
        # Losses of others choose their pairs themselves.
        positives = recipe.positives if recipe.loss in LOSSES and not recipe.miner else "batch"
        return LocalSampler(labels, recipe.batch_size, recipe.k, positives=positives, seed=recipe.seed)
    if recipe.sampler == "balanced":
        return balanced_sampler(recipe, labels)
    return ShuffledSampler(labels, recipe.batch_size, seed=recipe.seed)


def balanced_sampler(recipe: Recipe, labels: list[int]) -> ClassBalancedSampler:
    """Return class-balanced batches near the recipe's size, of all classes where there are few."""
    most = min(recipe.batch_size, len(labels))
    if most < 4:
        got = f"got batch_size {recipe.batch_size} and {len(labels)} images"
        raise ValueError(f"class-balanced batches (of warmup, too) need 4 images, 2 of each of 2 classes; {got}")
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
