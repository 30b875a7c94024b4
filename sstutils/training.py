"""Training: embed, sample neighborhoods, take a step on each; repeat.

``train`` is a generator of steps, to be watched; ``fit`` runs it to the end with a progress bar.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import Dataset, Subset

from . import checkpoints, distributed
from .augmentation import augment, crop
from .datasets.base import ArrayDataset, Readable, batches, innermost, split_classes, unreadable
from .evaluation import embed, recall_at_k
from .files import exclusive, one_line
from .models import EmbeddingNet, device
from .recipes import Recipe, balanced_sampler, make_loss, make_model, make_sampler, view

__all__ = ["Plateau", "Step", "duration", "fit", "measure_speed", "train"]


@dataclass
class Step:
    """One step of training, as ``train`` yields it.

    Attributes
    ----------
    epoch, batch, batches : int
        Epoch and step from 0, and the number of steps of this epoch.
    loss : float
    lr : float
    indices : list of int
        The items of the batch (or of all batches of the step): positions in the data set that is trained on.
    model : EmbeddingNet
        The network itself, not a copy; it is in training mode.
    history : list of dict
        One row for each epoch that is over: epoch, loss, lr, items, seconds; of these, the seconds of sampling
        (embedding the training set and finding neighborhoods); and recall@1 of held-out classes, if any are, with the
        seconds of validation. "processor": seconds that the threads of this process computed, without validation; they
        do not depend on what else the machine does.
    """

    epoch: int
    batch: int
    batches: int
    loss: float
    lr: float
    indices: list[int]
    model: EmbeddingNet
    history: list[dict[str, float]]


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
    """Train a network, and yield after each step.

    Everything random in an epoch follows from the seed and the number of the epoch, so that a run that was stopped
    and resumed gives, on the CPU, the same numbers as one that was not. Several processes (see
    :mod:`sstutils.distributed`) take the steps that one would take.

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
    rank, _ = distributed.world()
    try:
        with exclusive(out) if out is not None and not rank else nullcontext():
            run = _Run(dataset, recipe, out, data, device(where), workers, strict)
            if resume:
                run.load()
            elif out is not None and not Path(out).exists():
                run.save()  # from the first moment on there is something to go on from; what was there stays an epoch
            yield from run.steps()
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "not enough memory" not in str(error):
            raise
        low = " or set precision to bfloat16" * (recipe.precision == "float32")
        raise MemoryError(
            f"out of memory with batches of {recipe.batch_size} pictures of {recipe.size} x {recipe.size}: "
            f"lower batch_size or size{low}" + (f"; {out} holds the last whole epoch" if out else "")
        ) from error


class _Run:
    """What a run is made of; all that changes in it goes into the checkpoint."""

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        out: str | PathLike | None,
        data: dict[str, Any] | None,
        where: torch.device,
        workers: int,
        strict: bool,
    ) -> None:
        self.rank, self.processes = distributed.world()
        if len(dataset.classes) < 2:
            raise ValueError(
                f"training needs at least 2 classes, found {len(dataset.classes)}: add images of other classes"
            )
        if recipe.neighborhoods % self.processes:
            raise ValueError(
                f"{self.processes} processes cannot divide the neighborhoods of a step, of which there are "
                f"{recipe.neighborhoods}: set neighborhoods to a multiple of {self.processes}"
            )
        self.recipe, self.out, self.where, self.workers = recipe, out, where, workers
        in_memory = isinstance(innermost(dataset), ArrayDataset)
        self.files = None if strict or in_memory else Readable(dataset)
        self.dataset = dataset = self.files or dataset
        self.training, self.held_out = (
            split_classes(dataset, recipe.holdout, recipe.seed) if recipe.holdout else (dataset, None)
        )
        torch.manual_seed(recipe.seed)
        self.model = distributed.rank_zero_first(lambda: make_model(recipe)).to(where)
        self.loss = make_loss(recipe, len(self.training.classes)).to(where)
        parts = (self.model.backbone, 1.0), (self.model.head, recipe.head_lr), (self.loss, recipe.proxy_lr)
        groups = [
            {"params": [weights for weights in part.parameters() if weights.requires_grad], "factor": factor}
            for part, factor in parts
        ]
        groups = [group for group in groups if group["params"]]
        self.optimizer = torch.optim.Adam(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
        labels = self.training.targets
        self.sampler = make_sampler(recipe, labels)
        # The epochs before local sampling.
        self.warmup = balanced_sampler(recipe, labels) if recipe.sampler == "local" and recipe.warmup else None
        self.plateau = Plateau()
        self.ended = ""  # why training ended before its last epoch
        self.history: list[dict[str, float]] = []
        self.chosen: dict[str, Tensor] | None = None  # the weights of the best epoch, if classes are held out
        self.about = {"name": "", "options": {}, **(data or {}), "fingerprint": getattr(dataset, "fingerprint", "")}
        if recipe.compile:
            self.model.backbone.compile()

    def save(self) -> None:
        """Write the checkpoint."""
        if self.out is None or self.rank:
            return
        state = {
            "model": self.model.state_dict(),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sampler": self.sampler.state_dict(),
            "warmup": self.warmup.state_dict() if self.warmup else None,
            "plateau": asdict(self.plateau),
            "ended": self.ended,
            "unreadable": self.files.unreadable.nonzero()[:, 0] if self.files else None,
        }
        content = {
            "recipe": asdict(self.recipe),
            "data": self.about,
            "model": self.chosen or state["model"],
            "history": self.history,
            "hardware": checkpoints.hardware(self.where),
            "training": state,
        }
        checkpoints.write(content, self.out)

    def load(self) -> None:
        """Go on from the checkpoint."""
        saved = checkpoints.load_checkpoint(self.out)
        checkpoints.check_same(self.out, saved, self.recipe, self.about)
        state = saved["training"]
        try:
            self.model.load_state_dict(state["model"])
            self.loss.load_state_dict(state.get("loss", {}))
            self.optimizer.load_state_dict(state["optimizer"])
            self.sampler.load_state_dict(state["sampler"])
            if self.warmup:
                self.warmup.load_state_dict(state["warmup"])
            self.plateau = Plateau(**state["plateau"])
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{self.out} does not hold what training goes on from ({one_line(error)[:80]}): train anew into "
                "another file"
            ) from error
        if self.files and state.get("unreadable") is not None:  # they count from the first epoch on
            self.files.unreadable[state["unreadable"]] = True
        self.history, self.chosen = saved["history"], saved["model"] if self.held_out else None

    def steps(self) -> Iterator[Step]:
        """Take all steps that are left."""
        for epoch in range(len(self.history), self.recipe.epochs):
            yield from self.epoch(epoch)
            self.save()
            if self.ended:
                break
        if self.chosen:
            self.model.load_state_dict(self.chosen)
        self.model.eval()

    def epoch(self, epoch: int) -> Iterator[Step]:
        """Find neighborhoods, take a step on each (or on some together), and add a row to the history."""
        recipe, started, processor = self.recipe, time.perf_counter(), time.process_time()
        seed = 1_000_003 * recipe.seed + epoch
        torch.manual_seed(seed + self.rank * _APART)
        local = recipe.sampler == "local" and epoch >= recipe.warmup * recipe.epochs
        sampler = self.warmup if recipe.sampler == "local" and not local else self.sampler
        if local and (sampler.batches is None or epoch % recipe.refresh == 0):
            embeddings = self.embedded(self.training)
            # One process finds them for all, so that they are the same to the last bit.
            sampler.load_state_dict(distributed.broadcast(lambda: sampler.refresh(embeddings).state_dict()))
        sampling = time.perf_counter() - started
        if not len(sampler):
            if self.history:
                self.ended = "every neighborhood holds one class only, there is nothing left to pull or push"
                return
            raise ValueError(
                f"no batch of {recipe.batch_size} holds two images of one class beside another class: "
                "check the labels, or take another batch_size"
            )
        self.model.train()
        if recipe.batch_norm == "frozen":
            for layer in self.model.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()
        order = list(sampler)
        pairs = sampler.pairs or [None] * len(order)
        steps = [
            range(i, min(i + recipe.neighborhoods, len(order))) for i in range(0, len(order), recipe.neighborhoods)
        ]
        # The place of a batch in its step decides on its random numbers and on the process that takes it.
        generators = [torch.Generator().manual_seed(seed + place * _APART) for place in range(recipe.neighborhoods)]
        own = [numbers[self.rank :: self.processes] for numbers in steps]
        read = batches(
            self.training,
            [order[number] for numbers in own for number in numbers],
            recipe.resize or recipe.size,
            self.workers,
        )
        losses, items = 0.0, 0
        for step, numbers in enumerate(steps):
            lr = recipe.lr * self.plateau.factor * _schedule(recipe, (epoch + step / len(steps)) / recipe.epochs)
            parts = [(*next(read), pairs[n], generators[n - numbers.start]) for n in own[step]]
            loss = self.step(parts, len(numbers), lr, turn=recipe.turn and not local)
            indices = [index for number in numbers for index in order[number]]
            if not math.isfinite(loss):
                items_named = ", ".join(map(str, indices[:3]))
                raise self.diverged(f", batch {step + 1} of {len(steps)} (items {items_named}, ...): the loss is")
            self.optimizer.step()
            losses, items = losses + loss * len(numbers), items + len(indices)
            yield Step(epoch, step, len(steps), loss, lr, indices, self.model, self.history)
        # The last step is seen by no further loss; what it spoiled must not be kept.
        weights = (*self.model.state_dict().values(), *self.loss.parameters())
        if not torch.stack([part.isfinite().all() for part in weights]).all():
            raise self.diverged(f", after its last batch of {len(steps)}: the weights are")
        row = {"epoch": epoch + 1, "loss": losses / len(order), "lr": lr, "items": items, "sampling": sampling}
        row["processor"] = time.process_time() - processor
        if self.held_out:
            before = time.perf_counter()
            embeddings, labels = self.embedded(self.held_out), self.held_out.targets
            row["recall@1"] = distributed.broadcast(lambda: recall_at_k(embeddings, labels, (1,))[1])
            if row["recall@1"] > max((past["recall@1"] for past in self.history), default=-1):
                self.chosen = deepcopy(self.model.state_dict())
            row["validation"] = time.perf_counter() - before
        if self.files and self.processes > 1:
            seen = self.files.unreadable.to(self.where, torch.float32)
            distributed.all_reduce([seen])
            self.files.unreadable |= (seen > 0).cpu()
        if count := int(unreadable(self.dataset).sum()):
            row["unreadable"] = count
        row["seconds"] = time.perf_counter() - started
        self.history.append(row)
        if recipe.schedule == "plateau" and (local or recipe.sampler != "local"):
            self.plateau.update(row["loss"])
        if self.plateau.stale >= recipe.patience:
            self.ended = f"the training loss did not fall for {self.plateau.stale} epochs"

    def step(self, parts: list[tuple], count: int, lr: float, turn: bool) -> float:
        """Set the gradient of the mean loss of `count` batches, of which this process takes `parts`; return that loss.

        The running statistics of batch normalisation become the mean of those after each of the batches.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["factor"]
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.where)
        several = self.recipe.neighborhoods > 1
        modules = self.model.modules() if several else ()
        layers = [layer for layer in modules if isinstance(layer, _BatchNorm) and layer.training]
        running = [part for layer in layers for part in (layer.running_mean, layer.running_var)]
        before, after = [part.clone() for part in running], [torch.zeros_like(part) for part in running]
        for images, labels, pairs, generator in parts:
            if several:  # what layers draw, such as dropout, goes with the batch, too
                torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            for part, start in zip(running, before, strict=True):
                part.copy_(start)
            loss = self.batch_loss(images, labels, pairs, generator, turn)
            (loss / count).backward()
            total += loss.detach() / count
            for mean, part in zip(after, running, strict=True):
                mean += part / count
        if self.processes > 1:
            weights = [part for group in self.optimizer.param_groups for part in group["params"]]
            for part in weights:
                part.grad = torch.zeros_like(part) if part.grad is None else part.grad
            distributed.all_reduce([total, *after, *(part.grad for part in weights)])
        for part, mean in zip(running, after, strict=True):
            part.copy_(mean)
        return total.item()

    def batch_loss(self, images: Tensor, labels: Tensor, pairs: Any, generator: torch.Generator, turn: bool) -> Tensor:
        """Return the loss of one batch; it is not finite where embeddings are not."""
        recipe = self.recipe
        images = images.to(self.where, non_blocking=True)
        if recipe.resize or recipe.flip:
            images = crop(images, recipe.size, recipe.flip, generator)
        # In a neighborhood all classes are turned alike: neighbors stay neighbors.
        turned = labels * turn if recipe.turn else None
        embeddings = self.model(augment(images, recipe.augment, generator, turned))
        if not _measurable(embeddings):
            return embeddings.sum() * math.nan
        labels = labels.to(self.where)
        return self.loss(embeddings, labels, pairs) if pairs is not None else self.loss(embeddings, labels)

    def embedded(self, items: Dataset) -> Tensor:
        """Embed a data set, each process its share."""
        share = Subset(items, range(self.rank, len(items), self.processes)) if self.processes > 1 else items
        part = embed(self.model, share, **view(self.recipe), workers=self.workers)
        embeddings = distributed.gather(part.to(self.where), len(items))
        if not _measurable(embeddings):
            raise self.diverged(": the embeddings are")
        return embeddings

    def diverged(self, what: str) -> FloatingPointError:
        """Return the error of an epoch in which something is no longer finite."""
        done = len(self.history)
        return FloatingPointError(
            f"training diverged in epoch {done + 1}{what} no longer finite at learning rate "
            f"{self.optimizer.param_groups[0]['lr']:.2g}. Lower lr, lengthen warmup or set normalize"
            + (f"; {self.out} holds the {done} whole epochs before" if self.out else "")
        )


def _measurable(embeddings: Tensor) -> bool:
    """Tell whether embeddings are finite, and the squared distances between them, too."""
    return bool((4 * embeddings.detach().square().sum()).isfinite())


_FEW = 32  # images that a pace is measured on
_APART = 2**40  # between the seeds of what is random side by side


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

    recipe = recipe or Recipe()
    step = None
    quiet = not progress or distributed.world()[0] > 0
    form = "{l_bar}{bar}| {n:.1f}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"  # parts of an epoch count
    with tqdm(total=recipe.epochs, desc="training", unit="epoch", bar_format=form, disable=quiet) as bar:
        for step in train(dataset, recipe, **options):
            shown = {"loss": f"{step.loss:.4f}"}
            if step.history and "recall@1" in step.history[-1]:
                shown["recall@1"] = f"{step.history[-1]['recall@1']:.3f}"
            bar.set_postfix(shown, refresh=False)
            bar.update(step.epoch + (step.batch + 1) / step.batches - bar.n)
    if step is None:
        raise ValueError("there was nothing left to train: every neighborhood holds one class only")
    return step


def measure_speed(recipe: Recipe, where: str | torch.device | None = None) -> tuple[float, float]:
    """Measure what an image costs on this machine, on a few steps of noise.

    Parameters
    ----------
    recipe : Recipe
    where : device, optional

    Returns
    -------
    training, embedding : float
        Seconds for each image of a step, and of an embedding without one, by all processes together. Reading from
        files is not in it.
    """
    side, processes = recipe.resize or recipe.size, distributed.world()[1]
    count = _FEW * processes  # a batch for each
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    noise = ArrayDataset(pixels, np.arange(count) % 4, [str(number) for number in range(4)])
    short = {"loss": "sst", "sampler": "shuffled", "batch_size": _FEW, "neighborhoods": processes, "holdout": 0.0}
    step = fit(noise, replace(recipe, **short, epochs=3, weights=None), progress=False, where=where)
    embedding = []
    for _ in range(2):
        started = time.perf_counter()
        embed(step.model, noise, **view(recipe))
        embedding.append(time.perf_counter() - started)
    # The least of each: the first times load code, and all but the least wait for what else the machine does.
    training = min(row["seconds"] for row in step.history)
    return training / count, min(embedding) / count / processes  # each process embedded all of it


def duration(recipe: Recipe, images: int, training: float, embedding: float) -> float:
    """Return the seconds that a recipe takes on so many images, at a pace that was measured."""
    refreshes = recipe.epochs * (1 - recipe.warmup) / recipe.refresh if recipe.sampler == "local" else 0
    return images * (recipe.epochs * training + refreshes * embedding)
