"""Checks of the numbers a solver is called with."""

from __future__ import annotations

import numpy as np


def check_count(**arguments: int) -> None:
    """Raise ValueError naming the first argument that is not a whole number >= 1."""
    for name, value in arguments.items():
        if not (isinstance(value, int | np.integer) and value >= 1):
            raise ValueError(f"{name} is {value}; pass a whole number >= 1")


def check_not_negative(**arguments: float) -> None:
    """Raise ValueError naming the first argument that is not a finite number >= 0."""
    for name, value in arguments.items():
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} is {value}; pass a number >= 0")


def check_share(product: str, value: float, largest: float = 1.0) -> None:
    """Raise ValueError if a product of step size and coefficient exceeds what is stable."""
    if value > largest * (1.0 + 1e-12):  # rounding of the product is no error
        raise ValueError(
            f"{product} is {value:.6g}; it has to be <= {largest:g}, otherwise the regularised "
            "step overshoots; lower the step size or the coefficient"
        )


def check_clip(clip: float) -> None:
    """Raise ValueError if the clip range of a probability ratio is not in (0, 1)."""
    if not 0.0 < clip < 1.0:
        raise ValueError(f"clip is {clip}; pass a number in (0, 1), for example 0.2")
