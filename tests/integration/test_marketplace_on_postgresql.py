"""What is particular to PostgreSQL: who writes, what a reader sees, and a server that goes away."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError, InternalError

from marketplace import db
from marketplace.dialects import DatabaseRefusedError, PostgreSQL, dialect_of
from marketplace.http import HANDLERS
from tests.support.postgres import Server, server

KILLS = 20 if os.environ.get("LAB_FULL") == "1" else 2


@contextmanager
def opened(url: str, dialect: PostgreSQL | None = None) -> Iterator[db.Database]:
    """Open a database; with a dialect of one's own, one that has its tables already."""
    database = db.open_database(url)
    if dialect is not None:
        database.close()
        database = db.Database(dialect.engine(dialect_of(url)[0]), dialect)
    try:
        yield database
    finally:
        database.close()


@pytest.fixture
def postgres() -> Server:
    return server()


def write(database: db.Database, name: str) -> None:
    with database.writing() as connection:
        connection.execute(insert(db.versions).values(table=name, version="v"))


def written(database: db.Database) -> set[str]:
    with database.reading() as connection:
        return {r[0] for r in connection.execute(select(db.versions.c.table))}


@pytest.mark.parametrize("default", ["read committed", "repeatable read", "serializable"])
def test_a_writer_sees_what_the_writer_before_it_committed(postgres: Server, default: str) -> None:
    """Even if it began to wait before that: no snapshot is older than the lock."""
    spelled = default.replace(" ", "%5C%20")
    url = f"{postgres.new_url()}%20-cdefault_transaction_isolation%3D{spelled}"
    counted: list[int] = []
    with opened(url) as first, opened(url) as second:

        def count_on() -> None:
            with second.writing() as connection:
                counted.append(len(connection.execute(select(db.versions)).all()))

        with first.writing() as connection:
            waiting = threading.Thread(target=count_on)
            waiting.start()
            time.sleep(0.3)
            assert counted == [], "it waits from its first statement on"
            connection.execute(insert(db.versions).values(table="a", version="v"))
        waiting.join(10)
    assert counted == [1]


def test_a_reader_sees_one_state_and_can_write_nothing(postgres: Server) -> None:
    with opened(postgres.new_url()) as database, database.reading() as connection:
        count = select(db.versions)
        assert connection.execute(count).all() == []
        write(database, "a")
        assert connection.execute(count).all() == []
        with pytest.raises(InternalError, match="read-only"):
            connection.execute(insert(db.versions).values(table="b", version="v"))
    # The next one to get the same connection is neither bound to that state nor to reading.
    with opened(postgres.new_url()) as database:
        for name in "abc":
            assert name not in written(database)
            write(database, name)
        assert written(database) == {"a", "b", "c"}


def test_a_writer_that_falls_silent_loses_the_lock(postgres: Server) -> None:
    url = postgres.new_url()
    with opened(url, PostgreSQL(silent_milliseconds=300)) as silent, opened(url) as other:

        def fall_silent() -> None:
            with silent.writing() as connection:
                connection.execute(insert(db.versions).values(table="lost", version="v"))
                time.sleep(1)

        with pytest.raises(DBAPIError) as caught:
            fall_silent()
        assert isinstance(caught.value, tuple(HANDLERS)), "a caller over HTTP gets 503"
        write(other, "a")
        write(silent, "b")
        assert written(silent) == {"a", "b"}


def test_a_failed_statement_costs_its_own_decision_only(postgres: Server) -> None:
    with opened(postgres.new_url()) as database:
        database._groups._queue(1)  # somebody is about to join, so the group stays open
        write_both = threading.Thread(target=write, args=(database, "a"))
        write_both.start()
        with suppress(DBAPIError), database.writing() as connection:
            with suppress(DBAPIError):
                connection.execute(text("SELECT 1 / 0"))
            connection.execute(insert(db.versions).values(table="b", version="v"))
        write_both.join(10)
        assert written(database) == {"a"}


def test_whoever_answers_before_the_disk_is_told_to_wait_for_it(postgres: Server) -> None:
    url = postgres.new_url() + "%20-csynchronous_commit%3Doff"
    with opened(url) as database, database.reading() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


@pytest.mark.parametrize(
    ("name", "made_with"),
    [
        ("by_language", "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C'"),
        ("no_encoding", "ENCODING 'SQL_ASCII' LOCALE 'C'"),
    ],
)
def test_a_database_that_orders_text_otherwise_is_refused(
    postgres: Server, name: str, made_with: str
) -> None:
    postgres.execute(f"CREATE DATABASE {name} OWNER lab TEMPLATE template0 {made_with}")
    with pytest.raises(DatabaseRefusedError, match="CREATE DATABASE lab TEMPLATE template0"):
        db.open_database(postgres.url(name))


def test_the_advice_that_the_refusal_gives_works(postgres: Server) -> None:
    postgres.execute(
        "CREATE DATABASE advised OWNER lab TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
    )
    with opened(postgres.url("advised")) as database:
        assert written(database) == set()


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_server_keeps_what_it_acknowledged_and_is_used_again(
    postgres: Server, kill: int
) -> None:
    """The server itself: all of its processes by SIGKILL, while four threads write."""
    acknowledged: list[str] = []
    with opened(postgres.new_url()) as database:

        def write_on(thread: int) -> None:
            with suppress(DBAPIError):
                for number in range(10_000):
                    write(database, f"{thread}-{number}")
                    acknowledged.append(f"{thread}-{number}")

        threads = [threading.Thread(target=write_on, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.3 + 0.037 * kill)
        postgres.kill()
        for thread in threads:
            thread.join(30)
        with pytest.raises(DBAPIError):
            write(database, "while it is away")
        postgres.restart()
        found = written(database)
        assert len(acknowledged) > 4
        assert set(acknowledged) <= found
        # At most the group that was being committed is there without having been acknowledged.
        assert len(found) <= len(acknowledged) + len(threads)
        write(database, "after it")
        assert "after it" in written(database)
