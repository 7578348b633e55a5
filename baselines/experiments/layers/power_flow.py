"""DC optimal power flow as a family of programs: which generators serve the loads at least cost.

    minimize    sum_g  a_g p_g^2 + c_g p_g                 [$/h], y = (p, theta)
    subject to  p at each bus - sum of flows = load        equalities, x = loads
                |flow of each line| <= its rating,  p_low <= p <= p_high

p are generated powers and x loads, in units of the network's base (100 MW), theta the angles of all
buses but the reference [rad]; flows are linear in theta. An instance has every load multiplied by a
factor of its own, uniform in [0.7, 1.1]. Networks come with the package pypower (BSD), as does
the direct-current approximation (Wood and Wollenberg, "Power generation, operation and control").
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from safe_envs.control.quadratic_families import NUM_INSTANCES, QuadraticFamily

NETWORKS = (9, 14, 30, 39, 57, 118)  # buses of pypower's cases with quadratic costs
LOADS = (0.7, 1.1)  # factors on the network's own
# Columns of pypower's tables.
BUS_NUMBER, BUS_TYPE, LOAD = 0, 1, 2
REFERENCE = 3  # the type
GENERATOR_BUS, HIGHEST, LOWEST = 0, 8, 9
RATING = 5
MODEL, COEFFICIENTS, FIRST = 0, 3, 4
POLYNOMIAL = 2


def dc_power_flow(buses: int = 39, seed: int = 0) -> QuadraticFamily:
    """Return the family of one network.

    Args:
        buses: of the network.
        seed: of the loads.

    Raises:
        ImportError: if pypower is missing.
        ValueError: for another number of buses.
    """
    if buses not in NETWORKS:
        raise ValueError(f"buses is {buses}; pass one of {', '.join(map(str, NETWORKS))}")
    case, network = _network(buses)
    base = float(case["baseMVA"])
    generators, costs = case["gen"], case["gencost"]
    bus_matrix, flow_matrix, injected, shifted = network
    angles = np.flatnonzero(case["bus"][:, BUS_TYPE] != REFERENCE)
    count, free = len(generators), len(angles)
    places = np.searchsorted(case["bus"][:, BUS_NUMBER], generators[:, GENERATOR_BUS])
    at_bus = np.zeros((len(case["bus"]), count))
    at_bus[places, np.arange(count)] = 1.0
    equalities = np.hstack([at_bus, -bus_matrix[:, angles]])
    rated = np.flatnonzero(case["branch"][:, RATING] > 0.0)
    flows = np.hstack([np.zeros((len(rated), count)), flow_matrix[rated][:, angles]])
    ratings = case["branch"][rated, RATING] / base
    powers = np.hstack([np.eye(count), np.zeros((count, free))])
    rows = [flows, -flows, powers, -powers]
    bounds = [ratings - shifted[rated], ratings + shifted[rated]]
    bounds += [generators[:, HIGHEST] / base, -generators[:, LOWEST] / base]
    square, linear = _costs(costs)
    nothing = np.zeros(free)
    factors = np.random.default_rng(seed).uniform(*LOADS, (NUM_INSTANCES, len(case["bus"])))
    loads = factors * case["bus"][:, LOAD] / base + injected
    return QuadraticFamily(
        curvature=np.concatenate([2.0 * square * base**2, nothing]),
        slope=np.concatenate([linear * base, nothing]),
        sine=False,
        equalities=equalities,
        inequalities=np.vstack(rows),
        bounds=np.concatenate(bounds),
        instances=loads,
    )


def _network(buses: int) -> tuple[dict[str, Any], tuple[np.ndarray, ...]]:
    """Return pypower's tables with buses numbered in order, and the matrices of the flows."""
    try:
        module: Any = importlib.import_module(f"pypower.case{buses}")
        flows: Any = importlib.import_module("pypower.makeBdc")
        numbering: Any = importlib.import_module("pypower.ext2int")
    except ModuleNotFoundError as error:
        raise ImportError("the power networks need pypower: pip install pypower") from error
    case = numbering.ext2int(getattr(module, f"case{buses}")())
    bus, line, injected, shifted = flows.makeBdc(case["baseMVA"], case["bus"], case["branch"])
    return case, (bus.toarray(), line.toarray(), np.asarray(injected), np.asarray(shifted))


def _costs(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients of p^2 and p, in $/h and MW."""
    if (table[:, MODEL] != POLYNOMIAL).any() or (table[:, COEFFICIENTS] > 3).any():
        raise ValueError("the network has costs that are not quadratic; choose another")
    square, linear = np.zeros(len(table)), np.zeros(len(table))
    for place, row in enumerate(table):
        size = int(row[COEFFICIENTS])
        terms = row[FIRST : FIRST + size]
        square[place] = terms[-3] if size > 2 else 0.0
        linear[place] = terms[-2] if size > 1 else 0.0
    return square, linear
