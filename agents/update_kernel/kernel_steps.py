"""Steps on minibatches in NumPy; the counterpart of `agents.torch_steps`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from agents.actor_critic import MlpPolicy
from agents.actor_goal import ActorGoal
from agents.batch import Batch, rows
from agents.non_finite_loss import check_loss
from agents.update_kernel.adam import FlatAdam
from agents.update_kernel.perceptrons import PerceptronPass
from agents.update_kernel.policy_kernel import PolicyKernel


class Minibatch(NamedTuple):
    """Views of the memory of b rows, and the passes that read it."""

    memory: np.ndarray  # (b, columns)
    actions: np.ndarray  # (b, a)
    old: np.ndarray  # (b,) log probabilities
    advantage: np.ndarray  # (b,)
    targets: np.ndarray  # (k, b) in the critics' units
    passes: list[PerceptronPass]
    outputs: list[np.ndarray]  # (1, b, o) of an actor, then (k, b, 1) of the critics


class KernelSteps:
    """Adam's steps of an actor and critics, or of the critics alone, on parts of a batch.

    Args:
        policy: takes over what was learned when the steps are closed.
        batch: n steps.
        goal: of the actor; None leaves it as it is.
        vf_coef: weight of the critics' loss.
        max_norm: bound on the norm of each network's gradient.
    """

    def __init__(
        self,
        policy: MlpPolicy,
        batch: Batch,
        goal: ActorGoal | None,
        vf_coef: float,
        max_norm: float,
    ) -> None:
        self._policy, self._batch, self._goal = policy, batch, goal
        self._vf_coef, self._max_norm = vf_coef, max_norm
        self._kernel = PolicyKernel(policy, goal is not None)
        self._adam = self._optimizer()
        columns = [policy.value_net.in_own_units(batch.targets)]
        if goal is not None:
            columns += [batch.actions, batch.log_probs, goal.advantage]
        flat = [column.reshape(len(column), -1).numpy() for column in columns]
        ones = np.ones((len(flat[0]), 1))
        self._columns = np.concatenate([ones, *flat], axis=1, dtype=self._kernel.theta.dtype)
        self._memory = np.empty((0, 0))
        self._minibatches: dict[int, Minibatch] = {}  # by their number of rows
        self._distribution = self._kernel.distribution()
        self.value_loss = 0.0

    def gather(self, index: torch.Tensor) -> None:
        """Put rows of the batch one after the other into memory."""
        with torch.no_grad():
            features = self._policy.critic_features(rows(self._batch.observations, index))
        columns = self._columns.take(index.numpy(), axis=0)
        self._memory = np.concatenate((features.numpy(), columns), axis=1)

    def take(self, part: slice) -> bool:
        """Take a step on a part of the gathered rows; False if the actor has moved too far.

        Raises:
            NonFiniteLossError: if a loss or gradient is not finite; that step is not taken.
        """
        count = part.stop - part.start
        if count not in self._minibatches:
            self._minibatches[count] = self._prepared(count)
        now = self._minibatches[count]
        np.copyto(now.memory, self._memory[part])
        for one in now.passes:
            one.forward()
        slopes = []
        if self._goal is not None:
            x = self._distribution.log_prob(now.outputs[0][0], now.actions)
            x -= now.old
            if math.isfinite(self._goal.largest_divergence) and _is_farther(x, self._goal):
                return False
            u = self._goal.surrogate.slope(x, now.advantage)
            u *= 1 / count
            slopes.append(self._distribution.slopes(u, self._goal.ent_coef)[None])
        errors = now.outputs[-1][:, :, 0] - now.targets
        self.value_loss = float(np.vdot(errors, errors)) / count
        check_loss(self.value_loss)
        errors *= 2 * self._vf_coef / count
        slopes.append(errors[:, :, None])
        for one in now.passes:
            one.backward([slopes.pop(0) for _ in one.outputs])
        self._kernel.bound(self._max_norm)
        self._adam.step()
        return True

    def close(self) -> None:
        """Copy what was learned to the policy and its optimizer."""
        kernel, adam = self._kernel, self._adam
        parts = (kernel.split(vector) for vector in (kernel.theta, adam.first, adam.second))
        for parameter, value, first, second in zip(kernel.parameters, *parts, strict=True):
            parameter.detach().copy_(value)
            self._policy.optimizer.state[parameter] = {
                "step": torch.tensor(float(adam.steps)),
                "exp_avg": first.clone(),
                "exp_avg_sq": second.clone(),
            }

    def _optimizer(self) -> FlatAdam:
        """Return Adam where the policy's optimizer is."""
        kernel, optimizer = self._kernel, self._policy.optimizer
        adam = FlatAdam(kernel.theta, kernel.gradient, optimizer.param_groups[0])
        memory = [optimizer.state[parameter] for parameter in kernel.parameters]
        if all(memory):
            adam.steps[...] = float(memory[0]["step"])
            adam.first[:] = kernel.flat([one["exp_avg"] for one in memory])
            adam.second[:] = kernel.flat([one["exp_avg_sq"] for one in memory])
        return adam

    def _prepared(self, count: int) -> Minibatch:
        """Return the memory of a minibatch; its columns are those of `gather`."""
        memory = np.empty((count, self._memory.shape[1]), self._memory.dtype)
        inputs, critics = self._policy.value_net.widths[0], self._policy.value_net.count
        ends = np.cumsum([inputs + 1, critics, memory.shape[1] - inputs - critics - 3])
        x, targets, actions, rest = np.split(memory, ends, axis=1)
        old, advantage = (rest[:, 0], rest[:, 1]) if rest.shape[1] else (rest, rest)
        passes = self._kernel.passes(x)
        outputs = [out for one in passes for out in one.outputs]
        return Minibatch(memory, actions, old, advantage, targets.T, passes, outputs)


def _is_farther(x: np.ndarray, goal: ActorGoal) -> bool:
    """Return whether the estimated divergence (`agents.divergence`) is above the largest."""
    return float(np.mean(np.expm1(x) - x)) > goal.largest_divergence
