"""The surrogate of mirror ascent against the tabular step it stands for."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar

from agents.primal.spma import bounded_advantage, mirror_loss


def loss_at(x, advantage, step_size):
    return float(
        mirror_loss(
            torch.tensor([x], dtype=torch.float64),
            torch.tensor([advantage], dtype=torch.float64),
            step_size,
        )
    )


@pytest.mark.parametrize("step_size", [0.1, 0.7])
@pytest.mark.parametrize("advantage", [-1.3, -0.2, 0.0, 0.5, 4.0])
def test_minimizer_of_one_sample(advantage, step_size):
    found = minimize_scalar(
        lambda x: loss_at(x, advantage, step_size), bounds=(-6, 6), options={"xatol": 1e-9}
    )
    assert found.x == pytest.approx(np.log(1 + step_size * advantage), abs=1e-5)


def test_minimizer_over_a_softmax_is_the_tabular_step():
    """pi = pi_old (1 + eta A), for advantages of mean 0 under pi_old."""
    rng = np.random.default_rng(0)
    old = rng.dirichlet(np.ones(4))
    advantage = rng.normal(size=4)
    advantage -= old @ advantage
    step_size = 0.5 / np.abs(advantage).max()
    weights, adv = torch.tensor(old), torch.tensor(advantage)

    def objective(logits):
        logits = torch.tensor(logits, requires_grad=True)
        log_ratio = torch.log_softmax(logits, 0) - weights.log()
        loss = weights @ mirror_loss(log_ratio, adv, step_size)
        loss.backward()
        return loss.item(), logits.grad.numpy()

    found = minimize(objective, np.log(old), jac=True, tol=1e-12)
    policy = np.exp(found.x) / np.exp(found.x).sum()
    np.testing.assert_allclose(policy, old * (1 + step_size * advantage), atol=1e-6)


def test_without_the_bound_the_loss_falls_for_ever():
    step_size, advantage = 0.7, -2.0  # 1 + eta A = -0.4
    raw = [loss_at(x, advantage, step_size) for x in (-1.0, -10.0, -100.0, -1000.0)]
    assert np.all(np.diff(raw) < 0)
    assert raw[-1] == pytest.approx((1 + step_size * advantage) / step_size * 1000, rel=0.01)


def test_with_the_bound_the_loss_has_a_minimum():
    step_size = 0.7
    given = torch.tensor([-2.0, -1.0, 3.0], dtype=torch.float64)
    bounded = bounded_advantage(given, step_size)
    assert bounded.tolist() == pytest.approx([-0.999 / 0.7, -1.0, 3.0])
    held = float(bounded[0])
    found = minimize_scalar(
        lambda x: loss_at(x, held, step_size), bounds=(-30, 5), options={"xatol": 1e-9}
    )
    assert found.x == pytest.approx(np.log(1e-3), abs=1e-4)
    assert loss_at(-100.0, held, step_size) > found.fun


def test_first_step_is_the_policy_gradient():
    """At pi = pi_old the surrogate's slope is -A whatever the step size."""
    advantage = torch.tensor([-2.0, 0.3, 1.0])
    for step_size in (0.01, 0.9):
        x = torch.zeros(3, requires_grad=True)
        mirror_loss(x, advantage, step_size).sum().backward()
        torch.testing.assert_close(x.grad, -advantage)
