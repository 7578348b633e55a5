"""Vector forms of bridged tasks against single environments, row by row."""

import threading
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from safe_envs import read_costs
from safe_envs.contract.threaded_vector_env import RowError, ThreadedVectorEnv

MODES = ["NextStep", "SameStep"]
TASK = "SafetyPointGoal2-v0"
STRAIGHT_ON = np.array([1.0, 0.2])  # soon reaches the hazards
SEED = 34  # drives into a hazard soon
ROWS = 2
LONG_STEPS = {"config": {"sim_conf.frameskip_binom_n": 40}}  # in place of 10


@pytest.fixture(scope="module")
def steps_to_cost():
    """Count the steps of a straight drive through the first one with a cost, in row 0."""
    env = gym.make(TASK, disable_env_checker=True, **LONG_STEPS)
    env.reset(seed=SEED)
    for step in range(1, 200):
        if env.step(np.array([1.0, 0.2]))[4]["cost"] > 0.0:
            env.close()
            return step
    raise AssertionError("no hazard on the way")


def make_vector(form, options, mode):
    if form == "threads":
        factory = partial(gym.make, f"safe_envs:{TASK}", disable_env_checker=True, **options)
        return ThreadedVectorEnv([factory] * ROWS, autoreset_mode=mode)
    return gym.make_vec(
        TASK,
        num_envs=ROWS,
        vectorization_mode=form,
        vector_kwargs={"autoreset_mode": AutoresetMode(mode)},
        **options,
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["sync", "async", "threads"])
def test_terminal_costs_are_kept(make_env, form, mode, steps_to_cost):
    """Episodes are cut at the step that costs, so that a lost terminal cost is noticed."""
    options = {"max_episode_steps": steps_to_cost, "per_constraint": True, **LONG_STEPS}
    singles = [make_env(TASK, **options) for _ in range(ROWS)]
    for row, env in enumerate(singles):
        env.reset(seed=SEED + row)
    venv = make_vector(form, options, mode)
    venv.reset(seed=SEED)
    for step in range(1, steps_to_cost + 1):
        *_, truncated, infos = venv.step(np.stack([STRAIGHT_ON] * ROWS))
        expected = [env.step(STRAIGHT_ON)[4]["costs"] for env in singles]
        assert np.array_equal(read_costs(infos, ROWS, 3), expected)
        assert truncated.all() == (step == steps_to_cost)
    assert np.sum(expected) > 0.0
    *_, infos = venv.step(np.stack([STRAIGHT_ON] * ROWS))
    for env in singles:
        env.reset()
    fresh = [env.step(STRAIGHT_ON)[4]["costs"] for env in singles]
    after = np.zeros((ROWS, 3)) if mode == "NextStep" else fresh
    assert np.array_equal(read_costs(infos, ROWS, 3), after)
    venv.close()


@pytest.mark.parametrize("mode", [*MODES, "Disabled"])
@pytest.mark.parametrize(
    ("task_id", "threads"), [("SafetyCarGoal1-v0", 2), ("SafetyAntRun0-v0", 3)]
)
def test_equals_single_environments(make_env, task_id, threads, mode):
    options = {"max_episode_steps": 6, "disable_env_checker": True}
    singles = [make_env(task_id, max_episode_steps=6) for _ in range(3)]
    venv = ThreadedVectorEnv([partial(gym.make, task_id, **options)] * 3, threads, mode)
    venv.action_space.seed(0)
    batch, _ = venv.reset(seed=[4, 5, 6])
    last = np.stack([env.reset(seed=4 + row)[0] for row, env in enumerate(singles)])
    assert np.array_equal(batch, last)
    over = np.zeros(3, dtype=bool)
    ends = 0
    for _ in range(16):
        if mode == "Disabled" and over.any():
            batch, _ = venv.reset(options={"reset_mask": over})
            assert np.array_equal(
                batch[over], [singles[i].reset()[0] for i in np.flatnonzero(over)]
            )
            over[:] = False
        actions = venv.action_space.sample()
        batch, reward, terminated, truncated, infos = venv.step(actions)
        costs = read_costs(infos, 3, 1)
        for row, env in enumerate(singles):
            if over[row] and mode == "NextStep":
                expected = (env.reset()[0], 0.0, False, False, {"cost": 0.0})
            else:
                expected = env.step(actions[row])
            seen, ended = batch[row], expected[2] or expected[3]
            if ended and mode == "SameStep":
                assert infos["final_info"]["episode_cost"][row] == expected[4]["episode_cost"]
                seen = infos["final_obs"][row]
                assert np.array_equal(batch[row], env.reset()[0])
            assert np.array_equal(seen, expected[0])
            assert (reward[row], terminated[row], truncated[row]) == expected[1:4]
            assert costs[row, 0] == expected[4]["cost"]
        over = terminated | truncated
        ends += over.sum()
    assert ends >= 6
    venv.close()


def test_several_constraints_and_what_the_environments_declare():
    venv = ThreadedVectorEnv([partial(gym.make, TASK, per_constraint=True)] * 2)
    assert [c.name for c in venv.constraints] == ["hazards", "vases_contact", "vases_velocity"]
    assert venv.cost_space.shape == (3,)
    assert venv.reward_discount == 1.0
    assert venv.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    assert venv.observation_space.shape == (2, *venv.single_observation_space.shape)
    venv.close()


class Odd(gym.Wrapper):
    """Fails at a given action; records the threads in which it was used."""

    def __init__(self, threads, name="Safe/CliffWorld-v0"):
        super().__init__(gym.make(name, disable_env_checker=True))
        self.threads = threads
        self.threads.append({threading.get_ident()})

    def reset(self, **options):
        self.threads[-1].add(threading.get_ident())
        return super().reset(**options)

    def step(self, action):
        if action == 3:
            raise KeyError("third way")
        return super().step(action)


def test_an_error_names_its_row():
    venv = ThreadedVectorEnv([lambda: Odd([])] * 3, 2)
    venv.reset(seed=0)
    message = r"stepping environment 1 of 3 failed with KeyError: 'third way'; call reset\(\)"
    with pytest.raises(RowError, match=message) as caught:
        venv.step(np.array([0, 3, 3]))
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) before step"):
        venv.step(np.array([0, 0, 0]))
    with pytest.raises(gym.error.ResetNeeded, match="without a mask"):
        venv.reset(options={"reset_mask": np.array([True, False, False])})
    venv.reset()
    venv.step(np.array([0, 1, 2]))
    venv.close()


def test_a_row_stays_in_its_thread_and_threads_end():
    before = threading.active_count()
    notes = [[], [], []]
    venv = ThreadedVectorEnv([partial(Odd, note) for note in notes], 2)
    assert threading.active_count() == before + 2
    for _ in range(3):
        venv.reset()
    used = [note[0] for note in notes]
    assert [len(idents) for idents in used] == [1, 1, 1]
    assert used[0] == used[2] != used[1]
    assert threading.get_ident() not in used[0] | used[1]
    venv.close()
    assert threading.active_count() == before


def test_a_failed_construction_leaves_no_threads():
    before = threading.active_count()
    with pytest.raises(RowError, match="making environment 1 of 2 failed with NameNotFound"):
        ThreadedVectorEnv([lambda: Odd([]), lambda: Odd([], "Safe/Nowhere-v0")])
    with pytest.raises(ValueError, match="environment 1 has the observation and action spaces"):
        ThreadedVectorEnv([lambda: Odd([]), lambda: Odd([], "Safe/DoubleIntegrator-v0")])
    assert threading.active_count() == before


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="env_fns is empty; pass at least one"):
        ThreadedVectorEnv([])
    with pytest.raises(ValueError, match="num_threads is 0; pass a whole number >= 1 or None"):
        ThreadedVectorEnv([lambda: Odd([])], 0)
    venv = ThreadedVectorEnv([lambda: Odd([])] * 2, autoreset_mode="Disabled")
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) before step"):
        venv.step(np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match="3 seeds were given for 2 environments"):
        venv.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match="reset_mask has shape \\(3,\\) and type bool"):
        venv.reset(options={"reset_mask": np.ones(3, dtype=bool)})
    venv.close()


def test_an_ended_row_needs_a_reset_if_autoreset_is_disabled():
    make = partial(gym.make, "Safe/CliffWorld-v0", max_episode_steps=2, disable_env_checker=True)
    venv = ThreadedVectorEnv([make] * 2, autoreset_mode="Disabled")
    venv.reset(seed=0)
    for _ in range(2):
        venv.step(np.zeros(2, dtype=int))
    with pytest.raises(gym.error.ResetNeeded, match=r"episodes of rows \[0, 1\] have ended"):
        venv.step(np.zeros(2, dtype=int))
    venv.close()
