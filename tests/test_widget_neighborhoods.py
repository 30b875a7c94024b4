"""The explorer of neighborhoods: its page against its Python twin, and the twin against the losses."""

import re

import numpy as np
import pytest
import torch
import traitlets

import sstutils as sst
from sstutils.clustering import kmeans
from sstutils.lectures import recording
from sstutils.lectures.widgets import NeighborhoodExplorer
from sstutils.lectures.widgets.neighborhoods import MATTERS, SAMPLERS, SHARES, draw_batches, list_triplets, measure
from sstutils.lectures.widgets.neighborhoods import _percent as percent
from sstutils.recipes import Recipe, make_sampler

RECORDING = recording.FOLDER / "stages.npz"
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
    assert np.allclose([found[share] for share in ("sst", "inside", "triplet")], hits / count)
    pairs = [d2[i, j] < margin for i in range(len(x)) for j in range(i) if labels[i] != labels[j]]
    assert found["contrastive"] == pytest.approx(np.mean(pairs))
    assert 1 / (1 + np.exp(-MATTERS)) == pytest.approx(0.1, abs=1e-15)


def test_the_triplets_are_those_of_the_losses():
    x, labels = clouds(each=7, seed=1)
    z, hinge = list_triplets(((x[:, None] - x) ** 2).sum(2), labels, 3, 0.4)[3:]
    x, labels = torch.tensor(x), torch.tensor(labels)
    assert np.logaddexp(0, z).mean() == pytest.approx(float(sst.sst_loss(x, labels, k=3)))
    assert (hinge > 0).any() and (hinge < 0).any()
    hinge = hinge.clip(0)
    assert float(sst.triplet_loss(x, labels, margin=0.4, k=3)) in (
        pytest.approx(hinge.mean()),
        pytest.approx(hinge[hinge > 0].mean()),
    )


def test_a_batch_without_triplets_is_measured_as_zero():
    d2 = np.ones((3, 3)) - np.eye(3)
    for labels in ([1, 1, 1], [0, 1, 2]):
        found = measure(d2, np.array(labels))
        assert found["triplets"] == 0 and not found["sst"] and not found["triplet"]


# -- the batches follow the rules of the samplers, with random numbers that a page has too --
def test_local_batches_are_those_of_the_sampler_cut_to_size():
    x, labels = clouds(classes=8, each=30, seed=2)
    sampler = sst.LocalSampler(labels, batch_size=20, seed=3).refresh(torch.tensor(x))
    seed = int(torch.randint(2**62, (), generator=sst.LocalSampler(labels, 20, seed=3)._next_epoch()))
    clusters = kmeans(torch.tensor(x), len(x) // 20, seed=seed, init="random")[1].numpy()
    batches = draw_batches("local", labels, clusters, 20, seed=1)
    trained = [batch for batch in batches if 1 < len(np.unique(labels[batch])) < len(batch)]
    assert [len(batch) for batch in trained] == [len(batch) for batch in sampler]
    for mine, theirs in zip(trained, sampler, strict=True):
        assert set(clusters[mine]) == set(clusters[theirs]) and (np.diff(mine) > 0).all()
        assert len(mine) == 20 or mine.tolist() == theirs
    cut = [number for number, batch in enumerate(batches) if len(batch) == 20]
    again = draw_batches("local", labels, clusters, 20, seed=2)
    assert cut and any(batches[number].tolist() != again[number].tolist() for number in cut)


@pytest.mark.parametrize("size", [10, 20, 60])
def test_balanced_and_shuffled_batches_are_those_of_the_samplers(size):
    labels = np.arange(60) % 6
    for name, theirs in {
        "balanced": make_sampler(Recipe(sampler="balanced", batch_size=size), labels.tolist()),
        "shuffled": sst.ShuffledSampler(labels, size),
    }.items():
        batches = draw_batches(name, labels, np.zeros(60, int), size, seed=4)
        assert len(batches) == len(theirs)
        for mine, other in zip(batches, theirs, strict=True):
            counts = [np.bincount(labels[np.asarray(batch)], minlength=6) for batch in (mine, other)]
            assert counts[0].sum() == counts[1].sum()
            assert name == "shuffled" or sorted(counts[0]) == sorted(counts[1])
        drawn = np.concatenate(batches)
        assert name == "balanced" or len(np.unique(drawn)) == len(drawn) == 60 // size * size


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

    monkeypatch.setattr(neighborhoods, "EPOCHS", (0, 1))
    monkeypatch.setattr(neighborhoods, "LETTERS", "AHTG")
    neighborhoods.make_recording(tmp_path / "stages.npz")
    small = NeighborhoodExplorer.from_recording(tmp_path / "stages.npz")
    assert [entry["name"] for entry in small.stages] == ["untrained", "epoch 1"]
    assert sorted(small.classes) == ["A", "G", "H", "T"] and len(small._labels) == 80
    assert small.sizes == [25, 50, 75] and small.sprite


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
        ({"k": 0}, "k must be between 1 and 10; got"),
        ({"k": 11}, "k must be between 1 and 10; got"),
        ({"margin": -0.1}, "margin must be between 0 and 5; got"),
        ({"margin": float("nan")}, "margin must be between 0 and 5; got"),
        ({"anchor": 600}, "anchor must be between 0 and 599; got"),
        ({"sampler": "hard"}, "sampler must be one of local, balanced, shuffled"),
        ({"stage": "epoch 1000"}, "stage must be one of untrained"),
        ({"loss": "softmax"}, "loss must be one of sst"),
    ],
)
def test_states_that_cannot_be(explorer, change, message):
    with pytest.raises(traitlets.TraitError, match=re.escape(message)):
        explorer.set_trait(*next(iter(change.items())))
    with pytest.raises(traitlets.TraitError, match=re.escape(message)):
        NeighborhoodExplorer.from_recording(RECORDING, **change)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x * np.nan, y), "24 of 24 rows are not finite"),
        (lambda x, y: (x, y * 0), "all images are of one class"),
        (lambda x, y: (x, np.arange(24)), "each class has one image only"),
        (lambda x, y: (x[:-1], y), "labels must be 23 integers, one for each item, got 24"),
        (lambda x, y: ({"a": x, "b": x[:-1]}, y), "labels must be 23 integers, one for each item, got 24"),
        (lambda x, y: (x, y / 2), "labels must be 24 integers, one for each item, got float64"),
        (lambda x, y: (x, y.astype(str)), "labels must be 24 integers, one for each item, got str"),
        (lambda x, y: (x.ravel(), y), "this embedding must be"),
        (lambda x, y: ({}, y), "got an empty dict"),
        (
            lambda x, y: (np.zeros((1001, 2)), np.arange(1001) % 2),
            "the number of images must be between 4 and 1000; got 1001",
        ),
    ],
)
def test_embeddings_that_cannot_be_explored(spoil, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        NeighborhoodExplorer(*spoil(*clouds()))
    assert "\n" not in str(caught.value)


def test_wrong_lengths_of_the_rest():
    x, labels = clouds()
    for more, message in [
        ({"images": np.zeros((3, 8, 8))}, "images must have one entry for each of 24; got 3"),
        ({"classes": ["a"]}, "classes must have one entry for each of 4; got 1"),
        ({"sizes": [200]}, "sizes must have a number between 4 and 24; got 200"),
        ({"sizes": [10.0, 20]}, "sizes must be an integer, got 10.0"),
        ({"sizes": "10"}, "sizes must be an integer, got '10'"),
        ({"k": 6}, "k must be between 1 and 5"),
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
    assert two.picture().alt.startswith("after")  # without images, too
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
    positives: positives.map((p) => batch[p]),
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
    assert js["here"] == pytest.approx(explorer.shares(), abs=1e-6)
    positives, negatives = explorer.around_anchor()
    assert sorted(js["positives"]) == positives.tolist() and sorted(set(js["negatives"])) == negatives.tolist()


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
    before = pixels(page), len(explorer.around_anchor()[1])
    page.get_by_role("slider", name="Margin m").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    twin = same_as_twin(page)
    after = len(twin.around_anchor()[1])
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
    page.put(B=50, sampler="shuffled")
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
