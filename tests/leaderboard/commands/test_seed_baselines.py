"""The rows that boards open with: trained here or shipped, submitted once, and marked."""

import io
import json
import shlex
import socket

import numpy as np
import pytest
import sqlalchemy as sa
import tyro
import uvicorn
from rich.console import Console

import baselines.commands.compare as compare_module
import leaderboard.commands.seed_baselines as command_module
from agents.tabular import linear_program
from baselines.names.environments import parse_environment_name, tabular_model_of
from baselines.shell_command import shell_command
from leaderboard.__main__ import main
from leaderboard.boards.baseline_plan import budget_of
from leaderboard.boards.board import boards
from leaderboard.commands import serve as serve_module
from leaderboard.commands.seed_baselines import SeedBaselinesOptions, submit_baselines
from leaderboard.commands.serve import ServeOptions, serve
from leaderboard.evaluation import evaluate as evaluate_module
from leaderboard.store.accounts import BASELINES
from leaderboard.store.database import open_database
from leaderboard.store.score_store import row_scores
from leaderboard.store.seasons import open_season
from leaderboard.store.submission_store import State, stored_submissions
from leaderboard.store.tables import episode, job
from leaderboard.submissions.baseline_submissions import exact_submission
from leaderboard.web.board_table import flags_of
from leaderboard.web.store_source import StoreSource
from tests.leaderboard.tabular_policies import random_tables, submission_for, table_policy

SEA = "Safe/DeepSeaTreasure-v0"
SILENT = Console(quiet=True)


@pytest.fixture
def db(tmp_path):
    url = f"sqlite:///{tmp_path / 'board.sqlite'}"
    database = open_database(url)
    open_season(database, "test", bytes(range(32)))  # the same hidden episodes in every test
    database.close()
    return url


@pytest.fixture
def store(db):
    database = open_database(db)
    yield database
    database.close()


def run(capsys, *words):
    code = main(["seed-baselines", *map(str, words)])
    return code, " ".join(capsys.readouterr().out.split())


def in_this_process(function, items, *others):
    """What `run_in_processes` yields, without seconds of starting processes."""
    for item in items:
        yield item, function(item) or ""


def test_training_submitting_and_going_on(db, store, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command_module, "AGENTS", ("PPO", "PPOLag"))
    monkeypatch.setattr(compare_module, "run_in_processes", in_this_process)
    monkeypatch.setattr(compare_module, "write_outputs", lambda *arguments: None)  # plots
    runs, files = tmp_path / "runs", tmp_path / "files"
    words = [runs, "--boards", SEA, "--scale", 0.01, "--seeds", 1, "--workers", 1, "--db", db]
    code, text = run(capsys, *words, "--policies-to", files)
    assert code == 0
    assert "2 jobs: ran 2, kept 0" in text
    assert "submission 1: PPO on Safe/DeepSeaTreasure-v0, submitted" in text
    assert "submission 3: exact optimum (linear program) on" in text
    rows = stored_submissions(store)
    assert [(row.account, row.state, row.metadata.authors) for row in rows] == [
        (BASELINES, State.SCORED, ["safe-envs"])
    ] * 3
    assert [row.metadata.uses_model for row in rows] == [False, False, True]
    assert [row.metadata.training_steps for row in rows] == [1024, 1024, 0]
    assert rows[0].metadata.cost_limits == [0.135]

    (runs / "Safe_DeepSeaTreasure-v0" / "PPO" / "seed_0" / "result.json").unlink()  # as if killed
    code, text = run(capsys, *words)
    assert code == 0
    assert "2 jobs: ran 1, kept 1" in text
    assert text.count("there already") == 3
    assert stored_submissions(store) == rows

    written = sorted(path.relative_to(files).as_posix() for path in files.rglob("*.*"))
    folder = "Safe_DeepSeaTreasure-v0"
    assert written == [
        f"{folder}/{name}/{file}"
        for name in ("PPO", "PPOLag", "exact_optimum")
        for file in ("meta.json", "policy_0.onnx")
    ]
    assert main(["submit", str(files / folder / "PPO"), "--db", db]) == 0
    assert "these policies are already submission 1" in capsys.readouterr().out


def test_the_exact_optimum_scores_one_and_is_a_marked_row_without_a_rank(db, store):
    submission = exact_submission(budget_of(SEA))
    model = tabular_model_of(parse_environment_name(SEA))
    optimum = linear_program(model)
    assert submission.metadata.claim.mean_return == optimum.value
    assert submit_baselines(db, [submission], SILENT) == 0
    page = StoreSource(store).submission_page(1)
    (played,) = np.array(_column(store, episode.c.total_return)).reshape(1, -1)
    error = played.std(ddof=1) / np.sqrt(len(played))
    assert abs(played.mean() - optimum.value) < 3.0 * error
    board = boards()[SEA]
    unit = board.reference_return - board.random_return
    assert row_scores(store, [1])[1].statistics.score.value == pytest.approx(
        (played.mean() - board.random_return) / unit
    )
    assert abs(played.mean() - board.reference_return) / unit < 3.0 * error / unit
    assert page.row.ranked.rank is None
    assert page.row.submission.is_baseline
    assert "baseline" in [name for name, _ in flags_of(page.row)]


def test_the_name_of_the_authors_marks_nothing(db, store, tmp_path):
    policies = [table_policy(table) for table in random_tables(25, 2, 1)]
    given = submission_for(SEA, policies, authors=["safe-envs"], algorithm="PPOLag")
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "policy_0.onnx").write_bytes(policies[0])
    (folder / "meta.json").write_text(json.dumps(given.metadata.model_dump(mode="json")))
    assert main(["submit", str(folder), "--db", db]) == 0
    page = StoreSource(store).submission_page(1)
    assert not page.row.submission.is_baseline
    assert "baseline" not in [name for name, _ in flags_of(page.row)]


def test_an_evaluation_that_was_killed_is_continued(db, store, monkeypatch):
    submission, kept = exact_submission(budget_of(SEA)), evaluate_module.keep_episodes

    def killed(*arguments):
        if _column(store, episode.c.seed_index):
            raise _Killed
        kept(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(evaluate_module, "keep_episodes", killed)
        with pytest.raises(_Killed):
            submit_baselines(db, [submission], SILENT)
    assert len(_column(store, episode.c.seed_index)) == evaluate_module.BATCH
    with store.writing() as connection:  # its lease ends a minute later
        connection.execute(sa.update(job).values(lease_until=0.0))
    assert submit_baselines(db, [submission], SILENT) == 0
    (row,) = stored_submissions(store)
    assert row.state is State.SCORED
    assert sorted(_column(store, episode.c.seed_index)) == list(range(100))


def test_what_is_refused(capsys, tmp_path):
    ant = "SafetyAntVelocity-v1"
    for words, message in (
        (["--boards", ant], f"no policies are shipped for {ant}; pass a folder"),
        (["--boards", "Safe/QCQP-v0"], "'Safe/QCQP-v0' has no baselines; boards with baselines"),
        (["--scale", "0"], "scale is 0; pass a number above 0"),
        (["--scale", "nan"], "scale is nan; pass a number above 0"),
        (["--seeds", "11"], "seeds is 11"),
        (["--workers", "0"], "workers is 0"),
        (["--url", "http://127.0.0.1:1"], "--url needs --token-file"),
    ):
        code, text = run(capsys, *words, "--db", f"sqlite:///{tmp_path}/none.sqlite")
        assert code == 2
        assert message in text
    assert not (tmp_path / "none.sqlite").exists()


def test_the_recorded_command_reads_back_to_the_same_options(tmp_path):
    for options in (
        SeedBaselinesOptions(),
        SeedBaselinesOptions(
            tmp_path / "runs", (SEA,), 0.5, 3, 1, tmp_path / "files", f"sqlite:///{tmp_path}/s"
        ),
    ):
        words = shlex.split(options.command())
        assert words[1:4] == ["-m", "leaderboard", "seed-baselines"]
        assert tyro.cli(SeedBaselinesOptions, args=words[4:]) == options


def test_serve_tells_how_to_fill_an_empty_store(db, monkeypatch):
    monkeypatch.setattr(uvicorn.Server, "run", lambda *arguments: None)
    monkeypatch.setattr(serve_module.signal, "signal", lambda *arguments: None)
    options = ServeOptions(db, port=_free_port(), workers=0)
    fill = f"the boards are empty; fill them: {shell_command('leaderboard', 'seed-baselines')}"
    for is_told in (True, False):
        out = io.StringIO()
        assert serve(options, Console(file=out, width=1000)) == 0
        assert (f"{fill} --db {db}" in out.getvalue()) is is_told
        submit_baselines(db, [exact_submission(budget_of(SEA))], SILENT)


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def _column(store, column):
    with store.reading() as connection:
        return list(connection.execute(sa.select(column)).scalars())


class _Killed(BaseException):
    """Nothing catches it."""
