"""No text means one thing to Spark and another to the lab. Source: attacks D13, D14, D15, D31."""

from collections.abc import Iterator

import pytest

from privacy.errors import Refusal
from sandbox.gateway.parser import SparkParser
from sandbox.gateway.sql import parse_expression, parse_query


@pytest.fixture(scope="module")
def parser() -> Iterator[SparkParser]:
    parser = SparkParser()
    yield parser
    parser.close()


STATEMENTS = """
SET x = 1
SET
RESET
ADD JAR '/tmp/x.jar'
LIST FILES
DESCRIBE t
DESCRIBE EXTENDED t
DESCRIBE QUERY SELECT a FROM t
SHOW TABLES
SHOW COLUMNS IN t
SHOW CREATE TABLE t
EXPLAIN SELECT a FROM t
EXPLAIN COST SELECT a FROM t
ANALYZE TABLE t COMPUTE STATISTICS
CACHE TABLE t
UNCACHE TABLE t
REFRESH TABLE t
USE x
CALL x()
CREATE VIEW v AS SELECT a FROM t
CREATE TEMPORARY VIEW v AS SELECT a FROM t
CREATE TABLE v AS SELECT a FROM t
DROP TABLE t
INSERT INTO t SELECT a FROM t
FROM t INSERT OVERWRITE TABLE x SELECT a
DELETE FROM t
UPDATE t SET a = 1
MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE
TRUNCATE TABLE t
EXECUTE IMMEDIATE 'SELECT a FROM t'
BEGIN SELECT a FROM t; END
DECLARE x INT
SELECT a FROM t; SELECT a FROM u
SELECT a FROM t; DROP TABLE t
SELECT a FROM t TABLESAMPLE (10 PERCENT)
SELECT a FROM t TABLESAMPLE (BUCKET 1 OUT OF 2)
SELECT a FROM t VERSION AS OF 1
SELECT a FROM t TIMESTAMP AS OF '2024-01-01'
SELECT a FROM t FOR SYSTEM_VERSION AS OF 1
SELECT a FROM t WITH (versionAsOf = 1)
SELECT a FROM STREAM t
SELECT a FROM x.y.z
SELECT a FROM range(10)
SELECT a FROM json_tuple('{}', 'a')
SELECT a FROM VALUES (1) AS t(a)
VALUES (1)
SELECT 1
SELECT a FROM identifier('t' || 'u')
SELECT a, count(*) FROM t GROUP BY ALL
SELECT a FROM t ORDER BY ALL
SELECT a, b, count(*) FROM t GROUP BY GROUPING SETS ((a), (b))
SELECT a, b, count(*) FROM t GROUP BY a, ROLLUP (b)
SELECT a, b, count(*) FROM t GROUP BY ROLLUP ((a, b), c)
SELECT count(*) AS n FROM t GROUP BY 1
SELECT a FROM t GROUP BY 0
SELECT * FROM t ORDER BY 1
SELECT a FROM t ORDER BY 2
SELECT a FROM t SORT BY a
SELECT a FROM t CLUSTER BY a
SELECT a FROM t DISTRIBUTE BY a
SELECT a FROM t LIMIT -1
SELECT a FROM t LIMIT a
SELECT a FROM t LIMIT 1.5
SELECT a FROM t LIMIT (SELECT 1)
SELECT a FROM t WHERE a > (SELECT max(a) FROM t)
SELECT a FROM t WHERE EXISTS (SELECT a FROM u)
SELECT a FROM t WHERE a IN (SELECT a FROM u)
SELECT a FROM t WHERE a NOT IN (SELECT a FROM u)
SELECT a FROM t, LATERAL (SELECT a FROM u)
SELECT a FROM t LATERAL VIEW explode(b) AS c
SELECT sum(a) OVER () FROM t
SELECT sum(a) OVER w FROM t WINDOW w AS (ORDER BY a)
SELECT a FROM t QUALIFY row_number() OVER (ORDER BY a) = 1
SELECT a FROM t INTERSECT SELECT a FROM u
SELECT a FROM t EXCEPT SELECT a FROM u
SELECT a FROM t MINUS SELECT a FROM u
SELECT * FROM t NATURAL JOIN u
SELECT * FROM t PIVOT (sum(a) FOR b IN (1, 2))
SELECT * FROM t UNPIVOT (a FOR b IN (c, d))
SELECT * EXCEPT (a) FROM t
SELECT TRANSFORM (a) USING 'cat' AS (b) FROM t
FROM t |> WHERE a > 1
FROM t |> AGGREGATE count(*) GROUP BY a
FROM t |> EXTEND a + 1 AS b
FROM t |> DROP a
WITH RECURSIVE x(n) AS (SELECT a FROM t UNION ALL SELECT n + 1 FROM x) SELECT n FROM x
WITH x AS (SELECT a FROM t), X AS (SELECT a FROM u) SELECT a FROM x
SELECT /*+ BROADCAST(t) */ a FROM t
SELECT /*+ REPARTITION(1) */ a FROM t
SELECT /*+ EPSILON(1), MERGE(t) */ a FROM t
SELECT /*+ EPSILON(1, 2) */ a FROM t
SELECT /*+ EPSILON */ a FROM t
SELECT /*+ EPSILON('1') */ a FROM t
SELECT /*+ EPSILON(a) */ a FROM t
SELECT /*+ EPSILON(true) */ a FROM t
SELECT a FROM ｔ
SELECT \u0430 FROM t
SELECT a FROM t WHERE a = 'x
SELECT a FROM `t
SELECT a FROM t /* open
SELECT a FROM t WHERE b = ${x}
SELECT __unit FROM t
SELECT t.__rank FROM t
SELECT a AS __cohort FROM t
SELECT a FROM t AS __t
SELECT a FROM (SELECT b FROM t) AS x(__unit)
SELECT `__unit` FROM t
SELECT a.b.c FROM t
SELECT a FROM t JOIN u USING (__unit)
"""

EXPRESSIONS = """
a LIKE 'x!%' ESCAPE '!'
a ILIKE 'x'
a LIKE ANY ('x', 'y')
a LIKE ALL ('x', 'y')
x -> x + 1
transform(a, x -> x + 1)
a[0]
a.b.c
a:b
(a, b)
struct(a, b)
named_struct('a', 1) . a
(SELECT a FROM t)
a COLLATE UTF8_LCASE
CAST(a AS DECIMAL(10, 2))
CAST(a AS TIMESTAMP)
CAST(a AS ARRAY<INT>)
CAST(a AS STRING COLLATE UNICODE_CI)
INTERVAL 1 DAY
a + INTERVAL '1' MONTH
TIMESTAMP '2024-01-01'
X'1F'
1S
1.5F
a & b
a | b
a ^ b
~a
a << 2
first(a)
first(a) IGNORE NULLS
any_value(a)
sum(a) WITHIN GROUP (ORDER BY b)
percentile_cont(0.5) WITHIN GROUP (ORDER BY a)
sum(a) OVER (PARTITION BY b)
abs(DISTINCT a)
system.builtin.sum(a)
`x y`(a)
`cast`(a)
TRIM(BOTH 'x' FROM a)
OVERLAY(a PLACING 'x' FROM 1)
EXTRACT(SECOND FROM a)
TIMESTAMPADD(DAY, 1, a)
a AS (b, c)
:x
?
a b c
a;
"""


def lines(text: str) -> list[str]:
    return [line.replace("\\n", "\n") for line in text.strip().splitlines()]


@pytest.mark.parametrize("text", lines(STATEMENTS))
def test_a_statement_outside_the_language_is_refused(parser: SparkParser, text: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_query(text, parser=parser)
    codes = ("UNSUPPORTED", "PARSE", "BAD_EPSILON", "UNKNOWN_COLUMN")
    assert caught.value.code in codes
    assert caught.value.en
    assert caught.value.zh


@pytest.mark.parametrize("text", lines(EXPRESSIONS))
def test_an_expression_outside_the_language_is_refused(parser: SparkParser, text: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_expression(text, parser)
    assert caught.value.code in ("UNSUPPORTED", "PARSE")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("SELECT a /* , b FROM u */ FROM t", "SELECT a FROM t"),
        ("SELECT a /* /* , b */ FROM u */ FROM t", "SELECT a FROM t"),
        ("SELECT a -- , b\nFROM t", "SELECT a FROM t"),
        ("SELECT a -- , b \\\n c\nFROM t", "SELECT a FROM t"),
        ("SELECT a FROM t; ;", "SELECT a FROM t"),
        ("SELECT a FROM t WHERE b = '--' ", 'SELECT a FROM t WHERE b = "--"'),
        (
            "SELECT a FROM t WHERE b = '/*+ EPSILON(9) */'",
            r"SELECT a FROM t WHERE b = '\/*+ EPSILON(9) */'",
        ),
        ("SELECT a FROM t WHERE b = 'it''s'", r"SELECT a FROM t WHERE b = 'it\'s'"),
        (r"SELECT a FROM t WHERE b = '\u0041\n'", "SELECT a FROM t WHERE b = 'A\n'"),
        (r"SELECT a FROM t WHERE b = r'\n'", r"SELECT a FROM t WHERE b = '\\n'"),
        ("SELECT `a`  FROM `t`", "select a from t"),
        ("ſELECT a FROM t WHERE b ıS NULL", "SELECT a FROM t WHERE b IS NULL"),
        ("SELECT /*+ epsilon(0.5) */ a FROM t", "SELECT /*+ EPSILON(0.50) */ a FROM t"),
        ("TABLE t", "(TABLE t)"),
        ("FROM t SELECT a WHERE b", "SELECT a FROM t WHERE b"),
        ("SELECT a FROM identifier('t')", "SELECT a FROM t"),
    ],
)
def test_a_disguised_text_is_the_plain_one(parser: SparkParser, text: str, plain: str) -> None:
    try:
        query = parse_query(text, parser=parser)
    except Refusal:
        return  # refusing is always sound
    assert query == parse_query(plain, parser=parser)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("SELECT `a, b` FROM t", "SELECT a.b FROM t"),
        ("SELECT `a.b` FROM t", "SELECT a.b FROM t"),
        ("SELECT a FROM `s.t`", "SELECT a FROM s.t"),
        ("SELECT a FROM t JOIN u USING (`k, l`)", "SELECT a FROM t JOIN u USING (k, l)"),
        ("SELECT a FROM t AS x(`b, c`)", "SELECT a FROM t AS x(b, c)"),
        ("SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = true"),
        ("SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = 1L"),
        ("SELECT a FROM t WHERE b = '1'", "SELECT a FROM t WHERE b = 1"),
        ("SELECT count(a) AS n FROM t", "SELECT count(DISTINCT a) AS n FROM t"),
        ("SELECT sum(a) AS n FROM t", "SELECT sum(a) FILTER (WHERE b) AS n FROM t"),
        ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a NULLS LAST"),
        ("SELECT a FROM t LIMIT 3", "SELECT a FROM t LIMIT 3 OFFSET 1"),
        ("SELECT /*+ EPSILON(1) */ a FROM t", "SELECT a FROM t"),
        ("SELECT /*+ EPSILON(1) */ a FROM t", "SELECT /* + EPSILON(1) */ a FROM t"),
        ("SELECT DISTINCT a FROM t", "SELECT a FROM t"),
        ("SELECT a FROM t UNION SELECT a FROM u", "SELECT a FROM t UNION ALL SELECT a FROM u"),
        ("SELECT a FROM t AS T", "SELECT a FROM t"),
    ],
)
def test_texts_that_differ_are_not_taken_for_one(
    parser: SparkParser, text: str, other: str
) -> None:
    one, two = (repr(parse_query(each, parser=parser)) for each in (text, other))
    assert one != two
