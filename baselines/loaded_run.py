"""A finished run from Python: it acts, makes its environment, and plays fresh episodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from agents.episode_sampling import Memory, Predictor
from agents.evaluation import MOST_COPIES
from agents.evaluation_result import EvaluationResult
from baselines.jobs.episodic_job import EVALUATION_EPISODES, evaluation_seed
from baselines.jobs.found_run import FoundRun, find_run
from baselines.jobs.job import Job, Player, PlayerSpaces
from baselines.jobs.settings import make_training_env
from baselines.measures.episode_sampling import sample_episodes
from baselines.names.environments import check_import
from baselines.names.own_agents import check_agent_import
from baselines.observation_checks import batch_size
from safe_envs.contract.argument_checks import check_count, check_whole
from safe_envs.contract.constrained_wrapper import ConstrainedWrapper
from safe_envs.contract.cost_signal import ConstraintSpec


def load_run(
    folder: str | PathLike[str], *, import_env: bool = False, import_agent: bool = False
) -> LoadedRun:
    """Return a finished run: what acts, its environment, its settings and its result.

    The folder may come from someone else: agents are read from JSON and safetensors, and nothing in
    the folder is executed.

    Args:
        folder: that `train` wrote, or the folder of one job of `compare`: of a deep agent, a
            controller or a tabular solver.
        import_env: whether the module or file of an environment of one's own may be imported, which
            runs its code.
        import_agent: whether an agent of one's own may be imported and load its file, which both
            can run code; also for classes of Stable-Baselines3, and for ONNX policies.

    Raises:
        TypeError: if `folder` is no path.
        ValueError: if it is no run, is not finished or is damaged, or if a module would have to be
            imported; the message names the file.
    """
    if not isinstance(folder, str | PathLike):
        raise TypeError(f"folder is {folder!r}; pass the path of a run's folder, as text or a Path")
    found = find_run(Path(folder))
    if found.job is not None:
        check_import(found.folder, found.job.env, import_env)
        check_agent_import(found.folder, found.config, import_agent)
    found = found.finished()
    assert found.job is not None, "its settings were read"
    return LoadedRun(found, found.job)


class LoadedRun:
    """A finished run, made by `load_run`."""

    def __init__(self, found: FoundRun, job: Job) -> None:
        self.folder = found.folder
        self.config = found.config  # config.json: the agent, its settings, the command, versions
        self.result = found.result  # an `EpisodicResult`; of a tabular solver, a `SolverResult`
        self.job = job
        self._player = self.player(job.seed)

    @property
    def agent(self) -> Predictor:
        """What acts: the trained agent, the controller, or the solver's `TabularPolicy`."""
        return self._player.acts

    @property
    def constraints(self) -> tuple[ConstraintSpec, ...]:
        """The m constraints of the run, with the limits that were in force at its end."""
        return self._player.contract.constraints

    @property
    def limits(self) -> np.ndarray:
        """The cost limits, (m,)."""
        return np.array([constraint.limit for constraint in self.constraints])

    def predict(
        self,
        observation: Any,
        state: Memory = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Memory]:
        """Return the actions for raw observations, as the trained agent does, and the memory.

        Bit for bit, because PyTorch computes with one thread here, as in training.

        Args:
            observation: of the environment, or a batch of them, (N, ...); an empty batch gives an
                empty batch of actions.
            state: the memory that the call before returned.
            episode_start: whether an episode starts, (N,).
            deterministic: take the most likely action, or the Gaussian's mean; else draw one from
                PyTorch's random numbers (a tabular policy and a controller have their own).

        Raises:
            ValueError: if the shape is not that of the observation space, or a number is not
                finite, or not in a space of whole numbers.
        """
        if batch_size(self._spaces.observation, observation) == 0:
            space = self._spaces.action
            return np.empty((0, *(space.shape or ())), space.dtype), state
        with one_thread():
            return self.agent.predict(
                observation, state=state, episode_start=episode_start, deterministic=deterministic
            )

    @cached_property
    def _spaces(self) -> PlayerSpaces:
        """What acts may know its spaces; otherwise the environment is made to see them."""
        if self._player.spaces is not None:
            return self._player.spaces
        with closing(self.job.env.make()) as env:
            return PlayerSpaces(env.observation_space, env.action_space)

    def env(self, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Return a new environment as in the run, with its arguments.

        One that declares no constraints gets those of the run, so that its costs are checked.

        Args:
            render_mode: "rgb_array", "human" or another of the environment's; None draws nothing.

        Raises:
            ValueError: if it cannot be made.
        """
        made = self.job.env.make(render_mode=render_mode)
        if made.has_wrapper_attr("constraints") or not self.constraints:
            return made
        return ConstrainedWrapper(made, self.constraints)

    def evaluate(
        self,
        episodes: int = EVALUATION_EPISODES,
        seed: int | None = None,
        deterministic: bool = False,
    ) -> EvaluationResult:
        """Return fresh episodes, the same ones as `python -m baselines evaluate`.

        Args:
            episodes: at least one.
            seed: of the environments and of the policy's draws; None is the run's own, with which
                the episodes of its result are played again.
            deterministic: take the most likely actions. The limits are on the stochastic policy,
                which is what agents train.

        Raises:
            ValueError: for a number out of range.
        """
        check_count(episodes=episodes)
        if seed is None:
            seed = evaluation_seed(self.job.seed)
        check_whole("seed", seed, low=0)
        acts, contract, _ = self.player(seed)
        venv = make_training_env(self.job.env, min(episodes, MOST_COPIES))
        try:
            with one_thread():
                return sample_episodes(acts, venv, contract, episodes, seed, deterministic)
        finally:
            venv.close()

    def player(self, seed: int) -> Player:
        """Return what acts, as new: its own generator, if it has one, starts from the seed."""
        return self.job.player(self.folder, seed)

    def __repr__(self) -> str:
        limits = ", ".join(f"{one.name} <= {one.limit:g}" for one in self.constraints)
        return (
            f"LoadedRun({str(self.folder)!r}: {self.job.agent} on {self.job.env}, "
            f"seed {self.job.seed}; {limits or 'no constraints'})"
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute with one thread, as in training: more of them may round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
