"""Translate Catalyst relations into `privacy.dp.query`, by an allow-list of classes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from privacy.dp.expr import Expression, Name
from privacy.dp.query import (
    Aggregate,
    Distinct,
    Grouping,
    Hint,
    Join,
    JoinKind,
    Limit,
    Query,
    Select,
    Sort,
    SubqueryAlias,
    Table,
    ToNames,
    Union,
)
from privacy.dp.query import Filter as Where
from privacy.errors import Refusal
from sandbox.gateway.sql_expr import ExpressionReader, is_aggregate
from sandbox.gateway.sql_select import Block, aggregate_keys, item_at, output_name
from sandbox.gateway.sql_tree import Fields, Handler, Reader, check_name, name_parts, refuse

MAX_RELATIONS: Final = 400
"""Relations in a query after every WITH name is replaced by what it stands for."""

_UNNAMED_SUBQUERY: Final = "__auto_generated_subquery_name"
_JOINS: Final = {
    "plans.Inner$": JoinKind.INNER,
    "plans.LeftOuter$": JoinKind.LEFT,
    "plans.RightOuter$": JoinKind.RIGHT,
    "plans.FullOuter$": JoinKind.FULL,
    "plans.LeftSemi$": JoinKind.SEMI,
    "plans.LeftAnti$": JoinKind.ANTI,
    "plans.Cross$": JoinKind.CROSS,
}
_NO_JOIN_HINT: Final = {
    "class": "org.apache.spark.sql.catalyst.plans.logical.JoinHint",
    "fields": {"leftHint": None, "rightHint": None},
}
_GROUPINGS: Final = {"expressions.Rollup": Grouping.ROLLUP, "expressions.Cube": Grouping.CUBE}


@dataclass(frozen=True, slots=True)
class _Named:
    """What a WITH name stands for."""

    query: Query
    relations: int


class PlanReader:
    """Reads the relations of one tree."""

    def __init__(self, reader: Reader, expressions: ExpressionReader) -> None:
        """Read nodes from `reader`, their expressions by `expressions`."""
        self._reader = reader
        self._expressions = expressions
        self._names: Mapping[str, _Named] = {}
        self._relations = 0
        logical = "plans.logical."
        self._handlers: dict[str, Handler[Query | Block]] = {
            "analysis.UnresolvedRelation": self._table,
            "analysis.UnresolvedHaving": self._having,
            "analysis.UnresolvedSubqueryColumnAliases": self._column_names,
            logical + "Project": self._project,
            logical + "Aggregate": self._aggregate,
            logical + "Filter": self._filter,
            logical + "Join": self._join,
            logical + "Union": self._union,
            logical + "Distinct": self._distinct,
            logical + "Sort": self._sort,
            logical + "GlobalLimit": self._limit,
            logical + "Offset": self._offset,
            logical + "LimitAll": lambda f: self._block(f.index("child")),
            logical + "SubqueryAlias": self._alias,
            logical + "UnresolvedWith": self._with,
            logical + "UnresolvedHint": self._hint,
        }

    def query(self, index: int) -> Query:
        """Return a relation."""
        block = self._block(index)
        return block.query() if isinstance(block, Block) else block

    def _block(self, index: int) -> Query | Block:
        """Return a relation, still open to HAVING and ORDER BY if it is a SELECT."""
        self._count(1)
        return self._reader.node(index, self._handlers)

    def _count(self, relations: int) -> None:
        self._relations += relations
        if self._relations > MAX_RELATIONS:
            raise Refusal(
                "TOO_LARGE",
                f"The query has more than {MAX_RELATIONS} relations once its WITH names are "
                "replaced; split the question.",
                f"展开 WITH 名称后查询超过 {MAX_RELATIONS} 个关系；请拆分查询。",
            )

    def _table(self, fields: Fields) -> Query:
        fields.require("options", {"map": []})
        fields.require("isStreaming", False)  # noqa: FBT003  # a field's value
        name = name_parts(fields.texts("multipartIdentifier"))
        named = self._names.get(name[0].lower()) if len(name) == 1 else None
        if named is None:
            return Table(name)
        self._count(named.relations)
        return named.query

    def _project(self, fields: Fields) -> Block:
        items = tuple(map(self._expressions.item, fields.indexes("projectList")))
        child = self.query(fields.index("child"))
        if any(map(is_aggregate, items)):
            return Block(Aggregate(child, (), items, keys_in_output=False))
        return Block(Select(child, items))

    def _aggregate(self, fields: Fields) -> Block:
        fields.require("hint", None)
        indexes = fields.indexes("groupingExpressions")
        items = tuple(map(self._expressions.item, fields.indexes("aggregateExpressions")))
        grouping = Grouping.GROUP
        if len(indexes) == 1 and self._reader.kind(indexes[0]) in _GROUPINGS:
            sets = self._reader.fields(indexes[0])
            grouping = _GROUPINGS[sets.kind]
            indexes = sets.indexes("children")
            sets.require("groupingSetIndexes", [[place] for place in range(len(indexes))])
            sets.finish()
        keys = aggregate_keys(list(map(self._expressions.expression_or_ordinal, indexes)), items)
        _refuse_all(keys, "GROUP BY")
        child = self.query(fields.index("child"))
        return Block(Aggregate(child, keys, items, grouping, keys_in_output=False))

    def _having(self, fields: Fields) -> Block:
        condition = self._expressions.expression(fields.index("havingCondition"))
        block = self._block(fields.index("child"))
        if not isinstance(block, Block) or not isinstance(block.core, Aggregate) or block.wrappers:
            refuse(fields.kind)
        block.having(condition)
        return block

    def _filter(self, fields: Fields) -> Query:
        condition = self._expressions.expression(fields.index("condition"))
        child = self.query(fields.index("child"))
        if isinstance(child, Join) and child.kind is JoinKind.CROSS:
            # `FROM a, b WHERE a.k = b.k` is the inner join on that condition.
            return replace(child, kind=JoinKind.INNER, condition=condition)
        return Where(child, condition)

    def _join(self, fields: Fields) -> Query:
        fields.require("hint", _NO_JOIN_HINT)
        kind, inner = fields.product(fields.take("joinType"))
        using: tuple[str, ...] = ()
        if kind == "plans.UsingJoin" and inner.keys() == {"tpe", "usingColumns"}:
            names = inner["usingColumns"]
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                refuse(kind)
            using = tuple(check_name(name) for name in names)
            kind, inner = fields.product(inner["tpe"])
        if kind not in _JOINS or inner:
            refuse(kind)
        condition = fields.optional_index("condition")
        left, right = self.query(fields.index("left")), self.query(fields.index("right"))
        if condition is not None:
            if using or kind == "plans.Cross$":
                refuse(kind)
            return Join(left, right, _JOINS[kind], self._expressions.expression(condition))
        if not using and kind == "plans.Inner$":
            return Join(left, right, JoinKind.CROSS)
        return Join(left, right, _JOINS[kind], None, using)

    def _union(self, fields: Fields) -> Query:
        fields.require("byName", False)  # noqa: FBT003  # a field's value
        fields.require("allowMissingCol", False)  # noqa: FBT003  # a field's value
        children = fields.indexes("children")
        if len(children) < 2:  # noqa: PLR2004  # a union has two sides
            refuse(fields.kind)
        result = self.query(children[0])
        for index in children[1:]:
            result = Union(result, self.query(index))
        return result

    def _distinct(self, fields: Fields) -> Query | Block:
        block = self._block(fields.index("child"))
        if not isinstance(block, Block):
            return Distinct(block)
        if block.hidden:
            return Distinct(block.query())
        block.wrappers.append(Distinct(block.core))
        return block

    def _hint(self, fields: Fields) -> Query | Block:
        name = fields.text("name")
        if name.lower() != "epsilon":
            raise Refusal(
                "UNSUPPORTED",
                f"The hint {name} is not known; the only one is EPSILON(number).",
                f"未知提示 {name}；只支持 EPSILON(数值)。",
            )
        parameters = fields.indexes("parameters")
        value = self._expressions.constant(parameters[0]) if len(parameters) == 1 else None
        if type(value) not in (int, float):
            raise Refusal(
                "BAD_EPSILON",
                "The hint EPSILON takes one number above 0, such as EPSILON(0.5).",
                "EPSILON 提示只接受一个大于 0 的数值，例如 EPSILON(0.5)。",
            )
        block = self._block(fields.index("child"))
        if not isinstance(block, Block):
            return Hint(block, "epsilon", (value,))
        block.wrappers.append(Hint(block.core, "epsilon", (value,)))
        return block

    def _sort(self, fields: Fields) -> Query:
        fields.require("global", True)  # noqa: FBT003  # a field's value; SORT BY is not an order
        fields.require("hint", None)
        keys = [self._expressions.sort_key(index) for index in fields.indexes("order")]
        _refuse_all(tuple(key.operand for key, _ in keys), "ORDER BY")
        child = self._block(fields.index("child"))
        if isinstance(child, Block):
            return child.sort(keys)
        placed = []
        for key, position in keys:
            name = key.operand
            if position is not None:
                found = output_name(item_at(_items(child), position, "ORDER BY"))
                name = Name((found,)) if found else refuse("UnresolvedOrdinal")
            placed.append(replace(key, operand=name))
        return Sort(child, tuple(placed))

    def _limit(self, fields: Fields) -> Query:
        count = self._row_count(fields.index("limitExpr"))
        local = self._reader.fields(fields.index("child"))
        if local.kind != "plans.logical.LocalLimit":
            refuse(local.kind)
        if self._row_count(local.index("limitExpr")) != count:
            refuse(local.kind)
        child = self.query(local.index("child"))
        local.finish()
        if isinstance(child, Limit) and child.count is None:
            return replace(child, count=count)
        return Limit(child, count)

    def _offset(self, fields: Fields) -> Query:
        offset = self._row_count(fields.index("offsetExpr"))
        return Limit(self.query(fields.index("child")), None, offset)

    def _row_count(self, index: int) -> int:
        value = self._expressions.constant(index)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise Refusal(
                "UNSUPPORTED",
                "LIMIT and OFFSET take a whole number of at least 0.",
                "LIMIT 与 OFFSET 须为不小于 0 的整数。",
            )
        return value

    def _alias(self, fields: Fields) -> Query:
        kind, identifier = fields.product(fields.take("identifier"))
        name = identifier.get("name")
        if not isinstance(name, str) or identifier != {"name": name, "qualifier": []}:
            refuse(fields.kind)
        if kind != "AliasIdentifier":
            refuse(kind)
        if name != _UNNAMED_SUBQUERY:
            check_name(name)
        return SubqueryAlias(self.query(fields.index("child")), name)

    def _column_names(self, fields: Fields) -> Query:
        names = tuple(check_name(name) for name in fields.texts("outputColumnNames"))
        return ToNames(self.query(fields.index("child")), names)

    def _with(self, fields: Fields) -> Query | Block:
        """Replace each name by its query; an inner WITH hides an outer one of the same name."""
        fields.require("allowRecursion", False)  # noqa: FBT003  # a field's value
        outer, own = self._names, set()
        for each in fields.array("cteRelations"):
            kind, parts = fields.product(each)
            if (
                kind != "scala.Tuple3"
                or parts.keys() != {"_1", "_2", "_3"}
                or parts["_3"] is not None
            ):
                refuse(fields.kind)
            name = parts["_1"].lower() if isinstance(parts["_1"], str) else refuse(fields.kind)
            if name in own:
                raise Refusal("PARSE", f"WITH defines {name} twice.", f"WITH 中重复定义了 {name}。")
            own.add(name)
            before = self._relations
            query = self.query(fields.reference(parts["_2"]))
            self._names = {**self._names, name: _Named(query, self._relations - before)}
        child = self._block(fields.index("child"))
        self._names = outer
        return child


def _items(query: Query) -> tuple[Expression, ...]:
    """Return a select list that names the columns of a relation, as far as the text tells them."""
    match query:
        case Select(_, items):
            return items
        case Aggregate(_, _, items, keys_in_output=False):
            return items
        case ToNames(_, names):
            return tuple(Name((name,)) for name in names)
        case Union(left):
            return _items(left)
        case Distinct(child) | Sort(child) | Limit(child) | Where(child) | Hint(child):
            return _items(child)
        case SubqueryAlias(child):
            return _items(child)
        case _:
            return ()


def _refuse_all(expressions: tuple[Expression, ...], clause: str) -> None:
    """Refuse GROUP BY ALL and ORDER BY ALL, which the tree writes as a column of that name."""
    match expressions:
        case (Name((word,)),) if word.lower() == "all":
            raise Refusal(
                "UNSUPPORTED",
                f"{clause} ALL is not supported; name the columns.",
                f"不支持 {clause} ALL；请写明列名。",
            )
        case _:
            return
