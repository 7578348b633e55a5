"""The expert for SCPO's double integrator; it drives some states out of the box."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.controllers.controlled_env import DOUBLE_INTEGRATORS, Env, controlled_env
from agents.controllers.observation_rows import PredictState, observation_rows
from safe_envs.contract.argument_checks import check_not_negative
from safe_envs.control.double_integrator import EXPERT_NOISE_STD
from safe_envs.control.double_integrator_reference import malicious_expert


class MaliciousExpert:
    """clip(-2 (position + velocity) + noise, -1, 1) on the double integrator.

    `reward="imitation"` rewards imitating it. Source: Cao and Borrelli, SCPO (arXiv 2512.13788),
    section VI-B.

    Args:
        env: Safe/DoubleIntegrator-v0, wrapped or not, its native vector form, or its id.
        noise_std: standard deviation of the noise, drawn only with `deterministic=False`.
        seed: of the noise.

    Raises:
        TypeError: if `env` is not an environment.
        ValueError: if it is another environment or `noise_std` is negative.
    """

    def __init__(
        self, env: Env, noise_std: float = EXPERT_NOISE_STD, seed: int | None = None
    ) -> None:
        controlled_env(type(self).__name__, env, DOUBLE_INTEGRATORS)
        check_not_negative(noise_std=noise_std)
        self.noise_std = noise_std
        self._rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: np.ndarray,
        state: PredictState = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, PredictState]:
        """Return the actions, (1,) or (N, 1), and `state` unchanged."""
        rows = observation_rows(type(self).__name__, observation, 2)
        noise: np.ndarray | float = 0.0
        if not deterministic:
            noise = self.noise_std * self._rng.standard_normal(len(rows.values))
        return rows.actions(malicious_expert(rows.values, noise)[:, None]), state
