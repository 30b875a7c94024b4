"""Backbones: networks from images to features, to be made by their names or to be one's own."""

import difflib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

import torch
from torch import Tensor, nn

from .files import one_line

SIDES = (224, 32, 64, 96, 128, 256, 299)  # of images that networks are made for
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation of RGB in 0..1
# Backbones that torchvision lacks: the module with a function of that name, imported only when it is needed.
_ELSEWHERE = {"bn_inception": "sstutils.photos.bninception"}

Normal = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation that a backbone's input is standardised with


def make_backbone(backbone: str | nn.Module, weights: str | None = None) -> tuple[nn.Module, int, Normal]:
    """Make a backbone by its name, with weights by theirs.

    Returns
    -------
    backbone : nn.Module
        From images (N, 3, H, W) to features (N, F).
    features : int
        F.
    normal : tuple of two tuples of 3 floats
        Mean and deviation of the RGB values in 0..1 that it wants its images standardised by.

    Raises
    ------
    ValueError
        If there is no backbone or are no weights of this name.
    OSError
        If the weights cannot be downloaded.
    """
    plain = (0.0,) * 3, (1.0,) * 3
    if isinstance(backbone, nn.Module):
        return backbone, _count_features(backbone), plain
    if backbone == "small":
        if weights:
            hint = "give a file, or train it from scratch with none"
            raise ValueError(f"backbone 'small' has no weights {weights!r}; {hint}")
        return *_small(), plain
    if backbone.startswith("timm:"):
        return import_module("sstutils.photos.timm_networks").timm_network(backbone.removeprefix("timm:"), weights)
    if backbone in _ELSEWHERE:
        return getattr(import_module(_ELSEWHERE[backbone]), backbone)(weights)
    return _torchvision(backbone, weights)


def _block(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Sequential):
    """x + two blocks of x."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class _Pool(nn.Module):
    """Mean and maximum over the places of a feature map, side by side."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)


def _small() -> tuple[nn.Module, int]:
    """Make a residual network for small images; return it and its number of features.

    Each image is standardised by its own mean and deviation, so that colours of ink and paper matter less.
    2 x 2 pixels become 12 channels first (nothing is lost, and no layer works at full resolution).
    """
    stages = (32, 64, 128)  # channels
    layers: list[nn.Module] = [nn.InstanceNorm2d(3), nn.PixelUnshuffle(2), _block(12, stages[0])]
    for i, channels in enumerate(stages):
        if i:
            layers.append(_block(stages[i - 1], channels, stride=2))
        layers.append(_Residual(_block(channels, channels), _block(channels, channels)))
    return nn.Sequential(*layers, _Pool()), 2 * stages[-1]


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Set a network to evaluation mode; afterwards each part of it is in the mode that it was in."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def output_shape(backbone: nn.Module, height: int, width: int) -> tuple[int, ...] | None:
    """Find the shape of what a backbone makes of two images of a size; None if it cannot take them."""
    where = next(backbone.parameters(), torch.empty(0)).device
    with torch.no_grad(), evaluation_mode(backbone), suppress(Exception):  # each layer has an error of its own
        return tuple(backbone(torch.zeros(2, 3, height, width, device=where)).shape)


def _count_features(backbone: nn.Module) -> int:
    """Find the number of features that a module gives of an image; ValueError if it gives none."""
    found = next(filter(None, (output_shape(backbone, side, side) for side in SIDES)), "errors")
    if len(found) != 2 or found[0] != 2:
        raise ValueError(f"a backbone must map images (2, 3, H, W) to features (2, F), got {found}")
    return found[1]


def no_download(name: str, error: Exception) -> OSError:
    """Return the error of weights that cannot be downloaded."""
    return OSError(
        f"the weights of {name} cannot be downloaded ({one_line(error)}); connect to the network, give their file as "
        "weights, or train from scratch with weights=None (--weights none)"
    )


def _torchvision(name: str, weights: str | None) -> tuple[nn.Module, int, Normal]:
    """Make a torchvision network without its classifier; return it, its number of features and its normalisation."""
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        close = difflib.get_close_matches(name, ["small", *_ELSEWHERE, *names], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "see torchvision.models.list_models()"
        raise ValueError(f"unknown backbone {name!r}; {hint}")
    try:
        chosen = models.get_model_weights(name)[weights] if weights else None
        # GoogLeNet and Inception warn of a change of their initial weights.
        with warnings.catch_warnings(category=FutureWarning, action="ignore"):
            network = models.get_model(name, weights=chosen)
    except (ValueError, KeyError):
        known = ", ".join(w.name for w in models.get_model_weights(name))
        raise ValueError(f"{name} has no weights {weights!r}; choose from {known}, DEFAULT, a file, or none") from None
    except OSError as error:
        raise no_download(name, error) from None
    if getattr(network, "aux_logits", False):  # GoogLeNet and Inception: classifiers halfway are not needed
        network.aux_logits, network.aux1, network.aux2, network.AuxLogits = False, None, None, None
    if hasattr(network, "transform_input"):
        network.transform_input = True  # the same with and without weights, so that a checkpoint sees what training saw
    linear = [path for path, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise ValueError(f"backbone {name} has no linear classifier to replace; choose another, for example resnet18")
    features = network.get_submodule(linear[-1]).in_features
    network.set_submodule(linear[-1], nn.Identity())  # the last linear layer is the classifier
    normal = (tuple(t.mean), tuple(t.std)) if chosen and hasattr(t := chosen.transforms(), "mean") else _IMAGENET
    return network, features, normal
