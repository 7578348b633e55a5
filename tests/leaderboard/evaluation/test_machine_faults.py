"""What a machine does to an evaluation never counts against the policies."""

import os
import random
import signal
import threading
import time
from contextlib import suppress

import pytest
import sqlalchemy as sa

from leaderboard.boards.board import board_of
from leaderboard.evaluation.episodes import EpisodePlayer
from leaderboard.evaluation.worker import evaluate_next, work
from leaderboard.sandbox import confined_process
from leaderboard.sandbox.policy import SandboxedPolicy, SandboxUnavailable
from leaderboard.store.accounts import account_id_of
from leaderboard.store.audit import history
from leaderboard.store.database import embedded_url, open_database
from leaderboard.store.leases import BACKOFF_SECONDS, MOST_ATTEMPTS, claim, waiting
from leaderboard.store.seasons import episode_seeds
from leaderboard.store.submission_store import State, keep_submission, stored_submission
from leaderboard.store.tables import episode, job, policy, result, submission
from tests.leaderboard.submissions import QUICK, SECRET, a_store, a_submission

SEA = "Safe/DeepSeaTreasure-v0"
YEAR = 365 * 86_400.0


def submitted(path, env=SEA, count=1):
    """Return a new store with a waiting submission, equal for equal arguments; and its number."""
    store = a_store(path)
    with store.writing() as connection:
        account = account_id_of(connection, "ada")
    given = a_submission(env, count, stochastic=env == SEA)
    return store, keep_submission(store, given, account, quota=False).id


def rows_of(store, table, *order):
    with store.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.select(table).order_by(*order))]


def episodes_of(store):
    return rows_of(store, episode, episode.c.policy_id, episode.c.seed_index)


def actions_of(store, number):
    with store.reading() as connection:
        return [event.action for event in history(connection, number)]


class Killer:
    """Kills sandboxes at random moments of their calls, as the kernel does without memory."""

    def __init__(self, kills):
        self.left = kills
        self._random = random.Random(11)
        self._outputs = SandboxedPolicy.outputs

    def outputs(self, policy, observations):
        if self.left and self._random.random() < 0.2:
            self.left -= 1
            pid, pause = policy._process.pid, self._random.choice([0.0, 0.0002, 0.002])
            if pause == 0.0:
                kill(pid)
            else:  # while it computes, or when it has answered
                threading.Timer(pause, kill, (pid,)).start()
        return self._outputs(policy, observations)


def kill(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_kills_from_outside_change_nothing_but_the_time_it_takes(tmp_path, monkeypatch):
    """Some evaluations break off, others repeat a batch; no episode and no number differs."""
    undisturbed, _ = submitted(tmp_path / "a.sqlite", count=2)
    store, number = submitted(tmp_path / "b.sqlite", count=2)
    assert evaluate_next(undisturbed, "undisturbed") == (number, State.SCORED)
    killer, faults, outcome = Killer(kills=20), [], None
    monkeypatch.setattr(SandboxedPolicy, "outputs", lambda *given: killer.outputs(*given))
    while outcome is None:
        let_pass(store)
        with store.writing() as connection:  # far more kills than an administrator would stand
            connection.execute(sa.update(job).values(attempts=0))
        try:
            outcome = evaluate_next(store, f"worker {len(faults)}")
        except SandboxUnavailable as fault:
            faults.append(str(fault))
    assert outcome == (number, State.SCORED)
    assert killer.left == 0
    assert set(faults) == {
        "the process of the policy was ended from outside (SIGKILL); check the machine's load and "
        "memory"
    }
    assert episodes_of(store) == episodes_of(undisturbed)  # floats too, bit for bit
    assert rows_of(store, result) == rows_of(undisturbed, result)
    store.close()
    undisturbed.close()


def let_pass(store):
    """Change the store as if the pauses after faults were over."""
    with store.writing() as connection:
        connection.execute(sa.update(job).values(lease_until=0.0))


def test_a_machine_that_cannot_run_policies_makes_it_wait_and_in_the_end_failed(
    tmp_path, monkeypatch
):
    store, number = submitted(tmp_path / "store.sqlite", QUICK)
    monkeypatch.setattr(confined_process, "PROGRAM", "raise SystemExit(1)")
    pauses = []
    for attempt in range(MOST_ATTEMPTS):
        let_pass(store)
        with pytest.raises(SandboxUnavailable, match="could not be started"):
            evaluate_next(store, f"worker {attempt}")
        with store.reading() as connection:
            free_at = connection.execute(sa.select(job.c.lease_until)).scalar_one_or_none()
        pauses.append(None if free_at is None else free_at - time.time())
    expected = [BACKOFF_SECONDS * 2**attempt for attempt in range(MOST_ATTEMPTS - 1)]
    assert pauses[:-1] == pytest.approx(expected, abs=9.0)
    found = stored_submission(store, number)
    assert (found.state, found.reason) == (
        State.FAILED,
        "the evaluation broke off 5 times without a new episode, through no fault of the policies; "
        "an administrator can queue it again",
    )
    assert actions_of(store, number).count("interrupt") == MOST_ATTEMPTS - 1
    store.close()


def test_any_fault_of_the_program_is_not_the_policys(tmp_path, monkeypatch):
    store, number = submitted(tmp_path / "store.sqlite", QUICK)

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(EpisodePlayer, "play", no_memory)
    with pytest.raises(MemoryError):
        evaluate_next(store, "worker")
    assert claim(store, "worker") is None  # it waits
    assert actions_of(store, number) == ["submit", "evaluate", "interrupt"]
    store.close()


def test_a_submission_to_another_version_of_the_board_is_not_evaluated(tmp_path):
    store, number = submitted(tmp_path / "store.sqlite", QUICK)
    with store.writing() as connection:
        connection.execute(sa.update(submission).values(board_version=99))
    with pytest.raises(RuntimeError) as caught:
        evaluate_next(store, "worker")
    assert str(caught.value) == (
        f"submission {number} is to version 99 of the board of {QUICK}, which this release does "
        "not have; use the matching release"
    )
    assert episodes_of(store) == []
    store.close()


def test_two_workers_and_batches_longer_than_the_lease(tmp_path, monkeypatch):
    """The first batch takes several leases, however often it is played: it needs a heartbeat."""
    undisturbed, _ = submitted(tmp_path / "a.sqlite", QUICK)
    store, number = submitted(tmp_path / "b.sqlite", QUICK)
    evaluate_next(undisturbed, "undisturbed")
    play, seconds = EpisodePlayer.play, 1.2
    (first,) = episode_seeds(SECRET, board_of(QUICK), [0])

    def slowly(self, running, stochastic, seeds):
        if first in seeds:
            time.sleep(3.0 * seconds)
        return play(self, running, stochastic, seeds)

    monkeypatch.setattr(EpisodePlayer, "play", slowly)
    stop, told = threading.Event(), []

    def run():
        own = open_database(embedded_url(tmp_path / "b.sqlite"))
        work(own, stop, told.append, lease_seconds=seconds)
        own.close()

    workers = [threading.Thread(target=run) for _ in range(2)]
    for worker in workers:
        worker.start()
    last_moment = time.monotonic() + 120
    while waiting(store):
        assert time.monotonic() < last_moment
        time.sleep(0.05)
    stop.set()
    for worker in workers:
        worker.join()
    assert stored_submission(store, number).state is State.SCORED
    assert episodes_of(store) == episodes_of(undisturbed)
    assert rows_of(store, result) == rows_of(undisturbed, result)
    assert f"submission {number}: scored" in told
    store.close()
    undisturbed.close()


@pytest.mark.parametrize("shift", [YEAR, -YEAR])
def test_a_worker_whose_clock_is_wrong_blocks_nothing(shift, tmp_path, monkeypatch):
    store, number = submitted(tmp_path / "store.sqlite", QUICK)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift)
    lease = claim(store, "wrong clock", seconds=0.5)
    monkeypatch.setattr(time, "time", real)
    assert lease is not None
    time.sleep(0.6)  # the worker has died; the lease ends when it should
    assert evaluate_next(store, "right clock") == (number, State.SCORED)
    found = stored_submission(store, number)
    for moment in (found.submitted_at, found.scored_at):
        assert moment == pytest.approx(real(), abs=600.0)
    store.close()


def test_time_used_is_kept(tmp_path):
    store, _ = submitted(tmp_path / "store.sqlite", QUICK)
    evaluate_next(store, "worker")
    with store.reading() as connection:
        assert connection.execute(sa.select(policy.c.cpu_seconds)).scalar_one() > 0.0
    store.close()
