"""The gradients of the losses: figure 2 of the paper, and the force on a negative in the plane."""

from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.patches import Circle, FancyArrowPatch

from .. import geometry
from ..checks import one_of, real_number
from .style import OKABE_ITO, Figure, styled

_LOSS_NAMES = {"sst": "SST loss", "triplet": "triplet loss"}


@styled
def gradients(loss: str = "sst", margin: float = 1.0) -> Figure:
    r"""Draw the negative gradients of a loss for scalar embeddings in three ternary panels.

    The panels show :math:`-\partial\ell/\partial\varphi` of the anchor, the positive and the negative over
    u = phi_a - phi_p, v = phi_p - phi_n and w = phi_n - phi_a, which add up to 0; each runs from -2 to 4. Figure 2 of
    Nguyen and De Baets (2020).

    Parameters
    ----------
    loss : {"sst", "triplet"}
    margin : float
        Margin of the triplet loss; the SST loss has none.

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
    for column, (role, force) in enumerate(zip(("anchor", "positive", "negative"), values.panels, strict=True)):
        axes = figure.add_axes((0.048 + 0.298 * column, 0.185, 0.235, 0.60), projection="ternary")
        look = {"shading": "gouraud", "norm": Normalize(-4, 4, clip=True), "rasterized": True}
        mesh = axes.tripcolor(values.r, values.l, values.b, force, triangles=triangles, **look)
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


@styled
def field(loss: str = "sst", margin: float = 1.0) -> Figure:
    r"""Draw how a loss pushes a negative in the plane, for an anchor and a positive that stay where they are.

    Arrows show the negative gradient with respect to the negative at many places; the shade is the loss. The dashed
    circle is where the SST loss is log 2 (z = 0): around the midpoint of anchor and positive, of radius
    :math:`\frac{\sqrt 3}{2}|a-p|`; for the triplet loss it is where the loss begins, :math:`|n-a|^2 = |a-p|^2 + m`.

    Parameters
    ----------
    loss : {"sst", "triplet"}
    margin : float
        Margin of the triplet loss, at least 0; the SST loss has none.
    """
    one_of("loss", loss, list(_LOSS_NAMES))
    if real_number("margin", margin) < 0:  # below, no negative is pushed, and the circle has no radius
        raise ValueError(f"margin must be at least 0, got {margin}")
    a, p = np.array([-0.6, 0.0]), np.array([0.6, 0.0])
    reach = 2.4

    def at(steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ticks = np.linspace(-reach, reach, steps)
        n = np.stack(np.meshgrid(ticks, ticks), axis=-1)
        points = np.broadcast_to(a, n.shape), np.broadcast_to(p, n.shape), n
        value, slopes = geometry.sst(*points) if loss == "sst" else geometry.triplet(*points, margin=margin)
        return n, value, -slopes[2]

    figure = Figure(figsize=(3.6, 3.15))
    axes = figure.add_axes((0.09, 0.1, 0.74, 0.82))
    grey = {"cmap": "Greys", "vmin": 0, "alpha": 0.7, "origin": "lower"}
    shade = axes.imshow(at(201)[1], extent=(-reach, reach, -reach, reach), **grey)
    n, _, force = at(17)
    # The longest arrow spans a step and a half.
    scale = np.linalg.norm(force, axis=-1).max() / (3 * reach / 16) * 2 * reach
    arrows = {"color": OKABE_ITO["vermilion"], "scale": scale, "width": 0.0055, "zorder": 3}
    axes.quiver(*n.reshape(-1, 2).T, *force.reshape(-1, 2).T, **arrows)
    if loss == "sst":
        centre, radius = geometry.sphere(a, p)
    else:
        centre, radius = a, np.sqrt(np.linalg.norm(a - p) ** 2 + margin)
    axes.add_patch(Circle(centre, radius, fill=False, linestyle="--", linewidth=1, zorder=4))
    axes.plot(*centre, "+", color="black", markersize=6, zorder=5)
    box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    for point, name, side, shift in ((a, "$a$", "right", -5), (p, "$p$", "left", 5)):
        axes.plot(*point, "o", color=OKABE_ITO["blue"], markersize=6, markeredgecolor="white", zorder=6)
        look = {"ha": side, "fontsize": 10, "zorder": 7, "bbox": box}
        axes.annotate(name, point, (shift, 4), textcoords="offset points", **look)
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


def draw_arrow(
    axes: Any, start: Any, end: Any, colour: str, width: float = 1.4, head: float = 8, **kwargs: Any
) -> None:
    """Draw an arrow from `start` to `end`, in data coordinates; `width` and `head` are in points."""
    look = {"arrowstyle": "-|>", "mutation_scale": head, "color": colour, "linewidth": width}
    axes.add_patch(FancyArrowPatch(start, end, **look, shrinkA=0, shrinkB=0, **kwargs))
