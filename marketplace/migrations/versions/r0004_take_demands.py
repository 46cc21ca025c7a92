"""Take demands for data, each with its steps."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add both tables; what is sealed there stays out of the planner's statistics."""
    op.create_table(
        "demands",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("user", sa.String(64), nullable=False, comment="opaque id"),
        sa.Column("state", sa.String(16), nullable=False, comment="after the last step"),
        sa.Column("wanted", sa.String, nullable=False, comment="JSON of its codes"),
        sa.Column(
            "sealed", sa.LargeBinary, nullable=False, comment="JSON of its words, for the author"
        ),
        sa.Column("created", sa.String(32), nullable=False),
    )
    op.create_index("ix_demands_state", "demands", ["state"])
    op.create_index("ix_demands_tenant", "demands", ["tenant"])
    op.create_table(
        "demand_steps",
        sa.Column("demand_id", sa.String(32), sa.ForeignKey("demands.id"), primary_key=True),
        sa.Column(
            "position",
            sa.Integer,
            primary_key=True,
            comment="from 1; submitting is the demand",
        ),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("organisation", sa.String(64), nullable=False),
        sa.Column("user", sa.String(64), nullable=False, comment="opaque id"),
        sa.Column("codes", sa.String, nullable=False, comment="JSON: what the step states"),
        sa.Column("comment", sa.LargeBinary, comment="sealed for who acts; null without"),
        sa.Column("time", sa.String(32), nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        for table, column in (("demands", "sealed"), ("demand_steps", "comment")):
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
