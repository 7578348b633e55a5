"""Training on copies of an environment is the same in every form of vector environment.

The reference is Stable-Baselines3's DummyVecEnv, which shares no code with Gymnasium's forms.
"""

from collections import Counter

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorWrapper
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

import agents
from agents.evaluation import evaluate
from agents.gymnasium_vec_env import GymnasiumVecEnv
from safe_envs import ConstraintSpec
from safe_envs.contract.threaded_vector_env import ThreadedVectorEnv

SAME, NEXT, DISABLED = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED
PLACES = spaces.Box(-10.0, 10.0, (2,), np.float32)
SPACES = {
    "box": PLACES,
    "dict": spaces.Dict({"place": PLACES, "time": spaces.Box(0.0, 10.0, (1,), np.float32)}),
    "image": spaces.Box(0, 255, (36, 36, 1), np.uint8),
}


class Wander(gym.Env):
    """A random walk that terminates at random and is truncated after 5 steps.

    Args:
        space: "box", "dict" or "image".
        constraints: number of costs.
        declared: whether it declares them.
        ends: probability that a step terminates the episode.
        reuses: whether all observations are the same arrays, written anew.
    """

    action_space = spaces.Discrete(3)

    def __init__(self, space="box", constraints=1, declared=True, ends=0.2, reuses=False):
        self.observation_space = SPACES[space]
        self.space, self.count, self.ends, self.reuses = space, constraints, ends, reuses
        self.place, self.time = np.zeros(2, np.float32), np.zeros(1, np.float32)
        if declared:
            names = ["cost"] if constraints == 1 else [f"cost_{i}" for i in range(constraints)]
            self.constraints = tuple(ConstraintSpec(name, 0.5, 0.9) for name in names)
            self.reward_discount = 0.95
            self.cost_space = spaces.Box(0.0, np.inf, (constraints,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place[:] = self.np_random.normal(size=2)
        self.time[:] = 0.0
        declared = "constraints" in vars(self)
        return self.observation(), self.info(np.zeros(self.count)) if declared else {}

    def step(self, action):
        self.place[:] = np.clip(self.place + self.np_random.normal(size=2) + action - 1, -10, 10)
        self.time += 1.0
        terminated = bool(self.np_random.random() < self.ends)
        costs = np.abs(self.place[0]) * self.np_random.random(self.count) * (action == 1)
        truncated = not terminated and self.time[0] == 5.0
        return self.observation(), float(self.place.sum()), terminated, truncated, self.info(costs)

    def info(self, costs):
        info = {"cost": np.float64(costs.sum())}
        return info | {"costs": costs.astype(np.float64)} if self.count > 1 else info

    def observation(self):
        if self.space == "image":
            return np.full((36, 36, 1), int(10 * abs(self.place[0])), np.uint8)
        parts = {"place": self.place, "time": self.time}
        if not self.reuses:
            parts = {key: part.copy() for key, part in parts.items()}
        return parts if self.space == "dict" else parts["place"]


class OwnBuffers(VecEnvWrapper):
    """Returns the same arrays at every step, written anew."""

    def reset(self):
        self.observations = self.venv.reset()
        self.rewards, self.dones = (
            np.zeros(self.num_envs, np.float32),
            np.zeros(self.num_envs, bool),
        )
        return self.observations

    def step_wait(self):
        observations, self.rewards[:], self.dones[:], infos = self.venv.step_wait()
        if isinstance(observations, dict):
            for key, part in observations.items():
                self.observations[key][:] = part
        else:
            self.observations[:] = observations
        return self.observations, self.rewards, self.dones, infos


def sync(mode, copy=True):
    return lambda makes: SyncVectorEnv(makes, copy=copy, autoreset_mode=mode)


def asynchronous(mode, **settings):
    return lambda makes: AsyncVectorEnv(makes, autoreset_mode=mode, context="fork", **settings)


def foreign(mode):
    """Something of which is only known what its autoreset mode says."""
    return lambda makes: VectorWrapper(sync(mode)(makes))


EXACT = {
    "buffers": lambda makes: OwnBuffers(DummyVecEnv(makes)),
    "sync same": sync(SAME),
    "sync same, one buffer": sync(SAME, copy=False),
    "sync next": sync(NEXT),
    "sync next, one buffer": sync(NEXT, copy=False),
    "sync disabled, one buffer": sync(DISABLED, copy=False),
    "async same, shared memory": asynchronous(SAME, copy=False),
    "async next, shared memory": asynchronous(NEXT, copy=False),
    "async disabled, pipes": asynchronous(DISABLED, shared_memory=False),
    "foreign disabled": foreign(DISABLED),
    "threads next": lambda makes: ThreadedVectorEnv(makes, 1, autoreset_mode=NEXT),
}


@pytest.fixture(autouse=True)
def all_episodes_are_kept(monkeypatch):
    monkeypatch.setattr("agents.episode_record.WINDOW", 10**6)


def curve(env, policy="MlpPolicy", steps=24, **settings):
    """Return everything that two updates changed, as a dict of arrays."""
    arguments = {"n_steps": steps, "n_epochs": 1, "batch_size": 64, "seed": 3} | settings
    agent = agents.PPOLag(policy, env, policy_kwargs={"net_arch": [8]}, **arguments)
    agent.learn(2 * steps * agent.n_envs)
    found = {name: part.numpy() for name, part in agent.policy.state_dict().items()}
    found |= agent.constraint_state()
    found["steps"] = np.array(agent.num_timesteps)
    found["episodes"] = np.array(episodes(agent))
    found["monitored"] = np.array([[one["r"], one["l"]] for one in agent.ep_info_buffer])
    agent.env.close()
    assert len(found["episodes"]) > 10
    return found


def episodes(agent):
    return [(e.value, *e.costs, *e.plain_costs, e.length) for e in agent.episodes.recent]


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if key == "monitored":  # kept in other precisions
            np.testing.assert_allclose(found[key], value, atol=1e-5, err_msg=key)
        else:
            np.testing.assert_array_equal(found[key], value, err_msg=key)


def makers(number=2, **settings):
    return [lambda: gym.wrappers.RecordEpisodeStatistics(Wander(**settings))] * number


def policy_of(space):
    return "MultiInputPolicy" if space == "dict" else "MlpPolicy"


@pytest.fixture(scope="module")
def reference():
    """Return the curve of DummyVecEnv for given settings, trained once."""
    known = {}

    def find(space, normalize_observation=True, **settings):
        key = (space, normalize_observation, *sorted(settings.items()))
        if key not in known:
            limits = {} if settings.get("declared", True) else {"cost_limit": 0.5}
            own = limits | {"normalize_observation": normalize_observation}
            known[key] = curve(
                DummyVecEnv(makers(space=space, **settings)), policy_of(space), **own
            )
        return known[key]

    return find


@pytest.mark.parametrize("space", ["box", "dict"])
@pytest.mark.parametrize("form", EXACT)
def test_forms_give_the_same_training(form, space, reference):
    """Without standardization, which would copy the observations."""
    venv = EXACT[form](makers(space=space))
    found = curve(venv, policy_of(space), normalize_observation=False)
    assert_same(found, reference(space, normalize_observation=False))


@pytest.mark.parametrize("form", ["sync same", "sync next", "async next, shared memory"])
def test_three_constraints(form, reference):
    found = curve(EXACT[form](makers(constraints=3)))
    assert found["weight"].shape == (3,)
    assert_same(found, reference("box", constraints=3))


@pytest.mark.parametrize("ends", [0.0, 1.0])
@pytest.mark.parametrize("form", ["sync next, one buffer", "sync disabled, one buffer"])
def test_truncation_alone_and_episodes_of_one_step(form, ends, reference):
    assert_same(curve(EXACT[form](makers(ends=ends))), reference("box", ends=ends))


@pytest.mark.parametrize("form", ["sync same", "sync next", "async next, shared memory"])
def test_environments_that_declare_nothing(form, reference):
    found = curve(EXACT[form](makers(declared=False)), cost_limit=0.5)
    assert_same(found, reference("box", declared=False))
    alone = curve(Wander(declared=False), cost_limit=0.5)
    assert_same(curve(EXACT[form](makers(1, declared=False)), cost_limit=0.5), alone)


def test_undeclared_costs_in_processes_behind_a_wrapper(reference):
    venv = VecMonitor(SubprocVecEnv(makers(declared=False), start_method="fork"))
    assert_same(curve(venv, cost_limit=0.5), reference("box", declared=False))


@pytest.mark.parametrize("space", ["box", "dict"])
def test_environments_that_reuse_their_arrays(space):
    fresh, reused = (curve(Wander(space, reuses=r), policy_of(space)) for r in (False, True))
    assert_same(reused, fresh)


WRAPPERS = {
    "VecNormalize": ("box", lambda venv: VecNormalize(venv)),
    "VecFrameStack": ("box", lambda venv: VecFrameStack(venv, 3)),
    "VecExtractDictObs": ("dict", lambda venv: VecExtractDictObs(venv, "place")),
    "VecMonitor": ("box", lambda venv: VecMonitor(venv)),
    "VecTransposeImage": ("image", lambda venv: venv),  # Stable-Baselines3 applies it itself
}


@pytest.mark.filterwarnings("ignore:.*already wrapped with a `Monitor`")
@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_of_stable_baselines3(name):
    space, wrapped = WRAPPERS[name]
    policy = "CnnPolicy" if space == "image" else "MlpPolicy"
    venv = GymnasiumVecEnv(sync(NEXT, copy=False)(makers(space=space)))
    assert_same(
        curve(wrapped(venv), policy), curve(wrapped(DummyVecEnv(makers(space=space))), policy)
    )


@pytest.mark.parametrize(
    ("env_id", "arguments"),
    [
        ("Safe/CliffWorld-v0", {"max_episode_steps": 10}),
        ("Safe/CliffWorld-v0", {"max_episode_steps": 10, "per_constraint": True}),
        ("Safe/ConstrainedRegression-v0", {}),
    ],
)
@pytest.mark.parametrize("mode", [NEXT, DISABLED])
def test_native_forms(env_id, arguments, mode):
    found, expected = (
        curve(gym.make_vec(env_id, num_envs=3, autoreset_mode=m, **arguments), steps=30)
        for m in (mode, SAME)
    )
    assert_same(found, expected)


@pytest.mark.parametrize("arguments", [{"number": 1}, {"ends": 0.0}])
def test_next_step_elsewhere_is_the_same_where_all_episodes_end_together(arguments):
    found = curve(foreign(NEXT)(makers(**arguments)))
    assert_same(found, curve(DummyVecEnv(makers(**arguments))))


class Scripted(gym.Env):
    """The observation is [row, episode, time]; the actions change nothing."""

    observation_space = spaces.Box(0.0, 100.0, (3,), np.float64)
    action_space = spaces.Discrete(2)
    constraints = (ConstraintSpec("a", 1.0, 0.9), ConstraintSpec("b", 1.0))
    reward_discount = 0.95

    def __init__(self, row, lengths):
        self.row, self.lengths, self.episode = row, lengths, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.time = self.episode + 1, 0
        return self.observation(), {"cost": 99.0}  # belongs to no step

    def step(self, action):
        self.time += 1
        over = self.time == self.lengths[self.episode % len(self.lengths)]
        terminated = over and self.episode % 2 == 0
        costs = np.array([self.row + self.time, 0.1 * self.episode])
        info = {"cost": costs.sum(), "costs": costs}
        return self.observation(), self.time - self.row, terminated, over and not terminated, info

    def observation(self):
        return np.array([self.row, self.episode, self.time], dtype=np.float64)


LENGTHS = [(2, 4, 3), (3, 1), (5, 2, 2, 1)]


def scripted():
    return [lambda i=i, own=own: Scripted(i, own) for i, own in enumerate(LENGTHS)]


def rollout_of(env, steps):
    """Return the agent and its batch's rows: advantages and targets by observation."""
    agent = agents.PPOLag("MlpPolicy", env, normalize_observation=False, n_steps=steps, seed=0)
    _, callback = agent._setup_learn(1, None)
    agent.collect_rollouts(agent.env, callback, None, steps)
    discounts = np.array([agent.gamma, agent.cost_gamma, agent.cost_gamma])
    batch, _ = agent._rollout.batch(agent.policy, discounts, np.full(3, 0.95))
    seen = [tuple(row) for row in batch.observations.numpy()]
    assert len(set(seen)) == len(seen) == agent.num_timesteps
    numbers = torch.cat((batch.advantages, batch.targets), dim=1).numpy()
    return agent, dict(zip(seen, numbers, strict=True))


NEXT_STEP_ELSEWHERE = {
    "wrapped": lambda: foreign(NEXT)(scripted()),
    "pipes": lambda: asynchronous(NEXT, shared_memory=False)(scripted()),
    "VecNormalize": lambda: VecNormalize(
        GymnasiumVecEnv(foreign(NEXT)(scripted())), norm_obs=False, norm_reward=False
    ),
}


@pytest.mark.parametrize("form", NEXT_STEP_ELSEWHERE)
def test_next_step_elsewhere_leaves_out_the_steps_that_only_reset(form):
    """In as many steps there are fewer data; those of complete episodes are the same."""
    same_agent, same = rollout_of(sync(SAME)(scripted()), 40)
    agent, found = rollout_of(NEXT_STEP_ELSEWHERE[form](), 40)
    assert same_agent.num_timesteps == 3 * 40
    assert len(agent.episodes.recent) > 20
    assert Counter(episodes(agent)) <= Counter(episodes(same_agent))
    ended = [(e.plain_value, e.length) for e in agent.episodes.recent]
    assert [(one["r"], one["l"]) for one in agent.ep_info_buffer] == ended
    last = {row: max(one[1] for one in found if one[0] == row) for row in range(3)}
    for row, lengths in enumerate(LENGTHS):
        steps = [one[1:] for one in sorted(found) if one[0] == row and one[1] < last[row]]
        expected = range(1, int(last[row]))
        assert steps == [(e, t) for e in expected for t in range(lengths[e % len(lengths)])]
    for one in found:
        if one[1] < last[one[0]]:
            np.testing.assert_allclose(found[one], same[one], 1e-5, 1e-5, err_msg=str(one))
    agent.env.close()


def test_next_step_elsewhere_leaves_out_last_observations_of_the_statistics():
    """With same-step autoreset nobody acts on the last observation of an episode."""
    agent = agents.PPOLag("MlpPolicy", foreign(NEXT)(scripted()), n_steps=40)
    _, callback = agent._setup_learn(1, None)
    agent.collect_rollouts(agent.env, callback, None, 40)
    _, acted_on = rollout_of(foreign(NEXT)(scripted()), 40)
    now = agent._last_obs[~agent.env.awaiting_reset]
    assert len(now) < 3
    seen = np.concatenate((list(acted_on), now))
    normalizer = agent.policy.normalizer
    assert normalizer.count == len(seen)
    np.testing.assert_allclose(normalizer.mean, seen.mean(0), rtol=1e-12)
    np.testing.assert_allclose(normalizer.deviation(), seen.std(0), rtol=1e-12)


def test_next_step_elsewhere_goes_on_in_the_next_rollout():
    """The step that only resets may be the first of a rollout."""
    agent, _ = rollout_of(foreign(NEXT)(scripted()), 40)
    one_by_one = agents.PPOLag("MlpPolicy", foreign(NEXT)(scripted()), n_steps=1, seed=0)
    _, callback = one_by_one._setup_learn(1, None)
    for _ in range(40):
        one_by_one.collect_rollouts(one_by_one.env, callback, None, 1)
    assert one_by_one.num_timesteps == agent.num_timesteps
    assert episodes(one_by_one) == episodes(agent)


class Counts:
    """Its memory is the number of steps since the start of the episode, as the observation says."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        time = observation[:, 2]
        (taken,) = state or (np.zeros(len(time)),)
        taken = np.where(episode_start, 0.0, taken)
        is_last = episode_start & (time > 0)  # shown until it is reset
        assert (is_last | (taken == time)).all()
        return np.zeros(len(time), dtype=int), (taken + 1.0,)


@pytest.mark.parametrize("form", NEXT_STEP_ELSEWHERE)
def test_evaluations_leave_them_out_too(form):
    settings = {"episodes": 14, "seed": 0}
    expected = evaluate(Counts(), sync(SAME)(scripted()), **settings)
    env = NEXT_STEP_ELSEWHERE[form]()
    found = evaluate(Counts(), env, **settings)
    env.close()
    for name in ("returns", "costs", "plain_returns", "plain_costs", "lengths", "truncated"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert set(expected.lengths) == {1, 2, 3, 4, 5}


def test_stacked_frames_are_of_one_episode():
    venv = VecFrameStack(GymnasiumVecEnv(foreign(NEXT)(scripted())), 2)
    _, found = rollout_of(venv, 40)
    for row in found:
        before, now = row[:3], row[3:]
        assert before == ((0, 0, 0) if now[2] == 0 else (*now[:2], now[2] - 1))


class IgnoresTheMask(VectorWrapper):
    def reset(self, *, seed=None, options=None):
        return self.env.reset(seed=seed)


def test_a_reset_that_ignores_the_mask():
    env = IgnoresTheMask(sync(DISABLED)(scripted()))
    agent = agents.PPOLag("MlpPolicy", env, n_steps=40)
    with pytest.raises(ValueError, match="DISABLED, but reset.* also changed environments whose"):
        agent.learn(40)


def test_autoreset_modes_that_are_not_said():
    venv = sync(SAME)(scripted())
    venv.metadata["autoreset_mode"] = "sometimes"
    with pytest.raises(ValueError, match=r"\['autoreset_mode'\] = 'sometimes'; set it to the mem"):
        agents.PPOLag("MlpPolicy", venv)
    venv.metadata["autoreset_mode"] = "SameStep"
    agents.PPOLag("MlpPolicy", venv)
