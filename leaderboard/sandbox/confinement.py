"""What a process gives up before it runs a stranger's policy; Linux only.

Nothing here imports more than the standard library, so that the process can call it first.
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
    """Bound memory, processor time and open files; writing files of any size fails from here on.

    Args:
        memory_bytes: of address space.
        cpu_seconds: of processor time, after which the system ends the process with SIGXCPU.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def isolate_network() -> bool:
    """Move to a network of its own without any device; return whether the system allowed it.

    A user namespace goes with it where possible, in which not even root keeps its powers over the
    rest of the system. It must be called before any thread is started.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        return True
    return bool(libc.unshare(_CLONE_NEWNET) == 0)


def die_with_parent(parent: int) -> None:
    """Have the system kill this process when its parent ends.

    Call it after `isolate_network`, because a change of credentials cancels it.

    Args:
        parent: its process id, in case it ended before this call.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def renounce_privileges() -> None:
    """Give up new processes, new privileges and inspection by others.

    The limit on processes does not bind root; the filter of system calls does.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
