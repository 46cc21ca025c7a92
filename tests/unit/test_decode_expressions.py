"""Client expressions become the lab's own."""

import datetime as dt
from typing import Any

import pytest
from pyspark.sql.connect import functions as F  # noqa: N812  # the name that everybody uses
from pyspark.sql.connect.proto import expressions_pb2

from privacy.dp.expr import Alias, Call, Cast, Expression, Literal, Name, Star
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.gateway.decode_expr import (
    MAX_DEPTH,
    ExpressionDecoder,
    decode_literal,
    function_name,
    parse_identifier,
)
from tests.support.connect_plans import offline_session
from tests.support.gateway import Sql

proto = expressions_pb2.Expression


def decoded(column: Any) -> Expression:
    message = column.to_plan(offline_session()._client)
    return ExpressionDecoder(Sql().expression).expression(message)


A = Name(("a",))
ONE = Literal(1, DataType.INTEGER)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (lambda: F.col("a"), A),
        (lambda: F.col("t.a"), Name(("t", "a"))),
        (lambda: F.col("`a.b`"), Name(("a.b",))),
        (lambda: F.col("*"), Star()),
        (lambda: F.col("t.*"), Star(("t",))),
        (lambda: F.col("a").alias("z"), Alias(A, "z")),
        (lambda: F.col("a").cast("bigint"), Cast(A, DataType.LONG)),
        (lambda: F.col("a") + 1, Call("+", (A, ONE))),
        (lambda: 1 - F.col("a"), Call("-", (ONE, A))),
        (lambda: -F.col("a"), Call("negative", (A,))),
        (lambda: F.col("a") != 1, Call("not", (Call("==", (A, ONE)),))),
        (lambda: F.col("a").eqNullSafe(1), Call("<=>", (A, ONE))),
        (lambda: F.col("a").isNull(), Call("isnull", (A,))),
        (lambda: F.col("a").isNotNull(), Call("isnotnull", (A,))),
        (lambda: F.col("a").isin(1), Call("in", (A, ONE))),
        (lambda: F.when(F.col("a") == 1, 1), Call("when", (Call("==", (A, ONE)), ONE))),
        (lambda: F.count_distinct("a"), Call("count", (A,), distinct=True)),
        (lambda: F.count("*"), Call("count", (Star(),))),
        (lambda: F.call_function("ABS", "a"), Call("abs", (A,))),
        (lambda: F.expr("a > 3"), Call(">", (A, Literal(3, DataType.LONG)))),
        (lambda: F.col("a").try_cast("date"), Cast(A, DataType.DATE)),
    ],
)
def test_what_a_client_writes_is_decoded(column: Any, expected: Expression) -> None:
    assert decoded(column()) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"boolean": True}, Literal(value=True, type=DataType.BOOLEAN)),
        ({"short": -3}, Literal(-3, DataType.INTEGER)),
        ({"integer": 2**31 - 1}, Literal(2**31 - 1, DataType.INTEGER)),
        ({"long": -(2**63)}, Literal(-(2**63), DataType.LONG)),
        ({"float": 0.5}, Literal(0.5, DataType.DOUBLE)),
        (
            {"decimal": {"value": "1.25", "precision": 3, "scale": 2}},
            Literal(1.25, DataType.DOUBLE),
        ),
        ({"string": "汉"}, Literal("汉", DataType.STRING)),
        ({"date": -1}, Literal(dt.date(1969, 12, 31), DataType.DATE)),
        ({"null": {"null": {}}}, Literal(None, DataType.NULL)),
    ],
)
def test_literals_keep_their_value(fields: dict[str, Any], expected: Literal) -> None:
    assert decode_literal(proto.Literal(**fields)) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"date": 2**31 - 1},
        {"decimal": {"value": "1e999"}},
        {"decimal": {"value": "١"}},
        {"decimal": {"value": "NaN"}},
        {"decimal": {"value": ""}},
        {"string": "x" * 100_001},
    ],
)
def test_literals_outside_their_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Refusal):
        decode_literal(proto.Literal(**fields))


@pytest.mark.parametrize(
    "type_name", ["float", "timestamp", "decimal(10,2)", "array<int>", "", "x"]
)
def test_casts_to_other_types_are_refused(type_name: str) -> None:
    with pytest.raises(Refusal, match="cast"):
        decoded(F.col("a").cast(type_name))


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "`a", "a`b`", "``", "`a`b", "a`"])
def test_text_that_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as refusal:
        parse_identifier(text)
    assert refusal.value.code == "PARSE"


def test_doubled_backticks_stand_for_one() -> None:
    assert parse_identifier("`a``b`.c") == ("a`b", "c")


@pytest.mark.parametrize("name", ["", "a b", "a.b", "cast", "CAST", "İ", "reflect;", "1", "a\0"])
def test_text_that_is_no_function_is_refused(name: str) -> None:
    with pytest.raises(Refusal):
        function_name(name)


def test_only_ascii_letters_of_a_function_name_are_folded() -> None:
    assert function_name("isNotNull") == "isnotnull"
    with pytest.raises(Refusal):
        function_name("ſum")  # its upper case is SUM


def test_distinct_inside_a_scalar_function_is_refused() -> None:
    message = proto(
        unresolved_function=proto.UnresolvedFunction(
            function_name="abs", arguments=[F.col("a").to_plan(None)], is_distinct=True
        )
    )
    with pytest.raises(Refusal):
        ExpressionDecoder(Sql().expression).expression(message)


def test_names_with_control_characters_are_refused() -> None:
    with pytest.raises(Refusal, match="control"):
        decoded(F.col("a\0b"))


def test_expressions_nested_beyond_the_limit_are_refused_without_recursion() -> None:
    message = proto()
    inner = message
    for _ in range(MAX_DEPTH):
        inner.unresolved_function.function_name = "abs"
        inner = inner.unresolved_function.arguments.add()
    inner.literal.integer = 1
    assert ExpressionDecoder(Sql().expression).expression(message)
    outer = proto(
        unresolved_function=proto.UnresolvedFunction(function_name="abs", arguments=[message])
    )
    with pytest.raises(Refusal) as refusal:
        ExpressionDecoder(Sql().expression).expression(outer)
    assert refusal.value.code == "TOO_LARGE"
