"""Every field of real trees is changed: the change is refused or seen, never overlooked.

A later parser may fill a field that today holds its default. So each field of each node is given
other values, loses its name, or gets a neighbour, and the outcome may never be the old query.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from privacy.dp.expr import Literal
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.gateway.parser import SparkParser
from sandbox.gateway.sql import query_of

TEXTS = """
SELECT a, b AS c, t.*, 1, 2L, 1.5, 1.5D, 'x', true, NULL, DATE '2024-01-31' FROM s.t AS t
WHERE a > 1 AND NOT b IN (1, 2) OR c LIKE 'x%' OR c RLIKE 'y' OR d IS NULL OR e <=> 1

SELECT k, sum(v) FILTER (WHERE w) AS s, count(DISTINCT x) FROM t GROUP BY 1, j
HAVING sum(v) > 3 ORDER BY sum(v) DESC NULLS LAST, 1 LIMIT 5 OFFSET 2

SELECT /*+ EPSILON(0.5) */ DISTINCT CASE WHEN a THEN b ELSE c END, CAST(a AS BIGINT), -a, +a,
a + b - c * d / e % f, a DIV b, a || b, EXTRACT(YEAR FROM d), a BETWEEN 1 AND 2 FROM t

SELECT * FROM a JOIN b ON a.k = b.k LEFT SEMI JOIN c USING (k, l) CROSS JOIN d

WITH x AS (SELECT a FROM t), y(b) AS (SELECT a FROM x) SELECT * FROM y UNION ALL TABLE x

SELECT a, count(*) FROM t GROUP BY ROLLUP (a, b) ORDER BY a

SELECT TRIM(a), TRIM(LEADING FROM a), SUBSTRING(a FROM 1 FOR 2), POSITION('x' IN a) FROM t

SELECT a FROM t UNION SELECT b FROM u LIMIT ALL

SELECT a FROM t WHERE a = ? LIMIT ?
""".strip().split("\n\n")

ARGUMENTS = [Literal(1, DataType.INTEGER), Literal(2, DataType.INTEGER)]
"""Values of the markers in the last text."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 7, 1.5, "", "other", [], ["other"], [[]], {}, {"map": [["x", "1"]]},
    {"node": 0}, {"node": 10_000}, {"node": -1}, {"type": "timestamp"}, {"enum": "ANSI"},
    {"char": "!"}, {"decimal": "2.5"}, {"opaque": "java.lang.Object"},
    {"class": "org.apache.spark.sql.catalyst.plans.Other$", "fields": {}},
)  # fmt: skip

IDENTITIES = {"id"}
"""Numbers that the parser draws for a name; they say nothing about the question."""


@pytest.fixture(scope="module")
def trees() -> Iterator[list[list[dict[str, Any]]]]:
    parser = SparkParser()
    yield [parser.plan(text) for text in TEXTS]
    parser.close()


def holders(value: Any) -> Iterator[Any]:
    """Return every object and list inside a JSON value, itself included."""
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from holders(inner)


def places(holder: Any) -> list[Any]:
    names = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    return [name for name in names if name not in IDENTITIES]


def outcome(nodes: list[dict[str, Any]], number: int) -> str:
    """Return the query as text, or the code of its refusal; anything else fails the test."""
    try:
        return repr(query_of(nodes, ARGUMENTS if number == len(TEXTS) - 1 else ()))
    except Refusal as refusal:
        return refusal.code


def same(value: Any, other: Any) -> bool:
    return json.dumps(value) == json.dumps(other)


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_no_changed_field_is_overlooked(trees: list[list[dict[str, Any]]], number: int) -> None:
    original = trees[number]
    expected = outcome(original, number)
    assert expected.endswith(")"), "the unchanged tree is a query"
    overlooked = []
    tree = copy.deepcopy(original)
    for index, holder in enumerate(list(holders(tree))):
        for place in places(holder):
            kept = holder[place]
            for value in VALUES:
                if same(value, kept):
                    continue
                holder[place] = value
                if outcome(tree, number) == expected:
                    overlooked.append((index, place, kept, value))
            holder[place] = kept
    assert [each for each in overlooked if not is_harmless(*each[1:])] == []


def is_harmless(place: object, kept: Any, value: Any) -> bool:
    """Whether a change means the same: TRY_CAST is CAST, tags may be absent, `?` are ordered."""
    modes = ({"enum": "LEGACY"}, {"enum": "TRY"})
    return (kept in modes and value in modes) or (
        (place == "tags" and value == []) or (place == "pos" and type(value) is int)
    )


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_no_added_or_missing_field_is_overlooked(
    trees: list[list[dict[str, Any]]], number: int
) -> None:
    original = trees[number]
    expected = outcome(original, number)
    assert expected.endswith(")"), "the unchanged tree is a query"
    overlooked = []
    tree = copy.deepcopy(original)
    for index, holder in enumerate(list(holders(tree))):
        if isinstance(holder, list):
            holder.append({"added": 1})
            if outcome(tree, number) == expected:
                overlooked.append((index, "appended"))
            holder.pop()
            continue
        holder["added"] = None
        if outcome(tree, number) == expected:
            overlooked.append((index, "added"))
        del holder["added"]
        for place in places(holder):
            kept = holder.pop(place)
            if place not in ("tags", "fields") and outcome(tree, number) == expected:
                overlooked.append((index, place))
            holder[place] = kept
    assert overlooked == []
