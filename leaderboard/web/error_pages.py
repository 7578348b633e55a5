"""Answers to requests that failed: a page for browsers, JSON for the API, a line for others."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.encoders import jsonable_encoder
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import Scope

from leaderboard.web.pages import render_error

LONGEST_PATH = 300  # of a page
JSON_PATHS = ("/api/", "/health", "/openapi.json")
TITLES = {
    404: "There is no such page",
    405: "This page can only be read",
    408: "The request took too long",
    413: "The request is too large",
    429: "Too many requests",
    500: "The server failed",
    503: "The leaderboard cannot do this at the moment",
}


def error_page(status: int, title: str, text: str, path: str = "") -> str:
    """Return a page of the site that says what went wrong with a request.

    Args:
        status: of HTTP.
        title: a few words.
        text: the reason, and what the visitor can do.
        path: of the request, relative to the top of the site, for the page's links.
    """
    return render_error(status, title, text, path)


def error_answer(
    scope: Scope, status: int, detail: Any, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer to a request that failed, in the form that its sender reads.

    Args:
        scope: of the request.
        status: of HTTP.
        detail: the reason: a text, or JSON data for the API.
        headers: further ones.
    """
    if status < 200 or status in (204, 304):
        return Response(status_code=status, headers=headers)
    path = scope["path"]
    if path.startswith(JSON_PATHS) or not isinstance(detail, str):
        return JSONResponse({"detail": jsonable_encoder(detail)}, status, headers)
    if "text/html" not in Headers(scope=scope).get("accept", "").lower():
        return PlainTextResponse(detail, status, headers)
    title = TITLES.get(status) or HTTPStatus(status).phrase
    sentence = detail[:1].upper() + detail[1:].rstrip(".") + "."
    return HTMLResponse(error_page(status, title, sentence, _below_top(scope)), status, headers)


def _below_top(scope: Scope) -> str:
    """Return a request's path as its sender wrote it; its slashes lead back to the top."""
    written = bytes(scope.get("raw_path") or scope["path"].encode()).partition(b"?")[0]
    return written.decode("ascii", "replace")[1 : LONGEST_PATH + 1]
