"""Ctrl-C and SIGTERM during a training: it saves first, then stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal ended the work; what can be continued has been saved.

    It is no Exception, so that nobody takes it for a failure.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The exit code that shells expect: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.number


class Interruption:
    """Tells whether a signal asked to stop; outside of `deferred`, it stops at once."""

    def __init__(self) -> None:
        self.requested: int | None = None
        self._deferred = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a first signal is only noted; whoever looks at `requested` calls `stop`."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def stop(self) -> None:
        """Raise Interrupted if a signal has asked for it."""
        if self.requested is not None:
            raise Interrupted(self.requested)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.requested = self.requested is not None, number
        if again or not self._deferred:
            raise Interrupted(number)


@contextmanager
def watched_signals() -> Iterator[Interruption]:
    """Yield what tells of Ctrl-C and SIGTERM inside; a second signal stops at once.

    A signal that the process ignores stays ignored. Only the main thread can watch signals; in
    others, nothing is ever requested.
    """
    watch = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield watch
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, watch._handle)
    try:
        yield watch
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
