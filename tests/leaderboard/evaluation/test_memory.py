"""Scores depend on policy and seeds alone; a policy that remembers gets none."""

import gymnasium as gym
import numpy as np
import pytest
import sqlalchemy as sa

from leaderboard.boards.board import board_of
from leaderboard.evaluation import evaluate as evaluation
from leaderboard.evaluation.episodes import EpisodePlayer, actions_of
from leaderboard.evaluation.evaluate import PolicyFile, evaluate, play_policy
from leaderboard.evaluation.worker import evaluate_next
from leaderboard.policy_files import state_audit
from leaderboard.policy_files.gate import PolicyRefused
from leaderboard.sandbox.policy import SandboxedPolicy
from leaderboard.sandbox.policy_signature import PolicyOutput, PolicySignature
from leaderboard.store.accounts import account_id_of
from leaderboard.store.leases import claim
from leaderboard.store.seasons import episode_seeds
from leaderboard.store.submission_store import State, keep_submission, stored_submission
from leaderboard.store.tables import episode, job
from leaderboard.submissions.submission import spaces_of
from tests.leaderboard.policy_files.hostile_memory import counting
from tests.leaderboard.submissions import SECRET, a_store
from tests.leaderboard.tabular_policies import random_tables, submission_for, table_policy

SEA = "Safe/DeepSeaTreasure-v0"
FORM = PolicySignature(25, (PolicyOutput("logits", 2, whole=False),))
TABLE = random_tables(25, 2, 1)[0]
SAID = "the policy has a memory: asked again, it answered an observation differently"


class PlainPolicy:
    """The table's logits, without ONNX."""

    def outputs(self, observations):
        return {"logits": (observations @ np.log(TABLE + 1e-30).astype(np.float32))}


def played(content, indices, batch, monkeypatch, most_batches=99):
    """The episodes of the first batches, by seed index, in a process of their own."""
    monkeypatch.setattr(evaluation, "BATCH", batch)
    found = {}
    batches = play_policy(board_of(SEA), PolicyFile(content, FORM, True), SECRET, indices)
    for _, part in zip(range(most_batches), batches, strict=False):
        found |= part
    batches.close()
    return found


def test_episodes_do_not_depend_on_order_batches_and_interruptions(monkeypatch):
    board, content, indices = board_of(SEA), table_policy(TABLE), list(range(30))
    with EpisodePlayer(board, 1) as player:  # each alone
        expected = {
            index: player.play(PlainPolicy(), True, episode_seeds(SECRET, board, [index]))[0]
            for index in indices
        }
    shuffled = np.random.default_rng(0).permutation(indices).tolist()
    assert played(content, indices, 30, monkeypatch) == expected
    assert played(content, shuffled, 7, monkeypatch) == expected
    first = played(content, indices[::-1], 4, monkeypatch, most_batches=2)
    assert len(first) == 8
    rest = played(content, [index for index in indices if index not in first], 11, monkeypatch)
    assert {**first, **rest} == expected


class LinearPolicy:
    """Mean and deviation are functions of each row by itself."""

    def __init__(self, space):
        width = gym.spaces.flatdim(space.observation), gym.spaces.flatdim(space.action)
        self.weights = np.random.default_rng(0).normal(size=width) / width[0]

    def outputs(self, observations):
        mean = np.stack([np.tanh(row.astype(np.float64) @ self.weights) for row in observations])
        return {"mean": mean, "log_std": mean - 1.0}


@pytest.mark.parametrize("env", ["SafetyAntVelocity-v1", "SafetyHopperVelocity-v1"])
def test_simulated_episodes_do_not_depend_on_those_before_and_beside_them(env):
    """An environment that has played other episodes starts as a new one does."""
    board, seeds = board_of(env), [11, 12, 13]
    policy = LinearPolicy(spaces_of(board))
    with EpisodePlayer(board, 3) as player, EpisodePlayer(board, 1) as one_by_one:
        together = player.play(policy, True, seeds)
        assert player.play(policy, True, seeds[::-1]) == together[::-1]
        for position in (1, 0, 2, 1):
            assert one_by_one.play(policy, True, [seeds[position]]) == [together[position]]


@pytest.mark.parametrize(
    ("space", "widths"),
    [
        (gym.spaces.Discrete(5), {"logits": 5}),
        (gym.spaces.MultiDiscrete([3, 4]), {"logits": 7}),
        (gym.spaces.MultiBinary(3), {"logits": 3}),
        (gym.spaces.Box(-1.0, 1.0, (3,)), {"mean": 3, "log_std": 3}),
    ],
)
def test_drawn_actions_do_not_depend_on_the_rows_beside_them(space, widths):
    """Fast paths of NumPy for whole vectors and for their rest must not differ."""
    random = np.random.default_rng(0)
    outputs = {name: 3.0 * random.normal(size=(37, width)) for name, width in widths.items()}

    def generator(row):
        return np.random.default_rng([row, 1])

    together = actions_of(outputs, space, True, [generator(row) for row in range(37)])
    for row, action in enumerate(together):
        own = {name: values[row : row + 1] for name, values in outputs.items()}
        np.testing.assert_array_equal(actions_of(own, space, True, [generator(row)])[0], action)


@pytest.fixture
def started(monkeypatch):
    """The policies whose process was started; the trial is short and without the gate."""
    found = []
    start = SandboxedPolicy.start

    def counted(self):
        if self not in found:
            found.append(self)
        start(self)

    monkeypatch.setattr(SandboxedPolicy, "start", counted)
    monkeypatch.setattr(state_audit, "MOST_ROUNDS", 3)
    monkeypatch.setattr(evaluation, "check_graph", lambda *arguments: FORM)
    return found


def counting_table(rows):
    """A file that remembers and whose first answers are those of the table."""
    return counting(np.log(TABLE + 1e-30).astype(np.float32), rows)


def test_a_memory_is_found_before_a_batch_is_over_and_not_retried(started):
    """The trial asks for about 170 rows, a batch for about fifty."""
    file = PolicyFile(counting_table(190), FORM, stochastic=True)
    batches = play_policy(board_of(SEA), file, SECRET, list(range(100)))
    with pytest.raises(PolicyRefused, match=SAID):
        next(batches)
    assert len(started) == 2  # the policy and its witness, once


def test_a_memory_across_episodes_makes_a_continued_evaluation_invalid(started, tmp_path):
    database = a_store(tmp_path / "store.sqlite")
    with database.writing() as connection:
        account = account_id_of(connection, "tester")
    given = submission_for(SEA, [counting_table(320)])
    number = keep_submission(database, given, account, quota=False).id

    def killed(done, total):
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        evaluate(database, claim(database, "dying", number), killed)
    with database.writing() as connection:  # as if a minute had passed
        assert connection.execute(sa.select(sa.func.count()).select_from(episode)).scalar() == 20
        connection.execute(sa.update(job).values(lease_until=0.0))
    assert evaluate_next(database, "last") == (number, State.INVALID)
    assert stored_submission(database, number).reason.startswith(SAID)
    assert len(started) == 4
    database.close()
