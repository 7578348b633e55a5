"""What the file of an agent says about it, and how an agent is made from it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, get_args

import torch

from agents.agent_class import own_arguments
from agents.agent_settings import PolicyUpdate
from agents.batch import Measurement
from agents.changed_settings import argument_value, policy_name
from agents.exchanged_env import is_normalized
from agents.saving.archive import Contents, SavedAgentError, read_archive, shown, write_archive
from agents.saving.data_values import ValueReader, ValueWriter
from agents.saving.learned_state import (
    check_like,
    checked_tensors,
    fitting_state,
    optimizer_state,
    random_states,
    restore_random_states,
)
from agents.update_kernel.service import Backend
from safe_envs.contract.cost_signal import ConstraintSpec

if TYPE_CHECKING:
    from agents.adjustable_agent import AdjustableAgent

FORMAT, VERSION = "agent of safe-envs", 1
PACKAGES = ("safe-envs", "torch", "stable-baselines3", "gymnasium", "numpy", "safetensors")
COUNTERS = (
    *("num_timesteps", "_n_updates", "_episode_num"),
    *("_total_timesteps", "_num_timesteps_at_start"),
)
NOT_ARGUMENTS = ("device", "policy_kwargs", "n_envs")  # of the machine, or parts of their own
MOST_ENVS = 10**6  # that an agent may have stepped
CODE_ALLOWED = ("policy", "observation_space", "action_space")  # besides single arguments
# What `exclude` may name, and what the file holds instead.
EXCLUDABLE: Mapping[str, Any] = {
    "optimizer": None,
    "random_states": None,
    "tensorboard_log": None,
    "seed": None,
}
NEVER_SAVED = {  # Stable-Baselines3's attributes that `exclude` may name by habit
    *("env", "device", "logger", "_logger", "rollout_buffer", "replay_buffer", "_last_obs"),
    *("_custom_logger", "_vec_normalize_env", "_last_original_obs", "ep_info_buffer"),
}


def save_agent(
    agent: AdjustableAgent,
    path: Any,
    exclude: Iterable[str] | None = None,
    include: Iterable[str] | None = None,
) -> None:
    """Write the file of an agent; see `AdjustableAgent.save`."""
    write_archive(path, contents_of(agent, exclude, include))


def contents_of(
    agent: AdjustableAgent,
    exclude: Iterable[str] | None = None,
    include: Iterable[str] | None = None,
) -> Contents:
    """Return what the file of an agent holds; the tensors are those of the agent, not copies."""
    left_out = _left_out(exclude, include)
    tensors: dict[str, torch.Tensor] = {}
    writer = ValueWriter(tensors)
    kind = type(agent)
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "class": {"name": kind.__qualname__, "module": kind.__module__},
        "packages": {name: _version_of(name) for name in PACKAGES},
    }
    for name, value in _parts_of(agent).items():
        if name in left_out:
            document[name] = EXCLUDABLE[name]
        elif name in ("arguments", "policy_kwargs"):
            kept = {key: EXCLUDABLE[key] if key in left_out else one for key, one in value.items()}
            document[name] = {k: writer.write_or_name(v, f"{name}/{k}") for k, v in kept.items()}
        elif name in CODE_ALLOWED:
            document[name] = writer.write_or_name(value, name)
        else:
            document[name] = writer.write(value, name)
    return Contents(document, tensors)


def _parts_of(agent: AdjustableAgent) -> dict[str, Any]:
    """Return everything that a file holds of an agent, as values."""
    last = agent.episodes.last
    schedule = agent.limit_schedule
    names = [name for name in agent.arguments() if name not in (*NOT_ARGUMENTS, "cost_limit")]
    return {
        "arguments": {
            **{name: argument_value(agent, name) for name in names},
            "cost_limit": None if schedule is None else schedule.given,
            **own_arguments(agent),
        },
        "policy": policy_name(agent),
        "policy_kwargs": agent.policy_kwargs,
        "observation_space": agent.observation_space,
        "action_space": agent.action_space,
        "n_envs": agent.n_envs,
        "constraints": [[one.name, one.limit, one.discount] for one in agent.constraints],
        "declared_limits": agent.declared_limits,
        "reward_discount": agent.reward_discount,
        "observations_normalized": agent.observations_normalized or is_normalized(agent.env),
        "counters": {name: vars(agent)[name] for name in COUNTERS},
        "progress": agent._current_progress_remaining,
        "parameters": agent.policy.state_dict(),
        "optimizer": optimizer_state(agent.policy.optimizer),
        "update": agent._update.state(),
        "backend": agent.backend_in_use,
        "measured": None if last is None else last._asdict(),
        "random_states": random_states(),
    }


class SavedAgent:
    """The content of a file, which names the agent's class and tells what to make it from.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: if there is none.
        SavedAgentError: if it is not the file of an agent, is broken, or newer than this version.
    """

    def __init__(self, path: Any) -> None:
        contents = read_archive(path)
        self.shown = shown(path)
        document = contents.document
        if document.get("format") != FORMAT:
            raise SavedAgentError(f"{self.shown} is not the file of an agent")
        if document.get("version") != VERSION:
            raise SavedAgentError(
                f"{self.shown} was saved by a newer version, in format {document.get('version')!r} "
                f"(this version reads {VERSION}); update safe-envs"
            )
        described = document.get("class")
        named = described if isinstance(described, dict) else {}
        self.name, self.module = str(named.get("name"))[:200], str(named.get("module"))[:200]
        self.packages = document.get("packages")
        reader = ValueReader(contents.tensors)
        self._parts = {
            name: reader.read(data, name)
            for name, data in document.items()
            if name not in ("format", "version", "class", "packages")
        }
        reader.check_all_used()

    def part(self, name: str, *kinds: type) -> Any:
        """Return a part of the document, which has to be of one of these types."""
        if name not in self._parts:
            raise SavedAgentError(f"{self.shown} is broken: it holds no {name!r}")
        value = self._parts[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise SavedAgentError(f"{name!r} in {self.shown} is a {type(value).__name__}")
        return value

    def constraints(self) -> tuple[ConstraintSpec, ...]:
        """Return the constraints with the limits that were in force."""
        try:
            given = self.part("constraints", list)
            if not all(isinstance(name, str) for name, *_ in given):
                raise TypeError("a name is no text")
            return tuple(ConstraintSpec(*one) for one in given)
        except (TypeError, ValueError) as error:
            raise SavedAgentError(
                f"the constraints in {self.shown} are not valid: {error}"
            ) from error

    def number_of_envs(self) -> int:
        """Return how many environments the agent stepped."""
        count = self.part("n_envs", int)
        if not 1 <= count <= MOST_ENVS:
            raise SavedAgentError(f"n_envs in {self.shown} is {count}")
        return int(count)

    def discount(self) -> float:
        """Return the declared discount of the reward."""
        discount = self.part("reward_discount", float, int)
        if not 0 < discount <= 1:
            raise SavedAgentError(f"reward_discount in {self.shown} is {discount}")
        return float(discount)

    def backend(self) -> str:
        """Return what computed the updates; PyTorch before there was a choice."""
        found: str = self.part("backend", str) if "backend" in self._parts else "torch"
        if found not in get_args(Backend):
            raise SavedAgentError(f"the backend in {self.shown} is {found[:80]!r}")
        return found

    def counters(self) -> dict[str, int]:
        """Return how far the training has come."""
        found = self.part("counters", dict)
        if found.keys() != set(COUNTERS) or not all(
            type(one) is int and one >= 0 for one in found.values()
        ):
            raise SavedAgentError(f"the counters in {self.shown} are not whole numbers >= 0")
        return found

    def progress(self) -> float:
        """Return the progress that remained, 1 to 0."""
        progress = self.part("progress", float, int)
        if not 0 <= progress <= 1:
            raise SavedAgentError(
                f"the progress in {self.shown} is {progress}; it has to be between 0 and 1"
            )
        return float(progress)

    def measured(self, num_constraints: int) -> Measurement | None:
        """Return the last measurement of the costs."""
        found = self.part("measured", dict, type(None))
        if found is None:
            return None
        zeros = torch.zeros(num_constraints, dtype=torch.float64).numpy()
        like = Measurement(zeros, zeros, zeros, 0, zeros, zeros)._asdict()
        check_like(found, like, "measured")
        return Measurement(**found)

    def restore(self, agent: AdjustableAgent) -> None:
        """Give an agent what it had learned.

        Raises:
            SavedAgentError: if that does not fit the agent.
        """
        parameters = checked_tensors(self.part("parameters", dict), agent.policy)
        agent.policy.load_state_dict(parameters)
        optimizer = agent.policy.optimizer
        optimizer.load_state_dict(
            fitting_state(optimizer, self.part("optimizer", dict, type(None)))
        )
        self._restore_update(agent._update)
        vars(agent).update(self.counters())
        agent._current_progress_remaining = self.progress()
        agent.episodes.last = last = self.measured(len(agent.constraints))
        follows = agent.limit_schedule is not None
        if last is not None and not follows and (last.limits != agent.cost_limit).any():
            agent.episodes.measure_again()  # the limits were changed after the last update

    def _restore_update(self, update: PolicyUpdate) -> None:
        state = self.part("update", dict)
        check_like(state, update.state(), "update")
        try:
            update.load_state(state)
            log = update.log()
        except (
            *(AttributeError, LookupError, TypeError, ValueError, RuntimeError),
            ArithmeticError,
        ) as error:
            raise SavedAgentError(
                f"what the agent remembers cannot be read from {self.shown}: {error!r}"
            ) from error
        for name, prices in log.items():
            if name in ("weight", "multiplier") and not (prices >= 0).all():
                raise SavedAgentError(
                    f"the {name} in {self.shown} is {prices.tolist()}; prices are >= 0"
                )


def resume_random_numbers(path: Any) -> None:
    """Set all random numbers to where they were when an agent was saved.

    Raises:
        FileNotFoundError, SavedAgentError: as `SavedAgent`; also if they were excluded.
    """
    restore_random_states(SavedAgent(path).part("random_states", dict))


def _left_out(exclude: Iterable[str] | None, include: Iterable[str] | None) -> set[str]:
    """Return what is left out of a file.

    Raises:
        ValueError: for a name that cannot be left out, or one that cannot be included.
    """
    left_out, wanted = set(exclude or ()), set(include or ())
    for name in left_out - NEVER_SAVED - EXCLUDABLE.keys():
        raise ValueError(
            f"exclude has {name!r}; an agent cannot be made without it: pass "
            f"{', '.join(sorted(EXCLUDABLE))}, or leave it out"
        )
    for name in wanted & NEVER_SAVED:
        raise ValueError(f"include has {name!r}; files hold data only, and no {name}")
    return (left_out - wanted) & EXCLUDABLE.keys()


@lru_cache
def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
