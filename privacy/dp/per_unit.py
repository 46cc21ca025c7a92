"""Aggregates within one protected unit: rows again, one for each unit and combination of keys.

Source: soundness A.1-A.5.
"""

import math
from dataclasses import replace

from privacy.dp.fixedpoint import MAX_DIGITS, digits
from privacy.dp.interval import Interval, bounds
from privacy.dp.plan import AggregateCall, AggregateKind, Column, Expr, Group, Ref, references
from privacy.dp.relation import Private, possible_values, rows_per_group, tightened
from privacy.dp.textlength import longest
from privacy.dp.types import DataType
from privacy.errors import Refusal

_COUNTS = frozenset(
    {
        *(AggregateKind.COUNT_ROWS, AggregateKind.COUNT),
        *(AggregateKind.COUNT_IF, AggregateKind.COUNT_DISTINCT),
    }
)


def per_unit_group(node: Group, kind: Private) -> Private:
    """Return the kind of groups that each hold rows of one unit."""
    key_ids = {c.id: e for c, e in node.keys}
    units = frozenset(c.id for c, e in node.keys if isinstance(e, Ref) and e.id in kind.units)
    values = {c.id: v for c, e in node.keys if (v := possible_values(e, kind)) is not None}
    sizes = {
        c.id: kind.sizes[e.id] for c, e in node.keys if isinstance(e, Ref) and e.id in kind.sizes
    }
    sizes |= {
        c.id: len(values[c.id])
        for c, e in node.keys
        if c.id in values and c.id not in sizes and None not in values[c.id]
    }
    intervals: dict[int, Interval] = {}
    scales: dict[int, int] = {}
    for column, expr in node.keys:
        if column.type.is_numeric:
            interval = bounds(expr, kind.intervals)
            if interval.is_finite:
                intervals[column.id] = interval
            scales[column.id] = digits(expr, kind.scales)
    per_group = rows_per_group(node, kind)
    for column, call in node.aggregates:
        interval = _inner_interval(call, kind, per_group)
        if interval.is_finite:
            intervals[column.id] = interval
        scales[column.id] = _inner_digits(call, kind)
    others = frozenset(key_ids) - units
    refs = [e for c, e in node.keys if c.id in others]
    made: list[tuple[int, tuple[Expr, ...]]] = [(c.id, (e,)) for c, e in node.keys]
    made += [(c.id, a.args) for c, a in node.aggregates if a.kind not in _COUNTS]
    constant_keys = all(references(e) <= kind.constant for e in refs)
    grouped = Private(
        domain=kind.domain,
        units=units,
        of_unit=frozenset(i for i, es in made if any(references(e) & kind.of_unit for e in es)),
        rows=kind.rows,
        keys=frozenset((others,)),
        searches=kind.searches,
        sizes=sizes,
        values=values,
        intervals=intervals,
        lengths={
            **text_lengths(node.keys, kind),
            **{
                c.id: longest(call.args[0], kind.lengths)
                for c, call in node.aggregates
                if c.type is DataType.STRING
            },
        },
        scales=scales,
        constant=frozenset(c.id for c in node.columns) if constant_keys else frozenset(),
        max_units=kind.max_units,
    )
    if constant_keys:
        grouped = replace(grouped, rows=1, keys=grouped.keys | {frozenset()})
    return tightened(grouped)


def text_lengths(items: tuple[tuple[Column, Expr], ...], kind: Private) -> dict[int, int]:
    """Return the characters of the longest text of each computed text column."""
    return {c.id: longest(e, kind.lengths) for c, e in items if c.type is DataType.STRING}


def _inner_interval(call: AggregateCall, kind: Private, per_group: int | None) -> Interval:
    top = math.inf if per_group is None else per_group
    match call.kind:
        case kind_ if kind_ in _COUNTS:
            return Interval(0, top)
        case AggregateKind.SUM:
            value = bounds(call.args[0], kind.intervals)
            return Interval(min(0, value.low), max(0, value.high)).times(Interval(0, top))
        case AggregateKind.AVG | AggregateKind.MIN | AggregateKind.MAX:
            return bounds(call.args[0], kind.intervals)
        case _:
            raise Refusal(
                "UNSUPPORTED",
                f"`{call.kind.value}` inside a per-unit group is not supported; use sum, count, "
                "avg, min "
                "or max there.",
                f"按主体分组内不支持 `{call.kind.value}`；请使用 sum、count、avg、min 或 max。",
            )


def _inner_digits(call: AggregateCall, kind: Private) -> int:
    if call.kind is AggregateKind.AVG:
        return MAX_DIGITS
    if call.kind in (AggregateKind.SUM, AggregateKind.MIN, AggregateKind.MAX):
        return digits(call.args[0], kind.scales)
    return 0
