"""`python -m marketplace.audit.bench`: what the log costs, as JSON rows for `lab bench log`.

Every decision appends one entry with a subject and two bound texts, commits to disk (SQLite at
FULL, or an empty PostgreSQL by `--database`), and waits until tiles and checkpoint are on disk, as
each real decision does.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from marketplace import db
from marketplace.audit import note, store, tree, verifier
from marketplace.audit.entry import Event, Plain, entry_bytes
from marketplace.audit.published import Log
from marketplace.audit.vault import Vault

THREADS = 32
"""Callers at once in the grouped run; a server's pool has 40."""
SUBJECTS = 100
WANTED_SINGLE, WANTED_GROUPED, WANTED_VERIFIED, WANTED_PROOF_SECONDS = 250, 1_000, 300_000, 0.05
"""What the lab promises on two cores."""


def main() -> int:
    """Measure and print the rows."""
    parser = argparse.ArgumentParser(prog="python -m marketplace.audit.bench")
    parser.add_argument("--entries", type=int, default=1_000_000, help="in the large log")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run of decisions")
    parser.add_argument("--database", default="", help="URL of an empty one, which is filled")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [*_decisions(Path(folder), given.seconds, given.database)]
        if given.entries:
            rows += _large(Path(folder), given.entries)
    json.dump(rows, sys.stdout, indent=1)
    return 0


def _open(folder: Path, url: str) -> tuple[db.Database, Log]:
    folder.mkdir()
    database = db.open_database(url or f"sqlite:///{folder / 'marketplace.db'}")
    with database.reading() as connection:
        if store.size(connection):
            raise SystemExit("The bench fills an empty database only; this one holds a log.")
    store.use_vault(database, Vault(folder / "keys"))
    log = Log(database, folder / "log", note.open_keys(folder / "keys"), _now)
    database.publisher = log
    return database, log


def _now() -> datetime:
    return datetime.now(UTC)


def _decide(database: db.Database, number: int) -> None:
    facts: dict[str, Plain] = {"tenant": "demo-enterprise", "code": "BUDGET_EXHAUSTED"}
    bound = {"subject": f"user-{number % SUBJECTS}", "plan": "0" * 64, "purpose": "lending"}
    with database.writing() as connection:
        store.append(connection, Event.RESERVATION_DENIED, _now(), facts, bound)


def _call(database: db.Database, number: int, until: float) -> list[float]:
    """Decide until the end; return how long each decision took."""
    waits: list[float] = []
    while (began := time.perf_counter()) < until:
        _decide(database, number)
        waits.append(time.perf_counter() - began)
        number += 1
    return waits


def _decisions(folder: Path, seconds: float, url: str) -> Iterator[dict[str, Any]]:
    database, log = _open(folder / "decisions", url)
    for number in range(SUBJECTS):
        _decide(database, number)
    for name, threads, wanted in (
        ("single decisions", 1, WANTED_SINGLE),
        ("grouped entries", THREADS, WANTED_GROUPED),
    ):
        before, began = log.head.checkpoint.size, time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            calls = [pool.submit(_call, database, i, began + seconds) for i in range(threads)]
            waits = [wait for call in calls for wait in call.result()]
        rate = (log.head.checkpoint.size - before) / (time.perf_counter() - began)
        slow = statistics.quantiles(waits, n=100)[94]
        told = {"threads": threads, "p95_seconds": round(slow, 4)}
        yield _row(name, rate, wanted, "per second", database=database.engine.name, **told)
    database.close()


def _large(folder: Path, count: int) -> Iterator[dict[str, Any]]:
    home = folder / "large"
    home.mkdir()
    database = db.open_database(f"sqlite:///{home / 'marketplace.db'}")
    body: dict[str, Plain] = {"tenant": "demo-enterprise", "plan_commitment": "0" * 64}
    for start in range(0, count, 20_000):
        rows = []
        for index in range(start, min(count, start + 20_000)):
            data = entry_bytes(Event.RELEASE_RECORDED, "2026-11-01", {**body, "number": index})
            rows.append({"index": index, "bytes": data, "leaf_hash": tree.leaf_hash(data)})
        with database.writing() as connection:
            connection.execute(insert(db.entries), rows)
    signers = note.open_keys(home / "keys")
    log, taken = _timed(lambda: Log(database, home / "log", signers, _now))
    yield _row("integrated in batch", count / taken, count / 60, "entries per second", n=count)
    trust = verifier.Trust(log.key)
    receipts = [log.proof(i * count // 100).encode() for i in range(100)]
    times = [_timed(partial(verifier.verify_receipt, r, trust))[1] for r in receipts]
    proof = statistics.quantiles(times, n=100)[94]
    yield _row("receipt checked offline, p95", proof, WANTED_PROOF_SECONDS, "s", n=count)
    source = verifier.Directory(home / "log")
    _, taken = _timed(lambda: verifier.verify_log(source, trust))
    yield _row("full verification", count / taken, WANTED_VERIFIED, "entries per second", n=count)
    database.close()


def _timed(act: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return act(), time.perf_counter() - began


def _row(name: str, ours: float, wanted: float, unit: str, **detail: object) -> dict[str, Any]:
    return {
        "name": name,
        "ours": ours,
        "reference": wanted,
        "ratio": ours / wanted,
        "unit": unit,
        "detail": {**detail, "reference": "what the lab promises on two cores"},
    }


if __name__ == "__main__":
    sys.exit(main())
