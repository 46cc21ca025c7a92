"""Random small questions: resolving is a function of the question and gives well-formed plans."""

import hypothesis.strategies as st
from hypothesis import given

from privacy.dp import query as q
from privacy.dp.expr import Alias, Call, Expression, Literal, Name, SortKey, Star
from privacy.dp.facts import ColumnFacts, TableFacts
from privacy.dp.resolve import NamedRelations, Resolved, resolve
from privacy.dp.types import DataType
from privacy.errors import Refusal
from tests.support.wellformed import assert_well_formed

T = DataType
COLUMNS = (("a", T.INTEGER), ("b", T.LONG), ("c", T.DOUBLE), ("s", T.STRING), ("p", T.BOOLEAN))
CATALOGUE = NamedRelations(
    {
        name: TableFacts(name, "1", tuple(ColumnFacts(n, k, nullable=n != "a") for n, k in COLUMNS))
        for name in ("t", "u")
    }
)

names = st.sampled_from(["a", "B", "c", "s", "p", "k", "t.a", "z.b"]).map(
    lambda n: Name(tuple(n.split(".")))
)
bound = st.builds(Name, st.sampled_from([("a",), ("b",), ("s",)]), st.integers(0, 3))
literals = st.sampled_from(
    [
        Literal(1, T.INTEGER),
        Literal(2.5, T.DOUBLE),
        Literal("x", T.STRING),
        Literal(None, T.NULL),
        Literal(value=True, type=T.BOOLEAN),
    ]
)


def _calls(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    two = st.tuples(inner, inner)
    return st.one_of(
        st.builds(Call, st.sampled_from(["+", "*", "==", "<", "coalesce", "and"]), two),
        st.builds(Call, st.sampled_from(["abs", "isnull", "upper"]), st.tuples(inner)),
        st.builds(Call, st.just("when"), st.tuples(inner, inner, inner)),
    )


expressions = st.recursive(names | bound | literals, _calls, max_leaves=4)
calls = st.builds(
    Call, st.sampled_from(["sum", "count", "avg", "min"]), st.tuples(expressions)
) | st.just(Call("count", (Star(),)))
aliased = st.builds(Alias, expressions, st.sampled_from(["k", "a", "s"]))
items = expressions | aliased
labels = st.integers(0, 3)
tables = st.builds(q.Table, st.sampled_from([("t",), ("u",)]), plan_id=labels)


def _operators(child: st.SearchStrategy[q.Query]) -> st.SearchStrategy[q.Query]:
    lists = st.lists(items | st.just(Star()), min_size=1, max_size=3).map(tuple)
    keys = st.lists(names, max_size=2).map(tuple)
    sort_keys = st.lists(st.builds(SortKey, expressions | calls), min_size=1, max_size=2)
    new = st.lists(st.tuples(st.sampled_from(["a", "K", "n"]), expressions), max_size=2)
    return st.one_of(
        st.builds(q.Select, child, lists, plan_id=labels),
        st.builds(q.Filter, child, expressions, plan_id=labels),
        st.builds(q.WithColumns, child, new.map(tuple), plan_id=labels),
        st.builds(q.SubqueryAlias, child, st.just("z"), plan_id=labels),
        st.builds(q.Sort, child, sort_keys.map(tuple), plan_id=labels),
        st.builds(q.Distinct, child, st.sampled_from([None, ("a",)])),
        st.builds(q.Limit, child, st.just(5)),
        st.builds(
            q.Aggregate,
            child,
            keys,
            st.lists(calls | st.builds(Alias, calls, st.just("k")), min_size=1, max_size=2).map(
                tuple
            ),
            st.sampled_from(q.Grouping),
            plan_id=labels,
        ),
        st.builds(q.Join, child, child, st.sampled_from(q.JoinKind), using=st.just(("a",))),
        st.builds(q.Join, child, child, st.sampled_from(q.JoinKind), expressions),
        st.builds(q.Union, child, child, st.booleans(), st.booleans()),
    )


queries = st.recursive(tables, _operators, max_leaves=4)


def outcome(query: q.Query) -> Resolved | tuple[str, str]:
    try:
        return resolve(query, CATALOGUE)
    except Refusal as refusal:
        return refusal.code, refusal.en


@given(queries)
def test_resolving_depends_on_nothing_but_the_question(query: q.Query) -> None:
    assert outcome(query) == outcome(query)


@given(queries)
def test_every_reference_is_to_a_column_of_the_input_and_ids_are_defined_once(
    query: q.Query,
) -> None:
    result = outcome(query)
    if isinstance(result, Resolved):
        assert_well_formed(result.node)


@given(tables, st.lists(st.sampled_from(["filter", "sort", "limit"]), max_size=6))
def test_row_operators_keep_the_columns(table: q.Query, operators: list[str]) -> None:
    query = table
    for operator in operators:
        match operator:
            case "filter":
                query = q.Filter(query, Call("isnotnull", (Name(("b",)),)))
            case "sort":
                query = q.Sort(query, (SortKey(Name(("c",))),))
            case _:
                query = q.Limit(query, 3)
    assert resolve(query, CATALOGUE).node.columns == resolve(table, CATALOGUE).node.columns
