"""Glyphs: deterministic, class-disjoint, distinct shapes, hard for pixels, cached."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from sstutils.datasets import Glyphs
from sstutils.datasets.glyphs import _draw, _fonts, draw, letters

SMALL = {"classes": 20, "images": 16}


@pytest.fixture
def glyphs(tmp_path):
    return lambda split="test", **options: Glyphs(tmp_path, split, **{**SMALL, **options})


def test_default_is_like_cub(tmp_path):
    train, test = Glyphs(tmp_path, "train"), Glyphs(tmp_path, "test")
    assert len(train.classes) == len(test.classes) == 100
    assert len(train) == len(test) == 4800
    assert train.data.shape[1:] == (32, 32, 3)
    assert not set(train.classes) & set(test.classes)
    assert np.bincount(test.targets).tolist() == [48] * 100


def test_raw_pixels_say_almost_nothing(tmp_path):
    test = Glyphs(tmp_path, "test")
    pixels = test.data.reshape(len(test), -1).astype(np.float32)
    nearest = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(pixels).kneighbors(return_distance=False)[:, 0]
    targets = np.array(test.targets)
    assert (targets[nearest] == targets).mean() < 0.10


def test_same_bytes_in_another_process(glyphs):
    code = "from sstutils.datasets.glyphs import draw; print(hash(draw('g', 3, 1.0, 7).tobytes()))"
    env = {"PYTHONHASHSEED": "0"}
    once, twice = (subprocess.run([sys.executable, "-c", code], capture_output=True, env=env).stdout for _ in range(2))
    assert once == twice != b""
    assert not np.array_equal(draw("g", 3, 1.0, 7), draw("g", 3, 1.0, 8))


def test_second_load_reads_the_cache(glyphs, monkeypatch):
    first = glyphs()
    monkeypatch.setattr("sstutils.datasets.glyphs.draw", None)  # must not be called
    second = glyphs()
    assert np.array_equal(first.data, second.data)
    assert first.fingerprint == second.fingerprint


def test_corrupt_cache_is_drawn_again(glyphs, tmp_path):
    first = glyphs()
    (cache,) = tmp_path.glob("*.npz")
    cache.write_bytes(cache.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="corrupt"):
        assert glyphs().fingerprint == first.fingerprint


def test_every_parameter_changes_the_fingerprint(glyphs):
    prints = [
        glyphs(**change).fingerprint
        for change in ({}, {"classes": 18}, {"images": 17}, {"difficulty": 0.5}, {"seed": 1}, {"split": "train"})
    ]
    assert len(set(prints)) == len(prints)


def test_letters_have_distinct_shapes_in_every_face():
    """No two letters have the same ink when both are trimmed and scaled to one box."""
    from PIL import Image

    for font in _fonts():
        seen = {}
        for letter in letters():
            mask = Image.fromarray(_draw(letter, font))
            left, top, right, bottom = mask.getbbox()
            trimmed = np.asarray(mask.crop((left, top, right, bottom)).resize((12, 12))) > 127
            key = (round(4 * (right - left) / (bottom - top)), trimmed.tobytes())
            assert key not in seen, f"{letter} looks like {seen[key]} in {font.getname()}"
            seen[key] = letter
    assert len(letters()) >= 250
    assert {"A", "Ж", "θ"} <= set(letters())
    assert not {"Α", "А"} & set(letters())  # Greek Alpha and Cyrillic A have the shape of A


def test_no_letter_is_cut_at_the_canvas():
    for font in _fonts():
        for letter in letters():
            mask = _draw(letter, font)
            edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
            assert edge.max() == 0, f"{letter} in {font.getname()}"


def test_difficulty_zero_is_black_on_white_and_upright():
    plain = draw("H", 16, 0.0, 0)
    assert plain.min() < 40 and plain.max() == 255
    assert np.array_equal(plain[..., 0], plain[..., 1])
    assert draw("H", 16, 1.0, 0).std() > 0


def test_variation_grows_with_difficulty():
    spread = [draw("H", 48, difficulty, 0).astype(float).std(axis=0).mean() for difficulty in (0.0, 0.5, 1.0)]
    assert spread == sorted(spread)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 7}, "even number"),
        ({"classes": 5000}, "at most"),
        ({"images": 1}, "at least 2"),
        ({"difficulty": -1.0}, "between 0 and 3"),
        ({"seed": -1}, "negative"),
        ({"split": "val"}, "'train' or 'test'"),
    ],
)
def test_bad_parameters(glyphs, options, message):
    with pytest.raises(ValueError, match=message):
        glyphs(**options)
