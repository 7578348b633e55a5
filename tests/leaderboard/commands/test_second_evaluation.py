"""An administrator repairs what a machine or an older release did to a submission."""

import pytest
import sqlalchemy as sa

from leaderboard.__main__ import main
from leaderboard.commands.export import write_site
from leaderboard.evaluation.worker import evaluate_next, worker_name
from leaderboard.scores.ranked_row import Feasibility
from leaderboard.store.accounts import account_id_of
from leaderboard.store.database import embedded_url
from leaderboard.store.leases import MOST_ATTEMPTS, claim, close
from leaderboard.store.seasons import open_season, reveal_season
from leaderboard.store.submission_store import State, keep_submission, stored_submission
from leaderboard.store.tables import audit, episode, job, policy, result, submission
from leaderboard.web.pages import render
from leaderboard.web.store_source import StoreSource
from tests.leaderboard.submissions import QUICK, a_store, a_submission


@pytest.fixture
def store(tmp_path):
    database = a_store(tmp_path / "board.sqlite")
    yield database
    database.close()


@pytest.fixture
def db(tmp_path):
    return embedded_url(tmp_path / "board.sqlite")


def submit(database, seed=0, count=1):
    with database.writing() as connection:
        account = account_id_of(connection, "ada")
    given = a_submission(QUICK, count, first_seed=seed)
    return keep_submission(database, given, account, quota=False).id


def command(capsys, *words):
    code = main([str(word) for word in words])
    return code, " ".join(capsys.readouterr().out.split())


def rows_of(database, table, *order):
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.select(table).order_by(*order))]


def episodes_of(database):
    return rows_of(database, episode, episode.c.policy_id, episode.c.seed_index)


def history_of(database, number):
    return [entry.text for entry in StoreSource(database).submission_page(number).history]


def fail_after_a_batch(database, number):
    """Break a submission's evaluation off after its first batch, and then too often."""

    def break_off(done, total):
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        evaluate_next(database, worker_name(), progress=break_off)
    for _ in range(MOST_ATTEMPTS + 1):
        with database.writing() as connection:
            connection.execute(sa.update(job).values(lease_until=0.0))
        claim(database, worker_name(), number)
    assert stored_submission(database, number).state is State.FAILED


def declare_invalid(database, number):
    """Give the verdict that an earlier release gave when the machine had killed a policy."""
    assert evaluate_next(database, worker_name()) == (number, State.SCORED)
    with database.writing() as connection:
        connection.execute(sa.delete(result))
        reason = "the policy crashed (SIGKILL)"
        close(connection, number, State.INVALID, reason, worker_name())


def test_a_failed_submission_goes_on_where_it_broke_off(store, db, capsys):
    number = submit(store)
    fail_after_a_batch(store, number)
    kept = episodes_of(store)
    assert len(kept) == 20
    code, text = command(capsys, "requeue", number, "--reason", "The disk was full.", "--db", db)
    assert (code, text) == (0, "submission 1 is queued again and keeps 20 episodes")
    assert stored_submission(store, number).state is State.QUEUED
    assert evaluate_next(store, worker_name()) == (number, State.SCORED)
    assert [row for row in episodes_of(store) if row in kept] == kept
    assert len(episodes_of(store)) == 100
    assert history_of(store, number) == [
        "submitted",
        "evaluation started",
        "evaluation interrupted by a fault of the machine",
        "not evaluated, through no fault of the policies",
        "queued again by an administrator",
        "evaluation started",
        "evaluated",
    ]


def test_it_starts_from_scratch_if_asked_to(store, db, capsys):
    number = submit(store)
    fail_after_a_batch(store, number)
    reason = ["--reason", "Its memory was broken.", "--from-scratch"]
    code, text = command(capsys, "requeue", number, *reason, "--db", db)
    assert (code, text) == (0, "submission 1 is queued again and keeps 0 episodes")
    assert episodes_of(store) == []
    assert rows_of(store, policy)[0][-1] == 0.0  # processor time


def test_a_wrong_verdict_is_found_anew_from_the_beginning(store, db, capsys):
    number = submit(store)
    declare_invalid(store, number)
    expected = episodes_of(store)
    source = StoreSource(store)
    board = source.board_page(QUICK, 1, Feasibility.MEAN)
    assert board.rows[0].ranked.candidate.score is None  # invalid
    code, text = command(capsys, "requeue", number, "--reason", "Out of memory.", "--db", db)
    assert (code, text) == (0, "submission 1 is queued again and keeps 0 episodes")
    assert source.board_page(QUICK, 1, Feasibility.MEAN).rows[0].ranked is None
    assert evaluate_next(store, worker_name()) == (number, State.SCORED)
    assert episodes_of(store) == expected
    assert source.board_page(QUICK, 1, Feasibility.MEAN).rows[0].ranked.candidate.score is not None


REFUSED = {
    "scored": (
        ["requeue", 1, "--reason", "x"],
        "submission 1 is scored; only failed and invalid ones are queued again; rescore computes "
        "its statistics again",
    ),
    "waiting": (
        ["requeue", 2, "--reason", "x"],
        "submission 2 is queued; only failed and invalid ones are queued again; wait for its "
        "evaluation",
    ),
    "unknown": (
        ["requeue", 9, "--reason", "x"],
        "there is no submission 9; a submission's page shows its number",
    ),
    "no reason": (
        ["requeue", 1, "--reason", " "],
        "--reason has 0 characters; pass 1 to 500 that tell everyone why",
    ),
    "long reason": (
        ["rescore", 1, "--reason", "x" * 501],
        "--reason has 501 characters; pass 1 to 500 that tell everyone why",
    ),
    "invisible": (
        ["rescore", 1, "--reason", "a\u202eb"],
        "--reason has invisible characters (U+202E); remove them",
    ),
    "not scored": (
        ["rescore", 2, "--reason", "x"],
        "submission 2 is queued; only scored ones have statistics; requeue evaluates failed and "
        "invalid ones again",
    ),
    "rescore unknown": (
        ["rescore", 9, "--reason", "x"],
        "there is no submission 9; a submission's page shows its number",
    ),
    "both": (
        ["rescore", 1, "--all", "--reason", "x"],
        "pass either numbers of submissions or --all",
    ),
    "neither": (["rescore", "--reason", "x"], "pass either numbers of submissions or --all"),
}


def test_what_is_refused_changes_nothing(store, db, capsys):
    submit(store)
    evaluate_next(store, worker_name())
    submit(store, seed=1)
    tables = (submission, policy, episode, result, audit, job)
    before = [rows_of(store, table) for table in tables]
    for name, (words, said) in REFUSED.items():
        code, text = command(capsys, *words, "--db", db)
        assert (code, text) == (2, f"error: {said}"), name
    assert [rows_of(store, table) for table in tables] == before


def test_old_statistics_break_nothing_and_are_replaced_when_asked(store, db, tmp_path, capsys):
    """Every page of a store of an older version, of a damaged row, and of an older board."""
    for seed in (0, 1, 2):
        submit(store, seed)
        evaluate_next(store, worker_name())
    current = rows_of(store, result, result.c.submission_id)
    write_site(StoreSource(store), tmp_path / "before")
    with store.writing() as connection:
        old = sa.update(result).where(result.c.submission_id == 1)
        connection.execute(old.values(statistics_version=0, statistics="{}"))
        damaged = sa.update(result).where(result.c.submission_id == 2)
        connection.execute(damaged.values(statistics='{"version": 1}', draws=b"?"))
    outdated = rows_of(store, result, result.c.submission_id)
    write_site(StoreSource(store), tmp_path / "after")
    files = {
        folder: {
            file.relative_to(tmp_path / folder): file.read_bytes()
            for file in (tmp_path / folder).rglob("*")
            if file.is_file()
        }
        for folder in ("before", "after")
    }
    assert files["after"] == files["before"]
    assert rows_of(store, result, result.c.submission_id) == outdated  # pages write nothing

    told = "The formula of the interval was wrong."
    code, text = command(capsys, "rescore", "--all", "--reason", told, "--db", db)
    assert (code, text) == (
        0,
        "submission 1 has new statistics submission 2 has new statistics "
        "submission 3 has these statistics already",
    )
    assert rows_of(store, result, result.c.submission_id) == current
    last = "statistics computed again by an administrator"
    assert [history_of(store, number)[-1] for number in (1, 2, 3)] == [last, last, "evaluated"]
    html = render("submissions/1.html", StoreSource(store)).content.decode()
    assert told in html


def test_a_row_of_another_board_version_is_shown_without_numbers(store, db, capsys):
    number = submit(store)
    evaluate_next(store, worker_name())
    with store.writing() as connection:
        connection.execute(sa.update(submission).values(board_version=99))
        connection.execute(sa.update(result).values(statistics_version=0))
    source = StoreSource(store)
    assert source.board_page(QUICK, 1, Feasibility.MEAN).rows[0].ranked is None
    assert render(f"submissions/{number}.html", source) is not None
    code, text = command(capsys, "rescore", number, "--reason", "x", "--db", db)
    assert code == 2
    assert text == (
        f"error: submission 1 is to version 99 of the board of {QUICK}, which this release does "
        "not have; use the matching release"
    )


def test_the_history_tells_what_happened_and_names_no_machine(store, db, tmp_path, capsys):
    number = submit(store)
    declare_invalid(store, number)
    reason = "<script>alert(1)</script> & the machine was out of memory"
    assert command(capsys, "requeue", number, "--reason", reason, "--db", db)[0] == 0
    worker = worker_name()
    evaluate_next(store, worker)
    assert command(capsys, "withdraw", number, "--db", db)[0] == 0
    write_site(StoreSource(store), tmp_path / "site")
    html = (tmp_path / "site/submissions/1.html").read_text()
    shown = html[html.index("<h2>History</h2>") :]
    shown = shown[: shown.index("</section>")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; the machine was out of memory" in shown
    assert "<script>" not in shown
    for entry in ("submitted", "found invalid", "queued again by an administrator", "withdrawn"):
        assert f": {entry}" in shown
    pages = "".join(file.read_text() for file in (tmp_path / "site").rglob("*.html"))
    host, token = worker.rsplit("-", 2)[0], worker.rsplit("-", 1)[1]
    assert token not in pages
    assert f"{host}-" not in pages
    with store.reading() as connection:
        query = sa.select(audit.c.actor, audit.c.reason).where(audit.c.action == "requeue")
        actor, kept = connection.execute(query).one()
    assert (actor != "", kept) == (True, reason)


def test_a_season_is_not_revealed_while_a_submission_is_evaluated_again(store, db, capsys):
    number = submit(store)
    declare_invalid(store, number)
    assert command(capsys, "close-season", "--db", db)[0] == 0
    assert command(capsys, "requeue", number, "--reason", "x", "--db", db)[0] == 0
    with pytest.raises(ValueError, match="season 1 has 1 submissions still to be evaluated"):
        reveal_season(store, 1, "admin")
    evaluate_next(store, worker_name())
    reveal_season(store, 1, "admin")
    open_season(store, "admin")
    assert StoreSource(store).submission_page(number).episodes.returns.shape == (1, 100)
