"""Soundness H: one unit, dropped everywhere, moves no release by more than was claimed."""

import os
import subprocess
import sys

from tests.support.mutants import ROOT
from tests.support.sensitivity import check

FULL = os.environ.get("LAB_FULL") == "1"
WORLDS = 40_000 if FULL else 2_000
"""Random (world, plan) pairs; each is compared with three neighbours."""


def test_no_unit_moves_a_release_by_more_than_its_sensitivity() -> None:
    outcomes = [check(seed) for seed in range(WORLDS)]
    compared = sum(o.compared for o in outcomes)
    print(f"{compared} neighbours compared, {sum(o.refused for o in outcomes)} plans refused")
    assert [v for o in outcomes for v in o.violations] == []
    assert compared > 2 * WORLDS


def test_every_planted_mistake_in_the_analysis_breaks_the_law() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.mutants"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert int(ended.stdout.splitlines()[-1].split()[0]) >= 30
