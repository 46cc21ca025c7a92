"""Decimal digits and integer bounds of summed expressions: functions of contract facts alone.

No float is ever summed: each row's value becomes an integer at a scale, clamped to integer bounds,
and the bounds prove that no 64-bit sum can overflow for the largest population the contract admits
(soundness A.7).
"""

import math
from collections.abc import Mapping
from fractions import Fraction

from privacy.dp.interval import Interval, bounds
from privacy.dp.plan import Apply, Const, Expr, Ref
from privacy.dp.relation import Private, branches
from privacy.dp.types import DataType
from privacy.errors import Refusal

HEADROOM = 2**62
"""|bound| · rows of all units stays below: no 64-bit sum can overflow (soundness A.7)."""
FIXED_LIMIT = 9 * 10**15
"""Fixed-point values stay where doubles are exact integers."""
MAX_DIGITS = 6


def digits(expr: Expr, scales: Mapping[int, int]) -> int:
    """Return the decimal digits that sums of `expr` keep: a function of contract scales only."""
    return min(_digits(expr, scales), MAX_DIGITS)


def _digits(expr: Expr, scales: Mapping[int, int]) -> int:
    if expr.type.is_integral or expr.type is DataType.BOOLEAN:
        return 0
    match expr:
        case Ref():
            return scales.get(expr.id, MAX_DIGITS)
        case Const():
            text = repr(expr.value)
            return len(text.partition(".")[2]) if "." in text and "e" not in text else MAX_DIGITS
        case Apply(function="+" | "-" | "negative" | "abs" | "coalesce" | "greatest" | "least"):
            return max(_digits(a, scales) for a in expr.args)
        case Apply(function="cast"):
            return _digits(expr.args[0], scales)
        case Apply(function="*"):
            return sum(_digits(a, scales) for a in expr.args)
        case Apply(function="when" | "if"):
            return max(_digits(b, scales) for b in branches(expr) or [expr.args[-1]])
        case Apply(function="floor" | "ceil"):
            return 0
        case _:
            return MAX_DIGITS


def fixed_bounds(
    value: Expr, kind: Private, rows: int, *, squared: bool = False
) -> tuple[int, Interval]:
    """Return digits and integer bounds of a summed expression; refuse what has no bounds."""
    if not value.type.is_numeric:
        raise Refusal(
            "TYPE_MISMATCH",
            f"A {value.type.value} cannot be summed. Cast it to a number first.",
            f"{value.type.value} 类型不能求和，请先转换为数值。",
        )
    interval = bounds(value, kind.intervals)
    if not interval.is_finite:
        raise Refusal(
            "UNBOUNDED",
            "The summed expression has no finite bounds: a division by a value that can be near "
            "zero, or a "
            "column without bounds in its contract. Bound it with least() and greatest().",
            "被聚合的表达式没有有限的上下界：可能除以接近零的值，或所用列在契约中没有界。"
            "请用 least() 与 greatest() 限定。",
        )
    scale = digits(value, kind.scales)
    cap = max(kind.max_units, 1) * max(rows, 1)
    while True:
        low, high = _fixed(interval.low, scale, up=False), _fixed(interval.high, scale, up=True)
        width = max(abs(low), abs(high), high - low)
        if max(width**2 if squared else width, 1) * cap < HEADROOM and width < FIXED_LIMIT:
            return scale, Interval(low, high)
        if scale == 0:
            raise Refusal(
                "OVERFLOW_POSSIBLE",
                f"A sum of values up to {interval.magnitude:g} over {cap} possible rows may not "
                "fit 64 bits. "
                "Narrow the expression with least()/greatest(), or divide it by a constant first.",
                f"绝对值可达 {interval.magnitude:g} 的值在最多 {cap} 行上求和可能超出 64 位。"
                "请用 least()/greatest() 收窄，或先除以常数。",
            )
        scale -= 1


EXACT = 2.0**53
"""From here on doubles are whole numbers, and their product with a power of ten may overflow."""


def _fixed(bound: float, scale: int, *, up: bool) -> int:
    """Return a bound in fixed point: the nearest integer if it is that decimal, else outward."""
    exact: float = bound * 10**scale
    if abs(exact) >= EXACT:
        whole = Fraction(bound) * Fraction(10) ** scale
        return math.ceil(whole) if up else math.floor(whole)
    nearest = round(exact)
    if math.isclose(exact, nearest, rel_tol=1e-12, abs_tol=1e-9):
        return nearest
    return int(math.ceil(exact) if up else math.floor(exact))
