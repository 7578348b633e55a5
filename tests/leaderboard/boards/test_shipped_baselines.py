"""The shipped policies are files as everybody's, and their metadata tells how they were made."""

import json

import numpy as np
import pytest

from agents.tabular import linear_program
from baselines.names.environments import parse_environment_name, tabular_model_of
from baselines.names.hyperparameters import parse_overrides
from baselines.policy_export.exact_policies import exact_policy
from baselines.policy_export.onnx_policy import OnnxPolicy
from leaderboard.boards.baseline_plan import AGENTS, baseline_budgets
from leaderboard.boards.board import boards
from leaderboard.evaluation.evaluate import tried_policies
from leaderboard.submissions.baseline_submissions import (
    SHIPPED,
    shipped_submissions,
    write_submission,
)
from leaderboard.submissions.submission import check_submission, spaces_of

SMALL = [env for env, budget in baseline_budgets().items() if budget.exact]


def test_every_small_board_opens_with_rows():
    assert list(boards())[:4] == SMALL
    for env in boards():
        named = [one.metadata.algorithm for one in shipped_submissions(env)]
        trained = [name for name in named if name in AGENTS]
        assert sorted(trained) == sorted(AGENTS if env in SMALL else ())
        assert len(named) - len(trained) == (env in SMALL)


def test_the_files_are_small():
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 700_000
    assert {path.suffix for path in files} == {".onnx", ".json"}


@pytest.mark.parametrize("env", SMALL)
def test_the_files_pass_the_gate_and_their_metadata_says_how_they_were_made(env):
    budget = baseline_budgets()[env]
    overrides = parse_overrides(budget.overrides(AGENTS), AGENTS)
    for submission in shipped_submissions(env):
        check_submission(submission)
        told = submission.metadata
        assert told.env == env
        assert told.authors == ["safe-envs"]
        assert not told.uses_safety_filter
        if told.algorithm not in AGENTS:
            assert told.uses_model
            assert (told.training_seeds, told.training_steps) == ([0], 0)
            continue
        assert not told.uses_model
        assert told.stochastic
        assert told.training_seeds == [0, 1, 2, 3, 4]
        rollout = told.hyperparameters["n_envs"] * told.hyperparameters["n_steps"]
        assert 0 <= told.training_steps - budget.total_timesteps < rollout
        wanted = overrides[told.algorithm]
        assert {name: told.hyperparameters[name] for name in wanted} == wanted
        assert told.claim.episodes == budget.evaluation_episodes
        assert told.framework_versions["torch"]


@pytest.mark.parametrize("env", SMALL[2:])
def test_the_controller_is_the_one_that_is_made_today(env):
    (shipped,) = (one for one in shipped_submissions(env) if one.metadata.uses_model)
    with tried_policies(shipped) as tried:
        assert len(tried) == 1
    fresh = exact_policy(baseline_budgets()[env].exact, parse_environment_name(env), {})
    spaces = spaces_of(boards()[env])
    seen = np.random.default_rng(0).normal(scale=5.0, size=(50, *spaces.observation.shape))
    answers = [
        OnnxPolicy(content, spaces.observation, spaces.action, 0).predict(seen, deterministic=True)
        for content in (shipped.policies[0], fresh.content)
    ]
    assert np.allclose(answers[0][0], answers[1][0], atol=1e-6)


@pytest.mark.parametrize("env", SMALL[:2])
def test_the_shipped_optimum_has_the_value_of_the_linear_program(env):
    (shipped,) = (one for one in shipped_submissions(env) if one.metadata.uses_model)
    spaces, model = spaces_of(boards()[env]), tabular_model_of(parse_environment_name(env))
    is_vector = spaces.observation.shape != ()
    seen = np.eye(model.num_states) if is_vector else np.arange(model.num_states)
    policy = OnnxPolicy(shipped.policies[0], spaces.observation, spaces.action, 0)
    evaluation = model.evaluate(policy.probabilities(seen, deterministic=False))
    assert evaluation.value == pytest.approx(linear_program(model).value, abs=1e-6)
    assert evaluation.costs == pytest.approx(model.limits, abs=1e-6)


def test_a_written_submission_replaces_an_earlier_one_of_more_policies(tmp_path):
    env = SMALL[1]
    (exact,) = (one for one in shipped_submissions(env) if one.metadata.uses_model)
    own = write_submission(exact, tmp_path)
    (own / "policy_1.onnx").write_bytes(b"of another time")
    assert write_submission(exact, tmp_path) == own
    assert sorted(path.name for path in own.iterdir()) == ["meta.json", "policy_0.onnx"]
    told = json.loads((own / "meta.json").read_text())
    assert told["sha256"] == exact.metadata.sha256
