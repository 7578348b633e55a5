"""Evaluates a submission: plays what episodes are missing, then scores and publishes its row.

Episodes are kept in batches, each in the transaction that renews the lease. They follow from the
policy and the seed alone, so a run that is killed anywhere and goes on later, here or in another
worker, ends with the same episodes and the same numbers, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from leaderboard.boards.board import EPISODES_PER_POLICY, Board, board_of
from leaderboard.evaluation.episodes import EpisodePlayer
from leaderboard.policy_files.gate import PolicyRefused, check_graph, try_out
from leaderboard.sandbox.policy import PolicyFailed, SandboxedPolicy, SandboxLimits
from leaderboard.scores.score_json import draws_to_bytes, statistics_to_json
from leaderboard.scores.scored_episodes import EpisodeSums
from leaderboard.scores.scoring import score_row
from leaderboard.store.database import Database
from leaderboard.store.episode_store import keep_episodes, kept_indices, scored_episodes
from leaderboard.store.leases import Lease, close, renew
from leaderboard.store.seasons import HIDDEN, episode_seeds, secret_of
from leaderboard.store.submission_store import State, StoredSubmission, stored_submission
from leaderboard.store.tables import policy, result
from leaderboard.submissions.submission import Spaces, spaces_of

BATCH = 20  # episodes played together and kept in one transaction
Progress = Callable[[int, int], None]  # episodes done, of how many


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class PolicyFile:
    """A policy as it is evaluated."""

    content: bytes
    stochastic: bool


def evaluate(database: Database, lease: Lease, progress: Progress = no_progress) -> State:
    """Evaluate a leased submission to its end and return its state.

    Args:
        database: the store.
        lease: from `leases.claim`; renewed with every batch.
        progress: called after every batch.

    Raises:
        LeaseLost: if another worker has taken over.
    """
    found = stored_submission(database, lease.submission_id)
    assert found is not None  # a lease has a submission
    board = board_of(found.env)
    try:
        _play_missing(database, lease, found, board, progress)
    except (PolicyFailed, PolicyRefused) as failure:
        with database.writing() as connection:
            renew(connection, lease)
            close(connection, found.id, State.INVALID, str(failure), lease.owner)
        return State.INVALID
    publish(database, lease, board)
    return State.SCORED


def play_policy(
    board: Board, spaces: Spaces, file: PolicyFile, secret: bytes, missing: list[int]
) -> Iterator[dict[int, EpisodeSums]]:
    """Yield a policy's episodes in batches, by seed index.

    A policy is tried on a few observations first. What fails is done once more in a new process, so
    that a busy machine is not taken for a bad policy.

    Args:
        board: what it is evaluated on.
        spaces: of the board's environment.
        file: the policy.
        secret: of the season, or of the public split.
        missing: seed indices to play.

    Raises:
        PolicyRefused: if the file breaks a rule.
        PolicyFailed: if it misbehaves, twice in a row.
    """
    form = check_graph(file.content, spaces.observation, spaces.action)
    limits = SandboxLimits.for_steps(len(missing) * board.longest_episode)
    batches = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]
    failures = 0
    with EpisodePlayer(board, min(BATCH, len(missing))) as player:
        while batches:
            try:
                with SandboxedPolicy(file.content, form, limits) as sandboxed:
                    try_out(sandboxed, spaces.observation, spaces.action)
                    while batches:
                        seeds = episode_seeds(secret, board, batches[0])
                        sums = player.play(sandboxed, file.stochastic, seeds)
                        failures = 0
                        yield dict(zip(batches.pop(0), sums, strict=True))
            except PolicyFailed:
                failures += 1
                if failures == 2:
                    raise


def seed_indices(position: int) -> range:
    """Return the indices of the hidden seeds that the policy at this position meets."""
    return range(position * EPISODES_PER_POLICY, (position + 1) * EPISODES_PER_POLICY)


def _play_missing(
    database: Database, lease: Lease, found: StoredSubmission, board: Board, progress: Progress
) -> None:
    with database.reading() as connection:
        secret = secret_of(connection, found.season)
        rows = connection.execute(
            sa.select(policy).where(policy.c.submission_id == found.id).order_by(policy.c.position)
        ).all()
        kept = [kept_indices(connection, row.id, HIDDEN) for row in rows]
    total, done = len(rows) * EPISODES_PER_POLICY, sum(map(len, kept))
    spaces = spaces_of(board)
    for row, present in zip(rows, kept, strict=True):
        missing = [index for index in seed_indices(row.position) if index not in present]
        if not missing:
            continue
        file = PolicyFile(bytes(row.content), found.metadata.stochastic)
        for batch in play_policy(board, spaces, file, secret, missing):
            with database.writing() as connection:
                renew(connection, lease)
                keep_episodes(connection, row.id, HIDDEN, batch)
            done += len(batch)
            progress(done, total)


def publish(database: Database, lease: Lease, board: Board) -> None:
    """Score the episodes; the row appears in the transaction that keeps its numbers."""
    with database.reading() as connection:
        episodes = scored_episodes(connection, lease.submission_id, HIDDEN)
    score = score_row(board, episodes)
    values = {
        "submission_id": lease.submission_id,
        "statistics_version": score.statistics.version,
        "statistics": statistics_to_json(score.statistics),
        "draws": draws_to_bytes(score.draws),
    }
    with database.writing() as connection:
        renew(connection, lease)
        connection.execute(sa.insert(result).values(**values))
        close(connection, lease.submission_id, State.SCORED, "", lease.owner)
