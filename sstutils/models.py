"""The embedding network: a convolutional backbone and one linear layer, phi(image) in R^dim."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbones import SIDES, make_backbone, output_shape
from .checks import one_of, real_number, true_or_false, whole_number
from .files import cause, check_archive

HEADS = ("trained", "frozen", "only")  # what is trained of a network


def device(name: str | None = None) -> torch.device:
    """Return the device called `name`, or the best one there is: CUDA, then MPS, then CPU.

    One that is unknown, or not on this machine, is a ValueError.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        chosen = torch.device(name)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); try 'cpu'") from None
    return chosen


_NO_MEMORY = r"out of memory|not enough memory|can(?:'t|not) allocate memory|bad_alloc|ALLOC_FAILED|shared memory"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory has run out: Python's, or what torch raises on each kind of device."""
    of_torch = isinstance(error, RuntimeError) and re.search(_NO_MEMORY, str(error))
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or bool(of_torch)


@cache
def _bfloat16_is_fast(kind: str) -> bool:
    """Tell whether the processors of this kind multiply bfloat16 faster than float32."""
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch older than 2.10 cannot tell: float32 then
    can = getattr(torch.cpu, "get_capabilities", dict)() if kind == "cpu" else {}
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))


def load_tensors(path: str | PathLike) -> Any:
    """Read what ``torch.save`` wrote, on the CPU; nothing in it is executed, and damage is an error."""
    with open(path, "rb") as file:
        zipped = file.read(4) == b"PK\3\4"  # as torch has written since 1.6
    if zipped:
        check_archive(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickle protocols, where the file is nothing of torch's
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception:  # torch and pickle raise some ten kinds, with pages of advice
        raise ValueError("torch.save did not write it, or not tensors alone") from None


def load_weights(network: nn.Module, state: dict[str, Tensor] | str | Path, source: str = "") -> None:
    """Load weights into a backbone, or say what does not match.

    It accepts a ``state_dict``, also within dictionaries (the one that fits best), with names prefixed by whatever
    wraps and training scripts put before them ("module.", "_orig_mod.", "encoder_q."), with a classifier (which is
    skipped), and with leading dimensions of 1, as some ported weights have.

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
    FileNotFoundError, ValueError
        If there is no such file, or it holds no weights that fit; the message counts what is missing, unknown,
        misshapen, not finite.
    """
    if not isinstance(state, dict):
        source = source or str(state)
        try:
            state = load_tensors(os.path.expanduser(state))
        except FileNotFoundError:
            raise FileNotFoundError(f"weights file {source} not found") from None
        except Exception as error:  # whatever the bytes are taken for
            raise ValueError(
                f"{source} holds no weights that can be read safely ({cause(error)[:100]}): "
                "save a state_dict with torch.save"
            ) from None
    own = network.state_dict()
    found = [_strip_prefix(inner, own) for inner in _dictionaries(state)]
    state = max(found, key=lambda names: (len(own.keys() & names.keys()), len(names)), default={})
    if not state:
        raise ValueError(f"{source} holds no weights: expected tensors by name, as network.state_dict() gives them")
    # Old files lack the counters of batches, which nothing needs.
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    classifier = ("fc.", "last_linear.", "classifier.", "head.", "heads.", "aux1.", "aux2.", "AuxLogits.")
    unknown = [name for name in state if name not in own and not name.startswith(classifier)]
    fitting, misshapen, odd = {}, [], []
    for name in own.keys() & state.keys():
        value = state[name]
        while value.dim() > own[name].dim() and len(value) == 1:
            value = value[0]
        fitting[name] = value
        if value.shape != own[name].shape:
            misshapen.append(f"{name} {tuple(value.shape)}, expected {tuple(own[name].shape)}")
        elif value.is_floating_point() != own[name].is_floating_point() or not is_finite(value):
            odd.append(name)
    found = {"missing": missing, "unknown": unknown, "of another shape": misshapen, "not finite floats": odd}
    if problems := [f"{len(names)} {what}, such as {min(names)}" for what, names in found.items() if names]:
        raise ValueError(f"the weights {source} do not fit the backbone: {'; '.join(problems)}")
    network.load_state_dict(fitting, strict=False)


def _dictionaries(state: Any) -> list[dict]:
    """List a dictionary and all within it, each once: an odd file may hold itself."""
    found, seen = [{"": state}], set()
    for one in found:
        inner = {id(value): value for value in one.values() if isinstance(value, dict) and id(value) not in seen}
        seen |= inner.keys()
        found += inner.values()
    return found[1:]


def _strip_prefix(state: dict, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefix that most names carry before a network's own names; other names are left out with it."""
    state = {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}
    tails = ((name, name.split(".", cut)[-1]) for name in state for cut in range(name.count(".") + 1))
    found = Counter(name.removesuffix(tail) for name, tail in tails if tail in own)
    prefix = max(found, key=found.__getitem__, default="")
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def is_finite(values: Tensor) -> bool:
    """Tell whether a tensor is a plain one, whose numbers are in memory, without NaN or infinity."""
    plain = values.layout == torch.strided and values.device.type != "meta" and not values.is_quantized
    # Strides of 0 may make a few bytes look like a huge tensor.
    whole = values.numel() * values.element_size() <= values.untyped_storage().nbytes() if plain else False
    return whole and bool(values.sum().isfinite() or values.isfinite().all())  # a sum is 30 times as fast


class EmbeddingNet(nn.Module):
    """phi: images to embeddings, a backbone and one linear layer.

    Parameters
    ----------
    backbone : str or nn.Module
        "small" (for pictures of about 32 x 32), "bn_inception" (the paper's), the name of any torchvision
        classification network, or "timm:NAME" where timm is installed. A module of one's own maps images (N, 3, H, W)
        of floats in 0..1 to features (N, F); their number is found by a forward pass.
    dim : int
        Length of an embedding.
    normalize : bool
        Scale embeddings to unit length (times `scale`). The paper's are not normalised.
    head : {"trained", "frozen", "only"}
        Whether the head is trained, stays the random projection that it starts as, or is all that is trained: the
        backbone stays as it is. The paper's text has it trained; its published code, by a slip, leaves it frozen.
    layers : {1, 2}
        Of the head: linear, or a linear layer and a perceptron that is added to it, and begins as zero.
    weights : str, optional
        Weights of the backbone: a name such as "DEFAULT" or "IMAGENET1K_V1" (downloaded), or a file (see
        :func:`load_weights`). The input is standardised as the weights want it.
    scale : float
        Constant factor on embeddings. SST has no temperature: its logit z is a difference of squared distances, so that
        scale^2 takes that part. A start at large distances saturates the sigmoid, and learning stalls.
    precision : {"auto", "float32", "bfloat16"}
        Of the backbone; "auto" is bfloat16 where the hardware multiplies it faster. The head is always float32.

    Raises
    ------
    ValueError
        If the backbone, its weights or the head's mode is unknown.
    """

    def __init__(
        self,
        backbone: str | nn.Module = "small",
        dim: int = 512,
        normalize: bool = False,
        head: str = "trained",
        layers: int = 1,
        weights: str | None = None,
        scale: float = 1.0,
        precision: str = "auto",
    ) -> None:
        super().__init__()
        one_of("head", head, HEADS)
        whole_number("dim", dim, 1, 2**16)
        whole_number("layers", layers, 1, 2)
        self.normalize, self.scale = true_or_false("normalize", normalize), real_number("scale", scale)
        weights = os.fspath(weights) if isinstance(weights, PathLike) else weights
        if not isinstance(weights, (str, NoneType)) or not isinstance(backbone, (str, nn.Module)):
            raise ValueError(f"backbone and weights must be names or files, got {backbone!r:.40} and {weights!r:.40}")
        # Names of weights have neither a suffix nor a folder.
        file = weights if weights and (Path(weights).suffix or os.path.exists(os.path.expanduser(weights))) else None
        self.backbone, features, (mean, std) = make_backbone(backbone, None if file else weights)
        if file:
            load_weights(self.backbone, file)
        self.head = nn.Linear(features, dim, bias=False) if layers == 1 else _Perceptron(features, dim)
        self.head.requires_grad_(head != "frozen")
        if head == "only":
            self.backbone.requires_grad_(False)
        self.name = backbone if isinstance(backbone, str) else type(backbone).__name__
        self.precision = one_of("precision", precision, ("auto", "float32", "bfloat16"))
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.to(torch.float32, memory_format=torch.channels_last)  # whatever torch's default is

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Parameters
        ----------
        images : Tensor of shape (N, 3, H, W), or (N, F)
            uint8 in 0..255, or floating point in 0..1; or what :meth:`features` makes of images.

        Returns
        -------
        Tensor of shape (N, dim), float32
        """
        features = self.features(images) if images.ndim == 4 else images
        with torch.autocast(images.device.type, enabled=False):  # distances need more than bfloat16's three digits
            embeddings = self.head(features.float())
        return self.scale * (F.normalize(embeddings) if self.normalize else embeddings)

    def features(self, images: Tensor) -> Tensor:
        """Return what the backbone makes of images: (N, F), float32 or bfloat16."""
        if images.shape[1] not in (1, 3):
            raise ValueError(f"images must have shape (N, 3, H, W), got {tuple(images.shape)}")
        images = images.float() / (1 if images.is_floating_point() else 255)
        images = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        try:
            with torch.autocast(images.device.type, torch.bfloat16, enabled=self.takes_bfloat16(images.device.type)):
                return self.backbone(images)
        except (RuntimeError, AssertionError, ValueError):
            height, width = images.shape[2:]
            known = [str(side) for side in sorted(SIDES) if output_shape(self.backbone, side, side)]
            if not known or output_shape(self.backbone, height, width):
                raise  # for another reason
            raise ValueError(
                f"backbone {self.name} cannot take images of {height} x {width} pixels; "
                f"set size to one that it can, such as {', '.join(known)}"
            ) from None

    def takes_bfloat16(self, kind: str) -> bool:
        """Tell whether the backbone computes in bfloat16 on a kind of device."""
        return self.precision == "bfloat16" or (self.precision == "auto" and _bfloat16_is_fast(kind))


@contextmanager
def calm_threads(model: EmbeddingNet, where: torch.device) -> Iterator[None]:
    """Train on one thread where torch has two and the second gains little.

    In the gradient of a bfloat16 convolution, oneDNN's threads spin until the last is done. Two threads train the small
    network 1.1 times as fast as one on a quiet machine, and four times as slowly as one beside a busy process.
    """
    threads = torch.get_num_threads()
    alone = threads == 2 and where.type == "cpu" and model.name == "small" and model.takes_bfloat16("cpu")
    torch.set_num_threads(1 if alone else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads if alone else torch.get_num_threads())


class _Perceptron(nn.Module):
    """A linear layer, and a perceptron added to it that begins as zero."""

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.linear, self.first = nn.Linear(features, dim, bias=False), nn.Linear(features, dim)
        self.second = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.second(F.relu(self.first(x)))
