"""The database: tables, and transactions that serialise writers.

A commit is on disk when it returns, and every write transaction is alone from its first statement,
so a check and its update cannot be interleaved (design §3.11: naive check-then-update overspent
2–3 times in a race). The SQL is generic; what is not stands in `dialects`. Tables are made and
altered by `migrations` only.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

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
)
from sqlalchemy.exc import DBAPIError

from marketplace.dialects import DatabaseRefusedError, Dialect, dialect_of
from marketplace.migrations.upgrade import is_current, upgrade

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
    Column("user", String(64), nullable=False, comment="opaque id"),
    Column("plan_digest", String(64), nullable=False),
    Column("purpose", LargeBinary, nullable=False, comment="sealed for the user"),
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


APPENDED = "log entry appended"
"""Where a connection remembers the last entry of its transaction."""

MARK: ContextVar[Callable[[Connection], None] | None] = ContextVar("mark", default=None)
"""What the present request adds to each transaction that it commits."""

GROUP_SECONDS = 0.02
"""How long decisions may wait for others that share their commit."""


class Publisher(Protocol):
    """What makes committed entries public."""

    def check(self) -> None:
        """Raise while nothing can be published, before anything is decided."""

    def wait(self, index: int) -> None:
        """Return when an entry is public."""

    def close(self) -> None:
        """Let go of what is open."""


class Database:
    """One database: its engine, and the right to write, one transaction at a time."""

    def __init__(self, engine: Engine, dialect: Dialect) -> None:
        """Wrap an engine that `open_database` configured."""
        self.engine = engine
        self.publisher: Publisher | None = None
        """Set by `app`: each decision then returns when its entries are public."""
        self._dialect = dialect
        self._unscrubbed = dialect.scrub_is_due
        self._groups = Groups(engine, dialect)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in one serialised write transaction: all of it commits, or nothing.

        Returns when the transaction is on disk and the entries it appended are published.
        """
        if self.publisher is not None:
            self.publisher.check()
        appended: list[int] = []
        with self._groups.joining(appended) as opened:
            yield opened
            if (mark := MARK.get()) is not None:
                mark(opened)
        if self.publisher is not None and appended:
            self.publisher.wait(appended[-1])

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the database throughout."""
        with self.engine.connect() as connection:
            try:
                yield self._dialect.read(connection)
            finally:
                connection.rollback()

    def scrub(self) -> bool:
        """Take what was deleted off the database's files; False while somebody still reads it."""
        self._unscrubbed = not self._dialect.scrub(self.engine)
        return not self._unscrubbed

    def scrub_again(self) -> int:
        """Repeat a scrub that somebody's reading prevented. Return how many were repeated."""
        return int(self._unscrubbed and self.scrub())

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        if self.publisher is not None:
            self.publisher.close()


class Groups:
    """Group commit: there is one writer, and so one commit (one fsync), at a time.

    Decisions that queue up share a transaction, each under a savepoint of its own; none returns
    before the commit. A lone decision commits at once. Queueing inside the process is fair, and
    faster than the database's own waiting, which keeps other processes out.
    """

    def __init__(self, engine: Engine, dialect: Dialect) -> None:
        """Group what is written through `engine`."""
        self._engine, self._dialect = engine, dialect
        self._writer = threading.Lock()
        self._count = threading.Lock()
        self._waiting = 0
        self._open: _Group | None = None

    @contextmanager
    def joining(self, appended: list[int]) -> Iterator[Connection]:
        """Yield the connection of a group; return when the group has committed."""
        self._queue(1)
        with self._writer:
            self._queue(-1)
            group = self._open or self._begin()
            connection = group.connection
            connection.info.pop(APPENDED, None)
            try:
                connection.exec_driver_sql("SAVEPOINT decision")
                yield connection
                connection.exec_driver_sql("RELEASE decision")
                remember(connection, appended)
            except BaseException as cause:
                self._undo(group, cause)
                raise
            self._end_turn(group)
        self._await(group)

    def _await(self, group: "_Group") -> None:
        while not group.done.wait(GROUP_SECONDS):
            # Whoever was to come next gave up in the queue.
            with self._writer:
                if self._open is group:
                    self._finish(group)
        if group.failure is not None:
            raise group.failure

    def _queue(self, step: int) -> None:
        with self._count:
            self._waiting += step

    def _begin(self) -> "_Group":
        connection = self._engine.connect()
        try:
            self._dialect.begin(connection)
        except BaseException:
            connection.close()
            raise
        self._open = _Group(connection, time.monotonic())
        return self._open

    def _undo(self, group: "_Group", cause: BaseException) -> None:
        """Take one decision out of its group, or end a group that the database gave up."""
        try:
            group.connection.exec_driver_sql("ROLLBACK TO decision")
            group.connection.exec_driver_sql("RELEASE decision")
        except BaseException as error:  # noqa: BLE001  # told to everyone in the group
            # After a lost connection the driver only says that nothing more can be done.
            group.failure = cause if isinstance(cause, DBAPIError) else error
        self._end_turn(group)

    def _end_turn(self, group: "_Group") -> None:
        """Commit, unless another decision is about to join."""
        young = time.monotonic() - group.began < GROUP_SECONDS
        if group.failure is not None or not self._waiting or not young:
            self._finish(group)

    def _finish(self, group: "_Group") -> None:
        self._open = None
        try:
            if group.failure is None:
                group.connection.commit()
        except BaseException as error:  # noqa: BLE001  # told to everyone in the group
            group.failure = error
        finally:
            # Returns the connection, which rolls back what did not commit.
            group.connection.close()
            group.done.set()


@dataclass(slots=True)
class _Group:
    """One transaction of several decisions."""

    connection: Connection
    began: float
    done: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None


def remember(connection: Connection, appended: list[int]) -> None:
    """Note the last entry that a transaction appended, if any."""
    index = connection.info.pop(APPENDED, None)
    if index is not None:
        appended.append(index)


def open_database(url: str) -> Database:
    """Return a database at this version's tables; DatabaseRefusedError if it cannot be one."""
    address, dialect = dialect_of(url)
    database = Database(dialect.engine(address), dialect)
    try:
        with database.reading() as connection:
            dialect.check(connection)
            is_ready = is_current(connection)
        if not is_ready:
            with dialect.altering(database.engine) as connection:
                upgrade(connection)
    except DBAPIError as error:
        database.close()
        raise DatabaseRefusedError(
            f"The database {address.render_as_string()} cannot be opened, or brought to this "
            f"version's revision; nothing in it was changed: {error.orig}"
        ) from error
    except BaseException:
        database.close()
        raise
    return database
