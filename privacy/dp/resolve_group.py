"""Aggregates: keys, calls and what is computed from them.

Spark mixes grouping, aggregate calls and arithmetic in one list (`sum(a) / count(*) + year(d)`).
Here a `Group` computes the keys and each distinct call once, and a `Project` above it the rest.
Rollup and cube become one aggregate for each grouping set, pivot conditional aggregates.
"""

from dataclasses import replace
from itertools import combinations

from privacy.dp.aggregates import aggregate_call
from privacy.dp.copying import fresh_copy
from privacy.dp.expr import Alias, Call, Expression, Literal, Name, Star
from privacy.dp.naming import output_name, pivot_text
from privacy.dp.plan import (
    AggregateCall,
    Column,
    Const,
    Expr,
    Group,
    Node,
    Project,
    Ref,
    UnionAll,
)
from privacy.dp.projection import Fresh, Output, new_column, projected
from privacy.dp.query import Aggregate, Grouping
from privacy.dp.resolve_expr import ExpressionResolver, Interner, has_aggregate, rewrite
from privacy.dp.scope import Field, Relation, as_ref, exists, expand
from privacy.dp.types import DataType
from privacy.errors import Refusal

MAX_GROUPING_SETS = 64
"""Aggregates that one rollup or cube may become."""


class Grouped:
    """An aggregate under construction; also used to add calls that `having` or `order by` need."""

    def __init__(self, relation: Relation, fresh: Fresh, interner: Interner) -> None:
        """Group the rows of `relation`."""
        self.relation = relation
        self._fresh = fresh
        self._interner = interner
        self.keys: list[tuple[Column, Expr]] = []
        self.calls: list[tuple[Column, AggregateCall]] = []
        self._key_columns: dict[int, Column] = {}
        self._call_columns: dict[tuple[object, ...], Column] = {}
        self.condition: Expr | None = None
        """Only rows where this is true count (the value of a pivot)."""

    def copy(self) -> "Grouped":
        """Return an aggregate that can be extended without changing this one."""
        other = Grouped(self.relation, self._fresh, self._interner)
        other.keys, other.calls = [*self.keys], [*self.calls]
        other._key_columns = {**self._key_columns}
        other._call_columns = {**self._call_columns}
        return other

    @property
    def group(self) -> Group:
        """The plan node as far as it is known."""
        return Group(self.relation.node, tuple(self.keys), tuple(self.calls))

    def add_key(self, expr: Expr, name: str) -> Ref:
        """Group by `expr`; return the column that will hold it (one for equal keys)."""
        number = self._interner.number(expr)
        column = self._key_columns.get(number)
        if column is None:
            column = (
                Column(expr.id, name, expr.type, expr.nullable)
                if isinstance(expr, Ref)
                else new_column(self._fresh(), name, expr)
            )
            self._key_columns[number] = column
            self.keys.append((column, expr))
        return as_ref(column)

    def add_call(self, call: Call, args: tuple[Expr, ...]) -> Expr:
        """Return the column that will hold an aggregate call (one for equal calls)."""
        computed, kind, nullable = aggregate_call(call, args, self.condition)
        numbers = (self._interner.number(a) for a in computed.args)
        shape = (computed.kind, computed.parameters, kind, *numbers)
        column = self._call_columns.get(shape)
        if column is None:
            column = Column(self._fresh(), output_name(call), kind, nullable)
            self._call_columns[shape] = column
            self.calls.append((column, computed))
        return as_ref(column)

    def over_keys(self, expr: Expr, readable: frozenset[int] = frozenset()) -> Expr:
        """Return `expr` in terms of keys, calls and `readable` columns; refuse what is neither."""
        known = readable | {c.id for c, _ in self.calls}

        def change(part: Expr) -> Expr | None:
            if isinstance(part, Const) or (isinstance(part, Ref) and part.id in known):
                return part
            column = self._key_columns.get(self._interner.number(part))
            if column is not None:
                return as_ref(column)
            if isinstance(part, Ref):
                raise self._ungrouped(part)
            return None

        return rewrite(expr, change)

    def _ungrouped(self, part: Ref) -> Refusal:
        names = [f.column.name for f in self.relation.fields if f.column.id == part.id]
        name = names[0] if names else "a column"
        return Refusal(
            "UNSUPPORTED",
            f"`{name}` is neither a group key nor inside an aggregate. Add it to groupBy, or "
            "aggregate it.",
            f"`{name}` 既不是分组键，也不在聚合函数中。请把它加入 groupBy，或对它聚合。",
        )


def resolve_aggregate(
    query: Aggregate, relation: Relation, fresh: Fresh, interner: Interner
) -> Relation:
    """Return the aggregate over `relation`."""
    grouped = Grouped(relation, fresh, interner)
    items = _expanded(relation, query.items)
    outputs = [_key(grouped, relation, key) for key in _keys(query, relation, items)]
    if not query.keys_in_output:
        outputs = []
    if query.pivot_column is not None:
        outputs += _pivoted(query, grouped, relation, items)
    else:
        resolver = ExpressionResolver(relation, aggregate=grouped.add_call)
        outputs += [_item(grouped, resolver, item) for item in items]
    if query.grouping is not Grouping.GROUP:
        return _grouping_sets(query.grouping, grouped, outputs, fresh)
    return _assembled(grouped, outputs, fresh)


def _expanded(relation: Relation, items: tuple[Expression, ...]) -> list[Expression | Field]:
    result: list[Expression | Field] = []
    for item in items:
        if isinstance(item, Star):
            result += expand(relation, item)
        else:
            result.append(item)
    return result


def _keys(
    query: Aggregate, relation: Relation, items: list[Expression | Field]
) -> list[Expression]:
    """Return the grouping expressions; SQL may give them by position or by an item's alias."""
    if query.keys_in_output:
        return list(query.keys)
    keys: list[Expression] = []
    for key in query.keys:
        if isinstance(key, Literal) and key.type is DataType.INTEGER:
            keys.append(_by_position(key, items))
        elif isinstance(key, Name) and len(key.parts) == 1 and not exists(relation, key):
            keys.append(_by_alias(key, items))
        else:
            keys.append(key)
    return keys


def _by_position(key: Literal, items: list[Expression | Field]) -> Expression:
    position = key.value
    if isinstance(position, int) and 1 <= position <= len(items):
        item = items[position - 1]
        if not isinstance(item, Field) and not has_aggregate(item):
            return item
    raise Refusal(
        "UNSUPPORTED",
        f"GROUP BY position {position} is not a plain column of the {len(items)} selected.",
        f"GROUP BY 的位置 {position} 不是选择列表中的普通列（1 到 {len(items)}）。",
    )


def _by_alias(key: Name, items: list[Expression | Field]) -> Expression:
    for item in items:
        if isinstance(item, Alias) and item.name.lower() == key.parts[0].lower():
            return item.operand
    return key


def _key(grouped: Grouped, relation: Relation, key: Expression) -> Output:
    expr = ExpressionResolver(relation).resolve(key)
    name = key.name if isinstance(key, Alias) else output_name(key)
    return Output(name, grouped.add_key(expr, name), _qualifier(relation, key, expr))


def _item(grouped: Grouped, resolver: ExpressionResolver, item: Expression | Field) -> Output:
    if isinstance(item, Field):
        expr: Expr = as_ref(item.column)
        return Output(item.column.name, grouped.over_keys(expr), item.qualifier)
    name = item.name if isinstance(item, Alias) else output_name(item)
    expr = resolver.resolve(item)
    return Output(name, grouped.over_keys(expr), _qualifier(grouped.relation, item, expr))


def _qualifier(relation: Relation, written: Expression, expr: Expr) -> tuple[str, ...]:
    if isinstance(written, Name) and isinstance(expr, Ref):
        for field in relation.fields:
            if field.column.id == expr.id:
                return field.qualifier
    return ()


def _pivoted(
    query: Aggregate, grouped: Grouped, relation: Relation, items: list[Expression | Field]
) -> list[Output]:
    """Return, for each pivot value, each aggregate over the rows with that value."""
    outputs: list[Output] = []
    several = len(items) > 1
    for value in query.pivot_values:
        matches = Call("<=>", (query.pivot_column, value))  # type: ignore[arg-type]  # given by the caller
        grouped.condition = ExpressionResolver(relation).resolve(matches)
        resolver = ExpressionResolver(relation, aggregate=grouped.add_call)
        for item in items:
            if isinstance(item, Field) or not has_aggregate(item):
                raise Refusal(
                    "UNSUPPORTED",
                    "A pivot needs aggregates, such as pivot(…).sum('amount').",
                    "pivot 之后需要聚合，例如 pivot(…).sum('amount')。",
                )
            output = _item(grouped, resolver, item)
            text = pivot_text(value.value)
            outputs.append(replace(output, name=f"{text}_{output.name}" if several else text))
    grouped.condition = None
    return outputs


def _assembled(grouped: Grouped, outputs: list[Output], fresh: Fresh) -> Relation:
    """Return the group, with a projection above it where the outputs are not just its columns."""
    named: dict[int, str] = {}
    for output in outputs:
        if isinstance(output.expr, Ref):
            named.setdefault(output.expr.id, output.name)
    grouped = grouped.copy()
    grouped.keys = [(replace(c, name=named.get(c.id, c.name)), e) for c, e in grouped.keys]
    grouped.calls = [(replace(c, name=named.get(c.id, c.name)), e) for c, e in grouped.calls]
    group = grouped.group
    items, fields = projected(outputs, fresh)
    node: Node = Project(group, items)
    if node.columns == group.columns:
        node = group
    keys = {e.id for _, e in grouped.keys if isinstance(e, Ref)}
    below = Relation(group, tuple(f for f in grouped.relation.fields if f.column.id in keys))
    return Relation(node, fields, below=below, grouped=grouped)


def _grouping_sets(
    grouping: Grouping, grouped: Grouped, outputs: list[Output], fresh: Fresh
) -> Relation:
    """Return the union of one aggregate for each grouping set; keys outside a set are null."""
    count = len(grouped.keys)
    sets: list[tuple[int, ...]]
    if grouping is Grouping.ROLLUP:
        sets = [tuple(range(n)) for n in range(count, -1, -1)]
    else:
        if 2**count > MAX_GROUPING_SETS:
            raise _too_many_sets(2**count)
        sets = [s for n in range(count, -1, -1) for s in combinations(range(count), n)]
    if len(sets) > MAX_GROUPING_SETS:
        raise _too_many_sets(len(sets))
    branches: list[Node] = []
    for present in sets:
        keys = tuple(grouped.keys[i] for i in present)
        node: Node = Group(grouped.relation.node, keys, tuple(grouped.calls))
        absent = {c.id for c, _ in grouped.keys} - {c.id for c, _ in keys}
        copied, ids = fresh_copy(node, fresh)

        def change(part: Expr, absent: set[int] = absent, ids: dict[int, int] = ids) -> Expr | None:
            if not isinstance(part, Ref):
                return None
            if part.id in absent:
                return Const(None, part.type)
            return Ref(ids[part.id], part.type, part.nullable)

        items = []
        for output in outputs:
            expr = rewrite(output.expr, change)
            items.append((new_column(fresh(), output.name, expr), expr))
        branches.append(Project(copied, tuple(items)))
    columns = tuple(
        Column(fresh(), o.name, o.expr.type, any(b.columns[i].nullable for b in branches))
        for i, o in enumerate(outputs)
    )
    union = branches[0] if len(branches) == 1 else UnionAll(tuple(branches), columns)
    return Relation(union, tuple(Field(c) for c in union.columns))


def _too_many_sets(number: int) -> Refusal:
    return Refusal(
        "TOO_LARGE",
        f"This asks for {number} aggregates at once; at most {MAX_GROUPING_SETS} are allowed. "
        "Group by fewer columns.",
        f"一次需要 {number} 个聚合，上限为 {MAX_GROUPING_SETS}。请减少分组列。",
    )
