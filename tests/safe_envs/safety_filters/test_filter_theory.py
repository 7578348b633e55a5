"""What a curvature-weighted projection guarantees, on random values of which all is known.

Q(d) = -1/2 d'W d + 1/6 T[d, d, d] with d = a - u_ref in the square |d_i| <= 1, and one row
n'd >= b that the reference breaks. Q is concave there, so the best safe action and both
projections lie on the row's segment in the square, where they are roots of a quadratic.
The bounds are those of Lin and Xu (arXiv 2602.12603), theorems 1 to 4 and lemma 2, with the
exponent corrected: lengths in the metric W are at least sqrt(mu) times Euclidean lengths, so L2
comes with mu^(-3/2). The printed mu^(-3) is not invariant to the unit of the reward.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from safe_envs.safety_filters import project

ROUNDING = 1e-12
INSTANCES = 3000


@dataclass
class Instances:
    """N random problems; every array starts with the axis N."""

    weight: np.ndarray  # W, (N, 2, 2)
    third: np.ndarray  # T, (N, 2, 2, 2), symmetric
    segment: np.ndarray  # (N, 2 ends, 2) of the row inside the square

    def scaled(self, factor):
        return Instances(factor * self.weight, factor * self.third, self.segment)

    def take(self, rows):
        return Instances(self.weight[rows], self.third[rows], self.segment[rows])

    def value(self, d):
        cubic = np.einsum("nijk,ni,nj,nk->n", self.third, d, d, d)
        return cubic / 6.0 - np.einsum("nij,ni,nj->n", self.weight, d, d) / 2.0

    @property
    def hessian_lipschitz(self):  # the Frobenius norm bounds the operator norm
        return np.sqrt((self.third**2).sum(axis=(1, 2, 3)))

    @property
    def curvature(self):  # mu: -H >= mu on the square, whose corners are sqrt(2) away
        return np.linalg.eigvalsh(self.weight)[:, 0] - np.sqrt(2.0) * self.hessian_lipschitz

    @property
    def steepest(self):  # G >= |grad Q| on the square
        return np.sqrt(2.0) * np.linalg.norm(self.weight, 2, (1, 2)) + self.hessian_lipschitz

    def nearest(self, weight):
        """Return the points of the segments nearest to the reference in a metric (N, 2, 2)."""
        start, way = self.segment[:, 0], self.segment[:, 1] - self.segment[:, 0]
        along = np.einsum("ni,nij,nj->n", way, weight, start)
        share = -along / np.einsum("ni,nij,nj->n", way, weight, way)
        return start + np.clip(share, 0.0, 1.0)[:, None] * way

    def best(self):
        """Return the safe actions of the highest value: roots of dQ/ds, or ends."""
        start, way = self.segment[:, 0], self.segment[:, 1] - self.segment[:, 0]

        def cubic(*vectors):
            return np.einsum("nijk,ni,nj,nk->n", self.third, *vectors)

        a = cubic(way, way, way) / 2.0
        b = cubic(start, way, way) - np.einsum("ni,nij,nj->n", way, self.weight, way)
        c = cubic(start, start, way) / 2.0 - np.einsum("ni,nij,nj->n", way, self.weight, start)
        root = np.sqrt(np.maximum(b * b - 4.0 * a * c, 0.0))
        shares = np.stack([2.0 * c / (root - b), np.zeros_like(a), np.ones_like(a)])
        points = start + np.clip(shares, 0.0, 1.0)[:, :, None] * way
        values = np.stack([self.value(point) for point in points])
        return points[values.argmax(axis=0), np.arange(len(a))]


def random_instances(rng, count, share_of_cubic=0.9):
    factor = rng.normal(size=(count, 2, 2))
    weight = factor @ factor.transpose(0, 2, 1) + 0.05 * np.eye(2)
    third = rng.normal(size=(count, 2, 2, 2))
    orders = [(0, 1, 2, 3), (0, 1, 3, 2), (0, 2, 1, 3), (0, 2, 3, 1), (0, 3, 1, 2), (0, 3, 2, 1)]
    third = sum(third.transpose(order) for order in orders)
    largest = np.linalg.eigvalsh(weight)[:, 0] / np.sqrt(2.0)
    share = share_of_cubic * rng.random(count)
    third *= (share * largest / np.sqrt((third**2).sum(axis=(1, 2, 3))))[:, None, None, None]
    angle = rng.uniform(0.0, 2.0 * np.pi, count)
    normal = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    distance = rng.uniform(0.05, 0.95, count)
    tangent = np.stack([-normal[:, 1], normal[:, 0]], axis=1)
    foot = distance[:, None] * normal
    with np.errstate(divide="ignore"):
        upper = np.min((np.sign(tangent) - foot) / tangent, axis=1)
        lower = np.max((-np.sign(tangent) - foot) / tangent, axis=1)
    ends = foot[:, None] + np.stack([lower, upper], axis=1)[:, :, None] * tangent[:, None]
    return Instances(weight, third, ends)


def lengths(vectors):
    return np.linalg.norm(vectors, axis=1)


def weighted_lengths(vectors, weight):
    return np.sqrt(np.einsum("ni,nij,nj->n", vectors, weight, vectors))


@pytest.fixture(scope="module")
def instances():
    return random_instances(np.random.default_rng(0), INSTANCES)


def identity(instances):
    return np.broadcast_to(np.eye(2), instances.weight.shape)


def near_optimality(instances):
    """Return the loss of u_W, its bound by Euclidean lengths, and the two forms with D."""
    best, nearest = instances.best(), instances.nearest(instances.weight)
    loss = instances.value(best) - instances.value(nearest)
    lipschitz, curvature = instances.hessian_lipschitz, instances.curvature
    euclidean = instances.nearest(identity(instances))
    farthest = np.max(
        [weighted_lengths(d, instances.weight) for d in (best, nearest, euclidean)], axis=0
    )
    sharp = lipschitz / 6.0 * (lengths(nearest) ** 3 + lengths(best) ** 3)
    corrected = lipschitz * farthest**3 / (3.0 * curvature**1.5)
    printed = lipschitz * farthest**3 / (3.0 * curvature**3)
    return loss, sharp, corrected, printed


def advantage(instances):
    """Return Q(u_W) - Q(u_E) and its lower bound c/2 delta^2 - L2/6 (|d_W|^3 + |d_E|^3)."""
    nearest, euclidean = instances.nearest(instances.weight), instances.nearest(identity(instances))
    gained = instances.value(nearest) - instances.value(euclidean)
    squares = [weighted_lengths(d, instances.weight) ** 2 for d in (euclidean, nearest)]
    remainder = lengths(nearest) ** 3 + lengths(euclidean) ** 3
    return gained, (squares[0] - squares[1]) / 2.0 - instances.hessian_lipschitz / 6.0 * remainder


def test_the_segments_points_are_those_of_the_filter(instances):
    for i in range(0, INSTANCES, 100):
        start, end = instances.segment[i]
        normal = np.array([end[1] - start[1], start[0] - end[0]])
        normal *= np.sign(normal @ start)
        found = project(
            instances.weight[i], np.zeros(2), normal[None], [normal @ start], -1.0, 1.0, 1e9
        )
        expected = instances.nearest(instances.weight)[i]
        np.testing.assert_allclose(found.action, expected, atol=1e-6)


def test_lemma_1_the_projection_is_optimal_if_the_value_is_quadratic(instances):
    quadratic = Instances(instances.weight, 0.0 * instances.third, instances.segment)
    nearest = quadratic.nearest(quadratic.weight)
    np.testing.assert_allclose(nearest, quadratic.best(), atol=1e-12)
    shares = np.random.default_rng(1).random((20, INSTANCES, 1))
    for share in shares:
        other = quadratic.segment[:, 0] * share + quadratic.segment[:, 1] * (1.0 - share)
        assert (quadratic.value(nearest) >= quadratic.value(other) - ROUNDING).all()


def test_theorem_1_bounds_the_loss_with_the_exponent_three_halves(instances):
    loss, sharp, corrected, _ = near_optimality(instances)
    assert (loss >= -ROUNDING).all()
    assert (loss <= sharp + ROUNDING).all()
    assert (sharp <= corrected + ROUNDING).all()
    assert loss.max() > 1e-4  # the instances are no trivial ones


@pytest.mark.parametrize("reward_scale", [1.0, 100.0])
def test_the_printed_exponent_three_fails_where_the_reward_is_large(instances, reward_scale):
    loss, _, corrected, printed = near_optimality(instances.scaled(reward_scale))
    assert (loss <= corrected + ROUNDING * reward_scale).all()
    broken = (loss > printed + ROUNDING * reward_scale).mean()
    if reward_scale > 1.0:
        assert broken > 0.01
    else:
        assert broken < 0.01


def test_theorem_2_bounds_the_advantage_over_the_euclidean_projection(instances):
    gained, bound = advantage(instances)
    assert (gained >= bound - ROUNDING).all()
    promised = bound >= 0.0
    assert 0.2 < promised.mean() < 1.0
    assert (gained[promised] >= -ROUNDING).all()


def perturbed(instances, rng):
    """Return metrics with |W^ - W| = eps < mu, and eps (N,)."""
    noise = rng.normal(size=instances.weight.shape)
    noise = noise + noise.transpose(0, 2, 1)
    eps = rng.uniform(0.01, 0.9, len(noise)) * instances.curvature
    noise *= (eps / np.linalg.norm(noise, 2, (1, 2)))[:, None, None]
    return instances.weight + noise, eps


def test_lemma_2_bounds_how_far_an_error_of_the_metric_moves_the_projection(instances):
    metric, eps = perturbed(instances, np.random.default_rng(2))
    exact, learned = instances.nearest(instances.weight), instances.nearest(metric)
    moved = lengths(learned - exact)
    radius = np.maximum(lengths(exact), lengths(learned))
    curvature = instances.curvature
    assert (moved <= np.sqrt(2.0 * eps * radius**2 / curvature) + ROUNDING).all()
    assert (moved <= eps * radius / (curvature - eps) + ROUNDING).all()
    assert moved.max() > 0.1


def test_theorems_3_and_4_hold_for_a_metric_with_an_error(instances):
    metric, eps = perturbed(instances, np.random.default_rng(3))
    exact, learned = instances.nearest(instances.weight), instances.nearest(metric)
    radius = np.maximum(lengths(exact), lengths(learned))
    moved = np.sqrt(2.0 * eps * radius**2 / instances.curvature)
    price = instances.steepest * moved
    loss = instances.value(instances.best()) - instances.value(learned)
    _, _, corrected, _ = near_optimality(instances)
    assert (loss <= corrected + price + ROUNDING).all()
    gained = instances.value(learned) - instances.value(instances.nearest(identity(instances)))
    _, bound = advantage(instances)
    assert (gained >= bound - price - ROUNDING).all()
