"""Seasons: commitment, hidden seeds, states."""

import hashlib
import hmac
import threading

import pytest

from leaderboard.boards.board import board_of
from leaderboard.store.database import open_database
from leaderboard.store.seasons import (
    SeasonError,
    all_seasons,
    close_season,
    ensure_season,
    episode_seeds,
    open_season,
    reveal_season,
    season_of,
)

SECRET = bytes(range(32))


@pytest.fixture
def database(store_url):
    opened = open_database(store_url)
    yield opened
    opened.close()


def test_seeds_are_the_first_eight_bytes_of_the_hmac():
    board = board_of("Safe/CliffWorld-v0")
    expected = [
        int(hmac.new(SECRET, f"Safe/CliffWorld-v0|1|{i}".encode(), "sha256").hexdigest()[:16], 16)
        for i in (0, 7, 499)
    ]
    assert episode_seeds(SECRET, board, [0, 7, 499]) == expected


def test_a_season_is_committed_to_when_it_opens_and_can_be_checked_when_revealed(database):
    opened = open_season(database, "tester", SECRET)
    assert (opened.number, opened.state, opened.revealed_secret) == (1, "open", None)
    assert opened.secret_sha256 == hashlib.sha256(SECRET).hexdigest()
    with pytest.raises(SeasonError, match="season 1 is open; close it first"):
        reveal_season(database, 1, "tester")
    with pytest.raises(SeasonError, match="season 1 is open; close it first"):
        open_season(database, "tester")
    assert close_season(database, "tester").state == "closed"
    assert season_of(database, 1).revealed_secret is None
    revealed = reveal_season(database, 1, "tester")
    assert (revealed.state, revealed.revealed_secret) == ("revealed", SECRET)
    assert open_season(database, "tester").number == 2
    assert [season.number for season in all_seasons(database)] == [2, 1]


def test_drawn_secrets_differ(database):
    first = open_season(database, "tester")
    close_season(database, "tester")
    assert open_season(database, "tester").secret_sha256 != first.secret_sha256


def test_errors_say_what_to_do(database):
    with pytest.raises(SeasonError, match="no season is open"):
        close_season(database, "tester")
    with pytest.raises(SeasonError, match="there is no season 3"):
        season_of(database, 3)
    with pytest.raises(ValueError, match="the secret has 3 bytes; pass 32 random ones"):
        open_season(database, "tester", b"abc")


def test_many_processes_that_start_at_once_open_one_season(store_url):
    errors = []

    def start():
        opened = open_database(store_url)
        try:
            ensure_season(opened, "tester")
        except Exception as error:
            errors.append(error)
        finally:
            opened.close()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    database = open_database(store_url)
    assert [season.number for season in all_seasons(database)] == [1]
    database.close()
