"""Regenerate the figures of the paper: ``make`` draws the rows of ``table.py`` with the functions of ``plots.py``.

Data flow one way: choose figures -> train or load the network, if one of them needs it -> embed the test images -> lay
them out -> draw -> write. Each figure is a PNG, an SVG, and a JSON file that says how it was made.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from ..files import atomic_write, file_name, one_line
from . import plots
from .table import FIGURES, NEEDS, Context, Entry, file_stem, find

__all__ = ["FIGURES", "Context", "Entry", "command", "display", "draw", "file_stem", "find", "make", "prepare"]


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
    """Regenerate figures: each as PNG, SVG and a JSON file that says how it was made.

    Figures that need no network are drawn first. If one cannot be drawn, the others still are. The three files of a
    figure are written to temporary files, and renamed when all are complete.

    Parameters
    ----------
    ids : iterable of str or int, optional
        Numbers or names, as for :func:`find`; all by default.
    data, checkpoint, out, style, seed, tsne
        As for :class:`Context`. The files go to ``OUT/figures``.
    where, progress, workers
        As for :func:`prepare`.

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
    from tqdm.auto import tqdm

    rows = sorted(find(ids), key=lambda row: NEEDS.index(row.needs))
    context = Context(data, checkpoint, out, style, seed, tsne)
    folder = Path(out) / "figures"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot create the folder {folder} ({error.strerror}): choose another with --out") from error
    written: list[Path] = []
    failed: dict[str, Exception] = {}
    for row in tqdm(rows, "figures", disable=not progress, bar_format="{desc}: {n}/{total} |{bar}|"):
        context = prepare(context, row.needs, where=where, progress=progress, workers=workers)
        try:
            written += _write(row, context)
        except Exception as error:
            if len(rows) == 1:
                raise
            failed[file_stem(row, data)] = error
    if failed:
        reasons = "; ".join(f"{stem}: {one_line(error)}" for stem, error in failed.items())
        raise ValueError(f"could not draw {len(failed)} of {len(rows)} figures: {reasons}") from failed.popitem()[1]
    return written


def prepare(
    context: Context,
    needs: str = "embeddings",
    *,
    where: str | None = None,
    progress: bool = True,
    workers: int | None = None,
) -> Context:
    """Train or load the network, embed the test images and lay them out: as far as needed, and not done yet.

    Unless the context names a checkpoint, a network is trained if there is none, and training that was interrupted is
    resumed.

    Parameters
    ----------
    context : Context
    needs : {"nothing", "embeddings", "layout"}
    where : str, optional
        Device: cuda, mps or cpu; by default the first that is available.
    progress : bool
        Show progress bars.
    workers : int, optional
        Processes that read images from files, as for ``sstutils.run``.

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
    how = {"where": where, "progress": progress, "workers": workers}
    if needs != "nothing" and context.embeddings is None:
        from ..runs import embed_checkpoint

        trained_on = _train_unless_done(context, **how)
        other = None if trained_on == context.data else context.data  # the same data under another name
        embeddings, dataset, network = embed_checkpoint(context.path, data=other, **how)
        context = replace(context, network=network, dataset=dataset, embeddings=embeddings.cpu().numpy())
    if needs == "layout" and context.layout is None:
        layout = plots.tsne_layout(context.embeddings, method=context.tsne, seed=context.seed, progress=progress)
        context = replace(context, layout=layout)
    return context


def _train_unless_done(context: Context, **how: Any) -> str:
    """Train the network of a context, unless it is trained or was given; return the name of its data set.

    Parameters are those of ``sstutils.run``. A network that was trained on other data is refused.
    """
    from ..checkpoints import load_checkpoint, unfinished
    from ..datasets import load
    from ..runs import run

    path, ours = context.path, context.checkpoint is None
    if ours and not path.exists():
        run(context.data, out=path, **how)
    content = load_checkpoint(path)
    theirs = content["data"]
    found = load(context.data, "train", **(theirs["options"] if theirs["name"] == context.data else {})).fingerprint
    if theirs["fingerprint"] != found:
        raise ValueError(
            f"checkpoint {path} was trained on {theirs['name']} {theirs['fingerprint']}, but the figures are of "
            f"{context.data} {found}: delete it to train again, or choose another checkpoint or data set"
        )
    if ours and unfinished(content):
        run(context.data, out=path, resume=True, **how)
    return theirs["name"]


def draw(
    name: str | int,
    context: Context | None = None,
    *,
    where: str | None = None,
    progress: bool = True,
    workers: int | None = None,
    **options: Any,
) -> plots.Figure:
    """Draw one figure without writing it; a notebook shows it, with its alternative text.

    Parameters
    ----------
    name : str or int
        As for :func:`find`; the first row that matches.
    context : Context, optional
        Prepare one and pass it to several calls, so that they share network, embeddings and map.
    where, progress, workers
        As for :func:`prepare`.
    **options
        Options of a new :class:`Context`, if none is given.
    """
    row = find([name])[0]
    context = prepare(context or Context(**options), row.needs, where=where, progress=progress, workers=workers)
    return _draw(row, context)


def _draw(row: Entry, context: Context) -> plots.Figure:
    """Draw a row of the table from a context that is prepared for it, and complete its alternative text."""
    figure = row.draw(context)
    figure.alt = row.alt.format(data=file_name(context.data), seen=figure.alt).strip()
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
    from ..checkpoints import versions

    stem = file_stem(row, context.data)
    method = {"tsne": context.tsne} if row.needs == "layout" else {}
    source: dict[str, Any] = {"data": None, "checkpoint": None}
    if row.needs != "nothing":
        network, dataset = context.network, context.dataset
        source["data"] = {
            "name": context.data,
            "split": "test",
            "images": len(context.labels),
            "classes": len(dataset.classes),
            "fingerprint": dataset.fingerprint,
            "train_fingerprint": network["data"]["fingerprint"],
        }
        source["checkpoint"] = {
            "file": context.path.as_posix(),
            "epochs": len(network["history"]),
            "recipe": network["recipe"],
            "versions": network["versions"],
        }
    return {
        "id": row.id,
        "name": row.name,
        "files": [f"{stem}.png", f"{stem}.svg"],
        "caption": row.caption.replace("Barnes-Hut", plots.tsne_method(context.tsne)[1]),
        "alt": alt,
        "style": context.style,
        "seed": context.seed,
        **method,
        **source,
        "versions": versions(),
        "seconds": seconds,
        "command": command(stem, context),
    }


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

    for row in find([name]):
        stem = file_stem(row, options.get("data", Context.data))
        path = Path(out) / "figures" / f"{stem}.json"
        if not path.exists():
            make([stem], out=out, **options)
        about = json.loads(path.read_text(encoding="utf-8"))
        data, metadata = plots.in_notebook(path.with_suffix(".png").read_bytes(), about["alt"], 200)
        show(data, metadata=metadata, raw=True)
        show(HTML(f"<p><b>Figure {about['id']}.</b> {escape(about['caption'])}</p>"))
