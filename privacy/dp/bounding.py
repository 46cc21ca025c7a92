"""From bounds on one unit's rows to the sensitivity of a released vector.

Source: soundness A.2. A unit has at most B rows; at most L∞ of them in one group; they lie in at
most L0 groups. The worst case fills q groups with L∞ rows and one more with the r that remain.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contribution:
    """How much of an aggregate one protected unit can be.

    >>> Contribution.of(rows=36, groups=None, rows_in_group=1)
    Contribution(rows=36, groups=36, rows_in_group=1)
    >>> Contribution.of(rows=20, groups=None, rows_in_group=None).squared_l2(1)
    400
    """

    rows: int
    """B: rows of one unit that reach the aggregate."""
    groups: int
    """L0: groups that hold rows of one unit."""
    rows_in_group: int
    """L∞: rows of one unit in one group."""

    def __post_init__(self) -> None:
        """Refuse bounds below one: nothing could be counted."""
        if min(self.rows, self.groups, self.rows_in_group) < 1:
            raise ValueError("contribution bounds are at least 1")

    @classmethod
    def of(cls, *, rows: int, groups: int | None, rows_in_group: int | None) -> "Contribution":
        """Return the bounds with the unproven ones replaced by B."""
        return cls(
            rows,
            rows if groups is None else min(groups, rows),
            rows if rows_in_group is None else min(rows_in_group, rows),
        )

    @property
    def reached(self) -> int:
        """Rows of one unit that can count at all: min(B, L0·L∞)."""
        return min(self.rows, self.groups * self.rows_in_group)

    def squared_l2(self, magnitude: int) -> int:
        """Return the exact square of the L2 sensitivity when each row adds at most `magnitude`."""
        full, rest = divmod(self.reached, self.rows_in_group)
        return magnitude * magnitude * (full * self.rows_in_group**2 + rest**2)

    def l1(self, magnitude: int) -> int:
        """Return the L1 sensitivity when each row adds at most `magnitude`."""
        return magnitude * self.reached

    @property
    def units_squared_l2(self) -> int:
        """Square of the L2 sensitivity of a count of distinct units: one for each group touched."""
        return min(self.groups, self.rows)


def root_up(square: int) -> float:
    """Return a double that is at least the square root of `square`.

    >>> root_up(36), root_up(2) ** 2 >= 2
    (6.0, True)
    """
    estimate = math.sqrt(square)
    while not _at_least(estimate, square):
        estimate = math.nextafter(estimate, math.inf)
    return estimate


def _at_least(estimate: float, square: int) -> bool:
    numerator, denominator = estimate.as_integer_ratio()
    return numerator * numerator >= square * denominator * denominator
