"""The paper's three data sets: miniature archives in their true formats, from the download to a batch."""

import functools
import hashlib
import io
import multiprocessing
import os
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision.transforms import v2

from sstutils import Recipe, datasets, embed, fit
from sstutils.cli import main
from sstutils.datasets import CUB200, Cars196, StanfordOnlineProducts, batches, split_classes, tensors, with_transform
from sstutils.datasets.base import ArrayDataset
from sstutils.datasets.subsets import ClassSubset, Readable, labelled, part_of, protocol_ks, unreadable
from sstutils.models import EmbeddingNet
from sstutils.photos import cache
from sstutils.photos import mat as mat_files
from sstutils.photos.archives import Download
from sstutils.photos.cache import cache_resized
from sstutils.photos.mat import read_mat

PER_CLASS = 2
MODES = ("RGB", "L", "CMYK", "RGB", "RGB")


def photo(number: int) -> bytes:
    """A small JPEG of its own colour; some grey, some CMYK, some PNG under a JPEG's name, as they occur."""
    colour = tuple(np.random.default_rng(number).integers(0, 256, 3).tolist())
    image, content = Image.new("RGB", (12 + number % 5, 10), colour), io.BytesIO()
    image.convert(MODES[number % len(MODES)]).save(content, "PNG" if number % 5 == 4 else "JPEG", quality=95)
    return content.getvalue()


@functools.cache
def cub() -> dict[str, bytes]:
    """All files of a small CUB-200-2011, by their path in the archive."""
    classes = [f"{label:03d}.Bird_{label}" for label in range(1, 201)]
    paths = [f"{name}/{name[4:]}_{i}.jpg" for name in classes for i in range(PER_CLASS)]
    lists = {
        "images.txt": [f"{i} {path}" for i, path in enumerate(paths, 1)],
        "image_class_labels.txt": [f"{i + 1} {i // PER_CLASS + 1}" for i in range(len(paths))],
        "classes.txt": [f"{label} {name}" for label, name in enumerate(classes, 1)],
    }
    files = {f"CUB_200_2011/{name}": "\n".join(lines).encode() for name, lines in lists.items()}
    files |= {f"CUB_200_2011/images/{path}": photo(i) for i, path in enumerate(paths)}
    return files | {"attributes.txt": b"outside of the folder, as in the true archive"}


@functools.cache
def products() -> dict[str, bytes]:
    """All files of a small Stanford Online Products: 6 products for training, 4 for the test."""
    files, kinds = {}, ("bicycle", "coffee_maker")
    for split, labels in (("train", range(1, 7)), ("test", range(7, 11))):
        lines = ["image_id class_id super_class_id path"]
        for label in labels:
            for i in range(PER_CLASS):
                kind = label % 2
                path = f"{kinds[kind]}_final/{label}_{i}.JPG"
                lines.append(f"{len(files) + 1} {label} {kind + 1} {path}")
                files[f"Stanford_Online_Products/{path}"] = photo(len(files))
        files[f"Stanford_Online_Products/Ebay_{split}.txt"] = "\n".join(lines).encode()
    return files


def mat(**content) -> bytes:
    file = io.BytesIO()
    savemat(file, content)
    return file.getvalue()


def records(rows, **dtypes) -> np.ndarray:
    """A MATLAB struct array, as the annotations are."""
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in dtypes])
    for i, row in enumerate(rows):
        for name, value in zip(dtypes, row, strict=True):
            array[name][0, i] = value
    return array


MODELS = np.array([f"Maker Model {label}" for label in range(1, 196)] + ["Ram C/V Cargo Van"], dtype=object)
CARS = [(f"{i + 1:05d}.jpg", i // PER_CLASS + 1, i % 2) for i in range(196 * PER_CLASS)]  # name, class, test flag


@functools.cache
def cars_original() -> dict[str, bytes]:
    rows = [(f"car_ims/0{name}", 1, 2, 3, 4, label, test) for name, label, test in CARS]
    fields = dict.fromkeys(("relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test"))
    files = {f"car_ims/0{name}": photo(i) for i, (name, *_) in enumerate(CARS)}
    return files | {"cars_annos.mat": mat(annotations=records(rows, **fields), class_names=MODELS)}


@functools.cache
def cars_torchvision() -> dict[str, bytes]:
    fields = dict.fromkeys(("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"))
    files, lists = {}, {}
    for flag, part in enumerate(("cars_train", "cars_test")):
        rows = [(1, 2, 3, 4, label, name) for name, label, test in CARS if test == flag]
        lists[part] = mat(annotations=records(rows, **fields))
        files |= {f"stanford_cars/{part}/{name}": photo(i) for i, (name, _, test) in enumerate(CARS) if test == flag}
    return files | {
        "stanford_cars/devkit/cars_train_annos.mat": lists["cars_train"],
        "stanford_cars/cars_test_annos_withlabels.mat": lists["cars_test"],
        "stanford_cars/devkit/cars_meta.mat": mat(class_names=MODELS),
    }


@functools.cache
def cars_by_class() -> dict[str, bytes]:
    files = {
        f"car_data/car_data/{('train', 'test')[test]}/{MODELS[label - 1].replace('/', '-')}/{name}": photo(i)
        for i, (name, label, test) in enumerate(CARS)
    }
    return files | {"car_data/names.csv": "\n".join(MODELS).encode()}


def lay(files: dict[str, bytes], root) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def pack(files: dict[str, bytes], path) -> None:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


CASES = {
    "cub200": (CUB200, cub, {"train": (100, 200), "test": (100, 200)}),
    "sop": (StanfordOnlineProducts, products, {"train": (6, 12), "test": (4, 8)}),
    "cars196": (Cars196, cars_original, {"train": (98, 196), "test": (98, 196)}),
    "cars196 of torchvision": (Cars196, cars_torchvision, {"train": (98, 196), "test": (98, 196)}),
    "cars196 by class": (Cars196, cars_by_class, {"train": (98, 196), "test": (98, 196)}),
}


READ: dict[bytes, dict[str, list]] = {}


@pytest.fixture
def read_once(monkeypatch):
    """Annotations of one content are read by one process, in however many folders they lie."""
    real = mat_files._read

    def read(file, size, stamp):
        content = Path(file).read_bytes()
        if content not in READ:
            READ[content] = real(file, size, stamp)
        return READ[content]

    monkeypatch.setattr(mat_files, "_read", read)


@pytest.fixture(params=CASES)
def case(request, monkeypatch, tmp_path, read_once):
    """The class with the counts of the miniature, and its files."""
    cls, make, counts = CASES[request.param]
    monkeypatch.setattr(cls.__bases__[0], "counts", counts)
    monkeypatch.setenv("SSTUTILS_DATA", str(tmp_path / "elsewhere"))
    return cls, dict(make())


@pytest.mark.parametrize("cls", [CUB200, Cars196, StanfordOnlineProducts])
def test_the_counts_are_those_of_the_protocol(cls):
    assert (
        cls.counts
        == {
            CUB200: {"train": (100, 5864), "test": (100, 5924)},
            Cars196: {"train": (98, 8054), "test": (98, 8131)},
            StanfordOnlineProducts: {"train": (11318, 59551), "test": (11316, 60502)},
        }[cls]
    )


def test_a_folder_is_read_as_it_is(case, tmp_path):
    cls, files = case
    lay(files, tmp_path)
    contents = {}
    for split in ("train", "test"):
        dataset = cls(tmp_path, split)
        assert (len(dataset.classes), len(dataset)) == cls.counts[split]
        assert sorted(set(dataset.targets)) == list(range(len(dataset.classes)))
        for (path, target), (image, same) in zip(dataset.samples, dataset, strict=True):
            assert target == same
            assert image.mode == "RGB"
            contents[path] = dataset.classes[target]
    assert len(contents) == sum(images for _, images in cls.counts.values())  # no image in both
    assert set(cls(tmp_path, "train").classes).isdisjoint(cls(tmp_path, "test").classes)
    assert cls.find(tmp_path)
    assert cls.count(tmp_path) == cls.counts


def test_folders_within_folders_of_the_same_name(case, tmp_path):
    cls, files = case
    lay(files, tmp_path / "plain")
    inside = {name: content for name, content in files.items() if "/" in name}
    lay(files, tmp_path / "nested")  # what lies beside the folders stays
    for top in {name.partition("/")[0] for name in inside}:
        shutil.rmtree(tmp_path / "nested" / top)
    # Class folders are not doubled by any program; car_data comes doubled.
    depth = {"CUB_200_2011": 1, "Stanford_Online_Products": 1, "stanford_cars": 2, "car_data": 0, "car_ims": 1}
    for name, content in inside.items():
        parts = name.split("/")
        doubled = [part for i, part in enumerate(parts[:-1]) for part in [part] * (2 if i < depth[parts[0]] else 1)]
        lay({"/".join([*doubled, parts[-1]]): content}, tmp_path / "nested")
    for split in ("train", "test"):
        expected, found = cls(tmp_path / "plain", split), cls(tmp_path / "nested", split)
        assert (found.targets, found.classes) == (expected.targets, expected.classes)
        for (one, _), (other, _) in zip(found.samples, expected.samples, strict=True):
            assert Path(one).read_bytes() == Path(other).read_bytes()


def test_lists_with_a_byte_order_mark_and_empty_lines(case, tmp_path):
    cls, files = case
    lay(files, tmp_path / "plain")
    for name, content in files.items():
        if name.endswith((".txt", ".csv")):
            files[name] = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n") + b"\r\n  \r\n"
    lay(files, tmp_path / "marked")
    for split in ("train", "test"):
        expected, found = cls(tmp_path / "plain", split), cls(tmp_path / "marked", split)
        assert (found.targets, found.classes, found.fingerprint) == (
            expected.targets,
            expected.classes,
            expected.fingerprint,
        )


def test_what_a_mac_adds_is_no_photograph(case, tmp_path):
    cls, files = case
    lay(files, tmp_path / "plain")
    added = {}
    for name in files:
        folder, _, base = name.rpartition("/")
        added |= {f"__MACOSX/{folder}/._{base}": b"fork", f"{folder}/.DS_Store": b"", f"{folder}/._{base}": b"fork"}
    lay(files | {name.lstrip("/"): content for name, content in added.items()}, tmp_path / "mac")
    if cls is not Cars196 or "cars_annos.mat" in files:
        away = tmp_path / "packed"
        archive_of(cls, files | {name: b for name, b in added.items() if not name.startswith("/")}, away)
        assert cls(away, "test").fingerprint == cls(tmp_path / "plain", "test").fingerprint
    for split in ("train", "test"):
        expected, found = cls(tmp_path / "plain", split), cls(tmp_path / "mac", split)
        assert (found.fingerprint, found.classes) == (expected.fingerprint, expected.classes)


def test_names_and_order_follow_the_lists(monkeypatch, tmp_path):
    monkeypatch.setattr(CUB200.__bases__[0], "counts", CASES["cub200"][2])
    lay(cub(), tmp_path)
    test = CUB200(tmp_path, "test")
    assert test.classes[:2] == ["Bird 101", "Bird 102"]
    names = [Path(path).name for path, _ in test.samples[:3]]
    assert names == ["Bird_101_0.jpg", "Bird_101_1.jpg", "Bird_102_0.jpg"]
    assert test.targets[:3] == [0, 0, 1]


def test_the_layouts_of_cars_agree(monkeypatch, tmp_path, read_once):
    monkeypatch.setattr(Cars196.__bases__[0], "counts", CASES["cars196"][2])
    found = []
    for make in (cars_original, cars_torchvision, cars_by_class):
        root = tmp_path / make.__name__
        lay(make(), root)
        dataset = Cars196(root, "test")
        colours = {np.asarray(image).tobytes(): dataset.classes[target] for image, target in dataset}
        found.append(colours)
    assert found[0] == found[1] == found[2]
    assert "Ram C/V Cargo Van" in found[0].values()


def archive_of(cls, files, root):
    """Place the archive (and what belongs beside it) as a user would."""
    root.mkdir(exist_ok=True)
    for file, top in cls.archives.items():
        if top:
            pack({name: content for name, content in files.items() if not name.endswith(".mat")}, root / file)
        else:
            (root / file).write_bytes(files[file])


@pytest.mark.parametrize("name", ["cub200", "sop", "cars196"])
def test_an_archive_placed_by_hand_is_unpacked_once(monkeypatch, tmp_path, read_once, name):
    cls, make, counts = CASES[name]
    monkeypatch.setattr(cls.__bases__[0], "counts", counts)
    archive_of(cls, make(), tmp_path)
    assert cls.count(tmp_path) == {}  # looking unpacks nothing
    assert all(path.is_file() for path in cls.find(tmp_path))
    first = cls(tmp_path, "test")
    assert len(first) == counts["test"][1]
    (tmp_path / next(iter(cls.archives))).unlink()
    for left in (f".{cls.downloads[0].name}.part", f".{cls.downloads[0].name.partition('.')[0]}.01234567.part"):
        (tmp_path / left).touch()  # of a download and an unpacking that were killed
    assert cls(tmp_path, "test").fingerprint == first.fingerprint
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["cub200", "sop", "cars196"])
def test_from_a_server_to_a_batch(monkeypatch, tmp_path, name, capsys, serve):
    cls, make, counts = CASES[name]
    away = tmp_path / "away"
    archive_of(cls, make(), away)
    monkeypatch.setattr(cls.__bases__[0], "counts", counts)
    monkeypatch.setattr(
        cls.__bases__[0],
        "downloads",
        tuple(
            Download(d.name, None, hashlib.md5((away / d.name).read_bytes()).hexdigest(), (serve(away / d.name),))
            for d in cls.downloads
        ),
    )
    monkeypatch.setenv("SSTUTILS_DATA", str(tmp_path / "data"))
    with pytest.raises(FileNotFoundError, match=r"not found in .*data\. Pass download=True .* or do it by hand: Place"):
        datasets.load(name, "train")
    assert main(["data", name, "--download"]) == 0
    out = capsys.readouterr().out
    assert f"{counts['test'][1]} images of {counts['test'][0]} classes" in out
    dataset = datasets.load(name, "train", transform=v2.Compose([v2.Resize((8, 8)), v2.PILToTensor()]))
    images, labels = next(iter(torch.utils.data.DataLoader(dataset, 10)))
    assert images.shape == (10, 3, 8, 8)
    assert labels.tolist() == dataset.targets[:10]


def test_a_truncated_image_is_named(case, tmp_path):
    cls, files = case
    lay(files, tmp_path)
    path, _ = cls(tmp_path, "test").samples[3]
    content = Path(path).read_bytes()
    for damaged in (b"", content[: len(content) // 2]):
        Path(path).write_bytes(damaged)
        with pytest.raises(OSError, match=r"image .* cannot be read .*repair it or move it away"):
            cls(tmp_path, "test")[3]


def test_what_is_not_complete_is_refused(case, tmp_path):
    cls, files = case
    lay(files, tmp_path)
    path, _ = cls(tmp_path, "test").samples[3]
    os.remove(path)
    with pytest.raises(OSError, match=r"(1 of \d+ test images are not in|lists \d+ test images)") as caught:
        cls(tmp_path, "test")
    assert "\n" not in str(caught.value)
    assert datasets.info({CUB200: "cub200", Cars196: "cars196"}.get(cls, "sop"), tmp_path)["problem"]


def test_wrong_counts_are_refused(tmp_path, monkeypatch):
    lay(cub(), tmp_path)
    with pytest.raises(OSError, match=r"lists 200 train images of 100 classes, expected 5,864 of 100: unpack"):
        CUB200(tmp_path, "train")


@pytest.mark.parametrize("damage", ["", "1", "1 2 3\n", "\x00" * 50])
def test_damaged_lists_are_refused(tmp_path, damage):
    lay(cub(), tmp_path)
    (tmp_path / "CUB_200_2011" / "image_class_labels.txt").write_text(damage)
    with pytest.raises(OSError, match="CUB-200-2011"):
        CUB200(tmp_path, "train")


def test_a_list_that_leads_out_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(CUB200.__bases__[0], "counts", CASES["cub200"][2])
    lay(cub() | {"CUB_200_2011/secret.jpg": photo(0)}, tmp_path)
    lists = tmp_path / "CUB_200_2011" / "images.txt"
    lists.write_text(lists.read_text().replace("001.Bird_1/Bird_1_0.jpg", "../secret.jpg"))
    with pytest.raises(OSError, match=r"1 of 200 train images are not in .* such as images/\.\./secret\.jpg"):
        CUB200(tmp_path, "train")


def test_damaged_annotations_of_cars_are_refused(tmp_path):
    lay(cars_original(), tmp_path)
    (tmp_path / "cars_annos.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(500))
    with pytest.raises(OSError, match=r"CARS196: the lists in .* cannot be read"):
        Cars196(tmp_path, "train")


# ---------------------------------------------------------------------------------------------------------------------
# Scaled once
# ---------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def birds(monkeypatch, tmp_path):
    """Forty pictures of noise, no two of one size, of twenty kinds; caches lie in ``tmp_path / "cache"``."""
    monkeypatch.setattr(CUB200.__bases__[0], "counts", CASES["cub200"][2] | {"test": (20, 40)})
    monkeypatch.setenv("SSTUTILS_DATA", str(tmp_path / "cache"))
    folder = tmp_path / "birds" / "CUB_200_2011"
    lay(cub(), tmp_path / "birds")
    labels = (folder / "image_class_labels.txt").read_text().splitlines()
    (folder / "image_class_labels.txt").write_text("\n".join(labels[:240]))
    random = np.random.default_rng(1)
    dataset = CUB200(tmp_path / "birds", "test")
    for i, (path, _) in enumerate(dataset.samples):
        noise = random.integers(0, 256, (20 + i, 50 - i, 3), dtype=np.uint8)
        Image.fromarray(noise).convert(MODES[i % 3]).save(path, "PNG" if i % 6 == 0 else "JPEG")
    return CUB200(tmp_path / "birds", "test")


def made(tmp_path):
    """The names of all files in the cache, hidden ones too."""
    return sorted(os.listdir(tmp_path / "cache")) if (tmp_path / "cache").exists() else []


def same_batches(ours, theirs, order, size, workers=0):
    for (x, y), (images, labels) in zip(batches(ours, order, size, workers), batches(theirs, order, size), strict=True):
        assert torch.equal(x, images)
        assert torch.equal(y, labels)
        assert x.dtype == images.dtype == torch.uint8
        assert x.stride() == images.stride()  # layers choose their sums by it
        assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("side", "workers"), [(16, 0), (64, 2)])
def test_batches_are_the_same_with_and_without_the_cache(birds, tmp_path, side, workers):
    cached = cache_resized(birds, side, workers=workers, progress=False)
    assert isinstance(cached, ArrayDataset)
    assert (cached.targets, cached.classes, cached.fingerprint) == (birds.targets, birds.classes, birds.fingerprint)
    assert not cached.unreadable.any()
    order = [[3, 1, 39, 3], np.array([0]), torch.arange(5, 25), range(40)]
    same_batches(cached, birds, order, side)
    for ours, theirs in zip(split_classes(cached, 0.3), split_classes(birds, 0.3), strict=True):
        assert ours.fingerprint == theirs.fingerprint
        same_batches(ours, theirs, [[2, 0], range(len(theirs))], side)
    small, whole = tensors(ClassSubset(cached, [1, 4]))[0], tensors(cached)[0]
    assert torch.equal(small, whole[torch.tensor(cached.targets).unsqueeze(1).eq(torch.tensor([1, 4])).any(1)])
    np.testing.assert_array_equal(np.load(cached.path), whole.permute(0, 2, 3, 1))
    assert [Path(name).suffix for name in made(tmp_path)] == [".npy"]


def test_scaled_pictures_are_those_of_torchvision(birds):
    cached = cache_resized(birds, 24, progress=False)
    for (image, target), (original, same) in zip(cached, birds, strict=True):
        expected = v2.functional.resize(original, [24, 24], antialias=True)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
        assert target == same


def test_a_run_has_the_same_numbers_with_the_cache(birds):
    recipe = Recipe(size=16, resize=20, flip=True, batch_size=12, per_class=2, epochs=2, dim=8, warmup=0.5)
    runs = [fit(dataset, recipe, progress=False) for dataset in (birds, cache_resized(birds, 20, progress=False))]
    clocks = {"seconds", "sampling", "processor"}
    histories = [[{k: v for k, v in row.items() if k not in clocks} for row in run.history] for run in runs]
    assert histories[0] == histories[1]
    weights = [run.model.state_dict() for run in runs]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_embeddings_are_the_same_with_the_cache(birds):
    model = EmbeddingNet(dim=8)
    expected = embed(model, birds, size=20, crop=16, progress=False)
    assert torch.equal(
        embed(model, cache_resized(birds, 20, progress=False), size=20, crop=16, progress=False), expected
    )


def test_worker_processes_map_the_file_for_themselves(birds):
    cached = cache_resized(birds, 16, progress=False)
    content = pickle.dumps(cached)
    assert len(content) < cached.data.nbytes
    np.testing.assert_array_equal(pickle.loads(content).data, cached.data)
    seen = with_transform(cached, v2.PILToTensor())
    images, _ = next(iter(torch.utils.data.DataLoader(seen, 40, num_workers=2)))
    assert torch.equal(images, tensors(cached)[0])


def test_no_warning_about_the_map(birds, recwarn):
    tensors(cache_resized(birds, 16, progress=False))
    assert [str(w.message) for w in recwarn] == []


def test_the_cache_is_made_once(birds, tmp_path, monkeypatch):
    first = cache_resized(birds, 8, progress=False)
    stamps = [(tmp_path / "cache" / name).stat().st_mtime_ns for name in made(tmp_path)]
    monkeypatch.setattr(CUB200, "__getitem__", None)  # the source is not read again
    assert np.array_equal(cache_resized(birds, 8, progress=False).data, first.data)
    assert [(tmp_path / "cache" / name).stat().st_mtime_ns for name in made(tmp_path)] == stamps


def test_another_source_has_another_cache_and_the_stale_one_goes(birds, tmp_path):
    cache_resized(birds, 8, progress=False)
    other, part = cache_resized(birds, 9, progress=False), cache_resized(part_of(birds, 10), 8, progress=False)
    assert len(made(tmp_path)) == 3
    before = set(made(tmp_path))
    path, _ = birds.samples[5]
    Image.new("RGB", (70, 70), "red").save(path)
    changed = CUB200(tmp_path / "birds", "test")
    anew = cache_resized(changed, 8, progress=False)
    assert (np.asarray(anew[5][0]).astype(int) - [254, 0, 0] < 3).all()
    after = set(made(tmp_path))
    assert len(after) == 3
    assert after - before == {anew.path.name}
    assert {other.path.name, part.path.name} <= after  # of another side, or of a part
    same_batches(anew, changed, [range(40)], 8)


def test_another_folder_of_the_same_kind_keeps_its_cache(birds, tmp_path):
    first = cache_resized(birds, 8, progress=False)
    shutil.copytree(tmp_path / "birds", tmp_path / "others")
    copied = CUB200(tmp_path / "others", "test")
    assert cache_resized(copied, 8, progress=False).path == first.path  # the same pictures
    Image.new("RGB", (70, 70)).save(copied.samples[0][0])
    assert cache_resized(CUB200(tmp_path / "others", "test"), 8, progress=False).path != first.path
    assert first.path.exists()


def test_other_versions_of_the_libraries_have_another_cache(birds, monkeypatch):
    first = cache_resized(birds, 8, progress=False).path
    monkeypatch.setattr("PIL.__version__", "0.0")
    assert cache_resized(birds, 8, progress=False).path != first


@pytest.mark.parametrize("damage", ["cut", "flip", "flip the last", "stand-ins", "checks", "other arrays", "empty"])
def test_a_damaged_cache_is_made_again(birds, damage, recwarn):
    first = cache_resized(birds, 8, progress=False)
    path, expected = first.path, first.data.copy()
    content, images = bytearray(path.read_bytes()), 128 + expected.nbytes
    del first
    if damage.startswith("flip"):
        content[images - 1 if damage == "flip the last" else 5000] ^= 1
    elif damage in ("stand-ins", "checks"):  # 41 checksums come first, each array with a header of 128 bytes
        content[images + 128 + (0 if damage == "checks" else 41 * 4 + 128)] ^= 1
    elif damage == "other arrays":
        file = io.BytesIO()
        np.save(file, expected[1:])
        content = file.getvalue()
    else:
        content = content[: 0 if damage == "empty" else -5]
    path.write_bytes(content)
    again = cache_resized(birds, 8, progress=False)
    np.testing.assert_array_equal(again.data, expected)
    (warning,) = [str(w.message) for w in recwarn]
    assert re.fullmatch(rf"cache {re.escape(str(again.path))} is corrupt \(.+\); making it again", warning)
    cache_resized(birds, 8, progress=False)
    assert len(recwarn) == 1


def test_the_two_files_of_an_older_version_go(birds, tmp_path):
    path = tmp_path / "cache" / "cub200-test-8-0123456789ab.npy"
    path.parent.mkdir()
    np.save(path, np.zeros((40, 8, 8, 3), np.uint8))
    np.savez(path.with_suffix(".npz"), checks=np.zeros(40, np.uint32))
    other = path.with_name("cub200-train-8-0123456789ab.npy")
    np.save(other, np.zeros((40, 8, 8, 3), np.uint8))
    new = cache_resized(birds, 8, progress=False).path
    assert set(made(tmp_path)) == {new.name, other.name}


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_picture_leaves_no_cache(birds, tmp_path, workers):
    path, _ = birds.samples[-1]
    Path(path).write_bytes(b"no picture")
    with pytest.raises(OSError, match=r"cannot be read .*repair it or move it away"):
        cache_resized(CUB200(tmp_path / "birds", "test"), 8, workers=workers, progress=False)
    assert made(tmp_path) == []


def test_an_interrupt_leaves_no_cache(birds, tmp_path, monkeypatch):
    read = CUB200.__getitem__

    def interrupted(self, index):
        if index == 30:
            raise KeyboardInterrupt
        return read(self, index)

    monkeypatch.setattr(CUB200, "__getitem__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache_resized(birds, 8, progress=False)
    assert made(tmp_path) == []


def test_what_a_killed_process_left_goes(birds, tmp_path):
    path = cache_resized(birds, 8, progress=False).path
    own = path.with_name(f".{path.name}.01234567.part")
    # Of other versions of the data, which another process may be writing.
    old, young = (path.with_name(f".cub200-test-8-{12 * i}.npy.01234567.part") for i in "ab")
    for part in (own, old, young):
        part.write_bytes(b"half")
    os.utime(old, (0, 0))
    path.unlink()
    cache_resized(birds, 8, progress=False)
    assert made(tmp_path) == sorted([young.name, path.name])


def test_no_room_for_the_cache(birds, tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=40 * 8 * 8 * 3 - 1))
    with pytest.raises(
        OSError, match=r"^the resized images need 0.00 GB, .*cache has 0.00 GB free: make room"
    ) as caught:
        cache_resized(birds, 8, progress=False)
    assert "\n" not in str(caught.value)
    assert made(tmp_path) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=40 * 8 * 8 * 3))
    path = cache_resized(birds, 8).path
    assert f"{path.name}: 0 MB in {tmp_path / 'cache'}" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_fills_up(birds, tmp_path, monkeypatch):
    real = cache.atomic_write

    @contextmanager
    def full(path):
        with real(path) as temporary:
            temporary.symlink_to("/dev/full")
            yield temporary

    monkeypatch.setattr(cache, "atomic_write", full)
    with pytest.raises(OSError, match=r"cannot write .*\.npy \(No space left on device\): make room") as caught:
        cache_resized(birds, 64, progress=False)
    assert "\n" not in str(caught.value)
    assert made(tmp_path) == []


def test_a_folder_that_cannot_be_written_says_what_to_do(birds, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .* \(.*\): make room, take another folder .*--no-cache"):
        cache_resized(birds, 8, tmp_path / "file" / "below", progress=False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes that need not import anything")
def test_two_processes_make_it_once(birds, tmp_path, monkeypatch):
    read, reads = CUB200.__getitem__, []
    monkeypatch.setattr(CUB200, "__getitem__", lambda self, index: (reads.append(index), read(self, index))[1])
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()

    def make():
        told.put((cache_resized(birds, 32, progress=False).data.sum(), len(reads)))

    started = [context.Process(target=make) for _ in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0]
    (one, first), (two, second) = told.get(), told.get()
    assert one == two == cache_resized(birds, 32, progress=False).data.sum()
    assert sorted([first, second]) == [0, 40]
    assert len(made(tmp_path)) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_stand_ins_are_kept_and_told_again(birds, tmp_path, workers, recwarn):
    bad = [4, 20]
    for item in bad:
        Path(birds.samples[item][0]).write_bytes(b"no picture")
    birds = CUB200(tmp_path / "birds", "test")
    readable = Readable(birds)
    cached = cache_resized(readable, 8, workers=workers, progress=False)
    assert np.flatnonzero(cached.unreadable).tolist() == np.flatnonzero(readable.unreadable).tolist() == bad
    same_batches(cached, Readable(birds), [range(40)], 8)
    assert np.array_equal(cached.data[4], cached.data[5])
    recwarn.clear()
    # A later run names them and counts them, and reads no other picture but their stand-ins.
    later = Readable(birds)
    again = cache_resized(later, 8, progress=False)
    assert np.flatnonzero(later.unreadable).tolist() == np.flatnonzero(again.unreadable).tolist() == bad
    told = [str(w.message) for w in recwarn]
    assert len(told) == 2
    assert all(birds.samples[item][0] in text for item, text in zip(bad, told, strict=True))
    # Who allows none gets the error that he would get without the cache.
    with pytest.raises(OSError, match=r"cannot be read .*repair it or move it away"):
        cache_resized(birds, 8, progress=False)
    part = ClassSubset(later, range(3))
    assert unreadable(part).nonzero()[0].tolist() == [4]
    assert np.flatnonzero(cache_resized(part, 8, progress=False).unreadable).tolist() == [4]


def test_a_repaired_picture_has_the_cache_made_again(birds, tmp_path):
    path = Path(birds.samples[4][0])
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))  # as many bytes: the fingerprint stays
    birds = CUB200(tmp_path / "birds", "test")
    with pytest.warns(UserWarning, match="another image of its class replaces it"):
        first = cache_resized(Readable(birds), 8, progress=False)
    path.write_bytes(content)
    again = cache_resized(Readable(birds), 8, progress=False)
    assert again.path == first.path
    assert not again.unreadable.any()
    same_batches(again, birds, [range(40)], 8)


def test_data_sets_without_a_fingerprint_are_not_cached():
    own = torch.utils.data.TensorDataset(torch.zeros(4, 3, 8, 8), torch.tensor([0, 0, 1, 1]))
    with pytest.raises(ValueError, match="TensorDataset has no fingerprint"):
        cache_resized(own, 8)


def test_a_subset_of_torch_is_cached(birds):
    part = torch.utils.data.Subset(birds, range(5, 11))
    same_batches(cache_resized(part, 8, progress=False), labelled(part), [range(6)], 8)


def test_a_side_of_nothing_is_refused(birds):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        cache_resized(birds, 0)


# ---------------------------------------------------------------------------------------------------------------------
# What the protocol asks, and what strangers' files try
# ---------------------------------------------------------------------------------------------------------------------
def test_the_ks_of_the_protocol(birds, monkeypatch):
    assert (CUB200.ks, Cars196.ks, StanfordOnlineProducts.ks) == ((1, 2, 4, 8), (1, 2, 4, 8), (1, 10, 100, 1000))
    assert protocol_ks(birds) == protocol_ks(Readable(birds)) == (1, 2, 4, 8)
    assert protocol_ks(ClassSubset(Readable(birds), range(4))) == (1, 2, 4)  # of eight images, seven are neighbors
    assert protocol_ks(ClassSubset(birds, [0])) == (1,)
    monkeypatch.setattr(CUB200, "ks", (1, 10, 39, 40))
    assert protocol_ks(birds) == protocol_ks(cache_resized(birds, 8, progress=False)) == (1, 10, 39)
    assert protocol_ks(ArrayDataset(np.zeros((9, 4, 4, 3), np.uint8), [0] * 9, ["a"])) == (1, 2, 4, 8)


def test_a_part_by_name(monkeypatch, tmp_path):
    monkeypatch.setattr(StanfordOnlineProducts.__bases__[0], "counts", CASES["sop"][2])
    lay(products(), tmp_path)
    part = datasets.load("sop", "train", root=tmp_path, part=9)
    assert (len(part), len(part.classes)) == (10, 5)
    assert part.fingerprint == datasets.load("sop", "train", root=tmp_path, part=9).fingerprint
    assert isinstance(datasets.load("sop", "train", root=tmp_path, part=12), StanfordOnlineProducts)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        datasets.load("sop", "train", root=tmp_path, part=0)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "a\0b.jpg", "bicycle_final", "none/1.JPG", "bicycle_final/../Ebay_test.txt"]
)
def test_names_in_the_lists_that_are_no_pictures_of_the_folder(monkeypatch, tmp_path, name):
    monkeypatch.setattr(StanfordOnlineProducts.__bases__[0], "counts", CASES["sop"][2])
    lay(products(), tmp_path)
    lists = tmp_path / "Stanford_Online_Products" / "Ebay_test.txt"
    lines = lists.read_text().splitlines()
    lines[1] = " ".join([*lines[1].split()[:3], name])
    lists.write_text("\n".join(lines))
    with pytest.raises(OSError, match="1 of 8 test images are not in"):
        StanfordOnlineProducts(tmp_path, "test")


@pytest.mark.parametrize("count", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_annotations_that_would_crash_the_reader(tmp_path, count):
    """Any byte changed: the same lists, others, or an error on one line; scipy's reader dies of some."""
    path = tmp_path / "cars_annos.mat"
    content = cars_original()["cars_annos.mat"]
    path.write_bytes(content)
    whole = read_mat(path)
    assert whole["images"][:3] == [["car_ims/000001.jpg", 1], ["car_ims/000002.jpg", 1], ["car_ims/000003.jpg", 2]]
    assert whole["classes"] == MODELS.tolist()
    random, refused = np.random.default_rng(0), 0
    for place in [*random.integers(0, len(content), count), 130, 137, 180]:
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read_mat(path)
        except ValueError as error:
            refused += 1
            assert str(error) == "cars_annos.mat is damaged, or far larger than the published one"
    assert refused


@pytest.mark.parametrize("end", ["os.abort()", "sys.exit(3)", "print('no JSON')", "os.kill(os.getpid(), 11)"])
def test_a_reader_that_dies_is_an_error_on_one_line(tmp_path, monkeypatch, end):
    (tmp_path / "reader.py").write_text(f"import os, sys\n{end}")
    monkeypatch.setattr(mat_files, "__file__", str(tmp_path / "reader.py"))
    lay(cars_original(), tmp_path)
    with pytest.raises(OSError, match=r"^CARS196: the lists in .* cannot be read \(cars_annos.mat is damaged, or far"):
        Cars196(tmp_path, "train")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the memory of a process is not limited")
def test_annotations_that_unpack_to_too_much_memory(tmp_path, monkeypatch):
    path = tmp_path / "cars_annos.mat"
    savemat(path, {"annotations": np.zeros(300_000_000, np.uint8)}, do_compression=True)
    assert path.stat().st_size < 1_500_000
    path.write_bytes(path.read_bytes())
    pytest.importorskip("resource")
    with pytest.raises(ValueError, match=r"^cars_annos.mat is damaged, or far larger than the published one$"):
        read_mat(path)
    # Measured from a small process: a child's peak begins with what the process that starts it holds.
    code = """if True:
        import resource, subprocess, sys
        subprocess.run(sys.argv[1:], capture_output=True)
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"""
    command = [sys.executable, "-P", "-c", code, sys.executable, "-P", read_mat.__code__.co_filename, str(path)]
    assert 0 < int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) < 2 << 20  # in KB
    with open(path, "r+b") as file:
        file.truncate(20_000_001)
    with pytest.raises(ValueError, match="far larger"):
        read_mat(path)


def test_annotations_of_cars_run_nothing(tmp_path):
    """Neither a pickle under the name of annotations, nor an object inside of them, is ever made."""

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    lay(cars_original(), tmp_path)
    for content in (
        pickle.dumps(Evil()),
        mat(annotations=np.frombuffer(pickle.dumps(Evil()), np.uint8), class_names=MODELS),
    ):
        (tmp_path / "cars_annos.mat").write_bytes(content)
        with pytest.raises(OSError, match=r"CARS196: the lists in .* cannot be read"):
            Cars196(tmp_path, "train")
    assert not (tmp_path / "evil").exists()
