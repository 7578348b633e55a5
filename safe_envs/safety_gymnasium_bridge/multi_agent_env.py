"""A robot divided among agents, with a cost in every agent's info."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator
from pettingzoo import ParallelEnv

from safe_envs.contract.action_checks import checked_box
from safe_envs.contract.cost_signal import CostLimits, cost_space_of, declare_constraints
from safe_envs.contract.transition_values import with_numpy_scalars
from safe_envs.rendering.screen import has_screen, shown_modes
from safe_envs.safety_gymnasium_bridge.class_arguments import arguments_of, refuse_unknown
from safe_envs.safety_gymnasium_bridge.divided_robots import BODY_VERSION, divided_robot
from safe_envs.safety_gymnasium_bridge.env import COST_LIMIT
from safe_envs.safety_gymnasium_bridge.genuine_package import load_genuine_package
from safe_envs.safety_gymnasium_bridge.viewer import (
    give_viewer,
    require_glfw_screen,
    window_current,
)

OF_GYMNASIUM = {"cost_limits", "disable_env_checker", "max_episode_steps"}
MAKER = "safety_gymnasium.tasks.safe_multi_agent.safe_mujoco_multi:SafeMAEnv"
RENDER_MODES = ("human", "rgb_array", "depth_array")
PerAgent = dict[str, Any]


class MultiAgentVelocityEnv(ParallelEnv):
    """A velocity task with several agents, scored by the genuine package; see `make_multi_agent`.

    `step` takes one action per agent and returns PettingZoo's five dictionaries. Every agent's info
    holds `cost`, the same for all because they share one robot, and `episode_cost`; `constraints`
    declares the limit on each agent's sum.

    Observations, rewards and costs are those of Safety-Gymnasium 1.0.0 with gymnasium-robotics
    1.2.2: each agent observes its own joints, positions of neighboring ones and the torso.

    Args:
        robot, division, cost_limits, render_mode, arguments: as for `make_multi_agent`.
    """

    def __init__(
        self,
        robot: str,
        division: str,
        cost_limits: CostLimits = None,
        render_mode: str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(
                f"render_mode is {render_mode!r}; pass None or one of {list(RENDER_MODES)}"
            )
        if render_mode == "human":
            require_glfw_screen()
        self._inner = _construct(robot, division, render_mode, dict(arguments or {}))
        body = self._inner.single_agent_env
        self.metadata = {
            "name": f"Safety{robot}{division}Velocity",
            "render_modes": shown_modes(list(RENDER_MODES), has_screen()),
            "render_fps": body.metadata["render_fps"],
            "is_parallelizable": True,
        }
        self.render_mode = render_mode
        self.possible_agents: list[str] = list(self._inner.possible_agents)
        self.agents: list[str] = []
        self.observation_spaces: dict[str, gym.spaces.Box] = self._inner.observation_spaces
        self.action_spaces: dict[str, gym.spaces.Box] = self._inner.action_spaces
        self.state_space = body.observation_space
        self.constraints = declare_constraints({"velocity": COST_LIMIT}, 1.0, cost_limits)
        self.cost_space = cost_space_of(self.constraints, 1.0)
        self._episode_cost = 0.0

    def observation_space(self, agent: str) -> gym.spaces.Box:
        """Return the space of an agent's observations."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.spaces.Box:
        """Return the space of an agent's joint torques."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[PerAgent, PerAgent]:
        """Start an episode; infos hold cost 0.0."""
        with self._window():
            observations, infos = self._inner.reset(seed=seed, options=options)
        self.agents = list(self.possible_agents)
        self._episode_cost = 0.0
        return dict(observations), self._with_cost(infos, dict.fromkeys(self.agents, 0.0))

    def step(
        self, actions: Mapping[str, np.ndarray]
    ) -> tuple[PerAgent, PerAgent, PerAgent, PerAgent, PerAgent]:
        """Take one step of the robot.

        Raises:
            ResetNeeded: if no episode is running.
            ValueError: if an agent has no action, or an action has another shape or a NaN. Values
                outside the space are clipped.
        """
        if not self.agents:
            raise gym.error.ResetNeeded("no episode is running; call reset() before step()")
        controls = self._checked(actions)
        with self._window():
            observations, rewards, costs, terminated, truncated, infos = self._inner.step(controls)
        infos = self._with_cost(infos, costs)
        if any(terminated.values()) or any(truncated.values()):
            self.agents = []
        rewards = {agent: float(reward) for agent, reward in rewards.items()}
        return dict(observations), rewards, dict(terminated), dict(truncated), infos

    def state(self) -> np.ndarray:
        """Return the observation of a single agent that controls all joints."""
        whole: np.ndarray = self._inner.state()
        return whole

    def render(self) -> Any:
        """Return a frame of the chosen mode, or show it in a window."""
        if self.render_mode is None:
            gym.logger.warn(
                "render() does nothing without a render mode; pass one to make_multi_agent"
            )
            return None
        give_viewer(self._inner.single_agent_env.mujoco_renderer, self.render_mode)
        with self._window():
            return self._inner.render()

    def close(self) -> None:
        """Close windows and free rendering resources."""
        self._inner.close()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(
            "a multi-agent environment cannot be copied or pickled, because Gymnasium's robots "
            "would lose their state; make another with make_multi_agent"
        )

    def _window(self) -> AbstractContextManager[None]:
        """Return a context manager in which the robot may be drawn in its window."""
        if self.render_mode != "human":
            return nullcontext()
        return window_current(self._inner.single_agent_env.mujoco_renderer.viewer)

    def _checked(self, actions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if set(actions) != set(self.agents):
            raise ValueError(
                f"there are actions for {sorted(actions)}; pass one for each of {self.agents}"
            )
        return {agent: checked_box(actions[agent], self.action_spaces[agent]) for agent in actions}

    def _with_cost(self, infos: Mapping[str, Any], costs: Mapping[str, float]) -> PerAgent:
        """Return the infos, one dictionary per agent, with the costs of the contract."""
        self._episode_cost += float(costs[self.possible_agents[0]])
        return {
            agent: with_numpy_scalars(
                {**infos[agent], "cost": float(cost), "episode_cost": self._episode_cost}
            )
            for agent, cost in costs.items()
        }


def _construct(
    robot: str, division: str, render_mode: str | None, arguments: dict[str, Any]
) -> Any:
    """Return the genuine environment, on a robot that today's Gymnasium can run."""
    maker = load_genuine_package().class_at(MAKER)
    body: Any = load_env_creator(str(gym.spec(f"{robot}-{BODY_VERSION}").entry_point))
    known = OF_GYMNASIUM | arguments_of(maker) | arguments_of(body)
    refuse_unknown("make_multi_agent", arguments, known - {"scenario", "agent_conf"})
    sys.modules[maker.__module__].MultiAgentMujocoEnv = divided_robot  # type: ignore[attr-defined]
    return maker(robot, division, render_mode=render_mode, **arguments)
