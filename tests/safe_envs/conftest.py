"""Every registered environment, and the variants of their arguments, as parameters of tests."""

import gymnasium as gym
import pytest

import safe_envs  # noqa: F401  registers the environments

VARIANTS = {
    "Safe/CliffWorld-v0": [{"per_constraint": True}, {"slip": 0.0, "chasm_reward": -100.0}],
    "Safe/DeepSeaTreasure-v0": [{"per_constraint": True}, {"size": 7, "mines": [(0, 3)]}],
    "Safe/RandomCMDP-v0": [{"constraints": 3, "model_seed": 5, "branching": 2}],
    "Safe/DoubleIntegrator-v0": [{"reward": "imitation", "per_constraint": True}],
}


def registered_ids():
    return sorted(env_id for env_id in gym.registry if env_id.startswith("Safe/"))


def cases():
    return [(i, kwargs) for i in registered_ids() for kwargs in [{}, *VARIANTS.get(i, [])]]


def pytest_generate_tests(metafunc):
    if "env_id" in metafunc.fixturenames:
        metafunc.parametrize("env_id", registered_ids())
    if "env_case" in metafunc.fixturenames:
        names = ["-".join([i, *map(str, kwargs)]) for i, kwargs in cases()]
        metafunc.parametrize("env_case", cases(), ids=names)


@pytest.fixture
def make_env():
    """Make an environment that is closed after the test."""
    made = []

    def make(env_id, **kwargs):
        made.append(gym.make(env_id, disable_env_checker=True, **kwargs))
        return made[-1]

    yield make
    for env in made:
        env.close()
