"""An environment whose episodes are shown frame by frame, each with a banner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from agents.rollout import checked_signals
from agents.training_env import Contract
from baselines.movies.banner import BannerText, CostSoFar, draw_banner
from baselines.movies.frame_layout import FrameLayout, picture_of
from safe_envs.contract.episode_totals import EpisodeTotals


class FrameError(ValueError):
    """The environment cannot draw a frame here."""


class FilmedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Shows the first frame of an episode when its first step is taken, and then one per step.

    An episode that is only reset, such as the one after the last, is not shown.

    Args:
        env: with render_mode "rgb_array".
        contract: the constraints and the discounts to sum with.
        show: takes each frame with its banner, (height, width, 3) uint8; all have one size.
        episodes: to be played, for the banner.
        held: how often the last frame of an episode is shown again.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        contract: Contract,
        show: Callable[[np.ndarray], None],
        episodes: int,
        held: int = 0,
    ) -> None:
        super().__init__(env)
        self._contract, self._show, self._held = contract, show, held
        self._episodes, self._episode, self._step = episodes, 0, 0
        self._layout: FrameLayout | None = None
        self._first: np.ndarray | None = None  # of an episode whose first step is not yet taken
        self._totals = self._no_totals()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        started = self.env.reset(seed=seed, options=options)
        self._step, self._totals = 0, self._no_totals()
        if self._episode < self._episodes:
            self._first = self._frame()
        return started

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step and show it."""
        if self._first is not None:
            self._episode += 1
            self._show(self._with_banner(self._first))
            self._first = None
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._step += 1
        count = len(self._contract.constraints)
        where = f"step {self._step} of episode {self._episode}"
        signals = checked_signals(np.array([reward]), [info], count, where)
        self._totals.add(signals, np.zeros(1, np.bool_))
        frame = self._with_banner(self._frame())
        for _ in range(1 + self._held * (terminated or truncated)):
            self._show(frame)
        return observation, reward, terminated, truncated, info

    def _no_totals(self) -> EpisodeTotals:
        discounts = [constraint.discount for constraint in self._contract.constraints]
        return EpisodeTotals(1, self._contract.reward_discount, discounts)

    def _frame(self) -> np.ndarray:
        try:
            return picture_of(self.env.render())
        except Exception as error:  # every drawing library fails in its own way
            raise FrameError(f"no frame could be drawn: {type(error).__name__}: {error}") from error

    def _with_banner(self, frame: np.ndarray) -> np.ndarray:
        if self._layout is None:
            self._layout = FrameLayout(frame)
        value, *costs = self._totals.so_far()[0].tolist()
        text = BannerText(
            step=f"episode {self._episode} of {self._episodes}, step {self._step}",
            value_name=discounted("return", self._contract.reward_discount),
            value=value,
            costs=[
                CostSoFar(discounted(one.name, one.discount), cost, one.limit)
                for one, cost in zip(self._contract.constraints, costs, strict=True)
            ],
        )
        return self._layout.canvas(frame, draw_banner(text, self._layout.width))


def discounted(name: str, discount: float) -> str:
    """Return the name of a sum, with its discount if it has one."""
    return name if discount == 1.0 else f"{name} (discount {discount:g})"
