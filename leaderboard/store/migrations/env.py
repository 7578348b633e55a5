"""Run by Alembic: applies the migrations over the given connection."""

from alembic import context

from leaderboard.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True
)
with context.begin_transaction():
    if connection.dialect.name == "postgresql":  # one process at a time
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7309402)")
    context.run_migrations()
