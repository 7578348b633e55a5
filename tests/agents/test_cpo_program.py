"""CPO's step for several constraints against enumeration, the closed form and numerical optima."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from agents.cpo_program import priced_step
from agents.cpo_step import CpoCase, cpo_step

RADIUS = 0.02  # delta
REACH = math.sqrt(2 * RADIUS)
KINDS = (
    "generic",
    "parallel costs",
    "opposite costs",
    "reward parallel to a cost",
    "a cost without effect",
    "no reward",
    "reward spanned by costs",
    "on a limit",
)


def random_problem(seed, m):
    """Return H (d, d), g (d,), b (m, d), c (m,) and the kind of the problem."""
    rng = np.random.default_rng(seed)
    size = m + 3
    root = rng.normal(size=(size, size))
    h = root @ root.T + 0.1 * np.eye(size)
    g, b = rng.normal(size=size), rng.normal(size=(m, size))
    kind = KINDS[seed % len(KINDS)]
    if kind == "parallel costs":
        b[1] = 3 * b[0]
    elif kind == "opposite costs":
        b[1] = -2 * b[0]
    elif kind == "reward parallel to a cost":
        g = 2.5 * b[0]
    elif kind == "no reward":
        g = np.zeros(size)
    elif kind == "reward spanned by costs":
        g = b[0] + 0.5 * b[1]
    c = rng.uniform(-1.2, 0.6, size=m) * reaches(h, b)
    if kind == "a cost without effect":
        b[-1], c[-1] = 0.0, -0.1
    elif kind == "on a limit":
        c[0] = 0.0
    return h, g, b, c, kind


def reaches(h, b):
    """Return the largest change of each cost in the region, (m,)."""
    return REACH * np.sqrt(np.einsum("mi,im->m", b, np.linalg.solve(h, b.T)))


def solve(h, g, b, c):
    """Return the step x, (d,), and the solution it comes from."""
    vectors = np.vstack((g, b))
    along = np.linalg.solve(h, vectors.T)
    found = priced_step(vectors @ along, c, RADIUS)
    return found.along_reward * along[:, 0] + along[:, 1:] @ found.along_costs, found


def enumerated(h, g, b, c):
    """Return the best of the optima on all intersections of the planes; None if none is feasible.

    In coordinates where the region is the unit ball, the optimum on planes is their point nearest
    to 0, plus a move along the reward's projection on them as far as the sphere.
    """
    to_x = REACH * np.linalg.inv(np.linalg.cholesky(h)).T
    gain, rows = g @ to_x, b @ to_x
    lengths = np.linalg.norm(rows, axis=1)
    lengths[lengths == 0.0] = 1.0
    best = None
    for count in range(len(c) + 1):
        for planes in map(list, itertools.combinations(range(len(c)), count)):
            inverse = np.linalg.pinv(rows[planes])
            nearest = -inverse @ c[planes]
            room = 1.0 - nearest @ nearest
            if room < -1e-12:
                continue
            candidates = [nearest]
            along = gain - inverse @ (rows[planes] @ gain)
            if np.linalg.norm(along) > 1e-9 * np.linalg.norm(gain):
                move = math.sqrt(max(room, 0.0)) / np.linalg.norm(along)
                candidates.append(nearest + move * along)
            for y in candidates:
                is_feasible = ((rows @ y + c) / lengths <= 1e-10).all()
                if is_feasible and (best is None or gain @ y > gain @ best):
                    best = y
    return None if best is None else to_x @ best


@pytest.mark.parametrize(("m", "count"), [(2, 250), (3, 250), (6, 40)])
def test_step_is_the_optimum_in_any_units(m, count):
    """It is compared as a share of the region; with a price of the divergence it is unique."""
    seen = set()
    for seed in range(count):
        h, g, b, c, kind = random_problem(seed, m)
        a, *scales = 10.0 ** np.random.default_rng(seed).uniform(-3, 3, size=1 + m)
        x, found = solve(h, a * g, b * np.array(scales)[:, None], c * scales)
        expected = enumerated(h, g, b, c)
        assert (found.case is CpoCase.UNRECOVERABLE) == (expected is None), (seed, kind)
        seen.add((kind, found.case))
        if expected is None:
            continue
        assert x @ h @ x / 2 <= RADIUS * (1 + 1e-9)
        assert (b @ x + c <= 1e-9 * reaches(h, b) + 1e-12).all()
        best = REACH * math.sqrt(g @ np.linalg.solve(h, g))
        assert g @ x == pytest.approx(g @ expected, rel=0, abs=1e-9 * best), (seed, kind)
        if found.divergence_multiplier > 0:
            off = x - expected
            assert math.sqrt(off @ h @ off) <= 1e-6 * REACH, (seed, kind)
    assert {case for _, case in seen} >= {*CpoCase} - {CpoCase.INSIDE, CpoCase.FLAT}
    assert {kind for kind, _ in seen} == set(KINDS)


@pytest.mark.parametrize("m", [2, 3, 6])
def test_prices_close_the_duality_gap(m):
    """min over lambda, nu >= 0 of |g - nu b|^2 / (2 lambda) - nu c + lambda delta (equation 11)."""
    priced = 0
    for seed in range(100):
        h, g, b, c, _ = random_problem(seed, m)
        x, found = solve(h, g, b, c)
        lam, nu = found.divergence_multiplier, found.cost_multipliers
        if found.case is CpoCase.UNRECOVERABLE:
            assert np.isinf(nu).all()
            continue
        assert (nu >= 0).all()
        rest = g - nu @ b
        np.testing.assert_allclose(rest, lam * h @ x, atol=1e-8 * max(np.abs(g).max(), 1e-9))
        dual = lam * x @ h @ x / 2 - nu @ c + lam * RADIUS
        assert g @ x == pytest.approx(dual, rel=1e-8, abs=1e-9)
        priced += int((nu > 0).sum() > 1)
    assert priced > 5


@pytest.mark.parametrize("share", [-1.5, -0.9, -0.3, 0.0, 0.3, 0.9, 1.5])
def test_a_constraint_and_its_copy_are_one_constraint(share):
    """Also the recovery, equation 14 of the paper."""
    for seed in range(20):
        h, g, b, _, _ = random_problem(8 * seed, 1 + 1)
        vectors = np.vstack((g, b[0]))
        along = np.linalg.solve(h, vectors.T)
        c = share * reaches(h, b[:1])
        (q, _), (r, s) = vectors @ along
        expected = cpo_step(q, r, s, c[0], RADIUS)
        x, found = solve(h, g, np.vstack((b[0], 5 * b[0])), np.concatenate((c, 5 * c)))
        closed = expected.along_reward * along[:, 0] + expected.along_cost * along[:, 1]
        assert found.case is expected.case
        np.testing.assert_allclose(x, closed, atol=1e-9)
        if found.case is not CpoCase.UNRECOVERABLE:
            prices = found.cost_multipliers @ [1.0, 5.0]
            assert prices == pytest.approx(expected.cost_multiplier, rel=1e-7, abs=1e-9)
            lam = expected.divergence_multiplier
            assert found.divergence_multiplier == pytest.approx(lam, rel=1e-7, abs=1e-9)


def test_one_constraint_is_the_closed_form_bit_for_bit():
    for seed in range(20):
        h, g, b, c, _ = random_problem(seed, 2)
        vectors = np.vstack((g, b[:1]))
        (q, r_other), (r, s) = products = vectors @ np.linalg.solve(h, vectors.T)
        one, found = cpo_step(q, r, s, c[0], RADIUS), priced_step(products, c[:1], RADIUS)
        assert found.along_reward == one.along_reward
        assert found.along_costs.tolist() == [one.along_cost]
        assert found.cost_multipliers.tolist() == [one.cost_multiplier]
        assert (found.divergence_multiplier, found.case) == (one.divergence_multiplier, one.case)
        assert r_other == pytest.approx(r)


@pytest.mark.parametrize("m", [2, 3])
def test_powers_of_two_change_no_bit(m):
    for seed in range(80):
        h, g, b, c, _ = random_problem(seed, m)
        vectors = np.vstack((g, b))
        products = vectors @ np.linalg.solve(h, vectors.T)
        units = 2.0 ** np.random.default_rng(seed).integers(-40, 40, size=1 + m)
        plain = priced_step(products, c, RADIUS)
        other = priced_step(products * np.outer(units, units), c * units[1:], RADIUS)
        assert other.case is plain.case
        assert other.along_reward * units[0] == plain.along_reward
        assert (other.along_costs * units[1:]).tolist() == plain.along_costs.tolist()
        assert other.divergence_multiplier == plain.divergence_multiplier * units[0]
        expected = plain.cost_multipliers * units[0] / units[1:]
        assert other.cost_multipliers.tolist() == expected.tolist()


def largest_share(h, b, c):
    """Return the largest t with b_i x <= -t c_i of violated costs, the others within limits."""
    to_x = REACH * np.linalg.inv(np.linalg.cholesky(h)).T
    rows = b @ to_x
    lengths = np.linalg.norm(rows, axis=1)
    slopes, bounds = np.maximum(c, 0.0) / lengths, np.maximum(-c, 0.0) / lengths
    rows = rows / lengths[:, None]
    unit = slopes.max()
    constraints = [
        {"type": "ineq", "fun": lambda z: 1 - z[:-1] @ z[:-1]},
        {"type": "ineq", "fun": lambda z: bounds - rows @ z[:-1] - z[-1] * slopes / unit},
    ]
    start = np.zeros(rows.shape[1] + 1)
    found = minimize(lambda z: -z[-1], start, constraints=constraints, options={"ftol": 1e-9})
    assert found.success
    return found.x[-1] / unit


@pytest.mark.parametrize("m", [2, 3, 5])
def test_recovery_takes_back_the_largest_common_share(m):
    for seed in range(15):
        h, g, b, _, _ = random_problem(8 * seed, m)
        shares = np.random.default_rng(seed).uniform(-0.5, 1.0, size=m)
        shares[0] = 1.3  # out of reach
        c = shares * reaches(h, b)
        x, found = solve(h, g, b, c)
        assert found.case is CpoCase.UNRECOVERABLE
        assert found.along_reward == 0.0
        violated = c > 0
        assert (b @ x <= np.where(violated, 0.0, -c) + 1e-9).all()
        taken_back = (-(b @ x) / c)[violated].min()
        assert taken_back == pytest.approx(largest_share(h, b, c), rel=1e-5, abs=1e-9)
        assert 0 < taken_back < 1
        assert x @ h @ x / 2 == pytest.approx(RADIUS)


ROOT = math.sqrt(0.75)


@pytest.mark.parametrize(
    ("g", "b", "c", "x", "prices", "case"),
    [
        # the region is the unit disc: to the right, under y <= 0 and x <= 1/2
        ([1, 0], [[0, 1], [1, 0]], [0, -0.5], [0.5, 0], [0, 1], CpoCase.CROSSING),
        # up and right into a corner: no use for the rest of the region
        ([1, 2], [[1, 0], [0, 1]], [-0.3, -0.4], [0.3, 0.4], [1, 2], CpoCase.CROSSING),
        # up along x = -1/2 as far as the circle
        ([1, 1], [[1, 0], [0, 1]], [0.5, -2], [-0.5, ROOT], [1 + 0.5 / ROOT, 0], "RECOVERABLE"),
        # between x <= -0.2 and x >= -0.2: on that line
        ([5, 1], [[1, 0], [-1, 0]], [0.2, -0.2], [-0.2, math.sqrt(0.96)], None, "RECOVERABLE"),
        # x <= -0.2 and x >= 0.2: both violated, and lowering one raises the other
        ([5, 1], [[1, 0], [-1, 0]], [0.2, 0.2], [0, 0], None, CpoCase.UNRECOVERABLE),
        # x <= -0.5 and x >= -0.2: as far as the cost that is within its limit allows
        ([5, 1], [[1, 0], [-1, 0]], [0.5, -0.2], [-0.2, 0], None, CpoCase.UNRECOVERABLE),
        # no step changes the first cost, which is violated; the second can be recovered
        ([1, 0], [[0, 0], [1, 0]], [0.5, 0.2], [-0.2, 0], None, CpoCase.UNRECOVERABLE),
        ([1, 0], [[0, 0], [1, 0]], [0.5, -0.2], [0, 0], None, CpoCase.UNRECOVERABLE),
        # no step changes a cost
        ([3, 4], [[0, 0], [0, 0]], [-1, 0], [0.6, 0.8], [0, 0], CpoCase.FLAT),
        ([3, 4], [[0, 0], [0, 0]], [-1, 1], [0, 0], None, CpoCase.UNRECOVERABLE),
        # no step changes anything
        ([0, 0], [[0, 0], [0, 0]], [-1, -1], [0, 0], [0, 0], CpoCase.FLAT),
        # nothing to gain
        ([0, 0], [[1, 0], [0, 1]], [-0.1, -0.1], [0, 0], [0, 0], CpoCase.CROSSING),
        ([0, 0], [[1, 0], [0, 1]], [0.3, 0.4], [-0.3, -0.4], [0, 0], CpoCase.RECOVERABLE),
        # all of the region is inside
        ([0, 2], [[1, 0], [0, 1]], [-2, -3], [0, 1], [0, 0], CpoCase.INSIDE),
    ],
)
def test_steps_by_hand(g, b, c, x, prices, case):
    found_x, found = solve_in_disc(np.array(g, float), np.array(b, float), np.array(c, float))
    assert found.case is (CpoCase[case] if isinstance(case, str) else case)
    np.testing.assert_allclose(found_x, x, atol=1e-9)
    if prices is not None:
        np.testing.assert_allclose(found.cost_multipliers, prices, atol=1e-9)


def solve_in_disc(g, b, c):
    vectors = np.vstack((g, b))
    found = priced_step(vectors @ vectors.T, c, 0.5)
    return found.along_reward * g + found.along_costs @ b, found


def test_rounding_does_not_become_a_step():
    """The reward is the sum of the costs but for the errors of single precision."""
    rng = np.random.default_rng(0)
    b = np.eye(4)[:2]
    for _ in range(20):
        vectors = np.vstack((b.sum(0), b)) + 1e-5 * rng.normal(size=(3, 4))
        noise = 1e-8 * rng.normal(size=(3, 3))
        found = priced_step(vectors @ vectors.T + noise, np.array([-0.1, -0.2]), 0.5)
        weights = [found.along_reward, *found.along_costs]
        np.testing.assert_allclose(weights @ vectors, [0.1, 0.2, 0, 0], atol=1e-3)
        np.testing.assert_allclose(found.cost_multipliers, [1, 1], atol=1e-3)
        assert np.abs(weights).max() < 1


def test_rounding_does_not_become_a_step_for_one_constraint():
    """The reward is three times the cost but for the errors of single precision."""
    for noise in (-1e-7, 0.0, 1e-7):
        found = cpo_step(9.0 * (1 + noise), 3.0, 1.0, -0.1, 0.5)
        assert (found.along_reward, found.along_cost) == pytest.approx((0.0, 0.1))
        assert found.cost_multiplier == pytest.approx(3.0)
