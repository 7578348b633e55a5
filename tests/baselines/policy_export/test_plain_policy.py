"""Policies of Stable-Baselines3's own agents as files: the same actions, or a refusal by name."""

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
from sb3_contrib import TRPO, RecurrentPPO

import safe_envs  # noqa: F401  registers the ids
from baselines.policy_export.onnx_policy import OnnxPolicy, PolicyFileError
from baselines.policy_export.plain_policy import export_plain_policy
from baselines.policy_export.policy_graph import ExportRefusedError
from leaderboard.policy_files.gate import check_graph


def pendulum():
    return gym.make("Pendulum-v1", max_episode_steps=20)


def sea():
    return gym.make("Safe/DeepSeaTreasure-v0", disable_env_checker=True)


@pytest.mark.parametrize(
    ("kind", "make", "outputs", "settings"),
    [
        (sb3.PPO, pendulum, {"mean", "log_std", "action"}, {}),
        (TRPO, sea, {"logits", "action"}, {}),
        (sb3.SAC, pendulum, {"action"}, {"buffer_size": 10}),
        (sb3.TD3, pendulum, {"action"}, {"buffer_size": 10}),
        (sb3.DQN, sea, {"action"}, {"buffer_size": 10}),
    ],
)
def test_the_file_acts_as_the_agent(kind, make, outputs, settings, tmp_path):
    env, path = make(), tmp_path / "policy.onnx"
    model = kind("MlpPolicy", env, seed=0, **settings)
    export_plain_policy(model, make, path, {})
    content = path.read_bytes()
    policy = OnnxPolicy(content, env.observation_space, env.action_space, seed=0)
    env.observation_space.seed(1)
    seen = np.array([env.observation_space.sample() for _ in range(50)])
    wanted = model.predict(seen, deterministic=True)[0]
    np.testing.assert_allclose(policy.predict(seen, deterministic=True)[0], wanted, atol=2e-5)
    signature = check_graph(content, env.observation_space, env.action_space)  # the leaderboard's
    assert {*signature.names} == outputs
    assert policy.has_distribution == ("".join(outputs) != "action")


def test_drawn_actions_have_the_agent_s_distribution(tmp_path):
    """Against the moments of the Gaussian and the probabilities that PyTorch gives."""
    path = tmp_path / "policy.onnx"
    model = sb3.PPO("MlpPolicy", pendulum(), seed=0, policy_kwargs={"log_std_init": -1.0})
    export_plain_policy(model, pendulum, path, {})
    space = model.action_space
    policy = OnnxPolicy(path.read_bytes(), model.observation_space, space, seed=3)
    seen = np.tile(np.array([[0.6, 0.8, 1.0]], dtype=np.float32), (4000, 1))
    drawn = policy.predict(seen)[0][:, 0]
    mean = model.predict(seen[0], deterministic=True)[0].item()
    assert drawn.mean() == pytest.approx(mean, abs=4 * np.exp(-1.0) / np.sqrt(4000))
    assert drawn.std() == pytest.approx(np.exp(-1.0), rel=0.06)
    model = sb3.PPO("MlpPolicy", sea(), seed=0)
    export_plain_policy(model, sea, path, {})
    policy = OnnxPolicy(path.read_bytes(), model.observation_space, model.action_space, seed=3)
    drawn = policy.predict(np.zeros(4000, dtype=np.int64))[0]
    given = model.policy.obs_to_tensor(np.zeros(1, dtype=np.int64))[0]
    wanted = model.policy.get_distribution(given).distribution.probs[0].detach().numpy()
    found = np.bincount(drawn, minlength=len(wanted)) / 4000
    np.testing.assert_allclose(found, wanted, atol=4 * np.sqrt(0.25 / 4000))


class Doubled(sb3.PPO):
    """Does more than its network."""

    def predict(self, *given, **named):
        actions, state = super().predict(*given, **named)
        return np.clip(2.0 * actions + 0.1, -2.0, 2.0), state


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (sb3.PPO, {"use_sde": True}, "state-dependent noise"),
        (Doubled, {}, "differs from the agent by"),
        (RecurrentPPO, {}, "own way, such as with a memory or masks"),
    ],
)
def test_what_no_file_can_hold_is_refused_by_name(kind, settings, message, tmp_path):
    policy = "MlpLstmPolicy" if kind is RecurrentPPO else "MlpPolicy"
    model = kind(policy, pendulum(), seed=0, **settings)
    with pytest.raises(ExportRefusedError, match=message):
        export_plain_policy(model, pendulum, tmp_path / "policy.onnx", {})
    assert not (tmp_path / "policy.onnx").exists()


def test_a_file_for_other_spaces_is_refused(tmp_path):
    path = tmp_path / "policy.onnx"
    export_plain_policy(sb3.PPO("MlpPolicy", pendulum(), seed=0), pendulum, path, {})
    content, env = path.read_bytes(), sea()
    with pytest.raises(PolicyFileError, match=r"one float32 input \(batch, 25\) is needed"):
        OnnxPolicy(content, env.observation_space, env.action_space, 0)
    with pytest.raises(PolicyFileError, match="no ONNX file"):
        OnnxPolicy(b"nonsense", env.observation_space, env.action_space, 0)
    with pytest.raises(PolicyFileError, match="have to be logits, or action of integers"):
        OnnxPolicy(content, pendulum().observation_space, env.action_space, 0)
    wide = gym.spaces.Box(-1.0, 1.0, (2,))
    with pytest.raises(PolicyFileError, match="answers with shape"):
        OnnxPolicy(content, pendulum().observation_space, wide, 0)
    export_plain_policy(TRPO("MlpPolicy", env, seed=0), sea, path, {})
    with pytest.raises(PolicyFileError, match=r"so \(batch, 9\) is needed"):
        OnnxPolicy(path.read_bytes(), env.observation_space, gym.spaces.Discrete(9), 0)
