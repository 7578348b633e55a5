"""Leases: by one clock, renewed while work goes on, and given back after a fault."""

import time

import pytest
import sqlalchemy as sa

from leaderboard.store.accounts import account_id_of
from leaderboard.store.database import open_database
from leaderboard.store.database_clock import now
from leaderboard.store.heartbeat import Heartbeat
from leaderboard.store.leases import (
    BACKOFF_SECONDS,
    LONGEST_LEASE,
    MOST_ATTEMPTS,
    OTHERS_FIRST,
    LeaseLost,
    claim,
    postpone,
    release,
    renew,
)
from leaderboard.store.seasons import open_season
from leaderboard.store.submission_store import keep_submission
from leaderboard.store.tables import job
from tests.leaderboard.submissions import SECRET, a_submission

YEAR = 365 * 86_400.0


@pytest.fixture
def store(store_url):
    """A store with one waiting submission."""
    database = open_database(store_url)
    open_season(database, "test", SECRET)
    with database.writing() as connection:
        account = account_id_of(connection, "ada")
    keep_submission(database, a_submission(), account, quota=False)
    yield database
    database.close()


def the_job(database):
    with database.reading() as connection:
        return connection.execute(sa.select(job)).one()


def shift(database, seconds):
    """Change a lease as if the database's clock had moved the other way."""
    with database.writing() as connection:
        connection.execute(sa.update(job).values(lease_until=job.c.lease_until + seconds))


def test_the_databases_clock_is_that_of_its_machine(store):
    with store.reading() as connection:
        assert now(connection) == pytest.approx(time.time(), abs=60.0)
        before = now(connection)
        time.sleep(0.05)
        assert 0.03 < now(connection) - before < 30.0


def test_a_heartbeat_renews_and_then_stops(store):
    lease = claim(store, "worker", seconds=0.3)
    first = the_job(store).lease_until
    with Heartbeat(store, lease):
        last_moment = time.monotonic() + 60.0
        while the_job(store).lease_until < first + 0.5:
            assert time.monotonic() < last_moment
            time.sleep(0.02)
    stopped = the_job(store).lease_until
    time.sleep(0.5)
    assert the_job(store).lease_until == stopped


def test_a_heartbeat_does_not_touch_the_lease_of_another_worker(store):
    lease = claim(store, "held up", seconds=0.1)
    time.sleep(0.2)
    taken = claim(store, "other")
    with Heartbeat(store, lease):
        time.sleep(0.3)
    found = the_job(store)
    assert (found.owner, taken.attempt) == ("other", 2)
    with pytest.raises(LeaseLost), store.writing() as connection:
        renew(connection, lease)


def test_a_lease_from_before_the_clock_was_set_back_blocks_nothing(store):
    assert claim(store, "worker") is not None
    assert claim(store, "other") is None
    shift(store, YEAR)
    assert claim(store, "other") is not None


def test_a_lease_longer_than_allowed_is_refused(store):
    with pytest.raises(ValueError, match=r"^a lease of 601 s was asked for; pass at most 600$"):
        claim(store, "worker", seconds=LONGEST_LEASE + 1.0)


def test_progress_starts_the_count_of_attempts_again(store):
    for _ in range(3 * MOST_ATTEMPTS):
        lease = claim(store, "worker", seconds=-1.0)
        assert lease.attempt == 1
        with store.writing() as connection:
            renew(connection, lease, progress=True)
        assert the_job(store).attempts == 0
    lease = claim(store, "worker", seconds=-1.0)
    with store.writing() as connection:
        renew(connection, lease)
    assert the_job(store).attempts == 1


def test_a_lease_given_up_waits_and_goes_to_another_worker_first(store):
    lease = claim(store, "broken")
    postpone(store, lease)
    found = the_job(store)
    with store.reading() as connection:
        pause = found.lease_until - now(connection)
    assert pause == pytest.approx(BACKOFF_SECONDS, abs=9.0)
    assert claim(store, "other") is None
    shift(store, -pause - 1.0)
    assert claim(store, "broken") is None
    shift(store, -OTHERS_FIRST)
    assert claim(store, "broken").attempt == 2
    shift(store, -2.0 * LONGEST_LEASE)
    postpone(store, claim(store, "other"))
    shift(store, -BACKOFF_SECONDS * 4.0 - 1.0)
    assert claim(store, "third").attempt == 4
    postpone(store, lease)  # no longer its own: nothing happens
    release(store, lease)
    assert the_job(store).owner == "third"
