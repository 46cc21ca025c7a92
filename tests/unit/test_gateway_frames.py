"""Rows that a client sends: plain types, bounded, validated, the same digest for the same rows."""

import json
import random

import pandas as pd
import pyarrow as pa
import pytest

from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.gateway.frames import MAX_FRAME_ROWS, read_ddl, read_frame


def stream(table: pa.Table, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def schema(**types: str) -> str:
    fields = [
        {"name": name, "type": type_, "nullable": True, "metadata": {}}
        for name, type_ in types.items()
    ]
    return json.dumps({"type": "struct", "fields": fields})


ROWS = pa.table({"k": [1, 2, None], "n": ["x", None, "汉"], "v": [0.5, None, float("nan")]})


def test_rows_are_read_with_the_labs_types() -> None:
    frame = read_frame(stream(ROWS), None)
    assert frame.fields == (
        ("k", DataType.LONG),
        ("n", DataType.STRING),
        ("v", DataType.DOUBLE),
    )
    assert frame.table.column("n").to_pylist() == ["x", None, "汉"]


def test_the_schema_decides_names_and_types() -> None:
    frame = read_frame(stream(ROWS.select(["k"])), schema(number="integer"))
    assert frame.fields == (("number", DataType.INTEGER),)
    assert frame.table.schema == pa.schema([("number", pa.int32())])


def test_an_empty_frame_has_only_a_schema() -> None:
    frame = read_frame(None, schema(a="date"))
    assert (frame.table.num_rows, frame.fields) == (0, (("a", DataType.DATE),))


def test_a_frame_without_columns_keeps_its_rows() -> None:
    batch = pa.RecordBatch.from_pandas(pd.DataFrame(index=range(3)))
    frame = read_frame(stream(pa.Table.from_batches([batch]).select([])), None)
    assert frame.table.num_rows == 3


def test_the_digest_depends_on_rows_names_and_types_only() -> None:
    digest = read_frame(stream(ROWS), None).digest
    chunked = pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(1)])
    described = ROWS.replace_schema_metadata({"pandas": "{}"})
    assert read_frame(stream(chunked), None).digest == digest
    assert read_frame(stream(described), None).digest == digest
    assert read_frame(stream(ROWS.slice(1)), None).digest != digest
    assert read_frame(stream(ROWS.rename_columns(["k", "m", "v"])), None).digest != digest


@pytest.mark.parametrize(
    "type_",
    [
        pa.timestamp("us"),
        pa.list_(pa.int64()),
        pa.decimal128(10, 2),
        pa.binary(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.null(),
        pa.struct([("x", pa.int64())]),
    ],
    ids=str,
)
def test_other_types_are_refused_by_name(type_: pa.DataType) -> None:
    with pytest.raises(Refusal, match="`c`"):
        read_frame(stream(pa.table({"c": pa.nulls(2, type_)})), None)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_compressed_rows_are_refused_before_they_are_unpacked(codec: str) -> None:
    bomb = pa.table({"k": pa.array([0] * 100_000, pa.int64())})
    data = stream(bomb, compression=codec)
    assert len(data) < 20_000
    with pytest.raises(Refusal):
        read_frame(data, None)


def test_too_many_rows_are_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        read_frame(stream(pa.table({"k": pa.nulls(MAX_FRAME_ROWS + 1, pa.bool_())})), None)
    assert refusal.value.code == "TOO_LARGE"


def test_too_many_columns_are_refused() -> None:
    table = pa.table({f"c{n}": [1] for n in range(201)})
    with pytest.raises(Refusal) as refusal:
        read_frame(stream(table), None)
    assert refusal.value.code == "TOO_LARGE"


def test_a_name_that_two_columns_share_is_refused() -> None:
    table = pa.table([pa.array([1]), pa.array([2])], names=["k", "k"])
    with pytest.raises(Refusal, match="`k` names more than one") as refused:
        read_frame(stream(table), None)
    assert refused.value.code == "AMBIGUOUS_COLUMN"


def test_reserved_names_are_refused() -> None:
    with pytest.raises(Refusal):
        read_frame(stream(pa.table({"__unit": [1]})), None)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"type": "struct"}', '{"type": "struct", "fields": [{}]}', "[" * 10_000],
)
def test_a_schema_that_is_no_list_of_columns_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        read_frame(None, text)


def test_values_that_do_not_fit_their_type_are_refused() -> None:
    with pytest.raises(Refusal):
        read_frame(stream(pa.table({"k": [2**40]})), schema(k="integer"))


@pytest.mark.parametrize("day", [-719_163, 2_932_897, 2**31 - 1, -(2**31)], ids=str)
def test_days_that_are_no_dates_are_refused(day: int) -> None:
    days = pa.array([0, None, day], pa.int32()).cast(pa.date32())
    with pytest.raises(Refusal, match="years 1 to 9999"):
        read_frame(stream(pa.table({"d": days})), None)
    ends = pa.array([-719_162, 2_932_896, None], pa.int32()).cast(pa.date32())
    assert read_frame(stream(pa.table({"d": ends})), None).table.num_rows == 3


def test_damaged_rows_never_crash() -> None:
    rng = random.Random(7)
    whole = stream(ROWS)
    refused = 0
    for _ in range(3_000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        try:
            frame = read_frame(bytes(data), None)
            frame.table.validate(full=True)
        except Refusal:
            refused += 1
    assert 300 < refused < 3_000


def test_a_schema_in_text_is_read() -> None:
    assert read_ddl("a int, `b c`: string, d double NOT NULL") == (
        ("a", DataType.INTEGER),
        ("b c", DataType.STRING),
        ("d", DataType.DOUBLE),
    )


@pytest.mark.parametrize("text", ["", "int", "a decimal(1,2)", "a timestamp", "a int,", "a void"])
def test_other_schemas_in_text_are_refused(text: str) -> None:
    with pytest.raises(Refusal):
        read_ddl(text)
