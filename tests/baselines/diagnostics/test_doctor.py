"""The doctor names planted faults first, and finds nothing in sound trainings."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from baselines.commands.diagnose import DiagnoseOptions, diagnose, trained_in
from baselines.diagnostics.doctor import FEWEST, findings
from baselines.diagnostics.measured_run import MeasuredRun, read_measured_run
from baselines.experiments.faults.cases import CASES, SOUND
from baselines.experiments.planted_faults import Verdict, recorded, replayed

RECORD = Path(__file__).with_name("planted_faults.json.gz")


@pytest.fixture(scope="module")
def verdicts():
    runs = replayed(RECORD)
    return [Verdict(case, tuple(one.name for one in findings(runs[case.name]))) for case in CASES]


def test_planted_faults_are_named_first(verdicts):
    """Recorded trainings with seeds that are not those of most of the thresholds."""
    broken = [one for one in verdicts if one.case.fault != SOUND]
    assert len(broken) == 20
    assert len({one.case.fault for one in broken}) == 10
    assert sum(one.is_right for one in broken) >= 18


def test_nothing_is_found_in_sound_trainings(verdicts):
    sound = [one for one in verdicts if one.case.fault == SOUND]
    assert len(sound) == 10
    assert sum(not one.found for one in sound) >= 9


def curves(**log):
    updates = len(next(iter(log.values())))
    columns = {name.replace("__", "/"): np.asarray(value, float) for name, value in log.items()}
    steps = {"time/total_timesteps": 100.0 * np.arange(1, updates + 1)}
    return MeasuredRun({**steps, "train/n_updates": np.arange(updates, dtype=float), **columns}, {})


def test_what_is_measured_decides():
    """The same numbers, once of a training that goes well and once of one that does not."""
    good = {"train__approx_kl": [0.01] * 20, "train__explained_variance": [0.8] * 20}
    assert findings(curves(**good)) == []
    (found,) = findings(curves(**{**good, "train__explained_variance": [-0.2] * 20}))
    assert found.name == "critics do not fit"
    assert "-0.20 for the reward" in found.evidence
    (found,) = findings(curves(**{**good, "rollout__ep_len_mean": [500] * 10 + [80] * 10,
                                  "rollout__ep_rew_mean": [900] * 10 + [150] * 10}))  # fmt: skip
    assert found.name == "episodes end early"
    (found,) = findings(curves(**good, train__std=[1.0] * 10 + [0.01] * 10))
    assert found.name == "exploration is gone"


def test_units_do_not_matter():
    """A cost in other units, with its limit, and a reward in others have the same findings."""
    runs = replayed(RECORD)
    for name in ("out_of_reach", "weak_price", "sound_PPOLag"):
        run = runs[name]
        scaled = dict(run.log)
        for column in scaled:
            if column.startswith(("constraint/violation", "rollout/ep_rew")):
                scaled[column] = 1e3 * scaled[column]
        other = MeasuredRun(scaled, run.measures, run.settings, run.name)
        assert [one.name for one in findings(other)] == [one.name for one in findings(run)]


def test_too_short_a_training_says_so():
    with pytest.raises(ValueError, match=f"has 3 logged updates; at least {FEWEST}"):
        findings(curves(train__approx_kl=[0.01] * 3))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "progress.csv").write_text(
        "time/total_timesteps,train/n_updates,train/approx_kl\n"
        + "".join(f"{100 * k},{k},1e-9\n" for k in range(1, 9))
    )
    return tmp_path


def test_the_command_explains(folder):
    printed = io.StringIO()
    assert diagnose(DiagnoseOptions((folder,)), Console(file=printed, width=200)) == 1
    text = printed.getvalue()
    for part in ("the policy hardly moves", "evidence:", "raise learning_rate", "--diagnostics"):
        assert part in text
    with pytest.raises(ValueError, match="no run is given"):
        diagnose(DiagnoseOptions(()), Console(file=printed))
    (folder / "progress.csv").write_text("time/fps\n1\n")
    with pytest.raises(ValueError, match="has no rows with time/total_timesteps"):
        diagnose(DiagnoseOptions((folder,)), Console(file=printed))


def test_runs_with_diagnostics_alone_and_comparisons_are_found(folder):
    """Trainings of constraint layers have no log; a comparison has its runs in folders."""
    assert trained_in(folder) == [folder]
    bare = folder / "layers"
    (bare / "diagnostics").mkdir(parents=True)
    assert trained_in(bare) == [bare]
    with pytest.raises(ValueError, match="empty"):
        trained_in(folder / "empty")


def test_damaged_measures_are_named(folder):
    (folder / "diagnostics").mkdir()
    (folder / "diagnostics" / "measures.csv").write_text("time/total_timesteps,noise_signal\n1,x\n")
    with pytest.raises(ValueError, match="measures.csv is damaged"):
        read_measured_run(folder)


def test_a_record_is_read_as_it_was_written(folder, tmp_path):
    file = tmp_path / "record.json.gz"
    file.write_bytes(recorded({"one": folder}))
    (found,) = replayed(file).values()
    run = read_measured_run(folder)
    for name, numbers in run.log.items():
        np.testing.assert_allclose(found.log[name], numbers, rtol=1e-5)
