"""The command ``sst``: figures, train, evaluate, embed, index, search, study, paper, data."""

import argparse
import difflib
import json
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TextIO, get_args, get_type_hints

_DATA = "data set: glyphs, digits, cub200, ... or folder:PATH; `sst data` lists them"
_COMMON = {
    "--device NAME": "cuda, mps or cpu (default: the first available)",
    "--workers N": "processes that read image files (default: depends on the machine)",
}
_TRAINING = {
    **_COMMON,
    "--recipe NAME": "default, small, features, paper or modern",
    "--download": "download the data if they are missing",
    "--part N|all": "use about N images (default: all, but a small part for photographs without a GPU)",
    "--[no-]cache": "resize photographs once, into one file that is fast to read (default: yes)",
}
# The options of each command. What is not given is not passed on: defaults stand in the signatures of what is called.
OPTIONS: dict[str, dict[str, str]] = {
    "figures": {
        "[ID...]": "number or name of a figure (default: all)",
        "--list": "list the figures and exit",
        "--data NAME": f"{_DATA} (default: glyphs)",
        "--checkpoint FILE": "trained network (default: DIR/checkpoints/NAME.pt)",
        "--style NAME": "default, or paper: the colours of the paper",
        "--seed N": "seed of queries and t-SNE (default: 0)",
        "--tsne NAME": "barnes-hut (the default and the paper's), or fft: faster for many images",
        "--out DIR": "output folder; figures go to DIR/figures (default: output)",
        **_COMMON,
    },
    "train": {
        "DATA": _DATA,
        "--out FILE": "checkpoint to write (default: output/checkpoints/DATA.pt)",
        "--strict": "stop at an image that cannot be read",
        "--resume": "continue from the checkpoint",
        "--overwrite": "replace an existing checkpoint",
        **_TRAINING,
    },
    "evaluate": {
        "CHECKPOINT": "file written by `sst train`",
        "--data NAME": "evaluate on a data set other than the checkpoint's own",
        "--k K...": "values of K for Recall@K (default: those of the literature)",
        "--out FILE": "also write the results as JSON",
        **_COMMON,
    },
    "embed": {
        "CHECKPOINT": "file written by `sst train`",
        "--data NAME": "embed a data set other than the checkpoint's own",
        "--split NAME": "train or test (default: test)",
        "--out FILE": "archive to write (default: embeddings.npz)",
        **_COMMON,
    },
    "index": {
        "DATA": "folder:PATH, or another data set, whose test images are used",
        "--checkpoint FILE": "network, written by `sst train` (default: output/checkpoints/DATA.pt)",
        "--out FILE": "index to make, or to bring up to date (default: output/indexes/DATA.index)",
        **_COMMON,
    },
    "search": {
        "PICTURE...": "pictures to search for, or folders of them",
        "--index FILE": "made by `sst index` (default: the only one in output/indexes)",
        "-k N": "number of pictures to find (default: 10)",
        "--html FILE": "also write a page with the pictures",
        "--png FILE": "also write an image of the pictures",
        "--json": "print JSON",
    },
    "study": {
        "DATA": _DATA,
        "--losses NAME...": "of sstutils or pytorch-metric-learning (default: sst triplet contrastive)",
        "--samplers NAME...": "local, balanced, shuffled (default: all three)",
        "--sizes N...": "batch sizes (default: that of the recipe)",
        "--seeds N": "number of seeds: 0 to N-1 (default: 3)",
        "--images N": "images per class (glyphs, fashion)",
        "--jobs N": "runs at once, each with one thread (default: 1)",
        "--name NAME": "name of the files to write (default: that of the data set)",
        "--out DIR": "output folder; files go to DIR/studies and DIR/figures (default: output)",
        **_TRAINING,
    },
    "paper": {
        "--data NAME...": "other data sets than the paper's: glyphs, digits, folder:PATH, ...",
        "--seeds N": "networks per data set: seeds 0 to N-1 (default: 1)",
        "--out DIR": "output folder (default: output)",
        **_TRAINING,
    },
    "data": {"[DATA]": _DATA, "--download": "download DATA if it is missing"},
}
_RECIPE_WITHOUT = {"train": (), "study": ("loss", "sampler", "seed"), "paper": ("seed",)}


def _text(text: str) -> str:
    try:
        if text and b"\0" not in os.fsencode(text):
            return text
    except UnicodeEncodeError:
        pass
    raise argparse.ArgumentTypeError(f"must be a name or a path, got {text!r}")


def _file(text: str) -> Path:
    if text.endswith(("/", os.sep)):
        raise argparse.ArgumentTypeError(f"must be a file, got the folder {text!r}: add a file name")
    return _folder(text)


def _folder(text: str) -> Path:
    if text == "-":
        raise argparse.ArgumentTypeError("must be a path, got '-': standard input and output are not supported")
    return Path(_text(text))


# What the words of a usage stand for; all others are text.
_TYPES: dict[str, Any] = {
    **{"N": int, "K": int, "X": float},
    **dict.fromkeys(("FILE", "CHECKPOINT"), _file),
    "DIR": _folder,
    "NAME|none": lambda text: None if text.lower() == "none" else _text(text),
}


# Control characters, and those that turn the direction of writing; progress bars move up by ESC [A.
_COMMANDS = re.compile("\x1b(?!\\[A)|[\0-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def main(argv: Iterable[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 2 after a user's mistake, 130 after Ctrl-C."""
    with redirect_stdout(_Stream(sys.stdout)), redirect_stderr(_Stream(sys.stderr)), _warning_in_a_line():
        try:
            command, options = parse(list(sys.argv[1:] if argv is None else argv))
            globals()[f"_{command}"](**options)
            sys.stdout.flush()
            return 0
        except (ValueError, OSError, FloatingPointError, MemoryError, RuntimeError) as error:
            # A user's mistake: what is wrong and what to do, on one line. All else is a bug and shows its traceback.
            from .files import one_line  # only now: the help loads no NumPy

            text = one_line(error)
            memory = isinstance(error, (MemoryError, RuntimeError))
            if memory and not text.startswith("out of memory"):  # as training says
                from .models import is_out_of_memory

                if not is_out_of_memory(error):
                    raise
                text = f"out of memory ({text[:200]}); use smaller batches or images, or on a GPU, use --device cpu"
            print(f"sst: error: {text if len(text) <= 1000 else text[:600] + ' ... ' + text[-300:]}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as stop:
            print("\nsst: interrupted" + f"; {stop}" * bool(str(stop)), file=sys.stderr)
            return 130


@contextmanager
def _warning_in_a_line() -> Iterator[None]:
    """Show warnings as errors are: on one line, without the code that they come from."""
    usual = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"sst: warning: {' '.join(str(message).split())}\n"
    try:
        yield
    finally:
        warnings.formatwarning = usual


class _Stream:
    """A stream for printing: replaces what its encoding lacks, and goes on when its reader (`| head -1`) has left.

    Names of files and classes give no commands to the terminal.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream or open(os.devnull, "w")  # noqa: SIM115 - the caller may have closed stdout or stderr
        if hasattr(self.stream, "reconfigure"):
            self.stream.reconfigure(errors="replace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _try(self, action: str, *args: str) -> Any:
        try:
            return getattr(self.stream, action)(*args)
        except OSError as error:  # the rest goes nowhere, what Python flushes at its end included
            number = self.stream.fileno()
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            if not isinstance(error, BrokenPipeError) and number != 2:  # a full disk, which standard error can tell
                raise

    def write(self, text: str) -> int:
        return self._try("write", _COMMANDS.sub("?", text)) or 0

    def flush(self) -> None:
        self._try("flush")


# Parsing


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see `{self.prog} --help`")  # one line, without the usage

    def print_help(self, file: Any = None) -> None:
        print(self.format_help(), end="", flush=True)  # argparse would hide that the disk is full


def parse(argv: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the command of a command line, and the options that were given."""
    about = "Deep metric learning with local sampling and the stochastic symmetric triplet (SST) loss."
    parser = _Parser(prog="sst", description=about, epilog="Run `sst COMMAND --help` for the options of a command.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    name = argv[0] if argv else ""
    if name.startswith("-") and name not in ("-h", "--help"):
        raise ValueError(f"unrecognized option {name!r} before the command; see `sst --help`")
    if name and not name.startswith("-") and name not in OPTIONS:
        raise ValueError(f"{name!r} is not an sst command; {_suggestion(name, OPTIONS)}")
    for command, options in OPTIONS.items():
        doc = globals()[f"_{command}"].__doc__.strip()
        sub = commands.add_parser(command, help=doc.partition("\n")[0].rstrip("."), description=doc, allow_abbrev=False)
        if command == name:
            _add(sub, options)
            if command in _RECIPE_WITHOUT:
                note = "The defaults shown are for small images; for photographs, many of them are different."
                _add(sub.add_argument_group("recipe", note), _recipe_options(command))
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        first, known = unknown[0].partition("=")[0], re.findall(r"--[\w-]+", commands.choices[name].format_usage())
        kind = "unrecognized option" if first.startswith("-") else "unexpected argument"
        raise ValueError(f"{kind} {first!r}; {_suggestion(first, known, f'sst {name} --help')}")
    options = vars(given)
    if "device" in options:
        options["where"] = options.pop("device")
    return options.pop("command"), options


def _suggestion(word: str, known: Iterable[str], otherwise: str = "sst --help") -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"see `{otherwise}`"


def _add(parser: Any, options: dict[str, str]) -> None:
    """Add options to a parser by their usage: ``DATA``, ``[ID...]``, ``--list``, ``--[no-]cache``, ``--sizes N...``."""
    for usage, text in options.items():
        option, _, metavar = usage.partition(" ") if usage.startswith("-") else ("", "", usage)
        word, many = metavar.strip("[]."), re.sub(r"[^\[\].]", "", metavar)
        how: dict[str, Any] = {"help": text, "default": argparse.SUPPRESS}
        if not word:
            how["action"] = argparse.BooleanOptionalAction if "[no-]" in option else "store_true"
        else:
            how |= {"metavar": word, "type": _TYPES.get(word, _text)}
            how |= {"nargs": {"[]": "?", "[...]": "*", "...": "+"}[many]} if many else {}
        parser.add_argument(option.replace("[no-]", "") or word.lower(), **how)


def _recipe_options(command: str) -> dict[str, str]:
    """Return an option for each field of the recipe, from its type, default and help."""
    from .recipes import Recipe
    from .study import DEFAULTS

    types, options = get_type_hints(Recipe), {}
    for entry in (entry for entry in fields(Recipe) if entry.name not in _RECIPE_WITHOUT[command]):
        kind = (*get_args(types[entry.name]), types[entry.name])[0]  # of a value that may be None, its type
        word = "NAME|none" if entry.name == "weights" else {int: "N", float: "X"}.get(kind, "NAME")
        default = (DEFAULTS if command == "study" else {}).get(entry.name, entry.default)
        option = entry.name.replace("_", "-")
        usage = f"--[no-]{option}" if kind is bool else f"--{option} {word}"
        shown = "" if kind is bool or default is None else f" (default: {default})"
        options[usage] = entry.metadata["help"] + shown
    return options


def _check_output(out: Path, data: str, *inputs: str | Path | None) -> None:
    """Check before the work that a file can be written, and is none of those that a command reads."""
    from .datasets import info
    from .files import check_output

    read = info(data)["where"] if out.exists() or data.startswith("folder:") else ()  # of all files of the data set
    check_output(out, *read, *filter(None, inputs))


@contextmanager
def _holding(path: Path, text: str) -> Iterator[None]:
    """Say on Ctrl-C what a file or folder holds by then."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{path} {text}" if path.exists() else "") from None


# The commands


def _figures(id: Iterable[str] = (), list: bool = False, **options: Any) -> None:
    """Regenerate the figures of the paper.

    Each is written as PNG, SVG and JSON; a network is trained first if there is none.
    """
    from . import figures

    if list:
        for figure in figures.FIGURES:
            print(f"{figure.id:<4} {figure.stem:<16} {figure.caption}")
        return
    data, out = (options.get(name, getattr(figures.Context, name)) for name in ("data", "out"))
    for row in figures.find(id or None):
        for suffix in (".png", ".svg", ".json"):
            name = figures.file_stem(row, data) + suffix
            _check_output(Path(out, "figures", name), data, options.get("checkpoint"))
    for path in figures.make(id or None, **options):
        print(path)


def _train(data: str, out: Path | None = None, overwrite: bool = False, **options: Any) -> None:
    """Train a network.

    It is trained on the training classes of the data set. Ctrl-C leaves a usable checkpoint.
    """
    from . import distributed
    from .checkpoints import checkpoint_path
    from .runs import run
    from .study.forecast import forecast, format_duration

    out, resume = out or checkpoint_path(data), options.get("resume", False)
    if resume and overwrite:
        raise ValueError("--resume continues from a checkpoint and --overwrite replaces it; choose one of them")
    with distributed.join_processes(options.get("where")):
        if distributed.broadcast(out.exists) and not (resume or overwrite):
            raise ValueError(
                f"{out} already exists; use --resume to continue, --overwrite to replace it, or --out for another file"
            )
        for path in (out, _confusions(out)):
            _check_output(path, data, options.get("weights"))
        say = print if distributed.world()[0] == 0 else lambda *_, **__: None
        if line := forecast(data, **options):
            say(line, flush=True)
        with _holding(out, "holds the completed epochs; use --resume to continue"):
            history = run(data, out=out, **options).history
    seconds, sampling = (sum(row[name] for row in history) for name in ("seconds", "sampling"))
    if missing := history[-1].get("unreadable"):
        say(f"images that could not be read, replaced by others of their classes: {missing}")
    share = f" ({sampling / seconds:.0%} of it finding neighborhoods)" * (sampling > 0.005 * seconds)
    epochs = f"{len(history)} epoch{'s' * (len(history) > 1)}"
    say(f"{epochs} in {format_duration(seconds)}{share}, last loss {history[-1]['loss']:.4f}: {out}")
    if data.lower().startswith("folder:") and distributed.world()[0] == 0:
        _report_own(out, options.get("where"))


def _report_own(checkpoint: Path, where: str | None) -> None:
    """Say what training was worth on the test classes of a folder of one's own, and draw the worst confusions."""
    from .evaluation import check_measurable
    from .figures import plots
    from .files import atomic_write
    from .photos.head import compare_with_untrained
    from .recipes import Recipe
    from .runs import embed_checkpoint

    embeddings, dataset, content = embed_checkpoint(checkpoint, where=where, progress=False)
    try:
        check_measurable(dataset.targets)
    except ValueError as error:
        print(f"the test pictures cannot show what training was worth: {error}")
        return
    measured = compare_with_untrained(dataset, embeddings, Recipe(**content["recipe"]), where)
    print(f"Recall@1 on {len(dataset)} pictures of {len(dataset.classes)} classes that were not trained on:")
    print(*(f"  {name:<20} {value:.3f}" for name, value in measured.items()), sep="\n")
    if measured["trained"] < measured["untrained features"]:
        print("  training made it worse here; more classes, or fewer epochs, may help")
    if measured["raw pixels"] == max(measured.values()):
        print("  raw pixels do at least as well: these pictures need another backbone, or no network at all")
    if measured["trained"] < 1:
        figure = plots.confusions(dataset, dataset.targets, embeddings, names=dataset.classes)
        path = _confusions(checkpoint)
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format="png")
        print(f"the most frequent confusions: {path}")


def _confusions(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".confusions.png")


def _evaluate(checkpoint: Path, k: Iterable[int] = (), out: Path | None = None, **options: Any) -> None:
    """Measure Recall@K, MAP@R, R-precision and NMI of a checkpoint.

    They are measured on the test classes of its data set.
    """
    from .datasets.subsets import protocol_ks
    from .evaluation import evaluate
    from .files import atomic_write
    from .study.tables import part_note, results_table

    embeddings, dataset, content = _embed_split(checkpoint, "test", out, **options)
    results = evaluate(embeddings, dataset.targets, k or protocol_ks(dataset))
    recipe, other = content["recipe"], options.get("data")
    if out:
        measured = {"name": other or content["data"]["name"], "images": len(dataset), "classes": len(dataset.classes)}
        measured["fingerprint"] = dataset.fingerprint
        about = {"results": results, "measured_on": measured, "checkpoint": str(checkpoint)}
        about |= {key: content[key] for key in ("recipe", "data", "versions")}
        with atomic_write(out) as temporary:
            temporary.write_text(json.dumps(about, indent=1))
    for name, value in results.items():
        print(f"{name:<12} {value:.4f}")
    note = "" if other else part_note(content["data"]["options"])
    print(f"\n{results_table([results], recipe, [recipe['seed']], note)}")


def _embed(checkpoint: Path, split: str = "test", out: Path = Path("embeddings.npz"), **options: Any) -> None:
    """Write the embeddings of a data set.

    Embeddings, labels and class names become a NumPy archive.
    """
    import numpy as np

    from .files import atomic_write

    embeddings, dataset, _ = _embed_split(checkpoint, split, out, **options)
    arrays = {"embeddings": embeddings.cpu().numpy(), "labels": dataset.targets, "classes": dataset.classes}
    with atomic_write(out) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    print(f"{out}: {len(embeddings)} embeddings of length {embeddings.shape[1]}, with labels and classes")


def _embed_split(checkpoint: Path, split: str, out: Path | None, **options: Any) -> tuple:
    """Return the embeddings of a data set by a checkpoint, the data set and the checkpoint's content."""
    from .checkpoints import load_checkpoint
    from .runs import embed_checkpoint

    if out:
        _check_output(out, options.get("data") or load_checkpoint(checkpoint)["data"]["name"], checkpoint)
    embeddings, dataset, content = embed_checkpoint(checkpoint, split, **options)
    if not content["history"]:
        print("sst: warning: the network is untrained: its first epoch was not completed", file=sys.stderr)
    return embeddings, dataset, content


def _index(data: str, checkpoint: Path | None = None, out: Path | None = None, **options: Any) -> None:
    """Make a searchable index of pictures, or bring it up to date.

    Only new and changed pictures are embedded; deleted ones leave.
    """
    from .checkpoints import checkpoint_path, load_checkpoint
    from .files import file_name, resolve
    from .index import index_pictures
    from .runs import default_workers

    if not checkpoint:
        checkpoint = checkpoint_path(data)
        theirs = load_checkpoint(checkpoint)["data"]["name"]
        here, there = (resolve(name.partition(":")[2]).resolve() for name in (data, theirs))
        if here != there:  # another folder of this name
            raise ValueError(f"{checkpoint} was trained on {theirs}: choose a network with --checkpoint")
    out = out or Path("output", "indexes", f"{file_name(data)}.index")
    _check_output(out, data, checkpoint)
    where, workers = options.get("where"), options.get("workers")
    index = index_pictures(data, checkpoint, out, device=where, workers=default_workers(workers, where), progress=True)
    changes = f"{index.added:,} embedded, {index.removed:,} removed, {index.unreadable:,} unreadable"
    print(f"{out}: {len(index):,} pictures ({changes})")


def _search(
    picture: list[str],
    index: Path | None = None,
    k: int | None = None,
    html: Path | None = None,
    png: Path | None = None,
    **options: Any,
) -> None:
    """Find the pictures of an index that are nearest to given ones.

    For each picture: its nearest ones with distance and class, and the class that most of them have.
    """
    from .files import atomic_write, check_output
    from .index import Index
    from .index.page import draw_found, find_index, list_queries, render_page

    index = index or find_index(Path("output", "indexes"))
    loaded = Index.load(index)
    for path in filter(None, (html, png)):
        check_output(path, index, *picture, *filter(None, (loaded.checkpoint, loaded.folder)))
    if html and png and os.path.realpath(html) == os.path.realpath(png):
        raise ValueError(f"--html and --png are one file, {html}: choose another for one of them")
    queries = list_queries(picture)
    found = loaded.describe(queries, *loaded.search(queries, k or max(1, min(10, len(loaded) - 1))))
    if html:
        with atomic_write(html) as temporary:
            temporary.write_text(render_page(found), encoding="utf-8", errors="replace")
    if png:
        with atomic_write(png) as temporary:
            draw_found(found).savefig(temporary, format="png")
    if options.get("json"):
        print(json.dumps(found, indent=1))
        return
    for one in found:
        print(f"{one['query']}: {one['class'] or 'no class'} ({one['share']:.0%} of the {len(one['found'])} nearest)")
        for rank, near in enumerate(one["found"], 1):
            same = "  the same picture" * near["same"]
            print(f"{rank:>4}  {near['distance']:<10.4g} {near['class'] or '-':<20} {near['file']}{same}")


def _study(data: str, out: Path = Path("output"), name: str | None = None, **options: Any) -> None:
    """Compare losses and samplers over several seeds.

    Every loss is trained with every sampler and seed for the same number of epochs; held-out training classes choose
    the epoch of each run, which is evaluated on the test classes. Repeat an interrupted command to continue.
    """
    from .study import report, study, study_path, table

    with _holding(study_path(data, out, name), "holds the completed runs; repeat the command to continue"):
        rows = study(data, out=out, name=name, **options)
    paths = report(rows, data, out=out, name=name)
    print(table(rows), *paths, sep="\n")


def _paper(seeds: int = 1, out: Path = Path("output"), **options: Any) -> None:
    """Run the study of the paper and write a report.

    It takes those of the paper's data sets that are on this machine, and writes DIR/paper/report.html. Existing results
    are kept; repeat an interrupted command to continue.
    """
    from .checks import whole_number
    from .study.paper import paper

    with _holding(out / "paper", "holds the results so far; repeat the command to continue"):
        paper(seeds=range(whole_number("--seeds", seeds, 1, 1000)), out=out, **options)


def _data(data: str = "", download: bool = False) -> None:
    """List the data sets, or describe or download one."""
    from .datasets import NAMES, info, load

    if download and not data:
        raise ValueError("--download needs the name of a data set, such as `sst data omniglot --download`")
    for split in ("train", "test") * download:
        load(data, split, download=True)
    if data:
        about = info(data)
        print("\n".join(_describe(about)))
        if about["problem"]:
            raise ValueError(about["problem"])
        return
    for about in map(info, NAMES):
        state = "present" if about["present"] else "missing" if about["download"] else ""
        print(f"{about['name']:<10} {state:<9} {about['description']}")
    print("\nRun `sst data NAME` for details.")


def _describe(about: dict[str, Any]) -> Iterable[str]:
    """Yield the lines that describe a data set."""
    yield f"{about['name']}: {about['description']}"
    rows = [("licence", about["licence"]), ("source", about["source"])]
    rows += [(split, f"{n['images']} images of {n['classes']} classes") for split, n in about["splits"].items()]
    rows += [("on disk", path) for path in about["where"]]
    rows += [("size", f"{about['bytes'] / 1e6:.1f} MB")] if about["where"] else []
    missing = [] if about["present"] else about["download"]
    for file in missing:
        size = f"{file['bytes'] / 1e6:.1f} MB" if file["bytes"] else "size unknown"
        rows.append(("download", f"{file['file']} ({size}) from {file['urls'][0]}"))
    yield from (f"{title:<10} {text}" for title, text in rows)
    if missing:
        yield f"Run `sst data {about['name']} --download` to download it."
    if about["by_hand"] and not about["present"]:
        yield f"By hand: {about['by_hand']}"
