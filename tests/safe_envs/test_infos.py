"""Every value in every info, of every form and wrapper of every environment.

`python tests/safe_envs/test_infos.py` records what infos add up to. The recorded numbers are from
the time when costs and totals were Python floats, so that no change of types changes a number.
"""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from safe_envs import ConstrainedWrapper
from safe_envs.contract.transition_values import plain_entries
from safe_envs.contract.vector_env import AutoresetMode

LIMIT = 25
RECORDED = Path(__file__).with_name("recorded_infos.json")
TIMES = "filter_time"  # a measured time, not a number to compare


def totals(env_id, **kwargs):
    """The sum of every entry of the infos over random steps, and that of its magnitudes."""
    env = gym.make(env_id, disable_env_checker=True, **(kwargs | {"max_episode_steps": 40}))
    env.action_space.seed(1)
    infos = [env.reset(seed=1)[1]]
    for _ in range(120):
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        infos.append(info)
        if terminated or truncated:
            infos.append(env.reset()[1])
    env.close()
    sums = {}
    for info in infos:
        for key, value in info.items():
            if key != TIMES and not isinstance(value, str):
                numbers = np.asarray(value, dtype=np.float64)
                total = sums.setdefault(key, [0.0, 0.0])
                total[0] += float(numbers.sum())
                total[1] += float(np.abs(numbers).sum())
    return dict(sorted(sums.items()))


def recorded_totals(env_id, kwargs):
    case = json.loads(json.dumps([env_id, kwargs]))
    (found,) = [row for row in json.loads(RECORDED.read_text()) if row[:2] == case]
    return found[2]


def check_info(info, where):
    assert list(plain_entries(info)) == [], where
    assert not any(isinstance(value, str) for value in info.values()), where  # none is documented


def check_arrays(infos, num_envs, where):
    """Require arrays whose first axis is the rows; those of objects hold checked values."""
    for key, values in infos.items():
        if isinstance(values, dict):
            check_arrays(values, num_envs, f"{where}, {key}")
            continue
        assert isinstance(values, np.ndarray), (where, key, values)
        assert values.shape[0] == num_envs, (where, key)
        if values.dtype == object and key != "final_obs":
            assert all(isinstance(value, np.bool_) for value in values), (where, key)


def episodes(env, steps):
    """Yield every info of random steps and resets, and where it is from."""
    env.action_space.seed(0)
    yield env.reset(seed=0)[1], "first reset"
    for step in range(steps):
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        yield info, f"step {step}{', terminal' if terminated or truncated else ''}"
        if terminated or truncated:
            yield env.reset()[1], f"reset after step {step}"


def test_values_of_single_infos(env_case, make_env):
    env_id, kwargs = env_case
    env = make_env(env_id, **(kwargs | {"max_episode_steps": LIMIT}))
    seen = set()
    for info, where in episodes(env, 2 * LIMIT):
        check_info(info, where)
        assert {type(info["cost"]), type(info["episode_cost"])} == {np.float64}, where
        seen.add(where.split(",")[-1])
    assert " terminal" in seen


def test_numbers_are_those_recorded_before(env_case):
    """Types changed, numbers did not: sums of every entry over 120 steps."""
    env_id, kwargs = env_case
    before, now = recorded_totals(env_id, kwargs), totals(env_id, **kwargs)
    assert before.keys() <= now.keys()
    for key, expected in before.items():
        np.testing.assert_allclose(now[key], expected, rtol=1e-6, atol=1e-9, err_msg=key)


def test_values_behind_a_wrapper(env_id, make_env):
    env = ConstrainedWrapper(make_env(env_id, max_episode_steps=LIMIT))
    plain = make_env(env_id, max_episode_steps=LIMIT)
    for (info, where), (own, _) in zip(
        episodes(env, LIMIT + 5), episodes(plain, LIMIT + 5), strict=True
    ):
        check_info(info, where)
        assert info.keys() == own.keys()
        for key in info.keys() - {TIMES}:
            np.testing.assert_array_equal(info[key], own[key], err_msg=f"{where}, {key}")


@pytest.mark.skipif(AutoresetMode is None, reason="this Gymnasium has no native vector forms")
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_native_infos_are_the_single_ones(env_case, make_env, mode):
    """One row, under the same seed and actions: every entry of every info, resets included."""
    env_id, kwargs = env_case
    arguments = kwargs | {"max_episode_steps": LIMIT}
    env, venv = (
        make_env(env_id, **arguments),
        gym.make_vec(env_id, autoreset_mode=mode, **arguments),
    )
    env.action_space.seed(0)
    last, infos = env.reset(seed=0)[1], venv.reset(seed=0)[1]
    compare(infos, last, "first reset")
    ended = False
    for step in range(2 * LIMIT + 5):
        action = env.action_space.sample()
        if ended and mode == "NextStep":
            last, ended = env.reset()[1], False
        else:
            if ended:
                env.reset()
            _, _, terminated, truncated, last = env.step(action)
            ended = terminated or truncated
        infos = venv.step(np.asarray(action)[None])[4]
        check_arrays(infos, 1, f"step {step}")
        compare(infos, last, f"step {step}")
        if ended and mode == "SameStep":
            compare(infos["final_info"], last, f"end at step {step}")
    venv.close()


def compare(infos, info, where):
    for key in info.keys() - {TIMES}:
        given = infos[key][0]
        np.testing.assert_array_equal(given, info[key], err_msg=f"{where}, {key}")
        assert np.asarray(given).dtype.kind == np.asarray(info[key]).dtype.kind, (where, key)
        assert infos[f"_{key}"].shape == (1,)


@pytest.mark.skipif(AutoresetMode is None, reason="this Gymnasium has no autoreset modes")
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize("form", [SyncVectorEnv, AsyncVectorEnv])
def test_values_in_gymnasiums_vector_forms(form, mode):
    """One id of each kind is enough: the forms know nothing of the environment."""
    for env_id in ("Safe/CliffWorld-v0", "Safe/QuadrotorZCBF-v0"):
        venv = form([lambda i=env_id: gym.make(i, max_episode_steps=5)] * 2, autoreset_mode=mode)
        venv.action_space.seed(0)
        check_arrays(venv.reset(seed=0)[1], 2, "reset")
        for step in range(12):
            check_arrays(venv.step(venv.action_space.sample())[4], 2, f"step {step}")
        venv.close()


if __name__ == "__main__":
    from conftest import cases

    rows = [json.dumps([env_id, kwargs, totals(env_id, **kwargs)]) for env_id, kwargs in cases()]
    RECORDED.write_text("[\n" + ",\n".join(rows) + "\n]\n")
