"""The quadrotor among spheres behind its safety filter, single and batched."""

from __future__ import annotations

import copy
from typing import Any

from gymnasium.envs.registration import EnvSpec

from safe_envs.contract.argument_names import known_arguments
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.filtered.sphere_barrier import MARGIN, SphereZCBF
from safe_envs.quadrotor.task import EPISODE_STEPS
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv
from safe_envs.safety_filters.filter_wrapper import SafetyFilter
from safe_envs.safety_filters.metrics import Metric
from safe_envs.safety_filters.quadratic_program import SLACK_WEIGHT
from safe_envs.safety_filters.vector_filter import VectorSafetyFilter


class RegisteredFilter(SafetyFilter):
    """The filter of the registered id, whose arguments make it again: its spec adds no wrapper."""

    def __init__(
        self, env: QuadrotorEnv, barrier: SphereZCBF, metric: Metric, slack: float
    ) -> None:
        super().__init__(env, barrier, metric, slack)
        self._metric_given = metric

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]
        """Gymnasium's spec of the id, with the metric that `fit` found, if it was called."""
        inner = self.env.spec
        if inner is None:
            return None
        found = copy.copy(inner)
        found.nondeterministic = True
        metric = self._saved_kwargs["metric"]
        if metric is not self._metric_given:
            found.kwargs = found.kwargs | {"metric": metric}
        return found


@known_arguments(QuadrotorEnv)
def make(
    order: int = 3,
    gains: tuple[float, ...] | None = None,
    margin: float = MARGIN,
    metric: Metric = "lqr",
    slack_weight: float = SLACK_WEIGHT,
    **flight: Any,
) -> SafetyFilter:
    """Return `QuadrotorEnv` with a `SafetyFilter` of `SphereZCBF` around its spheres.

    Lin and Xu (arXiv 2602.12603), section V, use order 2. Order 3 is this project's; it also avoids
    obstacles that cannot be passed over or under. The rows of order 3 neglect the thrust's rate of
    change, which the margin has to cover.

    Args:
        order: of the barrier, 2 or 3.
        gains: of the barrier [1/s]; by default (6, 6) or (6, 6, 10).
        margin: added to the radii [m].
        metric: "lqr", "euclidean", "fqi" (learned with the Crazyflie; an error for other vehicles),
            a matrix (4, 4), or a function of state and reference.
        slack_weight: price of a violated row.
        flight: arguments of `QuadrotorEnv`, such as `scene`, `obstacles`, `vehicle` or
            `render_mode`.
    """
    barrier = SphereZCBF(order, gains, margin)
    return RegisteredFilter(QuadrotorEnv(**flight), barrier, metric, slack_weight)


@known_arguments(QuadrotorEnv)
def make_vec(
    num_envs: int = 1,
    max_episode_steps: int | None = EPISODE_STEPS,
    autoreset_mode: Any = "NextStep",
    order: int = 3,
    gains: tuple[float, ...] | None = None,
    margin: float = MARGIN,
    metric: Metric = "lqr",
    slack_weight: float = SLACK_WEIGHT,
    **flight: Any,
) -> VectorSafetyFilter:
    """Return the native vector form of `make`, with the same arguments."""
    env = QuadrotorVectorEnv(num_envs, max_episode_steps, autoreset_mode, **flight)
    return VectorSafetyFilter(env, SphereZCBF(order, gains, margin), metric, slack_weight)
