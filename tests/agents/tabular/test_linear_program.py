import itertools
from dataclasses import replace

import numpy as np
import pytest

from agents.tabular import least_cost, linear_program
from safe_envs.tabular.cliff_world import cliff_world_model
from safe_envs.tabular.deep_sea_treasure import deep_sea_treasure_model
from safe_envs.tabular.random_cmdp import random_cmdp

# Measured with an independent implementation (HiGHS, tolerance 1e-10).
KNOWN = {
    "cliff": {
        "model": cliff_world_model,
        "value": 0.5334478198893817,
        "multiplier": 0.7942769003731853,
        "unconstrained": (0.5475271808819362, 0.1927260108986422),
        "least_cost": 0.16125092633381954,
    },
    "deep sea": {
        "model": deep_sea_treasure_model,
        "value": 0.3737059555555556,
        "multiplier": 1.0022222222222221,
        "unconstrained": (0.4634, 0.34676),
        "least_cost": 0.08,
    },
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_optima(name):
    known = KNOWN[name]
    cmdp = known["model"]()
    optimum = linear_program(cmdp)
    assert optimum.value == pytest.approx(known["value"], abs=1e-9)
    assert optimum.multipliers[0] == pytest.approx(known["multiplier"], abs=1e-9)
    assert optimum.costs[0] == pytest.approx(cmdp.limits[0], abs=1e-12)
    again = cmdp.evaluate(optimum.policy)
    assert again.value == pytest.approx(known["value"], abs=1e-12)
    assert least_cost(cmdp) == pytest.approx(known["least_cost"], abs=1e-9)
    free = linear_program(known["model"](cost_limits=10.0))
    value, cost = known["unconstrained"]
    assert (free.value, free.costs[0]) == pytest.approx((value, cost), abs=1e-9)
    assert free.multipliers[0] == 0.0


def test_cliff_optimum_randomizes_in_one_state():
    policy = linear_program(cliff_world_model()).policy
    stochastic = np.flatnonzero((policy > 1e-9).sum(axis=1) > 1)
    assert 5 in stochastic
    np.testing.assert_allclose(policy[5], [0.0, 0.1913, 0.0, 0.8087], atol=1e-4)


@pytest.mark.parametrize("limit", [0.17, 0.18])
def test_other_limits_of_the_cliff(limit):
    value, multiplier = {
        0.17: (0.5288051138, 1.4156370364),
        0.18: (0.5374192044, 0.7942769004),
    }[limit]
    optimum = linear_program(cliff_world_model(cost_limits=limit))
    assert (optimum.value, optimum.multipliers[0]) == pytest.approx((value, multiplier), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_strong_duality_over_all_deterministic_policies(seed):
    """min_lambda max_pi is reached at deterministic policies: enumerate all 2^6 of them."""
    cmdp = random_cmdp(6, 2, constraints=2, seed=seed)
    optimum = linear_program(cmdp)
    lagrangian = -np.inf
    for actions in itertools.product(range(2), repeat=6):
        evaluation = cmdp.evaluate(np.eye(2)[list(actions)])
        slack = cmdp.limits - evaluation.costs
        lagrangian = max(lagrangian, evaluation.value + optimum.multipliers @ slack)
    assert lagrangian == pytest.approx(optimum.value, abs=1e-8)
    assert (optimum.costs <= cmdp.limits + 1e-9).all()
    assert optimum.multipliers @ (cmdp.limits - optimum.costs) == pytest.approx(0.0, abs=1e-8)


def test_multiplier_is_the_price_of_the_limit():
    cmdp = random_cmdp(20, 3, constraints=2, seed=1)
    multipliers = linear_program(cmdp).multipliers
    for i, step in itertools.product(range(2), (1e-5, -1e-5)):
        moved = replace(cmdp, limits=cmdp.limits + step * np.eye(2)[i])
        slope = (linear_program(moved).value - linear_program(cmdp).value) / step
        assert slope == pytest.approx(multipliers[i], abs=1e-5)


def test_infeasible_limits_are_named():
    with pytest.raises(ValueError, match=r"no policy meets the limits \[0.1\].*\[0.161251\]"):
        linear_program(cliff_world_model(cost_limits=0.1))
