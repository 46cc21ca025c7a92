"""Brings a database to this version's revision, in the transaction that it is given.

An empty database is made by running all revisions, so there is one way to make tables. One that was
made before revisions were numbered holds the tables of the first, or some of them: it runs them
all too. There is no way back: an earlier version of the lab needs an earlier backup.
"""

import threading
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect

from marketplace.dialects import DatabaseRefusedError

HERE = Path(__file__).parent
UNNUMBERED = "entries"
"""A table of every database that was made before revisions were numbered."""

_ALONE = threading.Lock()
"""Alembic keeps its present context in globals."""


def head() -> str:
    """Return the revision of this version of the lab."""
    return str(_scripts().get_current_head())


def is_current(connection: Connection) -> bool:
    """Whether the database is at this version's revision; DatabaseRefusedError if beyond it."""
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in {s.revision for s in _scripts().walk_revisions()}:
        raise DatabaseRefusedError(
            f"The database is at revision {found}, and this version of the lab knows revisions up "
            f"to {head()}: a newer version made it. Start that version, or restore a backup that "
            "was made before it."
        )
    return found == head()


def upgrade(connection: Connection, to: str = "head") -> None:
    """Bring the database to a revision; the caller commits."""
    # Somebody else may have done it since the caller looked.
    if is_current(connection):
        return
    found = MigrationContext.configure(connection).get_current_revision()
    is_unnumbered = found is None and inspect(connection).has_table(UNNUMBERED)
    _upgrade(connection, to)
    if is_unnumbered and to == "head":
        _check_columns(connection)


def _upgrade(connection: Connection, to: str) -> None:
    with _ALONE:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, to)


def _check_columns(connection: Connection) -> None:
    """Raise unless every table has the columns that the revisions give it."""
    found = _columns(connection)
    for table, columns in _wanted_columns().items():
        lacking = columns - found.get(table, frozenset())
        if lacking:
            raise DatabaseRefusedError(
                f"Table {table} has no column {', '.join(sorted(lacking))}: the database is older "
                "than this version of the lab can bring up to date. Keep it, and start in a new "
                "home."
            )


def _wanted_columns() -> dict[str, frozenset[str]]:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        _upgrade(connection, "head")
        found = _columns(connection)
    engine.dispose()
    return found


def _columns(connection: Connection) -> dict[str, frozenset[str]]:
    inspector = inspect(connection)
    return {
        table: frozenset(c["name"] for c in inspector.get_columns(table))
        for table in inspector.get_table_names()
    }


def configuration() -> Config:
    """Return where Alembic finds the revisions."""
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
    return config


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(configuration())
