"""`make clients`: what its table says and how it ends. The clients themselves are not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "clients"
sys.path.append(str(FOLDER))

from harness import Row  # noqa: E402
from run import BEGIN, END, Result, write  # noqa: E402

AGREES = Row("Safe/CliffWorld-v0", "single", "`info`", 1000, 31.0, 31.0)
DIFFERS = Row("Safe/CliffWorld-v0", "vector", "`info`", 1000, 30.0, 31.0)
FAILED = Row("Safe/CliffWorld-v0", "vector", "`info`", failure="ValueError: a | b")


@pytest.mark.parametrize(
    ("rows", "failure", "agrees", "marked"),
    [
        ((AGREES,), "", True, []),
        ((AGREES, DIFFERS), "", False, ["**30**"]),
        ((AGREES, FAILED), "", False, ["**ValueError: a / b**"]),
        ((), "cannot be installed", False, ["**cannot be installed**"]),
        ((), "", False, ["**nothing was run**"]),
    ],
)
def test_only_equal_sums_agree_and_all_else_is_marked(rows, failure, agrees, marked):
    result = Result("skrl", "2.1.1", rows, failure)
    assert result.agrees is agrees
    lines = result.lines()
    assert len(lines) == max(len(rows), len(marked))
    assert {line.count("|") for line in lines} <= {8}  # seven columns
    cells = [cell.strip() for line in lines for cell in line.split("|")]
    assert [cell for cell in cells if "**" in cell] == marked


def test_the_table_of_a_page_is_replaced(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}\n| old |\n\n{END}after\n")
    write("| new |\n", page)
    assert page.read_text() == f"before\n{BEGIN}\n| new |\n\n{END}after\n"


def test_unknown_clients_are_refused():
    command = [sys.executable, FOLDER / "run.py", "skrll"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "unknown clients ['skrll']; known: torchrl, minari, skrl" in ended.stderr
