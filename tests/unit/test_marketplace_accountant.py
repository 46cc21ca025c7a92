"""The accountant's own formulas against the library that draws the noise."""

import pytest

from marketplace.budgets.accountant import UnknownMechanismError, cost, threshold_delta
from privacy.dp.mechanism import (
    VERSIONS,
    gaussian_scale,
    selection_scale,
    threshold,
)
from privacy.dp.mechanism import threshold_delta as claimed_delta

GAUSSIAN, NOISY_MAX = VERSIONS["gaussian"], VERSIONS["noisy_max"]


def draw(mechanism: str, squared: int, scale: float, cells: int = 1) -> dict[str, object]:
    return {
        "mechanism": mechanism,
        "squared_sensitivity": str(squared),
        "cells_per_unit": cells,
        "scale": scale.hex(),
    }


@pytest.mark.parametrize("squared", [1, 2, 36, 10**6, 3 * 10**17])
@pytest.mark.parametrize("micro_rho", [1, 50, 3_953, 10**6])
def test_gaussian_noise_costs_what_was_paid_and_not_much_less(squared: int, micro_rho: int) -> None:
    paid, delta = cost([draw(GAUSSIAN, squared, gaussian_scale(squared, micro_rho))])
    assert micro_rho * (1 - 1e-6) <= paid <= micro_rho * (1 + 1e-9)
    assert delta == 0


@pytest.mark.parametrize("cells", [1, 12])
@pytest.mark.parametrize("micro_rho", [50, 3_953, 10**6])
def test_a_choice_costs_what_was_paid_and_not_much_less(cells: int, micro_rho: int) -> None:
    scale = selection_scale(500, micro_rho, cells)
    paid, _ = cost([draw(NOISY_MAX, 500**2, scale, cells)])
    assert micro_rho * (1 - 1e-6) <= paid <= micro_rho * (1 + 1e-9)


@pytest.mark.parametrize("scale", [1.5, 8.0, 116.4, 900.0])
@pytest.mark.parametrize("groups", [1, 12])
def test_a_threshold_costs_no_more_delta_than_was_paid(scale: float, groups: int) -> None:
    tau = threshold(scale, groups, 10)
    assert threshold_delta(tau, scale, groups) <= 10e-12
    assert threshold_delta(tau - 1, scale, groups) > 10e-12
    assert threshold_delta(tau, scale, groups) == pytest.approx(claimed_delta(tau, scale, groups))


def test_all_draws_of_a_release_add_up() -> None:
    one = draw(GAUSSIAN, 1, gaussian_scale(1, 500))
    keys = {
        "mechanism": VERSIONS["threshold"],
        "threshold": threshold(8.0, 2, 10),
        "groups_per_unit": 2,
        "scale": (8.0).hex(),
    }
    paid, delta = cost([one, one, keys])
    assert paid == pytest.approx(1000, rel=1e-6)
    assert 1 < delta <= 10


@pytest.mark.parametrize(
    "draws",
    [
        [],
        [{"mechanism": "discrete-laplace/1"}],
        [{"mechanism": GAUSSIAN}],
        [draw(GAUSSIAN, 1, 0.0)],
        [draw(GAUSSIAN, 1, float("inf"))],
        [{"scale": "0x1p0"}],
        ["not a draw"],
    ],
    ids=[
        "no noise at all",
        "an unknown mechanism",
        "no parameters",
        "no scale",
        "an endless scale",
        "no name",
        "not a draw",
    ],
)
def test_the_accountant_does_not_vouch_for(draws: list[dict[str, object]]) -> None:
    with pytest.raises(UnknownMechanismError):
        cost(draws)
