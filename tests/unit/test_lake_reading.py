"""Delivered CSV: each line is a record by itself, or is quarantined by itself."""

from pathlib import Path

import duckdb
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
