"""Windows in one process: each closes alone, and other users of pygame's display keep theirs."""

import gymnasium as gym
import pytest

import safe_envs  # noqa: F401  registers the environments

pygame = pytest.importorskip("pygame")


@pytest.fixture(autouse=True)
def _nothing_is_shown(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.display.quit()


def shown(env_id="Safe/CliffWorld-v0"):
    env = gym.make(env_id, render_mode="human", disable_env_checker=True)
    env.reset(seed=0)
    return env


def goes_on(env):
    env.reset(seed=1)
    env.step(env.action_space.sample())


@pytest.mark.parametrize("first", [0, 1])
def test_closing_one_window_leaves_the_other(first):
    envs = [shown(), shown("Safe/DoubleIntegrator-v0")]
    envs.pop(first).close()
    goes_on(envs[0])
    assert pygame.display.get_init()
    third = shown()
    goes_on(envs[0])
    envs[0].close()
    goes_on(third)
    third.close()
    third.close()
    assert not pygame.display.get_init()


def test_a_window_that_is_dropped_without_closing_ends_no_other():
    kept, dropped = shown(), shown()
    del dropped
    goes_on(kept)
    kept.close()
    assert not pygame.display.get_init()


def test_the_display_of_another_library_stays():
    pygame.display.init()
    theirs = pygame.display.set_mode((31, 17))
    env = shown()
    goes_on(env)
    env.close()
    assert pygame.display.get_surface() is theirs
    assert theirs.get_size() == (31, 17)


def test_a_display_taken_over_by_another_library_is_left_to_it():
    env = shown()
    theirs = pygame.display.set_mode((31, 17))
    goes_on(env)
    env.close()
    assert pygame.display.get_surface().get_size() == theirs.get_size() == (31, 17)


def test_a_window_ended_by_another_library_opens_again():
    one, other = shown(), shown()
    pygame.display.quit()
    goes_on(one)
    goes_on(other)
    one.close()
    goes_on(other)
    other.close()
    assert not pygame.display.get_init()


def test_pygame_without_further_windows_shares_its_display(monkeypatch):
    """As in pygame 2, which is not pygame-ce."""
    monkeypatch.delattr(pygame, "Window")
    small, large = shown(), shown("Safe/DoubleIntegrator-v0")
    goes_on(small)
    sizes = [pygame.display.get_surface().get_size()]
    goes_on(large)
    sizes.append(pygame.display.get_surface().get_size())
    assert sizes[0] != sizes[1]
    small.close()
    goes_on(large)
    large.close()
    assert not pygame.display.get_init()
