"""The command ``sst``: figures, train, evaluate, embed, study, paper, data."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

COMMANDS = ("figures", "train", "evaluate", "embed", "study", "paper", "data")
_DATA_HELP = "data set: glyphs, digits, cub200, ... or folder:PATH (`sst data` lists them)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 2 after a user's mistake, 130 after Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
            close = difflib.get_close_matches(argv[0], COMMANDS, n=1)
            hint = f"did you mean `sst {close[0]}`?" if close else f"there are {', '.join(COMMANDS)}"
            raise ValueError(f"no command is called {argv[0]!r}: {hint}")
        parser, commands = _parser(argv[:1])
        options, unknown = parser.parse_known_args(argv)
        if unknown:
            known = [
                name for name in commands[argv[0]].format_usage().replace("[", " ").split() if name.startswith("--")
            ]
            close = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"see `sst {argv[0]} --help`"
            raise ValueError(f"`sst {argv[0]}` knows no {unknown[0]!r}: {hint}")
        options.run(options)
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        # A user's mistake: what is wrong and what to do, on one line. All else is a bug and shows its traceback.
        print(f"sst: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's; training says more than this
            raise
        print("sst: error: the GPU is out of memory: free some of it, or take --device cpu", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nsst: stopped", file=sys.stderr)
        return 130
    return 0


def _parser(command_line: Sequence[str]) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser, and that of each command."""
    parser = argparse.ArgumentParser(
        prog="sst",
        description="Deep metric learning with local sampling and the stochastic symmetric triplet (SST) loss.",
        epilog="`sst COMMAND --help` tells the options of a command.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    command = commands.add_parser("figures", help="regenerate the figures of the paper")
    command.description = (
        "Regenerate the figures of the paper as PNG, SVG and JSON; train a network first, if there is none."
    )
    command.add_argument("ids", nargs="*", metavar="ID", help="numbers or names (default: all); --list tells them")
    command.add_argument("--list", action="store_true", help="tell the figures and stop")
    command.add_argument("--data", default="glyphs", metavar="NAME", help=_DATA_HELP)
    command.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="trained network (default: in DIR/checkpoints)"
    )
    command.add_argument("--style", default="default", help="default, or paper: the paper's colours")
    command.add_argument("--seed", type=int, default=0, help="of the queries and of t-SNE")
    command.add_argument("--tsne", default="barnes-hut", help="barnes-hut, the paper's, or fft, faster for many images")
    _add_common(
        command, out=Path("output"), out_help="folder; figures go to DIR/figures (default: output)", metavar="DIR"
    )
    command.set_defaults(run=_figures)

    command = commands.add_parser("train", help="train a network")
    command.description = "Train a network on the training classes of a data set. Ctrl-C leaves a usable checkpoint."
    command.add_argument("data", metavar="NAME", help=_DATA_HELP)
    _add_common(command, out=None, out_help="checkpoint (default: output/checkpoints/NAME.pt)", metavar="FILE")
    command.add_argument("--recipe", default="default", metavar="NAME", help="default, paper or modern")
    command.add_argument("--download", action="store_true", help="fetch the data, if they are not there")
    _add_part(command)
    command.add_argument("--strict", action="store_true", help="stop at an image that cannot be read")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    what.add_argument("--overwrite", action="store_true", help="replace a checkpoint that is there")
    if "train" in command_line:  # the recipe is in a module that loads torch
        _add_recipe(command)
    command.set_defaults(run=_train)

    command = commands.add_parser("evaluate", help="Recall@K, MAP@R, R-precision and NMI of a checkpoint")
    command.description = "Evaluate a trained network on the test classes of its data set."
    _add_checkpoint(command)
    command.add_argument("--k", type=int, nargs="+", metavar="K", help="of Recall@K (default: those of the literature)")
    _add_common(command, out=None, out_help="write the result as JSON too", metavar="FILE")
    command.set_defaults(run=_evaluate)

    command = commands.add_parser("embed", help="write the embeddings of a data set")
    command.description = "Embed a data set and write embeddings, labels and class names as a numpy archive."
    _add_checkpoint(command)
    command.add_argument("--split", default="test", help="train or test")
    _add_common(command, out=Path("embeddings.npz"), out_help="archive (default: embeddings.npz)", metavar="FILE")
    command.set_defaults(run=_embed)

    command = commands.add_parser("study", help="compare losses and samplers over seeds", allow_abbrev=False)
    command.description = (
        "Train every loss with every sampler and seed under equal budgets, choose each run's epoch on held-out "
        "training classes, evaluate it on the test classes, and write table and figures. After Ctrl-C the same command "
        "goes on."
    )
    command.add_argument("data", metavar="NAME", help=_DATA_HELP)
    command.add_argument(
        "--losses",
        nargs="+",
        default=["sst", "triplet", "contrastive"],
        metavar="NAME",
        help="of these, and of pytorch-metric-learning (default: sst triplet contrastive)",
    )
    command.add_argument(
        "--samplers",
        nargs="+",
        default=["local", "balanced", "shuffled"],
        metavar="NAME",
        help="some of local balanced shuffled (default: all)",
    )
    command.add_argument("--sizes", nargs="+", type=int, metavar="B", help="of a batch (default: the recipe's)")
    command.add_argument("--seeds", type=int, default=3, metavar="N", help="how many (default: 3)")
    command.add_argument("--recipe", default="default", metavar="NAME", help="default, paper or modern")
    command.add_argument("--download", action="store_true", help="fetch the data, if they are not there")
    _add_part(command)
    command.add_argument("--images", type=int, metavar="N", help="images a class (glyphs, fashion)")
    command.add_argument("--name", metavar="NAME", help="of the files (default: the data set's)")
    _add_common(
        command,
        out=Path("output"),
        out_help="folder; files go to DIR/studies and DIR/figures (default: output)",
        metavar="DIR",
    )
    if "study" in command_line:
        _add_recipe(command, without=("loss", "sampler", "seed"), epochs=10, holdout=0.2)
    command.set_defaults(run=_study)

    command = commands.add_parser(
        "paper", help="the whole study: train, measure and draw all, and write a report", allow_abbrev=False
    )
    command.description = (
        "Run the study of the paper on its data sets that are here, and write DIR/paper/report.html. "
        "What is there is not made again: after Ctrl-C the same command goes on."
    )
    command.add_argument(
        "--data", nargs="+", metavar="NAME", help="data sets instead: glyphs, digits, folder:PATH, ..."
    )
    command.add_argument("--recipe", default="default", metavar="NAME", help="default (the paper's), paper or modern")
    command.add_argument("--seeds", type=int, default=1, metavar="N", help="networks a data set: seeds 0 to N-1")
    command.add_argument("--download", action="store_true", help="fetch the data sets that are not there")
    _add_part(command)
    _add_common(command, out=Path("output"), out_help="folder of all output (default: output)", metavar="DIR")
    if "paper" in command_line:
        _add_recipe(command, without=("seed",))
    command.set_defaults(run=_paper)

    command = commands.add_parser("data", help="which data sets are there, and what would be fetched")
    command.add_argument("data", nargs="?", metavar="NAME", help=_DATA_HELP)
    command.add_argument("--download", action="store_true", help="fetch NAME, if it is not there")
    command.set_defaults(run=_data)
    return parser, commands.choices


def _add_common(command: argparse.ArgumentParser, out: Path | None, out_help: str, metavar: str) -> None:
    command.add_argument("--out", type=Path, default=out, metavar=metavar, help=out_help)
    command.add_argument("--device", metavar="NAME", help="cuda, mps or cpu (default: the first that is there)")
    command.add_argument("--workers", type=int, metavar="N", help="processes that read files (default: by the machine)")


def _add_part(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--part",
        default="auto",
        metavar="N",
        help="about N images, or all (default: all, but a small part for photographs without a GPU)",
    )
    command.add_argument(
        "--cache",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="scale photographs once, into one file that is read fast",
    )


def _add_checkpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="file that `sst train` wrote")
    command.add_argument("--data", metavar="NAME", help="another data set than the network's own")


def _add_recipe(command: argparse.ArgumentParser, without: Sequence[str] = (), **defaults: Any) -> None:
    """Add an option for each field of the recipe, from its type, default (if the command has no other) and help."""
    from .recipes import Recipe

    group = command.add_argument_group(
        "recipe", "The defaults are those for small pictures; photographs have the paper's, in place of many of them."
    )
    types = get_type_hints(Recipe)
    for entry in fields(Recipe):
        if entry.name in without:
            continue
        kind = types[entry.name]
        if isinstance(kind, UnionType):
            kind = get_args(kind)[0]
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
        if entry.name == "weights":
            how["type"] = _name_or_none
        default = defaults.get(entry.name, entry.default)
        default = "" if default is None or kind is bool else f" (default: {default})"
        if kind is not bool:
            how["metavar"] = "X" if kind is float else "N" if kind is int else "NAME"
        group.add_argument(
            f"--{entry.name.replace('_', '-')}", default=argparse.SUPPRESS, help=entry.metadata["help"] + default, **how
        )


def _name_or_none(text: str) -> str | None:
    return None if text.lower() == "none" else text


def _figures(options: argparse.Namespace) -> None:
    from . import figures

    if options.list:
        for figure in figures.FIGURES:
            print(f"{figure.id:<4} {figure.stem:<16} {figure.caption}")
        return
    paths = figures.make(
        options.ids or None,
        data=options.data,
        checkpoint=options.checkpoint,
        out=options.out,
        style=options.style,
        seed=options.seed,
        tsne=options.tsne,
        where=options.device,
        workers=options.workers,
    )
    for path in paths:
        print(path)


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the values of the recipe that were given."""
    from .recipes import Recipe

    return {entry.name: getattr(options, entry.name) for entry in fields(Recipe) if hasattr(options, entry.name)}


def _train(options: argparse.Namespace) -> None:
    from . import distributed
    from .checkpoints import checkpoint_path
    from .runs import format_duration, run

    out = options.out or checkpoint_path(options.data)
    with distributed.join_processes(options.device):
        if distributed.broadcast(out.exists) and not (options.resume or options.overwrite):
            raise ValueError(
                f"{out} is there already: --resume goes on from it, --overwrite replaces it, --out is another file"
            )
        first = distributed.world()[0] == 0
        try:
            step = run(
                options.data,
                options.recipe,
                out=out,
                resume=options.resume,
                part=options.part,
                cache=options.cache,
                download=options.download,
                where=options.device,
                workers=options.workers,
                strict=options.strict,
                **_given(options),
            )
        except KeyboardInterrupt:
            if not (first and out.exists()):
                raise
            print(f"\nsst: stopped; {out} holds the whole epochs so far: `sst evaluate {out}`, or --resume to go on")
            raise SystemExit(130) from None
    if not first:
        return
    last = step.history[-1]
    seconds, sampling = (sum(row[name] for row in step.history) for name in ("seconds", "sampling"))
    if "unreadable" in last:
        print(f"images that could not be read, so that others of their classes were taken: {last['unreadable']}")
    share = f" ({sampling / seconds:.0%} of it to find neighborhoods)" if sampling > 0.005 * seconds else ""
    epochs = f"{last['epoch']} epoch{'s' * (last['epoch'] > 1)}"
    print(f"{epochs} in {format_duration(seconds)}{share}, last loss {last['loss']:.4f}: {out}")


def _evaluate(options: argparse.Namespace) -> None:
    from .datasets.base import protocol_ks
    from .evaluation import evaluate
    from .study.paper import part_note, table_head, table_row

    embeddings, dataset, content = _embedded(options, "test")
    results = evaluate(embeddings, dataset.targets, options.k or protocol_ks(dataset))
    for name, value in results.items():
        print(f"{name:<12} {value:.4f}")
    recipe, note = content["recipe"], "" if options.data else part_note(content["data"]["options"])
    print(f"\n{table_head([results])}\n{table_row([results], recipe, [recipe['seed']], note)}")
    if options.out:
        from .files import atomic_write

        about = {key: content[key] for key in ("recipe", "data", "versions")}
        measured = {
            "name": options.data or content["data"]["name"],
            "images": len(dataset),
            "classes": len(dataset.classes),
            "fingerprint": dataset.fingerprint,
        }
        about = {"results": results, "measured_on": measured, "checkpoint": str(options.checkpoint), **about}
        with atomic_write(options.out) as temporary:
            temporary.write_text(json.dumps(about, indent=1))


def _embed(options: argparse.Namespace) -> None:
    import numpy as np

    from .files import atomic_write

    embeddings, dataset, _ = _embedded(options, options.split)
    with atomic_write(options.out) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            embeddings=embeddings.cpu().numpy(),
            labels=np.array(dataset.targets),
            classes=np.array(dataset.classes),
        )
    print(f"{options.out}: {len(embeddings)} embeddings of {embeddings.shape[1]} numbers, with labels and classes")


def _embedded(options: argparse.Namespace, split: str) -> tuple:
    """Return the embeddings of a data set by a checkpoint, the data set and the checkpoint's content."""
    from .runs import embed_checkpoint

    where = {"where": options.device, "workers": options.workers}
    embeddings, dataset, content = embed_checkpoint(options.checkpoint, split, data=options.data, **where)
    if not content["history"]:
        print("sst: the network is untrained: its first epoch was not finished", file=sys.stderr)
    return embeddings, dataset, content


def _study(options: argparse.Namespace) -> None:
    from .study import report, study, study_path, table

    where = {"out": options.out, "name": options.name}
    try:
        rows = study(
            options.data,
            losses=options.losses,
            samplers=options.samplers,
            sizes=options.sizes,
            seeds=options.seeds,
            recipe=options.recipe,
            part=options.part,
            cache=options.cache,
            images=options.images,
            download=options.download,
            where=options.device,
            workers=options.workers,
            **where,
            **_given(options),
        )
    except KeyboardInterrupt:
        print(
            f"\nsst: stopped; {study_path(options.data, **where)} holds the whole runs so far: the same command goes on"
        )
        raise SystemExit(130) from None
    print(table(rows))
    for path in report(rows, options.data, **where):
        print(path)


def _paper(options: argparse.Namespace) -> None:
    from .study.paper import paper

    try:
        paper(
            options.data,
            recipe=options.recipe,
            seeds=range(options.seeds),
            out=options.out,
            part=options.part,
            where=options.device,
            workers=options.workers,
            download=options.download,
            cache=options.cache,
            **_given(options),
        )
    except KeyboardInterrupt:
        print(f"\nsst: stopped; {options.out / 'paper'} holds what is done so far: the same command goes on")
        raise SystemExit(130) from None


def _data(options: argparse.Namespace) -> None:
    from .datasets import NAMES, info, load

    if options.download:
        if not options.data:
            raise ValueError("which data set shall be fetched? for example `sst data omniglot --download`")
        for split in ("train", "test"):
            load(options.data, split, download=True)
    if not options.data:
        for name in NAMES:
            about = info(name)
            state = "here" if about["present"] else "to fetch" if about["download"] else ""
            print(f"{name:<10} {state:<9} {about['description']}")
        print("\n`sst data NAME` tells more of one.")
        return
    about = info(options.data)
    print(f"{about['name']}: {about['description']}")
    print(f"{'licence':<10} {about['licence']}\n{'source':<10} {about['source']}")
    for split, counts in about["splits"].items():
        print(f"{split:<10} {counts['images']} images of {counts['classes']} classes")
    for path in about["where"]:
        print(f"{'on disk':<10} {path}")
    if about["where"]:
        print(f"{'size':<10} {about['bytes'] / 1e6:.1f} MB")
    if about["problem"]:
        print(f"{'problem':<10} {about['problem']}")
    if not about["present"]:
        for file in about["download"]:
            size = f"{file['bytes'] / 1e6:.1f} MB" if file["bytes"] else "size not known"
            print(f"{'to fetch':<10} {file['file']} ({size}) from {file['urls'][0]}")
        if about["download"]:
            print(f"`sst data {options.data} --download` fetches it.")
        if about["by_hand"]:
            print(f"By hand: {about['by_hand']}")
