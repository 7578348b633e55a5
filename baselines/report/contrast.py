"""Colors that can be read: on white paper, and their counterparts on a dark page."""

from __future__ import annotations

import colorsys

import numpy as np
from matplotlib.colors import to_hex, to_rgb

DARK_PAGE = "#14171b"  # as in report.html.jinja
DARK_INK = "#e6e9ee"
LEAST_CONTRAST = 4.5  # of letters, WCAG 2 AA
RESERVE = 0.5  # above it on a dark page, where bands lie behind letters
FAINT_ABOVE = 0.6  # luminance of grays that are neither letters nor data
FAINT_BELOW = 0.2  # saturation of grays
STEP = 0.01  # of lightness


def dark_color(color: str) -> str:
    """Return the counterpart of a color on a dark page.

    White is the page and black the ink; light grays become dark ones, and all other colors are
    lightened until they can be read.
    """
    if color == "#ffffff":
        return DARK_PAGE
    if color == "#000000":
        return DARK_INK
    _, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(color))
    if luminance(color) > FAINT_ABOVE and saturation < FAINT_BELOW:
        page, ink = np.array(to_rgb(DARK_PAGE)), np.array(to_rgb(DARK_INK))
        red, green, blue = page + (ink - page) * (1.0 - lightness)
        return to_hex((red, green, blue))
    return _shifted(color, DARK_PAGE, STEP, LEAST_CONTRAST + RESERVE)


def readable(color: str) -> str:
    """Return the color, darkened until letters in it can be read on white."""
    return _shifted(color, "#ffffff", -STEP, LEAST_CONTRAST)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colors by WCAG 2, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    """Return the relative luminance of a color by WCAG 2, from 0 to 1."""
    parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _shifted(color: str, page: str, step: float, wanted: float) -> str:
    """Return the color with its lightness changed in steps until it stands out from a page."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(color))
    shifted = to_hex(to_rgb(color))
    while contrast(shifted, page) < wanted:
        lightness = min(max(lightness + step, 0.0), 1.0)
        shifted = to_hex(colorsys.hls_to_rgb(hue, lightness, saturation))
    return shifted
