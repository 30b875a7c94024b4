"""The playground: its Python side, what its page computes and says, and training in a real browser."""

import base64
import inspect
import io
import re

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image

from sstutils import training
from sstutils.lectures import widgets
from sstutils.lectures.editions.pages import playground as page_of_its_own
from sstutils.lectures.widgets import base, playground, playground_data
from sstutils.lectures.widgets.experiments import COLUMNS, EXPERIMENTS

SMALL = {"B": 40, "lr": 0.01}


def run_to(page, step, timeout=60_000):
    """Train full speed until a step is reached, and pause."""
    page.get_by_label("full speed").check()
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function(
        "step => Number(/Step (\\d+)/.exec(document.querySelector('.sst-pg-state').textContent)?.[1]) >= step",
        arg=step,
        timeout=timeout,
    )
    if page.get_by_role("button", name="Pause").count():
        page.get_by_role("button", name="Pause").click()
    paused(page)


def paused(page):
    page.get_by_role("button", name="Play", exact=True).wait_for()
    page.wait_for_timeout(150)


def steps(page, count):
    """Take single steps, and wait for each."""
    for _ in range(count):
        before = page.model("step")
        page.get_by_role("button", name="Step", exact=True).click()
        page.wait_for_function(f"sst.model(sst.ids[0]).get('step') === {before + 1}")


# ---- in Python ----
def test_settings_are_checked():
    with pytest.raises(traitlets.TraitError, match=r"margin must be a number from 0.01 to 10; got 20"):
        widgets.Playground(settings={"margin": 20})
    with pytest.raises(traitlets.TraitError, match=r"B must be a whole number from 6 to 200; got 2.5"):
        widgets.Playground(settings={"B": 2.5})
    with pytest.raises(traitlets.TraitError, match="loss must be one of sst, triplet, contrastive; got 'npair'"):
        widgets.Playground(settings={"loss": "npair"})
    with pytest.raises(traitlets.TraitError, match=r"settings must be one of data, dim, .*; got 'size'"):
        widgets.Playground(rival={"size": 3})
    with pytest.raises(traitlets.TraitError, match="experiment must be one of margin-too-small"):
        widgets.Playground("margin")
    game = widgets.Playground("no-scale", settings={"seed": 4})
    assert game.settings["seed"] == game.rival["seed"] == 4 and game.settings["scale"] == 3 and game.rival["scale"] == 1


def test_slow_motion_shows_lines_of_the_code_as_it_is():
    code = [line.strip() for line in inspect.getsource(training.train_epoch).splitlines()]
    stations = playground.lines()
    for name, station in stations.items():
        assert code.count(station["code"]) == 1, f"{name} shows {station['code']!r}, which is not in train_epoch"
        assert station["place"] == "train_epoch in training.py" and station["algorithm"].endswith(".")
    order = [code.index(stations[name]["code"]) for name in ("embed", "cluster", "visit", "choose", "distances")]
    order += [code.index(stations[name]["code"]) for name in ("weights", "forces", "move")]
    assert order == sorted(order)  # as the stations follow each other
    names = re.search(r"STATION_NAMES = {(.*?)};", base.script("playground"), re.DOTALL)[1]
    assert set(re.findall(r'(\w+): "', names)) == set(stations)


def test_slow_motion_shows_no_line_that_is_gone(monkeypatch):
    monkeypatch.setattr(playground.training, "train_epoch", lambda run, epoch: iter(()))
    playground.lines.cache_clear()
    try:
        assert {(station["code"], station["place"]) for station in playground.lines().values()} == {("", "")}
    finally:
        playground.lines.cache_clear()


@pytest.mark.parametrize(
    "settings",
    [
        {"data": "digits", "dim": 16, "loss": "contrastive"},
        *(pytest.param(settings, marks=pytest.mark.slow) for settings in ({}, {"sampler": "shuffled"})),
    ],
)
def test_the_still_picture_is_trained_by_the_package(settings):
    labels, before, after, history = playground.trained(playground.SETTINGS | settings, 30)
    assert len(history) == 30 and before.shape == after.shape == (len(labels), settings.get("dim", 2))
    assert not np.allclose(before, after)
    state = torch.random.get_rng_state()
    alt = widgets.Playground(settings=settings).picture().alt
    assert "after 60 steps" in alt and f"{len(labels)} items" in alt
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_usual_settings_are_those_of_the_engine(functions_of):
    page = functions_of("engine", "playground")
    assert page.evaluate("m.engine().SETTINGS") == playground.SETTINGS
    assert not page.bad


# ---- functions of the page ----
def test_links_say_all_that_the_curves_follow_from(functions_of):
    page = functions_of("engine", "playground")

    def there_and_back(state):
        return page.evaluate("state => m.fromLink('#' + m.toLink(state))", state)

    settings = playground.SETTINGS | {"loss": "triplet", "margin": 0.5, "normalize": True, "seed": 12}
    state = {"experiment": "no-scale", "settings": settings, "rival": settings | {"margin": 2}}
    changes = [[[30, {"margin": 1, "normalize": False}], [55, {"sampler": "shuffled"}]], []]
    assert there_and_back(state | {"changes": changes}) == state | {"changes": changes}
    usual = {"experiment": "", "settings": playground.SETTINGS, "rival": None, "changes": [[], []]}
    assert page.evaluate("state => m.toLink(state)", usual) == "" and there_and_back(usual) == usual
    wrong = "#loss=npair&B=1e9&seed=-1&margin=abc&k=2.5&dim=4&changes=x:margin=1;5:size=3;7:lr=0.01&lr=0.01&evil=<b>"
    found = page.evaluate("text => m.fromLink(text)", wrong)
    assert found["settings"] == playground.SETTINGS | {"lr": 0.01} and found["changes"] == [[[7, {"lr": 0.01}]], []]


def test_what_differs_is_named_in_words(functions_of):
    page = functions_of("engine", "playground")

    def difference(**other):
        return page.evaluate("([a, b]) => m.difference(a, b)", [playground.SETTINGS, playground.SETTINGS | other])

    assert difference(loss="triplet", margin=2) == (
        "What differs: loss SST (A) and triplet (B); margin 0.2 (A) and 2 (B)."
    )
    assert "Nothing differs" in difference(margin=2)  # SST has none
    assert "batches local (A) and shuffled (B)" in difference(sampler="shuffled", warmup=3)


def test_collapse_is_said(functions_of):
    page = functions_of("engine", "playground")
    row = [0, 0, 0, None, 0.5, 0.5, None, 0.5]
    for spread, expected in ((1, False), (0.01, True)):
        rows = [[*row, 1.0], [*row, spread]]
        assert page.evaluate("rows => m.collapsed(rows)", rows) is expected
        run = {"rows": rows, "step": 10, "epoch": 1, "triplets": 12_345, "settings": {"loss": "sst"}, "ended": ""}
        said = page.evaluate("run => m.told(run, {others: 'classes'})", run)
        assert said.startswith("Step 10, epoch 1.0, 12 thousand triplets: Recall@1 0.50") and "-0" not in said
        assert ("collapsed" in said) is expected


def test_tables_of_points_are_read(functions_of):
    page = functions_of("engine", "playground")

    def read(text):
        return page.evaluate(
            "text => { try { const {train, unseen, d, classes, others} = m.readCSV(text);"
            "return {n: train.n + unseen.n, d, classes, others, x: [...train.x]} } catch (e) { return e.message } }",
            text,
        )

    rows = "\n".join(f"{i % 5},{i * 3},{'ab'[i % 2]}" for i in range(30))
    found = read("width,height,kind\n" + rows)
    assert (found["n"], found["d"], found["classes"], found["others"]) == (30, 2, ["a", "b"], "points")
    assert read(rows.replace(",", ";"))["n"] == 30  # no heading, other separators
    assert read("\n".join(f"{i},{i % 3}" for i in range(30)))["classes"] == ["0", "1", "2"]  # numbers as labels
    many = read("\n".join(f"{'abcdefgh'[i % 8]},{i}" for i in range(2000)))
    assert many["n"] == 600 and many["others"] == "classes" and len(many["classes"]) == 8
    x = np.array(found["x"]).reshape(-1, 2)
    assert np.abs(x).max() < 2.5  # standardised
    assert "fewer than two lines" in read("1,2,a")
    assert "columns 1 and 3 contain words" in read("a,1,b\nc,2,d\ne,3,f")
    assert "line 3 has 2 columns, the others have 3" in read("1,2,a\n1,3,b\n1,2\n1,2,b")
    assert "only one class has two items or more" in read("1,2,a\n1,3,a")


def test_hulls(functions_of):
    page = functions_of("engine", "playground")
    x, y = np.random.default_rng(0).normal(size=(2, 40))
    found = page.evaluate("([x, y]) => m.hull([...x.keys()], x, y)", [x.tolist(), y.tolist()])
    scipy = pytest.importorskip("scipy.spatial")
    assert set(found) == set(scipy.ConvexHull(np.stack([x, y], 1)).vertices)


# ---- training in the page ----
def test_a_network_is_trained_and_python_sees_how(page_of):
    page = page_of(widgets.Playground(settings=SMALL))
    page.get_by_text(re.compile("^Step 0")).wait_for()
    before = page.locator(".sst-pg-plane canvas").first.screenshot()
    run_to(page, 150)
    assert page.locator(".sst-pg-plane canvas").first.screenshot() != before
    (rows,) = page.model("curves")
    assert [row[0] for row in rows] == list(range(0, page.model("step") + 1, 10))
    last = dict(zip(COLUMNS, rows[-1]))
    assert last["recall"] > 0.9 > rows[0][4] and last["spread"] > rows[0][8]
    page.locator(".sst-said", has_text=re.compile(r"Step \d+, epoch .* Recall@1 (0\.9\d|1\.00)")).wait_for()
    page.get_by_role("button", name="Reset").click()
    page.get_by_text(re.compile("^Step 0")).wait_for()
    assert page.model("step") == 0 and not page.bad


def test_the_same_link_gives_the_same_curves_though_dials_were_moved(tab, tmp_path):
    file = tmp_path / "playground.html"
    file.write_text(page_of_its_own(), encoding="utf-8")
    assert file.stat().st_size < 600_000

    def opened(address):
        page = tab()
        page.goto(address)
        page.locator("[data-ready]").wait_for(state="attached")
        page.model = lambda name: page.evaluate("name => sst.model(sst.ids[0]).get(name)", name)
        page.get_by_text(re.compile("Step 0")).wait_for()
        return page

    first = opened(file.as_uri() + "#loss=triplet&margin=0.5&seed=7&B=40&race=1&b.margin=2")
    steps(first, 7)
    first.get_by_role("slider", name="Margin").press("ArrowRight")
    first.get_by_role("radio", name="class-balanced").check()
    steps(first, 4)
    assert "changes=7%3Amargin%3D1" in first.url and first.model("step") == 11
    again = opened(first.url)
    steps(again, 11)
    assert len(again.model("curves")) == 2 and again.model("curves") == first.model("curves")
    assert again.model("link") == first.model("link")
    other = opened(file.as_uri() + "#loss=triplet&margin=0.5&seed=8&B=40&race=1&b.margin=2")
    steps(other, 11)
    assert other.model("curves") != first.model("curves")
    assert not first.bad and not again.bad


def test_a_question_is_committed_to_before_it_is_answered(page_of):
    page = page_of(widgets.Playground("margin-too-small"))
    play, commit = (
        page.get_by_role("button", name="Play", exact=True),
        page.get_by_role("button", name="Commit and run"),
    )
    assert play.is_disabled() and commit.is_disabled()
    assert EXPERIMENTS[0].because not in page.locator("body").inner_text()
    page.get_by_label("Collapsed, with all points").check()
    page.get_by_label("20 steps/s").check()
    commit.click()
    page.get_by_label("full speed").check()
    page.locator(".sst-pg-wrong").wait_for(timeout=60_000)
    assert page.model("step") == 200 and page.model("chosen") == 2
    text = page.locator(".sst-pg-verdict").inner_text()
    assert text.startswith("✗ No. Even a small margin demands") and EXPERIMENTS[0].because in text
    page.get_by_label("Experiment").select_option("no-scale")
    assert play.is_disabled() and page.locator(".sst-pg-question").inner_text() == EXPERIMENTS[2].question
    page.get_by_label("Experiment").select_option("")
    assert play.is_enabled() and not page.bad


def test_who_commits_before_the_data_are_unpacked_is_answered_too(page_of):
    page = page_of(widgets.Playground(settings=SMALL))
    page.get_by_text(re.compile("^Step 0")).wait_for()
    page.evaluate(
        """() => { const read = Response.prototype.arrayBuffer; Response.prototype.arrayBuffer = async function () {
        await new Promise((done) => setTimeout(done, 1500)); return read.call(this); } }"""
    )
    page.get_by_label("Experiment").select_option("margin-too-small")
    page.get_by_label("Collapsed, with all points").check()
    page.get_by_role("button", name="Commit and run").click()
    page.get_by_label("full speed").check()
    page.locator(".sst-pg-wrong").wait_for(timeout=60_000)
    assert page.model("step") == 200 and not page.bad


def test_an_answer_says_that_dials_were_moved(page_of):
    page = page_of(widgets.Playground("margin-too-small", settings={"seed": 3}))
    page.get_by_label("Collapsed, with all points").check()
    page.get_by_role("slider", name="Margin").press("ArrowRight")
    page.get_by_role("button", name="Commit and run").click()
    assert page.evaluate("document.activeElement.textContent") in ("Play", "Pause")  # the pressed button is gone
    page.get_by_label("full speed").check()
    page.locator(".sst-pg-verdict p").nth(2).wait_for(timeout=60_000)
    assert page.locator(".sst-pg-verdict").inner_text().startswith("These dials are not those of the experiment")
    assert not page.bad


def test_the_name_of_an_experiment_is_link_enough(tab, tmp_path):
    file = tmp_path / "playground.html"
    file.write_text(page_of_its_own(), encoding="utf-8")
    page = tab()
    page.goto(file.as_uri() + "#experiment=margin-too-large&seed=5")
    page.get_by_text(re.compile("A: Step 0")).wait_for()
    settings, rival = (page.evaluate("name => sst.model(sst.ids[0]).get(name)", name) for name in ("settings", "rival"))
    assert settings == playground.SETTINGS | EXPERIMENTS[1].settings | {"seed": 5}
    assert rival == settings | {"margin": 3}
    assert page.locator(".sst-pg-question").inner_text() == EXPERIMENTS[1].question and not page.bad


def test_slow_motion_walks_to_and_fro(page_of):
    page = page_of(widgets.Playground(settings=SMALL), reduced_motion="reduce")
    page.get_by_text(re.compile("^Step 0")).wait_for()
    page.get_by_role("button", name="Slow motion").click()
    pictures, box = [], page.locator(".sst-pg-stations")
    for name in ("The batch", "Distances", "Nearest positives", "Triplets", "The forces", "The move"):
        page.wait_for_timeout(120)
        assert name in box.locator("[aria-current]").inner_text()
        assert "train_epoch in training.py" in box.inner_text()
        pictures.append(page.locator(".sst-pg-plane canvas").first.screenshot())
        if name != "The move":
            page.locator("[data-walk=next]").click()
    assert len(set(pictures)) == 6
    page.locator("[data-walk=back]").click()
    assert "The forces" in box.locator("[aria-current]").inner_text()
    page.locator("[data-walk=next]").click()
    page.locator("[data-walk=next]").click()
    page.wait_for_function("sst.model(sst.ids[0]).get('step') === 1")
    assert "The batch" in box.locator("[aria-current]").inner_text()
    page.get_by_label("one epoch").check()
    assert page.evaluate("document.activeElement.parentElement.textContent") == "one epoch"
    for name in ("Embed", "Cluster", "Visit"):
        assert name in box.locator("[aria-current]").inner_text()
        page.locator("[data-walk=next]").click()
        page.wait_for_timeout(120)
    assert page.model("step") == 2 and not page.bad


def test_two_settings_race(page_of):
    page = page_of(widgets.Playground(settings=SMALL))
    page.get_by_text(re.compile("^Step 0")).wait_for()
    page.get_by_role("button", name="Race two settings").click()
    assert "Nothing differs yet" in page.locator(".sst-pg-differs").inner_text()
    page.get_by_role("radio", name="triplet", exact=True).check()
    assert "loss SST (A) and triplet (B)" in page.locator(".sst-pg-differs").inner_text()
    steps(page, 20)
    a, b = page.model("curves")
    assert a[0] == b[0] and a[-1] != b[-1]
    assert page.model("settings")["loss"] == "sst" and page.model("rival")["loss"] == "triplet"
    assert not page.bad


def test_slow_motion_speaks_of_both_runs_and_of_what_each_does(page_of):
    """B has another loss and other batches: pairs in place of triplets, and no neighborhoods."""
    rival = {"loss": "contrastive", "sampler": "balanced"}
    page = page_of(widgets.Playground(settings={"data": "digits", "B": 50}, rival=rival))
    page.get_by_text(re.compile("^A: Step 0")).wait_for()
    page.get_by_role("button", name="Slow motion").click()
    page.get_by_role("button", name="Nearest positives").click()
    said = page.locator(".sst-pg-stations").inner_text()
    assert "A: Each anchor is paired with its 5 nearest positives, chosen when the epoch began" in said
    assert "B: The contrastive loss uses all positives" in said
    page.get_by_role("button", name="Triplets and weights").click()
    said = page.locator(".sst-pg-stations").inner_text()
    assert re.search(r"A: .* triplets\. Each has the weight s .* B: .* pairs of different classes", said)
    assert not page.bad


@pytest.mark.parametrize("dim", [pytest.param(2, marks=pytest.mark.slow), 3, 16])
def test_embeddings_of_every_dimension_and_triplets(page_of, dim):
    page = page_of(widgets.Playground(settings={"data": "digits", "dim": dim, "B": 50}), reduced_motion="reduce")
    page.get_by_text(re.compile("^Step 0")).wait_for()
    assert page.get_by_role("slider", name="Turn").is_visible() == (dim == 3)
    caption = page.locator(".sst-pg-caption").first.inner_text()
    assert ("plane of greatest variance" in caption) == (dim == 16)
    canvas = page.locator(".sst-pg-plane canvas").first
    before = canvas.screenshot()
    page.get_by_role("button", name="Next anchor").click()
    page.wait_for_timeout(400)
    assert re.search(
        r"Anchor \d+ of \d+, \d\. The triplet drawn has s = 0\.\d\d", page.locator(".sst-said").inner_text()
    )
    assert canvas.screenshot() != before
    for name in ("Turn", "Tilt") if dim == 3 else ():
        before = canvas.screenshot()
        page.get_by_role("slider", name=name).press("ArrowRight")
        page.settle()
        assert canvas.screenshot() != before
    page.get_by_label("unseen", exact=True).check()
    page.wait_for_timeout(200)
    assert "270 pictures" in canvas.get_attribute("aria-label")
    assert not page.bad


def test_data_of_ones_own(page_of, tmp_path):
    rng = np.random.default_rng(0)
    table = tmp_path / "points.csv"
    centres = rng.normal(size=(3, 4)) * 3
    table.write_text(
        "\n".join(",".join([*map(str, rng.normal(size=4) + centres[i % 3]), f"kind {i % 3}"]) for i in range(90))
    )
    for name in ("dark", "light", "striped"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(12):
            values = rng.integers(0, 80, (40, 30, 3), dtype=np.uint8) + {"dark": 0, "light": 170, "striped": 90}[name]
            Image.fromarray(values).save(tmp_path / "pictures" / name / f"{i}.png")
    page = page_of(widgets.Playground(settings={"B": 20}))
    page.locator("input[type=file]").first.set_input_files(table)
    page.get_by_text("3 classes: 60 points to train on, and 30 unseen ones of the same classes.").wait_for(
        state="attached"
    )
    steps(page, 5)
    assert page.model("settings")["data"] == "own" and "own" in page.model("link")
    page.locator("input[webkitdirectory]").set_input_files(tmp_path / "pictures")
    page.get_by_text("3 classes: 24 pictures to train on, and 12 unseen ones of the same classes.").wait_for(
        state="attached"
    )
    steps(page, 5)
    page.locator(".sst-widget").evaluate(
        """(node, text) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([text], "dropped.csv", {type: "text/csv"}));
            node.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
        }""",
        "\n".join(f"{i % 7},{i % 5},{'abcdef'[i % 6]}" for i in range(60)),
    )
    told = page.get_by_text("6 classes: 40 points to train on, and 20 unseen ones of other classes.")
    told.wait_for(state="attached")
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b,c\nd,e,f\n")
    page.locator("input[type=file]").first.set_input_files(bad)
    page.get_by_text("These files cannot be used: columns 1, 2 and 3 contain words").first.wait_for()
    assert not page.bad


def drop(page, *paths):
    """Drop files or folders on the page, as a hand does."""
    session, box = page.context.new_cdp_session(page), page.locator(".sst-pg-plane").first.bounding_box()
    data = {"items": [], "files": list(map(str, paths)), "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        at = {"x": box["x"] + 40, "y": box["y"] + 40}
        session.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})


def test_folders_of_pictures_are_dropped(page_of, tmp_path):
    rng, album = np.random.default_rng(0), tmp_path / "album"
    for number, name in enumerate(("cats", "dogs", "owls")):
        inside = album / name / "2024" if name == "owls" else album / name
        inside.mkdir(parents=True)
        for i in range(12):
            Image.fromarray(rng.integers(0, 80, (30, 40), dtype=np.uint8) + 70 * number).save(inside / f"{i}.PNG")
    (album / "cats" / "notes.md").write_text("no picture")
    page = page_of(widgets.Playground(settings={"B": 20}))
    page.get_by_text(re.compile("^Step 0")).wait_for()
    drop(page, album / "cats", album / "dogs")  # a folder for each class
    page.get_by_text("2 classes: 16 pictures to train on, and 8 unseen").wait_for(state="attached")
    legend = page.locator(".sst-pg-legend span")
    assert legend.all_inner_texts() == ["cats", "dogs"]
    steps(page, 2)
    drop(page, album)  # or one with all of them
    page.get_by_text("3 classes: 24 pictures to train on, and 12 unseen").wait_for(state="attached")
    assert legend.all_inner_texts() == ["cats", "dogs", "owls"]  # whatever folders there are inside
    drop(page, album / "cats" / "0.PNG", album / "dogs" / "0.PNG")
    page.get_by_text("no class has two items or more; at least two such classes are needed").first.wait_for()
    drop(page, album / "cats" / "notes.md")
    page.get_by_text("These files cannot be used: none of these files is a picture").first.wait_for()
    assert not page.bad


def test_where_a_page_may_have_no_worker_it_trains_all_the_same(page_of, tab):
    page = page_of(widgets.Playground(settings=SMALL))
    page.add_init_script("window.Worker = class { constructor() { throw new Error('refused') } }")
    page.reload()
    page.get_by_text(re.compile("^Step 0")).wait_for()
    run_to(page, 20)
    assert page.model("step") >= 20 and not page.bad


def test_keys(page_of):
    page = page_of(widgets.Playground(settings=SMALL))
    page.get_by_text(re.compile("^Step 0")).wait_for()
    page.get_by_role("button", name="Copy link").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("sst.model(sst.ids[0]).get('step') === 1")
    page.keyboard.press("Home")
    page.wait_for_function("sst.model(sst.ids[0]).get('step') === 0")
    assert not page.bad


COPIED = "navigator.clipboard.writeText = async (text) => { window.copied = text }"


def test_a_link_copied_from_a_lecture_opens_the_playground_with_the_same_curves(page_of, tmp_path):
    (tmp_path / "playground.html").write_text(page_of_its_own(), encoding="utf-8")
    page = page_of(widgets.Playground(settings={**SMALL, "loss": "triplet", "seed": 5}))
    page.get_by_text(re.compile("^Step 0")).wait_for()
    page.evaluate(COPIED)
    copy = page.get_by_role("button", name="Copy link")
    copy.click()  # in a notebook no page of a site is known
    page.get_by_text("Copied: playground.html#loss=triplet").first.wait_for()
    page.evaluate("document.body.insertAdjacentHTML('afterbegin', '<a class=home href=index.html>Lectures</a>')")
    steps(page, 4)
    page.get_by_role("slider", name="Margin").press("ArrowRight")
    steps(page, 8)
    copy.click()
    page.get_by_text("Link copied: the page of the playground, with the same settings").first.wait_for()
    link, curves = page.evaluate("window.copied"), page.model("curves")
    assert link.startswith((tmp_path / "playground.html").as_uri() + "#") and "changes=4" in link
    page.get_by_role("slider", name="Margin").press("ArrowRight")
    steps(page, 1)
    assert page.get_by_text("Link copied").first.is_hidden()  # that was the link of another experiment
    page.goto(link)
    page.get_by_text(re.compile("^Step 0")).wait_for()
    page.model = lambda name: page.evaluate("name => sst.model(sst.ids[0]).get(name)", name)
    steps(page, 12)
    assert page.model("curves") == curves
    page.evaluate(COPIED)
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("Link copied: this page, with the same settings").first.wait_for()
    assert page.evaluate("window.copied") == page.url and not page.bad


def test_pressed_buttons_and_the_station_are_seen_in_high_contrast(page_of):
    page = page_of(widgets.Playground(settings=SMALL), forced_colors="active", reduced_motion="reduce")
    page.get_by_text(re.compile("^Step 0")).wait_for()

    def ground(button):
        return button.evaluate("node => [getComputedStyle(node).backgroundColor, getComputedStyle(node).color]")

    slow, race = (page.get_by_role("button", name=name) for name in ("Slow motion", "Race two settings"))
    assert ground(slow) == ground(race)
    slow.click()
    station, other = (page.locator(f".sst-pg-road li:nth-child({number}) button") for number in (1, 2))
    system = page.evaluate(
        """() => { const probe = document.createElement("i"); document.body.append(probe);
        probe.style.cssText = "forced-color-adjust:none;background:Highlight;color:HighlightText";
        return [getComputedStyle(probe).backgroundColor, getComputedStyle(probe).color] }"""
    )
    for on, off in ((slow, race), (station, other)):
        assert ground(on) == system != ground(off)
    assert station.evaluate("node => getComputedStyle(node, '::before').color") == system[1]


# ---- the experiments ----
CLAIM = """async ([bytes, about, settings, rival, steps]) => {
    const E = m.engine();
    let data = E.rings();
    if (bytes) {
        const packed = Uint8Array.from(atob(bytes), c => c.charCodeAt(0));
        const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
        const plain = new Uint8Array(await new Response(stream).arrayBuffer());
        data = E.pictures(settings.data, plain, about.side, about.images, about.train, about.unseen);
    }
    const batches = [];
    const go = settings => {
        const run = E.trainer(data, settings);
        while (run.step < steps && run.next()) { batches.push(run.plan.batches.length); run.take(); }
        run.next();
        return [run.rows, batches[0], run.plan.batches.length];
    };
    const [a, first, last] = go(settings);
    return {a, b: rival ? go({...settings, ...rival})[0] : a, batches: [first, last]};
}"""


def shown(page, task, seed, steps=None):
    """Train an experiment with a seed, and say whether it shows what is claimed."""
    name = task.settings.get("data", "rings")
    packed = base64.b64encode(playground_data.packed().get(name, b"")).decode()
    about = playground_data.about(name) if packed else None
    result = page.evaluate(CLAIM, [packed, about, {**task.settings, "seed": seed}, task.rival, steps or task.steps])
    a, b = ([dict(zip(COLUMNS, row)) for row in result[run]] for run in "ab")
    return a, b, tuple(result["batches"])


LONG = ("equal-steps", "margin-too-large")  # of several seconds each


@pytest.mark.parametrize(
    "task",
    [pytest.param(t, id=t.name, marks=[pytest.mark.slow] * (t.name in LONG)) for t in EXPERIMENTS],
)
def test_an_experiment_shows_what_it_claims(functions_of, task):
    page = functions_of("engine", "playground")
    assert task.shows(*shown(page, task, 0))
    assert 0 <= task.answer < len(task.options) and set(task.feedback) == set(range(len(task.options))) - {task.answer}


@pytest.mark.slow
@pytest.mark.parametrize("task", EXPERIMENTS, ids=lambda task: task.name)
def test_an_experiment_shows_what_it_claims_in_four_of_five_seeds(functions_of, task):
    page = functions_of("engine", "playground")
    assert sum(task.shows(*shown(page, task, seed)) for seed in range(5)) >= 4


@pytest.mark.slow
def test_after_the_warm_up_recall_usually_falls_for_a_while(functions_of):
    page, task = functions_of("engine", "playground"), EXPERIMENTS[3]
    fell = 0
    for seed in range(10):
        _, b, _ = shown(page, task, seed, steps=120)
        at = next(i for i, row in enumerate(b) if row["step"] == 60)
        fell += min(row["recall"] for row in b[at:]) < b[at]["recall"] - 0.02
    assert fell >= 8


def test_the_page_of_its_own_without_script(chrome, tmp_path):
    file = tmp_path / "playground.html"
    file.write_text(page_of_its_own(), encoding="utf-8")
    page = chrome.new_context(java_script_enabled=False).new_page()
    page.goto(file.as_uri())
    picture = page.get_by_role("img", name=re.compile("The playground trains a small network"))
    assert picture.is_visible() and Image.open(io.BytesIO(picture.screenshot())).width > 300
    page.context.close()
