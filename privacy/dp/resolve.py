"""From names to ids and types: a `query.Query` becomes a `plan.Node`, or is refused with a reason.

Names, implicit conversions and output names follow Spark 4.3 with ANSI mode off. The result is a
function of the question and of the catalogue's public facts alone: the same question always gets
the same ids. Nothing here judges privacy; provenance is followed by id in what this returns.

Neither long chains of operators nor deep expressions use Python's stack (`iterate`); the size of a
question is bounded by the limits below.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Protocol

from privacy.dp import query as q
from privacy.dp import resolve_columns as columns
from privacy.dp import resolve_join as pairs
from privacy.dp import resolve_rows as rows
from privacy.dp.facts import TableFacts
from privacy.dp.iterate import Steps, drive
from privacy.dp.plan import Column, Local, Node, Scan
from privacy.dp.resolve_expr import Interner, has_aggregate
from privacy.dp.resolve_group import resolve_aggregate
from privacy.dp.scope import Field, Relation
from privacy.dp.types import DataType, Value
from privacy.errors import Refusal

MAX_OPERATORS = 4000
"""Relational operators in one question, views written out."""

MAX_CELLS_OF_SCHEMA = 500_000
"""Columns summed over all operators of one question: bounds the work of resolving it."""


class Catalogue(Protocol):
    """Where names of relations are looked up."""

    def table(self, name: tuple[str, ...]) -> TableFacts | None:
        """Return the public facts of a catalogue table that the session may see."""
        ...

    def view(self, name: str) -> q.Query | None:
        """Return the question behind a temporary view."""
        ...

    def frame(self, digest: str) -> tuple[tuple[str, DataType], ...] | None:
        """Return the columns of a frame that the client sent."""
        ...


@dataclass(frozen=True, slots=True)
class NamedRelations:
    """A catalogue held in memory; names match without regard to case."""

    tables: Mapping[str, TableFacts] = field(default_factory=dict)
    views: Mapping[str, q.Query] = field(default_factory=dict)
    frames: Mapping[str, tuple[tuple[str, DataType], ...]] = field(default_factory=dict)

    def table(self, name: tuple[str, ...]) -> TableFacts | None:
        """Return the table of that name, with or without Spark's catalogue and schema."""
        if name[:-1] not in ((), ("default",), ("spark_catalog", "default")):
            return None
        return {k.lower(): v for k, v in self.tables.items()}.get(name[-1].lower())

    def view(self, name: str) -> q.Query | None:
        """Return the view of that name."""
        return {k.lower(): v for k, v in self.views.items()}.get(name.lower())

    def frame(self, digest: str) -> tuple[tuple[str, DataType], ...] | None:
        """Return the columns of the frame with that digest."""
        return self.frames.get(digest)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A question with all names looked up."""

    node: Node
    epsilon: float | None = None
    """The privacy loss that hints ask for, if any."""


def resolve(query: q.Query, catalogue: Catalogue) -> Resolved:
    """Return the typed plan of `query`; raise `Refusal` where a name or type does not fit."""
    resolver = _Resolver(catalogue)
    relation = drive(resolver.relation(query))
    return Resolved(relation.node, resolver.epsilon)


class _Resolver:
    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._ids = count()
        self._interner = Interner()
        self._operators = 0
        self._cells = 0
        self._views: list[str] = []
        self.epsilon: float | None = None

    def _fresh(self) -> int:
        return next(self._ids)

    def relation(self, query: q.Query) -> Steps[Relation]:
        """Resolve one operator after its inputs; keep the client's label on the result."""
        self._operators += 1
        if self._operators > MAX_OPERATORS:
            raise _too_large("operators", MAX_OPERATORS)
        result: Relation
        match query:
            case q.Table():
                result = yield self._table(query)
            case q.Frame():
                result = self._frame(query)
            case q.Join():
                left: Relation = yield self.relation(query.left)
                right: Relation = yield self.relation(query.right)
                result = replace(pairs.join(query, left, right, self._fresh), inputs=(left, right))
            case q.Union():
                left = yield self.relation(query.left)
                right = yield self.relation(query.right)
                # As in Spark, DataFrame references do not look through a union.
                result = pairs.union(query, left, right, self._fresh)
            case _:
                child: Relation = yield self.relation(query.child)
                result = replace(self._unary(query, child), inputs=(child,))
        self._cells += len(result.fields)
        if self._cells > MAX_CELLS_OF_SCHEMA:
            raise _too_large("columns over all operators", MAX_CELLS_OF_SCHEMA)
        return replace(result, plan_id=query.plan_id)

    def _unary(self, query: q.Query, child: Relation) -> Relation:
        match query:
            case q.Select():
                if any(map(has_aggregate, query.items)):
                    whole = q.Aggregate(query.child, (), query.items, keys_in_output=False)
                    return resolve_aggregate(whole, child, self._fresh, self._interner)
                return columns.select(query, child, self._fresh)
            case q.WithColumns():
                return columns.with_columns(query, child, self._fresh)
            case q.Drop():
                return columns.drop(query, child, self._fresh)
            case q.Rename():
                return columns.rename(query, child, self._fresh)
            case q.ToNames():
                return columns.to_names(query, child, self._fresh)
            case q.SubqueryAlias():
                return _aliased(child, (query.name,))
            case q.Aggregate():
                return resolve_aggregate(query, child, self._fresh, self._interner)
            case q.Filter():
                return rows.filter_rows(query, child)
            case q.Sort():
                return rows.sort_rows(query, child)
            case q.Distinct():
                return rows.distinct_rows(query, child)
            case q.Limit():
                return rows.limit_rows(query, child)
            case q.Hint():
                self._hint(query)
                return child
            case _:
                raise AssertionError("operators with other than one input are handled before")

    def _table(self, query: q.Table) -> Steps[Relation]:
        view = self._catalogue.view(query.name[0]) if len(query.name) == 1 else None
        if view is not None:
            name = query.name[0].lower()
            if name in self._views:
                raise Refusal(
                    "UNKNOWN_TABLE",
                    f"The view `{name}` is defined by itself. Create it under another name.",
                    f"视图 `{name}` 引用了自身。请换一个名称创建。",
                )
            self._views.append(name)
            child: Relation = yield self.relation(view)
            self._views.pop()
            return _aliased(child, query.name)
        facts = self._catalogue.table(query.name)
        if facts is None:
            name = ".".join(query.name)
            raise Refusal(
                "UNKNOWN_TABLE",
                f"There is no table or view `{name}` that you can use. "
                "spark.catalog.listTables() lists yours.",
                f"没有可供您使用的表或视图 `{name}`。可用 spark.catalog.listTables() 查看。",
            )
        listed = tuple(Column(self._fresh(), c.name, c.type, c.nullable) for c in facts.columns)
        scan = Scan(facts.name, listed, tuple(c.name for c in facts.columns))
        qualifier = ("spark_catalog", "default", query.name[-1])
        return Relation(scan, tuple(Field(c, qualifier) for c in listed))

    def _frame(self, query: q.Frame) -> Relation:
        known = self._catalogue.frame(query.digest)
        if known is None:
            raise Refusal(
                "UNKNOWN_TABLE",
                "The rows of this createDataFrame are not here any more. Create it again.",
                "该 createDataFrame 的数据已不存在，请重新创建。",
            )
        listed = tuple(Column(self._fresh(), name, kind) for name, kind in known)
        local = Local(query.digest, listed, tuple(name for name, _ in known))
        return Relation(local, tuple(Field(c) for c in listed))

    def _hint(self, query: q.Hint) -> None:
        if query.name.lower() != "epsilon":
            raise Refusal(
                "UNSUPPORTED",
                f"The hint `{query.name}` is not known here. Known: epsilon.",
                f"此处不支持提示 `{query.name}`。支持：epsilon。",
            )
        epsilon = _epsilon(query.parameters)
        if self.epsilon is not None and self.epsilon != epsilon:
            raise Refusal(
                "BAD_EPSILON",
                f"Two epsilons are asked for: {self.epsilon:g} and {epsilon:g}. Give one.",
                f"给出了两个不同的 epsilon：{self.epsilon:g} 与 {epsilon:g}，请只保留一个。",
            )
        self.epsilon = epsilon


def _epsilon(parameters: tuple[Value, ...]) -> float:
    if len(parameters) == 1:
        value = parameters[0]
        if isinstance(value, int | float) and not isinstance(value, bool):
            epsilon = float(value)
            if epsilon > 0 and math.isfinite(epsilon):
                return epsilon
    raise Refusal(
        "BAD_EPSILON",
        "An epsilon is one finite number above 0, such as hint('epsilon', 0.5).",
        "epsilon 必须是一个大于 0 的有限数，例如 hint('epsilon', 0.5)。",
    )


def _aliased(child: Relation, qualifier: tuple[str, ...]) -> Relation:
    return Relation(child.node, tuple(replace(f, qualifier=qualifier) for f in child.fields))


def _too_large(what: str, limit: int) -> Refusal:
    return Refusal(
        "TOO_LARGE",
        f"The question has more than {limit} {what}. Split it into smaller ones.",
        f"问题过大：{what} 超过 {limit}。请拆分成较小的问题。",
    )
