"""SCPO's second experiment: imitating an untrustworthy expert on the double integrator.

    min  E (pi(x) - pi_beta(x))^2   s.t.   A(x_j, pi(x_j)) <= alpha |x_j|^2   for grid states x_j

with A(x, u) = x'x + u^2 + V_safe(Ax + Bu) - V_safe(x), the advantage over the safe controller.
Source: Cao and Borrelli, SCPO (arXiv 2512.13788), sections V-D and VI-B.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.func import functional_call

from agents.flat_parameters import flat_values
from agents.scpo.residual_network import ResidualNetwork
from safe_envs.control.double_integrator_reference import (
    BOX,
    EXPERT_GAIN,
    TARGET_RADIUS,
    Policy,
    in_safe_set,
    inside_box,
    linear_quadratic_regulator,
    malicious_expert,
    next_states,
    safe_controller,
    safe_value,
)

GATE_RADIUS = 0.5  # within it the gate takes the residual to zero
INPUT_SCALE = 0.2  # of the network's inputs
ROLLOUT_STEPS = 150
STARTS, SAMPLES = 32, 512  # of a training step
EVALUATION_SEED, EVALUATION_STARTS, EVALUATION_SAMPLES = 777, 200, 4000


class ResidualForm(NamedTuple):
    """How the network phi and the safe controller are combined.

    The paper adds phi to the clipped controller (VI-B) and has no gate. Clipping -K x alone
    removes the slack at the boundary of R_safe: where -K x = 9, phi = -0.1 should change nothing,
    and phi at the origin is constrained by no grid state.
    """

    gated: bool  # phi is multiplied by min(1, |x| / 0.5)
    clipped_first: bool  # clip(clip(-K x) + phi), else clip(-K x + phi)


LITERAL_FORM = ResidualForm(gated=False, clipped_first=True)
SAFER_FORM = ResidualForm(gated=True, clipped_first=False)


class ImitatingPolicy:
    """The safe controller plus a network, and the safe controller alone within |x| <= 0.01.

    It is a callable `Policy`: states (n, 2) to actions (n,), both numpy arrays.
    """

    def __init__(self, network: ResidualNetwork, form: ResidualForm) -> None:
        self.network = network
        self._form = form
        self._gain = torch.from_numpy(linear_quadratic_regulator().gain)

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """Return the actions of the current network."""
        with torch.no_grad():
            return self.actions(torch.from_numpy(states)).numpy()

    def actions(
        self, states: torch.Tensor, parameters: dict[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Return the actions (n,) in states (n, 2), of other parameters if they are given."""
        inputs = (INPUT_SCALE * states,)
        if parameters is None:
            residual = self.network(*inputs)[:, 0]
        else:
            residual = functional_call(self.network, parameters, inputs)[:, 0]
        radius = states.norm(dim=1)
        gate = (radius > TARGET_RADIUS).to(states.dtype)
        if self._form.gated:
            gate = gate * (radius / GATE_RADIUS).clamp(max=1.0)
        base = -(states @ self._gain)
        if self._form.clipped_first:
            base = base.clamp(-1.0, 1.0)
        return (base + gate * residual).clamp(-1.0, 1.0)


def new_policy(form: ResidualForm, seed: int) -> ImitatingPolicy:
    """Return a policy whose network adds nothing yet, in double precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ImitatingPolicy(ResidualNetwork(2, 1).double(), form)


def state_grid(size: int) -> np.ndarray:
    """Return size x size states spread evenly over the box, (size^2, 2)."""
    axis = np.linspace(-BOX, BOX, size)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


class AdvantageConstraint:
    """g_j = A(x_j, pi(x_j)) - alpha |x_j|^2 in the grid states of R_safe; inf where pi leaves it.

    Source: SCPO, equations 25 to 27 before the maximum.

    Args:
        policy: its network's parameters are what g depends on.
        grid_size: states per axis; 50 in the paper.
        alpha_scale: alpha; the paper's 1 leaves no room below c(x, u) >= |x|^2, which Theorem 2
            requires.
        as_maximum: one constraint, the largest g_j, as in equation 27.

    Attributes:
        states: x_j, (k, 2).
        steps: of the simulator so far. Where the action is the safe controller's A is zero by
            definition; elsewhere a step and a rollout of the safe controller are needed, counted
            as long as its rollout from x_j.
    """

    def __init__(
        self,
        policy: ImitatingPolicy,
        grid_size: int = 50,
        alpha_scale: float = 1.0,
        as_maximum: bool = False,
    ) -> None:
        grid = state_grid(grid_size)
        self.states = grid[in_safe_set(grid)]
        self.steps = 0
        self._lengths = safe_rollout_lengths(self.states)
        self._safe_actions = safe_controller(self.states)
        self._inputs = torch.from_numpy(self.states)
        self._value = safe_value(self.states)
        self._allowed = alpha_scale * (self.states**2).sum(axis=1)
        self._policy = policy
        self._as_maximum = as_maximum

    def __call__(self) -> np.ndarray:
        """Return g at the network's current parameters, (k,), or (1,) as a maximum."""
        return self._of_actions(self._policy(self.states)[None])[0]

    def batch(self, thetas: Sequence[torch.Tensor]) -> np.ndarray:
        """Return g at n flat parameter vectors (d,), (n, k): the rollouts run side by side."""
        named = dict(self._policy.network.named_parameters())
        sizes = [parameter.numel() for parameter in named.values()]
        rows = []
        with torch.no_grad():
            for theta in thetas:
                parts = zip(named.items(), theta.split(sizes), strict=True)
                parameters = {name: part.view_as(like) for (name, like), part in parts}
                rows.append(self._policy.actions(self._inputs, parameters).numpy())
        return self._of_actions(np.stack(rows))

    def _of_actions(self, actions: np.ndarray) -> np.ndarray:
        """Return g (n, k) of n rows of actions (n, k)."""
        rows, columns = np.nonzero(actions != self._safe_actions)
        advantages = np.zeros_like(actions)
        advantages[rows, columns] = safe_advantage(
            self.states[columns], actions[rows, columns], self._value[columns]
        )
        self.steps += int(self._lengths[columns].sum())
        margins = advantages - self._allowed
        return margins.max(axis=1, keepdims=True) if self._as_maximum else margins


def safe_advantage(states: np.ndarray, actions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return A(x, u) = x'x + u^2 + V_safe(Ax + Bu) - V_safe(x), (n,), given V_safe(x), (n,)."""
    stage = (states**2).sum(axis=1) + actions**2
    return stage + safe_value(next_states(states, actions)) - values


def safe_rollout_lengths(states: np.ndarray) -> np.ndarray:
    """Return the steps after which V_safe is known in closed form, (n,), for states of R_safe."""
    regulator = linear_quadratic_regulator()
    lengths = np.zeros(len(states), dtype=np.int64)
    x, going_on = states, np.ones(len(states), dtype=np.bool_)
    while going_on.any():
        forms = np.einsum("ni,ij,nj->n", x, regulator.value_matrix, x)
        going_on = forms > regulator.invariant_level
        lengths += going_on
        x = next_states(x, safe_controller(x))
    return lengths


class Samples(NamedTuple):
    """States and the expert's noisy actions there."""

    states: np.ndarray  # (n, 2)
    expert_actions: np.ndarray  # (n,)
    simulated_steps: int  # that collecting them took


def draw_samples(
    policy: Policy,
    rng: np.random.Generator,
    expert_noise_std: float,
    starts: int = STARTS,
    count: int = SAMPLES,
) -> Samples:
    """Return states of the policy's rollouts with the expert's actions.

    Starts are uniform in the box; a rollout of 150 steps is kept if it stays in the box and ends
    in R_safe. Fewer than `count` are returned if the kept rollouts have no more. Source: SCPO,
    section VI-B, which gives no numbers.
    """
    steps = 0
    states = np.empty((0, 2))
    while len(states) == 0:
        first = rng.uniform(-BOX, BOX, size=(starts, 2))
        states, taken = kept_states(policy, first)
        steps += taken
    states = states[rng.permutation(len(states))[:count]]
    noise = expert_noise_std * rng.standard_normal(len(states))
    return Samples(states, malicious_expert(states, noise), steps)


def kept_states(policy: Policy, starts: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the states of kept rollouts, one rollout after the other, and the steps simulated."""
    path = np.empty((len(starts), ROLLOUT_STEPS, 2))
    rows, x, steps = np.arange(len(starts)), starts, 0
    for t in range(ROLLOUT_STEPS):
        path[rows, t] = x
        x = next_states(x, policy(x))
        steps += len(x)
        inside = inside_box(x)
        rows, x = rows[inside], x[inside]
    return path[rows[in_safe_set(x)]].reshape(-1, 2), steps


def evaluation_samples(expert_noise_std: float) -> Samples:
    """Return 4,000 states of 200 started rollouts of the safe controller, always the same."""
    rng = np.random.default_rng(EVALUATION_SEED)
    return draw_samples(
        safe_controller, rng, expert_noise_std, EVALUATION_STARTS, EVALUATION_SAMPLES
    )


def imitation_loss(policy: Policy, samples: Samples) -> float:
    """Return the mean of (pi(x) - expert's action)^2."""
    return float(np.mean((policy(samples.states) - samples.expert_actions) ** 2))


class ReferenceLosses(NamedTuple):
    """Losses to compare the evaluation loss with, in expectation over the noise."""

    noise_floor: float  # of a policy that always plays the expert's mean action
    best_feasible: float  # of the best action with A(x, u) <= |x|^2 in every state, on a grid


def reference_losses(samples: Samples, expert_noise_std: float) -> ReferenceLosses:
    """Return lower bounds of the loss of all policies, and of those with A(x, u) <= |x|^2.

    The actions tried are 81 from -1 to 1 and the safe controller's, which is always feasible.
    """
    mean, variance = expert_moments(samples.states, expert_noise_std)
    floor = float(variance.mean())
    best = _nearest_feasible(samples.states, mean, np.linspace(-1.0, 1.0, 81))
    return ReferenceLosses(floor, floor + float(np.mean((best - mean) ** 2)))


def _nearest_feasible(states: np.ndarray, wanted: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return the feasible actions nearest to wanted ones, of (m,) and the safe ones, (n,)."""
    best = safe_controller(states)
    values, allowed = safe_value(states), (states**2).sum(axis=1)
    order = np.argsort(np.abs(actions - wanted[:, None]), axis=1)  # (n, m)
    rows = np.arange(len(states))
    for rank in range(len(actions)):
        tried = actions[order[rows, rank]]
        nearer = np.abs(tried - wanted[rows]) < np.abs(best[rows] - wanted[rows])
        rows, tried = rows[nearer], tried[nearer]
        feasible = safe_advantage(states[rows], tried, values[rows]) <= allowed[rows]
        best[rows[feasible]] = tried[feasible]
        rows = rows[~feasible]
    return best


def expert_moments(states: np.ndarray, noise_std: float) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of the expert's clipped action, each (n,), by quadrature."""
    noise = np.linspace(-6.0, 6.0, 401)
    weights = np.exp(-0.5 * noise**2)
    weights /= weights.sum()
    raw = -EXPERT_GAIN * states.sum(axis=1)[:, None] + noise_std * noise  # (n, 401)
    actions = np.clip(raw, -1.0, 1.0)
    mean = actions @ weights
    return mean, (actions**2) @ weights - mean**2


def parameters_of(policy: ImitatingPolicy) -> torch.Tensor:
    """Return the network's parameters as one vector, (d,)."""
    return flat_values(list(policy.network.parameters()))
