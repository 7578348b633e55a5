"""What a filter's correction costs of the true action value, in one step."""

from __future__ import annotations

import numpy as np

from baselines.experiments.curvature_guided_filter_flights import FILTERS, VALUE_OPTIMAL
from baselines.experiments.quadrotor_action_value import ActionValue, value_optimal
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.task import SceneName
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv
from safe_envs.safety_filters import SphereZCBF, filter_batch
from safe_envs.safety_filters.metrics import ConstantMetric, resolved_metric

ORDER = 3
EVERY = 20  # steps between the moments at which active states are collected
COMPARED = {each.name: each.metric for each in FILTERS if each.order == ORDER}


def one_step_degradation(
    scene: SceneName, scenarios: int, seed: int, margin: float, steps: int
) -> dict[str, np.ndarray]:
    """Return Q(s, u_ref) - Q(s, u) of every filter of order 3 at the same states, (states,) each.

    The states are those of flights behind the Euclidean filter in which the reference is unsafe.
    Below 0 the correction is better than the reference, which does not maximise its own Q.
    """
    flight = QuadrotorVectorEnv(scenarios, None, scene=scene)
    flight.reset(seed=seed)
    controller = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
    value = ActionValue(controller)
    barrier = SphereZCBF(ORDER, margin=margin)
    plant = flight.filter_plant()
    weights = {}
    for name, metric in COMPARED.items():
        resolved = resolved_metric(metric, plant)
        assert isinstance(resolved, ConstantMetric)
        weights[name] = resolved.weight
    lost: dict[str, list[np.ndarray]] = {name: [] for name in (*weights, VALUE_OPTIMAL.name)}
    for step in range(steps):
        states, times = flight.states, flight.times
        u = controller.batch(states, times)
        rows = barrier.around(flight.vehicle, flight.control_dt, flight.centres, flight.radii)
        found = {name: filter_batch(rows, weight, states, u) for name, weight in weights.items()}
        euclidean = next(iter(found.values()))
        chosen = np.flatnonzero(euclidean.active)
        if step % EVERY == EVERY // 2 and len(chosen):
            here = states[:, chosen], times[chosen]
            before = value(*here, u[:, chosen])
            best = value_optimal(value, rows.of(chosen), *here, u[:, chosen]).action
            lost[VALUE_OPTIMAL.name].append(before - value(*here, best))
            for name, each in found.items():
                lost[name].append(before - value(*here, each.action[:, chosen]))
        flight.step(flight.actions_of(euclidean.action))
    return {name: np.concatenate(parts or [np.zeros(0)]) for name, parts in lost.items()}
