"""Gymnasium vector environments as a VecEnv of Stable-Baselines3."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from safe_envs.contract.cost_signal import ConstraintSpec, declared_constraints, read_costs
from safe_envs.contract.row_infos import RowInfos


class GymnasiumVecEnv(VecEnv):
    """A Gymnasium vector environment that follows the cost contract, as a VecEnv.

    Infos hold "cost" (and "costs" for several constraints) on every step. At the end of an episode
    they also hold "terminal_observation", "TimeLimit.truncated" and Monitor's "episode". They are
    created on demand (`RowInfos`).

    Args:
        venv: resets ended episodes in the same step: make it with
            `gym.make_vec(id, num_envs=N, autoreset_mode=AutoresetMode.SAME_STEP)`.

    Raises:
        ValueError: if it has another autoreset mode.
        CostSignalError: if it declares no constraints.
    """

    def __init__(self, venv: gym.vector.VectorEnv) -> None:
        mode = venv.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(
                f"{venv} has autoreset mode {mode}; make it with "
                "gym.make_vec(id, num_envs=N, autoreset_mode=AutoresetMode.SAME_STEP)"
            )
        self.constraints = _constraints_of(venv)
        self.venv = venv
        self.render_mode = venv.render_mode
        super().__init__(venv.num_envs, venv.single_observation_space, venv.single_action_space)
        self._actions: np.ndarray | None = None
        self._returns = np.zeros(venv.num_envs)
        self._steps = 0
        self._began_at = np.zeros(venv.num_envs, dtype=np.int64)  # step before each episode's first
        self._began = time.time()

    def reset(self) -> VecEnvObs:
        """Start new episodes in all environments."""
        observations, _ = self.venv.reset(seed=self._seeds[0])
        self._returns[:] = 0.0
        self._began_at[:] = self._steps
        self.reset_infos = [{} for _ in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take one step in all environments."""
        observations, rewards, terminated, truncated, info = self.venv.step(self._actions)
        infos = RowInfos(read_costs(info, self.num_envs, len(self.constraints)))
        self._returns += rewards
        self._steps += 1
        dones = terminated | truncated
        if np.count_nonzero(dones):  # cheaper than asking which, where no episode ended
            for row in np.flatnonzero(dones).tolist():
                self._finish(row, infos[row], info["final_obs"][row], terminated[row])
        return observations, rewards.astype(np.float32), dones, infos  # type: ignore[return-value]

    def close(self) -> None:
        """Close the environments."""
        self.venv.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return one frame per environment."""
        frames: Any = self.venv.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the vector environment, once per chosen environment."""
        if attr_name == "constraints":
            value: Any = self.constraints
        else:
            value = getattr(self.venv.unwrapped, attr_name)
        return [value for _ in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the vector environment."""
        setattr(self.venv.unwrapped, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call a method of the vector environment once; its result for each environment."""
        result = getattr(self.venv.unwrapped, method_name)(*method_args, **method_kwargs)
        return [result for _ in self._chosen(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return True for Monitor: this class reports Monitor's episode statistics itself."""
        return [issubclass(wrapper_class, Monitor) for _ in self._chosen(indices)]

    def _finish(self, row: int, info: dict[str, Any], last: Any, terminated: bool) -> None:
        info["terminal_observation"] = last
        info["TimeLimit.truncated"] = not terminated
        info["episode"] = {
            "r": round(float(self._returns[row]), 6),
            "l": self._steps - int(self._began_at[row]),
            "t": round(time.time() - self._began, 6),
        }
        self._returns[row] = 0.0
        self._began_at[row] = self._steps

    def _chosen(self, indices: VecEnvIndices) -> Iterable[int]:
        return self._get_indices(indices)


def _constraints_of(venv: gym.vector.VectorEnv) -> tuple[ConstraintSpec, ...]:
    if isinstance(venv, gym.vector.SyncVectorEnv | gym.vector.AsyncVectorEnv):
        constraints: tuple[ConstraintSpec, ...] = venv.get_attr("constraints")[0]
        return constraints
    return declared_constraints(venv)
