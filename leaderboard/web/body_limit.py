"""Refuses request bodies that are too large, too slow or compressed, while they arrive."""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leaderboard.web.error_pages import error_answer

log = logging.getLogger(__name__)
LINGER_SECONDS = 2.0  # how long the rest of a refused body is read and discarded


class BodyRefused(Exception):
    """The body is refused; `status` is the HTTP status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class BodyLimit:
    """ASGI middleware: counts the bytes that arrive, whatever the Content-Length says.

    An answer that is sent before the body has arrived ends the connection. The rest of the body is
    then read for a moment; otherwise a client that is still sending would see a broken connection
    instead of the answer.

    Args:
        app: that receives the accepted requests.
        largest: body [bytes].
        seconds: for a whole body to arrive.
    """

    def __init__(self, app: ASGIApp, largest: int, seconds: float) -> None:
        self._app = app
        self._largest = largest
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; its body raises `BodyRefused` when it breaks a limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if not {b"content-length", b"transfer-encoding"} & headers.keys():
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._largest, self._seconds)
        answer = _Answer(send, body, waits=b"expect" in headers)
        try:
            self._check_headers(headers)
            await self._app(scope, body.receive, answer.send)
        except BodyRefused as refusal:
            if answer.started:  # too late for another one; the server ends the connection
                log.warning("after the answer had begun: %s", refusal)
                return
            reply = error_answer(scope, refusal.status, str(refusal))
            await reply(scope, body.receive, answer.send)

    def _check_headers(self, headers: dict[bytes, bytes]) -> None:
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise BodyRefused(415, "compressed bodies are not accepted; send it uncompressed")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 15 or int(length) > self._largest:
            raise BodyRefused(413, _too_large(self._largest))


class _Body:
    """A request's body as it arrives."""

    def __init__(self, receive: Receive, largest: int, seconds: float) -> None:
        self._receive = receive
        self._largest = largest
        self._seconds = seconds
        self._last_moment = time.monotonic() + seconds
        self._received = 0
        self.complete = False

    async def receive(self) -> Message:
        if self.complete:  # now the application waits for the client to hang up, without a limit
            return await self._receive()
        try:
            message = await self._next(self._last_moment)
        except asyncio.TimeoutError:
            raise BodyRefused(408, f"the body took longer than {self._seconds:g} s") from None
        if self._received > self._largest:
            raise BodyRefused(413, _too_large(self._largest))
        return message

    async def throw_away(self) -> None:
        """Read the rest, up to twice the allowed size."""
        last_moment = time.monotonic() + LINGER_SECONDS
        try:
            while not self.complete and self._received <= 2 * self._largest:
                await self._next(last_moment)
        except asyncio.TimeoutError:
            pass

    async def _next(self, last_moment: float) -> Message:
        left = max(0.0, last_moment - time.monotonic())
        message = await asyncio.wait_for(self._receive(), left)
        self._received += len(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        return message


class _Answer:
    """The answer; ends the connection if the body has not arrived."""

    def __init__(self, send: Send, body: _Body, waits: bool) -> None:
        self._send = send
        self._body = body
        self._waits = waits  # the client sends its body only when told to
        self._closes = False
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._closes = not self._body.complete
            if self._closes:
                headers = [*message.get("headers", ()), (b"connection", b"close")]
                message = {**message, "headers": headers}
        elif self._closes and not self._waits and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._body.throw_away()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)


def _too_large(largest: int) -> str:
    return f"the body is larger than the allowed {largest:,} bytes"
