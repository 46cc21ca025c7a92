"""Decisions beside the log entry that binds them: what policies saw, to be judged again.

They name people by opaque ids. Words that a caller chose and nobody approved (a purpose that is not
granted, the name of a thing that is not there) are marks, their texts sealed for the caller; after
erasure the decision is made again on ids and marks.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    insert,
    select,
)

from marketplace import db
from marketplace.audit.people import People
from marketplace.policy.book import PolicyBook
from marketplace.policy.model import Decision, Inputs
from marketplace.window import Window

decisions = Table(
    "decisions",
    db.metadata,
    Column("entry_index", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True),
    Column("time", String(32), nullable=False, index=True),
    Column("action", String(32), nullable=False),
    Column("principal", String(64), nullable=False, comment="opaque id"),
    Column("organisation", String(64), nullable=False, index=True),
    Column("resource", String(64), nullable=False, comment="or its mark"),
    Column("allowed", Integer, nullable=False),
    Column("code", String(40), nullable=False),
    Column("policy", String(80), nullable=False),
    Column("version", String(64), nullable=False, comment="digest of the policies in force"),
    Column("inputs", String, nullable=False, comment="canonical JSON of ids and marks"),
    Column("sealed", LargeBinary, comment="JSON: mark to text, for the principal; null without"),
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
    people, rows = People(connection), []
    for position, d in enumerate(made):
        inputs, texts = _opaque(people, d)
        place = _place(entry_index, position)
        sealed = people.seal(inputs.principal, place, json.dumps(texts)) if texts else None
        rows.append(
            {
                "entry_index": entry_index,
                "position": position,
                "time": now.isoformat(timespec="milliseconds"),
                "action": inputs.action,
                "principal": inputs.principal,
                "organisation": str(inputs.person.get("organisation", "")),
                "resource": inputs.resource,
                "allowed": int(d.allowed),
                "code": d.code,
                "policy": d.policy,
                "version": d.version,
                "inputs": inputs.text(),
                "sealed": sealed,
            }
        )
    connection.execute(insert(decisions), rows)


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
    people = People(connection)
    rows = connection.execution_options(yield_per=BATCH).execute(
        select(decisions).where(c.time >= time).order_by(c.entry_index, c.position)
    )
    for row in rows:
        yield _kept(people, row)


def latest(connection: Connection, organisation: str | None, window: Window) -> list[Kept]:
    """Return the newest decisions, of one organisation or of all."""
    c, people = decisions.c, People(connection)
    wanted = select(decisions).order_by(c.entry_index.desc(), c.position)
    if organisation is not None:
        wanted = wanted.where(c.organisation == organisation)
    wanted = wanted.limit(window.most).offset(window.skip)
    return [_kept(people, row) for row in connection.execute(wanted)]


def _opaque(people: People, decision: Decision) -> tuple[Inputs, dict[str, str]]:
    """Return inputs that name nobody and quote nothing that was not approved; the marks' texts."""
    inputs, texts = decision.inputs, dict[str, str]()
    principal = people.enrol(inputs.principal)

    def marked(text: str) -> str:
        mark = people.mark(principal, text)
        texts[mark] = text
        return mark

    person = {**inputs.person, "name": people.enrol(str(inputs.person.get("name", "")))}
    context, words = dict(inputs.context), dict(inputs.words)
    if context.get("stoppedBy"):
        context["stoppedBy"] = people.enrol(context["stoppedBy"])
    if context.get("purpose") and context["purpose"] not in _approved(context):
        context["purpose"] = marked(context["purpose"])
    if words.get("purpose") and words["purpose"] not in _approved(context):
        words["purpose"] = marked(words["purpose"])
    resource = inputs.resource
    if not decision.allowed and not _is_offered(inputs):
        resource = marked(resource)
        words["table"] = resource
    shown = replace(
        inputs,
        principal=principal,
        person=person,
        context=context,
        resource=resource,
        words=words,
    )
    return shown, texts


def _approved(context: Mapping[str, Any]) -> frozenset[str]:
    """Return the purposes that a grant or a contract states: codes of the organisation."""
    stated = (context.get(name, {}).get("purposes", ()) for name in ("grant", "contract"))
    return frozenset(purpose for purposes in stated for purpose in purposes)


def _is_offered(inputs: Inputs) -> bool:
    """Whether a resource is a table with a provider, the caller's own organisation, or the lab."""
    match inputs.kind:
        case "Table":
            return bool(inputs.attributes.get("provider"))
        case "Tenant":
            return inputs.resource == inputs.person.get("organisation")
        case _:
            return True


def _kept(people: People, row: Row[tuple[Any, ...]]) -> Kept:
    """Return a decision with names and texts, as far as they are known."""
    inputs = Inputs.of(row.inputs)
    text = None
    if row.sealed is not None:
        text = people.read(row.principal, _place(row.entry_index, row.position), bytes(row.sealed))
    texts: dict[str, str] = {} if text is None else json.loads(text)
    context = {k: texts.get(v, v) if isinstance(v, str) else v for k, v in inputs.context.items()}
    if context.get("stoppedBy"):
        context["stoppedBy"] = people.name(context["stoppedBy"])
    shown = replace(
        inputs,
        principal=people.name(inputs.principal),
        person={**inputs.person, "name": people.name(inputs.person["name"])},
        context=context,
        resource=texts.get(inputs.resource, inputs.resource),
        words={k: texts.get(v, v) for k, v in inputs.words.items()},
    )
    return Kept(
        row.entry_index,
        row.time,
        shown,
        bool(row.allowed),
        row.code,
        row.policy,
        row.version,
    )


def _place(entry_index: int, position: int) -> str:
    return f"decisions/{entry_index}/{position}"
