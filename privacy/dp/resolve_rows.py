"""Operators that choose and order rows: `filter`, `sort`, `distinct`, `limit`.

As in Spark, `filter` and `sort` may read columns that the select below left out, and over an
aggregate they may hold aggregate calls: the plan below is widened and the extra columns dropped.
"""

from dataclasses import replace

from privacy.dp import query as q
from privacy.dp.expr import Expression, Literal, SortKey
from privacy.dp.plan import DistinctOn, Expr, Node, Project, Slice, SortBy, Where
from privacy.dp.resolve_expr import ExpressionResolver, columns_of, has_aggregate
from privacy.dp.resolve_group import Grouped
from privacy.dp.scope import Field, Relation, as_ref, columns_of_node, expose, missing, regroup
from privacy.dp.types import DataType
from privacy.errors import Refusal


def filter_rows(query: q.Filter, child: Relation) -> Relation:
    """Return the rows whose condition is true."""
    resolver, grouped = _resolver_above(child, [query.condition])
    condition = resolver.condition(query.condition)
    node, (condition,), above = _widened(child, (condition,), grouped)
    return replace(child, node=_only(Where(node, condition), child), grouped=above)


def sort_rows(query: q.Sort, child: Relation) -> Relation:
    """Return the rows in order."""
    operands = [_operand(key, child) for key in query.keys]
    resolver, grouped = _resolver_above(child, [o for o in operands if not isinstance(o, Field)])
    exprs = tuple(
        as_ref(o.column) if isinstance(o, Field) else resolver.resolve(o) for o in operands
    )
    node, exprs, above = _widened(child, exprs, grouped)
    keys = tuple((e, k.ascending, k.nulls_first) for e, k in zip(exprs, query.keys, strict=True))
    return replace(child, node=_only(SortBy(node, keys), child), grouped=above)


def distinct_rows(query: q.Distinct, child: Relation) -> Relation:
    """Return one row for each combination of the named columns, or of all."""
    on: list[int] = []
    for name in query.columns or ():
        matches = [f.column.id for f in child.fields if f.answers((name,))]
        if not matches:
            raise missing((name,), child.fields)
        on += [number for number in matches if number not in on]
    if query.columns is None:
        on = [f.column.id for f in child.fields]
    return Relation(DistinctOn(child.node, tuple(on)), child.fields)


def limit_rows(query: q.Limit, child: Relation) -> Relation:
    """Return the first rows."""
    if query.offset < 0 or (query.count is not None and query.count < 0):
        raise Refusal(
            "UNSUPPORTED",
            "limit and offset have to be 0 or more.",
            "limit 与 offset 不能为负数。",
        )
    node = Slice(child.node, query.count, query.offset)
    return Relation(node, child.fields, child.hidden, below=child.below)


def _operand(key: SortKey, child: Relation) -> Expression | Field:
    """Return what a sort key orders by; a whole number is a position, as in Spark."""
    operand = key.operand
    if not isinstance(operand, Literal) or operand.type is not DataType.INTEGER:
        return operand
    position = operand.value
    if isinstance(position, int) and 1 <= position <= len(child.fields):
        return child.fields[position - 1]
    raise Refusal(
        "UNSUPPORTED",
        f"ORDER BY position {position} is not one of the columns 1 to {len(child.fields)}.",
        f"ORDER BY 的位置 {position} 不在 1 到 {len(child.fields)} 之间。",
    )


def _resolver_above(
    child: Relation, expressions: list[Expression]
) -> tuple[ExpressionResolver, Grouped | None]:
    """Return how names are looked up, and a copy of the aggregate below if it may be extended."""
    plain = ExpressionResolver(child, below=True)
    if not isinstance(child.grouped, Grouped):
        return plain, None
    if not any(map(has_aggregate, expressions)):
        try:
            for expression in expressions:
                plain.resolve(expression)
        except Refusal as refusal:  # A key such as year(d) reads columns below the aggregate.
            if refusal.code != "UNKNOWN_COLUMN":
                raise
        else:
            return plain, None
    grouped = child.grouped.copy()
    extended = ExpressionResolver(
        child, below=True, aggregate=grouped.add_call, inner=grouped.relation
    )
    return extended, grouped


def _widened(
    child: Relation, exprs: tuple[Expr, ...], grouped: Grouped | None
) -> tuple[Node, tuple[Expr, ...], object]:
    """Return the child's plan with all that `exprs` read in its output, and the aggregate below."""
    node = child.node
    if grouped is not None:
        readable = frozenset(c.id for c in columns_of_node(node))
        exprs = tuple(grouped.over_keys(e, readable) for e in exprs)
        node = regroup(node, grouped.group)
    used = frozenset[int]().union(*(columns_of(e) for e in exprs))
    return expose(node, used), exprs, grouped or child.grouped


def _only(node: Node, child: Relation) -> Node:
    """Return `node` with just the columns of `child`, dropping what was exposed for it."""
    wanted = tuple(f.column for f in child.fields)
    if columns_of_node(node) == wanted:
        return node
    return Project(node, tuple((c, as_ref(c)) for c in wanted))
