"""Text made from random queries is read back as the same queries, by Spark's own parser."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from privacy.dp.expr import Expression
from privacy.dp.query import Query
from sandbox.gateway.parser import SparkParser
from sandbox.gateway.sql import parse_expression, parse_query
from tests.support.sqltext import expression_text, expressions, queries, query_text

settings.register_profile(
    "sql", deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def parser() -> Iterator[SparkParser]:
    parser = SparkParser()
    yield parser
    parser.close()


@settings(settings.get_profile("sql"), max_examples=150)
@given(query=queries)
def test_a_query_survives_being_written_and_parsed(parser: SparkParser, query: Query) -> None:
    assert repr(parse_query(query_text(query), parser=parser)) == repr(query)


@settings(settings.get_profile("sql"), max_examples=150)
@given(expression=expressions)
def test_an_expression_survives_being_written_and_parsed(
    parser: SparkParser, expression: Expression
) -> None:
    assert repr(parse_expression(expression_text(expression), parser)) == repr(expression)
