"""A database of an earlier version goes on; one that cannot is refused, and left as it was."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, inspect, select, text

from marketplace import db
from marketplace.budgets.replay import replay
from marketplace.dialects import DatabaseRefusedError, dialect_of
from marketplace.migrations.upgrade import configuration, head, upgrade
from marketplace.settings import Settings
from tests.support.databases import database_url
from tests.support.marketplace import (
    ALLOTMENT,
    COST,
    FIRST_START,
    TABLES,
    ask,
    item,
    made,
    make_home,
    parts,
)

NUMBERED = [s.revision for s in ScriptDirectory.from_config(configuration()).walk_revisions()][::-1]
EARLIER = ("unnumbered", *NUMBERED[:-1])
"""Databases from before revisions had numbers, and of every revision before this version's."""


@contextmanager
def altering(url: str) -> Iterator[Connection]:
    """Yield a connection below the service, whose changes are committed."""
    address, dialect = dialect_of(url)
    engine = dialect.engine(address)
    try:
        with dialect.altering(engine) as connection:
            yield connection
    finally:
        engine.dispose()


def tables(url: str) -> dict[str, list[str]]:
    with altering(url) as connection:
        found = inspect(connection)
        return {t: [c["name"] for c in found.get_columns(t)] for t in found.get_table_names()}


def as_earlier(settings: Settings, revision: str) -> Settings:
    """Return the home with all its rows in a database of an earlier version."""
    url = database_url(settings.home / "earlier")
    (settings.home / "earlier").mkdir()
    with altering(settings.database_url) as now:
        tables_now = [t for t in db.metadata.sorted_tables if inspect(now).has_table(t.name)]
        rows = {t: [dict(r._mapping) for r in now.execute(select(t))] for t in tables_now}
    with altering(url) as then:
        upgrade(then, "0001" if revision == "unnumbered" else revision)
        found = MetaData()
        found.reflect(then)
        for table, some in rows.items():
            old = found.tables.get(table.name)
            if some and old is not None:
                names = {c.name for c in old.c}
                then.execute(
                    old.insert(), [{k: v for k, v in row.items() if k in names} for row in some]
                )
        if "log_turns" in found.tables:
            then.execute(found.tables["log_turns"].insert(), {"id": 1})
        if revision == "unnumbered":
            # As made before the portal, whose tables came last.
            then.execute(text("DROP TABLE alembic_version"))
            then.execute(text("DROP TABLE portal_browsers"))
    return replace(settings, database_url=url)


def test_the_revisions_make_just_the_tables_of_the_code(tmp_path: Path) -> None:
    """If this fails, `python -m marketplace.migrations "what changed"` drafts the revision."""
    database = db.open_database(database_url(tmp_path))
    with database.reading() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, db.metadata) == []
        assert context.get_current_revision() == head()
    database.close()


def test_revisions_are_numbered_in_one_line() -> None:
    assert [f"{n:04}" for n in range(1, len(NUMBERED) + 1)] == NUMBERED
    assert NUMBERED[-1] == head()


@pytest.mark.parametrize("revision", EARLIER)
def test_a_home_of_an_earlier_version_goes_on_with_its_ledger_and_its_log(
    tmp_path: Path, revision: str
) -> None:
    settings = make_home(tmp_path / "home")
    with parts(settings) as market:
        held = market.releases.reserve(ask("one", purpose="market-research"))
        done = market.releases.record(held.id, held.fencing_token, (made(item("one")),), TABLES)
        open_one = market.releases.reserve(ask("two"))
        before, checkpoint = replay(market.database), market.log.head.checkpoint
    earlier = as_earlier(settings, revision)
    with parts(earlier) as market:
        after = replay(market.database)
        assert (after.findings, after.spent) == ((), before.spent)
        assert market.log.head.checkpoint == checkpoint
        assert market.releases.answer(*done.release_ids.values(), "demo-enterprise") == b"answer"
        # What was open can be closed, and the next question is charged on top.
        market.releases.record(open_one.id, open_one.fencing_token, (made(item("two")),), TABLES)
        market.releases.reserve(ask("three"))
        left = market.releases.left("demo-enterprise", "enterprise")
        assert left.budget.micro_rho == ALLOTMENT - 3 * COST
        assert market.log.head.checkpoint.size == checkpoint.size + 2
    assert tables(earlier.database_url) == tables(settings.database_url)


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    settings = make_home(tmp_path / "home")
    with parts(settings):
        pass
    with altering(settings.database_url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseRefusedError, match=r"revision 9999.*a newer version made it"):
        db.open_database(settings.database_url)
    for command in (("serve", "--port", "1"), ("replay",)):
        done = subprocess.run(
            [sys.executable, "-m", "marketplace", *command, "--home", settings.home],
            env={**os.environ, "LAB_DATABASE_URL": settings.database_url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert "a newer version made it" in done.stderr


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path) -> None:
    url = database_url(tmp_path)
    with altering(url) as connection:
        upgrade(connection, "0001")
        connection.execute(text("DROP TABLE log_turns"))
        connection.execute(text("DROP TABLE portal_browsers"))
    before = tables(url)
    for _ in range(2):
        with pytest.raises(DatabaseRefusedError, match="nothing in it was changed"):
            db.open_database(url)
    assert tables(url) == before


def test_a_database_older_than_all_revisions_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    url = database_url(tmp_path)
    old = MetaData()
    Table("entries", old, db.entries.c.index._copy(), db.entries.c.bytes._copy())
    with altering(url) as connection:
        old.create_all(connection)
    with pytest.raises(DatabaseRefusedError, match="Table entries has no column leaf_hash"):
        db.open_database(url)
    assert tables(url) == {"entries": ["index", "bytes"]}


def test_whoever_opens_an_empty_database_at_once_gets_the_same_tables(tmp_path: Path) -> None:
    url = database_url(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        for database in threads.map(db.open_database, [url] * 8):
            database.close()
    assert set(tables(url)) == {*db.metadata.tables, "alembic_version"}


def test_the_first_start_makes_the_same_entries_as_ever(tmp_path: Path) -> None:
    with parts(make_home(tmp_path / "home")) as market:
        assert market.log.head.checkpoint.size == FIRST_START


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://lab@host/lab", "names mysql"),
        ("no url at all", "not a database's URL"),
        ("postgresql://lab:secret@127.0.0.1:9/lab?connect_timeout=2", "cannot be opened"),
        ("sqlite:////nowhere/at/all.db", "cannot be opened"),
    ],
    ids=["another kind", "no URL", "nobody there", "no such folder"],
)
def test_what_is_no_database_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(DatabaseRefusedError, match=said) as caught:
        db.open_database(url)
    assert "secret" not in str(caught.value)


def test_a_draft_of_a_revision_has_what_the_code_has_and_the_revisions_lack(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "import sys; sys.argv = ['migrations', 'add a shelf']\n"
        "from sqlalchemy import Column, Integer, Table\n"
        "from marketplace import db\n"
        "from marketplace.migrations import __main__ as drafting\n"
        "Table('shelves', db.metadata, Column('id', Integer, primary_key=True))\n"
        f"drafting.main(Path({str(tmp_path)!r}))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    (drafted,) = tmp_path.glob("r*.py")
    assert drafted.name == f"r{int(head()) + 1:04}_add_a_shelf.py"
    code = drafted.read_text()
    assert f'down_revision = "{head()}"' in code
    assert code.count("op.") == code.count("op.create_table(") == 1
