"""Aggregate functions: from the name that a client uses to a typed `AggregateCall`.

Result types and nullability are Spark 4.3's: counts are never null, sums of whole numbers are
BIGINT, averages and variances DOUBLE, and an approximate percentile has its argument's type.
"""

from collections.abc import Mapping

from privacy.dp.coercion import cast
from privacy.dp.expr import Call
from privacy.dp.functions import call as scalar
from privacy.dp.plan import AggregateCall, AggregateKind, Const, Expr
from privacy.dp.types import DataType
from privacy.errors import Refusal

_KINDS: Mapping[str, AggregateKind] = {
    "count_if": AggregateKind.COUNT_IF,
    "sum": AggregateKind.SUM,
    "avg": AggregateKind.AVG,
    "mean": AggregateKind.AVG,
    "min": AggregateKind.MIN,
    "max": AggregateKind.MAX,
    "var_samp": AggregateKind.VAR_SAMP,
    "variance": AggregateKind.VAR_SAMP,
    "var_pop": AggregateKind.VAR_POP,
    "stddev": AggregateKind.STDDEV_SAMP,
    "std": AggregateKind.STDDEV_SAMP,
    "stddev_samp": AggregateKind.STDDEV_SAMP,
    "stddev_pop": AggregateKind.STDDEV_POP,
}

_QUANTILES: Mapping[str, tuple[int, int]] = {
    "median": (1, 1),
    "percentile": (2, 3),
    "percentile_approx": (2, 3),
    "approx_percentile": (2, 3),
}
"""Name to the number of arguments taken."""

_THOUSAND = 1000

Computed = tuple[AggregateCall, DataType, bool]
"""The call, its result type, and whether it can be null."""


def aggregate_call(call: Call, args: tuple[Expr, ...], condition: Expr | None = None) -> Computed:
    """Return the typed aggregate; with `condition`, only rows where it is true count."""
    function = call.function.lower()
    if function == "count":
        return _count(args, condition, distinct=call.distinct)
    if function in _QUANTILES:
        return _quantile(function, args, condition)
    kind = _KINDS[function]
    _check_arity(function, len(args), 1, 1)
    argument = args[0]
    if kind is AggregateKind.COUNT_IF:
        if argument.type not in (DataType.BOOLEAN, DataType.NULL):
            raise _wrong_type(function, argument, "a boolean")
        tested = _both(condition, cast(argument, DataType.BOOLEAN))
        return AggregateCall(kind, (tested,)), DataType.LONG, False
    if kind in (AggregateKind.MIN, AggregateKind.MAX):
        return AggregateCall(kind, (_only(argument, condition),)), argument.type, True
    _check_number(function, argument)
    result = DataType.DOUBLE
    if kind is AggregateKind.SUM and argument.type.is_integral:
        result = DataType.LONG
    return AggregateCall(kind, (_only(argument, condition),)), result, True


def _count(args: tuple[Expr, ...], condition: Expr | None, *, distinct: bool) -> Computed:
    if not args:
        _check_arity("count", 0, 1, None)
    if distinct:
        wanted = tuple(_only(a, condition) for a in args)
        return AggregateCall(AggregateKind.COUNT_DISTINCT, wanted), DataType.LONG, False
    if all(isinstance(a, Const) and a.value is not None for a in args):
        if condition is None:
            return AggregateCall(AggregateKind.COUNT_ROWS), DataType.LONG, False
        return AggregateCall(AggregateKind.COUNT_IF, (condition,)), DataType.LONG, False
    if len(args) == 1:
        counted = _only(args[0], condition)
        return AggregateCall(AggregateKind.COUNT, (counted,)), DataType.LONG, False
    present = condition
    for arg in args:
        present = _both(present, scalar("isnotnull", (arg,)))
    if present is None:
        raise AssertionError("several arguments were given")
    return AggregateCall(AggregateKind.COUNT_IF, (present,)), DataType.LONG, False


def _quantile(function: str, args: tuple[Expr, ...], condition: Expr | None) -> Computed:
    least, most = _QUANTILES[function]
    _check_arity(function, len(args), least, most)
    argument = args[0]
    _check_number(function, argument)
    thousandths = _THOUSAND // 2 if function == "median" else _thousandths(function, args[1])
    for extra in args[2:]:  # Spark's accuracy or frequency: the lab's grid decides instead.
        if not isinstance(extra, Const):
            raise _not_literal(function)
        if function == "percentile" and extra.value != 1:
            raise Refusal(
                "UNSUPPORTED",
                "`percentile` takes no frequency other than 1 here.",
                "此处 `percentile` 的频数参数只能为 1。",
            )
    approximate = function in ("percentile_approx", "approx_percentile")
    result = argument.type if approximate else DataType.DOUBLE
    wanted = _only(argument, condition)
    return AggregateCall(AggregateKind.QUANTILE, (wanted,), (thousandths,)), result, True


def _thousandths(function: str, percentage: Expr) -> int:
    if not isinstance(percentage, Const):
        raise _not_literal(function)
    value = percentage.value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        rounded = round(value * _THOUSAND)
        if abs(value * _THOUSAND - rounded) < 1e-9:  # noqa: PLR2004 - a decimal that a double cannot hold
            return rounded
    raise Refusal(
        "UNSUPPORTED",
        f"`{function}` takes a percentage from 0 to 1 in steps of 0.001.",
        f"`{function}` 的百分位必须在 0 到 1 之间，步长 0.001。",
    )


def _only(argument: Expr, condition: Expr | None) -> Expr:
    """Return `argument`, null where the condition does not hold."""
    return argument if condition is None else scalar("when", (condition, argument))


def _both(condition: Expr | None, other: Expr) -> Expr:
    return other if condition is None else scalar("and", (condition, other))


def _check_number(function: str, argument: Expr) -> None:
    if not argument.type.is_numeric:
        raise _wrong_type(function, argument, "a number")


def _check_arity(function: str, given: int, least: int, most: int | None) -> None:
    if given < least or (most is not None and given > most):
        wanted = (
            str(least) if least == most else f"{least} to {most}" if most else f"{least} or more"
        )
        raise Refusal(
            "UNSUPPORTED",
            f"`{function}` takes {wanted} arguments, not {given}.",
            f"`{function}` 接受的参数个数为 {wanted}，而不是 {given}。",
        )


def _wrong_type(function: str, argument: Expr, wanted: str) -> Refusal:
    return Refusal(
        "TYPE_MISMATCH",
        f"`{function}` needs {wanted}, not a {argument.type.value}. Use cast(…).",
        f"`{function}` 不能用于 {argument.type.value} 类型，请用 cast(…) 转换。",
    )


def _not_literal(function: str) -> Refusal:
    return Refusal(
        "UNSUPPORTED",
        f"`{function}` takes one literal percentage; for several, call it once for each.",
        f"`{function}` 只接受一个字面量百分位；如需多个，请分别调用。",
    )
