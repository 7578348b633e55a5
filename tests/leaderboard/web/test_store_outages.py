"""Reads are answered while the store takes no changes; writes are refused, and nothing is lost."""

import asyncio
import time

import httpx
import pytest
import sqlalchemy as sa

from leaderboard.evaluation.worker import evaluate_next
from leaderboard.store.accounts import Scope, create_token
from leaderboard.store.database import embedded_url, open_database
from leaderboard.store.seasons import open_season
from leaderboard.store.store_check import check_store
from leaderboard.store.store_errors import StoreUnavailable
from leaderboard.store.submission_store import stored_submissions
from leaderboard.web import store_writes
from leaderboard.web.service import create_app
from tests.leaderboard.app_client import MANY, client_of, send
from tests.leaderboard.conftest import POSTGRESQL
from tests.leaderboard.store_outages import full, locked, small_disk
from tests.leaderboard.submissions import header_of

BUSY = 0.2  # [s]
BOARD = "boards/Safe_ConstrainedRegression-v0"
READS = (
    "", f"{BOARD}/index.html", f"{BOARD}/board.json", "submissions/1.html", "season/1.html",
    "aggregate.html", "how-to-submit.html", "static/pages.css", "health", "openapi.json",
    "api/v1/boards", "api/v1/seasons", "api/v1/submissions/1",
)  # fmt: skip
TOLD = (
    "the leaderboard's store is not available at the moment; nothing was changed; try again in 5 s"
)


def a_scored_store(path):
    database = open_database(embedded_url(path), BUSY)
    open_season(database, "test", bytes(32))
    return database


def check_outage(database, header):
    """Check what a new server answers during an outage; its cache is empty."""
    with client_of(database) as client:
        for path in READS:
            assert client.get(f"/{path}").status_code == 200, path
        start = time.monotonic()
        for path, given in (
            ("submissions", None),
            ("submissions/1/withdraw", None),
        ):
            answer = client.post(f"/api/v1/{path}", headers=header, files=given)
            assert answer.status_code == 503, path
            assert answer.headers["retry-after"] == "5"
            assert answer.json() == {"detail": TOLD}
        assert send(client, header, first_seed=9).status_code == 503
        assert time.monotonic() - start < 3 * (3 * BUSY + 1.0)
        wrong = {"Authorization": "Bearer slb_wrong"}
        assert send(client, wrong).status_code == 401  # a wrong token writes nothing, too
        for path in READS:
            assert client.get(f"/{path}").status_code == 200, path


def check_recovery(database, header):
    assert [one.state.value for one in stored_submissions(database)] == ["scored"]
    with client_of(database) as client:
        answer = send(client, header, first_seed=9)
        assert (answer.status_code, answer.json()["id"]) == (202, 2)
    assert not [found for found in check_store(database) if found.problems]


def test_a_store_locked_by_another_process(tmp_path):
    database = a_scored_store(tmp_path / "store.sqlite")
    header = header_of(database, "ada")
    with client_of(database) as client:
        assert send(client, header).status_code == 202
        assert evaluate_next(database, "a worker") is not None
        with locked(tmp_path / "store.sqlite"):
            check_outage(database, header)
            assert client.get("/").status_code == 200  # of a server that was there before
            opened = open_database(embedded_url(tmp_path / "store.sqlite"), BUSY)
            check_outage(opened, header)  # of one that is started now
            opened.close()
        check_recovery(database, header)
    database.close()


def test_a_full_disk(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        database = a_scored_store(disk / "store.sqlite")
        header = header_of(database, "ada")
        with client_of(database) as client:
            assert send(client, header).status_code == 202
            assert evaluate_next(database, "a worker") is not None
            with full(disk):
                check_outage(database, header)
                assert send(client, header, first_seed=9).status_code == 503
            check_recovery(database, header)
        database.close()


def test_waiting_writes_do_not_stop_reads(tmp_path):
    """More writers than any pool has threads or connections; the reads still pass at once."""
    database = a_scored_store(tmp_path / "store.sqlite")
    header = header_of(database, "ada")
    app = create_app(database, limits=MANY)

    async def visits():
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://board") as client:
            writes = [
                asyncio.create_task(client.post("/api/v1/submissions/1/withdraw", headers=header))
                for _ in range(100)
            ]
            await asyncio.sleep(0.1)
            start = time.monotonic()
            reads = [await client.get("/api/v1/seasons") for _ in range(5)]
            seconds = time.monotonic() - start
            waited = [task for task in writes if not task.done()]
            return reads, seconds, waited, await asyncio.gather(*writes)

    with locked(tmp_path / "store.sqlite"):
        reads, seconds, waited, writes = asyncio.run(visits())
    assert {answer.status_code for answer in reads} == {200}
    assert {answer.status_code for answer in writes} == {503}
    assert waited, "the reads were not made while writes waited"
    assert seconds < 1.0
    database.close()


def test_a_write_that_fails_for_another_reason_is_not_hidden(tmp_path):
    database = a_scored_store(tmp_path / "store.sqlite")
    with database.writing() as connection:
        connection.exec_driver_sql("drop table request_count")
    header = header_of(database, "ada")
    with client_of(database) as client, pytest.raises(Exception, match="no such table"):
        send(client, header)
    database.close()


def test_threads_for_writes_are_few():
    assert store_writes.THREADS < 40  # those of the reads


def test_a_store_that_was_made_on_a_full_disk_is_not_there(tmp_path):
    with small_disk(tmp_path / "disk") as disk, full(disk):
        with pytest.raises(OSError, match="disk is full|No space left"):
            open_database(embedded_url(disk / "store.sqlite"))
        assert [file.name for file in disk.iterdir()] == ["filler"]


def make_tokens(database, count):
    for _ in range(count):
        create_token(database, "ada", Scope.SUBMIT, "test")


def test_a_token_is_not_made_on_a_full_disk_and_is_later(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        database = a_scored_store(disk / "store.sqlite")
        told = f"the store {disk}/store.sqlite cannot grow: its disk is full; make room and try"
        with full(disk), pytest.raises(OSError, match=told):
            make_tokens(database, 1000)  # the file has some room left
        header_of(database, "eve")
        database.close()


def the_server_is_gone(url, gone):
    """Let a PostgreSQL server end its connections to a database, and take none or take some."""
    server = sa.create_engine(
        sa.make_url(POSTGRESQL).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    name = sa.make_url(url).database
    with server.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {not gone}")
        connection.exec_driver_sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
    server.dispose()


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_postgresql_server_that_goes_away_and_comes_back(store_url):
    database = open_database(store_url, BUSY)
    open_season(database, "test", bytes(32))
    header = header_of(database, "ada")
    with client_of(database) as client:
        assert send(client, header).status_code == 202
        board = client.get(f"/{BOARD}/index.html").text
        the_server_is_gone(store_url, True)
        answers = [client.get("/api/v1/seasons"), client.get("/health"), send(client, header)]
        assert [answer.status_code for answer in answers] == [503] * 3
        assert {answer.headers["retry-after"] for answer in answers} == {"5"}
        assert client.get(f"/{BOARD}/index.html").text == board  # from the cache
        unseen = client.get("/season/1.html", headers={"Accept": "text/html"})
        assert (unseen.status_code, "at the moment</h1>" in unseen.text) == (503, True)
        with pytest.raises(StoreUnavailable, match=r"does not answer: .*not currently accept"):
            open_database(store_url)
        the_server_is_gone(store_url, False)
        assert client.get("/api/v1/seasons").status_code == 200
        assert send(client, header, first_seed=9).json()["id"] == 2
    database.close()


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_lock_held_in_postgresql(store_url):
    database = open_database(store_url, BUSY)
    open_season(database, "test", bytes(32))
    header = header_of(database, "ada")
    with client_of(database) as client, database.engine.begin() as other:
        other.exec_driver_sql("LOCK TABLE request_count IN EXCLUSIVE MODE")
        assert send(client, header).status_code == 503
        assert client.get("/api/v1/seasons").status_code == 200
        other.rollback()
        assert send(client, header).status_code == 202
    database.close()
