"""Answers as Spark Connect messages: schema, Arrow batches, facts for `pdf.attrs`, progress.

The gateway writes its own stream: an engine's metrics, row counts and byte sizes are never sent
(design decision 10).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
from pyspark.sql.connect.proto import base_pb2, expressions_pb2, types_pb2

from privacy.dp.types import DataType, Value
from sandbox.gateway.answering import Answer, Field, Schema
from sandbox.gateway.frames import ARROW_TYPES

Proto = Any
"""A message of the client's protocol: its generated classes have no usable annotations."""

MAX_BATCH_BYTES: Final = 2 << 20
"""Arrow bytes of one response; clients take 128 MiB, small ones keep memory flat."""
MAX_BATCH_ROWS: Final = 50_000

_KINDS: Final = {
    DataType.BOOLEAN: "boolean",
    DataType.INTEGER: "integer",
    DataType.LONG: "long",
    DataType.DOUBLE: "double",
    DataType.STRING: "string",
    DataType.DATE: "date",
    DataType.NULL: "null",
}
_EPOCH_ORDINAL: Final = 719_163
"""1970-01-01 as `date.toordinal()`."""

PHASES: Final = ("check", "reserve", "compute")
"""What progress shows. Noise and recording belong to `compute`: when they begin depends on data."""


def schema_message(schema: Schema) -> Proto:
    """Return a schema as Spark's struct type, comments in the fields' metadata."""
    struct = types_pb2.DataType.Struct(fields=[_field(each) for each in schema])
    return types_pb2.DataType(struct=struct)


def type_message(type_: DataType) -> Proto:
    """Return a column type."""
    message = types_pb2.DataType()
    getattr(message, _KINDS[type_]).SetInParent()
    if type_ is DataType.STRING:
        message.string.collation = "UTF8_BINARY"
    return message


def answer_responses(answer: Answer) -> Iterator[Proto]:
    """Return the messages of an answer: schema, batches, then its facts."""
    yield base_pb2.ExecutePlanResponse(schema=schema_message(answer.schema))
    yield from batches(typed(answer.table, answer.schema))
    observed = [observed_message(name, facts) for name, facts in answer.observed.items()]
    if observed:
        yield base_pb2.ExecutePlanResponse(observed_metrics=observed)


def batches(table: pa.Table) -> Iterator[Proto]:
    """Return the rows as Arrow streams, at least one so that clients see the columns."""
    per_row = max(1, table.nbytes // max(table.num_rows, 1))
    step = max(1, min(MAX_BATCH_ROWS, MAX_BATCH_BYTES // per_row))
    for start in range(0, max(table.num_rows, 1), step):
        # Without columns, a slice would take any length that it is given.
        part = table.slice(start, min(step, table.num_rows - start))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_batch(_one_batch(part))
        yield base_pb2.ExecutePlanResponse(
            arrow_batch=base_pb2.ExecutePlanResponse.ArrowBatch(
                row_count=part.num_rows, data=sink.getvalue().to_pybytes(), start_offset=start
            )
        )


def typed(table: pa.Table, schema: Schema) -> pa.Table:
    """Return the table with exactly the schema's names and types, column by column."""
    if not schema:
        return table.select([])
    arrays = [
        column.cast(ARROW_TYPES[each.type])
        for column, each in zip(table.columns, schema, strict=True)
    ]
    fields = [pa.field(each.name, ARROW_TYPES[each.type], each.nullable) for each in schema]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def observed_message(name: str, facts: Mapping[str, Value]) -> Proto:
    """Return named facts; a client finds them in `pdf.attrs["observed_metrics"]`."""
    return base_pb2.ExecutePlanResponse.ObservedMetrics(
        name=name, keys=list(facts), values=[literal_message(value) for value in facts.values()]
    )


def literal_message(value: Value) -> Proto:
    """Return a constant; whole numbers travel as long."""
    literal = expressions_pb2.Expression.Literal()
    match value:
        case None:
            literal.null.null.SetInParent()
        case bool():
            literal.boolean = value
        case int():
            literal.long = value
        case float():
            literal.double = value
        case str():
            literal.string = value
        case _:
            literal.date = value.toordinal() - _EPOCH_ORDINAL
    return literal


def progress_response(reached: int) -> Proto:
    """Return a progress frame: phases before number `reached` are done, that one runs.

    It counts phases, not tasks, rows or bytes.
    """
    stage = base_pb2.ExecutePlanResponse.ExecutionProgress.StageInfo
    stages = [
        stage(stage_id=n, num_tasks=1, num_completed_tasks=int(n < reached), done=n < reached)
        for n in range(len(PHASES))
    ]
    progress = base_pb2.ExecutePlanResponse.ExecutionProgress(
        stages=stages, num_inflight_tasks=int(reached < len(PHASES))
    )
    return base_pb2.ExecutePlanResponse(execution_progress=progress)


def complete_response() -> Proto:
    """Return the message that ends every successful stream."""
    return base_pb2.ExecutePlanResponse(
        result_complete=base_pb2.ExecutePlanResponse.ResultComplete()
    )


def sql_response(relation: Proto) -> Proto:
    """Return what `spark.sql` becomes: the relation that later plans hold."""
    result = base_pb2.ExecutePlanResponse.SqlCommandResult(relation=relation)
    return base_pb2.ExecutePlanResponse(sql_command_result=result)


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    """Return all rows as one batch, which exists even where there are none."""
    found = table.combine_chunks().to_batches()
    return found[0] if found else pa.RecordBatch.from_pylist([], schema=table.schema)


def _field(each: Field) -> Proto:
    message = types_pb2.DataType.StructField(
        name=each.name, data_type=type_message(each.type), nullable=each.nullable
    )
    if each.metadata:
        message.metadata = json.dumps(dict(each.metadata), ensure_ascii=False)
    return message
