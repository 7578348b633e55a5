"""Random files: the gate accepts or refuses them; accepted ones harm only their own process."""

import contextlib
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, defs, helper

from leaderboard.policy_files.gate import PolicyRefused, check_graph
from leaderboard.policy_files.onnx_rules import OPERATORS
from leaderboard.sandbox import confined_process
from leaderboard.sandbox.policy import PolicyFailed, SandboxedPolicy, SandboxLimits
from tests.leaderboard import onnx_models as models
from tests.leaderboard.onnx_models import ACTIONS, FORM, OBSERVATIONS, ROW

GOOD = models.gaussian_policy()
ANSWERED, NOT_LOADED, NOT_RUN, REMEMBERED = 0, 1, 2, 3
# Loads and runs one model after the other under the limits of a sandbox.
RUN_MANY = """
from leaderboard.sandbox.confinement import *
from leaderboard.sandbox.system_call_filter import filter_system_calls
import os, struct, sys
limit_resources(1 << 30)
limit_processor(60)
import numpy as np
from leaderboard.sandbox.policy_signature import PolicyOutput
from leaderboard.sandbox.policy_service import SingleRowPolicy
renounce_privileges()
filter_system_calls()
read = sys.stdin.buffer.read
while length := read(4):
    content = read(struct.unpack("<I", length)[0])
    outcome = 1
    try:
        policy = SingleRowPolicy(content, [PolicyOutput("action", 2, False)], 4)
        outcome = 2
        rows = np.array([[0, 0, 0, 0], [1, -2, 3, 4], [9e5] * 4, [-9e5] * 4], np.float32)
        first = np.frombuffer(policy.answers(rows)).reshape(4, -1)
        policy = SingleRowPolicy(content, [PolicyOutput("action", 2, False)], 4)
        orders = [3, 1, 2, 0, 0, 1, 1, 3]
        again = np.frombuffer(policy.answers(rows[orders])).reshape(8, -1)
        outcome = 0 if again.tobytes() == first[orders].tobytes() else 3
    except Exception:
        pass
    os.write(1, bytes([outcome]))
os._exit(0)
"""


def passes(content):
    """Whether the gate accepts a file; any error other than its own fails the test."""
    try:
        check_graph(content, OBSERVATIONS, ACTIONS)
    except PolicyRefused as refused:
        said = str(refused)
    else:
        return True
    assert 20 < len(said) < 2000
    assert said.isprintable()
    return False


def outcomes(contents):
    """Return one of the above for each model, or a signal's number if it crashes."""
    script = confined_process.PACKAGES + RUN_MANY
    found = []
    while len(found) < len(contents):
        rest = contents[len(found) :]
        request = b"".join(struct.pack("<I", len(content)) + content for content in rest)
        ended = subprocess.run(
            [sys.executable, "-I", "-c", script],
            input=request,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=120,
            env=confined_process.ENVIRONMENT,
        )
        found += list(ended.stdout)
        if ended.returncode:
            found.append(-ended.returncode)
    return found


def flipped(content, rng):
    """Return the content with one to eight bits flipped."""
    bits = np.frombuffer(content, np.uint8).copy()
    for position in rng.integers(8 * len(bits), size=rng.integers(1, 9)):
        bits[position // 8] ^= 1 << (position % 8)
    return bits.tobytes()


def without_numbers():
    """Return a policy whose bytes are mostly structure, so that flips hit it."""
    content = models.ModelProto.FromString(models.box_policy(hidden=1))
    return content.SerializeToString()


@pytest.mark.parametrize("content", [GOOD, without_numbers()], ids=["gaussian", "small"])
def test_a_thousand_bit_flips_are_refused_or_contained(content):
    rng = np.random.default_rng(0)
    survivors = [each for each in (flipped(content, rng) for _ in range(1000)) if passes(each)]
    assert 20 < len(survivors) < 950  # both outcomes occur
    found = outcomes(survivors)
    assert len(found) == len(survivors)
    assert ANSWERED in found
    assert REMEMBERED not in found
    some = [each for each, outcome in zip(survivors, found, strict=True) if outcome != ANSWERED][:6]
    for each in some + survivors[:4]:
        with (
            contextlib.suppress(PolicyFailed),
            SandboxedPolicy(each, FORM, SandboxLimits(cpu_seconds=10)) as policy,
        ):
            assert np.isfinite(policy.outputs(ROW)["action"]).all()


def test_truncations_at_every_length_are_refused():
    content = models.box_policy()
    check_graph(content, OBSERVATIONS, ACTIONS)
    taken = [length for length in range(len(content)) if passes(content[:length])]
    assert taken == []


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused(content):
    assert not passes(content)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_spliced_files_are_refused_or_accepted(data):
    """Pieces of good files in any order: protobuf merges repeated fields."""
    pieces = []
    for _ in range(data.draw(st.integers(1, 4))):
        source = data.draw(st.sampled_from([GOOD, models.discrete_policy(), models.endless_loop()]))
        start = data.draw(st.integers(0, len(source)))
        pieces.append(source[start : data.draw(st.integers(start, len(source)))])
    passes(b"".join(pieces))


CONSTANTS = {
    "scalar": np.array(2.0, np.float32),
    "row": np.ones((1, 4), np.float32),
    "matrix": np.eye(4, 2, dtype=np.float32),
    "axes": np.array([1], np.int64),
    "shape": np.array([1, -1], np.int64),
    "large": np.array([2**62, -(2**62)], np.int64),
    "truth": np.array([True, False]),
    "nothing": np.zeros((0, 2), np.float32),
}


def _fitting(parameter, name):
    """Return a constant that some inputs need to get past the first checks."""
    needed = {"axes": "axes", "indices": "axes", "starts": "axes", "ends": "large"}
    return {**needed, "shape": "shape", "cond": "truth"}.get(parameter, name)


@st.composite
def random_graphs(draw):
    """Return a graph of allowed operators in a random arrangement."""
    names, nodes = ["x", *CONSTANTS], []
    for position in range(draw(st.integers(1, 6))):
        operator = draw(st.sampled_from(sorted(OPERATORS - {"Constant"})))
        schema = defs.get_schema(operator, 20)
        count = min(max(schema.min_input, 1), 5)
        known = [*names, *names[len(CONSTANTS) + 1 :] * 5, "x", "x", "row", "scalar"]
        inputs = draw(st.lists(st.sampled_from(known), min_size=count, max_size=count))
        inputs = [
            _fitting(schema.inputs[min(i, len(schema.inputs) - 1)].name, name)
            for i, name in enumerate(inputs)
        ]
        with_axis = "axis" in schema.attributes and draw(st.booleans())
        settings = {"axis": draw(st.integers(-3, 3))} if with_axis else {}
        settings |= {"to": TensorProto.FLOAT} if operator == "Cast" else {}
        nodes.append(helper.make_node(operator, inputs, [f"n{position}"], **settings))
        names.append(f"n{position}")
    nodes.append(helper.make_node("Identity", [names[-1]], ["action"]))
    return models.model(nodes, CONSTANTS).SerializeToString()


def test_random_graphs_of_allowed_operators_are_contained():
    graphs = []

    @settings(
        max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(random_graphs())
    def collect(content):
        assert passes(content)
        graphs.append(content)

    collect()
    found = outcomes(graphs)
    assert len(found) == len(graphs)
    assert {NOT_LOADED, NOT_RUN} <= set(found)
    assert REMEMBERED not in found
