"""The tables as they were when revisions began to be numbered.

What is there already stays as it is: earlier versions made tables without a number.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables that are not there yet."""
    op.create_table(
        "accounts",
        sa.Column("domain", sa.String(length=64), nullable=False),
        sa.Column("cohort", sa.Integer(), nullable=False),
        sa.Column(
            "tenant", sa.String(length=64), nullable=False, comment="empty: the cohort's own cap"
        ),
        sa.Column("cap_micro_rho", sa.BigInteger(), nullable=False),
        sa.Column("cap_delta_1e12", sa.BigInteger(), nullable=False),
        sa.Column("spent_micro_rho", sa.BigInteger(), nullable=False),
        sa.Column("spent_delta_1e12", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("domain", "cohort", "tenant"),
        if_not_exists=True,
    )
    op.create_table(
        "caps",
        sa.Column("domain", sa.String(length=64), nullable=False),
        sa.Column(
            "tenant", sa.String(length=64), nullable=False, comment="empty: the cap of every cohort"
        ),
        sa.Column("micro_rho", sa.BigInteger(), nullable=False),
        sa.Column("delta_1e12", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("domain", "tenant"),
        if_not_exists=True,
    )
    op.create_table(
        "contracts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("text", sa.String(), nullable=False, comment="canonical JSON, as signed"),
        sa.Column("signatures", sa.String(), nullable=False, comment="JSON, people by opaque ids"),
        sa.Column("calls_used", sa.BigInteger(), nullable=False),
        sa.Column("micro_rho_used", sa.BigInteger(), nullable=False),
        sa.Column("certificate", sa.String(length=64), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("ix_contracts_tenant", "contracts", ["tenant"], if_not_exists=True)
    op.create_table(
        "decisions",
        sa.Column("entry_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("principal", sa.String(length=64), nullable=False, comment="opaque id"),
        sa.Column("organisation", sa.String(length=64), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False, comment="or its mark"),
        sa.Column("allowed", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("policy", sa.String(length=80), nullable=False),
        sa.Column(
            "version",
            sa.String(length=64),
            nullable=False,
            comment="digest of the policies in force",
        ),
        sa.Column("inputs", sa.String(), nullable=False, comment="canonical JSON of ids and marks"),
        sa.Column(
            "sealed",
            sa.LargeBinary(),
            nullable=True,
            comment="JSON: mark to text, for the principal; null without",
        ),
        sa.PrimaryKeyConstraint("entry_index", "position"),
        if_not_exists=True,
    )
    op.create_index("ix_decisions_organisation", "decisions", ["organisation"], if_not_exists=True)
    op.create_index("ix_decisions_time", "decisions", ["time"], if_not_exists=True)
    op.create_table(
        "entries",
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("index"),
        if_not_exists=True,
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("table", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False, comment="as in the text; for sorting"),
        sa.Column("text", sa.String(), nullable=False, comment="canonical JSON, as approved"),
        sa.Column(
            "sha256", sa.String(length=64), nullable=False, comment="of the text; also in the log"
        ),
        sa.Column("revoked", sa.String(length=32), nullable=True, comment="when"),
        sa.Column(
            "warned",
            sa.String(length=32),
            nullable=True,
            comment="when its holder was told that it ends",
        ),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("grants_by_holder", "grants", ["tenant", "table"], if_not_exists=True)
    op.create_table(
        "log_turns",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        comment="one row: who holds it appends, so that places have no gap",
        if_not_exists=True,
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("user", sa.String(length=64), nullable=False, comment="opaque id"),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("about", sa.String(length=64), nullable=False),
        sa.Column("en", sa.String(length=500), nullable=False),
        sa.Column("zh", sa.String(length=500), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.Column("read", sa.String(length=32), nullable=True),
        sa.Column("mailed", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("notices_by_user", "notices", ["user", "created"], if_not_exists=True)
    op.create_table(
        "people",
        sa.Column(
            "id",
            sa.String(length=32),
            nullable=False,
            comment="random; stands for the person elsewhere",
        ),
        sa.Column("tag", sa.String(length=64), nullable=False, comment="keyed hash of the name"),
        sa.Column(
            "sealed", sa.LargeBinary(), nullable=False, comment="key and name, for the service"
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tag"),
        if_not_exists=True,
    )
    op.create_table(
        "policy_versions",
        sa.Column("entry_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("schema_text", sa.String(), nullable=False),
        sa.Column("policies_text", sa.String(), nullable=False),
        sa.Column("time", sa.String(length=32), nullable=False, comment="in force from here on"),
        sa.PrimaryKeyConstraint("entry_index"),
        if_not_exists=True,
    )
    op.create_index(
        "ix_policy_versions_version", "policy_versions", ["version"], if_not_exists=True
    )
    op.create_table(
        "portal_browsers",
        sa.Column("cookie_sha256", sa.String(length=64), nullable=False),
        sa.Column(
            "token_sha256",
            sa.String(length=64),
            nullable=False,
            comment="whose token was shown at sign-in",
        ),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.Column("seen", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("cookie_sha256"),
        if_not_exists=True,
    )
    op.create_table(
        "releases",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column(
            "mechanism",
            sa.String(length=200),
            nullable=False,
            comment="names and versions, as asked",
        ),
        sa.Column("micro_rho", sa.BigInteger(), nullable=False),
        sa.Column("delta_1e12", sa.BigInteger(), nullable=False),
        sa.Column("draws", sa.String(), nullable=False, comment="JSON: parameters of every draw"),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("tables", sa.String(), nullable=False),
        sa.Column("entry_index", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index(
        "releases_by_question",
        "releases",
        ["tenant", "digest", "mechanism", "micro_rho"],
        if_not_exists=True,
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("user", sa.String(length=64), nullable=False, comment="opaque id"),
        sa.Column("table", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column(
            "terms",
            sa.String(),
            nullable=False,
            comment="JSON of the present revision, numbers only",
        ),
        sa.Column(
            "sealed", sa.LargeBinary(), nullable=False, comment="JSON of its words, for the author"
        ),
        sa.Column(
            "votes", sa.String(), nullable=False, comment="JSON, on the present text; opaque ids"
        ),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.Column("since", sa.String(length=32), nullable=False, comment="in this state"),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("ix_requests_tenant", "requests", ["tenant"], if_not_exists=True)
    op.create_index("requests_by_state", "requests", ["state", "since"], if_not_exists=True)
    op.create_table(
        "reservations",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("operation_id", sa.String(length=128), nullable=False),
        sa.Column("user", sa.String(length=64), nullable=False, comment="opaque id"),
        sa.Column("plan_digest", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.LargeBinary(), nullable=False, comment="sealed for the user"),
        sa.Column("epsilon", sa.String(length=32), nullable=False),
        sa.Column("fencing_token", sa.String(length=64), nullable=False),
        sa.Column(
            "attempts",
            sa.Integer(),
            nullable=False,
            comment="holders so far; each got its own token",
        ),
        sa.Column(
            "state",
            sa.String(length=16),
            nullable=False,
            comment="open, recorded, failed or refunded",
        ),
        sa.Column("tables", sa.String(), nullable=False, comment="JSON: name to version"),
        sa.Column(
            "receipt_id",
            sa.String(length=32),
            nullable=True,
            comment="set when all releases are recorded",
        ),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tenant", "operation_id"),
        if_not_exists=True,
    )
    op.create_index(
        "ix_reservations_receipt_id", "reservations", ["receipt_id"], if_not_exists=True
    )
    op.create_index(
        "reservations_by_user", "reservations", ["tenant", "user", "created"], if_not_exists=True
    )
    op.create_table(
        "run_keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column(
            "wrapped", sa.LargeBinary(), nullable=False, comment="for the audit administrator"
        ),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_table(
        "stand_ins",
        sa.Column(
            "user", sa.String(length=64), nullable=False, comment="who is away, an opaque id"
        ),
        sa.Column("stand_in", sa.String(length=64), nullable=False, comment="opaque id"),
        sa.Column("starts", sa.String(length=32), nullable=False),
        sa.Column("ends", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("user"),
        if_not_exists=True,
    )
    op.create_table(
        "stops",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column(
            "target",
            sa.String(length=64),
            nullable=False,
            comment="table or tenant; empty for the lab",
        ),
        sa.Column("reason", sa.LargeBinary(), nullable=False, comment="sealed for who pulled it"),
        sa.Column("by_user", sa.String(length=64), nullable=False, comment="opaque id"),
        sa.Column("since", sa.String(length=32), nullable=False),
        sa.Column("lifted", sa.String(length=32), nullable=True),
        sa.Column("lifted_by", sa.String(length=64), nullable=True, comment="opaque id"),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("stops_in_force", "stops", ["lifted", "scope", "target"], if_not_exists=True)
    op.create_table(
        "subject_keys",
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.Column(
            "sealed", sa.LargeBinary(), nullable=False, comment="key and salt of its commitment"
        ),
        sa.PrimaryKeyConstraint("tag"),
        if_not_exists=True,
    )
    op.create_table(
        "tenant_stages",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("since", sa.String(length=32), nullable=False),
        sa.Column("by_user", sa.String(length=64), nullable=False, comment="opaque id"),
        sa.PrimaryKeyConstraint("tenant", "position"),
        if_not_exists=True,
    )
    op.create_index("tenant_stages_by_stage", "tenant_stages", ["stage"], if_not_exists=True)
    op.create_table(
        "versions",
        sa.Column("table", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("table"),
        if_not_exists=True,
    )
    op.create_table(
        "contract_uses",
        sa.Column("reservation_id", sa.String(length=32), nullable=False),
        sa.Column("contract_id", sa.String(length=32), nullable=False),
        sa.Column("micro_rho", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["contract_id"],
            ["contracts.id"],
        ),
        sa.PrimaryKeyConstraint("reservation_id", "contract_id"),
        if_not_exists=True,
    )
    op.create_table(
        "request_steps",
        sa.Column("request_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False, comment="after it"),
        sa.Column("user", sa.String(length=64), nullable=False, comment="opaque id"),
        sa.Column("organisation", sa.String(length=64), nullable=False),
        sa.Column("for_user", sa.String(length=64), nullable=False, comment="opaque id, or empty"),
        sa.Column(
            "sha256", sa.String(length=64), nullable=False, comment="of the text that was judged"
        ),
        sa.Column(
            "comment", sa.LargeBinary(), nullable=True, comment="sealed for who acts; null without"
        ),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["requests.id"],
        ),
        sa.PrimaryKeyConstraint("request_id", "position"),
        if_not_exists=True,
    )
    op.create_table(
        "reservation_items",
        sa.Column("reservation_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("domain", sa.String(length=64), nullable=False),
        sa.Column("cohorts", sa.String(), nullable=False, comment="JSON list of charged cohorts"),
        sa.Column("micro_rho", sa.BigInteger(), nullable=False),
        sa.Column("delta_1e12", sa.BigInteger(), nullable=False),
        sa.Column("mechanism", sa.String(length=200), nullable=False),
        sa.Column(
            "release_id",
            sa.String(length=32),
            nullable=True,
            comment="set at once for a stored answer, else when recorded",
        ),
        sa.Column(
            "charged", sa.Integer(), nullable=False, comment="1 if this reservation paid for it"
        ),
        sa.ForeignKeyConstraint(
            ["reservation_id"],
            ["reservations.id"],
        ),
        sa.PrimaryKeyConstraint("reservation_id", "position"),
        if_not_exists=True,
    )
    op.create_table(
        "sealed_texts",
        sa.Column("entry_index", sa.BigInteger(), nullable=False),
        sa.Column("field", sa.String(length=32), nullable=False),
        sa.Column(
            "sealed",
            sa.LargeBinary(),
            nullable=True,
            comment="salt and text, under the run's key; null once purged",
        ),
        sa.Column("run_key", sa.String(length=16), nullable=False),
        sa.Column(
            "subject_tag",
            sa.String(length=64),
            nullable=True,
            comment="whom the entry is about, as a tag",
        ),
        sa.ForeignKeyConstraint(
            ["entry_index"],
            ["entries.index"],
        ),
        sa.ForeignKeyConstraint(
            ["run_key"],
            ["run_keys.id"],
        ),
        sa.PrimaryKeyConstraint("entry_index", "field"),
        if_not_exists=True,
    )
    op.create_index(
        "ix_sealed_texts_subject_tag", "sealed_texts", ["subject_tag"], if_not_exists=True
    )
