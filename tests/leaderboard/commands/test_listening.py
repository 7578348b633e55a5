"""`serve` says that it cannot listen before it says where it does."""

import errno
import socket
from contextlib import closing

import pytest

from leaderboard.__main__ import main
from leaderboard.commands.listening import listen
from tests.leaderboard.server import HOST, free_port


@pytest.fixture
def taken():
    """A port that another program listens on."""
    with closing(socket.create_server((HOST, 0))) as other:
        yield other.getsockname()[1]


def serve(tmp_path, capsys, *words):
    code = main(["serve", "--db", f"sqlite:///{tmp_path / 'store.sqlite'}", *map(str, words)])
    return code, capsys.readouterr().out


def test_a_port_in_use(tmp_path, capsys, taken):
    assert serve(tmp_path, capsys, "--port", taken) == (
        2,
        f"error: port {taken} of 127.0.0.1 is in use by another program; end it, or pass another "
        f"port, for example --port {taken + 1}\n",
    )


def test_an_address_of_another_machine(tmp_path, capsys):
    assert serve(tmp_path, capsys, "--host", "192.0.2.1", "--port", free_port()) == (
        2,
        "error: 192.0.2.1 is not an address of this machine; pass --host 127.0.0.1 for visitors "
        "from here only, or --host 0.0.0.0 for all\n",
    )


@pytest.mark.parametrize("host", ["no.such.host.invalid", "300.1.2.3", "x" * 70, "\u00fc" * 70])
def test_an_unknown_host(tmp_path, capsys, host):
    code, text = serve(tmp_path, capsys, "--host", host, "--port", free_port())
    assert (code, text.startswith(f"error: the host '{host}' is unknown (")) == (2, True)
    assert text.count("\n") == 1


def test_a_reserved_port(tmp_path, capsys, monkeypatch):
    def refused(self, address):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refused)
    assert serve(tmp_path, capsys, "--port", 80) == (
        2,
        "error: port 80 is reserved for the administrator; pass a port from 1024, for example "
        "--port 8000, and put a web server in front of it\n",
    )


def test_a_name_listens_on_all_of_its_addresses(monkeypatch):
    port = free_port()
    sockets = listen("localhost", port)
    try:
        with closing(socket.create_connection((HOST, port), timeout=5)):
            pass
    finally:
        for each in sockets:
            each.close()

    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
        for address in ("192.0.2.1", HOST, HOST)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    sockets = listen("two.example", port)  # one of the addresses is not ours
    assert [each.getsockname()[0] for each in sockets] == [HOST]
    with pytest.raises(ValueError, match="is in use"):
        listen("two.example", port)
    for each in sockets:
        each.close()


def test_a_failure_leaves_no_socket_behind(taken):
    free = free_port()
    with pytest.raises(ValueError, match="in use"):
        listen(HOST, taken)
    for each in listen(HOST, free):
        each.close()
