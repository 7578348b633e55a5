"""Compares the policies of a submission with each other and with all earlier ones of its board.

Each policy leaves a fingerprint: observations that it visits itself, in episodes whose seeds come
from the season's secret, others that random actions visit, and its answers there. A policy is
compared with an earlier one on the earlier one's observations. So a copy cannot differ where
nobody looks: it would have to differ where the original goes, which it does not know exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache

import gymnasium as gym
import numpy as np
import sqlalchemy as sa
from gymnasium import spaces

from leaderboard.boards.board import Board, board_of
from leaderboard.evaluation.episodes import EpisodePlayer
from leaderboard.policy_files.canonical_form import canonical_digest
from leaderboard.policy_files.gate import check_graph
from leaderboard.sandbox.policy import MOST_ROWS, SandboxedPolicy, SandboxLimits
from leaderboard.scores.behavior import NEAR, RANDOM, VISITED, answers_of, distances
from leaderboard.store.copy_store import (
    Fingerprint,
    NearPair,
    board_fingerprints,
    keep_comparison,
    next_to_compare,
    record_comparison,
)
from leaderboard.store.database import Database
from leaderboard.store.seasons import episode_seeds, secret_of
from leaderboard.store.submission_store import stored_submission
from leaderboard.store.tables import policy as stored
from leaderboard.submissions.submission import Spaces, spaces_of

FIRST_SEED = 1_000_000  # index of the first seed; those of the hidden episodes are far below
STEPS = 256  # at least, of the episodes whose observations are kept
RANDOM_STEPS = 1000
RANDOM_SEED = 20_211_204
PAIRS_AT_ONCE = 500


@dataclass
class _Running:
    """A policy to compare, in its process; it remembers which observations it was given."""

    policy_id: int
    sha256: str  # canonical
    process: SandboxedPolicy
    spaces: Spaces
    stochastic: bool
    seen: list[np.ndarray]

    def outputs(self, observations: np.ndarray) -> dict[str, np.ndarray]:
        self.seen.append(observations)
        return self.process.outputs(observations)

    def answers(self, states: np.ndarray) -> np.ndarray:
        """Return its answers, (states, numbers); each distinct state is asked once."""
        rows = np.ascontiguousarray(states, dtype=np.float32)
        keys = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
        _, first, place = np.unique(keys, return_index=True, return_inverse=True)
        distinct = rows[first]
        parts = [
            answers_of(
                self.process.outputs(distinct[start : start + MOST_ROWS]),
                self.spaces.action,
                self.stochastic,
            )
            for start in range(0, len(distinct), MOST_ROWS)
        ]
        found: np.ndarray = np.concatenate(parts)[place.ravel()]
        return found


def compare_submission(database: Database, number: int, actor: str | None = None) -> None:
    """Compare a submission's policies with each other and all others, and keep what was found.

    Args:
        database: the store.
        number: of the submission.
        actor: name for the audit log; None leaves the entry to the caller.

    Raises:
        PolicyFailed: if a policy fails.
        SandboxUnavailable: if no process for one could be started.
    """
    found = stored_submission(database, number)
    assert found is not None  # it is being evaluated, or was
    board = board_of(found.env)
    with database.reading() as connection:
        secret = secret_of(connection, found.season)
        query = sa.select(stored).where(stored.c.submission_id == number)
        rows = connection.execute(query.order_by(stored.c.position)).all()
    with ExitStack() as stack:
        running = [
            stack.enter_context(_started(board, row, found.metadata.stochastic)) for row in rows
        ]
        policies = [
            _Running(
                row.id,
                canonical_digest(bytes(row.content)),
                process,
                spaces_of(board),
                found.metadata.stochastic,
                [],
            )
            for row, process in zip(rows, running, strict=True)
        ]
        made = [_fingerprint(policy, board, secret) for policy in policies]
        is_kept = False
        while not is_kept:
            with database.reading() as connection:
                earlier = board_fingerprints(connection, board)
            mine = {each.policy_id for each in made}
            others = [each for each in earlier if each.policy_id not in mine]
            pairs = _near_pairs(policies, [*others, *made])
            with database.writing() as connection:
                known = {each.policy_id for each in others}
                is_kept = keep_comparison(connection, board, made, known, pairs)
                if is_kept and actor is not None:
                    record_comparison(connection, actor, number)


def compare_next(database: Database, actor: str, left_out: set[int]) -> int | None:
    """Compare a scored submission of an older store; return its number, None if none is left.

    Args:
        database: the store.
        actor: name for the audit log.
        left_out: submissions that could not be compared; the next one that cannot is added.

    Raises:
        PolicyFailed: if a policy fails.
        SandboxUnavailable: if no process for one could be started.
    """
    number = next_to_compare(database, left_out)
    if number is not None:
        left_out.add(number)
        compare_submission(database, number, actor)
    return number


@cache
def random_states(board: Board) -> np.ndarray:
    """Return flat observations that random actions visit, (RANDOM, n); always the same ones."""
    env = gym.make(board.env, disable_env_checker=True)
    try:
        env.action_space.seed(RANDOM_SEED)
        observation, _ = env.reset(seed=RANDOM_SEED)
        seen = []
        for _ in range(RANDOM_STEPS):
            seen.append(spaces.flatten(env.observation_space, observation))
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                observation, _ = env.reset()
    finally:
        env.close()
    return _some(np.array(seen, dtype=np.float32), RANDOM)


def _started(board: Board, row: sa.Row, stochastic: bool) -> SandboxedPolicy:
    spaces = spaces_of(board)
    content = bytes(row.content)
    signature = check_graph(content, spaces.observation, spaces.action)
    return SandboxedPolicy(content, signature, SandboxLimits.for_steps(10_000_000))


def _fingerprint(policy: _Running, board: Board, secret: bytes) -> Fingerprint:
    episodes = int(np.clip(-(-STEPS // board.longest_episode), 4, VISITED))
    seeds = episode_seeds(secret, board, range(FIRST_SEED, FIRST_SEED + episodes))
    policy.seen.clear()
    with EpisodePlayer(board, episodes) as player:
        player.play(policy, policy.stochastic, seeds)
    visited = _some(np.concatenate(policy.seen), VISITED)
    states = np.concatenate([visited, random_states(board)])
    return Fingerprint(policy.policy_id, policy.sha256, states, policy.answers(states))


def _some(observations: np.ndarray, count: int) -> np.ndarray:
    """Return this many of the distinct observations, repeated if there are fewer."""
    distinct = np.unique(observations, axis=0)
    order = np.random.default_rng(RANDOM_SEED).permutation(len(distinct))
    return distinct[np.resize(order, count)]


def _near_pairs(policies: Sequence[_Running], others: Sequence[Fingerprint]) -> list[NearPair]:
    """Return the near-copies among all pairs of one of the policies and one of the others."""
    found = {}
    for policy in policies:
        different = [each for each in others if each.policy_id != policy.policy_id]
        for start in range(0, len(different), PAIRS_AT_ONCE):
            part = different[start : start + PAIRS_AT_ONCE]
            for other, distance in zip(part, _distances(policy, part), strict=True):
                later, earlier = _in_order(policy.policy_id, other.policy_id)
                if distance < NEAR:
                    known = found.get((later, earlier), distance)
                    found[later, earlier] = min(known, distance)
    return [NearPair(later, earlier, distance) for (later, earlier), distance in found.items()]


def _distances(policy: _Running, others: Sequence[Fingerprint]) -> list[float]:
    """Return the distances of a policy from others; 0 if both files compute the same."""
    asked = policy.answers(np.concatenate([other.states for other in others]))
    answers = asked.reshape(len(others), -1, asked.shape[1])
    known = np.stack([other.answers for other in others])
    measured = distances(answers, known, policy.spaces.action)
    return [
        0.0 if other.canonical_sha256 == policy.sha256 else float(distance)
        for other, distance in zip(others, measured, strict=True)
    ]


def _in_order(first: int, second: int) -> tuple[int, int]:
    """Return the later and the earlier policy; numbers grow with the time of submission."""
    return max(first, second), min(first, second)
