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


def test_trains_with_and_without_the_filter(tmp_path):
    arguments = FilteredLearningArguments(("PPO",), (0,), 8192, 2, tmp_path)
    printed = io.StringIO()
    rows = run(arguments, Console(file=printed, width=150))
    assert [(row.agent, row.filter, row.seeds) for row in rows] == [
        ("PPO", "no filter", 1),
        ("PPO", "filter", 1),
    ]
    written = json.loads((tmp_path / "summary.json").read_text())["rows"]
    assert written == [row._asdict() for row in rows]
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
    assert rows[0].training_cost > rows[1].training_cost == 0.0  # the filter keeps clear
    assert "cost of the training" in printed.getvalue()
