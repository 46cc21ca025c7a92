"""A second copy of a plan under new column ids, so that no id occurs twice in a whole plan."""

from collections.abc import Callable

from privacy.dp.iterate import Steps, drive
from privacy.dp.plan import (
    AggregateCall,
    Column,
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
)
from privacy.dp.resolve_expr import rewrite


def fresh_copy(node: Node, fresh: Callable[[], int]) -> tuple[Node, dict[int, int]]:
    """Return `node` with new ids throughout, and the map from old ids to new ones."""
    copier = _Copier(fresh)
    return drive(copier.node(node)), copier.ids


class _Copier:
    def __init__(self, fresh: Callable[[], int]) -> None:
        self._fresh = fresh
        self.ids: dict[int, int] = {}

    def _column(self, column: Column) -> Column:
        if column.id not in self.ids:
            self.ids[column.id] = self._fresh()
        return Column(self.ids[column.id], column.name, column.type, column.nullable)

    def _columns(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        return tuple(self._column(c) for c in columns)

    def _expr(self, expr: Expr) -> Expr:
        def change(part: Expr) -> Expr | None:
            if isinstance(part, Ref):
                return Ref(self.ids[part.id], part.type, part.nullable)
            return None

        return rewrite(expr, change)

    def node(self, node: Node) -> Steps[Node]:
        match node:
            case Scan():
                return Scan(node.table, self._columns(node.columns), node.sources)
            case Local():
                return Local(node.digest, self._columns(node.columns), node.sources)
            case JoinOn():
                left: Node = yield self.node(node.left)
                right: Node = yield self.node(node.right)
                condition = None if node.condition is None else self._expr(node.condition)
                return JoinOn(left, right, node.kind, condition, self._columns(node.columns))
            case UnionAll():
                children: list[Node] = []
                for branch in node.children:
                    copied: Node = yield self.node(branch)
                    children.append(copied)
                return UnionAll(tuple(children), self._columns(node.columns))
            case _:
                child: Node = yield self.node(node.child)
                return self._above(node, child)

    def _above(
        self, node: Project | Where | DistinctOn | Group | SortBy | Slice, child: Node
    ) -> Node:
        match node:
            case Project():
                items = [(e, c) for c, e in node.items]
                return Project(child, tuple((self._column(c), self._expr(e)) for e, c in items))
            case Where():
                return Where(child, self._expr(node.predicate))
            case DistinctOn():
                return DistinctOn(child, tuple(self.ids[i] for i in node.on))
            case Group():
                keys = tuple((self._column(c), self._expr(e)) for c, e in node.keys)
                calls = tuple(
                    (
                        self._column(c),
                        AggregateCall(
                            call.kind, tuple(self._expr(a) for a in call.args), call.parameters
                        ),
                    )
                    for c, call in node.aggregates
                )
                return Group(child, keys, calls)
            case SortBy():
                return SortBy(child, tuple((self._expr(e), a, n) for e, a, n in node.keys))
            case Slice():
                return Slice(child, node.count, node.offset)
