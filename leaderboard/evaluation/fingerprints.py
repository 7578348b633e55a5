"""What a policy does, asked of its process: its fingerprint, and its distance from others.

A fingerprint is observations that a policy visits itself, others that random actions visit, and its
answers there. Another policy is compared with it on these observations. So a copy cannot differ
where nobody looks: it would have to differ where the original goes, which it does not know exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from leaderboard.boards.board import Board
from leaderboard.evaluation.episodes import EpisodePlayer
from leaderboard.policy_files.canonical_form import CanonicalForm, canonical_form
from leaderboard.policy_files.gate import check_graph
from leaderboard.policy_files.state_audit import AGAIN
from leaderboard.sandbox.policy import SandboxedPolicy, SandboxLimits
from leaderboard.scores.behavior import (
    RANDOM,
    STATES,
    VISITED,
    answers_of,
    are_near,
    distances,
    weight_distances,
)
from leaderboard.store.copy_store import Fingerprint
from leaderboard.store.seasons import episode_seeds
from leaderboard.submissions.submission import spaces_of

FIRST_SEED = 1_000_000  # index of the first seed; those of the hidden episodes are far below
STEPS = 256  # at least, of the episodes whose observations are kept
RANDOM_STEPS = 1000
RANDOM_SEED = 20_211_204
MOST_STEPS = 10_000_000  # that the time limits allow for, besides the states of other policies
SLOWEST_ANSWER = 0.02  # [s] processor time for each of these; the wall time may be ten times that


@dataclass
class AskedPolicy:
    """A policy to compare, in its process; it remembers which observations it was given."""

    policy_id: int  # in the store
    form: CanonicalForm
    process: SandboxedPolicy
    board: Board
    stochastic: bool
    seen: list[np.ndarray] = field(default_factory=list)

    def outputs(self, observations: np.ndarray) -> dict[str, np.ndarray]:
        """Return its outputs, as `SandboxedPolicy.outputs`."""
        self.seen.append(observations)
        return self.process.outputs(observations)

    def answers(self, states: np.ndarray) -> np.ndarray:
        """Return its answers, (states, numbers); each distinct state is asked once.

        A call has no more rows than the calls that a policy has to answer in time while it is
        evaluated, so the number of other policies does not make one fail that was fast enough.
        """
        rows = np.ascontiguousarray(states, dtype=np.float32)
        keys = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
        _, first, place = np.unique(keys, return_index=True, return_inverse=True)
        distinct = rows[first]
        parts = [
            answers_of(
                self.process.outputs(distinct[start : start + AGAIN]),
                spaces_of(self.board).action,
                self.stochastic,
            )
            for start in range(0, len(distinct), AGAIN)
        ]
        found: np.ndarray = np.concatenate(parts)[place.ravel()]
        return found


@contextmanager
def asked_policy(
    board: Board, content: bytes, stochastic: bool, policy_id: int = 0, others: int = 1
) -> Iterator[AskedPolicy]:
    """Check a policy file, start it, and yield it.

    Args:
        board: that it is for.
        content: the file.
        stochastic: whether its actions are drawn.
        policy_id: its number in the store.
        others: policies that it is compared with; each gives it time for their states.

    Raises:
        PolicyRefused: if the file breaks a rule.
        PolicyFailed: if it cannot be loaded.
        SandboxUnavailable: if no process for it could be started.
    """
    found = spaces_of(board)
    signature = check_graph(content, found.observation, found.action)
    form, limits = canonical_form(content), SandboxLimits.for_steps(MOST_STEPS)
    seconds = SLOWEST_ANSWER * STATES * others
    limits = replace(
        limits,
        cpu_seconds=limits.cpu_seconds + seconds,
        total_seconds=limits.total_seconds + 10.0 * seconds,
    )
    with SandboxedPolicy(content, signature, limits) as process:
        yield AskedPolicy(policy_id, form, process, board, stochastic)


def fingerprint_of(policy: AskedPolicy, secret: bytes) -> Fingerprint:
    """Return the fingerprint of a policy.

    Args:
        policy: that is asked.
        secret: that the seeds of the episodes it plays come from; not those of hidden episodes.

    Raises:
        PolicyFailed: if it fails.
    """
    board = policy.board
    episodes = int(np.clip(-(-STEPS // board.longest_episode), 4, VISITED))
    seeds = episode_seeds(secret, board, range(FIRST_SEED, FIRST_SEED + episodes))
    policy.seen.clear()
    with EpisodePlayer(board, episodes) as player:
        player.play(policy, policy.stochastic, seeds)
    visited = _some(np.concatenate(policy.seen), VISITED)
    states = np.concatenate([visited, random_states(board)])
    return Fingerprint(policy.policy_id, policy.form, states, policy.answers(states))


@dataclass(frozen=True)
class MeasuredDistances:
    """How far a policy is from others."""

    behavior: np.ndarray  # (policies,) `scores.behavior.distances`; 0 if the files compute the same
    are_near: np.ndarray  # (policies,) whether it counts as a near-copy


def measured_distances(policy: AskedPolicy, others: Sequence[Fingerprint]) -> MeasuredDistances:
    """Return the distances of a policy from others, asked on their states.

    Raises:
        PolicyFailed: if it fails.
    """
    asked = policy.answers(np.concatenate([other.states for other in others]))
    answers = asked.reshape(len(others), -1, asked.shape[1])
    known = np.stack([other.answers for other in others])
    is_same = np.array([other.form.digest == policy.form.digest for other in others])
    is_alike = np.array([other.form.skeleton == policy.form.skeleton for other in others])
    behavior = np.where(is_same, 0.0, distances(answers, known, spaces_of(policy.board).action))
    weights = weight_distances(policy.form.weights, np.stack([o.form.weights for o in others]))
    near = are_near(behavior, np.where(is_alike, weights, np.inf))
    return MeasuredDistances(behavior, near)


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


def _some(observations: np.ndarray, count: int) -> np.ndarray:
    """Return this many of the distinct observations, repeated if there are fewer."""
    distinct = np.unique(observations, axis=0)
    order = np.random.default_rng(RANDOM_SEED).permutation(len(distinct))
    return distinct[np.resize(order, count)]
