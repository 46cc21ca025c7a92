"""Delivered CSV: each line is a record by itself, or is quarantined by itself."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sandbox.lake import reading
from sandbox.lake.errors import LakeError
from sandbox.lake.reading import Encoding, Source, open_source


def read(folder: Path, data: bytes, encoding: Encoding = Encoding.UTF_8) -> Source:
    path = folder / "rows.csv"
    path.write_bytes(data)
    return open_source(duckdb.connect(), path, encoding, folder, 0)


def rows(source: Source) -> list[tuple[str | None, ...]]:
    return [tuple(r.values()) for r in pq.read_table(source.path).to_pylist()]


CASES: list[tuple[str, bytes, list[tuple[str | None, ...]], tuple[int, ...]]] = [
    ("plain", b"a,b\n1,2\n3,4\n", [("1", "2"), ("3", "4")], ()),
    ("no last line feed", b"a,b\n1,2", [("1", "2")], ()),
    ("Windows", b"a,b\r\n1,2\r\n\r\n3,4\r\n", [("1", "2"), ("3", "4")], ()),
    ("BOM and case", b"\xef\xbb\xbfA, B\n1,2\n", [("1", "2")], ()),
    ("empty is null", b"a,b\n,2\n", [(None, "2")], ()),
    ("blank lines are none", b"a,b\n\n1,2\n\n", [("1", "2")], ()),
    ("quoted", b'a,b\n"1,1","a ""b"""\n', [("1,1", 'a "b"')], ()),
    ("open quote", b'a,b\n1,"2\n3,4\n5,"6\n', [("3", "4")], (2, 4)),
    ("quoted line feed", b'a,b\n1,"x\ny"\n3,4\n', [("3", "4")], (2, 3)),
    ("too few and too many", b"a,b\n1\n1,2,3\n3,4\n", [("3", "4")], (2, 3)),
    ("text after a quote", b'a,b\n"1"x,2\n3,4\n', [("3", "4")], (2,)),
    ("two bare quotes", b'a,b\nx "y,"z\n3,4\n5,6\n', [("3", "4"), ("5", "6")], (2,)),
    ("bare quotes", b'a,b\n"1"" ,"\n1,""x"\n3,4\n"","\n5,6\n', [("3", "4"), ("5", "6")], (2, 3, 5)),
    ("space before a quote", b'a,b\n1, "2"\n3,4\n', [("3", "4")], (2,)),
    ("doubled quotes outside", b'a,b\n1,x""\n3,4\n', [("3", "4")], (2,)),
    ("only quotes", b'a,b\n"",""""\n"""","\n"""",""""""\r\n', [(None, '"'), ('"', '""')], (3,)),
    ("quotes at a Windows end", b'a,b\r\n1,"2"\r\n"3","4"\r\n', [("1", "2"), ("3", "4")], ()),
    ("zero byte", b"a,b\n1,\x00\n3,4\n", [("3", "4")], (2,)),
    ("lone carriage return", b"a,b\n1,2\r5,6\n3,4\n", [("3", "4")], (2,)),
    ("not UTF-8", b"a,b\n1,\xff\n3,4\n", [("3", "4")], (2,)),
    ("after blanks and bad lines", b'a,b\n\n"\n1,2\n1\n', [("1", "2")], (3, 5)),
    ("no rows", b"a,b\n", [], ()),
]  # fmt: skip


@pytest.mark.parametrize("chunk", [4, 16_000_000])
@pytest.mark.parametrize(
    ("data", "kept", "malformed"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_lines_that_are_records_are_read_(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
    data: bytes,
    kept: list[tuple[str, ...]],
    malformed: tuple[int, ...],
) -> None:
    monkeypatch.setattr(reading, "_CHUNK_BYTES", chunk)
    source = read(tmp_path, data)
    assert list(source.columns) == ["a", "b"]
    assert rows(source) == kept
    assert source.malformed == malformed


def test_an_overlong_line_is_quarantined_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_CHUNK_BYTES", 300)
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 1_000)
    source = read(tmp_path, b"a,b\n1,2\n" + b"x" * 5_000 + b",2\n3,4\n" + b"y" * 2_000)
    assert rows(source) == [("1", "2"), ("3", "4")]
    assert source.malformed == (3, 5)


def test_gb18030_is_read_when_it_is_said(tmp_path: Path) -> None:
    data = "a,b\n存续,𠮷\n注销,龙\n".encode("gb18030")
    assert rows(read(tmp_path, data, Encoding.GB18030)) == [("存续", "𠮷"), ("注销", "龙")]


def test_an_encoding_is_not_guessed(tmp_path: Path) -> None:
    source = read(tmp_path, b"a,b\n1,2\n" + "3,注销\n".encode("gb18030"))
    assert rows(source) == [("1", "2")]
    assert source.malformed == (3,)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "header"),
        (b"a,b", "header"),
        (b"a,a\n1,2\n", "header"),
        (b"a,A\n1,2\n", "header"),
        (b"a,\n1,2\n", "header"),
        ("名称\n".encode("gb18030"), "--encoding"),
        (",".join(f"c{i}" for i in range(2_001)).encode() + b"\n", "2001 columns"),
    ],
)
def test_a_header_is_refused_that_names_no_columns(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(LakeError, match=words):
        read(tmp_path, data)


def test_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    for name, words in (("rows.xlsx", "Convert"), ("none.csv", "no file")):
        with pytest.raises(LakeError, match=words):
            open_source(duckdb.connect(), tmp_path / name, Encoding.UTF_8, tmp_path, 0)


def test_a_broken_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1nothing")
    with pytest.raises(LakeError, match="Parquet"):
        open_source(duckdb.connect(), tmp_path / "rows.parquet", Encoding.UTF_8, tmp_path, 0)


def texts(values: list[bytes | None], kind: pa.DataType) -> pa.Array:
    """Return bytes as text of a kind, broken ones included, as a careless writer would."""
    if pa.types.is_dictionary(kind):
        entries = [value for value in values if value is not None]
        places = [None if value is None else entries.index(value) for value in values]
        return pa.DictionaryArray.from_arrays(
            pa.array(places, pa.int32()), texts([*entries], kind.value_type)
        )
    raw = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    stored = pa.array(values, raw.get(kind, pa.binary_view()))
    return pa.Array.from_buffers(kind, len(values), stored.buffers())


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)
def test_parquet_rows_with_broken_text_are_left_out_alone(
    tmp_path: Path, kind: pa.DataType
) -> None:
    found = texts([b"a", b"\xff\xfe", None, "存续".encode()], kind)
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"Name": found, "n": [1, 2, 3, 4], "more": [[1], [], None, [2]]}), path)
    source = open_source(duckdb.connect(), path, Encoding.UTF_8, tmp_path, 0)
    read_back = duckdb.connect().execute(
        "SELECT name, n FROM read_parquet($path) ORDER BY n", {"path": str(source.path)}
    )
    assert read_back.fetchall() == [("a", 1), (None, 3), ("存续", 4)]
    assert source.malformed == (2,)


def test_a_dictionary_entry_that_no_row_uses_harms_no_row(tmp_path: Path) -> None:
    entries = texts([b"a", b"\xff"], pa.string())
    found = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int32()), entries)
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"name": found}), path)
    source = open_source(duckdb.connect(), path, Encoding.UTF_8, tmp_path, 0)
    assert rows(source) == [("a",), ("a",)]
    assert source.malformed == ()


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Asia/Shanghai"])
@pytest.mark.parametrize("value", [2**63 - 1, -(2**63) + 1, -(2**63), 2**62])
def test_a_time_that_does_not_fit_is_left_out_or_read(
    tmp_path: Path, unit: str, zone: str | None, value: int
) -> None:
    stored = pa.array([0, value, None], pa.int64()).view(pa.timestamp(unit, zone))
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"moment": stored, "n": [1, 2, 3]}), path)
    source = open_source(duckdb.connect(), path, Encoding.UTF_8, tmp_path, 0)
    found = duckdb.connect().execute(
        "SELECT n, TRY_CAST(moment AS DATE) AS day FROM read_parquet($path)",
        {"path": str(source.path)},
    )
    assert {1, 3} <= {n for n, _ in found.fetchall()}
    assert source.malformed == ((2,) if unit == "ms" else ())


def test_only_columns_of_single_values_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(
        pa.table({"n": [1], "more": [["a"]], "at": pa.array([1], pa.time64("us")), "raw": [b"x"]}),
        path,
    )
    source = open_source(duckdb.connect(), path, Encoding.UTF_8, tmp_path, 0)
    assert [name for name in source.columns if source.is_simple(name)] == ["n"]
