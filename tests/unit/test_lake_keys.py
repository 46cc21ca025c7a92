"""Keys and seals: kept private, made once, one for each purpose; what was changed does not open."""

import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from sandbox.lake.errors import IntegrityError, LakeError
from sandbox.lake.keyed import KeyedHash
from sandbox.lake.keys import KeyRing
from sandbox.lake.seal import seal_bytes, seal_file, unseal_bytes, unseal_file


def test_a_ring_is_made_once_and_found_again(tmp_path: Path) -> None:
    first = KeyRing.open_or_create(tmp_path / "keys")
    again = KeyRing.open_or_create(tmp_path / "keys")
    assert first.secret == again.secret
    assert str(first.identity) == str(again.identity)
    assert sorted(p.name for p in (tmp_path / "keys").iterdir()) == ["lake.age", "lake.secret"]


def test_many_that_make_a_ring_at_once_get_the_same_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: KeyRing.open_or_create(tmp_path / "keys"), range(16)))
    assert len({(ring.secret, str(ring.identity)) for ring in rings}) == 1


def test_a_ring_that_others_may_read_is_refused(tmp_path: Path) -> None:
    KeyRing.open_or_create(tmp_path)
    (tmp_path / "lake.age").chmod(0o644)
    with pytest.raises(LakeError, match="chmod 600"):
        KeyRing.open(tmp_path)


def test_opening_makes_no_keys(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="backup"):
        KeyRing.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_ring_shows_no_key() -> None:
    ring = KeyRing.generate()
    assert ring.secret.hex() not in repr(ring)
    assert str(ring.identity) not in repr(ring)


def test_purposes_have_different_keys() -> None:
    ring = KeyRing.generate()
    assert ring.subkey("rank/a") == ring.subkey("rank/a")
    assert len({ring.subkey("rank/a"), ring.subkey("rank/b"), ring.secret}) == 3


@pytest.mark.parametrize("message", [b"", b"a", b"x" * 55, b"y" * 500, bytes(range(256))])
def test_the_engine_computes_the_same_hmac_as_python(message: bytes) -> None:
    key = b"k" * 32
    connection = duckdb.connect()
    keyed = KeyedHash(connection, "test", key)
    expected = hmac.new(key, message, hashlib.sha256).hexdigest()
    connection.execute("CREATE TABLE said AS SELECT ?::BLOB AS m", [message])
    query = f"SELECT {keyed.hex('m')}, {keyed.uint64('m')} FROM said"
    row = connection.execute(query).fetchone()
    assert row == (expected, int(expected[:16], 16))


def test_a_key_longer_than_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="65"):
        KeyedHash(duckdb.connect(), "test", b"k" * 65)


def test_what_was_sealed_opens_and_says_nothing_before(tmp_path: Path) -> None:
    ring = KeyRing.generate()
    plain, sealed, back = (tmp_path / name for name in ("plain", "sealed", "back"))
    plain.write_bytes(b"91370202MAYY000180 " * 10_000)
    seal_file(ring, plain, sealed)
    assert b"MAYY" not in sealed.read_bytes()
    unseal_file(ring, sealed, back)
    assert back.read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_changed_file_does_not_open(tmp_path: Path, place: int) -> None:
    ring = KeyRing.generate()
    (tmp_path / "plain").write_bytes(b"a" * 100_000)
    seal_file(ring, tmp_path / "plain", tmp_path / "sealed")
    data = bytearray((tmp_path / "sealed").read_bytes())
    data[place] ^= 1
    (tmp_path / "sealed").write_bytes(data)
    with pytest.raises(IntegrityError, match="backup"):
        unseal_file(ring, tmp_path / "sealed", tmp_path / "back")


def test_another_ring_does_not_open_it() -> None:
    sealed = seal_bytes(KeyRing.generate(), b"rows")
    with pytest.raises(IntegrityError, match="manifest"):
        unseal_bytes(KeyRing.generate(), sealed, "manifest")
