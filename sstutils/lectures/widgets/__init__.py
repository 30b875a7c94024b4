"""Widgets: things to move, in a notebook and in a page without a kernel."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "GradientExplorer": "gradients",
    "NeighborhoodExplorer": "neighborhoods",
    "Playground": "playground",
    "Predict": "predict",
    "RetrievalGame": "game",
    "TrainingReplay": "replay",
    "TsnePanel": "tsne",
    "seal": "predict",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
