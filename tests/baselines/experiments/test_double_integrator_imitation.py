import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from agents.flat_parameters import set_flat_values
from baselines.experiments import double_integrator_imitation as command
from baselines.experiments.scpo.imitation_figures import (
    draw_reachable_sets,
    draw_trajectories,
    follow,
)
from baselines.experiments.scpo.imitation_problem import (
    LITERAL_FORM,
    SAFER_FORM,
    AdvantageConstraint,
    draw_samples,
    evaluation_samples,
    expert_moments,
    imitation_loss,
    new_policy,
    parameters_of,
    reference_losses,
    safe_rollout_lengths,
    state_grid,
)
from baselines.experiments.scpo.imitation_results import (
    ImitationResult,
    measure,
    saved_policy,
    saved_result,
)
from baselines.experiments.scpo.imitation_training import ImitationRun, train
from safe_envs.control.double_integrator_reference import (
    in_safe_set,
    linear_quadratic_regulator,
    reaches_target,
    safe_controller,
    safe_value,
)

A, B = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([0.005, 0.1])
K = linear_quadratic_regulator().gain


def perturbed(policy, scale, seed=0):
    """Parameters with a last layer that is not zero."""
    rng = torch.Generator().manual_seed(seed)
    theta = parameters_of(policy)
    theta[-65:] += scale * torch.randn(65, dtype=torch.float64, generator=rng)
    return theta


def actions_by_hand(policy, states, gated, clipped_first):
    """The policy in plain numpy, from the formulas in the paper and in the docstring."""
    weights = [p.detach().numpy() for p in policy.network.parameters()]
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    hidden = 0.0
    for i, (w, b) in enumerate(layers[:-1]):
        z = (states / 5 if i == 0 else hidden) @ w.T + b
        hidden = hidden + z / (1 + np.exp(-z))
    residual = (hidden @ layers[-1][0].T + layers[-1][1])[:, 0]
    radius = np.sqrt((states**2).sum(axis=1))
    if gated:
        residual = residual * np.minimum(1, radius / 0.5)
    base = -states @ K
    if clipped_first:
        base = np.clip(base, -1, 1)
    return np.where(radius <= 0.01, np.clip(base, -1, 1), np.clip(base + residual, -1, 1))


def cost_by_hand(states):
    """The safe controller's cost over 600 steps: no closed form, no early end."""
    x, cost = states, np.zeros(len(states))
    for _ in range(600):
        u = np.clip(-x @ K, -1, 1)
        cost = np.where((np.abs(x) > 15 + 1e-9).any(axis=1), np.inf, cost)
        cost = cost + (x**2).sum(axis=1) + u**2
        x = x @ A.T + u[:, None] * B
    return cost


@pytest.mark.parametrize("form", [LITERAL_FORM, SAFER_FORM])
def test_constraint_is_what_the_paper_defines(form):
    policy = new_policy(form, 0)
    set_flat_values(list(policy.network.parameters()), perturbed(policy, 0.02))
    constraint = AdvantageConstraint(policy, 20, alpha_scale=0.99)
    states, u = constraint.states, policy(constraint.states)
    np.testing.assert_allclose(u, actions_by_hand(policy, states, *form), atol=1e-9)
    assert np.abs(u - safe_controller(states)).max() > 0.05
    reached = cost_by_hand(states @ A.T + u[:, None] * B)
    square = (states**2).sum(axis=1)
    expected = square + u**2 + reached - cost_by_hand(states) - 0.99 * square
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(constraint(), expected, atol=1e-8)


@pytest.mark.parametrize(("n", "largest"), [(20, -1.2465), (50, -0.187422), (100, -0.04591)])
def test_untrained_policy_is_feasible_by_the_published_slack(n, largest):
    policy = new_policy(LITERAL_FORM, 0)
    constraint = AdvantageConstraint(policy, n)
    values = constraint()
    assert values.shape == ({20: 132, 50: 836, 100: 3382}[n],)
    assert values.max() == pytest.approx(largest, abs=5e-5)
    # A(x, pi_safe(x)) is zero, which leaves -|x|^2.
    np.testing.assert_allclose(values, -(constraint.states**2).sum(axis=1), atol=1e-9)
    assert AdvantageConstraint(policy, n, as_maximum=True)() == values.max()


def test_constraint_of_many_parameters_is_that_of_each():
    policy = new_policy(SAFER_FORM, 0)
    constraint = AdvantageConstraint(policy, 50)
    thetas = [perturbed(policy, scale, seed) for seed, scale in enumerate((0.0, 0.001, 0.1))]
    thetas[-1][-1] = 20.0  # full force everywhere
    before = parameters_of(policy)
    batch = constraint.batch(thetas)
    assert torch.equal(parameters_of(policy), before)
    for row, theta in zip(batch, thetas, strict=True):
        set_flat_values(list(policy.network.parameters()), theta)
        np.testing.assert_array_equal(row, constraint())
    assert np.isinf(batch[-1]).any()  # from such states the safe controller leaves the box
    assert np.isfinite(batch[0]).all()


def test_steps_of_a_measurement_are_counted():
    """From x0 the safe controller enters the ellipsoid x'Px <= c after so many steps."""
    states = np.array([[0.1, 0.1], [3.0, 0.0], [-11.0, 5.0]])
    regulator = linear_quadratic_regulator()
    lengths = []
    for x in states:
        steps = 0
        while x @ regulator.value_matrix @ x > regulator.invariant_level:
            x = A @ x + B * safe_controller(x[None])[0]
            steps += 1
        lengths.append(steps)
    np.testing.assert_array_equal(safe_rollout_lengths(states), lengths)
    policy = new_policy(SAFER_FORM, 0)
    constraint = AdvantageConstraint(policy, 20)
    constraint()
    assert constraint.steps == 0  # it is the safe controller
    theta = parameters_of(policy)
    theta[-1] = 0.01
    constraint.batch([theta, theta])
    set_flat_values(list(policy.network.parameters()), theta)
    changed = policy(constraint.states) != safe_controller(constraint.states)
    assert 0 < changed.sum() < len(changed)
    assert constraint.steps == 2 * safe_rollout_lengths(constraint.states[changed]).sum()


def test_network_is_silent_at_the_target_and_gated_around_it():
    states = np.array([[0.006, 0.006], [0.1, -0.1], [0.3, 0.4], [0.0, -2.0], [9.0, -1.0]])
    for form in (LITERAL_FORM, SAFER_FORM):
        policy = new_policy(form, 0)
        np.testing.assert_array_equal(policy(states), safe_controller(states))
        theta = parameters_of(policy)
        theta[-1] = 0.1  # phi = 0.1 everywhere
        set_flat_values(list(policy.network.parameters()), theta)
        gate = np.array([0.0, np.sqrt(0.02) / 0.5, 1.0, 1.0, 1.0])
        unclipped = -states @ linear_quadratic_regulator().gain
        if not form.gated:
            gate[1] = 1.0
        if form.clipped_first:
            unclipped = np.clip(unclipped, -1, 1)
        np.testing.assert_allclose(policy(states), np.clip(unclipped + 0.1 * gate, -1, 1))
    assert policy(states)[-1] == -1.0  # -K x = -6.6 keeps its slack in our form


def test_evaluation_samples_have_the_published_losses():
    samples = evaluation_samples(0.4)
    assert samples.states.shape == (4000, 2)
    assert in_safe_set(samples.states).all()
    assert imitation_loss(safe_controller, samples) == pytest.approx(0.3774, abs=5e-5)
    mean, variance = expert_moments(samples.states, 0.4)
    assert np.mean((samples.expert_actions - mean) ** 2) == pytest.approx(0.0911, abs=2e-3)
    bounds = reference_losses(samples, 0.4)
    assert bounds.noise_floor == pytest.approx(float(variance.mean()))
    assert bounds.best_feasible == pytest.approx(0.139, abs=5e-4)
    few = samples._replace(states=samples.states[:40])
    mean, variance = expert_moments(few.states, 0.4)
    actions = np.vstack([np.repeat(np.linspace(-1, 1, 81)[:, None], 40, axis=1), -few.states @ K])
    actions = np.clip(actions, -1, 1)  # (82, 40), the safe controller's last
    value = np.array([cost_by_hand(few.states @ A.T + u[:, None] * B) for u in actions])
    feasible = actions**2 + value <= cost_by_hand(few.states) + 1e-9
    errors = np.where(feasible, (actions - mean) ** 2, np.inf).min(axis=0)
    expected = float((errors + variance).mean())
    assert reference_losses(few, 0.4).best_feasible == pytest.approx(expected, rel=1e-6)


def test_moments_of_the_clipped_expert():
    """Against the closed form of a normal variable censored at -1 and 1."""
    states = np.array([[0.0, 0.0], [0.2, 0.1], [-3.0, 1.0], [0.4, 0.3]])
    m, s = -2 * states.sum(axis=1), 0.4
    low, high = (-1 - m) / s, (1 - m) / s
    inside, dense = norm.cdf(high) - norm.cdf(low), norm.pdf(low) - norm.pdf(high)
    first = m * inside + s * dense
    second = (m**2 + s**2) * inside + 2 * m * s * dense
    second += s**2 * (low * norm.pdf(low) - high * norm.pdf(high))
    above, below = norm.sf(high), norm.cdf(low)
    expected = first + above - below
    mean, variance = expert_moments(states, s)
    np.testing.assert_allclose(mean, expected, atol=1e-4)
    np.testing.assert_allclose(variance, second + above + below - expected**2, atol=1e-4)


def test_samples_come_from_kept_rollouts_only():
    """An expert without noise: its rollouts leave the box from some states of R_safe."""
    calls = []

    def braking_hard(states):
        calls.append(len(states))
        return -np.sign(states[:, 1])

    samples = draw_samples(braking_hard, np.random.default_rng(0), 0.4)
    assert samples.states.shape == (512, 2)
    assert samples.simulated_steps == sum(calls)
    assert calls[0] == 32
    assert len(calls) % 150 == 0
    again = draw_samples(braking_hard, np.random.default_rng(0), 0.4)
    np.testing.assert_array_equal(samples.expert_actions, again.expert_actions)
    assert (np.abs(samples.states) <= 15).all()


@pytest.fixture(scope="module")
def short_run():
    run = ImitationRun("ours", seed=0, iterations=12)
    return (run, *train(run))


def test_ours_never_violates_and_never_rises(short_run):
    """Grid constraints of all iterates, from a network built anew and rollouts of their own."""
    run, policy, training = short_run
    result = measure(run, policy, training)
    assert len(training.iterates) == 13 - training.null_steps
    assert result.largest_constraint <= 0.0
    assert result.loss_increases == 0
    assert (result.reachable, result.lost) == (836, 0)
    assert result.loss < 0.374  # 0.3774 at the start
    states = state_grid(50)[in_safe_set(state_grid(50))]
    u = actions_by_hand(policy, states, gated=True, clipped_first=False)
    reached = cost_by_hand(states @ A.T + u[:, None] * B)
    by_hand = u**2 + reached - cost_by_hand(states)  # |x|^2 cancels against alpha |x|^2
    assert by_hand.max() == pytest.approx(result.largest_last, abs=1e-8)
    assert training.constraint_steps < training.evaluations * 64_364  # of a rollout in each state


def test_same_seed_gives_the_same_policy():
    run = ImitationRun("ours", seed=3, iterations=3, grid=20)
    first, second = train(run)[1].iterates, train(run)[1].iterates
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    other = train(replace(run, seed=4))[1].iterates
    assert not torch.equal(first[-1], other[-1])


@pytest.mark.slow
def test_papers_construction_keeps_the_grid_constraint_and_loses_its_claim():
    """phi is free between the origin and the first grid states, and clipping took the slack.

    All constraints hold on the grid in all iterates, but fewer states reach the target.
    """
    run = ImitationRun("literal", seed=0, iterations=40, bank_size=8)
    policy, training = train(run)
    policy_again = new_policy(LITERAL_FORM, 9)
    constraint = AdvantageConstraint(policy_again)
    for theta in training.iterates[::6] + training.iterates[-1:]:
        set_flat_values(list(policy_again.network.parameters()), theta)
        assert constraint().max() <= 0.0
    assert training.loss_increases == 0
    states = constraint.states[::2]
    assert (~reaches_target(policy, states, steps=400)).sum() > 100
    assert (~reaches_target(policy, states, radius=0.5, steps=400)).sum() < 10  # near the origin


def test_adam_alone_gives_states_away():
    run = ImitationRun("unconstrained", seed=0, iterations=30)
    policy, training = train(run)
    states = state_grid(20)[in_safe_set(state_grid(20))]
    assert training.evaluations == 0
    assert (~reaches_target(policy, states, steps=300)).sum() > 0


def test_cost_of_a_trajectory_is_the_value():
    start = np.array([-11.0, 6.0])
    trajectory = follow(safe_controller, start)
    tail = safe_value(trajectory.states[-1:])[0]
    assert trajectory.cost + tail == pytest.approx(safe_value(start[None])[0], rel=1e-9)
    assert np.hypot(*trajectory.states[-1]) <= 0.01
    assert math.isinf(follow(lambda x: np.ones(len(x)), start).cost)


def test_command_saves_prints_and_skips_what_is_done(tmp_path, capsys, monkeypatch, run_here):
    monkeypatch.setattr(command, "run_in_processes", run_here)
    monkeypatch.setattr(command, "references", lambda _std: "")
    arguments = command.ImitationArguments("ours", (1,), iterations=2, grid=20, out=tmp_path)
    for name in ("draw_trajectories", "draw_reachable_sets"):
        monkeypatch.setattr(command, name, lambda _policy, file: file.write_bytes(b""))
    assert command.main(arguments) == 0
    (run,) = arguments.runs()
    result = saved_result(run, tmp_path)
    assert isinstance(result, ImitationResult)
    assert f"{result.loss:.4f}" in capsys.readouterr().out
    expected = imitation_loss(saved_policy(run, tmp_path), evaluation_samples(0.4))
    assert result.loss == expected
    written = (tmp_path / f"{run.name}.json").stat().st_mtime_ns
    assert command.main(arguments) == 0
    assert (tmp_path / f"{run.name}.json").stat().st_mtime_ns == written
    assert saved_result(replace(run, groups=4), tmp_path) is None


def test_runs_have_names_of_their_own():
    runs = command.ImitationArguments().runs()
    assert len({run.name for run in runs}) == len(runs) == 25
    assert {run.iterations for run in runs if run.method.startswith("literal")} == {60}
    ours = ImitationRun("ours")
    changes = [{"gated": False}, {"groups": 0}, {"bank_size": 4}, {"grid": 20}, {"seed": 1}]
    changes += [{"alpha_scale": 0.99}, {"expert_noise_std": 0.6}, {"iterations": 1}]
    names = {replace(ours, **change).name for change in changes} | {ours.name}
    assert len(names) == len(changes) + 1


def test_figures_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr("baselines.experiments.scpo.imitation_figures.SET_GRID", 15)
    for draw in (draw_trajectories, draw_reachable_sets):
        draw(new_policy(SAFER_FORM, 0), tmp_path / "figure.png")
        assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
