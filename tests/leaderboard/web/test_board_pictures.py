"""The pictures of the boards are those of the documentation, small."""

import io

import numpy as np
import pytest
from board_pictures import LARGEST, board_picture, drawn_picture
from PIL import Image

from leaderboard.boards.board import boards
from leaderboard.web.pages import STATIC, picture_of, render
from tests.leaderboard.page_examples import ExampleSource


def pixels(content, size=(96, 96)):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB").resize(size), dtype=float)


@pytest.mark.parametrize("board", boards().values(), ids=lambda board: board.slug)
def test_every_board_has_a_current_picture(board):
    page = render(picture_of(board), ExampleSource())
    assert page.media_type == "image/webp"
    assert len(page.content) <= LARGEST
    drawn = pixels(drawn_picture(board.env).read_bytes())
    difference = np.abs(pixels(page.content) - drawn).mean()
    assert difference < 6, "run `python docs/board_pictures.py`"


def test_pictures_of_boards_that_are_gone_are_removed():
    names = {path.stem for path in (STATIC / "tasks").iterdir()}
    assert names == {board.slug for board in boards().values()}


def test_a_picture_that_stays_large_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (480, 480, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    with pytest.raises(ValueError, match="noise.png has more than 60000 bytes as WebP; draw a"):
        board_picture(tmp_path / "noise.png")
