"""Diagnostics of trainings with constraint layers: they change nothing, and show the collapse."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.constraint_layers.layers import RepairLayer
from baselines.diagnostics.doctor import findings
from baselines.diagnostics.measured_files import read_table
from baselines.diagnostics.measured_run import read_measured_run
from baselines.experiments.layers.networks import NetworkSetting
from baselines.experiments.layers.output_head import OutputHead
from baselines.experiments.layers.problems import ProblemSetting
from baselines.experiments.layers.training import FINAL, LayerTraining, train
from baselines.experiments.layers.watched_training import Measuring, layer_ranks

SMALL = LayerTraining(
    ProblemSetting("half_qcqp", (20, 10, 10), 1),
    layer="active", network=NetworkSetting(width=64), steps=150, batch=64, rate=5e-3,
    precision="float64", tested=64,
)  # fmt: skip


def test_measuring_changes_nothing(tmp_path):
    short = replace(SMALL, steps=20)
    plain = train(short, tmp_path / "optima")
    measured = train(short, tmp_path / "optima", Measuring(tmp_path / "run", 5))
    assert measured.repaired == plain.repaired
    assert measured.curve == plain.curve
    assert len(read_table(tmp_path / "run")["hessian/value_1"]) == 5


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layers")
    settings = {"collapsing": SMALL, "sound": replace(SMALL, raw_weight=1.0)}
    for name, setting in settings.items():
        train(setting, folder / "optima", Measuring(folder / name, 25))
    return folder


def test_the_collapse_is_seen_in_the_rank_before_it_is_in_the_gap(trained):
    """When the gap begins to rise, the layer has passed on less for a while."""
    measures = read_table(trained / "collapsing")
    share = measures["layer_rank/effective"] / measures["layer_rank/of_a_projection"]
    gap = measures["layer/gap"]
    assert np.argmax(share < 0.9) <= np.argmin(gap)
    assert gap[np.argmin(gap) :].max() > 3.0 * gap.min()
    sound = read_table(trained / "sound")
    assert (sound["layer_rank/effective"] / sound["layer_rank/of_a_projection"]).min() > 0.85


def test_the_doctor_names_the_collapse(trained):
    (found,) = findings(read_measured_run(trained / "collapsing"))
    assert found.name == "the layer's gradient collapses"
    assert findings(read_measured_run(trained / "sound")) == []


def test_ranks_near_the_set_are_those_of_a_projection():
    """Outputs a little outside of a plane and a half-space: n - equalities - active rows."""
    family = SMALL.problem.made()
    head = OutputHead(family, "full")
    x = torch.tensor(family.parts["testing"][:8])
    final = RepairLayer(head.constraint, FINAL)
    with torch.no_grad():
        near, _ = final(torch.zeros(8, 20, dtype=torch.float64), x)
    noise = torch.randn(8, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    each, active = layer_ranks(head, final, near + 1e-3 * noise, x)
    for one, rows in zip(each, active, strict=True):
        assert one.effective == pytest.approx(20 - rows, abs=0.15)
