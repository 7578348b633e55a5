"""The command that the demo records in its report and its runs."""

import shlex

import tyro

from leaderboard.commands.demo import LeaderboardDemoOptions


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
