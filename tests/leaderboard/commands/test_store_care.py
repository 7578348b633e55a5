"""`check-store` finds what was altered; `backup` copies a store that is in use."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from leaderboard.__main__ import main
from leaderboard.evaluation.worker import evaluate_next
from leaderboard.scores.ranked_row import Feasibility
from leaderboard.store.accounts import Scope, account_id_of, create_token
from leaderboard.store.audit import revision
from leaderboard.store.database import embedded_url, open_database
from leaderboard.store.seasons import all_seasons
from leaderboard.store.submission_store import keep_submission, stored_submissions
from leaderboard.store.tables import account, audit, submission
from leaderboard.web.board_table import board_json
from leaderboard.web.store_source import StoreSource
from tests.leaderboard.store_outages import full, small_disk
from tests.leaderboard.submissions import QUICK, a_store, a_submission

CHECKS = (
    "file", "references", "parts of submissions", "waiting submissions", "episodes of scored rows",
    "digests of policies", "digests of submissions", "digests of seasons", "audit log",
)  # fmt: skip


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """The file of a store with a scored and a waiting submission."""
    path = tmp_path_factory.mktemp("used") / "store.sqlite"
    store = a_store(path)
    with store.writing() as connection:
        owner = account_id_of(connection, "ada")
    keep_submission(store, a_submission(count=2), owner, quota=False)
    assert evaluate_next(store, "a worker") is not None
    keep_submission(store, a_submission(first_seed=9), owner, quota=False)
    store.close()
    return path


@pytest.fixture
def path(used, tmp_path):
    """A copy of this store."""
    return Path(shutil.copy(used, tmp_path / "store.sqlite"))


def run(capsys, *words):
    code = main([str(word) for word in words])
    return code, capsys.readouterr().out.splitlines()


def url(path):
    return f"sqlite:///{path}"


def test_a_good_store(path, capsys):
    before = path.read_bytes()
    code, lines = run(capsys, "check-store", "--db", url(path))
    assert (code, lines) == (0, [f"ok: {check}" for check in CHECKS])
    assert path.read_bytes() == before


FAULTS = {
    "references": ("DELETE FROM account", "2 rows of submission refer to a account that is gone"),
    "parts of submissions": (
        "DELETE FROM result",
        "submission 1 is scored and has no score",
    ),
    "waiting submissions": ("DELETE FROM job", "submission 2 is queued and has no job"),
    "episodes of scored rows": (
        "DELETE FROM episode WHERE policy_id = 2 AND seed_index = 140",
        "policy 1 of submission 1 has 99 of 100 episodes",
    ),
    "digests of policies": (
        "UPDATE policy SET content = x'00' WHERE id = 3",
        "policy 0 of submission 2",
    ),
    "digests of submissions": (
        "UPDATE submission SET content_sha256 = 'x' WHERE id = 1",
        "submission 1 has other policies than it was sent with",
    ),
    "digests of seasons": ("UPDATE season SET secret = x'00'", "season 1"),
    "audit log": ("DELETE FROM audit WHERE id = 2", "the entries between 1 and 3 are gone"),
    "audit log, the clock": (
        "UPDATE audit SET at = at + 3600 WHERE id = 2",
        "s older than the one before it",
    ),
    "audit log, an entry": (
        "UPDATE audit SET subject = '7' WHERE action = 'submit' AND subject = '2'",
        "submission 2 has no entry",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_what_to_do(path, capsys, fault):
    statement, message = FAULTS[fault]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)
    code, lines = run(capsys, "check-store", "--db", url(path))
    assert code == 1
    (line,) = [line for line in lines if line.startswith("wrong: " + fault.partition(",")[0])]
    assert message in line
    assert ". What to do: " in line


def test_a_broken_page_is_found_and_not_copied(path, capsys, tmp_path):
    """Commands that do not read the page do not notice; the file's check does."""
    with closing(sqlite3.connect(path)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name='policy'")
        start = 4096 * (page.fetchone()[0] - 1)
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * 4096)
    code, lines = run(capsys, "check-store", "--db", url(path))
    assert code == 1
    assert lines[0].startswith("wrong: file: ")
    assert "wrong: digests of policies: database disk image is malformed" in lines[5]
    code, lines = run(capsys, "backup", tmp_path / "copy", "--db", url(path))
    assert code == 2
    assert "is damaged" in lines[-1]
    assert not (tmp_path / "copy").exists()
    assert not list(tmp_path.glob(".copy*"))


def test_a_store_of_an_earlier_version(path, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("leaderboard.store.schema.newest_revision", lambda: "8888")
    monkeypatch.setattr("leaderboard.commands.store_care.newest_revision", lambda: "8888")
    code, lines = run(capsys, "check-store", "--db", url(path))
    assert (code, lines) == (
        2,
        [
            f"error: the store {path} was written by an earlier version; make a backup, then any "
            "other command brings it to revision 8888"
        ],
    )
    assert run(capsys, "backup", tmp_path / "copy", "--db", url(path))[0] == 0


def test_a_missing_store_is_not_made(tmp_path, capsys):
    for words in (["check-store"], ["backup", tmp_path / "copy"]):
        code, lines = run(capsys, *words, "--db", url(tmp_path / "none"))
        assert (code, lines) == (
            2,
            [f"error: there is no store {tmp_path / 'none'}; pass another --db"],
        )
    assert list(tmp_path.iterdir()) == []


def board_of_store(path):
    """Return what the public sees of a store."""
    store = open_database(url(path))
    try:
        source = StoreSource(store)
        board = board_json(source.board_page(QUICK, 1, Feasibility.MEAN))
        return board, stored_submissions(store), all_seasons(store)
    finally:
        store.close()


def test_a_backup_of_a_store_in_use_is_one_of_its_states(path, capsys, tmp_path):
    """Meanwhile one process adds accounts, each with its entry in the log, and a reader reads."""
    store, stop = open_database(url(path)), threading.Event()
    board = board_of_store(path)

    def write():
        number = 0
        while not stop.is_set():
            create_token_of(store, number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    copies = [tmp_path / f"copy {number}" for number in range(4)]
    for copy in copies:
        assert run(capsys, "backup", copy, "--db", url(path)) == (
            0,
            [f"{copy}: {copy.stat().st_size:,} bytes, verified"],
        )
    stop.set()
    writer.join()
    store.close()
    seen = []
    for copy in copies:
        assert (copy.stat().st_mode & 0o777) == 0o600  # it has the secret of the season
        assert run(capsys, "check-store", "--db", url(copy))[0] == 0
        assert board_of_store(copy) == board
        opened = open_database(url(copy))
        with opened.reading() as connection:
            made = sa.select(sa.func.count()).select_from(audit)
            tokens = connection.execute(made.where(audit.c.action == "create token")).scalar_one()
            names = connection.execute(sa.select(sa.func.count()).select_from(account))
            assert names.scalar_one() == tokens + 1  # a change is copied whole or not at all
            seen.append(revision(connection))
        opened.close()
    assert seen == sorted(seen)
    assert len(set(seen)) > 1, "nobody wrote meanwhile"


def create_token_of(store, number):
    create_token(store, f"account {number}", Scope.SUBMIT, "test")


def test_a_backup_replaces_nothing_and_is_whole_or_not_there(path, capsys, tmp_path):
    for name in ("kept", "store.sqlite"):
        copy = tmp_path / name
        if not copy.exists():
            copy.write_text("mine")
        before = copy.read_bytes()
        assert run(capsys, "backup", copy, "--db", url(path)) == (
            2,
            [f"error: {copy} exists, and a backup replaces nothing; pass another name"],
        )
        assert copy.read_bytes() == before
    missing = tmp_path / "no" / "folder"
    code, lines = run(capsys, "backup", missing, "--db", url(path))
    assert (code, lines) == (1, [f"error: {missing}: No such file or directory"])
    with small_disk(tmp_path / "disk") as disk, full(disk):
        code, lines = run(capsys, "backup", disk / "copy", "--db", url(path))
        assert code == 1
        assert lines[0].startswith(f"error: {disk / 'copy'}: the copy cannot be written")
        assert [file.name for file in disk.iterdir()] == ["filler"]


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_postgresql_is_checked_and_has_its_own_backup(store_url, capsys, tmp_path):
    open_database(store_url).close()
    assert run(capsys, "check-store", "--db", store_url)[0] == 0
    code, lines = run(capsys, "backup", tmp_path / "copy", "--db", store_url)
    assert (code, lines) == (
        2,
        [
            "error: backup copies SQLite stores; for PostgreSQL use its own program: pg_dump "
            f"--format=custom --file {tmp_path / 'copy'} DATABASE"
        ],
    )


WRITE_AND_HANG = """
import sqlite3, sys, time
store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.execute("PRAGMA cache_size=1")  # so that changes reach the file before they are committed
store.execute("BEGIN IMMEDIATE")
store.execute("UPDATE submission SET state = 'invalid', meta = hex(zeroblob(200000))")
store.execute("DELETE FROM episode")
print("written", flush=True)
time.sleep(60)
"""


def test_a_writer_killed_in_the_middle_leaves_no_trace(path, capsys):
    board = board_of_store(path)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE_AND_HANG, str(path)], stdout=subprocess.PIPE
    )
    assert writer.stdout.readline() == b"written\n"
    assert os.path.getsize(f"{path}-wal") > 200_000
    writer.kill()
    writer.communicate()
    assert board_of_store(path) == board
    assert run(capsys, "check-store", "--db", url(path))[0] == 0
    store = open_database(url(path))
    create_token_of(store, 0)
    store.close()


def test_a_store_whose_log_was_lost_is_an_older_state_of_it(path, capsys, tmp_path):
    """Copied without the -wal file beside it: what is missing is the last changes, nothing else."""
    store = open_database(url(path))
    create_token_of(store, 0)
    alone = Path(shutil.copy(path, tmp_path / "alone.sqlite"))
    with store.writing() as connection:
        connection.execute(sa.update(submission).values(reason="x" * 100_000))
    store.close()
    assert run(capsys, "check-store", "--db", url(alone))[0] == 0
    assert board_of_store(alone) != board_of_store(path)
    opened = open_database(url(alone))
    with opened.reading() as connection:
        tokens = sa.select(audit.c.id).where(audit.c.action == "create token")
        assert connection.execute(tokens).all() == []
    opened.close()


def test_processes_that_make_a_store_at_once_make_one(tmp_path):
    path = tmp_path / "new" / "store.sqlite"
    start, failures = threading.Barrier(6), []

    def make(number):
        start.wait()
        try:
            store = open_database(embedded_url(path))
            create_token_of(store, number)
            store.close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    store = open_database(embedded_url(path))
    with store.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(account)).scalar() == 6
    store.close()
    assert [file.name for file in path.parent.iterdir()] == ["store.sqlite"]
    assert (path.stat().st_mode & 0o777) == 0o600
