"""Client plans become the lab's own queries."""

from typing import Any

import pytest
from pyspark.sql.connect import functions as F  # noqa: N812  # the name that everybody uses
from pyspark.sql.connect.proto import base_pb2, relations_pb2

from privacy.dp import query as q
from privacy.dp.expr import Alias, Call, Literal, Name
from privacy.dp.query import JoinKind, Query
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.gateway.decode import Decoder, Question
from sandbox.gateway.tree import MAX_OPERATORS, MAX_TABLES, check_size, without_labels
from sandbox.gateway.wire import parse
from tests.support.connect_plans import (
    long_chain,
    offline_session,
    plan_of,
    recorded_plans,
    refused_plans,
)
from tests.support.gateway import Sql, named

T, B = q.Table(("t",)), q.Table(("b",))
A, K = Name(("a",)), Name(("k",))
ONE = Literal(1, DataType.INTEGER)


def decoded(plan: Any, views: dict[str, Question] | None = None) -> Question:
    root = parse(base_pb2.Plan, plan.SerializeToString()).root
    return Decoder(Sql(), views or {}).question(root)


def query(frame: Any, views: dict[str, Question] | None = None) -> Query:
    return decoded(plan_of(frame), views).query


def t() -> Any:
    return offline_session().table("t")


def b() -> Any:
    return offline_session().table("b")


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (lambda: t(), T),  # noqa: PLW0108  # the session is made when the test runs
        (lambda: offline_session().table("default.t"), T),
        (lambda: offline_session().table("spark_catalog.default.t"), T),
        (lambda: t().filter(F.col("a") == 1), q.Filter(T, Call("==", (A, ONE)))),
        (lambda: t().select("a", "k"), q.Select(T, (A, K))),
        (lambda: t().select(), q.Select(T, ())),
        (lambda: t().limit(3), q.Limit(T, 3)),
        (lambda: t().offset(2), q.Limit(T, None, 2)),
        (lambda: t().alias("x"), q.SubqueryAlias(T, "x")),
        (lambda: t().toDF("p"), q.ToNames(T, ("p",))),
        (lambda: t().withColumn("a", F.lit(1)), q.WithColumns(T, (("a", ONE),))),
        (lambda: t().withColumnRenamed("a", "z"), q.Rename(T, (("a", "z"),))),
        (lambda: t().drop("a", "a.b"), q.Drop(T, (A, Name(("a.b",))))),
        (lambda: t().distinct(), q.Distinct(T)),
        (lambda: t().dropDuplicates(["a"]), q.Distinct(T, ("a",))),
        (lambda: t().hint("epsilon", 0.5), q.Hint(T, "epsilon", (0.5,))),
        (lambda: t().hint("EPSILON", 1), q.Hint(T, "epsilon", (1.0,))),
        (lambda: t().join(b(), "k"), q.Join(T, B, JoinKind.INNER, None, ("k",))),
        (lambda: t().join(b(), "k", "left_anti"), q.Join(T, B, JoinKind.ANTI, None, ("k",))),
        (
            lambda: t().join(b(), F.col("t.k") == F.col("b.k"), "outer"),
            q.Join(T, B, JoinKind.FULL, Call("==", (Name(("t", "k")), Name(("b", "k"))))),
        ),
        (lambda: t().crossJoin(b()), q.Join(T, B, JoinKind.CROSS)),
        (lambda: t().union(b()), q.Union(T, B)),
        (
            lambda: t().unionByName(b(), allowMissingColumns=True),
            q.Union(T, B, by_name=True, allow_missing=True),
        ),
        (
            lambda: t().groupBy("a").count(),
            q.Aggregate(T, (A,), (Alias(Call("count", (ONE,)), "count"),)),
        ),
        (
            lambda: t().cube("a").agg(F.sum("k")),
            q.Aggregate(T, (A,), (Call("sum", (K,)),), q.Grouping.CUBE),
        ),
        (
            lambda: t().groupBy("a").pivot("k", [1]).agg(F.sum("k")),
            q.Aggregate(
                T, (A,), (Call("sum", (K,)),), pivot_column=Name(("k",), 0), pivot_values=(ONE,)
            ),
        ),
    ],
)
def test_what_a_client_builds_is_decoded(frame: Any, expected: Query) -> None:
    got = query(frame())
    if isinstance(got, q.Aggregate) and got.pivot_column is not None:
        assert isinstance(got.pivot_column, Name)
        assert got.pivot_column.parts == ("k",)
        assert got.pivot_values == (ONE,)
        return
    assert got == expected


def test_sort_keeps_direction_and_place_of_nulls() -> None:
    got = query(t().orderBy("a", F.desc("k"), F.col("b").asc_nulls_last()))
    assert isinstance(got, q.Sort)
    assert [(k.ascending, k.nulls_first) for k in got.keys] == [
        (True, True),
        (False, False),
        (True, False),
    ]


def test_references_to_a_data_frame_keep_its_label() -> None:
    frame = t()
    got = query(frame.select(frame["a"]))
    assert isinstance(got, q.Select)
    assert got.items == (Name(("a",), got.child.plan_id),)
    assert got.child.plan_id is not None


@pytest.mark.parametrize("name", sorted(recorded_plans()))
def test_everyday_plans_are_decoded(name: str) -> None:
    assert decoded(recorded_plans()[name]).query


@pytest.mark.parametrize("name", sorted(refused_plans()))
def test_everything_else_is_refused(name: str) -> None:
    with pytest.raises(Refusal) as refusal:
        decoded(refused_plans()[name])
    assert refusal.value.code in ("UNSUPPORTED", "UNKNOWN_COLUMN")
    assert refusal.value.zh != refusal.value.en


def test_200_chained_columns_are_decoded() -> None:
    node, count = decoded(long_chain(200)).query, 0
    while isinstance(node, q.WithColumns):
        node, count = node.child, count + 1
    assert (node, count) == (T, 200)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "0.5", True, None, 1e-9])
def test_a_bad_epsilon_in_a_hint_is_refused(value: Any) -> None:
    hint = relations_pb2.Hint(input=named("t"), name="epsilon")
    hint.parameters.append(F.lit(value).to_plan(offline_session()._client))
    with pytest.raises(Refusal) as refusal:
        Decoder(Sql(), {}).question(relations_pb2.Relation(hint=hint))
    assert refusal.value.code == "BAD_EPSILON"


def test_an_epsilon_hint_takes_exactly_one_number() -> None:
    for numbers in ((), (0.5, 0.5)):
        with pytest.raises(Refusal) as refusal:
            query(t().hint("epsilon", *numbers))
        assert refusal.value.code == "BAD_EPSILON"


def test_a_view_is_put_in_place_under_its_name() -> None:
    body = Question(q.Filter(T, Call("==", (A, ONE))))
    got = query(offline_session().table("V"), {"v": body})
    assert got == q.SubqueryAlias(body.query, "V")


def test_rows_of_a_view_come_with_the_question() -> None:
    own = decoded(recorded_plans()["own rows"])
    got = decoded(plan_of(offline_session().table("v")), {"v": own})
    assert got.frames.keys() == own.frames.keys()
    assert len(got.frames) == 1


def test_views_that_double_one_another_are_refused() -> None:
    views: dict[str, Question] = {}
    body: Query = T
    for number in range(6):
        views[f"v{number}"] = Question(body)
        frame = offline_session().table(f"v{number}")
        body = query(frame.union(frame), views)
    views["v6"] = Question(body)
    with pytest.raises(Refusal) as refusal:
        query(offline_session().table("v6").union(t()), views)
    assert refusal.value.code == "TOO_LARGE"


def test_size_counts_shared_parts_each_time() -> None:
    wide: Query = T
    for _ in range(6):
        wide = q.Union(wide, wide)
    check_size(wide)  # 64 tables
    with pytest.raises(Refusal):
        check_size(q.Union(wide, T))
    long: Query = T
    for _ in range(MAX_TABLES):
        long = q.Limit(long, 1)
    check_size(long)
    assert MAX_OPERATORS > MAX_TABLES


def test_labels_are_taken_off_without_changing_the_query() -> None:
    labelled = query(t().filter(F.col("a") == 1).limit(3))
    assert labelled.plan_id is not None
    plain = without_labels(labelled)
    assert plain == labelled
    assert isinstance(plain, q.Limit)
    assert plain.plan_id is None
    assert plain.child.plan_id is None


def test_sql_text_keeps_the_label_of_its_data_frame() -> None:
    relation = relations_pb2.Relation(sql=relations_pb2.SQL(query="select * from t"))
    relation.common.plan_id = 7
    assert Decoder(Sql(), {}).question(relation).query.plan_id == 7


def test_data_frames_inside_sql_text_stand_for_their_names() -> None:
    frames = relations_pb2.WithRelations()
    frames.root.sql.query = "select * from inner_name"
    reference = frames.references.add().subquery_alias
    reference.input.CopyFrom(named("t"))
    reference.alias = "inner_name"
    relation = relations_pb2.Relation(with_relations=frames)
    assert Decoder(Sql(), {}).question(relation).query == q.SubqueryAlias(T, "inner_name")


def test_the_same_name_twice_inside_sql_text_is_refused() -> None:
    frames = relations_pb2.WithRelations()
    frames.root.sql.query = "select * from x"
    for _ in range(2):
        reference = frames.references.add().subquery_alias
        reference.input.CopyFrom(named("t"))
        reference.alias = "x"
    with pytest.raises(Refusal):
        Decoder(Sql(), {}).question(relations_pb2.Relation(with_relations=frames))


def test_legacy_arguments_of_sql_are_refused_not_dropped() -> None:
    relation = relations_pb2.Relation(sql=relations_pb2.SQL(query="select * from t"))
    relation.sql.pos_args.add().integer = 1
    with pytest.raises(Refusal, match="pos_args"):
        Decoder(Sql(), {}).question(relation)


def test_negative_limits_are_refused() -> None:
    limit = relations_pb2.Limit(input=named("t"), limit=-1)
    with pytest.raises(Refusal, match="at least 0"):
        Decoder(Sql(), {}).question(relations_pb2.Relation(limit=limit))


def test_a_union_without_duplicates_is_a_distinct_union() -> None:
    union = relations_pb2.SetOperation(
        left_input=named("t"), right_input=named("b"), set_op_type=2, is_all=False
    )
    got = Decoder(Sql(), {}).question(relations_pb2.Relation(set_op=union)).query
    assert got == q.Distinct(q.Union(T, B))


def test_a_join_with_both_a_condition_and_names_is_refused() -> None:
    join = relations_pb2.Join(left=named("t"), right=named("b"), join_type=1, using_columns=["k"])
    join.join_condition.literal.boolean = True
    with pytest.raises(Refusal, match="using_columns"):
        Decoder(Sql(), {}).question(relations_pb2.Relation(join=join))
