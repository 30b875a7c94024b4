"""Training replay: the embedding of unseen images, moving as the network trains; one run, or two side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import traitlets

from ...figures import plots
from .. import recording
from .base import Drawn, draw_classes, one_of, script

__all__ = ["TrainingReplay"]

SPEEDS = (0.5, 1.0, 2.0, 4.0)


class TrainingReplay(Drawn):
    """Watch a network learn: play, pause, scrub; two runs side by side, their curves in step.

    Empty at first; :meth:`append` adds frames while a network trains, :meth:`from_recording` opens a recording.

    Attributes
    ----------
    frame : float
        What is shown: 0 is the first frame, halves lie between frames.
    playing : bool
    speed : float
        0.5, 1, 2 or 4; at 1, four frames a second.
    runs : list of str
        Names of the runs that are shown: one, or two.
    true_scale : bool
        Draw all frames in one scale, so that the embedding is seen to spread; by default each is scaled to one size.

    Examples
    --------
    >>> replay = TrainingReplay()  # doctest: +SKIP
    >>> display(replay)  # doctest: +SKIP
    >>> for frame in recording.record(train, recipe, watch):  # doctest: +SKIP
    ...     replay.append(frame)
    """

    _esm = script("replay")
    frame = traitlets.Float(0.0).tag(sync=True)
    playing = traitlets.Bool(False).tag(sync=True)
    speed = traitlets.Float(1.0).tag(sync=True)
    runs = traitlets.List(traitlets.Unicode(), maxlen=2).tag(sync=True)
    true_scale = traitlets.Bool(False).tag(sync=True)
    live = traitlets.Bool(False, help="frames are being appended: the page shows the newest").tag(sync=True)
    curves = traitlets.List(traitlets.Dict(), help="of each run: name, epochs, lists of values").tag(sync=True)
    points = traitlets.Bytes(b"", help="int16, (frames of all runs, N, 2)").tag(sync=True)
    scale = traitlets.Float(1.0).tag(sync=True)
    labels = traitlets.List(traitlets.Int()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    sprite = traitlets.Bytes(b"", help="WebP, 16 pictures of 32 pixels in a row").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**{"title": "Training replay", **traits})

    @classmethod
    def from_recording(
        cls, path: str | PathLike = recording.FOLDER / "replay.npz", runs: Sequence[str] | None = None, **traits: Any
    ) -> TrainingReplay:
        """Open a recording; `traits` may hold ``frame``, ``title`` and so on.

        `runs` are one or two, by name or by how a name begins ("SST" is the first of such); by default the first two.
        Raises FileNotFoundError if there is no such file, ValueError if it is not a recording of runs, or has no run of
        such a name.
        """
        content = recording.load(path, "replay")
        about, labels = content["about"], content.get("labels")
        try:
            curves, classes = about["runs"], about["classes"]
            whole = (
                all(len(run[name]) == len(run["epoch"]) > 0 for run in curves for name in _CURVES)
                and content["points"].shape == (sum(len(run["epoch"]) for run in curves), len(labels), 2)
                and 0 <= labels.min() <= labels.max() < len(classes)
                and np.isfinite(about["scale"])
            )
            sprite = content["sprite"].tobytes()
        except (AttributeError, KeyError, TypeError, ValueError):
            whole = False
        if not whole:
            raise ValueError(f"{path} is not a complete recording of runs; run `make recordings` to rebuild it")
        return cls(
            curves=curves,
            classes=classes,
            labels=labels,
            points=content["points"].astype("<i2").tobytes(),
            scale=about["scale"],
            sprite=sprite,
            runs=_full_names([run["name"] for run in curves], runs),
            **traits,
        )

    @traitlets.validate("frame")
    def _valid_frame(self, proposal: Any) -> float:
        if not np.isfinite(proposal["value"]):
            raise traitlets.TraitError(f"frame must be a finite number, got {proposal['value']}")
        last = max((len(run["epoch"]) for run in self.curves), default=1) - 1  # of the longest run
        return float(np.clip(proposal["value"], 0, last))

    @traitlets.validate("speed")
    def _valid_speed(self, proposal: Any) -> float:
        return one_of("speed", proposal["value"], SPEEDS)

    @traitlets.validate("runs")
    def _valid_runs(self, proposal: Any) -> list[str]:
        return (
            _full_names([run["name"] for run in self.curves], proposal["value"]) if self.curves else proposal["value"]
        )

    def append(self, frame: recording.Frame) -> None:
        """Add a frame of a run that goes on, or the first of another run; the page follows.

        Raises
        ------
        ValueError
            If the frame shows other images than those before it.
        """
        labels, classes = [int(label) for label in frame.watch.targets], list(frame.watch.classes)
        if self.curves and (labels, classes) != (self.labels, self.classes):
            raise ValueError(
                "the frame shows other images than the frames before it; use one TrainingReplay for each set of images"
            )
        curves = [dict(run) for run in self.curves]
        names = [run["name"] for run in curves]
        if frame.run not in names:
            curves.append(frame.head | {key: [] for key in _CURVES})
        run = curves[names.index(frame.run) if frame.run in names else -1]
        for key in _CURVES:
            run[key] = [*run[key], recording.round_digits(getattr(frame, key))]
        # One scale for all that may come, with room for outliers: 6.5 times the root mean square.
        scale = self.scale if self.curves else 2e-4
        fresh = np.clip(np.rint(np.asarray(frame.points) / scale), -32767, 32767).astype("<i2").tobytes()
        end = sum(len(other["epoch"]) for other in curves[: curves.index(run) + 1]) * len(fresh) - len(fresh)
        with self.hold_sync():
            if not self.curves:
                self.labels, self.classes, self.sprite = labels, classes, recording.sprite(frame.watch)
            self.live, self.scale, self.curves = True, scale, curves
            self.points = self.points[:end] + fresh + self.points[end:]
            if frame.run not in self.runs and len(self.runs) < 2:
                self.runs = [*self.runs, frame.run]

    def positions(self, run: str, frame: float) -> np.ndarray:
        """Return the (N, 2) points of a run at a frame, between frames on a straight line."""
        number = [other["name"] for other in self.curves].index(run)
        lengths = [len(other["epoch"]) for other in self.curves]
        count = len(self.labels)
        every = np.frombuffer(self.points, "<i2").reshape(-1, count, 2)
        every = recording.unpack(every[sum(lengths[:number]) :][: lengths[number]], self.scale)
        frame = min(max(frame, 0.0), len(every) - 1)
        low = int(frame)
        return every[low] + (every[min(low + 1, len(every) - 1)] - every[low]) * (frame - low)

    def _picture(self) -> plots.Figure:
        """Draw the first, the middle and the last frame of each run that is shown, and the curves."""
        runs = [run for name in self.runs for run in self.curves if run["name"] == name]
        figure = plots.Figure(figsize=(7.6, 0.5 + 1.8 * max(1, len(runs))), layout="constrained")
        if not runs:
            figure.text(0.5, 0.5, "No frames yet.", ha="center", va="center")
            figure.alt = "An empty training replay: no frame has been recorded yet."
            return figure
        labels = np.asarray(self.labels)
        told = []
        grid = figure.subplots(len(runs), 4, squeeze=False, width_ratios=(1, 1, 1, 1.25))
        widest = max((size for run in runs for size in _extents(run)), default=1.0)
        for row, run in zip(grid, runs):
            last = len(run["epoch"]) - 1
            for axes, frame in zip(row, (0, last // 2, last)):
                points = self.positions(run["name"], frame)
                if self.true_scale:
                    points = points * _extents(run)[frame]
                    axes.set(xlim=(-3 * widest, 3 * widest), ylim=(-3 * widest, 3 * widest))
                draw_classes(axes, points, labels)
                axes.set_title(f"epoch {run['epoch'][frame]:.3g}: R@1 {run['recall'][frame]:.2f}")
            row[0].set_ylabel(run["name"])
            axes = row[3]
            axes.plot(run["epoch"], run["recall"], color=plots.OKABE_ITO["blue"], label="Recall@1")
            axes.set(ylim=(0, 1.02), xlim=(0, run["epochs"] * 1.02), xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            losses = axes.twinx()
            losses.plot(run["epoch"], np.array(run["loss"], dtype=float), "--", color=plots.OKABE_ITO["vermilion"])
            losses.spines.right.set_visible(True)
            losses.set_ylim(0)
            axes.set_title("Recall@1, loss (dashed)")
            told.append(
                f"{run['name']}: from Recall@1 {run['recall'][0]:.2f} to {run['recall'][-1]:.2f} "
                f"in {run['epoch'][-1]:.3g} epochs"
            )
        present = [self.classes[number] for number in np.unique(labels)]
        if len(present) <= 16:
            names, look = plots.words(figure, present), {"ncols": 16, "handletextpad": 0, "columnspacing": 1}
            drawn = [names[name] for name in present]
            figure.legend(grid[0][0].collections, drawn, loc="outside lower center", **look)
        figure.alt = (
            f"{len(labels)} images of {len(self.classes)} letters that are not trained on, in the plane of greatest "
            f"variance of their embedding, at the start, the middle and the end of training"
            f"{', all in one scale' if self.true_scale else ''}. {'; '.join(told)}."
        )
        return figure


_CURVES = ("epoch", "loss", "recall", "shown", "spread")


def _extents(run: Mapping[str, Any]) -> np.ndarray:
    """Return how far the points of each frame reach in its plane: the spread that is in view."""
    spread, shown = (np.nan_to_num(np.array(run[name], dtype=float)) for name in ("spread", "shown"))
    return spread * np.sqrt(shown)


def _full_names(names: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """Return full names of runs from beginnings of names."""
    if wanted is None:
        return list(names[:2])
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    if not 1 <= len(wanted) <= 2:
        raise ValueError(f"runs must be one or two names; got {len(wanted)}")
    found = []
    for word in wanted:
        like = [name for name in names if name == word] or [
            name for name in names if name.lower().startswith(str(word).lower())
        ]
        if not like:
            raise ValueError(f"no run is called {word!r}; the runs are {', '.join(map(repr, names))}")
        found.append(like[0])
    return found
