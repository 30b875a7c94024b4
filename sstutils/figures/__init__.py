"""Regenerate the figures of the paper, the rows of :data:`FIGURES`, with the functions of ``plots.py``.

Data flow one way: choose figures -> train or load the network, if one of them needs it -> embed the test images -> lay
them out -> draw -> write. Each figure is a PNG, an SVG, and a JSON file that says how it was made.
"""

import json
import re
import shlex
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from difflib import get_close_matches
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from .. import datasets, runs
from ..checkpoints import checkpoint_path, load_checkpoint, unfinished, versions
from ..datasets.subsets import innermost
from ..evaluation import top_k
from ..files import atomic_write, file_name, one_line
from ..sampling import LocalSampler
from . import plots

NEEDS = ("nothing", "embeddings", "layout")  # of a figure, the cheapest first


@dataclass(frozen=True, eq=False)
class Context:
    """What figures are drawn from: settings, and as far as :func:`prepare` made them, network, embeddings and map.

    Attributes
    ----------
    data : str
        Name of the data set, as for ``sstutils.load``.
    checkpoint : path, optional
        A network that was trained before; by default ``OUT/checkpoints/DATA.pt``, trained if there is none.
    out : path
        Folder of all output.
    style : str
        See :func:`sstutils.figures.plots.style`.
    seed : int
        Seed for the queries, the neighborhoods and t-SNE.
    tsne : {"barnes-hut", "fft"}
        See :func:`sstutils.figures.plots.tsne_layout`.
    where : str, optional
        Device: cuda, mps or cpu; by default the first that is available.
    progress : bool
        Show progress bars.
    workers : int, optional
        Processes that read images from files, as for ``sstutils.run``.
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
    where: str | None = None
    progress: bool = True
    workers: int | None = None
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
        return Path(self.checkpoint or checkpoint_path(self.data, self.out))

    @property
    def labels(self) -> np.ndarray:
        """(N,) int array: the class of each test image."""
        return np.asarray(self.dataset.targets)

    def retrieve(self, queries: np.ndarray, k: int = 4) -> np.ndarray:
        """Return the (Q, k) numbers of the test images nearest to each query, itself left out."""
        if len(self.labels) < 2:
            raise ValueError(f"retrieval needs at least two test images, and {self.data} has {len(self.labels)}")
        k = min(k, len(self.labels) - 1)
        _, indices = top_k(torch.from_numpy(self.embeddings), k, queries=torch.from_numpy(queries))
        return np.asarray(indices)

    def choose_neighborhood(self) -> np.ndarray:
        """Return the numbers of one neighborhood: of those that can be drawn, a large and compact one on the map."""
        labels = self.labels
        sampler = LocalSampler(labels.tolist(), min(200, max(4, len(labels) // 8)), seed=self.seed)
        sampler.refresh(torch.from_numpy(self.embeddings))

        def spread(batch: np.ndarray) -> float:
            _, counts = np.unique(labels[batch], return_counts=True)
            if counts.max() < 2 or len(batch) - counts.max() < 2:
                return np.inf
            away = np.linalg.norm(self.layout[batch] - np.median(self.layout[batch], axis=0), axis=1)
            return float(np.quantile(away, 0.9) / len(batch))

        batch = min(map(np.asarray, sampler.batches), key=spread, default=labels[:0])
        # Of few images or classes no neighborhood may hold what is drawn: then all images are one.
        return batch if len(batch) and np.isfinite(spread(batch)) else np.arange(len(labels))


# ---------------------------------------------------------------------------------------------------------------------
# The table of figures: what each is called, what it is drawn from, what its caption says
# ---------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Entry:
    """A row of the table: one file of one figure of the paper."""

    id: str  # number in the paper
    name: str  # on the command line, besides the number and the file's name
    stem: str  # the file's name without suffix; {data} stands for the data set
    caption: str
    alt: str  # alternative text: {data} stands for the data set, {seen} for what the plot function counted
    draw: Callable[[Context], plots.Figure]
    needs: str = "nothing"  # what of the context must be prepared, one of NEEDS
    also: tuple[str, ...] = ()  # other names that `find` accepts


def _draw_idea(c: Context) -> plots.Figure:
    return plots.idea(c.layout, c.dataset, c.labels, c.choose_neighborhood(), seed=c.seed, style=c.style)


def _draw_example(c: Context) -> plots.Figure:
    queries = np.random.default_rng(c.seed).choice(len(c.labels), min(10, len(c.labels)), replace=False)
    near = c.retrieve(queries)
    return plots.gallery(c.dataset, c.labels, queries, near, names=c.dataset.classes, style=c.style)


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
        draw=_draw_idea,
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
    ),
    Entry(
        id="2",
        name="gradients",
        stem="SymTriplet",
        caption=f"Negative gradients of the SST loss {_TERNARY}",
        alt="{seen}",
        draw=lambda c: plots.gradients("sst", style=c.style),
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
        draw=_draw_example,
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


def file_stem(row: Entry, data: str) -> str:
    """Return the name of a figure's files, without suffix: as the paper spells it, where it has that data set.

    Examples
    --------
    >>> [file_stem(row, "sop") for row in find(["3", "4"])]
    ['stanford_example', 'stand_TSNE']
    """
    name = file_name(data)
    if data.lower() == "sop":
        name = "stand" if row.name == "tsne" else "stanford"
    return row.stem.format(data=name)


def find(names: Iterable[str | int] | None = None) -> list[Entry]:
    """Return the rows of the table that some numbers or names mean, in the order of the table; all for None.

    Parameters
    ----------
    names : iterable of str or int, optional
        Numbers ("3"), names ("tsne") or names of files ("SymTriplet", "glyphs_TSNE.png"), in any case.

    Raises
    ------
    ValueError
        If there is no such figure; the message suggests one.
    """
    chosen: list[Entry] = []
    for name in map(str, [] if names is None else names):
        rows = [row for row in FIGURES if _means(name.lower(), row)]
        if not rows:
            words = {word.lower(): word for row in FIGURES for word in (row.name, row.stem, *row.also)}
            close = get_close_matches(name.lower(), [word for word in words if not word.isdigit()], n=1)
            known = dict.fromkeys(f"{row.id} ({row.name})" for row in FIGURES)
            hint = f"did you mean {words[close[0]]!r}?" if close else f"choose from {', '.join(known)}"
            raise ValueError(f"unknown figure {name!r}: {hint}")
        chosen += rows
    return [row for row in FIGURES if names is None or row in chosen]


def _means(word: str, row: Entry) -> bool:
    """Tell whether a user's word, in lower case, means a row of the table."""
    word = re.sub(r"\.(png|svg|json)$", "", word)
    own = "{data}" in row.stem and word.endswith(row.stem.removeprefix("{data}").lower())
    return own or word in (row.id, row.name, row.stem.lower(), *row.also)


# ---------------------------------------------------------------------------------------------------------------------
# From the choice of figures to their files
# ---------------------------------------------------------------------------------------------------------------------
def make(ids: Iterable[str | int] | None = None, **options: Any) -> list[Path]:
    """Regenerate figures: each as PNG, SVG and a JSON file that says how it was made.

    Figures that need no network are drawn first. If one cannot be drawn, the others still are. The three files of a
    figure are written to temporary files, and renamed when all are complete.

    Parameters
    ----------
    ids : iterable of str or int, optional
        Numbers or names, as for :func:`find`; all by default.
    **options
        The settings of a :class:`Context`: `data`, `checkpoint`, `out`, `style`, `seed`, `tsne`, `where`, `progress`,
        `workers`. The files go to ``OUT/figures``.

    Returns
    -------
    list of Path
        The files, in the order they were written.

    Raises
    ------
    ValueError
        If a figure, the style, the data set or the method of t-SNE is unknown, the checkpoint belongs to other data, or
        some of several figures could not be drawn.
    OSError
        If a file cannot be read or written.
    """
    rows = sorted(find(ids), key=lambda row: NEEDS.index(row.needs))
    context = Context(**options)
    folder = Path(context.out) / "figures"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot create the folder {folder} ({error.strerror}): choose another with --out") from error
    written: list[Path] = []
    failed: dict[str, Exception] = {}
    bar = tqdm(rows, disable=not context.progress, bar_format="{desc}: {n}/{total} |{bar}|")
    for row in bar:
        bar.set_description(f"figures, {row.name}")
        if row.needs != "nothing":
            context = prepare(context)  # without a network nothing else can be drawn
        try:
            context = prepare(context, row.needs)
            written += _write(row, context)
        except Exception as error:
            if len(rows) == 1:
                raise
            failed[file_stem(row, context.data)] = error
    if failed:
        reasons = "; ".join(f"{stem}: {one_line(error)}" for stem, error in failed.items())
        raise ValueError(f"could not draw {len(failed)} of {len(rows)} figures: {reasons}") from failed.popitem()[1]
    return written


def prepare(context: Context, needs: str = "embeddings", **options: Any) -> Context:
    """Train or load the network, embed the test images and lay them out: as far as needed, and not done yet.

    Unless the context names a checkpoint, a network is trained if there is none, and training that was interrupted is
    resumed.

    Parameters
    ----------
    context : Context
    needs : {"nothing", "embeddings", "layout"}
    **options
        Settings of the context to replace, such as `progress`.

    Returns
    -------
    Context
        With `network`, `dataset` and `embeddings`, and with `layout` if that is needed.

    Raises
    ------
    ValueError
        If the checkpoint was trained on other data.
    FileNotFoundError
        If there is no such checkpoint.
    """
    context = replace(context, **options)
    how = {"where": context.where, "progress": context.progress, "workers": context.workers}
    if needs != "nothing" and context.embeddings is None:
        trained_on = _train_unless_done(context, **how)
        other = None if trained_on == context.data else context.data  # the same data under another name
        embeddings, dataset, network = runs.embed_checkpoint(context.path, data=other, **how)
        context = replace(context, network=network, dataset=dataset, embeddings=embeddings.cpu().numpy())
    if needs == "layout" and context.layout is None:
        how = {"method": context.tsne, "seed": context.seed, "progress": context.progress}
        context = replace(context, layout=plots.tsne_layout(context.embeddings, **how))
    return context


def _train_unless_done(context: Context, **how: Any) -> str:
    """Train the network of a context, unless it is trained or was given; return the name of its data set.

    A network that was trained on other data is refused.
    """
    path, ours = context.path, context.checkpoint is None
    if ours and not path.exists():
        runs.run(context.data, out=path, **how)
    content = load_checkpoint(path)
    theirs = content["data"]
    options = theirs["options"] if theirs["name"] == context.data else {}
    found = datasets.load(context.data, "train", **options).fingerprint
    if theirs["fingerprint"] != found:
        raise ValueError(
            f"checkpoint {path} was trained on {theirs['name']} {theirs['fingerprint']}, but the figures are of "
            f"{context.data} {found}: choose another checkpoint or data set, or another folder with --out"
        )
    if ours and unfinished(content):
        runs.run(context.data, out=path, resume=True, **how)
    return theirs["name"]


def draw(name: str | int, context: Context | None = None, **options: Any) -> plots.Figure:
    """Draw one figure without writing it; a notebook shows it, with its alternative text.

    Parameters
    ----------
    name : str or int
        As for :func:`find`; the first row that matches.
    context : Context, optional
        Prepare one and pass it to several calls, so that they share network, embeddings and map.
    **options
        Settings of the context.
    """
    row = find([name])[0]
    return _draw(row, prepare(context or Context(), row.needs, **options))


def _draw(row: Entry, context: Context) -> plots.Figure:
    """Draw a row of the table from a context that is prepared for it, and complete its alternative text."""
    figure = row.draw(context)
    figure.alt, figure.notes = row.alt.format(data=file_name(context.data), seen=figure.alt), []
    if not figure.alt:
        raise ValueError(f"figure {row.id} ({row.name}) has no alternative text: add it to the table of figures")
    return figure


def _write(row: Entry, context: Context) -> list[Path]:
    """Draw a figure and write its three files, all or none; return their paths."""
    started = time.perf_counter()
    figure = _draw(row, context)
    stem = Path(context.out) / "figures" / file_stem(row, context.data)
    contents = {".png": figure.png(), ".svg": figure.svg(title=f"Figure {row.id}: {row.name}").encode()}
    about = _describe(row, context, figure.alt, round(time.perf_counter() - started, 2))
    contents[".json"] = (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode()
    paths = [stem.with_name(stem.name + suffix) for suffix in contents]
    try:
        with ExitStack() as stack:
            for path, content in zip(paths, contents.values(), strict=True):
                stack.enter_context(atomic_write(path)).write_bytes(content)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            f"cannot write figure {stem} ({reason}): free some space, or choose another folder with --out"
        ) from error
    return paths


def _describe(row: Entry, context: Context, alt: str, seconds: float) -> dict[str, Any]:
    """Return what the JSON file of a figure says: what it shows, and how it was made."""
    stem = file_stem(row, context.data)
    about: dict[str, Any] = {"id": row.id, "name": row.name, "files": [f"{stem}.png", f"{stem}.svg"]}
    about["caption"] = row.caption.replace("Barnes-Hut", plots.tsne_method(context.tsne)[1])
    about |= {"alt": alt, "style": context.style, "seed": context.seed}
    if row.needs == "layout":
        about["tsne"] = context.tsne
    about |= {"data": None, "checkpoint": None}
    if row.needs != "nothing":
        network, dataset = context.network, context.dataset
        about["data"] = {"name": context.data, "split": "test", "images": len(dataset), "classes": len(dataset.classes)}
        about["data"] |= {"fingerprint": dataset.fingerprint, "train_fingerprint": network["data"]["fingerprint"]}
        about["data"]["whole_fingerprint"] = innermost(dataset).fingerprint  # with classes and images left out
        about["checkpoint"] = {"file": context.path.as_posix(), "epochs": len(network["history"])}
        about["checkpoint"] |= {"recipe": network["recipe"], "versions": network["versions"]}
    return about | {"versions": versions(), "seconds": seconds, "command": command(stem, context)}


def command(stem: str, context: Context) -> str:
    """Return the command that makes a figure again.

    Examples
    --------
    >>> command("idea", Context(seed=3))
    'sst figures idea --data glyphs --seed 3'
    """
    words = ["sst", "figures", stem, "--data", context.data]
    for name in ("checkpoint", "out", "style", "seed", "tsne"):
        if (value := str(getattr(context, name))) != str(getattr(Context, name)):
            words += [f"--{name}", value]
    return shlex.join(words)


def display(name: str | int, *, out: str | PathLike = "output", **options: Any) -> None:
    """Show a figure that :func:`make` wrote, with its caption, in a notebook; make it first if there is none.

    `name` is as for :func:`find`, and each file of the figure is shown; `out` and `options` are those of :func:`make`.
    """
    from IPython.display import HTML
    from IPython.display import display as show

    for row in find([name]):
        stem = file_stem(row, options.get("data", Context.data))
        path = Path(out) / "figures" / f"{stem}.json"
        if not path.exists():
            make([stem], out=out, **options)
        about = json.loads(path.read_text(encoding="utf-8"))
        data, metadata = plots.in_notebook(path.with_suffix(".png").read_bytes(), about["alt"], 200)
        show(data, metadata=metadata, raw=True)
        show(HTML(f"<p><b>Figure {about['id']}.</b> {escape(about['caption'])}</p>"))
