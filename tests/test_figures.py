import dataclasses
import errno
import html
import json
import re
import shutil
import string
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sstutils import checkpoints, datasets, figures, recipes, runs, training
from sstutils.figures import plots

FILES = ("idea", "Triplet", "SymTriplet", "digits_example", "digits_TSNE")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """All figures of a network that was trained for an epoch."""
    out = tmp_path_factory.mktemp("output")
    with pytest.MonkeyPatch.context() as patch:
        recipe = recipes.Recipe(epochs=1, warmup=0.5, batch_size=50, dim=16, size=16)
        patch.setattr(runs, "recipe_for", lambda data, name: recipe)
        patch.setattr(plots, "tsne_layout", lambda x, **options: np.asarray(x)[:, :2])  # tested with the plots
        figures.make(data="digits", out=out, progress=False)
    return out


@pytest.fixture
def no_training(monkeypatch):
    def fail(*args, **options):
        raise AssertionError("nothing should be trained or loaded")

    monkeypatch.setattr(runs, "fit", fail)
    monkeypatch.setattr(datasets, "load", fail)


@pytest.fixture
def cheap(monkeypatch):
    """Figures of the right form in little time, where something else than their look is asked."""

    def small(*args, **options):
        return plots.scatter(np.eye(2), [0, 1])

    for name in ("gradients", "gallery", "thumbnails"):
        monkeypatch.setattr(plots, name, small)
    monkeypatch.setattr(plots, "tsne_layout", lambda x, **options: np.asarray(x)[:, :2])


def hidden(folder):
    return [path.name for path in Path(folder).rglob("*") if path.name.startswith(".") or path.suffix == ".part"]


# ---------------------------------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------------------------------
def test_the_table_is_whole():
    stems = [row.stem for row in figures.FIGURES]
    assert len(set(stems)) == len(stems)
    assert stems == ["idea", "Triplet", "SymTriplet", "{data}_example", "{data}_TSNE"]
    for row in figures.FIGURES:
        assert row.caption.endswith(".") and "{" not in row.caption and len(row.caption) > 60
        fields = {name for _, name, _, _ in string.Formatter().parse(row.alt) if name}
        assert fields and fields <= {"data", "seen"} and row.alt != row.caption
        assert (row.needs == "nothing") == (row.id == "2")


@pytest.mark.parametrize(
    ("name", "stems"),
    [
        ("1", ["idea"]),
        (2, ["Triplet", "SymTriplet"]),
        ("gradients", ["Triplet", "SymTriplet"]),
        ("symtriplet", ["SymTriplet"]),
        ("Triplet.svg", ["Triplet"]),
        ("3", ["{data}_example"]),
        ("glyphs_example", ["{data}_example"]),
        *((name, ["{data}_TSNE"]) for name in (4, "5", 6, "tsne", "t-SNE", "cub200_TSNE", "stand_TSNE.png")),
    ],
)
def test_figures_are_found_by_number_name_and_file(name, stems):
    assert [row.stem for row in figures.find([name])] == stems


def test_all_figures_are_found_once_in_the_order_of_the_table():
    assert figures.find() == list(figures.FIGURES)
    assert figures.find(["tsne", "6", "1", 4]) == [figures.FIGURES[0], figures.FIGURES[4]]


@pytest.mark.parametrize(
    ("name", "hint"), [("Tripet", "did you mean 'Triplet'"), ("tsn", "'tsne'"), ("idae", "'idea'"), ("42", "4 (tsne)")]
)
def test_unknown_figures_get_a_suggestion(name, hint, no_training, tmp_path):
    with pytest.raises(ValueError, match=f"unknown figure '{name}'.*{re.escape(hint)}"):
        figures.make([name, "2"], out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_file_names_follow_the_data_set_and_the_papers_spelling():
    def names(data):
        return [figures.file_stem(row, data) for row in figures.FIGURES[3:]]

    assert names("glyphs") == ["glyphs_example", "glyphs_TSNE"]
    assert names("sop") == ["stanford_example", "stand_TSNE"]
    assert names("CUB200") == ["cub200_example", "cub200_TSNE"] and names("folder:x/sop")[0] == "sop_example"
    assert names("folder:/somewhere/my pets/") == ["my-pets_example", "my-pets_TSNE"]


# ---------------------------------------------------------------------------------------------------------------------
# What is written
# ---------------------------------------------------------------------------------------------------------------------
def test_every_figure_is_written_in_three_files(out):
    written = {path.name for path in (out / "figures").iterdir()}
    assert written == {f"{stem}{suffix}" for stem in FILES for suffix in (".png", ".svg", ".json")}
    assert not hidden(out)
    for path in (out / "figures").iterdir():
        assert path.stat().st_size < {".png": 1.5e6, ".svg": 2e6, ".json": 1e4}[path.suffix]


@pytest.mark.parametrize("stem", FILES)
def test_json_tells_how_a_figure_came_about(out, stem):
    import matplotlib

    about = json.loads((out / "figures" / f"{stem}.json").read_text(encoding="utf-8"))
    (row,) = figures.find([stem])
    assert (about["id"], about["name"], about["caption"]) == (row.id, row.name, row.caption)
    assert about["files"] == [f"{stem}.png", f"{stem}.svg"] and about["seconds"] > 0
    assert (about["style"], about["seed"]) == ("default", 0)
    assert about["command"].startswith(f"sst figures {stem} --data digits --out ")
    assert about["versions"]["matplotlib"] == matplotlib.__version__ and "python" in about["versions"]
    if row.needs != "nothing":
        test, train = datasets.load("digits", "test"), datasets.load("digits", "train")
        assert about["data"] == {
            "name": "digits",
            "split": "test",
            "images": len(test),
            "classes": 5,
            "fingerprint": test.fingerprint,
            "train_fingerprint": train.fingerprint,
            "whole_fingerprint": test.fingerprint,
        }
        assert about["checkpoint"]["file"].endswith("checkpoints/digits.pt")
        assert about["checkpoint"]["epochs"] == 1 and about["checkpoint"]["recipe"]["loss"] == "sst"
    else:
        assert about["data"] is None and about["checkpoint"] is None


@pytest.mark.parametrize("stem", FILES)
def test_alternative_text_is_in_all_three_files(out, stem):
    from xml.etree import ElementTree

    alt = json.loads((out / "figures" / f"{stem}.json").read_text(encoding="utf-8"))["alt"]
    assert len(alt) > 80 and "{" not in alt
    with Image.open(out / "figures" / f"{stem}.png") as image:
        assert image.text["Description"] == alt
    root = ElementTree.parse(out / "figures" / f"{stem}.svg").getroot()
    assert root.find("{http://www.w3.org/2000/svg}desc").text == alt


def test_the_example_shows_what_the_network_retrieves(out):
    context = figures.prepare(figures.Context("digits", out=out, seed=5), progress=False)
    shown = figures.draw("3", context)
    queries = np.random.default_rng(5).choice(len(context.labels), 10, replace=False)
    x = context.embeddings.astype(float)
    distances = np.linalg.norm(x[queries, None] - x, axis=2)
    distances[np.arange(10), queries] = np.inf
    nearest = np.argsort(distances, axis=1)[:, :4]
    np.testing.assert_array_equal(context.retrieve(queries), nearest)
    right = int((context.labels[nearest] == context.labels[queries][:, None]).sum())
    assert f"{right} of the 40 retrieved" in shown.alt and shown.alt.startswith("A grid of small test images of digits")


def test_the_network_is_trained_once_and_work_is_shared(out, tmp_path, monkeypatch, cheap):
    calls = []
    embed = runs.embed_readable
    monkeypatch.setattr(runs, "fit", None)  # not to be called
    monkeypatch.setattr(runs, "embed_readable", lambda *a, **k: calls.append("embed") or embed(*a, **k))
    monkeypatch.setattr(plots, "tsne_layout", lambda x, **options: calls.append("tsne") or np.asarray(x)[:, :2])
    shutil.copytree(out / "checkpoints", tmp_path / "checkpoints")
    written = figures.make(["example", "tsne", "idea"], data="digits", out=tmp_path, progress=False)
    assert calls == ["embed", "tsne"] and len(written) == 9
    assert written[0].name == "digits_example.png"  # which needs no map


def test_the_method_of_tsne_is_handed_on_and_told(out, tmp_path, monkeypatch, cheap):
    asked = []
    monkeypatch.setattr(plots, "tsne_layout", lambda x, **options: asked.append(options) or np.asarray(x)[:, :2])
    options = {"data": "digits", "checkpoint": out / "checkpoints" / "digits.pt", "progress": False}
    figures.make(["3", "4"], out=tmp_path, tsne="fft", seed=3, **options)
    assert asked == [{"method": "fft", "seed": 3, "progress": False}]
    about = [json.loads((tmp_path / f"figures/digits_{name}.json").read_text()) for name in ("TSNE", "example")]
    assert about[0]["tsne"] == "fft" and "tsne" not in about[1]  # which has no map
    assert about[0]["command"].endswith("--seed 3 --tsne fft")
    assert about[0]["caption"].startswith("FFT-accelerated t-SNE of the embeddings")
    usual = json.loads((out / "figures/digits_TSNE.json").read_text())
    assert usual["tsne"] == "barnes-hut" and "--tsne" not in usual["command"]
    assert usual["caption"].startswith("Barnes-Hut t-SNE of the embeddings")


def test_training_that_was_stopped_goes_on(tmp_path):
    recipe = recipes.Recipe(epochs=2, warmup=0.5, batch_size=50, dim=8, size=16)
    context = figures.Context("digits", out=tmp_path)
    for step in training.train(datasets.load("digits", "train"), recipe, out=context.path, data={"name": "digits"}):
        if step.epoch == 1:
            break  # after the first epoch's checkpoint
    assert len(checkpoints.load_checkpoint(context.path)["history"]) == 1
    context = figures.prepare(context, progress=False)
    assert len(context.network["history"]) == 2


def test_gradients_need_neither_data_nor_network(no_training, tmp_path, cheap):
    paths = figures.make(["Triplet"], out=tmp_path / "deep" / "er", style="paper", progress=False)
    assert [path.name for path in paths] == ["Triplet.png", "Triplet.svg", "Triplet.json"]
    assert all(path.exists() for path in paths)
    about = json.loads(paths[2].read_text(encoding="utf-8"))
    assert about["style"] == "paper" and about["command"].endswith("--style paper")


# ---------------------------------------------------------------------------------------------------------------------
# Mistakes and accidents
# ---------------------------------------------------------------------------------------------------------------------
def test_the_checkpoint_of_other_data_is_refused(out, tmp_path):
    checkpoint = out / "checkpoints" / "digits.pt"
    pictures = tmp_path / "pets"
    for number in range(4):
        (pictures / f"class {number}").mkdir(parents=True)
        for image in range(3):
            Image.new("RGB", (9, 9), (60 * number, 9 * image, 0)).save(pictures / f"class {number}" / f"{image}.png")
    with pytest.raises(ValueError, match=r"digits\.pt was trained on digits .*, but the figures are of folder:.*pets"):
        figures.make(["3"], data=f"folder:{pictures}", checkpoint=checkpoint, out=tmp_path, progress=False)
    content = checkpoints.load_checkpoint(checkpoint)
    content["data"]["fingerprint"] = "0" * 12
    import torch

    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt was trained on digits 000000000000"):
        figures.make(["3"], data="digits", checkpoint=tmp_path / "other.pt", out=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"style": "papre"}, ValueError, "paper"),
        ({"tsne": "umap"}, ValueError, "method of t-SNE must be one of 'barnes-hut', 'fft', got 'umap'"),
        ({"out": "file"}, OSError, "cannot create the folder .*file.*--out"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(options, error, message, no_training, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(error, match=message):
        figures.make(**options)


def test_missing_checkpoints_and_data_sets_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        figures.make([3], data="digits", checkpoint=tmp_path / "none.pt", out=tmp_path, progress=False)
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        figures.make([3], data="digit", out=tmp_path, progress=False)


@pytest.mark.parametrize("failing", ["png", "svg", "json"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_the_old_figure(failing, error, tmp_path, monkeypatch, no_training):
    folder = tmp_path / "figures"
    folder.mkdir()
    for suffix in ("png", "svg", "json"):
        (folder / f"SymTriplet.{suffix}").write_text("old")
    write = Path.write_bytes

    def write_half(path, content):
        if f".{failing}." in path.name:
            write(path, content[: len(content) // 2])
            raise error
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_half)
    monkeypatch.setattr(plots, "gradients", lambda *a, **k: plots.scatter(np.eye(2), [0, 1]))
    with pytest.raises(type(error)) as told:
        figures.make(["SymTriplet"], out=tmp_path, progress=False)
    if isinstance(error, OSError):
        assert re.fullmatch(r"cannot write figure .*SymTriplet \(No space left on device\): .*--out", str(told.value))
    assert sorted(path.name for path in folder.iterdir()) == ["SymTriplet.json", "SymTriplet.png", "SymTriplet.svg"]
    assert {path.read_text() for path in folder.iterdir()} == {"old"}


def test_what_needs_no_network_comes_first_and_others_are_drawn_where_one_cannot_be(out, tmp_path, monkeypatch, cheap):
    def fail(*args, **options):
        raise ValueError("no neighborhood\ncan be drawn")

    monkeypatch.setattr(plots, "idea", fail)
    options = {"data": "digits", "out": tmp_path, "progress": False}
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        figures.make(["3", "2"], checkpoint=tmp_path / "none.pt", **options)
    assert len(list((tmp_path / "figures").glob("*Triplet.*"))) == 6
    with pytest.raises(ValueError, match=r"^could not draw 1 of 3 figures: idea: no neighborhood can be drawn$"):
        figures.make(["1", "3", "4"], checkpoint=out / "checkpoints" / "digits.pt", **options)
    assert len(list((tmp_path / "figures").glob("digits_*"))) == 6


@pytest.mark.parametrize("method", ["barnes-hut", pytest.param("fft", marks=pytest.mark.slow)])
def test_of_a_collapsed_network_the_rest_is_drawn(out, tmp_path, monkeypatch, method):
    import torch

    embed = runs.embed_checkpoint

    def collapse(*args, **options):
        embeddings, *rest = embed(*args, **options)
        return torch.ones_like(embeddings), *rest

    monkeypatch.setattr(runs, "embed_checkpoint", collapse)
    how = {"data": "digits", "checkpoint": out / "checkpoints" / "digits.pt", "tsne": method, "progress": False}
    with pytest.raises(ValueError, match=r"^could not draw 2 of 3 figures: idea: the embedding has collapsed: .*"):
        figures.make(["1", "3", "4"], out=tmp_path, **how)
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {f"digits_example.{suffix}" for suffix in ("png", "svg", "json")}


def of_few(sizes, dim=3, **options):
    """What is known of a few test images, in classes of some sizes."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8, 3), dtype=np.uint8)
    data = datasets.ArrayDataset(images, labels, [f"class ${label}" for label in range(len(sizes))])
    embeddings = np.random.default_rng(1).normal(size=(len(labels), dim)).astype(np.float32)
    return figures.Context("few", dataset=data, embeddings=embeddings, progress=False, **options)


@pytest.mark.parametrize(("sizes", "dim"), [([4, 4], 3), ([3, 3], 1), ([2, 1, 1, 1], 2), ([9, 2, 1], 5)])
def test_of_few_images_all_figures_are_drawn(sizes, dim):
    context = figures.prepare(of_few(sizes, dim), "layout")
    for name in ("1", "3", "4"):
        assert figures.draw(name, context).png(50)


@pytest.mark.parametrize(
    ("sizes", "name", "message"),
    [
        ([1], "3", "retrieval needs at least two test images, and few has 1"),
        ([2, 2], "4", "t-SNE needs at least 5 embeddings, one for each image, got 4"),
        ([1] * 6, "1", "two images of one class and two of others, got class sizes"),
        ([6], "1", "two images of one class and two of others, got class sizes"),
    ],
)
def test_what_data_lack_is_told(sizes, name, message):
    with pytest.raises(ValueError, match=message):
        figures.draw(name, of_few(sizes))


def test_what_is_drawn_leaves_a_checkout_clean():
    root = Path(__file__).parents[1]
    ignored = [line for line in (root / ".gitignore").read_text().split() if line.startswith("output/figures/")]
    names = [
        f"output/figures/{figures.file_stem(row, data)}.png" for row in figures.FIGURES for data in ("glyphs", "cub")
    ]
    assert all(any(fnmatch(name, pattern) for pattern in ignored) for name in names)
    shown = re.findall(r"\((output/readme/[^)]+)\)", (root / "README.md").read_text(encoding="utf-8"))
    assert all((root / name).exists() for name in shown)
    shown = [name for name in shown if not name.endswith("playground.png")]  # a look at a page, not a figure
    assert {Path(name).name for name in shown} == {Path(name).name for name in names if "cub" not in name}
    assert all((root / name).with_suffix(".json").exists() for name in shown)


def test_a_figure_without_alternative_text_is_an_error(monkeypatch, tmp_path):
    def silent(context):
        figure = plots.scatter(np.eye(2), [0, 1])
        figure.alt = " "
        return figure

    rows = [dataclasses.replace(figures.FIGURES[1], draw=silent)]
    monkeypatch.setattr(figures, "FIGURES", rows)
    with pytest.raises(ValueError, match="has no alternative text"):
        figures.make(out=tmp_path, progress=False)
    assert not list((tmp_path / "figures").iterdir())


# ---------------------------------------------------------------------------------------------------------------------
# In notebooks
# ---------------------------------------------------------------------------------------------------------------------
def test_display_shows_written_figures_with_their_words(out, monkeypatch):
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda what, **options: shown.append((what, options)))
    figures.display("2", out=out, data="digits")
    (picture, options), (caption, _), *more = shown
    assert len(more) == 2 and options["raw"]  # the other file
    about = json.loads((out / "figures" / "Triplet.json").read_text(encoding="utf-8"))
    assert html.escape(about["alt"]) in picture["text/html"] and 'width="691"' in picture["text/html"]
    assert options["metadata"]["image/png"]["alt"] == about["alt"]
    assert about["caption"] in caption.data and "<b>Figure 2.</b>" in caption.data


def test_nbconvert_makes_alternative_text_of_it():
    from nbconvert import HTMLExporter
    from nbformat import v4

    data, metadata = plots.scatter(np.eye(2), [0, 1])._repr_mimebundle_()
    cell = v4.new_code_cell(outputs=[v4.new_output("display_data", data, metadata=metadata)])
    page, _ = HTMLExporter().from_notebook_node(v4.new_notebook(cells=[cell]))
    assert re.search(r"<img[^>]*\salt=\"2 points of 2 classes in the plane", page)
