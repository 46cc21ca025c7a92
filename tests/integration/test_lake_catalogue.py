"""Readers of the lake: current versions, verified files, many at once."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.lake.catalogue import Lake
from sandbox.lake.errors import IntegrityError, UnknownTableError
from sandbox.lake.keys import KeyRing
from sandbox.lake.manifest import number_of
from sandbox.lake.store import LocalStore
from tests.support.lake import SmallLake, contract, row, uscc


@pytest.fixture
def lake(tmp_path: Path) -> SmallLake:
    small = SmallLake.at(tmp_path)
    small.deliver([row(1), row(2)])
    return small


def objects(lake: SmallLake, end: str) -> list[Path]:
    return sorted(p for p in (lake.folder / "lake").rglob("*") if p.name.endswith(end))


def test_an_unknown_table_is_named_with_the_way_to_store_it(lake: SmallLake) -> None:
    for ask in (lake.reader().table, lake.reader().local_files):
        with pytest.raises(UnknownTableError, match=r"customs.*lab ingest"):
            ask("customs")


def test_an_empty_lake_has_no_tables(tmp_path: Path) -> None:
    assert SmallLake.at(tmp_path / "empty").reader().tables() == {}


def test_a_reader_sees_a_new_version_when_it_is_there(lake: SmallLake) -> None:
    reader = lake.reader()
    assert number_of(reader.table("tax").facts.version) == 1
    lake.deliver([row(3)])
    lake.deliver([row(1)], contract(table="customs"))
    assert {n: number_of(t.facts.version) for n, t in reader.tables().items()} == {
        "tax": 2,
        "customs": 1,
    }


def test_a_version_that_was_shown_can_still_be_read(lake: SmallLake) -> None:
    reader = lake.reader()
    first = reader.table("tax").facts.version
    lake.deliver([row(3)])
    assert reader.local_files("tax", first) != reader.local_files("tax")
    with pytest.raises(IntegrityError, match="Version 9"):
        reader.local_files("tax", "9")


def test_facts_come_back_as_the_contract_gave_them(lake: SmallLake) -> None:
    table = lake.reader().table("tax")
    assert table.facts == contract().facts(table.facts.version, (2026,))
    assert table.contract["tenant"] == "税务局"


def test_files_are_decrypted_once_into_a_private_place(lake: SmallLake) -> None:
    reader = lake.reader()
    (path,) = reader.local_files("tax")
    assert path.read_bytes().startswith(b"PAR1")
    assert path.stat().st_mode & 0o777 == 0o400
    assert (lake.folder / "cache").stat().st_mode & 0o777 == 0o700
    before = path.stat().st_ino
    assert lake.reader().local_files("tax") == (path,)
    assert path.stat().st_ino == before


def test_a_changed_file_in_the_cache_is_replaced(lake: SmallLake) -> None:
    (path,) = lake.reader().local_files("tax")
    good = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(b"PAR1" + good[4:-1] + b"x")
    lake.reader().local_files("tax")
    assert path.read_bytes() == good


def test_a_cache_that_was_emptied_is_filled_again(lake: SmallLake) -> None:
    reader = lake.reader()
    (path,) = reader.local_files("tax")
    path.unlink()
    assert reader.local_files("tax") == (path,)
    assert path.is_file()


def test_many_that_ask_at_once_get_the_same_whole_file(lake: SmallLake) -> None:
    readers = [lake.reader() for _ in range(4)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: readers[n % 4].local_files("tax"), range(64)))
    assert len(set(found)) == 1
    left = [p.name for p in (lake.folder / "cache").rglob("*") if p.is_file()]
    assert left == ["rows.parquet"]


def test_threads_of_one_process_fetch_a_file_once(lake: SmallLake) -> None:
    class Counting(LocalStore):
        fetched = 0

        def get(self, key: str, path: Path) -> None:
            Counting.fetched += 1
            time.sleep(0.05)
            super().get(key, path)

    reader = Lake(Counting(lake.folder / "lake"), lake.place.keys, lake.folder / "cache")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: reader.local_files("tax"), range(8)))
    assert Counting.fetched == 1


def test_a_changed_object_is_not_answered_from(lake: SmallLake) -> None:
    (path,) = objects(lake, "rows.parquet.age")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="SHA-256"):
        lake.reader().local_files("tax")


def test_a_changed_manifest_is_not_read(lake: SmallLake) -> None:
    (path,) = objects(lake, "manifest.age")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="tax"):
        lake.reader().table("tax")


def test_a_manifest_that_only_the_lakes_public_key_made_is_not_read(lake: SmallLake) -> None:
    """Whoever knows the recipient can seal; only whoever holds the secret can point to it."""
    (path,) = objects(lake, "manifest.age")
    forger = KeyRing(b"\0" * 32, lake.place.keys.identity)
    pointer = lake.folder / "lake" / "current" / "tax"
    said = json.loads(pointer.read_bytes())
    said["tag"] = forger.tag("manifest/tax", path.read_bytes())
    pointer.write_text(json.dumps(said))
    with pytest.raises(IntegrityError):
        lake.reader().table("tax")


def test_one_tables_version_does_not_pass_for_anothers(lake: SmallLake) -> None:
    lake.deliver([row(1)], contract(table="customs"))
    current = lake.folder / "lake" / "current"
    (current / "customs").write_bytes((current / "tax").read_bytes())
    with pytest.raises(IntegrityError, match="customs"):
        lake.reader().table("customs")


def test_a_pointer_that_is_no_pointer_is_said_to_be_broken(lake: SmallLake) -> None:
    for data in (b"", b"{}", b"[1]", b"\xff"):
        (lake.folder / "lake" / "current" / "tax").write_bytes(data)
        with pytest.raises(IntegrityError, match="tax"):
            lake.reader().table("tax")


def test_another_lakes_keys_open_nothing(lake: SmallLake) -> None:
    stranger = Lake(lake.place.store, KeyRing.generate(), lake.folder / "other")
    with pytest.raises(IntegrityError, match="keys"):
        stranger.table("tax")


def test_a_changed_registry_stops_ingest(lake: SmallLake) -> None:
    path = lake.folder / "lake" / "domains" / "enterprise" / "current"
    said = json.loads(path.read_bytes())
    said["content"]["epochs"] = [1999]
    path.write_text(json.dumps(said))
    with pytest.raises(IntegrityError, match="registry"):
        lake.deliver([row(uscc(7))])
