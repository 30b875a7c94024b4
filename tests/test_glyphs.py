"""Glyphs: deterministic, class-disjoint, distinct shapes, hard for pixels, cached."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from sstutils.datasets import Glyphs, info
from sstutils.datasets.glyphs import _draw, _fonts, draw, letters

SMALL = {"classes": 20, "images": 16}


@pytest.fixture
def glyphs(tmp_path):
    return lambda split="test", **options: Glyphs(tmp_path, split, **{**SMALL, **options})


def test_default_is_like_cub_and_raw_pixels_say_almost_nothing(tmp_path):
    test = Glyphs(tmp_path, "test")
    assert (len(test.classes), len(test), test.data.shape[1:]) == (100, 4800, (32, 32, 3))
    assert np.bincount(test.targets).tolist() == [48] * 100
    assert info("glyphs", tmp_path)["splits"]["test"] == {"classes": 100, "images": 4800}
    some = np.arange(0, 4800, 6)  # eight of each letter ask, all others answer
    pixels = test.data.reshape(len(test), -1).astype(np.float32)
    nearest = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(pixels).kneighbors(pixels[some])[1][:, 1]
    targets = np.array(test.targets)
    assert (targets[nearest] == targets[some]).mean() < 0.10


def test_splits_share_no_class(glyphs):
    train, test = glyphs("train"), glyphs("test")
    assert len(train.classes) == len(test.classes) == 10
    assert not set(train.classes) & set(test.classes)


def test_same_bytes_in_another_process(glyphs):
    code = (
        "from sstutils.datasets.glyphs import draw; from hashlib import sha256; "
        "print(sha256(draw('g', 3, 1.0, 7).tobytes()).hexdigest())"
    )
    env = os.environ | {"PYTHONHASHSEED": "1"}
    here = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True).stdout.split()
    assert here == [hashlib.sha256(draw("g", 3, 1.0, 7).tobytes()).hexdigest().encode()]
    assert not np.array_equal(draw("g", 3, 1.0, 7), draw("g", 3, 1.0, 8))


def test_second_load_reads_the_cache(glyphs, monkeypatch):
    first = glyphs()
    monkeypatch.setattr("sstutils.datasets.glyphs.draw", None)  # must not be called
    second = glyphs()
    assert np.array_equal(first.data, second.data)
    assert first.fingerprint == second.fingerprint


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
        ({"difficulty": "hard"}, "difficulty must be a finite number"),
        ({"seed": -1}, "seed must be between 0 and"),
        ({"seed": 0.5}, "seed must be an integer"),
        ({"images": "16"}, "images must be an integer"),
        ({"classes": 20.0}, "classes must be an integer"),
        ({"split": "val"}, "'train' or 'test'"),
    ],
)
def test_bad_parameters(glyphs, options, message):
    with pytest.raises(ValueError, match=message):
        glyphs(**options)
