"""The table of measured numbers shows every digit in 80 columns."""

import dataclasses
import io
import math

from rich.console import Console

from baselines.report.terminal_table import print_table
from leaderboard.boards.board import board_of
from leaderboard.commands.row_table import score_table
from leaderboard.scores.published import exactly
from leaderboard.scores.row_score import CostStatistics, Interval, RowStatistics
from leaderboard.submissions.metadata import Claim

SMALL = -3.7261e-05
NONE = Interval(math.nan, math.nan, math.nan)
EACH = Interval(SMALL, SMALL, SMALL)


def a_cost():
    return CostStatistics(
        name="a_constraint_with_a_long_name",
        limit=1.234e-05,
        mean=EACH,
        upper_bound=SMALL,
        p90=EACH,
        p95=EACH,
        p95_upper_bound=SMALL,
        worst=SMALL,
        cvar=EACH,
        violation_probability=EACH,
        excess=SMALL,
        excess_p95=SMALL,
        plain_mean=SMALL,
        seed_means=(SMALL,),
        quantiles=(SMALL,) * 101,
    )


def some_statistics(cost):
    return RowStatistics(
        policies=5,
        episodes=100,
        score=EACH,
        mean_return=EACH,
        plain_mean_return=SMALL,
        mean_length=1.0,
        seed_returns=(SMALL,),
        seed_lengths=(1.0,),
        return_quantiles=(SMALL,) * 101,
        costs=(cost,),
    )


def shown(statistics):
    claim = Claim(mean_return=SMALL, mean_costs=[SMALL], episodes=100, exact=True)
    text = io.StringIO()
    table = score_table(board_of("Safe/CliffWorld-v0"), exactly(statistics), claim)
    print_table(Console(file=text, width=80), table)
    return text.getvalue()


def test_no_number_is_cut():
    text = shown(some_statistics(a_cost()))
    assert "…" not in text
    assert text.count("-3.726e-05 to -3.726e-05") == 5


def test_what_is_not_public_yet_is_withheld():
    cost = dataclasses.replace(a_cost(), p95=NONE, worst=math.nan)
    text = shown(some_statistics(cost))
    words = [line.replace("│", " ").split() for line in text.splitlines()]
    assert [line for line in words if "withheld" in line] == [
        ["P95", "withheld"],
        ["worst", "withheld"],
    ]
    assert "nan" not in text
