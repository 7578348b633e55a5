"""The table of measured numbers shows every digit in 80 columns."""

import io

from rich.console import Console

from baselines.report.terminal_table import print_table
from leaderboard.boards.board import board_of
from leaderboard.commands.row_table import score_table
from leaderboard.scores.row_score import CostStatistics, Interval, RowStatistics
from leaderboard.submissions.metadata import Claim

SMALL = -3.7261e-05
EACH = Interval(SMALL, SMALL, SMALL)


def test_no_number_is_cut():
    cost = CostStatistics(
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
    statistics = RowStatistics(
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
    claim = Claim(mean_return=SMALL, mean_costs=[SMALL], episodes=100, exact=True)
    text = io.StringIO()
    table = score_table(board_of("Safe/CliffWorld-v0"), statistics, claim)
    print_table(Console(file=text, width=80), table)
    assert "…" not in text.getvalue()
    assert text.getvalue().count("-3.726e-05 to -3.726e-05") == 5
