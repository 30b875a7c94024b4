"""Decoding: from a file of any common format to an upright RGB image, or one line that says why not."""

import math
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..files import cause

MOST_PIXELS = 100_000_000  # of an image; what promises more is a mistake or an attack
# What files of these endings hold. PIL would try all that it knows, and run Ghostscript on one that is PostScript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_DEPTHS = (8, 10, 12, 14, 16)  # bits of a grey level; a file of 16 may hold the levels of a 12-bit sensor
_ORIENTATION = 0x0112  # the EXIF tag
_T = Image.Transpose
_UPRIGHT = {2: _T.FLIP_LEFT_RIGHT, 3: _T.ROTATE_180, 4: _T.FLIP_TOP_BOTTOM, 5: _T.TRANSPOSE}  # what to do about it
_UPRIGHT |= {6: _T.ROTATE_270, 7: _T.TRANSVERSE, 8: _T.ROTATE_90}


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a PIL image of any mode to upright RGB.

    The orientation that a camera noted (EXIF) is applied, and transparency is laid on white. Grey levels of more than 8
    bits are scaled by what the image holds: fractions from 0 to 1, or whole levels of 8, 10, 12, 14 or 16 bits,
    whichever is the least that has room for them. ValueError if they are in no such range.
    """
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # PIL raises some ten kinds on tags that are damaged, and no other tag is wanted
        orientation = None
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    if image.mode.startswith(("I", "F")):  # PIL's own conversion clips at 255
        image = Image.fromarray(scale_grey(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def scale_grey(levels: np.ndarray) -> np.ndarray:
    """Scale an array of grey levels, or of colours, to uint8 by what it holds; see :func:`to_rgb`."""
    low, high = levels.min(), levels.max()  # NaN if there is any
    # Fractions a little above 1 are no levels: as such they would be nearly black.
    odd = levels.dtype.kind == "f" and 1 < high < 8 and bool((levels % 1).any())
    if odd or not 0 <= low <= high < 1 << _DEPTHS[-1]:
        raise ValueError(f"its pixels go from {low} to {high}; expected 0 to 1, 0 to 255 or 0 to 65535")
    if levels.dtype.kind in "bf" and high <= 1:
        return (levels * 255 + 0.5).astype(np.uint8)
    depth = next(depth for depth in _DEPTHS if high < 1 << depth)
    return (levels / 2.0 ** (depth - 8)).astype(np.uint8)


@contextmanager
def opened(file: str | os.PathLike | BinaryIO) -> Iterator[Image.Image]:
    """Open an image without decoding it; of sizes and damaged tags, which PIL warns of, others decide here."""
    Image.init()  # of the formats; PIL does it by itself only where none are named
    with warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS) as image:
        yield image


def decode_image(file: str | os.PathLike | BinaryIO) -> Image.Image:
    """Decode an image, from a path or an open file, to upright RGB.

    The header is looked at first: not a pixel is unpacked of an image that promises more than ``MOST_PIXELS``. For what
    is damaged, too large or no image, PIL raises some ten kinds of exceptions.
    """
    with opened(file) as image:
        if math.prod(image.size) > MOST_PIXELS:
            raise ValueError(f"its header promises {image.width:,} x {image.height:,} pixels, above {MOST_PIXELS:,}")
        return to_rgb(image)


def open_image(path: str | os.PathLike) -> Image.Image:
    """Read an image file as an upright RGB image; if that is not possible, OSError on one line that names it."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for
            raise ValueError("no regular file")
        return decode_image(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"image {path} is gone: restore it or load the data set again") from None
    except MemoryError:  # it says something of the machine, not of the image
        raise
    except Exception as error:  # PIL raises some ten kinds
        reason = getattr(error, "strerror", None) or cause(error)
        if isinstance(error, Image.DecompressionBombError):
            reason = f"its header promises more than {MOST_PIXELS:,} pixels"
        elif isinstance(error, UnidentifiedImageError):
            reason = f"it is {'no image of a known format' if os.path.getsize(path) else 'empty'}"
        raise OSError(f"image {path} cannot be read ({reason}): repair it or move it away") from error
