"""What an engine is asked to compute: exact, bounded integers for each group, and nothing else.

The analysis writes an `ExactQuery`; an engine runs it; the certificate checks it in between. All
clamps are part of the measure, so no engine can leave one out by optimising.
"""

from dataclasses import dataclass
from enum import StrEnum

from privacy.dp.plan import Column, Expr, Node


class MeasureKind(StrEnum):
    """What is counted in a group."""

    ROWS = "rows"
    UNITS = "units"
    SUM = "sum"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Measure:
    """One exact integer (or, for a histogram, one vector of integers) for each group.

    Fixed point: a DOUBLE v that is null or NaN contributes nothing; otherwise v·10**scale is
    clamped
    as a double to ±9e15, then floor(· + 0.5) is taken as a 64-bit integer, clamped to [low, high],
    reduced by `offset`, squared if `square`. An integral v is multiplied by 10**scale instead.
    """

    name: str
    """Output column, `m0`, `m1`, …"""
    kind: MeasureKind
    condition: Expr | None = None
    """Only rows where this is true count; None means all."""
    value: Expr | None = None
    scale: int = 0
    low: int = 0
    high: int = 0
    offset: int = 0
    square: bool = False
    step: int = 0
    """Histogram: bucket = (clamped − low) div step, in 0 … buckets − 1."""
    buckets: int = 0


@dataclass(frozen=True, slots=True)
class ExactQuery:
    """One aggregate over private rows, with every bound written out."""

    child: Node
    """The private plan below the aggregate."""
    keys: tuple[tuple[Column, Expr], ...]
    measures: tuple[Measure, ...]
    scan_limits: tuple[tuple[int, int], ...] = ()
    """For a private scan (named by the id of its first column) the largest rank that is read."""
    inner: tuple[tuple[int, Measure], ...] = ()
    """For aggregates inside per-unit groups of `child`: column id and its clamped measure."""
    unit_limit: int | None = None
    """At most this many rows of a unit right before the aggregate, lowest ranks first."""
    cohorts: tuple[int, ...] | None = None
    """Every private scan reads only units of these cohorts; None means all."""
    unit_columns: tuple[int, ...] = ()
    """Columns of `child` that are the raw unit id."""
