"""Keep which versions of tables the log knows."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the table; versions that were read before it are reported at the gateway's next start."""
    op.create_table(
        "ingests",
        sa.Column("table", sa.String(64), primary_key=True),
        sa.Column("version", sa.String(80), primary_key=True),
        sa.Column("contract_digest", sa.String(64), nullable=False),
        sa.Column(
            "manifest_digest", sa.String(64), nullable=False, comment="of what makes it current"
        ),
        sa.Column("entry_index", sa.BigInteger, nullable=False),
    )
