"""Every dual step by step against its recursion, computed by hand."""

import numpy as np
import pytest
import torch

from agents.batch import Batch, Measurement
from agents.dual.augmented_lagrangian import AugmentedLagrangian
from agents.dual.lagrangian import Lagrangian
from agents.dual.pid import PID
from agents.price_units import PriceUnits
from agents.primal_dual import AdvantageScaling, NoDual, PrimalDual

ONES = np.ones(2)
VIOLATIONS = np.array([[2.0, -1.0], [0.5, 4.0], [-8.0, 1.0], [3.0, -0.5], [1.0, -9.0]])


def history(dual, violations=VIOLATIONS, unit=1.0):
    found = []
    for violation in violations:
        dual.update(np.array(violation), np.full(len(violation), unit))
        found.append(dual.weights())
    return np.array(found)


def test_lagrangian_ascent():
    dual = Lagrangian(
        multiplier_lr=0.1,
        initial_multiplier=0.5,
        damping=0.0,
        num_constraints=2,
    )
    assert dual.weights().tolist() == [0.0, 0.0]  # no price before the units are known
    expected = [[0.7, 0.4], [0.75, 0.8], [0.0, 0.9], [0.3, 0.85], [0.4, 0.0]]
    np.testing.assert_allclose(history(dual), expected, atol=1e-12)
    assert dual.log()["multiplier"].tolist() == dual.weights().tolist()


def test_damping_reacts_to_the_violation_itself():
    """lambda 0.1, 0.15, 0 beside 0.5 times the violations 1, 0.5 and -3."""
    dual = Lagrangian(multiplier_lr=0.1, initial_multiplier=0.0, damping=0.5)
    found = history(dual, [[1.0], [0.5], [-3.0]])
    assert found[:, 0].tolist() == pytest.approx([0.6, 0.4, 0.0])
    assert dual.log()["multiplier"].tolist() == [0.0]


def test_lagrangian_is_held_below_its_bound():
    dual = Lagrangian(multiplier_lr=1.0, max_multiplier=2.0, num_constraints=2)
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
    dual = Lagrangian(
        multiplier_lr=rate, multiplier_optimizer="adam", damping=0.0, num_constraints=2
    )
    np.testing.assert_allclose(history(dual, violations), expected, rtol=1e-9)
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
    # integral / 0.1     2.0     2.5       0.0       3.0
    # smooth violation   2.0     1.85      0.865     1.0785
    # change over two    0.0    -0.15     -1.135    -0.7715
    expected = [0.1 + 0.2, 0.115 + 0.25, 0.0, 0.3 - 0.11685]
    found = history(dual, np.array([[2.0], [0.5], [-8.0], [3.0]]))
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-12)
    dual.update(
        np.array([20.0]), np.ones(1)
    )  # smooth violation 2.97065, 2.10565 more than two updates before
    error = 0.9 * -0.2337 + 0.1 * 20.0
    expected_weight = 0.5 * error + 0.1 * 23.0 + 2.0 * (2.97065 - 0.865)
    assert dual.weights()[0] == pytest.approx(expected_weight)
    assert dual.log()["multiplier"].tolist() == pytest.approx([2.3])


def test_pid_is_held_below_its_bound():
    dual = PID(integral_gain=0.1, proportional_gain=0.0, max_weight=1.5, num_constraints=2)
    assert history(dual, [[100.0, 1.0], [-1.0, 1.0]])[:, 0].tolist() == pytest.approx([1.5, 1.4])


def test_augmented_lagrangian():
    """tau = 0.1, a dual step at every second update, which prices anew at once."""
    dual = AugmentedLagrangian(penalty=0.1, primal_steps_per_dual_step=2, num_constraints=2)
    assert dual.weights().tolist() == [0.0, 0.0]
    found, multipliers = [], []
    for violation in VIOLATIONS:
        dual.update(violation, ONES)
        found.append(dual.weights())
        multipliers.append(dual.log()["multiplier"])
    expected_multipliers = [[0, 0], [0.05, 0.4], [0.05, 0.4], [0.35, 0.35], [0.35, 0.35]]
    expected = [[0.2, 0.0], [0.1, 0.8], [0.0, 0.5], [0.65, 0.3], [0.45, 0.0]]
    np.testing.assert_allclose(multipliers, expected_multipliers, atol=1e-12)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert dual.log()["penalty"].tolist() == [0.1]


@pytest.mark.parametrize("steps", [1, 3])
def test_augmented_lagrangian_identities(steps):
    """A dual step sets lambda to [lambda + tau v]+; then w = [lambda + tau v]+, always >= 0."""
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
        lam = lam if update > 1 else np.ones(3)
        violation = rng.normal(scale=3.0, size=3)
        dual.update(violation, np.ones(3))
        is_dual_step = update % steps == 0
        after = dual.log()["multiplier"]
        if is_dual_step:
            np.testing.assert_allclose(after, np.maximum(lam + tau * violation, 0.0))
        else:
            np.testing.assert_array_equal(after, lam)
        np.testing.assert_allclose(dual.weights(), np.maximum(after + tau * violation, 0.0))
        assert dual.log()["penalty"] == pytest.approx(tau * (1.5 if is_dual_step else 1.0))
        assert (after >= 0).all()


def test_no_dual_has_no_price():
    assert not history(NoDual(2)).any()


def test_dual_steps_are_counted_in_updates_of_the_policy():
    """An episode ends in every fourth update: the price changes then, and lambda at each fifth."""
    dual = AugmentedLagrangian(penalty=0.1, primal_steps_per_dual_step=5)
    multipliers, weights = [], []
    for update in range(1, 16):
        dual.update(np.array([2.0]) if update % 4 == 0 else None, np.ones(1))
        multipliers.append(round(dual.log()["multiplier"][0], 12))
        weights.append(round(dual.weights()[0], 12))
    assert multipliers == [0.0] * 4 + [0.2] * 5 + [0.4] * 5 + [0.6]
    assert weights == [0.0] * 3 + [0.2] + [0.4] * 4 + [0.4, 0.6] + [0.6] * 4 + [0.8]


def test_a_dual_step_needs_an_episode_since_the_last_one():
    dual = AugmentedLagrangian(penalty=0.1, primal_steps_per_dual_step=1)
    for violation in (np.array([2.0]), None, None):
        dual.update(violation, np.ones(1))
    assert dual.log()["multiplier"].tolist() == pytest.approx([0.2])


DUALS = {
    "ascent": lambda: Lagrangian(multiplier_lr=0.3, num_constraints=2),
    "adam": lambda: Lagrangian(multiplier_optimizer="adam", num_constraints=2),
    "capped": lambda: Lagrangian(max_multiplier=0.15, num_constraints=2),
    "pid": lambda: PID(num_constraints=2, max_weight=0.4, derivative_delay=2),
    "alm": lambda: AugmentedLagrangian(
        initial_multiplier=0.5, primal_steps_per_dual_step=2, penalty_growth=2.0, num_constraints=2
    ),
}


@pytest.mark.parametrize("name", DUALS)
def test_prices_are_proportional_to_their_unit(name):
    base, other = history(DUALS[name]()), history(DUALS[name](), unit=2.0**-20)
    assert base.any()
    assert (other == base * 2.0**-20).all()


@pytest.mark.parametrize("name", DUALS)
def test_a_state_goes_on_as_its_dual_would(name):
    dual, again = DUALS[name](), DUALS[name]()
    history(dual, VIOLATIONS[:3])
    again.load_state(dual.state())
    assert again.weights().tolist() == dual.weights().tolist()
    assert (history(again, VIOLATIONS[3:]) == history(dual, VIOLATIONS[3:])).all()


@pytest.mark.parametrize("num_constraints", [0, 1, 3])
@pytest.mark.parametrize(
    ("kind", "log"),
    [
        (Lagrangian, {"multiplier": 0.0}),
        (PID, {"multiplier": 0.0}),
        (AugmentedLagrangian, {"multiplier": 0.0, "penalty": 0.6}),
        (NoDual, {}),
    ],
)
def test_duals_are_complete_when_constructed(kind, log, num_constraints):
    weight = 0.0
    dual = kind(num_constraints=num_constraints)
    assert dual.weights().tolist() == [weight] * num_constraints
    assert dual.log().keys() == log.keys()
    for name, number in log.items():
        size = 1 if name == "penalty" else num_constraints
        assert dual.log()[name].tolist() == [number] * size
    dual.update(np.ones(num_constraints), np.ones(num_constraints))
    assert dual.weights().shape == (num_constraints,)
    assert kind().weights().tolist() == [weight]


@pytest.mark.parametrize("kind", [Lagrangian, PID, AugmentedLagrangian, NoDual])
def test_weights_are_copies(kind):
    dual = kind(num_constraints=2)
    dual.update(np.array([1.0, 1.0]), ONES)
    before = dual.weights().copy()
    dual.weights()[:] = 99.0
    assert dual.weights().tolist() == before.tolist()


class KeepAdvantage:
    """Replaces a primal and records the advantage it is given."""

    def improve(self, policy, batch, advantage, progress_remaining):
        self.advantage = advantage
        return {}


ADVANTAGES = torch.tensor([[1.0, 2.0, 0.0], [4.0, 1.0, 1.0], [-2.0, 0.0, 5.0]])
DEVIATIONS = ADVANTAGES.double().std(0, unbiased=False).numpy()


def updated(scaling, measured, primal):
    """Update with multipliers of 1 and a penalty of 0.5 in price units."""
    nothing = torch.empty(0)
    dual = AugmentedLagrangian(penalty=0.5, initial_multiplier=1.0, num_constraints=2)
    parts = PrimalDual(scaling, primal, dual, PriceUnits(2))
    parts.update(None, Batch(nothing, nothing, nothing, ADVANTAGES, nothing), measured, 1.0)
    return parts


# Costs 4 and 1 at limits 2 and 5 are violations of 1 and -0.8 limits.
MEASURED = Measurement(np.array([4.0, 1.0]), np.array([2.0, 5.0]), np.ones(2), 3, *np.zeros((2, 2)))
PRICES = DEVIATIONS[0] / DEVIATIONS[1:] * [1.0 + 0.5 * 1.0, 1.0 - 0.5 * 0.8]


@pytest.mark.parametrize(
    ("scaling", "scale"),
    [
        (AdvantageScaling(False), lambda a: a),
        (AdvantageScaling(False, normalize_lagrangian=True), lambda a: a / (1 + 1.5 + 0.6)),
        (AdvantageScaling(True), lambda a: (a - a.mean()) / a.std()),
        (AdvantageScaling("separate"), lambda a: (a - a.mean()) / DEVIATIONS[0]),
    ],
)
def test_advantage_of_reward_and_costs(scaling, scale):
    primal = KeepAdvantage()
    parts = updated(scaling, MEASURED, primal)
    np.testing.assert_allclose(parts.log()["weight"], PRICES)
    combined = ADVANTAGES.double().numpy() @ np.array([1.0, *-PRICES])
    np.testing.assert_allclose(primal.advantage, scale(combined), rtol=1e-6)


def test_violations_are_in_units_of_the_limit_or_of_the_cost():
    """Limits of 2, of 0, and one far below a tenth of the mean cost so far."""
    units = PriceUnits(3)
    limits = np.array([2.0, 0.0, 1e-6])
    first = units.relative(
        Measurement(np.array([3.0, 4.0, 50.0]), limits, np.ones(3), 1, *np.zeros((2, 3))), 1.0
    )
    assert first == pytest.approx([0.5, 10.0, 10.0], rel=1e-6)
    costs = np.array([1.0, 0.0, 10.0])
    then = units.relative(Measurement(costs, limits, np.ones(3), 3, *np.zeros((2, 3))), 1.0)
    assert then == pytest.approx([-0.5, 0.0, 10.0 / 2.0], rel=1e-6)  # mean costs so far: 1, 20
    free = PriceUnits(1).relative(
        Measurement(np.zeros(1), np.zeros(1), np.ones(1), 1, *np.zeros((2, 1))), 1.0
    )
    assert free.tolist() == [0.0]


def test_price_units_are_ratios_of_deviations():
    units = PriceUnits(2)
    assert not units.is_rewarded
    units.track(ADVANTAGES)
    np.testing.assert_allclose(units.price_unit(), DEVIATIONS[0] / DEVIATIONS[1:])
    other = PriceUnits(2)
    other.load_state(units.state())
    for one in (units, other):
        one.track(ADVANTAGES * 3.0)
    assert other.price_unit().tolist() == units.price_unit().tolist()
    never = PriceUnits(1)
    never.track(torch.tensor([[1.0, 2.0], [3.0, 2.0]]))
    assert never.price_unit().tolist() == [0.0]


def without_reward(dual, updates=3):
    """Update on costs alone; return the parts, what they updated last, and the last advantage."""
    primal, nothing = KeepAdvantage(), torch.empty(0)
    parts = PrimalDual(AdvantageScaling(), primal, dual, PriceUnits(2))
    advantages = ADVANTAGES * torch.tensor([0.0, 1.0, 1.0])
    for _ in range(updates):
        parts.update(None, Batch(nothing, nothing, nothing, advantages, nothing), MEASURED, 1.0)
    return parts, primal


@pytest.mark.parametrize("name", ["ascent", "adam", "pid", "alm"])
def test_without_reward_the_violated_costs_are_reduced(name):
    """Then the first rewards come, and the dual starts anew: their unit is known now."""
    parts, primal = without_reward(DUALS[name]())
    assert float(primal.advantage @ ADVANTAGES[:, 1]) < 0
    assert parts.log()["weight"][0] > 0
    nothing = torch.empty(0)
    parts.update(None, Batch(nothing, nothing, nothing, ADVANTAGES, nothing), MEASURED, 1.0)
    fresh, units = DUALS[name](), parts._units
    fresh.update(np.array([1.0, -0.8]), units.price_unit())
    np.testing.assert_allclose(parts.log()["weight"], fresh.weights())


def test_without_reward_and_dual_nothing_is_learned():
    _, primal = without_reward(NoDual(2))
    assert not primal.advantage.any()


@pytest.mark.parametrize("kind", [Lagrangian, PID, AugmentedLagrangian])
def test_refuses_what_does_not_fit_its_constraints(kind):
    for count in (-1, 2.5, "3"):
        with pytest.raises(ValueError, match="num_constraints is .*; pass a whole number >= 0"):
            kind(num_constraints=count)
    dual = kind(num_constraints=3)
    for violation in (1.0, [1.0], np.ones((3, 1)), [1.0, np.nan, 0.0]):
        with pytest.raises(ValueError, match=r"violation .*; pass an array of shape \(3,\)"):
            dual.update(violation, np.ones(3))
    assert dual.weights().shape == (3,)


@pytest.mark.parametrize("kind", [Lagrangian, AugmentedLagrangian])
def test_a_cost_that_appears_late_starts_at_its_initial_multiplier(kind):
    """A cost that has not varied has no price unit; it starts once it has one, as others did."""
    dual = kind(initial_multiplier=4.0, num_constraints=2)
    met = np.zeros(2)  # nothing moves the multipliers
    dual.update(met, np.array([0.5, 0.0]))
    assert dual.log()["multiplier"] == pytest.approx([2.0, 0.0])
    copy = kind(initial_multiplier=4.0, num_constraints=2)
    copy.load_state(dual.state())
    for one in (dual, copy):
        one.update(met, np.array([0.7, 10.0]))
        assert one.log()["multiplier"] == pytest.approx([2.0, 40.0])
        assert one.weights() == pytest.approx([2.0, 40.0])
        one.update(met, np.array([0.7, 20.0]))
        assert one.log()["multiplier"] == pytest.approx([2.0, 40.0])
