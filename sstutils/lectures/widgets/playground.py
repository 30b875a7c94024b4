"""The playground: a small network that is trained in the page, by the closed-form gradients of the paper."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets

from ... import losses, sampling, training
from ...figures import plots
from . import playground_data as pictures
from .base import Drawn, draw_classes, one_of, script
from .experiments import EXPERIMENTS

__all__ = ["Playground"]

#: The usual settings; their twin is ``SETTINGS`` in ``engine.js``.
SETTINGS = {
    "data": "rings",
    "dim": 2,
    "loss": "sst",
    "margin": 0.2,
    "scale": 1,
    "normalize": False,
    "sampler": "local",
    "warmup": 0,
    "B": 60,
    "k": 5,
    "lr": 0.003,
    "optimizer": "adam",
    "seed": 0,
}
_CHOICES = {
    "data": ("rings", "digits", "letters", "own"),
    "dim": (2, 3, 16),
    "loss": ("sst", "triplet", "contrastive"),
    "normalize": (False, True),
    "sampler": ("local", "balanced", "shuffled"),
    "optimizer": ("adam", "sgd"),
}
_RANGES = {
    "margin": (0.01, 10),
    "scale": (0.1, 10),
    "warmup": (0, 20),
    "B": (6, 200),
    "k": (1, 10),
    "lr": (1e-4, 0.1),
    "seed": (0, 2**31 - 1),
}
_WHOLE = ("warmup", "B", "k", "seed")

# What slow motion says beside each station: the step of local sampling as in the paper, and the line of `train_epoch`
# that does it in the package.
_STATIONS = {
    "embed": ("Local sampling, step 1: embed the whole training set.", "embeddings = embed_all(run, run.training)"),
    "cluster": ("Step 2: k-means, with N / B clusters.", "find_neighborhoods(sampler, embeddings)"),
    "visit": ("Step 3: each cluster is a batch, and is visited once.", "for number, neighborhoods in enumerate(read):"),
    "choose": (
        "Step 3: at most B points of a cluster form the batch.",
        "for images, labels, pairs, weight in neighborhoods:",
    ),
    "distances": ("The batch is embedded; all else follows from its distances.", "embeddings = run.network(images)"),
    "positives": ("Step 4: each anchor keeps its k nearest positives.", "find_neighborhoods(sampler, embeddings)"),
    "weights": ("The loss: the mean over all triplets.", "loss = weight * run.objective(embeddings, labels, pairs)"),
    "forces": ("Its gradient, in closed form.", "loss.backward()"),
    "move": ("A step down the gradient.", "run.optimizer.step()"),
}


@cache
def lines() -> dict[str, dict[str, str]]:
    """Return for each station of slow motion the step of the algorithm, the line of code, and the function it is in.

    Line and function are empty where the function has no such line (any more).
    """
    function = training.train_epoch
    code = {line.strip() for line in inspect.getsource(function).splitlines()}
    place = f"{function.__name__} in {Path(inspect.getfile(function)).name}"
    return {
        name: {"algorithm": step} | ({"code": line, "place": place} if line in code else {"code": "", "place": ""})
        for name, (step, line) in _STATIONS.items()
    }


class Playground(Drawn):
    """Train an embedding in the page, and move margin, neighborhood size and all else while it learns.

    The page trains a perceptron with two hidden layers (64 and 32 units) in plain JavaScript. All that it shows
    follows from the settings, and from those that were changed on the way: the same in one browser, bit for bit.

    Parameters
    ----------
    experiment : str
        Name of an experiment that is opened, such as "margin-too-small": a question, and the settings that answer it.
    settings : mapping, optional
        Settings that differ from the usual ones, or from those of the experiment: data ("rings", "digits", "letters"),
        dim (2, 3, 16), loss ("sst", "triplet", "contrastive"), margin, scale, normalize, sampler ("local", "balanced",
        "shuffled"), warmup (epochs before local batches), B, k, lr, optimizer ("adam", "sgd"), seed.
    rival : mapping, optional
        What is different in a second run beside it, from the same first network.

    Attributes
    ----------
    step : int
        Steps that were taken when training paused last.
    curves : list of lists
        The measurements of each run: rows of ``experiments.COLUMNS``.
    changes : list of lists
        Of each run ``[step, {name: value}]``: what was changed on the way.
    link : str
        All that the curves follow from; behind the ``#`` of the playground's address it opens the same experiment.
    chosen, committed : int or None, bool
        The answer to the question, and whether the reader stands by it.

    Raises
    ------
    traitlets.TraitError
        If there is no such experiment or setting, or a value is out of range.

    Examples
    --------
    >>> Playground(settings={"loss": "triplet", "margin": 0.5})  # doctest: +SKIP
    """

    _esm = script("engine", "playground")
    experiment = traitlets.Unicode("").tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)
    rival = traitlets.Dict(default_value=None, allow_none=True).tag(sync=True)
    changes = traitlets.List().tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    curves = traitlets.List().tag(sync=True)
    link = traitlets.Unicode("").tag(sync=True)
    chosen = traitlets.Int(None, allow_none=True).tag(sync=True)
    committed = traitlets.Bool(False).tag(sync=True)
    address = traitlets.Bool(False, help="whether the page's address is read and written").tag(sync=True)
    experiments = traitlets.List(read_only=True).tag(sync=True)
    lines = traitlets.Dict(read_only=True).tag(sync=True)
    sets = traitlets.Dict(read_only=True).tag(sync=True)  # of packed data: side, images of a class, classes
    letters = traitlets.Bytes(b"", read_only=True).tag(sync=True)
    digits = traitlets.Bytes(b"", read_only=True).tag(sync=True)

    def __init__(
        self,
        experiment: str = "",
        settings: Mapping[str, Any] | None = None,
        rival: Mapping[str, Any] | None = None,
        **traits: Any,
    ) -> None:
        known = {one.name: one for one in EXPERIMENTS}
        if experiment:
            task = known[one_of("experiment", experiment, list(known))]
            settings = {**task.settings, **(settings or {})}
            if rival is None and task.rival is not None:
                rival = task.rival
        packed = {
            "sets": {name: pictures.about(name) for name in pictures.SIDE},
            "experiments": [one.plain() for one in EXPERIMENTS],
            "lines": lines(),
            **pictures.packed(),
        }
        given = {"title": "Playground", "experiment": experiment, "settings": dict(settings or {}), **traits}
        super().__init__(**given)
        with self.hold_sync():
            self.rival = None if rival is None else {**self.settings, **rival}
            for name, value in packed.items():
                self.set_trait(name, value)

    @traitlets.validate("settings", "rival")
    def _valid_settings(self, proposal: Any) -> dict[str, Any] | None:
        values = proposal["value"]
        for name, value in (values or {}).items():
            one_of("settings", name, list(SETTINGS))
            if name in _CHOICES:
                one_of(name, value, _CHOICES[name])
                continue
            low, high = _RANGES[name]
            kind = "a whole number" if name in _WHOLE else "a number"
            fits = isinstance(value, int if name in _WHOLE else (int, float)) and not isinstance(value, bool)
            if not (fits and low <= value <= high):
                raise traitlets.TraitError(f"{name} must be {kind} from {low:g} to {high:g}; got {value!r}")
        return values

    @traitlets.validate("experiment")
    def _valid_experiment(self, proposal: Any) -> str:
        return one_of("experiment", proposal["value"], ["", *(one.name for one in EXPERIMENTS)])

    def picture(self) -> plots.Figure:
        """Draw what 60 steps do with these settings: the same training with the losses and samplers of the package."""
        settings = SETTINGS | self.settings
        return _picture(settings, *trained(settings, 60))


# ---------------------------------------------------------------------------------------------------------------------
# The still picture: the same training, with torch
# ---------------------------------------------------------------------------------------------------------------------
def trained(settings: Mapping[str, Any], steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[float]]:
    """Train the playground's network with torch.

    Random numbers are torch's: the curves are like those of the page, not equal to them.

    Returns
    -------
    labels : (N,) array
    before, after : (N, dim) arrays
        Embeddings of the training set.
    history : list of float
        The loss of each step.
    """
    x, y = pictures.training_set("rings" if settings["data"] == "own" else settings["data"])
    inputs, labels = torch.as_tensor(x), torch.as_tensor(y)
    objective = {
        "sst": losses.SSTLoss(settings["k"]),
        "triplet": losses.TripletLoss(settings["margin"], settings["k"]),
        "contrastive": losses.ContrastiveLoss(settings["margin"]),
    }[settings["loss"]]
    sampler, warm = _samplers(settings, labels)
    history: list[float] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        sizes = (x.shape[1], 64, 32, settings["dim"])
        layers = [torch.nn.Linear(a, b) for a, b in pairwise(sizes)]
        network = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])

        def embed(rows: torch.Tensor) -> torch.Tensor:
            z = network(rows)
            return settings["scale"] * (torch.nn.functional.normalize(z) if settings["normalize"] else z)

        kind = torch.optim.Adam if settings["optimizer"] == "adam" else torch.optim.SGD
        optimizer = kind(network.parameters(), lr=settings["lr"])
        before, epoch = embed(inputs).detach(), 0
        while len(history) < steps:
            now = warm if epoch < settings["warmup"] else sampler
            now.refresh(embed(inputs).detach())
            batches = list(now)[: steps - len(history)]
            for number, batch in enumerate(batches):
                optimizer.zero_grad()
                pairs = now.pairs[number] if now.pairs else None
                loss = objective(embed(inputs[batch]), labels[batch], pairs)
                loss.backward()
                optimizer.step()
                history.append(loss.item())
            epoch += 1
            if not batches:
                break
        return y, before.numpy(), embed(inputs).detach().numpy(), history


def _samplers(settings: Mapping[str, Any], labels: torch.Tensor) -> tuple[Any, Any]:
    """Make the sampler of some settings, and the one of the warm-up."""
    size, classes = min(settings["B"], len(labels)), len(labels.unique())
    divisors = [n for n in range(2, size // 2 + 1) if size % n == 0 and n >= min(5, size / 2) and size // n <= classes]
    each = divisors[0] if divisors else 2
    balanced = sampling.ClassBalancedSampler(labels, size - size % each, each, seed=settings["seed"])
    if settings["sampler"] == "local":
        return sampling.LocalSampler(labels, size, settings["k"], seed=settings["seed"]), balanced
    if settings["sampler"] == "shuffled":
        return sampling.ShuffledSampler(labels, size, seed=settings["seed"]), balanced
    return balanced, balanced


def _picture(
    settings: Mapping[str, Any], labels: np.ndarray, before: np.ndarray, after: np.ndarray, history: list[float]
) -> plots.Figure:
    from .. import recording

    with plots.style():
        figure = plots.Figure(figsize=(7.6, 2.6), layout="constrained")
        axes = figure.subplots(1, 3)
        for place, z, title in zip(axes, (before, after), ("untrained", f"after {len(history)} steps")):
            points = z if settings["dim"] == 2 else recording.plane(z)[0]
            draw_classes(place, points, labels)
            place.set_title(title)
        axes[2].plot(np.arange(1, len(history) + 1), history, color=plots.OKABE_ITO["blue"])
        axes[2].set(xlabel="step", title="loss", ylim=(0, None))
    classes, ends = len(np.unique(labels)), "there is no batch to learn from"
    if history:
        ends = f"the loss goes from {history[0]:.2f} to {history[-1]:.2f}"
    figure.alt = (
        f"The playground trains a small network in the page. Here with {settings['loss']} loss and "
        f"{settings['sampler']} batches of {settings['B']}, on {len(labels)} items of {classes} classes: "
        f"the embedding before and after {len(history)} steps; {ends}."
    )
    return figure
