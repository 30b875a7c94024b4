"""Training: embed the training set, find neighborhoods in it, take a step on each of them; repeat.

:func:`train_epoch` is the method. :func:`train` is a generator of steps, to be watched; :func:`fit` runs it to the end
with a progress bar.
"""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.utils.data import Dataset, Sampler, Subset
from tqdm.auto import tqdm

from . import distributed
from .augmentation import augment, crop
from .checks import whole_number
from .datasets.reading import batches
from .datasets.subsets import unreadable
from .embedding import embed
from .evaluation import recall_at_k
from .files import exclusive
from .models import EmbeddingNet, calm_threads, device, is_out_of_memory
from .recipes import Recipe, check_recipe, view
from .sampling import LocalSampler
from .state import Run


@dataclass
class Step:
    """One step of training, as :func:`train` yields it.

    A row of its history holds epoch, loss, lr, items, steps, seconds; of these, the seconds of sampling (embedding the
    training set and finding neighborhoods); with held-out classes, their recall@1 and the seconds of validation;
    "unreadable" images, if any. "processor": seconds of computing by the threads of this process, without validation,
    which do not depend on what else the machine does.
    """

    epoch: int  #: from 0
    batch: int  #: number of the step in this epoch, from 0
    batches: int  #: of this epoch
    loss: float
    lr: float
    indices: list[int]  #: positions in the training set of the items of its neighborhoods
    model: EmbeddingNet  #: the network itself, not a copy; it is in training mode
    history: list[dict[str, float]]  #: a row for each completed epoch
    neighborhoods: int = 1  #: of the step


def train_epoch(run: Run, epoch: int) -> Iterator[Step]:
    """Train for one epoch: find neighborhoods, and take a step on each."""
    sampler = sampler_of(run, epoch)

    # Local sampling: embed the whole training set with the network as it is
    # now. k-means finds the neighborhoods, and in each of them every anchor
    # gets its k nearest positives, which it keeps for the epoch.
    if needs_neighborhoods(run, epoch):
        with timed(run.row, "sampling"):
            embeddings = embed_all(run, run.training)
            find_neighborhoods(sampler, embeddings)

    # Gradient descent: each neighborhood is a batch. Embed it, take the mean
    # loss of its triplets, and step down the gradient. Where a step takes
    # several neighborhoods, their gradients add up to that of the mean loss.
    order, size = list(sampler), run.recipe.neighborhoods
    steps = [range(i, min(i + size, len(order))) for i in range(0, len(order), size)]
    start_training_mode(run)
    read = read_neighborhoods(run, epoch, steps, order, sampler.pairs)
    for number, neighborhoods in enumerate(read):
        place = f"batch {number + 1} of {len(steps)}"
        run.optimizer.zero_grad()
        total = 0.0
        for images, labels, pairs, weight in neighborhoods:
            embeddings = run.network(images)
            check_finite(embeddings, f"the embeddings of {place}")
            loss = weight * run.objective(embeddings, labels, pairs)
            loss.backward()
            total += loss.detach()
        total = distributed.mean(total)
        check_finite(total, f"the loss of {place}")
        run.optimizer.step()
        lr = anneal(run, epoch + (number + 1) / len(steps))
        indices = [index for batch in steps[number] for index in order[batch]]
        yield Step(epoch, number, len(steps), total.item(), lr, indices, run.model, run.history, len(steps[number]))


# What an epoch calls


def sampler_of(run: Run, epoch: int) -> Sampler:
    """Return the sampler of an epoch: class-balanced batches before local sampling starts."""
    return run.warmup if run.warmup is not None and epoch < run.recipe.warmup * run.recipe.epochs else run.sampler


def needs_neighborhoods(run: Run, epoch: int) -> bool:
    """Tell whether an epoch starts with new neighborhoods."""
    sampler = sampler_of(run, epoch)
    return isinstance(sampler, LocalSampler) and (sampler.batches is None or epoch % run.recipe.refresh == 0)


def embed_all(run: Run, items: Dataset) -> Tensor:
    """Embed a data set in evaluation mode, each process its share; return the (N, d) embeddings in all of them."""
    rank, count = distributed.world()
    distributed.broadcast_buffers(run.model)
    share = Subset(items, range(rank, len(items), count)) if count > 1 else items
    part = embed(run.model, share, **view(run.recipe), workers=run.workers)
    embeddings = distributed.gather(part.to(run.where), len(items))
    check_finite(embeddings, "the embeddings")
    return embeddings


def find_neighborhoods(sampler: LocalSampler, embeddings: Tensor) -> None:
    """Find neighborhoods, in process 0 for all of them: they must agree to the last bit."""
    sampler.load_state_dict(distributed.broadcast(lambda: sampler.refresh(embeddings).state_dict()))


def start_training_mode(run: Run) -> None:
    """Set to training mode what is trained: backbone, statistics of batch normalisation."""
    run.model.train().backbone.train(run.recipe.head != "only")
    for layer in batch_norms(run.model) if run.recipe.batch_norm == "frozen" else ():
        layer.eval()


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """Return the layers of batch normalisation."""
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]


def read_neighborhoods(
    run: Run, epoch: int, steps: list[range], order: list[list[int]], pairs: list[tuple[Tensor, Tensor]] | None
) -> Iterator[Iterator[tuple]]:
    """Yield for each step the neighborhoods that this process takes: images, labels, pairs, weight of the loss.

    If the last step has fewer neighborhoods than there are processes, a process without one takes the first with weight
    0, because all of them must take part in averaging the gradients.
    """
    rank, count = distributed.world()
    own = [step[rank::count] or step[:1] for step in steps]
    side = run.recipe.resize or run.recipe.size
    read = batches(run.training, [order[number] for numbers in own for number in numbers], side, run.workers)
    for step, numbers in zip(steps, own, strict=True):
        weight = count / len(step) if rank < len(step) else 0.0  # gradients are averaged over processes
        yield prepare(run, epoch, numbers, read, pairs, weight)


def prepare(
    run: Run, epoch: int, numbers: range, read: Iterator, pairs: list[tuple[Tensor, Tensor]] | None, weight: float
) -> Iterator[tuple]:
    """Augment neighborhoods on the device, and accumulate their gradients: the last averages them over processes.

    What is drawn at random, here and by layers such as dropout, follows from the seed, the epoch and the number of the
    neighborhood. The running statistics of batch normalisation follow the first one of each step. So neither depends on
    the number of processes.
    """
    recipe, early = run.recipe, epoch < run.recipe.warmup * run.recipe.epochs
    for number, (images, labels) in zip(numbers, read, strict=False):
        # 1 is added because a sequence that ends in 0 has the seed of one without it, which the samplers draw from.
        seed = np.random.SeedSequence([recipe.seed, epoch, number + 1]).generate_state(1, np.uint64)[0]
        generator = torch.manual_seed(int(seed >> np.uint64(1)))
        images = images.to(run.where, non_blocking=True)
        if images.ndim == 4:  # features are taken as they are
            if recipe.resize or recipe.flip:
                images = crop(images, recipe.size, recipe.flip, generator)
            # In a neighborhood all classes are turned alike: neighbors stay neighbors.
            groups = labels if early or recipe.sampler != "local" else torch.zeros_like(labels)
            turned = groups if recipe.turn or (recipe.warmup_turn and early) else None
            images = augment(images, recipe.augment, generator, turned)
            if recipe.warmup_size and early:
                images = nn.functional.interpolate(images, recipe.warmup_size, mode="bilinear", antialias=True)
        for layer in batch_norms(run.model) if recipe.neighborhoods > 1 else ():
            layer.track_running_stats = number == numbers[0]
        last = number == numbers[-1]
        with nullcontext() if last else distributed.accumulate(run.network, run.objective):
            yield images, labels.to(run.where), pairs[number] if pairs else None, weight


def check_finite(values: Tensor, what: str) -> None:
    """Raise FloatingPointError unless values, and squared distances between them, are finite."""
    if not (4 * values.detach().square().sum()).isfinite():
        raise FloatingPointError(f"{what} are no longer finite")


def anneal(run: Run, epochs: float) -> float:
    """Set the learning rate for a point of the run, in epochs; return the one before."""
    lr = run.optimizer.param_groups[0]["lr"]
    if isinstance(run.scheduler, LambdaLR):
        # It counts in epochs, and fractions of them, because the number of steps of an epoch varies.
        run.scheduler.last_epoch = epochs - 1
        run.scheduler.step()
    return lr


@contextmanager
def timed(row: dict[str, float], name: str) -> Iterator[None]:
    """Write the seconds that a block takes into a row."""
    started = time.perf_counter()
    yield
    row[name] = time.perf_counter() - started


# What stands around an epoch


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
    model: EmbeddingNet | None = None,
) -> Iterator[Step]:
    """Train a network, and yield after each step.

    Everything random in an epoch follows from the seed and the number of the epoch, so that a run that was stopped and
    resumed gives, on the CPU, the same numbers as one that was not. Several processes (see
    :mod:`sstutils.distributed`) take the steps that one would take.

    Parameters
    ----------
    dataset : Dataset
        With ``targets`` and ``classes``; see ``sstutils.load``.
    recipe : Recipe, optional
    out : path, optional
        Checkpoint, written after each epoch: whenever training stops, it holds the last completed one.
    resume : bool
        Continue from the checkpoint `out`.
    data : dict, optional
        Name and options of the data set, kept in the checkpoint.
    where : device, optional
        By default the first available of CUDA, MPS and CPU.
    workers : int
        Processes that read image files.
    strict : bool
        Stop at an image that cannot be read. Otherwise another one of its class replaces it, with a warning that names
        it; rows of the history count such images as "unreadable".
    model : EmbeddingNet, optional
        The network to train, in place of the recipe's; ``load_model(path, model=...)`` loads a checkpoint of it.

    Yields
    ------
    Step
        After each optimiser step. When the generator ends, the step's model holds the chosen epoch (that of the best
        Recall@1 on held-out classes, if any are held out, else the last) and is in evaluation mode.

    Raises
    ------
    FloatingPointError
        If an embedding, the loss or a weight is no longer finite; `out` keeps the last completed epoch.
    MemoryError
        If the batches are too large for the device; it says what to lower.
    OSError, ValueError
        If another run writes the same `out`; there is nothing to train on; what is to be resumed is another run.
    """
    recipe, holds = check_recipe(recipe), ""
    try:
        with exclusive(out) if out is not None and not distributed.world()[0] else nullcontext():
            workers = whole_number("workers", workers, 0, 256)
            run = Run(dataset, recipe, data or {}, device(where), workers, strict, model)
            if resume:
                run.load(out)
                catch_up(run)
            elif out is not None and not Path(out).exists():
                run.save(out)  # so that there is something to resume from the first moment on
            holds = f"; {out} holds the last completed epoch" if out else ""
            while len(run.history) < recipe.epochs and not run.ended:
                yield from complete_epoch(run)
                run.save(out)
            if run.chosen:
                run.model.load_state_dict(run.chosen)
            run.model.eval()
    except FloatingPointError as error:
        epoch, lr = len(run.history) + 1, run.optimizer.param_groups[0]["lr"]
        raise FloatingPointError(
            f"training diverged in epoch {epoch}: {error} at learning rate {lr:.2g}; "
            f"lower lr, lengthen warmup or set normalize{holds}"
        ) from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        low = " or set precision to bfloat16" * (recipe.precision == "float32")
        raise MemoryError(
            f"out of memory with batches of {recipe.batch_size} images of {recipe.size} x {recipe.size}; "
            f"lower batch_size or size{low}{holds}"
        ) from error


def complete_epoch(run: Run) -> Iterator[Step]:
    """Train for the next epoch, validate, and add a row to the history; or set why training has ended."""
    epoch, losses, count, items = len(run.history), 0.0, 0, 0
    started, processor = time.perf_counter(), time.process_time()
    run.row = row = {"epoch": epoch + 1, "sampling": 0.0}
    with calm_threads(run.model, run.where):
        for step in train_epoch(run, epoch):
            losses, count = losses + step.loss * step.neighborhoods, count + step.neighborhoods
            items += len(step.indices)
            yield step
    if not count and run.history:
        run.ended = "every neighborhood holds one class only, there is nothing left to pull or push"
        return
    if not count:
        raise ValueError(
            f"no batch of {run.recipe.batch_size} holds a class with two images and another class; "
            "add images to the classes, or change batch_size"
        )
    for weights in (*run.model.state_dict().values(), *run.loss.parameters()):  # no later loss sees the last step
        check_finite(weights, "the weights")
    row |= {"loss": losses / count, "lr": step.lr, "items": items, "steps": step.batch + 1}
    row["processor"] = time.process_time() - processor
    if run.held_out:
        with timed(row, "validation"):
            validate(run)
    count_unreadable(run)
    row["seconds"] = time.perf_counter() - started
    run.history.append(row)
    follow_plateau(run, row)


def validate(run: Run) -> None:
    """Measure Recall@1 of the held-out classes, and keep the weights of the best epoch."""
    embeddings, labels = embed_all(run, run.held_out), run.held_out.targets
    recall = run.row["recall@1"] = distributed.broadcast(lambda: recall_at_k(embeddings, labels, (1,))[1])
    if recall > max((row["recall@1"] for row in run.history), default=-1):
        run.chosen = deepcopy(run.model.state_dict())


def follow_plateau(run: Run, row: dict[str, float]) -> None:
    """Tell a plateau schedule the loss of an epoch; end training if it has not fallen while the recipe has patience.

    Epochs before local sampling do not count.
    """
    if not isinstance(run.scheduler, ReduceLROnPlateau) or sampler_of(run, row["epoch"] - 1) is not run.sampler:
        return
    run.scheduler.step(row["loss"])
    losses = [row["loss"] for row in run.history if sampler_of(run, row["epoch"] - 1) is run.sampler]
    stale = len(losses) - 1 - losses.index(min(losses))
    if stale >= run.recipe.patience:
        run.ended = f"the training loss did not fall for {stale} epochs"


def catch_up(run: Run) -> None:
    """Set the learning rate to where the history of a run left it; the recipe may ask for more epochs than before."""
    for row in run.history:
        follow_plateau(run, row)
    if run.history:
        with warnings.catch_warnings(action="ignore"):  # torch misses the steps that were taken before
            anneal(run, len(run.history))


def count_unreadable(run: Run) -> None:
    """Count the images that could not be read so far, by any process."""
    if run.files and distributed.world()[1] > 1:
        seen = distributed.mean(run.files.unreadable.to(run.where, torch.float32))
        run.files.unreadable |= (seen > 0).cpu()
    if count := int(unreadable(run.training).sum()):
        run.row["unreadable"] = count


def fit(dataset: Dataset, recipe: Recipe | None = None, *, progress: bool = True, **options: Any) -> Step:
    """Train to the end with a progress bar; return the last step, its ``model`` trained and in evaluation mode.

    Parameters are those of :func:`train`. The bar shows what is done, time left, loss, Recall@1 of held-out classes.
    """
    recipe, step, quiet = check_recipe(recipe), None, not progress or distributed.world()[0] > 0
    first, local = ceil(recipe.warmup * recipe.epochs), recipe.sampler == "local"
    search = [local and (i == first or (i > first and i % recipe.refresh == 0)) for i in range(recipe.epochs)]
    # Small images take less; to embed the training set is a forward pass, a third of what it takes to train on it.
    cost = [((recipe.warmup_size or recipe.size) / recipe.size) ** 2] * first + [1.0] * (recipe.epochs - first)
    work = [0, *accumulate(steps + new / 3 for steps, new in zip(cost, search, strict=True))]
    form = "{l_bar}{bar}| [{elapsed}<{remaining}{postfix}]"
    with tqdm(total=work[-1], desc="training", bar_format=form, disable=quiet, smoothing=0) as bar:  # 0: mean speed
        for step in train(dataset, recipe, **options):
            if not bar.n:
                bar.initial = bar.n = work[step.epoch]  # of a run that is resumed, the epochs before took no time now
            recall = {name: row[name] for row in step.history[-1:] for name in row if name == "recall@1"}
            bar.set_postfix({"loss": step.loss, **recall}, refresh=False)
            bar.set_description(f"epoch {step.epoch + 1} of {recipe.epochs}", refresh=False)
            left = step.batches - step.batch - 1
            bar.update(work[step.epoch + 1] - cost[step.epoch] * left / step.batches - bar.n)
            if not left and any(search[step.epoch + 1 : step.epoch + 2]):
                bar.set_description(f"neighborhoods for epoch {step.epoch + 2} of {recipe.epochs}")
    if step is None:
        raise ValueError("nothing is left to train: every neighborhood holds one class only")
    return step
