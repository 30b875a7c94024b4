"""EmbeddingNet: shapes, inputs, heads, backbones, precision and its errors."""

import pytest
import torch
from torch import nn

from sstutils import EmbeddingNet, device


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
        ({"head": "thawed"}, "'trained' or 'frozen'"),
        ({"dim": 0}, "at least 1"),
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
