"""Aggregates: what is computed once, what stands above it, and what is refused."""

import pytest

from privacy.dp import query as q
from privacy.dp.expr import Alias, Call, Expression, Literal, Name, SortKey, Star
from privacy.dp.facts import ColumnFacts, TableFacts
from privacy.dp.plan import (
    AggregateCall,
    AggregateKind,
    Apply,
    Const,
    Group,
    Node,
    Project,
    Ref,
    UnionAll,
    walk,
)
from privacy.dp.resolve import NamedRelations, resolve
from privacy.dp.types import DataType, Value
from privacy.errors import Refusal
from tests.support.wellformed import assert_well_formed

CATALOGUE = NamedRelations(
    {
        "t": TableFacts(
            "t",
            "v1",
            (
                ColumnFacts("k", DataType.STRING, nullable=False),
                ColumnFacts("p", DataType.STRING),
                ColumnFacts("x", DataType.INTEGER),
                ColumnFacts("y", DataType.DOUBLE),
                ColumnFacts("b", DataType.BOOLEAN),
            ),
        )
    }
)
T = q.Table(("t",))
K, P, X, Y, B = (Name((n,)) for n in "kpxyb")
ROWS = Call("count", (Star(),))


def lit(value: Value) -> Literal:
    kinds = {bool: DataType.BOOLEAN, int: DataType.INTEGER, float: DataType.DOUBLE}
    default = DataType.NULL if value is None else DataType.STRING
    return Literal(value, kinds.get(type(value), default))


def f(function: str, *args: Expression, distinct: bool = False) -> Call:
    return Call(function, args, distinct)


def plan(query: q.Query) -> Node:
    node = resolve(query, CATALOGUE).node
    assert_well_formed(node)
    return node


def code(query: q.Query) -> str:
    with pytest.raises(Refusal) as refused:
        resolve(query, CATALOGUE)
    return refused.value.code


def group(keys: tuple[Expression, ...], *items: Expression, **more: q.Grouping) -> q.Aggregate:
    return q.Aggregate(T, keys, items, **more)


def the_group(node: Node) -> Group:
    (found,) = (n for n in walk(node) if isinstance(n, Group))
    return found


def calls(query: q.Query) -> list[AggregateCall]:
    return [call for _, call in the_group(plan(query)).aggregates]


def test_a_plain_aggregate_needs_no_projection_and_carries_the_output_names() -> None:
    node = plan(group((K,), Alias(f("sum", X), "total")))
    assert isinstance(node, Group)
    assert [c.name for c in node.columns] == ["k", "total"]
    assert node.columns[0].id == 0


def test_equal_calls_are_computed_once_however_they_are_written() -> None:
    node = plan(
        group((K,), f("/", f("sum", X), ROWS), f("SUM", X), f("count", lit(1)), f("sum", X))
    )
    kinds = [call.kind for _, call in the_group(node).aggregates]
    assert kinds == [AggregateKind.SUM, AggregateKind.COUNT_ROWS]
    assert len(node.columns) == 5


def test_different_calls_over_one_column_stay_apart() -> None:
    kinds = [c.kind for c in calls(group((K,), f("min", X), f("max", X), f("median", X)))]
    assert kinds == [AggregateKind.MIN, AggregateKind.MAX, AggregateKind.QUANTILE]
    quantiles = [f("percentile", X, lit(v)) for v in (0.25, 0.75)]
    assert len(calls(group((K,), *quantiles))) == 2


def test_different_literals_make_different_calls() -> None:
    items = [f("sum", f("+", X, lit(v))) for v in (1, True)]
    with pytest.raises(Refusal, match="numbers"):
        plan(group((K,), *items))
    doubles = [f("sum", f("*", Y, lit(v))) for v in (0.0, -0.0)]
    assert len(calls(group((K,), *doubles))) == 2


def test_an_expression_over_a_key_reads_the_key() -> None:
    node = plan(group((f("+", X, lit(1)),), f("*", f("+", X, lit(1)), lit(2))))
    assert isinstance(node, Project)
    product = node.items[1][1]
    assert isinstance(product, Apply)
    assert product.args[0] == Ref(the_group(node).keys[0][0].id, DataType.INTEGER)


def test_a_select_of_aggregates_is_one_global_group() -> None:
    node = plan(q.Select(T, (f("sum", X), Alias(ROWS, "n"))))
    assert isinstance(node, Group)
    assert node.keys == ()


@pytest.mark.parametrize(
    ("call", "kind", "result"),
    [
        (f("count", X), AggregateKind.COUNT, DataType.LONG),
        (f("count", lit(None)), AggregateKind.COUNT, DataType.LONG),
        (f("count", X, P), AggregateKind.COUNT_IF, DataType.LONG),
        (f("count", K, distinct=True), AggregateKind.COUNT_DISTINCT, DataType.LONG),
        (f("count_if", B), AggregateKind.COUNT_IF, DataType.LONG),
        (f("sum", X), AggregateKind.SUM, DataType.LONG),
        (f("sum", Y), AggregateKind.SUM, DataType.DOUBLE),
        (f("mean", X), AggregateKind.AVG, DataType.DOUBLE),
        (f("std", X), AggregateKind.STDDEV_SAMP, DataType.DOUBLE),
        (f("variance", X), AggregateKind.VAR_SAMP, DataType.DOUBLE),
        (f("max", P), AggregateKind.MAX, DataType.STRING),
        (f("percentile", X, lit(0.5)), AggregateKind.QUANTILE, DataType.DOUBLE),
        (f("percentile_approx", X, lit(0.5), lit(9)), AggregateKind.QUANTILE, DataType.INTEGER),
    ],
)
def test_each_aggregate_has_its_kind_and_type(
    call: Call, kind: AggregateKind, result: DataType
) -> None:
    node = the_group(plan(group((), call)))
    assert (node.aggregates[0][1].kind, node.columns[0].type) == (kind, result)


@pytest.mark.parametrize(
    ("call", "thousandths"),
    [
        (f("median", X), 500),
        (f("percentile", X, lit(0.999)), 999),
        (f("approx_percentile", Y, lit(0)), 0),
        (f("percentile_approx", Y, lit(0.29)), 290),
    ],
)
def test_quantiles_are_kept_in_thousandths(call: Call, thousandths: int) -> None:
    assert calls(group((), call))[0].parameters == (thousandths,)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (f("sum", f("sum", X)), "UNSUPPORTED"),
        (f("sum", X, distinct=True), "UNSUPPORTED"),
        (f("sum", P), "TYPE_MISMATCH"),
        (f("sum", B), "TYPE_MISMATCH"),
        (f("avg", lit(None)), "TYPE_MISMATCH"),
        (f("median", P), "TYPE_MISMATCH"),
        (f("count_if", X), "TYPE_MISMATCH"),
        (f("first", X), "UNSUPPORTED"),
        (f("approx_count_distinct", X), "UNSUPPORTED"),
        (f("percentile", X, Y), "UNSUPPORTED"),
        (f("percentile", X, lit(1.5)), "UNSUPPORTED"),
        (f("percentile", X, lit(0.1234)), "UNSUPPORTED"),
        (f("percentile", X, lit(0.5), lit(2)), "UNSUPPORTED"),
        (f("percentile_approx", X, f("array", lit(0.5))), "UNSUPPORTED"),
        (f("percentile", X), "UNSUPPORTED"),
        (f("count"), "UNSUPPORTED"),
        (f("sum", Star()), "UNSUPPORTED"),
        (X, "UNSUPPORTED"),
        (f("+", X, f("sum", X)), "UNSUPPORTED"),
        (Star(), "UNSUPPORTED"),
    ],
)
def test_what_cannot_be_aggregated_is_refused(call: Expression, expected: str) -> None:
    assert code(group((K,), call)) == expected


def test_an_aggregate_in_a_row_filter_or_a_new_column_is_refused() -> None:
    assert code(q.Filter(T, f(">", f("sum", X), lit(1)))) == "UNSUPPORTED"
    assert code(q.WithColumns(T, (("n", f("sum", X)),))) == "UNSUPPORTED"
    assert code(group((f("sum", X),), ROWS)) == "UNSUPPORTED"


# Having and order by.


def test_having_may_use_the_name_of_an_aggregate() -> None:
    node = plan(q.Filter(group((K,), Alias(ROWS, "count")), f(">", Name(("count",)), lit(3))))
    assert [c.name for c in node.columns] == ["k", "count"]


def test_having_and_order_by_may_ask_for_another_aggregate_and_do_not_show_it() -> None:
    filtered = q.Filter(group((K,), Alias(f("sum", X), "s")), f(">", ROWS, lit(3)))
    node = plan(q.Sort(filtered, (SortKey(f("avg", Y)), SortKey(f("sum", X)))))
    assert [c.name for c in node.columns] == ["k", "s"]
    kinds = [call.kind for _, call in the_group(node).aggregates]
    assert kinds == [AggregateKind.SUM, AggregateKind.COUNT_ROWS, AggregateKind.AVG]


def test_extending_an_aggregate_changes_only_the_question_that_asked() -> None:
    base = group((K,), Alias(f("sum", X), "s"))
    extended = q.Sort(base, (SortKey(f("avg", Y)),))
    joined = plan(q.Join(base, extended, q.JoinKind.INNER, using=("k",)))
    sizes = [len(n.aggregates) for n in walk(joined) if isinstance(n, Group)]
    assert sorted(sizes) == [1, 2]


def test_order_by_may_repeat_a_key_expression_and_having_may_not_read_an_ungrouped_column() -> None:
    base = group((f("upper", P),), ROWS)
    node = plan(q.Sort(base, (SortKey(f("upper", P)),)))
    assert len(node.columns) == 2
    assert code(q.Filter(base, f(">", X, lit(1)))) in ("UNKNOWN_COLUMN", "UNSUPPORTED")


def test_a_key_that_the_select_list_left_out_can_still_order_it() -> None:
    query = q.Aggregate(T, (K,), (f("sum", X),), keys_in_output=False)
    node = plan(q.Sort(query, (SortKey(K),)))
    assert [c.name for c in node.columns] == ["sum(x)"]


# SQL's ways to name keys.


def test_sql_groups_by_alias_and_by_position() -> None:
    upper = Alias(f("upper", P), "u")
    by_alias = q.Aggregate(T, (Name(("U",)),), (upper, ROWS), keys_in_output=False)
    by_position = q.Aggregate(T, (lit(1),), (upper, ROWS), keys_in_output=False)
    by_itself = q.Aggregate(T, (f("upper", P),), (upper, ROWS), keys_in_output=False)
    assert plan(by_alias) == plan(by_position) == plan(by_itself)


def test_a_column_of_the_table_wins_over_an_alias_of_the_same_name() -> None:
    shadow = Alias(f("min", X), "p")
    node = plan(q.Aggregate(T, (P,), (shadow,), keys_in_output=False))
    assert the_group(node).keys[0][1] == Ref(1, DataType.STRING)


def test_a_position_outside_the_list_or_on_an_aggregate_is_refused() -> None:
    for position in (0, 2, 3):
        query = q.Aggregate(T, (lit(position),), (K, ROWS), keys_in_output=False)
        assert code(query) == "UNSUPPORTED"


# Grouping sets and pivot.


def test_rollup_is_one_aggregate_for_each_prefix_over_its_own_copy_of_the_input() -> None:
    node = plan(group((K, P), f("sum", X), grouping=q.Grouping.ROLLUP))
    assert isinstance(node, UnionAll)
    keys = [[c.name for c, _ in n.keys] for n in walk(node) if isinstance(n, Group)]
    assert sorted(keys, key=len) == [[], ["k"], ["k", "p"]]
    assert all(c.nullable for c in node.columns[:2])


def test_cube_is_one_aggregate_for_each_subset_and_nulls_stand_for_absent_keys() -> None:
    node = plan(group((K, P), ROWS, grouping=q.Grouping.CUBE))
    assert isinstance(node, UnionAll)
    absent = [
        tuple(i for i, (_, e) in enumerate(child.items) if isinstance(e, Const))
        for child in node.children
        if isinstance(child, Project)
    ]
    assert absent == [(), (1,), (0,), (0, 1)]


def test_a_cube_of_many_keys_is_refused() -> None:
    keys = tuple(f("+", X, lit(i)) for i in range(7))
    assert code(group(keys, ROWS, grouping=q.Grouping.CUBE)) == "TOO_LARGE"


def test_pivot_becomes_conditional_aggregates_of_one_group() -> None:
    values = (Literal("a", DataType.STRING), Literal(None, DataType.STRING))
    items = (f("sum", X), Alias(f("count", lit(1)), "n"))
    query = q.Aggregate(T, (K,), items, pivot_column=P, pivot_values=values)
    node = the_group(plan(query))
    assert [c.name for c in node.columns] == ["k", "a_sum(x)", "a_n", "null_sum(x)", "null_n"]
    kinds = [call.kind for _, call in node.aggregates]
    assert kinds == [AggregateKind.SUM, AggregateKind.COUNT_IF] * 2
    argument = node.aggregates[0][1].args[0]
    assert isinstance(argument, Apply)
    assert argument.function == "when"


def test_a_pivot_without_an_aggregate_is_refused() -> None:
    query = q.Aggregate(T, (K,), (X,), pivot_column=P, pivot_values=(lit(1),))
    assert code(query) in ("UNSUPPORTED", "TYPE_MISMATCH")
