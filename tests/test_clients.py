"""The table and exit code of `make clients`. The clients themselves are not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "clients"
sys.path.append(str(FOLDER))

from harness import Row  # noqa: E402
from run import BEGIN, END, HEADER, Result, write  # noqa: E402

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


def test_the_lines_of_a_client_are_replaced(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}\n{END}after\n")
    old, other = Result("skrl", "1.0", (AGREES, AGREES)), Result("sbx", "0.28.0", (AGREES,))
    new, first = Result("skrl", "2.0", (AGREES,)), Result("torchrl", "", failure="it fails")
    for result in (other, old, new, first):
        write(result.lines(), page)
    rows = [*first.lines(), *new.lines(), *other.lines()]  # in the order of `make clients`
    assert page.read_text() == "".join([f"before\n{BEGIN}\n{HEADER}", *rows, f"\n{END}after\n"])


def test_unknown_clients_are_refused():
    command = [sys.executable, FOLDER / "run.py", "skrll"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "unknown clients ['skrll']; pass any of torchrl, minari, skrl" in ended.stderr
