"""The guides for code of one's own, followed to the letter in a folder outside of the checkout."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import baselines.__main__
import leaderboard.__main__

DOCS = Path(__file__).parents[3] / "docs"
PROGRAMS = {
    "baselines": baselines.__main__.main,
    "leaderboard": leaderboard.__main__.main,
}


def part(page, heading):
    """Return the text below a heading, up to the next one of that level."""
    text = (DOCS / page).read_text("utf-8")
    return re.search(rf"^{re.escape(heading)}$\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.M)[1]


def follow(page, heading, folder, monkeypatch):
    """Write the files of a part of a guide and run its commands, as `python -m` does."""
    text = part(page, heading)
    (name,) = re.findall(r"`(my_\w+\.py)`", text[: text.index("```")])
    (source,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (folder / name).write_text(source)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    (block,) = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    commands = block.replace("\\\n", " ").splitlines()
    for command in commands:
        python, dash, program, *words = shlex.split(command)
        assert (python, dash) == ("python", "-m")
        assert PROGRAMS[program](words) == 0, command
    return len(commands)


@pytest.mark.usefixtures("jobs_run_here")
def test_the_guide_for_environments(tmp_path, monkeypatch, capsys):
    heading = "## In your own code: wrap it"
    assert follow("add_your_environment.md", heading, tmp_path, monkeypatch) == 3
    shown = capsys.readouterr().out
    assert "PPOLag on my_pendulum.py:make, seed 0" in shown
    assert "2 jobs: ran 2, kept 0" in shown


@pytest.mark.usefixtures("jobs_run_here")
def test_the_guide_for_agents(tmp_path, monkeypatch, capsys):
    heading = "## An agent outside the package"
    assert follow("add_your_agent.md", heading, tmp_path, monkeypatch) == 4
    shown = capsys.readouterr().out
    assert "my_agents.py:SPMAPID on Safe/DeepSeaTreasure-v0, seed 0" in shown
    assert "3 jobs: ran 3, kept 0" in shown
    assert "dry run: nothing was sent" in shown


def test_the_guide_s_file_checks_itself(tmp_path):
    """`python my_pendulum.py` runs the conformance check, in processes too."""
    text = part("add_your_environment.md", "## In your own code: wrap it")
    (source,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert 'if __name__ == "__main__":' in source
    compile(source, "my_pendulum.py", "exec")
    code = source.split("if __name__")[0]
    (tmp_path / "my_pendulum.py").write_text(code)
    script = (
        "import gymnasium as gym, sys; assert 'my_pendulum' not in sys.modules; "
        "env = gym.make('my_pendulum:My/Pendulum-v0'); env.reset(seed=0); "
        "print(env.step(env.action_space.sample())[4]['cost'] >= 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "True\n", done.stderr
