"""Words in frames stay in their places, also after `pygame.quit()`."""

import numpy as np
import pytest

pygame = pytest.importorskip("pygame")

from safe_envs.rendering.frames import BACKGROUND, frame_of  # noqa: E402
from safe_envs.rendering.lettering import write  # noqa: E402
from safe_envs.tabular.grid_drawing import CELL, EDGE, GridPicture  # noqa: E402


def letters(**options):
    """Return the box (left, top, right, bottom) of what is written at the middle of a frame."""
    surface = pygame.Surface((200, 200))
    surface.fill(BACKGROUND)
    write(surface, "column", (100, 100), **options)
    rows, columns = np.nonzero((frame_of(surface) != BACKGROUND).any(axis=2))
    return columns.min(), rows.min(), columns.max(), rows.max()


def test_anchors_place_the_text():
    left, top, right, bottom = letters()
    assert (left + right) / 2 == pytest.approx(100, abs=2)
    assert (top + bottom) / 2 == pytest.approx(100, abs=2)
    assert letters(anchor="midleft")[0] in range(100, 103)
    assert letters(anchor="midright")[2] in range(97, 101)
    left, top, right, bottom = letters(upward=True)
    assert bottom - top > 2 * (right - left)


def test_letters_are_the_same_after_pygame_quit():
    before = letters()
    pygame.quit()
    assert letters() == before
    pygame.font.quit()
    assert letters() == before


def test_names_stay_within_their_cells():
    plain, named = (
        GridPicture(3, 2, ((1, 0),), ((1, 1),), (None,), *names).draw(0)
        for names in (("", ""), ("hazard", "treasure"))
    )
    columns = np.nonzero((plain != named).any(axis=(0, 2)))[0]
    assert columns.min() > EDGE + CELL
    assert columns.max() < EDGE + 2 * CELL - 1
