"""What a row's policies have in common with earlier ones, and what that means for its rank."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Origin(str, Enum):
    """Whose policy the original is."""

    OWN = "own"  # of the same submission
    RESUBMISSION = "resubmission"  # of another submission of the same account, in the same season
    EARLIER_SEASON = "earlier season"  # of the same account; entering again is welcome
    COPY = "copy"  # of another account


@dataclass(frozen=True)
class NearCopy:
    """A policy that acts like an earlier one."""

    position: int  # of the policy in its submission
    submission: int  # number of the original's
    original: int  # position of the original there
    distance: float  # `leaderboard.scores.behavior`; 0 if both files compute the same
    origin: Origin

    @property
    def counts(self) -> bool:
        """Whether it costs its row the rank."""
        return self.origin is not Origin.EARLIER_SEASON


@dataclass(frozen=True)
class CopyFindings:
    """The outcome of the comparison of a submission's policies with all earlier ones."""

    policies: int
    near_copies: tuple[NearCopy, ...] = ()  # by position, the earliest original first

    @property
    def copied(self) -> int:
        """Number of policies that are no trainings of their own."""
        return len({found.position for found in self.near_copies if found.counts})

    @property
    def distinct(self) -> int:
        """Number of policies that are trainings of their own."""
        return self.policies - self.copied

    def originals(self, origin: Origin) -> list[int]:
        """Return the numbers of the submissions with originals of this kind."""
        return sorted({found.submission for found in self.near_copies if found.origin is origin})
