"""Identities of the augmented-Lagrangian paper (arXiv 2605.11694), in cost form."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from agents.tabular.augmented_lagrangian import (
    augmented_lagrangian,
    augmented_lagrangian_gain,
    constraint_prices,
)
from agents.tabular.simplex import project_rows_to_simplex
from agents.tabular.solver_trace import random_policy
from safe_envs.tabular.cliff_world import cliff_world_model
from safe_envs.tabular.deep_sea_treasure import deep_sea_treasure_model
from safe_envs.tabular.random_cmdp import random_cmdp

MODELS = {
    "cliff": lambda: cliff_world_model(per_constraint=True),
    "deep sea": deep_sea_treasure_model,
    "random": lambda: random_cmdp(15, 3, constraints=3, seed=0),
}


def instances(model, count=20):
    """A CMDP with random policies, multipliers and penalties, on both sides of every limit."""
    cmdp = MODELS[model]()
    rng = np.random.default_rng(1)
    for seed in range(count):
        multipliers = rng.exponential(size=cmdp.num_constraints) * rng.integers(0, 2)
        yield cmdp, random_policy(cmdp, seed), multipliers, float(rng.choice([0.1, 1, 10, 100]))


@pytest.mark.parametrize("model", MODELS)
def test_slack_variables_are_eliminated(model):
    """Lemma 6: the maximum over s >= 0 of the problem with slack, found by brute force."""
    for cmdp, policy, multipliers, penalty in instances(model):
        evaluation = cmdp.evaluate(policy)
        total = evaluation.value
        for slack, multiplier in zip(cmdp.limits - evaluation.costs, multipliers, strict=True):

            def lowered(s, slack=slack, multiplier=multiplier, penalty=penalty):
                return -(multiplier * (slack - s) - 0.5 * penalty * (slack - s) ** 2)

            bound = abs(slack) + multiplier / penalty + 1.0
            best = minimize_scalar(
                lowered, bounds=(0, bound), method="bounded", options={"xatol": 1e-12}
            )
            total -= min(best.fun, lowered(0.0))
        ours = augmented_lagrangian(evaluation, cmdp.limits, multipliers, penalty)
        assert ours == pytest.approx(total, abs=1e-8)


@pytest.mark.parametrize("model", MODELS)
def test_dual_step_with_slack_equals_the_projected_one(model):
    """Equation 4: lambda + tau (V_c - limit + s) at the best slack s."""
    for cmdp, policy, multipliers, penalty in instances(model):
        violation = cmdp.evaluate(policy).costs - cmdp.limits
        slack = np.maximum(0.0, -violation - multipliers / penalty)
        prices = constraint_prices(violation + cmdp.limits, cmdp.limits, multipliers, penalty)
        np.testing.assert_allclose(
            prices, multipliers + penalty * (violation + slack), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("model", MODELS)
def test_gradient_is_occupancy_times_priced_q(model):
    """Equation 6 against central differences along directions that stay on the simplex."""
    for cmdp, policy, multipliers, penalty in instances(model):
        direction = random_policy(cmdp, 99) - policy
        evaluation = cmdp.evaluate(policy)
        prices = constraint_prices(evaluation.costs, cmdp.limits, multipliers, penalty)
        slope = evaluation.state_occupancy @ (evaluation.priced_q(prices) * direction).sum(axis=1)
        up, down = (
            augmented_lagrangian(
                cmdp.evaluate(policy + step * direction), cmdp.limits, multipliers, penalty
            )
            for step in (1e-6, -1e-6)
        )
        assert slope == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-6)


def test_tends_to_the_lagrangian_without_penalty():
    cmdp = MODELS["random"]()
    evaluation = cmdp.evaluate(random_policy(cmdp, 0))
    multipliers = np.array([0.5, 1.0, 2.0])
    lagrangian = evaluation.value - multipliers @ (evaluation.costs - cmdp.limits)
    errors = [
        abs(augmented_lagrangian(evaluation, cmdp.limits, multipliers, tau) - lagrangian)
        for tau in (1e-1, 1e-2, 1e-3)
    ]
    assert errors[1] == pytest.approx(errors[0] / 10, rel=1e-3)
    assert errors[2] == pytest.approx(errors[0] / 100, rel=1e-3)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("length", [1.0, 1e-3])
def test_gain_is_the_difference_of_two_evaluations(model, length):
    for cmdp, policy, multipliers, penalty in instances(model):
        other = policy + length * (random_policy(cmdp, 77) - policy)
        before, after = cmdp.evaluate(policy), cmdp.evaluate(other)
        arguments = (cmdp.limits, multipliers, penalty)
        difference = augmented_lagrangian(after, *arguments) - augmented_lagrangian(
            before, *arguments
        )
        gain = augmented_lagrangian_gain(before, after, other - policy, *arguments)
        assert gain == pytest.approx(difference, rel=1e-9, abs=1e-11)


def exact_augmented_lagrangian(policy, multiplier, penalty):
    """L of a two-state problem in rational numbers: no rounding at all.

    State 0: action 0 stays, pays 1 and costs 1; action 1 goes to the absorbing state 1 and pays
    4. Discount 1/2, limit 1/4, start in state 0, so with p the probability of action 0
    V_r = (p + 4 (1 - p)) / (1 - p / 2) and V_c = p / (1 - p / 2).
    """
    p = Fraction(policy)
    value = (p + 4 * (1 - p)) / (1 - p / 2)
    price = max(Fraction(0), multiplier + penalty * (p / (1 - p / 2) - Fraction(1, 4)))
    return value - (price**2 - multiplier**2) / (2 * penalty)


@pytest.mark.parametrize("exponent", [6, 9, 12])
def test_gain_keeps_its_digits_where_differences_lose_theirs(exponent):
    from safe_envs import TabularCMDP

    cmdp = TabularCMDP(
        P=np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]),
        reward=np.array([[1.0, 4.0], [0.0, 0.0]]),
        costs=np.array([[[1.0, 0.0], [0.0, 0.0]]]),
        initial=np.array([1.0, 0.0]),
        discount=0.5,
        limits=np.array([0.25]),
    )
    p, step = 0.25, 2.0**-exponent * 1e-3
    before = cmdp.evaluate(np.array([[p, 1 - p], [1.0, 0.0]]))
    after = cmdp.evaluate(np.array([[p + step, 1 - p - step], [1.0, 0.0]]))
    move = np.array([[step, -step], [0.0, 0.0]])
    gain = augmented_lagrangian_gain(before, after, move, cmdp.limits, np.array([2.0]), 3.0)
    exact = exact_augmented_lagrangian(
        Fraction(p) + Fraction(step), Fraction(2), Fraction(3)
    ) - exact_augmented_lagrangian(p, Fraction(2), Fraction(3))
    assert gain == pytest.approx(float(exact), rel=1e-9)


def test_spma_loss_is_least_at_one_plus_step_times_advantage():
    """E_{a ~ pi}[-x A + (e^x - 1 - x) / eta] over distributions; numerical minimization."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        policy = rng.dirichlet(np.ones(4))
        q = rng.normal(size=4)
        advantage = q - policy @ q
        step_size = 0.2

        def loss(logits, policy=policy, advantage=advantage, step_size=step_size):
            new = np.exp(logits - logits.max())
            x = np.log(new / new.sum()) - np.log(policy)
            return policy @ (-x * advantage + (np.exp(x) - 1.0 - x) / step_size)

        best = minimize(loss, np.log(policy), method="BFGS", options={"gtol": 1e-9}).x
        new = np.exp(best) / np.exp(best).sum()
        np.testing.assert_allclose(new, policy * (1.0 + step_size * advantage), atol=1e-6)


def test_projection_is_the_nearest_point_of_the_simplex():
    """The optimality conditions of the projection: a threshold per row, exact on the support."""
    rng = np.random.default_rng(0)
    points = rng.normal(scale=rng.choice([0.01, 1.0, 100.0], size=(300, 1)), size=(300, 5))
    projected = project_rows_to_simplex(points)
    np.testing.assert_allclose(projected.sum(axis=1), 1.0, atol=1e-12)
    assert (projected >= 0).all()
    for x, p in zip(points, projected, strict=True):
        thresholds = (x - p)[p > 0]
        np.testing.assert_allclose(thresholds, thresholds[0], atol=1e-12)
        assert (x[p == 0] <= thresholds[0] + 1e-12).all()
