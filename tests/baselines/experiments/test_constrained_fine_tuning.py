"""Fine-tuning under a black-box constraint, measured again by other formulas."""

import numpy as np
import pytest
import torch

from baselines.experiments import constrained_fine_tuning as experiment


def fine_tune(measure):
    return experiment.fine_tune(measure, steps=25)


def test_plain_adam_forgets():
    result = fine_tune(None)
    assert result.accuracies.min() < result.needed - 0.02
    assert result.loss_after < 0.2 * result.loss_before
    assert result.evaluations == 0


@pytest.mark.parametrize("measure", ["accuracy", "margin"])
def test_projected_adam_learns_and_does_not_forget(measure):
    result = fine_tune(measure)
    assert len(result.accuracies) == 25
    assert result.accuracies.min() >= result.needed
    assert result.loss_after < 0.2 * result.loss_before
    assert result.evaluations > 25


def test_the_same_seed_gives_the_same_result():
    first, second = (experiment.fine_tune("accuracy", steps=5) for _ in range(2))
    assert first.loss_after == second.loss_after
    np.testing.assert_array_equal(first.accuracies, second.accuracies)


@pytest.mark.parametrize("needed", [0.5, 0.6, 0.73])
def test_both_measures_allow_the_same_networks(needed):
    rng = np.random.default_rng(0)
    safety = experiment.moons(rng, 20)
    network = torch.nn.Linear(2, 1, dtype=torch.float64)
    by = {
        measure: experiment.requirement(network, safety, needed, measure)
        for measure in ("accuracy", "margin")
    }
    verdicts = []
    for weight in rng.normal(size=(200, 2)):
        network.weight.data, network.bias.data = torch.tensor(weight)[None], torch.zeros(1).double()
        answers = np.sign(safety.points.numpy() @ weight)
        right = int((answers == safety.labels.numpy()).sum())
        verdicts.append(right >= needed * 20)
        assert by["accuracy"]()[0] == pytest.approx(needed - right / 20)
        assert (by["accuracy"]()[0] <= 1e-12) == (by["margin"]()[0] < 0.0) == verdicts[-1]
    assert {True, False} == set(verdicts)


def test_turned_moons_are_the_old_ones_turned():
    old, new = (experiment.moons(np.random.default_rng(0), 50, turn) for turn in (0.0, np.pi / 2))
    x, y = old.points.T
    torch.testing.assert_close(new.points, torch.stack([-y, x], dim=1))
    assert torch.equal(old.labels, new.labels)


def test_the_table_names_every_way(capsys, monkeypatch):
    result = experiment.Result(2.0, 1.0, np.array([0.9, 0.97]), 0.95, 7)
    monkeypatch.setattr(experiment, "fine_tune", lambda measure: result)
    experiment.main()
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row[:12].strip() for row in rows] == list(experiment.WAYS)
    assert rows[0].split()[2:] == ["2.000", "1.000", "0.900", "0.950", "1", "7"]
