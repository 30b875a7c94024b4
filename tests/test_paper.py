"""The whole study on small data: what is in the report, what is done again, and what is not."""

import itertools
import json
import re
import shutil
from dataclasses import asdict
from html.parser import HTMLParser

import mistune
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from sstutils import __version__, checkpoints, cli, figures, training
from sstutils.evaluation import evaluate
from sstutils.figures import plots
from sstutils.files import exclusive
from sstutils.recipes import MODERN, PAPER, Recipe, recipe_for
from sstutils.runs import embed_checkpoint
from sstutils.study import paper, tables
from sstutils.study.saved import differences

VALUES = {"epochs": 2, "warmup": 0.5, "dim": 16, "size": 16, "seeds": (0, 1), "progress": False, "where": "cpu"}


def cheap(patch):
    """Figures of the right form in little time: how they are drawn is tested with the plots and the figures."""
    patch.setattr(plots.Figure, "svg", lambda *_, **__: "lines")
    patch.setattr(plots, "tsne_layout", lambda x, **options: np.asarray(x)[:, :2])
    patch.setattr(plots, "gradients", lambda *_, **__: plots.scatter(np.eye(2), [0, 1]))


@pytest.fixture(autouse=True)
def nothing_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("SSTUTILS_DATA", str(tmp_path / "data"))
    cheap(monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a study of digits with two seeds."""
    with pytest.MonkeyPatch.context() as patch:
        cheap(patch)
        out = tmp_path_factory.mktemp("study")
        patch.setenv("SSTUTILS_DATA", str(out / "data"))
        assert paper.paper("digits", out=out, **VALUES) == out / "paper" / "report.html"
    return out


@pytest.fixture
def study(made, tmp_path):
    """The same folder, which may be changed: afterwards it is as it was, times included."""
    shutil.copytree(made, tmp_path / "kept")
    yield made
    shutil.rmtree(made)
    shutil.copytree(tmp_path / "kept", made)


def kept(out, seed):
    return json.loads((out / "paper" / f"digits-seed{seed}.json").read_text(encoding="utf-8"))


def report(out, suffix="md"):
    return (out / "paper" / f"report.{suffix}").read_text(encoding="utf-8")


def rows(markdown):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if line[:1] == "|"]


def test_results_are_those_of_the_checkpoints(made):
    for seed in (0, 1):
        path = made / "paper" / f"digits-seed{seed}.pt"
        embeddings, dataset, content = embed_checkpoint(path, where="cpu", progress=False)
        found = kept(made, seed)
        assert found["results"] == pytest.approx(evaluate(embeddings, dataset.targets), abs=1e-6)
        assert found["recipe"] == content["recipe"] and found["recipe"]["seed"] == seed
        assert found["history"] == content["history"] and found["versions"] == checkpoints.versions()
        assert found["seconds"]["training"] == sum(row["seconds"] for row in content["history"])
        assert min(found["seconds"].values()) > 0
        assert found["hardware"]["training"] == content["hardware"] == checkpoints.hardware("cpu")
        assert found["data"]["test"] == {"images": len(dataset), "classes": 5}


def test_the_report_has_the_numbers_that_were_measured(made):
    results = [kept(made, seed)["results"] for seed in (0, 1)]
    (row,) = [row for row in rows(report(made)) if row[0].startswith("SST, local batches of 100")]
    assert row[1] == "0, 1" and len(row) == 2 + len(results[0])
    for cell, name in zip(row[2:], results[0], strict=True):
        values = [result[name] for result in results]
        mean, half = (float(part) for part in f"{cell} ± 0".split("±")[:2])  # equal values have no interval
        low, high = np.mean(values) + stats.sem(values) * np.array(stats.t.interval(0.95, 1))
        assert (mean - half, mean + half) == pytest.approx((low, high), abs=1.1e-3)
    html = report(made, "html")
    assert all(cell in html for cell in row[2:])
    (first,) = [row for row in rows(report(made)) if row[0] == "[digits](#digits)"]
    assert first[3:] == [row[2], *row[-3:]]


def test_a_single_result_has_no_interval():
    recipe = asdict(recipe_for("sop"))
    head, _, row = tables.results_table([{"recall@1": 0.5, "map@r": 0.25}], recipe, [7]).splitlines()
    assert head == "| trained by | seeds | Recall@1 | MAP@R |"
    assert row.endswith(" bn\\_inception, 512-d, trained head | 7 | 0.500 | 0.250 |")


def test_each_number_of_a_part_says_so(made, tmp_path):
    shutil.copytree(made, tmp_path / "out")
    every = [kept(made, seed) | {"file": f"{seed}.json"} for seed in (0, 1)]
    for run in every:
        run["data"]["options"] = {"part": 600}
    curves = ("digits-curves.png", "curves")
    study = {
        "data": "digits",
        "name": "digits",
        "runs": every,
        "curves": curves,
        "figures": [],
        "missing": "",
        "reasons": [],
    }
    paper._report([study], [], tmp_path / "out" / "paper")
    text = report(tmp_path / "out")
    assert "**Part: 600 images; not comparable with the literature.**" in text
    for row in (row for row in rows(text) if row[0].startswith(("SST", "[digits](#digits)"))):
        assert len(row) > 5 and all(cell.endswith("**part: 600 images**") for cell in row[-4:])
    assert "part:" not in report(made)


def test_nothing_is_done_twice(study, monkeypatch, capsys):
    def fail(*_, **__):
        raise AssertionError("this was done already")

    monkeypatch.setattr(training, "train", fail)
    monkeypatch.setattr(paper, "evaluate", fail)
    monkeypatch.setattr(figures, "make", fail)
    before = report(study), report(study, "html")
    paper.paper("digits", out=study, **VALUES | {"progress": True})
    assert (report(study), report(study, "html")) == before
    assert capsys.readouterr().out.count("already trained and evaluated") == 2
    with pytest.raises(AssertionError):  # but another seed is
        paper.paper("digits", out=study, **VALUES | {"seeds": (0, 1, 2)})


def test_what_is_gone_or_broken_is_made_again(study, monkeypatch, undrawn):
    monkeypatch.setattr(training, "train", None)
    results = kept(study, 0)["results"], kept(study, 1)["results"]
    (study / "paper" / "digits-seed0.json").unlink()
    (study / "paper" / "digits-seed1.json").write_text("{", encoding="utf-8")
    (study / "figures" / "digits_example.png").unlink()
    untouched = (study / "figures" / "digits_TSNE.png").stat().st_mtime_ns
    paper.paper("digits", out=study, **VALUES)
    assert (kept(study, 0)["results"], kept(study, 1)["results"]) == results
    assert (study / "figures" / "digits_example.png").exists()
    assert (study / "figures" / "digits_TSNE.png").stat().st_mtime_ns == untouched


def test_results_and_figures_of_another_network_are_not_taken(study):
    path = study / "paper" / "digits-seed0.pt"
    content = checkpoints.load_checkpoint(path)
    content["model"] = {name: torch_noise(value) for name, value in content["model"].items()}
    checkpoints.write({key: value for key, value in content.items() if key != "format"}, path)
    before, drawn = kept(study, 0), (study / "figures" / "digits_example.png").read_bytes()
    paper.paper("digits", out=study, **VALUES)
    assert kept(study, 0)["results"] != before["results"]
    assert (study / "figures" / "digits_example.png").read_bytes() != drawn


def torch_noise(value):
    return value + 0.1 * value.abs().mean() * value.new_ones(()).normal_() if value.is_floating_point() else value


def test_a_stopped_study_goes_on(made, tmp_path, monkeypatch, capsys, undrawn):
    """Stopped in the second epoch of the second seed; the numbers are those of the study that was not."""
    real = training.train

    def stopped(dataset, recipe, **options):
        for step in real(dataset, recipe, **options):
            if recipe.seed == 1 and step.epoch == 1:
                raise KeyboardInterrupt
            yield step

    arguments = ["paper", "--data", "digits", "--seeds", "2", "--epochs", "2", "--warmup", "0.5", "--dim", "16"]
    arguments += ["--size", "16", "--device", "cpu", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(paper, "_draw", lambda *_, **__: ([], ""))  # figures take the longest
    monkeypatch.setattr(training, "train", stopped)
    assert cli.main(arguments) == 130
    assert "holds the results so far; repeat the command to continue" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out" / "paper").iterdir()) == [
        "digits-seed0.json",
        "digits-seed0.pt",
        "digits-seed1.pt",
    ]
    asked = []

    def going_on(dataset, recipe, **options):
        asked.append((recipe.seed, options["resume"]))
        yield from real(dataset, recipe, **options)

    monkeypatch.setattr(training, "train", going_on)
    assert cli.main(arguments) == 0
    assert asked == [(1, True)]
    assert "seed 1: resuming after epoch 1" in capsys.readouterr().out
    for seed in (0, 1):
        assert kept(tmp_path / "out", seed)["results"] == kept(made, seed)["results"]


def test_another_recipe_is_another_study(made):
    with pytest.raises(ValueError, match=r"digits-seed0\.pt was trained with epochs 2 \(now 3\); run the study with"):
        paper.paper("digits", out=made, **VALUES | {"epochs": 3})
    with pytest.raises(ValueError, match=r"all images \(now 300\)"):
        paper.paper("digits", out=made, **VALUES, part=300)


def test_a_study_goes_on_with_the_part_it_was_begun_with(made, tmp_path):
    """On a machine with a GPU, too, and the whole on one without."""
    folder = made / "paper"
    first, other = folder / "digits-seed0.pt", folder / "digits-seed7.pt"
    assert paper._part([other, first], "auto") == "all"
    assert paper._part([other], "auto") == "auto"
    assert paper._part([first], 300) == 300
    content = checkpoints.load_checkpoint(folder / "digits-seed0.pt")
    content["data"] = content["data"] | {"options": {"part": 600}}
    checkpoints.write({key: value for key, value in content.items() if key != "format"}, tmp_path / "digits-seed0.pt")
    assert paper._part([tmp_path / "digits-seed0.pt"], "auto") == 600


def test_two_studies_in_one_folder_are_refused(made):
    with exclusive(made / "paper" / "report.html"), pytest.raises(OSError, match="another run is writing"):
        paper.paper("digits", out=made, **VALUES)


def test_reasons_for_what_is_not_the_papers():
    def reasons(recipe, options=(), **values):
        run = {"recipe": recipe, "data": {"options": dict(options)}}
        preset = "modern" if recipe["backbone"] == "resnet50" else "paper"
        return {name: (here, theirs, why) for name, here, theirs, why in paper._reasons(run, preset, values)}

    assert reasons(asdict(Recipe(**PAPER, seed=3))) == {}
    modern = reasons(asdict(recipe_for("cub200", "modern", k=3)), k=3)
    assert modern.pop("k") == (3, 5, "requested")
    assert {name: (here, why) for name, (here, _, why) in modern.items()} == MODERN
    part = reasons(asdict(Recipe(**PAPER | {"batch_size": 50, "epochs": 10})), {"part": 600})
    assert set(part) == {"batch_size", "epochs"} and "part of the data" in part["epochs"][2]


def test_what_is_not_there_is_told(made, capsys):
    text = report(made)
    for name in paper.DATA:
        assert f"`sst data {name} --download`" in text
    assert cli.main(["paper"]) == 2
    assert "sst paper --data glyphs" in capsys.readouterr().err
    assert cli.main(["paper", "--data", "cub200"]) == 2
    assert "not found" in capsys.readouterr().err
    assert cli.main(["paper", "--data", "glyps"]) == 2
    assert "did you mean 'glyphs'" in capsys.readouterr().err
    assert cli.main(["paper", "--data", "digits", "--seed", "1"]) == 2
    assert "seeds" in capsys.readouterr().err
    assert "not done yet" not in text


def test_numbers_of_others_stand_apart(made):
    before, _, after = report(made).partition("## For context: what others published")
    after, _, rest = after.partition("\n## ")
    assert "Nothing in this table was measured here." in after and "trained on " in before
    others = [cell for row in rows(after) for cell in row if re.fullmatch(r"\d\d\.\d", cell)]
    assert len(others) == 12 and not any(
        re.search(rf"\b{number}\b", before + rest) for number in others if number > "60"
    )


def test_the_page_asks_for_nothing_and_tells_each_picture(made):
    html = report(made, "html")
    pictures = re.findall(r"<img [^>]*>", html)
    assert len(pictures) == 6  # idea, two of gradients, curves, gallery, map
    for picture in pictures:
        assert re.search(r'src="data:image/png;base64,', picture) and len(re.search(r'alt="([^"]*)"', picture)[1]) > 30
    for name in ("idea", "Triplet", "SymTriplet", "digits_example", "digits_TSNE"):
        about = json.loads((made / "figures" / f"{name}.json").read_text(encoding="utf-8"))
        assert about["alt"].replace("'", "&#x27;") in html
    assert not re.search(
        r"""(?:src|srcset|<link[^>]*href)=["']?(?:https?:|//)|url\(["']?(?:https?:|//)|@import""", html
    )
    for name in re.findall(r"!\[.*?\]\((.*?)\)", report(made)):
        assert (made / "paper" / name).is_file()


def test_odd_names_break_neither_tables_nor_the_page(made, tmp_path):
    shutil.copytree(made, tmp_path / "out")
    run = kept(made, 0) | {"file": "x.json", "ended": "<script>alert(1)</script>"}
    study = {"data": "digits", "name": "digits", "runs": [run], "curves": ("digits-curves.png", "<b>"), "figures": []}
    study["missing"] = "*<script>alert(2)</script>*"
    odd = [("weights", "a|b_<c>*.pth", None, "[x](javascript:alert(1))")]
    paper._report([study | {"reasons": odd}], ["sop"], tmp_path / "out" / "paper")
    (row,) = [row for row in rows(report(tmp_path / "out").replace("\\|", "¦")) if row[0] == "`weights`"]
    assert row[1] == r"a¦b\_&lt;c&gt;\*.pth"
    html = report(tmp_path / "out", "html")
    assert "a|b_&lt;c&gt;*.pth" in html and "&lt;script&gt;alert(1)" in html and 'alt="&lt;b&gt;"' in html
    assert "<script" not in html and 'href="javascript' not in html
    assert "**sop**: not done yet" in report(tmp_path / "out")


@pytest.fixture
def folders(tmp_path):
    """Two folders of one name, of four classes with four pictures each."""
    noise = np.random.default_rng(0)
    for top, name, i in itertools.product("AB", ("ant", "bee", "cat", "dog"), range(4)):
        path = tmp_path / top / "pets" / name / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    return [f"folder:{tmp_path / top / 'pets'}" for top in "AB"]


def test_figures_of_other_test_data_are_not_taken(folders, tmp_path, monkeypatch, undrawn):
    """A picture more to test with, or one that cannot be read."""
    drawn = []
    real = figures.make
    monkeypatch.setattr(paper.figures, "make", lambda ids, **how: drawn.append(list(ids)) or real(ids, **how))
    monkeypatch.setattr(paper.figures, "FIGURES", tuple(row for row in figures.FIGURES if row.id in "23"))
    last = tmp_path / "A" / "pets" / "dog" / "0.png"
    expected = []
    for change in (lambda: None, lambda: shutil.copy(last, last.with_name("more.png")), lambda: last.write_bytes(b"")):
        change()
        expected.append(["pets_example"] if expected else ["Triplet", "SymTriplet", "pets_example"])
        for _ in range(2):
            paper.paper(folders[0], out=tmp_path, **VALUES | {"epochs": 1, "seeds": (0,)})
            assert drawn == expected and report(tmp_path).count("Figure 3.") == 1


def test_results_of_other_data_are_not_taken(folders, tmp_path, monkeypatch, undrawn):
    """Folders of one name, a picture more to train with, and one more to test with."""
    trained = []
    real = training.train
    monkeypatch.setattr(training, "train", lambda *args, **how: trained.append(args[0]) or real(*args, **how))
    monkeypatch.setattr(paper, "_draw", lambda *_, **__: ([], ""))

    def study():
        paper.paper(folders, out=tmp_path, **VALUES | {"epochs": 1, "seeds": (0,)})
        files = sorted((tmp_path / "paper").glob("pets-*-seed0.json"))
        return {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}

    first = study()
    assert len(first) == len(trained) == 2 and first == study() and len(trained) == 2
    shutil.copy(tmp_path / "A" / "pets" / "dog" / "0.png", tmp_path / "A" / "pets" / "dog" / "more.png")
    second = study()
    assert len(trained) == 2 and [first[name] == second[name] for name in first].count(False) == 1
    assert sorted(run["data"]["test"]["images"] for run in second.values()) == [8, 9]
    shutil.copy(tmp_path / "B" / "pets" / "ant" / "0.png", tmp_path / "B" / "pets" / "ant" / "more.png")
    third = study()
    assert len(trained) == 3 and len(third) == 3 and second.items() < third.items()
    assert "Trained on 9 images of 2 classes" in (tmp_path / "paper" / "report.md").read_text(encoding="utf-8")
    assert not (tmp_path / "paper" / "report.md").read_text(encoding="utf-8").count("Trained on 8") > 1


def test_what_is_done_has_these_data_this_recipe_and_this_version():
    recipe = Recipe(dim=16)
    saved = {"recipe": asdict(recipe), "data": "x", "versions": {"sstutils": __version__}}
    assert differences(saved, recipe, "x") == []
    del saved["recipe"]["proxy_lr"]  # a field that the recipe gained since has its default
    assert differences(saved, recipe, "x") == []
    assert differences(saved, Recipe(dim=8), "x") == ["dim 16 (now 8)"]
    assert differences(saved, recipe, "y") == ["other data: x (now y)"]
    assert "sstutils 0.0 (now" in differences(saved | {"versions": {"sstutils": "0.0"}}, recipe, "x")[0]
    for odd in ({}, {**saved, "recipe": {"x": 1}}, {**saved, "versions": 3}):
        assert differences(odd, recipe, "x") == ["another version"]


def test_one_impossible_figure_does_not_stop_the_others(study, monkeypatch, undrawn):
    write = figures._write

    def some(row, context):
        if figures.file_stem(row, "digits") == "Triplet":
            raise ValueError("no | triplets <here>")
        return write(row, context)

    shutil.rmtree(study / "figures")
    monkeypatch.setattr(figures, "_write", some)
    paper.paper("digits", out=study, **VALUES)
    assert len(list((study / "figures").glob("*.png"))) == 4
    text = "Not all figures are here: could not draw 1 of 5 figures: Triplet: no \\| triplets &lt;here&gt;"
    assert text in report(study)


class Tags(HTMLParser):
    """Collect the tags of a page, and what in them could run."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.odd = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        run = [name for name, value in attrs if name in ("href", "src") and "script:" in (value or "")]
        self.odd += run + [name for name, _ in attrs if name.startswith("on")]


PAYLOAD = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>`|[a](javascript:alert(3))"


def with_payload(value):
    """Replace each string in nested values."""
    if isinstance(value, dict):
        return {key: with_payload(part) for key, part in value.items()}
    if isinstance(value, list):
        return [with_payload(part) for part in value]
    return PAYLOAD if isinstance(value, str) else value


def test_no_string_of_a_file_becomes_markup(made, tmp_path):
    """Whatever field of a result, a checkpoint or a figure it stands in."""
    shutil.copytree(made, tmp_path / "out")
    run = with_payload({key: value for key, value in kept(made, 0).items() if key != "history"})
    run |= {"history": [{"unreadable": PAYLOAD}], "file": PAYLOAD}
    run["data"]["options"] = {"part": PAYLOAD}
    run["hardware"]["training"]["gpu"] = PAYLOAD
    shown = [
        {"id": str(i), "alt": PAYLOAD, "caption": PAYLOAD, "file": "../figures/digits_TSNE.png"} for i in range(1, 5)
    ]
    about = {"data": "digits", "name": "digits", "curves": ("digits-curves.png", PAYLOAD), "missing": PAYLOAD}
    odd = [(PAYLOAD, PAYLOAD, PAYLOAD, PAYLOAD)]
    paper._report([{**about, "runs": [run], "figures": shown, "reasons": odd}], [PAYLOAD], tmp_path / "out" / "paper")
    clean, page = Tags(report(made, "html")), Tags(report(tmp_path / "out", "html"))
    assert page.tags <= clean.tags and not page.odd
    assert report(tmp_path / "out", "html").count("&lt;script&gt;alert(1)") > 20
    # Markdown may be read by a program that lets markup pass.
    lax = Tags(mistune.create_markdown(escape=False, plugins=["table"])(report(tmp_path / "out")))
    assert lax.tags <= clean.tags and not lax.odd


@pytest.mark.parametrize(
    ("width", "dark"), [(390, True), (1440, False), pytest.param(1440, True, marks=pytest.mark.slow)]
)
def test_the_page_in_a_browser(made, tab, width, dark):
    from axe_playwright_python.sync_playwright import Axe

    page = tab(width, dark)
    page.goto((made / "paper" / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")] == []
    assert not page.bad
