"""The learned metric: its features, its fit against the true value, its file and its use."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from safe_envs.control.double_integrator import DoubleIntegratorEnv
from safe_envs.quadrotor.dynamics import step_batch
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.filtered.fitted_q import FittedQ, fit_q, least_squares_value, main
from safe_envs.quadrotor.filtered.flight_metrics import LEARNED_CRAZYFLIE, learned_metric
from safe_envs.quadrotor.filtered.transitions import collect_transitions
from safe_envs.quadrotor.filtered.value_features import (
    BASIS,
    action_value_features,
    quad,
    tracking_error,
)
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.reference import FIGURE_EIGHTS
from safe_envs.quadrotor.task import CONTROL_DT, stage_cost
from safe_envs.quadrotor.vehicle import CRAZYFLIE, HUMMINGBIRD
from safe_envs.safety_filters import SafetyFilter, SphereZCBF, hover_metric
from safe_envs.safety_filters.metrics import resolved_metric

NO_PENALTIES = {"psd_weight": 0.0, "third_weight": 0.0}
EIGHT = FIGURE_EIGHTS["crazyflie"]
PILOT = GeometricLaw(CRAZYFLIE, EIGHT, CONTROL_DT)
# Orthonormal (thrust, roll, pitch, yaw), the mixer's rows at length one.
AXES = CRAZYFLIE.mixer / np.linalg.norm(CRAZYFLIE.mixer, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def transitions():
    return collect_transitions()


@pytest.fixture(scope="module")
def fitted(transitions):
    return fit_q(transitions)


@pytest.fixture(scope="module")
def plain(transitions):
    return fit_q(transitions, **NO_PENALTIES)


@pytest.fixture(scope="module")
def truth(transitions):
    """The mean of the true W over 32 states of the data."""
    columns = np.random.default_rng(0).choice(transitions.rewards.size, 32, replace=False)
    states, times = transitions.states[:, columns], transitions.times[columns]
    return -differences(around_the_reference(true_values, states, times), 0.05).mean(axis=0)


def some(transitions, count, seed=0):
    chosen = np.random.default_rng(seed).choice(transitions.rewards.size, count, replace=False)
    names = ("states", "times", "thrusts", "rewards", "next_states")
    return replace(transitions, **{name: getattr(transitions, name)[..., chosen] for name in names})


def spectral_error(metric, truth):
    return np.linalg.norm(metric - truth, 2) / np.linalg.norm(truth, 2)


def on_the_reference(times):
    """Return states (13, N) at the reference, the thrust along what it asks for, without yaw."""
    wanted = EIGHT.at(times)
    push = wanted.acceleration + np.array([[0.0], [0.0], [9.81]])
    half = push / np.linalg.norm(push, axis=0) + np.array([[0.0], [0.0], [1.0]])
    half /= np.linalg.norm(half, axis=0)  # the shortest turn of e3 onto the push
    states = np.zeros((13, len(times)))
    states[:3], states[3:6] = wanted.position, wanted.velocity
    states[6:10] = half[2], -half[1], half[0], 0.0 * half[0]
    return states


def true_values(states, times, thrusts, steps=150, discount=0.99):
    """Return the discounted rewards of taking the thrusts once and the pilot's afterwards."""
    total, weight = np.zeros(len(times)), 1.0
    for _ in range(steps):
        states = step_batch(CRAZYFLIE, states, thrusts, CONTROL_DT)
        times = times + CONTROL_DT
        wanted = EIGHT.at(times)
        target = (*wanted.position[:2], *wanted.velocity[:2], EIGHT.height)
        total -= (
            weight * CONTROL_DT * stage_cost(states, target, thrusts, CRAZYFLIE.hover_thrusts)[0]
        )
        thrusts = PILOT.batch(states, times)
        weight *= discount
    return total


def differences(function, width):
    """Return the Hessians (N, 4, 4) of a function of deviations (33, 4) with values (33, N)."""
    eye = width * np.eye(4)
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    points = [np.zeros(4), *eye, *-eye]
    points += [a * eye[i] + b * eye[j] for i, j in pairs for a in (1, -1) for b in (1, -1)]
    values = function(np.array(points))
    middle, ahead, behind, mixed = values[0], values[1:5], values[5:9], values[9:]
    hessians = np.zeros((values.shape[1], 4, 4))
    for i in range(4):
        hessians[:, i, i] = (ahead[i] - 2.0 * middle + behind[i]) / width**2
    for (i, j), (pp, pm, mp, mm) in zip(pairs, mixed.reshape(6, 4, -1), strict=True):
        hessians[:, i, j] = hessians[:, j, i] = (pp - pm - mp + mm) / (4.0 * width**2)
    return hessians


def around_the_reference(value, states, times):
    """Return value(states, times, thrusts) as a function of deviations from the pilot's thrusts."""
    pilot = PILOT.batch(states, times)

    def function(points):
        thrusts = (pilot[:, None, :] + points.T[:, :, None]).reshape(4, -1)
        tiled = np.tile(states, len(points)), np.tile(times, len(points))
        return value(*tiled, thrusts).reshape(len(points), -1)

    return function


def test_quad_spans_the_quadratic_forms_of_symmetric_matrices():
    rng = np.random.default_rng(0)
    deviations = rng.standard_normal((5, 4))
    matrix = rng.standard_normal((4, 4))
    matrix = matrix + matrix.T
    coefficients = matrix[np.triu_indices(4)]
    np.testing.assert_allclose(np.tensordot(coefficients, BASIS, axes=1), matrix)
    expected = 0.5 * np.einsum("ni,ij,nj->n", deviations, matrix, deviations)
    np.testing.assert_allclose(quad(deviations) @ coefficients, expected)


def test_features_are_those_described():
    for state_dependent, count in ((False, 91 + 52 + 10 + 20), (True, 91 + 52 + 130 + 20)):
        features = action_value_features(state_dependent)
        rng = np.random.default_rng(1)
        errors, deviations = rng.standard_normal((3, 12)), rng.standard_normal((3, 4))
        phi = features(errors, deviations)
        assert phi.shape == (3, count) == (3, features.count)
        affine = np.concatenate([np.ones((3, 1)), errors], axis=1)
        for n in range(3):
            products = np.outer(affine[n], affine[n])[np.triu_indices(13)]
            np.testing.assert_allclose(phi[n, :91], products)
            np.testing.assert_allclose(phi[n, 91:143], np.kron(affine[n], deviations[n]))
            curvature = np.kron(affine[n] if state_dependent else [1.0], quad(deviations)[n])
            np.testing.assert_allclose(phi[n, features.curvature], curvature)
        at_centres = features(features.error_centres, features.deviation_centres)
        np.testing.assert_allclose(np.diagonal(at_centres[:, features.curvature.stop :]), 1.0)


def test_the_tracking_error_vanishes_on_the_reference_and_counts_in_its_scales():
    times = np.array([0.0, 0.7, 4.0])
    states = on_the_reference(times)
    np.testing.assert_allclose(tracking_error(states, times, EIGHT), 0.0, atol=1e-12)
    states[1] += 0.1
    states[5] -= 0.3
    states[11] = 2.0
    expected = np.zeros(12)
    expected[[1, 5, 10]] = 1.0, -1.0, 2.0
    error = tracking_error(states, times, EIGHT)
    np.testing.assert_allclose(error, np.tile(expected, (3, 1)), atol=1e-12)
    flipped = states.copy()
    flipped[6:10] *= -1.0
    np.testing.assert_allclose(tracking_error(flipped, times, EIGHT), error)


def test_recorded_rewards_are_the_environments():
    recorded = collect_transitions(episodes=2, steps=20, seed=3)
    env = QuadrotorEnv()
    for i in range(recorded.rewards.size):
        start = {"state": recorded.states[:, i], "time": recorded.times[i]}
        env.reset(seed=0, options=start | {"offsets": np.zeros((4, 2))})
        _, reward, terminated, _, info = env.step(2.0 * recorded.thrusts[:, i] - 1.0)
        assert not terminated
        assert reward == pytest.approx(recorded.rewards[i], rel=1e-6)
        np.testing.assert_allclose(info["state"], recorded.next_states[:, i], atol=1e-6)
    assert np.array_equal(recorded.states[:, 2:], recorded.next_states[:, :-2])


def test_the_linear_system_finds_the_value_of_a_chain():
    # Two states that follow each other, rewards 1 and 0, features one-hot: v = (I - g P)^-1 r.
    now = np.tile(np.eye(2), (50, 1))
    then = np.tile(np.eye(2)[::-1], (50, 1))
    theta = least_squares_value(now, then, np.tile([1.0, 0.0], 50), discount=0.9, ridge=0.0)
    np.testing.assert_allclose(theta, np.array([1.0, 0.9]) / (1.0 - 0.81))


def test_new_targets_lead_to_the_linear_system_and_with_a_maximum_nowhere(transitions):
    chosen = np.random.default_rng(0).choice(transitions.rewards.size, 2000, replace=False)
    states, times = transitions.states[:, chosen], transitions.times[chosen]
    deviations = (transitions.thrusts[:, chosen] - PILOT.batch(states, times)).T
    following = transitions.next_states[:, chosen]
    errors = tracking_error(states, times, EIGHT)
    next_errors = tracking_error(following, times + CONTROL_DT, EIGHT)
    features = action_value_features()
    now = features(errors, deviations)
    scales = np.sqrt((now * now).mean(axis=0))
    now /= scales
    fit = np.linalg.solve(now.T @ now / 2000 + 1e-6 * np.eye(173), now.T / 2000)  # equation 12
    corners = 0.3 * np.array(list(itertools.product((-1.0, 1.0), repeat=4)))
    reached = [
        features(next_errors, np.tile(d, (2000, 1))) / scales for d in (np.zeros(4), *corners)
    ]
    rewards = transitions.rewards[chosen]

    theta, step = np.zeros(173), 0.99 * fit @ reached[0]
    for _ in range(4000):
        theta = fit @ rewards + step @ theta
    solution = least_squares_value(now, reached[0], rewards, 0.99, 1e-6)
    np.testing.assert_allclose(theta, solution, atol=1e-6 * np.abs(solution).max())
    for _ in range(120):
        theta = fit @ (rewards + 0.99 * np.max([phi @ theta for phi in reached], axis=0))
    assert np.abs(theta).max() > 1e6 * np.abs(solution).max()


def test_the_hessian_is_that_of_the_fitted_value(transitions):
    states, times = transitions.states[:, 100:106], transitions.times[100:106]
    for state_dependent in (False, True):
        fitted = fit_q(transitions, state_dependent=state_dependent, **NO_PENALTIES)
        value = around_the_reference(fitted.values, states, times)
        np.testing.assert_allclose(
            fitted.hessian(states, times), -differences(value, 1e-3), atol=1e-5
        )


def test_the_metric_is_the_curvature_of_the_true_value(truth, fitted, plain):
    assert spectral_error(plain.metric(), truth) < 0.15  # measured: 0.067
    assert spectral_error(fitted.metric(), truth) < 0.05  # measured: 0.033
    shipped = 0.25 * truth.trace() * np.array(LEARNED_CRAZYFLIE)
    assert spectral_error(shipped, truth) < 0.03  # measured: 0.014


def test_penalties_bring_the_metric_nearer_to_the_true_curvature(transitions, fitted, plain, truth):
    case = (transitions.states, transitions.times)
    smallest = [np.linalg.eigvalsh(value.hessian(*case)).min() for value in (plain, fitted)]
    assert smallest[0] < 0.0 < 0.04 < smallest[1]  # measured: -0.003 and 0.046
    few = some(transitions, 500)
    for state_dependent, without in ((False, 0.5), (True, 0.15)):  # measured: 0.75 and 0.20
        worse = fit_q(few, state_dependent=state_dependent, **NO_PENALTIES).metric()
        better = fit_q(few, state_dependent=state_dependent).metric()
        assert spectral_error(worse, truth) > without
        assert spectral_error(better, truth) < 0.13  # measured: 0.08 and 0.11


def test_the_maximum_over_the_next_action_converges_or_says_that_it_diverges(transitions):
    few = some(transitions, 1000)
    with pytest.raises(ArithmeticError, match="'max' diverged: in sweep .* pass target='contr"):
        fit_q(few, target="max", **NO_PENALTIES)
    value = fit_q(few, discount=0.5, target="max", **NO_PENALTIES)
    next_times = few.times + CONTROL_DT
    pilot = PILOT.batch(few.next_states, next_times)
    following = [
        value.values(few.next_states, next_times, pilot + np.array(d)[:, None])
        for d in itertools.product((-0.3, 0.0, 0.3), repeat=4)
    ]
    targets = few.rewards + 0.5 * np.max(following, axis=0)
    errors = tracking_error(few.states, few.times, EIGHT)
    deviations = (few.thrusts - PILOT.batch(few.states, few.times)).T
    now = value.features(errors, deviations) / value.feature_scales
    gram = now.T @ now / 1000 + 1e-6 * np.eye(173)
    theta = np.linalg.solve(gram, now.T @ targets / 1000)
    np.testing.assert_allclose(theta, value.theta, atol=1e-8 * np.abs(theta).max())
    assert not np.allclose(theta, fit_q(few, discount=0.5, **NO_PENALTIES).theta, rtol=1e-2)


def test_the_curvature_is_positive_definite_around_the_reference(fitted):
    times = np.linspace(0.0, EIGHT.period, 24, endpoint=False)
    for position in (-0.1, 0.0, 0.1):
        for velocity in (-0.3, 0.0, 0.3):
            states = on_the_reference(times)
            states[:3] += position
            states[3:6] += velocity
            weights = fitted.hessian(states, times)
            np.testing.assert_allclose(weights, weights.transpose(0, 2, 1), atol=1e-12)
            assert np.linalg.eigvalsh(weights).min() > 0.01
    assert np.linalg.eigvalsh(fitted.metric()).min() > 0.03


def test_a_saved_value_is_loaded_bit_by_bit(fitted, transitions, tmp_path):
    state_dependent = fit_q(transitions, discount=0.95, state_dependent=True, **NO_PENALTIES)
    for value in (fitted, state_dependent):
        path = tmp_path / "value"  # without a suffix: written as named
        value.save(path)
        loaded = FittedQ.load(path)
        assert (loaded.vehicle, loaded.discount) == (value.vehicle, value.discount)
        assert loaded.features.state_dependent == value.features.state_dependent
        for name in ("theta", "feature_scales", "mean_weight"):
            assert np.array_equal(getattr(loaded, name), getattr(value, name))
        case = (transitions.states[:, :100], transitions.times[:100])
        thrusts = transitions.thrusts[:, :100]
        assert np.array_equal(loaded.values(*case, thrusts), value.values(*case, thrusts))
        assert np.array_equal(loaded.hessian(*case), value.hessian(*case))
        assert np.array_equal(loaded.metric(), value.metric())


def test_files_that_hold_no_value_are_refused(fitted, tmp_path):
    path = tmp_path / "value.npz"
    fitted.save(path)
    good = dict(np.load(path))
    content = path.read_bytes()
    not_a_file = "is not a readable npz file .*; pass a file that FittedQ.save wrote"
    for wrong in (b"", b"words", content[: len(content) // 2]):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=not_a_file):
            FittedQ.load(path)
    np.savez(path, **(good | {"theta": np.array([{}], dtype=object)}))
    with pytest.raises(ValueError, match=not_a_file):
        FittedQ.load(path)
    with open(path, "wb") as file:
        np.save(file, good["theta"])
    with pytest.raises(ValueError, match=not_a_file):
        FittedQ.load(path)
    np.savez(path, theta=good["theta"])
    with pytest.raises(ValueError, match="lacks format, vehicle, .*; pass a file"):
        FittedQ.load(path)
    for changed, message in (
        ({"format": np.array("other")}, "has format 'other', not 'safe-envs fitted"),
        ({"vehicle": np.array("glider")}, "is damaged, vehicle is 'glider'; pass one of"),
        ({"discount": np.array(1.5)}, "is damaged, discount is 1.5; pass a number"),
        ({"discount": np.zeros(2)}, "is damaged, .*; fit and save it again"),
        ({"theta": good["theta"][1:]}, r"theta has shape \(172,\); pass .* \(173,\)"),
        ({"theta": np.full(173, np.nan)}, "theta .* contains NaN"),
        ({"feature_scales": np.zeros(173)}, "feature_scales has entries <= 0"),
        ({"mean_weight": np.eye(3)}, "mean_weight has shape"),
        ({"error_centres": np.zeros((19, 12))}, "deviation_centres has shape"),
        ({"error_centres": np.array("none")}, "is damaged, .*; fit and save it again"),
    ):
        np.savez(path, **(good | changed))
        with pytest.raises(ValueError, match=message):
            FittedQ.load(path)
    with pytest.raises(FileNotFoundError):
        FittedQ.load(tmp_path / "nowhere.npz")


def test_arguments_out_of_range_are_refused(transitions):
    for name, wrong in (("vehicle", "glider"), ("episodes", 0), ("steps", 0), ("noise", 0.0)):
        with pytest.raises(ValueError, match=f"{name} is .*; pass"):
            collect_transitions(**{name: wrong})
    with pytest.raises(ValueError, match="left the reference by more than 2.0 m"):
        collect_transitions(episodes=4, noise=3.0)
    with pytest.raises(ValueError, match="discount is 1.0; pass a number in"):
        fit_q(transitions, discount=1.0)
    with pytest.raises(ValueError, match="ridge is -1.0; pass a number >= 0"):
        fit_q(transitions, ridge=-1.0)
    with pytest.raises(ValueError, match="target is 'best'; pass one of 'controller', 'max'"):
        fit_q(transitions, target="best")
    with pytest.raises(ValueError, match="100 transitions for 173 features; pass at least as many"):
        fit_q(collect_transitions(episodes=10, steps=10))


def test_the_command_gives_the_shipped_metric(tmp_path, capsys):
    main(["--out", str(tmp_path / "value.npz")])
    printed = np.array(json.loads(capsys.readouterr().out))
    np.testing.assert_allclose(printed, LEARNED_CRAZYFLIE, atol=1e-4)
    metric = FittedQ.load(tmp_path / "value.npz").metric()
    np.testing.assert_allclose(4.0 * metric / metric.trace(), printed, atol=1e-6)


def test_the_shipped_metric_is_used_for_the_crazyflie_alone():
    used = resolved_metric("fqi", QuadrotorEnv().filter_plant()).metric
    np.testing.assert_allclose(used, LEARNED_CRAZYFLIE, atol=1e-12)  # no eigenvalue to be raised
    for vehicle, time_step in ((HUMMINGBIRD, CONTROL_DT), (CRAZYFLIE, 0.02)):
        with pytest.raises(ValueError, match="'fqi' was learned with .*; pass 'lqr', or fit_q"):
            learned_metric(vehicle, time_step)
    with pytest.raises(ValueError, match="'fqi' was learned with"):
        SafetyFilter(QuadrotorEnv(vehicle="hummingbird"), metric="fqi")
    with pytest.raises(ValueError, match="'fqi' is not known here; .*pass 'euclidean', 'lqr'"):
        resolved_metric("fqi", DoubleIntegratorEnv().filter_plant())


def test_the_filter_flies_without_cost_in_the_learned_metric(fitted):
    for metric in ("fqi", fitted.metric()):
        env = SafetyFilter(QuadrotorEnv(), SphereZCBF(margin=0.03), metric)
        env.reset(seed=0)
        active = 0
        for _ in range(600):
            action = env.unwrapped.action_of(PILOT(env.unwrapped.state, env.unwrapped.time))
            _, _, terminated, _, info = env.step(action)
            assert not terminated
            active += info["filter_active"]
        assert info["episode_cost"] == 0.0
        assert active > 20


def test_another_vehicle_gets_a_metric_of_its_own():
    learned = fit_q(collect_transitions(vehicle="hummingbird")).metric()
    closed_form = hover_metric(HUMMINGBIRD, CONTROL_DT)
    learned, closed_form = learned / learned.trace(), closed_form / closed_form.trace()
    assert spectral_error(learned, closed_form) < 0.25
