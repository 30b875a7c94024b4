"""The widgets with a kernel: a real JupyterLab in a real browser."""

import json

import pytest
from lab import PANEL, open_and_run, server, tracebacks, write

from sstutils import geometry

# A cell that shows in the page, as text, what Python sees: each change of a trait comes back through the kernel.
READOUT = """
import json
from IPython.display import display
from ipywidgets import HTML
readout = HTML()
def seen(_=None):
    readout.value = "<code class='seen'>" + json.dumps({name: getattr(widget, name) for name in NAMES}) + "</code>"
widget.observe(seen, NAMES)
seen()
display(readout)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def lab(chrome, folder):
    with server(folder) as address:
        yield address


@pytest.fixture
def opened(lab, folder, tab):
    """Open a notebook whose first cell makes ``widget``; ``page.seen()`` tells traits as Python has them."""

    def opened(name, code, names, **options):
        path = write(folder, f"{name}.ipynb", code, f"NAMES = {names!r}{READOUT}")
        page = tab(**options)
        open_and_run(page, lab, path)
        page.locator(PANEL + ".sst-widget").first.wait_for()
        page.locator(PANEL + "code.seen").wait_for(state="attached")
        page.seen = lambda: json.loads(page.locator(PANEL + "code.seen").inner_text())
        return page

    return opened


def until(page, holds, seconds=10):
    """Wait until something holds of what Python sees; return it."""
    for _ in range(seconds * 20):
        if holds(seen := page.seen()):
            return seen
        page.wait_for_timeout(50)
    raise AssertionError(f"waited {seconds} s in vain: Python sees {page.seen()}")


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name", ["02-triplet-loss", pytest.param("05-neighborhoods", marks=SLOW), pytest.param("08-tsne", marks=SLOW)]
)
def test_a_notebook_runs_without_an_error(lab, tab, name):
    page = tab()
    open_and_run(page, lab, f"notebooks/{name}.ipynb")
    page.locator(PANEL + ".sst-widget").first.wait_for()
    assert not tracebacks(page)
    assert not page.bad


def test_python_follows_a_dragged_point_and_the_page_follows_python(opened):
    names = ["anchor", "positive", "negative", "margin", "triplet_loss", "sst_loss", "z"]
    code = "import sstutils as sst\nwidget = sst.widgets.GradientExplorer('violated')\nwidget"
    page = opened("explorer", code, names)
    before = page.seen()
    handle = page.locator(PANEL + ".sst-widget [aria-label*=negative][tabindex]").first
    box = handle.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 40, steps=10)
    page.mouse.up()
    seen = until(page, lambda seen: seen["negative"] != before["negative"])
    page.wait_for_timeout(500)
    seen = page.seen()
    points = [seen[name] for name in ("anchor", "positive", "negative")]
    assert seen["z"] == pytest.approx(float(geometry.sst_logit(*points)))
    assert seen["sst_loss"] == pytest.approx(float(geometry.sst(*points)[0]))
    assert seen["triplet_loss"] == pytest.approx(float(geometry.triplet(*points, seen["margin"])[0]))
    assert f"loss = log(1 + exp z) = {seen['sst_loss']:.2f}" in page.locator(PANEL + ".sst-widget").inner_text()
    assert not tracebacks(page)
    assert not page.bad


MOVED = {
    "neighborhoods": (
        "sst.widgets.NeighborhoodExplorer.from_recording()",
        {"B": 100},
        lambda widget: widget.get_by_label("Batch size B"),
        "ArrowRight",
    ),
    "playground": (
        "sst.widgets.Playground()",
        {"step": 0},
        lambda widget: widget.get_by_role("button", name="Copy link"),
        "ArrowRight",
    ),
    "replay": (
        "sst.widgets.TrainingReplay.from_recording()",
        {"frame": 0.0},
        lambda widget: widget.get_by_label("Epoch", exact=True),
        "ArrowRight",
    ),
    "tsne": (
        "sst.widgets.TsnePanel.from_recording()",
        {"perplexity": 30},
        lambda widget: widget.get_by_label("30", exact=True).first,
        "ArrowLeft",
    ),
    "predict": (
        "sst.widgets.Predict('Which?', options=['this', 'that'], answer=1, because='so')",
        {"chosen": None},
        lambda widget: widget.get_by_label("this", exact=True),
        "Space",
    ),
    "game": (
        "sst.widgets.RetrievalGame(pixels, data.targets, data, names=data.classes)",
        {"guess": []},
        lambda widget: widget.get_by_role("button").first,
        "1",
    ),
}
PIXELS = """
data = sst.load("glyphs", "test", classes=20, images=8)
pixels = sst.tensors(data)[0].flatten(1).float()
"""


# All share one way to the kernel; the one that has a Worker stands for the others in the ordinary run.
@pytest.mark.parametrize("name", [name if name == "playground" else pytest.param(name, marks=SLOW) for name in MOVED])
def test_python_follows_the_keys(opened, name):
    made, before, control, key = MOVED[name]
    page = opened(name, f"import sstutils as sst{PIXELS * (name == 'game')}\nwidget = {made}\nwidget", list(before))
    assert page.seen() == before
    control(page.locator(PANEL + ".sst-widget").first).focus()
    page.keyboard.press(key)
    until(page, lambda seen: seen != before)
    assert not tracebacks(page)
    assert not page.bad
