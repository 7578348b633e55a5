"""One step of plain gradient descent against finite differences of the loss written out in NumPy.

Adam that forgets at once (both betas 0) and has a huge epsilon and rate is gradient descent with
rate 1: rate g / (|g| + epsilon) = g (1 - O(|g| / epsilon)).
"""

import numpy as np
import pytest
from torch import nn

from tests.agents.update_kernel.small_updates import (
    ACTIONS,
    BACKENDS,
    make_batch,
    make_policy,
    update,
)

PLAIN = {"lr": 1e9, "eps": 1e9, "betas": (0.0, 0.0)}
ROWS, EPSILON, ETA, ENTROPY, VALUE = 9, 0.2, 0.7, 0.3, 0.6
HIDDEN = {"pi": [4], "vf": [3]}


def distribution(kind, outputs, actions, log_std):
    """Log probability and entropy of each row, (n,)."""
    if kind == "box":
        z = (actions - outputs) / np.exp(log_std)
        log_prob = (-(z**2) / 2 - log_std - np.log(2 * np.pi) / 2).sum(1)
        return log_prob, np.full(len(z), (log_std + np.log(2 * np.pi * np.e) / 2).sum())
    if kind == "multi_binary":
        p = 1 / (1 + np.exp(-outputs))
        log_prob = np.log(np.where(actions == 1, p, 1 - p)).sum(1)
        return log_prob, -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum(1)
    sizes = [4] if kind == "discrete" else [2, 3]
    log_prob = entropy = 0.0
    parts = np.split(outputs, np.cumsum(sizes)[:-1], axis=1)
    for logits, chosen in zip(parts, actions.reshape(len(actions), -1).T, strict=True):
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        log_prob = log_prob + np.log(p[np.arange(len(p)), chosen])
        entropy = entropy - (p * np.log(p)).sum(1)
    return log_prob, entropy


def surrogate(loss, x, advantage):
    if loss == "ppo":
        ratio = np.exp(x)
        return -np.minimum(ratio * advantage, np.clip(ratio, 1 - EPSILON, 1 + EPSILON) * advantage)
    bounded = np.maximum(advantage, -0.999 / ETA)
    return -x * bounded + (np.exp(x) - 1 - x) / ETA


def losses(numbers, kind, loss, phi, batch, targets):
    """The actor's loss and the critics', (k,), of the parameters by name."""
    seen, actions = batch.observations.double().numpy(), batch.actions.numpy()
    hidden = phi(
        seen @ numbers["mlp_extractor.policy_net.0.weight"].T
        + numbers["mlp_extractor.policy_net.0.bias"]
    )
    outputs = hidden @ numbers["action_net.weight"].T + numbers["action_net.bias"]
    log_prob, entropy = distribution(kind, outputs, actions, numbers.get("log_std"))
    x, advantage = log_prob - batch.log_probs.numpy(), batch.advantages[:, 0].numpy()
    actor = surrogate(loss, x, advantage).mean() - ENTROPY * entropy.mean()
    critics = []
    for row, target in zip(numbers["value_net.weight"], targets.T, strict=True):
        first, bias, last, shift = np.split(row, np.cumsum([5 * 3, 3, 3]))
        values = phi(seen @ first.reshape(5, 3) + bias) @ last + shift
        critics.append(VALUE * np.square(values - target).mean())
    return actor, np.array(critics)


def differences(numbers, loss):
    """The gradient of a loss of the parameters by name, by central differences."""
    gradient = {}
    for name, array in numbers.items():
        gradient[name] = np.empty_like(array)
        for place in np.ndindex(array.shape):
            before = array[place]
            array[place] = before + 1e-6
            above = loss()
            array[place] = before - 1e-6
            gradient[name][place] = (above - loss()) / 2e-6
            array[place] = before
    return gradient


def bounded(gradient, norm):
    """Each network's gradient, bounded as PyTorch's `clip_grad_norm_` does it (with its 1e-6)."""
    critics = gradient.pop("value_net.weight")
    length = np.sqrt(sum(np.square(one).sum() for one in gradient.values()))
    lengths = np.linalg.norm(critics, axis=1, keepdims=True)
    found = {name: one * min(1.0, norm / (length + 1e-6)) for name, one in gradient.items()}
    return {**found, "value_net.weight": critics * np.minimum(1.0, norm / (lengths + 1e-6))}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("norm", [40.0, 0.1])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("loss", ["ppo", "spma"])
@pytest.mark.parametrize("kind", ACTIONS)
def test_step_is_the_gradient(kind, loss, activation, norm, backend):
    policy = make_policy(ACTIONS[kind], net_arch=HIDDEN, activation=activation, m=1, adam=PLAIN)
    batch = make_batch(policy, ROWS)
    policy.value_net.track(batch.targets)
    real = batch.targets.numpy()
    targets = (real - real.mean(0)) / real.std(0)
    numbers = {
        name: one.detach().numpy().copy() for name, one in policy.named_parameters() if one.numel()
    }
    phi = np.tanh if activation is nn.Tanh else lambda x: np.maximum(x, 0.0)

    def total():
        actor, critics = losses(numbers, kind, loss, phi, batch, targets)
        return actor + critics.sum()

    expected = bounded(differences(numbers, total), norm)
    report = update(
        *(policy, batch, backend, loss),
        descent={"batch_size": ROWS, "n_epochs": 1, "max_grad_norm": norm},
        ent_coef=ENTROPY,
        vf_coef=VALUE,
    )
    _, critics = losses(numbers, kind, loss, phi, batch, targets)
    assert report["value_loss"] == pytest.approx(critics.sum() / VALUE)
    for name, own in policy.named_parameters():
        step = own.detach().numpy() - numbers[name]
        np.testing.assert_allclose(-step, expected[name], atol=2e-7, err_msg=name)
    assert max(np.abs(one).max() for one in expected.values()) > 0.02
