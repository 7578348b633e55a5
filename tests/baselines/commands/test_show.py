"""What a folder holds, in words: settings, result, command, versions and state."""

import json
import shutil

import pytest

from baselines.__main__ import main
from baselines.commands.train import TrainOptions, train
from baselines.jobs.found_run import find_run, find_runs


@pytest.fixture
def run(sea, tmp_path):
    return shutil.copytree(sea / "Safe_DeepSeaTreasure-v0" / "PPOLag" / "seed_1", tmp_path / "run")


def shown(folder, capsys):
    code = main(["show", str(folder)])
    return code, capsys.readouterr().out


def rows_in(text):
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    return {row[0]: row[1:] for row in cells if row and row[0]}


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_finished_run(run, capsys):
    data = json.loads((run / "result.json").read_text())
    edit(run / "result.json", versions={**data["versions"], "torch": "0.1"}, warnings=["W: slow"])
    edit(run / "result.json", restarted_at=[1024])
    code, text = shown(run, capsys)
    assert code == 0
    assert "PPOLag on Safe/DeepSeaTreasure-v0, seed 1: finished" in text
    rows = rows_in(text)
    assert rows["n_steps"] == ["8", "2048", "changed"]
    assert rows["n_envs"] == ["64", "1", "tuned here"]
    assert rows["gae_lambda"] == ["0.95", "0.95", ""]
    for mode in ("stochastic", "deterministic"):
        assert mode in text
        assert f"{data[mode]['mean_return']:.4g}" in text
    assert "baselines train --agent PPOLag --env Safe/DeepSea" in text
    assert "--set n_steps=8" in text
    assert f"torch 0.1 (here {data['versions']['torch']})" in text
    assert text.count("(here") == 1
    assert "warning W: slow" in text
    assert "warning resumed with new episodes at step 1,024" in text


def test_a_solver_s_run(sea, capsys):
    code, text = shown(sea / "Safe_DeepSeaTreasure-v0" / "pqa_alm" / "seed_0", capsys)
    assert code == 0
    assert "evaluations: 60" in text
    assert "optimum" in text
    assert rows_in(text)["step_size"] == ["1.0", "1.0", ""]


def test_a_controller_s_run(tmp_path, capsys):
    from rich.console import Console

    options = TrainOptions(
        "LQRController", "Safe/DoubleIntegrator-v0", tmp_path / "r", 1, 0, ("cost_limit=3",), 1
    )
    assert train(options, Console(quiet=True)) == 0
    code, text = shown(tmp_path / "r", capsys)
    assert code == 0
    assert rows_in(text)["cost_limit"] == ["3", "null", "changed"]


def test_states_of_a_run(run, capsys):
    (run / "model.zip").rename(run / "elsewhere.zip")
    code, text = shown(run, capsys)
    assert code == 1
    assert ": damaged" in text
    assert "model.zip" in text
    (run / "elsewhere.zip").rename(run / "model.zip")
    (run / "result.json").unlink()
    code, text = shown(run, capsys)
    assert code == 0
    assert ": unfinished" in text
    assert "ago" in text
    assert "at step 3,072" in text
    assert "checkpoint" not in text
    (run / "checkpoint").mkdir()
    assert "its command goes on from the newest checkpoint" in shown(run, capsys)[1]
    (run / "error.txt").write_text("Traceback\nOSError: no space left on device\n")
    code, text = shown(run, capsys)
    assert code == 1
    assert ": failed" in text
    assert "OSError: no space left on device" in text


@pytest.mark.parametrize("content", ["{", "[1]", '{"agent": "PPOLag"}', '{"agent": 3}', "\x00"])
def test_damaged_files_never_raise(run, content, capsys):
    for name in ("result.json", "config.json"):
        (run / name).write_text(content)
        assert find_run(run).state == "damaged"
        code, text = shown(run, capsys)
        assert code == 1
        assert name in text


def test_a_comparison_has_a_line_per_job(sea, tmp_path, capsys):
    out = shutil.copytree(sea, tmp_path / "out")
    agent = out / "Safe_DeepSeaTreasure-v0" / "PPOLag"
    shutil.copytree(agent / "seed_1", agent / "seed_10")
    edit(agent / "seed_10" / "config.json", seed=10)
    (agent / "seed_10" / "result.json").write_text("{")
    code, text = shown(out, capsys)
    assert code == 1
    lines = [line.split("│")[1:4] for line in text.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in line] for line in lines] == [
        ["PPOLag", "0", "finished"],
        ["PPOLag", "1", "finished"],
        ["PPOLag", "10", "damaged"],
        ["pqa_alm", "0", "finished"],
    ]
    assert "4 jobs: 3 finished, 1 damaged" in text
    assert str(agent / "seed_10") in text
    assert [found.folder.name for found in find_runs(out)][:3] == ["seed_0", "seed_1", "seed_10"]


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    assert main(["show", str(tmp_path)]) == 2
    assert "holds no run and no comparison" in " ".join(capsys.readouterr().out.split())
