"""The figures of the paper: one table, which the command line and the notebooks read.

``make()`` regenerates them all on a data set: it trains a network if there is none, and writes each figure as PNG and
SVG, with a JSON file beside it that tells how it came about.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import file_name
from . import plots

if TYPE_CHECKING:
    from torchvision.datasets import VisionDataset

__all__ = ["FIGURES", "Context", "Entry", "display", "draw", "find", "make"]


# ---------------------------------------------------------------------------------------------------------------------
# What the figures are drawn from
# ---------------------------------------------------------------------------------------------------------------------
@dataclass
class Context:
    """A data set, a trained network and what follows from them; each is made when it is first asked for, once.

    Parameters
    ----------
    data : str
        Name of the data set, as for ``sstutils.load``.
    checkpoint : path, optional
        The trained network. By default ``OUT/checkpoints/DATA.pt``, which is trained if it is not there, and trained
        to its end if it was stopped.
    out : path
        Folder of all output.
    style : str
        See ``sstutils.figures.plots.style``.
    seed : int
        Of the queries, the neighborhoods and t-SNE.
    where : str, optional
        Device: cuda, mps or cpu; by default the first that is there.
    progress : bool
        Show progress bars.
    tsne : {"barnes-hut", "fft"}
        The method of t-SNE, see ``sstutils.figures.plots.tsne_layout``.
    workers : int, optional
        Processes that read pictures from files, as for ``sstutils.run``.

    Raises
    ------
    ValueError
        If the method of t-SNE is unknown.
    """

    data: str = "glyphs"
    checkpoint: str | PathLike | None = None
    out: str | PathLike = "output"
    style: str = "default"
    seed: int = 0
    where: str | None = None
    progress: bool = True
    tsne: str = "barnes-hut"
    workers: int | None = None

    def __post_init__(self) -> None:
        plots.tsne_method(self.tsne)  # an unknown one is told before anything is trained

    @property
    def name(self) -> str:
        """The data set's name in file names: a folder of pictures goes by its own name."""
        return file_name(self.data)

    @property
    def path(self) -> Path:
        """The file of the checkpoint."""
        from ..checkpoints import checkpoint_path

        return Path(self.checkpoint or checkpoint_path(self.data, self.out))

    @cached_property
    def network(self) -> tuple[Any, dict[str, Any]]:
        """The trained network and its checkpoint's content."""
        from .. import checkpoints, datasets, runs

        def run(**options: Any) -> None:
            how = {"where": self.where, "workers": self.workers, "progress": self.progress}
            runs.run(self.data, out=self.path, **how, **options)

        if self.checkpoint is None and not self.path.exists():
            run()
        content = checkpoints.load_checkpoint(self.path)
        theirs = content["data"]
        options = theirs["options"] if theirs["name"] == self.data else {}
        train = datasets.load(self.data, "train", **options)
        if theirs["fingerprint"] != train.fingerprint:
            raise ValueError(
                f"checkpoint {self.path} was trained on {theirs['name']} {theirs['fingerprint']}, these figures are of "
                f"{self.data} {train.fingerprint}: remove it to train anew, or give another checkpoint or data set"
            )
        if self.checkpoint is None and checkpoints.unfinished(content):
            run(resume=True)
        return checkpoints.load_model(self.path, self.where)

    @cached_property
    def dataset(self) -> VisionDataset:
        """The test split, or the part of it that goes with the part that was trained on."""
        from .. import datasets

        _, content = self.network
        return datasets.load(self.data, "test", **content["data"]["options"])

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int array."""
        return np.asarray(self.dataset.targets)

    @cached_property
    def embeddings(self) -> np.ndarray:
        """(N, d) float32 array: the test split through the network."""
        from ..evaluation import embed
        from ..recipes import Recipe, view
        from ..runs import default_workers

        model, content = self.network
        how = {"workers": default_workers(self.workers, self.where), "progress": self.progress}
        return np.asarray(embed(model, self.dataset, **view(Recipe(**content["recipe"])), **how))

    @cached_property
    def layout(self) -> np.ndarray:
        """(N, 2) array: the t-SNE map of the embeddings."""
        return plots.tsne_layout(self.embeddings, method=self.tsne, seed=self.seed, progress=self.progress)

    def retrieved(self, queries: np.ndarray, k: int = 4) -> np.ndarray:
        """Return the (Q, k) numbers of the items nearest to each query."""
        import torch

        from ..evaluation import top_k

        k = min(k, len(self.labels) - 1)
        _, indices = top_k(torch.from_numpy(self.embeddings), k, queries=torch.from_numpy(queries))
        return np.asarray(indices)

    @cached_property
    def neighborhood(self) -> np.ndarray:
        """Numbers of the items of one neighborhood: of those that can be drawn, a large and compact one on the map."""
        import torch

        from ..sampling import LocalSampler

        sampler = LocalSampler(self.labels.tolist(), min(200, max(4, len(self.labels) // 8)), seed=self.seed)
        sampler.refresh(torch.from_numpy(self.embeddings))

        def spread(batch: np.ndarray) -> float:
            _, counts = np.unique(self.labels[batch], return_counts=True)
            if counts.max() < 2 or len(batch) - counts.max() < 2:
                return np.inf
            place = self.layout[batch]
            away = np.linalg.norm(place - np.median(place, axis=0), axis=1)
            return float(np.quantile(away, 0.9) / len(batch))

        batches = [np.asarray(batch) for batch in sampler.batches]
        return min(batches, key=spread, default=np.arange(len(self.labels)))


# ---------------------------------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Entry:
    """A row of the table: one file of one figure of the paper.

    Attributes
    ----------
    id : str
        Number in the paper.
    name : str
        What it is called on the command line, beside its number and its file's name.
    stem : str
        The file's name without suffix; ``{data}`` stands for the data set.
    caption : str
    alt : str
        Alternative text; ``{data}`` stands for the data set, ``{seen}`` for what the plot function counted.
    draw : callable
        From a :class:`Context` to a figure.
    embedding : bool
        Whether it needs a trained network.
    also : tuple of str
        Further names.
    layout : bool
        Whether it is drawn on the t-SNE map.
    """

    id: str
    name: str
    stem: str
    caption: str
    alt: str
    draw: Callable[[Context], plots.Figure]
    embedding: bool
    also: tuple[str, ...] = ()
    layout: bool = False


def _idea(context: Context) -> plots.Figure:
    return plots.idea(
        context.layout, context.dataset, context.labels, context.neighborhood, seed=context.seed, style=context.style
    )


def _triplet(context: Context) -> plots.Figure:
    return plots.gradients("triplet", margin=1.0, style=context.style)


def _sst(context: Context) -> plots.Figure:
    return plots.gradients("sst", style=context.style)


def _example(context: Context) -> plots.Figure:
    count = min(10, len(context.labels))
    queries = np.random.default_rng(context.seed).choice(len(context.labels), count, replace=False)
    return plots.gallery(
        context.dataset,
        context.labels,
        queries,
        context.retrieved(queries),
        names=context.dataset.classes,
        style=context.style,
    )


def _tsne(context: Context) -> plots.Figure:
    return plots.thumbnails(context.layout, context.dataset, labels=context.labels, style=context.style)


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
        embedding=True,
        also=("overview",),
        layout=True,
    ),
    Entry(
        id="2",
        name="gradients",
        stem="Triplet",
        caption=f"Negative gradients of the triplet loss with margin 1 {_TERNARY}",
        alt="{seen}",
        draw=_triplet,
        embedding=False,
    ),
    Entry(
        id="2",
        name="gradients",
        stem="SymTriplet",
        caption=f"Negative gradients of the SST loss {_TERNARY}",
        alt="{seen}",
        draw=_sst,
        embedding=False,
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
        embedding=True,
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
        draw=_tsne,
        embedding=True,
        also=("5", "6", "t-sne", "map"),  # the paper draws it for three data sets
        layout=True,
    ),
)

# The paper's own spelling of file names, where it is not the data set's name.
_SPELLING = {
    "cub": "cub200",
    "cars": "cars196",
    "sop": "stanford",
    "products": "stanford",
}


def _stem(figure: Entry, context: Context) -> str:
    name = _SPELLING.get(context.name, context.name)
    return figure.stem.format(data="stand" if name == "stanford" and figure.name == "tsne" else name)


def find(names: Iterable[str | int] | None = None) -> list[Entry]:
    """Return the rows of the table that some numbers or names mean, in the order of the table; all for None.

    Parameters
    ----------
    names : iterable of str or int, optional
        Numbers ("3"), names ("tsne") or names of files ("SymTriplet", "glyphs_TSNE"), in any case.

    Returns
    -------
    list of Entry

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
            hint = f"did you mean {words[close[0]]!r}?" if close else f"there are {', '.join(known)}"
            raise ValueError(f"no figure is called {str(name)!r}: {hint}")
        wanted.update(rows)
    return [FIGURES[i] for i in sorted(wanted)]


def _means(word: str, row: Entry) -> bool:
    """Tell whether a user's word means a row of the table."""
    word = Path(word).stem.lower() if Path(word).suffix.lower() in (".png", ".svg", ".json") else word.lower()
    if word in (row.id, row.name, *row.also) or word == row.stem.lower():
        return True
    return "{data}" in row.stem and word.endswith(row.stem.removeprefix("{data}").lower())


# ---------------------------------------------------------------------------------------------------------------------
# Drawing and writing them
# ---------------------------------------------------------------------------------------------------------------------
def _drawn(row: Entry, context: Context) -> plots.Figure:
    """Draw a row of the table and complete its alternative text."""
    figure = row.draw(context)
    figure.alt = row.alt.format(data=context.name, seen=figure.alt).strip()
    if not figure.alt:
        raise ValueError(f"figure {row.id} ({row.name}) has no alternative text: add it to the table of figures")
    return figure


def draw(name: str | int, context: Context | None = None, **options: Any) -> plots.Figure:
    """Draw one figure without writing it; a notebook shows it, alternative text included.

    Parameters
    ----------
    name : str or int
        As for :func:`find`; the first row it means.
    context : Context, optional
        Hand the same one to several calls, so that they share network, embeddings and map.
    **options
        Of a new :class:`Context`, if none is given.

    Returns
    -------
    sstutils.figures.plots.Figure
    """
    return _drawn(find([name])[0], context or Context(**options))


def make(
    ids: Iterable[str | int] | None = None,
    *,
    data: str = "glyphs",
    checkpoint: str | PathLike | None = None,
    out: str | PathLike = "output",
    style: str = "default",
    seed: int = 0,
    where: str | None = None,
    progress: bool = True,
    tsne: str = "barnes-hut",
    workers: int | None = None,
) -> list[Path]:
    """Regenerate figures: each as PNG, SVG and a JSON file that tells how it came about.

    Nothing half-written is left: the three files of a figure are written aside and renamed when all are complete.

    Parameters
    ----------
    ids : iterable of str or int, optional
        Numbers or names, as for :func:`find`; all by default.
    data, checkpoint, out, style, seed, where, progress, tsne, workers
        As for :class:`Context`. The files go to ``OUT/figures``.

    Returns
    -------
    list of Path
        The files, figure by figure.

    Raises
    ------
    ValueError
        If a figure, the style, the data set or the method of t-SNE is unknown, or the checkpoint belongs to other data.
    OSError
        If a file cannot be read or written.
    """
    from tqdm.auto import tqdm

    from ..checkpoints import versions

    rows = find(ids)
    with plots.style(style):
        pass  # an unknown style is told before anything is trained
    context = Context(data, checkpoint, out, style, seed, where, progress, tsne, workers)
    folder = Path(out) / "figures"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {folder} ({error.strerror}): choose another with --out") from error
    written: list[Path] = []
    for row in tqdm(rows, desc="figures", unit="figure", disable=not progress):
        started = time.perf_counter()
        figure = _drawn(row, context)
        stem = _stem(row, context)
        png, svg = figure.png(), figure.svg(title=f"Figure {row.id}: {row.name}")
        about = {
            "id": row.id,
            "name": row.name,
            "files": [f"{stem}.png", f"{stem}.svg"],
            "caption": _caption(row, context),
            "alt": figure.alt,
            "style": style,
            "seed": seed,
            **({"tsne": tsne} if row.layout else {}),
            **(_source(context) if row.embedding else {"data": None, "checkpoint": None}),
            "versions": versions(),
            "seconds": round(time.perf_counter() - started, 2),
            "command": _command(stem, context),
        }
        contents = {
            ".png": png,
            ".svg": svg.encode(),
            ".json": (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode(),
        }
        written += _write(folder, stem, contents)
    return written


def _write(folder: Path, stem: str, contents: dict[str, bytes]) -> list[Path]:
    """Write the files of one figure, all or none."""
    from ..files import atomic_write

    png, svg, about = paths = [folder / f"{stem}{suffix}" for suffix in contents]
    try:
        with atomic_write(png) as first, atomic_write(svg) as second, atomic_write(about) as third:
            for temporary, content in zip((first, second, third), contents.values(), strict=True):
                temporary.write_bytes(content)
    except OSError as error:
        raise OSError(
            f"cannot write figure {folder / stem} ({error.strerror or error}): "
            "make room, or choose another folder with --out"
        ) from error
    return paths


def _caption(row: Entry, context: Context) -> str:
    """Return the caption of a figure, which names the method of t-SNE that was used instead of the paper's."""
    return row.caption.replace("Barnes-Hut", plots.tsne_method(context.tsne)[1])


def _source(context: Context) -> dict[str, Any]:
    """Tell which data and which network a figure shows."""
    _, content = context.network
    data = context.dataset
    return {
        "data": {
            "name": context.data,
            "split": "test",
            "images": len(context.labels),
            "classes": len(data.classes),
            "fingerprint": data.fingerprint,
            "train_fingerprint": content["data"]["fingerprint"],
        },
        "checkpoint": {
            "file": context.path.as_posix(),
            "epochs": len(content["history"]),
            "recipe": content["recipe"],
            "versions": content["versions"],
        },
    }


def _command(stem: str, context: Context) -> str:
    """Return the command that makes a figure again."""
    words = ["sst", "figures", stem, "--data", context.data]
    for option, value, default in (
        ("--checkpoint", context.checkpoint, None),
        ("--out", context.out, "output"),
        ("--style", context.style, "default"),
        ("--seed", context.seed, 0),
        ("--tsne", context.tsne, "barnes-hut"),
    ):
        if str(value) != str(default):
            words += [option, str(value)]
    return shlex.join(words)


def display(name: str | int, *, out: str | PathLike = "output", **options: Any) -> None:
    """Show a figure that :func:`make` wrote, and make it if it is not there, in a notebook, with its caption.

    Parameters
    ----------
    name : str or int
        As for :func:`find`; each file of the figure is shown.
    out : path
        The folder that was given to :func:`make`.
    **options
        As for :func:`make`.
    """
    from html import escape

    from IPython.display import HTML
    from IPython.display import display as show

    context = Context(out=out, **options)
    for row in find([name]):
        path = Path(out) / "figures" / f"{_stem(row, context)}.json"
        if not path.exists():
            make([_stem(row, context)], out=out, **options)
        about = json.loads(path.read_text(encoding="utf-8"))
        data, metadata = plots.in_notebook(path.with_suffix(".png").read_bytes(), about["alt"], 200)
        show(data, metadata=metadata, raw=True)
        show(HTML(f"<p><b>Figure {about['id']}.</b> {escape(about['caption'])}</p>"))
