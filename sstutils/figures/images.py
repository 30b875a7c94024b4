"""Images side by side: what a query retrieves, and samples of some classes."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.patches import Circle, Rectangle
from PIL import Image, ImageOps

from ..checks import item_numbers, seed_number, whole_number
from ..datasets.reading import as_picture
from ..evaluation import top_k
from ..files import one_line
from .inputs import check_names, clean, to_labels, to_numbers, words
from .style import Figure, styled


def read_image(images: Any, index: int) -> np.ndarray:
    """Return one image of a data set, an array, a tensor or a list as (H, W, 3) uint8; OSError if it is unreadable."""
    image = images[int(index)]
    if isinstance(image, tuple):  # data sets return (image, target)
        image = image[0]
    if isinstance(image, Image.Image):
        return np.asarray(as_picture(image))
    image = np.asarray(image) if getattr(image, "dtype", None) in (np.uint8, torch.uint8) else to_numbers(image)
    if image.ndim == 3 and image.shape[0] in (1, 3, 4) and image.shape[2] not in (1, 3, 4):  # torch's channels first
        image = np.moveaxis(image, 0, 2)
    if image.dtype != np.uint8 and not (image.min() >= 0 and 8 <= image.max() < np.inf):  # not levels from 0 to 255
        image = (np.clip(np.nan_to_num(image), 0, 1) * 255).round().astype(np.uint8)
    return np.asarray(as_picture(image))


def read(figure: Figure, images: Any, index: int) -> np.ndarray:
    """Read one image for a figure; if it is unreadable, return a grey square, which the figure counts and names."""
    try:
        return read_image(images, index)
    except OSError as error:
        figure.unreadable.append(one_line(error))
        return np.full((1, 1, 3), 200, np.uint8)


def fit_square(image: np.ndarray, side: int) -> np.ndarray:
    """Scale an image, keeping its proportions, and centre it on a white (side, side, 3) square."""
    how = Image.Resampling.LANCZOS if side < max(image.shape[:2]) else Image.Resampling.BICUBIC
    return np.asarray(ImageOps.pad(Image.fromarray(image), (side, side), how, "white"))


def reduce_shades(image: np.ndarray, bits: int) -> np.ndarray:
    """Keep `bits` bits of each channel: invisible in small pictures, but noise then takes half the bytes in a PNG."""
    return ((image >> (8 - bits)).astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)


def _dot(inches: Any) -> Any:
    """Round to whole dots at 200 an inch, so that pictures are copied dot by dot and meet their frames."""
    return np.round(np.asarray(inches) * 200) / 200


def blank_sheet(width: float, height: float) -> tuple[Figure, Any]:
    """Return a figure with one invisible axes whose coordinates are inches from the top left corner."""
    width, height = _dot(width), _dot(height)
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    return figure, axes


def show_image(
    axes: Any, image: np.ndarray, x: float, y: float, side: float, frame: str = "", width: float = 0, **kwargs: Any
) -> None:
    """Show an image in the square of `side` inches at (x, y), its top left corner, and draw a frame outside of it.

    `frame` is its colour, none by default, `width` is in points; other arguments are those of a matplotlib Rectangle.
    """
    x, y, side = _dot([x, y, side])
    picture = reduce_shades(fit_square(image, round(side * 200)), 6)
    axes.imshow(picture, extent=(x, x + side, y + side, y), interpolation="antialiased", aspect="auto")
    if frame:
        grow = width / 72 / 2
        look = {"fill": False, "edgecolor": frame, "linewidth": width, **kwargs}
        axes.add_patch(Rectangle((x - grow, y - grow), side + 2 * grow, side + 2 * grow, **look))


def _badge(axes: Any, x: float, y: float, kind: str, colour: str) -> None:
    """Draw a disc with a white tick or cross at (x, y)."""
    radius = 0.068
    axes.add_patch(Circle((x, y), radius, facecolor=colour, edgecolor="white", linewidth=0.7, zorder=5, gid=kind))
    cross = [((-0.38, -0.38), (0.38, 0.38)), ((-0.38, 0.38), (0.38, -0.38))]
    for stroke in cross if kind == "cross" else [((-0.5, 0.0), (-0.12, 0.38), (0.5, -0.38))]:
        dx, dy = np.transpose(stroke) * radius
        axes.plot(x + dx, y + dy, color="white", linewidth=1.2, solid_capstyle="round", zorder=6)


@styled
def gallery(
    images: Any,
    labels: Sequence[int],
    queries: Sequence[int],
    neighbors: Any,
    *,
    names: Sequence[str] | None = None,
    columns: int = 2,
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
        Number of queries side by side.

    Raises
    ------
    ValueError
        If there is no query, `neighbors` does not have one row for each, or a number is none of an item.
    """
    labels = to_labels(labels)
    names = check_names(names, labels)
    queries = item_numbers(queries, len(labels), "queries").numpy(force=True)
    if not len(queries):
        raise ValueError("the gallery needs at least one query, got none")
    neighbors = np.asarray(neighbors)
    if neighbors.ndim != 2 or len(neighbors) != len(queries) or not neighbors.size:
        raise ValueError(
            f"neighbors must have one row for each of the {len(queries)} queries, got shape {neighbors.shape}"
        )
    neighbors = item_numbers(neighbors.ravel(), len(labels), "neighbors").numpy().reshape(neighbors.shape)
    count = neighbors.shape[1]
    columns = min(whole_number("columns", columns), len(queries))
    rows = -(-len(queries) // columns)
    # All in inches: a block is a query, a gap and its neighbors; blocks stand in a grid.
    margin, gap, aside, between, head = 0.08, 0.1, 0.2, 0.42, 0.27
    total = 7.2 if columns > 1 else 3.9
    space = total - 2 * margin - (columns - 1) * between - columns * (aside + (count - 1) * gap)
    side = min(space / (columns * (count + 1)), 0.9)
    offsets = [0, *(side + aside + np.arange(count) * (side + gap))]
    block = offsets[-1] + side + between
    step = side + (0.24 if names is not None else 0.13)
    figure, axes = blank_sheet(2 * margin + columns * block - between, head + rows * step + 0.02)
    for column in range(columns):
        for offset, text in zip(offsets, ("query", *range(1, count + 1)), strict=True):
            axes.text(margin + column * block + offset + side / 2, head - 0.09, text, ha="center", fontsize=8)
    correct = labels[neighbors] == labels[queries][:, None]
    if names is not None:
        short = {item: shorten(names[labels[item]], side) for item in (*queries, *neighbors.flat)}
        drawn = words(figure, short.values())
    for number, (query, row) in enumerate(zip(queries, neighbors, strict=True)):
        # Down the columns, so that a reader takes one block after the other.
        y = head + (number % rows) * step
        for rank, (offset, item) in enumerate(zip(offsets, (query, *row), strict=True)):
            x, image = margin + (number // rows) * block + offset, read(figure, images, item)
            if rank == 0:
                show_image(axes, image, x, y, side, "black", 0.8)
            else:
                right = correct[number, rank - 1]
                kind, sign, colour = ("correct", "tick", "C0") if right else ("incorrect", "cross", "C1")
                show_image(axes, image, x, y, side, colour, 2.2, gid=kind)
                _badge(axes, x + side, y, sign, colour)
            if names is not None:
                look = {"ha": "center", "va": "top", "fontsize": 7, "color": "#404040"}
                axes.text(x + side / 2, y + side + 0.05, drawn[short[item]], **look)
    figure.alt = (
        f"{len(queries)} query images, each followed by its {count} nearest images. Correct, with a tick: "
        f"{correct.sum()} of the {correct.size} retrieved; incorrect, with a cross: {(~correct).sum()}. Of the "
        f"{len(queries)} that are nearest of all, correct: {correct[:, 0].sum()}."
    )
    return figure


def confusions(
    images: Any, labels: Sequence[int], embeddings: Any, *, names: Sequence[str], count: int = 10, **options: Any
) -> Figure:
    """Show the classes that are most often taken for each other: an image, and the nearest one, of another class.

    Parameters
    ----------
    images, labels, names, **options
        As for :func:`gallery`.
    embeddings : (N, d) tensor or array
    count : int
        Number of pairs of classes.

    Raises
    ------
    ValueError
        If every nearest image is of the right class.
    """
    labels = to_labels(labels)
    nearest = top_k(embeddings, 1)[1][:, 0].numpy()
    wrong = np.flatnonzero(labels[nearest] != labels)
    pairs = Counter(zip(labels[wrong].tolist(), labels[nearest[wrong]].tolist(), strict=True)).most_common(count)
    if not pairs:
        raise ValueError("there are no confusions: every nearest image is of the right class")
    shown = [next(i for i in wrong if (labels[i], labels[nearest[i]]) == pair) for pair, _ in pairs]
    figure = gallery(images, labels, shown, nearest[shown][:, None], names=names, **options)
    told = (f"{names[one]} taken for {names[other]} ({times} times)" for (one, other), times in pairs)
    figure.alt = f"The {len(pairs)} most frequent confusions, an image and the nearest one: {', '.join(told)}."
    return figure


def shorten(name: Any, inches: float) -> str:
    """Cut a name to what fits below a picture at 7 points."""
    name, fits = clean(name), max(3, int(inches / 0.056))
    widths = np.cumsum([1 + (unicodedata.east_asian_width(sign) in "WF") for sign in name])
    return name if not name or widths[-1] <= fits else name[: (widths < fits).sum()].rstrip(" _-.") + "…"


@styled
def samples(
    images: Any,
    labels: Sequence[int],
    *,
    names: Sequence[str] | None = None,
    classes: int = 6,
    per_class: int = 10,
    seed: int = 0,
) -> Figure:
    """Show a few images of a few classes, one class per row.

    Parameters
    ----------
    images, labels, names
        As for :func:`gallery`.
    classes, per_class : int
        Maximum number of rows and columns.
    seed : int
        Seed for the choice of classes and images.
    """
    labels = to_labels(labels)
    names = check_names(names, labels)
    rng = np.random.default_rng(seed_number(seed))
    present = np.unique(labels)
    chosen = np.sort(rng.choice(present, min(whole_number("classes", classes), len(present)), replace=False))
    rows = [
        rng.permutation(np.flatnonzero(labels == label))[: whole_number("per_class", per_class)] for label in chosen
    ]
    side, gap, head = 0.52, 0.06, 0.06
    if names is not None:
        short = [shorten(names[label], 0.7) for label in chosen]
        head = 0.14 + 0.07 * max(map(len, short))
    longest = max(map(len, rows))
    figure, axes = blank_sheet(head + longest * (side + gap), gap + len(chosen) * (side + gap))
    figure.alt = f"{len(chosen)} rows of up to {longest} images; each row shows one class"
    if names is not None:
        drawn = words(figure, short)
        figure.alt += f": {', '.join(shorten(names[label], 5) for label in chosen)}"
    figure.alt += "."
    for row, items in enumerate(rows):
        y = gap + row * (side + gap)
        if names is not None:
            axes.text(head - 0.1, y + side / 2, drawn[short[row]], ha="right", va="center", fontsize=8)
        for column, item in enumerate(items):
            show_image(axes, read(figure, images, item), head + column * (side + gap), y, side)
    return figure
