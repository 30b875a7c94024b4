"""Which triplets a batch holds, and which of them still have a gradient: neighborhood size, positives, sampler, margin.

The page (``neighborhoods.js``) draws the batches and counts their triplets itself. :func:`draw_batches` and
:func:`measure` are its twins: the same batches from the same seed, and the same shares.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
import traitlets
from PIL import Image

from ... import datasets, models, recipes, training
from ...checks import seed_number, whole_numbers
from ...clustering import kmeans
from ...embedding import embed
from ...figures import plots
from ...losses import nearest_positives
from .. import recording
from .base import Drawn, comparable, matrices, one_of, random, script, within

SAMPLERS = {"local": "local", "balanced": "class-balanced", "shuffled": "shuffled"}
SIZES = (25, 50, 75, 100, 150, 200, 300)
MOST = 1000  # images: the page holds a matrix of their distances
MATTERS = -2.1972245773362196  # z where s = 1 / (1 + exp(-z)) is 0.1
PER_CLASS = 5  # images of a class in a class-balanced batch, as in `Recipe`
SHARES = {  # and what the still picture calls them
    "sst": "SST, s > 0.1",
    "inside": "SST, s > 0.5",
    "triplet": "triplet, active",
    "contrastive": "contrastive,\nnegatives within m",
}
LETTERS = "AÀĄaåOÒƠSŞLĻĹrŗyýHTtţŴŵĘēЖДθφG"  # of the recording: families of near twins
EPOCHS = (0, 4, 12, 36, 80)  # of its stages

_SIDE, _COLUMNS = 28, 20  # of the pictures on the sprite sheet
_BAR, _MEAN = plots.OKABE_ITO["sky"], "#303030"
_TINTS = ("green", "purple", "orange", "sky")  # blue and vermilion are kept for positives and negatives


# -- the twin of the page --
def _sample(items: Sequence[int], count: int, numbers: Iterator[float]) -> list[int]:
    """Draw `count` of the items without replacement, as ``drawn`` in the page: Fisher and Yates."""
    items = list(items)
    for i in range(count):
        j = i + int(next(numbers) * (len(items) - i))
        items[i], items[j] = items[j], items[i]
    return items[:count]


def _some(items: Sequence[int], count: int, numbers: Iterator[float]) -> list[int]:
    """Draw `count` of the items; each comes before any comes again."""
    out: list[int] = []
    while len(out) < count:
        out += _sample(items, len(items), numbers)
    return out[:count]


def draw_batches(
    sampler: str, labels: Sequence[int], clusters: Sequence[int], size: int, seed: int = 0
) -> list[np.ndarray]:
    """Draw the batches of one epoch by the rules of :mod:`sstutils.sampling`, with random numbers that a page has too.

    Labels count from 0; "local" makes a batch of each of the `clusters` (N,). A batch is an int array of item numbers,
    ascending. Batches without a triplet, which training leaves out, stay in the list.
    """
    labels, clusters, numbers = np.asarray(labels), np.asarray(clusters), random(seed)
    count = len(labels)
    if sampler == "local":
        groups = [np.flatnonzero(clusters == c) for c in range(int(clusters.max()) + 1)]
        batches = [_sample(group, size, numbers) if len(group) > size else group for group in groups if len(group)]
    elif sampler == "balanced":
        members = [np.flatnonzero(labels == c).tolist() for c in range(int(labels.max()) + 1)]
        most = min(size, count)
        classes = max(2, min(len(members), most // PER_CLASS))
        each = most // classes
        batches = []
        for _ in range(max(1, count // (classes * each))):
            chosen = _some(range(len(members)), classes, numbers)
            batches.append([item for c in chosen for item in _some(members[c], each, numbers)])
    else:
        order = _sample(range(count), count, numbers)
        batches = [order[i * size : (i + 1) * size] for i in range(max(1, count // size))]
    return [np.sort(np.asarray(batch, dtype=int)) for batch in batches]


def list_triplets(d2: np.ndarray, labels: np.ndarray, k: int, margin: float) -> tuple[np.ndarray, ...]:
    """List the triplets of a batch by its squared distances (B, B), anchor by anchor, as training sees them.

    Returned are five arrays (T,): anchor, positive and negative as positions within the batch; z, the logits of the SST
    loss; and d2(a, p) + margin - d2(a, n), which is positive where the triplet loss is.
    """
    pairs = nearest_positives(torch.as_tensor(d2), torch.as_tensor(labels), k)
    a, p = (side.numpy() for side in pairs)
    pair, n = np.nonzero(labels[a][:, None] != labels)
    a, p = a[pair], p[pair]
    return a, p, n, d2[a, p] - (d2[a, n] + d2[p, n]) / 2, d2[a, p] + margin - d2[a, n]


def measure(d2: np.ndarray, labels: np.ndarray, k: int = 5, margin: float = 0.2) -> dict[str, Any]:
    """Count the triplets of a batch, and those whose gradient matters to each loss: see :func:`list_triplets`.

    Returns
    -------
    dict
        ``triplets`` (int), and shares: ``sst`` of triplets with s > 0.1, ``inside`` with s > 0.5 (the negative is
        inside the sphere), ``triplet`` of active triplets, ``contrastive`` of pairs of different classes closer than
        the margin. Shares of nothing are 0.
    """
    labels = np.asarray(labels)
    *_, z, hinge = list_triplets(d2, labels, k, margin)
    hits = {
        "sst": z > MATTERS,
        "inside": z > 0,
        "triplet": hinge > 0,
        "contrastive": d2[labels[:, None] != labels] < margin,
    }
    return {"triplets": len(z)} | {name: float(hit.mean()) if len(hit) else 0.0 for name, hit in hits.items()}


# -- what is made beforehand --
def _reduce(x: np.ndarray, enough: float = 0.98, most: int = 32) -> tuple[np.ndarray, float]:
    """Return as many principal components as hold `enough` of the variance, and the share they hold."""
    components, held = recording.principal_components(x)
    count = min(int(np.searchsorted(held, enough - 1e-12)) + 1, most, len(held))
    return components[:, :count], min(float(held[count - 1]), 1.0)


def _map(x: np.ndarray, before: np.ndarray | None, seed: int) -> np.ndarray:
    """Lay points out in the square -1..1 by t-SNE, pushed apart a little so that pictures can be seen."""
    spread = np.ptp(x, axis=0).any()  # without it, all lie at one point: so does the map
    layout = plots.tsne_layout(x, seed=seed) if spread and len(x) >= 20 else recording.plane(x)[0]
    layout = layout.astype(np.float64) - layout.mean(axis=0)
    if before is not None:
        layout = recording.align(layout, before - before.mean(axis=0))
    gap = 1.5 / len(layout) ** 0.5
    for _ in range(60):
        layout = _filling(layout)
        step = layout[:, None] - layout
        far = np.sqrt((step**2).sum(axis=2)) + np.eye(len(layout))
        push = np.clip(gap - far, 0, None) / np.maximum(far, 1e-9) / 4
        layout += (step * push[..., None]).sum(axis=1)
    return _filling(layout)


def _filling(layout: np.ndarray) -> np.ndarray:
    """Stretch a map to fill the square -1..1; an axis without extent is 0."""
    low, size = layout.min(axis=0), np.ptp(layout, axis=0)
    return np.where(size > 1e-12, (layout - low) / np.maximum(size, 1e-12) * 2 - 1, 0)


def prepare(
    embeddings: Any, labels: Any, images: Any = None, *, classes: Any = None, sizes: Any = SIZES, seed: int = 0
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Make all that the page needs of an embedding: principal components, maps, and neighborhoods of each size.

    Parameters and errors are those of :class:`NeighborhoodExplorer`; the seed is of maps and k-means. Returned are
    arrays and all else for :func:`sstutils.lectures.recording.save`.
    """
    stages, present, labels = _check(embeddings, labels, images, classes)
    count, sizes, seed = len(labels), whole_numbers("sizes", sizes), seed_number(seed)
    fitting = sorted({size for size in sizes if 4 <= size <= count})
    if not fitting:
        raise ValueError(f"sizes must have a number between 4 and {count}; got {', '.join(map(str, sizes))}")
    arrays: dict[str, np.ndarray] = {"labels": labels.astype("<i2")}
    about: list[dict[str, Any]] = []
    layouts, clusters, before = [], [], None
    for name, x in stages.items():
        vectors, held = _reduce(x)
        arrays[f"vectors{len(about)}"], scale = recording.pack(vectors)
        before = _map(vectors, before, seed)
        layouts.append(np.rint(before * 32767).astype("<i2"))
        packed = recording.unpack(arrays[f"vectors{len(about)}"], scale)
        for size in fitting:
            found = kmeans(packed, max(1, count // size), seed=seed, init="random")[1]
            clusters.append(np.asarray(found, dtype=np.uint8))
        about.append({"name": name, "scale": scale, "held": round(held, 4)})
    arrays["layouts"], arrays["clusters"] = np.stack(layouts), np.stack(clusters)
    if images is not None:
        arrays["sprite"] = np.frombuffer(recording.sprite(images, _SIDE, _COLUMNS), np.uint8)
    names = [str(name) for name in (present if classes is None else classes)]
    way = "t-SNE" if count >= 20 else "PCA"
    return arrays, {"stages": about, "classes": names, "sizes": fitting, "layout": way}


def _check(
    embeddings: Any, labels: Any, images: Any, classes: Sequence[str] | None
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return the stages, the labels that occur, and each item's place among them; or raise ValueError."""
    stages = embeddings if isinstance(embeddings, Mapping) else {"this embedding": embeddings}
    if not stages:
        raise ValueError("embeddings must be an array, or a dict of at least one stage; got an empty dict")
    stages, labels = matrices(stages, labels)
    count = within("the number of images", len(labels), 4, MOST, ValueError)
    present, labels, _ = comparable(labels)
    for what, given, wanted in (("classes", classes, len(present)), ("images", images, count)):
        if given is not None and len(given) != wanted:
            raise ValueError(f"{what} must have one entry for each of {wanted}; got {len(given)}")
    return stages, present, labels


def make_recording(path: str | PathLike) -> None:
    """Train a network on 600 images of letters, watch it at some epochs, and write ``stages.npz``."""
    data = recording.select_classes(datasets.load("glyphs", "train", images=20), LETTERS)
    recipe = recipes.Recipe(turn=True, batch_size=100, epochs=EPOCHS[-1])
    torch.manual_seed(recipe.seed)  # as `train` begins: the same untrained network
    stages = {"untrained": embed(recipes.make_model(recipe).to(models.device()), data).numpy()}
    for step in training.train(data, recipe):
        done = step.epoch + 1
        if step.batch + 1 == step.batches and done in EPOCHS:
            stages[f"epoch {done}"] = embed(step.model, data).numpy()
    arrays, about = prepare(stages, data.targets, data, classes=data.classes)
    recording.save(path, "stages", arrays, about)


class NeighborhoodExplorer(Drawn):
    """Explore what a batch holds: neighborhood size B, positives k, sampler and margin, on a real embedding.

    The map shows all images; those of the current batch as pictures. For one anchor its nearest positives and its
    negatives are drawn. Bars tell which share of the triplets still has a gradient that matters to each loss.

    Parameters
    ----------
    embeddings : (N, d) array or tensor, or dict of stage name to such
        Of at most 1,000 images.
    labels : sequence of N int
    images : data set or sequence of N images, optional
    classes : sequence of str, optional
        Names of the labels, in ascending order; by default the labels themselves.
    sizes : sequence of int
        Neighborhood sizes B to choose from; those above N are left out.
    **state
        Any of the attributes below, to begin with.

    Attributes
    ----------
    stage : str
        Name of the embedding that is shown, one of `stages`.
    sampler : {"local", "balanced", "shuffled"}
    B, k : int
        Size of a neighborhood (one of `sizes`), and positives of an anchor.
    margin : float
        Of triplet and contrastive loss, 0 to 5, in squared distance.
    batch : int
        Number of the current batch, from 0; a number beyond the last is taken as the last.
    anchor : int
        Number of the image whose triplets are drawn. If the batches change, the batch with this image is shown.
    loss : {"sst", "triplet", "contrastive"}
        Which negatives of the anchor are drawn as ones that matter.
    seed : int
        Of the random draws.

    Raises
    ------
    ValueError
        That says what is wrong with the embeddings, the labels or the sizes.
    traitlets.TraitError
        If a value of the state is none that can be chosen.

    Examples
    --------
    >>> sst.widgets.NeighborhoodExplorer.from_recording(B=50, sampler="shuffled")  # doctest: +SKIP
    >>> sst.widgets.NeighborhoodExplorer(embeddings, labels, images)  # doctest: +SKIP
    """

    _esm = script("neighborhoods")
    title = traitlets.Unicode("What is in a batch?").tag(sync=True)

    stage = traitlets.Unicode().tag(sync=True)
    sampler = traitlets.Unicode("local").tag(sync=True)
    B = traitlets.Int(100).tag(sync=True)
    k = traitlets.Int(5).tag(sync=True)
    margin = traitlets.Float(0.2).tag(sync=True)
    batch = traitlets.Int(0).tag(sync=True)
    anchor = traitlets.Int(0).tag(sync=True)
    loss = traitlets.Unicode("sst").tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)

    stages = traitlets.List().tag(sync=True)  # of dict: name, scale, held, dims
    sizes = traitlets.List().tag(sync=True)
    classes = traitlets.List().tag(sync=True)
    layout_name = traitlets.Unicode("t-SNE").tag(sync=True)
    vectors = traitlets.Bytes().tag(sync=True)  # int16, stage by stage (N, dims)
    layouts = traitlets.Bytes().tag(sync=True)  # int16, (stages, N, 2)
    clusters = traitlets.Bytes().tag(sync=True)  # uint8, (stages, sizes, N)
    labels = traitlets.Bytes().tag(sync=True)  # int16
    sprite = traitlets.Bytes().tag(sync=True)

    def __init__(
        self, embeddings: Any, labels: Any, images: Any = None, *, classes: Any = None, sizes: Any = SIZES, **state: Any
    ) -> None:
        self._begin(*prepare(embeddings, labels, images, classes=classes, sizes=sizes), state)

    @classmethod
    def from_recording(
        cls, path: str | PathLike = recording.FOLDER / "stages.npz", **state: Any
    ) -> NeighborhoodExplorer:
        """Explore a recording: by default the training run of the lectures.

        Raises FileNotFoundError, with the command that makes it, if it is not there, ValueError if it is damaged or of
        another kind.
        """
        arrays = recording.load(path, "stages")
        explorer = cls.__new__(cls)
        explorer._begin(arrays, arrays.pop("about"), state)
        return explorer

    def _begin(self, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any], state: dict[str, Any]) -> None:
        vectors = [arrays[f"vectors{i}"] for i in range(len(about["stages"]))]
        self._labels = np.asarray(arrays["labels"], dtype=int)
        self._clusters = arrays["clusters"].reshape(len(vectors), len(about["sizes"]), -1)
        self._layouts = arrays["layouts"] / 32767
        self._vectors = vectors
        self._most = int(np.bincount(self._labels).max()) - 1
        stages = [entry | {"dims": x.shape[1]} for entry, x in zip(about["stages"], vectors, strict=True)]
        sizes = about["sizes"]
        first = {
            "stage": stages[min(2, len(stages) - 1)]["name"],
            "B": min(sizes, key=lambda size: abs(size - min(100, len(self._labels) // 3))),
            "k": min(5, self._most),
        }
        self._ready = False
        super().__init__(
            stages=stages,
            sizes=sizes,
            classes=about["classes"],
            layout_name=about["layout"],
            vectors=b"".join(x.astype("<i2").tobytes() for x in vectors),
            layouts=arrays["layouts"].astype("<i2").tobytes(),
            clusters=arrays["clusters"].tobytes(),
            labels=arrays["labels"].astype("<i2").tobytes(),
            sprite=arrays["sprite"].tobytes() if "sprite" in arrays else b"",
            **first | state,
        )
        self._ready = True
        self._settle(None)

    @traitlets.validate("stage", "sampler", "loss", "B", "k", "margin", "batch", "anchor", "seed")
    def _possible(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        choices = {
            "stage": [entry["name"] for entry in self.stages],
            "sampler": list(SAMPLERS),
            "loss": ["sst", "triplet", "contrastive"],
            "B": self.sizes,
        }
        if name in choices:
            return one_of(name, value, choices[name])
        highest = {"k": min(10, self._most), "margin": 5, "anchor": len(self._labels) - 1}.get(name, 2**31 - 1)
        return within(name, value, int(name == "k"), highest)

    @traitlets.observe("stage", "sampler", "B", "batch", "anchor", "seed")
    def _settle(self, change: Any) -> None:
        """Bring batch and anchor together: whichever did not move follows the other."""
        if not self._ready:
            return
        batches = self.batches()
        batch = min(self.batch, len(batches) - 1)
        if self.anchor not in batches[batch]:
            holds = [number for number, items in enumerate(batches) if self.anchor in items]
            if holds and (change is None or change["name"] != "batch"):
                batch = holds[0]
            else:
                labels = self._labels[batches[batch]]  # the first image of the largest class
                self.anchor = batches[batch][np.bincount(labels)[labels].argmax()]
        self.batch = batch

    @property
    def _stage(self) -> int:
        return [entry["name"] for entry in self.stages].index(self.stage)

    def squared_distances(self) -> np.ndarray:
        """Return the squared distances between all images at the present stage, (N, N)."""
        # Whole numbers: exact in float64 in whatever order they are added, here and in the page.
        x = self._vectors[self._stage].astype(np.float64)
        norms = (x**2).sum(axis=1)
        scale = self.stages[self._stage]["scale"]
        return (norms[:, None] + norms - 2 * (x @ x.T)) * (scale * scale)

    def batches(self, sampler: str | None = None) -> list[np.ndarray]:
        """Return the batches of the epoch: image numbers, of this or another sampler."""
        clusters = self._clusters[self._stage, self.sizes.index(self.B)]
        return draw_batches(sampler or self.sampler, self._labels, clusters, self.B, self.seed)

    def shares(self, sampler: str | None = None) -> dict[str, Any]:
        """Measure the current batch, or the epoch of a `sampler`: a dict as of :func:`measure`.

        Of an epoch: the shares as means over the batches that have triplets; ``triplets`` in all, ``batches`` that have
        any, and ``used``, the number of different images in them.
        """
        d2 = self.squared_distances()
        if sampler is None:
            batch = self.batches()[self.batch]
            return measure(d2[np.ix_(batch, batch)], self._labels[batch], self.k, self.margin)
        batches = self.batches(sampler)
        found = [measure(d2[np.ix_(b, b)], self._labels[b], self.k, self.margin) for b in batches]
        kept = [(batch, entry) for batch, entry in zip(batches, found, strict=True) if entry["triplets"]]
        means = {share: float(np.mean([entry[share] for _, entry in kept])) if kept else 0.0 for share in SHARES}
        used = len(np.unique(np.concatenate([batch for batch, _ in kept]))) if kept else 0
        return means | {"triplets": sum(entry["triplets"] for _, entry in kept), "batches": len(kept), "used": used}

    def around_anchor(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the anchor's positives, and of its negatives that matter to the chosen `loss`."""
        batch = self.batches()[self.batch]
        d2 = self.squared_distances()[np.ix_(batch, batch)]
        a, p, n, z, hinge = list_triplets(d2, self._labels[batch], self.k, self.margin)
        matters = {"sst": z > MATTERS, "triplet": hinge > 0, "contrastive": d2[a, n] < self.margin}[self.loss]
        mine = batch[a] == self.anchor
        return np.unique(batch[p[mine]]), np.unique(batch[n[mine & matters]])

    def _picture(self) -> plots.Figure:
        """Draw map, batch and shares with matplotlib."""
        batches, here, epoch = self.batches(), self.shares(), self.shares(self.sampler)
        batch, labels, total = batches[self.batch], self._labels, f"{here['triplets']:,} triplets"
        head = f"{self.stage}, {SAMPLERS[self.sampler]}, B = {self.B}, k = {self.k}, m = {self.margin:g}"
        figure = plots.Figure(figsize=(9.0, 4.4))
        axes = figure.add_axes((0.01, 0.02, 0.46, 0.86))
        _draw_map(axes, self, batches)
        axes.set_title(f"{head}\\nbatch {self.batch + 1} of {len(batches)} ({self.layout_name})")
        bars = figure.add_axes((0.64, 0.14, 0.32, 0.72))
        bars.barh(range(4), [here[share] for share in SHARES], color=_BAR, height=0.5, label="this batch")
        bars.plot([epoch[share] for share in SHARES], range(4), "D", color=_MEAN, ms=5, label="mean of the epoch")
        told = []
        for row, (share, name) in enumerate(SHARES.items()):
            text = _percent(here[share])
            bars.text(max(here[share], epoch[share]) + 0.03, row, text, va="center", fontsize=9, weight="bold")
            told.append(f"{' '.join(name.split())} {text} in this batch and {_percent(epoch[share])} in the epoch")
        bars.set_yticks(range(4), list(SHARES.values()))
        bars.set(xlim=(0, 1.12), ylim=(3.6, -0.6), title=f"{total}: share whose gradient matters")
        bars.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
        bars.legend(loc="upper center", bbox_to_anchor=(0.4, -0.08), ncols=2)
        figure.alt = (
            f"{head}. A map of {len(labels)} images; batch {self.batch + 1} of {len(batches)} holds {len(batch)} of "
            f"{len(np.unique(labels[batch]))} classes and {total}. Share of triplets whose gradient matters: "
            f"{'; '.join(told)}."
        )
        return figure


def _percent(x: float) -> str:
    """Write a share as the page does."""
    if x <= 0 or x >= 0.0995:
        return f"{100 * x:.0f} %"
    return "<0.1 %" if x < 0.0005 else f"{100 * x:.1f} %"


def _draw_map(axes: Any, explorer: NeighborhoodExplorer, batches: Sequence[np.ndarray]) -> None:
    """Draw all images as marks, those of the batch as pictures, and lines from the anchor."""
    layout, batch = explorer._layouts[explorer._stage], batches[explorer.batch]
    local = explorer.sampler == "local"
    for c, items in enumerate(batches if local else [np.arange(len(layout))]):
        looks = {"marker": plots.MARKERS[c // 4 % 8], "color": plots.OKABE_ITO[_TINTS[c % 4]]}  # 32 differ
        axes.scatter(*layout[items].T, s=7, alpha=0.7, linewidths=0, **(looks if local else {"color": "#C8C8C8"}))
    if explorer.sprite:
        side = 0.07 if local or len(batch) > 120 else 0.09
        axes.imshow(_sheet(explorer.sprite, layout, batch, side), extent=(-1.1, 1.1, -1.1, 1.1), zorder=3)
    else:
        axes.scatter(*layout[batch].T, s=22, facecolors="white", edgecolors="#303030", linewidths=0.8, zorder=3)
    a, (positives, negatives) = layout[explorer.anchor], explorer.around_anchor()
    dashes = {"color": plots.OKABE_ITO["vermilion"], "linewidth": 0.5, "linestyle": "--", "zorder": 2}
    solid = {"color": plots.OKABE_ITO["blue"], "linewidth": 1.6, "zorder": 4}
    for items, line in ((negatives, dashes), (positives, solid)):
        for item in items:
            axes.plot(*np.transpose([a, layout[item]]), **line)
    axes.scatter(*a, s=90, marker="s", facecolors="none", edgecolors="#1B1D21", linewidths=1.8, zorder=5)
    axes.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal")
    axes.set_axis_off()


def _sheet(sprite: bytes, layout: np.ndarray, batch: np.ndarray, side: float) -> np.ndarray:
    """Return the pictures of a batch at their places on the map, transparent elsewhere."""
    dots = 900
    pictures = Image.open(io.BytesIO(sprite)).convert("RGBA")
    sheet = Image.new("RGBA", (dots, dots))
    width = round(side / 2.2 * dots)
    for item in batch:
        left, top = item % _COLUMNS * _SIDE, item // _COLUMNS * _SIDE
        small = pictures.crop((left, top, left + _SIDE, top + _SIDE)).resize((width, width))
        x, y = (layout[item] * [1, -1] + 1.1) / 2.2 * dots - width / 2
        sheet.paste(small, (round(x), round(y)))
    return np.asarray(sheet)
