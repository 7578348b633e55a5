"""The predicted step against the environment's integrator and finite differences."""

import numpy as np
import pytest

from agents.controllers.quadrotor_prediction import QuadrotorPrediction
from safe_envs.quadrotor.dynamics import step_batch
from safe_envs.quadrotor.vehicle import CRAZYFLIE, VEHICLES

STEP = 0.05
LOADED = CRAZYFLIE.with_payload(0.004, (0.012, 0.008, -0.03))  # its inertia has products
MODELS = VEHICLES | {"loaded": LOADED}


def random_flights(count, rates=3.0, seed=0):
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(count, 13))
    states[:, 6:10] /= np.linalg.norm(states[:, 6:10], axis=1, keepdims=True)
    states[:, 10:] *= rates
    return states, rng.uniform(size=(count, 4))


def integrated(vehicle, states, thrusts, substeps):
    columns = np.ascontiguousarray(states.T)
    return step_batch(vehicle, columns, thrusts.T, STEP, substeps).T


@pytest.mark.parametrize("vehicle", MODELS.values(), ids=MODELS)
def test_step_is_that_of_the_environment(vehicle):
    states, thrusts = random_flights(50)
    reached = QuadrotorPrediction(vehicle, STEP).linearized(states, thrusts).reached
    assert reached == pytest.approx(integrated(vehicle, states, thrusts, 1), abs=1e-12)


@pytest.mark.parametrize("vehicle", MODELS.values(), ids=MODELS)
def test_derivatives_are_those_of_finite_differences(vehicle):
    states, thrusts = random_flights(20)
    step = QuadrotorPrediction(vehicle, STEP)
    found = step.linearized(states, thrusts)
    tiny = 1e-6
    for derivative, changes in ((found.by_state, np.eye(13)), (found.by_thrusts, np.eye(4))):
        for column, change in enumerate(tiny * changes):
            by_state = len(change) == 13
            at = [(states + s * change, thrusts) if by_state else (states, thrusts + s * change)
                  for s in (1, -1)]  # fmt: skip
            above, below = (integrated(vehicle, *pair, 1) for pair in at)
            expected = (above - below) / (2.0 * tiny)
            assert derivative[:, :, column] == pytest.approx(expected, abs=1e-7)


def test_one_step_per_stage_is_enough():
    """Five times the rates and torques of the figure eight give an error below 0.1 mm."""
    rng = np.random.default_rng(1)
    states, _ = random_flights(500)
    states[:, 6:10] = (1.0, 0.0, 0.0, 0.0)
    states[:, 10:] = rng.uniform(-5.0, 5.0, (500, 3))
    thrusts = 0.44 + rng.uniform(-0.1, 0.1, (500, 4))
    vehicle = VEHICLES["crazyflie"]
    coarse = QuadrotorPrediction(vehicle, STEP).linearized(states, thrusts).reached
    error = np.abs(coarse - integrated(vehicle, states, thrusts, 64))
    assert error[:, :3].max() < 1e-4
    assert error[:, 6:10].max() < 1e-3
