"""Appends entries in the deciding transaction, and reads the tree back."""

import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    LargeBinary,
    Row,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from marketplace import db
from marketplace.audit import tree
from marketplace.audit.entry import Commitment, Event, Plain, entry_bytes
from marketplace.audit.vault import Vault
from marketplace.audit.verifier import subject_code

SUBJECT = "subject"
"""The bound field that names whom an entry is about; its entries can be found all or not at all."""

VAULT = "vault"
"""Execution option of an engine whose entries can be opened later."""

sealed_texts = Table(
    "sealed_texts",
    db.metadata,
    Column("entry_index", BigInteger, ForeignKey("entries.index"), primary_key=True),
    Column("field", String(32), primary_key=True),
    Column("sealed", LargeBinary, comment="salt and text, under the run's key; null once purged"),
    Column("run_key", String(16), ForeignKey("run_keys.id"), nullable=False),
    Column("subject_tag", String(64), index=True, comment="whom the entry is about, as a tag"),
)

run_keys = Table(
    "run_keys",
    db.metadata,
    Column("id", String(16), primary_key=True),
    Column("wrapped", LargeBinary, nullable=False, comment="for the audit administrator"),
)

subject_keys = Table(
    "subject_keys",
    db.metadata,
    Column("tag", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False, comment="key and salt of its commitment"),
)


# Every decision runs these, so they are put together once.
_SIZE = select(func.coalesce(func.max(db.entries.c.index) + 1, 0))
_ENTRY = insert(db.entries)
_SEALED = insert(sealed_texts)
_SUBJECT_KEY = select(subject_keys.c.sealed).where(subject_keys.c.tag == bindparam("wanted"))
_FROM = (
    select(db.entries.c.index, db.entries.c.bytes)
    .where(db.entries.c.index >= bindparam("start"))
    .order_by(db.entries.c.index)
    .limit(bindparam("most"))
)


class MissingEntryError(Exception):
    """The database lost an entry: the log cannot go on."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Where an entry stands."""

    index: int
    leaf_hash: bytes


def append(
    connection: Connection,
    event: Event,
    now: datetime,
    facts: dict[str, Plain],
    bound: dict[str, str] | None = None,
) -> Appended:
    """Append one entry to the open transaction; `bound` texts enter as salted commitments."""
    index, keys = size(connection), vault(connection)
    committed = {k: Commitment(secrets.token_bytes(16), text) for k, text in (bound or {}).items()}
    hidden: dict[str, Plain] = {f"{k}_commitment": c.digest for k, c in committed.items()}
    subject, tag = committed.get(SUBJECT), None
    if subject is not None and keys is not None:
        tag = keys.tag(subject.text)
        hidden |= _mark(connection, keys, tag, subject)
    data = entry_bytes(event, now.isoformat(timespec="milliseconds"), {**facts, **hidden})
    hashed = tree.leaf_hash(data)
    connection.execute(_ENTRY, {"index": index, "bytes": data, "leaf_hash": hashed})
    connection.info[db.APPENDED] = index
    if keys is not None and committed:
        connection.execute(
            _SEALED,
            [
                {
                    "entry_index": index,
                    "field": field,
                    "sealed": keys.seal(index, field, c.salt, c.text),
                    "run_key": keys.wrapped.id,
                    "subject_tag": tag,
                }
                for field, c in committed.items()
            ],
        )
    return Appended(index, hashed)


def use_vault(database: db.Database, vault: Vault, *, keep: bool = True) -> None:
    """Seal what is bound from now on, so that it can be opened later; only read unless `keep`."""
    if keep:
        row = {"id": vault.wrapped.id, "wrapped": vault.wrapped.data}
        with database.writing() as connection:
            connection.execute(insert(run_keys).values(**row))
    database.engine.update_execution_options(**{VAULT: vault})


def canonical_text(value: Plain) -> str:
    """Return JSON with one spelling, for a commitment to something that is not a text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def size(connection: Connection) -> int:
    """Return the number of entries."""
    found: int = connection.execute(_SIZE).scalar_one()
    return found


def leaf(connection: Connection, index: int) -> bytes:
    """Return the leaf hash of an entry."""
    found = select(db.entries.c.leaf_hash).where(db.entries.c.index == index)
    return bytes(connection.execute(found).scalar_one())


def entry(connection: Connection, index: int) -> bytes:
    """Return the exact bytes of an entry."""
    found = select(db.entries.c.bytes).where(db.entries.c.index == index)
    return bytes(connection.execute(found).scalar_one())


def entries_from(connection: Connection, start: int, most: int) -> list[bytes]:
    """Return up to `most` entries from `start` on; MissingEntryError if one is missing."""
    rows = connection.execute(_FROM, {"start": start, "most": most}).all()
    if [r[0] for r in rows] != list(range(start, start + len(rows))):
        raise MissingEntryError(f"an entry from {start} on is missing from the database")
    return [bytes(r[1]) for r in rows]


def vault(connection: Connection) -> Vault | None:
    """Return the keys that a database was opened with, if any."""
    found: Vault | None = connection.get_execution_options().get(VAULT)
    return found


def _mark(connection: Connection, vault: Vault, tag: str, subject: Commitment) -> dict[str, Plain]:
    """Return the facts by which an entry is found as the subject's; enrol a new subject."""
    known = subject_key(connection, vault, tag)
    enrolment: dict[str, Plain] = {}
    if known is None:
        key, salt = secrets.token_bytes(32), secrets.token_bytes(16)
        sealed = vault.seal_key(tag, key, salt)
        connection.execute(insert(subject_keys).values(tag=tag, sealed=sealed))
        enrolment = {
            "subject_enrolment": tag,
            "subject_key_commitment": hashlib.sha256(salt + key).hexdigest(),
            "subjects_key": vault.fingerprint,
        }
    else:
        key, _ = known
    return {**enrolment, "subject_tag": subject_code(key, subject.digest)}


def subject_key(connection: Connection, vault: Vault, tag: str) -> tuple[bytes, bytes] | None:
    """Return a subject's key and the salt of its commitment, unless erased or never enrolled."""
    row = connection.execute(_SUBJECT_KEY, {"wanted": tag}).first()
    return None if row is None else vault.open_key(tag, bytes(row[0]))


def entries_about(connection: Connection, tag: str) -> list[int]:
    """Return the entries that a subject's tag is kept with, in order."""
    found = select(sealed_texts.c.entry_index).where(
        sealed_texts.c.subject_tag == tag, sealed_texts.c.field == SUBJECT
    )
    return list(connection.execute(found.order_by(sealed_texts.c.entry_index)).scalars())


def sealed(connection: Connection, indexes: Sequence[int]) -> Iterator[Row[tuple[Any, ...]]]:
    """Yield the sealed texts of some entries."""
    for some in _batches(indexes):
        wanted = sealed_texts.c.entry_index.in_(some) & sealed_texts.c.sealed.is_not(None)
        order = (sealed_texts.c.entry_index, sealed_texts.c.field)
        yield from connection.execute(select(sealed_texts).where(wanted).order_by(*order)).all()


def purge(connection: Connection, indexes: Sequence[int]) -> None:
    """Drop salts and texts of some entries for good; whom they are about can still be found."""
    for some in _batches(indexes):
        here = sealed_texts.c.entry_index.in_(some)
        connection.execute(update(sealed_texts).where(here).values(sealed=None))


def erase(connection: Connection, tag: str, indexes: Sequence[int]) -> None:
    """Drop salts, texts and key of a subject for good; the entries stay."""
    for some in _batches(indexes):
        connection.execute(delete(sealed_texts).where(sealed_texts.c.entry_index.in_(some)))
    connection.execute(delete(subject_keys).where(subject_keys.c.tag == tag))


def wrapped_keys(connection: Connection) -> dict[str, bytes]:
    """Return the keys of all runs, as only the audit administrator can unwrap them."""
    return {r.id: bytes(r.wrapped) for r in connection.execute(select(run_keys))}


def _batches(indexes: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(indexes), 500):
        yield indexes[start : start + 500]
