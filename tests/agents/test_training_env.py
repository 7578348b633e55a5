"""What agents refuse of the environments they are given, and what they find through wrappers."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorWrapper
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

import agents
from agents.gymnasium_vec_env import GymnasiumVecEnv
from agents.training_env import contract_of, environment_spec
from safe_envs import ConstrainedWrapper, ConstraintSpec, CostSignalError

NEXT, SAME, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED


class Line(gym.Env):
    """Episodes of 4 steps; at the given steps, counted over all episodes, there is no cost."""

    observation_space = gym.spaces.Box(0.0, 10.0, (1,), np.float64)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, forgotten=(), values=5):
        self.forgotten, self.values, self.taken = forgotten, values, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1), {}

    def step(self, action):
        self.taken += 1
        info = {} if self.taken in self.forgotten else {"cost": 0.5}
        over = self.taken % 4 == 0
        if self.values == 6:
            return np.ones(1), 1.0, 0.5, over, False, {}
        return np.ones(1), 1.0, over, False, info


def declaring(name="cost", limit=1.0, discount=1.0, reward_discount=1.0):
    spec = ConstraintSpec(name, limit, discount)
    return functools.partial(ConstrainedWrapper, Line(), spec, reward_discount=reward_discount)


def training(env, **settings):
    return agents.PPOLag(
        "MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, seed=0, **settings
    )


def sync(mode):
    return lambda makes: SyncVectorEnv(makes, autoreset_mode=mode)


FORMS = {
    "DummyVecEnv": DummyVecEnv,
    "wrapped": lambda makes: VecNormalize(VecMonitor(DummyVecEnv(makes))),
    "SyncVectorEnv same": sync(SAME),
    "SyncVectorEnv next": sync(NEXT),
    "SyncVectorEnv disabled": sync(DISABLED),
    "AsyncVectorEnv next": functools.partial(AsyncVectorEnv, context="fork"),
    "foreign next": lambda makes: VectorWrapper(sync(NEXT)(makes)),
}


@pytest.mark.parametrize("at", [6, 8])  # in the middle and at the end of an episode
@pytest.mark.parametrize("form", FORMS)
def test_a_missing_cost_stops_training_in_every_form(form, at):
    env = FORMS[form]([Line, lambda: Line({at})])
    agent = training(env, cost_limit=1.0)
    with pytest.raises(CostSignalError, match=rf"step {at}\b.* 'cost'") as caught:
        agent.learn(64)
    assert "environment 1" in str(caught.value) or "environments [1]" in str(caught.value)
    env.close()


def test_a_missing_cost_of_a_single_environment():
    """ConstrainedWrapper, which agents also use by themselves, counts from each reset."""
    for env in (Line({6}), ConstrainedWrapper(Line({6}), ConstraintSpec("cost", 1.0))):
        with pytest.raises(CostSignalError, match="Line, step 2: info has no 'cost'"):
            training(env, cost_limit=1.0).learn(64)


UNDECLARED = {
    "DummyVecEnv": lambda: DummyVecEnv([Line] * 2),
    "SubprocVecEnv": lambda: VecMonitor(SubprocVecEnv([Line] * 2, start_method="fork")),
    "SyncVectorEnv": lambda: sync(NEXT)([Line] * 2),
    "AsyncVectorEnv": lambda: AsyncVectorEnv([Line] * 2, context="fork"),
    "CartPole's own form": lambda: gym.make_vec("CartPole-v1", num_envs=2),
}


@pytest.mark.parametrize("form", UNDECLARED)
def test_no_constraints_and_no_limit(form):
    env = UNDECLARED[form]()
    with pytest.raises(CostSignalError, match="declares no constraints; pass cost_limit, which"):
        training(env)
    unconstrained = agents.PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1)
    assert unconstrained.learn(32).num_timesteps >= 32
    env.close()


@pytest.mark.parametrize("make", [DummyVecEnv, sync(SAME), sync(NEXT)])
def test_six_values(make):
    agent = training(make([lambda: Line(values=6)] * 2), cost_limit=1.0)
    with pytest.raises(CostSignalError, match=r"returns six values .*ConstrainedWrapper\(env, con"):
        agent.learn(64)
    spec = ConstraintSpec("cost", 1.0)
    wrapped = make([lambda: ConstrainedWrapper(Line(values=6), spec)] * 2)
    agent = training(wrapped).learn(32)
    assert [one.costs.item() for one in agent.episodes.recent] == [2.0] * 8


COPIES = {
    "DummyVecEnv": DummyVecEnv,
    "SubprocVecEnv": lambda makes: SubprocVecEnv(makes, start_method="fork"),
    "SyncVectorEnv": sync(NEXT),
    "AsyncVectorEnv": lambda makes: AsyncVectorEnv(makes, context="fork"),
}


@pytest.mark.parametrize("form", COPIES)
def test_copies_that_declare_something_else(form):
    usual = declaring()
    for other, message in (
        (declaring(limit=2.0), "0 declares 'cost' <= 1 .* environment 1 .* <= 2 .* or pass cost_l"),
        (declaring(name="speed"), "environment 0 declares 'cost' .* environment 1 .* 'speed' <= 1"),
        (declaring(discount=0.5), r"'cost' <= 1 \(discount 0.5\)"),
        (declaring(reward_discount=0.9), "reward_discount 1.0 but environment 1 declares 0.9"),
        (Line, r"environments \[1\] of 2 declare no constraints and the others do"),
    ):
        venv = COPIES[form]([usual, other])
        with pytest.raises(ValueError, match=message):
            training(venv)
        venv.close()
    venv = COPIES[form]([usual, declaring(limit=2.0)])
    assert training(venv, cost_limit=3.0).cost_limit.tolist() == [3.0]
    venv.close()


def test_constraints_that_are_none():
    env = Line()
    env.constraints = ["speed"]
    with pytest.raises(CostSignalError, match=r"environment 0 declares constraints = \['speed'\]"):
        training(env, cost_limit=1.0)


def test_the_number_of_copies_of_something_made():
    two = {form: COPIES[form]([Line] * 2) for form in ("DummyVecEnv", "SyncVectorEnv")}
    for env in two.values():
        with pytest.raises(
            ValueError, match="n_envs is 4 but env is already made, with 2 environm"
        ):
            training(env, cost_limit=1.0, n_envs=4)
        assert training(env, cost_limit=1.0, n_envs=2).n_envs == 2
    with pytest.raises(
        ValueError, match="n_envs is 3 but env is already made, with 1 environment;"
    ):
        training(Line(), cost_limit=1.0, n_envs=3)
    assert training("Safe/CliffWorld-v0", n_envs=3).n_envs == 3


@pytest.mark.parametrize("env", [3, gym.make, [Line()], gym.spec("CartPole-v1")])
def test_what_is_no_environment(env):
    with pytest.raises(TypeError, match="env is .*; pass a Gymnasium id, an environment, a Gymna"):
        training(env, cost_limit=1.0)


@pytest.mark.parametrize("env", [3, Line(), [Line]])
def test_what_no_environment_is_made_from(env):
    with pytest.raises(TypeError, match="env_id is .*; pass a Gymnasium id or a function that mak"):
        agents.make_vec_env(env, 2)


def test_a_function_makes_every_copy():
    venv = agents.make_vec_env(Line, 3, values=5)
    assert len({id(env.unwrapped) for env in venv.envs}) == 3
    with pytest.raises(TypeError, match="returned a list; it has to return a gymnasium.Env"):
        agents.make_vec_env(lambda: [Line()])


@pytest.mark.parametrize("n_envs", [1, 2])
def test_arguments_of_the_other_make_vec_env(n_envs):
    """MuJoCo's Hopper takes any keyword, and hands it on to a parent that does not."""
    for env in ("Safe/DoubleIntegrator-v0", "Hopper-v5", Line):
        with pytest.raises(TypeError, match=r"vec_env_cls is .*pass the agent SubprocVecEnv\(\["):
            agents.make_vec_env(env, n_envs, vec_env_cls=DummyVecEnv)
    with pytest.raises(TypeError, match="env_kwargs is .*: pass its entries as arguments"):
        agents.make_vec_env(lambda: Line(), n_envs, env_kwargs={"values": 5})

    def seeded(seed, values=1):
        assert seed == 3
        return Line(values)

    assert agents.make_vec_env(seeded, n_envs, seed=3).num_envs == n_envs
    assert agents.make_vec_env(lambda **own: seeded(**own), n_envs, seed=3).num_envs == n_envs


def test_no_environments():
    venv = sync(NEXT)([Line])
    venv.num_envs = 0
    with pytest.raises(ValueError, match="has no environments; pass one with at least one"):
        training(venv, cost_limit=1.0)


@pytest.mark.filterwarnings("ignore:.*already wrapped with a `Monitor`")
@pytest.mark.parametrize("form", COPIES)
def test_declarations_are_found_through_wrappers(form):
    makes = [functools.partial(gym.make, "Safe/CliffWorld-v0", per_constraint=True)] * 2
    venv = COPIES[form](makes)
    base = venv if form.endswith("VecEnv") else GymnasiumVecEnv(venv)
    contract = contract_of(VecMonitor(VecNormalize(base, norm_obs=False)), None, True)
    assert contract == (makes[0]().unwrapped.constraints, 0.9)
    assert environment_spec(VecMonitor(base)) == makes[0]().spec
    venv.close()


def test_frames_of_a_made_vec_env():
    """Frames of native forms are stacked as those of single ones."""
    kwargs = {"max_episode_steps": 5}
    native, single = (agents.make_vec_env("Safe/DoubleIntegrator-v0", n, **kwargs) for n in (2, 1))
    stacked = [VecFrameStack(venv, 3) for venv in (native, single)]
    assert [training(venv).observation_space.shape for venv in stacked] == [(6,)] * 2


def test_a_vec_env_made_without_the_constraints_of_the_agent():
    bare = GymnasiumVecEnv(sync(NEXT)([Line] * 2))
    with pytest.raises(
        CostSignalError, match=r"GymnasiumVecEnv\(venv, undeclared=\(ConstraintSpec"
    ):
        training(bare, cost_limit=1.0)
    told = GymnasiumVecEnv(sync(NEXT)([Line] * 2), (ConstraintSpec("cost", 1.0),))
    assert training(told).cost_limit.tolist() == [1.0]


def test_another_environment_later():
    agent = training(sync(NEXT)([Line] * 2), cost_limit=1.0)
    agent.set_env(sync(DISABLED)([Line] * 2))
    assert agent.learn(64).cost_limit.tolist() == [1.0]
    assert [one.costs.item() for one in agent.episodes.recent] == [2.0] * 10
