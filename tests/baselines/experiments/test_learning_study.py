"""Made-up results with known intervals and shares, a short run, and Stable-Baselines3 by hand."""

import io
import json
import re
from dataclasses import asdict
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.contract.vector_env import AutoresetMode

for package in ("tyro", "rich", "torch", "stable_baselines3"):
    pytest.importorskip(package)
if AutoresetMode is None:
    pytest.skip("native vector environments need Gymnasium 1.1", allow_module_level=True)

from rich.console import Console  # noqa: E402
from stable_baselines3 import PPO  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402

from baselines.atomic_files import write_json  # noqa: E402
from baselines.experiments.learning.stock_ppo import StockPPO  # noqa: E402
from baselines.experiments.learning.studies import (  # noqa: E402
    STUDIES,
    check_study,
    read_studies,
)
from baselines.experiments.learning.study_numbers import (  # noqa: E402
    PolicyNumbers,
    SeedNumbers,
    StudyNumbers,
    VariantNumbers,
)
from baselines.experiments.learning.tables import study_tables  # noqa: E402
from baselines.experiments.learning.trainings import planned  # noqa: E402
from baselines.experiments.learning_study import StudyArguments, main, run  # noqa: E402

ROOT = Path(__file__).parents[3]
TOY = """
[toy]
question = "Does a slower step help?"
environments = ["Safe/DeepSeaTreasure-v0"]
agents = ["PPO", "PPOLag"]
seeds = [0, 1]
total_timesteps = 1024
variants.defaults = {}
variants.slow = { PPO = { learning_rate = "lin_1e-4", policy_kwargs = { log_std_init = -1.0 } } }

[again]
question = "What do the defaults reach?"
environments = ["Safe/DeepSeaTreasure-v0"]
agents = ["PPOLag"]
seeds = [1]
total_timesteps = 1024
variants.defaults = {}
"""


@pytest.fixture
def toy(tmp_path):
    """Returns the arguments of studies in a file of the test's own."""

    def written(text=TOY, **options):
        file = tmp_path / "studies.toml"
        file.write_text(text)
        return StudyArguments(folder=tmp_path / "runs", studies=file, **options)

    return written


def policy(episode_return, cost, cost_error=0.0, length=1000.0):
    return PolicyNumbers(episode_return, [cost], [cost_error], length)


def variant(name, stochastic, failures=None):
    """Return a variant whose most likely actions always earn 7 and cost 1."""
    seeds = [
        SeedNumbers(seed, f"seed_{seed}", one, policy(7.0, 1.0))
        for seed, one in enumerate(stochastic)
    ]
    return VariantNumbers("Env-v0", "PPO", name, ["cost"], [25.0], seeds, failures or {})


FIRST = variant("first", [policy(1.0, 3.0), policy(2.0, 4.0), policy(3.0, 5.0)])
OTHER = variant(
    "other",
    [policy(3.0, 24.0, 0.5), policy(5.0, 26.0, 1.0, length=10.0), policy(7.0, 30.0, 2.0)],
)


def table_of(*variants):
    (table,) = study_tables(StudyNumbers("made_up", "Is it so?", 1000, [*variants]))
    return table, [dict(zip(table.headings, row[3:], strict=True)) for row in table.rows]


def printed(call, *arguments, **options):
    shown = io.StringIO()
    code = call(*arguments, console=Console(file=shown, width=250), **options)
    return code, shown.getvalue()


def test_a_table_has_the_numbers_by_hand():
    table, (first, first_mode, other, other_mode) = table_of(FIRST, OTHER)
    assert [row[:3] for row in table.rows] == [
        ["PPO", "first", "stochastic"],
        ["PPO", "first", "deterministic"],
        ["PPO", "other", "stochastic"],
        ["PPO", "other", "deterministic"],
    ]
    assert first["return"] == "2.0000 +- 0.5774"  # 1 / sqrt(3)
    assert other["return"] == "5.0000 +- 1.1547"  # 2 / sqrt(3)
    assert other["cost"] == "26.67 +- 1.76"  # sqrt(28 / 3) / sqrt(3)
    assert (first["length"], first["shortest"]) == ("1000.0", "1000.0")
    assert (other["length"], other["shortest"]) == ("670.0", "10.0")
    assert (first["within limit"], first["within limit + SE"]) == ("100%", "100%")
    assert other["within limit"] == "33%"  # 24
    assert other["within limit + SE"] == "67%"  # 26 - 1 as well, which is the limit
    assert first["return: difference [95 %]"] == first["cost: difference [95 %]"] == ""
    # Differences of the seeds are 2, 3, 4: t of two degrees of freedom is 4.302653.
    half = 4.302653 / np.sqrt(3.0)
    shown = f"+3.0000 [{3.0 - half:+.4f}, {3.0 + half:+.4f}]"
    assert other["return: difference [95 %]"] == shown == "+3.0000 [+0.5159, +5.4841]"
    assert first_mode["return"] == other_mode["return"] == "7.0000 +- 0.0000"
    assert other_mode["return: difference [95 %]"] == "+0.0000 [+0.0000, +0.0000]"
    assert table.subtitle == (
        "made_up: Env-v0, 1,000 steps, limit 25; mean +- standard error over the seeds 0 1 2; "
        "differences to first by seed, with Student's 95 % intervals"
    )


def test_one_variant_needs_no_differences():
    table, (only, _) = table_of(FIRST)
    assert "return: difference [95 %]" not in table.headings
    assert "difference" not in table.subtitle
    assert only["cost"] == "4.0000 +- 0.5774"
    lines = table.markdown().splitlines()
    assert lines[0].startswith("**Is it so?** made_up: Env-v0, 1,000 steps, limit 25")
    assert lines[4].startswith("| PPO | first | stochastic | 2.0000 +- 0.5774 | 4.0000 +- 0.5774 |")
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_one_seed_has_no_interval():
    _, rows = table_of(variant("a", [policy(2.0, 1.0)]), variant("b", [policy(5.0, 3.0)]))
    assert rows[2]["return"] == "5.0000"
    assert rows[2]["return: difference [95 %]"] == "+3.0000"


def test_means_of_the_remaining_seeds_are_not_shown():
    failed = variant("failed", [policy(9.0, 9.0)], {"1": "ValueError: no"})
    _, rows = table_of(FIRST, failed)
    assert rows[2]["return"] == "1 of 2 seeds failed"
    assert {*rows[2].values()} == {"1 of 2 seeds failed", ""}
    table, rows = table_of(failed, OTHER)
    assert "over the seeds 0 1; differences to failed by seed" in table.subtitle
    assert rows[2]["return"] == "5.0000 +- 1.1547"
    assert rows[2]["return: difference [95 %]"] == ""


def test_several_constraints_have_a_column_each():
    seed = SeedNumbers(0, "", *[PolicyNumbers(1.0, [1.0, 3.0], [0.0, 1.5], 10.0)] * 2)
    one = VariantNumbers("Env-v0", "PPO", "only", ["speed", "tilt"], [1.0, 2.0], [seed], {})
    table, (row, _) = table_of(one)
    assert table.headings[:3] == ["return", "cost speed", "cost tilt"]
    assert (row["cost speed"], row["cost tilt"]) == ("1.0000", "3.0000")
    assert (row["within limit"], row["within limit + SE"]) == ("0%", "100%")


def test_numbers_are_read_back(tmp_path):
    numbers = StudyNumbers("made_up", "Is it so?", 1000, [FIRST, OTHER])
    write_json(tmp_path / "summary.json", asdict(numbers))
    assert StudyNumbers.from_file(tmp_path / "summary.json") == numbers
    write_json(tmp_path / "other.json", {"study": "made_up"})
    with pytest.raises(ValueError, match=r"other.json is damaged: question: Field required"):
        StudyNumbers.from_file(tmp_path / "other.json")


def test_a_study_is_trained_once_and_shown_again(toy, tmp_path, run_here, monkeypatch):
    monkeypatch.setattr("baselines.experiments.trained.missing_runs.run_in_processes", run_here)
    file = tmp_path / "tables.md"
    arguments = toy(study=("toy", "again"), markdown=file)
    code, text = printed(run, arguments)
    assert code == 0
    assert "6 trainings, 6 of them missing" in text  # PPO twice, PPOLag once, for two seeds
    summary = json.loads((tmp_path / "runs" / "toy" / "summary.json").read_text())
    groups = {(one["agent"], one["variant"]): one for one in summary["variants"]}
    assert [*groups] == [("PPO", "defaults"), ("PPOLag", "defaults"), ("PPO", "slow")]
    table = {"pi": [], "vf": []}  # of the environment, in PPO.toml
    for name, rate, extra in (
        ("defaults", "lin_0.01", {}),
        ("slow", "lin_1e-4", {"log_std_init": -1.0}),
    ):
        one = groups["PPO", name]
        assert [seed["seed"] for seed in one["seeds"]] == [0, 1]
        for seed in one["seeds"]:
            result = json.loads((tmp_path / "runs" / seed["folder"] / "result.json").read_text())
            settings = result["hyperparameters"]
            assert settings["learning_rate"] == rate
            assert settings["policy_kwargs"] == {"net_arch": table, **extra}
            assert result["seed"] == seed["seed"]
            for mode in ("stochastic", "deterministic"):
                exact = result[mode]["exact"]
                assert seed[mode] == {
                    "episode_return": exact["value"],
                    "costs": exact["costs"],
                    "cost_errors": [0.0],
                    "length": result[mode]["mean_length"],
                }
    tables = text[text.index("Does a slower step help?") :]
    assert "What do the defaults reach?" in tables
    assert file.read_text().count("| PPO | slow | stochastic |") == 1
    code, again = printed(run, arguments)
    assert (code, again.count("6 trainings, 0 of them missing")) == (0, 1)
    assert again.endswith(tables)
    (tmp_path / "runs" / "trainings").rename(tmp_path / "elsewhere")
    code, read = printed(run, toy(study=("toy", "again"), train=False))
    assert (code, read.strip()) == (0, tables.strip())


def test_a_failed_training_is_told(toy, run_here, monkeypatch):
    monkeypatch.setattr("baselines.experiments.trained.missing_runs.run_in_processes", run_here)
    text = TOY.replace('"lin_1e-4"', "-1.0").replace("1024", "64")
    code, told = printed(run, toy(text, study=("toy",), seeds=(3,), timesteps=32))
    assert code == 1
    assert "PPO on Safe/DeepSeaTreasure-v0, slow, seed 3: ValueError: learning_rate" in told
    assert "1 of 1 seeds failed" in told


def test_seeds_and_steps_can_be_others(toy):
    study = read_studies(toy().studies)["toy"]
    jobs = [one.job for one in planned(study, toy().folder, "")]
    assert {(job.seed, job.total_timesteps) for job in jobs} == {(0, 1024), (1, 1024)}
    words = toy(study=("toy",), seeds=(3, 4), timesteps=32).command()
    assert " --study toy --seeds 3 4 --timesteps 32 --processes 2 " in words


@pytest.mark.parametrize("name", read_studies(STUDIES))
def test_every_study_of_the_project_can_be_planned(name, tmp_path):
    study = read_studies(STUDIES)[name]
    check_study(study)
    shown = {one.case for one in planned(study, tmp_path, "")}
    cases = len(study.environments) * len(study.agents)
    assert cases <= len(shown) <= cases * len(study.variants)


def test_the_guides_study_can_be_planned(toy, tmp_path):
    guide = (ROOT / "docs" / "add_your_experiment.md").read_text()
    (text,) = re.findall(r"^```toml\n(.*?)^```", guide, re.DOTALL | re.MULTILINE)
    study = read_studies(toy(text).studies)["rollouts"]
    check_study(study)
    cases = {one.case[1:]: one.job for one in planned(study, tmp_path, "")}
    assert [*cases] == [("PPOLag", "defaults"), ("SB3 PPO", "defaults"), ("PPOLag", "long")]
    assert cases["PPOLag", "long"].hyperparameters["n_steps"] == 4096
    assert "n_steps" not in cases["SB3 PPO", "defaults"].hyperparameters  # its library's own


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"PPO", "PPOLag"', '"PPO", "PPOLga"', "unknown agent 'PPOLga'; did you mean 'PPOLag'?"),
        ('"PPO", "PPOLag"', '"PPO", "pqa_alm"', "has the agent pqa_alm, which is a solver"),
        ("DeepSeaTreasure", "DeepSeaTresure", "DeepSeaTreasure"),
        ("learning_rate", "learning_rat", "did you mean 'learning_rate'?"),
        ("{ PPO =", "{ CPO =", "unknown agent 'CPO'; did you mean 'PPO'? Known: *, PPO, PPOLag"),
        ("slow = { PPO", "slow = { learning_rate = 0.1, PPO", "write settings below an agent's"),
        ("seeds = [0, 1]", "seeds = [0, -1]", "seeds is [0, -1]"),
        ("seeds = [0, 1]", "seeds = 2", "seeds: Input should be a valid array"),
        ("question", "questoin", "question: Field required"),
        ("total_timesteps = 1024", "total_timesteps = 0", "total-timesteps is 0"),
        ("[toy]", "[toys]", "unknown study 'toy'; did you mean 'toys'? Known: again, toys"),
        ('"PPO", "PPOLag"', "", "study 'toy' has no agents"),
        ("seeds", "labels = { CPO = 'c' }\nseeds", "Known: PPO, PPOLag (labels of study 'toy')"),
        ("seeds", "labels = { PPO = 'PPOLag' }\nseeds", "two agents by one name (PPOLag, PPOLag)"),
    ],
)
def test_errors_come_before_any_training(toy, old, new, message, capsys):
    assert TOY.count(old)
    arguments = toy(TOY.replace(old, new, 1), study=("toy",))
    assert main(arguments) == 2
    told = " ".join(capsys.readouterr().out.split())
    assert told.startswith("error: ")
    assert message in told
    assert not arguments.folder.exists()


@pytest.mark.parametrize(
    ("file", "reason"),
    [("", "Is a directory"), ("studies.toml/tables.md", "File exists")],  # a file as a folder
)
def test_tables_that_could_not_be_written_are_refused_before_any_training(
    toy, tmp_path, file, reason, capsys
):
    arguments = toy(study=("toy",), markdown=tmp_path / file)
    assert main(arguments) == 2
    told = " ".join(capsys.readouterr().out.split())
    assert told.startswith(f"error: --markdown is {tmp_path / file}, which cannot be written: ")
    assert reason in told
    assert not arguments.folder.exists()


def test_a_study_needs_variants_and_a_file(toy, tmp_path):
    with pytest.raises(ValueError, match=r"study 'toy' in .* has no variants; write variants.defa"):
        run(toy(TOY[: TOY.index("variants")], study=("toy",)), Console())
    with pytest.raises(ValueError, match=r"there is no file .*none.toml"):
        run(StudyArguments(studies=tmp_path / "none.toml"), Console())


def test_without_a_name_the_studies_are_listed(toy):
    code, text = printed(run, toy())
    assert code == 0
    assert text.split("\n")[:2] == [
        "toy    Does a slower step help?",
        "again  What do the defaults reach?",
    ]


def test_stock_ppo_is_what_users_of_stable_baselines_run(tmp_path):
    stock = StockPPO("MlpPolicy", gym.make("Pendulum-v1"), seed=5).learn(1)
    behind = VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")]))
    plain = PPO("MlpPolicy", behind, seed=5).learn(1)
    assert (plain.n_steps, plain.n_epochs, plain.batch_size) == (2048, 10, 64)
    assert (behind.norm_obs, behind.norm_reward) == (True, True)
    stock.save(tmp_path / "model.zip")
    loaded = StockPPO.load(tmp_path / "model.zip")
    raw = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    expected, _ = plain.predict(behind.normalize_obs(raw), deterministic=True)
    assert np.ptp(expected) > 0.0
    for agent in (stock, loaded):
        for _ in range(2):  # acting does not change the statistics
            actions, memory = agent.predict(raw, deterministic=True)
            np.testing.assert_array_equal(actions, expected)
            assert memory is None
