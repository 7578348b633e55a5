from dataclasses import asdict

import numpy as np
import pytest
import torch

from agents.flat_parameters import flat_values
from agents.scpo.residual_network import ResidualNetwork
from baselines.experiments.constrained_regression import RegressionArguments, main
from baselines.experiments.scpo.regression_reports import results_table
from baselines.experiments.scpo.regression_training import (
    ProjectedLearner,
    RegressionSetting,
    constraint_values,
    finished_runs,
    grid_points,
    population_loss,
    run,
)
from baselines.experiments.scpo_ablations import AblationArguments, ablations
from safe_envs.control.constrained_regression import BOUND, CONSTRAINED, optimal_loss, target

ITERATIONS = 40
METHODS = ("literal", "ours", "soft", "unconstrained")
WAVES = (1, 3, 7)  # f is the sum of their sines


@pytest.fixture(scope="module")
def runs():
    return {method: run(RegressionSetting(method, iterations=ITERATIONS)) for method in METHODS}


def by_hand(flat, x):
    """The network of 7 blocks of 64 units, in numpy, from its flat parameters; x (n,)."""
    parts = np.split(flat, np.cumsum([64, 64, *[64 * 64, 64] * 7, 64]))
    silu = lambda z: z / (1.0 + np.exp(-z))  # noqa: E731
    hidden = silu(x[:, None] * parts[0] + parts[1])
    for weight, bias in zip(parts[2:-2:2], parts[3:-2:2], strict=True):
        hidden = hidden + silu(hidden @ weight.reshape(64, 64).T + bias)
    return hidden @ parts[-2] + parts[-1]


def test_the_loss_of_zero_is_the_second_moment_of_f():
    """E[sin ax sin bx] = (exp(-(a-b)^2/2) - exp(-(a+b)^2/2)) / 2 for x ~ N(0, 1)."""
    moment = sum(
        (np.exp(-0.5 * (a - b) ** 2) - np.exp(-0.5 * (a + b) ** 2)) / 2
        for a in WAVES
        for b in WAVES
    )
    assert population_loss(np.zeros_like) == pytest.approx(moment, abs=1e-7)
    assert moment == pytest.approx(1.56767, abs=1e-5)


def test_the_best_in_the_band_is_f_cut_off_at_its_edges():
    def cut(x):
        return np.where(np.abs(x) <= CONSTRAINED, np.clip(target(x), -BOUND, BOUND), target(x))

    assert population_loss(cut) == pytest.approx(0.04545, abs=1e-5)
    assert population_loss(cut) == pytest.approx(optimal_loss(), abs=1e-8)
    assert population_loss(cut, 1_201) == pytest.approx(optimal_loss(), abs=1e-4)


def test_constraints_of_known_answers():
    answers = np.array([0.0, -1.5, 1.35, 1.2])
    np.testing.assert_allclose(
        constraint_values(answers, 0.1, "each"), [-1.3, 0.2, 0.05, -0.1], atol=1e-15
    )
    np.testing.assert_allclose(constraint_values(answers, 0.0, "max"), [0.1], atol=1e-15)
    np.testing.assert_allclose(constraint_values(answers, 0.0, "count"), [0.45, 0.1], atol=1e-15)


@pytest.mark.parametrize("method", ["literal", "ours"])
def test_scpo_is_never_outside_the_band_and_never_raises_its_loss(runs, method):
    found = runs[method]
    assert found.max_constraint <= 0.0
    assert found.violations == 0
    assert max(found.violation) == 0.0
    assert found.increases == 0
    assert found.projected > 0  # the band was reached, so that there was something to keep


def test_what_is_learned_in_a_few_steps(runs):
    """The best straight line has 1.158 = E[f^2] - E[f x]^2; half of zero's loss needs the waves."""
    line = population_loss(np.zeros_like) - sum(a * np.exp(-0.5 * a * a) for a in WAVES) ** 2
    assert optimal_loss() < runs["literal"].loss < line
    assert optimal_loss() < runs["ours"].loss < 0.5 * runs["ours"].losses[0]
    assert runs["ours"].losses[0] == pytest.approx(1.56767, abs=1e-4)


def test_without_projection_the_band_is_left(runs):
    for method in ("soft", "unconstrained"):
        assert runs[method].violations > 0
        assert runs[method].max_constraint > 0.0
    assert runs["soft"].violations < runs["unconstrained"].violations


def test_the_interaction_is_counted(runs):
    for found in runs.values():
        assert len(found.violation) == ITERATIONS
        assert found.env_steps == 64 * (ITERATIONS + found.evaluations)
    assert runs["unconstrained"].evaluations == 0
    assert runs["soft"].evaluations == ITERATIONS
    assert runs["literal"].evaluations >= 2 * ITERATIONS + 2


@pytest.mark.parametrize("method", METHODS)
def test_only_what_holds_everywhere_is_certified(runs, method):
    x = np.linspace(-4.0, 4.0, 601)
    curve = np.array(runs[method].curve)[np.abs(x) <= CONSTRAINED]
    if runs[method].off_grid > 0.0:
        assert runs[method].certified < 1.0
    else:
        assert runs[method].certified > 0.99
    assert np.abs(curve).max() - BOUND <= runs[method].off_grid + 1e-3


@pytest.mark.parametrize("method", ["literal", "ours"])
def test_the_constraint_holds_for_a_network_written_by_hand(method):
    torch.manual_seed(3)
    network = ResidualNetwork(1, 1).double()
    learner = ProjectedLearner(RegressionSetting(method), network)
    rng = np.random.default_rng(3)
    grid = grid_points(64)
    reached = []
    for _ in range(15):
        x = rng.standard_normal(64)
        learner.step(torch.from_numpy(x)[:, None], torch.from_numpy(target(x))[:, None])
        answers = by_hand(flat_values(list(network.parameters())).numpy(), grid)
        reached.append(np.abs(answers).max() - BOUND)
    assert max(reached) <= 1e-13  # the order of summation differs
    assert max(reached) > -0.2  # the band was reached


def test_the_same_seed_gives_the_same_run_and_another_one_does_not():
    setting = RegressionSetting("ours", seed=1, iterations=3)
    first, second = asdict(run(setting)), asdict(run(setting))
    other = run(RegressionSetting("ours", seed=2, iterations=3))
    assert first | {"seconds": 0.0} == second | {"seconds": 0.0}
    assert other.curve != first["curve"]


def test_finished_runs_are_read_and_not_repeated(tmp_path):
    settings = [RegressionSetting("unconstrained", seed, 2) for seed in (0, 1)]
    made = finished_runs(settings[:1], tmp_path)
    path = tmp_path / f"{settings[0].stem}.json"
    written = path.stat().st_mtime_ns
    both = finished_runs(settings, tmp_path)
    assert path.stat().st_mtime_ns == written
    assert both[0] == made[0]
    assert [each.setting for each in both] == settings
    table = results_table("two seeds", both)
    assert table.row_count == 3
    assert list(table.columns[1].cells) == ["mean of 2", "0", "1"]


def test_the_command_prints_a_table_and_draws_two_figures(tmp_path, capsys):
    main(RegressionArguments(variant="literal", iterations=10, grid=20, margin=0.1, out=tmp_path))
    printed = capsys.readouterr().out
    assert "SCPO as printed, grid 20, margin 0.1" in printed
    assert "0.04545" in printed
    for name in ("learnt_curve.png", "loss_and_violation.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.glob("*.json"))) == 3


def test_ablations_change_one_setting_at_a_time():
    usual = RegressionSetting("ours", iterations=600)
    for settings in ablations(AblationArguments()).values():
        assert usual in settings
        changes = [
            sum(value != asdict(usual)[key] for key, value in asdict(each).items())
            for each in settings
        ]
        assert sorted(changes) == [0] + [1] * (len(settings) - 1)
