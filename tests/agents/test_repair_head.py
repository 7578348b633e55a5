"""Heads: what they let through, that training with one is training behind the repair's wrapper."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecNormalize

import agents
from agents.batch import Batch
from agents.scpo.objectives import Imitation
from safe_envs.action_constraints import RepairedActions

LINE, DRONE = "Safe/DoubleIntegrator-v0", "Safe/QuadrotorZCBF-v0"
SMALL = {"n_steps": 256, "batch_size": 64, "n_epochs": 2, "seed": 0}
ENTRIES = ("action_ref", "action_safe", "repair_active", "repair_correction", "repair_feasible")


def taught(name="PPOLag", env=LINE, steps=1024, callback=None, **settings):
    agent = getattr(agents, name)("MlpPolicy", env, **{**SMALL, **settings})
    return agent.learn(steps, callback=callback, log_interval=10**6)


@pytest.mark.parametrize("n_envs", [1, 3])
def test_a_double_integrator_never_leaves_its_box_in_training(n_envs):
    costs, corrections = [], []

    def watch(local, _):
        costs.extend(info["cost"] for info in local["infos"])
        corrections.extend(info["repair_correction"] for info in local["infos"])
        assert all(name in info for info in local["infos"] for name in ENTRIES)
        return True

    agent = taught(n_envs=n_envs, steps=3072, callback=watch, head="wrapper")
    assert max(costs) == 0.0
    assert np.mean(np.array(corrections) > 0.0) > 0.02  # it would have left it
    free = []
    taught(n_envs=n_envs, steps=3072, callback=lambda local, _: not free.extend(
        info["cost"] for info in local["infos"]))  # fmt: skip
    assert max(free) > 0.0
    logged = agent.logger.name_to_value
    last = np.array(corrections[-SMALL["n_steps"] * n_envs :])
    assert logged["rollout/repair_rate"] == pytest.approx(np.mean(last > 0.0))
    assert logged["rollout/repair_correction_mean"] == pytest.approx(last.mean())
    assert logged["rollout/repair_infeasible_rate"] == 0.0


def test_a_quadrotor_breaks_its_rows_only_where_no_thrusts_meet_them():
    """The oracle is a linear program: the largest t with A a >= b + t in the box."""
    seen = []

    def watch(local, _):
        head, observation = local["head"], local["self"]._last_obs.copy()
        seen.append((observation, head.entries["action_ref"][0], head.entries["action_safe"][0]))
        return True

    agent = taught(env=DRONE, steps=2048, callback=watch, head="wrapper", n_steps=512)
    constraint = agent.policy.repair_head.constraint
    empty = repaired = 0
    for observation, proposed, taken in seen:
        rows = constraint.rows_at(observation, np.clip(proposed, -1.0, 1.0)[None])
        matrix, bounds = rows.linear[0], rows.lower[0]
        repaired += (taken != proposed).any()
        if (matrix @ taken - bounds).min() >= -1e-6:
            continue
        k, n = matrix.shape
        best = linprog(
            [0.0] * n + [-1.0],
            np.column_stack([-matrix, np.ones(k)]),
            -bounds,
            bounds=[(-1.0, 1.0)] * n + [(None, None)],
        )
        assert best.x[-1] < 0.0
        empty += 1
    assert repaired > 200
    assert empty < 0.02 * len(seen)


@pytest.mark.parametrize(("name", "env"), [("PPOLag", LINE), ("CPO", LINE), ("PPOLag", DRONE)])
def test_a_head_trains_as_the_wrapper_does(name, env):
    """For the agent the repair is part of the environment: the same batch, the same networks."""
    inside = taught(name, env, head="wrapper")
    around = taught(name, RepairedActions(gym.make(env)))
    for ours, theirs in zip(inside.policy.parameters(), around.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    result = agents.evaluate(inside, env, 4, seed=1)
    other = agents.evaluate(around, RepairedActions(gym.make(env)), 4, seed=1)
    again = agents.evaluate(inside, gym.make(env), 4, seed=1)
    np.testing.assert_array_equal(again.returns, other.returns)
    assert result.repairs.steps >= result.lengths.sum()
    assert result.repairs.rate > 0.0
    assert f"{result.repairs.rate:.1%} of the actions were repaired" in str(result)
    assert other.repairs is None


def test_a_loaded_agent_repairs_where_it_acts(tmp_path):
    agent = taught(env=DRONE, head="wrapper")
    agent.save(tmp_path / "agent.zip")
    env = gym.make(DRONE)
    observation, _ = env.reset(seed=3)
    loaded = agents.load(tmp_path / "agent.zip")
    assert loaded.head == "wrapper"
    assert loaded.uses_model
    with pytest.raises(RuntimeError, match=r"has no environment; pass env to load, or call agent"):
        loaded.predict(observation)
    wanted = agent.predict(observation, deterministic=True)[0]
    attached = agents.load(tmp_path / "agent.zip", env)
    np.testing.assert_array_equal(attached.predict(observation, deterministic=True)[0], wanted)
    before = agents.evaluate(agent, DRONE, 2, seed=0)
    np.testing.assert_array_equal(agents.evaluate(loaded, DRONE, 2, seed=0).returns, before.returns)
    assert loaded.policy.repair_head.constraint is None  # only for the evaluation


def test_an_evaluation_repairs_for_its_own_environment():
    """Not for the program that the agent was trained on."""
    agent = taught(env="Safe/QCQP-v0", head="wrapper", steps=256)
    own = agent.policy.repair_head.constraint
    for seed in (2025, 1):
        env = gym.make("Safe/QCQP-v0", family_seed=seed)
        result = agents.evaluate(agent, env, 5, seed=0)
        assert result.repairs.rate == 1.0
        assert result.repairs.infeasible_rate == 0.0
        assert result.feasible
    assert agent.policy.repair_head.constraint is own


def drawn(env, count=40):
    """Observations of an environment with random actions, and proposals in its box."""
    env, rng = gym.make(env), np.random.default_rng(0)
    env.action_space.seed(0)
    seen = [env.reset(seed=0)[0]]
    while len(seen) < count:
        observation, *_, terminated, truncated, _ = env.step(env.action_space.sample())
        seen.append(env.reset()[0] if terminated or truncated else observation)
    box = env.action_space
    return np.stack(seen), 1.4 * rng.uniform(box.low, box.high, (count, *box.shape))


@pytest.mark.parametrize("env", [LINE, DRONE, "Safe/UnicycleCBF-v0", "Safe/QCQP-v0"])
def test_the_gradient_of_a_repair(env):
    """The values are those of the repair without a gradient, whose differences give the slopes."""
    agent = agents.PPOLag("MlpPolicy", env, head="wrapper", seed=0, n_steps=64, batch_size=64)
    head = agent.policy.repair_head
    head.constraint = replace(head.constraint, around=None)  # one linearization for all actions
    observations, proposals = drawn(env)
    if env == LINE:  # nearer to the sides
        observations = np.random.default_rng(2).uniform([-14.5, -3.0], [14.5, 3.0], (40, 2))
    actions = torch.tensor(proposals, requires_grad=True)
    direction = np.random.default_rng(1).normal(size=proposals.shape)
    taken = head.repaired_tensor(observations, actions)
    (taken * torch.tensor(direction)).sum().backward()

    def at(shift):
        box = agent.action_space
        inside = np.clip(proposals + shift, box.low, box.high)
        return (head.repaired(observations, inside) * direction).sum(axis=1)

    np.testing.assert_allclose(
        taken.detach().numpy(), head.repaired(observations, np.clip(
            proposals, agent.action_space.low, agent.action_space.high)), atol=1e-12)  # fmt: skip
    step, size = 1e-6, proposals.shape[1]
    slopes = np.stack(
        [(at(step * unit) - at(-step * unit)) / (2.0 * step) for unit in np.eye(size)], axis=1
    )
    wrong = np.abs(slopes - actions.grad.numpy()).max(axis=1) > 1e-4 * (1.0 + np.abs(slopes).max())
    assert wrong.mean() <= 0.05  # those with a kink within a step
    assert head.entries["repair_active"].mean() > 0.02


def test_scpo_learns_through_its_head():
    """The loss is of the actions taken, and its slope is that of its differences."""

    class Expert:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return np.ones((len(observation), 1)), None

    settings = {"objective": "imitation", "expert": Expert(), "seed": 0, "validation_states": 8}
    settings["safe_policy"] = lambda x: 0.0 * x[..., :1]  # which only the head makes safe
    agent = agents.SCPO("MlpPolicy", LINE, head="differentiable", **settings)
    policy = agent.policy
    agent.learn(9000)
    assert agent.constraint_state()["max_validation"][0] <= 0.0
    assert policy.action_net.last.bias.detach().abs().item() > 1e-3
    rng = np.random.default_rng(0)
    raw = rng.uniform([6.0, 0.0], [14.5, 1.8], (400, 2))
    with torch.no_grad():
        policy.action_net.last.weight.zero_()
        policy.action_net.last.bias.fill_(0.5)  # pushes towards the side at 15
    seen = policy.normalizer(torch.as_tensor(raw, dtype=torch.float32))
    count = len(raw)
    batch = Batch(seen, torch.zeros(count, 1), *(torch.zeros(count),) * 3)
    objective = Imitation(batch, Expert(), policy)
    losses = objective.losses(policy, slice(None))
    taken = policy.predict(policy.normalizer.raw(seen), deterministic=True)[0]
    np.testing.assert_allclose(losses.detach().numpy(), (taken[:, 0] - 1.0) ** 2, atol=1e-5)
    active = policy.repair_head.entries["repair_active"]
    assert 5 < active.sum() < count
    bias = policy.action_net.last.bias
    (slope,) = torch.autograd.grad(losses[torch.as_tensor(active)].sum(), bias)
    assert slope.abs() < 1e-5  # a repaired number is at the end of its interval, and stays there
    (slope,) = torch.autograd.grad(objective.losses(policy, slice(None)).sum(), bias)
    with torch.no_grad():
        values = []
        for shift in (1e-3, -1e-3):
            bias += shift
            values.append(float(objective.losses(policy, slice(None)).double().sum()))
            bias -= shift
    assert (values[0] - values[1]) / 2e-3 == pytest.approx(float(slope), rel=2e-2)
    with pytest.raises(ValueError, match="pass head='wrapper', or objective='imitation'"):
        agents.SCPO("MlpPolicy", LINE, head="differentiable")
    with pytest.raises(ValueError, match="pass head='wrapper', or objective='imitation'"):
        agent.objective = "ppo"


def test_a_warm_start_keeps_a_head():
    source = taught(head="wrapper")
    target = agents.PPOLag("MlpPolicy", LINE, head="wrapper").warm_start(source)
    seen = np.array([[14.0, 1.35], [0.0, 0.0]])
    wanted = source.predict(seen, deterministic=True)[0]
    np.testing.assert_allclose(target.predict(seen, deterministic=True)[0], wanted)
    with pytest.raises(ValueError, match="make the agent with a head, too"):
        agents.PPOLag("MlpPolicy", LINE).warm_start(source)


def test_what_a_head_cannot_know_is_refused():
    def made(env, **settings):
        return agents.PPOLag("MlpPolicy", env, **{"head": "wrapper", **settings})

    with pytest.raises(ValueError, match=r"head is 'warper'.*'wrapper'"):
        made(LINE, head="warper")
    with pytest.raises(ValueError, match="learns from the log-probability of the proposed action"):
        made(LINE, head="differentiable")
    with pytest.raises(TypeError, match=r"with a method action_constraint\(\), and .* is none"):
        made("Safe/CartPole-v0" if "Safe/CartPole-v0" in gym.registry else "Pendulum-v1",
             cost_limit=1.0)  # fmt: skip
    with pytest.raises(ValueError, match="VecNormalize standardizes the observations"):
        made(VecNormalize(agents.make_vec_env(LINE)))
    scaled = gym.wrappers.RescaleAction(gym.make(LINE), np.float32([-2.0]), np.float32([2.0]))
    with pytest.raises(ValueError, match="a wrapper changes the environment's actions"):
        made(scaled)
    shifted = gym.wrappers.TransformObservation(gym.make(LINE), lambda seen: 2.0 * seen, None)
    with pytest.raises(ValueError, match="a wrapper changes the environment's observations"):
        made(shifted)
    with pytest.raises(ValueError, match="a wrapper of VecEnv changes the environment's observ"):
        made(VecFrameStack(agents.make_vec_env(LINE), 2))
    others = [lambda: gym.make("Safe/QCQP-v0"), lambda: gym.make("Safe/QCQP-v0", family_seed=1)]
    with pytest.raises(ValueError, match="the copies of the environment have different constraint"):
        made(DummyVecEnv(others))


def test_wrappers_that_may_change_something_are_refused_or_named():
    class Turned(gym.Wrapper):
        def step(self, action):
            return self.env.step(-action)

    def made(env):
        return agents.PPOLag("MlpPolicy", env, head="wrapper")

    with pytest.warns(UserWarning, match="Turned is between the repair and the environment"):
        made(Turned(gym.make(LINE)))
    if hasattr(gym.wrappers, "RepeatAction"):
        with pytest.raises(ValueError, match="a wrapper changes the environment's actions"):
            made(gym.wrappers.RepeatAction(gym.make(LINE), 2))
    if hasattr(gym.vector, "VectorActionWrapper"):
        copies = gym.vector.SyncVectorEnv([lambda: gym.make(LINE)] * 2)
        with pytest.raises(ValueError, match="a wrapper changes the environment's actions"):
            made(gym.wrappers.vector.TransformAction(copies, lambda actions: -actions))


def test_a_head_is_asked_for_in_one_place_only(tmp_path):
    plain, headed = taught(steps=256), taught(steps=256, head="wrapper")
    plain.save(tmp_path / "plain.zip")
    headed.save(tmp_path / "headed.zip")
    with pytest.raises(ValueError, match="policy_kwargs has 'head'; pass head to the agent"):
        agents.PPOLag("MlpPolicy", LINE, policy_kwargs={"head": "wrapper"})
    for file, head in (("plain.zip", "wrapper"), ("headed.zip", None)):
        with pytest.raises(ValueError, match="make a new agent, and take over weights"):
            agents.load(tmp_path / file, LINE, custom_objects={"head": head})
    with pytest.raises(ValueError, match="make the agent with a head, too"):
        plain.set_parameters(str(tmp_path / "headed.zip"))
    both = agents.PPOLag("MlpPolicy", LINE, head="wrapper").warm_start(tmp_path / "plain.zip")
    near = np.array([14.0, 1.35])
    assert both.predict(near, deterministic=True)[0] <= -1.0 / 3.0 + 1e-6  # all that is allowed


def test_a_refused_exchange_leaves_the_agent_as_it_was():
    agent = taught("PPO", "Safe/QCQP-v0", 256, head="wrapper", cost_limit=1.0)
    others = [lambda seed=seed: gym.make("Safe/QCQP-v0", family_seed=seed) for seed in (1, 2, 3)]
    with pytest.raises(ValueError, match="different constraints on actions"):
        agent.set_env(DummyVecEnv(others))
    assert agent.n_envs == agent.env.num_envs == 1


def test_infos_of_a_filter_inside_stay():
    """They tell which action was taken in the end."""
    told = []

    def watch(local, _):
        told.extend(zip(local["clipped_actions"], local["infos"], strict=True))
        return True

    taught(env=RepairedActions(gym.make(LINE)), steps=512, head="wrapper", callback=watch)
    for passed, info in told:
        np.testing.assert_array_equal(info["action_ref"], passed)  # repaired already
        assert not info["repair_active"]


def test_environments_of_other_processes_are_refused():
    venv = SubprocVecEnv([lambda: gym.make(LINE)] * 2, start_method="fork")
    try:
        with pytest.raises(TypeError, match="environments of this process"):
            agents.PPOLag("MlpPolicy", venv, head="wrapper")
    finally:
        venv.close()
