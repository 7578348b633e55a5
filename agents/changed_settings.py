"""Changes of an agent's arguments after it was made: each takes effect, or an error says why not.

`agent.clip_range = 0.1` and `load(path, clip_range=0.1)` lead here. The values are checked as in
the constructor, all of them before any is set. The agent's parts are then made anew from the
settings and take over what the old ones remembered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agents.agent_settings import at_start_only
from agents.cost_limits import checked_schedule
from agents.data_objects import FORMS
from agents.shared_arguments import (
    WITHOUT_EFFECT,
    check_memory,
    check_shared,
    checked_device,
    without_no_ops,
)
from agents.training_env import (
    advantage_discount,
    declared_limits_of,
    lowest_discount,
)
from safe_envs.contract.argument_checks import closest_hint
from safe_envs.contract.cost_signal import with_limits

if TYPE_CHECKING:
    from agents.adjustable_agent import AdjustableAgent

Act = Callable[[], None]
NETWORK = "the networks were made for it; make a new agent, and take over weights with warm_start"
REFUSED = {  # arguments that cannot change, and why
    "policy": NETWORK,
    "policy_kwargs": NETWORK,
    "head": "the networks have learned with the actions that it lets through; make a new agent, "
    "and take over weights with warm_start",
    "normalize_observation": "the networks have learned on observations seen the other way; make "
    "a new agent",
    "n_envs": "the agent has environments already; use agent.set_env(id) of an agent made with "
    "env=None, or agent.set_env(agents.make_vec_env(id, n_envs))",
}
START = "it only matters at the start of a training; make a new agent"


def argument_value(agent: AdjustableAgent, name: str) -> Any:
    """Return the value of an argument now; for `cost_limit` the schedule, if there is one."""
    if name in agent.settings:
        return agent.settings[name]
    if name == "cost_limit":
        schedule = agent.limit_schedule
        return agent.cost_limit if schedule is None else schedule.given
    return vars(agent)["_stats_window_size" if name == "stats_window_size" else name]


def policy_name(agent: AdjustableAgent) -> str | type:
    """Return the name of the agent's policy class among its aliases, else the class."""
    names = (n for n, kind in agent.policy_aliases.items() if kind is agent.policy_class)
    return next(names, agent.policy_class)


def change(agent: AdjustableAgent, changes: Mapping[str, Any]) -> None:
    """Change arguments of an agent.

    Args:
        agent: changed in place; not at all if an error is raised.
        changes: new values by argument. None means what it means in the constructor.

    Raises:
        TypeError: for an unknown name; the error lists the known ones and the closest.
        ValueError: for a value out of range, or an argument that cannot change any more.
    """
    changes = without_no_ops(changes)
    check_names(type(agent), changes)
    changes = {n: v for n, v in changes.items() if not _is_unchanged(agent, n, v)}
    for name, value in changes.items():
        _check_may_change(agent, name, value)
    check_shared(changes)
    own = {name: value for name, value in changes.items() if name in agent.settings}
    settings = agent.recipe.settings({**agent.settings, **own}, agent.arguments())
    prepared = [_prepared(agent, n, v) for n, v in changes.items() if n not in agent.settings]
    if own:
        agent.renew_parts(settings)
    for act in prepared:
        act()


def check_names(kind: type[AdjustableAgent], names: Iterable[str]) -> None:
    """Raise TypeError for a name that is no argument; it lists the known ones and the closest."""
    known = sorted({*kind.arguments(), "policy"})
    for name in names:
        if name not in known and name not in WITHOUT_EFFECT:
            raise TypeError(
                f"unknown argument {name!r}; {closest_hint(name, known)}{kind.__name__} has "
                f"{', '.join(known)}"
            )


def same_value(one: Any, other: Any) -> bool:
    """Return whether two values of an argument are equal; arrays by their entries."""
    if one is other:
        return True
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_value(one[n], other[n]) for n in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same_value, one, other))
    if isinstance(one, np.ndarray | torch.Tensor) or isinstance(other, np.ndarray | torch.Tensor):
        return bool(np.array_equal(np.asarray(one), np.asarray(other)))
    if type(one) is not type(other):
        return False
    form = next((form for form in FORMS.values() if form.kind is type(one)), None)
    if form is not None:
        return all(same_value(getattr(one, part), getattr(other, part)) for part in form.parts)
    return bool(one == other)


def _is_unchanged(agent: AdjustableAgent, name: str, value: Any) -> bool:
    """Return whether a value is the one in force, so that nothing has to change."""
    if name == "policy":
        return value is None or value in (agent.policy_class, policy_name(agent))
    if name == "policy_kwargs":
        kept = agent.policy_kwargs
        return value is None or all(n in kept and same_value(kept[n], v) for n, v in value.items())
    if name == "device":
        return bool(checked_device(value) == agent.device)
    if name in ("seed", "cost_limit"):
        return False  # seeding anew acts, and limits are measured anew
    return same_value(value, argument_value(agent, name))


def _check_may_change(agent: AdjustableAgent, name: str, value: Any) -> None:
    reason = REFUSED.get(name)
    if name == "n_envs" and agent.env is None:
        reason = None
    if name in at_start_only(agent.recipe) and agent._n_updates > 0:
        reason = START
    if name in agent.fixed_arguments:
        reason = agent.fixed_arguments[name]
    if reason is not None:
        now = policy_name(agent) if name == "policy" else argument_value(agent, name)
        raise ValueError(f"{name} is {now!r} and cannot become {value!r}: {reason}")


def _prepared(agent: AdjustableAgent, name: str, value: Any) -> Act:
    """Return what sets a shared argument; everything that can fail fails before."""
    if name in PREPARING:
        return PREPARING[name](agent, value)
    return _setting(agent, name, value)


def _setting(agent: AdjustableAgent, name: str, value: Any, after: Act | None = None) -> Act:
    plain = value.item() if isinstance(value, np.generic) else value

    def act() -> None:
        vars(agent)[name] = plain
        if after is not None:
            after()

    return act


def _learning_rate(agent: AdjustableAgent, value: Any) -> Act:
    rate = agent.arguments()["learning_rate"] if value is None else value
    return _setting(agent, "learning_rate", rate, agent._setup_lr_schedule)


def _gamma(agent: AdjustableAgent, value: Any) -> Act:
    return _setting(agent, "gamma", advantage_discount(value, agent.reward_discount))


def _cost_gamma(agent: AdjustableAgent, value: Any) -> Act:
    discount = advantage_discount(value, lowest_discount(agent.constraints))
    return _setting(agent, "cost_gamma", discount)


def _seed(agent: AdjustableAgent, value: Any) -> Act:
    return _setting(agent, "seed", value, lambda: agent.set_random_seed(value))


def _n_steps(agent: AdjustableAgent, value: Any) -> Act:
    rows = int(value) * agent.n_envs
    check_memory(rows, agent.observation_space, 1 + len(agent.constraints))
    return _setting(agent, "n_steps", int(value))


def _stats_window_size(agent: AdjustableAgent, value: Any) -> Act:
    def resize() -> None:
        for name in ("ep_info_buffer", "ep_success_buffer"):
            if vars(agent)[name] is not None:
                vars(agent)[name] = deque(vars(agent)[name], maxlen=int(value))

    return _setting(agent, "_stats_window_size", int(value), resize)


def _device(agent: AdjustableAgent, value: Any) -> Act:
    device = checked_device(value)

    def move() -> None:
        agent.policy.to(device)
        optimizer = agent.policy.optimizer
        optimizer.load_state_dict(optimizer.state_dict())  # moves its memory to the parameters

    return _setting(agent, "device", device, move)


def _limits(agent: AdjustableAgent, value: Any) -> Act:
    schedule = checked_schedule(agent, value)
    limits: Any = value
    if value is None:
        limits = declared_limits_of(agent.env) or agent.declared_limits
        if limits is None:
            raise ValueError(
                "cost_limit is None, which means the limits that the environment declares, and it "
                "declares none; pass a number, or one per constraint"
            )
    if schedule is not None:
        limits = schedule.at(agent._current_progress_remaining).tolist()
    constraints = with_limits(agent.constraints, limits, "cost_limit")

    def act() -> None:
        agent.limit_schedule = schedule
        agent.constraints = constraints
        agent.episodes.measure_again()
        agent.parts_are_ready()

    return act


PREPARING: Mapping[str, Callable[[Any, Any], Act]] = {
    "cost_limit": _limits,
    "learning_rate": _learning_rate,
    "gamma": _gamma,
    "cost_gamma": _cost_gamma,
    "seed": _seed,
    "n_steps": _n_steps,
    "stats_window_size": _stats_window_size,
    "device": _device,
}
