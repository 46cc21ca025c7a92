"""Carry 95 % half-widths beside released values through the free steps above a release.

A released table has a half-width column for each value. Where a step keeps a value unchanged
(select, filter, sort, limit, join), its half-width goes along; where a value is computed, it ends,
since the interval of a computed value is not the sum of its parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from privacy.dp.plan import (
    Column,
    DistinctOn,
    JoinOn,
    Local,
    Node,
    Project,
    Ref,
    Slice,
    SortBy,
    Where,
)
from privacy.dp.query import JoinKind
from privacy.dp.types import DataType


@dataclass(frozen=True, slots=True)
class Carried:
    """A public plan with half-width columns appended, and which value each belongs to."""

    node: Node
    widths: Mapping[int, int]
    """Value column id to half-width column id."""


class Carrier:
    """Rewrites one plan; half-width columns get ids below every id of the plan."""

    def __init__(self, digests: frozenset[str]) -> None:
        """Remember which `Local` nodes are releases."""
        self._digests = digests
        self._next = -1000

    def carry(self, node: Node) -> Carried:
        """Return `node` with the half-widths of its unchanged released values."""
        match node:
            case Local():
                return self._local(node)
            case Project():
                return self._project(node)
            case Where():
                below = self.carry(node.child)
                return Carried(Where(below.node, node.predicate), below.widths)
            case SortBy():
                below = self.carry(node.child)
                return Carried(SortBy(below.node, node.keys), below.widths)
            case Slice():
                below = self.carry(node.child)
                return Carried(Slice(below.node, node.count, node.offset), below.widths)
            case DistinctOn():
                below = self.carry(node.child)
                return Carried(DistinctOn(below.node, node.on), below.widths)
            case JoinOn():
                return self._join(node)
            case _:
                return Carried(node, {})

    def _local(self, node: Local) -> Carried:
        if node.digest not in self._digests:
            return Carried(node, {})
        columns, sources = list(node.columns), list(node.sources)
        widths: dict[int, int] = {}
        for column, source in zip(node.columns, node.sources, strict=True):
            if source.startswith("v"):
                extra = self._column()
                widths[column.id] = extra.id
                columns.append(extra)
                sources.append("h" + source[1:])
        return Carried(Local(node.digest, tuple(columns), tuple(sources)), widths)

    def _project(self, node: Project) -> Carried:
        below = self.carry(node.child)
        items = list(node.items)
        widths: dict[int, int] = {}
        for column, expr in node.items:
            if isinstance(expr, Ref) and expr.id in below.widths:
                extra = self._column()
                widths[column.id] = extra.id
                items.append((extra, Ref(below.widths[expr.id], DataType.DOUBLE)))
        return Carried(Project(below.node, tuple(items)), widths)

    def _join(self, node: JoinOn) -> Carried:
        left, right = self.carry(node.left), self.carry(node.right)
        if node.kind in (JoinKind.SEMI, JoinKind.ANTI):
            right = Carried(node.right, {})
        widths = {**left.widths, **right.widths}
        extra = tuple(Column(i, "half_width", DataType.DOUBLE) for i in widths.values())
        joined = JoinOn(left.node, right.node, node.kind, node.condition, node.columns + extra)
        return Carried(joined, widths)

    def _column(self) -> Column:
        self._next -= 1
        return Column(self._next, "half_width", DataType.DOUBLE)
