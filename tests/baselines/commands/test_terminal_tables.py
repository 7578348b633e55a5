"""Tables of 80 columns and of pipes show every digit."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from rich.table import Table

from baselines.__main__ import main
from baselines.commands.show import _jobs_table, _settings_table
from baselines.jobs.found_run import find_runs
from baselines.report.episodes_section import episodes_section, evaluation_table
from baselines.report.run_overview import OVERVIEWS
from baselines.report.solver_section import summarize_solvers, terminal_table
from baselines.report.terminal_table import (
    PIPE_WIDTH,
    name_columns,
    number_columns,
    print_table,
    terminal_console,
)

LONG_NAME = "a_constraint_with_a_very_long_name_that_nobody_would_abbreviate"


def printed(table, width=80):
    text = io.StringIO()
    print_table(Console(file=text, width=width), table)
    return text.getvalue()


def with_long_numbers(result):
    """Return a result with the widest numbers and two constraints."""
    small, m = -3.7262e-05, 2

    def wide(episodes):
        return replace(
            episodes,
            mean_return=small,
            mean_costs=[small] * m,
            violation=[small] * m,
            mean_plain_costs=[small] * m,
            costs=[[small] * m for _ in episodes.costs],
            plain_costs=[[small] * m for _ in episodes.costs],
            cost_tails=[replace(episodes.cost_tails[0], p90=small, worst=small)] * m,
            mean_length=123456.7,
            exact=replace(episodes.exact, value=small, costs=[small] * m, violation=[small] * m),
        )

    return replace(
        result,
        constraint_names=[LONG_NAME, "speed"],
        limits=[0.123456, 1.5e-07],
        cost_discounts=[1.0, 1.0],
        stochastic=wide(result.stochastic),
        deterministic=wide(result.deterministic),
    )


def test_no_table_of_80_columns_cuts_a_number(sea, tmp_path):
    found = find_runs(sea)
    runs = [replace(one, job=replace(one.job, agent=LONG_NAME)) for one in found]
    learned, solved = found[0], found[-1]
    result = with_long_numbers(learned.result)
    outcomes = [one.job.outcome(one.folder) for one in found]
    (tmp_path / "plots").mkdir()
    deep = [replace(one, result=with_long_numbers(one.result)) for one in outcomes[:2]]
    tables = [
        evaluation_table(result),
        OVERVIEWS["solvers"].table(solved.result),
        _jobs_table("env", [replace(runs[0], result=result), *runs]),
        _settings_table("PPOLag", "env", {LONG_NAME: LONG_NAME, "gamma": 0.99}),
        *episodes_section(tmp_path, learned.job.env, None, deep, deep).tables(),
    ]
    rows = [replace(outcomes[2], job=replace(outcomes[2].job, agent=LONG_NAME))]
    tables.append(terminal_table("env", 1.0, summarize_solvers(rows)))
    for table in tables:
        assert "…" not in printed(table)
    assert printed(tables[0]).count("-3.726e-05") > 8


def test_names_are_folded_before_the_lines_become_too_long():
    table = Table()
    name_columns(table, "name")
    number_columns(table, "x")
    table.add_row(LONG_NAME, "-3.7262e-05")
    narrow = printed(table, 40)
    assert "-3.7262e-05" in narrow
    assert max(map(len, narrow.splitlines())) <= 40
    assert "-3.7262e-05" in printed(table, 8)  # too narrow for the number itself
    assert len(printed(table, 200).splitlines()) == 5


def test_pipes_are_wide(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal_console().width == PIPE_WIDTH
    monkeypatch.setenv("COLUMNS", "90")
    assert terminal_console().width == 90


@pytest.mark.parametrize("columns", ["30", "80"])
def test_a_list_of_jobs_says_which_values_are_exact_and_how_they_are_summed(
    sea, columns, monkeypatch, capsys
):
    """Exact values of a deep agent stand beside those of a solver."""
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["show", str(sea)]) == 0
    text = capsys.readouterr().out
    exact = find_runs(sea)[0].result.stochastic.exact
    assert f"{exact.value:.5g}" in text
    rows = [[c.strip() for c in line.split("│")[1:-1]] for line in text.splitlines()]
    assert [row[-1] for row in rows if row and row[0]] == ["exact"] * 3
    assert "discounts" in text
    assert "…" not in text
