"""Keys that were used, in the database; SQL and nothing else."""

from dataclasses import dataclass

from sqlalchemy import (
    Column,
    Connection,
    LargeBinary,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)

from marketplace import db

keys = Table(
    "idempotency_keys",
    db.metadata,
    Column("id", String(64), primary_key=True, comment="derived from key and token"),
    Column("fingerprint", String(64), nullable=False, comment="of the request, under the key"),
    Column("answer", LargeBinary, comment="sealed under the key; null until it was given"),
    Column("created", String(32), nullable=False, index=True),
)


@dataclass(frozen=True, slots=True)
class Used:
    """A key that was used for a request that wrote something."""

    fingerprint: str
    answer: bytes | None


def find(connection: Connection, id_: str) -> Used | None:
    """Return what a key was used for."""
    c = keys.c
    row = connection.execute(select(c.fingerprint, c.answer).where(c.id == id_)).first()
    return None if row is None else Used(row.fingerprint, row.answer)


def use(connection: Connection, id_: str, fingerprint: str, time: str) -> None:
    """Note that a key is used, in the transaction of what it is used for."""
    connection.execute(insert(keys).values(id=id_, fingerprint=fingerprint, created=time))


def answer(connection: Connection, id_: str, sealed: bytes) -> None:
    """Keep the answer to the request that used a key."""
    connection.execute(update(keys).where(keys.c.id == id_).values(answer=sealed))


def forget(connection: Connection, before: str) -> int:
    """Delete keys that were used before a time. Return how many."""
    return connection.execute(delete(keys).where(keys.c.created < before)).rowcount
