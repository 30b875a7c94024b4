"""The explorer of neighborhoods: its page against its Python twin, and the twin against the losses."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import traitlets

import sstutils as sst
from sstutils.lectures import recording
from sstutils.lectures.widgets import NeighborhoodExplorer
from sstutils.lectures.widgets.neighborhoods import MATTERS, SAMPLERS, SHARES, draw_batches, measure, nearest
from sstutils.lectures.widgets.neighborhoods import _percent as percent

RECORDING = Path(__file__).parent.parent / "notebooks" / "recordings" / "stages.npz"
STATES = [
    {"sampler": "local", "B": 100, "k": 5, "margin": 0.2, "stage": "epoch 12"},
    {"sampler": "local", "B": 25, "k": 1, "margin": 1.0, "stage": "epoch 80", "seed": 3, "loss": "triplet"},
    {"sampler": "local", "B": 300, "k": 10, "margin": 0.0, "stage": "untrained", "batch": 1},
    {"sampler": "balanced", "B": 50, "k": 3, "margin": 2.5, "stage": "epoch 36", "seed": 7, "batch": 4},
    {"sampler": "balanced", "B": 200, "k": 8, "margin": 0.7, "stage": "epoch 4", "loss": "contrastive"},
    {"sampler": "shuffled", "B": 150, "k": 2, "margin": 5.0, "stage": "epoch 36", "seed": 2**31 - 1},
    {"sampler": "shuffled", "B": 75, "k": 5, "margin": 0.3, "stage": "epoch 80", "batch": 2, "loss": "triplet"},
]


@pytest.fixture
def explorer():
    return NeighborhoodExplorer.from_recording(RECORDING)


def clouds(classes=4, each=6, dims=3, seed=0):
    """Some points around a centre for each class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    return 2 * rng.normal(size=(classes, dims))[labels] + rng.normal(size=(len(labels), dims)), labels


# -- the twin --
def test_measure_against_a_loop_over_triplets():
    x, labels = clouds()
    d2 = ((x[:, None] - x) ** 2).sum(2)
    k, margin, hits, count = 2, 0.7, np.zeros(3), 0
    for a in range(len(x)):
        others = sorted((i for i in range(len(x)) if i != a and labels[i] == labels[a]), key=lambda i: d2[a, i])
        for p in others[:k]:
            for n in range(len(x)):
                if labels[n] != labels[a]:
                    s = 1 / (1 + np.exp(-sst.geometry.sst_logit(x[a], x[p], x[n])))
                    active = sst.geometry.triplet(x[a], x[p], x[n], margin)[0] > 0
                    hits += [s > 0.1, s > 0.5, active]
                    count += 1
    found = measure(d2, labels, k, margin)
    assert found["triplets"] == count == len(x) * k * (len(x) - 6)
    assert np.allclose([found[share] for share in SHARES[:3]], hits / count)
    pairs = [d2[i, j] < margin for i in range(len(x)) for j in range(i) if labels[i] != labels[j]]
    assert found["contrastive"] == pytest.approx(np.mean(pairs))
    assert 1 / (1 + np.exp(-MATTERS)) == pytest.approx(0.1, abs=1e-15)


def test_measure_has_the_triplets_of_the_losses():
    x, labels = clouds(each=7, seed=1)
    x, labels = torch.tensor(x), torch.tensor(labels)
    d2 = sst.squared_distances(x)
    anchor, positive = sst.nearest_positives(d2, labels, 3)
    pairs = {(a, int(p)) for a, near in nearest(d2.numpy(), labels.numpy(), 3) for p in near}
    assert pairs == set(zip(anchor.tolist(), positive.tolist(), strict=True))
    z = measure(d2.numpy(), labels.numpy(), 3)["z"]
    assert np.logaddexp(0, z).mean() == pytest.approx(float(sst.sst_loss(x, labels, k=3)))


def test_a_batch_without_triplets_is_measured_as_zero():
    d2 = np.ones((3, 3)) - np.eye(3)
    for labels in ([1, 1, 1], [0, 1, 2]):
        found = measure(d2, np.array(labels))
        assert found["triplets"] == 0 and not found["sst"] and not found["triplet"]


def test_local_batches_are_the_clusters_cut_to_size():
    labels, clusters = np.arange(40) % 5, np.array([0] * 25 + [1] * 5 + [2] * 10)
    batches = draw_batches("local", labels, clusters, 10, seed=1)
    assert [len(batch) for batch in batches] == [10, 5, 10]
    assert all(len(set(clusters[batch])) == 1 for batch in batches)
    assert (np.diff(batches[0]) > 0).all()
    assert list(batches[0]) != list(draw_batches("local", labels, clusters, 10, seed=2)[0])


@pytest.mark.parametrize("size", [10, 20, 40, 60])
def test_balanced_batches_are_balanced_as_in_training(size):
    from sstutils.recipes import Recipe, make_sampler

    labels = np.arange(60) % 6
    batches = draw_batches("balanced", labels, np.zeros(60, int), size, seed=4)
    theirs = make_sampler(Recipe(sampler="balanced", batch_size=size), labels.tolist())
    assert len(batches) == len(theirs)
    for mine, other in zip(batches, theirs, strict=True):
        counts = [np.bincount(labels[np.asarray(batch)]) for batch in (mine, other)]
        assert sorted(counts[0][counts[0] > 0]) == sorted(counts[1][counts[1] > 0])


def test_shuffled_batches_share_no_image_and_are_whole():
    batches = draw_batches("shuffled", np.arange(70) % 7, np.zeros(70, int), 20, seed=5)
    assert [len(batch) for batch in batches] == [20, 20, 20]
    assert len(np.unique(np.concatenate(batches))) == 60


# -- the recording and the state --
def test_recording_is_small_and_keeps_what_matters(explorer):
    assert RECORDING.stat().st_size < 250_000
    names = [entry["name"] for entry in explorer.stages]
    assert names[0] == "untrained" and len(names) >= 4
    assert all(entry["held"] >= 0.96 and entry["dims"] <= 32 for entry in explorer.stages[1:])
    assert len(explorer._labels) == 600 and len(explorer.classes) == 30
    for number, size in enumerate(explorer.sizes):  # the paper's K
        assert (explorer._clusters[:, number].max(axis=1) + 1 == max(1, 600 // size)).all()


def test_the_maker_of_the_recording(tmp_path, monkeypatch):
    from sstutils.lectures.widgets import neighborhoods

    monkeypatch.setattr(neighborhoods, "EPOCHS", (0, 1, 2))
    monkeypatch.setattr(neighborhoods, "LETTERS", "AHTG")
    neighborhoods.make_recording(tmp_path / "stages.npz")
    small = NeighborhoodExplorer.from_recording(tmp_path / "stages.npz")
    assert [entry["name"] for entry in small.stages] == ["untrained", "epoch 1", "epoch 2"]
    assert sorted(small.classes) == ["A", "G", "H", "T"] and len(small._labels) == 80
    assert small.sizes == [25, 50, 75] and small.sprite
    assert recording.MAKERS["stages.npz"].endswith("neighborhoods:make_recording")


def test_what_the_recording_teaches(explorer):
    explorer.stage = "epoch 12"
    mean = {sampler: explorer.shares(sampler) for sampler in SAMPLERS}
    assert mean["local"]["sst"] > 1.5 * mean["balanced"]["sst"]
    explorer.stage = explorer.stages[-1]["name"]
    assert explorer.shares("shuffled")["sst"] < 0.2 * mean["shuffled"]["sst"]
    explorer.B = 25
    assert explorer.shares("local")["sst"] > 4 * explorer.shares("shuffled")["sst"]


def test_batch_and_anchor_stay_together(explorer):
    explorer.anchor = 321
    for B in explorer.sizes:
        for sampler in ("local", "shuffled"):
            explorer.set_trait("sampler", sampler)
            explorer.B = B
            assert explorer.anchor in explorer.batches()[explorer.batch]
    explorer.sampler, explorer.B = "local", 100
    explorer.batch = (explorer.batch + 1) % 6
    assert explorer.anchor in explorer.batches()[explorer.batch]
    explorer.set_state({"B": 25, "batch": 7, "anchor": int(explorer.batches()[0][0])})  # as a page sends it: at once
    assert explorer.B == 25 and explorer.anchor in explorer.batches()[explorer.batch]
    explorer.batch = 10**6  # beyond the last
    assert explorer.batch == len(explorer.batches()) - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"B": 30}, "B must be one of 25, 50"),
        ({"k": 0}, "k must lie from 1 to 10"),
        ({"k": 11}, "k must lie from 1 to 10"),
        ({"margin": -0.1}, "margin must lie from 0 to 5"),
        ({"margin": float("nan")}, "margin must lie from 0 to 5"),
        ({"anchor": 600}, "anchor must lie from 0 to 599"),
        ({"sampler": "hard"}, "sampler must be one of local, balanced, shuffled"),
        ({"stage": "epoch 1000"}, "stage must be one of untrained"),
        ({"loss": "softmax"}, "loss must be one of sst"),
    ],
)
def test_states_that_cannot_be(explorer, change, message):
    for make in (lambda: explorer.set_trait(*next(iter(change.items()))),
                 lambda: NeighborhoodExplorer.from_recording(RECORDING, **change)):  # fmt: skip
        with pytest.raises(traitlets.TraitError, match=re.escape(message)):
            make()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x * np.nan, y), "24 of 24 rows hold NaN"),
        (lambda x, y: (x, y * 0), "all images are of one class"),
        (lambda x, y: (x, np.arange(24)), "each class has one image only"),
        (lambda x, y: (x[:-1], y), "has 23 rows for 24 labels"),
        (lambda x, y: (x, y / 2), "labels must be a list of whole numbers"),
        (lambda x, y: (x.ravel(), y), "must be a matrix"),
        (lambda x, y: ({}, y), "there is no embedding"),
        (lambda x, y: (np.zeros((1001, 2)), np.arange(1001) % 2), "takes 4 to 1000 images, got 1001"),
    ],
)
def test_embeddings_that_cannot_be_explored(spoil, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        NeighborhoodExplorer(*spoil(*clouds()))
    assert "\n" not in str(caught.value)


def test_wrong_lengths_of_the_rest():
    x, labels = clouds()
    for more, message in [
        ({"images": np.zeros((3, 8, 8))}, "got 3 images for 24"),
        ({"classes": ["a"]}, "got 1 names for 4 classes"),
        ({"sizes": [200]}, "a neighborhood needs 4 to 24 images"),
        ({"k": 6}, "k must lie from 1 to 5"),
    ]:
        with pytest.raises((ValueError, traitlets.TraitError), match=message):
            NeighborhoodExplorer(x, labels, sizes=more.pop("sizes", [8, 24]), **more)


def test_missing_or_other_recording(tmp_path):
    with pytest.raises(FileNotFoundError, match="make recordings"):
        NeighborhoodExplorer.from_recording(tmp_path / "stages.npz")
    recording.save(tmp_path / "other.npz", "tsne", {}, {})
    with pytest.raises(ValueError, match="'tsne'"):
        NeighborhoodExplorer.from_recording(tmp_path / "other.npz")


def test_own_embedding_one_array_or_stages():
    x, labels = clouds(dims=2)
    one = NeighborhoodExplorer(x, labels + 5, np.zeros((24, 8, 8)), sizes=[8, 12], B=12)
    assert one.stage == "this embedding" and one.classes == ["5", "6", "7", "8"]
    d2 = ((x[:, None] - x) ** 2).sum(2)
    assert np.allclose(one.squared_distances(), d2, atol=1e-3 * d2.max())
    two = NeighborhoodExplorer({"before": x, "after": 3 * x}, labels, sizes=[12])
    two.stage = "after"
    assert np.allclose(two.squared_distances(), 9 * d2, atol=1e-3 * 9 * d2.max())


def test_picture_tells_its_numbers(explorer):
    explorer.sampler, explorer.B = "balanced", 50
    figure = explorer.picture()
    found, mean = explorer.shares(), explorer.shares("balanced")
    assert f"{found['triplets']:,} triplets" in figure.alt and "balanced" in figure.alt
    assert f"SST, s > 0.1 {percent(found['sst'])} in this batch and {percent(mean['sst'])} in the epoch" in figure.alt
    assert [bar.get_width() for bar in figure.axes[1].patches] == [found[share] for share in SHARES]
    assert len(figure.png(60)) > 5000
    assert "image/png" in explorer._repr_mimebundle_()[0]


# -- the page --
CALL = """async ({ source, state, data }) => {
  const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const d2 = module.squaredDistances(Int16Array.from(data.vectors), data.dims, data.scale), N = data.labels.length;
  const batches = Object.fromEntries(["local", "balanced", "shuffled"].map((sampler) =>
    [sampler, module.drawBatches(sampler, data.labels, data.clusters, state.B, state.seed)]));
  const batch = batches[state.sampler][state.batch], a = batch.indexOf(state.anchor);
  const positives = module.nearest(d2, N, batch, data.labels, a, state.k);
  return {
    d2: Array.from(d2.slice(0, 5 * N)),
    batches: Object.fromEntries(Object.entries(batches).map(([name, all]) =>
      [name, all.map((one) => Array.from(one))])),
    here: module.measure(d2, N, batch, data.labels, state.k, state.margin),
    means: Object.fromEntries(Object.entries(batches).map(([name, all]) =>
      [name, module.epoch(d2, N, all, data.labels, state.k, state.margin)])),
    negatives: module.mattering(d2, N, batch, data.labels, a, positives, state.loss, state.margin),
  };
}"""


def data_of(explorer):
    number = [entry["name"] for entry in explorer.stages].index(explorer.stage)
    return {
        "vectors": explorer._vectors[number].ravel().tolist(),
        "dims": explorer.stages[number]["dims"],
        "scale": explorer.stages[number]["scale"],
        "labels": explorer._labels.tolist(),
        "clusters": explorer._clusters[number, explorer.sizes.index(explorer.B)].tolist(),
    }


STATE = ("stage", "sampler", "B", "k", "margin", "batch", "anchor", "loss", "seed")


def agrees(js, explorer):
    """Hold what the functions of the page return against the twin."""
    assert js["d2"] == explorer.squared_distances()[:5].ravel().tolist()  # to the last bit
    for sampler in SAMPLERS:
        assert js["batches"][sampler] == [batch.tolist() for batch in explorer.batches(sampler)]
        assert js["means"][sampler] == pytest.approx(explorer.shares(sampler), abs=1e-6)
    mine = explorer.shares()
    del mine["z"]
    assert js["here"] == pytest.approx(mine, abs=1e-6)
    assert sorted(set(js["negatives"])) == sorted(set(explorer.negatives_that_matter().tolist()))


def test_page_computes_what_the_twin_computes(tab):
    page = tab()
    page.goto("about:blank")
    for state in STATES:
        explorer = NeighborhoodExplorer.from_recording(RECORDING, **state)
        state = {name: getattr(explorer, name) for name in STATE}
        agrees(page.evaluate(CALL, {"source": explorer._esm, "state": state, "data": data_of(explorer)}), explorer)
    few, labels = clouds(each=3)  # classes with fewer images than a class-balanced batch takes of each: some come twice
    explorer = NeighborhoodExplorer(few, labels, sizes=[12], sampler="balanced", k=2)
    state = {name: getattr(explorer, name) for name in STATE}
    agrees(page.evaluate(CALL, {"source": explorer._esm, "state": state, "data": data_of(explorer)}), explorer)
    assert not page.bad


def same_as_twin(page):
    """Set the twin to the state of the page, and hold the text of the page against it."""
    page.wait_for_timeout(120)
    state = {name: page.model(name) for name in STATE}
    twin = NeighborhoodExplorer.from_recording(RECORDING, **state)
    assert {name: getattr(twin, name) for name in STATE} == state  # the page had settled alike
    found, batches, means = twin.shares(), twin.batches(), {sampler: twin.shares(sampler) for sampler in SAMPLERS}
    batch = batches[twin.batch]
    classes = len(np.unique(twin._labels[batch]))
    what = f"Batch {twin.batch + 1} of {len(batches)}: {len(batch)} images of {classes} class{'es' * (classes > 1)}"
    assert page.locator(".nb-what").inner_text() == what
    assert page.locator(".nb-count").inner_text() == f"{found['triplets']:,} triplets"
    for share in SHARES:
        row = page.locator(f'[data-share="{share}"]')
        number = row.locator(".nb-number").inner_text()
        if not found["triplets"]:
            assert number == "–"
            continue
        assert number in (percent(found[share]), percent(found[share] + 1e-9))  # a half rounds up in JavaScript
        width = float(row.locator("i").evaluate("node => node.style.width").rstrip("%"))
        assert width == pytest.approx(100 * found[share], abs=1e-3)
        for sampler, text in zip(SAMPLERS, row.locator(".nb-means span").all_inner_texts()[1:], strict=True):
            assert text == f"{sampler} {percent(means[sampler][share]) if means[sampler]['batches'] else '–'}"
        mean = float(row.locator("b").evaluate("node => node.style.left").rstrip("%"))
        assert mean == pytest.approx(100 * means[twin.sampler][share], abs=1e-3)
    return twin


def pixels(page):
    return page.evaluate("document.querySelector('.nb-map canvas').toDataURL()")


def wait_for_pictures(page):
    page.wait_for_timeout(300)  # the sprite sheet is decoded beside the page


MOVES = [
    ("Batch size B", "ArrowLeft", "B"),
    ("Batch size B", "ArrowRight", "B"),
    ("Positives k", "ArrowLeft", "k"),
    ("Margin m", "ArrowRight", "margin"),
    ("Batch", "ArrowRight", "batch"),
    ("Anchor", "ArrowRight", "anchor"),
    ("local", "ArrowRight", "sampler"),
    ("SST", "ArrowRight", "loss"),
    ("epoch 12", "ArrowRight", "stage"),
]


def test_every_control_moves_page_state_and_pixels_as_the_twin(explorer, page_of):
    page = page_of(explorer)
    wait_for_pictures(page)
    same_as_twin(page)
    page.get_by_role("slider", name="Margin m").evaluate(
        "node => { node.value = 1; node.dispatchEvent(new Event('input')); }"
    )
    for label, press, trait in MOVES:
        kind = "slider" if label[0] in "BPMA" else "radio"
        control = page.get_by_role(kind, name=label, exact=True).first
        before = page.model(trait), pixels(page), page.locator(".sst-body").inner_text()
        control.focus()
        page.keyboard.press(press)
        same_as_twin(page)
        assert page.model(trait) != before[0], label
        assert page.locator(".sst-body").inner_text() != before[2], label
        assert trait == "margin" or pixels(page) != before[1], label
    for name, trait in (("Next batch", "batch"), ("Reshuffle", "seed")):
        before = page.model(trait), pixels(page)
        page.get_by_role("button", name=name).focus()
        page.keyboard.press("Enter")
        same_as_twin(page)
        assert page.model(trait) != before[0] and pixels(page) != before[1]
    page.wait_for_timeout(350)
    assert page.locator(".sst-said").inner_text() == page.model("said") != ""
    assert not page.bad


def test_margin_moves_the_negatives_of_the_triplet_loss(page_of):
    explorer = NeighborhoodExplorer.from_recording(RECORDING, loss="triplet")
    page = page_of(explorer)
    wait_for_pictures(page)
    before = pixels(page), len(explorer.negatives_that_matter())
    page.get_by_role("slider", name="Margin m").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    twin = same_as_twin(page)
    after = len(twin.negatives_that_matter())
    assert after > before[1] and pixels(page) != before[0]
    assert f"{after} of its negatives matter to the triplet loss" in page.locator(".nb-map .nb-note").inner_text()


def test_pointing_at_an_image_makes_it_the_anchor(explorer, page_of):
    page = page_of(explorer)
    wait_for_pictures(page)
    box = page.locator(".nb-map canvas").bounding_box()
    other = [batch for number, batch in enumerate(explorer.batches()) if number != explorer.batch][1]
    stage = [entry["name"] for entry in explorer.stages].index(explorer.stage)
    spots = explorer._layouts[stage] * [1, -1] * (0.5 - 16 / 540) + 0.5
    item = int(other[0])
    page.mouse.click(box["x"] + spots[item, 0] * box["width"], box["y"] + spots[item, 1] * box["height"])
    twin = same_as_twin(page)
    assert twin.anchor == item and item in twin.batches()[twin.batch]


def test_set_from_python_redraws(explorer, page_of):
    page = page_of(explorer)
    page.evaluate("""id => { const model = sst.model(id); model.set("B", 50); model.set("sampler", "shuffled"); }""",
                  explorer.model_id)  # fmt: skip
    page.wait_for_function("document.querySelector('.nb-what').textContent.includes('of 12: 50 images')")
    same_as_twin(page)
    assert page.get_by_role("radio", name="shuffled").is_checked()


def test_batches_without_triplets_say_so(page_of):
    explorer = NeighborhoodExplorer.from_recording(RECORDING, stage="epoch 80", B=25)
    whole = [number for number, b in enumerate(explorer.batches()) if len(np.unique(explorer._labels[b])) == 1]
    explorer.batch = whole[0]
    page = page_of(explorer)
    wait_for_pictures(page)
    assert "one class only: no negative, no triplet" in page.locator(".nb-facts .nb-note").inner_text()
    assert page.get_by_role("slider", name="Anchor").is_disabled()
    same_as_twin(page)
    assert explorer.picture().alt
    x, labels = clouds(classes=8, each=2)
    apart = NeighborhoodExplorer(x, labels, sizes=[4], sampler="shuffled")
    seeds = ((seed, n) for seed in range(99) for n in range(4))
    for seed, number in seeds:
        apart.seed, apart.batch = seed, number
        if not apart.shares()["triplets"]:
            break
    page = page_of(apart)  # without pictures, too
    assert "no positive, no triplet" in page.locator(".nb-facts .nb-note").inner_text()
    assert "no anchor" in page.locator(".nb-map .nb-note").inner_text()
    assert not page.bad


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1440, 390, 340])
def test_accessible_and_never_too_wide(explorer, page_of, width, dark):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = page_of(explorer, width=width, dark=dark)
    wait_for_pictures(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(page, context=".sst-widget").response["violations"]
    serious = [(entry["id"], entry["help"]) for entry in found if entry["impact"] in ("serious", "critical")]
    assert not serious, json.dumps(serious)
    assert page.locator(".nb-map canvas").get_attribute("aria-label").startswith("Map of 600 images")
    assert not page.bad


LATENCY = """async () => {
  const times = [], frame = () => new Promise((done) => requestAnimationFrame(done));
  for (const input of document.querySelectorAll("input[type=range]")) {
    for (let step = 0; step < 8; step++) {
      const up = Number(input.value) < Number(input.max) && step % 8 < 4;
      input.value = Number(input.value) + (up ? 1 : -1) * Number(input.step);
      const start = performance.now();
      input.dispatchEvent(new Event("input"));
      document.querySelector(".nb-map canvas").getContext("2d").getImageData(0, 0, 1, 1); // until it is painted
      times.push(performance.now() - start);
      await frame();
    }
  }
  return times;
}"""


def test_latency_is_reported(explorer, page_of, record_property):
    page = page_of(explorer)
    wait_for_pictures(page)
    times = np.array(page.evaluate(LATENCY))
    record_property("latency_ms", float(np.median(times)))
    print(f"input to redraw: median {np.median(times):.1f} ms, 90 % {np.quantile(times, 0.9):.1f} ms")
    assert len(times) == 5 * 8
