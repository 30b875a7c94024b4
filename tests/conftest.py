"""What all tests share: one thread for torch, one browser, and a bare page for a widget."""

import os
import re
import shutil
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

# The batches of tests are small: on one thread they are as fast, and do not suffer from what else the machine does.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start

SCREENSHOTS = Path(__file__).parents[1] / "output" / "screenshots"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
LOCAL = re.compile(r"(?:https?|wss?)://127\.0\.0\.1[:/]|data:|blob:|file:")


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made, and not turned into pixels: that takes longer than to train what they show."""
    from sstutils.figures import plots

    monkeypatch.setattr(plots.Figure, "png", lambda *_, **__: b"pixels")
    monkeypatch.setattr(plots.Figure, "svg", lambda *_, **__: "lines")


@pytest.fixture
def two_threads():
    """Torch has two threads, as on a laptop with two cores."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def chrome():
    """A headless Chromium; tests that need it are skipped where there is none."""
    if not CHROMIUM:
        pytest.skip("no browser: neither chromium nor google-chrome is on the PATH, and CHROMIUM is not set")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


# Of several processes none waits long for another at the end: the files that take longest start first.
LONGEST = ["editions", "plots", "widget_playground", "distributed", "study", "paper", "lab", "comparison", "end_to_end"]
LONGEST += ["exercises", "datasets", "photos", "training"]


def pytest_configure(config):
    config.option.loadscopereorder = False  # xdist would begin with the files of the most tests, which may be short


def pytest_collection_modifyitems(items):
    order = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, 99 - item.path.stem.startswith("test_widget")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    item.failed = getattr(item, "failed", False) or report.failed
    return report


@pytest.fixture
def tab(chrome, request):
    """Make tabs of a width, light or dark, by ``tab(width, dark)``; each lists what went wrong in ``bad``.

    What each shows at the end of a test that fails, or of every test with ``SCREENSHOTS=1``, is kept as
    ``output/screenshots/TEST.png``, to be looked at.
    """
    contexts = []

    def new(width=1440, dark=False, height=900, **options):
        options = {"color_scheme": "dark" if dark else "light", "has_touch": width < 600} | options
        context = chrome.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.bad = []
        page.on("request", lambda request: LOCAL.match(request.url) or page.bad.append(request.url))
        page.on("pageerror", lambda error: page.bad.append(str(error)))
        page.on("console", lambda message: message.type == "error" and page.bad.append(message.text))
        return page

    yield new
    name = re.sub(r"[^\w.-]+", "-", request.node.name)[:120]
    looked_at = request.node.failed or os.environ.get("SCREENSHOTS")
    for number, context in enumerate(contexts):
        for page in context.pages if looked_at else ():
            if page.url != "about:blank":
                with suppress(Exception):  # a page that hangs has failed its test already
                    page.screenshot(path=SCREENSHOTS / f"{name}-{number}.png", timeout=5_000)
        context.close()


@pytest.fixture
def page_of(tab, tmp_path):
    """Open a bare page with one or more widgets and no kernel: ``page = page_of(widget, width=390, dark=True)``.

    ``page.model(name)`` reads a trait of the first widget, ``page.put(name=value)`` sets traits as Python would, and
    ``page.settle()`` waits until what has changed is drawn. A widget that is given twice is shown twice.
    """

    def opened(*widgets, width=1440, dark=False, **options):
        from ipywidgets.embed import dependency_state

        from sstutils.lectures.editions.lecture import live, place

        body = "".join(place(widget.model_id) for widget in widgets)
        file = tmp_path / "page.html"
        file.write_text(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>test</title>'
            '<meta name="viewport" content="width=device-width"><style>:root{color-scheme:light dark}</style></head>'
            f"<body><main>{body}</main>{live(dependency_state(widgets, drop_defaults=False))}</body></html>",
            encoding="utf-8",
        )
        page = tab(width, dark, **options)
        page.goto(file.as_uri())
        for widget in widgets:
            ready = page.locator(f'[data-widget="{widget.model_id}"][data-ready]')
            ready.last.wait_for(state="attached", timeout=10_000)
        first = widgets[0].model_id
        page.model = lambda name: page.evaluate("([id, name]) => sst.model(id).get(name)", [first, name])
        page.put = lambda **state: page.evaluate(
            "([id, state]) => Object.entries(state).forEach(([name, value]) => sst.model(id).set(name, value))",
            [first, state],
        )
        page.settle = lambda: page.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        return page

    return opened


@pytest.fixture
def functions_of(tab):
    """Load the script of a widget into an empty page as the module ``m``: ``functions_of("game").evaluate("m.f(1)")``.

    ``page.bad`` lists what went wrong.
    """

    def loaded(*names):
        from sstutils.lectures.widgets.base import script

        page = tab()
        page.evaluate(
            "async esm => { window.m = await import(URL.createObjectURL(new Blob([esm], {type: 'text/javascript'}))) }",
            script(*names),
        )
        return page

    return loaded


@pytest.fixture
def serve(tmp_path):
    """Serve tmp_path at an address of this machine; gives the function from a file to its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        host = f"http://127.0.0.1:{server.server_port}"
        yield lambda path: f"{host}/{path.relative_to(tmp_path).as_posix()}"
        server.shutdown()
