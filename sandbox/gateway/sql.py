"""SQL text as the lab's own query: parsed by Spark's parser, translated by allow-list, never run.

What is judged is the tree that Spark's parser made, and what runs is compiled from the translation,
so no second reading of the text exists that could differ. Source: attacks D13 and D14.
"""

import atexit
import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from privacy.dp.expr import Expression
from privacy.dp.query import Query
from privacy.errors import Refusal
from sandbox.gateway.parser import SparkParser
from sandbox.gateway.sql_expr import Arguments, ExpressionReader
from sandbox.gateway.sql_plan import PlanReader
from sandbox.gateway.sql_tree import Reader

Json = dict[str, Any]
Result = TypeVar("Result")


class Parser(Protocol):
    """What turns text into the nodes of a syntax tree, the root first."""

    def plan(self, text: str) -> list[Json]:
        """Return the tree of a statement."""
        ...

    def expression(self, text: str) -> list[Json]:
        """Return the tree of an expression."""
        ...


@functools.cache
def shared_parser() -> SparkParser:
    """Return the parser of this process; its JVM starts at the first use or with `warm()`."""
    parser = SparkParser()
    atexit.register(parser.close)
    return parser


def parse_query(text: str, args: Arguments = (), parser: Parser | None = None) -> Query:
    """Return a SELECT as a query; `args` are the values of `:name` or `?` markers."""
    nodes = (parser or shared_parser()).plan(text)
    return _complete(lambda: query_of(nodes, args))


def parse_expression(text: str, parser: Parser | None = None) -> Expression:
    """Return one expression, as `expr(text)`, `selectExpr` and `filter(text)` take it."""
    nodes = (parser or shared_parser()).expression(text)
    return _complete(lambda: expression_of(nodes))


def query_of(nodes: list[Json], args: Arguments = ()) -> Query:
    """Translate the tree of a statement, every node of it."""
    reader = Reader(nodes)
    expressions = ExpressionReader(reader, args)
    expressions.bind_positions()
    query = PlanReader(reader, expressions).query(0)
    reader.finish()
    return query


def expression_of(nodes: list[Json]) -> Expression:
    """Translate the tree of an expression, every node of it."""
    reader = Reader(nodes)
    expression = ExpressionReader(reader).item(0)
    reader.finish()
    return expression


def _complete(translate: Callable[[], Result]) -> Result:
    try:
        return translate()
    except RecursionError:
        raise Refusal(
            "TOO_LARGE",
            "This SQL text is nested too deeply; split the question.",
            "SQL 文本嵌套过深；请拆分查询。",
        ) from None


class SparkSql:
    """Reads SQL text with one parser process (`sandbox.gateway.decode.SqlParser`)."""

    def __init__(self, parser: Parser) -> None:
        """Read through `parser`."""
        self._parser = parser

    def query(self, text: str, args: Arguments) -> Query:
        """Return a SELECT as a query."""
        return parse_query(text, args, self._parser)

    def expression(self, text: str) -> Expression:
        """Return one expression."""
        return parse_expression(text, self._parser)
