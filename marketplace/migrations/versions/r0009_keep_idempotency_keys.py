"""Keep idempotency keys: what was done under one is not done again."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the table of used keys; what is kept there is sealed under the keys themselves."""
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.String(64), primary_key=True, comment="derived from key and token"),
        sa.Column(
            "fingerprint", sa.String(64), nullable=False, comment="of the request, under the key"
        ),
        sa.Column(
            "answer", sa.LargeBinary, comment="sealed under the key; null until it was given"
        ),
        sa.Column("created", sa.String(32), nullable=False),
    )
    op.create_index("ix_idempotency_keys_created", "idempotency_keys", ["created"])
