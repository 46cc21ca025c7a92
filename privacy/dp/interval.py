"""Interval arithmetic: between which numbers an expression must lie, from contract bounds alone.

An interval speaks of the non-null, non-NaN values only. Whole numbers are computed exactly; doubles
are rounded outwards by one unit in the last place after each step. A wrong interval costs accuracy,
never privacy: the compiled plan clamps every summed value (soundness A.7). It does prove that no
64-bit overflow can happen inside an expression, hence it errs on the wide side.

Source: Moore, Kearfott & Cloud, *Introduction to Interval Analysis* (2009), chapters 2 and 5.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from privacy.dp.plan import Apply, Const, Expr, Ref
from privacy.dp.types import INT_MAX, INT_MIN, LONG_MAX, LONG_MIN, DataType
from privacy.errors import Refusal

Number = int | float


@dataclass(frozen=True, slots=True)
class Interval:
    """All numbers from `low` to `high`, both included; infinite ends are `±math.inf`.

    >>> Interval(-3, 2).times(Interval(-3, 2))
    Interval(low=-6, high=9)
    """

    low: Number
    high: Number

    def __post_init__(self) -> None:
        """Refuse an empty or meaningless interval: a caller's mistake."""
        if math.isnan(self.low) or math.isnan(self.high) or self.low > self.high:
            raise ValueError(f"not an interval: [{self.low}, {self.high}]")

    @property
    def is_finite(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def magnitude(self) -> Number:
        """The largest absolute value inside."""
        return max(abs(self.low), abs(self.high))

    def hull(self, other: "Interval") -> "Interval":
        """Return the smallest interval that holds both."""
        return Interval(min(self.low, other.low), max(self.high, other.high))

    def meet(self, other: "Interval") -> "Interval":
        """Return the common part, or `other` collapsed to its nearer end when there is none."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        if low <= high:
            return Interval(low, high)
        point = other.low if self.high < other.low else other.high
        return Interval(point, point)

    def times(self, other: "Interval") -> "Interval":
        """Return the interval of all products; 0 · ∞ counts as 0: no finite value makes it NaN."""
        products = [
            0 if 0 in (a, b) else a * b
            for a in (self.low, self.high)
            for b in (other.low, other.high)
        ]
        return Interval(min(products), max(products))


ALL = Interval(-math.inf, math.inf)


def bounds(expr: Expr, columns: Mapping[int, Interval]) -> Interval:
    """Return where the numeric values of `expr` must lie; `ALL` for non-numbers.

    Raise `Refusal(OVERFLOW_POSSIBLE)` where a whole number could leave its type's range.
    """
    match expr:
        case Ref():
            return columns.get(expr.id, _type_range(expr.type))
        case Const():
            if isinstance(expr.value, bool) or not isinstance(expr.value, int | float):
                return ALL
            if math.isnan(expr.value):
                return ALL
            return Interval(expr.value, expr.value)
        case Apply():
            result = _apply(expr, columns)
            if expr.type.is_integral:
                return _within_type(expr, result)
            return _outward(result) if expr.type is DataType.DOUBLE else result


def check_overflow(expr: Expr, columns: Mapping[int, Interval]) -> None:
    """Raise `Refusal(OVERFLOW_POSSIBLE)` if any whole number inside `expr` could leave its type."""
    if isinstance(expr, Apply):
        for arg in expr.args:
            check_overflow(arg, columns)
        if expr.type.is_integral:
            bounds(expr, columns)


def _type_range(kind: DataType) -> Interval:
    if kind is DataType.INTEGER:
        return Interval(INT_MIN, INT_MAX)
    if kind is DataType.LONG:
        return Interval(LONG_MIN, LONG_MAX)
    return ALL


def _within_type(expr: Apply, interval: Interval) -> Interval:
    limit = _type_range(expr.type)
    if expr.function in _TOTAL_INTEGER_FUNCTIONS:
        return interval.meet(limit)
    if interval.low < limit.low or interval.high > limit.high:
        raise Refusal(
            "OVERFLOW_POSSIBLE",
            f"The {expr.type.value} result of `{expr.function}` could lie between "
            f"{interval.low:g} and "
            f"{interval.high:g}, outside its type. Cast an operand to double, or narrow it with "
            "least()/greatest() first.",
            f"`{expr.function}` 的 {expr.type.value} 结果可能在 {interval.low:g} 与 "
            f"{interval.high:g} "
            "之间，超出该类型的范围。请先把操作数转换为 double，或用 least()/greatest() 收窄。",
        )
    return Interval(int(interval.low), int(interval.high))


def _outward(interval: Interval) -> Interval:
    return Interval(
        math.nextafter(float(_as_float(interval.low)), -math.inf),
        math.nextafter(float(_as_float(interval.high)), math.inf),
    )


def _as_float(value: Number) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _apply(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    rule = _RULES.get(expr.function)
    if rule is None:
        return _type_range(expr.type)
    return rule(expr, columns)


def _args(expr: Apply, columns: Mapping[int, Interval]) -> list[Interval]:
    return [bounds(arg, columns) for arg in expr.args]


def _add(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    a, b = _args(expr, columns)
    return _safe(a.low + b.low, a.high + b.high)


def _subtract(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    a, b = _args(expr, columns)
    return _safe(a.low - b.high, a.high - b.low)


def _multiply(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    a, b = _args(expr, columns)
    return a.times(b)


def _divide(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    a, b = _args(expr, columns)
    if b.low <= 0 <= b.high:
        # Division by exactly zero is null, but a divisor may come arbitrarily near to zero.
        if _integral(expr.args[1]):
            return Interval(-a.magnitude, a.magnitude)
        return ALL
    quotients = [_quotient(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    return Interval(min(quotients), max(quotients))


def _quotient(x: Number, y: Number) -> float:
    if math.isinf(y):
        # inf / inf is NaN, which an interval does not speak of; large / inf tends to 0.
        return 0.0 if math.isfinite(x) else math.copysign(math.inf, x) * math.copysign(1, y)
    try:
        return x / y
    except OverflowError:
        return math.inf if (x > 0) == (y > 0) else -math.inf


def _integral(expr: Expr) -> bool:
    if isinstance(expr, Apply) and expr.function == "cast" and expr.type is DataType.DOUBLE:
        return expr.args[0].type.is_integral
    return expr.type.is_integral


def _remainder(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    a, b = _args(expr, columns)
    top = min(b.magnitude, a.magnitude)
    if expr.function == "pmod":
        return Interval(-b.magnitude, b.magnitude) if b.low < 0 else Interval(0, b.magnitude)
    return Interval(-top if a.low < 0 else 0, top if a.high > 0 else 0)


def _negative(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    (a,) = _args(expr, columns)
    return Interval(-a.high, -a.low)


def _absolute(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    (a,) = _args(expr, columns)
    if a.low <= 0 <= a.high:
        return Interval(0, a.magnitude)
    return Interval(min(abs(a.low), abs(a.high)), a.magnitude)


def _hull_of_args(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    return _hull(_args(expr, columns))


def _hull(intervals: list[Interval]) -> Interval:
    result = intervals[0]
    for other in intervals[1:]:
        result = result.hull(other)
    return result


def _value_branches(expr: Apply) -> list[Expr]:
    args = list(expr.args)
    branches = args[1::2] + (args[-1:] if len(args) % 2 else [])
    return [b for b in branches if not _is_null(b)]


def _is_null(expr: Expr) -> bool:
    if isinstance(expr, Apply) and expr.function == "cast":
        return _is_null(expr.args[0])
    return isinstance(expr, Const) and expr.value is None


def _when(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    branches = _value_branches(expr)
    return _hull([bounds(b, columns) for b in branches]) if branches else Interval(0, 0)


def _conditional(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    branches = [b for b in expr.args[1:] if not _is_null(b)]
    return _hull([bounds(b, columns) for b in branches]) if branches else Interval(0, 0)


def _coalesce(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    parts = [a for a in expr.args if not _is_null(a)]
    return _hull([bounds(a, columns) for a in parts]) if parts else Interval(0, 0)


def _least(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    # Spark skips nulls, so any single argument may be the answer: only a never-null argument caps
    # it.
    args = [(bounds(a, columns), a) for a in expr.args if not _is_null(a)]
    if not args:
        return Interval(0, 0)
    high = max(i.high for i, _ in args)
    never_null = [i.high for i, a in args if isinstance(a, Const)]
    return Interval(min(i.low for i, _ in args), min([high, *never_null]))


def _greatest(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    args = [(bounds(a, columns), a) for a in expr.args if not _is_null(a)]
    if not args:
        return Interval(0, 0)
    low = min(i.low for i, _ in args)
    never_null = [i.low for i, a in args if isinstance(a, Const)]
    return Interval(max([low, *never_null]), max(i.high for i, _ in args))


def _first_arg(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    return bounds(expr.args[0], columns)


def _cast(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    source = expr.args[0]
    if source.type is DataType.BOOLEAN and expr.type.is_numeric:
        return Interval(0, 1)
    if not source.type.is_numeric:
        return _type_range(expr.type)
    inner = bounds(source, columns)
    if expr.type.is_integral and source.type is DataType.DOUBLE:
        low = math.trunc(inner.low) if math.isfinite(inner.low) else -math.inf
        high = math.trunc(inner.high) if math.isfinite(inner.high) else math.inf
        return Interval(low, high)
    return inner


def _floor(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    (a,) = _args(expr, columns)
    return Interval(
        math.floor(a.low) if math.isfinite(a.low) else a.low,
        math.floor(a.high) if math.isfinite(a.high) else a.high,
    )


def _ceil(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    (a,) = _args(expr, columns)
    return Interval(
        math.ceil(a.low) if math.isfinite(a.low) else a.low,
        math.ceil(a.high) if math.isfinite(a.high) else a.high,
    )


def _round(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    a = bounds(expr.args[0], columns)
    digits = 0
    if (
        len(expr.args) > 1
        and isinstance(expr.args[1], Const)
        and isinstance(expr.args[1].value, int)
    ):
        digits = expr.args[1].value
    if expr.type.is_integral:
        # Half of a step outward; where that leaves the type, so may the rounded value.
        slack = 10**-digits // 2 if digits < 0 else 0
        return Interval(a.low - slack, a.high + slack)
    slack = 10 ** max(-digits, 0) if digits <= 0 else 1
    return _safe(a.low - slack, a.high + slack)


def _sqrt(expr: Apply, columns: Mapping[int, Interval]) -> Interval:
    (a,) = _args(expr, columns)
    high = math.inf if math.isinf(a.high) else math.sqrt(max(_as_float(a.high), 0.0))
    return Interval(math.sqrt(max(_as_float(a.low), 0.0)) if math.isfinite(a.low) else 0.0, high)


def _sign(_: Apply, __: Mapping[int, Interval]) -> Interval:
    return Interval(-1, 1)


def _fixed(low: Number, high: Number) -> Callable[[Apply, Mapping[int, Interval]], Interval]:
    return lambda _expr, _columns: Interval(low, high)


def _safe(low: Number, high: Number) -> Interval:
    """Treat ∞ − ∞ as unbounded."""
    if isinstance(low, float) and math.isnan(low):
        low = -math.inf
    if isinstance(high, float) and math.isnan(high):
        high = math.inf
    return Interval(low, high)


_TOTAL_INTEGER_FUNCTIONS = frozenset({"cast", "floor", "ceil"})
"""Functions that never wrap: what does not fit their type becomes null or saturates."""

_RULES: Mapping[str, Callable[[Apply, Mapping[int, Interval]], Interval]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "div": _divide,
    "%": _remainder,
    "pmod": _remainder,
    "negative": _negative,
    "abs": _absolute,
    "coalesce": _coalesce,
    "ifnull": _coalesce,
    "nvl": _coalesce,
    "nullif": _first_arg,
    "if": _conditional,
    "when": _when,
    "least": _least,
    "greatest": _greatest,
    "cast": _cast,
    "floor": _floor,
    "ceil": _ceil,
    "round": _round,
    "bround": _round,
    "sqrt": _sqrt,
    "sign": _sign,
    "year": _fixed(-9999, 9999),
    "month": _fixed(1, 12),
    "quarter": _fixed(1, 4),
    "day": _fixed(1, 31),
    "dayofmonth": _fixed(1, 31),
    "dayofweek": _fixed(1, 7),
    "dayofyear": _fixed(1, 366),
    "weekofyear": _fixed(1, 53),
    "length": _fixed(0, INT_MAX),
    "instr": _fixed(0, INT_MAX),
    "datediff": _fixed(-8_000_000, 8_000_000),
}
