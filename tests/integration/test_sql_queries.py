# the texts are of this file
"""What the parts of SELECT mean: each text beside one that says the same, or beside its query."""

from collections.abc import Iterator
from typing import Any

import pytest

from privacy.dp.expr import Alias, Call, Literal, Name, SortKey
from privacy.dp.query import Aggregate, Distinct, Drop, Filter, Limit, Query, Select, Sort, Table
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.gateway.parser import SparkParser
from sandbox.gateway.sql import parse_expression, parse_query

COUNT = Call("count", (Literal(1, DataType.INTEGER),))
T = Table(("t",))


@pytest.fixture(scope="module")
def parser() -> Iterator[SparkParser]:
    parser = SparkParser()
    yield parser
    parser.close()


def groups(*items: Any, keys: tuple[Any, ...] = (Name(("g",)),)) -> Aggregate:
    return Aggregate(T, keys, items, keys_in_output=False)


def more_than(name: str, number: int) -> Call:
    return Call(">", (Name((name,)), Literal(number, DataType.INTEGER)))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("select a from t", "SELECT ALL `a` FROM `t`;"),
        ("SELECT a FROM t", "FROM t SELECT a"),
        ("SELECT count(*) AS n FROM t", "SELECT COUNT(1) AS n FROM t"),
        ("SELECT a FROM t WHERE a != 1", "SELECT a FROM t WHERE NOT a = 1"),
        ("SELECT a FROM t WHERE a BETWEEN 1 AND 2", "SELECT a FROM t WHERE a >= 1 AND a <= 2"),
        ("SELECT CAST(a AS INT) AS b FROM t", "SELECT a::INT AS b FROM t"),
        ("SELECT CAST(a AS INT) AS b FROM t", "SELECT TRY_CAST(a AS INT) AS b FROM t"),
        ("SELECT a || b AS c FROM t", "SELECT concat(a, b) AS c FROM t"),
        ("SELECT 'ab' AS c FROM t", "SELECT 'a' 'b' AS c FROM t"),
        ("SELECT g, count(*) AS n FROM t GROUP BY g", "SELECT g, count(*) n FROM t GROUP BY 1"),
        (
            "SELECT year(d) AS y, sum(v) AS s FROM t GROUP BY year(d)",
            "SELECT EXTRACT(YEAR FROM d) AS y, sum(v) AS s FROM t GROUP BY 1",
        ),
        (
            "SELECT count_if(v > 1) AS n FROM t",
            "SELECT count(*) FILTER (WHERE v > 1) AS n FROM t",
        ),
        (
            "SELECT sum(CASE WHEN b THEN v END) AS n FROM t",
            "SELECT sum(v) FILTER (WHERE b) AS n FROM t",
        ),
        (
            "SELECT count(DISTINCT CASE WHEN b THEN v END) AS n FROM t",
            "SELECT count(DISTINCT v) FILTER (WHERE b) AS n FROM t",
        ),
        ("SELECT * FROM a JOIN b ON a.k = b.k", "SELECT * FROM a, b WHERE a.k = b.k"),
        ("SELECT * FROM a CROSS JOIN b", "SELECT * FROM a, b"),
        (
            "SELECT x.a FROM (SELECT a FROM t) AS x",
            "WITH x AS (SELECT a FROM t) SELECT X.a FROM x",
        ),
        (
            "SELECT a FROM (SELECT a FROM (SELECT a FROM t) AS x) AS y",
            "WITH x AS (SELECT a FROM t), y AS (SELECT a FROM x) SELECT a FROM y",
        ),
        (
            "WITH x AS (SELECT a FROM t) SELECT a FROM x",
            "WITH x AS (SELECT b FROM u) (WITH x AS (SELECT a FROM t) SELECT a FROM x)",
        ),
        (
            "SELECT a FROM (SELECT * FROM x) AS x",
            "WITH x AS (SELECT * FROM x) SELECT a FROM x",
        ),
        ("SELECT a FROM t LIMIT 5 OFFSET 2", "(SELECT a FROM t OFFSET 2) LIMIT 5"),
        ("SELECT a AS b FROM t ORDER BY b", "SELECT a AS b FROM t ORDER BY 1 ASC NULLS FIRST"),
        ("SELECT a FROM t UNION SELECT b FROM u", "SELECT a FROM t UNION DISTINCT SELECT b FROM u"),
        ("SELECT trim(a) AS b FROM t", "SELECT TRIM(BOTH FROM a) AS b FROM t"),
        ("SELECT instr(a, 'x') AS b FROM t", "SELECT POSITION('x' IN a) AS b FROM t"),
        ("SELECT substring(a, 1, 2) AS b FROM t", "SELECT SUBSTRING(a FROM 1 FOR 2) AS b FROM t"),
    ],
)
def test_two_texts_say_the_same(parser: SparkParser, text: str, same: str) -> None:
    # Aliases of tables differ where the second text has no room for one; the rest is equal.
    one, two = (repr(parse_query(t, parser=parser)).replace("'X'", "'x'") for t in (text, same))
    assert one == two


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "SELECT g, sum(v) AS s FROM t GROUP BY g HAVING s > 1",
            Filter(
                groups(Name(("g",)), Alias(Call("sum", (Name(("v",)),)), "s")), more_than("s", 1)
            ),
        ),
        (
            "SELECT g, sum(v) AS s FROM t GROUP BY g HAVING SUM(V) > 1",
            Filter(
                groups(Name(("g",)), Alias(Call("sum", (Name(("v",)),)), "s")), more_than("s", 1)
            ),
        ),
        (
            "SELECT g FROM t GROUP BY g HAVING count(*) > 1",
            Drop(
                Filter(groups(Name(("g",)), Alias(COUNT, "__sql_0")), more_than("__sql_0", 1)),
                (Name(("__sql_0",)),),
            ),
        ),
        (  # in HAVING a grouping key hides an output column of the same name
            "SELECT -g AS g, count(*) AS n FROM t GROUP BY g HAVING g > 1",
            Drop(
                Filter(
                    groups(
                        Alias(Call("negative", (Name(("g",)),)), "g"),
                        Alias(COUNT, "n"),
                        Alias(Name(("g",)), "__sql_0"),
                    ),
                    more_than("__sql_0", 1),
                ),
                (Name(("__sql_0",)),),
            ),
        ),
        (  # unless the key can only be the output column
            "SELECT year(d) AS y FROM t GROUP BY y HAVING y > 1",
            Filter(
                groups(Alias(Call("year", (Name(("d",)),)), "y"), keys=(Name(("y",)),)),
                more_than("y", 1),
            ),
        ),
        (  # in ORDER BY it is the other way round
            "SELECT -g AS g, count(*) AS n FROM t GROUP BY g ORDER BY g",
            Sort(
                groups(Alias(Call("negative", (Name(("g",)),)), "g"), Alias(COUNT, "n")),
                (SortKey(Name(("g",))),),
            ),
        ),
        (
            "SELECT g FROM t GROUP BY g HAVING count(*) > 1 ORDER BY count(*) DESC, max(v) LIMIT 3",
            Limit(
                Drop(
                    Sort(
                        Filter(
                            groups(
                                Name(("g",)),
                                Alias(COUNT, "__sql_0"),
                                Alias(Call("max", (Name(("v",)),)), "__sql_1"),
                            ),
                            more_than("__sql_0", 1),
                        ),
                        (
                            SortKey(Name(("__sql_0",)), ascending=False, nulls_first=False),
                            SortKey(Name(("__sql_1",))),
                        ),
                    ),
                    (Name(("__sql_0",)), Name(("__sql_1",))),
                ),
                3,
            ),
        ),
        (
            "SELECT a FROM t ORDER BY b",
            Drop(
                Sort(
                    Select(T, (Name(("a",)), Alias(Name(("b",)), "__sql_0"))),
                    (SortKey(Name(("__sql_0",))),),
                ),
                (Name(("__sql_0",)),),
            ),
        ),
        (
            "SELECT DISTINCT a FROM t ORDER BY a",
            Sort(Distinct(Select(T, (Name(("a",)),))), (SortKey(Name(("a",))),)),
        ),
        ("SELECT sum(v) FROM t", groups(Call("sum", (Name(("v",)),)), keys=())),
    ],
)
def test_having_and_order_by_see_what_spark_shows_them(
    parser: SparkParser, text: str, expected: Query
) -> None:
    assert repr(parse_query(text, parser=parser)) == repr(expected)


def test_parameters_are_put_in_by_name_and_in_order(parser: SparkParser) -> None:
    one, two = Literal(1, DataType.INTEGER), Literal("x", DataType.STRING)
    written = parse_query("SELECT a FROM t WHERE a = 1 AND b = 'x' LIMIT 1", parser=parser)
    named = "SELECT a FROM t WHERE a = :one AND b = :two LIMIT :one"
    assert parse_query(named, {"one": one, "two": two}, parser) == written
    ordered = "SELECT a FROM t WHERE a = ? AND b = ? LIMIT ?"
    assert parse_query(ordered, [one, two, one], parser) == written


@pytest.mark.parametrize("args", [{}, {"y": Literal(1, DataType.INTEGER)}, ()])
def test_a_parameter_without_a_value_is_refused(parser: SparkParser, args: Any) -> None:
    with pytest.raises(Refusal, match=":x has no value"):
        parse_query("SELECT a FROM t WHERE a = :x", args, parser)


@pytest.mark.parametrize("count", [0, 2])
def test_a_wrong_number_of_values_is_refused(parser: SparkParser, count: int) -> None:
    with pytest.raises(Refusal, match="1 markers"):
        parse_query("SELECT a FROM t LIMIT ?", [Literal(1, DataType.INTEGER)] * count, parser)


def test_an_expression_may_have_a_name_or_be_a_star(parser: SparkParser) -> None:
    assert parse_expression("a > 1", parser) == more_than("a", 1)
    assert parse_expression("a AS b", parser) == Alias(Name(("a",)), "b")
    assert repr(parse_expression("t.*", parser)).startswith("Star(qualifier=('t',)")


def test_names_that_multiply_are_refused_before_the_query_is_large(parser: SparkParser) -> None:
    doubling = ", ".join(
        f"x{i} AS (SELECT * FROM x{i - 1} UNION ALL SELECT * FROM x{i - 1})" for i in range(1, 40)
    )
    with pytest.raises(Refusal) as caught:
        parse_query(f"WITH x0 AS (SELECT a FROM t), {doubling} SELECT * FROM x39", parser=parser)
    assert caught.value.code == "TOO_LARGE"


@pytest.mark.parametrize("deepest", [145])
def test_the_deepest_text_accepted_fits_the_stack(parser: SparkParser, deepest: int) -> None:
    assert parse_expression(" + ".join(["a"] * deepest), parser)
    assert parse_query(f"SELECT {' + '.join(['a'] * (deepest - 5))} AS b FROM t", parser=parser)
