"""How an agent is made from its file: with the settings there, and with changes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from agents.agent_class import class_of_file, own_argument_names, root_of
from agents.changed_settings import (
    argument_value,
    change,
    check_names,
    same_value,
)
from agents.cost_limits import schedule_of
from agents.saved_agent import SavedAgent
from agents.saving.allocation_limit import AllocationLimit
from agents.saving.archive import SavedAgentError
from agents.saving.data_values import Code
from agents.shared_arguments import check_memory, check_shared, checked_device
from agents.training_env import (
    AnyEnv,
    advantage_discount,
    as_vec_env,
    declared_limits_of,
    lowest_discount,
)
from safe_envs.contract.argument_checks import closest_hint

if TYPE_CHECKING:
    from agents.adjustable_agent import AdjustableAgent

SPACES = ("observation_space", "action_space")
# Attributes of Stable-Baselines3 that scripts replace by habit, and that are never in a file.
HABITS = ("lr_schedule", "clip_range", "clip_range_vf", "action_noise", "buffer_size")
OF_THE_POLICY = ("head", "normalize_observation")  # that a file also holds as the policy's
MOST_COPIES = 4096  # of an environment, that are made because a file says so
BROKEN_SETTINGS = (
    *(TypeError, ValueError, ArithmeticError, LookupError, RuntimeError, MemoryError),
    *(AttributeError, AssertionError),  # of Stable-Baselines3's policies
)


def load_agent(
    asked: type[AdjustableAgent],
    path: Any,
    env: AnyEnv | None = None,
    device: torch.device | str = "cpu",
    custom_objects: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
    code_as_default: bool = False,
) -> AdjustableAgent:
    """Return the agent in a file.

    Args:
        asked: the class whose `load` was called.
        path: of the file.
        env: as in the constructor; None makes an agent that can predict.
        device: of the policy.
        custom_objects: replacements of values in the file, by the argument's name.
        given: further arguments, which are changed after loading.
        code_as_default: take the class's defaults for arguments that were code.

    Raises:
        SavedAgentError: if the file cannot be used.
        TypeError: for an unknown argument.
        ValueError: for an argument that cannot change.
    """
    device = checked_device(device)
    saved = SavedAgent(path)
    kind = class_of_file(saved.name, saved.module, asked, saved.shown)
    changes = dict(given or {})
    check_names(kind, [name for name in changes if name not in own_argument_names(kind)])
    replaced = _replaced(kind, custom_objects or {})
    for name in ("cost_limit", *OF_THE_POLICY):
        if name in replaced:
            changes.setdefault(name, replaced.pop(name))
    if code_as_default:
        found = saved.part("arguments", dict)
        defaults = {n: v for n, v in kind.arguments().items() if isinstance(found.get(n), Code)}
        replaced = {**defaults, **replaced}
    venv = _environments(kind, saved, env, changes)
    try:
        agent = _made(kind, saved, replaced, changes, venv, device)
    except SavedAgentError:
        raise
    except BROKEN_SETTINGS as error:
        if replaced:
            raise  # the values that were passed may be at fault
        raise SavedAgentError(f"the settings in {saved.shown} cannot be used: {error}") from error
    saved.restore(agent)
    agent.is_made = True
    if venv is not None:
        if "cost_limit" in changes:
            agent.declared_limits = declared_limits_of(venv)
        agent.set_env(venv)
    change(agent, changes)
    return agent


def any_agent(path: Any, kind: type[AdjustableAgent]) -> AdjustableAgent:
    """Return the agent in a file for its policy: of any class, without what only learning needs."""
    return load_agent(root_of(kind), path, code_as_default=True)


def _environments(
    kind: type[AdjustableAgent], saved: SavedAgent, env: AnyEnv | None, changes: dict[str, Any]
) -> VecEnv | None:
    """Return the environments; `n_envs` applies if they are made from an id, and is removed."""
    if env is None:
        return None
    n_envs = saved.number_of_envs()
    if isinstance(env, str):
        if n_envs > MOST_COPIES and "n_envs" not in changes:
            raise SavedAgentError(
                f"{saved.shown} asks for {n_envs:,} copies of {env}; pass n_envs to load if you "
                "want as many"
            )
        n_envs = changes.pop("n_envs", n_envs)
    prepared = as_vec_env(env, n_envs, saved.constraints())
    venv: VecEnv = kind._wrap_env(prepared)
    if changes.get("n_envs") == venv.num_envs:
        del changes["n_envs"]
    return venv


def _replaced(kind: type[AdjustableAgent], custom_objects: Mapping[str, Any]) -> dict[str, Any]:
    """Return the replacements of what is in a file.

    Raises:
        TypeError: for a name that stands for nothing there.
    """
    own = [*kind.arguments(), *own_argument_names(kind), "policy_class", *SPACES]
    for name in custom_objects:
        if name not in own and name not in HABITS:
            raise TypeError(
                f"custom_objects has the unknown name {name!r}; {closest_hint(name, own)}the known "
                f"ones are {', '.join(sorted(own))}"
            )
    return {name: value for name, value in custom_objects.items() if name in own}


def _made(
    kind: type[AdjustableAgent],
    saved: SavedAgent,
    replaced: Mapping[str, Any],
    changes: dict[str, Any],
    venv: VecEnv | None,
    device: torch.device,
) -> AdjustableAgent:
    """Return a new agent with the settings of a file."""
    arguments = _arguments(kind, saved, replaced, changes)
    schedule = schedule_of(arguments.pop("cost_limit", None))
    # Seeding would change random numbers of the program, and the constructor would print.
    later: dict[str, Any] = {
        name: arguments.pop(name) for name in ("seed", "verbose") if name in arguments
    }
    check_shared(later)
    taken = inspect.signature(kind).parameters
    takes_all = any(one.kind is one.VAR_KEYWORD for one in taken.values())
    passed = {name: v for name, v in arguments.items() if takes_all or name in taken}
    policy = _policy_class(kind, saved, replaced, changes)
    make: Any = kind  # its constructor is that of a subclass
    agent: AdjustableAgent = make(policy, None, **passed, device=device, _init_setup_model=False)
    own = own_argument_names(kind)
    for name, value in arguments.items():  # that a class of one's own sets to something else
        if name not in (*own, "gamma", "cost_gamma") and not same_value(
            argument_value(agent, name), value
        ):
            changes.setdefault(name, value)
    vars(agent).update(
        {name: _space(name, saved, replaced) for name in SPACES},
        constraints=saved.constraints(),
        reward_discount=saved.discount(),
        n_envs=saved.number_of_envs(),
        declared_limits=saved.part("declared_limits", list, type(None)),
        observations_normalized=saved.part("observations_normalized", bool),
        limit_schedule=schedule,
    )
    check_memory(agent.n_steps * agent.n_envs, agent.observation_space, 1 + len(agent.constraints))
    lowest = lowest_discount(agent.constraints)
    agent.gamma = advantage_discount(arguments.get("gamma"), agent.reward_discount)
    agent.cost_gamma = advantage_discount(arguments.get("cost_gamma"), lowest)
    agent.policy_kwargs = _policy_kwargs(agent, saved, replaced, venv)
    agent._update = kind.recipe.build(agent.settings, len(agent.constraints))
    sizes = [one.numel() for one in saved.part("parameters", dict).values() if torch.is_tensor(one)]
    with torch.random.fork_rng(devices=[]), AllocationLimit(sum(sizes), len(sizes)):
        agent._setup_model()
    vars(agent).update(later)
    return agent


def _arguments(
    kind: type[AdjustableAgent],
    saved: SavedAgent,
    replaced: Mapping[str, Any],
    changes: dict[str, Any],
) -> dict[str, Any]:
    """Return the constructor's arguments; what was code in the file is taken from `changes`."""
    own = own_argument_names(kind)
    found = saved.part("arguments", dict)
    for name in found:
        if name not in own and name not in kind.arguments():
            raise SavedAgentError(
                f"{saved.shown} holds the argument {name[:80]!r}, which {kind.__name__} does not "
                "have"
            )
    arguments = {**found, **{name: v for name, v in replaced.items() if name in found}}
    for name, value in arguments.items():
        if not isinstance(value, Code):
            continue
        if name not in changes:
            raise SavedAgentError(
                f"{name} was {value.what}, which a file cannot hold; pass it to load: "
                f"{kind.__name__}.load(path, {name}=...)"
            )
        arguments[name] = None if name == "cost_limit" else changes.pop(name)
    return {**arguments, **{name: changes.pop(name) for name in own if name in changes}}


def _policy_class(
    kind: type[AdjustableAgent],
    saved: SavedAgent,
    replaced: Mapping[str, Any],
    changes: dict[str, Any],
) -> Any:
    stored = saved.part("policy", str, type, Code)
    if "policy_class" in replaced:
        return replaced["policy_class"]
    if isinstance(stored, Code):
        if "policy" in changes:
            return changes.pop("policy")
        raise SavedAgentError(
            f"the policy was {stored.what}, which a file cannot hold; pass it to load: "
            f"{kind.__name__}.load(path, policy=...)"
        )
    if isinstance(stored, type) and not issubclass(stored, BasePolicy):
        raise SavedAgentError(f"the policy in {saved.shown} is the class {stored.__name__}")
    return stored


def _space(name: str, saved: SavedAgent, replaced: Mapping[str, Any]) -> Any:
    space = replaced.get(name, saved.part(name, gym.Space, Code))
    if isinstance(space, Code):
        raise SavedAgentError(
            f"the {name} was {space.what}, which a file cannot hold; pass it to load: "
            f"custom_objects={{'{name}': env.{name}}}"
        )
    return space


def _policy_kwargs(
    agent: AdjustableAgent, saved: SavedAgent, replaced: Mapping[str, Any], venv: VecEnv | None
) -> dict[str, Any]:
    kwargs = {**saved.part("policy_kwargs", dict), **(replaced.get("policy_kwargs") or {})}
    for name, value in kwargs.items():
        if isinstance(value, Code):
            kwargs[name] = agent.policy_argument(name, value.what, venv)
    return kwargs
