"""Operators with two inputs: joins by condition or by `using` names, and unions."""

from dataclasses import replace

from privacy.dp import query as q
from privacy.dp.coercion import cast, widest
from privacy.dp.expr import Name
from privacy.dp.functions import call
from privacy.dp.plan import Column, Const, Expr, JoinOn, Node, UnionAll
from privacy.dp.projection import Fresh, Output, passed, project
from privacy.dp.query import JoinKind
from privacy.dp.resolve_expr import ExpressionResolver
from privacy.dp.scope import Field, Relation, as_ref, columns_of_node, expose, find, missing
from privacy.dp.types import DataType
from privacy.errors import Refusal

_SEMI = (JoinKind.SEMI, JoinKind.ANTI)

Pairs = tuple[tuple[Field, Field], ...]
"""The columns that a `using` join compares, left and right."""


def join(query: q.Join, left: Relation, right: Relation, fresh: Fresh) -> Relation:
    """Return the joined rows; the columns of both sides, or of the left for semi and anti."""
    left_node = expose(left.node, frozenset(f.column.id for f in left.hidden))
    right_node = expose(right.node, frozenset(f.column.id for f in right.hidden))
    pairs = _pairs(query, left, right)
    condition = _equal(pairs)
    if query.condition is not None:
        fields, hidden = left.fields + right.fields, left.hidden + right.hidden
        both = Relation(left_node, fields, hidden, inputs=(left, right))
        condition = ExpressionResolver(both).condition(query.condition)
    kind = query.kind
    if kind is JoinKind.CROSS and condition is not None:
        kind = JoinKind.INNER
    columns = _maybe_null(left_node, unmatched=kind in (JoinKind.RIGHT, JoinKind.FULL))
    if kind not in _SEMI:
        columns |= _maybe_null(right_node, unmatched=kind in (JoinKind.LEFT, JoinKind.FULL))
    node = JoinOn(left_node, right_node, kind, condition, tuple(columns.values()))

    def above(fields: tuple[Field, ...]) -> tuple[Field, ...]:
        kept = [f for f in fields if f.column.id in columns]
        return tuple(replace(f, column=columns[f.column.id]) for f in kept)

    joined = Relation(node, above(left.fields + right.fields), above(left.hidden + right.hidden))
    if pairs:
        return _coalesced(kind, joined, pairs, fresh)
    if not joined.hidden:
        return joined
    visible = project(joined, [passed(f) for f in joined.fields], fresh)
    return replace(visible, hidden=joined.hidden, below=None)


def union(query: q.Union, left: Relation, right: Relation, fresh: Fresh) -> Relation:
    """Return the rows of both sides, matched by position or by name, in a type that holds both."""
    lefts = [passed(f) for f in left.fields]
    rights = [passed(f) for f in right.fields]
    if query.by_name:
        lefts, rights = _by_name(left, right, allow_missing=query.allow_missing)
    if len(lefts) != len(rights):
        raise Refusal(
            "TYPE_MISMATCH",
            f"A union needs as many columns on both sides, not {len(lefts)} and {len(rights)}.",
            f"union 两侧的列数必须相同，此处为 {len(lefts)} 与 {len(rights)}。",
        )
    kinds = [_common(a, b) for a, b in zip(lefts, rights, strict=True)]
    branches = tuple(
        project(
            side,
            [replace(o, expr=cast(o.expr, k)) for o, k in zip(outputs, kinds, strict=True)],
            fresh,
        ).node
        for side, outputs in ((left, lefts), (right, rights))
    )
    below = [columns_of_node(branch) for branch in branches]
    columns = tuple(
        Column(fresh(), output.name, kind, any(b[i].nullable for b in below))
        for i, (output, kind) in enumerate(zip(lefts, kinds, strict=True))
    )
    return Relation(UnionAll(branches, columns), tuple(map(Field, columns)))


def _pairs(query: q.Join, left: Relation, right: Relation) -> Pairs:
    names = [Name((name,)) for name in query.using]
    found = [(find(left, n, below=False), find(right, n, below=False)) for n in names]
    return tuple(dict.fromkeys(found))


def _equal(pairs: Pairs) -> Expr | None:
    condition: Expr | None = None
    for mine, theirs in pairs:
        equal = call("==", (as_ref(mine.column), as_ref(theirs.column)))
        condition = equal if condition is None else call("and", (condition, equal))
    return condition


def _coalesced(kind: JoinKind, joined: Relation, pairs: Pairs, fresh: Fresh) -> Relation:
    """Return a `using` join's columns: the keys once, then the rest of both sides."""
    by_id = {f.column.id: f for f in joined.fields}
    mine = [by_id[a.column.id] for a, _ in pairs]
    theirs = [by_id[b.column.id] for _, b in pairs if b.column.id in by_id]
    if kind is JoinKind.FULL:
        both = [(a.column, b.column) for a, b in zip(mine, theirs, strict=True)]
        keys = [Output(a.name, call("coalesce", (as_ref(a), as_ref(b)))) for a, b in both]
        hidden = mine + theirs
    elif kind is JoinKind.RIGHT:
        keys, hidden = [passed(f) for f in theirs], mine
    else:
        keys, hidden = [passed(f) for f in mine], theirs
    used = {f.column.id for f in (*mine, *theirs)}
    rest = [passed(f) for f in joined.fields if f.column.id not in used]
    visible = project(joined, keys + rest, fresh)
    return replace(visible, hidden=(*hidden, *joined.hidden), below=None)


def _maybe_null(node: Node, *, unmatched: bool) -> dict[int, Column]:
    return {c.id: replace(c, nullable=c.nullable or unmatched) for c in columns_of_node(node)}


def _common(left: Output, right: Output) -> DataType:
    common = widest((left.expr.type, right.expr.type), text=True)
    if common is None:
        a, b = left.expr.type.value, right.expr.type.value
        raise Refusal(
            "TYPE_MISMATCH",
            f"Column `{left.name}` of the union is {a} on one side and {b} on the other. "
            "Cast one of them.",
            f"union 的列 `{left.name}` 一侧为 {a}，另一侧为 {b}。请先转换其中一侧。",
        )
    return common


def _by_name(
    left: Relation, right: Relation, *, allow_missing: bool
) -> tuple[list[Output], list[Output]]:
    """Return both sides' columns in one order, nulls for missing ones if that is allowed."""
    lefts = [passed(f) for f in left.fields]
    rights = [_named(right, o.name, allow_missing=allow_missing) for o in lefts]
    known = {f.column.name.lower() for f in left.fields}
    extra = [f for f in right.fields if f.column.name.lower() not in known]
    if extra and not allow_missing:
        raise missing((extra[0].column.name,), left.fields)
    lefts += [Output(f.column.name, Const(None, DataType.NULL)) for f in extra]
    return lefts, rights + [passed(f) for f in extra]


def _named(side: Relation, name: str, *, allow_missing: bool) -> Output:
    if allow_missing and not any(f.answers((name,)) for f in side.fields):
        return Output(name, Const(None, DataType.NULL))
    return passed(find(side, Name((name,)), below=False))
