"""A training is repeated, and the policy that comes out is compared with the submitted one."""

import io
import json
import shutil

import pytest
from rich.console import Console

from baselines.commands.train import TrainOptions, train
from leaderboard.__main__ import main
from tests.leaderboard import variants

SEA = "Safe/DeepSeaTreasure-v0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        options = TrainOptions(
            "PPOLag", SEA, folder / f"seed_{seed}", 256, seed, ("n_steps=4",), eval_episodes=2
        )
        assert train(options, Console(file=io.StringIO())) == 0
    return folder


def retrained(capsys, *words):
    code = main(["verify", "--retrain", *map(str, words)])
    return code, " ".join(capsys.readouterr().out.split())


def with_policy(runs, tmp_path, content):
    folder = tmp_path / "run"
    shutil.copytree(runs / "seed_0", folder)
    (folder / "policy.onnx").write_bytes(content)
    (folder / "sha256.json").unlink()  # as in runs of earlier versions
    return folder


def test_the_same_training_gives_the_same_policy(runs, capsys):
    code, text = retrained(capsys, runs, "--seed", 1)
    assert code == 0
    assert f"repeats the training of seed 1: PPOLag on {SEA}, 256 steps" in text
    assert "train --agent PPOLag --env" in text.partition("its command was:")[2]
    assert text.endswith("the training was repeated and gave the submitted policy exactly")


def test_another_policy_is_told_from_one_that_is_rounded_differently(runs, tmp_path, capsys):
    original = (runs / "seed_0" / "policy.onnx").read_bytes()
    rounded = with_policy(runs, tmp_path, variants.noisy(original, 1e-5, relative=True))
    code, text = retrained(capsys, rounded)
    assert code == 0, text
    assert "gave nearly the submitted policy (distance" in text
    shutil.copy(runs / "seed_1" / "policy.onnx", rounded / "policy.onnx")
    code, text = retrained(capsys, rounded)
    assert code == 1
    assert "gave another policy (distance" in text
    assert text.endswith("the settings in the folder do not explain it")


def test_what_cannot_be_repeated_is_refused(runs, tmp_path, capsys):
    code, text = retrained(capsys, runs, "--seed", 7)
    assert code == 2
    assert "no run has the training seed 7; the runs have 0, 1" in text
    folder = with_policy(runs, tmp_path, b"")
    code, text = retrained(capsys, folder)
    assert code == 2
    (folder / "result.json").unlink()
    code, text = retrained(capsys, folder)
    assert code == 2
    assert "has no finished run to compare with" in text


def test_code_that_a_folder_names_is_not_imported(runs, tmp_path, capsys):
    trace = tmp_path / "was_imported"
    code_file = tmp_path / "theirs.py"
    code_file.write_text(f"open({str(trace)!r}, 'w').close()\nclass Agent:\n    pass\n")
    folder = with_policy(runs, tmp_path, (runs / "seed_0" / "policy.onnx").read_bytes())
    config = json.loads((folder / "config.json").read_text())
    code = {"kind": "plain agent", "place": str(code_file), "name": "Agent", "sha256": "0" * 64}
    config |= {"agent": "theirs.py:Agent", "agent_code": code}
    (folder / "config.json").write_text(json.dumps(config))
    exit_code, text = retrained(capsys, folder)
    assert exit_code == 2
    assert "pass --import-agent if you trust them" in text
    assert not trace.exists()
