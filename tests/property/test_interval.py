"""Interval arithmetic: no value of an expression lies outside what was predicted (attack A16)."""

import math
import os
import random

from privacy.dp.interval import Interval, bounds
from privacy.dp.plan import Apply, Const, Expr, Ref
from privacy.dp.types import DataType
from privacy.errors import Refusal
from tests.support.reference import value

D, L, B = DataType.DOUBLE, DataType.LONG, DataType.BOOLEAN
CASES = 1_000_000 if os.environ.get("LAB_FULL") == "1" else 30_000
COLUMNS = {1: Interval(-3, 2), 2: Interval(0.5, 40.0), 3: Interval(-7, 90), 4: Interval(0, 0)}
TYPES = {1: D, 2: D, 3: L, 4: L}


def _expression(rng: random.Random, kind: DataType, depth: int) -> Expr:
    if depth == 0 or rng.random() < 0.2:
        column = rng.choice([i for i, t in TYPES.items() if t is kind])
        if rng.random() < 0.7:
            return Ref(column, kind)
        number = rng.choice((-2, 0, 1, 3))
        return Const(float(number) if kind is D else number, kind)
    a, b = _expression(rng, kind, depth - 1), _expression(rng, kind, depth - 1)
    function = rng.choice(
        ("+", "-", "*", "abs", "negative", "least", "greatest", "when", "coalesce", "%")
        + (("/", "cast") if kind is D else ())
    )
    if function in ("abs", "negative"):
        return Apply(function, (a,), kind)
    if function == "when":
        return Apply("when", (Apply("<", (a, b), B), a, b), kind)
    if function == "cast":
        return Apply("cast", (_expression(rng, L, depth - 1),), D)
    return Apply(function, (a, b), kind)


def _number(rng: random.Random, column: int) -> float | int | None:
    interval = COLUMNS[column]
    if rng.random() < 0.05:
        return None
    if rng.random() < 0.3:
        picked = rng.choice((interval.low, interval.high))
    else:
        picked = rng.uniform(interval.low, interval.high)
    return float(picked) if TYPES[column] is D else int(picked)


def test_every_value_lies_in_its_interval() -> None:
    rng = random.Random(20261123)
    checked = 0
    while checked < CASES:
        expr = _expression(rng, rng.choice((D, L)), 3)
        try:
            interval = bounds(expr, COLUMNS)
        except Refusal:
            continue
        for _ in range(10):
            row = {i: _number(rng, i) for i in COLUMNS}
            found = value(expr, row)
            checked += 1
            if found is None or (isinstance(found, float) and math.isnan(found)):
                continue
            assert interval.low <= found <= interval.high, (expr, row, found, interval)
