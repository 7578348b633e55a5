"""Linear solves of policy evaluation for large sparse transition tables."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

SPARSE_FROM_STATES = 200  # below this a dense factorisation is faster (benchmarks.tabular)
SPARSE_BELOW_DENSITY = 0.02


def sparse_solver_pays(P: np.ndarray) -> bool:
    """Return whether the (S, A, S) table is large and empty enough for the sparse path."""
    states = P.shape[0]
    density = float(np.count_nonzero(P)) / P.size
    return states >= SPARSE_FROM_STATES and density <= SPARSE_BELOW_DENSITY


class SparseSolver:
    """Policy evaluation with a compressed transition table."""

    def __init__(self, P: np.ndarray, discount: float) -> None:
        self.num_states, self.num_actions = P.shape[:2]
        self.discount = discount
        self.table = sparse.csr_array(P.reshape(-1, self.num_states))  # (S * A, S)

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
        system = sparse.identity(self.num_states, format="csc") - self.discount * (
            mixing @ self.table
        )
        factors = splu(sparse.csc_matrix(system))
        return factors.solve(signals), factors.solve(initial, trans="T")
