"""Flights around the reference, recorded as the transitions that an action value is fitted to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safe_envs.quadrotor.dynamics import step_batch
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.reference import FIGURE_EIGHTS
from safe_envs.quadrotor.task import CONTROL_DT, LARGEST_ERROR, VehicleName, stage_cost
from safe_envs.quadrotor.vehicle import VEHICLES

POSITION_NOISE = 0.1  # [m] at the start; this and the velocity's are our choice
VELOCITY_NOISE = 0.3  # [m/s]


@dataclass(frozen=True, eq=False)
class Transitions:
    """Recorded steps (s, a, r, s'), equation 7 of Lin and Xu (arXiv 2602.12603).

    Args:
        vehicle: the vehicle that flew, on its own reference.
        states: s, (13, N).
        times: on the reference at s, (N,) [s].
        thrusts: a, (4, N) in [0, 1].
        rewards: r, (N,), as in the quadrotor environments, without the terminal penalty.
        next_states: s', (13, N), 0.01 s later.
    """

    vehicle: VehicleName
    states: np.ndarray
    times: np.ndarray
    thrusts: np.ndarray
    rewards: np.ndarray
    next_states: np.ndarray


def collect_transitions(
    episodes: int = 60,
    steps: int = 300,
    noise: float = 0.1,
    seed: int = 0,
    vehicle: VehicleName = "crazyflie",
) -> Transitions:
    """Return the transitions of noisy flights without obstacles, episodes * steps of them.

    The thrusts are those of `GeometricLaw` plus N(0, noise^2), clipped to [0, 1]. A flight starts
    level at a uniform time on the reference, with N(0, 0.1 m) and N(0, 0.3 m/s) added to its
    position and velocity. The defaults are this project's choice.

    Args:
        episodes: number of flights, all flown together.
        steps: per flight, of 0.01 s each.
        noise: standard deviation, for every thrust.
        seed: for starts and noise.
        vehicle: the vehicle that flies.

    Raises:
        ValueError: if an argument is out of its range, or a flight leaves the task.
    """
    _check(episodes, steps, noise, vehicle)
    model, reference = VEHICLES[vehicle], FIGURE_EIGHTS[vehicle]
    controller = GeometricLaw(model, reference, CONTROL_DT)
    rng = np.random.default_rng(seed)
    times = rng.uniform(0.0, reference.period, episodes)
    states = _starts(rng, reference.at(times).position, reference.at(times).velocity)
    recorded = []
    for _ in range(steps):
        pilot = controller.batch(states, times)
        thrusts = np.clip(pilot + noise * rng.standard_normal(pilot.shape), 0.0, 1.0)
        reached = step_batch(model, states, thrusts, CONTROL_DT)
        wanted = reference.at(times + CONTROL_DT)
        x, y, _ = wanted.position
        vx, vy, _ = wanted.velocity
        target = (x, y, vx, vy, reference.height)
        cost, distance, _ = stage_cost(reached, target, thrusts, model.hover_thrusts)
        if not (distance <= LARGEST_ERROR**2).all():
            raise ValueError(
                f"with noise {noise} a flight left the reference by more than {LARGEST_ERROR} m, "
                "where the task ends; pass less noise"
            )
        recorded.append((states, times, thrusts, -CONTROL_DT * cost, reached))
        states, times = reached, times + CONTROL_DT
    columns = (np.concatenate(parts, axis=-1) for parts in zip(*recorded, strict=True))
    return Transitions(vehicle, *columns)


def _check(episodes: int, steps: int, noise: float, vehicle: str) -> None:
    if vehicle not in VEHICLES:
        raise ValueError(f"vehicle is {vehicle!r}; pass one of {', '.join(map(repr, VEHICLES))}")
    if episodes < 1 or steps < 1:
        raise ValueError(f"episodes is {episodes} and steps is {steps}; pass numbers >= 1")
    if not 0.0 < noise < math.inf:
        raise ValueError(
            f"noise is {noise}; pass a number > 0, because without noise the flights contain only "
            "the reference's actions"
        )


def _starts(rng: np.random.Generator, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Return level states around these positions and velocities (3, N), (13, N)."""
    states = np.zeros((13, position.shape[1]))
    states[:3] = position + POSITION_NOISE * rng.standard_normal(position.shape)
    states[3:6] = velocity + VELOCITY_NOISE * rng.standard_normal(velocity.shape)
    states[6] = 1.0
    return states
