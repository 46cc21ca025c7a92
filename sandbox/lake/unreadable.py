"""Parquet rows with a value that the engine could not read: they are left out, and only they.

A reader that gives up on such a file would let one unit's row decide about all others (soundness
D.26). Two kinds of values are known to stop DuckDB: text that is not UTF-8, and a time in
milliseconds that does not fit its microseconds. Files without them, nearly all, are checked in one
scan of those columns and read as they are.
"""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_BATCH_ROWS = 64_000
_TEXT = "VARCHAR"
_TIMES = ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE")
_LEAST, _LARGEST = (
    int(dt.datetime(*day, tzinfo=dt.UTC).timestamp() * 1000) for day in ((1, 1, 1), (9999, 12, 31))
)

_Mask = npt.NDArray[np.bool_]


def is_readable(path: Path, types: Mapping[str, str]) -> bool:
    """Whether every row of a file can be read.

    `types` are DuckDB's, by lower-case column name: it decides what is text, not the file's writer.
    Raises `pyarrow.ArrowException` or `OSError` if it is no Parquet file.
    """
    with pq.ParquetFile(path) as file:
        fields = [f for f in file.schema_arrow if _is_checked(f, types)]
        names = [f.name for f in fields]
        if any(pa.types.is_dictionary(f.type) for f in fields):
            return False  # an entry that no row uses would stop the engine too
        return all(
            _readable(column).all()
            for batch in (file.iter_batches(_BATCH_ROWS, columns=names) if names else ())
            for column in batch.columns
        )


def write_readable(path: Path, target: Path, types: Mapping[str, str]) -> tuple[int, ...]:
    """Write a file's readable rows to `target`; return the numbers of those left out, from 1."""
    left_out: list[int] = []
    with pq.ParquetFile(path) as file:
        checked = [_is_checked(f, types) for f in file.schema_arrow]
        schema = pa.schema(
            [
                f.with_type(_plain(f.type)) if c else f
                for f, c in zip(file.schema_arrow, checked, strict=True)
            ]
        )
        begin = 1
        with pq.ParquetWriter(target, schema) as writer:
            for batch in file.iter_batches(_BATCH_ROWS):
                keep = np.ones(batch.num_rows, dtype=np.bool_)
                for column, wanted in zip(batch.columns, checked, strict=True):
                    if wanted:
                        keep &= _readable(column)
                kept = pa.array(keep)
                columns = [
                    _bytes(column).filter(kept).cast(field.type)
                    if field.type == pa.large_string()
                    else column.filter(kept)
                    for column, field in zip(batch.columns, schema, strict=True)
                ]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
                left_out += (begin + np.flatnonzero(~keep)).tolist()
                begin += batch.num_rows
    return tuple(left_out)


def _is_checked(field: pa.Field, types: Mapping[str, str]) -> bool:
    known = types.get(field.name.lower())
    coarse = pa.types.is_timestamp(field.type) and field.type.unit == "ms"
    return known == _TEXT or (known in _TIMES and coarse)


def _plain(type_: pa.DataType) -> pa.DataType:
    return type_ if pa.types.is_timestamp(type_) else pa.large_string()


def _readable(column: pa.Array) -> _Mask:
    if pa.types.is_timestamp(column.type):
        time = column.cast(pa.timestamp("ms")).cast(pa.int64())
        inside = pc.and_(pc.greater_equal(time, _LEAST), pc.less_equal(time, _LARGEST))
        return np.asarray(pc.fill_null(inside, fill_value=True))
    if column.type in (pa.string(), pa.large_string(), pa.string_view()):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            pass
        else:
            return np.ones(len(column), dtype=np.bool_)
    values = _bytes(column).to_pylist()
    return np.array([value is None or _is_utf8(value) for value in values], dtype=np.bool_)


def _bytes(column: pa.Array) -> pa.Array:
    """Return text as bytes, however the file's writer kept it in memory."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.large_binary())


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
