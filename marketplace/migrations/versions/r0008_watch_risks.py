"""Watch risks: how far was judged, what rules saw and found, what people did about it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add four tables; what is sealed there stays out of the planner's statistics."""
    op.create_table(
        "risk_cursors",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("next", sa.BigInteger, nullable=False, comment="entry to look at next"),
    )
    op.create_table(
        "risk_observations",
        sa.Column("entry_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", sa.String(32), nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False, comment="opaque id; empty if unknown"),
        sa.Column(
            "joined", sa.String(400), nullable=False, comment="G3 tables put together, or empty"
        ),
        sa.Column("facts", sa.String, nullable=False, comment="JSON: all else that rules look at"),
    )
    op.create_index("risk_observations_by_tenant", "risk_observations", ["tenant", "time"])
    op.create_index("risk_observations_by_actor", "risk_observations", ["actor", "time"])
    op.create_table(
        "risk_events",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("rule", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("score", sa.Integer, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False, comment="opaque id; empty if unknown"),
        sa.Column(
            "about", sa.String(400), nullable=False, comment="what repeats of a finding share"
        ),
        sa.Column("evidence", sa.String, nullable=False, comment="JSON: indexes of entries"),
        sa.Column(
            "figures", sa.String, nullable=False, comment="JSON: measured, against which threshold"
        ),
        sa.Column("state", sa.String(16), nullable=False, comment="after the last step"),
        sa.Column(
            "happened", sa.String(32), nullable=False, comment="when the judged entry was made"
        ),
        sa.Column("raised", sa.String(32), nullable=False),
        sa.Column(
            "entry_index", sa.BigInteger, nullable=False, comment="of the entry that says so"
        ),
    )
    op.create_index("ix_risk_events_state", "risk_events", ["state"])
    op.create_index("ix_risk_events_raised", "risk_events", ["raised"])
    op.create_index(
        "risk_events_by_finding", "risk_events", ["rule", "tenant", "actor", "about", "happened"]
    )
    op.create_table(
        "risk_steps",
        sa.Column("event_id", sa.String(32), sa.ForeignKey("risk_events.id"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, comment="from 0"),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("user", sa.String(64), nullable=False, comment="opaque id"),
        sa.Column("organisation", sa.String(64), nullable=False),
        sa.Column(
            "handler", sa.String(64), nullable=False, comment="opaque id; empty unless assigned"
        ),
        sa.Column("codes", sa.String, nullable=False, comment="JSON: disposal, stop"),
        sa.Column("comment", sa.LargeBinary, comment="sealed for who acts; null without"),
        sa.Column("time", sa.String(32), nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE risk_steps ALTER COLUMN comment SET STATISTICS 0")
