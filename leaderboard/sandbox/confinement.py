"""What a process gives up before it runs an untrusted policy; Linux only.

This file imports the standard library only, so that the process can call it first.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1  # the constants of <linux/prctl.h> and <linux/sched.h>
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_OPEN_FILES = 64


def limit_resources(memory_bytes: int, cpu_seconds: int) -> None:
    """Limit memory, processor time and open files; from here on, writing to any file fails.

    Args:
        memory_bytes: address space.
        cpu_seconds: processor time, after which the system ends the process with SIGXCPU.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


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
