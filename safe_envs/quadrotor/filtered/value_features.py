"""Features in which a quadrotor's action value is linear.

    Q(s, a) = theta' phi(s, a)                                                     (8)
    phi = (phi0(e), phi1(e) (x) d, phi2(e) (x) quad(d), phi3(e, d))                (9)

with e the scaled tracking error of the state, d = a - u_ref(s) the deviation from the reference's
thrusts, and (x) the Kronecker product. Equations 8 to 10 of Lin and Xu, "Curvature-Guided Safety
Filters" (arXiv 2602.12603).

Differs from the paper: features depend on e and d, not on the state and the action, so that the
reference is d = 0 in every state; phi0 to phi3 and all scales are this project's choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safe_envs.contract.argument_checks import checked_array
from safe_envs.quadrotor.reference import FigureEight
from safe_envs.quadrotor.vehicle import GRAVITY

ROTORS = 4
ERRORS = 12
POSITION_SCALE = 0.1  # [m]; this and the following scales are our choice
VELOCITY_SCALE = 0.3  # [m/s]
ATTITUDE_SCALE = 0.1
RATE_SCALE = 1.0  # [rad/s]
GAUSSIANS = 20
ERROR_WIDTH = 4.0  # s_e
DEVIATION_WIDTH = 0.4  # s_d
DEVIATION_SPREAD = 0.1  # of the Gaussians' centers
CENTERS_SEED = 0

_FIRST, _SECOND = np.triu_indices(ROTORS)
_ERROR_FIRST, _ERROR_SECOND = np.triu_indices(ERRORS)


def symmetric_basis() -> np.ndarray:
    """Return the basis S_k of the symmetric matrices, (10, 4, 4).

    S = e_i e_i' for i = j and e_i e_j' + e_j e_i' for i < j, in the order of `quad`.
    """
    basis = np.zeros((len(_FIRST), ROTORS, ROTORS))
    k = np.arange(len(_FIRST))
    basis[k, _FIRST, _SECOND] = 1.0
    basis[k, _SECOND, _FIRST] = 1.0
    return basis


BASIS = symmetric_basis()
BASIS.setflags(write=False)


def quad(deviations: np.ndarray) -> np.ndarray:
    """Return 1/2 d' S_k d, (N, 10): d_i^2 / 2 or d_i d_j.

    Its Hessians are the S_k, so that coefficients c_k make the Hessian sum_k c_k S_k.

    Args:
        deviations: d, (N, 4).
    """
    return deviations[:, _FIRST] * deviations[:, _SECOND] * np.where(_FIRST == _SECOND, 0.5, 1.0)


def tracking_error(states: np.ndarray, times: np.ndarray, reference: FigureEight) -> np.ndarray:
    """Return the scaled tracking error e, (N, 12), zero when hovering on a reference at rest.

    (p - p_d) / 0.1 m, (v - v_d) / 0.3 m/s, (z - z_d)_xy / 0.1, 2 q_w q_z / 0.1, w / (1 rad/s), with
    z the body's z axis and z_d the direction of the thrust that the reference requires.

    Args:
        states: (13, N).
        times: on the reference, (N,) [s].
        reference: the trajectory to follow.
    """
    wanted = reference.at(times)
    q0, q1, q2, q3 = states[6:10]
    tilt = np.stack([2.0 * (q1 * q3 + q0 * q2), 2.0 * (q2 * q3 - q0 * q1)])
    push = wanted.acceleration + np.array([[0.0], [0.0], [GRAVITY]])
    direction = push[:2] / np.sqrt((push * push).sum(axis=0))
    rows = (
        (states[:3] - wanted.position) / POSITION_SCALE,
        (states[3:6] - wanted.velocity) / VELOCITY_SCALE,
        (tilt - direction) / ATTITUDE_SCALE,
        2.0 * (q0 * q3)[None] / ATTITUDE_SCALE,
        states[10:] / RATE_SCALE,
    )
    return np.ascontiguousarray(np.concatenate(rows).T)


def error_monomials(errors: np.ndarray) -> np.ndarray:
    """Return phi0, all monomials of e up to degree 2, (N, 91).

    Args:
        errors: e, (N, 12).
    """
    products = errors[:, _ERROR_FIRST] * errors[:, _ERROR_SECOND]
    return np.concatenate([np.ones((len(errors), 1)), errors, products], axis=1)


@dataclass(frozen=True, eq=False)
class ActionValueFeatures:
    """The features phi of an action value, and the Hessian of what is linear in them.

    - phi0: all monomials of e up to degree 2, 91;
    - phi1 (x) d with phi1 = (1, e), 52;
    - phi2 (x) quad(d) with phi2 = 1, 10, or, if state_dependent, phi2 = (1, e), 130;
    - phi3: Gaussians exp(-|e - c_e|^2 / (2 s_e^2) - |d - c_d|^2 / (2 s_d^2)), one per center.

    Args:
        error_centres: c_e, (G, 12), read-only.
        deviation_centres: c_d, (G, 4), read-only.
        state_dependent: whether the curvature of phi2 depends on the state.

    Raises:
        ValueError: if the centers do not fit, or are not finite.
    """

    error_centres: np.ndarray
    deviation_centres: np.ndarray
    state_dependent: bool = False

    def __post_init__(self) -> None:
        count = len(np.atleast_1d(self.error_centres))
        for name, size in (("error_centres", ERRORS), ("deviation_centres", ROTORS)):
            array = checked_array(name, getattr(self, name), (count, size))
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def curvature(self) -> slice:
        """The slice of the features phi2 (x) quad(d); the first 10 belong to phi2 = 1."""
        start = 1 + ERRORS + len(_ERROR_FIRST) + (1 + ERRORS) * ROTORS
        return slice(start, start + (1 + ERRORS if self.state_dependent else 1) * len(BASIS))

    @property
    def count(self) -> int:
        """How many features there are."""
        return self.curvature.stop + len(self.error_centres)

    def __call__(self, errors: np.ndarray, deviations: np.ndarray) -> np.ndarray:
        """Return phi (equation 9), (N, count).

        Args:
            errors: e, (N, 12).
            deviations: d, (N, 4).
        """
        affine = _affine(errors)
        linear = affine[:, :, None] * deviations[:, None, :]
        quadratic = self._phi2(affine)[:, :, None] * quad(deviations)[:, None, :]
        blocks = (
            error_monomials(errors),
            linear.reshape(len(errors), -1),
            quadratic.reshape(len(errors), -1),
            self._gaussians(errors, deviations),
        )
        return np.concatenate(blocks, axis=1)

    def hessians(
        self, coefficients: np.ndarray, errors: np.ndarray, deviations: np.ndarray
    ) -> np.ndarray:
        """Return the Hessians of coefficients' phi in the action (equation 10), (N, 4, 4).

        sum_ik theta2_ik phi2_i S_k + sum_j theta3_j phi3_j ((d - c)(d - c)' / s_d^4 - I / s_d^2)

        Args:
            coefficients: theta, (count,).
            errors: e, (N, 12).
            deviations: d, (N, 4).
        """
        square = DEVIATION_WIDTH**2
        curvatures = coefficients[self.curvature].reshape(-1, len(BASIS))
        quadratic = np.einsum("ni,ik,kab->nab", self._phi2(_affine(errors)), curvatures, BASIS)
        bumps = self._gaussians(errors, deviations) * coefficients[self.curvature.stop :]  # (N, G)
        away = (deviations[:, None, :] - self.deviation_centres) / square  # (N, G, 4)
        spread = np.einsum("ng,nga,ngb->nab", bumps, away, away)
        return quadratic + spread - bumps.sum(axis=1)[:, None, None] * np.eye(ROTORS) / square

    def _phi2(self, affine: np.ndarray) -> np.ndarray:
        return affine if self.state_dependent else affine[:, :1]

    def _gaussians(self, errors: np.ndarray, deviations: np.ndarray) -> np.ndarray:
        """Return phi3, (N, G)."""
        from_error = _square_distances(errors, self.error_centres) / ERROR_WIDTH**2
        from_deviation = _square_distances(deviations, self.deviation_centres) / DEVIATION_WIDTH**2
        return np.exp(-0.5 * (from_error + from_deviation))


def action_value_features(state_dependent: bool = False) -> ActionValueFeatures:
    """Return features with 20 Gaussians, 173 or 293 in all.

    Their centers are fixed draws: c_e from N(0, I), c_d from N(0, 0.1^2 I).
    """
    rng = np.random.default_rng(CENTERS_SEED)
    error_centres = rng.standard_normal((GAUSSIANS, ERRORS))
    deviation_centres = DEVIATION_SPREAD * rng.standard_normal((GAUSSIANS, ROTORS))
    return ActionValueFeatures(error_centres, deviation_centres, state_dependent)


def _affine(errors: np.ndarray) -> np.ndarray:
    """Return (1, e), (N, 13)."""
    return np.concatenate([np.ones((len(errors), 1)), errors], axis=1)


def _square_distances(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return |x_n - c_g|^2, (N, G)."""
    away = points[:, None, :] - centers
    return np.einsum("ngi,ngi->ng", away, away)
