"""The repair as a layer of Theseus (Pineda et al., 2022, arXiv 2207.09442), for comparison.

    min_y |g(y) - z|^2 by Levenberg-Marquardt,   z <- P(g(y)) after every step, by a callback

Its outputs are those of `RepairLayer` with `rows="all"`; if the targets z did not move, it would
end elsewhere. Theseus calls its callbacks without gradients, so that z is a constant for the
derivative: that gradient is the one of `RepairSettings(backward="last_step")`. With
`moving_gradient` the callback computes z with gradients, and the derivative is SnareNet's.

Needs the package theseus-ai, which is not one of this project's extras: its last release is of
2025, and it only comes as source.
"""

from __future__ import annotations

from typing import Any

import theseus
import torch
from torch import nn

from agents.constraint_layers.layers import LayerInfo
from agents.constraint_layers.output_rows import Constraint, OutputRows, worst_violation
from safe_envs.contract.argument_checks import check_count, check_positive

OUTPUTS, TARGETS = "outputs", "targets"


class TheseusLayer(nn.Module):
    """Levenberg-Marquardt steps on all rows, taken by Theseus.

    Args:
        constraint: on the outputs.
        iterations: steps of every instance.
        damping: lambda > 0.
        moving_gradient: whether gradients flow through the moving targets.
        tolerance: the largest violation that counts as repaired.
    """

    def __init__(
        self,
        constraint: Constraint,
        iterations: int = 8,
        damping: float = 1e-2,
        moving_gradient: bool = False,
        tolerance: float = 1e-6,
    ) -> None:
        super().__init__()
        check_count(iterations=iterations)
        check_positive(damping=damping, tolerance=tolerance)
        self.constraint = constraint
        self.iterations, self.damping, self.tolerance = iterations, damping, tolerance
        self.moving_gradient = moving_gradient

    def forward(self, raw: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, LayerInfo]:
        """Return the repaired outputs, (B, n)."""
        rows, start = self.constraint(x.double()), raw.double()
        first = _targets(rows, start)
        outputs = theseus.Vector(start.shape[1], name=OUTPUTS, dtype=torch.float64)
        targets = theseus.Vector(first.shape[1], name=TARGETS, dtype=torch.float64)
        objective = theseus.Objective(dtype=torch.float64)
        objective.add(_Residual(rows, outputs, targets))

        def move_targets(*_: Any) -> None:
            with torch.set_grad_enabled(self.moving_gradient):
                targets.update(_targets(rows, outputs.tensor))

        layer = theseus.TheseusLayer(
            theseus.LevenbergMarquardt(
                objective,
                linear_solver_cls=theseus.CholeskyDenseSolver,
                max_iterations=self.iterations,
                step_size=1.0,
                abs_err_tolerance=0.0,
                rel_err_tolerance=0.0,
            )
        )
        given = {OUTPUTS: start, TARGETS: first if self.moving_gradient else first.detach()}
        found, _ = layer.forward(
            given,
            optimizer_kwargs={
                # Theseus makes numbers float32 first, which moves the outputs by 1e-8.
                "damping": torch.tensor([self.damping], dtype=torch.float64),
                "adaptive_damping": False,
                "ellipsoidal_damping": False,
                "backward_mode": "unroll",
                "end_iter_callback": move_targets,
            },
        )
        repaired = found[OUTPUTS].to(raw.dtype)
        broken = worst_violation(rows, repaired)
        steps = torch.full_like(broken, self.iterations, dtype=torch.int64)
        return repaired, LayerInfo(steps, broken, broken <= self.tolerance)


class _Residual(theseus.CostFunction):
    """g(y) - z, with z held constant."""

    def __init__(
        self, rows: OutputRows, outputs: theseus.Vector, targets: theseus.Vector, name: Any = None
    ) -> None:
        one = theseus.Variable(torch.ones(1, 1, dtype=torch.float64))
        super().__init__(theseus.ScaleCostWeight(one), name=name)
        self.rows, self.outputs, self.targets = rows, outputs, targets
        self.register_optim_vars([OUTPUTS])
        self.register_aux_vars([TARGETS])

    def error(self) -> torch.Tensor:
        """Return the residual, (B, k)."""
        return self.rows.values(self.outputs.tensor) - self.targets.tensor

    def jacobians(self) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return dg/dy in a list, and the residual."""
        return [self.rows.jacobian(self.outputs.tensor)], self.error()

    def dim(self) -> int:
        """Return k."""
        return int(self.targets.dof())

    def _copy_impl(self, new_name: str | None = None) -> _Residual:
        return _Residual(self.rows, self.outputs.copy(), self.targets.copy(), name=new_name)


def _targets(rows: OutputRows, outputs: torch.Tensor) -> torch.Tensor:
    """Return P(g(y)), (B, k)."""
    return rows.values(outputs).clamp(rows.lower, rows.upper)
