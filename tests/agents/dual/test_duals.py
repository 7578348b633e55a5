"""Every dual step by step against its recursion, computed by hand."""

import numpy as np
import pytest
import torch

from agents.batch import Batch, Measurement
from agents.dual.augmented_lagrangian import AugmentedLagrangian
from agents.dual.lagrangian import Lagrangian
from agents.dual.pid import PID
from agents.primal_dual import AdvantageScaling, NoDual, PrimalDual

VIOLATIONS = np.array([[2.0, -1.0], [0.5, 4.0], [-8.0, 1.0], [3.0, -0.5], [1.0, -9.0]])


def history(dual, violations=VIOLATIONS):
    found = []
    for violation in violations:
        dual.update(np.array(violation))
        found.append(dual.weights())
    return np.array(found)


def test_lagrangian_ascent():
    dual = Lagrangian(
        multiplier_lr=0.1,
        initial_multiplier=0.5,
        multiplier_optimizer="ascent",
        num_constraints=2,
    )
    assert dual.weights().tolist() == [0.5, 0.5]
    expected = [[0.7, 0.4], [0.75, 0.8], [0.0, 0.9], [0.3, 0.85], [0.4, 0.0]]
    np.testing.assert_allclose(history(dual), expected, atol=1e-12)
    assert dual.log()["multiplier"].tolist() == dual.weights().tolist()


def test_lagrangian_is_held_below_its_bound():
    dual = Lagrangian(
        multiplier_lr=1.0, multiplier_optimizer="ascent", max_multiplier=2.0, num_constraints=2
    )
    assert history(dual, [[5.0, 0.1], [1.0, 0.1]])[:, 0].tolist() == [2.0, 2.0]


def test_lagrangian_with_adam():
    """Kingma and Ba (2015), algorithm 1, with the multipliers projected after every step."""
    rate, beta_1, beta_2, epsilon = 0.035, 0.9, 0.999, 1e-8
    lam, first, second = np.full(2, 0.001), np.zeros(2), np.zeros(2)
    expected = []
    violations = np.tile(VIOLATIONS, (4, 1))
    for t, violation in enumerate(violations, start=1):
        first = beta_1 * first + (1 - beta_1) * violation
        second = beta_2 * second + (1 - beta_2) * violation**2
        step = (first / (1 - beta_1**t)) / (np.sqrt(second / (1 - beta_2**t)) + epsilon)
        lam = np.maximum(lam + rate * step, 0.0)
        expected.append(lam)
    np.testing.assert_allclose(
        history(Lagrangian(num_constraints=2), violations), expected, rtol=1e-9
    )
    assert (np.array(expected) == 0.0).any()


def test_pid():
    """Stooke et al. (2020), algorithm 2: gains 0.5, 0.1, 2; smoothing 0.9; two updates back."""
    dual = PID(
        proportional_gain=0.5,
        integral_gain=0.1,
        derivative_gain=2.0,
        smoothing=0.9,
        derivative_delay=2,
    )
    # violation          2.0     0.5      -8.0       3.0
    # smooth error       0.2     0.23     -0.593    -0.2337
    # integral           2.0     2.5       0.0       3.0
    # smooth violation   2.0     1.85      0.865     1.0785
    # change over two    0.0    -0.15     -1.135    -0.7715
    expected = [0.1 + 0.2, 0.115 + 0.25, 0.0, 0.3 - 0.11685]
    found = history(dual, np.array([[2.0], [0.5], [-8.0], [3.0]]))
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-12)
    dual.update(np.array([20.0]))  # smooth violation 2.97065, 2.10565 more than two updates before
    error = 0.9 * -0.2337 + 0.1 * 20.0
    expected_weight = 0.5 * error + 0.1 * 23.0 + 2.0 * (2.97065 - 0.865)
    assert dual.weights()[0] == pytest.approx(expected_weight)
    assert dual.log()["multiplier"].tolist() == pytest.approx([2.3])


def test_pid_is_held_below_its_bound():
    dual = PID(integral_gain=0.1, proportional_gain=0.0, max_weight=1.5, num_constraints=2)
    assert history(dual, [[100.0, 1.0], [-1.0, 1.0]])[:, 0].tolist() == pytest.approx([1.5, 1.4])


def test_augmented_lagrangian():
    """tau = 0.1, a dual step at every second update."""
    dual = AugmentedLagrangian(penalty=0.1, primal_steps_per_dual_step=2, num_constraints=2)
    assert dual.weights().tolist() == [0.0, 0.0]
    found, multipliers = [], []
    for violation in VIOLATIONS:
        dual.update(violation)
        found.append(dual.weights())
        multipliers.append(dual.log()["multiplier"])
    expected_multipliers = [[0, 0], [0.05, 0.4], [0.05, 0.4], [0.35, 0.35], [0.35, 0.35]]
    expected = [[0.2, 0.0], [0.05, 0.4], [0.0, 0.5], [0.35, 0.35], [0.45, 0.0]]
    np.testing.assert_allclose(multipliers, expected_multipliers, atol=1e-12)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert dual.log()["penalty"].tolist() == [0.1]


@pytest.mark.parametrize("steps", [1, 3])
def test_augmented_lagrangian_identities(steps):
    """w = [lambda + tau v]+ with the multiplier and penalty before the update; lambda >= 0."""
    rng = np.random.default_rng(0)
    dual = AugmentedLagrangian(
        penalty=0.3,
        primal_steps_per_dual_step=steps,
        initial_multiplier=1.0,
        penalty_growth=1.5,
        num_constraints=3,
    )
    for update in range(1, 13):
        lam, tau = dual.log()["multiplier"], dual.log()["penalty"]
        violation = rng.normal(scale=3.0, size=3)
        dual.update(violation)
        np.testing.assert_allclose(dual.weights(), np.maximum(lam + tau * violation, 0.0))
        is_dual_step = update % steps == 0
        after = dual.log()["multiplier"]
        np.testing.assert_array_equal(after, dual.weights() if is_dual_step else lam)
        assert dual.log()["penalty"] == pytest.approx(tau * (1.5 if is_dual_step else 1.0))
        assert (after >= 0).all()


def test_no_dual_has_no_price():
    assert not history(NoDual(2)).any()


@pytest.mark.parametrize("num_constraints", [0, 1, 3])
@pytest.mark.parametrize(
    ("kind", "weight", "log"),
    [
        (Lagrangian, 0.001, {"multiplier": 0.001}),
        (PID, 0.0, {"multiplier": 0.0}),
        (AugmentedLagrangian, 0.0, {"multiplier": 0.0, "penalty": 0.01}),
        (NoDual, 0.0, {}),
    ],
)
def test_duals_are_complete_when_constructed(kind, weight, log, num_constraints):
    dual = kind(num_constraints=num_constraints)
    assert dual.weights().tolist() == [weight] * num_constraints
    assert dual.log().keys() == log.keys()
    for name, number in log.items():
        size = 1 if name == "penalty" else num_constraints
        assert dual.log()[name].tolist() == [number] * size
    dual.update(np.ones(num_constraints))
    assert dual.weights().shape == (num_constraints,)
    assert kind().weights().tolist() == [weight]


@pytest.mark.parametrize("kind", [Lagrangian, PID, AugmentedLagrangian, NoDual])
def test_weights_are_copies(kind):
    dual = kind(num_constraints=2)
    dual.update(np.array([1.0, 1.0]))
    before = dual.weights().copy()
    dual.weights()[:] = 99.0
    assert dual.weights().tolist() == before.tolist()


class KeepAdvantage:
    """Replaces a primal and records the advantage it is given."""

    def improve(self, policy, batch, advantage, progress_remaining):
        self.advantage = advantage
        return {}


def updated(scaling, measured, primal):
    advantages = torch.tensor([[1.0, 2.0, 0.0], [4.0, 1.0, 1.0], [-2.0, 0.0, 5.0]])
    nothing = torch.empty(0)
    dual = AugmentedLagrangian(penalty=0.5, initial_multiplier=1.0, num_constraints=2)
    parts = PrimalDual(scaling, primal, dual)
    parts.update(None, Batch(nothing, nothing, nothing, advantages, nothing), measured, 1.0)
    return parts


def test_multipliers_are_held_while_no_episode_ended():
    primal = KeepAdvantage()
    parts = updated(AdvantageScaling(normalize_advantage=False), None, primal)
    assert parts.log()["weight"].tolist() == [1.0, 1.0]
    assert primal.advantage.tolist() == [-1.0, 2.0, -7.0]  # A_reward - A_costs (1, 1)


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        # weights (1 + 0.5 2, [1 - 0.5 4]+) = (2, 0)
        (AdvantageScaling(False), [-3.0, 2.0, -2.0]),
        (AdvantageScaling(False, normalize_lagrangian=True), [-1.0, 2 / 3, -2 / 3]),
        (AdvantageScaling(True), np.array([-2.0, 3.0, -1.0]) / np.sqrt(14 / 3)),
        (
            AdvantageScaling("separate"),
            np.array([0.0, 3.0, -3.0]) / np.sqrt(6) - 2 * np.array([1.0, 0.0, -1.0]),
        ),
    ],
)
def test_advantage_of_reward_and_costs(scaling, expected):
    primal = KeepAdvantage()
    updated(scaling, Measurement(np.array([2.0, -4.0]), np.ones(2), 3), primal)
    np.testing.assert_allclose(primal.advantage, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", [Lagrangian, PID, AugmentedLagrangian])
def test_refuses_what_does_not_fit_its_constraints(kind):
    for count in (-1, 2.5, "3"):
        with pytest.raises(ValueError, match="num_constraints is .*; pass a whole number >= 0"):
            kind(num_constraints=count)
    dual = kind(num_constraints=3)
    for violation in (1.0, [1.0], np.ones((3, 1)), [1.0, np.nan, 0.0]):
        with pytest.raises(ValueError, match=r"violation .*; pass an array of shape \(3,\)"):
            dual.update(violation)
    assert dual.weights().shape == (3,)
