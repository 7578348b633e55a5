"""Imports go downwards only, and the environments need no learning framework."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ["safe_envs", "agents", "baselines", "leaderboard"]
FRAMEWORKS = {"torch", "stable_baselines3", "sb3_contrib"}
ALLOWED = {  # the checker tries Stable-Baselines3, inside a function, if it is installed
    ("safe_envs/contract/vector_checks.py", "stable_baselines3"),
}


def modules_of(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported_roots(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("package", [p for p in ORDER if (ROOT / p).is_dir()])
def test_imports_go_downwards(package):
    above = set(ORDER[ORDER.index(package) + 1 :])
    files = modules_of(package)
    assert files
    wrong = [(str(f), root) for f in files for root in imported_roots(f) if root in above]
    assert wrong == []


@pytest.mark.parametrize("folder", ["safe_envs", "agents/tabular", "agents/controllers"])
def test_no_learning_framework_is_imported(folder):
    found = {
        (str(f.relative_to(ROOT)), root)
        for f in modules_of(folder)
        for root in imported_roots(f)
        if root in FRAMEWORKS
    }
    assert found <= ALLOWED


def test_environments_and_tabular_agents_load_without_torch():
    """A fresh interpreter in which importing a framework fails."""
    script = (
        "import sys\n"
        "for name in ('torch', 'stable_baselines3', 'sb3_contrib', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import gymnasium, safe_envs, agents.tabular\n"
        "env = gymnasium.make('Safe/CliffWorld-v0')\n"
        "print(agents.tabular.linear_program(env.unwrapped.tabular_model()).value)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(0.5334478198893817, abs=1e-9)


def test_files_stay_short():
    long = [
        (str(f.relative_to(ROOT)), lines)
        for package in ORDER
        for f in modules_of(package)
        if (lines := len(f.read_text().splitlines())) > 400
    ]
    assert long == []
