"""Fine-tuning a classifier that must not forget: a black-box constraint outside of RL.

A network that has learned to classify two moons is fine-tuned on rotated moons. Its accuracy on
a safety set of the old ones must never fall below 95 percent of what it was:

    g(theta) = 0.95 accuracy(theta_0) - accuracy(theta) <= 0

has no gradient. The same requirement can be measured without jumps: if w points may be wrong, the
(w + 1)-th smallest margin has to be positive, g(theta) = -margin_(w + 1) <= 0.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from agents.scpo.measured_constraint import ConstraintFn
from agents.scpo.projection import WeightSpaceProjection

Measure = Literal["accuracy", "margin"]
WAYS: dict[str, Measure | None]
WAYS = {"plain Adam": None, "g = accuracy": "accuracy", "g = margin": "margin"}
KEPT = 0.95  # share of the old accuracy
TURN = np.deg2rad(40.0)  # of the new moons
OLD_STEPS, NEW_STEPS = 300, 60
OLD_RATE, NEW_RATE = 1e-2, 3e-3
BATCH, SAFETY_POINTS, TEST_POINTS, GROUPS = 64, 500, 2000, 4


class Result(NamedTuple):
    """The result of one way to fine-tune."""

    loss_before: float  # on new data
    loss_after: float
    accuracies: np.ndarray  # on the safety set after every step
    needed: float  # the smallest allowed accuracy
    evaluations: int  # of g


class Moons(NamedTuple):
    """Labeled points."""

    points: torch.Tensor  # (n, 2)
    labels: torch.Tensor  # (n,), -1 or 1


def moons(rng: np.random.Generator, count: int, turn: float = 0.0) -> Moons:
    """Return points of two interlocking half circles, rotated about the center."""
    labels = rng.choice([-1.0, 1.0], size=count)
    angles = rng.uniform(0.0, np.pi, size=count)
    upper = np.stack([np.cos(angles) - 0.5, np.sin(angles) - 0.25], axis=1)
    points = upper * labels[:, None] + rng.normal(scale=0.1, size=(count, 2))
    turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return Moons(torch.from_numpy(points @ turned), torch.from_numpy(labels))


def margins(network: nn.Module, data: Moons) -> torch.Tensor:
    """Return label times output, (n,): positive where the answer is right."""
    return data.labels * network(data.points)[:, 0]


def loss(network: nn.Module, data: Moons) -> torch.Tensor:
    """Return the mean logistic loss."""
    return nn.functional.softplus(-margins(network, data)).mean()


def accuracy(network: nn.Module, data: Moons) -> float:
    """Return the share of right answers."""
    with torch.no_grad():
        return float((margins(network, data) > 0.0).double().mean())


def trained_on_old(rng: np.random.Generator, seed: int) -> nn.Module:
    """Return a network trained on the original moons."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)]
        network = nn.Sequential(*layers).double()
    optimizer = torch.optim.Adam(network.parameters(), OLD_RATE)
    for _ in range(OLD_STEPS):
        optimizer.zero_grad()
        loss(network, moons(rng, BATCH)).backward()
        optimizer.step()
    return network


def requirement(network: nn.Module, safety: Moons, needed: float, measure: Measure) -> ConstraintFn:
    """Return g for the network's current parameters, (1,)."""
    allowed = int(np.floor(len(safety.labels) * (1.0 - needed) + 1e-9))  # wrong answers

    def measured() -> np.ndarray:
        if measure == "accuracy":
            return np.array([needed - accuracy(network, safety)])
        with torch.no_grad():
            return -margins(network, safety).sort().values[allowed : allowed + 1].numpy()

    return measured


def fine_tune(measure: Measure | None, steps: int = NEW_STEPS, seed: int = 0) -> Result:
    """Return the result of fine-tuning, under the requirement or (None) with plain Adam."""
    rng = np.random.default_rng(seed)
    network = trained_on_old(rng, seed)
    safety, test = moons(rng, SAFETY_POINTS), moons(rng, TEST_POINTS, TURN)
    needed = KEPT * accuracy(network, safety)
    optimizer = torch.optim.Adam(network.parameters(), NEW_RATE)
    projection = None
    if measure is not None:
        constraint = requirement(network, safety, needed, measure)
        projection = WeightSpaceProjection(network.parameters(), optimizer, constraint)
    before, accuracies = float(loss(network, test).detach()), []
    for _ in range(steps):
        batch = moons(rng, BATCH, TURN)

        def closure(
            index: torch.Tensor | slice = slice(None), batch: Moons = batch
        ) -> torch.Tensor:
            return loss(network, Moons(batch.points[index], batch.labels[index]))

        if projection is None:
            optimizer.zero_grad()
            closure().backward()
            optimizer.step()
        else:
            angles = torch.atan2(batch.points[:, 1], batch.points[:, 0])
            projection.step(closure, list(torch.argsort(angles).tensor_split(GROUPS)))
        accuracies.append(accuracy(network, safety))
    after, evaluations = float(loss(network, test).detach()), projection and projection.evaluations
    return Result(before, after, np.array(accuracies), needed, evaluations or 0)


def main() -> None:
    """Print the table."""
    print("              loss before  after   least accuracy  needed  steps below  g evaluated")
    for name, measure in WAYS.items():
        result = fine_tune(measure)
        below = int((result.accuracies < result.needed).sum())
        print(
            f"{name:<13} {result.loss_before:11.3f} {result.loss_after:6.3f} "
            f"{result.accuracies.min():16.3f} {result.needed:7.3f} {below:12d} "
            f"{result.evaluations:12d}"
        )


if __name__ == "__main__":
    main()
