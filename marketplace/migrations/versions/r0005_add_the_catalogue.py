"""Add the catalogue: resources, versions, history, index, deliveries, and changes of grades."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

SEALED = (
    ("catalogue_versions", "reasons"),
    ("catalogue_history", "comment"),
    ("catalogue_regradings", "evidence"),
    ("catalogue_regradings", "comment"),
    ("catalogue_deliveries", "report"),
)


def upgrade() -> None:
    """Add its tables; what is sealed there stays out of the planner's statistics."""
    op.create_table(
        "catalogue_documents",
        sa.Column("number", sa.Integer(), nullable=False, comment="small, for the index of terms"),
        sa.Column("resource", sa.String(length=32), nullable=False),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("title_zh", sa.String(), nullable=False),
        sa.Column("title_en", sa.String(), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("grade", sa.String(length=16), nullable=False, comment="empty: ungraded"),
        sa.Column("lanes", sa.String(length=200), nullable=False, comment="separated by spaces"),
        sa.Column("theme", sa.String(length=200), nullable=False),
        sa.Column("cycle", sa.String(length=16), nullable=False),
        sa.Column("table_name", sa.String(length=64), nullable=False),
        sa.Column("price_fen", sa.String(length=16), nullable=False, comment="empty: not priced"),
        sa.Column(
            "wait_working_days", sa.String(length=8), nullable=False, comment="empty: not known"
        ),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("resource"),
        comment="one row for each published resource: what search may show",
    )
    op.create_index("catalogue_documents_by_table", "catalogue_documents", ["table_name"])

    op.create_table(
        "catalogue_resources",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("code"),
    )
    op.create_table(
        "catalogue_revision",
        sa.Column("only", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "number", sa.Integer(), nullable=False, comment="grows with every change of the index"
        ),
        sa.PrimaryKeyConstraint("only"),
    )
    op.create_table(
        "catalogue_terms",
        sa.Column(
            "term",
            sa.String(length=12).with_variant(sa.String(length=12, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("document", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "weight", sa.Integer(), nullable=False, comment="0 title, 1 fields and body, 2 abstract"
        ),
        sa.PrimaryKeyConstraint("term", "document"),
        sqlite_with_rowid=False,
    )
    op.create_index("catalogue_terms_of", "catalogue_terms", ["document"])

    op.create_table(
        "negative_list_warned",
        sa.Column("entry_id", sa.String(length=64), nullable=False),
        sa.Column(
            "valid_until",
            sa.String(length=10),
            nullable=False,
            comment="a renewed entry is told anew",
        ),
        sa.Column(
            "lapsed", sa.Integer(), autoincrement=False, nullable=False, comment="0 soon, 1 ended"
        ),
        sa.Column("told", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", "valid_until", "lapsed"),
    )
    op.create_table(
        "catalogue_deliveries",
        sa.Column("resource", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "name", sa.String(length=32), nullable=False, comment="under which the lake holds it"
        ),
        sa.Column("digest", sa.String(length=64), nullable=False, comment="of the version with it"),
        sa.Column("user", sa.String(length=64), nullable=False, comment="opaque id"),
        sa.Column(
            "report", sa.LargeBinary(), nullable=False, comment="sealed JSON, for who delivered"
        ),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["resource"], ["catalogue_resources.id"]),
        sa.PrimaryKeyConstraint("resource", "number"),
    )
    op.create_table(
        "catalogue_history",
        sa.Column("resource", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("act", sa.String(length=16), nullable=False),
        sa.Column("user", sa.String(length=64), nullable=False, comment="opaque id, or empty"),
        sa.Column("organisation", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column(
            "comment", sa.LargeBinary(), nullable=True, comment="sealed for who acts; null without"
        ),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.Column("entry_index", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["resource"], ["catalogue_resources.id"]),
        sa.PrimaryKeyConstraint("resource", "position"),
    )
    op.create_table(
        "catalogue_regradings",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("resource", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("field", sa.String(length=64), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=False),
        sa.Column("after", sa.String(length=16), nullable=False),
        sa.Column("facts", sa.String(), nullable=False, comment="JSON of numbers and truths"),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("user", sa.String(length=64), nullable=False, comment="opaque id"),
        sa.Column("organisation", sa.String(length=64), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False, comment="sealed for who reports"),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.Column(
            "decided_by", sa.String(length=64), nullable=False, comment="opaque id, or empty"
        ),
        sa.Column("decided", sa.String(length=32), nullable=False),
        sa.Column(
            "comment",
            sa.LargeBinary(),
            nullable=True,
            comment="sealed for who decides; null without",
        ),
        sa.ForeignKeyConstraint(["resource"], ["catalogue_resources.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_catalogue_regradings_resource", "catalogue_regradings", ["resource"])

    op.create_table(
        "catalogue_versions",
        sa.Column("resource", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("check", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column(
            "document", sa.String(), nullable=False, comment="JSON: all that the version says"
        ),
        sa.Column(
            "grades", sa.String(), nullable=False, comment="JSON: field to grade; null is ungraded"
        ),
        sa.Column("author", sa.String(length=64), nullable=False, comment="opaque id, or empty"),
        sa.Column(
            "writer",
            sa.String(length=64),
            nullable=False,
            comment="opaque id: for whom reasons are sealed",
        ),
        sa.Column(
            "reasons",
            sa.LargeBinary(),
            nullable=True,
            comment="sealed JSON: field to reason, and the salt",
        ),
        sa.Column("approved_digest", sa.String(length=64), nullable=False),
        sa.Column("reviewer", sa.String(length=64), nullable=False, comment="opaque id, or empty"),
        sa.Column("reviewer_organisation", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["resource"], ["catalogue_resources.id"]),
        sa.PrimaryKeyConstraint("resource", "number"),
    )
    if op.get_bind().dialect.name == "postgresql":
        for table, column in SEALED:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
