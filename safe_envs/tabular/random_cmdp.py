"""Random CMDPs, strictly feasible by construction, to avoid tuning to two grid worlds."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from safe_envs.contract.argument_names import known_arguments
from safe_envs.contract.cost_signal import ConstraintSpec, CostLimits, declare_constraints
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.tabular.env import TabularBatch, TabularEnv
from safe_envs.tabular.grid_drawing import draw_ring
from safe_envs.tabular.model import TabularCMDP
from safe_envs.tabular.observations import ObservationName

DISCOUNT = 0.9
SLACK = 0.3  # position of the limits, from the cheapest policy's costs (0) to the best return's (1)


def random_cmdp(
    states: int = 20,
    actions: int = 4,
    constraints: int = 1,
    seed: int = 0,
    branching: int | None = None,
    discount: float = DISCOUNT,
    slack: float = SLACK,
    cost_limits: CostLimits = None,
) -> TabularCMDP:
    """Return a random CMDP that some policy satisfies strictly.

    Transition rows and the initial distribution are Dirichlet(1, ..., 1), reward and costs
    uniform on [0, 1]. One policy has the least sum of costs, another the best return regardless
    of costs, both found by policy iteration. Each limit exceeds the first policy's cost by
    `slack` times the distance to the second one's cost (taken as at least 0.1), so the first
    policy is a Slater point.

    Args:
        states: number of states, at least 2.
        actions: number of actions, at least 2.
        constraints: number of constraints m, at least 1.
        seed: the model's own seed; equal arguments give equal models.
        branching: successors of each state and action; None for all states (dense).
        discount: discount of reward and costs, in [0, 1).
        slack: position of the limits, in (0, 1].
        cost_limits: m other limits, feasible or not.

    Raises:
        ValueError: for an argument out of its range.
    """
    _check(states, actions, constraints, branching, slack)
    rng = np.random.default_rng(seed)
    P = _random_transitions(rng, states, actions, branching)
    reward = rng.random((states, actions))
    costs = rng.random((constraints, states, actions))
    initial = rng.dirichlet(np.ones(states))
    free = TabularCMDP(P, reward, costs, initial, discount, np.zeros(constraints))
    cheapest = free.evaluate(_greedy_optimum(free, -costs.sum(axis=0))).costs
    best = free.evaluate(_greedy_optimum(free, reward)).costs
    limits = cheapest + slack * np.maximum(best - cheapest, 0.1)
    if cost_limits is not None:
        defaults = {f"cost_{i}": 0.0 for i in range(constraints)}
        declared = declare_constraints(defaults, 1.0, cost_limits)
        limits = np.array([c.limit for c in declared])
    return TabularCMDP(P, reward, costs, initial, discount, limits)


class RandomCMDPEnv(TabularEnv):
    """A random CMDP, strictly feasible by construction, as an environment.

    ## Description
    Transitions, rewards and costs are drawn once from `model_seed`; see `random_cmdp`. It tests
    constrained agents on problems that they were not tuned for.

    ## Action Space
    `Discrete(actions)`. Keys for `gymnasium.utils.play`: 0 to 9, then a to z, for the actions by
    number; pass `wait_on_player=True`.

    ## Observation Space
    `Discrete(states)`.

    With `observation="one_hot"` it is `Box(0, 1, (states,), float32)`: 1 at the number of the state
    and 0 elsewhere, for networks that need vectors. The reset option and `tabular_model()` still
    number the states.

    ## Rewards
    A fixed number in [0, 1] for every state and action.

    ## Costs
    A fixed number in [0, 1] for every state, action and constraint. The limits bound the expected
    sums discounted by 0.9 from the model's initial distribution.

    ## Starting State
    Drawn from the model's initial distribution; `reset(options={"state": s})` starts in state s.

    ## Episode End
    Never terminates; truncates after 100 steps (0.9^100 = 3e-5).

    ## Reference Optimum
    By the occupancy linear program of `tabular_model()`.

    ## Arguments
    - `states` (20), `actions` (4), `constraints` (1), `model_seed` (0): size and seed.
    - `branching` (None): successors per state and action; None for all states.
    - `cost_limits` (None): other limits, one number per constraint.
    - `observation` ("index"): "index" or "one_hot"; see above.

    ## Version History
    - v0: first version.
    """

    @known_arguments()
    def __init__(
        self,
        states: int = 20,
        actions: int = 4,
        constraints: int = 1,
        model_seed: int = 0,
        branching: int | None = None,
        cost_limits: CostLimits = None,
        render_mode: str | None = None,
        observation: ObservationName = "index",
    ) -> None:
        model = random_cmdp(
            states, actions, constraints, model_seed, branching, cost_limits=cost_limits
        )
        draw = partial(draw_ring, count=states)
        dynamics = TabularBatch(model, _constraints_of(model), draw, observation)
        super().__init__(dynamics, render_mode)


class RandomCMDPVectorEnv(NativeVectorEnv, VectorEnv):
    """`RandomCMDPEnv` as a native vector environment, with the same arguments."""

    @known_arguments(RandomCMDPEnv)
    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = 100,
        autoreset_mode: Any = "NextStep",
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        dynamics = RandomCMDPEnv(**arguments).dynamics
        super().__init__(dynamics, num_envs, max_episode_steps, autoreset_mode, render_mode)


def _constraints_of(model: TabularCMDP) -> tuple[ConstraintSpec, ...]:
    limits = dict(zip(model.constraint_names, model.limits.tolist(), strict=True))
    return declare_constraints(limits, model.discount, None)


def _check(
    states: int, actions: int, constraints: int, branching: int | None, slack: float
) -> None:
    for name, value, least in (
        ("states", states, 2),
        ("actions", actions, 2),
        ("constraints", constraints, 1),
    ):
        if value != int(value) or value < least:
            raise ValueError(f"{name} is {value}; pass a whole number >= {least}")
    if branching is not None and not 1 <= branching <= states:
        raise ValueError(f"branching is {branching}; pass a number from 1 to {states}, or None")
    if not 0.0 < slack <= 1.0:
        raise ValueError(f"slack is {slack}; pass a number in (0, 1]")


def _random_transitions(
    rng: np.random.Generator, states: int, actions: int, branching: int | None
) -> np.ndarray:
    if branching is None:
        return rng.dirichlet(np.ones(states), size=(states, actions))
    P = np.zeros((states * actions, states))
    reached = rng.permuted(np.tile(np.arange(states), (len(P), 1)), axis=1)[:, :branching]
    weights = rng.dirichlet(np.ones(branching), size=len(P))
    np.put_along_axis(P, reached, weights, axis=1)
    return P.reshape(states, actions, states)


def _greedy_optimum(cmdp: TabularCMDP, signal: np.ndarray) -> np.ndarray:
    """Return the (S, A) deterministic policy with the best sum of a signal, by policy iteration."""
    chosen = np.zeros(cmdp.num_states, dtype=np.int64)
    while True:
        policy = np.eye(cmdp.num_actions)[chosen]
        q = cmdp.evaluate(policy, extra=signal).q_extra
        now = q[np.arange(len(chosen)), chosen]
        better = np.where(q.max(axis=1) > now + 1e-10, q.argmax(axis=1), chosen)
        if (better == chosen).all():
            return policy
        chosen = better
