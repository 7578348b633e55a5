"""The processor time of a policy is counted over all of its processes."""

from contextlib import suppress

import numpy as np
import pytest
import sqlalchemy as sa

from leaderboard.boards.board import EPISODES_PER_POLICY, board_of
from leaderboard.evaluation.cpu_budget import CpuBudget
from leaderboard.evaluation.evaluate import PolicyFile, play_policy
from leaderboard.evaluation.worker import evaluate_next
from leaderboard.policy_files.gate import check_graph
from leaderboard.sandbox.policy import PolicyFailed, SandboxedPolicy, SandboxLimits
from leaderboard.store.accounts import account_id_of
from leaderboard.store.submission_store import State, keep_submission, stored_submission
from leaderboard.store.tables import episode, policy
from leaderboard.submissions.submission import spaces_of
from tests.leaderboard.submissions import QUICK, a_store, policy_for
from tests.leaderboard.tabular_policies import hangs_between, submission_for

BOX = "Safe/DoubleIntegrator-v0"
SECRET = bytes(range(32))


class Worker:
    """Stands for a policy whose processor time is known."""

    def __init__(self):
        self.cpu_seconds = 0.25  # of loading the model

    def work(self, seconds):
        self.cpu_seconds += seconds


def test_batches_add_up_over_processes_and_broken_ones_do_not_count():
    budget = CpuBudget(allowed=3.0, spent=0.5)
    for seconds in (1.0, 0.75):  # each in a process of its own
        worker = Worker()
        with budget.spending(worker):
            worker.work(seconds)
    assert (budget.spent, budget.left) == (2.25, 0.75)
    with suppress(ConnectionError), budget.spending(worker):
        worker.work(5.0)
        raise ConnectionError
    assert budget.spent == 2.25
    told = pytest.raises(PolicyFailed, match="^the policy ran out of CPU time$")
    with told, budget.spending(worker):
        worker.work(0.76)
    assert CpuBudget(allowed=1.0, spent=2.0).left > 0.0  # a limit of the sandbox is positive


def test_a_policy_that_never_uses_much_at_once_is_ended_by_the_sum():
    """It needs five times what it may use; each episode is played by an evaluation of its own."""
    board, content = board_of(BOX), hangs_between(-100.0, 100.0, size=60, products=100)
    spaces = spaces_of(board)
    file = PolicyFile(content, check_graph(content, spaces.observation, spaces.action), False)
    with SandboxedPolicy(content, file.signature) as running:
        before = running.cpu_seconds
        running.outputs(np.repeat(spaces.observation.sample()[None], board.longest_episode, axis=0))
        one_episode = running.cpu_seconds - before
    allowed, spent, played = 2.5 * one_episode, 0.0, 0

    def play(indices):
        nonlocal spent, played
        for index in indices:
            budget = CpuBudget(allowed, spent)
            (episodes,) = play_policy(board, file, SECRET, [index], budget)
            assert spent < budget.spent <= allowed
            spent, played = budget.spent, played + len(episodes)

    with pytest.raises(PolicyFailed, match="^the policy ran out of CPU time$"):
        play(range(12))
    assert 1 <= played < 8


def test_used_time_is_kept_with_the_episodes_and_ends_a_later_attempt(tmp_path, monkeypatch):
    store = a_store(tmp_path / "store.sqlite")
    with store.writing() as connection:
        account = account_id_of(connection, "ada")
    given = submission_for(QUICK, [policy_for(QUICK)], stochastic=False)
    number = keep_submission(store, given, account, quota=False).id

    def break_off(done, total):
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        evaluate_next(store, "first", progress=break_off)
    with store.reading() as connection:
        used = connection.execute(sa.select(policy.c.cpu_seconds)).scalar_one()
        assert len(connection.execute(sa.select(episode)).all()) == 20
    assert 0.0 < used < SandboxLimits.for_steps(EPISODES_PER_POLICY).cpu_seconds
    with store.writing() as connection:  # as if the batch had taken much longer
        connection.execute(sa.update(policy).values(cpu_seconds=1000.0))
        connection.exec_driver_sql("UPDATE job SET lease_until = 0")
    assert evaluate_next(store, "second") == (number, State.INVALID)
    assert stored_submission(store, number).reason == "the policy ran out of CPU time"
    store.close()
