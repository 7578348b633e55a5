"""The costs that a genuine task reports, by the names of its `cost_...` entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from safe_envs.contract.cost_signal import CostSignalError

ENTRIES = {  # kind of object: the costs that it reports if it is constrained
    "hazards": ("hazards",),
    "sigwalls": ("out_of_boundary",),
    "pillars": ("pillars",),
    "buttons": ("buttons",),
    "vases": ("vases_contact", "vases_velocity"),
    "gremlins": ("gremlins",),
}
PREFIX = "cost_"
TOTAL = "cost_sum"


def hazard_types_of(task: Any) -> tuple[str, ...]:
    """Return the names of the costs of a navigation task, in the package's own order.

    They follow from the objects a task is built with, so no reset is needed.

    Raises:
        CostSignalError: if a constrained object is of an unknown kind.
    """
    names: list[str] = []
    for placed in task._obstacles:
        if not placed.is_constrained:
            continue
        if placed.name not in ENTRIES:
            raise CostSignalError(
                f"{type(task).__name__} constrains {placed.name!r}, whose costs are unknown; "
                f"known kinds are {', '.join(ENTRIES)}"
            )
        names += ENTRIES[placed.name]
    if task._is_load_static_geoms and task.static_geoms_contact_cost:
        names.append("static_geoms_contact")
    return tuple(names)


def costs_by_type(info: dict[str, Any], names: tuple[str, ...]) -> np.ndarray:
    """Return a step's cost of each hazard type, (len(names),); 0 where the package gives none.

    Raises:
        CostSignalError: if the info holds a cost of another name.
    """
    unknown = [key for key in info if key.startswith(PREFIX) and key[len(PREFIX) :] not in names]
    if unknown and unknown != [TOTAL]:
        raise CostSignalError(
            f"the step's info holds {unknown}, but the task should report only {names}"
        )
    return np.array([float(info.get(PREFIX + name, 0.0)) for name in names])
