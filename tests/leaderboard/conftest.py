"""The stores that the tests run on: a SQLite file, and PostgreSQL if a server is given."""

import os
import secrets

import pytest
import sqlalchemy as sa

POSTGRESQL = os.environ.get("SAFE_ENVS_TEST_POSTGRESQL", "")


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request, tmp_path):
    """URL of a new, empty store."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.sqlite'}"
        return
    if not POSTGRESQL:
        pytest.skip(
            "SAFE_ENVS_TEST_POSTGRESQL does not name a PostgreSQL server (.ci/run starts one)"
        )
    name = f"test_{secrets.token_hex(8)}"
    server = sa.create_engine(
        sa.make_url(POSTGRESQL).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield server.url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.dispose()
