"""The log against code that others wrote: Go's checksum-database packages and torchwood.

Both ways: they verify our log, receipts and cosignatures; our verifier verifies theirs. The modules
come through the Go module proxy, pinned by go.sum.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from marketplace.audit import note
from marketplace.audit.verifier import (
    Directory,
    Key,
    Trust,
    scan,
    verify_log,
    verify_receipt,
)
from marketplace.audit.witness import Witness, open_witness_keys
from tests.integration.test_log_http import pay
from tests.support.logs import entry, insert_entries, make_log, opened, signer
from tests.support.marketplace import make_home, running, token

SOURCE = Path(__file__).parent / "logcheck"
VKEY = note.vkey(signer())
TRUST = Trust(Key.parse(VKEY))
SIZES = (1, 255, 256, 300, 65_536, 70_000)

Go = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="no Go on this machine")


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Go:
    program = tmp_path_factory.mktemp("go") / "logcheck"
    build = ["go", "build", "-mod=readonly", "-o", str(program), "."]
    subprocess.run(build, cwd=SOURCE, check=True, env={**os.environ, "CGO_ENABLED": "0"})

    def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [str(program), *(str(a) for a in arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def said(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_go_finds_each_of_our_checkpoints_a_prefix_of_the_next(go: Go, tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (database, log):
        done, old = 0, tmp_path / "old"
        for size in SIZES:
            insert_entries(database, done, size)
            log.wait(size - 1)
            if done:
                assert said(go("grown", log.folder, VKEY, old)) == f"{done} {size}"
            shutil.copy(log.folder / "checkpoint", old)
            done = size


def test_go_accepts_our_receipts_and_no_changed_one(go: Go, tmp_path: Path) -> None:
    with opened(tmp_path / "a") as (database, log):
        insert_entries(database, 0, 70_000)
        log.wait(69_999)
        for index in (0, 255, 256, 65_535, 65_536, 69_999):
            file = tmp_path / "r.tlog-proof"
            file.write_text(log.proof(index), encoding="utf-8")
            assert bytes.fromhex(said(go("proof", file, VKEY))) == entry(index)
            file.write_text(log.proof(index).replace(f"index {index}", f"index {index ^ 1}"))
            assert go("proof", file, VKEY).returncode == 1


def test_go_reads_every_entry_of_a_running_lab(go: Go, tmp_path: Path) -> None:
    settings = make_home(tmp_path / "home")
    with running(settings) as server:
        # What the start itself decided: policies, seeded contracts and grants.
        before = int((settings.log / "checkpoint").read_text().split("\n")[1])
        for number in range(8):
            pay(server, f"op{number}")
        vkey = (settings.log / "vkey").read_text().split("\n")[0]
        copy = tmp_path / "copy"
        shutil.copytree(settings.log, copy)
        # The reading itself is an entry, beyond the checkpoint that was copied.
        args = (copy, vkey, f"{server.url}/log", token(settings, "regulator"))
        count, digest = said(go("log", *args)).split()
        ours: list[bytes] = []
        trust = Trust(Key.parse(vkey))
        verify_log(Directory(copy), trust, visit=lambda _, e: ours.append(e))
        assert int(count) == len(ours) == before + 16
        assert digest == hashlib.sha256(b"".join(ours)).hexdigest()
        stranger = (*args[:3], token(settings, "analyst"))
        assert go("log", *stranger).returncode == 1


def test_go_accepts_the_line_of_our_witness(go: Go, tmp_path: Path) -> None:
    folder = make_log(tmp_path / "a", 300)
    signers = open_witness_keys(tmp_path / "w")
    witness = Witness(tmp_path / "w", signers, [TRUST.key], lambda: 1679315147)
    text = (folder / "checkpoint").read_text()
    reply = witness.add_checkpoint(f"old 0\n\n{text}".encode())
    (tmp_path / "cosigned").write_text(text + reply.text, encoding="utf-8")
    assert said(go("cosigned", tmp_path / "cosigned", note.vkey(signers[0]))) == "1679315147"


@pytest.mark.parametrize("count", [1, 256, 1_000, 70_000])
def test_our_verifier_accepts_the_log_and_the_receipt_that_go_made(
    go: Go, tmp_path: Path, count: int
) -> None:
    index, folder = count // 2, tmp_path / "made"
    said(go("make", folder, note.skey(signer()), count, index))
    (folder / "vkey").write_text(VKEY + "\n")
    assert verify_log(Directory(folder), TRUST).entries == count
    proof = (folder / "made.tlog-proof").read_bytes()
    checkpoint, found, data = verify_receipt(proof, TRUST)
    assert (checkpoint.size, found, data) == (count, index, f"entry {index}".encode())
    assert scan(Directory(folder), count, with_entries=True).root == checkpoint.root
