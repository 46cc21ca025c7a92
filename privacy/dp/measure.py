"""Aggregates over private rows as exact measures, and the draws that make them releasable.

One `Builder` serves one release; equal measures and equal draws are made once and shared.
"""

from dataclasses import replace

from privacy.dp.bounding import Contribution
from privacy.dp.draw import Draw, Output
from privacy.dp.exact import Measure, MeasureKind
from privacy.dp.fixedpoint import fixed_bounds
from privacy.dp.interval import Interval
from privacy.dp.plan import AggregateCall, AggregateKind, Apply, Column, Const, Expr, Ref
from privacy.dp.relation import Private
from privacy.dp.types import DataType
from privacy.errors import Refusal

GRID = 2_000
"""Quantile candidates where the contract gives no step."""
MAX_GRID = 20_000
EXTREME_THOUSANDTHS = 5
"""min and max over private rows are the 0.5 % and 99.5 % quantiles, and say so."""


class Builder:
    """Collects measures and draws of one release; equal measures are drawn once."""

    def __init__(self, kind: Private, contribution: Contribution) -> None:
        """Start empty, over rows of this kind and contribution."""
        self.kind = kind
        self.contribution = contribution
        self.measures: list[Measure] = []
        self.draws: list[Draw] = []
        self.notes: list[str] = []

    def rows(self, condition: Expr | None = None) -> int:
        """Return the draw that counts rows where `condition` is true."""
        name = self._measure(Measure("", MeasureKind.ROWS, condition=condition))
        return self._draw(Draw(name, "gaussian", self.contribution.squared_l2(1)))

    def units(self) -> int:
        """Return the draw that counts distinct units."""
        name = self._measure(Measure("", MeasureKind.UNITS))
        return self._draw(Draw(name, "gaussian", self.contribution.units_squared_l2))

    def output(self, column: Column, call: AggregateCall) -> Output:
        """Return how an aggregate is answered, making its draws."""
        self.kind.check(*call.args)
        match call.kind:
            case AggregateKind.COUNT_ROWS:
                return Output(column, "integer", (self.rows(),))
            case AggregateKind.COUNT:
                return Output(column, "integer", (self.rows(is_present(call.args)),))
            case AggregateKind.COUNT_IF:
                return Output(column, "integer", (self.rows(call.args[0]),))
            case AggregateKind.COUNT_DISTINCT:
                return self._distinct_units(column, call)
            case AggregateKind.SUM:
                return self._sum(column, call.args[0])
            case AggregateKind.AVG:
                return self._average(column, call.args[0])
            case AggregateKind.QUANTILE:
                return self._quantile(column, call.args[0], call.parameters[0])
            case AggregateKind.MIN:
                return self._extreme(column, call.args[0], EXTREME_THOUSANDTHS)
            case AggregateKind.MAX:
                return self._extreme(column, call.args[0], 1000 - EXTREME_THOUSANDTHS)
            case _:
                return self._variance(column, call)

    def _distinct_units(self, column: Column, call: AggregateCall) -> Output:
        if not any(isinstance(a, Ref) and a.id in self.kind.units for a in call.args):
            raise Refusal(
                "UNSUPPORTED",
                "Distinct values can be counted only for the protected unit's id over private "
                "rows, for "
                "example countDistinct('uscc'). For another column, group by it and count the "
                "answer's rows.",
                "在私有行上只能对受保护主体的标识做去重计数，例如 countDistinct('uscc')。"
                "其他列请先按该列分组，再数结果的行数。",
            )
        if len(call.args) > 1:
            raise Refusal(
                "UNSUPPORTED",
                "Count distinct takes the protected unit's id alone over private rows.",
                "在私有行上，去重计数只接受受保护主体的标识这一列。",
            )
        return Output(column, "integer", (self.units(),))

    def _sum(self, column: Column, value: Expr) -> Output:
        scale, interval = fixed_bounds(value, self.kind, self.contribution.rows)
        draw = self._sum_draw(value, scale, interval, middle=0, square=False)
        form = "integer" if value.type.is_integral else "fixed"
        return Output(column, form, (draw,), scale=scale)

    def _sum_draw(
        self, value: Expr, scale: int, interval: Interval, *, middle: int, square: bool
    ) -> int:
        low, high = int(interval.low), int(interval.high)
        magnitude = max(abs(low - middle), abs(high - middle), 1)
        magnitude = magnitude**2 if square else magnitude
        name = self._measure(
            Measure(
                "",
                MeasureKind.SUM,
                value=value,
                scale=scale,
                low=low,
                high=high,
                offset=middle,
                square=square,
            )
        )
        return self._draw(Draw(name, "gaussian", self.contribution.squared_l2(magnitude)))

    def _average(self, column: Column, value: Expr) -> Output:
        scale, interval = fixed_bounds(value, self.kind, self.contribution.rows)
        low, high = int(interval.low), int(interval.high)
        middle = (low + high) // 2
        total = self._sum_draw(value, scale, interval, middle=middle, square=False)
        count = self.rows(is_number(value))
        return Output(column, "ratio", (total, count), scale, middle, low, high)

    def _variance(self, column: Column, call: AggregateCall) -> Output:
        value = call.args[0]
        scale, interval = fixed_bounds(value, self.kind, self.contribution.rows, squared=True)
        low, high = int(interval.low), int(interval.high)
        middle = (low + high) // 2
        squares = self._sum_draw(value, scale, interval, middle=middle, square=True)
        total = self._sum_draw(value, scale, interval, middle=middle, square=False)
        count = self.rows(is_number(value))
        deviation = call.kind in (AggregateKind.STDDEV_POP, AggregateKind.STDDEV_SAMP)
        sample = call.kind in (AggregateKind.VAR_SAMP, AggregateKind.STDDEV_SAMP)
        form = "deviation" if deviation else "variance"
        return Output(
            column, form, (squares, total, count), scale, middle, low, high, sample=sample
        )

    def _extreme(self, column: Column, value: Expr, thousandths: int) -> Output:
        self.notes.append(
            f"{column.name}: the {thousandths / 10:g} % quantile stands for the extreme, which "
            "no private "
            "answer can give; it carries no interval"
        )
        return self._quantile(column, value, thousandths, bracketed=False)

    def _quantile(
        self, column: Column, value: Expr, thousandths: int, *, bracketed: bool = True
    ) -> Output:
        scale, interval = fixed_bounds(value, self.kind, self.contribution.rows)
        low, high = int(interval.low), int(interval.high)
        step = self._step(value, low, high, scale)
        buckets = (high - low) // step + 1
        name = self._measure(
            Measure(
                "",
                MeasureKind.HISTOGRAM,
                value=value,
                scale=scale,
                low=low,
                high=high,
                step=step,
                buckets=buckets,
            )
        )
        # score = −|(1000 − p)·below − p·above|: one row moves it by at most max(p, 1000 − p).
        weight = max(thousandths, 1000 - thousandths) * self.contribution.rows_in_group
        draws = tuple(
            self._draw(
                Draw(name, "noisy_max", weight**2, self.contribution.groups, thousandths, side)
            )
            for side in ((0, -1, 1) if bracketed else (0,))
        )
        return Output(column, "quantile", draws, scale, 0, low, high, step)

    def _step(self, value: Expr, low: int, high: int, scale: int) -> int:
        declared = self.kind.steps.get(value.id) if isinstance(value, Ref) else None
        step = round(declared * 10**scale) if declared else -(-(high - low) // GRID)
        return max(step, -(-(high - low) // MAX_GRID), 1)

    def _measure(self, measure: Measure) -> str:
        for known in self.measures:
            if replace(known, name="") == measure:
                return known.name
        named = replace(measure, name=f"m{len(self.measures)}")
        self.measures.append(named)
        return named.name

    def _draw(self, draw: Draw) -> int:
        if draw in self.draws:
            return self.draws.index(draw)
        self.draws.append(draw)
        return len(self.draws) - 1


def is_present(args: tuple[Expr, ...]) -> Expr | None:
    """Return the condition that no argument is null, or None if none can be."""
    tests = [
        Apply("isnotnull", (a,), DataType.BOOLEAN, nullable=False)
        for a in args
        if not (isinstance(a, Const) and a.value is not None)
    ]
    if not tests:
        return None
    result: Expr = tests[0]
    for test in tests[1:]:
        result = Apply("and", (result, test), DataType.BOOLEAN, nullable=False)
    return result


def is_number(value: Expr) -> Expr:
    """Return the condition that a row counts in an average: neither null nor NaN."""
    present: Expr = Apply("isnotnull", (value,), DataType.BOOLEAN, nullable=False)
    if value.type is not DataType.DOUBLE:
        return present
    nan = Apply("isnan", (value,), DataType.BOOLEAN, nullable=False)
    real = Apply("not", (nan,), DataType.BOOLEAN, nullable=False)
    return Apply("and", (present, real), DataType.BOOLEAN, nullable=False)
