"""Maps of images: which of the points have room for a thumbnail, and which places are worth enlarging."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from .images import fit_square, read_image, reduce_shades
from .style import GREY, Figure, styled


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
    width; to its right and below it five crowded places (see :func:`windows`), numbered frames on the map, are
    enlarged until about half of their points have room in pictures of 0.3 inches.

    Parameters
    ----------
    layout : (N, 2) array
        For example from :func:`tsne_layout`.
    images : data set, array, or sequence of N images
        As for :func:`gallery`; only those shown are read.
    labels : sequence of N int, optional
        Only for the alternative text, which then says how well classes stay together.
    cells : int, optional
        Cells along the longer side; by default chosen from the density.
    enlarged : bool, optional
        Whether to enlarge places; by default on a map of more than 5,000 points.
    width : float
        Width of the figure, in inches.
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
    many = len(layout) > 5000 if enlarged is None else enlarged
    frames = windows(layout, cells=across) if many else np.empty((0, 3))
    shown, centres, size = snap(layout, cells, most=32 if len(frames) else 48)
    columns, rows = (np.round(np.ptp(centres, axis=0) / size).astype(int) + 1).tolist()
    corner = centres.min(axis=0) - size / 2
    dots = (2 * side + gap if len(frames) else room) // max(columns, rows)
    wide, high = columns * dots, rows * dots
    place = 0, 0
    if len(frames):  # nine fields, of which the map takes four
        place = (2 * side + gap - wide) // 2, (2 * side + gap - high) // 2
        wide = high = 3 * side + 2 * gap
    canvases = [_mosaic(images, shown, centres, corner, size, (columns, rows), dots)]
    boxes = [(*place, *corner, columns * size, rows * size)]
    counts = []
    for (x, y, extent), field in zip(frames, ((2, 0), (2, 1), (2, 2), (1, 2), (0, 2)), strict=False):  # clockwise
        inside = np.flatnonzero(((layout >= (x, y)) & (layout <= (x + extent, y + extent))).all(axis=1))
        cell = extent / across
        part, spots = _in_cells(layout[inside], np.array([x, y]), cell, across)
        canvases.append(_mosaic(images, inside[part], spots, (x, y), cell, (across, across), side // across))
        boxes.append((*np.multiply(field, side + gap), x, y, extent, extent))
        counts.append(f"{len(part)} of {len(inside)}")

    total = wide / 200 + 2 * rim, high / 200 + rim + foot
    figure = Figure(figsize=total)
    for number, (canvas, (left, top, x, y, w, h)) in enumerate(zip(_limit_bytes(canvases), boxes, strict=True)):
        low = rim + left / 200, foot + (high - top - canvas.shape[0]) / 200
        axes = figure.add_axes((*np.divide(low, total), *np.divide(canvas.shape[1::-1], np.multiply(total, 200))))
        axes.imshow(canvas, extent=(x, x + w, y, y + h), interpolation="antialiased")
        axes.set_axis_off()
        for where in (figure.axes[0], axes) if number else ():
            _draw_number(where, x, y, w, number)
    count = f"{len(shown):,} of {len(layout):,} images" if len(shown) < len(layout) else f"{len(layout):,} images"
    line = f"{count}, each moved by at most half its size" + ("; the numbered frames are enlarged" if counts else "")
    figure.text(0.5, 0.055 / total[1], line, ha="center", fontsize=7, color=GREY)
    figure.alt = f"A map on which {count} stand as small pictures, side by side without overlap."
    if counts:
        figure.alt += (
            f" Crowded places that lie far from each other, {len(counts)} numbered frames on the map, are enlarged "
            f"to its right and below it; they show {', '.join(counts)} images."
        )
    if labels is not None:
        same = _same_class(layout, np.asarray(labels))
        figure.alt += f" For {same:.0%} of the images the nearest one on the map is of the same class."
    return figure


def _mosaic(
    images: Any, shown: np.ndarray, centres: np.ndarray, corner: Any, size: float, grid: tuple[int, int], dots: int
) -> np.ndarray:
    """Lay images into a grid of cells of a map, each `dots` wide in the result; `corner` is its lower left corner."""
    columns, rows = grid
    canvas = np.full((rows * dots, columns * dots, 3), 255, np.uint8)
    for item, cell in zip(shown, (centres - corner) / size, strict=True):
        column, row = np.round(cell - 0.5).astype(int)
        top, left = (rows - 1 - row) * dots, column * dots
        canvas[top : top + dots - 1, left : left + dots - 1] = fit_square(read_image(images, item), dots - 1)
    return canvas


def _limit_bytes(canvases: list[np.ndarray], size: int = 1_100_000) -> list[np.ndarray]:
    """Take shades from pictures until their PNG files have at most `size` bytes together, or none can be spared."""
    for bits in (6, 5, 4, 3):  # size matters more than shades in pictures as small as these
        lean = [reduce_shades(canvas, bits) for canvas in canvases]
        png = io.BytesIO()
        for canvas in lean:
            Image.fromarray(canvas).save(png, format="png")
        if png.tell() < size:
            break
    return lean


def _draw_number(axes: Any, x: float, y: float, side: float, number: int) -> None:
    """Frame a square of a map and put a white number on a black disc at its upper left corner, outside but in view."""
    frame = Rectangle((x, y), side, side, fill=False, linewidth=1, clip_on=False)
    frame.set_path_effects([withStroke(linewidth=2.2, foreground="white")])
    axes.add_patch(frame)
    left, right, _, top = axes.images[0].get_extent()
    inch = (right - left) / (axes.get_position().width * axes.figure.get_figwidth())
    spot = max(x - 0.06 * inch, left + 0.03 * inch), min(y + side + 0.06 * inch, top - 0.03 * inch)
    disc = {"boxstyle": "circle,pad=0.2", "facecolor": "black", "edgecolor": "white", "linewidth": 0.7}
    axes.text(*spot, number, fontsize=6.5, weight="bold", color="white", ha="center", va="center", zorder=5, bbox=disc)


def _same_class(layout: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of points whose nearest one on the map is of the same class."""
    from scipy.spatial import cKDTree

    nearest = cKDTree(layout).query(layout, k=2)[1]
    nearest = np.where(nearest[:, 0] == np.arange(len(layout)), nearest[:, 1], nearest[:, 0])
    return float((labels[nearest] == labels).mean())


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
