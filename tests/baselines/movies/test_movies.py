"""Movies are decoded by another library: frames, size, and the color of the banner."""

from itertools import pairwise

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import pytest
from gymnasium import spaces

from agents.training_env import Contract
from baselines.movies.banner import ABOVE, BannerText, CostSoFar, draw_banner
from baselines.movies.filmed_env import FilmedEnv, FrameError
from baselines.movies.frame_layout import FrameLayout, picture_of
from baselines.movies.movie_file import check_movie_path, movie_file
from safe_envs import ConstraintSpec

LIMIT = Contract((ConstraintSpec("speed", 1.5), ConstraintSpec("tilt", 9.0, 0.5)), 0.9)


class Blinker(gym.Env):
    """Cost 1 and 1 per step, three steps; frames of odd sizes, another one in each episode."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"]}
    episode = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.episode = 0, self.episode + 1
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        costs = {"cost": 2.0, "costs": np.ones(2)}
        return np.zeros(1, np.float32), 1.0, self.t == 3, False, costs

    def render(self):
        frame = np.zeros((61, 45 + 20 * self.episode, 3), np.uint8)
        frame[:, : 10 * (self.t + 1)] = 60 * self.t
        return frame


def play(show, episodes=2, held=1):
    env = FilmedEnv(Blinker(), LIMIT, show, episodes, held)
    for _ in range(episodes + 1):  # the one too many, as a vector environment resets
        env.reset()
        for _ in range(3 if env._episode < episodes else 0):
            env.step(0)


def red_share(rows):
    near = np.abs(rows.astype(int) - np.array(ABOVE)).max(axis=2) < 60
    return near.mean()


@pytest.mark.filterwarnings(
    "ignore:.*unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize(("suffix", "plugin"), [(".mp4", "FFMPEG"), (".gif", "pillow")])
def test_a_movie_decodes_to_its_frames(tmp_path, suffix, plugin):
    shown, path = [], tmp_path / "new" / f"movie{suffix}"
    with movie_file(path, 10.0) as movie:
        play(lambda frame: (shown.append(frame), movie.add(frame)))
        assert not path.exists()  # a kill now leaves nothing under the name
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    frames = np.stack(list(iio.imiter(path, plugin=plugin)))
    assert len(frames) == len(shown) == 2 * (4 + 1)  # first frame, three steps, the last held
    height, width = shown[0].shape[:2]
    assert frames.shape[1:] == (height, width, 3)
    assert height % 2 == width % 2 == 0
    assert width >= 400
    for before, after in pairwise(frames[:4]):
        assert np.abs(before.astype(int) - after).mean() > 1
    np.testing.assert_array_equal(shown[3], shown[4])
    assert np.abs(frames.astype(int) - np.stack(shown)).mean() < 4
    line = (height - FrameLayout(first_frame())._size[1]) // 4  # of step, return and two costs
    speed, tilt = slice(2 * line, 3 * line), slice(3 * line, 4 * line)
    assert [red_share(frame[speed]) > 0.5 for frame in frames] == 2 * [False, False, *3 * [True]]
    assert max(red_share(frame[tilt]) for frame in frames) < 0.05  # 1 + .5 + .25 of 9


def first_frame():
    env = Blinker()
    env.reset()
    return env.render()


def test_a_gif_has_at_most_fifty_frames_a_second(tmp_path):
    path = tmp_path / "fast.gif"
    with movie_file(path, 120.0) as movie:
        for i in range(9):
            movie.add(np.full((20, 30, 3), 20 * i, np.uint8))
    assert iio.imread(path, plugin="pillow")[:, 0, 0, 0].tolist() == [0, 60, 120]
    assert iio.immeta(path, plugin="pillow")["duration"] in (20, 30)  # 1 / 40 s, in 10 ms


def test_a_broken_off_movie_leaves_the_old_one(tmp_path):
    path = tmp_path / "movie.mp4"
    path.write_bytes(b"old")

    def interrupted():
        with movie_file(path, 10.0) as movie:
            movie.add(np.zeros((20, 30, 3), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [file.name for file in tmp_path.iterdir()] == ["movie.mp4"]
    assert path.read_bytes() == b"old"


def test_a_movie_that_ffmpeg_did_not_finish_is_not_kept(tmp_path):
    def killed():
        with movie_file(tmp_path / "movie.mp4", 10.0) as movie:
            movie.add(np.zeros((20, 30, 3), np.uint8))
            movie._writer.gi_frame.f_locals["p"].kill()

    with pytest.raises(OSError, match="is the disk full"):
        killed()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["movie.avi", "movie", "movie.mp4.zip"])
def test_other_kinds_of_files_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"an \.mp4 or a \.gif file"):
        check_movie_path(tmp_path / name)


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "movie.mp4").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        check_movie_path(tmp_path / "movie.mp4")


@pytest.mark.parametrize("size", [(60, 60), (33, 801), (801, 33), (1024, 1024), (1, 1)])
def test_every_frame_size_fits_below_its_banner(size):
    frame = np.full((*size, 3), 7, np.uint8)
    layout = FrameLayout(frame)
    banner = draw_banner(BannerText("step 1", "return", 2.0, []), layout.width)
    whole = layout.canvas(frame, banner)
    np.testing.assert_array_equal(whole[: len(banner)], banner)
    below = (whole[len(banner) :] == 7).all(axis=2)
    assert below.sum() >= size[0] * size[1]
    assert (below.sum() / (size[0] * size[1])) ** 0.5 % 1 == 0  # a whole number of times
    assert whole.shape[0] % 2 == whole.shape[1] % 2 == 0
    assert len(banner) >= 2 * 13  # letters of at least 13 pixels


def test_names_of_any_length_leave_the_numbers_readable():
    """The right half of the banner is the same, whatever stands on the left."""
    rows = [CostSoFar(name, 12.5, 10.0) for name in ("x", "größe " * 40)]
    one, other = (draw_banner(BannerText("s", "r", 1.0, [row]), 400) for row in rows)
    np.testing.assert_array_equal(one[:, 240:], other[:, 240:])


def test_frames_of_other_forms():
    gray = np.full((4, 6), 9, np.uint8)
    assert picture_of(gray).shape == picture_of([gray, gray]).shape == (4, 6, 3)
    see_through = np.zeros((4, 6, 4), np.uint8)
    assert picture_of(see_through).tolist() == np.full((4, 6, 3), (250, 250, 248)).tolist()
    for wrong in (None, np.zeros((4, 6, 3)), np.zeros((4, 6, 2), np.uint8), "frame"):
        with pytest.raises(ValueError, match="a frame is an array"):
            picture_of(wrong)


def test_a_library_that_cannot_draw_is_named(monkeypatch):
    def fails(self):
        raise RuntimeError("no OpenGL library can draw frames here (egl: missing)")

    monkeypatch.setattr(Blinker, "render", fails)
    with pytest.raises(FrameError, match="no frame could be drawn: RuntimeError: no OpenGL"):
        play(print)
