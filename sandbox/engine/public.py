"""Exact answers about public relations, in DuckDB: public tables, client frames, stored releases.

This is also the post-processor above a release: every operator of the plan works here, ordering
and limits included. Nothing private can be read: a private scan is a programming error.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import TypeVar

import pyarrow as pa

from privacy.dp.iterate import Steps, drive
from privacy.dp.plan import (
    AggregateCall,
    AggregateKind,
    Apply,
    Column,
    Const,
    DistinctOn,
    Expr,
    Group,
    JoinOn,
    Local,
    Node,
    Project,
    Ref,
    Scan,
    Slice,
    SortBy,
    UnionAll,
    Where,
    walk,
)
from privacy.dp.query import JoinKind
from privacy.dp.types import DataType, Value
from privacy.errors import Refusal
from sandbox.engine.conversions import SQL_TYPES
from sandbox.engine.database import AnswerTooLarge, Database, frame_name, positional
from sandbox.engine.folding import lower
from sandbox.engine.memo import size_of
from sandbox.engine.physical import Col, Scalar
from sandbox.engine.publictext import check_public_texts
from sandbox.engine.refusals import too_large
from sandbox.engine.render import DUCKDB, Renderer
from sandbox.engine.run import RunCancelled, TableSource
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

_JOINS: Mapping[JoinKind, str] = {
    JoinKind.INNER: "INNER JOIN",
    JoinKind.LEFT: "LEFT JOIN",
    JoinKind.RIGHT: "RIGHT JOIN",
    JoinKind.FULL: "FULL JOIN",
    JoinKind.SEMI: "SEMI JOIN",
    JoinKind.ANTI: "ANTI JOIN",
    JoinKind.CROSS: "INNER JOIN",
}

Tuples = tuple[tuple[Value, ...], ...]

_COUNTED = -(2**40)
"""Id of a count that is added here: plans number their columns from above -1000."""

_STATISTICS: Mapping[AggregateKind, str] = {
    AggregateKind.VAR_SAMP: "var_samp",
    AggregateKind.VAR_POP: "var_pop",
    AggregateKind.STDDEV_SAMP: "stddev_samp",
    AggregateKind.STDDEV_POP: "stddev_pop",
}


@dataclass(frozen=True, slots=True)
class _Rows:
    """A subplan as SQL, with its columns and the order that later steps must keep."""

    sql: str
    columns: Mapping[int, Scalar]
    order: tuple[tuple[str, bool, bool], ...] = ()
    """Column, ascending, nulls first."""


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
            compiler = _Compiler(tables, known, self._database)
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


class _Compiler:
    """One compilation of a public plan."""

    def __init__(
        self, tables: Mapping[str, TableSource], frames: Mapping[str, pa.Table], database: Database
    ) -> None:
        self._tables, self._frames, self._database = tables, frames, database
        self._renderer = Renderer(DUCKDB, lambda name: name, public=True)
        self._numbers = count(1)
        self.digests: set[str] = set()

    def final(self, rows: _Rows, node: Node) -> str:
        listed = ", ".join(
            f"TRY_CAST({self._text(rows.columns[c.id])} AS {SQL_TYPES[c.type]}) AS f{i}"
            for i, c in enumerate(node.columns)
        )
        return f"SELECT {listed or 'NULL AS none'} FROM ({rows.sql}) AS t{_order_by(rows.order)}"

    def rows(self, node: Node) -> Steps[_Rows]:
        match node:
            case Scan():
                return self._scan(node)
            case Local():
                return self._local(node)
            case JoinOn():
                left: _Rows = yield self.rows(node.left)
                right: _Rows = yield self.rows(node.right)
                return self._join(node, left, right)
            case UnionAll():
                parts: list[_Rows] = []
                for branch in node.children:
                    part: _Rows = yield self.rows(branch)
                    parts.append(part)
                return self._union(node, parts)
            case _:
                below: _Rows = yield self.rows(node.child)
                return self._above(node, below)

    def _above(
        self, node: Project | Where | DistinctOn | Group | SortBy | Slice, below: _Rows
    ) -> _Rows:
        match node:
            case Project():
                return self._project(node, below)
            case Where():
                test = self._expr(node.predicate, below)
                return replace(below, sql=f"SELECT * FROM ({below.sql}) AS t WHERE {test}")
            case DistinctOn():
                return self._distinct(node, below)
            case Group():
                return self._group(node, below)
            case SortBy():
                return self._sorted(node, below)
            case Slice():
                # Ordered here and again at the top: SQL keeps no order between nested queries.
                limit = "" if node.count is None else f" LIMIT {int(node.count)}"
                offset = f" OFFSET {int(node.offset)}" if node.offset else ""
                ordered = f"SELECT * FROM ({below.sql}) AS t{_order_by(below.order)}"
                return replace(below, sql=f"{ordered}{limit}{offset}")

    def _scan(self, node: Scan) -> _Rows:
        source = self._tables[node.table]
        if source.facts.is_private:
            raise AssertionError("the public engine reads no private table")
        view = self._database.view(source)
        columns = {c.id: Col(self._name(), c.type) for c in node.columns}
        listed = ", ".join(
            f"{self._renderer.quoted(s)} AS {columns[c.id].name}"
            for c, s in zip(node.columns, node.sources, strict=True)
        )
        return _Rows(f"SELECT {listed} FROM {view}", columns)

    def _local(self, node: Local) -> _Rows:
        self.digests.add(node.digest)
        names = self._frames[node.digest].schema.names
        columns = {c.id: Col(self._name(), c.type) for c in node.columns}
        listed = ", ".join(
            f"CAST(f{names.index(s)} AS {SQL_TYPES[c.type]}) AS {columns[c.id].name}"
            for c, s in zip(node.columns, node.sources, strict=True)
        )
        return _Rows(f"SELECT {listed or '1 AS none'} FROM {frame_name(node.digest)}", columns)

    def _project(self, node: Project, below: _Rows) -> _Rows:
        listed = [name for name, _, _ in below.order]
        columns: dict[int, Scalar] = {}
        for column, expr in node.items:
            value = lower(expr, below.columns)
            if isinstance(value, Col):
                columns[column.id] = value
                listed.append(value.name)
                continue
            name = self._name()
            columns[column.id] = Col(name, column.type)
            listed.append(f"{self._text(value)} AS {name}")
        unique = ", ".join(dict.fromkeys(listed)) or "1 AS none"
        return replace(below, sql=f"SELECT {unique} FROM ({below.sql}) AS t", columns=columns)

    def _join(self, node: JoinOn, left: _Rows, right: _Rows) -> _Rows:
        both = {**left.columns, **right.columns}
        test = "TRUE" if node.condition is None else self._text(lower(node.condition, both))
        sql = f"SELECT * FROM ({left.sql}) AS l {_JOINS[node.kind]} ({right.sql}) AS r ON {test}"
        if node.kind in (JoinKind.SEMI, JoinKind.ANTI):
            return _Rows(sql, left.columns)
        return _Rows(sql, both)

    def _union(self, node: UnionAll, parts: list[_Rows]) -> _Rows:
        columns = {c.id: Col(self._name(), c.type) for c in node.columns}
        branches = []
        for part, child in zip(parts, node.children, strict=True):
            listed = ", ".join(
                f"TRY_CAST({self._text(part.columns[below.id])} AS {SQL_TYPES[c.type]}) "
                f"AS {columns[c.id].name}"
                for c, below in zip(node.columns, child.columns, strict=True)
            )
            branches.append(f"SELECT {listed} FROM ({part.sql}) AS t")
        return _Rows(" UNION ALL ".join(branches), columns)

    def _distinct(self, node: DistinctOn, below: _Rows) -> _Rows:
        place = self._name()
        within = ", ".join(self._key(below.columns[i]) for i in node.on)
        # Which row stays is free in Spark; here it is always the same one.
        names = dict.fromkeys(self._text(v) for v in below.columns.values())
        order = (*below.order, *((n, True, True) for n in names))
        window = f"ROW_NUMBER() OVER (PARTITION BY {within}{_order_by(order)}) AS {place}"
        inner = f"SELECT *, {window} FROM ({below.sql}) AS t"
        return replace(below, sql=f"SELECT * FROM ({inner}) AS t WHERE {place} = 1")

    def _group(self, node: Group, below: _Rows) -> _Rows:
        columns: dict[int, Scalar] = {}
        listed: list[str] = []
        groups: list[str] = []
        for column, expr in node.keys:
            name = self._name()
            text = self._key(lower(expr, below.columns))
            listed.append(f"{text} AS {name}")
            # By the output's position: a key that is a literal number would name a position.
            groups.append(str(len(listed)))
            columns[column.id] = Col(name, column.type)
        for column, call in node.aggregates:
            name = self._name()
            args = tuple(lower(a, below.columns) for a in call.args)
            listed.append(f"{self._aggregate(call, args)} AS {name}")
            columns[column.id] = Col(name, column.type)
        grouped = f" GROUP BY {', '.join(groups)}" if groups else ""
        sql = f"SELECT {', '.join(listed) or 'COUNT(*) AS none'} FROM ({below.sql}) AS t{grouped}"
        return _Rows(sql, columns)

    def _aggregate(self, call: AggregateCall, args: tuple[Scalar, ...]) -> str:
        texts = [self._text(a) for a in args]
        present = " AND ".join(f"{t} IS NOT NULL" for t in texts)
        match call.kind:
            case AggregateKind.COUNT_ROWS:
                return "COUNT(*)"
            case AggregateKind.COUNT:
                return f"COUNT(CASE WHEN {present} THEN 1 END)"
            case AggregateKind.COUNT_IF:
                return f"COUNT(CASE WHEN {texts[0]} THEN 1 END)"
            case AggregateKind.COUNT_DISTINCT:
                keys = [self._key(a) for a in args]
                value = keys[0] if len(keys) == 1 else f"ROW({', '.join(keys)})"
                return f"COUNT(DISTINCT CASE WHEN {present} THEN {value} END)"
            case AggregateKind.SUM if args[0].type.is_integral:
                return f"TRY_CAST(SUM({texts[0]}) AS BIGINT)"
            case AggregateKind.SUM | AggregateKind.AVG:
                return f"{call.kind.value}(CAST({texts[0]} AS DOUBLE))"
            case AggregateKind.MIN | AggregateKind.MAX:
                return f"{call.kind.value}({texts[0]})"
            case AggregateKind.QUANTILE:
                share = f"CAST('{call.parameters[0] / 1000!r}' AS DOUBLE)"
                return f"quantile_cont(CAST({texts[0]} AS DOUBLE), {share})"
            case _:
                # Infinite values make the variance of DuckDB an error; it is not a number then.
                finite = f"isfinite(CAST({texts[0]} AS DOUBLE))"
                value = f"CASE WHEN {finite} THEN CAST({texts[0]} AS DOUBLE) END"
                odd = f"bool_or(NOT {finite})"
                statistic = f"{_STATISTICS[call.kind]}({value})"
                return f"CASE WHEN {odd} THEN CAST('NaN' AS DOUBLE) ELSE {statistic} END"

    def _sorted(self, node: SortBy, below: _Rows) -> _Rows:
        order: list[tuple[str, bool, bool]] = []
        added: list[str] = []
        for expr, ascending, nulls_first in node.keys:
            name = self._name()
            added.append(f"{self._expr(expr, below)} AS {name}")
            order.append((name, ascending, nulls_first))
        sql = f"SELECT *, {', '.join(added)} FROM ({below.sql}) AS t"
        return _Rows(sql, below.columns, (*order, *below.order))

    def _key(self, value: Scalar) -> str:
        text = self._text(value)
        if value.type is DataType.DOUBLE:
            return f"({text} + CAST(0 AS DOUBLE))"  # -0.0 and 0.0 are one group.
        return text

    def _expr(self, expr: Expr, below: _Rows) -> str:
        return self._text(lower(expr, below.columns))

    def _text(self, value: Scalar) -> str:
        return self._renderer.scalar(value)

    def _name(self) -> str:
        return f"p{next(self._numbers)}"


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


def _order_by(order: tuple[tuple[str, bool, bool], ...]) -> str:
    if not order:
        return ""
    terms = [
        f"{n} {'ASC' if up else 'DESC'} NULLS {'FIRST' if first else 'LAST'}"
        for n, up, first in order
    ]
    return f" ORDER BY {', '.join(terms)}"


def _tuples(table: pa.Table) -> Tuples:
    return tuple(zip(*(c.to_pylist() for c in table.columns), strict=True))
