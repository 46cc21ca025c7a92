"""Computes the kind of every node: `Public`, or `Private` with its proven bounds.

One `Classifier` serves one question. Each method is one operator's rule from soundness A; a form
that would let one unit change another unit's rows is refused with the nearest allowed one.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from privacy.dp.facts import MAX_UNIT_ID, ColumnFacts, PublicFacts, TableFacts
from privacy.dp.fixedpoint import digits
from privacy.dp.interval import Interval, bounds
from privacy.dp.joined import check_filtering, private_join, public_join
from privacy.dp.per_unit import per_unit_group, text_lengths
from privacy.dp.plan import (
    DistinctOn,
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
    children,
    references,
    with_children,
)
from privacy.dp.predicate import (
    allowed,
    conjuncts,
    merged_values,
    narrowed,
    not_null,
    pin,
)
from privacy.dp.query import JoinKind
from privacy.dp.relation import (
    Kind,
    Private,
    Public,
    check_growth,
    is_per_unit,
    possible_values,
    rows_refused,
    tightened,
)
from privacy.dp.searches import Searches
from privacy.dp.textlength import check_carried
from privacy.dp.types import DataType, Value
from privacy.errors import Refusal

T = TypeVar("T")


class Classifier:
    """One analysis of one plan; remembers each node's kind, since plans share long chains."""

    def __init__(self, facts: PublicFacts) -> None:
        """Keep the only source of information."""
        self.facts = facts
        self._known: dict[int, tuple[Node, Kind]] = {}
        self.multiplicities: dict[int, int] = {}
        """For the public side of each join judged so far, by its first column: its fan-out."""
        self._settled: dict[int, tuple[Node, Node]] = {}
        self._searches = Searches()

    def kind(self, node: Node) -> Kind:
        """Return the kind of `node`, computed once."""
        known = self._known.get(id(node))
        if known is None:
            # The node is stored beside its kind so that its id cannot be reused meanwhile.
            kind = self._compute(node)
            if isinstance(kind, Private):
                check_growth(kind, [self.kind(child) for child in children(node)])
            known = self._known[id(node)] = (node, kind)
        return known[1]

    def settled(self, node: Node) -> Node:
        """Return a judged plan with the rows of each public side that were judged."""
        known = self._settled.get(id(node))
        if known is None:
            made = with_children(node, tuple(self.settled(child) for child in children(node)))
            # The node is stored beside it so that its id cannot be reused meanwhile.
            known = self._settled[id(node)] = (node, made)
        return known[1]

    def _settle(self, public: Node) -> Node:
        known = self._settled.get(id(public))
        if known is None:
            known = self._settled[id(public)] = (public, self.facts.data.settled(public))
        return known[1]

    def _compute(self, node: Node) -> Kind:
        match node:
            case Scan():
                return self._scan(node)
            case Local():
                return Public()
            case Project():
                return self._project(node, self.kind(node.child))
            case Where():
                return self._where(node, self.kind(node.child))
            case JoinOn():
                return self._join(node)
            case UnionAll():
                return self._union(node)
            case DistinctOn():
                return self._distinct(node, self.kind(node.child))
            case Group():
                return self._group(node, self.kind(node.child))
            case SortBy() | Slice():
                if isinstance(self.kind(node.child), Private):
                    what = "order" if isinstance(node, SortBy) else "limit"
                    raise rows_refused(what)
                return Public()

    def _scan(self, node: Scan) -> Kind:
        table = self.facts.tables[node.table]
        if not table.is_private:
            return Public()
        by_source = {source: c.id for c, source in zip(node.columns, node.sources, strict=True)}
        facts = {c.id: table.column(s) for c, s in zip(node.columns, node.sources, strict=True)}
        keys, sizes = _key_ids(table, by_source)
        sizes |= {
            i: len(f.domain) for i, f in facts.items() if f.domain is not None and not f.nullable
        }
        units = frozenset(i for s, i in by_source.items() if s == table.unit_column)
        private = Private(
            domain=str(table.unit_domain),
            units=units,
            of_unit=units,
            rows=table.max_rows_per_unit,
            keys=keys,
            sizes=sizes,
            searches=self._searches,
            values={
                i: ((None,) if f.nullable else ()) + tuple(f.domain)
                for i, f in facts.items()
                if f.domain is not None
            },
            intervals={
                i: Interval(f.low, f.high)
                for i, f in facts.items()
                if f.low is not None and f.high is not None
            },
            scales={i: f.scale for i, f in facts.items() if f.type.is_numeric},
            lengths={
                i: _longest(f, is_unit=i in units)
                for i, f in facts.items()
                if f.type is DataType.STRING
            },
            steps={i: float(f.step) for i, f in facts.items() if f.step is not None},
            constant=frozenset(
                i for s, i in by_source.items() if frozenset() in keys or s == table.unit_column
            ),
            max_units=table.max_units or 0,
        )
        return tightened(private)

    def _project(self, node: Project, kind: Kind) -> Kind:
        if isinstance(kind, Public):
            return kind
        copies: dict[int, list[int]] = {}
        intervals: dict[int, Interval] = {}
        values: dict[int, tuple[Value, ...]] = {}
        constant: set[int] = set()
        scales: dict[int, int] = {}
        kind.check(*(expr for _, expr in node.items))
        check_carried((expr for _, expr in node.items), kind.lengths)
        for column, expr in node.items:
            if isinstance(expr, Ref):
                copies.setdefault(expr.id, []).append(column.id)
            if column.type.is_numeric:
                interval = bounds(expr, kind.intervals)
                if interval.is_finite:
                    intervals[column.id] = interval
                scales[column.id] = digits(expr, kind.scales)
            possible = possible_values(expr, kind)
            if possible is not None:
                values[column.id] = possible
            if references(expr) <= kind.constant:
                constant.add(column.id)
        # A key column that is projected away still makes rows distinct: it stays, under its old id.
        kept = {i: (ids[0] if i not in ids else i) for i, ids in copies.items()}
        return replace(
            kind,
            units=_copied(kind.units, copies),
            of_unit=frozenset(c.id for c, e in node.items if references(e) & kind.of_unit),
            keys=frozenset(frozenset(kept.get(i, i) for i in key) for key in kind.keys),
            sizes={**_hidden(kind, kept), **_spread(kind.sizes, copies)},
            values=values,
            intervals=intervals,
            scales=scales,
            steps=_spread(kind.steps, copies),
            lengths=text_lengths(node.items, kind),
            constant=frozenset(constant),
            origin=_spread(kind.origin, copies),
        )

    def _where(self, node: Where, kind: Kind) -> Kind:
        if isinstance(kind, Public):
            return kind
        kind.check(node.predicate)
        sizes, values, intervals = dict(kind.sizes), dict(kind.values), dict(kind.intervals)
        for conjunct in conjuncts(node.predicate):
            pinned = pin(conjunct)
            if pinned is not None:
                column, literals = pinned
                sizes[column] = min(len(literals), sizes.get(column, len(literals)))
                known = values.get(column)
                values[column] = (
                    literals if known is None else tuple(v for v in literals if v in known)
                )
                sizes[column] = min(sizes[column], max(len(values[column]), 1))
            tighter = narrowed(conjunct, intervals)
            if tighter is not None:
                intervals[tighter[0]] = tighter[1]
            compared = allowed(conjunct, values)
            if compared is not None:
                values[compared[0]] = compared[1]
            present = not_null(conjunct)
            if present is not None and present in values:
                values[present] = tuple(v for v in values[present] if v is not None)
        return tightened(replace(kind, sizes=sizes, values=values, intervals=intervals))

    def _join(self, node: JoinOn) -> Kind:
        left, right = self.kind(node.left), self.kind(node.right)
        if isinstance(left, Public) and isinstance(right, Public):
            return left
        if isinstance(left, Private) and isinstance(right, Private):
            return private_join(node, left, right)
        if isinstance(right, Private):
            if node.kind is JoinKind.INNER:
                return self._public_join(node, right, node.left)
        elif node.kind in (JoinKind.INNER, JoinKind.LEFT):
            return self._public_join(node, _private(left), node.right)
        elif node.kind in (JoinKind.SEMI, JoinKind.ANTI):
            check_filtering(node, _private(left), self._settle(node.right), self.facts.data)
            return left
        raise Refusal(
            "JOIN_FORM",
            f"A {node.kind.value} join of a private table with a public one would make rows that "
            "belong "
            "to no protected unit. Use inner, left (private side kept), semi or anti, with a "
            "condition.",
            f"私有表与公开表的 {node.kind.value} 连接会产生不属于任何受保护主体的行。"
            "请使用带条件的 inner、left（保留私有侧）、semi 或 anti 连接。",
        )

    def _public_join(self, node: JoinOn, private: Private, public: Node) -> Kind:
        settled = self._settle(public)
        joined, fan_out = public_join(node, private, settled, self.facts.data)
        self.multiplicities[settled.columns[0].id] = fan_out
        return joined

    def _union(self, node: UnionAll) -> Kind:
        kinds = [self.kind(child) for child in node.children]
        if all(isinstance(k, Public) for k in kinds):
            return Public()
        private = [k for k in kinds if isinstance(k, Private)]
        shared = [
            column.id
            for position, column in enumerate(node.columns)
            if all(
                child.columns[position].id in k.units
                for child, k in zip(node.children, private, strict=False)
            )
        ]
        if len(private) < len(kinds) or len({k.domain for k in private}) > 1 or not shared:
            raise Refusal(
                "UNION_FORM",
                "A union with a private table needs private tables of one unit domain on all "
                "sides, with "
                "the unchanged unit column (such as uscc) in the same position.",
                "与私有表做 union 时，各侧都必须是同一主体域的私有表，且未经改动的主体列（如 uscc）"
                "位于相同位置。",
            )
        rows = [k.rows for k in private]
        possible: dict[int, tuple[Value, ...]] = {}
        merged_intervals: dict[int, Interval] = {}
        lengths: dict[int, int] = {}
        scales: dict[int, int] = {}
        for position, column in enumerate(node.columns):
            ids = [child.columns[position].id for child in node.children]
            pairs = list(zip(private, ids, strict=True))
            if all(i in k.values for k, i in pairs):
                possible[column.id] = merged_values(k.values[i] for k, i in pairs)
            if all(i in k.intervals for k, i in pairs):
                interval = pairs[0][0].intervals[pairs[0][1]]
                for k, i in pairs[1:]:
                    interval = interval.hull(k.intervals[i])
                merged_intervals[column.id] = interval
            scales[column.id] = max(k.scales.get(i, 0) for k, i in pairs)
            if column.type is DataType.STRING:
                lengths[column.id] = max(k.lengths.get(i, 0) for k, i in pairs)
        return Private(
            domain=private[0].domain,
            units=frozenset(shared),
            of_unit=frozenset(
                column.id
                for position, column in enumerate(node.columns)
                if any(
                    child.columns[position].id in k.of_unit
                    for child, k in zip(node.children, private, strict=True)
                )
            ),
            rows=None if any(r is None for r in rows) else sum(r for r in rows if r is not None),
            values=possible,
            sizes={i: len(v) for i, v in possible.items() if None not in v},
            intervals=merged_intervals,
            lengths=lengths,
            scales=scales,
            max_units=max(k.max_units for k in private),
            searches=self._searches,
        )

    def _distinct(self, node: DistinctOn, kind: Kind) -> Kind:
        if isinstance(kind, Public):
            return kind
        on = frozenset(node.on)
        if not on & kind.units:
            raise Refusal(
                "PRIVATE_ROWS",
                "Distinct rows of a private table would show rows, and one unit could decide "
                "which row of "
                "another stays. Keep the unit column in the list, or count: "
                "groupBy(...).agg(count('*')).",
                "私有表去重会显示原始行，且一个主体会影响另一主体保留哪一行。"
                "请在列表中保留主体列，或改为计数：groupBy(...).agg(count('*'))。",
            )
        new_key = on - kind.units
        keys = kind.keys | {frozenset(new_key)}
        return tightened(replace(kind, keys=keys))

    def _group(self, node: Group, kind: Kind) -> Kind:
        if isinstance(kind, Public):
            return kind
        kind.check(
            *(expr for _, expr in node.keys),
            *(arg for _, call in node.aggregates for arg in call.args),
        )
        if not is_per_unit(node, kind):
            raise AssertionError("a release must be frozen before its parent is classified")
        return per_unit_group(node, kind)


def _private(kind: Kind) -> Private:
    if not isinstance(kind, Private):
        raise AssertionError("public inputs were separated before")  # noqa: TRY004  # our bug
    return kind


def _key_ids(
    table: TableFacts, by_source: Mapping[str, int]
) -> tuple[frozenset[frozenset[int]], dict[int, int]]:
    """Return unique keys as ids without the unit; unread key columns get negative stand-in ids."""
    keys: set[frozenset[int]] = set()
    sizes: dict[int, int] = {}
    anchor = min(by_source.values(), default=0)
    for key in table.unique_keys:
        ids: set[int] = set()
        for name in key:
            if name == table.unit_column:
                continue
            position = [c.name for c in table.columns].index(name)
            # An unread key column still separates rows. Its stand-in is unique to this scan.
            column = by_source.get(name, -(anchor * 1000 + position) - 1)
            ids.add(column)
            domain = table.column(name).domain
            if domain is not None:
                sizes[column] = len(domain)
        keys.add(frozenset(ids))
    return frozenset(keys), sizes


def _longest(facts: ColumnFacts, *, is_unit: bool) -> int:
    """Return the characters of a column's longest text."""
    if facts.domain is not None:
        return max((len(v) for v in facts.domain if isinstance(v, str)), default=0)
    return MAX_UNIT_ID if is_unit else facts.max_length


def _copied(ids: frozenset[int], copies: Mapping[int, list[int]]) -> frozenset[int]:
    return frozenset(new for old in ids for new in copies.get(old, ()))


def _spread(known: Mapping[int, T], copies: Mapping[int, list[int]]) -> dict[int, T]:
    return {new: value for old, value in known.items() for new in copies.get(old, ())}


def _hidden(kind: Private, kept: Mapping[int, int]) -> dict[int, int]:
    members = {i for key in kind.keys for i in key}
    return {kept.get(i, i): n for i, n in kind.sizes.items() if i in members}
