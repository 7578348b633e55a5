"""Flying by hand with `gymnasium.utils.play`."""

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.quadrotor.dynamics import step
from safe_envs.quadrotor.keys import keys_to_thrusts
from safe_envs.quadrotor.vehicle import CRAZYFLIE

HOVERING = [0, 0, 1.0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
UP, AHEAD, LEFT = 5, 3, 4  # velocities


@pytest.mark.parametrize("vehicle", [CRAZYFLIE, CRAZYFLIE.with_center_of_mass(0.005, 0.005)])
@pytest.mark.parametrize(
    ("keys", "entry", "sign"),
    [("w", UP, 1), ("s", UP, -1), ("i", AHEAD, 1), ("k", AHEAD, -1), ("a", LEFT, 1),
     ("d", LEFT, -1), ("j", 12, 1), ("l", 12, -1), ("wi", UP, 1), ("wi", AHEAD, 1)],
)  # fmt: skip
def test_keys_fly_where_they_say(vehicle, keys, entry, sign):
    thrusts, state = keys_to_thrusts(vehicle), HOVERING
    for _ in range(20):
        state = step(vehicle, state, thrusts[keys].tolist(), 0.01)
    assert sign * state[entry] > 0.01


def test_no_key_hovers_and_every_combination_is_an_action():
    env = gym.make("Safe/QuadrotorZCBF-v0", render_mode="rgb_array")
    actions = env.unwrapped.get_keys_to_action()
    np.testing.assert_allclose(actions[""], -1.0 / 9.0, atol=1e-6)
    np.testing.assert_allclose(actions["ws"], actions[""], atol=1e-6)
    assert len({tuple(sorted(keys)) for keys in actions}) == 2**8
    assert all(action in env.action_space for action in actions.values())


@pytest.mark.filterwarnings("ignore:.*matplotlib is not installed:UserWarning")
@pytest.mark.filterwarnings("ignore:.*to get variables from other wrappers:UserWarning")  # 0.29
def test_gymnasium_plays_it(monkeypatch):
    pygame = pytest.importorskip("pygame")
    from gymnasium.utils.play import play

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gym.make("Safe/Quadrotor-v0", render_mode="rgb_array")
    actions, taken = env.unwrapped.get_keys_to_action(), []

    def press(before, after, action, reward, terminated, truncated, info):
        taken.append(action)
        if len(taken) == 2:
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_w))
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_i))
        if len(taken) == 5:
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE))

    play(env, callback=press, seed=0)
    for action, keys in zip(taken, ("", "", "wi", "wi", "wi"), strict=True):
        np.testing.assert_array_equal(action, actions[keys])
