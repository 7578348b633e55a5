"""Tails of costs against hand-computed values, an optimum, and a printed table."""

import numpy as np
import pytest

from agents.cost_tails import cost_tails

# Constraint violations (mean, worst, P90, P95) over 5 seeds, table 3 of the ALM paper.
TABLE_3 = [
    (-11.26, -4.00, -5.96, -4.98),
    (6.18, 68.60, 41.64, 55.12),
    (3.94, 50.10, 29.10, 39.60),
    (-2.68, 7.20, 4.44, 5.82),
    (-0.74, 1.90, 1.62, 1.76),
    (-6.06, -2.70, -3.22, -2.96),
    (2.40, 12.70, 11.62, 12.16),
    (-7.06, -3.80, -4.16, -3.98),
    (-9.92, -2.90, -4.90, -3.90),
    (-4.96, -2.30, -2.46, -2.38),
    (-7.74, -3.20, -3.64, -3.42),
    (-6.56, 7.70, 3.62, 5.66),
]


@pytest.mark.parametrize("row", TABLE_3)
def test_published_tails_are_percentiles_of_five_seed_means(row):
    """From worst and P90 of a row follow the fourth seed and the row's P95.

    With five values P90 = .4 x_4 + .6 x_5 and P95 = .2 x_4 + .8 x_5; hence the identity of their
    differences. The other three seeds are free but for the mean.
    """
    mean, worst, p90, p95 = row
    assert worst - p95 == pytest.approx(p95 - p90, abs=1e-9)
    fourth = (p90 - 0.6 * worst) / 0.4
    others = (5 * mean - worst - fourth) / 3
    spread = min(1.0, fourth - others) / 2
    seeds = np.array([worst, others - spread, fourth, others, others + spread])
    assert others + spread <= fourth
    tails = cost_tails(seeds)
    expected = (mean, worst, p90, p95, worst)  # the worst tenth of five is the worst
    found = (tails.mean, tails.worst, tails.p90, tails.p95, tails.cvar)
    assert found == pytest.approx(expected, abs=5e-3)


def test_cvar_by_hand_with_a_fractional_weight():
    tails = cost_tails(np.arange(1.0, 26.0).reshape(5, 5))  # the worst 2.5 of 25
    assert tails.cvar == pytest.approx((25 + 24 + 0.5 * 23) / 2.5)
    assert cost_tails(np.arange(20.0)).cvar == pytest.approx(18.5)
    assert cost_tails(np.arange(20.0), cvar_level=0.0).cvar == pytest.approx(9.5)


@pytest.mark.parametrize(("size", "level"), [(7, 0.5), (23, 0.9), (50, 0.95), (50, 0.33)])
def test_cvar_is_the_minimum_of_rockafellar_and_uryasev(size, level):
    """CVaR = min over eta of eta + E[max(cost - eta, 0)] / (1 - a), attained at a cost."""
    costs = np.random.default_rng(size).exponential(30.0, size=size)
    objective = [e + np.maximum(costs - e, 0.0).mean() / (1.0 - level) for e in costs]
    assert cost_tails(costs, cvar_level=level).cvar == pytest.approx(min(objective))


def test_seed_means_hide_the_tail_of_the_episodes():
    costs = np.array([[0.0, 50.0], [20.0, 30.0], [25.0, 25.0]])
    assert cost_tails(costs.mean(axis=1)).worst == 25.0
    assert cost_tails(costs).worst == 50.0
    assert cost_tails(costs).mean == cost_tails(costs.mean(axis=1)).mean


def test_a_level_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"cvar_level is 1.0; it must be in \[0, 1\)"):
        cost_tails(np.zeros(3), cvar_level=1.0)
