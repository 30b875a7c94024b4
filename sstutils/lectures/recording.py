"""Recordings: what is kept of a run so that it can be watched again anywhere, without training.

``record`` yields frames while a network trains; ``save`` and ``load`` keep any recording as one small ``.npz``.
``python -m sstutils.lectures`` (``make recordings``) makes all that the notebooks show.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import orthogonal_procrustes

from ..files import atomic_write, read_arrays, whole_file

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from ..recipes import Recipe

__all__ = ["Frame", "align", "collect", "load", "pack", "plane", "record", "run_name", "save", "sprite", "unpack"]

FOLDER = Path(__file__).parent / "recordings"  # what the lectures replay; `make recordings` makes it
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Frame:
    """What is seen of a network at one moment of its training.

    Attributes
    ----------
    run : str
        Name of the run.
    epoch : float
        Epochs done: 0 is the untrained network.
    loss : float or None
        Mean over the steps since the frame before; None at first.
    recall : float
        Recall@1 among the watched images, in the whole embedding.
    shown : float
        Share of the variance of the embedding that the plane of `points` holds.
    spread : float
        Root mean square distance of the embeddings from their mean.
    points : (N, 2) array
        The watched images in the plane, of root mean square distance 1 from their mean.
    watch : Dataset
        The watched images.
    recipe : Recipe
    """

    run: str
    epoch: float
    loss: float | None
    recall: float
    shown: float
    spread: float
    points: np.ndarray
    watch: Dataset
    recipe: Recipe

    @property
    def head(self) -> dict[str, Any]:
        """Name of the run, its length in epochs, and the epoch at which local sampling begins (None: never)."""
        recipe = self.recipe
        local = math.ceil(recipe.warmup * recipe.epochs) if recipe.sampler == "local" else None
        return {"name": self.run, "epochs": recipe.epochs, "local": local}


def plane(embeddings: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Project embeddings onto their two directions of greatest variance (PCA).

    Parameters
    ----------
    embeddings : (N, d) array

    Returns
    -------
    points : (N, 2) array
    shown : float
        Share of the variance that the plane holds.
    spread : float
        Root mean square distance of the embeddings from their mean.
    """
    components, held = principal_components(embeddings)
    points = np.zeros((len(components), 2))
    points[:, : components.shape[1]] = components[:, :2]
    return points, float(held[:2][-1]), float((components**2).sum(axis=1).mean()) ** 0.5


def principal_components(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return principal components (N, min(N, d)), and the share of the variance that the first, first two ... hold."""
    from ..checks import finite_matrix

    centred = finite_matrix(embeddings).double().numpy(force=True)
    centred = centred - centred.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    held = np.cumsum(s**2)
    return u * s, held / held[-1] if held[-1] else np.ones_like(held)


def align(points: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Rotate (and mirror) points about the origin to lie as near as possible to others: orthogonal Procrustes.

    Principal axes have no sign, and change places when they are of like length. Distances between points are kept.

    Both are (N, 2) arrays, and so is the result.
    """
    return points @ orthogonal_procrustes(points, towards)[0]


def run_name(recipe: Recipe) -> str:
    """Return a name for a run, such as "SST, local"."""
    loss = {"sst": "SST"}.get(recipe.loss, recipe.loss)
    return f"{loss}, {'class-balanced' if recipe.sampler == 'balanced' else recipe.sampler}"


def record(
    dataset: Dataset, recipe: Recipe | None, watch: Dataset, *, every: float = 0.5, run: str | None = None
) -> Iterator[Frame]:
    """Train a network and yield frames of some images that it is not trained on.

    Parameters
    ----------
    dataset : Dataset
        To train on.
    recipe : Recipe, optional
    watch : Dataset
        Some hundred images of classes that are not in `dataset`, several of each class.
    every : float
        Epochs from frame to frame; the last step gives a frame too.
    run : str, optional
        Name of the run; by default after loss and sampler.

    Yields
    ------
    Frame
        The untrained network first.

    Raises
    ------
    ValueError
        If `every` is not positive, or Recall@1 of the watched images is undefined (one class only).
    """
    import torch

    from .. import models, recipes, training
    from ..embedding import embed
    from ..evaluation import recall_at_k

    if not every > 0:
        raise ValueError(f"every must be a positive number of epochs, got {every}")
    recipe = recipe or recipes.Recipe()
    run = run or run_name(recipe)
    before = None

    def frame(model: torch.nn.Module, epoch: float, losses: Sequence[float]) -> Frame:
        nonlocal before
        embeddings = embed(model, watch, **recipes.view(recipe))
        recall = recall_at_k(embeddings, watch.targets, (1,))[1]
        points, shown, spread = plane(embeddings.numpy())
        points /= max(float(np.sqrt((points**2).sum(axis=1).mean())), 1e-12)
        before = points if before is None else align(points, before)
        loss = float(np.mean(losses)) if losses else None
        return Frame(run, epoch, loss, recall, shown, spread, before, watch, recipe)

    torch.manual_seed(recipe.seed)  # as `train` begins: the same untrained network
    yield frame(recipes.make_model(recipe).to(models.device()), 0.0, [])
    losses, due = [], every
    for step in training.train(dataset, recipe):
        losses.append(step.loss)
        done = step.epoch + (step.batch + 1) / step.batches
        if done >= due - 1e-9:
            yield frame(step.model, done, losses)
            losses, due = [], (int(done / every + 1e-9) + 1) * every
    if losses:
        yield frame(step.model, done, losses)


def sprite(images: Any, side: int = 32, columns: int = 16, quality: int = 40) -> bytes:
    """Put pictures of `side` pixels on one sheet, row by row, as a WebP file small enough to go into a page."""
    from PIL import Image

    from ..figures.plots import fit_square, read_image

    sheet = Image.new("RGB", (columns * side, -(-len(images) // columns) * side), "white")
    for i in range(len(images)):
        picture = Image.fromarray(fit_square(read_image(images, i), side))
        sheet.paste(picture, (i % columns * side, i // columns * side))
    raw = io.BytesIO()
    sheet.save(raw, format="WEBP", quality=quality, method=6)
    return raw.getvalue()


def collect(frames: Iterable[Frame]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Collect the frames of one or several runs as arrays, and all else that a replay needs: see :func:`save`.

    Parameters
    ----------
    frames : iterable of Frame
        Each run in order; all runs watch the same images.

    Returns
    -------
    arrays : dict
        ``points`` (frames of all runs, N, 2) int16, ``labels`` (N,), ``sprite`` (bytes as uint8).
    about : dict
        ``scale`` of the points, ``classes``, and ``runs``: of each its :attr:`Frame.head`, and a list each of epoch,
        loss, recall, shown and spread.

    Raises ValueError if there is no frame, or the runs watch different images.
    """
    runs: dict[str, list[Frame]] = {}
    for frame in frames:
        runs.setdefault(frame.run, []).append(frame)
    if not runs:
        raise ValueError("no frames to record")
    ordered = [frame for run in runs.values() for frame in run]
    watch = ordered[0].watch
    if any(list(frame.watch.targets) != list(watch.targets) for frame in ordered):
        raise ValueError("all runs of a recording must watch the same images")
    points, scale = pack(np.stack([frame.points for frame in ordered]))
    curves = ("epoch", "loss", "recall", "shown", "spread")
    about = {
        "scale": scale,
        "classes": list(watch.classes),
        "runs": [
            run[0].head | {curve: [round_digits(getattr(frame, curve)) for frame in run] for curve in curves}
            for run in runs.values()
        ],
    }
    arrays = {"points": points, "labels": np.asarray(watch.targets, dtype=np.int64)}
    return arrays | {"sprite": np.frombuffer(sprite(watch), np.uint8)}, about


def round_digits(value: float | None) -> float | None:
    """Round to six digits, enough for a curve; give None for what is not finite, as JSON wants it."""
    return float(f"{value:.6g}") if value is not None and np.isfinite(value) else None


def pack(values: Any) -> tuple[np.ndarray, float]:
    """Quantise finite `values` to int16, and return the scale to multiply them with; the error is below half of it."""
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("values must be finite, found NaN or infinity")
    scale = float(np.abs(values).max(initial=0)) / 32767 or 1.0
    return np.rint(values / scale).astype("<i2"), scale


def unpack(values: np.ndarray, scale: float) -> np.ndarray:
    """Return the float32 values of :func:`pack`."""
    return np.asarray(values, dtype=np.float32) * np.float32(scale)


def save(path: str | PathLike, kind: str, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write a recording to an ``.npz`` file: all of it, or nothing.

    `kind`, such as "replay", is what :func:`load` will ask for; `about` is everything but the arrays, as JSON can hold
    it: names, scales, recipes.
    """
    head = json.dumps({"sstutils": FORMAT, "kind": kind, **about}, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, about=np.array(head), **arrays)


def load(path: str | PathLike, kind: str) -> dict[str, Any]:
    """Read a recording; nothing in it is executed.

    Returns
    -------
    dict
        The arrays by name, and ``about`` (dict), as :func:`save` was given them with this `kind`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a valid recording of this kind.
    """
    with whole_file(path, "recording", "`make recordings` makes it"):
        arrays = read_arrays(path)
        about = json.loads(str(arrays.pop("about")))
        if about["sstutils"] != FORMAT:
            raise ValueError("another format")
    if about["kind"] != kind:
        raise ValueError(f"{path} is a recording of {about['kind']!r}, not of {kind!r}; choose another file")
    return {**arrays, "about": about}


# The letters that the replay watches: three pairs of near twins, and two that stand alone.
WATCHED = ["Æ", "Ǽ", "K", "Ķ", "ɸ", "ф", "M", "V"]


def select_classes(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Select the images of some classes, by name; ValueError if the data set has no such class."""
    from ..datasets.subsets import ClassSubset

    if absent := [name for name in names if name not in dataset.classes]:
        raise ValueError(f"the data set has no class {', '.join(absent)}")
    return ClassSubset(dataset, [dataset.classes.index(name) for name in names])


def make_glyphs(path: Path) -> None:
    """Write the weights of the default network, trained first where it is not there."""
    from .. import checkpoints, datasets, recipes, training

    full = checkpoints.checkpoint_path("glyphs")
    if not full.exists():
        training.fit(datasets.load("glyphs", "train"), recipes.recipe_for("glyphs"), out=full, data={"name": "glyphs"})
    save_weights(checkpoints.load_checkpoint(full), path)


def save_weights(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint without what only resuming needs, weights in half precision: a sixth of the size.

    ``load_checkpoint``, which `content` comes from, and ``load_model`` read it as any other.
    """
    from .. import checkpoints

    half = {name: value.half() if value.is_floating_point() else value for name, value in content["model"].items()}
    checkpoints.write(content | {"model": half, "training": {"ended": content["training"]["ended"]}}, path)


def make_replay(path: Path) -> None:
    """Write three runs from one seed: two losses, two samplers."""
    from tqdm.auto import tqdm

    from .. import datasets, recipes

    # Letters as they stand: with turned classes beside them, 12 epochs end lower.
    train = datasets.load("glyphs", "train")
    watch = select_classes(datasets.load("glyphs", "test", images=28), WATCHED)
    frames, used = [], []
    for loss, sampler in (("sst", "local"), ("triplet", "local"), ("sst", "balanced")):
        recipe = recipes.Recipe(epochs=12, loss=loss, sampler=sampler)
        frames += tqdm(record(train, recipe, watch, every=1 / 3), desc=run_name(recipe), total=37, unit="frame")
        used.append(asdict(recipe))
    arrays, about = collect(frames)
    save(path, "replay", arrays, about | {"recipes": used})
