"""Keep what erasure takes out of the planner's statistics, which copy values of a table's rows."""

from alembic import op

revision = "0003"
down_revision = "0002"

SEALED = {
    "people": ("id", "tag", "sealed"),
    "subject_keys": ("tag", "sealed"),
    "sealed_texts": ("sealed", "subject_tag"),
}


def upgrade() -> None:
    """Tell PostgreSQL; SQLite has no such statistics unless asked for."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in SEALED.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
