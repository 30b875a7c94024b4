"""Recordings: frames are what a run was, files hold what was put in, and what is no recording is refused."""

import json

import numpy as np
import pytest
import torch

from sstutils import Glyphs, Recipe, embed, load_checkpoint, load_model, recall_at_k, train
from sstutils.lectures import recording
from sstutils.lectures.__main__ import MAKERS, main
from sstutils.recipes import make_model

TINY = Recipe(epochs=2, warmup=0.5, batch_size=24, dim=8, precision="float32", seed=3)


@pytest.fixture(scope="module")
def glyphs(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return [Glyphs(root, split, classes=12, images=10, difficulty=0.5) for split in ("train", "test")]


@pytest.fixture(scope="module")
def frames(glyphs):
    return list(recording.record(*glyphs[:1], TINY, glyphs[1], every=0.5))


# ---- frames ----
def test_frames_are_of_the_very_run(glyphs, frames):
    training, watch = glyphs
    torch.manual_seed(TINY.seed)
    expected = [(0.0, None, make_model(TINY))]
    losses, seen = [], []
    for step in train(training, TINY):  # the same run without a recorder
        losses.append(step.loss)
        done = step.epoch + (step.batch + 1) / step.batches
        if int(done / 0.5 + 1e-9) > len(seen):
            seen.append((done, np.mean(losses), embed(step.model, watch, size=32)))
            losses = []
    untrained = embed(expected[0][2], watch, size=32)
    assert len(frames) == 1 + len(seen) == 5
    for frame, (epoch, loss, embeddings) in zip(frames, [(0.0, None, untrained), *seen], strict=True):
        assert frame.epoch == pytest.approx(epoch)
        assert frame.loss == (None if loss is None else pytest.approx(loss, rel=1e-5))
        assert frame.recall == recall_at_k(embeddings, watch.targets, (1,))[1]
        # by hand
        d2 = torch.cdist(embeddings.double(), embeddings.double()).fill_diagonal_(np.inf)
        labels = np.array(watch.targets)
        assert frame.recall == pytest.approx(np.mean(labels[d2.argmin(1).numpy()] == labels), abs=0.02)
        centred = (embeddings - embeddings.mean(0)).double()
        variance = torch.linalg.eigvalsh(centred.T @ centred).flip(0)
        assert frame.shown == pytest.approx(float(variance[:2].sum() / variance.sum()), rel=1e-4)
        assert frame.spread == pytest.approx(float(centred.square().sum(1).mean().sqrt()), rel=1e-4)
        assert np.square(frame.points).sum(1).mean() == pytest.approx(1)


def test_every_frame_is_a_plane_turned_and_scaled_only(glyphs, frames):
    torch.manual_seed(TINY.seed)
    flat, _, _ = recording.plane(embed(make_model(TINY), glyphs[1], size=32).numpy())
    ratio = distances(frames[0].points) / np.maximum(distances(flat), 1e-12)
    assert np.allclose(ratio[~np.eye(len(flat), dtype=bool)], ratio[0, 1], rtol=1e-6)


def distances(points):
    return np.linalg.norm(points[:, None] - points, axis=2)


def test_the_plane_is_that_of_greatest_variance():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1] + 7
    points, shown, spread = recording.plane(x)
    centred = x - x.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    best = centred @ vectors[:, ::-1][:, :2]
    assert np.allclose(np.abs(points), np.abs(best))
    assert shown == pytest.approx(values[-2:].sum() / values.sum())
    assert spread == pytest.approx(np.sqrt((centred**2).sum(1).mean()))


@pytest.mark.parametrize("x", [np.zeros((4, 3)), np.ones((4, 1)), np.arange(4.0)[:, None]], ids=["zero", "one", "line"])
def test_the_plane_of_what_has_none(x):
    points, shown, _ = recording.plane(x)
    assert points.shape == (4, 2) and np.isfinite(points).all() and 0 <= shown <= 1 + 1e-12


def test_the_plane_of_a_tensor_of_any_kind():
    x = torch.arange(24.0).reshape(6, 4).square()
    wanted, *_ = recording.plane(x.numpy())
    for kind in (x.clone().requires_grad_(), x.double(), x.tolist()):
        assert np.allclose(recording.plane(kind)[0], wanted)


@pytest.mark.parametrize("mirrored", [False, True])
def test_turning_finds_the_turn_and_keeps_distances(mirrored):
    rng = np.random.default_rng(1)
    x, angle = rng.normal(size=(30, 2)), 2.1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirrored:
        turn = turn @ np.diag([1, -1])
    assert np.allclose(recording.align(x @ turn, x), x)
    other = rng.normal(size=(30, 2))
    near = recording.align(other, x)
    assert np.allclose(distances(near), distances(other))
    for a in np.linspace(0, 2 * np.pi, 60):  # no turn is nearer
        for flip in (1, -1):
            c, s = np.cos(a), np.sin(a)
            assert ((near - x) ** 2).sum() <= ((other @ [[c, -s * flip], [s, c * flip]] - x) ** 2).sum() + 1e-9


def test_names_of_runs():
    assert recording.run_name(Recipe()) == "SST, local"
    assert recording.run_name(Recipe(loss="triplet", sampler="balanced")) == "triplet, class-balanced"


@pytest.mark.parametrize("every", [0, -1, float("nan")])
def test_an_interval_that_is_none(glyphs, every):
    with pytest.raises(ValueError, match="every must be a positive number of epochs"):
        next(recording.record(*glyphs[:1], TINY, glyphs[1], every=every))


def test_a_class_that_is_not_there(glyphs):
    with pytest.raises(ValueError, match="no class ☃"):
        recording.select_classes(glyphs[1], ["☃"])
    two = glyphs[1].classes[3], glyphs[1].classes[1]
    assert set(recording.select_classes(glyphs[1], two).classes) == set(two)


# ---- files ----
def test_a_run_comes_back_from_its_file(frames, tmp_path):
    arrays, about = recording.collect(frames)
    recording.save(tmp_path / "sub" / "run.npz", "replay", arrays, about)
    back = recording.load(tmp_path / "sub" / "run.npz", "replay")
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["run.npz"]
    points = recording.unpack(back["points"], back["about"]["scale"])
    assert np.allclose(points, [frame.points for frame in frames], atol=back["about"]["scale"])
    (run,) = back["about"]["runs"]
    assert run["name"] == "SST, local" and run["epochs"] == 2 and run["local"] == 1
    assert run["recall"] == pytest.approx([frame.recall for frame in frames], rel=1e-5)
    assert run["loss"][0] is None and run["loss"][1:] == pytest.approx([f.loss for f in frames[1:]], rel=1e-5)
    assert back["labels"].tolist() == frames[0].watch.targets
    assert back["sprite"].tobytes()[8:12] == b"WEBP"


def test_packing():
    x = np.array([[-3.0, 0.0], [1e-4, 2.5]])
    values, scale = recording.pack(x)
    assert values.dtype == np.int16 and np.abs(recording.unpack(values, scale) - x).max() <= scale / 2 + 1e-6
    assert recording.pack(np.zeros(3))[0].tolist() == [0, 0, 0]
    assert recording.pack([])[0].size == 0
    with pytest.raises(ValueError, match="finite"):
        recording.pack([1.0, np.nan])


def test_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz; `make recordings` makes it"):
        recording.load(tmp_path / "nothing.npz", "replay")


def test_another_kind_is_told(tmp_path):
    recording.save(tmp_path / "a.npz", "tsne", {}, {})
    with pytest.raises(ValueError, match="a recording of 'tsne', not of 'replay'"):
        recording.load(tmp_path / "a.npz", "replay")


def bad_files(folder):
    whole = folder / "whole.npz"
    recording.save(whole, "replay", {"points": np.zeros((50, 50))}, {})
    raw = whole.read_bytes()
    yield "empty", b""
    yield "text", b"hello"
    yield "cut", raw[: len(raw) // 2]
    yield "flipped", raw[:80] + bytes([raw[80] ^ 255]) + raw[81:]
    np.savez(folder / "x.npz", about=np.array({"sstutils": 1}, dtype=object))  # would need pickle
    yield "pickle", (folder / "x.npz").read_bytes()
    for name, head in {"foreign": {"a": 1}, "list": [1], "version": {"sstutils": 99, "kind": "replay"}}.items():
        np.savez(folder / "x.npz", about=np.array(json.dumps(head)))
        yield name, (folder / "x.npz").read_bytes()
    np.savez(folder / "x.npz", about=np.array("not json"))
    yield "json", (folder / "x.npz").read_bytes()
    np.savez(folder / "x.npz", points=np.zeros(3))
    yield "array", (folder / "x.npz").read_bytes()
    np.save(folder / "x.npy", np.zeros(3))
    yield "npy", (folder / "x.npy").read_bytes()


def test_files_that_are_no_recording(tmp_path):
    for name, raw in bad_files(tmp_path):
        path = tmp_path / "bad.npz"
        path.write_bytes(raw)
        with pytest.raises(ValueError, match="is not a valid recording") as caught:
            recording.load(path, "replay")
        assert "\n" not in str(caught.value), name
        path.unlink()  # nothing holds it open


def test_runs_that_watch_different_images(glyphs, frames):
    training, _ = glyphs
    other = next(recording.record(training, TINY, training, run="other"))
    other = recording.Frame(**vars(other) | {"watch": recording.select_classes(training, training.classes[:3])})
    with pytest.raises(ValueError, match="same images"):
        recording.collect([*frames, other])
    with pytest.raises(ValueError, match="no frames"):
        recording.collect([])


# ---- the network that comes with the notebooks ----
def test_thin_weights_load_and_do_not_resume(glyphs, tmp_path):
    training, test = glyphs
    for _ in train(training, TINY, out=tmp_path / "full.pt"):
        pass
    recording.save_weights(load_checkpoint(tmp_path / "full.pt"), tmp_path / "thin.pt")
    assert (tmp_path / "thin.pt").stat().st_size < (tmp_path / "full.pt").stat().st_size / 4
    full, thin = (load_model(tmp_path / name)[0] for name in ("full.pt", "thin.pt"))
    assert {p.dtype for p in thin.parameters()} == {torch.float32}
    assert {v.dtype for v in load_checkpoint(tmp_path / "thin.pt")["model"].values()} == {torch.float32, torch.int64}
    a, b = embed(full, test, size=32), embed(thin, test, size=32)
    assert (a - b).norm() < 0.01 * a.norm()
    with pytest.raises(ValueError, match=r"thin\.pt holds weights only"):
        next(train(training, TINY, out=tmp_path / "thin.pt", resume=True))


# ---- the command ----
def test_the_command_refuses_an_unknown_name(capsys):
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert "unknown recording nonsense; choose from glyphs.pt, replay.npz" in capsys.readouterr().err


def test_the_command_makes_what_is_asked_for(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(MAKERS, "replay.npz", lambda path: recording.save(path, "replay", {}, {}))
    main(["replay", "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["replay.npz"]
    assert "replay.npz: 0 kB" in capsys.readouterr().err
