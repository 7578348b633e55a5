"""The comparison of filters on a few short flights, and its interval against SciPy's."""

import json

import numpy as np
import pytest

from safe_envs.contract.vector_env import AutoresetMode

for package in ("tyro", "rich", "matplotlib"):
    pytest.importorskip(package)
if AutoresetMode is None:
    pytest.skip("native vector environments need Gymnasium 1.1", allow_module_level=True)

from rich.console import Console  # noqa: E402

from baselines.experiments import curvature_guided_filter as experiment  # noqa: E402
from baselines.experiments.quadrotor.flights import (  # noqa: E402
    FILTERS,
    NAMES,
    VALUE_OPTIMAL,
    fly,
)


def test_flies_and_writes_everything(tmp_path):
    arguments = experiment.CurvatureFilterArguments(scenarios=2, steps=35, out=tmp_path / "out")
    console = Console(width=160, record=True, file=(tmp_path / "log").open("w"))
    results = experiment.run(arguments, console)
    console.file.close()
    assert json.loads((arguments.out / "results.json").read_text()) == json.loads(
        json.dumps(results)
    )
    lines = (arguments.out / "flights.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 7 * 2
    assert lines[0].startswith("scene,filter,scenario,returns,rmse,clearance")
    for figure in (1, 2, 3):
        assert (arguments.out / f"figure_{figure}.png").read_bytes().startswith(b"\x89PNG")
    for scene in ("spheres", "column"):
        assert tuple(results[scene]["filters"]) == (*NAMES, VALUE_OPTIMAL.name)
        lost = {name: row.get("value_lost") for name, row in results[scene]["filters"].items()}
        assert lost[VALUE_OPTIMAL.name] < lost["order 3, lqr"]  # no safe action has more value
        assert results[scene]["filters"]["order 3, lqr"]["filter_time_p50"] > 0.0
    assert "order 3: the LQR metric gains return" in console.export_text()


def test_flights_are_paired_and_repeatable():
    flights = [fly("spheres", chosen, 4, 7, 0.03, 20) for chosen in (None, FILTERS[3], FILTERS[3])]
    for name in ("returns", "rmse", "clearance"):
        once, again = (flight._asdict()[name] for flight in flights[1:])
        assert np.array_equal(once, again)
    first = [flight.path[0] for flight in flights]
    np.testing.assert_allclose(first[0], first[1], atol=1e-3)


def test_model_predictive_control_flies_behind_the_filter():
    short = ("spheres", FILTERS[3], 2, 7, 0.03, 60)
    geometric, planned = fly(*short), fly(*short, nominal="mpc")
    assert not planned.violation.any()
    assert not planned.ended_early.any()
    np.testing.assert_allclose(planned.path, geometric.path, atol=0.1)
    assert not np.array_equal(planned.path, geometric.path)
