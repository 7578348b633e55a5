"""Every argument of every agent acts when it is changed later, or is refused with the reason."""

import io
from dataclasses import fields, is_dataclass
from functools import cache

import gymnasium as gym
import numpy as np
import pytest
import torch

import agents
from agents.named_agents import NAMED_AGENTS, named_agent
from safe_envs import ConstraintSpec, LinearFeedback


class Toy(gym.Env):
    """Ten steps, whose end is a termination or a time limit by the place; both signals grow with
    the action, and depend on the place."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    constraints = (ConstraintSpec("harm", 2.0),)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.place = 0, self.np_random.normal(size=2)
        if options:
            self.place = options["state"]
        return self.place.astype(np.float32), self._info(0.0)

    def step(self, action):
        push = float(action[0])
        self.steps += 1
        self.place = 0.9 * self.place + np.array([push, self.np_random.normal()])
        reward = push * self.place[1] + push
        cost = 0.5 + max(push + 0.3 * self.place[0], 0.0)
        ends, is_over = self.steps == 10, bool(self.place[1] > 0.0)  # half of them, and the others
        seen = self.place.astype(np.float32)
        return seen, reward, ends and is_over, ends and not is_over, self._info(cost)

    def _info(self, cost):
        return {"cost": cost, "constraint_values": np.array([abs(self.place[0]) - 1e3])}

    @staticmethod
    def backup_policy():
        return LinearFeedback(np.array([[0.1, 0.0]]), -1.0, 1.0)


gym.register("Toy-v0", Toy)
BASE = {"n_steps": 20, "batch_size": 10, "n_epochs": 2, "policy_kwargs": {"net_arch": [4]}}
SAFE = {
    **{"measure": "costs", "cost_limit": 30.0, "validation_states": 3, "n_steps": 20},
    **{"n_envs": 1, "batch_size": 64, "learning_rate": 3e-4},
    **{"n_epochs": 2, "actor_steps": 3, "policy_kwargs": {"width": 4, "blocks": 1}},
    **{"actor_learning_rate": 0.01, "groups": 2},
}
# Settings from which a change of the argument can be seen.
FROM = {
    "cost_limit": {"cost_limit": 12.0},
    "normalize_lagrangian": {"normalize_advantage": False},
    "penalty_growth": {"primal_steps_per_dual_step": 1},
    "line_search_steps": {"max_kl": 300.0},
    "backtrack": {"max_kl": 300.0},
    "target_kl": {"learning_rate": 0.1},
    "clip_range": {"learning_rate": 0.1},
    "armijo": {"actor_learning_rate": 0.3},
    "max_tries": {"cost_limit": 9.0, "actor_learning_rate": 0.1, "groups": 0},
    "bank_size": {"cost_limit": 9.0, "actor_learning_rate": 0.1},
    "groups": {"cost_limit": 9.0, "actor_learning_rate": 0.1},
    "metric": {"cost_limit": 9.0, "actor_learning_rate": 0.1},
    "accept_measured": {"actor_learning_rate": 0.1, "n_steps": 10},
    "derivative_gain": {"smoothing": 0.1},
    "cost_margin": {"cost_limit": 9.0},
}
TO = {
    **{"cost_limit": 0.5, "learning_rate": 0.01, "n_steps": 10, "gamma": 0.5, "cost_gamma": 0.5},
    **{
        "gae_lambda": 0.1,
        "cost_gae_lambda": 0.1,
        "end_saves_cost": False,
        "batch_size": 5,
        "n_epochs": 1,
    },
    **{"max_grad_norm": 1e-3, "ent_coef": 0.5, "vf_coef": 4.0, "target_kl": 1e-6},
    **{"clip_range": 0.01, "normalize_advantage": "separate", "normalize_lagrangian": True},
    **{"multiplier_lr": 2.0, "multiplier_optimizer": "adam", "max_multiplier": 0.01},
    **{"proportional_gain": 2.0, "integral_gain": 1.0, "derivative_gain": 5.0, "smoothing": 0.1},
    **{
        "derivative_delay": 1,
        "max_weight": 0.01,
        "damping": 3.0,
        "penalty": 3.0,
        "penalty_growth": 2.0,
        "cost_margin": 1e3,
        "final_noise": 0.1,
    },
    **{"primal_steps_per_dual_step": 1, "step_size": 0.05, "max_kl": 0.1, "cg_iterations": 1},
    **{
        "update_backend": "torch",
        "cg_damping": 2.0,
        "line_search_steps": 1,
        "backtrack": 0.3,
        "fisher_every": 7,
    },
    **{
        "violation_gain": 20.0,
        "recovery_share": 0.9,
        "objective": "reinforce",
        "actor_learning_rate": 0.1,
    },
    **{"actor_steps": 1, "groups": 0, "bank_size": 1, "metric": "identity"},
    **{"accept_measured": False, "armijo": 1.0, "max_tries": 1, "validation_states": 2},
    **{"validation_horizon": 4, "validation_seed": 5, "measure": "margins"},
}
REFUSED = {
    "policy_kwargs": ({"net_arch": [9]}, "networks were made for it; make a new agent"),
    "normalize_observation": (None, "have learned on observations seen the other way"),
    "head": ("wrapper", "have learned with the actions that it lets through"),
    "n_envs": (3, "the agent has environments already"),
    "initial_multiplier": (0.7, "only matters at the start of a training"),
    "safe_policy": (lambda seen: seen[..., :1], "the network has learned to add to it"),
}
ELSEWHERE = {  # tests of their own, below
    *("stats_window_size", "tensorboard_log", "verbose", "seed", "device", "validation", "expert")
}
CASES = [(name, argument) for name in NAMED_AGENTS for argument in named_agent(name).arguments()]


def made(name, **settings):
    base = SAFE if name == "SCPO" else BASE
    return getattr(agents, name)("MlpPolicy", "Toy-v0", seed=0, **(base | settings))


def copied(agent, **changes):
    """A copy through a file, changed in loading."""
    file = io.BytesIO()
    agent.save(file)
    return agents.load(file, "Toy-v0", **changes)


def twin(agent, **changed):
    """An agent made with the changed arguments, which is given what the other has learned."""
    arguments = {name: getattr(agent, name) for name in type(agent).arguments() if name in TO}
    base = SAFE if isinstance(agent, agents.SCPO) else BASE
    other = type(agent)("MlpPolicy", "Toy-v0", seed=0, **(base | arguments | changed))
    other.policy.load_state_dict(agent.policy.state_dict())
    memory = agent.policy.optimizer.state_dict()["state"]
    groups = other.policy.optimizer.state_dict()["param_groups"]
    other.policy.optimizer.load_state_dict({"state": memory, "param_groups": groups})
    other._update.load_state(agent._update.state())
    other.episodes.last, other._n_updates = agent.episodes.last, agent._n_updates
    return other


@cache
def trained(name, **settings):
    """The file of an agent that has learned a little, and its parameters if it learns on."""
    agent = made(name, **settings).learn(80)
    file = io.BytesIO()
    agent.save(file)
    return file, after_learning(agent)


def after_learning(agent, steps=60):
    agent.set_random_seed(3)
    agent._last_obs = None
    agent.learn(steps)
    return torch.cat([one.flatten() for one in agent.policy.state_dict().values()])


def held(value, name, depth=0):
    """All values of the fields with this name in the parts of an update."""
    found = []
    if is_dataclass(value):
        found += [getattr(value, one.name) for one in fields(value) if one.name == name]
    if depth < 4 and hasattr(value, "__dict__"):
        for one in vars(value).values():
            found += held(one, name, depth + 1)
    return found


def test_the_table_is_complete():
    known = {argument for _, argument in CASES}
    assert known == {*TO, *REFUSED, *ELSEWHERE}


@pytest.mark.filterwarnings("ignore::agents.training_warnings.TrainingWarning")
@pytest.mark.parametrize(("name", "argument"), [case for case in CASES if case[1] in TO])
def test_a_changed_argument_acts_as_one_that_was_given(name, argument):
    """The same parameters as an agent made with it, and others than without the change."""
    value = 60.0 if (name, argument) == ("SCPO", "cost_limit") else TO[argument]
    file, unchanged = trained(name, **FROM.get(argument, {}))
    agent, set_later = agents.load(file, "Toy-v0"), agents.load(file, "Toy-v0")
    loaded = agents.load(file, **{argument: value})
    setattr(set_later, argument, value)
    assert np.all(getattr(set_later, argument) == value)
    if argument in agent.settings:
        parts = [*held(set_later._update, argument), *held(loaded._update, argument)]
        assert not parts or set(parts) == {value}
    expected = after_learning(twin(agent, **{argument: value}))
    assert np.all(getattr(loaded, argument) == value)
    assert torch.equal(after_learning(set_later), expected)
    if (name, argument) not in UNSEEN:
        assert not torch.equal(unchanged, expected)


UNSEEN = {
    ("PPO", "cost_limit"),  # the reference agent ignores costs
    ("PPO", "cost_margin"),
    ("PPO", "normalize_lagrangian"),
    ("PPO", "normalize_advantage"),
    ("CPO", "violation_gain"),  # no step recovers here, however hard it is asked to
    ("CPO", "recovery_share"),
    ("SCPO", "max_tries"),  # one is enough here
    ("SCPO", "validation_horizon"),
}


@pytest.mark.parametrize(("name", "argument"), [case for case in CASES if case[1] in REFUSED])
def test_an_argument_that_cannot_act_is_refused(name, argument):
    agent = agents.load(trained(name)[0], "Toy-v0")
    value, reason = REFUSED[argument]
    if argument == "normalize_observation":
        value = not agent.normalize_observation
    before = getattr(agent, argument)
    message = f"{argument} is .* cannot become .*: .*{reason}"
    with pytest.raises(ValueError, match=message):
        setattr(agent, argument, value)
    if argument != "n_envs":
        with pytest.raises(ValueError, match=message):
            copied(agent, **{argument: value})
    assert getattr(agent, argument) is before
    setattr(agent, argument, before)  # the same value is no change
    copied(agent, **{argument: before})


def test_the_policy_stays():
    agent = made("PPOLag")
    assert copied(agent, policy="MlpPolicy").policy_class is agent.policy_class
    with pytest.raises(
        ValueError, match="policy is 'MlpPolicy' and cannot become 'CnnPolicy': the"
    ):
        copied(agent, policy="CnnPolicy")


def test_the_gain_of_cpo():
    agent = made("CPO")
    agent.violation_gain = 20.0
    assert agent._update._scale.violation_gain == 20.0


@pytest.mark.parametrize("name", ["PPOLag", "PPOALM"])
def test_the_first_multiplier_can_change_before_the_first_update(name):
    agent = made(name)
    agent.initial_multiplier = 0.7
    fresh = made(name, initial_multiplier=0.7)
    assert torch.equal(after_learning(agent), after_learning(fresh))


def test_a_limit_that_changed_after_the_last_update_still_counts_after_loading():
    """Without an ended episode, the last measurement is repeated against the new limit."""
    agent = made("PPOLag").learn(60)
    last = agent.episodes.last
    agent.cost_limit = 7.0
    loaded = copied(agent)
    for one in (agent, loaded):
        one.episodes._fresh.clear()
        measured = one.episodes.measure(one.cost_limit)
        np.testing.assert_array_equal(measured.costs, last.costs)
        assert measured.limits.tolist() == [7.0]
        assert measured.episodes == 0  # none that the scales and the margin have not counted


def test_a_rollout_that_does_not_fit_into_the_memory_is_refused():
    agent = made("PPOLag")
    before = agent.n_steps
    with pytest.raises(ValueError, match="needs about .* GiB .*; pass a smaller n_steps"):
        agent.n_steps = 10**12
    assert agent.n_steps == before


INVALID = {
    **{"gamma": 2, "cost_gamma": -0.1, "n_steps": -1, "gae_lambda": 5, "cost_gae_lambda": "a"},
    **{"learning_rate": "fast", "stats_window_size": 0, "verbose": -1, "seed": "x"},
    **{"device": "nonsense", "cost_limit": [1.0, 2.0], "clip_range": 0.0, "batch_size": 0},
    **{"n_epochs": 0, "multiplier_lr": -1.0, "multiplier_optimizer": "sgd", "max_grad_norm": 0},
    **{"tensorboard_log": 3},
    **{"normalize_advantage": "both", "target_kl": -1.0, "vf_coef": -1.0, "n_envs": 0},
}


@pytest.mark.parametrize("argument", INVALID)
def test_values_are_checked_as_in_the_constructor(argument):
    """The messages are the same, and nothing has changed after the error."""
    agent = made("PPOLag")
    before = {name: getattr(agent, name) for name in agent.arguments() if name in TO}
    with pytest.raises((ValueError, TypeError)) as expected:
        agents.PPOLag("MlpPolicy", "Toy-v0", **(BASE | {argument: INVALID[argument]}))
    if argument == "n_envs":
        agent.env, reason = None, "n_envs is 0"
    else:
        reason = str(expected.value)
    for change in (
        lambda: setattr(agent, argument, INVALID[argument]),
        lambda: copied(agent, **{argument: INVALID[argument]}),
    ):
        with pytest.raises((ValueError, TypeError)) as caught:
            change()
        assert reason in str(caught.value)
    for name, value in before.items():
        assert np.array_equal(getattr(agent, name), value), name


def test_several_changes_act_together_or_not_at_all():
    agent = made("PPOLag")
    with pytest.raises(ValueError, match="clip_range is 0"):
        copied(agent, n_steps=30, clip_range=0)
    loaded = copied(agent, n_steps=30, clip_range=0.3, cost_limit=4)
    assert (loaded.n_steps, loaded.clip_range, loaded.cost_limit.tolist()) == (30, 0.3, [4.0])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("n_step", "did you mean 'n_steps'"),
        ("settings", "PPOLag has batch_size"),
        ("num_timesteps", "PPOLag has batch_size"),
        ("policy_class", "PPOLag has batch_size"),
        ("penalty", "PPOLag has batch_size"),
        ("_n_updates", "PPOLag has batch_size"),
    ],
)
def test_only_arguments_can_be_changed_in_loading(name, hint):
    with pytest.raises(TypeError, match=f"unknown argument {name!r}; .*{hint}"):
        copied(made("PPOLag"), **{name: 1})


def test_other_attributes_are_attributes():
    agent = made("PPOLag")
    agent.note = "mine"
    assert agent.note == "mine"
    assert not hasattr(agent, "penalty")
    with pytest.raises(AttributeError, match="'PPOLag' object has no attribute 'penalty'"):
        agent.penalty  # noqa: B018


def test_numpy_numbers_become_plain():
    agent = made("PPOLag")
    agent.n_steps, agent.gamma = np.int64(30), np.float64(0.5)
    assert type(agent.n_steps) is int
    assert type(agent.gamma) is float


def test_the_learning_rate_acts_at_once_and_as_a_schedule():
    agent = made("PPOLag").learn(60)
    agent.learning_rate = 5e-5
    agent.learn(60)
    assert agent.policy.optimizer.param_groups[0]["lr"] == 5e-5
    agent.learning_rate = lambda progress: 1e-4 * (1 + progress)
    agent.learn(120)
    # The last of six rollouts starts with a sixth of the training remaining.
    assert agent.policy.optimizer.param_groups[0]["lr"] == pytest.approx(1e-4 * (1 + 1 / 6))
    agent.learning_rate = None
    assert agent.learning_rate == agents.PPOLag.arguments()["learning_rate"]


def test_none_means_what_it_means_in_the_constructor():
    agent = made("PPOLag", gamma=0.5, cost_gamma=0.6, cost_limit=5.0)
    agent.gamma = agent.cost_gamma = None
    assert (agent.gamma, agent.cost_gamma) == (0.995, 0.995)
    agent.cost_limit = None
    assert agent.cost_limit.tolist() == [2.0]


def test_the_window_of_the_logged_averages():
    agent = made("PPOLag").learn(120)
    assert len(agent.ep_info_buffer) == 12
    agent.stats_window_size = 3
    assert agent.ep_info_buffer.maxlen == agent.ep_success_buffer.maxlen == 3
    assert len(agent.ep_info_buffer) == 3
    agent.learn(60)
    assert agent.ep_info_buffer.maxlen == 3
    assert copied(agent).learn(60).ep_info_buffer.maxlen == 3


def test_tensorboard_log_and_verbose(tmp_path, capsys):
    agent = made("PPOLag").learn(60)
    agent.tensorboard_log, agent.verbose = str(tmp_path), 1
    agent.learn(60)
    assert [one.name for one in tmp_path.iterdir()] == ["PPOLag_1"]
    assert "ep_cost_mean" in capsys.readouterr().out
    copied(agent, tensorboard_log=None, verbose=0).learn(60)
    assert len(list(tmp_path.iterdir())) == 1
    assert capsys.readouterr().out == ""


def test_a_new_seed_seeds_everything():
    draws = []
    for change in ("later", "load", "by hand"):
        agent = made("PPOLag").learn(60)
        torch.rand(7)
        if change == "later":
            agent.seed = 5
        elif change == "load":
            agent = copied(agent, seed=5)
        else:
            agent.set_random_seed(5)
        agent._last_obs = None
        agent.learn(60)
        draws.append(torch.cat([one.flatten() for one in agent.policy.state_dict().values()]))
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[2])


def test_the_device_moves_the_policy():
    agent = made("PPOLag").learn(60)
    agent.device = "cpu"
    assert agent.device == torch.device("cpu")
    agent.device = "meta"
    assert {one.device.type for one in agent.policy.parameters()} == {"meta"}


def test_copies_are_made_when_an_id_is_given():
    agent = copied(made("PPOLag"))
    file = io.BytesIO()
    agent.save(file)
    loaded = agents.load(file)
    loaded.n_envs = 3
    loaded.set_env("Toy-v0")
    assert loaded.env.num_envs == 3
    assert agents.load(file, "Toy-v0", n_envs=2).env.num_envs == 2
    with pytest.raises(ValueError, match="n_envs is 1 and cannot become 2: the agent has"):
        agents.load(file, gym.make("Toy-v0"), n_envs=2)


def test_the_guarantee_of_scpo_is_measured_anew():
    """Under a limit that the policy does not meet on the validation set, learning is refused."""
    agent = made("SCPO").learn(200)
    # The cost of the worst episode, from the relative (cost - 30) / 30.
    worst = 30.0 * (1.0 + agent.constraint_state()["max_validation"][0])
    agent.cost_limit = worst + 1e-6
    agent.learn(120)
    agent.cost_limit = 0.5 * worst
    with pytest.raises(ValueError, match="is .* at the start and .* are positive"):
        agent.learn(60)
    with pytest.raises(
        ValueError, match="cost_limit is a schedule, but the limits of SCPO are part"
    ):
        agent.cost_limit = lambda progress: 30.0
    with pytest.raises(ValueError, match="cost_limit is a schedule"):
        made("SCPO", cost_limit=lambda progress: 30.0)


def test_the_validation_and_the_expert_of_scpo():
    agent = made("SCPO").learn(200)
    asked = []

    class Checks:
        steps = 0

        def __call__(self, act):
            asked.append(act(np.zeros((1, 2), np.float32)))
            return np.array([-1.0])

    class Zero:
        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            return np.zeros((len(observation), 1), np.float32), None

    agent.validation_horizon = 4
    assert agent._update._attached.validation._horizon == 4
    agent.validation = Checks()
    agent.learn(60)
    assert len(asked) > 2
    with pytest.raises(ValueError, match="objective is 'imitation' but expert is None"):
        agent.objective = "imitation"
    agent.expert = Zero()
    agent.objective = "imitation"
    loss = []
    for _ in range(4):
        agent.learn(60)
        loss.append(agent.logger.name_to_value["train/loss_before"])
    assert loss[-1] < loss[0]
