"""A Gymnasium vector environment as a VecEnv: its infos against those written out row by row."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

import agents
from agents.gymnasium_vec_env import GymnasiumVecEnv
from agents.rollout import checked_signals
from safe_envs import read_costs
from safe_envs.contract.row_infos import RowInfos

ID, N, STEPS = "Safe/CliffWorld-v0", 6, 400


def bare(per_constraint):
    return gym.make_vec(
        ID, num_envs=N, per_constraint=per_constraint, autoreset_mode=AutoresetMode.SAME_STEP
    )


def started(per_constraint):
    venv = GymnasiumVecEnv(bare(per_constraint))
    venv.seed(0)
    venv.reset()
    return venv


def written_out(per_constraint, actions):
    """Yield the dicts of every step, with the episodes added up here."""
    venv = bare(per_constraint)
    venv.reset(seed=0)
    m = 3 if per_constraint else 1
    returns, lengths = np.zeros(N), np.zeros(N, dtype=int)
    for action in actions:
        _, rewards, terminated, truncated, info = venv.step(action)
        returns += rewards
        lengths += 1
        rows = []
        for row, costs in enumerate(read_costs(info, N, m)):
            own = {"cost": float(costs.sum())}
            if m > 1:
                own["costs"] = costs.tolist()
            if terminated[row] or truncated[row]:
                own["terminal_observation"] = info["final_obs"][row]
                own["TimeLimit.truncated"] = not terminated[row]
                own["episode"] = {"r": round(float(returns[row]), 6), "l": int(lengths[row])}
                returns[row] = lengths[row] = 0
            rows.append(own)
        yield rows


def plain(info):
    info = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in info.items()}
    if "episode" in info:
        info["episode"] = {k: v for k, v in info["episode"].items() if k != "t"}
    return info


@pytest.mark.parametrize("per_constraint", [False, True])
def test_infos_are_those_written_out_by_hand(per_constraint):
    actions = np.random.default_rng(0).integers(4, size=(STEPS, N))
    venv, ended = started(per_constraint), 0
    for action, expected in zip(actions, written_out(per_constraint, actions), strict=True):
        _, _, dones, infos = venv.step(action)
        assert isinstance(infos, RowInfos)
        assert set(infos.made) == set(np.flatnonzero(dones))
        assert [plain(info) for info in infos] == [plain(info) for info in expected]
        ended += dones.sum()
    assert ended > 10


def test_wrappers_of_stable_baselines3():
    actions = np.random.default_rng(0).integers(4, size=(STEPS, N))
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
        monitored = VecMonitor(started(True))
    normalized = VecNormalize(started(True), norm_obs=False)
    normalized.reset()
    monitored.reset()
    plain_venv = started(True)
    plain_venv.reset()
    for action in actions:
        _, _, dones, expected = plain_venv.step(action)
        costs = checked_signals(np.zeros(N), expected, 3, "here")[:, 1:]
        for venv in (monitored, normalized):
            _, rewards, found, infos = venv.step(action)
            np.testing.assert_array_equal(found, dones)
            np.testing.assert_array_equal(checked_signals(rewards, infos, 3, "here")[:, 1:], costs)
            assert [plain(info) for info in infos] == [plain(info) for info in expected]


def test_training_makes_dicts_of_ended_rows_only():
    """The costs of all other rows are read from the array."""
    made = []

    class Watched(GymnasiumVecEnv):
        def step_wait(self):
            result = super().step_wait()
            made.append((result[3], result[2]))
            return result

    agents.PPOLag("MlpPolicy", Watched(bare(True)), n_steps=40, n_epochs=1, seed=0).learn(40 * N)
    assert len(made) == 40
    assert all(set(infos.made) == set(np.flatnonzero(dones)) for infos, dones in made)


def several(kind, **settings):
    return GymnasiumVecEnv(kind([lambda: gym.make(ID)] * 3, **settings))


def test_attributes_and_methods_of_single_environments():
    venv = several(SyncVectorEnv)
    assert not venv.has_attr("color")
    with pytest.raises(AttributeError, match="not all environments of .* have 'color'"):
        venv.get_attr("color")
    venv.set_attr("color", "red", indices=[0, 2])
    assert not venv.has_attr("color")
    venv.set_attr("color", "blue", indices=1)
    assert venv.get_attr("color") == ["red", "blue", "red"]
    assert venv.get_attr("color", indices=1) == ["blue"]
    assert venv.get_attr("reward_discount") == [0.9] * 3
    models = venv.env_method("tabular_model", indices=[1, 2])
    assert [model.discount for model in models] == [0.9] * 2
    assert venv.has_attr("tabular_model")  # without calling it


def test_attributes_and_methods_of_processes():
    """One that is missing does not end them; only all of them can be addressed."""
    venv = several(AsyncVectorEnv, context="fork")
    assert not venv.has_attr("color")
    with pytest.raises(AttributeError, match="not all environments of .* have 'color'"):
        venv.get_attr("color")
    venv.set_attr("color", "red")
    assert venv.get_attr("color", indices=[0, 1]) == ["red", "red"]
    assert venv.env_method("has_wrapper_attr", "color") == [True] * 3
    for call in (
        lambda: venv.set_attr("color", "blue", indices=1),
        lambda: venv.env_method("tabular_model", indices=[0]),
    ):
        with pytest.raises(ValueError, match="in all its environments at once; leave indices out"):
            call()
    venv.close()


def test_attributes_of_a_native_form():
    venv = GymnasiumVecEnv(bare(True))
    assert venv.get_attr("num_envs", indices=[0, 1]) == [N] * 2
    venv.set_attr("color", "red")
    assert venv.get_attr("color") == ["red"] * N
    with pytest.raises(ValueError, match="can only set 'color' in all its environments at once"):
        venv.set_attr("color", "blue", indices=0)


def test_options_of_a_reset():
    venv = GymnasiumVecEnv(gym.make_vec("Safe/DeepSeaTreasure-v0", num_envs=3))
    venv.set_options({"state": np.array([1, 4, 9])})
    assert venv.reset().tolist() == [1, 4, 9]
    venv.seed(0)
    drawn = venv.reset()
    venv.seed(0)
    assert venv.reset().tolist() == drawn.tolist()
    with pytest.raises(ValueError, match="options is a list; .* takes one dict for all its envi"):
        venv.set_options([{"state": 1}] * 3)
