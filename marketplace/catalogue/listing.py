"""The index of what is published: one row for each resource, and the terms that find it."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from marketplace.catalogue.model import Resource
from marketplace.catalogue.text import REACH, terms
from marketplace.db import metadata
from marketplace.grading.model import Lane, Level

BATCH = 5_000

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
