"""One locked DuckDB database per process: views of table versions, frames, bounded concurrency.

It opens no file but the ones below the directories it was given, loads no extension, and its
configuration cannot be changed by any statement.
"""

import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from sandbox.engine.memo import Memo
from sandbox.engine.run import EngineFailure, RunCancelled, TableSource, TooNested, watched
from sandbox.engine.turns import Turn, Turns

BATCH_ROWS = 2_048
"""Rows fetched at once where an answer's size is limited: as many as DuckDB computes at once, so
that no batch is much larger than the limit."""

_SAFE = re.compile(r"[a-z0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the embedded engine may use."""

    memory: str = "2GB"
    threads: int | None = None
    """None leaves it to DuckDB: all cores."""
    concurrent: int = 4
    """Questions that run at once; others wait."""
    each: int | None = None
    """How many of them are of one asker; None: all may be."""
    remembered: int = 64_000_000
    """Bytes of answers about frozen public tables that are kept for later questions."""


class AnswerTooLarge(Exception):  # noqa: N818 - a limit that its caller words
    """Rows that were not fetched to the end: more bytes than the caller wanted."""


class Database:
    """The embedded database behind `DuckDbEngine` and `PublicEngine`. Safe to share."""

    def __init__(
        self, directories: tuple[Path, ...], scratch: Path, limits: Limits | None = None
    ) -> None:
        """Open it: `directories` hold the decrypted files, `scratch` what spills from memory."""
        limits = limits or Limits()
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._connection = duckdb.connect(":memory:")
        allowed = [f"{d.resolve()}/" for d in directories]
        settings: dict[str, object] = {
            "memory_limit": limits.memory,
            "temp_directory": str(scratch.resolve()),
            "allowed_directories": allowed,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
            "error_on_division_by_zero": False,
            "ieee_floating_point_ops": True,
            "parquet_metadata_cache": True,
        }
        if limits.threads is not None:
            settings["threads"] = limits.threads
        settings["enable_external_access"] = False
        settings["lock_configuration"] = True
        for name, value in settings.items():
            self._connection.execute(f"SET {name} = {_literal(value)}")
        self._turns = Turns(limits.concurrent, limits.each or limits.concurrent)
        self._lock = threading.Lock()
        self._views: set[str] = set()
        self.remembered = Memo(limits.remembered)
        """Answers about frozen public tables, kept for every later question."""

    def close(self) -> None:
        """Release memory and scratch files."""
        self._connection.close()

    def view(self, source: TableSource) -> str:
        """Return the name of a view of this table version, made once."""
        name = source.view
        with self._lock:
            if name not in self._views:
                files = _literal([str(f.resolve()) for f in source.files])
                self._execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({files})")
                self._views.add(name)
        return name

    def query(
        self,
        statements: tuple[str, ...],
        frames: Mapping[str, pa.Table],
        turn: Turn | None = None,
        most_bytes: int | None = None,
    ) -> list[pa.Table]:
        """Run SELECT statements over views and `frames` (by `frame_name`); errors tell nothing.

        Raises `RunCancelled` when the turn is over, `AnswerTooLarge` above `most_bytes` of a table.
        """
        turn = turn or Turn()
        with self._turns.place(turn):
            cursor = self._connection.cursor()
            try:
                for name, table in frames.items():
                    cursor.register(name, table)
                with watched(turn.over, cursor.interrupt) as stopped:
                    return [_run(cursor, s, stopped, most_bytes) for s in statements]
            except duckdb.Error:
                raise EngineFailure from None
            finally:
                cursor.close()

    def _execute(self, statement: str) -> None:
        try:
            self._connection.cursor().execute(statement)
        except duckdb.Error:
            raise EngineFailure from None


def frame_name(digest: str) -> str:
    """Return our own name for the rows kept under `digest`."""
    if _SAFE.fullmatch(digest) is None:
        digest = hashlib.sha256(digest.encode()).hexdigest()
    return f"f{digest}"


def positional(table: pa.Table) -> pa.Table:
    """Return the same rows with columns named `f0`, `f1`, … by position."""
    return table.rename_columns([f"f{i}" for i in range(table.num_columns)])


def _run(
    cursor: duckdb.DuckDBPyConnection,
    statement: str,
    stopped: threading.Event,
    most_bytes: int | None,
) -> pa.Table:
    try:
        if stopped.is_set():
            raise RunCancelled
        if most_bytes is None:
            return cursor.sql(statement).to_arrow_table()
        return _fetched(cursor.sql(statement).to_arrow_reader(BATCH_ROWS), most_bytes)
    except duckdb.ParserException:
        raise TooNested from None
    except (duckdb.Error, pa.ArrowException, OSError, MemoryError):
        if stopped.is_set():
            raise RunCancelled from None
        raise EngineFailure from None


def _fetched(reader: pa.RecordBatchReader, most_bytes: int) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    held = 0
    for batch in reader:
        held += batch.nbytes
        if held > most_bytes:
            reader.close()
            raise AnswerTooLarge
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _literal(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case list():
            return "[" + ", ".join(_literal(v) for v in value) + "]"
        case _:
            return "'" + str(value).replace("'", "''") + "'"
