"""What an SCPO agent measures: margins or costs of a policy's rollouts, always the same rollouts.

    g = largest value of each signed margin in each rollout                      (`StateRollouts`)
    g = (cost - limit) / limit of each constraint in each episode                (`SeededEpisodes`)

Every entry of g is in a unit of its own, which has no effect on the steps of a
`WeightSpaceProjection`. For that reason margins, which may be in different units, are kept apart.

Source: Cao and Borrelli, SCPO (arXiv 2512.13788), section IV-C: safety is a finite set of rollouts
from a curated validation set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from safe_envs.contract.argument_checks import check_number
from safe_envs.contract.cost_signal import read_costs
from safe_envs.contract.episode_totals import EpisodeTotals

Act = Callable[[np.ndarray], np.ndarray]  # observations (n, ...) to actions (n, ...)


class Validation(Protocol):
    """A deterministic measurement of a policy."""

    steps: int  # environment steps taken so far

    def __call__(self, act: Act) -> np.ndarray:
        """Return g of the deterministic policy `act`, (k,); safe where <= 0."""
        ...


class StateRollouts:
    """Signed margins of rollouts, one entry per rollout and margin, in the margins' own units.

    `info["constraint_values"]` holds the margins.

    All copies step together, in the environment's native vector form if there is one.

    Args:
        spec: id or specification of the environment.
        states: where the rollouts start, (k, ...), which needs `reset(options={"state": x})`; or
            their number k, and the first states follow from the seed.
        horizon: steps per rollout, unless the episode ends; None takes the time limit, 1,000 if
            there is none.
        seed: of all random numbers; the same in every measurement.

    Raises:
        ValueError: if there is no state, or in a call if there are no `constraint_values`.
    """

    def __init__(
        self,
        spec: str | EnvSpec,
        states: np.ndarray | int,
        horizon: int | None = None,
        seed: int = 0,
    ) -> None:
        self.steps = 0
        self._seed = seed
        self._horizon = _horizon(spec, horizon)
        self._options: dict[str, Any] | None = None
        if isinstance(states, np.ndarray):
            check_number("the number of validation states", len(states), low=1)
            self._venv, native = _copies(spec, states)
            self._options = {"state": states} if native else None
        else:
            check_number("the number of validation states", states, low=1)
            self._venv = _made(spec, int(states))

    def __call__(self, act: Act) -> np.ndarray:
        """Return each rollout's largest value of each of q margins, the start included, (k q,)."""
        observations, info = self._venv.reset(seed=self._seed, options=self._options)
        worst = self._margins(info)
        for step in _roll(self._venv, observations, act, self._horizon):
            margins = self._margins(step.info)
            worst = np.where(step.running[:, None], np.maximum(worst, margins), worst)
            self.steps += int(step.running.sum())
        return worst.reshape(-1)

    def _margins(self, info: dict[str, Any]) -> np.ndarray:
        """Return the margins, (k, q)."""
        if "constraint_values" not in info:
            raise ValueError(
                f"{self._venv} reports no info['constraint_values']; measure episode costs instead "
                "(SeededEpisodes, or measure='costs')"
            )
        return np.array(info["constraint_values"], dtype=np.float64)


class SeededEpisodes:
    """Costs of seeded episodes relative to the limits, one entry per episode and constraint.

    g = (cost - limit) / limit. Where the limit is 0, g is the cost itself: a policy that keeps
    within such a limit costs nothing, so nothing is known that it could be related to.

    Args:
        spec: id or specification of the environment.
        limits: of each of m constraints, at least 0.
        discounts: of each constraint's cost.
        episodes: number of episodes n; their first states follow from the seed.
        horizon: steps per episode, as in `StateRollouts`.
        seed: of all random numbers; the same in every measurement.
    """

    def __init__(
        self,
        spec: str | EnvSpec,
        limits: Sequence[float],
        discounts: Sequence[float],
        episodes: int = 8,
        horizon: int | None = None,
        seed: int = 0,
    ) -> None:
        check_number("episodes", episodes, low=1)
        self.steps = 0
        self._limits = np.asarray(limits, dtype=np.float64)
        self._discounts = discounts
        self._seed = seed
        self._horizon = _horizon(spec, horizon)
        self._venv = _made(spec, int(episodes))

    def __call__(self, act: Act) -> np.ndarray:
        """Return (cost - limit) / limit of each episode and constraint, (n m,)."""
        observations, _ = self._venv.reset(seed=self._seed)
        n, m = self._venv.num_envs, len(self._limits)
        totals, costs = EpisodeTotals(n, 1.0, self._discounts), np.empty((n, m))
        for step in _roll(self._venv, observations, act, self._horizon):
            signals = np.column_stack((step.reward, read_costs(step.info, n, m)))
            for row, episode in totals.add(signals, step.ended):
                costs[row] = episode.costs
            self.steps += int(step.running.sum())
        size = np.where(self._limits > 0.0, self._limits, 1.0)
        return ((costs - self._limits) / size).reshape(-1)


class _Step(NamedTuple):
    reward: np.ndarray  # (n,)
    info: dict[str, Any]
    running: np.ndarray  # (n,) bool: the step belongs to the row's first episode
    ended: np.ndarray  # (n,) bool: it is the last of that episode, or of the horizon


class _StartFrom(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that starts every episode in one state."""

    def __init__(self, env: gym.Env[Any, Any], state: np.ndarray) -> None:
        super().__init__(env)
        self._state = state

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        return self.env.reset(seed=seed, options={**(options or {}), "state": self._state})


def _roll(
    venv: gym.vector.VectorEnv, observations: np.ndarray, act: Act, horizon: int
) -> Iterator[_Step]:
    """Yield the steps of all rows until the first episode of each has ended."""
    running = np.ones(venv.num_envs, dtype=np.bool_)
    for left in reversed(range(horizon)):
        observations, reward, terminated, truncated, info = venv.step(act(observations))
        ended = running if left == 0 else running & (terminated | truncated)
        yield _Step(reward, info, running, ended)
        running = running & ~ended
        if not running.any():
            return


def _made(spec: str | EnvSpec, count: int) -> gym.vector.VectorEnv:
    """Return copies, in the native vector form unless the single form has wrappers."""
    is_wrapped = not isinstance(spec, str) and bool(spec.additional_wrappers)
    return gym.make_vec(spec, num_envs=count, vectorization_mode="sync" if is_wrapped else None)


def _copies(spec: str | EnvSpec, states: np.ndarray) -> tuple[gym.vector.VectorEnv, bool]:
    """Return one copy per state, and whether the copies accept all states at once."""
    found = gym.spec(spec) if isinstance(spec, str) else spec
    if found.vector_entry_point is not None and not found.additional_wrappers:
        return _made(spec, len(states)), True
    makers = [lambda own=state: _StartFrom(gym.make(spec), own) for state in states]
    return gym.vector.SyncVectorEnv(makers), False


def _horizon(spec: str | EnvSpec, horizon: int | None) -> int:
    if horizon is not None:
        check_number("horizon", horizon, low=1)
        return int(horizon)
    found = gym.spec(spec) if isinstance(spec, str) else spec
    return found.max_episode_steps or 1000


def gives_margins(spec: str | EnvSpec) -> bool:
    """Return whether the environment's infos hold `constraint_values`."""
    env = gym.make(spec)
    try:
        return "constraint_values" in env.reset(seed=0)[1]
    finally:
        env.close()
