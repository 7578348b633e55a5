"""From run folders to a row, by the commands a newcomer types."""

import io
import json
import shutil

import numpy as np
import pytest
from rich.console import Console

import leaderboard.commands.demo
from baselines.atomic_files import write_json
from baselines.commands.train import TrainOptions, train
from baselines.jobs.agent_job import AgentJob
from baselines.jobs.job import Outcome
from baselines.measures.episode_statistics import PolicyValues
from leaderboard.__main__ import main
from leaderboard.evaluation.worker import evaluate_next
from leaderboard.policy_files import gate
from leaderboard.sandbox.confined_process import ConfinedProcess
from leaderboard.store.accounts import LOCAL, account_id_of
from leaderboard.store.database import open_database
from leaderboard.store.episode_store import scored_episodes
from leaderboard.store.score_store import row_scores
from leaderboard.store.seasons import HIDDEN, all_seasons, open_season
from leaderboard.store.submission_store import (
    State,
    keep_submission,
    stored_curves,
    stored_submissions,
)
from leaderboard.submissions.from_runs import submission_of
from leaderboard.submissions.metadata import MetadataRefused
from leaderboard.submissions.submission import (
    Submission,
    SubmissionRefused,
    check_submission,
    parse_curves,
)
from leaderboard.web.store_source import StoreSource
from tests.leaderboard.tabular_policies import (
    a_curve,
    fields_for,
    random_tables,
    submission_for,
    table_policy,
)

SEA = "Safe/DeepSeaTreasure-v0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder of five short runs of one agent."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(5):
        options = TrainOptions(
            "SPMAALM", SEA, folder / f"seed_{seed}", 2048, seed, ("n_steps=32",), eval_episodes=40
        )
        assert train(options, Console(file=io.StringIO())) == 0
    return folder


@pytest.fixture
def db(tmp_path):
    return f"sqlite:///{tmp_path / 'board.sqlite'}"


def command(capsys, *words):
    code = main([str(word) for word in words])
    return code, " ".join(capsys.readouterr().out.split())


def test_a_newcomers_path(runs, db, capsys):
    code, text = command(capsys, "submit", runs, "--db", db, "--authors", "A. Newcomer")
    assert code == 0
    assert "training seeds 0, 1, 2, 3, 4" in text
    assert "submission 1 on Safe/DeepSeaTreasure-v0: rank 1 (95 %: 1 to 1), tier" in text
    database = open_database(db)
    (kept,) = stored_submissions(database)
    results = [json.loads((runs / f"seed_{s}" / "result.json").read_text()) for s in range(5)]
    exact = [result["stochastic"]["exact"]["value"] for result in results]
    costs = [result["stochastic"]["exact"]["costs"] for result in results]
    assert kept.metadata.claim.exact
    assert kept.metadata.claim.mean_return == pytest.approx(np.mean(exact), abs=1e-12)
    assert kept.metadata.claim.mean_costs == pytest.approx(np.mean(costs, axis=0), abs=1e-12)
    assert "claimed, exact" in text
    assert kept.metadata.authors == ["A. Newcomer"]
    assert (kept.metadata.algorithm, kept.account) == ("SPMAALM", LOCAL)
    curves = stored_curves(database, [1])[1]
    assert [curve.steps[-1] for curve in curves] == [2048.0] * 5
    statistics = row_scores(database, [1])[1].statistics
    assert statistics.mean_return.value == pytest.approx(np.mean(exact), abs=0.08)  # 4 errors
    assert [season.state for season in all_seasons(database)] == ["open"]
    database.close()

    code, text = command(capsys, "submit", runs, "--db", db)
    assert code == 0
    assert "these policies are already submission 1" in text
    assert "submission 1 on Safe/DeepSeaTreasure-v0: rank 1" in text


def test_fewer_seeds_are_a_preview(runs, db, capsys):
    code, text = command(capsys, "submit", runs / "seed_0", runs / "seed_1", "--db", db)
    assert code == 0
    assert "a rank needs 5 training seeds" in text
    assert "submission 1 on Safe/DeepSeaTreasure-v0: without a rank" in text


def test_a_dry_run_sends_nothing(runs, tmp_path, capsys):
    path = tmp_path / "board.sqlite"
    code, text = command(capsys, "submit", runs, "--db", f"sqlite:///{path}", "--dry-run")
    assert (code, path.exists()) == (0, False)
    assert "checked: every policy passes the gate" in text
    assert "nothing was sent" in text


def test_a_local_submission_starts_each_policy_to_play_and_to_compare(
    runs, db, capsys, monkeypatch
):
    """Each with a witness, and its rank is the one that the pages show."""
    parsed, started = [], []
    parse, start = gate.count_parts, ConfinedProcess.__init__

    def counted_parse(content, *arguments):
        parsed.append(content)
        return parse(content, *arguments)

    def counted_start(self, settings):
        started.append(settings)
        start(self, settings)

    monkeypatch.setattr(gate, "count_parts", counted_parse)
    monkeypatch.setattr(ConfinedProcess, "__init__", counted_start)
    code, text = command(capsys, "submit", runs, "--db", db)
    files = [(runs / f"seed_{seed}" / "policy.onnx").read_bytes() for seed in range(5)]
    assert (code, parsed, len(started)) == (
        0,
        [*files, *files],
        15,
    )  # to play, as its witness, to compare
    database = open_database(db)
    ranked = StoreSource(database).submission_page(1).row.ranked
    assert (ranked.rank, ranked.rank_interval) == (1, (1, 1))
    assert f"rank 1 (95 %: 1 to 1), tier {ranked.tier.value}" in text
    with database.reading() as connection:
        assert len(scored_episodes(connection, 1, HIDDEN).returns.ravel()) == 500
    database.close()

    command(capsys, "verify", runs / "seed_0")
    assert (parsed[10:], len(started)) == (files[:1], 17)
    command(capsys, "submit", runs / "seed_1", "--db", db, "--dry-run")
    assert (parsed[11:], len(started)) == (files[1:2], 18)


def test_a_worker_checks_again_what_the_submitter_has_checked(runs, db, monkeypatch):
    """The content of a store is not trusted, so another process checks it again."""
    parsed = []
    parse = gate.count_parts

    def counted_parse(content, *arguments):
        parsed.append(content)
        return parse(content, *arguments)

    monkeypatch.setattr(gate, "count_parts", counted_parse)
    database = open_database(db)
    open_season(database, "admin")
    with database.writing() as connection:
        owner = account_id_of(connection, LOCAL)
    given = submission_of([runs / "seed_0"], stochastic=True, fields={})
    check_submission(given)
    keep_submission(database, given, owner, quota=False)
    assert evaluate_next(database, "worker") == (1, State.SCORED)
    assert parsed == 3 * [*given.policies]  # here, to play, to compare
    database.close()


def test_verify_measures_and_keeps_nothing(runs, capsys):
    code, text = command(capsys, "verify", runs / "seed_0")
    assert code == 0
    assert "tier on the public split:" in text
    again = command(capsys, "verify", runs / "seed_0")[1]
    assert again == text
    other = command(capsys, "verify", runs / "seed_0", "--secret", "00" * 32)[1]
    assert "tier on the season of this secret:" in other
    code, text = command(capsys, "verify", runs / "seed_0", "--secret", "abc")
    assert (code, "pass 64 hexadecimal digits" in text) == (2, True)


def test_a_folder_of_ones_own_files(tmp_path, db, capsys):
    policies = [table_policy(table) for table in random_tables(25, 2, 2)]
    fields = fields_for(SEA, policies)
    del fields["sha256"]
    folder = tmp_path / "own"
    folder.mkdir()
    write_json(folder / "meta.json", fields)
    for position, content in enumerate(policies):
        (folder / f"policy_{position}.onnx").write_bytes(content)
    code, text = command(capsys, "submit", folder, "--db", db, "--algorithm", "mine")
    assert code == 0
    assert "mine" in text
    assert submission_of([folder], stochastic=True, fields={}).policies == tuple(policies)


def test_metadata_from_a_file(runs, tmp_path):
    fields = {"url": "https://example.org/paper", "uses_model": True, "citation": "A\nB"}
    metadata = submission_of([runs], stochastic=False, fields=fields).metadata
    assert (metadata.url, metadata.uses_model, metadata.citation) == (
        "https://example.org/paper",
        True,
        "A\nB",
    )
    assert not metadata.stochastic
    with pytest.raises(MetadataRefused, match="url: .*not an https:// address"):
        submission_of([runs], stochastic=True, fields={"url": "javascript:alert(1)"})
    with pytest.raises(MetadataRefused, match="color: Extra inputs are not permitted"):
        submission_of([runs], stochastic=True, fields={"color": "red"})


def test_refusals_say_what_to_do(runs, db, tmp_path, capsys):
    def refused(*words):
        code, text = command(capsys, "submit", *words)
        assert code == 2
        return text

    assert "no folder was given" in refused("--db", db)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "has no run and no meta.json; pass folders" in refused(empty, "--db", db)
    twice = runs / "seed_0"
    told = f"{twice} and {twice} both have seed 0; pass one run per seed"
    assert told in refused(twice, twice, "--db", db)
    assert "--url needs --token-file" in refused(runs, "--url", "http://127.0.0.1:1")
    token = tmp_path / "token"
    token.write_text("slb_x\n")
    where = ("--url", "http://127.0.0.1:1", "--token-file", token)
    assert "cannot be reached" in refused(runs, *where)
    assert "is not the URL of a store" in refused(runs, "--db", "mysql://here/there")
    token.write_text("{")
    assert "cannot be read as JSON" in refused(runs, "--metadata", token, "--db", db)

    other = tmp_path / "other"
    shutil.copytree(runs / "seed_1", other)
    (other / "policy.onnx").write_bytes(b"no model")
    told = refused(other, "--db", db)
    assert f"{other / 'policy.onnx'} is damaged: it is not what the run wrote; train it" in told
    (other / "sha256.json").unlink()
    assert "policy 0: the file is malformed" in refused(other, "--db", db)
    (other / "progress.csv").write_text("time/total_timesteps\n1\n")
    assert f"{other / 'progress.csv'} has no column rollout/" in refused(other, "--db", db)
    content = (other / "result.json").read_text()
    (other / "result.json").write_text(content[:-40])
    assert f"{other / 'result.json'} is damaged: " in refused(other, "--db", db)
    (other / "result.json").unlink()
    assert "has no finished run" in refused(other, "--db", db)
    (other / "config.json").write_text("{}]")
    assert f"{other / 'config.json'} is damaged: " in refused(other, "--db", db)


def test_runs_of_different_settings_do_not_mix(runs, tmp_path):
    other = tmp_path / "longer"
    options = TrainOptions("SPMAALM", SEA, other, 4096, 9, ("n_steps=32",), eval_episodes=2)
    assert train(options, Console(file=io.StringIO())) == 0
    with pytest.raises(SubmissionRefused, match=r"differ in timesteps \(2048, 4096\)"):
        submission_of([runs / "seed_0", other], stochastic=True, fields={})


def test_files_and_metadata_belong_together():
    policies = [table_policy(table) for table in random_tables(25, 2, 2)]
    good = submission_for(SEA, policies, [a_curve(), a_curve()])
    check_submission(good)

    def check(match, contents=policies, **changes):
        told = submission_for(SEA, policies, changes.pop("curves", ()), **changes)
        changed = Submission(told.metadata, tuple(contents), told.curves)
        with pytest.raises(SubmissionRefused, match=match):
            check_submission(changed)

    check("policy 0 has SHA-256 .* but the metadata says", contents=policies[::-1])
    check("there are 1 policy files but the metadata lists 2", contents=policies[:1])
    check("there are 1 learning curves for 2 policies", curves=[a_curve()])
    twice = [policies[0]] * 2
    with pytest.raises(SubmissionRefused, match="two policies are the same file"):
        check_submission(submission_for(SEA, twice))
    with pytest.raises(SubmissionRefused, match="policy 0: the input has the shape"):
        check_submission(submission_for("Safe/CliffWorld-v0", policies))


def test_administration(db, capsys):
    code, token = command(capsys, "create-token", "alice", "--db", db)
    assert (code, token[:4], len(token)) == (0, "slb_", 47)
    assert command(capsys, "revoke-tokens", "alice", "--db", db)[1] == "1 tokens revoked"
    code, text = command(capsys, "open-season", "--db", db)
    assert (code, text.startswith("season 1 is open")) == (0, True)
    assert command(capsys, "open-season", "--db", db)[0] == 2
    assert command(capsys, "reveal", "1", "--db", db)[0] == 2
    assert command(capsys, "close-season", "--db", db)[0] == 0
    code, text = command(capsys, "reveal", "1", "--db", db)
    assert (code, "secret: " in text) == (0, True)
    code, text = command(capsys, "withdraw", "7", "--db", db)
    assert (code, "there is no submission 7" in text) == (2, True)


def test_the_demo_submits_the_agent_that_exceeds_the_limit_least(monkeypatch, tmp_path):
    """Of two agents within the limit the one with the higher return, else the one within it."""
    numbers = {"PPOLag": (0.3, -0.01), "SPMAALM": (0.4, -0.02)}

    class Measured:
        def __init__(self, value, violation):
            self.claim = PolicyValues(value, [violation + 0.15], [violation], is_exact=True)

    def outcome(job, folder):
        result = type("Result", (), {"stochastic": Measured(*numbers[job.agent])})
        return Outcome(job, result, "")

    monkeypatch.setattr(AgentJob, "outcome", outcome)
    chosen = leaderboard.commands.demo.best_runs(tmp_path)
    assert [path.parent.name for path in chosen] == ["SPMAALM"] * 5
    assert sorted(path.name for path in chosen) == [f"seed_{seed}" for seed in range(5)]
    numbers["SPMAALM"] = (0.4, 0.001)
    assert leaderboard.commands.demo.best_runs(tmp_path)[0].parent.name == "PPOLag"


@pytest.mark.parametrize("column", ["steps", "returns", "costs"])
def test_numbers_that_would_overflow_are_refused_in_curves(column):
    curve = {"steps": [1.0, 2.0], "returns": [0.0, 1.0], "costs": [[0.0, 1.0]]}
    parse_curves(json.dumps([curve]).encode())
    large = [-1.7e308, 1.7e308]
    curve[column] = [large] if column == "costs" else large
    with pytest.raises(
        SubmissionRefused, match=f"{column} of a curve .* not a number up to 1e.100"
    ):
        parse_curves(json.dumps([curve]).encode())
