"""Every environment has a short moving picture, and the same command makes it again."""

import itertools
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("pygame")
films = pytest.importorskip("environment_films")  # docs/ is on the path of the tests

from film_frames import agent_place  # noqa: E402
from PIL import Image  # noqa: E402

IMAGES = Path(films.__file__).parent / "images"
LARGEST = 300_000  # [bytes]
CLIFF = "Safe/CliffWorld-v0"


def test_environments_without_a_film_of_their_own_act_at_random():
    film = films.film_of("Safe/New-v0")
    env = gym.make(CLIFF)
    actions = [film.policy(env)(0, step) for step in range(20)]
    again = film.policy(env)
    assert [again(0, step) for step in range(20)] != [actions[0]] * 20
    assert all(env.action_space.contains(action) for action in actions)


@pytest.mark.parametrize("env_id", films.environment_ids())
def test_films_are_small_and_last_some_seconds(env_id):
    film, stem = films.film_of(env_id), IMAGES / films.page_name(env_id)
    assert stem.with_suffix(".gif").stat().st_size <= LARGEST
    with Image.open(stem.with_suffix(".gif")) as moving:
        times = []
        for frame in range(moving.n_frames):
            moving.seek(frame)
            times.append(moving.info["duration"])
        assert len({*times}) == 2 or moving.n_frames < film.frames
        assert 2_000 <= sum(times) <= 6_000  # [ms], with a pause at the end
        assert moving.info["loop"] == 0
        width = moving.width
    with Image.open(stem.with_suffix(".png")) as still:
        assert still.width >= width


def test_the_same_frames_every_time():
    film = films.FILMS[CLIFF]
    once, again = (list(itertools.islice(films.shots(CLIFF, film), 6)) for _ in range(2))
    assert [shot.numbers for shot in once] == [shot.numbers for shot in again]
    assert all((a.frame == b.frame).all() for a, b in zip(once, again, strict=True))
    assert once[0].numbers == "step 0: rewards 0.00, costs 0"
    assert not (once[0].frame == once[1].frame).all()


def test_the_agent_is_where_its_color_is():
    frame = np.zeros((40, 60, 3), dtype=np.uint8)
    assert agent_place(frame) is None
    frame[10:13, 20:31] = films.AGENT
    assert agent_place(frame) == (25.0, 11.0)
