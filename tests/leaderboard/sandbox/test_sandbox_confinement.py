"""What a process can still do after its confinement, tried in such a process."""

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from leaderboard.sandbox import confined_process
from leaderboard.sandbox.policy import SandboxedPolicy
from tests.leaderboard import onnx_models as models
from tests.leaderboard.onnx_models import FORM, ROW

TRY = """
import json, os, signal, socket, subprocess, threading
from leaderboard.sandbox.confinement import *
from leaderboard.sandbox.system_call_filter import filter_system_calls

def outcome(attempt):
    try:
        attempt()
    except BaseException as error:
        number = error.errno if isinstance(error, OSError) else None
        return type(error).__name__ if number is None else os.strerror(number)
    return "done"
"""
GIVE_UP = """
isolated = isolate_network()
limit_resources(1 << 30)
limit_processor(60)
renounce_privileges()
filtered = filter_system_calls()
"""


def tried(script, *arguments, **settings):
    """Return what a script of its own process prints as JSON."""
    found = subprocess.run(
        [sys.executable, "-I", "-c", confined_process.PACKAGES + TRY + script, *arguments],
        capture_output=True,
        check=False,
        timeout=60,
        **settings,
    )
    assert found.returncode == 0, found.stderr.decode()
    return json.loads(found.stdout)


ATTEMPTS = """
attempts = {
    "read a file": lambda: open(sys.argv[1]).read(),
    "write a file": lambda: open(sys.argv[1], "w").write("x"),
    "list a folder": lambda: os.listdir("/"),
    "environment of the parent": lambda: open(f"/proc/{os.getppid()}/environ").read(),
    "network socket": lambda: socket.socket(socket.AF_INET),
    "local socket": lambda: socket.socket(socket.AF_UNIX),
    "fork": lambda: os._exit(0) if os.fork() == 0 else None,
    "program": lambda: subprocess.run(["/bin/true"]),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "thread": lambda: threading.Thread(target=print).start(),
    "signal to the parent": lambda: os.kill(os.getppid(), 0),
    "user": lambda: os.setuid(1),
    "pipe": os.pipe,
    "4 GiB": lambda: bytearray(4 << 30),
}
print(json.dumps({name: outcome(attempt) for name, attempt in attempts.items()}))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter is for x86-64")
def test_nothing_but_computing_is_possible(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("seed")
    found = tried(GIVE_UP + "assert filtered\n" + ATTEMPTS, str(secret))
    assert found.pop("4 GiB") == "MemoryError"
    assert found.pop("thread") == "RuntimeError"
    assert set(found.values()) == {"Operation not permitted"}, found
    assert secret.read_text() == "seed"


def test_without_the_filter_the_attempts_are_possible(tmp_path):
    """This shows that the attempts themselves are right."""
    secret = tmp_path / "secret"
    secret.write_text("seed")
    attempts = ATTEMPTS.replace('"exec"', '# "exec"').replace('"4 GiB"', '# "4 GiB"')
    attempts = attempts.replace('"user"', '# "user"')
    assert set(tried(attempts, str(secret)).values()) == {"done"}


def test_limits_hold_without_the_filter(tmp_path):
    script = """
limit_resources(1 << 30)
limit_processor(60)
renounce_privileges()
attempts = {
    "write a file": lambda: print("x" * 9, file=open(sys.argv[1], "w"), flush=True),
    "4 GiB": lambda: bytearray(4 << 30),
    "65 files": lambda: [os.dup(1) for _ in range(65)],
    "fork": lambda: os._exit(0) if os.fork() == 0 else None,
}
found = {name: outcome(attempt) for name, attempt in attempts.items()}
"""
    found = tried(script + "os.write(1, json.dumps(found).encode())", str(tmp_path / "file"))
    assert found["write a file"] == "File too large"
    assert found["4 GiB"] == "MemoryError"
    assert found["65 files"] == "Too many open files"
    if os.getuid() != 0:  # the limit does not apply to root
        assert found["fork"] == "Resource temporarily unavailable"


def test_cpu_limit_ends_the_process():
    script = confined_process.PACKAGES + TRY + "limit_processor(1)\nwhile True: pass"
    ended = subprocess.run([sys.executable, "-I", "-c", script], check=False, timeout=30)
    assert ended.returncode == -signal.SIGXCPU


def test_listening_port_of_this_machine_is_out_of_reach():
    script = """
connect = lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5).close()
before = outcome(connect)
isolated = isolate_network()
print(json.dumps([before, isolated, outcome(connect)]))
"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        before, isolated, after = tried(script, str(listener.getsockname()[1]))
    assert before == "done"
    if not isolated:
        pytest.skip("the system grants no network namespace")
    assert after == "Network is unreachable"


def test_sandbox_reports_what_the_system_allowed():
    granted = tried("print(json.dumps([isolate_network(), 0]))")[0]
    with SandboxedPolicy(models.box_policy(), FORM) as policy:
        assert policy.isolation.network_isolated == granted
        assert policy.isolation.system_calls_filtered == (platform.machine() == "x86_64")


PARENT = """
import sys, time
from pathlib import Path
import numpy as np
from leaderboard.sandbox.policy_signature import PolicySignature, PolicyOutput
from leaderboard.sandbox.policy import SandboxedPolicy

form = PolicySignature(4, (PolicyOutput("action", 2, False),))
with SandboxedPolicy(Path(sys.argv[1]).read_bytes(), form) as policy:
    print(policy._process.pid, flush=True)
    policy.outputs(np.zeros((1, 4)))
    time.sleep(60)
"""


@pytest.mark.parametrize("content", [models.box_policy(), models.endless_loop()])
def test_process_ends_when_its_parent_is_killed(content, tmp_path):
    (tmp_path / "policy.onnx").write_bytes(content)
    root = Path(confined_process.__file__).parents[2]
    command = [sys.executable, "-c", PARENT, str(tmp_path / "policy.onnx")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.2)
        parent.kill()
    for _ in range(100):
        if not is_running(pid):
            return
        time.sleep(0.05)
    pytest.fail("the process of the policy outlived its parent")


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # a zombie waits for its new parent


def test_memory_of_the_process_is_modest():
    with SandboxedPolicy(models.box_policy(), FORM) as policy:
        policy.outputs(np.repeat(ROW, 100, axis=0))
        pages = int(Path(f"/proc/{policy._process.pid}/statm").read_text().split()[1])
    assert pages * os.sysconf("SC_PAGE_SIZE") < 150e6
