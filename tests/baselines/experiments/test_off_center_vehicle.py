"""The comparison of metrics on other vehicles, on a small scale."""

import json

import numpy as np
import pytest
from rich.console import Console

from baselines.experiments.off_center_vehicle import (
    FLYERS,
    OffCenterArguments,
    compared,
    loss_saved_by_algebra,
    off_center,
    run,
)
from baselines.experiments.quadrotor.flights import Flights
from safe_envs.quadrotor.vehicle import CRAZYFLIE


def test_off_center_masses_are_shares_of_the_rotors_distance():
    moved = off_center(CRAZYFLIE, 0.4, 0.2)
    assert moved.rotor_x == pytest.approx(np.array(CRAZYFLIE.rotor_x) - 0.4 * 0.0397 / 2**0.5)
    assert moved.rotor_y == pytest.approx(np.array(CRAZYFLIE.rotor_y) - 0.2 * 0.0397 / 2**0.5)
    assert loss_saved_by_algebra(CRAZYFLIE) == pytest.approx(0.0, abs=1e-12)
    assert loss_saved_by_algebra(moved) == pytest.approx(0.0647, abs=1e-4)


def test_gains_by_hand():
    zeros = np.zeros(3)

    def flights(returns, ended):
        early = np.array(ended)
        return Flights(np.array(returns), zeros, zeros + 0.1, zeros, zeros, zeros, early, zeros)

    euclidean = flights([-5.0, -6.0, -90.0], [False, False, True])
    figures = compared(euclidean, flights([-4.0, -5.5, -7.0], [False] * 3))
    assert figures["gain"] == pytest.approx((1.0 + 0.5 + 83.0) / 3)
    assert figures["gain_to_the_end"] == pytest.approx(0.75)
    assert figures["pairs_to_the_end"] == 2
    assert figures["wins"] == 1.0
    assert "gain_to_the_end" not in compared(euclidean, flights([0.0] * 3, [True] * 3))


def test_only_an_off_center_mass_tells_the_metrics_apart_at_order_2(tmp_path):
    chosen = tuple(FLYERS)[:2]
    arguments = OffCenterArguments(
        scenarios=3, scenes=("spheres",), vehicles=chosen, steps=80, out=tmp_path
    )
    run(arguments, Console(quiet=True))
    results = json.loads((tmp_path / "results.json").read_text())
    centered, moved = (results["spheres"][name]["2"] for name in chosen)
    assert centered["largest_difference"] < 1e-3 < 0.01 < moved["largest_difference"]
    assert results["spheres"][chosen[0]]["3"]["largest_difference"] > 0.01
    with pytest.raises(ValueError, match=r"unknown vehicles \['bee'\]; pass any of crazyflie"):
        run(OffCenterArguments(vehicles=("bee",), out=tmp_path), Console(quiet=True))
