"""The web application: the API and the pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from leaderboard.store.audit import revision
from leaderboard.store.database import Database
from leaderboard.store.request_limits import DEFAULT_LIMITS, Limits, TooManyRequests
from leaderboard.store.seasons import SeasonError
from leaderboard.store.submission_store import DAY, QuotaExceeded, State
from leaderboard.store.tables import submission
from leaderboard.submissions.metadata import MetadataRefused
from leaderboard.submissions.submission import SubmissionRefused
from leaderboard.web.answer_headers import SECURITY_HEADERS, AnswerHeaders
from leaderboard.web.api import Service, router
from leaderboard.web.body_limit import BodyLimit
from leaderboard.web.page_answers import PageAnswers
from leaderboard.web.page_cache import Changes, PageCache
from leaderboard.web.page_paths import submission_path
from leaderboard.web.pages import render
from leaderboard.web.store_source import StoreSource


def create_app(database: Database, url: str = "", limits: Limits = DEFAULT_LIMITS) -> FastAPI:
    """Return the application on a store.

    Args:
        database: the store.
        url: the service's public address, shown on the page that tells how to submit.
        limits: on requests.
    """
    source = StoreSource(database, url)
    cache = PageCache(lambda path: render(path, source), lambda: changes_in(database))
    app = FastAPI(title="safe-envs leaderboard", version="1", docs_url=None, redoc_url=None)
    app.state.service = Service(database, source, limits)
    app.include_router(router)
    _add_refusals(app)

    @app.get("/health", include_in_schema=False)
    def health() -> dict[str, Any]:
        """Return how far the store has come."""
        return {"status": "ok", "revision": source.revision()}

    @app.get("/compare", include_in_schema=False)
    async def compare(a: int, b: int) -> Response:
        """Lead to the page of two submissions."""
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


def _add_refusals(app: FastAPI) -> None:
    """Turn refusals into answers that say why."""

    def refuse(status: int) -> Callable[[Request, Exception], JSONResponse]:
        return lambda request, error: JSONResponse({"detail": str(error)}, status)

    def too_many(request: Request, error: Exception) -> JSONResponse:
        seconds = error.seconds if isinstance(error, TooManyRequests) else int(DAY)
        return JSONResponse({"detail": str(error)}, 429, {"Retry-After": str(seconds)})

    def failed(request: Request, error: Exception) -> JSONResponse:
        """Answer beyond all middleware, before the error is reported."""
        return JSONResponse({"detail": "the server failed"}, 500, SECURITY_HEADERS)

    for refusal in (SubmissionRefused, MetadataRefused):
        app.add_exception_handler(refusal, refuse(422))
    app.add_exception_handler(SeasonError, refuse(409))
    for excess in (TooManyRequests, QuotaExceeded):
        app.add_exception_handler(excess, too_many)
    app.add_exception_handler(Exception, failed)
