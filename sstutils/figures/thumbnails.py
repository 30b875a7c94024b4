"""Maps of images: which of the points have room for a thumbnail, and which places are worth enlarging."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from .images import fit_square, read, reduce_shades
from .inputs import to_labels, to_points
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

    Returns
    -------
    Figure
        The one image of its first axes holds all thumbnails of the map, the one of each further axes those of an
        enlarged place; all axes have the coordinates of the layout.
    """
    layout = to_points(layout)
    # Lengths are whole dots, 200 to the inch, so that nothing is blurred when saved at that resolution.
    rim, foot, gap = 8, 40, 20
    room = int(width * 200) - 2 * rim
    side = (room - 2 * gap) // 3  # of an enlarged place
    across = max(side // 62, 2)  # its cells: 62 dots are 0.3 inches and a line between pictures
    side -= side % across
    many = len(layout) > 5000 if enlarged is None else enlarged
    frames = windows(layout, cells=across) if many else np.empty((0, 3))
    corner, size, grid = _lay_grid(layout, cells, 32 if len(frames) else 48)
    dots = (2 * side + gap if len(frames) else room) // int(max(grid))
    figure = Figure()
    canvas, shown = _mosaic(figure, images, layout, np.arange(len(layout)), corner, size, grid, dots)
    high, wide = canvas.shape[:2]
    left = top = 0
    if len(frames):  # nine fields, of which the map takes four
        left, top = (2 * side + gap - wide) // 2, (2 * side + gap - high) // 2
        wide = high = 3 * side + 2 * gap
    canvases, places, boxes = [canvas], [(left, top)], [(*corner, *(grid * size))]
    counts = []
    for (x, y, extent), field in zip(frames, ((2, 0), (2, 1), (2, 2), (1, 2), (0, 2)), strict=False):  # clockwise
        inside = np.flatnonzero(((layout >= (x, y)) & (layout <= (x + extent, y + extent))).all(axis=1))
        square = np.array([x, y]), extent / across, np.array([across, across]), side // across
        canvas, part = _mosaic(figure, images, layout, inside, *square)
        canvases.append(canvas)
        places.append(np.multiply(field, side + gap))
        boxes.append((x, y, extent, extent))
        counts.append(f"{part} of {len(inside)}")

    total = np.array([wide + 2 * rim, high + rim + foot])
    figure.set_size_inches(total / 200)
    for number, (canvas, (left, top), (x, y, w, h)) in enumerate(
        zip(_limit_bytes(canvases), places, boxes, strict=True)
    ):
        rows, columns = canvas.shape[:2]
        low = rim + left, foot + high - top - rows
        axes = figure.add_axes((*(low / total), *((columns, rows) / total)))
        axes.imshow(canvas, extent=(x, x + w, y, y + h), interpolation="antialiased")
        axes.set_axis_off()
        for where in (figure.axes[0], axes) if number else ():
            _draw_number(where, x, y, w, number)
    count = f"{shown:,} of {len(layout):,} images" if shown < len(layout) else f"{len(layout):,} images"
    line = f"{count}, each moved by at most half its size" + ("; the numbered frames are enlarged" if counts else "")
    figure.text(0.5, 11 / total[1], line, ha="center", fontsize=7, color=GREY)
    figure.alt = f"A map on which {count} stand as small pictures, side by side without overlap."
    if counts:
        figure.alt += (
            f" Crowded places that lie far from each other, {len(counts)} numbered frames on the map, are enlarged "
            f"to its right and below it; they show {', '.join(counts)} images."
        )
    if labels is not None and len(layout) > 1:
        same = _same_class(layout, to_labels(labels, len(layout)))
        figure.alt += f" For {same:.0%} of the images the nearest one on the map is of the same class."
    return figure


def _mosaic(
    figure: Figure, images: Any, layout: np.ndarray, items: np.ndarray, corner: Any, size: float, grid: Any, dots: int
) -> tuple[np.ndarray, int]:
    """Show some items of a map in the cells of a grid, each `dots` wide; return the picture and how many are shown."""
    shown, cell = _in_cells(layout[items], corner, size, grid)
    columns, rows = grid.astype(int)
    canvas = np.full((rows * dots, columns * dots, 3), 255, np.uint8)
    for item, (column, row) in zip(items[shown], cell.astype(int), strict=True):
        top, left = (rows - 1 - row) * dots, column * dots
        canvas[top : top + dots - 1, left : left + dots - 1] = fit_square(read(figure, images, item), dots - 1)
    return canvas, len(shown)


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
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=1).fit(layout).kneighbors(return_distance=False)[:, 0]
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
    corner, size, grid = _lay_grid(layout, cells, most)
    shown, cell = _in_cells(to_points(layout), corner, size, grid)
    return shown, corner + (cell + 0.5) * size, size


def _lay_grid(layout: Any, cells: int | None, most: int) -> tuple[np.ndarray, float, np.ndarray]:
    """Return lower left corner, side of a cell, and columns and rows of the grid that :func:`snap` lays over a map."""
    layout = to_points(layout)
    low, high = layout.min(axis=0), layout.max(axis=0)
    for count in range(8, most + 1) if cells is None else [cells]:
        size = float((high - low).max()) / count or 1.0
        size *= 1 + 1e-9  # the outermost point belongs to the last cell, not to one beyond it
        grid = np.maximum(np.ceil((high - low) / size), 1)
        corner = (low + high - grid * size) / 2
        if len(_in_cells(layout, corner, size, grid)[0]) >= len(layout) / 2:
            break
    return corner, size, grid


def _in_cells(layout: np.ndarray, corner: Any, size: float, grid: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return which points are nearest to the centres of the cells of a grid, ascending, and their columns and rows."""
    cell = np.clip(np.floor((layout - corner) / size), 0, grid - 1)
    away = ((layout - corner - (cell + 0.5) * size) ** 2).sum(axis=1)
    order = np.lexsort((away, cell[:, 1], cell[:, 0]))  # by cell, the nearest to its centre first
    _, first = np.unique(cell[order], axis=0, return_index=True)
    shown = np.sort(order[first])
    return shown, cell[shown]


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

    _, middles, _ = snap(layout)
    layout = to_points(layout)
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
    filled = np.array([len(np.unique(row)) for row in cell])
    apart = np.where(filled >= np.median(filled), np.inf, 0)  # of each square from the nearest one chosen
    chosen = [int(filled.argmax())]
    while len(chosen) < count:
        last = chosen[-1]
        apart = np.minimum(apart, np.abs(middles - middles[last]).max(axis=1) - half - half[last])
        if apart.max() <= 0:
            break
        chosen.append(int(apart.argmax()))
    right, up = (middles[chosen] - (low + high) / 2).T
    squares = np.column_stack([middles[chosen] - half[chosen, None], 2 * half[chosen]])
    return squares[np.argsort((0.75 * np.pi - np.arctan2(up, right)) % (2 * np.pi))]
