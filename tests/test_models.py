"""EmbeddingNet: shapes, inputs, heads, backbones, precision and its errors."""

import hashlib
import pickle

import pytest
import torch
from torch import nn

from sstutils import EmbeddingNet, device, fit
from sstutils.models import load_weights
from sstutils.photos import bninception
from sstutils.photos.bninception import BNInception


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_bytes_and_floats_are_the_same_picture(images):
    net = EmbeddingNet(dim=16).eval()
    assert torch.equal(net(images), net(images.float() / 255))
    assert net(images).shape == (6, 16)
    assert net(images).dtype == torch.float32


def test_normalize_and_scale(images):
    torch.manual_seed(0)
    one = EmbeddingNet(dim=8, normalize=True, scale=3.0).eval()(images)
    assert torch.allclose(one.norm(dim=1), torch.full((6,), 3.0))
    torch.manual_seed(0)
    plain = EmbeddingNet(dim=8).eval()(images)
    torch.manual_seed(0)
    assert torch.allclose(EmbeddingNet(dim=8, scale=0.5).eval()(images), plain / 2)


def test_small_does_not_see_a_change_of_contrast(images):
    net = EmbeddingNet(dim=8, precision="float32").eval()
    floats = images.float() / 255
    assert torch.allclose(net(floats), net(0.5 * floats + 0.1), atol=1e-3)


@pytest.mark.parametrize("head", ["trained", "frozen"])
def test_head(images, head):
    net = EmbeddingNet(dim=8, head=head)
    net(images).square().sum().backward()
    assert (net.head.weight.grad is not None) == (head == "trained")
    assert all(p.grad is not None for p in net.backbone.parameters())


def test_bfloat16_is_near_float32(images):
    torch.manual_seed(0)
    net = EmbeddingNet(dim=32, precision="float32").eval()
    exact = net(images)
    net.precision = "bfloat16"
    assert torch.allclose(net(images), exact, atol=0.05 * exact.abs().max().item())
    assert not torch.equal(net(images), exact)


@pytest.mark.parametrize(
    "name", ["resnet18", "googlenet", "mobilenet_v3_small", "densenet121", "vit_b_16", "inception_v3"]
)
def test_torchvision_backbone_loses_its_classifier(name):
    net = EmbeddingNet(name, dim=4)
    side = 299 if name == "inception_v3" else 224 if name == "vit_b_16" else 64
    assert net(torch.rand(2, 3, side, side)).shape == (2, 4)
    assert not any(isinstance(m, nn.Linear) and m.out_features == 1000 for m in net.modules())


def test_torchvision_features_are_those_before_the_classifier():
    from torchvision.models import resnet18

    net, oracle = EmbeddingNet("resnet18", dim=4, precision="float32").eval(), resnet18().eval()
    oracle.load_state_dict({**oracle.state_dict(), **net.backbone.state_dict()})
    oracle.fc = nn.Identity()
    pictures = torch.rand(2, 3, 64, 64)
    normal = (pictures - net.mean) / net.std
    assert torch.allclose(net(pictures), net.head(oracle(normal)), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet81"}, "did you mean resnet18"),
        ({"backbone": "squeezenet1_0"}, "no linear classifier"),
        ({"backbone": "resnet18", "weights": "NONSENSE"}, "IMAGENET1K_V1"),
        ({"weights": "DEFAULT"}, "from scratch"),
        ({"head": "thawed"}, "'trained', 'frozen'"),
        ({"dim": 0}, "dim must be between 1 and 65536, got 0"),
        ({"precision": "half"}, "bfloat16"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingNet(**options)


def test_device():
    assert device("cpu").type == "cpu"
    assert device().type in ("cpu", "cuda", "mps")
    with pytest.raises(ValueError, match="try 'cpu'"):
        device("nonsense")


# ---------------------------------------------------------------------------------------------------------------------
# BN-Inception, and weights from files
# ---------------------------------------------------------------------------------------------------------------------
def published() -> dict[str, torch.Tensor]:
    """Weights in the form of the published file: a classifier, BatchNorm tensors with a leading 1, no counters."""
    torch.manual_seed(1)
    state = {f"{name}": value for name, value in BNInception().state_dict().items() if "num_batches" not in name}
    state = {name: value[None] if "_bn." in name else value for name, value in state.items()}
    return state | {"last_linear.weight": torch.zeros(1000, 1024), "last_linear.bias": torch.zeros(1000)}


def test_bn_inception_has_the_published_sizes():
    net = BNInception()
    assert sum(p.numel() for p in net.parameters()) + 1000 * 1025 == 11_295_240  # with the classifier
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    assert shapes["conv1_7x7_s2.weight"] == (64, 3, 7, 7)
    assert shapes["inception_4e_double_3x3_2_bn.running_var"] == (256,)
    assert shapes["inception_5b_pool_proj.weight"] == (128, 1024, 1, 1)
    assert "inception_3c_1x1.weight" not in shapes
    sizes = {}
    for name in ("inception_3b_pool_proj", "inception_4e_3x3", "inception_5b_1x1"):
        net.get_submodule(name).register_forward_hook(lambda _, __, y, name=name: sizes.update({name: y.shape[-1]}))
    assert net.eval()(torch.rand(1, 3, 224, 224)).shape == (1, 1024)
    assert sizes == {"inception_3b_pool_proj": 28, "inception_4e_3x3": 7, "inception_5b_1x1": 7}


def test_bn_inception_sees_bgr_in_bytes():
    seen = []
    net = EmbeddingNet("bn_inception", dim=4, precision="float32").eval()
    net.backbone.conv1_7x7_s2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    red = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    red[:, 0] = 255
    net(red)
    assert torch.allclose(seen[0][0, :, 0, 0], torch.tensor([0.0 - 104, 0.0 - 117, 255.0 - 128]), atol=1e-3)


def test_published_weights_load(tmp_path):
    torch.save(published(), tmp_path / "bn_inception.pth")
    net = EmbeddingNet("bn_inception", dim=4, weights=str(tmp_path / "bn_inception.pth"))
    for name, value in published().items():
        if "last_linear" not in name:
            assert torch.equal(net.backbone.state_dict()[name], value[0] if "_bn." in name else value)


NESTS = [(), ("state_dict",), ("model", "state_dict"), ("student",), (*"abcde", "weights")]
PREFIXES = [
    "", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "encoder.", "backbone.",
    "module.encoder.", "model.backbone.", "encoder.encoder.", "module.model.encoder._orig_mod.",
    "module.encoder_q.", "teacher.backbone.", "trunk._feature_blocks.", "0.",
]  # fmt: skip


@pytest.mark.parametrize("name", ["weights.pth", "weights.pth.tar", "weights.pkl", "weights.v2", "weights"])
def test_weights_of_any_backbone_from_a_file_of_any_name(tmp_path, monkeypatch, name):
    from torchvision.models import resnet18

    torch.manual_seed(2)
    oracle = resnet18()
    torch.save(oracle.state_dict(), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for place in (name, str(tmp_path / name)):
        net = EmbeddingNet("resnet18", dim=4, weights=place)
        assert torch.equal(net.backbone.layer4[1].conv2.weight, oracle.layer4[1].conv2.weight)


class Vision(nn.Module):
    """Names of its own that begin as wrappers do."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleDict({"layer": nn.Linear(2, 3), "model": nn.Linear(3, 3)})
        self.module = nn.Linear(3, 4)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("nest", NESTS, ids=str)
def test_weights_are_found_within_what_scripts_wrap_them_in(prefix, nest):
    wanted, network = Vision(), Vision()
    state = {prefix + name: value for name, value in wanted.state_dict().items()} | {
        f"{prefix}fc.weight": torch.ones(2)
    }
    if prefix:
        state["criterion.proxies"] = torch.ones(2)
    for key in reversed(nest):
        state = {"epoch": 3, "best": torch.tensor(0.5), key: state, "optimizer": {"state": {}}}
    load_weights(network, state)
    assert all(map(torch.equal, network.state_dict().values(), wanted.state_dict().values()))


def test_weights_that_are_no_numbers_or_a_dictionary_that_holds_itself():
    state = Vision().state_dict()
    state["module.weight"][0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"do not fit the backbone: 1 not finite floats, such as module\.weight"):
        load_weights(Vision(), state, "w")
    state["module.weight"] = torch.zeros(1).expand(4, 3)  # four bytes that look like twelve numbers
    with pytest.raises(ValueError, match="1 not finite"):
        load_weights(Vision(), state, "w")
    for kind in (torch.int8, torch.complex64):
        state["module.weight"] = torch.ones(4, 3, dtype=kind)
        with pytest.raises(ValueError, match="1 not finite floats"):
            load_weights(Vision(), state, "w")
    state["module.weight"] = 3
    with pytest.raises(ValueError, match=r"1 missing, such as module\.weight"):
        load_weights(Vision(), state, "w")
    circle = {}
    circle["model"] = circle
    with pytest.raises(ValueError, match="holds no weights"):
        load_weights(Vision(), circle, "w")


def test_of_two_networks_in_one_file_the_first_is_taken():
    query, key, network = Vision(), Vision(), Vision()
    state = {f"module.encoder_q.{name}": value for name, value in query.state_dict().items()}
    state |= {f"module.encoder_k.{name}": value for name, value in key.state_dict().items()} | {"queue": torch.ones(2)}
    load_weights(network, {"state_dict": state})
    assert all(map(torch.equal, network.state_dict().values(), query.state_dict().values()))


def test_a_flipped_bit_in_weights_is_found(tmp_path):
    torch.save(EmbeddingNet("resnet18", dim=4).backbone.state_dict(), tmp_path / "w.pth")
    raw = bytearray((tmp_path / "w.pth").read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "w.pth").write_bytes(raw)
    with pytest.raises(ValueError, match=r"w.pth holds no weights that can be read safely \(.* is damaged\)"):
        EmbeddingNet("resnet18", dim=4, weights=str(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("name", "side", "such"),
    [
        ("small", 33, "32, 64"),
        ("alexnet", 32, "64, 96"),
        ("vit_b_16", 32, "224"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [("inception_v3", 32, "96, 128"), ("vgg11", 16, "32, 64"), ("maxvit_t", 64, "224")]
        ),
    ],
)
def test_sizes_that_a_backbone_cannot_take(name, side, such):
    net = EmbeddingNet(name, dim=4)
    expected = (
        f"backbone {name} cannot take images of {side} x {side} pixels; set size to one that it can, such as {such}"
    )
    with pytest.raises(ValueError, match=expected):
        net(torch.zeros(2, 3, side, side))


def test_other_errors_of_a_backbone_stay_what_they_are(monkeypatch):
    net = EmbeddingNet("small", dim=4)
    monkeypatch.setattr(net.backbone[3][0], "forward", lambda _: (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        net(torch.zeros(2, 3, 32, 32))


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16, torch.float16])
def test_the_network_is_float32_whatever_the_default_is(images, default):
    torch.set_default_dtype(default)
    try:
        net = EmbeddingNet(dim=8).eval()
        found = [net(pictures) for pictures in (images, images.double() / 255, images.half() / 255)]
    finally:
        torch.set_default_dtype(torch.float32)
    assert {value.dtype for value in (*net.state_dict().values(), *found)} <= {torch.float32, torch.int64}
    assert torch.allclose(found[0], found[1], atol=1e-3)


def test_weights_that_do_not_fit_are_told_apart(tmp_path):
    state = EmbeddingNet("resnet18", dim=4).backbone.state_dict()
    state["stranger.weight"] = state.pop("bn1.weight")
    state["conv1.weight"] = state["conv1.weight"][:, :1]
    torch.save(state, tmp_path / "odd.pth")
    expected = (
        r"odd.pth do not fit the backbone: 1 missing, such as bn1.weight; 1 unknown, such as stranger.weight; "
        r"1 of another shape, such as conv1.weight \(64, 1, 7, 7\), expected \(64, 3, 7, 7\)"
    )
    with pytest.raises(ValueError, match=expected):
        EmbeddingNet("resnet18", weights=str(tmp_path / "odd.pth"))


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "content", [b"", b"text", pickle.dumps({"a": Evil()}), {"a": Evil()}, {"a": 1}, [1, 2]], ids=range(6)
)
def test_files_that_hold_no_weights(tmp_path, content, capsys):
    path = tmp_path / "w.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(ValueError, match=r"w.pth holds no weights") as caught:
        EmbeddingNet("resnet18", weights=str(path))
    assert "\n" not in str(caught.value)
    assert "executed" not in capsys.readouterr().out


def test_weights_that_are_nowhere(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"weights file .*gone.pth not found"):
        EmbeddingNet("resnet18", weights=str(tmp_path / "gone.pth"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    nowhere = bninception.WEIGHTS._replace(urls=("http://127.0.0.1:9/bn_inception-52deb4733.pth",))
    monkeypatch.setattr(bninception, "WEIGHTS", nowhere)
    with pytest.raises(OSError, match=r"bn_inception cannot be downloaded .*give their file"):
        EmbeddingNet("bn_inception", weights="DEFAULT")


def test_weights_are_fetched_and_checked_as_a_whole(tmp_path, monkeypatch, serve):
    torch.save(published(), tmp_path / "away.pth")
    checksum = hashlib.sha256((tmp_path / "away.pth").read_bytes()).hexdigest()
    offered = bninception.WEIGHTS._replace(checksum=checksum, size=None, urls=(serve(tmp_path / "away.pth"),))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(bninception, "WEIGHTS", offered)
    weights = EmbeddingNet("bn_inception", weights="DEFAULT").backbone.state_dict()
    assert torch.equal(weights["conv1_7x7_s2.bias"], published()["conv1_7x7_s2.bias"])
    path = tmp_path / "hub" / "checkpoints" / offered.name
    damaged = bytearray(path.read_bytes())
    damaged[-1000] ^= 1
    path.write_bytes(damaged)
    monkeypatch.setattr(bninception, "WEIGHTS", offered._replace(urls=()))
    with pytest.raises(OSError, match=r"bn_inception cannot be downloaded"):
        EmbeddingNet("bn_inception", weights="DEFAULT")


def test_googlenet_standardises_alike_with_and_without_weights():
    assert EmbeddingNet("googlenet", dim=4).backbone.transform_input


@pytest.mark.parametrize(
    "values",
    [{"normalize": "false"}, {"scale": float("nan")}, {"layers": 3}, {"backbone": None}, {"weights": True}],
    ids=str,
)
def test_values_of_a_network_are_checked_when_given(values):
    with pytest.raises(ValueError, match=f"{next(iter(values))}.* must be"):
        EmbeddingNet(**values)


def test_what_is_no_image_or_no_recipe_is_named():
    with pytest.raises(ValueError, match=r"images must have shape \(N, 3, H, W\), got \(2, 4, 8, 8\)"):
        EmbeddingNet(dim=4)(torch.rand(2, 4, 8, 8))
    for recipe in ("paper", {"epochs": 1}):
        with pytest.raises(ValueError, match="recipe must be a Recipe"):
            fit(None, recipe, progress=False)
