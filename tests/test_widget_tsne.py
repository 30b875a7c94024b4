"""The t-SNE panel: its measures against naive loops, its recording, its page in a real browser against its twin."""

import itertools
import shutil
from functools import partial

import numpy as np
import pytest
import scipy
import torch
import traitlets
from scipy.spatial.distance import pdist

import sstutils as sst
from sstutils.lectures import recording
from sstutils.lectures.widgets import TsnePanel, tsne

RECORDED = f"{recording.FOLDER}/tsne.npz"
RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def recorded():
    return recording.load(RECORDED, "tsne")


@pytest.fixture
def panel():
    return TsnePanel.from_recording(RECORDED)


@pytest.fixture(scope="module")
def truth(recorded):
    """Embeddings of the letters by the network beside the recording, and the noise."""
    model, _ = sst.load_model(recording.FOLDER / "glyphs.pt")
    model.precision = "bfloat16"  # as it was recorded, on a processor that knows it; others round alike, but slowly
    data = tsne.watched()
    np.testing.assert_array_equal(data.targets, recorded["labels"])
    noise = np.random.default_rng(0).normal(size=(len(data), 50))
    return {"letters": sst.embed(model, data).numpy().astype(float), "noise": noise}


def settings(about):
    for head in about["sets"]:
        grid = itertools.product(about["perplexities"], head["seeds"], head["angles"], about["iterations"])
        for perplexity, seed, angle, iterations in grid:
            yield {
                "data": head["name"],
                "perplexity": perplexity,
                "seed": seed,
                "angle": angle,
                "iterations": iterations,
            }


# ---- measures ----
def test_measures_are_those_of_naive_loops():
    x, flat, labels = RNG.normal(size=(40, 6)), RNG.normal(size=(40, 2)), np.arange(40) % 4
    flat[:, 0] += labels
    d, e = np.linalg.norm(x[:, None] - x, axis=2), np.linalg.norm(flat[:, None] - flat, axis=2)
    others = lambda d, i: sorted((j for j in range(40) if j != i), key=lambda j: d[i, j])  # noqa: E731
    p = RNG.random((40, 40)) * (1 - np.eye(40))
    found = tsne.measure(flat, x, labels, p / p.sum())
    shares = [len(set(others(d, i)[:10]) & set(others(e, i)[:10])) / 10 for i in range(40)]
    assert found["kept"] == pytest.approx(np.mean(shares))
    assert found["recall"] == pytest.approx(np.mean([labels[others(e, i)[0]] == labels[i] for i in range(40)]))
    exact = [np.mean([labels[j] == labels[i] for j in others(e, i)[:9]]) for i in range(40)]
    assert found["precision"] == pytest.approx(np.mean(exact))
    q = (1 - np.eye(40)) / (1 + e**2)
    kl = sum(scipy.special.rel_entr((p / p.sum()).ravel(), (q / q.sum()).ravel()))
    assert found["kl"] == pytest.approx(kl)
    for key, spread in (
        ("gaps", lambda z: pdist([z[labels == c].mean(0) for c in range(4)])),
        (
            "sizes",
            lambda z: [z[labels == c].var(0).sum() for c in range(4)],
        ),
    ):
        assert found[key] == pytest.approx(scipy.stats.spearmanr(spread(x), spread(flat)).statistic)


def test_a_copy_keeps_everything():
    x, labels = RNG.normal(size=(60, 2)), np.arange(60) % 3
    p = np.ones((60, 60)) - np.eye(60)
    found = tsne.measure(3 * x @ np.array([[0, 1], [-1, 0]]), x, labels, p / p.sum())
    assert [found[key] for key in ("kept", "trust", "gaps", "sizes")] == pytest.approx([1, 1, 1, 1])


def test_numbers_are_squeezed_without_loss():
    whole = RNG.integers(-511, 512, (499, 2))
    whole[0, 0] = -511
    raw, step = tsne.squeeze(whole)
    assert len(raw) == 1248 and step == 1
    np.testing.assert_array_equal(tsne.expand(raw, 1, 499), whole)
    points = RNG.normal(size=(50, 2)) * 30
    raw, step = tsne.squeeze(points)
    assert step == pytest.approx(np.abs(points).max() / 511)
    np.testing.assert_allclose(tsne.expand(raw, step, 50), points, atol=step / 2 * 1.0001)


def test_a_small_panel_is_made_as_the_recorded_one():
    x = np.concatenate([RNG.normal(size=(25, 8)) + 8 * i * np.eye(8)[i % 8] for i in (1, 2, 3)])
    labels = np.repeat([0, 1, 2], 25)
    sets = {"letters": (x, (0, 1), (0.0, 0.5))}
    arrays, about = tsne.prepare(sets, labels, perplexities=(2, 10), iterations=(20, 300))
    small = TsnePanel(arrays, about)
    assert small.setting == {"data": "letters", "perplexity": 10, "seed": 0, "angle": 0.5, "iterations": 300}
    assert small.numbers["recall"] == 1 and small.classes == ["class 0", "class 1", "class 2"]
    with pytest.raises(traitlets.TraitError, match="data must be one of letters, shuffled; got 'noise'"):
        small.data = "noise"
    ends = [small.points(seed=seed, perplexity=2) for seed in (0, 1)]
    np.testing.assert_allclose(ends[0].mean(axis=0), 0, atol=0.5)
    overlap = (ends[1].T @ ends[0]).trace() / np.sqrt((ends[0] ** 2).sum() * (ends[1] ** 2).sum())
    for turn in np.linspace(0, 6, 30):  # no other rotation brings the seeds nearer
        other = ends[1] @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        assert (other.T @ ends[0]).trace() / np.sqrt((ends[0] ** 2).sum() * (ends[1] ** 2).sum()) <= overlap + 1e-3


def test_the_maker_of_the_recording(tmp_path, monkeypatch):
    monkeypatch.setattr(tsne, "LETTERS", "ÆǼKĶ")
    monkeypatch.setattr(tsne, "SEEDS", (0,))
    monkeypatch.setattr(tsne, "ANGLES", (0.5, 1.0))
    monkeypatch.setattr(tsne, "prepare", partial(tsne.prepare, perplexities=(5,), iterations=(20,)))
    monkeypatch.setattr(recording, "make_glyphs", lambda path: shutil.copy(recording.FOLDER / "glyphs.pt", path))
    tsne.make_recording(tmp_path / "tsne.npz", progress=False)
    small = TsnePanel.from_recording(tmp_path / "tsne.npz")
    assert small.content["perplexities"] == [5] and small.points().shape == (100, 2) and small.sprite
    assert set(small.classes) == set("ÆǼKĶ") and small.numbers["agree"] is None
    assert [head["name"] for head in small.content["sets"]] == ["letters", "noise"]
    assert (tmp_path / "glyphs.pt").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x, y: (x * np.where(np.arange(60) == 3, np.nan, 1)[:, None], y),
            "letters: 1 of 60 rows are not finite",
        ),
        (lambda x, y: (x, y * 0), "all images are of one class"),
        (lambda x, y: (x[:50], y), "labels must be 50 integers, one for each item, got 60"),
        (lambda x, y: (x[:18], y[:18]), "needs at least 31 points, got 18"),
    ],
)
def test_what_cannot_be_mapped_is_refused_in_a_sentence(change, message):
    x, y = change(RNG.normal(size=(60, 4)), np.arange(60) % 3)
    with pytest.raises(ValueError, match=message):
        tsne.prepare({"letters": (x, (0,), (0.5,))}, y, perplexities=(2, 10))


# ---- the recording ----
def recall_of_ties(points, labels):
    """The least and the greatest Recall@1 that points of a grid can have, as equal distances are counted."""
    grid = np.round(points).astype(np.int64)
    d2 = ((grid[:, None] - grid) ** 2).sum(2)
    np.fill_diagonal(d2, d2.max() + 1)
    nearest, same = d2 == d2.min(1, keepdims=True), labels[:, None] == labels
    return (~(nearest & ~same).any(1)).mean(), (nearest & same).any(1).mean()


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_the_recording_says_what_its_maps_say(recorded, truth, every):
    """All numbers, measured again on what is stored; with a network embedded anew, so not to the last digit."""
    about, panel = recorded["about"], TsnePanel.from_recording(RECORDED)
    p = {}
    for name, x in truth.items():
        for perplexity in about["perplexities"]:
            p[name, perplexity] = tsne.affinity(x, perplexity).P.toarray()
    for place, setting in list(enumerate(settings(about)))[::every]:
        assert tsne.index(panel.content, setting) == place
        points = panel.points(**setting)
        joint = p[setting["data"], setting["perplexity"]]
        found = tsne.measure(points, truth[setting["data"]], recorded["labels"], joint / joint.sum())
        # Points of a stored map lie on a grid: of several nearest ones, rounding chooses, on each processor its own.
        step = panel.content["steps"][place]
        for key, labels in (("recall", recorded["labels"]), ("shuffled", recorded["shuffled"])):
            found.pop(key, None)
            low, high = recall_of_ties(points / step, np.asarray(labels))
            assert low - 1e-4 <= about["found"][key][place] <= high + 1e-4, (setting, key)
        crowded = len(np.unique(points, axis=0)) < 0.8 * len(points)  # as in the first iterations
        for key, value in found.items():
            close = 3e-2 if crowded and key in ("trust", "kept", "precision") else 3e-3
            assert about["found"][key][place] == pytest.approx(value, abs=close), (setting, key)
        if setting["data"] == "letters" and setting["iterations"] == 750:
            others = [panel.points(**setting | {"seed": seed}) for seed in (0, 1, 2) if seed != setting["seed"]]
            shares = np.mean([tsne.overlap(tsne.nearest(points), tsne.nearest(other)) for other in others])
            assert about["found"]["agree"][place] == pytest.approx(shares, abs=1e-3)
    letters = about["sets"][0]
    recall = sst.recall_at_k(torch.as_tensor(truth["letters"]), recorded["labels"])
    assert letters["recall"] == pytest.approx({str(k): value for k, value in recall.items()}, abs=5e-3)


def test_the_recording_has_something_to_teach(recorded, panel):
    import os

    assert os.path.getsize(RECORDED) <= 250_000
    assert sorted(recorded["labels"]) == sorted(recorded["shuffled"])
    at = lambda **change: tsne.numbers(panel.content, panel.setting | change)  # noqa: E731
    assert at(perplexity=2)["kept"] < at(perplexity=30)["kept"] - 0.1
    assert at(perplexity=2)["gaps"] < 0.4 < 0.7 < at(perplexity=30)["gaps"]
    assert abs(at(angle=0.0)["kept"] - at(angle=0.5)["kept"]) < 0.02
    assert at(iterations=20)["kl"] > 2 * at()["kl"]
    assert at()["shuffled"] < 0.1 < 0.9 < at()["recall"]
    assert at(data="noise")["kept"] < 0.25 and at(data="noise")["recall"] < 0.1


def test_a_recording_that_is_missing_or_another_is_refused(tmp_path, recorded):
    with pytest.raises(FileNotFoundError, match="make recordings"):
        TsnePanel.from_recording(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="recording of 'replay'"):
        TsnePanel.from_recording(f"{recording.FOLDER}/replay.npz")
    arrays = {key: value for key, value in recorded.items() if key != "about"}
    about = {key: value for key, value in recorded["about"].items() if key not in ("kind", "sstutils")}
    for name, broken, rest in [
        ("short", arrays | {"maps": arrays["maps"][:-9]}, about),
        ("empty", {"maps": arrays["maps"]}, about),
        ("steps", arrays, {**about, "steps": about["steps"][:3]}),
    ]:
        recording.save(tmp_path / f"{name}.npz", "tsne", broken, rest)
        with pytest.raises(ValueError, match=f"{name}.npz is not a complete recording of maps; run `make recordings`"):
            TsnePanel.from_recording(tmp_path / f"{name}.npz")


# ---- the widget in Python ----
def test_settings_are_those_that_are_recorded(panel):
    for name, value, offered in [
        ("perplexity", 7, "2, 5, 30, 80"),
        ("seed", 3, "0, 1, 2"),
        ("angle", 0.3, "0, 0.5, 1"),
        ("iterations", 21, "20, 100, 250, 750"),
        ("data", "digits", "letters, shuffled, noise"),
    ]:
        with pytest.raises(traitlets.TraitError, match=f"{name} must be one of {offered}; got {value!r}"):
            setattr(panel, name, value)
        with pytest.raises(traitlets.TraitError, match="must be one of"):
            TsnePanel.from_recording(RECORDED, **{name: value})
    assert TsnePanel.from_recording(RECORDED, perplexity=2, title="A map").perplexity == 2


@pytest.mark.parametrize("data", ["letters", "shuffled", "noise"])
def test_a_picture_is_a_row_of_maps(panel, data):
    panel.data = data
    figure = panel.picture()
    assert len(figure.axes) == 4 and figure.alt.startswith("4 t-SNE maps of 500 ")
    shown = np.concatenate([np.asarray(c.get_offsets()) for c in figure.axes[2].collections])
    np.testing.assert_allclose(np.sort(shown, axis=0), np.sort(panel.points(), axis=0))
    assert ("Recall" in figure.alt) == (data != "noise")


# ---- the page ----
def parts(page):
    return {
        "reading": page.locator("[data-part=reading] li").all_inner_texts(),
        **{
            name: page.locator(f"[data-part={name}]").inner_text().replace("\N{MINUS SIGN}", "-")
            for name in ("recall", "precision", "kept", "trust", "gaps", "sizes", "agree", "kl")
        },
    }


def drawn(page):
    return page.evaluate("document.querySelector('.sst-tsne-map').toDataURL()")


def agrees(page, panel):
    """What the page shows is what Python says of the same setting."""
    for name in ("data", "perplexity", "seed", "angle", "iterations"):
        setattr(panel, name, page.model(name))
    shown, here = parts(page), dict(panel.numbers)
    kept = f"{here['kept'] + 1e-9:.2f}"
    assert shown["reading"] and (
        kept in " ".join(shown["reading"]) or panel.data == "shuffled" or panel.iterations < 750
    )
    if panel.data == "shuffled":
        here["recall"] = here["shuffled"]
    hidden = {"letters": (), "shuffled": ("precision", "gaps", "sizes")}.get(
        panel.data, ("recall", "precision", "gaps", "sizes", "agree")
    )
    for name in ("recall", "precision", "kept", "trust", "gaps", "sizes", "agree", "kl"):
        if name in hidden:
            assert shown[name] == "\N{EN DASH}"
        else:
            assert float(shown[name]) == pytest.approx(
                here[name], abs=0.00501 if name not in ("trust", "kl") else 0.000501
            )


def test_the_page_finds_the_map_and_the_numbers_of_a_setting(functions_of, panel):
    page = functions_of("tsne")
    raw, step = tsne.squeeze(RNG.normal(size=(500, 2)))
    got = page.evaluate("b => [...m.expand(Uint8Array.from(b), 1000)]", list(raw))
    np.testing.assert_allclose((np.reshape(got, (500, 2)) - 512) * step, tsne.expand(raw, step, 500))
    every = list(settings(panel.content))
    every += [setting | {"data": "shuffled"} for setting in every if setting["data"] == "letters"]
    found = page.evaluate(
        "([c, all]) => all.map(s => [m.place(c, s), m.measured(c, s), m.reading(c, s).join(' ')])",
        [panel.content, every],
    )
    for setting, (place, measured, words) in zip(every, found, strict=True):
        assert place == tsne.index(panel.content, setting)
        assert measured == pytest.approx(tsne.numbers(panel.content, setting))
        assert words and "undefined" not in words and "NaN" not in words
    assert not page.bad


def test_what_is_read_depends_on_the_numbers(functions_of, panel):
    page = functions_of("tsne")
    read = lambda **change: page.evaluate("([c, s]) => m.reading(c, s)", [panel.content, panel.setting | change])  # noqa: E731
    first, tidier, gaps, seeds, angles = read()
    assert first.startswith("You can read who is near whom: the map keeps 0.78 of the 10 nearest neighbors")
    assert "R-precision 0.72 against 0.68" in tidier and "a hint, not a measurement" in gaps
    assert seeds.startswith("Another seed shares") and "no difference to speak of" in angles
    first, second, *_ = read(perplexity=2)
    assert first.startswith("Perplexity 2 tears letters apart: 0.66") and "do not read them" in second
    blurred = panel.content | {"found": panel.content["found"] | {"kept": [0.9 - i / 1000 for i in range(160)]}}
    words = page.evaluate("([c, s]) => m.reading(c, s)", [blurred, panel.setting | {"perplexity": 80}])[0]
    assert words.startswith("Perplexity 80 blurs near twins: 0.7") and "at perplexity 2" in words
    (only,) = read(data="shuffled")
    assert "meaningless colours" in only
    first, second = read(data="noise", iterations=250)
    assert first.startswith("Not finished: after 250 of 750") and "12 times" in first
    assert "Noise in 50 dimensions" in second


def test_every_control_changes_the_map_and_its_numbers(page_of, panel):
    page = page_of(panel, reduced_motion="reduce")
    agrees(page, panel)
    seen = [drawn(page)]
    for group, label in [
        ("Perplexity", "2"),
        ("Perplexity", "80"),
        ("Seed", "2"),
        ("Barnes-Hut angle", "0 (exact)"),
        ("Barnes-Hut angle", "1"),
        ("Map", "shuffled labels"),
        ("Map", "noise"),
        ("Perplexity", "5"),
    ]:
        page.get_by_role("group", name=group, exact=True).get_by_label(label, exact=True).check()
        assert drawn(page) not in seen, (group, label)
        seen.append(drawn(page))
        agrees(page, panel)
    assert page.get_by_role("group", name="Seed", exact=True).get_by_label("1").is_disabled()
    assert page.locator(".sst-legend").is_hidden()
    page.get_by_role("group", name="Map", exact=True).get_by_label("letters").check()
    page.get_by_role("slider", name="Iterations").focus()
    for iterations in (250, 100, 20):
        page.keyboard.press("ArrowLeft")
        assert page.model("iterations") == iterations and drawn(page) not in seen
        seen.append(drawn(page))
        agrees(page, panel)
    assert "perplexity 5, 20 iterations" in page.locator(".sst-tsne-map").get_attribute("aria-label")
    page.wait_for_function("sst.model(sst.ids[0]).get('said').includes('Not finished: after 20')")
    assert not page.bad


def test_points_travel_and_arrive(page_of, panel):
    page = page_of(panel)
    seen = page.evaluate(
        """async () => {
          const seen = new Set(), map = document.querySelector('.sst-tsne-map');
          [...document.querySelectorAll('label')].find(label => label.innerText === '80').click();
          for (let i = 0; i < 12; i++) { await new Promise(requestAnimationFrame); seen.add(map.toDataURL()) }
          return seen.size;
        }"""
    )
    assert seen > 2
    agrees(page, panel)
    page.wait_for_timeout(500)
    end = drawn(page)
    page.wait_for_timeout(100)
    assert drawn(page) == end
    other = page_of(TsnePanel.from_recording(RECORDED, perplexity=80))
    page.mouse.move(0, 0)
    assert drawn(other) == end
    assert not page.bad


def test_a_point_tells_its_letter_by_mouse_and_by_key(page_of, panel):
    page = page_of(panel, reduced_motion="reduce")
    box = page.locator(".sst-tsne-map").bounding_box()
    points = panel.points()
    reach = panel.numbers["width"] / 2
    unit = (box["width"] / 2 - 10) / reach
    distances = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(len(points))
    lone = int(np.argmax(distances.min(axis=1)))  # the point that has no other near
    page.mouse.move(
        box["x"] + box["width"] / 2 + unit * points[lone, 0], box["y"] + box["height"] / 2 - unit * points[lone, 1]
    )
    tip = page.locator(".sst-tip")
    assert tip.inner_text() == panel.classes[panel.labels[lone]] and tip.locator("canvas").count() == 1
    page.mouse.move(0, 0)
    assert tip.is_hidden()
    page.locator(".sst-tsne-map").focus()
    told = set()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        told.add(tip.inner_text())
    assert told <= set(panel.classes)
    page.wait_for_function("sst.model(sst.ids[0]).get('said').length < 5")
    before = drawn(page)
    button = page.locator(".sst-legend button").first
    button.click()
    assert button.get_attribute("aria-pressed") == "true" and drawn(page) != before
    assert not page.bad


def test_what_python_sets_is_drawn_and_odd_states_get_a_sentence(page_of, panel):
    page = page_of(panel, reduced_motion="reduce")
    before = drawn(page)
    page.put(perplexity=2)
    page.settle()
    assert drawn(page) != before
    agrees(page, panel)
    for name, value in [("perplexity", 7), ("seed", None), ("data", "digits"), ("iterations", "many"), ("angle", [])]:
        good = page.model(name)
        page.put(**{name: value})
        page.get_by_text("There is no map of this setting").wait_for()
        page.put(**{name: good})
        page.get_by_text("There is no map of this setting").wait_for(state="hidden")
    empty, cut = TsnePanel.from_recording(RECORDED), TsnePanel.from_recording(RECORDED)
    empty.set_trait("content", {})
    cut.set_trait("maps", b"\0" * 7)
    odd = page_of(empty, cut)
    assert odd.get_by_text("This panel has no maps").count() == 2
    assert not page.bad and not odd.bad
