import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from scipy.optimize import minimize
from stable_baselines3.common.callbacks import BaseCallback

from agents import CPO
from agents.actor_critic import MlpPolicy
from agents.batch import Batch, Measurement
from agents.cpo import ConstrainedPolicyOptimization, ViolationScale
from agents.cpo_step import CpoCase, cpo_step
from agents.critic_descent import CriticDescent
from agents.flat_parameters import flat_values
from agents.gymnasium_vec_env import GymnasiumVecEnv
from agents.primal.trpo import TrustRegionStep
from agents.schedules import LinearDecay
from safe_envs.contract.vector_env import NativeVectorEnv
from tests.agents.quadratic_bandit import TWO

RADIUS = 0.02  # delta of the random problems
DEEP_SEA = "Safe/DeepSeaTreasure-v0"


def random_problem(seed, share):
    """Return H, g, b and a violation that is `share` of the cost's range in the region."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(3, 3))
    h = root @ root.T + 0.1 * np.eye(3)
    g, b = rng.normal(size=(2, 3))
    return h, g, b, share * math.sqrt(2 * RADIUS * b @ np.linalg.solve(h, b))


def solve(h, g, b, c):
    """Return the step x, (3,), and the solution it comes from."""
    along_g, along_b = np.linalg.solve(h, g), np.linalg.solve(h, b)
    found = cpo_step(g @ along_g, g @ along_b, b @ along_b, c, RADIUS)
    return found.along_reward * along_g + found.along_cost * along_b, found


def numerical_solution(h, g, b, c):
    """Return max g . x by sequential quadratic programming, in coordinates where H is 2 delta I."""
    to_x = math.sqrt(2 * RADIUS) * np.linalg.inv(np.linalg.cholesky(h)).T
    gain, cost = g @ to_x / np.linalg.norm(g @ to_x), b @ to_x
    scale = np.linalg.norm(cost)
    constraints = [
        {"type": "ineq", "fun": lambda y: 1 - y @ y, "jac": lambda y: -2 * y},
        {"type": "ineq", "fun": lambda y: -(c + cost @ y) / scale, "jac": lambda y: -cost / scale},
    ]
    start = -max(c, 0.0) / scale**2 * cost
    found = minimize(
        lambda y: -gain @ y, start, jac=lambda y: -gain, constraints=constraints, tol=1e-9
    )
    assert found.success
    return to_x @ found.x


SHARES = {
    -1.5: CpoCase.INSIDE,
    -0.9: CpoCase.CROSSING,
    -0.3: CpoCase.CROSSING,
    0.0: CpoCase.CROSSING,
    0.3: CpoCase.RECOVERABLE,
    0.9: CpoCase.RECOVERABLE,
}


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("seed", range(8))
def test_step_is_the_optimum(seed, share):
    h, g, b, c = random_problem(seed, share)
    x, found = solve(h, g, b, c)
    assert found.case is SHARES[share]
    assert x @ h @ x / 2 <= RADIUS * (1 + 1e-9)
    assert c + b @ x <= 1e-12
    assert g @ x == pytest.approx(g @ numerical_solution(h, g, b, c), rel=1e-5)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("seed", range(8))
def test_prices_close_the_duality_gap(seed, share):
    """min over lambda, nu >= 0 of (q - 2 nu r + nu^2 s) / (2 lambda) - nu c + lambda delta."""
    h, g, b, c = random_problem(seed, share)
    x, found = solve(h, g, b, c)
    lam, nu = found.divergence_multiplier, found.cost_multiplier
    assert lam > 0
    assert nu >= 0
    priced = g - nu * b
    dual = priced @ np.linalg.solve(h, priced) / (2 * lam) - nu * c + lam * RADIUS
    assert g @ x == pytest.approx(dual, rel=1e-9)
    np.testing.assert_allclose(x, np.linalg.solve(h, priced) / lam, rtol=1e-9)


def test_some_problems_have_an_idle_constraint_and_some_do_not():
    prices = [solve(*random_problem(seed, -0.3))[1].cost_multiplier for seed in range(8)]
    assert 0 < sum(price == 0 for price in prices) < 8


@pytest.mark.parametrize("seed", range(8))
def test_recovery_reduces_the_cost_most(seed):
    h, g, b, c = random_problem(seed, 1.5)
    x, found = solve(h, g, b, c)
    assert found.case is CpoCase.UNRECOVERABLE
    np.testing.assert_allclose(x, numerical_solution(h, -b, -b, -1e9 * c), rtol=1e-4, atol=1e-7)
    assert x @ h @ x / 2 == pytest.approx(RADIUS)
    assert found.cost_multiplier == math.inf


@pytest.mark.parametrize(
    ("problem", "along", "case"),
    [
        # g = b: up to the plane, and no further
        ((4.0, 4.0, 4.0, -0.1, 0.5), (0.0, 0.025), CpoCase.CROSSING),
        # g = b and nothing to regain but the limit
        ((4.0, 4.0, 4.0, 0.1, 0.5), (0.0, -0.025), CpoCase.RECOVERABLE),
        # g = -b: both want the same
        ((4.0, -4.0, 4.0, 0.1, 0.5), (0.5, 0.0), CpoCase.RECOVERABLE),
        # no reward to gain
        ((0.0, 0.0, 4.0, -0.1, 0.5), (0.0, 0.0), CpoCase.CROSSING),
        ((0.0, 0.0, 4.0, 0.1, 0.5), (0.0, -0.025), CpoCase.RECOVERABLE),
        # the cost does not depend on the step
        ((4.0, 0.0, 0.0, -0.1, 0.5), (0.5, 0.0), CpoCase.FLAT),
        ((4.0, 0.0, 0.0, 0.1, 0.5), (0.0, 0.0), CpoCase.UNRECOVERABLE),
        # the half-space touches the region from outside: -b sqrt(2 delta / s)
        ((4.0, 0.0, 4.0, 2.0, 0.5), (0.0, -0.5), CpoCase.UNRECOVERABLE),
        # g and b at right angles, x = 0 on the plane
        ((4.0, 0.0, 9.0, 0.0, 0.5), (0.5, 0.0), CpoCase.CROSSING),
    ],
)
def test_steps_by_hand(problem, along, case):
    found = cpo_step(*problem)
    assert found.case is case
    assert (found.along_reward, found.along_cost) == pytest.approx(along)


def make_policy_and_batch(m=1):
    torch.manual_seed(0)
    policy = MlpPolicy(
        Box(-1, 1, (3,)), Box(-1, 1, (2,)), lambda _: 1e-3, net_arch=[8], num_costs=m
    )
    observations = torch.randn(400, 3)
    with torch.no_grad():
        actions = policy.sample_actions(observations)
        log_probs = policy.log_probs(observations, actions)
    pulls = torch.tensor([[1.0, 0.5, -0.5], [0.0, 1.0, 0.5]])[:, : 1 + m]
    advantages = torch.randn(400, 1 + m) + actions @ pulls
    return policy, Batch(observations, actions, log_probs, advantages, advantages)


def make_update(gain=1.0, m=1, share=1.0, max_kl=0.01):
    return ConstrainedPolicyOptimization(
        TrustRegionStep(CriticDescent(n_epochs=1), cg_damping=1e-3, max_kl=max_kl),
        ViolationScale(gain, share),
        m,
    )


def measured(violation, horizon):
    """Of one constraint, or of as many as there are numbers."""
    violation = np.atleast_1d(violation)
    zeros = np.zeros(len(violation))
    return Measurement(violation, zeros, np.full(len(violation), horizon), 3, zeros, zeros)


@pytest.mark.parametrize("horizon", [10.0, 1000.0])
def test_step_takes_back_the_violation_of_an_episode(horizon):
    """An episode has `horizon` steps: a violation v asks for mean[(rho - 1) A_c] = -v / horizon."""
    (policy, batch), update = make_policy_and_batch(), make_update()
    report = update.update(policy, batch, measured(0.02 * horizon, horizon), 1.0)
    assert update.log()["case"].tolist() == [CpoCase.RECOVERABLE]
    taken_back = -0.02 * report["step_fraction"]
    assert report["cost_surrogate_gain"] == pytest.approx(taken_back, rel=0.1)


def test_gain_takes_back_a_multiple_of_a_violation_and_leaves_slack_alone():
    (policy, batch), update = make_policy_and_batch(), make_update(gain=4.0)
    report = update.update(policy, batch, measured(0.05, 10.0), 1.0)
    taken_back = -4.0 * 0.005 * report["step_fraction"]
    assert report["cost_surrogate_gain"] == pytest.approx(taken_back, rel=0.1)
    (policy, batch), plain = make_policy_and_batch(), make_update()
    expected = plain.update(policy, batch, measured(-0.1, 10.0), 1.0)
    (policy, batch), scaled = make_policy_and_batch(), make_update(gain=4.0)
    assert scaled.update(policy, batch, measured(-0.1, 10.0), 1.0) == expected


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_a_step_is_asked_for_a_share_of_the_possible_decrease(share):
    """On an ellipse: with a share s of the way to the least cost, sqrt(1 - s^2) is free.

    The step for the cost alone is the direction of the least cost, c; the best step at a share s of
    it is s c + sqrt(1 - s^2) d, with d the best direction at right angles to c in the metric.
    """
    tiny, gains = 1e-6, {}
    for asked in (share, 1.0):
        (policy, batch), update = make_policy_and_batch(), make_update(share=asked, max_kl=tiny)
        report = update.update(policy, batch, measured(100.0, 10.0), 1.0)
        assert report["step_fraction"] == 1.0 or report["step_fraction"] > 0.7
        found = report["cost_surrogate_gain"], report["surrogate_gain"]
        gains[asked] = np.array(found) / report["step_fraction"]
    (policy, batch), update = make_policy_and_batch(), make_update(max_kl=tiny)
    free = update.update(policy, batch, measured(-1e6, 10.0), 1.0)
    most = free["surrogate_gain"] / free["step_fraction"]
    least, along = gains[1.0]  # of the cost, and the reward on the way there
    assert gains[share][0] == pytest.approx(share * least, rel=0.02)
    best = share * along + np.sqrt((1.0 - share**2) * (most**2 - along**2))
    assert gains[share][1] == pytest.approx(best, rel=0.02)


@pytest.mark.parametrize(
    ("violation", "case"),
    [
        (-100.0, CpoCase.INSIDE),
        (-0.1, CpoCase.CROSSING),
        (0.5, CpoCase.RECOVERABLE),
        (100.0, CpoCase.UNRECOVERABLE),
    ],
)
def test_line_search_keeps_divergence_and_cost(violation, case):
    (policy, batch), update = make_policy_and_batch(), make_update()
    report = update.update(policy, batch, measured(violation, 10.0), 1.0)
    assert update.log()["case"].tolist() == [case]
    assert 0 < report["kl"] <= 0.01
    assert report["cost_surrogate_gain"] <= max(-violation / 10.0, 0.0)
    if violation < 0:
        assert report["surrogate_gain"] > 0


def test_price_is_the_linear_programs_where_the_reward_is_twice_the_cost():
    """With A_r = 2 A_c a unit of cost is worth 2."""
    (policy, batch), update = make_policy_and_batch(), make_update()
    cost = batch.advantages[:, 1:]
    batch = batch._replace(advantages=torch.cat((2 * cost, cost), 1))
    update.update(policy, batch, measured(-0.1, 10.0), 1.0)
    assert update.log()["weight"].tolist() == pytest.approx([2.0], rel=1e-3)


def test_violation_is_held_while_no_episode_ends():
    (policy, batch), update = make_policy_and_batch(), make_update()
    start = flat_values(policy.actor_parameters())
    critics = policy.value_net.weight.detach().clone()
    report = update.update(policy, batch, None, 1.0)
    assert torch.equal(flat_values(policy.actor_parameters()), start)
    assert not torch.equal(policy.value_net.weight, critics)
    assert "kl" not in report
    assert {name: v.tolist() for name, v in update.log().items()} == {"weight": [0], "case": [-1]}
    update.update(policy, batch, measured(100.0, 10.0), 1.0)
    with torch.no_grad():
        again = batch._replace(log_probs=policy.log_probs(batch.observations, batch.actions))
    update.update(policy, again, None, 1.0)
    assert update.log()["case"].tolist() == [CpoCase.UNRECOVERABLE]


def test_a_scheduled_radius_falls_with_the_progress():
    reports = []
    for max_kl, left in ((LinearDecay(0.02), 0.25), (0.005, 1.0)):
        policy, batch = make_policy_and_batch()
        region = TrustRegionStep(CriticDescent(n_epochs=1), max_kl=max_kl, cg_damping=1e-3)
        update = ConstrainedPolicyOptimization(region, ViolationScale(1.0))
        reports.append(update.update(policy, batch, measured(0.05, 10.0), left))
    assert reports[0] == reports[1]
    start = flat_values(policy.actor_parameters())
    scheduled = TrustRegionStep(CriticDescent(), max_kl=LinearDecay(0.02))
    at_the_end = ConstrainedPolicyOptimization(scheduled, ViolationScale(1.0))
    at_the_end.update(policy, batch, measured(0.05, 10.0), 0.0)
    assert torch.equal(flat_values(policy.actor_parameters()), start)


def test_a_share_above_1_is_refused():
    with pytest.raises(ValueError, match="recovery_share is 1.5"):
        ViolationScale(recovery_share=1.5)
    with pytest.raises(ValueError, match="recovery_share is 2.0 at a remaining progress of 0.5"):
        ViolationScale(recovery_share=lambda left: 4.0 * left).share(0.5)
    assert ViolationScale(recovery_share=LinearDecay(0.5, 1.0)).share(0.5) == 0.75


def test_update_is_complete_when_constructed():
    log = {name: numbers.tolist() for name, numbers in make_update().log().items()}
    assert log == {"weight": [0.0], "case": [-1.0]}


@pytest.mark.parametrize(
    ("violation", "case"),
    [
        ((-100.0, -200.0), CpoCase.INSIDE),
        ((-0.1, -0.05), CpoCase.CROSSING),
        ((0.5, -0.1), CpoCase.RECOVERABLE),
        ((100.0, -0.1), CpoCase.UNRECOVERABLE),
        ((100.0, 1.0), CpoCase.UNRECOVERABLE),
    ],
)
def test_line_search_keeps_every_cost(violation, case):
    """Costs within their limits may rise up to them; violated ones may not rise."""
    (policy, batch), update = make_policy_and_batch(m=2), make_update(m=2)
    report = update.update(policy, batch, measured(violation, 10.0), 1.0)
    shown = update.log()
    assert shown["case"].tolist() == [case]
    assert ("weight" in shown) == (case is not CpoCase.UNRECOVERABLE)
    assert 0 < report["kl"] <= 0.01
    rises = np.array([report[f"cost_surrogate_gain/{i}"] for i in range(2)])
    assert (rises <= np.maximum(-np.array(violation) / 10.0, 0.0)).all()
    assert (rises[np.array(violation) > 0] < 0).all()
    if max(violation) < 0:
        assert report["surrogate_gain"] > 0


def test_prices_are_the_linear_programs_where_the_reward_is_a_sum_of_costs():
    """With A_r = 2 A_1 + A_2 / 2 a unit of the first cost is worth 2, of the second 1/2.

    Conjugate gradient stops early.
    """
    (policy, batch), update = make_policy_and_batch(m=2), make_update(m=2)
    costs = batch.advantages[:, 1:]
    batch = batch._replace(advantages=torch.cat((costs @ torch.tensor([[2.0], [0.5]]), costs), 1))
    update.update(policy, batch, measured((-0.1, -0.1), 10.0), 1.0)
    np.testing.assert_allclose(update.log()["weight"], [2.0, 0.5], rtol=1e-2)


def test_step_ends_on_both_limits():
    """A longer way off would be refused by the line search, a shorter one earns less."""
    (policy, batch), update = make_policy_and_batch(m=2), make_update(m=2)
    costs = batch.advantages[:, 1:]
    batch = batch._replace(advantages=torch.cat((costs.sum(1, keepdim=True), costs), 1))
    report = update.update(policy, batch, measured((-0.1, 0.2), 10.0), 1.0)
    for i, expected in enumerate([0.01, -0.02]):
        change = report[f"cost_surrogate_gain/{i}"]
        assert change == pytest.approx(report["step_fraction"] * expected, rel=0.1)


@pytest.mark.parametrize("violation", [(0.5,), (100.0,), (-0.1, 0.2), (100.0, -0.1)])
def test_goes_on_from_its_state(violation):
    m = len(violation)
    (policy, batch), first = make_policy_and_batch(m), make_update(m=m)
    first.update(policy, batch, measured(violation, 10.0), 1.0)
    second = make_update(m=m)
    second.load_state({name: part for name, part in first.state().items()})
    assert str(second.log()) == str(first.log())
    reports = []
    for update in (first, second):
        policy, batch = make_policy_and_batch(m)
        reports.append(update.update(policy, batch, None, 1.0))
    assert reports[0] == reports[1]
    assert reports[0]["kl"] > 0


def test_held_violation_follows_a_new_gain():
    """The state holds what was measured, not what the old gain made of it."""
    (policy, batch), first = make_policy_and_batch(), make_update(gain=1.0)
    first.update(policy, batch, measured(0.05, 10.0), 1.0)
    second = make_update(gain=4.0)
    second.load_state(first.state())
    policy, batch = make_policy_and_batch()
    report = second.update(policy, batch, None, 1.0)
    taken_back = -4.0 * 0.005 * report["step_fraction"]
    assert report["cost_surrogate_gain"] == pytest.approx(taken_back, rel=0.1)


def test_state_of_a_new_update_is_no_violation_and_prices_of_zero():
    state = make_update(m=2).state()
    assert state["violation"] is None
    assert state["multipliers"].tolist() == [0.0, 0.0]
    assert state["case"] == -1


class ExactCosts(BaseCallback):
    """Evaluates the policy exactly before every rollout."""

    def __init__(self):
        super().__init__()
        self.model_of = gym.make(DEEP_SEA).unwrapped.tabular_model()
        self.trace = []

    def _on_rollout_start(self):
        with torch.no_grad():
            states = torch.arange(self.model_of.num_states)
            probs = self.model.policy.get_distribution(states).distribution.probs.double().numpy()
        found = self.model_of.evaluate(probs / probs.sum(1, keepdims=True))
        # A recovery step looks at the cost alone, as an infinite price would.
        price = float(self.model.constraint_state().get("weight", [np.inf])[0])
        self.trace.append((found.value, found.costs[0], price))

    def _on_step(self):
        return True


PAPERS = {"max_kl": 0.01, "gae_lambda": 0.95, "cost_margin": 0.0, "recovery_share": 1.0}


@pytest.mark.parametrize("settings", [PAPERS, {}], ids=["paper", "defaults"])
@pytest.mark.parametrize("seed", range(3))
def test_learns_deep_sea_treasure(seed, settings):
    """V_r* = 0.37370596 at V_c = 0.15, with multiplier 1.00222222.

    With the margin and the wider region of the defaults, half of the steps may be recoveries, which
    have no price.
    """
    agent = CPO(
        "MlpPolicy",
        DEEP_SEA,
        n_envs=64,
        n_steps=16,
        batch_size=1024,
        learning_rate=0.01,
        policy_kwargs={"net_arch": {"pi": [], "vf": []}},
        seed=seed,
        **settings,
    )
    exact = ExactCosts()
    agent.learn(50_000, callback=exact)
    tail = np.array(exact.trace[-len(exact.trace) // 5 :])
    value, cost, _ = tail.mean(0)
    assert value == pytest.approx(0.37370596, abs=0.04)
    assert cost - 0.15 <= 0.03
    if settings:
        assert np.median(tail[:, 2]) == pytest.approx(1.00222222, abs=0.2)


class Answers(BaseCallback):
    """Keeps the mean answer and the prices after every rollout."""

    def _init_callback(self):
        self.answers, self.prices = [], []

    def _on_rollout_end(self):
        self.answers.append(self.model.predict(np.ones(1), deterministic=True)[0])
        self.prices.append(self.model.constraint_state().get("weight", np.full(2, np.nan)))

    def _on_step(self):
        return True


def test_two_constraints_end_at_the_optimum_of_the_quadratic_program():
    agent = CPO(
        "MlpPolicy",
        GymnasiumVecEnv(NativeVectorEnv(TWO, 256, None, "SameStep")),
        n_steps=2,
        batch_size=512,
        n_epochs=5,
        learning_rate=0.03,
        violation_gain=1.0,  # the paper's problem
        policy_kwargs={"net_arch": {"pi": [], "vf": []}, "log_std_init": -1.0},
        seed=0,
    )
    track = Answers()
    agent.learn(512 * 50, callback=track)
    answer, multipliers = TWO.optimum()
    assert (multipliers > 0).all()
    found = np.mean(track.answers[-10:], axis=0)
    assert np.linalg.norm(found - answer) < 0.03 * np.linalg.norm(answer)
    prices = np.nanmean(track.prices[-10:], axis=0)
    assert np.linalg.norm(prices - multipliers) < 0.1 * np.linalg.norm(multipliers)
