"""The command line as a user meets it: real runs on small data, and one clear line for each mistake."""

import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sstutils import cli, figures
from sstutils.files import atomic_write, check_output, exclusive, file_name

TRAIN = ["train", "digits", "--epochs", "2", "--warmup", "0.5", "--dim", "16", "--size", "16"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "digits.pt"
    assert cli.main([*TRAIN, "--out", str(out)]) == 0
    return out


def fails(capsys, *args):
    """Run a command that must fail with status 2 and one line; return the line."""
    assert cli.main([str(arg) for arg in args]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("sst: error: ")
    return line


def test_evaluate_prints_and_writes(checkpoint, tmp_path, capsys):
    assert cli.main(["evaluate", str(checkpoint), "--k", "1", "10", "--out", str(tmp_path / "r.json")]) == 0
    values, _, table = capsys.readouterr().out.partition("\n\n")
    printed = dict(line.split() for line in values.splitlines())
    row = [cell.strip() for cell in table.splitlines()[2].strip("|").split("|")]
    assert row[0].startswith("SST, local batches") and row[1] == "0"
    assert [float(cell) for cell in row[2:]] == pytest.approx([float(value) for value in printed.values()], abs=1e-3)
    written = json.loads((tmp_path / "r.json").read_text())
    assert float(printed["recall@1"]) == pytest.approx(written["results"]["recall@1"], abs=1e-4)
    assert {"recall@1", "recall@10", "map@r", "r_precision", "nmi"} <= set(printed)
    assert written["recipe"]["epochs"] == 2 and written["data"]["name"] == "digits"


def test_embed_writes_what_evaluate_uses(checkpoint, tmp_path):
    assert cli.main(["embed", str(checkpoint), "--out", str(tmp_path / "e.npz")]) == 0
    archive = np.load(tmp_path / "e.npz")
    assert archive["embeddings"].shape == (len(archive["labels"]), 16)
    assert archive["classes"].tolist() == ["5", "6", "7", "8", "9"]


def test_existing_checkpoint_is_not_lost(checkpoint, capsys):
    before = checkpoint.read_bytes()
    line = fails(capsys, *TRAIN, "--out", checkpoint)
    assert f"{checkpoint} already exists; use --resume to continue, --overwrite to replace it" in line
    assert "choose one of them" in fails(capsys, *TRAIN, "--out", checkpoint, "--resume", "--overwrite")
    assert checkpoint.read_bytes() == before


def test_resume_goes_on(checkpoint, tmp_path, capsys):
    out = tmp_path / "more.pt"
    out.write_bytes(checkpoint.read_bytes())
    arguments = [*TRAIN, "--epochs", "3", "--out", str(out), "--resume"]
    assert cli.main(arguments) == 0
    assert "3 epochs" in capsys.readouterr().out
    assert "already has 3 epochs" in fails(capsys, *arguments)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a single process")
def test_ctrl_c_leaves_a_usable_checkpoint(tmp_path, capsys):
    out = tmp_path / "net.pt"
    # A run of the tests in the background ignores SIGINT, and what it starts inherits that.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from sstutils.cli import main; "
    arguments = [sys.executable, "-c", f"{start}raise SystemExit(main())", "train", "digits", "--epochs", "200"]
    arguments += ["--size", "16", "--dim", "16"]
    run = subprocess.Popen([*arguments, "--out", str(out)], stderr=subprocess.PIPE, text=True)
    while not out.exists():
        assert run.poll() is None, run.communicate()
        time.sleep(0.1)
    time.sleep(0.5)  # somewhere within an epoch
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in errors and f"{out} holds the completed epochs; use --resume to continue" in errors
    assert cli.main(["evaluate", str(out)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt"]


@pytest.fixture
def folder(tmp_path):
    """A folder of four classes with four pictures each."""
    for number, name in enumerate(("ant", "bee", "cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(4):
            noise = np.random.default_rng([number, i]).integers(0, 60, (20 + i, 24, 3))
            Image.fromarray((noise + 50 * number).astype(np.uint8)).save(tmp_path / "pets" / name / f"{i}.png")
    return f"folder:{tmp_path / 'pets'}"


@pytest.mark.parametrize(
    "sampler", ["local", *(pytest.param(s, marks=pytest.mark.slow) for s in ("balanced", "shuffled"))]
)
def test_a_small_folder_of_pictures_goes_all_the_way(folder, sampler, tmp_path, monkeypatch, undrawn):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", folder, "--epochs", "2", "--sampler", sampler]) == 0
    assert cli.main(["evaluate", "output/checkpoints/pets.pt"]) == 0
    assert cli.main(["figures", "3", "4", "--data", folder]) == 0  # with the network that was trained
    assert (tmp_path / "output/figures/pets_TSNE.png").exists()


@pytest.mark.parametrize(("classes", "each"), [(3, 2), (8, 1)])
def test_a_folder_too_small_to_measure_is_trained_and_told(classes, each, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_tree(tmp_path / "few", classes, each)
    assert cli.main(["train", "folder:few", "--epochs", "1"]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("the test pictures cannot show what training was worth: ") and "; add items" in told
    again = ["evaluate", "output/checkpoints/few.pt"], ["paper", "--data", "folder:few"], ["study", "folder:few"]
    for command in again:
        assert "; add items" in fails(capsys, *command)
    assert not list((tmp_path / "output").glob("[ps]*"))  # neither paper nor studies: found before the work


def make_tree(root, classes, each, level=0):
    """A folder of pictures, all of one size in bytes."""
    for name in "abcdefgh"[:classes]:
        (root / name).mkdir(parents=True)
        for i in range(each):
            noise = np.random.default_rng([level, ord(name), i]).integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / name / f"{i}.bmp")


def test_two_classes_are_too_few_to_train(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_tree(tmp_path / "two", 2, 4)
    for command in (["train", "folder:two"], ["paper", "--data", "folder:two"], ["study", "folder:two"]):
        line = fails(capsys, *command)
        assert "a folder gives half of its to testing" in line or "add items of another class" in line


def test_an_index_by_the_network_of_another_folder_of_its_name_is_no_default(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for top in "AB":
        make_tree(tmp_path / top / "pets", 4, 2)
    assert cli.main(["train", "folder:A/pets", "--epochs", "1"]) == 0
    assert "pets.pt was trained on folder:A/pets" in fails(capsys, "index", "folder:B/pets")
    for folder in ("A/pets", "A/../A/pets/", str(tmp_path / "A" / "pets")):
        assert cli.main(["index", f"folder:{folder}"]) == 0
    command = ["index", "folder:B/pets", "--checkpoint", "output/checkpoints/pets.pt", "--out", "b.index"]
    assert cli.main(command) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_give_no_commands_to_the_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_tree(tmp_path / "t", 4, 2)
    (tmp_path / "t" / "a").rename(tmp_path / "t" / "\x1b[31mred\u202e")
    os.rename(b"t/b/0.bmp", b"t/b/\xe4\x9b.bmp")
    assert cli.main(["train", "folder:t", "--epochs", "1"]) == 0
    assert cli.main(["index", "folder:t"]) == 0
    picture = os.fsdecode(b"t/b/\xe4\x9b.bmp")
    assert cli.main(["search", picture, "-k", "7", "--html", "found.html", "--png", "found.png"]) == 0
    (tmp_path / "t" / "c" / "0.bmp").write_bytes(b"")
    (tmp_path / "t" / "c" / "0.bmp").rename(tmp_path / "t" / "c" / "\x9b2J.bmp")
    with pytest.warns(UserWarning, match="cannot be read"):
        assert cli.main(["search", "t/c", "-k", "3"]) == 0
    seen = capsys.readouterr()
    assert "?[31mred?" in seen.out and not {"\x1b", "\x9b", "\u202e"} & {*seen.out, *seen.err.replace("\x1b[A", "")}


def test_a_file_to_write_is_no_folder_that_is_not_there_yet(folder, tmp_path, capsys):
    assert "argument --out: must be a file, got the folder" in fails(
        capsys, "train", folder, "--out", f"{tmp_path}/new/"
    )
    assert not (tmp_path / "new").exists()


def test_a_path_that_is_too_long_is_told_without_a_number(capsys):
    line = fails(capsys, "data", f"folder:{'y' * 300}")
    assert "File name too long" in line and "Errno" not in line


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_mistake_has_its_status_where_standard_error_is_full():
    with open("/dev/full", "w") as full:
        run = subprocess.run([sys.executable, "-m", "sstutils", "evaluate", "none.pt"], stderr=full, timeout=300)
    assert run.returncode == 2


def test_data_that_changed_are_noticed(folder, tmp_path, capsys):
    assert cli.main(["train", folder, "--epochs", "1", "--out", str(tmp_path / "net.pt")]) == 0
    (tmp_path / "pets" / "ape").mkdir()
    (tmp_path / "pets" / "ant" / "0.png").rename(tmp_path / "pets" / "ape" / "0.png")
    assert "has changed since" in fails(capsys, "evaluate", tmp_path / "net.pt")
    assert cli.main(["evaluate", str(tmp_path / "net.pt"), "--data", folder]) == 0


def test_overwrite_keeps_the_old_network_until_an_epoch_is_over(folder, tmp_path, capsys):
    out = tmp_path / "net.pt"
    assert cli.main(["train", folder, "--epochs", "1", "--out", str(out)]) == 0
    before = out.read_bytes()
    (tmp_path / "pets" / "ant" / "0.png").write_bytes(b"broken")
    assert "0.png" in fails(capsys, "train", folder, "--epochs", "1", "--out", out, "--overwrite", "--strict")
    assert out.read_bytes() == before
    with pytest.warns(UserWarning, match=r"0\.png cannot be read"):
        assert cli.main(["train", folder, "--epochs", "1", "--out", str(out), "--overwrite"]) == 0
    assert "replaced by others of their classes: 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["trian", "glyphs"], "'trian' is not an sst command; did you mean 'train'?"),
        (["--epochs", "3", "train", "digits"], "unrecognized option '--epochs' before the command"),
        (["--foo"], "unrecognized option '--foo' before the command"),
        (["evaluate", "one.pt", "two.pt"], "unexpected argument 'two.pt'"),
        (["train", "glyph"], "did you mean 'glyphs'"),
        (["train", "digits", "--sampler", "locla"], "sampler must be one of"),
        (["train", "digits", "--epoch", "3"], "unrecognized option '--epoch'; did you mean '--epochs'?"),
        (["train", "digits", "--samplre=local"], "unrecognized option '--samplre'; did you mean '--sampler'?"),
        (["train", "digits", "--batch-size", "many"], "invalid int value: 'many'"),
        (["train", "digits", "--backbone", "resnet19"], "did you mean resnet1"),
        (["train", "digits", "--device", "cuda:77"], "try 'cpu'"),
        (["train", "omniglot"], "download"),
        (["train", "folder:/nowhere"], "/nowhere"),
        (["evaluate", "nowhere.pt"], "no checkpoint at nowhere.pt"),
        (["evaluate", __file__], "not a valid checkpoint"),
        (["data", "omniglott"], "did you mean 'omniglot'"),
        (["data", "--download"], "needs the name of a data set"),
        (["figures", "42"], "42"),
        (["paper", "--seed", "3"], "did you mean '--seeds'"),
        (["figures", "Tripet"], "Triplet"),
        (["figures", "--style", "papre"], "paper"),
        (["figures", "--tsne", "umap"], "'barnes-hut', 'fft', got 'umap'"),
    ],
)
def test_mistakes_get_one_line(arguments, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSTUTILS_DATA", str(tmp_path))
    assert line in fails(capsys, *arguments)
    assert not list(tmp_path.rglob("*.p*"))  # neither checkpoints nor figures


ODD = [
    "",
    "-",
    "--",
    "-x",
    "--foo=1",
    "--epochs=",
    "--k",
    "-3",
    "nan",
    "%s",
    "@x",
    "\n",
    "digits",
    "--no-cache",
    "--data",
]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([*cli.OPTIONS, *ODD]), max_size=6))
def test_any_command_line_is_parsed_or_refused_in_words(argv):
    try:
        command, _ = cli.parse(argv)
        assert command in cli.OPTIONS
    except ValueError as error:
        assert str(error).strip()


def test_more_mistakes_with_a_checkpoint(checkpoint, capsys, tmp_path):
    assert "ks must be between 1 and 895" in fails(capsys, "evaluate", checkpoint, "--k", "100000")
    assert "did you mean" in fails(capsys, "evaluate", checkpoint, "--data", "glyps")
    assert "digits" in fails(capsys, "figures", "--data", "glyphs", "--checkpoint", checkpoint, "--out", tmp_path)
    (tmp_path / "file").touch()
    assert "file" in fails(capsys, "embed", checkpoint, "--out", tmp_path / "file" / "e.npz")


@pytest.mark.parametrize(
    ("command", "module", "name"),
    [("figures", "figures", "make"), ("study", "study", "study"), ("paper", "study.paper", "paper")],
)
def test_workers_are_handed_on(command, module, name, monkeypatch):
    """They are an option of these commands, too."""
    handed = {}

    def stop(*_, **options):
        handed.update(options)
        raise ValueError("that will do")

    monkeypatch.setattr(importlib.import_module(f"sstutils.{module}"), name, stop)
    assert cli.main([command, *["digits"] * (command == "study"), "--workers", "3"]) == 2
    assert handed["workers"] == 3


def test_out_of_memory_is_one_line_and_other_errors_are_bugs(monkeypatch, capsys):
    from torch import OutOfMemoryError

    from sstutils import runs

    memory = (
        OutOfMemoryError("CUDA out of memory. Tried ..."),
        MemoryError(),
        RuntimeError("can't allocate memory"),
    )
    for error in (*memory, RuntimeError("a bug")):
        monkeypatch.setattr(runs, "embed_checkpoint", mock.Mock(side_effect=error))
        if error in memory:
            assert "use --device cpu" in fails(capsys, "evaluate", "net.pt")
        else:
            with pytest.raises(RuntimeError, match="a bug"):
                cli.main(["evaluate", "net.pt"])


def test_help_names_every_command_and_option(capsys):
    for arguments in ([], *([command] for command in cli.OPTIONS)):
        with pytest.raises(SystemExit) as stop:
            cli.main([*arguments, "--help"])
        assert stop.value.code == 0
    text = capsys.readouterr().out
    options = [usage.split()[0] for known in cli.OPTIONS.values() for usage in known if usage.startswith("--")]
    for word in (*cli.OPTIONS, *options, "--sampler", "--batch-size"):
        assert word.replace("[no-]", "") in text


def test_data_lists_and_describes_data_sets(capsys, tmp_path, monkeypatch):
    assert cli.main(["data"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("glyphs", "digits", "fashion", "omniglot", "folder"))
    assert cli.main(["data", "digits"]) == 0
    assert "5 classes" in capsys.readouterr().out
    assert "nowhere does not exist" in fails(capsys, "data", f"folder:{tmp_path / 'nowhere'}")
    monkeypatch.setenv("SSTUTILS_DATA", str(tmp_path))
    assert cli.main(["data", "omniglot"]) == 0
    missing = capsys.readouterr().out
    for words in (
        "download   images_background.zip (9.5 MB) from https://",
        "sst data omniglot --download`",
        "By hand: ",
    ):
        assert words in missing
    assert cli.main(["figures", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(figures.FIGURES)


def test_a_backbone_may_have_no_weights():
    command, options = cli.parse(["train", "digits", "--weights", "None", "--no-cache", "--part", "all"])
    assert command == "train"
    assert options == {"data": "digits", "weights": None, "cache": False, "part": "all"}  # nothing that was not given


HEAVY = {"torch", "torchvision", "matplotlib", "sklearn", "scipy"}


@pytest.mark.parametrize(
    ("start", "heavy"),
    [("main(['--help'])", HEAVY | {"numpy"}), ("main(['data'])", HEAVY)],
)
def test_start_up_is_light(start, heavy):
    """The package, the help and the list of data sets load neither torch nor matplotlib."""
    code = (
        f"import sys, contextlib; from sstutils.cli import main\nwith contextlib.suppress(SystemExit): {start}\n"
        f"raise SystemExit(repr({heavy!r} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stderr.strip() == "set()"


@pytest.mark.skipif(os.name == "nt", reason="uses a POSIX shell")
def test_output_that_cannot_be_printed_stops_nothing(tmp_path):
    """A reader that leaves, a closed stream, an encoding without the signs; but a full disk is an error."""

    def shell(line):
        line = line.replace("sst", f"{sys.executable} -m sstutils", 1)
        return subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True)

    run = shell("sst --help | head -n 1")
    assert (run.returncode, run.stderr, len(run.stdout.splitlines())) == (0, "", 1)
    assert shell("sst data >&- 2>&-").returncode == 0
    if os.path.exists("/dev/full"):
        full = shell("sst --help > /dev/full")
        assert full.returncode == 2 and "No space left on device" in full.stderr


def test_what_an_encoding_lacks_is_replaced(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(cli, "_describe", lambda about: ["0.5 ± 0.1"])
    assert cli.main(["data", "digits"]) == 0
    assert stream.buffer.getvalue() == b"0.5 ? 0.1\n"


def test_every_public_name_can_be_imported():
    import sstutils

    for name in sstutils.__all__:
        assert getattr(sstutils, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'SSTLos'"):
        _ = sstutils.SSTLos


@pytest.mark.skipif(os.name == "nt", reason="uses the module table of a POSIX shell")
def test_module_and_script_are_one_command():
    script = os.path.join(os.path.dirname(sys.executable), "sst")
    by_module, by_script = (
        subprocess.run([*start, "--help"], capture_output=True, text=True).stdout
        for start in ([sys.executable, "-m", "sstutils"], [script])
    )
    assert by_module == by_script != ""


# ---------------------------------------------------------------------------------------------------------------------
# What is written
# ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_what_may_be_written(tmp_path):
    def refused(words, *paths):
        with pytest.raises((OSError, ValueError), match=words):
            check_output(*paths)

    file = tmp_path / "a.pt"
    file.write_text("x")
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "hard").hardlink_to(file)
    (tmp_path / "new").symlink_to(tmp_path / "not yet")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    assert check_output(tmp_path / "link") == file
    assert check_output(tmp_path / "new") == tmp_path / "not yet"
    assert check_output(tmp_path / "deep" / "down" / "x.pt", file, tmp_path) == tmp_path / "deep" / "down" / "x.pt"
    for same in (file, tmp_path / "link", tmp_path / "hard"):
        refused("part of what is read", same, file)
    refused("is a folder", tmp_path)
    refused("not a folder", file / "x.pt")
    for odd in (tmp_path / "pipe", tmp_path / "loop", "/dev/null"):
        refused("not a regular file", odd)
    reads, writes = os.pipe()
    refused("not a regular file", f"/dev/fd/{writes}")
    os.close(reads), os.close(writes)
    refused("would become, part of", tmp_path / "x.PNG", tmp_path)  # a folder of pictures
    with atomic_write(tmp_path / "link") as temporary:
        temporary.write_text("y")
    assert file.read_text() == "y" and (tmp_path / "link").is_symlink()


def test_long_names_leave_room_for_what_is_added(tmp_path):
    long = tmp_path / ("é" * 120 + ".pt")
    with exclusive(long), atomic_write(long) as temporary:
        temporary.write_text("z")
    assert [path.name for path in tmp_path.iterdir()] == [long.name]
    one, other = (file_name(f"folder:/x/{'é' * 120}{end}") for end in "ab")
    assert one != other and max(len(os.fsencode(one)), len(os.fsencode(other))) <= 100


def test_what_is_read_is_not_written(checkpoint, folder, tmp_path, capsys):
    pictures = tmp_path / "pets"
    before = checkpoint.read_bytes(), {path: path.read_bytes() for path in pictures.rglob("*") if path.is_file()}
    (tmp_path / "link.pt").symlink_to(checkpoint)
    for command in ("evaluate", "embed"):
        for same in (checkpoint, tmp_path / "link.pt", checkpoint.parent / "." / checkpoint.name):
            assert "part of what is read" in fails(capsys, command, checkpoint, "--out", same)
        assert "is a folder" in fails(capsys, command, checkpoint, "--out", tmp_path)
        assert "not a regular file" in fails(capsys, command, checkpoint, "--out", "/dev/null")
        out = pictures / "ant" / "0.png"
        assert "part of what is read" in fails(capsys, command, checkpoint, "--data", folder, "--out", out)
    assert "part of what is read" in fails(capsys, "train", folder, "--out", out, "--overwrite")
    weights = ["--weights", checkpoint, "--overwrite", "--out", checkpoint]
    assert "part of what is read" in fails(capsys, "train", "digits", *weights)
    file, inside = tmp_path / "link.pt", pictures / "out"
    for command in (["figures", "--data", folder], ["paper", "--data", folder], ["study", folder, "--holdout", "0"]):
        assert "is not a folder" in fails(capsys, *command, "--out", file)
        assert "would become, part of what is read" in fails(capsys, *command, "--out", inside)
    assert not inside.exists()
    (tmp_path / "odd" / "paper" / "report.html").mkdir(parents=True)
    assert "report.html is a folder" in fails(capsys, "paper", "--data", folder, "--out", tmp_path / "odd")
    (tmp_path / "odd" / "figures").mkdir()
    os.symlink("/dev/null", tmp_path / "odd" / "figures" / "idea.svg")
    assert "idea.svg is not a regular file" in fails(capsys, "figures", "idea", "--out", tmp_path / "odd")
    for name in ("../../x", "", ".x", "a/b", "x" * 101):
        assert "name" in fails(capsys, "study", folder, "--out", tmp_path / "new", "--name", name)
    assert not (tmp_path / "new").exists() and not (tmp_path.parent / "x.json").exists()
    assert before[0] == checkpoint.read_bytes()
    assert before[1] == {path: path.read_bytes() for path in pictures.rglob("*") if path.is_file()}


@pytest.mark.skipif(os.name == "nt", reason="uses a POSIX shell")
def test_results_are_saved_before_they_are_printed(folder, tmp_path):
    """Whatever the console cannot print; and when its reader has left."""
    line = f"{sys.executable} -m sstutils study {folder} --losses sst --samplers balanced --seeds 2 --holdout 0 "
    line += f"--epochs 1 --dim 8 --device cpu --out {tmp_path / 'out'} | head -n 1"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    run = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True, env=environment)
    assert run.returncode == 0 and run.stdout.startswith("| loss |") and "Traceback" not in run.stderr
    (table,) = (tmp_path / "out" / "studies").glob("pets-*.md")
    assert "±" in table.read_text(encoding="utf-8")
    assert len(list((tmp_path / "out" / "figures").iterdir())) == 2


def test_messages_are_one_line_of_bounded_length(capsys):
    for odd in ("x" * 10_000, "\x1b[2J\nsst: error: other", "\0", "\ud800", "é\udc80"):
        assert len(line := fails(capsys, "evaluate", odd)) < 1000 and line.isprintable()
