"""Nothing public of a season tells about single episodes before its secret is revealed.

Two stores that differ in their hidden episodes, but not in the numbers that
`leaderboard.scores.published` gives for them, look the same to the last byte: so nothing gets
around these numbers, whose own tests say what can be computed from them.
"""

import ast
import dataclasses
import json
import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from rich.console import Console

from leaderboard.boards.board import board_of
from leaderboard.commands.export import site_paths, write_site
from leaderboard.commands.row_table import score_table
from leaderboard.evaluation.evaluate import publish
from leaderboard.scores.published import numbers_of, published_to_json, rounded
from leaderboard.scores.ranked_row import Feasibility
from leaderboard.scores.score_json import draws_to_bytes, statistics_to_json
from leaderboard.scores.scored_episodes import EpisodeSums, ScoredEpisodes
from leaderboard.scores.scoring import score_row
from leaderboard.store.accounts import account_id_of
from leaderboard.store.board_rows import BoardRows
from leaderboard.store.episode_store import keep_episodes
from leaderboard.store.leases import claim
from leaderboard.store.score_store import row_scores
from leaderboard.store.seasons import HIDDEN, close_season, reveal_season
from leaderboard.store.submission_store import keep_submission, withdraw
from leaderboard.store.tables import episode, policy, result
from leaderboard.web.store_source import StoreSource
from tests.leaderboard.app_client import client_of
from tests.leaderboard.submissions import a_store
from tests.leaderboard.tabular_policies import random_tables, submission_for, table_policy

ENV = "SafetyHopperVelocity-v1"
BOARD = board_of(ENV)
SIZES = (5, 5, 1, 2, 6)  # policies of the submissions; the last one is withdrawn
LEADERBOARD = Path(__file__).parents[3] / "leaderboard"


def some_episodes(seed, policies):
    """Returns and costs of five or six digits, which occur nowhere else on the pages."""
    rng = np.random.default_rng(seed)
    shape = (policies, 100)
    returns = rng.normal(1500.0 - 60 * seed, 60.0, shape)
    costs = rng.gamma(2.0, 9.0, shape)[..., None]
    lengths = rng.integers(700, 1000, shape)
    return ScoredEpisodes(returns, costs, returns, costs, lengths)


def keep(database, number, episodes):
    with database.writing() as connection:
        query = sa.select(policy.c.id).where(policy.c.submission_id == number)
        ids = connection.execute(query.order_by(policy.c.position)).scalars().all()
        connection.execute(sa.delete(episode).where(episode.c.policy_id.in_(ids)))
        for position, policy_id in enumerate(ids):
            kept = {
                100 * position + i: EpisodeSums(
                    float(episodes.returns[position, i]),
                    tuple(episodes.costs[position, i].tolist()),
                    float(episodes.plain_returns[position, i]),
                    tuple(episodes.plain_costs[position, i].tolist()),
                    int(episodes.lengths[position, i]),
                )
                for i in range(100)
            }
            keep_episodes(connection, policy_id, HIDDEN, kept)


def submit(database, seed, episodes):
    count = len(episodes.returns)
    policies = [table_policy(table) for table in random_tables(4, 2, count, seed)]
    with database.writing() as connection:
        account = account_id_of(connection, "alice")
    given = submission_for(ENV, policies, algorithm=f"agent {seed}")
    number = keep_submission(database, given, account, quota=False).id
    lease = claim(database, "worker", number)
    keep(database, number, episodes)
    publish(database, lease, BOARD)
    return number


def replace(database, number, episodes):
    """Put other episodes and their score in the place of a submission's."""
    keep(database, number, episodes)
    score = score_row(BOARD, episodes)
    with database.writing() as connection:
        connection.execute(
            sa.update(result)
            .where(result.c.submission_id == number)
            .values(
                statistics=statistics_to_json(score.statistics), draws=draws_to_bytes(score.draws)
            )
        )


def looks(episodes):
    return published_to_json(rounded(BOARD, score_row(BOARD, episodes).statistics))


def other_episodes(episodes, seed, changes=12):
    """Episodes with the same public numbers, of which many have other values and places."""
    rng = np.random.default_rng(seed)
    shown = looks(episodes)
    for _ in range(changes):
        returns, costs = episodes.returns.copy(), episodes.costs.copy()
        lengths = episodes.lengths.copy()
        row = rng.integers(len(returns))
        pairs = rng.permutation(100)[:20].reshape(2, 10)
        returns[row, pairs] += np.outer([1, -1], rng.normal(0.0, 2.0, 10))
        costs[row, pairs[0]], costs[row, pairs[1]] = costs[row, pairs[1]], costs[row, pairs[0]]
        lengths[row, pairs] = lengths[row, pairs[::-1]]
        found = ScoredEpisodes(returns, costs, returns, costs, lengths)
        if looks(found) == shown:
            episodes = found
    return episodes


class OneBoard(StoreSource):
    """A source with a single board, since all boards are alike."""

    def boards(self):
        return [BOARD]


def everything(database, folder):
    """Return all that is public: pages, data files, API, comparisons, export, terminal."""
    source = OneBoard(database)
    numbers = source.submission_ids()
    pairs = [f"compare/{a}-{b}.html" for a in numbers for b in numbers if a != b]
    api = ["api/v1/boards", "api/v1/seasons", "openapi.json"]
    api += [f"api/v1/submissions/{number}" for number in numbers]
    found = {}
    with client_of(database) as client:
        for path in [*site_paths(source), *pairs, *api]:
            if not path.startswith("static/"):
                answer = client.get(f"/{path}")
                assert answer.status_code == 200, path
                found[path] = answer.content
                found[f"{path}, headers"] = repr(answer.headers).encode()
    for file in write_site(source, folder):
        if file.suffix in (".html", ".csv", ".json"):
            found[str(file.relative_to(folder.parent))] = file.read_bytes()
    for number in numbers:
        row = BoardRows(database).row(number)
        text = StringIO()
        table = score_table(BOARD, numbers_of(row.ranked), row.submission.metadata.claim)
        Console(file=text, width=200).print(table)
        found[f"terminal {number}"] = text.getvalue().encode()
    return found


THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?!\d)")


def digits_of(text):
    """Return the numbers in a text with five or more significant digits, as texts."""
    plain = THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    numbers = {re.sub(r"\.0$", "", n) for n in re.findall(r"\d+\.\d+(?:e-?\d+)?|\d{5,}", plain)}
    return {n for n in numbers if len(re.sub(r"e.*|^0*\.?0*|\.", "", n)) >= 5}


def numbers_in(data):
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list | tuple):
        return [number for each in data for number in numbers_in(each)]
    return [data] if isinstance(data, float) else []


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store of an open season, and what is public of it."""
    folder = tmp_path_factory.mktemp("hidden")
    database = a_store(folder / "store.sqlite")
    rows = [some_episodes(seed, count) for seed, count in enumerate(SIZES)]
    numbers = [submit(database, seed, row) for seed, row in enumerate(rows)]
    withdraw(database, numbers[-1], "alice")
    yield database, dict(zip(numbers, rows, strict=True)), everything(database, folder / "site")
    database.close()


def leaks(text, secret):
    """Return the numbers in a text that are secret ones, rounded to five digits or more."""
    found = []
    for number in digits_of(text):
        decimals = len(number.partition(".")[2]) if "e" not in number else 12
        if np.abs(secret - float(number)).min() <= 0.5 * 10.0**-decimals:
            found.append(number)
    return found


def test_the_secret_numbers_are_nowhere(stored):
    database, rows, public = stored
    secret, full = [], []
    for number, score in row_scores(database, list(rows)).items():
        full.append(dataclasses.asdict(score.statistics))
        secret += [n for n in numbers_in(full[-1]) if len(f"{abs(n):.12g}") > 6]
        secret += [*rows[number].returns.ravel(), *rows[number].costs.ravel()]
    secret = np.abs(secret)
    assert len(leaks(json.dumps(full), secret)) > 1000
    assert {path: found for path in public if (found := leaks(public[path].decode(), secret))} == {}


def test_other_hidden_episodes_look_the_same(stored, tmp_path):
    database, rows, public = stored
    others = {n: other_episodes(row, seed) for seed, (n, row) in enumerate(rows.items())}
    for number, row in rows.items():
        changed = (row.returns != others[number].returns).mean()
        assert changed > 0.2 / len(row.returns)
        replace(database, number, others[number])
    try:
        again = everything(database, tmp_path / "site")
        assert [path for path in public if again[path] != public[path]] == []
    finally:
        for number, row in rows.items():
            replace(database, number, row)


def test_a_preview_has_no_quantiles_and_no_tails(stored):
    _, rows, public = stored
    preview = next(number for number, row in rows.items() if len(row.returns) == 1)
    told = json.loads(public[f"api/v1/submissions/{preview}"])["statistics"]
    cost = told["costs"][0]
    assert {*told["return_quantiles"], *cost["quantiles"], cost["worst"]} == {None}
    assert {*cost["p90"].values(), *cost["p95"].values(), *cost["cvar"].values()} == {None}
    ranked = json.loads(public[f"api/v1/submissions/{min(rows)}"])["statistics"]
    assert [p for p, q in enumerate(ranked["return_quantiles"]) if q is not None] == [
        *range(10, 100, 10)
    ]
    assert ranked["costs"][0]["worst"] is None


def test_all_is_exact_once_the_secret_is_revealed(tmp_path):
    database = a_store(tmp_path / "store.sqlite")
    first, second = (submit(database, seed, some_episodes(seed, 5)) for seed in (0, 1))
    source = StoreSource(database)
    full = row_scores(database, [first, second])
    shown = source.board_page(ENV, 1, Feasibility.MEAN).rows[0].ranked
    assert shown.candidate.score.statistics.score != full[first].statistics.score
    close_season(database, "admin")
    path = f"/api/v1/submissions/{first}"
    with client_of(database) as client:
        assert client.get(path).json()["statistics"]["costs"][0]["worst"] is None
    reveal_season(database, 1, "admin")
    with client_of(database) as client:
        told = client.get(path).json()["statistics"]
        lines = client.get(f"/boards/{BOARD.slug}/board.csv").text.splitlines()
    assert told == json.loads(statistics_to_json(full[first].statistics))
    assert repr(full[first].statistics.score.value) in lines[1].split(",")
    numbers = numbers_of(source.board_page(ENV, 1, Feasibility.MEAN).rows[0].ranked)
    assert numbers == full[first].statistics
    draws = [full[number].draws.score for number in (first, second)]
    exact = np.quantile(draws[1] - draws[0], [0.025, 0.975])
    assert source.score_difference(first, second) == pytest.approx(tuple(exact), abs=1e-15)
    database.close()


def test_full_numbers_leave_the_store_by_one_door_only():
    """`row_scores` gives full numbers and `exactly` declares some public."""
    users = {"row_scores": set(), "exactly": set(), "scored_episodes": set()}
    for file in LEADERBOARD.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                for name in {alias.name for alias in node.names} & set(users):
                    users[name].add(file.relative_to(LEADERBOARD).as_posix())
    assert users["row_scores"] == {"store/board_rows.py"}
    assert users["exactly"] == {"store/board_rows.py", "commands/verify.py"}
    assert users["scored_episodes"] == {
        "evaluation/evaluate.py",
        "store/score_store.py",
        "web/store_source.py",  # the episodes of a revealed season
    }
