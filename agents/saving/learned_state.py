"""What an agent has learned, as data: its parameters, its optimizer and what its parts remember."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from agents.saving.archive import SavedAgentError
from safe_envs.contract.argument_checks import is_number


def checked_tensors(saved: Any, module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers in a file that fit a module exactly.

    Raises:
        SavedAgentError: if one is missing, unexpected, has another shape or type, or holds NaN; a
            parameter must not be infinite either.
    """
    if not isinstance(saved, dict):
        raise SavedAgentError("the parameters of the policy are missing")
    own = module.state_dict()
    for name in own.keys() ^ saved.keys():
        problem = "is missing in the file" if name in own else "is in the file, but has no place"
        raise SavedAgentError(f"the policy's tensor {name[:80]!r} {problem}")
    trained = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name, tensor in own.items():
        found = saved[name]
        if not isinstance(found, torch.Tensor):
            raise SavedAgentError(f"the policy's tensor {name!r} is a {type(found).__name__}")
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise SavedAgentError(
                f"the policy's tensor {name!r} has shape {tuple(found.shape)} and {found.dtype} in "
                f"the file, but the settings lead to {tuple(tensor.shape)} and {tensor.dtype}"
            )
        sound = torch.isfinite(found) if name in trained else ~torch.isnan(found)
        if not sound.all():
            raise SavedAgentError(
                f"the policy's tensor {name!r} holds NaN or infinite numbers; the training diverged"
            )
    return saved


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the memory of an optimizer and the numbers of its groups."""
    state = optimizer.state_dict()
    return {"memory": state["state"], "groups": [_numbers(one) for one in state["param_groups"]]}


def fitting_state(optimizer: torch.optim.Optimizer, saved: Any) -> dict[str, Any]:
    """Return a state for an optimizer from the memory in a file; None has no memory.

    The settings of its groups stay as they were made, except numbers such as the learning rate.

    Raises:
        SavedAgentError: if the memory does not fit the parameters.
    """
    state = optimizer.state_dict()
    if saved is None:
        return {**state, "state": {}}
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    try:
        memory, groups = dict(saved["memory"]), list(saved["groups"])
        for index, entries in memory.items():
            for name, value in entries.items():
                _check_memory(name, value, parameters[index])
        for group, given in zip(state["param_groups"], groups, strict=True):
            group.update({name: given[name] for name in _numbers(group) if is_number(given[name])})
    except SavedAgentError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise SavedAgentError(f"the optimizer's memory cannot be used: {error!r}") from error
    return {"state": memory, "param_groups": state["param_groups"]}


def check_like(saved: Any, fresh: Any, place: str) -> None:
    """Check that a state in a file has the form of the state of a new agent.

    Where the new one has an array, the saved one has an array of that shape, where it has a number
    a number, and so on, or None. What is None or empty in the new one may be anything without NaN.

    Raises:
        SavedAgentError: if it has not.
    """
    if saved is None:
        return  # not known; where that cannot be, `load_state` says so
    if isinstance(fresh, Mapping) and fresh:
        if not isinstance(saved, Mapping) or saved.keys() != fresh.keys():
            raise SavedAgentError(f"{place} in the file does not hold {', '.join(map(str, fresh))}")
        for name, one in fresh.items():
            check_like(saved[name], one, f"{place}/{name}")
        return
    if isinstance(fresh, np.ndarray | torch.Tensor):
        if (
            not isinstance(saved, type(fresh))
            or saved.shape != fresh.shape
            or saved.dtype != fresh.dtype
        ):
            raise SavedAgentError(
                f"{place} in the file is not an array of {fresh.dtype} and shape "
                f"{tuple(fresh.shape)}"
            )
    elif isinstance(fresh, bool | str):
        if not isinstance(saved, type(fresh)):
            raise SavedAgentError(f"{place} in the file is not a {type(fresh).__name__}")
    elif is_number(fresh) and not is_number(saved):
        raise SavedAgentError(f"{place} in the file is not a number")
    _check_no_nan(saved, place)


def random_states() -> dict[str, Any]:
    """Return the states of the random numbers of Python, NumPy and PyTorch."""
    version, words, gauss = random.getstate()
    return {
        "python": [version, np.array(words, dtype=np.uint32), gauss],
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  Stable-Baselines3 uses it
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Set the random numbers of Python, NumPy and PyTorch to the states in a file.

    Raises:
        SavedAgentError: if they are no such states.
    """
    try:
        version, words, gauss = states["python"]
        random.setstate((version, tuple(words.tolist()), gauss))
        np.random.set_state(states["numpy"])  # noqa: NPY002
        torch.set_rng_state(states["torch"])
        if states["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(states["cuda"])
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise SavedAgentError(f"the random states cannot be used: {error!r}") from error


def _numbers(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if is_number(value)}


def _check_memory(name: Any, value: Any, parameter: torch.Tensor) -> None:
    """Check one entry of the memory of an optimizer for one parameter."""
    if isinstance(value, torch.Tensor):
        if value.shape not in (parameter.shape, torch.Size([])):
            raise SavedAgentError(
                f"the optimizer's {name} has shape {tuple(value.shape)} for a parameter of "
                f"{tuple(parameter.shape)}"
            )
        if not torch.isfinite(value).all():
            raise SavedAgentError(f"the optimizer's {name} holds NaN or infinite numbers")
    elif isinstance(value, list):
        _check_no_nan(value, f"the optimizer's {name}")
    elif value is not None and not isinstance(value, bool) and not is_number(value):
        raise SavedAgentError(f"the optimizer's {name} is a {type(value).__name__}")


def _check_no_nan(saved: Any, place: str) -> None:
    if isinstance(saved, Mapping):
        for name, one in saved.items():
            _check_no_nan(one, f"{place}/{name}")
    elif isinstance(saved, list | tuple):
        for one in saved:
            _check_no_nan(one, place)
    elif isinstance(saved, np.ndarray | torch.Tensor | float) and bool(
        np.isnan(np.asarray(saved, dtype=np.float64)).any()
    ):
        raise SavedAgentError(f"{place} in the file holds NaN")
