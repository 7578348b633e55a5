"""The tabular environments under `gymnasium.utils.play`, with keys pressed by the test."""

import gymnasium as gym
import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
pygame = pytest.importorskip("pygame")

CLIFF_KEYS = {"w": 1, "s": 0, "a": 2, "d": 3, "up": 1, "down": 0, "left": 2, "right": 3}
SEA_KEYS = {"a": 0, "d": 1, "left": 0, "right": 1}


def code(key):
    return vars(pygame)[f"K_{key.upper() if len(key) > 1 else key}"]


def played(monkeypatch, env, keys):
    """Press one key after the other; return (observation, action) of every step taken."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    # The module selects a backend with windows for the whole process.
    monkeypatch.setattr(matplotlib, "use", lambda backend: None)
    from gymnasium.utils.play import play

    pygame.display.init()
    steps, left = [], list(keys)

    def press():
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, {"key": code(left[0])}))

    def after_step(before, after, action, reward, terminated, truncated, info):
        steps.append((after, action))
        pygame.event.post(pygame.event.Event(pygame.KEYUP, {"key": code(left.pop(0))}))
        if left:
            press()
        else:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    pygame.event.clear()
    press()
    play(env, fps=1000, callback=after_step, seed=5)
    return steps


@pytest.mark.parametrize(
    ("tabular_id", "keys"),
    [("Safe/CliffWorld-v0", CLIFF_KEYS), ("Safe/DeepSeaTreasure-v0", SEA_KEYS)],
)
def test_arrows_and_letters(tabular_id, keys):
    env = gym.make(tabular_id)
    found = env.get_wrapper_attr("get_keys_to_action")()
    assert found == {(code(key),): action for key, action in keys.items()}
    found.clear()
    assert env.unwrapped.get_keys_to_action()  # a new table for each caller


def test_the_walker_goes_where_the_keys_point(monkeypatch):
    """State = 5 column + row, so up and right are +1 and +5; walls stop it."""
    env = gym.make("Safe/CliffWorld-v0", slip=0.0, render_mode="rgb_array")
    env.reset(seed=5)
    keys = ["right", "up", "d", "w", "left", "down", "a", "s", "right"]
    steps = played(monkeypatch, AtState(env, 5), keys)
    assert [state for state, _ in steps] == [10, 11, 16, 17, 12, 11, 6, 5, 10]
    assert [action for _, action in steps] == [CLIFF_KEYS[key] for key in keys]


def test_the_diver_steers(monkeypatch):
    """It sinks by one row with every key: state = 5 column + row."""
    env = gym.make("Safe/DeepSeaTreasure-v0", render_mode="rgb_array", observation="one_hot")
    steps = played(monkeypatch, AtState(env, 5 * 2 + 4), ["right", "a", "left"])
    assert [int(np.argmax(seen)) for seen, _ in steps] == [5 * 3 + 3, 5 * 2 + 2, 5 * 1 + 1]


def test_random_cmdps_have_numbered_keys(monkeypatch):
    env = gym.make("Safe/RandomCMDP-v0", actions=12, render_mode="rgb_array")
    keys = env.unwrapped.get_keys_to_action()
    assert keys == {(code(key),): action for action, key in enumerate("0123456789ab")}
    steps = played(monkeypatch, env, ["3", "b", "0"])
    assert [action for _, action in steps] == [3, 11, 0]
    many = gym.make("Safe/RandomCMDP-v0", actions=40).unwrapped.get_keys_to_action()
    assert sorted(many.values()) == list(range(36))


class AtState(gym.Wrapper):
    """Starts every episode in one state."""

    def __init__(self, env, state):
        super().__init__(env)
        self.state = state

    def reset(self, **kwargs):
        return self.env.reset(**{**kwargs, "options": {"state": self.state}})
