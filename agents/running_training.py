"""A training between two rollouts as data, from which another process continues bit for bit.

The file of an agent holds what it has learned. A training in progress is more: environments in the
middle of an episode, their last observations, the episodes counted so far, what the log still has
to write. All of it is data here (`agents.saving.object_state`), and reading it runs nothing.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

from agents.batch import Measurement
from agents.episode_sampling import own_random_numbers
from agents.saved_agent import SavedAgent, contents_of
from agents.saving.archive import Contents, SavedAgentError, read_archive, write_archive
from agents.saving.data_values import ValueReader, ValueWriter
from agents.saving.learned_state import restore_random_states
from agents.saving.object_state import REFERENCE, ObjectState, put_back, taken
from agents.saving.object_walks import NotRestorableError
from agents.training_warnings import Seen
from safe_envs.contract.episode_totals import Episode, EpisodeTotals

if TYPE_CHECKING:
    from agents.constrained_agent import ConstrainedAgent

AGENT, TRAINING = "agent.zip", "training.zip"  # files of a snapshot
FORMAT, VERSION = "running training of safe-envs", 1
LARGEST = 256 * 2**20  # of the document [bytes]
WARM_UP = 8  # steps after which environments hold all that they make on demand
TRIAL = 60  # steps that a restored environment is compared with its original
RESETS = 4  # of the original before that; its copy has had one
AFTER_RESET = 10  # more steps, after a reset
MADE_ANEW = (
    Episode,
    EpisodeTotals,
    Measurement,
    Seen,
)  # objects that a new training does not hold yet


class Snapshot(NamedTuple):
    """A training between two rollouts, in memory."""

    agent: Contents
    running: ObjectState


def snapshot(agent: ConstrainedAgent, with_environments: bool = True) -> Snapshot:
    """Return the state of a training; valid between an update and the next step.

    Args:
        agent: in training.
        with_environments: False if they cannot be restored; the episodes in progress then end.
    """
    document, tensors = contents_of(agent)
    copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    return Snapshot(Contents(document, copies), taken(_running_parts(agent, with_environments)))


def write_snapshot(folder: Path, taken_one: Snapshot) -> None:
    """Write the files of a snapshot into a folder."""
    tensors: dict[str, torch.Tensor] = {}
    state = ValueWriter(tensors).write(taken_one.running._asdict(), "state")
    document = {"format": FORMAT, "version": VERSION, "state": state}
    write_archive(folder / AGENT, taken_one.agent)
    write_archive(folder / TRAINING, Contents(document, tensors), LARGEST)


def resume(agent: ConstrainedAgent, folder: Path, with_environments: bool = True) -> None:
    """Continue a training from the files of a snapshot; `learn` then takes the remaining steps.

    Args:
        agent: new, made with the arguments of the one in the snapshot, with a logger.
        folder: of the files.
        with_environments: False starts new episodes, from other seeds than those at the beginning.

    Raises:
        SavedAgentError: if a file is broken or belongs to another agent.
        NotRestorableError: if the environments are not made as those of the snapshot were.
    """
    saved = SavedAgent(folder / AGENT)
    contents = read_archive(folder / TRAINING, LARGEST)
    if (contents.document.get("format"), contents.document.get("version")) != (FORMAT, VERSION):
        raise SavedAgentError(f"{folder / TRAINING} is not a training that this version can read")
    state = ValueReader(contents.tensors).read(contents.document.get("state"), "state")
    if saved.number_of_envs() != agent.n_envs:
        raise SavedAgentError(
            f"{saved.shown} is of {saved.number_of_envs()} environments, and the agent has "
            f"{agent.n_envs}; make as many"
        )
    saved.restore(agent)
    _keep_backend(agent, saved)
    assert agent.env is not None
    if with_environments:
        warm_up(agent.env)
    else:
        words = [agent.seed or 0, agent.num_timesteps]
        agent.env.seed(int(np.random.SeedSequence(words).generate_state(1)[0]))
    parts = _running_parts(agent, with_environments)
    root = state["nodes"][state["root"][REFERENCE]]
    root["items"] = [pair for pair in root["items"] if pair[0] in parts]
    parts = put_back(parts, ObjectState(state["root"], state["nodes"]), MADE_ANEW)
    _set_running_parts(agent, parts)
    restore_random_states(saved.part("random_states", dict))


def _keep_backend(agent: ConstrainedAgent, saved: SavedAgent) -> None:
    """Compute as before the interruption, whatever "auto" would choose now."""
    before = saved.backend()
    if agent.backend_in_use != before:
        try:
            agent.update_backend = before
        except ValueError as error:
            raise SavedAgentError(f"{saved.shown} cannot go on: {error}") from error


def why_not_restorable(make: Callable[[], VecEnv], seed: int) -> str:
    """Return why environments cannot be restored in the middle of an episode, "" if they can.

    It plays a few steps in one copy, restores its state into another and compares the next steps,
    bit by bit.

    Args:
        make: returns new environments.
        seed: of the trial.
    """
    original, other = make(), make()
    try:
        with own_random_numbers(None, seed):
            return _trial(original, other, seed)
    except Exception as error:  # of someone else's environment
        return f"in a trial, it raised {type(error).__name__}: {error}"
    finally:
        original.close()
        other.close()


def warm_up(venv: VecEnv) -> None:
    """Take some random steps."""
    venv.reset()
    for actions in _random_actions(venv, WARM_UP, 0):
        venv.step(actions)


def _trial(original: VecEnv, other: VecEnv, seed: int) -> str:
    for venv, own in ((original, seed), (other, seed + 1)):
        venv.seed(own)
        warm_up(venv)
    for number in range(RESETS):  # state that only a reset changes
        original.reset()
        for actions in _random_actions(original, 3, 4 + number):
            original.step(actions)
    try:
        state = taken(original)
        seen = _continued(original)
        put_back(other, state)
    except NotRestorableError as error:
        return str(error)
    if _continued(other) != seen:
        return "a restored copy does not continue as the original does"
    return ""


def _continued(venv: VecEnv) -> list[Any]:
    """Return what some more steps bring, and those after a reset, as bytes."""
    random_numbers = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    seen = [venv.step(actions) for actions in _random_actions(venv, TRIAL, 2)]
    first = venv.reset()
    seen += [venv.step(actions) for actions in _random_actions(venv, AFTER_RESET, 3)]
    random.setstate(random_numbers[0])
    np.random.set_state(random_numbers[1])  # noqa: NPY002
    torch.set_rng_state(random_numbers[2])
    costs = [[info.get("cost") for info in infos] for *_, infos in seen]
    return [_as_bytes(first), repr(costs), [_as_bytes(part) for step in seen for part in step[:3]]]


def _random_actions(venv: VecEnv, steps: int, seed: int) -> list[np.ndarray]:
    space = copy.deepcopy(venv.action_space)
    space.seed(seed)
    return [np.stack([space.sample() for _ in range(venv.num_envs)]) for _ in range(steps)]


def _as_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, _as_bytes(part)) for key, part in value.items()]
    return np.asarray(value).tobytes()


def _running_parts(agent: ConstrainedAgent, with_environments: bool) -> dict[str, Any]:
    """Return the parts of a training in progress that are not in the file of the agent."""
    log = agent.logger
    parts = {
        "watch": agent._watch,
        "recent": agent.episodes.recent,
        "ended": agent.ep_info_buffer,
        "successes": agent.ep_success_buffer,
        "log": [log.name_to_value, log.name_to_count, log.name_to_excluded],
        "iterations": agent.iterations,
    }
    if with_environments:
        parts |= {
            "environments": agent.env,
            "observations": agent._last_obs,
            "starts": agent._last_episode_starts,
            "original": agent._last_original_obs,
            "episodes": agent.episodes,
        }
    return parts


def _set_running_parts(agent: ConstrainedAgent, parts: dict[str, Any]) -> None:
    """Give an agent the parts that are not changed in place."""
    agent.ep_info_buffer, agent.ep_success_buffer = parts["ended"], parts["successes"]
    agent.iterations = agent.iterations_before = parts["iterations"]
    agent.episodes.recent = parts["recent"]
    if "observations" in parts:
        agent._last_obs = parts["observations"]
        agent._last_episode_starts = parts["starts"]
        agent._last_original_obs = parts["original"]
