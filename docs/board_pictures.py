"""Writes the pictures of the boards' pages from docs/images: `python docs/board_pictures.py`.

A picture of a board is its environment's picture at most `WIDEST` pixels wide, as WebP of at most
`LARGEST` bytes, in leaderboard/web/static/tasks. `make docs` writes them too.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from PIL import Image

from baselines.names.environments import EnvironmentName
from leaderboard.boards.board import boards
from leaderboard.web.pages import STATIC

IMAGES = Path(__file__).resolve().parent / "images"
PICTURES = STATIC / "tasks"
WIDEST = 480  # [px]; pages show at most half of it
LARGEST = 60_000  # [bytes]


def drawn_picture(env: str) -> Path:
    """Return the picture of an environment's page in the documentation."""
    name = env.removeprefix("Safe/").split("-v")[0]
    return IMAGES / f"{re.sub(r'(?<=[a-z])(?=[A-Z])', '_', name).lower()}.png"


def board_picture(path: Path) -> bytes:
    """Return a picture as WebP, in the best quality that is small enough.

    Raises:
        ValueError: if it is too large even in low quality.
    """
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((WIDEST, 2 * WIDEST), Image.Resampling.LANCZOS)
    for quality in (85, 75, 60, 45):
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=quality, method=6)
        if file.tell() <= LARGEST:
            return file.getvalue()
    raise ValueError(f"{path} has more than {LARGEST} bytes as WebP; draw a simpler picture")


def write_board_pictures() -> list[Path]:
    """Write the picture of every board that has one in the documentation; return the files."""
    PICTURES.mkdir(exist_ok=True)
    written = []
    for env in boards():
        source = drawn_picture(env)
        if source.exists():
            path = PICTURES / f"{EnvironmentName(env).slug}.webp"
            path.write_bytes(board_picture(source))
            written.append(path)
    return written


if __name__ == "__main__":
    for file in write_board_pictures():
        print(file)
