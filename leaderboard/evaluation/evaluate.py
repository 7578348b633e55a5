"""Evaluates a submission: plays its missing episodes, then scores and publishes its row.

Episodes are kept in batches, each in the transaction that renews the lease. They depend only on
the policy and the seed. So an evaluation that is killed anywhere and continued later, here or by
another worker, ends with the same episodes and the same numbers, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import sqlalchemy as sa

from leaderboard.boards.board import EPISODES_PER_POLICY, Board, board_of
from leaderboard.evaluation.copy_check import compare_submission
from leaderboard.evaluation.cpu_budget import CpuBudget
from leaderboard.evaluation.episodes import BoardMismatchError, EpisodePlayer
from leaderboard.policy_files.gate import (
    PolicyRefused,
    check_graph,
    pass_trial,
    try_out,
)
from leaderboard.policy_files.state_audit import WatchedPolicy
from leaderboard.sandbox.policy import (
    PolicyFailed,
    SandboxedPolicy,
    SandboxLimits,
    SandboxUnavailable,
)
from leaderboard.sandbox.policy_signature import PolicySignature
from leaderboard.scores.scored_episodes import EpisodeSums
from leaderboard.scores.scoring import score_row
from leaderboard.store.database import Database
from leaderboard.store.episode_store import (
    keep_cpu_seconds,
    keep_episodes,
    kept_indices,
    scored_episodes,
)
from leaderboard.store.leases import Lease, close, renew
from leaderboard.store.score_store import keep_score
from leaderboard.store.seasons import HIDDEN, episode_seeds, secret_of
from leaderboard.store.submission_store import (
    State,
    StoredSubmission,
    other_board,
    stored_submission,
)
from leaderboard.store.tables import policy as stored
from leaderboard.submissions.submission import (
    Submission,
    SubmissionRefused,
    check_submission,
    spaces_of,
)

BATCH = 20  # episodes played together and kept in one transaction
TRIES = 2  # of a batch: a failure counts if it recurs in a new process
AUDIT_SHARE = 0.1  # of the processor time for all episodes: for the trial and confirmed answers
Progress = Callable[[int, int], None]  # episodes done, and in all
Tried = dict[str, SandboxedPolicy]  # running policies that passed the trial, by SHA-256


def no_progress(done: int, total: int) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class PolicyFile:
    """A policy to evaluate."""

    content: bytes
    signature: PolicySignature
    stochastic: bool
    running: SandboxedPolicy | None = None  # since its trial, if that was in this process


@contextmanager
def tried_policies(submission: Submission) -> Iterator[Tried]:
    """Check and try a submission's policies as an evaluation does, and yield them running.

    An evaluation in this process continues with them, so each file is parsed and started once.

    Raises:
        SubmissionRefused: if files and metadata do not belong together, a policy is refused, or
            this machine cannot run policies.
    """
    signature = check_submission(submission)
    spaces = spaces_of(submission.board)
    limits = _limits(submission.board)
    tried: Tried = {}
    with ExitStack() as running:
        for position, content in enumerate(submission.policies):
            policy = running.enter_context(closing(SandboxedPolicy(content, signature, limits)))
            try:
                pass_trial(policy, spaces.observation, spaces.action)
            except PolicyRefused as refusal:
                raise SubmissionRefused(f"policy {position}: {refusal}") from None
            except SandboxUnavailable as fault:
                raise SubmissionRefused(f"policies cannot be tried here: {fault}") from None
            tried[submission.metadata.sha256[position]] = policy
        yield tried


def evaluate(
    database: Database, lease: Lease, progress: Progress = no_progress, tried: Tried | None = None
) -> State:
    """Evaluate a leased submission to its end and return its state.

    Args:
        database: the store.
        lease: from `leases.claim`; renewed with every batch, and by a `Heartbeat` meanwhile.
        progress: called after every batch.
        tried: policies that this process has checked and started; used ones are removed. All
            others are checked here, since the store's content is not trusted.

    Raises:
        LeaseLost: if another worker has taken over.
        SandboxUnavailable: if this machine cannot run the policies.
        BoardMismatchError: if the submission is to another version of the board.
    """
    found = stored_submission(database, lease.submission_id)
    assert found is not None  # a lease has a submission
    board = board_of(found.env)
    if board.version != found.board_version:
        raise BoardMismatchError(other_board(found.id, found.env, found.board_version))
    try:
        _play_missing(database, lease, found, progress, {} if tried is None else tried)
        _compare(database, found.id)
    except (PolicyFailed, PolicyRefused) as failure:
        reason = str(failure)

        def end(connection: sa.Connection) -> None:
            renew(connection, lease)
            close(connection, found.id, State.INVALID, reason, lease.owner)

        database.write_patiently(end)
        return State.INVALID
    publish(database, lease, board)
    return State.SCORED


def play_policy(
    board: Board,
    file: PolicyFile,
    secret: bytes,
    missing: list[int],
    budget: CpuBudget | None = None,
) -> Iterator[dict[int, EpisodeSums]]:
    """Yield a policy's episodes in batches, by seed index.

    A policy is tried on a few observations first. A batch that fails is repeated once in a new
    process. If the machine is at fault, that says nothing about the policy; if the policy is, it
    has to fail twice, so that no accident counts as a bad policy. Before a batch is yielded, a
    second process confirms some of the policy's answers.

    Args:
        board: that it is evaluated on.
        file: the policy.
        secret: of the season, or of the public split.
        missing: seed indices to play.
        budget: the processor time for all of its episodes; a new one if None.

    Raises:
        PolicyFailed: if it fails twice in a batch.
        PolicyRefused: if an answer depends on more than the observation.
        SandboxUnavailable: if the machine fails twice in a batch.
    """
    spaces, limits = spaces_of(board), _limits(board)
    budget = budget or CpuBudget(limits.cpu_seconds)
    batches = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]
    failures: list[type[Exception]] = []
    running = file.running
    with EpisodePlayer(board, min(BATCH, len(missing))) as player:
        while batches:
            seconds = budget.left + AUDIT_SHARE * limits.cpu_seconds
            limited = replace(limits, cpu_seconds=seconds)
            try:
                with (
                    running or SandboxedPolicy(file.content, file.signature, limited) as policy,
                    closing(WatchedPolicy(policy)) as watched,
                ):
                    try_out(watched, spaces.observation, spaces.action)
                    while batches:
                        seeds = episode_seeds(secret, board, batches[0])
                        with budget.spending(policy):
                            sums = player.play(watched, file.stochastic, seeds)
                        watched.confirm()
                        failures.clear()
                        yield dict(zip(batches.pop(0), sums, strict=True))
            except (PolicyFailed, SandboxUnavailable) as failure:
                running = None
                failures.append(type(failure))
                if failures.count(type(failure)) == TRIES:
                    raise


def seed_indices(position: int) -> range:
    """Return the indices of the hidden seeds for the policy at this position."""
    return range(position * EPISODES_PER_POLICY, (position + 1) * EPISODES_PER_POLICY)


def _limits(board: Board) -> SandboxLimits:
    return SandboxLimits.for_steps(EPISODES_PER_POLICY * board.longest_episode)


def _play_missing(
    database: Database, lease: Lease, found: StoredSubmission, progress: Progress, tried: Tried
) -> None:
    board, stochastic = board_of(found.env), found.metadata.stochastic
    with database.reading() as connection:
        secret = secret_of(connection, found.season)
        rows = connection.execute(
            sa.select(stored).where(stored.c.submission_id == found.id).order_by(stored.c.position)
        ).all()
        kept = [kept_indices(connection, row.id, HIDDEN) for row in rows]
    total, done = len(rows) * EPISODES_PER_POLICY, sum(map(len, kept))
    spaces = spaces_of(board)
    for row, present in zip(rows, kept, strict=True):
        missing = [index for index in seed_indices(row.position) if index not in present]
        if not missing:
            continue
        content, running = bytes(row.content), tried.pop(row.sha256, None)
        signature = (
            running.signature
            if running
            else check_graph(content, spaces.observation, spaces.action)
        )
        file = PolicyFile(content, signature, stochastic, running)
        budget = CpuBudget(_limits(board).cpu_seconds, row.cpu_seconds)
        for batch in play_policy(board, file, secret, missing, budget):
            database.write_patiently(partial(_keep_batch, lease, row.id, batch, budget.spent))
            done += len(batch)
            progress(done, total)


def _keep_batch(
    lease: Lease,
    policy_id: int,
    batch: dict[int, EpisodeSums],
    cpu_seconds: float,
    connection: sa.Connection,
) -> None:
    renew(connection, lease, progress=True)
    keep_episodes(connection, policy_id, HIDDEN, batch)
    keep_cpu_seconds(connection, policy_id, cpu_seconds)


def _compare(database: Database, number: int) -> None:
    """Compare a submission's policies with others; one that fails has to fail twice here too."""
    for attempt in range(1, TRIES + 1):
        try:
            compare_submission(database, number)
            return
        except PolicyFailed:
            if attempt == TRIES:
                raise


def publish(database: Database, lease: Lease, board: Board) -> None:
    """Score the episodes; keep the score and publish the row in one transaction."""
    with database.reading() as connection:
        episodes = scored_episodes(connection, lease.submission_id, HIDDEN)
    score = score_row(board, episodes)

    def keep(connection: sa.Connection) -> None:
        renew(connection, lease)
        keep_score(connection, lease.submission_id, score)
        close(connection, lease.submission_id, State.SCORED, "", lease.owner)

    database.write_patiently(keep)
