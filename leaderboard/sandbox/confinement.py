"""What a process gives up before it runs an untrusted policy; Linux only.

This file imports the standard library only, so that the process can call it first.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import time

_PR_SET_PDEATHSIG = 1  # the constants of <linux/prctl.h> and <linux/sched.h>
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_OPEN_FILES = 64


def limit_resources(memory_bytes: int) -> None:
    """Limit memory and open files; from here on, writing to any file fails.

    Args:
        memory_bytes: address space.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_processor(cpu_seconds: float) -> None:
    """Limit the processor time from here on; what was used before does not count.

    The system knows whole seconds only, so it may grant up to one more. It ends the process with
    SIGXCPU, or with SIGKILL after another second if the process ignores that.

    Args:
        cpu_seconds: processor time.
    """
    last = math.ceil(time.process_time() + cpu_seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (last, last + 1))


def isolate_network() -> bool:
    """Move to a network namespace without any device; return whether the system allowed it.

    Where possible it comes with a user namespace, in which even root has no power over the rest of
    the system. Call it before any thread is started.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        return True
    return bool(libc.unshare(_CLONE_NEWNET) == 0)


def die_with_parent(parent: int) -> None:
    """Ask the system to kill this process when its parent ends.

    Call it after `isolate_network`, because a change of credentials cancels this.

    Args:
        parent: process id of the parent, which may have ended before this call.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def renounce_privileges() -> None:
    """Give up new processes and new privileges, and forbid inspection by other processes.

    The limit on processes does not apply to root; the filter of system calls does.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
