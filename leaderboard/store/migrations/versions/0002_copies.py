"""Fingerprints of policies, and which ones act like an earlier one.

The policies of an older store get their fingerprints from the next worker that has nothing else to
do; until then their rows are shown as not compared.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "fingerprint",
        sa.Column("policy_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("canonical_sha256", sa.String(length=64), nullable=False),
        sa.Column("skeleton_sha256", sa.String(length=64), nullable=False),
        sa.Column("weights", sa.LargeBinary(), nullable=False),
        sa.Column("states", sa.LargeBinary(), nullable=False),
        sa.Column("answers", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_id"], ["policy.id"], name=op.f("fk_fingerprint_policy_id")
        ),
        sa.PrimaryKeyConstraint("policy_id", name=op.f("pk_fingerprint")),
    )
    op.create_table(
        "near_copy",
        sa.Column("policy_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("original_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("distance", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["policy_id"], ["policy.id"], name=op.f("fk_near_copy_policy_id")),
        sa.ForeignKeyConstraint(
            ["original_id"], ["policy.id"], name=op.f("fk_near_copy_original_id")
        ),
        sa.PrimaryKeyConstraint("policy_id", "original_id", name=op.f("pk_near_copy")),
    )


def downgrade() -> None:
    """Drop the tables and their content."""
    op.drop_table("near_copy")
    op.drop_table("fingerprint")
