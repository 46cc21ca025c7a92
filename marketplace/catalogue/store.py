"""Tables of the catalogue: versions with their whole content, history, and search index.

People stand there by opaque ids. Titles, abstracts and fields are the organisation's, kept to be
shown; why a field has its grade, and what a reviewer says, are a person's words and are sealed for
this person (`audit.people`).
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from marketplace.audit.people import People
from marketplace.catalogue.model import Resource
from marketplace.catalogue.states import Actor, Check, State, Version
from marketplace.catalogue.text import REACH, terms
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

documents = Table(
    "catalogue_documents",
    metadata,
    Column("number", Integer, primary_key=True, comment="small, for the index of terms"),
    Column("resource", String(32), nullable=False, unique=True),
    Column("code", String(16), nullable=False),
    Column("title_zh", String, nullable=False),
    Column("title_en", String, nullable=False),
    Column("provider", String(64), nullable=False),
    Column("grade", String(16), nullable=False, comment="empty: ungraded"),
    Column("lanes", String(200), nullable=False, comment="separated by spaces"),
    Column("theme", String(200), nullable=False),
    Column("cycle", String(16), nullable=False),
    Column("table_name", String(64), nullable=False),
    Column("price_fen", String(16), nullable=False, comment="empty: not priced"),
    Column("wait_working_days", String(8), nullable=False, comment="empty: not known"),
    Index("catalogue_documents_by_table", "table_name"),
    comment="one row for each published resource: what search may show",
)

# Ranges of terms need the order of code points, whatever language a PostgreSQL database speaks.
_TERM = String(REACH).with_variant(String(REACH, collation="C"), "postgresql")
index = Table(
    "catalogue_terms",
    metadata,
    Column("term", _TERM, primary_key=True),
    Column("document", Integer, primary_key=True, autoincrement=False),
    Column("weight", Integer, nullable=False, comment="0 title, 1 fields and body, 2 abstract"),
    Index("catalogue_terms_of", "document"),
    sqlite_with_rowid=False,
)

revision = Table(
    "catalogue_revision",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False, comment="grows with every change of the index"),
)

_RESOURCE: TypeAdapter[Resource] = TypeAdapter(Resource)
BATCH = 5_000
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
        sealed = people.seal(writer, _reasons(version, version.digest), words)
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


def _reasons(version: Version, digest: str) -> str:
    return f"catalogue_versions/{version.resource}/{version.number}/{digest}"


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
        words = people.read(row.writer, _reasons(version, row.digest), bytes(row.reasons))
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


def unlist(connection: Connection, resource: str) -> None:
    """Take a resource out of the index."""
    number = connection.execute(
        select(documents.c.number).where(documents.c.resource == resource)
    ).scalar_one_or_none()
    if number is not None:
        connection.execute(delete(index).where(index.c.document == number))
        connection.execute(delete(documents).where(documents.c.number == number))
        touch(connection)


def enlist(
    connection: Connection,
    listed: Iterable[tuple[str, Resource, Level | None, frozenset[Lane], str]],
) -> None:
    """Put resources into the index: id, content, grade, open lanes, name of the provider."""
    last: int = connection.execute(
        select(func.coalesce(func.max(documents.c.number), 0))
    ).scalar_one()
    rows: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    for number, (id_, resource, grade, lanes, provider_name) in enumerate(listed, last + 1):
        rows.append(_row(number, id_, resource, grade, lanes))
        words += [
            {"term": term, "document": number, "weight": weight}
            for term, weight in weighted(resource, provider_name).items()
        ]
    # In the order of the index, so that a large load fills it from one end to the other.
    words.sort(key=lambda word: (word["term"], word["document"]))
    if rows:
        connection.execute(insert(documents), rows)
    for start in range(0, len(words), BATCH):
        connection.execute(insert(index), words[start : start + BATCH])
    touch(connection)


def weighted(resource: Resource, provider_name: str) -> dict[str, int]:
    """Return the terms of a resource, each with its least weight: metadata only, never a value."""
    found: dict[str, int] = {}
    texts = [(resource.abstract_zh, 2, False), (resource.abstract_en, 2, False)]
    for item in resource.items:
        texts += [(item.title_zh, 1, True), (item.title_en, 1, True)]
        texts.append((item.name.replace("_", " "), 1, True))
    texts += [(provider_name, 1, True), (resource.table_name.replace("_", " "), 1, True)]
    texts += [(resource.theme, 1, True), (resource.code, 0, False)]
    texts += [(resource.title_zh, 0, True), (resource.title_en, 0, True)]
    for text, weight, pinyin in texts:  # from the heaviest to the lightest: the last one stays
        under = terms(text, pinyin=pinyin)
        found.update(dict.fromkeys((term[0] for term in under), weight))
        found.update(dict.fromkeys(under, weight))
    return found


def _row(
    number: int, id_: str, resource: Resource, grade: Level | None, lanes: frozenset[Lane]
) -> dict[str, Any]:
    offered = [lane.value for lane in Lane if lane in lanes and lane in resource.lanes]
    wait = resource.wait_working_days
    return {
        "number": number,
        "resource": id_,
        "code": resource.code,
        "title_zh": resource.title_zh,
        "title_en": resource.title_en,
        "provider": resource.provider,
        "grade": grade.value if grade else "",
        "lanes": " ".join(offered),
        "theme": resource.theme,
        "cycle": resource.update_cycle.value,
        "table_name": resource.table_name,
        "price_fen": "" if resource.price_fen is None else str(resource.price_fen),
        "wait_working_days": "" if wait is None else str(wait),
    }


def touch(connection: Connection) -> None:
    """Say that the index has changed."""
    done = connection.execute(update(revision).values(number=revision.c.number + 1))
    if not done.rowcount:
        connection.execute(insert(revision).values(only=1, number=1))


def revision_of(connection: Connection) -> int:
    """Return the revision of the index; 0 for an empty one."""
    return connection.execute(select(revision.c.number)).scalar_one_or_none() or 0
