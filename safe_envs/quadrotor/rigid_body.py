"""The inertia of rigid bodies: which matrices are valid, and how they change with the point."""

from __future__ import annotations

from typing import Any

import numpy as np

ROUNDING = 1e-9  # of the largest moment, by which an inertia may break its conditions


def checked_inertia(
    inertia: Any, products: Any
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return the moments about x, y, z and the matrix's entries xy, xz, yz, three floats each.

    Args:
        inertia: the moments, (3,), or the whole matrix, (3, 3) [kg m^2].
        products: the entries xy, xz and yz, (3,); zeros with a full matrix.

    Raises:
        ValueError: if no rigid body has this inertia: its matrix is not symmetric or not positive
            definite, or one principal moment is larger than the sum of the two others.
    """
    wanted = "three moments, or a symmetric matrix (3, 3) [kg m^2]"
    try:
        given, (xy, xz, yz) = np.array(inertia, dtype=np.float64), map(float, products)
    except (TypeError, ValueError):
        raise ValueError(
            f"inertia is {inertia!r} and products {products!r}; pass {wanted}, and three products "
            "with moments"
        ) from None
    if given.shape not in ((3,), (3, 3)) or not np.isfinite((*given.ravel(), xy, xz, yz)).all():
        raise ValueError(f"inertia is {given.tolist()}; pass {wanted}")
    matrix = given
    if given.ndim == 1:
        matrix = np.array([[given[0], xy, xz], [xy, given[1], yz], [xz, yz, given[2]]])
    elif any((xy, xz, yz)):
        raise ValueError(
            "inertia is a full matrix, which contains the products; leave out products"
        )
    largest = float(np.abs(matrix).max())
    if not np.abs(matrix - matrix.T).max() <= ROUNDING * largest:
        raise ValueError(f"inertia {matrix.tolist()} is not symmetric; pass {wanted}")
    matrix = 0.5 * (matrix + matrix.T)
    small, middle, large = np.linalg.eigvalsh(matrix).tolist()
    if not small > 0.0:
        raise ValueError(
            f"inertia {matrix.tolist()} has a principal moment of {small:.3g} kg m^2; pass an "
            "inertia whose principal moments are positive"
        )
    if small + middle < large - ROUNDING * largest:
        raise ValueError(
            f"inertia {matrix.tolist()} has principal moments {small:.4g}, {middle:.4g} and "
            f"{large:.4g} kg m^2, but in a rigid body none can exceed the sum of the other two; "
            "pass a physical inertia"
        )
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = matrix.tolist()
    return (xx, yy, zz), (xy, xz, yz)


def shifted_inertia(inertia: np.ndarray, mass: float, away: np.ndarray) -> np.ndarray:
    """Return the inertia about a point at `away` from the center of mass, (3, 3).

        J + m (|r|^2 I - r r'),   the parallel axis theorem

    Args:
        inertia: J about the center of mass, (3, 3) [kg m^2].
        mass: m [kg].
        away: r, (3,) [m].
    """
    return inertia + mass * ((away @ away) * np.eye(3) - np.outer(away, away))


def coriolis(inertia: np.ndarray) -> np.ndarray:
    """Return the factors in w x J w, (3, 6) [kg m^2].

    Of w_y w_z, w_z w_x, w_x w_y, w_x^2, w_y^2 and w_z^2.

    Args:
        inertia: J, (3, 3) [kg m^2], symmetric.
    """
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = inertia.tolist()
    return np.array(
        [
            [zz - yy, -xy, xz, 0.0, yz, -yz],
            [xy, xx - zz, -yz, -xz, 0.0, xz],
            [-xz, yz, yy - xx, xy, -xy, 0.0],
        ]
    )
