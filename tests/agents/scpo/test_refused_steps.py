"""Steps that cannot be taken leave parameters and optimizer bit for bit as they were."""

import copy

import numpy as np
import pytest
import torch

from agents.scpo.measured_constraint import (
    ConstraintShapeError,
    InfeasibleStartError,
    NonDeterministicConstraintError,
    NonFiniteConstraintError,
)
from agents.scpo.projection import WeightSpaceProjection, ZeroStepError

TARGET = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
OPTIMIZERS = {
    "SGD momentum": lambda params: torch.optim.SGD(params, 0.1, momentum=0.9),
    "Adam": lambda params: torch.optim.Adam(params, 0.1),
}


class Problem:
    """|theta - target|^2 under a constraint that a test can exchange; two safe steps are taken."""

    def __init__(self, optimizer="Adam", **settings):
        self.theta = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.optimizer = OPTIMIZERS[optimizer]([self.theta])
        self.function = lambda theta: theta - 100.0
        self.projection = WeightSpaceProjection(
            [self.theta], self.optimizer, self.constraint, **settings
        )
        for _ in range(2):
            assert self.projection.step(self.closure).accepted

    def constraint(self):
        return self.function(self.theta.detach().numpy().copy())

    def closure(self, index=None):
        return (self.theta - TARGET).square().mean()

    def snapshot(self):
        return copy.deepcopy((self.theta.detach(), self.optimizer.state_dict()))

    def is_as_in(self, snapshot):
        theta, state = snapshot
        now = self.optimizer.state_dict()
        memory, kept = now["state"].get(0, {}), state["state"].get(0, {})
        same = memory.keys() == kept.keys() and all(
            torch.equal(memory[key], kept[key]) for key in kept
        )
        return same and now["param_groups"] == state["param_groups"] and self.theta.equal(theta)


@pytest.fixture(params=OPTIMIZERS)
def problem(request):
    return Problem(request.param)


def assert_refused(problem, error, match, closure=None, groups=None):
    """Assert that a step raises, changes nothing, and that the next good one is taken."""
    snapshot, safe = problem.snapshot(), problem.projection.last_safe.clone()
    with pytest.raises(error, match=match):
        problem.projection.step(closure or problem.closure, groups)
    assert problem.is_as_in(snapshot)
    assert torch.equal(problem.projection.last_safe, safe)
    problem.function = lambda theta: theta - 100.0
    assert problem.projection.step(problem.closure).accepted


def test_a_constraint_that_is_no_number(problem):
    problem.function = lambda theta: np.array([-1.0, np.nan, -1.0])
    assert_refused(problem, NonFiniteConstraintError, "constraint 1 is NaN; return inf")


def test_a_constraint_that_is_no_number_at_a_groups_column(problem):
    calls = []
    problem.function = lambda theta: (
        calls.append(1) or np.full(3, 1.0 if len(calls) == 1 else np.nan)
    )
    groups = [torch.arange(2), torch.arange(2, 3)]
    match = "constraint 0 is NaN"
    assert_refused(problem, NonFiniteConstraintError, match, groups=groups)
    assert len(calls) == 2


def test_a_constraint_that_changes_its_length(problem):
    problem.function = lambda theta: np.full(2, -1.0)
    assert_refused(problem, ConstraintShapeError, "had 3 entries and now has 2")


def test_a_constraint_that_is_no_vector(problem):
    problem.function = lambda theta: np.array(-1.0)
    assert_refused(problem, ConstraintShapeError, r"has shape \(\); it has to be a vector")


def test_an_error_of_the_constraint_function_itself(problem):
    def fail(theta):
        raise RuntimeError("the simulator is gone")

    problem.function = fail
    assert_refused(problem, RuntimeError, "the simulator is gone")


def test_a_batch_of_constraints_with_a_missing_row():
    problem = Problem(constraint_batch_fn=lambda thetas: np.zeros((1, 3)))
    problem.function = lambda theta: np.full(3, 1.0)
    groups = [torch.arange(2), torch.arange(2, 3)]
    match = r"has shape \(1, 3\); it has to be \(2, 3\)"
    assert_refused(problem, ConstraintShapeError, match, groups=groups)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite(problem, loss):
    match = f"the loss is {loss}"
    assert_refused(problem, ValueError, match, lambda index=None: problem.theta.sum() * loss)


def test_a_gradient_that_is_not_finite(problem):
    # sqrt has an infinite derivative at 0, where the loss itself is finite.
    problem.function = lambda theta: np.full(3, -1.0)
    safe = problem.projection.last_safe

    def closure(index=None):
        return (problem.theta - safe).square().sum().sqrt()

    match = "the optimizer's step is not finite; check the gradient"
    assert_refused(problem, ValueError, match, closure)


def test_groups_without_samples(problem):
    assert_refused(problem, ValueError, "the groups are empty", groups=[torch.arange(0)])


def test_a_loss_without_gradient():
    theta = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([theta], 0.1)
    projection = WeightSpaceProjection([theta], optimizer, lambda: np.array([-1.0]))
    with pytest.raises(ZeroStepError, match="the optimizer's step is zero"):
        projection.step(lambda index=None: (theta * 0.0).sum())
    assert not theta.any()
    assert len(optimizer.state) == 0


def test_parameters_that_were_changed_from_outside(problem):
    with torch.no_grad():
        problem.theta += 1.0
    snapshot = problem.snapshot()
    with pytest.raises(ValueError, match="changed since the last step.* last_safe"):
        problem.projection.step(problem.closure)
    assert problem.is_as_in(snapshot)


def test_a_null_step_changes_nothing_and_says_why(problem):
    snapshot, constraint = problem.snapshot(), problem.projection.constraint.copy()
    safe = problem.theta.detach().numpy().copy()
    problem.function = lambda theta: np.full(3, -1.0 if np.array_equal(theta, safe) else 1.0)
    report = problem.projection.step(problem.closure, [torch.arange(2), torch.arange(2, 3)])
    assert not report.accepted
    assert report.reason
    assert report.fraction == 0.0
    assert report.loss_after == report.loss_before == float(problem.closure().detach())
    assert problem.is_as_in(snapshot)
    np.testing.assert_array_equal(problem.projection.constraint, constraint)


def test_a_loss_that_only_rises_gives_a_null_step(problem):
    snapshot, calls = problem.snapshot(), []

    def closure(index=None):
        calls.append(1)
        return problem.closure() + (0.0 if len(calls) <= 2 else 100.0)

    report = problem.projection.step(closure)
    assert report.reason == "the loss does not fall along the projected step"
    assert problem.is_as_in(snapshot)


def test_an_infinite_constraint_halves_the_raw_step_until_it_is_finite():
    problem, measured = Problem("SGD momentum"), []
    start = problem.theta.detach().clone()

    def wall(theta):
        measured.append(torch.from_numpy(theta))
        outside = np.abs(theta - start.numpy()).max() > 0.3
        return np.full(3, np.inf) if outside else theta - 100.0

    problem.function = wall
    report = problem.projection.step(problem.closure)
    assert report.accepted
    steps = [theta - start for theta in measured]
    for halving, step in enumerate(steps):
        torch.testing.assert_close(step, steps[0] * 0.5**halving)
    assert len(steps) == report.evaluations >= 2
    assert steps[-2].abs().max() > 0.3 >= steps[-1].abs().max()
    assert torch.equal(problem.theta, measured[-1])


def test_a_model_that_is_unsafe_everywhere_else_stays(problem):
    snapshot, safe = problem.snapshot(), problem.theta.detach().numpy().copy()
    problem.function = lambda theta: np.full(3, -1.0 if np.array_equal(theta, safe) else np.inf)
    report = problem.projection.step(problem.closure)
    assert report.reason == "g is not finite along the raw step"
    assert report.evaluations == 20  # 2^-20 is the first below a millionth
    assert problem.is_as_in(snapshot)


def start(function, **settings):
    theta = torch.nn.Parameter(torch.zeros(3))
    return WeightSpaceProjection([theta], torch.optim.SGD([theta], 0.1), function, **settings)


def test_an_infeasible_start_names_the_worst_constraint():
    with pytest.raises(InfeasibleStartError, match="constraint 2 is 3 at the start and 2 of 3"):
        start(lambda: np.array([1.0, -1.0, 3.0]))
    assert start(lambda: np.zeros(3)).constraint.max() == 0.0  # the bound itself is allowed


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_start_that_is_not_finite(bad):
    with pytest.raises(NonFiniteConstraintError, match="constraint 1 is"):
        start(lambda: np.array([-1.0, bad]))


def test_a_constraint_that_is_random():
    rng = np.random.default_rng(0)
    with pytest.raises(NonDeterministicConstraintError, match=r"constraint 0 was .* and then"):
        start(lambda: rng.uniform(-2, -1, size=1))
    start(lambda: rng.uniform(-2, -1, size=1), determinism_tolerance=1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bank_size", 0),
        ("metric", "euclid"),
        ("smoothness_memory", 1.5),
        ("armijo", 0.0),
        ("max_halvings", -1),
        ("max_tries", 0),
        ("determinism_tolerance", -1.0),
    ],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        start(lambda: np.array([-1.0]), **{name: value})


def test_an_optimizer_over_other_parameters():
    theta, other = (torch.nn.Parameter(torch.zeros(3)) for _ in range(2))
    with pytest.raises(ValueError, match="create it with the given parameters"):
        WeightSpaceProjection([theta], torch.optim.SGD([other], 0.1), lambda: np.array([-1.0]))
