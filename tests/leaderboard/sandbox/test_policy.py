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
from leaderboard.sandbox.machine_memory import memory_is_short
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


def test_endless_computing_in_one_call_is_not_an_answer_in_time(monkeypatch):
    """The call is judged by its processor time, so other processes may use most of the machine."""
    monkeypatch.setattr(policy_sandbox, "_PATIENCE", 100.0)
    said = failure(models.endless_loop(), SandboxLimits(call_seconds=0.6))
    assert said == "the policy did not answer in time"


TOO_LITTLE = (
    "the process of the policy did not answer in time, but used little processor time; check the "
    "machine's load and memory"
)


def test_a_machine_that_gives_too_little_time_is_to_blame():
    limits = SandboxLimits(total_seconds=0.6)  # far less than the processor time of a call
    with (
        pytest.raises(SandboxUnavailable) as caught,
        SandboxedPolicy(models.endless_loop(), FORM, limits) as policy,
    ):
        policy.outputs(ROW)
    assert str(caught.value) == TOO_LITTLE


def test_total_time_is_that_of_all_calls_but_not_between_them():
    limits = SandboxLimits(total_seconds=20.0)
    with SandboxedPolicy(models.box_policy(), FORM, limits) as policy:
        used = 20.0 - policy._seconds_left
        policy._seconds_left = used + 0.5
        time.sleep(used + 1.0)
        policy.outputs(ROW)
        policy._seconds_left = 0.0
        with pytest.raises(SandboxUnavailable, match="did not answer in time, but used little"):
            policy.outputs(random_rows(2000))


def test_starting_onnx_runtime_does_not_count_as_the_policys_time():
    """A second is less than what starting takes on a slow machine, and far more than the rest."""
    with SandboxedPolicy(models.box_policy(), FORM, SandboxLimits(cpu_seconds=0.9)) as policy:
        started = policy.cpu_seconds
        for _ in range(3):
            policy.outputs(ROW)
        process_time = time.clock_gettime((~policy._process.pid << 3) | 2)
        assert 0.0 < started < policy.cpu_seconds < process_time
        policy._process.close()
        used = policy.cpu_seconds
    assert policy.cpu_seconds == used >= started  # also after its end


def test_processor_time_is_that_of_the_system(monkeypatch):
    """Of a child that computes for half a second by its own clock."""
    script = ASKED + (
        "start = time.process_time()\nwhile time.process_time() < start + 0.5: pass\n"
        "os.write(1, b'\\0\\0' + bytes(16))\nsys.stdin.buffer.read(1)"
    )
    monkeypatch.setattr(confined_process, "PROGRAM", script)
    with SandboxedPolicy(models.box_policy(), FORM) as policy:
        before = policy.cpu_seconds
        policy.outputs(ROW)
        assert policy.cpu_seconds - before == pytest.approx(0.5, abs=0.2)


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
        with pytest.raises(SandboxUnavailable, match=r"policy was ended from outside \(SIGKILL\);"):
            policy.outputs(ROW)
        with pytest.raises(PolicyFailed, match="the policy is not running"):
            policy.outputs(ROW)


@pytest.mark.parametrize("ignored", [False, True])
def test_the_limit_on_processor_time_is_told_apart_from_a_kill(ignored, monkeypatch):
    """The system sends SIGXCPU, and a second later SIGKILL."""
    script = "import resource, signal\n" + ASKED + (
        "resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\n"
        f"if {ignored}: signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
        "while True: pass"
    )  # fmt: skip
    monkeypatch.setattr(confined_process, "PROGRAM", script)
    limits = SandboxLimits(cpu_seconds=0.8, call_seconds=60.0)
    with (
        SandboxedPolicy(models.box_policy(), FORM, limits) as policy,
        pytest.raises(PolicyFailed, match="^the policy ran out of CPU time$"),
    ):
        policy.outputs(ROW)


READY = "import os, sys, time; os.write(1, b'R\\1\\1')\n"
LOADED = READY + f"sys.stdin.buffer.read(8 + {len(models.box_policy())}); os.write(1, b'\\0\\0')\n"
ASKED = LOADED + "sys.stdin.buffer.read(4 + 16)\n"
HOSTILE = {
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
}
LATE = "did not answer in time, but used little processor time"
OUTSIDE = {  # nothing that a policy does; one that took its process over gets no score by it
    "never answers": (ASKED + "time.sleep(60)", LATE),
    "reads nothing": (LOADED + "time.sleep(60)", LATE),
    "answers half": (ASKED + "os.write(1, b'\\0\\0abc'); time.sleep(60)", LATE),
    "real-time signal": (ASKED + "os.kill(os.getpid(), 40)", "was ended from outside (signal 40)"),
    "CPU signal": (ASKED + "os.kill(os.getpid(), 24)", "was ended from outside (SIGXCPU)"),
    "SIGTERM": (ASKED + "os.kill(os.getpid(), 15)", "was ended from outside (SIGTERM)"),
    "SIGHUP": (ASKED + "os.kill(os.getpid(), 1)", "was ended from outside (SIGHUP)"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_parent_survives_a_process_that_was_taken_over(name, monkeypatch):
    script, said = HOSTILE[name]
    monkeypatch.setattr(confined_process, "PROGRAM", script)
    monkeypatch.setattr(confined_process, "_END_SECONDS", 0.7)
    with SandboxedPolicy(models.box_policy(), FORM) as policy:
        time.sleep(0.3 if "asked" in name else 0.0)
        with pytest.raises(PolicyFailed) as caught:
            policy.outputs(ROW)
    assert str(caught.value).endswith(said)


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_comes_from_outside_is_not_the_policys_fault(name, monkeypatch):
    script, said = OUTSIDE[name]
    monkeypatch.setattr(confined_process, "PROGRAM", script)
    monkeypatch.setattr(policy_sandbox, "_PATIENCE", 1.0)
    limits = SandboxLimits(call_seconds=1.0)
    with (
        SandboxedPolicy(models.box_policy(), FORM, limits) as policy,
        pytest.raises(SandboxUnavailable) as caught,
    ):
        policy.outputs(ROW)
    expected = f"the process of the policy {said}; check the machine's load and memory"
    assert str(caught.value) == expected


MEMORY_OF_A_MACHINE = [  # mode, total, swap, grantable, granted [kB], short of 2 GiB?
    (0, 8_000_000, 0, 1, 10**9, False),
    (1, 2_000_000, 200_000, 1, 10**9, False),
    (0, 1_000_000, 500_000, 10**9, 1, True),
    (2, 8_000_000, 0, 8_000_000, 3_000_000, False),
    (2, 8_000_000, 0, 8_000_000, 7_000_000, True),
]


@pytest.mark.parametrize(
    ("mode", "total", "swap", "limit", "granted", "short"), MEMORY_OF_A_MACHINE
)
def test_a_machine_without_memory_is_told_apart(mode, total, swap, limit, granted, short, tmp_path):
    (tmp_path / "sys/vm").mkdir(parents=True)
    (tmp_path / "sys/vm/overcommit_memory").write_text(f"{mode}\n")
    (tmp_path / "meminfo").write_text(
        f"MemTotal:  {total} kB\nSwapTotal: {swap} kB\nCommitLimit: {limit} kB\n"
        f"Committed_AS: {granted} kB\nHugePages_Total:       0\n"
    )
    assert memory_is_short(2 * 1024**3, tmp_path) is short


def test_an_allocation_that_the_machine_refused_is_not_the_policys_fault(monkeypatch):
    script = ASKED + "os.write(1, b'\\3\\0')"
    monkeypatch.setattr(confined_process, "PROGRAM", script)
    for short, fault in ((True, SandboxUnavailable), (False, PolicyFailed)):
        monkeypatch.setattr(policy_sandbox, "memory_is_short", lambda needed, told=short: told)
        with SandboxedPolicy(models.box_policy(), FORM) as policy, pytest.raises(fault):
            policy.outputs(ROW)


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
