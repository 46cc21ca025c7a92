"""What names mean: case, qualifiers, DataFrame references, stars, hidden columns, provenance."""

import pytest

from privacy.dp import query as q
from privacy.dp.expr import Alias, Call, Cast, Expression, Literal, Name, SortKey, Star
from privacy.dp.facts import ColumnFacts, TableFacts
from privacy.dp.plan import Apply, Group, JoinOn, Node, Project, Ref, Scan, Where, walk
from privacy.dp.query import JoinKind
from privacy.dp.resolve import NamedRelations, resolve
from privacy.dp.types import DataType
from privacy.errors import Refusal
from tests.support.wellformed import assert_well_formed

FACTS = TableFacts(
    "tax",
    "v1",
    (
        ColumnFacts("uscc", DataType.STRING, nullable=False),
        ColumnFacts("amount", DataType.DOUBLE),
        ColumnFacts("period", DataType.INTEGER),
    ),
    unit_domain="enterprise",
    unit_column="uscc",
)
FRAME = (("uscc", DataType.STRING), ("grp", DataType.STRING))
ONE = Literal(1, DataType.INTEGER)


def catalogue(**views: q.Query) -> NamedRelations:
    return NamedRelations({"tax": FACTS}, views, {"f00d": FRAME})


def tax(plan_id: int | None = None) -> q.Query:
    return q.Table(("tax",), plan_id=plan_id)


def col(name: str, plan_id: int | None = None) -> Name:
    return Name(tuple(name.split(".")), plan_id)


def same(left: Expression, right: Expression) -> Call:
    return Call("==", (left, right))


def plan(query: q.Query, names: NamedRelations | None = None) -> Node:
    node = resolve(query, names or catalogue()).node
    assert_well_formed(node)
    return node


def code(query: q.Query, names: NamedRelations | None = None) -> str:
    with pytest.raises(Refusal) as refused:
        resolve(query, names or catalogue())
    return refused.value.code


def names_of(node: Node) -> list[str]:
    return [c.name for c in node.columns]


def scans(node: Node) -> list[Scan]:
    return [n for n in walk(node) if isinstance(n, Scan)]


def test_names_match_without_regard_to_case_and_keep_the_spelling_asked_for() -> None:
    node = plan(q.Select(tax(), (col("AMOUNT"), col("Tax.USCC"))))
    assert names_of(node) == ["AMOUNT", "USCC"]
    assert [c.id for c in node.columns] == [1, 0]


def test_a_table_read_twice_gets_two_sets_of_ids() -> None:
    node = plan(q.Join(tax(), tax(), JoinKind.CROSS))
    assert [c.id for c in node.columns] == [0, 1, 2, 3, 4, 5]


def test_an_unknown_column_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(Refusal) as refused:
        resolve(q.Select(tax(), (col("amout"),)), catalogue())
    assert refused.value.code == "UNKNOWN_COLUMN"
    assert "`amount`" in refused.value.en
    assert "`amount`" in refused.value.zh


def test_an_unknown_table_and_a_forgotten_frame_are_refused() -> None:
    assert code(q.Table(("nope",))) == "UNKNOWN_TABLE"
    assert code(q.Frame("beef", ())) == "UNKNOWN_TABLE"


def test_the_columns_of_a_frame_come_from_the_gateway_not_from_the_client() -> None:
    node = plan(q.Frame("f00d", (("uscc", DataType.LONG),)))
    assert [(c.name, c.type) for c in node.columns] == list(FRAME)


def test_a_name_on_both_sides_of_a_join_is_ambiguous_until_qualified() -> None:
    joined = q.Join(
        q.SubqueryAlias(tax(), "a"),
        q.SubqueryAlias(tax(), "b"),
        JoinKind.INNER,
        same(col("a.uscc"), col("B.uscc")),
    )
    assert code(q.Select(joined, (col("amount"),))) == "AMBIGUOUS_COLUMN"
    node = plan(q.Select(joined, (col("b.amount"), Star(("a",)))))
    assert [c.id for c in node.columns] == [4, 0, 1, 2]


def test_a_column_listed_twice_is_not_ambiguous_but_two_columns_of_one_name_are() -> None:
    twice = q.Select(tax(), (col("amount"), col("amount")))
    assert names_of(plan(q.Select(twice, (col("amount"),)))) == ["amount"]
    two = q.Select(tax(), (col("amount"), Alias(col("amount"), "amount")))
    assert code(q.Select(two, (col("amount"),))) == "AMBIGUOUS_COLUMN"


def test_an_alias_hides_the_name_of_the_table() -> None:
    aliased = q.SubqueryAlias(tax(), "a")
    assert code(q.Select(aliased, (col("tax.amount"),))) == "UNKNOWN_COLUMN"


# DataFrame references.


def test_a_dataframe_reference_tells_the_sides_of_a_self_join_apart() -> None:
    left = tax(plan_id=1)
    right = q.Filter(tax(plan_id=1), same(col("period"), ONE), plan_id=2)
    joined = q.Join(left, right, JoinKind.INNER, same(col("uscc", 1), col("uscc", 2)))
    node = plan(q.Select(joined, (col("amount", 1), col("amount", 2))))
    assert [c.id for c in node.columns] == [1, 4]
    assert isinstance(node, Project)
    assert isinstance(node.child, JoinOn)
    assert node.child.condition == Apply(
        "==",
        (Ref(0, DataType.STRING, nullable=False), Ref(3, DataType.STRING, nullable=False)),
        DataType.BOOLEAN,
        nullable=False,
    )


def test_a_dataframe_joined_with_itself_is_ambiguous() -> None:
    condition = same(col("uscc", 1), col("uscc", 1))
    assert code(q.Join(tax(1), tax(1), JoinKind.INNER, condition)) == "AMBIGUOUS_COLUMN"


def test_a_reference_to_a_dataframe_that_is_not_below_is_refused() -> None:
    assert code(q.Select(tax(1), (col("amount", 7),))) == "UNKNOWN_COLUMN"


def test_a_dataframe_reference_survives_renaming_of_another_column_but_not_replacement() -> None:
    renamed = q.Rename(tax(1), (("period", "p"),), plan_id=2)
    assert names_of(plan(q.Select(renamed, (col("amount", 1),)))) == ["amount"]
    replaced = q.WithColumns(tax(1), (("amount", ONE),), plan_id=3)
    assert code(q.Select(replaced, (col("amount", 1),))) == "UNKNOWN_COLUMN"


def test_a_dataframe_reference_stops_at_a_union_and_cannot_see_past_an_alias() -> None:
    union = q.Union(tax(1), tax(2))
    assert code(q.Filter(union, same(col("period", 1), ONE))) == "UNKNOWN_COLUMN"
    assert names_of(plan(q.Select(q.SubqueryAlias(tax(1), "a"), (col("amount", 1),))))


def test_a_star_of_a_dataframe_expands_to_its_columns() -> None:
    joined = q.Join(tax(1), q.Frame("f00d", FRAME, plan_id=2), JoinKind.INNER, using=("uscc",))
    node = plan(q.Select(joined, (Star(plan_id=2),)))
    assert names_of(node) == ["uscc", "grp"]


# Using joins.


def test_a_using_join_shows_its_key_once_and_keeps_both_reachable_by_dataframe() -> None:
    joined = q.Join(tax(1), q.Frame("f00d", FRAME, plan_id=2), JoinKind.FULL, using=("USCC",))
    node = plan(joined)
    assert names_of(node) == ["uscc", "amount", "period", "grp"]
    assert isinstance(node, Project)
    assert isinstance(node.items[0][1], Apply)
    assert node.items[0][1].function == "coalesce"
    both = plan(q.Select(joined, (col("uscc", 1), col("uscc", 2), col("uscc"))))
    assert [c.id for c in both.columns][:2] == [0, 3]


def test_hidden_keys_of_nested_using_joins_stay_reachable() -> None:
    frame = q.Frame("f00d", FRAME, plan_id=2)
    inner = q.Join(tax(1), frame, JoinKind.LEFT, using=("uscc",))
    outer = q.Join(inner, tax(3), JoinKind.LEFT, using=("uscc",))
    assert [c.id for c in plan(q.Select(outer, (col("uscc", 2),))).columns] == [3]


def test_the_side_that_may_be_unmatched_becomes_nullable() -> None:
    sides = {JoinKind.LEFT: [False, True], JoinKind.RIGHT: [True, False], JoinKind.FULL: [True] * 2}
    for kind, expected in sides.items():
        condition = same(col("a.uscc"), col("b.uscc"))
        both = q.Join(q.SubqueryAlias(tax(), "a"), q.SubqueryAlias(tax(), "b"), kind, condition)
        node = plan(q.Select(both, (col("a.uscc"), col("b.uscc"))))
        assert [c.nullable for c in node.columns] == expected


def test_the_unit_column_of_the_private_side_keeps_its_id_through_a_left_using_join() -> None:
    joined = q.Join(tax(), q.Frame("f00d", FRAME), JoinKind.LEFT, using=("uscc",))
    assert plan(joined).columns[0].id == 0


# Columns that the select below left out.


def test_filter_and_sort_may_read_columns_that_the_select_left_out() -> None:
    narrow = q.Select(tax(), (col("uscc"),))
    node = plan(q.Sort(q.Filter(narrow, same(col("period"), ONE)), (SortKey(col("amount")),)))
    assert names_of(node) == ["uscc"]


def test_a_hidden_column_is_found_below_several_selects() -> None:
    deep: q.Query = tax()
    for _ in range(3):
        deep = q.Select(deep, (col("uscc"), Alias(ONE, "k")))
    node = plan(q.Filter(deep, Call(">", (col("amount"), ONE))))
    assert names_of(node) == ["uscc", "k"]


def test_an_alias_a_distinct_and_a_select_hide_what_was_left_out() -> None:
    narrow = q.Select(tax(), (col("uscc"),))
    condition = same(col("period"), ONE)
    assert code(q.Filter(q.SubqueryAlias(narrow, "a"), condition)) == "UNKNOWN_COLUMN"
    assert code(q.Filter(q.Distinct(narrow), condition)) == "UNKNOWN_COLUMN"
    assert code(q.Select(narrow, (col("period"),))) == "UNKNOWN_COLUMN"


# Provenance goes by id: renaming can neither make nor hide a unit column (attacks B2, D22).


def test_swapping_names_swaps_no_identities() -> None:
    swap = (Alias(col("period"), "uscc"), Alias(col("uscc"), "period"))
    node = plan(q.Select(tax(), swap))
    assert isinstance(node, Project)
    reads = [e.id for _, e in node.items if isinstance(e, Ref)]
    assert (names_of(node), reads) == (["uscc", "period"], [2, 0])


def test_new_names_by_to_df_keep_what_each_column_reads() -> None:
    node = plan(q.ToNames(tax(), ("amount", "uscc", "uscc")))
    assert isinstance(node, Project)
    assert [e.id for _, e in node.items if isinstance(e, Ref)] == [0, 1, 2]
    assert code(q.ToNames(tax(), ("a", "b"))) == "UNSUPPORTED"


def test_a_replaced_unit_column_is_a_new_column() -> None:
    rewritten = Call("concat", (col("uscc"), Literal("x", DataType.STRING)))
    node = plan(q.WithColumns(tax(), (("uscc", rewritten),)))
    assert node.columns[0].name == "uscc"
    assert node.columns[0].id not in {c.id for c in scans(node)[0].columns}


def test_two_new_columns_of_one_name_are_refused() -> None:
    assert code(q.WithColumns(tax(), (("k", ONE), ("K", ONE)))) == "AMBIGUOUS_COLUMN"


def test_dropping_ignores_unknown_names_and_drops_all_of_a_name() -> None:
    twice = q.Select(tax(), (col("amount"), Alias(col("amount"), "AMOUNT"), col("period")))
    assert names_of(plan(q.Drop(twice, (col("amount"), col("nope"))))) == ["period"]


# Views.


def test_a_view_is_resolved_where_it_is_used_with_fresh_ids_each_time() -> None:
    view = q.Select(tax(), (col("uscc"), col("amount")))
    both = q.Join(q.Table(("V",)), q.Table(("v",)), JoinKind.INNER, using=("uscc",))
    node = plan(both, catalogue(v=view))
    assert names_of(node) == ["uscc", "amount", "amount"]
    assert len({c.id for s in scans(node) for c in s.columns}) == 6


def test_a_view_over_itself_is_refused() -> None:
    view = q.Select(q.Table(("v",)), (Star(),))
    assert code(q.Table(("v",)), catalogue(v=view)) == "UNKNOWN_TABLE"


def test_the_catalogue_and_schema_that_spark_puts_before_a_table_are_understood() -> None:
    table = q.Table(("spark_catalog", "default", "TAX"))
    node = plan(q.Select(table, (col("spark_catalog.default.tax.amount"),)))
    assert scans(node)[0].table == "tax"
    assert code(q.Table(("other", "tax"))) == "UNKNOWN_TABLE"


# Order of ids, and size.


def test_the_same_question_gets_the_same_ids() -> None:
    query = q.Aggregate(
        q.Filter(tax(), Call(">", (col("amount"), ONE))),
        (col("period"),),
        (Call("sum", (col("amount"),)),),
    )
    assert resolve(query, catalogue()) == resolve(query, catalogue())


def test_a_thousand_chained_operators_resolve() -> None:
    query: q.Query = tax(plan_id=0)
    for i in range(1000):
        query = q.WithColumns(query, (("k", Call("+", (col("period", i), ONE))),), plan_id=i + 1)
    node = resolve(query, catalogue()).node
    assert names_of(node) == ["uscc", "amount", "period", "k"]
    filtered: q.Query = tax()
    for _ in range(1000):
        filtered = q.Filter(filtered, Call("isnotnull", (col("amount"),)))
    assert sum(isinstance(n, Where) for n in walk(resolve(filtered, catalogue()).node)) == 1000


def test_an_expression_a_thousand_deep_resolves_and_is_named() -> None:
    expression: Expression = col("period")
    for _ in range(1000):
        expression = Call("+", (expression, ONE))
    grouped = q.Aggregate(tax(), (expression,), (Call("sum", (Cast(expression, DataType.LONG),)),))
    node = resolve(q.Sort(grouped, (SortKey(expression),)), catalogue()).node
    assert node.columns[0].name.endswith(" + 1)")
    assert any(isinstance(n, Group) for n in walk(node))


def test_questions_beyond_the_limits_are_refused() -> None:
    query: q.Query = tax()
    for _ in range(12):
        query = q.Union(query, query)
    assert code(query) == "TOO_LARGE"
    wide = Call("in", (col("period"), *(Literal(i, DataType.INTEGER) for i in range(20_001))))
    assert code(q.Filter(tax(), wide)) == "TOO_LARGE"


def test_a_small_expression_that_unfolds_to_a_huge_one_is_refused() -> None:
    expression: Expression = col("period")
    for _ in range(40):
        between = Call("between", (expression, ONE, ONE))
        expression = Call("when", (between, ONE, Literal(0, DataType.INTEGER)))
    assert code(q.Select(tax(), (Alias(expression, "k"),))) == "TOO_LARGE"
