"""Numbers: distances, training by epoch, functions of one number, and comparisons over seeds."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from ..checks import finite_matrix, seed_number
from .inputs import to_labels, to_numbers, words
from .style import GREY, OKABE_ITO, Figure, line_look, look, styled

GRID = {"color": "#E4E4E4", "linewidth": 0.6}


@styled
def distances(embeddings: Any, labels: Sequence[int], *, title: str = "", sample: int = 1500, seed: int = 0) -> Figure:
    """Draw two histograms of Euclidean distance: of pairs of one class, and of pairs of different classes.

    Parameters
    ----------
    embeddings : (N, d) array or tensor
    labels : sequence of N int
    title : str
    sample : int
        Number of items above which some classes are left out; all pairs of the rest are compared.
    seed : int
        Seed for the choice of those classes.

    Raises
    ------
    ValueError
        If there is no pair of one class or no pair of different classes among the items.
    """
    from scipy.spatial.distance import pdist

    flat = embeddings.reshape(len(embeddings), -1) if getattr(embeddings, "ndim", 2) > 2 else embeddings  # of images
    x = finite_matrix(flat).double().numpy(force=True)
    labels = to_labels(labels, len(x))
    if len(x) > sample:
        # Whole classes, so that pairs of one class stay common enough to count.
        classes = np.random.default_rng(seed_number(seed)).permutation(np.unique(labels))
        keep = np.cumsum([(labels == label).sum() for label in classes]) <= sample
        chosen = np.isin(labels, classes[: max(2, keep.sum())])
        x, labels = x[chosen], labels[chosen]
    i, j = np.triu_indices(len(x), 1)
    between, same = pdist(x), labels[i] == labels[j]
    if same.all() or not same.any():
        raise ValueError(f"need pairs of one class and of different classes, got labels {np.unique(labels)[:5]} only")
    bins = np.linspace(0, between.max() or 1, 61)  # of a collapsed embedding all are zero
    figure = Figure(figsize=(3.6, 2.3))
    axes = figure.add_axes((0.04, 0.18, 0.92, 0.68 if title else 0.76))
    for chosen, colour, line, name in (
        (same, OKABE_ITO["blue"], "-", "same class"),
        (~same, OKABE_ITO["vermilion"], "--", "different classes"),
    ):
        heights, _ = np.histogram(between[chosen], bins, density=True)
        axes.stairs(heights, bins, fill=True, color=colour, alpha=0.25)
        axes.stairs(heights, bins, color=colour, linestyle=line, linewidth=1.3, label=name)
    axes.set(xlabel="Euclidean distance", yticks=[], xlim=(0, bins[-1]))
    axes.set_title(words(figure, [title], formulas=True)[title])
    axes.set_ylim(0, axes.get_ylim()[1] * 1.18)
    axes.spines["left"].set_visible(False)
    axes.legend(loc="upper center", ncols=2, borderaxespad=0)
    near, far = np.median(between[same]), np.median(between[~same])
    figure.alt = (
        f"Two histograms of the distances between {len(x):,} items. Pairs of one class have the median {near:.3g}, "
        f"pairs of different classes {far:.3g}; {(between[~same] < near).mean():.0%} of the latter are closer than "
        "the median pair of one class."
    )
    return figure


@styled
def history(runs: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Draw loss and Recall@1 by epoch.

    Parameters
    ----------
    runs : list of dict, or dict of name to list of dict
        One training history, or several by name; each entry has ``epoch`` and, where known, ``loss`` and ``recall@1``.

    Raises
    ------
    ValueError
        If a history is empty.
    """
    named = dict(runs) if isinstance(runs, Mapping) else {"": runs}
    if not named or not all(named.values()):
        raise ValueError("a training history must have at least one epoch, got none")
    rows = [row for run in named.values() for row in run]
    panels = {"loss": "mean loss of an epoch", "recall@1": "Recall@1"}
    panels = {key: label for key, label in panels.items() if any(row.get(key) is not None for row in rows)}
    if not panels:
        raise ValueError("a training history must have a loss or a recall@1, got neither")
    figure = Figure(figsize=(3.6 * len(panels), 2.5), layout="constrained")
    drawn = words(figure, named)
    seen = []
    for axes, (key, label) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for number, (name, run) in enumerate(named.items()):
            known = [(row["epoch"], row[key]) for row in run if row.get(key) is not None]
            if not known:
                continue
            every = max(1, len(known) // 10)
            axes.plot(
                *zip(*known, strict=True), markersize=3.5, markevery=every, label=drawn[name], **line_look(number)
            )
            seen.append(f"{f'{name}: ' if name != '' else ''}{key} from {known[0][1]:.3g} to {known[-1][1]:.3g}")
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(True, axis="y", **GRID)
        if key == "recall@1":
            axes.set_ylim(0, 1)
        elif min(line.get_ydata().min() for line in axes.lines) >= 0:
            axes.set_ylim(0)
    if len(named) > 1:
        axes.legend(handles=axes.lines)
    figure.alt = f"Curves over the epochs of training. {'; '.join(seen)}."
    return figure


@styled
def curves(
    x: Any, ys: Mapping[str, Any], *, x_label: str = "", y_label: str = "", title: str = "", log: str = ""
) -> Figure:
    """Draw functions of one number, each with its own colour, marker and line style.

    Parameters
    ----------
    x : (N,) array
    ys : dict of name to (N,) array
    x_label, y_label, title : str
        Formulas go between dollar signs, here and in names.
    log : {"", "x", "y", "xy"}
        Which axes are logarithmic; values that are not positive are left out on a logarithmic axis.

    Raises
    ------
    ValueError
        If there is no curve, one of them is not as long as `x`, or `log` is something else.
    """
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f"log must be '', 'x', 'y' or 'xy' (the logarithmic axes), got {log!r}")
    x, ys = to_numbers(x), {name: to_numbers(y) for name, y in ys.items()}
    if not ys or any(y.shape != x.shape or x.ndim != 1 for y in ys.values()):
        raise ValueError(f"need curves of the same shape as x, {x.shape}, got {[y.shape for y in ys.values()]}")
    figure = Figure(figsize=(4.4, 2.7), layout="constrained")
    axes = figure.subplots()
    drawn = words(figure, [*ys, x_label, y_label, title], formulas=True)
    seen = []
    for number, (name, y) in enumerate(ys.items()):
        shown = np.isfinite(y) & ((y > 0) | ("y" not in log)) & ((x > 0) | ("x" not in log))
        u, v = x[shown], y[shown]
        every = (0.02 + 0.03 * number, 0.2) if len(set(u)) > 1 else None  # shares of a length
        axes.plot(u, v, markersize=4, markevery=every, label=drawn[name], **line_look(number))
        if len(u):
            seen.append(f"{name}: {_course(u, v + 0.0)}")
    axes.set(xlabel=drawn[x_label], ylabel=drawn[y_label], title=drawn[title])
    axes.set(xscale="log" if "x" in log else "linear", yscale="log" if "y" in log else "linear")
    axes.grid(True, **GRID)
    if len(ys) > 1:
        axes.legend(handles=axes.lines)
    figure.alt = _speak(f"Curves of {y_label or 'y'} over {x_label or 'x'}. {'; '.join(seen)}.")
    return figure


def _course(x: np.ndarray, y: np.ndarray) -> str:
    """Say where a curve begins and ends, where it is highest and lowest in between, and where it jumps."""
    points = {0: "", len(y) - 1: ""}
    points |= {int(y.argmax()): "greatest "} if y.max() > max(y[0], y[-1]) else {}
    points |= {int(y.argmin()): "least "} if y.min() < min(y[0], y[-1]) else {}
    steps = np.abs(np.diff(y))
    jump = int(steps.argmax()) if len(steps) else 0
    if len(steps) > 9 and steps[jump] > 0.4 * np.ptp(y) > 0:
        points[jump + 1] = "at once "
    said = [f"{points[i]}{y[i]:.2g} at {x[i]:.2g}" for i in sorted(points)]
    return ", ".join(said if len(said) < 2 or points[0] or y.any() else [f"{y[0]:.2g} everywhere"])


def _speak(text: str) -> str:
    """Write formulas as they are spoken: without dollar signs and backslashes."""
    plain = text.replace("$", "").replace(r"\Vert", "‖").replace("{", "").replace("}", "")
    return re.sub(r"‖ *([^‖]*?) *‖", r"‖\1‖", re.sub(r"\\([A-Za-z]+) ?", r"\1 ", plain))


# ---------------------------------------------------------------------------------------------------------------------
# Settings of two names: series share a colour and a marker, groups stand apart
# ---------------------------------------------------------------------------------------------------------------------
def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the mean of at least one value and half the width of its confidence interval, by Student's t.

    `level` is the share of such intervals that contain the true mean. For a single value the half width is NaN.
    """
    from scipy.stats import t

    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    spread = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(t.ppf((1 + level) / 2, len(values) - 1) * spread)


@styled
def comparison(
    results: Mapping[tuple[str, str], Sequence[float]], *, measure: str = "Recall@1", level: float = 0.95
) -> Figure:
    """Compare settings over seeds: the mean as a large mark, its confidence interval as a bar, each run as a small dot.

    Parameters
    ----------
    results : dict of (series, group) to values
        For example ``{("SST", "local"): [0.92, 0.93], ...}``: groups are rows, series share a colour and a marker.
    measure : str
        Name of the measure, for the axis and the alternative text.
    level : float
        Confidence level of the :func:`interval` of the mean; there is none for a single run.

    Raises
    ------
    ValueError
        If there are no results or a setting has no value.
    """
    import seaborn as sns  # with pandas, half a second

    if not results or not all(len(values) for values in results.values()):
        raise ValueError("each setting to compare needs at least one value")
    series, groups = _series_and_groups(results)
    height = len(series) + 1  # of a group, in rows
    figure = Figure(figsize=(5.0, 0.75 + 0.2 * len(groups) * height), layout="constrained")
    axes = figure.subplots()
    row = {key: groups.index(key[1]) * height + series.index(key[0]) for key in results}
    x, y, hue = zip(*((value, row[key], key[0]) for key, values in results.items() for value in values), strict=True)

    def ends(values: Sequence[float]) -> tuple[float, float]:
        mean, half = interval(values, level)
        return mean - half, mean + half

    looks = [look(number) for number in range(len(series))]
    how = {"x": x, "hue": hue, "palette": [mark["color"] for mark in looks], "legend": False}
    how |= {"orient": "y", "native_scale": True, "ax": axes}
    mark = {"markers": [mark["marker"] for mark in looks], "markersize": 5, "linestyle": "none"}
    sns.pointplot(y=y, errorbar=ends, capsize=0.3, err_kws={"linewidth": 1.4}, **mark, **how)
    sns.stripplot(y=np.add(y, 0.36), size=3, alpha=0.7, jitter=False, **how)
    seen = []
    for (name, group), values in results.items():
        mean, half = interval(values, level)
        bar = np.nan_to_num(half)
        end = max(mean + bar, *values), row[name, group]
        axes.annotate(f"{mean:.3f}", end, (6, 0), textcoords="offset points", va="center", fontsize=7, color=GREY)
        seen.append(f"{name}, {group}: {mean:.3f}" + (f" ± {half:.3f}" if bar else ""))
    drawn = words(figure, groups)
    axes.set_yticks([i * height + (len(series) - 1) / 2 for i in range(len(groups))], [drawn[name] for name in groups])
    axes.tick_params(axis="y", length=0)
    axes.set(
        xlabel=words(figure, [measure], formulas=True)[measure], ylabel="", ylim=(len(groups) * height - 1.2, -0.8)
    )
    axes.margins(x=0.12)
    if min(x) < 0:  # differences: on which side of zero?
        axes.axvline(0, color=GREY, linewidth=0.8)
    axes.grid(True, axis="x", **GRID)
    axes.set_axisbelow(True)
    _legend(figure, series, len(series), linestyle="none")
    figure.alt = f"{measure} as the mean over runs with {level:.0%} confidence intervals. {'; '.join(seen)}."
    return figure


@styled
def progress(
    runs: Mapping[tuple[str, str], Sequence[Sequence[Mapping[str, float]]]],
    *,
    clocks: Mapping[str, str] = {"epoch": "epochs", "steps": "steps", "processor": "CPU seconds"},
) -> Figure:
    """Draw Recall@1 against epochs, steps and time: a row of panels for each clock, a column for each group.

    A line is the mean over the runs of a setting after each epoch, its band reaches from the lowest run to the highest.
    An epoch stands at the mean of its runs.

    Parameters
    ----------
    runs : dict of (series, group) to training histories
        For example ``{("SST", "local"): [history, history], ...}``: groups are columns, series share a colour, a
        marker and a line style. A history is a list of rows, one an epoch, with ``recall@1`` and the clocks.
    clocks : dict of str to str
        What a row holds of an epoch, and the label of its axis; all but "epoch" are added up.

    Raises
    ------
    ValueError
        If there are no runs, or a setting has none.
    """
    import seaborn as sns

    if not runs or not all(len(histories) and all(map(len, histories)) for histories in runs.values()):
        raise ValueError("each setting needs at least one run of at least one epoch")
    series, groups = _series_and_groups(runs)
    figure = Figure(figsize=(0.9 + 2.3 * len(groups), 0.6 + 2 * len(clocks)), layout="constrained")
    panels = figure.subplots(len(clocks), len(groups), sharey=True, sharex="row", squeeze=False)
    seen = []
    for (name, group), histories in runs.items():
        epochs = min(map(len, histories))  # a run may have ended before the others
        recall = np.array([[row["recall@1"] for row in history[:epochs]] for history in histories])
        mark = line_look(series.index(name)) | {"markersize": 4, "markeredgewidth": 0}
        mark["markevery"] = max(1, epochs // 10)
        # Many bands overlap: pale ones without an edge.
        band = {"errorbar": ("pi", 100), "err_kws": {"alpha": 0.12, "linewidth": 0}}
        for axes, clock in zip(panels[:, groups.index(group)], clocks, strict=True):
            spent = np.mean([[row[clock] for row in history[:epochs]] for history in histories], axis=0)
            x = spent if clock == "epoch" else spent.cumsum()
            sns.lineplot(x=np.tile(x, len(recall)), y=recall.ravel(), ax=axes, **band, **mark)
        mean = recall.mean(axis=0)
        seen.append(f"{name}, {group}: {mean[0]:.3f} to {mean[-1]:.3f} in {x[-1]:.0f} {clocks[clock]}")
    drawn = words(figure, [*groups, *clocks.values()])
    for axes, group in zip(panels[0], groups, strict=True):
        axes.set_title(drawn[group])
    for row, (clock, label) in zip(panels, clocks.items(), strict=True):
        for axes in row:
            axes.set(xlabel=drawn[label], xlim=(None if clock == "epoch" else 0, None))
            axes.grid(True, axis="y", **GRID)
            if clock == "epoch":
                axes.xaxis.get_major_locator().set_params(integer=True)
    figure.supylabel("Recall@1 of held-out classes", fontsize=8)
    _legend(figure, series, 2 * len(groups))
    spoken = ", ".join(clocks.values())
    figure.alt = f"Recall@1 of held-out classes against {spoken}, means over runs. {'; '.join(seen)}."
    return figure


def _series_and_groups(settings: Mapping[tuple[str, str], Any]) -> tuple[list[str], list[str]]:
    """Return the series and the groups of some settings, each once, in order."""
    series, groups = (list(dict.fromkeys(names)) for names in zip(*settings, strict=True))
    return series, groups


def _legend(figure: Figure, series: Sequence[str], columns: int, **kwargs: Any) -> None:
    """Put the names of several series above the panels of a figure, in fewer columns where they would not fit."""
    if len(series) > 1:
        handles = [Line2D([], [], **{**line_look(number), "markersize": 5, **kwargs}) for number in range(len(series))]
        names = list(words(figure, series).values())
        for count in range(min(len(series), columns), 0, -1):
            legend = figure.legend(handles, names, loc="outside upper center", ncols=count)
            if count == 1 or legend.get_window_extent().width <= figure.bbox.width:
                break
            legend.remove()
