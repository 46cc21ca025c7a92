"""Makes a city's files: Parquet, a part at a time, so that size costs time and not memory."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sandbox.lake.generate import faults
from sandbox.lake.generate.city import LIMIT, City, make_city
from sandbox.lake.generate.loans import RealLoansMissingError, loans_full_schema
from sandbox.lake.generate.market import market_regulation
from sandbox.lake.generate.rows import MONTHS, Part
from sandbox.lake.generate.tables import (
    CODE_LISTS,
    ENTERPRISE_TABLES,
    MARKET_REGULATION,
    REAL_LOANS,
    TABLES,
)

PART = 10_000
"""Enterprises made at a time. Part of the recipe: another size gives another city."""
_OPEN_PART = 500_000
FAULTS_FILE = "_faults.parquet"


@dataclass(frozen=True, slots=True)
class Order:
    """What to make."""

    enterprises: int
    seed: int
    out: Path
    months: int = MONTHS
    full: bool = False
    fault_rate: float = faults.DEFAULT_RATE
    open_rows: int = 100_000
    tables: tuple[str, ...] = TABLES


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one table is."""

    table: str
    done: float
    """Share, 0 to 1."""
    rows: int
    seconds: float


Report = Callable[[Progress], None]


class _File:
    """A Parquet file that appears under its name only when it is whole."""

    def __init__(self, path: Path) -> None:
        self._path, self._draft = path, path.with_name(path.name + ".part")
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    @classmethod
    @contextmanager
    def writing(cls, path: Path) -> Iterator[Self]:
        """Give a file to add to; a failure leaves nothing behind."""
        file = cls(path)
        try:
            yield file
            if file._writer is not None:
                file._writer.close()
                file._draft.replace(path)
        finally:
            file._draft.unlink(missing_ok=True)

    def add(self, rows: pa.Table) -> None:
        """Append rows."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._draft, rows.schema, compression="zstd")
        self._writer.write_table(rows)
        self.rows += rows.num_rows


def write_city(order: Order, report: Report) -> dict[str, int]:
    """Make all tables of `order` under `order.out`; return the rows of each.

    Real loans are left out where their package is missing, unless they were asked for by name.
    """
    order.out.mkdir(parents=True, exist_ok=True)
    city = make_city(order.enterprises, order.seed)
    counts: dict[str, int] = {}
    with _File.writing(order.out / FAULTS_FILE) as found:
        found.add(faults.SCHEMA.empty_table())
        for table in order.tables:
            try:
                counts[table] = _write_table(table, order, city, found, report)
            except RealLoansMissingError:
                if order.tables != TABLES:
                    raise
    return counts


def _write_table(table: str, order: Order, city: City, found: _File, report: Report) -> int:
    began = time.monotonic()
    with _File.writing(order.out / f"{table}.parquet") as file:
        for done, rows in _parts(table, order, city):
            if table in ENTERPRISE_TABLES:
                draw = np.random.default_rng([order.seed, 1, len(table), file.rows])
                spare = LIMIT - order.enterprises
                spoilt, planted = faults.plant(
                    table, rows, file.rows, order.fault_rate, draw, spare
                )
                found.add(planted)
                file.add(spoilt)
            else:
                file.add(rows)
            report(Progress(table, done, file.rows, time.monotonic() - began))
        return file.rows


def _parts(table: str, order: Order, city: City) -> Iterator[tuple[float, pa.Table]]:
    """Yield a table's rows a part at a time, each with the share done after it."""
    if table in CODE_LISTS:
        yield 1.0, CODE_LISTS[table]()
    elif table == REAL_LOANS:
        yield 1.0, loans_full_schema()
    elif table == MARKET_REGULATION:
        for number, first in enumerate(range(0, max(order.open_rows, 1), _OPEN_PART)):
            count = min(_OPEN_PART, order.open_rows - first)
            draw = np.random.default_rng([order.seed, 2, number])
            yield (first + count) / max(order.open_rows, 1), market_regulation(first, count, draw)
    else:
        for number, first in enumerate(range(0, len(city), PART)):
            stop = min(first + PART, len(city))
            part = Part(city.part(first, stop), number, order.seed, order.months, order.full)
            yield stop / len(city), ENTERPRISE_TABLES[table](part)
