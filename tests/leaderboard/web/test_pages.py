"""Every page contains the numbers of its data."""

import dataclasses
import html
import json
import math
import re
import subprocess
import time

import pytest
import tyro

from baselines.commands.train import TrainOptions
from leaderboard.__main__ import COMMANDS
from leaderboard.boards.board import boards
from leaderboard.scores.row_score import Interval
from leaderboard.store.seasons import SeasonState
from leaderboard.web import safe_text
from leaderboard.web.board_table import COLUMNS, sorted_rows, versions_of
from leaderboard.web.comparison import compare
from leaderboard.web.pages import render
from leaderboard.web.task_text import docstring_html
from tests.leaderboard.page_examples import (
    CLIFF,
    EMPTY,
    HOPPER,
    SECRET,
    ExampleSource,
    a_season,
    cliff_rows,
    scored_rows,
    some_curves,
    some_metadata,
    unranked_rows,
)
from tests.leaderboard.parsed_page import Parsed, parsed, text_of

BOARD = f"boards/{CLIFF.slug}/index.html"


def test_a_row_shows_its_numbers():
    row = cliff_rows()[0]
    found = row.ranked.candidate.score.statistics
    cells = parsed(BOARD).row("PPO with a multiplier")
    short = safe_text.short
    assert cells[0] == "1 (1\N{EN DASH}2)"
    assert cells[1] == "✓ safe"
    assert cells[2] == "PPO with a multiplier Ada Lovelace, Emmy Noether"
    assert cells[3].startswith(f"{short(found.score.value)}{short(found.score.low)} to ")
    assert cells[4] == short(found.mean_return.value)
    cost = found.costs[0]
    assert cells[5] == f"{short(cost.mean.value)}95 % ≤ {short(cost.upper_bound)}"
    assert cells[6:9] == [short(cost.p95.value), short(cost.worst), short(cost.cvar.value)]
    assert cells[10:13] == ["5", "1,000,000", "2026-03-02"]


def test_undiscounted_sums_are_shown_where_they_differ():
    (row,) = scored_rows(EMPTY, [(some_metadata(env=EMPTY.env), 0.3, 0.1)])
    source = ExampleSource(rows={EMPTY.env: [row]}, boards=(EMPTY,))
    found = row.ranked.candidate.score.statistics
    cells = parsed(f"boards/{EMPTY.slug}/index.html", source).row("PPO with a multiplier")
    assert cells[4].endswith(f"plain {safe_text.short(found.plain_mean_return)}")
    assert cells[5].endswith(f"plain {safe_text.short(found.costs[0].plain_mean)}")
    page = parsed("submissions/1.html", source)
    assert page.row("Return")[3] == safe_text.short(found.plain_mean_return)
    assert "undiscounted" not in parsed("submissions/1.html").rows[0]


def test_the_limit_is_in_the_header_of_the_cost():
    assert "Costlimit 25" in parsed(BOARD).rows[0]
    several = parsed(f"boards/{HOPPER.slug}/index.html").rows[0]
    assert "Costspeed limit 25height limit 0.5" in several


def test_flags_stand_under_the_name():
    assert parsed(BOARD).row("Filtered PPO")[2].endswith("Emmy Noether filtermodel")


def test_unranked_rows_are_below_and_marked():
    page = parsed(BOARD)
    names = [" ".join(row[2].split()) for row in page.rows if len(row) > 6]
    waiting = ["Two seeds only", "Diverged", "Taken back", "Still playing", "In line"]
    assert names[-5:] == [f"{name} Ada Lovelace, Emmy Noether" for name in waiting]
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
    assert "speed" in cells[5]
    assert "height" in cells[5]
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


def test_aggregate_page_shows_the_mean_over_entered_boards():
    source = ExampleSource()
    page = source.aggregate_page(1)
    alone = dataclasses.replace(page.rows[-1], score=Interval(0.0, 0.0, 0.0))
    failed = next(row for row in page.rows if row.feasible == 0)
    source.aggregate_page = lambda season: dataclasses.replace(page, rows=(alone, failed))
    cells = parsed("aggregate.html", source).row("SPMA")
    score = next(iter(alone.cells.values())).score
    assert cells[2:5] == ["1 of 3", "0too few boards", f"{safe_text.short(score)}on 1 board"]
    assert parsed("aggregate.html", source).row("PPO that ignores")[4] == "0on 1 board"


def test_the_task_has_a_picture_a_paragraph_and_a_page():
    page = parsed(BOARD)
    (picture,) = [a for tag, a in page.elements if tag == "img"]
    assert picture["src"] == f"../../static/tasks/{CLIFF.slug}.webp"
    assert picture["alt"] == "A frame of Cliff world"
    assert CLIFF.about in " ".join(page.text)
    task = parsed(f"boards/{HOPPER.slug}/task.html")
    assert [cell.strip() for cell in task.row("Hopper")][1] == "0.7402"
    assert "Every step on which it exceeds its threshold costs 1." in " ".join(
        "".join(task.text).split()
    )
    unknown = dataclasses.replace(CLIFF, env="Safe/RandomCMDP-v0")
    without = parsed(f"boards/{unknown.slug}/index.html", ExampleSource({}, (unknown,)))
    assert [tag for tag, _ in without.elements if tag == "img"] == []


def test_docstrings_become_pages():
    text = "Title <b>.\n\n## Part\nOne `a < b`\ntwo.\n- x:\n  y\n- z\n\n"
    text += "| a | b |\n|---|---|\n| 1 | 2 |"
    assert docstring_html(text).split("\n", 4)[:4] == [
        "<p>Title &lt;b&gt;.</p>",
        "<h2>Part</h2>",
        "<p>One <code>a &lt; b</code>",
        "two.</p>",
    ]
    page = Parsed(docstring_html(text))
    assert [tag for tag, _ in page.elements].count("li") == 2
    assert page.rows == [["a", "b"], ["1", "2"]]


@pytest.mark.parametrize("board", boards().values(), ids=lambda board: board.slug)
def test_the_commands_of_an_empty_board_work_as_pasted(board, tmp_path):
    source = ExampleSource(rows={}, boards=(board,))
    source.submission_rules = lambda: dataclasses.replace(
        ExampleSource.submission_rules(source), url="https://board.example"
    )
    for path in (f"boards/{board.slug}/index.html", "how-to-submit.html"):
        commands = pasted(text_of(path, source), tmp_path)
        trained = [words[1:] for words in commands if words[0] == "baselines"]
        assert {words[0] for words in trained} == {"train"}
        given = [tyro.cli(TrainOptions, args=words[1:]) for words in trained]
        assert [options.seed for options in given] == [0, 1, 2, 3, 4]
        assert {str(options.env) for options in given} == {board.env}
        for package, name, *words in commands[5:]:
            assert package == "leaderboard"
            options = tyro.cli(COMMANDS[name][0], args=words)
            assert {run.parent for run in (options.out for options in given)} == set(
                options.run_dirs
            )


def pasted(content, folder):
    """Return the words after `python -m` that a shell makes of a page's commands."""
    blocks = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", content, re.DOTALL)
    script = "\n".join(html.unescape(block) for block in blocks)
    echo = 'python() { shift; printf "%s\\n" "$*"; }\n'
    done = subprocess.run(
        ["sh", "-euc", echo + script], capture_output=True, text=True, check=True, cwd=folder
    )
    return [line.split() for line in done.stdout.splitlines()]


def test_boards_without_rows_invite():
    board = text_of(f"boards/{EMPTY.slug}/index.html")
    assert "No submissions yet" in board
    assert f"--env {EMPTY.env}" in board
    nothing = ExampleSource(rows={}, seasons=[])
    assert "No season has been opened yet" in text_of("index.html", nothing)
    assert "No season" in text_of("season/index.html", nothing)
    assert render(BOARD, nothing) is None
    assert render("aggregate.html", nothing) is None


def test_boards_with_unranked_rows_only_do_not_claim_to_be_empty():
    """As a board that opens with its exact optimum, which is a single policy."""
    rows = [row for row in unranked_rows(CLIFF, 1) if row.ranked is not None]
    one = ExampleSource(rows={CLIFF.env: rows[:1]}, boards=(CLIFF,))
    more = ExampleSource(rows={CLIFF.env: rows[:2]}, boards=(CLIFF,))
    assert "1 row, none ranked: <a" in text_of("index.html", one)
    assert "2 rows, none ranked: <a" in text_of("index.html", more)
    assert "No rows yet" not in text_of("index.html", one)
    assert "No rows yet" in text_of("index.html", ExampleSource(rows={}, boards=(CLIFF,)))


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
    ("seconds", "expected"),
    [
        (0.001, "< 0.01 s"),
        (0.4, "0.4 s"),
        (1.74, "2 s"),
        (59.4, "59 s"),
        (59.7, "1 min"),
        (2100, "35 min"),
        (3580, "1 h"),
        (17_280, "4.8 h"),
        (35_900, "10 h"),
        (756_000, "210 h"),
    ],
)
def test_times_have_a_fitting_unit(seconds, expected):
    assert safe_text.duration(seconds) == expected
    metadata = some_metadata(wall_seconds=seconds)
    source = ExampleSource(rows={CLIFF.env: scored_rows(CLIFF, [(metadata, 2000.0, 18.0)])})
    page = parsed("submissions/1.html", source)
    assert f", {expected} each" in " ".join(page.text)


def test_versions_are_told_once():
    told = {"safe-envs": "0.1.0", "torch": "2.9.0"}
    assert versions_of(some_metadata(framework_versions=told)) == ["safe-envs 0.1.0", "torch 2.9.0"]
    assert versions_of(some_metadata(framework_versions={}, suite_version="")) == []
    other = some_metadata(framework_versions=told, suite_version="0.2.0")
    assert versions_of(other)[:2] == ["safe-envs of the run 0.2.0", "safe-envs 0.1.0"]


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


def test_a_board_whose_rows_have_no_rank_is_not_called_empty():
    page = text_of("index.html", ExampleSource({CLIFF.env: unranked_rows(CLIFF, 101)}))
    assert "5 rows, none ranked" in page
    assert "No rows yet" in page  # the other boards


def test_a_comparison_with_a_preview_says_what_is_missing():
    seen = text_of("compare/1-101.html")
    assert '<span class="badge plain">preview</span>' in seen
    assert "A dash is a number that is withheld until" in seen
    assert "A dash is" not in text_of("compare/1-101.html", ExampleSource(revealed=True))


def test_a_single_curve_of_a_board_is_named():
    source = ExampleSource()
    source.curves = lambda ids: {3: some_curves(3)}
    seen = text_of(f"boards/{CLIFF.slug}/environment.html", source)
    assert "<bdi>3 CPO</bdi>" in seen.partition('id="chart-curve-return"')[2].partition("</ul>")[0]
