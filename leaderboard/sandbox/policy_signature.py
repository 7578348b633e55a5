"""What a policy file answers: the names, kinds and widths of its outputs.

The sandbox's own process loads this, so it imports the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PolicyOutput:
    """One output of a policy, as it is asked for one observation."""

    name: str  # action, logits, mean or log_std
    width: int  # numbers per observation
    whole: bool  # integers rather than floats


@dataclass(frozen=True)
class PolicySignature:
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
