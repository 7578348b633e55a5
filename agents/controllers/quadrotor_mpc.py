"""Model predictive control of the quadrotor along its reference."""

from __future__ import annotations

from typing import Literal

import numpy as np

from agents.controllers.gauss_newton import GaussNewton
from agents.controllers.ipopt import Ipopt
from agents.controllers.tracking_problem import (
    HORIZON,
    TERMINAL_WEIGHT,
    TIME_STEP,
    FlightPlan,
    Planner,
    TrackingProblem,
)
from safe_envs.contract.argument_checks import check_choice
from safe_envs.quadrotor.dynamics import STATE_SIZE
from safe_envs.quadrotor.reference import FigureEight
from safe_envs.quadrotor.vehicle import Vehicle

SolverName = Literal["rti", "ipopt"]
SOLVERS: tuple[SolverName, ...] = ("rti", "ipopt")
FIRST_STEPS = 10  # largest number of Gauss-Newton steps without an earlier plan
SETTLED = 1e-3  # change of the thrusts below which they stop


class QuadrotorMPC:
    """Thrusts that minimize the reward's stage cost over a horizon, replanned at every step.

    `tracking_problem` defines what is minimized. Obstacles are ignored.

    - "rti", a real-time iteration: one Gauss-Newton step per call from the last plan, shifted by
      the time that has passed; up to 10 steps where there is none.
    - "ipopt": the plan is solved to the optimum at every call. Needs casadi.

    A call with a state and a time keeps the plan for the next call; call `reset` at the start of
    every flight. `plan` is the same without memory.

    Args:
        vehicle: the model.
        reference: what to follow.
        dt: time between calls [s].
        horizon: number of stages.
        time_step: of a stage [s].
        terminal_weight: of the last state's cost.
        solver: "rti" or "ipopt".

    Raises:
        ValueError: if an argument is out of range.
        ImportError: if the solver is "ipopt" and casadi is not installed.
    """

    def __init__(
        self,
        vehicle: Vehicle,
        reference: FigureEight,
        dt: float,
        horizon: int = HORIZON,
        time_step: float = TIME_STEP,
        terminal_weight: float = TERMINAL_WEIGHT,
        solver: SolverName = "rti",
    ) -> None:
        self.problem = TrackingProblem(vehicle, reference, horizon, time_step, terminal_weight)
        if not 0.0 < dt <= time_step:
            raise ValueError(
                f"dt is {dt}; pass a number > 0 and not above the horizon's time_step {time_step}"
            )
        check_choice("solver", solver, SOLVERS)
        self.dt = dt
        self._planner: Planner
        if solver == "rti":
            self._planner, self._first_steps = GaussNewton(self.problem), FIRST_STEPS
        else:
            self._planner, self._first_steps = Ipopt(self.problem), 1
        self._last: FlightPlan | None = None

    def __call__(self, state: np.ndarray, time: float) -> np.ndarray:
        """Return the thrusts u in one state (13,) at a time [s], (4,)."""
        self._last = self.plan(state, time, self._last)
        return self._last.thrusts[0].copy()

    def reset(self) -> None:
        """Forget the last plan."""
        self._last = None

    def plan(self, state: np.ndarray, time: float, last: FlightPlan | None = None) -> FlightPlan:
        """Return the plan in one state at a time [s].

        Args:
            state: (13,).
            time: on the reference [s].
            last: the plan of dt before; None if there is none.
        """
        state = np.asarray(state, dtype=np.float64)
        if state.shape != (STATE_SIZE,):
            raise ValueError(f"state has shape {state.shape}; pass one state, (13,)")
        targets = self.problem.targets(time)
        if last is not None:
            guess = self.problem.shifted(last, self.dt)
            if guess.states[0, 6:10] @ state[6:10] < 0.0:  # q and -q are the same attitude
                guess.states[:, 6:10] *= -1.0
            return self._planner.improved(state, targets, guess)
        plan = self.problem.first_guess(state, targets)
        for _ in range(self._first_steps):
            before = plan
            plan = self._planner.improved(state, targets, before)
            if np.abs(plan.thrusts - before.thrusts).max() < SETTLED:
                break
        return plan
