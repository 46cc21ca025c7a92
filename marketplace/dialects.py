"""What differs between the databases: how a writer is alone, what a reader sees, what erasure does.

SQLite (WAL, synchronous=FULL) is the embedded default. PostgreSQL is the one of production: a
writer takes one advisory lock where SQLite says BEGIN IMMEDIATE, so that both have the same serial
order of decisions, under READ COMMITTED, whose every statement sees what was committed before the
lock was got; readers see one state (REPEATABLE READ, read-only).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

BUSY_MILLISECONDS, SCRUB_MILLISECONDS = 20_000, 500
"""How long to wait for others: before a transaction, and before erased rows are scrubbed."""

SILENT_MILLISECONDS = 60_000
"""After which PostgreSQL ends a writer that says nothing: its machine may be gone, its lock not."""

WRITERS_LOCK = 0x6C61_625F_6C6F_67
"""The advisory lock of whoever writes; any number that others hardly choose ("lab_log")."""

OLDEST_POSTGRESQL = 15

SCRUBBED = ("people", "subject_keys", "sealed_texts")
"""The tables from which erasure and purge take rows."""


class DatabaseRefusedError(Exception):
    """A database on which nothing can be decided: out of reach, or not as it has to be."""


class Dialect(Protocol):
    """What the lab asks of a database, beside generic SQL."""

    scrub_is_due: bool
    """Whether an earlier process may have left a scrub undone."""

    def engine(self, url: URL) -> Engine:
        """Return an engine whose commits are on disk when they return."""

    def check(self, connection: Connection) -> None:
        """Raise DatabaseRefusedError if the database is not as it has to be."""

    def begin(self, connection: Connection) -> None:
        """Start a transaction as the only writer."""

    def read(self, connection: Connection) -> Connection:
        """Return the connection in a transaction that sees one state throughout."""

    def altering(self, engine: Engine) -> AbstractContextManager[Connection]:
        """Yield a connection that may change tables, as the only writer; it all commits, or not."""

    def scrub(self, engine: Engine) -> bool:
        """Take what was deleted off the database's files; False while somebody still reads it."""


def dialect_of(text: str) -> tuple[URL, Dialect]:
    """Return a database's address and what is particular to it; DatabaseRefusedError if unknown.

    >>> dialect_of("postgresql://lab@db.example/lab")[0].drivername
    'postgresql+psycopg'
    """
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise DatabaseRefusedError("LAB_DATABASE_URL is not a database's URL.") from error
    match url.get_backend_name():
        case "sqlite":
            return url, SQLite()
        case "postgresql" | "postgres":
            return url.set(drivername="postgresql+psycopg"), PostgreSQL()
        case other:
            raise DatabaseRefusedError(
                f"LAB_DATABASE_URL names {other}. The lab runs on sqlite:///FILE and on "
                "postgresql://USER@HOST/NAME."
            )


class SQLite:
    """A file: one writer at a time, deleted rows overwritten where they stood."""

    scrub_is_due = False

    def engine(self, url: URL) -> Engine:
        """Return an engine over a file with WAL and FULL."""
        engine = create_engine(url, pool_size=16, max_overflow=64)
        event.listen(engine, "connect", _configure_sqlite)
        return engine

    def check(self, connection: Connection) -> None:
        """Accept any file: what it has to be is set at each connection."""

    def begin(self, connection: Connection) -> None:
        """Take the file's write lock."""
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def read(self, connection: Connection) -> Connection:
        """See the file as it is at the first look."""
        connection.exec_driver_sql("BEGIN")
        return connection

    @contextmanager
    def altering(self, engine: Engine) -> Iterator[Connection]:
        """Alter with foreign keys off: a table is altered by making it anew, under its name."""
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            try:
                self.begin(connection)
                yield connection
                if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                    raise DatabaseRefusedError("Some rows refer to rows that are not there.")
                connection.commit()
            finally:
                connection.rollback()
                connection.exec_driver_sql("PRAGMA foreign_keys=ON")

    def scrub(self, engine: Engine) -> bool:
        """Empty the write-ahead log, where older pages stay; the file itself has none."""
        with engine.connect() as connection:
            # Writers wait meanwhile, so a long reading is not waited for.
            connection.exec_driver_sql(f"PRAGMA busy_timeout={SCRUB_MILLISECONDS}")
            found = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
        return not found[0]


def _configure_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver's own transaction start is switched off: `begin` says BEGIN IMMEDIATE itself.
    raw: Any = connection
    raw.isolation_level = None
    cursor = raw.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_MILLISECONDS}",
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


class PostgreSQL:
    """A server: one writer at a time by an advisory lock, deleted rows gone with a rewritten file.

    Its write-ahead log, archives, replicas and backups are the administrator's.
    """

    scrub_is_due = True

    def __init__(self, silent_milliseconds: int = SILENT_MILLISECONDS) -> None:
        """End writers that say nothing for so long."""
        self._silent = silent_milliseconds

    def engine(self, url: URL) -> Engine:
        """Return an engine whose commits are flushed, and that survives the server's restart."""
        waiting = f"-c lock_timeout={BUSY_MILLISECONDS}"
        asked = url.query.get("options", "")
        options = " ".join([*([asked] if isinstance(asked, str) else asked), waiting])
        engine = create_engine(
            url,
            isolation_level="READ COMMITTED",  # whatever the server's default: see above
            pool_size=16,
            max_overflow=64,
            pool_pre_ping=True,
            connect_args={"options": options, "client_encoding": "utf8"},
        )
        event.listen(engine, "connect", _configure_postgresql)
        return engine

    def check(self, connection: Connection) -> None:
        """Refuse a server that is too old, and a database that orders text by a language."""
        version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
        if version < OLDEST_POSTGRESQL:
            raise DatabaseRefusedError(
                f"This server is PostgreSQL {version}; the lab needs {OLDEST_POSTGRESQL} or newer."
            )
        samples = [
            "a-b",
            "aab",
            "B",
            "_",
            "é",
            "中",
            "2026-11-01T00:00:00.5",
            "2026-11-01T00:00:00+",
        ]
        ordered = "SELECT t FROM unnest(%(samples)s::text[]) AS s(t) ORDER BY t"
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        found = connection.exec_driver_sql(ordered, {"samples": samples}).scalars().all()
        # Times and ids are compared as text, and must compare as they do elsewhere.
        if encoding != "UTF8" or list(found) != sorted(samples):
            raise DatabaseRefusedError(
                "The database does not keep text as the lab needs it. Make one with: "
                "CREATE DATABASE lab TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
            )

    def begin(self, connection: Connection) -> None:
        """Take the writers' lock, until the transaction ends; a silent writer loses it."""
        connection.exec_driver_sql(
            "SELECT set_config('idle_in_transaction_session_timeout', "
            f"'{self._silent}', true), pg_advisory_xact_lock({WRITERS_LOCK})"
        )

    def read(self, connection: Connection) -> Connection:
        """See the database as it is at the first look; nothing can be written."""
        return connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    @contextmanager
    def altering(self, engine: Engine) -> Iterator[Connection]:
        """Alter in one transaction: so can PostgreSQL."""
        with engine.connect() as connection:
            self.begin(connection)
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            yield connection
            connection.commit()

    def scrub(self, engine: Engine) -> bool:
        """Write the tables that lost rows anew, once no transaction sees the old rows any more.

        A plain VACUUM leaves their bytes in the pages' gaps, and VACUUM FULL copies rows that
        anybody may still see: so the one says whether the other is due.
        """
        with engine.connect() as opened:
            connection = opened.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(f"SET lock_timeout = {SCRUB_MILLISECONDS}")
            try:
                # Twice: what another session has yet to report would look like a row still seen.
                if not (_vacuumed(connection) or _vacuumed(connection)):
                    return False
                connection.exec_driver_sql(f"VACUUM FULL {', '.join(SCRUBBED)}")
            except OperationalError:
                return False
            finally:
                connection.exec_driver_sql(f"SET lock_timeout = {BUSY_MILLISECONDS}")
        return True


_STILL_SEEN = (
    "SELECT NOT current_setting('track_counts')::boolean OR EXISTS (SELECT FROM "
    "pg_stat_user_tables WHERE relid = ANY (%(tables)s::regclass[]) AND n_dead_tup > 0)"
)


def _vacuumed(connection: Connection) -> bool:
    """Vacuum, and return whether no dead row is left that somebody may still see."""
    connection.exec_driver_sql(f"VACUUM {', '.join(SCRUBBED)}")
    seen = connection.exec_driver_sql(_STILL_SEEN, {"tables": [*SCRUBBED]})
    return not seen.scalar_one()


def _configure_postgresql(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # Whoever set the server to answer before its disk did not think of a ledger.
    raw: Any = connection
    with raw.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') = 'off'"
        )
    raw.commit()
