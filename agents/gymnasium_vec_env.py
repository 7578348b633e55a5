"""Gymnasium vector environments as a VecEnv of Stable-Baselines3, in every autoreset mode."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from agents.shared_contract import check_all_declare, shared_constraints
from safe_envs.contract.cost_signal import (
    ONLY_RESET,
    ZERO,
    ConstraintSpec,
    CostSignalError,
    read_costs,
)
from safe_envs.contract.row_infos import RowInfos
from safe_envs.contract.threaded_vector_env import ThreadedVectorEnv
from safe_envs.contract.transition_values import kept
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.safety_filters.vector_filter import VectorSafetyFilter

ONLY_RESET_MASK = f"_{ONLY_RESET}"
Infos = RowInfos | list[dict[str, Any]]


class GymnasiumVecEnv(VecEnv):
    """A Gymnasium vector environment as a VecEnv: an ended episode is followed by the next at once.

    Infos hold "cost" (and "costs" for several constraints) on every step. At the end of an episode
    they also hold "terminal_observation", "TimeLimit.truncated" and Monitor's "episode". They are
    created on demand (`RowInfos`). Without constraints no cost is read.

    What happens at the end of an episode depends on the autoreset mode:

    - SAME_STEP: the environment starts the next episode itself.
    - DISABLED: `reset(options={"reset_mask": ended})` starts it, in the same step.
    - NEXT_STEP, in Gymnasium's SyncVectorEnv and AsyncVectorEnv and this project's own forms: the
      same, so that all three modes give the same episodes.
    - NEXT_STEP elsewhere: the next step of the row only resets it. If all rows wait, that step is
      taken at once. Otherwise it is an empty step, for those who train to leave out: until then the
      row is marked in `awaiting_reset` and shows its last observation; the step has reward and cost
      0 and `info["only_reset"]`, counts for no episode, and is marked as done, so that wrappers
      that stack or normalize start afresh.

    Args:
        venv: the vector environment.
        undeclared: the constraints if the environments declare none; costs are then read from
            `info["cost"]`, or from `info["costs"]` if there are several.

    Raises:
        ValueError: if it has no environments or does not say its autoreset mode, or if its copies
            declare different constraints; in `step`, if `reset` ignores "reset_mask".
        CostSignalError: if its constraints are not `ConstraintSpec`s; in `step`, for a cost that is
            missing, not finite or negative.
    """

    awaiting_reset: np.ndarray  # (N,) bool: rows that the next step will only reset

    def __init__(
        self, venv: gym.vector.VectorEnv, undeclared: tuple[ConstraintSpec, ...] = ()
    ) -> None:
        if venv.num_envs < 1:
            raise ValueError(f"{venv} has no environments; pass one with at least one")
        self.venv = venv
        self.render_mode = venv.render_mode
        self._mode = _autoreset_mode(venv)
        self._mask_is_known = resets_chosen_rows(venv)
        self._resets_by_mask = self._mode == AutoresetMode.DISABLED or (
            self._mode == AutoresetMode.NEXT_STEP and self._mask_is_known
        )
        base = venv.unwrapped
        self._copies = base if isinstance(base, SyncVectorEnv | AsyncVectorEnv) else None
        super().__init__(venv.num_envs, venv.single_observation_space, venv.single_action_space)
        self._declared = self._declared_constraints() or [undeclared] * venv.num_envs
        self.constraints = shared_constraints(self._declared, same_limits=False)
        self._actions: np.ndarray | None = None
        self._next_options: dict[str, Any] | None = None
        self._returns = np.zeros(venv.num_envs)
        self._steps = 0
        self._began_at = np.zeros(venv.num_envs, dtype=np.int64)  # step before each episode's first
        self._began = time.time()
        self._nobody = np.zeros(venv.num_envs, dtype=np.bool_)
        self._nobody.setflags(write=False)
        self.awaiting_reset = self._nobody

    def reset(self) -> VecEnvObs:
        """Start new episodes in all environments."""
        observations, _ = self.venv.reset(seed=self._seeds[0], options=self._next_options)
        self._returns[:] = 0.0
        self._began_at[:] = self._steps
        self.awaiting_reset = self._nobody
        self.reset_infos = [{} for _ in range(self.num_envs)]
        self._reset_seeds()
        self._next_options = None
        return observations

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Pass these options to the next `reset`; they are those of the vector environment.

        Raises:
            ValueError: for a list, with options of each environment.
        """
        if isinstance(options, list):
            raise ValueError(
                "options is a list; a Gymnasium vector environment takes one dict for all its "
                "environments"
            )
        self._next_options = options

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take one step in all environments."""
        observations, rewards, terminated, truncated, info = self.venv.step(self._actions)
        self._steps += 1
        empty, self.awaiting_reset = self.awaiting_reset, self._nobody
        infos = self._infos(info, empty)
        self._returns += rewards
        dones = terminated | truncated
        rewards = rewards.astype(np.float32)
        if np.count_nonzero(dones):  # cheaper than asking which, where no episode ended
            for row in np.flatnonzero(dones & ~empty).tolist():
                last = self._last_observation(observations, info, row)
                self._finish(row, infos[row], last, terminated[row])
            observations = self._with_next_episodes(observations, dones)
        if empty is not self._nobody:
            self._skip(empty, rewards, infos, observations)
            dones = dones | empty
        return observations, rewards, dones, infos  # type: ignore[return-value]

    def close(self) -> None:
        """Close the environments."""
        self.venv.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return one frame per environment."""
        frames: Any = self.venv.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def has_attr(self, attr_name: str) -> bool:
        """Return whether all environments have an attribute."""
        if attr_name == "constraints":
            return bool(self.constraints)
        if self._copies is not None:
            return all(self._copies.call("has_wrapper_attr", attr_name))
        return super().has_attr(attr_name)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the chosen environments, or of the vector environment for each.

        Raises:
            AttributeError: if there is no such attribute.
        """
        values = self._declared if attr_name == "constraints" else self._values(attr_name)
        return [values[row] for row in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the chosen environments, or of the vector environment.

        Raises:
            ValueError: if only some environments are chosen and cannot be set alone.
        """
        if isinstance(self._copies, SyncVectorEnv):
            for row in self._get_indices(indices):
                self._copies.envs[row].set_wrapper_attr(attr_name, value)
            return
        self._check_all_chosen(indices, f"set {attr_name!r}")
        if self._copies is None:
            setattr(self.venv.unwrapped, attr_name, value)
        else:
            self._copies.set_attr(attr_name, [value] * self.num_envs)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call a method of the chosen environments; of a native vector environment, call it once.

        Raises:
            ValueError: if only some environments are chosen and cannot be called alone.
        """
        rows = list(self._get_indices(indices))
        if self._copies is None:
            result = getattr(self.venv.unwrapped, method_name)(*method_args, **method_kwargs)
            return [result for _ in rows]
        if isinstance(self._copies, SyncVectorEnv):
            methods = [self._copies.envs[row].get_wrapper_attr(method_name) for row in rows]
            return [method(*method_args, **method_kwargs) for method in methods]
        self._check_all_chosen(indices, f"call {method_name!r}")
        return list(self._copies.call(method_name, *method_args, **method_kwargs))

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return True for Monitor: this class reports Monitor's episode statistics itself."""
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def _values(self, attr_name: str) -> Sequence[Any]:
        """Return an attribute of every environment, or N times that of the vector environment."""
        if self._copies is None:
            return [getattr(self.venv.unwrapped, attr_name)] * self.num_envs
        if not all(self._copies.call("has_wrapper_attr", attr_name)):
            # AsyncVectorEnv would not survive being asked for it.
            raise AttributeError(f"not all environments of {self.venv} have {attr_name!r}")
        if isinstance(self._copies, SyncVectorEnv):
            return [env.get_wrapper_attr(attr_name) for env in self._copies.envs]
        return self._copies.get_attr(attr_name)

    def _declared_constraints(self) -> Sequence[Any]:
        """Return what each environment declares; nothing if none declares anything."""
        if self._copies is not None:
            check_all_declare(self._copies.call("has_wrapper_attr", "constraints"))
        try:
            declared = self._values("constraints")
        except AttributeError:
            return ()
        return () if all(own is None or own == () or own == [] for own in declared) else declared

    def _infos(self, info: dict[str, Any], empty: np.ndarray) -> Infos:
        if not self.constraints:
            return [{} for _ in range(self.num_envs)]
        only_reset = None if empty is self._nobody else empty
        plain = self._plain_costs(info) if only_reset is None else None
        if plain is not None:
            return RowInfos(plain)
        try:
            costs = read_costs(info, self.num_envs, len(self.constraints), only_reset=only_reset)
        except CostSignalError as error:
            raise CostSignalError(f"{self.venv}, step {self._steps}: {error}") from error
        return RowInfos(costs)

    def _plain_costs(self, info: dict[str, Any]) -> np.ndarray | None:
        """Return the costs of a usual step, (N, m), in a fifth of the time of `read_costs`.

        In a usual step all rows report sound costs and no episode has ended; else None.
        """
        if "final_info" in info or ONLY_RESET_MASK in info:
            return None
        shape = (self.num_envs, len(self.constraints))
        key = "cost" if shape[1] == 1 else "costs"
        given, mask = info.get(key), info.get("_" + key)
        if type(given) is not np.ndarray or given.dtype != np.float64 or mask is None:
            return None
        if len(given) != shape[0] or given.size != shape[0] * shape[1]:
            return None
        costs = given.reshape(shape).copy()
        is_sound = math.isfinite(np.vdot(costs, costs)) and not np.count_nonzero(costs < ZERO)
        return costs if is_sound and np.count_nonzero(mask) == shape[0] else None

    def _last_observation(self, observations: Any, info: dict[str, Any], row: int) -> Any:
        if self._mode != AutoresetMode.SAME_STEP:
            return _row(observations, row)
        if "final_obs" not in info:
            raise ValueError(
                f"{self.venv} says that it resets ended episodes in the same step, but its info "
                f"has no 'final_obs' (it has {sorted(info)})"
            )
        return _row(info["final_obs"], row)

    def _with_next_episodes(self, observations: Any, ended: np.ndarray) -> Any:
        """Start the next episode in the ended rows, now or with the next step."""
        if self._mode == AutoresetMode.SAME_STEP:
            return observations
        if self._resets_by_mask:
            before = None if self._mask_is_known else kept(observations)
            observations, _ = self.venv.reset(options={"reset_mask": ended.copy()})
            if before is not None:
                self._check_others_go_on(before, observations, ended)
        elif ended.all():
            observations, _, terminated, truncated, _ = self.venv.step(self._actions)
            ended = terminated | truncated  # none, unless an episode has no steps
            self.awaiting_reset = ended if ended.any() else self._nobody
        else:
            self.awaiting_reset = ended.copy()
        return observations

    def _skip(
        self, empty: np.ndarray, rewards: np.ndarray, infos: Infos, observations: Any
    ) -> None:
        """Make the step of rows that were only reset count for nothing."""
        rewards[empty] = self._returns[empty] = 0.0
        self._began_at[empty] = self._steps
        for row in np.flatnonzero(empty).tolist():
            infos[row][ONLY_RESET] = True
            infos[row]["terminal_observation"] = _row(observations, row)
            infos[row]["TimeLimit.truncated"] = False

    def _check_others_go_on(self, before: Any, after: Any, ended: np.ndarray) -> None:
        parts = [(before[key], after[key]) for key in after] if isinstance(after, dict) else None
        for old, new in parts or [(before, after)]:
            if old[~ended].tobytes() != new[~ended].tobytes():
                raise ValueError(
                    f"{self.venv} has autoreset mode DISABLED, but reset(options={{'reset_mask': "
                    "mask}) also changed environments whose episode goes on; make it reset those "
                    "in the mask only, or give it another autoreset mode"
                )

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

    def _check_all_chosen(self, indices: VecEnvIndices, doing: str) -> None:
        if set(self._get_indices(indices)) != set(range(self.num_envs)):
            raise ValueError(
                f"indices is {indices!r}, but {self.venv} can only {doing} in all its environments "
                "at once; leave indices out"
            )


def resets_chosen_rows(venv: gym.vector.VectorEnv) -> bool:
    """Return whether `options["reset_mask"]` is known to reset these rows only, in every mode.

    Without shared memory, the workers of AsyncVectorEnv with NEXT_STEP autoreset reset such a row
    once more at the next step.
    """
    while isinstance(venv, VectorSafetyFilter):
        venv = venv.env
    if type(venv) is AsyncVectorEnv:
        return bool(venv.shared_memory) and venv.worker is None
    return type(venv) is SyncVectorEnv or isinstance(venv, NativeVectorEnv | ThreadedVectorEnv)


def _autoreset_mode(venv: gym.vector.VectorEnv) -> AutoresetMode:
    mode = venv.metadata.get("autoreset_mode")
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise ValueError(
            f"{venv} has metadata['autoreset_mode'] = {mode!r}; set it to the member of "
            "gymnasium.vector.AutoresetMode that says what it does with ended episodes"
        ) from None


def _row(observations: Any, row: int) -> Any:
    """Return a copy of one row's observation."""
    if isinstance(observations, dict):
        return {key: kept(values[row]) for key, values in observations.items()}
    return kept(observations[row])
