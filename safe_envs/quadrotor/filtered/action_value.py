"""A quadrotor's fitted action value, its curvature and its file.

    Q(s, a) = theta' (phi(s, a) / feature_scales),   W(s) = -grad_aa Q(s, u_ref(s))

with the features phi of `value_features`. `fitted_q.fit_q` fits one to flights. Source: Lin and
Xu, "Curvature-Guided Safety Filters" (arXiv 2602.12603), equations 8 to 10.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np

from safe_envs.contract.argument_checks import checked_array
from safe_envs.quadrotor.filtered.flight import Flight, flight_of
from safe_envs.quadrotor.filtered.value_features import (
    ROTORS,
    ActionValueFeatures,
    tracking_error,
)
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.reference import FIGURE_EIGHTS
from safe_envs.quadrotor.task import CONTROL_DT, VehicleName
from safe_envs.quadrotor.vehicle import VEHICLES
from safe_envs.safety_filters.filter_plant import FilterPlant, WeightAt
from safe_envs.safety_filters.metrics import SMALLEST_SHARE, ConstantMetric, floored
from safe_envs.safety_filters.quadratic_program import Weight, trusted_weight

FORMAT = "safe-envs fitted action value 1"
ENTRIES = (
    "format", "vehicle", "discount", "theta", "feature_scales", "mean_weight", "error_centres",
    "deviation_centres", "state_dependent",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class FittedQ:
    """An action value Q(s, a) = theta' (phi(s, a) / feature_scales) of a quadrotor.

    Args:
        vehicle: the vehicle, on its own reference.
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
        check_discount(self.discount)
        count = self.features.count
        shapes = {"theta": (count,), "feature_scales": (count,), "mean_weight": (ROTORS, ROTORS)}
        for name, shape in shapes.items():
            array = checked_array(name, getattr(self, name), shape)
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
        errors, deviations = action_coordinates(self.vehicle, states, times, thrusts)
        return self.features(errors, deviations) @ self.coefficients

    def hessian(self, states: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return W, minus Q's Hessian in the thrusts at u_ref (equation 10), (N, 4, 4).

        Args:
            states: (13, N).
            times: on the reference, (N,) [s].
        """
        errors = tracking_error(states, times, FIGURE_EIGHTS[self.vehicle])
        at_reference = np.zeros((len(errors), ROTORS))
        return -self.features.hessians(self.coefficients, errors, at_reference)

    def metric(self) -> np.ndarray:
        """Return the mean of W over the states of the data, (4, 4), one matrix for all states.

        The coefficients of phi2 = 1 are not enough: the Gaussians contribute to W as well.
        """
        return self.mean_weight.copy()

    def weights_on(self, plant: FilterPlant, slack_weight: float) -> ConstantMetric:
        """Return the mean of W, prepared for the filter's program.

        Raises:
            ValueError: if the plant is another vehicle, or not a quadrotor.
        """
        _flight_of_its_vehicle(self, plant)
        return ConstantMetric(floored(self.metric()), slack_weight)

    def state_metric(self) -> StateMetric:
        """Return W(s) as a metric that changes with the state, for `SafetyFilter`."""
        return StateMetric(self)

    def save(self, path: str | Path) -> None:
        """Write the value to a NumPy npz file at exactly this path."""
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
            ValueError: if the file is damaged or holds something else.
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
            raise ValueError(f"{path} is damaged, {error}; fit and save it again") from error


@dataclass(frozen=True, eq=False)
class StateMetric:
    """The metric W(s) of a fitted value, made positive definite in every state.

    Eigenvalues below 0.1 of the largest eigenvalue of W's mean are raised to that level. A fraction
    of W(s)'s own largest eigenvalue would fail far from the data, where all may be negative.

    Args:
        value: whose curvature it is.

    Raises:
        ValueError: if the mean of W has no positive eigenvalue.
    """

    value: FittedQ

    def __post_init__(self) -> None:
        if not self._floor > 0.0:
            raise ValueError(
                "the mean of W has no positive eigenvalue: the value is not concave in the action; "
                "fit it to more transitions, or with a psd_weight"
            )

    @cached_property
    def _floor(self) -> float:
        return SMALLEST_SHARE * float(np.linalg.eigvalsh(self.value.mean_weight)[-1])

    def at(self, state: np.ndarray, time: float) -> np.ndarray:
        """Return the metric in a state (13,) at a time on the reference [s], (4, 4)."""
        return self.batch(state[:, None], np.array([time]))[0]

    def batch(self, states: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return the metrics, (N, 4, 4).

        Args:
            states: (13, N).
            times: on the reference, (N,) [s].
        """
        eigenvalues, vectors = np.linalg.eigh(self.value.hessian(states, times))
        raised = np.maximum(eigenvalues, self._floor)
        return (vectors * raised[:, None, :]) @ vectors.transpose(0, 2, 1)

    def weights_on(self, plant: FilterPlant, slack_weight: float) -> StateMetricInFlight:
        """Return the metric at the plant's times on its reference, prepared for the program.

        Raises:
            ValueError: if the plant is another vehicle, or not a quadrotor.
        """
        return StateMetricInFlight(self, _flight_of_its_vehicle(self.value, plant), slack_weight)


@dataclass(frozen=True, eq=False)
class StateMetricInFlight:
    """The metric W(s) at the present time on the reference, for the filter's program.

    Args:
        metric: W(s).
        flight: where the time is read.
        slack_weight: price of a violated row.
    """

    metric: StateMetric
    flight: Flight
    slack_weight: float

    def at(self, state: np.ndarray, reference: np.ndarray) -> Weight:
        """Return the weight in one state (13,), whatever the reference action."""
        return trusted_weight(self.metric.at(state, self.flight.time()), self.slack_weight)

    def batch(self, states: np.ndarray, references: np.ndarray) -> Weight | WeightAt:
        """Return a function that gives the weight in the i-th state of (13, N)."""
        times = self.flight.time()
        return lambda i: trusted_weight(
            self.metric.at(states[:, i].copy(), float(times[i])), self.slack_weight
        )


def _flight_of_its_vehicle(value: FittedQ, plant: FilterPlant) -> Flight:
    flight = flight_of(
        plant,
        f"the value or the transitions are of the quadrotor {value.vehicle!r} and this environment "
        "is not one; pass a metric that is a matrix or a function of state and reference",
    )
    flight.check_flown_by(value.vehicle)
    return flight


def action_coordinates(
    vehicle: VehicleName, states: np.ndarray, times: np.ndarray, thrusts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return tracking errors e (N, 12) and deviations d = a - u_ref(s), (N, 4)."""
    reference = FIGURE_EIGHTS[vehicle]
    controller = GeometricLaw(VEHICLES[vehicle], reference, CONTROL_DT)
    deviations = np.ascontiguousarray((thrusts - controller.batch(states, times)).T)
    return tracking_error(states, times, reference), deviations


def check_discount(discount: float) -> None:
    """Check a discount.

    Raises:
        ValueError: if it is not in [0, 1).
    """
    if not 0.0 <= discount < 1.0:
        raise ValueError(f"discount is {discount}; pass a number in [0, 1)")


def _read(path: str | Path) -> dict[str, np.ndarray]:
    """Return the file's entries.

    Raises:
        ValueError: if `FittedQ.save` did not write the file.
    """
    advice = "pass a file that FittedQ.save wrote"
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            entries = {name: file[name] for name in ENTRIES if name in file.files}
    except (ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a readable npz file of arrays; {advice}") from error
    missing = [name for name in ENTRIES if name not in entries]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; {advice}")
    if str(entries["format"]) != FORMAT:
        raise ValueError(f"{path} has format {str(entries['format'])!r}, not {FORMAT!r}; {advice}")
    return entries
