"""The conformance check finds what breaks the contract, and explains what it cannot check."""

import gymnasium as gym
import numpy as np
import pytest

from safe_envs import ConstrainedWrapper, ConstraintSpec, CostSignalError, check_constrained_env
from safe_envs.contract.vector_env import AutoresetMode

pytestmark = pytest.mark.filterwarnings("error")  # what Gymnasium remarks is in the report
ENERGY = ConstraintSpec("energy", limit=5.0)


class Faulty(gym.Env):
    """Costs 1 a step for five steps, and breaks the rule that the fault names."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, fault):
        self.fault = fault
        self.constraints = (ENERGY,)
        self.reward_discount = 1.0
        self.cost_space = gym.spaces.Box(0, 1, (1,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.total = np.float64(0.0)
        return 0, {"cost": np.float64(0.0), "episode_cost": self.total}

    def step(self, action):
        if not self.action_space.contains(action):
            if self.fault == "takes any action":
                action = 0
            else:
                raise ValueError("no such action")
        self.steps += 1
        self.total += 1.0
        info = {"cost": np.float64(1.0), "episode_cost": self.total}
        ended = self.steps == 5
        if self.fault == "loses the last cost" and ended:
            del info["cost"]
        if self.fault == "gives an int":
            info["cost"] = 1
        if self.fault == "gives Python's float":
            info["cost"] = 1.0
        if self.fault == "sums in Python's float":
            info["episode_cost"] = float(self.total)
        if self.fault == "leaves the cost space":
            info["cost"] = np.float64(2.0)
            info["episode_cost"] = 2.0 * self.total
        if self.fault == "does not add up":
            info["episode_cost"] = np.float64(0.0)
        if self.fault == "divides by zero" and ended:
            info["cost"] = 1 // 0
        return self.steps % 2, 0.0, ended, False, info


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("loses the last cost", "at step 5: info has no 'cost'"),
        ("gives an int", "info\\['cost'\\] is 1 of type int; report a numpy.float64 >= 0"),
        ("gives Python's float", "info\\['cost'\\] is 1.0 of type float; report a numpy.float64"),
        (
            "sums in Python's float",
            "'episode_cost'\\] is 1.0 of type float; report a ",
        ),
        ("divides by zero", "a random rollout failed with ZeroDivisionError: "),
        ("leaves the cost space", "are not in cost_space"),
        ("does not add up", "the costs since reset sum to 1.0"),
        ("takes any action", "was accepted; it has to raise ValueError"),
    ],
)
def test_the_checker_finds(fault, message):
    with pytest.raises(CostSignalError, match=message):
        check_constrained_env(lambda: Faulty(fault))


def test_the_checker_passes_the_same_environment_without_fault():
    report = check_constrained_env(lambda: Faulty(None))
    assert "terminal costs" in report.passed
    if AutoresetMode is not None:
        assert "native vector form: the environment has none" in report.skipped
    assert "passed   terminal costs" in str(report)


def test_the_checker_refuses_what_is_not_an_environment():
    with pytest.raises(TypeError, match="neither an id nor a function"):
        check_constrained_env(3)
    with pytest.raises(TypeError, match="can only be passed with an id"):
        check_constrained_env(pendulum, size=3)
    with pytest.raises(CostSignalError, match="declares no constraints"):
        check_constrained_env("CartPole-v1")
    with pytest.raises(CostSignalError, match="made 3, which is not a gymnasium.Env"):
        check_constrained_env(lambda: 3)
    with pytest.raises(CostSignalError, match="making the environment failed with ZeroDivision"):
        check_constrained_env(lambda: 1 // 0)
    with pytest.raises(ValueError, match="steps is 1; pass a whole number >= 2"):
        check_constrained_env(pendulum, steps=1)


class OfTheUser(gym.Wrapper):
    """Has arguments that Gymnasium does not record, so no spec makes it again."""

    def __init__(self, env, scale):
        super().__init__(env)
        self.scale = scale

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, self.scale * reward, terminated, truncated, info | {"scale": self.scale}


def pendulum():
    return ConstrainedWrapper(
        gym.make("Pendulum-v1", max_episode_steps=40),
        constraints=ConstraintSpec("fast", limit=20.0),
        cost_fn=lambda obs, action, next_obs, reward, info: float(abs(next_obs[2]) > 4.0),
    )


def test_the_checker_takes_wrapped_environments():
    """Wrappers are checked, too; warnings of Gymnasium's checker become notes."""
    report = check_constrained_env(pendulum, steps=50)
    assert "terminal costs" in report.passed
    (note,) = [note for note in report.notes if "Box action" in note]
    assert note.startswith("check_env: For Box action spaces, we recommend")
    assert f"note     {note}" in str(report)


def test_the_checker_takes_a_wrapper_that_is_not_recorded():
    report = check_constrained_env(lambda: OfTheUser(gym.make("Safe/CliffWorld-v0"), 0.5))
    assert "gymnasium.utils.env_checker.check_env" in report.passed
    assert [note.split(":")[0] for note in report.notes] == ["info['scale']"]
    assert "report NumPy scalars" in report.notes[0]


def test_the_checker_takes_an_environment_without_a_spec():
    env = gym.make("Safe/CliffWorld-v0").unwrapped
    report = check_constrained_env(lambda: type(env)(slip=0.5))
    assert env.spec is not None
    assert report.notes == ()


def test_the_checker_takes_an_id_with_its_module():
    report = check_constrained_env("safe_envs:Safe/CliffWorld-v0")
    assert report.environment == "safe_envs:Safe/CliffWorld-v0"
    if AutoresetMode is not None:
        assert "native vector form, SameStep autoreset" in report.passed
    with pytest.raises(ImportError, match="module 'no_such_module', which cannot be imported"):
        check_constrained_env("no_such_module:Safe/CliffWorld-v0")
    with pytest.raises(gym.error.NameNotFound, match="Did you mean: `CliffWorld`"):
        check_constrained_env("safe_envs:Safe/ClifWorld-v0")


def test_the_checker_skips_what_stable_baselines3_has_not():
    pytest.importorskip("stable_baselines3")

    class Pair(Faulty):
        action_space = gym.spaces.Tuple((gym.spaces.Discrete(2), gym.spaces.Discrete(2)))

    report = check_constrained_env(lambda: Pair("gives pairs"))
    assert report.skipped[-1] == ("stable_baselines3 DummyVecEnv: the package has no Tuple actions")
