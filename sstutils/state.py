"""The state of a run: what a recipe trains with, and its way into a checkpoint and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset, Sampler

from . import distributed
from .checkpoints import differing, hardware, load_checkpoint, write
from .datasets.base import ArrayDataset
from .datasets.subsets import Readable, innermost, split_classes
from .files import one_line
from .models import EmbeddingNet
from .recipes import Recipe, balanced_sampler, make_loss, make_model, make_optimizer, make_sampler, make_scheduler

__all__ = ["Run", "load_run", "make_run", "save_run"]

_PARTS = ("model", "loss", "optimizer", "scheduler", "sampler", "warmup")  # of a run, with a state_dict each


@dataclass
class Run:
    """What a run is made of.

    ``network`` and ``objective`` are ``model`` and ``loss``, in DistributedDataParallel where several processes train.
    """

    recipe: Recipe
    training: Dataset
    held_out: Dataset | None
    model: EmbeddingNet
    loss: nn.Module
    network: nn.Module
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler
    sampler: Sampler
    warmup: Sampler | None  # class-balanced batches, before local sampling starts
    where: torch.device
    workers: int
    files: Readable | None  # where images are read that may be damaged
    data: dict[str, Any]  # name, options and fingerprint
    history: list[dict[str, float]] = field(default_factory=list)
    chosen: dict[str, Tensor] | None = None  # weights of the best epoch, if classes are held out
    ended: str = ""  # why training ended before its last epoch
    row: dict[str, float] = field(default_factory=dict)  # of the history, for the epoch in progress


def make_run(
    dataset: Dataset, recipe: Recipe, data: dict[str, Any], where: torch.device, workers: int, strict: bool
) -> Run:
    """Make what a recipe trains with: network, loss, optimiser, samplers."""
    processes = distributed.world()[1]
    if len(dataset.classes) < 2:
        raise ValueError(f"training needs at least 2 classes, got {len(dataset.classes)}; add images of other classes")
    if recipe.neighborhoods % processes:
        raise ValueError(
            f"neighborhoods must be a multiple of the number of processes, {processes}; got {recipe.neighborhoods}"
        )
    files = None if strict or isinstance(innermost(dataset), ArrayDataset) else Readable(dataset)
    items = files or dataset
    training, held_out = split_classes(items, recipe.holdout, recipe.seed) if recipe.holdout else (items, None)
    torch.manual_seed(recipe.seed)
    model = distributed.rank_zero_first(lambda: make_model(recipe)).to(where)
    loss = make_loss(recipe, len(training.classes)).to(where)
    if recipe.compile:
        model.backbone.compile()
    optimizer = make_optimizer(recipe, model, loss)
    return Run(
        recipe=recipe,
        training=training,
        held_out=held_out,
        model=model,
        loss=loss,
        network=distributed.parallel(model),
        objective=distributed.parallel(loss),
        optimizer=optimizer,
        scheduler=make_scheduler(recipe, optimizer),
        sampler=make_sampler(recipe, training.targets),
        warmup=balanced_sampler(recipe, training.targets) if recipe.sampler == "local" and recipe.warmup else None,
        where=where,
        workers=workers,
        files=files,
        data={"name": "", "options": {}, **data, "fingerprint": getattr(dataset, "fingerprint", "")},
    )


def save_run(run: Run, out: str | PathLike | None) -> None:
    """Write the checkpoint of a run in process 0, if it has one."""
    if out is None or distributed.world()[0]:
        return
    state = {part: getattr(run, part).state_dict() for part in _PARTS if getattr(run, part) is not None}
    state |= {"ended": run.ended, "unreadable": run.files.unreadable.nonzero()[:, 0] if run.files else None}
    content = {
        "recipe": asdict(run.recipe),
        "data": run.data,
        "model": run.chosen or state["model"],
        "history": run.history,
        "hardware": hardware(run.where),
        "training": state,
    }
    write(content, out)


def load_run(run: Run, path: str | PathLike) -> None:
    """Set a run to where its checkpoint left off.

    Raises
    ------
    ValueError
        Unless the checkpoint has the recipe and data of the run (`epochs` may differ), and is unfinished.
    """
    saved = load_checkpoint(path)
    state, data = saved["training"], saved["data"]
    if "optimizer" not in state:
        raise ValueError(f"{path} holds weights only, and cannot be resumed; train into another file")
    if others := differing(saved, replace(run.recipe, epochs=saved["recipe"]["epochs"])):
        raise ValueError(f"{path} was trained with {', '.join(others)}; resume with the same, or choose another file")
    if state["ended"]:
        raise ValueError(f"{path} is finished: {state['ended']}")
    if len(saved["history"]) >= run.recipe.epochs:
        raise ValueError(f"{path} already has {len(saved['history'])} epochs; ask for more epochs to continue")
    if data["fingerprint"] != run.data["fingerprint"]:
        raise ValueError(
            f"{path} was trained on other data ({data['name']} {data['fingerprint']}, "
            f"now {run.data['name']} {run.data['fingerprint']}); resume with the same, or choose another file"
        )
    try:
        for part in _PARTS:
            if getattr(run, part) is not None:
                getattr(run, part).load_state_dict(state[part])
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} does not hold what resuming needs ({one_line(error)[:80]}), and may be of an older version; "
            "train into another file"
        ) from error
    if run.files and state.get("unreadable") is not None:  # they count from the first epoch on
        run.files.unreadable[state["unreadable"]] = True
    run.history, run.chosen = saved["history"], saved["model"] if run.held_out else None
