"""Flights of the predictive controller in closed loop."""

import sys

import numpy as np
import pytest

from agents.controllers import QuadrotorMPC
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.geometric_controller import GeometricLaw

SETTLED = 200  # steps


def flown(env, law, steps=350, start=1.0):
    """Return the errors to the reference (steps,) [m] and the return of a level start on it."""
    point = env.reference.at(start)
    state = np.concatenate((point.position, point.velocity, [1, 0, 0, 0, 0, 0, 0]))
    env.reset(seed=0, options={"state": state, "time": start})
    errors, total = np.empty(steps), 0.0
    for k in range(steps):
        _, reward, terminated, _, _ = env.step(env.action_of(law(env.state, env.time)))
        assert not terminated
        errors[k] = np.linalg.norm(env.state[:3] - env.reference.at(env.time).position)
        total += reward
    return errors, total


def rms(errors):
    return np.sqrt((errors**2).mean())


@pytest.mark.parametrize("vehicle", ["crazyflie", "hummingbird"])
def test_one_step_per_call_follows_the_reference(vehicle):
    env = QuadrotorEnv(vehicle=vehicle)
    law = QuadrotorMPC(env.vehicle, env.reference, env.control_dt)
    errors, total = flown(env, law)
    assert rms(errors[SETTLED:]) < 0.003  # m
    geometric = GeometricLaw(env.vehicle, env.reference, env.control_dt)
    assert total > flown(env, geometric)[1]  # it minimizes what the reward measures


def test_both_solvers_fly_alike():
    pytest.importorskip("casadi")
    env = QuadrotorEnv()
    results = []
    for solver in ("rti", "ipopt"):
        law = QuadrotorMPC(env.vehicle, env.reference, env.control_dt, horizon=10, solver=solver)
        results.append(flown(env, law, steps=25))
    (one_step, one_return), (full, full_return) = results
    assert one_step == pytest.approx(full, abs=1e-4)
    assert one_return == pytest.approx(full_return, abs=1e-4)


def test_after_reset_a_flight_is_the_same():
    env = QuadrotorEnv()
    law = QuadrotorMPC(env.vehicle, env.reference, env.control_dt, horizon=5)
    first, _ = flown(env, law, steps=20)
    law.reset()
    again, _ = flown(env, law, steps=20)
    assert np.array_equal(first, again)


def test_the_quaternion_may_change_its_sign():
    env = QuadrotorEnv()
    env.reset(seed=0)
    law = QuadrotorMPC(env.vehicle, env.reference, env.control_dt)
    state, time = env.state, env.time
    plan = law.plan(state, time)
    other = state.copy()
    other[6:10] *= -1.0
    expected = law.plan(state, time + 0.01, plan).thrusts
    assert law.plan(other, time + 0.01, plan).thrusts == pytest.approx(expected, abs=1e-9)


def make(**kwargs):
    env = QuadrotorEnv()
    return QuadrotorMPC(env.vehicle, env.reference, **{"dt": 0.01, **kwargs})


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="solver is 'ipop'; did you mean 'ipopt'"):
        make(solver="ipop")
    with pytest.raises(ValueError, match="dt is 0.1; pass a number > 0 and not above"):
        make(dt=0.1)
    with pytest.raises(ValueError, match=r"state has shape \(2, 13\); pass one state, \(13,\)"):
        make()(np.zeros((2, 13)), 0.0)


def test_only_ipopt_needs_casadi(monkeypatch):
    monkeypatch.setitem(sys.modules, "casadi", None)
    make(solver="rti")
    with pytest.raises(ImportError, match=r"'safe-envs-agents\[mpc\]', or use solver='rti'"):
        make(solver="ipopt")
