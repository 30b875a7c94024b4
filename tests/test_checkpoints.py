"""Checkpoints from anywhere: damaged, altered, hostile; each is used or refused in one line."""

import copy
import itertools
import random
import time
import zipfile

import pytest
import torch

from sstutils import Recipe, load, load_checkpoint, load_model, train
from sstutils.checkpoints import write
from sstutils.runs import embed_checkpoint, run

TINY = {"epochs": 3, "warmup": 0.3, "batch_size": 60, "dim": 4, "size": 8, "precision": "float32", "refresh": 3}
HOW = {"where": "cpu", "progress": False}


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A run on digits that was stopped after two epochs, the second of local sampling."""
    path = tmp_path_factory.mktemp("cut") / "net.pt"
    steps = train(load("digits", "train", part=300), Recipe(**TINY), out=path, data=ABOUT, where="cpu")
    for step in steps:
        if step.epoch == 2:
            break
    steps.close()
    return path


ABOUT = {"name": "digits", "options": {"part": 300}}


def same(one, two):
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


def flips(raw, count, seed=0):
    """Copies of some bytes, each with one bit turned over."""
    for place in random.Random(seed).sample(range(8 * len(raw)), count):
        turned = bytearray(raw)
        turned[place // 8] ^= 1 << place % 8
        yield bytes(turned)


@pytest.mark.parametrize("count", [150, pytest.param(5000, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_found(cut, tmp_path, count):
    """Of files that older versions wrote, without a digest, one in what is padding is not found."""
    whole, path, found = load_checkpoint(cut), tmp_path / "net.pt", 0
    for damaged in flips(cut.read_bytes(), count):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"net\.pt is not a valid checkpoint .*\Z"):
            load_checkpoint(path)
    torch.save(whole, path)
    for damaged in flips(path.read_bytes(), count // 2):
        path.write_bytes(damaged)
        try:
            assert same(load_checkpoint(path), whole)
        except ValueError as error:
            assert "\n" not in str(error)
            found += 1
    assert found > 0.9 * (count // 2)


def test_a_checkpoint_that_would_fill_the_memory_is_refused_before_it_is_unpacked(cut, tmp_path):
    """Zeros, a thousand times as long as the file that holds them."""
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(cut) as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name in whole.namelist():
            if name.endswith("data/0"):
                with packed.open(name, "w", force_zip64=True) as member:
                    for _ in range(300):
                        member.write(bytes(1 << 20))
            else:
                packed.writestr(name, whole.read(name))
    assert path.stat().st_size < 10**7
    started = time.perf_counter()
    with pytest.raises(ValueError, match=r"net\.pt is not a valid checkpoint .*bytes that would unpack to 3\d\d,"):
        load_checkpoint(path)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_neither_used_nor_written(cut, tmp_path, value):
    content, path = load_checkpoint(cut), tmp_path / "net.pt"
    content["model"]["head.weight"] = content["model"]["head.weight"].clone()
    content["model"]["head.weight"][0, 0] = value
    torch.save(content, path)
    for use_it in (load_checkpoint, load_model, lambda path: embed_checkpoint(path, **HOW)):
        with pytest.raises(ValueError, match=r"net\.pt is not a valid checkpoint .*weights that are not finite"):
            use_it(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="weights that are not finite"):
        write(content, path)
    assert path.read_bytes() == before


def test_checkpoints_of_older_versions_are_read_and_resumed(cut, tmp_path):
    """They kept the state of a schedule, and none of the time of sampling or the machine."""
    content, path = load_checkpoint(cut), tmp_path / "net.pt"
    del content["hardware"]
    content["history"] = [{key: row[key] for key in ("epoch", "loss", "lr", "seconds")} for row in content["history"]]
    content["training"]["scheduler"] = {"best": float("inf"), "last_epoch": 1.0}
    del content["recipe"]["compile"]  # a field that is newer
    torch.save(content, path)
    embed_checkpoint(path, **HOW)
    assert len(run("digits", out=path, resume=True, **HOW).history) == 3


def odd_values():
    yield from (None, True, -1, 0, 1, 2.5, 10**9, 10**30, float("nan"), float("inf"), "", "x", "x" * 10**6, b"x")
    yield from ([], [1], {}, {"x": 1}, {1: 2}, (None,), [[[[[[[[[[1]]]]]]]]]])
    yield from (torch.tensor(1), torch.tensor([torch.nan]), torch.zeros(3, 3), torch.zeros(1).expand(10**6, 10**6))
    yield from (torch.eye(2).to_sparse(), torch.empty(10**9, device="meta"), torch.zeros(2, dtype=torch.complex64))


def places(content, depth=5):
    """Paths to all entries of nested dictionaries and lists, of which only the first is taken of many alike."""
    if depth and isinstance(content, (dict, list, tuple)):
        keys = list(content) if isinstance(content, dict) else range(len(content))
        tensors = [key for key in keys if isinstance(content[key], torch.Tensor)]
        for key in keys:
            if key not in tensors[1:]:
                yield (key,)
                yield from ((key, *rest) for rest in places(content[key], depth - 1))


def altered(content, path, value):
    """A copy in which one entry has another value, or is gone."""
    if isinstance(content, tuple):
        return tuple(altered(list(content), path, value))
    content = copy.copy(content)
    if len(path) > 1:
        content[path[0]] = altered(content[path[0]], path[1:], value)
    elif value is KeyError:
        del content[path[0]]
    else:
        content[path[0]] = value
    return content


def use(path):
    """Do with a checkpoint what commands do."""
    embed_checkpoint(path, **HOW)
    run("digits", out=path, resume=True, **HOW)


@pytest.mark.parametrize("name", ["root", "download", "transform", "split", "cls", "images", "x\x1b[31m"])
def test_options_that_the_data_set_does_not_have(cut, tmp_path, name):
    content = load_checkpoint(cut)
    content["data"]["options"] = {name: 1}
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"has no option|(root|split|download|transform) is of type int"):
        embed_checkpoint(tmp_path / "net.pt", **HOW)


@pytest.mark.parametrize("kind", [torch.int32, torch.bool, torch.complex64])
def test_weights_that_are_no_floats_are_not_rounded(cut, tmp_path, kind):
    content = load_checkpoint(cut)
    name = next(name for name, value in content["model"].items() if value.ndim > 1)
    content["model"][name] = content["model"][name].to(kind)
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"net\.pt holds weights that do not fit its recipe"):
        load_model(tmp_path / "net.pt")


@pytest.mark.parametrize("count", [30, pytest.param(3000, marks=pytest.mark.slow)])
def test_altered_content_is_used_or_refused_in_one_line(cut, tmp_path, count):
    content, path = load_checkpoint(cut), tmp_path / "net.pt"
    cases = list(itertools.product(places(content), [KeyError, *odd_values()]))
    refused = 0
    for place, value in random.Random(1).sample(cases, count):
        torch.save(altered(content, place, value), path)
        try:
            use(path)
        except (ValueError, OSError, FloatingPointError, MemoryError) as error:
            refused += 1
            assert len(str(error)) < 1500 and len(str(error).splitlines()) == 1, (place, value, error)
        except Exception as error:
            raise AssertionError(f"{place} = {str(value)[:50]}: {error!r}") from error
    assert refused > 0.5 * count
