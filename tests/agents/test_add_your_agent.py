"""The guide is followed to the letter in a copy of the packages, and what it promises holds."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "add_your_agent.md").read_text()
NEEDED = ("agents", "baselines", "safe_envs")
TABLE = "agents/named_agents.py"

# Blocks that follow a sentence with a file's name and a colon.
STEPS = re.findall(r"`(agents/\S+\.py)`[^`]*:\n\n```(\w+)\n(.*?)^```", GUIDE, re.DOTALL | re.M)
LINES = re.findall(r"^```text\n( {4}\"\w+\": .*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^```bash\npython (.*?)\n```", GUIDE, re.MULTILINE)
FILES = [(path, text) for path, language, text in STEPS if language == "python"]


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the packages with the guide's new files, but not its lines of the table."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in NEEDED:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copytree(ROOT / "tests" / "agents", folder / "tests" / "agents")
    for path, text in FILES:
        assert not (folder / path).exists()
        (folder / path).write_text(text)
    return folder


def test_the_guide_has_the_steps():
    assert [path for path, _ in FILES] == ["agents/dual/ratchet.py", "agents/ppo_fixed_price.py"]
    assert len(LINES) == 2
    assert COMMANDS == ["-m agents.stub_writer"]
    assert GUIDE.count(f"`{TABLE}`") == 2


PROMISES = """
import inspect
import sys

import agents
from agents import stub_writer
from baselines.names.agents import default_hyperparameters, kind_of
from baselines.names.hyperparameters import hyperparameters_for

ratchet, fixed = agents.PPORatchet, agents.PPOFixedPrice
parameters = inspect.signature(ratchet).parameters
assert (parameters["step"].default, parameters["decay"].default) == (0.1, 0.9)
assert parameters["clip_range"].default == 0.2
assert "num_constraints" not in parameters
assert "added to the price of a violated constraint" in ratchet.__doc__
assert inspect.signature(fixed).parameters["price"].default == 1.0

small = {"n_steps": 256, "n_epochs": 1, "seed": 0}
# Random walks meet landmines, so that the price is raised after both rollouts.
agent = ratchet("MlpPolicy", "Safe/DeepSeaTreasure-v0", cost_limit=0.0, step=0.2, **small)
agent.learn(256)
once = agent.constraint_state()["weight"][0]
assert once > 0
agent.learn(256, reset_num_timesteps=False)
assert agent.num_timesteps == 512
twice = agent.constraint_state()["weight"][0]
assert twice > 1.5 * once
agent.save(sys.argv[1])
assert ratchet.load(sys.argv[1]).constraint_state()["weight"].tolist() == [twice]
priced = fixed("MlpPolicy", "Safe/CliffWorld-v0", price=2.0, **small)
assert priced.learn(256).constraint_state()["weight"].tolist() == [2.0]

try:
    ratchet("MlpPolicy", "Safe/CliffWorld-v0", stp=0.2)
except TypeError as error:
    assert "unknown argument 'stp'; did you mean 'step'?" in str(error), error
for name in ("PPORatchet", "PPOFixedPrice"):
    assert kind_of(name) == "deep agent"
assert default_hyperparameters("PPORatchet")["decay"] == 0.9
assert hyperparameters_for("PPORatchet", "Safe/CliffWorld-v0")["step"] == 0.1
text = stub_writer.PATH.read_text()
assert text == stub_writer.stub_text()
assert "class PPORatchet(ConstrainedAgent)" in text
assert "        decay: float = 0.9," in text
print("kept")
"""


def test_a_forgotten_line_of_the_table_is_named(checkout):
    """Before the table is edited, the test of the table fails and says what to add where."""
    test = "tests/agents/test_named_agents.py"
    done = run(checkout, "-m", "pytest", "-q", "--import-mode=importlib", test, "-k", "every_dual")
    assert done.returncode == 1
    assert "no named agent uses agents.dual.ratchet.Ratchet; add a line to the" in done.stdout
    assert f"table in {TABLE}" in done.stdout
    assert "1 failed" in done.stdout


def test_the_guide_leads_to_agents_that_keep_its_promises(checkout):
    table = checkout / TABLE
    text = table.read_text()
    end = text.index("\n}\n", text.index("NAMED_AGENTS: dict")) + 1
    table.write_text(text[:end] + "".join(LINES) + text[end:])
    for command in COMMANDS:
        done = run(checkout, *command.split())
        assert done.returncode == 0, done.stderr
    script = checkout / "promises.py"
    script.write_text(PROMISES)
    done = run(checkout, str(script), str(checkout / "saved"))
    assert done.stdout == "kept\n", done.stderr
