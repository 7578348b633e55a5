"""Properties that hold for every environment of the registry."""

import pickle
import re

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safe_envs import ConstraintSpec, check_constrained_env
from safe_envs.contract.vector_env import AutoresetMode

EXPECTED_WARNINGS = [
    # What Gymnasium's checker says of unbounded observations and of actions outside [-1, 1].
    "ignore:.*A Box observation space.*:UserWarning",
    "ignore:.*we recommend using a symmetric and normalized space.*:UserWarning",
]
a_few = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


HEADINGS = (
    "Description", "Action Space", "Observation Space", "Rewards", "Costs", "Starting State",
    "Episode End", "Reference Optimum", "Arguments", "Version History",
)  # fmt: skip


def test_is_complete(env_id, make_env):
    """Both forms are registered, and the page has all of Gymnasium's headings, in their order."""
    assert gym.spec(env_id).vector_entry_point is not None, (
        f"{env_id} has no native vector form; register both with register_forms in "
        "safe_envs/__init__.py"
    )
    kind = type(make_env(env_id).unwrapped)
    found = re.findall(r"^ *## (.*)$", kind.__doc__ or "", re.MULTILINE)
    missing = [heading for heading in HEADINGS if heading not in found]
    assert not missing, f"the docstring of {kind.__name__} lacks the headings {missing}"
    assert found == list(HEADINGS)


@pytest.mark.filterwarnings(*EXPECTED_WARNINGS)
def test_keeps_the_cost_contract(env_case):
    env_id, kwargs = env_case
    steps = 150 if "max_episode_steps" in kwargs else 200  # more than two of the short episodes
    report = check_constrained_env(env_id, steps=steps, **kwargs)
    assert "costs of random rollouts" in report.passed
    if AutoresetMode is not None:
        assert "native vector form, SameStep autoreset" in report.passed
        assert "terminal costs" in report.passed


@a_few
@given(seed=st.integers(0, 2**31 - 1))
def test_observations_and_costs_stay_in_their_spaces(env_case, make_env, seed):
    env_id, kwargs = env_case
    env = make_env(env_id, **kwargs)
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    assert env.observation_space.contains(observation)
    for _ in range(60):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert np.isfinite(observation).all()
        assert isinstance(reward, float)
        assert np.isfinite(reward)
        costs = info.get("costs", np.array([info["cost"]]))
        assert env.unwrapped.cost_space.contains(costs)
        assert info["cost"] == pytest.approx(costs.sum(), abs=1e-12)
        if terminated or truncated:
            env.reset()


@a_few
@given(seed=st.integers(0, 2**31 - 1), before=st.integers(0, 30))
def test_pickle_in_mid_episode_continues_alike(env_case, make_env, seed, before):
    env_id, kwargs = env_case
    env = make_env(env_id, **kwargs)
    env.action_space.seed(seed)
    env.reset(seed=seed)
    for _ in range(before):
        if any(env.step(env.action_space.sample())[2:4]):
            env.reset()
    copy = pickle.loads(pickle.dumps(env))
    for _ in range(30):
        action = env.action_space.sample()
        ours, theirs = env.step(action), copy.step(action)
        assert np.array_equal(ours[0], theirs[0])
        assert ours[1:4] == theirs[1:4]
        assert ours[4]["episode_cost"] == theirs[4]["episode_cost"]
        if ours[2] or ours[3]:
            assert np.array_equal(env.reset()[0], copy.reset()[0])


def test_truncates_at_the_limit(env_id, make_env):
    limit = gym.spec(env_id).max_episode_steps
    env = make_env(env_id)
    env.action_space.seed(0)
    lengths = []
    episodes = min(30, 1 + 4000 // (limit or 1))
    for episode in range(episodes):
        env.reset(seed=episode)
        for step in range(1, (limit or 1) + 1):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                assert truncated == (step == limit)
                lengths.append(step)
                break
    assert len(lengths) == episodes
    assert max(lengths) <= (limit or 1)


def test_declares_its_limits(env_id, make_env):
    env = make_env(env_id)
    constraints = env.unwrapped.constraints
    assert len(constraints) == 1
    limit = constraints[0].limit + 0.25
    changed = make_env(env_id, cost_limits=limit).unwrapped.constraints[0]
    assert changed == ConstraintSpec(constraints[0].name, limit, constraints[0].discount)
    with pytest.raises(ValueError, match="cost_limits has 2 entries but .* pass 1 number$"):
        make_env(env_id, cost_limits=[0.1, 0.2])


def test_names_unknown_arguments(env_id):
    """Both forms name the known and the closest."""
    for make in (gym.make, gym.make_vec)[: 1 if AutoresetMode is None else 2]:
        with pytest.raises(TypeError, match=r"'cost_limit'; did you mean 'cost_limits'\? Known: "):
            make(env_id, cost_limit=1.0)


def test_vector_form_names_its_base(env_id):
    """Some libraries look for Gymnasium's class among the direct bases only."""
    form = gym.envs.registration.load_env_creator(gym.spec(env_id).vector_entry_point)
    if isinstance(form, type):
        assert gym.vector.VectorEnv in form.__bases__
    elif AutoresetMode is not None:  # a function, whose environment is a wrapper
        assert gym.vector.VectorWrapper in type(form()).__bases__


def test_refuses_an_unknown_render_mode(env_id):
    with pytest.raises(ValueError, match="render_mode is 'ansi'; pass None or"):
        _class_of(env_id)(render_mode="ansi")


def _class_of(env_id):
    return gym.envs.registration.load_env_creator(gym.spec(env_id).entry_point)


def test_frames_show_the_state(env_id, make_env):
    pytest.importorskip("pygame")
    env = make_env(env_id, render_mode="rgb_array")
    frames = []
    for seed in range(12):
        observation, _ = env.reset(seed=seed)
        frames.append((env.render(), observation))
    assert all(f.dtype == np.uint8 and f.shape == frames[0][0].shape for f, _ in frames)
    assert all(f.shape[2] == 3 for f, _ in frames)
    for frame, observation in frames[1:]:
        same_frame = np.array_equal(frame, frames[0][0])
        assert same_frame == np.array_equal(observation, frames[0][1])


def test_window_opens_and_closes(env_id, monkeypatch):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gym.make(env_id, render_mode="human", disable_env_checker=True)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert pygame.display.get_init()
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2)
    drawn = gym.make(env_id, render_mode="rgb_array", disable_env_checker=True)
    drawn.reset(seed=0)
    assert shown.shape == drawn.render().shape
    assert shown.std() > 0
    env.close()
    assert not pygame.display.get_init()
