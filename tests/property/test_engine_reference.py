"""Random plans over random worlds: DuckDB equals a slow interpreter, and every claim is certified.

The interpreter (`tests.support.reference`) shares no code with the compiler; the analysis that
makes
the claims shares none with the certificate. Spark runs a few of the same plans.
"""

import math
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privacy.dp.analysis import analyse
from privacy.dp.draw import ReleasePlan
from privacy.dp.plan import DistinctOn, walk
from privacy.dp.release import Exact
from privacy.errors import Refusal
from sandbox.engine.duckdb import DuckDbEngine
from sandbox.engine.room import claim_of
from sandbox.engine.run import TableSource
from tests.support import reference
from tests.support.engine import ARROW, DOUBLE, same
from tests.support.engine_room import database, room, spark_engine
from tests.support.plans import OPEN, PRIVATE, PlanMaker, facts_of, random_world
from tests.support.reference import COHORT, RANK, UNIT, World

HIDDEN = {UNIT: pa.int64(), RANK: pa.int32(), COHORT: pa.int32()}


def stored_world(world: World, directory: Path) -> dict[str, TableSource]:
    """Write a world in the lake's layout; its doubles become what the lake can hold."""
    directory.mkdir()
    sources = {}
    for name, facts in {**PRIVATE, **OPEN}.items():
        rows = world.tables[name]
        arrays = {
            k: pa.array([r[k] for r in rows], t) for k, t in HIDDEN.items() if facts.is_private
        }
        for column in facts.columns:
            values = [r[column.name] for r in rows]
            if facts.is_private and column.type is DOUBLE:
                fixed = [_fixed(v, column.scale) for v in values]
                for row, value in zip(rows, fixed, strict=True):
                    row[column.name] = None if value is None else value / 10**column.scale
                arrays[column.name] = pa.array(fixed, pa.int64())
            else:
                arrays[column.name] = pa.array(values, ARROW[column.type])
        path = directory / f"{name}.parquet"
        pq.write_table(pa.table(arrays), path)
        sources[name] = TableSource(facts, (path,))
    return sources


def _fixed(value: float | None, scale: int) -> int | None:
    if value is None or math.isnan(value):
        return None
    return math.floor(min(max(value * 10**scale, -9e15), 9e15) + 0.5)


def releases(seed: int) -> tuple[World, tuple[ReleasePlan, ...]]:
    rng = random.Random(seed)
    world = random_world(rng)
    plan = PlanMaker(rng).plan()
    cohorts = None if rng.random() < 0.8 else (2025,)
    try:
        return world, analyse(plan, facts_of(world, cohorts)).releases
    except Refusal:
        return world, ()


def order_is_free(plan: ReleasePlan) -> bool:
    """Whether the interpreter may keep other rows: its order of equal ranks is its own."""
    chosen = any(isinstance(n, DistinctOn) for n in walk(plan.exact.child))
    return chosen or plan.exact.unit_limit is not None


def comparable(exact: Exact) -> Any:
    histograms = {
        m: {k: list(v) for k, v in groups.items() if v} for m, groups in exact.histograms.items()
    }
    return exact.measures, histograms


@pytest.mark.parametrize("block", range(5))
def test_the_engine_equals_the_interpreter_and_every_claim_is_certified(block: int) -> None:
    compared = 0
    for seed in range(block * 40, block * 40 + 40):
        world, plans = releases(seed)
        directory = room() / f"world-{seed}"
        sources = stored_world(world, directory)
        for plan in plans:
            answer = DuckDbEngine(database()).run(plan.exact, sources, claim=claim_of(plan)).exact()
            if not order_is_free(plan):
                compared += 1
                assert comparable(answer) == comparable(reference.run(plan.exact, world)), seed
        shutil.rmtree(directory)
    assert compared > 15


def test_spark_gives_the_same_on_some_of_them() -> None:
    compared = 0
    for seed in range(1000, 1010):
        world, plans = releases(seed)
        sources = stored_world(world, room() / f"world-{seed}")
        for plan in plans:
            claim = claim_of(plan)
            embedded = DuckDbEngine(database()).run(plan.exact, sources, claim=claim)
            distributed = spark_engine().run(plan.exact, sources, claim=claim)
            assert same(embedded, distributed), seed
            compared += 1
    assert compared > 5
