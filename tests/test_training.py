"""Training: it learns, resumes bit for bit, stops when it must, and never leaves half a checkpoint."""

import inspect
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import tqdm.auto
from PIL import Image

from sstutils import (
    EmbeddingNet,
    Glyphs,
    Recipe,
    embed,
    fit,
    load,
    load_checkpoint,
    load_model,
    recall_at_k,
    recipe_for,
    runs,
    sst_loss,
    tensors,
    train,
)
from sstutils.augmentation import augment, crop
from sstutils.datasets.subsets import Readable
from sstutils.models import is_out_of_memory
from sstutils.recipes import MODERN, PAPER, make_loss, make_model, make_scheduler, view
from sstutils.sampling import ClassBalancedSampler
from sstutils.training import train_epoch

TINY = {"epochs": 3, "warmup": 0.3, "batch_size": 32, "dim": 32, "size": 16, "precision": "float32"}


@pytest.fixture(scope="module")
def glyphs(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return {split: Glyphs(root, split, classes=24, images=12, difficulty=0.5) for split in ("train", "test")}


@pytest.fixture
def run(glyphs, tmp_path):
    def run(resume=False, out=tmp_path / "net.pt", split="train", **values):
        return train(glyphs[split], Recipe(**{**TINY, **values}), out=out, resume=resume, where="cpu")

    return run


def numbers(history):
    """A history without its clock."""
    return [
        {key: value for key, value in row.items() if key not in ("seconds", "sampling", "validation", "processor")}
        for row in history
    ]


def test_training_raises_recall_on_unseen_classes(tmp_path):
    training, test = (Glyphs(tmp_path, split, classes=40, images=24) for split in ("train", "test"))
    recipe = Recipe(**{**TINY, "epochs": 10, "size": 32, "batch_size": 64})
    untrained = next(train(training, recipe, where="cpu")).model
    before = recall_at_k(embed(untrained, test), test.targets, (1,))[1]
    step = fit(training, recipe, progress=False, where="cpu")
    after = recall_at_k(embed(step.model, test), test.targets, (1,))[1]
    assert after > before + 0.15
    assert not step.model.training
    assert [row["epoch"] for row in step.history] == list(range(1, 11))
    assert step.history[-1]["loss"] < step.history[0]["loss"]


@pytest.mark.parametrize(
    ("loss", "sampler"),
    [("sst", "shuffled"), ("triplet", "local"), ("triplet", "balanced"), ("contrastive", "local")],
)
def test_losses_with_samplers(run, loss, sampler):
    steps = list(run(loss=loss, sampler=sampler, epochs=2, positives="batch"))
    assert np.isfinite([step.loss for step in steps]).all()
    assert {step.epoch for step in steps} == {0, 1}
    assert all(len(step.indices) <= 32 for step in steps)


def test_same_seed_same_numbers(run):
    once, again, other = (list(run(seed=seed, epochs=2)) for seed in (0, 0, 1))
    assert [s.loss for s in once] == [s.loss for s in again] != [s.loss for s in other]
    assert all(map(torch.equal, once[-1].model.parameters(), again[-1].model.parameters()))


@pytest.mark.parametrize(
    ("stop", "values"),
    [
        (0, {}),
        (5, {"holdout": 0.25}),
        (7, {"schedule": "plateau"}),
        (6, {"sampler": "balanced"}),
        pytest.param(4, {}, marks=pytest.mark.slow),
        pytest.param(9, {}, marks=pytest.mark.slow),
    ],
)
def test_resumed_run_equals_an_uninterrupted_one(run, tmp_path, stop, values):
    whole = list(run(out=tmp_path / "whole.pt", **values))[-1]
    for _ in itertools.islice(run(**values), stop):
        pass  # stopped in mid-epoch; the checkpoint holds the whole epochs before
    if stop == 0:
        next(run(**values))
    resumed = list(run(resume=True, **values))[-1]
    assert numbers(resumed.history) == numbers(whole.history)
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(weights, resumed.model.state_dict()[name]), name
    one, two = load_checkpoint(tmp_path / "whole.pt"), load_checkpoint(tmp_path / "net.pt")
    assert all(torch.equal(one["model"][name], two["model"][name]) for name in one["model"])


def test_held_out_classes_choose_the_epoch(run, glyphs, tmp_path):
    last = list(run(holdout=0.25, epochs=4))[-1]
    recalls = [row["recall@1"] for row in last.history]
    content = load_checkpoint(tmp_path / "net.pt")
    assert len(content["history"]) == 4
    if recalls.index(max(recalls)) < 3:  # then the chosen weights are not the last ones
        assert not torch.equal(content["model"]["head.weight"], content["training"]["model"]["head.weight"])
    assert torch.equal(content["model"]["head.weight"], last.model.state_dict()["head.weight"])


def test_divergence_stops_with_the_place_and_keeps_the_epoch_before(run, tmp_path):
    with pytest.raises(
        FloatingPointError, match=r"epoch 2: .* batch 2 of \d+ .*learning rate.*holds the last completed epoch"
    ):
        for step in run():
            if step.epoch == 1:
                with torch.no_grad():
                    step.model.head.weight.fill_(torch.nan)
    assert len(load_checkpoint(tmp_path / "net.pt")["history"]) == 1


@pytest.mark.parametrize(
    ("value", "last", "message"),
    [
        (torch.nan, True, "epoch 2: the weights are no longer finite"),
        (
            1e30,
            False,
            r"epoch 2: the embeddings of batch 2 of \d+ are no longer",
        ),  # distances overflow
        (1e30, True, "epoch 2: the weights are no longer finite"),
    ],
)
def test_divergence_between_losses_is_told_as_such(run, tmp_path, value, last, message):
    with pytest.raises(FloatingPointError, match=message):
        for step in run():
            if step.epoch == 1 and step.batch == (step.batches - 1) * last:
                with torch.no_grad():
                    step.model.head.weight.fill_(value)
    weights = load_checkpoint(tmp_path / "net.pt")["training"]["model"]
    assert all(part.isfinite().all() for part in weights.values())


def test_interrupted_run_leaves_a_usable_checkpoint(run, glyphs, tmp_path):
    for step in run():
        if step.epoch == 1:
            break
    model, content = load_model(tmp_path / "net.pt", "cpu")
    assert len(content["history"]) == 1
    assert embed(model, glyphs["test"]).isfinite().all()
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt"]  # nothing left aside


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, which this system cannot")
@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_goes_on_to_the_same_end(tmp_path, kills):
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), str(tmp_path), str(kills), "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    left = json.loads(done.stdout)
    assert len(left) == kills and len(set(left)) >= min(3, kills // 2)  # some kills fell early in a run, some late
    whole = load_checkpoint(tmp_path / "whole.pt")
    runs = [path for path in sorted(tmp_path.glob("*.pt")) if path.name != "whole.pt"]
    assert runs
    for path in runs:
        content = load_checkpoint(path)
        assert numbers(content["history"]) == numbers(whole["history"])
        for name, weights in whole["training"]["model"].items():
            assert torch.equal(weights, content["training"]["model"][name]), name
        assert all(torch.equal(whole["model"][name], content["model"][name]) for name in whole["model"])
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files, which Windows cannot")
def test_a_full_disk_is_told_and_the_old_checkpoint_stays(run, tmp_path):
    list(run(epochs=1))
    before = (tmp_path / "net.pt").read_bytes()
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY)); "
        "from sstutils.cli import main; train = ['train', 'digits', '--size', '16', '--epochs', '1', '--out']; "
        "print(main([*train, sys.argv[1], '--overwrite']), main([*train, sys.argv[2]]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "net.pt"), str(tmp_path / "new.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "2 2"
    lines = [line for line in done.stderr.splitlines() if line.startswith("sst: error: ")]
    for name, line in zip(("net.pt", "new.pt"), lines, strict=True):
        assert line.endswith(f"{name} (File too large): make room, or choose another file")
    assert (tmp_path / "net.pt").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"net.pt"}


def test_failed_write_keeps_the_old_checkpoint(run, tmp_path, monkeypatch):
    steps = run()
    next(steps)
    before = (tmp_path / "net.pt").read_bytes()

    def full_disk(path, content):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match=r"cannot write the checkpoint .*net.pt \(No space left"):
        list(steps)
    assert (tmp_path / "net.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt"]


def test_resume_refuses_another_recipe_or_data(run):
    next(run())
    with pytest.raises(ValueError, match=r"trained with lr 0\.003 \(now 0\.5\)"):
        next(run(resume=True, lr=0.5))
    with pytest.raises(ValueError, match="other data"):
        next(run(resume=True, split="test"))
    list(run(resume=True))
    with pytest.raises(ValueError, match="already has 3 epochs"):
        next(run(resume=True))
    assert len(list(run(resume=True, epochs=4))[-1].history) == 4


def test_training_ends_where_nothing_is_left_to_learn(tmp_path):
    """Three letters that differ in everything are soon apart: each neighborhood is then one class."""
    easy = Glyphs(tmp_path, "train", classes=6, images=24, difficulty=0.0)
    recipe = Recipe(**{**TINY, "batch_size": 24, "epochs": 40, "warmup": 0.2})
    last = list(train(easy, recipe, out=tmp_path / "net.pt"))[-1]
    assert 8 <= len(last.history) < 40  # not within the 8 epochs before local sampling
    assert not last.model.training
    with pytest.raises(ValueError, match="is finished: every neighborhood holds one class"):
        next(train(easy, recipe, out=tmp_path / "net.pt", resume=True))


def test_plateau_ends_training(run, tmp_path):
    last = list(run(schedule="plateau", patience=2, epochs=60, warmup=0.0, lr=1e-9))[-1]
    assert len(last.history) < 60
    assert "did not fall for 2 epochs" in load_checkpoint(tmp_path / "net.pt")["training"]["ended"]


def test_missing_and_damaged_checkpoints(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="sst train"):
        load_checkpoint(tmp_path / "none.pt")
    next(run())
    whole = (tmp_path / "net.pt").read_bytes()
    for damaged in (b"", b"no checkpoint", whole[: len(whole) // 2]):
        (tmp_path / "net.pt").write_bytes(damaged)
        with pytest.raises(ValueError, match="not a valid checkpoint"):
            load_checkpoint(tmp_path / "net.pt")


def test_a_checkpoint_that_was_tampered_with_is_refused(run, tmp_path):
    next(run())
    content = load_checkpoint(tmp_path / "net.pt")
    for name, value in (("optimizer", {}), ("sampler", 3), ("warmup", {"epoch": -1}), ("model", {})):
        torch.save({**content, "training": {**content["training"], name: value}}, tmp_path / "net.pt")
        with pytest.raises(ValueError, match=r"net\.pt does not hold what resuming needs .*train into"):
            next(run(resume=True))


def test_an_unfinished_checkpoint_of_an_older_version_is_used_but_not_resumed(run, glyphs, tmp_path):
    next(run())
    content = load_checkpoint(tmp_path / "net.pt")
    state = {name: value for name, value in content["training"].items() if name != "sampler"}
    torch.save({**content, "training": state}, tmp_path / "net.pt")
    assert embed(load_model(tmp_path / "net.pt", "cpu")[0], glyphs["test"]).isfinite().all()
    with pytest.raises(
        ValueError, match=r"net\.pt does not hold what resuming needs \('sampler'\), and may be of an older"
    ):
        next(run(resume=True))


def test_the_loop_fits_on_a_screen():
    lines = [line.strip() for line in inspect.getsource(train_epoch).splitlines()]
    assert sum(bool(line) and not line.startswith("#") for line in lines) <= 40


@pytest.fixture
def bars(monkeypatch):
    """Progress bars that are shown, each with what it has told."""
    shown = []

    class Bar(tqdm.auto.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.told, self.steps = [], []
            shown.append(self)

        def update(self, n=1):
            self.steps.append(n)
            return super().update(n)

        def set_description(self, text, **options):
            super().set_description(text, **options)
            self.told += [] if text in self.told else [text]

    monkeypatch.setattr("sstutils.training.tqdm", Bar)
    return shown


def test_the_time_left_counts_the_epochs_of_this_run_only(glyphs, tmp_path, bars):
    recipe, how = Recipe(**TINY), {"out": tmp_path / "net.pt", "where": "cpu"}
    fit(glyphs["train"], replace(recipe, epochs=2), **how)
    fit(glyphs["train"], recipe, resume=True, **how)
    one, other = bars
    assert other.initial == pytest.approx(one.n) and one.n == pytest.approx(one.total)
    assert other.n == pytest.approx(other.total) and other.total > one.total


@pytest.mark.parametrize("sampler, side, total", [("local", 0, 6 + 2 / 3), ("local", 8, 4.4167), ("balanced", 0, 6)])
def test_the_time_left_knows_of_small_images_and_neighborhoods_to_come(glyphs, bars, sampler, side, total):
    changed = {"epochs": 6, "warmup": 0.5, "warmup_size": side, "refresh": 2, "sampler": sampler}
    recipe = Recipe(**{**TINY, **changed})
    fit(glyphs["train"], recipe, where="cpu")
    # An embedding is a third of an epoch, and one of images with half of the side takes a quarter.
    assert bars[0].n == pytest.approx(bars[0].total) == pytest.approx(total, abs=1e-4)
    assert min(bars[0].steps) > 0
    searches = [f"neighborhoods for epoch {number} of 6" for number in (4, 5) if sampler == "local"]
    assert [text for text in bars[0].told if "neighborhoods" in text] == searches
    assert len(bars[0].told) == 6 + len(searches)


def test_hostile_checkpoint_is_not_executed(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"format": 1, "recipe": Attack()}, tmp_path / "net.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Attack()))
    for name in ("net.pt", "plain.pt"):
        with pytest.raises(ValueError, match="not a valid checkpoint"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("loss", [pytest.param("MultiSimilarityLoss", marks=pytest.mark.slow), "ProxyAnchorLoss"])
def test_losses_of_pytorch_metric_learning_by_name(run, tmp_path, loss):
    whole = list(run(loss=loss, proxy_lr=10.0))[-1]
    for _ in itertools.islice(run(loss=loss, proxy_lr=10.0, out=tmp_path / "cut.pt"), 5):
        pass
    again = list(run(loss=loss, proxy_lr=10.0, out=tmp_path / "cut.pt", resume=True))[-1]
    assert numbers(again.history) == numbers(whole.history)
    kept = load_checkpoint(tmp_path / "net.pt")["training"]["loss"]
    if loss == "ProxyAnchorLoss":  # proxies are trained, and kept
        assert kept["proxies"].shape == (12, TINY["dim"])
        fresh = make_loss(Recipe(loss=loss, dim=TINY["dim"]), 12)
        assert kept["proxies"].std() != fresh.proxies.std()
        assert torch.equal(kept["proxies"], load_checkpoint(tmp_path / "cut.pt")["training"]["loss"]["proxies"])


def test_losses_that_do_not_exist_or_need_more():
    with pytest.raises(ValueError, match="unknown loss 'MultySimilarityLoss'; did you mean 'MultiSimilarityLoss'"):
        make_loss(Recipe(loss="MultySimilarityLoss"))
    with pytest.raises(ValueError, match="SelfSupervisedLoss needs more than a recipe holds"):
        make_loss(Recipe(loss="SelfSupervisedLoss"))
    assert make_loss(Recipe(loss="TripletMarginLoss", margin=0.3)).margin == 0.3


def test_neighborhoods_are_kept_for_some_epochs(run):
    batches = {}
    for step in run(epochs=6, warmup=0.0, refresh=3):
        batches.setdefault(step.epoch, []).append(step.indices)
    assert batches[0] == batches[1] == batches[2] != batches[3] == batches[4] == batches[5]


def test_a_step_of_two_batches_has_their_mean_gradient(glyphs):
    """Against plain autograd: the same batches, one after the other, gradients averaged by hand."""
    recipe = Recipe(**{**TINY, "sampler": "balanced", "neighborhoods": 2, "augment": 0.0, "lr": 1e-3, "size": 32})
    step = next(train(glyphs["train"], recipe, where="cpu"))
    torch.manual_seed(recipe.seed)
    model = make_model(recipe)
    images, labels = tensors(glyphs["train"])
    start = {name: value.clone() for name, value in model.named_buffers() if "running" in name}
    total, seen = 0.0, []
    for half in (step.indices[: len(step.indices) // 2], step.indices[len(step.indices) // 2 :]):
        for name, value in model.named_buffers():
            if name in start:
                value.copy_(start[name])
        loss = sst_loss(model(images[half].float() / 255), labels[half])
        loss.backward()
        total += loss.item() / 2
        seen.append({name: value.clone() for name, value in model.named_buffers() if name in start})
    assert step.loss == pytest.approx(total, rel=1e-6)
    for name, weights in step.model.named_parameters():
        assert torch.allclose(weights.grad, dict(model.named_parameters())[name].grad / 2, rtol=1e-4, atol=1e-7), name
    for name, value in step.model.named_buffers():  # running statistics are those of the first batch
        if name in start:
            assert torch.allclose(value, seen[0][name]), name


NEEDS_COMPILER = pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=[pytest.mark.slow, NEEDS_COMPILER])])
def test_a_compiled_backbone_learns_the_same(glyphs, tmp_path, monkeypatch, backend):
    """Its graph is captured, and run as it is; turning it into C++ takes half a minute, and is slow."""
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compile_module(module, backend=backend))
    recipe = Recipe(**{**TINY, "epochs": 1, "sampler": "balanced"})
    plain, compiled = (
        fit(glyphs["train"], replace(recipe, compile=compile), progress=False, out=tmp_path / f"{compile}.pt")
        for compile in (False, True)
    )
    assert compiled.history[0]["loss"] == pytest.approx(plain.history[0]["loss"], rel=1e-3)
    model, _ = load_model(tmp_path / "True.pt")  # a checkpoint like any other
    assert embed(model, glyphs["test"]).isfinite().all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "tripplet"}, "loss must be one of sst, triplet, contrastive"),
        ({"epochs": 0}, "epochs must be between 1 and 1000000, got 0"),
        ({"k": 0}, "k must be between 1 and 1000000, got 0"),
        ({"lr": 0.0}, "lr must be between 1e-12 and 1000, got 0"),
        ({"holdout": 1.0}, "holdout must be between 0 and 0.999, got 1"),
        ({"warmup": -0.1}, "warmup must be between 0 and 0.999, got -0.1"),
        ({"lr": float("nan")}, "lr must be a finite number, got nan"),
    ],
)
def test_bad_recipe(values, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**values)


_NUMBERS = ("3e-4", "", b"3", True, np.True_, [3], (), {}, 1j, -(10**400), 10**400, 1e300, -1e300)
_NUMBERS += tuple(kind(value) for kind in (float, np.float32, torch.tensor) for value in (np.nan, np.inf, -np.inf))
WRONG = {
    "float": _NUMBERS,
    "int": (*_NUMBERS, -1, 2.5, 20.0, np.float64(20), "20", torch.tensor(2.0)),
    "bool": ("false", "true", "", "no", 0, 1, 1.0, [], torch.tensor(1)),
    "str": (3, True, b"sst", ["sst"], "x" * 10**6),
}


@pytest.mark.parametrize("entry", fields(Recipe), ids=lambda entry: entry.name)
def test_a_value_of_the_wrong_type_or_size_is_refused_by_its_name(entry):
    kind, _, optional = entry.type.partition(" | ")
    for value in (*WRONG[kind], *([] if optional else [None])):
        with pytest.raises(ValueError) as caught:
            Recipe(**{entry.name: value})
        assert str(caught.value).startswith(f"{entry.name} must be ")
        assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)


def test_numbers_of_numpy_and_paths_become_plain_values(tmp_path):
    given = {"batch_size": np.int64(64), "lr": np.float64(1e-3), "flip": np.True_, "scale": 1, "weights": tmp_path}
    recipe = Recipe(**given, seed=time.time_ns(), k=torch.tensor(3))
    values = [getattr(recipe, name) for name in (*given, "seed", "k")]
    assert [type(value) for value in values] == [int, float, bool, float, str, int, int]
    assert (recipe.batch_size, recipe.lr, recipe.flip, recipe.scale, recipe.k) == (64, 1e-3, True, 1.0, 3)


def test_what_is_too_much_is_told_at_the_door(run, glyphs):
    for name in ("neighborhoods", "dim", "size", "epochs", "batch_size", "augment", "lr"):
        with pytest.raises(ValueError, match=f"^{name} must be between .* and .*, got 1"):
            Recipe(**{name: 10**9})
    for name, value in (("scale", 0), ("augment", float("inf")), ("lr", 1e308)):
        with pytest.raises(ValueError, match=f"^{name} must be "):
            Recipe(**{name: value})
    for workers in (10**9, -1, 2.5, True):
        with pytest.raises(ValueError, match=r"^workers must be "):
            next(train(glyphs["train"], Recipe(), workers=workers))
        with pytest.raises(ValueError, match=r"^workers must be "):
            runs.default_workers(workers, "cpu")


@pytest.mark.parametrize("part", ["some", "0", "1.5", 10**20, -3, 2.5])
def test_a_part_that_is_none(part):
    with pytest.raises(ValueError, match=r"^part must be a number of images, auto or all; got "):
        runs.plan("digits", part=part)


def test_a_size_that_the_backbone_cannot_take_is_found_before_anything_is_written(run, tmp_path):
    with pytest.raises(ValueError, match="backbone small cannot take images of 33 x 33 pixels; set size to"):
        next(run(size=33))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("default", [torch.float64, pytest.param(torch.bfloat16, marks=pytest.mark.slow)])
def test_training_is_float32_whatever_the_default_is(run, tmp_path, default):
    torch.set_default_dtype(default)
    try:
        last = list(run(epochs=2, loss="ProxyAnchorLoss"))[-1]
    finally:
        torch.set_default_dtype(torch.float32)
    content = load_checkpoint(tmp_path / "net.pt")
    assert np.isfinite(last.loss)
    floats = [value for part in ("model", "loss") for value in content["training"][part].values()]
    floats += [value for of in content["training"]["optimizer"]["state"].values() for value in (of["exp_avg"],)]
    assert {value.dtype for value in floats if value.is_floating_point()} == {torch.float32}


def test_a_part_of_photographs_is_trained_on_by_the_values_for_parts():
    for part in ("auto", 300):
        recipe, options = runs.plan("cub200", part=part, where="cpu", epochs=3)
        assert options == {"part": runs.PART if part == "auto" else part}
        assert recipe == recipe_for("cub200", **runs.ON_A_PART | {"epochs": 3})
    assert runs.plan("cub200", part="all", where="cpu") == (recipe_for("cub200"), {})
    assert runs.plan("digits", part=300) == (recipe_for("digits"), {"part": 300})


def test_another_part_or_recipe_is_not_taken_for_that_of_the_checkpoint(tmp_path):
    out = tmp_path / "net.pt"
    runs.run("digits", out=out, part=300, epochs=1, dim=8, where="cpu", progress=False)
    how = {"out": out, "resume": True, "epochs": 2, "where": "cpu", "progress": False}
    with pytest.raises(ValueError, match=r"trained on 300 images \(asked for: all\); omit the part"):
        runs.run("digits", part="all", **how)
    with pytest.raises(ValueError, match=r"backbone 'small' \(now 'bn_inception'\).*omit the recipe"):
        runs.run("digits", "paper", **how)
    assert len(runs.run("digits", part="300", **how).history) == 2


def test_recipe_for_suggests_names():
    assert asdict(recipe_for("folder:x", lr=0.1)) == asdict(Recipe(lr=0.1))
    with pytest.raises(ValueError, match="did you mean 'epochs'"):
        recipe_for("glyphs", epoch=3)


def test_one_class_cannot_train(glyphs):
    from sstutils import ClassSubset

    with pytest.raises(ValueError, match="at least 2 classes"):
        next(train(ClassSubset(glyphs["train"], [0]), Recipe()))


def test_augment_moves_each_picture_its_own_way():
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    images[:, :, 8:24, 14:18] = 255
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(augment(images, 0.0, generator), images.float() / 255)
    moved = augment(images, 1.0, generator)
    assert len({picture.numpy().tobytes() for picture in moved}) == 4
    assert moved.min() >= 0 and moved.max() <= 1


def test_turned_classes_are_the_eight_symmetries_and_alike_within_a_class():
    picture = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(64).repeat_interleave(2)
    turned = augment(picture.expand(128, -1, -1, -1), 0.0, torch.Generator().manual_seed(1), labels)
    exact = picture[0].float() / 255
    symmetries = [torch.rot90(side, turns, (1, 2)) for side in (exact, exact.flip(2)) for turns in range(4)]
    found = [
        [i for i, symmetry in enumerate(symmetries) if torch.allclose(symmetry, image, atol=1e-4)] for image in turned
    ]
    assert all(len(which) == 1 for which in found)
    assert found[::2] == found[1::2]
    assert {which[0] for which in found} == set(range(8))


def test_plateau_halves_after_six_epochs_without_a_better_loss():
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make_scheduler(Recipe(schedule="plateau"), optimizer)
    rates = []
    for loss in [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.5, 1.0]:
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1.0] * 7 + [0.5] * 2


# ---------------------------------------------------------------------------------------------------------------------
# Photographs: crops, recipes
# ---------------------------------------------------------------------------------------------------------------------
def test_crop_cuts_windows_and_mirrors_half():
    generator = torch.Generator().manual_seed(0)
    images = torch.arange(9 * 11).view(1, 1, 9, 11).expand(400, 3, 9, 11).contiguous()
    seen = set()
    for cut in crop(images, 6, True, generator):
        assert torch.equal(cut[0], cut[2])
        mirrored = bool(cut[0, 0, 0] > cut[0, 0, 1])
        plain = cut[0].flip(1) if mirrored else cut[0]
        top, left = divmod(int(plain[0, 0]), 11)
        assert torch.equal(plain, images[0, 0, top : top + 6, left : left + 6])
        seen.add((top, left, mirrored))
    assert len(seen) == 4 * 6 * 2  # every window, both ways
    assert torch.equal(crop(images[:1, :, :, :9], 9, False, generator), images[:1, :, :, :9])


@pytest.mark.parametrize(("turn", "always"), [({"warmup_turn": True}, False), ({"turn": True}, True), ({}, None)])
def test_warmup_sees_small_and_turned_images_and_local_sampling_whole_ones(run, monkeypatch, turn, always):
    groups, sides, forward = [], [], EmbeddingNet.forward

    def see(*args):
        groups.append(args[3])
        return augment(*args)

    def take(network, images):
        if network.training:
            sides.append(images.shape[2:])
        return forward(network, images)

    monkeypatch.setattr("sstutils.training.augment", see)
    monkeypatch.setattr(EmbeddingNet, "forward", take)
    steps = {step.epoch: step.batches for step in run(epochs=2, warmup=0.5, size=32, warmup_size=24, **turn)}
    assert sides == [(24, 24)] * steps[0] + [(32, 32)] * steps[1]
    early, late = groups[: steps[0]], groups[steps[0] :]
    if always is None:
        assert early + late == [None] * len(groups)
    else:
        assert all(len(set(found.tolist())) > 1 for found in early)  # each class by itself
        assert all((found == 0).all() if always else found is None for found in late)


def test_evaluation_sees_the_centre(glyphs):
    torch.manual_seed(0)
    model = EmbeddingNet(dim=4, precision="float32").eval()
    recipe = Recipe(resize=32, size=24)
    images, _ = tensors(glyphs["test"])
    assert torch.allclose(embed(model, glyphs["test"], **view(recipe)), model(images[:, :, 4:28, 4:28]), atol=1e-5)
    assert view(Recipe()) == {"size": 32, "crop": None}


def test_recipes_by_name():
    paper = recipe_for("cub200")
    assert paper == recipe_for("glyphs", "paper") == Recipe(**PAPER)
    assert (paper.loss, paper.batch_size, paper.k, paper.dim, paper.lr) == ("sst", 200, 5, 512, 1e-4)
    assert (paper.epochs, paper.patience, paper.weight_decay, paper.normalize) == (150, 15, 1e-4, False)
    modern = recipe_for("sop", "modern", epochs=7)
    assert (modern.backbone, modern.epochs) == ("resnet50", 7)
    assert all(getattr(recipe_for("sop", "modern"), name) == value for name, (value, _) in MODERN.items())
    assert all(len(reason) > 20 for _, reason in MODERN.values())
    with pytest.raises(ValueError, match="recipe must be one of default, small, features, paper, modern; got 'papre'"):
        recipe_for("cub200", "papre")
    with pytest.raises(ValueError, match="resize must be 0 or at least size, 32; got 16"):
        Recipe(resize=16)


def test_photographs_with_workers_crops_and_frozen_statistics(tmp_path):
    data = photographs(tmp_path)
    recipe = Recipe(
        resize=20, size=16, flip=True, augment=0, batch_size=12, per_class=4, epochs=2, batch_norm="frozen", dim=8
    )
    runs = [fit(data, recipe, progress=False, workers=workers) for workers in (0, 2)]
    assert runs[0].history[-1]["loss"] == runs[1].history[-1]["loss"]
    torch.manual_seed(recipe.seed)
    before = make_model(recipe).state_dict()
    after = runs[0].model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if "running" in name)
    assert not torch.equal(before["head.weight"], after["head.weight"])


def photographs(folder, classes=6, images=4):
    rng = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True, exist_ok=True)
        for i in range(images):
            pixels = rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class{label}" / f"{i}.png")
    return load(f"folder:{folder}", "train")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_replaced_counted_and_named(tmp_path, workers, recwarn):
    data = photographs(tmp_path)
    path, _ = data.samples[5]
    Path(path).write_bytes(Path(path).read_bytes()[:100])
    recipe = Recipe(size=16, batch_size=12, per_class=4, epochs=2, dim=8)
    step = fit(data, recipe, progress=False, workers=workers)
    assert [row["unreadable"] for row in step.history] == [1, 1]
    assert [row["items"] for row in step.history] == [12, 12]
    if not workers:  # those of workers go to their own standard error
        (warning,) = [str(w.message) for w in recwarn if "cannot be read" in str(w.message)]
        assert path in warning
        assert "another image of its class replaces it" in warning
    with pytest.raises(OSError, match=r"^image .* cannot be read .*repair it or move it away$"):
        fit(data, recipe, progress=False, workers=workers, strict=True)


def test_images_that_were_unreadable_before_a_stop_still_count(tmp_path):
    data = photographs(tmp_path / "data")
    Path(data.samples[5][0]).write_bytes(b"")
    recipe = Recipe(sampler="balanced", size=16, batch_size=12, per_class=4, epochs=1, dim=8)
    with pytest.warns(UserWarning, match="cannot be read"):
        fit(data, recipe, progress=False, out=tmp_path / "net.pt")
    with mock.patch.object(ClassBalancedSampler, "__iter__", lambda _: iter([[0, 1, 8, 9]])):
        step = fit(data, replace(recipe, epochs=2), progress=False, out=tmp_path / "net.pt", resume=True)
    assert [row["unreadable"] for row in step.history] == [1, 1]


def test_the_stand_in_is_of_the_same_class(tmp_path):
    data = photographs(tmp_path)
    for index in (3, 4, 7):
        Path(data.samples[index][0]).write_bytes(b"")
    seen = Readable(data)
    with pytest.warns(UserWarning, match="cannot be read"):
        items = [seen[index] for index in range(12)]
    assert [target for _, target in items] == data.targets
    for index, other in {3: 0, 4: 5, 7: 5, 8: 8}.items():
        assert np.array_equal(np.asarray(items[index][0]), np.asarray(data[other][0]))
    assert seen.unreadable.nonzero().flatten().tolist() == [3, 4, 7]
    for index in (0, 1, 2):
        Path(data.samples[index][0]).write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(OSError, match="no image of class 'class0' can be read"):
        [seen[index] for index in range(4)]


def test_a_second_run_into_the_same_file_is_refused(run):
    steps = run()
    next(steps)
    with pytest.raises(OSError, match=r"another run is writing .*net\.pt: wait for it, or choose another file"):
        next(run())
    steps.close()
    next(run())  # the lock went with the run


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes"),  # Windows
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes. Error code 12"),
        RuntimeError("std::bad_alloc"),
        MemoryError(),
    ],
)
def test_out_of_memory_says_what_to_lower(run, monkeypatch, error):
    whole = EmbeddingNet.forward

    def fail(model, images):
        if model.training:
            raise error
        return whole(model, images)

    monkeypatch.setattr(EmbeddingNet, "forward", fail)
    expected = (
        r"batches of 32 images of 16 x 16; lower batch_size or size or set precision to bfloat16; .*net\.pt holds"
    )
    with pytest.raises(MemoryError, match=expected):
        next(run())
    monkeypatch.setattr(EmbeddingNet, "forward", lambda *_: (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        next(run())


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.empty(1 << 50, dtype=torch.uint8),
        lambda: torch.empty(1 << 56, dtype=torch.uint8).sum(),
        lambda: np.empty(1 << 50),
        lambda: bytearray(1 << 62),
    ],
)
def test_what_the_system_says_when_memory_runs_out_is_understood(ask):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        ask()
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("a bug")) and not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(
    ("threads", "values", "expected"),
    [
        (2, {"precision": "bfloat16"}, 1),  # see calm_threads
        (2, {"precision": "float32"}, 2),
        (3, {"precision": "bfloat16"}, 3),
        (2, {"precision": "bfloat16", "backbone": "resnet18"}, 2),
    ],
)
def test_the_small_network_trains_on_one_of_two_threads_in_bfloat16(run, two_threads, threads, values, expected):
    torch.set_num_threads(threads)
    left, whole, broken = (run(epochs=1, **values) for _ in range(3))
    next(left)
    assert torch.get_num_threads() == expected
    left.close()
    assert torch.get_num_threads() == threads
    if expected < threads:
        assert {torch.get_num_threads() for _ in whole} == {expected}
        assert torch.get_num_threads() == threads
    with (
        mock.patch("sstutils.training.check_finite", side_effect=FloatingPointError),
        pytest.raises(FloatingPointError),
    ):
        next(broken)
    assert torch.get_num_threads() == threads
