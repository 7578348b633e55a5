"""Makes room for new connections, so that no client can take up all places by saying nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

MOST_CONNECTIONS = 500
MOST_PER_ADDRESS = 64


class Connection(Protocol):
    """An open connection."""

    def make_room(self) -> None:
        """End the connection, which has no request that is being answered."""


@dataclass
class OpenConnections:
    """The open connections of a server, of all clients and of each address.

    A connection waits while no request is being answered on it: its headers have not arrived yet,
    or the client keeps it open for later. When all places are taken, the connection that has waited
    for longest is ended, one of the same address if that has too many. So half-open requests
    displace each other, and clients that ask at once are served.

    Args:
        most: of all clients.
        per_address: of one address; 0 for no limit, as needed behind a proxy.
    """

    most: int = MOST_CONNECTIONS
    per_address: int = MOST_PER_ADDRESS

    def __post_init__(self) -> None:
        self._addresses: dict[Connection, str] = {}
        self._counts: Counter[str] = Counter()
        self._waiting: dict[Connection, None] = {}  # in the order in which they began to wait

    def admit(self, connection: Connection, address: str) -> bool:
        """Return whether a new connection has a place; it waits then."""
        has_many = 0 < self.per_address <= self._counts[address]
        if has_many and not self._end_one(address):
            return False
        if len(self._addresses) >= self.most and not self._end_one(None):
            return False
        self._addresses[connection] = address
        self._counts[address] += 1
        self._waiting[connection] = None
        return True

    def note(self, connection: Connection, *, waits: bool) -> None:
        """Note whether a connection waits."""
        if not waits:
            self._waiting.pop(connection, None)
        elif connection in self._addresses:
            self._waiting.setdefault(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended, or that never had a place."""
        address = self._addresses.pop(connection, None)
        self._waiting.pop(connection, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def _end_one(self, address: str | None) -> bool:
        """End the connection that has waited for longest; return whether there was one."""
        for connection in self._waiting:
            if address in (None, self._addresses[connection]):
                self.remove(connection)
                connection.make_room()
                return True
        return False
