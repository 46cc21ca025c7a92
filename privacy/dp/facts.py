"""Public facts: all that an analysis may know. No row count or histogram can be said here.

Everything comes from a table's contract (attested by its owner with a basis) or from frozen public
tables. That limits, engine, price, denial and `explain` depend on nothing else is kept by the type:
functions that decide take a `PublicFacts` and have no other source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from privacy.dp.plan import Node
from privacy.dp.types import DataType, Value

MAX_TEXT = 1_000
"""Characters of the longest text of a column whose contract says nothing."""

MAX_CELLS = 200_000
"""Cells of one answer: groups times aggregates (design §4.5); longer lists are read nowhere."""

MAX_ROWS_PER_UNIT = 4096
"""Rows that joins and unions may make of one unit. Without it one unit could decide, by the rows
that it explodes into, whether a run ends at all."""

MAX_UNIT_ID = 64
"""Characters of the longest id of a protected unit."""


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """What a contract says of one column."""

    name: str
    type: DataType
    nullable: bool = True
    low: float | int | None = None
    """Smallest value the contract admits, in the column's own unit; values below are clamped."""
    high: float | int | None = None
    scale: int = 0
    """Decimal digits kept: the lake stores a DOUBLE as the integer `round(value * 10**scale)`."""
    max_length: int = MAX_TEXT
    """Characters of the longest text that ingest lets through."""
    domain: tuple[Value, ...] | None = None
    """All values that ingest lets through, in key order; None means open."""
    step: float | int | None = None
    """Grid of quantile answers, in the column's own unit; None means (high − low) / 10 000."""
    unit: str = ""
    """Unit of measure, such as `元`, `万元`, `kWh`."""
    description: str = ""
    grade: str = "G1"


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What a contract says of one table."""

    name: str
    version: str
    """Identity of the stored data version."""
    columns: tuple[ColumnFacts, ...]
    unit_domain: str | None = None
    """Domain of the protected unit, such as `enterprise`; None means the table is public."""
    unit_column: str | None = None
    unique_keys: tuple[tuple[str, ...], ...] = ()
    """Each contains the unit column; its columns are never null (asserted at ingest)."""
    max_rows_per_unit: int | None = None
    max_units: int | None = None
    """Public cap on units of the whole domain, for the overflow proof and the total delta."""
    cohorts: tuple[int, ...] = ()
    """Epochs (calendar years) in which units of this version were first seen in the domain."""
    contract_digest: str = ""
    description: str = ""

    @property
    def is_private(self) -> bool:
        """Whether rows belong to protected units."""
        return self.unit_domain is not None

    def column(self, name: str) -> ColumnFacts:
        """Return the facts of a column; KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


class PublicData(Protocol):
    """Exact answers about public relations (frozen public tables and the client's own frames)."""

    def settled(self, node: Node) -> Node:
        """Return a public plan of the same columns whose rows are decided from here on.

        What is counted of it here is then true of the rows that an engine will read.
        """
        ...

    def distinct(
        self, node: Node, column_ids: tuple[int, ...], most: int
    ) -> tuple[tuple[Value, ...], ...] | None:
        """Return the distinct tuples of these columns of a public plan, sorted, nulls first.

        None if there are more than `most`.
        """
        ...

    def extremes(self, node: Node, column_id: int) -> tuple[float, float] | None:
        """Return the smallest and the largest finite number of a column; None without any."""
        ...

    def longest(self, node: Node, column_id: int) -> int:
        """Return the number of characters of a column's longest text; 0 without any."""
        ...

    def multiplicity(self, node: Node, column_ids: tuple[int, ...]) -> int:
        """Return the largest number of rows of a public plan that share these columns' values."""
        ...

    def evaluate(self, node: Node) -> tuple[tuple[Value, ...], ...]:
        """Return all rows of a small public plan, in order."""
        ...


@dataclass(frozen=True, slots=True)
class PublicFacts:
    """The whole input of an analysis besides the question."""

    tables: Mapping[str, TableFacts]
    data: PublicData = field(repr=False)
    cohorts: tuple[int, ...] | None = None
    """Cohorts that the question is restricted to (`lab.cohorts`); None means all."""
