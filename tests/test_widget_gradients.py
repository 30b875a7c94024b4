"""The gradient explorer: its numbers against geometry, its page in a real browser."""

import re

import matplotlib
import numpy as np
import pytest
import torch
import traitlets

from sstutils import geometry
from sstutils.lectures.widgets import GradientExplorer
from sstutils.lectures.widgets.gradients import STARTS

ROLES = ("anchor", "positive", "negative")
TRAITS = [*ROLES, "margin", "triplet_loss", "sst_loss", "z"]
UNIT, WIDTH, HEIGHT = 55, 440, 330  # of the SVG of a plane


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
def test_a_point_must_be_two_finite_numbers_in_the_plane(role):
    widget = GradientExplorer()
    for bad in ([np.nan, 0], [0, np.inf], [1], [1, 2, 3], "ab", None, 3):
        with pytest.raises(traitlets.TraitError, match=rf"^{role} must be two finite numbers \(x, y\); got"):
            setattr(widget, role, bad)
    for bad, says in (([5, 0], "x of {} must be between -4 and 4"), ([0, -3.5], "y of {} must be between -3 and 3")):
        with pytest.raises(traitlets.TraitError, match=says.format(role)):
            setattr(widget, role, bad)
    assert GradientExplorer().get_state(role) == widget.get_state(role)


def test_a_margin_out_of_range_an_unknown_start_and_a_result_that_is_set_are_errors():
    for bad in (-0.1, np.nan, np.inf, 4.5):
        with pytest.raises(traitlets.TraitError, match=r"^margin must be between 0 and 4; got"):
            GradientExplorer(margin=bad)
    with pytest.raises(ValueError, match="start must be one of violated, satisfied"):
        GradientExplorer("nowhere")
    with pytest.raises(traitlets.TraitError, match="read-only"):
        GradientExplorer().z = 3.0


@pytest.mark.parametrize("start", STARTS)
def test_the_still_picture_tells_the_same(start):
    widget = GradientExplorer(start)
    figure = widget.picture()
    assert f"SST loss: {widget.sst_loss:.2f} (z = {widget.z:.2f})".replace("-", "−") in figure.alt
    assert f"Triplet loss (margin 1): {widget.triplet_loss:.2f}" in figure.alt
    assert "nan" not in figure.alt and len(figure.png(60)) > 2000
    widget.steps = 300
    assert "300 steps of descent" in widget.picture().alt


@pytest.mark.parametrize("loss", ["triplet", "sst"])
def test_points_that_are_let_go_descend_the_loss_of_torch(loss):
    widget = GradientExplorer("violated", steps=40)
    way = widget.descend(loss)
    assert way.shape == (41, 3, 2)
    x = torch.tensor(way[0], requires_grad=True)
    for at in way[1:]:
        a, p, n = x
        d2 = lambda u, v: ((u - v) ** 2).sum()  # noqa: E731
        z = d2(a, p) + 1 - d2(a, n) if loss == "triplet" else d2(a, p) - (d2(a, n) + d2(p, n)) / 2
        value = z.clamp(min=0) if loss == "triplet" else torch.nn.functional.softplus(z)
        (slope,) = torch.autograd.grad(value, x)
        x = (x - 0.02 * slope).detach().requires_grad_()
        np.testing.assert_allclose(x.detach(), at, atol=1e-12)
    for bad in (-1, 301):
        with pytest.raises(traitlets.TraitError, match="steps must be between 0 and 300"):
            widget.steps = bad


# ---- the functions of the script ----
@pytest.fixture
def module(functions_of):
    page = functions_of("gradients")
    yield page
    assert not page.bad


def ternary_point(module, a, p, n):
    """(u, v, w) in the triangle, and whether nothing was lost."""
    told = module.evaluate("x => m.ternaryPoint(...x)", [[float(x) for x in point] for point in (a, p, n)])
    return np.array(told["uvw"]), told["inside"] and told["level"]


@pytest.mark.parametrize("dimension", [1, 8])
def test_the_script_computes_what_geometry_computes(module, dimension):
    points = triplets(400, dimension)
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


def test_the_marker_is_at_the_nearest_point_of_the_triangle(module):
    b, r, l = geometry.ternary_coordinates(240)  # noqa: E741
    grid = np.stack([-2 + 6 * b, -2 + 6 * r, -2 + 6 * l], axis=1)
    points = triplets(100)
    told = module.evaluate("points => points.map(x => m.ternaryPoint(...x))", points.tolist())
    for (a, p, n), found in zip(points, told, strict=True):
        uvw, given = np.array(found["uvw"]), np.array([a[0] - p[0], p[0] - n[0], n[0] - a[0]])
        assert not found["level"]  # they are never on one horizontal line
        assert uvw.sum() == pytest.approx(0, abs=1e-12) and (uvw >= -2 - 1e-9).all()
        nearest = np.linalg.norm(grid - given, axis=1).min()
        assert nearest - 0.03 <= np.linalg.norm(uvw - given) <= nearest + 1e-9
    uvw, exact = ternary_point(module, (1, 2), (0, 2), (0.5, 2))
    assert exact and uvw.tolist() == [1, -0.5, -0.5]
    assert not ternary_point(module, (4, 0), (-1, 0), (0, 0))[1]


def test_the_colours_of_the_script(module):
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


def agrees(page):
    """Hold the traits and the text of the page against geometry."""
    page.settle()
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


def drag(page, start, *way):
    page.mouse.move(*start)
    page.mouse.down()
    for place in way:
        page.mouse.move(*place, steps=3)
    page.mouse.up()


def test_points_are_dragged_by_mouse_in_either_panel(page_of):
    page = page_of(GradientExplorer())
    agrees(page)
    goals = {"anchor": [-2.0, 1.5], "positive": [1.2, 1.5], "negative": [2.2, -1.5]}
    for loss in ("triplet", "sst"):
        for role, goal in goals.items():
            goal = [-x for x in goal] if loss == "sst" else goal
            before = {other: page.model(other) for other in ROLES if other != role}
            shown = plane(page, "triplet").screenshot(), plane(page, "sst").screenshot()
            drag(page, at(page, loss, *page.model(role)), at(page, loss, *goal))
            agrees(page)
            assert page.model(role) == pytest.approx(goal, abs=0.03)
            assert {other: page.model(other) for other in before} == before
            assert plane(page, "triplet").screenshot() != shown[0] and plane(page, "sst").screenshot() != shown[1]
    page.locator(".sst-said", has_text="negative at").wait_for()
    drag(page, at(page, "sst", *page.model("positive")), at(page, "sst", 9, -6))
    agrees(page)
    assert page.model("positive") == [4, -3]  # a point stays in the plane
    GradientExplorer().set_state({"positive": page.model("positive")})  # which Python accepts
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


def test_points_are_moved_by_the_arrow_keys(page_of):
    page = page_of(GradientExplorer("satisfied"))
    keys = {"ArrowRight": (0.05, 0), "ArrowUp": (0, 0.05), "Shift+ArrowLeft": (-0.5, 0), "Shift+ArrowDown": (0, -0.5)}
    for role in ROLES:
        handle = page.get_by_role("slider", name=f"{role} {role[0]}, in the panel of the SST loss")
        handle.focus()
        x, y = page.model(role)
        for key, step in keys.items():
            page.keyboard.press(key)
            x, y = x + step[0], y + step[1]
            agrees(page)
            assert page.model(role) == pytest.approx([x, y], abs=1e-9)
        assert handle.get_attribute("aria-valuetext") == f"x {x:.2f}, y {y:.2f}".replace("-", "−")
    page.locator(".sst-said", has_text="negative at").wait_for()
    assert not page.bad


def test_buttons_bring_the_named_positions(page_of):
    page = page_of(GradientExplorer("violated"))
    for start in STARTS:
        page.get_by_role("button", name=start, exact=True).click()
        np.testing.assert_array_equal(agrees(page), STARTS[start])
    page.get_by_role("button", name="Reset").click()
    np.testing.assert_array_equal(agrees(page), STARTS["violated"])
    assert not page.bad


def test_the_margin_moves_the_hinge(page_of):
    page = page_of(GradientExplorer("satisfied"))
    assert page.model("triplet_loss") == 0
    before = page.locator("canvas").first.screenshot(), page.locator("canvas").last.screenshot()
    margin = page.get_by_label("margin m (triplet)")
    margin.fill("3.5")
    agrees(page)
    assert page.model("margin") == 3.5 and page.model("triplet_loss") > 0
    assert "3.50" in page.locator(".sst-controls output").first.inner_text()
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
    assert "‖ marks an arrow" in page.locator('[data-loss="sst"]').inner_text()


# ---- the triangles ----
SIDE, LEFT, BASE = 122, 12, 114  # as in gradients.js


def in_triangle(page, loss, panel, u, v):
    box = page.locator(f'[data-loss="{loss}"] .sst-layers').nth(panel).bounding_box()
    b, r = (u + 2) / 6, (v + 2) / 6
    scale = box["width"] / 146
    return box["x"] + scale * (LEFT + SIDE * (b + r / 2)), box["y"] + scale * (BASE - SIDE * np.sqrt(0.75) * r)


def test_the_triangles_have_the_colours_of_the_field(page_of):
    page = page_of(GradientExplorer(margin=1.0))
    b, r, _ = np.random.default_rng(3).dirichlet([1, 1, 1], 120).T
    for loss in ("sst", "triplet"):
        for panel in range(3):
            picture = page.locator(f'[data-loss="{loss}"] canvas').nth(panel)
            scale = picture.evaluate("c => c.width") / 146
            column, row = np.int64([scale * (LEFT + SIDE * (b + r / 2)), scale * (BASE - SIDE * np.sqrt(0.75) * r)])
            read = "(c, places) => places.map(([x, y]) => [...c.getContext('2d').getImageData(x, y, 1, 1).data])"
            pixels = np.array(picture.evaluate(read, np.stack([column, row], axis=1).tolist()))
            # the field at the middle of each pixel, away from the edges of the triangle and of the hinge
            r2 = (BASE - (row + 0.5) / scale) / (SIDE * np.sqrt(0.75))
            b2 = ((column + 0.5) / scale - LEFT) / SIDE - r2 / 2
            u, v = -2 + 6 * b2, -2 + 6 * r2
            sure = (np.min([b2, r2, 1 - b2 - r2], axis=0) >= 0.02) & (np.abs(u**2 + 1 - (u + v) ** 2) > 1e-6)
            value = geometry.scalar_field(loss, u, v, 1.0)[panel]
            colour = 255 * matplotlib.colormaps["RdBu_r"](np.clip((value + 4) / 8, 0, 1))
            np.testing.assert_allclose(pixels[sure], colour[sure], atol=2)
            assert sure.sum() > 70
            assert picture.evaluate(read, [[2, 2]])[0][3] == 0  # outside there is nothing


@pytest.mark.parametrize("loss, panel", [("triplet", 0), ("sst", 1)])
def test_dragging_the_marker_moves_the_points_on_a_line(page_of, module, loss, panel):
    widget = GradientExplorer()
    page = page_of(widget)
    start = ternary_point(module, widget.anchor, widget.positive, widget.negative)[0]
    drag(page, in_triangle(page, loss, panel, *start[:2]), in_triangle(page, loss, panel, 1.5, -0.6))
    a, p, n = agrees(page)
    assert a[1] == p[1] == n[1] == 0
    assert p[0] == widget.positive[0]  # there is room: it stays
    assert [a[0] - p[0], p[0] - n[0]] == pytest.approx([1.5, -0.6], abs=0.1)
    force = geometry.scalar_field(loss, a[0] - p[0], p[0] - n[0])[panel]
    picture = page.locator(f'[data-loss="{loss}"] canvas').nth(panel)
    told = picture.locator("xpath=../preceding-sibling::div").inner_text()
    assert told.replace("−", "-") == f"on {'apn'[panel]}: {force:.2f}"
    assert told.split()[-1] in picture.get_attribute("aria-label")
    assert not page.bad


def test_a_press_in_the_triangle_brings_the_marker_there(page_of, module):
    page = page_of(GradientExplorer(positive=[3.5, 1.0]), height=1200)
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
        assert ternary_point(module, a, p, n)[1]


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
    assert "projection onto the horizontal axis" in note.inner_text() and "fill:none" in marker.get_attribute("style")
    page.get_by_role("button", name="negative behind the positive").click()
    page.settle()
    assert note.inner_text() == "" and "fill:none" not in marker.get_attribute("style")
    page = page_of(GradientExplorer(anchor=[-1.5, 0], positive=[1.5, 0], negative=[0, 0]))
    note, marker = page.locator('[data-note="shadow"]'), page.locator(".sst-layers g circle").first
    assert "outside the triangles" in note.inner_text() and "fill:none" in marker.get_attribute("style")


def test_the_triangles_can_be_hidden(page_of):
    page = page_of(GradientExplorer())
    assert page.locator("canvas").first.is_visible()
    page.get_by_label("show the triangles of figure 2").uncheck()
    page.settle()
    assert page.model("panels") is False and not page.locator("canvas").first.is_visible()
    assert not page_of(GradientExplorer(panels=False)).locator("canvas").first.is_visible()


# ---- from outside, odd states ----
def test_the_page_follows_traits_that_are_set_elsewhere_and_tells_odd_ones(page_of):
    page = page_of(GradientExplorer())
    before = plane(page, "sst").screenshot()
    twin = GradientExplorer(anchor=[0, 0], positive=[1, 1], negative=[-2, 1], margin=2.0)
    page.put(**twin.get_state(TRAITS))
    agrees(page)
    assert plane(page, "sst").screenshot() != before
    assert page.get_by_label("margin m (triplet)").input_value() == "2"
    page.put(anchor=[float("nan"), 0])
    page.settle()
    assert "not two finite numbers" in page.get_by_role("alert").inner_text()
    page.get_by_role("button", name="satisfied", exact=True).click()
    agrees(page)
    assert not page.get_by_role("alert").is_visible()
    assert not page.bad


def test_the_script_lets_go_as_the_twin(module):
    for start in STARTS:
        widget = GradientExplorer(start, steps=60, margin=0.7)
        for loss in ("triplet", "sst"):
            points = [widget.anchor, widget.positive, widget.negative]
            way = module.evaluate(
                "([loss, points, margin]) => m.descend(loss, points, margin, 60)", [loss, points, 0.7]
            )
            np.testing.assert_allclose(way, widget.descend(loss), atol=1e-9)


def told(page):
    return page.locator('[data-note="let-go"]').inner_text()


def position(page, loss, role):
    """Where a point is drawn, in the units of the plane."""
    handle = plane(page, loss).get_by_role("slider", name=role)
    x, y = re.search(r"translate\((\S+) (\S+)\)", handle.get_attribute("transform")).groups()
    return np.array([(float(x) - WIDTH / 2) / UNIT, (HEIGHT / 2 - float(y)) / UNIT])


def test_points_are_let_go_scrubbed_and_caught(page_of):
    page = page_of(GradientExplorer("violated"))
    steps = page.get_by_role("slider", name="steps")
    page.get_by_role("button", name="Let go").click()
    page.wait_for_function("sst.model(sst.ids[0]).get('steps') > 3")
    page.get_by_role("button", name="Stop").click()
    page.settle()
    count = page.model("steps")
    widget = GradientExplorer("violated", steps=count)
    assert 3 < count <= 300 and steps.input_value() == str(count)
    for loss in ("triplet", "sst"):
        end = widget.descend(loss)[-1]
        for role, at in zip(ROLES, end, strict=True):
            np.testing.assert_allclose(position(page, loss, role), at, atol=1e-6)
        assert plane(page, loss).locator(".sst-trail").first.get_attribute("d").count("L") == count
    assert told(page).startswith(f"After {count} steps of descent from one start: triplet loss 2.20")
    assert page.model("anchor") == list(STARTS["violated"][0])  # the start is kept
    steps.focus()
    page.keyboard.press("Home")
    page.settle()
    assert page.model("steps") == 0 and told(page).startswith("Let go")
    page.keyboard.press("End")
    page.settle()
    end = GradientExplorer("violated", steps=300).descend("sst")[-1]
    np.testing.assert_allclose(position(page, "sst", "negative"), end[2], atol=1e-6)
    plane(page, "sst").get_by_role("slider", name="anchor").focus()
    page.keyboard.press("ArrowRight")  # caught in the panel of SST: its points are the new start
    page.settle()
    assert page.model("steps") == 0
    np.testing.assert_allclose(page.model("negative"), end[2], atol=0.006)
    np.testing.assert_allclose(page.model("anchor"), end[0] + [0.05, 0], atol=0.006)
    agrees(page)
    assert not page.bad


def test_less_motion_lets_go_at_once(page_of):
    page = page_of(GradientExplorer("violated"), reduced_motion="reduce")
    page.get_by_role("button", name="Let go").click()
    page.settle()
    assert page.model("steps") == 300
    page.wait_for_timeout(400)
    assert page.model("said").startswith("After 300 steps of descent from one start: triplet loss 2.20 → 0.00")
