"""JupyterLab in a real browser: a server of its own, and the few gestures that the tests need."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden) "  # of several open notebooks, the visible one
_FINISHED = r"""selector => { const prompts = [...document.querySelectorAll(selector)].map(e => e.textContent.trim());
    return prompts.length > 0 && prompts.every(text => /^\[\d+\]:$/.test(text)) }"""


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Serve copies of the notebooks (the browser saves them) in `folder`; yield the form of an address."""
    shutil.copytree(ROOT / "notebooks", folder / "root" / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(
        ROOT / "output",
        folder / "root" / "output",
        ignore=shutil.ignore_patterns("checkpoints", "cache", "screenshots"),
    )
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    env = os.environ | {name: str(folder / place) for name, place in places.items()}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, log = secrets.token_hex(16), folder / "lab.log"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder / 'root'}"]
    command += [f"--IdentityProvider.token={token}", "--LabApp.extension_manager=readonly"]
    with log.open("w") as stream:
        process = subprocess.Popen(command, env=env, stdout=stream, stderr=subprocess.STDOUT)
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{base}/api/status?token={token}", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.25)
        else:
            raise AssertionError(f"JupyterLab did not answer within a minute: {log.read_text()}")
        # A workspace of its own for each file: none of the tabs that were open before comes back.
        yield f"{base}/lab/workspaces/{{workspace}}/tree/{{path}}?token={token}"
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def write(folder: Path, name: str, *cells: str) -> str:
    """Write a notebook of code cells beside the others; return its path for :func:`open_and_run`."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(notebook, folder / "root" / "notebooks" / name)
    return f"notebooks/{name}"


def open_and_run(page, address: str, path: str, seconds: float = 120) -> None:
    """Open a notebook, wait for its kernel, run all cells and wait until each has a number."""
    page.goto(address.format(workspace=uuid.uuid4().hex, path=path))
    page.locator(PANEL + ".jp-Notebook").wait_for(timeout=90_000)
    page.get_by_text(re.compile(r"\| Idle$")).wait_for(timeout=90_000)  # before that, "Run All" would be lost
    # The committed outputs are there already: without this, the wait below would end at once.
    for item in ("Edit", "Clear Outputs of All Cells"), ("Run", "Run All Cells"):
        page.get_by_role("menuitem", name=item[0], exact=True).click()
        page.get_by_role("menuitem", name=item[1], exact=True).click()
    page.wait_for_function(_FINISHED, arg=PANEL + ".jp-CodeCell .jp-InputArea-prompt", timeout=seconds * 1000)


def tracebacks(page) -> list[str]:
    """Return the errors of cells, and those that were raised inside of widgets."""
    boxes = page.locator(PANEL + '[data-mime-type="application/vnd.jupyter.stderr"]').all_inner_texts()
    return [text for text in boxes if "Traceback (most recent call last)" in text]
