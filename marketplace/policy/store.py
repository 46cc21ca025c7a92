"""Decisions beside the log entry that binds them: what policies saw, to be judged again."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    String,
    Table,
    insert,
    select,
)

from marketplace import db
from marketplace.policy.book import PolicyBook
from marketplace.policy.model import Decision, Inputs

decisions = Table(
    "decisions",
    db.metadata,
    Column("entry_index", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True),
    Column("time", String(32), nullable=False, index=True),
    Column("action", String(32), nullable=False),
    Column("principal", String(64), nullable=False),
    Column("organisation", String(64), nullable=False, index=True),
    Column("resource", String(64), nullable=False),
    Column("allowed", Integer, nullable=False),
    Column("code", String(40), nullable=False),
    Column("policy", String(80), nullable=False),
    Column("version", String(64), nullable=False, comment="digest of the policies in force"),
    Column("inputs", String, nullable=False, comment="canonical JSON"),
)

versions = Table(
    "policy_versions",
    db.metadata,
    Column("entry_index", BigInteger, primary_key=True, autoincrement=False),
    Column("version", String(64), nullable=False, index=True),
    Column("schema_text", String, nullable=False),
    Column("policies_text", String, nullable=False),
    Column("time", String(32), nullable=False, comment="in force from here on"),
)

BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A decision as it was made."""

    entry_index: int
    time: str
    inputs: Inputs
    allowed: bool
    code: str
    policy: str
    version: str


def save(
    connection: Connection, entry_index: int, now: datetime, made: tuple[Decision, ...]
) -> None:
    """Keep decisions under the log entry that carries their digest."""
    if not made:
        return
    connection.execute(
        insert(decisions),
        [
            {
                "entry_index": entry_index,
                "position": position,
                "time": now.isoformat(timespec="milliseconds"),
                "action": d.inputs.action,
                "principal": d.inputs.principal,
                "organisation": str(d.inputs.person.get("organisation", "")),
                "resource": d.inputs.resource,
                "allowed": int(d.allowed),
                "code": d.code,
                "policy": d.policy,
                "version": d.version,
                "inputs": d.inputs.text(),
            }
            for position, d in enumerate(made)
        ],
    )


def in_force(connection: Connection) -> str | None:
    """Return the version that was put in force last."""
    newest = select(versions.c.version).order_by(versions.c.entry_index.desc()).limit(1)
    found: str | None = connection.execute(newest).scalar_one_or_none()
    return found


def enforce(connection: Connection, book: PolicyBook, entry_index: int, now: datetime) -> None:
    """Keep the whole text of policies that are put in force, so that they can decide again."""
    connection.execute(
        insert(versions).values(
            entry_index=entry_index,
            version=book.version,
            schema_text=book.schema_text,
            policies_text=book.policies_text,
            time=now.isoformat(timespec="milliseconds"),
        )
    )


def book_of(connection: Connection, version: str) -> PolicyBook | None:
    """Return policies that were in force once."""
    c = versions.c
    row = connection.execute(
        select(c.schema_text, c.policies_text).where(c.version == version).limit(1)
    ).first()
    return None if row is None else PolicyBook(row.schema_text, row.policies_text)


def since(connection: Connection, time: str) -> Iterator[Kept]:
    """Yield decisions made at or after a time (ISO 8601, UTC), oldest first."""
    c = decisions.c
    rows = connection.execution_options(yield_per=BATCH).execute(
        select(decisions).where(c.time >= time).order_by(c.entry_index, c.position)
    )
    for row in rows:
        yield Kept(
            row.entry_index,
            row.time,
            Inputs.of(row.inputs),
            bool(row.allowed),
            row.code,
            row.policy,
            row.version,
        )


def latest(connection: Connection, organisation: str | None, most: int) -> list[Kept]:
    """Return the newest decisions, of one organisation or of all."""
    c = decisions.c
    wanted = select(decisions).order_by(c.entry_index.desc(), c.position).limit(most)
    if organisation is not None:
        wanted = wanted.where(c.organisation == organisation)
    return [
        Kept(
            r.entry_index,
            r.time,
            Inputs.of(r.inputs),
            bool(r.allowed),
            r.code,
            r.policy,
            r.version,
        )
        for r in connection.execute(wanted)
    ]
