"""The processor time that each policy has used, and reasons in the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns."""
    used = sa.Column("cpu_seconds", sa.Double(), nullable=False, server_default="0")
    op.add_column("policy", used)
    op.add_column("audit", sa.Column("reason", sa.Text(), nullable=False, server_default=""))
