"""Take the picture of the playground that the README shows, from its page: ``python tests/screenshot.py``."""

import base64
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from sstutils.files import atomic_write
from sstutils.lectures.editions.pages import playground
from tests.conftest import CHROMIUM, FLAGS
from tests.run_notebooks import lean

OUT = Path(__file__).parents[1] / "output" / "readme" / "figures" / "playground.png"
SETTINGS = "data=digits&B=70&seed=2"
EPOCHS = 12

with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
    file = Path(folder) / "playground.html"
    file.write_text(playground(), encoding="utf-8")
    browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    page = browser.new_page(viewport={"width": 1180, "height": 900}, device_scale_factor=1.5, color_scheme="light")
    page.goto(f"{file.as_uri()}#{SETTINGS}")
    page.locator("[data-ready]").wait_for(state="attached")
    for epoch in range(1, EPOCHS + 1):
        page.get_by_role("button", name="Epoch").click()
        page.get_by_text(f"epoch {epoch}.0").first.wait_for(timeout=60_000)
    page.wait_for_timeout(500)
    png = page.locator(".sst-widget").screenshot()
    browser.close()
with atomic_write(OUT) as temporary:
    temporary.write_bytes(base64.b64decode(lean(base64.b64encode(png).decode())))
