"""A worker keeps what it has evaluated while the store takes no changes."""

import threading
import time
from contextlib import ExitStack

import pytest
import sqlalchemy as sa

from leaderboard.evaluation import worker
from leaderboard.evaluation.worker import evaluate_next, work
from leaderboard.store import database as database_file
from leaderboard.store.accounts import account_id_of
from leaderboard.store.database import embedded_url, open_database
from leaderboard.store.score_store import rescore, row_scores
from leaderboard.store.seasons import open_season
from leaderboard.store.store_errors import StoreRefused
from leaderboard.store.submission_store import State, keep_submission
from leaderboard.store.tables import audit, episode, job, result
from tests.leaderboard.store_outages import full, locked, small_disk
from tests.leaderboard.submissions import a_submission

BUSY = 0.1  # [s]


def submitted(folder):
    """Return a new store with a waiting submission, in a folder."""
    store = open_database(embedded_url(folder / "store.sqlite"), BUSY)
    open_season(store, "test", bytes(32))
    with store.writing() as connection:
        account = account_id_of(connection, "ada")
    keep_submission(store, a_submission(), account, quota=False)
    return store


def episodes_of(store):
    with store.reading() as connection:
        query = sa.select(episode).order_by(episode.c.seed_index)
        return [tuple(row) for row in connection.execute(query)]


def claims_of(store):
    with store.reading() as connection:
        query = sa.select(sa.func.count()).select_from(audit).where(audit.c.action == "evaluate")
        return connection.execute(query).scalar_one()


class Outage:
    """Begins after the first batch of episodes, ends half a second later."""

    def __init__(self, begin):
        self.begin = begin
        self.over = threading.Event()
        self.thread = None

    def progress(self, done, total):
        if self.thread is None:
            began = threading.Event()
            self.thread = threading.Thread(target=self.last, args=(began,))
            self.thread.start()
            assert began.wait(10)

    def last(self, began):
        with self.begin():
            began.set()
            time.sleep(0.5)
        self.over.set()


@pytest.fixture(params=["locked", "full"])
def disturbed(request, tmp_path, monkeypatch):
    """A store with a waiting submission, and an outage of the store."""
    monkeypatch.setattr(database_file, "RETRY_PAUSE", 0.05)
    with ExitStack() as stack:
        folder = tmp_path
        if request.param == "full":
            folder = stack.enter_context(small_disk(tmp_path / "disk"))
        store = submitted(folder)
        if request.param == "full":
            yield store, Outage(lambda: full(folder))
        else:
            yield store, Outage(lambda: locked(folder / "store.sqlite"))
        store.close()


def test_finished_episodes_wait_for_the_store(disturbed, tmp_path, caplog):
    store, outage = disturbed
    assert evaluate_next(store, "a worker", progress=outage.progress) == (1, State.SCORED)
    assert outage.over.is_set()
    outage.thread.join()
    assert claims_of(store) == 1  # no attempt was lost
    told = [record.getMessage() for record in caplog.records]
    assert [text.rpartition(" ")[2] for text in told] == ["it", "again"]
    (tmp_path / "other").mkdir()
    undisturbed = submitted(tmp_path / "other")
    evaluate_next(undisturbed, "a worker")
    assert episodes_of(store) == episodes_of(undisturbed)
    undisturbed.close()


def test_a_worker_says_once_that_it_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.02)
    store, stop, told = submitted(tmp_path), threading.Event(), []

    def report(text):
        told.append(text)
        if "scored" in text:
            stop.set()

    running = threading.Thread(target=work, args=(store, stop, report))
    with locked(tmp_path / "store.sqlite"):
        running.start()
        time.sleep(0.6)
    running.join(30)
    shown = tmp_path / "store.sqlite"
    waits = "is locked by another process; try again, or end that process; waiting for it"
    assert told == [f"the store {shown} {waits}", "submission 1: scored"]
    store.close()


def test_a_store_that_cannot_be_read_costs_no_attempt(tmp_path, monkeypatch):
    store = submitted(tmp_path)

    def gone(*_):
        raise database_file.StoreUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr("leaderboard.evaluation.evaluate.secret_of", gone)
        with pytest.raises(database_file.StoreUnavailable):
            evaluate_next(store, "a worker")
    with store.reading() as connection:
        kept = connection.execute(sa.select(job.c.owner, job.c.attempts)).one()
    assert tuple(kept) == (None, 0)
    store.close()


def test_a_worker_ends_when_the_store_is_damaged(tmp_path):
    store = submitted(tmp_path)
    path = tmp_path / "store.sqlite"
    store.close()
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StoreRefused, match="is damaged"):
        work(store, threading.Event(), print)
    store.close()


def test_outdated_scores_are_read_without_a_write_until_they_are_rescored(tmp_path):
    store = submitted(tmp_path)
    evaluate_next(store, "a worker")
    expected = row_scores(store, [1])
    with store.writing() as connection:
        connection.execute(sa.update(result).values(statistics_version=0, statistics="{}"))
    with locked(tmp_path / "store.sqlite"):
        assert row_scores(store, [1])[1].statistics == expected[1].statistics
    with store.reading() as connection:
        assert connection.execute(sa.select(result.c.statistics_version)).scalar_one() == 0
    changed = [rescore(store, 1, "an administrator", "a new formula") for _ in range(2)]
    assert changed == [True, False]
    assert row_scores(store, [1])[1].statistics == expected[1].statistics
    store.close()
