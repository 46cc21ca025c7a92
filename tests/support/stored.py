"""Random worlds written in the lake's layout, without an ingest."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sandbox.engine.run import TableSource
from tests.support.engine import ARROW, DOUBLE
from tests.support.plans import OPEN, PRIVATE
from tests.support.reference import COHORT, RANK, UNIT, World

HIDDEN = {UNIT: pa.int64(), RANK: pa.int32(), COHORT: pa.int32()}


def stored_world(world: World, directory: Path) -> dict[str, TableSource]:
    """Write a world in the lake's layout; its doubles become what the lake can hold."""
    directory.mkdir()
    sources = {}
    for name, facts in {**PRIVATE, **OPEN}.items():
        rows = world.tables[name]
        arrays = {
            k: pa.array([r[k] for r in rows], t) for k, t in HIDDEN.items() if facts.is_private
        }
        for column in facts.columns:
            values = [r[column.name] for r in rows]
            if facts.is_private and column.type is DOUBLE:
                fixed = [_fixed(v, column.scale) for v in values]
                for row, value in zip(rows, fixed, strict=True):
                    row[column.name] = None if value is None else value / 10**column.scale
                arrays[column.name] = pa.array(fixed, pa.int64())
            else:
                arrays[column.name] = pa.array(values, ARROW[column.type])
        path = directory / f"{name}.parquet"
        pq.write_table(pa.table(arrays), path)
        sources[name] = TableSource(facts, (path,))
    return sources


def _fixed(value: float | None, scale: int) -> int | None:
    if value is None or math.isnan(value):
        return None
    return math.floor(min(max(value * 10**scale, -9e15), 9e15) + 0.5)
