"""Words in frames: what is the goal, what is dangerous, and what the axes mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from safe_envs.rendering.frames import INK, load_pygame

SIZE = 18  # [pixels], of letters with their line
_FONTS: dict[int, Any] = {}  # by size; loading one takes milliseconds
GOAL_WORDS = (46, 98, 18)  # the color of goals, dark enough for letters on a light background

Anchor = Literal["center", "midtop", "midbottom", "midleft", "midright", "topleft"]


def write(
    surface: Any,
    text: str,
    place: Sequence[float],
    color: tuple[int, int, int] = INK,
    anchor: Anchor = "center",
    size: int = SIZE,
    upward: bool = False,
    background: tuple[int, int, int] | None = None,
) -> None:
    """Draw a line of text.

    Args:
        surface: pygame's, to draw on.
        text: the line.
        place: where its anchor is [pixels].
        color: of the letters.
        anchor: the point of the text that is at the place, as pygame names it.
        size: of the letters [pixels].
        upward: whether the text runs from the bottom to the top, as along a vertical axis.
        background: what is drawn behind the letters; None leaves what is there.
    """
    pygame = load_pygame()
    drawn = _font(size).render(text, True, color, background)
    if upward:
        drawn = pygame.transform.rotate(drawn, 90.0)
    box = drawn.get_rect(**{anchor: (round(place[0]), round(place[1]))})
    surface.blit(drawn, box)


def _font(size: int) -> Any:
    """Return pygame's own font, which is the same on every machine."""
    pygame = load_pygame()
    try:
        _FONTS[size].get_height()
    except (KeyError, pygame.error):  # none yet, or `pygame.quit()` has taken it away
        pygame.font.init()
        _FONTS[size] = pygame.font.Font(None, size)
    return _FONTS[size]
