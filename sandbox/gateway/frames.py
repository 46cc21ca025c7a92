"""Rows that a client sends with its plan (`createDataFrame`): public, small, and read with care.

The bytes are Arrow's stream format from an untrusted sender. Types are checked before any row is
read, compressed bodies are refused (a few bytes could become gigabytes), and the buffers are
validated in full before use.
"""

import datetime as dt
import hashlib
import json
import re
import struct
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.gateway.decode_expr import TYPE_NAMES
from sandbox.gateway.fields import check_text
from sandbox.gateway.sql_tree import check_name
from sandbox.gateway.wire import too_large

MAX_FRAME_BYTES: Final = 8 << 20
MAX_FRAME_ROWS: Final = 200_000
MAX_FRAME_COLUMNS: Final = 200

ARROW_TYPES: Final = {
    DataType.BOOLEAN: pa.bool_(),
    DataType.INTEGER: pa.int32(),
    DataType.LONG: pa.int64(),
    DataType.DOUBLE: pa.float64(),
    DataType.STRING: pa.string(),
    DataType.DATE: pa.date32(),
    DataType.NULL: pa.null(),
}
"""How each type travels."""

_COLUMN_TYPES: Final = {
    pa.bool_(): DataType.BOOLEAN,
    pa.int8(): DataType.INTEGER,
    pa.int16(): DataType.INTEGER,
    pa.int32(): DataType.INTEGER,
    pa.int64(): DataType.LONG,
    pa.float32(): DataType.DOUBLE,
    pa.float64(): DataType.DOUBLE,
    pa.string(): DataType.STRING,
    pa.large_string(): DataType.STRING,
    pa.date32(): DataType.DATE,
}
_SPARK_NAMES: Final = {
    "boolean": DataType.BOOLEAN,
    "byte": DataType.INTEGER,
    "short": DataType.INTEGER,
    "integer": DataType.INTEGER,
    "long": DataType.LONG,
    "float": DataType.DOUBLE,
    "double": DataType.DOUBLE,
    "string": DataType.STRING,
    "date": DataType.DATE,
}
"""Types as Spark's JSON schemas name them."""

_EPOCH: Final = dt.date(1970, 1, 1)
_FIRST_DAY: Final = (dt.date.min - _EPOCH).days
_LAST_DAY: Final = (dt.date.max - _EPOCH).days
_MAX_SCHEMA_TEXT: Final = 100_000
_DDL_COLUMN: Final = re.compile(
    r"(?:`(?P<quoted>[^`,]+)`|(?P<bare>\w+))\s*[:\s]\s*(?P<type>[A-Za-z]+)(?:\s+not\s+null)?",
    re.IGNORECASE,
)
_CONTINUATION: Final = 0xFFFFFFFF
_RECORD_BATCH: Final = 3
"""Position of record batches in Arrow's union of message headers (format/Message.fbs)."""
_COMPRESSION_SLOT: Final = 3
"""Position of `compression` among the fields of a record batch."""


@dataclass(frozen=True, slots=True)
class ReadFrame:
    """Checked rows under the digest of their canonical bytes."""

    digest: str
    fields: tuple[tuple[str, DataType], ...]
    table: pa.Table


def read_frame(data: bytes | None, schema: str | None) -> ReadFrame:
    """Return a client's rows with the lab's types; `schema` (JSON) wins over the data's own."""
    columns = None if schema is None else _read_schema(schema)
    if data is None:
        if columns is None:
            _refuse_bytes()
        empty = pa.schema([(name, ARROW_TYPES[type_]) for name, type_ in columns]).empty_table()
        return _complete(empty, columns)
    if len(data) > MAX_FRAME_BYTES:
        raise too_large(
            f"data frames of at most {MAX_FRAME_BYTES >> 20} MiB",
            f"数据框至多 {MAX_FRAME_BYTES >> 20} MiB",
        )
    table = _read_table(data)
    if columns is None:
        columns = tuple((f.name, _column_type(f.name, f.type)) for f in table.schema)
    if len(columns) != table.num_columns:
        _refuse_bytes()
    for name, _ in columns:
        check_name(check_text(name))
    try:
        arrays = [
            column.cast(ARROW_TYPES[type_])
            for column, (_, type_) in zip(table.columns, columns, strict=True)
        ]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        _refuse_bytes()
    return _complete(_table(arrays, [name for name, _ in columns], table.num_rows), columns)


def read_ddl(text: str) -> tuple[tuple[str, DataType], ...]:
    """Return the columns of a schema written as `name type, name type, …`."""
    if len(text) > _MAX_SCHEMA_TEXT:
        raise _long_schema()
    columns = []
    for part in text.split(","):
        match = _DDL_COLUMN.fullmatch(part.strip())
        if match is None:
            _refuse_schema()
        name = match["quoted"] or match["bare"]
        type_ = TYPE_NAMES.get(match["type"].lower())
        if type_ is None or type_ is DataType.NULL:
            raise _bad_type(check_text(name), match["type"])
        columns.append((check_name(check_text(name)), type_))
    if len(columns) > MAX_FRAME_COLUMNS:
        raise _too_many()
    return tuple(columns)


def _table(arrays: list[Any], names: list[str], rows: int) -> pa.Table:
    if arrays:
        return pa.Table.from_arrays(arrays, names=names)
    return pa.table({"row": pa.nulls(rows)}).select([])


def _complete(table: pa.Table, columns: tuple[tuple[str, DataType], ...]) -> ReadFrame:
    names = [name for name, _ in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Refusal(
            "AMBIGUOUS_COLUMN",
            f"The data frame has {len(columns)} columns, and `{twice[0]}` names more than one. "
            "Rename them before createDataFrame.",
            f"数据框有 {len(columns)} 列，其中 `{twice[0]}` 不止一列。请改名后再 createDataFrame。",
        )
    table = table.combine_chunks()
    digest = hashlib.sha256()
    digest.update(json.dumps([[name, type_] for name, type_ in columns]).encode())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    digest.update(sink.getvalue())
    return ReadFrame(digest.hexdigest(), columns, table)


def _read_table(data: bytes) -> pa.Table:
    if _has_compressed_batch(data):
        _refuse_bytes()
    try:
        with pa.ipc.open_stream(data) as reader:
            if len(reader.schema) > MAX_FRAME_COLUMNS:
                raise _too_many()
            for each in reader.schema:
                _column_type(each.name, each.type)
            batches, rows = [], 0
            for batch in reader:
                rows += batch.num_rows
                if rows > MAX_FRAME_ROWS:
                    raise _too_many()
                batch.validate(full=True)
                _check_dates(batch)
                batches.append(batch)
            return pa.Table.from_batches(batches, reader.schema)
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError, MemoryError):
        _refuse_bytes()


def _check_dates(batch: pa.RecordBatch) -> None:
    """Refuse days that are no dates to Python, and to SQL in one engine only."""
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.type == pa.date32():
            ends = pc.min_max(column.cast(pa.int32())).as_py()
            if ends["min"] is not None and (ends["min"] < _FIRST_DAY or ends["max"] > _LAST_DAY):
                raise _bad_dates(field.name)


def _column_type(name: str, type_: Any) -> DataType:  # noqa: ANN401  # an Arrow type
    found = _COLUMN_TYPES.get(type_)
    if found is None:
        raise _bad_type(name, str(type_)[:60])
    return found


def _read_schema(text: str) -> tuple[tuple[str, DataType], ...]:
    """Return the columns of a schema as Spark's `StructType.json()` writes it."""
    if len(text) > _MAX_SCHEMA_TEXT:
        raise _long_schema()
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        _refuse_schema()
    if not isinstance(parsed, dict) or parsed.keys() != {"type", "fields"}:
        _refuse_schema()
    if parsed["type"] != "struct" or not isinstance(parsed["fields"], list):
        _refuse_schema()
    if len(parsed["fields"]) > MAX_FRAME_COLUMNS:
        raise _too_many()
    return tuple(_read_field(each) for each in parsed["fields"])


def _read_field(field: Any) -> tuple[str, DataType]:  # noqa: ANN401  # JSON
    if not isinstance(field, dict) or field.keys() != {"name", "type", "nullable", "metadata"}:
        _refuse_schema()
    name, type_ = field["name"], field["type"]
    if not isinstance(name, str) or field["metadata"] not in ({}, None):
        _refuse_schema()
    found = _SPARK_NAMES.get(type_) if isinstance(type_, str) else None
    if found is None:
        raise _bad_type(name, str(type_)[:60])
    return check_name(check_text(name)), found


def _has_compressed_batch(data: bytes) -> bool:
    """Return whether a message of the stream says that its body is compressed.

    Reads Arrow's framing (length, flatbuffer, padded body) just far enough to see the field, and
    answers True for framing that it cannot follow.
    """
    position = 0
    try:
        while position < len(data):
            (length,) = struct.unpack_from("<I", data, position)
            position += 4
            if length == _CONTINUATION:
                (length,) = struct.unpack_from("<I", data, position)
                position += 4
            if length == 0:
                return False
            message = _Flat(data, position, position + length)
            is_batch = message.number(1, "<B") == _RECORD_BATCH
            if is_batch and message.table(2).offset(_COMPRESSION_SLOT):
                return True
            body = message.number(3, "<q")
            if body < 0:
                return True
            position += length + body
    except (struct.error, IndexError):
        return True
    return False


class _Flat:
    """One table of a flatbuffer, enough of the format to find a field by its position."""

    def __init__(self, data: bytes, start: int, end: int, at: int | None = None) -> None:
        self._data, self._end = data, end
        self._at = start + struct.unpack_from("<I", data, start)[0] if at is None else at
        self._vtable = self._at - struct.unpack_from("<i", data, self._check(self._at))[0]
        self._size = struct.unpack_from("<H", data, self._check(self._vtable))[0]

    def offset(self, slot: int) -> int:
        """Return where a field lies, or 0 where it is left out."""
        place = 4 + 2 * slot
        if place + 2 > self._size:
            return 0
        relative = struct.unpack_from("<H", self._data, self._check(self._vtable + place))[0]
        return self._at + relative if relative else 0

    def number(self, slot: int, layout: str) -> int:
        """Return a number, 0 where it is left out."""
        at = self.offset(slot)
        return int(struct.unpack_from(layout, self._data, self._check(at))[0]) if at else 0

    def table(self, slot: int) -> "_Flat":
        """Return a table that this one refers to."""
        at = self._check(self.offset(slot))
        target = at + struct.unpack_from("<I", self._data, at)[0]
        return _Flat(self._data, 0, self._end, self._check(target))

    def _check(self, at: int) -> int:
        if not 0 < at < self._end:
            raise IndexError
        return at


def _refuse_bytes() -> NoReturn:
    raise Refusal(
        "UNSUPPORTED",
        "The rows of createDataFrame are not a plain Arrow stream with the columns of the schema.",
        "createDataFrame 的数据不是与模式一致的普通 Arrow 流。",
    )


def _refuse_schema() -> NoReturn:
    raise Refusal(
        "UNSUPPORTED",
        "The schema of createDataFrame is not a plain list of columns.",
        "createDataFrame 的模式不是普通的列清单。",
    )


def _bad_type(name: str, type_: str) -> Refusal:
    return Refusal(
        "UNSUPPORTED",
        f"Column `{check_text(name)}` of createDataFrame has type {type_}. Use boolean, int, "
        "bigint, double, string or date.",
        f"createDataFrame 的列 `{name}` 类型为 {type_}。请使用 boolean、int、bigint、"
        "double、string 或 date。",
    )


def _bad_dates(name: str) -> Refusal:
    return Refusal(
        "UNSUPPORTED",
        f"Column `{check_text(name)}` of createDataFrame holds dates outside the years 1 to 9999.",
        f"createDataFrame 的列 `{name}` 含有公元 1 年至 9999 年之外的日期。",
    )


def _long_schema() -> Refusal:
    return too_large(
        f"schemas of {_MAX_SCHEMA_TEXT} characters", f"模式至多 {_MAX_SCHEMA_TEXT} 字符"
    )


def _too_many() -> Refusal:
    return too_large(
        f"data frames of at most {MAX_FRAME_ROWS} rows and {MAX_FRAME_COLUMNS} columns",
        f"数据框至多 {MAX_FRAME_ROWS} 行、{MAX_FRAME_COLUMNS} 列",
    )
