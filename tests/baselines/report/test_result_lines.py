"""The first table of the report: what counts as feasible, and how far from the optimum."""

import math

import pytest

from baselines.report.result_lines import KnownOptimum, ResultLine, best_of, in_order

OPTIMUM = KnownOptimum(0.5, (0.15,), 0.9)


def line(agent="CPO", value=0.4, margins=(-0.05,), runs=None, limits=(0.15,), discount=0.9):
    runs = len(margins) if runs is None else runs
    return ResultLine(agent, value, tuple(margins), runs, limits, discount, is_exact=True)


@pytest.mark.parametrize(
    ("margins", "runs", "verdict", "margin"),
    [
        ((-0.05,), 1, "yes", "0.05 below"),
        ((0.0,), 1, "yes", "at the limit"),
        ((3e-16, -1e-16), 2, "yes", "at the limit"),  # rounding is no violation
        ((2e-9,), 1, "no", "just above"),
        ((-5e-5,), 1, "yes", "just below"),
        ((-0.03, -0.01), 2, "yes", "0.02 below on average, 0.01 at worst"),
        ((0.197, 0.197), 2, "no", "0.197 above"),
        ((0.1, 0.3), 2, "no", "0.2 above on average, 0.3 at worst"),
        ((-0.03, 0.01), 2, "in 1 of 2 seeds", "0.01 below on average, 0.01 above at worst"),
        ((-0.03, -0.03), 3, "in 2 of 3 seeds", "0.03 below"),
        ((0.03,), 3, "no, 2 of 3 failed", "0.03 above"),
        ((), 2, "no result", ""),
    ],
)
def test_a_verdict_says_whether_every_run_is_within_the_limits(margins, runs, verdict, margin):
    one = line(margins=margins, runs=runs, value=0.4 if margins else math.nan)
    assert (one.verdict, one.margin) == (verdict, margin)
    assert one.is_feasible == (verdict == "yes")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.5, "none"),
        (0.5 - 1e-12, "none"),
        (0.49999, "under 0.01 % below"),
        (0.49, "2 % below"),
        (0.6, "20 % above"),
        (-5.0, "1100 % below"),
    ],
)
def test_the_gap_is_a_share_of_the_optimum(value, told):
    assert line(value=value).gap(OPTIMUM) == told


def test_no_gap_without_a_comparable_optimum():
    assert line().gap(None) == ""
    assert line(limits=(0.3,)).gap(OPTIMUM) == ""  # trained for another limit
    assert line(discount=1.0).gap(OPTIMUM) == ""
    assert line(margins=()).gap(OPTIMUM) == ""
    assert line(value=-0.25).gap(OPTIMUM._replace(value=0.0)) == "0.25 below"


def test_what_violates_is_never_the_best():
    greedy, half = line("PPO", 0.9, (0.2,)), line("PPOLag", 0.5, (-0.1, 0.1))
    good, equal, poor = line("CPO", 0.4), line("SCPO", 0.4 - 1e-12), line("SPMALag", 0.1)
    lost, failed = line("TRPOLag", math.nan, (), 2), line("PPOPID", 0.8, (-0.1,), 2)
    lines = [lost, greedy, poor, half, good, failed, equal]
    shown = [one.agent for one in in_order(lines)]
    assert shown == ["CPO", "SCPO", "SPMALag", "PPOPID", "PPOLag", "PPO", "TRPOLag"]
    assert best_of(lines) == "Best within the limits: CPO and SCPO."
    assert best_of([greedy, half, failed]) == "No agent meets the limits in all its runs."
