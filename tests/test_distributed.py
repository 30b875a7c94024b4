"""Two processes, started as users start them, against one: the same steps, the same network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from in_processes import RECIPES, SMALL, data, run

from sstutils import Recipe, distributed, fit, load_checkpoint

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes did, on one thread each: their folder, histories by recipe, speed, an error, what they print.

    They are started once, which costs more than all that they train.
    """
    folder = tmp_path_factory.mktemp("processes")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*LAUNCH, str(Path(__file__).with_name("in_processes.py")), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "warning" not in done.stderr.lower()
    return folder, *json.loads((folder / "out.json").read_text()), done.stdout


@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_take_the_steps_of_one(two, name, tmp_path):
    folder, histories, *_ = two
    one = run(name, tmp_path / "one.pt")
    assert [row["items"] for row in one] == [row["items"] for row in histories[name]]
    for ours, theirs in zip(one, histories[name], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert ours.get("recall@1") == pytest.approx(theirs.get("recall@1"), abs=0.01)
    ours, theirs = (load_checkpoint(path)["training"] for path in (tmp_path / "one.pt", folder / f"{name}.pt"))
    for part in ("model", "loss"):  # proxies and running statistics are in them
        for weights, value in ours[part].items():
            # Adam divides by the size of gradients, and so makes the rounding of tiny ones large: by a step or two.
            assert torch.allclose(value.float(), theirs[part][weights].float(), rtol=1e-3, atol=1e-2), weights


def test_one_process_resumes_what_two_have_begun(two, tmp_path):
    folder, histories, *_ = two
    recipe = Recipe(**SMALL | RECIPES["local"] | {"epochs": 3})
    path = tmp_path / "local.pt"
    path.write_bytes((folder / "local.pt").read_bytes())
    again = fit(data(), recipe, out=path, resume=True, where="cpu", progress=False).history
    assert again[:2] == histories["local"]
    whole = fit(data(), recipe, where="cpu", progress=False).history
    assert again[2]["loss"] == pytest.approx(whole[2]["loss"], rel=1e-4)


def test_two_processes_measure_their_speed_and_refuse_what_they_cannot_divide(two):
    *_, speed, refused, _ = two
    assert min(speed) > 0
    assert refused == "neighborhoods must be a multiple of the number of processes, 2; got 3"


def test_the_command_takes_a_neighborhood_for_each_process_and_one_process_prints(two):
    folder, *_, printed = two
    assert "2 processes: a step is the mean of 2 neighborhoods" in printed
    assert printed.count("checkpoint after each epoch") == 1
    assert load_checkpoint(folder / "default.pt")["recipe"]["neighborhoods"] == 2


def test_in_one_process_there_is_nothing_to_share():
    rows = torch.randn(5, 3)
    layer = torch.nn.Linear(2, 2)
    assert distributed.world() == (0, 1)
    assert distributed.gather(rows, 5) is rows and distributed.mean(rows) is rows
    assert distributed.parallel(layer) is layer
    assert distributed.broadcast(lambda: 7) == distributed.rank_zero_first(lambda: 7) == 7
