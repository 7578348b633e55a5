"""Ends connections whose request does not arrive; uvicorn itself waits forever."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0  # for a request's first line and headers to arrive


class TimedProtocol(H11Protocol):
    """HTTP/1.1 with a limit on the time from a request's first byte to the end of its headers.

    For the first request the time starts with the connection. Between requests uvicorn's keep-alive
    timeout applies, and while a body arrives `BodyLimit`.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer."""
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        """Process bytes; stop the timer at the end of the headers."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._timer is None:
            self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop()
        super().connection_lost(exc)

    def _start(self) -> None:
        self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
