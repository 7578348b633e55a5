"""The experiment's sums of cost against a log written by hand, and a short run of it."""

import io
import json

import pytest

from safe_envs.contract.vector_env import AutoresetMode

for package in ("tyro", "rich", "matplotlib", "torch"):
    pytest.importorskip(package)
if AutoresetMode is None:
    pytest.skip("native vector environments need Gymnasium 1.1", allow_module_level=True)

from rich.console import Console  # noqa: E402

from baselines.experiments.learning_behind_a_filter import (  # noqa: E402
    FilteredLearningArguments,
    filtered_double_integrator,
    run,
    training_cost,
)


def test_the_cost_of_a_training_is_that_of_all_its_episodes(tmp_path):
    log = tmp_path / "progress.csv"
    log.write_text(
        "time/total_timesteps,constraint/episodes,constraint/violation\n"
        "100,,\n"
        "200,4,1.5\n"
        "300,2,-0.5\n"
        "2000,1,9.5\n"
    )
    found = training_cost(log, limit=0.5)
    assert found.episodes == 7
    assert found.total == 4 * 2.0 + 2 * 0.0 + 1 * 10.0
    assert found.early == 4 * 2.0  # of the first 200 of 2,000 steps


def test_trains_without_protection_behind_the_filter_and_with_a_head(tmp_path):
    arguments = FilteredLearningArguments("quadrotor", ("PPO",), (0,), 8192, 2, tmp_path)
    printed = io.StringIO()
    rows = run(arguments, Console(file=printed, width=160))
    assert [(row.agent, row.filter, row.seeds) for row in rows] == [
        ("PPO", "no filter", 1),
        ("PPO", "filter", 1),
        ("PPO", "head", 1),
    ]
    folder = tmp_path / "quadrotor"
    written = json.loads((folder / "summary.json").read_text())["rows"]
    assert written == [row._asdict() for row in rows]
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")
    free, filtered, head = rows
    assert free.training_cost > filtered.training_cost == head.training_cost == 0.0
    assert free.repair_rate is None
    assert head.repair_rate > 0.01
    assert "cost of the training" in printed.getvalue()


def test_the_filtered_double_integrator_stays_in_its_box():
    env = filtered_double_integrator(per_constraint=True)
    env.reset(options={"state": [14.0, 1.35]})
    assert env.unwrapped.constraints[0].name == "position_high"
    for _ in range(20):
        info = env.step([1.0])[4]
        assert info["cost"] == 0.0
