"""A task of the genuine package safety-gymnasium 1.0.0 as a five-value environment."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.action_checks import checked_box
from safe_envs.contract.cost_signal import (
    ConstraintSpec,
    CostLimits,
    cost_space_of,
    declare_constraints,
)
from safe_envs.contract.transition_values import with_numpy_scalars
from safe_envs.rendering.screen import has_screen, shown_modes
from safe_envs.safety_gymnasium_bridge.class_arguments import arguments_of, refuse_unknown
from safe_envs.safety_gymnasium_bridge.fast_paths import fast_paths
from safe_envs.safety_gymnasium_bridge.genuine_package import load_genuine_package
from safe_envs.safety_gymnasium_bridge.hazard_types import (
    PREFIX,
    TOTAL,
    costs_by_type,
    hazard_types_of,
)
from safe_envs.safety_gymnasium_bridge.scene_files import sky
from safe_envs.safety_gymnasium_bridge.snapshots import restored, snapshot
from safe_envs.safety_gymnasium_bridge.task_config import (
    apply_config,
    check_config,
    entries_before,
)
from safe_envs.safety_gymnasium_bridge.task_ids import GenuineTask, find_task

COST_LIMIT = 25.0  # the limit in Safety-Gymnasium's baselines
MOST_DRAWS = 100  # consecutive layouts that start in violation before an error
VELOCITY = ("velocity",)
LARGEST_SEED = 2**32 - 1  # of numpy.random.RandomState


class SafetyGymnasiumEnv(gym.Env[Any, np.ndarray]):
    """A task of Safety-Gymnasium 1.0.0, simulated and scored by the genuine package.

    ## Description
    A robot (Point, Car, Doggo, Racecar, Ant) reaches goals, presses buttons, pushes a box, circles,
    runs or races among hazards. Physics, observations, rewards and costs are the package's own.
    Only what newer releases of Python, NumPy, MuJoCo and Gymnasium broke is repaired, in memory.

    | group | ids | steps |
    |---|---|---|
    | navigation | `Safety{Robot}{Goal,Button,Push}{0,1,2}-v0` | 1000 |
    | | `Safety{Robot}Circle{0,1,2}-v0`, `Safety{Robot}Run0-v0` | 500 |
    | | `Safety{Robot}Fading{Easy,Hard}{0,1,2}-v0`: the goal fades from sight | 1000 |
    | race | `Safety{Robot}Race{0,1,2}-v0`: a village, in flat colors | 500 |
    | vision | all of these as `...Vision-v0`: observations include a camera image | |
    | debug | all of these as `...Debug-v0`, for Point, Car, Racecar: steered by keys I, J, K, L | |
    | velocity | `Safety{Robot}Velocity-v0`; v1 by `safety_gymnasium_bridge.make` | 1000 |

    ## Action Space
    `Box(float64)` of the robot's motors (velocity: `float32`); values outside are clipped.

    ## Observation Space
    `Box(float64)`: sensors and lidars, flattened. Vision: a `Dict` of them, not flattened, with
    the image `vision` (256, 256, 3) uint8.

    ## Rewards
    The package's: for most tasks the distance covered toward the goal, plus 1 for reaching it.

    ## Costs
    `info["cost"]` is the package's own: 1 on a step that touches or enters anything forbidden,
    else 0; the limit on the episode's sum is 25. `info["cost_hazards"]` and similar entries give
    the cost of each hazard type. `per_constraint=True` declares one constraint per hazard type,
    each with the limit 25, and a step that violates two types at once costs 2.
    `env.unwrapped.hazard_types` names the types; level 0 of Goal, Button, Push, Circle and Fading
    and Race0 have none.

    ## Starting State
    A random layout; `reset(seed=...)` draws the same one as the package. A layout that starts in
    violation, for which the package raises an error, is drawn again.

    ## Episode End
    Truncates after the steps above. Ant terminates when its torso touches the ground, Race at the
    goal, and any task if no place for the next goal is found.

    ## Reference Optimum
    None is known.

    ## Arguments
    - `task`: set by the id.
    - `cost_limits` (None), `per_constraint` (False): as above.
    - `fast` (True): read each configuration file once, compute lidars and distances in plain
      floats, and use a plain sky. Observations, rewards and costs are the same to the last bit.
    - `plain_sky` (None): one gradient as the sky instead of six photographs, which the package
      decodes at every reset, to 190 MB. Only images differ. None: plain, unless the task observes
      images or `fast` is False.
    - `render_mode` (None): "rgb_array", "depth_array" or "human", which needs a screen; Vision
      tasks have only "rgb_array", the image that they observe.
    - `config` (None): custom layout and settings of a navigation task, by the package's names, such
      as `{"hazards.num": 2, "hazards.locations": [(0, 1), (1, 0)]}`. They override the id's own
      entries and the values that the task sets itself.
    - `width`, `height`, `camera_id`, `camera_name`: as in the package; a velocity task also takes
      the arguments of Gymnasium's robot.

    ## Version History
    - v0, v1: the numbers are those of the package.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["human", "rgb_array", "depth_array"],
        "render_fps": 30,
    }

    def __init__(
        self,
        task: str,
        cost_limits: CostLimits = None,
        per_constraint: bool = False,
        fast: bool = True,
        plain_sky: bool | None = None,
        render_mode: str | None = None,
        config: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> None:
        entry = find_task(task)
        self._inner: Any = _construct(entry, render_mode, config, arguments)
        self._navigates = entry.group != "velocity"
        self._sees = self._navigates and self._inner.task.observe_vision
        self.metadata = {
            "render_modes": shown_modes(_modes(self._sees), has_screen()),
            "render_fps": self._inner.metadata["render_fps"],
        }
        self.action_space = self._inner.action_space
        self.observation_space = self._inner.observation_space
        self.hazard_types = hazard_types_of(self._inner.task) if self._navigates else VELOCITY
        self.constraints = _constraints(self.hazard_types, per_constraint, cost_limits)
        self.reward_discount = 1.0
        self.cost_space = cost_space_of(self.constraints, self._highest_cost())
        self.render_mode = render_mode
        if plain_sky is None:
            plain_sky = fast and not self._sees
        self._fast, self._plain_sky = fast, plain_sky
        self._seeded = False
        self._running = False
        self._episode_cost = 0.0
        self._observation: Any = None

    @property
    def task(self) -> Any:
        """The package's task, with its robot and objects; for velocity, its whole environment."""
        return self._inner.task if self._navigates else self._inner

    @property
    def model(self) -> Any:
        """MuJoCo's model of the current scene; a navigation task's reset builds another."""
        return self._simulated().model

    @property
    def data(self) -> Any:
        """MuJoCo's data of the current scene; a navigation task's reset builds another."""
        return self._simulated().data

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in the layout that the package draws with this seed."""
        super().reset(seed=seed)
        if seed is None and not self._seeded:  # the package would draw one from NumPy's global
            seed = int(self.np_random.integers(LARGEST_SEED))
        self._seeded = True
        with fast_paths(self._fast), sky(plain=self._plain_sky), self._window():
            observation, info = self._start(None if seed is None else seed % (LARGEST_SEED + 1))
        self._running, self._episode_cost = True, 0.0
        if self._navigates:
            info = {TOTAL: 0.0, **info}
        self._observation = _contiguous(observation)
        return self._observation, self._with_costs(info, 0.0)

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step of the genuine task."""
        if not self._running:
            raise gym.error.ResetNeeded("no episode is running; call reset() before step()")
        controls = checked_box(action, self.action_space)  # type: ignore[arg-type]
        with fast_paths(self._fast), self._window():
            observation, reward, cost, terminated, truncated, info = self._inner.step(controls)
        self._running = not (terminated or truncated)
        self._observation = _contiguous(observation)
        info = self._with_costs(info, float(cost))
        return self._observation, float(reward), bool(terminated), bool(truncated), info

    def render(self) -> Any:
        """Return a frame of the chosen mode, or show it in a window."""
        if self.render_mode is None:
            gym.logger.warn(
                "render() does nothing without a render mode; pass render_mode='rgb_array', "
                "'depth_array' or 'human' to gymnasium.make"
            )
            return None
        if self._observation is None:
            raise gym.error.ResetNeeded("call reset() before render()")
        if self._sees:
            return self._image()
        if not self._navigates:
            from safe_envs.safety_gymnasium_bridge.viewer import give_viewer

            give_viewer(self._inner.mujoco_renderer, self.render_mode)
        with self._window():
            return self._inner.render()

    def close(self) -> None:
        """Close windows and free rendering resources."""
        if not self._navigates:
            self._inner.close()
            return
        task = self._inner.task
        for viewer in task._viewers.values():
            viewer.free()
        task.viewer, task._viewers = None, {}

    def _highest_cost(self) -> float:
        """Return the bound on a step's cost: 1 unless `config` asks for the sum of the costs."""
        bounded = not self._navigates or self._inner.task.cost_conf.constrain_indicator
        return 1.0 if bounded else np.inf

    def _image(self) -> np.ndarray:
        """Return the image in the observation, which may be flattened."""
        seen = self._observation
        if isinstance(seen, np.ndarray):
            seen = gym.spaces.unflatten(self._inner.obs_space_dict, seen)
        image: np.ndarray = seen["vision"].copy()
        return image

    def _simulated(self) -> Any:
        """Return the object with MuJoCo's model and data, which navigation tasks build at reset."""
        if self._navigates and self._inner.task.world is None:
            raise gym.error.ResetNeeded("call reset() before asking for MuJoCo's model or data")
        return self.task

    def _window(self) -> AbstractContextManager[None]:
        """Return a context manager in which the package may draw in its window."""
        if self.render_mode != "human":
            return nullcontext()
        from safe_envs.safety_gymnasium_bridge.viewer import window_current

        drawing = self._inner.task if self._navigates else self._inner.mujoco_renderer
        return window_current(drawing.viewer)

    def _start(self, seed: int | None) -> tuple[Any, dict[str, Any]]:
        if self._navigates and not self._inner.task.mechanism_conf.randomize_layout:
            seed = None  # the package rejects a seed, because its layout is always the same
        for _ in range(MOST_DRAWS):
            try:
                started: tuple[Any, dict[str, Any]] = self._inner.reset(seed=seed)
                return started
            except AssertionError as error:
                if not str(error).startswith("World has starting cost"):
                    raise
                seed = None  # the next layout of the same stream
        raise RuntimeError(
            f"{MOST_DRAWS} layouts in a row started in violation of a constraint; leave out the "
            "entries of config that made the scene so crowded"
        )

    def _with_costs(self, info: dict[str, Any], total: float) -> dict[str, Any]:
        """Return the package's info with the costs of the contract and the same keys each step."""
        if self._navigates:
            costs = costs_by_type(info, self.hazard_types)
            info = {"goal_met": False, **info}
            info |= {PREFIX + n: c for n, c in zip(self.hazard_types, costs.tolist(), strict=True)}
            if len(self.constraints) > 1:
                info["costs"], total = costs, float(costs.sum())
        self._episode_cost += total
        return with_numpy_scalars(info | {"cost": total, "episode_cost": self._episode_cost})

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_inner": snapshot(self._inner)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._inner = restored(state["_inner"])


def _construct(
    task: GenuineTask,
    render_mode: str | None,
    config: dict[str, Any] | None,
    arguments: dict[str, Any],
) -> Any:
    """Return the genuine environment of a task."""
    entries = check_config(config)
    if config is not None and task.group == "velocity":
        raise ValueError(f"config is {config!r}, but {task.id} takes none; leave it out")
    own: dict[str, Any] = dict(task.arguments)
    if task.group != "velocity":
        own["config"] = {**own["config"], **entries_before(entries)}
    sees = own.get("config", {}).get("observe_vision", False)
    _check_mode(task.id, render_mode, _modes(sees))
    maker = load_genuine_package().class_at(task.entry_point)
    known = arguments_of(SafetyGymnasiumEnv) | arguments_of(maker) - {"task_id"}
    refuse_unknown(task.id, arguments, known - {"task", "arguments"})
    if render_mode == "human":
        from safe_envs.safety_gymnasium_bridge.viewer import require_glfw_screen

        require_glfw_screen()  # the package opens the window at the first reset
    inner = maker(**own, render_mode=None if sees else render_mode, **arguments)
    if task.group != "velocity":
        apply_config(inner.task, entries)
    return inner


def _check_mode(task_id: str, render_mode: str | None, modes: list[str]) -> None:
    if render_mode is not None and render_mode not in modes:
        raise ValueError(
            f"render_mode is {render_mode!r}; pass None or one of {modes} to {task_id}"
        )


def _modes(sees: bool) -> list[str]:
    """Return the render modes of a task; one that observes an image renders only that."""
    return ["rgb_array"] if sees else SafetyGymnasiumEnv.metadata["render_modes"]


def _constraints(
    names: tuple[str, ...], per_constraint: bool, cost_limits: CostLimits
) -> tuple[ConstraintSpec, ...]:
    declared = names if names == VELOCITY or (per_constraint and names) else ("total",)
    return declare_constraints(dict.fromkeys(declared, COST_LIMIT), 1.0, cost_limits)


def _contiguous(observation: Any) -> Any:
    """Return the observation with contiguous images, not mirrored views."""
    if isinstance(observation, dict):
        return {name: np.ascontiguousarray(part) for name, part in observation.items()}
    return observation
