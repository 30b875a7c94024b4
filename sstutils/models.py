"""The embedding network: a convolutional backbone and one linear layer, phi(image) in R^dim."""

from __future__ import annotations

import difflib
import warnings
from functools import cache
from importlib import import_module
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["EmbeddingNet", "device", "load_weights"]

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation of RGB in 0..1
# Backbones that torchvision lacks: the module with a function of that name, imported only when it is needed.
_ELSEWHERE = {"bn_inception": "sstutils.photos.bninception"}

Normal = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation that a backbone's input is standardised with


def device(name: str | None = None) -> torch.device:
    """Return the device called `name`, or the best one there is: CUDA, then MPS, then CPU.

    Raises
    ------
    ValueError
        If the device is unknown or not on this machine.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        chosen = torch.device(name)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); try 'cpu'") from None
    return chosen


@cache
def _bfloat16_is_fast(kind: str) -> bool:
    """Tell whether the processors of this kind multiply bfloat16 faster than float32."""
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch older than 2.10 cannot tell: float32 then
    can = getattr(torch.cpu, "get_capabilities", dict)() if kind == "cpu" else {}
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))


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


def _small(width: int = 32) -> tuple[nn.Module, int]:
    """Make a residual network for small images; return it and its number of features.

    Each image is standardised by its own mean and deviation, so that colours of ink and paper matter less.
    2 x 2 pixels become 12 channels first (nothing is lost, and no layer works at full resolution).
    """
    stages = [width, 2 * width, 4 * width]
    layers: list[nn.Module] = [nn.InstanceNorm2d(3), nn.PixelUnshuffle(2), _block(12, width)]
    for i, channels in enumerate(stages):
        if i:
            layers.append(_block(stages[i - 1], channels, stride=2))
        layers.append(_Residual(_block(channels, channels), _block(channels, channels)))
    return nn.Sequential(*layers, _Pool()), 2 * stages[-1]


def no_download(name: str, error: Exception) -> OSError:
    """Return the error of weights that cannot be downloaded."""
    return OSError(
        f"the weights of {name} cannot be downloaded ({error}); connect to the network, give their file as weights, or "
        "train from scratch with weights=None (--weights none)"
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


def load_weights(network: nn.Module, state: dict[str, Tensor] | str | Path, source: str = "") -> None:
    """Load weights into a backbone, or say what does not match.

    It accepts a ``state_dict``, also under the key "state_dict" or "model", with names prefixed by "module." (parallel
    training) or "backbone." (a checkpoint of this package), with a classifier (which is skipped), and with leading
    dimensions of 1, as some ported weights have.

    Parameters
    ----------
    network : nn.Module
        Changed in place.
    state : dict or path
        Weights by name, or the file that holds them; nothing in the file is executed.
    source : str
        Name of the weights in messages; by default the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file does not hold weights, or they do not fit; the message counts what is missing, unknown, misshapen.
    """
    if not isinstance(state, dict):
        source = source or str(state)
        try:
            state = torch.load(state, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise FileNotFoundError(f"weights file {source} not found") from None
        except Exception as error:  # whatever the bytes are taken for
            raise ValueError(
                f"{source} holds no weights that can be read safely ({(str(error) or 'empty').splitlines()[0][:100]}): "
                "save a state_dict with torch.save"
            ) from None
        for key in ("state_dict", "model"):
            if isinstance(state, dict) and isinstance(state.get(key), dict):
                state = state[key]
    own = network.state_dict()
    if not isinstance(state, dict) or not any(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{source} holds no weights: expected tensors by name, as network.state_dict() gives them")
    for prefix in ("module.", "backbone."):
        if any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    # Old files lack the counters of batches, which nothing needs.
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    classifier = ("fc.", "last_linear.", "classifier.", "head.", "heads.", "aux1.", "aux2.", "AuxLogits.")
    unknown = [name for name in state if name not in own and not name.startswith(classifier)]
    fitting, misshapen = {}, []
    for name in own.keys() & state.keys():
        value = state[name]
        while value.dim() > own[name].dim() and len(value) == 1:
            value = value[0]
        if value.shape == own[name].shape:
            fitting[name] = value
        else:
            misshapen.append(f"{name} {tuple(value.shape)}, expected {tuple(own[name].shape)}")
    problems = [
        f"{len(names)} {what}, such as {min(names)}"
        for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", misshapen))
        if names
    ]
    if problems:
        raise ValueError(f"the weights {source} do not fit the backbone: {'; '.join(problems)}")
    network.load_state_dict(fitting, strict=False)


class EmbeddingNet(nn.Module):
    """phi: images to embeddings, a backbone and one linear layer.

    Parameters
    ----------
    backbone : str
        "small" (for pictures of about 32 x 32), "bn_inception" (the paper's) or the name of any torchvision
        classification network.
    dim : int
        Length of an embedding.
    normalize : bool
        Scale embeddings to unit length (times `scale`). The paper's are not normalised.
    head : {"trained", "frozen"}
        Whether the linear layer is trained, or stays the random projection that it starts as. The paper's text has it
        trained; its published code, by a slip, leaves it frozen.
    weights : str, optional
        Weights of the backbone: a name such as "DEFAULT" or "IMAGENET1K_V1" (downloaded), or a file (see
        :func:`load_weights`). The input is standardised as the weights want it.
    scale : float
        Constant factor on embeddings. SST has no temperature: its logit z is a difference of squared distances, so that
        scale^2 takes that part. A start at large distances saturates the sigmoid, and learning stalls.
    precision : {"auto", "float32", "bfloat16"}
        Of the backbone; "auto" is bfloat16 where the hardware multiplies it faster. The head is always float32.

    Attributes
    ----------
    backbone : nn.Module
    head : nn.Linear

    Raises
    ------
    ValueError
        If the backbone, its weights or the head's mode is unknown.
    """

    def __init__(
        self,
        backbone: str = "small",
        dim: int = 512,
        normalize: bool = False,
        head: str = "trained",
        weights: str | None = None,
        scale: float = 1.0,
        precision: str = "auto",
    ) -> None:
        super().__init__()
        if head not in ("trained", "frozen"):
            raise ValueError(f"head must be 'trained' or 'frozen', got {head!r}")
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}")
        if backbone == "small" and weights:
            raise ValueError(
                f"backbone 'small' has no weights {weights!r}; it is trained from scratch, with weights none"
            )
        file = weights if weights and Path(weights).suffix in (".pt", ".pth", ".ckpt", ".bin") else None
        if backbone == "small":
            (self.backbone, features), (mean, std) = _small(), ((0.0,) * 3, (1.0,) * 3)
        elif backbone in _ELSEWHERE:
            make = getattr(import_module(_ELSEWHERE[backbone]), backbone)
            self.backbone, features, (mean, std) = make(None if file else weights)
        else:
            self.backbone, features, (mean, std) = _torchvision(backbone, None if file else weights)
        if file:
            load_weights(self.backbone, file)
        self.head = nn.Linear(features, dim, bias=False)
        self.head.weight.requires_grad_(head == "trained")
        self.normalize, self.scale = normalize, scale
        if precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(f"precision must be 'auto', 'float32' or 'bfloat16', got {precision!r}")
        self.precision = precision
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Parameters
        ----------
        images : Tensor of shape (N, 3, H, W)
            uint8 in 0..255, or floating point in 0..1.

        Returns
        -------
        Tensor of shape (N, dim), float32
        """
        if not images.is_floating_point():
            images = images.float() / 255
        images = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        low = self.precision == "bfloat16" or (self.precision == "auto" and _bfloat16_is_fast(images.device.type))
        with torch.autocast(images.device.type, torch.bfloat16, enabled=low):
            features = self.backbone(images)
        with torch.autocast(images.device.type, enabled=False):  # distances need more than bfloat16's three digits
            embeddings = self.head(features.float())
        return self.scale * (F.normalize(embeddings) if self.normalize else embeddings)
