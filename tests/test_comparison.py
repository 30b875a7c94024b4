"""The comparison: equal tuning on held-out training classes, runs paired by seed, and differences as scipy has them."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from sstutils import Glyphs, Recipe, embed, recall_at_k, study, train
from sstutils.figures import plots
from sstutils.figures.plots import interval
from sstutils.study import comparison

SMALL = {"batch_size": 32, "dim": 16, "size": 16, "precision": "float32"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A comparison of two methods on 12 + 12 letters: its folder, and the data that each run was given."""
    root = tmp_path_factory.mktemp("data")
    splits = {split: Glyphs(root, split, classes=24, images=8, difficulty=0.5) for split in ("train", "test")}
    out, given, train_cells = tmp_path_factory.mktemp("out"), [], comparison.train_cells
    begun, report = [], comparison.report

    def watched(path, training, test, plan, **options):
        given.append((path.stem, training, test, plan))
        return train_cells(path, training, test, plan, **options)

    def seldom(data, out):
        """Make the first report, of few runs; pixels of the last one alone, which cost as much as twenty runs."""
        if not begun:
            with pytest.MonkeyPatch.context() as undrawn:
                undrawn.setattr(plots.Figure, "png", lambda *_, **__: b"pixels")
                begun.append(report(data, out))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots.Figure, "svg", lambda *_, **__: "lines")
        budget = {"part": 64, "trial": 2, "epochs": 2, "last": False, "classes": (6,), "sizes": (16,), "k": (1,)}
        patch.setattr(comparison, "BUDGETS", {"glyphs": budget})
        patch.setattr(comparison, "RATES", (1e-3, 3e-3))
        kept = ("SST", "triplet", "multi-similarity")
        few = {name: (fixed, own[:2]) for name, (fixed, own) in comparison.METHODS.items() if name in kept}
        patch.setattr(comparison, "METHODS", {name: (fixed | SMALL, own) for name, (fixed, own) in few.items()})
        patch.setattr(comparison, "load", lambda name, split, download=False: splits[split])
        patch.setattr(comparison, "train_cells", watched)
        patch.setattr(comparison, "report", seldom)
        comparison.compare("glyphs", out, seeds=2)
        again = len(given)
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*.json")}
        comparison.compare("glyphs", out, seeds=2)
        assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.json")}  # nothing was trained again
        report("glyphs", out)
    return out, given[:again], splits


def test_every_method_has_as_many_trials():
    for data in comparison.BUDGETS:
        trials = comparison.trials(data)
        assert {len(set(recipes)) for recipes in trials.values()} == {12}
        for recipes in trials.values():  # only the learning rate and one number vary
            names = [name for name in vars(recipes[0]) if len({getattr(recipe, name) for recipe in recipes}) > 1]
            assert len(names) == 2
            assert "lr" in names


def test_trials_never_see_the_test_classes_and_the_best_on_held_out_ones_is_chosen(made):
    out, given, _ = made
    (tried,) = (entry for entry in given if entry[0] == "glyphs_trials")
    assert tried[2] is None
    rows = study.read_rows(out / "studies" / "glyphs_trials.json")
    assert all(
        "recall@1" not in row and row["held-out recall@1"] == max(h["recall@1"] for h in row["history"]) for row in rows
    )
    runs = study.read_rows(out / "studies" / "glyphs.json")
    for method in ("SST", "multi-similarity"):
        best = max(
            (row for row in rows if comparison.method_of(row) == method), key=lambda row: row["held-out recall@1"]
        )
        used = {
            (r["recipe"]["lr"], r["recipe"]["scale"], r["recipe"]["loss"])
            for r in runs
            if comparison.method_of(r) == method
        }
        assert used == {tuple(best["recipe"][name] for name in ("lr", "scale", "loss"))}


def test_runs_are_paired_by_seed(made):
    out, given, _ = made
    runs = pd.read_csv(out / "studies" / "glyphs.csv")
    settings = runs.groupby(["method", "batches", "classes", "batch_size", "k"])
    assert (settings.seed.apply(sorted).map(tuple) == (0, 1)).all()
    # three methods with four kinds of batches; of SST also two starts, a size and a number of classes twice each, a k
    assert len(settings) == 3 * 4 + 2 + 2 + 2 + 1
    some = [training for _, training, _, plan in given if len(training.classes) == 6]
    assert len(some) == 2
    assert list(some[0].classes) != list(some[1].classes)  # another choice with another seed


def test_differences_and_intervals_are_those_of_a_paired_t_test(made):
    runs = pd.read_csv(made[0] / "studies" / "glyphs.csv")
    runs["recall@1"] = np.random.default_rng(0).uniform(size=len(runs))
    found = comparison.claims(runs)
    a, b = ("SST", "shuffled"), ("triplet", "shuffled")
    one, other = (
        runs.query("method == @m and batches == @s and classes == 12 and batch_size == 32").sort_values("seed")[
            "recall@1"
        ]
        for m, s in (a, b)
    )
    mean, half = interval(found["losses"]["SST less triplet", "shuffled"])
    expected = stats.ttest_rel(one, other).confidence_interval()
    assert np.allclose((mean - half, mean + half), expected)
    gain = found["circumstances"]["SST", "B = 16"]
    local, balanced = (
        runs.query("method == 'SST' and batches == @s and batch_size == 16").set_index("seed")["recall@1"]
        for s in ("local after 50%", "class-balanced")
    )
    assert np.allclose(gain, local - balanced)
    usual = runs.query("method == 'SST' and classes == 12 and batch_size == 32")
    one = usual.query("k == 1").set_index("seed")["recall@1"]
    balanced = usual.query("batches == 'class-balanced'").set_index("seed")["recall@1"]
    assert np.allclose(found["circumstances"]["SST", "k = 1"], one - balanced)


def test_the_last_epoch_is_evaluated_where_it_is_asked_for(tmp_path):
    data = Glyphs(tmp_path, "train", classes=12, images=8, difficulty=0.5)
    recipe = Recipe(**SMALL, sampler="balanced", epochs=4, lr=0.01, holdout=0.2)
    how = {"where": "cpu", "progress": False}
    (row,) = study.train_cells(tmp_path / "last.json", data, data, [recipe], last=True, **how)
    (best,) = study.train_cells(tmp_path / "best.json", data, data, [recipe], **how)
    for step in train(data, recipe, where="cpu"):
        weights = deepcopy(step.model.state_dict())
    step.model.load_state_dict(weights)
    assert row["recall@1"] == recall_at_k(embed(step.model, data, size=16), data.targets, (1,))[1] != best["recall@1"]
    assert (row["epoch"], best["epoch"] < 4) == (4, True)


def test_a_budget_between_two_epochs_is_interpolated():
    row = {"history": [{"steps": 10, "recall@1": 0.2}, {"steps": 10, "recall@1": 0.6}]}
    assert comparison.recall_at(row, "steps", 15) == pytest.approx(0.4)


def test_the_overlap_of_regions_is_that_of_a_loop():
    x = torch.cat([torch.randn(30, 4, generator=torch.Generator().manual_seed(i)) + 20 * i for i in range(3)])
    labels = torch.tensor([0] * 30 + [0, 1] * 15 + [0, 1, 2] * 10)
    distances = torch.cdist(x, x).fill_diagonal_(torch.inf)
    expected = []
    for region in range(3):
        items = range(30 * region, 30 * region + 30)
        share = np.mean([(labels[distances[i].argsort()[:10]] != labels[i]).double().mean() for i in items])
        expected.append((30, round(float(share), 4)))
    assert study.local_overlap(x, labels, size=30) == sorted(expected, key=lambda region: region[1])


def test_the_overlap_halfway_is_that_of_a_run_that_ends_there(made):
    """Until local sampling begins, a run is the class-balanced one; measuring in between changes nothing."""
    rows = study.read_rows(made[0] / "studies" / "glyphs.json")
    of = {
        (comparison.method_of(r), comparison.sampler_of(r), r["seed"]): r
        for r in rows
        if not r["options"] and r["batch_size"] == 32 and r["recipe"]["k"] == 5
    }
    for method, seed in (("SST", 0), ("triplet", 1)):
        local, balanced = (of[method, name, seed] for name in ("local after 50%", "class-balanced"))
        assert local["overlap"]["halfway"] == balanced["overlap"]["halfway"]
        assert sum(count for count, _ in local["overlap"]["end"]) == 10 * 8  # two of twelve letters are held out
    for row in of.values():
        if "overlap" in row and row["epoch"] == 1:  # the chosen epoch is evaluated, here that of halfway
            assert row["overlap"]["end"] == row["overlap"]["halfway"]


def test_the_report_has_every_trial_and_every_difference(made):
    out, _, splits = made
    text = (out / "studies" / "glyphs.md").read_text()
    for row in study.read_rows(out / "studies" / "glyphs_trials.json"):
        assert f"{row['held-out recall@1']:.3f}" in text
    assert "| SST less triplet | class-balanced |" in text
    assert "| local from the start | multi-similarity |" in text
    pixels = splits["test"].data[..., 0].reshape(len(splits["test"]), -1)
    nearest = NearestNeighbors(n_neighbors=1).fit(pixels).kneighbors(return_distance=False)[:, 0]
    recall = np.mean(np.array(splits["test"].targets)[nearest] == splits["test"].targets)
    assert f"Raw pixels, with no network at all, reach Recall@1 {recall:.3f}" in text
    for kind in ("comparison", "losses", "samplers", "circumstances", "curves", "overlap"):
        assert (out / "figures" / f"glyphs_{kind}.png").stat().st_size > 10_000
        assert f"../figures/glyphs_{kind}.png" in text
