"""A unicycle that drives to the origin between ellipses, with control barrier functions.

Dynamics, barriers and their sources are in `safe_envs.control.unicycle_barrier`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from safe_envs.action_constraints.action_constraint import ActionConstraint, checked_observations
from safe_envs.action_constraints.repaired_actions import repair_actions
from safe_envs.action_constraints.rows import QuadraticRows, at_least
from safe_envs.contract.argument_checks import check_choice, check_not_negative, checked_array
from safe_envs.contract.argument_names import known_arguments
from safe_envs.contract.backup_policy import BackupPolicy, PlainController
from safe_envs.contract.cost_signal import CostLimits, declare_constraints
from safe_envs.contract.dynamics import BatchStep
from safe_envs.contract.single_env import SingleEnv
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.control.plane_drawing import draw_course
from safe_envs.control.unicycle_barrier import (
    LOOK_AHEAD,
    SCENES,
    TOLERANCE,
    CourseName,
    EllipseBarrier,
    nominal_control,
    rates,
)
from safe_envs.safety_filters.filter_plant import FilterPlant, columns

MAX_ACCELERATION = 50.0  # [m/s^2] and [rad/s^2]
STATE_WEIGHTS = (100.0, 100.0, 0.0, 0.1, 0.1)
CONTROL_WEIGHT = 0.1
COST_LIMIT = 0.0
STATE = slice(0, 5)
STEPS = 5  # the column with the number of steps taken
STATE_MEANING = "px, py, theta, v and omega"
EPISODE_STEPS = SCENES["snarenet"].steps


class UnicycleCBFEnv(SingleEnv):
    """A unicycle that should reach the origin and must stay out of ellipses.

    ## Description
    A vehicle that accelerates along its heading and turns should drive to the origin in 2.2 s. Its
    state is x = (px, py, theta, v, omega) with

        px' = v cos(theta), py' = v sin(theta), theta' = omega, v' = u_1, omega' = u_2.

    Three ellipses are in the way, (c_x, c_y, r_x, r_y) = (-5, 5, 2, 1.41), (-1, 3, 0.25, 1.41) and
    (-9, 2, 1, 1) [m]. The point q, 0.1 m ahead of p, must not enter them. The problem is that of
    SnareNet (arXiv 2602.09317) and HardNet (arXiv 2410.10807), with the constants of their code;
    `scene="hardnet"` has HardNet's two ellipses, (-2.25, 0.5, 0.5, 0.75) and (-0.8, 0, 0.5, 0.5),
    and 1 s.

    `env.unwrapped.action_constraint()` has one row in the action per ellipse, a control barrier
    function of second order with kappa = 10 / s and alpha = 20 / s: use it with
    `safe_envs.action_constraints.RepairedActions`. The rows hold for continuous time, and steps are
    short enough: see below. Where the vehicle is so fast that no action within the bounds meets all
    rows, which noise of 50 m/s^2 achieves now and then, `info["repair_feasible"]` is False.

    Steps of 0.04 s (0.02 s) are explicit Euler steps with a constant action.
    Differs from the paper: where an acceleration exceeds 100, its code divides the step.

    ## Action Space
    `Box(-1, 1, (2,), float32)`: accelerations u = 50 a, along the heading [m/s^2] and in turning
    [rad/s^2]; values outside are clipped. Differs from the paper: there u is not bounded. The law
    `nominal_control` with repaired actions uses up to 35. In the papers a network's output is added
    to that law; here it is not part of the environment.

    ## Observation Space
    `Box(-inf, inf, (6,), float64)`: px, py [m], theta [rad], v [m/s], omega [rad/s] and the time
    left [s].

    ## Rewards
    -dt (100 (px^2 + py^2) + 0.1 (v^2 + omega^2) + 0.1 |u|^2) of the state before the step, and
    -1000 (px^2 + py^2) of the last state in the last step (with `scene="hardnet"` no such term).
    Differs from the paper: SnareNet trains with the last term and reports costs without it; pass
    `terminal_weight=0`.

    ## Costs
    1 on every step that ends with q inside an ellipse, e < -0.001 with e = ((q_x - c_x) / r_x)^2 +
    ((q_y - c_y) / r_y)^2 - 1 (the tolerance is that of HardNet's code); the limit on the episode's
    sum is 0. `per_constraint=True` declares one constraint per ellipse; they do not overlap.
    `info["constraint_values"]` holds -0.001 - e, one per ellipse.

    ## Starting State
    At rest, uniform over px in [-5.5, -5], py in [7.5, 8] and theta in [-pi/4, -pi/8] (with
    "hardnet" px in [-4, -3.5], py in [0, 0.5]), drawn again where a barrier h = e' + 10 e is
    negative; `reset(options={"state": x})` starts in x (5,).

    ## Episode End
    Terminates after 55 steps of 0.04 s (50 of 0.02 s), when the horizon of the problem is over.

    ## Reference Optimum
    None is known. With repaired actions of `nominal_control` no cost occurs from 200 starts (the
    smallest e is -0.00002), but the vehicle gets stuck behind the first ellipse: without the last
    term, the mean return is -14,090. With "hardnet" it is -954; for the same controller its authors
    report -948, and -519 for their network.

    ## Arguments
    - `scene` ("snarenet"): "snarenet" or "hardnet".
    - `terminal_weight` (None): factor of the last reward [1/m^2]; None for that of the scene.
    - `cost_limits` (None), `per_constraint` (False): as above.

    ## Version History
    - v0: first version.
    """

    dynamics: Unicycles

    @known_arguments()
    def __init__(
        self,
        scene: CourseName = "snarenet",
        terminal_weight: float | None = None,
        cost_limits: CostLimits = None,
        per_constraint: bool = False,
        render_mode: str | None = None,
    ) -> None:
        dynamics = Unicycles(scene, terminal_weight, cost_limits, per_constraint)
        super().__init__(dynamics, render_mode)

    def action_constraint(self) -> ActionConstraint:
        """Return the rows of the control barrier functions, one per ellipse."""
        return barrier_constraint(self.dynamics.barrier)

    def backup_policy(self) -> BackupPolicy:
        """Return `nominal_control` with repaired actions.

        That it stays out of the ellipses is measured, not proved.
        """
        return PlainController(partial(repaired_nominal, self.action_constraint()))

    def filter_plant(self) -> FilterPlant:
        """Return what the safety filter needs; u are accelerations, and no metric has a name."""
        return _plant(self.dynamics.barrier, partial(_state, self), _decoded, _encoded)


class UnicycleCBFVectorEnv(NativeVectorEnv, VectorEnv):
    """`UnicycleCBFEnv` as a native vector environment, with the same arguments."""

    dynamics: Unicycles

    @known_arguments(UnicycleCBFEnv)
    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = EPISODE_STEPS,
        autoreset_mode: Any = "NextStep",
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        dynamics = UnicycleCBFEnv(**arguments).dynamics
        super().__init__(dynamics, num_envs, max_episode_steps, autoreset_mode, render_mode)

    def action_constraint(self) -> ActionConstraint:
        """Return the rows of the control barrier functions, one per ellipse."""
        return barrier_constraint(self.dynamics.barrier)

    def backup_policy(self) -> BackupPolicy:
        """Return `nominal_control` with repaired actions."""
        return PlainController(partial(repaired_nominal, self.action_constraint()))

    def filter_plant(self) -> FilterPlant:
        """Return what the safety filter needs; u are accelerations, and no metric has a name."""
        return _plant(self.dynamics.barrier, partial(_states, self), _decoded_rows, _encoded_rows)


def barrier_constraint(barrier: EllipseBarrier) -> ActionConstraint:
    """Return the barrier's rows as a constraint on actions in [-1, 1]."""
    return ActionConstraint(
        low=-np.ones(2),
        high=np.ones(2),
        rows=partial(_rows, barrier),
        meaning="h' + alpha h >= 0 for every ellipse",
    )


def repaired_nominal(constraint: ActionConstraint, observations: np.ndarray) -> np.ndarray:
    """Return repaired actions (..., 2) of `nominal_control` at observations (..., 6)."""
    given = np.asarray(observations, dtype=np.float64)
    seen = given.reshape(-1, given.shape[-1])
    wanted = nominal_control(seen.T[STATE]).T / MAX_ACCELERATION
    return repair_actions(constraint, seen, wanted).actions.reshape(*given.shape[:-1], 2)


class Unicycles:
    """The problem for many states at a time, (n, 6): the state and the number of steps taken."""

    def __init__(
        self,
        scene: CourseName,
        terminal_weight: float | None,
        cost_limits: CostLimits,
        per_constraint: bool,
    ) -> None:
        check_choice("scene", scene, tuple(SCENES))
        self.scene = SCENES[scene]
        weight = self.scene.terminal_weight if terminal_weight is None else terminal_weight
        check_not_negative(terminal_weight=weight)
        self.terminal_weight = weight
        self.barrier = EllipseBarrier(self.scene.ellipses)
        count = len(self.scene.ellipses)
        names = [f"ellipse_{i}" for i in range(count)] if per_constraint else ["ellipses"]
        limits = dict.fromkeys(names, COST_LIMIT)
        self.constraints = declare_constraints(limits, 1.0, cost_limits)
        self.reward_discount = 1.0
        self.cost_high = np.ones(len(names))
        self.single_observation_space: gym.Space = gym.spaces.Box(-np.inf, np.inf, (6,), np.float64)
        self.single_action_space: gym.Space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.render_fps = round(1.0 / self.scene.time_step)

    def initial_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw states at rest where all barriers are positive."""
        states = np.zeros((count, 6))
        missing = np.arange(count)
        while len(missing):
            states[missing, STATE] = rng.uniform(self.scene.low, self.scene.high, (len(missing), 5))
            inside = (self.barrier.values(states[missing].T[STATE]) < 0.0).any(axis=0)
            missing = missing[inside]
        return states

    def checked_states(self, states: Any, count: int) -> np.ndarray:
        """Return `count` states given by the user, before the first step."""
        given = checked_array("state", states, (count, 5), STATE_MEANING)
        return np.concatenate([given, np.zeros((count, 1))], axis=1)

    def noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw nothing, (n, 0)."""
        return np.empty((count, 0))

    def step(self, states: np.ndarray, actions: np.ndarray, noise: np.ndarray) -> BatchStep:
        """Advance all states by one time step."""
        dt = self.scene.time_step
        before, controls = states.T[STATE], MAX_ACCELERATION * actions.T
        price = CONTROL_WEIGHT * (controls[0] * controls[0] + controls[1] * controls[1])
        for weight, entries in zip(STATE_WEIGHTS, before, strict=True):
            price = price + weight * entries * entries
        reached = np.empty_like(states)
        reached[:, STATE] = (before + dt * rates(before, controls)).T
        reached[:, STEPS] = states[:, STEPS] + 1.0
        over = reached[:, STEPS] >= self.scene.steps
        missed = reached[:, 0] * reached[:, 0] + reached[:, 1] * reached[:, 1]
        reward = -dt * price - np.where(over, self.terminal_weight * missed, 0.0)
        margins = self.margins(reached)
        costs = (margins > 0.0).astype(np.float64)
        if len(self.constraints) == 1:
            costs = costs.max(axis=1, keepdims=True)
        return BatchStep(reached, reward, costs, over, margins)

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return the states and the time left, (n, 6)."""
        seen = states.copy()
        seen[:, STEPS] = self.scene.time_step * (self.scene.steps - states[:, STEPS])
        return seen

    def margins(self, states: np.ndarray) -> np.ndarray:
        """Return -0.001 - e, (n, ellipses)."""
        return -TOLERANCE - np.ascontiguousarray(self.barrier.levels(states.T[STATE]).T)

    def start_details(self, states: np.ndarray) -> None:
        """Return None: infos have no other entries."""

    def frame(self, state: np.ndarray) -> np.ndarray:
        """Return the plane from above."""
        place = float(state[0]), float(state[1]), float(state[2])
        return draw_course(place, LOOK_AHEAD, self.scene.ellipses, self.scene.window)

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def _rows(barrier: EllipseBarrier, observations: np.ndarray) -> QuadraticRows:
    states = checked_observations(observations, 6).T[STATE]
    return at_least(*barrier.batch(states, states), scale=MAX_ACCELERATION)


def _plant(barrier: EllipseBarrier, state: Any, decoded: Any, encoded: Any) -> FilterPlant:
    bound = np.full(2, MAX_ACCELERATION)
    return FilterPlant(-bound, bound, barrier, {}, state, decoded, encoded)


def _state(env: UnicycleCBFEnv, observation: Any) -> np.ndarray:
    return np.array(env.current_state("filtering an action")[0, STATE])


def _states(env: UnicycleCBFVectorEnv, observations: Any) -> np.ndarray:
    return columns(env.current_states("filtering actions")[:, STATE])


def _decoded(action: np.ndarray) -> np.ndarray:
    return MAX_ACCELERATION * action


def _encoded(u: np.ndarray) -> np.ndarray:
    return u / MAX_ACCELERATION


def _decoded_rows(actions: np.ndarray) -> np.ndarray:
    return MAX_ACCELERATION * columns(actions)


def _encoded_rows(u: np.ndarray) -> np.ndarray:
    return u.T / MAX_ACCELERATION
