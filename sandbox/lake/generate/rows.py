"""What all tables are built with: a part of the city, its window of months, and column makers."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pyarrow as pa

from sandbox.lake.generate.city import TODAY, Array, City
from sandbox.lake.generate.reference import DISTRICTS, INDUSTRIES

MONTHS = 36
"""Length of the declared window of periods: 202307 to 202606."""

DIVISION_CODES = np.array([code for code, _, _ in INDUSTRIES])
SECTION_OF_DIVISION = np.array([section for _, _, section in INDUSTRIES])
DISTRICT_CODES = np.array([code for code, *_ in DISTRICTS])

_LAST_MONTH = TODAY.astype("datetime64[M]") - 1


@dataclass(frozen=True, slots=True)
class Part:
    """Some enterprises, and the random streams that belong to them and to nothing else."""

    city: City
    number: int
    seed: int
    months: int = MONTHS
    full: bool = False
    """Whether metered tables cover all utilities and months, instead of two and twelve."""

    def random(self, table: str) -> np.random.Generator:
        """Return the stream of one table; which other tables are made does not change it."""
        return np.random.default_rng([self.seed, crc32(table.encode()), self.number])

    def __len__(self) -> int:
        return len(self.city)


@dataclass(frozen=True, slots=True)
class MonthlyRows:
    """One row for each enterprise and month in which it existed, enterprise by enterprise."""

    firm: Array
    """Index into the part."""
    ago: Array
    """Months before the last one of the window."""
    month: Array
    """datetime64[M]."""

    @property
    def periods(self) -> pa.Array:
        """The months as yyyyMM."""
        return pa.array(yyyymm(self.month), pa.int32())

    @property
    def last_days(self) -> Array:
        """The last day of each month."""
        return (self.month + 1).astype("datetime64[D]") - 1

    def keep(self, mask: Array) -> "MonthlyRows":
        """Return the rows where `mask` holds."""
        return MonthlyRows(self.firm[mask], self.ago[mask], self.month[mask])


def monthly_rows(part: Part, months: int | None = None) -> MonthlyRows:
    """Return a row for every month since the later of establishment and the window's start."""
    length = months or part.months
    born = (_LAST_MONTH - part.city.established.astype("datetime64[M]")).astype(int)
    lasting = np.minimum(born + 1, length).clip(0)
    firm = np.repeat(np.arange(len(part)), lasting)
    first = np.repeat(np.cumsum(lasting) - lasting, lasting)
    ago = np.repeat(lasting, lasting) - 1 - (np.arange(len(firm)) - first)
    return MonthlyRows(firm, ago, _LAST_MONTH - ago)


def yyyymm(months: Array) -> Array:
    """Return months as integers such as 202606."""
    count = months.astype("datetime64[M]").astype(np.int64)
    return np.asarray((1970 + count // 12) * 100 + count % 12 + 1, dtype=np.int32)


def codes(part: Part, firm: Array) -> pa.Array:
    """Return the social credit code of each row's enterprise."""
    return pa.array(part.city.uscc.astype("U18"), pa.string()).take(pa.array(firm))


def chosen(words: Sequence[str] | Array, index: Array) -> pa.Array:
    """Return words by index."""
    return pa.array(words, pa.string()).take(pa.array(index))


def dates(days: Array) -> pa.Array:
    """Return days as dates."""
    return pa.array(days.astype("datetime64[D]"), pa.date32())


def integers(values: Array) -> pa.Array:
    """Return whole numbers as 32-bit integers."""
    return pa.array(np.rint(values).astype(np.int32), pa.int32())


def money(values: Array) -> pa.Array:
    """Return amounts rounded to two decimals."""
    return pa.array(np.round(values, 2), pa.float64())


def flags(values: Array) -> pa.Array:
    """Return booleans."""
    return pa.array(values.astype(bool), pa.bool_())


def numbered(prefix: str, part: Part, count: int) -> pa.Array:
    """Return document numbers that are unique in the whole city."""
    return pa.array([f"{prefix}{part.number:05d}{i:07d}" for i in range(count)], pa.string())


def event_days(part: Part, firm: Array, years: float, draw: np.random.Generator) -> Array:
    """Return a day for each row, within the last `years` and not before its enterprise began."""
    age = (TODAY - part.city.established[firm]).astype(int)
    span = np.minimum(age, int(years * 365.25)).clip(1)
    ago = np.ceil(draw.random(len(firm)) * span)
    return np.asarray(TODAY - ago.astype("timedelta64[D]"))


def later(days: Array, draw: np.random.Generator, least: int, below: int) -> Array:
    """Return days that follow `days` by at least `least` and less than `below` days."""
    return np.asarray(days + draw.integers(least, below, len(days)).astype("timedelta64[D]"))


def provenance(department: str, valid: Array, known: Array) -> dict[str, pa.Array]:
    """Return the four columns that end every table: valid and known days, source, batch."""
    batches, index = np.unique(yyyymm(known), return_inverse=True)
    return {
        "data_date": dates(valid),
        "known_date": dates(known),
        "source_dept": pa.repeat(pa.scalar(department), len(valid)),
        "batch_id": chosen([f"B{batch}" for batch in batches], index),
    }
