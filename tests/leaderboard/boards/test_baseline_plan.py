"""The table of the baselines fits the boards and the agents."""

import pytest

from baselines.names.hyperparameters import hyperparameters_for, parse_overrides
from baselines.policy_export.exact_policies import KINDS
from leaderboard.boards.baseline_plan import AGENTS, baseline_budgets, budget_of, parse_budgets
from leaderboard.boards.board import boards

SEA = '["Safe/DeepSeaTreasure-v0"]\n'
NUMBERS = "total_timesteps = 100\nevaluation_episodes = 5\n"


def test_every_board_has_baselines_with_settings_that_their_agents_know():
    assert list(baseline_budgets()) == list(boards())
    for env, budget in baseline_budgets().items():
        overrides = parse_overrides(budget.overrides(AGENTS), AGENTS)
        for agent in AGENTS:
            hyperparameters_for(agent, env, overrides)  # refuses unknown names
        assert budget.exact in ("", *KINDS)


def test_settings_without_an_agents_name_hold_for_all_agents():
    text = SEA + NUMBERS + 'settings = ["cost_limit=0.1", "PPOLag.multiplier_lr=0.5"]\n'
    (budget,) = parse_budgets(text).values()
    alike = [f"{agent}.cost_limit=0.1" for agent in ("PPO", "PPOLag", "PPOALM", "SPMAALM", "CPO")]
    assert budget.overrides(AGENTS) == (*alike, "PPOLag.multiplier_lr=0.5")
    assert [budget.scaled_timesteps(scale) for scale in (1.0, 0.5, 1e-9)] == [100, 50, 1]


def test_a_number_in_a_setting_may_have_a_point():
    (budget,) = parse_budgets(SEA + NUMBERS + 'settings = ["gamma=0.9"]\n').values()
    assert budget.overrides(AGENTS)[0] == "PPO.gamma=0.9"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "baselines.toml cannot be read: "),
        ('["Safe/Nowhere-v0"]\n' + NUMBERS, "'Safe/Nowhere-v0' in baselines.toml is of no board; "),
        (SEA + "total_timesteps = 100\n", "evaluation_episodes: Field required"),
        (SEA + NUMBERS + "steps = 1\n", "steps: Extra inputs are not permitted"),
        (SEA + NUMBERS.replace("100", "0"), "total_timesteps: Input should be greater than or "),
    ],
)  # fmt: skip
def test_a_wrong_table_is_named(text, message):
    with pytest.raises(ValueError, match=r"baselines\.toml") as refusal:
        parse_budgets(text)
    assert message in str(refusal.value)


def test_a_board_without_baselines_is_refused_by_name():
    with pytest.raises(ValueError, match="'Safe/QCQP-v0' has no baselines; boards with baselines"):
        budget_of("Safe/QCQP-v0")
