"""Every page contains the numbers of its data."""

import dataclasses
import json
import math
import time

import pytest

from leaderboard.store.seasons import SeasonState
from leaderboard.web import safe_text
from leaderboard.web.board_table import COLUMNS, sorted_rows
from leaderboard.web.comparison import compare
from leaderboard.web.pages import render
from tests.leaderboard.page_examples import (
    CLIFF,
    EMPTY,
    HOPPER,
    SECRET,
    ExampleSource,
    a_season,
    cliff_rows,
    scored_rows,
    some_metadata,
)
from tests.leaderboard.parsed_page import parsed, text_of

BOARD = f"boards/{CLIFF.slug}/index.html"


def test_a_row_shows_its_numbers():
    row = cliff_rows()[0]
    found = row.ranked.candidate.score.statistics
    cells = parsed(BOARD).row("PPO with a multiplier")
    short = safe_text.short
    assert cells[0] == "1 (1\N{EN DASH}2)"
    assert cells[1] == "✓ safe"
    assert cells[3] == "Ada Lovelace, Emmy Noether"
    assert cells[4].startswith(f"{short(found.score.value)}{short(found.score.low)} to ")
    assert cells[5] == f"{short(found.mean_return.value)}plain {short(found.plain_mean_return)}"
    cost = found.costs[0]
    assert cells[6].startswith(f"{short(cost.mean.value)} ≤ {short(cost.upper_bound)}")
    assert cells[7:10] == [short(cost.p95.value), short(cost.worst), short(cost.cvar.value)]
    assert cells[11:13] == ["5", "1,000,000"]
    assert cells[14] == "2026-03-02"


def test_unranked_rows_are_below_and_marked():
    page = parsed(BOARD)
    names = [" ".join(row[2].split()) for row in page.rows if len(row) > 8]
    waiting = ["Two seeds only", "Diverged", "Taken back", "Still playing", "In line"]
    assert names[-5:] == waiting
    for name, mark in zip(
        waiting, ["preview", "invalid", "withdrawn", "running", "queued"], strict=True
    ):
        assert mark in page.row(name)[1]
    assert "137 of 500 episodes" in page.row("Still playing")
    assert "not finite in episode 17" in " ".join(page.row("Diverged"))


def test_every_page_says_how_to_read_it():
    for path in ("index.html", BOARD, "submissions/1.html", "compare/1-2.html", "season/1.html"):
        text = text_of(path)
        assert "discounted as the environment declares" in text
        assert "100 episodes for each" in text
        assert "comparable only at equal numbers of episodes" in text


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_pages_sort_by_every_column(column):
    page = parsed(f"boards/{CLIFF.slug}/sort-{column.name}.html")
    shown = [int(a["data-submission"]) for tag, a in page.elements if tag == "tr" and len(a) > 0
             and "data-submission" in a]  # fmt: skip
    rows = sorted_rows(CLIFF, cliff_rows()[:5], column.name)
    assert shown[:5] == [row.submission.id for row in rows]
    keys = [column.key(CLIFF, row) for row in rows]
    assert keys == sorted(keys, reverse=column.descending)
    (head,) = [a for tag, a in page.elements if tag == "th" and "aria-sort" in a]
    assert head["data-column"] == column.name
    assert head["aria-sort"] == ("descending" if column.descending else "ascending")


def test_several_constraints_are_named_and_sorted_by_the_worst():
    cells = parsed(f"boards/{HOPPER.slug}/index.html").row("SPMA")
    assert "speed" in cells[6]
    assert "height" in cells[6]
    row = scored_rows(HOPPER, [(some_metadata(), 2000.0, 15.0)])[0]
    costs = row.ranked.candidate.score.statistics.costs
    expected = max((costs[0].p95.value - 25.0) / 25.0, (costs[1].p95.value - 0.5) / 0.5)
    column = next(column for column in COLUMNS if column.name == "p95")
    assert column.key(HOPPER, row) == pytest.approx(expected)


def test_submission_page_shows_claims_next_to_measurements():
    found = cliff_rows()[0].ranked.candidate.score.statistics
    page = parsed("submissions/1.html")
    difference = safe_text.signed(2000.0 - found.mean_return.value)
    assert page.row("Return")[-1] == f"2,000 ({difference})"
    seeds = [row for row in page.rows if row[0] == "3" and len(row) == 7]
    assert [row[2] for row in seeds] == [safe_text.short(found.seed_returns[3])]
    median = next(row for row in page.rows if row[0] == "50")
    assert median[1] == safe_text.short(found.return_quantiles[50])
    assert "As reported by the submitter" in " ".join(page.text)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (101, "A preview"),
        (102, "not finite in episode 17"),
        (103, "Withdrawn. It keeps its numbers"),
        (104, "137 of 500 episodes are done"),
        (105, "Waiting to be evaluated"),
    ],
)
def test_submission_page_shows_its_state(number, expected):
    text = " ".join(" ".join(parsed(f"submissions/{number}.html").text).split())
    assert expected in text


def test_episodes_and_secret_appear_only_once_revealed():
    hidden, open_source = ExampleSource(), ExampleSource(revealed=True)
    assert str(2**63) not in text_of("submissions/1.html", hidden)
    assert SECRET not in text_of("season/1.html", hidden)
    assert SECRET in text_of("season/1.html", open_source)
    page = parsed("submissions/1.html", open_source)
    episodes = open_source.submission_page(1).episodes
    cells = page.row("0")
    rows = [row for row in page.rows if len(row) > 1 and row[1].isdigit() and int(row[1]) >= 2**63]
    assert cells
    assert len(rows) == 500
    assert rows[101][1:3] == [str(2**63 + 17 * 101), safe_text.short(episodes.returns[1, 1])]


def test_comparison_gives_differences_with_a_paired_interval():
    source = ExampleSource()
    first, second = source.submission_page(1), source.submission_page(2)
    interval = source.score_difference(1, 2)
    assert compare(first, second, interval).differences[0].interval == interval
    ends = [safe_text.signed(end) for end in interval]
    assert "({} to {})".format(*ends) in parsed("compare/1-2.html", source).row("Score")[-1]
    cells = parsed("compare/1-2.html", source).row("Cost, mean")
    a, b = (p.row.ranked.candidate.score.statistics.costs[0].mean.value for p in (first, second))
    assert cells[1:] == [safe_text.short(a), safe_text.short(b), safe_text.signed(b - a)]
    assert compare(first, source.submission_page(201)) is None


def test_aggregate_page_counts_feasible_boards():
    page = parsed("aggregate.html")
    row = page.row("CPO")
    assert row[2] == "2 of 3"
    assert "counts as 0" in " ".join(page.row("PPO that ignores"))


def test_boards_without_rows_invite():
    board = text_of(f"boards/{EMPTY.slug}/index.html")
    assert "No submissions yet" in board
    assert f"--env {EMPTY.env}" in board
    nothing = ExampleSource(rows={}, seasons=[])
    assert "No season has been opened yet" in text_of("index.html", nothing)
    assert "No season" in text_of("season/index.html", nothing)
    assert render(BOARD, nothing) is None
    assert render("aggregate.html", nothing) is None


def test_former_seasons_keep_their_boards():
    source = ExampleSource(seasons=[a_season(1, SeasonState.REVEALED), a_season(2)])
    old = f"season/1/{CLIFF.slug}/index.html"
    assert f'href="../season/1/{CLIFF.slug}/' not in text_of("season/index.html", source)
    assert f'href="../season/1/{CLIFF.slug}/index.html"' in text_of("season/1.html", source)
    assert "Season 1" in text_of(old, source)
    assert render(f"season/2/{CLIFF.slug}/index.html", source) is None


def test_kinds_of_files():
    source = ExampleSource()
    folder = BOARD.removesuffix("index.html")
    kinds = {path: render(path, source).media_type for path in (
        BOARD, folder + "board.csv", folder + "board.json", "static/pages.css", "static/sort.js",
        "static/icon.svg")}  # fmt: skip
    assert [kind.split(";")[0] for kind in kinds.values()] == [
        "text/html", "text/csv", "application/json", "text/css", "text/javascript",
        "image/svg+xml"]  # fmt: skip


def test_json_holds_all_rows():
    data = json.loads(text_of(f"boards/{CLIFF.slug}/board.json"))
    assert [row["submission"] for row in data["rows"]] == [1, 2, 3, 4, 5, 101, 102, 103, 104, 105]
    assert data["rows"][0]["metadata"]["training_seeds"] == [0, 1, 2, 3, 4]


def test_forms_need_a_server():
    assert "<form" in text_of(BOARD)
    assert "<form" not in text_of(BOARD, static=True)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0"),
        (0.175, "0.175"),
        (-0.00123, "\N{MINUS SIGN}0.00123"),
        (9.996, "10.0"),
        (99.96, "100"),
        (-1234567.8, "\N{MINUS SIGN}1,234,568"),
        (1e-5, "1.00e\N{MINUS SIGN}05"),
        (math.nan, "\N{EN DASH}"),
        (None, "\N{EN DASH}"),
    ],
)
def test_numbers(number, expected):
    assert safe_text.short(number) == expected


def test_five_hundred_rows_render_within_a_second():
    (row,) = scored_rows(CLIFF, [(some_metadata(), 2000.0, 18.0)])
    rows = [
        dataclasses.replace(row, submission=dataclasses.replace(row.submission, id=number))
        for number in range(1, 501)
    ]
    source = ExampleSource(rows={CLIFF.env: rows}, boards=(CLIFF,))
    text_of(BOARD, source)
    started = time.process_time()
    assert text_of(BOARD, source).count("<tr data-submission") == 500
    assert time.process_time() - started < 1.0
