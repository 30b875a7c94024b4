"""Networks of timm as backbones, where it is installed: they are made for photographs."""

import difflib

from torch import nn

from ..backbones import Normal, no_download
from ..files import one_line


def timm_network(name: str, weights: str | None) -> tuple[nn.Module, int, Normal]:
    """Make a network of timm, with its own normalisation; weights of any name are those that timm has for it."""
    try:
        import timm
    except ImportError:
        raise ValueError(f"backbone timm:{name} needs timm, which is not installed; run pip install timm") from None
    try:
        network = timm.create_model(name, pretrained=bool(weights), num_classes=0)
    except OSError as error:
        raise no_download(name, error) from None
    except RuntimeError as error:
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else one_line(error)
        raise ValueError(f"unknown backbone timm:{name}; {hint}") from None
    of = timm.data.resolve_model_data_config(network)
    return network, network.num_features, (tuple(of["mean"]), tuple(of["std"]))
