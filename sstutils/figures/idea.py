"""The method at a glance: figure 1 of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Circle, Polygon, Rectangle

from .. import geometry
from .gradients import draw_arrow
from .images import blank_sheet, draw_frame, read_image, show_image
from .style import OKABE_ITO, Figure, styled


def _layer(axes: Any, x: float, y: float, width: float, height: float) -> None:
    """Draw a feature map as a box seen from the upper right, its front centred on (x, y) at the left edge."""
    depth = height * 0.26
    front = [(x, y - height / 2), (x + width, y - height / 2), (x + width, y + height / 2), (x, y + height / 2)]
    shift = np.array([depth, -depth * 0.62])
    top = [front[0], front[1], front[1] + shift, front[0] + shift]
    side = [front[1], front[2], front[2] + shift, front[1] + shift]
    for corners, shade in ((front, "#DCE9F2"), (top, "#EEF5FA"), (side, "#B9D2E4")):
        axes.add_patch(Polygon(corners, facecolor=shade, edgecolor="#44667F", linewidth=0.7, joinstyle="round"))


@styled
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
    figure, axes = blank_sheet(width, height)

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
        show_image(axes, read_image(images, item), x, y, side)
        draw_frame(axes, x, y, side, pull if labels[item] == ours else push, 1.2)
    caption(1.55, "a", "a neighborhood becomes the mini-batch")

    # The network.
    draw_arrow(axes, (3.19, axis), (3.4, axis), ink)
    x = 3.45
    for thick, tall in ((0.05, 0.84), (0.08, 0.60), (0.11, 0.40), (0.15, 0.24)):
        _layer(axes, x, axis + 0.06 * tall, thick, tall)
        x += thick + 0.16 * tall + 0.03
    axes.text(3.84, axis - 0.62, r"CNN  $\varphi$", ha="center", fontsize=9, color=ink)
    draw_arrow(axes, (4.36, axis), (4.57, axis), ink)

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
            show_image(axes, read_image(images, item), *corner, small)
            draw_frame(axes, *corner, small, colour, 1.4)
            direction = forces[index] * [1, -1] / np.linalg.norm(forces[index])
            if points is before:
                length = 0.17 if index < 2 else 0.25
                draw_arrow(
                    axes, spot + 0.155 * direction, spot + (0.155 + length) * direction, colour, 1.8, 8, zorder=4
                )
            beside = spot[0] + (-0.19 if index == 0 else 0.19)
            axes.text(beside, spot[1], f"${'apnn'[index]}$", ha="center", va="center", fontsize=9, color=ink)
    draw_arrow(axes, (5.93, axis), (6.14, axis), ink)
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
