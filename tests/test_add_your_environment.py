"""The guide for environments, followed to the letter in a copy of the checkout."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "add_your_environment.md").read_text("utf-8")
FILE = re.search(r"^`(safe_envs/\S+\.py)`:$", GUIDE, re.MULTILINE)[1]
SOURCE = re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)[1]
LINE = re.search(r"^register_forms\(.*\)$", GUIDE, re.MULTILINE)[0]
MOST_LINES = 70  # of code, both forms and the picture included
TESTS = ("conftest.py", "test_every_registered_env.py", "contract/test_single_env.py")

CHECK = """
import sys
import gymnasium as gym
import matplotlib.image
import numpy as np
import safe_envs
sys.path.insert(0, "docs")
import generate

venv = gym.make_vec("Safe/HeatedRoom-v0", num_envs=512, power=2.0)
venv.reset(seed=0)
for _ in range(150):
    temperatures = venv.step(np.full((512, 1), 0.6, np.float32))[0]
print(temperatures.mean())
page = generate.environment_page("Safe/HeatedRoom-v0")
print("## Reference Optimum" in page, "| `hot` | 2 | 1 |" in page)
generate.write_film("Safe/HeatedRoom-v0")
print(matplotlib.image.imread("docs/images/heated_room.png").shape[1])
print(open("docs/images/heated_room.gif", "rb").read(6))
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of what the guide touches, with its file and its line."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "safe_envs", tmp_path / "safe_envs", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(
        ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.md", "*.png", "*.gif")
    )
    for name in TESTS:
        (tmp_path / "tests" / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "tests" / "safe_envs" / name, tmp_path / "tests" / name)
    (tmp_path / FILE).write_text(SOURCE)
    lines = (tmp_path / "safe_envs" / "__init__.py").read_text("utf-8")
    (tmp_path / "safe_envs" / "__init__.py").write_text(f"{lines}{LINE}\n")
    return tmp_path


def run(checkout, *words):
    return subprocess.run(
        [sys.executable, *words],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(checkout), str(ROOT)))},
        capture_output=True,
        text=True,
    )


def test_the_guide_gives_an_environment(checkout):
    """Both forms pass the registry-wide tests; the numbers, the page and the picture are right."""
    done = run(
        checkout, "-m", "pytest", "-p", "no:cacheprovider", "-v", "tests", "-k", "HeatedRoom"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 10
    done = run(checkout, "-c", CHECK)
    assert done.returncode == 0, done.stderr
    mean, page, width, moving = done.stdout.strip().splitlines()
    assert float(mean) == pytest.approx(5.0 + 10.0 * 2.0 * 0.6, abs=0.05)
    assert page == "True True"
    assert (width, moving) == ("400", "b'GIF89a'")


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("## Costs", "## Prices", r"docstring of HeatedRoomEnv lacks the headings \['Costs'\]"),
        ("class HeatedRoomVectorEnv", "class Rooms", "has no attribute 'HeatedRoomVectorEnv'"),
        ("def margins", "def distances", "'HeatedRooms' object has no attribute 'margins'"),
    ],
)
def test_what_is_forgotten_is_named(checkout, written, instead, message):
    assert SOURCE.count(written) == 1
    (checkout / FILE).write_text(SOURCE.replace(written, instead))
    chosen = "HeatedRoom and (complete or contract)"
    done = run(checkout, "-m", "pytest", "-x", "-p", "no:cacheprovider", "tests", "-k", chosen)
    assert done.returncode == 1
    assert re.search(message, done.stdout), done.stdout


def test_the_environment_is_short():
    """Lines of code, without blank ones and docstrings."""
    documented = set()
    for node in ast.walk(ast.parse(SOURCE)):
        documentable = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documentable and ast.get_docstring(node):
            documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(SOURCE.splitlines(), 1)
    assert len([line for i, line in lines if line.strip() and i not in documented]) <= MOST_LINES
