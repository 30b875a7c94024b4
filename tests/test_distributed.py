"""Two processes, started as users start them, against one: the same steps, the same network."""

import os
import subprocess
import sys

import pytest
import torch

from sstutils import distributed, load_checkpoint

VALUES = {"warmup": 0.25, "dim": 16, "batch-size": 60, "precision": "float32", "device": "cpu", "seed": 3}
RECIPE = ["train", "digits", *(word for name, value in VALUES.items() for word in (f"--{name}", str(value)))]
LAUNCH = {
    1: [sys.executable, "-m", "sstutils"],
    2: [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "sstutils"],
}


def trained(processes, out, *options):
    """Train by the command line in so many processes; the checkpoint."""
    done = start(processes, out, *options)
    assert done.returncode == 0, done.stderr[-3000:]
    return load_checkpoint(out)


def start(processes, out, *options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*LAUNCH[processes], *RECIPE, "--out", str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


def test_two_processes_take_the_steps_of_one_and_one_goes_on_with_them(folder):
    options = ("--neighborhoods", "2", "--holdout", "0.4", "--refresh", "2", "--schedule", "constant")
    whole = trained(1, folder / "whole.pt", *options, "--epochs", "4")
    two = trained(2, folder / "two.pt", *options, "--epochs", "2")
    assert two["recipe"] == {**whole["recipe"], "epochs": 2}
    again = trained(1, folder / "two.pt", "--resume", "--epochs", "4")
    for one, other in zip(whole["history"], again["history"], strict=True):
        assert one["items"] == other["items"]
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["recall@1"] == pytest.approx(other["recall@1"], abs=0.01)


def test_a_step_of_several_neighborhoods_is_their_mean(folder):
    """The default under torchrun, told on the screen: as many neighborhoods in a step as processes."""
    done = start(2, folder / "default.pt", "--epochs", "1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 processes: a step is the mean of 2 neighborhoods" in done.stdout
    assert done.stdout.count("checkpoint after each epoch") == 1  # one process speaks
    assert load_checkpoint(folder / "default.pt")["recipe"]["neighborhoods"] == 2


def test_what_layers_draw_goes_with_the_batch(folder):
    """Dropout, of which this network has some, takes the same numbers in one process and in two."""
    options = ("--backbone", "mobilenet_v3_small", "--sampler", "balanced", "--epochs", "1", "--neighborhoods", "2")
    one, two = (trained(processes, folder / f"dropout{processes}.pt", *options) for processes in (1, 2))
    assert one["history"][0]["loss"] == pytest.approx(two["history"][0]["loss"], abs=1e-6)


def test_two_processes_measure_their_pace(folder):
    script = folder / "paced.py"
    script.write_text(
        "from sstutils import Recipe, distributed\n"
        "from sstutils.study.forecast import measure_speed\n"
        "with distributed.join_processes('cpu'):\n"
        "    assert min(measure_speed(Recipe(size=16, dim=8), 'cpu')) > 0\n"
    )
    command = [*LAUNCH[2][:-2], str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


def test_what_cannot_be_divided_is_refused_by_all(folder):
    done = start(2, folder / "three.pt", "--neighborhoods", "3", "--epochs", "1")
    assert done.returncode != 0
    assert "neighborhoods must be a multiple of the number of processes, 2; got 3" in done.stderr
    assert not (folder / "three.pt").exists()


def test_alone_there_is_nothing_to_do():
    rows = torch.randn(5, 3)
    assert distributed.world() == (0, 1)
    assert distributed.gather(rows, 5) is rows
    assert distributed.broadcast(lambda: 7) == distributed.rank_zero_first(lambda: 7) == 7
    kept = rows.clone()
    distributed.all_reduce([rows])
    assert torch.equal(rows, kept)
