"""The retrieval game: its rounds against naive loops, its page in a real browser against its Python twin."""

import re

import numpy as np
import pytest
import torch
import traitlets

from sstutils import geometry
from sstutils.lectures.widgets import RetrievalGame
from sstutils.lectures.widgets.game import choose, rounds_of

RNG = np.random.default_rng(7)


def data(count=60, classes=6, seed=0):
    """Embeddings of overlapping classes, with pictures whose colour is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    embeddings = rng.normal(size=(classes, 5))[labels] * 0.8 + rng.normal(size=(count, 5)) * 0.6
    images = (
        rng.integers(0, 60, (count, 16, 16, 3), dtype=np.uint8) + (labels * 30).astype(np.uint8)[:, None, None, None]
    )
    return torch.as_tensor(embeddings, dtype=torch.float32), labels, images


NAMES = ["Æ", "Ǽ", "K", "Ķ", "ф", "ɸ"]


def game(**options):
    return RetrievalGame(*data(), NAMES, **({"queries": 8} | options))


# ---- in Python ----
def test_rounds_are_those_of_naive_loops():
    x, labels, _ = data()
    queries = [3, 17, 42, 0]
    for query, entry in zip(queries, rounds_of(x, labels, queries, 4), strict=True):
        d = [float(torch.dist(x[query].double(), x[j].double())) for j in range(len(x))]
        others = sorted((j for j in range(len(x)) if j != query), key=lambda j: d[j])
        same = [labels[j] == labels[query] for j in others]
        assert entry["query"] == query and entry["neighbors"] == others[:4]
        assert entry["wrong"] == [i for i in range(4) if not same[i]]
        assert entry["rank"] == same.index(True) + 1
        p, n = others[same.index(True)], others[same.index(False)]
        assert (entry["p"], entry["n"]) == (p, n)
        pn = float(torch.dist(x[p].double(), x[n].double()))
        np.testing.assert_allclose([entry["ap"], entry["an"], entry["pn"]], [d[p], d[n], pn], rtol=1e-6)


def test_a_game_has_rounds_of_all_kinds_and_of_different_classes():
    labels = np.repeat(np.arange(50), 10)
    wrong = RNG.choice([0, 0, 0, 0, 1, 2, 3, 4], size=500)
    chosen = choose(wrong, labels, 4, 12, seed=3)
    assert len(set(chosen)) == 12 and len(set(labels[chosen])) == 12
    assert (wrong[chosen] == 0).sum() == 3 and (wrong[chosen] == 4).sum() == 3
    np.testing.assert_array_equal(chosen, choose(wrong, labels, 4, 12, seed=3))
    assert list(chosen) != list(choose(wrong, labels, 4, 12, seed=4))
    # kinds and classes that are missing are replaced, and items that cannot be queries stay out
    assert len(choose(np.zeros(20, int), np.arange(20) % 2, 4, 12)) == 12
    assert set(choose(np.array([-1, 0, 2, -1, 4]), np.zeros(5, int), 4, 3)) == {1, 2, 4}
    with pytest.raises(ValueError, match="12 queries, but only 3 images have another of their class"):
        choose(np.array([-1, 0, 2, -1, 4]), np.zeros(5, int), 4, 12)


def test_the_state_follows_from_python():
    one = game()
    wrong = [entry["wrong"] for entry in one.rounds]
    assert len(one.rounds) == 8 and any(wrong) and one.score == 0
    one.revealed = {"0": wrong[0], "1": [0] if wrong[1] != [0] else []}
    assert one.score == 1
    one.guess = [2, 0, 2]
    assert one.guess == [0, 2]
    for name, value, message in [
        ("round", 8, "round must be between 0 and 7"),
        ("guess", [4], "from 0 to 3"),
        ("revealed", {"9": []}, "a revealed round must be one of 0, 1"),
    ]:
        with pytest.raises(traitlets.TraitError, match=message):
            setattr(one, name, value)
    assert len(one.sprite) + len(str(one.rounds)) < 150_000
    assert [entry["name"] for entry in game(queries=[1, 0]).rounds] == ["Ǽ", "Æ"]


def test_a_picture_shows_the_first_rounds():
    figure = game().picture()
    assert figure.alt.startswith("6 query images, each followed by its 4 nearest images")


def test_what_cannot_be_played_is_refused_in_a_sentence():
    x, labels, images = data()
    broken = x.clone()
    broken[3, 1] = float("nan")
    for arguments, options, message in [
        ((broken, labels, images), {}, "1 of 60 rows are not finite"),
        ((x, labels[:9], images), {}, "labels must be 60 integers, .* got 9"),
        ((x, labels, images[:9]), {}, "9 images for 60 embeddings"),
        ((x, labels, None), {}, "got 0 images for 60 embeddings"),
        ((x, labels, images), {"seed": -1}, "seed must be between 0 and"),
        ((x, labels * 0, images), {}, "all images are of one class"),
        ((x, labels, images, ["a"]), {}, "names must have one for each class"),
        ((x, np.arange(60), images), {}, "each class has one image only"),
        ((x, labels, images), {"queries": 61}, "queries must be between 1 and 60; got 61"),
        ((x, labels, images), {"queries": 0}, "queries must be between 1 and 60; got 0"),
        ((x, labels, images), {"queries": [60]}, "queries must be between 0 and 59, got 60"),
        ((x, labels, images), {"neighbors": 60}, "neighbors must be between 1 and 59; got 60"),
        ((x, labels, images), {"margin": float("nan")}, "margin must be finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            RetrievalGame(*arguments, **options)


# ---- the page ----
def act(page):
    return page.locator(".sst-game-act")


def ask(page, function, *arguments):
    return page.evaluate(f"x => m.{function}(...x)", list(arguments))


def sides(points):
    return [np.linalg.norm(np.subtract(points[i], points[j])) for i, j in ((0, 1), (0, 2), (1, 2))]


def test_three_points_keep_their_distances_and_the_losses_are_those_of_the_geometry(functions_of):
    page = functions_of("game")
    triplets = RNG.normal(size=(100, 3, 7)) * RNG.choice([0.3, 1, 3], size=(100, 1, 1))
    lengths = [[float(x) for x in sides(points)] for points in triplets]
    flat = np.array(page.evaluate("all => all.map(d => m.threePoints(...d))", lengths))
    np.testing.assert_allclose([sides(points) for points in flat], lengths, rtol=1e-9)
    np.testing.assert_allclose(flat[:, 0] + flat[:, 1], 0, atol=1e-12)  # the midpoint is the origin
    assert (flat[:, 2, 1] >= 0).all()
    found = page.evaluate("all => all.map(d => m.values(...d, 0.2))", lengths)
    for (a, p, n), told, points, (ap, _, _) in zip(triplets, found, flat, lengths, strict=True):
        truth = {"z": geometry.sst_logit(a, p, n), "sst": geometry.sst(a, p, n)[0]}
        truth |= {"triplet": geometry.triplet(a, p, n, 0.2)[0], "s": 1 / (1 + np.exp(-truth["z"]))}
        assert told == pytest.approx(truth, rel=1e-9, abs=1e-12)
        assert (np.linalg.norm(points[2]) < np.sqrt(0.75) * ap) == (told["z"] > 0)  # inside the sphere
    for triangle in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (2, 1, 1), (1, 2, 1), (1, 1, 2), (0, 0, 0)]:  # all on a line
        np.testing.assert_allclose(sides(ask(page, "threePoints", *triangle)), triangle, atol=1e-12)


def test_what_is_said_of_each_kind_of_round(functions_of):
    page = functions_of("game")
    entry = {"rank": 1, "name": "Æ", "other": "Ǽ", "others": 59, "ap": 1.0, "an": 2.0, "pn": 2.0}
    first, second = ask(page, "sentences", entry, 0.2)
    assert first == "Of all 59 other images, the nearest is another Æ: a hit for Recall@1."
    assert second == (
        "n (Ǽ) is farther away than p and outside the sphere: SST still pushes it with 5 % of its full weight; "
        "the triplet loss is satisfied."
    )
    assert "the margin is not met" in ask(page, "sentences", entry | {"an": 1.05}, 0.2)[1]
    assert "yet inside the sphere" in ask(page, "sentences", entry | {"an": 1.01, "pn": 0.6}, 0.0)[1]
    failure = entry | {"rank": 3, "an": 0.5}
    assert "rank 3 of 59: a hit only for Recall@K with K ≥ 3" in ask(page, "sentences", failure, 0.2)[0]
    assert "but far from p and so outside" in ask(page, "sentences", failure | {"pn": 1.5}, 0.2)[1]
    assert "inside the sphere: z > 0" in ask(page, "sentences", failure | {"pn": 0.9}, 0.2)[1]


def test_a_round_by_mouse(page_of, functions_of):
    one, module = game(), functions_of("game")
    page = page_of(one)
    entry = one.rounds[0]
    assert act(page).inner_text() == "All are right" and page.locator(".sst-game-failure").is_hidden()
    assert not re.search("|".join(NAMES), page.locator(".sst-game").inner_text())  # nothing is given away
    page.wait_for_function("document.querySelector('.sst-game-picture').style.backgroundImage")
    before = page.locator(".sst-widget").screenshot()
    for place in entry["wrong"]:
        page.locator(".sst-game-card").nth(place).click()
    assert page.model("guess") == entry["wrong"]
    if entry["wrong"]:
        assert page.locator(".sst-widget").screenshot() != before
    act(page).click()
    page.locator(".sst-game-failure").wait_for()
    assert page.model("revealed") == {"0": entry["wrong"]} and page.model("score") == 1
    assert page.locator("[data-part=verdict]").inner_text().startswith("✓ Correct")
    first, second = ask(module, "sentences", entry, one.margin)
    assert page.locator("[data-part=rank]").inner_text() == first
    assert page.locator("[data-part=meaning]").inner_text() == second
    found = ask(module, "values", entry["ap"], entry["an"], entry["pn"], 0.2)
    for name in ("z", "sst", "triplet"):
        shown = page.locator(f"[data-part={name}]").inner_text().replace("\N{MINUS SIGN}", "-")
        assert float(shown) == pytest.approx(found[name], abs=6e-4)
    shown = [name.inner_text() for name in page.locator(".sst-game-found .sst-game-name").all()]
    assert shown == [neighbor["name"] for neighbor in entry["neighbors"]]
    badges = [badge.inner_text() for badge in page.locator(".sst-game-badge").all()]
    assert badges == ["✗" if place in entry["wrong"] else "✓" for place in range(4)]
    # the triangle is to scale: its sides are in the ratio of the distances
    page.wait_for_function("document.querySelector('.sst-game-plane svg image')")
    lines = page.evaluate(
        """() => [...document.querySelectorAll('.sst-game-plane svg > line')].map(l =>
           Math.hypot(l.x1.baseVal.value - l.x2.baseVal.value, l.y1.baseVal.value - l.y2.baseVal.value))"""
    )
    truth = np.array([entry["ap"], entry["an"], entry["pn"]])
    np.testing.assert_allclose(np.array(lines) / lines[0], truth / truth[0], rtol=1e-5)
    page.locator(".sst-game-card").first.click(force=True)  # too late to change the guess
    assert page.model("revealed") == {"0": entry["wrong"]} and page.model("score") == 1
    assert not page.bad


def test_a_game_by_keyboard_alone(page_of):
    one = game(queries=3)
    page = page_of(one)
    order = []
    for _ in range(7):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText")
        )
    assert order[:5] == [f"Neighbor {i} is wrong" for i in (1, 2, 3, 4)] + ["All are right"]
    act(page).focus()
    for number, entry in enumerate(one.rounds):
        assert page.model("round") == number
        for place in entry["wrong"]:
            page.keyboard.press(str(place + 1))
        page.keyboard.press("3")  # on and off again
        page.keyboard.press("3")
        page.keyboard.press("Enter")
        page.locator(".sst-game-failure").wait_for()
        assert page.model("score") == number + 1
        page.wait_for_timeout(60)
        if number < 2:
            page.keyboard.press("Enter")
            page.locator(".sst-game-failure").wait_for(state="hidden")
    assert "Game over: 3 of 3 rounds right" in page.locator("[data-part=verdict]").inner_text()
    page.keyboard.press("Enter")  # once more
    page.locator(".sst-game-failure").wait_for(state="hidden")
    assert page.model("revealed") == {} and page.model("score") == 0 and page.model("round") == 0
    assert not page.bad


def test_rounds_can_be_visited_and_what_was_guessed_stays(page_of):
    one = game()
    page = page_of(one)
    wrong = one.rounds[0]["wrong"]
    guess = [0] if wrong != [0] else [1]
    page.locator(".sst-game-card").nth(guess[0]).click()
    act(page).click()
    assert page.locator("[data-part=verdict]").inner_text().startswith("✗ No:")
    page.get_by_role("button", name="Next", exact=True).click()
    page.locator(".sst-game-failure").wait_for(state="hidden")
    assert page.model("guess") == [] and page.locator(".sst-game-head").inner_text().startswith("Round 2 of 8")
    page.get_by_role("button", name="Previous").click()
    page.locator(".sst-game-failure").wait_for()
    assert page.locator(".sst-game-card[aria-pressed=true]").count() == 1 and page.model("score") == 0
    page.wait_for_function("sst.model(sst.ids[0]).get('said').startsWith('Round 1')")
    page.get_by_role("button", name="Start over").click()
    page.locator(".sst-game-failure").wait_for(state="hidden")
    assert page.locator(".sst-game-head").inner_text() == "Round 1 of 8. Score: 0 of 0."
    assert not page.bad


def test_what_python_sets_is_drawn(page_of):
    one = game()
    page = page_of(one)
    page.put(round=2, revealed={"2": one.rounds[2]["wrong"]})
    page.locator(".sst-game-failure").wait_for()
    assert one.rounds[2]["name"] in page.locator("[data-part=rank]").inner_text()
    for name, value in [("round", 99), ("round", None), ("guess", None), ("guess", [77]), ("revealed", None)]:
        page.put(**{name: value})
        page.settle()
    assert page.locator(".sst-game-head").inner_text().startswith("Round 1 of 8")
    assert not page.bad


def test_a_broken_state_gets_a_sentence(page_of):
    empty, blind = game(), game()
    empty.set_trait("rounds", [])
    blind.set_trait("sprite", b"no picture")
    page = page_of(empty, blind)
    assert page.get_by_text("This game has no rounds").is_visible()
    page.get_by_text("The pictures of this game cannot be read").wait_for()
    assert not page.bad
