"""DC optimal power flow against pypower's own solution."""

import importlib

import numpy as np
import pytest

from agents.constraint_layers.reference_optima import convex_optima
from baselines.experiments.layers.power_flow import NETWORKS, dc_power_flow

pytest.importorskip("pypower")


@pytest.mark.parametrize("buses", NETWORKS)
def test_the_optimum_at_the_network_s_own_loads_is_pypower_s(buses):
    case = getattr(importlib.import_module(f"pypower.case{buses}"), f"case{buses}")()
    options = importlib.import_module("pypower.ppoption").ppoption(VERBOSE=0, OUT_ALL=0)
    found = importlib.import_module("pypower.rundcopf").rundcopf(case, options)
    family = dc_power_flow(buses)
    constant = sum(row[4 + int(row[3]) - 1] for row in case["gencost"])
    outputs = convex_optima(family, case["bus"][None, :, 2] / case["baseMVA"])
    assert family.objective(outputs)[0] + constant == pytest.approx(found["f"], rel=1e-8)
    by_bus = np.argsort(found["gen"][:, 0], kind="stable")
    powers = found["gen"][by_bus, 1] / case["baseMVA"]
    assert outputs[0, : len(powers)] == pytest.approx(powers, abs=1e-3)


def test_loads_are_the_network_s_own_times_a_factor():
    case = importlib.import_module("pypower.case39").case39()
    family = dc_power_flow(39, seed=3)
    loads = case["bus"][:, 2] / case["baseMVA"]
    factors = family.instances[:, loads > 0.0] / loads[loads > 0.0]
    assert factors.min() >= 0.7 - 1e-12
    assert factors.max() <= 1.1 + 1e-12
    assert not family.instances[:, loads == 0.0].any()
    assert np.array_equal(family.instances, dc_power_flow(39, seed=3).instances)


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="buses is 31"):
        dc_power_flow(31)
