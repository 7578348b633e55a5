"""The trainings: ten kinds of planted faults, two of each, and sound ones."""

from __future__ import annotations

from typing import NamedTuple

TASK = "baselines.experiments.faults.adjustable_task:adjustable_task"
PLANT = "Safe/DoubleIntegrator-v0"
STEPS = 20_480
SOUND = "nothing found"
NO_EPISODE, STILL = "prices held because no episode ends", "the policy hardly moves"
IN_VAIN = "the price grows without effect"


class FaultCase(NamedTuple):
    """One training, and what the doctor should name first."""

    name: str  # of its folder
    fault: str  # the finding's name, or `SOUND`
    agent: str
    env: str
    settings: tuple[str, ...] = ()
    seed: int = 0
    steps: int = STEPS


USUAL = ("n_steps=1024",)

CASES: tuple[FaultCase, ...] = (
    FaultCase("outliers", "observations at their clip", "PPOLag", f"{TASK}?outliers=True", USUAL),
    FaultCase(
        "outliers_alm", "observations at their clip", "PPOALM", f"{TASK}?outliers=True", USUAL, 1
    ),
    FaultCase(
        "long_episodes", NO_EPISODE, "PPOLag", f"{TASK}?length=5000", USUAL
    ),
    FaultCase(
        "short_rollouts", NO_EPISODE, "PPOALM", PLANT, ("n_steps=64",)
    ),
    FaultCase("constant", "the reward never varies", "PPO", f"{TASK}?constant_reward=True", USUAL),
    FaultCase(
        "constant_lag", "the reward never varies", "PPOLag", f"{TASK}?constant_reward=True", USUAL
    ),
    FaultCase(
        "kl_bound", "the KL bound always stops", "PPOLag", TASK, (*USUAL, "target_kl=1e-5")
    ),
    FaultCase(
        "kl_bound_plant", "the KL bound always stops", "PPOLag", PLANT, (*USUAL, "target_kl=1e-5")
    ),
    FaultCase("rate_high", "updates too large", "PPOLag", TASK, (*USUAL, "learning_rate=0.05"), 1),
    FaultCase("rate_high_plant", "updates too large", "PPO", PLANT, (*USUAL, "learning_rate=0.05")),
    FaultCase("rate_low", STILL, "PPOLag", TASK, (*USUAL, "learning_rate=1e-7")),
    FaultCase(
        "rate_low_plant", STILL, "PPOALM", PLANT, (*USUAL, "learning_rate=1e-7")
    ),
    FaultCase(
        "one_unit", "collapsed rank", "PPOLag", TASK,
        (*USUAL, 'policy_kwargs={net_arch={pi=[1],vf=[64,64]}}'),
    ),
    FaultCase(
        "one_unit_alm", "collapsed rank", "PPOALM", TASK,
        (*USUAL, 'policy_kwargs={net_arch={pi=[64,1],vf=[64,64]}}'), 1,
    ),
    FaultCase(
        "out_of_reach", IN_VAIN, "PPOLag", f"{TASK}?base_cost=0.3", USUAL
    ),
    FaultCase(
        "out_of_reach_alm", IN_VAIN, "PPOALM", f"{TASK}?base_cost=0.3", USUAL
    ),
    FaultCase(
        "weak_price", "the price is too small", "PPOLag", TASK,
        (*USUAL, "multiplier_lr=1e-4", "damping=0.0"),
    ),
    FaultCase(
        "weak_penalty", "the price is too small", "PPOALM", TASK,
        (*USUAL, "penalty=1e-4",), 1,
    ),
    FaultCase(
        "noisy", "gradients are mostly noise", "PPOLag", f"{TASK}?reward_noise=30.0", USUAL
    ),
    FaultCase(
        "noisy_alm", "gradients are mostly noise", "PPOALM", f"{TASK}?reward_noise=30.0", USUAL, 1
    ),
    *(
        FaultCase(f"sound_{agent}", SOUND, agent, TASK, USUAL, seed)
        for agent, seed in (
            ("PPO", 0), ("PPOLag", 0), ("PPOALM", 1), ("SPMAALM", 0), ("CPO", 0), ("TRPOLag", 1)
        )
    ),
    *(
        FaultCase(f"sound_plant_{agent}", SOUND, agent, PLANT, USUAL, seed, 2 * STEPS)
        for agent, seed in (("PPO", 0), ("PPOLag", 1), ("PPOALM", 0), ("SPMAALM", 0))
    ),
)  # fmt: skip
