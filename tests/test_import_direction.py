"""Imports only go downward, and the environments need no learning framework."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ["safe_envs", "agents", "baselines", "leaderboard"]
FRAMEWORKS = {"torch", "stable_baselines3", "sb3_contrib"}
ALLOWED = {  # the checker tries Stable-Baselines3, inside a function, if it is installed
    ("safe_envs/contract/vector_checks.py", "stable_baselines3"),
}


# The folders of each package, from the bottom up: a folder may use those before it. Agents' files
# and folders have no fixed order, but no import cycles.
FLOORS = {
    "safe_envs": (
        "rendering", "contract", "action_constraints", "safety_filters", "tabular", "control",
        "velocity", "quadrotor", "safety_gymnasium_bridge",
    ),
    "baselines": (
        "names", "policy_export", "measures", "diagnostics", "movies", "jobs", "report", "site",
        "commands",
        "experiments", "benchmarks",
    ),
    "leaderboard": (
        "boards", "sandbox", "policy_files", "submissions", "scores", "store", "evaluation", "web",
        "commands", "benchmarks",
    ),
}  # fmt: skip


def modules_of(package):
    return sorted((ROOT / package).rglob("*.py"))


def is_for_type_checkers(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported_names(node):
    """Dotted names of all imports, including late ones, without those for type checkers."""
    if is_for_type_checkers(node):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imported_names(child)


def file_of(name):
    """The file of a module, or of the module that contains a name."""
    for parts in (name.split("."), name.split(".")[:-1]):
        path = ROOT.joinpath(*parts)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if parts and file.is_file():
                return file
    return None


def arrows_in(package):
    """(importing, imported) for all files of a package."""
    found = set()
    for file in modules_of(package):
        for name in imported_names(ast.parse(file.read_text())):
            target = file_of(name) if name.split(".")[0] == package else None
            if target not in (None, file):
                found.add((file, target))
    return found


def imported_roots(path):
    yield from (name.split(".")[0] for name in imported_names(ast.parse(path.read_text())))


@pytest.mark.parametrize("package", [p for p in ORDER if (ROOT / p).is_dir()])
def test_imports_go_downward(package):
    above = set(ORDER[ORDER.index(package) + 1 :])
    files = modules_of(package)
    assert files
    wrong = [(str(f), root) for f in files for root in imported_roots(f) if root in above]
    assert wrong == []


@pytest.mark.parametrize("package", ORDER)
def test_no_folder_has_an_import_cycle(package):
    """The files and subfolders of a folder, each taken as one, have no import cycle."""
    arrows = arrows_in(package)
    assert arrows
    for folder in {file.parent for file in modules_of(package)}:
        graph = {}
        for file, target in arrows:
            if file.is_relative_to(folder) and target.is_relative_to(folder):
                one, other = (f.relative_to(folder).parts[0] for f in (file, target))
                if one != other:
                    graph.setdefault(one, set()).add(other)
        TopologicalSorter(graph).prepare()  # CycleError names the cycle


@pytest.mark.parametrize("package", FLOORS)
def test_no_import_goes_upward(package):
    floors = FLOORS[package]
    assert set(floors) == {
        path.name
        for path in (ROOT / package).iterdir()
        if path.is_dir() and any(path.rglob("*.py"))
    }
    upwards = []
    for file, target in arrows_in(package):
        one, other = (f.relative_to(ROOT / package).parts[0] for f in (file, target))
        if one in floors and other in floors and floors.index(one) < floors.index(other):
            upwards.append(f"{file.relative_to(ROOT)} imports {target.relative_to(ROOT)}")
    assert upwards == []


def test_every_public_class_has_a_name_of_its_own():
    homes = {}
    for package in ORDER:
        for file in modules_of(package):
            for node in ast.parse(file.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes.setdefault(node.name, []).append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_safety_filters_name_no_environment():
    named = re.compile("quadrotor|double.?integrator|crazyflie|hummingbird|sphere", re.IGNORECASE)
    found = [
        f"{file.name}: {line.strip()}"
        for file in modules_of("safe_envs/safety_filters")
        for line in file.read_text().splitlines()
        if named.search(line)
    ]
    assert found == []


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
    """In a fresh interpreter where importing a framework fails."""
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
