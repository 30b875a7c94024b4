"""The table of the paper's figures: what each is called, what it is drawn from, what its caption says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..files import file_name
from . import plots

__all__ = ["FIGURES", "Context", "Entry", "file_stem", "find"]

NEEDS = ("nothing", "embeddings", "layout")  # of a figure, the cheapest first


@dataclass(frozen=True, eq=False)
class Context:
    """What figures are drawn from: settings, and as far as they were prepared, test images, embeddings and map.

    See :func:`sstutils.figures.prepare`.

    Attributes
    ----------
    data : str
        Name of the data set, as for ``sstutils.load``.
    checkpoint : path, optional
        A network that was trained before; by default ``OUT/checkpoints/DATA.pt``.
    out : path
        Folder of all output.
    style : str
        See :func:`sstutils.figures.plots.style`.
    seed : int
        Seed for the queries, the neighborhoods and t-SNE.
    tsne : {"barnes-hut", "fft"}
        See :func:`sstutils.figures.plots.tsne_layout`.
    network : dict, optional
        The content of the checkpoint, see :func:`sstutils.load_checkpoint`.
    dataset : Dataset, optional
        The test split, or the part of it that goes with the part that was trained on.
    embeddings : (N, d) float32 array, optional
        The test split through the network.
    layout : (N, 2) float32 array, optional
        The t-SNE map of the embeddings.

    Raises
    ------
    ValueError
        If the style or the method of t-SNE is unknown.
    """

    data: str = "glyphs"
    checkpoint: str | PathLike | None = None
    out: str | PathLike = "output"
    style: str = "default"
    seed: int = 0
    tsne: str = "barnes-hut"
    network: dict[str, Any] | None = None
    dataset: Any = None
    embeddings: np.ndarray | None = None
    layout: np.ndarray | None = None

    def __post_init__(self) -> None:
        plots.tsne_method(self.tsne)
        with plots.style(self.style):
            pass

    @property
    def path(self) -> Path:
        """The file of the checkpoint."""
        from ..checkpoints import checkpoint_path

        return Path(self.checkpoint or checkpoint_path(self.data, self.out))

    @property
    def labels(self) -> np.ndarray:
        """(N,) int array: the class of each test image."""
        return np.asarray(self.dataset.targets)

    def retrieve(self, queries: np.ndarray, k: int = 4) -> np.ndarray:
        """Return the (Q, k) numbers of the test images nearest to each query, itself left out."""
        import torch

        from ..evaluation import top_k

        k = min(k, len(self.labels) - 1)
        _, indices = top_k(torch.from_numpy(self.embeddings), k, queries=torch.from_numpy(queries))
        return np.asarray(indices)

    def choose_neighborhood(self) -> np.ndarray:
        """Return the numbers of one neighborhood: of those that can be drawn, a large and compact one on the map."""
        import torch

        from ..sampling import LocalSampler

        labels = self.labels
        sampler = LocalSampler(labels.tolist(), min(200, max(4, len(labels) // 8)), seed=self.seed)
        sampler.refresh(torch.from_numpy(self.embeddings))

        def spread(batch: np.ndarray) -> float:
            _, counts = np.unique(labels[batch], return_counts=True)
            if counts.max() < 2 or len(batch) - counts.max() < 2:
                return np.inf
            place = self.layout[batch]
            away = np.linalg.norm(place - np.median(place, axis=0), axis=1)
            return float(np.quantile(away, 0.9) / len(batch))

        batches = [np.asarray(batch) for batch in sampler.batches]
        return min(batches, key=spread, default=np.arange(len(labels)))


@dataclass(frozen=True)
class Entry:
    """A row of the table: one file of one figure of the paper.

    Attributes
    ----------
    id : str
        Number in the paper.
    name : str
        What it is called on the command line, besides its number and its file's name.
    stem : str
        The file's name without suffix; ``{data}`` stands for the data set.
    caption : str
    alt : str
        Alternative text; ``{data}`` stands for the data set, ``{seen}`` for what the plot function counted.
    draw : callable
        Takes a :class:`Context`, returns a figure.
    needs : {"nothing", "embeddings", "layout"}
        What of the context must be prepared.
    also : tuple of str
        Other names that :func:`find` accepts.
    """

    id: str
    name: str
    stem: str
    caption: str
    alt: str
    draw: Callable[[Context], plots.Figure]
    needs: str
    also: tuple[str, ...] = ()


def _idea(context: Context) -> plots.Figure:
    batch = context.choose_neighborhood()
    look = {"seed": context.seed, "style": context.style}
    return plots.idea(context.layout, context.dataset, context.labels, batch, **look)


def _example(context: Context) -> plots.Figure:
    data, labels = context.dataset, context.labels
    queries = np.random.default_rng(context.seed).choice(len(labels), min(10, len(labels)), replace=False)
    return plots.gallery(data, labels, queries, context.retrieve(queries), names=data.classes, style=context.style)


_TERNARY = (
    "with respect to anchor, positive and negative, for embeddings that are single numbers, over the differences "
    "u (anchor minus positive), v (positive minus negative) and w (negative minus anchor), which add up to 0. "
    "Values beyond -4 and 4 are clipped."
)

FIGURES: tuple[Entry, ...] = (
    Entry(
        id="1",
        name="idea",
        stem="idea",
        caption=(
            "The idea. (a) The images of a neighborhood of the embedding make a mini-batch. (b) The network embeds "
            "them; the SST loss pulls an anchor a and a positive p together and pushes negatives n straight away from "
            "their midpoint, above all those inside the dashed sphere z = 0. (c) The objective is satisfied when they "
            "are far outside. Blue: images of one class; orange: of other classes."
        ),
        alt="{seen} The images are test images of {data}.",
        draw=_idea,
        needs="layout",
        also=("overview",),
    ),
    Entry(
        id="2",
        name="gradients",
        stem="Triplet",
        caption=f"Negative gradients of the triplet loss with margin 1 {_TERNARY}",
        alt="{seen}",
        draw=lambda c: plots.gradients("triplet", margin=1.0, style=c.style),
        needs="nothing",
    ),
    Entry(
        id="2",
        name="gradients",
        stem="SymTriplet",
        caption=f"Negative gradients of the SST loss {_TERNARY}",
        alt="{seen}",
        draw=lambda c: plots.gradients("sst", style=c.style),
        needs="nothing",
        also=("sst",),
    ),
    Entry(
        id="3",
        name="example",
        stem="{data}_example",
        caption=(
            "Random queries among the test images, whose classes were not seen in training, and the four nearest "
            "images of each. Correct ones carry a tick, incorrect ones a cross."
        ),
        alt="A grid of small test images of {data}: {seen}",
        draw=_example,
        needs="embeddings",
        also=("examples", "gallery", "retrieval"),
    ),
    Entry(
        id="4",
        name="tsne",
        stem="{data}_TSNE",
        caption=(
            "Barnes-Hut t-SNE of the embeddings of the test images, whose classes were not seen in training. Each "
            "cell of a grid shows the image nearest to its centre, so that none hides another. Neighbors on the map "
            "are neighbors in the embedding; distances between far groups mean nothing."
        ),
        alt="The t-SNE map of the test images of {data}. {seen}",
        draw=lambda c: plots.thumbnails(c.layout, c.dataset, labels=c.labels, style=c.style),
        needs="layout",
        also=("5", "6", "t-sne", "map"),  # the paper draws it for three data sets
    ),
)

# The paper's own spelling of file names, where it is not the data set's name.
_SPELLING = {"cub": "cub200", "cars": "cars196", "sop": "stanford", "products": "stanford"}


def file_stem(row: Entry, data: str) -> str:
    """Return the name of a figure's files, without suffix: as the paper spells it, where it has that data set.

    Examples
    --------
    >>> [file_stem(row, "cub") for row in find(["3", "4"])]
    ['cub200_example', 'cub200_TSNE']
    """
    name = _SPELLING.get(file_name(data), file_name(data))
    return row.stem.format(data="stand" if name == "stanford" and row.name == "tsne" else name)


def find(names: Iterable[str | int] | None = None) -> list[Entry]:
    """Return the rows of the table that some numbers or names mean, in the order of the table; all for None.

    Parameters
    ----------
    names : iterable of str or int, optional
        Numbers ("3"), names ("tsne") or names of files ("SymTriplet", "glyphs_TSNE"), in any case.

    Raises
    ------
    ValueError
        If there is no such figure; the message suggests one.
    """
    if names is None:
        return list(FIGURES)
    wanted = set()
    for name in names:
        rows = [i for i, row in enumerate(FIGURES) if _means(str(name), row)]
        if not rows:
            words = {word.lower(): word for row in FIGURES for word in (row.name, row.stem, *row.also)}
            close = get_close_matches(str(name).lower(), [word for word in words if not word.isdigit()], n=1)
            known = dict.fromkeys(f"{row.id} ({row.name})" for row in FIGURES)
            hint = f"did you mean {words[close[0]]!r}?" if close else f"choose from {', '.join(known)}"
            raise ValueError(f"unknown figure {str(name)!r}: {hint}")
        wanted.update(rows)
    return [FIGURES[i] for i in sorted(wanted)]


def _means(word: str, row: Entry) -> bool:
    """Tell whether a user's word means a row of the table."""
    word = Path(word).stem.lower() if Path(word).suffix.lower() in (".png", ".svg", ".json") else word.lower()
    if word in (row.id, row.name, *row.also, row.stem.lower()):
        return True
    return "{data}" in row.stem and word.endswith(row.stem.removeprefix("{data}").lower())
