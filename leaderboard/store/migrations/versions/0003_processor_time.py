"""The processor time that each policy has used, and reasons in the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns."""
    with op.batch_alter_table("policy") as table:
        table.add_column(sa.Column("cpu_seconds", sa.Double(), nullable=False, server_default="0"))
    with op.batch_alter_table("audit") as table:
        table.add_column(sa.Column("reason", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop the columns and their content."""
    with op.batch_alter_table("audit") as table:
        table.drop_column("reason")
    with op.batch_alter_table("policy") as table:
        table.drop_column("cpu_seconds")
