"""Training: embed, sample neighborhoods, take a step on each; repeat.

``train`` is a generator of steps, to be watched; ``fit`` runs it to the end with a progress bar.
A checkpoint is one file with all that is needed to use the network, or to go on training it.
"""

from __future__ import annotations

import io
import math
import platform
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from importlib.metadata import version
from itertools import repeat
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from filelock import FileLock, Timeout
from torch import Tensor, nn
from torch.utils.data import Dataset

from .datasets.archives import brief
from .datasets.base import ArrayDataset, Readable, aside, batches, file_name, split_classes
from .evaluation import embed, recall_at_k
from .losses import ContrastiveLoss, SSTLoss, TripletLoss
from .models import EmbeddingNet, device
from .sampling import ClassBalancedSampler, LocalSampler, ShuffledSampler

__all__ = ["Recipe", "Step", "fit", "load_checkpoint", "load_model", "recipe_for", "save_weights", "train"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; each value is also an option of ``sst train``.

    The values are found for pictures of 32 x 32 on a laptop; :data:`PAPER` and :data:`MODERN` are for photographs.
    """

    loss: str = field(default="sst", metadata={"help": "sst, triplet or contrastive"})
    margin: float | None = field(default=None, metadata={"help": "of triplet (0.2) or contrastive (0.5)"})
    k: int = field(default=5, metadata={"help": "nearest positives of an anchor"})
    sampler: str = field(default="local", metadata={"help": "local, balanced or shuffled"})
    batch_size: int = field(default=200, metadata={"help": "B, the size of a neighborhood"})
    per_class: int = field(default=5, metadata={"help": "images a class in a class-balanced batch"})
    warmup: float = field(default=0.5, metadata={"help": "share of the epochs, class-balanced, before local sampling"})
    positives: str = field(default="epoch", metadata={"help": "chosen once an epoch, or afresh in each batch"})
    backbone: str = field(default="small", metadata={"help": "small, or a torchvision network such as resnet50"})
    weights: str | None = field(default=None, metadata={"help": "pretrained weights of the backbone: DEFAULT"})
    dim: int = field(default=512, metadata={"help": "length of an embedding"})
    normalize: bool = field(default=False, metadata={"help": "scale embeddings to unit length"})
    head: str = field(default="trained", metadata={"help": "trained, or frozen as in the paper's code"})
    scale: float = field(default=0.1, metadata={"help": "factor on embeddings, in place of a temperature"})
    size: int = field(default=32, metadata={"help": "side of the square input in pixels"})
    resize: int = field(default=0, metadata={"help": "side that pictures are scaled to, of which size is cropped"})
    flip: bool = field(default=False, metadata={"help": "mirror every other picture"})
    augment: float = field(default=1.0, metadata={"help": "strength of augmentation; 0 is none"})
    turn: bool = field(default=False, metadata={"help": "turn and mirror whole classes: 8 times as many"})
    epochs: int = field(default=30, metadata={"help": "passes over the training set"})
    lr: float = field(default=3e-3, metadata={"help": "learning rate of Adam"})
    head_lr: float = field(default=1.0, metadata={"help": "factor on the learning rate of the linear layer"})
    weight_decay: float = field(default=1e-4, metadata={"help": "of Adam"})
    schedule: str = field(default="cosine", metadata={"help": "of the learning rate: cosine, plateau or constant"})
    patience: int = field(default=15, metadata={"help": "epochs without a better loss before a plateau run stops"})
    holdout: float = field(default=0.0, metadata={"help": "share of training classes held out to choose the epoch"})
    batch_norm: str = field(default="trained", metadata={"help": "its statistics: trained, or frozen as they come"})
    precision: str = field(default="auto", metadata={"help": "of convolutions: auto, float32 or bfloat16"})
    seed: int = field(default=0, metadata={"help": "of everything random"})

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}")
        for name, least in _LEAST.items():
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)!r}")
        if not self.lr > 0:
            raise ValueError(f"lr must be positive, got {self.lr}")
        if self.resize and self.resize < self.size:
            raise ValueError(f"resize is the side before a crop of size {self.size}: no less, or 0; got {self.resize}")
        for name in ("holdout", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is a share, from 0 to below 1: got {getattr(self, name)}")


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
    "head_lr": 0, "weight_decay": 0, "patience": 1, "seed": 0,
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
    "backbone": ("resnet50", "better features from ImageNet at a similar cost, and kept up by torchvision"),
    "weights": ("IMAGENET1K_V2", "the better of the two sets of weights of this network"),
    "precision": ("auto", "convolutions in bfloat16 take half the time and memory where the hardware knows it"),
    "augment": (0.5, "pictures a little turned, scaled and shifted: less overfitting on 60 images a class"),
    "batch_norm": ("frozen", "a neighborhood is no random sample, so that its statistics are no estimate for others"),
    "positives": ("batch", "the nearest positives of this moment; those of the epoch's start grow stale"),
    "warmup": (0.1, "the neighborhoods of an untrained head are arbitrary"),
    "schedule": ("cosine", "a budget that is known beforehand, and no waiting for a plateau of a noisy loss"),
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


@dataclass
class Step:
    """One step of training, as ``train`` yields it.

    Attributes
    ----------
    epoch, batch, batches : int
        Epoch and batch from 0, and the number of batches of this epoch.
    loss : float
    lr : float
    indices : list of int
        The items of the batch: positions in the data set that is trained on.
    model : EmbeddingNet
        The network itself, not a copy; it is in training mode.
    history : list of dict
        One row for each epoch that is over: epoch, loss, seconds, lr, items, and recall@1 of held-out classes.
    """

    epoch: int
    batch: int
    batches: int
    loss: float
    lr: float
    indices: list[int]
    model: EmbeddingNet
    history: list[dict[str, float]]


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
                f"a recipe has no {name!r}: " + (f"did you mean {close[0]!r}?" if close else ", ".join(names))
            )
    return Recipe(**{**presets[recipe], **values})


def make_loss(recipe: Recipe) -> nn.Module:
    """Return the loss of a recipe."""
    margin = {} if recipe.margin is None else {"margin": recipe.margin}
    if recipe.loss == "sst":
        return SSTLoss(k=recipe.k)
    if recipe.loss == "triplet":
        return TripletLoss(k=recipe.k, **margin)
    return ContrastiveLoss(**margin)


def make_model(recipe: Recipe) -> EmbeddingNet:
    """Return the untrained network of a recipe."""
    names = ("backbone", "dim", "normalize", "head", "weights", "scale", "precision")
    return EmbeddingNet(**{name: getattr(recipe, name) for name in names})


def make_sampler(recipe: Recipe, labels: list[int]) -> LocalSampler | ClassBalancedSampler | ShuffledSampler:
    """Return the sampler of a recipe."""
    if recipe.sampler == "local":
        return LocalSampler(labels, recipe.batch_size, recipe.k, positives=recipe.positives, seed=recipe.seed)
    if recipe.sampler == "balanced":
        return _balanced(recipe, labels)
    return ShuffledSampler(labels, recipe.batch_size, seed=recipe.seed)


def _balanced(recipe: Recipe, labels: list[int]) -> ClassBalancedSampler:
    """Return class-balanced batches near the recipe's size, of all classes where there are few."""
    most = min(recipe.batch_size, len(labels))
    classes = max(2, min(len(set(labels)), most // recipe.per_class))
    return ClassBalancedSampler(labels, most // classes * classes, most // classes, seed=recipe.seed)


def view(recipe: Recipe) -> dict[str, Any]:
    """Return how pictures are seen in evaluation, scaled and cut, as options of :func:`sstutils.embed`."""
    return {"size": recipe.resize or recipe.size, "crop": recipe.size if recipe.resize else None}


def crop(images: Tensor, size: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Cut a square of its own out of each picture, and mirror half of the pictures; on the device of the pictures.

    Parameters
    ----------
    images : (N, 3, H, W) tensor
    size : int
        Side of the square in pixels.
    flip : bool
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    (N, 3, size, size) tensor
    """
    count, _, height, width = images.shape
    steps = torch.arange(size)
    rows = torch.randint(height - size + 1, (count, 1), generator=generator) + steps
    columns = torch.randint(width - size + 1, (count, 1), generator=generator) + steps
    if flip:
        columns = torch.where(torch.rand(count, 1, generator=generator) < 0.5, columns.flip(1), columns)
    rows, columns = rows.to(images.device), columns.to(images.device)
    picture = torch.arange(count, device=images.device)[:, None, None]
    # channels last: one read of three bytes a pixel
    return images.permute(0, 2, 3, 1)[picture, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def augment(images: Tensor, strength: float, generator: torch.Generator, turned: Tensor | None = None) -> Tensor:
    """Turn, scale, slant and shift each picture a little, each in its own way; on the device of the pictures.

    Parameters
    ----------
    images : (N, 3, H, W) uint8
    strength : float
        1 is up to 11 degrees, 19 % of size, 0.15 of slant and 6 % of the side; 0 changes nothing.
    generator : torch.Generator
        On the CPU.
    turned : (N,) int64, optional
        Groups: all pictures of a group are also turned by quarter turns and mirrored, alike. A turned letter is one
        that nobody has seen: if the groups are classes, the network learns to tell eight times as many.

    Returns
    -------
    (N, 3, H, W) float32 in 0..1
    """
    images = images.float() / 255
    if strength == 0 and turned is None:
        return images
    angle, size, slant, right, down = strength * (2 * torch.rand(5, len(images), generator=generator) - 1)
    angle, size, slant, right, down = angle * 0.2, 2 ** (size * 0.25), slant * 0.15, right * 0.12, down * 0.12
    mirror = torch.ones(len(images))
    if turned is not None:
        of_class = torch.randint(8, (int(turned.max()) + 1,), generator=generator)[turned.cpu()]
        angle, mirror = angle + of_class % 4 * (math.pi / 2), 1 - 2.0 * (of_class // 4)
    cos, sin = angle.cos() * size, angle.sin() * size
    affine = torch.stack([cos * mirror, slant - sin, right, sin * mirror, cos, down], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(affine.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def train(
    dataset: Dataset,
    recipe: Recipe | None = None,
    *,
    out: str | PathLike | None = None,
    resume: bool = False,
    data: dict[str, Any] | None = None,
    where: str | torch.device | None = None,
    workers: int = 0,
    strict: bool = False,
) -> Iterator[Step]:
    """Train a network, one step at a time.

    Everything random in an epoch follows from the seed and the number of the epoch, so that a run that was stopped
    and resumed gives, on the CPU, the same numbers as one that was not.

    Parameters
    ----------
    dataset : Dataset
        With ``targets`` and ``classes``; see ``sstutils.load``.
    recipe : Recipe, optional
    out : path, optional
        Checkpoint, written anew after each epoch: whenever training stops, the last whole epoch is there.
    resume : bool
        Go on from the checkpoint `out`.
    data : dict, optional
        Name and options of the data set, kept in the checkpoint.
    where : device, optional
        CUDA, MPS or CPU by default, whichever is there.
    workers : int
        Processes that read pictures from files.
    strict : bool
        Stop at an image that cannot be read. Otherwise another one of its class is taken, with a warning that names it;
        rows of the history count such images as "unreadable".

    Yields
    ------
    Step
        After each optimiser step. When the generator ends, the step's model holds the chosen epoch (that of the best
        Recall@1 on held-out classes, if any are held out, else the last) and is in evaluation mode.

    Raises
    ------
    FloatingPointError
        If an embedding or the loss is no longer finite; the last whole epoch stays in `out`.
    MemoryError
        If the batches are too large for the device; it says what to lower.
    OSError
        If another run writes the same `out`.
    ValueError
        If there is nothing to train on, or the checkpoint to resume belongs to another recipe or other data.
    """
    recipe = recipe or Recipe()
    with ExitStack() as stack:
        try:
            yield from _steps(dataset, recipe, out, resume, data, device(where), workers, strict, stack)
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "not enough memory" not in str(error):
                raise
            low = " or set precision to bfloat16" * (recipe.precision == "float32")
            raise MemoryError(
                f"out of memory with batches of {recipe.batch_size} pictures of {recipe.size} x {recipe.size}: "
                f"lower batch_size or size{low}" + (f"; {out} holds the last whole epoch" if out else "")
            ) from error


@contextmanager
def _alone(out: str | PathLike) -> Iterator[None]:
    """Refuse a second run that writes the same checkpoint; the lock goes with the process, however that ends."""
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OSError(f"another run is writing {path}: wait for it, or choose another file") from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no file that is open
            Path(lock.lock_file).unlink()
        lock.release()


def _steps(
    dataset: Dataset,
    recipe: Recipe,
    out: str | PathLike | None,
    resume: bool,
    data: dict[str, Any] | None,
    where: torch.device,
    workers: int,
    strict: bool,
    stack: ExitStack,
) -> Iterator[Step]:
    """Take all steps of :func:`train`; what must be undone at the end goes on the stack."""
    if len(dataset.classes) < 2:
        raise ValueError(
            f"training needs at least 2 classes, found {len(dataset.classes)}: add images of other classes"
        )
    files = None if strict or isinstance(dataset, ArrayDataset) else Readable(dataset)
    dataset = files or dataset
    training, held_out = split_classes(dataset, recipe.holdout, recipe.seed) if recipe.holdout else (dataset, None)
    torch.manual_seed(recipe.seed)
    model = make_model(recipe).to(where)
    loss_function = make_loss(recipe)
    head = {"params": [p for p in model.head.parameters() if p.requires_grad], "factor": recipe.head_lr}
    groups = [{"params": list(model.backbone.parameters()), "factor": 1.0}, *([head] if head["params"] else [])]
    optimizer = torch.optim.Adam(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
    main = make_sampler(recipe, training.targets)
    # The epochs before local sampling.
    first = _balanced(recipe, training.targets) if recipe.sampler == "local" and recipe.warmup else None
    plateau = Plateau()
    ended = ""  # why training ended before its last epoch
    history: list[dict[str, float]] = []
    chosen: dict[str, Tensor] | None = None  # the weights of the best epoch, if classes are held out
    about = {"name": "", "options": {}, **(data or {}), "fingerprint": getattr(dataset, "fingerprint", "")}

    if resume:
        saved = load_checkpoint(out)
        _check_same(out, saved, recipe, about)
        state = saved["training"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        main.load_state_dict(state["sampler"])
        if first:
            first.load_state_dict(state["warmup"])
        plateau = Plateau(**state["plateau"])
        history, chosen = saved["history"], saved["model"] if held_out else None

    def save() -> None:
        if out is None:
            return
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "sampler": main.state_dict(),
            "warmup": first.state_dict() if first else None,
            "plateau": asdict(plateau),
            "ended": ended,
        }
        content = {
            "format": FORMAT,
            "recipe": asdict(recipe),
            "data": about,
            "model": chosen or state["model"],
            "history": history,
            "versions": versions(),
            "training": state,
        }
        raw = io.BytesIO()  # torch itself tells a full disk by an error that names nothing
        torch.save(content, raw)
        try:
            with aside(out) as temporary:
                temporary.write_bytes(raw.getbuffer())
        except OSError as error:
            raise OSError(
                f"cannot write the checkpoint {out} ({error.strerror or error}): make room, or choose another file"
            ) from error

    if out is not None:
        stack.enter_context(_alone(out))
    if out is not None and not Path(out).exists():
        save()  # from the first moment on there is something to go on from; what was there stays for an epoch
    for epoch in range(len(history), recipe.epochs):
        started, losses, items = time.perf_counter(), [], 0
        torch.manual_seed(1_000_003 * recipe.seed + epoch)
        generator = torch.Generator().manual_seed(1_000_003 * recipe.seed + epoch)
        local = recipe.sampler == "local" and epoch >= recipe.warmup * recipe.epochs
        sampler = first if recipe.sampler == "local" and not local else main
        sampler.refresh(embed(model, training, **view(recipe), workers=workers).to(where) if local else None)
        if not len(sampler) and history:
            ended = "every neighborhood holds one class only, there is nothing left to pull or push"
            break
        if not len(sampler):
            raise ValueError(
                f"no batch of {recipe.batch_size} holds two images of one class beside another class: "
                "check the labels, or take another batch_size"
            )
        model.train()
        if recipe.batch_norm == "frozen":
            for layer in model.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()
        order = list(sampler)
        for batch, (indices, pairs, (images, labels)) in enumerate(
            zip(order, sampler.pairs or repeat(None), batches(training, order, recipe.resize or recipe.size, workers))
        ):
            lr = recipe.lr * plateau.factor * _schedule(recipe, (epoch + batch / len(order)) / recipe.epochs)
            for group in optimizer.param_groups:
                group["lr"] = lr * group["factor"]
            # In a neighborhood all classes are turned alike: neighbors stay neighbors.
            turned = (labels * (not local)) if recipe.turn else None
            images = images.to(where, non_blocking=True)
            if recipe.resize or recipe.flip:
                images = crop(images, recipe.size, recipe.flip, generator)
            embeddings = model(augment(images, recipe.augment, generator, turned))
            finite = bool(embeddings.isfinite().all())
            loss = loss_function(embeddings, labels.to(where), pairs) if finite else embeddings.sum()
            if not (finite and loss.isfinite()):
                raise FloatingPointError(
                    f"training diverged in epoch {epoch + 1}, batch {batch + 1} of {len(order)}: "
                    f"the {'loss is' if finite else 'embeddings are'} no longer finite at learning rate {lr:.2g}. "
                    "Lower lr, lengthen warmup or set normalize"
                    + (f"; {out} holds the {epoch} whole epochs before" if out else "")
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            items += len(indices)
            yield Step(epoch, batch, len(order), losses[-1], lr, indices, model, history)
        row = {"epoch": epoch + 1, "loss": sum(losses) / len(losses), "lr": lr, "items": items}
        if held_out:
            row["recall@1"] = recall_at_k(
                embed(model, held_out, **view(recipe), workers=workers), held_out.targets, (1,)
            )[1]
            if row["recall@1"] > max((past["recall@1"] for past in history), default=-1):
                chosen = deepcopy(model.state_dict())
        if files and files.unreadable.any():
            row["unreadable"] = int(files.unreadable.sum())
        row["seconds"] = time.perf_counter() - started
        history.append(row)
        if recipe.schedule == "plateau" and (local or recipe.sampler != "local"):
            plateau.update(row["loss"])
        if plateau.stale >= recipe.patience:
            ended = f"the training loss did not fall for {plateau.stale} epochs"
            break
        save()
    if ended:
        save()
    if chosen:
        model.load_state_dict(chosen)
    model.eval()


@dataclass
class Plateau:
    """Halve the learning rate at each 6th epoch in a row without a better training loss; count such epochs.

    Attributes
    ----------
    best : float
        The lowest loss so far.
    stale : int
        Epochs since.
    factor : float
        On the learning rate.
    """

    best: float = math.inf
    stale: int = 0
    factor: float = 1.0

    def update(self, loss: float) -> None:
        """Take the training loss of an epoch."""
        self.stale = 0 if loss < self.best else self.stale + 1
        self.best = min(self.best, loss)
        if self.stale and self.stale % 6 == 0:
            self.factor /= 2


def _schedule(recipe: Recipe, progress: float) -> float:
    """Return the factor on the learning rate at a point of the run, from 0 to 1: a short rise, then half a cosine."""
    if recipe.schedule != "cosine":
        return 1.0
    return min(1.0, 0.05 + progress / 0.05) * max(0.01, (1 + math.cos(math.pi * progress)) / 2)


def fit(dataset: Dataset, recipe: Recipe | None = None, *, progress: bool = True, **options: Any) -> Step:
    """Train to the end, with a progress bar.

    Parameters
    ----------
    dataset, recipe, **options
        As for :func:`train`.
    progress : bool
        Show the bar: epochs, time left, loss and Recall@1 of held-out classes.

    Returns
    -------
    Step
        The last one: its ``model`` is trained and in evaluation mode, its ``history`` complete.
    """
    from tqdm.auto import tqdm

    def recall(history: list[dict[str, float]]) -> dict[str, str]:
        return {"recall@1": f"{history[-1]['recall@1']:.3f}"} if history and "recall@1" in history[-1] else {}

    recipe = recipe or Recipe()
    step = None
    with tqdm(total=recipe.epochs, desc="training", unit="epoch", disable=not progress) as bar:
        for step in train(dataset, recipe, **options):
            bar.set_postfix({"loss": f"{step.loss:.4f}", **recall(step.history)}, refresh=False)
            bar.update(step.epoch + (step.batch + 1) / step.batches - bar.n)
    if step is None:
        raise ValueError("there was nothing left to train: every neighborhood holds one class only")
    return step


FORMAT = 1  # of checkpoints


def versions() -> dict[str, str]:
    """Return the versions of what a result depends on."""
    names = ("sstutils", "torch", "torchvision", "numpy", "scikit-learn", "openTSNE", "matplotlib", "mpltern", "pillow")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def checkpoint_path(data: str, out: str | PathLike = "output") -> Path:
    """Return where the network of a data set is kept by default: OUT/checkpoints/NAME.pt."""
    return Path(out) / "checkpoints" / f"{file_name(data)}.pt"


def load_checkpoint(path: str | PathLike) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Returns
    -------
    dict
        ``recipe`` (dict), ``data`` (name, options, fingerprint), ``model`` (weights), ``history`` (list of rows),
        ``versions`` and ``training`` (what resuming needs; of a file by :func:`save_weights` only how it ended).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a whole checkpoint of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}: make one with `sst train NAME --out {path}`")
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickle protocols, where the file is no checkpoint at all
            content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError("another format")
        if lacking := {"data", "model", "history", "versions", "training"} - set(content):
            raise ValueError(f"without {', '.join(sorted(lacking))}")
        Recipe(**content["recipe"])
        content["model"] = _weights(content["model"], torch.float32)
    except Exception as error:  # torch raises some ten kinds on damaged files
        reason = brief(error)[:80]
        raise ValueError(f"{path} is not a whole checkpoint of sstutils ({reason}): train it again") from None
    return content


def save_weights(content: dict[str, Any], path: str | PathLike) -> None:
    """Write a checkpoint without what only resuming needs, weights in half precision: a sixth of the size.

    :func:`load_checkpoint` and :func:`load_model` read it as any other; training cannot be resumed from it.

    Parameters
    ----------
    content : dict
        As :func:`load_checkpoint` returns it.
    path : path
    """
    thin = {"model": _weights(content["model"], torch.float16), "training": {"ended": content["training"]["ended"]}}
    with aside(path) as temporary:
        torch.save(content | thin, temporary)


def _weights(state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return weights in a floating-point type; counters stay whole numbers."""
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}


def load_model(path: str | PathLike, where: str | torch.device | None = None) -> tuple[EmbeddingNet, dict[str, Any]]:
    """Return the trained network of a checkpoint, in evaluation mode, and the checkpoint itself."""
    content = load_checkpoint(path)
    model = make_model(replace(Recipe(**content["recipe"]), weights=None))
    try:
        model.load_state_dict(content["model"])
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{path} holds weights that do not fit its recipe: train it again") from error
    return model.to(device(where)).eval(), content


def _check_same(path: str | PathLike, saved: dict[str, Any], recipe: Recipe, about: dict[str, Any]) -> None:
    """Raise ValueError unless a checkpoint can be resumed with this recipe and data; `epochs` may differ."""
    if "optimizer" not in saved["training"]:
        raise ValueError(f"{path} holds the weights only, to use and not to resume: train anew into another file")
    differing = [
        f"{name} {value!r} (now {asdict(recipe)[name]!r})"
        for name, value in saved["recipe"].items()
        if value != asdict(recipe)[name] and name != "epochs"
    ]
    if differing:
        raise ValueError(f"{path} was trained with {', '.join(differing)}: resume with the same or choose another file")
    if saved["training"]["ended"]:
        raise ValueError(f"{path} is trained to its end: {saved['training']['ended']}")
    if len(saved["history"]) >= recipe.epochs:
        raise ValueError(f"{path} has its {len(saved['history'])} epochs already: ask for more epochs to go on")
    if saved["data"]["fingerprint"] != about["fingerprint"]:
        raise ValueError(
            f"{path} was trained on other data ({saved['data']['name']} {saved['data']['fingerprint']}, "
            f"now {about['name']} {about['fingerprint']}): resume with the same, or choose another file"
        )
