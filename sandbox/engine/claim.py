"""What the analysis says of a plan, and the error when the compiled plan says otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass, field


class CertificateError(Exception):
    """The compiled plan does not keep what the analysis claimed. It must not run."""

    def __init__(self, what: str, *, computed: object = None, claimed: object = None) -> None:
        """Say which bound fails, with both numbers; all of them are public facts."""
        self.what, self.computed, self.claimed = what, computed, claimed
        numbers = "" if claimed is None else f": computed {computed}, claimed {claimed}"
        super().__init__(f"The compiled plan fails its certificate: {what}{numbers}.")


@dataclass(frozen=True, slots=True)
class Claim:
    """What the analysis derived its noise from. Larger numbers than needed are safe."""

    rows_per_unit: int
    """B at the final aggregate."""
    groups_per_unit: int
    """L0."""
    rows_per_group: int
    """L∞."""
    measures: Mapping[str, tuple[int, int]]
    """For each sum: the smallest and largest integer that one row adds. For a histogram: the first
    and last bucket. For counts: (0, 1)."""
    squared_l2: Mapping[str, int] = field(default_factory=dict)
    """For counts and sums: the square of the L2 sensitivity that the noise was made for."""
    public_multiplicities: Mapping[int, int] = field(default_factory=dict)
    """For the public side of each join (by its first column's id): F, from the frozen tables."""
    cells: int | None = None
    """Number of groups that are released whatever the data holds; None for open keys."""
    key_sizes: tuple[int | None, ...] = ()
    """With `cells`: for each key, how many values the released cells hold; None where unknown."""
    cohorts: tuple[int, ...] | None = None
    """Cohorts that are charged; None means all."""


def above(what: str, computed: object, claimed: object) -> CertificateError:
    """Return the error of a bound that lies above its claim; None is infinite."""
    infinite = "infinite" if computed is None else computed
    return CertificateError(what, computed=infinite, claimed=claimed)
