"""Spark's implicit conversions, written out: the type in which values meet, and the casts.

The reference is Spark 4.3 with ANSI mode off, with one difference: text never meets numbers in a
comparison or in arithmetic, since Spark's answer (`'10' < 9`) is rarely what was meant.

Source: Spark 4.3 `TypeCoercion` (the non-ANSI rules) and `Cast.canCast`.
"""

import datetime as dt
import re

from privacy.dp.plan import Apply, Const, Expr
from privacy.dp.types import INT_MAX, INT_MIN, DataType
from privacy.errors import Refusal

BOOLEAN, INTEGER, LONG, DOUBLE = (
    DataType.BOOLEAN,
    DataType.INTEGER,
    DataType.LONG,
    DataType.DOUBLE,
)
STRING, DATE, NULL = DataType.STRING, DataType.DATE, DataType.NULL

CASTS: frozenset[tuple[DataType, DataType]] = frozenset(
    {(NULL, t) for t in DataType}
    | {(BOOLEAN, t) for t in (INTEGER, LONG, DOUBLE, STRING)}
    | {(INTEGER, t) for t in (BOOLEAN, LONG, DOUBLE, STRING)}
    | {(LONG, t) for t in (BOOLEAN, INTEGER, DOUBLE, STRING)}
    | {(DOUBLE, t) for t in (BOOLEAN, INTEGER, LONG)}
    | {(STRING, t) for t in (BOOLEAN, INTEGER, LONG, DOUBLE, DATE)}
    | {(DATE, STRING)}
)
"""Conversions between different types; not DOUBLE to STRING, which engines print differently."""

_MAY_FAIL = frozenset(
    {(LONG, INTEGER), (DOUBLE, INTEGER), (DOUBLE, LONG)}
    | {(STRING, t) for t in (BOOLEAN, INTEGER, LONG, DOUBLE, DATE)}
)
"""Conversions that give null for some values (out of range, unreadable)."""

_NUMERIC_ORDER = (INTEGER, LONG, DOUBLE)


def cast(operand: Expr, target: DataType) -> Expr:
    """Return `operand` converted to `target` (null where a value does not convert)."""
    source = operand.type
    if source is target:
        return operand
    if (source, target) not in CASTS:
        raise Refusal(
            "TYPE_MISMATCH",
            f"A {source.value} cannot be converted to {target.value} here. "
            "For text output of decimals, convert after the answer has arrived.",
            f"此处不能把 {source.value} 转换为 {target.value}。"
            "如需小数的文本形式，请在取得答案后再转换。",
        )
    if isinstance(operand, Const):
        folded = _folded(operand, target)
        if folded is not None:
            return folded
    nullable = is_nullable(operand) or (source, target) in _MAY_FAIL
    return Apply("cast", (operand,), target, nullable)


def is_nullable(expr: Expr) -> bool:
    """Return whether the value can be null."""
    return expr.value is None if isinstance(expr, Const) else expr.nullable


def widest(types: tuple[DataType, ...], *, text: bool = False) -> DataType | None:
    """Return the type that holds all of `types`, or None; `text` lets others become text."""
    result = NULL
    for kind in types:
        if kind in (result, NULL):
            continue
        if result is NULL:
            result = kind
        elif result.is_numeric and kind.is_numeric:
            result = max(result, kind, key=_NUMERIC_ORDER.index)
        elif text and STRING in (result, kind) and BOOLEAN not in (result, kind):
            result = STRING
        else:
            return None
    return result


def compared(function: str, args: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """Return `args` converted to the one type in which Spark would compare them."""
    types = tuple(a.type for a in args)
    common = widest(types)
    if common is None and set(types) <= {DATE, STRING, NULL}:
        return tuple(as_date(function, a) for a in args)
    if common is None:
        raise mismatch(function, types, "both sides of one type: cast one of them explicitly")
    return tuple(cast(a, common) for a in args)


def mismatch(function: str, types: tuple[DataType, ...], wanted: str) -> Refusal:
    """Return the refusal of arguments of these types, saying what is wanted instead."""
    given = ", ".join(t.value for t in types)
    return Refusal(
        "TYPE_MISMATCH",
        f"`{function}` was given ({given}), but needs {wanted}. Use cast(…).",
        f"`{function}` 的参数类型为（{given}），不符合要求。请用 cast(…) 显式转换。",
    )


def _folded(operand: Const, target: DataType) -> Const | None:
    """Convert a literal now where that is beyond doubt, so that `column = literal` stays bare."""
    value = operand.value
    if value is None:
        return Const(None, target)
    if isinstance(value, str):
        if target is DATE and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            try:
                return Const(dt.date.fromisoformat(value), DATE)
            except ValueError:
                return None
        return None
    if target is STRING:
        return Const(str(value).lower() if isinstance(value, bool) else str(value), STRING)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    if target is DOUBLE:
        return Const(float(value), DOUBLE)
    if target is LONG or (target is INTEGER and INT_MIN <= value <= INT_MAX):
        return Const(value, target)
    return None


def as_date(function: str, arg: Expr) -> Expr:
    """Return `arg` as a date; refuse literal text that is none."""
    result = cast(arg, DATE)
    if isinstance(arg, Const) and not isinstance(result, Const):
        raise Refusal(
            "TYPE_MISMATCH",
            f"`{function}` compares a date with text that is not a date. Write it as yyyy-MM-dd.",
            f"`{function}` 将日期与非日期文本比较。请写成 yyyy-MM-dd。",
        )
    return result
