"""SQL of public plans, for DuckDB: every operator, in an order that later steps keep.

A private scan is a programming error: nothing private can be read by what is written here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count

import pyarrow as pa

from privacy.dp.iterate import Steps
from privacy.dp.plan import (
    AggregateCall,
    AggregateKind,
    DistinctOn,
    Expr,
    Group,
    JoinOn,
    Local,
    Node,
    Project,
    Scan,
    Slice,
    SortBy,
    UnionAll,
    Where,
)
from privacy.dp.query import JoinKind
from privacy.dp.types import DataType
from sandbox.engine.conversions import SQL_TYPES
from sandbox.engine.database import Database, frame_name
from sandbox.engine.folding import lower
from sandbox.engine.physical import Col, Scalar
from sandbox.engine.render import DUCKDB, Renderer
from sandbox.engine.run import TableSource

_JOINS: Mapping[JoinKind, str] = {
    JoinKind.INNER: "INNER JOIN",
    JoinKind.LEFT: "LEFT JOIN",
    JoinKind.RIGHT: "RIGHT JOIN",
    JoinKind.FULL: "FULL JOIN",
    JoinKind.SEMI: "SEMI JOIN",
    JoinKind.ANTI: "ANTI JOIN",
    JoinKind.CROSS: "INNER JOIN",
}

_STATISTICS: Mapping[AggregateKind, str] = {
    AggregateKind.VAR_SAMP: "var_samp",
    AggregateKind.VAR_POP: "var_pop",
    AggregateKind.STDDEV_SAMP: "stddev_samp",
    AggregateKind.STDDEV_POP: "stddev_pop",
}


@dataclass(frozen=True, slots=True)
class Subplan:
    """A subplan as SQL, with its columns and the order that later steps must keep."""

    sql: str
    columns: Mapping[int, Scalar]
    order: tuple[tuple[str, bool, bool], ...] = ()
    """Column, ascending, nulls first."""


class PublicCompiler:
    """One compilation of a public plan."""

    def __init__(
        self, tables: Mapping[str, TableSource], frames: Mapping[str, pa.Table], database: Database
    ) -> None:
        """Compile over table versions and frames; views are made in `database`."""
        self._tables, self._frames, self._database = tables, frames, database
        self._renderer = Renderer(DUCKDB, lambda name: name, public=True)
        self._numbers = count(1)
        self.digests: set[str] = set()
        """Frames that were read so far."""

    def final(self, rows: Subplan, node: Node) -> str:
        """Return the statement whose columns are those of `node`, by position and type."""
        listed = ", ".join(
            f"TRY_CAST({self._text(rows.columns[c.id])} AS {SQL_TYPES[c.type]}) AS f{i}"
            for i, c in enumerate(node.columns)
        )
        return f"SELECT {listed or 'NULL AS none'} FROM ({rows.sql}) AS t{_order_by(rows.order)}"

    def rows(self, node: Node) -> Steps[Subplan]:
        """Return the SQL of a plan and of all below it."""
        match node:
            case Scan():
                return self._scan(node)
            case Local():
                return self._local(node)
            case JoinOn():
                left: Subplan = yield self.rows(node.left)
                right: Subplan = yield self.rows(node.right)
                return self._join(node, left, right)
            case UnionAll():
                parts: list[Subplan] = []
                for branch in node.children:
                    part: Subplan = yield self.rows(branch)
                    parts.append(part)
                return self._union(node, parts)
            case _:
                below: Subplan = yield self.rows(node.child)
                return self._above(node, below)

    def _above(
        self, node: Project | Where | DistinctOn | Group | SortBy | Slice, below: Subplan
    ) -> Subplan:
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

    def _scan(self, node: Scan) -> Subplan:
        source = self._tables[node.table]
        if source.facts.is_private:
            raise AssertionError("the public engine reads no private table")
        view = self._database.view(source)
        columns = {c.id: Col(self._name(), c.type) for c in node.columns}
        listed = ", ".join(
            f"{self._renderer.quoted(s)} AS {columns[c.id].name}"
            for c, s in zip(node.columns, node.sources, strict=True)
        )
        return Subplan(f"SELECT {listed} FROM {view}", columns)

    def _local(self, node: Local) -> Subplan:
        self.digests.add(node.digest)
        names = self._frames[node.digest].schema.names
        columns = {c.id: Col(self._name(), c.type) for c in node.columns}
        listed = ", ".join(
            f"CAST(f{names.index(s)} AS {SQL_TYPES[c.type]}) AS {columns[c.id].name}"
            for c, s in zip(node.columns, node.sources, strict=True)
        )
        return Subplan(f"SELECT {listed or '1 AS none'} FROM {frame_name(node.digest)}", columns)

    def _project(self, node: Project, below: Subplan) -> Subplan:
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

    def _join(self, node: JoinOn, left: Subplan, right: Subplan) -> Subplan:
        both = {**left.columns, **right.columns}
        test = "TRUE" if node.condition is None else self._text(lower(node.condition, both))
        sql = f"SELECT * FROM ({left.sql}) AS l {_JOINS[node.kind]} ({right.sql}) AS r ON {test}"
        if node.kind in (JoinKind.SEMI, JoinKind.ANTI):
            return Subplan(sql, left.columns)
        return Subplan(sql, both)

    def _union(self, node: UnionAll, parts: list[Subplan]) -> Subplan:
        columns = {c.id: Col(self._name(), c.type) for c in node.columns}
        branches = []
        for part, child in zip(parts, node.children, strict=True):
            listed = ", ".join(
                f"TRY_CAST({self._text(part.columns[below.id])} AS {SQL_TYPES[c.type]}) "
                f"AS {columns[c.id].name}"
                for c, below in zip(node.columns, child.columns, strict=True)
            )
            branches.append(f"SELECT {listed} FROM ({part.sql}) AS t")
        return Subplan(" UNION ALL ".join(branches), columns)

    def _distinct(self, node: DistinctOn, below: Subplan) -> Subplan:
        place = self._name()
        within = ", ".join(self._key(below.columns[i]) for i in node.on)
        # Which row stays is free in Spark; here it is always the same one.
        names = dict.fromkeys(self._text(v) for v in below.columns.values())
        order = (*below.order, *((n, True, True) for n in names))
        window = f"ROW_NUMBER() OVER (PARTITION BY {within}{_order_by(order)}) AS {place}"
        inner = f"SELECT *, {window} FROM ({below.sql}) AS t"
        return replace(below, sql=f"SELECT * FROM ({inner}) AS t WHERE {place} = 1")

    def _group(self, node: Group, below: Subplan) -> Subplan:
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
        return Subplan(sql, columns)

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

    def _sorted(self, node: SortBy, below: Subplan) -> Subplan:
        order: list[tuple[str, bool, bool]] = []
        added: list[str] = []
        for expr, ascending, nulls_first in node.keys:
            name = self._name()
            added.append(f"{self._expr(expr, below)} AS {name}")
            order.append((name, ascending, nulls_first))
        sql = f"SELECT *, {', '.join(added)} FROM ({below.sql}) AS t"
        return Subplan(sql, below.columns, (*order, *below.order))

    def _key(self, value: Scalar) -> str:
        text = self._text(value)
        if value.type is DataType.DOUBLE:
            return f"({text} + CAST(0 AS DOUBLE))"  # -0.0 and 0.0 are one group.
        return text

    def _expr(self, expr: Expr, below: Subplan) -> str:
        return self._text(lower(expr, below.columns))

    def _text(self, value: Scalar) -> str:
        return self._renderer.scalar(value)

    def _name(self) -> str:
        return f"p{next(self._numbers)}"


def _order_by(order: tuple[tuple[str, bool, bool], ...]) -> str:
    if not order:
        return ""
    terms = [
        f"{n} {'ASC' if up else 'DESC'} NULLS {'FIRST' if first else 'LAST'}"
        for n, up, first in order
    ]
    return f" ORDER BY {', '.join(terms)}"
