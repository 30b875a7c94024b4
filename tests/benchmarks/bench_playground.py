"""Training in the page, in headless Chromium: ``python -m tests.benchmarks playground``.

The letters, batches of 200 with 5 positives, full speed, for some seconds. Meanwhile a key moves a dial. It is answered
when the dial has moved and the Worker has been told; it is shown with the frame after that. Both times count from the
press. Clock times need a quiet machine. Processor times hardly depend on what else runs: of a step, in the Worker
(where the system tells it: Linux), and of the page's own thread from frame to frame, while it draws.
"""

import os
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from sstutils.lectures.editions.pages import playground
from tests.benchmarks.bench_sampling import row
from tests.conftest import CHROMIUM, FLAGS

# The event "input" is a part of what the key does, and reaches the window after the widget heard it. A message waits
# until the frame after a key is drawn: Chromium defers it.
LISTEN = """() => {
    window.answered = [];
    window.shown = [];
    const { port1, port2 } = new MessageChannel();
    let pressed = 0;
    window.frames_ = 0;
    const count = () => { frames_++; requestAnimationFrame(count); };
    count();
    port1.onmessage = () => shown.push(performance.now() - pressed);
    addEventListener('keydown', event => { pressed = event.timeStamp; port2.postMessage(0); }, true);
    addEventListener('input', () => answered.push(performance.now() - pressed));
}"""
STEP = "Number(/Step (\\\\d+)/.exec(document.querySelector('.sst-pg-state').textContent)[1])"
NOW = f"[{STEP}, performance.now()]".replace("\\\\", "\\")


def processor_time(name: str) -> float:
    """Return the processor time of all threads of a name so far, in seconds."""
    total = 0
    for task in Path("/proc").glob("[0-9]*/task/[0-9]*"):
        try:
            if (task / "comm").read_text().startswith(name):
                fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
        except OSError:  # it has ended meanwhile
            continue
    return total / os.sysconf("SC_CLK_TCK")


def measure(dim: int, seconds: float = 6.0) -> tuple[float, ...]:
    """Return seconds: of a step, its processor time, the page's in a frame; until 95 % of keys are answered, shown."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        file = Path(folder) / "playground.html"
        file.write_text(playground(), encoding="utf-8")
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{file.as_uri()}#data=letters&B=200&k=5&dim={dim}")
        page.locator("[data-ready]").wait_for(state="attached")
        page.get_by_label("full speed").check()
        page.get_by_role("button", name="Play", exact=True).click()
        page.wait_for_timeout(2000)  # until the code is compiled
        page.evaluate(LISTEN)
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

        def busy() -> float:
            """Return the processor time of the page's own thread."""
            found = devtools.send("Performance.getMetrics")["metrics"]
            return next(one["value"] for one in found if one["name"] == "TaskDuration")

        page.get_by_role("slider", name="Learning rate").focus()
        first, began = page.evaluate(NOW)
        worked, drew, frames = processor_time("DedicatedWorker"), busy(), page.evaluate("frames_")
        for i in range(int(seconds / 0.1)):
            page.keyboard.press("ArrowRight" if i % 2 else "ArrowLeft")
            page.wait_for_timeout(100)
        last, ended = page.evaluate(NOW)
        worked, drew = processor_time("DedicatedWorker") - worked, busy() - drew
        drew /= max(page.evaluate("frames_") - frames, 1)
        keys = [statistics.quantiles(times, n=20)[-1] / 1000 for times in page.evaluate("[answered, shown]")]
        browser.close()
    steps = max(last - first, 1)
    return (ended - began) / 1000 / steps, worked / steps, drew, *keys


def rows():
    for dim in (2, 16):
        step, worked, drew, answered, shown = measure(dim)
        what = f"playground, letters, B = 200, k = 5, {dim}-d"
        yield row(f"{what}: a step", step, "60 steps a second", 1 / 60, least=1)
        if worked:
            yield row(f"{what}: processor time of a step", worked, "60 steps a second", 1 / 60, least=1)
        yield row(f"{what}: processor time of the page in a frame", drew, "a frame", 0.016, least=1)
        yield row(f"{what}: a key is answered (95 %)", answered, "a frame", 0.016, least=1)
        yield row(f"{what}: it is shown (95 %)", shown, most=0.05)
