"""Keys that fly a quadrotor by hand, for `gymnasium.utils.play`."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from safe_envs.quadrotor.vehicle import Vehicle

LIFT = 2.0  # [m/s^2] per key; our choice, like the next
TURN = 3.0  # [rad/s^2]
KEYS = {
    "w": (LIFT, 0.0, 0.0, 0.0),  # up
    "s": (-LIFT, 0.0, 0.0, 0.0),  # down
    "d": (0.0, TURN, 0.0, 0.0),  # roll to the right
    "a": (0.0, -TURN, 0.0, 0.0),  # and to the left
    "i": (0.0, 0.0, TURN, 0.0),  # nose down
    "k": (0.0, 0.0, -TURN, 0.0),  # nose up
    "j": (0.0, 0.0, 0.0, TURN),  # yaw to the left
    "l": (0.0, 0.0, 0.0, -TURN),  # and to the right
}


def keys_to_thrusts(vehicle: Vehicle) -> dict[str, np.ndarray]:
    """Return the thrusts u, (4,) in [0, 1], of every set of pressed keys.

    Each key adds an acceleration to hovering, which is what no key, "", does.
    """
    allocation = np.linalg.inv(vehicle.accelerations)
    thrusts = {"": np.array(vehicle.hover_thrusts)}
    for count in range(1, len(KEYS) + 1):
        for keys in combinations(KEYS, count):
            wanted = np.sum([KEYS[key] for key in keys], axis=0)
            thrusts["".join(keys)] = np.clip(thrusts[""] + allocation @ wanted, 0.0, 1.0)
    return thrusts
