"""A quadratic program with quadratic constraints as a one-step problem with many costs.

    minimize    f(y) = 1/2 sum_j curvature_j y_j^2 + slope . y
    subject to  A y = x,   squares_i . y^2 + G_i . y <= h_i

Source: Chu, Boukas and Udell, "SnareNet" (arXiv 2602.09317), whose convex family this is, with
fewer unknowns (`safe_envs.control.quadratic_families.snarenet`). The observation is x, the action
is y.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from safe_envs.action_constraints import ActionConstraint, ActionRepair, RepairSettings, repair
from safe_envs.action_constraints.repaired_actions import no_repair, repair_entries
from safe_envs.contract.argument_checks import (
    check_choice,
    check_count,
    check_flag,
    check_not_negative,
    check_positive,
    check_whole,
    checked_array,
)
from safe_envs.contract.argument_names import known_arguments
from safe_envs.contract.backup_policy import LinearFeedback
from safe_envs.contract.cost_signal import CostLimits, declare_constraints
from safe_envs.contract.dynamics import BatchStep
from safe_envs.contract.single_env import SingleEnv
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.control.quadratic_families import QuadraticFamily, snarenet
from safe_envs.control.quadratic_optimum import LocalOptimum, local_optimum
from safe_envs.control.row_drawing import draw_rows

LARGEST_ACTION = 3.5  # all 10,000 optima of the default family have |y_j| < 3.1
REPAIR_STEPS = 200  # at most; active rows take about 10
Repairs = Literal["active", "all"] | None


class QCQPEnv(SingleEnv):
    """Quadratic programs with quadratic constraints, as episodes of one step.

    ## Description
    Minimize f(y) = 1/2 sum_j curvature_j y_j^2 + slope . y subject to equalities A y = x and
    inequalities squares_i . y^2 + G_i . y <= h_i. All programs of a family have the same f and
    the same inequalities; each has its own x. The observation is x, and the action y is a proposed
    solution. Equalities make it hard: the set of feasible y has no interior, and noise on y always
    leaves it. Every x of the family has a feasible y, the shortest solution A+ x.

    ## Action Space
    `Box(-3.5, 3.5, (20,), float32)`: y; values outside are clipped. All optima of the default
    family have |y_j| < 3.1.

    ## Observation Space
    `Box(-inf, inf, (10,), float64)`: x.

    ## Rewards
    -f(y).

    ## Costs
    The violation of a row is |A_i y - x_i| of an equality, and by how much the left side of an
    inequality exceeds h_i; up to `tolerance` (1e-4) it counts as 0, because no finite precision
    meets an equality exactly. The cost is the sum of the rows' violations, and its limit is 0. With
    `per_constraint=True` each row has a cost and a limit 0 of its own, first the inequalities, then
    the equalities. `info["constraint_values"]` holds the signed margins of all rows in this order:
    left side - h_i - tolerance, and |A_i y - x_i| - tolerance. After reset they are those of y = 0.
    `info["largest_violation"]` is the largest of all rows, without the tolerance.

    With `repair="active"` or `"all"` the environment takes, in place of the action, a point that
    meets the rows up to 1e-6, found from it by Levenberg-Marquardt steps
    (`safe_envs.action_constraints.repair`). It need not be the nearest one, and it may leave the
    box of actions. Reward and costs are its own, and infos also have
    - `"action_ref"`, `"action_safe"`: the action given (clipped) and the one taken;
    - `"repair_active"`: whether they differ;
    - `"repair_correction"`: the distance between them;
    - `"repair_feasible"`: whether the steps reached a point that meets the rows;
    - `"repair_iterations"`: how many were taken.

    ## Starting State
    x is drawn from the family's 10,000 instances, which are uniform in [-0.5, 0.5]^10;
    `reset(options={"state": x})` asks about x.

    ## Episode End
    Terminates after one step.

    ## Reference Optimum
    `env.unwrapped.dynamics.optimum(x)` returns the optimal y and f(y), computed by SciPy and
    checked against the first-order conditions. On the default family the mean reward over all
    instances is 5.7655 at the optimum, and -0.0296 at y = A+ x, the `backup_policy()`.

    ## Arguments
    - `outputs` (20), `equalities` (10), `inequalities` (10): sizes of y, x and h.
    - `quadratic` (5): how many of the inequalities have squares.
    - `family_seed` (2025): of the family's data.
    - `largest_action` (3.5): bound of actions.
    - `tolerance` (1e-4): violations up to it cost nothing.
    - `repair` (None): "active" leaves rows that are met out of each step; "all" is SnareNet's step,
      which takes more of them, and from far away may not arrive (`"repair_feasible"`).
    - `per_constraint` (False): one cost for each row.
    - `cost_limits` (None): other limits.

    ## Version History
    - v0: first version.
    """

    dynamics: QuadraticBatch

    @known_arguments()
    def __init__(
        self,
        outputs: int = 20,
        equalities: int = 10,
        inequalities: int = 10,
        quadratic: int = 5,
        family_seed: int = 2025,
        largest_action: float = LARGEST_ACTION,
        tolerance: float = 1e-4,
        repair: Repairs = None,
        per_constraint: bool = False,
        cost_limits: CostLimits = None,
        render_mode: str | None = None,
    ) -> None:
        _check_sizes(outputs, equalities, inequalities, quadratic)
        check_whole("family_seed", family_seed, low=0)
        family = snarenet(outputs, equalities, inequalities, quadratic, family_seed)
        dynamics = QuadraticBatch(
            family, largest_action, tolerance, repair, per_constraint, cost_limits
        )
        super().__init__(dynamics, render_mode)

    def action_constraint(self) -> ActionConstraint:
        """Return the rows, and the box of actions."""
        return self.dynamics.action_constraint

    def backup_policy(self) -> LinearFeedback:
        """Return the feasible policy y = A+ x."""
        return self.dynamics.backup_policy


class QCQPVectorEnv(NativeVectorEnv, VectorEnv):
    """`QCQPEnv` as a native vector environment, with the same arguments."""

    dynamics: QuadraticBatch

    @known_arguments(QCQPEnv)
    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: Any = "NextStep",
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        dynamics = QCQPEnv(**arguments).dynamics
        super().__init__(dynamics, num_envs, max_episode_steps, autoreset_mode, render_mode)

    def action_constraint(self) -> ActionConstraint:
        """Return the rows, and the box of actions."""
        return self.dynamics.action_constraint

    def backup_policy(self) -> LinearFeedback:
        """Return the feasible policy y = A+ x."""
        return self.dynamics.backup_policy


class QuadraticBatch:
    """The problem for many programs at a time; states are x and the answer y, (B, m + n).

    Before an answer, y = 0.

    Args:
        family: of the programs.
        largest_action: bound of actions, > 0.
        tolerance: violations up to it cost nothing, >= 0.
        repair: rows of the repair's steps; None repairs nothing.
        per_constraint: whether each row has a cost of its own.
        cost_limits: other limits than 0.
    """

    def __init__(
        self,
        family: QuadraticFamily,
        largest_action: float = LARGEST_ACTION,
        tolerance: float = 1e-4,
        repair: Repairs = None,
        per_constraint: bool = False,
        cost_limits: CostLimits = None,
    ) -> None:
        check_positive(largest_action=largest_action)
        check_not_negative(tolerance=tolerance)
        check_flag("per_constraint", per_constraint)
        self._repair: RepairSettings | None = None
        if repair is not None:
            check_choice("repair", repair, ("active", "all"))
            self._repair = RepairSettings(rows=repair, max_iterations=REPAIR_STEPS)
        n, m, k = family.sizes
        names = ["violations"]
        if per_constraint:
            names = [f"inequality_{i}" for i in range(k)] + [f"equality_{i}" for i in range(m)]
        self.constraints = declare_constraints(dict.fromkeys(names, 0.0), 1.0, cost_limits)
        self.reward_discount = 1.0
        self.cost_high = np.full(len(names), np.inf)
        self.single_observation_space: gym.Space = gym.spaces.Box(-np.inf, np.inf, (m,), np.float64)
        self.single_action_space: gym.Space = gym.spaces.Box(
            -largest_action, largest_action, (n,), np.float32
        )
        self.render_fps = 4
        self.family = family
        self.tolerance = tolerance
        self.largest_action = largest_action
        self._per_constraint = per_constraint
        self._optima: dict[bytes, LocalOptimum] = {}

    @cached_property
    def action_constraint(self) -> ActionConstraint:
        """The rows as a function of observations x, (B, m), and the box of actions."""
        box = np.full(self.family.sizes[0], float(self.largest_action))
        return ActionConstraint(-box, box, self._rows, "the rows of the quadratic program")

    @cached_property
    def backup_policy(self) -> LinearFeedback:
        """The policy y = A+ x."""
        return LinearFeedback(-self.family.pseudoinverse, -self.largest_action, self.largest_action)

    def optimum(self, x: np.ndarray) -> LocalOptimum:
        """Return the optimal y, (n,), of one program, and f(y); a program is solved once.

        The box of actions does not bound y.

        Args:
            x: parameters, (m,).

        Raises:
            ValueError: if x is not such an array.
            RuntimeError: if no optimum is found, as where x has no feasible y.
        """
        checked = checked_array("x", x, (self.family.sizes[1],), "the right sides of A y = x")
        key = checked.tobytes()
        if key not in self._optima:
            self._optima[key] = local_optimum(self.family, checked)
        return self._optima[key]

    def initial_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw instances of the family."""
        places = rng.integers(len(self.family.instances), size=count)
        return self._unanswered(self.family.instances[places])

    def checked_states(self, states: Any, count: int) -> np.ndarray:
        """Return the programs of parameters x given by the user, (count, m)."""
        shape = (count, self.family.sizes[1])
        return self._unanswered(checked_array("state", states, shape, "x"))

    def noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw nothing, (n, 0)."""
        return np.empty((count, 0))

    def step(self, states: np.ndarray, actions: np.ndarray, noise: np.ndarray) -> BatchStep:
        """Answer all programs."""
        x, answers = self.observe(states), np.asarray(actions, dtype=np.float64)
        details: dict[str, np.ndarray] = {}
        if self._repair is not None:
            rows = self._rows(x)
            repaired = repair(
                answers, rows.values, rows.jacobian, rows.lower, rows.upper, self._repair
            )
            details = repair_entries(answers, ActionRepair(repaired.outputs, repaired.converged))
            details["repair_iterations"] = repaired.iterations
            answers = repaired.outputs
        reached = np.concatenate([x, answers], axis=1)
        excess = self._excess(reached)
        margins = excess - self.tolerance
        costs = np.where(margins > 0.0, excess, 0.0)
        if not self._per_constraint:
            costs = costs.sum(axis=1, keepdims=True)
        details["largest_violation"] = np.maximum(excess.max(axis=1), 0.0)
        ended = np.ones(len(states), dtype=np.bool_)
        reward = -self.family.objective(answers)
        return BatchStep(reached, reward, costs, ended, margins, details)

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return x as (n, m)."""
        return states[:, : self.family.sizes[1]].copy()

    def margins(self, states: np.ndarray) -> np.ndarray:
        """Return the signed margins of the answers, (n, k + m)."""
        return self._excess(states) - self.tolerance

    def start_details(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """Return the infos of y = 0; nothing is repaired yet."""
        count = len(states)
        details = {"largest_violation": np.maximum(self._excess(states).max(axis=1), 0.0)}
        if self._repair is not None:
            nothing = no_repair((self.family.sizes[0],)) | {"repair_iterations": np.int64(0)}
            details |= {key: np.array([value] * count) for key, value in nothing.items()}
        return details

    def frame(self, state: np.ndarray) -> np.ndarray:
        """Return the rows' violations and slacks as bars."""
        return draw_rows(self._excess(state[None])[0], self.family.sizes[2], self.tolerance)

    def close(self) -> None:
        """Do nothing: there is nothing to free."""

    def _rows(self, x: np.ndarray) -> Any:
        return self.family.rows(np.asarray(x, dtype=np.float64))

    def _unanswered(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, np.zeros((len(x), self.family.sizes[0]))], axis=1)

    def _excess(self, states: np.ndarray) -> np.ndarray:
        """Return left side - h of the inequalities and |A y - x| of the equalities, (n, k + m)."""
        _, m, k = self.family.sizes
        x, answers = states[:, :m], states[:, m:]
        rows = self._rows(x)
        excess: np.ndarray = rows.values(answers) - rows.upper
        excess[:, k:] = np.abs(excess[:, k:])
        return excess


def _check_sizes(outputs: int, equalities: int, inequalities: int, quadratic: int) -> None:
    """Raise ValueError unless there are such programs."""
    check_count(outputs=outputs, equalities=equalities, inequalities=inequalities)
    check_whole("quadratic", quadratic, low=0)
    if equalities >= outputs:
        raise ValueError(
            f"equalities is {equalities} and outputs is {outputs}, which leaves nothing to choose; "
            f"pass equalities < {outputs}"
        )
    if quadratic > inequalities:
        raise ValueError(
            f"quadratic is {quadratic}, of {inequalities} inequalities; pass at most {inequalities}"
        )
