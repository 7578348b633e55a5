"""Deep-sea treasure with landmines: the diver sinks one row a step and steers left or right.

The mirror image of the 25-state deep sea of Vaswani et al. (2021, "A general class of surrogate
functions for stable and efficient reinforcement learning"), with landmines on the way to the
treasure as in arXiv 2605.11694. Which cells are mined, and the limit, are our choice: the paper's
values are not published.
"""

from __future__ import annotations

from collections.abc import Sequence
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

LEFT, RIGHT = 0, 1
SIZE = 5
MINES = ((0, 2), (1, 1))  # (column, row)
DISCOUNT = 0.9
COST_LIMIT = 0.15  # of all mines together
TREASURE_REWARD = 1.0
MOVE_REWARD = -0.01  # divided by the size, for a move to the right

Cells = Sequence[tuple[int, int]]


class DeepSeaTreasureEnv(TabularEnv):
    """Deep-sea treasure with landmines, a CMDP with a known optimum.

    ## Description
    A diver in a square of `size` columns and rows sinks by one row with every step and moves one
    column to the left or right. The treasure lies in the bottom left corner; mines lie above it.

    ## Action Space
    `Discrete(2)`: 0 left, 1 right; a move into a wall only sinks. Keys for
    `gymnasium.utils.play`: left and right arrow or a and d; pass `wait_on_player=True`.

    ## Observation Space
    `Discrete(size * size)`: state = size column + row, row 0 is the bottom.

    With `observation="one_hot"` it is `Box(0, 1, (size * size,), float32)`: 1 at the number of the
    state and 0 elsewhere, for networks that need vectors. The reset option and `tabular_model()`
    still number the states.

    ## Rewards
    1 on the move left into the treasure, -0.01 / size on every other move right, else 0.

    ## Costs
    1 on the step taken from a mined cell, else 0. The limit, 0.15, bounds the expected sum of
    costs discounted by 0.9 and averaged over uniformly drawn first states. An undiscounted
    episode cost is a different number. `per_constraint=True` declares one constraint per mine and
    divides the limit equally among them.

    ## Starting State
    Uniform over all cells; `reset(options={"state": s})` starts in state s.

    ## Episode End
    Terminates on entering the bottom row. Truncates after 100 steps.

    ## Reference Optimum
    At the default size, by the occupancy linear program of `tabular_model()`: V_r* = 0.37370596
    at V_c = 0.15, with multiplier 1.00222222. Without the constraint V_r = 0.4634 at V_c =
    0.34676; the least possible V_c is 0.08. Several policies are optimal: compare values.

    ## Arguments
    - `size` (5): columns and rows, at least 2.
    - `mines` (((0, 2), (1, 1))): mined cells as (column, row), row at least 1.
    - `cost_limits` (None): other limits, one number per declared constraint.
    - `per_constraint` (False): declare one constraint per mine.
    - `observation` ("index"): "index" or "one_hot"; see above.

    ## Version History
    - v0: first version.
    """

    @known_arguments()
    def __init__(
        self,
        size: int = SIZE,
        mines: Cells = MINES,
        cost_limits: CostLimits = None,
        per_constraint: bool = False,
        render_mode: str | None = None,
        observation: ObservationName = "index",
    ) -> None:
        model, constraints = _problem(size, mines, cost_limits, per_constraint)
        dynamics = TabularBatch(model, constraints, _picture(size, mines).draw, observation)
        super().__init__(dynamics, render_mode, direction_keys(left=LEFT, right=RIGHT))


class DeepSeaTreasureVectorEnv(NativeVectorEnv, VectorEnv):
    """`DeepSeaTreasureEnv` as a native vector environment, with the same arguments."""

    @known_arguments(DeepSeaTreasureEnv)
    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = 100,
        autoreset_mode: Any = "NextStep",
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        dynamics = DeepSeaTreasureEnv(**arguments).dynamics
        super().__init__(dynamics, num_envs, max_episode_steps, autoreset_mode, render_mode)


def deep_sea_treasure_model(
    size: int = SIZE,
    mines: Cells = MINES,
    cost_limits: CostLimits = None,
    per_constraint: bool = False,
) -> TabularCMDP:
    """Return deep-sea treasure as a `TabularCMDP`; arguments as in `DeepSeaTreasureEnv`.

    Raises:
        ValueError: if the size, a mine or the number of limits is invalid.
    """
    return _problem(size, mines, cost_limits, per_constraint)[0]


def _problem(
    size: int, mines: Cells, cost_limits: CostLimits, per_constraint: bool
) -> tuple[TabularCMDP, tuple[ConstraintSpec, ...]]:
    mined = _checked_mines(size, mines)
    states = size * size
    P = np.zeros((states, 2, states))
    reward = np.zeros((states, 2))
    for state in range(states):
        column, row = divmod(state, size)
        if row == 0:
            P[state, :, state] = 1.0
            continue
        for action, right in ((LEFT, -1), (RIGHT, 1)):
            successor = size * min(max(column + right, 0), size - 1) + row - 1
            P[state, action, successor] = 1.0
        reward[state, RIGHT] = MOVE_REWARD / size
    reward[[1, size + 1], LEFT] = TREASURE_REWARD  # the two cells above and beside the treasure
    costs = np.zeros((len(mined), states, 2))
    costs[range(len(mined)), [size * column + row for column, row in mined]] = 1.0
    limits = {f"mine_{column}_{row}": COST_LIMIT / len(mined) for column, row in mined}
    if not per_constraint:
        costs, limits = costs.sum(axis=0, keepdims=True), {"mines": COST_LIMIT}
    constraints = declare_constraints(limits, DISCOUNT, cost_limits)
    model = TabularCMDP(
        P=P,
        reward=reward,
        costs=costs,
        initial=np.full(states, 1.0 / states),
        discount=DISCOUNT,
        limits=np.array([c.limit for c in constraints]),
        constraint_names=tuple(limits),
        coordinates=np.array([divmod(state, size) for state in range(states)]),
    )
    return model, constraints


def _checked_mines(size: int, mines: Cells) -> tuple[tuple[int, int], ...]:
    if size != int(size) or size < 2:
        raise ValueError(f"size is {size}; pass a whole number >= 2")
    mined = tuple((int(column), int(row)) for column, row in mines)
    if not mined or len(set(mined)) < len(mined):
        raise ValueError(f"mines is {mined}; pass at least one cell, and no cell twice")
    for column, row in mined:
        if not (0 <= column < size and 1 <= row < size):
            raise ValueError(
                f"there is no cell for a mine at {(column, row)}; columns go from 0 to {size - 1}, "
                f"rows from 1 to {size - 1} (row 0 ends the episode)"
            )
    return mined


def _picture(size: int, mines: Cells) -> GridPicture:
    cells = tuple((column, row) for column in range(size) for row in range(size))
    return GridPicture(size, size, tuple(mines), ((0, 0),), cells, "mine", "treasure")
