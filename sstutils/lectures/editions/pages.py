"""The site: a page for each notebook and an index, each a single file that opens from disk with the network off."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path

import jinja2

from .lecture import Lecture, live, place
from .text import coloured

HERE = Path(__file__).parent
FOLD = 12
"""A cell of more lines is folded: the eye should stay with the text and the figures."""

IDEA = (
    "A neighborhood of the embedding becomes a mini-batch; the network embeds it; anchor and positive are pulled "
    "together, negatives pushed out of the sphere around them."
)


def read(name: str) -> str:
    """Return a text file of this folder."""
    text = (HERE / name).read_text(encoding="utf-8")
    return re.sub(r"//# sourceMappingURL=.*", "", text)  # a debugger would ask for the file


@cache
def fonts() -> str:
    """Return the style sheet of the fonts, with the fonts in it."""
    faces = (
        ("STIX Two Text", "normal", "400 700", "text"),
        ("STIX Two Text", "italic", "400 700", "text-italic"),
        ("STIX Two Math", "normal", "400", "math"),
    )
    return "\n".join(
        f'@font-face{{font-family:"{family}";font-style:{style};font-weight:{weight};font-display:block;'
        f"src:url(data:font/woff2;base64,{base64.b64encode((HERE / f'{file}.woff2').read_bytes()).decode()}) "
        'format("woff2")}'
        for family, style, weight, file in faces
    )


@cache
def templates() -> jinja2.Environment:
    """Return the templates of this folder; all that is put into them is HTML already."""
    loader = jinja2.FileSystemLoader(HERE)
    made = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["first_upper"] = lambda text: text[:1].upper() + text[1:]
    made.globals |= {"fonts": fonts, "read": read, "coloured": coloured, "FOLD": FOLD}
    return made


def site(
    series: Sequence[Lecture],
    out: Path,
    tell: Callable[[str], None] = print,
    slides: Collection[str] = (),
    colab: str = "",
) -> None:
    """Write a page for each lecture of a series, and the index, into the folder `out`.

    `tell` gets a line for each page; `slides` are the names of the lectures that have slides; `colab` is the address of
    the folder that Colab opens them from.
    """
    template = templates().get_template("page.html.j2")
    for i, lecture in enumerate(series):
        before = series[i - 1] if i else None
        after = series[i + 1] if i + 1 < len(series) else None
        cells = lecture.cells  # fills the headings, too
        page = template.render(lecture=lecture, cells=cells, before=before, after=after, colab=colab)
        (out / f"{lecture.name}.html").write_text(page, encoding="utf-8")
        tell(f"{lecture.name}.html")
    idea = series[0].path.parent.parent / "output" / "figures" / "idea.png"
    picture = base64.b64encode(idea.read_bytes()).decode() if idea.is_file() else ""
    index = templates().get_template("index.html.j2")
    minutes = sum(lecture.minutes or 0 for lecture in series)
    page = index.render(series=series, idea=picture, alt=IDEA, slides=slides, minutes=minutes)
    (out / "index.html").write_text(page, encoding="utf-8")
    tell("index.html")
    (out / "playground.html").write_text(playground(), encoding="utf-8")
    tell("playground.html")


def playground() -> str:
    """Return the page of the playground; its address says what it shows."""
    from ipywidgets.embed import dependency_state

    from ..widgets import Playground

    widget = Playground(address=True)
    figure, states = widget.picture(), dependency_state([widget], drop_defaults=False)
    still = base64.b64encode(figure.png(96)).decode()
    template = templates().get_template("playground.html.j2")
    return template.render(place=place(widget.model_id), widgets=live(states), still=still, alt=figure.alt)
