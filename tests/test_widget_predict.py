"""Predict, then reveal: what is asked, what is hidden, what is told."""

import re

import numpy as np
import pytest
import traitlets

from sstutils.lectures.widgets import Predict, seal
from sstutils.lectures.widgets.predict import angle

POINTS = {"a": (-1, 0), "p": (1, 0.5), "n": (-0.2, 0.9)}
HOSTILE = "<img src=x onerror=alert(1)> d²(a,p) < d²(a,n) & </script>"


def options(**changes):
    given = {
        "question": "Which way does the triplet loss push a negative between anchor and positive?",
        "options": ["Away from both", "Through the positive.", "It does not move"],
        "answer": 1,
        "because": "Its force is 2(n − a), away from the anchor alone.",
        "feedback": {0: "No point is pushed away from both."},
    }
    given |= changes
    return Predict(given.pop("question"), given.pop("options"), **given)


def arrow(**changes):
    given = {"at": "n", "truth": (-0.3, 1.0), "because": "Straight away from the midpoint."} | changes
    return Predict.arrow("Where does the SST loss push n?", given.pop("points", POINTS), **given)


# ---- in Python ----
def test_angle():
    assert angle((1, 0), (0, 2)) == 90
    assert angle((1, 1), (-3, -3)) == 180
    assert angle((1, 2), (2, 4)) == 0
    rng = np.random.default_rng(0)
    for u, v in rng.normal(size=(100, 2, 2)):
        cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
        assert angle(u, v) == pytest.approx(np.degrees(np.arccos(cosine)), abs=1e-6) == angle(v, u)


def test_what_is_sealed_is_told_as_if_it_stood_in_the_source():
    told = {"answer": 1, "because": "Its force is 2(n − a).", "feedback": {0: "Not from both.", 2: "It moves."}}
    sealed = seal(**told)
    assert not set(re.findall(r"\w{4,}", str(told))) & set(re.findall(r"\w{4,}", sealed))
    open_ask = options(**told)
    ask = Predict(open_ask.title, open_ask.options, sealed=sealed)
    assert {name: getattr(ask, name) for name in ("answer", "because", "feedback")} == {
        name: getattr(open_ask, name) for name in ("answer", "because", "feedback")
    }
    assert arrow(because="", sealed=seal(because="Straight.")).because == "Straight."
    for wrong in ("3", "e30", "bm8=", "no base64"):
        with pytest.raises(ValueError, match=r"sealed must be what|must be the number of an option"):
            Predict("?", ["a", "b"], sealed=wrong)
    with pytest.raises(ValueError, match="answer must be the number of an option"):
        Predict("?", ["a", "b"])


def test_what_is_chosen_is_judged():
    ask = options()
    assert ask.correct is None
    ask.chosen = 0
    assert ask.correct is False
    ask.set_state({"chosen": 1, "committed": True})
    assert ask.correct is True and ask.committed
    ask = arrow()
    ask.chosen = np.array([-0.6, 2.0])
    assert ask.chosen == [-0.6, 2.0] and ask.correct is True
    ask.chosen = (1, 0)
    assert ask.correct is False


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"options": ["one"], "answer": 0}, "a question needs at least 2 options, got 1"),
        ({"answer": 3}, "answer must be the number of an option, 0 to 2; got 3"),
        ({"answer": -1}, "answer must be the number of an option, 0 to 2; got -1"),
        ({"answer": 1.0}, "answer must be the number of an option, 0 to 2; got 1.0"),
        ({"answer": True}, "answer must be the number of an option, 0 to 2; got True"),
        ({"feedback": {5: "?"}}, "feedback must be the number of an option, 0 to 2; got 5"),
        ({"options": "yes", "answer": 0}, "options must be a list of texts, got 'yes'"),
    ],
)
def test_bad_questions_are_one_sentence(change, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        options(**change)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"truth": (0, 0)}, "truth must have a length, got (0, 0)"),
        ({"truth": (np.nan, 1)}, "truth must be two finite numbers"),
        ({"points": {"n": (np.inf, 1)}}, "point 'n' must be two finite numbers"),
        ({"points": {"n": (1, 2, 3)}}, "point 'n' must be two finite numbers"),
        ({"at": "x"}, "at must be one of the points 'a', 'p', 'n', got 'x'"),
        ({"tolerance": -1}, "tolerance must be between 0 and 180; got -1"),
        ({"tolerance": np.nan}, "tolerance must be between 0 and 180; got nan"),
    ],
)
def test_bad_arrows_are_one_sentence(change, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        arrow(**change)


@pytest.mark.parametrize(
    "ask, bad", [(options, 3), (options, "a"), (options, [1, 0]), (arrow, 1), (arrow, [np.nan, 0])]
)
def test_only_an_answer_can_be_chosen(ask, bad):
    with pytest.raises(traitlets.TraitError, match="chosen must be"):
        ask().chosen = bad


@pytest.mark.parametrize("ask", [options, arrow])
def test_the_still_picture_asks_and_does_not_tell(ask):
    widget = ask()
    figure, before = widget.picture(), widget.picture().png(60)
    assert widget.title in figure.alt and widget.because not in figure.alt
    if widget.options:
        assert all(text in figure.alt for text in widget.options)
        assert options(answer=2).picture().png(60) == before
    else:
        assert arrow(truth=(1.0, 0.3)).picture().png(60) == before  # as long as the other, elsewhere
        assert figure.alt == arrow(truth=(5, 3)).picture().alt
    shown = str([text.get_text() for text in figure.findobj(lambda x: hasattr(x, "get_text"))])
    assert widget.because not in shown


# ---- in the page ----
def test_the_angle_of_the_script(functions_of):
    page = functions_of("predict")
    pairs = np.random.default_rng(1).normal(size=(200, 2, 2))
    told = page.evaluate("pairs => pairs.map(([u, v]) => m.angle(u, v))", pairs.tolist())
    np.testing.assert_allclose(told, [angle(u, v) for u, v in pairs], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chosen", [0, 1])
def test_the_reader_commits_before_the_answer_is_shown(page_of, chosen):
    ask = options()
    page = page_of(ask)
    commit = page.get_by_role("button", name="Commit")
    assert commit.is_disabled()
    radios = page.get_by_role("radio")
    page.get_by_text(ask.options[chosen]).click()
    page.settle()
    page.wait_for_timeout(300)
    assert page.model("chosen") == chosen and page.model("committed") is False
    text = page.locator("main").inner_text() + page.locator("main").inner_html()
    for secret in (ask.because, "right", "✓", "✗", ask.feedback[0]):
        assert secret not in text
    commit.click()
    page.settle()
    assert page.model("committed") is True
    assert all(radios.nth(i).is_disabled() for i in range(3))
    text = page.locator("main").inner_text()
    assert ask.because in text and text.count("✓ right") == 1
    assert ("✗ your answer" in text) == (chosen != 1)
    assert (ask.feedback[0] in text) == (chosen == 0)
    assert "✓ right" in page.locator("label").nth(1).inner_text()
    verdict = page.locator('[data-part="verdict"]').inner_text()
    assert verdict.startswith("✓ Yes: Through the positive." if chosen == 1 else "✗ Not quite.") and ".." not in verdict
    page.wait_for_timeout(400)
    assert ask.because in page.locator(".sst-said").inner_text()  # for those who do not see
    page.get_by_role("button", name="Try again").click()
    page.settle()
    assert page.model("chosen") is None and page.model("committed") is False
    assert page.get_by_role("radio", checked=True).count() == 0 and commit.is_disabled()
    page.wait_for_timeout(400)
    assert ask.because not in page.locator("main").inner_text()
    assert not page.bad


def test_right_is_blue_and_wrong_is_vermilion(page_of):
    page = page_of(options())
    page.get_by_text("Away from both").click()
    page.get_by_role("button", name="Commit").click()
    page.settle()
    colours = page.locator("label").evaluate_all("nodes => nodes.map(node => getComputedStyle(node).color)")
    assert colours == ["rgb(192, 79, 0)", "rgb(0, 114, 178)", "rgb(27, 29, 33)"]


def test_by_keyboard_alone(page_of):
    page = page_of(options())
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.settle()
    assert page.model("chosen") == 1
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.settle()
    assert page.model("committed") is True
    assert page.evaluate("document.activeElement.textContent") == "Try again"  # the focus is not lost
    page.keyboard.press("Enter")
    page.settle()
    assert page.model("committed") is False
    assert not page.bad


def test_markup_stays_text(page_of):
    page = page_of(options(question=HOSTILE, options=[HOSTILE, "no"], because=HOSTILE, feedback={}, answer=0))
    page.get_by_role("radio").first.check()
    page.get_by_role("button", name="Commit").click()
    page.settle()
    assert page.locator("main img").count() == 0
    assert page.locator("h4").inner_text() == HOSTILE == page.locator('[data-part="because"]').inner_text()
    assert not page.bad


def drawn(page, name):
    """The arrow that is drawn: its vector in the units of the SVG, or None."""
    paths = page.locator(f'[data-arrow="{name}"] path')
    d = (paths.nth(0).get_attribute("d") or "") + (paths.nth(1).get_attribute("d") or "")
    if not d:
        return None
    numbers = [float(x) for x in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", d)]
    return np.array(numbers[4:6]) - numbers[:2]


@pytest.mark.parametrize("width, way, right", [(1440, (-20, -60), True), (390, (60, 10), False)])
def test_an_arrow_is_dragged_then_the_true_one_is_drawn(page_of, width, way, right):
    ask = arrow()
    page = page_of(ask, width=width)
    grip, commit = page.get_by_role("slider"), page.get_by_role("button", name="Commit")
    assert commit.is_disabled() and drawn(page, "mine") is None
    box = grip.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = page.locator("svg").screenshot()
    if width > 600:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + way[0], y + way[1], steps=6)
        page.mouse.up()
    else:
        touch = page.context.new_cdp_session(page)
        for kind, points in [
            ("touchStart", [(0, 0)]),
            *(("touchMove", [(way[0] * k / 6, way[1] * k / 6)]) for k in range(1, 7)),
            ("touchEnd", []),
        ]:
            points = [{"x": x + dx, "y": y + dy} for dx, dy in points]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.settle()
    chosen = page.model("chosen")
    assert angle(chosen, (way[0], -way[1])) < 2
    assert angle(drawn(page, "mine") * [1, -1], chosen) < 1e-3
    assert drawn(page, "truth") is None and "true" not in page.locator("main").inner_text()
    assert page.locator("svg").screenshot() != before
    commit.click()
    page.settle()
    assert angle(drawn(page, "truth") * [1, -1], ask.truth) < 1e-6
    # both in the same units
    ratio = np.linalg.norm(drawn(page, "truth")) / np.linalg.norm(drawn(page, "mine"))
    assert ratio == pytest.approx(np.linalg.norm(ask.truth) / np.linalg.norm(chosen), rel=1e-6)
    verdict = page.locator('[data-part="verdict"]').inner_text()
    assert verdict.startswith("✓ Yes" if right else "✗ Not quite") and f"{angle(chosen, ask.truth):.0f}°" in verdict
    assert ask.because in page.locator("main").inner_text()
    ask.set_state({"chosen": chosen})
    assert ask.correct is right
    grip.focus()
    page.keyboard.press("ArrowLeft")  # it is locked
    page.settle()
    assert page.model("chosen") == chosen
    page.get_by_role("button", name="Try again").click()
    page.settle()
    assert drawn(page, "mine") is None and drawn(page, "truth") is None and page.model("chosen") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not page.bad


def test_an_arrow_by_keys(page_of):
    page = page_of(arrow())
    grip = page.get_by_role("slider")
    grip.focus()
    for _ in range(5):
        page.keyboard.press("ArrowUp")
    page.settle()
    assert angle(page.model("chosen"), (0, 1)) < 1e-6
    assert grip.get_attribute("aria-valuetext") == "arrow 90° from the x-axis"
    for _ in range(5):
        page.keyboard.press("ArrowDown")  # back on its point: no arrow
    page.settle()
    assert page.model("chosen") is None and page.get_by_role("button", name="Commit").is_disabled()


def test_the_window_does_not_tell_the_direction():
    assert arrow(truth=(3, 4)).window == arrow(truth=(-5, 0)).window


def test_the_page_follows_python(page_of):
    page = page_of(options())
    page.put(chosen=2, committed=True)
    page.settle()
    assert "✗ your answer" in page.locator("label").nth(2).inner_text()
    page.put(chosen=7)  # an odd state is no error
    page.settle()
    assert not page.bad


def test_a_question_says_how_to_draw_the_arrow_and_where_a_wrong_one_aims(page_of, functions_of):
    page = page_of(arrow())
    text = page.locator("main").inner_text()
    assert "Drag the ring at n" in text and "Only its direction counts" in text
    assert page.get_by_role("slider").locator("path").is_visible()  # tips that say "drag me"
    page.put(chosen=[1, 0], committed=True)
    page.settle()
    assert "Drag the ring" not in page.locator("main").inner_text()
    points = {"a": [0, 0], "p": [2, 0], "n": [0, 1]}
    script = functions_of("predict")
    told = [script.evaluate("([p, way]) => m.aim(p, 'a', way)", [points, way]) for way in ([1, 0.1], [0, -2], [1, 1])]
    assert told == [" It points at p.", " It points straight away from n.", ""]
