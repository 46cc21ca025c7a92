"""Keep budgets of later cohorts: who proposed and decided them, and what came into force."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add both tables; what is sealed there stays out of the planner's statistics."""
    op.create_table(
        "budget_proposals",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("domain", sa.String(64), nullable=False),
        sa.Column("cohort", sa.Integer, nullable=False),
        sa.Column("shares", sa.String, nullable=False, comment="JSON: holders with their figures"),
        sa.Column(
            "before", sa.String, nullable=False, comment="JSON: the figures that it replaces"
        ),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("user", sa.String(64), nullable=False, comment="opaque id"),
        sa.Column("organisation", sa.String(64), nullable=False),
        sa.Column("reason", sa.LargeBinary, nullable=False, comment="sealed for who proposes"),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("decided_by", sa.String(64), nullable=False, comment="opaque id, or empty"),
        sa.Column("decided", sa.String(32), nullable=False),
        sa.Column("comment", sa.LargeBinary, comment="sealed for who decides; null without"),
    )
    op.create_table(
        "cohort_caps",
        sa.Column("domain", sa.String(64), primary_key=True),
        sa.Column("cohort", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(64), primary_key=True, comment="empty: the cohort's own cap"),
        sa.Column("micro_rho", sa.BigInteger, nullable=False),
        sa.Column("delta_1e12", sa.BigInteger, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        for column in ("reason", "comment"):
            op.execute(f"ALTER TABLE budget_proposals ALTER COLUMN {column} SET STATISTICS 0")
