"""A release as bytes: what the marketplace stores and what is read back before anything is shown.

The format is one Arrow IPC stream: key columns `k0…`, value columns `v0…`, 95 % half-widths `h0…`
beside them (null where a value carries none). The bytes are a function of the release alone.
"""

import pyarrow as pa

from privacy.dp.draw import ReleasePlan
from privacy.dp.release import Release
from privacy.dp.types import DataType

ARROW = {
    DataType.BOOLEAN: pa.bool_(),
    DataType.INTEGER: pa.int32(),
    DataType.LONG: pa.int64(),
    DataType.DOUBLE: pa.float64(),
    DataType.STRING: pa.utf8(),
    DataType.DATE: pa.date32(),
    DataType.NULL: pa.null(),
}
"""Arrow types of answers."""


def encode(plan: ReleasePlan, release: Release) -> bytes:
    """Return the release as an Arrow IPC stream."""
    arrays: list[pa.Array] = []
    names: list[str] = []
    for position, column in enumerate(plan.keys):
        names.append(f"k{position}")
        arrays.append(pa.array([key[position] for key in release.keys], ARROW[column.type]))
    for position, output in enumerate(plan.outputs):
        names.append(f"v{position}")
        arrays.append(pa.array(release.values[position], ARROW[output.column.type]))
    for position in range(len(plan.outputs)):
        names.append(f"h{position}")
        arrays.append(pa.array(release.half_widths[position], pa.float64()))
    if not arrays:
        # A group without keys and aggregates is one row of nothing; Arrow needs a column to count
        # it.
        names, arrays = ["rows"], [pa.array([0] * len(release.keys), pa.int32())]
    table = pa.Table.from_arrays(arrays, names=names)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def decode(data: bytes) -> pa.Table:
    """Return the table behind stored bytes."""
    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()
