"""Agents of one's own: a class in a module or a file.

A subclass of `agents.ConstrainedAgent` runs as the named agents do. Any other class needs the face
of Stable-Baselines3's algorithms:

    agent = Class("MlpPolicy", env, seed=0, **settings)
    agent.learn(total_timesteps, callback=callback)
    agent.predict(observation, state, episode_start, deterministic)
    agent.save(path)
    agent = Class.load(path)
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from agents.named_agents import NAMED_AGENTS
from baselines.names.own_code import OwnCode, is_own_code, own_code_in, parse_own_code

OwnKind = Literal["deep agent", "plain agent"]

FACE = ("learn", "predict", "save", "load")
OURS = "agents"  # the package whose named agents need no module
PASSED_ALWAYS = ("self", "policy", "env")


class OwnAgent(NamedTuple):
    """A class of one's own."""

    code: OwnCode
    cls: type
    kind: OwnKind


def own_agent(code: OwnCode) -> OwnAgent:
    """Import a class and return what kind of agent it makes.

    Raises:
        OwnCodeError: if it cannot be imported, or there is no class of that name.
        ValueError: if it is no agent; the message has what it lacks.
    """
    from agents import ConstrainedAgent  # PyTorch

    cls = code.found("class")
    lacks = [name for name in FACE if name not in dir(cls)]
    if not isinstance(cls, type) or lacks:
        what = f"has no {', '.join(lacks)}" if isinstance(cls, type) else "is not a class"
        raise ValueError(
            f"{code.label} {what}; an agent is a subclass of agents.ConstrainedAgent, or a class "
            "with learn, predict, save and load as in Stable-Baselines3"
        )
    if not issubclass(cls, ConstrainedAgent):
        return OwnAgent(code, cls, "plain agent")
    if "recipe" not in dir(cls):
        raise ValueError(f"{code.label} has no recipe; see docs/add_your_agent.md")
    return OwnAgent(code, cls, "deep agent")


def own_class(code: OwnCode) -> Any:
    """Return the class, for a job that was planned before.

    Raises:
        OwnCodeError: if it cannot be imported, or has changed since.
    """
    cls = own_agent(code).cls
    code.check_unchanged(cls)
    return cls


def agent_code(agent: str) -> OwnCode | None:
    """Return the code of an agent of one's own, with its digest; None for the name of another.

    Raises:
        ValueError: as `own_agent`.
    """
    if not is_own_code(plain_name(agent)):
        return None
    code = parse_own_code(agent)
    return code.identified(own_agent(code).cls)


def plain_name(agent: str) -> str:
    """Return the name that tables show: a file without its folder, ours without the module."""
    if not is_own_code(agent):
        return agent
    code = parse_own_code(agent)
    return code.name if code.place == OURS and code.name in NAMED_AGENTS else code.label


def argument_names(cls: Any) -> Collection[str] | None:
    """Return the names of the constructor's keyword arguments; None if it takes any.

    A constructor with **kwargs passes them on, so that those of its parent count too.
    """
    own: list[str] = []
    takes_any = False
    for one in cls.__mro__[:-1]:
        if "__init__" not in vars(one):
            continue
        parameters = inspect.signature(vars(one)["__init__"]).parameters.values()
        named = (p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        own += [name for name in named if name not in PASSED_ALWAYS and not name.startswith("_")]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if not takes_any:
            break
    return None if takes_any else own


def known_settings(agent: str) -> Collection[str] | None:
    """Return the names of the arguments of an agent of one's own; None if it takes any.

    Raises:
        ValueError: as `own_agent`.
    """
    from agents.agent_class import own_argument_names  # PyTorch

    found = own_agent(parse_own_code(agent))
    if found.kind == "plain agent":
        return argument_names(found.cls)
    cls: Any = found.cls
    return [*cls.arguments(), *own_argument_names(cls)]


def code_config(code: OwnCode | None, kind: str) -> dict[str, Any]:
    """Return the entry of config.json that says which code made an agent, {} for none.

    It holds the kind as well, so that a folder can be read without importing the code.
    """
    return {} if code is None else {"agent_code": {"kind": kind, **code.as_json()}}


def agent_code_in(config: dict[str, Any]) -> OwnCode | None:
    """Return the code of a class in a config.json, None for a named agent; nothing is imported."""
    return own_code_in(config["agent_code"]) if "agent_code" in config else None


def check_agent_import(folder: Path, config: Mapping[str, Any], import_agent: bool) -> None:
    """Raise ValueError if a folder would decide which code is run to load an agent.

    Files of the named agents cannot run code.

    Args:
        folder: of a run, which may come from someone else.
        config: of the run, from its config.json.
        import_agent: whether importing any module or file and loading what it saved is allowed.
    """
    data = config.get("agent_code")
    if data is None or import_agent:
        return
    told = "ONNX Runtime runs the graph in policy.onnx, which another library may have written"
    if "place" in data:
        told = f"{own_code_in(data)} is imported and reads model.zip, both of which can run code"
    raise ValueError(
        f"the agent of {folder} is {config['agent']}; to load it, {told}; pass --import-agent if "
        "you trust them, or import_agent=True in Python"
    )
