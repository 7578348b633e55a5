"""Agents learn the same in both backends; files and settings take them from one to the other."""

import io

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

import agents
from agents.gymnasium_vec_env import GymnasiumVecEnv
from agents.running_training import resume, snapshot, write_snapshot
from agents.saved_agent import resume_random_numbers
from safe_envs.contract.vector_env import NativeVectorEnv
from tests.agents.quadratic_bandit import TWO
from tests.agents.update_kernel.small_updates import BACKENDS

NAMES = ["PPOLag", "SPMAALM", "PPOPID", "CPO"]
ROWS = 64  # of an update, in 16 environments
SETTINGS = {
    "n_steps": 4,
    "batch_size": 24,
    "n_epochs": 2,
    "learning_rate": 1e-3,
    "normalize_observation": False,  # the bandit's observation says nothing
    "policy_kwargs": {"net_arch": [8, 8]},
}
pytestmark = pytest.mark.filterwarnings("ignore::agents.training_warnings.TrainingWarning")


def bandit():
    """Episodes of one step that remember nothing: a file misses nothing of the environment."""
    return GymnasiumVecEnv(NativeVectorEnv(TWO, 16, None, "SameStep"))


def made(name, backend, env=None, **changes):
    settings = SETTINGS | {"update_backend": backend} | changes
    return getattr(agents, name)("MlpPolicy", bandit() if env is None else env, seed=0, **settings)


def saved(agent):
    file = io.BytesIO()
    agent.save(file)
    return file


def numbers(agent):
    """All of a policy: parameters, statistics and units."""
    return torch.cat([one.double().flatten() for one in agent.policy.state_dict().values()])


class Watch(BaseCallback):
    """Sees the parameters before and after every update, through the model."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        self.seen.append(numbers(self.model))

    def _on_training_end(self):
        self.seen.append(numbers(self.model))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_after_the_first_update(name):
    start = numbers(made(name, "auto"))
    pair = [made(name, backend).learn(ROWS) for backend in BACKENDS]
    reference, found = map(numbers, pair)
    torch.testing.assert_close(found, reference, rtol=1e-5, atol=1e-5)
    assert (reference - start).abs().max() > 1e-3
    logs = [agent.logger.name_to_value for agent in pair]
    for key, value in logs[0].items():
        if key.startswith("train/"):
            assert logs[1][key] == pytest.approx(value, rel=1e-3, abs=1e-4), key
    seen = np.ones((3, 1))
    actions = [agent.predict(seen, deterministic=True)[0] for agent in pair]
    np.testing.assert_allclose(*actions, atol=1e-5)


@pytest.mark.parametrize("name", ["PPOLag", "CPO"])
def test_the_same_on_choices(name):
    """An environment with discrete actions and episodes of several steps."""
    settings = {"n_envs": 4, "n_steps": 32}
    reference, found = (
        numbers(made(name, backend, "Safe/DeepSeaTreasure-v0", **settings).learn(128))
        for backend in BACKENDS
    )
    torch.testing.assert_close(found, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_callbacks_files_and_evaluation(name, backend):
    """What callbacks see is what is saved, what predicts and what is evaluated."""
    agent, watch = made(name, backend), Watch()
    agent.learn(3 * ROWS, watch)
    assert agent.backend_in_use == backend
    assert len(watch.seen) == 4
    for before, after in zip(watch.seen, watch.seen[1:], strict=False):
        assert not torch.equal(before, after)
    assert torch.equal(watch.seen[-1], numbers(agent))
    other = next(one for one in BACKENDS if one != backend)
    for setting in (backend, other, "auto"):
        loaded = agents.load(saved(agent), bandit(), update_backend=setting)
        assert loaded.update_backend == setting
        assert loaded.backend_in_use == ("numpy" if setting == "auto" else setting)
        assert torch.equal(numbers(loaded), numbers(agent))
        seen = np.ones((3, 1))
        for own, expected in zip(
            loaded.predict(seen, deterministic=True),
            agent.predict(seen, deterministic=True),
            strict=True,
        ):
            np.testing.assert_array_equal(own, expected)
        results = [agents.evaluate(one, bandit(), episodes=20, seed=1) for one in (agent, loaded)]
        assert results[0].returns.tolist() == results[1].returns.tolist()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_file_goes_on_bit_for_bit(name, backend):
    whole = made(name, backend)
    whole.learn(2 * ROWS)
    file = saved(whole)
    whole.learn(2 * ROWS, reset_num_timesteps=False)
    loaded = agents.load(file, bandit())
    assert loaded.update_backend == backend
    resume_random_numbers(file)
    loaded.learn(2 * ROWS, reset_num_timesteps=False)
    assert torch.equal(numbers(loaded), numbers(whole))
    memories = [agent.policy.optimizer.state_dict()["state"] for agent in (loaded, whole)]
    assert memories[0].keys() == memories[1].keys()
    for own, expected in zip(memories[0].values(), memories[1].values(), strict=True):
        for key, value in expected.items():
            assert torch.equal(own[key], value), key


@pytest.mark.parametrize("how", ["load", "attribute"])
@pytest.mark.parametrize("backends", [("torch", "numpy"), ("numpy", "torch")], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_changes_of_the_backend_carry_the_memory_over(name, backends, how):
    """The truth is the same training without a change, up to single precision."""
    first, second = backends
    whole = made(name, first)
    whole.learn(2 * ROWS)
    file = saved(whole)
    if how == "load":
        changed = agents.load(file, bandit(), update_backend=second)
    else:
        changed = agents.load(file, bandit())
        changed.update_backend = second
    whole.learn(ROWS, reset_num_timesteps=False)
    assert changed.backend_in_use == second
    before = numbers(changed)
    resume_random_numbers(file)
    changed.learn(ROWS, reset_num_timesteps=False)
    torch.testing.assert_close(numbers(changed), numbers(whole), rtol=1e-5, atol=3e-5)
    assert (numbers(changed) - before).abs().max() > 3e-4


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_snapshot_goes_on_bit_for_bit(backend, tmp_path):
    """In the middle of episodes that take several steps."""

    class At(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_start(self):
            if self.num_timesteps == 128:
                write_snapshot(tmp_path / "part", snapshot(self.model))

    settings = {"n_envs": 4, "n_steps": 16}
    whole = made("PPOLag", backend, "Safe/DeepSeaTreasure-v0", **settings)
    whole.learn(256, At())
    second = made("PPOLag", backend, "Safe/DeepSeaTreasure-v0", **settings)
    second.set_logger(Logger(None, []))
    resume(second, tmp_path / "part")
    second.learn(256 - second.num_timesteps, reset_num_timesteps=False)
    assert torch.equal(numbers(second), numbers(whole))


def test_a_snapshot_from_before_there_was_a_choice_goes_on_in_pytorch(tmp_path):
    original = made("PPOLag", "torch").learn(ROWS)
    taken = snapshot(original, with_environments=False)
    del taken.agent.document["backend"]
    write_snapshot(tmp_path, taken)
    other = made("PPOLag", "auto")
    other.set_logger(Logger(None, []))
    resume(other, tmp_path, with_environments=False)
    assert other.backend_in_use == "torch"
    assert torch.equal(numbers(other), numbers(original))


@pytest.mark.parametrize("name", NAMES)
def test_a_backend_that_cannot_is_refused_at_once(name):
    with pytest.raises(ValueError, match="which cannot update this policy: its activation"):
        made(name, "numpy", policy_kwargs={"activation_fn": torch.nn.GELU})
    agent = made(name, "auto", policy_kwargs={"activation_fn": torch.nn.GELU})
    assert agent.backend_in_use == "torch"
    with pytest.raises(ValueError, match="is GELU, not Tanh or ReLU; pass 'auto' or 'torch'"):
        agent.update_backend = "numpy"
    assert agent.update_backend == "auto"
    with pytest.raises(ValueError, match="is GELU, not Tanh or ReLU; pass 'auto' or 'torch'"):
        agents.load(saved(agent), update_backend="numpy")
