"""Logs and receipts with one thing changed at random: every one of them is caught.

`LAB_FULL=1` tries 10,000 of them.
"""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketplace.audit import note
from marketplace.audit.verifier import (
    Directory,
    Key,
    Problem,
    Trust,
    open_checkpoint,
    verify_log,
    verify_receipt,
)
from tests.support.logs import insert_entries, make_log, opened, signer

FULL = os.environ.get("LAB_FULL") == "1"
LOGS, RECEIPTS = (5_000, 5_000) if FULL else (150, 500)
SIZES = (200, 530, 613)
TRUST = Trust(Key.parse(note.vkey(signer())))


def changed(data: bytes, rng: random.Random) -> bytes:
    """Return other bytes: one flipped, lost, doubled, swapped, cut or added."""
    while True:
        place, other = rng.randrange(len(data)), rng.randrange(len(data))
        first, second = sorted((place, other))
        new = rng.choice(
            (
                data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :],
                data[:place] + data[place + 1 :],
                data[:place] + data[place : place + 1] + data[place:],
                data[:first] + data[second:] + data[first:second],
                data[:place],
                data + rng.randbytes(1),
                data[:place] + rng.randbytes(rng.randrange(1, 40)) + data[place:],
                rng.randbytes(1) + data,
            )
        )
        if new != data:
            return new


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_log(tmp_path_factory.mktemp("log") / "home", *SIZES)
    verify_log(Directory(folder), TRUST)
    return folder


def needed(folder: Path) -> Iterator[Path]:
    """Yield the files that the log of its checkpoint consists of."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield path


def strike(folder: Path, rng: random.Random) -> str:
    """Change one thing in a log; return what."""
    files = list(needed(folder))
    # Parts that only older checkpoints needed may be missing, and may not differ.
    current = [f for f in files if f.parent.suffix != ".p" or f.name in ("101", "2")]
    file = rng.choice(files)
    kind = rng.choice(("bytes", "bytes", "bytes", "lost", "swapped", "strange", "forged"))
    if kind == "lost":
        file = rng.choice(current)
        file.unlink()
    elif kind == "swapped":
        other = rng.choice([f for f in files if f.read_bytes() != file.read_bytes()])
        one, two = file.read_bytes(), other.read_bytes()
        file.write_bytes(two)
        other.write_bytes(one)
    elif kind == "strange":
        name = rng.choice(
            ("tile/0/000.p/0", "tile/0/0", "tile/x", "tile/0/000.p/256", "tile/64/000")
        )
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(rng.randbytes(64))
    elif kind == "forged":
        # The checkpoint of another history, signed by the log's own key.
        size = rng.choice((0, 1, 200, 530, 612, 613, 614, 10_000))
        text = f"{signer().name}\n{size}\n"
        head = open_checkpoint((folder / "checkpoint").read_bytes(), TRUST.key)
        root = (
            rng.randbytes(32) if size == head.size else rng.choice((rng.randbytes(32), head.root))
        )
        forged = type(head)(text.split("\n", maxsplit=1)[0], size, root)
        (folder / "checkpoint").write_text(note.signed(forged, (signer(),), 0))
        file = folder / "checkpoint"
    else:
        file.write_bytes(changed(file.read_bytes(), rng))
    return f"{kind} {file}"


def test_every_changed_log_is_caught(tmp_path: Path, honest: Path) -> None:
    seen = open_checkpoint((honest / "checkpoint").read_bytes(), TRUST.key)
    copy = tmp_path / "log"
    for turn in range(LOGS):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(honest, copy)
        what = strike(copy, random.Random(turn))
        try:
            verify_log(Directory(copy), TRUST, seen=seen)
        except Problem:
            continue
        raise AssertionError(f"turn {turn} was not caught: {what}")


def test_every_changed_receipt_is_caught(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as (database, log):
        insert_entries(database, 0, SIZES[-1])
        log.wait(SIZES[-1] - 1)
        texts = [log.proof(i).encode() for i in (0, 255, 256, 400, SIZES[-1] - 1)]
    for turn in range(RECEIPTS):
        rng = random.Random(turn)
        text = rng.choice(texts)
        verify_receipt(text, TRUST)
        new = changed(text, rng)
        if rng.random() < 0.2:
            lines = text.split(b"\n")
            one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            new = b"\n".join(lines)
        if new == text:
            continue
        with pytest.raises(Problem):
            verify_receipt(new, TRUST)
