"""The signature of a policy file: its input size, and names, types and widths of its outputs.

The process in the sandbox loads this file too, so it imports the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PolicyOutput:
    """One output of a policy, for one observation."""

    name: str  # action, logits, mean or log_std
    width: int  # numbers per observation
    whole: bool  # integers rather than floats

    @property
    def may_be_flat(self) -> bool:
        """Whether the answers may have shape (batch,) instead of (batch, 1)."""
        return self.whole and self.width == 1


@dataclass(frozen=True)
class PolicySignature:
    """The input size and the outputs of a policy file.

    `action` is the action itself: for Box actions the flattened action, which the caller clips to
    the space; for Discrete and MultiDiscrete actions numbers 0, ..., n - 1, to which the caller
    adds the space's `start`. `logits`, or `mean` and `log_std`, describe the distribution of the
    actions.
    """

    observation_size: int  # gymnasium.spaces.flatdim of the observations
    outputs: tuple[PolicyOutput, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return tuple(output.name for output in self.outputs)

    @property
    def has_action(self) -> bool:
        """Whether the file outputs actions."""
        return "action" in self.names

    @property
    def has_distribution(self) -> bool:
        """Whether the file outputs a distribution: logits, or mean and log_std."""
        return "logits" in self.names or "mean" in self.names
