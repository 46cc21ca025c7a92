"""Budgets as integers, and what epsilon means."""

import doctest
import math
from decimal import Decimal, localcontext

import opendp.prelude as opendp
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from privacy.dp import budget
from privacy.dp.budget import Budget, BudgetExceededError, epsilon_of, micro_rho_of

amounts = st.integers(0, 10**12)
budgets = st.builds(Budget, amounts, amounts)


def test_the_examples_of_the_module_are_true() -> None:
    assert doctest.testmod(budget).failed == 0


@given(rest=budgets, first=budgets, second=budgets)
def test_order_of_spending_does_not_matter(rest: Budget, first: Budget, second: Budget) -> None:
    total = rest + first + second
    assert (total - first) - second == (total - second) - first == total - (first + second) == rest


@given(total=budgets, cost=budgets)
def test_spending_never_leaves_less_than_nothing(total: Budget, cost: Budget) -> None:
    if total.covers(cost):
        assert (total - cost) + cost == total
    else:
        with pytest.raises(BudgetExceededError) as caught:
            total - cost
        assert (caught.value.cost, caught.value.left) == (cost, total)


def test_small_costs_are_never_rounded_away() -> None:
    left = Budget(10**15)
    for _ in range(1000):
        left = left - Budget(1)
    assert left == Budget(10**15 - 1000)


@pytest.mark.parametrize("bad", [-1, 0.5, True, "1", None])
def test_a_budget_holds_whole_numbers_only(bad: object) -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        Budget(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="whole numbers"):
        Budget(0, bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("micro_rho", [1, 10, 100, 3_953, 14_973, 100_000, 1_090_785, 20_000_000])
@pytest.mark.parametrize("delta_1e12", [1, 500, 1_000, 1_000_000])
def test_epsilon_is_that_of_an_independent_library(micro_rho: int, delta_1e12: int) -> None:
    """OpenDP searches the same proposition's orders in its own way."""
    opendp.enable_features("contrib")
    scale = 1000.0
    noise = opendp.m.make_gaussian(
        opendp.atom_domain(T=int), opendp.absolute_distance(T=float), scale=scale
    )
    sensitivity = math.sqrt(2 * micro_rho / 1e6) * scale
    profile = opendp.c.make_zCDP_to_approxDP(noise).map(sensitivity)
    theirs = profile.epsilon(delta_1e12 * 1e-12)
    assert epsilon_of(micro_rho, delta_1e12) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("micro_rho", [1, 50, 3_953, 14_973, 1_090_785, 20_000_000])
def test_epsilon_is_not_below_what_sixty_digits_give(micro_rho: int) -> None:
    stated, exact = Decimal(epsilon_of(micro_rho)), exact_epsilon(micro_rho)
    assert exact <= stated <= exact * (1 + Decimal("1e-9"))


def exact_epsilon(micro_rho: int) -> Decimal:
    """Minimise the proposition's bound over the order in decimal arithmetic."""
    with localcontext() as context:
        context.prec = 60
        rho, log_delta = Decimal(micro_rho) / 10**6, (Decimal(10) ** -9).ln()

        def bound(less: Decimal) -> Decimal:
            order = 1 + less
            tail = less * (less / order).ln() - order.ln() - log_delta
            return order * rho + tail / less

        low, high = Decimal("1e-6").ln(), Decimal("1e9").ln()
        for _ in range(220):
            third = (high - low) / 3
            if bound((low + third).exp()) <= bound((high - third).exp()):
                high -= third
            else:
                low += third
        return bound(low.exp())


@given(st.integers(0, 10**8))
def test_more_rho_is_more_epsilon(micro_rho: int) -> None:
    assert epsilon_of(micro_rho) < epsilon_of(micro_rho + 1 + micro_rho // 1000)


@given(st.integers(1, 10**8), st.integers(1, 10**6))
def test_less_delta_is_more_epsilon(micro_rho: int, delta: int) -> None:
    assert epsilon_of(micro_rho, delta) >= epsilon_of(micro_rho, delta + 1)


@given(st.floats(0.001, 100))
def test_a_price_is_the_largest_that_epsilon_buys(epsilon: float) -> None:
    price = micro_rho_of(epsilon)
    assert epsilon_of(price) <= epsilon < epsilon_of(price + 1)


@given(st.floats(0.01, 20), st.integers(2, 20))
def test_many_small_answers_are_never_cheaper_in_epsilon_than_their_sum(
    epsilon: float, times: int
) -> None:
    """Prices add up in rho; the epsilon of the sum is at most the sum of the epsilons."""
    assume(micro_rho_of(epsilon) > 0)
    assert epsilon_of(times * micro_rho_of(epsilon)) <= times * epsilon


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_only_positive_finite_epsilons_have_a_price(bad: float) -> None:
    with pytest.raises(ValueError, match="positive finite"):
        micro_rho_of(bad)


def test_nothing_costs_nothing_and_no_delta_means_no_bound() -> None:
    assert epsilon_of(0) == 0.0
    assert epsilon_of(1, 0) == math.inf
    assert micro_rho_of(1e-6) == 0
