"""Python imports this at its start: the process ends when it opens a socket to the network.

Python's own connections and lookups raise. Those of compiled libraries end the process with SIGSYS,
where the kernel is Linux on x86-64; child processes inherit that.
"""

import ctypes
import platform
import socket
import struct


def _refuse(*args, **kwargs):
    raise AssertionError(f"a connection or a lookup: {args}")


def _connect(self, address, connect=socket.socket.connect):
    if self.family != socket.AF_UNIX:
        _refuse(address)
    return connect(self, address)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def _end_at_sockets():
    load, equal, answer = 0x20, 0x15, 0x06
    instructions = [
        (load, 0, 0, 4),  # architecture
        (equal, 0, 5, 0xC000003E),  # x86-64
        (load, 0, 0, 0),  # number of the system call
        (equal, 0, 3, 41),  # socket
        (load, 0, 0, 16),  # its first argument
        (equal, 2, 0, socket.AF_INET),
        (equal, 1, 0, socket.AF_INET6),
        (answer, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
        (answer, 0, 0, 0x80000000),  # SECCOMP_RET_KILL_PROCESS
    ]
    content = b"".join(struct.pack("=HBBI", *one) for one in instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    libc.syscall(317, 1, 0, ctypes.byref(_Program(len(instructions), content)))  # seccomp


socket.socket.connect = _connect
socket.socket.connect_ex = _connect
for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
    setattr(socket, name, _refuse)
if platform.system() == "Linux" and platform.machine() == "x86_64":
    _end_at_sockets()
