"""The t-SNE honesty panel: what a map shows, beside what is true of the embedding.

A grid of maps is computed once (:func:`make_recording`); the page (``tsne.js``) shows one of them at a time, with the
numbers that :func:`measure` found on it, and puts them into words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import pdist, squareform
from scipy.special import rel_entr
from scipy.stats import spearmanr

from ... import checkpoints, datasets
from ...embedding import embed
from ...evaluation import r_precision, recall_at_k, top_k
from ...figures import plots
from .. import recording
from .base import Drawn, comparable, draw_classes, matrices, one_of, plain, script

__all__ = ["TsnePanel"]

LETTERS = "ÆǼKĶRŖɸфβMCÇEÈŚśuūYD"  # of the recording: eight pairs of near twins, four that stand alone
PERPLEXITIES, SEEDS, ANGLES, ITERATIONS = (2, 5, 30, 80), (0, 1, 2), (0.0, 0.5, 1.0), (20, 100, 250, 750)
EARLY = 250  # iterations of early exaggeration: attractions count 12 times as much
NEAR = 10  # neighbors of a point for which the map is asked
BITS = 10  # of a coordinate in a recording
MIDDLE = 2 ** (BITS - 1)  # stands for the coordinate 0
SIDE = 24  # of a picture on the sheet


# -- measures of a map --
def nearest(x: np.ndarray) -> np.ndarray:
    """Find the 10 nearest others of each row, (N, 10)."""
    return top_k(torch.as_tensor(x), NEAR)[1].numpy()


def overlap(near: np.ndarray, others: np.ndarray) -> float:
    """Compute the mean share of an item's neighbors that are in its other list of neighbors; both are (N, k)."""
    return float((near[:, :, None] == others[:, None]).any(axis=2).mean())


def divergence(affinities: np.ndarray, points: np.ndarray) -> float:
    """Compute the Kullback-Leibler divergence of the affinities (N, N), of sum 1, and a map (N, 2): t-SNE's loss."""
    q = squareform(1 / (1 + pdist(points, "sqeuclidean")))
    return float(rel_entr(affinities, q / q.sum()).sum())


def between_classes(x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the distances of all pairs of class means, and the root mean square size of each class."""
    members = [x[labels == label] for label in np.unique(labels)]
    sizes = [np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean()) for points in members]
    return pdist([points.mean(axis=0) for points in members]), np.asarray(sizes)


def measure(points: np.ndarray, embeddings: np.ndarray, labels: np.ndarray, affinities: np.ndarray) -> dict[str, float]:
    """Measure a map (N, 2) against the embeddings (N, d) that it maps, with the affinities (N, N) of t-SNE in there.

    Returns
    -------
    dict
        ``kl``; ``trust``, the trustworthiness (Venna and Kaski, 2001) of the 10 nearest; ``kept``, the share of the 10
        nearest in the embedding that are among the 10 nearest on the map; ``recall`` (@1) and ``precision``
        (R-precision) on the map; ``gaps`` and ``sizes``, Spearman's rank correlations, between map and embedding, of
        the distances between class means and of the sizes of the classes.
    """
    from sklearn.manifold import trustworthiness

    flat = torch.as_tensor(points)
    gaps, sizes = map(spearmanr, between_classes(points, labels), between_classes(embeddings, labels))
    return {
        "kl": divergence(affinities, points),
        "trust": float(trustworthiness(embeddings, points, n_neighbors=NEAR)),
        "kept": overlap(nearest(embeddings), nearest(points)),
        "recall": recall_at_k(flat, labels, (1,))[1],
        "precision": r_precision(flat, labels),
        "gaps": float(gaps.statistic),
        "sizes": float(sizes.statistic),
    }


# -- the maps --
def affinity(embeddings: np.ndarray, perplexity: float) -> Any:
    """Return the affinities of t-SNE (openTSNE), from exact distances to 3 x perplexity neighbors."""
    from openTSNE.affinity import PerplexityBasedNN

    return PerplexityBasedNN(embeddings, perplexity=perplexity, method="exact", n_jobs=1, random_state=0)


def trace(affinities: Any, seed: int, angle: float, iterations: Sequence[int] = ITERATIONS) -> list[np.ndarray]:
    """Run t-SNE once from random points and return the map after each of some numbers of iterations.

    The first 250 of the `iterations`, which ascend, are those of early exaggeration. At the `angle` 0 of Barnes and Hut
    every cell of the tree is opened, so that all forces are exact.
    """
    from openTSNE import TSNEEmbedding, initialization

    start = initialization.random(affinities.P.shape[0], 2, random_state=seed)
    run = TSNEEmbedding(start, affinities, negative_gradient_method="bh", theta=angle, n_jobs=1)
    maps, done = [], 0
    for goal in iterations:
        for stop, exaggeration in ((min(goal, EARLY), 12), (goal, None)):
            if stop > done:
                run.optimize(stop - done, exaggeration=exaggeration, momentum=0.8, inplace=True)
                done = stop
        points = np.array(run, dtype=np.float64, subok=False)
        maps.append(points - points.mean(axis=0))
    return maps


def squeeze(points: np.ndarray) -> tuple[bytes, float]:
    """Pack a map as whole numbers from 0 to 1023, 10 bits each, the lowest bit first; return a step, too."""
    step = float(np.abs(points).max()) / (MIDDLE - 1) or 1.0
    whole = np.rint(points / step).astype(np.uint16) + MIDDLE
    bits = (whole.reshape(-1, 1) >> np.arange(BITS)) & 1
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes(), step


def expand(raw: bytes, step: float, count: int) -> np.ndarray:
    """Unpack a map of so many points."""
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=2 * count * BITS, bitorder="little")
    whole = bits.reshape(-1, 2, BITS).astype(np.int64) @ (1 << np.arange(BITS))
    return (whole - MIDDLE) * step


def lay_out(
    affinities: Mapping[float, Any], seeds: Any, angles: Any, iterations: Any, done: Callable[[], Any]
) -> dict[tuple[float, int, float, int], np.ndarray]:
    """Run t-SNE in all settings and rotate the maps onto each other; `done` is called after each run.

    The maps of one run share one rotation, so that what moves does move. A run is rotated onto the run of the same seed
    and angle at the perplexity before; the first of them onto that of the first angle, or else of the first seed.
    Returned is the (N, 2) map of each (perplexity, seed, angle, number of iterations).
    """
    maps, last = {}, {}
    for perplexity, seed, angle in product(affinities, seeds, angles):
        run = trace(affinities[perplexity], seed, angle, iterations)
        before = [last[key] for key in ((seed, angle), (seed, angles[0]), (seeds[0], angles[0])) if key in last]
        turn = orthogonal_procrustes(run[-1], before[0])[0] if before else np.eye(2)
        last[seed, angle] = run[-1] @ turn
        maps |= {(perplexity, seed, angle, i): points @ turn for i, points in zip(iterations, run, strict=True)}
        done()
    return maps


def prepare(
    sets: Mapping[str, tuple[np.ndarray, Sequence[int], Sequence[float]]],
    labels: Sequence[int],
    *,
    perplexities: Sequence[float] = PERPLEXITIES,
    iterations: Sequence[int] = ITERATIONS,
    progress: bool = False,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Compute all maps of a panel and measure them.

    `sets` are "letters", and perhaps "noise", of as many points: embeddings, seeds and angles of each. Perplexities and
    iterations ascend. ValueError if embeddings are not finite or too few, or the labels do not fit.

    Returns
    -------
    arrays : dict
        ``maps`` (uint8, see :func:`squeeze`), ``labels`` and ``shuffled``: labels in a random order.
    about : dict
        ``perplexities``, ``iterations``, ``steps`` (of each map), ``found`` (lists of numbers, one for each map, see
        :func:`measure`; ``shuffled`` is Recall@1 with shuffled labels, ``agree`` the share of the 10 nearest on a map
        that the maps of the other seeds share), and ``sets``: name, seeds, angles, first map, dimensions, and Recall@K
        and R-precision of the embedding itself.
    """
    from tqdm.auto import tqdm

    sets, labels = _check(sets, labels, max(perplexities))
    shuffled = np.random.default_rng(0).permutation(labels)
    packed, steps, found, heads = [], [], {}, []
    runs = sum(len(seeds) * len(angles) for _, seeds, angles in sets.values()) * len(perplexities)
    with tqdm(total=runs, unit="run", disable=not progress) as bar:
        for name, (x, seeds, angles) in sets.items():
            head = {"name": name, "seeds": seeds, "angles": angles, "first": len(packed), "dimensions": x.shape[1]}
            recalls = recall_at_k(torch.as_tensor(x), labels)
            head["recall"] = {str(k): round(value, 4) for k, value in recalls.items()}
            heads.append(head | {"precision": round(r_precision(torch.as_tensor(x), labels), 4)})
            affinities = {perplexity: affinity(x, perplexity) for perplexity in perplexities}
            maps = lay_out(affinities, seeds, angles, iterations, bar.update)
            for key, points in maps.items():
                raw, step = squeeze(points)
                packed.append(raw)
                steps.append(step)
                maps[key] = expand(raw, step, len(x))  # what is measured is what will be shown
            for entry in _measure_all(maps, x, labels, shuffled, affinities):
                for key, value in entry.items():
                    found.setdefault(key, []).append(None if value is None else round(value, 4))
    about = {"perplexities": perplexities, "iterations": iterations, "steps": steps, "found": found, "sets": heads}
    return {"maps": np.frombuffer(b"".join(packed), np.uint8), "labels": labels, "shuffled": shuffled}, plain(about)


def _measure_all(
    maps: Mapping[tuple, np.ndarray], x: np.ndarray, labels: np.ndarray, shuffled: np.ndarray, affinities: Mapping
) -> Iterator[dict[str, float | None]]:
    """Yield what is measured on each map of one embedding."""
    near = {key: nearest(points) for key, points in maps.items()}
    for (perplexity, seed, *rest), points in maps.items():
        p = affinities[perplexity].P.toarray()
        others = [key for key in maps if key[1] != seed and (key[0], *key[2:]) == (perplexity, *rest)]
        agree = [overlap(near[perplexity, seed, *rest], near[other]) for other in others]
        yield measure(points, x, labels, p / p.sum()) | {
            "shuffled": recall_at_k(torch.as_tensor(points), shuffled, (1,))[1],
            "agree": float(np.mean(agree)) if agree else None,
        }


def _check(sets: Mapping[str, tuple], labels: Any, perplexity: float) -> tuple[dict[str, tuple], np.ndarray]:
    """Return sets with embeddings in float64, and the labels; or raise ValueError."""
    embeddings, labels = matrices({name: x for name, (x, *_) in sets.items()}, labels)
    comparable(labels)
    least = max(NEAR * 2, int(3 * perplexity) + 1)
    if len(labels) < least:
        raise ValueError(f"perplexity {perplexity:g} needs at least {least} points, got {len(labels)}")
    return {name: (x, *sets[name][1:]) for name, x in embeddings.items()}, labels


def make_recording(path: str | PathLike, progress: bool = True) -> None:
    """Embed 500 images of unseen letters by the default network, map them in all settings, and write ``tsne.npz``."""
    weights = Path(path).with_name("glyphs.pt")
    if not weights.is_file():
        recording.make_glyphs(weights)
    data = watched()
    embeddings = embed(checkpoints.load_model(weights)[0], data).numpy()
    noise = np.random.default_rng(0).normal(size=(len(data), 50))
    sets = {"letters": (embeddings, SEEDS, ANGLES), "noise": (noise, SEEDS[:1], ANGLES[1:2])}
    arrays, about = prepare(sets, data.targets, progress=progress)
    arrays["sprite"] = np.frombuffer(recording.sprite(data, SIDE), np.uint8)
    recording.save(path, "tsne", arrays, about | {"classes": list(data.classes)})


def watched() -> Any:
    """Return the images of the recording: 25 each of 20 letters that the default network never saw."""
    return recording.select_classes(datasets.load("glyphs", "test", images=25), LETTERS)


# -- the twin of the page --
def numbers(content: Mapping[str, Any], setting: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was measured on the map of a setting; ``width`` is that of the window, in units of the map."""
    i = index(content, setting)
    return {name: values[i] for name, values in content["found"].items()} | {
        "width": content["steps"][i] * 2 * (MIDDLE - 1)
    }


def index(content: Mapping[str, Any], setting: Mapping[str, Any]) -> int:
    """Return the number of the map of a setting."""
    head = _set(content, setting["data"])
    place = content["perplexities"].index(setting["perplexity"])
    for name, values in (("seed", head["seeds"]), ("angle", head["angles"]), ("iterations", content["iterations"])):
        place = place * len(values) + values.index(setting[name] if len(values) > 1 else values[0])
    return head["first"] + place


def _set(content: Mapping[str, Any], data: str) -> Mapping[str, Any]:
    return next(head for head in content["sets"] if head["name"] == ("noise" if data == "noise" else "letters"))


class TsnePanel(Drawn):
    """One embedding, many maps: perplexity, seed, iterations and angle of t-SNE, beside what is true of the embedding.

    Opened by :meth:`from_recording`; each map is there already, so nothing is computed when a control moves.

    Attributes
    ----------
    data : {"letters", "shuffled", "noise"}
        What is mapped: unseen letters; the same with shuffled labels; or noise.
    perplexity, seed, angle, iterations : number
        One of those that are recorded; ``angle`` 0 is exact. Noise was mapped with one seed and one angle.

    Raises
    ------
    traitlets.TraitError
        If there is no map of such a value.

    Examples
    --------
    >>> panel = TsnePanel.from_recording(perplexity=2)  # doctest: +SKIP
    >>> panel.numbers["kept"]  # doctest: +SKIP
    """

    _esm = script("tsne")
    title = traitlets.Unicode("What does a map show?").tag(sync=True)
    content = traitlets.Dict(read_only=True, help="see `prepare`").tag(sync=True)
    maps = traitlets.Bytes(read_only=True, help="10 bits a coordinate").tag(sync=True)
    labels = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)
    shuffled = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    sprite = traitlets.Bytes(b"", read_only=True, help="WebP, 16 pictures of 24 pixels in a row").tag(sync=True)
    data = traitlets.Unicode("letters").tag(sync=True)
    perplexity = traitlets.Float(30).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    angle = traitlets.Float(0.5).tag(sync=True)
    iterations = traitlets.Int(750).tag(sync=True)

    def __init__(self, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any], **state: Any) -> None:
        """Make a panel of what :func:`prepare` returns; ``classes`` (names) and a ``sprite`` are optional."""
        labels = np.asarray(arrays["labels"])
        chance = float(np.mean([(labels == label).sum() - 1 for label in labels]) / (len(labels) - 1))
        content = {name: about[name] for name in ("perplexities", "iterations", "steps", "found")}
        content["sets"] = [{**head, "chance": chance} for head in about["sets"]]
        if len(arrays["maps"]) != (wanted := len(content["steps"]) * -(-2 * len(labels) * BITS // 8)):
            raise ValueError(f"maps must have {wanted} bytes for {len(labels)} labels, got {len(arrays['maps'])}")
        names = about.get("classes", [f"class {i}" for i in range(labels.max() + 1)])
        first = {name: state.pop(name) for name in list(state) if name in _SETTING}
        super().__init__(**state)
        maps, sprite = (np.asarray(arrays.get(name, []), dtype=np.uint8).tobytes() for name in ("maps", "sprite"))
        values = {"content": content, "labels": labels, "shuffled": arrays["shuffled"], "classes": names}
        self.fill(**values, maps=maps, sprite=sprite)
        for name in _SETTING:  # the default, where it is recorded
            offered = self._offered(name)
            setattr(self, name, first.get(name, getattr(self, name) if getattr(self, name) in offered else offered[-1]))

    @classmethod
    def from_recording(cls, path: str | PathLike = recording.FOLDER / "tsne.npz", **state: Any) -> TsnePanel:
        """Open a recording; `state` may hold ``perplexity``, ``title`` and so on.

        Raises FileNotFoundError if there is no such file, ValueError if it is not a recording of maps.
        """
        arrays = recording.load(path, "tsne")
        try:
            return cls(arrays, arrays.pop("about"), **state)
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{path} is not a complete recording of maps; run `make recordings` to rebuild it"
            ) from None

    def _offered(self, name: str) -> list[Any]:
        """Return the values of a setting for which there are maps."""
        letters, names = _set(self.content, "letters"), [head["name"] for head in self.content["sets"]]
        return {
            "data": ["letters", "shuffled", *(["noise"] if "noise" in names else [])],
            "perplexity": self.content["perplexities"],
            "seed": letters["seeds"],
            "angle": letters["angles"],
            "iterations": self.content["iterations"],
        }[name]

    @traitlets.validate("data", "perplexity", "seed", "angle", "iterations")
    def _valid(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        return one_of(name, value, self._offered(name)) if self.content else value

    @property
    def setting(self) -> dict[str, Any]:
        """The present setting."""
        return {name: getattr(self, name) for name in _SETTING}

    @property
    def numbers(self) -> dict[str, Any]:
        """What was measured on the present map: see :func:`measure`."""
        return numbers(self.content, self.setting)

    def points(self, **setting: Any) -> np.ndarray:
        """Return the (N, 2) map of the present setting, or of another: ``points(perplexity=2)``."""
        place, steps = index(self.content, self.setting | setting), self.content["steps"]
        stride = len(self.maps) // len(steps)
        return expand(self.maps[place * stride :][:stride], steps[place], len(self.labels))

    def _picture(self) -> plots.Figure:
        """Draw the maps of all perplexities at the present seed, angle and iterations."""
        labels = np.asarray(self.shuffled if self.data == "shuffled" else self.labels)
        perplexities, head, told = self.content["perplexities"], _set(self.content, self.data), []
        figure = plots.Figure(figsize=(7.2, 2.5), layout="constrained")
        for axes, perplexity in zip(figure.subplots(1, len(perplexities), squeeze=False)[0], perplexities):
            points = self.points(perplexity=perplexity)
            here = numbers(self.content, self.setting | {"perplexity": perplexity})
            if self.data == "noise":  # no letters, no colours
                axes.scatter(*points.T, s=7, linewidths=0, color="#767676")
            else:
                draw_classes(axes, points, labels)
            line = f"neighbors kept {here['kept']:.2f}"
            if self.data != "noise":
                line += f"\nRecall@1 {here['shuffled' if self.data == 'shuffled' else 'recall']:.2f}"
            axes.set(title=f"perplexity {perplexity:g}", xlabel=line)
            axes.spines[:].set_visible(False)
            told.append(f"perplexity {perplexity:g}: {line}".replace("\n", ", "))
        figure.alt = (
            f"{len(perplexities)} t-SNE maps of {_WHAT[self.data].format(len(labels))} side by side, seed {self.seed}, "
            f"after {self.iterations} iterations. {'; '.join(told)}."
        )
        if self.data != "noise":
            true = head["chance"] if self.data == "shuffled" else head["recall"]["1"]
            figure.alt += f" In all {head['dimensions']} dimensions Recall@1 is {true:.2f}."
        return figure


_SETTING = ("data", "perplexity", "seed", "angle", "iterations")
_WHAT = {
    "letters": "{} images of unseen letters",
    "shuffled": "{} images of unseen letters with shuffled labels",
    "noise": "{} points of noise",
}
