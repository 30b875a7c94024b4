"""BN-Inception, the backbone of the paper, with the layer names of the published ImageNet weights.

S. Ioffe and C. Szegedy (2015), "Batch normalization: accelerating deep network training by reducing internal covariate
shift", ICML, appendix: inception blocks whose 5 x 5 convolutions are two of 3 x 3.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Normal, no_download
from ..models import load_weights
from .archives import Download, fetch

FEATURES = 1024
WEIGHTS = Download(
    "bn_inception-52deb4733.pth",
    45_000_000,
    "52deb473314542a5c2f87e9e6f26f4ca42fe863d15f986414dbae8c2dfdd2353",
    tuple(f"{web}://data.lip6.fr/cadene/pretrainedmodels/bn_inception-52deb4733.pth" for web in ("https", "http")),
)

# Each block: channels of the 1x1 branch (0: none, and the block halves the picture), of the 3x3 branch (reduced to,
# out), of the double 3x3 branch (reduced to, out), and of the pooled branch: its kind and channels (0: as they come).
_BLOCKS = {
    "3a": (64, (64, 64), (64, 96), ("mean", 32)),
    "3b": (64, (64, 96), (64, 96), ("mean", 64)),
    "3c": (0, (128, 160), (64, 96), ("max", 0)),
    "4a": (224, (64, 96), (96, 128), ("mean", 128)),
    "4b": (192, (96, 128), (96, 128), ("mean", 128)),
    "4c": (160, (128, 160), (128, 160), ("mean", 128)),
    "4d": (96, (128, 192), (160, 192), ("mean", 128)),
    "4e": (0, (128, 192), (192, 256), ("max", 0)),
    "5a": (352, (192, 320), (160, 224), ("mean", 128)),
    "5b": (352, (192, 320), (192, 224), ("max", 128)),
}


class BNInception(nn.Module):
    """224 x 224 pictures to 1,024 features; any size from 32 works.

    Takes RGB, less its mean, in the range 0 to 255; the weights, which come from Caffe, want BGR: the channels are
    turned around here. Convolutions have biases and layers the names of the published weights, so that these load.
    """

    # What to take from RGB in 0..1 and to divide by, so that the weights see BGR in 0..255 less (104, 117, 128).
    mean = (128 / 255, 117 / 255, 104 / 255)
    std = (1 / 255, 1 / 255, 1 / 255)

    def __init__(self) -> None:
        super().__init__()
        self._convolution("conv1_7x7_s2", 3, 64, 7, 2)
        self._convolution("conv2_3x3_reduce", 64, 64)
        self._convolution("conv2_3x3", 64, 192, 3)
        channels = 192
        for name, (single, (reduce, out), (reduce2, out2), (_, pooled)) in _BLOCKS.items():
            stride = 1 if single else 2
            block = f"inception_{name}_"
            if single:
                self._convolution(block + "1x1", channels, single)
            self._convolution(block + "3x3_reduce", channels, reduce)
            self._convolution(block + "3x3", reduce, out, 3, stride)
            self._convolution(block + "double_3x3_reduce", channels, reduce2)
            self._convolution(block + "double_3x3_1", reduce2, out2, 3)
            self._convolution(block + "double_3x3_2", out2, out2, 3, stride)
            if pooled:
                self._convolution(block + "pool_proj", channels, pooled)
            channels = single + out + out2 + (pooled or channels)

    def _convolution(self, name: str, channels: int, out: int, size: int = 1, stride: int = 1) -> None:
        """Add a convolution and its batch normalisation."""
        self.add_module(name, nn.Conv2d(channels, out, size, stride, padding=size // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(out))

    def _apply_one(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x)), inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 1024) features of (N, 3, H, W) pictures."""
        x = self._apply_one("conv1_7x7_s2", images.flip(1))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self._apply_one("conv2_3x3", self._apply_one("conv2_3x3_reduce", x))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        for name, (single, _, _, (kind, pooled)) in _BLOCKS.items():
            x = self._block(f"inception_{name}_", x, single, kind, pooled)
        return x.mean((2, 3))

    def _block(self, block: str, x: Tensor, single: int, kind: str, pooled: int) -> Tensor:
        branches = [self._apply_one(block + "1x1", x)] if single else []
        for path in (("3x3_reduce", "3x3"), ("double_3x3_reduce", "double_3x3_1", "double_3x3_2")):
            y = x
            for layer in path:
                y = self._apply_one(block + layer, y)
            branches.append(y)
        if not single:
            y = F.max_pool2d(x, 3, 2, ceil_mode=True)
        elif kind == "max":
            y = F.max_pool2d(x, 3, 1, padding=1)
        else:
            y = F.avg_pool2d(x, 3, 1, padding=1)
        branches.append(self._apply_one(block + "pool_proj", y) if pooled else y)
        return torch.cat(branches, 1)


def bn_inception(weights: str | None) -> tuple[BNInception, int, Normal]:
    """Make the network, with its weights if they are asked for (DEFAULT or IMAGENET1K_V1), which are downloaded once.

    Returns it, the number of its features, and the mean and deviation that its input is standardised with. OSError if
    the weights cannot be downloaded, ValueError if there are no such weights.
    """
    network = BNInception()
    if weights in ("DEFAULT", "IMAGENET1K_V1"):
        try:
            path = fetch(WEIGHTS, Path(torch.hub.get_dir()) / "checkpoints")
        except OSError as error:
            raise no_download("bn_inception", error) from None
        load_weights(network, path, WEIGHTS.name)
    elif weights:
        raise ValueError(f"bn_inception has no weights {weights!r}; there are DEFAULT, a file, or none")
    return network, FEATURES, (BNInception.mean, BNInception.std)
