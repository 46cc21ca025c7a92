"""Appends entries in the deciding transaction, and reads the tree back."""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from marketplace import db
from marketplace.audit import tree
from marketplace.audit.entry import Commitment, Event, Plain, entry_bytes


@dataclass(frozen=True, slots=True)
class Appended:
    """Where an entry stands."""

    index: int
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class Proven:
    """An entry with the proof that the log holds it."""

    index: int
    entry: bytes
    leaf_hash: bytes
    size: int
    root: bytes
    path: tuple[bytes, ...]


def append(
    connection: Connection,
    event: Event,
    now: datetime,
    facts: dict[str, Plain],
    bound: dict[str, str] | None = None,
) -> Appended:
    """Append one entry to the open transaction; `bound` texts enter as salted commitments."""
    committed = {k: Commitment(secrets.token_bytes(16), text) for k, text in (bound or {}).items()}
    hidden: dict[str, Plain] = {f"{k}_commitment": c.digest for k, c in committed.items()}
    data = entry_bytes(event, now.isoformat(timespec="milliseconds"), {**facts, **hidden})
    # Writers are serialised, so the next index is free until this transaction ends.
    index = size(connection)
    hashed = tree.leaf_hash(data)
    connection.execute(insert(db.entries).values(index=index, bytes=data, leaf_hash=hashed))
    for level, position, value in tree.completed(index, hashed, _fetch(connection)):
        connection.execute(insert(db.nodes).values(level=level, index=position, hash=value))
    for field, commitment in committed.items():
        connection.execute(
            insert(db.salts).values(
                entry_index=index, field=field, salt=commitment.salt, text=commitment.text
            )
        )
    return Appended(index, hashed)


def canonical_text(value: Plain) -> str:
    """Return JSON with one spelling, for a commitment to something that is not a text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def size(connection: Connection) -> int:
    """Return the number of entries."""
    found: int = connection.execute(
        select(func.coalesce(func.max(db.entries.c.index) + 1, 0))
    ).scalar_one()
    return found


def checkpoint(connection: Connection) -> tuple[int, bytes]:
    """Return the size and root of the tree as committed."""
    count = size(connection)
    return count, tree.root(count, _fetch(connection))


def leaf(connection: Connection, index: int) -> bytes:
    """Return the leaf hash of an entry."""
    return _fetch(connection)(0, index)


def proof(connection: Connection, index: int) -> Proven:
    """Return one entry with its audit path; ValueError if there is no such entry."""
    count, fetch = size(connection), _fetch(connection)
    path = tree.inclusion_proof(index, count, fetch)
    row = connection.execute(
        select(db.entries.c.bytes, db.entries.c.leaf_hash).where(db.entries.c.index == index)
    ).one()
    return Proven(index, bytes(row[0]), bytes(row[1]), count, tree.root(count, fetch), tuple(path))


def consistency(connection: Connection, old_size: int) -> tuple[int, bytes, list[bytes]]:
    """Return size, root and the proof that the tree of `old_size` is a prefix of it."""
    count, fetch = size(connection), _fetch(connection)
    path = tree.consistency_proof(old_size, count, fetch)
    return count, tree.root(count, fetch), path


def _fetch(connection: Connection) -> tree.Fetch:
    def fetch(level: int, index: int) -> bytes:
        if level == 0:
            entry = select(db.entries.c.leaf_hash).where(db.entries.c.index == index)
            return bytes(connection.execute(entry).scalar_one())
        node = select(db.nodes.c.hash).where(db.nodes.c.level == level, db.nodes.c.index == index)
        return bytes(connection.execute(node).scalar_one())

    return fetch
