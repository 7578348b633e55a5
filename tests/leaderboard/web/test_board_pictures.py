"""The pictures of the boards are the frames in those of the documentation, small."""

import io

import numpy as np
import pytest
from board_pictures import LARGEST, board_picture, drawn_frame
from PIL import Image

from leaderboard.boards.board import boards
from leaderboard.web.pages import STATIC, picture_of, render
from tests.leaderboard.page_examples import ExampleSource


def pixels(picture, size=(96, 96)):
    return np.asarray(picture.convert("RGB").resize(size), dtype=float)


@pytest.mark.parametrize("board", boards().values(), ids=lambda board: board.slug)
def test_every_board_has_a_current_picture(board):
    page = render(picture_of(board), ExampleSource())
    assert page.media_type == "image/webp"
    assert len(page.content) <= LARGEST
    shown, drawn = Image.open(io.BytesIO(page.content)), drawn_frame(board.env)
    difference = np.abs(pixels(shown) - pixels(drawn)).mean()
    assert difference < 6, "run `python docs/board_pictures.py`"


@pytest.mark.parametrize("board", boards().values(), ids=lambda board: board.slug)
def test_the_words_around_a_frame_are_left_out(board):
    """They could not be read in a picture of two centimeters."""
    frame = drawn_frame(board.env)
    assert abs(frame.width - frame.height) < 0.1 * frame.width


def test_pictures_of_boards_that_are_gone_are_removed():
    names = {path.stem for path in (STATIC / "tasks").iterdir()}
    assert names == {board.slug for board in boards().values()}


def test_a_picture_that_stays_large_is_refused():
    noise = np.random.default_rng(0).integers(0, 255, (480, 480, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="noise.png has more than 60000 bytes as WebP; draw a"):
        board_picture(Image.fromarray(noise), "noise.png")
