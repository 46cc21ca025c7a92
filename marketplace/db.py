"""The database: tables, and transactions that serialise writers.

SQLite with WAL and synchronous=FULL is the embedded default (a commit is on disk when it returns);
every write transaction starts with BEGIN IMMEDIATE, so a check and its update cannot be interleaved
(design §3.11: naive check-then-update overspent 2–3 times in a race). The SQL is generic.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("domain", String(64), primary_key=True),
    Column("cohort", Integer, primary_key=True),
    Column("tenant", String(64), primary_key=True, comment="empty: the cohort's own cap"),
    Column("cap_micro_rho", BigInteger, nullable=False),
    Column("cap_delta_1e12", BigInteger, nullable=False),
    Column("spent_micro_rho", BigInteger, nullable=False),
    Column("spent_delta_1e12", BigInteger, nullable=False),
)

reservations = Table(
    "reservations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("operation_id", String(128), nullable=False),
    Column("user", String(64), nullable=False),
    Column("plan_digest", String(64), nullable=False),
    Column("purpose", String(200), nullable=False),
    Column("epsilon", String(32), nullable=False),
    Column("fencing_token", String(64), nullable=False),
    Column("attempts", Integer, nullable=False, comment="holders so far; each got its own token"),
    Column("state", String(16), nullable=False, comment="open, recorded, failed or refunded"),
    Column("tables", String, nullable=False, comment="JSON: name to version"),
    Column("receipt_id", String(32), index=True, comment="set when all releases are recorded"),
    Column("created", String(32), nullable=False),
    UniqueConstraint("tenant", "operation_id"),
    Index("reservations_by_user", "tenant", "user", "created"),
)

items = Table(
    "reservation_items",
    metadata,
    Column("reservation_id", String(32), ForeignKey("reservations.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("domain", String(64), nullable=False),
    Column("cohorts", String, nullable=False, comment="JSON list of charged cohorts"),
    Column("micro_rho", BigInteger, nullable=False),
    Column("delta_1e12", BigInteger, nullable=False),
    Column("mechanism", String(200), nullable=False),
    Column("release_id", String(32), comment="set at once for a stored answer, else when recorded"),
    Column("charged", Integer, nullable=False, comment="1 if this reservation paid for it"),
)

releases = Table(
    "releases",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("mechanism", String(200), nullable=False, comment="names and versions, as asked"),
    Column("micro_rho", BigInteger, nullable=False),
    Column("delta_1e12", BigInteger, nullable=False),
    Column("draws", String, nullable=False, comment="JSON: parameters of every draw"),
    Column("sha256", String(64), nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("tables", String, nullable=False),
    Column("entry_index", BigInteger, nullable=False),
    Column("created", String(32), nullable=False),
    Index("releases_by_question", "tenant", "digest", "mechanism", "micro_rho"),
)

entries = Table(
    "entries",
    metadata,
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("bytes", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False),
)

nodes = Table(
    "nodes",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    comment="roots of complete subtrees of 2**level entries, level 1 and above",
)

salts = Table(
    "salts",
    metadata,
    Column("entry_index", BigInteger, ForeignKey("entries.index"), primary_key=True),
    Column("field", String(32), primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("text", String, nullable=False),
)

caps = Table(
    "caps",
    metadata,
    Column("domain", String(64), primary_key=True),
    Column("tenant", String(64), primary_key=True, comment="empty: the cap of every cohort"),
    Column("micro_rho", BigInteger, nullable=False),
    Column("delta_1e12", BigInteger, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("table", String(64), primary_key=True),
    Column("version", String(80), nullable=False),
)


class Database:
    """One database: its engine, and the right to write, one transaction at a time."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine that `open_database` configured."""
        self.engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        # SQLite's own waiting is a sleep with growing pauses; queueing inside the process is fair
        # and faster. Other processes are still kept out by BEGIN IMMEDIATE.
        self._writer = threading.Lock()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in one serialised write transaction: all of it commits, or nothing."""
        with (
            self._writer if self._is_sqlite else nullcontext(),
            self.engine.connect() as connection,
        ):
            if self._is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.commit()
            except BaseException:
                connection.rollback()
                raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the database throughout."""
        with self.engine.connect() as connection:
            if self._is_sqlite:
                connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_database(url: str) -> Database:
    """Return a database with its tables made; SQLite files get WAL, FULL and a busy timeout."""
    engine = create_engine(url, pool_size=16, max_overflow=64)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
    metadata.create_all(engine)
    return Database(engine)


def _configure_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver's own transaction start is switched off: `writing` says BEGIN IMMEDIATE itself.
    raw: Any = connection
    raw.isolation_level = None
    cursor = raw.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=20000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
