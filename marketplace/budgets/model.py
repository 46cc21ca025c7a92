"""The budget policy as values, and what it promises of itself.

One ledger account per (unit domain, cohort): a cap that never grows, and tenants' allotments inside
it, fixed in advance, so that what one tenant sees never depends on another (soundness C.21, C.24).
The policy's figures are those of every cohort, but of one that was given others before it began
(`proposal`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from privacy.dp.budget import Budget, epsilon_of, micro_rho_of

COHORT = ""
"""Holder of a cohort's own cap; every other holder is a tenant."""

ROUNDING = 1e-6
"""How far an epsilon written as text may lie below the one it was priced at."""

DELTA_SHARE = 1000
"""All loss of a domain is stated at delta 1 / (1000 · max units) (soundness C.22)."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What may be lost of one cohort: its cap, and each tenant's part of it."""

    cap: Budget
    allotments: Mapping[str, Budget]

    def of(self, holder: str) -> Budget:
        """Return a holder's share; nothing for a tenant that none is fixed for."""
        return self.cap if holder == COHORT else self.allotments.get(holder, Budget(0))

    def total(self) -> Budget:
        """Return all allotments together."""
        total = Budget(0)
        for share in self.allotments.values():
            total = total + share
        return total

    def holders(self) -> dict[str, Budget]:
        """Return every holder with its share, the cohort's cap first."""
        return {COHORT: self.cap, **dict(sorted(self.allotments.items()))}


@dataclass(frozen=True, slots=True)
class DomainPolicy:
    """The budget of one unit domain, the same for each of its cohorts."""

    domain: str
    cap: Budget
    max_units: int
    allotments: dict[str, Budget]
    """Tenant to its share; the shares together are at most the cap."""

    def __post_init__(self) -> None:
        """Refuse a policy that promises more than its cap, or leaves no delta to state it at."""
        total = self.shares.total()
        if not self.cap.covers(total):
            raise ValueError(
                f"allotments of domain {self.domain} sum to {total.micro_rho} micro-rho and "
                f"{total.delta_1e12}e-12 delta; its cap is {self.cap.micro_rho} and "
                f"{self.cap.delta_1e12}e-12. Lower the shares or raise the cap before first use."
            )
        if self.max_units < 1 or self.cap.delta_1e12 >= self.target_delta_1e12:
            raise ValueError(
                f"delta of domain {self.domain} is {self.cap.delta_1e12}e-12; for {self.max_units} "
                f"units it is below {self.target_delta_1e12}e-12, at which epsilon is stated"
            )

    @property
    def shares(self) -> Shares:
        """Return what every cohort has that was not given shares of its own."""
        return Shares(self.cap, self.allotments)

    @property
    def target_delta_1e12(self) -> int:
        """Return the delta at which the domain's whole loss is stated as epsilon."""
        return 10**12 // (DELTA_SHARE * self.max_units)

    def epsilon(self, spent: Budget) -> float:
        """Return the epsilon of a loss at the target delta less what selections spent."""
        return epsilon_of(spent.micro_rho, self.target_delta_1e12 - spent.delta_1e12)


@dataclass(frozen=True, slots=True)
class GrantPolicy:
    """What tenants may ask of a table."""

    epsilon_default: float
    epsilon_max: float
    purposes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse what no question could satisfy."""
        if not 0 < self.epsilon_default <= self.epsilon_max < math.inf:
            raise ValueError(
                f"epsilon_default {self.epsilon_default} and epsilon_max {self.epsilon_max} are "
                "positive, finite and in this order"
            )
        if not self.purposes:
            raise ValueError("a grant names at least one purpose")


@dataclass(frozen=True, slots=True)
class BudgetPolicy:
    """The whole policy file."""

    domains: dict[str, DomainPolicy]
    grants: dict[str, dict[str, GrantPolicy]]
    """Tenant to table name to the grant that it starts with."""


def parse_policy(data: Mapping[str, Any]) -> BudgetPolicy:
    """Return the policy in a parsed `budgets.yaml`; ValueError says which promise it breaks."""
    domains = {
        name: DomainPolicy(
            name,
            Budget(d["cap"]["micro_rho"], d["cap"]["delta_1e12"]),
            d["max_units"],
            {t: Budget(s["micro_rho"], s["delta_1e12"]) for t, s in d["allotments"].items()},
        )
        for name, d in data["domains"].items()
    }
    grants = {
        tenant: {
            table: GrantPolicy(g["epsilon_default"], g["epsilon_max"], tuple(g["purposes"]))
            for g in groups
            for table in g["tables"]
        }
        for tenant, groups in data["grants"].items()
    }
    return BudgetPolicy(domains, grants)


def most_micro_rho(epsilon: str) -> int:
    """Return what an answer at this epsilon, a decimal that may have been rounded, may cost."""
    return micro_rho_of(float(epsilon) + ROUNDING)
