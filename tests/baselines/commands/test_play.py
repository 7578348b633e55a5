"""Playing a finished run: the episodes of an evaluation, in a movie, a window or a table."""

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

import baselines
from agents.evaluation_result import EvaluationResult
from agents.training_env import Contract
from baselines.__main__ import main
from baselines.measures.episode_sampling import sample_episodes
from baselines.report.played_table import played_table
from safe_envs import ConstraintSpec
from safe_envs.rendering import screen


@pytest.fixture
def run(sea):
    return sea / "Safe_DeepSeaTreasure-v0" / "PPOLag" / "seed_0"


@pytest.fixture
def no_screen(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(screen.sys, "platform", "linux")


def rows_in(text):
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    return [row for row in cells if row]


def test_a_movie_shows_every_step_of_the_evaluation_s_episodes(run, tmp_path, capsys):
    """Against episodes that are counted apart, in one copy of the environment."""
    path = tmp_path / "sea.gif"
    words = ["play", str(run), "--episodes", "3", "--stochastic", "--seed", "8"]
    assert main([*words, "--video", str(path), "--fps", "5"]) == 0
    text = capsys.readouterr().out
    assert "stochastic policy, seed 8" in text
    assert f"movie: {path}" in text.replace("\n", "")
    held = baselines.load_run(run)
    acts, contract, _ = held.player(8)
    expected = sample_episodes(acts, DummyVecEnv([held.env]), contract, 3, 8, deterministic=False)
    rows = rows_in(text)
    assert [row[0] for row in rows] == ["1", "2", "3", "mean"]
    assert [int(row[-1]) for row in rows[:3]] == expected.lengths.tolist()
    assert [float(row[1]) for row in rows[:3]] == pytest.approx(expected.returns, rel=1e-4)
    assert [float(row[3]) for row in rows[:3]] == pytest.approx(expected.costs[:, 0], rel=1e-4)
    assert [float(row[4]) for row in rows[:3]] == pytest.approx(expected.plain_costs[:, 0])
    frames = iio.imread(path, plugin="pillow")
    assert len(frames) == expected.lengths.sum() + 3 * (1 + 5)  # the first ones; a second held


def test_without_a_screen_the_episodes_are_a_table(run, no_screen, capsys):
    assert main(["play", str(run), "--episodes", "2"]) == 0
    text = capsys.readouterr().out
    assert "no screen here for a window; --video FILE.mp4 records" in text
    assert "deterministic policy" in text
    assert "(discount 0.9)" in text
    assert [row[0] for row in rows_in(text)] == ["1", "2", "mean"]


def test_with_a_screen_every_frame_is_shown_in_a_window(run, monkeypatch, capsys):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    shown = []
    monkeypatch.setattr(
        "safe_envs.rendering.window.Window.show", lambda self, frame: shown.append(frame)
    )
    assert main(["play", str(run), "--fps", "1"]) == 0
    length = int(rows_in(capsys.readouterr().out)[0][-1])
    assert len(shown) == length + 1 + 1
    assert {frame.shape for frame in shown} == {shown[0].shape}


def test_a_solver_s_policy_is_played(sea, no_screen, capsys):
    folder = sea / "Safe_DeepSeaTreasure-v0" / "pqa_alm" / "seed_0"
    assert main(["play", str(folder)]) == 0
    assert "pqa_alm on Safe/DeepSeaTreasure-v0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--video", "movie.avi"], "a movie is an .mp4 or a .gif file"),
        (["--episodes", "0"], "episodes is 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--fps", "0"], "fps is 0.0"),
        (["--fps", "nan"], "fps is nan"),
    ],
)
def test_refused_before_anything_is_played(run, words, message, capsys):
    assert main(["play", str(run), *words]) == 2
    assert message in capsys.readouterr().out


def test_either_mode_but_not_both(run, capsys):
    with pytest.raises(SystemExit):
        main(["play", str(run), "--deterministic", "--stochastic"])
    assert "--deterministic" in capsys.readouterr().err


def test_an_environment_that_draws_no_frames_is_refused(run, tmp_path, monkeypatch, capsys):
    wanted = gym.make("Safe/DeepSeaTreasure-v0")
    wanted.unwrapped.metadata = {"render_modes": ["ansi"]}
    monkeypatch.setattr("baselines.loaded_run.LoadedRun.env", lambda self, mode=None: wanted)
    assert main(["play", str(run), "--video", str(tmp_path / "x.mp4")]) == 2
    text = " ".join(capsys.readouterr().out.split())
    assert "draws no frames: its render modes are ['ansi']" in text
    assert list(tmp_path.iterdir()) == []


def test_no_opengl_is_one_clear_line_and_no_file(run, tmp_path, monkeypatch, capsys):
    def fails(self, state):
        raise RuntimeError("no OpenGL library can draw frames here (egl: missing)")

    monkeypatch.setattr("safe_envs.tabular.env.ScalarTabular.frame", fails)
    assert main(["play", str(run), "--video", str(tmp_path / "x.mp4")]) == 2
    assert "no frame could be drawn: RuntimeError: no OpenGL" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_table_names_discounts_and_constraints():
    specs = (ConstraintSpec("left", 1.0, 0.5), ConstraintSpec("right", 4.0))
    contract = Contract(specs, 1.0)
    sums = np.array([[2.0, 3.0], [0.0, 4.0]])
    result = EvaluationResult(
        *(contract.constraints, contract.reward_discount, 0, True, np.array([1.0, 3.0]), sums),
        *(np.array([1.0, 3.0]), 2 * sums, np.array([5, 6]), np.zeros(2, np.bool_)),
    )
    table = played_table(result)
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert columns["constraint"] == 3 * ["left", "right"]
    assert columns["return"] == ["1", "1", "3", "3", "2", "2"]
    shown = columns["cost\n(discount 0.5)"]
    assert shown[:2] == ["[red]2[/]", "[green]3[/]"]
    assert shown[4:] == ["[green]1[/]", "[green]3.5[/]"]
    assert columns["plain\ncost"][:2] == ["4", "6"]
    assert columns["length"] == ["5", "5", "6", "6", "5.5", "5.5"]
