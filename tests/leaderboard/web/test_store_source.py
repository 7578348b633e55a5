"""The pages' data is the content of the store and follows its changes."""

import numpy as np
import pytest
import sqlalchemy as sa

from leaderboard.boards.board import board_of, boards
from leaderboard.commands.export import site_paths
from leaderboard.evaluation.evaluate import publish
from leaderboard.scores.ranked_row import Feasibility, Tier
from leaderboard.scores.scored_episodes import EpisodeSums
from leaderboard.store.accounts import account_id_of
from leaderboard.store.database import open_database
from leaderboard.store.episode_store import keep_episodes
from leaderboard.store.leases import MOST_ATTEMPTS, claim
from leaderboard.store.seasons import (
    HIDDEN,
    SeasonState,
    close_season,
    episode_seeds,
    open_season,
    reveal_season,
)
from leaderboard.store.submission_store import State, keep_submission, withdraw
from leaderboard.store.tables import audit, policy, submission
from leaderboard.web.pages import render
from leaderboard.web.store_source import StoreSource
from tests.leaderboard.tabular_policies import (
    a_curve,
    random_tables,
    submission_for,
    table_policy,
)

SECRET = bytes(range(32))
SEA, CLIFF = "Safe/DeepSeaTreasure-v0", "Safe/CliffWorld-v0"


def submit(database, env, shape, seed, account="alice", **changes):
    """Keep five random policies with made-up episodes; return their submission's number."""
    policies = [table_policy(table) for table in random_tables(*shape, 5, seed)]
    with database.writing() as connection:
        owner = account_id_of(connection, account)
    given = submission_for(env, policies, [a_curve()] * 5, **changes)
    number = keep_submission(database, given, owner, quota=False).id
    lease = claim(database, "worker", number)
    rng = np.random.default_rng(seed)
    with database.writing() as connection:
        query = sa.select(policy.c.id).where(policy.c.submission_id == number)
        for position, policy_id in enumerate(connection.execute(query.order_by(policy.c.position))):
            numbers = rng.random((100, 2)).tolist()
            episodes = {
                100 * position + i: EpisodeSums(value, (0.25 * cost,), value, (cost,), 3)
                for i, (value, cost) in enumerate(numbers)
            }
            keep_episodes(connection, policy_id[0], HIDDEN, episodes)
    publish(database, lease, board_of(env))
    return number


def test_a_season_from_its_opening_to_its_secret(store_url):
    database = open_database(store_url)
    open_season(database, "admin", SECRET)
    source = StoreSource(database)
    assert source.board_page(SEA, 1, Feasibility.MEAN).rows == ()

    first = submit(database, SEA, (25, 2), 1, algorithm="first")
    second = submit(database, SEA, (25, 2), 2, algorithm="second")
    page = source.board_page(SEA, 1, Feasibility.MEAN)
    assert sorted(row.submission.id for row in page.rows) == [first, second]
    assert [row.ranked.rank for row in page.rows] == [1, 2]
    assert {row.submission.state for row in page.rows} == {State.SCORED}
    places = {row.submission.id: row.ranked for row in page.rows}
    shown = source.submission_page(first)
    assert shown.row.ranked == places[first]
    assert (shown.episodes, shown.episode_seeds) == (None, ())
    assert [curve.steps for curve in shown.curves] == [(1.0, 2.0, 3.0)] * 5
    assert source.submission_page(99) is None

    withdraw(database, first, "alice")
    (left, gone) = source.board_page(SEA, 1, Feasibility.MEAN).rows
    assert (left.submission.id, left.ranked.rank) == (second, 1)
    assert (gone.submission.state, gone.ranked.rank) == (State.WITHDRAWN, None)

    close_season(database, "admin")
    assert source.submission_page(second).episodes is None
    reveal_season(database, 1, "admin")
    shown = source.submission_page(second)
    assert shown.season.state is SeasonState.REVEALED
    assert shown.season.secret == SECRET.hex()
    assert shown.episodes.returns.shape == (5, 100)
    assert list(shown.episode_seeds) == episode_seeds(SECRET, board_of(SEA), range(500))
    means = shown.episodes.returns.mean(axis=1)
    found = shown.row.ranked.candidate.score.statistics.seed_returns
    assert tuple(means) == pytest.approx(found, abs=1e-12)

    open_season(database, "admin")
    assert [season.number for season in source.seasons()] == [1, 2]
    assert source.board_page(SEA, 2, Feasibility.MEAN).rows == ()
    assert len(source.board_page(SEA, 1, Feasibility.P95).rows) == 2
    database.close()


def test_waiting_and_broken_submissions_are_shown(store_url):
    database = open_database(store_url)
    open_season(database, "admin", SECRET)
    source = StoreSource(database)
    policies = [table_policy(table) for table in random_tables(25, 2, 1)]
    with database.writing() as connection:
        owner = account_id_of(connection, "alice")
    number = keep_submission(database, submission_for(SEA, policies), owner, quota=False).id
    shown = source.submission_page(number).row.submission
    assert (shown.state, shown.episodes_done, shown.episodes_total) == (State.QUEUED, 0, 100)
    claim(database, "worker", seconds=-1.0)
    assert render(f"submissions/{number}.html", source) is not None
    for _ in range(MOST_ATTEMPTS):
        claim(database, "worker", seconds=-1.0)
    page = source.submission_page(number)
    assert (page.row.submission.state, page.row.ranked) == (State.FAILED, None)
    html = render(f"submissions/{number}.html", source).content.decode()
    assert "the evaluation broke off 5 times" in html
    assert render(f"boards/{board_of(SEA).slug}/index.html", source) is not None
    database.close()


def test_all_boards_together_take_the_latest_row_of_an_account(store_url):
    database = open_database(store_url)
    open_season(database, "admin", SECRET)
    submit(database, SEA, (25, 2), 1, algorithm="one")
    latest = submit(database, SEA, (25, 2), 2, algorithm="one")
    cliff = submit(database, CLIFF, (21, 4), 3, algorithm="one")
    other = submit(database, SEA, (25, 2), 4, account="bob", algorithm="one")
    page = StoreSource(database).aggregate_page(1)
    assert [board.env for board in page.boards] == list(boards())
    cells = [
        {env: cell.submission_id for env, cell in row.cells.items()}
        for row in sorted(page.rows, key=lambda row: -len(row.cells))
    ]
    assert cells == [{SEA: latest, CLIFF: cliff}, {SEA: other}]
    source = StoreSource(database)
    tiers = {
        row.submission.id: row.ranked.tier
        for env in (SEA, CLIFF)
        for row in source.board_page(env, 1, Feasibility.MEAN).rows
    }
    for row in page.rows:
        for cell in row.cells.values():
            assert cell.feasible == (tiers[cell.submission_id] in (Tier.SAFE, Tier.FEASIBLE))
    database.close()


def test_every_path_of_the_site_has_a_page(store_url):
    database = open_database(store_url)
    open_season(database, "admin", SECRET)
    submit(database, SEA, (25, 2), 1)
    source = StoreSource(database)
    paths = list(site_paths(source))
    assert [path for path in paths if render(path, source) is None] == []
    with database.reading() as connection:
        actions = list(connection.execute(sa.select(audit.c.action).order_by(audit.c.id)).scalars())
    assert actions == ["open season", "submit", "evaluate", "scored"]
    database.close()


def test_a_board_that_was_removed_breaks_no_page(store_url):
    database = open_database(store_url)
    open_season(database, "admin", SECRET)
    number = submit(database, SEA, (25, 2), 1)
    gone = submit(database, CLIFF, (21, 4), 2)
    with database.writing() as connection:
        ended = sa.update(submission).where(submission.c.id == gone)
        connection.execute(ended.values(env="Safe/Retired-v0"))
    source = StoreSource(database)
    assert list(source.submission_ids()) == [number]
    assert [path for path in site_paths(source) if render(path, source) is None] == []
    database.close()
