"""The form of the notebooks: short, run to the end, readable without a kernel and without seeing the pictures."""

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image
from run_notebooks import NOTEBOOKS, STATE, VIEW, clean, outputs

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
MACHINE = re.compile(r"(?<![\w.~])/(?:work|root|tmp|home|Users|private|opt|usr|var)/|[A-Z]:\\\\?Users")


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def without_pictures(notebook):
    """The notebook as text, less the base64 of pictures, which may spell anything."""
    text = json.dumps(notebook, ensure_ascii=False)
    return re.sub(r'("image/(?:png|jpeg)": |data:image/[a-z+]+;base64,)"?[A-Za-z0-9+/=\\n]+"?', r"\1", text)


def test_there_are_seven_in_order():
    assert [path.name[:3] for path in PATHS] == [f"{number:02d}-" for number in range(1, 8)]


def test_is_a_valid_notebook_for_the_plain_kernel(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


def test_begins_with_its_number_and_ends_with_what_was_done(path, notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    titles = re.findall(r"^# (.+)", text, re.MULTILINE)
    assert len(titles) == 1
    assert titles[0].startswith(f"{path.name[:2]} - ")
    assert notebook.cells[0].source.startswith(f"# {titles[0]}")
    for word in ("**You will**", "**Needs**", "min**", "CPU"):
        assert word in notebook.cells[0].source
    assert notebook.cells[-1].cell_type == "markdown"
    for word in ("**In this notebook we**", "**Misconceptions.**", "**References.**"):
        assert word in notebook.cells[-1].source


def test_is_short(path, notebook):
    first, *rest = [cell.source.splitlines() for cell in code(notebook)]
    assert len(first) <= 3
    assert not code(notebook)[0].outputs
    assert len(rest) < 20
    assert max(map(len, rest)) <= 25
    assert path.stat().st_size < 1_000_000


def test_was_run_to_the_end_in_order_without_an_error(notebook):
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    wrong = [o for o in outputs(notebook) if o.output_type == "error" or o.get("name") == "stderr"]
    assert not wrong


def test_every_picture_has_alternative_text(notebook):
    for output in outputs(notebook):
        for kind in output.get("data", {}):
            if kind.startswith("image/"):
                assert len(output.metadata.get(kind, {}).get("alt", "")) > 20, f"a {kind} without alternative text"
    text = without_pictures(notebook)
    assert all("alt=" in tag for tag in re.findall(r"<img[^>]*>", text))
    assert not re.search(r"!\[\]\(", text)


def test_names_no_path_of_a_machine(notebook):
    assert not MACHINE.findall(without_pictures(notebook))


def test_next_leads_on(path, notebook):
    number = int(path.name[:2])
    says = re.search(r"\*\*Next:\*\* (\d\d)", notebook.cells[-1].source)
    assert (says and int(says[1])) == (number + 1 if number < len(PATHS) else None)


def test_clean_shortens_paths_and_drops_clocks_and_bars():
    outputs = [
        nbformat.v4.new_output("execute_result", {"text/plain": "'/home/me/a', '/src/project/output/b'"}),
        nbformat.v4.new_output("display_data", {VIEW: {"model_id": "1"}, "text/plain": "embed:   0%|          | 0/10"}),
    ]
    cell = nbformat.v4.new_code_cell("x", outputs=outputs, metadata={"execution": {"iopub.status.busy": "2026"}})
    dirty = nbformat.v4.new_notebook(
        cells=[cell], metadata={"language_info": {"name": "python", "version": "3.11.7"}, "widgets": {"a": 1}}
    )
    assert MACHINE.search(without_pictures(dirty))
    cleaned = clean(dirty, Path("/src/project"), Path("/home/me"))
    assert [o.data["text/plain"] for o in cleaned.cells[0].outputs] == ["'~/a', '../output/b'"]
    assert not cleaned.cells[0].metadata
    assert cleaned.metadata.language_info == {"name": "python"}
    assert "widgets" not in cleaned.metadata


def test_clean_keeps_widgets_and_makes_pictures_smaller():
    noisy = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(noisy, "PNG")
    png = base64.b64encode(noisy.getvalue()).decode()
    data = {"image/png": png, "text/html": f'<img src="data:image/png;base64,{png}" alt="noise">'}
    outputs = [
        nbformat.v4.new_output("display_data", data, metadata={"image/png": {"alt": "noise"}}),
        nbformat.v4.new_output("display_data", {VIEW: {"model_id": "1"}, "text/plain": "interactive(children=())"}),
    ]
    cell = nbformat.v4.new_code_cell("x", outputs=outputs)
    inside = {"1": {"state": {"outputs": [nbformat.v4.new_output("display_data", {"image/png": png})]}}}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {STATE: {"state": inside}}})
    cleaned = clean(notebook)
    small = cleaned.cells[0].outputs[0].data["image/png"]
    with Image.open(io.BytesIO(base64.b64decode(small))) as image:
        assert image.size == (60, 50)
        error = np.abs(np.asarray(image.convert("RGB"), dtype=int) - pixels).mean()
    assert error < 20  # of 255, and this is the worst picture there is
    assert len(small) < len(png) / 2
    assert cleaned.cells[0].outputs[0].data["text/html"] == f'<img src="data:image/png;base64,{small}" alt="noise">'
    assert cleaned.cells[0].outputs[0].metadata["image/png"]["alt"] == "noise"
    assert len(cleaned.cells[0].outputs) == 2
    kept = cleaned.metadata.widgets[STATE].state["1"].state.outputs[0]
    assert kept.data["image/png"] == small
