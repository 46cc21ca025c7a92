"""Budgets: integer arithmetic, and an epsilon that means what it says."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from privacy.dp.budget import Budget, BudgetExceededError, epsilon_of, micro_rho_of

budgets = st.builds(Budget, st.integers(0, 10**9), st.integers(0, 10**6))


@given(total=budgets, first=budgets, second=budgets)
def test_order_of_spending_does_not_matter(total: Budget, first: Budget, second: Budget) -> None:
    assume(total.covers(first + second))
    assert (total - first) - second == (total - second) - first


@given(left=budgets, cost=budgets)
def test_what_does_not_fit_is_refused_with_both_numbers(left: Budget, cost: Budget) -> None:
    if left.covers(cost):
        assert (left - cost) + cost == left
    else:
        with pytest.raises(BudgetExceededError) as refused:
            _ = left - cost
        assert (refused.value.cost, refused.value.left) == (cost, left)


@pytest.mark.parametrize("bad", [-1, 1.0, True, None])
def test_a_budget_is_whole_numbers(bad: object) -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        Budget(bad)  # type: ignore[arg-type]


@given(st.floats(0.01, 50))
def test_an_epsilon_buys_the_largest_rho_that_keeps_it(epsilon: float) -> None:
    rho = micro_rho_of(epsilon)
    assert epsilon_of(rho) <= epsilon < epsilon_of(rho + 1)


@pytest.mark.parametrize("rho", [0.0001, 0.015, 0.5, 3.6])
@pytest.mark.parametrize("delta_1e12", [1, 1000, 10**9])
def test_the_conversion_is_valid_and_not_looser_than_the_simple_one(
    rho: float, delta_1e12: int
) -> None:
    epsilon = epsilon_of(round(rho * 1e6), delta_1e12)
    delta = delta_1e12 * 1e-12
    # Bun & Steinke 2016, Proposition 1.3: rho + 2·sqrt(rho·ln(1/delta)) is always valid.
    assert epsilon <= rho + 2 * math.sqrt(rho * math.log(1 / delta))
    # Exact for the Gaussian mechanism with this rho (Balle & Wang 2018, Theorem 8): any valid
    # conversion lies above the true curve.
    mu = math.sqrt(2 * rho)
    true_delta = _phi(mu / 2 - epsilon / mu) - math.exp(epsilon) * _phi(-mu / 2 - epsilon / mu)
    assert true_delta <= delta


def _phi(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_an_epsilon_that_means_nothing_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="positive finite"):
        micro_rho_of(bad)
