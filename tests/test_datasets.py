"""Data sets: tiny trees in the true raw formats, torchvision's own readers as oracles, no network."""

import gc
import gzip
import hashlib
import inspect
import io
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image, ImageFile
from sklearn.datasets import load_digits
from torch.utils.data import ConcatDataset, DataLoader, Subset
from torchvision.transforms import functional, v2
from torchvision.transforms.v2.functional import pil_to_tensor

from sstutils import Recipe, datasets, embed, fit
from sstutils.datasets import reading, subsets
from sstutils.datasets.base import ArrayDataset
from sstutils.datasets.images import open_image, scale_grey, to_rgb
from sstutils.embedding import embed_readable
from sstutils.files import atomic_write, cached_arrays, digest
from sstutils.index import Index, load_pictures
from sstutils.models import EmbeddingNet
from sstutils.photos import fashion, omniglot
from sstutils.photos.archives import Download, fetch
from sstutils.photos.head import suit_pictures

RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Keep the user's own data and Debian's out of every test that does not ask for them."""
    monkeypatch.setenv("SSTUTILS_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(fashion, "DEBIAN", tmp_path / "debian")


def arrays(classes=6, images=4, side=8) -> ArrayDataset:
    """Make random images; targets shuffled, all classes present."""
    targets = RNG.permutation(np.repeat(np.arange(classes), images))
    data = RNG.integers(0, 256, (classes * images, side, side, 3), dtype=np.uint8)
    return ArrayDataset(data, targets, [f"class {i}" for i in range(classes)])


@contextmanager
def all_warnings():
    """Give the list that all warnings of the block go to."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


# ---------------------------------------------------------------------------------------------------------------------
# root, aside, caches, downloads
# ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"SSTUTILS_DATA": "/big/disk", "XDG_CACHE_HOME": "/cache"}, "/big/disk"),
        ("linux", {"SSTUTILS_DATA": "~/disk"}, "/home/ann/disk"),
        ("linux", {"XDG_CACHE_HOME": "/cache"}, "/cache/sstutils"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/ann/.cache/sstutils"),
        ("linux", {}, "/home/ann/.cache/sstutils"),
        ("darwin", {}, "/home/ann/Library/Caches/sstutils"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/sstutils"),
        ("win32", {}, "/home/ann/AppData/Local/sstutils"),
    ],
)
def test_root(monkeypatch, platform, environment, expected):
    for name in ("SSTUTILS_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (environment | {"HOME": "/home/ann", "USERPROFILE": "/home/ann"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert datasets.root() == Path(expected)


def test_a_user_without_a_home(monkeypatch, tmp_path):
    """As in a container: HOME is not set, and the user is in no list."""
    for name in ("SSTUTILS_DATA", "XDG_CACHE_HOME", "HOME", "USERPROFILE", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if os.name != "nt":
        monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("unknown user")))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert datasets.root() == tmp_path / "sstutils"
    assert len(datasets.load("glyphs", classes=4, images=2)) == 4
    with pytest.raises(FileNotFoundError, match=r"^~/pictures does not exist"):
        datasets.load("folder:~/pictures")
    with pytest.raises(ValueError, match="no data set is called '~nobody'"):
        datasets.load("~nobody")


def test_importing_is_light():
    code = (
        "import sys, sstutils.datasets as d; d.NAMES; "
        "print([m for m in ('torch', 'torchvision', 'matplotlib', 'sklearn', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_info_needs_no_torch(tmp_path):
    code = (
        "import sys; from sstutils.datasets import NAMES, info\n"
        "for name in NAMES: info(name if name != 'folder' else 'folder:' + sys.argv[1])\n"
        "print([m for m in ('torch', 'torchvision', 'matplotlib', 'sklearn', 'scipy') if m in sys.modules])"
    )
    picture_tree(tmp_path / "pictures")
    omniglot_tree(tmp_path / "data", packed=True)
    fashion_tree(tmp_path / "data" / "FashionMNIST" / "raw")
    command = [sys.executable, "-c", code, str(tmp_path / "pictures")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "[]"


def test_all_public_names_exist():
    for name in datasets.__all__:
        assert getattr(datasets, name) is not None
    assert {cls for cls, _ in datasets.NAMES.values()} <= set(datasets.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        datasets.nothing  # noqa: B018


def test_atomic_write_replaces_only_when_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as temporary:
        temporary.write_text("ha")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["file.txt"]


def test_cache_is_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"data": np.arange(5), "classes": np.array(["a", "ß"])}

    for _ in range(3):
        found = cached_arrays(tmp_path / "deep" / "cache.npz", make, ["data", "classes"])
        assert found["data"].tolist() == [0, 1, 2, 3, 4]
        assert found["classes"].tolist() == ["a", "ß"]
    assert made == [1]
    assert os.listdir(tmp_path / "deep") == ["cache.npz"]


def test_any_damage_to_a_cache_is_seen(tmp_path):
    """Cut or changed anywhere: never other arrays than those made, never an exception; then it is whole again."""
    made = {"data": np.arange(600, dtype=np.int64), "targets": np.ones(3), "classes": np.array(["x"])}
    path = tmp_path / "cache.npz"
    cached_arrays(path, lambda: made)
    whole = path.read_bytes()
    warned = 0
    damaged = [whole[:cut] for cut in RNG.integers(0, len(whole) - 1, 30)]
    for place in RNG.integers(0, len(whole), 100):
        flipped = bytearray(whole)
        flipped[place] ^= 0xFF
        damaged.append(bytes(flipped))
    damaged += [b"", b"PK\x03\x04", pickle.dumps({"data": 1}), b"\x93NUMPY"]
    for content in damaged:
        path.write_bytes(content)
        with all_warnings() as caught:
            found = cached_arrays(path, lambda: made)
        for key, expected in made.items():
            np.testing.assert_array_equal(found[key], expected)
        if caught:
            warned += 1
            assert len(caught) == 1, [str(w.message) for w in caught]
            assert "\n" not in str(caught[0].message)
            assert f"cache {path} is corrupt" in str(caught[0].message)
            assert path.read_bytes()[:4] == whole[:4]
    assert warned > 100  # a few bytes of a zip file mean nothing to a reader


def test_cache_without_a_key_is_made_again(tmp_path):
    path = tmp_path / "cache.npz"
    np.savez(path, data=np.zeros(2))
    with pytest.warns(UserWarning, match="is corrupt .*making it again"):
        found = cached_arrays(path, lambda: {"data": np.ones(2), "targets": np.ones(2)}, ["data", "targets"])
    assert found["data"].sum() == 2


def test_full_disk_costs_the_cache_only(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match=r"cannot write the cache .*No space left.*SSTUTILS_DATA"):
        found = cached_arrays(tmp_path / "cache.npz", lambda: {"data": np.ones(2)}, ["data"])
    assert found["data"].sum() == 2
    assert os.listdir(tmp_path) == []


def test_cache_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="cannot write the cache"):
        cached_arrays(tmp_path / "file" / "cache.npz", lambda: {"data": np.ones(2)}, ["data"])


def test_fetch(tmp_path, serve):
    content = b"images" * 1000
    source = tmp_path / "source.bin"
    source.write_bytes(content)
    md5 = hashlib.md5(content).hexdigest()
    gone = serve(tmp_path / "gone.bin")
    folder = tmp_path / "data" / "raw"
    file = Download("file.bin", len(content), md5, (gone, serve(source)))
    assert fetch(file, folder).read_bytes() == content
    source.unlink()
    assert fetch(file, folder).read_bytes() == content  # it is there: nothing is fetched
    (folder / "file.bin").write_bytes(b"half")
    with pytest.raises(OSError, match=r"cannot download file.bin .*gone.bin.*Place it by hand as .*raw.file.bin"):
        fetch(file, folder)
    source.write_bytes(b"something else")
    with pytest.raises(OSError, match="corrupted"):
        fetch(file, folder)
    assert os.listdir(folder) == ["file.bin"]  # no parts left behind


# ---------------------------------------------------------------------------------------------------------------------
# Images
# ---------------------------------------------------------------------------------------------------------------------
def test_to_rgb_of_every_mode():
    grey = Image.fromarray(RNG.integers(0, 256, (5, 7), dtype=np.uint8))
    np.testing.assert_array_equal(np.asarray(to_rgb(grey)), np.repeat(np.asarray(grey)[..., None], 3, -1))
    colour = Image.fromarray(RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    np.testing.assert_array_equal(np.asarray(to_rgb(colour)), np.asarray(colour))
    for mode in ("1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F"):
        image = to_rgb(colour.convert("RGB").convert(mode) if mode != "LAB" else Image.new("LAB", (7, 5)))
        assert (image.mode, image.size) == ("RGB", (7, 5)), mode


def test_to_rgb_of_16_bit_grey(tmp_path):
    deep = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)  # 0, 257, ..., 65535
    Image.fromarray(deep).save(tmp_path / "deep.png")
    for image in (open_image(tmp_path / "deep.png"), to_rgb(Image.fromarray(deep.astype(np.int32)))):
        np.testing.assert_array_equal(np.asarray(image)[..., 0].ravel(), np.arange(256))


@pytest.mark.parametrize(
    ("levels", "dtype", "kind", "expected"),
    [
        ([0.0, 0.25, 0.5, 1.0], np.float32, "TIFF", [0, 64, 128, 255]),
        ([0.0, 1.5, 100.0, 255.0], np.float32, "TIFF", [0, 1, 100, 255]),
        ([0, 1, 100, 255], np.int32, "TIFF", [0, 1, 100, 255]),
        ([0, 1, 100, 255], np.uint16, "PNG", [0, 1, 100, 255]),
        ([0, 4, 600, 1023], np.uint16, "TIFF", [0, 1, 150, 255]),
        ([0, 16, 600, 4095], np.uint16, "PNG", [0, 1, 37, 255]),
        ([0, 16384, 32768, 65535], np.int32, "TIFF", [0, 64, 128, 255]),
        ([False, True, True, False], bool, "PNG", [0, 255, 255, 0]),
        ([0, 0, 0, 0], np.uint16, "PNG", [0, 0, 0, 0]),
    ],
)
def test_grey_levels_are_scaled_by_what_the_image_holds(tmp_path, levels, dtype, kind, expected):
    path = tmp_path / "deep.tif"
    Image.fromarray(np.array([levels], dtype)).save(path, kind)
    assert np.asarray(open_image(path))[0].tolist() == [[level] * 3 for level in expected]


@pytest.mark.parametrize("levels", [[-500, 1], [0, 10**6], [0.0, np.nan], [-0.5, 0.5], [0.0, np.inf]])
def test_grey_levels_in_no_known_range_are_refused(tmp_path, levels):
    path = tmp_path / "deep.tif"
    Image.fromarray(np.array([levels], np.float32 if isinstance(levels[0], float) else np.int32)).save(path)
    with pytest.raises(OSError, match=r"deep.tif cannot be read \(its pixels go from .* expected 0 to 1, 0 to 255 or"):
        open_image(path)


def test_transparency_is_laid_on_white(tmp_path):
    ink = np.zeros((4, 4, 4), np.uint8)  # black, and the left half transparent
    ink[:, 2:, 3] = 255
    expected = np.full((4, 4, 3), 255, np.uint8)
    expected[:, 2:] = 0
    np.testing.assert_array_equal(np.asarray(to_rgb(Image.fromarray(ink))), expected)
    palette = Image.fromarray(ink).quantize(4)
    palette.save(tmp_path / "palette.png")
    with Image.open(tmp_path / "palette.png") as saved:
        assert saved.mode == "P"
        assert "transparency" in saved.info
    with all_warnings() as caught:  # PIL warns when such a palette is converted the straight way
        np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "palette.png")), expected)
    assert not caught


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(tmp_path, orientation):
    upright = np.zeros((6, 4, 3), np.uint8)
    upright[:2, :2] = 255  # white in the top left corner
    turn = {
        2: 0,
        3: 3,
        4: 1,
        5: 5,
        6: 2,
        7: 6,
        8: 4,
    }  # PIL's Transpose from upright to what such a camera stores
    stored = Image.fromarray(upright)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(turn[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "photo.png")), upright)


def test_of_exif_only_the_orientation_is_read(tmp_path):
    """Every damage to the tags leaves a picture that PIL can decode."""
    path, exif = tmp_path / "photo.jpg", Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x829A] = 6, "a bird", 0.01
    Image.new("RGB", (8, 4), "red").save(path, exif=exif)
    content = path.read_bytes()
    start = content.index(b"Exif")
    sizes = set()
    for place in range(start + 6, start + len(exif.tobytes())):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with all_warnings():  # PIL names damaged tags
            sizes.add(open_image(path).size)
    assert sizes == {(8, 4), (4, 8)}


def forged(kind: str, width: int, height: int) -> bytes:
    """A picture of a few bytes whose header promises width x height pixels."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind)
    content = bytearray(file.getvalue())
    if kind == "PNG":
        content[16:24] = struct.pack(">II", width, height)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    elif kind == "JPEG":
        start = content.index(b"\xff\xc0")  # the start of the frame: marker, length, depth, height, width
        content[start + 5 : start + 9] = struct.pack(">HH", height, width)
    else:  # BMP
        content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
@pytest.mark.parametrize("size", [(10_001, 10_000), (12_000, 12_000), (30_000, 30_000), (65_000, 65_000)])
def test_images_that_promise_too_much_are_refused(tmp_path, kind, size, recwarn, monkeypatch):
    path = tmp_path / "picture.jpg"
    path.write_bytes(forged(kind, *size))
    unpacked = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", unpacked.append)
    with pytest.raises(
        OSError, match=r"^image .*picture.jpg cannot be read \(.* pixels.*\): repair it or move it away"
    ) as caught:
        open_image(path)
    assert not unpacked
    assert "\n" not in str(caught.value)
    assert not len(recwarn)  # PIL would warn, and go on, between its two limits


def test_large_images_are_read_without_a_warning(tmp_path, recwarn, monkeypatch):
    path = tmp_path / "large.png"
    Image.new("1", (9_600, 9_600)).save(path)  # PIL warns of this size; decoded it would take 276 MB
    assert Image.MAX_IMAGE_PIXELS < 9_600**2
    monkeypatch.setattr("sstutils.datasets.images.to_rgb", lambda image: image.size)
    assert open_image(path) == (9_600, 9_600)
    assert not len(recwarn)


def test_postscript_is_no_picture(tmp_path, monkeypatch):
    """PIL would run Ghostscript on it."""
    path = tmp_path / "picture.jpg"
    Image.new("RGB", (8, 8)).save(path, "EPS")
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", None)
    with pytest.raises(OSError, match="it is no image of a known format"):
        open_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM"])
def test_any_damage_to_a_picture_is_told_on_one_line(tmp_path, kind):
    file, path = io.BytesIO(), tmp_path / "picture.jpg"
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a bird"
    image = Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    image.save(file, kind, **({"exif": exif} if kind in ("PNG", "JPEG", "TIFF", "WEBP") else {}))
    random = np.random.default_rng(0)
    outcomes = set()
    for _ in range(150):
        content = bytearray(file.getvalue())
        for place in random.integers(0, min(len(content), 300), random.integers(1, 6)):
            content[place] = random.integers(256)
        path.write_bytes(content)
        try:
            outcomes.add(open_image(path).mode)
        except OSError as error:
            outcomes.add("refused")
            assert str(path) in str(error)
            assert "\n" not in str(error)
    assert "refused" in outcomes
    assert outcomes <= {"RGB", "refused"}


# ---------------------------------------------------------------------------------------------------------------------
# ArrayDataset and its parts
# ---------------------------------------------------------------------------------------------------------------------
def test_items_and_transforms():
    dataset = arrays()
    image, target = dataset[3]
    assert isinstance(image, Image.Image)
    np.testing.assert_array_equal(np.asarray(image), dataset.data[3])
    assert target == dataset.targets[3]
    assert type(target) is int
    np.testing.assert_array_equal(np.asarray(dataset[-1][0]), dataset.data[-1])
    with pytest.raises(IndexError):
        dataset[len(dataset)]
    seen = ArrayDataset(
        dataset.data,
        dataset.targets,
        dataset.classes,
        None,
        lambda image: image.size,
        lambda target: target + 100,
    )
    assert seen[3] == ((8, 8), target + 100)
    assert "Number of classes: 6" in repr(seen)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": np.zeros((4, 8, 8, 3))}, "uint8.*got float64"),
        ({"data": np.zeros((4, 8, 8), np.uint8)}, r"shape \(4, 8, 8\)"),
        ({"targets": [0, 1, 0]}, "4 integers, one for each item, got 3"),
        ({"targets": [0, 2, 0, 2]}, "from 0 to 1"),
        ({"targets": [0, 0, 0, 0]}, "from 0 to 1 at least once"),
        ({"targets": [1, 2, 1, 2]}, "from 0 to 1"),
    ],
)
def test_arrays_that_do_not_fit(change, message):
    good = {"data": np.zeros((4, 8, 8, 3), np.uint8), "targets": [0, 1, 0, 1], "classes": ["a", "b"]}
    assert len(ArrayDataset(**good)) == 4
    with pytest.raises(ValueError, match=message):
        ArrayDataset(**(good | change))


def test_fingerprint_follows_the_content():
    dataset = arrays()
    same = ArrayDataset(dataset.data.copy(), tuple(dataset.targets), dataset.classes, transform=len)
    assert same.fingerprint == dataset.fingerprint
    assert len(dataset.fingerprint) == 12
    assert int(dataset.fingerprint, 16) >= 0
    pixel = dataset.data.copy()
    pixel[5, 4, 3, 1] ^= 1
    swapped = dataset.targets[::-1]
    others = [
        ArrayDataset(pixel, dataset.targets, dataset.classes),
        ArrayDataset(dataset.data, swapped, dataset.classes),
        ArrayDataset(dataset.data.reshape(-1, 4, 16, 3), dataset.targets, dataset.classes),
        subsets.ClassSubset(dataset, range(5)),
        subsets.ClassSubset(dataset, range(1, 6)),
    ]
    prints = [dataset.fingerprint, *(other.fingerprint for other in others)]
    assert len(set(prints)) == len(prints)
    assert digest("ab", "c") != digest("a", "bc")


def test_tensors_are_a_view():
    dataset = arrays()
    images, labels = datasets.tensors(dataset)
    assert images.shape == (24, 3, 8, 8)
    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64
    assert labels.tolist() == dataset.targets
    assert images.data_ptr() == dataset.data.ctypes.data  # no copy
    torch.testing.assert_close(images[9], pil_to_tensor(dataset[9][0]))


def test_tensors_of_subsets():
    dataset = arrays()
    train, validation = datasets.split_classes(dataset, 0.4)
    nested = subsets.ClassSubset(subsets.ClassSubset(dataset, [1, 2, 4]), [0, 2])
    assert nested.classes == ["class 1", "class 4"]
    for part in (train, validation, nested, Subset(nested, [3, 0]), Subset(dataset, [5, 1, 1])):
        images, labels = datasets.tensors(part)
        assert len(images) == len(part)
        for i, (image, target) in enumerate(part):
            torch.testing.assert_close(images[i], pil_to_tensor(image))
            assert labels[i] == target


@pytest.mark.parametrize("classes", [4, 5, 10, 37])
def test_split_classes(classes):
    dataset = arrays(classes=classes, images=3)
    train, validation = datasets.split_classes(dataset, holdout=0.1, seed=3)
    assert len(validation.classes) == max(2, round(0.1 * classes))
    assert sorted(train.classes + validation.classes) == sorted(dataset.classes)
    assert sorted(train.indices + validation.indices) == list(range(len(dataset)))
    for part in (train, validation):
        assert sorted(set(part.targets)) == list(range(len(part.classes)))
        for i, target in enumerate(part.targets):
            assert part.classes[target] == dataset.classes[dataset.targets[part.indices[i]]]
            assert part[i][1] == target
    again = datasets.split_classes(dataset, holdout=0.1, seed=3)
    assert again[0].indices == train.indices
    assert again[1].fingerprint == validation.fingerprint


def test_split_classes_depends_on_the_seed():
    dataset = arrays(classes=20, images=2)
    held = {tuple(datasets.split_classes(dataset, 0.2, seed)[1].classes) for seed in range(10)}
    assert len(held) > 5


@pytest.mark.parametrize("holdout", [0, 1, -0.1, 1.5])
def test_split_classes_needs_a_fraction(holdout):
    with pytest.raises(ValueError, match="between 0 and 1"):
        datasets.split_classes(arrays(), holdout)


def test_split_classes_needs_two_on_either_side():
    with pytest.raises(ValueError, match="cannot hold out 2 of 3 classes"):
        datasets.split_classes(arrays(classes=3))
    with pytest.raises(ValueError, match="cannot hold out 5 of 6 classes"):
        datasets.split_classes(arrays(classes=6), 0.9)


@pytest.mark.parametrize("workers", [0, 2])
def test_data_loader(workers):
    """Also of a subset: DataLoader fetches batches by a method that torch's Subset answers with the old numbers."""
    dataset = arrays()
    part = subsets.ClassSubset(dataset, [2, 5])
    part = datasets.with_transform(part, functional.to_tensor)
    batches = list(DataLoader(part, batch_size=3, num_workers=workers))
    images, labels = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert labels.tolist() == part.targets
    assert set(labels.tolist()) == {0, 1}
    torch.testing.assert_close((images * 255).round().to(torch.uint8), datasets.tensors(part)[0].contiguous())


def test_with_transform_shares_the_images():
    dataset = arrays()
    train, _ = datasets.split_classes(dataset)
    seen = datasets.with_transform(train, lambda image: image.size)
    assert seen[0] == ((8, 8), train.targets[0])
    assert isinstance(train[0][0], Image.Image)  # the original is as it was
    assert seen.dataset.data is dataset.data
    assert seen.fingerprint == train.fingerprint
    assert "Transform" in repr(datasets.with_transform(dataset, functional.to_tensor))
    assert datasets.with_transform(dataset, None)[0][1] == dataset[0][1]


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), images=st.integers(1, 120), seed=st.integers(0, 9))
def test_part_of(sizes, images, seed):
    targets = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    names = [f"class {i}" for i in range(len(sizes))]
    dataset = ArrayDataset(np.zeros((len(targets), 1, 1, 3), np.uint8), targets, names)
    part = subsets.part_of(dataset, images, seed)
    if len(dataset) <= images:
        assert part is dataset
        return
    kept = [int(name.split()[1]) for name in part.classes]
    assert len(part) == sum(sizes[number] for number in kept) >= images  # whole classes
    assert sorted(part.indices) == [i for i, target in enumerate(targets) if target in kept]
    assert len(kept) >= min(4, len(sizes))
    if len(kept) > 4:  # not one more than needed
        assert min(len(part) - sizes[number] for number in kept) < images
    assert part.fingerprint == subsets.part_of(dataset, images, seed).fingerprint
    more = subsets.part_of(dataset, images + 1, seed)
    assert set(part.classes) <= set(more.classes)


def test_counts_shares_and_seeds_of_parts_are_checked():
    dataset = arrays()
    for call, says in (
        (lambda: subsets.part_of(dataset, 2.5), "part must be an integer, got 2.5"),
        (lambda: subsets.part_of(dataset, "20"), "part must be an integer, got '20'"),
        (lambda: subsets.part_of(dataset, 20, seed=-1), "seed must be between 0 and 18446744073709551615, got -1"),
        (lambda: datasets.split_classes(dataset, "0.1"), "holdout must be a finite number, got '0.1'"),
        (lambda: datasets.split_classes(dataset, 0.4, seed=1.5), "seed must be an integer, got 1.5"),
    ):
        with pytest.raises(ValueError, match=f"^{says}$"):
            call()
    datasets.split_classes(dataset, np.float32(0.4), seed=1_795_000_000_000_000_000)  # the nanoseconds of a clock


def test_part_of_depends_on_the_seed_and_needs_an_image():
    dataset = arrays(classes=20)
    assert len({tuple(subsets.part_of(dataset, 20, seed).classes) for seed in range(10)}) > 5
    for images in (0, -3):
        with pytest.raises(ValueError, match=f"at least 1, got {images}"):
            subsets.part_of(dataset, images)
    assert len(datasets.load("digits", part=100).classes) == 4
    assert len(datasets.load("digits")) == len(datasets.load("digits", part=10**6))


# ---------------------------------------------------------------------------------------------------------------------
# Labels, and data sets of one's own
# ---------------------------------------------------------------------------------------------------------------------
PLAIN = [3, 1, 1, 3, 0, 0, 2, 2]


class Column:
    """What a column of pandas is after filtering: its items go by labels, and 0 is none of them."""

    def __len__(self):
        return len(PLAIN)

    def __getitem__(self, label):
        return {5 + 2 * i: value for i, value in enumerate(PLAIN)}[label]

    def __iter__(self):
        return iter(PLAIN)

    def __array__(self, dtype=None, copy=None):
        return np.array(PLAIN, dtype)


@pytest.mark.parametrize(
    "targets",
    [torch.tensor(PLAIN), np.array(PLAIN, np.uint8), Column(), [np.int64(n) for n in PLAIN], tuple(PLAIN)],
)
def test_labels_of_any_kind_are_the_same(targets):
    data = RNG.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8)
    names = list("abcd")
    plain, dataset = ArrayDataset(data, PLAIN, names), ArrayDataset(data, targets, names)
    assert (dataset.targets, dataset.fingerprint) == (PLAIN, plain.fingerprint)
    own = Own(data, targets, classes=names)
    for ours in (dataset, own):
        part = datasets.ClassSubset(ours, torch.tensor([3, 1]))
        assert (part.targets, part.classes, list(part.indices)) == ([1, 0, 0, 1], ["b", "d"], [0, 1, 2, 3])
        assert subsets.Readable(ours).targets == PLAIN
        assert [list(half.indices) for half in datasets.split_classes(ours, 0.5)] == [
            list(half.indices) for half in datasets.split_classes(plain, 0.5)
        ]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["cat", "dog"] * 4, "got str 'cat'"),
        ([0, None] * 4, "got NoneType 'None'"),
        ([0.0, 1.0] * 4, "got float64 '0.0'"),
        (torch.tensor([0.0, 1.0] * 4), "got torch.float32"),
        (np.zeros((8, 2), int), r"got shape \(8, 2\)"),
        ([0, 1], "got 2"),
        ([[0], [1, 2]] * 4, "got sequences of unequal lengths"),
    ],
)
def test_labels_that_are_none_are_refused_wherever_they_enter(targets, message):
    data = np.zeros((8, 4, 4, 3), np.uint8)
    doors = [
        lambda: ArrayDataset(data, targets, ["a", "b"]),
        lambda: datasets.ClassSubset(Own(data, targets), [0]),
        lambda: datasets.split_classes(Own(data, targets)),
        lambda: subsets.Readable(Own(data, targets)),
        lambda: subsets.part_of(Own(data, targets), 2),
        lambda: fit(Own(data, targets)),
    ]
    for door in doors:
        with pytest.raises(ValueError, match=rf"^targets.* must be 8 integers, one for each item, {message}$"):
            door()


@pytest.mark.parametrize("keep", [[4], [-1], [True, False, True, False], [0.5], ["a"]])
def test_classes_that_are_not_there_are_refused(keep):
    with pytest.raises(ValueError, match=r"^keep must be"):
        datasets.ClassSubset(arrays(classes=4), keep)


class Own(torch.utils.data.Dataset):
    """What a user writes: no transform, no classes, images as `make` makes them."""

    def __init__(self, data, targets, make=Image.fromarray, **more):
        self.data, self.targets, self.make = data, targets, make
        self.__dict__.update(more)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.make(self.data[index]), self.targets[index]


MAKE = {
    "PIL": Image.fromarray,
    "RGBA": lambda image: Image.fromarray(image).convert("RGBA"),
    "array": lambda image: image,
    "fractions": lambda image: image.astype(np.float64) / 255,
    "tensor": lambda image: torch.from_numpy(image).permute(2, 0, 1),
    "float tensor": lambda image: torch.from_numpy(image).permute(2, 0, 1) / 255,
}
GREY = {
    "PIL": Image.fromarray,
    "array": lambda image: image,
    "array with a channel": lambda image: image[..., None],
    "tensor": lambda image: torch.from_numpy(image)[None],
    "bool": lambda image: image > 127,
}


@pytest.mark.parametrize(("make", "grey"), [*((name, False) for name in MAKE), *((name, True) for name in GREY)])
def test_images_of_ones_own_become_rgb(make, grey):
    data = RNG.integers(0, 256, (8, 6, 6) if grey else (8, 6, 6, 3), dtype=np.uint8)
    if make == "bool":
        data = data // 128 * np.uint8(255)
    dataset = Own(data, PLAIN, (GREY if grey else MAKE)[make])
    ((images, labels),) = datasets.batches(dataset, [range(8)], 6)
    expected = np.repeat(data[..., None], 3, -1) if grey else data
    np.testing.assert_array_equal(images.permute(0, 2, 3, 1), expected)
    assert labels.tolist() == PLAIN


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda image: torch.from_numpy(image).permute(2, 0, 1) / 64 - 2, r"got torch.float32 of shape \(3, 6, 6\)"),
        (lambda image: "a", "got str"),
        (lambda image: image[0, 0], r"got uint8 of shape \(3,\)"),
        (lambda image: torch.from_numpy(image), r"got torch.uint8 of shape \(6, 6, 3\)"),
    ],
)
def test_what_is_no_image_is_told(make, message):
    data = np.zeros((8, 6, 6, 3), np.uint8)
    with pytest.raises(ValueError, match=rf"^an image must be PIL's, .* \(not normalized\), {message}$"):
        list(datasets.batches(Own(data, PLAIN, make), [range(8)], 6))


def _concatenated():
    train, test = datasets.load("digits", "train"), datasets.load("digits")
    return ConcatDataset([train, test]), [*train.targets, *(t + 5 for t in test.targets)], list("0123456789")


def _split():
    whole = datasets.load("digits")
    part, _ = torch.utils.data.random_split(whole, [300, len(whole) - 300], torch.Generator().manual_seed(0))
    return part, [whole.targets[i] for i in part.indices], whole.classes


def _parts_again():
    parts = torch.utils.data.random_split(datasets.load("digits"), [448, 448], torch.Generator().manual_seed(0))
    return ConcatDataset(parts), [parts[0].dataset.targets[i] for part in parts for i in part.indices], list("56789")


def _some_classes():
    data = RNG.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8)
    return Subset(Own(data, torch.tensor(PLAIN), classes=list("abcd")), [0, 1, 3]), [1, 0, 1], ["b", "d"]


def _without_names():
    return torch.utils.data.TensorDataset(torch.rand(8, 3, 4, 4), torch.tensor(PLAIN)), PLAIN, list("0123")


def _torchvision():
    dataset = torchvision.datasets.FakeData(8, (3, 4, 4), transform=v2.PILToTensor())
    dataset.targets, dataset.classes = torch.tensor(PLAIN), list("abcd")
    return dataset, PLAIN, list("abcd")


@pytest.mark.parametrize("make", [_concatenated, _split, _parts_again, _some_classes, _without_names, _torchvision])
def test_labels_are_taken_from_within(make):
    dataset, targets, classes = make()
    seen = subsets.labelled(dataset)
    assert (seen.targets, seen.classes) == (targets, classes)
    assert bool(seen.fingerprint) == (make in (_concatenated, _split, _parts_again))
    (images, labels), *_ = datasets.batches(seen, [[0, len(seen) - 1]], 4)
    assert (images.shape, labels.tolist()) == ((2, 3, 4, 4), [targets[0], targets[-1]])
    assert subsets.labelled(seen) is seen


def test_fingerprints_tell_splits_apart():
    whole = datasets.load("digits")
    parts = [Subset(whole, range(9)), Subset(whole, range(1, 10)), ConcatDataset([whole, whole])]
    assert len({subsets.labelled(part).fingerprint for part in [whole, *parts]}) == 4


@pytest.mark.parametrize("make", [_split, _some_classes, pytest.param(_concatenated, marks=pytest.mark.slow)])
def test_data_sets_of_ones_own_are_trained_and_embedded(make):
    dataset, _, _ = make()
    recipe = Recipe(epochs=1, dim=4, batch_size=3 if make is _some_classes else 60, size=16, warmup=0)
    model = fit(dataset, recipe, progress=False).model
    found = embed(model, dataset, size=16)
    assert found.shape == (len(dataset), 4)
    assert torch.equal(found, embed(model, subsets.labelled(dataset), size=16))
    assert embed(model, dataset).shape == found.shape  # PIL images, where nothing is to be scaled


def test_what_has_no_labels_is_told():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([])

    with pytest.raises(ValueError, match=r"^Stream has no length"):
        fit(Stream())
    nothing = Own(np.zeros((4, 4, 4, 3), np.uint8), [0] * 4)
    del nothing.targets
    for door in (fit, subsets.Readable, datasets.split_classes):
        with pytest.raises(ValueError, match=r"^Own has no targets: give it an attribute `targets`"):
            door(nothing)


def test_transforms_of_what_has_none():
    data = RNG.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8)
    sizes = datasets.with_transform(ConcatDataset([Own(data, PLAIN), arrays()]), lambda image: image.size)
    assert [sizes[0], sizes[8][0]] == [((4, 4), PLAIN[0]), (8, 8)]
    again = datasets.with_transform(datasets.with_transform(Own(data, PLAIN), len), np.asarray)
    np.testing.assert_array_equal(again[3][0], data[3])
    assert datasets.with_transform(again, None)[3][0].size == (4, 4)


# ---------------------------------------------------------------------------------------------------------------------
# Batches
# ---------------------------------------------------------------------------------------------------------------------
@pytest.fixture(params=["plain", "pinned"])
def how(request, monkeypatch):
    """A thread makes batches one ahead; for a GPU they are pinned: as far as this goes without a GPU."""
    if request.param == "pinned":
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)


def test_batches_are_the_items(how):
    dataset = arrays(classes=8, images=6)
    train, _ = datasets.split_classes(dataset, 0.4)
    for part in (dataset, train, subsets.Readable(train), Subset(train, [3, 0, 5, 5] * 3)):
        images, labels = datasets.tensors(part)
        last = len(part) - 1
        order = [[0, last, 2], np.array([last]), torch.tensor([1, 1, last]), range(2, 9)]
        found = list(datasets.batches(part, iter(order), 8))
        assert len(found) == len(order)
        for batch, (x, y) in zip(order, found, strict=True):
            chosen = torch.as_tensor(list(batch), dtype=torch.int64)
            assert torch.equal(x, images[chosen])
            assert torch.equal(y, labels[chosen])
            assert (x.dtype, y.dtype) == (torch.uint8, torch.int64)
            assert x.is_contiguous(memory_format=torch.channels_last)
    assert list(datasets.batches(dataset, [])) == []


@pytest.mark.parametrize("wrong", [[48], [0, -1], [0.5], [True, False], np.ones(48, bool), [True, 2]], ids=str)
def test_numbers_of_items_are_not_guessed(how, wrong):
    dataset = arrays(classes=8, images=6)
    with pytest.raises(ValueError, match=r"^batch_sampler must be (between 0 and 47|a one-dimensional)"):
        next(datasets.batches(dataset, [[0], wrong]))
    for taken in (datasets.tensors, lambda part: datasets.split_classes(part, 0.4)):
        with pytest.raises(ValueError, match=r"^indices of the subset must be (between 0 and 47|a one-dimensional)"):
            taken(Subset(dataset, wrong))
    with pytest.raises(ValueError, match=r"^keep must be (between 0 and 7|a one-dimensional)"):
        subsets.ClassSubset(dataset, wrong)


def test_other_sizes_are_scaled():
    dataset = arrays()
    wide = ArrayDataset(dataset.data.reshape(-1, 4, 16, 3), dataset.targets, dataset.classes)
    for data, side in ((dataset, 6), (wide, 4), (wide, 16)):
        (images, labels), *_ = datasets.batches(data, [[3, 1]], side)
        for image, item in zip(images, (3, 1), strict=True):
            expected = v2.functional.resize(data[item][0], [side, side], antialias=True)
            assert torch.equal(image, pil_to_tensor(expected))
        assert labels.tolist() == [data.targets[3], data.targets[1]]
        assert images.is_contiguous(memory_format=torch.channels_last)


def test_batches_are_made_ahead_and_the_thread_ends():
    dataset, before = arrays(side=128, images=16, classes=6), set(threading.enumerate())
    order = [range(96), range(95, -1, -1), range(96)]
    steps = datasets.batches(dataset, order)
    images, _ = next(steps)
    (thread,) = set(threading.enumerate()) - before
    assert torch.equal(images, datasets.tensors(dataset)[0])
    steps.close()  # as an error in the middle of an epoch does
    thread.join(10)
    assert not thread.is_alive()
    assert len(list(datasets.batches(dataset, order))) == 3
    assert set(threading.enumerate()) == before
    next(datasets.batches(dataset, order))  # dropped without a word
    gc.collect()
    assert set(threading.enumerate()) == before


# ---------------------------------------------------------------------------------------------------------------------
# By name
# ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "did you mean 'digits'"),
        ("glpyhs", "did you mean 'glyphs'"),
        ("Fashion-MNIST", "did you mean 'fashion'"),
        ("omniglott", "did you mean 'omniglot'"),
        ("xyzzy", "there are glyphs, digits, fashion, omniglot, cub200, cars196, sop, folder:PATH"),
        ("", "there are glyphs"),
        ("digits:path", "no data set is called 'digits:path'"),
        ("folder", "needs a path"),
        ("folder:", "needs a path"),
    ],
)
def test_wrong_names(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load(name)
    assert "\n" not in str(caught.value)


def test_a_path_alone_suggests_folder(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'folder:"):
        datasets.load(str(tmp_path))


@pytest.mark.parametrize("name", ["glyphs", "digits", "fashion", "omniglot", "cub200", "cars196", "sop", "folder"])
def test_signatures_follow_torchvision(name, tmp_path):
    cls = getattr(datasets, datasets.NAMES[name][0])
    assert issubclass(cls, torchvision.datasets.VisionDataset)
    parameters = list(inspect.signature(cls).parameters)
    assert parameters[:5] == ["root", "split", "transform", "target_transform", "download"]
    with pytest.raises(ValueError, match="split"):
        cls(tmp_path, "trian")


def test_names_are_case_insensitive():
    assert isinstance(datasets.load("Digits"), datasets.Digits)


# ---------------------------------------------------------------------------------------------------------------------
# Digits
# ---------------------------------------------------------------------------------------------------------------------
def test_digits():
    original = load_digits()
    train, test = datasets.load("digits", "train"), datasets.load("digits")
    assert train.classes == ["0", "1", "2", "3", "4"]
    assert test.classes == ["5", "6", "7", "8", "9"]
    assert len(train) + len(test) == 1797
    for dataset, first in ((train, 0), (test, 5)):
        assert dataset.data.shape[1:] == (32, 32, 3)
        chosen = (original.target >= first) & (original.target < first + 5)
        assert dataset.targets == (original.target[chosen] - first).tolist()
        # Reduced again, the images are the originals (up to what bicubic enlargement overshoots).
        back = np.stack([np.asarray(image.convert("L").resize((8, 8), Image.Resampling.BOX)) for image, _ in dataset])
        assert np.corrcoef(back.ravel(), original.images[chosen].ravel())[0, 1] > 0.99
        assert dataset.data.max() == 255
    assert datasets.load("digits").fingerprint == test.fingerprint != train.fingerprint


def test_info_of_digits():
    told = datasets.info("digits")
    assert told["present"]
    assert told["splits"] == {"train": {"classes": 5, "images": 901}, "test": {"classes": 5, "images": 896}}
    assert told["download"] == []
    assert told["problem"] == ""


# ---------------------------------------------------------------------------------------------------------------------
# Fashion-MNIST
# ---------------------------------------------------------------------------------------------------------------------
def idx(array: np.ndarray) -> bytes:
    """Write a uint8 array in the IDX format."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def fashion_tree(folder: Path, packed=True, train=60, test=40) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = folder / f"{part}-{name}-ubyte"
            if packed:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                path.write_bytes(idx(array))


def compare_with_torchvision(root: Path) -> None:
    """Compare with torchvision's own reading of root/FashionMNIST/raw (unpacked)."""
    parts = [torchvision.datasets.FashionMNIST(str(root), train=train) for train in (True, False)]
    grey = torch.cat([part.data for part in parts]).numpy()
    labels = torch.cat([part.targets for part in parts]).numpy()
    for split, first in (("train", 0), ("test", 5)):
        dataset = datasets.FashionMNIST(root, split)
        chosen = (labels >= first) & (labels < first + 5)
        assert dataset.targets == (labels[chosen] - first).tolist()
        assert dataset.classes == parts[0].classes[first : first + 5]
        for channel in range(3):
            np.testing.assert_array_equal(dataset.data[:, 2:-2, 2:-2, channel], grey[chosen])
        assert dataset.data.sum(dtype=np.int64) == 3 * grey[chosen].sum(dtype=np.int64)  # padding is black


def test_fashion_equals_torchvision(tmp_path):
    fashion_tree(tmp_path / "FashionMNIST" / "raw", packed=False)
    compare_with_torchvision(tmp_path)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("place", ["own", "own/FashionMNIST/raw", "data", "data/FashionMNIST/raw", "debian"])
def test_fashion_is_found(tmp_path, place, packed):
    fashion_tree(tmp_path / place, packed)
    dataset = datasets.FashionMNIST(tmp_path / "own")
    assert Path(dataset.root) == tmp_path / place
    assert len(dataset) == 50


def test_fashion_with_fewer_images(tmp_path):
    fashion_tree(tmp_path / "data")
    full = datasets.load("fashion")
    few = datasets.load("fashion", images=3)
    assert np.bincount(few.targets).tolist() == [3] * 5
    first = sorted(i for c in range(5) for i in np.flatnonzero(np.array(full.targets) == c)[:3])
    np.testing.assert_array_equal(few.data, full.data[first])
    assert len(datasets.load("fashion", images=1000)) == len(full)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        datasets.load("fashion", images=0)


def test_fashion_missing(tmp_path):
    incomplete = tmp_path / "data"
    fashion_tree(incomplete)
    next(incomplete.glob("t10k-labels*")).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("fashion", root=tmp_path / "own")
    message = str(caught.value)
    assert "\n" not in message
    for part in ("own", "data", "debian", "download=True", "dataset-fashion-mnist"):
        assert part in message
    told = datasets.info("fashion")
    assert not told["present"]
    assert told["splits"] == {}
    assert sum(file["bytes"] for file in told["download"]) == 30_878_645
    assert str(tmp_path / "data") in told["by_hand"]


@pytest.mark.parametrize("kind", ["cut packed", "cut", "long", "other", "empty", "labels", "counts", "side"])
def test_fashion_damaged(tmp_path, kind):
    folder = tmp_path / "data"
    fashion_tree(folder, packed=kind == "cut packed")
    path = next(folder.glob("t10k-images*"))
    content = path.read_bytes()
    new, message = {
        "cut packed": (content[:-100], "cannot be read"),
        "cut": (content[:-100], "truncated: 31,260 bytes of data, its header promises 31,360"),
        "long": (content + b"0", "truncated"),
        "other": (b"<html>", "not an IDX file of images"),
        "empty": (b"", "not an IDX file of images"),
        "labels": (next(folder.glob("t10k-labels*")).read_bytes(), "not an IDX file of images"),
        "counts": (idx(np.zeros((39, 28, 28), np.uint8)), r"100 labels but images of shape \(99, 28, 28\)"),
        "side": (idx(np.zeros((40, 28, 28), np.uint8)), None),
    }[kind]
    if kind == "side":
        for old in folder.glob("*images*"):
            old.write_bytes(idx(np.zeros((60 if "train" in old.name else 40, 27, 27), np.uint8)))
        message = r"100 labels but images of shape \(100, 27, 27\)"
    else:
        path.write_bytes(new)
    with pytest.raises(OSError, match=message) as caught:
        datasets.load("fashion")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    if kind not in ("counts", "side"):
        assert path.name in str(caught.value)


def test_info_names_a_damaged_file(tmp_path):
    fashion_tree(tmp_path / "data")
    path = next((tmp_path / "data").glob("train-labels*"))
    path.write_bytes(path.read_bytes()[:-20])
    told = datasets.info("fashion")
    assert not told["present"]
    assert path.name in told["problem"]


def test_fashion_that_unpacks_without_end(tmp_path):
    fashion_tree(tmp_path / "files")
    path = tmp_path / "files" / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(bytes(fashion.MOST + 1), 1))
    with pytest.raises(OSError, match=r"train-images.* holds more than 50,000,000 bytes: replace it"):
        datasets.load("fashion", root=tmp_path / "files")


def test_fashion_download(tmp_path, monkeypatch, serve):
    fashion_tree(tmp_path / "server")
    served = []
    for file in fashion.FashionMNIST.downloads:
        path = tmp_path / "server" / file.name
        served.append(Download(file.name, None, hashlib.md5(path.read_bytes()).hexdigest(), (serve(path),)))
    monkeypatch.setattr(fashion.FashionMNIST, "downloads", tuple(served))
    dataset = datasets.load("fashion", root=tmp_path / "own", download=True)
    assert len(dataset) == 50
    assert len(os.listdir(tmp_path / "own" / "FashionMNIST" / "raw")) == 4
    shutil.rmtree(tmp_path / "server")
    assert datasets.load("fashion", root=tmp_path / "own", download=True).fingerprint == dataset.fingerprint
    with pytest.raises(OSError, match=r"cannot download train-images-idx3-ubyte\.gz"):
        datasets.load("fashion", download=True)


def test_addresses_are_torchvisions():
    theirs = torchvision.datasets.FashionMNIST
    expected = [(name, md5, theirs.mirrors[0] + name) for name, md5 in theirs.resources]
    assert [(file.name, file.checksum, file.urls[-1]) for file in fashion.FashionMNIST.downloads] == expected
    assert list(fashion.CLASSES) == theirs.classes
    theirs = torchvision.datasets.Omniglot
    expected = [(f"{n}.zip", md5, (f"{theirs.download_url_prefix}/{n}.zip",)) for n, md5 in theirs.zips_md5.items()]
    assert [(file.name, file.checksum, file.urls) for file in omniglot.Omniglot.downloads] == expected


def test_real_fashion_mnist(tmp_path, monkeypatch):
    """On the real files: what torchvision reads, 35,000 images a split, a known fingerprint whatever the packing."""
    debian = Path("/usr/share/datasets/fashion-mnist")
    if not debian.is_dir():
        pytest.skip(f"the Debian package dataset-fashion-mnist is not installed ({debian})")
    monkeypatch.setattr(fashion, "DEBIAN", debian)
    told = datasets.info("fashion")
    assert told["splits"] == {s: {"classes": 5, "images": 35_000} for s in ("train", "test")}
    assert [Path(file).parent for file in told["where"]] == [debian] * 4
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in debian.glob("*.gz"):
        with gzip.open(path) as packed, open(raw / path.stem, "wb") as file:
            shutil.copyfileobj(packed, file)
    compare_with_torchvision(tmp_path)
    assert datasets.load("fashion").fingerprint == "0398e1202498"
    few = datasets.load("fashion", "train", images=100)
    assert (len(few), np.bincount(few.targets).tolist()) == (500, [100] * 5)


# ---------------------------------------------------------------------------------------------------------------------
# Omniglot
# ---------------------------------------------------------------------------------------------------------------------
ALPHABETS = {
    "images_background": {"Greek": 3, "Latin": 2},
    "images_evaluation": {"Tibetan": 2, "Ge_ez": 1, "Manipuri": 1},
}


def omniglot_tree(root: Path, packed: bool) -> None:
    """Write 105x105 one-bit drawings of 20 people, black on white, in the layout of the original."""
    rng = np.random.default_rng(1)
    folder = root / "omniglot-py"
    for part, alphabets in ALPHABETS.items():
        for alphabet, characters in alphabets.items():
            for character in range(1, characters + 1):
                place = folder / part / alphabet / f"character{character:02}"
                place.mkdir(parents=True)
                for person in range(1, 21):
                    drawing = np.ones((105, 105), bool)
                    drawing[rng.integers(0, 105, 40), :] = False
                    Image.fromarray(drawing).save(place / f"{character:04}_{person:02}.png")
        if packed:
            shutil.make_archive(str(folder / part), "zip", folder, part)
            shutil.rmtree(folder / part)


@pytest.fixture
def md5_of_any_archive(tmp_path, monkeypatch):
    """Let torchvision's Omniglot, the oracle, accept our miniature archives."""

    def accept(root):
        for part in ALPHABETS:
            md5 = hashlib.md5((root / "omniglot-py" / f"{part}.zip").read_bytes()).hexdigest()
            monkeypatch.setitem(torchvision.datasets.Omniglot.zips_md5, part, md5)

    return accept


def test_omniglot_equals_torchvision(tmp_path, md5_of_any_archive):
    omniglot_tree(tmp_path, packed=True)
    md5_of_any_archive(tmp_path)
    for split, part in omniglot.PARTS.items():
        dataset = datasets.load("omniglot", split, root=tmp_path)
        with zipfile.ZipFile(tmp_path / "omniglot-py" / f"{part}.zip") as archive:
            archive.extractall(tmp_path / "omniglot-py")
        oracle = torchvision.datasets.Omniglot(tmp_path, background=split == "train")
        # torchvision lists folders in the disk's order; compare by character and file.
        expected = {
            (oracle._characters[number], name): np.asarray(oracle[i][0].resize((32, 32), Image.Resampling.BILINEAR))
            for i, (name, number) in enumerate(oracle._flat_character_images)
        }
        names = sorted((character.replace(os.sep, "/"), name) for character, name in expected)
        assert dataset.classes == sorted({character for character, _ in names})
        assert len(dataset) == len(names)
        for i, (character, name) in enumerate(names):
            assert dataset.classes[dataset.targets[i]] == character
            drawing = expected[character.replace("/", os.sep), name]
            np.testing.assert_array_equal(dataset.data[i], np.repeat(drawing[..., None], 3, -1))


def test_omniglot_archive_and_folder_agree(tmp_path):
    omniglot_tree(tmp_path / "a", packed=True)
    omniglot_tree(tmp_path / "b", packed=False)
    for split, images in (("train", 100), ("test", 80)):
        a = datasets.load("omniglot", split, root=tmp_path / "a")
        b = datasets.load("omniglot", split, root=tmp_path / "b")
        assert a.fingerprint == b.fingerprint
        assert len(a) == images
    told = datasets.info("omniglot", tmp_path / "a")
    assert told["splits"] == {"train": {"classes": 5, "images": 100}, "test": {"classes": 4, "images": 80}}
    assert told == datasets.info("omniglot", tmp_path / "a")
    assert {Path(path).suffix for path in told["where"]} == {".zip", ".npz"}
    assert told["bytes"] == sum(os.path.getsize(path) for path in told["where"])
    assert datasets.info("omniglot", tmp_path / "b")["splits"] == told["splits"]


def test_omniglot_packed_again_on_a_mac(tmp_path):
    omniglot_tree(tmp_path, packed=True)
    before = datasets.load("omniglot", root=tmp_path)
    with zipfile.ZipFile(tmp_path / "omniglot-py" / "images_evaluation.zip", "a") as archive:
        for name in ("__MACOSX/images_evaluation/Ge_ez/character01/._a.png", "images_evaluation/Ge_ez/__MACOSX/a.png"):
            archive.writestr(name, b"no drawing")
        archive.writestr("images_evaluation/Ge_ez/character01/._0001_01.png", b"no drawing")
    again = datasets.load("omniglot", root=tmp_path)
    assert (again.fingerprint, again.classes) == (before.fingerprint, before.classes)


@pytest.mark.parametrize("packed", [True, False])
def test_omniglot_in_a_folder_of_the_same_name(tmp_path, packed):
    omniglot_tree(tmp_path, packed=True)
    before = datasets.load("omniglot", root=tmp_path)
    path = tmp_path / "again" / "omniglot-py" / "images_evaluation.zip"
    with zipfile.ZipFile(tmp_path / "omniglot-py" / path.name) as archive:
        archive.extractall(path.with_suffix(""))
    if packed:
        shutil.make_archive(str(path.with_suffix("")), "zip", path.parent, path.stem)
        shutil.rmtree(path.with_suffix(""))
    again = datasets.load("omniglot", root=tmp_path / "again")
    assert (again.fingerprint, again.classes) == (before.fingerprint, before.classes)


def test_omniglot_is_cached(tmp_path, monkeypatch):
    omniglot_tree(tmp_path, packed=True)
    first = datasets.load("omniglot", root=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(omniglot, "_read", lambda *_: pytest.fail("the drawings were read again"))
        again = datasets.load("omniglot", root=tmp_path)
    assert (again.fingerprint, again.targets, again.classes) == (
        first.fingerprint,
        first.targets,
        first.classes,
    )
    cache = next(tmp_path.glob("*.npz"))
    cache.write_bytes(cache.read_bytes()[:-50])
    with pytest.warns(UserWarning, match="corrupt"):
        assert datasets.load("omniglot", root=tmp_path).fingerprint == first.fingerprint
    # Other drawings in the same place: not what was cached.
    shutil.move(tmp_path / "omniglot-py" / "images_background.zip", tmp_path / "images_evaluation.zip")
    unpacked = tmp_path / "omniglot-py" / "images_evaluation"
    (tmp_path / "omniglot-py" / "images_evaluation.zip").unlink()
    with zipfile.ZipFile(tmp_path / "images_evaluation.zip") as archive:
        archive.extractall(tmp_path)
    shutil.move(tmp_path / "images_background", unpacked)
    assert datasets.load("omniglot", root=tmp_path).classes[0] == "Greek/character01"


def test_omniglot_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"images_evaluation.zip.*omniglot-py.*download=True .*6 MB"):
        datasets.load("omniglot", root=tmp_path)
    told = datasets.info("omniglot", tmp_path)
    assert not told["present"]
    assert [file["bytes"] for file in told["download"]] == [9_464_212, 6_462_886]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["cut", "flipped", "other", "no drawings"])
def test_omniglot_damaged(tmp_path, kind):
    omniglot_tree(tmp_path, packed=True)
    path = tmp_path / "omniglot-py" / "images_evaluation.zip"
    content = bytearray(path.read_bytes())
    if kind == "cut":
        content = content[:1000]
    elif kind == "flipped":
        content[len(content) // 3] ^= 0xFF
    elif kind == "other":
        content = b"<html>404</html>"
    path.write_bytes(content)
    if kind == "no drawings":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "")
    with pytest.raises(OSError, match=r"replace .*with an intact copy") as caught:
        datasets.load("omniglot", root=tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.npz"))


def test_omniglot_with_a_drawing_that_promises_too_much(tmp_path):
    omniglot_tree(tmp_path, packed=False)
    path = next((tmp_path / "omniglot-py" / "images_evaluation").rglob("*.png"))
    path.write_bytes(forged("PNG", 12_000, 12_000))
    with pytest.raises(OSError, match=rf"{path.name} cannot be read \(its header promises 12,000 x 12,000 pixels"):
        datasets.load("omniglot", root=tmp_path)


def test_omniglot_download(tmp_path, monkeypatch, serve):
    omniglot_tree(tmp_path / "server", packed=True)
    served = []
    for file in omniglot.Omniglot.downloads:
        path = tmp_path / "server" / "omniglot-py" / file.name
        served.append(Download(file.name, None, hashlib.md5(path.read_bytes()).hexdigest(), (serve(path),)))
    monkeypatch.setattr(omniglot.Omniglot, "downloads", tuple(served))
    assert len(datasets.load("omniglot", root=tmp_path / "own", download=True)) == 80
    assert os.listdir(tmp_path / "own" / "omniglot-py") == ["images_evaluation.zip"]
    assert list(datasets.info("omniglot", tmp_path / "own")["splits"]) == ["test"]


# ---------------------------------------------------------------------------------------------------------------------
# A folder of pictures
# ---------------------------------------------------------------------------------------------------------------------
def picture_tree(root: Path, classes=("ant", "bee", "cow", "dog", "emu"), images=3) -> Path:
    endings = [".jpg", ".JPEG", ".Png", ".webp"]
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(images):
            size = (10 + i, 20 + number, 3)
            image = Image.fromarray(RNG.integers(0, 256, size, dtype=np.uint8))
            image.save(root / name / f"{i}{endings[i % 4]}")
    return root


def test_folder(tmp_path):
    root = picture_tree(tmp_path / ("my pictures" if os.name == "nt" else "my pictures: 1"))
    train, test, everything = (datasets.load(f"folder:{root}", split) for split in ("train", "test", "all"))
    assert train.classes == ["ant", "bee", "cow"]
    assert test.classes == ["dog", "emu"]
    assert everything.classes == ["ant", "bee", "cow", "dog", "emu"]
    assert test.targets == [0, 0, 0, 1, 1, 1]
    assert len({train.fingerprint, test.fingerprint, everything.fingerprint}) == 3
    oracle = torchvision.datasets.ImageFolder(root)
    assert everything.samples == oracle.samples
    for i in range(len(oracle)):
        np.testing.assert_array_equal(np.asarray(everything[i][0]), np.asarray(oracle[i][0]))
        assert everything[i][1] == oracle[i][1]
    told = datasets.info(f"folder:{root}")
    assert told["splits"]["train"] == {"classes": 3, "images": 9}
    assert told["splits"]["all"] == {"classes": 5, "images": 15}
    assert told["present"]
    assert told["bytes"] == sum(path.stat().st_size for path in root.rglob("*.*"))


def test_folder_in_a_data_loader(tmp_path):
    root = picture_tree(tmp_path / "pictures")
    dataset = datasets.load(
        f"folder:{root}",
        transform=lambda image: pil_to_tensor(image.resize((8, 8))),
        target_transform=lambda t: -t,
    )
    images, labels = next(iter(DataLoader(dataset, batch_size=6)))
    assert images.shape == (6, 3, 8, 8)
    assert labels.tolist() == [0, 0, 0, -1, -1, -1]
    train, validation = datasets.split_classes(datasets.load(f"folder:{root}", "all"))
    assert len(set(train.classes) | set(validation.classes)) == 5
    with pytest.raises(TypeError, match="DataLoader"):
        datasets.tensors(train)


def test_folder_fingerprint(tmp_path):
    root = picture_tree(tmp_path / "pictures")
    before = datasets.load(f"folder:{root}").fingerprint
    moved = Path(shutil.copytree(root, tmp_path / "elsewhere"))
    assert datasets.load(f"folder:{moved}").fingerprint == before
    (moved / "dog" / "0.jpg").rename(moved / "dog" / "00.jpg")
    renamed = datasets.load(f"folder:{moved}").fingerprint
    (moved / "dog" / "00.jpg").write_bytes((moved / "dog" / "00.jpg").read_bytes() + b"\0")
    assert len({before, renamed, datasets.load(f"folder:{moved}").fingerprint}) == 3


def test_another_picture_of_the_same_size_is_another_folder(tmp_path):
    root = picture_tree(tmp_path / "pictures")
    for path in (root / "dog").iterdir():
        path.unlink()
    seen = set()
    for level in (0, 100, 200):
        Image.fromarray(np.full((200, 200, 3), level, np.uint8)).save(root / "dog" / "0.bmp")
        seen.add(datasets.load(f"folder:{root}").fingerprint)
    assert len(seen) == 3
    os.utime(root / "dog" / "0.bmp", (0, 0))
    assert datasets.load(f"folder:{root}").fingerprint in seen


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have names in Unicode only")
def test_names_that_are_not_utf_8(tmp_path):
    root = os.fsencode(picture_tree(tmp_path))
    os.rename(os.path.join(root, b"emu"), os.path.join(root, b"em\xfc"))
    os.rename(os.path.join(root, b"dog", b"0.jpg"), os.path.join(root, b"dog", b"\xe4.jpg"))
    dataset = datasets.load(f"folder:{os.fsdecode(root)}")
    assert len(dataset.fingerprint) == 12 and dataset.classes == ["dog", "em\udcfc"]
    assert len([dataset[i] for i in range(len(dataset))]) == 6


def test_a_folder_that_cannot_be_listed_is_told(tmp_path, monkeypatch):
    root = picture_tree(tmp_path)
    closed, scandir = root / "emu" / "closed", os.scandir
    closed.mkdir()

    def refuse(path):  # tests may run as root, to whom every folder is open
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(closed))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(UserWarning, match=r"closed: Permission denied; the pictures in this folder are left out"):
        assert len(datasets.load(f"folder:{root}")) == 6


LITTER = (".git", "lost+found", ".ipynb_checkpoints", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information")


def test_folder_skips_what_is_no_picture_at_any_depth(tmp_path):
    root = picture_tree(tmp_path)
    before = datasets.load(f"folder:{root}", "all").samples
    for place in (root, root / "ant", root / "ant" / "deep"):
        for name in LITTER:
            (place / name).mkdir(parents=True)
            shutil.copy(root / "ant" / "0.jpg", place / name)
    (root / "ant" / "._0.jpg").write_bytes(b"what macOS leaves on foreign disks")
    (root / "ant" / "Thumbs.db").write_bytes(b"")
    (root / "ant" / "notes.txt").write_text("")
    (root / "readme.md").write_text("")
    shutil.copy(root / "ant" / "0.jpg", root)  # in no class
    assert datasets.load(f"folder:{root}", "all").samples == before


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own")
def test_folder_follows_links_once(tmp_path):
    root = picture_tree(tmp_path / "root")
    before = datasets.load(f"folder:{root}", "all").samples
    (root / "cow" / "up").symlink_to(root, target_is_directory=True)
    assert datasets.load(f"folder:{root}", "all").samples == before
    picture_tree(tmp_path / "far", classes=["fox"])
    (root / "fox").symlink_to(tmp_path / "far" / "fox", target_is_directory=True)
    found = datasets.load(f"folder:{root}", "all")
    assert (found.classes[-1], found.targets.count(5)) == ("fox", 3)


def test_folder_with_one_picture_in_a_class(tmp_path):
    assert len(datasets.load(f"folder:{picture_tree(tmp_path, images=1)}", "all")) == 5


@pytest.mark.skipif(os.name == "nt", reason="pipes and links are other things there")
def test_what_cannot_be_read_is_listed_and_does_not_stop_a_run(tmp_path, monkeypatch):
    """A broken link, a pipe, a file without permission, an empty one: named, replaced or left out, and counted."""
    root = picture_tree(tmp_path / "root", images=6)
    for name in os.listdir(root):
        (root / name / "a link.jpg").symlink_to(tmp_path / "nowhere.jpg")
        os.mkfifo(root / name / "a pipe.png")
        (root / name / "empty.jpg").touch()
        (root / name / "secret.jpg").touch()
        (root / name / "x.jpg").mkdir()  # a folder, whatever its name
    (root / "ant" / "loop").symlink_to("loop")
    whole = datasets.load(f"folder:{root}", "all")
    assert len(whole) == 50
    stat = os.stat

    def refused(path, *args, **options):
        if str(path).endswith("secret.jpg"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *args, **options)

    monkeypatch.setattr(os, "stat", refused)  # the superuser may read anything
    recipe = Recipe(epochs=1, dim=4, batch_size=12, size=16, warmup=0.9)
    with all_warnings() as caught:
        step = fit(whole, recipe, progress=False)
    assert step.history[0]["unreadable"] == len([w for w in caught if "replaces it" in str(w.message)])
    assert 0 < step.history[0]["unreadable"] <= 20
    with all_warnings() as caught:
        embeddings, left = embed_readable(step.model, whole, size=16)
    told = [str(w.message) for w in caught]
    assert sum("it is left out" in text for text in told) == 20
    assert sum("(it is empty)" in text for text in told) == sum("(Permission denied)" in text for text in told) == 5
    assert told[-1] == "20 of 50 images cannot be read, and are left out"
    assert len(embeddings) == len(left) == len(left.targets) == 30
    assert left.classes == whole.classes
    readable = [i for i, (path, _) in enumerate(whole.samples) if Path(path).stem.isdigit()]
    assert torch.equal(embeddings, embed(step.model, Subset(whole, readable), size=16))
    assert left.targets == [whole.targets[i] for i in readable]


def test_a_class_that_cannot_be_read_is_left_out(tmp_path):
    root = picture_tree(tmp_path)
    for path in (root / "dog").iterdir():
        path.write_bytes(b"")
    dataset = datasets.load(f"folder:{root}")
    with all_warnings():
        _, left = embed_readable(EmbeddingNet(dim=4), dataset, size=16)
        assert (left.classes, left.targets) == (["emu"], [0, 0, 0])
        for path in (root / "emu").iterdir():
            path.write_bytes(b"")
        with pytest.raises(OSError, match=r"^no image can be read: restore the files"):
            embed_readable(EmbeddingNet(dim=4), dataset, size=16)


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own")
def test_links_among_the_classes_of_a_folder(tmp_path):
    root = picture_tree(tmp_path / "root")
    before = datasets.load(f"folder:{root}", "all").samples
    (root / "aaa").symlink_to(root / "bee", target_is_directory=True)  # sorted before what it leads to
    (root / "ant" / "deep").symlink_to(root / "cow", target_is_directory=True)
    (root / "loop").symlink_to("loop")
    found = datasets.load(f"folder:{root}", "all")
    assert (found.samples, found.classes) == (before, ["ant", "bee", "cow", "dog", "emu"])


def test_folder_errors(tmp_path):
    def message(error, root, split="test"):
        with pytest.raises(error) as caught:
            datasets.load(f"folder:{root}", split)
        assert "\n" not in str(caught.value)
        assert str(root) in str(caught.value)
        return str(caught.value)

    assert "does not exist" in message(FileNotFoundError, tmp_path / "none")
    (tmp_path / "file").write_text("")
    assert "is a file" in message(FileNotFoundError, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "class folders not found" in message(FileNotFoundError, tmp_path / "empty")
    one = picture_tree(tmp_path / "one", classes=("ant",))
    assert "one class only (ant)" in message(ValueError, one)
    assert len(datasets.load(f"folder:{one}", "all")) == 3
    (one / "bee").mkdir()
    for split in ("train", "test", "all"):  # before the training, not after it
        assert "one" + os.sep + "bee" in message(FileNotFoundError, one, split)
    nested = tmp_path / "nested"
    picture_tree(nested / "train")
    picture_tree(nested / "val")
    assert f"not classes: give {nested / 'train'}" in message(ValueError, nested)
    assert "does not exist" in datasets.info(f"folder:{tmp_path / 'none'}")["problem"]


def damaged(kind: str, whole: bytes) -> bytes:
    """A damaged picture, of which PIL has something to say."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 5_000_000))
    huge = chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0))
    return {
        "cut": whole[: len(whole) // 2],
        "huge text": whole[:33] + text + whole[33:],
        "huge": whole[:8] + huge + whole[33:],
        "few bytes": b"P6 16 16 255\n" + b"a" * 10,
        "many levels": b"P5 4 4 70000\n" + b"a" * 64,
        "webp": b"RIFF\x10\0\0\0WEBPVP8 ",
    }[kind]


@pytest.mark.parametrize("kind", ["cut", "huge text", "huge", "few bytes", "many levels", "webp"])
def test_damage_is_told_in_our_own_words(kind, tmp_path):
    Image.fromarray(RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(damaged(kind, (tmp_path / "a.png").read_bytes()))
    with all_warnings() as caught, pytest.raises(OSError) as error:
        open_image(tmp_path / "a.png")
    found = re.search(r"cannot be read \((.*)\): repair it", str(error.value))[1]
    huge = "its header promises more than 100,000,000 pixels"
    assert found == (huge if kind == "huge" else "it is damaged, or something else")
    assert not caught


def test_what_pil_says_of_damaged_tags_is_no_news(tmp_path):
    Image.fromarray(RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    far, long = b"\xff\xff\xff\x7f", b"\x08\0\0\0\x01\0\x12\x01\x02\0" + b"\xff" * 4 + b"\0" * 4
    for tags in (b"Exif\0\0II*\0" + far, b"Exif\0\0II*\0" + long):
        (tmp_path / "a.jpg").write_bytes(whole[:2] + b"\xff\xe1" + struct.pack(">H", len(tags) + 2) + tags + whole[2:])
        with all_warnings() as caught:
            assert open_image(tmp_path / "a.jpg").size == (16, 16)
        assert not caught


@pytest.mark.parametrize("damage", ["cut", "other", "gone"])
def test_folder_with_a_damaged_picture(tmp_path, damage):
    root = picture_tree(tmp_path)
    path = root / "dog" / "0.jpg"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "other":
        path.write_text("<html>")
    dataset = datasets.load(f"folder:{root}")
    if damage == "gone":
        path.unlink()
    with pytest.raises(OSError, match="gone" if damage == "gone" else "cannot be read") as caught:
        dataset[0]
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert dataset[1][0].mode == "RGB"


class Labelled(list):
    """Values in order, which are indexed by labels, and 0 is none of them: another column of pandas."""

    def __getitem__(self, label):
        raise KeyError(label)

    def tolist(self):
        return list(self)


class Plain(torch.utils.data.Dataset):
    """A data set of one's own: attributes, and what it gives of an item."""

    def __init__(self, give, **attributes):
        self.give, self.targets = give, [0, 0, 1, 1]
        self.__dict__.update(attributes)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.give(index)


@pytest.mark.parametrize(
    "give",
    [
        lambda i: (Image.new("RGB", (8, 8), (i, 0, 0)), 7, "meta"),
        lambda i: [np.full((8, 8), 4000, np.uint16), 7],
        lambda i: (torch.rand(4, 8, 8, dtype=torch.bfloat16), 7),
    ],
)
@pytest.mark.parametrize("attributes", [{}, {"transform": None}, {"transform": lambda image: image}])
def test_own_data_sets_are_seen_as_pictures_whatever_they_do_with_a_transform(give, attributes):
    own = Subset(Plain(give, **attributes), Labelled([1, 0]))
    ((images, labels),) = reading.batches(subsets.labelled(own), [[0, 1]], 16)
    assert images.shape == (2, 3, 16, 16) and images.dtype == torch.uint8 and labels.tolist() == [0, 0]
    index = Index.build(EmbeddingNet(dim=4), own, size=16)
    assert index.labels == ["0", "0"] and index.search(give(0)[0], 2)[1].shape == (1, 2)


@pytest.mark.parametrize("give", [lambda i: torch.rand(3, 8, 8), lambda i: {"image": 0}, lambda i: ()])
def test_items_that_are_no_pairs_are_named(give):
    with pytest.raises(ValueError, match=r"items of a data set must be \(image, label\), got (Tensor|dict|tuple)"):
        embed(EmbeddingNet(dim=4), subsets.labelled(Plain(give)), size=16)


def test_names_of_classes_are_taken_by_position():
    assert subsets.labelled(Plain(None, classes=Labelled(["a", "b"]))).classes == ["a", "b"]


def test_images_of_different_sizes_ask_for_a_size():
    own = Plain(lambda i: (Image.new("RGB", (8 + i, 8)), 0))
    with pytest.raises(ValueError, match="images of different sizes make no batch: give the size"):
        embed(EmbeddingNet(dim=4), own)


def test_fractions_a_little_above_1_are_no_levels():
    with pytest.raises(ValueError, match=r"its pixels go from 0\.0 to 1\.2"):
        scale_grey(np.linspace(0, 1.2, 16))
    assert scale_grey(np.array([0.0, 3.0])).tolist() == [0, 3]


@pytest.mark.parametrize("name", [None, 3, Path("digits")])
def test_the_name_of_a_data_set_is_a_string(name):
    with pytest.raises(ValueError, match="the name of a data set must be a string"):
        datasets.load(name)


def test_a_tilde_without_a_home_is_a_folder_like_any_other(monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as in a container of an unknown user
    with pytest.raises(FileNotFoundError, match="~/pictures is not a folder"):
        load_pictures("folder:~/pictures")
    assert suit_pictures("folder:~/pictures", "default", "cpu", {}) == ("default", "")
