"""The store's contract, on a directory and on a real S3 server."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.lake.errors import LakeError
from sandbox.lake.store import LocalStore, MissingObjectError, Store, open_store
from tests.support.lake import SmallLake, row
from tests.support.objects import s3_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path_factory.mktemp("weed")) as settings:
        yield settings


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "directory":
        return open_store((tmp_path / "store").as_uri())
    settings: dict[str, str] = request.getfixturevalue("server")
    return open_store(f"s3://lab-{secrets.token_hex(6)}", settings)


def test_what_was_put_is_got(store: Store, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"rows" * 2_000_000)
    store.put("tables/tax/part.age", tmp_path / "in")
    store.get("tables/tax/part.age", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()
    assert store.get_bytes("tables/tax/part.age") == (tmp_path / "in").read_bytes()


def test_a_later_put_replaces(store: Store) -> None:
    store.put_bytes("current/tax", b"longer contents")
    store.put_bytes("current/tax", b"two")
    assert store.get_bytes("current/tax") == b"two"


def test_a_reader_sees_whole_contents_while_they_are_replaced(store: Store) -> None:
    contents = [bytes([digit]) * 300_000 for digit in b"01"]
    store.put_bytes("current/tax", contents[0])
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(
            lambda: [store.put_bytes("current/tax", contents[n % 2]) for n in range(30)]
        )
        seen = [store.get_bytes("current/tax")]
        while not writing.done():
            seen.append(store.get_bytes("current/tax"))
        writing.result()
    assert all(found in contents for found in seen)


def test_empty_contents_are_contents(store: Store) -> None:
    store.put_bytes("current/tax", b"")
    assert store.exists("current/tax")
    assert store.get_bytes("current/tax") == b""


def test_what_is_missing_is_said_to_be(store: Store, tmp_path: Path) -> None:
    store.put_bytes("current/tax", b"one")
    assert not store.exists("current/customs")
    assert not store.exists("current")
    for get in (lambda: store.get_bytes("current/no"), lambda: store.get("no", tmp_path / "x")):
        with pytest.raises(MissingObjectError, match="no"):
            get()


def test_keys_are_listed_by_prefix_in_order(store: Store) -> None:
    assert store.list("current/") == []
    keys = ["current/tax", "current/customs", "tables/tax/2/a.age", "tables/tax/10/b.age"]
    for key in keys:
        store.put_bytes(key, b"x")
    assert store.list("current/") == ["current/customs", "current/tax"]
    assert store.list("tables/tax/") == ["tables/tax/10/b.age", "tables/tax/2/a.age"]
    assert store.list("tables/tax/1") == ["tables/tax/10/b.age"]
    assert store.list("") == sorted(keys)


def test_what_was_deleted_is_gone_and_may_be_deleted_again(store: Store) -> None:
    store.put_bytes("current/tax", b"one")
    store.delete("current/tax")
    store.delete("current/tax")
    assert not store.exists("current/tax")
    assert store.list("current/") == []


@pytest.mark.parametrize("key", ["", "/etc/x", "../x", "a/../../x", "a//b", ".hidden", "a b", "a/"])
def test_a_key_that_is_no_plain_path_is_refused(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="plain relative path"):
        store.put_bytes(key, b"x")


def test_a_lake_lives_on_it(store: Store, tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path / "lake", store=store)
    lake.deliver([row(1), row(2), row(2, 202602)])
    lake.deliver([row(1, amount=5.0)], name="second")
    assert [(r["__rank"], r["amount"]) for r in lake.rows()] == [(1, 500)]
    assert set(lake.reader().tables()) == {"tax"}


def test_a_directory_is_private_and_holds_no_drafts(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.put_bytes("current/tax", b"x")
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o700
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["tax"]


def test_a_failed_put_leaves_the_old_contents(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.put_bytes("current/tax", b"old")
    with pytest.raises(FileNotFoundError):
        store.put("current/tax", tmp_path / "missing")
    assert store.get_bytes("current/tax") == b"old"
    assert store.list("") == ["current/tax"]


@pytest.mark.parametrize("url", ["", "lake", "http://x/y", "s3://", "s3://b/path", "file://host/x"])
def test_other_urls_are_refused_with_the_two_forms(url: str) -> None:
    with pytest.raises(LakeError, match=r"file:///DIRECTORY or s3://BUCKET"):
        open_store(url, {})


def test_a_server_that_does_not_answer_is_said_to_be_silent() -> None:
    nowhere = {
        "LAB_S3_ENDPOINT": "http://127.0.0.1:1",
        "LAB_S3_ACCESS_KEY": "a",
        "LAB_S3_SECRET_KEY": "b",
    }
    with pytest.raises(LakeError, match="LAB_S3_ENDPOINT"):
        open_store("s3://bucket", nowhere, retries=0)


def test_a_server_that_refuses_the_key_names_the_settings(server: dict[str, str]) -> None:
    with pytest.raises(LakeError, match="LAB_S3_SECRET_KEY"):
        open_store("s3://bucket", {**server, "LAB_S3_SECRET_KEY": "wrong"})


def test_an_endpoint_that_is_no_url_is_refused() -> None:
    with pytest.raises(LakeError, match="LAB_S3_ENDPOINT"):
        open_store("s3://bucket", {"LAB_S3_ENDPOINT": "localhost:8333"})
