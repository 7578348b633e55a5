"""The command that the demo records in its report and its runs."""

import io
import shlex

import tyro
from rich.console import Console

from baselines.commands import compare
from leaderboard.commands import demo
from leaderboard.commands.demo import LeaderboardDemoOptions, leaderboard_demo
from leaderboard.store.accounts import BASELINES, LOCAL
from leaderboard.store.database import open_database
from leaderboard.store.submission_store import stored_submissions
from leaderboard.submissions.baseline_submissions import shipped_submissions, write_submission
from tests.leaderboard.tabular_policies import random_tables, submission_for, table_policy


def test_recorded_command_reads_back_to_the_same_options(tmp_path):
    for options in (
        LeaderboardDemoOptions(),
        LeaderboardDemoOptions(tmp_path, 1, f"sqlite:///{tmp_path}/store.sqlite"),
    ):
        words = shlex.split(options.command())
        assert words[1:4] == ["-m", "leaderboard", "demo"]
        assert tyro.cli(LeaderboardDemoOptions, args=words[4:]) == options


def test_recorded_command_holds_no_password():
    options = LeaderboardDemoOptions(db="postgresql://me:hunter2@host/leaderboard")
    assert "hunter2" not in options.command()
    assert "--db 'postgresql://me:***@host/leaderboard'" in options.command()


def test_the_boards_open_with_the_shipped_baselines_and_the_demos_row_is_among_them(
    tmp_path, monkeypatch
):
    sea = "Safe/DeepSeaTreasure-v0"
    (exact,) = (one for one in shipped_submissions(sea) if one.metadata.uses_model)
    own = submission_for(sea, [table_policy(table) for table in random_tables(25, 2, 1)])
    monkeypatch.setattr(demo, "best_runs", lambda out: [write_submission(own, tmp_path / "best")])
    monkeypatch.setattr(demo, "shipped_submissions", lambda env: [exact] if env == sea else [])
    monkeypatch.setattr(compare, "run_comparison", lambda *arguments: 0)
    options = LeaderboardDemoOptions(tmp_path / "demo", 1, f"sqlite:///{tmp_path}/store.sqlite")
    out = io.StringIO()
    assert leaderboard_demo(options, Console(file=out, width=200)) == 0
    database = open_database(options.db)
    rows = stored_submissions(database)
    database.close()
    assert [row.account for row in rows] == [BASELINES, LOCAL]
    assert [row.metadata.authors for row in rows] == [["safe-envs"], ["make demo"]]
    assert "submission 1: exact optimum (linear program) on Safe/DeepSeaT" in out.getvalue()
    assert "submission 2 on Safe/DeepSeaTreasure-v0" in out.getvalue()
