"""Evaluates a submission: plays its missing episodes, then scores and publishes its row.

Episodes are kept in batches, each in the transaction that renews the lease. They depend only on
the policy and the seed. So an evaluation that is killed anywhere and continued later, here or by
another worker, ends with the same episodes and the same numbers, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from leaderboard.boards.board import EPISODES_PER_POLICY, Board, board_of
from leaderboard.evaluation.copy_check import compare_submission
from leaderboard.evaluation.episodes import EpisodePlayer
from leaderboard.policy_files.gate import (
    PolicyRefused,
    check_graph,
    pass_trial,
    try_out,
)
from leaderboard.sandbox.policy import PolicyFailed, SandboxedPolicy, SandboxLimits
from leaderboard.sandbox.policy_signature import PolicySignature
from leaderboard.scores.scored_episodes import EpisodeSums
from leaderboard.scores.scoring import score_row
from leaderboard.store.database import Database
from leaderboard.store.episode_store import keep_episodes, kept_indices, scored_episodes
from leaderboard.store.leases import Lease, close, renew
from leaderboard.store.score_store import keep_score
from leaderboard.store.seasons import HIDDEN, episode_seeds, secret_of
from leaderboard.store.submission_store import State, StoredSubmission, stored_submission
from leaderboard.store.tables import policy as stored
from leaderboard.submissions.submission import (
    Submission,
    SubmissionRefused,
    check_submission,
    spaces_of,
)

BATCH = 20  # episodes played together and kept in one transaction
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
        SubmissionRefused: if files and metadata do not belong together, or a policy is refused.
    """
    signature = check_submission(submission)
    spaces = spaces_of(submission.board)
    limits = _limits(submission.board, EPISODES_PER_POLICY)
    tried: Tried = {}
    with ExitStack() as running:
        for position, content in enumerate(submission.policies):
            policy = running.enter_context(closing(SandboxedPolicy(content, signature, limits)))
            try:
                pass_trial(policy, spaces.observation, spaces.action)
            except PolicyRefused as refusal:
                raise SubmissionRefused(f"policy {position}: {refusal}") from None
            tried[submission.metadata.sha256[position]] = policy
        yield tried


def evaluate(
    database: Database, lease: Lease, progress: Progress = no_progress, tried: Tried | None = None
) -> State:
    """Evaluate a leased submission to its end and return its state.

    Args:
        database: the store.
        lease: from `leases.claim`; renewed with every batch.
        progress: called after every batch.
        tried: policies that this process has checked and started; used ones are removed. All
            others are checked here, since the store's content is not trusted.

    Raises:
        LeaseLost: if another worker has taken over.
    """
    found = stored_submission(database, lease.submission_id)
    assert found is not None  # a lease has a submission
    board = board_of(found.env)
    try:
        _play_missing(database, lease, found, progress, {} if tried is None else tried)
        compare_submission(database, found.id)
    except (PolicyFailed, PolicyRefused) as failure:
        with database.writing() as connection:
            renew(connection, lease)
            close(connection, found.id, State.INVALID, str(failure), lease.owner)
        return State.INVALID
    publish(database, lease, board)
    return State.SCORED


def play_policy(
    board: Board, file: PolicyFile, secret: bytes, missing: list[int]
) -> Iterator[dict[int, EpisodeSums]]:
    """Yield a policy's episodes in batches, by seed index.

    A policy is tried on a few observations first. A batch that fails is repeated once in a new
    process, so that a busy machine does not count as a bad policy.

    Args:
        board: that it is evaluated on.
        file: the policy.
        secret: of the season, or of the public split.
        missing: seed indices to play.

    Raises:
        PolicyFailed: if it fails twice in a row.
    """
    spaces = spaces_of(board)
    limits = _limits(board, len(missing))
    batches = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]
    failures, running = 0, file.running
    with EpisodePlayer(board, min(BATCH, len(missing))) as player:
        while batches:
            try:
                with running or SandboxedPolicy(file.content, file.signature, limits) as policy:
                    try_out(policy, spaces.observation, spaces.action)
                    while batches:
                        seeds = episode_seeds(secret, board, batches[0])
                        sums = player.play(policy, file.stochastic, seeds)
                        failures = 0
                        yield dict(zip(batches.pop(0), sums, strict=True))
            except PolicyFailed:
                running = None
                failures += 1
                if failures == 2:
                    raise


def seed_indices(position: int) -> range:
    """Return the indices of the hidden seeds for the policy at this position."""
    return range(position * EPISODES_PER_POLICY, (position + 1) * EPISODES_PER_POLICY)


def _limits(board: Board, episodes: int) -> SandboxLimits:
    return SandboxLimits.for_steps(episodes * board.longest_episode)


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
        for batch in play_policy(board, file, secret, missing):
            with database.writing() as connection:
                renew(connection, lease)
                keep_episodes(connection, row.id, HIDDEN, batch)
            done += len(batch)
            progress(done, total)


def publish(database: Database, lease: Lease, board: Board) -> None:
    """Score the episodes; keep the score and publish the row in one transaction."""
    with database.reading() as connection:
        episodes = scored_episodes(connection, lease.submission_id, HIDDEN)
    score = score_row(board, episodes)
    with database.writing() as connection:
        renew(connection, lease)
        keep_score(connection, lease.submission_id, score)
        close(connection, lease.submission_id, State.SCORED, "", lease.owner)
