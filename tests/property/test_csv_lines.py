"""What is a CSV record is decided line by line, as RFC 4180 has it, whatever stands around it."""

import csv
import re
import tempfile
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.lake import reading
from sandbox.lake.reading import Encoding, open_source

FIELD = rb'(?:[^",\r\n\0]*|"(?:[^"\r\n\0]|"")*")'
RECORD = re.compile(FIELD + b"," + FIELD + rb",?\r?\n")
"""RFC 4180, section 2, for two fields without line ends inside, and no NUL.

The engine forgives one comma too many at the end of a line, as some exporters write it.
"""

lines = st.lists(
    st.text(st.sampled_from('",x 存\r\0'), max_size=12).map(lambda text: text.encode() + b"\n"),
    max_size=12,
)


@given(found=lines, chunk=st.sampled_from([3, 64, 16_000_000]))
def test_a_line_is_a_record_or_not_by_itself(found: list[bytes], chunk: int) -> None:
    framed = [
        line for pair in ((b"%d,good\n" % i, each) for i, each in enumerate(found)) for line in pair
    ]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_CHUNK_BYTES", chunk)
        path = Path(folder) / "rows.csv"
        path.write_bytes(b"a,b\n" + b"".join(framed))
        source = open_source(duckdb.connect(), path, Encoding.UTF_8, Path(folder), 0)
        rows = [tuple(row.values()) for row in pq.read_table(source.path).to_pylist()]
    blank = {b"\n", b"\r\n"}
    records = [line for line in framed if RECORD.fullmatch(line)]
    bad = [i for i, line in enumerate(framed, start=2) if line not in blank and line not in records]
    assert rows == [_values(line) for line in records]
    assert list(source.malformed) == bad


def _values(line: bytes) -> tuple[str | None, ...]:
    (fields,) = csv.reader([line.decode()], strict=True)
    return tuple(text or None for text in fields[:2])
