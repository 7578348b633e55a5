"""The tables of the store. Times are seconds since 1970; JSON is text, so floats keep all bits."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(column_0_label)s",
    }
)

season = Table(
    "season",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("secret", LargeBinary, nullable=False),
    Column("secret_sha256", String(64), nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("closed_at", Double),
    Column("revealed_at", Double),
)

account = Table(
    "account",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(80), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
)

token = Table(
    "token",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scope", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
)

submission = Table(
    "submission",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("season", ForeignKey("season.number"), nullable=False),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("env", String(100), nullable=False),
    Column("board_version", Integer, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("meta", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("submitted_at", Double, nullable=False),
    Column("scored_at", Double),
    Column("withdrawn_at", Double),
    UniqueConstraint("season", "env", "board_version", "content_sha256"),
)

policy = Table(
    "policy",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("submission_id", ForeignKey("submission.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("cpu_seconds", Double, nullable=False, server_default="0"),  # for its kept episodes
    UniqueConstraint("submission_id", "position"),
)

fingerprint = Table(  # what a policy does, see `leaderboard.scores.behavior`
    "fingerprint",
    metadata,
    Column("policy_id", ForeignKey("policy.id"), primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("canonical_sha256", String(64), nullable=False),
    Column("skeleton_sha256", String(64), nullable=False),
    Column("weights", LargeBinary, nullable=False),
    Column("states", LargeBinary, nullable=False),
    Column("answers", LargeBinary, nullable=False),
)

near_copy = Table(  # the policy came later than its original
    "near_copy",
    metadata,
    Column("policy_id", ForeignKey("policy.id"), primary_key=True, autoincrement=False),
    Column("original_id", ForeignKey("policy.id"), primary_key=True, autoincrement=False),
    Column("distance", Double, nullable=False),
)

curves = Table(
    "curves",
    metadata,
    Column("submission_id", ForeignKey("submission.id"), primary_key=True, autoincrement=False),
    Column("content", Text, nullable=False),
)

job = Table(
    "job",
    metadata,
    Column("submission_id", ForeignKey("submission.id"), primary_key=True, autoincrement=False),
    Column("owner", String(64)),
    Column("lease_until", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
)

episode = Table(
    "episode",
    metadata,
    Column("policy_id", ForeignKey("policy.id"), primary_key=True, autoincrement=False),
    Column("split", String(16), primary_key=True),
    Column("seed_index", Integer, primary_key=True, autoincrement=False),
    Column("total_return", Double, nullable=False),
    Column("plain_return", Double, nullable=False),
    Column("costs", Text, nullable=False),
    Column("plain_costs", Text, nullable=False),
    Column("length", Integer, nullable=False),
)

result = Table(
    "result",
    metadata,
    Column("submission_id", ForeignKey("submission.id"), primary_key=True, autoincrement=False),
    Column("statistics_version", Integer, nullable=False),
    Column("statistics", Text, nullable=False),
    Column("draws", LargeBinary, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", Double, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(160), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
)

request_count = Table(
    "request_count",
    metadata,
    Column("who", String(160), primary_key=True),
    Column("period", Integer, primary_key=True, autoincrement=False),
    Column("requests", Integer, nullable=False),
)
