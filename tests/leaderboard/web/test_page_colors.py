"""The colors of charts in both color schemes, for all kinds of color vision."""

import re
from itertools import combinations

import numpy as np
import pytest

from baselines.site.shared_files import STATIC

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
SEEN = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])
VARIABLES = re.compile(
    r"(@media screen and \(prefers-color-scheme: dark\) \{\s*)?:root \{(.*?)\}", re.DOTALL
)
TIERS = ("safe", "feasible", "violating")
SERIES = tuple(f"series-{index}" for index in range(6))


def schemes():
    """Return the color variables of the light and the dark scheme."""
    text = "\n".join((STATIC / name).read_text() for name in ("pages.css", "charts.css"))
    light, dark = {}, {}
    for block in VARIABLES.finditer(text):
        found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block[2]))
        (dark if block[1] else light).update(found)
    return {"light": light, "dark": light | dark}


def linear(color):
    part = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(part <= 0.03928, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    root = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def contrast(one, other):
    bright, dim = sorted((TO_XYZ[1] @ linear(color) for color in (one, other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_stand_out_from_the_page(scheme):
    colors = schemes()[scheme]
    for name in (*TIERS, *SERIES, "quiet"):
        for behind in ("page", "raised", "card"):
            assert contrast(colors[name], colors[behind]) >= 4.5, (name, behind)


@pytest.mark.parametrize("vision", SEEN)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_tiers_differ_for_everybody(scheme, vision):
    colors = schemes()[scheme]
    seen = {name: lab(SEEN[vision] @ linear(colors[name])) for name in TIERS}
    for one, other in combinations(TIERS, 2):
        assert np.linalg.norm(seen[one] - seen[other]) >= 15, (one, other)
