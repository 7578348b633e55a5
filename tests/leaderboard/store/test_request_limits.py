import math
import threading

import pytest
import sqlalchemy as sa

from leaderboard.store.database import embedded_url, open_database
from leaderboard.store.request_limits import (
    PERIOD,
    PLACES,
    RequestCounter,
    TooManyRequests,
    check_request,
    count_request,
)
from leaderboard.store.tables import request_count


@pytest.fixture
def url(tmp_path):
    return embedded_url(tmp_path / "store.sqlite")


@pytest.fixture
def store(url):
    database = open_database(url)
    yield database
    database.close()


def at(moment):
    return lambda *_: moment  # a server's, or the database's for a connection


START = 1000.0 * PERIOD


def allowed(store, who="192.0.2.1", kind="reads", limit=3, moment=START, tries=10):
    """Return how many of some requests are accepted."""
    passed = 0
    for _ in range(tries):
        try:
            count_request(store, kind, who, limit, at(moment))
        except TooManyRequests:
            continue
        passed += 1
    return passed


def test_one_too_many_is_told_how_long_to_wait(store):
    assert allowed(store) == 3
    with pytest.raises(TooManyRequests) as caught:
        count_request(store, "reads", "192.0.2.1", 3, at(START + 18.5))
    assert caught.value.seconds == 42
    assert str(caught.value) == "at most 3 requests (reads) per 60 s are allowed; wait 42 s"


def test_addresses_and_kinds_are_counted_separately(store):
    assert allowed(store) == 3
    assert allowed(store, who="192.0.2.2") == 3
    assert allowed(store, kind="writes", limit=2) == 2


def test_counts_survive_a_restart_and_span_all_servers(store, url):
    assert allowed(store, tries=2) == 2
    other = open_database(url)
    assert allowed(other) == 1
    other.close()
    assert allowed(store) == 0


def test_the_next_period_starts_from_zero(store):
    assert allowed(store, moment=START + PERIOD - 0.001) == 3
    assert allowed(store, moment=START + PERIOD) == 3
    assert allowed(store, moment=START + PERIOD + 1) == 0


def test_a_clock_that_is_set_back_does_no_harm(store):
    assert allowed(store, moment=START) == 3
    assert allowed(store, moment=START - PERIOD) == 3
    assert allowed(store, moment=START) == 0


def test_checking_counts_nothing(store):
    for _ in range(10):
        check_request(store, "reads", "192.0.2.1", 3, at(START))
    assert allowed(store) == 3
    with pytest.raises(TooManyRequests):
        check_request(store, "reads", "192.0.2.1", 3, at(START))


def test_old_counts_are_removed(store):
    for period in range(5):
        allowed(store, moment=START + period * PERIOD, tries=1)
    with store.reading() as connection:
        kept = connection.execute(sa.select(request_count.c.period)).scalars().all()
    assert sorted(kept) == [1003, 1004]


def test_what_is_refused_writes_nothing(store):
    allowed(store, tries=50)
    with store.reading() as connection:
        assert connection.execute(sa.select(request_count.c.requests)).scalar_one() == 3


@pytest.mark.parametrize("who", ["x" * 10_000, "'; drop table account; --", "\x00", "💧"])
def test_any_name_is_counted(store, who):
    assert allowed(store, who=who) == 3


def test_requests_at_the_same_moment_are_all_counted(store, url):
    passed = []

    def ask():
        own = open_database(url)
        passed.append(allowed(own, limit=20, tries=10))
        own.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 20


class TestCounterInMemory:
    """Reads and wrong tokens, which are counted without the store."""

    @staticmethod
    def passed(counter, who="192.0.2.1", tries=10):
        passed = 0
        for _ in range(tries):
            try:
                counter.count(who)
            except TooManyRequests:
                continue
            passed += 1
        return passed

    def test_one_too_many_is_told_how_long_to_wait(self):
        counter = RequestCounter("reads", 3, at(START + 18.5))
        assert self.passed(counter) == 3
        with pytest.raises(TooManyRequests) as caught:
            counter.count("192.0.2.1")
        assert caught.value.seconds == 42
        assert str(caught.value) == "at most 3 requests (reads) per 60 s are allowed; wait 42 s"
        assert self.passed(counter, "192.0.2.2") == 3

    def test_the_next_period_starts_from_zero(self):
        now = [START]
        counter = RequestCounter("reads", 3, lambda: now[0])
        for moment in (0, PERIOD - 0.001, PERIOD, 0, 10 * PERIOD):  # also a clock that is set back
            now[0] = START + moment
            assert self.passed(counter) == (0 if moment == PERIOD - 0.001 else 3)

    def test_a_flood_of_addresses_takes_no_memory_and_locks_few_out(self):
        counter = RequestCounter("reads", 1, at(START))
        for number in range(20_000):
            self.passed(counter, f"2001:db8:{number:x}::/64", 1)
        innocent = [self.passed(counter, f"192.0.2.{number}", 1) for number in range(200)]
        assert sum(innocent) / 200 == pytest.approx(math.exp(-20_000 / PLACES), abs=0.12)
        assert len(counter._counts) == PLACES

    @pytest.mark.parametrize("who", ["x" * 10_000, "", "\x00", "\ud800", "💧"])
    def test_any_name_is_counted(self, who):
        assert self.passed(RequestCounter("reads", 3, at(START)), who) == 3

    def test_threads_at_the_same_moment_are_all_counted(self):
        counter, passed = RequestCounter("reads", 2000, at(START)), []
        threads = [
            threading.Thread(target=lambda: passed.append(self.passed(counter, tries=1000)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(passed) == 2000
