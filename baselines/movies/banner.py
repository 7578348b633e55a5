"""The banner above a frame: step, return, and each cost so far with its limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

PAPER, INK = (250, 250, 248), (52, 58, 64)
WITHIN, ABOVE, BAR = (77, 146, 33), (197, 27, 60), (222, 226, 230)
ON_ABOVE = (255, 255, 255)  # letters on the color of a broken limit
SMALLEST_LETTERS, LARGEST_LETTERS = 13, 26  # [px]


@dataclass(frozen=True)
class CostSoFar:
    """A cost in the episode up to now, and the limit of its mean over episodes."""

    name: str  # with its discount, if it has one
    cost: float
    limit: float

    @property
    def is_above(self) -> bool:
        """Whether the cost so far is more than the limit."""
        return self.cost > self.limit


@dataclass(frozen=True)
class BannerText:
    """What a banner says."""

    step: str  # such as "episode 1 of 3, step 17"
    value_name: str  # with its discount, if it has one
    value: float
    costs: Sequence[CostSoFar]


def draw_banner(text: BannerText, width: int) -> np.ndarray:
    """Return the banner, (height, width, 3) uint8; the height follows from width and constraints.

    A line for the step, one for the return, and one per constraint with a bar up to its limit. If a
    limit is exceeded, the whole line is red and says so. Names too long for a line are cut.

    Args:
        text: what it says.
        width: [px] at least 400.
    """
    size = int(np.clip(width // 32, SMALLEST_LETTERS, LARGEST_LETTERS))
    line, margin = round(1.8 * size), round(0.5 * size)
    image = Image.new("RGB", (width, line * (2 + len(text.costs))), PAPER)
    draw = ImageDraw.Draw(image)
    font, bold = _font("DejaVuSans.ttf", size), _font("DejaVuSans-Bold.ttf", size)

    def write(row: int, name: str, number: str, color: Color) -> None:
        middle = row * line + line // 2
        draw.text((width - margin, middle), number, color, bold, anchor="rm")
        room = width - 2 * margin - bold.getlength(number + " ")
        draw.text((margin, middle), _cut(name, font, room), color, font, anchor="lm")

    write(0, text.step, "", INK)
    write(1, text.value_name, f"{text.value:.5g}", INK)
    for row, one in enumerate(text.costs, start=2):
        _draw_bar(draw, one, (0, row * line, width, (row + 1) * line), round(0.2 * size))
        between = "ABOVE LIMIT" if one.is_above else "/ limit"
        number = f"{one.cost:.4g} {between} {one.limit:.4g}"
        write(row, f"cost: {one.name}", number, ON_ABOVE if one.is_above else INK)
    return np.asarray(image)


def _draw_bar(
    draw: ImageDraw.ImageDraw, one: CostSoFar, box: tuple[int, int, int, int], height: int
) -> None:
    """Fill a line in red if the limit is exceeded; else show how much of the limit is used."""
    left, top, right, bottom = box
    if one.is_above:
        draw.rectangle((left, top, right, bottom - 1), ABOVE)
        return
    share = one.cost / one.limit if one.limit > 0.0 else 0.0
    draw.rectangle((left, bottom - height, right, bottom - 1), BAR)
    if share > 0.0:
        draw.rectangle((left, bottom - height, left + share * (right - left), bottom - 1), WITHIN)


def _cut(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """Return the text, or its beginning and an ellipsis if there is no room for it."""
    if font.getlength(text) <= room:
        return text
    for length in range(len(text) - 1, 0, -1):
        if font.getlength(text[:length] + "…") <= room:
            return text[:length] + "…"
    return ""


@cache
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font that comes with matplotlib, the same on every machine."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", file)), size)
