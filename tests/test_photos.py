"""The paper's three data sets: miniature archives in their true formats, from the download to a batch."""

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision.transforms import v2

from sstutils import datasets
from sstutils.cli import main
from sstutils.datasets import CUB200, Cars196, StanfordOnlineProducts
from sstutils.datasets.archives import Download
from sstutils.datasets.base import with_transform
from sstutils.datasets.resized import resized

PER_CLASS = 2
MODES = ("RGB", "L", "CMYK", "RGB", "RGB")


def photo(number: int) -> bytes:
    """A small JPEG of its own colour; some grey, some CMYK, some PNG under a JPEG's name, as they occur."""
    colour = tuple(np.random.default_rng(number).integers(0, 256, 3).tolist())
    image, content = Image.new("RGB", (12 + number % 5, 10), colour), io.BytesIO()
    image.convert(MODES[number % len(MODES)]).save(content, "PNG" if number % 5 == 4 else "JPEG", quality=95)
    return content.getvalue()


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


def cars_original() -> dict[str, bytes]:
    rows = [(f"car_ims/0{name}", 1, 2, 3, 4, label, test) for name, label, test in CARS]
    fields = dict.fromkeys(("relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test"))
    files = {f"car_ims/0{name}": photo(i) for i, (name, *_) in enumerate(CARS)}
    return files | {"cars_annos.mat": mat(annotations=records(rows, **fields), class_names=MODELS)}


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


@pytest.fixture(params=CASES)
def case(request, monkeypatch, tmp_path):
    """The class with the counts of the miniature, and its files."""
    cls, make, counts = CASES[request.param]
    monkeypatch.setattr(cls, "counts", counts)
    monkeypatch.setenv("SSTUTILS_DATA", str(tmp_path / "elsewhere"))
    return cls, make()


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


def test_names_and_order_follow_the_lists(monkeypatch, tmp_path):
    monkeypatch.setattr(CUB200, "counts", CASES["cub200"][2])
    lay(cub(), tmp_path)
    test = CUB200(tmp_path, "test")
    assert test.classes[:2] == ["Bird 101", "Bird 102"]
    names = [Path(path).name for path, _ in test.samples[:3]]
    assert names == ["Bird_101_0.jpg", "Bird_101_1.jpg", "Bird_102_0.jpg"]
    assert test.targets[:3] == [0, 0, 1]


def test_the_layouts_of_cars_agree(monkeypatch, tmp_path):
    monkeypatch.setattr(Cars196, "counts", CASES["cars196"][2])
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
def test_an_archive_placed_by_hand_is_unpacked_once(monkeypatch, tmp_path, name):
    cls, make, counts = CASES[name]
    monkeypatch.setattr(cls, "counts", counts)
    archive_of(cls, make(), tmp_path)
    assert cls.count(tmp_path) == {}  # looking unpacks nothing
    assert all(path.is_file() for path in cls.find(tmp_path))
    first = cls(tmp_path, "test")
    assert len(first) == counts["test"][1]
    (tmp_path / next(iter(cls.archives))).unlink()
    assert cls(tmp_path, "test").fingerprint == first.fingerprint


@pytest.mark.parametrize("name", ["cub200", "sop", "cars196"])
def test_from_a_server_to_a_batch(monkeypatch, tmp_path, name, capsys, serve):
    cls, make, counts = CASES[name]
    away = tmp_path / "away"
    archive_of(cls, make(), away)
    monkeypatch.setattr(cls, "counts", counts)
    monkeypatch.setattr(
        cls,
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
        with pytest.raises(OSError, match=r"image .* cannot be read .*repair or remove it"):
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
    monkeypatch.setattr(CUB200, "counts", CASES["cub200"][2])
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
# Made small once
# ---------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def birds(monkeypatch, tmp_path):
    monkeypatch.setattr(CUB200, "counts", CASES["cub200"][2])
    lay(cub(), tmp_path / "birds")
    return CUB200(tmp_path / "birds", "test")


@pytest.mark.parametrize("workers", [0, 2])
def test_resized_pictures_are_near_and_small(birds, tmp_path, workers):
    small = resized(birds, tmp_path, side=8, workers=workers, progress=False)
    assert (len(small), small.targets, small.classes) == (len(birds), birds.targets, birds.classes)
    assert small.fingerprint == birds.fingerprint
    for (picture, target), (original, same) in zip(small, birds, strict=True):
        assert min(picture.size) == 8
        assert target == same
        assert np.abs(np.asarray(picture, dtype=int).mean((0, 1)) - np.asarray(original).mean((0, 1))).max() < 3
    assert sorted(path.suffix for path in tmp_path.glob("cub200-*")) == [".jpegs", ".npz"]
    batch, _ = next(
        iter(
            torch.utils.data.DataLoader(
                with_transform(small, v2.Compose([v2.CenterCrop(8), v2.PILToTensor()])), 7, num_workers=workers
            )
        )
    )
    assert batch.shape == (7, 3, 8, 8)


def test_resized_is_made_once_and_anew_for_other_sources(birds, tmp_path, monkeypatch):
    resized(birds, tmp_path, side=8, progress=False)
    first = set(tmp_path.glob("*.jpegs"))
    with monkeypatch.context() as patched:
        patched.setattr(CUB200, "__getitem__", None)  # the source is not read again
        resized(birds, tmp_path, side=8, progress=False)
    path, _ = birds.samples[0]
    Path(path).write_bytes(Path(path).read_bytes() + b"x")  # still a picture, of another size in bytes
    resized(CUB200(tmp_path / "birds", "test"), tmp_path, side=8, progress=False)
    assert len(set(tmp_path.glob("*.jpegs")) - first) == 1


@pytest.mark.parametrize("damage", ["cut", "flip", "index"])
def test_a_damaged_file_of_resized_pictures_is_seen(birds, tmp_path, damage):
    resized(birds, tmp_path, side=8, progress=False)
    path = next(tmp_path.glob("*.npz" if damage == "index" else "*.jpegs"))
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-20] ^= 0xFF
    path.write_bytes(content if damage == "flip" else content[:-5])
    with pytest.raises(OSError, match=r"jpegs is damaged: delete it, and it is made anew"):
        list(resized(birds, tmp_path, side=8, progress=False))


def test_nothing_half_made_is_left(birds, tmp_path):
    path, _ = birds.samples[-1]
    fingerprint = birds.fingerprint  # as it was
    Path(path).write_bytes(b"no picture")
    assert fingerprint == birds.fingerprint
    with pytest.raises(OSError, match="cannot be read"):
        resized(birds, tmp_path, side=8, progress=False)
    assert not list(tmp_path.glob("*.npz")) + list(tmp_path.glob("*.jpegs")) + list(tmp_path.glob(".*"))
