"""Pictures below a line of numbers and above a legend, and the files they are written to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from safe_envs.rendering.frames import AGENT, BACKGROUND, INK

FONT = ImageFont.load_default(15)
LINE = 22  # [pixels]
INSET = 10  # [pixels]
SWATCH = 14  # [pixels]
LEAST_WIDTH = 400  # [pixels], so that a legend has room
LAST_FRAME_TIME = 1000  # [ms]

Color = tuple[int, int, int]
Place = tuple[float, float]


class Entry(NamedTuple):
    """A line of a legend: a mark of a color, and what it means."""

    mark: Literal["dot", "square", "line", "none"]
    color: Color
    words: str


class Shot(NamedTuple):
    """A rendered frame with the line of numbers that belongs to it."""

    frame: np.ndarray  # (height, width, 3) uint8
    numbers: str


def agent_place(frame: np.ndarray) -> Place | None:
    """Return the middle of what is drawn in the agent's color [pixels]; None if nothing is."""
    rows, columns = np.nonzero((frame == np.array(AGENT, dtype=np.uint8)).all(axis=2))
    return (float(columns.mean()), float(rows.mean())) if len(rows) else None


def with_path(frame: np.ndarray, places: Sequence[Place], below: float) -> np.ndarray:
    """Return a frame with the path so far and its start, named `below` pixels under it."""
    if len(set(places)) < 2:
        return frame
    picture = Image.fromarray(frame)
    pen = ImageDraw.Draw(picture)
    pen.line([tuple(place) for place in places], fill=AGENT, width=2)
    (x, y), r = places[0], 9
    pen.ellipse((x - r, y - r, x + r, y + r), outline=INK, width=2)
    pen.text((x, y + below), "start", fill=INK, font=FONT, anchor="mm")
    drawn = np.array(picture)
    hidden = (frame == np.array(AGENT, dtype=np.uint8)).all(axis=2)
    drawn[hidden] = frame[hidden]  # the agent stays on top
    return drawn


def composed(shot: Shot, legend: Sequence[Entry], scale: float = 1.0) -> Image.Image:
    """Return a frame between its numbers and the legend.

    Args:
        shot: frame and numbers.
        legend: one line per entry.
        scale: of the frame.
    """
    frame = Image.fromarray(shot.frame)
    if scale != 1.0:
        size = round(scale * frame.width), round(scale * frame.height)
        frame = frame.resize(size, Image.Resampling.LANCZOS)
    words = max(FONT.getlength(entry.words) for entry in legend)
    needed = round(words) + SWATCH + 3 * INSET
    width = max(frame.width, LEAST_WIDTH if scale == 1.0 else 0, needed)
    top = LINE + INSET
    height = top + frame.height + len(legend) * LINE + INSET
    whole = Image.new("RGB", (width, height), BACKGROUND)
    whole.paste(frame, ((width - frame.width) // 2, top))
    pen = ImageDraw.Draw(whole)
    pen.text((INSET, top / 2), shot.numbers, fill=INK, font=FONT, anchor="lm")
    for line, entry in enumerate(legend):
        middle = top + frame.height + INSET / 2 + (line + 0.5) * LINE
        _draw_mark(pen, entry, middle)
        left = INSET if entry.mark == "none" else 2 * INSET + SWATCH
        pen.text((left, middle), entry.words, fill=INK, font=FONT, anchor="lm")
    return whole


def frame_in(picture: Image.Image, legend: Sequence[Entry]) -> Image.Image:
    """Return the part of a picture from `composed` between its numbers and the legend."""
    bottom = picture.height - len(legend) * LINE - INSET
    return picture.crop((0, LINE + INSET, picture.width, bottom))


def _draw_mark(pen: ImageDraw.ImageDraw, entry: Entry, middle: float) -> None:
    left, half = INSET, SWATCH / 2
    box = (left, middle - half, left + SWATCH, middle + half)
    if entry.mark == "dot":
        pen.ellipse(box, fill=entry.color, outline=INK)
    elif entry.mark == "square":
        pen.rectangle(box, fill=entry.color, outline=INK)
    elif entry.mark == "line":
        pen.line((left, middle, left + SWATCH, middle), fill=entry.color, width=3)


def save_gif(
    frames: Sequence[Image.Image],
    file: Path,
    frame_time: int,
    last_frame_time: int = LAST_FRAME_TIME,
    colors: int = 255,
) -> None:
    """Write a repeating GIF; all frames share one palette, taken from some of them.

    Args:
        frames: of one size.
        file: to write.
        frame_time: how long a frame is shown [ms].
        last_frame_time: how long the last one is [ms].
        colors: in the palette, at most 255: one is for pixels that do not change between frames.
    """
    shown = [*frames[:: max(len(frames) // 4, 1)], frames[-1]]
    sample = Image.new("RGB", (frames[0].width, frames[0].height * len(shown)))
    for place, frame in enumerate(shown):
        sample.paste(frame, (0, place * frame.height))
    palette = sample.quantize(colors, method=Image.Quantize.FASTOCTREE)
    reduced = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    times = [frame_time] * (len(frames) - 1) + [last_frame_time]
    reduced[0].save(
        file, save_all=True, append_images=reduced[1:], duration=times, loop=0, optimize=True
    )


def save_picture(picture: Image.Image, file: Path, colors: int = 255) -> None:
    """Write a PNG file with a palette, which is a third as large as one without."""
    reduced = picture.quantize(
        colors, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.FLOYDSTEINBERG
    )
    reduced.save(file, optimize=True)
