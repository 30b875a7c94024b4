"""Saved runs: what they are called, and when one is done: it has this recipe, these data and this version."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import __version__
from ..checkpoints import differing
from ..checks import real_number
from ..datasets import load
from ..files import atomic_write, cause, digest, file_name, resolve
from ..recipes import Recipe

_NUMBERS = re.compile(r"recall@\d+|map@r|r_precision|nmi|seconds|processor|items|epochs?|seed|batch_size")


def unique_name(data: str) -> str:
    """Name a data set in the files of a study: folders of one name differ by where they are and what they hold."""
    path = data.partition(":")[2]
    mark = path and "-" + digest(str(resolve(path).resolve()), load(data, "train").fingerprint)[:6]
    return file_name(data) + mark


def differences(saved: Mapping[str, Any], recipe: Recipe, data: Any) -> list[str]:
    """Say in what a saved run differs from one with this recipe on these data by this version; in nothing: it is done.

    Parameters
    ----------
    saved : dict
        With `recipe` (dict), `data` and `versions`: a row of a study, or the content of a checkpoint.
    recipe : Recipe
    data : any
        What `saved` holds of its data.
    """
    try:
        found = differing({"recipe": asdict(Recipe(**saved["recipe"]))}, recipe)
        version, on = saved["versions"]["sstutils"], saved["data"]
    except (KeyError, TypeError, ValueError):
        return ["another version"]
    found += [f"other data: {on} (now {data})"] * (on != data)
    return found + [f"sstutils {version} (now {__version__})"] * (version != __version__)


def weights_digest(recipe: Recipe) -> str:
    """Hash the file of the weights that a recipe begins with; "" if they are no file."""
    file = resolve(recipe.weights or "")
    return digest(file.read_bytes()) if file.is_file() else ""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the runs of a study."""
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
            raise ValueError("not a list of runs")
        for key, value in (entry for row in rows for entry in row.items() if _NUMBERS.fullmatch(entry[0])):
            real_number(key, value)
    except ValueError as error:
        raise ValueError(f"{path} is not a study ({cause(error)}); move it away, or choose another --out") from None
    return rows


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the runs of a study, a line each."""
    with atomic_write(path) as temporary:
        temporary.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")
