"""The whole study: every data set that is there trained, measured and drawn, and one report of it.

Nothing is done twice: what is there and belongs to this study is used, and what was stopped goes on. All numbers of the
report come from the files that the runs leave, but those of :data:`PEERS`, which stand apart.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

from .. import checkpoints, figures, runs
from ..datasets import NAMES, info, load
from ..datasets.base import protocol_ks
from ..evaluation import evaluate
from ..figures import plots
from ..files import atomic_write, digest, exclusive, file_name
from ..recipes import MODERN, PAPER, Recipe

__all__ = ["DATA", "PEERS", "paper", "part_note", "table_head", "table_row"]

DATA = ("cub200", "cars196", "sop")  # of the paper

# Recall@1 on these, in per cent, as others state it: method, network, three numbers, source.
PEERS: tuple[tuple[str, str, tuple[float, float, float], str], ...] = (
    (
        "Hierarchical triplet loss (HTL)",
        "BN-Inception, 512-d",
        (57.1, 81.4, 74.8),
        "W. Ge, W. Huang, D. Dong and M. R. Scott, Deep metric learning with hierarchical triplet loss, ECCV 2018",
    ),
    (
        "Proxy-Anchor",
        "BN-Inception, 512-d",
        (69.1, 86.4, 79.2),
        "S. Kim, D. Kim, M. Cho and S. Kwak, Proxy anchor loss for deep metric learning, CVPR 2020; "
        "[its authors' repository](https://github.com/tjddus9597/Proxy-Anchor-CVPR2020)",
    ),
    (
        "Triplet loss, semi-hard triplets",
        "ResNet-50, 128-d",
        (61.4, 75.2, 74.0),
        "K. Roth and B. Brattoli, [their repository of baselines]"
        "(https://github.com/Confusezius/Deep-Metric-Learning-Baselines)",
    ),
    (
        "Margin loss, distance-weighted sampling",
        "ResNet-50, 128-d",
        (63.4, 79.3, 76.1),
        "the same repository; the loss is that of C.-Y. Wu, R. Manmatha, A. J. Smola and P. Krähenbühl, Sampling "
        "matters in deep embedding learning, ICCV 2017",
    ),
)

_LOSSES = {"sst": "SST", "triplet": "triplet", "contrastive": "contrastive"}
_HEADS = {
    "trained": "The linear layer that makes the embedding is trained, as the authors meant it (`head=trained`); in "
    "their published code it never reached the optimiser, and stayed a random projection, which `head=frozen` repeats.",
    "frozen": "The linear layer that makes the embedding is a random projection that is never trained "
    "(`head=frozen`): so it was in the published code, where it never reached the optimiser. The authors meant it to "
    "be trained, which is `head=trained`.",
}


# ---------------------------------------------------------------------------------------------------------------------
# A row of a table
# ---------------------------------------------------------------------------------------------------------------------
def table_head(results: Sequence[Mapping[str, float]]) -> str:
    """Return the two lines of Markdown above rows of :func:`table_row`."""
    return f"| trained by | seeds | {' | '.join(map(_title, results[0]))} |\n|---|---|{'---:|' * len(results[0])}"


def _title(measure: str) -> str:
    return {"map@r": "MAP@R", "r_precision": "R-precision", "nmi": "NMI"}.get(measure, measure.capitalize())


def table_row(
    results: Sequence[Mapping[str, float]],
    recipe: Recipe | Mapping[str, Any],
    seeds: Sequence[int],
    note: str = "",
) -> str:
    """Return results as a row of a Markdown table: means and their 95 % confidence intervals by Student's t.

    Parameters
    ----------
    results : sequence of dict
        What :func:`sstutils.evaluate` measured, for each seed.
    recipe : Recipe or dict
    seeds : sequence of int
        As many as there are results; of one there is no interval.
    note : str
        What must stand beside each number.

    Returns
    -------
    str
        Recipe, seeds, and the measures in the order of the results.
    """
    recipe = recipe if isinstance(recipe, Mapping) else asdict(recipe)
    network = f"{recipe['backbone']}, {recipe['dim']}-d, {recipe['head']} head"
    batches = f"{recipe['sampler']} batches of {recipe['batch_size']}"
    words = f"{_LOSSES.get(recipe['loss'], recipe['loss'])}, {batches}; {network}"
    cells = [_plain(words), ", ".join(map(str, seeds))]
    return f"| {' | '.join([*cells, *_cells(results, results[0], note)])} |"


def _cells(results: Sequence[Mapping[str, float]], names: Iterable[str], note: str) -> Iterator[str]:
    """Yield the means of some measures, with their intervals, if there are any, and what must stand beside them."""
    for name in names:
        values = [result[name] for result in results]
        mean, half = plots.interval(values)
        spread = f" ±\N{NO-BREAK SPACE}{half:.3f}" if len(values) > 1 else ""
        yield f"{mean:.3f}{spread}" + (f" **{note}**" if note else "")


def part_note(options: Mapping[str, Any]) -> str:
    """Return what must stand beside numbers that were measured with these options of a data set."""
    return f"part: {options['part']} images" if "part" in options else ""


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
    """Run the study of the paper on the data sets that are there, and write one report.

    Networks, results and the report are in ``OUT/paper``, figures in ``OUT/figures``. What is there already is not made
    again; called again after it was stopped, it goes on.

    Parameters
    ----------
    data : str or sequence of str, optional
        Names of data sets; by default those of the paper (:data:`DATA`) that are on this machine.
    recipe : {"default", "paper", "modern"}
        See :func:`sstutils.recipes.recipe_for`: the default is the paper's, for its own data sets.
    seeds : sequence of int
        A network is trained for each. The figures show that of the first.
    out : path
        Folder of all output.
    part, where, workers, cache, progress
        As for :func:`sstutils.run`. A study goes on with the part of the data with which it was begun.
    download : bool
        Fetch data sets that are not there.
    **values
        Fields of the recipe, other than the seed.

    Returns
    -------
    Path
        ``OUT/paper/report.html``; ``report.md`` is beside it.

    Raises
    ------
    ValueError
        If nothing is there to be studied, something is unknown, or what is there belongs to another study.
    FileNotFoundError, OSError
        If data are not there, something cannot be read or written, or another study writes the same report.
    """
    seeds = tuple(dict.fromkeys(seeds))
    if "seed" in values or not seeds:
        raise ValueError("the study trains a network for each of its seeds: name at least one by seeds, and no seed")
    names = [data] if isinstance(data, str) else list(data or DATA)
    about = {name: info(name) for name in dict.fromkeys(names)}
    names = [name for name in about if download or data or about[name]["present"]]
    if not names:
        raise ValueError(
            f"none of the data sets of the paper is on this machine ({', '.join(DATA)}): fetch one by "
            f"`sst data {DATA[0]} --download`, or see the report on embedded data by `sst paper --data glyphs`"
        )
    if lacking := [name for name in names if not (download or about[name]["present"])]:
        for name in lacking:
            load(name, "train")  # tells what is missing, and what to do
    folder = Path(out) / "paper"
    say = print if progress else lambda *_: None
    say(f"study of {', '.join(names)}; seeds {', '.join(map(str, seeds))}: {folder}")
    studies: list[dict[str, Any]] = []
    with exclusive(folder / "report.html"):
        for name in names:
            study = {"data": name, "runs": []}
            begun_with = _part(name, folder, seeds, part)
            for seed in seeds:
                plan = {"recipe": recipe, "part": begun_with, "where": where, **values, "seed": seed}
                how = {"workers": workers, "progress": progress}
                _trained(name, folder, plan, how | {"download": download, "cache": cache}, say)
                study["runs"].append(_measured(_file(folder, name, seed), where, how, say))
            study["curves"] = _curves(study, folder)
            study["figures"] = _drawn(name, folder, out, seeds[0], where, how, say, first=not studies)
            study["reasons"] = _reasons(study["runs"][0], recipe, values)
            studies.append(study)
            missing = [name for name in DATA if name not in names and not info(name)["present"]]
            report = _report(studies, [n for n in names if n not in [s["data"] for s in studies]], missing, folder)
    say(f"{report}, and as Markdown {report.with_suffix('.md')}")
    return report


def _file(folder: Path, data: str, seed: int) -> Path:
    return folder / f"{file_name(data)}-seed{seed}.pt"


def _part(data: str, folder: Path, seeds: Sequence[int], part: int | str) -> int | str:
    """Return the part of the data: that with which the study was begun, if it was and no other is asked for."""
    there = [path for seed in seeds if (path := _file(folder, data, seed)).exists()]
    if part != "auto" or not there:
        return part
    options = checkpoints.load_checkpoint(there[0])["data"]["options"]
    return options.get("part", "all")


def _trained(data: str, folder: Path, plan: dict[str, Any], how: dict[str, Any], say: Any) -> None:
    """Train a network of the study to its end, unless it is there."""
    path = _file(folder, data, plan["seed"])
    chosen, options = runs.plan(data, **plan)
    begun = path.exists()
    if begun:
        saved = checkpoints.load_checkpoint(path)
        others = checkpoints.differing(saved, chosen)
        if saved["data"]["options"] != options:
            others.append(f"{saved['data']['options'].get('part', 'all')} images (now {options.get('part', 'all')})")
        if others:
            raise ValueError(
                f"{path} was trained with {', '.join(others)}: run the study as it was begun, or choose another folder "
                "with --out"
            )
        if not checkpoints.unfinished(saved):
            return
    say(f"{data}, seed {plan['seed']}: " + (f"goes on after epoch {len(saved['history'])}" if begun else "trains"))
    if begun:
        runs.run(data, out=path, resume=True, where=plan["where"], **how)
    else:
        runs.run(data, out=path, **plan, **how)


def _measured(path: Path, where: str | None, how: dict[str, Any], say: Any) -> dict[str, Any]:
    """Return what was measured with a network, and measure it if that was not done with just this one."""
    file, print_ = path.with_suffix(".json"), digest(path.read_bytes())
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["checkpoint"]["digest"] == print_:
            say(f"{kept['data']['name']}, seed {kept['recipe']['seed']}: is there, trained and measured")
            return kept
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or not whole
    started = time.perf_counter()
    embeddings, dataset, content = runs.embed_checkpoint(path, "test", where=where, **how)
    embedded = time.perf_counter()
    results = evaluate(embeddings, dataset.targets, protocol_ks(dataset))
    evaluated = time.perf_counter()
    train = load(content["data"]["name"], "train", **content["data"]["options"])
    sizes = {
        split: {"images": len(items), "classes": len(items.classes)}
        for split, items in (("train", train), ("test", dataset))
    }
    history = content["history"]
    seconds = {"training": sum(row["seconds"] for row in history), "sampling": sum(row["sampling"] for row in history)}
    found = {
        "results": results,
        "data": {**content["data"], **sizes},
        "recipe": content["recipe"],
        "epochs": len(history),
        "ended": content["training"]["ended"],
        "seconds": {**seconds, "embedding": embedded - started, "evaluation": evaluated - embedded},
        "hardware": {"training": content.get("hardware"), "evaluation": checkpoints.hardware(where)},
        "versions": content["versions"],
        "checkpoint": {"file": path.name, "digest": print_},
        "history": history,
    }
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    say(
        f"{found['data']['name']}, seed {found['recipe']['seed']}: Recall@1 {results['recall@1']:.3f}, trained in "
        f"{runs.format_duration(seconds['training'])}, measured in {runs.format_duration(evaluated - started)}"
    )
    return found


def _curves(study: dict[str, Any], folder: Path) -> tuple[str, str]:
    """Draw the curves of training; return the name of the file and the alternative text."""
    histories = {f"seed {run['recipe']['seed']}": run["history"] for run in study["runs"]}
    figure = plots.history(histories if len(histories) > 1 else next(iter(histories.values())))
    name = f"{file_name(study['data'])}-curves.png"
    with atomic_write(folder / name) as temporary:
        temporary.write_bytes(figure.png())
    return name, figure.alt


def _drawn(
    data: str,
    folder: Path,
    out: str | PathLike,
    seed: int,
    where: str | None,
    how: dict[str, Any],
    say: Any,
    first: bool,
) -> list[dict[str, Any]]:
    """Make the figures of a data set that are not there; return what is told about each."""
    path = _file(folder, data, seed)
    context = figures.Context(data, path, out)
    # The idea and the gradients are one file each, whatever the data.
    stems = [figures.file_stem(row, data) for row in figures.find(None if first else ["3", "4"])]
    content = checkpoints.load_checkpoint(path)
    if lacking := [stem for stem in stems if not _is_of(stem, context, content)]:
        say(f"{data}: draws {', '.join(lacking)}")
        figures.make(lacking, data=data, checkpoint=path, out=out, where=where, **how)
    places = [Path(out) / "figures" / f"{stem}.json" for stem in stems]
    return [json.loads(place.read_text(encoding="utf-8")) for place in places]


def _is_of(stem: str, context: figures.Context, content: dict[str, Any]) -> bool:
    """Tell whether a figure is there and shows just this network."""
    file = Path(context.out) / "figures" / f"{stem}.json"
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        drawn = min((file.parent / name).stat().st_mtime for name in about["files"])
        shown = about["checkpoint"] or {}
        same = all(shown[name] == content[name] for name in ("recipe", "versions")) if shown else True
        return same and about["command"] == figures.command(stem, context) and drawn >= context.path.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _reasons(run: dict[str, Any], recipe: str, values: dict[str, Any]) -> list[tuple[str, Any, Any, str]]:
    """Return each value of a recipe that is not the paper's: its name, it, the paper's, and why."""
    named = asdict(Recipe(**PAPER))
    found = []
    for name, value in run["recipe"].items():
        if name == "seed" or value == named[name]:
            continue
        if name in values:
            why = "asked for"
        elif "part" in run["data"]["options"] and runs.ON_A_PART.get(name) == value:
            why = "several neighborhoods, and an end in sight, on a part of the data"
        else:
            why = MODERN[name][1] if recipe == "modern" else "found for small pictures"
        found.append((name, value, named[name], why))
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The report
# ---------------------------------------------------------------------------------------------------------------------
def _report(studies: Sequence[dict[str, Any]], waiting: Sequence[str], missing: Sequence[str], folder: Path) -> Path:
    """Write the report as Markdown and HTML; return the path of the latter."""
    from ..lectures.editions.lecture import Text
    from ..lectures.editions.pages import templates

    texts = [_glance(studies), _method(studies[0]), *map(_section, studies), _context(), _elsewhere(waiting, missing)]
    title, goal = "The study of the paper, measured here", " ".join(_GOAL.split())
    facts = [f"**Data** {', '.join(file_name(study['data']) for study in studies)}", *_facts(studies)]
    markdown = "\n\n".join([f"# {title}", goal, " | ".join(facts), *filter(None, texts)]) + "\n"
    page = Text(folder / "report.md")
    html = templates().get_template("report.html.j2")
    body = re.sub(
        r"<p>(<img [^>]*>)(?:<br />)?\s*(<em>.*?</em>)?</p>",
        lambda found: f'<figure class="out">{found[1]}<figcaption>{found[2] or ""}</figcaption></figure>',
        page.markdown("\n\n".join(filter(None, texts))),
        flags=re.DOTALL,
    )
    inner = {"goal": page.inline(goal), "facts": [page.inline(fact) for fact in facts]}
    made = html.render(title=title, body=body, headings=page.headings, **inner)
    with atomic_write(folder / "report.md") as first, atomic_write(folder / "report.html") as second:
        first.write_text(markdown, encoding="utf-8")
        second.write_text(made, encoding="utf-8")
    return folder / "report.html"


_GOAL = """
B. Nguyen and B. De Baets teach a network to embed pictures by the stochastic symmetric triplet (SST) loss and local
sampling (Neurocomputing 402, 209-219, 2020). Every number of the tables of results below was measured on the machines
that are named with it. The tables of the paper were not at hand, so none of its results stands here.
"""


def _facts(studies: Sequence[dict[str, Any]]) -> list[str]:
    """Return what holds for the whole study: seeds, time, machines, versions."""
    every = [run for study in studies for run in study["runs"]]
    seeds = dict.fromkeys(str(run["recipe"]["seed"]) for run in every)
    seconds = sum(run["seconds"][name] for run in every for name in ("training", "embedding", "evaluation"))
    machines = dict.fromkeys(_machine(run["hardware"]["training"]) for run in every)
    versions = dict.fromkeys(f"{name} {run['versions'][name]}" for run in every for name in ("sstutils", "torch"))
    return [
        f"**Seeds** {', '.join(seeds)}",
        f"**Time** {runs.format_duration(seconds)}",
        f"**Machine** {'; '.join(machines)}",
        f"**Versions** {', '.join(versions)}",
    ]


def _machine(hardware: dict[str, Any] | None) -> str:
    """Return a machine in words."""
    if not hardware:
        return "not known"
    memory = f", {hardware['memory'] / 2**30:.0f} GiB" if hardware["memory"] else ""
    cores = f"{hardware['cores']} cores of {hardware['processor'] or 'a processor without a name'}{memory}"
    return _plain(f"{hardware['gpu']} beside {cores}" if "gpu" in hardware else f"{cores}, no GPU")


def _glance(studies: Sequence[dict[str, Any]]) -> str:
    """Return one row for each data set."""
    names = ("recall@1", "map@r", "r_precision", "nmi")
    rows = []
    for study in studies:
        every, name = study["runs"], file_name(study["data"])
        note = part_note(every[0]["data"]["options"])
        cells = _cells([run["results"] for run in every], names, note)
        rows.append(f"| [{name}](#{name}) | {every[0]['recipe']['backbone']} | {len(every)} | {' | '.join(cells)} |")
    head = f"| data set | network | seeds | {' | '.join(map(_title, names))} |\n|---|---|---:|{'---:|' * len(names)}\n"
    partly = any(part_note(run["data"]["options"]) for study in studies for run in study["runs"])
    warning = "\n\n**What was measured on a part of the data is not comparable with the literature.**" if partly else ""
    return "## Measured\n\n" + head + "\n".join(rows) + warning


def _method(study: dict[str, Any]) -> str:
    shown = [_picture(figure) for figure in study["figures"] if figure["id"] in ("1", "2")]
    return "\n\n".join(["## The method", *shown])


def _section(study: dict[str, Any]) -> str:
    """Return the section of a data set."""
    every, name = study["runs"], file_name(study["data"])
    train, test = (every[0]["data"][split] for split in ("train", "test"))
    results, seeds = [run["results"] for run in every], [run["recipe"]["seed"] for run in every]
    note = part_note(every[0]["data"]["options"])
    kind = study["data"].partition(":")[0].lower()
    what = f"{NAMES[kind][1].split(';')[0].capitalize()}. " if kind != "folder" else ""
    interval = (
        "Means over the seeds, and 95 % confidence intervals of the means (Student's t)."
        if len(every) > 1
        else "One seed only, so that nothing can be said about how much these numbers vary."
    )
    chosen = (
        "The epoch was chosen by the Recall@1 on training classes that were held out"
        if every[0]["recipe"]["holdout"]
        else "The network is that of the last epoch"
    )
    lines = [
        f"## {name}",
        f"{what}Trained on {train['images']:,} images of {train['classes']:,} classes, measured on {test['images']:,} "
        f"images of {test['classes']:,} others. {chosen}; nothing was chosen by the classes of the test.",
        f"**{note.capitalize()}; not comparable with the literature.**" if note else "",
        f"{table_head(results)}\n{table_row(results, every[0]['recipe'], seeds, note)}",
        f"{interval} Recall@K: the share of queries with an image of their class among the K nearest.",
        "| seed | epochs | training | of which sampling | embedding | evaluation | all of it |\n"
        "|---|---:|---:|---:|---:|---:|---|\n" + "\n".join(map(_run_row, every)),
        *_remarks(every),
        f"### {name}: recipe",
        _recipe_table(study["reasons"]),
        _HEADS[every[0]["recipe"]["head"]],
        f"### {name}: training",
        _image(*study["curves"][::-1], f"Training of {name}, by epoch."),
        *(
            f"### {name}: {'what is retrieved' if figure['id'] == '3' else 'the map'}\n\n{_picture(figure)}"
            for figure in study["figures"]
            if figure["id"] in ("3", "4")
        ),
    ]
    return "\n\n".join(filter(None, lines))


def _run_row(run: dict[str, Any]) -> str:
    times = [_minutes(run["seconds"][name]) for name in ("training", "sampling", "embedding", "evaluation")]
    seed, file = run["recipe"]["seed"], Path(run["checkpoint"]["file"]).with_suffix(".json")
    cells = [str(seed), str(run["epochs"]), *times, f"[{file}]({file})"]
    return f"| {' | '.join(cells)} |"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:,.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


def _remarks(every: Sequence[dict[str, Any]]) -> list[str]:
    """Return the machines, and what else is to be said about single runs."""
    machines: dict[str, list[str]] = {}
    for run in every:
        names = dict.fromkeys(_machine(run["hardware"][name]) for name in ("training", "evaluation"))
        machines.setdefault("; measured on ".join(names), []).append(str(run["recipe"]["seed"]))
    trained = [f"Seed {', '.join(seeds)}: trained on {machine}." for machine, seeds in machines.items()]
    ended = [f"Seed {run['recipe']['seed']} ended early: {run['ended']}." for run in every if run["ended"]]
    unread = [
        f"Seed {run['recipe']['seed']}: {lost} images could not be read, and others of their classes stood in."
        for run in every
        if (lost := run["history"][-1].get("unreadable") if run["history"] else 0)
    ]
    return trained + ended + unread


def _recipe_table(reasons: Sequence[tuple[str, Any, Any, str]]) -> str:
    """Return how a recipe differs from the paper's."""
    if not reasons:
        return "All values are those of the paper's published code."
    rows = [f"| `{name}` | {_value(here)} | {_value(theirs)} | {_plain(why)} |" for name, here, theirs, why in reasons]
    head = "| value | here | published code | why |\n|---|---|---|---|\n"
    return "All values are those of the paper's published code, but:\n\n" + head + "\n".join(rows)


def _value(value: Any) -> str:
    shown = {True: "yes", False: "no", None: "none"}.get(value) if isinstance(value, bool | None) else value
    return _plain(f"{shown:g}" if isinstance(shown, float) else str(shown))


def _context() -> str:
    """Return the numbers of others."""
    rows = [
        f"| {method} | {network} | {' | '.join(f'{number:.1f}' for number in numbers)} | {source} |"
        for method, network, numbers, source in PEERS
    ]
    return (
        "## For context: what others published\n\n"
        "**Nothing in this table was measured here.** Recall@1 in per cent, on the whole data sets, as their authors "
        "state it in papers and repositories. Networks, lengths of embeddings and ways to choose the epoch differ; "
        "this is no ranking.\n\n"
        f"| method | network | {' | '.join(DATA)} | stated in |\n|---|---|{'---:|' * len(DATA)}---|\n" + "\n".join(rows)
    )


def _elsewhere(waiting: Sequence[str], missing: Sequence[str]) -> str:
    """Return what is not in the report."""
    lines = [f"- **{file_name(name)}**: still to come; the same command goes on." for name in waiting]
    lines += [
        f"- **{name}**, {NAMES[name][1]}: not on this machine. `sst data {name} --download` fetches it, and "
        f"`sst data {name}` tells how to place it by hand."
        for name in missing
    ]
    return "## What is not here\n\n" + "\n".join(lines) if lines else ""


def _picture(about: dict[str, Any]) -> str:
    name = f"../figures/{about['files'][0]}"
    return _image(about["alt"], name, f"Figure {about['id']}. {about['caption']}")


def _image(alt: str, name: str, caption: str) -> str:
    return f"![{_plain(alt)}]({name})  \n*{_plain(caption)}*"


def _plain(text: str) -> str:
    """Return text so that Markdown, and a table of it, takes it as it is."""
    return re.sub(r"([\\`*_\[\]|$])", r"\\\1", escape(" ".join(text.split()), quote=False))
