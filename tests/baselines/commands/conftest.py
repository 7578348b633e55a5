"""Small runs that the commands after training show."""

import pytest
from rich.console import Console

from baselines.commands.train import TrainOptions, train
from baselines.jobs.job import job_folder
from baselines.jobs.solver_job import SolverJob
from baselines.names.agents import default_hyperparameters
from baselines.names.environments import EnvironmentName

SEA = "Safe/DeepSeaTreasure-v0"


@pytest.fixture(scope="session")
def sea(tmp_path_factory):
    """A folder like that of a comparison: PPOLag with two seeds, and a solver."""
    out = tmp_path_factory.mktemp("sea")
    name = EnvironmentName(SEA)
    for seed in (0, 1):
        folder = out / name.slug / "PPOLag" / f"seed_{seed}"
        options = TrainOptions("PPOLag", SEA, folder, 3072, seed, ("n_steps=8",), 3)
        assert train(options, Console(quiet=True)) == 0
    solver = SolverJob(name, "pqa_alm", 0, 60, default_hyperparameters("pqa_alm"))
    solver.run(job_folder(out, solver), "")
    return out
