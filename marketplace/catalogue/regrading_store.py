"""Changes of grades in the database; people by opaque ids, their words sealed for them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    insert,
    select,
    update,
)

from marketplace.audit.people import People
from marketplace.catalogue.store import ERASED, published_number
from marketplace.db import metadata
from marketplace.grading.model import Change, Level

Facts = Mapping[str, int | bool]


class Outcome(StrEnum):
    """Where a reported event stands."""

    APPLIED = "applied"
    WAITING = "waiting"
    DECLINED = "declined"
    VOID = "void"
    """The grade, or the version, moved before somebody decided."""


@dataclass(frozen=True, slots=True)
class Regrading:
    """One event and what it does to one field's grade."""

    id: str
    resource: str
    version: int
    field: str
    change: Change
    facts: Facts
    evidence: str
    outcome: Outcome
    by: str
    organisation: str
    created: str
    decided_by: str = ""
    decided: str = ""
    comment: str = ""


regradings = Table(
    "catalogue_regradings",
    metadata,
    Column("id", String(32), primary_key=True),
    Column(
        "resource", String(32), ForeignKey("catalogue_resources.id"), nullable=False, index=True
    ),
    Column("version", Integer, nullable=False),
    Column("field", String(64), nullable=False),
    Column("event", String(64), nullable=False),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
    Column("facts", String, nullable=False, comment="JSON of numbers and truths"),
    Column("outcome", String(16), nullable=False),
    Column("user", String(64), nullable=False, comment="opaque id"),
    Column("organisation", String(64), nullable=False),
    Column("evidence", LargeBinary, nullable=False, comment="sealed for who reports"),
    Column("created", String(32), nullable=False),
    Column("decided_by", String(64), nullable=False, comment="opaque id, or empty"),
    Column("decided", String(32), nullable=False),
    Column("comment", LargeBinary, comment="sealed for who decides; null without"),
)


def add(connection: Connection, found: Regrading) -> None:
    """Write a reported event."""
    people = People(connection)
    who = people.enrol(found.by)
    connection.execute(
        insert(regradings).values(
            id=found.id,
            resource=found.resource,
            version=found.version,
            field=found.field,
            event=found.change.event,
            before=found.change.before.value,
            after=found.change.after.value,
            facts=json.dumps(dict(found.facts), sort_keys=True),
            outcome=found.outcome.value,
            user=who,
            organisation=found.organisation,
            evidence=people.seal(who, _place(found.id, "evidence"), found.evidence),
            created=found.created,
            decided_by="",
            decided="",
        )
    )


def decide(connection: Connection, found: Regrading) -> None:
    """Write what somebody decided."""
    people = People(connection)
    who, sealed = people.enrol(found.decided_by), None
    if found.comment:
        sealed = people.seal(who, _place(found.id, "comment"), found.comment)
    connection.execute(
        update(regradings)
        .where(regradings.c.id == found.id)
        .values(outcome=found.outcome.value, decided_by=who, decided=found.decided, comment=sealed)
    )


def get(connection: Connection, name: str) -> Regrading | None:
    """Return a change, held against other writers where rows can be."""
    wanted = select(regradings).where(regradings.c.id == name).with_for_update()
    row = connection.execute(wanted).first()
    return None if row is None else _regrading(People(connection), row)


def of_resource(connection: Connection, resource: str) -> list[Regrading]:
    """Return what changed grades of a resource, oldest first."""
    c, people = regradings.c, People(connection)
    wanted = select(regradings).where(c.resource == resource).order_by(c.created, c.id)
    return [_regrading(people, row) for row in connection.execute(wanted)]


def waiting(connection: Connection) -> list[Regrading]:
    """Return downgrades of published resources that wait, oldest first."""
    c, people = regradings.c, People(connection)
    wanted = select(regradings).where(c.outcome == Outcome.WAITING.value).order_by(c.created, c.id)
    rows = connection.execute(wanted).all()
    return [
        _regrading(people, row)
        for row in rows
        if published_number(connection, row.resource) is not None
    ]


def earlier(connection: Connection, resource: str, field: str, event: str) -> Level | None:
    """Return the grade from before the event that a rule restores, if one was applied."""
    found = [
        r
        for r in of_resource(connection, resource)
        if (r.field, r.change.event, r.outcome) == (field, event, Outcome.APPLIED)
    ]
    return found[-1].change.before if event and found else None


def _regrading(people: People, row: Row[tuple[Any, ...]]) -> Regrading:
    def read(person: str, what: str, sealed: bytes | None) -> str:
        if sealed is None:
            return ""
        said = people.read(person, _place(row.id, what), bytes(sealed))
        return ERASED if said is None else said

    return Regrading(
        row.id,
        row.resource,
        row.version,
        row.field,
        Change(row.event, Level(row.before), Level(row.after)),
        json.loads(row.facts),
        read(row.user, "evidence", row.evidence),
        Outcome(row.outcome),
        people.name(row.user),
        row.organisation,
        row.created,
        people.name(row.decided_by),
        row.decided,
        read(row.decided_by, "comment", row.comment),
    )


def _place(name: str, what: str) -> str:
    return f"catalogue_regradings/{name}/{what}"
