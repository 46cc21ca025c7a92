"""Is anything missing? Reads of the lake beside reservations, releases, ingests and break-glass.

    python -m marketplace.audit.reconcile --home DIR [--lake FILE] [--json]

`FILE` is what `python -m sandbox.lake tables --json` says of the lake's manifests (`lab audit
reconcile` makes it). The tree proves that nothing logged was changed; it cannot prove that all that
happened was logged. This report closes what can be closed and names what cannot.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from marketplace import db
from marketplace.audit.entry import Event
from marketplace.dialects import DatabaseRefusedError
from marketplace.releases.model import State
from marketplace.settings import Settings

OPEN_HOURS = 1
"""After so long an open reservation counts as a read that left no answer."""

INGEST, BREAK_GLASS = "ingest:", "break-glass:"
"""How events of these kinds begin; their facts name `table` and `version`."""

UNKNOWABLE = (
    (
        (
            "Whoever holds the account that runs the lab, or a backup with its keys, can read the "
            "lake outside of the lab; local files keep no record of who read them."
        ),
        "持有运行账户或含密钥备份者可在实验室之外读取数据湖；本地文件不记录读取者。",
    ),
    (
        (
            "An S3-compatible store has an access log of its own. Compare it by hand: this report "
            "does not see it."
        ),
        "S3 兼容存储有自己的访问日志，请人工核对，本报告不含该日志。",
    ),
    (
        (
            "How often an engine read a table for one reservation is not recorded; a reservation "
            "stands for all reads of its question."
        ),
        "一次预留对应该问题的全部读取，引擎的读取次数不另行记录。",
    ),
    (
        "Only the current manifests of the lake are compared; versions before them are gone.",
        "仅核对数据湖当前清单，更早版本已不存在。",
    ),
)
"""Where completeness cannot be known, in English and Chinese."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared, what does not match, and what cannot be known."""

    reservations: dict[str, int]
    """How many by state."""
    reads_without_release: tuple[str, ...]
    """Reservations after which data may have been read and nothing was released."""
    versions_read: dict[str, list[str]]
    """Table to the versions that releases name."""
    break_glass: int
    findings: tuple[str, ...]
    unknowable: tuple[tuple[str, str], ...] = field(default=UNKNOWABLE)


def reconcile(
    connection: Connection, lake: Mapping[str, Mapping[str, Any]] | None, now: datetime
) -> Report:
    """Return the report over one state of the database; `lake` is table to its manifest."""
    held = connection.execute(
        select(db.reservations.c.id, db.reservations.c.state, db.reservations.c.created)
    ).all()
    released = connection.execute(select(db.releases.c.id, db.releases.c.tables)).all()
    events = _events(connection)
    states: dict[str, int] = defaultdict(int)
    for row in held:
        states[row.state] += 1
    versions: dict[str, set[str]] = defaultdict(set)
    for one in released:
        for table, version in json.loads(one.tables).items():
            versions[table].add(version)
    late = (now - timedelta(hours=OPEN_HOURS)).isoformat(timespec="milliseconds")
    silent = [
        r.id
        for r in held
        if r.state == State.FAILED or (r.state == State.OPEN and r.created < late)
    ]
    findings = [*_unlogged(events, [r.id for r in held], [r.id for r in released])]
    if lake is not None:
        findings += _compare(lake, versions, events)
    return Report(
        dict(sorted(states.items())),
        tuple(sorted(silent)),
        {t: sorted(v) for t, v in sorted(versions.items())},
        sum(e["event"].startswith(BREAK_GLASS) for e in events),
        tuple(findings),
    )


def _events(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(select(db.entries.c.bytes).order_by(db.entries.c.index))
    return [json.loads(bytes(r[0])) for r in rows]


def _unlogged(
    events: Sequence[Mapping[str, Any]], held: Sequence[str], released: Sequence[str]
) -> Iterator[str]:
    """Yield rows that have no entry, and entries that have no row."""
    for event, fact, rows in (
        (Event.RESERVATION_MADE, "reservation", set(held)),
        (Event.RELEASE_RECORDED, "release", set(released)),
    ):
        logged = {e["facts"][fact] for e in events if e["event"] == event}
        yield from (f"{fact} {name}: no entry" for name in sorted(rows - logged))
        yield from (f"{fact} {name}: an entry and nothing else" for name in sorted(logged - rows))


def _compare(
    lake: Mapping[str, Mapping[str, Any]],
    versions: Mapping[str, set[str]],
    events: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    """Yield what the lake and the log say differently."""
    ingested = {
        (e["facts"].get("table"), e["facts"].get("version"))
        for e in events
        if e["event"].startswith(INGEST)
    }
    for table in sorted(set(versions) - set(lake)):
        yield f"table {table}: released from, and not in the lake"
    for table, manifest in sorted(lake.items()):
        if (table, manifest["version"]) not in ingested:
            yield f"table {table} version {manifest['version']}: in the lake, and no ingest entry"
        for version in sorted(versions.get(table, set()) - {manifest["version"]}):
            if (table, version) not in ingested:
                yield f"table {table} version {version}: released from, and no ingest entry"
    for table, version in sorted(ingested):
        if table not in lake:
            yield f"table {table} version {version}: an ingest entry, and not in the lake"


def main() -> int:
    """Print the report; 0 if nothing is missing, 1 if something is."""
    parser = argparse.ArgumentParser(prog="lab audit reconcile")
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("LAB_HOME") or ".lab"))
    parser.add_argument("--lake", type=Path, help="manifests, as `sandbox.lake tables --json` says")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    lake = json.loads(given.lake.read_text(encoding="utf-8")) if given.lake else None
    try:
        database = db.open_database(Settings.of(given.home, os.environ).database_url)
    except DatabaseRefusedError as error:
        sys.stderr.write(f"reconcile: {error}\n")
        return 1
    with database.reading() as connection:
        report = reconcile(connection, lake, datetime.now(UTC))
    database.close()
    if given.json:
        sys.stdout.write(json.dumps(asdict(report), ensure_ascii=False, indent=1) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(report, compared=lake is not None))
    return 1 if report.findings else 0


def _lines(report: Report, *, compared: bool) -> Iterator[str]:
    yield f"reservations: {report.reservations}"
    yield f"reads that left no release: {len(report.reads_without_release)}"
    yield from (f"  {name}" for name in report.reads_without_release)
    yield f"versions read: {report.versions_read}"
    yield f"break-glass: {report.break_glass}"
    yield "lake: compared" if compared else "lake: not compared (give --lake)"
    yield from (f"MISSING {finding}" for finding in report.findings)
    for en, zh in report.unknowable:
        yield f"CANNOT BE KNOWN {en}\n  无法知悉：{zh}"


if __name__ == "__main__":
    sys.exit(main())
