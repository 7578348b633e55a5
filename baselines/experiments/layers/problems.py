"""The problems that networks with constraint layers are trained on, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from safe_envs.contract.argument_checks import unknown_name
from safe_envs.control.quadratic_families import QuadraticFamily, dc3, snarenet

Sizes = tuple[int, int, int]  # outputs, equalities, inequalities


def _qcqp(sizes: Sizes, seed: int) -> QuadraticFamily:
    return snarenet(*sizes, seed=seed)


def _half_qcqp(sizes: Sizes, seed: int) -> QuadraticFamily:
    return snarenet(*sizes, quadratic=sizes[2] // 2, seed=seed)


def _simple(sizes: Sizes, seed: int) -> QuadraticFamily:
    return dc3(*sizes, seed=seed)


def _sine(sizes: Sizes, seed: int) -> QuadraticFamily:
    return dc3(*sizes, sine=True, seed=seed)


FAMILIES: dict[str, Callable[[Sizes, int], QuadraticFamily]] = {
    "qcqp": _qcqp,  # SnareNet's, all inequalities quadratic
    "half_qcqp": _half_qcqp,  # half of the inequalities linear
    "qp": _simple,  # DC3's "simple"
    "nonconvex": _sine,  # DC3's "nonconvex"; seed 17 is its published data
}


@dataclass(frozen=True)
class ProblemSetting:
    """A family of programs with its data.

    Args:
        family: a name of `FAMILIES`.
        sizes: outputs, equalities and inequalities.
        seed: of the data.
    """

    family: str = "qcqp"
    sizes: Sizes = (20, 10, 10)
    seed: int = 1

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(unknown_name("family", self.family, FAMILIES))

    def made(self) -> QuadraticFamily:
        """Return the family, made once in a process."""
        return _made(self)

    @property
    def label(self) -> str:
        """Name in tables."""
        return f"{self.family} {'/'.join(map(str, self.sizes))}, instance {self.seed}"


@cache
def _made(setting: ProblemSetting) -> QuadraticFamily:
    return FAMILIES[setting.family](setting.sizes, setting.seed)
