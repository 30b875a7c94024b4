"""Checkpoints: one file with all that is needed to use a network, or to go on training it."""

import io
import os
import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import version
from numbers import Number
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from .files import atomic_write, file_name, seal_archive, whole_file
from .models import EmbeddingNet, device, is_finite, load_tensors
from .recipes import Recipe, make_model

FORMAT = 1  # of checkpoints


def versions() -> dict[str, str]:
    """Return the versions of what a result depends on."""
    names = ("sstutils", "torch", "torchvision", "numpy", "scikit-learn", "openTSNE", "matplotlib", "mpltern", "pillow")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def hardware(where: str | torch.device | None = None) -> dict[str, Any]:
    """Return what a time depends on: processor, cores, threads of torch, memory (bytes), GPU; unknown ones are None."""
    cpu = memory = None
    with suppress(OSError):
        cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    with suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    chosen = device(where)
    gpu = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "" if chosen.type == "cpu" else chosen.type
    return {
        "processor": cpu[1].strip() if cpu else platform.processor() or platform.machine() or None,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory": memory,
        **({"gpu": gpu} if gpu else {}),
    }


def write(content: dict[str, Any], path: str | PathLike) -> None:
    """Write a checkpoint, whole or not at all: after an OSError, what was there before stays."""
    content = {"format": FORMAT, "versions": versions(), **content}
    raw = io.BytesIO()  # torch itself tells a full disk by an error that names nothing
    torch.save(content, raw)
    check_content(content, raw.getbuffer().nbytes)  # what could not be loaded is not written
    seal_archive(raw)
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(raw.getbuffer())
    except OSError as error:
        raise OSError(
            f"cannot write the checkpoint {path} ({error.strerror or error}): make room, or choose another file"
        ) from error


def checkpoint_path(data: str, out: str | PathLike = "output") -> Path:
    """Return where the network of a data set is kept by default: OUT/checkpoints/NAME.pt."""
    return Path(out) / "checkpoints" / f"{file_name(data)}.pt"


def load_checkpoint(path: str | PathLike) -> dict[str, Any]:
    """Read a checkpoint, and check it against the schema; nothing in it is executed.

    Returns
    -------
    dict
        ``recipe`` (dict), ``data`` (name, options, fingerprint), ``model`` (weights), ``history`` (list of rows),
        ``versions``, ``training`` (what resuming needs, or how it ended) and, if kept, ``hardware`` (last epoch).

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is not a valid checkpoint of this package.
    """
    with whole_file(path, "checkpoint", f"make one with `sst train NAME --out {path}`"):
        content = load_tensors(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError("another format")
        check_content(content, os.path.getsize(path))
        content["recipe"] = asdict(Recipe(**content["recipe"]))
        content["model"] = {k: v.float() if v.is_floating_point() else v for k, v in content["model"].items()}
    return content


# What a checkpoint holds; "*": any other keys; (): none. Recipe checks its values, `Run.load` the states of training.
_NOT_CHOICES = dict.fromkeys(("name", "root", "split", "download", "transform", "target_transform"), ())
_SCHEMA = {
    "format": int,
    "recipe": dict,
    "data": {"name": str, "options": _NOT_CHOICES | {"*": Number}, "fingerprint": str},
    "model": {"*": Tensor},
    "history": [dict.fromkeys(("epoch", "loss", "lr", "seconds", "*"), Number)],
    "versions": {"*": str},
    "training": {"ended": str},
}


def check_content(content: dict[str, Any], size: int, schema: Any = _SCHEMA) -> None:
    """Raise ValueError unless a file of `size` bytes holds what a schema says, its tensors all finite."""
    room = 4 * size  # a file holds once what its content may hold as model, as state of training and chosen
    for count, leaf in enumerate(_leaves(content)):
        if isinstance(leaf, Tensor):
            room -= leaf.numel() * leaf.element_size()
            if room < 0 or not is_finite(leaf):
                raise ValueError("weights that are not finite, or larger than the file")
        elif count > 10**6 or not isinstance(leaf, (str, int, float, NoneType)):
            raise ValueError(f"more than a million values, or one of type {type(leaf).__name__}")
        elif isinstance(leaf, str) and (len(leaf) > 4096 or "\0" in leaf):  # no path is longer
            raise ValueError(f"a text of {len(leaf):,} characters, or one with zero bytes")
    _check(content, schema, "it")


def _leaves(value: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the keys and values of nested dictionaries and lists."""
    if depth > 8:
        raise ValueError("lists within lists")
    if isinstance(value, dict):
        value = (*value, *value.values())
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _leaves(part, depth + 1)
    else:
        yield value


def _check(value: Any, schema: Any, name: str) -> None:
    """Raise ValueError, with the name of a value, unless it is of the types that a schema has."""
    kind = type(schema) if isinstance(schema, (dict, list)) else schema
    if not isinstance(value, kind) or (kind is Number and (isinstance(value, bool) or not abs(value) < 1e18)):
        raise ValueError(f"{name} is {value!r:.20}" if kind is Number else f"{name} is of type {type(value).__name__}")
    if isinstance(schema, list):
        for part in value:
            _check(part, schema[0], f"a row of {name}")
    if isinstance(schema, dict):
        if lacking := [key for key, kind in schema.items() if kind != () and key not in {*value, "*"}]:
            raise ValueError(f"{name} lacks {', '.join(lacking)}")
        for key, part in value.items():
            _check(key, str, "a key")
            _check(part, schema.get(key, schema.get("*", object)), key[:40])


def unfinished(content: dict[str, Any]) -> bool:
    """Tell whether the training of a checkpoint was stopped before its end."""
    return len(content["history"]) < content["recipe"]["epochs"] and not content["training"]["ended"]


def load_model(
    path: str | PathLike, where: str | torch.device | None = None, model: EmbeddingNet | None = None
) -> tuple[EmbeddingNet, dict[str, Any]]:
    """Return the trained network of a checkpoint, in evaluation mode, and the checkpoint itself.

    A network whose backbone is a module of one's own must be given, for its weights to be loaded into it.
    """
    content = load_checkpoint(path)
    model = model or make_model(replace(Recipe(**content["recipe"]), weights=None))
    try:
        for name, value in model.state_dict().items():
            if value.is_floating_point() != content["model"][name].is_floating_point():
                raise TypeError(f"{name} is of another kind")
        model.load_state_dict(content["model"])
    except (KeyError, RuntimeError, TypeError) as error:
        raise ValueError(f"{path} holds weights that do not fit its recipe: train it again") from error
    return model.to(device(where)).eval(), content


def differing(saved: dict[str, Any], recipe: Recipe) -> list[str]:
    """Return in words what is different in the recipe of a checkpoint's content and this one."""
    now = asdict(recipe)
    return [f"{name} {value!r} (now {now[name]!r})" for name, value in saved["recipe"].items() if value != now[name]]
