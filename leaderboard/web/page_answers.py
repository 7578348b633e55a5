"""Answers requests for pages; the application's last resort, for all that is no API."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from leaderboard.web.page_cache import CachedPage, PageCache

LONGEST_PATH = 300


class PageAnswers:
    """ASGI application: the pages of a cache.

    Args:
        cache: of the pages.
    """

    def __init__(self, cache: PageCache) -> None:
        self._cache = cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            await (await self._answer(scope))(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        if scope["method"] != "GET":
            return JSONResponse({"detail": "pages are read only"}, 405, {"Allow": "GET, HEAD"})
        path = scope["path"].removeprefix("/")
        if path.startswith("api/"):
            return JSONResponse({"detail": "there is no such address"}, 404)
        wanted = path + "index.html" if path == "" or path.endswith("/") else path
        found = await self._cache.get(wanted) if len(path) <= LONGEST_PATH else None
        if found is None:
            return PlainTextResponse("there is no such page", 404)
        return page_response(found, Headers(scope=scope))


def page_response(page: CachedPage, asked: Headers) -> Response:
    """Return a page as a client can take it: unchanged, compressed or plain."""
    headers = {"ETag": page.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if _has(asked.get("if-none-match", ""), page.etag):
        return Response(status_code=304, headers=headers)
    if page.packed is not None and _takes_gzip(asked.get("accept-encoding", "")):
        headers["Content-Encoding"] = "gzip"
        return Response(page.packed, media_type=page.media_type, headers=headers)
    return Response(page.content, media_type=page.media_type, headers=headers)


def _has(tags: str, etag: str) -> bool:
    """Return whether a list of entity tags has this one; proxies that compress mark theirs W/."""
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in tags.split(","))


def _takes_gzip(accepted: str) -> bool:
    for entry in accepted.split(","):
        name, _, weight = entry.partition(";")
        if name.strip().lower() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
