"""Every page holds the numbers of its data, and nothing a stranger wrote becomes markup."""

import csv
import dataclasses
import hashlib
import html.parser
import io
import json
import math
import re
import time

import pytest

from leaderboard import safe_text
from leaderboard.board_table import COLUMNS, board_csv, sorted_rows
from leaderboard.chart_axis import amount_axis
from leaderboard.chart_data import board_charts, environment_charts, submission_charts
from leaderboard.comparison import compare
from leaderboard.page_data import Curve, SeasonState, State
from leaderboard.pages import CONTENT_SECURITY_POLICY, META_POLICY, render
from leaderboard.ranked_row import Feasibility
from leaderboard.seed_curves import return_band
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
)

BOARD = f"boards/{CLIFF.slug}/index.html"
VOID = {"meta", "link", "br", "input", "img", "hr"}


class Parsed(html.parser.HTMLParser):
    """Elements, the cells of all tables, and visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.rows, self.text, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID and tag not in ("line", "circle", "path"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open:
            return
        self.text.append(data)
        if "td" in self.open or ("th" in self.open and self.rows):
            self.rows[-1][-1] += data

    def row(self, start):
        cells = [[" ".join(cell.split()) for cell in row] for row in self.rows]
        return next(row for row in cells if any(cell.startswith(start) for cell in row[:3]))


def text_of(path, source=None, **options):
    page = render(path, source or ExampleSource(), **options)
    assert page is not None
    return page.content.decode()


def parsed(path, source=None, **options):
    return Parsed(text_of(path, source, **options))


def test_a_row_shows_its_numbers():
    row = cliff_rows()[0]
    found = row.ranked.candidate.score.statistics
    cells = parsed(BOARD).row("PPO with a multiplier")
    short = safe_text.short
    assert cells[0] == "1 (1–2)"
    assert cells[1] == "✓ safe"
    assert cells[3] == "Ada Lovelace, Emmy Noether"
    assert cells[4].startswith(f"{short(found.score.value)}{short(found.score.low)} to ")
    assert cells[5] == f"{short(found.mean_return.value)}plain {short(found.plain_mean_return)}"
    cost = found.costs[0]
    assert cells[6].startswith(f"{short(cost.mean.value)} ≤ {short(cost.upper_bound)}")
    assert cells[7:10] == [short(cost.p95.value), short(cost.worst), short(cost.cvar.value)]
    assert cells[11:13] == ["5", "1,000,000"]
    assert cells[14] == "2026-03-02"


def test_unranked_rows_stand_below_and_are_marked():
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


def test_every_page_tells_how_to_read_it():
    for path in ("index.html", BOARD, "submissions/1.html", "compare/1-2.html", "season/1.html"):
        text = text_of(path)
        assert "discounted as the environment declares" in text
        assert "100 episodes of each" in text
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


def test_submission_page_sets_claims_beside_measurements():
    found = cliff_rows()[0].ranked.candidate.score.statistics
    page = parsed("submissions/1.html")
    difference = safe_text.signed(2000.0 - found.mean_return.value)
    assert page.row("Return")[-1] == f"2,000 ({difference})"
    seeds = [row for row in page.rows if row[0] == "3" and len(row) == 7]
    assert [row[2] for row in seeds] == [safe_text.short(found.seed_returns[3])]
    assert page.row("50")[1] == safe_text.short(found.return_quantiles[50])
    assert "As reported by the submitter" in " ".join(page.text)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (101, "A preview"),
        (102, "not finite in episode 17"),
        (103, "Withdrawn by its submitter"),
        (104, "137 of 500 episodes are done"),
        (105, "Waiting for its turn"),
    ],
)
def test_submission_page_tells_its_state(number, expected):
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
    comparison = compare(first, second)
    score = comparison.differences[0]
    draws = [p.row.ranked.candidate.score.draws.score for p in (first, second)]
    assert score.interval[0] == pytest.approx(sorted(draws[1] - draws[0])[1], abs=0.02)
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


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/index.html",
        "../pyproject.toml",
        "static/../pages.py",
        "static/../../pyproject.toml",
        "static/",
        "static/pages.css\n",
        "boards/../index.html",
        f"boards/{CLIFF.slug}/",
        f"boards/{CLIFF.slug}/sort-secret.html",
        f"boards/{CLIFF.slug}/index.html\n",
        "boards/Unknown-v0/index.html",
        "submissions/0.html",
        "submissions/01.html",
        "submissions/١.html",
        "submissions/1.html/",
        "submissions/99999.html",
        "submissions/" + "9" * 400 + ".html",
        "compare/1-1.html",
        "compare/1-999.html",
        "compare/1-201.html",
        "season/9.html",
    ],
)
def test_other_paths_have_no_page(path):
    assert render(path, ExampleSource()) is None


def test_kinds_of_files():
    source = ExampleSource()
    folder = BOARD.removesuffix("index.html")
    kinds = {path: render(path, source).media_type for path in (
        BOARD, folder + "board.csv", folder + "board.json", "static/pages.css", "static/sort.js",
        "static/icon.svg")}  # fmt: skip
    assert [kind.split(";")[0] for kind in kinds.values()] == [
        "text/html", "text/csv", "application/json", "text/css", "text/javascript",
        "image/svg+xml"]  # fmt: skip


HOSTILE = {
    "script": "<script>alert(1)</script>",
    "image": '"><img src=x onerror=alert(1)>',
    "template": "{{ 7 * 7 }}{% raw %}",
    "override": "abc\u202egnp.exe",
    "long": "x" * 10_000,
    "end": "</script><script>alert(2)</script>",
    "lines": "a\u2028b\u2029c\x00d",
    "formula": "=cmd|' /C calc'!A0",
}


def hostile_source(text):
    metadata = some_metadata(
        algorithm=text,
        authors=[text, text],
        organisation=text,
        family=text,
        hardware=text,
        url="javascript:alert(1)",
        code_url="JaVaScRiPt:alert(1)",
        code_revision=text,
        code_licence=text,
        citation=text,
        framework_versions={text: text},
        hyperparameters={text: [text, {"deep": text}]},
    )
    rows = scored_rows(CLIFF, [(metadata, 2000.0, 18.0), (metadata, 1900.0, 18.0)])
    broken = dataclasses.replace(
        rows[1], submission=dataclasses.replace(rows[1].submission, state=State.INVALID, reason=text)
    )  # fmt: skip
    return ExampleSource(rows={CLIFF.env: [rows[0], rows[1], broken]}, boards=(CLIFF,))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_stays_text(text):
    source = hostile_source(text)
    tame = hostile_source("tame")
    for path in (
        "index.html",
        BOARD,
        f"boards/{CLIFF.slug}/environment.html",
        "submissions/1.html",
        "compare/1-2.html",
        "aggregate.html",
    ):
        content = text_of(path, source)
        elements = [tag for tag, _ in Parsed(content).elements]
        assert elements == [tag for tag, _ in parsed(path, tame).elements]
        assert not re.search(r"[\u202a-\u202e\u2066-\u2069\u2028\u2029\x00]", content)
        for tag, attributes in Parsed(content).elements:
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            address = attributes.get("href", attributes.get("src", ""))
            assert not address.lower().startswith(("javascript", "data", "//")), tag
        for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', content):
            assert "<" not in data
            json.loads(data)


def test_links_of_strangers():
    page = parsed("submissions/1.html")
    (link,) = [a for tag, a in page.elements if tag == "a" and a["href"].endswith("/paper")]
    assert link["rel"] == "nofollow noopener ugc"
    good = ["https://example.org", "https://example.org:8080/a?b=c#d"]
    bad = ["http://a.org", "javascript:alert(1)", "https://a.org/\n", "https://a b", "//a.org",
           'https://a.org/" onclick', "https://u@a.org/"]  # fmt: skip
    assert [safe_text.https_link(text) for text in good] == good
    assert [safe_text.https_link(text) for text in bad] == [""] * len(bad)


def test_contact_is_shown_nowhere():
    source = ExampleSource(revealed=True)
    folder = BOARD.removesuffix("index.html")
    for path in (BOARD, "submissions/1.html", folder + "board.csv", folder + "board.json"):
        assert "secret-contact" not in text_of(path, source)


def test_csv_parses_back_and_holds_no_formula():
    page = ExampleSource().board_page(CLIFF.env, 1, Feasibility.MEAN)
    records = list(csv.DictReader(io.StringIO(board_csv(page), newline="")))
    found = page.rows[0].ranked.candidate.score.statistics
    assert len(records) == len(page.rows)
    assert float(records[0]["score"]) == found.score.value
    assert float(records[0]["cost_speed_p95"]) == found.costs[0].p95.value
    assert records[-1]["score"] == ""
    for start in "=+-@\t\r":
        hostile = hostile_source(f"{start}1+1").board_page(CLIFF.env, 1, Feasibility.MEAN)
        record = next(csv.DictReader(io.StringIO(board_csv(hostile), newline="")))
        assert record["algorithm"].startswith("'")
    assert safe_text.csv_cell(-1.5) == -1.5


def test_json_holds_all_rows():
    data = json.loads(text_of(f"boards/{CLIFF.slug}/board.json"))
    assert [row["submission"] for row in data["rows"]] == [1, 2, 3, 4, 5, 101, 102, 103, 104, 105]
    assert data["rows"][0]["metadata"]["training_seeds"] == [0, 1, 2, 3, 4]


def test_policy_lets_nothing_in_from_elsewhere():
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "http" not in CONTENT_SECURITY_POLICY
    metas = [a for tag, a in parsed(BOARD).elements if tag == "meta"]
    assert [a["content"] for a in metas if "http-equiv" in a] == [META_POLICY]
    for tag, attributes in parsed("submissions/1.html").elements:
        if tag in ("script", "link", "img"):
            assert not attributes.get("src", attributes.get("href", "")).startswith("http")
        if tag == "script":
            assert "src" in attributes or attributes["type"] == "application/json"


def test_forms_need_a_server():
    assert "<form" in text_of(BOARD)
    assert "<form" not in text_of(BOARD, static=True)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0"),
        (0.175, "0.175"),
        (-0.00123, "−0.00123"),
        (9.996, "10.0"),
        (99.96, "100"),
        (-1234567.8, "−1,234,568"),
        (1e-5, "1.00e−05"),
        (math.nan, "–"),
        (None, "–"),
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


def test_charts_are_small_and_hold_their_rows():
    source = ExampleSource()
    page = source.board_page(CLIFF.env, 1, Feasibility.MEAN)
    (scores,) = board_charts(page)
    values = [row.ranked.candidate.score.statistics.score.value for row in cliff_rows()[:5]]
    assert [point.x for point in scores.series[0].points] == values
    charts = environment_charts(page, {1: some_curves(1, points=5000), 3: some_curves(3)})
    kinds = [chart.kind for chart in charts]
    assert kinds == ["scatter", "steps", "lines", "lines"]
    for chart in [*charts, *submission_charts(source.submission_page(1))]:
        assert all(len(series.points) <= 500 for series in chart.series)
        assert chart.table.rows
    pareto = charts[0]
    assert sum(len(series.points) for series in pareto.series) == 7
    heights = [point.y for point in pareto.front]
    assert heights == sorted(heights)


def test_tails_are_shares_above_each_cost():
    page = ExampleSource().submission_page(1)
    tails = next(c for c in submission_charts(page) if c.id == "tails-0")
    cost = page.row.ranked.candidate.score.statistics.costs[0]
    points = tails.series[0].points
    assert points[0].x == tails.x.low  # a fifth of the episodes cost nothing
    assert (points[95].x, points[95].y) == (cost.quantiles[95], pytest.approx(0.05))
    assert points[-1].x == cost.worst
    assert tails.limit == 25.0


def test_logarithmic_axes_have_room_for_zero():
    axis = amount_axis([0.0, 0.3, 40.0, 25.0], "cost")
    assert axis.place(0.0) == axis.low < axis.start <= 0.3
    assert axis.ticks[0] == (axis.low, "0")
    assert axis.place(40.0) == 40.0
    assert not amount_axis([0.0, 0.0], "cost").log
    assert amount_axis([1e-9, 1.0], "cost").ticks[0][1] == "< 0.0001"


def test_band_over_seeds():
    curves = [
        Curve(seed, (0.0, 10.0), (float(seed), float(seed + 10)), ((0.0, 0.0),))
        for seed in (0, 1, 2, 100)
    ]
    band = return_band(curves)
    assert band.middle[0] == 1.5  # the mean of 1 and 2
    assert (band.lowest[-1], band.highest[-1]) == (10.0, 110.0)
    assert return_band([]) is None
    apart = [Curve(0, (0.0, 1.0), (0.0, 0.0), ()), Curve(1, (2.0, 3.0), (0.0, 0.0), ())]
    assert return_band(apart) is None


def test_vendored_files_come_with_their_licences():
    source = ExampleSource()
    for name in ("d3", "plot"):
        assert b"Copyright" in render(f"static/vendor/{name}-LICENSE.txt", source).content
        script = render(f"static/vendor/{name}.min.js", source).content
        assert hashlib.sha256(script).hexdigest() == VENDORED[name]


VENDORED = {
    "d3": "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1",  # 7.9.2
    "plot": "4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb",  # 0.6.17
}
