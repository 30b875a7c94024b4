"""The data sets of the paper, from their archives on a server to the figures, one command each.

The archives are miniatures in the true formats (see test_photos). Training runs in a process of its own, which is
killed in the middle, and is resumed here.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_photos import CASES, archive_of

from sstutils import load_checkpoint
from sstutils.cli import main
from sstutils.photos.archives import Download

FIGURES = {"cub200": ("cub200", "cub200"), "cars196": ("cars196", "cars196"), "sop": ("stanford", "stand")}
RECIPE = (
    "--backbone small --weights none --resize 20 --size 16 --dim 8 --batch-size 12 --lr 0.001 --head frozen"
    " --device cpu"
)
# A process of its own must know that the archives are miniatures.
COMMAND = """
import sys
from sstutils import datasets
from sstutils.cli import main
getattr(datasets, sys.argv[1]).counts = eval(sys.argv[2])
raise SystemExit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "cub200")) for name in FIGURES]
)
def test_download_train_kill_resume_evaluate_figures(name, monkeypatch, tmp_path, serve, capsys):
    cls, make, counts = CASES[name]
    away, out = tmp_path / "away", tmp_path / "output"
    files = dict(make())
    broken = next(path for path in files if path.lower().endswith(".jpg"))  # the first is a training image
    files[broken] = files[broken][:60]
    archive_of(cls, files, away)
    offers = [
        Download(d.name, None, hashlib.md5((away / d.name).read_bytes()).hexdigest(), (serve(away / d.name),))
        for d in cls.downloads
    ]
    monkeypatch.setattr(cls.__bases__[0], "counts", counts)
    monkeypatch.setattr(cls.__bases__[0], "downloads", tuple(offers))
    monkeypatch.setenv("SSTUTILS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    assert main(["data", name, "--download"]) == 0
    assert f"{counts['train'][1]} images of {counts['train'][0]} classes" in capsys.readouterr().out

    checkpoint = out / "checkpoints" / f"{name}.pt"
    if name == "cub200":
        epochs = trained_until_killed(cls, counts, checkpoint)
        assert main(["train", name, "--part", "all", "--resume", "--epochs", str(epochs + 2)]) == 0
    else:  # the way back after a kill is the same for all
        assert main(["train", name, "--part", "all", *RECIPE.split(), "--epochs", "2"]) == 0
    done = capsys.readouterr().out
    content = load_checkpoint(checkpoint)
    assert [row["epoch"] for row in content["history"]] == list(range(1, content["recipe"]["epochs"] + 1))
    assert content["recipe"]["head"] == "frozen" and content["data"]["options"] == {}
    assert {row["unreadable"] for row in content["history"]} == {1}
    assert "could not be read, replaced by others of their classes: 1" in done
    assert list((tmp_path / "data").glob("*-train-20-*.npy")), "later epochs read the scaled pictures"

    assert main(["evaluate", str(checkpoint), "--out", "result.json"]) == 0
    results = json.loads(Path("result.json").read_text())
    assert {"map@r", "nmi", "recall@1"} <= set(results["results"])
    assert results["recipe"]["seed"] == 0
    assert results["measured_on"]["name"] == name and results["measured_on"]["images"] == counts["test"][1]

    assert main(["figures", "--data", name]) == 0
    example, tsne = FIGURES[name]
    stems = ("idea", "Triplet", "SymTriplet", f"{example}_example", f"{tsne}_TSNE")
    expected = {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg", "json")}
    assert {path.name for path in (out / "figures").iterdir()} == expected
    assert not [path for path in tmp_path.rglob("*.part")]


def trained_until_killed(cls, counts, checkpoint):
    """Train in a process of its own, which is killed after an epoch; return how many it has completed."""
    name = checkpoint.stem
    train = [sys.executable, "-c", COMMAND, cls.__name__, repr(counts), "train", name, "--part", "all", *RECIPE.split()]
    run = subprocess.Popen([*train, "--epochs", "100"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        while not checkpoint.exists() or not load_checkpoint(checkpoint)["history"]:
            assert run.poll() is None, run.communicate()
            time.sleep(0.1)
    finally:
        run.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        run.communicate()
    done = len(load_checkpoint(checkpoint)["history"])
    assert 1 <= done < 100
    return done


def test_without_a_gpu_a_part_is_trained_and_the_whole_is_foretold(monkeypatch, tmp_path, capsys, undrawn):
    from sstutils import runs

    cls, make, counts = CASES["cub200"]
    archive_of(cls, make(), tmp_path)
    monkeypatch.setattr(cls.__bases__[0], "counts", counts)
    monkeypatch.setattr(runs, "PART", 30)
    monkeypatch.setenv("SSTUTILS_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["train", "cub200", *RECIPE.split(), "--epochs", "2", "--no-cache"]) == 0
    told = capsys.readouterr().out
    assert "30 images of 15 classes" in told
    assert "no GPU found: training on a part, 2 epochs in batches of 12" in told
    assert "All 200 images and 2 epochs (--part all) would take about" in told
    content = load_checkpoint("output/checkpoints/cub200.pt")
    assert content["data"]["options"] == {"part": 30}
    assert main(["evaluate", "output/checkpoints/cub200.pt"]) == 0  # of as small a part of the test
    assert main(["figures", "3", "--data", "cub200"]) == 0
    about = json.loads(Path("output/figures/cub200_example.json").read_text())
    assert about["data"]["images"] == 30


def test_one_command_makes_the_report_of_what_is_there(monkeypatch, tmp_path, capsys, undrawn):
    from sstutils import runs

    for name in ("cub200", "sop"):
        cls, make, counts = CASES[name]
        archive_of(cls, make(), tmp_path / "data")
        monkeypatch.setattr(cls.__bases__[0], "counts", counts)
    monkeypatch.setattr(runs, "PART", 30)
    monkeypatch.setenv("SSTUTILS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    assert main(["paper", *RECIPE.split(), "--epochs", "2"]) == 0
    report = Path("output/paper/report.md").read_text(encoding="utf-8")
    for name, example, tsne in (("cub200", "cub200", "cub200"), ("sop", "stanford", "stand")):
        results = json.loads(Path(f"output/paper/{name}-seed0.json").read_text())
        assert f"{results['results']['map@r']:.3f}" in report
        assert f"figures/{example}_example.png" in report and f"figures/{tsne}_TSNE.png" in report
    assert "part: 30 images" in report  # of the birds; the products are fewer
    assert "**cars196**" in report.split("## What is missing here")[1]
    capsys.readouterr()
    assert main(["paper", *RECIPE.split(), "--epochs", "2"]) == 0
    told = capsys.readouterr().out
    assert told.count("already trained and evaluated") == 2 and "training" not in told
