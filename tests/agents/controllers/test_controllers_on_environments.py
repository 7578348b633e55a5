"""What all controllers share: the face of Stable-Baselines3's policies, and refusals."""

import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from agents.controllers import (
    GeometricController,
    LQRController,
    MaliciousExpert,
    MPCController,
)

ROOT = Path(__file__).parents[3]
INTEGRATOR, QUADROTOR = "Safe/DoubleIntegrator-v0", "Safe/Quadrotor-v0"
PAIRS = [
    (LQRController, INTEGRATOR),
    (MaliciousExpert, INTEGRATOR),
    (LQRController, QUADROTOR),
    (GeometricController, QUADROTOR),
    (MPCController, QUADROTOR),
    (GeometricController, "Safe/QuadrotorColumn-v0"),
    (GeometricController, "Safe/QuadrotorZCBF-v0"),
]
NAMES = [f"{controller.__name__}-{env_id}" for controller, env_id in PAIRS]


@pytest.mark.parametrize(("controller", "env_id"), PAIRS, ids=NAMES)
def test_actions_of_one_and_of_many(controller, env_id):
    batch = gym.make_vec(env_id, num_envs=3)
    observations, _ = batch.reset(seed=0)
    control = controller(batch)
    actions, _ = control.predict(observations)
    assert actions.shape == batch.action_space.shape
    assert actions.dtype == np.float32
    assert batch.action_space.contains(actions)
    for observation, action in zip(observations, actions, strict=True):
        single, _ = control.predict(observation)
        assert single.shape == action.shape
        assert single == pytest.approx(action, abs=1e-6)


@pytest.mark.parametrize(("controller", "env_id"), PAIRS, ids=NAMES)
def test_extreme_observations_give_actions_within_the_bounds(controller, env_id):
    env = gym.make(env_id)
    observation = 3.0 * np.random.default_rng(0).normal(size=env.observation_space.shape)
    action, _ = controller(env).predict(observation)
    assert env.action_space.contains(action)


@pytest.mark.parametrize(
    ("controller", "env_id", "steps"),
    [
        (LQRController, INTEGRATOR, 150),
        (GeometricController, QUADROTOR, 100),
        (MPCController, QUADROTOR, 30),
    ],
)
def test_evaluate_policy_returns_what_a_plain_loop_does(controller, env_id, steps):
    short = {"max_episode_steps": steps}
    vec_env = make_vec_env(env_id, n_envs=1, seed=3, env_kwargs=short)
    measured, lengths = evaluate_policy(
        controller(env_id), vec_env, n_eval_episodes=3, return_episode_rewards=True
    )
    env = gym.make(env_id, **short)
    control, expected = controller(env), []
    for k in range(3):
        observation, _ = env.reset(seed=3 if k == 0 else None)
        total, over, memory, start = 0.0, False, None, True
        while not over:
            action, memory = control.predict(observation, memory, np.array([start]))
            observation, reward, terminated, truncated, _ = env.step(action)
            total, over, start = total + float(reward), terminated or truncated, False
        expected.append(total)
    assert measured == pytest.approx(expected, abs=1e-4)
    assert lengths == [steps] * 3


def test_other_environments_are_refused():
    with pytest.raises(
        ValueError,
        match="LQRController does not know CartPoleEnv; pass one of Safe/DoubleIntegrator-v0, "
        "Safe/Quadrotor-v0",
    ):
        LQRController("CartPole-v1")
    with pytest.raises(ValueError, match="does not know DoubleIntegratorEnv; pass one of Safe/Qu"):
        GeometricController(gym.make(INTEGRATOR))
    with pytest.raises(ValueError, match="MaliciousExpert does not know QuadrotorEnv; pass one"):
        MaliciousExpert(gym.make(QUADROTOR))
    with pytest.raises(TypeError, match="given 3, which is not a Gymnasium environment; pass Safe"):
        MPCController(3)
    with pytest.raises(TypeError, match="which is not a Gymnasium environment"):
        LQRController(make_vec_env(INTEGRATOR))


def test_wrappers_that_change_the_spaces_are_refused():
    env = gym.wrappers.RescaleAction(gym.make(INTEGRATOR), np.float32(-2.0), np.float32(2.0))
    with pytest.raises(ValueError, match="needs the environment's own observations and actions"):
        LQRController(env)
    with pytest.raises(ValueError, match="so leave that wrapper out"):
        GeometricController(gym.wrappers.FrameStackObservation(gym.make(QUADROTOR), 2))


def test_bad_observations_are_refused():
    control = GeometricController(QUADROTOR)
    with pytest.raises(ValueError, match=r"shape \(4,\); GeometricController takes one of shape \("
                       r"35,\) or a batch \(N, 35\)"):  # fmt: skip
        control.predict(np.zeros(4))
    with pytest.raises(ValueError, match="NaN or infinite entries"):
        control.predict(np.full(35, np.nan))
    with pytest.raises(ValueError, match="a quaternion, are all zero; pass one of length 1"):
        control.predict(np.zeros(35))


def test_controllers_load_without_learning_frameworks():
    """A fresh interpreter in which importing one, or casadi, fails."""
    script = (
        "import sys\n"
        "for name in ('torch', 'stable_baselines3', 'casadi', 'matplotlib', 'mujoco'):\n"
        "    sys.modules[name] = None\n"
        "import agents.controllers as c, numpy as np\n"
        "action, _ = c.LQRController('Safe/DoubleIntegrator-v0').predict(np.array([0.1, 0.2]))\n"
        "print(action[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(-0.091707456 - 0.327119238, abs=1e-6)
