"""A finite constrained Markov decision process whose policies can be evaluated exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from safe_envs.tabular.policy_solvers import SparseSolver, sparse_solver_pays
from safe_envs.tabular.tables import dense_table, initial_distribution, transition_table

LISTED = 6  # numbers or constraints shown by print


class PolicyEvaluation(NamedTuple):
    """Exact values of one policy in one `TabularCMDP`.

    The last axis of `state_values` and `q` holds the reward, then the m costs, then the extra
    signal if one was given.
    """

    value: float  # V_r(policy), expected discounted return from the initial distribution
    costs: np.ndarray  # (m,) V_c(policy), expected discounted sum of each cost
    state_values: np.ndarray  # (S, 1 + m)
    q: np.ndarray  # (S, A, 1 + m)
    state_occupancy: np.ndarray  # (S,) sum_t discount^t Pr(s_t = s); sums to 1 / (1 - discount)

    @property
    def q_reward(self) -> np.ndarray:
        """Action values of the reward, (S, A)."""
        return self.q[:, :, 0]

    @property
    def q_costs(self) -> np.ndarray:
        """Action values of the costs, (m, S, A)."""
        return self.q[:, :, 1 : 1 + len(self.costs)].transpose(2, 0, 1)

    @property
    def q_extra(self) -> np.ndarray:
        """Action values of the extra signal, (S, A)."""
        return self.q[:, :, 1 + len(self.costs)]

    def __repr__(self) -> str:
        states, actions = self.q.shape[:2]
        costs = amounts("cost", self.costs)
        size = f"{states} states, {actions} actions"
        return f"PolicyEvaluation: value {self.value:.4g}; {costs}; {size}"

    def priced_q(self, prices: np.ndarray) -> np.ndarray:
        """Return Q of reward - prices . costs, shape (S, A), for prices of shape (m,)."""
        return self._priced(self._exchange(prices))

    def priced_advantage(self, prices: np.ndarray) -> np.ndarray:
        """Return `priced_q` minus its state value, shape (S, A)."""
        exchange = self._exchange(prices)
        return self._priced(exchange) - (self.state_values @ exchange)[:, None]

    def _priced(self, exchange: np.ndarray) -> np.ndarray:
        states, actions, signals = self.q.shape
        return (self.q.reshape(-1, signals) @ exchange).reshape(states, actions)

    def _exchange(self, prices: np.ndarray) -> np.ndarray:
        """Return the weights of the reward and each cost; the extra signal has weight 0."""
        exchange = np.zeros(self.q.shape[2])
        exchange[0] = 1.0
        exchange[1 : 1 + len(self.costs)] = -prices
        return exchange


def amounts(name: str, values: np.ndarray) -> str:
    """Return numbers with their name for a summary: "cost 0.15", "costs 0.1, 0.2", "no costs"."""
    if not len(values):
        return f"no {name}s"
    return f"{name}{'' if len(values) == 1 else 's'} {_listed([f'{v:.4g}' for v in values])}"


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - LISTED
    return ", ".join(texts[:LISTED]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, eq=False, repr=False)
class TabularCMDP:
    """The problem max V_r(policy) subject to V_{c_i}(policy) <= limits[i].

    All values are expected discounted sums from the initial distribution,
    V_f(policy) = E[sum_t discount^t f(s_t, a_t)].

    Tables may have any real number type, and may be `scipy.sparse` matrices or arrays; they are
    stored as dense read-only float64 arrays. Rows of float32 probabilities, whose sums are off by
    rounding, are divided by their sums. A sparse table that takes more than 4 GiB is an error.

    Args:
        P: (S, A, S) transition probabilities, P[s, a, s'] = Pr(s' | s, a). Sparse: one matrix
            (S * A, S) whose row s * A + a belongs to (s, a), or a list of A matrices (S, S).
        reward: (S, A) reward of taking action a in state s.
        costs: (m, S, A) costs, one table per constraint. Sparse: a list of m matrices (S, A).
        initial: (S,) distribution of the first state.
        discount: discount of reward and costs, in [0, 1).
        limits: (m,) upper bounds of the expected discounted cost sums.
        constraint_names: m names; "cost_0", "cost_1", ... if empty.
        coordinates: (S, k) position of each state, used by tile coding; None if states have none.

    Raises:
        ValueError: if a shape, a probability, the discount or a finite value is wrong.
    """

    P: np.ndarray
    reward: np.ndarray
    costs: np.ndarray
    initial: np.ndarray
    discount: float
    limits: np.ndarray
    constraint_names: tuple[str, ...] = ()
    coordinates: np.ndarray | None = None
    _signals: np.ndarray = field(init=False)  # (S, A, 1 + m): reward, then costs
    _sparse: SparseSolver | None = field(init=False)
    _dense: np.ndarray | None = field(init=False)  # (S, A, S + 1 + m)

    def __post_init__(self) -> None:
        tables = {
            "P": transition_table(self.P),
            "reward": dense_table("reward", self.reward),
            "costs": dense_table("costs", self.costs),
            "initial": initial_distribution(self.initial),
            "limits": dense_table("limits", self.limits),
        }
        if self.coordinates is not None:
            tables["coordinates"] = dense_table("coordinates", self.coordinates)
        for name, table in tables.items():
            table.setflags(write=False)
            object.__setattr__(self, name, table)
        self._check()
        object.__setattr__(self, "discount", float(self.discount))
        if not self.constraint_names:
            names = tuple(f"cost_{i}" for i in range(self.num_constraints))
            object.__setattr__(self, "constraint_names", names)
        signals = np.concatenate([self.reward[None], self.costs]).transpose(1, 2, 0)
        pays = sparse_solver_pays(self.P)
        sparse = SparseSolver(self.P, self.discount) if pays else None
        dense = None if pays else np.concatenate([-self.discount * self.P, signals], axis=2)
        object.__setattr__(self, "_signals", np.ascontiguousarray(signals))
        object.__setattr__(self, "_sparse", sparse)
        object.__setattr__(self, "_dense", dense)

    def __repr__(self) -> str:
        size = f"{self.num_states} states, {self.num_actions} actions, discount {self.discount:g}"
        pairs = zip(self.constraint_names, self.limits, strict=True)
        bounds = [f"{name} <= {limit:.4g}" for name, limit in pairs]
        count = f"{len(bounds)} constraint{'' if len(bounds) == 1 else 's'}"
        return f"TabularCMDP: {size}, {count if bounds else 'no constraints'}" + (
            f": {_listed(bounds)}" if bounds else ""
        )

    @property
    def num_states(self) -> int:
        """Number of states S."""
        return self.P.shape[0]

    @property
    def num_actions(self) -> int:
        """Number of actions A."""
        return self.P.shape[1]

    @property
    def num_constraints(self) -> int:
        """Number of constraints m."""
        return self.costs.shape[0]

    def uniform_policy(self) -> np.ndarray:
        """Return the (S, A) policy that picks every action with the same probability."""
        return np.full((self.num_states, self.num_actions), 1.0 / self.num_actions)

    def evaluate(self, policy: np.ndarray, extra: np.ndarray | None = None) -> PolicyEvaluation:
        """Return values, action values and occupancy of a policy, with one factorization.

        Solves (I - discount P_pi) V = f_pi for the reward and all costs together, and
        (I - discount P_pi)^T mu = initial for the occupancy.

        Args:
            policy: (S, A) action probabilities; rows are not normalized.
            extra: (S, A) one more signal to evaluate, such as the entropy bonus -log policy.

        Raises:
            ValueError: if the policy's shape is not (S, A).
        """
        if policy.shape != self.reward.shape:
            raise ValueError(
                f"policy has shape {policy.shape} but this CMDP has {self.num_states} states and "
                f"{self.num_actions} actions; pass an array of shape {self.reward.shape}"
            )
        signals = self._signals  # (S, A, 1 + m)
        if extra is not None:
            signals = np.concatenate([signals, extra[:, :, None]], axis=2)
        if self._sparse is not None:
            averaged = np.matmul(policy[:, None, :], signals)[:, 0, :]  # (S, 1 + m)
            values, occupancy = self._sparse.solve(policy, averaged, self.initial)
            next_values = self._sparse.expected_next(values)  # (S * A, 1 + m)
        else:
            values, occupancy = self._solve_dense(policy, extra)
            next_values = self.P.reshape(-1, self.num_states) @ values
        q = signals + self.discount * next_values.reshape(signals.shape)
        totals = self.initial @ values
        costs = totals[1 : 1 + self.num_constraints]
        return PolicyEvaluation(float(totals[0]), costs, values, q, occupancy)

    def _solve_dense(
        self, policy: np.ndarray, extra: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        assert self._dense is not None
        states = len(policy)
        mixed = np.matmul(policy[:, None, :], self._dense)[:, 0, :]  # (S, S + 1 + m)
        mixed.ravel()[:: mixed.shape[1] + 1] += 1.0  # the diagonal of the system
        averaged = mixed[:, states:]
        if extra is not None:
            averaged = np.column_stack([averaged, (policy * extra).sum(axis=1)])
        factors, pivots, values, _ = lapack.dgesv(mixed[:, :states], averaged)
        occupancy, _ = lapack.dgetrs(factors, pivots, self.initial, trans=1)
        return values, occupancy

    def _check(self) -> None:
        states, actions = self.P.shape[:2]
        if self.limits.ndim != 1:
            raise ValueError(
                f"limits has shape {self.limits.shape}; pass a list with one number per constraint"
            )
        constraints = len(self.limits)
        expected = {
            "reward": (states, actions),
            "costs": (constraints, states, actions),
            "initial": (states,),
            "limits": (constraints,),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(
                    f"{name} has shape {array.shape} but P has {states} states and {actions} "
                    f"actions and limits has shape {self.limits.shape}; pass an array of shape "
                    f"{shape}"
                )
            if not np.isfinite(array).all():
                raise ValueError(f"{name} has values that are not finite; pass finite numbers")
        if not 0.0 <= self.discount < 1.0:
            raise ValueError(f"discount is {self.discount}; pass a number in [0, 1)")
        if self.constraint_names and len(self.constraint_names) != constraints:
            raise ValueError(
                f"constraint_names has {len(self.constraint_names)} entries but there are "
                f"{constraints} constraints; pass one name for each"
            )
        if self.coordinates is not None and (
            self.coordinates.ndim != 2 or len(self.coordinates) != states
        ):
            raise ValueError(
                f"coordinates has shape {self.coordinates.shape}; pass one row per state, "
                f"shape ({states}, k)"
            )
