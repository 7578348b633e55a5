"""The margin below the limits, against standard errors computed by hand and against coverage."""

import numpy as np
import pytest
import torch

import agents
from agents.batch import Measurement, measurement
from agents.cost_margin import UPDATES, CostMargin, MarginSetting
from agents.episode_record import EpisodeRecord
from agents.price_units import PriceUnits
from agents.schedules import LinearDecay
from safe_envs.contract.cost_signal import ConstraintSpec
from safe_envs.contract.episode_totals import Episode


def episodes_of(costs):
    rows = np.reshape(costs, (len(costs), -1)).astype(float)
    return [Episode(0.0, row, 0.0, row, np.ones(rows.shape[1]), 1) for row in rows]


def measured_with(costs, limits, before=None):
    return measurement(episodes_of(costs), np.array(limits), before)


def test_the_variance_is_half_the_mean_square_of_successive_differences():
    found = measured_with([1.0, 3.0, 2.0], [5.0])
    assert found.variances == pytest.approx([(4.0 + 1.0) / 2 / 2])
    after = measured_with([1.0, 3.0, 2.0], [5.0], before=measured_with([9.0, 5.0], [5.0]))
    assert after.variances == pytest.approx([(16.0 + 4.0 + 1.0) / 3 / 2])
    assert measured_with([7.0], [5.0]).variances.tolist() == [0.0]  # unknown


def test_the_variance_is_that_of_the_noise_around_a_mean_that_drifts():
    """Deviation 2 around a mean that rises by 30: the plain variance would be near 79."""
    rng = np.random.default_rng(0)
    costs = rng.normal(0.0, 2.0, 4000) + np.linspace(0.0, 30.0, 4000)
    assert np.var(costs) > 70.0
    assert measured_with(costs, [0.0]).variances == pytest.approx([4.0], rel=0.1)


def test_the_margin_is_the_standard_error_over_the_last_updates():
    margin = CostMargin(MarginSetting(2.0), 2)
    limits = np.array([10.0, 1.0])
    for count, variances in ((4, [8.0, 0.0]), (12, [16.0, 400.0])):
        costs, ones = np.array([9.0, 3.0]), np.ones(2)
        found = margin.violation(
            Measurement(costs, limits, ones, count, np.array(variances), costs), 1.0
        )
    pooled = np.array([(4 * 8 + 12 * 16) / 16, 12 * 400 / 16])
    error = np.sqrt(pooled / 16)
    assert margin.standard_error() == pytest.approx(error)
    assert 2.0 * error[1] > limits[1]
    assert found == pytest.approx([9.0 - (10.0 - 2.0 * error[0]), 3.0])  # no cost below 0


def test_only_the_last_updates_count():
    margin = CostMargin(MarginSetting(1.0), 1)
    for variance in [1e6] + [4.0] * UPDATES:
        margin.violation(measured_with([1.0], [1.0])._replace(variances=np.array([variance])), 1.0)
    assert margin.standard_error() == pytest.approx([2.0 / np.sqrt(UPDATES)])


def test_a_margin_may_move_with_the_training():
    """From none to 2 standard errors; the standard error of 1, 5, 2 is sqrt(25 / 4 / 3)."""
    error = np.sqrt((16.0 + 9.0) / 4 / 3)
    for progress, errors in ((1.0, 0.0), (0.75, 0.5), (0.0, 2.0)):
        margin = CostMargin(MarginSetting(LinearDecay(0.0, 2.0)), 1)
        found = margin.violation(measured_with([1.0, 5.0, 2.0], [9.0]), progress)
        assert found == pytest.approx([8 / 3 - (9.0 - errors * error)])


@pytest.mark.parametrize("name", ["PPOLag", "CPO"])
def test_agents_follow_a_margin_that_moves(name):
    """Learning with a schedule is learning with its number, as long as that does not change."""

    def weights(margin):
        agent = getattr(agents, name)(
            "MlpPolicy", "Safe/DeepSeaTreasure-v0", seed=0, n_steps=64, cost_margin=margin
        )
        agent.learn(64 * 4)
        return torch.cat([one.flatten() for one in agent.policy.state_dict().values()])

    asked = []
    followed = weights(lambda progress: asked.append(progress) or 30.0)
    assert asked == [1.0, 0.75, 0.5, 0.25]
    assert torch.equal(followed, weights(30.0))
    assert not torch.equal(followed, weights(0.0))


def test_a_schedule_that_returns_no_margin_is_refused():
    agent = agents.PPOLag("MlpPolicy", "Safe/DeepSeaTreasure-v0", cost_margin=lambda _: -1.0)
    with pytest.raises(ValueError, match="cost_margin is -1.0 at a remaining progress of 1"):
        agent.learn(2048)


def test_a_repeat_against_another_limit_counts_no_episode_twice():
    """A limit that changes between two updates, with no new episode: scales and margin stay."""
    units, constraint = PriceUnits(1, MarginSetting(1.0)), ConstraintSpec("cost", 4.0)
    record = EpisodeRecord([constraint], 1.0)
    for cost in (2.0, 6.0, 3.0):
        record.add(np.array([[0.0, cost]]), np.array([True]))
    first = units.relative(record.measure(np.array([4.0])), 1.0)
    record.measure_again()
    again = units.relative(record.measure(np.array([8.0])), 1.0)
    mean, error = 11 / 3, np.sqrt((16.0 + 9.0) / 4 / 3)
    assert first == pytest.approx([(mean - (4.0 - error)) / 4.0])
    assert again == pytest.approx([(mean - (8.0 - error)) / 8.0])


def test_a_state_carries_the_margin_on():
    first, second = (CostMargin(MarginSetting(1.0), 1) for _ in range(2))
    first.violation(measured_with([1.0, 5.0, 2.0], [9.0]), 1.0)
    second.load_state(first.state())
    later = measured_with([3.0, 8.0], [9.0])
    assert first.violation(later, 0.5) == second.violation(later, 0.5)


def test_a_mean_at_the_limit_is_held_to_be_too_high_as_often_as_the_normal_law_says():
    """One standard error: in 84.1 percent of cases, where no margin gives 50."""
    rng, margin = np.random.default_rng(1), MarginSetting(1.0)
    held = [
        CostMargin(margin, 1).violation(measured_with(costs, [100.0]), 1.0)[0] > 0
        for costs in rng.normal(100.0, 3.0, (4000, 25))
    ]
    assert np.mean(held) == pytest.approx(0.841, abs=0.03)


def priced(margin, name):
    """Return the price that an agent asks for costs that are at the limit on average."""
    agent = getattr(agents, name)(
        "MlpPolicy", "Safe/DeepSeaTreasure-v0", seed=0, n_steps=16, cost_margin=margin
    )
    agent.learn(16)  # so that there are price units
    measured = measured_with([0.0, 0.3, 0.0, 0.3], [0.15])
    before = agent.constraint_state()["weight"].sum()
    agent._update.update(
        agent.policy,
        agent._rollout.batch(agent.policy, np.full(2, 0.9), np.full(2, 0.95))[0],
        measured,
        1.0,
    )
    return agent.constraint_state()["weight"].sum() - before


@pytest.mark.parametrize("name", ["PPOLag", "PPOPID", "PPOALM"])
def test_a_margin_raises_the_price_of_a_cost_at_its_limit(name):
    assert priced(1.0, name) > priced(0.0, name)


def test_a_margin_below_0_is_refused():
    with pytest.raises(ValueError, match="cost_margin is -1"):
        agents.CPO("MlpPolicy", "Safe/DeepSeaTreasure-v0", cost_margin=-1.0)
