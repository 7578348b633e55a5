"""The problems that networks with constraint layers are trained on, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from baselines.experiments.layers.power_flow import dc_power_flow
from safe_envs.contract.argument_checks import unknown_name
from safe_envs.control.quadratic_families import QuadraticFamily, dc3, snarenet

Sizes = tuple[int, ...]  # outputs, equalities, inequalities; or buses of a network


def _qcqp(sizes: Sizes, seed: int) -> QuadraticFamily:
    n, m, k = sizes
    return snarenet(n, m, k, seed=seed)


def _half_qcqp(sizes: Sizes, seed: int) -> QuadraticFamily:
    n, m, k = sizes
    return snarenet(n, m, k, quadratic=k // 2, seed=seed)


def _simple(sizes: Sizes, seed: int) -> QuadraticFamily:
    n, m, k = sizes
    return dc3(n, m, k, seed=seed)


def _sine(sizes: Sizes, seed: int) -> QuadraticFamily:
    n, m, k = sizes
    return dc3(n, m, k, sine=True, seed=seed)


def _power(sizes: Sizes, seed: int) -> QuadraticFamily:
    return dc_power_flow(sizes[0], seed)


FAMILIES: dict[str, Callable[[Sizes, int], QuadraticFamily]] = {
    "qcqp": _qcqp,  # SnareNet's, all inequalities quadratic
    "half_qcqp": _half_qcqp,  # half of the inequalities linear
    "qp": _simple,  # DC3's "simple"
    "opf": _power,  # DC optimal power flow; the size is the network's number of buses
    "nonconvex": _sine,  # DC3's "nonconvex"; seed 17 is its published data
}


@dataclass(frozen=True)
class ProblemSetting:
    """A family of programs with its data.

    Args:
        family: a name of `FAMILIES`.
        sizes: outputs, equalities and inequalities; of "opf" the number of buses alone.
        seed: of the data.
    """

    family: str = "qcqp"
    sizes: Sizes = (20, 10, 10)
    seed: int = 1

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(unknown_name("family", self.family, FAMILIES))
        if len(self.sizes) != (1 if self.family == "opf" else 3):
            raise ValueError(
                f"the sizes of {self.family} are {'/'.join(map(str, self.sizes))}; pass outputs, "
                "equalities and inequalities, and for opf the number of buses"
            )

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
