"""The axes of a vehicle's body in the world, from its quaternion."""

from __future__ import annotations

from safe_envs.quadrotor.reference import Number

Vector = tuple[Number, Number, Number]
Axes = tuple[Vector[Number], Vector[Number], Vector[Number]]  # x, y and z axis of a frame


def body_axes(w: Number, x: Number, y: Number, z: Number) -> Axes[Number]:
    """Return the body's x, y and z axis in the world: the columns of the quaternion's rotation."""
    return (
        (1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)),
        (2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)),
        (2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)),
    )
