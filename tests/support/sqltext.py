# making SQL text is what this file is for
"""Queries as SQL text, and random queries that SQL can say: the other half of a round trip."""

from hypothesis import strategies as st

from privacy.dp.expr import Alias, Call, Cast, Expression, Literal, Name, SortKey, Star
from privacy.dp.query import (
    Aggregate,
    Distinct,
    Filter,
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
from privacy.dp.types import DataType

_INFIX = {"+", "-", "*", "/", "%", "div", "==", "<", "<=", ">", ">=", "<=>", "and", "or"}
_INFIX |= {"like", "rlike"}
_JOINS = {
    JoinKind.INNER: "JOIN",
    JoinKind.LEFT: "LEFT JOIN",
    JoinKind.RIGHT: "RIGHT JOIN",
    JoinKind.FULL: "FULL JOIN",
    JoinKind.SEMI: "LEFT SEMI JOIN",
    JoinKind.ANTI: "LEFT ANTI JOIN",
    JoinKind.CROSS: "CROSS JOIN",
}


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def string(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def expression_text(expression: Expression) -> str:
    match expression:
        case Name(parts):
            return ".".join(map(quoted, parts))
        case Star(qualifier):
            return ".".join([*map(quoted, qualifier), "*"])
        case Literal():
            return _literal_text(expression)
        case Cast(operand, type_):
            return f"CAST({expression_text(operand)} AS {type_.value})"
        case Alias(operand, name):
            return f"{expression_text(operand)} AS {quoted(name)}"
        case Call("not", (operand,)):
            return f"(NOT {expression_text(operand)})"
        case Call("negative", (operand,)):
            return f"(- {expression_text(operand)})"
        case Call("isnull", (operand,)):
            return f"({expression_text(operand)} IS NULL)"
        case Call("isnotnull", (operand,)):
            return f"({expression_text(operand)} IS NOT NULL)"
        case Call("in", (operand, *candidates)):
            return f"({expression_text(operand)} IN ({_list(candidates)}))"
        case Call("when", args):
            return _case_text(args)
        case Call(function, (left, right)) if function in _INFIX:
            return f"({expression_text(left)} {function} {expression_text(right)})"
        case Call(function, args, distinct):
            return f"{function}({'DISTINCT ' if distinct else ''}{_list(args)})"


def query_text(query: Query) -> str:
    match query:
        case Limit(child, count, offset):
            limit = "" if count is None else f" LIMIT {count}"
            return query_text(child) + limit + (f" OFFSET {offset}" if offset else "")
        case Sort(child, keys):
            return f"{query_text(child)} ORDER BY {', '.join(map(_key_text, keys))}"
        case Union(left, right):
            return f"({query_text(left)}) UNION ALL ({query_text(right)})"
        case Distinct(Union(left, right)):
            return f"({query_text(left)}) UNION ({query_text(right)})"
        case Distinct(child):
            return query_text(child).replace("SELECT", "SELECT DISTINCT", 1)
        case Hint(child, _, (value,)):
            return query_text(child).replace("SELECT", f"SELECT /*+ EPSILON({value}) */", 1)
        case Filter(Aggregate() as child, condition):
            return f"{query_text(child)} HAVING {expression_text(condition)}"
        case Aggregate(child, keys, items, grouping):
            by = _list(keys)
            if grouping is not Grouping.GROUP:
                by = f"{grouping.value}({by})"
            group = f" GROUP BY {by}" if keys else ""
            return f"SELECT {_list(items)} FROM {_from_text(child)}{group}"
        case Select(child, items):
            return f"SELECT {_list(items)} FROM {_from_text(child)}"
        case _:
            raise AssertionError(query)


def _from_text(query: Query) -> str:
    match query:
        case Table(name):
            return ".".join(map(quoted, name))
        case Filter(child, condition):
            return f"{_from_text(child)} WHERE {expression_text(condition)}"
        case SubqueryAlias(ToNames(child, names), alias):
            return f"{_source(child)} AS {quoted(alias)}({', '.join(map(quoted, names))})"
        case SubqueryAlias(child, alias):
            return f"{_source(child)} AS {quoted(alias)}"
        case Join(left, right, kind, condition, using):
            text = f"{_from_text(left)} {_JOINS[kind]} {_from_text(right)}"
            if using:
                text += f" USING ({', '.join(map(quoted, using))})"
            return f"({text}{f' ON {expression_text(condition)}' if condition else ''})"
        case _:
            raise AssertionError(query)


def _source(query: Query) -> str:
    return _from_text(query) if isinstance(query, Table | Join) else f"({query_text(query)})"


def _list(expressions: tuple[Expression, ...] | list[Expression]) -> str:
    return ", ".join(map(expression_text, expressions))


def _key_text(key: SortKey) -> str:
    direction = "ASC" if key.ascending else "DESC"
    return (
        f"{expression_text(key.operand)} {direction} NULLS {'FIRST' if key.nulls_first else 'LAST'}"
    )


def _case_text(args: tuple[Expression, ...]) -> str:
    branches = [
        f"WHEN {expression_text(args[i])} THEN {expression_text(args[i + 1])}"
        for i in range(0, len(args) - 1, 2)
    ]
    default = f" ELSE {expression_text(args[-1])}" if len(args) % 2 else ""
    return f"(CASE {' '.join(branches)}{default} END)"


def _literal_text(literal: Literal) -> str:
    value = literal.value
    match literal.type:
        case DataType.STRING:
            return string(str(value))
        case DataType.DATE:
            return f"DATE '{value}'"
        case DataType.LONG:
            return f"{value}L"
        case DataType.DOUBLE:
            return f"{value!r}D"
        case DataType.NULL | DataType.BOOLEAN:
            # Spark reads `NULL - x` and `x - False` as names with a hyphen.
            return "(NULL)" if value is None else f"({value})"
        case _:
            return str(value)


# Random queries. Names, functions and literals are what a client may send; the shapes are those
# that come out of the translation unchanged (no ordinals, no hidden columns, no FILTER).

names = st.sampled_from(
    ["a", "b", "district", "税额", "x y", "we`ird", "a, b", "[c]", "select", "A.B"]
)
strings = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
literals = st.one_of(
    st.integers(-(2**31), 2**31 - 1).map(lambda v: Literal(v, DataType.INTEGER)),
    st.integers(-(2**63), 2**63 - 1).map(lambda v: Literal(v, DataType.LONG)),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda v: Literal(v, DataType.DOUBLE)),
    st.booleans().map(lambda v: Literal(v, DataType.BOOLEAN)),
    st.dates().map(lambda v: Literal(v, DataType.DATE)),
    strings.map(lambda v: Literal(v, DataType.STRING)),
    st.just(Literal(None, DataType.NULL)),
)
columns = st.lists(names, min_size=1, max_size=2).map(lambda parts: Name(tuple(parts)))
types = st.sampled_from([type_ for type_ in DataType if type_ is not DataType.NULL])


def _calls(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    pair, some = st.tuples(inner, inner), st.lists(inner, min_size=1, max_size=3).map(tuple)
    functions = st.sampled_from(["coalesce", "year", "concat", "substring", "if", "nvl", "abs"])
    return st.one_of(
        st.builds(Call, st.sampled_from(sorted(_INFIX)), pair),
        st.builds(Call, st.sampled_from(["not", "isnull", "isnotnull"]), st.tuples(inner)),
        st.builds(Call, functions, some),
        st.builds(Call, st.just("in"), st.lists(inner, min_size=2, max_size=4).map(tuple)),
        st.builds(Call, st.just("when"), st.lists(inner, min_size=2, max_size=5).map(tuple)),
        st.builds(Cast, inner, types),
    )


expressions: st.SearchStrategy[Expression] = st.recursive(columns | literals, _calls, max_leaves=8)
aggregates = st.one_of(
    st.just(Call("count", (Literal(1, DataType.INTEGER),))),
    st.builds(Call, st.sampled_from(["sum", "avg", "min", "median"]), st.tuples(expressions)),
    st.builds(Call, st.just("count"), st.tuples(columns), st.just(value=True)),
)
tables = st.builds(Table, st.lists(names, min_size=1, max_size=2).map(tuple))


@st.composite
def _joins(draw: st.DrawFn, sources: st.SearchStrategy[Query]) -> Query:
    kind = draw(st.sampled_from(list(JoinKind)))
    left, right = draw(sources), draw(sources)
    if kind is JoinKind.CROSS:
        return Join(left, right, kind)
    if draw(st.booleans()):
        return Join(left, right, kind, None, tuple(draw(st.lists(names, min_size=1, max_size=2))))
    return Join(left, right, kind, draw(expressions))


@st.composite
def _blocks(draw: st.DrawFn, sources: st.SearchStrategy[Query]) -> Query:
    child = draw(sources)
    if draw(st.booleans()) and not (isinstance(child, Join) and child.kind is JoinKind.CROSS):
        child = Filter(child, draw(expressions))
    count = draw(st.integers(1, 3))
    if draw(st.booleans()):
        items = [Alias(draw(expressions), f"o{i}") for i in range(count)]
        block: Query = Select(child, (*items, Star()) if draw(st.booleans()) else tuple(items))
        if draw(st.booleans()):
            block = Distinct(block)
    else:
        keys = tuple(draw(st.lists(columns, max_size=2)))
        shown = [Alias(draw(aggregates), f"o{i}") for i in range(count)]
        grouping = draw(st.sampled_from(list(Grouping))) if keys else Grouping.GROUP
        block = Aggregate(child, keys, (*keys, *shown), grouping, keys_in_output=False)
        if draw(st.booleans()):
            block = Filter(block, Call(">", (Name(("o0",)), draw(literals))))
    if draw(st.booleans()):
        block = Hint(block, "epsilon", (draw(st.sampled_from([1, 0.5, 0.25])),))
    if draw(st.booleans()):
        keys_ = st.builds(SortKey, st.just(Name(("o0",))), st.booleans(), st.booleans())
        block = Sort(block, tuple(draw(st.lists(keys_, min_size=1, max_size=2))))
    if draw(st.booleans()):
        block = Limit(block, draw(st.integers(0, 100)), draw(st.integers(0, 3)))
    return block


def _statements(inner: st.SearchStrategy[Query]) -> st.SearchStrategy[Query]:
    aliased = st.builds(SubqueryAlias, inner | tables, names)
    renamed = st.builds(ToNames, inner | tables, st.lists(names, min_size=1, max_size=3).map(tuple))
    sources = tables | aliased | st.builds(SubqueryAlias, renamed, names)
    union = st.builds(Union, inner, inner)
    return _blocks(sources | _joins(sources)) | union | st.builds(Distinct, union)


queries: st.SearchStrategy[Query] = st.recursive(_blocks(tables), _statements, max_leaves=3)
"""Statements that come back unchanged from `parse_query(query_text(query))`."""
