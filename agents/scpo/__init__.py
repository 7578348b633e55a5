"""SCPO: learning that never leaves the measured safe set (arXiv 2512.13788).

`WeightSpaceProjection` wraps any torch optimizer; `agents.SCPO` is the agent built on it.
"""

from agents.scpo.agent import SCPO
from agents.scpo.measured_constraint import (
    ConstraintError,
    ConstraintShapeError,
    InfeasibleStartError,
    NonDeterministicConstraintError,
    NonFiniteConstraintError,
)
from agents.scpo.projection import StepReport, WeightSpaceProjection, ZeroStepError
from agents.scpo.validation import SeededEpisodes, StateRollouts, Validation

__all__ = [
    "SCPO",
    "ConstraintError",
    "ConstraintShapeError",
    "InfeasibleStartError",
    "NonDeterministicConstraintError",
    "NonFiniteConstraintError",
    "SeededEpisodes",
    "StateRollouts",
    "StepReport",
    "Validation",
    "WeightSpaceProjection",
    "ZeroStepError",
]
