"""The method at a glance: figure 1 of the paper."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Circle, Polygon, Rectangle

from .. import geometry
from ..checks import item_numbers
from .gradients import draw_arrow
from .images import blank_sheet, read, show_image
from .inputs import to_labels, to_points
from .style import OKABE_ITO, Figure, styled

PULL, PUSH, INK = OKABE_ITO["blue"], OKABE_ITO["vermilion"], "#303030"
MIDDLE = 0.92  # the height at which all parts stand, in inches from the top


@styled
def idea(
    layout: Any,
    images: Any,
    labels: Sequence[int],
    batch: Sequence[int],
    *,
    seed: int = 0,
) -> Figure:
    """Draw the method in three parts: a neighborhood becomes a mini-batch, the embeddings pull and push, the objective.

    The map, the neighborhood and the images are real; the two panels of embeddings are a small example in the plane,
    whose arrows are the negative gradients of the SST loss and whose end is reached by following them. After figure 1
    of Nguyen and De Baets (2020).

    Parameters
    ----------
    layout : (N, 2) array
        A map of the data, for example from :func:`tsne_layout`.
    images, labels
        As for :func:`gallery`.
    batch : sequence of int
        Numbers of the items of one neighborhood.
    seed : int
        Seed for the choice of the images that represent it.

    Raises
    ------
    ValueError
        If the neighborhood does not hold two items of one class and two others.
    """
    layout = to_points(layout)
    labels = to_labels(labels, len(layout))
    batch = item_numbers(batch, len(layout), "batch").numpy(force=True)
    classes, counts = np.unique(labels[batch], return_counts=True)
    if not len(batch) or counts.max() < 2 or len(batch) - counts.max() < 2:
        raise ValueError(
            f"the idea is drawn with two images of one class and two of others, got class sizes {counts.tolist()[:9]}"
        )
    rng = np.random.default_rng(seed)
    ours = classes[counts.argmax()]
    own = rng.permutation(batch[labels[batch] == ours])
    others = rng.permutation(batch[labels[batch] != ours])
    # Of as many different classes as there are: the first of each class, then the second of each, and so on.
    turn = np.array([(labels[others[:i]] == labels[item]).sum() for i, item in enumerate(others)])
    others = others[np.argsort(turn, kind="stable")]

    height = 2.02
    figure, axes = blank_sheet(7.2, height)
    centre, radius = _draw_map(axes, layout, batch, labels[batch] == ours)
    shown = [own[0], others[0], others[1], others[2 % len(others)], own[1], others[3 % len(others)]]
    shown += [others[(4 + i) % len(others)] for i in range(5)] + [own[2 % len(own)]]
    pictures = {i: read(figure, images, i) for i in shown}
    _draw_batch(axes, [(pictures[i], PULL if labels[i] == ours else PUSH) for i in shown], centre, radius)
    draw_arrow(axes, (3.19, MIDDLE), (3.4, MIDDLE), INK)
    _draw_network(axes, 3.45)
    draw_arrow(axes, (4.36, MIDDLE), (4.57, MIDDLE), INK)
    before = np.array([[-0.62, 0.10], [0.60, -0.16], [-0.20, -0.56], [0.24, 0.50]])  # anchor, positive, two negatives
    forces, after = _descend(before)
    four = [pictures[i] for i in (own[0], own[1], others[0], others[1])]
    _draw_embeddings(axes, 5.26, before, four, forces)
    draw_arrow(axes, (5.93, MIDDLE), (6.14, MIDDLE), INK)
    _draw_embeddings(axes, 6.58, after, four)
    for x, text in ((1.55, "(a) a neighborhood becomes the mini-batch"), (5.26, "(b) pull and push")):
        axes.text(x, height - 0.1, text, ha="center", fontsize=8, color=INK)
    axes.text(6.58, height - 0.1, "(c) objective satisfied", ha="center", fontsize=8, color=INK)
    figure.alt = (
        f"Three parts from left to right. (a) A map of {len(layout):,} images as grey dots; one neighborhood of "
        f"{len(batch)} is circled, and {len(pictures)} of its images are shown as the mini-batch, those of one class "
        "framed blue, those of others orange. An arrow leads through a convolutional network to (b): two images of one "
        "class are pulled towards each other by blue arrows; two images of other classes, inside a dashed circle "
        "around them, are pushed away from its centre by orange arrows. (c) The two images of one class are close "
        "together in a small circle, and the others are outside of it."
    )
    return figure


def _draw_map(axes: Any, layout: np.ndarray, batch: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, float]:
    """Draw the map with the neighborhood on it, `own` in blue; return the centre and the radius of its circle."""
    low, high = np.quantile(layout, [0.002, 0.998], axis=0)
    scale = 1.72 / ((high - low).max() or 1)
    spots = np.clip((layout - (low + high) / 2) * scale, -0.88, 0.88) * [1, -1] + [0.95, MIDDLE]
    dot = float(np.clip(4000 / len(layout), 0.6, 6))
    rest = np.delete(spots, batch, axis=0)
    for points, size, colour in (
        (rest, dot, "#C4C4C4"),
        (spots[np.sort(batch[~own])], 4 * dot, PUSH),
        (spots[np.sort(batch[own])], 4 * dot, PULL),
    ):
        axes.scatter(*points.T, s=size, color=colour, linewidths=0, rasterized=True)
    centre = np.median(spots[batch], axis=0)
    radius = float(np.clip(np.quantile(np.linalg.norm(spots[batch] - centre, axis=1), 0.9) + 0.05, 0.12, 0.4))
    axes.add_patch(Circle(centre, radius, fill=False, linewidth=1.1, edgecolor=INK))
    return centre, radius


def _draw_batch(axes: Any, pictures: list[tuple[np.ndarray, str]], centre: np.ndarray, radius: float) -> None:
    """Draw images in framed rows of three, and two lines to them from the circle on the map."""
    side, step, across = 0.27, 0.325, 3
    left, top = 2.12, MIDDLE - 2 * step + 0.0275
    bottom = top + len(pictures) // across * step - 0.055
    for corner, sign in ((top - 0.06, -1), (bottom + 0.06, 1)):
        touch = centre + radius * np.array([np.cos(0.9), sign * np.sin(0.9)])
        axes.plot([touch[0], left - 0.09], [touch[1], corner], color=INK, linewidth=0.7)
    box = across * step + 0.125, bottom - top + 0.18
    axes.add_patch(Rectangle((left - 0.09, top - 0.09), *box, fill=False, edgecolor=INK, linewidth=0.8))
    for number, (picture, colour) in enumerate(pictures):
        x, y = left + number % across * step, top + number // across * step
        show_image(axes, picture, x, y, side, colour, 1.2)


def _draw_network(axes: Any, x: float) -> None:
    """Draw the feature maps of a convolutional network as boxes seen from the upper right, from x on."""
    for width, height in ((0.05, 0.84), (0.08, 0.60), (0.11, 0.40), (0.15, 0.24)):
        y = MIDDLE + 0.06 * height
        front = np.array([(x, y - height / 2), (x + width, y - height / 2), (x + width, y + height / 2)])
        front = np.vstack([front, (x, y + height / 2)])
        shift = np.array([0.26, -0.1612]) * height
        top, side = [*front[:2], *(front[1::-1] + shift)], [*front[1:3], *(front[2:0:-1] + shift)]
        for corners, shade in ((front, "#DCE9F2"), (top, "#EEF5FA"), (side, "#B9D2E4")):
            axes.add_patch(Polygon(corners, facecolor=shade, edgecolor="#44667F", linewidth=0.7, joinstyle="round"))
        x += width + 0.16 * height + 0.03
    axes.text(3.84, MIDDLE - 0.62, r"CNN  $\varphi$", ha="center", fontsize=9, color=INK)


def _draw_embeddings(
    axes: Any, x: float, points: np.ndarray, pictures: list[np.ndarray], forces: np.ndarray | None = None
) -> None:
    """Draw anchor, positive and two negatives around x, the sphere z = 0, and arrows along the forces, if given."""
    side, unit = 0.2, 0.6
    spots = points * [unit, -unit] + [x, MIDDLE]
    sphere = Circle(*geometry.sphere(spots[0], spots[1]), facecolor="#F4F4F4", edgecolor="#808080", zorder=-1)
    sphere.set(linestyle=(0, (4, 2)), linewidth=0.8)
    axes.add_patch(sphere)
    for index, (picture, spot) in enumerate(zip(pictures, spots, strict=True)):
        colour = PULL if index < 2 else PUSH
        show_image(axes, picture, *(spot - side / 2), side, colour, 1.4)
        if forces is not None:
            direction = forces[index] * [1, -1] / np.linalg.norm(forces[index])
            start, length = spot + 0.155 * direction, 0.17 if index < 2 else 0.25
            draw_arrow(axes, start, start + length * direction, colour, 1.8, 8, zorder=4)
        label = spot[0] + (-0.19 if index == 0 else 0.19), spot[1]
        axes.text(*label, f"${'apnn'[index]}$", ha="center", va="center", fontsize=9, color=INK)


def _descend(points: np.ndarray, rate: float = 0.05, steps: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Follow the negative gradient of the SST loss of (anchor, positive, negatives...) in the plane.

    Returns the forces at the start and the points at the end.
    """
    points, first = points.copy(), None
    for _ in range(steps):
        forces = np.zeros_like(points)
        for negative in range(2, len(points)):
            _, slopes = geometry.sst(points[0], points[1], points[negative])
            forces[[0, 1, negative]] -= slopes
        first = forces if first is None else first
        points += rate * forces
    return first, points
