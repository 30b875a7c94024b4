"""What a search shows: a page, or an image, of the pictures that were found; and where queries come from."""

import base64
import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..datasets.base import FileDataset
from ..datasets.images import open_image
from ..datasets.source import list_pictures
from ..files import not_found


def render_page(found: Sequence[dict[str, Any]]) -> str:
    """Render what :meth:`Index.describe` returns as a page of HTML that needs no other file."""
    import jinja2

    made = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    return made.from_string(template).render(found=found, thumbnail=_thumbnail)


def draw_found(found: Sequence[dict[str, Any]]) -> Any:
    """Draw what :meth:`Index.describe` returns: a row for each query, with the pictures found for it."""
    from ..figures.style import styled  # only now: a search without it loads no matplotlib

    return styled(_draw_found)(found)


def _draw_found(found: Sequence[dict[str, Any]]) -> Any:
    """Draw a row for each query."""
    from ..figures.images import blank_sheet, read, shorten, show_image
    from ..figures.inputs import words

    side, gap, below = 0.9, 0.1, 0.32
    most = max(len(one["found"]) for one in found)
    figure, axes = blank_sheet((most + 1) * (side + gap) + 3 * gap, len(found) * (side + below) + gap)
    drawn = words(figure, {shorten(near["class"], side) for one in found for near in one["found"]})
    for row, one in enumerate(found):
        y = gap + row * (side + below)
        texts = [(n["file"], f"{drawn[shorten(n['class'], side)]}\n{n['distance']:.3g}") for n in one["found"]]
        for column, (path, text) in enumerate([(one["query"], "query"), *texts]):
            x = gap + column * (side + gap) + 2 * gap * (column > 0)
            show_image(axes, read(figure, FileDataset([path], [0], [""], ""), 0), x, y, side)
            axes.text(x + side / 2, y + side + 0.05, text, ha="center", va="top", fontsize=7)
    figure.alt = f"{len(found)} pictures, each followed by the {most} nearest of an index, with class and distance."
    return figure


def list_queries(paths: Sequence[str | os.PathLike]) -> list[str]:
    """List pictures to search for: files as they are, and of folders all pictures that can be read."""
    queries = []
    for path in paths:
        if not os.path.isdir(path):
            queries.append(str(path))
            continue
        for name in list_pictures(path):
            try:
                open_image(os.path.join(path, name))
            except OSError as error:
                warnings.warn(f"{error}; it is left out", stacklevel=2)
            else:
                queries.append(os.path.join(path, name))
    if not queries:
        raise not_found("pictures", paths, "Give a picture, or a folder of some.")
    return queries


def find_index(folder: str | os.PathLike) -> Path:
    """Return the only index in a folder."""
    found = sorted(Path(folder).glob("*.index"))
    if len(found) != 1:
        there = ", ".join(map(str, found)) or f"none in {folder}"
        raise ValueError(f"give the index to search as --index FILE; there is {there}")
    return found[0]


def _thumbnail(path: str, side: int = 288) -> str:
    """Make a small JPEG of a picture, as the address that holds it; of one that is gone, an empty image."""
    try:
        image = open_image(path)
    except OSError:
        return "data:,"
    image.thumbnail((side, side))
    image.save(raw := io.BytesIO(), "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(raw.getvalue()).decode()}"
