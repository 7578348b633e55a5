"""A filter of system calls: the process can compute and use its open pipes, and nothing else.

The filter is a program of the kernel's packet-filter machine (see seccomp(2)): it compares the
number of each system call with an allow-list. Everything else fails with EPERM: opening files,
sockets, starting processes and threads, sending signals to others.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

_ARCHITECTURE = 0xC000003E  # AUDIT_ARCH_X86_64
_ALLOWED = {  # by number on x86-64
    0: "read",
    1: "write",
    3: "close",
    9: "mmap",
    10: "mprotect",
    11: "munmap",
    12: "brk",
    13: "rt_sigaction",
    14: "rt_sigprocmask",
    15: "rt_sigreturn",
    24: "sched_yield",
    25: "mremap",
    28: "madvise",
    60: "exit",
    131: "sigaltstack",
    186: "gettid",
    202: "futex",
    219: "restart_syscall",
    228: "clock_gettime",
    230: "clock_nanosleep",
    231: "exit_group",
    318: "getrandom",
}
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # offsets in struct seccomp_data
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000 | errno.EPERM  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
_SECCOMP, _SET_FILTER, _ALL_THREADS = 317, 1, 1  # seccomp(SET_MODE_FILTER, FLAG_TSYNC)


class _Program(ctypes.Structure):
    """The kernel's struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def filter_system_calls() -> bool:
    """Restrict this process and its threads to the calls above; return whether that worked.

    Call `confinement.renounce_privileges` first. It works on Linux on x86-64 only.
    """
    if platform.machine() != "x86_64":
        return False
    instructions = _instructions()
    program = _Program(len(instructions) // 8, instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(_SECCOMP, _SET_FILTER, _ALL_THREADS, ctypes.byref(program)) == 0)


def _instructions() -> bytes:
    """Return the filter program; a jump gives the instructions to skip if equal and if not."""
    program = [(_LOAD, 0, 0, _ARCHITECTURE_AT)]
    program += [(_JUMP_IF_EQUAL, 0, len(_ALLOWED) + 1, _ARCHITECTURE)]
    program += [(_LOAD, 0, 0, _NUMBER_AT)]
    for position, number in enumerate(_ALLOWED):
        program += [(_JUMP_IF_EQUAL, len(_ALLOWED) - position, 0, number)]
    program += [(_RETURN, 0, 0, _FAIL), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
