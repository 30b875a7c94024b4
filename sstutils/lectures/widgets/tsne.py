"""The t-SNE honesty panel: what a map shows, beside what is true of the embedding.

A grid of maps is computed once (:func:`make_recording`); the page (``tsne.js``) shows one of them at a time, with the
numbers that were measured on it. :func:`measure` measures them, and :func:`reading` puts them into words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import traitlets

from ...figures import plots
from .. import recording
from .base import Drawn, script
from .replay import _COLOURS, _MARKERS

__all__ = ["TsnePanel"]

LETTERS = "ÆǼKĶRŖɸфβMCÇEÈŚśuūYD"  # of the recording: eight pairs of near twins, four that stand alone
PERPLEXITIES, SEEDS, ANGLES, ITERATIONS = (2, 5, 30, 80), (0, 1, 2), (0.0, 0.5, 1.0), (20, 100, 250, 750)
EARLY = 250  # iterations of early exaggeration: attractions count 12 times as much
NEAR = 10  # neighbors of a point for which the map is asked
BITS = 10  # of a coordinate in a recording
SIDE = 24  # of a picture on the sheet


# ---------------------------------------------------------------------------------------------------------------------
# Measures of a map
# ---------------------------------------------------------------------------------------------------------------------
def distances(x: np.ndarray) -> np.ndarray:
    """Return the (N, N) squared distances of the rows, infinite on the diagonal: nobody is a neighbor of himself."""
    x = np.asarray(x, dtype=np.float64)
    squares = (x**2).sum(axis=1)
    d2 = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0)
    np.fill_diagonal(d2, np.inf)
    return d2


def order(d2: np.ndarray) -> np.ndarray:
    """Return for each row the others from near to far, (N, N - 1); the first of equals comes first."""
    return np.argsort(d2, axis=1, kind="stable")[:, :-1]


def kept(near: np.ndarray, near_on_map: np.ndarray) -> float:
    """Return the share of neighbors that are also neighbors on the map."""
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(near, near_on_map, strict=True)]))


def trustworthiness(ranked: np.ndarray, near_on_map: np.ndarray) -> float:
    r"""Return how far neighbors on the map are neighbors at all (Venna and Kaski, 2001).

    With :math:`r(i, j)` the rank of j among the others as seen from i, and :math:`U_i` those of the k nearest on the
    map that are not among the k nearest,
    :math:`1 - \frac{2}{N k (2 N - 3 k - 1)} \sum_i \sum_{j \in U_i} (r(i, j) - k)`.

    Parameters
    ----------
    ranked : (N, N - 1) int array
        The others of each item, from near to far, in the embedding.
    near_on_map : (N, k) int array
    """
    count, k = near_on_map.shape
    rank = np.zeros((count, count), dtype=int)
    np.put_along_axis(rank, ranked, np.arange(1, count), axis=1)
    beyond = np.maximum(np.take_along_axis(rank, near_on_map, axis=1) - k, 0)
    return float(1 - 2 / (count * k * (2 * count - 3 * k - 1)) * beyond.sum())


def recall(ranked: np.ndarray, labels: np.ndarray, k: int = 1) -> float:
    """Return Recall@K from the others of each item, ranked from near to far."""
    return float((labels[ranked[:, :k]] == labels[:, None]).any(axis=1).mean())


def precision(ranked: np.ndarray, labels: np.ndarray) -> float:
    """Return R-precision: of the R nearest others, R the number of others of its class, the share of the class."""
    same = labels[ranked] == labels[:, None]
    peers = same.sum(axis=1)
    within = np.arange(same.shape[1]) < peers[:, None]
    return float(((same & within).sum(axis=1) / np.maximum(peers, 1)).mean())


def divergence(affinities: np.ndarray, d2: np.ndarray) -> float:
    """Return the Kullback-Leibler divergence that t-SNE descends, over all pairs: nothing is approximated.

    Parameters
    ----------
    affinities : (N, N) array
        p, of sum 1.
    d2 : (N, N) array
        Squared distances on the map.
    """
    q = 1 / (1 + d2)
    q /= q.sum()
    there = affinities > 0
    return float((affinities[there] * np.log(affinities[there] / q[there])).sum())


def between_classes(x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances of all pairs of class means, and the root mean square size of each class about its mean."""
    means = np.stack([x[labels == c].mean(axis=0) for c in np.unique(labels)]).astype(np.float64)
    sizes = [np.sqrt(((x[labels == c] - means[i]) ** 2).sum(axis=1).mean()) for i, c in enumerate(np.unique(labels))]
    return np.sqrt(distances(means)[np.triu_indices(len(means), 1)]), np.asarray(sizes)


def rank_correlation(u: np.ndarray, v: np.ndarray) -> float:
    """Return Spearman's rank correlation of two lists."""
    from scipy.stats import spearmanr

    return float(spearmanr(u, v).statistic)


def measure(points: np.ndarray, embeddings: np.ndarray, labels: np.ndarray, affinities: np.ndarray) -> dict[str, float]:
    """Measure one map against the embedding that it maps.

    Parameters
    ----------
    points : (N, 2) array
    embeddings : (N, d) array
    labels : (N,) int array
    affinities : (N, N) array
        Of t-SNE, in the embedding.

    Returns
    -------
    dict
        ``kl``, ``trust``, ``kept`` (of the 10 nearest), ``recall`` (@1 on the map), ``precision`` (R-precision there),
        ``gaps`` and ``sizes`` (rank correlations of the distances between class means, and of the sizes of classes, on
        the map and in the embedding).
    """
    d2, ranked = distances(points), order(distances(embeddings))
    on_map = order(d2)
    gaps, sizes = between_classes(points, labels)
    true_gaps, true_sizes = between_classes(embeddings, labels)
    return {
        "kl": divergence(affinities, d2),
        "trust": trustworthiness(ranked, on_map[:, :NEAR]),
        "kept": kept(ranked[:, :NEAR], on_map[:, :NEAR]),
        "recall": recall(on_map, labels),
        "precision": precision(on_map, labels),
        "gaps": rank_correlation(gaps, true_gaps),
        "sizes": rank_correlation(sizes, true_sizes),
    }


# ---------------------------------------------------------------------------------------------------------------------
# The maps
# ---------------------------------------------------------------------------------------------------------------------
def affinity(embeddings: np.ndarray, perplexity: float) -> Any:
    """Return the affinities of t-SNE (openTSNE), from exact distances to 3 x perplexity neighbors."""
    from openTSNE.affinity import PerplexityBasedNN

    return PerplexityBasedNN(embeddings, perplexity=perplexity, method="exact", n_jobs=1, random_state=0)


def trace(affinities: Any, seed: int, angle: float, iterations: Sequence[int] = ITERATIONS) -> list[np.ndarray]:
    """Run t-SNE once from random points and return the map after each of some numbers of iterations.

    Parameters
    ----------
    affinities : openTSNE affinities
    seed : int
        Of the random start.
    angle : float
        Of Barnes and Hut; 0 opens every cell of the tree, so that all forces are exact.
    iterations : sequence of int
        Ascending; the first 250 are those of early exaggeration.
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


def squeeze(values: np.ndarray) -> bytes:
    """Return whole numbers from 0 to 1023 as bytes, 10 bits each, the lowest bit first."""
    bits = (np.asarray(values, dtype=np.uint16).reshape(-1, 1) >> np.arange(BITS)) & 1
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()


def expand(raw: bytes, count: int) -> np.ndarray:
    """Return the first `count` numbers of :func:`squeeze`."""
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=count * BITS, bitorder="little").reshape(-1, BITS)
    return bits.astype(np.int64) @ (1 << np.arange(BITS))


def squeezed(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the coordinates of a map as whole numbers from 0 to 1023, and the width of one step."""
    middle = 2 ** (BITS - 1)
    step = float(np.abs(points).max()) / (middle - 1) or 1.0
    return np.rint(points / step).astype(int) + middle, step


def prepare(
    sets: Mapping[str, tuple[np.ndarray, Sequence[int], Sequence[float]]],
    labels: Sequence[int],
    *,
    perplexities: Sequence[float] = PERPLEXITIES,
    iterations: Sequence[int] = ITERATIONS,
    progress: bool = False,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Compute all maps of a panel and measure them.

    The maps of one run share one rotation, so that what moves does move; a run is turned onto the run of the same seed
    and angle at the perplexity before, and the first of them onto that of the first angle, and of the first seed.

    Parameters
    ----------
    sets : mapping of str to (embeddings, seeds, angles)
        "letters", and perhaps "noise", of as many points.
    labels : (N,) int
    perplexities, iterations : sequences of numbers, ascending
    progress : bool
        Show a bar.

    Returns
    -------
    arrays : dict
        ``maps`` (uint8, see :func:`squeeze`), ``labels`` and ``shuffled``: labels in a random order.
    about : dict
        ``perplexities``, ``iterations``, ``steps`` (of each map), ``found`` (lists of numbers, one of each map, see
        :func:`measure`; ``shuffled`` is Recall@1 with shuffled labels, ``agree`` the share of the 10 nearest on a map
        that the maps of the other seeds share), and ``sets``: name, seeds, angles, first map, dimensions, and Recall@K
        and R-precision of the embedding itself.

    Raises
    ------
    ValueError
        If embeddings are not finite or too few, or the labels do not fit or are of one class.
    """
    from tqdm.auto import tqdm

    labels = np.asarray(labels)
    _check(sets, labels, perplexities)
    shuffled = np.random.default_rng(0).permutation(labels)
    found: dict[str, list[float | None]] = {}
    packed, steps, heads = [], [], []
    bar = tqdm(
        total=sum(len(seeds) * len(angles) for _, seeds, angles in sets.values()) * len(perplexities),
        unit="run",
        disable=not progress,
    )
    for name, (embeddings, seeds, angles) in sets.items():
        embeddings = np.asarray(embeddings, dtype=np.float64)
        ranked = order(distances(embeddings))
        recalls = {str(k): round(recall(ranked, labels, k), 4) for k in (1, 2, 4, 8)}
        heads.append(
            {
                "name": name,
                "seeds": list(seeds),
                "angles": list(angles),
                "first": len(steps),
                "dimensions": embeddings.shape[1],
                "recall": recalls,
                "precision": round(precision(ranked, labels), 4),
            }
        )
        last: dict[Any, np.ndarray] = {}
        for perplexity in perplexities:
            affinities = affinity(embeddings, perplexity)
            p = affinities.P.toarray()
            on_map: dict[Any, list[np.ndarray]] = {}
            rows: dict[Any, list[dict[str, float | None]]] = {}
            for seed in seeds:
                for angle in angles:
                    run = trace(affinities, seed, angle, iterations)
                    towards = last.get((seed, angle), last.get((seed, angles[0]), last.get((seeds[0], angles[0]))))
                    turn = np.eye(2) if towards is None else recording.rotation(run[-1], towards)
                    last[seed, angle] = run[-1] @ turn
                    rows[seed, angle], on_map[seed, angle] = [], []
                    for points in run:
                        whole, step = squeezed(points @ turn)
                        packed.append(squeeze(whole))
                        steps.append(step)
                        stored = (whole - 2 ** (BITS - 1)) * step  # what is measured is what will be shown
                        near = order(distances(stored))
                        numbers = measure(stored, embeddings, labels, p / p.sum())
                        rows[seed, angle].append(numbers | {"shuffled": recall(near, shuffled)})
                        on_map[seed, angle].append(near[:, :NEAR])
                    bar.update()
            for (seed, angle), entries in rows.items():
                for i, entry in enumerate(entries):
                    others = [kept(on_map[seed, angle][i], on_map[s, angle][i]) for s in seeds if s != seed]
                    entry["agree"] = float(np.mean(others)) if others else None
                    for key, value in entry.items():
                        found.setdefault(key, []).append(None if value is None else round(value, 4))
    bar.close()
    raw = np.frombuffer(b"".join(packed), np.uint8)
    about = {
        "perplexities": list(perplexities),
        "iterations": list(iterations),
        "steps": steps,
        "found": found,
        "sets": heads,
    }
    return {"maps": raw, "labels": labels, "shuffled": shuffled}, about


def _check(sets: Mapping[str, tuple], labels: np.ndarray, perplexities: Sequence[float]) -> None:
    if labels.ndim != 1 or len(np.unique(labels)) < 2:
        raise ValueError("a panel needs labels of at least two classes: with one, every neighbor on a map is right")
    for name, (embeddings, _, _) in sets.items():
        x = np.asarray(embeddings)
        if x.ndim != 2 or len(x) != len(labels):
            raise ValueError(f"{name} must have a row for each of the {len(labels)} labels, got shape {x.shape}")
        if not np.isfinite(x).all():
            raise ValueError(f"{name}: {(~np.isfinite(x).all(axis=1)).sum()} of {len(x)} embeddings are not finite")
        least = max(NEAR * 2, int(3 * max(perplexities)) + 1)
        if len(x) < least:
            raise ValueError(f"{name}: perplexity {max(perplexities):g} needs at least {least} points, got {len(x)}")


def make_recording(path: str | PathLike, progress: bool = True) -> None:
    """Embed 500 unseen letters by the default network, map them in all settings, and write ``tsne.npz``."""
    from ... import checkpoints
    from ...evaluation import embed

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
    from ... import datasets

    return recording.watched(datasets.load("glyphs", "test", images=25), LETTERS)


# ---------------------------------------------------------------------------------------------------------------------
# The twin of the page
# ---------------------------------------------------------------------------------------------------------------------
def reading(content: Mapping[str, Any], setting: Mapping[str, Any]) -> list[str]:
    """Return what may and what may not be read from a map, in sentences made of its numbers.

    Parameters
    ----------
    content : mapping
        ``about`` of a recording.
    setting : mapping
        ``data`` ("letters", "shuffled" or "noise"), ``perplexity``, ``seed``, ``angle`` and ``iterations``.

    Returns
    -------
    list of str
    """
    here, last = numbers(content, setting), content["iterations"][-1]
    head, perplexity, done = _set(content, setting["data"]), setting["perplexity"], setting["iterations"]
    kept_here, told = f"{_fixed(here['kept'])} of the 10 nearest neighbors", []
    if done < last:
        end = numbers(content, setting | {"iterations": last})
        told.append(
            f"Not done: after {done} of {last} iterations the KL divergence is {_fixed(here['kl'])}, and "
            f"{_fixed(end['kl'])} in the end{'; attractions still count 12 times' if done <= EARLY else ''}. "
            "Read nothing yet."
        )
    if setting["data"] == "noise":
        told.append(
            f"Noise of {head['dimensions']} dimensions, without any group: whatever clumps there are were made by "
            f"t-SNE at perplexity {perplexity}. It keeps {kept_here}."
        )
    if setting["data"] == "shuffled":
        told.append(
            f"The same map, the letters dealt out at random: Recall@1 {_fixed(here['shuffled'])}, chance is "
            f"{_fixed(head['chance'])}. So look colours that mean nothing. The points are where they were: t-SNE never "
            "sees a label."
        )
    if setting["data"] != "letters" or done < last:
        return told
    rivals = [(numbers(content, setting | {"perplexity": p})["kept"], p) for p in content["perplexities"]]
    best, at = max(rivals, key=lambda rival: rival[0])
    if here["kept"] > best - 0.03:
        told.append(
            f"Who is near whom may be read: the map keeps {kept_here}, no other perplexity here keeps many more."
        )
    elif perplexity < at:
        told.append(
            f"Perplexity {perplexity} tears letters apart: {kept_here} are kept, {_fixed(best)} at perplexity {at}. "
            "Do not count islands."
        )
    else:
        told.append(
            f"Perplexity {perplexity} blurs near twins: {kept_here} are kept, {_fixed(best)} at perplexity {at}."
        )
    if here["precision"] > head["precision"] + 0.02:
        told.append(
            f"The map is tidier than the embedding: R-precision {_fixed(here['precision'])} against "
            f"{_fixed(head['precision'])}."
        )
    told.append(
        f"Distances between islands: {_rule(here['gaps'])} (rank correlation with the true ones "
        f"{_fixed(here['gaps'])}); sizes: {_rule(here['sizes'])} ({_fixed(here['sizes'])})."
    )
    if here["agree"] is not None:
        told.append(
            f"Another seed shares {_fixed(here['agree'])} of the neighbors on this map; where an island lies is chance."
        )
    if setting["angle"] and 0.0 in head["angles"]:
        exact = numbers(content, setting | {"angle": 0.0})
        told.append(
            f"Barnes-Hut of angle {setting['angle']:g} keeps {_fixed(here['kept'])} of the neighbors, exact forces "
            f"{_fixed(exact['kept'])}"
            + (": no difference to speak of." if abs(here["kept"] - exact["kept"]) < 0.02 else ".")
        )
    return told


def _rule(correlation: float) -> str:
    """Return how far an order may be read from a map."""
    return "do not read them" if correlation < 0.6 else "a hint, no measure"


def numbers(content: Mapping[str, Any], setting: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was measured on the map of a setting; ``width`` is that of the window, in units of the map."""
    i = index(content, setting)
    return {name: values[i] for name, values in content["found"].items()} | {
        "width": content["steps"][i] * 2 * (2 ** (BITS - 1) - 1)
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


def _fixed(x: float, digits: int = 2) -> str:
    """Round as ``tidy`` in the page: halves up, a true minus sign, never "-0"."""
    text = str(Decimal(x).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
    return (text.replace("-", "") if float(text) == 0 else text).replace("-", "\N{MINUS SIGN}")


# ---------------------------------------------------------------------------------------------------------------------
# The widget
# ---------------------------------------------------------------------------------------------------------------------
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

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        about: Mapping[str, Any],
        **state: Any,
    ) -> None:
        """Make a panel of what :func:`prepare` returns; ``classes`` (names) and a ``sprite`` are optional."""
        labels = np.asarray(arrays["labels"])
        chance = float(np.mean([(labels == label).sum() - 1 for label in labels]) / (len(labels) - 1))
        content = {name: about[name] for name in ("perplexities", "iterations", "steps", "found")}
        content["sets"] = [{**head, "chance": chance} for head in about["sets"]]
        if len(arrays["maps"]) != len(content["steps"]) * _stride(len(labels)):
            raise ValueError("the maps do not fit the labels")
        names = about.get("classes", [f"class {i}" for i in range(labels.max() + 1)])
        first = {name: state.pop(name) for name in list(state) if name in _SETTING}
        super().__init__(**state)
        values = {"content": content, "labels": labels.tolist(), "shuffled": np.asarray(arrays["shuffled"]).tolist()}
        values |= {"maps": arrays["maps"].tobytes(), "classes": list(names)}
        values["sprite"] = np.asarray(arrays.get("sprite", []), dtype=np.uint8).tobytes()
        for name, value in values.items():
            self.set_trait(name, value)
        for name in _SETTING:  # the default, where it is recorded
            offered = self._offered(name)
            setattr(self, name, first.get(name, getattr(self, name) if getattr(self, name) in offered else offered[-1]))

    @classmethod
    def from_recording(cls, path: str | PathLike = "recordings/tsne.npz", **state: Any) -> TsnePanel:
        """Open a recording.

        Parameters
        ----------
        path : path
        **state
            Such as ``perplexity`` and ``title``.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is not a recording of maps.
        """
        arrays = recording.load(path, "tsne")
        try:
            return cls(arrays, arrays.pop("about"), **state)
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path} is not a whole recording of maps: `make recordings` makes it anew") from None

    def _offered(self, name: str) -> list[Any]:
        """Return the values of a setting for which there are maps."""
        if name == "data":
            names = [head["name"] for head in self.content["sets"]]
            return ["letters", "shuffled", *(["noise"] if "noise" in names else [])]
        if name in ("perplexity", "iterations"):
            return list(self.content["perplexities" if name == "perplexity" else "iterations"])
        return list(_set(self.content, "letters")[f"{name}s"])

    @traitlets.validate(*("data", "perplexity", "seed", "angle", "iterations"))
    def _valid(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if self.content and value not in self._offered(name):
            value, *offered = (
                str(one if isinstance(one, str) else _whole(one)) for one in (value, *self._offered(name))
            )
            raise traitlets.TraitError(f"there is no map of {name} {value}: choose one of {', '.join(offered)}")
        return value

    @property
    def setting(self) -> dict[str, Any]:
        """The present setting."""
        return {name: getattr(self, name) for name in _SETTING}

    @property
    def numbers(self) -> dict[str, Any]:
        """What was measured on the present map: see :func:`measure`."""
        return numbers(self.content, self.setting)

    @property
    def reading(self) -> list[str]:
        """What may and what may not be read from the present map."""
        content = self.content | {"perplexities": [_whole(p) for p in self.content["perplexities"]]}
        return reading(content, self.setting | {"perplexity": _whole(self.perplexity)})

    def points(self, **setting: Any) -> np.ndarray:
        """Return the (N, 2) map of the present setting, or of another: ``points(perplexity=2)``."""
        place, stride = index(self.content, self.setting | setting), _stride(len(self.labels))
        every = expand(self.maps[place * stride :][:stride], 2 * len(self.labels)).reshape(-1, 2)
        return (every - 2 ** (BITS - 1)) * self.content["steps"][place]

    def picture(self) -> plots.Figure:
        """Draw the maps of all perplexities at the present seed, angle and iterations."""
        labels = np.asarray(self.shuffled if self.data == "shuffled" else self.labels)
        perplexities, head, told = self.content["perplexities"], _set(self.content, self.data), []
        with plots.style():
            figure = plots.Figure(figsize=(7.2, 2.5), layout="constrained")
            for axes, perplexity in zip(figure.subplots(1, len(perplexities), squeeze=False)[0], perplexities):
                points = self.points(perplexity=perplexity)
                here = numbers(self.content, self.setting | {"perplexity": perplexity})
                for number in np.unique(labels):
                    looks = {"color": _COLOURS[number % 7], "marker": _MARKERS[(number % 7 + number // 7) % 8]}
                    looks = {"color": "#767676", "marker": "o"} if self.data == "noise" else looks
                    axes.scatter(*points[labels == number].T, s=6, linewidths=0, **looks)
                line = f"neighbors kept {here['kept']:.2f}"
                if self.data != "noise":
                    line += f"\nRecall@1 {here['shuffled' if self.data == 'shuffled' else 'recall']:.2f}"
                axes.set(title=f"perplexity {perplexity:g}", xlabel=line, aspect="equal", xticks=[], yticks=[])
                axes.set_adjustable("datalim")
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
    "letters": "{} unseen letters",
    "shuffled": "{} unseen letters with shuffled labels",
    "noise": "{} points of noise",
}


def _stride(count: int) -> int:
    """Return how many bytes a map of so many points takes."""
    return -(-2 * count * BITS // 8)


def _whole(x: float) -> float | int:
    """Return a number as the page writes it: 30, not 30.0."""
    return int(x) if float(x).is_integer() else x
