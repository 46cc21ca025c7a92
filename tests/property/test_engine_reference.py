"""Random plans over random worlds: DuckDB equals a slow interpreter, and every claim is certified.

The interpreter (`tests.support.reference`) shares no code with the compiler; the analysis that
makes
the claims shares none with the certificate. Spark runs a few of the same plans.
"""

import random
import shutil
from typing import Any

import pytest

from privacy.dp.analysis import analyse
from privacy.dp.draw import ReleasePlan
from privacy.dp.plan import DistinctOn, walk
from privacy.dp.release import Exact
from privacy.errors import Refusal
from sandbox.engine.duckdb import DuckDbEngine
from sandbox.engine.room import claim_of
from tests.support import reference
from tests.support.engine import same
from tests.support.engine_room import database, room, spark_engine
from tests.support.plans import PlanMaker, facts_of, random_world
from tests.support.reference import World
from tests.support.stored import stored_world


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
