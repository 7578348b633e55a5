"""Makes an environment and takes one step before anything is trained on it."""

from __future__ import annotations

import warnings
from contextlib import closing
from typing import Any

from baselines.names.environments import EnvironmentName
from baselines.names.own_code import own_line
from safe_envs.contract.argument_checks import is_number
from safe_envs.contract.constrained_wrapper import ConstrainedWrapper
from safe_envs.contract.cost_signal import ConstraintSpec


def check_first_step(name: EnvironmentName, cost_limit: Any) -> None:
    """Check that an episode starts, and that its first step keeps the cost contract.

    Args:
        name: of the environment.
        cost_limit: of the agent; environments that declare no constraints report the costs for it.

    Raises:
        ValueError: if the environment cannot be made, reset or stepped, or its first step has no
            cost, a negative one, or numbers that are not finite.
    """
    with closing(name.make()) as env:
        undeclared = None if env.has_wrapper_attr("constraints") else _constraints(cost_limit)
        if undeclared == ():
            return  # the agent says that there is nothing to bound
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # training shows them
                checked = ConstrainedWrapper(env, undeclared)
                checked.reset(seed=0)
                checked.action_space.seed(0)
                checked.step(checked.action_space.sample())
        except (Exception, SystemExit) as error:
            where = own_line(error)
            raise ValueError(
                f"the first step of {name} failed{f' at {where}' if where else ''}: "
                f"{type(error).__name__}: {error}"
            ) from error


def _constraints(cost_limit: Any) -> tuple[ConstraintSpec, ...]:
    limits = [cost_limit] if is_number(cost_limit) else list(cost_limit or ())
    return tuple(ConstraintSpec(f"cost_{i}", float(limit)) for i, limit in enumerate(limits))
