"""The learnt metric: minus the Hessian of an action value fitted to flights.

    y_i = r_i + gamma Q_theta(s'_i, u_ref(s'_i))                                   (11)
    theta = argmin (1/N) sum_i (theta'phi_i - y_i)^2 + ridge |theta|^2             (12)
    W(s) = -grad_aa Q_theta(s, u_ref(s))                                           (13)

Source: Lin and Xu, "Curvature-Guided Safety Filters" (arXiv 2602.12603), equations 7 to 13.

Differs from the paper: its target has the maximum over the next action, this one the reference's
action. Both agree where the reference is optimal, as the paper supposes. Then the targets are
linear in theta, and the fixed point of fitting, taking new targets and fitting again is the
solution of one linear system (LSTD-Q, Lagoudakis and Parr, "Least-Squares Policy Iteration", JMLR
2003), which needs no iteration that could diverge:

    ((1/N) sum_i phi_i (phi_i - gamma phi'_i)' + ridge I) theta = (1/N) sum_i phi_i r_i.

The maximum is not offered: over thrusts within 0.3 of the reference's the iteration diverged on
these flights, whose noise of 0.1 hardly reaches the corners where the maximum is sought. The
penalties that keep the fit concave and its third derivatives small (equations 14 to 17) are left
out: the mean of W is positive definite without.

    python -m safe_envs.safety_filters.fitted_q --out value.npz

fits a value, writes it and prints its metric.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np

from safe_envs.quadrotor.geometric_controller import GeometricController
from safe_envs.quadrotor.reference import FIGURE_EIGHTS
from safe_envs.quadrotor.task import CONTROL_DT, VehicleName
from safe_envs.quadrotor.vehicle import VEHICLES
from safe_envs.safety_filters.quadratic_program import checked_array
from safe_envs.safety_filters.quadrotor_features import (
    ROTORS,
    ActionValueFeatures,
    action_value_features,
    tracking_error,
)
from safe_envs.safety_filters.quadrotor_transitions import Transitions, collect_transitions

DISCOUNT = 0.99  # gamma, as of the metric "lqr"
RIDGE = 1e-6  # on features of mean square 1, our choice
FORMAT = "safe-envs fitted action value 1"
ENTRIES = (
    "format", "vehicle", "discount", "theta", "feature_scales", "mean_weight", "error_centres",
    "deviation_centres", "state_dependent",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class FittedQ:
    """An action value Q(s, a) = theta' (phi(s, a) / feature_scales) of a quadrotor.

    Args:
        vehicle: whose value it is, on its own reference.
        discount: gamma, per step.
        theta: coefficients, (features,), read-only.
        feature_scales: root mean squares of the features in the data, (features,), read-only.
        mean_weight: mean of W over the states of the data, (4, 4), read-only.
        features: phi.

    Raises:
        ValueError: if the vehicle is unknown, or a number is out of its range.
    """

    vehicle: VehicleName
    discount: float
    theta: np.ndarray
    feature_scales: np.ndarray
    mean_weight: np.ndarray
    features: ActionValueFeatures

    def __post_init__(self) -> None:
        if self.vehicle not in VEHICLES:
            raise ValueError(
                f"vehicle is {self.vehicle!r}; pass one of {', '.join(map(repr, VEHICLES))}"
            )
        _check_discount(self.discount)
        count = self.features.count
        shapes = {"theta": (count,), "feature_scales": (count,), "mean_weight": (ROTORS, ROTORS)}
        for name, shape in shapes.items():
            array = checked_array(name, getattr(self, name), shape).copy()
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if not (self.feature_scales > 0.0).all():
            raise ValueError("feature_scales has entries <= 0; pass 1 for features that are zero")

    @cached_property
    def coefficients(self) -> np.ndarray:
        """Theta of the features as they are, (features,)."""
        return self.theta / self.feature_scales

    def values(self, states: np.ndarray, times: np.ndarray, thrusts: np.ndarray) -> np.ndarray:
        """Return Q (equation 8), (N,).

        Args:
            states: (13, N).
            times: on the reference, (N,) [s].
            thrusts: actions, (4, N) in [0, 1].
        """
        errors, deviations = _coordinates(self.vehicle, states, times, thrusts)
        return self.features(errors, deviations) @ self.coefficients

    def hessian(self, states: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return W, minus Q's Hessian by the thrusts at the reference's (equation 13), (N, 4, 4).

        Args:
            states: (13, N).
            times: on the reference, (N,) [s].
        """
        errors = tracking_error(states, times, FIGURE_EIGHTS[self.vehicle])
        at_reference = np.zeros((len(errors), ROTORS))
        return -self.features.hessians(self.coefficients, errors, at_reference)

    def metric(self) -> np.ndarray:
        """Return the mean of W over the states of the data, (4, 4), one matrix for all states.

        The coefficients of phi2 = 1 alone would not do: the Gaussians have a share in W.
        """
        return self.mean_weight.copy()

    def save(self, path: str | Path) -> None:
        """Write the value to a file of NumPy's npz format, under exactly this path."""
        with open(path, "wb") as file:
            np.savez(
                file,
                format=np.array(FORMAT),
                vehicle=np.array(self.vehicle),
                discount=np.array(self.discount),
                theta=self.theta,
                feature_scales=self.feature_scales,
                mean_weight=self.mean_weight,
                error_centres=self.features.error_centres,
                deviation_centres=self.features.deviation_centres,
                state_dependent=np.array(self.features.state_dependent),
            )

    @classmethod
    def load(cls, path: str | Path) -> FittedQ:
        """Return the value that `save` wrote to a file; nothing in it is executed.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is another, or damaged.
        """
        entries = _read(path)
        try:
            features = ActionValueFeatures(
                entries["error_centres"],
                entries["deviation_centres"],
                bool(entries["state_dependent"]),
            )
            return cls(
                vehicle=cast(VehicleName, str(entries["vehicle"])),
                discount=float(entries["discount"]),
                theta=entries["theta"],
                feature_scales=entries["feature_scales"],
                mean_weight=entries["mean_weight"],
                features=features,
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged, {error}; fit and save anew") from error


def fit_q(
    transitions: Transitions,
    discount: float = DISCOUNT,
    ridge: float = RIDGE,
    state_dependent: bool = False,
) -> FittedQ:
    """Return the action value of the reference's controller, by the module's linear system.

    Args:
        transitions: as from `collect_transitions`.
        discount: gamma, per step, in [0, 1).
        ridge: weight of |theta|^2, >= 0.
        state_dependent: whether the curvature may change with the state beyond the Gaussians.

    Raises:
        ValueError: if an argument is out of its range, or there are fewer transitions than
            features.
    """
    _check_discount(discount)
    if not 0.0 <= ridge < np.inf:
        raise ValueError(f"ridge is {ridge}; pass a number >= 0")
    features = action_value_features(state_dependent)
    count = len(transitions.rewards)
    if count < features.count:
        raise ValueError(
            f"there are {count} transitions for {features.count} features; pass at least as many"
        )
    errors, deviations = _coordinates(
        transitions.vehicle, transitions.states, transitions.times, transitions.thrusts
    )
    now = features(errors, deviations)
    reference = FIGURE_EIGHTS[transitions.vehicle]
    next_times = transitions.times + CONTROL_DT
    following = tracking_error(transitions.next_states, next_times, reference)
    then = features(following, np.zeros_like(deviations))
    scales = np.sqrt((now * now).mean(axis=0))
    scales[scales == 0.0] = 1.0
    now /= scales
    then /= scales
    theta = least_squares_value(now, then, transitions.rewards, discount, ridge)
    weights = -features.hessians(theta / scales, errors, np.zeros_like(deviations))
    mean_weight = weights.mean(axis=0)
    return FittedQ(transitions.vehicle, discount, theta, scales, mean_weight, features)


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


def _coordinates(
    vehicle: VehicleName, states: np.ndarray, times: np.ndarray, thrusts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return tracking errors e (N, 12) and deviations d = a - u_ref(s), (N, 4)."""
    reference = FIGURE_EIGHTS[vehicle]
    controller = GeometricController(VEHICLES[vehicle], reference, CONTROL_DT)
    deviations = np.ascontiguousarray((thrusts - controller.batch(states, times)).T)
    return tracking_error(states, times, reference), deviations


def _check_discount(discount: float) -> None:
    if not 0.0 <= discount < 1.0:
        raise ValueError(f"discount is {discount}; pass a number in [0, 1)")


def _read(path: str | Path) -> dict[str, np.ndarray]:
    """Return the file's entries.

    Raises:
        ValueError: if it is no file of `FittedQ.save`.
    """
    advice = "pass a file that FittedQ.save wrote"
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            entries = {name: file[name] for name in ENTRIES if name in file.files}
    except (ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no readable npz file of arrays; {advice}") from error
    missing = [name for name in ENTRIES if name not in entries]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; {advice}")
    if str(entries["format"]) != FORMAT:
        raise ValueError(f"{path} has format {str(entries['format'])!r}, not {FORMAT!r}; {advice}")
    return entries


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit a value, write it to a file and print its metric with trace 4."""
    parser = argparse.ArgumentParser(description="Fit a quadrotor's action value to flights.")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .npz")
    parser.add_argument("--vehicle", choices=sorted(VEHICLES), default="crazyflie")
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--steps", type=int, default=300, help="of 0.01 s, per episode")
    parser.add_argument("--noise", type=float, default=0.1, help="of each thrust")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    flights = (chosen.episodes, chosen.steps, chosen.noise, chosen.seed, chosen.vehicle)
    fitted = fit_q(collect_transitions(*flights))
    fitted.save(chosen.out)
    metric = fitted.metric()
    print((ROTORS * metric / metric.trace()).round(6).tolist())


if __name__ == "__main__":
    main()
