"""Measures of a question as nodes of the physical plan: every clamp in its place."""

from privacy.dp.exact import Measure, MeasureKind
from privacy.dp.plan import AggregateCall, AggregateKind, Expr
from privacy.dp.types import DataType
from sandbox.engine.folding import Environment, lower
from sandbox.engine.physical import (
    Buckets,
    Call,
    Clamped,
    Col,
    CountRows,
    CountUnits,
    Fixed,
    Scalar,
    Shifted,
    Squared,
    SumWhole,
    Total,
    UnitAggregate,
    UnitCount,
    UnitDistinct,
    UnitExtreme,
    UnitSum,
    Whole,
)
from sandbox.engine.refusals import unsupported


def inner_aggregate(
    call: AggregateCall, measure: Measure | None, columns: Environment
) -> UnitAggregate:
    """Return an aggregate inside a per-unit group; sums take the clamps of their measure."""
    args = tuple(lower(a, columns) for a in call.args)
    match call.kind:
        case AggregateKind.COUNT_ROWS:
            return UnitCount(None)
        case AggregateKind.COUNT:
            present = [Call("isnotnull", (a,), DataType.BOOLEAN) for a in args]
            return UnitCount(all_of(present))
        case AggregateKind.COUNT_IF:
            return UnitCount(args[0])
        case AggregateKind.COUNT_DISTINCT:
            return UnitDistinct(args)
        case AggregateKind.MIN | AggregateKind.MAX:
            return UnitExtreme(args[0], call.kind is AggregateKind.MAX)
        case AggregateKind.SUM | AggregateKind.AVG:
            if measure is None or measure.value is None or measure.offset or measure.square:
                raise AssertionError("a per-unit sum needs its clamped measure")
            condition = None if measure.condition is None else lower(measure.condition, columns)
            integral = call.args[0].type.is_integral and call.kind is AggregateKind.SUM
            return UnitSum(
                condition,
                whole_of(measure, lower(measure.value, columns)),
                measure.scale,
                mean=call.kind is AggregateKind.AVG,
                type=DataType.LONG if integral else DataType.DOUBLE,
            )
        case _:
            raise unsupported(
                f"`{call.kind.value}` inside a per-unit group is not supported; use sum, "
                "count, "
                "avg, min or max there.",
                f"按主体分组内不支持 `{call.kind.value}`；请使用 sum、count、avg、min 或 max。",
            )


def total_of(measure: Measure, columns: Environment) -> Total | Buckets:
    """Return what a measure counts or adds in each group."""
    condition = None if measure.condition is None else lower(measure.condition, columns)
    if measure.kind is MeasureKind.ROWS:
        return CountRows(condition)
    if measure.kind is MeasureKind.UNITS:
        return CountUnits(condition)
    if measure.value is None:
        raise AssertionError("a sum or histogram measures a value")
    whole = whole_of(measure, lower(measure.value, columns))
    if measure.kind is MeasureKind.SUM:
        return SumWhole(condition, whole)
    return Buckets(condition, whole, measure.low, measure.step, measure.buckets)


def key_of(expr: Expr, columns: Environment) -> Scalar:
    """Return a group key in its own type: inside expressions whole numbers have 64 bits."""
    value = lower(expr, columns)
    if expr.type is DataType.INTEGER and not isinstance(value, Col):
        return Call("cast", (value,), DataType.INTEGER)
    return value


def whole_of(measure: Measure, value: Scalar) -> Whole:
    """Return the measure's clamp chain over `value`."""
    whole: Whole = Clamped(Fixed(value, measure.scale), measure.low, measure.high)
    if measure.offset:
        whole = Shifted(whole, measure.offset)
    return Squared(whole) if measure.square else whole


def all_of(parts: list[Scalar] | list[Call]) -> Scalar | None:
    """Return the conjunction of conditions, None for none."""
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else Call("and", tuple(parts), DataType.BOOLEAN)
