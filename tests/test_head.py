"""Heads on features that are computed once, and backbones of one's own."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models import mobilenet_v3_small

import sstutils as sst
from sstutils.photos import head
from sstutils.photos.head import compare_with_untrained, compute_features, fit_head, principal_head
from sstutils.runs import plan


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSTUTILS_DATA", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of (random) weights, as a training script leaves it."""
    torch.manual_seed(0)
    path, network = tmp_path_factory.mktemp("weights") / "imagenet.pth.tar", mobilenet_v3_small()
    with torch.no_grad():
        for _ in range(20):  # running statistics: without them its features vanish
            network(torch.randn(10, 3, 64, 64))
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(10):
        (root / f"class {number}").mkdir()
        base = rng.integers(0, 255, (4, 5, 3))
        for i in range(5):
            noise = rng.integers(0, 60, (4, 5, 3))
            image = Image.fromarray(((base + noise) // 2).astype(np.uint8)).resize((100 + i, 90))
            image.save(root / f"class {number}" / f"{i}.jpg")
    return root


VALUES = {"backbone": "mobilenet_v3_small", "size": 64, "dim": 32, "epochs": 3, "batch_size": 10, "holdout": 0.4}


def test_the_principal_head_keeps_distances():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(80, 3)) @ rng.normal(size=(3, 40)) + 5).astype(np.float16)  # of rank 3
    x = x.astype(np.float64)
    y = x @ principal_head(x, 8).double().numpy().T
    wanted, found = (((z[:, None] - z) ** 2).sum(2) for z in (x, y))
    np.testing.assert_allclose(found / found.mean(), wanted / wanted.mean(), atol=2e-4)
    assert found.mean() == pytest.approx(2, rel=1e-3)
    assert principal_head(x, 50).shape == (50, 40)
    assert principal_head(np.ones((5, 4), np.float16), 2).isfinite().all()


@pytest.mark.parametrize("layers", [1, 2])
def test_photographs_are_trained_by_their_features(photos, weights, tmp_path, capsys, layers):
    out = tmp_path / "net.pt"
    step = sst.run(f"folder:{photos}", "features", out=out, weights=str(weights), where="cpu", layers=layers, **VALUES)
    assert len(step.history) == 3
    model, content = sst.load_model(out)
    assert content["recipe"]["head"] == "only"
    # The backbone is that of the file, bit for bit; the network embeds images as any other.
    state = torch.load(weights, weights_only=True)["state_dict"]
    for name, value in model.backbone.state_dict().items():
        if name in state:
            assert torch.equal(value, state[f"module.{name}"])
    data = sst.load(f"folder:{photos}", "train")
    features = compute_features(data, model, sst.Recipe(**content["recipe"]))
    torch.testing.assert_close(sst.embed(model, features), sst.embed(model, data, size=64), atol=5e-3, rtol=5e-3)
    assert "50 images" not in capsys.readouterr().err


def test_features_are_computed_once(photos, weights, monkeypatch):
    recipe = sst.recipe_for("x", "features", weights=str(weights), **VALUES)
    data, model = sst.load(f"folder:{photos}", "train"), sst.EmbeddingNet("mobilenet_v3_small", weights=str(weights))
    first = compute_features(data, model, recipe)
    monkeypatch.setattr(head, "embed", None)
    np.testing.assert_array_equal(compute_features(data, model, recipe).data, first.data)
    other = sst.EmbeddingNet("mobilenet_v3_small")
    with pytest.raises(TypeError):  # other weights: computed again
        compute_features(data, other, recipe)


def test_what_training_spoils_is_not_kept(photos, weights, tmp_path, capsys):
    out, values = tmp_path / "net.pt", VALUES | {"lr": 10.0, "schedule": "constant", "epochs": 2}
    data = sst.load(f"folder:{photos}", "train")
    recipe = sst.recipe_for("x", "features", weights=str(weights), **values)
    step = fit_head(data, recipe, out=out, where="cpu")
    assert max(row["recall@1"] for row in step.history) <= step.history[0]["untrained"]
    assert "training did not help: Recall@1 of held-out classes is" in capsys.readouterr().out
    model, content = sst.load_model(out)
    _, held_out = sst.split_classes(compute_features(data, model, recipe), recipe.holdout, recipe.seed)
    kept = sst.recall_at_k(sst.embed(model, held_out), held_out.targets, (1,))[1]
    assert kept == content["history"][0]["untrained"]


def test_a_head_goes_on_where_it_stopped(photos, weights, tmp_path):
    data = sst.load(f"folder:{photos}", "train")
    first = sst.recipe_for("x", "features", weights=str(weights), **VALUES | {"schedule": "constant"})
    once = fit_head(data, first, where="cpu", progress=False)
    out = tmp_path / "net.pt"
    features = sst.run(f"folder:{photos}", "features", out=out, weights=str(weights), where="cpu", progress=False,
                       **VALUES | {"schedule": "constant", "epochs": 2})  # fmt: skip
    assert len(features.history) == 2
    again = sst.run(f"folder:{photos}", out=out, resume=True, where="cpu", progress=False, epochs=3)
    assert [row["loss"] for row in again.history] == [row["loss"] for row in once.history]


def test_the_recipe_follows_the_pictures(photos, tmp_path, monkeypatch):
    small = tmp_path / "drawings"
    for name in "ab":
        (small / name).mkdir(parents=True)
        Image.new("RGB", (64, 40)).save(small / name / "1.png")
    assert plan(f"folder:{small}", where="cpu")[0].backbone == "small"
    chosen, part = plan(f"folder:{photos}", where="cpu")
    assert (chosen.backbone, chosen.head, part) == ("mobilenet_v3_large", "only", {})
    assert plan(f"folder:{photos}", "small", where="cpu")[0].backbone == "small"
    assert plan(f"folder:{photos}", where="cpu", backbone="resnet18")[0].backbone == "resnet18"


def test_trained_is_compared_with_features_and_pixels(photos, weights):
    recipe = sst.recipe_for("x", "features", weights=str(weights), **VALUES)
    data = sst.load(f"folder:{photos}", "test")
    embeddings = torch.eye(len(data))  # all equally far: chance
    found = compare_with_untrained(data, embeddings, recipe)
    pixels = np.stack([np.asarray(data[i][0].resize((32, 32), Image.Resampling.BILINEAR)) for i in range(len(data))])
    raw = sst.recall_at_k(torch.from_numpy(pixels.mean(3).reshape(len(data), -1)), data.targets, (1,))[1]
    assert found["raw pixels"] == pytest.approx(raw, abs=0.05)
    assert found["trained"] < 0.3 < found["raw pixels"]
    assert list(found) == ["trained", "untrained features", "raw pixels"]


# ---------------------------------------------------------------------------------------------------------------------
# Backbones of one's own
# ---------------------------------------------------------------------------------------------------------------------
def test_a_module_is_a_backbone(tmp_path):
    torch.manual_seed(0)
    own = nn.Sequential(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5))
    model = sst.EmbeddingNet(own, dim=4)
    assert model.head.weight.shape == (4, 7)
    assert all(part.training for part in own.modules())  # the pass that finds the width leaves no trace
    assert own[1].num_batches_tracked == 0
    data, recipe = sst.load("digits", "train", part=100), sst.Recipe(epochs=1, dim=4, batch_size=20, scale=1.0)
    step = sst.fit(data, recipe, model=model, out=tmp_path / "own.pt", progress=False, where="cpu")
    assert step.model is model
    fresh = sst.EmbeddingNet(nn.Sequential(*own[:4]), dim=4)
    torch.nn.init.zeros_(fresh.head.weight)
    loaded, _ = sst.load_model(tmp_path / "own.pt", model=fresh)
    torch.testing.assert_close(sst.embed(loaded, data), sst.embed(model, data))
    with pytest.raises(ValueError, match="do not fit its recipe"):
        sst.load_model(tmp_path / "own.pt")


@pytest.mark.parametrize(
    ("module", "found"), [(nn.Conv2d(3, 4, 3), r"\(2, 4, "), (nn.Linear(3, 3), "errors"), (nn.Identity(), r"\(2, 3, ")]
)
def test_a_module_that_gives_no_features_is_refused(module, found):
    with pytest.raises(ValueError, match=rf"must map images \(2, 3, H, W\) to features \(2, F\), got {found}"):
        sst.EmbeddingNet(module)


def test_only_the_head_is_trained(tmp_path):
    data = sst.load("digits", "train", part=100)
    recipe = sst.Recipe(head="only", epochs=1, batch_size=20, dim=8)
    torch.manual_seed(recipe.seed)
    before = sst.EmbeddingNet(dim=8).state_dict()
    after = sst.fit(data, recipe, progress=False, where="cpu").model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight"}


def test_a_perceptron_starts_as_a_linear_head():
    torch.manual_seed(0)
    model = sst.EmbeddingNet(dim=8, layers=2)
    features = torch.randn(5, model.head.linear.in_features)
    torch.testing.assert_close(model(features), features @ model.head.linear.weight.T)


def test_timm_gives_backbones_with_their_own_normalisation():
    timm = pytest.importorskip("timm", reason="timm is not installed")
    model = sst.EmbeddingNet("timm:vit_tiny_patch16_224", dim=6)
    expected = timm.data.resolve_model_data_config(model.backbone)
    assert tuple(model.mean.flatten().tolist()) == pytest.approx(expected["mean"])
    assert model.head.in_features == 192
    assert model(torch.rand(1, 3, 224, 224)).shape == (1, 6)
    with pytest.raises(ValueError, match="did you mean resnet18"):
        sst.EmbeddingNet("timm:resnet18x")


def test_without_timm_it_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ValueError, match="needs timm, which is not installed"):
        sst.EmbeddingNet("timm:resnet18")


def test_features_without_spread_are_said(photos):
    recipe = sst.recipe_for("x", "features", weights=None, **VALUES)
    model = sst.EmbeddingNet("mobilenet_v3_small")
    for weights in model.backbone.parameters():
        nn.init.zeros_(weights)
    with pytest.raises(ValueError, match="backbone mobilenet_v3_small gives the same features for all 25 images"):
        compute_features(sst.load(f"folder:{photos}", "test"), model, recipe)


def test_few_classes_are_trained_without_held_out_ones(photos, weights, tmp_path, capsys):
    """Nobody asked for a held-out part: what lacks is said of the pictures."""
    root, values = tmp_path / "few", {k: v for k, v in VALUES.items() if k != "holdout"}
    for number in range(5):
        (root / str(number)).mkdir(parents=True)
        for i in range(5):
            (root / str(number) / f"{i}.jpg").write_bytes((photos / f"class {number}" / f"{i}.jpg").read_bytes())
    how = {"out": tmp_path / "net.pt", "weights": str(weights), "where": "cpu", "workers": 0}
    assert len(sst.run(f"folder:{root}", "features", **how, **values).history) == 3
    assert "fewer than 4 classes to train on: none are held out" in capsys.readouterr().out
    for path in root.glob("*/[1-4].jpg"):
        path.unlink()
    with pytest.raises(ValueError, match="need 4 images, 2 of each of 2 classes; got batch_size 10 and 3 images"):
        sst.run(f"folder:{root}", "features", **how, **values)
