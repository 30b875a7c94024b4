"""The retrieval game: which of the nearest images are wrong, and what the triplet of a failure looks like.

The page (``game.js``) shows a query and its neighbors, takes the guess, and draws the triangle of query, nearest
positive and nearest negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from numpy.typing import ArrayLike
from torch import Tensor

from ...checks import class_labels, finite_matrix, item_numbers, seed_number
from ...evaluation import top_k
from ...figures import plots
from ...losses import squared_distances
from ..recording import sprite
from .base import Drawn, comparable, one_of, plain, script, within

__all__ = ["RetrievalGame", "choose", "rounds_of"]

_SIDE, _COLUMNS = 64, 12  # of the pictures on the sheet


def choose(wrong: ArrayLike, labels: ArrayLike, neighbors: int, count: int, seed: int = 0) -> np.ndarray:
    """Choose queries: a quarter without any wrong neighbor, a quarter with wrong ones only, the rest between.

    `wrong` (N,) tells how many of its `neighbors` are wrong for each item, -1 for items that cannot be queries. Of rare
    kinds others take the place. Classes come twice only if there are too few. ValueError if there are fewer than
    `count` possible queries.
    """
    wrong, labels = np.asarray(wrong), np.asarray(labels)
    rng = np.random.default_rng(seed_number(seed))
    kinds = [wrong == 0, (wrong > 0) & (wrong < neighbors), wrong == neighbors]
    possible = sum(int(kind.sum()) for kind in kinds)
    if possible < count:
        raise ValueError(
            f"the game needs {count} queries, but only {possible} images have another of their class: ask for fewer"
        )
    edge = count // 4
    chosen: list[int] = []
    # The rare kinds first, so that their classes are not taken by the common ones; what is missing then comes from any.
    for kind, wanted in ((2, edge), (1, count - 2 * edge), (0, edge), (1, count), (0, count), (2, count)):
        items = rng.permutation(np.flatnonzero(kinds[kind]))
        room = min(wanted, count - len(chosen))
        for again in (False, True):
            for item in items:
                if room and item not in chosen and (again or labels[item] not in labels[chosen]):
                    chosen.append(int(item))
                    room -= 1
    return rng.permutation(chosen)


def rounds_of(
    embeddings: Tensor, labels: Sequence[int], queries: Sequence[int], neighbors: int
) -> list[dict[str, Any]]:
    """Return what each round shows, by item numbers; each query has another item of its class.

    Returns
    -------
    list of dict
        ``query``, ``neighbors`` (list), ``wrong`` (places of the wrong ones, from 0), ``rank`` of the nearest positive
        (1 is the nearest of all), ``p`` and ``n`` (nearest positive and negative), and the Euclidean distances ``ap``,
        ``an`` and ``pn``.
    """
    x, y = torch.as_tensor(embeddings).double().cpu(), np.asarray(labels)
    rounds = []
    for query, others in zip(queries, top_k(x, len(x) - 1, queries=queries)[1].numpy(), strict=True):
        same = y[others] == y[query]
        nearest = {"query": query, "p": others[same.argmax()], "n": others[(~same).argmax()]}
        d = squared_distances(x[list(nearest.values())]).sqrt()
        places = {"neighbors": others[:neighbors], "wrong": np.flatnonzero(~same[:neighbors])}
        rounds.append(
            plain(nearest | places | {"rank": same.argmax() + 1, "ap": d[0, 1], "an": d[0, 2], "pn": d[1, 2]})
        )
    return rounds


class RetrievalGame(Drawn):
    """A query and its nearest images: which of them are wrong? Then the rank and the triplet of the failure.

    Parameters
    ----------
    embeddings : (N, d) tensor or array
    labels : sequence of N int
        At least two classes.
    images : data set, array, or sequence of N images
        As for :func:`sstutils.figures.plots.gallery`; only those shown are read, and only they travel with the page.
    names : sequence of str, optional
        Of the classes.
    queries : int or sequence of int
        How many rounds, chosen by :func:`choose`; or the numbers of the queries.
    neighbors : int
        Images retrieved for each.
    margin : float
        Of the triplet loss.
    seed : int
        Of the choice.

    Attributes
    ----------
    round : int
        The present round, from 0.
    guess : list of int
        Places of the neighbors, from 0, that the player holds for wrong.
    revealed : dict of str to list of int
        The guesses of the rounds that are revealed, by number.
    score : int
        How many of them name exactly the wrong ones.

    Raises
    ------
    ValueError
        If the parts do not fit together, an embedding is not finite, or there are too few classes or images.
    """

    _esm = script("game")
    title = traitlets.Unicode("Which neighbors are wrong?").tag(sync=True)
    rounds = traitlets.List(traitlets.Dict(), read_only=True).tag(sync=True)
    sprite = traitlets.Bytes(read_only=True, help="WebP or PNG, 12 pictures in a row").tag(sync=True)
    margin = traitlets.Float(0.2, read_only=True).tag(sync=True)
    round = traitlets.Int(0).tag(sync=True)
    guess = traitlets.List(traitlets.Int()).tag(sync=True)
    revealed = traitlets.Dict().tag(sync=True)
    score = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        embeddings: Tensor | ArrayLike,
        labels: Sequence[int],
        images: Any,
        names: Sequence[str] | None = None,
        *,
        queries: int | Sequence[int] = 12,
        neighbors: int = 4,
        margin: float = 0.2,
        seed: int = 0,
        **state: Any,
    ) -> None:
        queries, neighbors, margin, seed = plain((queries, neighbors, margin, seed))
        x, y, queries = _check(embeddings, labels, images, names, queries, neighbors, margin, seed)
        entries = rounds_of(x, y, queries, neighbors)
        shown = sorted({i for e in entries for i in (e["query"], e["p"], e["n"], *e["neighbors"])})
        cell = {item: number for number, item in enumerate(shown)}
        title = {item: str(names[y[item]]) if names is not None else f"class {y[item]}" for item in shown}
        told = [
            {
                **{name: cell[e[name]] for name in ("query", "p", "n")},
                **{name: float(f"{e[name]:.7g}") for name in ("ap", "an", "pn")},
                "neighbors": [{"cell": cell[i], "name": title[i]} for i in e["neighbors"]],
                "wrong": e["wrong"],
                "rank": e["rank"],
                "others": len(x) - 1,
                "name": title[e["query"]],
                "other": title[e["n"]],
            }
            for e in entries
        ]
        pictures = [plots.read_image(images, item) for item in shown]
        side = min(_SIDE, max(max(picture.shape[:2]) for picture in pictures))
        super().__init__()
        self._still = images, y, names, entries
        self.fill(rounds=told, sprite=sprite(pictures, side, _COLUMNS, quality=85), margin=margin)
        for name, value in state.items():
            setattr(self, name, value)

    @traitlets.validate("round")
    def _valid_round(self, proposal: Any) -> int:
        return within("round", proposal["value"], 0, max(0, len(self.rounds) - 1))

    @traitlets.validate("guess")
    def _valid_guess(self, proposal: Any) -> list[int]:
        return _places(proposal["value"], self.rounds)

    @traitlets.validate("revealed")
    def _valid_revealed(self, proposal: Any) -> dict[str, list[int]]:
        for number in proposal["value"]:
            one_of("a revealed round", str(number), [str(i) for i in range(len(self.rounds))])
        return {str(number): _places(guess, self.rounds) for number, guess in proposal["value"].items()}

    @traitlets.observe("revealed")
    def _count(self, _change: Any) -> None:
        self.score = sum(guess == self.rounds[int(number)]["wrong"] for number, guess in self.revealed.items())

    def _picture(self) -> plots.Figure:
        """Draw the first rounds with their answers."""
        images, labels, names, entries = self._still
        queries, neighbors = zip(*((e["query"], e["neighbors"]) for e in entries[:6]), strict=True)
        return plots.gallery(images, labels, queries, neighbors, names=names, columns=2)


def _check(
    embeddings: Any, labels: Any, images: Any, names: Any, queries: Any, neighbors: int, margin: float, seed: int
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Return embeddings, labels and the numbers of the queries of a game that can be played; or raise ValueError."""
    x = finite_matrix(embeddings).cpu()
    y = class_labels(labels, len(x)).cpu().numpy()
    given = len(images) if hasattr(images, "__len__") else 0
    if given != len(x):
        raise ValueError(f"got {given} images for {len(x)} embeddings; there must be one for each, in one order")
    _, places, sizes = comparable(y)
    within("neighbors", neighbors, 1, len(x) - 1, ValueError)
    if names is not None and len(names) <= y.max():
        raise ValueError(f"names must have one for each class; got {len(names)}, but a label is {y.max()}")
    if not (np.isfinite(margin) and margin >= 0):
        raise ValueError(f"margin must be finite and at least 0; got {margin}")
    alone = sizes[places] < 2
    if isinstance(queries, list | tuple | range):
        queries = item_numbers(queries, len(x), "queries").numpy()
        if not len(queries) or alone[queries].any():
            raise ValueError("queries must be images with another of their class, at least one")
        return x, y, queries
    within("queries", queries, 1, int((~alone).sum()), ValueError)
    wrong = (y[top_k(x, neighbors)[1].numpy()] != y[:, None]).sum(axis=1)
    return x, y, choose(np.where(alone, -1, wrong), y, neighbors, queries, seed)


def _places(places: Any, rounds: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return places among the neighbors in order, each once."""
    most = len(rounds[0]["neighbors"]) if rounds else 0
    places = sorted({int(place) for place in places})
    if places and not 0 <= places[0] <= places[-1] < most:
        raise traitlets.TraitError(f"places of neighbors are from 0 to {most - 1}, got {places}")
    return places
