"""What a release will draw, as data: mechanisms' uses, answer columns, and their price."""

from dataclasses import dataclass

from privacy.dp.bounding import Contribution
from privacy.dp.budget import Budget
from privacy.dp.exact import ExactQuery
from privacy.dp.plan import Column, Node
from privacy.dp.types import Value
from privacy.errors import Refusal

SELECTION_DELTA_1E12 = 10
"""delta of one open-key selection, in 1e-12."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One use of a mechanism over all cells of a release."""

    measure: str
    mechanism: str
    """`gaussian` or `noisy_max`."""
    squared_l2: int
    """Gaussian: square of the L2 sensitivity. Noisy max: square of the score's sensitivity."""
    cells_per_unit: int = 1
    """Noisy max: cells that one unit can touch, each of which is charged."""
    thousandths: int = 500
    """Noisy max: the wished quantile."""
    side: int = 0
    """Noisy max: −1 and +1 are the draws that bound the answer from below and above."""


@dataclass(frozen=True, slots=True)
class Output:
    """How one answer column is made of draws."""

    column: Column
    form: str
    """`integer`, `fixed`, `ratio`, `variance`, `deviation` or `quantile`."""
    draws: tuple[int, ...]
    scale: int = 0
    middle: int = 0
    """Ratio and variance: the fixed-point value subtracted from each row's value."""
    low: int = 0
    high: int = 0
    step: int = 0
    sample: bool = False
    """Variance: divide by n − 1 instead of n."""


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """One aggregate over private rows, ready to be priced, run, noised and recorded."""

    digest: str
    domain: str
    tables: tuple[str, ...]
    cohorts: tuple[int, ...]
    exact: ExactQuery
    contribution: Contribution
    keys: tuple[Column, ...]
    cells: tuple[tuple[Value, ...], ...] | None
    """All key tuples that are answered; None when keys are open and pass a threshold."""
    outputs: tuple[Output, ...]
    draws: tuple[Draw, ...]
    support: int | None
    """Open keys: the draw that counts distinct units and is compared with the threshold."""
    notes: tuple[str, ...] = ()
    multiplicities: tuple[tuple[int, int], ...] = ()
    """For the public side of each join (by its first column): rows that one private row meets."""
    most_rows: int = 1
    """Rows that any step below the aggregate can make of one unit: how much work there may be."""

    @property
    def delta_1e12(self) -> int:
        """Return the delta of the key selection, zero for declared keys."""
        return SELECTION_DELTA_1E12 if self.cells is None else 0


@dataclass(frozen=True, slots=True)
class Program:
    """A whole question: its releases, and the public plan above them."""

    releases: tuple[ReleasePlan, ...]
    plan: Node
    """Only public inputs: scans of public tables, frames, and `Local(release digest)`."""

    @property
    def draws(self) -> int:
        """Return the number of mechanism uses that share the price."""
        return sum(len(r.draws) for r in self.releases)


def costs(program: Program, micro_rho: int) -> tuple[Budget, ...]:
    """Split the price of the whole answer over its releases, each draw an equal share.

    Raise `Refusal(BAD_EPSILON)` when a share would fall below one micro-rho.
    """
    if not program.releases:
        return ()
    share = micro_rho // program.draws
    if share < 1:
        raise Refusal(
            "BAD_EPSILON",
            f"This epsilon buys {micro_rho} micro-rho, but the answer needs {program.draws} "
            "draws of at "
            "least 1 each. Raise epsilon or ask for fewer aggregates.",
            f"该 epsilon 对应 {micro_rho} micro-rho，而此回答需要 {program.draws} 次抽样，每次至"
            "少 1。"
            "请提高 epsilon 或减少聚合项。",
        )
    return tuple(Budget(share * len(r.draws), r.delta_1e12) for r in program.releases)
