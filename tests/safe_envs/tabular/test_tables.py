"""Tables in the forms that users have, against the dense float64 table they come from."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse

from safe_envs import TabularCMDP
from safe_envs.tabular.cliff_world import cliff_world_model
from safe_envs.tabular.env import TabularBatch, TabularEnv
from safe_envs.tabular.random_cmdp import RandomCMDPEnv, random_cmdp

CLIFF = cliff_world_model(per_constraint=True)
RANDOM = random_cmdp(9, 3, constraints=2, seed=4, branching=3)
PROBLEMS = {"cliff": CLIFF, "random": RANDOM}


def changed(cmdp, **tables):
    return dataclasses.replace(cmdp, **tables)


def by_action(P, kind):
    return [kind(P[:, action]) for action in range(P.shape[1])]


def object_array(parts):
    array = np.empty(len(parts), dtype=object)
    array[:] = parts
    return array


SPARSE_P = {
    "csr matrices": lambda c: by_action(c.P, sparse.csr_matrix),
    "csc arrays": lambda c: by_action(c.P, sparse.csc_array),
    "tuple": lambda c: tuple(by_action(c.P, sparse.lil_matrix)),
    "object array": lambda c: object_array(by_action(c.P, sparse.coo_matrix)),
    "one and dense ones": lambda c: [sparse.csr_array(c.P[:, 0]), *by_action(c.P, np.array)[1:]],
    "pairs": lambda c: sparse.csr_matrix(c.P.reshape(-1, c.num_states)),
    "pairs, dok": lambda c: sparse.dok_array(c.P.reshape(-1, c.num_states)),
}


def all_sparse(cmdp, transitions):
    return changed(
        cmdp,
        P=transitions(cmdp),
        reward=sparse.csr_matrix(cmdp.reward),
        costs=[sparse.coo_array(cost) for cost in cmdp.costs],
        initial=sparse.csr_matrix(cmdp.initial),
    )


@pytest.mark.parametrize("form", SPARSE_P)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_sparse_tables_are_the_dense_ones(problem, form):
    cmdp = PROBLEMS[problem]
    found = all_sparse(cmdp, SPARSE_P[form])
    for name in ("P", "reward", "costs", "initial", "limits"):
        ours, theirs = getattr(found, name), getattr(cmdp, name)
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == np.float64
        assert ours.flags.c_contiguous
        assert not ours.flags.writeable


@pytest.mark.parametrize("form", ["csc arrays", "pairs"])
def test_environments_take_sparse_tables_for_dense_ones(form):
    arguments = {"states": 9, "actions": 3, "constraints": 2, "model_seed": 4, "branching": 3}
    env = RandomCMDPEnv(**arguments)
    found = all_sparse(env.tabular_model(), SPARSE_P[form])
    other = TabularEnv(TabularBatch(found, env.constraints, env.dynamics.draw))
    assert env.reset(seed=1)[0] == other.reset(seed=1)[0]
    for action in [0, 1, 2] * 20:
        assert env.step(action)[:2] == other.step(action)[:2]


def in_type(cmdp, dtype):
    names = ("P", "reward", "costs", "initial", "limits")
    return {name: getattr(cmdp, name).astype(dtype) for name in names}


@pytest.mark.parametrize("as_sparse", [False, True])
@pytest.mark.parametrize(("dtype", "rounding"), [(np.float32, 2e-6), (np.float16, 2e-2)])
def test_short_floats_are_divided_by_their_sums(dtype, rounding, as_sparse):
    dense = random_cmdp(40, 3, constraints=2, seed=1)
    tables = in_type(dense, dtype)
    if as_sparse and dtype == np.float32:
        tables["P"] = [sparse.csr_array(tables["P"][:, action]) for action in range(3)]
    found = changed(dense, **tables)
    np.testing.assert_allclose(found.P.sum(-1), 1.0, rtol=0, atol=1e-15)
    np.testing.assert_allclose(found.initial.sum(), 1.0, rtol=0, atol=1e-15)
    np.testing.assert_allclose(found.P, dense.P, rtol=rounding)
    policy = dense.uniform_policy()
    ours, theirs = found.evaluate(policy), dense.evaluate(policy)
    assert [ours.value, *ours.costs] == pytest.approx([theirs.value, *theirs.costs], rel=rounding)
    np.testing.assert_array_equal(changed(found).P, found.P)


def test_rows_summed_in_float32_are_within_rounding():
    """As a network's softmax makes them, of a thousand entries."""
    logits = np.random.default_rng(0).normal(size=(1000, 1, 1000)).astype(np.float32)
    P = np.exp(logits)
    P /= np.cumsum(P, axis=-1, dtype=np.float32)[..., -1:]  # one after the other
    assert np.abs(P.sum(-1, dtype=np.float64) - 1.0).max() > 1e-7
    zeros = np.zeros((1000, 1))
    cmdp = TabularCMDP(P, zeros, zeros[None], np.eye(1000)[0], 0.5, np.ones(1))
    assert np.abs(cmdp.P.sum(-1) - 1.0).max() < 1e-14


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.bool_])
def test_whole_numbers(dtype):
    """A deterministic chain; V = 0 + 0.5 (3 + 0.5 (3 + ...)) = 3 from the first state."""
    P = np.array([[[0, 1]], [[0, 1]]], dtype=dtype)
    cmdp = TabularCMDP(P, [[0], [3]], [[[0], [1]]], np.array([1, 0], dtype=dtype), 0.5, [1])
    evaluation = cmdp.evaluate(cmdp.uniform_policy())
    assert (evaluation.value, evaluation.costs[0]) == (3.0, 1.0)


def test_a_float32_discount_counts_as_a_number():
    cmdp = changed(CLIFF, discount=np.float32(0.5))
    assert type(cmdp.discount) is float
    assert cmdp.discount == 0.5


def row_changed(value, dtype=np.float64):
    P = np.array(CLIFF.P, dtype=dtype)
    P[7, 2, 1] += value
    return P


def test_a_wrong_row_is_named():
    wrong = "P does not hold probability distributions: P"
    for given, message in [
        (row_changed(0.1), rf"{wrong}\[7, 2\] sums to 1.1; its entries must be >= 0 and sum to 1"),
        (row_changed(1e-3, np.float32), rf"{wrong}\[7, 2\] sums to 1.001"),
        (row_changed(-0.5), rf"{wrong}\[7, 2\] has the entry -0.5; "),
        (row_changed(np.nan), rf"{wrong}\[7, 2\] sums to nan"),
        (row_changed(1e-7), r"axis; if that is rounding, divide each row by its sum"),
        (by_action(2 * CLIFF.P, sparse.csr_array), rf"{wrong}\[0, 0\] sums to 2; "),
    ]:
        with pytest.raises(ValueError, match=message):
            changed(CLIFF, P=given)
    with pytest.raises(ValueError, match="probability distributions: initial sums to 2; its"):
        changed(CLIFF, initial=2 * CLIFF.initial)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"P": sparse.eye_array(10, 21)}, r"shape \(10, 21\); pass one of shape \(S \* A, S\)"),
        (
            {"P": [sparse.eye_array(21), sparse.eye_array(20)]},
            r"the shapes \[\(21, 21\), \(20, 20\)\]; pass A sparse matrices of shape \(S, S\)",
        ),
        ({"P": [[1, "a"]]}, "P is not a table of real numbers"),
        (
            {"P": CLIFF.P * 1j},
            "P is not a table of real numbers .its entries are complex.; pass an array",
        ),
        ({"reward": sparse.csr_array(1j * CLIFF.reward)}, "reward is not .* are complex"),
        ({"costs": sparse.csr_array(CLIFF.costs[0])}, r"pass an array of shape \(3, 21, 4\)"),
        ({"costs": [sparse.eye_array(2), np.eye(3)]}, r"costs is a list .* \(3, 3\)\]; pass equal"),
        ({"initial": np.ones((2, 21)) / 21}, r"initial has shape \(2, 21\); pass an array of"),
        ({"initial": 1.0}, r"initial has shape \(\); pass an array of shape \(S,\)"),
    ],
)
def test_refuses_what_is_no_table(tables, message):
    with pytest.raises(ValueError, match=message):
        changed(CLIFF, **tables)


@pytest.mark.parametrize(
    "given",
    [[sparse.eye_array(40_000, format="csr")] * 2, sparse.csr_array((80_000, 40_000))],
)
def test_says_how_much_memory_a_sparse_table_would_take(given):
    message = r"\(.*40000\), which takes 23.8 GiB; the limit for a sparse table is 4 GiB; merge"
    with pytest.raises(ValueError, match=message):
        changed(CLIFF, P=given)


def test_prints_a_short_summary():
    assert repr(cliff_world_model()) == (
        "TabularCMDP: 21 states, 4 actions, discount 0.9, 1 constraint: chasm <= 0.175"
    )
    assert str(CLIFF) == (
        "TabularCMDP: 21 states, 4 actions, discount 0.9, 3 constraints: chasm_1 <= 0.0654, "
        "chasm_2 <= 0.0548, chasm_3 <= 0.0548"
    )
    none = changed(CLIFF, costs=np.empty((0, 21, 4)), limits=np.empty(0), constraint_names=())
    assert repr(none) == "TabularCMDP: 21 states, 4 actions, discount 0.9, no constraints"
    eight = changed(CLIFF, costs=np.ones((8, 21, 4)), limits=np.arange(8), constraint_names=())
    assert repr(eight).endswith(
        "8 constraints: " + ", ".join(f"cost_{i} <= {i}" for i in range(6)) + " and 2 more"
    )
    evaluation = CLIFF.evaluate(CLIFF.uniform_policy())
    assert repr(evaluation) == (
        "PolicyEvaluation: value 0.1001; costs 0.4849, 0.1102, 0.1024; 21 states, 4 actions"
    )
