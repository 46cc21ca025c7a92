"""Which fields of a table a question uses: what a grant for some fields is compared with."""

from collections.abc import Iterable

from privacy.dp.exact import ExactQuery
from privacy.dp.plan import (
    DistinctOn,
    Expr,
    Group,
    JoinOn,
    Local,
    Node,
    Project,
    Scan,
    SortBy,
    UnionAll,
    Where,
    children,
    references,
)


def fields_read(queries: Iterable[ExactQuery]) -> dict[str, frozenset[str]]:
    """Return, for each table, the fields on whose values the answers can depend.

    A column that is passed on and used by nothing is not among them; one that a filter, a join or
    a key uses is. A question that counts rows reads no field of them.
    """
    found: dict[str, frozenset[str]] = {}
    for query in queries:
        pending = [(query.child, _of_query(query))]
        while pending:
            node, wanted = pending.pop()
            if isinstance(node, Scan):
                used = {
                    s for c, s in zip(node.columns, node.sources, strict=True) if c.id in wanted
                }
                found[node.table] = found.get(node.table, frozenset()) | used
            else:
                pending += zip(children(node), _of_inputs(node, wanted), strict=True)
    return found


def _of_query(query: ExactQuery) -> frozenset[int]:
    exprs = [expr for _, expr in query.keys]
    for measure in query.measures:
        exprs += [e for e in (measure.condition, measure.value) if e is not None]
    return _used(exprs)


def _used(exprs: Iterable[Expr]) -> frozenset[int]:
    return frozenset[int]().union(*(references(expr) for expr in exprs))


def _of_inputs(node: Node, wanted: frozenset[int]) -> tuple[frozenset[int], ...]:
    """Return, for each input, the columns of it that are used by or above `node`."""
    match node:
        case Scan() | Local():
            return ()
        case Project():
            return (_used(expr for column, expr in node.items if column.id in wanted),)
        case Where():
            return (wanted | references(node.predicate),)
        case JoinOn():
            used = wanted | (references(node.condition) if node.condition is not None else set())
            return (used, used)
        case UnionAll():
            places = [i for i, column in enumerate(node.columns) if column.id in wanted]
            return tuple(frozenset(c.columns[i].id for i in places) for c in node.children)
        case DistinctOn():
            return (wanted | set(node.on),)
        case Group():
            called = (a for c, call in node.aggregates if c.id in wanted for a in call.args)
            return (_used((*(expr for _, expr in node.keys), *called)),)
        case SortBy():
            return (wanted | _used(expr for expr, _, _ in node.keys),)
        case _:
            return (wanted,)
