"""Drop the row that writers took turns by: the database's own lock for writers does that."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Drop the row."""
    op.drop_table("log_turns")
