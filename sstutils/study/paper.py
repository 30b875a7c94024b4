"""The whole study: each data set on this machine trained, evaluated and drawn, and one report of it.

Finished work is kept, and an interrupted study continues. All numbers of the report come from the files of the runs,
except what others published, which stands apart in the template.
"""

import base64
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from html import escape, unescape
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import mistune
from markupsafe import Markup

from .. import checkpoints, figures
from ..datasets import NAMES, info, load
from ..datasets.subsets import innermost, protocol_ks
from ..evaluation import check_measurable, evaluate
from ..figures import plots
from ..files import atomic_write, check_output, digest, exclusive, file_name, one_line, resolve
from ..recipes import MODERN, PAPER, Recipe
from ..runs import ON_A_PART, embed_checkpoint, run
from ..runs import plan as plan_run
from .forecast import forecast, format_duration
from .saved import differences, unique_name
from .tables import part_note, render, results_table

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
    if not data and not download:
        names = [name for name in names if info(name)["present"]]
    if not names:
        raise ValueError(
            f"none of the data sets of the paper is on this machine ({', '.join(DATA)}); download one with "
            f"`sst data {DATA[0]} --download`, or use included data: `sst paper --data glyphs`"
        )
    for name in names:
        load(name, "train", download=download)  # its error names what is missing and what to do
        check_measurable(load(name, "test", download=download).targets)
    folder = Path(out) / "paper"
    stems = {name: unique_name(name) for name in names}
    for name, stem in stems.items():
        runs = [f"{stem}-seed{seed}{suffix}" for seed in seeds for suffix in (".pt", ".json")]
        read = info(name)["where"]
        for file in ("report.html", "report.md", f"{stem}-curves.png", *runs):
            check_output(folder / file, *read)
    say = partial(print, flush=True) if progress else lambda *_: None
    say(f"study of {', '.join(names)}; seeds {', '.join(map(str, seeds))}: {folder}")
    how = {"where": where, "workers": workers, "progress": progress}
    studies: list[dict[str, Any]] = []
    with exclusive(folder / "report.html"):
        for name, stem in stems.items():
            files = [folder / f"{stem}-seed{seed}.pt" for seed in seeds]
            plan = {"recipe": recipe, "part": _part(files, part), "where": where, **values}
            if progress and (line := forecast(name, **plan)):
                say(line)
            found = []
            for seed, file in zip(seeds, files, strict=True):
                _train(name, file, plan | {"seed": seed}, how | {"cache": cache}, say)
                found.append(_measure(file, how, say))
            # The idea and the gradients are one file each, whatever the data. Figures of a folder stand apart, so that
            # they do not replace those of another folder of its name.
            place = Path(out) if stem == file_name(name) else folder / stem
            shown, missing = _draw(name, files[0], place, ["3", "4"] if studies else None, how, say)
            about = {"data": name, "name": stem, "reasons": _reasons(found[0], recipe, values), "missing": missing}
            studies.append({**about, "runs": found, "curves": _draw_curves(stem, found, folder), "figures": shown})
            report = _report(studies, names[len(studies) :], folder)
    say(f"{report}, and as Markdown {report.with_suffix('.md')}")
    return report


def _part(files: Sequence[Path], part: int | str) -> int | str:
    """Return the part of the data: unless one is asked for, that with which the study was started."""
    existing = [path for path in files if path.exists()]
    if part != "auto" or not existing:
        return part
    return checkpoints.load_checkpoint(existing[0])["data"]["options"].get("part", "all")


def _train(data: str, path: Path, plan: dict[str, Any], how: dict[str, Any], say: Any) -> None:
    """Train a network of the study to its end, unless that is done."""
    if not path.exists():
        say(f"{data}, seed {plan['seed']}: training")
        run(data, out=path, **how | plan)
        return
    saved, (chosen, options) = checkpoints.load_checkpoint(path), plan_run(data, **plan)
    part, fingerprint = (saved["data"][key] for key in ("options", "fingerprint"))
    others = differences(saved | {"data": fingerprint}, chosen, load(data, "train", **part).fingerprint)
    if part != options:
        others.append(f"{part.get('part', 'all')} images (now {options.get('part', 'all')})")
    if (file := resolve(chosen.weights or "")).is_file() and file.stat().st_mtime > path.stat().st_mtime:
        others.append(f"weights that {file} held before")
    if others:
        raise ValueError(
            f"{path} was trained with {', '.join(others)}; run the study with its original options, or use --out for "
            "another folder"
        )
    if checkpoints.unfinished(saved):
        say(f"{data}, seed {plan['seed']}: resuming after epoch {len(saved['history'])}")
        run(data, out=path, resume=True, **how)


def _measure(path: Path, how: dict[str, Any], say: Any) -> dict[str, Any]:
    """Return the results of a network, evaluating it unless they were saved for this very file and these data."""
    file, content = path.with_suffix(".json"), checkpoints.load_checkpoint(path)
    name, options = content["data"]["name"], content["data"]["options"]
    splits = {split: load(name, split, **options) for split in ("train", "test")}
    sizes = {split: {"images": len(items), "classes": len(items.classes)} for split, items in splits.items()}
    about = {
        "data": {**content["data"], **sizes, "test_fingerprint": splits["test"].fingerprint},
        "recipe": content["recipe"],
        "epochs": len(content["history"]),
        "ended": content["training"]["ended"],
        "versions": content["versions"],
        "checkpoint": {"file": path.name, "digest": digest(path.read_bytes())},
        "history": content["history"],
    }
    title = f"{name}, seed {content['recipe']['seed']}"
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        if all(saved[key] == about[key] for key in ("data", "recipe", "checkpoint")):
            say(f"{title}: already trained and evaluated")
            return saved | about | {"file": file.name}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # missing or incomplete
    times = [time.perf_counter()]
    embeddings, dataset, _ = embed_checkpoint(path, "test", **how)
    times.append(time.perf_counter())
    results = evaluate(embeddings, dataset.targets, protocol_ks(dataset))
    times.append(time.perf_counter())
    training, sampling = (sum(row[key] for row in content["history"]) for key in ("seconds", "sampling"))
    seconds = {"training": training, "sampling": sampling}
    seconds |= {"embedding": times[1] - times[0], "evaluation": times[2] - times[1]}
    machines = {"training": content.get("hardware"), "evaluation": checkpoints.hardware(how["where"])}
    found = {"results": results, **about, "seconds": seconds, "hardware": machines}
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    say(
        f"{title}: Recall@1 {results['recall@1']:.3f}, trained in {format_duration(seconds['training'])}, evaluated in "
        f"{format_duration(times[2] - times[0])}"
    )
    return found | {"file": file.name}


def _draw_curves(name: str, found: Sequence[dict[str, Any]], folder: Path) -> tuple[str, str]:
    """Draw the curves of training; return the name of the file and the alternative text."""
    histories = {f"seed {run['recipe']['seed']}": run["history"] for run in found}
    figure = plots.history(histories if len(found) > 1 else found[0]["history"])
    with atomic_write(folder / f"{name}-curves.png") as temporary:
        temporary.write_bytes(figure.png())
    return f"{name}-curves.png", figure.alt


def _draw(
    data: str, path: Path, out: Path, ids: Sequence[str] | None, how: dict[str, Any], say: Any
) -> tuple[list[dict[str, Any]], str]:
    """Draw the figures of a data set that are missing or show another network; return them, and why others are not."""
    content, missing = checkpoints.load_checkpoint(path), ""
    context = figures.Context(data, path, out)
    files = [out / "figures" / f"{figures.file_stem(row, data)}.json" for row in figures.find(ids)]
    whole = innermost(load(data, "test")).fingerprint
    if stale := [file.stem for file in files if not _read_drawn(file, context, content, whole)]:
        say(f"{data}: drawing {', '.join(stale)}")
        try:
            figures.make(stale, data=data, checkpoint=path, out=out, **how)
        except ValueError as error:  # the others are drawn
            missing = one_line(error)
            say(missing)
    return [about for file in files if (about := _read_drawn(file, context, content, whole))], missing


def _read_drawn(file: Path, context: figures.Context, content: dict[str, Any], data: str) -> dict[str, Any] | None:
    """Read what is known of a figure; None unless it shows this very network, and test data of this fingerprint."""
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        drawn = min(file.with_suffix(suffix).stat().st_mtime for suffix in (".png", ".svg"))
        shown = about["checkpoint"] or content
        same = all(shown[name] == content[name] for name in ("recipe", "versions"))
        same &= about["data"] is None or about["data"]["whole_fingerprint"] == data
        same &= about["command"] == figures.command(file.stem, context) and drawn >= context.path.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        return None
    place = os.path.relpath(file.with_suffix(".png"), context.path.parent).replace(os.sep, "/")
    return about | {"file": place} if same else None


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
    markdown = render(
        "report.md.j2",
        studies=[_section(study) for study in studies],
        seeds=dict.fromkeys(found["recipe"]["seed"] for found in runs),
        time=format_duration(seconds),
        machines=dict.fromkeys(found["machines"][0] for found in runs),
        versions=dict.fromkeys(f"{x} {found['versions'][x]}" for found in runs for x in ("sstutils", "torch")),
        waiting=waiting,
        missing=[(name, NAMES[name][1]) for name in DATA if name not in here and not info(name)["present"]],
    )
    renderer = _Html(folder)
    body = Markup(mistune.create_markdown(renderer=renderer, plugins=["table"])(markdown))
    (_, _, title), *headings = renderer.headings
    html = render("report.html.j2", title=title, headings=headings, body=body)
    for name, text in (("report.md", markdown), ("report.html", html)):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder / "report.html"


def _section(study: dict[str, Any]) -> dict[str, Any]:
    """Return what the report says of a data set."""
    runs, kind = study["runs"], study["data"].partition(":")[0].lower()
    results, seeds = [run["results"] for run in runs], [run["recipe"]["seed"] for run in runs]
    note = part_note(runs[0]["data"]["options"])
    about = {"note": note, "results": results, "table": results_table(results, runs[0]["recipe"], seeds, note)}
    described = study["data"] if kind == "folder" else NAMES[kind][1].split(";")[0].capitalize()
    return {**study, **about, "description": described}


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
        data = base64.b64encode((self.folder / unquote(url)).read_bytes()).decode()
        return f'<img src="data:image/png;base64,{data}" alt="{escape(unescape(text))}">'

    def table(self, text: str) -> str:
        return f'<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>\n{text}</table></div>\n'
