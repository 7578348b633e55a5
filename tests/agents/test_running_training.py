"""A training that another agent takes over between two rollouts, bit for bit.

The truth is the uninterrupted training.
"""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import DummyVecEnv

import agents
from agents import make_vec_env
from agents.running_training import resume, snapshot, why_not_restorable, write_snapshot
from agents.saving.archive import SavedAgentError
from agents.saving.object_walks import NotRestorableError
from safe_envs import ConstrainedWrapper, ConstraintSpec


class Rows(KVWriter):
    """Keeps what is logged, except times."""

    def __init__(self):
        self.rows = []

    def write(self, key_values, key_excluded, step=0):
        times = ("time/fps", "time/time_elapsed")
        self.rows.append({k: repr(v) for k, v in key_values.items() if k not in times})

    def close(self):
        pass


class SnapshotAt(BaseCallback):
    def __init__(self, rollouts, folder):
        super().__init__()
        self.rollouts, self.folder, self.count = rollouts, folder, 0

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        if self.count in self.rollouts:
            write_snapshot(self.folder / str(self.count), snapshot(self.model))
        self.count += 1


def parameters(agent):
    return {name: one.numpy().tobytes() for name, one in agent.policy.state_dict().items()}


def logged(agent):
    (rows,) = agent.logger.output_formats
    return rows.rows


class Case:
    def __init__(self, name, env, **settings):
        self.name, self.env, self.settings = name, env, settings

    def make(self):
        env = self.env if isinstance(self.env, str) else self.env()
        agent = getattr(agents, self.name)("MlpPolicy", env, seed=0, **self.settings)
        agent.set_logger(Logger(None, [Rows()]))
        return agent

    @property
    def id(self):
        return f"{self.name} {getattr(self.env, '__name__', self.env)}"


def hopper_of_gymnasium():
    """MuJoCo's data in an environment whose own pickling forgets them."""

    def torques(observation, action, *_):
        return float(np.abs(action).sum())

    limit = [ConstraintSpec("torque", 5.0)]
    make = lambda: ConstrainedWrapper(gym.make("Hopper-v5"), limit, torques)  # noqa: E731
    return DummyVecEnv([make, make])


CASES = [
    Case("PPOLag", "Safe/DeepSeaTreasure-v0", n_envs=4, n_steps=32, batch_size=64, n_epochs=2),
    Case("SPMAALM", "SafetyHopperVelocity-v1", n_envs=4, n_steps=32),
    Case("CPO", "Safe/QuadrotorZCBF-v0", n_steps=64),
    Case("PPOPID", hopper_of_gymnasium, n_steps=32, batch_size=32),
    Case("TRPOALM", "Safe/RandomCMDP-v0", n_steps=64),
]
UPDATES = 5


@pytest.mark.filterwarnings("ignore::agents.training_warnings.TrainingWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_it_goes_on_bit_for_bit(case, tmp_path):
    whole = case.make()
    total = UPDATES * whole.n_steps * whole.n_envs
    whole.learn(total, SnapshotAt((0, 2), tmp_path))
    for start in (0, 2):
        second = case.make()
        resume(second, tmp_path / str(start))
        write_snapshot(tmp_path / "again", snapshot(second))  # a training that is stopped twice
        third = case.make()
        resume(third, tmp_path / "again")
        third.learn(total - third.num_timesteps, reset_num_timesteps=False)
        assert parameters(third) == parameters(whole)
        assert logged(third) == logged(whole)[start:]
        assert third.constraint_state() == whole.constraint_state()


def test_scpo_goes_on_without_measuring_again(tmp_path):
    case = Case(
        "SCPO", "Safe/ConstrainedRegression-v0", n_envs=4, n_steps=16, validation_states=200
    )
    whole = case.make()
    steps = 20_000
    whole.learn(steps, SnapshotAt((0, 3), tmp_path))
    assert whole._n_updates > 3
    for start in (0, 3):
        second = case.make()
        resume(second, tmp_path / str(start))
        second.learn(steps - second.num_timesteps, reset_num_timesteps=False)
        assert parameters(second) == parameters(whole)
        assert logged(second) == logged(whole)[start:]


def test_parts_of_a_snapshot_that_are_damaged_or_foreign_are_refused(tmp_path):
    case = CASES[0]
    agent = case.make()
    agent.learn(256, SnapshotAt((1,), tmp_path))
    folder = tmp_path / "1"
    other = Case("CPO", "Safe/DeepSeaTreasure-v0", n_steps=32).make()
    with pytest.raises(SavedAgentError):
        resume(other, folder)
    (folder / "training.zip").write_bytes((folder / "agent.zip").read_bytes())
    with pytest.raises(SavedAgentError, match=r"training\.zip is not a training"):
        resume(case.make(), folder)


def test_another_number_of_environments_is_refused(tmp_path):
    agent = CASES[0].make()
    agent.learn(128, SnapshotAt((0,), tmp_path))
    other = Case("PPOLag", "Safe/DeepSeaTreasure-v0", n_envs=2, n_steps=32)
    with pytest.raises(SavedAgentError, match="is of 4 environments, and the agent has 2"):
        resume(other.make(), tmp_path / "0")


class Iterating(gym.Env):
    """Draws its noise beforehand and hands it out by an iterator, whose place nobody can read."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.noise = iter(self.np_random.normal(size=(1000, 2)).astype(np.float32))
        return next(self.noise), {"cost": 0.0}

    def step(self, action):
        return next(self.noise), 0.0, False, False, {"cost": 0.0}


RESETS = []


class CountingResets(gym.Env):
    """Keeps what it depends on in a variable of its module."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        RESETS.append(1)
        return np.array([len(RESETS)], np.float32), {"cost": 0.0}

    def step(self, action):
        return np.array([len(RESETS)], np.float32), 0.0, False, False, {"cost": 0.0}


class Pendulum(gym.Env):
    """One whose state is in a list of objects that every step makes anew."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gym.spaces.Discrete(2)

    class Point:
        def __init__(self, x, v):
            self.x, self.v = x, v

        def moved(self, a):
            return Pendulum.Point(self.x + 0.1 * self.v, self.v - 0.1 * np.sin(self.x) + 0.1 * a)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.points = [Pendulum.Point(*self.np_random.normal(size=2))]
        return self.seen(), {"cost": 0.0}

    def step(self, action):
        self.points.append(self.points[-1].moved(int(action)))
        return self.seen(), 0.0, len(self.points) > 30, False, {"cost": 0.0}

    def seen(self):
        return np.array([self.points[-1].x, self.points[-1].v], np.float32)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: DummyVecEnv([Iterating]), "noise is an iterator, whose state cannot be read"),
        (lambda: DummyVecEnv([CountingResets]), "does not continue as the original"),
        (lambda: DummyVecEnv([Pendulum]), ""),
        (lambda: make_vec_env("Safe/CliffWorld-v0", 3), ""),
        (lambda: make_vec_env("CartPole-v1", 2), ""),
    ],
)
def test_environments_are_tried_before_a_training_relies_on_them(make, reason):
    numbers = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert reason in why_not_restorable(make, seed=3)
    assert bool(why_not_restorable(make, seed=3)) == bool(reason)
    assert np.random.get_state()[1].tolist() == numbers  # noqa: NPY002


def test_environments_made_otherwise_are_refused_and_may_begin_anew(tmp_path):
    """The class of the environment has changed since."""
    first = Case("PPOLag", lambda: DummyVecEnv([Pendulum]), cost_limit=1.0, n_steps=64)
    agent = first.make()
    agent.learn(192, SnapshotAt((1,), tmp_path))
    second = Case("PPOLag", lambda: DummyVecEnv([Iterating]), cost_limit=1.0, n_steps=64)
    with pytest.raises(NotRestorableError, match="was a .*Pendulum"):
        resume(second.make(), tmp_path / "1")
    fresh = second.make()
    resume(fresh, tmp_path / "1", with_environments=False)
    assert fresh._last_obs is None  # learn resets them
    assert fresh.num_timesteps == 64
    fresh.learn(128, reset_num_timesteps=False)
    assert fresh.num_timesteps == 192
