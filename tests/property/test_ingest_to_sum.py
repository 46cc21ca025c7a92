"""From raw files to exact sums: one unit less, everywhere, moves no release by more than claimed.

This joins the two halves of the neighbour test (soundness H). Raw deliveries with duplicates, bad
rows, other spellings of an id and appended batches go through the real ingest into two lakes, one
of them without any row of one unit; the same checked plans run on both engines over both lakes; the
vectors are compared in the norm of the mechanism that would noise them. `LAB_FULL=1` runs more.
"""

import datetime as dt
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privacy.dp.analysis import analyse
from privacy.dp.draw import ReleasePlan
from privacy.dp.facts import PublicFacts, TableFacts
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.engine.duckdb import DuckDbEngine
from sandbox.engine.room import claim_of
from sandbox.engine.run import TableSource
from sandbox.lake.keys import KeyRing
from tests.support.engine_room import database, room, spark_engine
from tests.support.lake import SmallLake, column, contract, uscc
from tests.support.plans import OPEN, PRIVATE, PlanMaker, random_world
from tests.support.reference import COHORT, RANK, UNIT, PublicWorld, World
from tests.support.sensitivity import violations
from tests.support.stored import stored_world

FULL = os.environ.get("LAB_FULL") == "1"
WORLDS = 200 if FULL else 8
PLANS = 4
"""Plans over each pair of lakes; some are refused."""
UNITS = 3
KEYS = KeyRing(b"k" * 32, KeyRing.generate().identity)

TYPES = {
    DataType.STRING: "string/string",
    DataType.INTEGER: "integer/int",
    DataType.DOUBLE: "number/double",
}
ARROW = {
    DataType.STRING: pa.string(),
    DataType.INTEGER: pa.int64(),
    DataType.DOUBLE: pa.float64(),
}
SPELLINGS = (
    lambda code: code,
    lambda code: f" {code.lower()} ",
    lambda code: code.translate({i: i + 0xFEE0 for i in range(0x21, 0x7F)}),
)
DATES = {"data_date": dt.date(2026, 6, 30), "known_date": dt.date(2026, 7, 15)}

Raw = dict[str, list[tuple[int, dict[str, Any]]]]
"""Table to delivered rows, each with the unit that it names (0: nobody's)."""


def terms(name: str) -> Any:
    """Return the contract of a table of the random worlds."""
    facts = PRIVATE[name]
    columns = []
    for c in facts.columns:
        given: dict[str, Any] = {"low": c.low, "high": c.high, "scale": c.scale}
        known = {k: v for k, v in given.items() if v is not None and c.low is not None}
        if c.domain is not None:
            known = {"keyDomain": list(c.domain)}
        columns.append(column(c.name, TYPES[c.type], required=not c.nullable, **known))
    columns += [column(date, "date/date", required=True) for date in DATES]
    privacy = {
        "visibility": "private",
        "unitDomain": "enterprise",
        "unitColumns": [{"column": "u", "domain": "enterprise"}],
        "uniqueKeys": [list(key) for key in facts.unique_keys],
        "maxRowsPerUnit": facts.max_rows_per_unit,
        "maxUnits": facts.max_units,
        "basis": {"visibility": "statute", "maxRowsPerUnit": "a-priori", "maxUnits": "published"},
    }
    return contract(table=name, columns=columns, privacy=privacy)


def raw_of(world: World, rng: random.Random) -> Raw:
    """Return the world's rows as somebody would deliver them: with faults."""
    raw: Raw = {}
    for name in PRIVATE:
        rows = raw[name] = []
        for row in world.tables[name]:
            unit = row[UNIT]
            spelled = rng.choice(SPELLINGS)(uscc(unit))
            plain = {k: v for k, v in row.items() if k not in (UNIT, RANK, COHORT)}
            made = {**plain, "u": spelled, **DATES}
            rows += [(unit, made)] * rng.choice((1, 1, 1, 2))
            if rng.random() < 0.2:
                # The same key with other values: one of the two is stored, by rank.
                rows.append((unit, {**made, **{k: 2 for k in ("k", "n") if k in made}}))
            if rng.random() < 0.1:
                rows.append((0, {**made, "u": rng.choice((None, "not an id"))}))
        rng.shuffle(rows)
    return raw


def delivered(folder: Path, raw: Raw, gone: int | None, cut: float) -> SmallLake:
    """Ingest everything but one unit's rows, each table in two batches known in two years."""
    lake = SmallLake.at(folder, keys=KEYS)
    for name, rows in raw.items():
        fields = [(c.name, ARROW[c.type]) for c in PRIVATE[name].columns]
        schema = pa.schema([*fields, *((date, pa.date32()) for date in DATES)])
        split = int(len(rows) * cut)
        for number, part in enumerate((rows[:split], rows[split:])):
            kept = [row for unit, row in part if unit != gone]
            path = folder / f"{name}{number}.parquet"
            pq.write_table(pa.Table.from_pylist(kept, schema=schema), path)
            known = dt.date(2025 + number, 7, 15)
            lake.deliver(path, terms(name), f"batch{number}", append=True, as_known=known)
    return lake


def sources_of(lake: SmallLake, facts: Mapping[str, TableFacts]) -> dict[str, TableSource]:
    reader = lake.reader()
    return {name: TableSource(facts[name], reader.local_files(name)) for name in PRIVATE}


def plans_of(
    rng: random.Random, world: World, facts: Mapping[str, TableFacts]
) -> list[ReleasePlan]:
    found: list[ReleasePlan] = []
    for _ in range(PLANS):
        plan = PlanMaker(rng).plan()
        cohorts = None if rng.random() < 0.8 else (2025,)
        try:
            program = analyse(plan, PublicFacts({**facts, **OPEN}, PublicWorld(world), cohorts))
        except Refusal:
            continue
        found += program.releases
    return found


@pytest.mark.parametrize("seed", range(WORLDS))
def test_one_unit_less_in_the_raw_files_moves_no_sum_by_more_than_claimed(seed: int) -> None:
    rng = random.Random(seed)
    world = random_world(rng, UNITS)
    raw, cut = raw_of(world, rng), rng.random()
    folder = room() / f"sum-{seed}"
    public = stored_world(world, folder)
    whole = delivered(folder / "whole", raw, None, cut)
    facts = {name: whole.reader().table(name).facts for name in PRIVATE}
    plans = plans_of(rng, world, facts)
    gone = rng.randint(1, UNITS)
    less = delivered(folder / "less", raw, gone, cut)
    lakes = [{**public, **sources_of(lake, facts)} for lake in (whole, less)]
    compared = 0
    for plan in plans:
        claim = claim_of(plan)
        for engine in (DuckDbEngine(database()), spark_engine()):
            full, rest = (engine.run(plan.exact, lake, claim=claim).exact() for lake in lakes)
            assert violations(seed, plan, full, rest) == []
            compared += 1
    print(f"world {seed}: {compared} pairs compared")
    assert compared > 0
