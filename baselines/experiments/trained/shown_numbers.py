"""Means over seeds as text, with as many digits as their size asks for."""

from __future__ import annotations

import numpy as np

from baselines.measures.statistics import standard_error


def digits_for(size: float) -> int:
    """Return the number of decimal places that numbers of a size are shown with."""
    return 1 if abs(size) >= 100.0 else 2 if abs(size) >= 10.0 else 4


def shown_mean(values: np.ndarray) -> str:
    """Return "mean +- standard error" over seeds, (seeds,); one seed has no error."""
    mean = float(np.mean(values))
    digits = digits_for(mean)
    error = f" +- {standard_error(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{error}"
