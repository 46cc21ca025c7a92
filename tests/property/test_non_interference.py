"""Soundness H: plan, price, denial and `explain` are the same with and without any one unit."""

import os
import random

from privacy.dp.analysis import analyse
from privacy.dp.draw import Program, costs
from privacy.errors import Refusal
from sandbox.gateway.explain import Priced, explain
from tests.support.plans import PlanMaker, facts_of, random_world
from tests.support.reference import World

PLANS = 100_000 if os.environ.get("LAB_FULL") == "1" else 2_000


def _told(seed: int, world: World) -> tuple[object, ...]:
    maker = PlanMaker(random.Random(seed))
    plan = maker.plan()
    try:
        program = analyse(plan, facts_of(world))
        prices = costs(program, 14_000)
    except Refusal as refusal:
        return (refusal.code, refusal.en, refusal.zh)
    shares = tuple(p.micro_rho for p in prices)
    return (program, prices, _explained(program, shares))


def _explained(program: Program, shares: tuple[int, ...]) -> str:
    priced = Priced("1", sum(shares), shares, "10", 1_000_000, 2.0, 10.0)
    return explain(program, priced, "duckdb", "en")


def test_nothing_that_is_told_before_the_answer_depends_on_one_unit() -> None:
    for seed in range(PLANS):
        world = random_world(random.Random(seed))
        unit = 1 + seed % 3
        assert _told(seed, world) == _told(seed, world.without_unit(unit)), seed
