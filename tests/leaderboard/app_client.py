"""Calls an application in the same process, without a network."""

import asyncio
from types import TracebackType
from urllib.parse import unquote

import httpx
from fastapi import FastAPI

from leaderboard.store.request_limits import Limits
from leaderboard.web.service import create_app
from tests.leaderboard.submissions import a_form, a_submission


class AppClient:
    """Sends requests to an application and waits for the answers; redirects are not followed.

    Args:
        app: the application.
        address: the client's, as the application sees it.
        raises: raise errors of the application instead of returning its answer to them.
    """

    def __init__(self, app: FastAPI, address: str = "127.0.0.1", *, raises: bool = True) -> None:
        self.app = app
        transport = httpx.ASGITransport(app, raise_app_exceptions=raises, client=(address, 123))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://board.example")
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> "AppClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def request(self, method: str, path: str, **content) -> httpx.Response:
        return self._loop.run_until_complete(self._client.request(method, path, **content))

    def get(self, path: str, **content) -> httpx.Response:
        return self.request("GET", path, **content)

    def post(self, path: str, **content) -> httpx.Response:
        return self.request("POST", path, **content)

    def get_untidied(self, target: str) -> tuple[int, bytes]:
        """Return status and body of a request with a path that no client has normalized."""
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": unquote(target), "raw_path": target.encode(),
            "root_path": "", "query_string": b"", "headers": [(b"host", b"board.example")],
            "client": ("127.0.0.1", 123), "server": ("board.example", 80),
        }  # fmt: skip
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def keep(message):
            sent.append(message)

        self._loop.run_until_complete(self.app(scope, receive, keep))
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


MANY = Limits(reads=10**6, writes=10**6, wrong_tokens=10**6)


def client_of(store, limits=MANY):
    # A new application has an empty cache, so no old page is returned.
    return AppClient(create_app(store, "https://board.example", limits))


def send(client, header, given=None, **changes):
    given = given or a_submission(**changes)
    return client.post("/api/v1/submissions", files=a_form(given), headers=header)
