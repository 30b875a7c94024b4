"""Maps of an embedding: t-SNE, and classes or neighborhoods drawn on it."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.patheffects import withStroke
from torch import Tensor

from ..checks import finite_matrix, item_numbers, one_of, real_number, seed_number, whole_number
from .images import shorten
from .inputs import check_names, to_labels, to_points, words
from .style import PALE, Figure, look, styled

TSNE = {"barnes-hut": ("bh", "Barnes-Hut"), "fft": ("fft", "FFT-accelerated")}
_MANY = 10_000  # points above which t-SNE takes all cores


def tsne_method(method: str) -> tuple[str, str]:
    """Return openTSNE's name of a method, "barnes-hut" or "fft", and its name in words; refuse others."""
    return TSNE[one_of("the method of t-SNE", method, list(TSNE))]


def tsne_layout(
    embeddings: Any,
    *,
    method: str = "barnes-hut",
    perplexity: float = 30,
    seed: int = 0,
    iterations: int = 500,
    n_jobs: int | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Lay embeddings out in the plane by t-SNE (openTSNE).

    Neighbors in the plane are neighbors in the embedding; distances between far groups, and the sizes of groups, mean
    nothing. Embeddings of more than 50 dimensions are first projected onto their 50 principal components. From 1,000
    points on, neighbors are searched for by random trees, which miss a few.

    Parameters
    ----------
    embeddings : (N, d) array or tensor
    method : {"barnes-hut", "fft"}
        How the repulsion of all points is summed: over a tree of cells, in time N log N, or by interpolation on a
        grid, in time N: slower for few points, several times faster for tens of thousands.
    perplexity : float
        About how many neighbors each point attends to; lowered to (N - 1) / 3 if it is more.
    seed : int
    iterations : int
        After the 250 of early exaggeration.
    n_jobs : int, optional
        Threads. By default 1 up to 10,000 points, and beyond as many as there are cores. With 1 the layout is the same
        on every run with the same library versions; with more it may vary, as neighbors are searched for and sums are
        taken in another order: give 1 to repeat a large map exactly.
    progress : bool
        Show a progress bar with the time left.

    Returns
    -------
    (N, 2) float32 array

    Raises
    ------
    ValueError
        If there are fewer than 5 points, one is not finite, all are the same, or the method is unknown.

    References
    ----------
    L. van der Maaten, "Accelerating t-SNE using tree-based algorithms", JMLR 15, 2014.

    G. C. Linderman, M. Rachh, J. G. Hoskins, S. Steinerberger and Y. Kluger, "Fast interpolation-based t-SNE for
    improved visualization of single-cell RNA-seq data", Nature Methods 16, 2019.
    """
    gradient, words = tsne_method(method)
    x = finite_matrix(embeddings)
    if len(x) < 5:
        raise ValueError(f"t-SNE needs at least 5 embeddings, one for each image, got {len(x)}")
    x = _spread_out(x)
    # scikit-learn's seeds have 32 bits; those of a clock have more.
    seed = seed_number(seed) % 2**32
    perplexity = real_number("perplexity", perplexity, 1)
    whole_number("iterations", iterations, 0)
    n_jobs is None or whole_number("n_jobs", n_jobs)
    from openTSNE import TSNE
    from tqdm.auto import tqdm

    if n_jobs is None:
        cores = getattr(os, "process_cpu_count", os.cpu_count)() or 1  # the former from Python 3.13
        n_jobs = 1 if len(x) <= _MANY else cores
    if x.shape[1] > 50:
        from sklearn.decomposition import PCA

        x = PCA(min(50, len(x)), random_state=seed).fit_transform(x)
    elif x.shape[1] == 1:  # a map begins from two principal components
        x = np.pad(x, ((0, 0), (0, 1)))
    order: Any = slice(None)
    if len(x) > _MANY:  # points that lie close follow each other, so that the tree's cells are found in the cache
        from scipy.spatial import cKDTree

        order = cKDTree(x).indices
    early, step = 250, 10
    with tqdm(total=early + iterations, desc=f"{words} t-SNE", leave=False, disable=not progress) as bar:

        def advance(*_: Any) -> None:
            bar.update(step)

        advance.optimization_about_to_start = bar.unpause  # the search for neighbors says nothing about the time left
        ordered = TSNE(
            perplexity=min(perplexity, (len(x) - 1) / 3),
            early_exaggeration_iter=early,
            n_iter=iterations,
            negative_gradient_method=gradient,
            initialization="pca",
            random_state=seed,
            n_jobs=n_jobs,
            callbacks=advance if progress else None,
            callbacks_every_iters=step,
        ).fit(x[order])
    layout = np.empty((len(x), 2), dtype=np.float32)
    layout[order] = ordered
    return layout


def _spread_out(x: Tensor) -> np.ndarray:
    """Convert embeddings to float32, scaled where its range or precision would not do.

    Raises
    ------
    ValueError
        If all are the same within rounding: a map of them would divide by zero.
    """
    spread, size = float((x.amax(dim=0) - x.amin(dim=0)).max()), float(x.abs().max())
    if spread <= 8 * torch.finfo(x.dtype).eps * size:
        raise ValueError(
            f"the embedding has collapsed: all {len(x)} embeddings are the same within rounding; "
            "train another network, for example with a lower learning rate"
        )
    if not 1e-6 < spread < 1e6 or spread < 1e-3 * size:
        x = (x - x.mean(dim=0)) / spread
    return x.float().numpy(force=True)


@styled
def scatter(points: Any, labels: Sequence[int], *, names: Sequence[str] | None = None, title: str = "") -> Figure:
    """Draw points of the plane, a colour and a marker for each class.

    Parameters
    ----------
    points : (N, 2) array
    labels : sequence of N int
    names : sequence of str, optional
        Names of the classes, for a legend (up to 16 classes).
    title : str
    """
    points = to_points(points)
    labels = to_labels(labels, len(points))
    names = check_names(names, labels)
    present = np.unique(labels)
    legend = names is not None and len(present) <= 16
    figure = Figure(figsize=(4.6 if legend else 3.6, 3.6))
    axes = figure.add_axes((0.03, 0.03, 0.72 if legend else 0.94, 0.87 if title else 0.94))
    size = float(np.clip(6000 / len(points), 5, 36))
    for number, label in enumerate(present):
        looks = {"s": size, "linewidths": 0.25, "edgecolors": "#303030", **look(number)}
        axes.scatter(*points[labels == label].T, **looks)
    axes.set_rasterization_zorder(None if len(points) < 2000 else 2)  # many marks would make a heavy SVG
    axes.set(aspect="equal", adjustable="datalim", title=words(figure, [title], formulas=True)[title])
    axes.set_axis_off()
    if legend:
        drawn = words(figure, (shorten(names[label], 0.8) for label in present))
        where = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "handletextpad": 0.2}
        known = axes.legend(axes.collections, [drawn[shorten(names[label], 0.8)] for label in present], **where)
        for handle in known.legend_handles:
            handle.set_sizes([30])
    kinds = (
        f"{len(present)} classes in the plane, a colour and a marker for each class"
        if len(present) > 1
        else "one class"
    )
    figure.alt = f"{len(points):,} points of {kinds}{f', {title}' if title else ''}."
    if 1 < len(present) <= 8:
        told = []
        for label in present:
            own = points[labels == label]
            (x, y), spread = own.mean(axis=0) + 0.0, own.std(axis=0).mean()
            told.append(
                f"{names[label] if names is not None else label} around ({x:.3g}, {y:.3g}), spread {spread:.2g}"
            )
        figure.alt += f" Centres and standard deviations: {'; '.join(told)}."
    return figure


@styled
def neighborhoods(
    layout: Any, batches: Sequence[Any], labels: Sequence[int] | None = None, *, highlight: int | None = None
) -> Figure:
    """Draw the mini-batches of local sampling on a map of the data: each neighborhood has its own colour and marker.

    Parameters
    ----------
    layout : (N, 2) array
    batches : sequence of int sequences
        The item numbers of each batch, as ``LocalSampler.batches``. Items in none are drawn grey.
    labels : sequence of N int, optional
        Classes; the alternative text then says how many a neighborhood holds.
    highlight : int, optional
        Draw only this batch in colour.

    Raises
    ------
    ValueError
        If there is no batch, or a number is none of an item or a batch.
    """
    layout = to_points(layout)
    batches = [item_numbers(batch, len(layout), "batches").numpy(force=True) for batch in batches]
    if not batches or not all(map(len, batches)):
        raise ValueError("there is no neighborhood to draw: refresh the sampler first")
    if highlight is not None:
        whole_number("highlight", highlight, 0, len(batches) - 1)
    chosen = batches if highlight is None else [batches[highlight]]
    grey = np.setdiff1d(np.arange(len(layout)), np.concatenate(chosen))
    centres = np.array([np.median(layout[batch], axis=0) for batch in batches])
    wide, high = np.ptp(layout, axis=0)
    height = 4.4 * float(np.clip(high / wide if wide else 1, 0.4, 1.6))
    figure = Figure(figsize=(4.4, height + 0.3))
    axes = figure.add_axes((0.01, 0.01, 0.98, height / (height + 0.3) - 0.02))
    size = float(np.clip(12000 / len(layout), 2, 24))
    axes.scatter(*layout[grey].T, s=size * 0.7, color=PALE, linewidths=0, rasterized=True)
    colours: list[int] = []
    for number, batch in enumerate(batches):
        # The rarest colour that none of the nearest neighborhoods drawn so far has, with a marker new to it: 64 differ.
        near = np.argsort(((centres[:number] - centres[number]) ** 2).sum(axis=1))[:6]
        free = set(range(8)) - {colours[other] for other in near}
        colours.append(min(free, key=colours.count))
        if highlight is None or number == highlight:
            looks = look(colours[-1] + 8 * (colours.count(colours[-1]) - 1) if highlight is None else 0)
            axes.scatter(*layout[batch].T, s=size, linewidths=0, rasterized=True, **looks)
    if highlight is None and len(batches) <= 60:
        for number, (batch, centre) in enumerate(zip(batches, centres, strict=True)):
            outline = withStroke(linewidth=2, foreground="white")
            # on the item nearest to the centre, which itself may be empty or another neighborhood's
            place = layout[batch][((layout[batch] - centre) ** 2).sum(axis=1).argmin()]
            axes.text(*place, number, ha="center", va="center", fontsize=7, weight="bold", path_effects=[outline])
    axes.set(aspect="equal", adjustable="datalim")
    axes.set_axis_off()
    sizes = [len(batch) for batch in batches]
    if highlight is None:
        text = f"{len(batches)} neighborhoods; {len(grey):,} of {len(layout):,} items in none (grey)"
    else:
        text = f"neighborhood {highlight}: {sizes[highlight]} of {len(layout):,} items"
    axes.set_title(text)
    figure.alt = f"A map of {len(layout):,} points: {text}. The neighborhoods hold {min(sizes)} to {max(sizes)} items"
    if labels is not None:
        labels = to_labels(labels, len(layout))
        classes = [len(np.unique(labels[batch])) for batch in batches]
        figure.alt += f" of {min(classes)} to {max(classes)} classes; all data have {len(np.unique(labels))}"
    figure.alt += "."
    return figure
