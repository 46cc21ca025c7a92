"""Exact answers about public relations, in DuckDB: public tables, client frames, stored releases.

This is also the post-processor above a release: every operator of the plan works here, ordering
and limits included. Nothing private can be read: a private scan is a programming error.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import pyarrow as pa

from privacy.dp.iterate import drive
from privacy.dp.plan import (
    AggregateCall,
    AggregateKind,
    Apply,
    Column,
    Const,
    DistinctOn,
    Expr,
    Group,
    Local,
    Node,
    Project,
    Ref,
    Scan,
    Slice,
    Where,
    walk,
)
from privacy.dp.types import DataType, Value
from privacy.errors import Refusal
from sandbox.engine.database import AnswerTooLarge, Database, frame_name, positional
from sandbox.engine.memo import size_of
from sandbox.engine.publicsql import PublicCompiler
from sandbox.engine.publictext import check_public_texts
from sandbox.engine.refusals import too_large
from sandbox.engine.run import RunCancelled, TableSource, TooNested
from sandbox.engine.settle import is_settled, settled
from sandbox.engine.turns import Turn

ARROW_TYPES: Mapping[DataType, pa.DataType] = {
    DataType.BOOLEAN: pa.bool_(),
    DataType.INTEGER: pa.int32(),
    DataType.LONG: pa.int64(),
    DataType.DOUBLE: pa.float64(),
    DataType.STRING: pa.string(),
    DataType.DATE: pa.date32(),
    DataType.NULL: pa.null(),
}
"""How each type travels."""

EMPTY_ROW = "0" * 64
"""Digest of the built-in frame with one row, on which constants are evaluated."""

ONE_ROW = pa.table({"one": pa.array([0], pa.int32())})

MAX_REMEMBERED_BYTES = 16_000_000
"""Of one answer about public tables that is kept: an analysis asks the same again and again."""

MAX_ANSWER_BYTES = 512_000_000
"""Of the rows of one public answer: they pass through this process's memory."""

MAX_SETTLED_ROWS = 1_000_000
"""Rows of a public side that is more than a filtered table: each engine is handed them."""

MAX_SETTLED_BYTES = 100_000_000
"""Of these rows: naming them by their digest takes some times that much memory."""

Tuples = tuple[tuple[Value, ...], ...]

_COUNTED = -(2**40)
"""Id of a count that is added here: plans number their columns from above -1000."""


@dataclass(frozen=True, slots=True)
class _Settled:
    """Rows of a public plan, and the plan that reads them."""

    plan: Local
    rows: pa.Table


@dataclass(frozen=True, slots=True)
class _Distinct:
    """Listed tuples, or None where they are too many to be listed."""

    tuples: Tuples | None


_T = TypeVar("_T", Tuples, _Settled, _Distinct)


class PublicEngine:
    """Evaluates public plans over table versions and frames."""

    def __init__(
        self,
        database: Database,
        tables: Callable[[], Mapping[str, TableSource]],
        frames: Mapping[str, pa.Table] | None = None,
        turn: Turn | None = None,
    ) -> None:
        """Keep the database, where table versions are found, and on whose turn all this runs."""
        self._database = database
        self._tables = tables
        self._turn = turn or Turn()
        self._frames = {EMPTY_ROW: ONE_ROW, **(frames or {})}

    def run(self, node: Node) -> pa.Table:
        """Return all rows of a public plan: one column for each of `node.columns`, in order."""
        known, tables = self._frames, self._tables()
        check_public_texts(node, lambda name: tables[name].facts, known)
        try:
            compiler = PublicCompiler(tables, known, self._database)
            rows = drive(compiler.rows(node))
            statement = compiler.final(rows, node)
        except RecursionError:
            raise too_large() from None
        used = {frame_name(d): positional(known[d]) for d in compiler.digests}
        (table,) = self._query(statement, used)
        fields = [pa.field(c.name, ARROW_TYPES[c.type]) for c in node.columns]
        columns = [
            column.cast(field.type)
            if field.type != pa.null()
            else pa.chunked_array([pa.nulls(table.num_rows)])
            for column, field in zip(table.columns, fields, strict=True)
        ]
        return pa.Table.from_arrays(columns, schema=pa.schema(fields))

    def _query(self, statement: str, frames: Mapping[str, pa.Table]) -> list[pa.Table]:
        try:
            return self._database.query((statement,), frames, self._turn, MAX_ANSWER_BYTES)
        except AnswerTooLarge:
            raise _too_many_bytes() from None
        except TooNested:
            raise too_large() from None
        except RunCancelled:
            if self._turn.late and not self._turn.given_up():
                raise _too_long(self._turn.seconds or 0) from None
            raise

    @property
    def frames(self) -> Mapping[str, pa.Table]:
        """Everything that plans may read by digest, settled rows included."""
        return self._frames

    def settled(self, node: Node) -> Node:
        """Return a public plan of the same columns whose rows are decided from here on."""
        if is_settled(node):
            return node
        key = self._key("settled", node)
        known = self._remembered(key)
        if not isinstance(known, _Settled):
            rows = self.run(Slice(node, MAX_SETTLED_ROWS + 1, 0))
            if rows.num_rows > MAX_SETTLED_ROWS or rows.nbytes > MAX_SETTLED_BYTES:
                raise _too_many_rows()
            known = _Settled(*settled(node, rows))
            self._remember(key, known, known.rows)
        self._frames[known.plan.digest] = known.rows
        return known.plan

    def distinct(self, node: Node, column_ids: tuple[int, ...], most: int) -> Tuples | None:
        """Return the distinct tuples of these columns of a public plan, sorted, nulls first.

        None if there are more than `most`: a long list would fill this process's memory.
        """
        key = self._key(("distinct", column_ids, most), node)
        known = self._remembered(key)
        if isinstance(known, _Distinct):
            return known.tuples
        columns = tuple(c for i in column_ids for c in node.columns if c.id == i)
        items = tuple((c, Ref(c.id, c.type)) for c in columns)
        different = DistinctOn(Project(node, items), column_ids)
        table = self.run(Slice(different, most + 1, 0))
        if table.num_rows > most:
            return self._remember(key, _Distinct(None), ()).tuples
        found = set(_tuples(table))
        ordered = tuple(sorted(found, key=lambda row: [(v is not None, v) for v in row]))
        return self._remember(key, _Distinct(ordered), ordered).tuples

    def extremes(self, node: Node, column_id: int) -> tuple[float, float] | None:
        """Return the smallest and the largest finite number of a column; None without any."""
        (column,) = (c for c in node.columns if c.id == column_id)
        value = Ref(column.id, column.type)
        if column.type is DataType.DOUBLE:
            ends = [Const(sign * sys.float_info.max, DataType.DOUBLE) for sign in (-1, 1)]
            tests = (_test(">=", value, ends[0]), _test("<=", value, ends[1]))
            node = Where(node, _test("and", *tests))
        calls = [AggregateCall(k, (value,)) for k in (AggregateKind.MIN, AggregateKind.MAX)]
        made = tuple((replace(column, id=_COUNTED - i), call) for i, call in enumerate(calls))
        ((low, high),) = self.evaluate(Group(node, (), made))
        if not isinstance(low, int | float) or not isinstance(high, int | float):
            return None
        return low, high

    def longest(self, node: Node, column_id: int) -> int:
        """Return the number of characters of a column's longest text; 0 without any."""
        length = Apply("length", (Ref(column_id, DataType.STRING),), DataType.INTEGER)
        counted = Column(_COUNTED, "n", DataType.INTEGER)
        call = AggregateCall(AggregateKind.MAX, (length,))
        ((most,),) = self.evaluate(Group(node, (), ((counted, call),)))
        return most if isinstance(most, int) else 0

    def multiplicity(self, node: Node, column_ids: tuple[int, ...]) -> int:
        """Return the largest number of rows of a public plan that share these columns' values."""
        keys = tuple((c, Ref(c.id, c.type)) for c in node.columns if c.id in column_ids)
        counted = Column(_COUNTED, "n", DataType.LONG, nullable=False)
        groups = Group(node, keys, ((counted, AggregateCall(AggregateKind.COUNT_ROWS)),))
        largest = AggregateCall(AggregateKind.MAX, (Ref(counted.id, counted.type),))
        total = Column(_COUNTED - 1, "most", DataType.LONG)
        ((most,),) = self.evaluate(Group(groups, (), ((total, largest),)))
        return most if isinstance(most, int) else 0

    def evaluate(self, node: Node) -> Tuples:
        """Return all rows of a small public plan, in order."""
        key = self._key("evaluate", node)
        known = self._remembered(key)
        if isinstance(known, tuple):
            return known
        found = _tuples(self.run(node))
        return self._remember(key, found, found)

    def _key(self, what: object, node: Node) -> object | None:
        """Return a key that names the node's inputs by version, or None if it reads a frame.

        Two tenants' answers to one question share a digest but not their noise: never kept here.
        """
        tables = self._tables()
        versions = []
        for part in walk(node):
            if isinstance(part, Local) and part.digest != EMPTY_ROW:
                return None
            if isinstance(part, Scan):
                versions.append(tables[part.table].view)
        return (what, repr(node), tuple(versions))

    def _remembered(self, key: object | None) -> object:
        return None if key is None else self._database.remembered.get(key)

    def _remember(self, key: object | None, value: _T, rows: Tuples | pa.Table) -> _T:
        if key is not None and (size := size_of(key, rows)) <= MAX_REMEMBERED_BYTES:
            self._database.remembered.put(key, value, size)
        return value


def _too_many_rows() -> Refusal:
    return Refusal(
        "TOO_LARGE",
        f"The computed public side of a join has more than {MAX_SETTLED_ROWS} rows or "
        f"{MAX_SETTLED_BYTES // 10**6} MB. Filter or aggregate it first, take fewer columns, or "
        "join the public table itself.",
        f"连接的公开侧（经计算）超过 {MAX_SETTLED_ROWS} 行或 {MAX_SETTLED_BYTES // 10**6} MB。"
        "请先筛选或聚合、减少列，或直接连接公开表。",
    )


def _too_many_bytes() -> Refusal:
    most = MAX_ANSWER_BYTES // 10**6
    return Refusal(
        "TOO_LARGE",
        f"The rows of this public answer are more than {most} MB. Filter or aggregate them, take "
        "fewer columns, or add limit(n).",
        f"此公开查询结果超过 {most} MB。请先筛选或聚合、减少列，或使用 limit(n)。",
    )


def _too_long(seconds: float) -> Refusal:
    return Refusal(
        "TOO_LARGE",
        f"The public part of this question ran for {seconds:.0f} s and was stopped. Filter or "
        "aggregate before joining, and join by equality.",
        f"此问题的公开部分已运行 {seconds:.0f} 秒，被停止。"
        "请在连接前先筛选或聚合，并使用等值连接。",
    )


def _test(function: str, *args: Expr) -> Expr:
    return Apply(function, args, DataType.BOOLEAN)


def _tuples(table: pa.Table) -> Tuples:
    return tuple(zip(*(c.to_pylist() for c in table.columns), strict=True))
