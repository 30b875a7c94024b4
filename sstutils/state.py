"""The state of a run: what a recipe trains with, and its way into a checkpoint and back."""

import warnings
from dataclasses import asdict, replace
from os import PathLike
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from . import distributed
from .checkpoints import differing, hardware, load_checkpoint, write
from .datasets.base import ArrayDataset
from .datasets.subsets import Readable, innermost, labelled, split_classes
from .files import one_line
from .models import EmbeddingNet
from .recipes import Recipe, balanced_sampler, make_loss, make_model, make_optimizer, make_sampler, make_scheduler

_PARTS = ("model", "loss", "optimizer", "sampler", "warmup")  # of a run, with a state_dict each


class Run:
    """What a recipe trains with: data, network, loss, optimiser, samplers; and how far training has come.

    ``network`` and ``objective`` are ``model`` and ``loss``, in DistributedDataParallel where several processes train.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        data: dict[str, Any],
        where: torch.device,
        workers: int,
        strict: bool,
        model: EmbeddingNet | None = None,
    ) -> None:
        processes, dataset = distributed.world()[1], labelled(dataset)
        if len(dataset.classes) < 2:
            raise ValueError(
                f"training needs at least 2 classes, got {len(dataset.classes)}; a folder gives half of its to testing"
            )
        if recipe.neighborhoods % processes:
            raise ValueError(
                f"neighborhoods must be a multiple of the number of processes, {processes}; got {recipe.neighborhoods}"
            )
        self.recipe, self.where, self.workers = recipe, where, workers
        self.data = {"name": "", "options": {}, **data, "fingerprint": getattr(dataset, "fingerprint", "")}
        # Where images are read that may be damaged.
        self.files = None if strict or isinstance(innermost(dataset), ArrayDataset) else Readable(dataset)
        items = self.files or dataset
        parts = split_classes(items, recipe.holdout, recipe.seed) if recipe.holdout else (items, None)
        self.training, self.held_out = parts
        torch.manual_seed(recipe.seed)
        self.model = (model or distributed.rank_zero_first(lambda: make_model(recipe))).to(where)
        with torch.no_grad():  # a size that the backbone cannot take is found before anything is written
            for side in {recipe.size, recipe.warmup_size or recipe.size}:
                self.model.eval()(torch.zeros(1, 3, side, side, device=where))
        self.loss = make_loss(recipe, len(self.training.classes)).to(where, torch.float32)
        if (recipe.turn or recipe.warmup_turn) and any(True for _ in self.loss.parameters()):
            warnings.warn("proxies cannot follow classes that are turned; set turn to False", stacklevel=3)
        if recipe.compile:
            self.model.backbone.compile()
        self.network, self.objective = distributed.parallel(self.model), distributed.parallel(self.loss)
        self.optimizer = make_optimizer(recipe, self.model, self.loss)
        self.scheduler = make_scheduler(recipe, self.optimizer)
        targets, warm = self.training.targets, recipe.sampler == "local" and recipe.warmup
        self.sampler = make_sampler(recipe, targets)
        self.warmup = balanced_sampler(recipe, targets) if warm else None  # before local sampling starts
        self.history: list[dict[str, float]] = []
        self.chosen: dict[str, Tensor] | None = None  # weights of the best epoch, if classes are held out
        self.ended = ""  # why training ended before its last epoch
        self.row: dict[str, float] = {}  # of the history, for the epoch in progress

    def save(self, out: str | PathLike | None) -> None:
        """Write the checkpoint in process 0, if there is one."""
        if out is None or distributed.world()[0]:
            return
        state = {part: getattr(self, part).state_dict() for part in _PARTS if getattr(self, part) is not None}
        state |= {"ended": self.ended, "unreadable": self.files.unreadable.nonzero()[:, 0] if self.files else None}
        content = {
            "recipe": asdict(self.recipe),
            "data": self.data,
            "model": self.chosen or state["model"],
            "history": self.history,
            "hardware": hardware(self.where),
            "training": state,
        }
        write(content, out)

    def load(self, path: str | PathLike) -> None:
        """Go on where a checkpoint left off; a ValueError unless it is unfinished, and of this recipe and these data.

        Only `epochs` may differ.
        """
        saved = load_checkpoint(path)
        state, data, done = saved["training"], saved["data"], len(saved["history"])
        other = "resume with the same, or choose another file"
        if "optimizer" not in state:
            raise ValueError(f"{path} holds weights only, and cannot be resumed; train into another file")
        if others := differing(saved, replace(self.recipe, epochs=saved["recipe"]["epochs"])):
            raise ValueError(f"{path} was trained with {', '.join(others)}; {other}")
        if state["ended"]:
            raise ValueError(f"{path} is finished: {state['ended']}")
        if done >= self.recipe.epochs:
            raise ValueError(f"{path} already has {done} epochs; ask for more epochs to continue")
        if data["fingerprint"] != self.data["fingerprint"]:
            now = f"{data['name']} {data['fingerprint']}, now {self.data['name']} {self.data['fingerprint']}"
            raise ValueError(f"{path} was trained on other data ({now}); {other}")
        try:
            self._restore(state)
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{path} does not hold what resuming needs ({one_line(error)[:80]}), and may be of an older version; "
                "train into another file"
            ) from error
        self.history, self.chosen = saved["history"], saved["model"] if self.held_out else None

    def _restore(self, state: dict[str, Any]) -> None:
        for part in _PARTS:
            if part != "optimizer" and getattr(self, part) is not None:
                getattr(self, part).load_state_dict(state[part])
        # Of Adam its moments; the rates follow from recipe and history.
        weights = [weights for group in self.optimizer.param_groups for weights in group["params"]]
        for number, of in state["optimizer"]["state"].items():
            if not of["exp_avg"].shape == of["exp_avg_sq"].shape == weights[number].shape or not of["step"] >= 1:
                raise ValueError("moments of other weights")
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state["optimizer"]["state"]})
        if self.files and state.get("unreadable") is not None:  # they count from the first epoch on
            self.files.unreadable[state["unreadable"]] = True
