"""Any command line ends in words: no traceback, no empty error, and success only where something was done."""

import contextlib
import io
import os
import re
import socket
from urllib.error import URLError

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sstutils import cli, figures, index, runs, study
from sstutils.models import EmbeddingNet
from sstutils.photos import archives
from sstutils.study import forecast

NUMBERS = ["0", "1", "2", "-1", "1000000000", "nan", "inf", "-inf", "1e400", "0x10", "1_0", "9" * 400, "0.5", "٣"]
WORDS = ["", " ", "a" * 5000, "Ärger/☃", "\0", "a\0b", "\ud800", "\n", "\x1b[2J", "$(x)", "-", "--", "..", "/", "none"]
NAMES = ["digits", "digits:x", "folder:", "folder:pets", "folder:/nowhere", "folder:a\0", "cub200", "glyps", "~nobody"]
FILES = ["net.pt", "pets.index", "pets", "pipe", "new", "pets/ant/0.png", "net.pt/x", "link", "loop", "/dev/null"]
VALUES = [*NUMBERS, *WORDS, *NAMES, *FILES]


FOREIGN = "Errno|object|NoneType|codec|embedded null|<class|enough values|subscript|could not convert|literal|long long"


class _Work(KeyboardInterrupt):
    """Where the work would begin, a line has been understood."""


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A folder to run in, with four classes of pictures, files that are no networks, a pipe and links."""
    here = tmp_path_factory.mktemp("fuzz")
    for number, name in enumerate(("ant", "bee", "cat", "dog")):
        (here / "pets" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (20, 24), (60 * number, 10 * i, 0)).save(here / "pets" / name / f"{i}.png")
    (here / "net.pt").write_bytes(b"no network")
    (here / "link").symlink_to("net.pt")
    (here / "loop").symlink_to("loop")
    os.mkfifo(here / "pipe")

    def work(*_, **__):
        raise _Work

    def no_network(*_, **__):
        raise URLError(OSError(101, "Network is unreachable"))

    def no_address(*_, **__):  # whoever asks: weights are downloaded by torch itself
        raise socket.gaierror(-2, "Name or service not known")

    index.Index.build(EmbeddingNet(dim=4), index.load_pictures(f"folder:{here / 'pets'}"), size=16).save(
        here / "pets.index"
    )
    before = {path: path.read_bytes() for path in (here / "pets").rglob("*.png")}
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(here):
        patch.setenv("SSTUTILS_DATA", str(here / "data"))
        patch.setattr(archives, "urlopen", no_network)
        patch.setattr(socket, "getaddrinfo", no_address)
        works = (runs, "fit"), (forecast, "fit"), (study, "train"), (figures, "_write"), (index.Index, "_network")
        for module, name in works:
            patch.setattr(module, name, work)
        yield
    assert (here / "net.pt").read_bytes() == b"no network" and (here / "link").is_symlink()
    assert {path: path.read_bytes() for path in (here / "pets").rglob("*.png")} == before


def usages(command):
    """Return the usage of each option of a command, those of the recipe included."""
    return [*cli.OPTIONS[command], *(cli._recipe_options(command) if command in cli._RECIPE_WITHOUT else [])]


def words_for(usage, value, joined=False, no=False, more=()):
    option, _, metavar = usage.partition(" ") if usage.startswith("-") else ("", "", usage)
    option = option.replace("[no-]", "no-" * no)
    if not metavar:
        return [option]
    return [f"{option}={value}"] if option and joined else [*filter(None, [option]), value, *more * ("..." in metavar)]


@st.composite
def lines(draw):
    """A command line by the grammar of the command, with values that may be anything, and some noise."""
    command = draw(st.sampled_from(list(cli.OPTIONS)))
    known = usages(command)
    needed = [] if known[0].startswith(("-", "[")) else known[:1]
    chosen = [*needed, *draw(st.lists(st.sampled_from(known), max_size=4, unique=True))]
    argv = [command]
    for usage in chosen:
        value, flags = draw(st.sampled_from(VALUES)), draw(st.tuples(st.booleans(), st.booleans()))
        argv += words_for(usage, value, *flags, draw(st.lists(st.sampled_from(VALUES), max_size=2)))
    if draw(st.integers(0, 9)) == 0:
        noise = st.sampled_from([*VALUES, "--foo", "-h", "--epochs"])
        argv.insert(draw(st.integers(0, len(argv))), draw(noise))
    return argv


def check(argv):
    """Run a command line; check its exit status and what it says."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(argv)
        except SystemExit as stop:  # of --help
            code = stop.code
    lines = err.getvalue().splitlines()
    errors = [line for line in lines if line.startswith("sst: error: ")]
    assert (code, len(errors)) in ((0, 0), (130, 0), (2, 1)), lines
    if code == 0:
        assert out.getvalue().strip()
    for line in errors:
        assert line == lines[-1] and line.isprintable() and 20 < len(line) < 1000
        # In our own words: neither Python's nor another library's.
        assert not re.search(FOREIGN, line), line


@settings(max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(lines())
def test_any_command_line_ends_in_words(argv):
    check(argv)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(lines())
def test_any_of_many_command_lines_ends_in_words(argv):
    check(argv)


EXTREMES = [
    (command, usage)
    for command in cli.OPTIONS
    for usage in usages(command)
    if not (usage.startswith("-") and " " not in usage)
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "usage"), EXTREMES, ids=[f"{command} {usage}" for command, usage in EXTREMES])
def test_extremes_of_every_option_end_in_words(command, usage):
    known = usages(command)
    data = {"DATA": "folder:pets", "CHECKPOINT": "net.pt"}.get(known[0])
    for value in VALUES:
        check([command, *([data] if data and usage != known[0] else []), *words_for(usage, value)])
