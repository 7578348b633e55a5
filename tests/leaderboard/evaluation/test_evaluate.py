"""Evaluation: the episodes depend on policy and seeds alone."""

import time
from dataclasses import asdict

import gymnasium as gym
import numpy as np
import pytest
import sqlalchemy as sa
from scipy.stats import norm

import leaderboard.evaluation.evaluate
from leaderboard.boards.board import EPISODES_PER_POLICY, board_of
from leaderboard.commands.verify import evaluate_submission
from leaderboard.evaluation.episodes import EpisodePlayer, actions_of
from leaderboard.evaluation.evaluate import PolicyFile, evaluate, play_policy, seed_indices
from leaderboard.evaluation.worker import evaluate_next
from leaderboard.policy_files.gate import check_graph
from leaderboard.sandbox.policy import PolicyFailed, SandboxLimits, SandboxUnavailable
from leaderboard.store.accounts import account_id_of
from leaderboard.store.database import open_database
from leaderboard.store.episode_store import scored_episodes
from leaderboard.store.leases import MOST_ATTEMPTS, LeaseLost, claim, release, renew, waiting
from leaderboard.store.score_store import row_scores
from leaderboard.store.seasons import HIDDEN, episode_seeds, open_season
from leaderboard.store.submission_store import State, keep_submission, stored_submission
from leaderboard.store.tables import episode, job, result, submission
from leaderboard.submissions.submission import spaces_of
from tests.leaderboard.onnx_models import gaussian_policy
from tests.leaderboard.tabular_policies import (
    fails_between,
    hangs_between,
    random_tables,
    submission_for,
    table_policy,
)

SECRET = bytes(range(32))
SEA = "Safe/DeepSeaTreasure-v0"
BOX = "Safe/DoubleIntegrator-v0"


class TablePolicy:
    """The same logits as `table_policy`, without ONNX."""

    def __init__(self, probabilities):
        self.logits = np.log(probabilities + 1e-30).astype(np.float32)

    def outputs(self, observations):
        return {"logits": (observations @ self.logits).astype(np.float32)}


def sea_tables(count=1, seed=0):
    return random_tables(25, 2, count, seed)


def store_with(url, given):
    database = open_database(url)
    open_season(database, "tester", SECRET)
    with database.writing() as connection:
        account = account_id_of(connection, "tester")
    return database, keep_submission(database, given, account, quota=False).id


def a_policy_file():
    content, spaces = table_policy(sea_tables()[0]), spaces_of(board_of(SEA))
    return PolicyFile(content, check_graph(content, spaces.observation, spaces.action), True)


def all_rows(database):
    columns = [c for c in episode.c if c.name != "policy_id"]
    with database.reading() as connection:
        query = sa.select(*columns).order_by(episode.c.policy_id, episode.c.seed_index)
        return [tuple(row) for row in connection.execute(query)]


def sums_by_hand(env_id, table, seed):
    """One episode with nothing but Gymnasium and a table."""
    env = gym.make(env_id)
    model = env.unwrapped.tabular_model()
    state, _ = env.reset(seed=seed)
    draws = np.random.default_rng([seed, 1])
    weights = np.exp(np.log(table + 1e-30).astype(np.float32).astype(np.float64))
    value = cost = plain_value = plain_cost = 0.0
    for step in range(100):
        cumulative = np.cumsum(weights[state])
        action = int(np.searchsorted(cumulative, draws.random() * cumulative[-1], side="right"))
        state, reward, terminated, truncated, info = env.step(action)
        value += model.discount**step * reward
        cost += model.discount**step * info["cost"]
        plain_value, plain_cost = plain_value + reward, plain_cost + info["cost"]
        if terminated or truncated:
            break
    env.close()
    return value, cost, plain_value, plain_cost, step + 1


def test_episodes_equal_a_plain_loop():
    table, board = sea_tables()[0], board_of(SEA)
    seeds = [5, 2**63 + 11, 2**64 - 1]
    with EpisodePlayer(board, 3) as player:
        played = player.play(TablePolicy(table), True, seeds)
    for sums, seed in zip(played, seeds, strict=True):
        value, cost, plain_value, plain_cost, length = sums_by_hand(SEA, table, seed)
        assert sums.total_return == pytest.approx(value, abs=1e-12)
        assert sums.costs == pytest.approx((cost,), abs=1e-12)
        assert sums.plain_return == pytest.approx(plain_value, abs=1e-12)
        assert sums.plain_costs == pytest.approx((plain_cost,), abs=1e-12)
        assert sums.length == length


def test_an_episode_does_not_depend_on_those_beside_it():
    board, policy = board_of(SEA), TablePolicy(sea_tables()[0])
    seeds = episode_seeds(SECRET, board, range(6))
    with EpisodePlayer(board, 6) as player:
        together = player.play(policy, True, seeds)
        assert player.play(policy, True, seeds[::-1]) == together[::-1]
        assert [player.play(policy, True, [seed])[0] for seed in seeds] == together


def test_drawn_actions_have_their_probabilities():
    logits = np.log(np.array([[0.1, 0.2, 0.7]], dtype=np.float32)) + 3.0
    space = gym.spaces.Discrete(3, start=5)
    generator = np.random.default_rng(0)
    rows = np.repeat(logits, 20_000, axis=0)
    drawn = np.array(actions_of({"logits": rows}, space, True, [generator] * len(rows)))
    frequencies = np.bincount(drawn - 5) / len(drawn)
    assert frequencies == pytest.approx([0.1, 0.2, 0.7], abs=0.011)  # three standard errors
    assert actions_of({"logits": logits}, space, False, [generator]) == [7]


def test_gaussian_actions_have_their_moments_and_stay_within_bounds():
    space = gym.spaces.Box(-1.0, np.array([1.0, 50.0], np.float32), (2,), np.float32)
    rows = 20_000
    outputs = {
        "mean": np.tile(np.array([0.9, 3.0], dtype=np.float32), (rows, 1)),
        "log_std": np.tile(np.log(np.array([0.5, 2.0], dtype=np.float32)), (rows, 1)),
    }
    drawn = np.array(actions_of(outputs, space, True, [np.random.default_rng(1)] * rows))
    assert drawn.dtype == np.float32
    assert drawn[:, 0].max() == 1.0
    assert (drawn[:, 0] < 1.0).mean() == pytest.approx(0.5793, abs=0.011)  # Phi(0.2)
    inside = drawn[:, 1]
    assert (inside.mean(), inside.std()) == pytest.approx((3.05, 1.93), abs=0.06)  # cut at -1


def test_an_overflowing_deviation_ends_at_the_bounds():
    space = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)
    outputs = {"mean": np.zeros((1, 1), np.float32), "log_std": np.full((1, 1), 1e30, np.float32)}
    (action,) = actions_of(outputs, space, True, [np.random.default_rng(0)])
    assert abs(action[0]) == 2.0


def test_a_wide_deviation_of_wide_bounds_is_drawn_as_it_is():
    """Half of the range of a space is a usual deviation, even if its log is above 20."""
    space = gym.spaces.Box(-1e12, 1e12, (1,), np.float64)
    outputs = {"mean": np.zeros((4000, 1)), "log_std": np.full((4000, 1), np.log(1e11))}
    drawn = np.array(actions_of(outputs, space, True, [np.random.default_rng(0)] * 4000))
    assert drawn.std() == pytest.approx(1e11, rel=0.04)


def test_whole_actions_are_rounded():
    """Normal(0, 2^2) rounds to k with probability Phi((k + 1/2) / 2) - Phi((k - 1/2) / 2)."""
    space = gym.spaces.Box(-3, 4, (1,), np.int64)
    count = 20_000
    outputs = {"mean": np.zeros((count, 1)), "log_std": np.full((count, 1), np.log(2.0))}
    drawn = np.array(actions_of(outputs, space, True, [np.random.default_rng(0)] * count))
    assert drawn.dtype == np.int64
    edges = norm.cdf((np.arange(-3, 4) + 0.5) / 2.0)
    expected = np.diff(edges, prepend=0.0, append=1.0)
    found = np.bincount(drawn.ravel() + 3, minlength=8) / count
    np.testing.assert_allclose(found, expected, atol=0.011)
    plain = {"mean": np.array([[-1.6]])}
    assert actions_of(plain, space, False, [np.random.default_rng(0)])[0] == [-2]


def test_choices_of_several_numbers_have_their_probabilities():
    space = gym.spaces.MultiDiscrete([2, 3], start=[5, -1])
    logits = np.log(np.array([[0.25, 0.75, 0.1, 0.2, 0.7]]))
    logits += np.array([3.0, 3.0, -1.0, -1.0, -1.0])  # which changes nothing
    rows = {"logits": np.repeat(logits, 20_000, axis=0)}
    drawn = np.array(actions_of(rows, space, True, [np.random.default_rng(0)] * 20_000))
    table = np.zeros((2, 3))
    np.add.at(table, (drawn[:, 0] - 5, drawn[:, 1] + 1), 1.0 / len(drawn))
    np.testing.assert_allclose(table, np.outer([0.25, 0.75], [0.1, 0.2, 0.7]), atol=0.011)
    (chosen,) = actions_of({"logits": logits}, space, False, [np.random.default_rng(0)])
    assert chosen.tolist() == [6, 1]
    given = {"logits": logits, "action": np.array([[0, 2]])}
    (chosen,) = actions_of(given, space, False, [np.random.default_rng(0)])
    assert chosen.tolist() == [5, 1]


def test_bits_have_their_probabilities():
    space = gym.spaces.MultiBinary(2)
    logits = np.log(np.array([[0.2 / 0.8, 0.9 / 0.1]]))
    rows = {"logits": np.repeat(logits, 20_000, axis=0)}
    drawn = np.array(actions_of(rows, space, True, [np.random.default_rng(0)] * 20_000))
    assert drawn.dtype == np.int8
    np.testing.assert_allclose(drawn.mean(axis=0), [0.2, 0.9], atol=0.011)
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(0.0, abs=0.03)
    (chosen,) = actions_of({"logits": logits}, space, False, [np.random.default_rng(0)])
    assert chosen.tolist() == [0, 1]


def test_an_action_that_does_not_exist_is_the_policys_failure():
    space = gym.spaces.Discrete(3)
    outputs = {"action": np.array([[3]], dtype=np.int64)}
    with pytest.raises(PolicyFailed, match="action outside 0 to 2"):
        actions_of(outputs, space, False, [np.random.default_rng(0)])


def test_a_killed_evaluation_continues_and_ends_with_the_same_numbers(store_url, tmp_path):
    """Interrupted after different numbers of batches; the workers never release their leases."""
    given = submission_for(SEA, [table_policy(table) for table in sea_tables(2)])
    whole, number = store_with(f"sqlite:///{tmp_path / 'whole.sqlite'}", given)
    assert evaluate_next(whole, "one") == (number, State.SCORED)

    broken, other = store_with(store_url, given)
    for kill_after in (1, 3, 2):

        def killed(done, total, left=[kill_after]):  # noqa: B006
            left[0] -= 1
            if left[0] == 0:
                raise ConnectionAbortedError

        lease = claim(broken, "dying", other, seconds=0.0)
        with pytest.raises(ConnectionAbortedError):
            evaluate(broken, lease, killed)
        with broken.writing() as connection:  # as if a minute had passed
            connection.execute(sa.update(job).values(lease_until=0.0))
    assert 0 < len(all_rows(broken)) < 2 * EPISODES_PER_POLICY
    assert evaluate_next(broken, "last") == (other, State.SCORED)

    assert all_rows(broken) == all_rows(whole)
    scores = [row_scores(store, [n])[n] for store, n in ((whole, number), (broken, other))]
    assert asdict(scores[0].statistics) == asdict(scores[1].statistics)
    for name in ("score", "excess", "excess_p95"):
        assert (getattr(scores[0].draws, name) == getattr(scores[1].draws, name)).all()
    whole.close()
    broken.close()


def test_verifying_with_the_seasons_secret_repeats_the_row(store_url):
    given = submission_for(BOX, [gaussian_policy(2, 1)])
    database, number = store_with(store_url, given)
    evaluate_next(database, "worker")
    again = evaluate_submission(given, SECRET)
    kept = row_scores(database, [number])[number]
    assert asdict(again.statistics) == asdict(kept.statistics)
    with database.reading() as connection:
        episodes = scored_episodes(connection, number, HIDDEN)
    assert (episodes.lengths == 150).all()
    database.close()


def test_policies_meet_different_episodes_and_rows_the_same_ones():
    assert list(seed_indices(0)) == list(range(100))
    assert list(seed_indices(4)) == list(range(400, 500))


def test_a_policy_that_fails_later_makes_the_submission_invalid(store_url):
    """It returns NaN only for states that the trial does not reach."""
    bad = fails_between(0.5, 0.52)
    given = submission_for(BOX, [bad], stochastic=False)
    database, number = store_with(store_url, given)
    assert evaluate_next(database, "worker")[1] is State.INVALID
    found = stored_submission(database, number)
    assert "finite" in found.reason
    assert not any(character.isdigit() for character in found.reason.split(";")[0])
    assert waiting(database) == 0
    with database.reading() as connection:
        assert connection.execute(sa.select(result)).all() == []
    database.close()


def test_a_policy_that_hangs_after_some_steps_makes_the_submission_invalid(tmp_path, monkeypatch):
    """Its first steps are quick; within a narrow band of states it computes for minutes."""
    quick = SandboxLimits(cpu_seconds=1, call_seconds=20.0, total_seconds=20.0)
    monkeypatch.setattr(SandboxLimits, "for_steps", lambda steps: quick)
    given = submission_for(BOX, [hangs_between(0.5, 0.52)], stochastic=False)
    database, number = store_with(f"sqlite:///{tmp_path / 'store.sqlite'}", given)
    assert evaluate_next(database, "worker")[1] is State.INVALID
    assert "out of CPU time" in stored_submission(database, number).reason
    database.close()


def test_a_failure_that_does_not_recur_is_ignored(monkeypatch):
    board, file = board_of(SEA), a_policy_file()
    expected = list(play_policy(board, file, SECRET, list(range(40))))
    calls = []
    play = EpisodePlayer.play

    def flaky(self, *arguments):
        calls.append(1)
        if len(calls) in (1, 3):
            raise PolicyFailed("out of time")
        return play(self, *arguments)

    monkeypatch.setattr(leaderboard.evaluation.evaluate.EpisodePlayer, "play", flaky)
    assert list(play_policy(board, file, SECRET, list(range(40)))) == expected
    calls[:] = [1, 1, 1]

    def broken(self, *arguments):
        raise PolicyFailed("out of time")

    monkeypatch.setattr(leaderboard.evaluation.evaluate.EpisodePlayer, "play", broken)
    with pytest.raises(PolicyFailed):
        list(play_policy(board, file, SECRET, list(range(40))))


def test_a_crash_that_does_not_recur_is_the_machines(monkeypatch):
    """A failure counts if the same batch fails again in a new process; faults count apart."""
    board, file = board_of(SEA), a_policy_file()
    play, left = EpisodePlayer.play, []

    def disturbed(self, *arguments):
        fault = left.pop(0) if left else None
        if fault is not None:
            raise fault
        return play(self, *arguments)

    monkeypatch.setattr(leaderboard.evaluation.evaluate.EpisodePlayer, "play", disturbed)
    crash, kill = PolicyFailed("the policy crashed (SIGSEGV)"), SandboxUnavailable("ended")
    expected = list(play_policy(board, file, SECRET, list(range(40))))
    left[:] = [crash, kill, None, kill, crash]
    assert list(play_policy(board, file, SECRET, list(range(40)))) == expected
    for faults, outcome in (
        ([crash, kill, crash], PolicyFailed),
        ([crash, kill, kill], SandboxUnavailable),
    ):
        left[:] = faults
        with pytest.raises(outcome):
            list(play_policy(board, file, SECRET, list(range(40))))


def test_one_worker_at_a_time(store_url):
    given = submission_for(SEA, [table_policy(sea_tables()[0])])
    database, number = store_with(store_url, given)
    lease = claim(database, "first")
    assert claim(database, "second") is None
    with database.writing() as connection:
        connection.execute(sa.update(job).values(lease_until=time.time() - 1))
    taken = claim(database, "second")
    assert (taken.submission_id, taken.attempt) == (number, 2)
    with pytest.raises(LeaseLost, match="evaluated by another worker"), database.writing() as both:
        renew(both, lease)
    with pytest.raises(LeaseLost):
        evaluate(database, lease)
    release(database, taken)
    assert claim(database, "third").attempt == 2
    database.close()


def test_a_submission_that_breaks_workers_fails_in_the_end(store_url):
    given = submission_for(SEA, [table_policy(sea_tables()[0])])
    database, number = store_with(store_url, given)
    for _ in range(MOST_ATTEMPTS):
        assert claim(database, "worker", seconds=-1.0) is not None
    assert claim(database, "worker") is None
    found = stored_submission(database, number)
    assert (found.state, found.reason) == (
        State.FAILED,
        "the evaluation broke off 5 times without a new episode, through no fault of the policies; "
        "an administrator can queue it again",
    )
    assert waiting(database) == 0
    database.close()


def test_scores_of_another_version_are_computed_again_without_a_write(store_url):
    given = submission_for(SEA, [table_policy(sea_tables()[0])])
    database, number = store_with(store_url, given)
    evaluate_next(database, "worker")
    before = row_scores(database, [number])[number].statistics
    with database.writing() as connection:
        connection.execute(sa.update(result).values(statistics_version=0, statistics="{}"))
    assert row_scores(database, [number])[number].statistics == before
    with database.reading() as connection:
        assert connection.execute(sa.select(result.c.statistics_version)).scalar_one() == 0
        assert connection.execute(sa.select(submission.c.state)).scalar_one() == "scored"
    database.close()
