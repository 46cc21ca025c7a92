"""Tables of the catalogue: versions with their whole content, and history.

People stand there by opaque ids. Titles, abstracts and fields are the organisation's, kept to be
shown; why a field has its grade, and what a reviewer says, are a person's words and are sealed for
this person (`audit.people`).
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Table,
    func,
    insert,
    select,
    update,
)

from marketplace.audit.people import People
from marketplace.catalogue.listing import documents
from marketplace.catalogue.model import Resource
from marketplace.catalogue.states import Actor, Check, State, Version
from marketplace.db import metadata
from marketplace.grading.model import Lane, Level

resources = Table(
    "catalogue_resources",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("code", String(16), nullable=False, unique=True),
    Column("provider", String(64), nullable=False),
)

versions = Table(
    "catalogue_versions",
    metadata,
    Column("resource", String(32), ForeignKey("catalogue_resources.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("check", String(16), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("document", String, nullable=False, comment="JSON: all that the version says"),
    Column("grades", String, nullable=False, comment="JSON: field to grade; null is ungraded"),
    Column("author", String(64), nullable=False, comment="opaque id, or empty"),
    Column("writer", String(64), nullable=False, comment="opaque id: for whom reasons are sealed"),
    Column("reasons", LargeBinary, comment="sealed JSON: field to reason, and the salt"),
    Column("approved_digest", String(64), nullable=False),
    Column("reviewer", String(64), nullable=False, comment="opaque id, or empty"),
    Column("reviewer_organisation", String(64), nullable=False),
)

history = Table(
    "catalogue_history",
    metadata,
    Column("resource", String(32), ForeignKey("catalogue_resources.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),
    Column("act", String(16), nullable=False),
    Column("user", String(64), nullable=False, comment="opaque id, or empty"),
    Column("organisation", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("comment", LargeBinary, comment="sealed for who acts; null without"),
    Column("time", String(32), nullable=False),
    Column("entry_index", Integer, nullable=False),
)

_RESOURCE: TypeAdapter[Resource] = TypeAdapter(Resource)
PROVIDER = "provider"
"""Origin of what an organisation wrote, and not a generator."""
ERASED = "erased"
"""Stands for the words of a person who was erased."""


def document_of(resource: Resource) -> str:
    """Return the one spelling of a version's content."""
    return json.dumps(
        dataclasses.asdict(resource), ensure_ascii=False, sort_keys=True, separators=(",", ":")
    )


def digest_of(resource: Resource, salt: str) -> str:
    """Return what a review binds; without the salt nobody guesses a reason from it."""
    return hashlib.sha256(f"{salt}{document_of(resource)}".encode()).hexdigest()


def resource_of(document: str) -> Resource:
    """Return the content in a stored document."""
    return _RESOURCE.validate_json(document)


def add_resource(connection: Connection, id_: str, resource: Resource) -> None:
    """Remember a new resource."""
    connection.execute(
        insert(resources).values(id=id_, code=resource.code, provider=resource.provider)
    )


def code_is_taken(connection: Connection, code: str) -> bool:
    """Whether a resource has this code."""
    found = connection.execute(select(resources.c.id).where(resources.c.code == code)).first()
    return found is not None


@dataclasses.dataclass(frozen=True, slots=True)
class Content:
    """What a version says, with the grades of its fields."""

    resource: Resource
    grades: Mapping[str, Level | None]
    salt: str = ""


def write(connection: Connection, version: Version, content: Content) -> None:
    """Write a version with its content, written by its author; nobody's stays as it is."""
    people, reasons = People(connection), content.resource.reasons
    writer, kept, sealed = people.enrol(version.author), content.resource, None
    if writer:
        words = json.dumps({"reasons": reasons, "salt": content.salt}, sort_keys=True)
        sealed = people.seal(writer, _reasons(version), words)
        kept = kept.with_reasons({})
    values = {
        **_changing(people, version),
        "document": document_of(kept),
        "grades": _grades(content.grades),
        "writer": writer,
        "reasons": sealed,
    }
    if not connection.execute(update(versions).where(_own(version)).values(**values)).rowcount:
        key = {"resource": version.resource, "number": version.number}
        connection.execute(insert(versions).values(**key, **values))


def save(
    connection: Connection, version: Version, grades: Mapping[str, Level | None] | None = None
) -> None:
    """Write what an act changed, the content left as it is; grades only where given."""
    values = _changing(People(connection), version)
    if grades is not None:
        values["grades"] = _grades(grades)
    connection.execute(update(versions).where(_own(version)).values(**values))


def _changing(people: People, version: Version) -> dict[str, Any]:
    return {
        "state": version.state.value,
        "check": version.check.value,
        "digest": version.digest,
        "author": people.enrol(version.author),
        "approved_digest": version.approved_digest,
        "reviewer": people.enrol(version.reviewer.user),
        "reviewer_organisation": version.reviewer.organisation,
    }


def _own(version: Version) -> ColumnElement[bool]:
    return (versions.c.resource == version.resource) & (versions.c.number == version.number)


def _grades(grades: Mapping[str, Level | None]) -> str:
    return json.dumps(dict(grades))


def _reasons(version: Version) -> str:
    return f"catalogue_versions/{version.resource}/{version.number}"


def find(
    connection: Connection, resource: str, number: int | None = None
) -> tuple[Version, Resource, dict[str, Level | None]] | None:
    """Return a version, by default the newest, with content and grades; None if there is none."""
    query = (
        select(versions, resources.c.provider)
        .join(resources, resources.c.id == versions.c.resource)
        .where(versions.c.resource == resource)
        .order_by(versions.c.number.desc())
        .limit(1)
    )
    if number is not None:
        query = query.where(versions.c.number == number)
    row = connection.execute(query).first()
    if row is None:
        return None
    people = People(connection)
    version = Version(
        resource=row.resource,
        number=row.number,
        provider=row.provider,
        digest=row.digest,
        state=State(row.state),
        check=Check(row.check),
        author=people.name(row.author),
        approved_digest=row.approved_digest,
        reviewer=Actor(people.name(row.reviewer), row.reviewer_organisation),
    )
    grades = {k: v and Level(v) for k, v in json.loads(row.grades).items()}
    kept = resource_of(row.document)
    if row.reasons is not None:
        words = people.read(row.writer, _reasons(version), bytes(row.reasons))
        erased = {item.name: ERASED for item in kept.items}
        kept = kept.with_reasons(erased if words is None else json.loads(words)["reasons"])
    return version, kept, grades


@dataclasses.dataclass(frozen=True, slots=True)
class Published:
    """What access needs of a published version that describes a table."""

    code: str
    provider: str
    grades: Mapping[str, Level | None]
    lanes: frozenset[Lane]


def published_of(connection: Connection, table: str) -> list[Published]:
    """Return what providers published about a table of the lab; no made-up metadata."""
    rows = connection.execute(
        select(resources.c.code, resources.c.provider, versions.c.grades, versions.c.document)
        .join(resources, resources.c.id == versions.c.resource)
        .join(documents, documents.c.resource == versions.c.resource)
        .where(documents.c.table_name == table, versions.c.state == State.PUBLISHED.value)
        .order_by(resources.c.code)
    )
    found = []
    for row in rows:
        said = resource_of(row.document)
        if said.origin == PROVIDER:
            grades = {k: v and Level(v) for k, v in json.loads(row.grades).items()}
            found.append(Published(row.code, row.provider, grades, frozenset(said.lanes)))
    return found


def last_grades(connection: Connection, resource: str) -> dict[str, Level]:
    """Return the last grade that each field had in a version that was published, or taken out."""
    once = [State.PUBLISHED.value, State.SUPERSEDED.value, State.WITHDRAWN.value]
    c, found = versions.c, dict[str, Level]()
    wanted = select(c.grades).where(c.resource == resource, c.state.in_(once)).order_by(c.number)
    for grades in connection.execute(wanted).scalars():
        found |= {k: Level(v) for k, v in json.loads(grades).items() if v}
    return found


def in_state(connection: Connection, state: State) -> list[tuple[str, int]]:
    """Return resource and number of all versions in a state, in one order."""
    c = versions.c
    rows = connection.execute(
        select(c.resource, c.number).where(c.state == state.value).order_by(c.resource, c.number)
    )
    return [(row.resource, row.number) for row in rows]


def published_number(connection: Connection, resource: str) -> int | None:
    """Return the number of the published version."""
    number: int | None = connection.execute(
        select(versions.c.number).where(
            versions.c.resource == resource, versions.c.state == State.PUBLISHED.value
        )
    ).scalar_one_or_none()
    return number


def note(connection: Connection, user: str, comment: str, **values: str | int) -> None:
    """Append a line to the history of a resource: what `user` did, and said."""
    people, of = People(connection), history.c.resource == values["resource"]
    last = connection.execute(select(func.max(history.c.position)).where(of)).scalar_one()
    position = 0 if last is None else last + 1
    who, sealed = people.enrol(user), None
    if comment:
        sealed = people.seal(who, _comment(values["resource"], position), comment)
    row = {"position": position, "user": who, "comment": sealed, **values}
    connection.execute(insert(history).values(**row))


def _comment(resource: str | int, position: int) -> str:
    return f"catalogue_history/{resource}/{position}"


def history_of(connection: Connection, resource: str) -> list[dict[str, Any]]:
    """Return the acts on a resource, oldest first."""
    rows = connection.execute(
        select(history).where(history.c.resource == resource).order_by(history.c.position)
    )
    people, found = People(connection), []
    for row in rows:
        told = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's documented name
        sealed, said = told["comment"], ""
        if sealed is not None:
            read = people.read(row.user, _comment(resource, row.position), bytes(sealed))
            said = ERASED if read is None else read
        found.append({**told, "user": people.name(row.user), "comment": said})
    return found
