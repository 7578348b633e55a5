"""The processor time of a policy, counted over all processes that it runs in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from leaderboard.sandbox.policy import PolicyFailed, SandboxedPolicy

_LEAST = 0.001  # [s]; a limit is positive


class CpuBudget:
    """What a policy may use for all of its episodes, and has used for those that are kept.

    A batch of episodes that the machine broke off is not counted: it is played again, and a policy
    does not pay for that.

    Args:
        allowed: processor time in seconds.
        spent: of it, in earlier processes.
    """

    def __init__(self, allowed: float, spent: float = 0.0) -> None:
        self._allowed = allowed
        self._spent = spent

    @property
    def spent(self) -> float:
        """The processor time used so far."""
        return self._spent

    @property
    def left(self) -> float:
        """The rest, a positive number."""
        return max(self._allowed - self._spent, _LEAST)

    @contextmanager
    def spending(self, policy: SandboxedPolicy) -> Iterator[None]:
        """Count what a running policy uses in the block, unless it raises.

        Raises:
            PolicyFailed: if it uses more than is left.
        """
        before = policy.cpu_seconds
        yield
        spent = self._spent + policy.cpu_seconds - before
        if spent > self._allowed:
            raise PolicyFailed("the policy ran out of CPU time")
        self._spent = spent
