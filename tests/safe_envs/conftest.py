"""Every registered environment, and the variants of their arguments, as parameters of tests."""

import importlib.util

import gymnasium as gym
import pytest

import safe_envs  # noqa: F401  registers the environments

VARIANTS = {
    "Safe/CliffWorld-v0": [
        {"per_constraint": True, "observation": "one_hot"},
        {"slip": 0.0, "chasm_reward": -100.0},
    ],
    "Safe/DeepSeaTreasure-v0": [{"per_constraint": True}, {"size": 7, "mines": [(0, 3)]}],
    "Safe/RandomCMDP-v0": [{"constraints": 3, "model_seed": 5, "branching": 2}],
    "Safe/DoubleIntegrator-v0": [{"reward": "imitation", "per_constraint": True}],
    "Safe/UnicycleCBF-v0": [{"scene": "hardnet", "per_constraint": True}],
    "Safe/QCQP-v0": [
        {"repair": "active"},
        {"outputs": 8, "equalities": 3, "inequalities": 4, "quadratic": 2, "per_constraint": True},
    ],
    "Safe/Quadrotor-v0": [{"per_constraint": True, "vehicle": "hummingbird"}],
}
VELOCITY_VARIANTS = {  # where the optional package they need is installed
    "SafetyHopperVelocity-v1": [
        {"velocity_threshold": 0.3, "exclude_current_positions_from_observation": False}
    ],
}


SHORT_EPISODES = {"max_episode_steps": 60}  # where episodes end late, for the checks are short
LATE = 150  # [steps]
SOON = "Safe/Quadrotor"  # flights that end long before their limit under random actions


def velocity_ids():
    """Return the ids of the velocity tasks; none without the optional package they need."""
    if importlib.util.find_spec("mujoco") is None:
        return []
    module = "safe_envs.velocity.env:"
    ids = sorted(i for i, spec in gym.registry.items() if str(spec.entry_point).startswith(module))
    if gym.__version__.startswith("0."):
        ids.remove("SafetySwimmerVelocity-v1")  # today's MuJoCo does not take its old model
    return ids


def registered_ids():
    return sorted(i for i in gym.registry if i.startswith("Safe/")) + velocity_ids()


def cases():
    limits = {i: gym.spec(i).max_episode_steps or 0 for i in registered_ids()}
    late = [i for i in limits if limits[i] > LATE and not i.startswith(SOON)]
    plain = [(i, SHORT_EPISODES if i in late else {}) for i in limits]
    variants = VARIANTS | {i: v for i, v in VELOCITY_VARIANTS.items() if i in limits}
    return plain + [(i, kwargs) for i in variants for kwargs in variants[i]]


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


@pytest.fixture(autouse=True)
def _robot_frames_need_opengl(request):
    draws = request.node.originalname.startswith(("test_frames", "test_window"))
    env_id = request.getfixturevalue("env_id") if "env_id" in request.fixturenames else None
    if draws and env_id in velocity_ids():
        request.getfixturevalue("opengl")


@pytest.fixture
def opengl():
    """Skip the test where no OpenGL library is installed; pip does not install one."""
    from safe_envs.rendering.offscreen_scene import open_context

    try:
        open_context(8, 8).free()
    except RuntimeError as error:
        pytest.skip(str(error))
