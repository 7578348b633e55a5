"""Many submissions at once, on every kind of store."""

import threading

import sqlalchemy as sa

from leaderboard.store.accounts import account_id_of
from leaderboard.store.database import open_database
from leaderboard.store.seasons import open_season
from leaderboard.store.submission_store import keep_submission
from leaderboard.store.tables import account, job, policy, submission
from tests.leaderboard.submissions import (
    SECRET,
    a_submission,
)


def test_fifty_at_once_leave_one_row(store_url):
    database = open_database(store_url)
    open_season(database, "test", SECRET)
    with database.writing() as connection:
        accounts = [account_id_of(connection, f"account {number}") for number in range(50)]
    given = a_submission(count=2)
    start = threading.Barrier(50)
    kept = []

    def submit(owner):
        own = open_database(store_url)
        start.wait(30)
        kept.append(keep_submission(own, given, owner, quota=True))
        own.close()

    threads = [threading.Thread(target=submit, args=(owner,)) for owner in accounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.is_new for one in kept) == [False] * 49 + [True]
    assert len({one.id for one in kept}) == 1
    with database.reading() as connection:
        counts = [
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (submission, policy, job, account)
        ]
        audited = "select count(*) from audit where action = 'submit'"
        assert connection.exec_driver_sql(audited).scalar_one() == 1
    assert counts == [1, 2, 1, 50]
    database.close()


def test_many_at_once_do_not_evade_the_quota(store_url):
    database = open_database(store_url)
    open_season(database, "test", SECRET)
    with database.writing() as connection:
        owner = account_id_of(connection, "ada")
    taken, refused = [], []

    def submit(seed):
        own = open_database(store_url)
        try:
            taken.append(keep_submission(own, a_submission(first_seed=seed), owner, quota=True))
        except RuntimeError as error:
            refused.append(str(error))
        own.close()

    threads = [threading.Thread(target=submit, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), len(refused)) == (5, 7)
    assert set(refused) == {"at most 5 submissions in 24 hours are allowed; try again later"}
    database.close()
