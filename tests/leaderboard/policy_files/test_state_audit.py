"""The audit finds memories without the gate's rules."""

import platform
from contextlib import closing

import numpy as np
import pytest
from onnx import TensorProto, helper

from leaderboard.policy_files import gate, state_audit
from leaderboard.policy_files.gate import PolicyRefused, check_policy, pass_trial, try_out
from leaderboard.policy_files.state_audit import WatchedPolicy
from leaderboard.sandbox.policy import SandboxedPolicy
from leaderboard.sandbox.policy_service import SingleRowPolicy
from leaderboard.sandbox.policy_signature import PolicyOutput
from tests.leaderboard import onnx_models as models
from tests.leaderboard.onnx_models import ACTIONS, FORM, OBSERVATIONS
from tests.leaderboard.policy_files.hostile_memory import (
    MEMORY,
    REALLY_REMEMBER,
    undefined_cast,
    undefined_product,
)

SAID = (
    "the policy has a memory: asked again, it answered an observation differently; allowed: "
    "answers that depend on the observation alone; export it in evaluation mode"
)


class LocalPolicy:
    """A policy file in this process."""

    def __init__(self, content):
        self.content = content
        self.model = None

    def start(self):
        self.model = self.model or SingleRowPolicy(self.content, FORM.outputs, 4)

    def close(self):
        self.model = None

    def another(self):
        return LocalPolicy(self.content)

    def outputs(self, observations):
        found = self.model.answers(np.asarray(observations, np.float32))
        return {"action": np.frombuffer(found).reshape(-1, 2)}


class CountingPolicy:
    """A policy whose answers are those of `rule(rows asked before, observations)`."""

    def __init__(self, rule, processes=None):
        self.rule = rule
        self.asked = 0
        self.processes = [] if processes is None else processes  # all that were started

    def start(self):
        if self not in self.processes:
            self.processes.append(self)

    def close(self):
        pass

    def another(self):
        return CountingPolicy(self.rule, self.processes)

    def outputs(self, observations):
        asked = self.asked + np.arange(len(observations))
        self.asked += len(observations)
        return {"action": self.rule(asked, observations)}


class DifferentPolicy:
    """A policy that always answers the same, but differently in each process."""

    def __init__(self, started):
        self.started = started

    def start(self):
        if self not in self.started:
            self.started.append(self)

    def close(self):
        pass

    def another(self):
        return DifferentPolicy(self.started)

    def outputs(self, observations):
        return {"action": plain(observations) + self.started.index(self)}


def plain(rows):
    return np.asarray(rows, np.float64)[:, :2] * 0.5


def trial(policy):
    policy.start()
    watched = WatchedPolicy(policy)
    try_out(watched, OBSERVATIONS, ACTIONS)
    watched.close()


@pytest.mark.parametrize("name", REALLY_REMEMBER)
def test_what_the_gate_refuses_is_also_found_by_the_audit(name):
    with pytest.raises(PolicyRefused) as refusal:
        trial(LocalPolicy(MEMORY[name][0]))
    assert str(refusal.value) == SAID


def test_good_policies_pass_the_audit():
    trial(LocalPolicy(models.box_policy()))
    trial(CountingPolicy(lambda asked, rows: plain(rows)))


def test_the_trial_in_the_sandbox():
    """Normalization in training mode, but past the gate."""
    content, _ = MEMORY["normalization in training mode, opset 20"]
    with SandboxedPolicy(content, FORM) as policy, pytest.raises(PolicyRefused) as refusal:
        pass_trial(policy, OBSERVATIONS, ACTIONS)
    assert str(refusal.value) == SAID


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries do not fill memory"
)
@pytest.mark.parametrize(
    "content", [undefined_cast(), undefined_product()], ids=["cast", "product"]
)
def test_memory_that_was_never_written_is_the_same_for_all_rows(content):
    """ONNX Runtime leaves these results as it finds them; the gate takes the second file."""
    with SandboxedPolicy(content, FORM) as policy, closing(WatchedPolicy(policy)) as watched:
        pass_trial(watched, OBSERVATIONS, ACTIONS)


def test_the_gate_asks_a_second_process(monkeypatch):
    started = []
    monkeypatch.setattr(gate, "SandboxedPolicy", lambda content, *_: DifferentPolicy(started))
    with pytest.raises(PolicyRefused) as refusal:
        check_policy(models.box_policy(), OBSERVATIONS, ACTIONS)
    assert str(refusal.value) == SAID
    assert len(started) == 2


def previous_row(asked, rows):
    """Each answer has a bit of the row before in it."""
    return plain(np.roll(rows, 1, axis=0)) * 1e-16 + plain(rows)


def place_in_the_call(asked, rows):
    return plain(rows) + (np.arange(len(rows)) % 2)[:, None]


@pytest.mark.parametrize(
    "rule",
    [
        previous_row,
        place_in_the_call,
        lambda asked, rows: plain(rows) + (asked == 17)[:, None],
        lambda asked, rows: np.nextafter(plain(rows), np.where(asked > 900, 9.0, -9.0)[:, None]),
        lambda asked, rows: np.where((asked > 50)[:, None], -plain(rows), plain(rows)),
        lambda asked, rows: plain(rows) * np.where((asked > 0)[:, None], 0.0, -0.0),
    ],
    ids=["row before", "place", "once", "last bit", "sign", "sign of zero"],
)
def test_memories_show_in_the_trial(rule, monkeypatch):
    monkeypatch.setattr(state_audit, "ROUNDS_SECONDS", 60.0)
    with pytest.raises(PolicyRefused) as refusal:
        trial(CountingPolicy(rule))
    assert str(refusal.value) == SAID


def evaluated(rule, batches=5, calls=200, rows=20, seed=0):
    """Return whether an evaluation of a policy is confirmed: a hundred episodes of 200 steps."""
    policy, random = CountingPolicy(rule), np.random.default_rng(seed)
    policy.start()
    watched = WatchedPolicy(policy, random)
    for _ in range(batches):
        for _ in range(calls):
            watched.outputs(random.normal(size=(rows, 4)).astype(np.float32))
        try:
            watched.confirm()
        except PolicyRefused:
            return False
    assert len(policy.processes) == 2
    return True


def after(number):
    return lambda asked, rows: np.where((asked >= number)[:, None], -plain(rows), plain(rows))


@pytest.mark.parametrize("number", [100, 5_000, 12_345, 19_000])
def test_a_memory_that_shows_late_is_found_during_the_evaluation(number):
    assert evaluated(lambda asked, rows: plain(rows))
    assert not evaluated(after(number))


def test_one_answer_in_a_hundred_is_enough():
    """Of 20,000 rows one in 20 is confirmed; 200 of them are wrong: 1 - 0.95^200 = 0.99997."""

    def seldom(asked, rows):
        return plain(rows) + (asked % 100 == 57)[:, None]

    found = [not evaluated(seldom, seed=seed) for seed in range(5)]
    assert all(found)


def test_the_sample_is_uniform_and_of_the_promised_size():
    sample = state_audit._Sample(np.random.default_rng(0))
    counts = np.zeros(30_000)
    for _ in range(20):
        for start in range(0, len(counts), 20):
            numbers = np.arange(start, start + 20, dtype=np.float64)
            sample.offer(numbers[:, None], {"action": numbers[:, None]})
        rows, answers = sample.take()
        np.testing.assert_array_equal(rows, answers)
        assert len(np.unique(rows)) == state_audit.MOST_SAMPLED
        counts[rows[:, 0].astype(int)] += 1
    tenths = counts.reshape(10, -1).sum(axis=1)
    assert abs(tenths - 2048).max() < 5 * np.sqrt(2048)
    assert sample.take() is None
    for size, expected in [(50, 50), (128, 128), (2000, 128), (4000, 200)]:
        sample.offer(np.zeros((size, 1)), {"action": np.zeros((size, 1))})
        assert len(sample.take()[0]) == expected


def test_equal_rows_of_any_place_in_memory_get_the_same_bits():
    """Sums of numbers that start at another address round differently in ONNX Runtime."""
    size = 33
    node = helper.make_node("ReduceSum", ["x"], ["action"], keepdims=1)
    outputs = {"action": (TensorProto.FLOAT, ["batch", 1])}
    content = models.model([node], {}, outputs, size).SerializeToString()
    policy = SingleRowPolicy(content, [PolicyOutput("action", 1, False)], size)
    rows = np.random.default_rng(0).normal(size=(17, size)).astype(np.float32)
    answers = np.frombuffer(policy.answers(np.tile(rows, (16, 1)))).reshape(16, 17)
    assert (answers == answers[0]).all()
