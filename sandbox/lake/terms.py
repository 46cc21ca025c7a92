"""A contract as values: what a table's owner attests of columns, domains and the protected unit."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from privacy.dp.facts import MAX_TEXT, ColumnFacts, TableFacts
from privacy.dp.types import DataType, Value


class UnitFormat(StrEnum):
    """How the ids of a protected unit are checked and brought to one form."""

    USCC = "uscc"
    """Unified social credit code, GB 32100-2015: 18 characters, two check characters."""
    OPAQUE = "opaque"
    """Any text of 1 to 64 printable characters, but no enterprise's code: it is a unit already."""


class Disposition(StrEnum):
    """What ingest does with a column."""

    KEEP = "keep"
    DROP = "drop"
    TOKENISE = "tokenise"


@dataclass(frozen=True, slots=True)
class DomainSource:
    """A key domain that is the set of values of a public table's column."""

    table: str
    column: str


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a contract."""

    name: str
    type: DataType
    required: bool
    grade: str
    description: str = ""
    unit: str = ""
    low: int | float | None = None
    high: int | float | None = None
    scale: int = 0
    max_length: int = MAX_TEXT
    """Characters of the longest text; a row with a longer one is quarantined."""
    domain: tuple[Value, ...] | DomainSource | None = None
    step: int | float | None = None
    disposition: Disposition = Disposition.KEEP
    source: str = ""
    """Name of the column in delivered files, in lower case."""
    unique: bool = False
    """Whether no two units should share a value; broken promises are reported, not acted on."""

    def fixed(self, bound: float) -> int:
        """Return a bound as the integer that the lake stores for it."""
        return round(bound * 10**self.scale) if self.type is DataType.DOUBLE else int(bound)

    @property
    def facts(self) -> ColumnFacts:
        """What an analysis may know of this column."""
        domain = None if isinstance(self.domain, DomainSource) else self.domain
        if domain is not self.domain:
            raise AssertionError(f"the domain of {self.name} was not resolved")
        low, high = self.low, self.high
        if domain and self.type.is_numeric and low is None:
            numbers = [v for v in domain if isinstance(v, int | float)]
            low, high = min(numbers), max(numbers)
        return ColumnFacts(
            name=self.name,
            type=self.type,
            nullable=not self.required,
            low=low,
            high=high,
            scale=self.scale,
            max_length=self.max_length,
            domain=domain,
            step=self.step,
            unit=self.unit,
            description=self.description,
            grade=self.grade,
        )


@dataclass(frozen=True, slots=True)
class Unit:
    """Whom the rows of a private table belong to."""

    domain: str
    column: str
    format: UnitFormat
    max_rows: int
    max_units: int

    def kind(self, type_: DataType) -> str:
        """Return how ids are brought to one form; all tables of a domain do it alike."""
        return "number" if type_.is_integral else self.format.value


@dataclass(frozen=True, slots=True)
class Contract:
    """A checked contract of one table."""

    table: str
    fields: tuple[Field, ...]
    unit: Unit | None
    """None: the table is public."""
    unique_keys: tuple[tuple[str, ...], ...]
    description: str
    document: str
    """The whole document as canonical JSON, kept with every version."""

    @property
    def stored(self) -> tuple[Field, ...]:
        """Columns that reach the lake, tokens included."""
        return tuple(f for f in self.fields if f.disposition is not Disposition.DROP)

    @property
    def digest(self) -> str:
        """SHA-256 over the document and the resolved domains."""
        domains = {f.name: f.domain for f in self.fields if isinstance(f.domain, tuple)}
        said = json.dumps([self.document, domains], ensure_ascii=False, sort_keys=True, default=str)
        return hashlib.sha256(said.encode()).hexdigest()

    @property
    def sources(self) -> frozenset[DomainSource]:
        """Public columns that domains are still to be taken from."""
        return frozenset(f.domain for f in self.fields if isinstance(f.domain, DomainSource))

    @property
    def lineage(self) -> str:
        """Whose rows these are, which no later version of the table changes."""
        if self.unit is None:
            return "public"
        kind = self.unit.kind(self.field(self.unit.column).type)
        return f"units of domain {self.unit.domain} by {kind} ids"

    def field(self, name: str) -> Field:
        """Return a column; KeyError if there is none."""
        return {f.name: f for f in self.fields}[name]

    def resolve(self, values: Callable[[DomainSource], tuple[Value, ...]]) -> "Contract":
        """Return the contract with every domain a list of values."""
        return replace(
            self,
            fields=tuple(
                replace(f, domain=values(f.domain)) if isinstance(f.domain, DomainSource) else f
                for f in self.fields
            ),
        )

    def facts(self, version: str, cohorts: tuple[int, ...]) -> TableFacts:
        """What an analysis may know of a version of this table."""
        unit = self.unit
        return TableFacts(
            name=self.table,
            version=version,
            columns=tuple(f.facts for f in self.fields if f.disposition is Disposition.KEEP),
            unit_domain=unit.domain if unit else None,
            unit_column=unit.column if unit else None,
            unique_keys=self.unique_keys,
            max_rows_per_unit=unit.max_rows if unit else None,
            max_units=unit.max_units if unit else None,
            cohorts=cohorts if unit else (),
            contract_digest=self.digest,
            description=self.description,
        )
