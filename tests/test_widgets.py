"""What all widgets have in common, in a real browser: they are accessible, fit, follow the theme, and are quick."""

from pathlib import Path

import numpy as np
import pytest
import torch

import sstutils as sst
from sstutils.lectures import widgets

RECORDINGS = "sstutils/lectures/recordings"
TRIPLET = {"a": (-1, 0), "p": (1, 0.5), "n": (-0.2, 0.9)}


def game():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 6
    embeddings = rng.normal(size=(6, 5))[labels] + rng.normal(size=(60, 5))
    images = rng.integers(0, 255, (60, 16, 16, 3), dtype=np.uint8)
    return widgets.RetrievalGame(torch.as_tensor(embeddings), labels, images, list("ÆǼKĶфɸ"), queries=8)


MAKE = {
    "gradients": widgets.GradientExplorer,
    "options": lambda: widgets.Predict("Which way?", ["Away", "Through"], answer=1, because="So.", feedback={0: "No"}),
    "arrow": lambda: widgets.Predict.arrow("Where to?", TRIPLET, at="n", truth=(-0.3, 1.0), because="So."),
    "game": game,
    "neighborhoods": lambda: widgets.NeighborhoodExplorer.from_recording(f"{RECORDINGS}/stages.npz"),
    "playground": widgets.Playground,
    "replay": lambda: widgets.TrainingReplay.from_recording(f"{RECORDINGS}/replay.npz"),
    "tsne": lambda: widgets.TsnePanel.from_recording(f"{RECORDINGS}/tsne.npz"),
}
# A state that shows what is hidden at first.
LATER = {
    "gradients": {"anchor": [-4, -3], "margin": 3.0},
    "options": {"chosen": 0, "committed": True},
    "arrow": {"chosen": [1, 0], "committed": True},
    "game": {"revealed": {"0": [1]}},
    "neighborhoods": {"sampler": "balanced", "loss": "triplet"},
    "playground": {"settings": {"loss": "triplet", "margin": 1, "dim": 3}},
    "replay": {"frame": 20, "runs": ["SST, local"]},
    "tsne": {"data": "noise"},
}
every_widget = pytest.mark.parametrize("name", MAKE)


def serious(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page, context=".sst-widget").response["violations"]
    return [(x["id"], x["nodes"][0]["html"]) for x in found if x["impact"] in ("serious", "critical")]


def wide(page):
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def look(page):
    page.settle()
    page.wait_for_timeout(60)
    return page.locator(".sst-widget").first.screenshot()


@every_widget
def test_a_widget_is_accessible_fits_and_follows_theme_size_and_state(page_of, name):
    page = page_of(MAKE[name](), width=390, reduced_motion="reduce")
    page.wait_for_timeout(200)  # pictures are decoded
    light = look(page)
    assert serious(page) == [] and wide(page) <= 0
    page.emulate_media(color_scheme="dark")
    assert look(page) != light
    page.put(**LATER[name])
    page.set_viewport_size({"width": 340, "height": 900})
    dark = look(page)
    assert serious(page) == [] and wide(page) <= 0
    page.emulate_media(color_scheme="dark", media="print")
    assert look(page) != dark
    ground = page.locator(".sst-widget").first.evaluate("node => getComputedStyle(node).backgroundColor")
    assert ground == "rgb(255, 255, 255)"  # paper
    page.emulate_media(color_scheme="light", media="screen")
    page.locator("main").evaluate("node => { node.hidden = true }")  # as in a tab that is not in front
    page.settle()
    page.locator("main").evaluate("node => { node.hidden = false }")
    page.set_viewport_size({"width": 1440, "height": 900})
    assert look(page) and wide(page) <= 0  # what axe says of each look: test_every_look_of_a_widget
    assert not page.bad


@every_widget
def test_a_widget_is_used_by_keyboard_and_shown_twice(page_of, name):
    widget = MAKE[name]()
    page = page_of(widget, widget)
    stops = []
    for _ in range(20):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => { const node = document.activeElement, style = getComputedStyle(node);
            const named = node.ariaLabel || node.labels?.[0]?.innerText || node.innerText;
            return [node.tagName, Boolean(named), style.outlineStyle, node.closest('.sst-widget') !== null] }"""
        )
        if stop[3]:
            stops.append(stop)
    assert stops and all(named and outline == "solid" for _, named, outline, _ in stops), stops
    ids = page.evaluate("[...document.querySelectorAll('.sst-widget [id]')].map(node => node.id)")
    assert len(ids) == len(set(ids))
    both = page.locator(".sst-widget")
    before = both.nth(1).inner_html()
    page.put(**LATER[name])
    page.settle()
    page.wait_for_timeout(500)  # what is said follows later
    assert both.nth(1).inner_html() != before
    assert both.count() == 2 and both.nth(0).inner_text() == both.nth(1).inner_text()
    assert not page.bad


SMALLEST = """() => {
  const widget = document.querySelector('section.present .sst-widget'), zoom = widget.currentCSSZoom, sizes = [];
  for (const node of widget.querySelectorAll('*')) {
    const box = node.getBoundingClientRect();
    const spoken = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!spoken || box.width < 3 || node.closest('.sst-hidden, .sst-said')) continue;
    const size = parseFloat(getComputedStyle(node).fontSize);
    sizes.push([node.closest('svg') ? size * Math.abs(node.getScreenCTM().a) : size * zoom, node.textContent]);
  }
  return sizes.sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.mark.parametrize("size", [(1280, 720), pytest.param((1920, 1080), marks=pytest.mark.slow)], ids=str)
def test_a_widget_alone_on_its_slide_fits_and_can_be_read_from_the_last_row(tab, tmp_path, size):
    from sstutils.lectures.editions import lecture, slides

    series = [one for one in lecture.lectures(Path("notebooks")) if one.name[:2] in ("02", "05", "06", "07", "08")]
    for one in series:
        for model in one.states.values():  # as they would be if the notebook were run now
            if "_esm" in model["state"]:
                kind = getattr(widgets, model["state"]["_anywidget_id"].split(".")[-1])
                model["state"] |= {"_esm": kind._esm, "_css": kind._css}
    slides.slides(series, tmp_path, lambda line: None)
    seen = 0
    for one in series:
        page = tab(*size[:1], height=size[1])
        page.goto((tmp_path / f"{one.name}.html").as_uri())
        page.wait_for_function("document.documentElement.dataset.ready !== undefined")
        alone = page.evaluate("[...document.querySelectorAll('.slides > section')].map(s => s.matches('.alone'))")
        for number in np.flatnonzero(alone).tolist():
            page.evaluate("number => Reveal.slide(number)", number)
            page.locator("section.present .sst-widget").wait_for()
            page.wait_for_timeout(300)
            if page.locator(
                "section.present .sst-pg"
            ).count():  # a playground has more to show: it scrolls, and says so
                continue
            assert page.locator("section.present.long").count() == 0, one.name
            assert page.evaluate(SMALLEST)[0] >= 20, (one.name, page.evaluate(SMALLEST))
            seen += 1
        assert not page.bad
    assert seen >= 10


@every_widget
def test_a_still_picture_with_alternative_text_stands_for_a_widget(name):
    data, about = MAKE[name]()._repr_mimebundle_()
    assert "alt=" in data["text/html"] and about["image/png"]["alt"] in data["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in data


def test_widgets_are_listed_and_others_are_not():
    assert set(dir(sst.widgets)) >= {"GradientExplorer", "Predict", "TsnePanel"}
    with pytest.raises(AttributeError, match="no attribute 'Slider'"):
        _ = sst.widgets.Slider
    with pytest.raises(NotImplementedError):
        widgets.base.Drawn().picture()


# What a user computed comes as numbers of numpy or torch, of any width, as scalars or arrays without dimensions.
@pytest.mark.parametrize("kind", ["numpy", "zero", "torch", "small"])
def test_numbers_of_numpy_and_torch_are_taken_everywhere(kind):
    def number(x):
        whole = isinstance(x, int)
        if kind == "zero":
            return np.array(x)
        if kind == "torch":
            return torch.tensor(x, requires_grad=not whole)
        return (np.int64 if whole else np.float64)(x) if kind == "numpy" else (np.uint8 if whole else np.float16)(x)

    point = [number(0.5), number(-1.0)]
    explorer = widgets.GradientExplorer(margin=number(0.5), anchor=point)
    explorer.negative, explorer.steps = np.array([0.5, -1.0], dtype=np.float32), number(3)
    assert explorer.anchor == explorer.negative == [0.5, -1.0] and explorer.margin == 0.5 and explorer.steps == 3
    ask = widgets.Predict("?", ["a", "b"], answer=number(1), feedback={np.int64(0): "no"})
    ask.chosen, ask.committed = number(1), np.bool_(True)
    assert ask.correct is True and ask.committed is True and ask.feedback == ["no", ""]
    dragged = widgets.Predict.arrow("?", {"a": point, "n": np.ones(2)}, at="a", truth=point, tolerance=number(5.0))
    dragged.chosen = torch.tensor([0.5, -1.0])
    assert dragged.correct and dragged.tolerance == 5.0
    x, labels, images = np.random.default_rng(0).normal(size=(12, 3)), np.arange(12) % 3, np.zeros((12, 8, 8))
    played = widgets.RetrievalGame(x, labels, images, queries=number(3), neighbors=number(2), margin=number(0.5))
    played.round, played.guess = number(1), np.array([1, 0])
    assert played.round == 1 and played.guess == [0, 1] and played.margin == 0.5
    assert len(widgets.RetrievalGame(x, labels, images, queries=np.array([3, 1])).rounds) == 2
    near = widgets.NeighborhoodExplorer(x, labels, sizes=np.array([4, 6]), B=number(6), k=number(2), seed=number(3))
    near.margin, near.batch = number(0.5), number(1)
    near.anchor = near.batches()[1][2]
    assert (near.B, near.k, near.seed, near.margin, near.batch) == (6, 2, 3, 0.5, 1)
    assert near.anchor == near.batches()[1][2]
    replay = widgets.TrainingReplay.from_recording(f"{RECORDINGS}/replay.npz", frame=number(2.0), speed=number(2.0))
    panel = widgets.TsnePanel.from_recording(f"{RECORDINGS}/tsne.npz", seed=number(1), iterations=np.int32(250))
    assert replay.frame == replay.speed == 2.0 and panel.seed == 1
    for widget in (explorer, ask, dragged, played, near, replay, panel):
        state = {name: value for name, value in widget.get_state().items() if name != "layout"}
        assert "tensor" not in str(state) and "np." not in str(state)


@pytest.mark.parametrize("kind", ["gradient", "bfloat16", "read-only", "float16", "integers", "lists"])
def test_embeddings_of_any_kind_are_explored(kind):
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 4
    x = rng.normal(size=(4, 3))[labels] * 3 + rng.normal(size=(24, 3))
    frozen = x.copy()
    frozen.flags.writeable = False
    given = {
        "gradient": torch.tensor(x, requires_grad=True),
        "bfloat16": torch.tensor(x, dtype=torch.bfloat16),
        "read-only": frozen,
        "float16": x.astype(np.float16),
        "integers": np.rint(10 * x).astype(int),
        "lists": x.tolist(),
    }[kind]
    labels = torch.tensor(labels) if kind == "gradient" else labels.tolist()
    near = widgets.NeighborhoodExplorer(given, labels, sizes=[8])
    assert near.shares()["triplets"] > 0 and near.picture().alt
    assert len(widgets.RetrievalGame(given, labels, np.zeros((24, 8, 8)), queries=4).rounds) == 4


@pytest.mark.parametrize("scale", [0, 1e-25, 1e-12, 1e15])
def test_embeddings_without_spread_or_of_odd_scales_are_explored(scale):
    labels = np.arange(30) % 3
    x = 1 + scale * np.random.default_rng(0).normal(size=(30, 4)) if scale < 1 else np.eye(30) * scale
    near = widgets.NeighborhoodExplorer(x, labels, sizes=[10])
    assert np.isfinite(near._layouts).all() and np.abs(near._layouts).max() <= 1
    assert np.isfinite(near.squared_distances()).all() and near.picture().alt
    assert widgets.RetrievalGame(x, labels, np.zeros((30, 8, 8)), queries=3).picture().alt


@pytest.mark.slow
@every_widget
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [340, 390, 1440])
def test_every_look_of_a_widget(page_of, name, width, dark):
    page = page_of(MAKE[name](), width=width, dark=dark)
    page.wait_for_timeout(300)
    for state in ({}, LATER[name]):
        page.put(**state)
        look(page)
        assert serious(page) == [] and wide(page) <= 0
    assert not page.bad


# What moves a widget: step i of 40.
MOVE = {
    "gradients": "model.set('anchor', [i / 20, 0]); await frame()",
    "arrow": "model.set('chosen', [i / 40, 1]); await frame()",
    "game": "document.querySelector(i % 4 < 2 ? '.sst-game-card' : '.sst-game-act').click()",
    "neighborhoods": "slide(document.querySelectorAll('input[type=range]')[i % 5], i % 2)",
    "playground": "slide(document.querySelectorAll('.sst-pg-dials input[type=range]')[1 + i % 3], i % 4)",
    "replay": "slide(document.querySelector('.sst-wide input'), i)",
    "tsne": "{ const all = document.querySelectorAll('input[type=radio]'); all[(3 + 5 * i) % all.length].click() }",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MOVE)
def test_a_widget_is_redrawn_within_a_few_frames(page_of, name, record_property):
    page = page_of(MAKE[name]())
    page.wait_for_timeout(200)
    times = page.evaluate(
        f"""async () => {{
          const times = [], model = sst.model(sst.ids[0]), frame = () => new Promise(requestAnimationFrame);
          const slide = (input, value) => {{ input.value = Number(input.min) + value * Number(input.step);
            input.dispatchEvent(new Event('input')) }};
          for (let i = 0; i < 40; i++) {{
            await frame();
            const start = performance.now();
            {MOVE[name]};
            document.querySelector('canvas')?.getContext('2d').getImageData(0, 0, 1, 1); // until it is painted
            document.querySelector('.sst-widget').getBoundingClientRect(); // and laid out
            times.push(performance.now() - start);
          }}
          return times;
        }}"""
    )
    print(f"\n{name}: input to redraw, median {np.median(times):.1f} ms, 90 % {np.percentile(times, 90):.1f} ms")
    record_property("latency_ms", float(np.median(times)))
    assert np.median(times) < 50
