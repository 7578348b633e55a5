"""What a policy file answers: the names, kinds and widths of its outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium import Space, spaces


@dataclass(frozen=True)
class PolicyOutput:
    """One output of a policy, as it is asked for one observation."""

    name: str  # action, logits, mean or log_std
    width: int  # numbers per observation
    whole: bool  # integers rather than floats


@dataclass(frozen=True)
class PolicyForm:
    """The input size and the outputs of a policy file.

    `action` is the action itself: for Box actions the flattened action, to be clipped to the
    space; for Discrete actions the number 0, ..., n - 1 of the action, which the caller adds to the
    space's `start`. `logits`, or `mean` and `log_std`, are what an action is drawn from.
    """

    observation_size: int  # gymnasium.spaces.flatdim of the observations
    outputs: tuple[PolicyOutput, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return tuple(output.name for output in self.outputs)

    @property
    def has_action(self) -> bool:
        """Whether the file gives actions itself."""
        return "action" in self.names

    @property
    def has_distribution(self) -> bool:
        """Whether actions can be drawn: from logits, or from mean and log_std."""
        return "logits" in self.names or "mean" in self.names


def possible_outputs(action_space: Space) -> dict[str, PolicyOutput]:
    """Return the outputs that a policy for this action space may have, by name.

    Raises:
        ValueError: if actions of this space have no such form.
    """
    if isinstance(action_space, spaces.Discrete):
        return {
            "action": PolicyOutput("action", 1, whole=True),
            "logits": PolicyOutput("logits", int(action_space.n), whole=False),
        }
    if isinstance(action_space, spaces.Box) and np.issubdtype(action_space.dtype, np.floating):
        width = int(np.prod(action_space.shape))
        return {name: PolicyOutput(name, width, False) for name in ("action", "mean", "log_std")}
    raise ValueError(
        f"actions are {action_space}; policy files answer Box actions of floats and Discrete "
        "actions; evaluate on an environment with one of them"
    )


def possible_sets(action_space: Space) -> tuple[frozenset[str], ...]:
    """Return the sets of outputs that a policy for this action space may have."""
    drawn = {"logits"} if isinstance(action_space, spaces.Discrete) else {"mean", "log_std"}
    return frozenset({"action"}), frozenset(drawn), frozenset({"action", *drawn})
