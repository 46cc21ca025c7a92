"""Exact bounded integers in, a noisy release out.

The only place where an exact value and a noise draw meet. What leaves is a `Release`: sorted rows
of keys, values and 95 % half-widths, and the parameters from which an accountant recomputes the
charge. Nothing here reads a clock, a file or a row.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from privacy.dp.accuracy import gaussian_half_width, ratio_half_width, selection_rank_error
from privacy.dp.draw import Draw, Output, ReleasePlan
from privacy.dp.exact import Measure
from privacy.dp.mechanism import (
    LIBRARY,
    VERSIONS,
    add_gaussian,
    added,
    gaussian_scale,
    may_be_drawn_apart,
    select_largest,
    selection_scale,
    threshold,
)
from privacy.dp.types import DataType, Value

Key = tuple[Value, ...]
Parameters = dict[str, str | int]

TWO_PARTS = 1 - 0.05 / 2
THREE_PARTS = 1 - 0.05 / 3
SIDE_MISS = 0.025
"""Chance that one end of a quantile's interval is missed."""


@dataclass(frozen=True, slots=True)
class Exact:
    """An engine's answer to an `ExactQuery`: never leaves the gateway's process."""

    measures: Mapping[str, Mapping[Key, int]]
    """Per measure, per group present in the data, one integer."""
    histograms: Mapping[str, Mapping[Key, Sequence[tuple[int, int]]]]
    """Per histogram measure, per group, (bucket, rows)."""
    keys: Sequence[Key]
    """Groups present in the data."""


@dataclass(frozen=True, slots=True)
class Release:
    """A noisy answer, safe to store and to show."""

    keys: tuple[Key, ...]
    values: tuple[tuple[Value, ...], ...]
    """One tuple for each output column, in the order of `keys`."""
    half_widths: tuple[tuple[float | None, ...], ...]
    """95 % half-widths beside `values`; None where a value carries no interval."""
    parameters: tuple[Parameters, ...]
    """One record for each draw, and one for the threshold of open keys."""


@dataclass(frozen=True, slots=True)
class PricedDraw:
    """A draw with its share of the price turned into a noise scale."""

    draw: Draw
    micro_rho: int
    scale: float

    @classmethod
    def of(cls, draw: Draw, micro_rho: int) -> "PricedDraw":
        """Return the draw with the smallest scale that this charge certifies."""
        if draw.mechanism == "gaussian":
            return cls(draw, micro_rho, gaussian_scale(draw.squared_l2, micro_rho))
        sensitivity = math.isqrt(draw.squared_l2)
        return cls(draw, micro_rho, selection_scale(sensitivity, micro_rho, draw.cells_per_unit))

    @property
    def parameters(self) -> Parameters:
        """Return what an accountant needs to recompute the charge."""
        return {
            "mechanism": VERSIONS[self.draw.mechanism],
            "library": LIBRARY,
            "squared_sensitivity": str(self.draw.squared_l2),
            "cells_per_unit": self.draw.cells_per_unit,
            "scale": self.scale.hex(),
            "micro_rho": self.micro_rho,
        }


def price(plan: ReleasePlan, micro_rho: int) -> tuple[PricedDraw, ...]:
    """Split a release's charge evenly over its draws."""
    share = micro_rho // max(len(plan.draws), 1)
    return tuple(PricedDraw.of(d, share) for d in plan.draws)


def half_widths(plan: ReleasePlan, priced: Sequence[PricedDraw]) -> list[float | None]:
    """Return each output's 95 % half-width as far as public parameters tell it (`explain`)."""
    result: list[float | None] = []
    for output in plan.outputs:
        unit = 10.0**output.scale
        if output.form in ("integer", "fixed"):
            result.append(gaussian_half_width(priced[output.draws[0]].scale) / unit)
        else:
            result.append(None)
    return result


Gaussian = Callable[[Sequence[int], float], list[int]]
Select = Callable[[Sequence[int], float], int]


class Noising:
    """The noise of one release, of which all that needs no data is drawn at once.

    Gaussian noise does not depend on what it is added to, so for declared keys it can be drawn
    beside the engine's work. Open keys, quantiles and the widest noise draw when the exact values
    are there.
    """

    def __init__(
        self,
        plan: ReleasePlan,
        micro_rho: int,
        gaussian: Gaussian = add_gaussian,
        select: Select = select_largest,
    ) -> None:
        """Price the release at `micro_rho` in total, and draw for its declared keys."""
        self._plan, self._priced = plan, price(plan, micro_rho)
        self._gaussian, self._select = gaussian, select
        self._drawn = {
            index: gaussian([0] * len(plan.cells), item.scale)
            for index, item in enumerate(self._priced)
            if plan.cells is not None
            and item.draw.mechanism == "gaussian"
            and may_be_drawn_apart(item.scale)
        }
        self._is_used = False

    def __call__(self, exact: Exact) -> Release:
        """Return the answer, sorted by key; once, since noise used twice tells a difference."""
        if self._is_used:
            raise AssertionError("this noise was used for an answer before")
        self._is_used = True
        plan, parameters = self._plan, [p.parameters for p in self._priced]
        known: dict[int, list[int]] = {}
        if plan.cells is not None:
            keys = list(plan.cells)
        else:
            if plan.support is None:
                raise AssertionError("open keys always count their units")
            support = self._priced[plan.support]
            keys, known[plan.support] = _selected(plan, support, exact, self._gaussian, parameters)
        for index in range(len(self._priced)):
            if index not in known:
                known[index] = self._noised(index, keys, exact)
        values: list[tuple[Value, ...]] = []
        widths: list[tuple[float | None, ...]] = []
        for output in plan.outputs:
            column, width = _derived(output, [known[d] for d in output.draws], self._priced)
            values.append(tuple(_typed(v, output.column.type) for v in column))
            widths.append(tuple(width))
        return Release(tuple(keys), tuple(values), tuple(widths), tuple(parameters))

    def _noised(self, index: int, keys: Sequence[Key], exact: Exact) -> list[int]:
        item = self._priced[index]
        if item.draw.mechanism != "gaussian":
            (measure,) = (m for m in self._plan.exact.measures if m.name == item.draw.measure)
            found = exact.histograms[item.draw.measure]
            return [_quantile(item, measure, found.get(k, ()), self._select) for k in keys]
        counted = exact.measures[item.draw.measure]
        values = [counted.get(k, 0) for k in keys]
        drawn = self._drawn.get(index)
        return self._gaussian(values, item.scale) if drawn is None else added(values, drawn)


class WithoutNoise(Noising):
    """A release without noise, for conformance tests below the mechanism; never served."""

    def __init__(self, plan: ReleasePlan, micro_rho: int) -> None:
        """Price the release as if it were noised."""
        super().__init__(
            plan,
            micro_rho,
            lambda values, _: list(values),
            lambda scores, _: int(np.argmax(scores)),
        )


def release(plan: ReleasePlan, micro_rho: int, exact: Exact) -> Release:
    """Draw all noise of a release for `micro_rho` in total and return the answer, sorted by key."""
    return Noising(plan, micro_rho)(exact)


def _selected(
    plan: ReleasePlan,
    support: PricedDraw,
    exact: Exact,
    gaussian: Gaussian,
    parameters: list[Parameters],
) -> tuple[list[Key], list[int]]:
    """Keep the keys whose noised count of distinct units is strictly above the threshold."""
    groups = support.draw.squared_l2
    tau = threshold(support.scale, groups, plan.delta_1e12)
    candidates = sorted(exact.keys, key=lambda k: [(v is not None, v) for v in k])
    counted = exact.measures[support.draw.measure]
    noised = gaussian([counted[k] for k in candidates], support.scale)
    kept = [(k, n) for k, n in zip(candidates, noised, strict=True) if n > tau]
    parameters.append(
        {
            "mechanism": VERSIONS["threshold"],
            "threshold": tau,
            "groups_per_unit": groups,
            "scale": support.scale.hex(),
            "delta_1e12": plan.delta_1e12,
        }
    )
    return [k for k, _ in kept], [n for _, n in kept]


def _quantile(
    item: PricedDraw,
    measure: Measure,
    histogram: Sequence[tuple[int, int]],
    select: Select,
) -> int:
    """Return the chosen grid index: 0 … buckets, the lower edge of a bucket or the top."""
    p = item.draw.thousandths
    counts = np.zeros(measure.buckets + 1, dtype=np.int64)
    for bucket, rows in histogram:
        counts[bucket] += rows
    below = np.concatenate(([0], np.cumsum(counts)[:-1]))
    total = int(counts.sum())
    shift = 0
    if item.draw.side:
        error = selection_rank_error(item.scale, measure.buckets + 1, SIDE_MISS)
        shift = item.draw.side * math.ceil(error)
    # (1000 − p)·below − p·above, with above = total − below; the shift is public.
    scores = -np.abs(1000 * below - p * total - shift)
    return select(scores.tolist(), item.scale)


def _derived(
    output: Output, draws: list[list[int]], priced: Sequence[PricedDraw]
) -> tuple[list[float], list[float | None]]:
    unit = 10**output.scale
    scales = [priced[d].scale for d in output.draws]
    match output.form:
        case "integer":
            half = gaussian_half_width(scales[0])
            return list(draws[0]), [half] * len(draws[0])
        case "fixed":
            half = gaussian_half_width(scales[0]) / unit
            return [v / unit for v in draws[0]], [half] * len(draws[0])
        case "ratio":
            return _ratio(output, draws, scales, unit)
        case "quantile":
            return _bracketed(output, draws, unit)
        case _:
            return _variance(output, draws, scales, unit)


def _ratio(
    output: Output, draws: list[list[int]], scales: list[float], unit: int
) -> tuple[list[float], list[float | None]]:
    sum_half = gaussian_half_width(scales[0], TWO_PARTS)
    count_half = gaussian_half_width(scales[1], TWO_PARTS)
    values: list[float] = []
    widths: list[float | None] = []
    for total, count in zip(*draws, strict=True):
        ratio = total / max(count, 1)
        value = min(max(output.middle + ratio, output.low), output.high)
        half = ratio_half_width(
            value=ratio,
            count=count,
            sum_half=sum_half,
            count_half=count_half,
            low=output.low,
            high=output.high,
        )
        values.append(value / unit)
        widths.append(half / unit)
    return values, widths


def _variance(
    output: Output, draws: list[list[int]], scales: list[float], unit: int
) -> tuple[list[float], list[float | None]]:
    halves = [gaussian_half_width(s, THREE_PARTS) for s in scales]
    span = max(output.high - output.middle, output.middle - output.low)
    values: list[float] = []
    widths: list[float | None] = []
    for squares, total, count in zip(*draws, strict=True):
        n = max(count, 1)
        mean, mean_square = total / n, squares / n
        variance = min(max(mean_square - mean * mean, 0.0), float(span * span))
        if output.sample and n > 1:
            variance *= n / (n - 1)
        square_half = ratio_half_width(
            value=mean_square,
            count=count,
            sum_half=halves[0],
            count_half=halves[2],
            low=0,
            high=span * span,
        )
        mean_half = ratio_half_width(
            value=mean,
            count=count,
            sum_half=halves[1],
            count_half=halves[2],
            low=-span,
            high=span,
        )
        half = min(square_half + 2 * abs(mean) * mean_half + mean_half**2, float(span * span))
        if output.form == "deviation":
            root = math.sqrt(variance)
            lower = math.sqrt(max(variance - half, 0.0))
            values.append(root / unit)
            widths.append(max(root - lower, math.sqrt(variance + half) - root) / unit)
        else:
            values.append(variance / unit**2)
            widths.append(half / unit**2)
    return values, widths


def _bracketed(
    output: Output, draws: list[list[int]], unit: int
) -> tuple[list[float], list[float | None]]:
    def value(index: int) -> float:
        return min(output.low + index * output.step, output.high) / unit

    values = [value(i) for i in draws[0]]
    if len(draws) == 1:
        return values, [None] * len(values)
    # One grid step more on each side: the answer lies on the grid, the true quantile between
    # points.
    step = output.step / unit
    widths: list[float | None] = [
        max(values[i] - value(low), value(high) - values[i], 0.0) + step
        for i, (low, high) in enumerate(zip(draws[1], draws[2], strict=True))
    ]
    return values, widths


def _typed(value: float, kind: DataType) -> Value:
    return round(value) if kind.is_integral else float(value)
