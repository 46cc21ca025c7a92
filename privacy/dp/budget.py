"""Privacy budgets as values: how much loss is allowed, how losses add up, and what epsilon means.

A loss is (rho, delta): rho-zCDP with slack delta. Both are integers, so that adding never rounds
(attack F10). Epsilon is only a way of speaking: `epsilon_of` says which (epsilon, delta) guarantee
a rho gives, `micro_rho_of` how much rho an epsilon buys. The one stated map (soundness B.20): an
answer asked at epsilon costs the largest rho whose guarantee at delta 1e-9 is at most epsilon.

Source: Canonne, Kamath & Steinke, *The Discrete Gaussian for Differential Privacy* (2020),
Proposition 12: rho-zCDP gives (epsilon, delta) with
delta = exp((a − 1)(a·rho − epsilon)) / (a − 1) · (1 − 1/a)^a for every a > 1.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

MICRO = 1_000_000
ANSWER_DELTA_1E12 = 1_000
"""delta at which an answer's epsilon is stated: 1e-9."""


class BudgetExceededError(Exception):
    """A release would cost more privacy loss than is left."""

    def __init__(self, *, cost: "Budget", left: "Budget") -> None:
        """Keep the facts for callers; speak plainly to people."""
        self.cost, self.left = cost, left
        super().__init__(
            f"This costs {cost.micro_rho} micro-rho and {cost.delta_1e12}e-12 delta, but "
            f"{left.micro_rho} and {left.delta_1e12}e-12 are left. Ask for fewer columns or "
            "groups, accept more noise, or ask the data owner."
        )


@dataclass(frozen=True, slots=True)
class Budget:
    """A zCDP loss with slack: what may still be lost, or what a release costs.

    >>> Budget(1_000_000) - Budget(400_000)
    Budget(micro_rho=600000, delta_1e12=0)
    """

    micro_rho: int
    """rho in millionths, at least 0."""
    delta_1e12: int = 0
    """delta in units of 1e-12, at least 0."""

    def __post_init__(self) -> None:
        """Refuse anything but non-negative whole numbers: a caller's mistake."""
        for part in (self.micro_rho, self.delta_1e12):
            if type(part) is not int or part < 0:
                raise ValueError("a budget holds whole numbers of at least 0")

    def covers(self, cost: Self) -> bool:
        """Return whether `cost` fits into this budget."""
        return cost.micro_rho <= self.micro_rho and cost.delta_1e12 <= self.delta_1e12

    def __add__(self, other: Self) -> "Budget":
        """Return the loss of both releases together."""
        return Budget(self.micro_rho + other.micro_rho, self.delta_1e12 + other.delta_1e12)

    def __sub__(self, cost: Self) -> "Budget":
        """Return what is left after `cost`; raise `BudgetExceededError` if it does not fit."""
        if not self.covers(cost):
            raise BudgetExceededError(cost=cost, left=self)
        return Budget(self.micro_rho - cost.micro_rho, self.delta_1e12 - cost.delta_1e12)


def epsilon_of(micro_rho: int, delta_1e12: int = ANSWER_DELTA_1E12) -> float:
    """Return an epsilon, rounded up, such that this rho is (epsilon, delta)-DP.

    >>> 0.9 < epsilon_of(14_000) < 1.0
    True
    """
    if delta_1e12 < 1:
        return math.inf
    return _epsilon(micro_rho / MICRO, math.log(delta_1e12) - 12 * math.log(10))


def _epsilon(rho: float, log_delta: float) -> float:
    """Minimise over the order a = 1 + e^t by golden section; every order gives a valid bound."""
    if rho == 0:
        return 0.0

    def at(t: float) -> float:
        less = math.exp(t)
        order = 1 + less
        # log(1 − 1/a) = log(a − 1) − log a, kept as differences of logs for a near 1.
        return order * rho + (order * (t - math.log1p(less)) - t - log_delta) / less

    low, high = -8.0, 30.0
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(120):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if at(left) <= at(right):
            high = right
        else:
            low = left
    return max(0.0, at((low + high) / 2)) * (1 + 1e-12)


@lru_cache(maxsize=1024)
def micro_rho_of(epsilon: float) -> int:
    """Return how many micro-rho an answer at this epsilon may cost (rounded down), at least 0.

    Raise ValueError for an epsilon that is not a positive finite number.

    >>> epsilon_of(micro_rho_of(0.5)) <= 0.5 < epsilon_of(micro_rho_of(0.5) + 1)
    True
    """
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError("epsilon is a positive finite number")
    low, high = 0, 1
    while epsilon_of(high) <= epsilon:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if epsilon_of(middle) <= epsilon:
            low = middle
        else:
            high = middle
    return low
