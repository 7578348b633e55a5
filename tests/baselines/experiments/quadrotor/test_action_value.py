"""The true action value against the environment's own rewards, and its maximum against SciPy's."""

import numpy as np
import pytest

from safe_envs.contract.vector_env import AutoresetMode

if AutoresetMode is None:
    pytest.skip("native vector environments need Gymnasium 1.1", allow_module_level=True)

from scipy.optimize import minimize

from baselines.experiments.quadrotor.action_value import ActionValue, value_optimal
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv
from safe_envs.safety_filters import SphereZCBF


def controller_of(env):
    return GeometricLaw(env.vehicle, env.reference, env.control_dt)


def test_it_is_the_discounted_return_of_flying_on():
    env = QuadrotorEnv()
    env.reset(seed=0)
    pilot = controller_of(env)
    first = np.array([0.5, 0.3, 0.6, 0.4])
    state, time = env.state, env.time
    total, u = 0.0, first
    for k in range(30):
        reward = env.step(2.0 * u - 1.0)[1]  # in float64, so that no rounding comes in
        total += 0.99**k * reward
        u = pilot(env.state, env.time)
    value = ActionValue(pilot, steps=30)(state[:, None], np.array([time]), first[:, None])
    assert value[0] == pytest.approx(total, rel=1e-5)


def test_the_value_optimal_thrusts_are_those_of_a_general_solver():
    env = QuadrotorVectorEnv(256)
    env.reset(seed=0)
    pilot = controller_of(env)
    value = ActionValue(pilot, steps=30)
    rows = SphereZCBF(margin=0.03).around(env.vehicle, env.control_dt, env.centers, env.radii)
    states, times = env.states, env.times
    states[3:6] *= 1.5  # some are too fast for what is ahead
    u = pilot.batch(states, times)
    matrices, bounds = rows.batch(states, u)
    unsafe = np.flatnonzero((np.einsum("nkm,mn->nk", matrices, u) < bounds).any(axis=1))[:2]
    assert len(unsafe) == 2
    chosen = states[:, unsafe], times[unsafe]
    found = value_optimal(value, rows.of(unsafe), *chosen, u[:, unsafe], newton_steps=3)
    reached = value(*chosen, found.action)
    for i, column in enumerate(unsafe):
        state, time = states[:, [column]], times[[column]]
        best = minimize(
            lambda x, state=state, time=time: -1e3 * value(state, time, x[:, None])[0],
            found.action[:, i] + 0.02,
            bounds=[(0.0, 1.0)] * 4,
            constraints={
                "type": "ineq",
                "fun": lambda x, column=column: matrices[column] @ x - bounds[column],
            },
            method="SLSQP",
            options={"ftol": 1e-9},
        )
        assert best.success
        assert reached[i] == pytest.approx(-1e-3 * best.fun, abs=2e-6)
        np.testing.assert_allclose(found.action[:, i], best.x, atol=5e-3)
        assert found.slack[i] < 1e-3
