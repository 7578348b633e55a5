"""Every named agent lists all of its arguments, at run time and for type checkers."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import agents
from agents import stub_writer
from agents.dual.pid import PID
from agents.named_agents import NAMED_AGENTS
from agents.schedules import LinearDecay
from agents.signatures import described_arguments, without_arguments

ROOT = Path(__file__).parents[2]
REGION = LinearDecay(0.02, part=0.2)
KNOWN = {  # of some arguments, found in the parts' own files
    "PPO": {
        "clip_range": 0.2,
        "ent_coef": 0.0,
        "n_steps": 2048,
        "learning_rate": LinearDecay(1e-3),
    },
    "PPOLag": {"multiplier_lr": 0.05, "clip_range": 0.2, "cost_limit": None, "batch_size": 64},
    "PPOPID": {"derivative_delay": 10, "smoothing": 0.8},
    "PPOALM": {"penalty": 0.6, "primal_steps_per_dual_step": 3},
    "SPMALag": {"step_size": 0.7, "multiplier_optimizer": "ascent"},
    "SPMAALM": {"step_size": 0.7, "penalty_growth": 1.0},
    "TRPOLag": {"max_kl": REGION, "batch_size": 128, "learning_rate": 1e-3, "gae_lambda": 0.9},
    "TRPOALM": {"max_kl": REGION, "batch_size": 128, "learning_rate": 1e-3, "gae_lambda": 0.9},
    "CPO": {"violation_gain": 10.0, "max_kl": REGION, "learning_rate": 1e-3, "gae_lambda": 0.9},
    "SCPO": {"objective": "ppo", "bank_size": 16, "safe_policy": None, "learning_rate": 3e-4},
}


def test_the_named_agents():
    assert set(KNOWN) <= set(NAMED_AGENTS)
    others = {"ConstrainedAgent", "ConstrainedEvalCallback", "LinearDecay", "SavedAgentError"}
    others |= {"evaluate", "load", "make_vec_env"}
    assert {*NAMED_AGENTS, *others} == set(agents.__all__)


@pytest.mark.parametrize("name", KNOWN)
def test_signatures_list_every_argument(name):
    kind = getattr(agents, name)
    parameters = inspect.signature(kind).parameters
    assert list(parameters)[:2] == ["policy", "env"]
    keywords = list(parameters.values())[2:]
    assert {p.kind for p in keywords} == {inspect.Parameter.KEYWORD_ONLY}
    assert {p.name: p.default for p in keywords} == kind.arguments()
    found = {argument: parameters[argument].default for argument in KNOWN[name]}
    assert found == KNOWN[name]
    assert "num_constraints" not in parameters
    assert "**" not in str(inspect.signature(kind.__init__))


@pytest.mark.parametrize("name", KNOWN)
def test_docstrings_document_every_argument(name):
    kind = getattr(agents, name)
    described = described_arguments(kind)
    assert list(described) == list(inspect.signature(kind).parameters)
    assert all(described.values())
    assert max(map(len, kind.__doc__.splitlines())) <= 100
    assert "Args:" not in without_arguments(inspect.getdoc(kind))
    pid = described_arguments(PID)
    if name == "PPOPID":
        assert described["smoothing"] == pid["smoothing"]


def test_own_agents_get_a_signature_too():
    class Mine(agents.ConstrainedAgent):
        """Mine."""

        recipe = agents.PPOPID.recipe

    class MineWithTwoArguments(Mine):
        """Has a constructor of its own."""

        def __init__(self, env, seed=0):
            super().__init__("MlpPolicy", env, seed=seed)

    assert inspect.signature(Mine) == inspect.signature(agents.PPOPID)
    assert described_arguments(Mine) == described_arguments(agents.PPOPID)
    assert list(inspect.signature(MineWithTwoArguments).parameters) == ["env", "seed"]
    assert MineWithTwoArguments("Safe/CliffWorld-v0", seed=4).seed == 4


def test_stub_is_current():
    assert stub_writer.PATH.read_text() == stub_writer.stub_text(), (
        "agents/__init__.pyi is out of date; run: python -m agents.stub_writer"
    )


RIGHT = """
import agents
agent = agents.PPOLag("MlpPolicy", "Safe/CliffWorld-v0", clip_range=lambda left: 0.2 * left)
agents.CPO("MlpPolicy", "Safe/CliffWorld-v0", cost_limit=[1.0], max_kl=0.02, n_steps=64)
agents.SCPO("MlpPolicy", "Safe/DoubleIntegrator-v0", objective="reinforce", expert=None)
"""
WRONG = {
    'agents.PPOLag("MlpPolicy", "X", clip_rang=0.1)': 'Unexpected keyword argument "clip_rang"',
    'agents.PPOPID("MlpPolicy", "X", multiplier_lr=1.0)': "Unexpected keyword argument",
    'agents.PPOLag("MlpPolicy", "X", n_steps="many")': 'incompatible type "str"; expected "int"',
    'agents.TRPOALM("MlpPolicy", "X", penalty=None)': 'incompatible type "None"; expected "float"',
    'agents.PPOLag("MlpPolicy", "X", multiplier_optimizer="sgd")': "incompatible type",
    'agents.PPO("MlpPolicy")': 'Missing positional argument "env"',
}


def test_type_checkers_know_the_arguments(tmp_path):
    """One run of mypy; the stub alone is read, and nothing that it imports."""
    snippet = tmp_path / "snippet.py"
    snippet.write_text(RIGHT + "\n".join(WRONG))
    options = ["--config-file=", "--follow-imports=skip", f"--cache-dir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(stub_writer.PATH), str(snippet)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    errors = [line for line in done.stdout.splitlines() if " error: " in line]
    first = RIGHT.count("\n") + 1
    assert len(errors) == len(WRONG), done.stdout
    for number, (error, message) in enumerate(zip(errors, WRONG.values(), strict=True), first):
        assert f"snippet.py:{number}: error: " in error
        assert message in error
