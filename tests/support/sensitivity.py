"""The law behind every answer: removing one unit moves a release by no more than was claimed."""

import math
import random
from dataclasses import dataclass

import numpy as np

from privacy.dp.analysis import analyse
from privacy.dp.draw import ReleasePlan
from privacy.dp.exact import MeasureKind
from privacy.dp.release import Exact
from privacy.errors import Refusal
from tests.support.plans import PlanMaker, facts_of, random_world
from tests.support.reference import run


@dataclass(frozen=True)
class Violation:
    """A case in which one unit weighed more than the analysis claimed."""

    seed: int
    draw: int
    moved: int
    claimed: int


@dataclass(frozen=True)
class Outcome:
    """How many neighbours were compared, and what broke."""

    compared: int
    refused: int
    violations: tuple[Violation, ...]


def check(seed: int) -> Outcome:
    """Build the world and plan of `seed`, drop each unit in turn, and compare all draws' inputs."""
    rng = random.Random(seed)
    world = random_world(rng)
    plan = PlanMaker(rng).plan()
    cohorts = None if rng.random() < 0.8 else (2025,)
    try:
        program = analyse(plan, facts_of(world, cohorts))
    except Refusal:
        return Outcome(0, 1, ())
    broken: list[Violation] = []
    compared = 0
    for release in program.releases:
        full = run(release.exact, world)
        for unit in (1, 2, 3):
            less = run(release.exact, world.without_unit(unit))
            compared += 1
            broken += violations(seed, release, full, less)
    return Outcome(compared, 0, tuple(broken))


def violations(seed: int, plan: ReleasePlan, full: Exact, less: Exact) -> list[Violation]:
    """Return the draws whose input moves by more than claimed between two neighbours."""
    found: list[Violation] = []
    measures = {m.name: m for m in plan.exact.measures}
    keys = set(full.keys) | set(less.keys)
    for index, draw in enumerate(plan.draws):
        measure = measures[draw.measure]
        if measure.kind is not MeasureKind.HISTOGRAM:
            a, b = full.measures[draw.measure], less.measures[draw.measure]
            moved = sum((a.get(k, 0) - b.get(k, 0)) ** 2 for k in keys)
            if moved > draw.squared_l2:
                found.append(Violation(seed, index, moved, draw.squared_l2))
            continue
        touched = 0
        for key in keys:
            p = draw.thousandths
            scores = []
            for side in (full, less):
                counts = np.zeros(measure.buckets + 1, dtype=np.int64)
                for bucket, rows in side.histograms[draw.measure].get(key, ()):
                    counts[bucket] += rows
                below = np.concatenate(([0], np.cumsum(counts)[:-1]))
                scores.append(-np.abs(1000 * below - p * int(counts.sum())))
            moved = int(np.abs(scores[0] - scores[1]).max())
            touched += moved > 0
            if moved > math.isqrt(draw.squared_l2):
                found.append(Violation(seed, index, moved, math.isqrt(draw.squared_l2)))
        if touched > draw.cells_per_unit:
            found.append(Violation(seed, index, touched, draw.cells_per_unit))
    return found
