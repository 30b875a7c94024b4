"""The training replay: its Python side, its page in a real browser, and the one against the other."""

import base64
import json
from types import SimpleNamespace

import numpy as np
import pytest
import traitlets

from sstutils.figures import plots
from sstutils.lectures import recording
from sstutils.lectures.widgets import TrainingReplay
from sstutils.lectures.widgets.base import script
from sstutils.lectures.widgets.replay import between, sentence
from sstutils.recipes import Recipe

RECORDED = "notebooks/recordings/replay.npz"
FRAME = "sst.model(sst.ids.find(id => sst.model(id).get('curves'))).get('frame')"
MODULE = "async esm => { window.m = await import(URL.createObjectURL(new Blob([esm], {type: 'text/javascript'}))) }"


class Watch(list):
    """Eight pictures of four letters."""

    def __init__(self):
        self.targets, self.classes = [0, 1, 2, 3, 0, 1, 2, 3], ["a", "b", "c", "Ǽ"]
        super().__init__(np.full((32, 32, 3), 30 * i, np.uint8) for i in range(8))


def frame(i, run="SST, local", watch=None, seed=0, **values):
    points = np.random.default_rng(seed + i).normal(size=(8, 2))
    loss = None if i == 0 else 1 / i
    recipe = Recipe(epochs=4)
    return recording.Frame(run, i / 2, loss, i / 8, 0.5, 0.1 * i, points, watch or Watch(), recipe)


def small(runs=("SST, local", "triplet, local"), frames=9):
    replay = TrainingReplay()
    for number, run in enumerate(runs):
        for i in range(frames):
            replay.append(frame(i, run, seed=100 * number))
    replay.live = False
    return replay


@pytest.fixture(scope="module")
def recorded():
    return TrainingReplay.from_recording(RECORDED, ("SST", "triplet"))


# ---- in Python ----
def test_what_is_recorded_is_what_is_said_to_be(recorded):
    about = recording.load(RECORDED, "replay")["about"]
    assert [run["name"] for run in about["runs"]] == ["SST, local", "triplet, local", "SST, class-balanced"]
    assert {recipe["seed"] for recipe in about["recipes"]} == {0}
    assert recorded.runs == ["SST, local", "triplet, local"]
    for run in about["runs"]:
        assert run["epoch"][0] == 0 and run["epoch"][-1] == run["epochs"]
        assert run["recall"][-1] > run["recall"][0] + 0.5  # something is to be seen
    starts = [recorded.positions(run["name"], 0) for run in about["runs"]]
    assert all(np.array_equal(starts[0], other) for other in starts)  # from one seed: the same untrained network
    assert len(recorded.labels) <= 250 and set(recorded.classes) == set(recording.WATCHED)


def test_the_recording_is_small():
    from pathlib import Path

    assert Path(RECORDED).stat().st_size < 300_000


def test_runs_are_chosen_by_how_their_names_begin():
    names = ["SST, local", "triplet, local", "SST, class-balanced"]
    assert TrainingReplay.from_recording(RECORDED).runs == names[:2]
    assert TrainingReplay.from_recording(RECORDED, "trip").runs == names[1:2]
    assert TrainingReplay.from_recording(RECORDED, ["SST, c", "sst"]).runs == [names[2], names[0]]
    with pytest.raises(ValueError, match="no run is called 'softmax': there are 'SST, local'"):
        TrainingReplay.from_recording(RECORDED, ["softmax"])
    with pytest.raises(ValueError, match="one or two names, got 3"):
        TrainingReplay.from_recording(RECORDED, names)


def test_a_missing_recording_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="make recordings"):
        TrainingReplay.from_recording(tmp_path / "replay.npz")


@pytest.mark.parametrize("change", ["points", "labels", "runs", "curve", "class", "scale"])
def test_a_recording_that_does_not_fit_together(tmp_path, change):
    arrays, about = recording.collect([frame(i) for i in range(3)])
    if change == "points":
        arrays["points"] = arrays["points"][:2]
    elif change == "labels":
        arrays.pop("labels")
    elif change == "runs":
        about["runs"] = []
    elif change == "curve":
        about["runs"][0]["loss"].pop()
    elif change == "class":
        arrays["labels"] = arrays["labels"] + 9
    else:
        about["scale"] = "wide"
    recording.save(tmp_path / "a.npz", "replay", arrays, about)
    with pytest.raises(ValueError, match="not a whole recording of runs"):
        TrainingReplay.from_recording(tmp_path / "a.npz")


def test_frames_can_be_appended_run_by_run_or_in_turns():
    one, turns = small(), TrainingReplay()
    for i in range(9):
        for number, run in enumerate(("SST, local", "triplet, local")):
            turns.append(frame(i, run, seed=100 * number))
    assert turns.curves == one.curves and turns.points == one.points and turns.runs == one.runs
    for number, run in enumerate(one.runs):
        for i in range(9):
            assert np.allclose(one.positions(run, i), frame(i, run, seed=100 * number).points, atol=2e-4)
    assert one.curves[0]["local"] == 2 and one.curves[0]["loss"][0] is None
    with pytest.raises(ValueError, match="watches other images"):
        one.append(frame(9, watch=SimpleNamespace(targets=[0, 1], classes=["a", "b"])))


def test_the_frame_stays_within_the_runs():
    replay = small()
    replay.frame = 99
    assert replay.frame == 8
    replay.frame = -3
    assert replay.frame == 0
    for bad in (np.nan, np.inf, "2", None):
        with pytest.raises(traitlets.TraitError):
            replay.frame = bad
    with pytest.raises(traitlets.TraitError, match=r"0\.5, 1, 2 or 4"):
        replay.speed = 3.0
    with pytest.raises(ValueError, match="no run is called"):
        replay.runs = ["what"]


def test_between():
    x = np.array([[0.0, 0.0], [2.0, 4.0], [3.0, 3.0]])
    assert between(x, 0.5).tolist() == [1, 2] and between(x, 1.25).tolist() == [2.25, 3.75]
    assert between(x, -1).tolist() == [0, 0] and between(x, 9).tolist() == [3, 3]


def test_the_picture_tells_the_runs(recorded):
    figure = recorded.picture()
    assert isinstance(figure, plots.Figure)
    run = recorded.curves[1]
    assert f"triplet, local: from Recall@1 {run['recall'][0]:.2f} to {run['recall'][-1]:.2f}" in figure.alt
    assert len(figure.png(96)) < 150_000
    assert "no frame" in TrainingReplay().picture().alt


# ---- in the page ----
def text(page, side=0):
    return page.locator(".sst-panel .sst-values").nth(side).inner_text()


def pixels(page, side=0):
    return page.locator(".sst-plane canvas").nth(side).evaluate("node => node.toDataURL()")


def slider(page):
    return page.get_by_label("Epoch", exact=True)


def test_the_script_computes_what_python_does(page_of, recorded):
    page = page_of(small())
    page.evaluate(MODULE, script("replay"))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 6))
    for at in (0, 0.3, 1, 2.75, 4, -1, 7.5):
        assert np.allclose(page.evaluate("([x, at]) => m.between(x, at)", [x.tolist(), at]), between(x, at))
    curve = {
        "epoch": [0, 0.25, 0.35],
        "loss": [None, 0.0625, 1e-9],
        "recall": [0.125, 0.625, 1],
        "shown": [0.125, 0.005, 0.995],
    }
    curve["spread"] = [0.015, 2.345, 0.5]
    for run in [curve, *recorded.curves]:
        for at in np.arange(0, len(run["epoch"]) + 0.5, 0.5):
            assert page.evaluate("([run, at]) => m.sentence(run, at)", [run, float(at)]) == sentence(run, at)


def test_scrubbing_moves_points_and_text(page_of, recorded):
    page = page_of(recorded)
    before = [pixels(page, side) for side in (0, 1)]
    slider(page).focus()
    for i in range(1, 4):
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "i => sst.model(sst.ids.find(id => sst.model(id).get('curves'))).get('frame') === i", arg=i
        )
        for side, run in enumerate(recorded.runs):
            assert text(page, side) == recorded.sentence(run, i)
    after = [pixels(page, side) for side in (0, 1)]
    assert all(a != b for a, b in zip(before, after))
    assert before[0] == before[1] and after[0] != after[1]  # one start, two ways
    page.keyboard.press("End")
    assert text(page) == recorded.sentence("SST, local", 36) and page.model("frame") == 36
    box = slider(page).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.model("frame") == pytest.approx(18, abs=1)
    assert text(page, 1) == recorded.sentence("triplet, local", page.model("frame"))
    page.locator(".sst-said", has_text="Recall@1: SST, local").wait_for()
    label = page.locator(".sst-plane canvas").first.get_attribute("aria-label")
    assert recorded.sentence("SST, local", page.model("frame")) in label
    assert not page.bad


def test_points_are_drawn_where_they_are(page_of):
    replay = small(frames=2)
    page = page_of(replay)
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Step").click()
    hit = """canvas => { const pen = canvas.getContext('2d'), scale = canvas.width / canvas.clientWidth;
        return ([x, y]) => pen.getImageData(x * scale, y * scale, 1, 1).data[3] }"""
    points = replay.positions("SST, local", 1)
    every = np.abs(np.concatenate([replay.positions(run, i) for run in replay.runs for i in (0, 1)])).ravel()
    reach = np.sort(every)[int(0.997 * len(every))] * 1.08
    width, height = page.locator(".sst-plane canvas").first.evaluate("node => [node.clientWidth, node.clientHeight]")
    at = np.array([width, height]) / 2 + points * [1, -1] * min(width, height) / 2 / reach
    at = np.clip(at, 4.5, [width - 4.5, height - 4.5])
    ink = page.evaluate(
        f"([places]) => places.map(({hit})(document.querySelector('.sst-plane canvas')))", [at.tolist()]
    )
    assert min(ink) > 100


def test_play_advances_and_pause_stops(page_of, recorded):
    page = page_of(recorded)
    assert page.model("playing") is False
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(FRAME + " >= 2")
    page.get_by_role("button", name="Pause").click()
    held, first = page.model("frame"), pixels(page)
    assert 2 <= held < 36 and text(page) == recorded.sentence("SST, local", held)
    page.wait_for_timeout(400)
    assert page.model("frame") == held and pixels(page) == first and page.model("playing") is False
    page.keyboard.press("Space")  # on the button
    page.wait_for_function(FRAME + f" > {held}")
    page.get_by_role("button", name="Restart").click()
    page.wait_for_function(FRAME + " < 2")
    assert not page.bad


def test_play_ends_with_the_last_frame_and_then_starts_anew(page_of):
    replay = small(frames=12)
    page = page_of(replay)
    page.get_by_label("2×").check()
    assert page.model("speed") == 2
    slider(page).focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    page.wait_for_function(FRAME + " === 11")
    page.get_by_role("button", name="Play").wait_for()
    assert text(page) == replay.sentence("SST, local", 11) and page.model("playing") is False
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(FRAME + " < 11")
    assert not page.bad


def test_points_move_between_frames(page_of):
    page = page_of(small())
    page.get_by_role("button", name="Play").click()
    seen = set()
    for _ in range(6):
        page.wait_for_timeout(40)
        seen.add(pixels(page))
    assert len(seen) >= 4  # in less than two frames' time


def test_keys(page_of):
    page = page_of(small())
    page.locator(".sst-plane canvas").first.click(position={"x": 5, "y": 5})
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.model("frame") == 1
    page.keyboard.press("End")
    assert page.model("frame") == 8 and page.get_by_role("button", name="Step").is_disabled()
    page.keyboard.press("Home")
    assert page.model("frame") == 0 and page.get_by_role("button", name="Back").is_disabled()
    page.keyboard.press("Space")
    assert page.model("playing") is True
    page.keyboard.press("Space")
    assert page.model("playing") is False
    slider(page).focus()
    page.keyboard.press("Space")
    assert page.model("playing") is True


def test_curves_can_be_clicked(page_of):
    page = page_of(small())
    chart = page.get_by_role("img", name="Recall@1", exact=True)
    box = chart.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 12, box["y"] + 70)
    assert page.model("frame") == 8


def test_other_runs_can_be_chosen(page_of, recorded):
    page = page_of(recorded)
    slider(page).focus()
    page.keyboard.press("End")
    page.get_by_label("Right run").select_option("SST, class-balanced")
    assert page.model("runs") == ["SST, local", "SST, class-balanced"]
    assert text(page, 1) == recorded.sentence("SST, class-balanced", 36)
    page.get_by_label("Right run").select_option("")
    assert page.model("runs") == ["SST, local"]
    assert page.locator(".sst-plane canvas:visible").count() == 1
    page.get_by_label("Right run").select_option("triplet, local")
    assert text(page, 1) == recorded.sentence("triplet, local", 36)
    assert not page.bad


def test_a_point_tells_its_letter_and_a_letter_its_points(page_of):
    replay = small(frames=2)
    page = page_of(replay)
    first = pixels(page)
    letter = page.get_by_role("button", name="Ǽ")
    letter.focus()
    lit = pixels(page)
    assert lit != first
    letter.press("Enter")
    assert letter.get_attribute("aria-pressed") == "true"
    page.get_by_label("Epoch", exact=True).focus()
    assert pixels(page) == lit
    box = page.locator(".sst-plane canvas").first.bounding_box()
    for x in range(5, int(box["width"]), 9):  # some point is met on the way
        for y in (0.35, 0.45, 0.55, 0.65):
            page.mouse.move(box["x"] + x, box["y"] + y * box["height"])
            if page.locator(".sst-tip:visible").count():
                break
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator(".sst-tip").first.text_content() in Watch().classes
    assert not page.bad


def test_python_moves_the_page(page_of):
    page = page_of(small())
    page.evaluate("m = sst.model(sst.ids.find(id => sst.model(id).get('curves')))")
    page.evaluate("m.set('frame', 5)")
    page.wait_for_function("document.querySelector('.sst-values').textContent.startsWith('Epoch 2.5')")
    page.evaluate("m.set('playing', true)")
    page.get_by_role("button", name="Pause").wait_for()
    page.evaluate("m.set('playing', false)")
    page.get_by_role("button", name="Play").wait_for()


def test_an_empty_replay_says_so_and_grows(page_of):
    replay = TrainingReplay()
    page = page_of(replay)
    assert page.get_by_text("No frames yet.").is_visible()
    assert page.locator(".sst-replay").is_hidden()
    grow = """state => { const model = sst.model(sst.ids.find(id => sst.model(id).get('curves')));
        for (const [name, value] of Object.entries(state)) model.set(name, name === 'points' || name === 'sprite'
            ? new DataView(Uint8Array.from(atob(value), c => c.charCodeAt(0)).buffer) : value) }"""
    for i in range(4):
        replay.append(frame(i))
        state = {name: getattr(replay, name) for name in ("curves", "scale", "labels", "classes", "runs", "live")}
        state |= {name: base64.b64encode(getattr(replay, name)).decode() for name in ("points", "sprite")}
        page.evaluate(grow, state)
        said = replay.sentence("SST, local", i)
        page.wait_for_function(
            "text => document.querySelector('.sst-panel .sst-values').textContent === text", arg=said
        )
    assert page.locator(".sst-plane canvas:visible").count() == 1 and page.get_by_text("No frames yet.").is_hidden()
    slider(page).focus()
    page.keyboard.press("Home")  # who looks back is left in peace
    replay.append(frame(4))
    page.evaluate(grow, {"curves": replay.curves, "points": base64.b64encode(replay.points).decode()})
    page.wait_for_function("document.querySelector('.sst-wide input').max === '4'")
    assert text(page) == replay.sentence("SST, local", 0)
    assert not page.bad
    late = page_of(replay)  # a view that opens while the network trains
    assert text(late) == replay.sentence("SST, local", 4)


@pytest.mark.parametrize(
    "state",
    [{"points": None}, {"labels": []}, {"curves": []}, {"runs": ["what"]}, {"runs": []}, {"classes": []},
     {"sprite": None}, {"frame": None}, {"frame": 1e9}, {"speed": 0}, {"labels": [0, 1]}],
    ids=json.dumps,
)  # fmt: skip
def test_odd_states_break_nothing(page_of, state):
    page = page_of(small())
    page.evaluate(
        """state => { const model = sst.model(sst.ids.find(id => sst.model(id).get('curves')));
        for (const [name, value] of Object.entries(state)) model.set(name, value) }""",
        state,
    )
    page.wait_for_timeout(100)
    if page.locator(".sst-replay").is_visible():
        page.get_by_role("button", name="Play").click()
        page.wait_for_timeout(100)
    assert page.locator(".sst-widget").inner_text()
    assert not page.bad


def test_less_motion(page_of, recorded):
    replay = small()
    replay.playing = True
    page = page_of(replay, reduced_motion="reduce")
    assert page.get_by_role("button", name="Play").is_disabled()
    assert page.get_by_text("Your system asks for less motion").is_visible()
    first = pixels(page)
    page.wait_for_timeout(400)
    assert pixels(page) == first and page.model("frame") == 0
    page.get_by_role("button", name="Step").click()
    assert page.model("frame") == 1 and pixels(page) != first
    assert not page.bad


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [340, 390, 1440])
def test_it_fits_and_is_accessible(page_of, recorded, width, dark):
    from axe_playwright_python.sync_playwright import Axe

    page = page_of(recorded, width=width, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")] == []
    assert not page.bad


def test_scrubbing_is_quick(page_of, recorded, record_property):
    page = page_of(recorded)
    times = page.evaluate(
        """() => { const input = document.querySelector('.sst-wide input'), times = [];
        for (let i = 0; i < 72; i++) { const start = performance.now();
            input.value = i % 37; input.dispatchEvent(new Event('input'));
            document.querySelector('.sst-plane canvas').getContext('2d').getImageData(0, 0, 1, 1);  // pixels are there
            times.push(performance.now() - start); }
        return times.sort((a, b) => a - b) }"""
    )
    record_property("milliseconds", times[36])
    print(f"from input to pixels: median {times[36]:.1f} ms, 90 % within {times[64]:.1f} ms")
    assert times[36] < 16
