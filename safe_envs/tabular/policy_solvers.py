"""Linear solves of policy evaluation for large sparse transition tables."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import bicgstab, splu

SPARSE_FROM_STATES = 500  # below this a dense factorization is faster (benchmarks.tabular)
SPARSE_BELOW_DENSITY = 0.02
KRYLOV_STEPS = 100
RELATIVE_RESIDUAL = 1e-14


def sparse_solver_pays(P: np.ndarray) -> bool:
    """Return whether the (S, A, S) table is large and sparse enough for the sparse path."""
    density = float(np.count_nonzero(P)) / P.size
    return P.shape[0] >= SPARSE_FROM_STATES and density <= SPARSE_BELOW_DENSITY


class SparseSolver:
    """Policy evaluation with a compressed transition table.

    If the chain mixes fast, as on random graphs, I - discount P_pi has clustered eigenvalues:
    BiCGSTAB solves it to rounding in about twenty steps, while a factorization fills in. If it
    mixes slowly, as on grids, a factorization stays sparse. BiCGSTAB is used until it first fails
    to converge.
    """

    def __init__(self, P: np.ndarray, discount: float) -> None:
        self.num_states, self.num_actions = P.shape[:2]
        self.discount = discount
        self.table = sparse.csr_array(P.reshape(-1, self.num_states))  # (S * A, S)
        self.uses_factorization = False

    def expected_next(self, values: np.ndarray) -> np.ndarray:
        """Return sum_s' P(s' | s, a) values[s'] for every pair, shape (S * A, k)."""
        return self.table @ values

    def solve(
        self, policy: np.ndarray, signals: np.ndarray, initial: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return values (S, k) of the signals under the policy, and its occupancy (S,)."""
        rows = np.arange(0, policy.size + 1, self.num_actions)
        mixing = sparse.csr_array(
            (policy.ravel(), np.arange(policy.size), rows), shape=(self.num_states, policy.size)
        )
        identity = sparse.eye_array(self.num_states, format="csr")
        system = identity - self.discount * (mixing @ self.table)
        if not self.uses_factorization:
            values = [_krylov(system, signal) for signal in signals.T]
            occupancy = _krylov(system.T.tocsr(), initial)
            converged = [v for v in values if v is not None]
            if occupancy is not None and len(converged) == len(values):
                return np.stack(converged, axis=1), occupancy
            self.uses_factorization = True
        factors = splu(sparse.csc_matrix(system))
        return factors.solve(signals), factors.solve(initial, trans="T")


def _krylov(system: sparse.csr_array, right_side: np.ndarray) -> np.ndarray | None:
    """Return the solution by BiCGSTAB, None if it does not converge."""
    solution, failed = bicgstab(
        system, right_side, rtol=RELATIVE_RESIDUAL, atol=0.0, maxiter=KRYLOV_STEPS
    )
    return None if failed else solution
