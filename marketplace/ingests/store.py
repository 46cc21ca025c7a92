"""Versions of tables as the gateway found them in the lake; SQL and nothing else."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Connection, String, Table, bindparam, insert, select

from marketplace.db import metadata

ingests = Table(
    "ingests",
    metadata,
    Column("table", String(64), primary_key=True),
    Column("version", String(80), primary_key=True),
    Column("contract_digest", String(64), nullable=False),
    Column("manifest_digest", String(64), nullable=False, comment="of what makes it current"),
    Column("entry_index", BigInteger, nullable=False),
)

# Every paid question runs this, so it is put together once.
_KNOWN = select(ingests).where(ingests.c.table.in_(bindparam("wanted", expanding=True)))


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of a table in the lake; the digests tell nothing of its rows."""

    table: str
    version: str
    contract_digest: str
    """SHA-256 of the contract, hexadecimal."""
    manifest_digest: str
    """SHA-256 of the pointer that names and authenticates the sealed manifest."""


def known(connection: Connection, tables: Iterable[str]) -> dict[str, dict[str, Stored]]:
    """Return the reported versions of some tables, by table and version."""
    found: dict[str, dict[str, Stored]] = {}
    for r in connection.execute(_KNOWN, {"wanted": sorted(set(tables))}):
        one = Stored(r.table, r.version, r.contract_digest, r.manifest_digest)
        found.setdefault(one.table, {})[one.version] = one
    return found


def add(connection: Connection, stored: Stored, entry_index: int) -> None:
    """Keep a version under its log entry."""
    row = {
        "table": stored.table,
        "version": stored.version,
        "contract_digest": stored.contract_digest,
        "manifest_digest": stored.manifest_digest,
        "entry_index": entry_index,
    }
    connection.execute(insert(ingests), row)
