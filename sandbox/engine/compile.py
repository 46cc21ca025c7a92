"""From a checked question to the physical plan that both engines render.

Chains of projections are folded: an expression is carried along and written where it is used,
unless that would make the text large; then it becomes a column of its own. So two hundred
`withColumn` calls give a handful of nested queries, and no text grows exponentially.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import count

from privacy.dp.exact import ExactQuery, Measure
from privacy.dp.facts import TableFacts
from privacy.dp.iterate import Steps, drive
from privacy.dp.plan import (
    Column,
    DistinctOn,
    Group,
    JoinOn,
    Local,
    Node,
    Project,
    Ref,
    Scan,
    UnionAll,
    Where,
    references,
)
from privacy.dp.query import JoinKind
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.engine.folding import Environment, Folder, Part, conjuncts, distinct_names, lower
from sandbox.engine.measures import all_of, inner_aggregate, key_of, total_of, whole_of
from sandbox.engine.physical import (
    Buckets,
    Call,
    Cells,
    CohortIn,
    Col,
    First,
    Hidden,
    Keep,
    Lit,
    Meet,
    Output,
    PerUnit,
    RankAtMost,
    Read,
    Relation,
    Rows,
    Scalar,
    Stack,
    SumWhole,
    Total,
    UnitAggregate,
    UnitRows,
    Unscaled,
    column_names,
    scalar_of,
)
from sandbox.engine.refusals import join_form, too_large, unsupported


def compile_query(query: ExactQuery, tables: Mapping[str, TableFacts]) -> Cells:
    """Return the physical plan of `query`; raise `Refusal` for a form that no engine runs."""
    try:
        return Compiler(query, tables).cells()
    except RecursionError:
        raise too_large() from None


class Compiler:
    """One compilation; numbers scans and computed columns."""

    def __init__(self, query: ExactQuery, tables: Mapping[str, TableFacts]) -> None:
        """Keep the question and the storage facts of its tables."""
        self._query = query
        self._tables = tables
        self._limits = dict(query.scan_limits)
        self._inner = dict(query.inner)
        self._scans = count(1)
        self._folder = Folder()

    def cells(self) -> Cells:
        """Compile the whole question."""
        query = self._query
        part = self.part(query.child)
        if part.unit is None:
            raise unsupported(
                "This question reads public tables only; it needs no private aggregate.",
                "该问题只读取公开表，无需私有聚合。",
            )
        used = [e for _, e in query.keys]
        used += [e for m in query.measures for e in (m.condition, m.value) if e is not None]
        part = self._folder.fold(part, used)
        keys = tuple((f"k{i}", key_of(e, part.columns)) for i, (_, e) in enumerate(query.keys))
        built = [(m, total_of(m, part.columns)) for m in query.measures]
        part, keys, built = self._staged(part, keys, built)
        relation = part.relation
        if query.unit_limit is not None:
            # Rows that agree in every column still needed are interchangeable.
            order = part.order if part.total_order else self._ordered(part, keys, built)
            relation = UnitRows(relation, part.unit or "", order, query.unit_limit)
        return Cells(
            relation,
            part.unit or "",
            keys,
            tuple((m.name, t) for m, t in built if not isinstance(t, Buckets)),
            tuple((m.name, t) for m, t in built if isinstance(t, Buckets)),
        )

    def _ordered(
        self,
        part: Part,
        keys: tuple[tuple[str, Scalar], ...],
        built: list[tuple[Measure, Total | Buckets]],
    ) -> tuple[str, ...]:
        needed: set[str] = set()
        for _, key in keys:
            needed |= column_names(key)
        for _, total in built:
            if total.condition is not None:
                needed |= column_names(total.condition)
            if isinstance(total, SumWhole | Buckets):
                needed |= column_names(scalar_of(total.value))
        return distinct_names((*part.order, *sorted(needed)))

    def part(self, node: Node) -> Part:
        """Compile a subplan."""
        return drive(self._part(node))

    def _part(self, node: Node) -> Steps[Part]:
        match node:
            case Scan():
                return self._scan(node)
            case Local():
                outputs = tuple(
                    Output(f"c{column.id}", source, column.type, column.id)
                    for column, source in zip(node.columns, node.sources, strict=True)
                )
                visible: Environment = {
                    c.id: Col(o.name, c.type) for c, o in zip(node.columns, outputs, strict=True)
                }
                return Part(Rows(node.digest, outputs), visible)
            case Project():
                below: Part = yield self._part(node.child)
                return self._project(node, below)
            case Where():
                child: Part = yield self._part(node.child)
                part = self._folder.fold(child, (node.predicate,))
                part, (predicate,) = self._folder.cut(part, (lower(node.predicate, part.columns),))
                return replace(part, relation=Keep(part.relation, predicate))
            case JoinOn():
                left: Part = yield self._part(node.left)
                right: Part = yield self._part(node.right)
                return self._join(node, left, right)
            case UnionAll():
                parts: list[Part] = []
                for branch in node.children:
                    compiled: Part = yield self._part(branch)
                    parts.append(compiled)
                return self._union(node, parts)
            case DistinctOn():
                whole: Part = yield self._part(node.child)
                return self._distinct(node, whole)
            case Group():
                grouped: Part = yield self._part(node.child)
                return self._group(node, grouped)
            case _:
                raise unsupported(
                    "Order and limit work on answers, not on rows of a private table.",
                    "排序与截取只能作用于结果，不能作用于私有表的行。",
                )

    def _scan(self, node: Scan) -> Part:
        facts = self._tables[node.table]
        number = next(self._scans)
        outputs: list[Output] = []
        columns: Environment = {}
        units: set[str] = set()
        for column, source in zip(node.columns, node.sources, strict=True):
            name = f"c{column.id}"
            scaled = facts.is_private and column.type is DataType.DOUBLE
            stored = DataType.LONG if scaled else column.type
            outputs.append(Output(name, source, stored, column.id))
            value = Col(name, stored)
            columns[column.id] = Unscaled(value, facts.column(source).scale) if scaled else value
            if facts.is_private and source == facts.unit_column:
                units.add(name)
        if not facts.is_private:
            return Part(Read(node.table, tuple(outputs)), columns)
        hidden = Hidden(f"u{number}", f"r{number}", f"h{number}")
        relation: Relation = Read(node.table, tuple(outputs), hidden)
        if self._query.cohorts is not None:
            relation = CohortIn(relation, hidden.cohort, tuple(sorted(self._query.cohorts)))
        limit = self._limits.get(node.columns[0].id)
        if limit is not None:
            relation = RankAtMost(relation, hidden.rank, limit)
        return Part(relation, columns, hidden.unit, (hidden.rank,), units=frozenset(units))

    def _project(self, node: Project, below: Part) -> Part:
        part = self._folder.fold(below, tuple(e for _, e in node.items))
        lowered = [lower(e, part.columns) for _, e in node.items]
        part, pieces = self._folder.cut(part, lowered)
        columns = {c.id: value for (c, _), value in zip(node.items, pieces, strict=True)}
        return replace(part, columns=columns)

    def _join(self, node: JoinOn, left: Part, right: Part) -> Part:
        kind = node.kind
        public: int | None = None
        if right.unit is None and left.unit is not None:
            public = node.right.columns[0].id
        elif left.unit is None and right.unit is not None:
            public = node.left.columns[0].id
            if kind not in (JoinKind.INNER, JoinKind.CROSS, JoinKind.RIGHT):
                raise join_form(kind)
            left, right = right, left
            kind = JoinKind.LEFT if kind is JoinKind.RIGHT else kind
        elif left.unit is None:
            raise AssertionError("public joins are evaluated before compiling")
        if kind is JoinKind.CROSS:
            kind = JoinKind.INNER
        if kind in (JoinKind.RIGHT, JoinKind.FULL):
            raise join_form(kind)
        if kind is JoinKind.LEFT:
            # A computed column of the right side must be null where no row matched.
            right = self._folder.materialised(right, right.columns)
        used = references(node.condition) if node.condition is not None else frozenset()
        left = self._folder.materialised(left, used & left.columns.keys())
        right = self._folder.materialised(right, used & right.columns.keys())
        both = {**left.columns, **right.columns}
        units: tuple[str, str] | None = None
        conditions = [lower(c, both) for c in conjuncts(node.condition)]
        if left.unit is not None and right.unit is not None:
            units = (left.unit, right.unit)
            rest = [c for c in conditions if not _equates(c, left.units, right.units)]
            if len(rest) == len(conditions):
                raise Refusal(
                    "JOIN_FORM",
                    "Two private tables join only on the protected unit's own id.",
                    "两张私有表只能按受保护主体的原始标识连接。",
                )
            conditions = rest
        relation = Meet(left.relation, right.relation, kind, units, all_of(conditions), public)
        if kind in (JoinKind.SEMI, JoinKind.ANTI):
            return replace(left, relation=relation)
        return Part(
            relation,
            both,
            left.unit,
            left.order + right.order,
            total_order=left.total_order and right.total_order and public is None,
            units=left.units | (right.units if kind is JoinKind.INNER else frozenset()),
        )

    def _union(self, node: UnionAll, parts: list[Part]) -> Part:
        if any(p.unit is None for p in parts):
            raise unsupported(
                "A union of private and public rows has no protected unit for some rows.",
                "私有行与公开行的合并会使部分行没有受保护主体。",
            )
        width = max(len(p.order) for p in parts)
        unit, branch = self._folder.name("u"), self._folder.name("r")
        ranks = tuple(self._folder.name("r") for _ in range(width))
        columns: Environment = {}
        takes: list[list[Scalar | str]] = []
        for number, part in enumerate(parts):
            padding = (Lit(None, DataType.LONG),) * (width - len(part.order))
            takes.append([part.unit or "", Lit(number, DataType.INTEGER), *part.order, *padding])
        names = [unit, branch, *ranks]
        units: set[str] = set()
        for position, column in enumerate(node.columns):
            name = self._folder.name("e")
            values = [
                p.columns[c.columns[position].id] for p, c in zip(parts, node.children, strict=True)
            ]
            scales = {v.scale if isinstance(v, Unscaled) else None for v in values}
            if len(scales) == 1 and None not in scales:
                columns[column.id] = Unscaled(Col(name, DataType.LONG), scales.pop() or 0)
                values = [v.stored if isinstance(v, Unscaled) else v for v in values]
            else:
                columns[column.id] = Col(name, column.type)
            for row, value in zip(takes, values, strict=True):
                row.append(value)
            names.append(name)
            if all(
                isinstance(v, Col) and v.name in p.units for v, p in zip(values, parts, strict=True)
            ):
                units.add(name)
        relation = Stack(
            tuple(p.relation for p in parts), tuple(tuple(t) for t in takes), tuple(names), unit
        )
        total = all(p.total_order for p in parts)
        return Part(relation, columns, unit, (branch, *ranks), total, frozenset(units))

    def _distinct(self, node: DistinctOn, part: Part) -> Part:
        unit = part.unit
        if unit is None:
            raise AssertionError("public distinct is evaluated before compiling")
        part = self._folder.materialised(part, part.columns)
        if not any(_is_unit(part.columns[i], part) for i in node.on):
            raise unsupported(
                "Distinct rows of a private table need the unit column among the columns.",
                "私有表去重的列中必须包含主体列。",
            )
        by = distinct_names(_stored(part.columns[i]) for i in node.on)
        everything = distinct_names(_stored(v) for v in part.columns.values())
        if set(by) == set(everything):
            return self._grouped(part, [(c.id, part.columns[c.id]) for c in node.columns], ())
        order = part.order if part.total_order else distinct_names((*part.order, *everything))
        return replace(part, relation=First(part.relation, unit, by, order))

    def _group(self, node: Group, part: Part) -> Part:
        calls = tuple(a for _, call in node.aggregates for a in call.args)
        inner = [self._inner.get(c.id) for c, _ in node.aggregates]
        more = [e for m in inner if m is not None for e in (m.condition, m.value) if e is not None]
        part = self._folder.fold(part, (*(e for _, e in node.keys), *calls, *more))
        if part.unit is None or not any(
            isinstance(e, Ref) and _is_unit(part.columns[e.id], part) for _, e in node.keys
        ):
            raise unsupported(
                "An aggregate below another one groups by the protected unit's own id.",
                "位于另一聚合之下的聚合必须按受保护主体的原始标识分组。",
            )
        keys = [(c.id, key_of(e, part.columns)) for c, e in node.keys]
        aggregates = tuple(
            (c, inner_aggregate(call, measure, part.columns))
            for (c, call), measure in zip(node.aggregates, inner, strict=True)
        )
        return self._grouped(part, keys, aggregates)

    def _grouped(
        self,
        part: Part,
        keys: list[tuple[int, Scalar]],
        aggregates: tuple[tuple[Column, UnitAggregate], ...],
    ) -> Part:
        part, pieces = self._folder.named(part, [k for _, k in keys])
        columns: Environment = {}
        units: set[str] = set()
        named: dict[str, tuple[str, Scalar]] = {}
        for (identity, _), piece in zip(keys, pieces, strict=True):
            # One column under two names is one key.
            name, _ = named.setdefault(repr(piece), (self._folder.name("g"), piece))
            columns[identity] = Col(name, piece.type)
            if isinstance(piece, Unscaled):
                columns[identity] = Unscaled(Col(name, DataType.LONG), piece.scale)
                named[repr(piece)] = (name, piece.stored)
            if _is_unit(piece, part):
                units.add(name)
        outputs: list[tuple[str, UnitAggregate]] = []
        for column, aggregate in aggregates:
            name = self._folder.name("a")
            columns[column.id] = Col(name, column.type)
            outputs.append((name, aggregate))
        listed = tuple(named.values())
        order = tuple(name for name, _ in listed if name not in units)
        relation = PerUnit(part.relation, part.unit or "", listed, tuple(outputs))
        return Part(relation, columns, part.unit, order, units=frozenset(units))

    def _staged(
        self,
        part: Part,
        keys: tuple[tuple[str, Scalar], ...],
        built: list[tuple[Measure, Total | Buckets]],
    ) -> tuple[Part, tuple[tuple[str, Scalar], ...], list[tuple[Measure, Total | Buckets]]]:
        """Give keys and measured values a column each, so that their text appears once."""
        scalars: list[Scalar] = [k for _, k in keys]
        scalars += [scalar_of(t.value) for _, t in built if isinstance(t, SumWhole | Buckets)]
        conditions = [t.condition for _, t in built if t.condition is not None]
        part, cut = self._folder.cut(part, [*scalars, *conditions])
        tests = dict(zip(map(repr, conditions), cut[len(scalars) :], strict=True))
        part, pieces = self._folder.named(part, cut[: len(scalars)], carried=tests.values())
        known = dict(zip(map(repr, scalars), pieces, strict=True))
        staged: list[tuple[Measure, Total | Buckets]] = []
        for measure, total in built:
            condition = None if total.condition is None else tests[repr(total.condition)]
            new = replace(total, condition=condition)
            if isinstance(new, SumWhole | Buckets):
                value = known[repr(scalar_of(new.value))]
                new = replace(new, value=whole_of(measure, value))
            staged.append((measure, new))
        return part, tuple((n, known[repr(k)]) for n, k in keys), staged


def _is_unit(value: Scalar, part: Part) -> bool:
    return isinstance(value, Col) and value.name in part.units


def _stored(value: Scalar) -> str:
    (name,) = column_names(value)
    return name


def _equates(condition: Scalar, left: frozenset[str], right: frozenset[str]) -> bool:
    if not (isinstance(condition, Call) and condition.function in ("==", "<=>")):
        return False
    a, b = condition.args
    if not (isinstance(a, Col) and isinstance(b, Col)):
        return False
    return (a.name in left and b.name in right) or (b.name in left and a.name in right)
