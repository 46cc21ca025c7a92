"""Parquet files with text that is not UTF-8: the rows that hold it are left out, and only they.

A reader that gives up on such a file would let one unit's row decide about all others (soundness
D.26). Files without such text, nearly all, are checked in one scan of their texts and read as they
are.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

_BATCH_ROWS = 64_000


def is_decodable(path: Path) -> bool:
    """Whether all texts of a file are UTF-8; DuckDB looks only at those that a query measures.

    Raises `pyarrow.ArrowInvalid` or `OSError` if it is no Parquet file.
    """
    with pq.ParquetFile(path) as file:
        texts = [field.name for field in file.schema_arrow if _is_text(field.type)]
        return all(
            _decodable(column).all()
            for batch in (file.iter_batches(_BATCH_ROWS, columns=texts) if texts else ())
            for column in batch.columns
        )


def without_undecodable(path: Path, target: Path) -> tuple[int, ...]:
    """Write a file's readable rows to `target`; return the numbers of those left out, from 1."""
    left_out: list[int] = []
    with pq.ParquetFile(path) as file, pq.ParquetWriter(target, file.schema_arrow) as writer:
        begin = 1
        for batch in file.iter_batches(_BATCH_ROWS):
            keep = np.ones(batch.num_rows, dtype=np.bool_)
            for column in batch.columns:
                if _is_text(column.type):
                    keep &= _decodable(column)
            writer.write_batch(batch.filter(pa.array(keep)))
            left_out += (begin + np.flatnonzero(~keep)).tolist()
            begin += batch.num_rows
    return tuple(left_out)


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _decodable(column: pa.Array) -> npt.NDArray[np.bool_]:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        raw = column.cast(pa.large_binary()).to_pylist()
        return np.array([value is None or _is_utf8(value) for value in raw], dtype=np.bool_)
    return np.ones(len(column), dtype=np.bool_)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
