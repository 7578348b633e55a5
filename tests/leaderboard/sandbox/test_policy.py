"""Policies in the sandbox: good ones give the right answers, and bad ones do no harm."""

import gc
import os
import re
import signal
import socket
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from leaderboard.policy_files.gate import PolicyRefused, check_graph
from leaderboard.sandbox import confined_process
from leaderboard.sandbox import policy as policy_sandbox
from leaderboard.sandbox.policy import (
    PolicyFailed,
    SandboxedPolicy,
    SandboxLimits,
    SandboxUnavailable,
)
from leaderboard.sandbox.policy_signature import PolicyOutput, PolicySignature
from tests.leaderboard import onnx_models as models
from tests.leaderboard.onnx_models import ACTIONS, CHOICES, FORM, OBSERVATIONS, ROW, Network


def random_rows(count, size=4):
    return np.random.default_rng(count).normal(size=(count, size)).astype(np.float32)


def failure(content, limits=None, rows=ROW):
    with pytest.raises(PolicyFailed) as caught, SandboxedPolicy(content, FORM, limits) as policy:
        policy.outputs(rows)
    return str(caught.value)


def processes_of_ours():
    return {
        int(pid)
        for children in Path("/proc/self/task").glob("*/children")
        for pid in children.read_text().split()
    }


def test_outputs_are_those_of_the_same_network_in_numpy():
    network = Network.random(4, 64, 64, 2)
    with SandboxedPolicy(models.network_policy(network), FORM) as policy:
        found = policy.outputs(random_rows(50))
    assert list(found) == ["action"]
    assert found["action"].dtype == np.float64
    np.testing.assert_allclose(found["action"], network.forward(random_rows(50)), atol=1e-6)


def test_discrete_actions_are_the_largest_logits():
    form = check_graph(models.discrete_policy(), OBSERVATIONS, CHOICES)
    expected = Network.random(4, 8, 5).forward(random_rows(50))
    with SandboxedPolicy(models.discrete_policy(), form) as policy:
        found = policy.outputs(random_rows(50))
    np.testing.assert_allclose(found["logits"], expected, atol=1e-6)
    np.testing.assert_array_equal(found["action"], expected.argmax(axis=1)[:, None])
    assert found["action"].dtype == np.int64


def test_mean_and_log_std_come_with_the_action():
    form = check_graph(models.gaussian_policy(), OBSERVATIONS, ACTIONS)
    with SandboxedPolicy(models.gaussian_policy(), form) as policy:
        found = policy.outputs(random_rows(3))
    np.testing.assert_allclose(found["action"], np.tanh(found["mean"]), atol=1e-6)
    np.testing.assert_array_equal(found["log_std"], np.full((3, 2), -1.0))


def test_answers_do_not_depend_on_the_batch():
    """Bit for bit, and over many sizes of networks."""
    rows = random_rows(37)
    with SandboxedPolicy(models.network_policy(Network.random(4, 64, 64, 2)), FORM) as policy:
        together = policy.outputs(rows)["action"]
        single = np.vstack([policy.outputs(rows[i : i + 1])["action"] for i in range(37)])
        backwards = policy.outputs(rows[::-1])["action"][::-1]
    np.testing.assert_array_equal(together, single)
    np.testing.assert_array_equal(together, backwards)


def test_policy_that_looks_at_other_rows_sees_only_its_own():
    """Its largest number in the batch is the largest in the row."""
    nodes = [helper.make_node("ReduceMax", ["x"], ["evil"], keepdims=0)]
    rows = random_rows(9)
    with SandboxedPolicy(models.spoiled(nodes), FORM) as policy:
        found = policy.outputs(rows)["action"]
    np.testing.assert_allclose(found, rows[:, :2] + rows.max(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(
    "rows", [np.zeros(4), np.zeros((1, 5)), np.zeros((0, 4)), np.zeros((65_537, 4))]
)
def test_observations_of_another_shape_are_the_callers_mistake(rows):
    with SandboxedPolicy(models.box_policy(), FORM) as policy:
        with pytest.raises(ValueError, match=r"observations have shape .*; the policy takes"):
            policy.outputs(rows)
        with pytest.raises(ValueError, match="observations are not finite; check the env"):
            policy.outputs(np.full((1, 4), np.nan))
        policy.outputs(ROW)  # it is still there


def test_limits_are_positive_and_grow_with_the_steps():
    with pytest.raises(ValueError, match="cpu_seconds is 0; pass a positive number"):
        SandboxLimits(cpu_seconds=0)
    assert SandboxLimits.for_steps(5_000_000).cpu_seconds == 120 + 100


def test_before_it_is_started_it_says_so():
    policy = SandboxedPolicy(models.box_policy(), FORM)
    with pytest.raises(RuntimeError, match="the policy is not started; use `with Sandboxed"):
        _ = policy.isolation
    with pytest.raises(PolicyFailed, match="the policy is not running; use `with Sandboxed"):
        policy.outputs(ROW)


MEMORY = SandboxLimits(memory_bytes=700 * 1024**2)  # the runtime itself takes 150 MB
MEMORY_BOMBS = {
    "constant of 80 GB": models.constant_of_shape(),
    "expand to 80 GB": models.expand(),
    "doubled 60 times": models.concatenation_bomb(),
    "broadcast to 40 GB": models.broadcast_bomb(),
    "outer product of 40 GB": models.product_bomb(),
}


@pytest.mark.parametrize("name", MEMORY_BOMBS)
def test_memory_bombs_run_out_of_memory(name):
    assert failure(MEMORY_BOMBS[name], MEMORY) == "the policy ran out of memory"


@pytest.mark.parametrize(
    "content", [models.concatenation_bomb(), models.broadcast_bomb(), models.computing_bomb()]
)
def test_bombs_of_allowed_operators_pass_the_rules(content):
    """So the limits of the sandbox are what stops them."""
    check_graph(content, OBSERVATIONS, ACTIONS)


@pytest.mark.parametrize("content", [models.endless_loop(), models.computing_bomb()])
def test_endless_computing_runs_out_of_cpu_time(content):
    start = time.monotonic()
    assert failure(content, SandboxLimits(cpu_seconds=1)) == "the policy ran out of CPU time"
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("limits", [{"call_seconds": 0.6}, {"total_seconds": 0.6}])
def test_endless_computing_runs_out_of_wall_time(limits):
    said = failure(models.endless_loop(), SandboxLimits(**limits))
    assert said == "the policy did not answer in time"


def test_total_time_is_that_of_all_calls_but_not_between_them():
    with SandboxedPolicy(models.box_policy(), FORM, SandboxLimits(total_seconds=1.0)) as policy:
        time.sleep(1.1)
        policy.outputs(ROW)
        policy._seconds_left = 0.0
        with pytest.raises(PolicyFailed, match="the policy did not answer in time"):
            policy.outputs(random_rows(2000))


ANSWERS = {
    "NaN": (models.not_a_number(), "answered 'action' with numbers that are not finite"),
    "infinity": (models.infinite(), "answered 'action' with numbers that are not finite"),
    "wrong shape": (models.wrong_shape(), "answered 'action' with a shape other than (batch, 2)"),
    "custom operator": (models.custom_domain(), "cannot be loaded by ONNX Runtime"),
    "external data": (models.external_data("x"), "cannot be loaded by ONNX Runtime"),
    "external data, absolute": (
        models.external_data("/etc/passwd"),
        "cannot be loaded by ONNX Runtime",
    ),
    "lying dimensions": (models.lying_dimensions(), "cannot be loaded by ONNX Runtime"),
    "garbage": (b"\xde\xad\xbe\xef" * 100, "cannot be loaded by ONNX Runtime"),
    "empty": (b"", "cannot be loaded by ONNX Runtime"),
    "truncated": (models.box_policy()[:-20], "cannot be loaded by ONNX Runtime"),
    "pickle": (models.pickled(), "cannot be loaded by ONNX Runtime"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_other_attacks_fail_in_the_sandbox_alone_as_well(name):
    content, said = ANSWERS[name]
    assert failure(content) == f"the policy {said}"


def test_20000_nodes_run_within_the_limits():
    with SandboxedPolicy(models.chain(20_000), FORM) as policy:
        np.testing.assert_array_equal(policy.outputs(ROW)["action"], ROW[:, :2])


def test_policy_may_fail_late():
    with SandboxedPolicy(models.not_finite_beyond(10.0), FORM) as policy:
        np.testing.assert_allclose(policy.outputs(ROW)["action"], ROW[:, :2] + 1.0, atol=1e-6)
        rows = random_rows(20)
        rows[13, 0] = 11.0
        with pytest.raises(PolicyFailed, match="with numbers that are not finite") as caught:
            policy.outputs(rows)
        assert not re.search(r"\d", str(caught.value))  # nothing about the observations
        with pytest.raises(PolicyFailed, match="the policy is not running"):
            policy.outputs(ROW)


def test_crash_of_the_runtime_is_contained():
    """ONNX Runtime 1.31 divides the smallest integer by -1 as the processor does."""
    nodes = [
        helper.make_node("Mod", ["smallest", "minus_one"], ["rest"]),
        helper.make_node("Cast", ["rest"], ["evil"], to=TensorProto.FLOAT),
    ]
    constants = {"smallest": np.int32([-(2**31)]), "minus_one": np.int32([-1])}
    content = models.spoiled(nodes, constants)
    with pytest.raises(PolicyRefused, match="node 0 is the operator 'Mod'"):
        check_graph(content, OBSERVATIONS, ACTIONS)
    try:
        with SandboxedPolicy(content, FORM) as policy:
            policy.outputs(ROW)
    except PolicyFailed as failed:
        said = str(failed)
    else:
        pytest.skip("this version of ONNX Runtime does not crash here")
    assert said == "the policy crashed (SIGFPE)"


def test_wrong_type_is_named():
    integers = models.ModelProto.FromString(models.discrete_policy())
    del integers.graph.output[0]
    said = failure(integers.SerializeToString())
    assert said == "the policy answered 'action' with a type other than float32 or float64"


def test_no_process_folder_or_descriptor_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gc.collect()
    before, descriptors = processes_of_ours(), len(os.listdir("/proc/self/fd"))
    with SandboxedPolicy(models.box_policy(), FORM):
        assert len(processes_of_ours()) == len(before) + 1
        assert list(tmp_path.iterdir()) == []  # removed as soon as the process is started
    failure(models.not_a_number())
    failure(models.constant_of_shape())
    failure(b"garbage")
    with pytest.raises(ZeroDivisionError), SandboxedPolicy(models.box_policy(), FORM):
        _ = 1 / 0
    assert processes_of_ours() == before
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert list(tmp_path.iterdir()) == []


def test_killed_process_is_reported():
    before = processes_of_ours()  # such as multiprocessing's, left by another test
    with SandboxedPolicy(models.box_policy(), FORM) as policy:
        (pid,) = processes_of_ours() - before
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(PolicyFailed, match=r"^the policy crashed \(SIGKILL\)$"):
            policy.outputs(ROW)


READY = "import os, sys, time; os.write(1, b'R\\1\\1')\n"
LOADED = READY + f"sys.stdin.buffer.read(8 + {len(models.box_policy())}); os.write(1, b'\\0\\0')\n"
ASKED = LOADED + "sys.stdin.buffer.read(4 + 16)\n"
HOSTILE = {
    "never answers": (ASKED + "time.sleep(60)", "did not answer in time"),
    "reads nothing": (LOADED + "time.sleep(60)", "did not answer in time"),
    "answers half": (ASKED + "os.write(1, b'\\0\\0abc'); time.sleep(60)", "did not answer in time"),
    "answers half and ends": (ASKED + "os.write(1, b'\\0\\0abc')", r"ended (exit code 0)"),
    "unknown answer": (
        ASKED + "os.write(1, b'\\xff\\xff' * 9)",
        "sent something that is not an answer",
    ),
    "other output": (
        ASKED + "os.write(1, b'\\5\\xff')",
        "answered 'action' with a shape other than (batch, 2)",
    ),
    "NaN": (ASKED + "os.write(1, b'\\0\\0' + b'\\xff' * 16)", "not finite"),
    "unasked": (LOADED + "os.write(1, b'x'); time.sleep(60)", "answered without being asked"),
    "ends": (ASKED + "os._exit(3)", "ended (exit code 3)"),
    "ends before it is asked": (LOADED + "os._exit(0)", "ended (exit code 0)"),
    "closes its pipe": (ASKED + "os.close(1); time.sleep(60)", "closed its pipe"),
    "segmentation fault": (ASKED + "os.kill(os.getpid(), 11)", "crashed (SIGSEGV)"),
    "real-time signal": (ASKED + "os.kill(os.getpid(), 40)", "crashed (signal 40)"),
    "CPU signal": (ASKED + "os.kill(os.getpid(), 24)", "ran out of CPU time"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_parent_survives_a_process_that_was_taken_over(name, monkeypatch):
    script, said = HOSTILE[name]
    monkeypatch.setattr(confined_process, "PROGRAM", script)
    limits = SandboxLimits(call_seconds=0.7)
    with SandboxedPolicy(models.box_policy(), FORM, limits) as policy:
        time.sleep(0.3 if "asked" in name else 0.0)
        with pytest.raises(PolicyFailed) as caught:
            policy.outputs(ROW)
    assert str(caught.value).endswith(said)


def test_answers_of_a_process_that_writes_too_much_are_not_taken_for_the_next(monkeypatch):
    flood = ASKED + "os.write(1, bytes(2 + 16 + 1000)); time.sleep(60)"
    monkeypatch.setattr(confined_process, "PROGRAM", flood)
    with SandboxedPolicy(models.box_policy(), FORM) as policy:
        np.testing.assert_array_equal(policy.outputs(ROW)["action"], np.zeros((1, 2)))
        with pytest.raises(PolicyFailed, match="the policy answered without being asked"):
            policy.outputs(ROW)


def test_fraction_for_a_whole_number_is_refused(monkeypatch):
    form = PolicySignature(4, (PolicyOutput("action", 1, whole=True),))
    answer = ASKED + "import struct; os.write(1, b'\\0\\0' + struct.pack('<d', 1.5))"
    monkeypatch.setattr(confined_process, "PROGRAM", answer)
    with (
        SandboxedPolicy(models.box_policy(), form) as policy,
        pytest.raises(
            PolicyFailed, match="the policy answered 'action' with numbers that are not whole"
        ),
    ):
        policy.outputs(ROW)


@pytest.mark.parametrize(
    "script", ["raise SystemExit(1)", "import time; time.sleep(60)", "print('Welcome')"]
)
def test_process_that_does_not_start_is_not_the_policys_fault(script, monkeypatch):
    monkeypatch.setattr(confined_process, "PROGRAM", script)
    monkeypatch.setattr(policy_sandbox, "_START_SECONDS", 0.5)
    with (
        pytest.raises(SandboxUnavailable, match="the process for the policy could not be started"),
        SandboxedPolicy(models.box_policy(), FORM),
    ):
        pass


def test_environment_variables_and_descriptors_are_not_inherited(monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_SEASON", "1")
    script = (
        "import os\n"
        "names = set(os.environ) - {'LC_CTYPE', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS'}\n"
        "names -= {'GLIBC_TUNABLES'}\n"
        "ours = set(os.listdir('/proc/self/fd')) - {'0', '1', '2'}\n"
        "os.write(1, bytes([82, len(names) > 0, len(ours) > 1]))\n"
        "os._exit(0)"
    )
    monkeypatch.setattr(confined_process, "PROGRAM", script)
    listener = socket.create_server(("127.0.0.1", 0))
    os.set_inheritable(listener.fileno(), True)
    policy = SandboxedPolicy(models.box_policy(), FORM)
    with listener, pytest.raises(PolicyFailed):
        policy.__enter__()
    assert policy.isolation == policy_sandbox.Isolation(False, False)  # the two answers
