"""The web application: the API and the pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from leaderboard.api import Service, router
from leaderboard.body_limit import BodyLimit
from leaderboard.database import Database
from leaderboard.metadata import MetadataRefused
from leaderboard.page_cache import CachedPage, PageCache
from leaderboard.pages import CONTENT_SECURITY_POLICY, render
from leaderboard.request_limits import TooManyRequests
from leaderboard.seasons import SeasonError
from leaderboard.store_source import StoreSource
from leaderboard.submission import LARGEST_SUBMISSION, SubmissionRefused
from leaderboard.submission_store import DAY, QuotaExceeded

LONGEST_PATH = 300
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(database: Database, url: str = "") -> FastAPI:
    """Return the application on a store.

    Args:
        database: the store.
        url: the service's public address, shown on the page that tells how to submit.
    """
    source = StoreSource(database, url)
    cache = PageCache(lambda path: render(path, source), source.revision)
    app = FastAPI(title="safe-envs leaderboard", version="1", docs_url=None, redoc_url=None)
    app.state.service = Service(database, source)
    app.include_router(router)
    _add_refusals(app)

    @app.get("/health", include_in_schema=False)
    def health() -> dict[str, Any]:
        """Return how far the store has come."""
        return {"status": "ok", "revision": source.revision()}

    @app.get("/compare", include_in_schema=False)
    def compare(a: int, b: int) -> Response:
        """Lead to the page of two submissions."""
        return RedirectResponse(f"compare/{a}-{b}.html", 303)

    @app.api_route("/{path:path}", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(path: str, request: Request) -> Response:
        """Return a page."""
        if path.startswith("api/") or len(path) > LONGEST_PATH:
            return JSONResponse({"detail": "there is no such address"}, 404)
        wanted = path + "index.html" if path == "" or path.endswith("/") else path
        found = cache.fresh(wanted) or await run_in_threadpool(cache.get, wanted)
        if found is None:
            return PlainTextResponse("there is no such page", 404)
        return _page_response(found, request)

    app.middleware("http")(_add_headers)
    app.add_middleware(BodyLimit, largest=LARGEST_SUBMISSION)  # outermost
    return app


def _page_response(page: CachedPage, request: Request) -> Response:
    headers = {"ETag": page.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == page.etag:
        return Response(status_code=304, headers=headers)
    if page.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(page.packed, media_type=page.media_type, headers=headers)
    return Response(page.content, media_type=page.media_type, headers=headers)


async def _add_headers(
    request: Request, proceed: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await proceed(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _add_refusals(app: FastAPI) -> None:
    """Turn refusals into answers that say why."""

    def refuse(status: int) -> Callable[[Request, Exception], JSONResponse]:
        return lambda request, error: JSONResponse({"detail": str(error)}, status)

    def too_many(request: Request, error: Exception) -> JSONResponse:
        seconds = error.seconds if isinstance(error, TooManyRequests) else int(DAY)
        return JSONResponse({"detail": str(error)}, 429, {"Retry-After": str(seconds)})

    for refusal in (SubmissionRefused, MetadataRefused):
        app.add_exception_handler(refusal, refuse(422))
    app.add_exception_handler(SeasonError, refuse(409))
    for excess in (TooManyRequests, QuotaExceeded):
        app.add_exception_handler(excess, too_many)
