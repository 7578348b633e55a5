"""Checks that a store is whole: its file, its references, and that its content fits together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from leaderboard.boards.board import EPISODES_PER_POLICY
from leaderboard.policy_files.canonical_form import canonical_digest
from leaderboard.store.database import Database
from leaderboard.store.seasons import HIDDEN
from leaderboard.store.store_errors import StoreRefused
from leaderboard.store.submission_store import State
from leaderboard.store.tables import (
    audit,
    curves,
    episode,
    job,
    metadata,
    policy,
    result,
    season,
    submission,
)
from leaderboard.submissions.submission import set_digest

MOST_SHOWN = 5  # problems of one check
CLOCK_TOLERANCE = 60.0  # [s] between the clocks of several servers
RESTORE = "restore a backup"


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    problems: tuple[str, ...]
    advice: str

    @property
    def shown(self) -> str:
        """The problems in one line, the first ones if there are many."""
        more = len(self.problems) - MOST_SHOWN
        text = "; ".join(self.problems[:MOST_SHOWN])
        return f"{text}; and {more} more" if more > 0 else text


Check = Callable[[sa.Connection], Iterable[str]]


def check_store(database: Database) -> list[Finding]:
    """Return what the checks of a store with up-to-date tables found; this writes nothing."""
    checks: list[tuple[str, Check, str]] = [
        ("file", _file, "restore a backup, or save what is left with `sqlite3 STORE .recover`"),
        ("references", _references, RESTORE),
        ("parts of submissions", _parts, RESTORE),
        ("waiting submissions", _jobs, RESTORE),
        ("episodes of scored rows", _episodes, RESTORE),
        ("digests of policies", _policy_digests, RESTORE + ": a policy's content was changed"),
        ("digests of submissions", _submission_digests, RESTORE),
        ("digests of seasons", _season_digests, RESTORE + ": a secret was changed"),
        ("audit log", _audit, "find out who altered the log or set the clock back"),
    ]
    return [
        Finding(name, tuple(_problems(database, check)), advice) for name, check, advice in checks
    ]


def file_problems(connection: sa.Connection) -> list[str]:
    """Return what SQLite's own check of its file says, nothing if it is whole."""
    rows = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
    return [] if rows == ["ok"] else [" ".join(str(row).split()) for row in rows]


def _problems(database: Database, check: Check) -> list[str]:
    try:
        with database.reading() as connection:
            return list(check(connection))
    except StoreRefused as error:
        return [str(error.__cause__ or error)]


def _file(connection: sa.Connection) -> list[str]:
    return file_problems(connection) if connection.dialect.name == "sqlite" else []


def _references(connection: sa.Connection) -> Iterator[str]:
    """Look for rows whose parent is gone; SQLite keeps them if it was told not to check."""
    for table in metadata.sorted_tables:
        for key in table.foreign_keys:
            parent = key.column
            gone = ~sa.exists().where(parent == key.parent)
            query = sa.select(sa.func.count()).select_from(table)
            query = query.where(key.parent.is_not(None), gone)
            count = connection.execute(query).scalar_one()
            if count:
                yield f"{count} rows of {table.name} refer to a {parent.table.name} that is gone"


def _parts(connection: sa.Connection) -> Iterator[str]:
    for number, state, meta in _submissions(connection):
        positions = sa.select(policy.c.position).filter_by(submission_id=number)
        found = sorted(connection.execute(positions).scalars())
        count = len(_seeds(meta))
        if found != list(range(count)) or not count:
            yield f"submission {number} has policies {found}, its metadata lists {count}"
        has_result = _exists(connection, result, number)
        if has_result != (state == State.SCORED.value):
            yield f"submission {number} is {state} and has {'a' if has_result else 'no'} score"
    query = sa.select(curves.c.submission_id, curves.c.content)
    for number, content in connection.execute(query):
        if _read(content) is None:
            yield f"the learning curves of submission {number} cannot be read"


def _jobs(connection: sa.Connection) -> Iterator[str]:
    waiting = (State.QUEUED.value, State.RUNNING.value)
    for number, state, _ in _submissions(connection):
        has_job = _exists(connection, job, number)
        if has_job != (state in waiting):
            yield f"submission {number} is {state} and {'has a' if has_job else 'has no'} job"


def _episodes(connection: sa.Connection) -> Iterator[str]:
    kept = (
        sa.select(
            policy.c.submission_id,
            policy.c.position,
            sa.func.count(episode.c.seed_index).label("count"),
            sa.func.min(episode.c.seed_index).label("first"),
            sa.func.max(episode.c.seed_index).label("last"),
        )
        .select_from(
            policy.join(submission).outerjoin(
                episode, (episode.c.policy_id == policy.c.id) & (episode.c.split == HIDDEN)
            )
        )
        .where(submission.c.state == State.SCORED.value)
        .group_by(policy.c.submission_id, policy.c.position)
        .order_by(policy.c.submission_id, policy.c.position)
    )
    for row in connection.execute(kept):
        first = row.position * EPISODES_PER_POLICY
        expected = (EPISODES_PER_POLICY, first, first + EPISODES_PER_POLICY - 1)
        if (row[2], row[3], row[4]) != expected:
            yield (
                f"policy {row.position} of submission {row.submission_id} has {row[2]} of "
                f"{EPISODES_PER_POLICY} episodes"
            )


def _policy_digests(connection: sa.Connection) -> Iterator[str]:
    query = sa.select(policy).order_by(policy.c.id).execution_options(yield_per=10)
    for row in connection.execute(query):
        if hashlib.sha256(row.content).hexdigest() != row.sha256:
            yield f"policy {row.position} of submission {row.submission_id}"


def _submission_digests(connection: sa.Connection) -> Iterator[str]:
    query = sa.select(submission.c.id, submission.c.content_sha256).order_by(submission.c.id)
    for number, digest in connection.execute(query).all():
        mine = sa.select(policy.c.sha256, policy.c.content).filter_by(submission_id=number)
        files = connection.execute(mine).all()
        if digest == set_digest(row.sha256 for row in files):
            continue  # as earlier versions kept it
        if any(hashlib.sha256(row.content).hexdigest() != row.sha256 for row in files):
            continue  # told of already
        if digest != set_digest(canonical_digest(row.content) for row in files):
            yield f"submission {number} has other policies than it was sent with"


def _season_digests(connection: sa.Connection) -> Iterator[str]:
    for row in connection.execute(sa.select(season).order_by(season.c.number)):
        if hashlib.sha256(row.secret).hexdigest() != row.secret_sha256:
            yield f"season {row.number}"


def _audit(connection: sa.Connection) -> Iterator[str]:
    """Look for gaps and for times that go back; every submission has its entry."""
    last_id, last_time = 0, 0.0
    submitted = set()
    gaps_are_normal = connection.dialect.name == "postgresql"  # after a change that was undone
    for row in connection.execute(sa.select(audit).order_by(audit.c.id)):
        if row.id != last_id + 1 and not gaps_are_normal:
            yield f"the entries between {last_id} and {row.id} are gone"
        if row.at < last_time - CLOCK_TOLERANCE:
            yield f"entry {row.id} is {last_time - row.at:.0f} s older than the one before it"
        last_id, last_time = row.id, max(last_time, row.at)
        if row.action == "submit":
            submitted.add(row.subject)
    for number, _, _ in _submissions(connection):
        if str(number) not in submitted:
            yield f"submission {number} has no entry"


def _submissions(connection: sa.Connection) -> list[tuple[int, str, str]]:
    query = sa.select(submission.c.id, submission.c.state, submission.c.meta)
    return [(row.id, row.state, row.meta) for row in connection.execute(query)]


def _seeds(meta: str) -> list[object]:
    fields = _read(meta)
    seeds = fields.get("training_seeds") if isinstance(fields, dict) else None
    return seeds if isinstance(seeds, list) else []


def _read(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _exists(connection: sa.Connection, table: sa.Table, number: int) -> bool:
    query = sa.select(table.c.submission_id).where(table.c.submission_id == number)
    return connection.execute(query).first() is not None
