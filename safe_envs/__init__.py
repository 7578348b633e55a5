"""Safe reinforcement learning environments for Gymnasium, with cost signals and exact optima.

Importing this package registers the environments: `gymnasium.make("Safe/CliffWorld-v0")`.
"""

from gymnasium.envs.registration import register

from safe_envs.contract.backup_policy import BackupPolicy, LinearFeedback
from safe_envs.contract.check_constrained_env import ContractReport, check_constrained_env
from safe_envs.contract.constrained_wrapper import ConstrainedWrapper
from safe_envs.contract.cost_signal import (
    ConstraintSpec,
    CostSignalError,
    NonFiniteEnvError,
    declared_constraints,
    read_costs,
)
from safe_envs.safety_gymnasium_bridge.task_ids import TASKS
from safe_envs.tabular.model import PolicyEvaluation, TabularCMDP

__version__ = "0.1.0"

__all__ = [
    "BackupPolicy",
    "ConstrainedWrapper",
    "ConstraintSpec",
    "ContractReport",
    "CostSignalError",
    "LinearFeedback",
    "NonFiniteEnvError",
    "PolicyEvaluation",
    "TabularCMDP",
    "check_constrained_env",
    "declared_constraints",
    "read_costs",
]

register(
    id="Safe/CliffWorld-v0",
    entry_point="safe_envs.tabular.cliff_world:CliffWorldEnv",
    vector_entry_point="safe_envs.tabular.cliff_world:CliffWorldVectorEnv",
    max_episode_steps=100,
)
register(
    id="Safe/DeepSeaTreasure-v0",
    entry_point="safe_envs.tabular.deep_sea_treasure:DeepSeaTreasureEnv",
    vector_entry_point="safe_envs.tabular.deep_sea_treasure:DeepSeaTreasureVectorEnv",
    max_episode_steps=100,
)
register(
    id="Safe/RandomCMDP-v0",
    entry_point="safe_envs.tabular.random_cmdp:RandomCMDPEnv",
    vector_entry_point="safe_envs.tabular.random_cmdp:RandomCMDPVectorEnv",
    max_episode_steps=100,
)
register(
    id="Safe/ConstrainedRegression-v0",
    entry_point="safe_envs.control.constrained_regression:ConstrainedRegressionEnv",
    vector_entry_point="safe_envs.control.constrained_regression:ConstrainedRegressionVectorEnv",
)
register(
    id="Safe/DoubleIntegrator-v0",
    entry_point="safe_envs.control.double_integrator:DoubleIntegratorEnv",
    vector_entry_point="safe_envs.control.double_integrator:DoubleIntegratorVectorEnv",
    max_episode_steps=150,
)
register(
    id="Safe/Quadrotor-v0",
    entry_point="safe_envs.quadrotor.env:QuadrotorEnv",
    vector_entry_point="safe_envs.quadrotor.vector_env:QuadrotorVectorEnv",
    max_episode_steps=600,
    kwargs={"scene": "spheres"},
)
register(
    id="Safe/QuadrotorColumn-v0",
    entry_point="safe_envs.quadrotor.env:QuadrotorEnv",
    vector_entry_point="safe_envs.quadrotor.vector_env:QuadrotorVectorEnv",
    max_episode_steps=600,
    kwargs={"scene": "column"},
)
register(
    id="Safe/QuadrotorZCBF-v0",
    entry_point="safe_envs.quadrotor.filtered_env:make",
    vector_entry_point="safe_envs.quadrotor.filtered_env:make_vec",
    max_episode_steps=600,
)
register(
    id="SafetyAntVelocity-v1",
    entry_point="safe_envs.velocity.env:SafetyVelocityEnv",
    vector_entry_point="safe_envs.velocity.env:SafetyVelocityVectorEnv",
    max_episode_steps=1000,
    kwargs={"robot": "Ant"},
)
register(
    id="SafetyHalfCheetahVelocity-v1",
    entry_point="safe_envs.velocity.env:SafetyVelocityEnv",
    vector_entry_point="safe_envs.velocity.env:SafetyVelocityVectorEnv",
    max_episode_steps=1000,
    kwargs={"robot": "HalfCheetah"},
)
register(
    id="SafetyHopperVelocity-v1",
    entry_point="safe_envs.velocity.env:SafetyVelocityEnv",
    vector_entry_point="safe_envs.velocity.env:SafetyVelocityVectorEnv",
    max_episode_steps=1000,
    kwargs={"robot": "Hopper"},
)
register(
    id="SafetyHumanoidVelocity-v1",
    entry_point="safe_envs.velocity.env:SafetyVelocityEnv",
    vector_entry_point="safe_envs.velocity.env:SafetyVelocityVectorEnv",
    max_episode_steps=1000,
    kwargs={"robot": "Humanoid"},
)
register(
    id="SafetySwimmerVelocity-v1",
    entry_point="safe_envs.velocity.env:SafetyVelocityEnv",
    vector_entry_point="safe_envs.velocity.env:SafetyVelocityVectorEnv",
    max_episode_steps=1000,
    kwargs={"robot": "Swimmer"},
)
register(
    id="SafetyWalker2dVelocity-v1",
    entry_point="safe_envs.velocity.env:SafetyVelocityEnv",
    vector_entry_point="safe_envs.velocity.env:SafetyVelocityVectorEnv",
    max_episode_steps=1000,
    kwargs={"robot": "Walker2d"},
)
for _task in TASKS.values():  # of the genuine safety-gymnasium, which is imported when one is made
    if not _task.native:
        register(
            id=_task.id,
            entry_point="safe_envs.safety_gymnasium_bridge.env:SafetyGymnasiumEnv",
            max_episode_steps=_task.max_episode_steps,
            kwargs={"task": _task.id},
        )
