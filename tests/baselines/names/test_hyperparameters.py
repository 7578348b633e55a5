"""Hyperparameter files: what wins, what is refused, and every file of the repository."""

import pytest

from baselines.names.agents import DEEP_AGENTS, SOLVERS, default_hyperparameters, solver_named
from baselines.names.environments import parse_environment_name, tabular_model_of
from baselines.names.hyperparameters import (
    FOLDER,
    hyperparameters_for,
    parse_overrides,
    read_tables,
    read_tables_by_agent,
    tomllib,
)


def write(folder, text):
    (folder / "npg_pd.toml").write_text(text)
    return folder


def test_environment_wins_over_default_and_command_line_over_both(tmp_path):
    folder = write(
        tmp_path,
        '[default]\nstep_size = 2.0\ndual_step_size = 3.0\n["Safe/X-v0"]\nstep_size = 4.0\n',
    )
    overrides = parse_overrides(["npg_pd.dual_step_size=5"])
    assert hyperparameters_for("npg_pd", "Safe/Y-v0", folder=folder) == {
        "step_size": 2.0,
        "dual_step_size": 3.0,
        "multiplier_cap": 10.0,
        "units": "own",
    }
    assert hyperparameters_for("npg_pd", "Safe/X-v0", overrides, folder) == {
        "step_size": 4.0,
        "dual_step_size": 5,
        "multiplier_cap": 10.0,
        "units": "own",
    }


def test_unknown_key_is_refused_even_in_a_table_not_used(tmp_path):
    folder = write(tmp_path, '["Safe/X-v0"]\nstepsize = 4.0\n')
    message = "unknown hyperparameter 'stepsize'; did you mean 'step_size'\\? Known: dual_step_size"
    with pytest.raises(ValueError, match=message):
        hyperparameters_for("npg_pd", "Safe/Y-v0", folder=folder)


@pytest.mark.parametrize("key", ["initial_policy", "evaluations", "cmdp"])
def test_what_the_runner_sets_is_no_hyperparameter(tmp_path, key):
    with pytest.raises(ValueError, match=f"unknown hyperparameter '{key}'"):
        hyperparameters_for("npg_pd", "x", folder=write(tmp_path, f"[default]\n{key} = 1\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [("step_size = 1", "outside a table"), ("[default", "is not valid TOML")],
)
def test_broken_file(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        hyperparameters_for("npg_pd", "x", folder=write(tmp_path, text))


def test_override_values_read_as_toml_or_text():
    overrides = parse_overrides(
        ["pqa_alm.step_rule=fixed", "pqa_alm.primal_steps=5", "npg_pd.step_size=1e-2"]
    )
    assert overrides == {
        "pqa_alm": {"step_rule": "fixed", "primal_steps": 5},
        "npg_pd": {"step_size": 0.01},
    }


TUNED = """
pqa_alm npg_pd rpg_pd npg_dd reload_pd ppo_lag ppqa_alm lin_npg_pd lin_reload lin_ppo_lag
PPO PPOLag PPOPID PPOALM SPMALag SPMAALM TRPOLag TRPOALM CPO SCPO
"""


def test_every_tuned_agent_has_a_file_and_every_file_an_agent():
    """An agent without a file runs with its own defaults."""
    files = {path.stem for path in FOLDER.glob("*.toml")}
    assert set(TUNED.split()) <= files <= {*SOLVERS, *DEEP_AGENTS}


@pytest.mark.parametrize("agent", SOLVERS)
def test_files_of_the_repository_hold_arguments_the_solver_accepts(agent):
    text = (FOLDER / f"{agent}.toml").read_text()
    tables = tomllib.loads(text)
    assert text.startswith("# Source: ")
    for table, settings in tables.items():
        assert set(settings) <= set(default_hyperparameters(agent))
        if table != "default":
            parse_environment_name(table)  # registered
    for env in ("Safe/CliffWorld-v0", "Safe/DeepSeaTreasure-v0", "Safe/RandomCMDP-v0"):
        cmdp = tabular_model_of(parse_environment_name(env))
        trace = solver_named(agent)(cmdp, 3, **hyperparameters_for(agent, env))
        assert trace.value.shape == (3,)


def test_a_file_of_one_s_own_takes_the_place_of_the_agent_s(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[default]\nn_steps = 7\n["Safe/CliffWorld-v0"]\nn_steps = 9\n')
    env = "Safe/DeepSeaTreasure-v0"
    shipped = hyperparameters_for("PPOLag", env)
    assert shipped["n_envs"] == 64
    found = hyperparameters_for("PPOLag", env, tables=read_tables(file, [env]))
    assert found == {**default_hyperparameters("PPOLag"), "n_steps": 7}
    file.write_text("[default]\nn_step = 7\n")
    with pytest.raises(ValueError, match="unknown hyperparameter 'n_step'; did you mean 'n_steps'"):
        hyperparameters_for("PPOLag", env, tables=read_tables(file, [env]))
    file.write_text('[default]\nlearning_rate = "line_3e-4"\n')
    with pytest.raises(ValueError, match="learning_rate is 'line_3e-4'; pass .*; of PPOLag"):
        hyperparameters_for("PPOLag", env, tables=read_tables(file, [env]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('["Safe/ClifWorld-v0"]\nn_steps = 7\n[default]\n', "did you mean 'Safe/CliffWorld-v0'"),
        ('["Safe/DeepSeaTreasure-v0"]\nn_steps = 7\n', "sets nothing for Safe/CliffWorld-v0"),
        ("", "its tables are none"),
        ("n_steps = 7\n", "outside a table"),
    ],
)
def test_a_file_that_sets_nothing_is_refused(tmp_path, text, message):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_tables(file, ["Safe/CliffWorld-v0"])
    with pytest.raises(ValueError, match="there is no file"):
        read_tables(tmp_path / "none.toml", ["Safe/CliffWorld-v0"])


def test_one_file_for_several_agents(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[PPOLag.default]\nn_steps = 7\n[A2C.default]\nn_steps = 5\n")
    agents = ["PPOLag", "CPO", "stable_baselines3:A2C"]
    found = read_tables_by_agent(file, agents, ["Safe/CliffWorld-v0"])
    assert found == {
        "PPOLag": {"default": {"n_steps": 7}},
        "stable_baselines3:A2C": {"default": {"n_steps": 5}},
    }
    file.write_text("[PPOLg.default]\nn_steps = 7\n")
    with pytest.raises(ValueError, match="unknown agent 'PPOLg'; did you mean 'PPOLag'"):
        read_tables_by_agent(file, agents, ["Safe/CliffWorld-v0"])
    file.write_text("[PPOLag]\nn_steps = 7\n")
    with pytest.raises(ValueError, match=r"outside a table; write it below \[PPOLag.default\]"):
        read_tables_by_agent(file, agents, ["Safe/CliffWorld-v0"])


def test_settings_name_a_class_of_one_s_own_without_its_module():
    agents = ["PPO", "stable_baselines3:PPO", "stable_baselines3:A2C"]
    found = parse_overrides(["PPO.n_steps=1", "A2C.n_steps=2"], agents)
    assert found == {"PPO": {"n_steps": 1}, "stable_baselines3:A2C": {"n_steps": 2}}
    found = parse_overrides(["stable_baselines3:PPO.n_steps=3"], agents)
    assert found == {"stable_baselines3:PPO": {"n_steps": 3}}
    with pytest.raises(ValueError, match="unknown agent 'CPO'.* what this command runs"):
        parse_overrides(["CPO.n_steps=1"], agents)
    with pytest.raises(ValueError, match="may be stable_baselines3:PPO or sb3_contrib:PPO; write"):
        parse_overrides(["PPO.n_steps=1"], ["stable_baselines3:PPO", "sb3_contrib:PPO"])
