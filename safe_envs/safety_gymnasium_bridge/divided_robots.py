"""Robots divided among agents, as gymnasium-robotics 1.2.2 divided them for Safety-Gymnasium.

The package needs that release, which does not import on Gymnasium 1.x. The current release uses
version 5 of Gymnasium's robots, with different observations, rewards and physics, and a few entries
differ; so the original bodies and entries are put together here.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium_robotics.envs.multiagent_mujoco.mujoco_multi import MultiAgentMujocoEnv
from gymnasium_robotics.envs.multiagent_mujoco.obsk import get_parts_and_edges

from safe_envs.safety_gymnasium_bridge.runtime_fixes import with_unit_quaternion

FREE_ROOT = ("Ant", "Humanoid")
BODY_VERSION = "v4"
LOCAL = {"Ant": [["qpos", "qvel"], ["qpos"]]}  # version 4 does not observe contact forces
GLOBAL = {"Humanoid": ("qpos", "qvel", "cinert", "cvel", "qfrc_actuator", "cfrc_ext")}


class Forwarding(gym.Wrapper):
    """A robot whose own attributes can be read through its wrappers, as before Gymnasium 1.0."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"private attribute {name!r} is not forwarded")
        return getattr(self.env.unwrapped, name)


def divided_robot(
    robot: str,
    division: str,
    agent_obsk: int | None = 1,
    agent_factorization: dict[str, Any] | None = None,
    local_categories: list[list[str]] | None = None,
    global_categories: tuple[str, ...] | None = None,
    render_mode: str | None = None,
    **arguments: Any,
) -> MultiAgentMujocoEnv:
    """Return a robot of version 4, divided; the package calls this in place of the class."""
    old = gym.spec(f"{robot}-{BODY_VERSION}")  # by name, Gymnasium would warn of a newer version
    body = gym.make(old, render_mode=render_mode, **arguments)
    if robot in FREE_ROOT:
        own: Any = body.unwrapped
        own.reset_model = with_unit_quaternion(type(own).reset_model).__get__(own)
    return MultiAgentMujocoEnv(
        robot,
        division,
        agent_obsk,
        agent_factorization or _factorization(robot, division),
        _local_categories(robot, agent_obsk) if local_categories is None else local_categories,
        GLOBAL.get(robot) if global_categories is None else global_categories,
        gym_env=Forwarding(body),
    )


def _local_categories(robot: str, agent_obsk: int | None) -> list[list[str]] | None:
    """Return the observed quantities of joints at each distance; None for the package's default."""
    if robot not in LOCAL:
        return None
    near, far = LOCAL[robot]
    return [near, *[far] * (agent_obsk or 0)]


def _factorization(robot: str, division: str) -> dict[str, Any]:
    """Return the division into joints, with the common entries of release 1.2.2."""
    parts, edges, common = get_parts_and_edges(robot, division)
    if robot == "Walker2d":  # the forward velocity twice, no torso angle
        root_x, root_z, _ = common
        common = [root_x, root_x, root_z]
    if robot == "Humanoid":
        common[0].extra_obs["qfrc_actuator"] = _root_forces
    return {"partition": parts, "edges": edges, "globals": common}


def _root_forces(data: Any) -> np.ndarray:
    forces: np.ndarray = data.qfrc_actuator[:6]
    return forces
