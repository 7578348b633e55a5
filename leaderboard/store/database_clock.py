"""The clock of the store, the only one that servers and workers on several machines share."""

from __future__ import annotations

import sqlalchemy as sa

_SECONDS_SINCE_1970 = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision)",
}


def now(connection: sa.Connection) -> float:
    """Return the seconds since 1970 by the database's clock."""
    query = _SECONDS_SINCE_1970[connection.dialect.name]
    return float(connection.exec_driver_sql(query).scalar_one())
