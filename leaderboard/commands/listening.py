"""Binds the address of a server before anything is said about it."""

from __future__ import annotations

import errno
import socket
import sys
from contextlib import ExitStack

BACKLOG = 2048  # connections that wait to be accepted
FIRST_FREE_PORT = 1024  # those below are the administrator's


def listen(host: str, port: int) -> list[socket.socket]:
    """Return the sockets that listen on a host's addresses.

    Raises:
        ValueError: if the address is in use, of another machine, unknown or not allowed.
    """
    with ExitStack() as opened:
        sockets = []
        problem: OSError | None = None
        for family, address in _addresses(host, port):
            try:
                sockets.append(opened.enter_context(_listening(family, address)))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise ValueError(_told(error, host, port)) from error
                problem = error  # "localhost" has an IPv6 address even where there is no IPv6
        if not sockets:
            assert problem is not None
            raise ValueError(_told(problem, host, port)) from problem
        opened.pop_all()
        return sockets


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise ValueError(
            f"the host {host!r} is unknown ({error}); pass an address of this machine, for example "
            "--host 127.0.0.1"
        ) from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))  # type: ignore[misc]


def _listening(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    # With the protocol, asyncio knows that it is TCP and sends answers at once.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # where it would allow two servers on one port
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except BaseException:
        opened.close()
        raise
    return opened


def _told(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65_535 else 8000
        return (
            f"port {port} of {host} is in use by another program; end it, or pass another port, "
            f"for example --port {other}"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"{host} is not an address of this machine; pass --host 127.0.0.1 for visitors from "
            "here only, or --host 0.0.0.0 for all"
        )
    if error.errno in (errno.EACCES, errno.EPERM) and port < FIRST_FREE_PORT:
        return (
            f"port {port} is reserved for the administrator; pass a port from {FIRST_FREE_PORT}, "
            "for example --port 8000, and put a web server in front of it"
        )
    return f"{host}, port {port}: {error.strerror}"
