"""Our agents beside OmniSafe's: its log written by hand, its interpreter played by a script."""

import io
import json
import stat

import numpy as np
import pytest

for package in ("tyro", "rich", "matplotlib", "torch", "mujoco"):
    pytest.importorskip(package)

from rich.console import Console  # noqa: E402

from baselines.experiments.safety_gymnasium_training import (  # noqa: E402
    PEER,
    BridgedTrainingArguments,
    Milestone,
    milestones,
    over_a_hundred_episodes,
    peer_curve,
    peer_curves,
    run,
)
from baselines.measures.learning_curve import LearningCurve  # noqa: E402

HEADER = "Metrics/EpRet,Metrics/EpCost,Metrics/EpLen,TotalEnvSteps\n"
EPOCHS = [(1.0, 60.0), (2.0, 50.0), (3.0, 40.0), (4.0, 30.0), (5.0, 20.0), (9.0, 10.0)]
LOG = HEADER + "".join(f"{r},{c},1000,{1000 * (i + 1)}\n" for i, (r, c) in enumerate(EPOCHS))


def test_peer_points_are_means_over_five_epochs(tmp_path):
    (tmp_path / "progress.csv").write_text(LOG)
    curve = peer_curve(tmp_path / "progress.csv", seed=3)
    assert (curve.agent, curve.seed) == (PEER, 3)
    assert curve.timesteps.tolist() == [1000, 2000, 3000, 4000, 5000, 6000]
    assert curve.episode_return.tolist() == [1.0, 1.5, 2.0, 2.5, 3.0, 4.6]
    assert curve.episode_cost[:, 0].tolist() == [60.0, 55.0, 50.0, 45.0, 40.0, 30.0]
    (tmp_path / "progress.csv").write_text(HEADER)
    with pytest.raises(ValueError, match="no epoch yet"):
        peer_curve(tmp_path / "progress.csv", seed=3)


def test_our_points_are_means_over_as_many_steps():
    steps = np.arange(1, 6) * 40_000.0  # the last two or three points of 100,000 steps
    values = np.array([1.0, 2.0, 3.0, 5.0, 7.0])
    curve = over_a_hundred_episodes(
        LearningCurve("A", 0, steps, values, 10 * values[:, None], np.ones(5))
    )
    assert curve.episode_return == pytest.approx([1.0, 1.5, 2.0, 10 / 3, 5.0])
    assert curve.episode_cost[:, 0] == pytest.approx([10.0, 15.0, 20.0, 100 / 3, 50.0])


def test_milestones_are_read_off_at_equal_steps():
    line = np.array([0.0, 50.0, 100.0])
    lengths = np.ones(3)
    curves = [
        LearningCurve("A", 0, line, 2.0 * line, line[:, None], lengths),
        LearningCurve("A", 1, line, 4.0 * line, line[:, None], lengths),
        LearningCurve("B", 0, line / 2, line, line[:, None], lengths),  # came half the way
    ]
    rows = milestones(curves, 100)
    assert rows[:2] == [Milestone("A", 20, 2, 60.0, 20.0), Milestone("A", 40, 2, 120.0, 40.0)]
    assert [row.timesteps for row in rows if row.agent == "B"] == [20, 40]
    assert rows[-1] == Milestone("B", 40, 1, 80.0, 80.0)


def test_trains_both_sides_once(tmp_path):
    interpreter = tmp_path / "python"
    interpreter.write_text(
        f'#!/bin/sh\necho "$@" >> "$5/calls"\nprintf "{LOG}" > "$5/progress.csv"\n'
    )
    interpreter.chmod(interpreter.stat().st_mode | stat.S_IXUSR)
    arguments = BridgedTrainingArguments(
        "SafetyHopperVelocity-v1", ("PPOLag",), (0,), 4096, 1, 1, interpreter, tmp_path / "runs"
    )
    printed = io.StringIO()
    rows = run(arguments, Console(file=printed, width=150))
    ours = [row for row in rows if row.agent == "PPOLag"]
    peers = [row for row in rows if row.agent == PEER]
    assert [row.timesteps for row in ours] == [2457, 3276, 4096]
    np.testing.assert_allclose(peers[-1].episode_return, 2.5 + 0.5 * 96 / 1000)
    assert json.loads((tmp_path / "runs/summary.json").read_text())["rows"] == [
        row._asdict() for row in rows
    ]
    assert (tmp_path / "runs/training.png").read_bytes().startswith(b"\x89PNG")
    assert PEER in printed.getvalue()
    assert len(peer_curves(arguments, Console(file=io.StringIO()))) == 1  # nothing is repeated
    calls = (tmp_path / "runs/omnisafe/seed_0/calls").read_text().splitlines()
    assert len(calls) == 1
    assert calls[0].split()[1:4] == ["SafetyHopperVelocity-v1", "0", "4096"]


def test_a_peer_that_fails_is_told(tmp_path):
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\nexit 3\n")
    interpreter.chmod(interpreter.stat().st_mode | stat.S_IXUSR)
    arguments = BridgedTrainingArguments(
        "SafetyHopperVelocity-v1", ("PPOLag",), (0,), 2048, 1, 1, interpreter, tmp_path / "runs"
    )
    with pytest.raises(RuntimeError, match="ended with 3; read the end of"):
        peer_curves(arguments, Console(file=io.StringIO()))
