"""The submission API, /api/v1."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from leaderboard.boards.board import MOST_POLICIES
from leaderboard.scores.published import numbers_of, published_to_json
from leaderboard.store.accounts import BASELINES, Identity, Scope, identify
from leaderboard.store.database import Database
from leaderboard.store.request_limits import Limits, RequestCounter, count_request
from leaderboard.store.submission_store import (
    Kept,
    keep_submission,
    stored_submission,
    withdraw,
)
from leaderboard.submissions.metadata import LARGEST_METADATA, parse_metadata
from leaderboard.submissions.submission import (
    LARGEST_CURVES,
    Submission,
    SubmissionRefused,
    check_size,
    check_submission,
    parse_curves,
)
from leaderboard.web.copy_flags import copies_json, near_copies_json
from leaderboard.web.page_data import SubmissionPage
from leaderboard.web.store_source import StoreSource
from leaderboard.web.store_writes import StoreWrites

Number = Annotated[int, Path(ge=1, lt=2**31)]
bearer = HTTPBearer(auto_error=False, description="a token printed by `create-token`")
MULTIPART = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["meta", "policies"],
                "properties": {
                    "meta": {"type": "string", "format": "binary"},
                    "policies": {
                        "type": "array",
                        "items": {"type": "string", "format": "binary"},
                        "minItems": 1,
                        "maxItems": MOST_POLICIES,
                    },
                    "curves": {"type": "string", "format": "binary"},
                },
            }
        }
    },
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"description": "no valid token"},
    403: {"description": "the token does not allow this"},
    429: {
        "description": "too many reads of this address, writes of this account, wrong tokens, or "
        "submissions; see Retry-After"
    },
    503: {"description": "the store takes no changes at present, or is not there; see Retry-After"},
}
READ_PROBLEMS: dict[int | str, dict[str, Any]] = {code: PROBLEMS[code] for code in (429, 503)}


@dataclass(frozen=True)
class Service:
    """What the API works with."""

    database: Database
    source: StoreSource
    limits: Limits
    writes: StoreWrites
    reads: RequestCounter  # by address
    wrong_tokens: RequestCounter  # by address


router = APIRouter(prefix="/api/v1", tags=["leaderboard"])


def service_of(request: Request) -> Service:
    """Return what the application works with, from `app.state.service`."""
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(service_of)]


def address_of(request: Request) -> str:
    """Return the client's address; for IPv6 its /64 network, since one client has all of it."""
    host = request.client.host if request.client else "unknown"
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, 64), strict=False))


async def count_read(request: Request, service: Served) -> None:
    """Apply the limit on reads per minute to an address."""
    service.reads.count(address_of(request))


async def authenticated(
    request: Request,
    service: Served,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Identity:
    """Return whose token the request has.

    An address that sends wrong tokens soon has to wait, which protects the store from a flood of
    them. A valid token is accepted even then and counts against its account: a token of 256 random
    bits cannot be guessed, and no one should be able to lock out others behind the same address.
    """
    found = None
    if given is not None:
        found = await run_in_threadpool(_identified, service.database, given.credentials)
    if found is None:
        service.wrong_tokens.count(address_of(request))
        challenge = {"WWW-Authenticate": "Bearer"}
        raise HTTPException(401, "pass a valid token: Authorization: Bearer TOKEN", challenge)
    account = f"account {found.account_id}"
    await service.writes.run(
        count_request, service.database, "writes", account, service.limits.writes
    )
    return found


def _identified(database: Database, token: str) -> Identity | None:
    with database.reading() as connection:
        return identify(connection, token)


@router.get("/boards", dependencies=[Depends(count_read)], responses=READ_PROBLEMS)
def list_boards(service: Served) -> list[dict[str, Any]]:
    """Return the boards and the numbers that their scores are computed from."""
    return [{**asdict(board), "slug": board.slug} for board in service.source.boards()]


@router.get("/seasons", dependencies=[Depends(count_read)], responses=READ_PROBLEMS)
def list_seasons(service: Served) -> list[dict[str, Any]]:
    """Return the seasons, oldest first, with the secrets of revealed ones."""
    return [asdict(season) for season in service.source.seasons()]


@router.get(
    "/submissions/{number}",
    dependencies=[Depends(count_read)],
    responses={**READ_PROBLEMS, 404: {"description": "there is no such submission"}},
)
def read_submission(number: Number, service: Served) -> dict[str, Any]:
    """Return a submission's state and, once it is scored, its numbers and rank."""
    page = service.source.submission_page(number)
    if page is None:
        raise HTTPException(404, f"there is no submission {number}")
    return submission_json(page)


@router.post(
    "/submissions",
    status_code=202,
    openapi_extra={"requestBody": MULTIPART},
    responses={
        **PROBLEMS,
        400: {"description": "the body is not a multipart form"},
        408: {"description": "the body arrived too slowly"},
        409: {"description": "already submitted, or no season is open"},
        413: {"description": "the body is too large"},
        415: {"description": "the body is compressed or not a multipart form"},
        422: {"description": "refused; detail says why"},
    },
)
async def submit(
    request: Request, service: Served, identity: Annotated[Identity, Depends(authenticated)]
) -> dict[str, Any]:
    """Accept a submission: meta (JSON), policies (ONNX files in order), curves (JSON)."""
    _check_content_type(request.headers.get("content-type", ""))
    try:
        async with request.form(
            max_files=MOST_POLICIES + 2, max_fields=2, max_part_size=LARGEST_METADATA
        ) as form:
            parts = await _parts_of(form)
    except UnicodeError:  # the text of a field, in the declared character set
        raise HTTPException(400, "the form has a name or a text that is not UTF-8") from None
    submission = await run_in_threadpool(_checked_submission, parts)
    has_quota = identity.name != BASELINES
    kept = await service.writes.run(
        keep_submission, service.database, submission, identity.account_id, quota=has_quota
    )
    return _answer(kept)


@router.post(
    "/submissions/{number}/withdraw",
    responses={**PROBLEMS, 404: {"description": "there is no such submission"}},
)
async def withdraw_submission(
    number: Number, service: Served, identity: Annotated[Identity, Depends(authenticated)]
) -> dict[str, Any]:
    """Withdraw your own submission, or as an administrator any submission."""
    found = await run_in_threadpool(stored_submission, service.database, number)
    if found is None:
        raise HTTPException(404, f"there is no submission {number}")
    if identity.scope is not Scope.ADMIN and found.account_id != identity.account_id:
        raise HTTPException(403, f"submission {number} belongs to another account")
    await service.writes.run(withdraw, service.database, number, identity.name)
    return {"id": number, "state": "withdrawn"}


def submission_json(page: SubmissionPage) -> dict[str, Any]:
    """Return the API's JSON for a submission; numbers that are withheld are null."""
    shown, ranked = page.row.submission, page.row.ranked
    numbers = numbers_of(ranked) if ranked else None
    return {
        "id": shown.id,
        "env": page.board.env,
        "board_version": page.board.version,
        "season": page.season.number,
        "state": shown.state.value,
        "reason": shown.reason,
        "episodes_done": shown.episodes_done,
        "episodes_total": shown.episodes_total,
        "metadata": shown.metadata.model_dump(mode="json", exclude={"contact"}),
        "tier": ranked.tier.value if ranked else None,
        "rank": ranked.rank if ranked else None,
        "rank_interval": ranked.rank_interval if ranked else None,
        **copies_json(page.row),
        "near_copies_of": near_copies_json(page.row),
        "statistics": published_to_json(numbers) if numbers else None,
    }


@dataclass(frozen=True)
class _Parts:
    """The parts of a form; file names are ignored."""

    meta: bytes
    policies: tuple[bytes, ...]
    curves: bytes


def _check_content_type(given: str) -> None:
    if given.partition(";")[0].strip().lower() != "multipart/form-data":
        raise HTTPException(415, "send a form, Content-Type: multipart/form-data; boundary=...")


async def _parts_of(form: FormData) -> _Parts:
    unknown = sorted(set(form) - {"meta", "policies", "curves"})
    if unknown:
        raise SubmissionRefused(
            f"the form has parts {json.dumps(unknown[:5])[:200]}; allowed: meta, policies, curves"
        )
    meta = await _only_part(form, "meta", LARGEST_METADATA)
    policies = []
    for part in form.getlist("policies"):
        content = await _content(part)
        check_size(len(content))
        policies.append(content)
    curves = await _only_part(form, "curves", LARGEST_CURVES) if "curves" in form else b"[]"
    return _Parts(meta, tuple(policies), curves)


def _checked_submission(parts: _Parts) -> Submission:
    metadata = parse_metadata(parts.meta)
    submission = Submission(metadata, parts.policies, parse_curves(parts.curves))
    check_submission(submission)
    return submission


async def _only_part(form: FormData, name: str, largest: int) -> bytes:
    parts = form.getlist(name)
    if len(parts) != 1:
        raise SubmissionRefused(f"the form has {len(parts)} parts named {name!r}; send one")
    content = await _content(parts[0])
    if len(content) > largest:
        raise SubmissionRefused(f"{name} has {len(content):,} bytes; the limit is {largest:,}")
    return content


async def _content(part: UploadFile | str) -> bytes:
    return part.encode() if isinstance(part, str) else await part.read()


def _answer(kept: Kept) -> dict[str, Any]:
    status = f"/api/v1/submissions/{kept.id}"
    page = f"/submissions/{kept.id}.html"
    if not kept.is_new:
        raise HTTPException(
            409,
            {"message": f"already submitted as {kept.id}", "id": kept.id, "status": status},
            {"Location": page},
        )
    return {"id": kept.id, "status": status, "page": page}
