"""The gradient explorer: its numbers against geometry, its page in a real browser."""

import re

import matplotlib
import numpy as np
import pytest
import traitlets

from sstutils import geometry
from sstutils.lectures.widgets import GradientExplorer
from sstutils.lectures.widgets.base import script
from sstutils.lectures.widgets.gradients import STARTS, ternary_point

FIND = "model = sst.ids.map(sst.model).find(x => x.get('starts'))"
ROLES = ("anchor", "positive", "negative")
TRAITS = [*ROLES, "margin", "triplet_loss", "sst_loss", "z"]
UNIT, WIDTH, HEIGHT = 55, 440, 330  # of the SVG of a plane
MODULE = "async esm => { window.m = await import(URL.createObjectURL(new Blob([esm], {type: 'text/javascript'}))) }"


def triplets(count, dimension=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 3, dimension)) * rng.choice([0.1, 1, 3], size=(count, 1, 1))


# ---- in Python ----
@pytest.mark.parametrize("start", STARTS)
def test_results_are_those_of_geometry(start):
    widget = GradientExplorer(start, margin=0.5)
    a, p, n = STARTS[start]
    assert widget.triplet_loss == geometry.triplet(a, p, n, 0.5)[0]
    assert widget.sst_loss == geometry.sst(a, p, n)[0]
    assert widget.z == geometry.sst_logit(a, p, n)


def test_the_starts_show_what_they_are_called():
    losses = {name: geometry.triplet(*points)[0] for name, points in STARTS.items()}
    logits = {name: geometry.sst_logit(*points) for name, points in STARTS.items()}
    assert losses["violated"] > 1  # more than the margin: the negative is nearer than the positive
    assert losses["satisfied"] == 0 and logits["satisfied"] < 0
    assert losses["negative behind the positive"] == 0 and logits["negative behind the positive"] > 0
    a, p, n = np.array(STARTS["negative between a and p"])
    assert min(a[0], p[0]) < n[0] < max(a[0], p[0])
    assert -geometry.triplet(a, p, n)[1][2] @ (p - n) > 0  # the triplet loss pushes it on, through the positive,
    assert -geometry.sst(a, p, n)[1][2] @ (p - n) < 0  # the SST loss off to the near side, here past the anchor
    assert losses["collapse"] == 1 and logits["collapse"] == 0


def test_moving_a_point_is_observed():
    widget, seen = GradientExplorer(), []
    widget.observe(lambda change: seen.append(change.new), "z")
    widget.negative = np.array([2.0, 2.5])
    assert seen == [geometry.sst_logit(widget.anchor, widget.positive, (2.0, 2.5))]
    widget.set_state({"anchor": [0, 1]})  # as a page sends it
    assert widget.z == seen[-1] == geometry.sst_logit((0, 1), widget.positive, widget.negative)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("bad", [[np.nan, 0], [0, np.inf], [1], [1, 2, 3], "ab", None, 3, [5, 0], [0, -3.5]])
def test_a_point_must_be_two_finite_numbers_in_the_plane(role, bad):
    widget = GradientExplorer()
    with pytest.raises(traitlets.TraitError, match=rf"^{role} (is a point|must lie)[^\n]*$"):
        setattr(widget, role, bad)
    assert GradientExplorer().get_state(role) == widget.get_state(role)


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf, 4.5])
def test_a_margin_out_of_range_is_an_error(bad):
    with pytest.raises(traitlets.TraitError, match=r"^margin must be a number from 0 to 4, got"):
        GradientExplorer(margin=bad)


def test_an_unknown_start_and_a_result_that_is_set_are_errors():
    with pytest.raises(ValueError, match="start must be one of 'violated'"):
        GradientExplorer("nowhere")
    with pytest.raises(traitlets.TraitError, match="read-only"):
        GradientExplorer().z = 3.0


def test_the_ternary_point_is_the_nearest_of_the_triangle():
    b, r, l = geometry.ternary_coordinates(240)  # noqa: E741
    grid = np.stack([-2 + 6 * b, -2 + 6 * r, -2 + 6 * l], axis=1)
    for a, p, n in triplets(200):
        uvw, exact = ternary_point(a, p, n)
        given = np.array([a[0] - p[0], p[0] - n[0], n[0] - a[0]])
        assert not exact  # they are never on one horizontal line
        assert uvw.sum() == pytest.approx(0, abs=1e-12) and (uvw >= -2 - 1e-9).all()
        nearest = np.linalg.norm(grid - given, axis=1).min()
        assert np.linalg.norm(uvw - given) == pytest.approx(nearest, abs=0.03)
        assert np.linalg.norm(uvw - given) <= nearest + 1e-9
    uvw, exact = ternary_point((1, 2), (0, 2), (0.5, 2))
    assert exact and uvw.tolist() == [1, -0.5, -0.5]
    assert not ternary_point((4, 0), (-1, 0), (0, 0))[1]


@pytest.mark.parametrize("start", STARTS)
def test_the_still_picture_tells_the_same(start):
    widget = GradientExplorer(start)
    figure = widget.picture()
    assert f"SST loss is {widget.sst_loss:.2f} (z = {widget.z:.2f})" in figure.alt
    assert "nan" not in figure.alt and len(figure.png(60)) > 2000
    assert "alt=" in widget._repr_mimebundle_()[0]["text/html"]


# ---- the functions of the script ----
@pytest.fixture
def module(tab):
    page = tab()
    page.evaluate(MODULE, script("gradients"))
    yield page
    assert not page.bad


@pytest.mark.parametrize("dimension", [1, 2, 8])
def test_the_script_computes_what_geometry_computes(module, dimension):
    points = triplets(1000, dimension)
    told = module.evaluate(
        """points => points.map(([a, p, n]) =>
            [m.sstLoss(a, p, n), m.tripletLoss(a, p, n, 0.7), m.sphere(a, p), m.hinge(a, p, 0.7)])""",
        points.tolist(),
    )
    a, p, n = points.transpose(1, 0, 2)
    for column, (value, gradients) in enumerate([geometry.sst(a, p, n), geometry.triplet(a, p, n, 0.7)]):
        np.testing.assert_allclose([row[column]["value"] for row in told], value, rtol=1e-12, atol=1e-12)
        theirs = np.array([row[column]["gradients"] for row in told]).transpose(1, 0, 2)
        np.testing.assert_allclose(theirs, gradients, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose([row[0]["z"] for row in told], geometry.sst_logit(a, p, n), rtol=1e-12, atol=1e-12)
    centre, radius = geometry.sphere(a, p)
    np.testing.assert_allclose([row[2]["centre"] for row in told], centre, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose([row[2]["radius"] for row in told], radius, rtol=1e-12)
    edge = np.sqrt(((a - p) ** 2).sum(-1) + 0.7)
    np.testing.assert_allclose([row[3]["radius"] for row in told], edge, rtol=1e-12)


def test_the_script_stays_finite_for_huge_logits(module):
    assert module.evaluate("[-1e6, -50, 0, 50, 1e6].map(m.softplus)") == pytest.approx(
        np.logaddexp(0, [-1e6, -50, 0, 50, 1e6]), rel=1e-12, abs=0
    )
    assert module.evaluate("[-1e6, 0, 1e6].map(m.sigmoid)") == [0, 0.5, 1]
    near, far = [[0.0], [1000.0], [500.0]], [[0.0], [0.0], [1000.0]]
    for a, p, n in near, far:
        loss = module.evaluate("x => m.sstLoss(...x)", [a, p, n])
        value, gradients = geometry.sst(a, p, n)
        assert abs(loss["z"]) > 7e5
        np.testing.assert_allclose(loss["value"], value, rtol=1e-12)
        np.testing.assert_allclose(loss["gradients"], gradients, rtol=1e-12)


@pytest.mark.parametrize("loss", ["sst", "triplet"])
def test_the_field_of_the_script_is_that_of_geometry(module, loss):
    b, r, _ = geometry.ternary_coordinates(40)
    u, v = -2 + 6 * b, -2 + 6 * r
    told = module.evaluate(
        "([loss, u, v]) => u.map((x, i) => m.scalarField(loss, x, v[i], 0.8))", [loss, u.tolist(), v.tolist()]
    )
    # where the hinge is closer to zero than rounding, one may be active and the other not
    sure = np.abs(u**2 + 0.8 - (u + v) ** 2) > 1e-12
    theirs, ours = np.array(told).T[:, sure], geometry.scalar_field(loss, u, v, 0.8)[:, sure]
    np.testing.assert_allclose(theirs, ours, rtol=1e-12, atol=1e-12)


def test_the_triangle_and_the_colours_of_the_script(module):
    points = triplets(300)
    told = module.evaluate("points => points.map(x => m.ternaryPoint(...x).uvw)", points.tolist())
    np.testing.assert_allclose(told, [ternary_point(*x)[0] for x in points], atol=1e-12)
    values = np.linspace(-6, 6, 500)
    colours = 255 * matplotlib.colormaps["RdBu_r"](np.clip((values + 4) / 8, 0, 1))[:, :3]
    np.testing.assert_allclose(module.evaluate("x => x.map(m.shade)", values.tolist()), colours, atol=1.5)


# ---- the page ----
def plane(page, loss):
    return page.locator(f'[data-loss="{loss}"] svg[aria-label*="plane"]')


def at(page, loss, x, y):
    """Where a point of the plane is on the screen."""
    box = plane(page, loss).bounding_box()
    scale = box["width"] / WIDTH
    return box["x"] + scale * (WIDTH / 2 + UNIT * x), box["y"] + scale * (HEIGHT / 2 - UNIT * y)


def settled(page):
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def agrees(page):
    """Hold the traits and the text of the page against geometry."""
    settled(page)
    a, p, n, m = (page.model(name) for name in (*ROLES, "margin"))
    (sst, sst_forces), (triplet, triplet_forces) = geometry.sst(a, p, n), geometry.triplet(a, p, n, m)
    assert page.model("sst_loss") == pytest.approx(sst, abs=1e-12)
    assert page.model("triplet_loss") == pytest.approx(triplet, abs=1e-12)
    z = page.model("z")
    assert z == pytest.approx(geometry.sst_logit(a, p, n), abs=1e-12)
    for loss, value, gradients in ("sst", sst, sst_forces), ("triplet", triplet, triplet_forces):
        text = page.locator(f'[data-loss="{loss}"]').inner_text().replace("−", "-")
        told = re.search(r"loss = [^\n]* = ([\d.]+);", text)
        assert float(told[1]) == pytest.approx(float(value), abs=0.006)
        lengths = re.search(r"length of the gradient: a ([\d.]+), p ([\d.]+), n ([\d.]+)", text).groups()
        assert [float(x) for x in lengths] == pytest.approx([np.linalg.norm(g) for g in gradients], abs=0.006)
        if loss == "sst":
            assert f"= {z:.2f}".replace("-0.00", "0.00") in text
        # the arrows: a quarter of the negative gradient, at most 2 long, which is marked
        for role, gradient in zip(ROLES, gradients):
            force = page.locator(f'[data-loss="{loss}"] [data-of="{role}"]')
            d = force.locator("path").nth(1).get_attribute("d")
            length = np.linalg.norm(gradient)
            if length * UNIT / 4 <= 0.5:
                assert d == ""
                continue
            numbers = [float(x) for x in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", d)]
            foot, tip = np.array(numbers[:2]), np.array(numbers[4:6])
            shown = -gradient / 4 * min(1, 8 / length) * UNIT * [1, -1]
            np.testing.assert_allclose(tip - foot, shown, atol=1e-6)
            assert bool(force.locator("path").nth(2).get_attribute("d")) == (length > 8)
    a, p = np.array(a), np.array(p)
    for loss, (centre, radius) in {
        "sst": geometry.sphere(a, p),
        "triplet": (a, np.sqrt(((a - p) ** 2).sum() + m)),
    }.items():
        circle = plane(page, loss).locator("> circle").last
        told = [float(circle.get_attribute(name)) for name in ("cx", "cy", "r")]
        wanted = [WIDTH / 2 + UNIT * centre[0], HEIGHT / 2 - UNIT * centre[1], UNIT * radius]
        np.testing.assert_allclose(told, wanted, atol=1e-9)
    return a, p, np.array(n)


@pytest.mark.parametrize("loss", ["triplet", "sst"])
@pytest.mark.parametrize("role", ROLES)
def test_a_point_is_dragged_by_mouse_in_either_panel(page_of, loss, role):
    widget = GradientExplorer()
    page = page_of(widget)
    agrees(page)
    before = plane(page, "triplet").screenshot(), plane(page, "sst").screenshot()
    page.mouse.move(*at(page, loss, *getattr(widget, role)))
    page.mouse.down()
    page.mouse.move(*at(page, loss, 2.2, -1.5), steps=5)
    page.mouse.up()
    agrees(page)
    assert page.model(role) == pytest.approx([2.2, -1.5], abs=0.03)
    assert [page.model(other) for other in ROLES if other != role] == [getattr(widget, x) for x in ROLES if x != role]
    assert plane(page, "triplet").screenshot() != before[0] and plane(page, "sst").screenshot() != before[1]
    page.wait_for_timeout(400)
    assert page.locator(".sst-said").inner_text().startswith(f"{role} at 2.")
    assert not page.bad


def test_a_point_is_dragged_by_touch_on_a_phone(page_of):
    widget = GradientExplorer()
    page = page_of(widget, width=390)
    touch = page.context.new_cdp_session(page)

    def send(kind, *points):
        where = [{"x": x, "y": y} for x, y in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": where})

    x, y = at(page, "triplet", *widget.negative)
    scrolled = page.evaluate("scrollY")
    send("touchStart", (x + 8, y + 8))  # a finger is not that exact
    for step in range(1, 9):
        send("touchMove", (x + 8 + 4 * step, y + 8 + 8 * step))
    send("touchEnd")
    _, _, n = agrees(page)
    scale = plane(page, "triplet").bounding_box()["width"] / WIDTH * UNIT
    np.testing.assert_allclose(n, np.array(widget.negative) + np.array([32, -64]) / scale, atol=0.03)
    assert page.evaluate("scrollY") == scrolled
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.bad


def test_a_point_stays_in_the_plane(page_of):
    widget = GradientExplorer()
    page = page_of(widget)
    page.mouse.move(*at(page, "sst", *widget.positive))
    page.mouse.down()
    page.mouse.move(*at(page, "sst", 9, -6), steps=3)
    page.mouse.up()
    agrees(page)
    assert page.model("positive") == [4, -3]
    widget.set_state({"positive": page.model("positive")})  # which Python accepts


@pytest.mark.parametrize("role", ROLES)
def test_a_point_is_moved_by_the_arrow_keys(page_of, role):
    widget = GradientExplorer("satisfied")
    page = page_of(widget)
    handle = page.get_by_role("slider", name=f"{role} {role[0]}, in the panel of the SST loss")
    handle.focus()
    x, y = getattr(widget, role)
    for key, step in [
        ("ArrowRight", (0.05, 0)),
        ("ArrowUp", (0, 0.05)),
        ("Shift+ArrowLeft", (-0.5, 0)),
        ("Shift+ArrowDown", (0, -0.5)),
    ]:
        page.keyboard.press(key)
        x, y = x + step[0], y + step[1]
        agrees(page)
        assert page.model(role) == pytest.approx([x, y], abs=1e-9)
    assert handle.get_attribute("aria-valuetext") == f"x {x:.2f}, y {y:.2f}".replace("-", "−")
    page.wait_for_timeout(400)
    assert role in page.locator(".sst-said").inner_text()
    assert not page.bad


@pytest.mark.parametrize("start", STARTS)
def test_buttons_bring_the_named_positions(page_of, start):
    page = page_of(GradientExplorer("violated" if start != "violated" else "collapse"))
    page.get_by_role("button", name=start, exact=True).click()
    np.testing.assert_array_equal(agrees(page), STARTS[start])
    page.get_by_role("button", name="Reset").click()
    np.testing.assert_array_equal(agrees(page), STARTS["violated" if start != "violated" else "collapse"])
    assert not page.bad


def test_the_margin_moves_the_hinge(page_of):
    page = page_of(GradientExplorer("satisfied"))
    assert page.model("triplet_loss") == 0
    before = page.locator("canvas").first.screenshot(), page.locator("canvas").last.screenshot()
    margin = page.get_by_label("margin m (triplet)")
    margin.fill("3.5")
    agrees(page)
    assert page.model("margin") == 3.5 and page.model("triplet_loss") > 0
    assert "3.50" in page.locator(".sst-controls output").inner_text()
    after = page.locator("canvas").first.screenshot(), page.locator("canvas").last.screenshot()
    assert after[0] != before[0] and after[1] == before[1]  # the SST loss has no margin
    margin.focus()
    page.keyboard.press("ArrowLeft")
    agrees(page)
    assert page.model("margin") == 3.45
    assert not page.bad


def test_far_points_have_arrows_that_are_cut_and_say_so(page_of):
    page = page_of(GradientExplorer(anchor=[-4, -3], positive=[4, 3], negative=[-3, -2]))
    agrees(page)
    assert "‖ on an arrow" in page.locator('[data-loss="sst"]').inner_text()


# ---- the triangles ----
SIDE, LEFT, BASE = 122, 12, 114  # as in gradients.js


def in_triangle(page, loss, panel, u, v):
    box = page.locator(f'[data-loss="{loss}"] .sst-layers').nth(panel).bounding_box()
    b, r = (u + 2) / 6, (v + 2) / 6
    scale = box["width"] / 146
    return box["x"] + scale * (LEFT + SIDE * (b + r / 2)), box["y"] + scale * (BASE - SIDE * np.sqrt(0.75) * r)


@pytest.mark.parametrize("loss", ["sst", "triplet"])
def test_the_triangles_have_the_colours_of_the_field(page_of, loss):
    page = page_of(GradientExplorer(margin=1.0))
    rng = np.random.default_rng(3)
    for panel in range(3):
        picture = page.locator(f'[data-loss="{loss}"] canvas').nth(panel)
        size, pixels = picture.evaluate(
            "c => [[c.width, c.height], [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]"
        )
        pixels = np.array(pixels).reshape(size[1], size[0], 4)
        scale, seen = size[0] / 146, 0
        for b, r, _ in rng.dirichlet([1, 1, 1], 200):
            x, y = scale * (LEFT + SIDE * (b + r / 2)), scale * (BASE - SIDE * np.sqrt(0.75) * r)
            column, row = int(x), int(y)
            # the field at the middle of that pixel
            r2 = (BASE - (row + 0.5) / scale) / (SIDE * np.sqrt(0.75))
            b2 = ((column + 0.5) / scale - LEFT) / SIDE - r2 / 2
            if min(b2, r2, 1 - b2 - r2) < 0.02:
                continue
            u, v = -2 + 6 * b2, -2 + 6 * r2
            value = geometry.scalar_field(loss, u, v, 1.0)[panel]
            if loss == "triplet" and abs(u**2 + 1 - (u + v) ** 2) < 1e-6:
                continue
            colour = 255 * np.array(matplotlib.colormaps["RdBu_r"](np.clip((value + 4) / 8, 0, 1)))
            np.testing.assert_allclose(pixels[row, column], colour, atol=2)
            seen += 1
        assert seen > 120
        assert pixels[2, 2, 3] == 0  # outside there is nothing


@pytest.mark.parametrize("loss, panel", [("triplet", 0), ("triplet", 2), ("sst", 1)])
def test_dragging_the_marker_moves_the_points_on_a_line(page_of, loss, panel):
    widget = GradientExplorer()
    page = page_of(widget)
    start = ternary_point(widget.anchor, widget.positive, widget.negative)[0]
    page.mouse.move(*in_triangle(page, loss, panel, *start[:2]))
    page.mouse.down()
    page.mouse.move(*in_triangle(page, loss, panel, 1.5, -0.6), steps=5)
    page.mouse.up()
    a, p, n = agrees(page)
    assert a[1] == p[1] == n[1] == 0
    assert p[0] == widget.positive[0]  # there is room: it stays
    assert [a[0] - p[0], p[0] - n[0]] == pytest.approx([1.5, -0.6], abs=0.1)
    force = geometry.scalar_field(loss, a[0] - p[0], p[0] - n[0])[panel]
    told = (
        page.locator(f'[data-loss="{loss}"] .sst-layers')
        .nth(panel)
        .locator("xpath=preceding-sibling::div")
        .inner_text()
    )
    assert told.replace("−", "-") == f"on {'apn'[panel]}: {force:.2f}"
    assert told.split()[-1] in page.locator(f'[data-loss="{loss}"] canvas').nth(panel).get_attribute("aria-label")
    assert not page.bad


def test_a_press_in_the_triangle_brings_the_marker_there(page_of):
    page = page_of(GradientExplorer(positive=[3.5, 1.0]))
    page.mouse.click(*in_triangle(page, "sst", 0, 3.2, -1.5))
    a, p, n = agrees(page)
    assert [a[0] - p[0], p[0] - n[0]] == pytest.approx([3.2, -1.5], abs=0.1)
    assert max(a[0], p[0], n[0]) <= 4  # the positive made room
    page.mouse.click(*in_triangle(page, "sst", 0, -1.95, -1.95))  # the left corner: w = 4
    a, p, n = agrees(page)
    assert n[0] - a[0] == pytest.approx(3.9, abs=0.1)
    # along the lower right edges, rounding does not lead out of the triangle
    for u, v in [(3.3371, -1.3371), (1.111, 0.889), (-1.0049, 3.0049)]:
        page.mouse.click(*in_triangle(page, "sst", 1, u - 0.03, v - 0.03))
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        a, p, n = agrees(page)
        assert ternary_point(a, p, n)[1]


def test_the_marker_by_keys_and_by_touch(page_of):
    page = page_of(GradientExplorer("negative behind the positive"), width=390)
    marker = page.get_by_role("slider", name="marker in the triangle of the SST loss, anchor")
    marker.focus()
    page.keyboard.press("Shift+ArrowRight")
    a, p, n = agrees(page)
    assert a[0] - p[0] == pytest.approx(-2 + 0.5, abs=0.02) and p[0] - n[0] == pytest.approx(-0.6, abs=0.02)
    x, y = in_triangle(page, "triplet", 1, 0.5, 0.5)
    page.locator('[data-loss="triplet"] .sst-layers').nth(1).scroll_into_view_if_needed()
    x, y = in_triangle(page, "triplet", 1, 0.5, 0.5)
    page.touchscreen.tap(x, y)
    a, p, n = agrees(page)
    assert [a[0] - p[0], p[0] - n[0]] == pytest.approx([0.5, 0.5], abs=0.15)
    assert not page.bad


def test_the_marker_is_hollow_off_the_line_and_a_sentence_says_why(page_of):
    page = page_of(GradientExplorer("satisfied"))
    note = page.locator('[data-note="shadow"]')
    marker = page.locator(".sst-layers g circle").first
    assert "shadow on the horizontal axis" in note.inner_text() and "fill:none" in marker.get_attribute("style")
    page.get_by_role("button", name="negative behind the positive").click()
    settled(page)
    assert note.inner_text() == "" and "fill:none" not in marker.get_attribute("style")
    page = page_of(GradientExplorer(anchor=[-1.5, 0], positive=[1.5, 0], negative=[0, 0]))
    note, marker = page.locator('[data-note="shadow"]'), page.locator(".sst-layers g circle").first
    assert "outside of the triangles" in note.inner_text() and "fill:none" in marker.get_attribute("style")


def test_the_triangles_can_be_hidden(page_of):
    page = page_of(GradientExplorer())
    assert page.locator("canvas").first.is_visible()
    page.get_by_label("show the triangles of figure 2").uncheck()
    settled(page)
    assert page.model("panels") is False and not page.locator("canvas").first.is_visible()
    assert not page_of(GradientExplorer(panels=False)).locator("canvas").first.is_visible()


# ---- from outside, odd states, accessibility, speed ----
def test_the_page_follows_traits_that_are_set_elsewhere(page_of):
    page = page_of(GradientExplorer())
    before = plane(page, "sst").screenshot()
    twin = GradientExplorer(anchor=[0, 0], positive=[1, 1], negative=[-2, 1], margin=2.0)
    page.evaluate(f"x => {{ const {FIND}; for (const name in x) model.set(name, x[name]) }}", twin.get_state(TRAITS))
    agrees(page)
    assert plane(page, "sst").screenshot() != before
    assert page.get_by_label("margin m (triplet)").input_value() == "2"


def test_an_odd_state_is_told_not_thrown(page_of):
    page = page_of(GradientExplorer())
    page.evaluate(f"() => {{ const {FIND}; model.set('anchor', [NaN, 0]) }}")
    settled(page)
    assert "not two finite numbers" in page.get_by_role("alert").inner_text()
    page.get_by_role("button", name="satisfied", exact=True).click()
    agrees(page)
    assert not page.get_by_role("alert").is_visible()
    assert not page.bad


@pytest.mark.parametrize("width, dark", [(1440, False), (1440, True), (390, False), (340, True)])
def test_axe_finds_nothing_serious_and_nothing_overflows(page_of, width, dark):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = page_of(GradientExplorer(), width=width, dark=dark)
    found = axe.run(page).response["violations"]
    assert not [(x["id"], x["nodes"][0]["html"]) for x in found if x["impact"] in ("serious", "critical")]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_handle_is_reached_by_tab_and_shows_its_focus(page_of):
    page = page_of(GradientExplorer())
    names = []
    for _ in range(30):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        if names[-1]:
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert len({name for name in names if name and "panel" in name}) == 6
    assert len({name for name in names if name and "marker" in name}) == 2


def test_the_time_from_a_move_to_its_drawing(page_of):
    widget = GradientExplorer()
    page = page_of(widget)
    page.evaluate("""() => { window.times = []; addEventListener("pointermove", () => { const start = performance.now();
        requestAnimationFrame(() => times.push(performance.now() - start)); }) }""")
    page.mouse.move(*at(page, "sst", *widget.negative))
    page.mouse.down()
    page.evaluate("times.length = 0")
    for step in range(60):
        page.mouse.move(*at(page, "sst", -0.1 + 0.03 * step, 1 + 0.02 * step))
    page.mouse.up()
    settled(page)
    times = page.evaluate("times")
    print(
        f"gradient explorer, {len(times)} moves: input to redraw {np.median(times):.2f} ms, at most {max(times):.1f} ms"
    )
    assert len(times) >= 50
    agrees(page)
