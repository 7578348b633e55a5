"""The constrained cliff: the shortest path to the goal runs along a slippery edge.

A 21-state cliff world after Sutton and Barto, "Reinforcement Learning" (2018), example 6.6, in
the layout of Vaswani et al. (2021, "A general class of surrogate functions for stable and
efficient reinforcement learning"); `slip=0, chasm_reward=-100` is that published problem. The slip,
the cost and the limit make the constraint active and the optimum stochastic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from safe_envs.contract.argument_names import known_arguments
from safe_envs.contract.cost_signal import ConstraintSpec, CostLimits, declare_constraints
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.tabular.env import TabularBatch, TabularEnv
from safe_envs.tabular.grid_drawing import GridPicture
from safe_envs.tabular.keyboard import direction_keys
from safe_envs.tabular.model import TabularCMDP
from safe_envs.tabular.observations import ObservationName

COLUMNS, ROWS = 4, 5
MOVES = ((0, -1), (0, 1), (-1, 0), (1, 0))  # down, up, left, right as (column, row) changes
CHASM, GOAL, TERMINAL = (1, 2, 3), 4, 20  # states; state = 5 column + row, then the terminal one
NUM_STATES, NUM_ACTIONS = 21, 4
DISCOUNT = 0.9
COST_LIMIT = (
    0.175  # between the least possible cost, 0.1613, and the cost at the best return, 0.1927
)
CELL_LIMITS = (0.0654, 0.0548, 0.0548)  # for each chasm cell; they sum to the limit above

_PICTURE = GridPicture(
    columns=COLUMNS,
    rows=ROWS,
    hazards=tuple((0, state) for state in CHASM),
    goals=((0, GOAL),),
    places=(*((c, r) for c in range(COLUMNS) for r in range(ROWS)), None),
    hazard_name="chasm",
)


class CliffWorldEnv(TabularEnv):
    """The constrained cliff world, a 21-state CMDP with a known optimum.

    ## Description
    A walker on a grid of 4 columns and 5 rows has to reach the goal in the top left corner. The
    three cells between the bottom left corner and the goal are a chasm. With probability `slip`
    the chosen action is replaced by one of the four drawn uniformly.

    ## Action Space
    `Discrete(4)`: 0 down, 1 up, 2 left, 3 right; moves into a wall do nothing. Keys for
    `gymnasium.utils.play`: arrow keys or w, a, s, d; pass `wait_on_player=True`.

    ## Observation Space
    `Discrete(21)`: state = 5 column + row for the 20 cells, 20 is the absorbing state after the
    goal. States 1, 2, 3 are the chasm, state 4 the goal.

    With `observation="one_hot"` it is `Box(0, 1, (21,), float32)`: 1 at the number of the state and
    0 elsewhere, for networks that need vectors. The reset option and `tabular_model()` still number
    the states.

    ## Rewards
    1 on the step taken from the goal, `chasm_reward` on one taken from the chasm, else 0.

    ## Costs
    1 on the step taken from a chasm cell, else 0. The limit, 0.175, bounds the expected sum of
    costs discounted by 0.9 and averaged over uniformly drawn first states. An undiscounted
    episode cost is a different number. `per_constraint=True` declares one constraint per chasm
    cell, with limits 0.0654, 0.0548 and 0.0548.

    ## Starting State
    Uniform over all 21 states; `reset(options={"state": s})` starts in state s.

    ## Episode End
    Terminates on entering state 20. Truncates after 100 steps (0.9^100 = 3e-5).

    ## Reference Optimum
    By the occupancy linear program of `tabular_model()`: V_r* = 0.53344782 at V_c = 0.175, with
    multiplier 0.79427690. Without the constraint V_r = 0.54752718 at V_c = 0.19272601; the least
    possible V_c is 0.16125093. The optimum randomizes in state 5: up 0.1913, right 0.8087.

    ## Arguments
    - `slip` (0.2): probability that the action is replaced by a uniformly random one.
    - `chasm_reward` (0.0): reward of the step taken from the chasm.
    - `cost_limits` (None): other limits, one number per declared constraint.
    - `per_constraint` (False): declare one constraint per chasm cell.
    - `observation` ("index"): "index" or "one_hot"; see above.

    ## Version History
    - v0: first version.
    """

    @known_arguments()
    def __init__(
        self,
        slip: float = 0.2,
        chasm_reward: float = 0.0,
        cost_limits: CostLimits = None,
        per_constraint: bool = False,
        render_mode: str | None = None,
        observation: ObservationName = "index",
    ) -> None:
        model, constraints = _problem(slip, chasm_reward, cost_limits, per_constraint)
        dynamics = TabularBatch(model, constraints, _PICTURE.draw, observation)
        super().__init__(dynamics, render_mode, direction_keys(down=0, up=1, left=2, right=3))


class CliffWorldVectorEnv(NativeVectorEnv, VectorEnv):
    """`CliffWorldEnv` as a native vector environment, with the same arguments."""

    @known_arguments(CliffWorldEnv)
    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = 100,
        autoreset_mode: Any = "NextStep",
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        dynamics = CliffWorldEnv(**arguments).dynamics
        super().__init__(dynamics, num_envs, max_episode_steps, autoreset_mode, render_mode)


def cliff_world_model(
    slip: float = 0.2,
    chasm_reward: float = 0.0,
    cost_limits: CostLimits = None,
    per_constraint: bool = False,
) -> TabularCMDP:
    """Return the cliff world as a `TabularCMDP`; arguments as in `CliffWorldEnv`.

    Raises:
        ValueError: if slip is outside [0, 1] or the number of limits is wrong.
    """
    return _problem(slip, chasm_reward, cost_limits, per_constraint)[0]


def _problem(
    slip: float, chasm_reward: float, cost_limits: CostLimits, per_constraint: bool
) -> tuple[TabularCMDP, tuple[ConstraintSpec, ...]]:
    if not 0.0 <= slip <= 1.0:
        raise ValueError(f"slip is {slip}; pass a probability in [0, 1]")
    if not np.isfinite(chasm_reward):
        raise ValueError(f"chasm_reward is {chasm_reward}; pass a finite number")
    moved = _intended_successors()  # (S, A)
    P = np.zeros((NUM_STATES, NUM_ACTIONS, NUM_STATES))
    for state in range(NUM_STATES):
        P[state, np.arange(NUM_ACTIONS), moved[state]] += 1.0 - slip
        for successor in moved[state]:
            P[state, :, successor] += slip / NUM_ACTIONS
    reward = np.zeros((NUM_STATES, NUM_ACTIONS))
    reward[list(CHASM)] = chasm_reward
    reward[GOAL] = 1.0
    costs = np.zeros((len(CHASM), NUM_STATES, NUM_ACTIONS))
    costs[range(len(CHASM)), CHASM] = 1.0
    limits = {f"chasm_{state}": limit for state, limit in zip(CHASM, CELL_LIMITS, strict=True)}
    if not per_constraint:
        costs, limits = costs.sum(axis=0, keepdims=True), {"chasm": COST_LIMIT}
    constraints = declare_constraints(limits, DISCOUNT, cost_limits)
    model = TabularCMDP(
        P=P,
        reward=reward,
        costs=costs,
        initial=np.full(NUM_STATES, 1.0 / NUM_STATES),
        discount=DISCOUNT,
        limits=np.array([c.limit for c in constraints]),
        constraint_names=tuple(limits),
        coordinates=np.array([divmod(state, ROWS) for state in range(NUM_STATES)]),
    )
    return model, constraints


def _intended_successors() -> np.ndarray:
    """Return (S, A) the state that each action leads to without slipping."""
    moved = np.empty((NUM_STATES, NUM_ACTIONS), dtype=np.int64)
    for state in range(NUM_STATES):
        column, row = divmod(state, ROWS)
        for action, (right, up) in enumerate(MOVES):
            next_column = min(max(column + right, 0), COLUMNS - 1)
            moved[state, action] = ROWS * next_column + min(max(row + up, 0), ROWS - 1)
    moved[list(CHASM)] = 0
    moved[[GOAL, TERMINAL]] = TERMINAL
    return moved
