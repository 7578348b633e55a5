"""Refuses request bodies that are too large, too slow or compressed, while they arrive."""

from __future__ import annotations

import asyncio
import json
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_SECONDS = 60.0  # for a whole body to arrive


class BodyRefused(Exception):
    """The body is refused; status is HTTP's."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class BodyLimit:
    """ASGI middleware: counts what arrives, whatever the Content-Length says.

    Args:
        app: what it stands before.
        largest: body [bytes].
        seconds: for a whole body to arrive.
    """

    def __init__(self, app: ASGIApp, largest: int, seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._largest = largest
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with a body that breaks off when it is refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            self._check_headers(dict(scope["headers"]))
            await self._app(scope, self._counted(receive), watched_send)
        except BodyRefused as refusal:
            if started:
                raise
            await _refuse(send, refusal)

    def _check_headers(self, headers: dict[bytes, bytes]) -> None:
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise BodyRefused(415, "compressed bodies are not taken; send it as it is")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 15 or int(length) > self._largest:
            raise BodyRefused(413, self._too_large())

    def _too_large(self) -> str:
        return f"the body is larger than {self._largest:,} bytes, which are allowed"

    def _counted(self, receive: Receive) -> Receive:
        received = 0
        last_moment = time.monotonic() + self._seconds
        complete = False

        async def counted() -> Message:
            nonlocal received, complete
            if complete:  # now it waits for the client to hang up, as long as it likes
                return await receive()
            try:
                left = max(0.0, last_moment - time.monotonic())
                message = await asyncio.wait_for(receive(), left)
            except asyncio.TimeoutError:
                raise BodyRefused(408, f"the body took longer than {self._seconds:g} s") from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self._largest:
                raise BodyRefused(413, self._too_large())
            return message

        return counted


async def _refuse(send: Send, refusal: BodyRefused) -> None:
    body = json.dumps({"detail": str(refusal)}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
