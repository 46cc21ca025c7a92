"""The published folder follows the database: after every decision, a crash, a power cut, a race."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update

from marketplace import db
from marketplace.audit import note, store, tree
from marketplace.audit.published import LogDamagedError
from marketplace.audit.verifier import Directory, Key, Trust, open_checkpoint, verify_log
from marketplace.db import GROUP_SECONDS
from marketplace.errors import MarketplaceError
from tests.support.databases import database_url
from tests.support.logs import append, entry, insert_entries, make_log, opened, signer

KEY = Key.parse(note.vkey(signer()))
TRUST = Trust(KEY)


def size_of(folder: Path) -> int:
    return verify_log(Directory(folder), TRUST).checkpoint.size


def test_a_decision_returns_when_its_entry_is_in_the_signed_files(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (database, log):
        for count in range(1, 6):
            append(database)
            assert size_of(log.folder) == count


def test_every_checkpoint_that_was_given_out_can_still_be_reached(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (database, log):
        heads = []
        for end in (1, 100, 256, 300, 700):
            insert_entries(database, len(heads) and heads[-1].size, end)
            log.wait(end - 1)
            heads.append(log.head.checkpoint)
        for old in heads:
            verify_log(Directory(log.folder), TRUST, seen=old)
            verify_log(Directory(log.folder), TRUST, seen=old, quick=True)
    # Parts of tiles that are full by now are gone; those of the right edge are there.
    names = {p.relative_to(tmp_path / "a" / "log").as_posix() for p in log.folder.rglob("*.p/*")}
    assert names == {
        "tile/0/002.p/188",
        "tile/1/000.p/1",
        "tile/1/000.p/2",
        "tile/entries/002.p/188",
    }


def test_an_empty_log_is_a_signed_log_of_no_entries(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (_, log):
        head = open_checkpoint((log.folder / "checkpoint").read_bytes(), KEY)
        assert (head.size, head.root) == (0, tree.EMPTY_ROOT)
        assert size_of(log.folder) == 0


@pytest.mark.parametrize("ahead", [1, 255, 256, 600])
def test_a_database_that_is_ahead_is_integrated_at_the_start(tmp_path: Path, ahead: int) -> None:
    folder = make_log(tmp_path / "a", 300)
    with opened(tmp_path / "a") as (database, log):
        insert_entries(database, 300, 300 + ahead)
        assert log.head.checkpoint.size == 300
    with opened(tmp_path / "a"):
        assert size_of(folder) == 300 + ahead


@pytest.mark.parametrize(
    "damage",
    [
        delete(db.entries).where(db.entries.c.index == 299),
        update(db.entries)
        .where(db.entries.c.index == 5)
        .values(bytes=b"other", leaf_hash=tree.leaf_hash(b"other")),
        update(db.entries)
        .where(db.entries.c.index == 299)
        .values(bytes=b"other", leaf_hash=tree.leaf_hash(b"other")),
    ],
    ids=["the last entry is gone", "an entry is another one", "the last entry is another one"],
)
def test_a_log_that_knows_more_than_the_database_does_not_start(
    tmp_path: Path, damage: object
) -> None:
    folder = make_log(tmp_path / "a", 300)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    database = db.open_database(database_url(tmp_path / "a"))
    with database.writing() as connection:
        connection.execute(damage)
    database.close()
    with pytest.raises(LogDamagedError), opened(tmp_path / "a"):
        pass
    assert {p: p.read_bytes() for p in before} == before  # the evidence is left as it was


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/001.p/44", "tile/entries/001.p/44"])
@pytest.mark.parametrize("kind", ["missing", "torn"])
def test_what_a_power_cut_took_from_the_folder_is_written_again(
    tmp_path: Path, name: str, kind: str
) -> None:
    folder = make_log(tmp_path / "a", 300)
    path = folder / name
    if kind == "missing":
        path.unlink()
    elif name == "tile/0/000":
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(LogDamagedError, match="does not hold"), opened(tmp_path / "a"):
            pass  # a full tile was forced to disk, so it cannot be torn: somebody changed it
        return
    else:
        path.write_bytes(path.read_bytes()[:100])
    with opened(tmp_path / "a"):
        assert size_of(folder) == 300


def test_two_processes_over_one_home_publish_one_log(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "a") as (one, log),
        opened(tmp_path / "a") as (other, second),
        ThreadPoolExecutor(8) as threads,
    ):
        list(threads.map(append, [one, other] * 150))
        assert size_of(log.folder) == 300
        assert max(log.head.checkpoint.size, second.head.checkpoint.size) == 300


def test_a_checkpoint_that_goes_back_under_a_running_lab_stops_it(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (database, log):
        append(database)
        old = (log.folder / "checkpoint").read_bytes()
        append(database)
        (log.folder / "checkpoint").write_bytes(old)
        for _ in range(2):
            with pytest.raises(MarketplaceError, match="went back"):
                append(database)
        with database.reading() as connection:
            assert store.size(connection) == 3  # the second was refused before it was decided


def test_a_database_that_loses_an_entry_under_a_running_lab_stops_it(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (database, _):
        append(database)
        insert_entries(database, 2, 3)  # entry 1 is missing
        for _ in range(2):
            with pytest.raises(MarketplaceError) as caught:
                append(database)
            assert caught.value.code == "LOG_DAMAGED"


def test_decisions_that_queue_up_share_a_commit_and_a_checkpoint(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (database, log), ThreadPoolExecutor(32) as threads:
        heads = set()

        def decide(number: int) -> None:
            append(database, number)
            heads.add(log.head.checkpoint.size)

        list(threads.map(decide, range(320)))
        assert size_of(log.folder) == 320
        assert len(heads) < 200


def test_a_decision_that_fails_leaves_its_group_whole(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (database, log), ThreadPoolExecutor(16) as threads:

        def decide(number: int) -> bool:
            row = insert(db.versions).values(table=f"t{number}", version="v")
            with suppress(ZeroDivisionError), database.writing() as connection:
                connection.execute(row)
                _ = 1 // (number % 3)
            if number % 3:
                append(database, number)
            return bool(number % 3)

        done = list(threads.map(decide, range(90)))
        with database.reading() as connection:
            kept = {r[0] for r in connection.execute(db.versions.select())}
        assert kept == {f"t{i}" for i in range(90) if i % 3}
        assert size_of(log.folder) == done.count(True) == 60


def test_a_lone_decision_does_not_wait_for_others(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (database, _):
        group = database._groups
        append(database)
        assert group._open is None
        assert group._waiting == 0


def test_nobody_is_left_waiting_when_the_next_in_the_queue_gives_up(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (database, log):
        database._groups._queue(1)  # one that will never come
        caller = threading.Thread(target=append, args=(database,))
        caller.start()
        caller.join(100 * GROUP_SECONDS)
        assert not caller.is_alive()
        assert size_of(log.folder) == 1


def test_entries_keep_their_exact_bytes(tmp_path: Path) -> None:
    found: dict[int, bytes] = {}
    folder = make_log(tmp_path / "a", 700)
    verify_log(Directory(folder), TRUST, visit=found.__setitem__)
    assert found == {i: entry(i) for i in range(700)}
