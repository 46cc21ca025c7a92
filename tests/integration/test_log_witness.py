"""A witness signs what grew and nothing else; the log publishes what it signed."""

import base64
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from marketplace.audit import note, tree
from marketplace.audit.published import Log
from marketplace.audit.verifier import (
    Checkpoint,
    Directory,
    Key,
    Trust,
    open_checkpoint,
    verify_log,
    verify_receipt,
)
from marketplace.audit.witness import Witness, open_witness_keys
from marketplace.audit.witnessing import Known, Witnessing, witnesses_from
from marketplace.errors import MarketplaceError
from tests.support.databases import database_copy
from tests.support.logs import ROOT, append, insert_entries, opened, signer
from tests.support.marketplace import SEEDED, free_port, make_home, running

LOG_KEY = Key.parse(note.vkey(signer()))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with opened(tmp_path / "a") as (database, published):
        insert_entries(database, 0, 300)
        published.wait(299)
        yield published


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    folder = tmp_path / "witness"
    return Witness(folder, open_witness_keys(folder), [LOG_KEY], lambda: 1679315147)


def keys(tmp_path: Path) -> tuple[Key, ...]:
    lines = (tmp_path / "witness" / "vkey").read_text().splitlines()
    return tuple(Key.parse(line) for line in lines)


def body(old: int, path: list[bytes], signed: str) -> bytes:
    hashes = "".join(base64.b64encode(h).decode() + "\n" for h in path)
    return f"old {old}\n{hashes}\n{signed}".encode()


def at(log: Log, size: int) -> str:
    root = tree.root(size, log.fetch(log.head.checkpoint.size))
    return note.signed(Checkpoint(signer().name, size, root), (signer(),), 0)


def growth(log: Log, old: int, new: int) -> list[bytes]:
    return tree.consistency_proof(old, new, log.fetch(log.head.checkpoint.size))


def test_a_witness_signs_a_log_that_grew(log: Log, witness: Witness, tmp_path: Path) -> None:
    for old, new in ((0, 100), (100, 100), (100, 257), (257, 300)):
        path = growth(log, old, new) if old else []
        reply = witness.add_checkpoint(body(old, path, at(log, new)))
        assert reply.status == 200, reply
        assert len(reply.text.splitlines()) == 2  # Ed25519 and ML-DSA-44
        whole = (at(log, new) + reply.text).encode()
        assert open_checkpoint(whole, LOG_KEY, keys(tmp_path)).size == new


def test_a_witness_refuses_everything_else_with_the_specified_status(
    log: Log, witness: Witness
) -> None:
    assert witness.add_checkpoint(body(0, [], at(log, 100))).status == 200
    good = growth(log, 100, 200)
    forged = note.Ed25519Signer(signer().name, os.urandom(32))
    stranger = note.Ed25519Signer("log.example/stranger", os.urandom(32))
    root = tree.root(200, log.fetch(300))
    other = Checkpoint(signer().name, 200, b"x" * 32)
    split = Checkpoint(signer().name, 100, b"x" * 32)
    head = Checkpoint(signer().name, 200, root)
    unknown = Checkpoint(stranger.name, 200, root)
    for status, data in (
        (400, b""),
        (400, b"old 100\n" + at(log, 200).encode()),
        (400, body(100, good, at(log, 200)).replace(b"old 100", b"old 0100")),
        (400, body(100, good, at(log, 200)).replace(b"old 100", b"size 100")),
        (400, body(100, good, at(log, 200)).replace(b"=\n", b"\n", 1)),
        (400, body(100, [b"h" * 32] * 64, at(log, 200))),
        (400, body(250, good, at(log, 200))),
        (403, body(100, good, note.signed(head, (forged,), 0))),
        (404, body(100, good, note.signed(unknown, (stranger,), 0))),
        (409, body(0, [], at(log, 200))),
        (409, body(99, growth(log, 99, 200), at(log, 200))),
        (409, body(100, [], note.signed(split, (signer(),), 0))),
        (422, body(100, good[:-1], at(log, 200))),
        (422, body(100, [b"h" * 32, *good], at(log, 200))),
        (422, body(100, [*good, b"h" * 32], at(log, 200))),
        (422, body(100, [], at(log, 200))),
        (422, body(100, good, note.signed(other, (signer(),), 0))),
        (422, body(100, good, at(log, 100))),
    ):
        reply = witness.add_checkpoint(data)
        assert reply.status == status, (status, data, reply)
        if status == 409:
            assert (reply.text, reply.media_type) == ("100\n", "text/x.tlog.size")
        assert "— witness" not in reply.text
    assert witness.add_checkpoint(body(100, good, at(log, 200))).status == 200


def test_a_first_proof_must_be_empty_and_the_empty_log_may_be_signed(
    log: Log, witness: Witness
) -> None:
    assert witness.add_checkpoint(body(0, [b"h" * 32], at(log, 100))).status == 422
    assert witness.add_checkpoint(body(0, [], at(log, 0))).status == 200
    assert witness.add_checkpoint(body(0, [], at(log, 100))).status == 200


def test_a_witness_that_was_started_again_still_knows(
    log: Log, witness: Witness, tmp_path: Path
) -> None:
    assert witness.add_checkpoint(body(0, [], at(log, 200))).status == 200
    folder = tmp_path / "witness"
    again = Witness(folder, open_witness_keys(folder), [LOG_KEY])
    assert again.add_checkpoint(body(0, [], at(log, 100))).status == 409
    assert again.add_checkpoint(body(200, growth(log, 200, 300), at(log, 300))).status == 200


@contextmanager
def serving(folder: Path, vkey: str) -> Iterator[str]:
    """Run a witness as the second body does."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "marketplace.audit.witness", "--state", str(folder)]
    process = subprocess.Popen([*command, "--log", vkey, "--port", str(port)], cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                httpx.post(f"{url}/add-checkpoint", content=b"")
                break
            except httpx.HTTPError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def test_the_log_publishes_what_a_running_witness_signed(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "a") as (database, log),
        serving(tmp_path / "witness", note.vkey(signer())) as url,
    ):
        append(database)
        trust = Trust(LOG_KEY, keys(tmp_path))
        asked = Witnessing(log, witnesses_from(f"{url} {' '.join(map(_text, keys(tmp_path)))}"))
        assert asked.submit() == 2
        assert verify_log(Directory(log.folder), trust).checkpoint.size == 1
        assert verify_receipt(log.proof(0).encode(), trust)[1] == 0
        append(database)
        # The newest head has no witness yet; the one before has, and is its prefix.
        assert verify_log(Directory(log.folder), trust).checkpoint.size == 2
        assert (
            open_checkpoint((log.folder / "checkpoint.witnessed").read_bytes(), LOG_KEY).size == 1
        )
        forgetful = Witnessing(log, asked._known)
        assert forgetful.submit() == 2  # learns by 409 where the witness stands
        assert verify_receipt(log.proof(1, witnessed=True).encode(), trust)[0].size == 2
        assert httpx.post(f"{url}/add-checkpoint", content=b"x" * 2_000_000).status_code in (
            400,
            413,
        )


def _text(key: Key) -> str:
    data = base64.b64encode(bytes([key.kind]) + key.public).decode()
    return f"{key.name}+{key.id.hex()}+{data}"


def test_a_whole_home_that_was_put_back_is_stopped_by_its_witness(tmp_path: Path) -> None:
    home, copy = tmp_path / "a", tmp_path / "copy"
    with serving(tmp_path / "witness", note.vkey(signer())) as url:
        with opened(home) as (database, log):
            append(database)
        shutil.copytree(home, copy)
        put_back = database_copy(home)
        with opened(home) as (database, log):
            append(database)
            known = [Known(url, keys(tmp_path))]
            assert Witnessing(log, known).submit() == 2
        shutil.rmtree(home)
        shutil.copytree(copy, home)
        put_back()
        with opened(home) as (database, log):  # consistent in itself, so it starts
            assert Witnessing(log, known).submit() == 0
            with pytest.raises(MarketplaceError, match="put back to an older state") as caught:
                append(database)
            assert caught.value.code == "LOG_DAMAGED"


def test_lines_of_strangers_are_not_published(tmp_path: Path) -> None:
    other = note.vkey(note.Ed25519Cosigner("witness.example/other", b"o" * 32))
    with (
        opened(tmp_path / "a") as (database, log),
        serving(tmp_path / "witness", note.vkey(signer())) as url,
    ):
        append(database)
        assert Witnessing(log, [Known(url, (Key.parse(other),))]).submit() == 0
        assert not (log.folder / "checkpoint.witnessed").exists()
        assert Witnessing(log, [Known("http://127.0.0.1:9", keys(tmp_path))]).submit() == 0


def test_a_marketplace_asks_its_witnesses_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_home(tmp_path / "home")
    mine = note.open_keys(settings.audit_keys)[0]
    with serving(tmp_path / "witness", note.vkey(mine)) as url:
        monkeypatch.setenv("LAB_WITNESSES", f"{url} {_text(keys(tmp_path)[0])}")
        with running(settings) as server:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                answer = httpx.get(f"{server.url}/log/checkpoint.witnessed")
                if answer.status_code == 200:
                    break
                time.sleep(0.1)
            trust = Trust(Key.parse(note.vkey(mine)), keys(tmp_path)[:1])
            assert trust.open(answer.content).size >= SEEDED


@pytest.mark.parametrize("text", ["http://x", "x y", "ftp://x a+b+c", "http://x not-a-key"])
def test_a_setting_that_is_no_witness_is_said_at_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="LAB_WITNESSES"):
        witnesses_from(text)
