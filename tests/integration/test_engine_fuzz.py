"""Random expressions over edge values: no engine fails on a row, and both give the same.

A function that raised for some values would make an answer's failure depend on whether such a row
exists. The matrix of edge values takes functions one by one over columns; here they are nested and
mixed with literals, which engines type and fold in their own ways.
"""

import os
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privacy.dp.coercion import cast
from privacy.dp.functions import FUNCTIONS, call
from privacy.dp.patterns import steps_of, translated
from privacy.dp.plan import Const, Expr, Ref
from privacy.dp.searches import MAX_STEPS
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.engine.folding import lower
from sandbox.engine.functions import TABLE
from sandbox.engine.physical import Call, Col, Lit
from sandbox.engine.render import DUCKDB, SPARK, Renderer
from sandbox.engine.run import EngineFailure
from tests.integration.test_engine_functions import (
    BOOLEANS,
    DATES,
    DOUBLES,
    INTEGERS,
    LONGS,
    SHIFTS,
    SIZES,
    TEXTS,
    same,
)
from tests.support.engine import ARROW, BOOLEAN, DATE, DOUBLE, INTEGER, LONG, STRING
from tests.support.engine_room import database, room, spark_session

VALUES: dict[DataType, list[Any]] = {
    BOOLEAN: BOOLEANS,
    INTEGER: [*sorted({*INTEGERS, *SIZES, *SHIFTS} - {None}), None],  # type: ignore[type-var]
    LONG: LONGS,
    DOUBLE: DOUBLES,
    STRING: TEXTS,
    DATE: DATES,
}
KINDS = list(VALUES)
COLUMNS = {i: (f"c{i}", kind) for i, kind in enumerate([*KINDS, *KINDS], start=1)}
NAMES = sorted(set(FUNCTIONS) & set(TABLE))
PATTERNS = ["%", "a%", "_b%", "a\\%b", ""]
ROWS, BATCH, PARTS = 60, 20, 5
LONG_RUN = os.environ.get("LAB_FULL") == "1"
BATCHES = 2_000 if LONG_RUN else 300
PATTERNS_TRIED = 20_000 if LONG_RUN else 1_000
COMPARED = 2_000 if LONG_RUN else 200
COMPARED_EVERY = 5 if LONG_RUN else 20
"""Spark takes about a second for a batch, DuckDB a fiftieth of that."""


class Maker:
    """Makes typed expressions; what the allow-list refuses is tried again."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def expr(self, depth: int) -> Expr:
        chance = self.random.random()
        if depth == 0 or chance < 0.15:
            return self.leaf()
        if chance < 0.3:
            return self.tried(lambda: cast(self.expr(depth - 1), self.random.choice(KINDS)))
        return self.tried(lambda: self.applied(depth))

    def tried(self, make: Any) -> Expr:
        for _ in range(40):
            try:
                expr: Expr = make()
                Renderer(DUCKDB, str).scalar(lower(expr, PHYSICAL))
                Renderer(SPARK, str).scalar(lower(expr, PHYSICAL))
            except Refusal:
                continue
            return expr
        return self.leaf()

    def applied(self, depth: int) -> Expr:
        name = self.random.choice(NAMES)
        signature = FUNCTIONS[name]
        most = signature.most or signature.least + 2
        count = self.random.randint(signature.least, max(most, signature.least))
        args = [
            self.literal()
            if i in signature.literals or self.random.random() < 0.25
            else self.expr(depth - 1)
            for i in range(count)
        ]
        if name in ("like", "rlike"):
            args[1] = Const(self.random.choice(PATTERNS), STRING)
        return call(name, tuple(args))

    def leaf(self) -> Expr:
        if self.random.random() < 0.35:
            return self.literal()
        i = self.random.choice(list(COLUMNS))
        return Ref(i, COLUMNS[i][1])

    def literal(self) -> Const:
        kind = self.random.choice([*KINDS, INTEGER, INTEGER, STRING])
        value = self.random.choice(VALUES[kind])
        if isinstance(value, str) and self.random.random() < 0.2:
            value = self.random.choice(["year", "quarter", "month", "week", "yyyy-MM-dd"])
        return Const(value, kind)

    def table(self) -> pa.Table:
        return pa.table(
            {
                name: pa.array([self.random.choice(VALUES[kind]) for _ in range(ROWS)], ARROW[kind])
                for name, kind in COLUMNS.values()
            }
        )


PHYSICAL = {i: Col(name, kind) for i, (name, kind) in COLUMNS.items()}


def statement(engine: str, exprs: list[Expr], source: str) -> str:
    renderer = Renderer(engine, str)
    listed = [f"{renderer.scalar(lower(e, PHYSICAL))} AS r{i}" for i, e in enumerate(exprs)]
    return f"SELECT {', '.join(listed)} FROM {source}"


def embedded(exprs: list[Expr], path: str) -> pa.Table:
    (table,) = database().query((statement(DUCKDB, exprs, f"read_parquet('{path}')"),), {})
    return table


@pytest.mark.parametrize("part", range(PARTS))
def test_no_row_makes_an_engine_fail_and_both_agree(part: int) -> None:
    spark = spark_session()
    for batch in range(part, BATCHES, PARTS):
        maker = Maker(batch)
        exprs = [maker.expr(3) for _ in range(BATCH)]
        path = str(room() / f"fuzz-{part}.parquet")
        pq.write_table(maker.table(), path)
        try:
            ours = embedded(exprs, path)
        except EngineFailure:
            for expr in exprs:
                try:
                    embedded([expr], path)
                except EngineFailure:
                    pytest.fail(f"DuckDB failed in batch {batch} on {expr}")
            raise
        if batch // PARTS % COMPARED_EVERY:
            continue
        spark.read.parquet(path).createOrReplaceTempView("fuzz")
        theirs = spark.sql(statement(SPARK, exprs, "fuzz")).toArrow()
        for i, expr in enumerate(exprs):
            pairs = zip(ours.column(i).to_pylist(), theirs.column(i).to_pylist(), strict=True)
            for row, (x, y) in enumerate(pairs):
                assert same(x, y), (batch, row, expr, x, y)


def pattern(chance: random.Random, depth: int) -> str:
    """Return a random pattern, with wide classes and many counts."""
    parts = []
    for _ in range(chance.randint(1, 5)):
        part = chance.choice(("a", ".", "[^龥a]", "\\W", "汉", "[丁七万丈三上]", "b"))
        if depth and chance.random() < 0.4:
            part = f"(?:{pattern(chance, depth - 1)})"
        count = chance.choice(("", "", "", "?", "{10}", "{2,10}", "{0,7}", "{100}", "*"))
        parts.append(part + count)
    return chance.choice(("", "", "|")).join(parts)


def test_every_pattern_that_is_let_through_compiles() -> None:
    chance, passed = random.Random(7), 0
    for _ in range(PATTERNS_TRIED):
        try:
            found = translated(pattern(chance, 3))
        except Refusal:
            continue
        passed += 1
        literal = found.replace("'", "''")
        (table,) = database().query((f"SELECT regexp_matches('aa汉', '{literal}') AS m",), {})
        assert table.num_rows == 1
    assert passed > PATTERNS_TRIED // 10


def test_patterns_find_the_same_on_both_engines() -> None:
    chance = random.Random(11)
    words = ["".join(chance.choices("aab汉.%_\n丁", k=chance.randint(0, 12))) for _ in range(60)]
    table = pa.table({"s": pa.array([*words, None])})
    path = room() / "patterns.parquet"
    pq.write_table(table, path)
    column = Col("s", STRING)
    exprs: list[Call] = []
    while len(exprs) < COMPARED:
        name = chance.choice(("like", "rlike"))
        written = (
            pattern(chance, 2)
            if name == "rlike"
            else "".join(chance.choices(["%", "%", "_", "a", "b", "汉", ".", "\\%", "\\_"], k=6))
        )
        try:
            if name == "rlike" and steps_of(written, 12) > MAX_STEPS:
                continue
            exprs.append(Call(name, (column, Lit(written, STRING)), BOOLEAN))
        except Refusal:
            continue
    for first in range(0, COMPARED, 50):
        listed = exprs[first : first + 50]
        texts = {
            engine: ", ".join(
                f"{Renderer(engine, str).scalar(e)} AS r{i}" for i, e in enumerate(listed)
            )
            for engine in (DUCKDB, SPARK)
        }
        source = f"read_parquet('{path}')"
        (ours,) = database().query((f"SELECT {texts[DUCKDB]} FROM {source}",), {})
        theirs = (
            spark_session()
            .read.parquet(str(path))
            .selectExpr(
                *(f"{Renderer(SPARK, str).scalar(e)} AS r{i}" for i, e in enumerate(listed))
            )
        )
        assert ours.to_pylist() == theirs.toArrow().to_pylist()


def test_no_like_pattern_makes_spark_go_back_and_forth() -> None:
    """Spark's own LIKE takes minutes for the second of these, and hours for the third."""
    spark = spark_session()
    frame = spark.createDataFrame([("a" * 65_000,)], "s string")
    for written in ("%a%a%b", "%a%a%a%b", "%a_a%" * 20 + "b", "a%" + "_%" * 50 + "b"):
        like = Renderer(SPARK, str).scalar(
            Call("like", (Col("s", STRING), Lit(written, STRING)), BOOLEAN)
        )
        assert frame.selectExpr(f"{like} AS m").collect() == [(False,)]
