"""How far an update has moved a policy, estimated from the actions of its batch.

    KL(pi_old || pi) = mean[e^x - 1 - x] over actions of pi_old,   x = log(pi / pi_old)

Unlike mean[-x], which has the same expectation, every term is >= 0 and the variance is small near
x = 0. Source: Schulman (2020), "Approximating KL divergence" (joschu.net), the estimator k3.
"""

from __future__ import annotations

import torch

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, pieces
from agents.update_kernel.readout import PolicyReadout
from agents.update_kernel.service import Backend


@torch.no_grad()
def log_ratios(policy: MlpPolicy, batch: Batch, backend: Backend = "torch") -> torch.Tensor:
    """Return log(pi / pi_old) of the batch's actions under the policy as it is now, (n,).

    Args:
        policy: pi.
        batch: n steps of pi_old.
        backend: what computes them; "numpy" is for policies that the kernel serves.
    """
    now = PolicyReadout(policy) if backend == "numpy" else policy
    return torch.cat(
        [now.log_probs(part.observations, part.actions) - part.log_probs for part in pieces(batch)]
    )


def divergence_terms(log_ratio: torch.Tensor) -> torch.Tensor:
    """Return e^x - 1 - x >= 0 of each log ratio x, (n,); their mean estimates the divergence."""
    return torch.expm1(log_ratio) - log_ratio


def estimated_divergence(log_ratio: torch.Tensor) -> float:
    """Return the estimate of KL(pi_old || pi) from log(pi / pi_old) of n actions, (n,)."""
    return float(divergence_terms(log_ratio.detach()).mean())
