"""Studies: every cell once, the epoch chosen on held-out classes only, and nothing lost, dropped or done twice."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from sstutils import EmbeddingNet, Glyphs, Recipe, cli, fit, load, load_checkpoint, runs, study, training
from sstutils.figures import plots
from sstutils.files import exclusive
from sstutils.recipes import make_loss, make_sampler

SMALL = {"epochs": 3, "batch_size": 32, "dim": 16, "size": 16, "warmup": 0.4, "precision": "float32", "where": "cpu"}
CELLS = {"losses": ("triplet", "MultiSimilarityLoss", "ProxyAnchorLoss"), "samplers": ("local", "balanced", "shuffled")}
MEASURES = {"recall@1", "recall@2", "recall@4", "recall@8", "map@r", "r_precision", "nmi"}


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return {split: Glyphs(root, split, classes=24, images=8, difficulty=0.5) for split in ("train", "test")}


@pytest.fixture(autouse=True)
def tiny(splits, monkeypatch):
    """Let a study of "glyphs" be one of 12 + 12 letters, 8 images each."""
    monkeypatch.setattr(study, "load", lambda name, split, **options: splits[split])


@pytest.fixture
def trained(monkeypatch):
    """List the recipes that are trained; after as many as `most`, training is stopped as by Ctrl-C."""

    def counted(dataset, recipe, **options):
        if len(counted.done) == counted.most:
            raise KeyboardInterrupt
        counted.done.append(recipe)
        return training.train(dataset, recipe, **options)

    counted.done, counted.most = [], math.inf
    monkeypatch.setattr(study, "train", counted)
    return counted


def without_clock(row):
    clock = ("seconds", "sampling", "validation", "processor")
    history = [{key: value for key, value in entry.items() if key not in clock} for entry in row["history"]]
    return {key: value for key, value in row.items() if key not in clock} | {"history": history}


@pytest.fixture(scope="module")
def whole(splits, tmp_path_factory):
    """The rows of a study, its folder, the labels that were evaluated, and the classes seen while training."""
    out, evaluated, seen = tmp_path_factory.mktemp("study"), [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "load", lambda name, split, **options: splits[split])
        evaluate, embed = study.evaluate, training.embed
        patch.setattr(
            study, "evaluate", lambda x, labels, ks: evaluated.append(list(labels)) or evaluate(x, labels, ks)
        )
        patch.setattr(training, "embed", lambda m, items, **k: seen.extend(items.classes) or embed(m, items, **k))
        rows = study.study("glyphs", **CELLS, seeds=2, out=out, progress=False, **SMALL)
        patch.setattr(plots.Figure, "png", lambda *_, **__: b"pixels")
        patch.setattr(plots.Figure, "svg", lambda *_, **__: "lines")
        study.report(rows, "glyphs", out=out)
    return rows, out, evaluated, seen


# ---------------------------------------------------------------------------------------------------------------------
# Runs
# ---------------------------------------------------------------------------------------------------------------------
def test_every_cell_runs_once_with_the_same_budget(whole):
    rows, out, *_ = whole
    cells = [(row["seed"], row["loss"], row["sampler"]) for row in rows]
    assert cells == [(seed, x, s) for seed in (0, 1) for x in CELLS["losses"] for s in CELLS["samplers"]]
    for row in rows:
        assert set(row) >= MEASURES and [entry["epoch"] for entry in row["history"]] == [1, 2, 3]
        assert row["recipe"]["epochs"] == row["epochs"] == 3 and row["batch_size"] == 32
        assert row["items"] == sum(entry["items"] for entry in row["history"])
        spent = sum(entry["seconds"] - entry["validation"] for entry in row["history"])
        assert row["seconds"] == pytest.approx(spent, rel=1e-3) and row["seconds"] > 0
        assert row["processor"] == pytest.approx(sum(entry["processor"] for entry in row["history"]), rel=1e-3)
        assert row["device"]["processor"] and row["device"]["threads"] >= 1 and row["versions"]["torch"]
    assert json.loads((out / "studies" / "glyphs.json").read_text()) == rows
    assert len({row["recall@1"] for row in rows}) > 6  # settings and seeds do differ


def test_the_epoch_is_that_of_the_best_recall_on_held_out_classes(whole):
    for row in whole[0]:
        recalls = [entry["recall@1"] for entry in row["history"]]
        assert row["epoch"] == 1 + int(np.argmax(recalls))
    assert len({row["epoch"] for row in whole[0]}) > 1  # it is not always the last


def test_test_classes_are_evaluated_once_a_run_and_never_seen_before(whole, splits):
    rows, _, evaluated, seen = whole
    assert evaluated == [splits["test"].targets] * len(rows)
    assert set(seen) and not set(seen) & set(splits["test"].classes)


def test_what_is_evaluated_is_the_chosen_epoch(splits, tmp_path):
    (row,) = study.study(
        losses=["triplet"], samplers=["local"], seeds=1, out=tmp_path, progress=False, **{**SMALL, "epochs": 6}
    )
    fit(splits["train"], Recipe(**row["recipe"]), out=tmp_path / "net.pt", where="cpu", progress=False)
    from sstutils import embed, evaluate, load_model

    model, content = load_model(tmp_path / "net.pt", "cpu")
    assert [e["recall@1"] for e in content["history"]] == pytest.approx([e["recall@1"] for e in row["history"]], 1e-5)
    measured = evaluate(embed(model, splits["test"], size=16), splits["test"].targets)
    assert measured == pytest.approx({key: row[key] for key in measured})


def test_without_held_out_classes_the_last_epoch_is_evaluated(tmp_path, undrawn):
    rows = study.study(losses=["sst"], samplers=["balanced"], seeds=1, holdout=0, out=tmp_path, progress=False, **SMALL)
    assert rows[0]["epoch"] == 3 and "recall@1" not in rows[0]["history"][0] and rows[0]["recall@1"] > 0
    names = [path.name for path in study.report(rows, out=tmp_path)]
    assert names == ["glyphs.md", "glyphs_comparison.png", "glyphs_comparison.svg"]  # there are no curves
    assert "Nothing was chosen" in (tmp_path / "studies" / "glyphs.md").read_text()


def test_an_interrupted_study_goes_on_where_it_stopped(whole, trained, tmp_path):
    some = {"losses": CELLS["losses"][1:], "samplers": ("local", "shuffled"), "seeds": 1}
    plan = {**some, "out": tmp_path, "progress": False, **SMALL}
    trained.most = 1
    with pytest.raises(KeyboardInterrupt):
        study.study(**plan)
    kept = json.loads((tmp_path / "studies" / "glyphs.json").read_text())
    assert len(kept) == len(trained.done) == 1
    trained.most = math.inf
    rows = study.study(**plan)
    assert len(trained.done) == 4 and len(set(trained.done)) == 4  # none of them twice
    assert rows[:1] == kept
    same = [row for row in whole[0] if Recipe(**row["recipe"]) in trained.done]
    assert [without_clock(row) for row in rows] == [without_clock(row) for row in same]
    assert study.study(**plan) == rows and len(trained.done) == 4
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("*.lock"))


def test_several_runs_at_once_are_the_same_runs(tmp_path):
    plan = {"losses": ["sst", "triplet"], "samplers": ["balanced"], "seeds": 1, "progress": False, **SMALL}
    one = study.study(**plan, out=tmp_path / "one")
    two = study.study(**plan, out=tmp_path / "two", jobs=2)
    for row, other in zip(one, two, strict=True):
        assert row["recipe"] == other["recipe"] and other["device"]["threads"] == 1
        assert [row[name] for name in MEASURES] == pytest.approx([other[name] for name in MEASURES], abs=1e-3)
    assert len(json.loads((tmp_path / "two" / "studies" / "glyphs.json").read_text())) == 2
    with pytest.raises(ValueError, match="jobs must be between 1 and 256, got 0"):
        study.study(**plan, out=tmp_path, jobs=0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a single process")
def test_ctrl_c_ends_all_that_run_at_once(tmp_path):
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from sstutils.cli import main; "
    command = [
        "study",
        "digits",
        "--losses",
        "sst",
        "--seeds",
        "1",
        "--jobs",
        "2",
        "--epochs",
        "3000",
        "--out",
        tmp_path,
    ]
    run = subprocess.Popen(
        [sys.executable, "-c", f"{start}raise SystemExit(main())", *map(str, command)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def children():
        told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(run.pid)], capture_output=True, text=True).stdout
        return [int(word) for word in told.split()]

    while len(children()) < 3:  # two runs, and what keeps account of them
        assert run.poll() is None, run.communicate()
        time.sleep(0.2)
    time.sleep(2)
    mine = children()
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=240)
    assert run.returncode == 130 and "sst: interrupted" in errors and "Traceback" not in errors
    deadline = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}") for pid in mine):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_another_recipe_or_other_data_are_trained_anew(splits, trained, tmp_path, monkeypatch):
    plan = {"losses": ["sst"], "samplers": ["shuffled"], "seeds": 1, "out": tmp_path, "progress": False, **SMALL}
    first = study.study(**plan)
    study.study(**{**plan, "epochs": 2})
    study.study(**{**plan, "scale": 0.2})
    assert len(trained.done) == 3
    monkeypatch.setattr(study, "load", lambda name, split, **options: splits["test" if split == "train" else "train"])
    other = study.study(**plan)
    assert len(trained.done) == 4 and other[0]["data"] != first[0]["data"]
    rows = json.loads((tmp_path / "studies" / "glyphs.json").read_text())
    assert len(rows) == 4 and rows[0] == first[0]


def test_runs_of_another_version_are_kept_and_passed_over(trained, tmp_path):
    path = tmp_path / "studies" / "glyphs.json"
    path.parent.mkdir()
    path.write_text(json.dumps([{"data": "x", "recall@1": 1.0}]))
    plan = {"losses": ["sst"], "samplers": ["shuffled"], "seeds": 1, "out": tmp_path, "progress": False, **SMALL}
    study.study(**plan)
    rows = json.loads(path.read_text())
    assert len(trained.done) == 1 and len(rows) == 2 and rows[0] == {"data": "x", "recall@1": 1.0}
    # A field that the recipe gained since has its default.
    del rows[1]["recipe"]["proxy_lr"]
    path.write_text(json.dumps(rows))
    study.study(**plan)
    assert len(trained.done) == 1
    path.write_text("[{")
    with pytest.raises(ValueError, match=r"glyphs\.json is not a study"):
        study.study(**plan)
    assert path.read_text() == "[{"
    for value in ('"high"', "null", "true", "NaN", "[1]"):
        path.write_text(f'[{{"recall@1": {value}}}]')
        with pytest.raises(ValueError, match=r"is not a study \(recall@1 must be a finite number, got .*\); move"):
            study.study(**plan)


def test_weights_that_changed_in_their_file_are_other_runs(trained, tmp_path):
    file, backbone = tmp_path / "w.pt", EmbeddingNet().backbone.state_dict()
    plan = {"losses": ["sst"], "samplers": ["balanced"], "seeds": 1, "out": tmp_path, "progress": False, **SMALL}
    for factor, count in ((1.0, 1), (1.0, 1), (0.5, 2)):
        torch.save(backbone | {"2.0.weight": backbone["2.0.weight"] * factor}, file)
        study.study(weights=str(file), **plan)
        assert len(trained.done) == count


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_plan_of_no_runs_trains_nothing(splits, tmp_path, jobs):
    how = {"jobs": jobs, "progress": False}
    assert study.train_cells(tmp_path / "a.json", splits["train"], splits["test"], [], **how) == []
    assert not (tmp_path / "a.json").exists()


def test_two_studies_in_one_file_are_refused(tmp_path):
    with exclusive(study.study_path("glyphs", tmp_path)), pytest.raises(OSError, match="another run is writing"):
        study.study(losses=["sst"], seeds=1, out=tmp_path, progress=False, **SMALL)


def test_a_diverged_run_is_counted_and_told(tmp_path, monkeypatch, undrawn):
    def some(dataset, recipe, **options):
        return training.train(dataset, replace(recipe, lr=1e3) if recipe.seed == 1 else recipe, **options)

    monkeypatch.setattr(study, "train", some)
    plan = {"losses": ["sst"], "samplers": ["balanced"], "seeds": 3, "out": tmp_path, "progress": False, **SMALL}
    rows = study.study(**plan)
    assert ["diverged" in row for row in rows] == [False, True, False]
    assert "no longer finite" in rows[1]["diverged"] and "recall@1" not in rows[1]
    monkeypatch.setattr(study, "train", None)
    assert study.study(**plan) == rows  # it is a result: not tried again
    mean = (rows[0]["recall@1"] + rows[2]["recall@1"]) / 2
    assert f"| SST | class-balanced | {mean:.3f} ±" in study.table(rows) and "| 2 of 3, 1 diverged |" in study.table(
        rows
    )
    study.report(rows, out=tmp_path)
    assert rows[1]["diverged"] in (tmp_path / "studies" / "glyphs.md").read_text()
    # None is left to draw.
    assert [path.suffix for path in study.report(rows[1:2], out=tmp_path)] == [".md"]
    assert "| – |" in study.table(rows[1:2]) and "| 0 of 1, 1 diverged |" in study.table(rows[1:2])


# ---------------------------------------------------------------------------------------------------------------------
# Losses of others
# ---------------------------------------------------------------------------------------------------------------------
def test_losses_of_unit_length_have_networks_of_unit_length():
    names = ("sst", "triplet", "MultiSimilarityLoss", "ProxyAnchorLoss")
    cells = study.cells("glyphs", losses=names, samplers=["local"], seeds=1)
    assert [cell.normalize for cell in cells] == [False, False, True, True]
    for wish in (True, False):
        cells = study.cells("glyphs", losses=names, samplers=["local"], seeds=1, normalize=wish)
        assert {cell.normalize for cell in cells} == {wish}


@pytest.mark.parametrize(("data", "turn"), [("omniglot", "turn"), ("glyphs", "warmup_turn")])
def test_a_class_with_a_proxy_is_not_turned(data, turn):
    plan = {"losses": ("sst", "MultiSimilarityLoss", "ProxyAnchorLoss"), "samplers": ["balanced"], "seeds": 1}
    assert [getattr(cell, turn) for cell in study.cells(data, **plan)] == [True, True, False]
    assert {getattr(cell, turn) for cell in study.cells(data, **plan, **{turn: True})} == {True}


def test_losses_of_others_choose_their_pairs_in_the_batch():
    labels = [0, 0, 1, 1]
    assert make_sampler(Recipe(), labels).positives == "epoch"
    assert make_sampler(Recipe(loss="MultiSimilarityLoss"), labels).positives == "batch"


def test_proxies_are_trained(splits, tmp_path):
    values = {key: value for key, value in SMALL.items() if key != "where"}
    moved = {}
    for factor in (0.0, 3.0):
        recipe = Recipe(**{**values, "loss": "ProxyAnchorLoss", "proxy_lr": factor, "epochs": 1})
        fit(splits["train"], recipe, out=tmp_path / f"{factor}.pt", progress=False, where="cpu")
        moved[factor] = load_checkpoint(tmp_path / f"{factor}.pt")["training"]["loss"]["proxies"]
    assert moved[0.0].shape == make_loss(recipe, 12).proxies.shape == (12, 16)
    assert ((moved[3.0] - moved[0.0]).norm(dim=1) > 1e-3).all()


# ---------------------------------------------------------------------------------------------------------------------
# Table and figures
# ---------------------------------------------------------------------------------------------------------------------
def test_the_interval_is_students():
    values = [0.7, 0.75, 0.9, 0.72]
    for level in (0.5, 0.95, 0.99):
        mean, half = plots.interval(values, level)
        low, high = stats.t.interval(level, 3, np.mean(values), stats.sem(values))
        assert (mean - half, mean + half) == pytest.approx((low, high))
    mean, half = plots.interval([0.3])
    assert mean == 0.3 and math.isnan(half)


def made(loss, sampler, seed, recall, size=200, **values):
    """A row of a study, of numbers that are known."""
    recipe = Recipe(loss=loss, sampler=sampler, seed=seed, batch_size=size, epochs=2, holdout=0.2)
    history = [
        {"epoch": 1, "recall@1": recall - 0.1, "seconds": 2.0, "validation": 0.5, "processor": 0.7, "steps": 10},
        {"epoch": 2, "recall@1": recall, "seconds": 3.0, "validation": 0.5, "processor": 0.8, "steps": 10},
    ]
    return {
        **{"loss": loss, "sampler": sampler, "batch_size": size, "seed": seed, "epochs": 2, "data": "x", "epoch": 2},
        **{"recall@1": recall, "map@r": recall / 2, "seconds": 4.0, "processor": 1.5, "items": 18, "history": history},
        **{"recipe": asdict(recipe), "device": {"processor": "abacus", "threads": 1}, "versions": {}, **values},
    }


ROWS = [
    made(loss, "balanced", seed, recall)
    for loss, recalls in {"triplet": (0.5, 0.7, 0.6), "sst": (0.52, 0.73, 0.64)}.items()
    for seed, recall in enumerate(recalls)
]


def test_the_table_has_means_intervals_and_differences_by_seed(tmp_path, undrawn):
    head, line, triplet, sst = study.table(ROWS).splitlines()
    assert head.split(" | ")[2:5] == ["Recall@1", "against triplet, class-balanced", "MAP@R"]
    assert head.count("|") == line.count("|") == triplet.count("|") == sst.count("|")
    half = stats.t.ppf(0.975, 2) * stats.sem([0.5, 0.7, 0.6])
    spaced = triplet.replace("\N{NO-BREAK SPACE}", " ")
    assert spaced.startswith(
        f"| triplet | class-balanced | 0.600 ± {half:.3f} |  | 0.300 ± {half / 2:.3f} | 2.0 | 18 |"
    )
    gap = stats.ttest_rel([0.52, 0.73, 0.64], [0.5, 0.7, 0.6]).confidence_interval()
    assert f"| +0.030 ±\N{NO-BREAK SPACE}{(gap.high - gap.low) / 2:.3f} |" in sst and sst.endswith("| 1.5 | 3 |")
    assert head.endswith("| CPU seconds | seeds |")
    # Where a GPU trains, the processor waits for it.
    graphics = study.table([{**row, "device": {"processor": "abacus", "gpu": "stone", "threads": 1}} for row in ROWS])
    assert "| items | seconds | seeds |" in graphics and "| 4.0 | 3 |" in graphics
    cut = [{**row, "options": {"images": 7}} for row in ROWS]
    study.report(cut, out=tmp_path)
    assert "6 runs on glyphs, 7 images per class: " in (tmp_path / "studies" / "glyphs.md").read_text()
    # One seed has no interval; several sizes have a column.
    assert "±" not in study.table(ROWS[:1])
    sizes_too = study.table([*ROWS, made("sst", "balanced", 0, 0.8, size=50)])
    assert "| B |" in sizes_too and "| SST | class-balanced | 50 | 0.800 | +0.300 |" in sizes_too


def test_the_report_is_written_whole(whole):
    rows, out, *_ = whole
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    figures = {f"figures/glyphs_{kind}.{suffix}" for kind in ("comparison", "curves") for suffix in ("png", "svg")}
    assert names == {"studies/glyphs.json", "studies/glyphs.md", *figures}
    text = (out / "studies" / "glyphs.md").read_text()
    assert study.table(rows) in text
    for words in (
        "18 runs on glyphs:",
        "2 seeds, 3 epochs each, batches of 32",
        "20% of the training classes",
        "`dim` = 16",
        "unit length",
    ):
        assert words in text
    with pytest.raises(ValueError, match="nothing to report"):
        study.report([], out=out)


@pytest.mark.parametrize(("device", "clock"), [({}, [0.7, 1.5]), ({"gpu": "stone"}, [1.5, 4.0])])
def test_curves_are_means_against_epochs_and_training_seconds(device, clock, tmp_path, monkeypatch, undrawn):
    drawn = {}
    progress = plots.progress
    monkeypatch.setattr(plots, "progress", lambda *args, **kw: drawn.setdefault("figure", progress(*args, **kw)))
    rows = [made("sst", sampler, seed, r) for sampler in ("local", "shuffled") for seed, r in enumerate((0.5, 0.7))]
    rows.append(made("triplet", "local", 0, 0.5))
    study.report([{**row, "device": row["device"] | device} for row in rows], out=tmp_path)
    by_epoch, other, by_steps, _, by_seconds, _ = drawn["figure"].axes
    assert [len(axes.lines) for axes in drawn["figure"].axes] == [2, 1, 2, 1, 2, 1] and other.get_title() == "shuffled"
    np.testing.assert_allclose(by_epoch.lines[0].get_xydata(), [[1, 0.5], [2, 0.6]])
    np.testing.assert_allclose(by_seconds.lines[0].get_xydata(), np.transpose([clock, [0.5, 0.6]]))  # no validation
    np.testing.assert_allclose(by_steps.lines[0].get_xydata(), [[10, 0.5], [20, 0.6]])
    band = by_epoch.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.4) and band[:, 1].max() == pytest.approx(0.7)
    assert by_seconds.get_xlabel() == ("seconds of training" if device else "CPU seconds of training")
    assert "SST, shuffled: 0.500 to 0.600 in" in drawn["figure"].alt
    for nothing in ({}, {("SST", "a"): []}, {("SST", "a"): [[]]}):
        with pytest.raises(ValueError, match="at least one run"):
            plots.progress(nothing)


# ---------------------------------------------------------------------------------------------------------------------
# Mistakes, and the command
# ---------------------------------------------------------------------------------------------------------------------
def test_photographs_without_a_gpu_are_studied_on_a_part_and_scaled_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SSTUTILS_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(runs, "PART", 12)
    monkeypatch.setattr(study, "load", load)
    noise = np.random.default_rng(0)
    for label in range(16):
        (tmp_path / "photos" / f"class{label:02}").mkdir(parents=True)
        for i in range(3):
            pixels = noise.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / f"class{label:02}" / f"{i}.png")
    photographs = {"resize": 20, "size": 16, "epochs": 1, "dim": 8, "warmup": 0.0, "where": "cpu", "progress": False}
    options = {"losses": ["sst"], "samplers": ["balanced", "shuffled"], "seeds": 1, "out": tmp_path, "holdout": 0.5}
    rows = study.study(f"folder:{tmp_path / 'photos'}", **options, **photographs)
    assert [row["options"] for row in rows] == [{"part": 12}] * 2
    assert {row["batch_size"] for row in rows} == {runs.ON_A_PART["batch_size"]}
    assert len(list((tmp_path / "cache").glob("folder-*-20-*.npy"))) == 1


def test_a_few_classes_are_studied_without_held_out_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "load", load)
    for label in range(4):
        (tmp_path / "few" / f"class{label}").mkdir(parents=True)
        for i in range(4):
            pixels = np.random.default_rng([label, i]).integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "few" / f"class{label}" / f"{i}.png")
    how = {"losses": ["sst"], "seeds": 1, "out": tmp_path, "progress": False, "where": "cpu", "dim": 8, "epochs": 2}
    rows = study.study(f"folder:{tmp_path / 'few'}", samplers=["balanced"], **how)
    assert rows[0]["recipe"]["holdout"] == 0 and rows[0]["epoch"] == 2
    with pytest.raises(ValueError, match=r"cannot hold out 2 of 2 classes: .*; with --holdout 0 the last epoch"):
        study.study(f"folder:{tmp_path / 'few'}", samplers=["balanced"], holdout=0.5, **how)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--losses", "sst", "triplt"], "loss must be one of"),
        (["--losses", "sst", "TripletMargnLoss"], "did you mean 'TripletMarginLoss'"),
        (["--losses", "sst", "SelfSupervisedLoss"], "needs more than a recipe holds"),
        (["--losses", "sst", "VICRegLoss"], "cannot be computed from embeddings and labels"),
        (["--losses", "sst", "sst"], "losses must be distinct and at least one; got sst, sst"),
        (["--samplers", "local", "lokal"], "sampler must be one of"),
        (["--sizes", "32", "1"], "batch_size must be between 2 and"),
        (["--seeds", "0"], "seeds must be between 1 and 1000, got 0"),
        (["--seed", "3"], "did you mean '--seeds'?"),
        (["--epochs", "0"], "epochs must be between 1 and"),
        (["--holdout", "0.95"], "cannot hold out 11 of 12 classes"),
        (["--recipe", "papr"], "recipe must be one of"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(options, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study, "train", None)
    assert cli.main(["study", "glyphs", "--out", str(tmp_path / "out"), *options]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("sst: error: ") and words in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("one", [{"loss": "sst"}, {"sampler": "local"}, {"seed": 3}])
def test_what_a_study_varies_is_given_as_lists(one):
    with pytest.raises(ValueError, match=f"a study varies the {next(iter(one))}"):
        study.cells("glyphs", **one)


def test_a_loss_of_a_package_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning.losses", None)
    with pytest.raises(ValueError, match="pip install pytorch-metric-learning"):
        study.cells("glyphs", losses=["sst", "MultiSimilarityLoss"])


def test_a_choice_that_a_data_set_does_not_have(monkeypatch, tmp_path):
    from sstutils import load

    monkeypatch.setattr(study, "load", load)
    with pytest.raises(ValueError, match="digits has no option images"):
        study.study("digits", images=4, out=tmp_path, progress=False)


def test_the_command_trains_tells_and_goes_on(trained, tmp_path, capsys, undrawn):
    command = ["study", "glyphs", "--losses", "sst", "ProxyAnchorLoss", "--samplers", "local", "--seeds", "1"]
    command += ["--epochs", "2", "--batch-size", "32", "--dim", "16", "--size", "16", "--no-turn"]
    command += ["--out", str(tmp_path)]
    trained.most = 1
    assert cli.main(command) == 130
    assert "glyphs.json holds the completed runs; repeat the command to continue" in capsys.readouterr().err
    trained.most = math.inf
    assert cli.main(command) == 0
    assert [recipe.loss for recipe in trained.done] == ["sst", "ProxyAnchorLoss"]
    assert all((recipe.epochs, recipe.holdout, recipe.turn) == (2, 0.2, False) for recipe in trained.done)
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith("| loss | batches |") and lines[2].startswith("| SST | local | ")
    assert [line for line in lines if not line.startswith("|")] == [
        str(tmp_path / name)
        for name in (
            "studies/glyphs.md",
            *(f"figures/glyphs_{kind}.{suffix}" for kind in ("comparison", "curves") for suffix in ("png", "svg")),
        )
    ]
    assert "2/2" in printed.err and "<" in printed.err  # runs done, time left
