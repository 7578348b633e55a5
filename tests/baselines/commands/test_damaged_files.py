"""Files that somebody or something changed after the run: the command names them or repeats it."""

import json
import shutil
from pathlib import Path

import pytest

import baselines.commands.compare
from baselines.__main__ import main
from tests.baselines.commands.faulty_runs import CLIFF, compare, train


def truncated(path):
    path.write_bytes(path.read_bytes()[:-40])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def is_folder(path):
    path.unlink()
    path.mkdir()


def edited(**entries):
    def edit(path):
        path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))

    return edit


def without(key):
    def edit(path):
        data = json.loads(path.read_text())
        del data[key]
        path.write_text(json.dumps(data))

    return edit


@pytest.fixture(scope="module")
def solved(tmp_path_factory, run_here):
    """Two jobs of a tabular solver."""
    out = tmp_path_factory.mktemp("solved") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines.commands.compare, "run_in_processes", run_here)
        assert compare(out) == 0
    return out


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a deep agent."""
    out = tmp_path_factory.mktemp("trained") / "run"
    assert train(out) == 0
    return out


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.usefixtures("jobs_run_here")
def test_a_comparison_says_so_and_repeats_only_that_job(solved, tmp_path, printed):
    out = tmp_path / "out"
    shutil.copytree(solved, out)
    folder = out / "Safe_CliffWorld-v0" / "npg_pd" / "seed_1"
    for name, damage, told in (
        ("sha256.json", truncated, "is damaged: "),
        ("result.json", is_folder, "cannot be read: Is a directory"),
        ("trace.npz", flipped, "is damaged: it is not what the run wrote"),
    ):
        damage(folder / name)
        assert compare(out) == 0
        text = printed()
        assert f"runs again npg_pd on {CLIFF}, seed 1: {folder / name} {told}" in text
        assert "2 jobs: ran 1, kept 1" in text
        assert (out / "results.csv").read_text().count("done") == 2


@pytest.mark.parametrize("name", ["model.zip", "policy.onnx", "progress.csv"])
def test_train_and_evaluate_name_the_file(name, run, printed):
    content = (run / name).read_bytes()
    for damage in (truncated, flipped, Path.unlink):
        damage(run / name)
        assert main(["evaluate", str(run)]) == 2
        text = printed()
        assert text.startswith(f"error: {run / name} ")
        assert text.endswith("; train it again")
        (run / name).write_bytes(content)
    is_folder(run / name)
    assert train(run) == 0
    assert f"runs again: {run / name} cannot be read: Is a directory" in printed()


def test_a_damaged_configuration_is_named(run, printed):
    content = (run / "config.json").read_bytes()
    for damage, told in (
        (edited(env=CLIFF), "config.json is damaged: "),
        (edited(hyperparameters=[]), "config.json is damaged: "),
        (without("seed"), "config.json is damaged: there is no 'seed'"),
        (edited(agent="PPOLagg"), "did you mean 'PPOLag'?"),
        (truncated, "config.json is damaged: "),
    ):
        (run / "config.json").write_bytes(content)
        damage(run / "config.json")
        assert main(["evaluate", str(run)]) == 2
        assert told in printed()
    assert train(run) == 2
    assert "pass another folder, or delete this one" in printed()


def test_every_number_of_a_result_is_checked(run, printed):
    result = json.loads((run / "result.json").read_text())
    for key, value, told in (
        ("costs", [[0.0], [0.0, 1.0]], "2 episodes with costs of 1 constraints each do not fit"),
        ("lengths", [1], "lengths has 1 entries for 2 episodes"),
        ("violation", [], "violation has 0 entries for 1 constraints"),
        ("returns", [1.0, "2"], "stochastic.returns.1: Input should be a valid number"),
        ("returns", [1.0, float("nan")], "it contains NaN, which is not a finite number"),
        ("feasible", 1, "stochastic.feasible: Input should be a valid boolean"),
        ("mean", 1.0, "stochastic.mean: unknown entry"),
    ):
        damaged = {**result, "stochastic": {**result["stochastic"], key: value}}
        (run / "result.json").write_text(json.dumps(damaged))
        assert main(["evaluate", str(run)]) == 2
        assert told in printed()
    for text, told in (
        (json.dumps({**result, "limits": [0.1, 0.2]}), "limits has 2 entries for 1 constraints"),
        (json.dumps({k: v for k, v in result.items() if k != "seed"}), "seed: Field required"),
        (json.dumps(result).replace('"timesteps": 64', '"timesteps": 1e999'), "is damaged"),
        ("[]", "it holds no JSON object"),
        ("[" * 100_000, "is damaged"),
        ("\udcff", "is damaged"),
    ):
        (run / "result.json").write_bytes(text.encode(errors="surrogateescape"))
        assert main(["evaluate", str(run)]) == 2
        assert f"{run / 'result.json'} is damaged: " in (line := printed())
        assert told in line


def test_runs_without_digests_are_still_read(run, printed):
    """Of earlier versions, which wrote none."""
    (run / "sha256.json").unlink()
    assert train(run) == 0
    assert "holds this run already" in printed()
    truncated(run / "model.zip")
    assert main(["evaluate", str(run)]) == 2
    assert f"{run / 'model.zip'}" in printed()
