"""Frames of any kind and size as pictures of one size, with room for a banner above."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

SMALLEST_WIDTH = 400  # [px] for the letters of the banner; smaller frames are enlarged
LARGEST_HEIGHT = 720  # [px] up to which small frames are enlarged
PAPER = (250, 250, 248)


def picture_of(frame: Any) -> np.ndarray:
    """Return what `render()` gave as (height, width, 3) uint8.

    Args:
        frame: of whole numbers, gray or with 1, 3 or 4 channels (alpha is drawn on paper); one
            frame, or a list of them, of which the last counts.

    Raises:
        ValueError: if it is something else.
    """
    if isinstance(frame, list | tuple) and len(frame):
        frame = frame[-1]
    pixels = np.asarray(frame)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    channels = pixels.shape[2] if pixels.ndim == 3 else 0
    if pixels.dtype != np.uint8 or channels not in (1, 3, 4) or not pixels.size:
        raise ValueError(
            f"render() of the environment returned {type(frame).__name__} of shape {pixels.shape} "
            f"and type {pixels.dtype}; a frame is an array (height, width, 3) of uint8"
        )
    if channels == 1:
        return np.repeat(pixels, 3, axis=2)
    if channels == 4:
        share = pixels[:, :, 3:] / 255.0
        blend = share * pixels[:, :, :3] + (1.0 - share) * np.array(PAPER)
        return np.round(blend).astype(np.uint8)
    return pixels


class FrameLayout:
    """Puts frames below a banner, on a canvas whose size the first frame determines.

    Small frames are enlarged by a whole number. Frames of another size are fitted in. Width and
    height of the canvas are even, as H.264 requires.

    Args:
        first: the first frame, (height, width, 3).
    """

    def __init__(self, first: np.ndarray) -> None:
        height, width = first.shape[:2]
        wanted = -(-SMALLEST_WIDTH // width)
        enlarged = max(1, min(wanted, LARGEST_HEIGHT // height))
        self._size = width * enlarged, height * enlarged  # of the picture
        self.width = _even(max(SMALLEST_WIDTH, self._size[0]))

    def canvas(self, frame: np.ndarray, banner: np.ndarray) -> np.ndarray:
        """Return a banner, (h, width, 3), with a frame below it, as one (height, width, 3)."""
        top = len(banner)
        whole = np.full((_even(top + self._size[1]), self.width, 3), PAPER, dtype=np.uint8)
        whole[:top] = banner
        picture = self._fitted(frame)
        height, width = picture.shape[:2]
        row, column = top + (self._size[1] - height) // 2, (self.width - width) // 2
        whole[row : row + height, column : column + width] = picture
        return whole

    def _fitted(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        if (width, height) == self._size:
            return frame
        factor = min(self._size[0] / width, self._size[1] / height)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        whole = factor.is_integer()
        how = Image.Resampling.NEAREST if whole else Image.Resampling.BILINEAR
        return np.asarray(Image.fromarray(frame).resize(size, how))


def _even(number: int) -> int:
    return number + number % 2
