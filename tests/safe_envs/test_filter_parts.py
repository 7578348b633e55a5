"""The names that the filter's package exports from environments, and that it knows none itself."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import safe_envs.safety_filters as filters
from safe_envs import filter_parts

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = r"quadrotor|double.?integrator|crazyflie|hummingbird|sphere|velocity_env"


def test_every_name_is_found_where_the_table_says():
    for name, home in filter_parts.HOMES.items():
        assert getattr(filters, name) is getattr(import_module(home), name)
        assert name in filters.__all__


def test_the_stub_names_what_the_table_names():
    tree = ast.parse(Path(filter_parts.__file__).with_suffix(".pyi").read_text())
    stub = {
        (alias.name, node.module)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert stub == set(filter_parts.HOMES.items())


def test_the_filter_names_no_environment():
    for file in (ROOT / "safe_envs" / "safety_filters").rglob("*.py*"):
        if file.suffix in (".py", ".pyi"):
            assert not re.search(ENVIRONMENTS, file.read_text(), re.IGNORECASE), file


def test_the_filter_loads_no_environment():
    script = (
        "import sys, safe_envs.safety_filters\n"
        "print([m for m in sys.modules if m.startswith(('safe_envs.quadrotor',"
        " 'safe_envs.control'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
