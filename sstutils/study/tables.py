"""Results over seeds as tables and documents in Markdown, whatever the names in them."""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from ..files import atomic_write
from .forecast import format_duration

_TITLES = {"map@r": "MAP@R", "r_precision": "R-precision", "nmi": "NMI"}
NAMES = {"sst": "SST", "balanced": "class-balanced"}  # as they are written in tables and figures


def plain(value: Any) -> Markup:
    r"""Return a value as text that Markdown, and a table of it, shows as it is; what is marked as Markdown is kept.

    Examples
    --------
    >>> print(plain("a|b <c>"), plain(0.10), plain(True))
    a\|b &lt;c&gt; 0.1 yes
    """
    if isinstance(value, Markup):
        return value
    if value is None or isinstance(value, bool):
        value = {True: "yes", False: "no", None: "none"}[value]
    text = f"{value:g}" if isinstance(value, float) else str(value)
    text = escape(re.sub(r"[^\S\N{NO-BREAK SPACE}]+", " ", text), quote=False)
    return Markup(re.sub(r"([\\`*_\[\]|$])", r"\\\1", text))


def render(template: str, **values: Any) -> str:
    """Render a template of this folder; every value is escaped: for HTML by the engine, for Markdown by `plain`."""
    import jinja2

    html = template.endswith(".html.j2")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=html,
        finalize=None if html else plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"title": title, "spread": spread, "duration": format_duration, "link": link, "code": code}
    return re.sub(r"\n{3,}", "\n\n", environment.get_template(template).render(values)).strip() + "\n"


def write_report(path: Path, texts: Mapping[str, str], figures: Mapping[str, Any], title: str) -> list[Path]:
    """Write a report of the runs in a file: texts beside it, by their suffixes, and figures into ``OUT/figures``.

    Returns the paths.
    """
    contents = {path.with_suffix(suffix): text.encode() for suffix, text in texts.items()}
    for kind, figure in figures.items():
        drawn = path.parents[1] / "figures" / f"{path.stem}_{kind}.png"
        contents |= {drawn: figure.png(), drawn.with_suffix(".svg"): figure.svg(f"{title}: {kind}").encode()}
    for target, content in contents.items():
        with atomic_write(target) as temporary:
            temporary.write_bytes(content)
    return list(contents)


def link(path: str) -> Markup:
    """Return a path as the target of a link in Markdown."""
    return Markup(quote(path))


def code(value: Any) -> Markup:
    """Return a value as code in Markdown, where a backslash would be seen."""
    return Markup("`" + re.sub(r"[`|\s]+", " ", str(value)) + "`")


def title(measure: str) -> str:
    """Return the name of a measure as papers write it."""
    return _TITLES.get(measure, measure.capitalize())


def spread(values: Sequence[float], form: str = ".3f") -> str:
    """Return the mean of some values and its 95 % confidence interval: the mean alone of one value, a dash of none."""
    from ..figures.plots import interval

    if not len(values):
        return "–"
    mean, half = interval(values)
    return f"{mean:{form}}" + (f" ±\N{NO-BREAK SPACE}{half:{form.lstrip('+')}}" if math.isfinite(half) and half else "")


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]], text: int = 1) -> Markup:
    """Return a table in Markdown whose columns, but the first `text`, are numbers."""
    lines = [f"| {' | '.join(map(plain, row))} |" for row in (titles, *rows)]
    return Markup("\n".join([lines[0], "|---" * text + "|---:" * (len(titles) - text) + "|", *lines[1:]]))


def results_table(
    results: Sequence[Mapping[str, float]], recipe: Mapping[str, Any], seeds: Sequence[int], note: str = ""
) -> str:
    """Return what networks of one recipe reached as a table of one row.

    Parameters
    ----------
    results : sequence of dict
        What :func:`sstutils.evaluate` measured, for each seed: the table has means and 95 % confidence intervals
        (Student's t), none of a single seed.
    recipe : dict
        Fields of the recipe.
    seeds : sequence of int
        As many as there are results.
    note : str
        Stands beside each number.
    """
    batches = f"{recipe['sampler']} batches of {recipe['batch_size']}"
    network = f"{recipe['backbone']}, {recipe['dim']}-d, {recipe['head']} head"
    words = f"{NAMES.get(recipe['loss'], recipe['loss'])}, {batches}; {network}"
    mark = f" **{plain(note)}**" * bool(note)
    cells = [Markup(spread([result[name] for result in results]) + mark) for name in results[0]]
    return table(["trained by", "seeds", *map(title, results[0])], [[words, ", ".join(map(str, seeds)), *cells]], 2)


def part_note(options: Mapping[str, Any]) -> str:
    """Return what must stand beside numbers that were measured with these options of a data set."""
    return f"part: {options['part']} images" if "part" in options else ""
