"""The training replay: its Python side, its page in a real browser, and the one against the other."""

import base64
import itertools
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import traitlets

from sstutils.figures import plots
from sstutils.lectures import recording
from sstutils.lectures.widgets import TrainingReplay
from sstutils.recipes import Recipe

RECORDED = "sstutils/lectures/recordings/replay.npz"
STATE = ("points", "labels", "curves", "runs", "classes", "sprite", "frame", "speed", "playing")
FRAME = "sst.model(sst.ids[0]).get('frame')"


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


def sentence(curve, at):
    """The words for a run: what was measured at the last whole frame; JavaScript rounds halves up."""

    def fixed(x, digits):
        return str(Decimal(x).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))

    i = min(int(at + 1e-6), len(curve["epoch"]) - 1)
    loss = "not trained yet" if curve["loss"][i] is None else f"loss {fixed(curve['loss'][i], 3)}"
    return (
        f"Epoch {fixed(curve['epoch'][i], 1)}: Recall@1 {fixed(curve['recall'][i], 2)}, {loss}, "
        f"spread {fixed(curve['spread'][i], 2)}, {fixed(100 * curve['shown'][i], 0)} % of the variance in view"
    )


def said(replay, run, at):
    return sentence(next(curve for curve in replay.curves if curve["name"] == run), at)


@pytest.fixture(scope="module")
def recorded():
    return TrainingReplay.from_recording(RECORDED, ("SST", "triplet"))


# ---- in Python ----
def test_what_is_recorded_is_what_is_said_to_be(recorded):
    assert Path(RECORDED).stat().st_size < 300_000
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


def test_runs_are_chosen_by_how_their_names_begin():
    names = ["SST, local", "triplet, local", "SST, class-balanced"]
    assert TrainingReplay.from_recording(RECORDED).runs == names[:2]
    assert TrainingReplay.from_recording(RECORDED, "trip").runs == names[1:2]
    assert TrainingReplay.from_recording(RECORDED, ["SST, c", "sst"]).runs == [names[2], names[0]]
    with pytest.raises(ValueError, match="no run is called 'softmax'; the runs are 'SST, local'"):
        TrainingReplay.from_recording(RECORDED, ["softmax"])
    with pytest.raises(ValueError, match="one or two names; got 3"):
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
    with pytest.raises(ValueError, match="not a complete recording of runs; run `make recordings`"):
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
    with pytest.raises(ValueError, match="shows other images"):
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
    with pytest.raises(traitlets.TraitError, match=r"speed must be one of 0\.5, 1, 2, 4; got 3"):
        replay.speed = 3.0
    with pytest.raises(ValueError, match="no run is called"):
        replay.runs = ["what"]


def test_positions_between_frames_are_on_a_straight_line():
    replay = small(runs=["SST, local"], frames=3)
    first, second, last = (replay.positions("SST, local", i) for i in range(3))
    np.testing.assert_allclose(replay.positions("SST, local", 0.25), 0.75 * first + 0.25 * second, atol=1e-6)
    np.testing.assert_array_equal(replay.positions("SST, local", -1), first)
    np.testing.assert_array_equal(replay.positions("SST, local", 9), last)


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


def test_the_script_interpolates_and_says_what_was_measured(functions_of, recorded):
    page = functions_of("replay")
    x = np.random.default_rng(0).normal(size=(5, 6))
    at = [0, 0.3, 1, 2.75, 4, -1, 7.5]
    told = page.evaluate("([x, all]) => all.map(at => [...m.between(x, at)])", [x.tolist(), at])
    np.testing.assert_allclose(told, np.transpose([np.interp(at, range(5), column) for column in x.T]), atol=1e-12)
    curve = {"epoch": [0, 0.25, 0.35], "loss": [None, 0.0625, 1e-9], "recall": [0.125, 0.625, 1]}
    curve |= {"shown": [0.125, 0.005, 0.995], "spread": [0.015, 2.345, 0.5]}
    for run in [curve, *recorded.curves]:
        at = np.arange(0, len(run["epoch"]) + 0.5, 0.5).tolist()
        told = page.evaluate("([run, all]) => all.map(at => m.sentence(run, at))", [run, at])
        assert told == [sentence(run, i) for i in at]


def test_scrubbing_moves_points_and_text(page_of, recorded):
    page = page_of(recorded)
    before = [pixels(page, side) for side in (0, 1)]
    slider(page).focus()
    for i in range(1, 4):
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"i => {FRAME} === i", arg=i)
        for side, run in enumerate(recorded.runs):
            assert text(page, side) == said(recorded, run, i)
    after = [pixels(page, side) for side in (0, 1)]
    assert all(a != b for a, b in zip(before, after))
    assert before[0] == before[1] and after[0] != after[1]  # one start, two ways
    page.keyboard.press("End")
    assert text(page) == said(recorded, "SST, local", 36) and page.model("frame") == 36
    box = slider(page).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.model("frame") == pytest.approx(18, abs=1)
    assert text(page, 1) == said(recorded, "triplet, local", page.model("frame"))
    page.locator(".sst-said", has_text="Recall@1: SST, local").wait_for()
    label = page.locator(".sst-plane canvas").first.get_attribute("aria-label")
    assert said(recorded, "SST, local", page.model("frame")) in label
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
    assert 2 <= held < 36 and text(page) == said(recorded, "SST, local", held)
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
    assert text(page) == said(replay, "SST, local", 11) and page.model("playing") is False
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
    assert text(page, 1) == said(recorded, "SST, class-balanced", 36)
    page.get_by_label("Right run").select_option("")
    assert page.model("runs") == ["SST, local"]
    assert page.locator(".sst-plane canvas:visible").count() == 1
    page.get_by_label("Right run").select_option("triplet, local")
    assert text(page, 1) == said(recorded, "triplet, local", 36)
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
    ways = itertools.product(range(5, int(box["width"]), 9), (0.35, 0.45, 0.55, 0.65))

    def tip_at(x, y):
        page.mouse.move(box["x"] + x, box["y"] + y * box["height"])
        return page.locator(".sst-tip:visible").count()

    assert any(tip_at(x, y) for x, y in ways)  # some point is met on the way
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator(".sst-tip").first.text_content() in Watch().classes
    assert not page.bad


def test_python_moves_the_page(page_of):
    page = page_of(small())
    page.put(frame=5)
    page.wait_for_function("document.querySelector('.sst-values').textContent.startsWith('Epoch 2.5')")
    page.put(playing=True)
    page.get_by_role("button", name="Pause").wait_for()
    page.put(playing=False)
    page.get_by_role("button", name="Play").wait_for()


def test_an_empty_replay_says_so_and_grows(page_of):
    replay = TrainingReplay()
    page = page_of(replay)
    assert page.get_by_text("No frames yet.").is_visible()
    assert page.locator(".sst-replay").is_hidden()
    grow = """state => { const model = sst.model(sst.ids[0]);
        for (const [name, value] of Object.entries(state)) model.set(name, name === 'points' || name === 'sprite'
            ? new DataView(Uint8Array.from(atob(value), c => c.charCodeAt(0)).buffer) : value) }"""
    for i in range(4):
        replay.append(frame(i))
        state = {name: getattr(replay, name) for name in ("curves", "scale", "labels", "classes", "runs", "live")}
        state |= {name: base64.b64encode(getattr(replay, name)).decode() for name in ("points", "sprite")}
        page.evaluate(grow, state)
        words = said(replay, "SST, local", i)
        page.wait_for_function(
            "text => document.querySelector('.sst-panel .sst-values').textContent === text", arg=words
        )
    assert page.locator(".sst-plane canvas:visible").count() == 1 and page.get_by_text("No frames yet.").is_hidden()
    slider(page).focus()
    page.keyboard.press("Home")  # who looks back is left in peace
    replay.append(frame(4))
    page.evaluate(grow, {"curves": replay.curves, "points": base64.b64encode(replay.points).decode()})
    page.wait_for_function("document.querySelector('.sst-wide input').max === '4'")
    assert text(page) == said(replay, "SST, local", 0)
    assert not page.bad
    late = page_of(replay)  # a view that opens while the network trains
    assert text(late) == said(replay, "SST, local", 4)


def test_odd_states_break_nothing(page_of):
    page = page_of(small())
    odd = [{"labels": []}, {"curves": []}, {"runs": ["what"]}, {"runs": []}, {"classes": []}, {"sprite": None}]
    odd += [{"points": None}, {"frame": None}, {"frame": 1e9}, {"speed": 0}, {"labels": [0, 1]}]
    page.evaluate("names => { good = names.map(name => [name, sst.model(sst.ids[0]).get(name)]) }", list(STATE))
    for state in odd:
        page.put(**state)
        page.settle()
        if page.locator(".sst-replay").is_visible():
            page.get_by_role("button", name="Play").click()
            page.wait_for_timeout(60)
        assert page.locator(".sst-widget").inner_text()
        assert not page.bad, state
        page.evaluate("good.forEach(([name, value]) => sst.model(sst.ids[0]).set(name, value))")
        page.settle()
        assert page.locator(".sst-replay").is_visible()


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


def reach(page, side=0):
    """How many columns of a panel have a mark."""
    return page.evaluate(
        """side => { const node = document.querySelectorAll('.sst-plane > canvas')[side], pen = node.getContext('2d');
        const { data } = pen.getImageData(0, 0, node.width, node.height), columns = new Set();
        for (let i = 3; i < data.length; i += 4) if (data[i]) columns.add(((i - 3) / 4) % node.width);
        return columns.size / node.width }""",
        side,
    )


def test_true_scale_shows_how_far_the_embeddings_spread(page_of, recorded):
    page = page_of(recorded)
    page.put(frame=36)
    page.settle()
    same = reach(page), reach(page, 1)
    assert abs(same[0] - same[1]) < 0.35 * same[0]
    page.get_by_role("checkbox", name="True scale").check()
    page.settle()
    assert page.model("true_scale") is True
    assert reach(page, 1) < 0.6 * reach(page)  # SST spreads far more than the triplet loss
    assert "in all frames the window is" in page.locator(".sst-replay").inner_text()
    page.put(frame=0)
    page.settle()
    assert reach(page) < 0.1  # before training all is close together
    page.put(true_scale=False)
    page.settle()
    assert reach(page) > 0.5 and not page.bad


def test_true_scale_in_the_still_picture():
    replay = TrainingReplay.from_recording(RECORDED, true_scale=True)
    figure = replay.picture()
    first, _, last = (np.ptp(axes.collections[0].get_offsets(), axis=0).max() for axes in figure.axes[:3])
    assert first < 0.2 * last and "all in one scale" in figure.alt
    assert len({axes.get_xlim() for axes in figure.axes[:3]}) == 1


def test_one_run_alone_has_its_curves_on_one_axis(page_of):
    page = page_of(small(runs=["SST, local"]))
    boxes = [page.locator("svg[role=img]").nth(i).bounding_box() for i in range(2)]
    assert boxes[0]["x"] == boxes[1]["x"] and boxes[0]["width"] == boxes[1]["width"]
    plane = page.locator(".sst-plane").first.bounding_box()
    assert boxes[0]["x"] > plane["x"] + plane["width"] and boxes[0]["y"] < plane["y"] + plane["height"]
    wide = page.locator(".sst-replay").bounding_box()
    assert boxes[0]["x"] + boxes[0]["width"] > wide["x"] + wide["width"] - 20  # nothing is left empty
