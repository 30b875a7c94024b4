"""Numbers: distances, training by epoch, functions, and comparisons over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from .style import COLOURS, GREY, LINES, MARKERS, OKABE_ITO, Figure, look, styled


@styled
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


@styled
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
            looks = {"color": COLOURS[number % 8], "linestyle": LINES[number % 4], "marker": MARKERS[number % 8]}
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


@styled
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
        looks = {"color": COLOURS[number % 8], "linestyle": LINES[number % 4], "marker": MARKERS[number % 8]}
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


@styled
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
        looks = look(number)
        axes.errorbar(mean, y, xerr=half or None, capsize=2.5, markersize=6, linestyle="none", **looks)
        if len(values) > 1:
            axes.plot(values, np.full(len(values), y + 0.33), ".", color=looks["color"], markersize=3.5, alpha=0.7)
        end = max(mean + half, values.max()), y
        axes.annotate(f"{mean:.3f}", end, (6, 0), textcoords="offset points", va="center", fontsize=7, color=GREY)
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
        handles = [Line2D([], [], linestyle="none", markersize=6, **look(number)) for number in range(len(series))]
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


@styled
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
        looks = {**look(number), "linestyle": LINES[number % len(LINES)], "markersize": 3.2}
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
            Line2D([], [], linestyle=LINES[number % len(LINES)], markersize=4, **look(number))
            for number in range(len(series))
        ]
        figure.legend(handles, series, loc="outside upper center", ncols=min(len(series), 2 * len(groups)))
    figure.alt = f"Recall@1 of held-out classes against epochs and {clock}, means over runs. {'; '.join(told)}."
    return figure
