"""Accounts and their bearer tokens; only a token's SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import Enum

import sqlalchemy as sa

from leaderboard.store.audit import record
from leaderboard.store.database import Database
from leaderboard.store.database_clock import now
from leaderboard.store.tables import account, token
from leaderboard.submissions.metadata import plain_text

BASELINES = "safe-envs baselines"  # its rows are marked as baselines
LOCAL = "local"  # the account of submissions made directly to the store
TOKEN_PREFIX = "slb_"  # makes a leaked token recognizable
TOKEN_BYTES = 32


class Scope(str, Enum):
    """What a token allows."""

    SUBMIT = "submit"
    ADMIN = "admin"  # may also withdraw any account's submissions


@dataclass(frozen=True)
class Identity:
    """Who a token belongs to."""

    account_id: int
    name: str
    scope: Scope


def account_id_of(connection: sa.Connection, name: str) -> int:
    """Return the number of the account with this name; create the account if there is none."""
    query = sa.select(account.c.id).where(account.c.name == name)
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        row = {"name": name, "created_at": now(connection)}
        made = connection.execute(sa.insert(account).values(**row))
        assert made.inserted_primary_key is not None
        found = made.inserted_primary_key[0]
    return int(found)


def create_token(database: Database, name: str, scope: Scope, actor: str) -> str:
    """Return a new token of an account, created if needed; the token cannot be shown again.

    Raises:
        ValueError: if the name is empty, too long, or has invisible characters.
    """
    clean = plain_text(name)
    if not 1 <= len(clean) <= 80:
        raise ValueError(f"the account's name has {len(clean)} characters; pass 1 to 80")
    created = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    with database.writing() as connection:
        row = {
            "account_id": account_id_of(connection, clean),
            "sha256": _digest(created),
            "scope": scope.value,
            "created_at": now(connection),
        }
        connection.execute(sa.insert(token).values(**row))
        record(connection, actor, "create token", f"{clean}, {scope.value}")
    return created


def revoke_tokens(database: Database, name: str, actor: str) -> int:
    """Revoke all tokens of an account and return how many there were."""
    with database.writing() as connection:
        ids = sa.select(account.c.id).where(account.c.name == name)
        done = connection.execute(
            sa.update(token)
            .where(token.c.account_id.in_(ids), token.c.revoked_at.is_(None))
            .values(revoked_at=now(connection))
        )
        record(connection, actor, "revoke tokens", name)
    return int(done.rowcount)


def identify(connection: sa.Connection, given: str) -> Identity | None:
    """Return whose token this is, None if it is not valid."""
    digest = _digest(given)
    query = (
        sa.select(token.c.sha256, token.c.scope, account.c.id, account.c.name)
        .join(account)
        .where(token.c.sha256 == digest, token.c.revoked_at.is_(None))
    )
    row = connection.execute(query).one_or_none()
    if row is None or not hmac.compare_digest(row.sha256, digest):
        return None
    return Identity(row.id, row.name, Scope(row.scope))


def _digest(given: str) -> str:
    return hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()
