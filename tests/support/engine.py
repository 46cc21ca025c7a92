"""Small tables in the lake's layout, plans written by hand, and both engines over them."""

import datetime as dt
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from privacy.dp.exact import ExactQuery, Measure, MeasureKind
from privacy.dp.facts import ColumnFacts, TableFacts
from privacy.dp.plan import Column, Const, Expr, Node, Ref, Scan
from privacy.dp.types import DataType
from sandbox.engine.certificate import Claim
from sandbox.engine.run import ExactTable, TableSource

BOOLEAN, INTEGER, LONG, DOUBLE, STRING, DATE = (
    DataType.BOOLEAN,
    DataType.INTEGER,
    DataType.LONG,
    DataType.DOUBLE,
    DataType.STRING,
    DataType.DATE,
)

ARROW = {
    BOOLEAN: pa.bool_(),
    INTEGER: pa.int32(),
    LONG: pa.int64(),
    DOUBLE: pa.float64(),
    STRING: pa.string(),
    DATE: pa.date32(),
}

MONTHS = tuple(range(202501, 202513))
DISTRICTS = ("d1", "d2", "d3", "d4")
WIDE = 10**9
"""A claim that no small plan exceeds."""


def column(name: str, kind: DataType, **facts: Any) -> ColumnFacts:
    return ColumnFacts(name, kind, **facts)


TAX = TableFacts(
    name="tax",
    version="v1",
    columns=(
        column("uscc", STRING, nullable=False),
        column("period", INTEGER, nullable=False, domain=MONTHS),
        column("district", STRING, nullable=False, domain=DISTRICTS),
        column("amount", DOUBLE, low=0.0, high=1000.0, scale=2),
        column("staff", INTEGER, low=0, high=500),
        column("large", LONG, low=0, high=10**12),
        column("overdue", BOOLEAN),
        column("paid_on", DATE),
        column("note", STRING),
    ),
    unit_domain="enterprise",
    unit_column="uscc",
    unique_keys=(("uscc", "period"),),
    max_rows_per_unit=12,
    max_units=1_000_000,
    cohorts=(2020, 2021, 2022),
)

REGISTRATION = TableFacts(
    name="registration",
    version="v1",
    columns=(
        column("uscc", STRING, nullable=False),
        column("district", STRING, nullable=False, domain=DISTRICTS),
        column("capital", DOUBLE, low=0.0, high=5000.0, scale=2),
        column("founded", DATE),
    ),
    unit_domain="enterprise",
    unit_column="uscc",
    unique_keys=(("uscc",),),
    max_rows_per_unit=1,
    max_units=1_000_000,
    cohorts=(2020, 2021, 2022),
)

PENALTIES = TableFacts(
    name="penalties",
    version="v1",
    columns=(
        column("uscc", STRING, nullable=False),
        column("kind", STRING),
        column("fine", DOUBLE, low=0.0, high=100.0, scale=2),
    ),
    unit_domain="enterprise",
    unit_column="uscc",
    max_rows_per_unit=6,
    max_units=1_000_000,
    cohorts=(2020, 2021, 2022),
)

AREAS = TableFacts(
    name="areas",
    version="v1",
    columns=(
        column("code", STRING, nullable=False),
        column("region", STRING),
        column("weight", DOUBLE),
    ),
)

FACTS = {t.name: t for t in (TAX, REGISTRATION, PENALTIES, AREAS)}


def sample_rows(units: int = 40, seed: int = 7) -> dict[str, list[dict[str, Any]]]:
    """Return ordinary rows, nulls and odd values included, in no particular order."""
    chance = random.Random(seed)
    tax, registration, penalties = [], [], []
    for unit in range(1, units + 1):
        uscc = f"91{unit:016d}"
        home = chance.choice(DISTRICTS)
        for period in chance.sample(MONTHS, chance.randint(1, 12)):
            tax.append(  # noqa: PERF401
                {
                    "uscc": uscc,
                    "period": period,
                    "district": home if chance.random() < 0.8 else chance.choice(DISTRICTS),
                    "amount": None if chance.random() < 0.1 else round(chance.uniform(0, 1200), 2),
                    "staff": None if chance.random() < 0.1 else chance.randint(0, 600),
                    "large": chance.randint(0, 10**12),
                    "overdue": chance.choice([True, False, None]),
                    "paid_on": dt.date(2025, period % 100, chance.randint(1, 28)),
                    "note": chance.choice(["", " ", "税", "a%b", "O'Brien", None]),
                }
            )
        if chance.random() < 0.9:
            registration.append(
                {
                    "uscc": uscc,
                    "district": home,
                    "capital": None if chance.random() < 0.1 else round(chance.uniform(0, 6000), 2),
                    "founded": dt.date(chance.randint(1990, 2024), 2, 28),
                }
            )
        for _ in range(chance.choice([0, 0, 1, 2, 6])):
            penalties.append(  # noqa: PERF401
                {
                    "uscc": uscc,
                    "kind": chance.choice(["fine", "warning", None]),
                    "fine": chance.choice([None, 1.25, 99.99, 250.0]),
                }
            )
    areas = [
        {"code": "d1", "region": "north", "weight": 1.5},
        {"code": "d2", "region": "north", "weight": 2.0},
        {"code": "d2", "region": "south", "weight": None},
        {"code": "d4", "region": None, "weight": -0.0},
    ]
    rows = {"tax": tax, "registration": registration, "penalties": penalties, "areas": areas}
    for table in rows.values():
        chance.shuffle(table)
    return rows


def stored(facts: TableFacts, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows as the lake keeps them: surrogates, ranks, fixed-point doubles, clustered."""
    if not facts.is_private:
        return pa.table(
            {c.name: pa.array([r[c.name] for r in rows], ARROW[c.type]) for c in facts.columns}
        )
    ranks: dict[str, Iterable[int]] = {}
    table: dict[str, list[Any]] = {n: [] for n in ("__unit", "__rank", "__cohort")}
    kept: list[tuple[int, int, Mapping[str, Any]]] = []
    for row in rows:
        uscc = str(row[facts.unit_column or ""])
        # An odd multiplier is a bijection: surrogates do not follow the order of ids.
        unit = int(uscc[-6:]) * 7919 % 1_000_003
        rank = next(iter(ranks.setdefault(uscc, count(1))))
        kept.append((unit, rank, row))
    kept.sort(key=lambda r: r[:2])
    table["__unit"] = [u for u, _, _ in kept]
    table["__rank"] = [r for _, r, _ in kept]
    table["__cohort"] = [2020 + u % 3 for u, _, _ in kept]
    arrays = {
        "__unit": pa.array(table["__unit"], pa.int64()),
        "__rank": pa.array(table["__rank"], pa.int32()),
        "__cohort": pa.array(table["__cohort"], pa.int32()),
    }
    for c in facts.columns:
        values = [r[c.name] for _, _, r in kept]
        if c.type is DOUBLE:
            fixed = [None if v is None else math.floor(v * 10**c.scale + 0.5) for v in values]
            arrays[c.name] = pa.array(fixed, pa.int64())
        else:
            arrays[c.name] = pa.array(values, ARROW[c.type])
    return pa.table(arrays)


def write_lake(
    directory: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, TableSource]:
    """Write two Parquet files for each table; return them as the engines take them."""
    sources = {}
    for name, table_rows in rows.items():
        table = stored(FACTS[name], table_rows)
        half = table.num_rows // 2
        files = []
        for number, part in enumerate((table.slice(0, half), table.slice(half))):
            path = directory / f"{name}-{number}.parquet"
            pq.write_table(part, path)
            files.append(path)
        sources[name] = TableSource(FACTS[name], tuple(files))
    return sources


def write_plain(directory: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Write ordinary Parquet files, doubles as doubles; return their paths."""
    paths = {}
    for name, table_rows in rows.items():
        columns = {
            c.name: pa.array([r[c.name] for r in table_rows], ARROW[c.type])
            for c in FACTS[name].columns
        }
        paths[name] = str(directory / f"{name}-plain.parquet")
        pq.write_table(pa.table(columns), paths[name])
    return paths


_IDS = count(1)


@dataclass
class Scanned:
    """A scan with its columns at hand: `t["district"]` is a reference."""

    node: Scan
    columns: dict[str, Column] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Ref:
        c = self.columns[name]
        return Ref(c.id, c.type, c.nullable)


def scan(table: str, *names: str) -> Scanned:
    facts = FACTS[table]
    chosen = [facts.column(n) for n in names] if names else list(facts.columns)
    columns = tuple(Column(next(_IDS), c.name, c.type, c.nullable) for c in chosen)
    return Scanned(
        Scan(table, columns, tuple(c.name for c in chosen)), {c.name: c for c in columns}
    )


def new_column(name: str, kind: DataType) -> Column:
    return Column(next(_IDS), name, kind)


def ref(c: Column) -> Ref:
    return Ref(c.id, c.type, c.nullable)


def text(value: str) -> Const:
    return Const(value, STRING)


def number(value: int) -> Const:
    return Const(value, INTEGER)


def double(value: float) -> Const:
    return Const(value, DOUBLE)


def rows_measure(name: str = "m0", condition: Expr | None = None) -> Measure:
    return Measure(name, MeasureKind.ROWS, condition)


def units_measure(name: str = "m1", condition: Expr | None = None) -> Measure:
    return Measure(name, MeasureKind.UNITS, condition)


def sum_measure(name: str, value: Expr, **more: Any) -> Measure:
    bounds = {"scale": 2, "low": 0, "high": 100_000, **more}
    return Measure(name, MeasureKind.SUM, value=value, **bounds)


def wide_claim(query: ExactQuery, multiplicities: Mapping[int, int] | None = None) -> Claim:
    """Return a claim that holds of any bounded plan over the small tables."""
    measures = {
        m.name: (0, m.buckets - 1) if m.kind is MeasureKind.HISTOGRAM else (-(10**17), 10**17)
        for m in query.measures
    }
    return Claim(
        WIDE,
        WIDE,
        WIDE,
        measures,
        public_multiplicities=multiplicities or {},
        cohorts=query.cohorts,
    )


def limits(node: Node, tables: Mapping[str, TableFacts] = FACTS) -> tuple[tuple[int, int], ...]:
    """Return the rank limits that the analysis would set: each table's own maximum."""
    from privacy.dp.plan import walk  # noqa: PLC0415 - keeps the names above short

    found = []
    for n in walk(node):
        if isinstance(n, Scan) and tables[n.table].max_rows_per_unit is not None:
            found.append((n.columns[0].id, tables[n.table].max_rows_per_unit or 0))  # noqa: PERF401
    return tuple(found)


def as_mapping(table: pa.Table) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return cells or a histogram as keys to values, NaN made comparable."""
    names = [n for n in table.column_names if n.startswith("k") or n == "bucket"]
    others = [n for n in table.column_names if n not in names]
    keys = (
        list(zip(*(table.column(n).to_pylist() for n in names), strict=True))
        or [()] * table.num_rows
    )
    values = list(zip(*(table.column(n).to_pylist() for n in others), strict=True)) or [()] * len(
        keys
    )
    result = {tuple(map(_plain, k)): v for k, v in zip(keys, values, strict=True)}
    assert len(result) == table.num_rows, "a group occurs twice"
    return result


def same(a: ExactTable, b: ExactTable) -> bool:
    if as_mapping(a.cells) != as_mapping(b.cells) or a.histograms.keys() != b.histograms.keys():
        return False
    return a.cells.schema == b.cells.schema and all(
        as_mapping(a.histograms[n]) == as_mapping(b.histograms[n]) for n in a.histograms
    )


def _plain(value: Any) -> Any:
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def counts_by_district() -> ExactQuery:
    """Return the smallest question: rows of the tax table by district."""
    tax = scan("tax")
    key = (new_column("k", tax["district"].type), tax["district"])
    return ExactQuery(tax.node, (key,), (rows_measure(),), limits(tax.node))
