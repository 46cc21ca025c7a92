"""Noise: its scale is certified, its distribution is the one claimed, its thresholds are exact."""

import math

import pytest

from privacy.dp.bounding import Contribution, root_up
from privacy.dp.mechanism import (
    add_gaussian,
    added,
    gaussian_rho,
    gaussian_scale,
    gaussian_tail,
    select_largest,
    selection_rho,
    selection_scale,
    threshold,
    threshold_delta,
)


@pytest.mark.parametrize("squared", [1, 2, 36, 400, 10**12, 36 * 10**20])
@pytest.mark.parametrize("micro_rho", [1, 583, 3500, 1_000_000])
def test_the_scale_is_certified_for_the_charge_and_not_much_larger(
    squared: int, micro_rho: int
) -> None:
    scale = gaussian_scale(squared, micro_rho)
    assert gaussian_rho(scale, root_up(squared)) <= micro_rho / 1e6
    assert scale <= math.sqrt(squared / (2 * micro_rho / 1e6)) * (1 + 1e-9)


@pytest.mark.parametrize("cells", [1, 7])
def test_the_selections_of_one_unit_cost_at_most_the_charge_together(cells: int) -> None:
    scale = selection_scale(500, 1200, cells)
    assert cells * selection_rho(scale, 500) <= 1200 / 1e6


def test_the_noise_has_the_claimed_spread() -> None:
    # 20,000 draws: the sample variance of N(0, s²) is within 5 % but for a chance below 1e-6.
    scale = 30.0
    draws = add_gaussian([7] * 20_000, scale)
    mean = sum(draws) / len(draws)
    variance = sum((d - mean) ** 2 for d in draws) / len(draws)
    assert abs(mean - 7) < 5.5 * scale / math.sqrt(len(draws))
    assert abs(variance / scale**2 - 1) < 0.05


def test_noise_is_never_drawn_twice_alike() -> None:
    assert add_gaussian([0] * 64, 1e9) != add_gaussian([0] * 64, 1e9)


def test_sums_near_the_edge_do_not_wrap() -> None:
    # 2^62 is the analysis' limit; noise on top stays inside 64 bits and keeps its sign.
    assert min(add_gaussian([2**62] * 1000, 1e12)) > 0


def test_noise_drawn_apart_is_added_as_opendp_adds_it() -> None:
    top, bottom = 2**63 - 1, -(2**63)
    assert added([5, top, bottom], [-7, 1, -1]) == [-2, top, bottom]
    # OpenDP's own sums stop at the same ends.
    drawn = add_gaussian([top] * 64, 1e9) + add_gaussian([bottom] * 64, 1e9)
    assert top in drawn
    assert bottom in drawn


def test_the_largest_score_usually_wins_and_not_always() -> None:
    picks = [select_largest([0, 40, 0], 10.0) for _ in range(400)]
    assert 250 < picks.count(1) < 400


@pytest.mark.parametrize("scale", [0.7, 3.0, 71.7])
def test_the_tail_bound_is_close_above_the_true_tail(scale: float) -> None:
    wide = range(-4000, 4001)
    total = math.fsum(math.exp(-(z * z) / (2 * scale * scale)) for z in wide)
    for at in (0, 1, int(2 * scale), int(5 * scale)):
        true = math.fsum(math.exp(-(z * z) / (2 * scale * scale)) for z in wide if z >= at) / total
        assert true <= gaussian_tail(at, scale) <= true * (1 + 1e-6)


@pytest.mark.parametrize("scale", [1000.5, 40_000.0, 3e6])
def test_the_bound_of_wide_tails_is_above_the_sum_and_close(scale: float) -> None:
    # What the summed form says of a scale just below holds in units of the scale.
    for share in (0.01, 1, 4, 7, 9):
        near = gaussian_tail(int(share * 1000), 1000.0)
        wide = gaussian_tail(round(int(share * 1000) * scale / 1000), scale)
        assert near * 0.995 <= wide <= near * 1.01
    assert gaussian_tail(0, scale) == 1.0


def test_the_bound_of_wide_tails_covers_every_term() -> None:
    scale = 1001.0
    terms = {z: math.exp(-(z * z) / (2 * scale * scale)) for z in range(-12_000, 12_001)}
    total = math.fsum(terms.values())
    for at in (1, 2, 500, 1001, 3003, 7007):
        true = math.fsum(v for z, v in terms.items() if z >= at) / total
        assert true <= gaussian_tail(at, scale) <= true * 1.01


@pytest.mark.parametrize(
    ("scale", "groups", "delta"),
    [(11.9, 1, 10), (71.7, 36, 10), (3.0, 5, 1000), (45_254.8, 4096, 1), (3e6, 4096, 10)],
)
def test_the_threshold_is_the_smallest_that_keeps_delta(
    scale: float, groups: int, delta: int
) -> None:
    tau = threshold(scale, groups, delta)
    assert threshold_delta(tau, scale, groups) <= delta * 1e-12
    assert threshold_delta(tau - 1, scale, groups) > delta * 1e-12


def test_a_key_of_one_unit_passes_the_threshold_as_often_as_delta_says() -> None:
    # delta is set to 2 % here so that 60,000 lone keys in one release show it (attack B16).
    scale, delta = 5.0, 0.02
    tau = threshold(scale, 1, int(delta * 1e12))
    passed = sum(v > tau for v in add_gaussian([1] * 60_000, scale)) / 60_000
    claimed = threshold_delta(tau, scale, 1)
    assert passed <= claimed + 5 * math.sqrt(claimed / 60_000)
    assert passed >= claimed - 5 * math.sqrt(claimed / 60_000)


def test_group_bounds_alone_do_not_lower_the_sensitivity_of_rows() -> None:
    # Twenty rows may all fall into one district: 20·C, not √20·C (soundness A.2).
    assert Contribution.of(rows=20, groups=20, rows_in_group=20).squared_l2(1) == 400
    assert Contribution.of(rows=20, groups=20, rows_in_group=1).squared_l2(1) == 20
    assert Contribution.of(rows=5, groups=3, rows_in_group=2).squared_l2(3) == 9 * (4 + 4 + 1)
