"""Which database a test's home has: SQLite in the home, or a schema of a real PostgreSQL."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection

from tests.support.postgres import server

ON_POSTGRESQL = os.environ.get("LAB_TEST_DATABASE") == "postgresql"

_URLS: dict[Path, str] = {}


def database_url(home: Path) -> str:
    """Return the URL of a home's database, the same for each start over this home."""
    if not ON_POSTGRESQL:
        return f"sqlite:///{home.resolve() / 'marketplace.db'}"
    if home not in _URLS:
        _URLS[home] = server().new_url()
    return _URLS[home]


def environment(home: Path) -> dict[str, str]:
    """Return the setting by which a marketplace over this home finds its database."""
    return {"LAB_DATABASE_URL": database_url(home)}


def database_files(home: Path) -> list[Path]:
    """Return the files that hold a home's tables, everything committed being written there."""
    if not ON_POSTGRESQL:
        return [f for f in sorted(home.glob("marketplace.db*")) if f.is_file()]
    server().execute("CHECKPOINT")
    return [f for f in sorted((server().data / "base").rglob("*")) if f.is_file()]


def contents(file: Path) -> bytes:
    """Return what a listed file holds: nothing where the server deleted it since."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        # A server rebuilds its caches and drops old relations while it serves others.
        if not ON_POSTGRESQL:
            raise
        return b""


def gather_statistics(home: Path) -> None:
    """Let the database look at its rows, as it does by itself after a while."""
    if ON_POSTGRESQL:
        server().analyze(_schema(home))


def database_copy(home: Path) -> Callable[[], None]:
    """Back a home's database up; what is returned puts it back."""
    if ON_POSTGRESQL:
        schema = _schema(home)
        dump = server().dump(schema)
        return lambda: server().put_back(schema, dump)
    file, copy = home / "marketplace.db", home.with_name(f"{home.name}-copy.db")
    with closing(sqlite3.connect(file)) as opened, closing(sqlite3.connect(copy)) as target:
        opened.backup(target)

    def put_back() -> None:
        for part in home.glob("marketplace.db*"):
            part.unlink()
        shutil.copy(copy, file)

    return put_back


def without_foreign_keys(connection: Connection) -> None:
    """Let a test damage rows that others refer to; before anything else on this connection."""
    off = (
        "SET LOCAL session_replication_role = replica"
        if ON_POSTGRESQL
        else "PRAGMA foreign_keys=OFF"
    )
    connection.exec_driver_sql(off)


def _schema(home: Path) -> str:
    return database_url(home).rpartition("search_path%3D")[2]
