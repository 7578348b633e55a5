"""The raw step of an ordinary optimizer, which can be undone, and the optimizer's metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch

from agents.flat_parameters import Parameters, flat_values, set_flat_values
from safe_envs.contract.argument_checks import check_choice

Metric = Literal["auto", "identity"]
METRICS = ("auto", "identity")


class RawStep(NamedTuple):
    """The step that the base optimizer would take."""

    step: torch.Tensor  # (d,)
    metric: torch.Tensor  # diagonal of P, (d,), double precision
    rate: float  # so that -rate P^-1 gradient has the length of the step


class BaseStep:
    """Steps of a torch optimizer as proposals: the parameters do not change.

    With P the optimizer's preconditioner, the proposal is -rate P^-1 gradient (plus momentum), and
    projecting it in the inner product of P keeps it a descent direction (SCPO, proposition 2).

    Args:
        parameters: those of the optimizer, in the order of the flat vectors.
        optimizer: any torch optimizer with one step per call.
        metric: "auto" takes P from the optimizer's second moments (Adam, AdamW, RMSprop and
            others that keep `exp_avg_sq` or `square_avg`), 1 for one without. "identity" is the
            paper's.

    Raises:
        ValueError: if the optimizer does not hold exactly these parameters, or an unknown metric.
    """

    def __init__(
        self, parameters: Parameters, optimizer: torch.optim.Optimizer, metric: Metric
    ) -> None:
        check_choice("metric", metric, METRICS)
        held = {p for group in optimizer.param_groups for p in group["params"]}
        if held != set(parameters):
            raise ValueError(
                f"the optimizer has {len(held)} parameters, but not the {len(set(parameters))} "
                "that were given; create it with the given parameters"
            )
        self.optimizer = optimizer
        self._parameters = parameters
        self._metric = metric

    def propose(self, gradient: torch.Tensor, advance: Callable[[], None] | None = None) -> RawStep:
        """Return the optimizer's step for a gradient (d,), and update the optimizer's state.

        Args:
            gradient: of the loss at the current parameters.
            advance: takes several of the optimizer's steps itself; the proposal is where they
                lead. None takes one for the gradient.

        Raises:
            ValueError: if a learning rate is not positive or the step not finite.
        """
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        if min(rates) <= 0.0:
            raise ValueError(
                f"the optimizer has the learning rates {rates}; all must be positive: leave out "
                "parameters that should not change, and let a schedule end above 0"
            )
        before = flat_values(self._parameters)
        if advance is None:
            sizes = [parameter.numel() for parameter in self._parameters]
            for parameter, part in zip(self._parameters, gradient.split(sizes), strict=True):
                parameter.grad = part.view_as(parameter).to(parameter.dtype).clone()
            self.optimizer.step()
        else:
            advance()
        step = flat_values(self._parameters) - before
        set_flat_values(self._parameters, before)
        if not torch.isfinite(step).all():
            raise ValueError(
                "the optimizer's step is not finite; check the gradient of the loss for 0/0, "
                "clip it, or take a smaller learning rate"
            )
        metric = self._diagonal(rates[0])
        step_norm = (metric * step.double().square()).sum().sqrt()
        descent_norm = (gradient.double().square() / metric).sum().sqrt()
        return RawStep(step, metric, float(step_norm / descent_norm) if descent_norm > 0 else 0.0)

    def state(self) -> dict[torch.Tensor, dict[str, Any]]:
        """Return a copy of the optimizer's memory."""
        return {
            parameter: {
                key: value.clone() if isinstance(value, torch.Tensor) else value
                for key, value in memory.items()
            }
            for parameter, memory in self.optimizer.state.items()
        }

    def restore(self, state: dict[torch.Tensor, dict[str, Any]]) -> None:
        """Set the optimizer's memory back to a copy."""
        self.optimizer.state.clear()
        self.optimizer.state.update(state)

    def follow(self, step: torch.Tensor) -> None:
        """Set the momentum to what would have led to this step, (d,).

        Otherwise the optimizer keeps pushing in the rejected direction.
        """
        sizes = [parameter.numel() for parameter in self._parameters]
        pieces = dict(zip(self._parameters, step.split(sizes), strict=True))
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                memory = self.optimizer.state.get(parameter, {})
                piece = pieces[parameter].view_as(parameter).to(parameter.dtype)
                if "exp_avg" in memory:
                    beta1 = float(group["betas"][0])
                    unbiased = 1.0 - beta1 ** float(memory["step"])
                    scale = _preconditioner(memory, group)
                    memory["exp_avg"] = -piece * scale * (unbiased / group["lr"])
                elif memory.get("momentum_buffer") is not None:
                    memory["momentum_buffer"] = -piece / group["lr"]

    def _diagonal(self, rate: float) -> torch.Tensor:
        """Return P, relative to the first group's learning rate, (d,)."""
        found = {}
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                memory = self.optimizer.state.get(parameter, {})
                scale = torch.ones(())
                if self._metric == "auto":
                    scale = _preconditioner(memory, group)
                flat = scale.double().expand_as(parameter).reshape(-1)
                found[parameter] = flat * (rate / group["lr"])
        return torch.cat([found[parameter] for parameter in self._parameters])


def _preconditioner(memory: dict[str, Any], group: dict[str, Any]) -> torch.Tensor:
    """Return the divisor that the optimizer applies to each entry of the gradient."""
    if "exp_avg_sq" in memory:
        second = memory.get("max_exp_avg_sq", memory["exp_avg_sq"])
        beta2 = float(group["betas"][1])
        return (second / (1.0 - beta2 ** float(memory["step"]))).sqrt() + group["eps"]
    if "square_avg" in memory:
        second = memory["square_avg"]
        if group.get("centered"):
            second = second - memory["grad_avg"].square()
        return second.sqrt() + group["eps"]
    return torch.ones(())
