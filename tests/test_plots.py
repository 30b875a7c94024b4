import functools
import io
import itertools
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import Normalize, same_color, to_hex
from matplotlib.patches import Circle, Rectangle
from PIL import Image

from sstutils.figures import plots

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(8), 12)
IMAGES = RNG.integers(0, 256, (96, 16, 16, 3), dtype=np.uint8)
LAYOUT = RNG.normal(size=(96, 2)) + 4 * np.stack([LABELS % 3, LABELS // 3], axis=1)
NAMES = [f"class {label}" for label in range(8)]
HISTORY = [{"epoch": e, "loss": 1 / e, **({"recall@1": 1 - 0.9 / e} if e % 2 else {})} for e in range(1, 8)]
CLOCKED = [{"epoch": e, "recall@1": 1 - 0.9 / e, "steps": 9, "processor": 2.0} for e in range(1, 8)]
RESULTS = {("SST", "local"): [0.91, 0.93, 0.92], ("SST", "shuffled"): [0.85, 0.88], ("triplet", "local"): [0.9]}

PICTURES = {
    "sst": lambda **k: plots.gradients("sst", **k),
    "triplet": lambda **k: plots.gradients("triplet", **k),
    "field": lambda **k: plots.field("sst", **k),
    "field of triplet": lambda **k: plots.field("triplet", **k),
    "gallery": lambda **k: plots.gallery(IMAGES, LABELS, [0, 13, 40], [[1, 30], [12, 14], [50, 60]], names=NAMES, **k),
    "samples": lambda **k: plots.samples(IMAGES, LABELS, names=NAMES, **k),
    "thumbnails": lambda **k: plots.thumbnails(LAYOUT, IMAGES, labels=LABELS, width=3, **k),
    "enlarged": lambda **k: plots.thumbnails(LAYOUT, IMAGES, labels=LABELS, enlarged=True, width=5, **k),
    "scatter": lambda **k: plots.scatter(LAYOUT, LABELS, names=NAMES, title="a map", **k),
    "neighborhoods": lambda **k: plots.neighborhoods(LAYOUT, np.arange(96).reshape(8, 12)[:, :10], LABELS, **k),
    "one neighborhood": lambda **k: plots.neighborhoods(LAYOUT, np.arange(96).reshape(8, 12), highlight=3, **k),
    "distances": lambda **k: plots.distances(LAYOUT, LABELS, title="in the plane", **k),
    "history": lambda **k: plots.history(HISTORY, **k),
    "curves": lambda **k: plots.curves([0.1, 1, 10], {"one": [1, 2, 3], "two": [3, 1, 2]}, x_label="$t$", log="x", **k),
    "histories": lambda **k: plots.history({"SST, local": HISTORY, "triplet, local": HISTORY[:4]}, **k),
    "comparison": lambda **k: plots.comparison(RESULTS, **k),
    "progress": lambda **k: plots.progress(
        {(x, s): [CLOCKED, CLOCKED[:5]] for x in ("SST", "triplet", "contrastive") for s in ("local", "shuffled")}, **k
    ),
    "idea": lambda **k: plots.idea(LAYOUT, IMAGES, LABELS, np.arange(0, 96, 3), **k),
}


@functools.cache
def drawn(name, style):
    return PICTURES[name](style=style)


# ---------------------------------------------------------------------------------------------------------------------
# All pictures
# ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("style", plots.STYLES)
@pytest.mark.parametrize("name", PICTURES)
def test_texts_lie_inside_and_do_not_overlap(name, style, monkeypatch):
    figure, texts = drawn(name, style), {}
    draw = matplotlib.text.Text.draw

    def note(text, renderer):
        draw(text, renderer)
        if text.get_text().strip() and text.get_visible():
            texts[text] = text.get_window_extent(renderer)

    monkeypatch.setattr(matplotlib.text.Text, "draw", note)
    figure.savefig(io.BytesIO(), format="png", dpi=100)
    width, height = figure.get_size_inches() * 100
    for text, box in texts.items():
        assert box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1 and box.y1 < height + 1, text
    # Boxes of slanted texts are larger than the texts, so only upright ones are compared.
    upright = [(text, box) for text, box in texts.items() if text.get_rotation() % 90 == 0]
    for (one, box), (other, second) in itertools.combinations(upright, 2):
        overlap = min(box.x1, second.x1) - max(box.x0, second.x0), min(box.y1, second.y1) - max(box.y0, second.y0)
        assert min(overlap) < 1, (one, other)


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_has_alternative_text_and_carries_it_along(name):
    figure = drawn(name, "default")
    assert len(figure.alt) > 40 and figure.alt.endswith(".") and "{" not in figure.alt
    with Image.open(io.BytesIO(figure.png(50))) as image:
        assert image.text["Description"] == figure.alt and image.mode == "RGB"
        assert image.size == tuple(np.floor(figure.get_size_inches() * 50 + 1e-6).astype(int))


@pytest.mark.parametrize("name", ["field", "gallery", "idea", "history"])
def test_the_same_bytes_again_whatever_the_callers_settings(name):
    import matplotlib.pyplot as plt

    first = PICTURES[name]()
    before = first.png(), first.svg("t")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": None, "image.cmap": "jet"}):
        settings_before = dict(matplotlib.rcParams)
        second = PICTURES[name]()
        assert (second.png(), second.svg("t")) == before
        assert dict(matplotlib.rcParams) == settings_before
    assert not plt.get_fignums()


def test_svg_has_title_and_description():
    import xml.etree.ElementTree as ElementTree

    figure = plots.scatter(LAYOUT, LABELS)
    figure.alt = r"less < more & \1 \n"
    root = ElementTree.fromstring(figure.svg("a < b"))
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert root.find(space + "title").text == "a < b" and root.find(space + "desc").text == figure.alt


def test_notebooks_show_figures_with_alternative_text():
    from IPython.core.formatters import DisplayFormatter

    figure = plots.scatter(LAYOUT, LABELS)
    data, metadata = DisplayFormatter().format(figure)
    assert metadata["image/png"] == {"alt": figure.alt, "width": 345, "height": 345}
    assert 'width="345" height="345" alt="96 points of 8 classes' in data["text/html"]
    assert data["image/png"].startswith("iVBOR") and figure.alt in data["text/plain"]


def test_unknown_styles_are_told():
    with pytest.raises(ValueError, match="'default', 'paper', got 'papre'"):
        plots.gradients(style="papre")
    with pytest.raises(ValueError, match="'papre'"), plots.style("papre"):
        pass


def test_palette_is_okabe_ito():
    assert set(plots.OKABE_ITO.values()) == {
        *("#000000", "#E69F00", "#56B4E9", "#009E73"),
        *("#F0E442", "#0072B2", "#D55E00", "#CC79A7"),
    }


# ---------------------------------------------------------------------------------------------------------------------
# What users hand over
# ---------------------------------------------------------------------------------------------------------------------
WORDS = [
    r"$5 and $6",
    "_hidden",
    r"50% of a^b_c \alpha \nonsense{",
    "$",
    "x\ny\x07",
    "\udcffcut in half",
    "<b> & co",
    "é",
]
NAMED = {
    "gallery": lambda names: plots.gallery(
        IMAGES, LABELS, np.arange(0, 96, 12), np.arange(1, 97, 12)[:, None], names=names
    ),
    "samples": lambda names: plots.samples(IMAGES, LABELS, names=names, classes=8, per_class=1),
    "scatter": lambda names: plots.scatter(LAYOUT, LABELS, names=names, title=names[0][:2]),
    "history": lambda names: plots.history(dict.fromkeys(names, HISTORY[:2])),
    "curves": lambda names: plots.curves([1, 2], {name: [1, 2] for name in names}, title=names[2], x_label=names[3]),
    "comparison": lambda names: plots.comparison({(a, b): [0.5, 0.6] for a in names[:4] for b in names[4:]}),
    "progress": lambda names: plots.progress({(a, b): [CLOCKED[:2]] for a in names[:4] for b in names[4:]}),
}


def texts_of(figure):
    """What stands in a figure, as it is drawn."""
    found = figure.findobj(matplotlib.text.Text)
    return {
        text._preprocess_math(text.get_text())[0] for text in found if not text._preprocess_math(text.get_text())[1]
    }


@pytest.mark.parametrize("name", NAMED)
def test_words_are_drawn_as_they_are(name, recwarn):
    from xml.etree import ElementTree

    figure = NAMED[name](WORDS)
    root = ElementTree.fromstring(figure.svg("\x07title"))
    with Image.open(io.BytesIO(figure.png(50))) as image:
        assert image.text["Description"] == figure.alt == root.find("{http://www.w3.org/2000/svg}desc").text
    shown = texts_of(figure)
    for word in ["_hidden", "$", "x y", "<b> & co", "é"]:
        assert any(word == text or (word != "$" and text.startswith(word)) for text in shown), (word, shown)
    assert any(text.startswith("50% of") for text in shown)
    assert any(text.startswith("$5") for text in shown) or name == "curves"  # whose names may hold formulas
    assert not [str(w.message) for w in recwarn if "font" in str(w.message).lower() or "label" in str(w.message)]


@pytest.mark.parametrize("name", NAMED)
def test_names_without_a_font_are_numbers_that_are_explained(name):
    names = [*WORDS[:4], "\U00012000 sign", *WORDS[5:]]  # cuneiform
    with pytest.warns(UserWarning, match=r"^no installed font has \U00012000: .* install a font for Cuneiform"):
        figure = NAMED[name](names)
    (number,) = (text for text in texts_of(figure) if text.startswith("#"))
    assert f"Numbers stand for names: {number} for \U00012000 sign." in figure.alt


def test_each_class_needs_a_name():
    for labels in (LABELS, LABELS - 1):
        for draw in (
            lambda labels: plots.gallery(IMAGES, labels, [0], [[1]], names=NAMES[:7]),
            lambda labels: plots.samples(IMAGES, labels, names=NAMES[:7]),
            lambda labels: plots.scatter(LAYOUT, labels, names=NAMES[:7]),
        ):
            with pytest.raises(ValueError, match=r"names must hold one for each class, (0 to 7|-1 to 6), got 7"):
                draw(labels)


def test_signs_come_from_another_font_that_is_installed(monkeypatch, recwarn):
    monkeypatch.setitem(plots.STYLES["default"], "font.family", ["cmtt10"])  # which has no Greek
    before = list(matplotlib.rcParams["font.family"])
    figure = plots.scatter(LAYOUT, LABELS, names=["Ωμέγα"] * 8)
    assert "Ωμέγα" in texts_of(figure) and len(figure.png(50))
    assert not [w for w in recwarn if "Glyph" in str(w.message) or "font" in str(w.message)]
    assert matplotlib.rcParams["font.family"] == before


def test_no_command_to_a_terminal_is_in_an_alternative_text():
    class Broken:
        def __getitem__(self, item):
            raise OSError("image a\x1b[31m\udce4.png cannot be read")

    with pytest.warns(UserWarning, match="could not be read"):
        figure = plots.samples(Broken(), [0, 1])
    assert "image a[31m.png cannot be read" in figure.alt and len(figure.png(50))
    ElementTree.fromstring(figure.svg())


def test_curves_may_have_numbers_for_names():
    rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]
    assert "0: loss from 2 to 1; 1: loss" in plots.history({0: rows, 1: rows}).alt


def test_formulas_are_formulas_in_curves():
    figure = plots.curves([1, 2], {"$h^2$": [1, 2], "$5 to $10": [1, 2]}, title="cost in $")
    assert figure.axes[0].get_legend().get_texts()[0].get_text() == "$h^2$" and "cost in $" in texts_of(figure)


def test_images_that_cannot_be_read_are_left_grey_and_counted():
    class Broken:
        def __getitem__(self, item):
            if item in (0, 14, 30):
                raise OSError(f"cannot read image pets/{item}.png")
            return IMAGES[item]

    for draw, lost in (
        (lambda: plots.gallery(Broken(), LABELS, [0, 13], [[1, 0], [12, 14]]), 2),
        (lambda: plots.samples(Broken(), LABELS, per_class=12), 3),
        (lambda: plots.thumbnails(LAYOUT[:6], Broken(), cells=48), 1),
        (lambda: plots.idea(LAYOUT, Broken(), LABELS, [0, 1, 13, 25]), 1),
    ):
        with pytest.warns(UserWarning, match=rf"^{lost} images could not be read and are left grey: cannot read image"):
            figure = draw()
        assert f"{lost} images could not be read" in figure.alt and "pets/0.png" in figure.alt


def test_arrays_and_tensors_of_all_kinds_are_taken():
    import torch

    frozen = LAYOUT.copy()
    frozen.flags.writeable = False
    wanted = plots.scatter(LAYOUT, LABELS).png(50)
    for points in (torch.tensor(LAYOUT, requires_grad=True), frozen, LAYOUT.tolist()):
        for labels in (torch.tensor(LABELS), LABELS.tolist(), LABELS.astype(float)):
            assert plots.scatter(points, labels).png(50) == wanted
    half = torch.tensor(LAYOUT).bfloat16().requires_grad_()
    for draw in (
        lambda: plots.thumbnails(half, IMAGES, labels=torch.tensor(LABELS), width=2),
        lambda: plots.neighborhoods(half, [[0, 1], torch.tensor([2, 3])], LABELS.tolist()),
        lambda: plots.idea(half, IMAGES, torch.tensor(LABELS), [0, 1, 12, 13]),
        lambda: plots.curves(half[:4, 0], {"one": half[:4, 1]}),
        lambda: plots.samples(torch.rand(96, 3, 8, 8).bfloat16().requires_grad_(), LABELS, classes=1),
    ):
        assert draw().png(50)


@pytest.mark.parametrize("layout", [np.ones((9, 2)), np.ones((9, 2)) * [[1], *[[0]] * 8], np.ones((9, 2)) * 1e-300])
def test_maps_without_spread_are_drawn(layout):
    labels = [0, 0, 0, 0, 1, 1, 1, 1, 1]
    with np.errstate(all="raise"):
        for figure in (
            plots.thumbnails(layout, IMAGES, labels=labels, enlarged=True, width=2),
            plots.scatter(layout, labels),
            plots.neighborhoods(layout, [[0, 1, 2], [3, 4]]),
            plots.idea(layout, IMAGES, labels, range(9)),
        ):
            assert figure.png(50)
    assert plots.thumbnails(layout[:1], IMAGES, labels=labels[:1], width=1).png(50)
    assert plots.curves([1], {"one": [2], "none": [np.nan]}, log="xy").png(50)
    with pytest.raises(ValueError, match="a loss or a recall@1, got neither"):
        plots.history([{"epoch": 1, "loss": None}])


# ---------------------------------------------------------------------------------------------------------------------
# Gradients
# ---------------------------------------------------------------------------------------------------------------------
def negative_gradients(loss, u, v, margin=1.0):
    """The six formulas of figure 2, written out."""
    w = -u - v
    if loss == "sst":
        s = 1 / (1 + np.exp(-(u**2 - (v**2 + w**2) / 2)))
        return s * (v - u), s * (u - w), s * (w - v)
    active = u**2 + margin - w**2 > 0
    return 2 * v * active, 2 * u * active, 2 * w * active


@pytest.mark.parametrize("style", plots.STYLES)
@pytest.mark.parametrize("loss", ["sst", "triplet"])
def test_gradients_show_the_right_colours_at_the_right_places(loss, style):
    figure = plots.gradients(loss, style=style)
    *panels, _ = figure.axes
    pixels = np.asarray(Image.open(io.BytesIO(figure.png())), dtype=float)
    colours = matplotlib.colormaps["RdYlGn_r" if style == "paper" else "RdBu_r"]
    # Places away from the edges, the grid lines (multiples of 2) and the sharp edge of the triplet loss.
    u, v = (x.ravel() for x in np.meshgrid(np.arange(-1.5, 3.6, 0.5), np.arange(-1.5, 3.6, 0.5)))
    w = -u - v
    inside = (w >= -1.5) & (w <= 3.5) & (np.minimum.reduce([abs(x - 2 * np.round(x / 2)) for x in (u, v, w)]) > 0.3)
    u, v, w = u[inside], v[inside], w[inside]
    clear = np.abs(u**2 + 1 - w**2) > 0.4 if loss == "triplet" else np.ones(len(u), dtype=bool)
    assert clear.sum() >= 10
    for axes, values in zip(panels, negative_gradients(loss, u, v), strict=True):
        expected = 255 * colours(Normalize(-4, 4, clip=True)(values))[:, :3]
        box = axes.get_position()
        # Right vertex u = 4, top v = 4, left w = 4.
        b, r = (u + 2) / 6, (v + 2) / 6
        x = (box.x0 + (b + r / 2) * box.width) * pixels.shape[1]
        y = (1 - box.y0 - r * box.height) * pixels.shape[0]
        seen = pixels[np.floor(y).astype(int), np.floor(x).astype(int)]
        assert np.abs(seen - expected)[clear].max() < 14  # a pixel is about 0.02 of u wide


def test_gradients_have_the_papers_axes():
    figure = plots.gradients("triplet")
    *panels, bar = figure.axes
    assert len(panels) == 3 and all(axes.name == "ternary" for axes in panels)
    for axes, role in zip(panels, ("anchor", "positive", "negative"), strict=True):
        assert role in axes.get_title()
        assert "phi_a-" in axes.raxis.get_label_text() and axes.raxis.get_label_text().startswith("$u")
        assert axes.taxis.get_label_text().startswith("$v") and axes.laxis.get_label_text().startswith("$w")
        for axis in (axes.taxis, axes.laxis, axes.raxis):
            np.testing.assert_allclose(axis.get_ticklocs(), [0, 1 / 3, 2 / 3, 1])
            assert [label.get_text() for label in axis.get_ticklabels()] == ["−2", "0", "2", "4"]
            assert all(line.get_linestyle() == ":" and line.get_visible() for line in axis.get_gridlines())
        (mesh,) = axes.collections
        assert (mesh.norm.vmin, mesh.norm.vmax, mesh.norm.clip) == (-4, 4, True) and mesh.get_rasterized()
    assert bar.get_ylim() == (-4, 4) and len({axes.collections[0].get_cmap().name for axes in panels}) == 1


def test_gradients_take_a_margin_and_refuse_other_losses():
    def active(margin):
        return np.count_nonzero(plots.gradients("triplet", margin).axes[0].collections[0].get_array())

    assert active(0.2) < active(1.0) < active(3.0)
    with pytest.raises(ValueError, match="contrastive"):
        plots.gradients("contrastive")
    with pytest.raises(ValueError, match="contrastive"):
        plots.field("contrastive")
    for margin in (-2, float("nan")):
        with pytest.raises(ValueError, match="margin must be"):
            plots.field("triplet", margin=margin)


@pytest.mark.parametrize("loss", ["sst", "triplet"])
def test_field_arrows_lead_away_from_the_centre_of_the_circle(loss):
    axes = plots.field(loss, margin=1.0).axes[0]
    (arrows,) = (c for c in axes.collections if isinstance(c, matplotlib.quiver.Quiver))
    (circle,) = (p for p in axes.patches if isinstance(p, Circle))
    away = np.stack([arrows.X, arrows.Y], axis=1) - circle.center
    push = np.stack([arrows.U, arrows.V], axis=1)
    np.testing.assert_allclose(away[:, 0] * push[:, 1], away[:, 1] * push[:, 0], atol=1e-12)  # parallel
    assert ((away * push).sum(axis=1) >= 0).all()
    if loss == "sst":
        assert tuple(circle.center) == (0, 0) and circle.radius == pytest.approx(np.sqrt(3) / 2 * 1.2)
    else:
        outside = np.linalg.norm(away, axis=1) > circle.radius
        assert not push[outside].any() and push[~outside].any()


# ---------------------------------------------------------------------------------------------------------------------
# Images
# ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("style", plots.STYLES)
def test_gallery_marks_correct_and_incorrect_by_colour_and_by_sign(style):
    queries, neighbors = [0, 13, 40], np.array([[1, 30, 2], [12, 50, 60], [41, 42, 43]])
    figure = plots.gallery(IMAGES, LABELS, queries, neighbors, names=NAMES, style=style)
    (axes,) = figure.axes
    correct = (LABELS[neighbors] == LABELS[queries][:, None]).ravel()
    frames = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_gid()]
    badges = [p for p in axes.patches if isinstance(p, Circle)]
    colours = {"default": ("#0072B2", "#D55E00"), "paper": ("#00A000", "#E00000")}[style]
    assert [f.get_gid() == "correct" for f in frames] == correct.tolist()
    assert [b.get_gid() == "tick" for b in badges] == correct.tolist()
    for frame, badge, right in zip(frames, badges, correct, strict=True):
        assert same_color(frame.get_edgecolor(), colours[0 if right else 1])
        assert same_color(badge.get_facecolor(), colours[0 if right else 1])
        corner = frame.get_x() + frame.get_width(), frame.get_y()
        np.testing.assert_allclose(badge.center, corner, atol=0.03)
    strokes = sum(line.get_color() == "white" for line in axes.lines)
    assert strokes == correct.sum() + 2 * (~correct).sum()  # a tick is one stroke, a cross is two
    assert len(axes.images) == 12
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("query") == 2 and texts.count("class 0") == 3
    assert "6 of the 9 retrieved; incorrect, with a cross: 3" in figure.alt and figure.alt.endswith("correct: 3.")


def test_gallery_shows_each_item_where_it_belongs():
    flat = np.arange(0, 240, 20, dtype=np.uint8)[:, None, None, None] * np.ones((12, 8, 8, 3), np.uint8)
    figure = plots.gallery(flat, np.zeros(12, int), [3, 7], [[1, 2], [5, 11]], columns=1)
    values = [int(image.get_array()[4, 4, 0]) for image in figure.axes[0].images]
    np.testing.assert_allclose(values, [60, 20, 40, 140, 100, 220], atol=3)  # six bits are kept
    lefts = [image.get_extent()[0] for image in figure.axes[0].images]
    assert lefts[:3] == lefts[3:] and lefts[0] < lefts[1] < lefts[2]


def test_images_of_any_kind_and_size_keep_their_proportions():
    import torch

    kinds = [
        Image.new("RGB", (60, 20), (255, 0, 0)),
        (Image.new("L", (20, 60), 0), 3),
        np.zeros((40, 40), np.uint8),
        torch.zeros(3, 30, 15),
        np.zeros((10, 10, 3)),
        Image.new("P", (5, 5)),
    ]
    figure = plots.gallery(kinds, [0] * 6, [0], [[1, 2, 3, 4, 5]])
    shown = [np.asarray(image.get_array()) for image in figure.axes[0].images]
    white = [(image == 255).all(axis=2).mean() for image in shown]
    np.testing.assert_allclose(white, [2 / 3, 2 / 3, 0, 0.5, 0, 0], atol=0.02)
    assert all(image.shape[0] == image.shape[1] and image.dtype == np.uint8 for image in shown)


@pytest.mark.parametrize("neighbors", [[1, 2], [[1, 2], [3, 4]]])
def test_gallery_refuses_neighbors_of_another_shape(neighbors):
    with pytest.raises(ValueError, match="one row for each of the 1 queries"):
        plots.gallery(IMAGES, LABELS, [0], neighbors)
    with pytest.raises(ValueError, match="at least one query"):
        plots.gallery(IMAGES, LABELS, [], neighbors)


@pytest.mark.parametrize("wrong", [[-1], [96], [0.5], [True], np.arange(96) % 2 == 0, ["cat"]], ids=str)
def test_numbers_of_items_are_not_guessed(wrong):
    for name, draw in (
        ("queries", lambda: plots.gallery(IMAGES, LABELS, wrong, [[1]] * len(wrong))),
        ("neighbors", lambda: plots.gallery(IMAGES, LABELS, [0], [wrong])),
        ("batches", lambda: plots.neighborhoods(LAYOUT, [[0, 1], wrong])),
        ("batch", lambda: plots.idea(LAYOUT, IMAGES, LABELS, wrong)),
    ):
        with pytest.raises(ValueError, match=rf"^{name} must be (between 0 and 95|a one-dimensional)") as error:
            draw()
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"^highlight must be between 0 and 0, got -1$"):
        plots.neighborhoods(LAYOUT, [[0, 1]], highlight=-1)


def test_long_names_are_cut():
    names = ["Black_footed_Albatross_of_the_northern_Pacific"] * 8
    texts = [text.get_text() for text in plots.gallery(IMAGES, LABELS, [0], [[1]], names=names).axes[0].texts]
    assert sum(text.startswith("Black") and text.endswith("…") for text in texts) == 2


def test_samples_show_one_class_a_row():
    marked = np.broadcast_to(LABELS[:, None, None, None] * 30, (96, 4, 4, 3)).astype(np.uint8)
    figure = plots.samples(marked, LABELS, classes=5, per_class=7, seed=3)
    rows = {}
    for image in figure.axes[0].images:
        rows.setdefault(image.get_extent()[3], set()).add(int(image.get_array()[0, 0, 0]))
    assert len(figure.axes[0].images) == 35 and len(rows) == 5 and all(len(values) == 1 for values in rows.values())


# ---------------------------------------------------------------------------------------------------------------------
# The map
# ---------------------------------------------------------------------------------------------------------------------
def snap_slowly(layout, centres, size):
    """For each centre, the points of its cell, by brute force."""
    return [np.flatnonzero((np.abs(layout - centre) <= size / 2 * (1 + 1e-6)).all(axis=1)) for centre in centres]


@given(
    arrays(float, st.tuples(st.integers(1, 60), st.just(2)), elements=st.floats(-1e3, 1e3)),
    st.integers(1, 12) | st.none(),
)
@settings(max_examples=150, deadline=None)
def test_snapped_points_do_not_overlap_and_are_the_nearest_of_their_cells(layout, cells):
    shown, centres, size = plots.snap(layout, cells)
    assert size > 0 and len(shown) == len(centres) == len(set(shown.tolist()))
    scale = np.abs(layout).max() + size
    moved = np.abs(layout[shown] - centres).max()
    assert moved <= size / 2 + 1e-9 * scale  # at most half a cell along either axis
    for one, other in itertools.combinations(centres, 2):
        assert np.abs(one - other).max() >= size - 1e-9 * scale  # so the squares do not overlap
    members = snap_slowly(layout, centres, size)
    assert set(np.concatenate(members).tolist()) == set(range(len(layout)))  # each point has a cell that shows one
    for item, centre, cell in zip(shown, centres, members, strict=True):
        nearest = np.linalg.norm(layout[cell] - centre, axis=1).min()
        assert np.linalg.norm(layout[item] - centre) <= nearest + 1e-9 * scale


@pytest.mark.parametrize("count", [300, 5_000, 60_000])
def test_one_idea_serves_few_points_and_many(count):
    layout = np.random.default_rng(1).normal(size=(count, 2))
    shown, centres, size = plots.snap(layout)
    cells = np.ptp(layout, axis=0).max() / size
    assert 8 <= cells <= 48 + 1e-6
    if count == 300:
        assert 150 <= len(shown) < 200  # the fewest cells that show half of the points
    assert len(shown) > 100 and len(np.unique(np.round(centres / size, 3), axis=0)) == len(shown)


@pytest.mark.parametrize("layout", [np.zeros((0, 2)), np.zeros((4, 3)), np.array([[0, np.nan]]), np.zeros(4)])
def test_snap_refuses_what_is_no_layout(layout):
    with pytest.raises(ValueError, match=r"^layout"):
        plots.snap(layout)


def test_thumbnails_hold_each_picture_once_at_its_place():
    count = 200
    layout = np.random.default_rng(2).uniform(size=(count, 2)) * [3, 1]
    colours = np.stack([np.arange(count) % 6, np.arange(count) // 6 % 6, np.arange(count) // 36], axis=1) * 40 + 8
    images = np.broadcast_to(colours[:, None, None, :], (count, 5, 5, 3)).astype(np.uint8)
    figure = plots.thumbnails(layout, images, cells=20)
    shown, centres, size = plots.snap(layout, 20)
    (axes,) = figure.axes
    (picture,) = axes.images  # one image, not hundreds
    canvas = np.asarray(picture.get_array())
    left, right, bottom, top = picture.get_extent()
    height, width, _ = canvas.shape
    assert (right - left) / width == pytest.approx((top - bottom) / height)
    dots = size * width / (right - left)
    assert dots == pytest.approx(round(dots))
    for item, (x, y) in zip(shown, centres, strict=True):
        column, row = int((x - left) / (right - left) * width), int((top - y) / (top - bottom) * height)
        np.testing.assert_allclose(canvas[row, column], colours[item], atol=8)
    filled = (canvas != 255).any(axis=2).sum()
    assert filled == len(shown) * (round(dots) - 1) ** 2  # no picture hides a part of another
    assert f"{len(shown)} of 200 images" in figure.alt and any(
        f"{len(shown)} of 200" in t.get_text() for t in figure.texts
    )


def test_thumbnails_are_copied_dot_by_dot():
    figure = plots.thumbnails(LAYOUT, IMAGES, width=2)
    canvas = np.asarray(figure.axes[0].images[0].get_array())
    pixels = np.asarray(Image.open(io.BytesIO(figure.png())))
    margin = 8  # 0.04 inches
    inside = pixels[margin : margin + canvas.shape[0], margin : margin + canvas.shape[1]]
    np.testing.assert_array_equal(inside, canvas)


def test_files_stay_small_even_for_noise():
    layout = np.random.default_rng(0).normal(size=(5000, 2))
    images = RNG.integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    figure = plots.thumbnails(layout, [images[i % 64] for i in range(5000)])
    assert len(figure.png()) < 1.5e6 and len(figure.svg()) < 2e6


def a_large_map(count=6000, groups=40):
    """Groups of points, half of them crowded; and a picture of one colour for each point."""
    rng = np.random.default_rng(3)
    group = rng.integers(groups, size=count)
    layout = rng.uniform(-9, 9, (groups, 2))[group] + rng.normal(size=(count, 2)) * (0.3 + group % 2)[:, None]
    return layout, colour_of(np.arange(count))


def colour_of(items):
    """Colours that tell 8,000 items apart: twenty shades a channel, further apart than 5 bits."""
    return np.stack([items % 20, items // 20 % 20, items // 400], axis=-1).astype(np.uint8) * 12


class Read:
    """Pictures that note which were read."""

    def __init__(self, colours):
        self.colours, self.items = colours, []

    def __getitem__(self, item):
        self.items.append(item)
        return np.broadcast_to(self.colours[item], (4, 4, 3))


def test_crowded_places_of_a_large_map_are_enlarged():
    layout, colours = a_large_map()
    images = Read(colours)
    figure = plots.thumbnails(layout, images)
    overview, *parts = figure.axes
    frames = plots.windows(layout)
    assert len(parts) == len(frames) == 5
    assert 6.9 < figure.get_figwidth() <= 7.2
    seen, told = [], []
    for axes in figure.axes:
        (picture,) = axes.images
        left, right, _, top = picture.get_extent()
        pixels = np.asarray(picture.get_array())
        scale = pixels.shape[1] / (right - left)
        places = []
        if axes is overview:
            shown, _, cell = plots.snap(layout, most=32)
        else:
            cell = (right - left) / 7
            assert cell * scale > 0.3 * 200
        size = round(cell * scale)
        for row in range(pixels.shape[0] // size):
            for column in range(pixels.shape[1] // size):
                square = pixels[row * size : (row + 1) * size, column * size : (column + 1) * size]
                if (square == 255).all():
                    continue
                # One picture alone in its cell, with a line to the next.
                assert (square[:-1, :-1] == square[0, 0]).all() and (square[-1] == 255).all()
                assert (square[:, -1] == 255).all()
                away = np.abs(colours.astype(int) - square[0, 0]).max(axis=1)
                item = int(away.argmin())
                assert away[item] <= 5
                places.append(item)
                middle = left + (column + 0.5) * cell, top - (row + 0.5) * cell
                assert np.abs(layout[item] - middle).max() <= cell / 2 * (1 + 1e-6)  # near its true place
        seen += places
        told.append(len(places))
    assert sorted(images.items) == sorted(seen)  # only what is shown is read
    assert told[0] == len(shown) and min(told[1:]) > 49 / 2
    assert f"{told[0]} of 6,000 images" in figure.alt and "5 numbered frames" in figure.alt
    assert ", ".join(f"{count} of 98" for count in told[1:]) in figure.alt
    # Each frame is where its part lies, and both bear its number.
    drawn = [patch.get_bbox().extents for patch in overview.patches]
    for number, (axes, (x, y, side)) in enumerate(zip(parts, frames, strict=True)):
        np.testing.assert_allclose(drawn[number], [x, y, x + side, y + side])
        np.testing.assert_allclose(axes.images[0].get_extent(), [x, x + side, y, y + side])
        assert overview.texts[number].get_text() == axes.texts[0].get_text() == str(number + 1)
    assert len(figure.png()) < 1.5e6 and len(figure.svg()) < 2e6


def test_places_are_enlarged_only_where_there_are_many_or_when_asked():
    layout, colours = a_large_map(5001)
    images = np.broadcast_to(colours[:, None, None], (5001, 2, 2, 3))
    for count, enlarged, parts in ((5000, None, 0), (5001, None, 5), (5001, False, 0)):
        figure = plots.thumbnails(layout[:count], images[:count], enlarged=enlarged, width=2)
        assert len(figure.axes) == 1 + parts and ("enlarged" in figure.alt) == (parts > 0)
    assert len(plots.thumbnails(LAYOUT, IMAGES, enlarged=True).axes) > 1
    line = np.stack([np.arange(6000.0), np.zeros(6000)], axis=1)  # no square fits into it
    assert len(plots.thumbnails(line, np.zeros((6000, 2, 2), np.uint8)).axes) == 1


@pytest.mark.parametrize("cells", [3, 7])
def test_windows_are_crowded_full_squares_within_the_map_and_apart(cells):
    layout, _ = a_large_map()
    frames = plots.windows(layout, 4, cells=cells)
    assert len(frames) == 4
    low, high = layout.min(axis=0), layout.max(axis=0)
    for x, y, side in frames:
        assert (low <= (x, y)).all() and (np.array([x, y]) + side <= high).all()
        inside = layout[((layout >= (x, y)) & (layout <= (x + side, y + side))).all(axis=1)]
        assert len(inside) == 2 * cells**2
        assert len(inside) / side**2 > len(layout) / np.prod(high - low)  # more crowded than the map as a whole
        filled = {(int(u), int(v)) for u, v in (inside - (x, y)) / side * cells}
        assert len(filled) > cells**2 / 2
    for (x, y, side), (u, v, other) in itertools.combinations(frames, 2):
        assert max(x - u - other, u - x - side, y - v - other, v - y - side) > 0
    np.testing.assert_array_equal(frames, plots.windows(layout, 4, cells=cells))


def test_windows_of_odd_maps():
    for nothing in (np.zeros((50, 2)), np.zeros((1, 2)), np.stack([np.arange(90.0), np.zeros(90)], axis=1)):
        assert plots.windows(nothing).shape == (0, 3)  # no square fits
    assert 1 <= len(plots.windows(LAYOUT)) <= 5
    with pytest.raises(ValueError, match=r"^layout"):
        plots.windows(np.zeros((0, 2)))


def test_the_map_tells_how_well_classes_hang_together():
    layout = np.array([[0, 0], [0, 1], [9, 0], [9, 1.0], [9, 3]])
    assert "For 80% of the images" in plots.thumbnails(layout, IMAGES, labels=[0, 0, 1, 1, 0]).alt


def test_tsne_keeps_neighbors_and_repeats_itself():
    from sklearn.datasets import load_digits
    from sklearn.manifold import trustworthiness

    x = load_digits().data[:300]
    layout = plots.tsne_layout(x, perplexity=20, iterations=150)
    assert layout.shape == (300, 2) and layout.dtype == np.float32
    np.testing.assert_array_equal(layout, plots.tsne_layout(x, perplexity=20, iterations=150))
    assert trustworthiness(x, layout, n_neighbors=5) > 0.95


def test_the_default_layout_is_openTSNEs_own():
    from openTSNE import TSNE
    from sklearn.decomposition import PCA

    x = np.random.default_rng(5).normal(size=(60, 52)).astype(np.float32)
    projected = PCA(50, random_state=2).fit_transform(x)
    layout = TSNE(
        perplexity=59 / 3,
        n_iter=500,
        negative_gradient_method="bh",
        initialization="pca",
        random_state=2,
        n_jobs=1,
    ).fit(projected)
    np.testing.assert_array_equal(plots.tsne_layout(x, seed=2), np.asarray(layout, dtype=np.float32))


def test_interpolated_tsne_keeps_neighbors():
    from sklearn.datasets import make_blobs
    from sklearn.manifold import trustworthiness

    x, label = make_blobs(240, n_features=60, centers=12, cluster_std=2, random_state=0)
    layout = plots.tsne_layout(x, method="fft", iterations=50)
    assert trustworthiness(x, layout, n_neighbors=10) > 0.9
    away = np.linalg.norm(layout[:, None] - layout, axis=2) + np.diag(np.full(240, np.inf))
    assert (label[away.argmin(axis=1)] == label).all()
    assert not np.array_equal(layout, plots.tsne_layout(x, iterations=50))
    with pytest.raises(ValueError, match="t-SNE must be one of 'barnes-hut', 'fft', got 'umap'"):
        plots.tsne_layout(x, method="umap")


def test_progress_of_tsne_changes_nothing_and_comes_to_its_end(capsys):
    x = RNG.normal(size=(60, 4))
    silent = plots.tsne_layout(x, iterations=50)
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(plots.tsne_layout(x, iterations=50, progress=True), silent)
    bar = capsys.readouterr().err
    assert "Barnes-Hut t-SNE:   0%" in bar and "/300 [" in bar


@pytest.mark.parametrize(
    ("given", "points", "taken"), [(None, 10_000, 1), (None, 10_001, 7), (3, 10, 3), (2, 10_001, 2)]
)
def test_large_maps_take_all_cores_unless_told(given, points, taken, monkeypatch):
    import os

    import openTSNE

    asked = {}

    class Fake:
        def __init__(self, **options):
            asked.update(options)

        def fit(self, x):
            return x[:, :2]

    monkeypatch.setattr(openTSNE, "TSNE", Fake)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 7, raising=False)
    x = RNG.normal(size=(points, 3)).astype(np.float32)
    np.testing.assert_array_equal(plots.tsne_layout(x, n_jobs=given), x[:, :2])  # in the order of the points
    assert asked["n_jobs"] == taken


# Interpolation takes a hundredth of a second a step however few the points: of its kinds one, nearly without spread.
@pytest.mark.parametrize(
    ("method", "every"), [("barnes-hut", 1), ("fft", 8), pytest.param("fft", 1, marks=pytest.mark.slow)]
)
def test_tsne_of_embeddings_without_spread_is_an_error_or_a_finite_map(method, every):
    noise = RNG.normal(size=(60, 5))
    few = {"method": method, "iterations": 20}
    for same in (np.ones((60, 5)), np.zeros((60, 2)), np.full((60, 80), 3e7, np.float32), 1 + 1e-17 * noise):
        with pytest.raises(ValueError, match=r"^the embedding has collapsed: all 60 embeddings are the same"):
            plots.tsne_layout(same, **few)
    kinds = (
        *(noise * scale for scale in (1e19, 1e-25, 1e150, 1e-200)),
        (noise * 1e-40).astype(np.float32),
        1e6 + 1e-3 * noise,
        np.vstack([np.zeros((55, 5)), noise[:5]]),
        np.vstack([np.zeros((59, 5)), noise[:1]]),
        np.repeat(noise[:2], 30, axis=0),
        np.vstack([noise, noise[:6]]),
        noise[:, :1],
        np.repeat(noise[:3, :1], 20, axis=0),
        np.hstack([noise, np.ones((60, 60))]),
        noise[:5],
        np.vstack([noise, np.full((1, 5), 1e7)]),
    )
    for x in kinds[every - 1 :: every]:
        assert np.isfinite(plots.tsne_layout(x, **few)).all()


def test_tsne_takes_tensors_of_all_kinds():
    import torch

    x = torch.tensor(RNG.normal(size=(30, 3)), dtype=torch.bfloat16)
    wanted = plots.tsne_layout(x.float().numpy(), iterations=20)
    frozen = x.float().numpy().copy()
    frozen.flags.writeable = False
    for kind in (x, x.clone().requires_grad_(), x.double(), frozen):
        np.testing.assert_array_equal(plots.tsne_layout(kind, iterations=20), wanted)


def test_tsne_takes_few_points_and_refuses_bad_ones():
    assert plots.tsne_layout(RNG.normal(size=(6, 3)), iterations=20).shape == (6, 2)
    with pytest.raises(ValueError, match="at least 5"):
        plots.tsne_layout(np.zeros((4, 3)))
    for perplexity, wanted in ((0, "between 1 and inf"), (-1, "between 1 and inf"), (np.nan, "a finite number")):
        with pytest.raises(ValueError, match=f"perplexity must be {wanted}, got {perplexity}"):
            plots.tsne_layout(RNG.normal(size=(6, 3)), perplexity=perplexity)
    with pytest.raises(ValueError, match="1 of 6 rows are not finite"):
        plots.tsne_layout(np.vstack([np.zeros((5, 3)), [[0, np.inf, 0]]]))


# ---------------------------------------------------------------------------------------------------------------------
# The embedding and training
# ---------------------------------------------------------------------------------------------------------------------
def test_scatter_gives_each_class_its_own_look():
    labels = np.arange(64)
    axes = plots.scatter(RNG.normal(size=(64, 2)), labels).axes[0]
    looks = {(to_hex(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in axes.collections}
    assert len(looks) == 64


def test_neighborhoods_that_touch_differ_in_colour():
    grid = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), axis=-1).reshape(-1, 2)
    block = (grid[:, 0] // 5 * 4 + grid[:, 1] // 5).astype(int)
    batches = [np.flatnonzero(block == number)[:20] for number in range(16)]
    figure = plots.neighborhoods(grid, batches)
    grey, *parts = figure.axes[0].collections
    assert len(grey.get_offsets()) == 80 and [len(part.get_offsets()) for part in parts] == [20] * 16
    colour = [to_hex(part.get_facecolor()[0]) for part in parts]
    for one, other in itertools.combinations(range(16), 2):
        if abs(one // 4 - other // 4) + abs(one % 4 - other % 4) == 1:
            assert colour[one] != colour[other]
    looks = {(part_colour, part.get_paths()[0].vertices.tobytes()) for part_colour, part in zip(colour, parts)}
    assert len(looks) == 16  # each has a look of its own
    assert "16 neighborhoods; 80 of 400 items in none" in figure.alt
    assert len(figure.axes[0].texts) == 16
    with pytest.raises(ValueError, match="no neighborhood"):
        plots.neighborhoods(grid, [])


def test_the_number_of_a_neighborhood_stands_on_one_of_its_items():
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring, disc = np.stack([np.cos(turn), np.sin(turn)], axis=1), RNG.normal(size=(30, 2)) / 20
    figure = plots.neighborhoods(np.concatenate([ring, disc]), [np.arange(40), np.arange(40, 70)])
    first, second = (text.get_position() for text in figure.axes[0].texts)
    assert np.hypot(*first) == pytest.approx(1) and np.hypot(*second) < 0.3


def test_a_highlighted_neighborhood_is_the_only_one_in_colour():
    grey, chosen = PICTURES["one neighborhood"]().axes[0].collections
    np.testing.assert_array_equal(chosen.get_offsets(), LAYOUT[36:48])
    assert len(grey.get_offsets()) == 84


def test_distances_are_those_of_all_pairs():
    figure = plots.distances(LAYOUT, LABELS)
    same, other = [], []
    for i, j in itertools.combinations(range(96), 2):
        (same if LABELS[i] == LABELS[j] else other).append(np.linalg.norm(LAYOUT[i] - LAYOUT[j]))
    filled = [patch for patch in figure.axes[0].patches if patch.get_fill()]
    for patch, values in zip(filled, (same, other), strict=True):
        heights, edges, _ = patch.get_data()
        np.testing.assert_allclose(heights, np.histogram(values, edges, density=True)[0])
    assert f"median {np.median(same):.3g}" in figure.alt and f"classes {np.median(other):.3g}" in figure.alt
    assert "between 24 items" in plots.distances(LAYOUT, LABELS, sample=30).alt  # two whole classes
    with pytest.raises(ValueError, match="pairs of one class and of different classes"):
        plots.distances(LAYOUT, np.zeros(96, int))
    with pytest.raises(ValueError, match="pairs of one class and of different classes"):
        plots.distances(LAYOUT, np.arange(96))


def test_distances_of_embeddings_of_any_kind_and_of_none():
    import torch

    wanted = plots.distances(LAYOUT.astype(np.float16), LABELS).alt
    for kind in (torch.tensor(LAYOUT, dtype=torch.float16, requires_grad=True), LAYOUT.astype(np.float16).tolist()):
        assert plots.distances(kind, LABELS).alt == wanted
    assert "median 0," in plots.distances(np.ones((96, 5)), LABELS).alt
    images = np.random.default_rng(0).integers(0, 256, (96, 4, 4, 3), dtype=np.uint8)
    assert plots.distances(images, LABELS).alt == plots.distances(images.reshape(96, -1), LABELS).alt
    with pytest.raises(ValueError, match="1 of 96 rows are not finite"):
        plots.distances(np.where(np.arange(96)[:, None] == 3, np.nan, LAYOUT), LABELS)


def test_curves_leave_out_what_a_logarithm_cannot_show_and_tell_the_least():
    figure = plots.curves([0.0, 1, 10, 100], {"error": [5, 4, 0.5, 2], "none": [0, 0, 1, 1]}, log="xy")
    error, none = figure.axes[0].lines
    assert error.get_xdata().tolist() == [1, 10, 100]
    assert none.get_ydata().tolist() == [1, 1]
    assert error.get_linestyle() != none.get_linestyle()
    assert "error: 4 at 1, least 0.5 at 10, 2 at 1e+02" in figure.alt
    for wrong in ({}, {"short": [1, 2]}):
        with pytest.raises(ValueError, match="the same shape as x"):
            plots.curves([1, 2, 3], wrong)
    with pytest.raises(ValueError, match="log must be"):
        plots.curves([1], {"one": [1]}, log="z")


def test_history_draws_what_is_known():
    loss, recall = plots.history(HISTORY).axes
    np.testing.assert_allclose(loss.lines[0].get_xydata(), [(row["epoch"], row["loss"]) for row in HISTORY])
    np.testing.assert_allclose(
        recall.lines[0].get_xydata(), [(row["epoch"], row["recall@1"]) for row in HISTORY if "recall@1" in row]
    )
    assert recall.get_ylim() == (0, 1)
    assert len(plots.history([{"epoch": 1, "loss": 2.0}]).axes) == 1
    for nothing in ([], {}, {"SST": []}):
        with pytest.raises(ValueError, match="at least one epoch"):
            plots.history(nothing)


def test_histories_differ_in_colour_and_line():
    axes = PICTURES["histories"]().axes[0]
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines}
    assert len(axes.lines) == 2 and all(len(set(kind)) == 2 for kind in zip(*looks, strict=True))


def test_names_of_many_settings_stand_within_the_figure():
    names = ["SST", "triplet", "triplet, semi-hard", "contrastive", "multi-similarity", "proxy anchor"]
    history = [{"epoch": 1, "recall@1": 0.5, "steps": 2, "processor": 3.0}]
    for figure in (
        plots.comparison({(name, "local"): [0.8, 0.9] for name in names}),
        plots.progress({(name, "local"): [history] for name in names}),
    ):
        figure.png()
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == names
        box = legend.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width


def test_comparison_draws_means_and_students_intervals():
    from scipy import stats

    axes = plots.comparison(RESULTS).axes[0]
    means, bars, looks = {}, {}, []
    for line in axes.lines:
        seen = np.isfinite(line.get_xdata())
        if line.get_marker() == "None":
            bars |= {np.nanmedian(line.get_ydata()): line.get_xdata()[seen]} if seen.any() else {}
        else:
            means |= dict(zip(line.get_ydata()[seen], line.get_xdata()[seen], strict=True))
            looks.append((line.get_color(), line.get_marker()))
    # Rows are grouped by sampler, in the order of the losses.
    for row, values in zip((0, 3, 1), RESULTS.values(), strict=True):
        assert means[row] == pytest.approx(np.mean(values))
        if len(values) > 1:
            low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
            np.testing.assert_allclose([min(bars[row]), max(bars[row])], [low, high])
    assert set(means) == {0, 1, 3} and set(bars) == {0, 3}  # no interval from a single run
    assert len(looks) == 2 and all(len(set(kind)) == 2 for kind in zip(*looks, strict=True))
    dots = np.concatenate([dots.get_offsets()[:, 0] for dots in axes.collections])
    assert sorted(dots) == sorted(value for values in RESULTS.values() for value in values)
    with pytest.raises(ValueError, match="at least one value"):
        plots.comparison({("SST", "local"): []})


# ---------------------------------------------------------------------------------------------------------------------
# The idea
# ---------------------------------------------------------------------------------------------------------------------
def test_idea_shows_the_neighborhood_and_an_objective_that_is_reached():
    batch = np.arange(0, 96, 3)
    figure = plots.idea(LAYOUT, IMAGES, LABELS, batch)
    (axes,) = figure.axes
    outside, others, own = (len(c.get_offsets()) for c in axes.collections)
    assert (outside, others + own) == (96 - len(batch), len(batch)) and own >= 2
    assert len(axes.images) == 12 + 4 + 4
    before, after = (p for p in axes.patches if isinstance(p, Circle) and p.get_fill())
    places = [np.mean(np.reshape(image.get_extent(), (2, 2)), axis=1) for image in axes.images[12:]]
    start, end = np.array(places[:4]), np.array(places[4:])
    for circle, points, inside in ((before, start, True), (after, end, False)):
        a, p, *negatives = points
        assert circle.radius == pytest.approx(np.sqrt(3) / 2 * np.linalg.norm(a - p), abs=0.01)  # z = 0
        assert all((np.linalg.norm(n - circle.center) < circle.radius) == inside for n in negatives)
    assert "neighborhood of 32" in figure.alt


def test_idea_needs_a_neighborhood_that_can_be_drawn():
    for batch in ([0, 12, 24], [0, 1, 2], [0, 1, 12]):
        with pytest.raises(ValueError, match="two images of one class and two of others"):
            plots.idea(LAYOUT, IMAGES, LABELS, batch)


def test_seeds_of_a_clock_and_numbers_of_t_sne():
    x = np.random.default_rng(0).normal(size=(20, 60))
    assert np.isfinite(plots.tsne_layout(x, seed=2**64 - 1, iterations=10)).all()
    for name, value in (("seed", 1.5), ("perplexity", "30"), ("iterations", 2.5), ("n_jobs", 0), ("perplexity", 1e-9)):
        with pytest.raises(ValueError, match=f"^{name} must be"):
            plots.tsne_layout(x, **{name: value})


def test_names_are_taken_by_position():
    class Column(list):
        """As of pandas: its index has no 0, but the values have their order."""

        def __getitem__(self, label):
            raise KeyError(label)

        def tolist(self):
            return list(self)

    figure = plots.scatter([[0, 0], [1, 1]], [0, 1], names=Column(["ant", "bee"]))
    assert "ant" in figure.alt and "bee" in figure.alt


def test_levels_and_depths_of_images_in_figures():
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    for image in (ramp * 255, (ramp * 4095).astype(np.uint16), Image.fromarray((ramp * 65535).astype(np.uint16))):
        shown = plots.read_image([image], 0)
        assert shown.shape == (8, 8, 3) and len(np.unique(shown)) > 50
    assert plots.read_image([np.zeros((4, 8, 8), np.uint8)], 0).min() == 255  # transparent: on white
