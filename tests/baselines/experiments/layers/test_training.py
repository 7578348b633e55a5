"""Trainings with constraint layers: what the penalty on raw outputs cures, and its regression."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from baselines.experiments.constraint_layers import ConstraintLayersArguments, main, run
from baselines.experiments.layers.networks import NetworkSetting
from baselines.experiments.layers.problems import ProblemSetting
from baselines.experiments.layers.studies import (
    STUDIES,
    layer_setting,
    problem_named,
    read_layer_studies,
)
from baselines.experiments.layers.training import LayerTraining, train

SMALL = ProblemSetting("half_qcqp", (20, 10, 10), 1)
TINY = """
[tiny]
question = "Does it run?"
problems = ["qcqp 6/2/3 1"]
seeds = [0, 1]
base = { steps = 3, batch = 8, network = { width = 8 } }
variants.soft = {}
variants."LM active" = { layer = "active", raw_weight = 1.0, network = { depth = 1 } }
"""


@pytest.fixture(scope="module")
def optima(tmp_path_factory):
    return tmp_path_factory.mktemp("optima")


def small(**changes):
    network = NetworkSetting(width=64)
    return LayerTraining(
        SMALL, network=network, steps=600, batch=64, rate=5e-3, precision="float64", **changes
    )


def test_a_penalty_on_raw_outputs_keeps_a_training_from_collapsing(optima):
    """With it, the gap is below 0.01 after 600 steps; without it, the raw outputs drift away."""
    good = train(small(layer="active", raw_weight=1.0), optima)
    assert good.repaired.gap_mean <= 0.01
    assert good.repaired.violation_max <= 1e-6
    assert good.repaired.feasible[-1] == 1.0
    bad = train(small(layer="active"), optima)
    assert bad.repaired.violation_max <= 1e-6  # feasibility is never the problem
    assert bad.repaired.gap_mean > 10.0 * good.repaired.gap_mean
    assert bad.raw.violation_mean > 10.0 * good.raw.violation_mean
    assert bad.rank < good.rank - 1.0


@pytest.mark.slow
def test_soft_training_and_one_repair_beat_the_published_layer(optima):
    """SnareNet's notebook: geometric-mean gap .0260, maximum .125, after hours on a GPU."""
    published = ProblemSetting("qcqp", (100, 50, 50), 2025)
    found = train(
        LayerTraining(published, head="null", steps=12_000, weight=1.0, tested=100), optima
    )
    assert found.repaired.gap_geometric <= 0.026
    assert found.repaired.gap_max <= 0.125
    assert found.repaired.violation_max <= 1e-6
    assert found.repaired.feasible[-1] == 1.0


def test_studies_of_the_project_can_be_read():
    for study in read_layer_studies(STUDIES).values():
        for group in study.settings().values():
            assert len(group) == len(study.problems) * len(study.seeds)


def test_settings_of_a_variant_lie_on_those_of_all(tmp_path):
    file = tmp_path / "studies.toml"
    file.write_text(TINY)
    study = read_layer_studies(file)["tiny"]
    assert study.settings()["LM active"][1] == LayerTraining(
        ProblemSetting("qcqp", (6, 2, 3), 1),
        layer="active",
        network=NetworkSetting(width=8, depth=1),
        seed=1,
        steps=3,
        batch=8,
        raw_weight=1.0,
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 3", "step = 3", "unknown setting 'step'; did you mean 'steps'"),
        ("width = 8 }", "widht = 8 }", "unknown setting of the network 'widht'"),
        ("6/2/3 1", "6/2/3", "the problem is 'qcqp 6/2/3'; write the family"),
        ("6/2/3 1", "6/2 1", "the sizes of qcqp are 6/2; pass outputs, equalities"),
        ("qcqp 6", "qcpq 6", "did you mean 'qcqp'"),
        ("seeds = [0, 1]", "", r"\[tiny\] of .* lacks seeds"),
        ("steps = 3", "steps = 3, seed = 4", "seed is set for a variant"),
        ('"active"', '"activ"', "layer is 'activ'"),
    ],
)
def test_a_malformed_study_is_refused(tmp_path, old, new, message):
    file = tmp_path / "studies.toml"
    file.write_text(TINY.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_layer_studies(file)


def test_the_command_trains_what_is_missing_and_prints_the_same_table(tmp_path):
    (tmp_path / "studies.toml").write_text(TINY)
    arguments = ConstraintLayersArguments(
        study=("tiny",),
        processes=1,
        folder=tmp_path / "runs",
        studies=tmp_path / "studies.toml",
        markdown=tmp_path / "table.md",
    )
    shown = io.StringIO()
    assert run(arguments, Console(file=shown, width=300)) == 0
    first = shown.getvalue()
    assert "4 trainings, 4 of them missing" in first
    table = first[first.index("tiny: Does it run?") :]
    rows = [line for line in table.splitlines() if "qcqp 6/2/3" in line]
    assert len(rows) == 3  # soft, soft with one repair, LM active
    again = io.StringIO()
    assert run(arguments, Console(file=again, width=300)) == 0
    assert "4 trainings, 0 of them missing" in again.getvalue()
    assert again.getvalue().endswith(table)
    assert (tmp_path / "table.md").read_text().count("| qcqp 6/2/3 |") == 3
    assert (tmp_path / "runs" / "tiny.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="--markdown is .*, which cannot be written"):
        run(replace(arguments, markdown=tmp_path), Console(file=shown))


def test_an_unknown_study_is_refused(capsys):
    assert main(ConstraintLayersArguments(study=("smal",))) == 2
    assert "unknown study 'smal'; did you mean 'small'" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["mlp", "transformer"])
def test_networks_answer_for_each_instance_alone(kind):
    network = NetworkSetting(kind, width=16).make(5, 7).double().eval()
    x = torch.randn(4, 5, dtype=torch.float64)
    together = network(x)
    assert together.shape == (4, 7)
    for row, one in zip(together, x, strict=True):
        torch.testing.assert_close(network(one[None])[0], row, rtol=0, atol=1e-12)


def test_the_transformer_has_the_size_of_its_formula():
    """d = 32: entries 2d, places (20 + 20) d, two layers, answer d + 1."""
    width, inputs, outputs = 32, 20, 20
    network = NetworkSetting("transformer", width).make(inputs, outputs)
    attention = 4 * width * width + 4 * width
    forward = 2 * (width * 2 * width) + 2 * width + width
    layer = attention + forward + 4 * width
    expected = 2 * width + (inputs + outputs) * width + 2 * layer + width + 1
    assert sum(one.numel() for one in network.parameters()) == expected


def test_unknown_problems_and_settings():
    with pytest.raises(ValueError, match="unknown family 'qcqpp'; did you mean 'qcqp'"):
        problem_named("qcqpp 6/2/3 1")
    with pytest.raises(ValueError, match="soft_steps is 9"):
        layer_setting({"steps": 3, "soft_steps": 9})


def test_equal_settings_give_equal_results(optima):
    setting = LayerTraining(
        ProblemSetting("qcqp", (6, 2, 3), 1), layer="all", steps=5, batch=8, relaxed=0.5
    )
    first, second = train(setting, optima), train(setting, optima)
    assert first.repaired == second.repaired
    assert np.isfinite([point.loss for point in first.curve]).all()
    assert first.curve == second.curve
