"""Run the notebooks in place, in order, as they are committed: ``python tests/run_notebooks.py [NUMBER ...]``.

What differs from run to run or from machine to machine without a reason (clock times, paths, progress bars) is not
kept. Pictures are kept with 256 colours: a quarter of the bytes, for a difference that is hard to see.
"""

import base64
import io
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
VIEW, STATE = "application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json"


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    """Return all outputs of a notebook, those inside of widgets included."""
    state = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    inside = [output for model in state.values() for output in model["state"].get("outputs", ())]
    return [output for cell in notebook.cells for output in cell.get("outputs", ())] + inside


def lean(png: str) -> str:
    """Return a PNG file in base64 with a palette of 256 colours, if that makes it smaller."""
    small = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        palette = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        palette.save(small, "PNG", optimize=True, dpi=image.info.get("dpi", (96, 96)))
    return min(png, base64.b64encode(small.getvalue()).decode("ascii"), key=len)


def drop_bars(notebook: NotebookNode) -> None:
    """Remove finished progress bars, and the state of widgets that no output shows."""
    for cell in notebook.cells:
        if "outputs" in cell:
            shown = [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
            cell.outputs = [
                o for o, text in zip(cell.outputs, shown, strict=True) if not re.match(r"\w+: +\d+%\|", text)
            ]
    state = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    shown = {
        o.data[VIEW]["model_id"]
        for cell in notebook.cells
        for o in cell.get("outputs", ())
        if VIEW in o.get("data", {})
    }
    while found := {i for key in shown & set(state) for i in re.findall(r"IPY_MODEL_(\w+)", str(state[key]))} - shown:
        shown |= found  # a widget names those it is made of
    for key in set(state) - shown:
        del state[key]
    if not state:
        notebook.metadata.pop("widgets", None)


def clean(notebook: NotebookNode, root: Path = ROOT, home: Path | None = None) -> NotebookNode:
    """Remove clock times, versions and machine paths, and make pictures smaller; in place."""
    drop_bars(notebook)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    for output in outputs(notebook):
        data = output.get("data", {})
        for bundle, key in ((output, "text"), (data, "text/plain")):
            if key in bundle:
                bundle[key] = bundle[key].replace(str(root), "..").replace(str(home or Path.home()), "~")
        if "image/png" in data:
            data["image/png"] = lean(data["image/png"])
        if "text/html" in data:  # figures come as HTML, too, for the sake of their alternative text
            data["text/html"] = re.sub(r"(?<=data:image/png;base64,)[\w+/=]+", lambda m: lean(m[0]), data["text/html"])
    widgets = notebook.metadata.get("widgets")
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    if widgets:
        notebook.metadata["widgets"] = widgets
    return notebook


def run(path: Path) -> None:
    """Execute one notebook with its own folder as the working directory, and write it if no cell failed."""
    from sstutils.files import atomic_write

    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    client = NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    with atomic_write(path) as temporary:
        nbformat.write(clean(notebook), temporary)


def main(numbers: list[str]) -> None:
    """Run the notebooks whose names start with one of `numbers`, or all."""
    from tqdm import tqdm

    from sstutils.figures import Context, prepare

    paths = [p for p in sorted(NOTEBOOKS.glob("*.ipynb")) if p.name.startswith(tuple(numbers or [""]))]
    if not paths:
        sys.exit(f"no notebook in {NOTEBOOKS} starts with {' or '.join(numbers)}")
    prepare(Context(out=ROOT / "output"))  # trained here, where its bar does not end up in a notebook
    bar = tqdm(paths, unit="notebook", disable=False)
    for path in bar:
        bar.set_postfix_str(path.stem)
        run(path)


if __name__ == "__main__":
    main(sys.argv[1:])
