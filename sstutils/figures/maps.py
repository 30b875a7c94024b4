"""Maps of an embedding: t-SNE, and what stands on it: images, classes, neighborhoods."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from .images import fit_square, read_image, reduce_shades, shorten
from .style import COLOURS, GREY, MARKERS, PALE, Figure, look, styled

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
        canvas[top : top + dots - 1, left : left + dots - 1] = fit_square(read_image(images, item), dots - 1)
    return canvas


def _bearable(canvases: list[np.ndarray], size: int = 1_100_000) -> list[np.ndarray]:
    """Make pictures leaner until their files are of bearable size together, in bytes, or no shade can be spared."""
    for bits in (6, 5, 4, 3):  # size matters more than shades in pictures as small as these
        lean = [reduce_shades(canvas, bits) for canvas in canvases]
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


@styled
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
    figure.text(0.5, 0.055 / total[1], line, ha="center", fontsize=7, color=GREY)
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


@styled
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
    """
    points, labels = np.asarray(points), np.asarray(labels)
    present = np.unique(labels)
    legend = names is not None and len(present) <= 16
    figure = Figure(figsize=(4.6 if legend else 3.6, 3.6))
    axes = figure.add_axes((0.03, 0.03, 0.72 if legend else 0.94, 0.87 if title else 0.94))
    size = float(np.clip(6000 / len(points), 5, 36))
    for number, label in enumerate(present):
        name = str(names[label]) if names is not None else str(label)
        looks = {"s": size, "linewidths": 0.25, "edgecolors": "#303030", **look(number)}
        axes.scatter(*points[labels == label].T, label=shorten(name, 0.8), **looks)
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


@styled
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
    axes.scatter(*layout[grey].T, s=size * 0.7, color=PALE, linewidths=0, rasterized=True)
    colours: list[int] = []
    for number, batch in enumerate(batches):
        # A colour that none of the nearest neighborhoods drawn so far has.
        near = np.argsort(((centres[:number] - centres[number]) ** 2).sum(axis=1))[:6]
        colours.append(next(c for c in range(8) if c not in [colours[other] for other in near]))
        if highlight is None or number == highlight:
            look = colours[-1] if highlight is None else 0
            looks = {"color": COLOURS[look], "marker": MARKERS[look]}
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
