"""Search: an index holds the embeddings of pictures, and finds those nearest to another picture.

It is one file, mapped into memory when it is read, so that it may be larger than memory.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from types import NoneType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..checkpoints import check_content, load_model
from ..checks import finite_matrix, item_numbers, whole_number
from ..datasets import load
from ..datasets.base import FileDataset
from ..datasets.images import open_image
from ..datasets.reading import as_picture
from ..datasets.source import list_pictures
from ..datasets.subsets import labelled, unwrap
from ..embedding import embed
from ..files import atomic_write, check_archive, digest, exclusive, not_found, resolve, whole_file
from ..recipes import Recipe, view

FORMAT = 1  # of index files
_PLAIN = {"network": str, "checkpoint": str, "folder": str, "size": int | NoneType, "crop": int | NoneType}
_SCHEMA = dict.fromkeys(("embeddings", "names", "classes", "targets", "stamps"), Tensor) | _PLAIN
_ROWS = 1 << 14  # embeddings compared at once: 32 MB of 512 numbers each


class Index:
    """Embeddings of pictures, to be searched; made by :meth:`build` or :meth:`load`.

    Attributes
    ----------
    embeddings : (N, d) float32 tensor
    names : list of N str
        Files, relative to `folder`; of data held in memory their numbers.
    labels : list of N str
        Name of each picture's class; "" where it has none.
    folder : str
        Where the files are.
    network : str
        Fingerprint of the network's weights.
    model : nn.Module or None
        The network, which embeds the pictures that are searched for.
    """

    def __init__(self, **content: Any) -> None:
        self.model: nn.Module | None = None
        self.checkpoint, self.folder, self.file = "", "", "the index"
        self.added = self.removed = self.unreadable = 0  # pictures, when it was made
        self.size: int | None = None
        self.crop: int | None = None
        self.__dict__.update(content)

    def __len__(self) -> int:
        return len(self.embeddings)

    def __repr__(self) -> str:
        return f"Index of {len(self):,} pictures of {self.folder or 'a data set'}"

    @classmethod
    def build(
        cls,
        model: nn.Module | str | os.PathLike,
        dataset: Dataset,
        *,
        size: int | None = None,
        crop: int | None = None,
        known: Index | None = None,
        **options: Any,
    ) -> Index:
        """Embed a data set.

        Parameters
        ----------
        model : nn.Module or path
            A network, or the checkpoint of one, which also says the `size` and `crop` of its input.
        dataset : Dataset
            As for :func:`sstutils.fit`; pictures in files that cannot be read are left out, with a warning.
        size, crop, **options
            As for :func:`sstutils.embed`; queries are scaled in the same way.
        known : Index, optional
            An earlier one of the same network: of files that have not changed since, embeddings are taken from it.

        Raises
        ------
        ValueError
            If nothing is left to index, `known` is of another network, or embeddings are not finite.
        """
        checkpoint = "" if isinstance(model, nn.Module) else os.path.abspath(model)
        if checkpoint:
            model, content = load_model(checkpoint, options.get("device"))
            size, crop = view(Recipe(**content["recipe"])).values()
        index = cls(model=model, checkpoint=checkpoint, network=fingerprint(model), size=size, crop=crop)
        if known is not None and known.network != index.network:
            raise ValueError(f"{known.file} was made with another network; remove it, or choose another file")
        dataset = labelled(dataset)
        inner, rows = unwrap(dataset)
        index.labels = [dataset.classes[target] for target in dataset.targets]
        if not isinstance(inner, FileDataset):
            index.names = [str(number) for number in range(len(dataset))]
            index.stamps = np.zeros((len(dataset), 2), dtype=np.int64)
            index.embeddings = finite_matrix(embed(model, dataset, size=size, crop=crop, **options))
            index.added = len(dataset)
            return index
        paths = [inner.samples[i][0] for i in np.arange(len(inner))[rows]]
        index.folder = os.path.abspath(inner.root)
        index.names = [os.path.relpath(path, inner.root).replace(os.sep, "/") for path in paths]
        index.stamps = np.array([_stamp(path) for path in paths], dtype=np.int64).reshape(-1, 2)
        index._embed_files(paths, known, **options)
        return index

    def _embed_files(self, paths: list[str], known: Index | None, **options: Any) -> None:
        """Take what has not changed from another index, embed the rest, and drop what cannot be read."""
        rows = {} if known is None else dict(zip(zip(known.names, *known.stamps.T.tolist()), range(len(known))))
        source = np.array([rows.get(key, -1) for key in zip(self.names, *self.stamps.T.tolist(), strict=True)])
        fresh, kept = np.flatnonzero(source < 0), np.flatnonzero(source >= 0)
        pictures = _Pictures([paths[i] for i in fresh])
        found = embed(self.model, pictures, size=self.size, crop=self.crop, **options) if len(fresh) else None
        wide = len(known.embeddings[0]) if found is None else found.shape[1]
        embeddings, readable = torch.empty(len(paths), wide), np.ones(len(paths), dtype=bool)
        if len(fresh):
            embeddings[fresh] = finite_matrix(found)
            readable[fresh] = ~pictures.broken.numpy()
        if len(kept):
            embeddings[kept] = known.embeddings[source[kept]]
        if not readable.any():
            raise ValueError(f"none of the {len(paths)} pictures in {self.folder} can be read")
        chosen = np.flatnonzero(readable)
        self.embeddings, self.stamps = embeddings[chosen], self.stamps[chosen]
        self.names, self.labels = [self.names[i] for i in chosen], [self.labels[i] for i in chosen]
        self.unreadable = len(paths) - len(chosen)
        self.added = len(fresh) - self.unreadable

    def search(self, pictures: Any, k: int = 10) -> tuple[Tensor, Tensor]:
        """Find the k pictures nearest to each of some pictures, exactly.

        Parameters
        ----------
        pictures : picture, or sequence of pictures
            Each a path, a PIL image, an array (H, W, 3) or (H, W), or a tensor (3, H, W), of levels from 0 to 255 or of
            fractions from 0 to 1. A file that is itself in the index is not found as its own neighbor.
        k : int
            From 1 to the number of pictures in the index (one less for a file that is in it).

        Returns
        -------
        distances : (Q, k) float32 tensor
            Euclidean, in ascending order.
        items : (Q, k) int64 tensor
            Their places in ``names`` and ``labels``.

        Raises
        ------
        ValueError
            For a k out of range, a picture of another kind, or a network that is not the index's.
        OSError
            If a file cannot be read.
        """
        many = isinstance(pictures, (list, tuple)) or getattr(pictures, "ndim", 0) == 4
        pictures = list(pictures) if many else [pictures]
        own = {os.path.realpath(os.path.join(self.folder, name)): i for i, name in enumerate(self.names)}
        paths = [os.path.realpath(p) if isinstance(p, (str, os.PathLike)) else "" for p in pictures]
        itself = torch.tensor([own.get(path, -1) if path else -1 for path in paths])
        whole_number("k", k, 1, len(self) - int((itself >= 0).any()))
        queries = [(_image(picture), 0) for picture in pictures]
        alone = {"batch_size": 1} if self.size is None else {}  # they may be of different sizes
        found = finite_matrix(embed(self._network(), queries, size=self.size, crop=self.crop, **alone))
        if found.shape[1] != self.embeddings.shape[1]:
            raise ValueError(f"the network gives {found.shape[1]} numbers, the index holds {self.embeddings.shape[1]}")
        return nearest(self.embeddings, found, k, itself)

    def vote(self, items: Sequence[int] | Tensor) -> tuple[str, float]:
        """Return the most frequent class of some items, of equals the nearest, and its share of them."""
        labels = [self.labels[item] for item in item_numbers(items, len(self), "items").tolist()]
        best = max(dict.fromkeys(labels), key=labels.count)
        return best, labels.count(best) / len(labels)

    def describe(self, queries: Sequence[str], distances: Tensor, items: Tensor) -> list[dict[str, Any]]:
        """Describe what was found for each query.

        Parameters
        ----------
        queries : sequence of Q str
            What they are called.
        distances, items : (Q, k) tensors
            As :meth:`search` returns them.

        Returns
        -------
        list of dict
            ``query``; ``class`` and ``share``, of :meth:`vote`; ``found``, a list of dicts: ``file``, ``class``,
            ``distance`` and ``same``, whether its embedding is that of the query, as that of a copy is.
        """
        norms = self.embeddings[items.flatten()].norm(dim=1).view(items.shape)
        found = []
        for query, row, near, norm in zip(queries, items.tolist(), distances.tolist(), norms.tolist(), strict=True):
            label, share = self.vote(row)
            entries = [
                {"file": self.path(item), "class": self.labels[item], "distance": d, "same": d <= 1e-4 * n}
                for item, d, n in zip(row, near, norm, strict=True)
            ]
            found.append({"query": str(query), "class": label, "share": share, "found": entries})
        return found

    def path(self, item: int) -> str:
        """Return the file of an item, or its number where the data are held in memory."""
        return os.path.join(self.folder, self.names[whole_number("item", item, 0, len(self) - 1)])

    def _network(self) -> nn.Module:
        if self.model is None:
            if not self.checkpoint:
                raise ValueError("the index does not say where its network is; give it as Index.load(path, model)")
            model, _ = load_model(self.checkpoint)
            if fingerprint(model) != self.network:
                raise ValueError(
                    f"{self.checkpoint} holds another network than {self.file} was made with; remove that file, "
                    "and make the index again"
                )
            self.model = model
        return self.model

    def save(self, path: str | os.PathLike) -> None:
        """Write the index, whole or not at all."""
        classes, targets = np.unique(np.array(self.labels, dtype=object), return_inverse=True)
        content = {
            "format": FORMAT,
            "embeddings": self.embeddings.contiguous(),
            "names": _pack(self.names),
            "classes": _pack(classes.tolist()),
            "targets": torch.from_numpy(targets.astype(np.int32)),
            "stamps": torch.from_numpy(np.ascontiguousarray(self.stamps)),
            **{name: getattr(self, name) for name in _PLAIN},
        }
        with atomic_write(path) as temporary:
            torch.save(content, temporary)

    @classmethod
    def load(cls, path: str | os.PathLike, model: nn.Module | None = None) -> Index:
        """Read an index; its embeddings stay in the file until they are used.

        Parameters
        ----------
        path : path
        model : nn.Module, optional
            Its network; by default that of the checkpoint it was made with.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If it is damaged, or of another network.
        """
        with whole_file(path, "index", "make one with `sst index` (remove a damaged one first)"):
            check_archive(path)
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            if not isinstance(content, dict) or content.get("format") != FORMAT:
                raise ValueError("another format")
            check_content(content, os.path.getsize(path), _SCHEMA)
            if any(side is not None and not 0 < side <= 1 << 14 for side in (content["size"], content["crop"])):
                raise ValueError("size or crop out of range")
            names, classes = _unpack(content["names"]), _unpack(content["classes"])
            content["stamps"] = content["stamps"].numpy()
            numbers = item_numbers(content["targets"], len(classes), "targets").numpy()
            if content["embeddings"].dtype != torch.float32 or content["embeddings"].ndim != 2:
                raise ValueError("embeddings of another kind")
            if {len(content[name]) for name in ("embeddings", "stamps", "targets")} != {len(names)}:
                raise ValueError("parts of different lengths")
            index = cls(**{name: content[name] for name in ("embeddings", "stamps", *_PLAIN)})
            index.names, index.labels = names, np.array(classes, dtype=object)[numbers].tolist()
        if model is not None and fingerprint(model) != index.network:
            raise ValueError(f"{path} was made with another network; make the index again")
        index.model, index.file = model, os.fspath(path)
        return index


class _Pictures(FileDataset):
    """Pictures to embed; a blank one stands for each that cannot be read, which is noted."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(paths, [0] * len(paths), [""], "")
        self.broken = torch.zeros(len(paths), dtype=torch.bool).share_memory_()

    def open(self, index: int) -> Image.Image:
        try:
            return super().open(index)
        except OSError as error:
            self.broken[index] = True
            warnings.warn(f"{error}; it is left out", stacklevel=2)
            return Image.new("RGB", (8, 8))


def load_pictures(data: str) -> Dataset:
    """Load what is to be indexed: all pictures of ``folder:PATH`` at any depth, or the test split of another data set.

    The class of a picture is the folder, within PATH, that holds it; pictures in PATH itself have none.
    """
    kind, _, folder = data.partition(":")
    if kind.lower() != "folder" or not folder:
        return load(data)
    root = resolve(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; give folder:PATH, where PATH holds pictures")
    paths = list_pictures(root)
    if not paths:
        raise not_found("pictures", [root], "Put some there, in folders of their classes if they have any.")
    labels = [path.rpartition("/")[0] for path in paths]
    classes = sorted(set(labels))
    return FileDataset(paths, [classes.index(label) for label in labels], classes, root)


def index_pictures(data: str, checkpoint: str | os.PathLike, out: str | os.PathLike, **options: Any) -> Index:
    """Make the index of a data set, or bring it up to date: what ``sst index`` does.

    Parameters
    ----------
    data : str
        As for :func:`load_pictures`.
    checkpoint : path
        Of the network.
    out : path
        The index; where it exists, only new and changed files are embedded, and deleted ones leave it.
    **options
        As for :func:`sstutils.embed`.

    Returns
    -------
    Index
        With attributes ``added``, ``removed`` and ``unreadable``: numbers of pictures.
    """
    dataset = load_pictures(data)
    with exclusive(out):
        known = Index.load(out) if os.path.exists(out) else None
        folder = os.path.abspath(getattr(dataset, "root", None) or "")
        if known is not None and known.folder and known.folder != folder:
            raise ValueError(f"{out} is the index of {known.folder}; choose another file for {folder}")
        index = Index.build(checkpoint, dataset, known=known, **options)
        index.removed = 0 if known is None else len(set(known.names) - set(index.names))
        index.save(out)
    return index


def nearest(embeddings: Tensor, queries: Tensor, k: int, without: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Find the k embeddings nearest to each query, exactly, in blocks.

    Parameters
    ----------
    embeddings : (N, d) float32 tensor
        May be mapped from a file.
    queries : (Q, d) float32 tensor
    k : int
    without : (Q,) int64 tensor, optional
        An item that each query must not find; -1: none.

    Returns
    -------
    distances : (Q, k) float32 tensor
        In ascending order.
    items : (Q, k) int64 tensor
    """
    spare = min(k + 8, len(embeddings))  # products order close calls at random: differences of the points decide
    best, items = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.long)
    for start in range(0, len(embeddings), _ROWS):
        block = embeddings[start : start + _ROWS]
        scores = torch.addmm(block.square().sum(1), queries, block.T, alpha=-2)
        if without is not None:
            inside = (without >= start) & (without < start + len(block))
            scores[inside.nonzero()[:, 0], without[inside] - start] = torch.inf
        near = scores.topk(min(spare, len(block)), largest=False)
        best, items = torch.cat([best, near.values], 1), torch.cat([items, near.indices + start], 1)
        order = best.topk(min(spare, best.shape[1]), largest=False).indices
        best, items = best.gather(1, order), items.gather(1, order)
    items = items.sort(1).values
    d2 = torch.stack(
        [(embeddings[row].double() - query.double()).square().sum(1) for row, query in zip(items, queries, strict=True)]
    )
    if without is not None:
        d2[items == without[:, None]] = torch.inf
    d2, order = d2.sort(dim=1, stable=True)
    return d2[:, :k].sqrt().float(), items.gather(1, order)[:, :k]


def fingerprint(model: nn.Module) -> str:
    """Return 12 hexadecimal digits of a network's weights."""
    return digest(*(value.detach().cpu().float().numpy() for value in model.state_dict().values()))


def _image(picture: Any) -> Image.Image:
    """Take a picture of any kind as an upright RGB image."""
    if isinstance(picture, (str, os.PathLike)):
        if not os.path.lexists(picture):
            raise FileNotFoundError(f"no picture at {picture}")
        return open_image(picture)
    try:
        return as_picture(picture)
    except ValueError as error:
        raise ValueError(f"a query must be a path or an image; {error}") from None


def _stamp(path: str) -> tuple[int, int]:
    """Return the size of a file and when it was changed last; zeros if it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _pack(names: Sequence[str]) -> Tensor:
    """Put names into one tensor of bytes: a million of them are read at once."""
    return torch.frombuffer(bytearray(b"\0".join(os.fsencode(name) for name in names) + b"\0"), dtype=torch.uint8)


def _unpack(packed: Tensor) -> list[str]:
    return os.fsdecode(packed.numpy().tobytes()).split("\0")[:-1]
