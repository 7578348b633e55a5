"""Small policies and batches, on which both backends can take the same updates."""

import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor
from torch import nn

from agents.actor_critic import MlpPolicy, MultiInputPolicy
from agents.batch import Batch
from agents.critic_descent import CriticDescent
from agents.minibatch_descent import MinibatchDescent
from agents.primal.ppo import ClippedSurrogate
from agents.primal.spma import MirrorAscentSurrogate

SEEN = Box(-1.0, 1.0, (5,))
ACTIONS = {
    "box": Box(-1.0, 1.0, (2,)),
    "discrete": Discrete(4),
    "multi_discrete": MultiDiscrete([2, 3]),
    "multi_binary": MultiBinary(3),
}
LOSSES = {"ppo": ClippedSurrogate, "spma": MirrorAscentSurrogate}
BACKENDS = ["torch", "numpy"]


class DoubleFeatures(FlattenExtractor):
    """Stable-Baselines3 turns observations to single precision; this turns them back."""

    def forward(self, observations):
        return super().forward(observations).double()


class DoubleDictFeatures(CombinedExtractor):
    def forward(self, observations):
        return super().forward(observations).double()


def make_policy(
    actions, seen=SEEN, m=1, net_arch=(8,), activation=nn.Tanh, dtype=torch.float64, adam=None
):
    """A policy of the given precision with the same weights at every call."""
    kind, extractor = MlpPolicy, FlattenExtractor
    if not isinstance(seen, Box | Discrete):
        kind, extractor = MultiInputPolicy, CombinedExtractor
    if dtype == torch.float64:
        extractor = {FlattenExtractor: DoubleFeatures, CombinedExtractor: DoubleDictFeatures}[
            extractor
        ]
    torch.manual_seed(0)
    policy = kind(
        *(seen, actions, lambda _: 1e-2),
        num_costs=m,
        activation_fn=activation,
        net_arch=net_arch if isinstance(net_arch, dict) else list(net_arch),
        features_extractor_class=extractor,
        ortho_init=False,
    )
    if dtype == torch.float64:
        policy.double()
        settings = {"lr": 1e-2, "eps": 1e-5} | (adam or {})
        policy.optimizer = torch.optim.Adam(policy.parameters(), **settings)
    return policy


def make_batch(policy, rows, seed=1):
    """Random rows, whose actions a slightly different policy took."""
    dtype, signals = policy.value_net.weight.dtype, policy.value_net.count
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    seen = _observations(policy.observation_space, rows, generator)
    with torch.no_grad():
        actions = policy.sample_actions(seen)
        log_probs = policy.log_probs(seen, actions)
    log_probs = log_probs + 0.2 * torch.randn(rows, generator=generator, dtype=dtype)
    columns = torch.randn(2, rows, signals, generator=generator, dtype=dtype)
    return Batch(seen, actions, log_probs, columns[0], 3 * columns[1] + 1)


def _observations(space, rows, generator):
    if isinstance(space, Box):
        return torch.randn(rows, *space.shape, generator=generator)
    if isinstance(space, Discrete):
        return torch.randint(int(space.n), (rows,), generator=generator)
    return {name: _observations(own, rows, generator) for name, own in space.spaces.items()}


def update(policy, batch, backend, loss="ppo", *, seed=3, descent=None, **goal):
    """One update in place and what it reports; a loss of None trains the critics alone."""
    passes = {"batch_size": 20, "n_epochs": 4} | (descent or {})
    critic_descent = CriticDescent(update_backend=backend, **passes)
    torch.manual_seed(seed)
    if loss is None:
        return critic_descent.fit(policy, batch)
    step = LOSSES[loss](MinibatchDescent(critic_descent, **goal))
    return step.improve(policy, batch, batch.advantages[:, 0], 1.0)


def parameters(policy):
    """All parameters as one vector."""
    return torch.cat([one.detach().flatten() for one in policy.parameters()]).clone()


def memory(policy):
    """What the optimizer remembers of all parameters: moments and steps as one vector each."""
    states = [policy.optimizer.state[one] for one in policy.parameters()]
    states = [state for state in states if state]
    return [
        torch.cat([state[name].flatten().double() for state in states])
        for name in ("exp_avg", "exp_avg_sq", "step")
    ]


def assert_same_update(pair, start, tolerance):
    """Both policies have changed, and by the same up to a share of the change."""
    reference, found = map(parameters, pair)
    change = float((reference - start).norm())
    assert change > 1e-3
    assert float((found - reference).norm()) <= tolerance * change
    for expected, own in zip(*map(memory, pair), strict=True):
        assert float((own - expected).norm()) <= tolerance * float(expected.norm())
