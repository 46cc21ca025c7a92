"""Appends entries in the deciding transaction, and reads the tree back."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from marketplace import db
from marketplace.audit.entry import Commitment, Event, Plain, entry_bytes
from marketplace.audit.tree import inclusion_proof, leaf_hash, root


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
    committed = {field: Commitment(secrets.token_bytes(16), text) for field, text in (bound or {}).items()}
    body: dict[str, Plain] = {**facts, **{f"{k}_commitment": c.digest for k, c in committed.items()}}
    data = entry_bytes(event, now.isoformat(timespec="milliseconds"), body)
    # Writers are serialised, so the next index is free until this transaction ends.
    index = connection.execute(select(func.coalesce(func.max(db.entries.c.index) + 1, 0))).scalar_one()
    leaf = leaf_hash(data)
    connection.execute(insert(db.entries).values(index=index, bytes=data, leaf_hash=leaf))
    for field, commitment in committed.items():
        connection.execute(
            insert(db.salts).values(
                entry_index=index, field=field, salt=commitment.salt, text=commitment.text
            )
        )
    return Appended(index, leaf)


def leaves(connection: Connection) -> list[bytes]:
    """Return all leaf hashes in order."""
    rows = connection.execute(select(db.entries.c.leaf_hash).order_by(db.entries.c.index))
    return [bytes(r[0]) for r in rows]


def checkpoint(connection: Connection) -> tuple[int, bytes]:
    """Return the size and root of the tree as committed."""
    known = leaves(connection)
    return len(known), root(known)


def proof(connection: Connection, index: int) -> tuple[int, bytes, list[bytes]]:
    """Return tree size, root and audit path of one entry; ValueError if there is no such entry."""
    known = leaves(connection)
    return len(known), root(known), inclusion_proof(known, index)
