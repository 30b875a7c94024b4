"""Colours that carry a meaning stay apart for readers with any common colour vision; marks and lines differ, too."""

import re
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from sstutils.figures import plots
from sstutils.lectures.widgets.base import stylesheet

# Of linear RGB: G. M. Machado, M. M. Oliveira and L. A. F. Fernandes, "A physiologically-based model for simulation of
# color vision deficiency", IEEE TVCG 15, 2009, at full severity.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, vision: str = "normal") -> np.ndarray:
    """CIE L*a*b* (D65) of an sRGB colour as it is seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
    ratio = XYZ @ seen / XYZ.sum(axis=1)
    x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(one: str, other: str, vision: str) -> float:
    """CIE76 distance."""
    return float(np.linalg.norm(lab(one, vision) - lab(other, vision)))


def theme(dark: bool) -> dict[str, str]:
    """The colours of the widgets."""
    found = re.findall(r"--sst-([a-z]+): light-dark\((#[0-9a-f]+), (#[0-9a-f]+)\)", stylesheet())
    return {name: pair[dark] for name, *pair in found}


def test_the_measure_knows_red_and_green():
    assert apart("#ffffff", "#000000", "normal") == pytest.approx(100, abs=0.1)
    assert apart("#E41A1C", "#4DAF4A", "normal") > 100
    assert apart("#A6761D", "#66A61E", "protanopia") < 30  # a brown and a green of a popular palette


@pytest.mark.parametrize("vision", VISION)
def test_right_and_wrong_in_figures(vision):
    correct, incorrect, *_ = plots.STYLES["default"]["axes.prop_cycle"].by_key()["color"]
    assert apart(correct, incorrect, vision) > 60


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("dark", [False, True])
def test_roles_in_widgets(vision, dark):
    colours = theme(dark)
    for one, other in combinations(("ink", "blue", "vermilion"), 2):  # anchor, positive, negative
        assert apart(colours[one], colours[other], vision) > 30, (one, other)
    for name in ("ink", "faint", "blue", "vermilion", "green", "purple", "orange"):
        for ground in ("paper", "panel"):
            assert apart(colours[name], colours[ground], vision) > 35, (name, ground)


@pytest.mark.parametrize("vision", VISION)
def test_classes_in_figures(vision):
    least = min(apart(one, other, vision) for one, other in combinations(plots.OKABE_ITO.values(), 2))
    assert least > 10
    # ... and where colours are nearest, marks and lines differ
    assert len(set(plots.MARKERS)) == 8
    assert len(set(plots.LINES)) == 4


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_marks_of_widgets_have_contrast(dark):
    def luminance(colour):
        rgb = np.array(to_rgb(colour))
        return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ XYZ[1]

    colours = theme(dark)
    for name in ("ink", "faint", "blue", "vermilion", "green", "purple", "orange"):
        for ground in ("paper", "panel"):
            light, deep = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            # WCAG 2.2: 4.5 for text, 3 for graphics
            assert (light + 0.05) / (deep + 0.05) > (4.5 if name in ("ink", "faint") else 3), (name, ground)
