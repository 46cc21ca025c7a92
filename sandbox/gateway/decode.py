"""Client plans as the lab's own query: an allow-list of operators, every field accounted for.

The client's bytes are read here for the last time. What runs later is compiled from the `Query`
that this module builds, so whatever is not understood here cannot run (attacks D1-D32).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import pyarrow as pa

from privacy.dp.expr import Expression, Literal, Name
from privacy.dp.query import (
    Aggregate,
    Distinct,
    Drop,
    Filter,
    Frame,
    Grouping,
    Hint,
    Join,
    JoinKind,
    Limit,
    Query,
    Rename,
    Select,
    Sort,
    SubqueryAlias,
    Table,
    ToNames,
    Union,
    WithColumns,
)
from sandbox.gateway.config import epsilon_of
from sandbox.gateway.decode_expr import ExpressionDecoder, parse_identifier
from sandbox.gateway.fields import Fields, Step, check_text, fold, incomplete, refuse_field
from sandbox.gateway.frames import read_frame
from sandbox.gateway.refusals import (
    MAX_COLUMNS,
    natural,
    pivot_without_values,
    set_operation,
    subquery,
    too_wide,
    unknown_hint,
    unsupported_relation,
)
from sandbox.gateway.sql_tree import check_name, name_parts
from sandbox.gateway.tree import MAX_DEPTH, check_size, with_tables
from sandbox.gateway.wire import too_large

Proto = Any
"""A message of the client's protocol: its generated classes have no usable annotations."""

RELATIONS: Final = frozenset(
    {
        "read",
        "project",
        "filter",
        "join",
        "set_op",
        "sort",
        "limit",
        "offset",
        "aggregate",
        "sql",
        "local_relation",
        "deduplicate",
        "subquery_alias",
        "to_df",
        "with_columns_renamed",
        "with_columns",
        "drop",
        "hint",
        "with_relations",
    }
)
"""Relation kinds that become part of a query. `show_string`, `html_string` and `catalog` are
answered by the service around a query; all others are refused by name."""

MAX_SQL: Final = 100_000
"""Characters of one text (attack D21)."""

_JOINS: Final = {
    1: JoinKind.INNER,
    2: JoinKind.FULL,
    3: JoinKind.LEFT,
    4: JoinKind.RIGHT,
    5: JoinKind.ANTI,
    6: JoinKind.SEMI,
    7: JoinKind.CROSS,
}
_GROUPINGS: Final = {1: Grouping.GROUP, 2: Grouping.ROLLUP, 3: Grouping.CUBE, 4: Grouping.GROUP}
_PIVOT: Final = 4
_UNION: Final = 2


class SqlParser(Protocol):
    """Reads SQL; `sandbox.gateway.sql` is the real one."""

    def query(self, text: str, args: Mapping[str, Literal] | Sequence[Literal]) -> Query:
        """Return a SELECT as a query."""
        ...

    def expression(self, text: str) -> Expression:
        """Return one expression."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A decoded plan and the client's own rows that it names."""

    query: Query
    frames: Mapping[str, pa.Table] = field(default_factory=dict)


class Decoder:
    """Decodes the relations of one request."""

    def __init__(self, sql: SqlParser, views: Mapping[str, Question]) -> None:
        """Read SQL with `sql`, and put each of `views` (by lower-case name) where it is named."""
        self._sql, self._views = sql, views
        self._expressions = ExpressionDecoder(sql.expression)
        self._frames: dict[str, pa.Table] = {}
        self._expand: dict[str, Callable[[Proto, int | None], Step[Proto, Query]]] = {
            "read": self._read,
            "project": self._project,
            "filter": self._filter,
            "join": self._join,
            "set_op": self._set_op,
            "sort": self._sort,
            "limit": self._limit,
            "offset": self._offset,
            "aggregate": self._aggregate,
            "sql": self._sql_text,
            "local_relation": self._local,
            "deduplicate": self._deduplicate,
            "subquery_alias": self._subquery_alias,
            "to_df": self._to_df,
            "with_columns_renamed": self._rename,
            "with_columns": self._with_columns,
            "drop": self._drop,
            "hint": self._hint,
            "with_relations": self._with_relations,
        }

    def question(self, message: Proto) -> Question:
        """Return a relation as a question with every view put in place."""
        query = self._in_place(fold(message, self._step, MAX_DEPTH))
        return Question(query, dict(self._frames))

    def _step(self, message: Proto) -> Step[Proto, Query]:
        kind = message.WhichOneof("rel_type")
        expand = self._expand.get(kind)
        if expand is None:
            raise unsupported_relation(kind)
        outer = Fields(message, "relation")
        outer.take(kind)
        common = outer.take("common")
        outer.finish()
        plan_id = None
        if common is not None:
            # Where in the client's source the operator was written is not part of the question.
            plan_id = Fields(common, "relation").take("plan_id")
        return expand(getattr(message, kind), plan_id)

    def _read(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        outer = Fields(message, "read")
        named = outer.take("named_table")
        outer.finish()
        if named is None:
            incomplete("read", "table name")
        inner = Fields(named, "table")
        parts = table_name(inner.text("unparsed_identifier"))
        inner.finish()
        return _leaf(Table(parts, plan_id=plan_id))

    def _project(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "select")
        items = self._list(take.take("expressions", ()))
        child = _input(take)
        return [child], lambda q: Select(q[0], items, plan_id=plan_id)

    def _filter(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "filter")
        condition = self._expressions.expression(take.need("condition"))
        child = _input(take)
        return [child], lambda q: Filter(q[0], condition, plan_id=plan_id)

    def _join(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "join")
        sides = [take.need("left"), take.need("right")]
        kind = _JOINS.get(take.take("join_type", 0))
        if kind is None:
            refuse_field("join", "join_type")
        condition = take.take("join_condition")
        using = tuple(check_name(check_text(name)) for name in take.take("using_columns", ()))
        take.finish()
        if condition is not None and using:
            refuse_field("join", "using_columns")
        on = None if condition is None else self._expressions.expression(condition)
        return sides, lambda q: Join(q[0], q[1], kind, on, using, plan_id=plan_id)

    def _set_op(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "union")
        sides = [take.need("left_input"), take.need("right_input")]
        if take.take("set_op_type", 0) != _UNION:
            raise set_operation()
        all_rows = take.take("is_all", default=False)
        by_name = take.take("by_name", default=False)
        missing = take.take("allow_missing_columns", default=False)
        take.finish()

        def build(q: list[Query]) -> Query:
            union = Union(q[0], q[1], by_name, missing, plan_id=plan_id)
            return union if all_rows else Distinct(union, plan_id=plan_id)

        return sides, build

    def _sort(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "orderBy")
        keys = tuple(self._expressions.sort_key(key) for key in take.take("order", ()))
        take.require("is_global", True)  # noqa: FBT003  # a field's value
        child = _input(take)
        return [child], lambda q: Sort(q[0], keys, plan_id=plan_id)

    def _limit(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "limit")
        count = natural("limit", take.take("limit", 0))
        child = _input(take)
        return [child], lambda q: Limit(q[0], count, plan_id=plan_id)

    def _offset(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "offset")
        offset = natural("offset", take.take("offset", 0))
        child = _input(take)
        return [child], lambda q: Limit(q[0], None, offset, plan_id=plan_id)

    def _aggregate(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "groupBy")
        group_type = take.take("group_type", 0)
        grouping = _GROUPINGS.get(group_type)
        if grouping is None:
            refuse_field("groupBy", "grouping sets")
        keys = self._list(take.take("grouping_expressions", ()))
        items = self._list(take.take("aggregate_expressions", ()))
        column: Expression | None = None
        values: tuple[Literal, ...] = ()
        if group_type == _PIVOT:
            column, values = self._pivot(take.need("pivot"))
        child = _input(take)
        return [child], lambda q: Aggregate(
            q[0],
            keys,
            items,
            grouping,
            pivot_column=column,
            pivot_values=values,
            plan_id=plan_id,
        )

    def _pivot(self, message: Proto) -> tuple[Expression, tuple[Literal, ...]]:
        take = Fields(message, "pivot")
        column = self._expressions.expression(take.need("col"))
        values = tuple(self._expressions.literal(value) for value in take.take("values", ()))
        take.finish()
        if not values:
            raise pivot_without_values()
        return column, values

    def _deduplicate(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "dropDuplicates")
        names = tuple(check_name(check_text(name)) for name in take.take("column_names", ()))
        every = take.take("all_columns_as_keys", default=False)
        take.require("within_watermark", False)  # noqa: FBT003  # a field's value
        child = _input(take)
        if bool(names) == every:
            refuse_field("dropDuplicates", "column_names")
        columns = None if every else names
        return [child], lambda q: Distinct(q[0], columns, plan_id=plan_id)

    def _subquery_alias(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "alias")
        name = check_name(take.text("alias"))
        child = _input(take)
        return [child], lambda q: SubqueryAlias(q[0], name, plan_id=plan_id)

    def _to_df(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "toDF")
        names = self._names(take.take("column_names", ()))
        child = _input(take)
        return [child], lambda q: ToNames(q[0], names, plan_id=plan_id)

    def _rename(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "withColumnsRenamed")
        pairs: list[tuple[str, str]] = []
        for each in take.take("renames", ()):
            rename = Fields(each, "rename")
            old, new = rename.text("col_name"), rename.text("new_col_name")
            rename.finish()
            pairs.append((old, check_name(new)))
        child = _input(take)
        return [child], lambda q: Rename(q[0], tuple(pairs), plan_id=plan_id)

    def _with_columns(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "withColumns")
        items: list[tuple[str, Expression]] = []
        for each in take.take("aliases", ()):
            alias = Fields(each, "withColumn")
            names, value = alias.take("name", ()), alias.need("expr")
            alias.finish()
            if len(names) != 1:
                refuse_field("withColumn", "name")
            items.append((check_name(check_text(names[0])), self._expressions.expression(value)))
        child = _input(take)
        return [child], lambda q: WithColumns(q[0], tuple(items), plan_id=plan_id)

    def _drop(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "drop")
        columns = self._list(take.take("columns", ()))
        names = tuple(Name((name,)) for name in self._names(take.take("column_names", ())))
        child = _input(take)
        return [child], lambda q: Drop(q[0], columns + names, plan_id=plan_id)

    def _hint(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "hint")
        name = take.text("name")
        parameters = self._list(take.take("parameters", ()))
        child = _input(take)
        if name.lower() != "epsilon":
            raise unknown_hint(name)
        values = [each.value for each in parameters if isinstance(each, Literal)]
        epsilon = epsilon_of(values[0] if len(values) == len(parameters) == 1 else None)
        return [child], lambda q: Hint(q[0], "epsilon", (float(epsilon),), plan_id=plan_id)

    def _local(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        take = Fields(message, "createDataFrame")
        data, schema = take.take("data"), take.take("schema")
        take.finish()
        frame = read_frame(data, schema)
        self._frames[frame.digest] = frame.table
        return _leaf(Frame(frame.digest, frame.fields, plan_id=plan_id))

    def _sql_text(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        query = self._parse(message)
        return _leaf(replace(query, plan_id=plan_id))

    def _parse(self, message: Proto) -> Query:
        take = Fields(message, "sql")
        text = str(take.need("query"))
        if len(text) > MAX_SQL:
            raise too_large(f"SQL of {MAX_SQL} characters", f"至多 {MAX_SQL} 字符的 SQL")
        named = {
            name: self._argument(value) for name, value in take.take("named_arguments", {}).items()
        }
        listed = [self._argument(value) for value in take.take("pos_arguments", ())]
        take.finish()
        if named and listed:
            refuse_field("sql", "pos_arguments")
        query = self._sql.query(text, named or listed)
        check_size(query)
        return query

    def _argument(self, message: Proto) -> Literal:
        value = self._expressions.expression(message)
        if not isinstance(value, Literal):
            refuse_field("sql", "computed argument")
        return value

    def _with_relations(self, message: Proto, plan_id: int | None) -> Step[Proto, Query]:
        """Read `spark.sql(text, df=df)`: the frames stand for names in the text."""
        take = Fields(message, "sql")
        root, references = take.need("root"), take.take("references", ())
        take.finish()
        if root.WhichOneof("rel_type") != "sql":
            raise subquery()
        names = []
        for each in references:
            if each.WhichOneof("rel_type") != "subquery_alias":
                raise subquery()
            names.append(each.subquery_alias.alias.lower())
        if len(set(names)) != len(names):
            refuse_field("sql", "a name given twice")
        query = self._parse(root.sql)

        def build(frames: list[Query]) -> Query:
            # Each reference arrives under its alias already: the client wraps it so.
            named = dict(zip(names, frames, strict=True))
            placed = with_tables(query, lambda t: named.get(".".join(t.name).lower()), MAX_DEPTH)
            return replace(placed, plan_id=plan_id)

        return list(references), build

    def _list(self, messages: Proto) -> tuple[Expression, ...]:
        if len(messages) > MAX_COLUMNS:
            raise too_wide()
        return self._expressions.expressions(messages)

    def _names(self, names: Proto) -> tuple[str, ...]:
        if len(names) > MAX_COLUMNS:
            raise too_wide()
        return tuple(check_name(check_text(name)) for name in names)

    def _in_place(self, query: Query) -> Query:
        """Put the bodies of the session's views where they are named.

        A body was completed when its view was made, so no cycle exists, but views that double one
        another make trees of exponential size: hence the measuring.
        """
        query = with_tables(query, self._view, MAX_DEPTH)
        check_size(query)
        return query

    def _view(self, table: Table) -> Query | None:
        view = self._views.get(table.name[0].lower()) if len(table.name) == 1 else None
        if view is None:
            return None
        self._frames |= view.frames
        return SubqueryAlias(view.query, table.name[0], plan_id=table.plan_id)


def table_name(text: str) -> tuple[str, ...]:
    """Return a table's name; the lab has one database, so its name may be left out or given."""
    parts = parse_identifier(check_text(text))
    for prefix in (("spark_catalog", "default"), ("default",)):
        if parts[:-1] == prefix:
            parts = parts[-1:]
    return name_parts(parts)


def _leaf(query: Query) -> Step[Proto, Query]:
    return (), lambda _: query


def _input(take: Fields) -> Proto:
    child = take.need("input")
    take.finish()
    return child
