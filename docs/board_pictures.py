"""Writes the pictures of the boards' pages from docs/images: `python docs/board_pictures.py`.

A picture of a board is the frame in its environment's picture, without the words around it, at
most `WIDEST` pixels wide, as WebP of at most `LARGEST` bytes, in leaderboard/web/static/tasks.
`make docs` writes them too.
"""

from __future__ import annotations

import io
from pathlib import Path

from environment_films import IMAGES, film_of, page_name
from film_frames import frame_in
from PIL import Image

from baselines.names.environments import EnvironmentName
from leaderboard.boards.board import boards
from leaderboard.web.pages import STATIC

PICTURES = STATIC / "tasks"
WIDEST = 480  # [px]; pages show at most half of it
LARGEST = 60_000  # [bytes]


def drawn_picture(env: str) -> Path:
    """Return the picture of an environment's page in the documentation."""
    return IMAGES / f"{page_name(env)}.png"


def drawn_frame(env: str) -> Image.Image:
    """Return the frame in that picture."""
    return frame_in(Image.open(drawn_picture(env)).convert("RGB"), film_of(env).legend)


def board_picture(drawn: Image.Image, name: str) -> bytes:
    """Return a picture as WebP, in the best quality that is small enough.

    Args:
        drawn: the picture.
        name: for the error.

    Raises:
        ValueError: if it is too large even in low quality.
    """
    picture = drawn.copy()
    picture.thumbnail((WIDEST, 2 * WIDEST), Image.Resampling.LANCZOS)
    for quality in (85, 75, 60, 45):
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=quality, method=6)
        if file.tell() <= LARGEST:
            return file.getvalue()
    raise ValueError(f"{name} has more than {LARGEST} bytes as WebP; draw a simpler picture")


def write_board_pictures() -> list[Path]:
    """Write the picture of every board that has one in the documentation; return the files."""
    PICTURES.mkdir(exist_ok=True)
    written = []
    for env in boards():
        if drawn_picture(env).exists():
            path = PICTURES / f"{EnvironmentName(env).slug}.webp"
            path.write_bytes(board_picture(drawn_frame(env), str(drawn_picture(env))))
            written.append(path)
    return written


if __name__ == "__main__":
    for file in write_board_pictures():
        print(file)
