"""Workers and servers are killed at any moment, and nothing is lost, duplicated or different."""

import random
import threading
import time

import httpx
import sqlalchemy as sa

from leaderboard.evaluation.worker import evaluate_next
from leaderboard.store.accounts import account_id_of
from leaderboard.store.database import embedded_url, open_database
from leaderboard.store.submission_store import keep_submission
from leaderboard.store.tables import curves, episode, job, policy, result, submission
from leaderboard.web.service import create_app
from tests.leaderboard.app_client import AppClient
from tests.leaderboard.server import HOST, free_port, start_server, start_worker, wait_until_healthy
from tests.leaderboard.submissions import a_form, a_store, a_submission, header_of

ENV = "Safe/DeepSeaTreasure-v0"
POLICIES = 2


def rows_of(store, table, *order):
    with store.reading() as connection:
        query = sa.select(table).order_by(*order)
        return [tuple(row) for row in connection.execute(query)]


def count(store, table):
    with store.reading() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def submitted(path):
    """Return a new store with a waiting submission; equal for equal policies and secret."""
    store = a_store(path)
    with store.writing() as connection:
        account = account_id_of(connection, "ada")
    keep_submission(store, a_submission(ENV, POLICIES, stochastic=True), account, quota=False)
    return store


def test_a_worker_killed_between_episodes_leaves_no_trace(tmp_path):
    undisturbed, store = submitted(tmp_path / "a.sqlite"), submitted(tmp_path / "b.sqlite")
    evaluate_next(undisturbed, "undisturbed")
    pause = random.Random(7)
    seen = []
    for after in (1, 81):  # least number of kept episodes when the worker is killed
        worker = start_worker(embedded_url(tmp_path / "b.sqlite"))
        try:
            last_moment = time.monotonic() + 60
            while count(store, episode) < after:
                assert time.monotonic() < last_moment
                time.sleep(0.001)
            time.sleep(pause.uniform(0.0, 0.02))
        finally:
            worker.kill()
            worker.communicate()
        seen.append(count(store, episode))
        assert count(store, result) == 0
        assert evaluate_next(store, "too early") is None  # the lease is still held
        with store.writing() as connection:
            connection.execute(sa.update(job).values(lease_until=0.0))
    assert seen == sorted(seen)
    assert evaluate_next(store, "the last")[1].value == "scored"
    order = (episode.c.policy_id, episode.c.seed_index)
    expected, found = (rows_of(each, episode, *order) for each in (undisturbed, store))
    assert len(found) == 100 * POLICIES
    assert found == expected  # floats too, bit for bit
    assert rows_of(store, result) == rows_of(undisturbed, result)
    assert count(store, job) == 0
    store.close()
    undisturbed.close()


def test_a_server_killed_while_it_stores_keeps_what_it_acknowledged(tmp_path):
    path = tmp_path / "store.sqlite"
    store = a_store(path)
    senders = 4
    headers = [header_of(store, f"sender {index}") for index in range(senders * 3)]
    acknowledged: list[int] = []
    port = free_port()

    def send_all(part):
        """Send five submissions from each of these accounts, until the server is gone."""
        try:
            for account in range(part, len(headers), senders):
                for number in range(5):
                    given = a_submission(count=2, first_seed=100 * account + 10 * number)
                    answer = httpx.post(
                        f"http://{HOST}:{port}/api/v1/submissions",
                        files=a_form(given), headers=headers[account],
                    )  # fmt: skip
                    assert answer.status_code == 202, answer.text
                    acknowledged.append(answer.json()["id"])
        except httpx.HTTPError:
            pass

    server = start_server(embedded_url(path), port)
    wait_until_healthy(port, server)
    threads = [threading.Thread(target=send_all, args=(part,)) for part in range(senders)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 12:
        assert any(thread.is_alive() for thread in threads)
        time.sleep(0.002)
    server.kill()
    server.communicate()
    for thread in threads:
        thread.join()
    assert 12 <= len(acknowledged) < 5 * len(headers)

    again = open_database(embedded_url(path))
    with AppClient(create_app(again)) as client:
        for number in (min(acknowledged), max(acknowledged)):
            answer = client.get(f"/api/v1/submissions/{number}")
            assert (answer.status_code, answer.json()["state"]) == (200, "queued")
    again.close()
    kept = {row[0] for row in rows_of(store, submission)}
    assert set(acknowledged) <= kept
    assert len(set(acknowledged)) == len(acknowledged)
    for table, parts in ((policy, 2), (curves, 1), (job, 1)):
        with store.reading() as connection:
            owners = connection.execute(sa.select(table.c.submission_id)).scalars().all()
        assert sorted(owners) == sorted(number for number in kept for _ in range(parts)), table
    with store.reading() as connection:
        assert connection.exec_driver_sql("pragma integrity_check").scalar_one() == "ok"
        assert connection.exec_driver_sql("pragma foreign_key_check").all() == []
        audited = "select count(*) from audit where action = 'submit'"
        assert connection.exec_driver_sql(audited).scalar_one() == len(kept)
    store.close()


def test_a_worker_told_to_stop_gives_its_lease_back(tmp_path):
    store = submitted(tmp_path / "store.sqlite")
    worker = start_worker(embedded_url(tmp_path / "store.sqlite"))
    last_moment = time.monotonic() + 60
    while count(store, episode) == 0:
        assert time.monotonic() < last_moment
        time.sleep(0.002)
    worker.terminate()
    assert worker.wait(10) == 0
    assert worker.communicate()[1] == b""
    assert [row[1:] for row in rows_of(store, job)] == [(None, 0.0, 0)]  # no owner, no attempt
    store.close()
