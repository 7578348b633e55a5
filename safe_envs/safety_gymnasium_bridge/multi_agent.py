"""Making the multi-agent velocity tasks of the genuine package."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from safe_envs.contract.cost_signal import CostLimits

if TYPE_CHECKING:
    from safe_envs.safety_gymnasium_bridge.multi_agent_env import MultiAgentVelocityEnv

INSTALL_ROBOTICS = 'pip install "safe-envs[multi-agent]"'
VELOCITY_THRESHOLDS = {  # [m/s], by robot and by how it is divided among agents
    "Ant": {"2x4": 2.522, "4x2": 2.418},
    "HalfCheetah": {"6x1": 2.932, "2x3": 3.227},
    "Hopper": {"3x1": 0.9613},
    "Humanoid": {"9|8": 0.58},
    "Swimmer": {"2x1": 0.04891},
    "Walker2d": {"2x3": 1.641},
}


def make_multi_agent(
    robot: str,
    division: str,
    *,
    cost_limits: CostLimits = None,
    render_mode: str | None = None,
    **arguments: Any,
) -> MultiAgentVelocityEnv:
    """Return a robot whose joints are divided among agents, as a PettingZoo parallel environment.

    All agents are rewarded for the robot's speed, and each receives the same cost: 1 on a step
    faster than the threshold, else 0. These tasks have no ids, since Gymnasium's registry is for
    environments with one agent. Safety-Gymnasium calls the function `make_ma`.

    Args:
        robot: "Ant", "HalfCheetah", "Hopper", "Humanoid", "Swimmer" or "Walker2d".
        division: one of the robot's in `VELOCITY_THRESHOLDS`; "2x4": two agents of four joints.
        cost_limits: limit on each agent's episode cost; 25 if None.
        render_mode: None, "rgb_array", "depth_array" or "human".
        arguments: `agent_obsk`, `local_categories` and `global_categories` as in
            gymnasium-robotics; all others go to the robot's Gymnasium environment.

    Raises:
        ValueError: for an unknown robot or division.
        DependencyNotInstalled: if safety-gymnasium or gymnasium-robotics is missing; the message
            says how to install it.
    """
    if division not in VELOCITY_THRESHOLDS.get(robot, {}):
        allowed = ", ".join(f"{r} {d}" for r, each in VELOCITY_THRESHOLDS.items() for d in each)
        raise ValueError(
            f"there is no multi-agent task {robot!r} {division!r}; those with a velocity "
            f"threshold are {allowed}"
        )
    if find_spec("gymnasium_robotics") is None:
        raise gym.error.DependencyNotInstalled(
            "multi-agent tasks need the package gymnasium-robotics, which is not installed; run: "
            f"{INSTALL_ROBOTICS}"
        )
    from safe_envs.safety_gymnasium_bridge.multi_agent_env import MultiAgentVelocityEnv

    return MultiAgentVelocityEnv(robot, division, cost_limits, render_mode, arguments)
