"""The web application: the API, the pages, and the headers of every answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exception_handlers import request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leaderboard.store.audit import revision
from leaderboard.store.database import Database
from leaderboard.store.request_limits import (
    DEFAULT_LIMITS,
    Limits,
    RequestCounter,
    TooManyRequests,
)
from leaderboard.store.seasons import SeasonError
from leaderboard.store.store_errors import RETRY_SECONDS, StoreRefused, StoreUnavailable
from leaderboard.store.submission_store import DAY, QuotaExceeded, State
from leaderboard.store.tables import submission
from leaderboard.submissions.metadata import MetadataRefused
from leaderboard.submissions.submission import SubmissionRefused
from leaderboard.web.api import Service, router
from leaderboard.web.body_limit import BodyLimit
from leaderboard.web.error_pages import JSON_PATHS, LONGEST_PATH, error_answer
from leaderboard.web.page_cache import CachedPage, Changes, PageCache
from leaderboard.web.page_paths import submission_path
from leaderboard.web.pages import CONTENT_SECURITY_POLICY, render
from leaderboard.web.store_source import StoreSource
from leaderboard.web.store_writes import StoreWrites

log = logging.getLogger(__name__)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_RAW = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


def create_app(database: Database, url: str = "", limits: Limits = DEFAULT_LIMITS) -> FastAPI:
    """Return the application on a store.

    Args:
        database: the store.
        url: the service's public address, shown on the page on how to submit.
        limits: on requests.
    """
    source = StoreSource(database, url)
    cache = PageCache(lambda path: render(path, source), lambda: changes_in(database))
    app = FastAPI(title="safe-envs leaderboard", version="1", docs_url=None, redoc_url=None)
    app.state.service = Service(
        database,
        source,
        limits,
        StoreWrites(database.busy_seconds),
        RequestCounter("reads", limits.reads),
        RequestCounter("wrong tokens", limits.wrong_tokens),
    )
    app.include_router(router)
    _add_refusals(app)

    @app.get("/health", include_in_schema=False)
    def health() -> dict[str, Any]:
        """Return the store's revision."""
        return {"status": "ok", "revision": source.revision()}

    @app.get("/compare", include_in_schema=False)
    async def compare(a: int, b: int) -> Response:
        """Redirect to the page that compares two submissions."""
        return RedirectResponse(f"compare/{a}-{b}.html", 303)

    app.router.redirect_slashes = False
    app.router.default = PageAnswers(cache)
    app.add_middleware(BodyLimit, largest=limits.largest_body, seconds=limits.body_seconds)
    app.add_middleware(AnswerHeaders)  # outermost
    return app


def changes_in(database: Database) -> Changes:
    """Return the store's revision and the pages of submissions that are being evaluated."""
    query = sa.select(submission.c.id).where(submission.c.state == State.RUNNING.value)
    with database.reading() as connection:
        running = connection.execute(query).scalars()
        return Changes(revision(connection), frozenset(map(submission_path, running)))


Answer = Callable[[Request, Exception], Response]


def _add_refusals(app: FastAPI) -> None:
    """Turn refusals and failures into answers that give the reason."""

    def refuse(status: int) -> Answer:
        return lambda request, error: error_answer(request.scope, status, str(error))

    for refusal in (SubmissionRefused, MetadataRefused):
        app.add_exception_handler(refusal, refuse(422))
    app.add_exception_handler(SeasonError, refuse(409))
    for excess in (TooManyRequests, QuotaExceeded):
        app.add_exception_handler(excess, _too_many)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _wrong_arguments)
    app.add_exception_handler(ClientDisconnect, _broken_off)
    for missing in (StoreUnavailable, sa.exc.TimeoutError):
        app.add_exception_handler(missing, _unavailable)
    app.add_exception_handler(StoreRefused, _store_refused)
    app.add_exception_handler(Exception, _failed)


def _too_many(request: Request, error: Exception) -> Response:
    seconds = error.seconds if isinstance(error, TooManyRequests) else int(DAY)
    return error_answer(request.scope, 429, str(error), {"Retry-After": str(seconds)})


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return error_answer(request.scope, error.status_code, error.detail, error.headers)


async def _wrong_arguments(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if request.scope["path"].startswith(JSON_PATHS):
        return await request_validation_exception_handler(request, error)
    return error_answer(request.scope, 422, "the address has a wrong number, or one is missing")


def _broken_off(request: Request, error: Exception) -> Response:
    """Note that the client went away while it was sending; nobody receives the answer."""
    log.warning("a client broke off its %s request", request.method)
    return Response(status_code=400)


def _unavailable(request: Request, error: Exception) -> Response:
    log.warning("503: %s", error)
    told = (
        "the leaderboard's store is not available at the moment; nothing was changed; "
        f"try again in {RETRY_SECONDS} s"
    )
    return error_answer(request.scope, 503, told, {"Retry-After": str(RETRY_SECONDS)})


def _store_refused(request: Request, error: Exception) -> Response:
    log.error("500: %s", error)
    return error_answer(request.scope, 500, "the leaderboard's store has to be repaired")


def _failed(request: Request, error: Exception) -> Response:
    """Answer outside all middleware, before the error is reported."""
    return error_answer(request.scope, 500, "the server failed", SECURITY_HEADERS)


class AnswerHeaders:
    """ASGI middleware: adds the security headers, and answers HEAD as GET without the body.

    Args:
        app: that answers the requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_RAW]}
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"} if is_head else scope, receive, marked)


class PageAnswers:
    """ASGI application: answers requests for pages, and all others that nothing else answers.

    Args:
        cache: of pages.
    """

    def __init__(self, cache: PageCache) -> None:
        self._cache = cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            await (await self._answer(scope))(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        path = scope["path"].removeprefix("/")
        if scope["method"] != "GET":
            return error_answer(scope, 405, "pages are read only", {"Allow": "GET, HEAD"})
        if path.startswith("api/"):
            return error_answer(scope, 404, "there is no such address")
        wanted = path + "index.html" if path == "" or path.endswith("/") else path
        found = await self._cache.get(wanted) if len(path) <= LONGEST_PATH else None
        if found is None:
            return error_answer(scope, 404, "there is no such page")
        return page_response(found, Headers(scope=scope))


def page_response(page: CachedPage, asked: Headers) -> Response:
    """Return a page as the client accepts it: not modified, compressed or plain."""
    headers = {"ETag": page.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if _has(asked.get("if-none-match", ""), page.etag):
        return Response(status_code=304, headers=headers)
    if page.packed is not None and _takes_gzip(asked.get("accept-encoding", "")):
        headers["Content-Encoding"] = "gzip"
        return Response(page.packed, media_type=page.media_type, headers=headers)
    return Response(page.content, media_type=page.media_type, headers=headers)


def _has(tags: str, etag: str) -> bool:
    """Return whether a list of entity tags has this one; compressing proxies add W/ to it."""
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in tags.split(","))


def _takes_gzip(accepted: str) -> bool:
    for entry in accepted.split(","):
        name, _, weight = entry.partition(";")
        if name.strip().lower() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
