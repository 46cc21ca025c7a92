"""Delivered files as Parquet: CSV is taken apart line by line, so that no line can touch another.

A quote that is never closed must not swallow the rows of other units, and one undecodable line must
not change how the rest of the file is read (soundness D.26): the encoding is given, not guessed; a
record is one line; a line that is no record is quarantined alone.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sandbox.lake.errors import LakeError
from sandbox.lake.unreadable import is_readable, write_readable

MAX_COLUMNS = 2_000
MAX_LINE_BYTES = 1_000_000
_CHUNK_BYTES = 16_000_000

SIMPLE_TYPES = frozenset(
    {
        *("VARCHAR", "BOOLEAN", "FLOAT", "DOUBLE", "DATE", "UUID"),
        *("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS"),
        *("TINYINT", "SMALLINT", "INTEGER", "BIGINT"),
        *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    }
)
"""DuckDB's types, beside DECIMAL, that are read. Of others, such as nested ones and times of day,
it is not known that no row's value can stop the others from being read."""

_Bytes = npt.NDArray[np.uint8]
_Places = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]


class Encoding(StrEnum):
    """Encodings of delivered CSV files."""

    UTF_8 = "utf-8"
    GB18030 = "gb18030"


@dataclass(frozen=True, slots=True)
class Source:
    """One delivered file, readable as Parquet."""

    name: str
    path: Path
    columns: dict[str, str]
    """DuckDB types by lower-case column name, in the file's order."""
    malformed: tuple[int, ...] = ()
    """Lines that are no records, the header being 1; of Parquet, unreadable rows, from 1."""

    def is_simple(self, column: str) -> bool:
        """Whether a column holds single values, which are all that is read."""
        type_ = self.columns[column]
        return type_ in SIMPLE_TYPES or type_.startswith("DECIMAL(")


def open_source(
    connection: duckdb.DuckDBPyConnection, path: Path, encoding: Encoding, folder: Path, number: int
) -> Source:
    """Return a delivered Parquet or CSV file as a source; `folder` takes what is rewritten."""
    if not path.is_file():
        raise LakeError(f"{path} is no file. Give the delivered Parquet or CSV files.")
    target = folder / f"source-{number:04d}.parquet"
    match path.suffix.lower():
        case ".parquet":
            columns = _columns(connection, path)
            try:
                if is_readable(path, columns):
                    return Source(path.name, path, columns)
                left_out = write_readable(path, target, columns)
            except (pa.ArrowException, OSError) as error:
                raise LakeError(_unreadable(path.name, "Parquet")) from error
            return Source(path.name, target, columns, left_out)
        case ".csv":
            malformed = _rewrite(connection, path, encoding, target)
            return Source(path.name, target, _columns(connection, target), malformed)
    raise LakeError(f"{path.name} is neither .parquet nor .csv. Convert it first.")


def _columns(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    try:
        rows = connection.execute(
            "DESCRIBE SELECT * FROM read_parquet($path)", {"path": str(path)}
        ).fetchall()
    except duckdb.Error as error:
        raise LakeError(_unreadable(path.name, "Parquet")) from error
    columns = {str(row[0]).lower(): str(row[1]) for row in rows}
    if len(columns) != len(rows) or len(rows) > MAX_COLUMNS:
        raise LakeError(
            f"{path.name} has {len(rows)} columns, {len(columns)} of them named differently; "
            f"give at most {MAX_COLUMNS}, each with its own name whatever the case."
        )
    return columns


def _unreadable(name: str, form: str) -> str:
    return f"{name} cannot be read as {form}. Deliver it again."


def _rewrite(
    connection: duckdb.DuckDBPyConnection, path: Path, encoding: Encoding, target: Path
) -> tuple[int, ...]:
    """Write a CSV file's records as Parquet of texts; return the lines that are none."""
    clean = target.with_suffix(".csv")
    with path.open("rb") as file, clean.open("wb") as output:
        names = _header(file.readline(MAX_LINE_BYTES), encoding, path.name)
        lines = _Lines(encoding)
        for text in lines.records(file):
            output.write(text)
    quoted = ", ".join("'" + name.replace("'", "''") + "': 'VARCHAR'" for name in names)
    try:
        connection.execute(
            f"""
            COPY (SELECT * FROM read_csv($path, columns = {{{quoted}}}, header = false,
              auto_detect = false, delim = ',', quote = '"', escape = '"', new_line = '\\n',
              nullstr = '', null_padding = false, strict_mode = true, ignore_errors = true,
              store_rejects = true, rejects_limit = 0, max_line_size = {2 * MAX_LINE_BYTES}))
            TO $target (FORMAT parquet)
            """,
            {"path": str(clean), "target": str(target)},
        )
    except duckdb.Error as error:
        raise LakeError(_unreadable(path.name, "CSV")) from error
    finally:
        clean.unlink()
    rejected = connection.execute("SELECT DISTINCT line FROM reject_errors ORDER BY 1").fetchall()
    connection.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")
    with pq.ParquetFile(target) as written:
        read = written.metadata.num_rows + len(rejected)
    if read != lines.passed:
        # Then a line has touched another: better no delivery than one that tells of a unit.
        raise LakeError(
            f"Of {lines.passed} records of {path.name}, {read} were read, so records are not kept "
            "apart. Nothing was stored. Deliver the file as Parquet, and report this."
        )
    return tuple(sorted([*lines.malformed, *(lines.original(line) for (line,) in rejected)]))


def _header(line: bytes, encoding: Encoding, name: str) -> list[str]:
    try:
        text = line.removeprefix(codecs.BOM_UTF8).decode(encoding)
    except UnicodeDecodeError as error:
        raise LakeError(f"The header of {name} is not {encoding}. Give --encoding.") from error
    names = [column.strip().lower() for column in next(csv.reader(io.StringIO(text)), [])]
    if not line.endswith(b"\n") or not all(names) or len(set(names)) != len(names):
        raise LakeError(f"{name} has no header with different names in its first line. Add one.")
    if len(names) > MAX_COLUMNS:
        raise LakeError(f"{name} has {len(names)} columns; at most {MAX_COLUMNS} are read.")
    return names


class _Lines:
    """Passes on the lines that can be records, as UTF-8, and remembers the numbers of the rest."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._line = 1  # the header
        self._dropped = [1]
        self.malformed: list[int] = []
        self.passed = 0
        """Lines passed on as records."""

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the records of an open file, many at a time."""
        rest, overlong = b"", False
        while chunk := file.read(_CHUNK_BYTES):
            end = chunk.rfind(b"\n") + 1
            if not end:
                overlong = overlong or len(rest) + len(chunk) > MAX_LINE_BYTES
                rest = b"" if overlong else rest + chunk
                continue
            if overlong:  # the end of a line whose beginning was thrown away
                self._drop(self._line + 1)
                self._line += 1
                start = chunk.find(b"\n") + 1
                yield self._checked(chunk[start:end])
            else:
                yield self._checked(rest + chunk[:end])
            rest, overlong = chunk[end:], False
        if overlong:
            self._drop(self._line + 1)
        elif rest:
            yield self._checked(rest + b"\n")

    def original(self, record: int) -> int:
        """Return the line of the file that became this record, counted from 1."""
        for dropped in self._dropped:
            if dropped > record:
                break
            record += 1
        return record

    def _checked(self, chunk: bytes) -> bytes:
        """Return the lines of a chunk that are whole records by themselves, decoded."""
        if not chunk:
            return b""
        data = np.frombuffer(chunk, dtype=np.uint8)
        ends = np.flatnonzero(data == ord("\n")) + 1
        starts = np.concatenate(([0], ends[:-1]))
        returns = np.flatnonzero(data == ord("\r"))
        closing = returns[data[returns + 1] == ord("\n")]  # a chunk ends with a line feed
        strange = np.concatenate((np.flatnonzero(data == 0), np.setdiff1d(returns, closing)))
        bad = _misquoted(data, starts, ends) | (ends - starts > MAX_LINE_BYTES)
        bad[np.searchsorted(ends, strange, side="right")] = True
        length = ends - starts
        blank = (length == 1) | ((length == len(b"\r\n")) & (data[starts] == ord("\r")))
        keep = ~bad & ~blank
        passed = np.repeat(keep, ends - starts)
        passed[closing] = False
        try:
            text: str = data[passed].tobytes().decode(self._encoding)
        except UnicodeDecodeError:
            text, bad, keep = self._line_by_line(data, starts, ends, bad, keep)
        numbers = self._line + 1 + np.flatnonzero(~keep)
        self._dropped.extend(numbers.tolist())
        self.malformed.extend((self._line + 1 + np.flatnonzero(bad)).tolist())
        self._line += len(ends)
        self.passed += int(keep.sum())
        return text.encode()

    def _line_by_line(
        self, data: _Bytes, starts: _Places, ends: _Places, bad: _Mask, keep: _Mask
    ) -> tuple[str, _Mask, _Mask]:
        """Decode each line alone, so that one that cannot be decoded changes no other."""
        texts = []
        for line in np.flatnonzero(keep).tolist():
            try:
                text = data[starts[line] : ends[line]].tobytes().decode(self._encoding)
                texts.append(text.replace("\r", ""))
            except UnicodeDecodeError:
                bad[line], keep[line] = True, False
        return "".join(texts), bad, keep

    def _drop(self, line: int) -> None:
        self._dropped.append(line)
        self.malformed.append(line)


def _misquoted(data: _Bytes, starts: _Places, ends: _Places) -> _Mask:
    """Return which lines break RFC 4180 (section 2, rules 5 to 7) taken by themselves.

    Quotes of a line open and close fields by turns; a doubled quote closes and opens at once. One
    that opens follows a comma or begins the line, one that closes precedes a comma or ends it, and
    all that are opened are closed. No encoding read here has a quote, comma or line end inside
    another character.
    """
    quotes = np.flatnonzero(data == ord('"'))
    line = np.searchsorted(ends, quotes, side="right")
    first = np.searchsorted(quotes, starts)  # for each line, how many quotes precede it
    opens = (np.arange(len(quotes)) - first[line]) % 2 == 0
    before = np.where(quotes == starts[line], ord(","), data[quotes - 1])
    after = data[quotes + 1]  # a chunk ends with a line feed
    ends_line = (after == ord("\n")) | ((after == ord("\r")) & (quotes + 3 == ends[line]))
    fits = np.where(
        opens,
        (before == ord(",")) | (before == ord('"')),
        (after == ord(",")) | (after == ord('"')) | ends_line,
    )
    bad: _Mask = (np.searchsorted(quotes, ends) - first) % 2 == 1
    bad[line[~fits]] = True
    return bad
