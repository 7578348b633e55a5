"""The double integrator in a box, with a quadratic reward or an expert that leaves the box.

Source: SCPO (arXiv 2512.13788), section VI-B; dynamics and reference sets are in
`safe_envs.control.double_integrator_reference`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from safe_envs.action_constraints.action_constraint import ActionConstraint
from safe_envs.contract.argument_checks import check_choice, check_not_negative, checked_array
from safe_envs.contract.argument_names import known_arguments
from safe_envs.contract.backup_policy import LinearFeedback
from safe_envs.contract.cost_signal import CostLimits, declare_constraints
from safe_envs.contract.dynamics import BatchStep, ScalarStart, ScalarStep
from safe_envs.contract.single_env import SingleEnv
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.control.double_integrator_constraint import (
    DECAY,
    ConstraintKind,
    double_integrator_constraint,
)
from safe_envs.control.double_integrator_plant import (
    double_integrator_batch_plant,
    double_integrator_plant,
)
from safe_envs.control.double_integrator_reference import (
    BOX,
    EXPERT_GAIN,
    HALF_SQUARE,
    MAX_ACTION,
    ROUNDING,
    TIME_STEP,
    in_safe_set,
    linear_quadratic_regulator,
    malicious_expert,
    next_states,
)
from safe_envs.control.double_integrator_sampling import sample_safe_state, sample_safe_states
from safe_envs.control.plane_drawing import draw_phase_plane
from safe_envs.safety_filters.filter_plant import FilterPlant

RewardMode = Literal["lqr", "imitation"]
SIDES = ("position_high", "position_low", "velocity_high", "velocity_low")
EXPERT_NOISE_STD = 0.4
COST_LIMIT = 0.0
STATE_MEANING = "position and velocity"
FULL_SHARE_RADIUS = 0.5  # beyond it, a learner's additions are not scaled down


class DoubleIntegratorEnv(SingleEnv):
    """The double integrator that must stay in a box.

    ## Description
    A unit mass on a line is pushed by a bounded force. Its state x = (position, velocity) should
    stay in the box |x_i| <= 15 and settle at the origin. `reward="imitation"` pays for copying an
    expert that drives some states out of the box.

    ## Action Space
    `Box(-1, 1, (1,), float32)`: the force; values outside are clipped.

    ## Observation Space
    `Box(-inf, inf, (2,), float64)`: position [m] and velocity [m/s], also outside the box.

    ## Rewards
    - `"lqr"`: -(x'x + u^2) of the state before the step; the best controller near the origin is
      u = -K x with K = (0.91707456, 1.63559619).
    - `"imitation"`: -(u - e)^2, with the expert's action
      e = clip(-2 (position + velocity) + noise, -1, 1), noise ~ N(0, expert_noise_std^2).

    ## Costs
    1 on every step that ends outside the box, else 0; the limit on the episode's sum is 0.
    `per_constraint=True` declares one constraint per side, and a step outside two sides at once
    costs 1/2 for each. `info["constraint_values"]` holds the four signed margins in meters and
    meters per second: position - 15, -position - 15, velocity - 15, -velocity - 15.

    ## Starting State
    Uniform over R_safe, the states from which the safe controller clip(-K x, -1, 1) reaches
    the origin inside the box; `reset(options={"state": x})` starts in x.

    ## Episode End
    Never terminates; truncates after 150 steps of 0.1 s.

    ## Reference Optimum
    `safe_envs.control.double_integrator_reference`: the linear-quadratic regulator and its value
    matrix, the value of the safe controller, R_safe, and C_inf, the states that can be kept in
    the box.
    On the 50 x 50 grid over the box these sets have 836 and 840 states.

    ## Arguments
    - `reward` ("lqr"): "lqr" or "imitation".
    - `expert_noise_std` (0.4): standard deviation of the expert's noise. The paper's N(0, 0.4)
      can also be read as a variance: pass 0.4 ** 0.5.
    - `cost_limits` (None), `per_constraint` (False): as above.

    ## Version History
    - v0: first version.
    """

    @known_arguments()
    def __init__(
        self,
        reward: RewardMode = "lqr",
        expert_noise_std: float = EXPERT_NOISE_STD,
        cost_limits: CostLimits = None,
        per_constraint: bool = False,
        render_mode: str | None = None,
    ) -> None:
        dynamics = DoubleIntegratorBatch(reward, expert_noise_std, cost_limits, per_constraint)
        super().__init__(dynamics, render_mode, ScalarDoubleIntegrator(dynamics))

    def backup_policy(self) -> LinearFeedback:
        """Return the safe controller clip(-K x, -1, 1)."""
        return _backup_policy()

    def action_constraint(
        self, kind: ConstraintKind = "invariant_set", decay: float = DECAY
    ) -> ActionConstraint:
        """Return which forces are allowed at observations; see `double_integrator_constraint`."""
        return double_integrator_constraint(kind, decay)

    def filter_plant(self) -> FilterPlant:
        """Return what the safety filter needs: the barrier of C_inf and the metric "lqr"."""
        return double_integrator_plant(self)


class DoubleIntegratorVectorEnv(NativeVectorEnv, VectorEnv):
    """`DoubleIntegratorEnv` as a native vector environment, with the same arguments."""

    @known_arguments(DoubleIntegratorEnv)
    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = 150,
        autoreset_mode: Any = "NextStep",
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        dynamics = DoubleIntegratorEnv(**arguments).dynamics
        super().__init__(dynamics, num_envs, max_episode_steps, autoreset_mode, render_mode)

    def backup_policy(self) -> LinearFeedback:
        """Return the safe controller clip(-K x, -1, 1)."""
        return _backup_policy()

    def action_constraint(
        self, kind: ConstraintKind = "invariant_set", decay: float = DECAY
    ) -> ActionConstraint:
        """Return which forces are allowed at observations; see `double_integrator_constraint`."""
        return double_integrator_constraint(kind, decay)

    def filter_plant(self) -> FilterPlant:
        """Return what the safety filter needs: the barrier of C_inf and the metric "lqr"."""
        return double_integrator_batch_plant(self)


class DoubleIntegratorBatch:
    """The problem for many states at a time, (n, 2); arguments as in `DoubleIntegratorEnv`."""

    def __init__(
        self,
        reward: RewardMode,
        expert_noise_std: float,
        cost_limits: CostLimits,
        per_constraint: bool,
    ) -> None:
        check_choice("reward", reward, ("lqr", "imitation"))
        check_not_negative(expert_noise_std=expert_noise_std)
        names = SIDES if per_constraint else ("outside_box",)
        self.constraints = declare_constraints(dict.fromkeys(names, COST_LIMIT), 1.0, cost_limits)
        self.reward_discount = 1.0
        self.cost_high = np.ones(len(names))
        self.single_observation_space: gym.Space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.single_action_space: gym.Space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.render_fps = 20
        self.imitates = reward == "imitation"
        self.noise_std = expert_noise_std

    def initial_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw states uniformly from R_safe."""
        return sample_safe_states(rng, count)

    def checked_states(self, states: Any, count: int) -> np.ndarray:
        """Return `count` states given by the user."""
        return checked_array("state", states, (count, 2), STATE_MEANING)

    def noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw the expert's standard normal noise, (n,); nothing without an expert, (n, 0)."""
        return rng.standard_normal(count) if self.imitates else np.empty((count, 0))

    def step(self, states: np.ndarray, actions: np.ndarray, noise: np.ndarray) -> BatchStep:
        """Advance all states by 0.1 s."""
        force = actions[:, 0]
        if self.imitates:
            difference = force - malicious_expert(states, self.noise_std * noise)
            reward = -(difference * difference)
        else:
            position, velocity = states[:, 0], states[:, 1]
            reward = -(position * position + velocity * velocity + force * force)
        reached = next_states(states, force)
        margins = self.margins(reached)
        outside = margins > ROUNDING
        if len(self.constraints) > 1:
            costs = outside / np.maximum(outside.sum(axis=1, keepdims=True), 1)
        else:
            costs = outside.any(axis=1, keepdims=True).astype(np.float64)
        return BatchStep(reached, reward, costs, np.zeros(len(states), dtype=np.bool_), margins)

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return copies of the states."""
        return states.copy()

    def margins(self, states: np.ndarray) -> np.ndarray:
        """Return the signed margins of the four sides, (n, 4)."""
        margins = np.empty((len(states), 4))
        margins[:, 0::2] = states
        margins[:, 1::2] = -states
        margins -= BOX
        return margins

    def start_details(self, states: np.ndarray) -> None:
        """Return None: infos have no other entries."""

    def frame(self, state: np.ndarray) -> np.ndarray:
        """Return the phase plane with one state."""
        return draw_phase_plane((float(state[0]), float(state[1])), BOX, in_safe_set)

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


class ScalarDoubleIntegrator:
    """`DoubleIntegratorBatch` for one state (position, velocity), in plain floats."""

    def __init__(self, dynamics: DoubleIntegratorBatch) -> None:
        self._imitates, self._noise_std = dynamics.imitates, dynamics.noise_std
        self._several = len(dynamics.constraints) > 1

    def start(self, rng: np.random.Generator, options: Mapping[str, Any]) -> ScalarStart:
        """Draw a state uniformly from R_safe, or take the one given, (2,)."""
        if "state" in options:
            given = checked_array("state", options["state"], (2,), STATE_MEANING)
            position, velocity = given.tolist()
        else:
            position, velocity = sample_safe_state(rng)
        state = (position, velocity)
        return state, np.array(state), _margins(position, velocity), None

    def step(
        self, state: tuple[float, float], action: np.ndarray, rng: np.random.Generator
    ) -> ScalarStep:
        """Push for 0.1 s; the reward is for the old state, the cost for the new one."""
        force = float(action[0])
        position, velocity = state
        if self._imitates:
            noise = self._noise_std * rng.standard_normal()
            expert = min(max(-EXPERT_GAIN * (position + velocity) + noise, -1.0), 1.0)
            reward = -((force - expert) * (force - expert))
        else:
            reward = -(position * position + velocity * velocity + force * force)
        position = position + TIME_STEP * velocity + HALF_SQUARE * force
        velocity = velocity + TIME_STEP * force
        bound = BOX + ROUNDING
        outside = [position > bound, position < -bound, velocity > bound, velocity < -bound]
        cost = 1.0 if True in outside else 0.0
        costs = None
        if self._several:
            costs = np.array(outside, dtype=np.float64) / max(sum(outside), 1)
        reached = (position, velocity)
        margins = _margins(position, velocity)
        return reached, np.array(reached), reward, cost, False, costs, margins, None

    def frame(self, state: tuple[float, float]) -> np.ndarray:
        """Return the phase plane with the state."""
        return draw_phase_plane(state, BOX, in_safe_set)


def _margins(position: float, velocity: float) -> np.ndarray:
    return np.array((position - BOX, -position - BOX, velocity - BOX, -velocity - BOX))


def _backup_policy() -> LinearFeedback:
    """Return the safe controller.

    Additions are applied in full from |x| = 0.5. SCPO's paper uses the safe controller alone
    within |x| <= 0.01, a disk that no point of its grid is in or near.
    """
    gain = linear_quadratic_regulator().gain[None]
    return LinearFeedback(gain, -MAX_ACTION, MAX_ACTION, FULL_SHARE_RADIUS)
