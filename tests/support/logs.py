"""Published logs for tests: real folders over a real database, with keys that never change."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert

from marketplace import db
from marketplace.audit import store, tree
from marketplace.audit.entry import Event
from marketplace.audit.note import Ed25519Signer, Signer
from marketplace.audit.published import Log
from tests.support.databases import database_url

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ORIGIN = "log.example/test"
ROOT = Path(__file__).resolve().parents[2]


def signer(name: str = ORIGIN) -> Ed25519Signer:
    return Ed25519Signer(name, hashlib.sha256(name.encode()).digest())


def entry(index: int) -> bytes:
    """Return an entry as long as real ones, different for each index."""
    return f'{{"event":"test","facts":{{"number":{index}}}}}'.encode() * (1 + index % 3)


@contextmanager
def opened(home: Path, signers: Sequence[Signer] = ()) -> Iterator[tuple[db.Database, Log]]:
    """Open the database and the log of a home, as a start of the service does."""
    home.mkdir(exist_ok=True)
    database = db.open_database(database_url(home))
    try:
        log = Log(database, home / "log", signers or (signer(),), lambda: NOW)
        database.publisher = log
        yield database, log
    finally:
        database.close()


def insert_entries(database: db.Database, start: int, end: int) -> None:
    """Commit entries without publishing them, as a process that died in between."""
    rows = [
        {"index": i, "bytes": entry(i), "leaf_hash": tree.leaf_hash(entry(i))}
        for i in range(start, end)
    ]
    with database.writing() as connection:
        connection.execute(insert(db.entries), rows)


def append(database: db.Database, number: int = 0) -> None:
    """Make one decision."""
    with database.writing() as connection:
        store.append(connection, Event.SESSION_DENIED, NOW, {"refused": number})


def make_log(home: Path, *sizes: int) -> Path:
    """Return the folder of a log that had a checkpoint at each of these sizes."""
    with opened(home) as (database, log):
        done = 0
        for size in sizes:
            insert_entries(database, done, size)
            log.wait(size - 1)
            done = size
    return home / "log"


def verify(*arguments: object, lab: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the one-file verifier as a regulator does, or through the lab's command."""
    file = ROOT / "marketplace" / "audit" / "verifier.py"
    program = ["-m", "infra.cli", "audit", "verify"] if lab else [str(file)]
    command = [sys.executable, "-P", *program, *(str(a) for a in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
