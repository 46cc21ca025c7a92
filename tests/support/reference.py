"""A slow, obvious interpreter of typed plans: the third opinion beside DuckDB and Spark.

Rows are dictionaries from column id to value, with the hidden unit and rank under names. It shares
no code with the compilers, so that agreement means something.
"""

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from privacy.dp.exact import ExactQuery, Measure, MeasureKind
from privacy.dp.plan import (
    AggregateCall,
    AggregateKind,
    Apply,
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
    UnionAll,
    Where,
)
from privacy.dp.query import JoinKind
from privacy.dp.release import Exact
from privacy.dp.types import DataType

UNIT, RANK, COHORT = "__unit", "__rank", "__cohort"
Row = dict[Any, Any]


@dataclass
class World:
    """Table name to rows; a private row also holds `__unit`, `__rank` (from 1) and `__cohort`."""

    tables: Mapping[str, Sequence[Row]]
    frames: Mapping[str, Sequence[Row]] = field(default_factory=dict)

    def without_unit(self, unit: int) -> "World":
        """Return the neighbour: every row of one unit gone from every private table."""
        kept = {n: [r for r in rows if r.get(UNIT) != unit] for n, rows in self.tables.items()}
        return World(kept, self.frames)


class PublicWorld:
    """`PublicData` over the public tables of a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def settled(self, node: Node) -> Node:
        return node  # Rows are always evaluated alike here.

    def distinct(
        self, node: Node, column_ids: tuple[int, ...], most: int
    ) -> tuple[tuple[Any, ...], ...] | None:
        rows = _Run(self._world, ExactQuery(node, (), ())).rows(node)
        found = {tuple(r[i] for i in column_ids) for r in rows}
        if len(found) > most:
            return None
        return tuple(sorted(found, key=lambda t: [(v is not None, v) for v in t]))

    def extremes(self, node: Node, column_id: int) -> tuple[float, float] | None:
        values = self._column(node, column_id)
        finite = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
        return (min(finite), max(finite)) if finite else None

    def longest(self, node: Node, column_id: int) -> int:
        return max((len(v) for v in self._column(node, column_id) if v is not None), default=0)

    def _column(self, node: Node, column_id: int) -> list[Any]:
        rows = _Run(self._world, ExactQuery(node, (), ())).rows(node)
        return [row[column_id] for row in rows]

    def multiplicity(self, node: Node, column_ids: tuple[int, ...]) -> int:
        counts: dict[tuple[Any, ...], int] = {}
        for r in _Run(self._world, ExactQuery(node, (), ())).rows(node):
            key = tuple(r[i] for i in column_ids)
            counts[key] = counts.get(key, 0) + 1
        return max(counts.values(), default=0)

    def evaluate(self, node: Node) -> tuple[tuple[Any, ...], ...]:
        rows = _Run(self._world, ExactQuery(node, (), ())).rows(node)
        return tuple(tuple(r[c.id] for c in node.columns) for r in rows)


def run(query: ExactQuery, world: World) -> Exact:
    """Compute every measure of every group present, by the letter of `ExactQuery`."""
    job = _Run(world, query)
    rows = job.rows(query.child)
    if query.unit_limit is not None:
        rows = _limited(rows, query.unit_limit)
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(value(e, row) for _, e in query.keys), []).append(row)
    if not query.keys:
        groups.setdefault((), [])
    measures: dict[str, dict[tuple[Any, ...], int]] = {}
    histograms: dict[str, dict[tuple[Any, ...], list[tuple[int, int]]]] = {}
    for m in query.measures:
        if m.kind is MeasureKind.HISTOGRAM:
            histograms[m.name] = {k: _histogram(m, members) for k, members in groups.items()}
        else:
            measures[m.name] = {k: _measure(m, members) for k, members in groups.items()}
    return Exact(measures, histograms, list(groups))


def fixed(m: Measure, row: Row) -> int | None:
    """Return the clamped fixed-point integer that a row contributes, None for nothing."""
    assert m.value is not None
    v = value(m.value, row)
    if v is None or (isinstance(v, float) and math.isnan(v)):
        return None
    if isinstance(v, float):
        scaled = min(max(v * float(10**m.scale), -9e15), 9e15)
        whole = math.floor(scaled + 0.5)
    else:
        whole = v * 10**m.scale
    whole = min(max(whole, m.low), m.high) - m.offset
    return whole * whole if m.square else whole


def _measure(m: Measure, rows: Iterable[Row]) -> int:
    kept = [r for r in rows if m.condition is None or value(m.condition, r) is True]
    if m.kind is MeasureKind.ROWS:
        return len(kept)
    if m.kind is MeasureKind.UNITS:
        return len({r[UNIT] for r in kept})
    return sum(v for r in kept if (v := fixed(m, r)) is not None)


def _histogram(m: Measure, rows: Iterable[Row]) -> list[tuple[int, int]]:
    counts: dict[int, int] = {}
    for r in rows:
        v = fixed(m, r)
        if v is not None:
            bucket = (v - m.low) // m.step
            counts[bucket] = counts.get(bucket, 0) + 1
    return sorted(counts.items())


def _limited(rows: list[Row], limit: int) -> list[Row]:
    kept: list[Row] = []
    counts: dict[int, int] = {}
    for row in sorted(rows, key=lambda r: (r[UNIT], r[RANK])):
        counts[row[UNIT]] = counts.get(row[UNIT], 0) + 1
        if counts[row[UNIT]] <= limit:
            kept.append(row)
    return kept


class _Run:
    def __init__(self, world: World, query: ExactQuery) -> None:
        self.world, self.query = world, query
        self.limits = dict(query.scan_limits)
        self.inner = dict(query.inner)

    def rows(self, node: Node) -> list[Row]:
        match node:
            case Scan():
                return self._scan(node)
            case Local():
                frame = self.world.frames[node.digest]
                pairs = list(zip(node.columns, node.sources, strict=True))
                return [{c.id: r[s] for c, s in pairs} for r in frame]
            case Project():
                return [
                    {**_hidden(r), **{c.id: value(e, r) for c, e in node.items}}
                    for r in self.rows(node.child)
                ]
            case Where():
                return [r for r in self.rows(node.child) if value(node.predicate, r) is True]
            case JoinOn():
                return self._join(node)
            case UnionAll():
                return [
                    {
                        **_hidden(r),
                        **{o.id: r[c.id] for o, c in zip(node.columns, ch.columns, strict=True)},
                    }
                    for ch in node.children
                    for r in self.rows(ch)
                ]
            case DistinctOn():
                return self._distinct(node)
            case Group():
                return self._group(node)
            case _:
                raise AssertionError(f"not below a release: {type(node).__name__}")

    def _scan(self, node: Scan) -> list[Row]:
        found: list[Row] = []
        limit = self.limits.get(node.columns[0].id)
        for r in self.world.tables[node.table]:
            if UNIT in r:
                if limit is not None and r[RANK] > limit:
                    continue
                if self.query.cohorts is not None and r[COHORT] not in self.query.cohorts:
                    continue
            row = {c.id: r[s] for c, s in zip(node.columns, node.sources, strict=True)}
            if UNIT in r:
                row |= {UNIT: r[UNIT], RANK: (r[RANK],)}
            found.append(row)
        return found

    def _join(self, node: JoinOn) -> list[Row]:
        left, right = self.rows(node.left), self.rows(node.right)
        found: list[Row] = []
        nulls = {c.id: None for c in node.right.columns}
        matched_right: set[int] = set()
        for a in left:
            hits = []
            for position, b in enumerate(right):
                if UNIT in a and UNIT in b and a[UNIT] != b[UNIT]:
                    continue
                merged = {**b, **a}
                if RANK in a and RANK in b:
                    merged[RANK] = a[RANK] + b[RANK]
                if node.condition is None or value(node.condition, merged) is True:
                    hits.append(merged)
                    matched_right.add(position)
            if node.kind is JoinKind.SEMI:
                found += [a] if hits else []
            elif node.kind is JoinKind.ANTI:
                found += [] if hits else [a]
            else:
                found += hits
                if not hits and node.kind in (JoinKind.LEFT, JoinKind.FULL):
                    found.append({**nulls, **a})
        if node.kind in (JoinKind.RIGHT, JoinKind.FULL):
            blank = {c.id: None for c in node.left.columns}
            found += [{**blank, **b} for p, b in enumerate(right) if p not in matched_right]
        return found

    def _distinct(self, node: DistinctOn) -> list[Row]:
        first: dict[tuple[Any, ...], Row] = {}
        for r in sorted(self.rows(node.child), key=lambda r: (r.get(UNIT, 0), r.get(RANK, ()))):
            first.setdefault(tuple(_comparable(r[i]) for i in node.on), r)
        return list(first.values())

    def _group(self, node: Group) -> list[Row]:
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for r in self.rows(node.child):
            groups.setdefault(tuple(value(e, r) for _, e in node.keys), []).append(r)
        found = []
        for key, members in groups.items():
            row: Row = {c.id: v for (c, _), v in zip(node.keys, key, strict=True)}
            row |= {UNIT: members[0][UNIT], RANK: min(m[RANK] for m in members)}
            for column, call in node.aggregates:
                row[column.id] = self._inner(column.id, call, members)
            found.append(row)
        return found

    def _inner(self, column: int, call: AggregateCall, rows: list[Row]) -> Any:
        args = [value(a, r) for r in rows for a in call.args[:1]]
        present = [v for v in args if v is not None]
        match call.kind:
            case AggregateKind.COUNT_ROWS:
                return len(rows)
            case AggregateKind.COUNT:
                return len(present)
            case AggregateKind.COUNT_IF:
                return sum(1 for v in present if v is True)
            case AggregateKind.COUNT_DISTINCT:
                return len({_comparable(v) for v in present})
            case AggregateKind.MIN:
                return min(present, default=None)
            case AggregateKind.MAX:
                return max(present, default=None)
            case AggregateKind.SUM | AggregateKind.AVG:
                m = self.inner[column]
                kept = [v for r in rows if (v := fixed(m, r)) is not None]
                if not kept:
                    return None
                if call.kind is AggregateKind.AVG:
                    return float(sum(kept)) / float(len(kept)) / float(10**m.scale)
                if call.args[0].type.is_integral:
                    return sum(kept)
                return float(sum(kept)) / float(10**m.scale)
            case _:
                raise AssertionError(call.kind)


def _hidden(row: Row) -> Row:
    return {k: row[k] for k in (UNIT, RANK) if k in row}


def _comparable(v: Any) -> Any:
    return "NaN" if isinstance(v, float) and math.isnan(v) else v


def value(expr: Expr, row: Row) -> Any:
    """Evaluate a scalar expression with SQL's three-valued logic."""
    match expr:
        case Ref():
            return row[expr.id]
        case Const():
            return expr.value
        case Apply():
            f, args = expr.function, expr.args
            if f in ("and", "or"):
                return _logic(f, value(args[0], row), value(args[1], row))
            if f == "when":
                for test, result in zip(args[0::2], args[1::2], strict=False):
                    if value(test, row) is True:
                        return value(result, row)
                return value(args[-1], row) if len(args) % 2 else None
            if f == "if":
                return value(args[1] if value(args[0], row) is True else args[2], row)
            values = [value(a, row) for a in args]
            if f in ("coalesce", "ifnull", "nvl"):
                return next((v for v in values if v is not None), None)
            if f == "isnull":
                return values[0] is None
            if f == "isnotnull":
                return values[0] is not None
            if f == "isnan":
                return isinstance(values[0], float) and math.isnan(values[0])
            if f == "in":
                if values[0] is None:
                    return None
                if any(v is not None and v == values[0] for v in values[1:]):
                    return True
                return None if None in values[1:] else False
            if f in ("least", "greatest"):
                present = [v for v in values if v is not None]
                return (min if f == "least" else max)(present) if present else None
            if f == "<=>":
                return values[0] == values[1]
            if any(v is None for v in values):
                return None
            if f == "cast":
                return _cast(values[0], expr.type)
            return _SCALAR[f](*values)


def _logic(function: str, a: Any, b: Any) -> Any:
    if function == "and":
        if a is False or b is False:
            return False
        return None if a is None or b is None else True
    if a is True or b is True:
        return True
    return None if a is None or b is None else False


def _cast(v: Any, kind: DataType) -> Any:
    if kind is DataType.DOUBLE:
        return float(v)
    if kind.is_integral:
        return math.trunc(v) if not isinstance(v, float) or math.isfinite(v) else None
    if kind is DataType.STRING:
        return str(v)
    return v


def _divide(a: float, b: float) -> float | None:
    return None if b == 0 else float(a) / float(b)


_SCALAR: Mapping[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "%": lambda a, b: (
        None if b == 0 else math.fmod(a, b) if isinstance(a, float) else int(math.fmod(a, b))
    ),
    "negative": lambda a: -a,
    "abs": abs,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "not": lambda a: not a,
    "floor": math.floor,
    "ceil": math.ceil,
    "year": lambda d: d.year if isinstance(d, dt.date) else None,
    "month": lambda d: d.month if isinstance(d, dt.date) else None,
    "upper": lambda s: s.upper(),
    "lower": lambda s: s.lower(),
    "length": len,
    "substring": lambda s, start, n: s[start - 1 : start - 1 + n],
}
