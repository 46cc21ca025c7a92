"""Column pruning: drop what no later step reads, so that unused columns cost and change nothing.

Right joins become left joins on the way.
"""

from privacy.dp.plan import (
    DistinctOn,
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
    references,
)
from privacy.dp.query import JoinKind


def prune(node: Node, needed: frozenset[int] | None = None) -> Node:
    """Return a plan that gives the same `needed` columns (all, when None) in the same order."""
    wanted = frozenset(c.id for c in node.columns) if needed is None else needed
    match node:
        case Scan() | Local():
            kept = [
                (c, s) for c, s in zip(node.columns, node.sources, strict=True) if c.id in wanted
            ]
            if not kept:  # A table without columns still has rows to count.
                kept = [(node.columns[0], node.sources[0])]
            columns, sources = tuple(c for c, _ in kept), tuple(s for _, s in kept)
            if isinstance(node, Scan):
                return Scan(node.table, columns, sources)
            return Local(node.digest, columns, sources)
        case Project():
            items = tuple(i for i in node.items if i[0].id in wanted) or node.items[:1]
            used = frozenset[int]().union(*(references(e) for _, e in items))
            return Project(prune(node.child, used), items)
        case Where():
            return Where(prune(node.child, wanted | references(node.predicate)), node.predicate)
        case JoinOn():
            used = wanted | (
                references(node.condition) if node.condition is not None else frozenset()
            )
            left = prune(node.left, used & _ids(node.left))
            right = prune(node.right, used & _ids(node.right))
            available = _ids(left)
            if node.kind not in (JoinKind.SEMI, JoinKind.ANTI):
                available |= _ids(right)
            columns = tuple(c for c in node.columns if c.id in available)
            if node.kind is JoinKind.RIGHT:
                # The same rows as a left join with the sides exchanged: one form less to judge.
                return JoinOn(right, left, JoinKind.LEFT, node.condition, columns)
            return JoinOn(left, right, node.kind, node.condition, columns)
        case UnionAll():
            # Positions carry meaning: every branch keeps the same ones, the unit's column included.
            return UnionAll(tuple(_whole(child) for child in node.children), node.columns)
        case DistinctOn():
            return DistinctOn(prune(node.child, wanted | frozenset(node.on)), node.on)
        case Group():
            aggregates = tuple(a for a in node.aggregates if a[0].id in wanted)
            if not aggregates and not node.keys:
                aggregates = node.aggregates[:1]
            used = frozenset[int]().union(
                *(references(e) for _, e in node.keys),
                *(references(a) for _, call in aggregates for a in call.args),
            )
            return Group(prune(node.child, used), node.keys, aggregates)
        case SortBy():
            used = wanted.union(*(references(e) for e, _, _ in node.keys))
            return SortBy(prune(node.child, used), node.keys)
        case Slice():
            return Slice(prune(node.child, wanted), node.count, node.offset)


def _whole(child: Node) -> Node:
    """Prune below `child` while keeping its own columns, in order and number."""
    pruned = prune(child)
    if pruned.columns == child.columns:
        return pruned
    raise AssertionError("pruning to all columns must keep all columns")


def _ids(node: Node) -> frozenset[int]:
    return frozenset(c.id for c in node.columns)
