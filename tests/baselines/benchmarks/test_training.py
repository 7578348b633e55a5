"""What the benchmark of training counts, and what its tables hold."""

import io
import json
import sys

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from baselines.benchmarks import training
from baselines.benchmarks.training_speed import floor, learners, minibatches
from baselines.benchmarks.training_speed.floor import Floor, NetworkArithmetic
from baselines.benchmarks.training_speed.settings import Spent, TrainingSetting, fastest

TINY = TrainingSetting("Hopper", 32, 2, 16, num_envs=2, updates=1)


def printed(table):
    console = Console(file=io.StringIO(), width=140)
    console.print(table)
    lines = [line.strip("│┃ ") for line in console.file.getvalue().splitlines()]
    return [[cell.strip() for cell in line.split("│")] for line in lines if "│" in line]


def test_arithmetic_is_that_of_a_linear_chain():
    """Against autograd, with tanh where its argument is so small that it is the identity."""
    count, widths, rows = 2, (5, 4, 4, 3), 7
    arithmetic = NetworkArithmetic(count, widths, rows)
    arithmetic.layers[0] *= 1e-4
    chain = [nn.Parameter(torch.as_tensor(weight)) for weight in arithmetic.weights]
    inputs = torch.as_tensor(arithmetic.layers[0])
    error = torch.as_tensor(arithmetic.errors[-1])
    outputs = inputs @ chain[0] @ chain[1] @ chain[2]
    (outputs * error).sum().backward()
    arithmetic.run()
    assert np.allclose(arithmetic.layers[-1], outputs.detach(), rtol=1e-4, atol=1e-12)
    for gradient, weight in zip(arithmetic.gradients, chain, strict=True):
        assert np.allclose(gradient, weight.grad, rtol=1e-4, atol=1e-12)


def test_floor_counts_the_minibatches_of_a_step(monkeypatch):
    monkeypatch.setattr(NetworkArithmetic, "seconds", lambda networks: 3e-5)
    monkeypatch.setattr(floor, "physics_seconds", lambda robot: 6e-5)
    setting = TrainingSetting("Hopper", 2_048, 40, 64)
    minibatches_of_update = 40 * 2_048 // 64
    assert setting.minibatches_per_step == minibatches_of_update / 2_048
    found = floor.floor_of(setting)
    assert found == Floor(6e-5, pytest.approx(3e-5 * minibatches_of_update / 2_048))
    assert found.total == found.physics + found.arithmetic


def test_learners_of_this_process_take_the_steps_of_a_setting():
    for learner in (
        lambda: learners.train_ours("PPOLag", "numpy", TINY),
        lambda: learners.train_ours_in_parts("PPO", "numpy", TINY._replace(updates=2)),
        lambda: learners.train_sb3(TINY),
    ):
        spent = learner()
        assert spent.steps in (32, 64)
        assert min(spent.rollout, spent.update) > 0
        assert spent.stepping <= spent.rollout
        assert spent.total == pytest.approx(spent.rollout + spent.update)


def test_a_peer_gets_the_setting_and_reports_its_times(monkeypatch, tmp_path):
    times = {"total": 3.0, "update": 1.0, "steps": 32}
    for script in ("sbx_speed.py", "omnisafe_speed.py"):
        text = (
            f"import sys; assert sys.argv[2:6] == '32 1 2 16'.split(); print({json.dumps(times)!r})"
        )
        (tmp_path / script).write_text(text)
    monkeypatch.setattr(learners, "PEERS", tmp_path)
    for train in (learners.train_sbx, learners.train_omnisafe):
        assert train(sys.executable, TINY) == Spent(0.0, 2.0, 1.0, 32)
        with pytest.raises(RuntimeError, match=r"could not run .*_speed.py"):
            train(sys.executable, TINY._replace(steps=33))


def test_a_setting_has_a_table_with_a_row_for_every_learner_and_the_floor():
    assert fastest([Spent(1, 1, 3, 1), Spent(1, 1, 2, 1)]).update == 2
    spent = {"peer": Spent(0, 1e-3, 3e-3, 10), "ours": Spent(0, 1e-3, 1e-3, 10)}
    rows = printed(training.peer_table(TINY, spent, Floor(6e-5, 4e-5)))
    assert rows == [
        ["peer", "100", "300", "400", "2.00x", "3.00x", "4.00x"],
        ["ours", "100", "100", "200", "1.00x", "1.00x", "2.00x"],
        ["floor: physics, arithmetic", "60", "40", "100", "", "", "1.00x"],
    ]


def test_gradient_steps_are_measured_for_every_shape(monkeypatch):
    monkeypatch.setattr(minibatches, "SAMPLES", 12)
    shapes = (minibatches.MinibatchShape(8, 1, 8), minibatches.MinibatchShape(4, 3, 4))
    rows = printed(training.minibatch_table("SPMALag", shapes, repeats=1))
    assert [row[:3] for row in rows] == [["8", "1", "8"], ["4", "3", "4"]]
    assert all(float(cell) > 0 for row in rows for cell in row[3:6])
    assert len(minibatches.SHAPES) == len(set(minibatches.SHAPES)) == 2 * 3 * 3
