"""Keys for `gymnasium.utils.play`: which action each of them selects."""

from __future__ import annotations

import string

Keys = dict[tuple[int, ...], int]  # key codes pressed together -> action

# pygame's codes of the arrow keys, which are SDL's, so that pygame need not be imported.
ARROWS = {"right": 0x4000004F, "left": 0x40000050, "down": 0x40000051, "up": 0x40000052}
LETTERS = {"right": "d", "left": "a", "down": "s", "up": "w"}


def direction_keys(**actions: int) -> Keys:
    """Return the arrow keys and w, a, s, d for the actions named up, left, down and right."""
    arrows: Keys = {(ARROWS[direction],): action for direction, action in actions.items()}
    letters: Keys = {(ord(LETTERS[direction]),): action for direction, action in actions.items()}
    return arrows | letters


def numbered_keys(actions: int) -> Keys:
    """Return the keys 0 to 9, then a to z, for actions by number; further actions have no key."""
    symbols = string.digits + string.ascii_lowercase
    return {(ord(symbol),): action for action, symbol in enumerate(symbols[:actions])}
