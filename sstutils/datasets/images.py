"""Decoding: from a file of any common format to an upright RGB image, or one line that says why not."""

import math
import os
import warnings
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from ..files import one_line

MOST_PIXELS = 100_000_000  # of an image; what promises more is a mistake or an attack
# What files of these endings hold. PIL would try all that it knows, and run Ghostscript on one that is PostScript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a PIL image of any mode to upright RGB.

    The orientation that a camera noted (EXIF) is applied, transparency is laid on white, 16-bit grey is scaled to 8.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # PIL's own conversion clips at 255: nearly all white
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def decode_image(file: str | os.PathLike | BinaryIO) -> Image.Image:
    """Decode an image, from a path or an open file, to upright RGB.

    The header is looked at first: not a pixel is unpacked of an image that promises more than ``MOST_PIXELS``.

    Raises
    ------
    Exception
        If it is damaged, too large or no image; PIL raises some ten kinds.
    """
    Image.init()  # of the formats; PIL does it by itself only where none are named
    with warnings.catch_warnings():  # of large images, about which the next lines decide
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(file, formats=FORMATS)
    with image:
        if math.prod(image.size) > MOST_PIXELS:
            width, height = image.size
            raise ValueError(f"its header promises {width:,} x {height:,} pixels; at most {MOST_PIXELS:,} are read")
        return to_rgb(image)


def open_image(path: str | os.PathLike) -> Image.Image:
    """Read an image file as an upright RGB image.

    Raises
    ------
    OSError
        If the file is missing, truncated, no image, or of more than 100 megapixels: one line that names it.
    """
    try:
        return decode_image(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"image {path} is gone: restore it or load the data set again") from None
    except MemoryError:  # it says something of the machine, not of the image
        raise
    except Exception as error:  # PIL raises some ten kinds
        raise OSError(f"image {path} cannot be read ({one_line(error)}): repair or remove it") from error
