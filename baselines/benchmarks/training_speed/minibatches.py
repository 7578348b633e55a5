"""CPU time of a gradient step, by batch size, width of the networks and number of costs."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from agents.batch import Batch
from agents.constrained_agent import ConstrainedAgent
from agents.named_agents import named_agent
from baselines.benchmarks.training_speed.floor import NetworkArithmetic

INPUTS, ACTIONS = 11, 3  # of Hopper
BATCH_SIZES = (64, 256, 1024)
WIDTHS = (64, 256)
COSTS = (1, 3, 10)
BACKENDS = ("torch", "numpy")
SAMPLES, PASSES = 2_048, 10  # of an update
ARITHMETIC_CALLS = 20


class MinibatchShape(NamedTuple):
    """What a gradient step is taken on."""

    width: int  # of both hidden layers
    costs: int
    batch_size: int


SHAPES = tuple(MinibatchShape(w, m, b) for w in WIDTHS for m in COSTS for b in BATCH_SIZES)


class SpacesOfHopper(gym.Env):
    """An environment that is never stepped: an agent reads its spaces."""

    observation_space = spaces.Box(-np.inf, np.inf, (INPUTS,))
    action_space = spaces.Box(-1.0, 1.0, (ACTIONS,))


def made_agent(name: str, shape: MinibatchShape, backend: str) -> ConstrainedAgent:
    """Return an agent of a shape."""
    return named_agent(name)(
        "MlpPolicy",
        SpacesOfHopper(),
        cost_limit=[25.0] * shape.costs,
        batch_size=shape.batch_size,
        n_epochs=PASSES,
        policy_kwargs={"net_arch": [shape.width, shape.width]},
        seed=0,
        update_backend=backend,
    )


def made_batch(agent: ConstrainedAgent, shape: MinibatchShape) -> Batch:
    """Return random steps of an agent."""
    signals = 1 + shape.costs
    draws = torch.Generator().manual_seed(0)

    def drawn(columns: int) -> torch.Tensor:
        return torch.randn(SAMPLES, columns, generator=draws)

    seen, noise = drawn(INPUTS), drawn(ACTIONS)
    with torch.no_grad():
        actions = agent.policy.seen_distribution(seen).mode() + noise
        log_probs = agent.policy.log_probs(seen, actions)
    return Batch(seen, actions, log_probs, drawn(signals), drawn(signals))


class MinibatchTimer:
    """Measures the gradient steps of an agent's update on random data.

    Args:
        agent_name: of an agent that descends in minibatches.
        shape: of the data and the networks.
        backend: of the update.
    """

    def __init__(self, agent_name: str, shape: MinibatchShape, backend: str) -> None:
        self._agent = made_agent(agent_name, shape, backend)
        self._batch = made_batch(self._agent, shape)
        self._agent.policy.value_net.track(self._batch.targets)
        self._agent.policy.set_training_mode(True)
        self._steps = PASSES * math.ceil(SAMPLES / shape.batch_size)
        self.seconds()  # the first update is slower

    def seconds(self) -> float:
        """Return the CPU seconds per gradient step of an update, and all that goes with it."""
        agent = self._agent
        began = time.process_time()
        agent._update.update(agent.policy, self._batch, None, 1.0)
        return (time.process_time() - began) / self._steps


class MinibatchTimes(NamedTuple):
    """CPU seconds of a gradient step."""

    arithmetic: float  # the bare products and tanh
    torch: float
    numpy: float


def minibatch_times(agent_name: str, shape: MinibatchShape, repeats: int) -> MinibatchTimes:
    """Return the least times of a shape; the three take turns."""
    widths = (INPUTS, shape.width, shape.width, ACTIONS)
    networks = NetworkArithmetic(2 + shape.costs, widths, shape.batch_size)
    timers = [MinibatchTimer(agent_name, shape, backend) for backend in BACKENDS]
    turns = [
        (networks.seconds(ARITHMETIC_CALLS), *(timer.seconds() for timer in timers))
        for _ in range(repeats)
    ]
    return MinibatchTimes(*np.min(turns, axis=0).tolist())
