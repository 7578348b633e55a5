"""Measures during a training why it goes as it goes, without changing it.

    from baselines.diagnostics.diagnostics_callback import DiagnosticsCallback

    agent.learn(300_000, callback=DiagnosticsCallback("runs/mine"))

Works with the agents of this project and with Stable-Baselines3's PPO and A2C. At the end of a
rollout, before the agent learns from it, gradients, noise and ranks are measured on 512 of its
steps; now and then also the Hessian's largest eigenvalues, and at the beginning, the middle and the
end a landscape. Parameters, optimizer and random numbers stay as they are, bit for bit.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from agents.flat_parameters import flat_values
from baselines.diagnostics.agent_measures import (
    actor_of,
    curvature_measures,
    gradient_measures,
    landscape,
    rank_measures,
)
from baselines.diagnostics.landscapes import path_directions, surface
from baselines.diagnostics.measured_files import STEPS, MeasuredFiles, moment_files, read_moment
from baselines.diagnostics.surrogate_batch import (
    SurrogateBatch,
    check_measurable,
    surrogate_batch,
)
from safe_envs.contract.argument_checks import check_count, check_whole

ROUND_THE_PATH = 1.2  # how far the plane of the path goes, in multiples of the path


class DiagnosticsCallback(BaseCallback):
    """Writes the folder diagnostics, see `baselines.diagnostics.measured_files`.

    Args:
        folder: of the run, for the folder diagnostics. What a finished training left there is
            replaced; a training that goes on (`reset_num_timesteps=False`) continues it.
        rows: measurements over the training, at most one per rollout.
        moments: of the Hessian's eigenvalues, with the parameters.
        landscapes: at the beginning, at the end and between, so at least two; 0 for none.
        points: of a landscape along each direction.
        only_warn: warn instead of raising if the agent cannot be measured.
        verbose: 1 prints at the end how long the measurements took.

    Raises:
        ValueError: for a number out of range.
        TypeError: at the start of training, for an agent with a memory or with a replay buffer.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        rows: int = 60,
        moments: int = 6,
        landscapes: int = 3,
        points: int = 25,
        only_warn: bool = False,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        check_count(rows=rows, moments=moments, points=points)
        check_whole("landscapes", landscapes, low=0)
        if landscapes == 1:
            raise ValueError("landscapes is 1; pass 0 for none, or at least 2 to see a change")
        self.folder = Path(folder)
        self.rows, self.moments, self.landscapes, self.points = rows, moments, landscapes, points
        self.only_warn = only_warn
        self.seconds = 0.0  # CPU time of all measurements
        self._files: MeasuredFiles | None = None
        self._last: tuple[SurrogateBatch, list[torch.nn.Parameter]] | None = None

    def _on_training_start(self) -> None:
        self._files = self._last = None
        try:
            check_measurable(self.model)
        except TypeError as error:
            if not self.only_warn:
                raise
            warnings.warn(f"there will be no diagnostics: {error}", stacklevel=2)
            return
        self._files = MeasuredFiles(self.folder, self.num_timesteps)
        self.seconds, self._started = 0.0, time.process_time()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self._files is not None and self._is_due(self.rows):
            with self._untouched():
                self._measure()

    def _on_training_end(self) -> None:
        if self._files is None:
            return
        with self._untouched():
            self._draw_path()
        if self.verbose:
            share = self.seconds / max(time.process_time() - self._started, 1e-9)
            print(f"diagnostics: {self.seconds:.1f} CPU seconds, {share:.1%} of the training")

    def _is_due(self, count: int) -> bool:
        """Return whether one of `count` measurements falls into this rollout."""
        total = max(self.model._total_timesteps, 1)
        rollout = self.model.n_steps * self.model.n_envs  # type: ignore[attr-defined]
        now, before = self.num_timesteps, self.num_timesteps - rollout
        if before <= 0 or now >= total:
            return True
        return math.floor(now / total * count) > math.floor(before / total * count)

    def _measure(self) -> None:
        began = time.process_time()
        assert self._files is not None
        assert isinstance(self.model, OnPolicyAlgorithm)
        batch = surrogate_batch(self.model)
        actor = actor_of(self.model.policy, batch)
        parameters = [one for _, one in actor]
        numbers = {STEPS: float(self.num_timesteps), "batch/steps": float(batch.total)}
        numbers |= gradient_measures(batch, actor) | rank_measures(batch)
        arrays = {}
        if self._is_due(self.moments):
            found, pairs = curvature_measures(batch, parameters, self.model.policy.optimizer)
            numbers |= found
            arrays = {
                "parameters": flat_values(parameters).cpu().numpy(),
                "eigenvalues": pairs.values,
            }
        if self.landscapes and self._is_due(self.landscapes - 1):
            arrays |= landscape(batch, parameters, self.points).arrays()
        if arrays:
            self._files.moment(self.num_timesteps, arrays)
        self._last = batch, parameters
        spent = time.process_time() - began
        self.seconds += spent
        self._files.add({**numbers, "time/diagnostics": spent})

    def _draw_path(self) -> None:
        """Write the losses on the plane in which the training moved most."""
        if self._last is None or self._files is None:
            return
        began = time.process_time()
        batch, parameters = self._last
        moments = [read_moment(file) for file in moment_files(self.folder)]
        size = sum(one.numel() for one in parameters)
        path = [one["parameters"] for one in moments if len(one.get("parameters", ())) == size]
        path.append(flat_values(parameters).cpu().numpy())
        directions, places = path_directions(np.array(path, dtype=np.float64))
        reach = ROUND_THE_PATH * np.maximum(np.abs(places).max(axis=0), 1e-12)
        first, second = (torch.from_numpy(one) for one in directions)
        plane = (first, second, self.points, (reach[0], reach[1]))
        found = surface(batch.loss_values, parameters, *plane)
        self._files.path(
            {
                "names": np.array(batch.names),
                "alphas": found.alphas,
                "betas": found.betas,
                "values": found.values,
                "places": places,
            }
        )
        self.seconds += time.process_time() - began

    @contextmanager
    def _untouched(self) -> Iterator[None]:
        """Leave random numbers and the networks' mode as they are."""
        policy = self.model.policy
        was_training = policy.training
        with torch.random.fork_rng(devices=[]):
            try:
                policy.set_training_mode(False)
                yield
            finally:
                policy.set_training_mode(was_training)
