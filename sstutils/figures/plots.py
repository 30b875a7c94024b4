"""Pictures: one function a kind, from arrays to a matplotlib figure.

No function touches ``pyplot`` or the caller's ``rcParams``: each returns a :class:`Figure`, which a notebook shows when
it is the last value of a cell, and which carries alternative text (``figure.alt``) into notebooks and files.
"""

from __future__ import annotations

import base64
import functools
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
import matplotlib.figure
import matplotlib.style
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, Polygon, Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .. import geometry

__all__ = [
    "OKABE_ITO",
    "STYLES",
    "Figure",
    "comparison",
    "curves",
    "distances",
    "field",
    "gallery",
    "gradients",
    "history",
    "idea",
    "interval",
    "neighborhoods",
    "progress",
    "samples",
    "scatter",
    "snap",
    "style",
    "thumbnails",
    "tsne_layout",
    "tsne_method",
    "windows",
]

# M. Okabe and K. Ito, "Color universal design", 2008: told apart by people with any common colour vision.
OKABE_ITO = {
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
    "yellow": "#F0E442",
}
_COLOURS = list(OKABE_ITO.values())
_MARKERS = "osD^vPX*"
_LINES = ("-", "--", ":", "-.")
_GREY = "#767676"  # text: contrast 4.5 on white
_PALE = "#C8C8C8"

# What differs between the styles: fonts (both ship with matplotlib) and the colours that carry a meaning.
STYLES: dict[str, dict[str, Any]] = {
    "default": {
        "rc": {"font.family": ["DejaVu Sans"], "mathtext.fontset": "dejavusans"},
        "diverging": "RdBu_r",
        "correct": OKABE_ITO["blue"],
        "incorrect": OKABE_ITO["vermilion"],
    },
    "paper": {
        "rc": {"font.family": ["STIXGeneral", "DejaVu Sans"], "mathtext.fontset": "stix"},
        "diverging": "RdYlGn_r",
        "correct": "#00A000",
        "incorrect": "#E00000",
    },
}
_RC = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.4,
    "axes.prop_cycle": matplotlib.cycler(color=_COLOURS),
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "image.composite_image": False,  # keep pictures apart in SVG
    "svg.fonttype": "path",  # looks the same wherever it is opened
    "svg.hashsalt": "sstutils",  # the same bytes on every run
}


@contextmanager
def style(name: str = "default") -> Iterator[dict[str, Any]]:
    """Draw in one of the package's own styles, whatever the caller's ``rcParams`` are.

    Parameters
    ----------
    name : {"default", "paper"}
        "default" tells colours apart for colour-blind readers; "paper" has the colours of Nguyen and De Baets (2020).

    Yields
    ------
    dict
        The entry of :data:`STYLES`.

    Raises
    ------
    ValueError
        If there is no such style.
    """
    if name not in STYLES:
        raise ValueError(f"style must be one of {', '.join(map(repr, STYLES))}, got {name!r}")
    with matplotlib.style.context(["default", {**_RC, **STYLES[name]["rc"]}]):
        yield STYLES[name]


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that keeps its style and its alternative text.

    Attributes
    ----------
    alt : str
        What is seen, in words: shown to readers who do not see the picture.
    style : str
        The style it was drawn in, and is saved in.
    """

    alt: str = ""
    style: str = "default"

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Save the figure in its own style; arguments as for matplotlib."""
        with style(self.style):  # fonts are looked up only now
            super().savefig(*args, **kwargs)

    def png(self, dpi: int = 200) -> bytes:
        """Return the figure as a PNG file without transparency; its description is the alternative text."""
        raw, lean = io.BytesIO(), io.BytesIO()
        self.savefig(raw, format="png", dpi=dpi)
        text = PngInfo()
        text.add_itxt("Description", self.alt)
        Image.open(raw).convert("RGB").save(lean, format="png", pnginfo=text, dpi=(dpi, dpi))
        return lean.getvalue()

    def svg(self, title: str = "") -> str:
        """Return the figure as an SVG file whose title and description screen readers find."""
        raw = io.StringIO()
        # 200: dots an inch of what is kept as pixels.
        self.savefig(raw, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
        words = f"<title>{escape(title)}</title>\n <desc>{escape(self.alt)}</desc>"
        return re.sub(r"<svg ([^>]*)>", rf'<svg role="img" \1>\n {_literal(words)}', raw.getvalue(), count=1)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        return in_notebook(self.png(144), self.alt, 144)


def in_notebook(png: bytes, alt: str, dpi: float) -> tuple[dict[str, str], dict[str, dict]]:
    """Return the MIME bundle of a picture with alternative text: its data and its metadata.

    As HTML, for JupyterLab and nbconvert, which both ignore the text in the metadata of a plain PNG; and as plain PNG,
    for what cannot show HTML, such as a notebook printed through LaTeX.
    """
    with Image.open(io.BytesIO(png)) as image:
        width, height = (round(dots * 96 / dpi) for dots in image.size)
    base = base64.b64encode(png).decode("ascii")
    tag = f'<img src="data:image/png;base64,{base}" width="{width}" height="{height}" alt="{escape(alt)}">'
    data = {"text/html": tag, "image/png": base, "text/plain": f"Figure: {alt}"}
    return data, {"image/png": {"alt": alt, "width": width, "height": height}}


def _literal(text: str) -> str:
    """Escape a text for the replacement side of ``re.sub``."""
    return text.replace("\\", r"\\")


def _drawn(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Run a plot function within its style and note the style on the figure."""

    @functools.wraps(draw)
    def within(*args: Any, style: str = "default", **kwargs: Any) -> Figure:
        with _within(style):
            figure = draw(*args, style=style, **kwargs)
        figure.style = style
        return figure

    return within


_within = style  # the plot functions have a parameter of that name


# ---------------------------------------------------------------------------------------------------------------------
# Losses and their gradients
# ---------------------------------------------------------------------------------------------------------------------
def _loss(loss: str, margin: float) -> Callable[..., tuple]:
    """Return ``f(a, p, n) -> (value, (gradients))`` of a loss by name."""
    if loss == "sst":
        return geometry.sst
    if loss == "triplet":
        return functools.partial(geometry.triplet, margin=margin)
    raise ValueError(f"loss must be 'sst' or 'triplet', got {loss!r}")


_LOSS_NAMES = {"sst": "SST loss", "triplet": "triplet loss"}


@_drawn
def gradients(loss: str = "sst", margin: float = 1.0, *, style: str = "default") -> Figure:
    r"""Draw the negative gradients of a loss for scalar embeddings in three ternary panels.

    The panels show :math:`-\partial\ell/\partial\varphi` of the anchor, the positive and the negative over
    u = phi_a - phi_p, v = phi_p - phi_n and w = phi_n - phi_a, which add up to 0; each runs from -2 to 4. Figure 2 of
    Nguyen and De Baets (2020).

    Parameters
    ----------
    loss : {"sst", "triplet"}
    margin : float
        Of the triplet loss.
    style : str
        See :func:`style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the loss is unknown.
    """
    import mpltern  # noqa: F401 (registers the projection)

    side = 240  # cells along an edge: about two pixels each in print
    values = geometry.ternary_field(loss, side, margin)
    # The grid is regular, so its triangles need no search.
    number = np.full((side + 1, side + 1), -1)
    number[np.rint(values.b * side).astype(int), np.rint(values.r * side).astype(int)] = np.arange(len(values.b))
    up = np.stack([number[:-1, :-1], number[1:, :-1], number[:-1, 1:]], axis=-1).reshape(-1, 3)
    down = np.stack([number[1:, 1:], number[:-1, 1:], number[1:, :-1]], axis=-1).reshape(-1, 3)
    triangles = np.concatenate([up, down])
    triangles = triangles[(triangles >= 0).all(axis=1)]

    figure = Figure(figsize=(7.2, 2.55))
    norm = Normalize(-4, 4, clip=True)
    for column, (role, force) in enumerate(zip(("anchor", "positive", "negative"), values.panels, strict=True)):
        axes = figure.add_axes((0.048 + 0.298 * column, 0.185, 0.235, 0.60), projection="ternary")
        mesh = axes.tripcolor(
            values.r,
            values.l,
            values.b,
            force,
            triangles=triangles,
            shading="gouraud",
            norm=norm,
            cmap=STYLES[style]["diverging"],
            rasterized=True,
        )
        for axis, label in (
            (axes.raxis, r"$u=\varphi_a-\varphi_p$"),
            (axes.taxis, r"$v=\varphi_p-\varphi_n$"),
            (axes.laxis, r"$w=\varphi_n-\varphi_a$"),
        ):
            axis.set_label_position("tick1")
            axis.set_label_text(label)
            axis.set_ticks([0, 1 / 3, 2 / 3, 1], labels=["−2", "0", "2", "4"])
        axes.grid(True, linestyle=":", linewidth=0.8, color="#404040", alpha=0.7)
        axes.set_axisbelow(False)
        axes.set_title(rf"{role}:  $-\,\partial\ell\,/\,\partial\varphi_{role[0]}$", pad=9)
    bar = figure.colorbar(mesh, cax=figure.add_axes((0.925, 0.185, 0.013, 0.60)), ticks=[-4, -2, 0, 2, 4])
    bar.solids.set_rasterized(True)
    bar.outline.set_linewidth(0.7)
    bar.set_label("negative gradient", labelpad=1)
    if loss == "sst":
        seen = (
            "The colours change smoothly. Anchor and positive are pulled towards each other, most strongly in the "
            "right corner, where the negative lies between them; the panel of the negative is paler and changes its "
            "sign on the line v = w, where the negative is midway between the two."
        )
    else:
        seen = (
            "In two regions, towards the left corner and along the upper right edge, all three are exactly zero, with "
            "a sharp edge; elsewhere the anchor's colour follows v only, the positive's u only, the negative's w only."
        )
    figure.alt = (
        f"Three triangles side by side: the negative gradient of the {_LOSS_NAMES[loss]} with respect to anchor, "
        f"positive and negative, coloured from -4 to 4, over the differences u, v and w of scalar embeddings from -2 "
        f"to 4. {seen}"
    )
    return figure


@_drawn
def field(loss: str = "sst", margin: float = 1.0, *, style: str = "default") -> Figure:
    r"""Draw how a loss pushes a negative in the plane, for an anchor and a positive that stay where they are.

    Arrows show the negative gradient with respect to the negative at many places; the shade is the loss. The dashed
    circle is where the SST loss is log 2 (z = 0): around the midpoint of anchor and positive, of radius
    :math:`\frac{\sqrt 3}{2}|a-p|`; for the triplet loss it is where the loss begins, :math:`|n-a|^2 = |a-p|^2 + m`.

    Parameters
    ----------
    loss : {"sst", "triplet"}
    margin : float
        Of the triplet loss.
    style : str
        See :func:`style`.

    Returns
    -------
    Figure
    """
    value_and_gradients = _loss(loss, margin)
    a, p = np.array([-0.6, 0.0]), np.array([0.6, 0.0])
    reach = 2.4

    def at(steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ticks = np.linspace(-reach, reach, steps)
        n = np.stack(np.meshgrid(ticks, ticks), axis=-1)
        value, slopes = value_and_gradients(np.broadcast_to(a, n.shape), np.broadcast_to(p, n.shape), n)
        return n, value, -slopes[2]

    figure = Figure(figsize=(3.6, 3.15))
    axes = figure.add_axes((0.09, 0.1, 0.74, 0.82))
    shade = axes.imshow(
        at(201)[1], extent=(-reach, reach, -reach, reach), origin="lower", cmap="Greys", vmin=0, alpha=0.7
    )
    n, _, force = at(17)
    # The longest arrow spans a step and a half.
    scale = np.linalg.norm(force, axis=-1).max() / (3 * reach / 16) * 2 * reach
    axes.quiver(
        *n.reshape(-1, 2).T, *force.reshape(-1, 2).T, color=OKABE_ITO["vermilion"], scale=scale, width=0.0055, zorder=3
    )
    if loss == "sst":
        centre, radius = geometry.sphere(a, p)
    else:
        centre, radius = a, np.sqrt(np.linalg.norm(a - p) ** 2 + margin)
    axes.add_patch(Circle(centre, radius, fill=False, linestyle="--", linewidth=1, zorder=4))
    axes.plot(*centre, "+", color="black", markersize=6, zorder=5)
    for point, name, side in ((a, "$a$", "right"), (p, "$p$", "left")):
        axes.plot(*point, "o", color=OKABE_ITO["blue"], markersize=6, markeredgecolor="white", zorder=6)
        axes.annotate(
            name,
            point,
            (-5 if side == "right" else 5, 4),
            textcoords="offset points",
            ha=side,
            fontsize=10,
            zorder=7,
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[-2, 0, 2], yticks=[-2, 0, 2], aspect="equal")
    axes.set_title(f"Where the {_LOSS_NAMES[loss]} pushes a negative")
    bar = figure.colorbar(shade, cax=figure.add_axes((0.86, 0.1, 0.025, 0.82)))
    bar.set_label("loss")
    bar.outline.set_linewidth(0.7)
    bar.solids.set_rasterized(True)
    middle = "the midpoint of the two" if loss == "sst" else "the anchor alone"
    fade = "fade smoothly across it" if loss == "sst" else "stop dead at it"
    figure.alt = (
        f"A plane with an anchor at the left and a positive at the right. Arrows show where the {_LOSS_NAMES[loss]} "
        f"pushes a negative: straight away from {middle}. A dashed circle of radius {radius:.2f} surrounds it; the "
        f"arrows {fade}."
    )
    return figure


# ---------------------------------------------------------------------------------------------------------------------
# Images
# ---------------------------------------------------------------------------------------------------------------------
def _pixels(images: Any, index: int) -> np.ndarray:
    """Return one image of a data set, an array, a tensor or a list as (H, W, 3) uint8."""
    image = images[int(index)]
    if isinstance(image, tuple):  # data sets return (image, target)
        image = image[0]
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[0] in (1, 3) and image.shape[2] not in (1, 3):  # torch's channels first
        image = np.moveaxis(image, 0, 2)
    if image.dtype != np.uint8:
        image = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    if image.ndim == 2:
        image = image[:, :, None]
    return np.broadcast_to(image, (*image.shape[:2], 3))


def _fitted(image: np.ndarray, side: int) -> Image.Image:
    """Scale an image to the largest that fits a square of `side` pixels; its proportions are kept."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(image).resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)


def _squared(image: np.ndarray, side: int) -> np.ndarray:
    """Scale an image and lay it on the middle of a white (side, side, 3) square."""
    square = np.full((side, side, 3), 255, np.uint8)
    small = np.asarray(_fitted(image, side))
    top, left = (side - small.shape[0]) // 2, (side - small.shape[1]) // 2
    square[top : top + small.shape[0], left : left + small.shape[1]] = small
    return square


def _lean(image: np.ndarray, bits: int) -> np.ndarray:
    """Keep so many bits a channel: unseen in small pictures, but noise then takes half the bytes in a PNG."""
    return ((image >> (8 - bits)).astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)


def _dot(inches: Any) -> Any:
    """Round to whole dots at 200 an inch, so that pictures are copied dot by dot and meet their frames."""
    return np.round(np.asarray(inches) * 200) / 200


def _sheet(width: float, height: float) -> tuple[Figure, Any]:
    """Return a figure with one invisible axes whose coordinates are inches from the top left corner."""
    width, height = _dot(width), _dot(height)
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    return figure, axes


def _show(axes: Any, image: np.ndarray, x: float, y: float, side: float) -> None:
    """Show an image in the square at (x, y), the top left corner, of `side` inches."""
    x, y, side = _dot([x, y, side])
    picture = _lean(_squared(image, round(side * 200)), 6)
    axes.imshow(picture, extent=(x, x + side, y + side, y), interpolation="antialiased", aspect="auto")


def _frame(axes: Any, x: float, y: float, side: float, colour: str, width: float, **kwargs: Any) -> None:
    """Draw a frame around a square, outside of it."""
    x, y, side = _dot([x, y, side])
    grow = width / 72 / 2
    around = Rectangle((x - grow, y - grow), side + 2 * grow, side + 2 * grow, fill=False, **kwargs)
    around.set(edgecolor=colour, linewidth=width)
    axes.add_patch(around)


def _badge(axes: Any, x: float, y: float, correct: bool, colour: str) -> None:
    """Draw a disc with a white tick or cross at (x, y)."""
    radius, kind = 0.068, "tick" if correct else "cross"
    axes.add_patch(Circle((x, y), radius, facecolor=colour, edgecolor="white", linewidth=0.7, zorder=5, gid=kind))
    for stroke in _STROKES[kind]:
        dx, dy = np.transpose(stroke) * radius
        axes.plot(x + dx, y + dy, color="white", linewidth=1.2, solid_capstyle="round", zorder=6)


_STROKES = {
    "tick": [((-0.5, 0.0), (-0.12, 0.38), (0.5, -0.38))],
    "cross": [((-0.38, -0.38), (0.38, 0.38)), ((-0.38, 0.38), (0.38, -0.38))],
}


@_drawn
def gallery(
    images: Any,
    labels: Sequence[int],
    queries: Sequence[int],
    neighbors: Any,
    *,
    names: Sequence[str] | None = None,
    columns: int = 2,
    style: str = "default",
) -> Figure:
    """Show queries and the items retrieved for each, nearest first; correct and incorrect are marked.

    Correct is a blue frame and a tick, incorrect an orange frame and a cross (style "paper": green and red).

    Parameters
    ----------
    images : data set, array, or sequence of images
        ``images[i]`` is a PIL image, an array, a tensor, or a tuple that starts with one; sizes may differ.
    labels : sequence of N int
    queries : sequence of Q int
        Numbers of the query items.
    neighbors : (Q, k) int array
        Numbers of the items retrieved for each query, nearest first.
    names : sequence of str, optional
        Names of the classes, written below each image.
    columns : int
        How many queries stand side by side.
    style : str
        See :func:`style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no query or `neighbors` does not have one row for each.
    """
    labels, queries, neighbors = np.asarray(labels), np.asarray(queries), np.asarray(neighbors)
    if not len(queries):
        raise ValueError("the gallery needs at least one query, got none")
    if neighbors.ndim != 2 or len(neighbors) != len(queries):
        raise ValueError(
            f"neighbors must have one row for each of the {len(queries)} queries, got shape {neighbors.shape}"
        )
    count = neighbors.shape[1]
    columns = min(columns, len(queries))
    rows = -(-len(queries) // columns)
    # All in inches: a block is a query, a gap and its neighbors; blocks stand in a grid.
    margin, gap, aside, between = 0.08, 0.1, 0.2, 0.42
    total = 7.2 if columns > 1 else 3.9
    space = total - 2 * margin - (columns - 1) * between - columns * (aside + (count - 1) * gap)
    side = min(space / (columns * (count + 1)), 0.9)
    block = (count + 1) * side + aside + (count - 1) * gap
    step = side + (0.24 if names is not None else 0.13)
    head = 0.27
    width = 2 * margin + columns * block + (columns - 1) * between
    figure, axes = _sheet(width, head + rows * step + 0.02)
    for column in range(columns):
        x = margin + column * (block + between)
        axes.text(x + side / 2, head - 0.09, "query", ha="center", fontsize=8)
        for rank in range(count):
            axes.text(x + side + aside + rank * (side + gap) + side / 2, head - 0.09, rank + 1, ha="center", fontsize=8)
    right = 0
    for number, (query, row) in enumerate(zip(queries, neighbors, strict=True)):
        # Down the columns, so that a reader takes one block after the other.
        x = margin + (number // rows) * (block + between)
        y = head + (number % rows) * step
        for rank, item in enumerate([query, *row]):
            left = x if rank == 0 else x + side + aside + (rank - 1) * (side + gap)
            _show(axes, _pixels(images, item), left, y, side)
            if rank == 0:
                _frame(axes, left, y, side, "black", 0.8)
            else:
                correct = bool(labels[item] == labels[query])
                right += correct
                colour = STYLES[style]["correct" if correct else "incorrect"]
                _frame(axes, left, y, side, colour, 2.2, gid="correct" if correct else "incorrect")
                _badge(axes, left + side, y, correct, colour)
            if names is not None:
                name = _short(str(names[labels[item]]), side)
                axes.text(left + side / 2, y + side + 0.05, name, ha="center", va="top", fontsize=7, color="#404040")
    first = int((labels[neighbors[:, 0]] == labels[queries]).sum())
    figure.alt = (
        f"{len(queries)} query images, each followed by its {count} nearest images. Correct, with a tick: {right} of "
        f"the {neighbors.size} retrieved; incorrect, with a cross: {neighbors.size - right}. Of the {len(queries)} "
        f"that are nearest of all, correct: {first}."
    )
    return figure


def _short(name: str, inches: float) -> str:
    """Cut a name to what fits below a picture at 7 points."""
    fits = max(3, int(inches / 0.056))
    return name if len(name) <= fits else name[: fits - 1].rstrip(" _-.") + "…"


@_drawn
def samples(
    images: Any,
    labels: Sequence[int],
    *,
    names: Sequence[str] | None = None,
    classes: int = 6,
    per_class: int = 10,
    seed: int = 0,
    style: str = "default",
) -> Figure:
    """Show a few images of a few classes, a class a row.

    Parameters
    ----------
    images, labels, names
        As for :func:`gallery`.
    classes, per_class : int
        How many rows and columns, at most.
    seed : int
        Draws the classes and the images.
    style : str
        See :func:`style`.

    Returns
    -------
    Figure
    """
    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    present = np.unique(labels)
    chosen = np.sort(rng.choice(present, min(classes, len(present)), replace=False))
    side, gap, head = 0.52, 0.06, 0.06
    if names is not None:
        head = 0.14 + 0.07 * min(12, max(len(str(names[label])) for label in chosen))
    longest = max(min(per_class, int((labels == label).sum())) for label in chosen)
    figure, axes = _sheet(head + longest * (side + gap), gap + len(chosen) * (side + gap))
    for row, label in enumerate(chosen):
        members = np.flatnonzero(labels == label)
        y = gap + row * (side + gap)
        if names is not None:
            axes.text(head - 0.1, y + side / 2, _short(str(names[label]), 0.7), ha="right", va="center", fontsize=8)
        for column, item in enumerate(rng.permutation(members)[:per_class]):
            _show(axes, _pixels(images, item), head + column * (side + gap), y, side)
    figure.alt = f"{len(chosen)} rows of up to {longest} images; each row shows one class" + (
        f": {', '.join(str(names[label]) for label in chosen)}." if names is not None else "."
    )
    return figure


# ---------------------------------------------------------------------------------------------------------------------
# The embedding
# ---------------------------------------------------------------------------------------------------------------------
# How the repulsion of all points is summed up: openTSNE's name for it, and the name in words.
TSNE = {"barnes-hut": ("bh", "Barnes-Hut"), "fft": ("fft", "FFT-accelerated")}
_MANY = 10_000  # points above which t-SNE takes all cores


def tsne_method(method: str) -> tuple[str, str]:
    """Return what a method of t-SNE is called in openTSNE and in words.

    Parameters
    ----------
    method : {"barnes-hut", "fft"}

    Returns
    -------
    tuple of str

    Raises
    ------
    ValueError
        If there is no such method.
    """
    if method not in TSNE:
        raise ValueError(f"the method of t-SNE must be one of {', '.join(map(repr, TSNE))}, got {method!r}")
    return TSNE[method]


def tsne_layout(
    embeddings: Any,
    *,
    method: str = "barnes-hut",
    perplexity: float = 30,
    seed: int = 0,
    iterations: int = 500,
    n_jobs: int | None = None,
    progress: bool = False,
    verbose: bool = False,
) -> np.ndarray:
    """Lay embeddings out in the plane by t-SNE (openTSNE).

    Neighbors in the plane are neighbors in the embedding; distances between far groups, and the sizes of groups, mean
    nothing. Embeddings of more than 50 dimensions are first projected on their 50 principal components. From 1,000
    points on, neighbors are searched for by random trees, which miss a few.

    Parameters
    ----------
    embeddings : (N, d) array or tensor
    method : {"barnes-hut", "fft"}
        How the repulsion of all points is summed up: over a tree of cells, in time N log N, or by interpolation on a
        grid, in time N: slower for few points, several times faster for tens of thousands.
    perplexity : float
        About how many neighbors each point heeds; at most (N - 1) / 3, to which it is lowered.
    seed : int
    iterations : int
        After the 250 of early exaggeration.
    n_jobs : int, optional
        Threads. By default 1 up to 10,000 points, and beyond as many as there are cores. With 1 the layout is the same
        on every run with the same library versions; with more it may vary, as neighbors are searched for and sums are
        taken in another order: give 1 to repeat a large map exactly.
    progress : bool
        Show a progress bar with the time left.
    verbose : bool
        Print what openTSNE is doing.

    Returns
    -------
    (N, 2) float32 array

    Raises
    ------
    ValueError
        If there are fewer than 5 points, one is not finite, or the method is unknown.

    References
    ----------
    L. van der Maaten, "Accelerating t-SNE using tree-based algorithms", JMLR 15, 2014.

    G. C. Linderman, M. Rachh, J. G. Hoskins, S. Steinerberger and Y. Kluger, "Fast interpolation-based t-SNE for
    improved visualization of single-cell RNA-seq data", Nature Methods 16, 2019.
    """
    gradient, words = tsne_method(method)
    x = np.asarray(embeddings, dtype=np.float32)
    if x.ndim != 2 or len(x) < 5:
        raise ValueError(f"t-SNE needs at least 5 embeddings as rows of a matrix, got shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{(~np.isfinite(x).all(axis=1)).sum()} of {len(x)} embeddings are not finite")
    from openTSNE import TSNE
    from tqdm.auto import tqdm

    if n_jobs is None:
        cores = getattr(os, "process_cpu_count", os.cpu_count)() or 1  # the former from Python 3.13
        n_jobs = 1 if len(x) <= _MANY else cores
    if x.shape[1] > 50:
        from sklearn.decomposition import PCA

        x = PCA(min(50, len(x)), random_state=seed).fit_transform(x)
    order: Any = slice(None)
    if len(x) > _MANY:  # points that lie close follow each other, so that the tree's cells are found in the cache
        from scipy.spatial import cKDTree

        order = cKDTree(x).indices
    early, step = 250, 10
    with tqdm(total=early + iterations, desc=f"{words} t-SNE", leave=False, disable=not progress) as bar:

        def tell(*_: Any) -> None:
            bar.update(step)

        tell.optimization_about_to_start = bar.unpause  # the search for neighbors tells nothing about the time left
        ordered = TSNE(
            perplexity=min(perplexity, (len(x) - 1) / 3),
            early_exaggeration_iter=early,
            n_iter=iterations,
            negative_gradient_method=gradient,
            initialization="pca",
            random_state=seed,
            n_jobs=n_jobs,
            callbacks=tell if progress else None,
            callbacks_every_iters=step,
            verbose=verbose,
        ).fit(x[order])
    layout = np.empty((len(x), 2), dtype=np.float32)
    layout[order] = ordered
    return layout


def snap(layout: Any, cells: int | None = None, *, most: int = 48) -> tuple[np.ndarray, np.ndarray, float]:
    """Choose the points of a map that can be shown as pictures without hiding each other.

    A grid of square cells is laid over the map. Each cell that holds points shows the one nearest to its centre, at its
    centre: no two pictures overlap, and none is moved by more than half a cell along either axis.

    Parameters
    ----------
    layout : (N, 2) array
    cells : int, optional
        Cells along the longer side of the map. By default the fewest, from 8, that show half of the points.
    most : int
        Upper bound on the default: more and smaller pictures could no longer be recognised.

    Returns
    -------
    shown : (S,) int array
        Numbers of the points shown, ascending.
    centres : (S, 2) float array
        Where each is shown.
    size : float
        The side of a cell.

    Raises
    ------
    ValueError
        If the layout is empty, not of shape (N, 2) or not finite.
    """
    layout = np.asarray(layout, dtype=np.float64)
    if layout.ndim != 2 or layout.shape[1] != 2 or not len(layout) or not np.isfinite(layout).all():
        raise ValueError(f"a layout must be a finite array of shape (N, 2) with N > 0, got shape {layout.shape}")
    if cells is None:
        for cells in range(8, most + 1):
            if len(snap(layout, cells)[0]) >= len(layout) / 2:
                break
    low, high = layout.min(axis=0), layout.max(axis=0)
    size = float((high - low).max()) / cells or 1.0
    size *= 1 + 1e-9  # the outermost point belongs to the last cell, not to one beyond it
    grid = np.maximum(np.ceil((high - low) / size), 1)
    corner = (low + high - grid * size) / 2
    shown, centres = _in_cells(layout, corner, size, grid)
    return shown, centres, size


def _in_cells(layout: np.ndarray, corner: Any, size: float, grid: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return for each cell of a grid that holds points which is nearest to its centre, ascending, and the centres."""
    cell = np.clip(np.floor((layout - corner) / size), 0, grid - 1)
    centre = corner + (cell + 0.5) * size
    away = ((layout - centre) ** 2).sum(axis=1)
    order = np.lexsort((away, cell[:, 1], cell[:, 0]))  # by cell, the nearest to its centre first
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(cell[order], axis=0) != 0).any(axis=1)
    shown = np.sort(order[first])
    return shown, centre[shown]


def windows(layout: Any, count: int = 5, *, cells: int = 7) -> np.ndarray:
    """Choose places of a map that are worth enlarging: crowded, evenly filled, and far from each other.

    Candidates are squares around the cells of :func:`snap` that hold two points for each cell of a grid laid over them,
    at most an eighth of all. Of the smaller half, and of these the half that fill the most cells, the fullest is
    chosen, and then again and again the one that lies farthest from those before.

    Parameters
    ----------
    layout : (N, 2) array
    count : int
        Squares to choose; fewer are found if no more fit into the map without overlap.
    cells : int
        Along a side of the grid.

    Returns
    -------
    (W, 3) float array
        The lower left corner and the side of each square, clockwise around the middle of the map from the upper left.

    Raises
    ------
    ValueError
        If the layout is empty, not of shape (N, 2) or not finite.
    """
    from scipy.spatial import cKDTree

    layout = np.asarray(layout, dtype=np.float64)
    _, middles, _ = snap(layout)
    points = min(2 * cells**2, max(len(layout) // 8, 2), len(layout))
    far, members = cKDTree(layout).query(middles, k=np.arange(1, points + 1), p=np.inf)
    half = far[:, -1] * (1 + 1e-9)
    low, high = layout.min(axis=0), layout.max(axis=0)
    fits = ((middles - half[:, None] >= low) & (middles + half[:, None] <= high)).all(axis=1) & (half > 0)
    if not fits.any():
        return np.empty((0, 3))
    fits &= half <= np.median(half[fits])
    middles, half, members = middles[fits], half[fits], members[fits]
    place = (layout[members] - middles[:, None]) / half[:, None, None]  # from -1 to 1
    cell = np.floor((place + 1) / 2 * cells).astype(int) @ [cells, 1]
    filled = 1 + (np.diff(np.sort(cell, axis=1), axis=1) > 0).sum(axis=1)
    full = filled >= np.median(filled)
    middles, half, filled = middles[full], half[full], filled[full]
    chosen = [int(filled.argmax())]
    gap = np.full(len(half), np.inf)
    while len(chosen) < count:
        last = chosen[-1]
        gap = np.minimum(gap, np.abs(middles - middles[last]).max(axis=1) - half - half[last])
        if gap.max() <= 0:
            break
        chosen.append(int(gap.argmax()))
    squares = np.column_stack([middles[chosen] - half[chosen, None], 2 * half[chosen]])
    right, up = (middles[chosen] - (low + high) / 2).T
    return squares[np.argsort((0.75 * np.pi - np.arctan2(up, right)) % (2 * np.pi))]


def _mosaic(images: Any, shown: np.ndarray, cells: np.ndarray, columns: int, rows: int, dots: int) -> np.ndarray:
    """Lay pictures into a grid of cells, `dots` wide; `cells` are their centres, counted from the lower left corner."""
    canvas = np.full((rows * dots, columns * dots, 3), 255, np.uint8)
    for item, cell in zip(shown, cells, strict=True):
        column, row = np.round(cell - 0.5).astype(int)
        top, left = (rows - 1 - row) * dots, column * dots
        canvas[top : top + dots - 1, left : left + dots - 1] = _squared(_pixels(images, item), dots - 1)
    return canvas


def _bearable(canvases: list[np.ndarray], size: int = 1_100_000) -> list[np.ndarray]:
    """Make pictures leaner until their files are of bearable size together, in bytes, or no shade can be spared."""
    for bits in (6, 5, 4, 3):  # size matters more than shades in pictures as small as these
        lean = [_lean(canvas, bits) for canvas in canvases]
        png = io.BytesIO()
        for canvas in lean:
            Image.fromarray(canvas).save(png, format="png")
        if png.tell() < size:
            break
    return lean


def _numbered(axes: Any, x: float, y: float, side: float, number: int) -> None:
    """Frame a square of a map and put a white number on a black disc at its upper left corner, outside but in view."""
    frame = Rectangle((x, y), side, side, fill=False, linewidth=1, clip_on=False)
    frame.set_path_effects([withStroke(linewidth=2.2, foreground="white")])
    axes.add_patch(frame)
    left, right, _, top = axes.images[0].get_extent()
    inch = (right - left) / (axes.get_position().width * axes.figure.get_figwidth())
    spot = max(x - 0.06 * inch, left + 0.03 * inch), min(y + side + 0.06 * inch, top - 0.03 * inch)
    disc = {"boxstyle": "circle,pad=0.2", "facecolor": "black", "edgecolor": "white", "linewidth": 0.7}
    axes.text(*spot, number, fontsize=6.5, weight="bold", color="white", ha="center", va="center", zorder=5, bbox=disc)


@_drawn
def thumbnails(
    layout: Any,
    images: Any,
    *,
    labels: Sequence[int] | None = None,
    cells: int | None = None,
    enlarged: bool | None = None,
    width: float = 7.2,
    style: str = "default",
) -> Figure:
    """Show a map of images: a thumbnail at the place of each point that has room (see :func:`snap`).

    On a map of many thousands few points have room, and their pictures are small. Such a map takes two thirds of the
    width; beside and below it five crowded places (see :func:`windows`), numbered frames on the map, are enlarged until
    about half of their points have room in pictures of 0.3 inches.

    Parameters
    ----------
    layout : (N, 2) array
        For example from :func:`tsne_layout`.
    images : data set, array, or sequence of N images
        As for :func:`gallery`; only those shown are read.
    labels : sequence of N int, optional
        Only for the alternative text, which then tells how well classes hang together.
    cells : int, optional
        Cells along the longer side; by default chosen from the density.
    enlarged : bool, optional
        Whether to enlarge places; by default on a map of more than 5,000 points.
    width : float
        Of the figure, in inches.
    style : str
        See :func:`style`.

    Returns
    -------
    Figure
        The one image of its first axes holds all thumbnails of the map, the one of each further axes those of an
        enlarged place; all axes have the coordinates of the layout.
    """
    layout = np.asarray(layout, dtype=np.float64)
    # Lengths are whole dots, 200 to the inch, so that nothing is blurred when saved at that resolution.
    rim, foot, gap = 0.04, 0.2, 20  # the first two in inches
    room = int((width - 0.08) * 200)
    side = (room - 2 * gap) // 3  # of an enlarged place
    across = max(side // 62, 2)  # its cells: 62 dots are 0.3 inches and a line between pictures
    side -= side % across
    frames = np.empty((0, 3))
    if len(layout) > 5000 if enlarged is None else enlarged:
        frames = windows(layout, cells=across)
    shown, centres, size = snap(layout, cells, most=32 if len(frames) else 48)
    columns, rows = (np.round(np.ptp(centres, axis=0) / size).astype(int) + 1).tolist()
    corner = centres.min(axis=0) - size / 2
    dots = (2 * side + gap if len(frames) else room) // max(columns, rows)
    wide, high = columns * dots, rows * dots
    place = 0, 0
    if len(frames):  # nine fields, of which the map takes four
        place = (2 * side + gap - wide) // 2, (2 * side + gap - high) // 2
        wide = high = 3 * side + 2 * gap
    canvases = [_mosaic(images, shown, (centres - corner) / size, columns, rows, dots)]
    boxes = [(*place, *corner, columns * size, rows * size)]
    counts = []
    for (x, y, extent), field in zip(frames, ((2, 0), (2, 1), (2, 2), (1, 2), (0, 2)), strict=False):  # clockwise
        inside = np.flatnonzero(((layout >= (x, y)) & (layout <= (x + extent, y + extent))).all(axis=1))
        part, spots = _in_cells(layout[inside], np.array([x, y]), extent / across, across)
        spots = (spots - (x, y)) / extent * across
        canvases.append(_mosaic(images, inside[part], spots, across, across, side // across))
        boxes.append((*np.multiply(field, side + gap), x, y, extent, extent))
        counts.append(f"{len(part)} of {len(inside)}")

    total = wide / 200 + 2 * rim, high / 200 + rim + foot
    figure = Figure(figsize=total)
    for number, (canvas, (left, top, x, y, w, h)) in enumerate(zip(_bearable(canvases), boxes, strict=True)):
        down, across = np.array(canvas.shape[:2]) / 200
        low = rim + left / 200, foot + (high - top - canvas.shape[0]) / 200
        axes = figure.add_axes((*np.divide(low, total), *np.divide((across, down), total)))
        axes.imshow(canvas, extent=(x, x + w, y, y + h), interpolation="antialiased")
        axes.set_axis_off()
        if number:
            for where in (figure.axes[0], axes):
                _numbered(where, x, y, w, number)
    count = f"{len(shown):,} of {len(layout):,} images" if len(shown) < len(layout) else f"{len(layout):,} images"
    line = f"{count}, each moved by at most half its size"
    if counts:
        line += "; the numbered frames are enlarged"
    figure.text(0.5, 0.055 / total[1], line, ha="center", fontsize=7, color=_GREY)
    figure.alt = f"A map on which {count} stand as small pictures, side by side without overlap."
    if counts:
        figure.alt += (
            f" Crowded places that lie far from each other, {len(counts)} numbered frames on the map, are enlarged "
            f"beside and below it; they show {', '.join(counts)} images."
        )
    if labels is not None:
        from scipy.spatial import cKDTree

        labels = np.asarray(labels)
        nearest = cKDTree(layout).query(layout, k=2)[1]
        nearest = np.where(nearest[:, 0] == np.arange(len(layout)), nearest[:, 1], nearest[:, 0])
        same = float((labels[nearest] == labels).mean())
        figure.alt += f" For {same:.0%} of the images the nearest one on the map is of the same class."
    return figure


def _many(number: int) -> dict[str, Any]:
    """Colour and marker of the number-th of many groups: 64 combinations before one comes again."""
    return {"color": _COLOURS[number % 8], "marker": _MARKERS[(number + number // 8) % 8]}


@_drawn
def scatter(
    points: Any,
    labels: Sequence[int],
    *,
    names: Sequence[str] | None = None,
    title: str = "",
    style: str = "default",
) -> Figure:
    """Draw points of the plane, a colour and a marker for each class.

    Parameters
    ----------
    points : (N, 2) array
    labels : sequence of N int
    names : sequence of str, optional
        Of the classes, for a legend (up to 16 classes).
    title : str
    style : str
        See :func:`style`.

    Returns
    -------
    Figure
    """
    points, labels = np.asarray(points), np.asarray(labels)
    present = np.unique(labels)
    legend = names is not None and len(present) <= 16
    figure = Figure(figsize=(4.6 if legend else 3.6, 3.6))
    axes = figure.add_axes((0.03, 0.03, 0.72 if legend else 0.94, 0.87 if title else 0.94))
    size = float(np.clip(6000 / len(points), 5, 36))
    for number, label in enumerate(present):
        name = str(names[label]) if names is not None else str(label)
        looks = {"s": size, "linewidths": 0.25, "edgecolors": "#303030", **_many(number)}
        axes.scatter(*points[labels == label].T, label=_short(name, 0.8), **looks)
    axes.set_rasterization_zorder(None if len(points) < 2000 else 2)  # many marks would make a heavy SVG
    axes.set(aspect="equal", title=title)
    axes.set_adjustable("datalim")
    axes.set_axis_off()
    if legend:
        handles = axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.2).legend_handles
        for handle in handles:
            handle.set_sizes([30])
    figure.alt = f"{len(points):,} points of {len(present)} classes in the plane, a colour and a marker for each class."
    return figure


@_drawn
def neighborhoods(
    layout: Any,
    batches: Sequence[Any],
    labels: Sequence[int] | None = None,
    *,
    highlight: int | None = None,
    style: str = "default",
) -> Figure:
    """Draw the mini-batches of local sampling on a map of the data: each neighborhood has its own colour and marker.

    Parameters
    ----------
    layout : (N, 2) array
    batches : sequence of int sequences
        The item numbers of each batch, as ``LocalSampler.batches``. Items in none are drawn grey.
    labels : sequence of N int, optional
        Classes, to tell in the alternative text how many a neighborhood holds.
    highlight : int, optional
        Draw only this batch in colour.
    style : str
        See :func:`style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no batch.
    """
    layout = np.asarray(layout)
    batches = [np.asarray(batch) for batch in batches]
    if not batches:
        raise ValueError("there is no neighborhood to draw: refresh the sampler first")
    everything = np.arange(len(layout))
    left_out = np.setdiff1d(everything, np.concatenate(batches))
    grey = left_out if highlight is None else np.setdiff1d(everything, batches[highlight])
    centres = np.array([np.median(layout[batch], axis=0) for batch in batches])
    wide, high = np.ptp(layout, axis=0)
    height = 4.4 * float(np.clip(high / wide if wide else 1, 0.4, 1.6))
    figure = Figure(figsize=(4.4, height + 0.3))
    axes = figure.add_axes((0.01, 0.01, 0.98, height / (height + 0.3) - 0.02))
    size = float(np.clip(12000 / len(layout), 2, 24))
    axes.scatter(*layout[grey].T, s=size * 0.7, color=_PALE, linewidths=0, rasterized=True)
    colours: list[int] = []
    for number, batch in enumerate(batches):
        # A colour that none of the nearest neighborhoods drawn so far has.
        near = np.argsort(((centres[:number] - centres[number]) ** 2).sum(axis=1))[:6]
        colours.append(next(c for c in range(8) if c not in [colours[other] for other in near]))
        if highlight is None or number == highlight:
            look = colours[-1] if highlight is None else 0
            looks = {"color": _COLOURS[look], "marker": _MARKERS[look]}
            axes.scatter(*layout[batch].T, s=size, linewidths=0, rasterized=True, **looks)
    if highlight is None and len(batches) <= 60:
        for number, centre in enumerate(centres):
            outline = withStroke(linewidth=2, foreground="white")
            axes.text(*centre, number, ha="center", va="center", fontsize=7, weight="bold", path_effects=[outline])
    axes.set(aspect="equal")
    axes.set_adjustable("datalim")
    axes.set_axis_off()
    sizes = [len(batch) for batch in batches]
    if highlight is None:
        text = f"{len(batches)} neighborhoods; {len(left_out):,} of {len(layout):,} items in none (grey)"
    else:
        text = f"neighborhood {highlight}: {sizes[highlight]} of {len(layout):,} items"
    axes.set_title(text)
    figure.alt = f"A map of {len(layout):,} points: {text}. The neighborhoods hold {min(sizes)} to {max(sizes)} items"
    if labels is not None:
        labels = np.asarray(labels)
        classes = [len(np.unique(labels[batch])) for batch in batches]
        figure.alt += f" of {min(classes)} to {max(classes)} classes; all data have {len(np.unique(labels))}"
    figure.alt += "."
    return figure


@_drawn
def distances(
    embeddings: Any,
    labels: Sequence[int],
    *,
    title: str = "",
    sample: int = 1500,
    seed: int = 0,
    style: str = "default",
) -> Figure:
    """Draw how far apart items of one class are, and items of different classes: two histograms of Euclidean distance.

    Parameters
    ----------
    embeddings : (N, d) array or tensor
    labels : sequence of N int
    title : str
    sample : int
        At most so many items are compared, all with all.
    seed : int
        Draws them.
    style : str
        See :func:`style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no pair of one class or no pair of different classes among the items.
    """
    from scipy.spatial.distance import pdist

    x, labels = np.asarray(embeddings, dtype=np.float64), np.asarray(labels)
    x = x.reshape(len(x), -1)
    if len(x) > sample:
        # Whole classes, so that pairs of one class stay common enough to count.
        classes = np.random.default_rng(seed).permutation(np.unique(labels))
        keep = np.cumsum([(labels == label).sum() for label in classes]) <= sample
        chosen = np.isin(labels, classes[: max(2, keep.sum())])
        x, labels = x[chosen], labels[chosen]
    i, j = np.triu_indices(len(x), 1)
    between, same = pdist(x), labels[i] == labels[j]
    if same.all() or not same.any():
        raise ValueError(f"need pairs of one class and of different classes, got labels {np.unique(labels)[:5]} only")
    bins = np.linspace(0, between.max(), 61)
    figure = Figure(figsize=(3.6, 2.3))
    axes = figure.add_axes((0.04, 0.18, 0.92, 0.68 if title else 0.76))
    medians = []
    for chosen, colour, line, name in (
        (same, OKABE_ITO["blue"], "-", "same class"),
        (~same, OKABE_ITO["vermilion"], "--", "different classes"),
    ):
        heights, _ = np.histogram(between[chosen], bins, density=True)
        axes.stairs(heights, bins, fill=True, color=colour, alpha=0.25)
        axes.stairs(heights, bins, color=colour, linestyle=line, linewidth=1.3, label=name)
        medians.append(np.median(between[chosen]))
    axes.set(xlabel="Euclidean distance", yticks=[], xlim=(0, bins[-1]), title=title)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.18)
    axes.spines["left"].set_visible(False)
    axes.legend(loc="upper center", ncols=2, borderaxespad=0)
    overlap = float((between[~same] < medians[0]).mean())
    figure.alt = (
        f"Two histograms of the distances between {len(x):,} items. Pairs of one class have the median "
        f"{medians[0]:.3g}, pairs of different classes {medians[1]:.3g}; {overlap:.0%} of the latter are closer than "
        "the median pair of one class."
    )
    return figure


# ---------------------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------------------
@_drawn
def history(
    runs: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Mapping[str, Any]]], *, style: str = "default"
) -> Figure:
    """Draw loss and Recall@1 by epoch.

    Parameters
    ----------
    runs : list of dict, or dict of name to list of dict
        One training history, or several by name; each entry has ``epoch`` and, where known, ``loss`` and ``recall@1``.
    style : str
        See :func:`style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If a history is empty.
    """
    named = dict(runs) if isinstance(runs, Mapping) else {"": runs}
    if not named or not all(len(run) for run in named.values()):
        raise ValueError("a training history must have at least one epoch, got none")
    panels = [("loss", "mean loss of an epoch"), ("recall@1", "Recall@1")]
    panels = [(key, label) for key, label in panels if any(key in entry for run in named.values() for entry in run)]
    figure = Figure(figsize=(3.6 * len(panels), 2.5), layout="constrained")
    told = []
    for axes, (key, label) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for number, (name, run) in enumerate(named.items()):
            known = [(entry["epoch"], entry[key]) for entry in run if entry.get(key) is not None]
            if not known:
                continue
            epochs, values = zip(*known, strict=True)
            looks = {"color": _COLOURS[number % 8], "linestyle": _LINES[number % 4], "marker": _MARKERS[number % 8]}
            axes.plot(epochs, values, markersize=3.5, markevery=max(1, len(known) // 10), label=name, **looks)
            told.append(f"{name + ': ' if name else ''}{key} from {values[0]:.3g} to {values[-1]:.3g}")
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(True, axis="y", color="#E4E4E4", linewidth=0.6)
        if key == "recall@1":
            axes.set_ylim(0, 1)
        elif min(line.get_ydata().min() for line in axes.lines) >= 0:
            axes.set_ylim(0)
    if len(named) > 1:
        axes.legend()
    figure.alt = f"Curves over the epochs of training. {'; '.join(told)}."
    return figure


@_drawn
def curves(
    x: Any,
    ys: Mapping[str, Any],
    *,
    x_label: str = "",
    y_label: str = "",
    title: str = "",
    log: str = "",
    style: str = "default",
) -> Figure:
    """Draw functions of one number, each with its own colour and line style.

    Parameters
    ----------
    x : (N,) array
    ys : dict of name to (N,) array
    x_label, y_label, title : str
        Formulas go between dollar signs.
    log : {"", "x", "y", "xy"}
        Which axes are logarithmic; on a logarithmic axis what is not above zero is left out.
    style : str
        See :func:`style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no curve, one of them is not as long as `x`, or `log` is something else.
    """
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f"log names the logarithmic axes, one of '', 'x', 'y', 'xy': got {log!r}")
    x = np.asarray(x, dtype=float)
    ys = {name: np.asarray(y, dtype=float) for name, y in ys.items()}
    if not ys or any(y.shape != x.shape or x.ndim != 1 for y in ys.values()):
        raise ValueError(f"need curves of as many numbers as x, {x.shape}: got {[y.shape for y in ys.values()]}")
    figure = Figure(figsize=(4.4, 2.7), layout="constrained")
    axes = figure.subplots()
    told = []
    for number, (name, y) in enumerate(ys.items()):
        seen = np.isfinite(y) & ((y > 0) | ("y" not in log)) & ((x > 0) | ("x" not in log))
        looks = {"color": _COLOURS[number % 8], "linestyle": _LINES[number % 4], "marker": _MARKERS[number % 8]}
        axes.plot(x[seen], y[seen], markersize=4, markevery=(0.02 + 0.03 * number, 0.2), label=name, **looks)
        if seen.any():
            u, v = x[seen], y[seen]
            least = f", least {v.min():.2g} at {u[v.argmin()]:.2g}" if v.min() < min(v[0], v[-1]) else ""
            told.append(f"{name}: {v[0]:.2g} at {u[0]:.2g}{least}, {v[-1]:.2g} at {u[-1]:.2g}")
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.set(xscale="log" if "x" in log else "linear", yscale="log" if "y" in log else "linear")
    axes.grid(True, color="#E4E4E4", linewidth=0.6)
    if len(ys) > 1:
        axes.legend()
    figure.alt = f"Curves of {y_label or 'y'} over {x_label or 'x'}. {'; '.join(told)}."
    return figure


@_drawn
def comparison(
    results: Mapping[tuple[str, str], Sequence[float]],
    *,
    measure: str = "Recall@1",
    level: float = 0.95,
    style: str = "default",
) -> Figure:
    """Compare settings over seeds: the mean as a large mark, its confidence interval as a bar, each run as a small dot.

    Parameters
    ----------
    results : dict of (series, group) to values
        For example ``{("SST", "local"): [0.92, 0.93], ...}``: groups are rows, series share a colour and a marker.
    measure : str
        What the values are.
    level : float
        Of the confidence interval of the mean (Student's t; none for a single run).
    style : str
        See :func:`style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there are no results or a setting has no value.
    """
    if not results or not all(len(values) for values in results.values()):
        raise ValueError("each setting to compare needs at least one value")
    series = list(dict.fromkeys(key[0] for key in results))
    groups = list(dict.fromkeys(key[1] for key in results))
    figure = Figure(figsize=(5.0, 0.75 + 0.2 * len(groups) * (len(series) + 1)), layout="constrained")
    axes = figure.subplots()
    told = []
    for (name, group), values in results.items():
        values = np.asarray(values, dtype=float)
        number = series.index(name)
        y = groups.index(group) * (len(series) + 1) + number
        mean, half = interval(values, level)
        half = half if np.isfinite(half) else 0.0
        looks = _many(number)
        axes.errorbar(mean, y, xerr=half or None, capsize=2.5, markersize=6, linestyle="none", **looks)
        if len(values) > 1:
            axes.plot(values, np.full(len(values), y + 0.33), ".", color=looks["color"], markersize=3.5, alpha=0.7)
        end = max(mean + half, values.max()), y
        axes.annotate(f"{mean:.3f}", end, (6, 0), textcoords="offset points", va="center", fontsize=7, color=_GREY)
        told.append(f"{name}, {group}: {mean:.3f}" + (f" ± {half:.3f}" if half else ""))
    middle = (len(series) - 1) / 2
    axes.set_yticks([row * (len(series) + 1) + middle for row in range(len(groups))], groups)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(groups) * (len(series) + 1) - 1.2, -0.8)
    axes.margins(x=0.12)
    axes.set_xlabel(measure)
    axes.grid(True, axis="x", color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    if len(series) > 1:
        handles = [Line2D([], [], linestyle="none", markersize=6, **_many(number)) for number in range(len(series))]
        figure.legend(handles, series, loc="outside upper center", ncols=len(series))
    figure.alt = f"{measure} as the mean over runs with {level:.0%} confidence intervals. {'; '.join(told)}."
    return figure


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the mean of some values and half the width of its confidence interval, by Student's t.

    Parameters
    ----------
    values : sequence of float
        At least one.
    level : float
        How often such intervals hold the true mean.

    Returns
    -------
    mean, half : float
        The interval is mean ± half; of a single value nothing is known: NaN.
    """
    from scipy.stats import t

    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    spread = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(t.ppf((1 + level) / 2, len(values) - 1) * spread)


@_drawn
def progress(
    runs: Mapping[tuple[str, str], Sequence[Sequence[Mapping[str, float]]]],
    *,
    clock: str = "seconds of training",
    style: str = "default",
) -> Figure:
    """Draw Recall@1 against epochs and against time, a column of panels for each group.

    A line is the mean over the runs of a setting after each epoch, its band reaches from the lowest run to the highest.
    Against time, an epoch stands at the mean of its runs.

    Parameters
    ----------
    runs : dict of (series, group) to training histories
        For example ``{("SST", "local"): [history, history], ...}``: groups are columns, series share a colour, a
        marker and a line style. A history is a list of rows, one an epoch, with ``recall@1`` and ``seconds``.
    clock : str
        What the seconds are.
    style : str
        See :func:`style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there are no runs, or a setting has none.
    """
    if not runs or not all(len(histories) and all(map(len, histories)) for histories in runs.values()):
        raise ValueError("each setting needs at least one run of at least one epoch")
    series = list(dict.fromkeys(key[0] for key in runs))
    groups = list(dict.fromkeys(key[1] for key in runs))
    figure = Figure(figsize=(0.9 + 2.3 * len(groups), 4.6), layout="constrained")
    panels = figure.subplots(2, len(groups), sharey=True, sharex="row", squeeze=False)
    told = []
    for (name, group), histories in runs.items():
        epochs = min(map(len, histories))  # a run may have ended before the others
        recall = np.array([[row["recall@1"] for row in history[:epochs]] for history in histories])
        seconds = np.array([[row["seconds"] for row in history[:epochs]] for history in histories])
        number = series.index(name)
        looks = {**_many(number), "linestyle": _LINES[number % len(_LINES)], "markersize": 3.2}
        for axes, x in zip(
            panels[:, groups.index(group)],
            (np.arange(1, epochs + 1), seconds.cumsum(axis=1).mean(axis=0)),
            strict=True,
        ):
            axes.plot(x, recall.mean(0), markevery=max(1, epochs // 10), label=name, **looks)
            # Many bands lie over one another: pale ones, with an edge.
            axes.fill_between(x, recall.min(0), recall.max(0), color=looks["color"], alpha=0.06, linewidth=0)
            for edge in (recall.min(0), recall.max(0)) if len(recall) > 1 else ():
                axes.plot(x, edge, color=looks["color"], linestyle=looks["linestyle"], linewidth=0.6, alpha=0.6)
        mean = recall.mean(axis=0)
        told.append(f"{name}, {group}: {mean[0]:.3f} to {mean[-1]:.3f} in {seconds.sum(axis=1).mean():.0f} seconds")
    for row, label in zip(panels, ("epoch", clock), strict=True):
        for axes, group in zip(row, groups, strict=True):
            axes.set_xlabel(label)
            axes.grid(True, axis="y", color="#E4E4E4", linewidth=0.6)
            if label == "epoch":
                axes.set_title(group)
                axes.xaxis.get_major_locator().set_params(integer=True)
            else:
                axes.set_xlim(0)
    figure.supylabel("Recall@1 of held-out classes", fontsize=8)
    if len(series) > 1:
        handles = [
            Line2D([], [], linestyle=_LINES[number % len(_LINES)], markersize=4, **_many(number))
            for number in range(len(series))
        ]
        figure.legend(handles, series, loc="outside upper center", ncols=min(len(series), 2 * len(groups)))
    figure.alt = f"Recall@1 of held-out classes against epochs and {clock}, means over runs. {'; '.join(told)}."
    return figure


# ---------------------------------------------------------------------------------------------------------------------
# The method at a glance
# ---------------------------------------------------------------------------------------------------------------------
def _arrow(axes: Any, start: Any, end: Any, colour: str, width: float = 1.4, head: float = 8, **kwargs: Any) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=head,
            color=colour,
            linewidth=width,
            shrinkA=0,
            shrinkB=0,
            **kwargs,
        )
    )


def _layer(axes: Any, x: float, y: float, width: float, height: float) -> None:
    """Draw a feature map as a box seen from the upper right, its front centred on (x, y) at the left edge."""
    depth = height * 0.26
    front = [(x, y - height / 2), (x + width, y - height / 2), (x + width, y + height / 2), (x, y + height / 2)]
    shift = np.array([depth, -depth * 0.62])
    top = [front[0], front[1], front[1] + shift, front[0] + shift]
    side = [front[1], front[2], front[2] + shift, front[1] + shift]
    for corners, shade in ((front, "#DCE9F2"), (top, "#EEF5FA"), (side, "#B9D2E4")):
        axes.add_patch(Polygon(corners, facecolor=shade, edgecolor="#44667F", linewidth=0.7, joinstyle="round"))


@_drawn
def idea(
    layout: Any,
    images: Any,
    labels: Sequence[int],
    batch: Sequence[int],
    *,
    seed: int = 0,
    style: str = "default",
) -> Figure:
    """Draw the method in three parts: a neighborhood becomes a mini-batch, the embeddings pull and push, the objective.

    The map, the neighborhood and the pictures are real; the two panels of embeddings are a small example in the plane,
    whose arrows are the negative gradients of the SST loss and whose end is reached by following them. Figure 1 of
    Nguyen and De Baets (2020), drawn anew.

    Parameters
    ----------
    layout : (N, 2) array
        A map of the data, for example from :func:`tsne_layout`.
    images, labels
        As for :func:`gallery`.
    batch : sequence of int
        Numbers of the items of one neighborhood.
    seed : int
        Draws the pictures that stand for it.
    style : str
        See :func:`style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the neighborhood does not hold two items of one class and two others.
    """
    layout, labels, batch = np.asarray(layout, dtype=float), np.asarray(labels), np.asarray(batch)
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(labels[batch], return_counts=True)
    if counts.max() < 2 or len(batch) - counts.max() < 2:
        raise ValueError(
            "the neighborhood to draw needs two items of one class and two of others, "
            f"got class sizes {counts.tolist()}"
        )
    ours = classes[counts.argmax()]
    own = rng.permutation(batch[labels[batch] == ours])
    # The others: of as many different classes as there are.
    others = rng.permutation(batch[labels[batch] != ours])
    others = others[np.argsort(_turn(labels[others]), kind="stable")]
    pull, push, ink = OKABE_ITO["blue"], OKABE_ITO["vermilion"], "#303030"

    width, height = 7.2, 2.02
    axis = 0.92  # the height at which all stand
    figure, axes = _sheet(width, height)

    def caption(x: float, letter: str, text: str) -> None:
        axes.text(x, height - 0.1, f"({letter}) {text}", ha="center", fontsize=8, color=ink)

    # (a) The map, the neighborhood on it, and some of its pictures as the mini-batch.
    low, high = np.quantile(layout, [0.002, 0.998], axis=0)
    scale = 1.72 / (high - low).max()
    spots = np.clip((layout - (low + high) / 2) * scale, -0.88, 0.88) * [1, -1] + [0.95, axis]
    inside = np.zeros(len(layout), dtype=bool)
    inside[batch] = True
    own_class = inside & (labels == ours)
    dot = float(np.clip(4000 / len(layout), 0.6, 6))
    axes.scatter(*spots[~inside].T, s=dot, color="#C4C4C4", linewidths=0, rasterized=True)
    axes.scatter(*spots[inside & ~own_class].T, s=4 * dot, color=push, linewidths=0, rasterized=True)
    axes.scatter(*spots[own_class].T, s=4 * dot, color=pull, linewidths=0, rasterized=True)
    centre = np.median(spots[batch], axis=0)
    radius = float(np.clip(np.quantile(np.linalg.norm(spots[batch] - centre, axis=1), 0.9) + 0.05, 0.12, 0.4))
    axes.add_patch(Circle(centre, radius, fill=False, linewidth=1.1, edgecolor=ink))
    side, gap, across = 0.27, 0.055, 3
    left, top = 2.12, axis - 2 * (side + gap) + gap / 2
    shown = [own[0], others[0], others[1], others[2 % len(others)], own[1], others[3 % len(others)]]
    shown += [others[(4 + i) % len(others)] for i in range(5)] + [own[2 % len(own)]]
    bottom = top + 4 * (side + gap) - gap
    edge = left - 0.09
    for corner, sign in ((top - 0.06, -1), (bottom + 0.06, 1)):
        touch = centre + radius * np.array([np.cos(0.9), sign * np.sin(0.9)])
        axes.plot([touch[0], edge], [touch[1], corner], color=ink, linewidth=0.7)
    box = across * (side + gap) + 0.125, bottom - top + 0.18
    axes.add_patch(Rectangle((edge, top - 0.09), *box, fill=False, edgecolor=ink, linewidth=0.8))
    for number, item in enumerate(shown):
        x, y = left + number % across * (side + gap), top + number // across * (side + gap)
        _show(axes, _pixels(images, item), x, y, side)
        _frame(axes, x, y, side, pull if labels[item] == ours else push, 1.2)
    caption(1.55, "a", "a neighborhood becomes the mini-batch")

    # The network.
    _arrow(axes, (3.19, axis), (3.4, axis), ink)
    x = 3.45
    for thick, tall in ((0.05, 0.84), (0.08, 0.60), (0.11, 0.40), (0.15, 0.24)):
        _layer(axes, x, axis + 0.06 * tall, thick, tall)
        x += thick + 0.16 * tall + 0.03
    axes.text(3.84, axis - 0.62, r"CNN  $\varphi$", ha="center", fontsize=9, color=ink)
    _arrow(axes, (4.36, axis), (4.57, axis), ink)

    # (b) and (c): four points of the plane before and after following the negative gradients of the SST loss.
    before = np.array([[-0.62, 0.10], [0.60, -0.16], [-0.20, -0.56], [0.24, 0.50]])  # anchor, positive, two negatives
    forces, after = _descend(before)
    pictures = [own[0], own[1], others[0], others[1]]
    small, unit = 0.2, 0.6
    for points, x in ((before, 5.26), (after, 6.58)):
        spots = points * [unit, -unit] + [x, axis]
        centre, radius = geometry.sphere(spots[0], spots[1])
        sphere = Circle(centre, radius, facecolor="#F4F4F4", edgecolor="#808080", zorder=-1)
        sphere.set(linestyle=(0, (4, 2)), linewidth=0.8)
        axes.add_patch(sphere)
        for index, (item, spot) in enumerate(zip(pictures, spots, strict=True)):
            colour = pull if index < 2 else push
            corner = spot - small / 2
            _show(axes, _pixels(images, item), *corner, small)
            _frame(axes, *corner, small, colour, 1.4)
            direction = forces[index] * [1, -1] / np.linalg.norm(forces[index])
            if points is before:
                length = 0.17 if index < 2 else 0.25
                _arrow(axes, spot + 0.155 * direction, spot + (0.155 + length) * direction, colour, 1.8, 8, zorder=4)
            beside = spot[0] + (-0.19 if index == 0 else 0.19)
            axes.text(beside, spot[1], f"${'apnn'[index]}$", ha="center", va="center", fontsize=9, color=ink)
    _arrow(axes, (5.93, axis), (6.14, axis), ink)
    caption(5.26, "b", "pull and push")
    caption(6.58, "c", "objective satisfied")
    figure.alt = (
        f"Three parts from left to right. (a) A map of {len(layout):,} images as grey dots; one neighborhood of "
        f"{len(batch)} is circled, and twelve of its images are shown as the mini-batch, those of one class framed "
        "blue, those of others orange. An arrow leads through a convolutional network to (b): two images of one class "
        "are pulled towards each other by blue arrows; two images of other classes, inside a dashed circle around "
        "them, are pushed away from its centre by orange arrows. (c) The two images of one class are close together "
        "in a small circle, and the others are outside of it."
    )
    return figure


def _turn(labels: np.ndarray) -> np.ndarray:
    """For each item, how many of its class came before it: sorting by this takes one of each class in turn."""
    return np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)], dtype=int)


def _descend(points: np.ndarray, rate: float = 0.05, steps: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Follow the negative gradient of the SST loss of (anchor, positive, negatives...) in the plane.

    Returns the forces at the start and the points at the end.
    """
    points = points.copy()
    first = None
    for _ in range(steps):
        forces = np.zeros_like(points)
        for negative in range(2, len(points)):
            _, slopes = geometry.sst(points[0], points[1], points[negative])
            forces[[0, 1, negative]] -= slopes
        first = forces if first is None else first
        points += rate * forces
    return first, points
