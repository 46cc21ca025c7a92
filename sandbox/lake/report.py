"""What the provider learns about a delivery: which rows were not stored, why, and in figures.

Only the provider may see it: it says how many rows there are and which fail. It is sealed like the
table itself and never read by the gateway.
"""

import json
from pathlib import Path
from typing import Any

import duckdb

from sandbox.lake.layout import Laid
from sandbox.lake.reading import Source
from sandbox.lake.rows import quote
from sandbox.lake.terms import Contract, Disposition

MALFORMED = "no readable record"


def note_faults(connection: duckdb.DuckDBPyConnection, queries: list[str]) -> list[str]:
    """Fill `notes(file, row, reason)` and `clamps(n)`; return SQL of each file's bad rows."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE notes (file INTEGER, row BIGINT, reason VARCHAR);"
        "CREATE OR REPLACE TEMP TABLE clamps (n BIGINT)"
    )
    bad = []
    for number, query in enumerate(queries):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE faults AS {query}")
        connection.execute(
            f"INSERT INTO notes SELECT {number}, unnest(rows), reason FROM faults "
            "WHERE reason IS NOT NULL"
        )
        connection.execute("INSERT INTO clamps SELECT clamped FROM faults WHERE reason IS NULL")
        some = _one(connection, f"SELECT count(*) FROM notes WHERE file = {number}")
        bad.append(f"SELECT row FROM notes WHERE file = {number}" if some else "")
    return bad


def write_quarantine(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    sources: list[Source],
    earlier: Path | None,
    path: Path,
) -> None:
    """Write the rows that are not stored as they were delivered, without fields of grade G4."""
    parts = [f"SELECT * FROM '{_text(earlier)}'"] if earlier else []
    for number, source in enumerate(sources):
        shown = [
            f
            for f in contract.fields
            if f.disposition is Disposition.KEEP and f.source in source.columns
        ]
        values = "".join(f", {quote(f.source)}::VARCHAR AS {quote(f.name)}" for f in shown)
        name = source.name.replace("'", "''")
        scan = f"read_parquet('{_text(source.path)}', file_row_number = true)"
        parts.append(
            f"SELECT '{name}' AS file, n.row AS row, n.reason AS reason{values} FROM {scan} AS d "
            f"JOIN notes AS n ON n.file = {number} AND n.row = d.file_row_number + 1"
        )
        lines = ", ".join(map(str, source.malformed))
        parts.append(
            f"SELECT '{name}' AS file, unnest([{lines}]::BIGINT[]) AS row, '{MALFORMED}' AS reason"
        )
    connection.execute(
        f"COPY ({' UNION ALL BY NAME '.join(parts)}) TO '{_text(path)}' (FORMAT parquet)"
    )


def figures(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    sources: list[Source],
    laid: Laid,
    earlier: dict[str, Any],
) -> dict[str, Any]:
    """Return the figures of a version; raise unless rows in = stored + quarantined."""
    scans = [f"SELECT count(*) FROM read_parquet('{_text(s.path)}')" for s in sources]
    rows = sum(_one(connection, scan) for scan in scans) + sum(len(s.malformed) for s in sources)
    rows += earlier.get("rows_in", 0)
    reasons = dict(earlier.get("quarantined", {}))
    reasons.pop("duplicate key", None)
    counted = "SELECT reason, count(*) FROM notes GROUP BY reason ORDER BY reason"
    for reason, count in connection.execute(counted).fetchall():
        reasons[reason] = reasons.get(reason, 0) + count
    if malformed := sum(len(s.malformed) for s in sources):
        reasons[MALFORMED] = reasons.get(MALFORMED, 0) + malformed
    if laid.displaced_rows:
        reasons["duplicate key"] = laid.displaced_rows
    if rows != laid.stored_rows + sum(reasons.values()):
        raise AssertionError("rows in are not stored + quarantined: ingest lost or made rows")
    report: dict[str, Any] = {
        "rows_in": rows,
        "stored": laid.stored_rows,
        "quarantined": reasons,
        "clamped_rows": earlier.get("clamped_rows", 0)
        + _one(connection, "SELECT coalesce(sum(n), 0) FROM clamps"),
    }
    if contract.unit and laid.stored_rows:
        stored = f"read_parquet({[str(f) for f in laid.files]})"
        report["rows_over_cap"] = _one(
            connection, f"SELECT count(*) FROM {stored} WHERE __rank > {contract.unit.max_rows}"
        )
        report["shared_between_units"] = {
            f.name: _one(
                connection,
                f"SELECT count(*) FROM (SELECT 1 FROM {stored} GROUP BY {quote(f.name)} "
                "HAVING count(DISTINCT __unit) > 1)",
            )
            for f in contract.stored
            if f.unique and f.name != contract.unit.column
        }
    return report


def read_report(data: bytes) -> dict[str, Any]:
    """Return the figures in a report's bytes."""
    content: dict[str, Any] = json.loads(data)
    return content


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    if row is None:
        raise AssertionError("a count always has one row")
    return int(row[0])


def _text(path: Path) -> str:
    return str(path).replace("'", "''")
