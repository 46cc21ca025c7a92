"""Plans that are too deep, too wide or too large are refused early, in little time and memory."""

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from pyspark.sql.connect.proto import base_pb2, expressions_pb2, relations_pb2

from sandbox.gateway import wire
from sandbox.gateway.decode import Decoder
from tests.support.connect_plans import long_chain
from tests.support.gateway import SESSION, AbortedError, Call, Sql, direct, named

Expression = expressions_pb2.Expression
Relation = relations_pb2.Relation


def deep_relations(depth: int) -> Any:
    plan = base_pb2.Plan()
    inner = plan.root
    for _ in range(depth):
        inner.limit.limit = 1
        inner = inner.limit.input
    inner.CopyFrom(named("districts"))
    return plan


def deep_expression(depth: int) -> Any:
    plan = base_pb2.Plan()
    plan.root.filter.input.CopyFrom(named("districts"))
    inner = plan.root.filter.condition
    for _ in range(depth):
        inner.unresolved_function.function_name = "not"
        inner = inner.unresolved_function.arguments.add()
    inner.literal.boolean = True
    return plan


def wide_projection(width: int) -> Any:
    column = Expression(
        unresolved_attribute=Expression.UnresolvedAttribute(unparsed_identifier="area")
    )
    project = relations_pb2.Project(input=named("districts"), expressions=[column] * width)
    return base_pb2.Plan(root=Relation(project=project))


def many_literals(number: int) -> Any:
    literal = Expression(literal=Expression.Literal(integer=1))
    condition = Expression(
        unresolved_function=Expression.UnresolvedFunction(
            function_name="in", arguments=[literal] * number
        )
    )
    plan = base_pb2.Plan()
    plan.root.filter.input.CopyFrom(named("districts"))
    plan.root.filter.condition.CopyFrom(condition)
    return plan


def balanced_joins(depth: int) -> Any:
    side = named("districts")
    for _ in range(depth):
        side = Relation(join=relations_pb2.Join(left=side, right=side, join_type=7))
    return base_pb2.Plan(root=side)


def large_rows(size: int) -> Any:
    return base_pb2.Plan(
        root=Relation(local_relation=relations_pb2.LocalRelation(data=bytes(size)))
    )


def long_text(size: int) -> Any:
    return base_pb2.Plan(root=Relation(sql=relations_pb2.SQL(query="x" * size)))


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (deep_relations, 900),
        (deep_relations, 10_000),
        (deep_expression, 900),
        (deep_expression, 10_000),
        (wide_projection, 2_001),
        (wide_projection, 100_000),
        (many_literals, 20_001),
        (many_literals, 1_000_000),
        (balanced_joins, 7),
        (balanced_joins, 13),
        (large_rows, 9 << 20),
        (large_rows, 40 << 20),
        (long_text, 100_001),
        (long_chain, 700),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_question_beyond_a_limit_is_refused_quickly(
    make: Callable[[int], Any], size: int
) -> None:
    request = base_pb2.AnalyzePlanRequest(session_id=SESSION)
    request.schema.plan.CopyFrom(make(size))
    data = request.SerializeToString()
    handle = direct().service.unary("AnalyzePlan")
    started = time.perf_counter()
    with pytest.raises(AbortedError) as aborted:
        handle(data, Call())
    assert time.perf_counter() - started < 3
    assert aborted.value.condition == "LAB.TOO_LARGE"


def test_a_refused_request_takes_little_memory() -> None:
    request = base_pb2.AnalyzePlanRequest(session_id=SESSION)
    request.schema.plan.CopyFrom(many_literals(500_000))
    data = request.SerializeToString()
    handle = direct().service.unary("AnalyzePlan")
    tracemalloc.start()
    with pytest.raises(AbortedError):
        handle(data, Call())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (deep_relations, 390),
        (deep_expression, 490),
        (wide_projection, 2_000),
        (many_literals, 20_000),
        (balanced_joins, 6),
        (long_chain, 390),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_question_within_the_limits_is_decoded(make: Callable[[int], Any], size: int) -> None:
    root = wire.parse(base_pb2.Plan, make(size).SerializeToString()).root
    assert Decoder(Sql(), {}).question(root).query


def test_the_limits_leave_room_for_everyday_chains() -> None:
    assert wire.MAX_DEPTH > 2 * 600
    assert len(long_chain(500).SerializeToString()) // 20 < wire.MAX_MESSAGES
