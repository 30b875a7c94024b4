"""The door of the plot functions: what users hand over becomes arrays, and their words what can be drawn."""

import functools
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.font_manager import findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.mathtext import MathTextParser
from torch import Tensor

from ..checks import class_labels, finite_matrix


def to_numbers(values: Any) -> np.ndarray:
    """Convert an array or tensor, of whatever type, device and gradient, to float64."""
    return values.detach().cpu().double().numpy() if isinstance(values, Tensor) else np.asarray(values, dtype=float)


def to_points(layout: Any) -> np.ndarray:
    """Convert a map to a finite float64 array of shape (N, 2)."""
    points = finite_matrix(layout, "layout").double().numpy(force=True)
    if points.shape[1] != 2:
        raise ValueError(f"layout must have shape (N, 2), got {points.shape}")
    return points


def to_labels(labels: Any, count: int | None = None) -> np.ndarray:
    """Convert class labels to a (N,) int64 array; whole numbers may be written as floats."""
    if getattr(labels, "dtype", None) in (np.float32, np.float64) and np.all(labels == np.rint(labels)):
        labels = labels.astype(np.int64)
    return class_labels(labels, count).numpy(force=True)


def check_names(names: Any, labels: np.ndarray) -> Sequence[Any] | None:
    """Return names, of pandas by position; refuse them if a class has none, or its would be counted from the end."""
    names = names.tolist() if hasattr(names, "tolist") else names
    if names is not None and not 0 <= labels.min() <= labels.max() < len(names):
        raise ValueError(f"names must hold one for each class, {labels.min()} to {labels.max()}, got {len(names)}")
    return names


def clean(text: Any) -> str:
    """Put a text on one line, without signs that no file format takes: control characters, halves of pairs."""
    drop = {"Cc", "Cs", "Cn", "Co"}  # Unicode's categories: control, surrogate, not assigned, private use
    return " ".join("".join(c for c in str(text) if c.isspace() or unicodedata.category(c) not in drop).split())


def words(figure: Any, texts: Iterable[Any], formulas: bool = False) -> dict[Any, str]:
    """Make a user's words what matplotlib draws as they are: every text of a user enters a figure here.

    No sign in them begins a formula, and each has a font: where those of the style lack it, another installed one.
    Texts with a sign that no installed font has become numbers, which the alternative text explains; a warning says
    what to install.

    Parameters
    ----------
    figure : Figure
    texts : iterable
        Names of classes, of curves, titles.
    formulas : bool
        Whether what stands between dollar signs is a formula, as far as it can be read as one.

    Returns
    -------
    dict
        What to draw for each text.
    """
    drawn = {text: clean(text) for text in texts}
    lacking = _add_fonts(set("".join(drawn.values())))
    if lacking:
        kinds = sorted({_script(sign) for sign in lacking})
        warnings.warn(
            f"no installed font has {' '.join(sorted(lacking)[:8])}: names with such signs are drawn as numbers; "
            f"install a font for {', '.join(kinds)}, such as Noto",
            stacklevel=4,
        )
        numbers = {text: f"#{number}" for number, text in enumerate(drawn, 1) if lacking & set(drawn[text])}
        figure.notes.append(f"Numbers stand for names: {', '.join(f'{n} for {drawn[t]}' for t, n in numbers.items())}.")
        drawn |= numbers
    return {text: seen if formulas and _is_formula(seen) else seen.replace("$", r"\$") for text, seen in drawn.items()}


def _is_formula(text: str) -> bool:
    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return False
    return True


def _add_fonts(signs: set[str]) -> set[str]:
    """Add installed fonts that have some signs to those of the present style; return the signs that none has."""
    families = list(matplotlib.rcParams["font.family"])
    signs = signs.difference(*(_signs(findfont(family)) for family in families))
    plain = sorted(fontManager.ttflist, key=lambda font: (font.style != "normal", font.weight not in (400, "normal")))
    for font in plain:
        if not signs:
            break
        found = signs & _signs(font.fname) if not font.name.startswith("Last Resort") else None  # it has boxes for all
        if found:
            families.append(font.name)
            signs = signs - found
    matplotlib.rcParams["font.family"] = families
    return signs


@functools.cache
def _signs(path: str) -> frozenset[str]:
    """Return the signs that a font can draw, none if it cannot be read or holds pictures only."""
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()


def _script(sign: str) -> str:
    """Name the script of a sign, as fonts are called."""
    script = unicodedata.name(sign, "OTHER SIGNS").split()[0]
    return "emoji" if unicodedata.category(sign) == "So" else script if script == "CJK" else script.title()
