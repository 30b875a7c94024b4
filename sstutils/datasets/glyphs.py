"""Glyphs: letters drawn from the fonts that matplotlib ships, a data set that needs no download.

A class is a letter of the Latin, Greek or Cyrillic alphabets, accents included, so that some classes
are near twins, as species of one genus are. Its images differ in face, size, slant, place, ink, paper and noise:
raw pixels say almost nothing about the class, its shape says all.
"""

import unicodedata
from functools import cache
from os import PathLike
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageDraw, ImageFont, features

from ..files import cached_arrays, digest, resolve
from .source import Source

SIDE = 32  # pixels
_DRAWN = 80  # side of the canvas on which a letter is drawn before it is turned, shifted and halved
_EM = 50  # font size on that canvas, in pixels
_TWINS = 0.12  # two letters whose shapes are closer than this (1 - cosine) in most faces are one class


def _faces() -> list[str]:
    """Paths of the 16 text faces: DejaVu Sans, Sans Mono, Serif and STIX, each in four styles."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    families = ("DejaVuSans", "DejaVuSerif", "STIXGeneral")
    return sorted(str(p) for p in folder.glob("*.ttf") if p.stem.startswith(families) and "Display" not in p.stem)


@cache
def _fonts() -> list:
    return [ImageFont.truetype(path, _EM, layout_engine=ImageFont.Layout.BASIC) for path in _faces()]


def _draw(letter: str, font) -> np.ndarray:
    """Draw one letter, its ink centred, as a (80, 80) uint8 mask."""
    left, top, right, bottom = font.getbbox(letter)
    canvas = Image.new("L", (_DRAWN, _DRAWN))
    corner = ((_DRAWN - right - left) / 2, (_DRAWN - bottom - top) / 2)
    ImageDraw.Draw(canvas).text(corner, letter, fill=255, font=font)
    return np.asarray(canvas)


@cache
def letters() -> tuple[str, ...]:
    """All letters that can be a class: in all 16 faces, no two of one shape up to size and place.

    Of letters that share a shape (Latin A, Greek Alpha, Cyrillic A; or o and O) the first in Unicode order is kept.
    """
    from matplotlib.ft2font import FT2Font

    common = set.intersection(*(set(FT2Font(path).get_charmap()) for path in _faces()))
    pool = [chr(c) for c in sorted(common) if unicodedata.category(chr(c)) in ("Lu", "Ll")]
    # A shape: the ink scaled to fill a 16 x 16 box, proportions kept, as a unit vector; one for each face.
    shapes = np.empty((len(_fonts()), len(pool), 16 * 16), np.float32)
    for i, font in enumerate(_fonts()):
        for j, letter in enumerate(pool):
            mask = Image.fromarray(_draw(letter, font))
            left, top, right, bottom = mask.getbbox()
            half = max(right - left, bottom - top) / 2
            x, y = (left + right) / 2, (top + bottom) / 2
            box = (x - half, y - half, x + half, y + half)
            shapes[i, j] = np.asarray(mask.resize((16, 16), Image.Resampling.BOX, box), np.float32).ravel()
    shapes /= np.linalg.norm(shapes, axis=2, keepdims=True)
    distance = 1 - shapes @ shapes.transpose(0, 2, 1)  # (faces, letters, letters)
    twins = (np.median(distance, axis=0) < _TWINS) | (distance.min(axis=0) < _TWINS / 2)
    kept: list[int] = []
    for j in range(len(pool)):
        if not twins[j, kept].any():
            kept.append(j)
    return tuple(pool[j] for j in kept)


def draw(letter: str, images: int, difficulty: float, seed: int) -> np.ndarray:
    """Draw `images` pictures of one letter, in the 16 faces by turns, as a uint8 array of shape (images, 32, 32, 3).

    `difficulty` scales every variation but the face: 0 is upright, centred, black on white; 1 is the default.
    """
    rng = np.random.default_rng([seed, ord(letter)])  # a letter looks the same whatever the other classes are
    angle = np.deg2rad(12 * difficulty) * rng.uniform(-1, 1, images)
    slant = 0.15 * difficulty * rng.uniform(-1, 1, images)
    size = 0.5 * 2 ** (0.25 * difficulty * rng.uniform(-1, 1, images))  # 0.5: the canvas is twice the picture
    shift = 2.5 * difficulty * rng.uniform(-1, 1, (images, 2))
    masks = np.empty((images, SIDE, SIDE, 1), np.float32)
    first = rng.integers(len(_fonts()))
    for i in range(images):
        canvas = Image.fromarray(_draw(letter, _fonts()[(first + i) % len(_fonts())]))
        # PIL wants the map from a pixel of the picture back to the canvas: undo shift, size, slant and angle.
        c, s = np.cos(angle[i]) / size[i], np.sin(angle[i]) / size[i]
        back = np.array([[c, s + slant[i] * c], [-s, c - slant[i] * s]])
        origin = _DRAWN / 2 - back @ (SIDE / 2 + shift[i])
        affine = (*back[0], origin[0], *back[1], origin[1])
        masks[i, ..., 0] = np.asarray(
            canvas.transform((SIDE, SIDE), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
        )
    masks /= 255
    # Ink and paper: random colours, drawn again until they differ enough in lightness to be read.
    colours = rng.uniform(0, 1, (images, 2, 3)).astype(np.float32)
    lightness = np.array([0.299, 0.587, 0.114], np.float32)
    while (close := np.abs((colours[:, 0] - colours[:, 1]) @ lightness) < 0.35).any():
        colours[close] = rng.uniform(0, 1, (close.sum(), 2, 3))
    plain = np.array([[0, 0, 0], [1, 1, 1]], np.float32)
    mix = min(difficulty, 1.0)
    ink, paper = np.moveaxis((1 - mix) * plain + mix * colours, 1, 0)[:, :, None, None, :]
    pictures = paper + masks * (ink - paper)
    pictures += np.float32(0.05 * difficulty) * rng.standard_normal(pictures.shape, np.float32)
    return (pictures.clip(0, 1) * 255 + 0.5).astype(np.uint8)


class Glyphs(Source):
    """Letters in 16 faces, random colours, sizes and slants: the embedded data set.

    The classes of the whole set are drawn from :func:`letters` by `seed`; the first half of them is ``train``, the
    second ``test``. A picture depends on its letter, `images`, `difficulty` and `seed` only. See
    :class:`sstutils.datasets.source.Source` for `root` (where drawn pictures are cached) and the other parameters.

    Parameters
    ----------
    classes : int
        Number of classes of both splits together, an even number from 4 to some 260; 200 by default.
    images : int
        Images per class, at least 2; 48 by default.
    difficulty : float
        Scale of the variation in angle, slant, size, place, colours and noise, from 0 (black on white, upright) to 3;
        1 by default.
    seed : int
        0 by default.
    """

    licence = "fonts: DejaVu (Bitstream Vera licence) and STIX (SIL Open Font Licence)"
    source = "drawn here, from the fonts in matplotlib"
    counts = {"train": (100, 4800), "test": (100, 4800)}  # noqa: RUF012 - by default

    @classmethod
    def find(cls, root: str | PathLike | None = None) -> list[Path]:
        """List the caches of drawn pictures."""
        return sorted(resolve(root).glob("glyphs*.npz"))

    @classmethod
    def read(
        cls,
        root: str | PathLike | None,
        split: str,
        download: bool,
        *,
        classes: int = 200,
        images: int = 48,
        difficulty: float = 1.0,
        seed: int = 0,
    ) -> tuple:
        """Draw the pictures of a split, or take them from the cache in `root`."""
        from ..checks import real_number, seed_number, whole_number  # it loads torch

        if whole_number("classes", classes, 4) % 2:
            raise ValueError(f"classes must be an even number (half train, half test), got {classes}")
        whole_number("images", images, 2)
        real_number("difficulty", difficulty, 0, 3)
        seed_number(seed)

        def make() -> dict[str, np.ndarray]:
            if classes > (most := len(letters())):
                raise ValueError(f"classes must be at most {most}, the letters of distinct shape, got {classes}")
            chosen = np.random.default_rng(seed).permutation(len(letters()))[:classes]
            half = chosen[: classes // 2] if split == "train" else chosen[classes // 2 :]
            names = [letters()[i] for i in half]
            return {
                "data": np.concatenate([draw(name, images, difficulty, seed) for name in names]),
                "targets": np.repeat(np.arange(len(names)), images),
                "classes": np.array(names),
            }

        # The cache's name carries all that the pictures depend on: parameters, this code and the libraries that draw.
        made_of = digest(repr((classes, images, float(difficulty), seed)), *_versions())
        folder = resolve(root)
        found = cached_arrays(folder / f"glyphs-{split}-{made_of}.npz", make)
        return found["data"], found["targets"], found["classes"], folder


@cache
def _versions() -> tuple[str, ...]:
    from matplotlib import __version__ as matplotlib

    return Path(__file__).read_text(), matplotlib, PIL.__version__, features.version("freetype2"), np.__version__
