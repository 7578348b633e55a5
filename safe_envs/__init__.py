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
from safe_envs.contract.dataset_metadata import dataset_metadata
from safe_envs.contract.thread_count import set_num_threads
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
    "dataset_metadata",
    "declared_constraints",
    "read_costs",
    "set_num_threads",
]


def register_forms(
    env_id: str, forms: str, max_episode_steps: int | None = None, **kwargs: object
) -> None:
    """Register both forms of an environment that one file holds.

    Args:
        env_id: Gymnasium id.
        forms: "module:Name" of the classes NameEnv and NameVectorEnv.
        max_episode_steps: steps after which an episode is truncated; None for no limit.
        **kwargs: the environment's arguments under this id.
    """
    register(
        id=env_id,
        entry_point=f"{forms}Env",
        vector_entry_point=f"{forms}VectorEnv",
        max_episode_steps=max_episode_steps,
        kwargs=kwargs,
    )


register_forms("Safe/CliffWorld-v0", "safe_envs.tabular.cliff_world:CliffWorld", 100)
register_forms(
    "Safe/DeepSeaTreasure-v0", "safe_envs.tabular.deep_sea_treasure:DeepSeaTreasure", 100
)
register_forms("Safe/RandomCMDP-v0", "safe_envs.tabular.random_cmdp:RandomCMDP", 100)
register_forms(
    "Safe/ConstrainedRegression-v0",
    "safe_envs.control.constrained_regression:ConstrainedRegression",
)
register_forms(
    "Safe/DoubleIntegrator-v0", "safe_envs.control.double_integrator:DoubleIntegrator", 150
)
register_forms("Safe/UnicycleCBF-v0", "safe_envs.control.unicycle_cbf:UnicycleCBF", 55)
register_forms("Safe/QCQP-v0", "safe_envs.control.qcqp:QCQP")
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
    nondeterministic=True,  # info["filter_time"] is measured
)
_VELOCITY = "safe_envs.velocity.env:SafetyVelocity"
register_forms("SafetyAntVelocity-v1", _VELOCITY, 1000, robot="Ant")
register_forms("SafetyHalfCheetahVelocity-v1", _VELOCITY, 1000, robot="HalfCheetah")
register_forms("SafetyHopperVelocity-v1", _VELOCITY, 1000, robot="Hopper")
register_forms("SafetyHumanoidVelocity-v1", _VELOCITY, 1000, robot="Humanoid")
register_forms("SafetySwimmerVelocity-v1", _VELOCITY, 1000, robot="Swimmer")
register_forms("SafetyWalker2dVelocity-v1", _VELOCITY, 1000, robot="Walker2d")
for _task in TASKS.values():  # of the original safety-gymnasium, imported when one of them is made
    if not _task.native:
        register(
            id=_task.id,
            entry_point="safe_envs.safety_gymnasium_bridge.env:SafetyGymnasiumEnv",
            vector_entry_point="safe_envs.safety_gymnasium_bridge.making:make_vec",
            max_episode_steps=_task.max_episode_steps,
            kwargs={"task": _task.id},
        )
