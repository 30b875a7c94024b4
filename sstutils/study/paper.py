"""The whole study: each data set on this machine trained, evaluated and drawn, and one report of it.

Finished work is kept, and an interrupted study continues. All numbers of the report come from the files of the runs,
except what others published, which stands apart in the template.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from html import escape, unescape
from os import PathLike
from pathlib import Path
from typing import Any

import jinja2
import mistune
from markupsafe import Markup

from .. import checkpoints, figures
from ..datasets import NAMES, info, load
from ..datasets.subsets import protocol_ks
from ..evaluation import evaluate
from ..figures import plots
from ..files import atomic_write, digest, exclusive, file_name
from ..recipes import MODERN, PAPER, Recipe
from ..runs import ON_A_PART, embed_checkpoint, run
from ..runs import plan as plan_run
from .forecast import forecast, format_duration
from .tables import part_note, render, results_table

__all__ = ["DATA", "paper"]

DATA = ("cub200", "cars196", "sop")  # those of the paper


# ---------------------------------------------------------------------------------------------------------------------
# The study
# ---------------------------------------------------------------------------------------------------------------------
def paper(
    data: Sequence[str] | str | None = None,
    *,
    recipe: str = "default",
    seeds: Sequence[int] = (0,),
    out: str | PathLike = "output",
    part: int | str = "auto",
    where: str | None = None,
    workers: int | None = None,
    download: bool = False,
    cache: bool = True,
    progress: bool = True,
    **values: Any,
) -> Path:
    """Run the study of the paper on the data sets that are on this machine, and write a report.

    Networks, results and the report are in ``OUT/paper``, figures in ``OUT/figures``. Existing results are kept; called
    again, an interrupted study continues.

    Parameters
    ----------
    data : str or sequence of str, optional
        Names of data sets; by default those of the paper (:data:`DATA`) that are on this machine.
    recipe : {"default", "paper", "modern"}
        See :func:`sstutils.recipes.recipe_for`: the default is the paper's, for its own data sets.
    seeds : sequence of int
        A network is trained for each; the figures show that of the first.
    out : path
        Output folder.
    part, where, workers, cache, progress
        As for :func:`sstutils.run`. A study continues with the part of the data it was started with.
    download : bool
        Download data sets that are missing.
    **values
        Fields of the recipe other than the seed.

    Returns
    -------
    Path
        ``OUT/paper/report.html``; ``report.md`` is in the same folder.

    Raises
    ------
    ValueError
        If there is nothing to study, something is unknown, or the files in `out` belong to another study.
    FileNotFoundError, OSError
        If data are missing, something cannot be read or written, or another study writes the same report.
    """
    seeds = tuple(dict.fromkeys(seeds))
    if "seed" in values or not seeds:
        raise ValueError("a study has one or more seeds; use seeds, not seed")
    names = list(dict.fromkeys([data] if isinstance(data, str) else data or DATA))
    present = {name: info(name)["present"] or download for name in names}
    if not data:
        names = [name for name in names if present[name]]
    if not names:
        raise ValueError(
            f"none of the data sets of the paper is on this machine ({', '.join(DATA)}); download one with "
            f"`sst data {DATA[0]} --download`, or use included data: `sst paper --data glyphs`"
        )
    for name in names:
        if not present[name]:
            load(name, "train")  # its error names what is missing and what to do
    folder = Path(out) / "paper"
    say = partial(print, flush=True) if progress else lambda *_: None
    say(f"study of {', '.join(names)}; seeds {', '.join(map(str, seeds))}: {folder}")
    how = {"workers": workers, "progress": progress}
    studies: list[dict[str, Any]] = []
    with exclusive(folder / "report.html"):
        for number, name in enumerate(names):
            plan = {"recipe": recipe, "part": _part(name, folder, seeds, part), "where": where, **values}
            if progress and (line := forecast(name, **plan, download=download)):
                say(line)
            first, found = _file(folder, name, seeds[0]), []
            for seed in seeds:
                _train(name, folder, {**plan, "seed": seed}, {**how, "download": download, "cache": cache}, say)
                found.append(_measure(_file(folder, name, seed), where, how, say))
            studies.append(
                {
                    "data": name,
                    "runs": found,
                    "curves": _draw_curves(name, found, folder),
                    # The idea and the gradients are one file each, whatever the data.
                    "figures": _draw(name, first, Path(out), ["3", "4"] if studies else None, say, where=where, **how),
                    "reasons": _reasons(found[0], recipe, values),
                }
            )
            report = _report(studies, names[number + 1 :], folder)
    say(f"{report}, and as Markdown {report.with_suffix('.md')}")
    return report


def _file(folder: Path, data: str, seed: int) -> Path:
    return folder / f"{file_name(data)}-seed{seed}.pt"


def _part(data: str, folder: Path, seeds: Sequence[int], part: int | str) -> int | str:
    """Return the part of the data: unless one is asked for, that with which the study was started."""
    existing = [path for seed in seeds if (path := _file(folder, data, seed)).exists()]
    if part != "auto" or not existing:
        return part
    options = checkpoints.load_checkpoint(existing[0])["data"]["options"]
    return options.get("part", "all")


def _train(data: str, folder: Path, plan: dict[str, Any], how: dict[str, Any], say: Any) -> None:
    """Train a network of the study to its end, unless that is done."""
    path = _file(folder, data, plan["seed"])
    if not path.exists():
        say(f"{data}, seed {plan['seed']}: training")
        run(data, out=path, **plan, **how)
        return
    chosen, options = plan_run(data, **plan)
    saved = checkpoints.load_checkpoint(path)
    others = checkpoints.differing(saved, chosen)
    if (own := saved["data"]["options"]) != options:
        others.append(f"{own.get('part', 'all')} images (now {options.get('part', 'all')})")
    if others:
        raise ValueError(
            f"{path} was trained with {', '.join(others)}; run the study with its original options, or use --out for "
            "another folder"
        )
    if checkpoints.unfinished(saved):
        say(f"{data}, seed {plan['seed']}: resuming after epoch {len(saved['history'])}")
        run(data, out=path, resume=True, where=plan["where"], **how)


def _measure(path: Path, where: str | None, how: dict[str, Any], say: Any) -> dict[str, Any]:
    """Return the results of a network, evaluating it unless they were saved for this very file."""
    file, fingerprint = path.with_suffix(".json"), digest(path.read_bytes())
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        if saved["checkpoint"]["digest"] == fingerprint:
            say(f"{saved['data']['name']}, seed {saved['recipe']['seed']}: already trained and evaluated")
            return saved | {"file": file.name}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # missing or incomplete
    started = time.perf_counter()
    embeddings, dataset, content = embed_checkpoint(path, "test", where=where, **how)
    embedded = time.perf_counter()
    results = evaluate(embeddings, dataset.targets, protocol_ks(dataset))
    evaluated = time.perf_counter()
    train = load(content["data"]["name"], "train", **content["data"]["options"])
    sizes = {
        split: {"images": len(items), "classes": len(items.classes)}
        for split, items in (("train", train), ("test", dataset))
    }
    training, sampling = (sum(row[name] for row in content["history"]) for name in ("seconds", "sampling"))
    seconds = {"training": training, "sampling": sampling}
    found = {
        "results": results,
        "data": {**content["data"], **sizes},
        "recipe": content["recipe"],
        "epochs": len(content["history"]),
        "ended": content["training"]["ended"],
        "seconds": {**seconds, "embedding": embedded - started, "evaluation": evaluated - embedded},
        "hardware": {"training": content.get("hardware"), "evaluation": checkpoints.hardware(where)},
        "versions": content["versions"],
        "checkpoint": {"file": path.name, "digest": fingerprint},
        "history": content["history"],
    }
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    say(
        f"{found['data']['name']}, seed {found['recipe']['seed']}: Recall@1 {results['recall@1']:.3f}, trained in "
        f"{format_duration(training)}, evaluated in {format_duration(evaluated - started)}"
    )
    return found | {"file": file.name}


def _draw_curves(data: str, found: Sequence[dict[str, Any]], folder: Path) -> tuple[str, str]:
    """Draw the curves of training; return the name of the file and the alternative text."""
    histories = {f"seed {run['recipe']['seed']}": run["history"] for run in found}
    figure = plots.history(histories if len(found) > 1 else found[0]["history"])
    name = f"{file_name(data)}-curves.png"
    with atomic_write(folder / name) as temporary:
        temporary.write_bytes(figure.png())
    return name, figure.alt


def _draw(data: str, path: Path, out: Path, ids: Sequence[str] | None, say: Any, **how: Any) -> list[dict[str, Any]]:
    """Draw the figures of a data set that are missing or show another network; return what is known of each."""
    content, context = checkpoints.load_checkpoint(path), figures.Context(data, path, out)
    files = [out / "figures" / f"{figures.file_stem(row, data)}.json" for row in figures.find(ids)]
    stale = [file.stem for file in files if not _up_to_date(file, figures.command(file.stem, context), path, content)]
    if stale:
        say(f"{data}: drawing {', '.join(stale)}")
        figures.make(stale, data=data, checkpoint=path, out=out, **how)
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _up_to_date(file: Path, command: str, checkpoint: Path, content: dict[str, Any]) -> bool:
    """Return whether a figure exists and shows this very network."""
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        drawn = min((file.parent / name).stat().st_mtime for name in about["files"])
        shown = about["checkpoint"] or content
        same = all(shown[name] == content[name] for name in ("recipe", "versions"))
        return same and about["command"] == command and drawn >= checkpoint.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _reasons(run: dict[str, Any], recipe: str, values: dict[str, Any]) -> list[tuple[str, Any, Any, str]]:
    """Return the values of a recipe that are not the paper's: name, value, the paper's value, and the reason."""
    named = asdict(Recipe(**PAPER))
    found = []
    for name, value in run["recipe"].items():
        if name == "seed" or value == named[name]:
            continue
        if name in values:
            why = "requested"
        elif "part" in run["data"]["options"] and ON_A_PART.get(name) == value:
            why = "several neighborhoods and a feasible time on part of the data"
        else:
            why = MODERN[name][1] if recipe == "modern" else "tuned for small images"
        found.append((name, value, named[name], why))
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The report
# ---------------------------------------------------------------------------------------------------------------------
def _report(studies: Sequence[dict[str, Any]], waiting: Sequence[str], folder: Path) -> Path:
    """Write the report as Markdown and HTML; return the path of the latter."""
    runs = [found for study in studies for found in study["runs"]]
    for found in runs:
        named = (_machine(found["hardware"][what]) for what in ("training", "evaluation"))
        found["machines"] = list(dict.fromkeys(named))
    here = {study["data"] for study in studies} | set(waiting)
    seconds = sum(found["seconds"][name] for found in runs for name in ("training", "embedding", "evaluation"))
    versions = [f"{name} {found['versions'][name]}" for found in runs for name in ("sstutils", "torch")]
    markdown = render(
        "report.md.j2",
        studies=[_section(study) for study in studies],
        seeds=dict.fromkeys(found["recipe"]["seed"] for found in runs),
        time=format_duration(seconds),
        machines=dict.fromkeys(found["machines"][0] for found in runs),
        versions=dict.fromkeys(versions),
        waiting=[file_name(name) for name in waiting],
        missing=[(name, NAMES[name][1]) for name in DATA if name not in here and not info(name)["present"]],
    )
    for name, text in (("report.md", markdown), ("report.html", _page(markdown, folder))):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder / "report.html"


def _section(study: dict[str, Any]) -> dict[str, Any]:
    """Return what the report says of a data set."""
    runs, kind = study["runs"], study["data"].partition(":")[0].lower()
    results, seeds = [run["results"] for run in runs], [run["recipe"]["seed"] for run in runs]
    note = part_note(runs[0]["data"]["options"])
    return {
        **study,
        "name": file_name(study["data"]),
        "description": "" if kind == "folder" else NAMES[kind][1].split(";")[0].capitalize(),
        "note": note,
        "results": results,
        "table": results_table(results, runs[0]["recipe"], seeds, note),
    }


def _machine(hardware: dict[str, Any] | None) -> str:
    """Return a machine in words."""
    if not hardware:
        return "an unknown machine"
    memory = f", {hardware['memory'] / 2**30:.0f} GiB" if hardware["memory"] else ""
    cores = f"{hardware['cores']} cores of {hardware['processor'] or 'an unnamed processor'}{memory}"
    return f"{hardware['gpu']} with {cores}" if "gpu" in hardware else f"{cores}, no GPU"


class _Html(mistune.HTMLRenderer):
    """HTML of Markdown: headings have names, pictures are within the page, wide tables scroll."""

    def __init__(self, folder: Path) -> None:
        super().__init__(escape=True)
        self.folder, self.headings = folder, []

    def text(self, text: str) -> str:
        return escape(unescape(text))

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        name = re.sub(r"[^\w]+", "-", unescape(text).lower()).strip("-")
        self.headings.append((level, name, Markup(text)))
        return f'<h{level} id="{escape(name)}">{text}</h{level}>\n'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        data = base64.b64encode((self.folder / url).read_bytes()).decode()
        return f'<img src="data:image/png;base64,{data}" alt="{escape(unescape(text))}">'

    def table(self, text: str) -> str:
        return f'<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>\n{text}</table></div>\n'


def _page(markdown: str, folder: Path) -> str:
    """Return a report in Markdown as a single page of HTML."""
    renderer = _Html(folder)
    body = Markup(mistune.create_markdown(renderer=renderer, plugins=["table"])(markdown))
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    template = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True).get_template("report.html.j2")
    (_, _, title), *headings = renderer.headings
    return template.render(title=title, headings=headings, body=body)
