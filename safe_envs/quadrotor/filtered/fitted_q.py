"""The learned metric: minus the Hessian of an action value fitted to flights.

    y_i = r_i + gamma Q_theta(s'_i, a'_i)                                          (11)
    theta = argmin (1/N) sum_i (theta'phi_i - y_i)^2 + ridge |theta|^2
                   + lambda_p R_psd(theta) + lambda_3 R_3(theta)                   (12)
    W(s) = -grad_aa Q_theta(s, u_ref(s))

Source: Lin and Xu, "Curvature-Guided Safety Filters" (arXiv 2602.12603), equations 7 to 17.

Differs from the paper: its target takes the maximum over the next action a', this one the
reference's action u_ref(s'). Both agree where the reference is optimal, as the paper assumes. Then
the targets are linear in theta, and the fixed point of fitted Q iteration is the solution of one
linear system (LSTD-Q, Lagoudakis and Parr, "Least-Squares Policy Iteration", JMLR 2003), so there
is no iteration that could diverge:

    ((1/N) sum_i phi_i (phi_i - gamma phi'_i)' + ridge I) theta = (1/N) sum_i phi_i r_i.

The maximum is available as target="max", see `maximum_target`; with the discount 0.99 it diverges
on these flights, whose noise of 0.1 hardly reaches the corners where the maximum is searched.

The penalties R_psd and R_3 keep the fit concave and its third derivatives small, see
`curvature_penalties` for their equations and weighting. Their default weights suit the quadrotors'
rewards. Without them the mean of W is positive definite, but W is not in all states of the data.
R_psd alone does not help: the Gaussians undo the curvature that it adds.

    python -m safe_envs.quadrotor.filtered.fitted_q --out value.npz

fits a value, writes it and prints its metric.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from safe_envs.quadrotor.filtered.action_value import (
    FittedQ,
    StateMetric,
    action_coordinates,
    check_discount,
)
from safe_envs.quadrotor.filtered.curvature_penalties import (
    BARRIER_WEIGHT,
    PenaltyWeights,
    penalized_theta,
)
from safe_envs.quadrotor.filtered.maximum_target import best_deviations
from safe_envs.quadrotor.filtered.transitions import Transitions, collect_transitions
from safe_envs.quadrotor.filtered.value_features import (
    ROTORS,
    action_value_features,
    tracking_error,
)
from safe_envs.quadrotor.reference import FIGURE_EIGHTS
from safe_envs.quadrotor.task import CONTROL_DT
from safe_envs.quadrotor.vehicle import VEHICLES

__all__ = ["FittedQ", "StateMetric", "fit_q", "least_squares_value", "main"]

DISCOUNT = 0.99  # gamma, as of the metric "lqr"
RIDGE = 1e-6  # on features of mean square 1, our choice
PSD_WEIGHT = 1e-8  # lambda_p; this and lambda_3 are our choice
THIRD_WEIGHT = 1e-6  # lambda_3
TARGETS = ("controller", "max")
Target = Literal["controller", "max"]


def fit_q(
    transitions: Transitions,
    discount: float = DISCOUNT,
    ridge: float = RIDGE,
    state_dependent: bool = False,
    psd_weight: float = PSD_WEIGHT,
    barrier_weight: float = BARRIER_WEIGHT,
    third_weight: float = THIRD_WEIGHT,
    target: Target = "controller",
) -> FittedQ:
    """Return the action value of the reference controller, or of the best actions.

    Args:
        transitions: as from `collect_transitions`.
        discount: gamma, per step, in [0, 1).
        ridge: weight of |theta|^2, >= 0.
        state_dependent: whether the curvature may change with the state beyond the Gaussians.
        psd_weight: lambda_p, >= 0, of the penalty R_psd on curvature that is not concave.
        barrier_weight: beta, >= 0, of R_psd's logarithmic barrier.
        third_weight: lambda_3, >= 0, of the penalty R_3 on third derivatives.
        target: the next action: "controller" for the reference controller's, "max" for the best.

    Raises:
        ValueError: if an argument is out of its range, or there are fewer transitions than
            features.
        ArithmeticError: if the target "max" diverges, or no minimum with the penalties is found.
    """
    features = action_value_features(state_dependent)
    rewards = transitions.rewards
    _check(discount, ridge, target, len(rewards), features.count)
    weights = PenaltyWeights(psd_weight, barrier_weight, third_weight)
    errors, deviations = action_coordinates(
        transitions.vehicle, transitions.states, transitions.times, transitions.thrusts
    )
    now = features(errors, deviations)
    scales = np.sqrt((now * now).mean(axis=0))
    scales[scales == 0.0] = 1.0
    now /= scales
    reference = FIGURE_EIGHTS[transitions.vehicle]
    following = tracking_error(transitions.next_states, transitions.times + CONTROL_DT, reference)
    chosen = at_reference = np.zeros_like(deviations)
    if target == "max":
        chosen = best_deviations(features, now, scales, following, rewards, discount, ridge)
    then = features(following, chosen) / scales
    theta = least_squares_value(now, then, rewards, discount, ridge)
    hessian = _projected_error_hessian(now, then, discount, ridge)
    theta = penalized_theta(theta, hessian, scales, features, errors, weights)
    mean_weight = -features.hessians(theta / scales, errors, at_reference).mean(axis=0)
    return FittedQ(transitions.vehicle, discount, theta, scales, mean_weight, features)


def _check(discount: float, ridge: float, target: str, count: int, features: int) -> None:
    check_discount(discount)
    if not 0.0 <= ridge < np.inf:
        raise ValueError(f"ridge is {ridge}; pass a number >= 0")
    if target not in TARGETS:
        raise ValueError(f"target is {target!r}; pass one of {', '.join(map(repr, TARGETS))}")
    if count < features:
        raise ValueError(
            f"there are {count} transitions for {features} features; pass at least as many"
        )


def _projected_error_hessian(
    now: np.ndarray, then: np.ndarray, discount: float, ridge: float
) -> np.ndarray:
    """Return A'G^-1 A of `curvature_penalties`, (features, features); arguments as below."""
    penalty = ridge * np.eye(now.shape[1])
    system = now.T @ (now - discount * then) / len(now) + penalty
    return system.T @ np.linalg.solve(now.T @ now / len(now) + penalty, system)


def least_squares_value(
    now: np.ndarray, then: np.ndarray, rewards: np.ndarray, discount: float, ridge: float
) -> np.ndarray:
    """Return theta of the module's linear system, (features,).

    Args:
        now: phi of states and actions, (N, features).
        then: phi of the next states and the reference's actions there, (N, features).
        rewards: (N,).
        discount: gamma.
        ridge: weight of |theta|^2.
    """
    system = now.T @ (now - discount * then) / len(now) + ridge * np.eye(now.shape[1])
    return np.linalg.solve(system, now.T @ rewards / len(now))


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit a value, write it to a file and print its metric with trace 4."""
    parser = argparse.ArgumentParser(description="Fit a quadrotor's action value to flights.")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .npz")
    parser.add_argument("--vehicle", choices=sorted(VEHICLES), default="crazyflie")
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--steps", type=int, default=300, help="steps of 0.01 s per episode")
    parser.add_argument(
        "--noise", type=float, default=0.1, help="standard deviation for each thrust"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--psd-weight", type=float, default=PSD_WEIGHT, help="of R_psd")
    parser.add_argument("--third-weight", type=float, default=THIRD_WEIGHT, help="of R_3")
    chosen = parser.parse_args(arguments)
    flights = (chosen.episodes, chosen.steps, chosen.noise, chosen.seed, chosen.vehicle)
    transitions = collect_transitions(*flights)
    fitted = fit_q(transitions, psd_weight=chosen.psd_weight, third_weight=chosen.third_weight)
    fitted.save(chosen.out)
    metric = fitted.metric()
    print((ROTORS * metric / metric.trace()).round(6).tolist())


if __name__ == "__main__":
    main()
