"""The command as a whole, run once and looked at from all sides."""

import csv
import io
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from baselines.commands.compare import CompareOptions, compare
from baselines.report.html import data_uri

HOSTILE = "<script>alert(1)</script>"
ENVS = ("Safe/CliffWorld-v0", "Safe/RandomCMDP-v0?constraints=2&states=6")
AGENTS = ("npg_pd", "pqa_alm", "reload_pd", "rpg_pd")


def run(options):
    text = io.StringIO()
    code = compare(options, Console(file=text, width=200))
    return code, text.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Sixteen small jobs; pqa_alm is given a step rule that it refuses, and markup as text."""
    options = CompareOptions(
        envs=ENVS,
        agents=AGENTS,
        out=tmp_path_factory.mktemp("runs") / "x",
        seeds=(0, 1),
        evaluations=300,
        overrides=(f"pqa_alm.step_rule={HOSTILE}",),
        title=f"Title {HOSTILE}",
    )
    code, text = run(options)
    return options, code, text


@pytest.fixture
def copy(finished, tmp_path):
    options = replace(finished[0], out=tmp_path / "copy")
    shutil.copytree(finished[0].out, options.out)
    return options


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in Path(out).rglob("seed_*/*")}


class Page(HTMLParser):
    """Collects the tags, the visible text and everything a browser would load."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.loads, self.text = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        given = dict(attributes)
        if tag in ("link", "iframe", "object", "embed", "base"):
            self.loads.append(tag)
        self.loads += [given[name] for name in ("src", "href", "srcset", "data") if given.get(name)]

    def handle_data(self, data):
        self.text += data


def test_failed_jobs_are_listed_and_decide_the_exit_code(finished):
    options, code, text = finished
    assert code == 1
    assert "4 jobs" not in text
    assert "16 jobs: ran 16, kept 0" in text
    assert text.count("2 of 2 failed") == 2  # pqa_alm in both tables
    for env in ("Safe/CliffWorld-v0", "Safe/RandomCMDP-v0?constraints=2&states=6"):
        for seed in (0, 1):
            assert f"failed pqa_alm on {env}, seed {seed}: ValueError: step_rule is" in text
    error = options.out / "Safe_CliffWorld-v0" / "pqa_alm" / "seed_0" / "error.txt"
    assert error.read_text().startswith("Traceback")


def test_csv_has_one_row_per_job(finished):
    rows = list(csv.DictReader((finished[0].out / "results.csv").read_text().splitlines()))
    assert len(rows) == 16
    assert {row["status"] for row in rows if row["agent"] == "pqa_alm"} == {"failed"}
    done = [row for row in rows if row["status"] == "done"]
    assert len(done) == 12
    for row in done:
        gap = float(row["optimal_value"]) - float(row["value"])
        assert float(row["gap"]) == pytest.approx(gap, abs=1e-12)
        assert float(row["violation"]) == max(map(float, row["violations"].split(";")))


def test_terminal_table_is_sorted_by_tail_error_with_failed_agents_last(finished):
    options, _, text = finished
    table = text[text.index("Safe/RandomCMDP-v0") : text.index("16 jobs")]
    medians = {}
    for agent in ("npg_pd", "reload_pd", "rpg_pd"):
        folder = options.out / "Safe_RandomCMDP-v0_constraints=2_states=6" / agent
        errors = [
            json.loads((folder / f"seed_{seed}" / "result.json").read_text())["tail_error"]
            for seed in (0, 1)
        ]
        medians[agent] = sum(errors) / 2
    expected = [*sorted(medians, key=medians.__getitem__), "pqa_alm"]
    assert sorted(AGENTS, key=table.index) == expected


def test_report_needs_nothing_from_elsewhere(finished):
    page = Page((finished[0].out / "report.html").read_text())
    assert all(load.startswith(("data:", "#")) for load in page.loads), page.loads
    assert sum(load.startswith("data:image/svg+xml") for load in page.loads) == 2 * len(ENVS)
    assert page.tags.count("script") == 1  # the ten lines that sort the tables
    assert "http" not in page.text


def test_report_names_everything_and_escapes_it(finished):
    options = finished[0]
    html = (options.out / "report.html").read_text()
    page = Page(html)
    for env in (*AGENTS, "Safe/CliffWorld-v0", "Safe/RandomCMDP-v0?constraints=2&states=6"):
        assert env in page.text
    assert HOSTILE not in html
    assert f"Title {HOSTILE}" in page.text
    assert page.text.count("Traceback (most recent call last)") == 4
    for seed in (0, 1):
        assert f"pqa_alm on Safe/CliffWorld-v0, seed {seed}: ValueError: step_rule" in page.text
    assert "0.53344782" in page.text  # the optimum of the linear program
    assert "0.794277" in page.text  # and its multiplier
    assert "step_size=0.1" in page.text


def test_plots_are_written_in_both_forms(finished):
    for slug in ("Safe_CliffWorld-v0", "Safe_RandomCMDP-v0_constraints=2_states=6"):
        png = finished[0].out / "plots" / f"{slug}.png"
        assert png.read_bytes().startswith(b"\x89PNG")
        svg = png.with_suffix(".svg").read_text()
        assert svg.startswith("<?xml")
        assert data_uri(png).startswith("data:image/png;base64,iVBOR")


@pytest.mark.usefixtures("jobs_run_here")
def test_rerun_does_only_what_is_missing_and_retries_the_failed(copy):
    folder = copy.out / "Safe_CliffWorld-v0" / "npg_pd" / "seed_1"
    (folder / "result.json").unlink()  # as after a kill between the trace and the result
    assert (folder / "trace.npz").exists()
    before = stamps(copy.out)
    code, text = run(copy)
    assert code == 1
    assert "16 jobs: ran 5, kept 11" in text
    changed = {path.parent for path, stamp in stamps(copy.out).items() if before.get(path) != stamp}
    failed = {copy.out / env / "pqa_alm" / f"seed_{k}" for env in slugs(copy.out) for k in (0, 1)}
    assert changed == {folder, *failed}
    assert (folder / "result.json").exists()


@pytest.mark.usefixtures("jobs_run_here")
def test_changed_settings_rerun_only_the_agents_they_concern(copy):
    before = stamps(copy.out)
    changed = replace(copy, overrides=("pqa_alm.penalty=2.0",), envs=ENVS[:1])
    code, text = run(changed)
    assert code == 0
    assert "8 jobs: ran 2, kept 6" in text
    assert "failed" not in text
    touched = {path.parent for path, stamp in stamps(copy.out).items() if before.get(path) != stamp}
    assert touched == {copy.out / "Safe_CliffWorld-v0" / "pqa_alm" / f"seed_{k}" for k in (0, 1)}
    assert not (copy.out / "Safe_CliffWorld-v0" / "pqa_alm" / "seed_0" / "error.txt").exists()


def test_printed_command_reads_back_to_the_same_options(finished):
    import shlex

    import tyro

    options = finished[0]
    words = shlex.split(options.command())
    assert words[1:4] == ["-m", "baselines", "compare"]
    assert tyro.cli(CompareOptions, args=words[4:]) == options


def slugs(out):
    return [path.name for path in out.iterdir() if path.name.startswith("Safe_")]
