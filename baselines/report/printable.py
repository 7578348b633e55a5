"""Text without control characters: that of a run's folder may come from someone else.

A terminal obeys escape sequences in what is printed, such as other colors or another window title.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.markup import escape
from rich.segment import Segment

UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"
BREAKS = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # C0, C1, and bidirectional
CONTROLS_IN_LINES = re.compile(CONTROLS.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))


def printable(text: object) -> str:
    """Return text on one line, without control characters."""
    return CONTROLS.sub(UNPRINTABLE, BREAKS.sub(" ", str(text)))


def plain(text: object) -> str:
    """Return text that Rich's markup shows as it is, on one line without control characters."""
    return escape(printable(text))


class PrintableOutput(RenderHook):
    """Replaces the control characters in whatever a console prints, except for line ends."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what prints the same without control characters."""
        return [_Printable(renderable) for renderable in renderables]


@dataclass(frozen=True)
class _Printable:
    """What is rendered as another renderable is, without control characters."""

    renderable: ConsoleRenderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.renderable, options):
            if segment.control:  # Rich's own, such as moving the cursor
                yield segment
            else:
                text = CONTROLS_IN_LINES.sub(UNPRINTABLE, segment.text)
                yield Segment(text, segment.style)
