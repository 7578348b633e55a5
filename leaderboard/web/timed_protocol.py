"""Ends connections whose client says or reads nothing; uvicorn itself waits forever."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from leaderboard.store.store_errors import RETRY_SECONDS
from leaderboard.web.open_connections import OpenConnections

HEADER_SECONDS = 10.0  # for a request's first line and headers to arrive
SEND_SECONDS = 60.0  # for a client to read what was sent to it
_BODY = b"the server has too many connections of yours, or in all; try again"
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Retry-After: %d\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
) % (RETRY_SECONDS, len(_BODY), _BODY)


class TimedProtocol(H11Protocol):
    """HTTP/1.1 with limits on the number of connections and on the time that clients take.

    A request's headers have to arrive in `HEADER_SECONDS` from its first byte; for the first
    request the time starts with the connection. Between requests uvicorn's keep-alive timeout
    applies, and while a body arrives `BodyLimit`. A client that does not read its answer is cut
    off, and one that breaks off a request at any point leaves no traceback.

    Args:
        connections: of the server that this one belongs to.
        server: what uvicorn gives to every connection.
    """

    def __init__(self, connections: OpenConnections, **server: Any) -> None:
        super().__init__(**server)
        self._open = connections
        self._has_place = False
        self._header_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place and start the timer, or refuse the connection."""
        super().connection_made(transport)
        self._has_place = self._open.admit(self, self.client[0] if self.client else "")
        if self._has_place:
            self._start_header_timer()
        else:
            transport.write(_REFUSAL)
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Process bytes; stop the timer at the end of the headers."""
        if not self._has_place:
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_header_timer()
        elif self._header_timer is None:
            self._start_header_timer()
        self._note()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers and give the place back."""
        self._stop_header_timer()
        self._stop_send_timer()
        self._open.remove(self)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._note()
        if self.transport.get_write_buffer_size():
            self._start_send_timer()

    def pause_writing(self) -> None:
        """Give the client a limited time to read."""
        super().pause_writing()
        self._start_send_timer()

    def resume_writing(self) -> None:
        """Stop the time."""
        super().resume_writing()
        self._stop_send_timer()

    def make_room(self) -> None:
        """End the connection, on which no request is being answered."""
        self._has_place = False
        self._start_send_timer()
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, unless an answer has begun: then end the connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the application learns that the client is gone
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _note(self) -> None:
        is_answered = self.cycle is None or self.cycle.response_complete
        self._open.note(self, waits=is_answered and self.conn.their_state is h11.IDLE)

    def _start_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _start_send_timer(self) -> None:
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(SEND_SECONDS, self._cut_off)

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _cut_off(self) -> None:
        self._send_timer = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()


def timed_protocol(connections: OpenConnections) -> partial[TimedProtocol]:
    """Return what makes the protocol of each connection of a server."""
    return partial(TimedProtocol, connections)
