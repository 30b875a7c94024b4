"""The form of the notebooks: one anatomy, run to the end, readable without a kernel and without seeing the pictures."""

import ast
import base64
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import nbformat
import numpy as np
import pytest
from PIL import Image
from run_notebooks import NOTEBOOKS, STATE, VIEW, clean, outputs

import sstutils as sst
from sstutils.lectures.editions.lecture import ASKS, CLAIM
from sstutils.lectures.editions.notebooks import lecturer
from sstutils.lectures.widgets import playground

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
LAST = 11
MACHINE = re.compile(r"(?<![\w.~])/(?:work|root|tmp|home|Users|private|opt|usr|var)/|[A-Z]:\\\\?Users")
TAGS = {"slide", "fragment", "skip", "exercise", "widget", "nbval-check-output", CLAIM}


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", ()))


def exercises(notebook):
    return [cell for cell in notebook.cells if "exercise" in tags(cell) or "exercise" in cell.metadata]


def shows(cell, *kinds):
    """Tell whether a cell has an output of one of these kinds; "image/" stands for all pictures."""
    return any(kind in key for output in cell.get("outputs", ()) for key in output.get("data", {}) for kind in kinds)


def without_pictures(notebook):
    """The notebook as text, less the base64 of pictures and of widgets, which may spell anything."""
    text = json.dumps(notebook, ensure_ascii=False)
    return re.sub(r'("image/(?:png|jpeg)": |"data": |data:image/[a-z+]+;base64,)"?[A-Za-z0-9+/=\\n]+"?', r"\1", text)


def test_the_series_is_whole_and_in_order():
    assert [path.name[:3] for path in PATHS] == [f"{number:02d}-" for number in range(LAST + 1)]


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


def test_next_leads_on(path, notebook):
    number = int(path.name[:2])
    says = re.search(r"\*\*Next:\*\* (\d\d)", notebook.cells[-1].source)
    assert (says and int(says[1])) == (number + 1 if number < LAST else None)


def test_cells_are_named_after_the_notebook(path, notebook):
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(path.name[:2] + r"-\d\d", name) for name in ids)


def test_is_short(path, notebook):
    shown = [cell for cell in code(notebook) if CLAIM not in tags(cell)]
    cells = [re.findall(r"^ *[^# \n].*", cell.source, re.MULTILINE) for cell in shown]  # less blank lines
    assert notebook.cells[1].cell_type == "code"
    assert len(cells[0]) <= 3
    assert not code(notebook)[0].outputs
    assert len(cells) <= 20
    assert max(map(len, cells)) <= 25
    assert median(map(len, cells[1:])) <= 5
    assert path.stat().st_size < 1_000_000


def test_classes_are_short_and_sliders_are_in_the_widgets(notebook):
    for cell in code(notebook):
        tree = ast.parse(re.sub(r"^\s*[%!].*", "", cell.source, flags=re.MULTILINE))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                assert node.end_lineno - node.lineno < 15
        assert "ipywidgets" not in cell.source  # dead in a page without a kernel


def test_numbers_in_the_text_are_held_by_claims_out_of_sight(notebook):
    claims = [cell for cell in notebook.cells if CLAIM in tags(cell)]
    assert [cell.source.count("assert ") > 1 for cell in claims] == [True]
    assert claims == notebook.cells[-2:-1] and not claims[0].outputs
    assert claims[0].metadata.jupyter == {"source_hidden": True} and "skip" in tags(claims[0])
    assert not any("assert" in cell.source for cell in code(notebook) if cell not in claims)


def test_the_source_of_a_prediction_tells_nothing(notebook):
    for cell in code(notebook):
        if "widgets.Predict" in cell.source:
            assert cell.metadata.jupyter == {"source_hidden": True}
            assert "sealed=" in cell.source and not re.search("answer=|because=|feedback=", cell.source)


def test_every_wrong_option_is_told_what_is_wrong_with_it(notebook):
    for model in notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {}).values():
        if options := model["state"].get("options"):
            said = model["state"]["feedback"]
            assert len(said) == len(options)
            assert [bool(text) for text in said] == [i != model["state"]["answer"] for i in range(len(options))]


def test_a_question_comes_before_each_figure(notebook):
    question = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            question = cell.source
        elif shows(cell, "image/", VIEW):
            assert ASKS.search(question), f"{cell.id}: what should the reader look for?"


def test_exercises_are_open(path, notebook):
    cells = exercises(notebook)
    assert len(cells) in ((1, 2) if path.name.startswith(("00", "11")) else range(2, 6))
    for cell in cells:
        name = cell.metadata.exercise
        assert "exercise" in tags(cell)
        assert name in sst.exercises.EXERCISES
        assert f"def {sst.exercises.EXERCISES[name].signature}:" in cell.source
        assert "____" in cell.source
        assert cell.source.splitlines()[-1] == f"sst.exercises.{name}.check({name})"
        assert [o.data["text/plain"].split(":")[0] for o in cell.outputs if "data" in o] == ["○ not attempted"]
    assert "from sstutils import ____" in code(notebook)[0].source


def test_a_lecturer_finds_notes_and_minutes_that_add_up(notebook):
    notes = [cell.metadata.lecturer for cell in notebook.cells if "lecturer" in cell.metadata]
    for note in notes:
        assert set(note) <= {"minutes", "note"}
        assert len(note["note"]) > 20
    head = int(re.search(r"\*\*(\d+) min\*\*", notebook.cells[0].source)[1])
    assert sum(note.get("minutes", 0) for note in notes) == head
    assert 10 <= head <= 30
    assert all("lecturer" in cell.metadata for cell in exercises(notebook))
    assert sum("lecturer" in cell.metadata and cell.cell_type == "markdown" for cell in notebook.cells) >= 3


def test_makes_a_deck_of_slides(notebook):
    assert set().union(*map(tags, notebook.cells)) <= TAGS
    assert "slide" in tags(notebook.cells[0])
    assert 10 <= sum("slide" in tags(cell) for cell in notebook.cells) <= 28


def test_was_run_to_the_end_in_order_without_an_error(notebook):
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    wrong = [o for o in outputs(notebook) if o.output_type == "error" or o.get("name") == "stderr"]
    assert not wrong


def test_every_picture_and_widget_has_alternative_text(notebook):
    for output in outputs(notebook):
        kinds = [kind for kind in output.get("data", {}) if kind.startswith("image/")]
        assert kinds or VIEW not in output.get("data", {}), "a widget without a still picture"
        for kind in kinds:
            assert len(output.metadata.get(kind, {}).get("alt", "")) > 20, f"a {kind} without alternative text"
    text = without_pictures(notebook)
    assert all("alt=" in tag for tag in re.findall(r"<img[^>]*>", text))
    assert not re.search(r"!\[\]\(", text)


def test_widgets_are_kept_with_their_state_and_tagged(notebook):
    state = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    for cell in code(notebook):
        views = [output.data[VIEW].model_id for output in cell.outputs if VIEW in output.get("data", {})]
        assert all(view in state for view in views)
        assert bool(views) == ("widget" in tags(cell))


def test_saved_widgets_have_the_scripts_of_today(notebook):
    """A page is made from these states: a widget that was mended since must be mended in there, too."""
    classes = [getattr(sst.widgets, name) for name in sst.widgets.__all__]
    scripts = {str(one._esm): one for one in classes if hasattr(one, "_esm")}
    for model in notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {}).values():
        if script := model["state"].get("_esm"):
            assert script in scripts, f"{model['state']['title']}: run the notebook again (make notebooks)"
            assert model["state"].get("lines", playground.lines()) == playground.lines()


def test_names_no_path_of_a_machine(notebook):
    assert not MACHINE.findall(without_pictures(notebook))


@pytest.mark.parametrize("number", ["02", "03", "04"])
def test_opens_without_torch(number):
    (path,) = [path for path in PATHS if path.name.startswith(number)]
    cells = [cell.source for cell in code(nbformat.read(path, as_version=4))]
    with_torch = [i for i, source in enumerate(cells) if re.search(r"^\s*(?:import|from) torch", source, re.MULTILINE)]
    assert len(with_torch) <= (number == "04")
    assert all(i >= len(cells) // 2 for i in with_torch)
    script = f"{cells[0]}\nimport sys\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


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
    inside["1"]["state"]["layout"] = "IPY_MODEL_2"
    inside |= {"2": {"state": {}}, "3": {"state": {"about": "shown nowhere"}}}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {STATE: {"state": inside}}})
    cleaned = clean(notebook)
    assert set(cleaned.metadata.widgets[STATE].state) == {"1", "2"}
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


def test_the_readme_lists_them_by_title_and_minutes(path, notebook):
    number, title = re.match(r"# (\d\d) - (.+)", notebook.cells[0].source).groups()
    minutes = re.search(r"\*\*(\d+) min\*\*", notebook.cells[0].source)[1]
    readme = (NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    assert f"| {number} | [{title}](notebooks/{path.name}) | {minutes} |" in readme


def test_the_lecturers_solutions_are_correct_where_they_stand(path, notebook):
    """The exercise cells alone, after the imports of the first cell, with the model answer in place of the blank."""
    for cell in lecturer(notebook).cells:
        if name := cell.metadata.get("exercise"):
            scope = {}
            exec(code(notebook)[0].source, scope)
            *before, last = ast.parse(cell.source).body
            exec(compile(ast.Module(before, []), path.name, "exec"), scope)
            outcome = eval(compile(ast.Expression(last.value), path.name, "eval"), scope)
            assert outcome.status == "correct", (name, outcome.message)
